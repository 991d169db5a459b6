"""
When a session ends, its messages that are only in the store go to other members of its shared subscriptions, page by
page (docs/architecture.md, "The store"; MQTT 5, 4.8.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.entry import Entry
    from twisted_mqtt.core.router import Router
    from twisted_mqtt.core.session import Session
    from twisted_mqtt.interfaces import IStore

#: The expiry of such a session until all is passed on. Its name is then one that no client can have ([MQTT-1.5.4-2]).
LEFT: Final = -1


class Redispatch:
    """
    The passing on, for all sessions of a broker.
    """

    def __init__(self, router: Router, store: IStore, seconds: Callable[[], float]) -> None:
        self._router = router
        self._store = store
        self._seconds = seconds

    def leaves(self, session: Session) -> bool:
        """
        Whether a session that ends leaves something in the store that others may want.
        """
        queue = session.queue
        return (
            session.journal is not None
            and queue is not None
            and (queue.dormant or queue.spilled > queue.skipped)
            and any(subscription.share is not None for subscription in session.subscriptions.values())
        )

    def begin(self, session: Session) -> None:
        """
        Pass on what a session has left that has just ended. After a crash L{resume} goes on with it.
        """
        self._store.removeWill(session.key)
        for topicFilter, subscription in list(session.subscriptions.items()):
            if subscription.share is None:
                del session.subscriptions[topicFilter]
                self._store.removeSubscription(session, topicFilter)
        # Its client may have a new one by now.
        session.clientID = f"\0{session.stored}"
        session.expiryInterval = LEFT
        session.expiresAt = 0.0
        self._store.saveSession(session)
        self.resume(session)

    def resume(self, session: Session) -> None:
        """
        Go on with one that a former process has begun.
        """
        session.shut = True
        session.pageTaker = lambda inflight, waiting, complete: self._take(session, inflight, waiting, complete)
        self._next(None, session)

    def _next(self, _: object, session: Session) -> None:
        journal, queue = session.journal, session.queue
        if journal is None or queue is None:
            return
        room = self._store.room()
        if room is not None:
            room.addCallback(self._next, session)
        elif not queue.loading:
            queue.ask()
            journal.page(session, queue.last)

    def _take(self, session: Session, inflight: list[Entry], waiting: list[Entry], complete: bool) -> None:
        journal, queue = session.journal, session.queue
        if journal is None or queue is None:
            return
        queue.loading = False
        queue.last = waiting[-1].number if waiting else max(queue.last, 0)
        # The oldest of a queue that was too long have been dropped.
        dropped = min(queue.skipped, len(waiting))
        queue.skipped -= dropped
        # One of QoS 2 in flight stays with its receiver ([MQTT-4.8.2-5]), and ends with it.
        left = [entry for entry in inflight if entry.qos == 1] + waiting[dropped:]
        for entry in (*inflight, *waiting):
            journal.settled(session, entry)
        now = self._seconds()
        shared = [each for each in left if each.share is not None and not 0.0 < each.message.expiresAt <= now]
        self._router.redispatch(shared, session)
        if complete:
            session.pageTaker = None
            session.subscriptions.clear()
            self._store.removeSession(session)
            session.journal = None
        else:
            self._next(None, session)
