"""
The client's side of WebSocket in memory, written from RFC 6455 and of nothing that is under test.
"""

from __future__ import annotations

import struct
import zlib
from re import Pattern
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from twisted_mqtt.base.timerwheel import TimerWheel
from twisted_mqtt.config.schema_listeners import WebSocketListener
from twisted_mqtt.config.values import Bind
from twisted_mqtt.listeners.websocket import webSocketFactory
from twisted_mqtt.net.websocket.autobahnprivate import BEST, Ways
from twisted_mqtt.net.websocket.connection import WebSocketConnection
from twisted_mqtt.net.websocket.factory import WebSocketFactory
from twisted_mqtt.net.websocket.options import MessageEndpoint, Otherwise, WebSocketOptions, WebSocketPortOptions
from twisted_mqtt.net.websocket.transport import WebSocketTransport

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

MASK = b"\x37\xfa\x21\x3d"
# The example of RFC 6455 1.3, with what the server has to make of it.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def frame(
    payload: bytes, opcode: int = BINARY, final: bool = True, reserved: int = 0, mask: bytes | None = MASK
) -> bytes:
    """
    One frame of a client (RFC 6455 5.2).

    @param reserved: the three bits after the first; 4 says that the message is compressed.
    """
    size = len(payload)
    masked = 0 if mask is None else 0x80
    first = final << 7 | reserved << 4 | opcode
    if size < 126:
        head = struct.pack("!BB", first, masked | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, masked | 126, size)
    else:
        head = struct.pack("!BBQ", first, masked | 127, size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))


def closing(code: int, reason: bytes = b"") -> bytes:
    """
    A client's good-bye.
    """
    return frame(struct.pack("!H", code) + reason, CLOSE)


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """
    The frames of a server: the first byte and the payload of each.

    @raise AssertionError: where one is masked, not whole, or longer than it had to be.
    """
    found = []
    at = 0
    while at < len(data):
        first, size = struct.unpack_from("!BB", data, at)
        at += 2
        if size == 126:
            (size,) = struct.unpack_from("!H", data, at)
            assert size >= 126
            at += 2
        elif size == 127:
            (size,) = struct.unpack_from("!Q", data, at)
            assert size >= 65536
            at += 8
        else:
            assert size < 126, "a server does not mask"
        assert at + size <= len(data)
        found.append((first, data[at : at + size]))
        at += size
    return found


def request(path: str = "/mqtt", method: str = "GET", **headers: str | None) -> bytes:
    """
    An opening handshake with every header that it needs.

    @param headers: others, or other values; C{None} leaves one out. Underscores stand for hyphens.
    """
    usual: dict[str, str | None] = {
        "Host": "broker.example",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "mqtt",
    }
    known = {name.lower(): name for name in usual}
    for name, value in headers.items():
        hyphenated = name.replace("_", "-")
        usual[known.get(hyphenated.lower(), hyphenated)] = value
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in usual.items() if value is not None)]
    return "\r\n".join([*lines, "", ""]).encode("iso-8859-1")


def inflate(payload: bytes, bits: int = 15) -> bytes:
    """
    Decompress one message that refers to no earlier one.
    """
    return zlib.decompressobj(-bits).decompress(payload + b"\x00\x00\xff\xff")


def deflate(payload: bytes) -> bytes:
    """
    Compress one message.
    """
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


class Upper(Protocol):
    """
    Stands for the protocol inside WebSocket, and notes what it is told.
    """

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.lost: Failure | None = None
        self.pauseAfter: int | None = None

    @property
    def data(self) -> bytes:
        """
        All that has come.
        """
        return b"".join(self.chunks)

    def dataReceived(self, data: bytes) -> None:
        """
        See C{IProtocol}.
        """
        self.chunks.append(data)
        if self.pauseAfter is not None and len(self.chunks) >= self.pauseAfter:
            self.transport.pauseProducing()  # type: ignore[union-attr]  # it has one

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # a default nobody uses
        """
        See C{IProtocol}.
        """
        assert self.lost is None
        self.lost = reason


class MessageUpper:
    """
    The same for a protocol that gets messages.
    """

    transport: WebSocketTransport

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bool]] = []
        self.failures: list[tuple[int, str]] = []
        self.lost: Failure | None = None
        self.pauseAfter: int | None = None
        # Get the bytes that are sent when the connection fails.
        self.lastWord: bytes | None = None

    def makeConnection(self, transport: WebSocketTransport) -> None:
        """
        See L{twisted_mqtt.net.websocket.transport.MessageReceiver}.
        """
        self.transport = transport

    def messageReceived(self, payload: bytes, isText: bool) -> None:
        """
        See L{twisted_mqtt.net.websocket.transport.MessageReceiver}.
        """
        self.messages.append((payload, isText))
        if self.pauseAfter is not None and len(self.messages) >= self.pauseAfter:
            self.transport.pauseProducing()

    def failing(self, code: int, reason: str) -> None:
        """
        See L{twisted_mqtt.net.websocket.transport.MessageReceiver}.
        """
        self.failures.append((code, reason))
        if self.lastWord is not None:
            self.transport.sendMessage(self.lastWord, True)
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure) -> None:
        """
        See L{twisted_mqtt.net.websocket.transport.MessageReceiver}.
        """
        assert self.lost is None
        self.lost = reason


class Lower(StringTransport):
    """
    Stands for the transport that carries the frames.
    """

    aborted = False

    def abortConnection(self) -> None:
        """
        See C{ITCPTransport}.
        """
        self.aborted = True
        self.loseConnection()

    def unregisterProducer(self) -> None:
        """
        See C{IConsumer}: transports with a socket take it also where none is registered.
        """
        self.producer = None

    def taken(self) -> bytes:
        """
        Take the bytes that were written since the last call.
        """
        data: bytes = self.value()
        self.clear()
        return data


class Site:
    """
    A listener with its clock, and the protocols above.
    """

    def __init__(self, ways: Ways = BEST, above: Any = None, **keys: Any) -> None:
        """
        @param above: makes the protocols above, if they are not L{Upper}s.
        @param keys: of the listener's table.
        """
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.wheel = TimerWheel(self.clock)
        self.uppers: list[Upper] = []
        # Whether no client is taken, and whether that is because the node stops.
        self.full = self.stopping = False
        # Why no clients are to come.
        self.obstacles: list[str] = []
        wrapped = Factory()
        wrapped.buildProtocol = self._build  # type: ignore[assignment,method-assign]  # it may return nothing
        self.factory = self._factory(
            above or wrapped, WebSocketListener(bind=Bind("127.0.0.1", 0), name="test", **keys), ways
        )

    def _factory(self, wrapped: Any, listener: WebSocketListener, ways: Ways) -> WebSocketFactory:
        return webSocketFactory(
            listener,
            wrapped,
            self.wheel,
            self.clock,
            15.0,
            "Node test is started",
            lambda: self.stopping,
            lambda: self.obstacles,
            ways,
        )

    def _build(self, address: object) -> Upper | None:
        if self.full or self.stopping:
            return None
        self.uppers.append(Upper())
        return self.uppers[-1]

    def accept(self) -> Peer:
        """
        A client has connected.
        """
        return Peer(self)

    def open(self, **headers: str | None) -> Peer:
        """
        A client has connected, and shaken hands.
        """
        peer = self.accept()
        answer = peer.send(request(**headers))
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        return peer


class MessageSite(Site):
    """
    A port whose protocols get messages, which may have 100,000 bytes if nothing else is said.
    """

    def __init__(
        self,
        ways: Ways = BEST,
        otherwise: Otherwise | None = None,
        paths: tuple[str | Pattern[str], ...] = (),
        **keys: Any,
    ) -> None:
        """
        @param paths: instead of C{/mqtt}: several.
        @param keys: of L{WebSocketOptions}.
        """
        self._otherwise = otherwise
        self._paths = paths or ("/mqtt",)
        self._keys = {"largest": 100_000, "subProtocols": ("mqtt",), **keys}
        self.receivers: list[MessageUpper] = []
        # How often ports have begun and ceased to listen.
        self.starts = self.stops = 0
        super().__init__(ways)

    def _factory(self, wrapped: Any, listener: WebSocketListener, ways: Ways) -> WebSocketFactory:
        endpoints = [MessageEndpoint(WebSocketOptions(path=path, **self._keys), self) for path in self._paths]
        options = WebSocketPortOptions(name="test")
        return WebSocketFactory(
            options, endpoints, self.wheel, self.clock, self._otherwise, lambda: self.stopping, ways
        )

    def doStart(self) -> None:
        """
        See L{twisted_mqtt.net.websocket.transport.MessageFactory}.
        """
        self.starts += 1

    def doStop(self) -> None:
        """
        See L{twisted_mqtt.net.websocket.transport.MessageFactory}.
        """
        self.stops += 1

    def buildProtocol(self, address: IAddress) -> MessageUpper | None:
        """
        See L{twisted_mqtt.net.websocket.transport.MessageFactory}.
        """
        if self.full:
            return None
        self.receivers.append(MessageUpper())
        return self.receivers[-1]


class Peer:
    """
    A client.
    """

    def __init__(self, site: Site) -> None:
        connection = site.factory.buildProtocol(None)
        assert isinstance(connection, WebSocketConnection)
        self.connection = connection
        self.lower = Lower(peerAddress=IPv4Address("TCP", "192.0.2.7", 40001))
        self.connection.makeConnection(self.lower)
        self._site = site

    @property
    def upper(self) -> Upper:
        """
        The protocol that serves it.
        """
        assert isinstance(self.connection.stream, Upper)
        return self.connection.stream

    @property
    def receiver(self) -> MessageUpper:
        """
        The same where it gets messages.
        """
        assert isinstance(self.connection.receiver, MessageUpper)
        return self.connection.receiver

    def send(self, data: bytes, each: int | None = None) -> bytes:
        """
        Send bytes, in pieces of C{each}.

        @return: what the other side has written.
        """
        each = each or len(data) or 1
        for at in range(0, len(data), each):
            if self.lower.disconnecting:
                break
            self.connection.dataReceived(data[at : at + each])
        return self.lower.taken()

    def closed(self) -> tuple[int | None, str]:
        """
        Why the other side has closed, by the last thing that it wrote.
        """
        return closeOf(self.lower.taken())

    def lose(self) -> None:
        """
        The connection is gone.
        """
        self.connection.connectionLost(Failure(ConnectionDone()))


def closeOf(data: bytes) -> tuple[int | None, str]:
    """
    Code and reason of the good-bye that ends what a server has written.
    """
    first, payload = frames(data)[-1]
    assert first == 0x80 | CLOSE
    return (struct.unpack("!H", payload[:2])[0], payload[2:].decode()) if payload else (None, "")
