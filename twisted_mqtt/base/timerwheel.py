"""
Deadlines of very many objects, few of which are ever due: one delayed call for all of them, to the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.logger import Logger

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime


_log = Logger()


class Timed(Protocol):
    """
    Something that is due one day.

    @ivar bucket: the second in which it will be asked; 0 while it is not going to be. The wheel's own.
    """

    bucket: int

    def due(self, now: float) -> float:
        """
        Its time has come, or has been put off meanwhile.

        @return: the moment when to ask again; 0 for never.
        """


class TimerWheel:
    """
    Asks things when they are due, up to a second late and never early.

    Putting a deadline off costs nothing: the thing says so when asked.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        # By the second in which they are due.
        self._buckets: dict[int, set[Timed]] = {}
        self._next = 0
        self._call: IDelayedCall | None = None
        # Whether things are being asked: what they add waits for the end of that to be timed.
        self._turning = False

    def add(self, timed: Timed, deadline: float) -> None:
        """
        Ask C{timed} at C{deadline}, and not later than it was to be asked before.
        """
        second = int(deadline) + 1
        if timed.bucket:
            if second >= timed.bucket:
                return
            self.remove(timed)
        if self._call is None and not self._turning:
            self._next = int(self._clock.seconds()) + 1
            self._call = self._clock.callLater(self._next - self._clock.seconds(), self._turn)
        self._put(timed, second)

    def _put(self, timed: Timed, second: int) -> None:
        second = timed.bucket = max(second, self._next)
        bucket = self._buckets.get(second)
        if bucket is None:
            self._buckets[second] = {timed}
        else:
            bucket.add(timed)

    def remove(self, timed: Timed) -> None:
        """
        Do not ask C{timed} any more; it need not be there.
        """
        second = timed.bucket
        timed.bucket = 0
        found = self._buckets.get(second)
        if found is not None:
            found.discard(timed)
            if not found:
                del self._buckets[second]

    def stop(self) -> None:
        """
        Forget everything.
        """
        self._buckets.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _turn(self) -> None:
        self._call = None
        self._turning = True
        now = self._clock.seconds()
        last = int(now)
        while self._next <= last:
            second = self._next
            bucket = self._buckets.pop(second, None)
            self._next += 1
            if bucket is None:
                # After a jump of the clock the seconds without anything are passed over at once.
                self._next = min(self._buckets, default=last + 1)
                continue
            for timed in bucket:
                if timed.bucket == second:  # not removed by one of those before it
                    self._ask(timed, now)
        # The clock may have jumped to before the next thing.
        self._next = last + 1
        self._turning = False
        if self._buckets:
            self._call = self._clock.callLater(max(0.0, self._next - now), self._turn)

    def _ask(self, timed: Timed, now: float) -> None:
        timed.bucket = 0
        try:
            again = timed.due(now)
        except Exception:
            _log.failure("A deadline failed")
            return
        if again and not timed.bucket:
            self._put(timed, int(again) + 1)
