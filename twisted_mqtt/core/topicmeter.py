"""
Counts of the messages of chosen topics: what came, what was sent, what was dropped.
"""

from __future__ import annotations


class TopicCounts:
    """
    The messages of one topic.

    @ivar received: how many were published, by QoS.
    @ivar sent: how many were sent to subscribers, by the QoS that they were sent with; repetitions not counted.
    @ivar dropped: how many did not reach a subscriber, or nobody had subscribed.
    """

    __slots__ = ("received", "sent", "dropped")

    def __init__(self) -> None:
        self.received: list[int] = [0, 0, 0]
        self.sent: list[int] = [0, 0, 0]
        self.dropped: int = 0

    def figures(self) -> dict[str, int]:
        """
        The counts, as EMQ X calls them.
        """
        found = {
            "messages.in": sum(self.received),
            "messages.out": sum(self.sent),
            "messages.dropped": self.dropped,
        }
        for qos in range(3):
            found[f"messages.qos{qos}.in"] = self.received[qos]
            found[f"messages.qos{qos}.out"] = self.sent[qos]
        return found


class TopicMeter:
    """
    Counts by topic, in the default topic tree. The core has one only while there are topics to be counted.

    @ivar topics: the counts, by topic.
    """

    __slots__ = ("topics",)

    def __init__(self) -> None:
        self.topics: dict[str, TopicCounts] = {}

    def received(self, topic: str, qos: int) -> None:
        """
        A message was published.
        """
        counts = self.topics.get(topic)
        if counts is not None:
            counts.received[qos] += 1

    def sent(self, topic: str, qos: int) -> None:
        """
        A message was sent to a subscriber.
        """
        counts = self.topics.get(topic)
        if counts is not None:
            counts.sent[qos] += 1

    def dropped(self, topic: str) -> None:
        """
        A message was dropped.
        """
        counts = self.topics.get(topic)
        if counts is not None:
            counts.dropped += 1
