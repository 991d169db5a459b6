"""
A contest: servers of one protocol take turns at the same load, round by round, and the medians make a table.

The benchmark of a gateway says who takes part and what is measured; L{bench.gateways} runs it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, TypeVar

from bench.brokers import COMPILED, ROOT
from bench.child import Child, twistd
from bench.sockets import HandshakeError
from bench.usage import cpuSeconds

_CONFIGURATION: Final = """\
[plugins]
load = [{extensions}]
[persistence]
store = "memory"
[node]
data_dir = "{folder}"
[zone.external]
max_mqueue_len = 0
[listener.tcp.external]
bind = "127.0.0.1:{tcp}"
"""


class LoadError(Exception):
    """
    The received bytes are not the expected ones.
    """


@dataclass
class Figures:
    """
    The figures of one measurement.

    @ivar rate: a second; or bytes, where memory is measured.
    @ivar cpu: microseconds of the server's processor time for each; L{None} where only memory is measured.
    @ivar server: the share of a processor that the server had.
    @ivar generator: that of the generator.
    @ivar again: requests that had to be sent again, or notifications that did not come.
    @ivar lost: messages that did not come.
    """

    rate: float
    cpu: float | None = None
    server: float = 0.0
    generator: float = 0.0
    again: int = 0
    lost: int = 0

    def cell(self) -> str:
        """
        As a table shows it.
        """
        notes = [] if self.cpu is None else [f"{self.cpu:.2f}"]
        notes += [f"{count} {name}" for name, count in (("again", self.again), ("lost", self.lost)) if count]
        return f"{self.rate:,.0f}" + (f" ({', '.join(notes)})" if notes else "")


class Watch:
    """
    The time and the processors, between two moments.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._begun, self._cpu, self._own = time.perf_counter(), cpuSeconds(pid), time.process_time()

    def figures(self, count: int, again: int = 0) -> Figures:
        """
        Get the cost of so many operations since the last call.

        @raise LoadError: there are none.
        """
        took = time.perf_counter() - self._begun
        used, own = cpuSeconds(self._pid) - self._cpu, time.process_time() - self._own
        if not count:
            raise LoadError("nothing was answered")
        return Figures(count / took, used / count * 1e6, used / took, own / took, again)


@dataclass
class Started:
    """
    How a server is started.

    @ivar afterwards: what is run when it has ended.
    """

    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    afterwards: list[str] | None = None


def broker(tree: Path, folder: Path, tcp: int, extensions: Collection[str], more: str) -> Started:
    """
    How this broker is started with a gateway, and with nothing that would slow it down.

    @param tree: its sources.
    @param folder: its configuration and its data go there.
    @param tcp: the port of its MQTT listener.
    @param more: the gateway's tables of the configuration.
    """
    names = ", ".join(f'"{name}"' for name in extensions)
    text = _CONFIGURATION.format(extensions=names, folder=folder, tcp=tcp)
    (folder / "mqttbroker.toml").write_text(text + more)
    return Started(twistd(folder / "mqttbroker.toml"), {"PYTHONPATH": str(tree)})


class Server(Child):
    """
    One that takes part, in a child process.
    """

    _started: Started | None = None

    def run(self, started: Started, isThere: Callable[[], object]) -> None:
        """
        Start it, and wait until it answers (L{Child.start}).
        """
        self._started = started
        self.start(started.arguments, started.environment, isThere)

    def stop(self) -> None:
        """
        End it, run what is to be run then, and remove its files.
        """
        self.end()
        started = self._started
        if started is not None and started.afterwards is not None:
            environment = {**os.environ, **started.environment}
            subprocess.run(started.afterwards, env=environment, capture_output=True, timeout=15, check=False)
        super().stop()


S = TypeVar("S", bound=Server)


@dataclass(frozen=True)
class Contender(Generic[S]):
    """
    A server that takes part.

    @ivar isThere: whether this machine has it.
    """

    name: str
    title: str
    isThere: Callable[[], object]
    start: Callable[[], S]


OURS: Final = ("ours", "compiled")


def ours(start: Callable[[Path], S]) -> tuple[Contender[S], ...]:
    """
    This broker, interpreted and compiled.

    @param start: starts it from the sources in a folder.
    """
    return (
        Contender("ours", "this broker", lambda: True, lambda: start(ROOT)),
        Contender(
            "compiled",
            "this broker, compiled",
            lambda: any(COMPILED.glob("twisted_mqtt/core/*.so")),
            lambda: start(COMPILED),
        ),
    )


@dataclass(frozen=True)
class Row(Generic[S]):
    """
    A measured quantity.

    @ivar measure: is given the server and the seconds to measure.
    @ivar only: the names of those of whom it is measured; of all, if it is empty.
    """

    name: str
    title: str
    measure: Callable[[S, float], Figures]
    only: Collection[str] = ()


@dataclass(frozen=True)
class Contest(Generic[S]):
    """
    Find the servers that take part in each comparison.

    @ivar title: of the table.
    @ivar bars: what this broker has to reach, as a share of whose rate.
    @ivar versions: tells those of the others.
    """

    title: str
    contenders: tuple[Contender[S], ...]
    rows: tuple[Row[S], ...]
    bars: tuple[tuple[str, float], ...] = ()
    versions: Callable[[], str] | None = None

    def run(self, servers: Collection[str], rows: Collection[str], rounds: int, seconds: float) -> None:
        """
        Measure, and print the tables; progress, and what goes wrong, goes to the standard error.

        @param servers: names; all that are there, if it is empty.
        @param rows: names; all, if it is empty.
        @param rounds: of which the median counts.
        @param seconds: measured in each run.
        """
        contenders = [one for one in self.contenders if (not servers or one.name in servers) and one.isThere()]
        wanted = [row for row in self.rows if not rows or row.name in rows]
        found: dict[tuple[str, str], list[Figures]] = {}
        for _ in range(rounds):
            for row in wanted:
                for contender in contenders:
                    if row.only and contender.name not in row.only:
                        continue
                    figures = _once(row, contender, seconds)
                    # One that has failed in each round has an empty list.
                    found.setdefault((row.name, contender.name), []).extend([] if figures is None else [figures])
        medians = {key: _median(each) for key, each in found.items()}
        if self.versions is not None:
            print(f"{self.versions()}\n")
        _printTable([self.title, *(one.title for one in contenders)])
        for row in wanted:
            cells = [_cell(medians, (row.name, one.name)) for one in contenders]
            print(f"| {row.title} | " + " | ".join(cells) + " |")
        print()
        mine = next((name for name in reversed(OURS) if any(one.name == name for one in contenders)), None)
        if self.bars and mine is not None:
            _printTable(["by rate (by CPU)", "bar", *(row.name for row in wanted)])
            for name, bar in self.bars:
                ratios = [_ratio(medians.get((row.name, mine)), medians.get((row.name, name))) for row in wanted]
                print(f"| beside {name} | {bar} | " + " | ".join(ratios) + " |")
            print()


def _once(row: Row[S], contender: Contender[S], seconds: float) -> Figures | None:
    what = f"{contender.name} {row.name}"
    try:
        server = contender.start()
        try:
            figures = row.measure(server, seconds)
        finally:
            server.stop()
    except (OSError, HandshakeError, LoadError) as error:
        print(f"{what}: {error}", file=sys.stderr, flush=True)
        return None
    busy = f"; server {figures.server:.0%}, generator {figures.generator:.0%}" if figures.cpu is not None else ""
    print(f"{what}: {figures.cell()}{busy}", file=sys.stderr, flush=True)
    return figures


def _median(found: list[Figures]) -> Figures | None:
    if not found:
        return None
    rate = statistics.median_low([each.rate for each in found])
    return next(each for each in found if each.rate == rate)


def _cell(medians: dict[tuple[str, str], Figures | None], key: tuple[str, str]) -> str:
    if key not in medians:
        return "-"
    figures = medians[key]
    return "failed" if figures is None else figures.cell()


def _ratio(mine: Figures | None, other: Figures | None) -> str:
    if mine is None or other is None:
        return "-"
    cpu = f" ({other.cpu / mine.cpu:.2f})" if mine.cpu and other.cpu is not None else ""
    return f"{mine.rate / other.rate:.2f}{cpu}"


def _printTable(titles: list[str]) -> None:
    print("| " + " | ".join(titles) + " |")
    print("|" + "---|" * len(titles))
