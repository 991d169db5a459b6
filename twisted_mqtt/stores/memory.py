"""
The store of a broker that keeps nothing beyond its process.

The broker's memory holds everything, so this store has nothing to do; its tables are in memory too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from twisted_mqtt.core.journal import Progress
from twisted_mqtt.interfaces import IStore
from twisted_mqtt.stores.tables import Table, Tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.session import Session
    from twisted_mqtt.core.subscription import Subscription
    from twisted_mqtt.interfaces import IStoreOwner


@implementer(IStore)
class MemoryStore:
    """
    Keeps nothing.
    """

    durable = False
    size = 0

    def __init__(self) -> None:
        self.progress = Progress()
        self.commitTook: Callable[[float], None] | None = None
        self.journal = None
        self._tables = Tables()

    def table(self, name: str, largest: int = 0) -> Table:
        """
        See L{IStore}.
        """
        return self._tables.get(name, largest)

    def open(self, owner: IStoreOwner) -> None:
        """
        There is nothing to open.
        """

    def close(self) -> None:
        """
        There is nothing to close.
        """

    def measure(self) -> None:
        """
        See L{IStore}.
        """

    def saveSession(self, session: Session) -> None:
        """
        The session is in memory.
        """

    def removeSession(self, session: Session) -> None:
        """
        The session was in memory.
        """

    def saveSubscription(self, session: Session, subscription: Subscription) -> None:
        """
        The subscription is in memory.
        """

    def removeSubscription(self, session: Session, topicFilter: str) -> None:
        """
        The subscription was in memory.
        """

    def putRetained(self, message: Message) -> None:
        """
        The message is in memory.
        """

    def removeRetained(self, topic: str) -> None:
        """
        The message was in memory.
        """

    def saveWill(self, key: str, will: Message, publishAt: float, delay: float) -> None:
        """
        The will is in memory.
        """

    def removeWill(self, key: str) -> None:
        """
        The will was in memory.
        """

    def mark(self) -> None:
        """
        See L{IStore}. Nothing is ever written here.
        """
        self.progress.sequence += 1
        self.progress.reached(self.progress.sequence)

    def room(self) -> None:
        """
        There is room.
        """
