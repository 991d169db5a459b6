"""
Tests for L{gateways.coap.transport.dtls}, against OpenSSL's other end in memory.
"""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.task import Clock

from gateways.coap.extension import CoAPExtension
from gateways.coap.settings import CoAPSettings, DTLSSettings
from gateways.coap.transport import dtls
from gateways.coap.transport.dtlscontext import DTLSContext
from gateways.coap.transport.hello import HelloFragments, isClientHello
from tests.kits.dtls import Client, Server
from twisted_mqtt.config.values import Bind
from twisted_mqtt.net.tls.options import TLSProblem, optionsOf
from twisted_mqtt.net.tls.psk import PreSharedKeys
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.extension import ExtensionHarness


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


def test_handshakeWhileTheClockIsSetBack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    OpenSSL counts by the wall clock, and wants to be asked again in an hour where that was set back. A handshake that
    the client has given up ends in time all the same, and one that goes on is finished.
    """
    monkeypatch.setattr(SSL.Connection, "DTLSv1_get_timeout", lambda connection: 3600.0)
    server = Server(tmp_path)
    given, going = Client(server, 1), Client(server, 2)
    for client in (given, going):
        for _ in range(2):
            with pytest.raises(SSL.WantReadError):
                client.connection.do_handshake()
            for record in client.output():
                server.layer.datagramReceived(record, client.address)
            for datagram, address in server.sent:
                if address == client.address:
                    client.connection.bio_write(datagram)
            server.sent.clear()
    assert len(server.layer) == 2
    server.clock.pump([1.0] * 20)
    assert going.shake()
    server.clock.pump([1.0] * 15)
    assert len(server.layer) == 1
    assert going.ask(b"hello") == b"HELLO"


def test_firstMessageCostsNothing(tmp_path: Path) -> None:
    """
    A client that does not bring its cookie back, or brings another one, leaves no association behind.
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


def test_flood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Handshakes that are begun and left take the places of one another, not those of clients that go on.
    """
    monkeypatch.setattr(dtls, "_MOST_HANDSHAKES", 20)
    server = Server(tmp_path)
    first = Client(server, 1)
    assert first.shake()
    for port in range(2, 60):
        Client(server, port).shake(lose=list(range(6, 200)), steps=2)
    assert len(server.layer) == 21
    assert Client(server, 100).shake()
    assert first.ask(b"x") == b"X"
    server.clock.pump([1] * 40)
    assert len(server.layer) == 2


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
        DTLSContext(optionsOf(DTLSSettings(certfile="/nonexistent"), "coap.dtls"), PreSharedKeys())
    with pytest.raises(TLSProblem, match="needs cacertfile"):
        Server(tmp_path, verify="verify_peer")
    text = tmp_path / "text"
    text.write_text("text")
    with pytest.raises(TLSProblem, match="cacertfile.*does not hold a certificate"):
        Server(tmp_path, verify="verify_peer", cacertfile=str(text))


def test_nobodyIsAsked(tmp_path: Path) -> None:
    """
    A user name from a certificate that nobody is asked for is a mistake, and told before any port is open.
    """
    broker, _ = makeBroker(Clock())
    table = DTLSSettings(port=Bind("127.0.0.1", 0), peer_cert_as_username="cn")
    extension = CoAPExtension(CoAPSettings(port=Bind("127.0.0.1", 0), dtls=table))
    with pytest.raises(TLSProblem, match="peer_cert_as_username.*verify_peer"):
        ExtensionHarness(extension, broker).start()
    assert extension.ports == {}


def fragments(record: bytes, size: int) -> list[bytes]:
    """
    A record with one message of a handshake, as records with fragments of it.
    """
    head, message, body = record[:13], record[13:25], record[25:]
    parts = []
    for start in range(0, len(body), size):
        part = body[start : start + size]
        inner = message[:6] + start.to_bytes(3, "big") + len(part).to_bytes(3, "big") + part
        number = (len(parts) + int.from_bytes(head[5:11], "big") * 16).to_bytes(6, "big")
        parts.append(head[:5] + number + len(inner).to_bytes(2, "big") + inner)
    return parts


class FragmentingClient(Client):
    """
    One whose first messages come in fragments.
    """

    arrange = staticmethod(list)
    size = 60

    def output(self) -> list[bytes]:
        """
        See L{Client}.
        """
        sent: list[bytes] = []
        for record in super().output():
            isHello = record[0] == 22 and record[3:5] == b"\0\0" and record[13] == 1
            sent += self.arrange(fragments(record, self.size)) if isHello else [record]
        return sent


@pytest.mark.parametrize(
    "arrange",
    [
        list,
        lambda parts: parts[::-1],
        lambda parts: [b"".join(parts)],
        lambda parts: parts + parts,
        lambda parts: [parts[0], *parts],
    ],
)
@pytest.mark.parametrize("size", [17, 60, 110])
def test_fragments(tmp_path: Path, size: int, arrange: Any) -> None:
    """
    RFC 6347 4.2.3: a first message may come in fragments, in any order, several in a datagram, and some of them twice.
    """
    server = Server(tmp_path)
    client = FragmentingClient(server)
    client.arrange, client.size = arrange, size
    assert client.shake()
    assert client.ask(b"hello") == b"HELLO"


def test_fragmentsAreBounded(tmp_path: Path) -> None:
    """
    Fragments of strangers are kept for a while and for a number of them, and are answered with less than they are.
    """
    server = Server(tmp_path)
    came = 0
    for port in range(1000):
        client = FragmentingClient(server, port)
        with pytest.raises(SSL.WantReadError):
            client.connection.do_handshake()
        for part in client.output()[:-1]:
            server.layer.datagramReceived(part, client.address)
            came += len(part)
    assert server.sent == [] and len(server.layer) == 0
    assert len(server.layer._fragments._incomplete) <= 200
    huge = bytearray(fragments(b"\x16\xfe\xff" + bytes(8) + b"\0\0\1\0\x20\0" + bytes(6) + bytes(8192), 1000)[0])
    server.layer.datagramReceived(bytes(huge), ("192.0.2.3", 1))
    assert len(server.layer._fragments._incomplete) <= 200


@given(st.binary(max_size=80), st.integers(0, 80), st.integers(0, 255))
def test_anyFragments(data: bytes, place: int, byte: int) -> None:
    """
    Only a whole first message has an effect, whatever comes.
    """
    hello = HelloFragments()
    part = bytearray(b"\x16\xfe\xff" + bytes(8) + b"\0\x40" + b"\1\0\0\x34\0\0\0\0\0\0\0\x34" + bytes(52))
    part[place % len(part)] = byte
    for datagram in (data, b"\x16\xfe\xff\0\0" + data, bytes(part), bytes(part[: place + 1])):
        whole = hello.take(datagram, 1, 0.0)
        assert not whole or isClientHello(whole)
