"""
Moments and dates.

A I{moment} is what the clock of the broker says (C{broker.clock.seconds()}): seconds since the epoch as the wall clock
stood when the process began, counted by a clock that nobody sets. Everything in memory is a moment, so the difference
of two is a duration, whatever happens to the wall clock.

A I{date} is what the wall clock says. It is for people and for other processes, later ones of this broker too: what the
store keeps are dates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable

_log = Logger()

#: Seconds by which the wall clock has to be off before that counts: two clocks can't be read at one instant.
TOLERANCE: Final = 0.5

#: Seconds that may pass between two looks at one clock; if it was more, the process was halted in between.
_AT_ONCE: Final = 0.05

#: So many settings of the clock are remembered. A machine that needs more has no clock to speak of.
_MOST: Final = 100


class Dates:
    """
    Makes dates of moments, and moments of dates.
    """

    def __init__(self, seconds: Callable[[], float], wall: Callable[[], float] | None = None) -> None:
        """
        @param seconds: tells moments.
        @param wall: tells dates; what tells moments, unless it is given.
        """
        self._seconds = seconds
        self._wall = seconds if wall is None else wall
        # Since which date the wall clock has been so many seconds ahead of moments: the last one holds now.
        self._ahead = [(float("-inf"), 0.0)]
        skew = self._measured()
        if abs(skew) > TOLERANCE:
            self._ahead = [(float("-inf"), skew)]

    @property
    def skew(self) -> float:
        """
        By how many seconds the wall clock is ahead of moments; 0 as long as nobody has set it.
        """
        known = self._ahead[-1][1]
        if abs(self._wall() - self._seconds() - known) <= TOLERANCE:
            return known
        skew = self._measured()
        if abs(skew - known) <= TOLERANCE:
            return known
        self._ahead.append((self._wall(), skew))
        if len(self._ahead) > _MOST:
            # The first holds for all that is older.
            del self._ahead[1]
        _log.warn(
            "the wall clock was set {direction} by {seconds} s: only dates follow it",
            direction="forward" if skew > known else "back",
            seconds=round(abs(skew - known), 1),
        )
        return skew

    @property
    def differ(self) -> bool:
        """
        Whether moments are other than dates, or have been.
        """
        return self.skew != 0.0 or len(self._ahead) > 1

    def now(self) -> float:
        """
        The date.
        """
        return self._wall()

    def of(self, moment: float) -> float:
        """
        The date of a moment; 0 for 0, which stands for no time at all.
        """
        return moment + self.skew if moment else 0.0

    def moment(self, date: float, written: float | None = None) -> float:
        """
        The moment of a date; 0 for 0.

        @param written: the date when this date was written down: if the wall clock was set meanwhile, the duration
            between the two is kept. The date itself unless it is given.
        """
        if not date:
            return 0.0
        skew = self.skew
        at = date if written is None else written
        for since, known in reversed(self._ahead):
            skew = known
            if at >= since:
                break
        return date - skew

    def _measured(self) -> float:
        for _ in range(10):
            before = self._seconds()
            wall = self._wall()
            if self._seconds() - before < _AT_ONCE:
                break
        return wall - before
