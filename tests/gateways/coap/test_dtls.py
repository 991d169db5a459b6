"""
Tests for L{gateways.coap.dtls}, against OpenSSL's other end in memory.
"""

from pathlib import Path
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from gateways.coap.dtls import DTLSContext, DTLSProtocol
from tests.certificates import Authority
from twisted_mqtt.config.schema_extensions import DTLS
from twisted_mqtt.psk import PreSharedKeys
from twisted_mqtt.tlscontext import TLSProblem
from twisted_mqtt.wheel import DeadlineWheel


class Upper:
    """
    The protocol above: answers in capitals.
    """

    def __init__(self) -> None:
        self.transport: Any = None
        self.received: list[tuple[bytes, tuple[Any, ...]]] = []
        self.gone: list[tuple[Any, ...]] = []

    def makeConnection(self, transport: Any) -> None:
        """
        See C{DatagramProtocol}.
        """
        self.transport = transport

    def doStop(self) -> None:
        """
        See C{DatagramProtocol}.
        """

    def datagramReceived(self, datagram: bytes, address: tuple[Any, ...]) -> None:
        """
        Answer.
        """
        self.received.append((datagram, address))
        self.transport.write(datagram.upper(), address)

    def lost(self, address: tuple[Any, ...]) -> None:
        """
        Keep it.
        """
        self.gone.append(address)


class Server:
    """
    The layer with a port that keeps what is written.
    """

    def __init__(self, folder: Path, keys: PreSharedKeys | None = None, most: int = 100, **settings: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.sent: list[tuple[bytes, tuple[Any, ...]]] = []
        issued = Authority(folder).issue("server")
        table = DTLS(certfile=issued.certfile, keyfile=issued.keyfile, **settings)
        self.upper = Upper()
        self.wheel = DeadlineWheel(self.clock)
        context = DTLSContext(table, "coap.dtls", keys or PreSharedKeys())
        self.layer = DTLSProtocol(self.upper, context, self.clock, self.wheel, most)
        self.layer.makeConnection(self)

    def write(self, datagram: bytes, address: tuple[Any, ...]) -> None:
        """
        Keep it.
        """
        self.sent.append((datagram, address))

    def getHost(self) -> IPv4Address:
        """
        Some address.
        """
        return IPv4Address("UDP", "127.0.0.1", 5684)


class Client:
    """
    OpenSSL's other end.
    """

    def __init__(self, server: Server, port: int = 1, before: "Client | None" = None) -> None:
        self.server = server
        self.address = ("192.0.2.1", port)
        # A session belongs to the context that it was made in.
        self.context = SSL.Context(SSL.DTLS_CLIENT_METHOD) if before is None else before.context
        if before is None:
            self.context.set_options(SSL.OP_NO_QUERY_MTU)
        self.connection = SSL.Connection(self.context, None)
        self.connection.set_connect_state()
        self.connection.set_ciphertext_mtu(1200)
        if before is not None:
            session = before.connection.get_session()
            assert session is not None
            self.connection.set_session(session)

    def output(self) -> list[bytes]:
        """
        What it wants to send.
        """
        try:
            data = self.connection.bio_read(65536)
        except SSL.WantReadError:
            return []
        records = []
        while data:
            end = 13 + int.from_bytes(data[11:13], "big")
            records.append(data[:end])
            data = data[end:]
        return records

    def shake(self, lose: list[int] | None = None, steps: int = 40) -> bool:
        """
        Make a handshake.

        @param lose: the numbers of datagrams, of both sides, that get lost.
        """
        number = 0
        for _ in range(steps):
            done = False
            try:
                self.connection.do_handshake()
                done = True
            except SSL.WantReadError:
                pass
            for record in self.output():
                number += 1
                if number not in (lose or ()):
                    self.server.layer.datagramReceived(record, self.address)
            if done:
                return True
            answers, self.server.sent = self.server.sent, []
            for datagram, address in answers:
                if address != self.address:  # a farewell to another one
                    continue
                number += 1
                if number not in (lose or ()):
                    self.connection.bio_write(datagram)
                    try:
                        self.connection.do_handshake()
                    except SSL.WantReadError:
                        pass
            if not answers:
                self.server.clock.advance(1)
        return False

    def ask(self, data: bytes) -> bytes:
        """
        Send something and take the answer.
        """
        self.connection.send(data)
        for record in self.output():
            self.server.layer.datagramReceived(record, self.address)
        for datagram, _ in self.server.sent:
            self.connection.bio_write(datagram)
        self.server.sent = []
        return self.connection.recv(2000)


def test_exchange(tmp_path: Path) -> None:
    """
    After a handshake, datagrams go both ways; an address has a part of its own for each association.
    """
    server = Server(tmp_path)
    client = Client(server)
    assert client.shake()
    assert client.ask(b"hello") == b"HELLO"
    assert server.upper.received == [(b"hello", ("192.0.2.1", 1, 1))]
    assert all(len(datagram) <= 1232 for datagram, _ in server.sent)


def test_firstMessageCostsNothing(tmp_path: Path) -> None:
    """
    Whoever does not bring the cookie back, or brings that of another, leaves no association behind.
    """
    server = Server(tmp_path)
    for port in range(200):
        client = Client(server, port)
        with pytest.raises(SSL.WantReadError):
            client.connection.do_handshake()
        for record in client.output():
            server.layer.datagramReceived(record, client.address)
    assert len(server.layer) == 0
    cookie, _ = server.sent[-1]
    client.connection.bio_write(cookie)
    with pytest.raises(SSL.WantReadError):
        client.connection.do_handshake()
    for record in client.output():
        server.layer.datagramReceived(record, ("203.0.113.9", 9))
    assert len(server.layer) == 0
    assert len(server.sent[-1][0]) <= 3 * 200


def test_halfOpen(tmp_path: Path) -> None:
    """
    A handshake that does not go on is forgotten after a while.
    """
    server = Server(tmp_path)
    client = Client(server)
    client.shake(lose=list(range(6, 200)), steps=4)
    assert len(server.layer) == 1
    server.clock.pump([1] * 40)
    assert len(server.layer) == 0
    assert server.upper.gone == []


def test_startedAnew(tmp_path: Path) -> None:
    """
    A device that has lost its memory begins anew from the same port; what was before is over.
    """
    server = Server(tmp_path)
    assert Client(server).shake()
    client = Client(server)
    assert client.shake()
    assert client.ask(b"x") == b"X"
    assert server.upper.gone == [("192.0.2.1", 1, 1)]
    assert len(server.layer) == 1


def test_closed(tmp_path: Path) -> None:
    """
    The end of an association is told above; what is written to it then goes nowhere.
    """
    server = Server(tmp_path)
    client = Client(server)
    assert client.shake()
    client.ask(b"x")
    client.connection.shutdown()
    for record in client.output():
        server.layer.datagramReceived(record, client.address)
    assert server.upper.gone == [("192.0.2.1", 1, 1)]
    server.sent.clear()
    server.layer.write(b"x", ("192.0.2.1", 1, 1))
    assert server.sent == []


def test_tooMany(tmp_path: Path) -> None:
    """
    One more than may be gets in only where another one has not been used for a while.
    """
    server = Server(tmp_path, most=2)
    assert Client(server, 1).shake() and Client(server, 2).shake()
    assert not Client(server, 3).shake(steps=5)
    server.clock.advance(61)
    assert Client(server, 4).shake()
    assert server.upper.gone == [("192.0.2.1", 1, 1)]


@pytest.mark.parametrize("keys", [False, True])
def test_resumption(tmp_path: Path, keys: bool) -> None:
    """
    A session is resumed where clients have certificates at most; with keys there is none, since it would not say whose.
    """
    shared = PreSharedKeys()
    if keys:
        shared.add(lambda identity: None)
    server = Server(tmp_path, shared)
    client = Client(server)
    assert client.shake()
    client.ask(b"x")
    again = Client(server, 2, client)
    assert again.shake()
    assert (again.connection.master_key() == client.connection.master_key()) is not keys
    assert again.ask(b"y") == b"Y"


def test_garbage(tmp_path: Path) -> None:
    """
    Any bytes, of anybody, before and after a handshake, leave the others alone.
    """
    server = Server(tmp_path)
    client = Client(server)
    assert client.shake()
    hello = bytes.fromhex("16fefd0000000000000001002a010000") + bytes(39)
    for datagram in (b"", b"\x16", bytes(200), hello, b"\x16\xfe\xfd" + bytes(60), b"\x15\xfe\xfd" + bytes(12)):
        server.layer.datagramReceived(datagram, client.address)
        server.layer.datagramReceived(datagram, ("203.0.113.9", 9))
    server.sent.clear()
    assert client.ask(b"x") == b"X"


def test_wrongFiles(tmp_path: Path) -> None:
    """
    Files that are missing or hold something else are named.
    """
    with pytest.raises(TLSProblem, match="coap.dtls.certfile.*can't be read"):
        DTLSContext(DTLS(certfile="/nonexistent"), "coap.dtls", PreSharedKeys())
    with pytest.raises(TLSProblem, match="needs cacertfile"):
        Server(tmp_path, verify="verify_peer")
    text = tmp_path / "text"
    text.write_text("text")
    with pytest.raises(TLSProblem, match="no authorities"):
        Server(tmp_path, verify="verify_peer", cacertfile=str(text))
