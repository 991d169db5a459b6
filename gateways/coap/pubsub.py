"""
C{/ps}: a publish-subscribe broker for CoAP clients (draft-ietf-core-coap-pubsub-02; spec/gateways.md 4.3).

The value of a topic is its retained message, so MQTT clients see it and may change it. This module keeps the other
attributes of a topic: its content format and the maximum age of its values.
"""

from __future__ import annotations

from typing import Final

from gateways.coap.options import CBOR, EXI, JSON, LINK_FORMAT, OCTET_STREAM, TEXT_PLAIN, XML
from twisted_mqtt.core.message import Message

MIME: Final[dict[int, str]] = {
    TEXT_PLAIN: "text/plain",
    LINK_FORMAT: "application/link-format",
    XML: "application/xml",
    OCTET_STREAM: "application/octet-stream",
    EXI: "application/exi",
    JSON: "application/json",
    CBOR: "application/cbor",
}
"""
Content formats as MQTT 5 names them, in the property Content Type.
"""

_FORMATS: Final = {name: number for number, name in MIME.items()}


def formatNamed(contentType: str | None) -> int | None:
    """
    The content format of a content type, L{None} where it has none.
    """
    if contentType is None:
        return None
    return _FORMATS.get(contentType.partition(";")[0].strip().lower())


class PubSubTopic:
    """
    A topic.

    @ivar format: the content format of its values; L{None} for any.
    @ivar maxAge: for how many seconds a value holds that says nothing else; L{None} for ever.
    """

    __slots__ = ("format", "maxAge")

    def __init__(self, format: int | None, maxAge: int | None) -> None:
        self.format = format
        self.maxAge = maxAge


class PubSubTopics:
    """
    The topics that were made here, by their names in the broker's one topic space.
    """

    def __init__(self, most: int) -> None:
        """
        @param most: how many there may be.
        """
        self._most = most
        self._topics: dict[str, PubSubTopic] = {}

    def __len__(self) -> int:
        return len(self._topics)

    def get(self, name: str) -> PubSubTopic | None:
        """
        The attributes of a topic.
        """
        return self._topics.get(name)

    def make(self, name: str, format: int | None, maxAge: int | None) -> bool:
        """
        Make a topic, or change one; returns whether there is room.
        """
        if name not in self._topics and len(self._topics) >= self._most:
            return False
        self._topics[name] = PubSubTopic(format, maxAge)
        return True

    def below(self, name: str) -> list[str]:
        """
        A topic and those below it, as far as they were made here.
        """
        prefix = name + "/"
        return [each for each in self._topics if each == name or each.startswith(prefix)]

    def remove(self, name: str) -> None:
        """
        Forget a topic.
        """
        self._topics.pop(name, None)

    def formatOf(self, message: Message) -> int:
        """
        In which content format a message goes out: as its publisher says, or as the topic's other values.
        """
        properties = message.properties
        if properties is not None:
            format = formatNamed(properties.contentType)
            if format is not None:
                return format
        topic = self._topics.get(message.topic)
        return OCTET_STREAM if topic is None or topic.format is None else topic.format
