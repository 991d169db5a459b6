"""
The queue of a watch: bounded; the router fills it and the broker empties it.

It is in a tree of its own (C{Router.watches}), so a watcher is not a subscriber: no figure counts it, and a message
that only a watcher sees has no matching subscribers.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from twisted_mqtt.core.message import Message
from twisted_mqtt.core.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable


class WatchQueue:
    """
    The messages that one watch has still to be given, in the order of their publication. It is a
    L{Subscriber<twisted_mqtt.core.subscription.Subscriber>}.

    @ivar length: how many messages wait.
    @ivar bytes: the length of their topics and payloads together.
    @ivar longest: the greatest C{length} so far.
    @ivar matched: how many messages came so far.
    @ivar dropped: how many of them found no room, or had to make room.
    @ivar closed: whether nothing is taken any more.
    """

    __slots__ = (
        "length",
        "bytes",
        "longest",
        "matched",
        "dropped",
        "closed",
        "_wake",
        "_limit",
        "_limitBytes",
        "_dropNewest",
        "_waiting",
    )

    def __init__(self, wake: Callable[[], None], limit: int, limitBytes: int, dropNewest: bool) -> None:
        """
        @param wake: called when the first message has come to an empty queue. It must neither wait nor raise.
        @param limit: how many messages may wait.
        @param limitBytes: how many bytes of topics and payloads may wait.
        @param dropNewest: whether a message that finds no room is dropped; else the oldest make room for it.
        """
        self.length: int = 0
        self.bytes: int = 0
        self.longest: int = 0
        self.matched: int = 0
        self.dropped: int = 0
        self.closed: bool = False
        self._wake: Callable[[], None] = wake
        self._limit: int = limit
        self._limitBytes: int = limitBytes
        self._dropNewest: bool = dropNewest
        self._waiting: deque[Message] = deque()

    @property
    def clientID(self) -> str:
        """
        Empty: it is no client.
        """
        return ""

    @property
    def online(self) -> bool:
        """
        Always.
        """
        return True

    def deliver(self, message: Message, subscription: Subscription) -> None:
        """
        Take a message, if there is or can be made room for it.
        """
        if self.closed:
            return
        self.matched += 1
        size = sizeOf(message)
        if self.length >= self._limit or self.bytes + size > self._limitBytes:
            if self._dropNewest or size > self._limitBytes:
                self.dropped += 1
                return
            while self.length and (self.length >= self._limit or self.bytes + size > self._limitBytes):
                self.dropped += 1
                self.take()
        self._waiting.append(message)
        self.bytes += size
        length = self.length + 1
        self.length = length
        if length > self.longest:
            self.longest = length
        if length == 1:
            self._wake()

    def take(self) -> Message:
        """
        Take the oldest message out; there must be one.
        """
        message = self._waiting.popleft()
        self.length -= 1
        self.bytes -= sizeOf(message)
        return message

    def close(self) -> None:
        """
        Take nothing more, and forget what waits.
        """
        self.closed = True
        self._waiting.clear()
        self.length = 0
        self.bytes = 0


def sizeOf(message: Message) -> int:
    """
    The size of a message in bytes. Each character counts as one byte, which is near enough for a bound.
    """
    return len(message.payload) + len(message.topic)
