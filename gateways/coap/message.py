"""
CoAP messages and their bytes (RFC 7252 3). Pure: no state, no time.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from gateways.coap.codes import EMPTY, codeText
from gateways.coap.options import Option

CON: Final = 0
NON: Final = 1
ACK: Final = 2
RST: Final = 3

TYPES: Final = ("CON", "NON", "ACK", "RST")

_numberOf: Final = itemgetter(0)

MOST_OPTIONS: Final = 512
"""
How many options a message may have: each level of a topic is one. A datagram has room for sixty thousand, which would
take tens of milliseconds.
"""

_VERSION: Final = 1
_MARKER: Final = 0xFF
_LONGEST_TOKEN: Final = 8
# Codes of these classes mean nothing over UDP (RFC 7252 4.2).
_RESERVED: Final = (1, 6, 7)


class MessageError(Exception):
    """
    A datagram is not a message.

    @ivar messageID: of what it begins like, or L{None} where it begins like nothing.
    @ivar confirmable: whether the peer expects to hear of it.
    """

    def __init__(self, text: str, messageID: int | None = None, confirmable: bool = False) -> None:
        Exception.__init__(self, text)
        self.messageID = messageID
        self.confirmable = confirmable


class CoAPMessage:
    """
    A message.

    @ivar type: L{CON}, L{NON}, L{ACK} or L{RST}.
    @ivar code: see L{gateways.coap.codes}.
    @ivar messageID: of the message layer; 0 where it has not been given one yet.
    @ivar token: what ties responses to their request.
    @ivar options: in the order of their numbers.
    """

    __slots__ = ("type", "code", "messageID", "token", "options", "payload")

    def __init__(
        self,
        code: int,
        options: Sequence[Option] = (),
        payload: bytes = b"",
        token: bytes = b"",
        type: int = CON,
        messageID: int = 0,
    ) -> None:
        self.type = type
        self.code = code
        self.messageID = messageID
        self.token = token
        self.options: list[Option] = list(options)
        if len(self.options) > 1:
            _sort(self.options)
        self.payload = payload

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CoAPMessage):
            return NotImplemented
        return (
            self.type == other.type
            and self.code == other.code
            and self.messageID == other.messageID
            and self.token == other.token
            and self.options == other.options
            and self.payload == other.payload
        )

    def __hash__(self) -> int:
        raise TypeError("a message can be changed, so it must not be a key")

    def __repr__(self) -> str:
        return (
            f"<{TYPES[self.type]} {codeText(self.code)} id={self.messageID} token={self.token.hex()} "
            f"{self.options} {self.payload[:40]!r}>"
        )

    def replace(self, options: Sequence[Option] | None = None, payload: bytes | None = None) -> CoAPMessage:
        """
        A copy with other options or another payload.
        """
        return CoAPMessage(
            self.code,
            self.options if options is None else options,
            self.payload if payload is None else payload,
            self.token,
            self.type,
            self.messageID,
        )


def _sort(options: list[Option]) -> None:
    """
    Sort options by their numbers; those of one number stay in order. Mostly they come so.
    """
    last = 0
    for number, _ in options:
        if number < last:
            options.sort(key=_numberOf)
            return
        last = number


def encodeEmpty(type: int, messageID: int) -> bytes:
    """
    An empty message: an acknowledgement, a reset, or a ping.
    """
    return bytes((_VERSION << 6 | type << 4, EMPTY, messageID >> 8, messageID & 0xFF))


def encode(message: CoAPMessage) -> bytes:
    """
    A message as a datagram.
    """
    token = message.token
    messageID = message.messageID
    data = bytearray((_VERSION << 6 | message.type << 4 | len(token), message.code, messageID >> 8, messageID & 0xFF))
    data += token
    last = 0
    for number, value in message.options:
        delta, length = number - last, len(value)
        last = number
        if delta < 13 and length < 13:
            data.append(delta << 4 | length)
        else:
            at = len(data)
            data.append(0)
            data[at] = _extended(delta, data) << 4 | _extended(length, data)
        data += value
    if message.payload:
        data.append(_MARKER)
        data += message.payload
    return bytes(data)


def _extended(number: int, data: bytearray) -> int:
    """
    Write what a delta or length is above its half of a byte, and return that half (RFC 7252 3.1).
    """
    if number < 13:
        return number
    if number < 269:
        data.append(number - 13)
        return 13
    data += (number - 269).to_bytes(2, "big")
    return 14


def decode(datagram: bytes) -> CoAPMessage:
    """
    The message that a datagram is.

    @raise MessageError: it is none.
    """
    end = len(datagram)
    if end < 4:
        raise MessageError("shorter than a header")
    first = datagram[0]
    if first >> 6 != _VERSION:
        raise MessageError(f"version {first >> 6}")
    code = datagram[1]
    messageID = datagram[2] << 8 | datagram[3]
    type = first >> 4 & 3
    confirmable = type == CON
    length = first & 15
    if length > _LONGEST_TOKEN or 4 + length > end:
        raise MessageError("a token of wrong length", messageID, confirmable)
    if code == EMPTY and end > 4:  # RFC 7252 4.1
        raise MessageError("an empty message that is not empty", messageID, confirmable)
    if code >> 5 in _RESERVED:
        raise MessageError(f"the reserved code {codeText(code)}", messageID, confirmable)
    at = 4 + length
    message = CoAPMessage(code, (), b"", datagram[4:at], type, messageID)
    if at == end:
        return message
    options = message.options
    number = 0
    while at < end:
        head = datagram[at]
        at += 1
        if head == _MARKER:
            if at == end:
                raise MessageError("no payload after its marker", messageID, confirmable)
            message.payload = datagram[at:]
            break
        delta, length = head >> 4, head & 15
        if delta > 12:
            if delta == 13 and at < end:
                delta = datagram[at] + 13
                at += 1
            elif delta == 14 and at + 1 < end:
                delta = (datagram[at] << 8 | datagram[at + 1]) + 269
                at += 2
            else:
                raise MessageError("a wrong option delta", messageID, confirmable)
        if length > 12:
            if length == 13 and at < end:
                length = datagram[at] + 13
                at += 1
            elif length == 14 and at + 1 < end:
                length = (datagram[at] << 8 | datagram[at + 1]) + 269
                at += 2
            else:
                raise MessageError("a wrong option length", messageID, confirmable)
        number += delta
        if len(options) == MOST_OPTIONS:
            raise MessageError(f"more than {MOST_OPTIONS} options", messageID, confirmable)
        if at + length > end:
            raise MessageError("an option longer than its message", messageID, confirmable)
        if number > 65535:
            raise MessageError("an option number above 65535", messageID, confirmable)
        options.append((number, datagram[at : at + length]))
        at += length
    return message
