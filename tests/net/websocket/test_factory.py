"""
Tests for L{twisted_mqtt.net.websocket.factory} where a port serves more than one thing, and for
L{twisted_mqtt.net.websocket.origins}.
"""

from __future__ import annotations

import re

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.protocol import Factory

from tests.kits.websocket import MessageSite, Upper, frame, request
from twisted_mqtt.net.websocket.http import HTTPAnswer, Request
from twisted_mqtt.net.websocket.origins import Origins


class Recorder(Factory):
    """
    Makes protocols of another kind, and remembers them.
    """

    def __init__(self) -> None:
        self.made: list[Upper] = []
        self.full = False

    def buildProtocol(self, addr: IAddress | None) -> Upper | None:
        """
        See C{IProtocolFactory}.
        """
        if self.full:
            return None
        self.made.append(Upper())
        return self.made[-1]


def test_paths() -> None:
    """
    A port has several paths for WebSocket, which may be patterns of the whole path.
    """
    site = MessageSite(paths=("/one", re.compile("/two/[0-9]+")))
    for path, status in (("/one", 101), ("/two/17", 101), ("/two/17?q=1", 101), ("/two/17/", 404), ("/x/two/1", 404)):
        answer = site.accept().send(request(path))
        assert answer.startswith(b"HTTP/1.1 %d " % status), path


def test_handedOver() -> None:
    """
    A request that is not for WebSocket goes, from its first byte, to whoever takes it; so does all that follows.
    """
    other = Recorder()
    asked: list[tuple[str, str]] = []

    def otherwise(request: Request, here: IAddress) -> IProtocolFactory:
        asked.append((request.method, request.path))
        return other

    site = MessageSite(otherwise=otherwise)
    peer = site.accept()
    head = b"POST /page?x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
    assert peer.send(head + b"bo", each=7) == b""
    (upper,) = other.made
    peer.send(b"dy")
    assert asked == [("POST", "/page")] and upper.data == head + b"body"
    assert upper.transport is peer.lower
    # It has all the time it wants: what takes the connection over has deadlines of its own.
    site.clock.pump([1.0] * 100)
    assert not peer.lower.aborted and site.factory.asking == set()
    assert (site.factory.connections, site.factory.refusals) == (1, 0)
    peer.lose()
    assert upper.lost is not None and site.factory.connections == 0


def test_webSocketIsNotHandedOver() -> None:
    """
    WebSocket at its path is not; WebSocket elsewhere, and plain requests at its path, are.
    """
    other = Recorder()
    site = MessageSite(otherwise=lambda request, here: other)
    site.open()
    assert other.made == []
    site.accept().send(request("/elsewhere"))
    site.accept().send(request(Upgrade=None))
    assert len(other.made) == 2


def test_nobodyTakesIt() -> None:
    """
    A protocol that is asked may answer, or leave it; and may take no more connections.
    """
    other = Recorder()
    other.full = True
    answers: dict[str, HTTPAnswer | IProtocolFactory | None] = {
        "/a": HTTPAnswer(200, "a", isRefusal=False),
        "/f": other,
    }
    site = MessageSite(otherwise=lambda request, here: answers.get(request.path))
    for path, status, refusals in (("/a", 200, 0), ("/f", 503, 1), ("/x", 404, 2)):
        peer = site.accept()
        answer = peer.send(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        assert answer.startswith(b"HTTP/1.1 %d " % status) and peer.lower.disconnecting
        assert site.factory.refusals == refusals


def test_startAndStop() -> None:
    """
    The factories above are told when a port begins to listen, and when it has stopped.
    """
    site = MessageSite()
    site.factory.doStart()
    site.factory.doStop()
    assert (site.starts, site.stops) == (1, 1)


def test_early() -> None:
    """
    A message behind the handshake in the same piece is not lost, if the client is let in.
    """
    site = MessageSite()
    peer = site.accept()
    peer.send(request() + frame(b"early", 1))
    assert peer.receiver.messages == [(b"early", True)]
    site.full = True
    assert site.accept().send(request() + frame(b"early", 1)).startswith(b"HTTP/1.1 503 ")


_HERE = IPv4Address("TCP", "192.0.2.1", 8083)


@pytest.mark.parametrize(
    "allowed, origin, verdict",
    [
        ((), "https://any.example", True),
        (("https://a.example/",), "https://a.example", True),
        (("https://A.example",), "HTTPS://a.EXAMPLE", True),
        (("https://*.example",), "https://b.example", True),
        (("https://a.example",), "https://a.example:8443", False),
        (("https://a.example",), "null", False),
        (("http://[2001:db8::1]:80",), "http://[2001:db8::1]:80", True),
        (("http://[2001:db8::1]:80",), "http://2:80", False),
        (("https://a.example",), "http://192.0.2.1:8083", False),
        (("https://a.example",), None, True),
    ],
)
def test_origins(allowed: tuple[str, ...], origin: str | None, verdict: bool) -> None:
    """
    Pages are allowed by their origin, in any case, or by a pattern.
    """
    assert Origins(allowed).allows(origin, _HERE) is verdict


@pytest.mark.parametrize(
    "here, scheme, own",
    [
        (_HERE, "http", "http://192.0.2.1:8083"),
        (IPv4Address("TCP", "192.0.2.1", 80), "http", "http://192.0.2.1"),
        (IPv4Address("TCP", "192.0.2.1", 443), "https", "https://192.0.2.1"),
        (IPv6Address("TCP", "2001:db8::1", 8083), "https", "https://[2001:db8::1]:8083"),
    ],
)
def test_own(here: IAddress, scheme: str, own: str) -> None:
    """
    A port that serves pages itself allows those, by its address.
    """
    origins = Origins(("https://a.example",), scheme)
    assert origins.allows(own, here)
    assert not origins.allows(own + "0", here)
    assert not origins.allows(own, UNIXAddress("/x"))
