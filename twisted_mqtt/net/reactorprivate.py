"""
Tells whether anything else in the reactor has work to do, which the reactor's public interface does not tell; and gives
a reactor a clock that nobody sets.

It is the only module that uses private names of Twisted's reactors. If these names are missing, or with another
reactor, everything works, but slower, and by the clock that the reactor has. It imports nothing of Twisted, so that it
compiles where Twisted is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time
from typing import Any, Final

_NAMES: Final = ("_poller", "_newTimedCalls", "_pendingTimedCalls")

# A name of this module: a global of another module costs a look-up each time.
_monotonic: Final = monotonic
# The wall clock was ahead of the monotonic one by so many seconds when the process began.
_AHEAD: Final[float] = time() - monotonic()


def steadySeconds() -> float:
    """
    Seconds since the epoch as the wall clock stood when this module was imported, counted by the monotonic clock.
    """
    return _monotonic() + _AHEAD


def keepSteady(reactor: Any) -> Callable[[], float]:
    """
    Have a reactor measure time with L{steadySeconds}, where it would use the wall clock: Twisted's reactors do, so a
    clock that is set back would stop every delayed call, and one that is set forward would make all of them due. May be
    repeated, and done while the reactor runs: calls that are delayed already keep the time that is left.

    @param reactor: provides C{IReactorTime}. One with a clock of its own keeps it.

    @return: what tells dates beside that reactor: the wall clock, or a test's clock that is advanced by hand.
    """
    if hasattr(reactor, "advance"):
        seconds: Callable[[], float] = reactor.seconds
        return seconds
    if reactor.seconds is time:
        reactor.seconds = steadySeconds
        behind = steadySeconds() - time()
        for call in reactor.getDelayedCalls():
            # Both are attributes of Twisted's own calls; without the second, reset() would go by the wall clock.
            if getattr(call, "seconds", None) is time and hasattr(call, "time"):
                call.seconds = steadySeconds
                call.time += behind
    return time


class EPollWhole:
    """
    All that Twisted's C{epoll} reactor waits for, a L{Whole<twisted_mqtt.net.roles.Whole>}: its descriptors, in an
    C{epoll} that tells as often as it is asked; timed calls; and calls from threads and signals, which make a
    descriptor ready.
    """

    __slots__ = ("_reactor", "_poll", "_seconds")

    def __init__(self, reactor: Any) -> None:
        self._reactor: Any = reactor
        self._poll: Callable[[float, int], list[tuple[int, int]]] = reactor._poller.poll
        self._seconds: Callable[[], float] = reactor.seconds

    def isNext(self, fileno: int, seconds: float) -> bool:
        """
        See L{Whole<twisted_mqtt.net.roles.Whole>}.
        """
        reactor = self._reactor
        # The public timeout() says the same in five times the time, which is a tenth of what a lonely message costs.
        if reactor._newTimedCalls:
            return False
        timed: list[Any] = reactor._pendingTimedCalls
        wait = seconds
        if timed:
            due: float = timed[0].time
            wait = min(seconds, due - self._seconds())
            if wait <= 0.0:
                return False
        ready = self._poll(wait, 2)
        return len(ready) == 1 and ready[0][0] == fileno


def wholeOf(reactor: object) -> EPollWhole | None:
    """
    @return: all that a reactor waits for, or L{None} where that can't be known.
    """
    kind = type(reactor)
    # Not of a subclass, which may wait for more.
    if (kind.__module__, kind.__name__) != ("twisted.internet.epollreactor", "EPollReactor"):
        return None
    return EPollWhole(reactor) if all(hasattr(reactor, name) for name in _NAMES) else None
