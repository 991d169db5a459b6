"""
Tests for L{twisted_mqtt.base.dates}.
"""

from __future__ import annotations

import pytest

from twisted_mqtt.base.dates import Dates

START = 1_000_000.0


class TwoClocks:
    """
    A clock that nobody sets, and the wall clock.
    """

    def __init__(self, ahead: float = 0.0) -> None:
        self.seconds = START
        self.ahead = ahead
        self.dates = Dates(lambda: self.seconds, lambda: self.seconds + self.ahead)

    def set(self, by: float) -> None:
        """
        Set the wall clock, and have that noticed.
        """
        self.ahead += by
        assert self.dates.skew == pytest.approx(self.ahead)


def test_untouched() -> None:
    """
    As long as nobody sets the clock, a moment is its date; also if the two are not read at the same instant.
    """
    clocks = TwoClocks(ahead=0.2)
    dates = clocks.dates
    clocks.ahead = 0.3
    assert (dates.skew, dates.differ) == (0.0, False)
    assert dates.of(START + 5) == START + 5
    assert dates.moment(START + 5) == START + 5
    assert dates.now() == START + 0.3


def test_oneClock() -> None:
    """
    With one clock alone, as in tests, nothing ever differs.
    """
    assert Dates(lambda: START).now() == START
    assert not Dates(lambda: START).differ


def test_clockWithAnotherBeginning() -> None:
    """
    A reactor may count from anything: dates are those of the wall clock.
    """
    dates = TwoClocks(ahead=1_700_000_000).dates
    assert dates.of(START) == START + 1_700_000_000
    assert dates.moment(dates.of(START)) == START


def test_noTime() -> None:
    """
    0 stands for no time at all, and remains that.
    """
    dates = TwoClocks(ahead=1_700_000_000).dates
    assert (dates.of(0.0), dates.moment(0.0)) == (0.0, 0.0)


@pytest.mark.parametrize("by", [3600.0, -3600.0, 1.0, -86_400.0 * 365])
def test_jump(by: float) -> None:
    """
    Once the clock was set, dates follow it, and moments don't.
    """
    clocks = TwoClocks()
    clocks.set(by)
    dates = clocks.dates
    assert dates.differ
    assert dates.of(clocks.seconds) == START + by
    assert dates.moment(dates.of(clocks.seconds)) == clocks.seconds


def test_writtenBeforeTheClockWasSetForward() -> None:
    """
    A period of a minute ends after a minute, although an hour is left out in between: the record says by which clock
    its date was meant.
    """
    clocks = TwoClocks()
    written = clocks.dates.now()
    clocks.seconds += 10
    clocks.set(3600)
    assert clocks.dates.moment(written + 60, written) == START + 60
    later = clocks.dates.now()
    assert clocks.dates.moment(later + 60, later) == START + 70


def test_writtenBeforeTheClockWasSetBack() -> None:
    """
    An hour comes twice: what was written in the first may be taken for the second, and ends later, never too early.
    """
    clocks = TwoClocks()
    written = clocks.dates.now()
    clocks.seconds += 4000
    clocks.set(-3600)
    assert clocks.dates.moment(written + 5000, written) == START + 5000
    clocks.seconds += 3600
    assert clocks.dates.moment(written + 4100 + 60, written + 4100) >= START + 4100 + 60


def test_haltedProcess() -> None:
    """
    A process that is halted between two looks at clocks does not take that for a jump.
    """
    told = iter([START, START, START, START + 1, *[START + 9] * 20])
    dates = Dates(lambda: next(told), iter([START, START + 9, *[START + 9] * 20]).__next__)
    assert dates.skew == 0.0
    assert not dates.differ


def test_setAllTheTime() -> None:
    """
    A clock that is set again and again takes no memory for it.
    """
    clocks = TwoClocks()
    for _ in range(500):
        clocks.set(5.0)
    assert len(clocks.dates._ahead) <= 100
    assert clocks.dates.moment(START + 60, START) == START + 60
