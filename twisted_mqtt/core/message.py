"""
A message: its content, its publisher, and its encoded forms. Each form is made once for all receivers.
"""

from __future__ import annotations

from typing import Final

from twisted_mqtt.core.codec import LARGEST, encodePublish
from twisted_mqtt.core.properties import IN_PUBLISH, Properties, encodeProperties, encodeVarint
from twisted_mqtt.core.topics import MAX_LENGTH, isTopicName

_NONE: Final = b"\x00"


class Kept:
    """
    The type of L{KEPT}: L{Message.replace} gets it for a field that stays as it is and may be L{None} itself.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "KEPT"


KEPT: Final = Kept()


class Further:
    """
    What few messages have: apart from them, so that all the others are smaller.

    @ivar topicTree: see L{Message.topicTree}.
    @ivar origin: see L{Message.origin}.
    @ivar headers: see L{Message.headers}.
    @ivar mounted: a mount point, and the message as clients behind it see it; the last one made.
    """

    __slots__ = ("headers", "mounted", "origin", "topicTree")

    def __init__(self) -> None:
        self.topicTree: str = ""
        self.origin: str = ""
        self.headers: dict[str, object] | None = None
        self.mounted: tuple[str, Message] | None = None


class Message:
    """
    A message, whatever protocol it came by.

    It must not be changed once it has been routed; a hook that wants another one makes a copy with C{replace}.

    @ivar topic: the topic name in its topic tree, mount points included.
    @ivar qos: as published.
    @ivar retain: as published.
    @ivar properties: those that travel with a message (payload format, content type, response topic, correlation
        data, user properties, message expiry), or L{None}.
    @ivar clientID: of the publisher; empty for the broker's own messages.
    @ivar username: of the publisher, or L{None}.
    @ivar peerHost: the numeric address of the publisher, or L{None}.
    @ivar protocol: what the publisher speaks, such as C{"mqtt"}.
    @ivar timestamp: the moment when it was received; 0 until it is published (L{stamp}).
    @ivar expiresAt: from which moment it is not to be delivered any more; 0 for never.
    @ivar system: whether the broker itself says it (C{$SYS}); such messages stay out of the publish counters.
    @ivar number: the order in which the process made its messages: with C{timestamp}, what makes an identifier.
    @ivar further: where C{topicTree}, C{origin} and C{headers} are kept; L{None} while there is nothing of them.
    """

    __slots__ = (
        "topic",
        "payload",
        "qos",
        "retain",
        "properties",
        "clientID",
        "username",
        "peerHost",
        "protocol",
        "timestamp",
        "expiresAt",
        "system",
        "number",
        "batch",
        "wanted",
        "parcel",
        "place",
        "queues",
        "whole4",
        "whole5",
        "key4",
        "head4",
        "tail4",
        "key5",
        "head5",
        "tail5",
        "further",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
        clientID: str = "",
        timestamp: float = 0.0,
        expiresAt: float = 0.0,
        system: bool = False,
        username: str | None = None,
        peerHost: str | None = None,
    ) -> None:
        self.topic: str = topic
        self.payload: bytes = payload
        self.qos: int = qos
        # Two flags side by side take the room of one.
        self.retain: bool = retain
        self.system: bool = system
        self.properties: Properties | None = properties
        self.clientID: str = clientID
        self.username: str | None = username
        self.peerHost: str | None = peerHost
        self.protocol: str = "mqtt"
        self.timestamp: float = timestamp
        self.expiresAt: float = expiresAt
        self.number: int = 0
        # In the memory of how many queues it waits.
        self.queues: int = 0
        # Used by a store alone: the last batch that it was wanted in, and by how many entries; where it is then, if by
        # several.
        self.batch: int = 0
        self.wanted: int = 0
        self.parcel: int = 0
        self.place: int = 0
        self.whole4: bytes | None = None
        self.whole5: bytes | None = None
        self.key4: int = 0
        self.head4: bytes = b""
        self.tail4: bytes = b""
        self.key5: int = 0
        self.head5: bytes = b""
        self.tail5: bytes = b""
        # One attribute more would put a Message into the allocator's next size, 16 bytes further.
        self.further: Further | None = None

    @property
    def topicTree(self) -> str:
        """
        The topic tree in which it is routed and retained; empty for the default one.
        """
        further = self.further
        return "" if further is None else further.topicTree

    @topicTree.setter
    def topicTree(self, name: str) -> None:
        if name or self.further is not None:
            self._extend().topicTree = name

    @property
    def origin(self) -> str:
        """
        The name of the node that it was published on; empty for this node.
        """
        further = self.further
        return "" if further is None else further.origin

    @origin.setter
    def origin(self, node: str) -> None:
        if node or self.further is not None:
            self._extend().origin = node

    @property
    def headers(self) -> dict[str, object] | None:
        """
        What hooks have to say to those after them; L{None} for nothing. It is not sent.
        """
        further = self.further
        return None if further is None else further.headers

    @headers.setter
    def headers(self, headers: dict[str, object] | None) -> None:
        if headers is not None or self.further is not None:
            self._extend().headers = headers

    def _extend(self) -> Further:
        further = self.further
        if further is None:
            further = self.further = Further()
        return further

    def replace(
        self,
        topic: str | None = None,
        payload: bytes | None = None,
        qos: int | None = None,
        retain: bool | None = None,
        properties: Properties | None | Kept = KEPT,
        *,
        clientID: str | None = None,
        username: str | None | Kept = KEPT,
        peerHost: str | None | Kept = KEPT,
        protocol: str | None = None,
        timestamp: float | None = None,
        expiresAt: float | None = None,
        system: bool | None = None,
        headers: dict[str, object] | None | Kept = KEPT,
    ) -> Message:
        """
        A copy with some fields changed, for hooks. L{None} clears a field that can be L{None}; any other
        stays as it is.

        @param properties: where these have a message expiry and C{expiresAt} is not given, it counts from
            C{timestamp}; where they have none, C{expiresAt} stays.
        @param expiresAt: 0 for a message that does not expire: then the copy has no message expiry either.
        """
        at = self.timestamp if timestamp is None else timestamp
        ends = self.expiresAt if expiresAt is None else expiresAt
        extra = self.properties if isinstance(properties, Kept) else properties
        interval = None if extra is None else extra.messageExpiry
        if extra is not None and interval is not None:
            if expiresAt is not None:
                # The time is what counts; encodedProperties() makes the property of it again.
                extra = extra.copy()
                extra.messageExpiry = None
            elif extra is not self.properties:
                ends = at + interval
        other = Message(
            self.topic if topic is None else topic,
            self.payload if payload is None else payload,
            self.qos if qos is None else qos,
            self.retain if retain is None else retain,
            extra,
            self.clientID if clientID is None else clientID,
            at,
            ends,
            self.system if system is None else system,
        )
        other.username = self.username if isinstance(username, Kept) else username
        other.peerHost = self.peerHost if isinstance(peerHost, Kept) else peerHost
        other.protocol = self.protocol if protocol is None else protocol
        other.number = self.number
        further = self.further
        if further is not None:
            other.topicTree = further.topicTree
            other.origin = further.origin
        if isinstance(headers, Kept):
            headers = self.headers
        other.headers = None if headers is None else dict(headers)
        return other

    def stamp(self, now: float) -> None:
        """
        Give a message that was just made its time, and the time of its expiry where its properties name an interval.

        @param now: in seconds since the epoch.
        """
        if self.timestamp == 0.0:
            self.timestamp = now
        properties = self.properties
        if self.expiresAt == 0.0 and properties is not None and properties.messageExpiry is not None:
            self.expiresAt = self.timestamp + properties.messageExpiry

    def withoutPrefix(self, prefix: str) -> Message | None:
        """
        The message as clients behind the mount point C{prefix} see it; the last one made is kept.

        @return: L{None} where they can't see it: nothing is left of its topic. Their C{#} matches what stands right at
            the mount point, too.
        """
        if prefix.startswith(self.topic):
            return None
        further = self._extend()
        mounted = further.mounted
        if mounted is None or mounted[0] != prefix:
            topic = self.topic
            mounted = (prefix, self.replace(topic=topic[len(prefix) :] if topic.startswith(prefix) else topic))
            further.mounted = mounted
        return mounted[1]

    def fits(self) -> bool:
        """
        Whether a PUBLISH can carry it, whatever hooks have made of it.
        """
        if not isTopicName(self.topic) or self.qos < 0 or self.qos > 2:
            return False
        try:
            extra = self.encodedProperties(None, self.timestamp)
            topic = self.topic.encode("utf-8")
        except (OverflowError, ValueError):
            return False
        return len(topic) <= MAX_LENGTH and 4 + len(topic) + len(extra) + len(self.payload) <= LARGEST

    def encodedProperties(self, identifiers: list[int] | None, now: float) -> bytes:
        """
        The properties of an outgoing PUBLISH of MQTT 5.

        @param identifiers: of the subscriptions that it answers.
        @param now: for the rest of its life ([MQTT-3.3.2-6]), in seconds since the epoch.
        """
        properties = self.properties
        if identifiers is None and self.expiresAt == 0.0:
            return _NONE if properties is None else encodeProperties(properties, IN_PUBLISH)
        properties = Properties() if properties is None else properties.copy()
        properties.subscriptionIDs = identifiers
        if self.expiresAt != 0.0:
            properties.messageExpiry = max(0, int(self.expiresAt - now + 0.999))
        return encodeProperties(properties, IN_PUBLISH)

    def encoded(self, version5: bool, first: int, packetID: int, identifiers: list[int] | None, now: float) -> bytes:
        """
        An outgoing PUBLISH that shares nothing with others.

        @param first: the first byte of the packet.
        """
        extra = self.encodedProperties(identifiers, now) if version5 else b""
        return encodePublish(first, self.topic.encode("utf-8"), packetID, extra, self.payload)

    def encodedAliased(
        self, first: int, packetID: int, identifiers: list[int] | None, now: float, alias: int, known: bool
    ) -> bytes:
        """
        An outgoing PUBLISH with a topic alias.

        @param known: whether the client knows the alias: then the topic is left out.
        """
        properties = Properties() if self.properties is None else self.properties.copy()
        properties.topicAlias = alias
        properties.subscriptionIDs = identifiers
        if self.expiresAt != 0.0:
            properties.messageExpiry = max(0, int(self.expiresAt - now + 0.999))
        topic = b"" if known else self.topic.encode("utf-8")
        return encodePublish(first, topic, packetID, encodeProperties(properties, IN_PUBLISH), self.payload)

    def whole(self, version5: bool) -> bytes:
        """
        The packet for a subscriber at QoS 0, as just published and with RETAIN clear.
        """
        made = self.whole5 if version5 else self.whole4
        if made is None:
            made = self.encoded(version5, 0x30, 0, None, self.timestamp)
            if version5:
                self.whole5 = made
            else:
                self.whole4 = made
        return made

    def shape(self, version5: bool, first: int) -> None:
        """
        Make C{head4} and C{tail4}, or C{head5} and C{tail5}: what stands before and after the packet identifier of a
        PUBLISH with this first byte, as just published. C{key4} or C{key5} says for which first byte they are.
        """
        topic = self.topic.encode("utf-8")
        tail = self.encodedProperties(None, self.timestamp) + self.payload if version5 else self.payload
        remaining = 4 + len(topic) + len(tail)
        head = b"".join((bytes((first,)), encodeVarint(remaining), len(topic).to_bytes(2, "big"), topic))
        if version5:
            self.key5 = first
            self.head5 = head
            self.tail5 = tail
        else:
            self.key4 = first
            self.head4 = head
            self.tail4 = tail

    def __repr__(self) -> str:
        return f"<Message {self.topic!r} qos={self.qos} retain={self.retain} {len(self.payload)} bytes>"
