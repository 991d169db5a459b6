"""
C{/ps}: a publish-subscribe broker for CoAP clients, with the interface of draft-ietf-core-coap-pubsub-02
(spec/gateways.md 4.3) and that of the drafts from 15 on.

The value of a topic is its retained message, so MQTT clients see it and may change it. This module keeps what else is
known of a topic: its content format, the maximum age of its values, and its configuration, which is durable where the
store is.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, Final

from gateways.coap.options import CBOR, EXI, JSON, LINK_FORMAT, OCTET_STREAM, SENML_CBOR, SENML_JSON, TEXT_PLAIN, XML
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.topics import scoped

if TYPE_CHECKING:
    from gateways.coap.configuration import TopicConfiguration
    from twisted_mqtt.base.records import Records
    from twisted_mqtt.broker.client import ClientInfo

MIME: Final[dict[int, str]] = {
    TEXT_PLAIN: "text/plain",
    LINK_FORMAT: "application/link-format",
    XML: "application/xml",
    OCTET_STREAM: "application/octet-stream",
    EXI: "application/exi",
    JSON: "application/json",
    CBOR: "application/cbor",
    SENML_JSON: "application/senml+json",
    SENML_CBOR: "application/senml+cbor",
}
"""
Content formats as MQTT 5 names them, in the property Content Type.
"""

_FORMATS: Final = {name: number for number, name in MIME.items()}

MOST_WALKS: Final = 4
"""
How many requests may go through many topics at a time, to list or to remove them: each works a little in every turn of
the reactor.
"""

# So many dates of configurations that have another now may be remembered, besides one for each that has not.
_SLACK: Final = 1000


def formatNamed(contentType: str | None) -> int | None:
    """
    The content format of a content type, L{None} where it has none.
    """
    if contentType is None:
        return None
    return _FORMATS.get(contentType.partition(";")[0].strip().lower())


def keyOf(info: ClientInfo, topic: str) -> str:
    """
    Get the key of a client's topic, which is unique among those of all mount points and topic trees.
    """
    return scoped(info.topicTree, info.mountpoint + topic)


class PubSubTopic:
    """
    A topic.

    @ivar format: the content format of its values; L{None} for any.
    @ivar maxAge: for how many seconds a value holds that says nothing else; L{None} for ever.
    @ivar identifier: names the resource of its configuration; empty where it has none.
    @ivar configuration: what was said of it through the interface of CBOR.
    """

    __slots__ = ("format", "maxAge", "identifier", "configuration")

    def __init__(self, format: int | None, maxAge: int | None) -> None:
        self.format = format
        self.maxAge = maxAge
        self.identifier = ""
        self.configuration: TopicConfiguration | None = None


class PubSubTopics:
    """
    The topics that were made here, by their keys: L{keyOf}.
    """

    def __init__(self, most: int, records: Records[TopicConfiguration] | None = None) -> None:
        """
        @param most: how many there may be.
        @param records: keeps the configurations, by identifier; L{None} where nobody does.
        """
        self._most = most
        self._records = records
        self._topics: dict[str, PubSubTopic] = {}
        # The same keys in order: those below a topic stand together.
        self._ordered: list[str] = []
        self._configured: dict[str, PubSubTopic] = {}
        self._names: set[tuple[str, str, str]] = set()
        # (when, identifier) of those that expire; what was replaced meanwhile is found out when its time comes.
        self._expiring: list[tuple[float, str]] = []
        kept = [] if records is None else records.items()
        # In order, so that nothing has to be moved for another.
        for identifier, configuration in sorted(kept, key=lambda record: _keyOf(record[1])):
            self._enter(identifier, configuration)

    def __len__(self) -> int:
        return len(self._topics)

    @property
    def isFull(self) -> bool:
        """
        Whether there is room for no other.
        """
        return len(self._topics) >= self._most

    def get(self, key: str) -> PubSubTopic | None:
        """
        Look up the content format and age of a topic.
        """
        return self._topics.get(key)

    def configured(self, identifier: str) -> PubSubTopic | None:
        """
        The topic that a resource is the configuration of.
        """
        return self._configured.get(identifier)

    def identifiers(self) -> list[str]:
        """
        The names of all resources.
        """
        return list(self._configured)

    def isNamed(self, topicTree: str, mountpoint: str, name: str) -> bool:
        """
        Whether a configuration has this topic-name.
        """
        return (topicTree, mountpoint, name) in self._names

    def make(self, key: str, format: int | None, maxAge: int | None) -> bool:
        """
        Make a topic, or change one; returns whether there is room.
        """
        topic = self._topics.get(key)
        if topic is None:
            if self.isFull:
                return False
            self._add(key, format, maxAge)
        else:
            topic.format, topic.maxAge = format, maxAge
        return True

    def configure(self, identifier: str, configuration: TopicConfiguration) -> None:
        """
        Give a topic a configuration, or another one; it is made where it is not there.
        """
        self._enter(identifier, configuration)
        if self._records is not None:
            self._records.put(identifier, configuration)

    def _enter(self, identifier: str, configuration: TopicConfiguration) -> None:
        key = _keyOf(configuration)
        topic = self._topics.get(key)
        if topic is None:
            topic = self._add(key, None, None)
        topic.format = configuration.format
        topic.identifier = identifier
        topic.configuration = configuration
        self._configured[identifier] = topic
        self._names.add((configuration.topicTree, configuration.mountpoint, configuration.name))
        expiresAt = configuration.expiresAt
        if expiresAt:
            heapq.heappush(self._expiring, (expiresAt, identifier))
            if len(self._expiring) > 2 * len(self._configured) + _SLACK:
                self._expiring = [entry for entry in self._expiring if self._expiresAt(entry[1]) == entry[0]]
                heapq.heapify(self._expiring)

    def _add(self, key: str, format: int | None, maxAge: int | None) -> PubSubTopic:
        topic = self._topics[key] = PubSubTopic(format, maxAge)
        insort(self._ordered, key)
        return topic

    def below(self, key: str, after: str, most: int) -> list[str]:
        """
        Some of a topic and those below it, in order.

        @param after: after which to begin; empty for the first.
        @param most: how many.
        """
        prefix, ordered = key + "/", self._ordered
        found: list[str] = []
        if after < key and key in self._topics:
            found.append(key)
        index = bisect_right(ordered, after) if after >= prefix else bisect_left(ordered, prefix)
        while len(found) < most and index < len(ordered) and ordered[index].startswith(prefix):
            found.append(ordered[index])
            index += 1
        return found

    def remove(self, key: str) -> None:
        """
        Forget a topic, with its configuration.
        """
        topic = self._topics.pop(key, None)
        if topic is None:
            return
        del self._ordered[bisect_left(self._ordered, key)]
        configuration = topic.configuration
        if configuration is not None:
            del self._configured[topic.identifier]
            self._names.discard((configuration.topicTree, configuration.mountpoint, configuration.name))
            if self._records is not None:
                self._records.remove(topic.identifier)

    def _expiresAt(self, identifier: str) -> float:
        topic = self._configured.get(identifier)
        return 0.0 if topic is None or topic.configuration is None else topic.configuration.expiresAt

    def nextExpiry(self) -> float:
        """
        The date when the first configuration expires; 0 where none does. It may be one that has
        another date meanwhile.
        """
        return self._expiring[0][0] if self._expiring else 0.0

    def expired(self, now: float, most: int) -> list[TopicConfiguration]:
        """
        Take out some configurations whose date has passed; whoever asks has to remove their topics.

        @param now: the date.
        """
        found: list[TopicConfiguration] = []
        while self._expiring and self._expiring[0][0] <= now and len(found) < most:
            when, identifier = heapq.heappop(self._expiring)
            topic = self._configured.get(identifier)
            if topic is not None and topic.configuration is not None and topic.configuration.expiresAt == when:
                found.append(topic.configuration)
        return found

    def formatOf(self, message: Message) -> int:
        """
        In which content format a message goes out: as its publisher says, or as the topic's other values.
        """
        properties = message.properties
        if properties is not None:
            format = formatNamed(properties.contentType)
            if format is not None:
                return format
        topic = self._topics.get(scoped(message.topicTree, message.topic))
        return OCTET_STREAM if topic is None or topic.format is None else topic.format


def _keyOf(configuration: TopicConfiguration) -> str:
    return scoped(configuration.topicTree, configuration.mountpoint + configuration.topic)
