"""
MQTT 3.1.1 packets as bytes, encoded before the clock starts.

All packets of one stream have the same size, so that whoever receives them can work by arithmetic instead of parsing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

CONNECT: Final = 0x10
CONNACK: Final = 0x20
PUBLISH: Final = 0x30
PUBACK: Final = 0x40
PUBREC: Final = 0x50
PUBREL: Final = 0x62
PUBCOMP: Final = 0x70
SUBSCRIBE: Final = 0x82
SUBACK: Final = 0x90
DISCONNECT: Final = b"\xe0\x00"
ACCEPTED: Final = b"\x20\x02\x00\x00"

PAYLOAD_SIZE: Final = 64
# Where the number of the publisher stands in a payload; the message's own number is in the four bytes after it.
SOURCE_AT: Final = 0
_FILLER: Final = b"0123456789abcdef" * 4


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("!H", len(encoded)) + encoded


def _packet(first: int, body: bytes) -> bytes:
    length = len(body)
    size = bytearray()
    while True:
        length, low = divmod(length, 128)
        size.append(low | (0x80 if length else 0))
        if not length:
            return bytes((first,)) + bytes(size) + body


def connect(clientID: str, clean: bool = True, keepAlive: int = 300) -> bytes:
    """
    A CONNECT of MQTT 3.1.1 without will, user name and password.
    """
    flags = 0x02 if clean else 0x00
    return _packet(CONNECT, _text("MQTT") + struct.pack("!BBH", 4, flags, keepAlive) + _text(clientID))


def subscribe(packetID: int, topicFilters: Iterable[str], qos: int) -> bytes:
    """
    One SUBSCRIBE that asks for every filter with the same QoS.
    """
    entries = b"".join(_text(topicFilter) + bytes((qos,)) for topicFilter in topicFilters)
    return _packet(SUBSCRIBE, struct.pack("!H", packetID) + entries)


def publish(topicName: str, payload: bytes, qos: int = 0, packetID: int = 0, retain: bool = False) -> bytes:
    """
    A PUBLISH; the packet identifier is left out at QoS 0.
    """
    identifier = struct.pack("!H", packetID) if qos else b""
    return _packet(PUBLISH | qos << 1 | int(retain), _text(topicName) + identifier + payload)


def acknowledgement(kind: int, packetID: int) -> bytes:
    """
    A PUBACK, PUBREC, PUBREL or PUBCOMP.
    """
    return struct.pack("!BBH", kind, 2, packetID)


def payload(source: int, sequence: int) -> bytes:
    """
    The 64 bytes that say who published this message, and as which of its messages.
    """
    return struct.pack("!BI", source, sequence) + _FILLER[5:PAYLOAD_SIZE]
