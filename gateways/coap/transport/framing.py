"""
The framing of messages on a stream (RFC 8323 3): a length takes the place of type and message ID. Pure.
"""

from __future__ import annotations

from typing import Final

from gateways.coap.codes import GET
from gateways.coap.message import NON, CoAPMessage, MessageError, decode, encode
from gateways.coap.options import Option

# Signals (RFC 8323 5, 11.1).
CSM: Final = 0xE1
PING: Final = 0xE2
PONG: Final = 0xE3
RELEASE: Final = 0xE4
ABORT: Final = 0xE5

# Options of a CSM (RFC 8323 5.3), and of an abort (5.6).
MAX_MESSAGE_SIZE: Final = 2
BLOCK_WISE_TRANSFER: Final = 4
BAD_CSM_OPTION: Final = 2

DEFAULT_MAX_MESSAGE_SIZE: Final = 1152
"""
What a peer takes that has not said otherwise (RFC 8323 5.3.1).
"""

# The smallest length that one, two or four further bytes encode (RFC 8323 3.2), and the number of these bytes.
_BASES: Final = (13, 269, 65805)
_WIDTHS: Final = (1, 2, 4)


class FramingError(Exception):
    """
    A stream can't be read on; the text says why.
    """


def isSignal(code: int) -> bool:
    """
    Whether a code is that of a signal, known or not.
    """
    return code >> 5 == 7


def frame(message: CoAPMessage) -> bytes:
    """
    A message as it stands in a stream.
    """
    message.type, message.messageID = NON, 0
    data = encode(message)
    tokenLength = data[0] & 15
    rest = data[4 + tokenLength :]
    return _head(len(rest), tokenLength) + data[1:2] + data[4:]


def _head(length: int, tokenLength: int) -> bytes:
    if length < 13:
        return bytes((length << 4 | tokenLength,))
    for nibble, base, width in zip((13, 14, 15), _BASES, _WIDTHS, strict=True):
        if length - base < 1 << 8 * width:
            return bytes((nibble << 4 | tokenLength,)) + (length - base).to_bytes(width, "big")
    raise ValueError("too long for a stream")


class Deframer:
    """
    Puts messages together from the chunks of a stream.
    """

    def __init__(self, longest: int) -> None:
        """
        @param longest: of a message, in bytes, with all that belongs to it.
        """
        self._longest = longest
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[CoAPMessage]:
        """
        Take a chunk; returns the messages that are whole with it. Signals are among them: their options have numbers of
        their own.

        @raise FramingError: what comes is no message, or a longer one than allowed.
        """
        buffer = self._buffer
        buffer += data
        messages: list[CoAPMessage] = []
        at = 0
        while True:
            size = self._sizeAt(at)
            if size == 0 or at + size > len(buffer):
                break
            messages.append(_message(bytes(buffer[at : at + size])))
            at += size
        del buffer[:at]
        return messages

    def _sizeAt(self, at: int) -> int:
        """
        How long the message is that begins there, 0 where too little of it has come to tell.
        """
        buffer = self._buffer
        if at >= len(buffer):
            return 0
        nibble, tokenLength = buffer[at] >> 4, buffer[at] & 15
        if tokenLength > 8:
            raise FramingError("a token of wrong length")
        width, base = (0, nibble) if nibble < 13 else (_WIDTHS[nibble - 13], _BASES[nibble - 13])
        if at + 1 + width > len(buffer):
            return 0
        length = base + int.from_bytes(buffer[at + 1 : at + 1 + width], "big") if width else base
        size = 2 + width + tokenLength + length
        if size > self._longest:
            raise FramingError(f"a message of {size} bytes, and {self._longest} are allowed")
        return size


def _message(data: bytes) -> CoAPMessage:
    nibble, tokenLength = data[0] >> 4, data[0] & 15
    width = 0 if nibble < 13 else _WIDTHS[nibble - 13]
    code = data[1 + width]
    # The datagram that it would be. Signals have codes that there are none of.
    head = bytes((0x40 | NON << 4 | tokenLength, GET if isSignal(code) else code, 0, 0))
    try:
        message = decode(head + data[2 + width :])
    except MessageError as error:
        raise FramingError(str(error)) from error
    message.code = code
    return message


def signal(code: int, options: list[Option] | None = None, text: str = "", token: bytes = b"") -> bytes:
    """
    A signal, as it stands in a stream.

    @param text: for a person.
    """
    return frame(CoAPMessage(code, options or (), text.encode("utf-8"), token))
