"""
Retained messages on their way to a client that has subscribed (3.3.1.3), as fast as the client takes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from twisted_mqtt.core.queue import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.subscription import Subscription

# Of messages that are on disk alone, so many are read at once.
_READ_AT_ONCE: Final = 128


class Retained(Protocol):
    """
    The retained messages of a broker.
    """

    def match(self, topicFilter: str, topicTree: str = "") -> list[Message]:
        """
        @param topicTree: in this topic tree.

        @return: those that match a filter, as a list that nobody changes. What has no payload is on disk alone.
        """

    def read(self, messages: list[Message], done: Callable[[list[Message], int], None]) -> None:
        """
        Read messages that are on disk alone.

        @param done: called, in this call or later, with some of the first ones, and how many these were; those that are
            not retained any more are left out.
        """


class Backlog:
    """
    The retained messages for a session's new subscriptions: one after the other, of one match at a time.

    @ivar isReading: whether something is being read from disk; then nothing can be taken, and C{arrived} is called once
        it is there. There is one such read at a time, however often a client subscribes.
    @ivar overtaken: topics of which nothing is wanted any more.
    """

    __slots__ = (
        "isReading",
        "overtaken",
        "_retained",
        "_arrived",
        "_waiting",
        "_matched",
        "_taken",
        "_asked",
        "_read",
        "_topicTree",
    )

    def __init__(self, retained: Retained, arrived: Callable[[Backlog], None], topicTree: str = "") -> None:
        self.isReading: bool = False
        self.overtaken: set[str] | None = None
        self._retained: Retained = retained
        self._topicTree: str = topicTree
        self._arrived: Callable[[Backlog], None] = arrived
        # The subscriptions, by filter, oldest first; and of the first of them the messages and how many of those have
        # gone. Only one such list is held at a time, however many filters wait.
        self._waiting: dict[str, Subscription] = {}
        self._matched: list[Message] | None = None
        self._taken: int = 0
        # Of these messages, what is being read from disk; and what has been read, the next one last.
        self._asked: list[Message] | None = None
        self._read: list[Message] | None = None

    @property
    def isEmpty(self) -> bool:
        """
        Whether there is nothing left, nor being read.
        """
        return not self._waiting and not self.isReading

    def add(self, subscription: Subscription) -> None:
        """
        Add a subscription. The same one again replaces what is left of it: a client can't pile up work.
        """
        self.remove(subscription.topicFilter)
        if not self._waiting:
            matched = self._retained.match(subscription.matching, self._topicTree)
            if not matched:
                return
            self._matched = matched
            self._taken = 0
        self._waiting[subscription.topicFilter] = subscription

    def remove(self, topicFilter: str) -> None:
        """
        Nothing more is wanted for a subscription.
        """
        if topicFilter in self._waiting:
            if next(iter(self._waiting)) == topicFilter:
                self._forget()
            del self._waiting[topicFilter]

    def take(self, upgradeQoS: bool) -> Entry | None:
        """
        Take the next message; L{None} where there is none at hand: a subscription has no more, and another may, or what
        is on disk has to be read first.
        """
        topicFilter = next(iter(self._waiting))
        subscription = self._waiting[topicFilter]
        read = self._read
        if read is not None:
            message = read.pop()
            if not read:
                self._read = None
        else:
            matched = self._matched
            if matched is None:
                matched = self._matched = self._retained.match(subscription.matching, self._topicTree)
                self._taken = 0
            if self._taken >= len(matched):
                self.remove(topicFilter)
                return None
            message = matched[self._taken]
            if not message.payload:
                self._readOn(matched)
                return None
            self._taken += 1
        if self.overtaken is not None and message.topic in self.overtaken:
            return None
        qos = min(message.qos, subscription.qos) if not upgradeQoS else subscription.qos
        return Entry(message, qos, True, subscription.identifiers, None)  # [MQTT-3.3.1-8]

    def takeLasting(self, upgradeQoS: bool) -> Entry | None:
        """
        The same for a client that is gone: nothing of QoS 0, and for subscriptions of that nothing is read.
        """
        topicFilter = next(iter(self._waiting))
        if self._waiting[topicFilter].qos == 0:
            self.remove(topicFilter)
            return None
        entry = self.take(upgradeQoS)
        return entry if entry is not None and entry.qos else None

    def overtake(self, topic: str) -> None:
        """
        Something newer of a topic is ahead.
        """
        if self.overtaken is None:
            self.overtaken = set()
        self.overtaken.add(topic)

    def _forget(self) -> None:
        self._matched = self._asked = self._read = None

    def _readOn(self, matched: list[Message]) -> None:
        """
        Ask for the next of the messages that are on disk alone.
        """
        asked: list[Message] = []
        for message in matched[self._taken : self._taken + _READ_AT_ONCE]:
            if message.payload:
                break
            asked.append(message)
        self._asked = asked
        self.isReading = True
        self._retained.read(asked, lambda found, count: self._haveRead(asked, found, count))

    def _haveRead(self, asked: list[Message], found: list[Message], count: int) -> None:
        self.isReading = False
        # It may be for a subscription that has been replaced or has ended.
        if self._asked is asked:
            self._asked = None
            self._taken += count
            if found:
                found.reverse()
                self._read = found
        self._arrived(self)
