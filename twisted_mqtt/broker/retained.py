"""
Retained messages: limits, expiry and the store below the tree (spec/hooks-modules-sys.md 3.5).
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_mqtt.config.schema_retainer import RetainerSettings
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.tree import RetainedTree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twisted_mqtt.core.counters import Counters

_log = Logger()


# So many times of messages that are gone may stand in the list of those that expire, besides one for each that is not.
_SLACK: Final = 1000


class PayloadReader(Protocol):
    """
    Where the messages are whose payloads are not in memory.
    """

    def readRetained(self, topics: list[str]) -> Deferred[tuple[dict[str, Message], int]]:
        """
        Read the messages of some topics.

        @return: fires with the messages, by topic, and with how many of the topics were looked at, from the first on:
            one at least. It fails where they can't be read.
        """


class RetainedMessages:
    """
    The retained messages of a broker: L{Retained<twisted_mqtt.core.backlog.Retained>} messages.

    @ivar limits: how many, how large, and for how long; may be exchanged while the broker runs.
    @ivar accepting: whether messages are retained; what is retained already stays.
    @ivar source: has the payloads of those messages in the tree that have none, which no retained message is without;
        L{None} where all are in memory.
    """

    def __init__(self, counters: Counters, limits: RetainerSettings | None = None) -> None:
        self.limits = RetainerSettings() if limits is None else limits
        self.accepting = True
        self.source: PayloadReader | None = None
        self._counters = counters
        self._tree = RetainedTree()
        # Topics of the broker's own messages, which do not count against the limit.
        self._own: set[str] = set()
        # (when, topic) of those that expire; what was replaced meanwhile is found out when its time comes.
        self._expiring: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return self._tree.count

    @property
    def bytes(self) -> int:
        """
        The length of all payloads in memory together.
        """
        return self._tree.bytes

    def topics(self) -> list[str]:
        """
        The topics that have a retained message.
        """
        return self._tree.topics()

    def get(self, topic: str) -> Message | None:
        """
        The retained message of a topic; without payload and properties where these are on disk alone.
        """
        return self._tree.get(topic)

    def fetch(self, topic: str) -> Any:
        """
        The retained message of a topic, wherever it is.

        @return: the message, or L{None}, or a L{Deferred} of it that fails where it can't be read.
        """
        message = self._tree.get(topic)
        source = self.source
        if message is None or message.payload or source is None:
            return message
        return source.readRetained([topic]).addCallback(self._fetched, message)

    def _fetched(self, result: tuple[dict[str, Message], int], stub: Message) -> Any:
        # Another may have taken its place meanwhile.
        return result[0].get(stub.topic) if self._tree.get(stub.topic) is stub else self.fetch(stub.topic)

    def read(self, messages: list[Message], done: Callable[[list[Message], int], None]) -> None:
        """
        See L{Retained<twisted_mqtt.core.backlog.Retained>}. What can't be read is left out.
        """
        source = self.source
        if source is None:
            done([], len(messages))
            return

        def haveRead(result: tuple[dict[str, Message], int]) -> None:
            found, count = result
            # Who asks has subscribed before what has taken a message's place since, and gets that itself.
            same = [message.topic for message in messages[:count] if self._tree.get(message.topic) is message]
            done([found[topic] for topic in same if topic in found], count)

        def failed(failure: Any) -> None:
            _log.failure("Reading {count} retained messages failed", failure, count=len(messages))
            done([], len(messages))

        source.readRetained([message.topic for message in messages]).addCallbacks(haveRead, failed).addErrback(
            lambda failure: _log.failure("Delivering retained messages failed", failure)
        )

    def written(self, messages: Iterable[Message]) -> None:
        """
        These messages are in C{source} now: memory keeps that there is one, and until when.
        """
        for message in messages:
            if self._tree.get(message.topic) is message:
                self._tree.put(stubOf(message))

    def put(self, message: Message) -> bool:
        """
        Keep a message for its topic, or forget the topic's message where the payload is empty ([MQTT-3.3.1-6]).

        @return: whether anything changed: not where a limit is against it, or none are taken; then the message goes on
            as an ordinary one.
        """
        topic = message.topic
        if not message.payload:
            return self.remove(topic)
        if not self.accepting:
            return False
        limits = self.limits
        if not message.system:
            if limits.max_payload_size and len(message.payload) > limits.max_payload_size:
                return False
            full = limits.max_retained_messages and self._tree.count - len(self._own) >= limits.max_retained_messages
            if full and (topic in self._own or self._tree.get(topic) is None):
                return False
            self._own.discard(topic)
        else:
            self._own.add(topic)
        self.restore(message)
        return True

    def restore(self, message: Message) -> None:
        """
        Keep a message that was kept before, whatever the limits are now.

        @param message: without payload where that is in C{source}.
        """
        topic = message.topic
        self._tree.put(message)
        self._counters.messages_retained = self._tree.count
        expiresAt = self.expiryOf(message)
        if expiresAt:
            heapq.heappush(self._expiring, (expiresAt, topic))
            if len(self._expiring) > 2 * self._tree.count + _SLACK:
                self._sweep()

    def _sweep(self) -> None:
        """
        Forget the times of messages that were replaced or removed: whoever does that all the time must not make the
        process grow.
        """
        times = {topic: self.expiryOf(message) for topic in self.topics() if (message := self.get(topic)) is not None}
        self._expiring = [(expiresAt, topic) for topic, expiresAt in times.items() if expiresAt]
        heapq.heapify(self._expiring)

    def remove(self, topic: str) -> bool:
        """
        Forget the message of a topic; returns whether there was one.
        """
        if self._tree.remove(topic) is None:
            return False
        self._own.discard(topic)
        self._counters.messages_retained = self._tree.count
        return True

    def match(self, topicFilter: str) -> list[Message]:
        """
        The messages for a new subscription. The list must not be changed.
        """
        return self._tree.match(topicFilter)

    def expiryOf(self, message: Message) -> float:
        """
        When a message is to be forgotten, in seconds since the epoch; 0 for never. Its own expiry goes before the
        configured one, and the broker's own messages stay.
        """
        if message.expiresAt:
            return message.expiresAt
        interval = self.limits.expiry_interval
        return message.timestamp + interval if interval and not message.system else 0.0

    def expire(self, now: float) -> list[str]:
        """
        Forget what is too old; returns the topics.
        """
        gone: list[str] = []
        while self._expiring and self._expiring[0][0] <= now:
            topic = heapq.heappop(self._expiring)[1]
            message = self._tree.get(topic)
            if message is not None:
                expiresAt = self.expiryOf(message)
                if expiresAt and expiresAt <= now:
                    self.remove(topic)
                    gone.append(topic)
        return gone


def stubOf(message: Message) -> Message:
    """
    What is in memory of a message that is on disk alone.
    """
    return Message(message.topic, b"", message.qos, True, None, "", message.timestamp, message.expiresAt)
