"""
Decodes and encodes packets, for MQTT 3.1, 3.1.1 and 5.0 alike.

A L{Decoder} never raises for bytes of a peer: it returns the packets before the error and keeps the error as C{error}.
The packets do not depend on how the stream is divided, and it buffers at most C{maxPacketSize} bytes.
"""

from __future__ import annotations

from typing import Final

from twisted_mqtt.core.packets import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
    Will,
)
from twisted_mqtt.core.properties import (
    IN_AUTH,
    IN_CONNACK,
    IN_CONNECT,
    IN_DISCONNECT,
    IN_PUBLISH,
    IN_SUBSCRIBE,
    IN_UNSUBSCRIBE,
    IN_WILL,
    Properties,
    decodeProperties,
    decodeText,
    encodeBinary,
    encodeProperties,
    encodeText,
    encodeVarint,
    readBinary,
    readText,
)
from twisted_mqtt.core.reasons import (
    MALFORMED_PACKET,
    NAMES,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    TOPIC_NAME_INVALID,
    UNSUPPORTED_PROTOCOL_VERSION,
    ProtocolError,
)
from twisted_mqtt.core.topics import checkResponseTopic, isTopicName

LARGEST: Final = 268435455
_PROTOCOLS: Final[dict[str, tuple[int, ...]]] = {"MQIsdp": (3,), "MQTT": (4, 5)}
# The reasons of PUBACK and PUBREC (tables 3-4, 3-5), and of PUBREL and PUBCOMP (tables 3-6, 3-7).
_RECEIVED: Final = frozenset((0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99))
_RELEASED: Final = frozenset((0x00, 0x92))
# Topic names met lately and found valid, by their bytes: a look-up instead of decoding and checking each time.
_names: Final[dict[bytes, str]] = {}
_NAMES_KEPT: Final = 8192
_PADDED: Final = "a remaining length is not in its shortest form"
_RESERVED: Final = "reserved flags are set"


def topicNameOf(encoded: bytes) -> str:
    """
    The topic name in its UTF-8 form, checked.

    @raise ProtocolError: malformed UTF-8, or a name that may not be published to.
    """
    topicName = _names.get(encoded)
    if topicName is None:
        topicName = decodeText(encoded, 0, len(encoded))
        if not isTopicName(topicName):
            raise ProtocolError(TOPIC_NAME_INVALID, "a topic name is empty or holds a wildcard")
        if len(_names) >= _NAMES_KEPT:
            _names.clear()
        if len(encoded) <= 256:
            _names[encoded] = topicName
    return topicName


class Decoder:
    """
    The packets in a stream of bytes.

    Subclasses may take PUBLISH, acknowledgements and pings as they come by overriding C{gotPublish}, C{gotAck} and
    C{gotPing}; all others, and those too unless overridden, are appended to C{packets}.

    @ivar version: of the protocol; 0 until a CONNECT was read. A client's decoder sets it itself.
    @ivar spoken: the version a refusal of CONNECT can be sent in; 0 where it can't.
    @ivar maxPacketSize: the largest packet taken, in bytes, fixed header included.
    @ivar error: what was wrong; nothing is decoded after it.
    @ivar packets: what the running or the last C{feed} has found.
    @ivar count: packets decoded so far.
    @ivar full: whether to decode no more for now. Once it is not any more, C{feed} goes on, if only with nothing.
    """

    __slots__ = (
        "version",
        "spoken",
        "maxPacketSize",
        "error",
        "packets",
        "count",
        "full",
        "_partial",
        "_needed",
        "_padded",
    )

    def __init__(self, maxPacketSize: int = LARGEST, version: int = 0) -> None:
        self.version: int = version
        self.spoken: int = 0
        self.maxPacketSize: int = maxPacketSize
        self.error: ProtocolError | None = None
        self.packets: list[Packet] = []
        self.count: int = 0
        self.full: bool = False
        self._partial: bytearray | None = None
        self._needed: int = 0
        # Whether the remaining length of CONNECT was not in its shortest form.
        self._padded: bool = False

    def feed(self, data: bytes) -> list[Packet]:
        """
        Take the next bytes of the stream; returns the packets that are complete now and were not taken as they came.
        """
        if self.error is not None:
            return []
        partial = self._partial
        if partial is not None:
            partial += data
            if len(partial) < self._needed:
                return []
            data = bytes(partial)
            self._partial = None
        found: list[Packet] = []
        self.packets = found
        try:
            rest = self._decode(data)
        except ProtocolError as error:
            self.error = error
            return found
        if rest < len(data):
            self._partial = bytearray(data[rest:])
        return found

    def partial(self) -> bytes:
        """
        The bytes that have come of a packet that is not whole yet.
        """
        partial = self._partial
        return b"" if partial is None else bytes(partial)

    def gotPublish(
        self,
        topic: str,
        payload: bytes,
        first: int,
        packetID: int,
        properties: Properties | None,
        whole: bytes | None,
        head: bytes | None,
        tail: bytes | None,
    ) -> None:
        """
        A PUBLISH was decoded.

        @param topic: empty where the packet had only an alias.
        @param first: the first byte of the packet: its type, DUP, QoS and RETAIN.
        @param whole: see L{Publish}, as for C{head} and C{tail}.
        """
        packet = Publish(topic, payload, first >> 1 & 3, first & 1 == 1, first & 8 == 8, packetID, properties)
        packet.whole = whole
        packet.head = head
        packet.tail = tail
        self.packets.append(packet)

    def gotAck(self, packetType: int, packetID: int, reason: int, properties: Properties | None) -> None:
        """
        A PUBACK, PUBREC, PUBREL or PUBCOMP was decoded.
        """
        self.packets.append(Ack(packetType, packetID, reason, properties))

    def gotVersion(self, version: int) -> None:
        """
        A CONNECT has said which version of the protocol this is.
        """

    def gotPing(self) -> None:
        """
        A PINGREQ was decoded.
        """
        self.packets.append(Ping(PINGREQ))

    def _decode(self, data: bytes) -> int:
        """
        Decode all complete packets; returns where the first incomplete one begins.
        """
        pos = 0
        end = len(data)
        while end - pos >= 2 and not self.full:
            first = data[pos]
            length = data[pos + 1]
            body = pos + 2
            if length >= 0x80:
                length &= 0x7F
                shift = 7
                while True:
                    if body >= end:
                        self._needed = end - pos + 1
                        self._checkFirst(first)
                        return pos
                    byte = data[body]
                    body += 1
                    length |= (byte & 0x7F) << shift
                    if byte < 0x80:
                        break
                    shift += 7
                    if shift > 21:
                        raise ProtocolError(MALFORMED_PACKET, "the remaining length has more than four bytes")
                if byte == 0:
                    stop = body + length
                    if self._isPadded(first) and stop <= end and stop - pos <= self.maxPacketSize:
                        self._decode(frame(first, data[body:stop]))
                        pos = stop
                        continue
            stop = body + length
            if stop - pos > self.maxPacketSize:
                self._checkFirst(first)
                raise ProtocolError(PACKET_TOO_LARGE, "a packet is larger than allowed")
            if stop > end:
                self._checkFirst(first)
                self._needed = stop - pos
                return pos
            kind = first >> 4
            self.count += 1
            if kind == PUBLISH and self.version:
                self._publish(data, pos, first, body, stop)
            elif kind >= PUBACK and kind <= PUBCOMP and self.version:
                # [MQTT-2.1.3-1]
                if first & 0x0F != (2 if kind == PUBREL else 0):
                    self._checkFirst(first)
                packetID = data[body] << 8 | data[body + 1] if length == 2 else 0
                if packetID:
                    self.gotAck(kind, packetID, 0, None)
                else:
                    self._ack(kind, data, body, stop)
            else:
                self._other(first, data, body, stop)
            pos = stop
        self._needed = 2
        return pos

    def _isPadded(self, first: int) -> bool:
        """
        A remaining length is not in its shortest form, which is legal below version 5.

        @return: whether its packet is to be decoded as if it were in its shortest form: others may get the very bytes.

        @raise ProtocolError: the version is 5 ([MQTT-1.5.5-1]).
        """
        if self.version == 0:
            self._padded = True  # CONNECT says which version it is
            return False
        if self.version == 5:
            raise ProtocolError(MALFORMED_PACKET, _PADDED)
        self._checkFirst(first)
        return True

    def _checkFirst(self, first: int) -> None:
        # A head that can't become a packet is refused before its body has come.
        kind = first >> 4
        if kind == 0:
            raise ProtocolError(MALFORMED_PACKET, "packet type 0 is reserved")
        if self.version == 0 and kind != CONNECT:  # [MQTT-3.1.0-1]
            raise ProtocolError(PROTOCOL_ERROR, "the first packet is not a CONNECT")
        if kind == PUBLISH:
            if first & 6 == 6:  # [MQTT-3.3.1-4]
                raise ProtocolError(MALFORMED_PACKET, "a PUBLISH has QoS 3")
        elif kind in (PUBREL, SUBSCRIBE, UNSUBSCRIBE):
            # 3.1 lets these be sent again with DUP, and does not use RETAIN
            if first & (0x06 if self.version == 3 else 0x0F) != 2:  # [MQTT-2.1.3-1]
                raise ProtocolError(MALFORMED_PACKET, _RESERVED)
        elif first & 0x0F and self.version > 3:
            # 3.1 does not use them; CONNECT says first which version it is
            raise ProtocolError(MALFORMED_PACKET, _RESERVED)

    def _publish(self, data: bytes, pos: int, first: int, body: int, stop: int) -> None:
        if body + 2 > stop:
            raise ProtocolError(MALFORMED_PACKET, "a PUBLISH ends inside its topic")
        topicEnd = body + 2 + (data[body] << 8 | data[body + 1])
        if topicEnd > stop:
            raise ProtocolError(MALFORMED_PACKET, "a topic is longer than its packet")
        encoded = data[body + 2 : topicEnd]
        topic = _names.get(encoded)
        if topic is None:
            if topicEnd == body + 2:
                topic = ""  # a name is to come from an alias; checked where aliases are known
            else:
                topic = topicNameOf(encoded)
        qos = first >> 1 & 3
        packetID = 0
        start = topicEnd
        if qos:
            if qos == 3:  # [MQTT-3.3.1-4]
                raise ProtocolError(MALFORMED_PACKET, "a PUBLISH has QoS 3")
            start += 2
            if start > stop:
                raise ProtocolError(MALFORMED_PACKET, "a PUBLISH ends inside its packet identifier")
            packetID = data[topicEnd] << 8 | data[topicEnd + 1]
            if packetID == 0:  # [MQTT-2.2.1-2]
                raise ProtocolError(MALFORMED_PACKET, "a PUBLISH has packet identifier 0")
        elif first & 8 and self.version > 3:  # [MQTT-3.3.1-2]
            raise ProtocolError(MALFORMED_PACKET, "a PUBLISH of QoS 0 has DUP set")
        properties: Properties | None = None
        version5 = self.version == 5
        payloadStart = start
        if version5:
            if start >= stop:
                raise ProtocolError(MALFORMED_PACKET, "a PUBLISH has no properties")
            if data[start] == 0:
                payloadStart = start + 1
            else:
                properties, payloadStart = decodeProperties(data, start, stop, IN_PUBLISH)
        payload = data[payloadStart:stop]
        if properties is None and topic:
            if first == 0x30:
                self.gotPublish(topic, payload, first, 0, None, data[pos:stop], None, None)
                return
            if first == 0x32 or first == 0x34:
                # Below 5 the tail is the payload itself.
                tail = data[start:stop] if version5 else payload
                self.gotPublish(topic, payload, first, packetID, None, None, data[pos:topicEnd], tail)
                return
        elif not topic and (properties is None or properties.topicAlias is None):  # [MQTT-4.7.3-1]
            raise ProtocolError(PROTOCOL_ERROR if version5 else MALFORMED_PACKET, "a PUBLISH has no topic")
        self.gotPublish(topic, payload, first, packetID, properties, None, None, None)

    def _ack(self, kind: int, data: bytes, body: int, stop: int) -> None:
        if stop - body < 2 or (self.version < 5 and stop - body > 2):
            raise ProtocolError(MALFORMED_PACKET, "an acknowledgement has a wrong length")
        packetID = self._identified(data, body, stop)
        reason = data[body + 2]
        properties: Properties | None = None
        if stop - body > 3:
            properties, end = decodeProperties(data, body + 3, stop, 1 << kind)
            if end != stop:
                raise ProtocolError(MALFORMED_PACKET, "an acknowledgement is longer than its fields")
        if reason not in (_RELEASED if kind >= PUBREL else _RECEIVED):
            raise ProtocolError(MALFORMED_PACKET, "a reason code that this acknowledgement can't have")
        self.gotAck(kind, packetID, reason, properties)

    def _other(self, first: int, data: bytes, body: int, stop: int) -> None:
        self._checkFirst(first)
        kind = first >> 4
        if kind == CONNECT:
            self.packets.append(self._connect(first, data, body, stop))
        elif kind == PINGREQ or kind == PINGRESP:
            if body != stop:
                raise ProtocolError(MALFORMED_PACKET, "a ping has a body")
            if kind == PINGREQ:
                self.gotPing()
            else:
                self.packets.append(Ping(PINGRESP))
        elif kind == SUBSCRIBE:
            self.packets.append(self._subscribe(data, body, stop))
        elif kind == UNSUBSCRIBE:
            self.packets.append(self._unsubscribe(data, body, stop))
        elif kind == SUBACK or kind == UNSUBACK:
            self.packets.append(self._suback(kind, data, body, stop))
        elif kind == CONNACK:
            self.packets.append(self._connack(data, body, stop))
        else:
            self._last(kind, data, body, stop)

    def _last(self, kind: int, data: bytes, body: int, stop: int) -> None:
        """
        DISCONNECT and AUTH: a reason and properties, both of which may be missing.
        """
        if self.version < 5:
            if kind == AUTH:
                raise ProtocolError(MALFORMED_PACKET, "AUTH is of MQTT 5")
            if body != stop:
                raise ProtocolError(MALFORMED_PACKET, "a DISCONNECT has a body")
            self.packets.append(Disconnect())
            return
        reason = 0
        properties: Properties | None = None
        if body < stop:
            reason = data[body]
            if reason not in NAMES:
                raise ProtocolError(MALFORMED_PACKET, "an unknown reason code")
            if body + 1 < stop:
                bit = IN_DISCONNECT if kind == DISCONNECT else IN_AUTH
                properties, end = decodeProperties(data, body + 1, stop, bit)
                if end != stop:
                    raise ProtocolError(MALFORMED_PACKET, "a packet is longer than its fields")
        if kind == DISCONNECT:
            self.packets.append(Disconnect(reason, properties))
        else:
            self.packets.append(Auth(reason, properties))

    def _connect(self, first: int, data: bytes, pos: int, stop: int) -> Connect:
        if self.version:  # [MQTT-3.1.0-2]
            raise ProtocolError(PROTOCOL_ERROR, "a second CONNECT")
        protoName, pos = readText(data, pos, stop)
        versions = _PROTOCOLS.get(protoName)
        if versions is None:  # [MQTT-3.1.2-1]
            raise ProtocolError(UNSUPPORTED_PROTOCOL_VERSION, "the protocol name is neither MQTT nor MQIsdp")
        if pos + 4 > stop:
            raise ProtocolError(MALFORMED_PACKET, "a CONNECT is cut short")
        version = data[pos] & 0x7F
        bridge = data[pos] & 0x80 != 0
        # [MQTT-3.1.2-2] a refusal goes out in the highest version that both may know.
        self.spoken = 5 if version >= 5 else 4
        if version not in versions:
            raise ProtocolError(UNSUPPORTED_PROTOCOL_VERSION, "this protocol version is not supported")
        flags = data[pos + 1]
        keepAlive = data[pos + 2] << 8 | data[pos + 3]
        pos += 4
        if version == 5 and self._padded:  # [MQTT-1.5.5-1]
            raise ProtocolError(MALFORMED_PACKET, _PADDED)
        if version == 3:
            # 3.1 wants what it does not use to be disregarded (3.1 of it).
            flags &= 0xFE if flags & 4 else 0xC2
        elif first & 0x0F:  # [MQTT-2.1.3-1]
            raise ProtocolError(MALFORMED_PACKET, _RESERVED)
        if flags & 1:  # [MQTT-3.1.2-3]
            raise ProtocolError(MALFORMED_PACKET, "the reserved flag of CONNECT is set")
        willQoS = flags >> 3 & 3
        hasWill = flags & 4 != 0
        if willQoS == 3 or (not hasWill and flags & 0x38):  # [MQTT-3.1.2-11] to [MQTT-3.1.2-15]
            raise ProtocolError(MALFORMED_PACKET, "the will flags of CONNECT contradict each other")
        if version < 5 and flags & 0xC0 == 0x40:  # [MQTT-3.1.2-22] of 3.1.1
            raise ProtocolError(MALFORMED_PACKET, "a CONNECT has a password and no user name")
        properties: Properties | None = None
        if version == 5:
            properties, pos = decodeProperties(data, pos, stop, IN_CONNECT)
        clientID, pos = readText(data, pos, stop)
        will: Will | None = None
        if hasWill:
            willProperties: Properties | None = None
            if version == 5:
                willProperties, pos = decodeProperties(data, pos, stop, IN_WILL)
            topic, pos = readText(data, pos, stop)
            if not isTopicName(topic):
                raise ProtocolError(TOPIC_NAME_INVALID, "the topic of a will is empty or holds a wildcard")
            if willProperties is not None and willProperties.responseTopic is not None:
                checkResponseTopic(willProperties.responseTopic)
            payload, pos = readBinary(data, pos, stop)
            will = Will(topic, payload, willQoS, flags & 0x20 != 0, willProperties)
        username: str | None = None
        password: bytes | None = None
        # In 3.1 the length of the packet counts for more than these flags (3.1 of it).
        if flags & 0x80 and (version > 3 or pos < stop):
            username, pos = readText(data, pos, stop)
        if flags & 0x40 and (version > 3 or pos < stop):
            password, pos = readBinary(data, pos, stop)
        if pos != stop:
            raise ProtocolError(MALFORMED_PACKET, "a CONNECT is longer than its fields")
        self.version = version
        self.gotVersion(version)
        return Connect(
            protoName, version, clientID, flags & 2 != 0, keepAlive, username, password, will, properties, bridge
        )

    def _identified(self, data: bytes, pos: int, stop: int) -> int:
        if pos + 2 > stop:
            raise ProtocolError(MALFORMED_PACKET, "a packet ends inside its packet identifier")
        packetID = data[pos] << 8 | data[pos + 1]
        if packetID == 0:  # [MQTT-2.2.1-3]
            raise ProtocolError(MALFORMED_PACKET, "a packet identifier is 0")
        return packetID

    def _subscribe(self, data: bytes, pos: int, stop: int) -> Subscribe:
        packetID = self._identified(data, pos, stop)
        pos += 2
        version5 = self.version == 5
        properties: Properties | None = None
        if version5:
            properties, pos = decodeProperties(data, pos, stop, IN_SUBSCRIBE)
        requests: list[SubscriptionRequest] = []
        while pos < stop:
            topicFilter, pos = readText(data, pos, stop)
            if pos >= stop:
                raise ProtocolError(MALFORMED_PACKET, "a SUBSCRIBE ends before the options of a filter")
            options = data[pos]
            pos += 1
            # [MQTT-3.8.3-5]; 3.1.1: [MQTT-3-8.3-4]
            if options & (0xC0 if version5 else 0xFC):
                raise ProtocolError(MALFORMED_PACKET, "the options of a subscription have reserved bits")
            if options & 3 == 3 or options & 0x30 == 0x30:
                raise ProtocolError(PROTOCOL_ERROR, "the QoS or the retain handling of a subscription is 3")
            requests.append(
                SubscriptionRequest(topicFilter, options & 3, options & 4 != 0, options & 8 != 0, options >> 4 & 3)
            )
        if not requests:  # [MQTT-3.8.3-2]
            raise ProtocolError(PROTOCOL_ERROR, "a SUBSCRIBE has no filter")
        return Subscribe(packetID, requests, properties)

    def _unsubscribe(self, data: bytes, pos: int, stop: int) -> Unsubscribe:
        packetID = self._identified(data, pos, stop)
        pos += 2
        properties: Properties | None = None
        if self.version == 5:
            properties, pos = decodeProperties(data, pos, stop, IN_UNSUBSCRIBE)
        topicFilters: list[str] = []
        while pos < stop:
            topicFilter, pos = readText(data, pos, stop)
            topicFilters.append(topicFilter)
        if not topicFilters:  # [MQTT-3.10.3-2]
            raise ProtocolError(PROTOCOL_ERROR, "an UNSUBSCRIBE has no filter")
        return Unsubscribe(packetID, topicFilters, properties)

    def _suback(self, kind: int, data: bytes, pos: int, stop: int) -> Suback:
        packetID = self._identified(data, pos, stop)
        pos += 2
        properties: Properties | None = None
        if self.version == 5:
            properties, pos = decodeProperties(data, pos, stop, 1 << kind)
        return Suback(kind, packetID, list(data[pos:stop]), properties)

    def _connack(self, data: bytes, pos: int, stop: int) -> Connack:
        if stop - pos < 2 or data[pos] > 1:  # [MQTT-3.2.2-1]
            raise ProtocolError(MALFORMED_PACKET, "a CONNACK has wrong flags or is cut short")
        properties: Properties | None = None
        end = pos + 2
        if self.version == 5:
            properties, end = decodeProperties(data, end, stop, IN_CONNACK)
        if end != stop:
            raise ProtocolError(MALFORMED_PACKET, "a CONNACK is longer than its fields")
        return Connack(data[pos] == 1, data[pos + 1], properties)


def frame(first: int, body: bytes) -> bytes:
    """
    A packet of its first byte and its body.
    """
    return bytes((first,)) + encodeVarint(len(body)) + body


def encodeAck(packetType: int, packetID: int, reason: int = 0, properties: Properties | None = None) -> bytes:
    """
    PUBACK, PUBREC, PUBREL or PUBCOMP; below MQTT 5 without a reason.
    """
    first = packetType << 4 | (2 if packetType == PUBREL else 0)
    if properties is not None:
        body = bytes((packetID >> 8, packetID & 0xFF, reason)) + encodeProperties(properties, 1 << packetType)
        return frame(first, body)
    if reason:
        return bytes((first, 3, packetID >> 8, packetID & 0xFF, reason))
    return bytes((first, 2, packetID >> 8, packetID & 0xFF))


def encodePublish(first: int, topic: bytes, packetID: int, properties: bytes, payload: bytes) -> bytes:
    """
    PUBLISH.

    @param first: the first byte: type, DUP, QoS, RETAIN.
    @param properties: encoded, with their length; empty below MQTT 5.
    """
    if first & 6:
        middle = bytes((packetID >> 8, packetID & 0xFF))
    else:
        middle = b""
    remaining = 2 + len(topic) + len(middle) + len(properties) + len(payload)
    return b"".join(
        (bytes((first,)), encodeVarint(remaining), len(topic).to_bytes(2, "big"), topic, middle, properties, payload)
    )


def encode(packet: Packet, version: int) -> bytes:
    """
    Any packet, in a version of the protocol.
    """
    version5 = version == 5
    if isinstance(packet, Publish):
        first = PUBLISH << 4 | packet.qos << 1 | (8 if packet.dup else 0) | (1 if packet.retain else 0)
        extra = encodeProperties(packet.properties, IN_PUBLISH) if version5 else b""
        return encodePublish(first, packet.topic.encode("utf-8"), packet.packetID, extra, packet.payload)
    if isinstance(packet, Ack):
        if version5:
            return encodeAck(packet.type, packet.packetID, packet.reason, packet.properties)
        return encodeAck(packet.type, packet.packetID)
    if isinstance(packet, Connack):
        body = bytes((1 if packet.sessionPresent else 0, packet.reason))
        return frame(0x20, body + encodeProperties(packet.properties, IN_CONNACK) if version5 else body)
    if isinstance(packet, Suback):
        body = packet.packetID.to_bytes(2, "big")
        if version5:
            body += encodeProperties(packet.properties, 1 << packet.type)
        if version5 or packet.type == SUBACK:  # below 5 an UNSUBACK has no reasons
            body += bytes(packet.reasons)
        return frame(packet.type << 4, body)
    if isinstance(packet, (Disconnect, Auth)):
        first = packet.type << 4
        if not version5 or (packet.reason == 0 and packet.properties is None):
            return bytes((first, 0))
        body = bytes((packet.reason,))
        if packet.properties is not None:
            body += encodeProperties(packet.properties, 1 << packet.type)
        return frame(first, body)
    if isinstance(packet, Connect):
        return _encodeConnect(packet)
    if isinstance(packet, Subscribe):
        body = packet.packetID.to_bytes(2, "big")
        if version5:
            body += encodeProperties(packet.properties, IN_SUBSCRIBE)
        for request in packet.requests:
            options = request.qos
            if version5:
                options |= (4 if request.noLocal else 0) | (8 if request.retainAsPublished else 0)
                options |= request.retainHandling << 4
            body += encodeText(request.topicFilter) + bytes((options,))
        return frame(0x82, body)
    if isinstance(packet, Unsubscribe):
        body = packet.packetID.to_bytes(2, "big")
        if version5:
            body += encodeProperties(packet.properties, IN_UNSUBSCRIBE)
        return frame(0xA2, body + b"".join([encodeText(topicFilter) for topicFilter in packet.topicFilters]))
    return bytes((packet.type << 4, 0))


def _encodeConnect(packet: Connect) -> bytes:
    flags = 2 if packet.cleanStart else 0
    will = packet.will
    body = encodeText(packet.clientID)
    if will is not None:
        flags |= 4 | will.qos << 3 | (0x20 if will.retain else 0)
        if packet.version == 5:
            body += encodeProperties(will.properties, IN_WILL)
        body += encodeText(will.topic) + encodeBinary(will.payload)
    if packet.username is not None:
        flags |= 0x80
        body += encodeText(packet.username)
    if packet.password is not None:
        flags |= 0x40
        body += encodeBinary(packet.password)
    level = packet.version | (0x80 if packet.bridge else 0)
    head = encodeText(packet.protoName) + bytes((level, flags)) + packet.keepAlive.to_bytes(2, "big")
    if packet.version == 5:
        head += encodeProperties(packet.properties, IN_CONNECT)
    return frame(0x10, head + body)
