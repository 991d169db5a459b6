"""
Tests for L{twisted_mqtt.net.proxyprotocol}: the layer that takes PROXY headers.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, ITransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kits.tls import Link, TLSTestCase, UpperFactory
from tests.kits.transport import RecorderFactory, Site
from tests.net.test_proxyheader import header2, tls, vector
from twisted_mqtt.base.timerwheel import TimerWheel
from twisted_mqtt.net.proxyprotocol import ProxyConnection, ProxyFactory

BALANCER = IPv4Address("TCP", "10.0.0.1", 40000)
HERE = IPv4Address("TCP", "10.0.0.2", 1883)
CLIENT = IPv4Address("TCP", "192.0.2.1", 50000)
SERVER = IPv4Address("TCP", "198.51.100.7", 8883)
HEADER = b"PROXY TCP4 192.0.2.1 198.51.100.7 50000 8883\r\n"


class LayerTests(SynchronousTestCase):
    """
    The layer between a transport of strings and a protocol that remembers.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.wheel = TimerWheel(self.clock)
        self.addCleanup(self.wheel.stop)
        self.uppers = UpperFactory()
        self.factory = ProxyFactory(self.uppers, "listener.tcp.test", 3.0, self.wheel, self.clock.seconds)
        self.transport = StringTransport(hostAddress=HERE, peerAddress=BALANCER)
        self.lower: ProxyConnection = self.factory.buildProtocol(BALANCER)
        self.lower.makeConnection(self.transport)

    def feed(self, data: bytes, step: int = 0) -> None:
        """
        Let bytes come, all at once or so many at a time.
        """
        for start in range(0, len(data), step or len(data)):
            self.lower.dataReceived(data[start : start + (step or len(data))])

    def addresses(self) -> tuple[object, ...]:
        """
        The events of the connection for the protocol above.
        """
        upper = self.uppers.made[-1]
        return upper.address, upper.transport.getPeer(), upper.transport.getHost()

    def test_interfaces(self) -> None:
        """
        The layer provides what it says.
        """
        verifyObject(IProtocolFactory, self.factory)
        verifyObject(IProtocol, self.lower)
        self.feed(HEADER)
        verifyObject(ITransport, self.uppers.made[0].transport)

    def test_addresses(self) -> None:
        """
        The protocol above sees the client's addresses, and what follows the header.
        """
        for header in (HEADER, header2()):
            for step in (0, 1, 7):
                self.setUp()
                self.feed(header + b"hello", step)
                self.assertEqual(self.addresses(), (CLIENT, CLIENT, SERVER))
                self.assertEqual(self.uppers.made[0].received, b"hello")

    def test_later(self) -> None:
        """
        The protocol above is made when the header is whole, not before, even if nothing follows.
        """
        self.feed(HEADER[:-1])
        self.assertEqual(self.uppers.made, [])
        self.feed(HEADER[-1:])
        self.assertEqual(len(self.uppers.made), 1)

    def test_version6(self) -> None:
        """
        Addresses of version 6 are such.
        """
        self.feed(header2(family=0x21))
        self.assertEqual(self.addresses()[0], IPv6Address("TCP", "2001:db8::1", 50000))

    def test_own(self) -> None:
        """
        For a connection of the balancer itself, and for unknown ones, its addresses hold.
        """
        for header in (header2(command=0x20), b"PROXY UNKNOWN\r\n"):
            self.setUp()
            self.feed(header)
            self.assertEqual(self.addresses(), (BALANCER, BALANCER, HERE))

    def test_name(self) -> None:
        """
        The name in the client's certificate is its identity; without one it has none.
        """
        self.feed(header2(values=tls(vector(0x22, b"device1"))))
        identity = self.uppers.made[0].transport.peerIdentity
        assert identity is not None
        self.assertEqual((identity.cn, identity.dn), ("device1", None))
        self.setUp()
        self.feed(HEADER)
        self.assertIsNone(self.uppers.made[0].transport.peerIdentity)

    def test_none(self) -> None:
        """
        A connection without a header is closed and counted; what it sends is not read.
        """
        self.feed(b"\x10\x0c\x00\x04MQTT" + HEADER, 1)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual((self.uppers.made, self.factory.failures), ([], 1))

    def test_timeout(self) -> None:
        """
        A header that does not come in time ends the connection; one that has come leaves it alone.
        """
        self.feed(HEADER[:10])
        other = StringTransport()
        done = self.factory.buildProtocol(BALANCER)
        done.makeConnection(other)
        done.dataReceived(HEADER)
        self.clock.pump([1.0] * 3)
        self.assertFalse(self.transport.disconnecting)
        self.clock.pump([1.0] * 2)
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(other.disconnecting)
        self.feed(HEADER[10:])
        self.assertEqual((len(self.uppers.made), self.factory.failures), (1, 1))

    def test_refused(self) -> None:
        """
        Where the factory above does not want the client, the connection is closed.
        """
        self.uppers.refuse = True
        self.feed(HEADER + b"hello")
        self.assertTrue(self.transport.disconnecting)

    def test_lost(self) -> None:
        """
        The protocol above is told of the end; before there is one, nobody is.
        """
        self.lower.connectionLost(Failure(ConnectionDone()))
        self.setUp()
        self.feed(HEADER)
        self.lower.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.uppers.made[0].lost, "ConnectionDone")

    def test_transport(self) -> None:
        """
        Everything but the addresses is the transport's below.
        """
        self.feed(HEADER)
        transport = self.uppers.made[0].transport
        transport.write(b"a")
        transport.writeSequence([b"b", b"c"])
        self.assertEqual(self.transport.value(), b"abc")
        transport.pauseProducing()
        self.assertEqual(self.transport.producerState, "paused")
        transport.loseConnection()
        self.assertTrue(self.transport.disconnecting)

    def test_startAndStop(self) -> None:
        """
        Starting and stopping reach the factory above.
        """
        self.factory.doStart()
        self.factory.doStop()
        self.assertEqual(self.uppers.events, ["start", "stop"])


class FastTests(SynchronousTestCase):
    """
    The layer on the fast transport, from which it takes itself away.
    """

    def test_stepsAside(self) -> None:
        """
        After the header the transport talks to the protocol above, which learns of the end once.
        """
        clock = Clock()
        recorders = RecorderFactory()
        factory = ProxyFactory(recorders, "listener.tcp.test", 3.0, TimerWheel(clock), clock.seconds)
        site = Site(factory=factory)
        self.addCleanup(site.close)
        client = site.dial()
        client.sendall(HEADER + b"first")
        site.until(lambda: recorders.built and recorders.built[0].received)
        recorder = recorders.built[0]
        self.assertIs(recorder.transport._lower.protocol, recorder)  # type: ignore[attr-defined] # a ProxiedTransport
        client.sendall(b"second")
        site.until(lambda: recorder.received == b"firstsecond")
        recorder.transport.write(b"answer")
        self.assertEqual(client.recv(100), b"answer")
        client.close()
        site.until(lambda: recorder.lost)
        self.assertEqual((recorder.lost, recorder.reason), (1, "ConnectionDone"))


class BelowTLSTests(TLSTestCase):
    """
    PROXY headers before a TLS handshake.
    """

    def test_both(self) -> None:
        """
        The client's address comes from the header; who it is from its own certificate, or else from the header.
        """
        device = self.authority.issue("device1")
        for issued, name in ((device, "device1"), (None, "device2")):
            tls_ = self.verifying(fail_if_no_peer_cert=False)
            factory = ProxyFactory(tls_, "listener.ssl.test", 3.0, self.wheel, self.clock.seconds)
            link = Link(factory, self.context(issued))
            link.server.dataReceived(header2(values=tls(vector(0x22, b"device2"))))
            link.pump()
            upper = self.uppers.made[-1]
            identity = upper.transport.peerIdentity
            assert identity is not None
            self.assertEqual((upper.address, upper.transport.getPeer(), identity.cn), (CLIENT, CLIENT, name))
