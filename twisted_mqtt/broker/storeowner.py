"""
The broker as its store sees it: takes over the content of the store at the start, and hears of the state of the store
after that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from zope.interface import implementer

from twisted_mqtt.broker.redispatch import LEFT
from twisted_mqtt.core.session import NEVER
from twisted_mqtt.core.topics import splitShare, unscoped
from twisted_mqtt.interfaces import IStoreOwner

if TYPE_CHECKING:
    from twisted_mqtt.broker.broker import Broker
    from twisted_mqtt.broker.retained import PayloadReader
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.session import Session
    from twisted_mqtt.core.subscription import Subscription
    from twisted_mqtt.stores.rows import KeptSession

#: The name of the alarm of a store that can't be written.
ALARM: Final = "store_failed"
#: The name of the alarm of a store that has lost content.
LOST: Final = "store_lost"


@implementer(IStoreOwner)
class StoreOwner:
    """
    The broker as the owner of its store.

    Clients that were connected when the process ended have lost their connections: their sessions end and their wills
    are published as long after the new start as after a lost connection. Nobody knows when the old process ended.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.nodeName = broker.nodeName
        # Sessions that had ended, and left something for others.
        self._left: list[Session] = []

    # At the start

    def retainedAreIn(self, source: PayloadReader) -> None:
        """
        See L{IStoreOwner}.
        """
        self._broker.retained.source = source

    def restoreSession(self, kept: KeptSession) -> Session | None:
        """
        See L{IStoreOwner}.
        """
        if kept.expiry == 0:
            # It was to end with its connection, and that has ended with the process.
            return None
        broker = self._broker
        topicTree, clientID = unscoped(kept.key)
        session = broker.absent.make(
            clientID, topicTree, kept.username, kept.mountpoint, kept.zone, kept.expiry, kept.createdAt
        )
        if kept.expiry not in (NEVER, LEFT):
            session.expiresAt = kept.expiresAt or broker.now() + kept.expiry
        if kept.expiry == LEFT:
            self._left.append(session)
        else:
            broker.registry.restore(session)
        return session

    def restoreSubscription(self, subscription: Subscription) -> None:
        """
        See L{IStoreOwner}.
        """
        session = subscription.session
        topicTree = "" if session is None else session.topicTree
        self._broker.router.subscribe(topicTree, subscription, splitShare(subscription.topicFilter)[0])

    def restoreRetained(self, message: Message) -> None:
        """
        See L{IStoreOwner}. The first housekeeping removes everything that is too old.
        """
        self._broker.retained.restore(message)

    def restoreWill(self, key: str, will: Message, publishAt: float, delay: float) -> None:
        """
        See L{IStoreOwner}.
        """
        broker = self._broker
        session = broker.sessions.get(key)
        if session is None:
            # Its session was to end with the connection, and both have ended with the process.
            broker.wills.publishSoon(key, will)
            return
        now = broker.now()
        if not publishAt:
            if session.expiryInterval != NEVER:
                delay = min(delay, session.expiryInterval)  # [MQTT-3.1.3-9]
            publishAt = now + delay
            broker.store.saveWill(key, will, publishAt, delay)
        # Not before the others are here, who may want to hear it.
        broker.wills.delay(session, will, max(0.0, publishAt - now))

    def restored(self) -> None:
        """
        See L{IStoreOwner}.
        """
        broker = self._broker
        left, self._left = self._left, []
        for session in left:
            # They were members until now to know their groups.
            for subscription in session.subscriptions.values():
                share = splitShare(subscription.topicFilter)[0]
                broker.router.unsubscribe(session.topicTree, subscription.matching, session, share)
            if session.queue is None:
                broker.store.removeSession(session)
            else:
                broker.registry.restore(session)
        broker.bans.load()
        broker.topicMetrics.load()
        broker.alarms.load()

    # While it runs

    def committed(self) -> None:
        """
        See L{IStoreOwner}.
        """
        self._broker.router.committed()

    def retainedWritten(self, messages: list[Message]) -> None:
        """
        See L{IStoreOwner}.
        """
        self._broker.retained.written(messages)

    def hurry(self, whether: bool) -> None:
        """
        See L{IStoreOwner}.
        """
        self._broker.hurry(whether)

    def storeFailed(self, text: str) -> None:
        """
        See L{IStoreOwner}.
        """
        self._broker.alarms.activate(ALARM, "critical", "The store can't be written", text)

    def storeLost(self, text: str) -> None:
        """
        See L{IStoreOwner}.
        """
        self._broker.alarms.activate(LOST, "critical", "The store has lost content", text)

    def storeRecovered(self) -> None:
        """
        See L{IStoreOwner}.
        """
        self._broker.alarms.deactivate(ALARM)
