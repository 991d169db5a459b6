"""
The packets of MQTT, one class for each: those that a L{twisted_mqtt.core.codec.Decoder} returns, and those that are
encoded as objects.

They are plain records. C{version} of the protocol is not part of a packet but of the connection that carries it.
"""

from __future__ import annotations

from typing import Final

from twisted_mqtt.core.properties import Properties

CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
PUBREC: Final = 5
PUBREL: Final = 6
PUBCOMP: Final = 7
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14
AUTH: Final = 15

NAMES: Final = (
    "reserved",
    "CONNECT",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "PINGREQ",
    "PINGRESP",
    "DISCONNECT",
    "AUTH",
)

VERSION_3_1: Final = 3
VERSION_3_1_1: Final = 4
VERSION_5: Final = 5


class Packet:
    """
    Any packet.

    @ivar type: the control packet type (2.1.2), by which shells dispatch.
    """

    __slots__ = ("type",)

    def __init__(self, packetType: int) -> None:
        self.type: int = packetType

    def __repr__(self) -> str:
        fields = [
            f"{name}={getattr(self, name)!r}"
            for cls in type(self).__mro__
            for name in getattr(cls, "__slots__", ())
            if name not in ("type", "password", "authData")
        ]
        return f"<{NAMES[self.type]} {' '.join(fields)}>"


class Will:
    """
    The will of a CONNECT (3.1.3).
    """

    __slots__ = ("topic", "payload", "qos", "retain", "properties")

    def __init__(self, topic: str, payload: bytes, qos: int, retain: bool, properties: Properties | None) -> None:
        self.topic: str = topic
        self.payload: bytes = payload
        self.qos: int = qos
        self.retain: bool = retain
        self.properties: Properties | None = properties


class Connect(Packet):
    """
    CONNECT (3.1). C{bridge} is the flag some 3.x brokers set in the protocol level of a bridge.
    """

    __slots__ = (
        "protoName",
        "version",
        "bridge",
        "cleanStart",
        "keepAlive",
        "clientID",
        "will",
        "username",
        "password",
        "properties",
    )

    def __init__(
        self,
        protoName: str,
        version: int,
        clientID: str,
        cleanStart: bool,
        keepAlive: int,
        username: str | None,
        password: bytes | None,
        will: Will | None,
        properties: Properties | None,
        bridge: bool = False,
    ) -> None:
        super().__init__(CONNECT)
        self.protoName: str = protoName
        self.version: int = version
        self.bridge: bool = bridge
        self.clientID: str = clientID
        self.cleanStart: bool = cleanStart
        self.keepAlive: int = keepAlive
        self.username: str | None = username
        self.password: bytes | None = password
        self.will: Will | None = will
        self.properties: Properties | None = properties


class Connack(Packet):
    """
    CONNACK (3.2); C{reason} is an MQTT 5 reason code, or a return code where the version is below 5.
    """

    __slots__ = ("sessionPresent", "reason", "properties")

    def __init__(self, sessionPresent: bool, reason: int, properties: Properties | None = None) -> None:
        super().__init__(CONNACK)
        self.sessionPresent: bool = sessionPresent
        self.reason: int = reason
        self.properties: Properties | None = properties


class Publish(Packet):
    """
    PUBLISH (3.3).

    @ivar packetID: 0 for QoS 0.
    @ivar whole: the bytes of the packet where a subscriber of the same version at QoS 0 may get them as they are.
    @ivar head: for QoS 1 and 2 likewise what stands before the packet identifier, and
    @ivar tail: what stands after it.
    """

    __slots__ = ("topic", "payload", "qos", "retain", "dup", "packetID", "properties", "whole", "head", "tail")

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        dup: bool = False,
        packetID: int = 0,
        properties: Properties | None = None,
    ) -> None:
        super().__init__(PUBLISH)
        self.topic: str = topic
        self.payload: bytes = payload
        self.qos: int = qos
        self.retain: bool = retain
        self.dup: bool = dup
        self.packetID: int = packetID
        self.properties: Properties | None = properties
        self.whole: bytes | None = None
        self.head: bytes | None = None
        self.tail: bytes | None = None


class Ack(Packet):
    """
    PUBACK, PUBREC, PUBREL or PUBCOMP (3.4 to 3.7), by its C{type}.
    """

    __slots__ = ("packetID", "reason", "properties")

    def __init__(self, packetType: int, packetID: int, reason: int = 0, properties: Properties | None = None) -> None:
        super().__init__(packetType)
        self.packetID: int = packetID
        self.reason: int = reason
        self.properties: Properties | None = properties


class SubscriptionRequest:
    """
    One entry of a SUBSCRIBE: a filter and its options (3.8.3).

    @ivar topicFilter: as the client sent it, C{$share/...} and all.
    """

    __slots__ = ("topicFilter", "qos", "noLocal", "retainAsPublished", "retainHandling")

    def __init__(
        self,
        topicFilter: str,
        qos: int = 0,
        noLocal: bool = False,
        retainAsPublished: bool = False,
        retainHandling: int = 0,
    ) -> None:
        self.topicFilter: str = topicFilter
        self.qos: int = qos
        self.noLocal: bool = noLocal
        self.retainAsPublished: bool = retainAsPublished
        self.retainHandling: int = retainHandling

    def __repr__(self) -> str:
        return f"<SubscriptionRequest {self.topicFilter!r} qos={self.qos}>"


class Subscribe(Packet):
    """
    SUBSCRIBE (3.8).
    """

    __slots__ = ("packetID", "requests", "properties")

    def __init__(
        self, packetID: int, requests: list[SubscriptionRequest], properties: Properties | None = None
    ) -> None:
        super().__init__(SUBSCRIBE)
        self.packetID: int = packetID
        self.requests: list[SubscriptionRequest] = requests
        self.properties: Properties | None = properties


class Unsubscribe(Packet):
    """
    UNSUBSCRIBE (3.10).
    """

    __slots__ = ("packetID", "topicFilters", "properties")

    def __init__(self, packetID: int, topicFilters: list[str], properties: Properties | None = None) -> None:
        super().__init__(UNSUBSCRIBE)
        self.packetID: int = packetID
        self.topicFilters: list[str] = topicFilters
        self.properties: Properties | None = properties


class Suback(Packet):
    """
    SUBACK or UNSUBACK (3.9, 3.11), by its C{type}; an UNSUBACK below MQTT 5 has no reasons.
    """

    __slots__ = ("packetID", "reasons", "properties")

    def __init__(
        self, packetType: int, packetID: int, reasons: list[int], properties: Properties | None = None
    ) -> None:
        super().__init__(packetType)
        self.packetID: int = packetID
        self.reasons: list[int] = reasons
        self.properties: Properties | None = properties


class Ping(Packet):
    """
    PINGREQ or PINGRESP (3.12, 3.13), by its C{type}.
    """

    __slots__ = ()


class Disconnect(Packet):
    """
    DISCONNECT (3.14).
    """

    __slots__ = ("reason", "properties")

    def __init__(self, reason: int = 0, properties: Properties | None = None) -> None:
        super().__init__(DISCONNECT)
        self.reason: int = reason
        self.properties: Properties | None = properties


class Auth(Packet):
    """
    AUTH (3.15).
    """

    __slots__ = ("reason", "properties")

    def __init__(self, reason: int = 0, properties: Properties | None = None) -> None:
        super().__init__(AUTH)
        self.reason: int = reason
        self.properties: Properties | None = properties
