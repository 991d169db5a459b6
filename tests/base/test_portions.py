"""
Tests of L{twisted_mqtt.base.portions}.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_mqtt.base import portions as underTest
from twisted_mqtt.base.portions import PORTION, Portions


class Counting:
    """
    Work of so many steps, each of which takes so long.
    """

    def __init__(
        self, clock: OneTurn, steps: int, seconds: float = 0.0, name: str = "", log: list[str] | None = None
    ) -> None:
        self.clock = clock
        self.left = steps
        self.seconds = seconds
        self.name = name
        self.log = [] if log is None else log

    def goOn(self) -> bool:
        """
        See L{Work}.
        """
        self.left -= 1
        self.log.append(self.name)
        self.clock.worked += self.seconds
        return self.left > 0


class OneTurn(Clock):
    """
    A clock that does what was due when a turn began, and no more.

    @ivar worked: for how many seconds there was work.
    """

    worked = 0.0

    def turn(self) -> float:
        """
        Take a turn; returns how long it took.
        """
        calls = list(self.calls)
        begun = self.worked
        for call in calls:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)
        return self.worked - begun


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> OneTurn:
    """
    A clock that goes on while there is work.
    """
    clock = OneTurn()
    monkeypatch.setattr(underTest, "perf_counter", lambda: clock.worked)
    return clock


def test_nothingAtOnce(clock: OneTurn) -> None:
    """
    Nothing is done before the next turn, and nothing is called once all is done.
    """
    portions, work = Portions(clock), Counting(clock, 1)
    portions.add(work)
    assert work.left == 1
    clock.turn()
    assert work.left == 0 and not clock.calls and len(portions) == 0


def test_portion(clock: OneTurn) -> None:
    """
    All work together takes a portion of each turn, however much there is.
    """
    portions = Portions(clock)
    for _ in range(10):
        portions.add(Counting(clock, 20, PORTION / 20))
    turns = 0
    while clock.calls:
        # A step that was begun in time ends late.
        assert clock.turn() <= PORTION * 21.5 / 20
        turns += 1
    assert turns == 10


def test_turns(clock: OneTurn) -> None:
    """
    Waiting works take turns: a long one does not hold up a short one.
    """
    portions = Portions(clock)
    log: list[str] = []
    portions.add(Counting(clock, 1000, PORTION / 10, "long", log))
    portions.add(Counting(clock, 1, 0.0, "short", log))
    clock.turn()
    assert "short" in log and log.count("long") < 1000


def test_deferred(clock: OneTurn) -> None:
    """
    A turn can be waited for; who has it is told until when it may work. One that is cancelled is passed over.
    """
    portions = Portions(clock)
    cancelled = portions.turn()
    seen: list[float] = []

    def begun(_: None) -> Deferred[None]:
        seen.append(portions.until - clock.worked)
        return portions.turn().addCallback(ended)

    def ended(_: None) -> None:
        seen.append(portions.until - clock.worked)

    portions.turn().addCallback(begun)
    cancelled.addErrback(lambda failure: None)
    cancelled.cancel()
    assert not seen
    clock.turn()
    clock.turn()
    assert len(seen) == 2 and all(0 < each <= PORTION for each in seen)


def test_stop(clock: OneTurn) -> None:
    """
    Once it has stopped nothing goes on.
    """
    portions, work = Portions(clock), Counting(clock, 1)
    portions.add(work)
    portions.stop()
    clock.turn()
    assert work.left == 1


def test_added(clock: OneTurn) -> None:
    """
    Work may add other work.
    """
    portions, other = Portions(clock), Counting(clock, 3)

    class Adding:
        def goOn(self) -> bool:
            portions.add(other)
            return False

    portions.add(Adding())
    while clock.calls:
        clock.turn()
    assert other.left == 0


def test_all(clock: OneTurn) -> None:
    """
    What is taken of an iterator takes a part of a portion of each turn, and what that raises comes back.
    """
    portions = Portions(clock)

    def source(upTo: int) -> Iterator[int]:
        for number in range(upTo):
            clock.worked += PORTION / 4
            yield number
        if upTo < 20:
            raise OSError("no more")

    taken = Deferred.fromCoroutine(portions.all(source(20)))
    turns = []
    while not taken.called:
        turns.append(clock.turn())
    assert len(turns) >= 10 and max(turns) <= PORTION / 2
    results: list[list[int]] = []
    taken.addCallback(results.append)
    assert results == [list(range(20))]

    together = [Deferred.fromCoroutine(portions.all(source(20))) for _ in range(3)]
    while not all(each.called for each in together):
        assert clock.turn() <= PORTION / 2

    failing = Deferred.fromCoroutine(portions.all(source(1)))
    failures: list[Failure] = []
    failing.addErrback(failures.append)
    clock.turn()
    assert failures[0].check(OSError)
