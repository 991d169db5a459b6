"""
Maps STOMP messages to MQTT and back: destinations and topics, headers and properties.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateways.stomp.frame import StompError, headerLines
from twisted_mqtt.core.properties import Properties

if TYPE_CHECKING:
    from twisted_mqtt.base.dates import Dates
    from twisted_mqtt.core.message import Message

# Headers that have a meaning of their own, and so are no user properties, in either direction.
RESERVED: Final = frozenset(
    (
        "destination",
        "content-type",
        "content-length",
        "receipt",
        "transaction",
        "persistent",
        "qos",
        "retain",
        "expires",
        "reply-to",
        "correlation-id",
        "subscription",
        "message-id",
        "ack",
        "redelivered",
    )
)

# The longest string of MQTT, in bytes (1.5.4).
_LONGEST: Final = 65535
_LATEST_EXPIRY: Final = 0xFFFFFFFF
# So many blocks of headers are remembered, by topic.
_REMEMBERED: Final = 1024


class Destinations:
    """
    How destinations name topics. Without prefixes a destination is a topic, or a filter, as it stands.

    @ivar topicPrefix: what stands before a topic; empty for nothing.
    @ivar queuePrefix: what stands before a topic that its subscribers share; empty for no such destinations.
    """

    __slots__ = ("topicPrefix", "queuePrefix")

    def __init__(self, topicPrefix: str = "", queuePrefix: str = "") -> None:
        self.topicPrefix: str = topicPrefix
        self.queuePrefix: str = queuePrefix

    def topicOf(self, destination: str) -> str:
        """
        The topic that a destination of SEND names.
        """
        prefix = self._prefixOf(destination)
        return destination[len(prefix) :]

    def filterOf(self, destination: str) -> tuple[str, str]:
        """
        The topic filter that a destination of SUBSCRIBE names.

        @return: it, and what is to stand before the topics of its messages.
        """
        prefix = self._prefixOf(destination)
        topicFilter = destination[len(prefix) :]
        if prefix and prefix == self.queuePrefix:
            return f"$queue/{topicFilter}", prefix
        return topicFilter, prefix

    def _prefixOf(self, destination: str) -> str:
        for prefix in (self.topicPrefix, self.queuePrefix):
            if prefix and destination.startswith(prefix):
                return prefix
        return ""


class Sending:
    """
    The content of the headers of a SEND.

    @ivar expires: the date when the message is not to be delivered any more, in milliseconds since the epoch; 0 for
        never.
    """

    __slots__ = ("topic", "qos", "retain", "properties", "expires", "transaction", "receipt")

    def __init__(self, headers: dict[str, str], destinations: Destinations) -> None:
        """
        @raise StompError: something is missing, or is not what it should be.
        """
        destination = headers.get("destination")
        if destination is None:
            raise StompError("missing header", "SEND needs a destination")
        self.topic: str = destinations.topicOf(destination)
        self.qos: int = _qosOf(headers)
        self.retain: bool = flagOf(headers, "retain")
        self.expires: int = numberOf(headers, "expires")
        self.transaction: str | None = headers.get("transaction")
        self.receipt: str | None = headers.get("receipt")
        self.properties: Properties | None = _propertiesOf(headers, destinations)

    def propertiesAt(self, now: float) -> Properties | None:
        """
        The properties of the message if it is sent at this date, in seconds since the epoch.

        @raise Expired: it need not be sent any more.
        """
        if not self.expires:
            return self.properties
        left = self.expires / 1000 - now
        if left <= 0:
            raise Expired
        properties = Properties() if self.properties is None else self.properties.copy()
        properties.messageExpiry = min(int(left + 0.999), _LATEST_EXPIRY)
        return properties


class Expired(Exception):
    """
    A message was sent too late.
    """


def flagOf(headers: dict[str, str], name: str) -> bool:
    """
    The value of a header that says yes or no; no if it is not there.

    @raise StompError: it says neither.
    """
    value = headers.get(name)
    if value is None or value == "false" or value == "0":
        return False
    if value == "true" or value == "1":
        return True
    raise StompError("invalid header", f"{name} is true or false, not {value[:80]!r}")


def numberOf(headers: dict[str, str], name: str) -> int:
    """
    The value of a header that is a number; 0 if it is not there.

    @raise StompError: it is none.
    """
    value = headers.get(name)
    if value is None:
        return 0
    if not (value.isascii() and value.isdigit()) or len(value) > 18:
        raise StompError("invalid header", f"{name} is a number, not {value[:80]!r}")
    return int(value)


def _qosOf(headers: dict[str, str]) -> int:
    qos = numberOf(headers, "qos")
    if qos > 2:
        raise StompError("invalid header", f"qos is 0, 1 or 2, not {qos}")
    if qos == 0 and "qos" not in headers and flagOf(headers, "persistent"):
        return 1
    return qos


def _propertiesOf(headers: dict[str, str], destinations: Destinations) -> Properties | None:
    """
    The properties that headers become; L{None} for none.
    """
    others = [(name, value) for name, value in headers.items() if name not in RESERVED]
    contentType = headers.get("content-type")
    replyTo = headers.get("reply-to")
    correlation = headers.get("correlation-id")
    if not others and contentType is None and replyTo is None and correlation is None:
        return None
    for name, value in headers.items():
        # Only a limit far above the usual one lets so much through.
        if len(name) + len(value) > _LONGEST // 4 and max(len(name.encode()), len(value.encode())) > _LONGEST:
            raise StompError("header too long", f"MQTT has no room for {name[:80]!r}")
    properties = Properties()
    properties.userProperties = others or None
    properties.contentType = contentType
    if replyTo is not None:
        topic = destinations.topicOf(replyTo)
        if not topic or "+" in topic or "#" in topic:
            raise StompError("invalid header", f"reply-to is not a destination to send to: {replyTo[:80]!r}")
        properties.responseTopic = topic
    if correlation is not None:
        properties.correlationData = correlation.encode("utf-8")
    return properties


class MessageWriter:
    """
    Writes MESSAGE frames, from C{destination} on: what comes before differs for each receiver, and the rest is made
    once for all of them.
    """

    __slots__ = ("_destinations", "_dates", "_message", "_tails", "_blocks")

    def __init__(self, destinations: Destinations, dates: Dates) -> None:
        self._destinations: Destinations = destinations
        self._dates: Dates = dates
        # The last message, and its bytes for each kind of receiver.
        self._message: Message | None = None
        self._tails: dict[tuple[int, str, bool], bytes] = {}
        # Of messages that have nothing but a topic: the headers of the last topics.
        self._blocks: dict[tuple[str, int, str], bytes] = {}

    def tail(self, message: Message, version: int, prefix: str, retain: bool) -> bytes:
        """
        A MESSAGE from its C{destination} to its NUL.

        @param version: of STOMP.
        @param prefix: what stands before the topic in its destination.
        @param retain: whether it was retained.
        """
        key = (version, prefix, retain)
        if message is self._message:
            known = self._tails.get(key)
            if known is not None:
                return known
        else:
            self._message = message
            self._tails.clear()
        made = self._tails[key] = self._write(message, version, prefix, retain)
        return made

    def _write(self, message: Message, version: int, prefix: str, retain: bool) -> bytes:
        body = message.payload
        properties = message.properties
        if properties is None and message.qos == 0 and not retain and message.expiresAt == 0.0:
            blocks = self._blocks
            known = blocks.get((message.topic, version, prefix))
            if known is None:
                if len(blocks) >= _REMEMBERED:
                    blocks.clear()
                headers = [("destination", prefix + message.topic)]
                known = blocks[message.topic, version, prefix] = headerLines(headers, version)
        else:
            known = headerLines(self._headersOf(message, prefix, retain), version)
        if properties is None or properties.contentType is None:
            known += b"content-type:text/plain\n" if isText(body) else b"content-type:application/octet-stream\n"
        return b"%bcontent-length:%d\n\n%b\0" % (known, len(body), body)

    def _headersOf(self, message: Message, prefix: str, retain: bool) -> list[tuple[str, str]]:
        headers = [("destination", prefix + message.topic)]
        if message.qos:
            headers += [("persistent", "true"), ("qos", str(message.qos))]
        if retain:
            headers.append(("retain", "true"))
        if message.expiresAt:
            headers.append(("expires", str(int(self._dates.of(message.expiresAt) * 1000))))
        properties = message.properties
        if properties is None:
            return headers
        if properties.contentType is not None:
            headers.append(("content-type", properties.contentType))
        if properties.responseTopic is not None:
            headers.append(("reply-to", self._destinations.topicPrefix + properties.responseTopic))
        if properties.correlationData is not None and isText(properties.correlationData):
            headers.append(("correlation-id", properties.correlationData.decode("utf-8")))
        if properties.userProperties is not None:
            headers += [(name, value) for name, value in properties.userProperties if name not in RESERVED]
        return headers


def isText(data: bytes) -> bool:
    """
    Whether bytes are text: UTF-8.
    """
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
