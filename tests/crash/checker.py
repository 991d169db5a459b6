"""
Promises, arrivals, and the differences between them.

Every message is a topic and a number that grows by one; so what is missing, repeated or out of order can be named.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Stream:
    """
    The messages of one publisher at one QoS.

    @ivar sent: how many were sent.
    @ivar promised: the numbers that were acknowledged.
    """

    topic: str
    qos: int
    sent: int = 0
    promised: set[int] = field(default_factory=set)


class Receipts:
    """
    The messages that one subscriber has received of one stream.

    @ivar times: how often each number has come.
    @ivar outOfOrder: numbers that came first after a greater one.
    @ivar again: numbers that came again after they had been looked at and forgotten.
    """

    def __init__(self) -> None:
        self.times: Counter[int] = Counter()
        self.last = -1
        self.outOfOrder: list[int] = []
        self.again: list[int] = []
        self._floor = -1

    def forget(self) -> None:
        """
        All that has come so far was looked at and found complete. Some of it may come again at QoS 1: that a receiver
        has acknowledged it is written at leisure, and a kill may take that with it.
        """
        self.times.clear()
        self.outOfOrder.clear()
        self.again.clear()
        self._floor = self.last

    def add(self, number: int) -> None:
        """
        A message has come.
        """
        if number <= self._floor:
            self.again.append(number)
            return
        if not self.times[number] and number < self.last:
            self.outOfOrder.append(number)
        self.times[number] += 1
        self.last = max(self.last, number)


class Checker:
    """
    Compares.

    @ivar problems: what was found, in words.
    @ivar counts: what was looked at.
    @ivar atLeastOnce: subscribers that may get messages of QoS 2 more than once.
    @ivar only: topics that a subscriber alone gets, and no others.
    """

    def __init__(self) -> None:
        self.only: dict[str, set[str]] = {}
        self.atLeastOnce: set[str] = set()
        self.streams: dict[str, Stream] = {}
        self.receipts: dict[str, dict[str, Receipts]] = {}
        self.retained: dict[str, Stream] = {}
        self.problems: list[str] = []
        self.counts: Counter[str] = Counter()

    def stream(self, topic: str, qos: int) -> Stream:
        """
        The stream of a topic.
        """
        return self.streams.setdefault(topic, Stream(topic, qos))

    def _streamsFor(self, subscriber: str) -> list[Stream]:
        mine = self.only.get(subscriber)
        if mine is not None:
            return [self.streams[topic] for topic in mine]
        others = set().union(*self.only.values())
        return [stream for topic, stream in self.streams.items() if topic not in others]

    def received(self, subscriber: str, topic: str, number: int) -> None:
        """
        A message has come to a subscriber.
        """
        self.receipts.setdefault(subscriber, {}).setdefault(topic, Receipts()).add(number)

    def missing(self, subscriber: str) -> list[tuple[str, int]]:
        """
        Acknowledged messages that have not come to a subscriber: topic and number.
        """
        mine = self.receipts.setdefault(subscriber, {})
        return [
            (stream.topic, number)
            for stream in self._streamsFor(subscriber)
            for number in sorted(stream.promised)
            if not mine.setdefault(stream.topic, Receipts()).times[number]
        ]

    def isDone(self, subscriber: str) -> bool:
        """
        Whether nothing is missing; as fast as it can be asked after each message.
        """
        mine = self.receipts.setdefault(subscriber, {})
        for stream in self._streamsFor(subscriber):
            times = mine.setdefault(stream.topic, Receipts()).times
            if len(times) < len(stream.promised) or any(number not in times for number in stream.promised):
                return False
        return True

    def check(self, subscriber: str) -> None:
        """
        Look at all that has come to a subscriber, which has had the time to receive it, and forget it.
        """
        for topic, number in self.missing(subscriber):
            self.problems.append(f"{subscriber}: {topic} {number} was acknowledged and is lost")
        for topic, receipts in self.receipts[subscriber].items():
            stream = self.streams[topic]
            self.counts[f"QoS {stream.qos} deliveries promised"] += len(stream.promised)
            self.counts[f"QoS {stream.qos} deliveries"] += receipts.times.total()
            repeated = [number for number, times in receipts.times.items() if times > 1] + receipts.again
            self.counts[f"QoS {stream.qos} deliveries repeated"] += len(repeated)
            if stream.qos == 2 and subscriber not in self.atLeastOnce:
                self.problems.extend(f"{subscriber}: {topic} {number} came more than once" for number in repeated)
            self.problems.extend(
                f"{subscriber}: {topic} {number} came after a later one" for number in receipts.outOfOrder
            )

    def checkRetained(self, found: dict[str, int]) -> None:
        """
        Look at the retained messages that a newcomer was given: the last that was acknowledged, or a later one.
        """
        for topic, stream in self.retained.items():
            self.counts["retained values"] += 1
            last = max(stream.promised, default=-1)
            value = found.get(topic, -1)
            if value < last or value >= stream.sent:
                self.problems.append(f"{topic}: {last} was acknowledged as retained, and {value} is there")

    def report(self) -> str:
        """
        The messages that were examined, and the findings.
        """
        counted = ", ".join(f"{count} {name}" for name, count in sorted(self.counts.items()))
        return f"{counted}; {len(self.problems)} problems"
