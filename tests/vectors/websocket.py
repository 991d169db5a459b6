"""
MQTT inside WebSocket, for vectors: the frames around the bytes that any other link carries (MQTT 5.0 section 6).
"""

from __future__ import annotations

import time

from tests.kits.websocket import ACCEPT, BINARY, CLOSE, PING, PONG, TEXT, frame, request
from tests.vectors.model import Bench, Failed, Link


class FramedLink:
    """
    A connection that has shaken hands.

    @ivar subProtocol: what the server has chosen; empty for none.
    """

    def __init__(self, link: Link, offered: str, patience: float) -> None:
        """
        @param offered: the subprotocols that the client speaks, by commas.

        @raise Failed: the server does not shake hands as RFC 6455 asks.
        """
        self._link = link
        self._buffer = b""
        self._closed = False
        link.send(request(Sec_WebSocket_Protocol=offered.replace(",", ", ")))
        self.subProtocol = self._handshake(patience)

    def _handshake(self, patience: float) -> str:
        deadline = time.monotonic() + patience
        while b"\r\n\r\n" not in self._buffer:
            data = self._link.receive(max(0.0, deadline - time.monotonic()))
            if data is None or (not data and time.monotonic() >= deadline):
                raise Failed("the handshake is not answered")
            self._buffer += data
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        status, *lines = head.decode("iso-8859-1").split("\r\n")
        if not status.startswith("HTTP/1.1 101 "):
            raise Failed(f"the handshake is answered by {status!r}")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("sec-websocket-accept") != ACCEPT:
            raise Failed("the handshake is not answered by the key's digest")
        return headers.get("sec-websocket-protocol", "")

    def send(self, data: bytes) -> None:
        """
        All in one binary frame.
        """
        self._link.send(frame(data))

    def sendText(self, data: bytes) -> None:
        """
        All in one text frame.
        """
        self._link.send(frame(data, TEXT))

    def sendCut(self, data: bytes, size: int) -> None:
        """
        In binary frames of so many bytes.
        """
        for at in range(0, len(data), size):
            self._link.send(frame(data[at : at + size]))

    def receive(self, wait: float) -> bytes | None:
        """
        Take the bytes of binary frames; a closing frame is the end.

        @raise Failed: something came that is no whole, unmasked, binary message or no control frame.
        """
        if self._closed:
            return None
        data = self._link.receive(wait)
        if data is None:
            return None
        self._buffer += data
        taken = b""
        while (cut := _cut(self._buffer)) is not None:
            first, payload, self._buffer = cut
            if first == 0x80 | CLOSE:
                self._closed = True
                return taken or None
            if first == 0x80 | PING:
                self._link.send(frame(payload, PONG))
            elif first != 0x80 | BINARY:
                raise Failed(f"a frame that begins with {first:#04x} came")  # [MQTT-6.0.0-1]
            else:
                taken += payload
        return taken

    def abort(self) -> None:
        """
        Break the connection without a word.
        """
        self._link.abort()


def _cut(data: bytes) -> tuple[int, bytes, bytes] | None:
    """
    The first byte and the payload of a frame, and what follows it; C{None} until it is whole.
    """
    if len(data) < 2:
        return None
    if data[1] & 0x80:
        raise Failed("a frame of the server is masked")
    size, at = data[1], 2
    if size > 125:
        length = 2 if size == 126 else 8
        size, at = int.from_bytes(data[2 : 2 + length], "big"), 2 + length
    return None if len(data) < at + size else (data[0], data[at : at + size], data[at + size :])


class FramedBench:
    """
    Another bench, with WebSocket over its links.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.patience = bench.patience
        self.concurrent = bench.concurrent

    def open(self, offered: str = "mqtt") -> FramedLink:
        """
        A new connection, on which such subprotocols are offered.
        """
        return FramedLink(self._bench.open(), offered, self.patience)

    def advance(self, seconds: float) -> None:
        """
        Let time pass.
        """
        self._bench.advance(seconds)
