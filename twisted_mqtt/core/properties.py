"""
The properties of MQTT 5 (2.2.2): one table, one decoder, one encoder.
"""

from __future__ import annotations

from typing import Final

from twisted_mqtt.core.reasons import MALFORMED_PACKET, PROTOCOL_ERROR, ProtocolError

# The packets that carry a property, as bits: 1 << packet type; wills have a set of their own (bit 0).
IN_WILL: Final = 1 << 0
IN_CONNECT: Final = 1 << 1
IN_CONNACK: Final = 1 << 2
IN_PUBLISH: Final = 1 << 3
IN_PUBACK: Final = 1 << 4
IN_PUBREC: Final = 1 << 5
IN_PUBREL: Final = 1 << 6
IN_PUBCOMP: Final = 1 << 7
IN_SUBSCRIBE: Final = 1 << 8
IN_SUBACK: Final = 1 << 9
IN_UNSUBSCRIBE: Final = 1 << 10
IN_UNSUBACK: Final = 1 << 11
IN_DISCONNECT: Final = 1 << 14
IN_AUTH: Final = 1 << 15
_ACKS: Final = IN_PUBACK | IN_PUBREC | IN_PUBREL | IN_PUBCOMP | IN_SUBACK | IN_UNSUBACK
_ANY: Final = 0xFFFF

BYTE: Final = 0
FLAG: Final = 1  # a byte that may only be 0 or 1
TWO: Final = 2
FOUR: Final = 3
VARINT: Final = 4
TEXT: Final = 5
BINARY: Final = 6
PAIR: Final = 7

# identifier: (attribute of Properties, type, packets); table 2-4.
TABLE: Final[dict[int, tuple[str, int, int]]] = {
    0x01: ("payloadFormat", FLAG, IN_PUBLISH | IN_WILL),
    0x02: ("messageExpiry", FOUR, IN_PUBLISH | IN_WILL),
    0x03: ("contentType", TEXT, IN_PUBLISH | IN_WILL),
    0x08: ("responseTopic", TEXT, IN_PUBLISH | IN_WILL),
    0x09: ("correlationData", BINARY, IN_PUBLISH | IN_WILL),
    0x0B: ("subscriptionIDs", VARINT, IN_PUBLISH | IN_SUBSCRIBE),
    0x11: ("sessionExpiry", FOUR, IN_CONNECT | IN_CONNACK | IN_DISCONNECT),
    0x12: ("assignedClientID", TEXT, IN_CONNACK),
    0x13: ("serverKeepAlive", TWO, IN_CONNACK),
    0x15: ("authMethod", TEXT, IN_CONNECT | IN_CONNACK | IN_AUTH),
    0x16: ("authData", BINARY, IN_CONNECT | IN_CONNACK | IN_AUTH),
    0x17: ("requestProblem", FLAG, IN_CONNECT),
    0x18: ("willDelay", FOUR, IN_WILL),
    0x19: ("requestResponse", FLAG, IN_CONNECT),
    0x1A: ("responseInformation", TEXT, IN_CONNACK),
    0x1C: ("serverReference", TEXT, IN_CONNACK | IN_DISCONNECT),
    0x1F: ("reasonString", TEXT, IN_CONNACK | _ACKS | IN_DISCONNECT | IN_AUTH),
    0x21: ("receiveMaximum", TWO, IN_CONNECT | IN_CONNACK),
    0x22: ("topicAliasMaximum", TWO, IN_CONNECT | IN_CONNACK),
    0x23: ("topicAlias", TWO, IN_PUBLISH),
    0x24: ("maximumQoS", FLAG, IN_CONNACK),
    0x25: ("retainAvailable", FLAG, IN_CONNACK),
    0x26: ("userProperties", PAIR, _ANY),
    0x27: ("maximumPacketSize", FOUR, IN_CONNECT | IN_CONNACK),
    0x28: ("wildcardAvailable", FLAG, IN_CONNACK),
    0x29: ("subscriptionIDsAvailable", FLAG, IN_CONNACK),
    0x2A: ("sharedAvailable", FLAG, IN_CONNACK),
}


def _forPacket(packet: int) -> list[tuple[bytes, str, int]]:
    return [(bytes((identifier,)), name, kind) for identifier, (name, kind, bits) in TABLE.items() if bits & packet]


# The properties that an encoder checks: (identifier, attribute, type) by packet.
_BY_PACKET: Final[dict[int, list[tuple[bytes, str, int]]]] = {1 << bit: _forPacket(1 << bit) for bit in range(16)}

_NOT_ZERO: Final = ("receiveMaximum", "topicAlias", "maximumPacketSize")


class Properties:
    """
    The properties of one packet; what was not there is L{None}.

    Intervals are in seconds, sizes in bytes, as on the wire.
    """

    __slots__ = (
        "payloadFormat",
        "messageExpiry",
        "contentType",
        "responseTopic",
        "correlationData",
        "subscriptionIDs",
        "sessionExpiry",
        "assignedClientID",
        "serverKeepAlive",
        "authMethod",
        "authData",
        "requestProblem",
        "willDelay",
        "requestResponse",
        "responseInformation",
        "serverReference",
        "reasonString",
        "receiveMaximum",
        "topicAliasMaximum",
        "topicAlias",
        "maximumQoS",
        "retainAvailable",
        "userProperties",
        "maximumPacketSize",
        "wildcardAvailable",
        "subscriptionIDsAvailable",
        "sharedAvailable",
    )

    def __init__(self) -> None:
        self.payloadFormat: int | None = None
        self.messageExpiry: int | None = None
        self.contentType: str | None = None
        self.responseTopic: str | None = None
        self.correlationData: bytes | None = None
        self.subscriptionIDs: list[int] | None = None
        self.sessionExpiry: int | None = None
        self.assignedClientID: str | None = None
        self.serverKeepAlive: int | None = None
        self.authMethod: str | None = None
        self.authData: bytes | None = None
        self.requestProblem: int | None = None
        self.willDelay: int | None = None
        self.requestResponse: int | None = None
        self.responseInformation: str | None = None
        self.serverReference: str | None = None
        self.reasonString: str | None = None
        self.receiveMaximum: int | None = None
        self.topicAliasMaximum: int | None = None
        self.topicAlias: int | None = None
        self.maximumQoS: int | None = None
        self.retainAvailable: int | None = None
        self.userProperties: list[tuple[str, str]] | None = None
        self.maximumPacketSize: int | None = None
        self.wildcardAvailable: int | None = None
        self.subscriptionIDsAvailable: int | None = None
        self.sharedAvailable: int | None = None

    def asDict(self) -> dict[str, object]:
        """
        The properties that are set, by attribute name.
        """
        return {entry[0]: getattr(self, entry[0]) for entry in TABLE.values() if getattr(self, entry[0]) is not None}

    def copy(self) -> Properties:
        """
        A copy whose attributes can be changed without changing these; lists are copied too.
        """
        other = Properties()
        for entry in TABLE.values():
            value = getattr(self, entry[0])
            if value is not None:
                setattr(other, entry[0], list(value) if isinstance(value, list) else value)
        return other

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Properties):
            return NotImplemented
        return self.asDict() == other.asDict()

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"Properties({self.asDict()!r})"


def decodeText(data: bytes, start: int, stop: int) -> str:
    """
    Decode a UTF-8 encoded string (1.5.4).

    @raise ProtocolError: (malformed packet) for what is not UTF-8, for surrogates and for U+0000.
    """
    try:
        # [MQTT-1.5.4-1] Python's decoder refuses surrogates; [MQTT-1.5.4-3] it keeps U+FEFF.
        text = data[start:stop].decode("utf-8")
    except UnicodeDecodeError:
        raise ProtocolError(MALFORMED_PACKET, "a string is not valid UTF-8") from None
    if "\x00" in text:  # [MQTT-1.5.4-2]
        raise ProtocolError(MALFORMED_PACKET, "a string contains U+0000")
    return text


def readText(data: bytes, pos: int, stop: int) -> tuple[str, int]:
    """
    Read a length-prefixed UTF-8 string that must end at or before C{stop}; returns it and the position after it.
    """
    if pos + 2 > stop:
        raise ProtocolError(MALFORMED_PACKET, "the packet ends inside a string")
    end = pos + 2 + (data[pos] << 8 | data[pos + 1])
    if end > stop:
        raise ProtocolError(MALFORMED_PACKET, "a string is longer than its packet")
    return decodeText(data, pos + 2, end), end


def readBinary(data: bytes, pos: int, stop: int) -> tuple[bytes, int]:
    """
    Read length-prefixed binary data that must end at or before C{stop}; returns it and the position after it.
    """
    if pos + 2 > stop:
        raise ProtocolError(MALFORMED_PACKET, "the packet ends inside binary data")
    end = pos + 2 + (data[pos] << 8 | data[pos + 1])
    if end > stop:
        raise ProtocolError(MALFORMED_PACKET, "binary data is longer than its packet")
    return data[pos + 2 : end], end


def readVarint(data: bytes, pos: int, stop: int) -> tuple[int, int]:
    """
    Read a variable byte integer (1.5.5); returns it and the position after it.
    """
    value = 0
    shift = 0
    while True:
        if pos >= stop:
            raise ProtocolError(MALFORMED_PACKET, "the packet ends inside a variable byte integer")
        byte = data[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 21:
            raise ProtocolError(MALFORMED_PACKET, "a variable byte integer has more than four bytes")
    if byte == 0 and shift > 0:  # [MQTT-1.5.5-1]
        raise ProtocolError(MALFORMED_PACKET, "a variable byte integer is not in its shortest form")
    return value, pos


def encodeVarint(value: int) -> bytes:
    """
    The variable byte integer for C{value}; what needs more than four bytes is a L{ValueError}.
    """
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    if value < 0x200000:
        return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
    if value >= 0x10000000:
        raise ValueError("a variable byte integer of MQTT has at most four bytes")
    return bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14 & 0x7F | 0x80, value >> 21))


def encodeText(text: str) -> bytes:
    """
    The length-prefixed UTF-8 form of C{text}; what is longer than 65,535 bytes is a L{ValueError}.
    """
    return encodeBinary(text.encode("utf-8"))


def encodeBinary(data: bytes) -> bytes:
    """
    The length-prefixed form of C{data}; what is longer than 65,535 bytes is a L{ValueError}.
    """
    length = len(data)
    if length > 0xFFFF:
        raise ValueError("a string or binary field of MQTT holds at most 65535 bytes")
    return length.to_bytes(2, "big") + data


def decodeProperties(data: bytes, pos: int, stop: int, packet: int) -> tuple[Properties | None, int]:
    """
    Read the property length and the properties after it.

    @param packet: the C{IN_*} bit of the packet that they stand in.

    @return: the properties, L{None} where there are none, and the position after them.

    @raise ProtocolError: malformed, repeated, misplaced or forbidden values.
    """
    length, pos = readVarint(data, pos, stop)
    if length == 0:
        return None, pos
    end = pos + length
    if end > stop:
        raise ProtocolError(MALFORMED_PACKET, "the properties are longer than their packet")
    found = Properties()
    seen = 0
    while pos < end:
        # An identifier is a variable byte integer, but all that exist fit one byte.
        identifier, pos = readVarint(data, pos, end)
        entry = TABLE.get(identifier)
        if entry is None:
            raise ProtocolError(MALFORMED_PACKET, f"there is no property 0x{identifier:02x}")
        name, kind, packets = entry
        if not packets & packet:
            raise ProtocolError(MALFORMED_PACKET, f"property {name} does not belong in this packet")  # 2.2.2.2
        if kind == PAIR:
            key, pos = readText(data, pos, end)
            text, pos = readText(data, pos, end)
            pairs = found.userProperties
            if pairs is None:
                found.userProperties = [(key, text)]
            else:
                pairs.append((key, text))
            continue
        if seen >> identifier & 1 and not (kind == VARINT and packet == IN_PUBLISH):
            raise ProtocolError(PROTOCOL_ERROR, f"property {name} appears twice")
        seen |= 1 << identifier
        if kind == TEXT:
            text, pos = readText(data, pos, end)
            setattr(found, name, text)
        elif kind == BINARY:
            binary, pos = readBinary(data, pos, end)
            setattr(found, name, binary)
        elif kind == VARINT:
            number, pos = readVarint(data, pos, end)
            if number == 0:
                raise ProtocolError(PROTOCOL_ERROR, "a subscription identifier is 0")
            identifiers = found.subscriptionIDs
            if identifiers is None:
                found.subscriptionIDs = [number]
            else:
                identifiers.append(number)
        else:
            size = 4 if kind == FOUR else 2 if kind == TWO else 1
            if pos + size > end:
                raise ProtocolError(MALFORMED_PACKET, f"property {name} is cut short")
            number = int.from_bytes(data[pos : pos + size], "big")
            pos += size
            if kind == FLAG and number > 1:
                raise ProtocolError(PROTOCOL_ERROR, f"property {name} is neither 0 nor 1")
            # A topic alias of 0 has a reason code of its own, given where aliases are resolved.
            if number == 0 and name in _NOT_ZERO and name != "topicAlias":
                raise ProtocolError(PROTOCOL_ERROR, f"property {name} is 0")
            setattr(found, name, number)
    if found.authData is not None and found.authMethod is None:
        raise ProtocolError(PROTOCOL_ERROR, "authentication data without an authentication method")
    return found, end


def encodeProperties(properties: Properties | None, packet: int) -> bytes:
    """
    The property length and the properties, those that belong in the packet alone.

    @param packet: the C{IN_*} bit of the packet.
    """
    if properties is None:
        return b"\x00"
    chunks: list[bytes] = []
    for mark, name, kind in _BY_PACKET[packet]:
        value: object = getattr(properties, name)
        if value is None:
            continue
        if isinstance(value, int):
            size = 4 if kind == FOUR else 2 if kind == TWO else 1
            chunks.append(mark + value.to_bytes(size, "big"))
        elif isinstance(value, str):
            chunks.append(mark + encodeText(value))
        elif isinstance(value, bytes):
            chunks.append(mark + encodeBinary(value))
        elif kind == VARINT:
            for number in properties.subscriptionIDs or ():
                chunks.append(mark + encodeVarint(number))
        else:
            for key, text in properties.userProperties or ():
                chunks.append(mark + encodeText(key) + encodeText(text))
    encoded = b"".join(chunks)
    return encodeVarint(len(encoded)) + encoded
