"""
The messages of MQTT-SN (MQTT-SN 1.2, 5.4) as plain data; L{gateways.mqttsn.codec} knows their bytes.
"""

from __future__ import annotations

from typing import Final

ADVERTISE: Final = 0x00
SEARCHGW: Final = 0x01
GWINFO: Final = 0x02
CONNECT: Final = 0x04
CONNACK: Final = 0x05
WILLTOPICREQ: Final = 0x06
WILLTOPIC: Final = 0x07
WILLMSGREQ: Final = 0x08
WILLMSG: Final = 0x09
REGISTER: Final = 0x0A
REGACK: Final = 0x0B
PUBLISH: Final = 0x0C
PUBACK: Final = 0x0D
PUBCOMP: Final = 0x0E
PUBREC: Final = 0x0F
PUBREL: Final = 0x10
SUBSCRIBE: Final = 0x12
SUBACK: Final = 0x13
UNSUBSCRIBE: Final = 0x14
UNSUBACK: Final = 0x15
PINGREQ: Final = 0x16
PINGRESP: Final = 0x17
DISCONNECT: Final = 0x18
WILLTOPICUPD: Final = 0x1A
WILLTOPICRESP: Final = 0x1B
WILLMSGUPD: Final = 0x1C
WILLMSGRESP: Final = 0x1D
ENCAPSULATED: Final = 0xFE

NAMES: Final[dict[int, str]] = {
    ADVERTISE: "ADVERTISE",
    SEARCHGW: "SEARCHGW",
    GWINFO: "GWINFO",
    CONNECT: "CONNECT",
    CONNACK: "CONNACK",
    WILLTOPICREQ: "WILLTOPICREQ",
    WILLTOPIC: "WILLTOPIC",
    WILLMSGREQ: "WILLMSGREQ",
    WILLMSG: "WILLMSG",
    REGISTER: "REGISTER",
    REGACK: "REGACK",
    PUBLISH: "PUBLISH",
    PUBACK: "PUBACK",
    PUBCOMP: "PUBCOMP",
    PUBREC: "PUBREC",
    PUBREL: "PUBREL",
    SUBSCRIBE: "SUBSCRIBE",
    SUBACK: "SUBACK",
    UNSUBSCRIBE: "UNSUBSCRIBE",
    UNSUBACK: "UNSUBACK",
    PINGREQ: "PINGREQ",
    PINGRESP: "PINGRESP",
    DISCONNECT: "DISCONNECT",
    WILLTOPICUPD: "WILLTOPICUPD",
    WILLTOPICRESP: "WILLTOPICRESP",
    WILLMSGUPD: "WILLMSGUPD",
    WILLMSGRESP: "WILLMSGRESP",
    ENCAPSULATED: "ENCAPSULATED",
}

# Types of topic identifiers (5.3.11).
NORMAL: Final = 0
PREDEFINED: Final = 1
SHORT: Final = 2

# Return codes (5.3.10).
ACCEPTED: Final = 0
CONGESTION: Final = 1
INVALID_TOPIC: Final = 2
NOT_SUPPORTED: Final = 3

# A PUBLISH of QoS -1 asks for no connection and no acknowledgement (6.8).
UNCONNECTED: Final = -1

PROTOCOL_ID: Final = 1


class SNPacket:
    """
    A message that consists of its type and nothing else, or of one of the fields below.

    @ivar type: of the message.
    @ivar msgID: what answers it by; 0 where it has none.
    @ivar code: a return code.
    @ivar topicID: of a topic; for C{SHORT} ones its two bytes as a number.
    @ivar data: what remains: a client identifier (PINGREQ), a payload, a message.
    @ivar duration: in seconds; L{None} where it may be left out and was.
    """

    __slots__ = ("type", "msgID", "code", "topicID", "data", "duration")

    def __init__(
        self,
        type: int,
        msgID: int = 0,
        code: int = 0,
        topicID: int = 0,
        data: bytes = b"",
        duration: int | None = None,
    ) -> None:
        self.type = type
        self.msgID = msgID
        self.code = code
        self.topicID = topicID
        self.data = data
        self.duration = duration

    def _fields(self) -> dict[str, object]:
        return {name: getattr(self, name) for cls in type(self).__mro__ for name in getattr(cls, "__slots__", ())}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, SNPacket) and other._fields() == self._fields()

    __hash__ = None  # type: ignore[assignment]  # compared by value, and may be changed

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in self._fields().items() if name != "type")
        return f"<{NAMES.get(self.type, hex(self.type))} {said}>"


class SNConnect(SNPacket):
    """
    CONNECT.

    @ivar clientID: the client identifier.
    @ivar cleanSession: whether a session that exists is to be forgotten.
    @ivar will: whether the client wants to be asked for a will.
    @ivar protocolID: L{PROTOCOL_ID}.
    """

    __slots__ = ("clientID", "cleanSession", "will", "protocolID")

    def __init__(
        self,
        clientID: str,
        cleanSession: bool = True,
        will: bool = False,
        duration: int = 0,
        protocolID: int = PROTOCOL_ID,
    ) -> None:
        super().__init__(CONNECT, duration=duration)
        self.clientID = clientID
        self.cleanSession = cleanSession
        self.will = will
        self.protocolID = protocolID


class SNWillTopic(SNPacket):
    """
    WILLTOPIC and WILLTOPICUPD; an empty topic deletes the will.
    """

    __slots__ = ("topic", "qos", "retain")

    def __init__(self, type: int = WILLTOPIC, topic: str = "", qos: int = 0, retain: bool = False) -> None:
        super().__init__(type)
        self.topic = topic
        self.qos = qos
        self.retain = retain


class SNRegister(SNPacket):
    """
    REGISTER.
    """

    __slots__ = ("topic",)

    def __init__(self, topicID: int, msgID: int, topic: str) -> None:
        super().__init__(REGISTER, msgID, 0, topicID)
        self.topic = topic


class SNPublish(SNPacket):
    """
    PUBLISH.

    @ivar idType: what C{topicID} is.
    @ivar qos: -1 to 2.
    """

    __slots__ = ("qos", "retain", "dup", "idType")

    def __init__(
        self,
        topicID: int,
        data: bytes,
        qos: int = 0,
        msgID: int = 0,
        idType: int = NORMAL,
        retain: bool = False,
        dup: bool = False,
    ) -> None:
        # Made for every message: one call less than through Packet's own.
        self.type = PUBLISH
        self.msgID = msgID
        self.code = 0
        self.topicID = topicID
        self.data = data
        self.duration = None
        self.qos = qos
        self.retain = retain
        self.dup = dup
        self.idType = idType


class SNSubscribe(SNPacket):
    """
    SUBSCRIBE and UNSUBSCRIBE.

    @ivar idType: what the topic is given by.
    @ivar topic: a filter, or a short name; empty where it is given by C{topicID}.
    """

    __slots__ = ("topic", "qos", "dup", "idType")

    def __init__(
        self,
        type: int,
        msgID: int,
        topic: str = "",
        topicID: int = 0,
        idType: int = NORMAL,
        qos: int = 0,
        dup: bool = False,
    ) -> None:
        super().__init__(type, msgID, 0, topicID)
        self.topic = topic
        self.qos = qos
        self.dup = dup
        self.idType = idType


class SNSuback(SNPacket):
    """
    SUBACK.

    @ivar qos: what was granted.
    """

    __slots__ = ("qos",)

    def __init__(self, topicID: int, msgID: int, code: int, qos: int = 0) -> None:
        super().__init__(SUBACK, msgID, code, topicID)
        self.qos = qos


class GatewayInfo(SNPacket):
    """
    ADVERTISE, SEARCHGW and GWINFO.

    @ivar gatewayID: of the gateway.
    @ivar radius: how many hops it may go; 0 for all of the network.
    """

    __slots__ = ("gatewayID", "radius")

    def __init__(
        self, type: int, gatewayID: int = 0, radius: int = 0, data: bytes = b"", duration: int | None = None
    ) -> None:
        super().__init__(type, data=data, duration=duration)
        self.gatewayID = gatewayID
        self.radius = radius


class Encapsulated(SNPacket):
    """
    A message that came through a forwarder (5.5).

    @ivar node: what the forwarder knows the client by.
    @ivar radius: of the broadcast, in the lowest two bits.
    """

    __slots__ = ("node", "radius")

    def __init__(self, node: bytes, data: bytes, radius: int = 0) -> None:
        super().__init__(ENCAPSULATED, data=data)
        self.node = node
        self.radius = radius
