"""
Rounds: every scenario with every broker in turn, each run with a broker started for it.

It is meant to be left alone: no run and no measurement as a whole takes longer than it may, and a broker that does not
stand a scenario is not asked again.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final

from bench.brokers import Kind, NotStarted, RunningBroker
from bench.catalogue import Entry
from bench.checker import BrokenStream
from bench.generator import Closed
from bench.results import Results, Run, Setting
from bench.scenarios.base import Scenario, Stalled, Unsupported, ownCore
from bench.sockets import HandshakeError
from bench.usage import machine

# No run may take longer than this beyond what is measured, whatever the broker does.
_LIMIT: Final = 40


class Changed(Exception):
    """
    A broker was exchanged in the middle of the measurement.
    """


class _TooLong(Exception):
    pass


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def tooLong(number: int, frame: FrameType | None) -> None:
        raise _TooLong(f"did not finish within {seconds} s")

    before = signal.signal(signal.SIGALRM, tooLong)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def runOnce(kind: Kind, scenario: Scenario, round_: int, seconds: float) -> Run:
    """
    Start a broker, measure, stop it. Whatever goes wrong is part of the result.
    """
    run = Run(kind.name, scenario.name, round_, scenario.unit)
    try:
        broker = RunningBroker(kind)
    except NotStarted as error:
        return _failed(run, str(error))
    try:
        # Two busy processes that meet on one core measure the scheduler. A broker of several threads may use both.
        with _limited(_LIMIT + round(2 * seconds)), ownCore(broker.pid) if kind.oneThread else nullcontext():
            outcome = scenario.run(broker, seconds)
    except Unsupported as error:
        return _failed(run, f"not supported: {error}")
    except (_TooLong, Stalled, Closed, BrokenStream, HandshakeError) as error:
        return _failed(run, str(error) if broker.alive() else f"the broker ended: {broker.output()}")
    except OSError as error:
        return _failed(run, f"{error}" if broker.alive() else f"the broker ended: {broker.output()}")
    finally:
        broker.stop()
    return replace(run, **vars(outcome))


def _failed(run: Run, reason: str) -> Run:
    return replace(run, failed=(reason.splitlines() or ["failed"])[0][:200])


def describe(run: Run) -> str:
    """
    A line of progress.
    """
    line = f"{run.scenario:<14}{run.broker:<12}"
    if run.failed:
        return f"{line}{run.failed}"
    line += f"{run.value:>13,.2f} {run.unit}"
    if run.cpu is not None:
        line += f", {run.cpu:.2f} us of broker CPU"
    if run.busy is not None and run.generator is not None:
        line += f" (busy {run.busy:.2f}, generator {run.generator:.2f}, others {run.others or 0.0:.2f})"
    line += "".join(f", {name} {value:,.2f}" for name, value in run.detail.items())
    if run.lost or run.disordered:
        line += f" -- {run.lost} LOST, {run.disordered} REPEATED OR OUT OF ORDER"
    return line


class Schedule:
    """
    The runs that are left, and the time that they need.
    """

    def __init__(self, total: int, minutes: float, now: Callable[[], float] = time.monotonic) -> None:
        """
        @param minutes: after which nothing more is begun.
        """
        self.total = total
        self.done = 0
        self._now = now
        self._began = now()
        self._seconds = minutes * 60
        # How long the last run of each broker in each scenario took.
        self._took: dict[tuple[str, str], float] = {}
        self._spent = 0.0

    @property
    def over(self) -> bool:
        """
        Whether the time is up.
        """
        return self._now() - self._began > self._seconds

    def took(self, key: tuple[str, str], seconds: float) -> None:
        """
        A run has ended.
        """
        self.done += 1
        self._spent += seconds
        self._took[key] = seconds

    def skipped(self, count: int) -> None:
        """
        Runs will not be made.
        """
        self.total -= count

    def progress(self, left: Iterable[tuple[str, str]]) -> str:
        """
        Where it stands.

        @param left: the runs to come.
        """
        mean = self._spent / self.done if self.done else 0.0
        seconds = sum(self._took.get(key, mean) for key in left)
        return f"[{self.done}/{self.total}, {(self._now() - self._began) / 60:.1f} min, about {seconds / 60:.0f} to go]"


def runAll(
    entries: Sequence[Entry], kinds: Sequence[Kind], rounds: int, seconds: float, path: Path, minutes: float = 30.0
) -> Results:
    """
    All rounds, with a line of progress for each run, and a file that holds what has been measured so far.

    @param minutes: after which nothing more is begun: the medians are then of fewer rounds.

    @raise Changed: a broker is not what it was when the measurement began.
    """
    versions = {kind.name: kind.version() or "unknown" for kind in kinds}
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    results = Results(path, Setting(when, seconds, rounds, machine(), versions))
    left = [(entry, kind, round_) for round_ in range(1, rounds + 1) for entry in entries for kind in kinds]
    schedule = Schedule(len(left), minutes)
    while left:
        entry, kind, round_ = left.pop(0)
        if schedule.over:
            print(f"The time is up: {len(left) + 1} runs are left out", file=sys.stderr, flush=True)
            break
        if (kind.version() or "unknown") != versions[kind.name]:
            # A tree that is being built again, for one: what is half new must not be averaged with the old.
            raise Changed(f"{kind.title} was {versions[kind.name]}, and is {kind.version()} now")
        key = kind.name, entry.scenario.name
        began = time.monotonic()
        run = runOnce(kind, entry.scenario, round_, seconds)
        results.add(run)
        schedule.took(key, time.monotonic() - began)
        if run.failed:
            # It would take as long to fail again.
            kept = [each for each in left if (each[1].name, each[0].scenario.name) != key]
            schedule.skipped(len(left) - len(kept))
            left = kept
        progress = schedule.progress((kind.name, entry.scenario.name) for entry, kind, _ in left)
        print(f"{progress} {describe(run)}", file=sys.stderr, flush=True)
    return results
