"""
Messages that wait for one subscriber: a bounded queue by priority, oldest first. When it is full, QoS 0 messages are
dropped first.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from twisted_mqtt.core.entry import Entry
from twisted_mqtt.core.limits import Limits
from twisted_mqtt.core.queuebudget import ENTRY_WEIGHT, MESSAGE_WEIGHT, SMALL, QueueBudget
from twisted_mqtt.core.subscription import SharedGroup

#: Of a queue that a store keeps, so many bytes stay in memory, and one message more.
BYTES_IN_MEMORY: Final = 1 << 20


class _Lane:
    """
    The entries of one priority. QoS 0 stands apart so that the oldest of it can be dropped without a search.
    """

    __slots__ = ("qos0", "others")

    def __init__(self) -> None:
        self.qos0: deque[Entry] = deque()
        self.others: deque[Entry] = deque()


class MessageQueue:
    """
    The queue of a session. Its oldest entries are in memory; the others may be in a store, which gives them in pages.

    @ivar qos0: how many entries of QoS 0 wait.
    @ivar capacity: how many entries of QoS 1 and 2 are kept in memory; 0 for all.
    @ivar spilled: how many more entries the store has.
    @ivar skipped: how many of those, the oldest, have been dropped since.
    @ivar last: the number of the last entry before those of the store; -1 where what is in flight is there too.
    @ivar loading: whether a page has been asked for.
    @ivar memory: bytes (topics and payloads) of the entries in memory.
    @ivar stored: bytes of those that the store has besides; roughly, where some of these have been dropped unread.
    @ivar most: how many entries may wait; 0 for any number.
    @ivar mostQoS0: how many of QoS 0, which are all in memory; 0 for any number.
    @ivar mostBytes: how many bytes may wait; 0 for any number.
    @ivar level: where C{budget} has the queue among those in memory, and C{storedLevel} among those in the store.
    @ivar dormant: whether the store has everything, what is in flight too: nothing can be sent before it has come.
    """

    __slots__ = (
        "limits",
        "qos0",
        "capacity",
        "spilled",
        "skipped",
        "last",
        "loading",
        "dormant",
        "memory",
        "stored",
        "most",
        "mostQoS0",
        "mostBytes",
        "budget",
        "level",
        "levelTop",
        "storedLevel",
        "storedTop",
        "_late",
        "_lateBytes",
        "_lanes",
        "_priorities",
        "_count",
        "_next",
    )

    def __init__(self, limits: Limits, budget: QueueBudget | None = None) -> None:
        """
        @param budget: of all queues together.
        """
        self.limits: Limits = limits
        self.budget: QueueBudget = QueueBudget() if budget is None else budget
        self.qos0: int = 0
        self.capacity: int = 0
        self.spilled: int = 0
        self.skipped: int = 0
        self.last: int = 0
        self.loading: bool = False
        self.dormant: bool = False
        self.memory: int = 0
        self.stored: int = 0
        self.most: int = 0
        self.mostQoS0: int = 0
        self.mostBytes: int = 0
        self.level: int = 0
        self.levelTop: int = SMALL - 1
        self.storedLevel: int = 0
        self.storedTop: int = SMALL - 1
        # Entries that were spilled after the page that is loading had been asked for, and their bytes.
        self._late: int = 0
        self._lateBytes: int = 0
        self._lanes: dict[int, _Lane] = {}
        self._priorities: list[int] = []
        self._count: int = 0
        self._next: int = 1
        self.bound(limits, False, False)

    def bound(self, limits: Limits, kept: bool, online: bool) -> None:
        """
        Go by these limits from now on. What is beyond them already stays until the next message comes.

        @param kept: whether a store keeps the queue.
        @param online: whether the client is connected.
        """
        self.limits = limits
        self.most = mostOf(limits, kept, online)
        self.mostQoS0 = mostOf(limits, False, online)
        mostBytes = limits.maxQueueBytes
        share = self.budget.share
        if kept and share and (mostBytes == 0 or share < mostBytes):
            mostBytes = share
        self.mostBytes = mostBytes

    def __len__(self) -> int:
        return self._count + self.spilled - self.skipped

    @property
    def length(self) -> int:
        """
        How many entries wait; what C{len} says, for compiled callers.
        """
        return self._count + self.spilled - self.skipped

    @property
    def ready(self) -> int:
        """
        How many of them are in memory.
        """
        return self._count

    @property
    def size(self) -> int:
        """
        How many bytes wait.
        """
        return self.memory + self.stored

    @property
    def spills(self) -> bool:
        """
        Whether a new entry of QoS 1 or 2 belongs to the store alone.
        """
        if self.spilled > 0 or self.dormant:
            return True
        return self.capacity > 0 and (self._count - self.qos0 >= self.capacity or self.memory >= BYTES_IN_MEMORY)

    @property
    def wantsPage(self) -> bool:
        """
        Whether the next page of the store is to be read, so that it is there when it is wanted.
        """
        return (
            self.spilled > 0
            and not self.loading
            and (self._count == 0 or (self._count < self.capacity // 2 and self.memory < BYTES_IN_MEMORY // 2))
        )

    def push(self, entry: Entry) -> Entry | None:
        """
        Add an entry behind the others of its priority.

        @return: what had to go to make room: the oldest of QoS 0 in the lowest priority that has one, else the oldest
            of the lowest priority; it may be the new entry itself.
        """
        lane = self._lane(entry)
        entry.order = self._next
        self._next += 1
        if entry.qos == 0:
            lane.qos0.append(entry)
            self.qos0 += 1
        else:
            lane.others.append(entry)
        self._added(entry)
        if self.most and self.length > self.most:
            return self._overflow()
        if entry.qos == 0 and self.mostQoS0 and self.qos0 > self.mostQoS0:
            return self._overflow()
        return None

    def spill(self, entry: Entry) -> Entry | None:
        """
        Add an entry that the store has been told of, and leave it there.

        @return: see L{push}.
        """
        if self.spilled == 0 and not self.dormant:
            self.last = entry.number - 1
        size = _sizeOf(entry)
        self.spilled += 1
        self.stored += size
        if self.loading:
            self._late += 1
            self._lateBytes += size
        if self.most and self.length > self.most:
            return self._overflow()
        return None

    def ask(self) -> None:
        """
        A page is asked for.
        """
        self.loading = True
        self._late = 0
        self._lateBytes = 0

    def fill(self, entries: list[Entry], complete: bool) -> list[Entry]:
        """
        A page has come.

        @param complete: whether there was no more when it was asked for.

        @return: those that had been dropped meanwhile.
        """
        self.loading = False
        self.spilled = self._late if complete else max(0, self.spilled - len(entries))
        if entries:
            self.last = entries[-1].number
        dropped = entries[: self.skipped]
        self.skipped = min(self.skipped - len(dropped), self.spilled)
        before = self.memory
        for entry in entries[len(dropped) :]:
            self._lane(entry).others.append(entry)
            entry.order = self._next
            self._next += 1
            self._added(entry)
        if complete:
            self.stored = self._lateBytes * (self.spilled - self.skipped) // max(1, self.spilled)
        elif self.spilled == self.skipped:
            self.stored = 0
        else:
            self.stored = max(0, self.stored - (self.memory - before))
        return dropped

    def pop(self) -> Entry | None:
        """
        Take the next entry: greatest priority first, oldest first.
        """
        for priority in self._priorities:
            lane = self._lanes[priority]
            qos0 = lane.qos0
            others = lane.others
            if qos0:
                if not others or qos0[0].order < others[0].order:
                    self.qos0 -= 1
                    return self._taken(qos0.popleft())
            elif not others:
                continue
            return self._taken(others.popleft())
        return None

    def putBack(self, entry: Entry) -> None:
        """
        Put an entry that was popped back to the front of its lane; never overflows.
        """
        lane = self._lane(entry)
        if entry.qos == 0:
            lane.qos0.appendleft(entry)
            self.qos0 += 1
        else:
            lane.others.appendleft(entry)
        self._added(entry)

    def popQoS0(self) -> Entry | None:
        """
        Take the next entry of QoS 0, for which the in-flight window does not count.
        """
        for priority in self._priorities:
            qos0 = self._lanes[priority].qos0
            if qos0:
                self.qos0 -= 1
                return self._taken(qos0.popleft())
        return None

    def takeTooMuch(self) -> Entry | None:
        """
        Take what has to go because the entries have too many bytes.

        @return: see L{push}; L{None} where they do not, or where what had to go is in the store alone.
        """
        most = self.mostBytes
        while most and self.memory + self.stored > most and self.length > 0:
            lost = self._overflow()
            if lost is not None:
                return lost
        return None

    def takeOldest(self) -> Entry | None:
        """
        Take what has to go first.

        @return: see L{push}; L{None} where it is in the store alone.
        """
        return self._overflow() if self.length > 0 else None

    def takeQoS0(self) -> Entry | None:
        """
        Take the entry of QoS 0 that has to go first; L{None} where there is none.
        """
        return self._overflow() if self.qos0 else None

    def takeShared(self, groups: set[SharedGroup] | None) -> list[Entry]:
        """
        Take out the entries that came through a shared subscription: of these groups, or of any.
        """
        found = [
            entry for entry in self.entries() if entry.share is not None and (groups is None or entry.share in groups)
        ]
        if found:
            gone = set(map(id, found))
            for lane in self._lanes.values():
                lane.qos0 = deque([entry for entry in lane.qos0 if id(entry) not in gone])
                lane.others = deque([entry for entry in lane.others if id(entry) not in gone])
            for entry in found:
                self._taken(entry)
                if entry.qos == 0:
                    self.qos0 -= 1
        return found

    def dropQoS0(self) -> list[Entry]:
        """
        Take out the entries of QoS 0.
        """
        found: list[Entry] = []
        for priority in self._priorities:
            lane = self._lanes[priority]
            for entry in lane.qos0:
                found.append(self._taken(entry))
            lane.qos0.clear()
        self.qos0 = 0
        return found

    def entries(self) -> list[Entry]:
        """
        All entries in the order in which C{pop} would give them.
        """
        found: list[Entry] = []
        for priority in self._priorities:
            lane = self._lanes[priority]
            found.extend(sorted([*lane.qos0, *lane.others], key=_orderOf))
        return found

    def release(self) -> None:
        """
        Forget what is in memory.
        """
        for lane in self._lanes.values():
            for entry in lane.qos0:
                self._taken(entry)
            for entry in lane.others:
                self._taken(entry)
        self._lanes.clear()
        self._priorities = []
        self.qos0 = 0

    def clear(self) -> None:
        """
        Forget everything.
        """
        self.release()
        self.stored = 0
        self.spilled = 0
        self.skipped = 0

    def _lane(self, entry: Entry) -> _Lane:
        limits = self.limits
        priority = limits.priorities.get(entry.message.topic, limits.defaultPriority) if limits.priorities else 0
        lane = self._lanes.get(priority)
        if lane is None:
            lane = self._lanes[priority] = _Lane()
            self._priorities = sorted(self._lanes, reverse=True)
        return lane

    def _added(self, entry: Entry) -> None:
        self._count += 1
        size = _sizeOf(entry)
        self.memory += size
        message = entry.message
        if message.queues == 0:
            self.budget.bytes += size + MESSAGE_WEIGHT + ENTRY_WEIGHT
        else:
            self.budget.bytes += ENTRY_WEIGHT
        message.queues += 1

    def _taken(self, entry: Entry) -> Entry:
        self._count -= 1
        size = _sizeOf(entry)
        self.memory -= size
        message = entry.message
        message.queues -= 1
        if message.queues == 0:
            self.budget.bytes -= size + MESSAGE_WEIGHT + ENTRY_WEIGHT
        else:
            self.budget.bytes -= ENTRY_WEIGHT
        return entry

    def _overflow(self) -> Entry | None:
        lowest = self._priorities[::-1]
        if self.qos0:
            for priority in lowest:
                qos0 = self._lanes[priority].qos0
                if qos0:
                    self.qos0 -= 1
                    return self._taken(qos0.popleft())
        for priority in lowest:
            others = self._lanes[priority].others
            if others:
                return self._taken(others.popleft())
        left = self.spilled - self.skipped
        if left > 0:
            self.stored -= self.stored // left
            self.skipped += 1
        return None


def mostOf(limits: Limits, kept: bool, online: bool) -> int:
    """
    How many entries may wait; 0 for any number.

    @param kept: whether a store keeps the queue.
    @param online: whether the client is connected.
    """
    given = limits.maxQueueOnline if online else limits.maxQueueOffline
    if given >= 0:
        return given
    return limits.maxQueueStored if kept and limits.maxQueueStored >= 0 else limits.maxQueue


def _orderOf(entry: Entry) -> int:
    return entry.order


def _sizeOf(entry: Entry) -> int:
    return len(entry.message.topic) + len(entry.message.payload)
