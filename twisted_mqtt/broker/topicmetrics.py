"""
Counts and rates of the messages of chosen topics. While no topic is chosen they cost nothing; while one is, a message
costs one look into a dictionary when it is published, sent or dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from twisted_mqtt.base.rates import Rates
from twisted_mqtt.core.topicmeter import TopicCounts, TopicMeter
from twisted_mqtt.core.topics import isEncodable, isTopicName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted_mqtt.base.dates import Dates
    from twisted_mqtt.base.metrics import Metrics
    from twisted_mqtt.base.records import Records
    from twisted_mqtt.core.router import Router

#: So many topics can be counted.
MOST_TOPICS: Final = 512
#: Seconds between the snapshots that rates are made of: coarser than those of the broker, for there may be many topics.
_STEP: Final = 15.0


class ChosenTopic(msgspec.Struct, frozen=True):
    """
    A topic whose messages are counted, as a record. A field that is added later needs a default.

    @ivar at: since which date, in seconds since the epoch.
    """

    topic: str
    at: float


class TopicMetrics:
    """
    The topics whose messages are counted. They are remembered when the broker is restarted; the counts are not.
    """

    def __init__(
        self,
        router: Router,
        records: Records[ChosenTopic],
        metrics: Metrics,
        seconds: Callable[[], float],
        dates: Dates,
    ) -> None:
        self._router = router
        self._records = records
        self._dates = dates
        self._meter = TopicMeter()
        self._since: dict[str, float] = {}
        self._rates = Rates(self._read, seconds, _STEP)
        for name, help, series in (
            ("topic.messages.in", "Messages of chosen topics that were published, by QoS", self._received),
            ("topic.messages.out", "Messages of chosen topics that were sent, by QoS", self._sent),
        ):
            metrics.counter(name, help, ("topic", "qos"), series=series)
        metrics.counter(
            "topic.messages.dropped", "Messages of chosen topics that were dropped", ("topic",), series=self._dropped
        )

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, topic: object) -> bool:
        return topic in self._since

    @property
    def topics(self) -> dict[str, float]:
        """
        The topics, with the dates since when they are counted; those that were chosen first come first.
        """
        return dict(self._since)

    def add(self, topic: str) -> None:
        """
        Count the messages of a topic from now on.

        @raise ValueError: it is no name of a topic, is counted already, or there are L{MOST_TOPICS}.
        """
        if not (isTopicName(topic) and isEncodable(topic)):
            raise ValueError(f"{topic[:80]!r} is no name of a topic")
        if topic in self._since:
            raise ValueError(f"{topic[:80]!r} is counted already")
        if len(self._since) >= MOST_TOPICS:
            raise ValueError(f"{MOST_TOPICS} topics are counted already, which are the most")
        chosen = ChosenTopic(topic, self._dates.now())
        self._records.put(topic, chosen)
        self._begin(chosen)

    def remove(self, topic: str) -> bool:
        """
        Count a topic no more; returns whether it was counted.
        """
        if self._since.pop(topic, None) is None:
            return False
        self._records.remove(topic)
        del self._meter.topics[topic]
        self._rates.forget(f"{topic}\0{key}" for key in TopicCounts().figures())
        if not self._since:
            self._router.setMeter(None)
        return True

    def clear(self) -> int:
        """
        Count no topic any more; returns how many there were.
        """
        topics = list(self._since)
        for topic in topics:
            self.remove(topic)
        return len(topics)

    def load(self) -> None:
        """
        Take over the topics of the store.
        """
        for _, chosen in self._records.items():
            if isTopicName(chosen.topic) and len(self._since) < MOST_TOPICS:
                self._begin(chosen)

    def look(self) -> None:
        """
        Take a snapshot for the rates: to be called once a second.
        """
        if self._since:
            self._rates.look()

    def counts(self, topic: str) -> TopicCounts:
        """
        The counts of a topic.

        @raise KeyError: it is not counted.
        """
        return self._meter.topics[topic]

    def rates(self) -> dict[str, tuple[float, ...]]:
        """
        How many messages a second there were of each topic, in the last 1, 5 and 15 minutes, by C{topic + NUL + key};
        the keys are those of L{TopicCounts.figures}.
        """
        return self._rates.read()

    def _begin(self, chosen: ChosenTopic) -> None:
        self._since[chosen.topic] = chosen.at
        self._meter.topics[chosen.topic] = TopicCounts()
        self._router.setMeter(self._meter)

    def _read(self) -> dict[str, float]:
        return {
            f"{topic}\0{key}": value
            for topic, counts in self._meter.topics.items()
            for key, value in counts.figures().items()
        }

    def _received(self) -> Iterator[tuple[tuple[str, ...], float]]:
        for topic, counts in self._meter.topics.items():
            for qos in range(3):
                yield (topic, str(qos)), counts.received[qos]

    def _sent(self) -> Iterator[tuple[tuple[str, ...], float]]:
        for topic, counts in self._meter.topics.items():
            for qos in range(3):
                yield (topic, str(qos)), counts.sent[qos]

    def _dropped(self) -> Iterator[tuple[tuple[str, ...], float]]:
        for topic, counts in self._meter.topics.items():
            yield (topic,), counts.dropped
