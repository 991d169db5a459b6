"""
STOMP over WebSocket in memory: what a client is told that has sent what it may not, in plain WebSocket and in SockJS.
"""

import json
from typing import Any

import pytest

from gateways.stomp.web import WebFactory
from tests.gateways.stomp.test_session import publish
from tests.gateways.stomp.test_web import Site
from tests.kits.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    Lower,
    closeOf,
    deflate,
    frame,
    frames,
    request,
)
from twisted_mqtt.net.websocket.autobahnprivate import BEST, Ways

CONNECT = b"CONNECT\naccept-version:1.2\nhost:x\n\n\0"
PLAIN, SOCKJS = "/stomp", "/stomp/000/s1/websocket"

PROTOCOL_ERROR, UNSUPPORTED, INVALID, TOO_BIG = 1002, 1003, 1007, 1009

PATHS = pytest.mark.parametrize("path", [PLAIN, SOCKJS])


class Socket:
    """
    A client that has shaken hands.
    """

    def __init__(self, site: Site, path: str = PLAIN, **headers: str | None) -> None:
        self.site = site
        self.isFramed = path == SOCKJS
        self.lower = Lower()
        self.protocol: Any = site.factory.buildProtocol(None)
        self.protocol.makeConnection(self.lower)
        self.answer = self.bytes(request(path, **{"Sec_WebSocket_Protocol": "v10.stomp, v12.stomp", **headers}))
        if self.isFramed:
            self.answer = self.answer.removesuffix(b"\x81\x01o")

    def bytes(self, data: bytes) -> bytes:
        """
        Send bytes.

        @return: what has come.
        """
        self.protocol.dataReceived(data)
        self.site.kit.turn()
        return self.lower.taken()

    def send(self, *messages: bytes) -> bytes:
        """
        Send messages, in the framing of the socket.
        """
        if self.isFramed:
            messages = tuple(json.dumps([message.decode()]).encode() for message in messages)
        return self.bytes(b"".join(frame(message, TEXT) for message in messages))

    def stomp(self, data: bytes) -> list[str]:
        """
        The STOMP frames in what has come, without control frames and those of SockJS.
        """
        payloads = [payload for first, payload in frames(data) if first in (0x81, 0x82)]
        if not self.isFramed:
            return [payload.decode() for payload in payloads]
        return [text for payload in payloads if payload[:1] == b"a" for text in json.loads(payload[1:])]


def opened(path: str = PLAIN, **keys: Any) -> Socket:
    """
    A client that has said CONNECT.
    """
    socket = Socket(Site(**keys), path)
    (connected,) = socket.stomp(socket.send(CONNECT))
    assert connected.startswith("CONNECTED\nversion:1.2\n")
    return socket


@PATHS
def test_handshake(path: str) -> None:
    """
    A client gets the first sub-protocol of those that it offers; one that offers none is served, too.
    """
    assert b"\r\nSec-WebSocket-Protocol: v10.stomp\r\n" in Socket(Site(), path).answer
    socket = Socket(Site(), path, Sec_WebSocket_Protocol=None)
    assert socket.answer.startswith(b"HTTP/1.1 101 ")


@PATHS
def test_origin(path: str) -> None:
    """
    Pages of other origins are refused.
    """
    site = Site(ws={"allowed_origins": ["https://good"]})
    assert Socket(site, path, Origin="https://bad").answer.startswith(b"HTTP/1.1 403 ")
    assert Socket(site, path, Origin="https://good").answer.startswith(b"HTTP/1.1 101 ")


@PATHS
def test_messages(path: str) -> None:
    """
    Messages arrive however they are sent: text, binary, in fragments, several in one piece.
    """
    socket = opened(path)
    answer = socket.send(b"SUBSCRIBE\nid:1\ndestination:a\nreceipt:r\n\n\0", b"SEND\ndestination:a\n\n1\0")
    assert [text.split("\n")[0] for text in socket.stomp(answer)] == ["RECEIPT", "MESSAGE"]
    message = b"SEND\ndestination:a\n\n2\0"
    if socket.isFramed:
        message = json.dumps([message.decode()]).encode()
    answer = socket.bytes(frame(message, BINARY))
    answer += socket.bytes(frame(message[:9], TEXT, final=False) + frame(b"?", PING) + frame(message[9:], CONTINUATION))
    assert [text.split("\n\n")[1] for text in socket.stomp(answer)] == ["2\0", "2\0"]


def test_binary() -> None:
    """
    A browser makes a string of text: what is none is sent as binary.
    """
    socket = opened()
    socket.send(b"SUBSCRIBE\nid:1\ndestination:a\n\n\0")
    for payload, first in (("gr\u00fcn".encode(), 0x81), (b"\xff", 0x82)):
        publish(socket.site.kit, "a", payload)
        socket.site.kit.turn()
        ((head, message),) = frames(socket.lower.taken())
        assert head == first and message.endswith(payload + b"\0")


FAULTS = [
    (frame(b"SEND\ndestination:a\n\n" + bytes(120_000), TEXT), TOO_BIG),
    (frame(b"SEND\ndestination:a\n\n\xff\0", TEXT), INVALID),
    (frame(b"SEND\ndestination:a\n\nx\0", TEXT, mask=None), PROTOCOL_ERROR),
    (frame(b"SEND\ndestination:a\n\nx\0", TEXT, reserved=2), PROTOCOL_ERROR),
    (frame(b"SEND\ndestination:a\n\nx\0", TEXT, reserved=4), PROTOCOL_ERROR),
]


@PATHS
@pytest.mark.parametrize("wrong, code", FAULTS)
@pytest.mark.parametrize("ways", [BEST, Ways(isPrivate=False)], ids=["private", "public"])
def test_faults(path: str, wrong: bytes, code: int, ways: Ways) -> None:
    """
    A message that is too large, not UTF-8, or in a frame that RFC 6455 forbids: an ERROR frame tells it in STOMP, then
    the connection is closed with the code for it (RFC 6455 7.1.7, 7.4.1).
    """
    site = Site()
    site.factory = WebFactory(site.kit.factory, site.kit.gateway.settings.ws, site.kit.clock, ways=ways)
    socket = Socket(site, path)
    socket.send(CONNECT)
    data = socket.bytes(wrong)
    (error,) = socket.stomp(data)
    assert error.startswith("ERROR\nmessage:")
    assert closeOf(data)[0] == code
    assert socket.lower.disconnecting and not socket.lower.aborted
    assert socket.site.kit.broker.clients == {}


def test_tooLong() -> None:
    """
    A STOMP frame that is too long is one message too big, too, however many there are in a message.
    """
    for size in (8193, 112_100):
        socket = opened()
        data = socket.send(b"SEND\ndestination:a\n\n" + b"x" * size + b"\0")
        (error,) = socket.stomp(data)
        assert error.startswith("ERROR\nmessage:body too long\n")
        assert closeOf(data)[0] == TOO_BIG


def test_otherErrors() -> None:
    """
    An error of STOMP alone is told in STOMP; for WebSocket the end is an ordinary one.
    """
    socket = opened()
    data = socket.send(b"NONSENSE\n\n\0")
    (error,) = socket.stomp(data)
    assert error.startswith("ERROR\nmessage:unknown command\n") and closeOf(data)[0] == 1000


@pytest.mark.parametrize("wrong", [b"", b"nonsense", b"[1]", b'{"a":"b"}', b'["\\ud800"]', b'["a'])
def test_brokenMessages(wrong: bytes) -> None:
    """
    A message of SockJS that is not JSON, or not a list of strings: an ERROR frame, the end of the session in the words
    of SockJS, and of the WebSocket. Nothing is raised. An empty message means nothing.
    """
    socket = opened(SOCKJS)
    data = socket.bytes(frame(wrong, TEXT))
    if not wrong:
        assert data == b"" and not socket.lower.disconnecting
        return
    (error,) = socket.stomp(data)
    assert error.startswith("ERROR\nmessage:malformed message\n")
    assert frames(data)[1] == (0x81, b'c[1003,"Broken JSON encoding."]')
    assert closeOf(data) == (UNSUPPORTED, "Broken JSON encoding.")
    assert socket.lower.disconnecting


@PATHS
def test_beforeConnect(path: str) -> None:
    """
    A client that has not said CONNECT is told, too.
    """
    socket = Socket(Site(), path)
    data = socket.bytes(frame(b"?", TEXT, reserved=1))
    (error,) = socket.stomp(data)
    assert error.startswith("ERROR\n") and closeOf(data)[0] == PROTOCOL_ERROR


def test_sockJSEnds() -> None:
    """
    A session of SockJS ends in the words of SockJS.
    """
    socket = opened(SOCKJS)
    data = socket.send(b"DISCONNECT\nreceipt:r\n\n\0")
    assert frames(data)[-2:] == [(0x81, b'c[3000,"Go away!"]'), (0x80 | CLOSE, b"\x03\xe8")]


def test_sockJSBeats() -> None:
    """
    A silent WebSocket of SockJS gets its heart-beats, and none after its end.
    """
    socket = opened(SOCKJS)
    clock = socket.site.kit.clock
    clock.advance(25.1)
    assert frames(socket.lower.taken()) == [(0x81, b"h")]
    clock.advance(25.0)
    assert frames(socket.lower.taken()) == [(0x81, b"h")]
    socket.send(b"DISCONNECT\n\n\0")
    socket.protocol.connectionLost(_done())
    socket.lower.taken()
    clock.pump([10.0] * 10)
    assert socket.lower.taken() == b"" and socket.site.factory.connections == 0


def test_compression() -> None:
    """
    With C{compress} messages are compressed both ways; without it nothing is agreed upon.
    """
    socket = Socket(Site(), Sec_WebSocket_Extensions="permessage-deflate")
    assert b"permessage-deflate" not in socket.answer
    site = Site(ws={"compress": True, "deflate_opts": {"client_max_window_bits": 10}})
    socket = Socket(site, Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits")
    assert b"permessage-deflate; client_max_window_bits=10" in socket.answer
    data = socket.bytes(frame(deflate(CONNECT), TEXT, reserved=4))
    ((first, _),) = frames(data)
    assert first == 0xC1


@PATHS
def test_pauses(path: str) -> None:
    """
    A client whose messages have to wait is not read from meanwhile, and none of them is lost.
    """
    socket = Socket(Site(zone={"publish_limit": "1,10s"}), path)
    socket.send(CONNECT)
    kit = socket.site.kit
    socket.send(*(b"SEND\ndestination:a\nreceipt:%d\n\n\0" % number for number in range(3)))
    assert socket.lower.producerState == "paused"
    for _ in range(4):
        kit.clock.advance(10)
        kit.turn()
    receipts = [text.split("\n")[1] for text in socket.stomp(socket.lower.taken())]
    assert receipts[-2:] == ["receipt-id:1", "receipt-id:2"]
    assert socket.lower.producerState == "producing"


def _done() -> Any:
    from twisted.internet.error import ConnectionDone
    from twisted.python.failure import Failure

    return Failure(ConnectionDone())
