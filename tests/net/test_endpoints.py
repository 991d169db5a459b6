"""
Tests for L{twisted_mqtt.net.endpoints}: the fast transport below real reactors, and below TLS.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from datetime import datetime, timedelta
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXServerEndpoint, clientFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.kits.transport import BIG, Recorder, RecorderFactory, SiteTestCase
from twisted_mqtt.net.endpoints import FastServerEndpoint, canBeFast, pollerOf, tcpEndpoint, unixEndpoint
from twisted_mqtt.net.port import FastPort
from twisted_mqtt.net.sockets import TCPSocket


class QuietFactory(Factory):
    """
    Does not log.
    """

    noisy = False


class EndpointTests(TestCase):
    """
    Tests below whichever reactor runs the tests.
    """

    def test_interface(self) -> None:
        """
        It provides what it says, and each reactor has one poller.
        """
        endpoint = tcpEndpoint(reactor, 0, "127.0.0.1")
        self.assertIsInstance(endpoint, FastServerEndpoint)
        self.assertTrue(verifyObject(IStreamServerEndpoint, endpoint))
        self.assertIs(pollerOf(reactor), pollerOf(reactor))

    @inlineCallbacks
    def test_both(self):
        """
        A client of Twisted's own talks to it over TCP and over a UNIX socket; both leave the reactor clean.
        """
        path = self.mktemp()
        for endpoint in (tcpEndpoint(reactor, 0, "127.0.0.1"), unixEndpoint(reactor, path)):
            made, answered, left, lost = Deferred(), Deferred(), Deferred(), Deferred()
            factory = RecorderFactory()
            factory.prepare = made.callback
            port = yield endpoint.listen(factory)
            self.assertIsInstance(port, FastPort)
            host = port.getHost()
            where = f"unix:{path}" if hasattr(host, "name") else f"tcp:127.0.0.1:{host.port}"
            client = yield clientFromString(reactor, where).connect(QuietFactory.forProtocol(Recorder))
            client.onData = answered.callback
            client.onLost = lambda lost=lost: lost.callback(None)
            server = yield made
            server.onData = lambda data, server=server: server.transport.write(data)
            server.onLost = lambda left=left: left.callback(None)
            client.transport.write(b"echo")
            self.assertEqual((yield answered), b"echo")
            server.transport.loseConnection()
            yield left
            yield lost
            yield port.stopListening()

    def test_taken(self) -> None:
        """
        An obstacle to listening fails the Deferred.
        """
        port = self.successResultOf(tcpEndpoint(reactor, 0, "127.0.0.1").listen(QuietFactory.forProtocol(Protocol)))
        again = tcpEndpoint(reactor, port.getHost().port, "127.0.0.1").listen(QuietFactory.forProtocol(Protocol))
        self.failureResultOf(again, CannotListenError)
        port.stopListening()


class FallbackTests(SynchronousTestCase):
    """
    Where there can be no poller, Twisted's own transport serves.
    """

    def test_fallback(self) -> None:
        """
        A reactor that cannot poll descriptors gets Twisted's endpoints.
        """
        other = Clock()
        self.assertFalse(canBeFast(other))
        self.assertIs(type(tcpEndpoint(other, 0)), TCP4ServerEndpoint)
        self.assertIs(type(tcpEndpoint(other, 0, "::1")), TCP6ServerEndpoint)
        self.assertIs(type(unixEndpoint(other, "path")), UNIXServerEndpoint)


@implementer(IOpenSSLServerConnectionCreator)
class SelfSigned:
    """
    Serves with a certificate for C{localhost} that nobody but itself has signed.
    """

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.now()
        certificate = x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now - timedelta(days=2), now + timedelta(days=2)
        ).sign(key, hashes.SHA256())
        self.context = SSL.Context(SSL.TLS_METHOD)
        self.context.use_certificate(certificate)
        self.context.use_privatekey(key)

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        """
        See L{IOpenSSLServerConnectionCreator}.
        """
        return SSL.Connection(self.context, None)


class TLSTests(SiteTestCase):
    """
    Twisted's TLS on top.
    """

    def setUp(self) -> None:
        super().setUp()
        secure = TLSMemoryBIOFactory(SelfSigned(), False, self.site.factory, self.site.reactor)
        self.site.port = FastPort(self.site.poller, TCPSocket(0, "127.0.0.1"), secure, self.site.options)
        self.site.port.startListening()
        plain = self.site.dial()
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.client = context.wrap_socket(plain, do_handshake_on_connect=False)
        self.site.sockets.append(self.client)
        self.client.setblocking(False)
        self.patiently(self.client.do_handshake)
        self.recorder = self.site.factory.built[0]

    def patiently(self, act):
        """
        Turn the site until TLS has what it needs for something.
        """
        result = []

        def tried() -> bool:
            try:
                result.append(act())
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            return True

        self.site.until(tried)
        return result[0]

    def test_bothWays(self) -> None:
        """
        After a real handshake, much goes both ways.
        """
        self.assertEqual(self.client.version(), "TLSv1.3")
        self.assertEqual(self.recorder.transport.getPeer().port, self.client.getsockname()[1])
        self.recorder.onData = self.recorder.transport.write
        chunks = [BIG[start : start + 16384] for start in range(0, len(BIG), 16384)]
        for chunk in chunks:
            self.assertEqual(self.patiently(partial(self.client.send, chunk)), len(chunk))
            received = b""
            while len(received) < len(chunk):
                received += self.patiently(lambda: self.client.recv(16384))
            self.assertEqual(received, chunk)

    def test_close(self) -> None:
        """
        An orderly end of TLS is one of the connection.
        """
        self.recorder.transport.write(b"bye")
        self.recorder.transport.loseConnection()
        self.assertEqual(self.patiently(lambda: self.client.recv(100)), b"bye")
        self.assertEqual(self.patiently(lambda: self.client.recv(100)), b"")
        self.patiently(self.client.unwrap).close()
        self.site.until(lambda: self.recorder.lost)
        self.assertEqual(self.recorder.reason, "ConnectionDone")

    def test_producer(self) -> None:
        """
        A producer above TLS is paused when the peer does not read, and resumed when it does.
        """
        told: list[str] = []

        class Source:
            def pauseProducing(self) -> None:
                told.append("pause")

            def resumeProducing(self) -> None:
                told.append("resume")

            def stopProducing(self) -> None:
                told.append("stop")

        self.recorder.transport.registerProducer(Source(), True)
        for _ in range(100):
            self.recorder.transport.write(BIG)
            self.site.turn()
            if told[-1:] == ["pause"]:
                break
        self.assertEqual(told[-1:], ["pause"])
        while told[-1] == "pause":
            self.patiently(lambda: self.client.recv(65536))
        self.assertEqual(told[-1], "resume")

    def test_abort(self) -> None:
        """
        The peer of one who aborts gets RST.
        """
        self.recorder.transport.abortConnection()
        self.site.until(lambda: self.recorder.lost)
        self.assertEqual(self.recorder.lost, 1)
        below = socket.socket(fileno=self.client.detach())
        self.site.sockets.append(below)
        with self.assertRaises(ConnectionResetError):
            # TLS says its own good-bye first.
            while below.recv(65536):
                pass


BELOW = """
import sys
from twisted.internet import {module}
{module}.install()
from twisted.internet import protocol, reactor
from twisted.internet.endpoints import clientFromString
from twisted_mqtt.net.endpoints import tcpEndpoint

class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

class Client(protocol.Protocol):
    received = b""
    def connectionMade(self):
        self.transport.write(b"x" * 300000)
    def dataReceived(self, data):
        self.received += data
        if len(self.received) == 300000:
            self.transport.loseConnection()
    def connectionLost(self, reason):
        print(type(reactor).__name__, len(self.received))
        reactor.stop()

def listening(port):
    where = "tcp:127.0.0.1:%d" % port.getHost().port
    return clientFromString(reactor, where).connect(protocol.Factory.forProtocol(Client))

reactor.callLater(30, reactor.stop)
tcpEndpoint(reactor, 0, "127.0.0.1").listen(protocol.Factory.forProtocol(Echo)).addCallback(listening)
reactor.run()
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("epollreactor", "EPollReactor"),
        ("pollreactor", "PollReactor"),
        ("selectreactor", "SelectReactor"),
        ("asyncioreactor", "AsyncioSelectorReactor"),
    ],
)
def test_everyReactor(module: str, name: str) -> None:
    """
    The poller works below each of Twisted's reactors, which needs a process of its own.
    """
    done = subprocess.run(
        [sys.executable, "-c", BELOW.format(module=module)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == f"{name} 300000\n", done.stderr
