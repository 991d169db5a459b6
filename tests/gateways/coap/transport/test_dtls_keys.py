"""
Pre-shared keys that have to be looked up, and certificates that are replaced, while DTLS is at work.
"""

from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher

from tests.kits.certificates import Authority, subject
from tests.kits.dtls import Client, Server
from twisted_mqtt.net.tls.options import TLSProblem
from twisted_mqtt.net.tls.psk import PreSharedKeys

KEY = b"0123456789abcdef"
CIPHERS = [b"PSK-AES128-CCM8", b"PSK-AES128-GCM-SHA256", b"ECDHE-PSK-CHACHA20-POLY1305"]


class Database:
    """
    Keeps whoever asks waiting.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, Deferred[Any]]] = []
        self.cancelled = 0
        self.keys = PreSharedKeys()
        self.keys.add(self.find, mayWait=True)

    def find(self, identity: bytes) -> Deferred[Any]:
        """
        Look one up.
        """
        answer: Deferred[Any] = Deferred(self._cancel)
        self.asked.append((identity, answer))
        return answer

    def _cancel(self, answer: Deferred[Any]) -> None:
        self.cancelled += 1

    def answer(self, key: Any) -> None:
        """
        Answer the question that was asked last.
        """
        self.asked[-1][1].callback(key)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_waiting(tmp_path: Path, cipher: bytes) -> None:
    """
    A handshake waits for a key that is looked up, and goes on when it is there; others do not wait for it.
    """
    database = Database()
    server = Server(tmp_path, database.keys)
    client = Client(server, key=(b"device1", KEY), cipher=cipher)
    assert not client.shake(steps=4)
    assert [identity for identity, _ in database.asked] == [b"device1"]
    assert Client(server, 2).shake()
    database.answer(KEY)
    assert client.shake(steps=4)
    assert client.ask(b"x") == b"X"
    assert len(database.asked) == 1
    identity = server.layer.identityOf(server.upper.received[-1][1])
    assert identity is not None and identity.psk == b"device1"


@pytest.mark.parametrize("key", [None, b"another key", b"", "text"])
def test_refused(tmp_path: Path, key: object) -> None:
    """
    A client without a key, or with another one, does not get in.
    """
    database = Database()
    server = Server(tmp_path, database.keys)
    client = Client(server, key=(b"device1", KEY))
    assert not client.shake(steps=4)
    database.answer(key)
    try:
        assert not client.shake(steps=4)
    except SSL.Error:
        pass  # it was told so
    assert server.upper.received == []


def test_orderOfSources(tmp_path: Path) -> None:
    """
    Nobody is kept waiting whose key stands in a file; sources that may wait and need not answer at once.
    """
    database = Database()
    database.keys.add({b"known": KEY}.get)
    server = Server(tmp_path, database.keys)
    assert Client(server, key=(b"known", KEY)).shake()
    assert database.asked == []
    keys = PreSharedKeys()
    keys.add({b"quick": KEY}.get, mayWait=True)
    assert Client(Server(tmp_path, keys), key=(b"quick", KEY)).shake()


def test_coroutine(tmp_path: Path) -> None:
    """
    A source may be a coroutine.
    """

    async def find(identity: bytes) -> bytes:
        return KEY

    keys = PreSharedKeys()
    keys.add(find, mayWait=True)
    assert Client(Server(tmp_path, keys), key=(b"device1", KEY)).shake()


def test_neverAnswered(tmp_path: Path) -> None:
    """
    A key that does not come ends the handshake, and the question is taken back.
    """
    database = Database()
    server = Server(tmp_path, database.keys)
    client = Client(server, key=(b"device1", KEY))
    assert not client.shake(steps=4)
    assert len(server.layer) == 1
    server.clock.pump([1] * 12)
    assert (len(server.layer), database.cancelled) == (0, 1)


def test_begunAnew(tmp_path: Path) -> None:
    """
    A device that begins anew while its key is looked up takes the first question back.
    """
    database = Database()
    server = Server(tmp_path, database.keys)
    assert not Client(server, key=(b"device1", KEY)).shake(steps=4)
    client = Client(server, key=(b"device1", KEY))
    assert not client.shake(steps=4)
    assert (len(database.asked), database.cancelled) == (2, 1)
    database.answer(KEY)
    assert client.shake(steps=4)


def test_noNameAtAll(tmp_path: Path) -> None:
    """
    An identity that is not text is not a name (RFC 4279 5.1).
    """
    keys = PreSharedKeys()
    keys.add({b"\xff\xfe": KEY}.get)
    server = Server(tmp_path, keys)
    client = Client(server, key=(b"\xff\xfe", KEY))
    client.shake()
    assert len(server.layer) == 0


def test_keysLater(tmp_path: Path) -> None:
    """
    Keys that come when the port is open already count from then on, for resumption too.
    """
    keys = PreSharedKeys()
    server = Server(tmp_path, keys)
    client = Client(server)
    assert client.shake()
    client.ask(b"x")
    keys.add({b"device1": KEY}.get)
    again = Client(server, 2, client)
    assert again.shake()
    assert again.connection.master_key() != client.connection.master_key()
    assert Client(server, 3, key=(b"device1", KEY)).shake()


def test_keysGone(tmp_path: Path) -> None:
    """
    When those who had keys have gone and there is no certificate either, that is told once, and nobody gets in.
    """
    keys = PreSharedKeys()
    source = {b"device1": KEY}.get
    keys.add(source)
    server = Server(tmp_path, keys)
    (tmp_path / "server.pem").unlink()
    server.layer.reload()
    keys.remove(source)
    told: list[Any] = []

    def observe(event: Any) -> None:
        if "problem" in event:
            told.append(event["problem"])

    globalLogPublisher.addObserver(observe)
    try:
        for port in (1, 2, 3):
            with pytest.raises(SSL.Error):
                Client(server, port, key=(b"device1", KEY)).shake()
    finally:
        globalLogPublisher.removeObserver(observe)
    assert len(told) == 1


# Certificates


def shown(client: Client) -> bytes:
    """
    The common name in the certificate that a client was shown.
    """
    certificate = client.connection.get_peer_certificate(as_cryptography=True)
    assert certificate is not None
    return certificate.subject.rfc4514_string().encode()


def test_otherCertificate(tmp_path: Path) -> None:
    """
    A certificate that was replaced is shown in new handshakes; associations go on, and old sessions are not resumed.
    """
    server = Server(tmp_path)
    client = Client(server)
    assert client.shake()
    assert client.ask(b"x") == b"X"
    replacement = Authority(tmp_path).issue("server", subject("replaced"))
    assert replacement.certfile == str(tmp_path / "server.pem")
    server.clock.pump([1] * 6)
    other = Client(server, 2)
    assert other.shake()
    assert (shown(client), shown(other)) == (b"CN=server,C=CH", b"CN=replaced,C=CH")
    assert client.ask(b"y") == b"Y"
    assert server.upper.gone == []
    again = Client(server, 3, client)
    assert again.shake()
    assert again.connection.master_key() != client.connection.master_key()


def test_brokenCertificate(tmp_path: Path) -> None:
    """
    A file that can't be used is told, and the old one is used on.
    """
    server = Server(tmp_path)
    (tmp_path / "server.pem").write_text("text")
    with pytest.raises(TLSProblem, match="certfile.*does not hold a certificate"):
        server.layer.reload()
    client = Client(server)
    assert client.shake()
    assert shown(client) == b"CN=server,C=CH"


def test_replacedInTheMiddle(tmp_path: Path) -> None:
    """
    A handshake that is under way when the files change ends as it began.
    """
    database = Database()
    server = Server(tmp_path, database.keys)
    client = Client(server, key=(b"device1", KEY))
    assert not client.shake(steps=4)
    server.layer.reload()
    database.answer(KEY)
    assert client.shake(steps=4)
    assert client.ask(b"x") == b"X"
