"""
Figures of the process as metrics, as VerneMQ and EMQ X have those of their virtual machines (spec/vernemq.md 26.4,
spec/hooks-modules-sys.md 6.3). What the system does not tell is left out.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twisted_mqtt.process.memory import residentBytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.base.metrics import Metrics
    from twisted_mqtt.process.machine import Machine

#: A share of processor time is measured over so many seconds at least.
_PERIOD: Final = 0.5


class _Share:
    """
    A share that is measured from one look to the next; who looks again too soon gets the last one.
    """

    def __init__(self, seconds: Callable[[], float], measure: Callable[[float], float]) -> None:
        """
        @param measure: given for how many seconds, it returns the share since it was called last.
        """
        self._seconds = seconds
        self._measure = measure
        self._at = seconds()
        self._last = 0.0

    def read(self) -> float:
        """
        The share, in percent.
        """
        now = self._seconds()
        if now - self._at >= _PERIOD:
            self._last = round(100 * self._measure(now - self._at), 2)
            self._at = now
        return self._last


def registerProcess(
    metrics: Metrics,
    machine: Machine,
    waiting: Callable[[], int],
    seconds: Callable[[], float] = time.monotonic,
    processTime: Callable[[], float] = time.process_time,
    root: Path = Path("/"),
) -> None:
    """
    Register the figures.

    @param waiting: how much work waits for its turn in the reactor.
    @param seconds: the time of a clock that nobody sets.
    @param processTime: the processor time of the process, in seconds.
    @param root: where the file systems of the kernel are.
    """
    started = seconds()
    spent = processTime()

    def process(period: float) -> float:
        nonlocal spent
        before, spent = spent, processTime()
        return (spent - before) / period

    def processors(period: float) -> float:
        return machine.processors() or 0.0

    # The first call only begins a measurement.
    machine.processors()
    ours, all_ = _Share(seconds, process), _Share(seconds, processors)
    metrics.gauge("vm.memory.total", "Bytes of memory that the process has resident", read=residentBytes)
    metrics.gauge(
        "system.utilization", "Percent of one processor that the process uses, over the last second", read=ours.read
    )
    metrics.gauge("vm.cpu.use", "Percent of the processors that are in use, over the last second", read=all_.read)
    metrics.gauge("vm.cpu.idle", "Percent of the processors that are idle", read=lambda: 100 - all_.read())
    metrics.gauge("vm.run.queue", "Pieces of long work that wait for their turn in the reactor", read=waiting)
    metrics.counter("system.wallclock", "Milliseconds since the start", read=lambda: int(1000 * (seconds() - started)))
    metrics.counter(
        "system.runtime", "Milliseconds of processor time of the process", read=lambda: int(1000 * processTime())
    )
    metrics.counter(
        "system.gc.count",
        "Runs of the garbage collector",
        read=lambda: sum(generation["collections"] for generation in gc.get_stats()),
    )
    if _bytes(root, "rchar") is None:
        return
    metrics.counter(
        "system.io.in", "Bytes that the process has read, of files and sockets", read=lambda: _bytes(root, "rchar") or 0
    )
    metrics.counter(
        "system.io.out",
        "Bytes that the process has written, to files and sockets",
        read=lambda: _bytes(root, "wchar") or 0,
    )


def _bytes(root: Path, field: str) -> int | None:
    """
    A field of C{/proc/self/io} (proc(5)); L{None} where the system does not tell it.
    """
    try:
        for line in (root / "proc/self/io").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return int(value)
    except (OSError, ValueError):
        pass
    return None
