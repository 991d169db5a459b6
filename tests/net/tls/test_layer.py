"""
Tests for L{twisted_mqtt.net.tls.layer}: bytes, the handshake, and the end of a connection.
"""

from __future__ import annotations

import select
import shutil
import ssl
import subprocess
from typing import Any

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IProtocolFactory, ITransport
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kits.tls import PEER, Link, TLSTestCase
from tests.kits.transport import PATIENCE, Site
from twisted_mqtt.net.tls.opensslprivate import HAVE_DIRECT, DirectRecords, PlainRecords, verificationError

BIG = bytes(range(256)) * 4096


class FakeProducer:
    """
    Writes down what it is told.
    """

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class BytesTests(TLSTestCase):
    """
    Bytes that are written at one end are read at the other.
    """

    records: type[PlainRecords] = DirectRecords

    def setUp(self) -> None:
        super().setUp()
        self.tls = self.factory()
        self.tls.records = self.records

    def test_interfaces(self) -> None:
        """
        The layer provides what it says.
        """
        verifyObject(IProtocolFactory, self.tls)
        link = self.connect(self.tls)
        verifyObject(IProtocol, link.server)
        verifyObject(ITransport, link.server)

    def test_bothVersions(self) -> None:
        """
        TLS 1.2 and 1.3 carry bytes in both directions.
        """
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.context()
            context.maximum_version = version
            link = self.connect(self.tls, context)
            link.write(b"from the client")
            link.pump()
            upper = self.uppers.made[-1]
            upper.transport.write(b"from the server")
            link.pump()
            self.assertEqual((upper.received, link.received), (b"from the client", b"from the server"))

    def test_byteByByte(self) -> None:
        """
        However the bytes are cut, the same comes out.
        """
        link = Link(self.tls, self.context()).pump(1)
        link.write(b"x" * 100)
        link.pump(1)
        self.assertEqual(self.uppers.made[0].received, b"x" * 100)

    def test_large(self) -> None:
        """
        Data of many records arrives whole, in both directions, whether in one piece or in several.
        """
        link = self.connect(self.tls)
        upper = self.uppers.made[0]
        upper.transport.writeSequence([BIG[:5], BIG[5:]])
        link.pump()
        self.assertEqual(link.received, BIG)
        link.write(BIG)
        link.pump()
        self.assertEqual(upper.received, BIG)

    def test_together(self) -> None:
        """
        Bytes that a client sends together with the end of the handshake are read.
        """
        link = Link(self.tls, self.context())
        try:
            link.client.do_handshake()
        except ssl.SSLWantReadError:
            link.server.dataReceived(link._fromClient.read())
        link._toClient.write(link.transport.value())
        link.client.do_handshake()
        link.write(b"at once")
        link.server.dataReceived(link._fromClient.read())
        self.assertEqual(self.uppers.made[0].received, b"at once")

    def test_nothing(self) -> None:
        """
        Writing nothing sends nothing.
        """
        link = self.connect(self.tls)
        self.uppers.made[0].transport.write(b"")
        self.assertEqual(link.transport.value(), b"")

    def test_garbage(self) -> None:
        """
        Bytes that are no TLS end the connection, and are the reason for its end; the bytes before them were read.
        """
        link = self.connect(self.tls)
        link.write(b"good")
        link.pump()
        link.server.dataReceived(b"\x17\x03\x03\x00\x20" + bytes(32))
        self.assertTrue(link.transport.disconnecting)
        upper = self.uppers.made[0]
        upper.transport.write(b"nobody is there")
        link.server.dataReceived(b"more")
        link.server.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((upper.received, upper.lost), (b"good", "Error"))


class PlainBytesTests(BytesTests):
    """
    The same by pyOpenSSL's public interface.
    """

    records = PlainRecords


class DirectTests(SynchronousTestCase):
    """
    Tests for what L{twisted_mqtt.net.tls.opensslprivate} finds.
    """

    def test_direct(self) -> None:
        """
        The pyOpenSSL that is installed has all that the faster way needs. If this fails, TLS works, and slower.
        """
        self.assertTrue(HAVE_DIRECT)

    def test_words(self) -> None:
        """
        OpenSSL's words for a certificate that is refused are found.
        """
        self.assertEqual(verificationError(10), "certificate has expired")


class HandshakeTests(TLSTestCase):
    """
    The handshake, and what becomes of connections without a good one.
    """

    def setUp(self) -> None:
        super().setUp()
        self.logged: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: dict[str, object]) -> None:
        """
        Write down the failures that are logged.
        """
        if "handshake" in str(event["log_format"]):
            self.logged.append(str(event.get("reason")))

    def test_afterwards(self) -> None:
        """
        The protocol above is made when the handshake is done, and is told of the address.
        """
        factory = self.factory()
        link = Link(factory, self.context())
        self.assertEqual(self.uppers.made, [])
        link.pump()
        self.assertEqual([upper.address for upper in self.uppers.made], [PEER])
        self.assertEqual(self.uppers.made[0].transport.getPeer(), PEER)

    def test_refused(self) -> None:
        """
        Where the factory above wants no connection, it is closed.
        """
        self.uppers.refuse = True
        link = self.connect(self.factory())
        self.assertTrue(link.transport.disconnecting)
        self.assertTrue(link.ended)

    def test_plain(self) -> None:
        """
        A client that speaks MQTT without TLS is closed, counted, and named in the log.
        """
        factory = self.factory()
        link = Link(factory, self.context())
        link.server.dataReceived(bytes.fromhex("100c00044d5154540402003c0000"))
        self.assertTrue(link.transport.disconnecting)
        self.assertEqual((factory.failures, self.uppers.made), (1, []))
        self.assertEqual(len(self.logged), 1)

    def test_sparingly(self) -> None:
        """
        Many failures of one second make one line.
        """
        factory = self.factory()
        for _ in range(10):
            Link(factory, self.context()).server.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(len(self.logged), 1)
        self.clock.advance(1.0)
        Link(factory, self.context()).server.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual((len(self.logged), factory.failures), (2, 11))

    def test_timeout(self) -> None:
        """
        A handshake that is not done in time is aborted; one that is done is not.
        """
        factory = self.factory(handshake_timeout=5.0)
        done = self.connect(factory)
        link = Link(factory, self.context())
        link.server.dataReceived(b"\x16\x03")
        self.clock.pump([1.0] * 4)
        self.assertFalse(link.transport.disconnecting)
        self.clock.pump([1.0] * 3)
        self.assertTrue(link.transport.disconnecting)
        self.assertFalse(done.transport.disconnecting)
        self.assertEqual(self.logged, ["it took too long"])

    def test_goneBefore(self) -> None:
        """
        A client that goes in the middle of a handshake leaves nothing behind.
        """
        link = Link(self.factory(), self.context())
        link.server.dataReceived(b"\x16\x03")
        link.server.connectionLost(Failure(ConnectionLost()))
        self.clock.pump([1.0] * 20)
        self.assertEqual((self.uppers.made, self.logged), ([], []))


class RenegotiationTests(TLSTestCase):
    """
    C{secure_renegotiate}.
    """

    def renegotiate(self, allowed: bool) -> tuple[bool, bytes]:
        """
        Have a client of TLS 1.2 ask for another handshake in the middle of a connection, then say something.

        @return: whether it got it, and what was read of it.
        """
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = SSL.Connection(context, None)
        client.set_connect_state()
        server = self.factory(secure_renegotiate=allowed).buildProtocol(PEER)
        transport = StringTransport(peerAddress=PEER)
        server.makeConnection(transport)

        def shake() -> bool:
            for _ in range(10):
                try:
                    client.do_handshake()
                    shaken = True
                except SSL.WantReadError:
                    shaken = False
                except SSL.Error:
                    return False
                try:
                    server.dataReceived(client.bio_read(65536))
                except SSL.WantReadError:
                    pass
                if transport.value():
                    client.bio_write(transport.value())
                    transport.clear()
                elif shaken:
                    return True
            return False

        self.assertTrue(shake())
        client.renegotiate()
        done = shake() and client.total_renegotiations() == 1
        if done:
            client.send(b"after it")
            server.dataReceived(client.bio_read(65536))
        return done, self.uppers.made[-1].received

    def test_allowed(self) -> None:
        """
        Where it is allowed, a client may, and the connection goes on.
        """
        self.assertEqual(self.renegotiate(True), (True, b"after it"))

    def test_notAllowed(self) -> None:
        """
        Otherwise it may not: handshakes cost the server more than the client.
        """
        self.assertEqual(self.renegotiate(False), (False, b""))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
class NewKeysTests(TLSTestCase):
    """
    New keys in the middle of a connection, which TLS 1.3 has instead of renegotiation.
    """

    def test_asked(self) -> None:
        """
        A client that asks for new keys gets them with what is written next, and both sides go on.
        """
        site = Site(factory=self.factory())
        self.addCleanup(site.close)
        port: Any = site.port.getHost()
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port.port}", "-tls1_3", "-msg"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, **pipes) as client:
            self.addCleanup(client.kill)
            site.until(lambda: self.uppers.made)
            upper = self.uppers.made[0]
            # A command stands at the beginning of what is read at once, so that it has to be there before the rest is.
            site.settle()
            self.say(client, b"K\n")
            self.assertTrue(select.select([site.poller], [], [], PATIENCE)[0])
            site.settle()
            self.say(client, b"hello\n")
            site.until(lambda: upper.received)
            upper.transport.write(b"answer\n")
            upper.transport.loseConnection()
            site.until(lambda: client.poll() is not None)
            output, _ = client.communicate(timeout=PATIENCE)
        self.assertEqual(upper.received, b"hello\n")
        self.assertIn(b"answer\n", output)
        updates = [line for line in output.splitlines() if b"KeyUpdate" in line]
        self.assertEqual([line[:3] for line in updates], [b">>>", b"<<<"], output)

    def say(self, client: subprocess.Popen[bytes], line: bytes) -> None:
        """
        Write a line to a program.
        """
        assert client.stdin is not None
        client.stdin.write(line)
        client.stdin.flush()


class EndTests(TLSTestCase):
    """
    The end of a connection.
    """

    def setUp(self) -> None:
        super().setUp()
        self.link = self.connect(self.factory())
        self.upper = self.uppers.made[0]

    def test_loseConnection(self) -> None:
        """
        Bytes that were written arrive, then TLS's good-bye; bytes that are written later do not.
        """
        self.upper.transport.write(b"last")
        self.upper.transport.loseConnection()
        self.upper.transport.write(b"late")
        self.upper.transport.loseConnection()
        self.link.pump()
        self.assertEqual((self.link.received, self.link.ended), (b"last", True))
        self.assertTrue(self.link.transport.disconnecting)
        self.assertTrue(self.upper.transport.disconnecting)

    def test_producer(self) -> None:
        """
        A producer is the transport's below, and closing waits for it.
        """
        producer = FakeProducer()
        self.upper.transport.registerProducer(producer, True)
        self.assertIs(self.link.transport.producer, producer)
        self.upper.transport.loseConnection()
        self.assertFalse(self.link.transport.disconnecting)
        self.upper.transport.write(b"still")
        self.upper.transport.unregisterProducer()
        self.assertTrue(self.link.transport.disconnecting)
        self.link.pump()
        self.assertEqual((self.link.received, self.link.ended), (b"still", True))

    def test_abort(self) -> None:
        """
        Aborting is for the transport below, without a good-bye.
        """
        self.upper.transport.abortConnection()
        self.assertTrue(self.link.transport.disconnecting)
        self.link.pump()
        self.assertFalse(self.link.ended)

    def test_peerEnds(self) -> None:
        """
        Where the peer says good-bye, the connection is closed; what came before was read.
        """
        self.link.write(b"last")
        try:
            self.link.client.unwrap()
        except ssl.SSLWantReadError:
            self.link.server.dataReceived(self.link._fromClient.read())
        self.assertEqual(self.upper.received, b"last")
        self.assertTrue(self.link.transport.disconnecting)

    def test_reason(self) -> None:
        """
        The protocol above is told once, with the transport's reason.
        """
        self.link.server.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.upper.lost, "ConnectionLost")
        self.upper.transport.write(b"nobody")
        self.upper.transport.loseConnection()

    def test_reading(self) -> None:
        """
        Pausing and resuming reach the transport below.
        """
        self.upper.transport.pauseProducing()
        self.assertEqual(self.link.transport.producerState, "paused")
        self.upper.transport.resumeProducing()
        self.assertEqual(self.link.transport.producerState, "producing")


class EagerProducer(FakeProducer):
    """
    Writes whenever it may, up to a size.
    """

    def __init__(self, transport: ITransport, piece: bytes, size: int) -> None:
        super().__init__()
        self.written = 0
        self._transport = transport
        self._piece = piece
        self._size = size
        self._paused = False

    @property
    def paused(self) -> bool:
        """
        Whether it waits.
        """
        return self._paused

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self._paused = True

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._paused = False
        self.produce()

    def produce(self) -> None:
        """
        Write.
        """
        while not self._paused and self.written < self._size:
            self._transport.write(self._piece)
            self.written += len(self._piece)


class BackPressureTests(TLSTestCase):
    """
    A peer that does not read, on a real socket.
    """

    def test_bounded(self) -> None:
        """
        Somebody who writes as long as it may is paused, and goes on when the peer reads; nothing is lost.
        """
        site = Site(highWater=65536, factory=self.factory())
        self.addCleanup(site.close)
        plain = site.dial(receiveBuffer=16384)
        plain.setblocking(False)
        client = self.context().wrap_socket(plain, server_hostname="localhost", do_handshake_on_connect=False)
        self.addCleanup(client.close)

        def shaken() -> bool:
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                return False
            return bool(self.uppers.made)

        site.until(shaken)
        size, piece = 4 * len(BIG), BIG[:8192]
        transport = self.uppers.made[0].transport
        producer = EagerProducer(transport, piece, size)
        transport.registerProducer(producer, True)
        producer.produce()
        site.settle()
        self.assertTrue(producer.paused)
        # The kernel's buffers, the pending bytes, and one piece.
        self.assertLess(producer.written, size // 2)
        received = bytearray()

        def read() -> bool:
            try:
                while True:
                    received.extend(client.recv(65536))
            except ssl.SSLWantReadError:
                return len(received) >= size

        site.until(read)
        self.assertEqual(bytes(received), piece * (size // len(piece)))
        self.assertIn("resume", producer.told)
