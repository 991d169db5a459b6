"""
C{python -m bench.watched}: what it costs a broker to be watched. It takes some two minutes and prints a table.

The same broker is measured in turns, QoS 0 from ten publishers to ten subscribers: left alone, and watched by all at
once: Prometheus scrapes C{/metrics} each second, C{$SYS} is published each second in both trees and subscribed, and a
client that is not one of those is traced.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Final

from bench import packets
from bench.brokers import COMPILED, ROOT, Command, Kind, _ourVersion, _twistd
from bench.child import freePort
from bench.results import Run
from bench.runner import describe, runOnce
from bench.scenarios.base import Outcome, Running
from bench.scenarios.throughput import Throughput, pairs
from bench.sockets import TCPAddress, openSession, raiseFileLimit, subscribe

#: The most that all of it together may cost, in percent of the processor time of a delivery.
LIMIT: Final = 3.0
_TRACED: Final = "traced"
_PAGE: Final = "/metrics"


@dataclass(frozen=True)
class Place:
    """
    Where a watched broker is.

    @ivar port: of its HTTP.
    @ivar folder: of its files.
    """

    port: int
    folder: Path


def watched(tree: Path, places: list[Place]) -> Callable[[Path, int], Command]:
    """
    Make the command of a broker that is to be watched; its places are added to C{places}.
    """
    base = _twistd(tree)

    def command(folder: Path, port: int) -> Command:
        made = base(folder, port)
        place = Place(freePort(), folder)
        places.append(place)
        (folder / "data").mkdir(exist_ok=True)
        with (folder / "mqttbroker.toml").open("a") as file:
            file.write(
                f'\n[node]\ndata_dir = "{folder / "data"}"\n'
                '\n[plugins]\nload = ["management"]\n'
                f'\n[management.listener.http]\nbind = "127.0.0.1:{place.port}"\n'
                '\n[broker]\nsys_interval = "1s"\nsys_heartbeat = "1s"\nsys_tree = "both"\n'
            )
        return made

    return command


def alone(tree: Path) -> Callable[[Path, int], Command]:
    """
    Make the command of a broker that nobody watches.
    """
    base = _twistd(tree)

    def command(folder: Path, port: int) -> Command:
        made = base(folder, port)
        with (folder / "mqttbroker.toml").open("a") as file:
            file.write('\n[broker]\nsys_interval = "0"\n')
        return made

    return command


class WatchedThroughput:
    """
    A throughput that is measured while others watch the broker.
    """

    def __init__(self, within: Throughput, tree: Path, places: list[Place]) -> None:
        self.name = within.name
        self.title = within.title
        self.unit = within.unit
        self.higher = within.higher
        self._within = within
        self._tree = tree
        self._places = places

    def run(self, broker: Running, seconds: float) -> Outcome:
        """
        See L{Scenario<bench.scenarios.base.Scenario>}.
        """
        place = self._places[-1]
        address = broker.address
        assert isinstance(address, TCPAddress)
        traced = startTrace(self._tree, place)
        arguments = [sys.executable, "-m", "bench.watched", "--watch", str(address.port), str(place.port)]
        # From the folder of the suite, not of the broker.
        watcher = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        try:
            outcome = self._within.run(broker, seconds)
        finally:
            said, _ = watcher.communicate(b"\n", timeout=20)
        figures = [float(word) for word in said.split()]
        names = ("scrapes", "scrape ms", "page KiB", "$SYS bytes")
        outcome.detail.update(zip(names, figures, strict=True))
        outcome.detail["traced"] = float(traced)
        return outcome


def startTrace(tree: Path, place: Place) -> bool:
    """
    Have a client traced to a file; returns whether the broker does that.
    """
    socket = place.folder / "data" / "ctl.sock"
    command = [sys.executable, "-m", "twisted_mqtt.ctl", "--socket", str(socket), "trace", "start", "client"]
    ran = subprocess.run(
        [*command, _TRACED, "trace.log"],
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        check=False,
        timeout=30,
    )
    return ran.returncode == 0


def watch(port: int, httpPort: int) -> None:
    """
    Watch a broker until somebody writes to the standard input: scrape it each second, take what C{$SYS} says, and
    publish as the client that is traced. Prints how many scrapes there were, the milliseconds of half of them, the size
    of a page in KiB, and how many bytes C{$SYS} has sent.
    """
    address = TCPAddress(port)
    status, client = openSession(address, "status"), openSession(address, _TRACED)
    subscribe(status, ["$SYS/#"], 0)
    status.setblocking(False)
    os.set_blocking(0, False)
    message = packets.publish("traced/topic", packets.payload(0, 0))
    times: list[float] = []
    size = took = 0
    due = time.monotonic()
    while not os.isatty(0):
        try:
            if os.read(0, 1) is not None:
                break
        except BlockingIOError:
            pass
        time.sleep(max(0.0, min(0.1, due - time.monotonic())))
        if time.monotonic() < due:
            continue
        due += 1.0
        began = time.perf_counter()
        asking = HTTPConnection("127.0.0.1", httpPort, timeout=10)
        asking.request("GET", _PAGE)
        size = len(asking.getresponse().read())
        asking.close()
        times.append(time.perf_counter() - began)
        client.sendall(message)
        try:
            while data := status.recv(1 << 20):
                took += len(data)
        except BlockingIOError:
            pass
    print(len(times), 1000 * median(times or [0.0]), size / 1024, took)


def compare(tree: Path, rounds: int, seconds: float) -> list[Run]:
    """
    Measure both in turns, so that what else the machine does meets both.
    """
    places: list[Place] = []
    version = _ourVersion(tree)
    scenario = Throughput("pairs0", "QoS 0, 10 publishers to 10 subscribers, own topics", pairs(10, 1000, qos=0))
    runs = []
    for round_ in range(1, rounds + 1):
        for kind, what in (
            (Kind("alone", "left alone", version, alone(tree)), scenario),
            (
                Kind("watched", "watched", version, watched(tree, places)),
                WatchedThroughput(scenario, tree, places),
            ),
        ):
            run = runOnce(kind, what, round_, seconds)
            print(describe(run), file=sys.stderr, flush=True)
            runs.append(run)
    return runs


def cost(runs: Sequence[Run]) -> float:
    """
    The cost of being watched, in percent of the processor time of a delivery: the median of the rounds, in each of
    which the two stand beside each other.

    @raise ValueError: there is no round in which both were measured.
    """
    found = []
    for round_ in sorted({run.round for run in runs}):
        cpu = {run.broker: run.cpu for run in runs if run.round == round_ and not run.failed}
        plain, with_ = cpu.get("alone"), cpu.get("watched")
        if plain and with_:
            found.append(100 * (with_ / plain - 1))
    if not found:
        raise ValueError("nothing was measured")
    return median(found)


def main() -> None:
    """
    Do what the command line says.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.watched", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=6.0, help="measured in each run (default: %(default)s)")
    parser.add_argument("--tree", type=Path, default=COMPILED, help="of the broker (default: the compiled one)")
    parser.add_argument("--watch", nargs=2, type=int, metavar="PORT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.watch:
        watch(*given.watch)
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raiseFileLimit()
    runs = compare(given.tree.resolve(), given.rounds, given.seconds)
    failed = [run.failed for run in runs if run.failed]
    if failed:
        sys.exit("\n".join(failed))
    for name in ("alone", "watched"):
        of = [run for run in runs if run.broker == name]
        value, cpu = median(run.value for run in of), median(run.cpu or 0.0 for run in of)
        print(f"{name:<10}{value:>14,.0f} deliveries/s {cpu:>8.3f} us of processor time each")
    percent = cost(runs)
    print(f"to be watched costs {percent:.1f} % (at most {LIMIT:g} % are meant)")
    if any(not run.detail.get("traced", 1.0) for run in runs):
        print("no client was traced: the broker does not know the command")
    sys.exit(percent > LIMIT)


if __name__ == "__main__":
    main()
