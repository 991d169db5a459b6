"""
Retained messages: limits, expiry and the store below the tree (spec/hooks-modules-sys.md 3.5).
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from twisted_mqtt.config.schema_extensions import Retainer
from twisted_mqtt.core.tree import RetainedTree

if TYPE_CHECKING:
    from twisted_mqtt.core.counters import Counters
    from twisted_mqtt.core.message import Message


# So many times of messages that are gone may stand in the list of those that expire, besides one for each that is not.
_SLACK: Final = 1000


class RetainedMessages:
    """
    The retained messages of a broker.

    @ivar limits: how many, how large, and for how long; may be exchanged while the broker runs.
    """

    def __init__(self, counters: Counters, limits: Retainer | None = None) -> None:
        self.limits = Retainer() if limits is None else limits
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
        The length of all payloads together.
        """
        return self._tree.bytes

    def topics(self) -> list[str]:
        """
        The topics that have a retained message.
        """
        return self._tree.topics()

    def get(self, topic: str) -> Message | None:
        """
        The retained message of a topic.
        """
        return self._tree.get(topic)

    def put(self, message: Message) -> bool:
        """
        Keep a message for its topic, or forget the topic's message where the payload is empty ([MQTT-3.3.1-6]).

        @return: whether anything changed: not where a limit is against it; then the message goes on as an ordinary one.
        """
        topic = message.topic
        if not message.payload:
            return self.remove(topic)
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
        self._tree.put(message)
        self._counters.messages_retained = self._tree.count
        expiresAt = self.expiryOf(message)
        if expiresAt:
            heapq.heappush(self._expiring, (expiresAt, topic))
            if len(self._expiring) > 2 * self._tree.count + _SLACK:
                self._sweep()
        return True

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
