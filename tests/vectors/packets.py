"""
MQTT packets for the conformance vectors: written as one line of text, read back from bytes.

This file shares no code with the product on purpose: a fault in the codec must not be able to hide
itself by being in the test too. It encodes what a client sends and decodes what a server sends; the
decoder is strict, so every packet any vector receives is checked for well-formedness as well.

The notation, used by both directions (C{tests/vectors/README.md} explains it with examples)::

    CONNECT id clean=0 keep=60 username=u password=p will=topic:payload willqos=1 willretain
    CONNACK 0x00 present
    PUBLISH topic payload q1 id=5 dup retain
    PUBACK 5 0x10          (PUBREC, PUBREL, PUBCOMP alike)
    SUBSCRIBE 1 a/+:1,nl,rap,rh2 b/#:0
    SUBACK 1 0x01 0x00     (UNSUBACK alike)
    UNSUBSCRIBE 1 a/+ b/#
    PINGREQ  PINGRESP  DISCONNECT 0x04  AUTH 0x18

MQTT 5.0 properties follow as C{name=value}; those of a will as C{w.name=value}. An expectation may also say
C{-name} (must be absent) and C{~name=value} (absent, or that value).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

Value = int | str | bytes

KINDS: Final = {
    "CONNECT": 1,
    "CONNACK": 2,
    "PUBLISH": 3,
    "PUBACK": 4,
    "PUBREC": 5,
    "PUBREL": 6,
    "PUBCOMP": 7,
    "SUBSCRIBE": 8,
    "SUBACK": 9,
    "UNSUBSCRIBE": 10,
    "UNSUBACK": 11,
    "PINGREQ": 12,
    "PINGRESP": 13,
    "DISCONNECT": 14,
    "AUTH": 15,
}
_NAMES: Final = {number: kind for kind, number in KINDS.items()}

#: Name -> (identifier, form, kinds of packet a server may send it in).
PROPERTIES: Final[dict[str, tuple[int, str, str]]] = {
    "payloadformat": (0x01, "byte", "PUBLISH"),
    "expiry": (0x02, "four", "PUBLISH"),
    "contenttype": (0x03, "text", "PUBLISH"),
    "responsetopic": (0x08, "text", "PUBLISH"),
    "correlation": (0x09, "binary", "PUBLISH"),
    "subid": (0x0B, "varint", "PUBLISH"),
    "sessionexpiry": (0x11, "four", "CONNACK"),
    "assignedid": (0x12, "text", "CONNACK"),
    "serverkeepalive": (0x13, "two", "CONNACK"),
    "authmethod": (0x15, "text", "CONNACK AUTH"),
    "authdata": (0x16, "binary", "CONNACK AUTH"),
    "requestproblem": (0x17, "byte", ""),
    "willdelay": (0x18, "four", ""),
    "requestresponse": (0x19, "byte", ""),
    "responseinfo": (0x1A, "text", "CONNACK"),
    "serverreference": (0x1C, "text", "CONNACK DISCONNECT"),
    "reasonstring": (0x1F, "text", "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH"),
    "receivemax": (0x21, "two", "CONNACK"),
    "aliasmax": (0x22, "two", "CONNACK"),
    "alias": (0x23, "two", "PUBLISH"),
    "maxqos": (0x24, "byte", "CONNACK"),
    "retainavailable": (0x25, "byte", "CONNACK"),
    "user": (0x26, "pair", "CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH"),
    "maxpacket": (0x27, "four", "CONNACK"),
    "wildcardavailable": (0x28, "byte", "CONNACK"),
    "subidavailable": (0x29, "byte", "CONNACK"),
    "sharedavailable": (0x2A, "byte", "CONNACK"),
}
_BY_IDENTIFIER: Final = {entry[0]: (name, *entry[1:]) for name, entry in PROPERTIES.items()}
_REPEATABLE: Final = ("user", "subid")

#: The reason codes each packet of a 5.0 server may carry.
REASONS: Final[dict[str, frozenset[int]]] = {
    "CONNACK": frozenset((0, *range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F)),
    "PUBACK": frozenset((0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)),
    "PUBREC": frozenset((0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)),
    "PUBREL": frozenset((0, 0x92)),
    "PUBCOMP": frozenset((0, 0x92)),
    "SUBACK": frozenset((0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2)),
    "UNSUBACK": frozenset((0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91)),
    "DISCONNECT": frozenset(
        (0, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, *range(0x93, 0xA3))
    ),
    "AUTH": frozenset((0, 0x18)),
}


class Malformed(Exception):
    """
    The server sent bytes that no server may send.
    """


@dataclass(slots=True)
class Packet:
    """
    One packet as the server sent it.
    """

    kind: str
    fields: dict[str, Value] = field(default_factory=dict)
    codes: list[int] = field(default_factory=list)
    properties: list[tuple[str, Value]] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [self.kind]
        parts += [f"{name}={_shown(value)}" for name, value in self.fields.items()]
        parts += [f"0x{code:02x}" for code in self.codes]
        parts += [f"{name}={_shown(value)}" for name, value in self.properties]
        return " ".join(parts)


@dataclass(slots=True)
class Line:
    """
    One packet as the vector wrote it.
    """

    kind: str
    words: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    properties: list[tuple[str, str]] = field(default_factory=list)
    willProperties: list[tuple[str, str]] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    optional: list[tuple[str, str]] = field(default_factory=list)


def _shown(value: Value) -> str:
    """
    A value for a failure message: long ones cut, strange bytes escaped.
    """
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return repr(text if len(text) < 60 else f"{text[:40]}...({len(text)})")[1:-1]


def unescaped(word: str) -> bytes:
    """
    The bytes a word stands for: UTF-8, C{%xx} for any byte, C{''} for none, C{x*100} for repetition.
    """
    if word == "''":
        return b""
    repeated = re.fullmatch(r"(.+)\*(\d+)", word)
    if repeated:
        return unescaped(repeated[1]) * int(repeated[2])
    raw = word.encode()
    return re.sub(rb"%([0-9a-fA-F]{2})", lambda match: bytes([int(match[1], 16)]), raw)


def pair(word: str) -> bytes:
    """
    A User Property as the decoder gives it: name, colon, value.
    """
    name, _, value = word.partition(":")
    return unescaped(name or "''") + b":" + unescaped(value or "''")


def parse(text: str) -> Line:
    """
    Read one packet line.

    @raise ValueError: the line is not of the notation: the vector is wrong, not the broker.
    """
    kind, *words = text.split()
    if kind not in KINDS:
        raise ValueError(f"no such packet: {kind}")
    line = Line(kind)
    for word in words:
        name, equals, value = word.partition("=")
        flag = re.fullmatch(r"q([0-3])", word)
        if word.startswith("-") and word[1:] in PROPERTIES:
            line.absent.append(word[1:])
        elif name.startswith("~") and name[1:] in PROPERTIES:
            line.optional.append((name[1:], value))
        elif equals and name in PROPERTIES:
            line.properties.append((name, value))
        elif equals and name.startswith("w.") and name[2:] in PROPERTIES:
            line.willProperties.append((name[2:], value))
        elif equals and name in _SETTINGS:
            line.settings[name] = value
        elif flag and kind == "PUBLISH":
            line.settings["q"] = flag[1]
        elif word in _FLAGS:
            line.settings[word] = "1"
        else:
            line.words.append(word)
    return line


_SETTINGS: Final = {
    "v",
    "clean",
    "keep",
    "username",
    "password",
    "will",
    "willqos",
    "willretain",
    "name",
    "level",
    "flags",
    "id",
    "q",
    "dup",
    "retain",
    "present",
}
_FLAGS: Final = {"dup", "retain", "present", "willretain"}


# Encoding: what a client sends.


def varint(number: int) -> bytes:
    """
    A Variable Byte Integer, in the fewest bytes.
    """
    encoded = bytearray()
    while True:
        number, low = divmod(number, 128)
        encoded.append(low | (0x80 if number else 0))
        if not number:
            return bytes(encoded)


def two(number: int) -> bytes:
    """
    A Two Byte Integer.
    """
    return number.to_bytes(2, "big")


def counted(data: bytes) -> bytes:
    """
    A UTF-8 Encoded String or Binary Data: its length, then itself.
    """
    return two(len(data)) + data


def frame(first: int, body: bytes) -> bytes:
    """
    A whole packet from its first byte and what follows the Remaining Length.
    """
    return bytes([first]) + varint(len(body)) + body


def _encodeProperties(properties: list[tuple[str, str]]) -> bytes:
    encoded = b""
    for name, word in properties:
        identifier, form, _ = PROPERTIES[name]
        encoded += varint(identifier)
        if form in ("byte", "two", "four"):
            encoded += int(word, 0).to_bytes({"byte": 1, "two": 2, "four": 4}[form], "big")
        elif form == "varint":
            encoded += varint(int(word, 0))
        elif form == "pair":
            key, _, value = word.partition(":")
            encoded += counted(unescaped(key)) + counted(unescaped(value))
        else:
            encoded += counted(unescaped(word))
    return varint(len(encoded)) + encoded


def encode(line: Line, version: int) -> bytes:
    """
    The bytes of a packet that a client of this protocol version sends.
    """
    kind, words, settings = line.kind, line.words, line.settings
    properties = _encodeProperties(line.properties) if version == 5 else b""
    if kind == "CONNECT":
        return _encodeConnect(line, version, properties)
    if kind == "PUBLISH":
        quality = int(settings.get("q", "0"))
        first = 0x30 | int(settings.get("dup", "0")) << 3 | quality << 1 | int(settings.get("retain", "0"))
        payload = unescaped(words[1]) if len(words) > 1 else b""
        identifier = two(int(settings["id"], 0)) if quality else b""
        return frame(first, counted(unescaped(words[0])) + identifier + properties + payload)
    if kind in ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP"):
        body = two(int(words[0], 0))
        if version == 5 and (len(words) > 1 or line.properties):
            body += bytes([int(words[1], 0) if len(words) > 1 else 0])
            body += properties if line.properties else b""
        return frame(KINDS[kind] << 4 | (2 if kind == "PUBREL" else 0), body)
    if kind == "SUBSCRIBE":
        return frame(0x82, two(int(words[0], 0)) + properties + b"".join(map(_encodeSubscription, words[1:])))
    if kind == "UNSUBSCRIBE":
        return frame(0xA2, two(int(words[0], 0)) + properties + b"".join(counted(unescaped(w)) for w in words[1:]))
    if kind == "PINGREQ":
        return frame(0xC0, b"")
    if kind in ("DISCONNECT", "AUTH"):
        if not (words or line.properties) or version < 5:
            return frame(KINDS[kind] << 4, b"")
        body = bytes([int(words[0], 0) if words else 0])
        return frame(KINDS[kind] << 4, body + (properties if line.properties else b""))
    raise ValueError(f"a client does not send {kind}")


def _encodeConnect(line: Line, version: int, properties: bytes) -> bytes:
    settings = line.settings
    name = settings.get("name", "MQIsdp" if version == 3 else "MQTT")
    flags = int(settings.get("clean", "1")) << 1
    payload = counted(unescaped(line.words[0] if line.words else "''"))
    if "will" in settings:
        topic, _, message = settings["will"].partition(":")
        flags |= 0x04 | int(settings.get("willqos", "0")) << 3 | int(settings.get("willretain", "0")) << 5
        payload += _encodeProperties(line.willProperties) if version == 5 else b""
        payload += counted(unescaped(topic)) + counted(unescaped(message))
    if "username" in settings:
        flags |= 0x80
        payload += counted(unescaped(settings["username"]))
    if "password" in settings:
        flags |= 0x40
        payload += counted(unescaped(settings["password"]))
    flags = int(settings.get("flags", str(flags)), 0)
    head = counted(unescaped(name)) + bytes([int(settings.get("level", str(version)), 0), flags])
    return frame(0x10, head + two(int(settings.get("keep", "0"))) + properties + payload)


def _encodeSubscription(word: str) -> bytes:
    """
    C{filter:qos[,nl][,rap][,rh1]}: a Topic Filter and its Subscription Options.
    """
    topicFilter, _, written = word.rpartition(":")
    quality, *extras = written.split(",")
    options = int(quality, 0)
    for extra in extras:
        options |= {"nl": 0x04, "rap": 0x08, "rh0": 0x00, "rh1": 0x10, "rh2": 0x20}[extra]
    return counted(unescaped(topicFilter)) + bytes([options])


# Decoding: what a server sends.


class _Reader:
    """
    A bounded reader over one packet's body.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        """
        The next bytes, all of them.
        """
        if self.position + count > len(self.data):
            raise Malformed("a field runs past the end of its packet")
        self.position += count
        return self.data[self.position - count : self.position]

    def number(self, count: int) -> int:
        """
        An unsigned integer of so many bytes.
        """
        return int.from_bytes(self.take(count), "big")

    def varint(self) -> int:
        """
        A Variable Byte Integer, which must be minimal.
        """
        total = 0
        for place in range(4):
            byte = self.number(1)
            total |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                if place and not byte:
                    raise Malformed("a Variable Byte Integer is longer than needed")
                return total
        raise Malformed("a Variable Byte Integer has more than four bytes")

    def binary(self) -> bytes:
        """
        Binary Data with its two-byte length.
        """
        return self.take(self.number(2))

    def text(self) -> bytes:
        """
        A UTF-8 Encoded String, as its bytes.
        """
        raw = self.binary()
        try:
            if "\0" in raw.decode("utf-8"):
                raise Malformed("U+0000 in a string")
        except UnicodeDecodeError as failure:
            raise Malformed("a string is not UTF-8") from failure
        return raw

    def rest(self) -> bytes:
        """
        The rest of the line.
        """
        return self.take(len(self.data) - self.position)

    @property
    def empty(self) -> bool:
        """
        Whether all has been read.
        """
        return self.position == len(self.data)

    def properties(self, kind: str) -> list[tuple[str, Value]]:
        """
        The properties of a packet of this kind, in their order.
        """
        inner = _Reader(self.take(self.varint()))
        found: list[tuple[str, Value]] = []
        while not inner.empty:
            identifier = inner.varint()
            if identifier not in _BY_IDENTIFIER:
                raise Malformed(f"unknown property 0x{identifier:02x}")
            name, form, allowed = _BY_IDENTIFIER[identifier]
            if kind not in allowed.split():
                raise Malformed(f"{name} in {kind}")
            if name not in _REPEATABLE and any(name == earlier for earlier, _ in found):
                raise Malformed(f"{name} twice in {kind}")
            value: Value
            if form in ("byte", "two", "four"):
                value = inner.number({"byte": 1, "two": 2, "four": 4}[form])
            elif form == "varint":
                value = inner.varint()
            elif form == "pair":
                value = inner.text() + b":" + inner.text()
            else:
                value = inner.binary() if form == "binary" else inner.text()
            found.append((name, value))
        return found


def split(buffer: bytes) -> tuple[bytes, bytes] | None:
    """
    The first whole packet of a buffer and what follows it, or C{None} if more bytes are needed.
    """
    for count in range(1, 5):
        if len(buffer) <= count:
            return None
        if buffer[count] < 0x80:
            break
    else:
        raise Malformed("a Remaining Length has more than four bytes")
    reader = _Reader(buffer[1 : count + 1])
    end = 1 + count + reader.varint()
    return (buffer[:end], buffer[end:]) if len(buffer) >= end else None


def decode(data: bytes, version: int) -> Packet:
    """
    One whole packet that a server sent to a client of this protocol version.

    @raise Malformed: no server may send this.
    """
    kind = _NAMES.get(data[0] >> 4, "?")
    reader = _Reader(data[1:])
    reader.varint()
    packet = Packet(kind)
    fields = packet.fields
    flags = data[0] & 0x0F
    if kind != "PUBLISH" and flags != (2 if kind == "PUBREL" else 0):
        raise Malformed(f"reserved flags of {kind} are {flags}")
    if kind == "CONNACK":
        acknowledgement = reader.number(1)
        if acknowledgement > 1:
            raise Malformed("reserved Connect Acknowledge Flags are set")
        fields["present"] = acknowledgement
        fields["reason"] = _reason(reader.number(1), kind, version)
        if version == 5:
            packet.properties = reader.properties(kind)
    elif kind == "PUBLISH":
        fields.update(dup=flags >> 3, q=flags >> 1 & 3, retain=flags & 1, topic=reader.text())
        if fields["q"]:
            fields["id"] = _identifier(reader)
        if fields["q"] == 3 or (not fields["q"] and fields["dup"]):
            raise Malformed("a PUBLISH with impossible flags")
        if version == 5:
            packet.properties = reader.properties(kind)
        fields["payload"] = reader.rest()
    elif kind in ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP"):
        fields["id"] = _identifier(reader)
        if version == 5:
            fields["reason"] = 0 if reader.empty else _reason(reader.number(1), kind, version)
            packet.properties = [] if reader.empty else reader.properties(kind)
    elif kind in ("SUBACK", "UNSUBACK"):
        fields["id"] = _identifier(reader)
        if version == 5:
            packet.properties = reader.properties(kind)
        if version == 5 or kind == "SUBACK":
            packet.codes = [_reason(code, kind, version) for code in reader.rest()]
    elif kind in ("DISCONNECT", "AUTH") and version == 5:
        fields["reason"] = 0 if reader.empty else _reason(reader.number(1), kind, version)
        packet.properties = [] if reader.empty else reader.properties(kind)
    elif kind != "PINGRESP":
        raise Malformed(f"a server does not send {kind} (first byte 0x{data[0]:02x}) to version {version}")
    if not reader.empty:
        raise Malformed(f"{kind} has bytes left over")
    return packet


def _identifier(reader: _Reader) -> int:
    number = reader.number(2)
    if not number:
        raise Malformed("Packet Identifier 0")
    return number


def _reason(code: int, kind: str, version: int) -> int:
    allowed = REASONS[kind] if version == 5 else {"CONNACK": range(6), "SUBACK": (0, 1, 2, 0x80)}[kind]
    if code not in allowed:
        raise Malformed(f"0x{code:02x} is no reason code of {kind}")
    return code
