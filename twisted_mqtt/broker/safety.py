"""
Lets callers wait until their changes are on disk.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from twisted_mqtt.core.router import Router


class NotSafe(Exception):
    """
    The broker has stopped before everything was written.
    """


class Safety:
    """
    Those who wait for the store, in the order of their coming.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        # (the sequence that has to be committed, who waits). One that was cancelled stays until its turn.
        self._waiting: deque[tuple[int, Deferred[None]]] = deque()
        router.released = self.committed

    def safe(self) -> Deferred[None] | None:
        """
        See L{twisted_mqtt.interfaces.IBroker}.
        """
        progress = self._router.progress
        if progress.sequence == progress.committed:
            return None
        safe: Deferred[None] = Deferred(lambda _: None)
        self._waiting.append((progress.sequence, safe))
        return safe

    def committed(self) -> None:
        """
        The store has come further.
        """
        waiting, committed = self._waiting, self._router.progress.committed
        while waiting and waiting[0][0] <= committed:
            safe = waiting.popleft()[1]
            if not safe.called:
                safe.callback(None)

    def stop(self) -> None:
        """
        The store is closed: who still waits will not see it written.
        """
        while self._waiting:
            safe = self._waiting.popleft()[1]
            if not safe.called:
                safe.errback(NotSafe("the broker has stopped, and its store could not be written"))
