"""
SockJS and WebSocket in memory: what a client asks before, polling, streaming, and how sessions end.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gateways.stomp.sockjsframes import BrokenMessages, closeFrame, messageFrame, messagesOf
from gateways.stomp.web import WebFactory
from tests.gateways.stomp.test_session import publish
from tests.kits.stomp import Kit

CONNECT = "CONNECT\naccept-version:1.2\nhost:x\n\n\0"


class Site:
    """
    The gateway's HTTP listener.
    """

    def __init__(self, **stomp: Any) -> None:
        self.kit = Kit(**stomp)
        self.factory = WebFactory(self.kit.factory, self.kit.gateway.settings.ws, self.kit.clock)
        self.factory.doStart()

    def connect(self) -> "Connection":
        """
        A TCP connection.
        """
        return Connection(self)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """
        One request on a connection of its own.
        """
        connection = self.connect()
        connection.ask(method, path, body, **headers)
        return connection.answer()


class Connection:
    """
    One TCP connection to it.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        address = IPv4Address("TCP", "127.0.0.1", 50000)
        self.transport = StringTransport(IPv4Address("TCP", "127.0.0.1", 61616), address)
        self.protocol = site.factory.buildProtocol(address)
        self.protocol.makeConnection(self.transport)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        """
        Send a request, a byte at a time.
        """
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{''.join(lines)}"
        if body or method == "POST":
            head += f"Content-Length: {len(body)}\r\n"
        for byte in head.encode() + b"\r\n" + body:
            self.protocol.dataReceived(bytes((byte,)))
        self._site.kit.turn()

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """
        Read the answer so far: the status, the headers, and as much of the body as is there.
        """
        self._site.kit.turn()
        data = self.transport.value()
        self.transport.clear()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in lines}
        if headers.get("transfer-encoding") == "chunked":
            body = unchunked(body)
        return int(first.split()[1]), headers, body

    def more(self) -> bytes:
        """
        Read the new part of a body in chunks.
        """
        self._site.kit.turn()
        data = self.transport.value()
        self.transport.clear()
        return unchunked(data)

    def lose(self) -> None:
        """
        Go.
        """
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self._site.kit.turn()


def unchunked(data: bytes) -> bytes:
    """
    A body out of its chunks, as far as it is there.
    """
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body += data[:length]
        data = data[length + 2 :]
    return body


def send(site: Site, *frames: str, name: str = "s1") -> tuple[int, dict[str, str], bytes]:
    """
    Send frames by C{xhr_send}.
    """
    return site.ask("POST", f"/stomp/000/{name}/xhr_send", json.dumps(frames).encode())


def messages(body: bytes) -> list[str]:
    """
    The messages of an answer with one frame.
    """
    assert body[:1] == b"a", body
    found: list[str] = json.loads(body[1:])
    return found


def test_info() -> None:
    """
    The first request of a client, from any page.
    """
    site = Site()
    status, headers, body = site.ask("GET", "/stomp/info", Origin="http://page")
    info = json.loads(body)
    assert status == 200 and headers["access-control-allow-origin"] == "http://page"
    assert (info["websocket"], info["cookie_needed"], info["origins"]) == (True, False, ["*:*"])
    assert json.loads(site.ask("GET", "/stomp/info")[2])["entropy"] != info["entropy"]
    status, headers, _ = site.ask("OPTIONS", "/stomp/info", Origin="http://page")
    assert status == 204 and "GET" in headers["access-control-allow-methods"]


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/stomp", 200),
        ("GET", "/stomp/", 200),
        ("GET", "/", 404),
        ("GET", "/stompx", 404),
        ("GET", "/stomp/websocket", 400),
        ("GET", "/stomp/000/s/xhr", 405),
        ("GET", "/stomp/0.0/s/eventsource", 404),
        ("POST", "/stomp/000/s/nothing", 404),
        ("POST", "/stomp/000/s/xhr_send", 404),
        ("GET", "/stomp/iframe.html", 404),
        ("OPTIONS", "/stomp/000/s/xhr", 204),
    ],
)
def test_paths(method: str, path: str, status: int) -> None:
    """
    The resources that are there, and those that are not.
    """
    assert Site().ask(method, path)[0] == status


def test_iframe() -> None:
    """
    The iframe, where its library is known; a browser that has it is told so.
    """
    site = Site(ws={"client_url": "https://x/sockjs.js"})
    status, headers, body = site.ask("GET", "/stomp/iframe-1.html")
    assert status == 200 and b'src="https://x/sockjs.js"' in body
    assert site.ask("GET", "/stomp/iframe-1.html", If_None_Match=headers["etag"])[0] == 304


def test_origins() -> None:
    """
    Only pages that are allowed.
    """
    site = Site(ws={"allowed_origins": ["https://good"]})
    assert site.ask("GET", "/stomp/info", Origin="https://good")[0] == 200
    assert site.ask("GET", "/stomp/info", Origin="https://bad")[0] == 403
    assert site.ask("GET", "/stomp/info")[0] == 200


def test_iframeOfAllowedOrigins() -> None:
    """
    The iframe, whose origin is the gateway itself, may ask; and only pages that may ask can show it. By another name
    than its address the gateway is not itself: a name can be made to mean any address.
    """
    site = Site(ws={"allowed_origins": ["https://good", "https://better/"], "client_url": "https://good/sockjs.js"})
    headers = site.ask("GET", "/stomp/iframe.html")[1]
    assert headers["content-security-policy"] == "frame-ancestors https://good https://better"
    assert site.ask("GET", "/stomp/info", Origin="http://127.0.0.1:61616")[0] == 200
    for origin in ("http://localhost:61616", "https://127.0.0.1:61616", "http://127.0.0.1", "http://127.0.0.1:80"):
        assert site.ask("GET", "/stomp/info", Origin=origin)[0] == 403


def test_polling() -> None:
    """
    A session by polling: open, send, receive, end.
    """
    site = Site()
    assert site.ask("POST", "/stomp/000/s1/xhr")[2] == b"o\n"
    assert send(site, CONNECT)[0] == 204
    _, _, body = site.ask("POST", "/stomp/000/s1/xhr")
    (connected,) = messages(body)
    assert connected.startswith("CONNECTED\nversion:1.2\n")
    send(site, "SUBSCRIBE\nid:1\ndestination:a\n\n\0")
    waiting = site.connect()
    waiting.ask("POST", "/stomp/000/s1/xhr")
    # Another request while one waits is one too many.
    assert site.ask("POST", "/stomp/000/s1/xhr")[2] == b'c[2010,"Another connection still open"]\n'
    publish(site.kit, "a", "ü\u2028".encode())
    (message,) = messages(waiting.answer()[2])
    assert message.endswith("\n\nü\u2028\0")
    for n in range(3):
        publish(site.kit, "a", b"%d" % n)
    assert len(messages(site.ask("POST", "/stomp/000/s1/xhr")[2])) == 3
    send(site, "DISCONNECT\nreceipt:r\n\n\0")
    body = site.ask("POST", "/stomp/000/s1/xhr")[2]
    assert messages(body) == ["RECEIPT\nreceipt-id:r\n\n\0"]
    assert site.ask("POST", "/stomp/000/s1/xhr")[2] == b'c[3000,"Go away!"]\n'
    site.kit.clock.advance(6)
    assert site.kit.broker.clients == {} and site.kit.gateway.clients == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"a":1}', b'["\\ud800"]', b"[" * 5000])
def test_brokenMessages(body: bytes) -> None:
    """
    A message that is not a list of strings is refused, and the session goes on.
    """
    site = Site()
    site.ask("POST", "/stomp/000/s1/xhr")
    assert site.ask("POST", "/stomp/000/s1/xhr_send", body)[0] == 500
    assert send(site, CONNECT)[0] == 204


def test_streaming() -> None:
    """
    A streaming answer goes on until it is large enough; then the client asks again and loses nothing.
    """
    site = Site(ws={"response_limit": 4096})
    stream = site.connect()
    stream.ask("POST", "/stomp/000/s1/xhr_streaming")
    _, headers, body = stream.answer()
    assert body == b"h" * 2048 + b"\no\n"
    assert headers["content-type"].startswith("application/javascript")
    send(site, CONNECT, "SUBSCRIBE\nid:1\ndestination:a\n\n\0")
    stream.more()
    got = b""
    for _ in range(100):
        publish(site.kit, "a", b"x" * 100)
        part = stream.more()
        got += part
        if not part:
            break
    assert 3500 < len(got) < 5000
    sent = got.count(b"MESSAGE")
    body = site.ask("POST", "/stomp/000/s1/xhr")[2]
    assert len(messages(body)) == 1 and sent >= 10


def test_eventsource() -> None:
    """
    Server-sent events; silence is filled with heart-beats.
    """
    site = Site()
    stream = site.connect()
    stream.ask("GET", "/stomp/000/s1/eventsource")
    _, headers, body = stream.answer()
    assert body == b"\r\ndata: o\r\n\r\n" and headers["content-type"].startswith("text/event-stream")
    # Within the time for CONNECT, which would end the session.
    send(site, CONNECT)
    assert stream.more().startswith(b'data: a["CONNECTED')
    site.kit.clock.advance(25.1)
    assert stream.more() == b"data: h\r\n\r\n"
    stream.lose()
    assert site.kit.broker.clients == {}
    assert send(site, "SEND\n\n\0")[0] in (204, 404)


def test_clientVanishes() -> None:
    """
    A client that does not come back is gone.
    """
    site = Site()
    site.ask("POST", "/stomp/000/s1/xhr")
    send(site, CONNECT)
    site.ask("POST", "/stomp/000/s1/xhr")
    assert len(site.kit.broker.clients) == 1
    site.kit.clock.advance(5.1)
    assert site.kit.broker.clients == {}
    site.kit.clock.advance(5.1)
    # The name is free again.
    assert site.ask("POST", "/stomp/000/s1/xhr")[2] == b"o\n"


def test_slowClient() -> None:
    """
    Messages that wait for a client that does not ask are bounded; those that must arrive stay in its session.
    """
    site = Site(zone={"max_pending_bytes": 5000}, ws={"disconnect_delay": "60s"})
    site.ask("POST", "/stomp/000/s1/xhr")
    send(site, CONNECT, "SUBSCRIBE\nid:1\ndestination:a\nack:client\n\n\0")
    for n in range(200):
        publish(site.kit, "a", b"%04d" % n + b"x" * 100)
    got: list[str] = []
    most = 0
    for _ in range(100):
        if len(got) >= 201:
            break
        body = site.ask("POST", "/stomp/000/s1/xhr")[2]
        most = max(most, len(body))
        got += messages(body)
    assert [frame.split("\n\n")[1][:4] for frame in got[1:]] == [f"{n:04}" for n in range(200)]
    assert most < 20_000


def test_waitsForItsTurn() -> None:
    """
    While what a client has sent waits to be taken, C{xhr_send} is not answered, and one more is refused; it is when all
    is taken, or the session is over.
    """
    site = Site(zone={"publish_limit": "1,10s"}, ws={"disconnect_delay": "60s"})
    site.ask("POST", "/stomp/000/s1/xhr")
    send(site, CONNECT)
    waiting = site.connect()
    frames = ["SEND\ndestination:a\n\n1\0", "SEND\ndestination:a\n\n2\0", "SEND\ndestination:a\n\n3\0"]
    waiting.ask("POST", "/stomp/000/s1/xhr_send", json.dumps(frames).encode())
    assert waiting.transport.value() == b""
    assert send(site, "SEND\ndestination:a\n\n4\0")[0] == 503
    site.kit.clock.advance(10)
    assert waiting.answer()[0] == 204
    waiting.ask("POST", "/stomp/000/s1/xhr_send", json.dumps(frames).encode())
    site.kit.clock.pump([10, 0, 10, 0])
    assert waiting.transport.value() == b""
    site.kit.factory.sendAllAway()
    assert waiting.answer()[0] == 204


def test_largeRequest() -> None:
    """
    A request larger than a client's messages may be is refused before it has come.
    """
    site = Site()
    site.ask("POST", "/stomp/000/s1/xhr")
    connection = site.connect()
    connection.protocol.dataReceived(
        b"POST /stomp/000/s1/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n"
    )
    assert connection.answer()[0] == 413 and connection.transport.disconnecting


def test_tooMany() -> None:
    """
    SockJS clients count as others do: a session without a CONNECT gives way to a new one, and none with it does.
    """
    site = Site(max_clients=1)
    assert site.ask("POST", "/stomp/000/s1/xhr")[2] == b"o\n"
    assert site.ask("POST", "/stomp/000/s2/xhr")[2] == b"o\n"
    assert site.ask("POST", "/stomp/000/s1/xhr")[2].startswith(b"c[")
    connect = json.dumps([CONNECT]).encode()
    assert site.ask("POST", "/stomp/000/s2/xhr_send", connect)[0] == 204
    assert site.ask("POST", "/stomp/000/s3/xhr")[0] == 503


def test_notHTTP() -> None:
    """
    A silent client, or one that sends nonsense, is sent away.
    """
    site = Site()
    silent = site.connect()
    site.kit.clock.advance(16)
    assert silent.transport.disconnected
    loud = site.connect()
    loud.protocol.dataReceived(b"x" * 20000)
    site.kit.turn()
    assert loud.transport.disconnecting or loud.transport.disconnected


@given(st.lists(st.text(st.characters(blacklist_categories=("Cs",)))))
def test_frames(texts: list[str]) -> None:
    """
    Messages in a frame are read again by anything that reads JSON, and hold nothing but ASCII.
    """
    wire = messageFrame([text.encode() for text in texts])
    assert wire[:1] == b"a" and wire.isascii()
    assert json.loads(wire[1:]) == texts
    assert messagesOf(wire[1:]) == [text.encode() for text in texts]
    assert json.loads(closeFrame(3000, "x")[1:]) == [3000, "x"]


@given(st.binary())
def test_anyBytes(data: bytes) -> None:
    """
    Any bytes are messages or not, and nothing else.
    """
    try:
        found = messagesOf(data)
    except BrokenMessages:
        return
    assert all(isinstance(message, bytes) for message in found)
