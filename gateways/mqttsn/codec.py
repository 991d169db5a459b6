"""
The bytes of MQTT-SN 1.2 (chapter 5): messages in datagrams, with or without the envelope of a forwarder. No I/O, no
state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateways.mqttsn.packets import (
    ADVERTISE,
    CONNACK,
    CONNECT,
    DISCONNECT,
    ENCAPSULATED,
    GWINFO,
    PINGREQ,
    PINGRESP,
    PREDEFINED,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    REGACK,
    REGISTER,
    SEARCHGW,
    SHORT,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    WILLMSG,
    WILLMSGREQ,
    WILLMSGRESP,
    WILLMSGUPD,
    WILLTOPIC,
    WILLTOPICREQ,
    WILLTOPICRESP,
    WILLTOPICUPD,
    Encapsulated,
    GatewayInfo,
    SNConnect,
    SNPacket,
    SNPublish,
    SNRegister,
    SNSuback,
    SNSubscribe,
    SNWillTopic,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# Flags (5.3.4).
_DUP: Final = 0x80
_RETAIN: Final = 0x10
_WILL: Final = 0x08
_CLEAN: Final = 0x04
_ID_TYPE: Final = 0x03

# The QoS by its bits, and the bits by the QoS: 0b11 is -1.
_QOS: Final = (0, 1, 2, -1)
_QOS_BITS: Final = {0: 0x00, 1: 0x20, 2: 0x40, -1: 0x60}

LARGEST: Final = 65535
"""
The longest message that its length field can tell.
"""


class MalformedError(Exception):
    """
    A datagram is not a message of MQTT-SN 1.2. It is ignored: who sent it can't be told.
    """


def decode(data: bytes) -> SNPacket:
    """
    The message of a datagram.

    @raise MalformedError: it is none.
    """
    size = len(data)
    if size < 2:
        raise MalformedError("shorter than two bytes")
    start = 1
    length = data[0]
    if length == 1:  # 5.2.1: the length is in the two bytes that follow
        if size < 4:
            raise MalformedError("a long length is cut off")
        length = data[1] << 8 | data[2]
        start = 3
    kind = data[start]
    if kind == ENCAPSULATED:
        return _encapsulated(data, length, start)
    if length != size:
        raise MalformedError(f"{size} bytes say that they are {length}")
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise MalformedError(f"there is no message type {kind:#04x}")
    return decoder(data, start + 1)


def encode(packet: SNPacket) -> bytes:
    """
    The datagram of a message.
    """
    return _ENCODERS[packet.type](packet)


def message(kind: int, body: bytes = b"") -> bytes:
    """
    A message of a type and what follows that.
    """
    length = len(body) + 2
    if length < 256:
        return bytes((length, kind)) + body
    return b"\x01" + (length + 2).to_bytes(2, "big") + bytes((kind,)) + body


def encodePublish(
    idType: int, topicID: int, data: bytes, qos: int = 0, msgID: int = 0, retain: bool = False, dup: bool = False
) -> bytes:
    """
    A PUBLISH without a L{SNPublish}, for what is sent often.
    """
    flags = _QOS_BITS[qos] | idType | (_RETAIN if retain else 0) | (_DUP if dup else 0)
    length = len(data) + 7
    if length < 256:
        head = bytes((length, PUBLISH, flags, topicID >> 8, topicID & 255, msgID >> 8, msgID & 255))
    else:
        length += 2
        head = bytes(
            (1, length >> 8, length & 255, PUBLISH, flags, topicID >> 8, topicID & 255, msgID >> 8, msgID & 255)
        )
    return head + data


def withDup(wire: bytes) -> bytes:
    """
    An encoded PUBLISH with DUP set.
    """
    place = 4 if wire[0] == 1 else 2
    return wire[:place] + bytes((wire[place] | _DUP,)) + wire[place + 1 :]


# Decoding: each is given the datagram and where the type's fields begin


def _number(data: bytes, start: int) -> int:
    if start + 2 > len(data):
        raise MalformedError("a number is cut off")
    return data[start] << 8 | data[start + 1]


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("a text is not UTF-8") from None


def _exact(data: bytes, start: int, size: int) -> None:
    if len(data) - start != size:
        raise MalformedError(f"{len(data) - start} bytes where there are to be {size}")


def _encapsulated(data: bytes, length: int, start: int) -> SNPacket:
    # 5.5: its length ends with the wireless node's identifier, and is told by one byte.
    if start != 1 or length < 3 or length > len(data) - 2:
        raise MalformedError("a forwarder's envelope does not fit")
    return Encapsulated(data[3:length], data[length:], data[2] & 3)


def _decodeConnect(data: bytes, start: int) -> SNPacket:
    if len(data) < start + 4:
        raise MalformedError("CONNECT is cut off")
    flags = data[start]
    return SNConnect(
        _text(data[start + 4 :]),
        bool(flags & _CLEAN),
        bool(flags & _WILL),
        _number(data, start + 2),
        data[start + 1],
    )


def _decodePublish(data: bytes, start: int) -> SNPacket:
    if len(data) < start + 5:
        raise MalformedError("PUBLISH is cut off")
    flags = data[start]
    idType = flags & _ID_TYPE
    if idType == 3:
        raise MalformedError("a reserved type of topic identifier")
    return SNPublish(
        data[start + 1] << 8 | data[start + 2],
        data[start + 5 :],
        _QOS[flags >> 5 & 3],
        data[start + 3] << 8 | data[start + 4],
        idType,
        flags & _RETAIN != 0,
        flags & _DUP != 0,
    )


def _subscribeDecoder(kind: int) -> Callable[[bytes, int], SNPacket]:
    def decodeIt(data: bytes, start: int) -> SNPacket:
        if len(data) < start + 4:
            raise MalformedError("no topic")
        flags = data[start]
        qos = _QOS[flags >> 5 & 3]
        idType = flags & _ID_TYPE
        msgID = _number(data, start + 1)
        rest = data[start + 3 :]
        dup = flags & _DUP != 0
        if qos < 0 or idType == 3:
            raise MalformedError("reserved flags")
        if idType == PREDEFINED:
            _exact(data, start, 5)
            return SNSubscribe(kind, msgID, "", _number(data, start + 3), idType, qos, dup)
        if idType == SHORT and len(rest) > 2:
            raise MalformedError("a short topic name has two bytes")
        return SNSubscribe(kind, msgID, _text(rest), 0, idType, qos, dup)

    return decodeIt


def _decodeSuback(data: bytes, start: int) -> SNPacket:
    _exact(data, start, 6)
    qos = _QOS[data[start] >> 5 & 3]
    return SNSuback(_number(data, start + 1), _number(data, start + 3), data[start + 5], max(qos, 0))


def _willTopicDecoder(kind: int) -> Callable[[bytes, int], SNPacket]:
    def decodeIt(data: bytes, start: int) -> SNPacket:
        if len(data) == start:  # 5.4.7: no flags and no topic delete the will
            return SNWillTopic(kind)
        flags = data[start]
        qos = _QOS[flags >> 5 & 3]
        if qos < 0:
            raise MalformedError("a will of QoS -1")
        return SNWillTopic(kind, _text(data[start + 1 :]), qos, flags & _RETAIN != 0)

    return decodeIt


def _decodeRegister(data: bytes, start: int) -> SNPacket:
    if len(data) < start + 5:
        raise MalformedError("REGISTER is cut off")
    return SNRegister(_number(data, start), _number(data, start + 2), _text(data[start + 4 :]))


def _topicAckDecoder(kind: int) -> Callable[[bytes, int], SNPacket]:
    def decodeIt(data: bytes, start: int) -> SNPacket:
        _exact(data, start, 5)
        return SNPacket(kind, _number(data, start + 2), data[start + 4], _number(data, start))

    return decodeIt


def _msgIDDecoder(kind: int) -> Callable[[bytes, int], SNPacket]:
    def decodeIt(data: bytes, start: int) -> SNPacket:
        _exact(data, start, 2)
        return SNPacket(kind, _number(data, start))

    return decodeIt


def _codeDecoder(kind: int) -> Callable[[bytes, int], SNPacket]:
    def decodeIt(data: bytes, start: int) -> SNPacket:
        _exact(data, start, 1)
        return SNPacket(kind, code=data[start])

    return decodeIt


def _restDecoder(kind: int) -> Callable[[bytes, int], SNPacket]:
    return lambda data, start: SNPacket(kind, data=data[start:])


def _emptyDecoder(kind: int) -> Callable[[bytes, int], SNPacket]:
    def decodeIt(data: bytes, start: int) -> SNPacket:
        _exact(data, start, 0)
        return SNPacket(kind)

    return decodeIt


def _decodeDisconnect(data: bytes, start: int) -> SNPacket:
    if len(data) == start:
        return SNPacket(DISCONNECT)
    _exact(data, start, 2)
    return SNPacket(DISCONNECT, duration=_number(data, start))


def _decodeAdvertise(data: bytes, start: int) -> SNPacket:
    _exact(data, start, 3)
    return GatewayInfo(ADVERTISE, data[start], duration=_number(data, start + 1))


def _decodeSearch(data: bytes, start: int) -> SNPacket:
    _exact(data, start, 1)
    return GatewayInfo(SEARCHGW, radius=data[start])


def _decodeInfo(data: bytes, start: int) -> SNPacket:
    if len(data) == start:
        raise MalformedError("GWINFO is cut off")
    return GatewayInfo(GWINFO, data[start], data=data[start + 1 :])


_DECODERS: Final[dict[int, Callable[[bytes, int], SNPacket]]] = {
    ADVERTISE: _decodeAdvertise,
    SEARCHGW: _decodeSearch,
    GWINFO: _decodeInfo,
    CONNECT: _decodeConnect,
    CONNACK: _codeDecoder(CONNACK),
    WILLTOPICREQ: _emptyDecoder(WILLTOPICREQ),
    WILLTOPIC: _willTopicDecoder(WILLTOPIC),
    WILLMSGREQ: _emptyDecoder(WILLMSGREQ),
    WILLMSG: _restDecoder(WILLMSG),
    REGISTER: _decodeRegister,
    REGACK: _topicAckDecoder(REGACK),
    PUBLISH: _decodePublish,
    PUBACK: _topicAckDecoder(PUBACK),
    PUBCOMP: _msgIDDecoder(PUBCOMP),
    PUBREC: _msgIDDecoder(PUBREC),
    PUBREL: _msgIDDecoder(PUBREL),
    SUBSCRIBE: _subscribeDecoder(SUBSCRIBE),
    SUBACK: _decodeSuback,
    UNSUBSCRIBE: _subscribeDecoder(UNSUBSCRIBE),
    UNSUBACK: _msgIDDecoder(UNSUBACK),
    PINGREQ: _restDecoder(PINGREQ),
    PINGRESP: _emptyDecoder(PINGRESP),
    DISCONNECT: _decodeDisconnect,
    WILLTOPICUPD: _willTopicDecoder(WILLTOPICUPD),
    WILLTOPICRESP: _codeDecoder(WILLTOPICRESP),
    WILLMSGUPD: _restDecoder(WILLMSGUPD),
    WILLMSGRESP: _codeDecoder(WILLMSGRESP),
}


# Encoding


def _two(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _encodeConnect(packet: SNPacket) -> bytes:
    assert isinstance(packet, SNConnect)
    flags = (_CLEAN if packet.cleanSession else 0) | (_WILL if packet.will else 0)
    body = bytes((flags, packet.protocolID)) + _two(packet.duration or 0) + packet.clientID.encode("utf-8")
    return message(CONNECT, body)


def _encodePublish(packet: SNPacket) -> bytes:
    assert isinstance(packet, SNPublish)
    return encodePublish(
        packet.idType, packet.topicID, packet.data, packet.qos, packet.msgID, packet.retain, packet.dup
    )


def _encodeSubscribe(packet: SNPacket) -> bytes:
    assert isinstance(packet, SNSubscribe)
    flags = _QOS_BITS[packet.qos] | packet.idType | (_DUP if packet.dup else 0)
    topic = _two(packet.topicID) if packet.idType == PREDEFINED else packet.topic.encode("utf-8")
    return message(packet.type, bytes((flags,)) + _two(packet.msgID) + topic)


def _encodeSuback(packet: SNPacket) -> bytes:
    assert isinstance(packet, SNSuback)
    body = bytes((_QOS_BITS[packet.qos],)) + _two(packet.topicID) + _two(packet.msgID) + bytes((packet.code,))
    return message(SUBACK, body)


def _encodeWillTopic(packet: SNPacket) -> bytes:
    assert isinstance(packet, SNWillTopic)
    if not packet.topic:
        return message(packet.type)
    flags = _QOS_BITS[packet.qos] | (_RETAIN if packet.retain else 0)
    return message(packet.type, bytes((flags,)) + packet.topic.encode("utf-8"))


def _encodeRegister(packet: SNPacket) -> bytes:
    assert isinstance(packet, SNRegister)
    return message(REGISTER, _two(packet.topicID) + _two(packet.msgID) + packet.topic.encode("utf-8"))


def _encodeTopicAck(packet: SNPacket) -> bytes:
    return message(packet.type, _two(packet.topicID) + _two(packet.msgID) + bytes((packet.code,)))


def _encodeMsgID(packet: SNPacket) -> bytes:
    return message(packet.type, _two(packet.msgID))


def _encodeCode(packet: SNPacket) -> bytes:
    return message(packet.type, bytes((packet.code,)))


def _encodeRest(packet: SNPacket) -> bytes:
    return message(packet.type, packet.data)


def _encodeDisconnect(packet: SNPacket) -> bytes:
    return message(DISCONNECT, b"" if packet.duration is None else _two(packet.duration))


def _encodeAdvertise(packet: SNPacket) -> bytes:
    assert isinstance(packet, GatewayInfo)
    return message(ADVERTISE, bytes((packet.gatewayID,)) + _two(packet.duration or 0))


def _encodeSearch(packet: SNPacket) -> bytes:
    assert isinstance(packet, GatewayInfo)
    return message(SEARCHGW, bytes((packet.radius,)))


def _encodeInfo(packet: SNPacket) -> bytes:
    assert isinstance(packet, GatewayInfo)
    return message(GWINFO, bytes((packet.gatewayID,)) + packet.data)


def _encodeEncapsulated(packet: SNPacket) -> bytes:
    assert isinstance(packet, Encapsulated)
    return bytes((len(packet.node) + 3, ENCAPSULATED, packet.radius)) + packet.node + packet.data


_ENCODERS: Final[dict[int, Callable[[SNPacket], bytes]]] = {
    ADVERTISE: _encodeAdvertise,
    SEARCHGW: _encodeSearch,
    GWINFO: _encodeInfo,
    CONNECT: _encodeConnect,
    WILLTOPIC: _encodeWillTopic,
    WILLTOPICUPD: _encodeWillTopic,
    REGISTER: _encodeRegister,
    PUBLISH: _encodePublish,
    SUBSCRIBE: _encodeSubscribe,
    UNSUBSCRIBE: _encodeSubscribe,
    SUBACK: _encodeSuback,
    DISCONNECT: _encodeDisconnect,
    ENCAPSULATED: _encodeEncapsulated,
    **dict.fromkeys((REGACK, PUBACK), _encodeTopicAck),
    **dict.fromkeys((PUBCOMP, PUBREC, PUBREL, UNSUBACK), _encodeMsgID),
    **dict.fromkeys((CONNACK, WILLTOPICRESP, WILLMSGRESP), _encodeCode),
    **dict.fromkeys((WILLMSG, WILLMSGUPD, WILLTOPICREQ, WILLMSGREQ, PINGREQ, PINGRESP), _encodeRest),
}
