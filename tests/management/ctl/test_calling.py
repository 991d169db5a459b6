"""
Tests for L{twisted_mqtt.management.ctl.calling}: what is said of a broker elsewhere that can't be trusted or is none.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.kits.certificates import Authority, Issued
from twisted_mqtt.management.catalogue import declared
from twisted_mqtt.management.ctl.calling import NotReached, RefusedCall, RemoteCaller
from twisted_mqtt.management.describe import describe

_DAY = timedelta(days=1)

#: What is said to one connection.
Talk = Callable[[socket.socket], None]


class Elsewhere:
    """
    Somebody who listens, and talks to whoever comes first.
    """

    def __init__(self, talk: Talk) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._talk = talk
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._listening, self._listening.accept()[0] as link:
            link.settimeout(20)
            try:
                self._talk(link)
            except OSError:
                # Whoever does not trust this goes away.
                pass

    def close(self) -> None:
        """
        Wait for the end of it.
        """
        self._thread.join()


def saying(text: bytes) -> Talk:
    """
    Answers every request with the same.
    """

    def talk(link: socket.socket) -> None:
        link.recv(65536)
        link.sendall(text)

    return talk


def behindTLS(issued: Issued, talk: Talk) -> Talk:
    """
    The same behind TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certfile, issued.keyfile)

    def secured(link: socket.socket) -> None:
        with context.wrap_socket(link, server_side=True) as inner:
            talk(inner)

    return secured


def answer(status: str, body: bytes) -> bytes:
    """
    An answer in HTTP.
    """
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


DESCRIBED = answer("200 OK", b'{"code": 0, "data": []}')


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """
    An authority that this machine does not know.
    """
    return Authority(tmp_path)


def test_trusted(authority: Authority) -> None:
    """
    With its authority, a broker is believed.
    """
    there = Elsewhere(behindTLS(authority.issue("right"), saying(DESCRIBED)))
    assert RemoteCaller(f"https://localhost:{there.port}", "admin", "x", authority.cafile).describe() == []
    there.close()


@pytest.mark.parametrize(
    ("which", "says"),
    [
        ({}, "from an authority that this machine does not know: name the file of that with --cacert"),
        ({"end": -_DAY / 2}, "has expired"),
        ({"begin": _DAY / 2}, "is not valid yet: is the clock of this machine right?"),
        ({"hosts": ("broker.example",)}, "is for another name"),
    ],
    ids=["unknown", "expired", "early", "name"],
)
def test_notTrusted(authority: Authority, which: dict[str, object], says: str) -> None:
    """
    What is wrong with a certificate is said in plain words.
    """
    issued = authority.issue("wrong", **which)  # type: ignore[arg-type]  # they are what it takes
    there = Elsewhere(behindTLS(issued, saying(DESCRIBED)))
    known = authority.cafile if which else None
    with pytest.raises(NotReached, match=says):
        RemoteCaller(f"https://localhost:{there.port}", "admin", "x", known).describe()
    there.close()


@pytest.mark.parametrize(
    ("scheme", "talk", "says"),
    [
        ("https", saying(DESCRIBED), "does not speak TLS; is it http://?"),
        ("http", saying(b"SSH-2.0-OpenSSH\r\n"), "does not speak HTTP; is it https://?"),
        ("http", saying(b""), "does not speak HTTP; is it https://?"),
        ("http", saying(answer("200 OK", b"<html>")), "does not say what can be asked of it"),
        ("http", saying(answer("200 OK", b'{"data": 5, "code": 0}')), "does not say what can be asked of it"),
    ],
)
def test_noBroker(scheme: str, talk: Talk, says: str) -> None:
    """
    Somebody else who listens there is told from a broker.
    """
    there = Elsewhere(talk)
    with pytest.raises(NotReached, match=says):
        RemoteCaller(f"{scheme}://localhost:{there.port}", "admin", "x").describe()
    there.close()


def test_silentAboutTLS() -> None:
    """
    A port without TLS that takes the beginning of TLS for half a line, as ours does, is not called a broker that hangs.
    """
    there = Elsewhere(_untilEnd)
    with pytest.raises(NotReached, match="does not answer in TLS; is it http://?"):
        RemoteCaller(f"https://localhost:{there.port}", "admin", "x", timeout=0.2).describe()
    there.close()


def _untilEnd(link: socket.socket) -> None:
    while link.recv(65536):
        pass


def test_goneAmidAnswer() -> None:
    """
    A broker that dies while somebody looks on is said in plain words.
    """
    there = Elsewhere(saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"))
    answer = RemoteCaller(f"http://localhost:{there.port}", "admin", "x").call(describe(next(declared())), {}, "json")
    pieces = iter(answer.pieces)
    assert next(pieces) == b"one"
    with pytest.raises(NotReached, match=f"localhost:{there.port}: the broker has gone before the end of its answer$"):
        next(pieces)
    there.close()


def test_noAnswer() -> None:
    """
    A broker that ends the connection in place of an answer is one all the same: its log says more.
    """
    there = Elsewhere(saying(b""))
    caller = RemoteCaller(f"http://localhost:{there.port}", "admin", "x")
    with pytest.raises(NotReached, match="the broker has ended the connection without an answer; see its log"):
        caller.call(describe(next(declared())), {}, "json")
    there.close()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        ("401 Unauthorized", b'{"code": 103, "message": "wrong application or secret"}', "wrong application or secret"),
        ("404 Not Found", b"nothing", "answers 404 Not Found"),
        ("500 Oops", b'{"message": ["x"]}', "answers 500 Oops"),
    ],
)
def test_refused(status: str, body: bytes, says: str) -> None:
    """
    A refusal has the broker's words, or its status.
    """
    there = Elsewhere(saying(answer(status, body)))
    with pytest.raises(RefusedCall, match=says):
        RemoteCaller(f"http://localhost:{there.port}", "admin", "x").describe()
    there.close()


@pytest.mark.parametrize("url", ["broker", "ftp://broker", "https://", "http://[::1", "http://b:99999", ""])
def test_noAddress(url: str) -> None:
    """
    What is no address is said to be none.
    """
    with pytest.raises(ValueError, match="no address such as https://"):
        RemoteCaller(url, "admin", "x")
