"""
Tests of listings: many things, a page at a time, while they change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from twisted_mqtt.base import listing
from twisted_mqtt.base.listing import Listing


@pytest.fixture
def clock() -> Clock:
    """
    The reactor's time.
    """
    return Clock()


def resultOf(page: Deferred[list[Any]], clock: Clock) -> list[Any]:
    """
    Get the items of a page, after some turns.
    """
    clock.pump([0.001] * 100)
    found: list[Any] = []
    page.addBoth(found.append)
    assert len(found) == 1
    return list(found[0])


def slow(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """
    Let so many steps take a slice.
    """
    now = [0.0]

    def tick() -> float:
        now[0] += listing.SLICE * listing._STEPS / steps
        return now[0]

    monkeypatch.setattr(listing, "perf_counter", tick)


def test_pages(clock: Clock) -> None:
    """
    Pages follow each other; the last is shorter, then there are none.
    """
    numbers = Listing(clock, iter(range(10)))
    pages = [resultOf(numbers.next(4), clock) for _ in range(4)]
    assert pages == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], []]
    assert numbers.exhausted


def test_empty(clock: Clock) -> None:
    """
    Steps that find nothing are no things.
    """
    numbers: Listing[int] = Listing(clock, iter([None, 1, None, None, 2, None]))
    assert resultOf(numbers.next(5), clock) == [1, 2]


def test_slices(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A page that takes long comes later, and others have their turns meanwhile.
    """
    slow(monkeypatch, 32)
    numbers = Listing(clock, iter(range(1000)))
    page = numbers.next(100)
    turns = 0
    while not page.called:
        clock.calls.sort(key=lambda call: call.getTime())
        call = clock.calls.pop(0)
        call.called = 1
        call.func()
        turns += 1
    assert resultOf(page, clock) == list(range(100))
    assert turns >= 3


def test_oneAtATime(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    One page after the other.
    """
    slow(monkeypatch, 16)
    numbers = Listing(clock, iter(range(1000)))
    page = numbers.next(100)
    with pytest.raises(RuntimeError):
        numbers.next(1)
    assert len(resultOf(page, clock)) == 100


def test_cancelled(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A page that was cancelled leaves its items to the next page, and leaves no delayed call behind.
    """
    slow(monkeypatch, 16)
    numbers = Listing(clock, iter(range(1000)))
    page = numbers.next(100)
    page.addErrback(lambda failure: failure.trap(CancelledError))
    page.cancel()
    assert clock.getDelayedCalls() == []
    assert resultOf(numbers.next(3), clock) == [0, 1, 2]
    following = numbers.everything()
    assert resultOf(following, clock) == list(range(3, 1000))


def failing() -> Iterator[int | None]:
    """
    Steps the last of which raises.
    """
    yield from range(40)
    raise ValueError("wrong")


@pytest.mark.parametrize("later", [False, True])
def test_raises(clock: Clock, monkeypatch: pytest.MonkeyPatch, later: bool) -> None:
    """
    An exception of a step ends the listing, in the first slice or later.
    """
    if later:
        slow(monkeypatch, 16)
    numbers = Listing(clock, failing())
    failures: list[Any] = []
    numbers.next(100).addErrback(failures.append)
    clock.pump([0.001] * 10)
    assert failures[0].check(ValueError)
    assert numbers.exhausted


def test_oneByOne(clock: Clock) -> None:
    """
    A listing can be taken one by one, and others have their turns meanwhile.
    """
    seen: list[int] = []

    async def through() -> None:
        async for number in Listing(clock, iter(range(250))):
            seen.append(number)

    going = Deferred.fromCoroutine(through())
    assert seen == []
    clock.pump([0.001] * 10)
    assert seen == list(range(250)) and going.called


@pytest.mark.parametrize("reverse", [False, True])
def test_inOrder(clock: Clock, reverse: bool) -> None:
    """
    Sorted things come in order, equal ones by name; what has gone meanwhile is left out.
    """
    things = {f"{number:05}": number % 700 for number in range(3000)}
    steps: list[tuple[str, str] | None] = [(name, name) for name in things]

    def here(name: str) -> str | None:
        return name if things[name] else None

    numbers = Listing[str].inOrder(clock, iter(steps), lambda name: things[name], here, reverse)
    first = resultOf(numbers.next(10), clock)
    expected = sorted(((value, name) for name, value in things.items() if value), reverse=reverse)
    gone = expected[20][1]
    things[gone] = 0
    assert first + resultOf(numbers.everything(), clock) == [name for _, name in expected if name != gone]


def test_each(clock: Clock) -> None:
    """
    A listing of what a function makes of each thing: of none, of one, of several.
    """
    made = Listing(clock, iter([1, None, 0, 3])).each(lambda count: iter([str(count)] * count))
    assert resultOf(made.everything(), clock) == ["1", "3", "3", "3"]
    assert made.exhausted


@pytest.mark.parametrize("count", [1, 2, 5])
def test_first(clock: Clock, count: int) -> None:
    """
    A listing of the first things is over with the last of them: nothing is looked for behind it.
    """
    looked: list[int] = []

    def steps() -> Iterator[int | None]:
        for number in range(4):
            looked.append(number)
            yield None
            yield number

    assert resultOf(Listing(clock, steps()).first(count).everything(), clock) == list(range(min(count, 4)))
    assert looked == list(range(min(count, 4)))


class Counted:
    """
    Something to sort by, of which it is known how many there are.
    """

    alive = 0

    def __init__(self, number: int) -> None:
        self.number = number
        Counted.alive += 1

    def __lt__(self, other: Counted) -> bool:
        return self.number < other.number

    def __del__(self) -> None:
        Counted.alive -= 1


def test_forgotten(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What a listing in order still has when it is forgotten is freed little by little: others have their turn between.
    """
    monkeypatch.setattr(listing, "_RUN", 10)
    things = ((str(number), number) for number in range(100))
    found = Listing[int].inOrder(clock, things, Counted, int)
    assert resultOf(found.next(5), clock) == [0, 1, 2, 3, 4]
    before = Counted.alive
    assert before > 80
    del found
    freed = []
    while Counted.alive:
        alive = Counted.alive
        clock.advance(listing.REST)
        freed.append(alive - Counted.alive)
        assert len(freed) < 100
    assert max(freed) <= 12 and len(freed) >= 8
    assert clock.getDelayedCalls() == []
