"""
Tells whether anything else in the reactor has work to do, which the reactor's public interface does not tell.

It is the only module that uses private names of Twisted's reactors. If these names are missing, or with another
reactor, everything works, but slower. It imports nothing of Twisted, so that it compiles where Twisted is not
installed.
"""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Any, Final

_NAMES: Final = ("_poller", "_newTimedCalls", "_pendingTimedCalls")


class EPollWhole:
    """
    All that Twisted's C{epoll} reactor waits for, a L{Whole<twisted_mqtt.net.roles.Whole>}: its descriptors, in an
    C{epoll} that tells as often as it is asked; timed calls; and calls from threads and signals, which make a
    descriptor ready.
    """

    __slots__ = ("_reactor", "_poll")

    def __init__(self, reactor: Any) -> None:
        self._reactor: Any = reactor
        self._poll: Callable[[float, int], list[tuple[int, int]]] = reactor._poller.poll

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
            wait = min(seconds, due - time())
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
