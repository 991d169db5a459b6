"""
C{python -m bench.kept}: measure the cost of keeping messages, and write C{docs/durability.md}. It takes some five
minutes.

The brokers are this one with each C{persistence.commit}, and Mosquitto with C{persistence true}, which does not sync a
message before it acknowledges it: it writes its file at intervals and when it ends.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from bench import packets
from bench.brokers import COMPILED, KINDS, ROOT, Command, Kind, RunningBroker, _ourVersion, _twistd
from bench.checker import Ring
from bench.generator import Publisher
from bench.report import circumstances
from bench.results import Run
from bench.runner import describe, runOnce
from bench.scenarios.kept import KeptOffline, SingleLatency, keptOnline, publishUntil
from bench.sockets import READ_SIZE, HandshakeError, Link, Turns, endSession, openSession, readPacket, subscribe
from bench.usage import machine, residentBytes

_REPORT: Final = ROOT / "docs" / "durability.md"
_PATIENCE: Final = 120.0
# So many sessions are made at a time.
_TOGETHER: Final = 200


def _ours(tree: Path, commit: str) -> Callable[[Path, int], Command]:
    base = _twistd(tree)

    def command(folder: Path, port: int) -> Command:
        made = base(folder, port)
        file = folder / "mqttbroker.toml"
        text = file.read_text().replace('store = "memory"', f'store = "sqlite"\ncommit = "{commit}"')
        file.write_text(f'{text}\n[node]\ndata_dir = "{folder / "data"}"\n')
        return made

    return command


def _mosquitto(folder: Path, port: int) -> Command:
    made = next(kind for kind in KINDS if kind.name == "mosquitto").command(folder, port)
    file = folder / "mosquitto.conf"
    data = folder / "data"
    data.mkdir(mode=0o777)
    data.chmod(0o777)
    text = file.read_text().replace("persistence false", f"persistence true\npersistence_location {data}/")
    file.write_text(text)
    return made


def kinds(tree: Path) -> list[Kind]:
    """
    The brokers to compare.
    """
    version = _ourVersion(tree)
    mosquitto = next(kind for kind in KINDS if kind.name == "mosquitto")
    found = [
        Kind(commit, f"this broker, commit {commit}", version, _ours(tree, commit))
        for commit in ("always", "interval", "never")
    ]
    if mosquitto.version() is not None:
        found.append(Kind("mosquitto", "Mosquitto, persistence true", mosquitto.version, _mosquitto))
    # With a second thread that writes, a broker of one core would be measured by the kernel's turns.
    return [replace(kind, oneThread=False) for kind in found]


class Restartable(RunningBroker):
    """
    A broker that can be killed and started again on the same files.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        super().__init__(kind)

    @property
    def folder(self) -> Path:
        """
        Where its files are.
        """
        return Path(self._folder.name)

    def restart(self) -> float:
        """
        Kill it and start it; returns for how many seconds nobody could connect.
        """
        arguments = Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")[:-1]
        environment = dict(os.environ)
        for item in Path(f"/proc/{self.pid}/environ").read_bytes().split(b"\0"):
            name, _, value = item.partition(b"=")
            if name:
                environment[os.fsdecode(name)] = os.fsdecode(value)
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        began = time.perf_counter()
        self._process = subprocess.Popen(
            arguments,
            cwd=self.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self.pid = self._process.pid
        self._awaitReady(self._kind)
        return time.perf_counter() - began


def queueOf(kind: Kind, messages: int) -> dict[str, float]:
    """
    A long queue of one absent session: stored, the broker killed and started, received.
    """
    broker = Restartable(kind)
    figures: dict[str, float] = {}
    try:
        away = openSession(broker.address, "long", clean=False)
        subscribe(away, ["long"], 1)
        endSession(away)
        turns = Turns()
        link = Link(turns, openSession(broker.address, "filler"))
        sent = [packets.publish("long", packets.payload(0, n), 1, n + 1) for n in range(10_000)]
        publisher = Publisher(link, Ring(sent, READ_SIZE), 1000, qos=1, limit=messages)
        turns.add(link, publisher.readable)
        began = time.perf_counter()
        publishUntil(turns, [publisher], began + _PATIENCE, messages)
        figures["stored in s"] = time.perf_counter() - began
        turns.close()
        files = [
            path
            for path in broker.folder.rglob("*")
            if path.is_file() and "mqttbroker.db" in path.name and path.suffix != ".reserve"
        ]
        figures["MiB on disk"] = sum(path.stat().st_size for path in files) / (1 << 20)
        figures["started in s"] = broker.restart()
        figures["MiB in memory then"] = residentBytes(broker.pid) / (1 << 20)
        began = time.perf_counter()
        figures["received"] = _receive(broker, messages)
        figures["received in s"] = time.perf_counter() - began
        figures["MiB in memory at the end"] = residentBytes(broker.pid) / (1 << 20)
    finally:
        broker.stop()
    return figures


def _receive(broker: Restartable, messages: int) -> int:
    """
    Take all messages of the queue, acknowledging each; returns how many came in their order.
    """
    size = len(packets.publish("long", packets.payload(0, 0), 1, 1))
    came = 0
    with openSession(broker.address, "long", clean=False) as again:
        again.settimeout(20)
        kept = b""
        while came < messages:
            try:
                data = kept + again.recv(READ_SIZE)
            except TimeoutError:
                break
            whole = len(data) - len(data) % size
            answers = bytearray()
            for at in range(0, whole, size):
                if data[at + 10 : at + size] == packets.payload(0, came % 10_000):
                    came += 1
                answers += b"\x40\x02" + data[at + 8 : at + 10]
            again.sendall(answers)
            kept = data[whole:]
    return came


def _makeSessions(broker: Restartable, names: list[str]) -> None:
    """
    Sessions with a subscription each, made together: one after another, each would wait for its own two commits.
    """
    opened = [broker.address.open() for _ in names]
    try:
        for one, name in zip(opened, names, strict=True):
            one.settimeout(_PATIENCE)
            one.sendall(packets.connect(name, False) + packets.subscribe(1, ["many"], 1))
        for one in opened:
            if readPacket(one)[0] != packets.CONNACK or readPacket(one)[0] != packets.SUBACK:
                raise HandshakeError("a session was refused")
            one.sendall(packets.DISCONNECT)
    finally:
        for one in opened:
            one.close()


def startWith(kind: Kind, sessions: int, each: int) -> dict[str, float]:
    """
    Many sessions with some messages for each: how long the broker takes to start with them.
    """
    broker = Restartable(kind)
    try:
        for first in range(0, sessions, _TOGETHER):
            names = [f"many{number}" for number in range(first, min(first + _TOGETHER, sessions))]
            _makeSessions(broker, names)
        publisher = openSession(broker.address, "filler")
        for number in range(each):
            publisher.sendall(packets.publish("many", packets.payload(0, number), 1, number + 1))
            publisher.settimeout(_PATIENCE)
            readPacket(publisher)
        publisher.close()
        return {"started in s": broker.restart(), "MiB in memory then": residentBytes(broker.pid) / (1 << 20)}
    finally:
        broker.stop()


def main() -> None:
    """
    Measure, print and write.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.kept", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--messages", type=int, default=1_000_000, help="of the long queue; 0 for none")
    parser.add_argument("--sessions", type=int, default=100_000, help="to start with; 0 for none")
    parser.add_argument("--tree", type=Path, default=COMPILED, help="whose broker is measured")
    parser.add_argument("--report", type=Path, default=_REPORT, help="where the report goes")
    options = parser.parse_args()
    compared = kinds(options.tree)
    runs: list[Run] = []
    for round_ in range(options.rounds):
        for scenario in (keptOnline(), KeptOffline(), SingleLatency()):
            for kind in compared:
                run = runOnce(kind, scenario, round_, options.seconds)
                runs.append(run)
                print(describe(run), file=sys.stderr, flush=True)
    figures: dict[str, dict[str, float]] = {}
    always = compared[0]
    if options.messages:
        figures[f"{options.messages:,} messages for one absent session"] = queueOf(always, options.messages)
    if options.sessions:
        figures[f"{options.sessions:,} sessions with 10 messages each"] = startWith(always, options.sessions, 10)
    text = render(runs, compared, figures)
    print(text)
    options.report.write_text(text, encoding="utf-8")


def render(runs: list[Run], compared: list[Kind], figures: dict[str, dict[str, float]]) -> str:
    """
    The report.
    """
    lines = [
        "# The cost of keeping messages",
        "",
        "Written by `make bench-kept`. QoS 1, 64-byte payloads, medians. Mosquitto with `persistence true` does",
        "not sync a message before it acknowledges it: it writes its file at intervals and when it ends, so it keeps",
        "less than `interval` does.",
        "",
        *circumstances(datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), machine(), runs),
        "| | " + " | ".join(kind.title for kind in compared) + " |",
        "|---|" + "---|" * len(compared),
    ]
    for title, name, unit in (
        (keptOnline().title, "keptonline", "deliveries/s"),
        (KeptOffline.title, KeptOffline.name, "messages/s"),
        (SingleLatency.title, SingleLatency.name, "ms"),
    ):
        cells = []
        for kind in compared:
            mine = [run for run in runs if run.broker == kind.name and run.scenario == name and run.sound]
            cells.append(_cell(mine))
        lines.append(f"| {title} ({unit}) | " + " | ".join(cells) + " |")
    lines += ["", *_compare(runs, compared)]
    for title, found in figures.items():
        lines += ["", f"{title}, commit always:", ""]
        lines += [f"- {name}: {value:,.1f}" for name, value in found.items()]
    return "\n".join(lines) + "\n"


def _compare(runs: list[Run], compared: list[Kind]) -> list[str]:
    """
    The goals of C{always}: half of C{never}, and one and a half times Mosquitto.
    """
    lines = ["| commit always, as a multiple of | " + " | ".join(kind.title for kind in compared[1:]) + " |"]
    lines.append("|---|" + "---|" * len(compared[1:]))
    for title, name in ((keptOnline().title, "keptonline"), (KeptOffline.title, KeptOffline.name)):
        values = {
            kind.name: median(found)
            for kind in compared
            if (found := [run.value for run in runs if (run.broker, run.scenario) == (kind.name, name) and run.sound])
        }
        mine = values.get(compared[0].name)
        cells = [
            f"{mine / values[kind.name]:.2f}" if mine is not None and kind.name in values else "–"
            for kind in compared[1:]
        ]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return lines


def _cell(runs: list[Run]) -> str:
    if not runs:
        return "–"
    value = median(run.value for run in runs)
    text = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
    details = [run.detail["p99 ms"] for run in runs if "p99 ms" in run.detail]
    return f"{text}, p99 {median(details):.2f}" if details else text


if __name__ == "__main__":
    main()
