"""
The first message of a DTLS handshake (RFC 6347 4.2), whole or in fragments (4.2.3): OpenSSL takes it whole, since it
keeps nothing of who has not shown by a cookie that it is where it says. Here fragments of a bounded number of peers are
kept, for seconds; together they are answered as one message is. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Final, NamedTuple

from gateways.coap.generations import Generations

HEADER: Final = 13
HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
# Of a message of a handshake, within its record.
_MESSAGE_HEADER: Final = 12
_RANDOM: Final = slice(HEADER + _MESSAGE_HEADER + 2, HEADER + _MESSAGE_HEADER + 34)

# One with the key of a quantum-safe exchange has 2,000 bytes.
_LONGEST: Final = 4096
_SHORTEST: Final = 35
_LIFETIME: Final = 10.0
_MOST: Final = 100
_MOST_PIECES: Final = 64


def isClientHello(datagram: bytes) -> bool:
    """
    Whether a datagram holds the whole first message of a handshake: one record of epoch 0, and nothing after it.
    """
    return (
        len(datagram) > HEADER + _MESSAGE_HEADER + 34
        and datagram[0] == HANDSHAKE
        and datagram[3:5] == b"\0\0"
        and int.from_bytes(datagram[11:13], "big") == len(datagram) - HEADER
        and datagram[HEADER] == _CLIENT_HELLO
        and datagram[HEADER + 1 : HEADER + 4] == datagram[HEADER + 9 : HEADER + 12]
    )


def randomOf(datagram: bytes) -> bytes:
    """
    Get the bytes that differ between the first messages of two handshakes.
    """
    return datagram[_RANDOM]


class _Fragment(NamedTuple):
    """
    A part of a first message.

    @ivar record: the head of its record.
    @ivar message: the message's length and number.
    """

    record: bytes
    message: bytes
    start: int
    data: bytes


class _Incomplete:
    """
    The received part of a first message.
    """

    __slots__ = ("message", "record", "body", "pieces")

    def __init__(self, message: bytes, length: int) -> None:
        self.message = message
        # Of the first part: the answer has its number, and later ones are not to have the same (4.2.1).
        self.record = b""
        self.body = bytearray(length)
        # From where to where there is something, in order and apart.
        self.pieces: list[tuple[int, int]] = []

    def add(self, start: int, data: bytes) -> None:
        """
        Another part has come, or one once more.
        """
        self.body[start : start + len(data)] = data
        merged: list[tuple[int, int]] = []
        for begin, end in sorted([*self.pieces, (start, start + len(data))]):
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        self.pieces = merged[:_MOST_PIECES]

    @property
    def isWhole(self) -> bool:
        """
        Whether nothing is missing.
        """
        return self.pieces == [(0, len(self.body))]


class HelloFragments:
    """
    First messages that are not there as a whole yet.
    """

    def __init__(self) -> None:
        self._incomplete: Generations[Hashable, _Incomplete] = Generations(_LIFETIME, _MOST)

    def take(self, datagram: bytes, peer: Hashable, now: float) -> bytes | None:
        """
        Take a datagram that may hold fragments.

        @return: the whole message in one record, as soon as it is there; nothing where more has to come; L{None} where
            the datagram holds something else.
        """
        whole = b""
        found = False
        for fragment in _fragmentsIn(datagram):
            if fragment is None:
                return None
            found = True
            whole = self._add(fragment, peer, now) or whole
        return whole if found else None

    def _add(self, fragment: _Fragment, peer: Hashable, now: float) -> bytes:
        length = int.from_bytes(fragment.message[:3], "big")
        if not _SHORTEST <= length <= _LONGEST or fragment.start + len(fragment.data) > length:
            return b""
        incomplete = self._incomplete.get(peer)
        if incomplete is None or incomplete.message != fragment.message:
            incomplete = _Incomplete(fragment.message, length)
        incomplete.add(fragment.start, fragment.data)
        if fragment.start == 0:
            incomplete.record = fragment.record
        if not incomplete.isWhole:
            self._incomplete.put(peer, incomplete, now)
            return b""
        self._incomplete.pop(peer)
        head = bytes((_CLIENT_HELLO,)) + fragment.message + b"\0\0\0" + fragment.message[:3]
        size = (len(head) + length).to_bytes(2, "big")
        return incomplete.record[:11] + size + head + bytes(incomplete.body)


def _fragmentsIn(datagram: bytes) -> Iterator[_Fragment | None]:
    """
    The fragments in a datagram; L{None} for anything else, after which nothing comes.
    """
    at = 0
    while at + HEADER <= len(datagram):
        record = datagram[at : at + HEADER]
        body = datagram[at + HEADER : at + HEADER + int.from_bytes(record[11:], "big")]
        at += HEADER + len(body)
        if record[0] != HANDSHAKE or record[3:5] != b"\0\0" or len(body) < _MESSAGE_HEADER:
            yield None
            return
        inner = 0
        while inner < len(body):
            head = body[inner : inner + _MESSAGE_HEADER]
            size = int.from_bytes(head[9:], "big")
            data = body[inner + _MESSAGE_HEADER : inner + _MESSAGE_HEADER + size]
            if len(head) < _MESSAGE_HEADER or head[0] != _CLIENT_HELLO or not data or len(data) < size:
                yield None
                return
            yield _Fragment(record, head[1:6], int.from_bytes(head[6:9], "big"), data)
            inner += _MESSAGE_HEADER + size
