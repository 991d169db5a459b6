"""
Long work in the reactor thread, a portion at a time: whatever one client asks for, the others have their turns.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from twisted_mqtt.core.events import Work

_log = Logger()

T = TypeVar("T")

#: Seconds of a turn of the reactor that all such work together takes.
PORTION: Final = 0.005
# Seconds of it for one piece of work while others wait too, or where nobody is in a hurry.
_SLICE: Final = 0.001


class _Turn:
    """
    One who waits for a turn.
    """

    __slots__ = ("_waiting",)

    def __init__(self, waiting: Deferred[None]) -> None:
        self._waiting = waiting

    def goOn(self) -> bool:
        """
        See L{Work}.
        """
        waiting = self._waiting
        if not waiting.called:  # else it was cancelled
            waiting.callback(None)
        return False


class Portions:
    """
    The long work of a broker. All of it together takes L{PORTION} of each turn of the reactor; what waits takes turns.

    @ivar portion: seconds of a turn; may be changed.
    @ivar until: until when whoever has its turn may work, as C{perf_counter} tells it.
    """

    __slots__ = ("_call", "_clock", "_patient", "_works", "portion", "until")

    def __init__(self, clock: IReactorTime) -> None:
        self.portion: float = PORTION
        self.until: float = 0.0
        self._clock = clock
        self._works: deque[Work] = deque()
        # Those who are in no hurry: one of them has a slice of each turn.
        self._patient: deque[Deferred[None]] = deque()
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._works) + len(self._patient)

    def add(self, work: Work) -> None:
        """
        Have C{work.goOn} called in later turns, again and again, until it says that there is nothing left.
        """
        self._works.append(work)
        self._goOn()

    def turn(self) -> Deferred[None]:
        """
        Wait for a turn.

        @return: fires in a later turn of the reactor; the callback may work until L{until}. It does not fail.
        """
        waiting: Deferred[None] = Deferred()
        self.add(_Turn(waiting))
        return waiting

    def begin(self) -> float:
        """
        Begin something that may turn out to be long.

        @return: until when to work before waiting for a L{turn}, as C{perf_counter} tells it.
        """
        return perf_counter() + self.portion

    async def all(self, source: Iterable[T]) -> list[T]:
        """
        Take everything that an iterable has. All calls of this together take a millisecond of each turn of the reactor,
        and the longest step: who asks for so much has time, and what clients send meanwhile does not wait for it.

        @return: what it has, in its order; fails with what it raises.
        """
        found: list[T] = []
        until = perf_counter() + _SLICE
        for each in source:
            found.append(each)
            if perf_counter() > until:
                await self._rest()
                until = perf_counter() + _SLICE
        return found

    def stop(self) -> None:
        """
        Forget everything.
        """
        self._works.clear()
        self._patient.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _rest(self) -> Deferred[None]:
        waiting: Deferred[None] = Deferred()
        self._patient.append(waiting)
        self._goOn()
        return waiting

    def _goOn(self) -> None:
        if self._call is None:
            self._call = self._clock.callLater(0, self._turn)

    def _turn(self) -> None:
        self._call = None
        works = self._works
        now = perf_counter()
        end = now + self.portion
        while works and now < end:
            work = works.popleft()
            until = self.until = min(end, now + _SLICE) if works else end
            try:
                more = True
                while more and now < until:
                    more = work.goOn()
                    now = perf_counter()
                if more:
                    works.append(work)
            except Exception:
                _log.failure("Work in portions failed")
                now = perf_counter()
        patient = self._patient
        while patient:
            waiting = patient.popleft()
            if not waiting.called:  # else it was cancelled
                waiting.callback(None)
                break
        if works or patient:
            self._goOn()
