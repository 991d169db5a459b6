"""
What waits in the queues of all sessions together, and whose queues are the largest: where there is too much, the
largest give way (C{shedding}), and not the one that happens to get the next message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from twisted_mqtt.core.queue import MessageQueue
    from twisted_mqtt.core.session import Session

#: The rough weight of a message in memory besides its topic and payload, and its further weight in each queue.
MESSAGE_WEIGHT: Final = 400
ENTRY_WEIGHT: Final = 200

#: A queue below so many bytes is not looked for when something has to give way.
SMALL: Final = 1024

_SMALLEST_LEVEL: Final = 11
_LEVELS: Final = 48


class LargestQueues:
    """
    Sessions by the size of their queues, in powers of two: finding one of the largest costs the same however many there
    are. A queue that has become smaller is found out when it is looked at.
    """

    __slots__ = ("_levels", "_top")

    def __init__(self) -> None:
        self._levels: list[dict[Session, None]] = [{} for _ in range(_LEVELS)]
        self._top: int = 0

    def move(self, session: Session, before: int, size: int) -> int:
        """
        The queue of a session has so many bytes now.

        @param before: its level, 0 for none.

        @return: its new level; the queue is to be moved again when it has more than C{topOf} that.
        """
        level = _levelOf(size)
        if level != before:
            if before:
                self._levels[before].pop(session, None)
            if level:
                self._levels[level][session] = None
                self._top = max(self._top, level)
        return level

    def forget(self, session: Session, level: int) -> None:
        """
        The session has ended.
        """
        if level:
            self._levels[level].pop(session, None)

    def sessions(self) -> list[Session]:
        """
        All of them, the smallest first.
        """
        return [session for level in self._levels for session in level]

    def largest(self) -> tuple[Session, int] | None:
        """
        One of the largest, and its level; L{None} where none is worth it. It may have become smaller since.
        """
        while self._top > 0:
            level = self._levels[self._top]
            if level:
                return next(iter(level)), self._top
            self._top -= 1
        return None


def topOf(level: int) -> int:
    """
    The greatest size in a level.
    """
    return (1 << level) - 1 if level else SMALL - 1


def _levelOf(size: int) -> int:
    if size < SMALL:
        return 0
    return min(size.bit_length(), _LEVELS - 1)


class QueueBudget:
    """
    The limit of all queues together.

    @ivar bytes: what waits in memory, a message that waits in several queues counted once; roughly.
    @ivar limit: how much that may be; 0 for any amount.
    @ivar share: how many bytes one queue may have in the store; 0 for any number.
    @ivar scarce: whether the process has nearly used up its memory: then messages of QoS 0 do not wait.
    @ivar inMemory: the sessions by what their queues have in memory.
    @ivar inStore: the sessions by what the store has of their queues.
    @ivar losing: the sessions that have lost messages for want of room since somebody has looked here, each once.
    @ivar making: whether room is being made: whoever hears of what is dropped may publish.
    """

    __slots__ = ("bytes", "limit", "share", "scarce", "inMemory", "inStore", "losing", "making")

    def __init__(self) -> None:
        self.bytes: int = 0
        self.limit: int = 0
        self.share: int = 0
        self.scarce: bool = False
        self.inMemory: LargestQueues = LargestQueues()
        self.inStore: LargestQueues = LargestQueues()
        self.losing: list[Session] = []
        self.making: bool = False

    def weigh(self, session: Session, queue: MessageQueue) -> None:
        """
        Take note of how large the queue of a session has become.
        """
        queue.level = self.inMemory.move(session, queue.level, queue.memory)
        queue.levelTop = topOf(queue.level)
        queue.storedLevel = self.inStore.move(
            session, queue.storedLevel, queue.size if session.journal is not None else 0
        )
        queue.storedTop = topOf(queue.storedLevel)

    def forget(self, session: Session, queue: MessageQueue) -> None:
        """
        The queue of a session is not to give way any more: the session has ended.
        """
        self.inMemory.forget(session, queue.level)
        self.inStore.forget(session, queue.storedLevel)
        queue.level = queue.storedLevel = 0
