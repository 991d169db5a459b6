"""
Retained messages: limits, expiry and the store below the tree (spec/hooks-modules-sys.md 3.5).
"""

from __future__ import annotations

import heapq
from sys import maxsize
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_mqtt.base.waiting import Maybe
from twisted_mqtt.config.schema_retainer import RetainerSettings
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.retainedtree import RetainedTree, RetainedWalk
from twisted_mqtt.core.topics import scoped, unscoped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
    @ivar report: is told of the limits that are reached, by their names in
        L{twisted_mqtt.broker.limitreports.LIMITS}, with a sentence for a person.
    @ivar source: has the payloads of those messages in the tree that have none, which no retained message is without;
        L{None} where all are in memory.
    """

    def __init__(self, counters: Counters, limits: RetainerSettings | None = None) -> None:
        self.limits = RetainerSettings() if limits is None else limits
        self.accepting = True
        self.source: PayloadReader | None = None
        self.report: Callable[[str, str], None] = _ignore
        self._counters = counters
        # Those of the default topic tree, and of the others by name.
        self._tree = RetainedTree()
        self._trees: dict[str, RetainedTree] = {}
        # Topics of the broker's own messages, which do not count against the limit.
        self._own: set[str] = set()
        # (when, topic with its topic tree) of those that expire; what was replaced meanwhile is found out when its time
        # comes.
        self._expiring: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return self._tree.count + sum([tree.count for tree in self._trees.values()])

    @property
    def bytes(self) -> int:
        """
        The length of all payloads in memory together.
        """
        return self._tree.bytes + sum([tree.bytes for tree in self._trees.values()])

    def topics(self, topicTree: str = "") -> list[str]:
        """
        The topics of a topic tree that have a retained message.
        """
        tree = self._treeOf(topicTree)
        return [] if tree is None else tree.topics()

    def topicTrees(self) -> list[str]:
        """
        The topic trees that may have retained messages; the default one, C{""}, is always among them.
        """
        return ["", *self._trees]

    def get(self, topic: str, topicTree: str = "") -> Message | None:
        """
        The retained message of a topic; without payload and properties where these are on disk alone.
        """
        tree = self._treeOf(topicTree)
        return None if tree is None else tree.get(topic)

    def fetch(self, topic: str, topicTree: str = "") -> Maybe[Message | None]:
        """
        The retained message of a topic, wherever it is.

        @return: the message, or L{None}, or a L{Deferred} of it that fails where it can't be read.
        """
        message = self.get(topic, topicTree)
        source = self.source
        if message is None or message.payload or source is None:
            return message
        return source.readRetained([scoped(topicTree, topic)]).addCallback(self._fetched, message)

    def _fetched(self, result: tuple[dict[str, Message], int], stub: Message) -> Maybe[Message | None]:
        # Another may have taken its place meanwhile.
        if not self._holds(stub):
            return self.fetch(stub.topic, stub.topicTree)
        return result[0].get(scoped(stub.topicTree, stub.topic))

    def _treeOf(self, topicTree: str) -> RetainedTree | None:
        return self._trees.get(topicTree) if topicTree else self._tree

    def _holds(self, message: Message) -> bool:
        """
        Whether this very message is the retained one of its topic.
        """
        return self.get(message.topic, message.topicTree) is message

    def read(self, messages: list[Message], done: Callable[[list[Message], int], None]) -> None:
        """
        See L{Retained<twisted_mqtt.core.backlog.Retained>}. Messages that can't be read are left out.
        """
        source = self.source
        if source is None:
            done([], len(messages))
            return

        def haveRead(result: tuple[dict[str, Message], int]) -> None:
            found, count = result
            # The asking session subscribed before this message was replaced, so it gets the new message anyway.
            same = [scoped(message.topicTree, message.topic) for message in messages[:count] if self._holds(message)]
            done([found[key] for key in same if key in found], count)

        def failed(failure: Any) -> None:
            _log.failure("Reading {count} retained messages failed", failure, count=len(messages))
            done([], len(messages))

        keys = [scoped(message.topicTree, message.topic) for message in messages]
        source.readRetained(keys).addCallbacks(haveRead, failed).addErrback(
            lambda failure: _log.failure("Delivering retained messages failed", failure)
        )

    def written(self, messages: Iterable[Message]) -> None:
        """
        These messages are in C{source} now: memory keeps that there is one, and until when.
        """
        for message in messages:
            tree = self._treeOf(message.topicTree)
            if tree is not None and tree.get(message.topic) is message:
                tree.put(stubOf(message))

    def put(self, message: Message) -> bool:
        """
        Keep a message for its topic, or forget the topic's message where the payload is empty ([MQTT-3.3.1-6]).

        @return: whether anything changed: not where a limit is against it, or none are taken; then the message goes on
            as an ordinary one.
        """
        topic = message.topic
        if not message.payload:
            return self.remove(topic, message.topicTree)
        if not self.accepting:
            return False
        limits = self.limits
        if not message.system:
            size = len(message.payload)
            if limits.max_payload_size and size > limits.max_payload_size:
                self.report("retained_payload", f"a message of {size} bytes for {topic!r} is not retained")
                return False
            full = limits.max_retained_messages and len(self) - len(self._own) >= limits.max_retained_messages
            own = not message.topicTree and topic in self._own
            before = self.get(topic, message.topicTree)
            if full and (own or before is None):
                self.report("retained", f"a message for {topic!r} is not retained: there are {len(self)}")
                return False
            # Less than there was for the topic is always taken.
            more = size - (0 if before is None else len(before.payload))
            if limits.max_retained_bytes and more > 0 and self.bytes + more > limits.max_retained_bytes:
                self.report("retained", f"a message for {topic!r} is not retained: there are {self.bytes} bytes")
                return False
            if own:
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
        topicTree = message.topicTree
        tree = self._tree
        if topicTree:
            other = self._trees.get(topicTree)
            tree = self._trees[topicTree] = RetainedTree() if other is None else other
        tree.put(message)
        self._counters.messages_retained = len(self)
        expiresAt = self.expiryOf(message)
        if expiresAt:
            heapq.heappush(self._expiring, (expiresAt, scoped(topicTree, message.topic)))
            if len(self._expiring) > 2 * len(self) + _SLACK:
                self._sweep()

    def _sweep(self) -> None:
        """
        Forget the times of messages that were replaced or removed: whoever does that all the time must not make the
        process grow.
        """
        self._expiring = [
            (expiresAt, scoped(topicTree, topic))
            for topicTree in ("", *self._trees)
            for topic in self.topics(topicTree)
            if (message := self.get(topic, topicTree)) is not None and (expiresAt := self.expiryOf(message))
        ]
        heapq.heapify(self._expiring)

    def remove(self, topic: str, topicTree: str = "") -> bool:
        """
        Forget the message of a topic; returns whether there was one.
        """
        tree = self._treeOf(topicTree)
        if tree is None or tree.remove(topic) is None:
            return False
        if not topicTree:
            self._own.discard(topic)
        elif tree.count == 0:
            del self._trees[topicTree]
        self._counters.messages_retained = len(self)
        return True

    def match(self, topicFilter: str, topicTree: str = "", steps: int = -1) -> list[Message] | None:
        """
        See L{Retained<twisted_mqtt.core.backlog.Retained>}.
        """
        tree = self._treeOf(topicTree)
        return [] if tree is None else tree.match(topicFilter, steps)

    def walk(self, topicFilter: str, topicTree: str = "") -> RetainedWalk | None:
        """
        See L{Retained<twisted_mqtt.core.backlog.Retained>}.
        """
        tree = self._treeOf(topicTree)
        return None if tree is None else tree.walk(topicFilter)

    def steps(self, topicFilter: str, topicTree: str = "") -> Iterator[Message | None]:
        """
        The messages whose topics match a filter, while they change: see C{RetainedTree.messages}. Those that are on
        disk alone have neither payload nor properties.

        @param topicFilter: C{""} for all, those too that no filter finds together with others.
        """
        tree = self._treeOf(topicTree)
        if tree is None:
            return iter(())
        return tree.messages(topicFilter) if topicFilter else tree.everything()

    def expiryOf(self, message: Message) -> float:
        """
        The moment when a message is to be forgotten; 0 for never. Its own expiry goes before the
        configured one, and the broker's own messages stay.
        """
        if message.expiresAt:
            return message.expiresAt
        interval = self.limits.expiry_interval
        return message.timestamp + interval if interval and not message.system else 0.0

    @property
    def nextExpiry(self) -> float:
        """
        When to look next for what is too old; 0 for never.
        """
        return self._expiring[0][0] if self._expiring else 0.0

    def expire(self, now: float, most: int = maxsize) -> list[str]:
        """
        Forget what is too old; returns the topics, each with its topic tree:
        L{scoped<twisted_mqtt.core.topics.scoped>}.

        @param most: how many to look at; see L{nextExpiry}.
        """
        gone: list[str] = []
        for _ in range(most):
            if not self._expiring or self._expiring[0][0] > now:
                break
            key = heapq.heappop(self._expiring)[1]
            topicTree, topic = unscoped(key)
            message = self.get(topic, topicTree)
            if message is not None:
                expiresAt = self.expiryOf(message)
                if expiresAt and expiresAt <= now:
                    self.remove(topic, topicTree)
                    gone.append(key)
        return gone


def _ignore(name: str, what: str) -> None:
    pass


def stubOf(message: Message) -> Message:
    """
    The part in memory of a message that is only on disk.
    """
    stub = Message(message.topic, b"", message.qos, True, None, "", message.timestamp, message.expiresAt)
    stub.topicTree = message.topicTree
    stub.number = message.number
    return stub
