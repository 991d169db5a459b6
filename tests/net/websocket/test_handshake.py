"""
Tests for L{twisted_mqtt.net.websocket.factory} and L{twisted_mqtt.net.websocket.http}: who is let in, and what the
others are told.
"""

from __future__ import annotations

import pytest

from tests.kits.websocket import ACCEPT, Peer, Site, frame, frames, request
from twisted_mqtt.config.schema_listeners import DeflateSettings
from twisted_mqtt.net.websocket.http import (
    HEAD_AT_MOST,
    BadRequest,
    HTTPAnswer,
    forwardedAddress,
    isHTTP,
    parseRequest,
    response,
)


def headers(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """
    Status, headers by lower-case names, and body of an answer.
    """
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    return int(lines[0].split(" ")[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}, body


def ask(site: Site, data: bytes, each: int | None = None) -> tuple[Peer, int, dict[str, str], bytes]:
    """
    Connect and send a request.
    """
    peer = site.accept()
    return (peer, *headers(peer.send(data, each)))


@pytest.mark.parametrize("each", [None, 1, 7])
def test_accepted(each: int | None) -> None:
    """
    A handshake is answered as in RFC 6455 1.3, however it is cut.
    """
    peer, status, answer, body = ask(Site(), request(), each)
    assert (status, body) == (101, b"")
    assert answer["sec-websocket-accept"] == ACCEPT
    assert answer["sec-websocket-protocol"] == "mqtt"
    assert answer["upgrade"].lower() == "websocket"
    assert "server" not in answer and "sec-websocket-extensions" not in answer
    assert not peer.lower.disconnecting


@pytest.mark.parametrize(
    "offered, chosen",
    [
        ("mqtt", "mqtt"),
        ("mqttv3.1", "mqttv3.1"),
        ("mqttv3.1.1", "mqttv3.1.1"),
        ("mqttv3.1, mqtt", "mqttv3.1"),
        ("chat, mqtt", "mqtt"),
        ("chat,mqttv3.1.1,mqtt", "mqttv3.1.1"),
    ],
)
def test_subProtocol(offered: str, chosen: str) -> None:
    """
    Of the sub-protocols that a client offers it gets the first that is one of MQTT [MQTT-6.0.0-3].
    """
    _, status, answer, _ = ask(Site(), request(Sec_WebSocket_Protocol=offered))
    assert (status, answer["sec-websocket-protocol"]) == (101, chosen)


@pytest.mark.parametrize("offered", [None, "chat", "MQTT", "mqttv5"])
def test_verifyProtocolHeader(offered: str | None) -> None:
    """
    A client that offers none of them is refused; or served without one, where the listener says so.
    """
    peer, status, _, body = ask(Site(), request(Sec_WebSocket_Protocol=offered))
    assert status == 400 and b"Sec-WebSocket-Protocol" in body
    assert peer.lower.disconnecting
    peer, status, answer, _ = ask(Site(verify_protocol_header=False), request(Sec_WebSocket_Protocol=offered))
    assert status == 101 and "sec-websocket-protocol" not in answer


@pytest.mark.parametrize(
    "bad, status",
    [
        (request("/"), 404),
        (request("/mqtt/"), 404),
        (request("/other"), 404),
        (request("/status"), 404),
        (request(Upgrade=None), 426),
        (request(Upgrade="h2c"), 400),
        (request(Connection=None), 400),
        (request(Connection="keep-alive"), 400),
        (request(Host=None), 400),
        (request(Sec_WebSocket_Key=None), 400),
        (request(Sec_WebSocket_Key="short"), 400),
        (request(Sec_WebSocket_Version=None), 400),
        (request(Sec_WebSocket_Version="12"), 400),
        (request(Sec_WebSocket_Protocol="mqtt, mqtt"), 400),
        (request(method="POST"), 405),
        (request().replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
        (b"GET /mqtt\r\n\r\n", 400),
        (b"GET /mqtt HTTP/2.0\r\n\r\n", 400),
        (b"GET /mqtt HTTP/1.1\r\nHost broken\r\n\r\n", 400),
        (b"GET /mqtt HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET /mqtt HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"GET /mqtt HTTP/1.1\r\nA: b\nC: d\r\n\r\n", 400),
        (b"GET /mqtt HTTP/1.1\r\nA: \0\r\n\r\n", 400),
    ],
)
def test_refused(bad: bytes, status: int) -> None:
    """
    A request that is no handshake for this port gets an answer in HTTP, and the connection is closed at once.
    """
    site = Site()
    peer, got, answer, body = ask(site, bad + frame(b"ignored"))
    assert got == status
    assert answer["connection"] == "close" and int(answer["content-length"]) == len(body)
    assert peer.lower.disconnecting and not peer.lower.aborted
    assert site.factory.refusals == 1
    peer.lose()
    assert all(upper.chunks == [] and upper.lost is None for upper in site.uppers)


def test_version() -> None:
    """
    A client of another version of WebSocket is told which is spoken (RFC 6455 4.4).
    """
    _, _, answer, _ = ask(Site(), request(Sec_WebSocket_Version="9"))
    assert "13" in answer["sec-websocket-version"]


@pytest.mark.parametrize("data", [b"\x10\x0d\x00\x04MQTT", b"\x16\x03\x01", b"SSH-2.0", b"G\r\n"])
def test_notHTTP(data: bytes) -> None:
    """
    A client of another protocol is told so by its first bytes.
    """
    peer, status, _, body = ask(Site(), data)
    assert status == 400 and b"WebSocket" in body and peer.lower.disconnecting


@pytest.mark.parametrize("each", [None, 1000])
def test_endless(each: int | None) -> None:
    """
    A head that does not end is refused before it fills the memory; so is one that ends too late.
    """
    peer, status, _, _ = ask(Site(), b"GET /mqtt HTTP/1.1\r\nA: " + b"x" * (HEAD_AT_MOST + 2000), each)
    assert status == 431 and peer.lower.disconnecting
    _, status, _, _ = ask(Site(), request(A="x" * HEAD_AT_MOST))
    assert status == 431


def test_stopping() -> None:
    """
    A broker that stops lets nobody in.
    """
    site = Site()
    site.stopping = True
    _, status, _, body = ask(site, request())
    assert status == 503 and b"stopping" in body


def test_full() -> None:
    """
    Nor does one that takes no further clients.
    """
    site = Site()
    site.full = True
    assert ask(site, request())[1] == 503


def test_stopped() -> None:
    """
    When it stops, those who are in the middle of a handshake are sent away, and nobody else; a port that stops while
    the node runs on leaves them alone.
    """
    site = Site()
    early, done = site.accept(), site.open()
    early.send(request()[:20])
    site.factory.doStop()
    assert not early.lower.disconnecting
    site.stopping = True
    site.factory.doStop()
    assert early.lower.taken().startswith(b"HTTP/1.1 503 ") and early.lower.disconnecting
    assert not done.lower.disconnecting
    early.lose()
    done.lose()
    assert site.factory.asking == set() and site.factory.connections == 0


def test_path() -> None:
    """
    The path is the listener's; a query does not matter, and the target may be a whole URI (RFC 9112 3.2.2).
    """
    site = Site(mqtt_path="/iot/mqtt")
    for target in ("/iot/mqtt", "/iot/mqtt?token=1", "ws://broker.example/iot/mqtt"):
        assert ask(site, request(target))[1] == 101
    assert ask(site, request("/mqtt"))[1] == 404
    assert ask(site, request("ws://broker.example"))[1] == 404


# Origins

_ALLOWED = ("https://app.example", "https://*.iot.example:8443")


@pytest.mark.parametrize(
    "origin, status",
    [
        (None, 101),
        ("https://app.example", 101),
        ("HTTPS://App.Example", 101),
        ("https://one.iot.example:8443", 101),
        ("https://one.iot.example", 403),
        ("http://app.example", 403),
        ("https://app.example.evil", 403),
        ("https://evil.example", 403),
        ("null", 403),
    ],
)
def test_origin(origin: str | None, status: int) -> None:
    """
    Only pages of the allowed origins connect; programs, which have no origin, are no pages.
    """
    site = Site(allowed_origins=_ALLOWED)
    assert ask(site, request(Origin=origin))[1] == status
    assert ask(Site(), request(Origin=origin))[1] == 101


# The health check


@pytest.mark.parametrize("path", ["/status", "/mqtt/status"])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_status(version: str, path: str) -> None:
    """
    Load balancers hear that the node runs, whatever they know of HTTP, and nobody is refused by that.
    """
    site = Site()
    peer, status, answer, body = ask(site, f"GET {path} HTTP/{version}\r\n\r\n".encode())
    assert (status, body) == (200, b"Node test is started\n")
    assert int(answer["content-length"]) == len(body)
    assert peer.lower.disconnecting and site.factory.refusals == 0 and site.uppers == []


def test_statusHead() -> None:
    """
    HEAD gets the same without the body; other methods are not allowed.
    """
    _, status, answer, body = ask(Site(), b"HEAD /status HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (status, body) == (200, b"") and answer["content-length"] == "21"
    _, status, answer, _ = ask(Site(), b"POST /status HTTP/1.1\r\nHost: a\r\n\r\n")
    assert status == 405 and "GET" in answer["allow"]


def test_statusObstacles() -> None:
    """
    A node to which no clients are to come says why.
    """
    site = Site()
    site.obstacles = ["The node is shutting down", "The store can't be written"]
    _, status, _, body = ask(site, b"GET /status HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (status, body) == (503, b"The node is shutting down\nThe store can't be written\n")


def test_crossOrigin() -> None:
    """
    Pages of allowed origins may read the status.
    """

    def asked(site: Site, origin: str, method: str = "GET") -> tuple[int, str | None]:
        data = f"{method} /status HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\n\r\n".encode()
        _, status, answer, _ = ask(site, data)
        return status, answer.get("access-control-allow-origin")

    assert asked(Site(), "https://any.example") == (200, "*")
    assert asked(Site(), "https://any.example", "OPTIONS") == (204, "*")
    site = Site(allowed_origins=_ALLOWED)
    assert asked(site, "https://app.example") == (200, "https://app.example")
    assert asked(site, "https://evil.example") == (200, None)


# Behind a proxy


@pytest.mark.parametrize(
    "host, port, expected",
    [
        ("198.51.100.9", "777", ("198.51.100.9", 777)),
        ("198.51.100.9", None, ("198.51.100.9", 0)),
        ("198.51.100.9, 10.0.0.1", "777, 80", ("198.51.100.9", 777)),
        ("198.51.100.9:4711", "", ("198.51.100.9", 0)),
        ("2001:db8::1", "1", ("2001:db8::1", 1)),
        ("[2001:db8::1]:99", "99999", ("2001:db8::1", 0)),
        ("198.51.100.9", "-1", ("198.51.100.9", 0)),
        ("unknown", "1", ("192.0.2.7", 40001)),
        (None, "1", ("192.0.2.7", 40001)),
    ],
)
def test_forwarded(host: str | None, port: str | None, expected: tuple[str, int]) -> None:
    """
    The client's address is what the proxy says, if that is an address; else that of the connection.
    """
    site = Site(proxy_address_header="X-Forwarded-For", proxy_port_header="X-Forwarded-Port")
    address = site.open(X_Forwarded_For=host, X_Forwarded_Port=port).upper.transport.getPeer()
    assert (address.host, address.port) == expected


def test_forwardedUnasked() -> None:
    """
    Where no header is configured, anybody could write one: it is not looked at.
    """
    address = Site().open(X_Forwarded_For="198.51.100.9").upper.transport.getPeer()
    assert address.host == "192.0.2.7"


def test_cookie() -> None:
    """
    The cookies of the handshake are the client's.
    """
    assert Site().open(Cookie="a=b; c=d").upper.transport.cookie == "a=b; c=d"
    assert Site().open().upper.transport.cookie is None


# Compression


@pytest.mark.parametrize(
    "options, offer, expected",
    [
        ({}, "permessage-deflate", "permessage-deflate"),
        ({}, "permessage-deflate; client_max_window_bits", "permessage-deflate"),
        ({}, "x-webkit-deflate-frame, permessage-deflate", "permessage-deflate"),
        ({}, "permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
        ({}, "permessage-deflate; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10"),
        (
            {"client_max_window_bits": 9},
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=9",
        ),
        ({"client_max_window_bits": 9}, "permessage-deflate", "permessage-deflate"),
        (
            {"client_context_takeover": "no_takeover"},
            "permessage-deflate",
            "permessage-deflate; client_no_context_takeover",
        ),
        ({}, "x-webkit-deflate-frame", None),
        (None, "permessage-deflate", None),
    ],
)
def test_extension(options: dict[str, object] | None, offer: str, expected: str | None) -> None:
    """
    Compression is agreed upon as the listener's table and the client's offer allow.
    """
    site = Site() if options is None else Site(compress=True, deflate_opts=DeflateSettings(**options))
    _, status, answer, _ = ask(site, request(Sec_WebSocket_Extensions=offer))
    assert (status, answer.get("sec-websocket-extensions")) == (101, expected)


# The parts


def test_isHTTP() -> None:
    """
    Any beginning of a method is one of HTTP.
    """
    assert all(isHTTP(start) for start in (b"", b"G", b"GET", b"GET /", b"OPT", b"HEAD /x"))
    assert not any(isHTTP(start) for start in (b"\x10", b"get /", b"GETT", b"GET\t"))


def test_parseRequest() -> None:
    """
    Headers are found by their names in any case, repeated ones together.
    """
    parsed = parseRequest(b"GET /a?b HTTP/1.1\r\nX-A: 1\r\nx-a:2 \r\n\r\n")
    assert (parsed.method, parsed.path, parsed.headers) == ("GET", "/a", {"x-a": "1, 2"})
    with pytest.raises(BadRequest):
        parseRequest(b"GET  / HTTP/1.1\r\n\r\n")


def test_response() -> None:
    """
    Nothing that is not ASCII gets into a header of ours, and no body where there may be none.
    """
    assert response(HTTPAnswer(204)).endswith(b"\r\n\r\n") and b"Content-" not in response(HTTPAnswer(204))
    assert b"X: ?" in response(HTTPAnswer(400, headers=(("X", "\u20ac"),)))


def test_forwardedAddress() -> None:
    """
    A malformed address is ignored.
    """
    for host in ("", ",", "[", "1.2.3", "host", "1.2.3.4:5:6", "fe80::1%eth0/64"):
        assert forwardedAddress(host, "1") is None


def test_pingAtOnce() -> None:
    """
    The connection works, whatever of the above has let it in.
    """
    peer = Site(verify_protocol_header=False).open(Sec_WebSocket_Protocol=None)
    assert frames(peer.send(frame(b"x", 9))) == [(0x8A, b"x")]
