"""
The base of scenarios, and their result.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from bench.secure import TLSAddress
from bench.sockets import Address
from bench.usage import cpuSeconds, family, machineSeconds
from bench.websocket import WebSocketAddress


class Unsupported(Exception):
    """
    This broker cannot do what the scenario asks for.
    """


class Stalled(Exception):
    """
    Nothing arrived any more, though something was under way.
    """


class Running(Protocol):
    """
    A broker that runs.
    """

    @property
    def pid(self) -> int:
        """
        Its process.
        """

    @property
    def address(self) -> Address:
        """
        Where it listens.
        """

    @property
    def secure(self) -> TLSAddress | None:
        """
        Where it listens with TLS, if it does.
        """

    @property
    def webSocket(self) -> WebSocketAddress | None:
        """
        The same with WebSocket.
        """


@dataclass
class Outcome:
    """
    The figures of one run.

    @ivar value: the figure of the scenario, in its unit.
    @ivar cpu: the broker's processor time for one operation, in microseconds.
    @ivar busy: the broker's processor time by the clock: 1.0 is one core.
    @ivar generator: the same of the generator. Where it is at 1.0 and the broker is not, the generator was measured.
    @ivar others: the same of all other processes, which should be none.
    @ivar interrupts: the same of the kernel's interrupts, which are not in any process's time.
    @ivar lost: messages that never arrived.
    @ivar disordered: messages or acknowledgements that arrived twice or out of order.
    @ivar detail: further figures of this scenario.
    """

    value: float
    cpu: float | None = None
    busy: float | None = None
    generator: float | None = None
    others: float | None = None
    interrupts: float | None = None
    lost: int = 0
    disordered: int = 0
    detail: dict[str, float] = field(default_factory=dict)


class Scenario(Protocol):
    """
    Something to measure.

    @ivar name: what selects it on the command line.
    @ivar title: the row of the report.
    @ivar unit: of the value.
    @ivar higher: more is better.
    """

    name: str
    title: str
    unit: str
    higher: bool

    def run(self, broker: Running, seconds: float) -> Outcome:
        """
        Measure a broker that was started for this run alone.

        @raise Unsupported: it cannot do this.
        """


class Stretch:
    """
    The measured part of a run: the clock, and who used how much processor time in it.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu = cpuSeconds(pid)
        self._own = _ownSeconds()
        self._machine = machineSeconds()
        self._started = time.perf_counter()
        self.seconds = 0.0
        self.cpu = 0.0
        self.own = 0.0
        self.others = 0.0
        self.interrupts = 0.0

    def stop(self) -> None:
        """
        Stop the clock.
        """
        self.seconds = time.perf_counter() - self._started
        self.cpu = cpuSeconds(self._pid) - self._cpu
        self.own = _ownSeconds() - self._own
        processes, interrupts = machineSeconds()
        # Clocks of different fineness do not agree to the last digit.
        self.others = max(0.0, processes - self._machine[0] - self.cpu - self.own)
        self.interrupts = interrupts - self._machine[1]

    def outcome(self, operations: int, value: float | None = None) -> Outcome:
        """
        @param value: other than operations a second.
        """
        return Outcome(
            value=operations / self.seconds if value is None else value,
            cpu=self.cpu / operations * 1e6 if operations else None,
            busy=self.cpu / self.seconds,
            generator=self.own / self.seconds,
            others=self.others / self.seconds,
            interrupts=self.interrupts / self.seconds,
        )


class Total:
    """
    Several stretches of one run as if they were one.
    """

    def __init__(self) -> None:
        self.operations = 0
        self.lost = 0
        self.disordered = 0
        self.seconds = 0.0
        self._cpu = self._own = self._others = self._interrupts = 0.0

    def add(self, stretch: Stretch, operations: int) -> None:
        """
        One more.
        """
        self.operations += operations
        self.seconds += stretch.seconds
        self._cpu += stretch.cpu
        self._own += stretch.own
        self._others += stretch.others
        self._interrupts += stretch.interrupts

    def outcome(self) -> Outcome:
        """
        @raise Stalled: nothing was done in any of them.
        """
        if not self.operations:
            raise Stalled("nothing came")
        seconds = self.seconds
        return Outcome(
            value=self.operations / seconds,
            cpu=self._cpu / self.operations * 1e6,
            busy=self._cpu / seconds,
            generator=self._own / seconds,
            others=self._others / seconds,
            interrupts=self._interrupts / seconds,
            lost=self.lost,
            disordered=self.disordered,
        )


def _ownSeconds() -> float:
    used = os.times()
    return used.user + used.system


@contextmanager
def withoutCollector() -> Iterator[None]:
    """
    No garbage collection: it would be seen as the broker's latency.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def ownCore(pid: int) -> Iterator[None]:
    """
    Give this process one core, and a broker the others.

    For whoever never sleeps: on the same core as the broker, its turns on that core would be seen as latency.
    """
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        yield
        return
    mine = min(cores)
    for member in family(pid):
        for thread in os.listdir(f"/proc/{member}/task"):
            os.sched_setaffinity(int(thread), cores - {mine})
    os.sched_setaffinity(0, {mine})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
