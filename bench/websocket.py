"""
WebSocket for the generator: sockets that behave like plain ones, one frame a packet as clients send them.
"""

from __future__ import annotations

import os
import select
import socket
from base64 import b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from bench.sockets import HandshakeError, TCPAddress

if TYPE_CHECKING:
    from bench.sockets import Address

# For the rest of what has begun to come, and for room for the rest of what has begun to go.
_PATIENCE: Final = 5.0
# Not zeros: there are servers that need not unmask those.
_MASK: Final = b"\x5a\xc3\x17\xe8"
_WHOLE: Final = 0x82


class WebSocketSocket:
    """
    A WebSocket connection as the generator wants it: what is read is the payloads of messages, without their borders.
    """

    def __init__(self, opened: socket.socket) -> None:
        self._opened = opened
        self._arrival = select.poll()
        self._arrival.register(opened.fileno(), select.POLLIN)
        self._room = select.poll()
        self._room.register(opened.fileno(), select.POLLOUT)
        # A header that has not come in full, and how much of the payload of the last frame has not come.
        self._head = b""
        self._left = 0

    def recv_into(self, view: memoryview) -> int:
        """
        Read what has come; 0 at the end.
        """
        while True:
            try:
                raw = self._opened.recv(len(view))
            except BlockingIOError:
                if not self._arrival.poll(_PATIENCE * 1000):
                    raise TimeoutError("the rest of a frame does not come") from None
                continue
            if not raw:
                return 0
            payload = self._unframed(raw)
            # A header alone is nothing yet.
            if payload:
                view[: len(payload)] = payload
                return len(payload)

    def recv(self, size: int) -> bytes:
        """
        As C{recv_into}.
        """
        buffer = bytearray(size)
        return bytes(buffer[: self.recv_into(memoryview(buffer))])

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """
        Send everything, or nothing: a frame that has begun to go cannot be given back.
        """
        framed = memoryview(_framed(bytes(data)))
        sent = self._opened.send(framed)
        while sent < len(framed):
            if not self._room.poll(_PATIENCE * 1000):
                raise TimeoutError("there is no room for the rest of a frame")
            try:
                sent += self._opened.send(framed[sent:])
            except BlockingIOError:
                continue
        return len(data)

    def sendall(self, data: bytes) -> None:
        """
        As C{send}.
        """
        self.send(data)

    def _unframed(self, raw: bytes) -> bytes:
        pieces: list[bytes] = []
        if self._head:
            raw = self._head + raw
            self._head = b""
        at = self._left
        end = len(raw)
        if at:
            pieces.append(raw[:at])
            if at >= end:
                self._left = at - end
                return pieces[0]
        while at < end:
            header = 2
            if end - at >= 2:
                header += {126: 2, 127: 8}.get(raw[at + 1], 0)
            if end - at < header:
                self._head = raw[at:]
                self._left = 0
                return b"".join(pieces)
            if raw[at] != _WHOLE:
                raise HandshakeError(f"expected a binary message, received {raw[at : at + 16].hex()}")
            size = raw[at + 1] if header == 2 else int.from_bytes(raw[at + 2 : at + header])
            stride = size + header
            alike = (end - at) // stride if header == 2 else 1
            if alike > 1 and raw[at + 1 : at + alike * stride : stride] == raw[at + 1 : at + 2] * alike:
                # Mosquitto sends a frame for each message: they are taken out all at once.
                stop = at + alike * stride
                pieces += [raw[start : start + size] for start in range(at + 2, stop, stride)]
                at = stop
            else:
                pieces.append(raw[at + header : at + stride])
                at += stride
        self._left = at - end
        return b"".join(pieces)

    def __enter__(self) -> WebSocketSocket:
        return self

    def __exit__(self, *raised: object) -> None:
        self._opened.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)


@lru_cache(maxsize=64)
def _maskOf(size: int, count: int) -> int:
    """
    The mask of many frames of one size, as a number.
    """
    return int.from_bytes((_MASK * (size // 4 + 1))[:size] * count, "little")


def _framed(data: bytes) -> bytes:
    """
    Packets of one size as a frame each, anything else as one frame.
    """
    size = data[1] + 2 if len(data) > 1 else len(data)
    if size > 125 or len(data) % size:
        size = len(data)
    count = len(data) // size
    masked = (int.from_bytes(data, "little") ^ _maskOf(size, count)).to_bytes(len(data), "little")
    if size < 126:
        head = bytes((_WHOLE, 0x80 | size)) + _MASK
    elif size < 65536:
        head = bytes((_WHOLE, 0xFE)) + size.to_bytes(2) + _MASK
    else:
        head = bytes((_WHOLE, 0xFF)) + size.to_bytes(8) + _MASK
    if count == 1:
        return head + masked
    return head + head.join([masked[at : at + size] for at in range(0, len(masked), size)])


class WebSocketAddress:
    """
    A listener with WebSocket on the loopback interface.
    """

    def __init__(self, port: int) -> None:
        self._plain: Address = TCPAddress(port)

    def open(self) -> socket.socket:
        """
        A connection that has shaken hands.
        """
        opened = self._plain.open()
        try:
            opened.sendall(
                b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n"
                b"Sec-WebSocket-Key: " + b64encode(os.urandom(16)) + b"\r\n\r\n"
            )
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                # Not a byte of the first frame.
                byte = opened.recv(1)
                if not byte:
                    raise HandshakeError(f"the broker closed the connection after {answer[:100]!r}")
                answer += byte
            if not answer.startswith(b"HTTP/1.1 101 "):
                raise HandshakeError(f"the broker refused WebSocket: {answer[:100]!r}")
        except BaseException:
            opened.close()
            raise
        return cast("socket.socket", WebSocketSocket(opened))
