"""
Tests for L{twisted_mqtt.node.ports}: ports that an extension opens, with what their tables say, on real sockets.
"""

from __future__ import annotations

import socket
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from tests.kits.certificates import Authority
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.config.schema_ports import TCPPortSettings, TLSPortSettings, UDPPortSettings
from twisted_mqtt.config.values import AccessRule, Bind
from twisted_mqtt.interfaces import IListening, INode
from twisted_mqtt.net.tls.client import ClientContext
from twisted_mqtt.net.tls.options import TLSOptions, TLSProblem
from twisted_mqtt.node.service import BrokerService
from twisted_mqtt.stores.memory import MemoryStore

ANY = Bind("127.0.0.1", 0)
NOBODY = (AccessRule(False),)


class Greeter(Protocol):
    """
    An extension's protocol: says who the peer is, and says what it hears.
    """

    def connectionMade(self) -> None:
        transport: Any = self.transport
        identity = getattr(transport, "peerIdentity", None)
        transport.write(f"{transport.getPeer().host} {None if identity is None else identity.cn}\n".encode())

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data)


class Visitor(Protocol):
    """
    A client: what it has heard, and whether its connection is gone.
    """

    def __init__(self, says: bytes = b"") -> None:
        self._says = says
        self.heard: Deferred[bytes] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._says)

    def dataReceived(self, data: bytes) -> None:
        heard, self.heard = self.heard, Deferred()
        heard.callback(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.gone.callback(None)

    async def leave(self) -> None:
        """
        Close.
        """
        assert self.transport is not None
        self.transport.loseConnection()
        await self.gone


class Echo(DatagramProtocol):
    """
    The same for datagrams.
    """

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        assert self.transport is not None
        self.transport.write(datagram.upper(), addr)


class Asking(DatagramProtocol):
    """
    Sends one datagram.
    """

    def __init__(self) -> None:
        self.heard: Deferred[bytes] = Deferred()

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.heard.callback(datagram)


class PortsTestCase(TestCase):
    """
    A node that has not begun, whose ports work all the same.
    """

    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.node = BrokerService(settingsFrom({}), reactor, MemoryStore())
        self.addCleanup(lambda: Deferred.fromCoroutine(self.node.ports.closeAll()))
        self.addCleanup(self.node.broker.wheel.stop)

    def factory(self) -> IProtocolFactory:
        """
        Of the extension.
        """
        factory = Factory.forProtocol(Greeter)
        factory.noisy = False
        return factory

    async def visit(self, port: IListening, says: bytes = b"") -> Visitor:
        """
        Connect.
        """
        from twisted.internet import reactor

        return await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.address.port), Visitor(says))


class StreamTests(PortsTestCase):
    """
    Ports that take connections.
    """

    async def test_listen(self) -> None:
        """
        A port has a name, an address and counters, and is one of the node's.
        """
        verifyObject(INode, self.node)
        port = await self.node.listen(TCPPortSettings(bind=ANY), self.factory(), "greeter.tcp", path="greeter.listener")
        verifyObject(IListening, port)
        self.assertIs(self.node.ports["greeter.tcp"], port)
        self.assertEqual((port.protocol, port.kind, port.path), ("greeter", "tcp", "greeter.listener"))
        self.assertEqual(port.address.host, "127.0.0.1")
        self.assertGreater(port.address.port, 0)
        visitor = await self.visit(port)
        self.assertEqual(await visitor.heard, b"127.0.0.1 None\n")
        self.assertEqual((port.connections, port.figures()["accepted"]), (1, 1))
        await visitor.leave()

    async def test_access(self) -> None:
        """
        Whom the rules do not allow is not let in, and counted.
        """
        port = await self.node.listen(TCPPortSettings(bind=ANY, access=NOBODY), self.factory(), "greeter")
        await (await self.visit(port)).gone
        self.assertEqual(port.figures()["refused_access"], 1)

    async def test_full(self) -> None:
        """
        One connection more than C{max_connections} is closed, and counted.
        """
        port = await self.node.listen(TCPPortSettings(bind=ANY, max_connections=1), self.factory(), "greeter")
        first = await self.visit(port)
        await first.heard
        await (await self.visit(port)).gone
        self.assertEqual((port.connections, port.figures()["refused_full"]), (1, 1))
        await first.leave()

    async def test_proxy(self) -> None:
        """
        Behind a balancer the client has the address that the PROXY header tells; access rules go by that.
        """
        rules = (AccessRule(False, ip_network("192.0.2.7")), AccessRule(True))
        port = await self.node.listen(
            TCPPortSettings(bind=ANY, proxy_protocol=True, access=rules), self.factory(), "greeter"
        )
        visitor = await self.visit(port, b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n")
        self.assertEqual(await visitor.heard, b"192.0.2.1 None\n")
        await visitor.leave()
        await (await self.visit(port, b"PROXY TCP4 192.0.2.7 192.0.2.2 1000 2000\r\n")).gone
        await (await self.visit(port, b"GET / HTTP/1.1\r\n")).gone
        figures = port.figures()
        self.assertEqual((figures["refused_access"], figures["refused_proxy"]), (1, 1))

    async def test_stop(self) -> None:
        """
        A stopped port takes nobody, keeps its connections, its name and its figures, and can be started again.
        """
        port = await self.node.listen(TCPPortSettings(bind=ANY), self.factory(), "greeter")
        where = port.address
        visitor = await self.visit(port)
        await visitor.heard
        await port.stop()
        await port.stop()
        self.assertEqual((port.isOpen, port.address, port.connections), (False, ANY, 1))
        self.assertIs(self.node.ports["greeter"], port)
        from twisted.internet import reactor

        with self.assertRaises(ConnectionRefusedError):
            await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", where.port), Visitor())
        assert visitor.transport is not None
        visitor.transport.write(b"still here")
        self.assertEqual(await visitor.heard, b"still here")
        await port.start()
        await port.start()
        another = await self.visit(port)
        await another.heard
        self.assertEqual((port.connections, port.figures()["accepted"]), (2, 2))
        await visitor.leave()
        await another.leave()

    async def test_close(self) -> None:
        """
        A port that is closed is forgotten, and its name and address are free again.
        """
        port = await self.node.listen(TCPPortSettings(bind=ANY), self.factory(), "greeter")
        where = port.address
        with self.assertRaisesRegex(ValueError, "there is a port greeter already"):
            await self.node.listen(TCPPortSettings(bind=ANY), self.factory(), "greeter")
        with self.assertRaises(CannotListenError):
            await self.node.listen(TCPPortSettings(bind=where), self.factory(), "another")
        self.assertNotIn("another", self.node.ports)
        await port.close()
        self.assertNotIn("greeter", self.node.ports)
        again = await self.node.listen(TCPPortSettings(bind=where), self.factory(), "greeter")
        await port.close()
        self.assertIs(self.node.ports["greeter"], again)

    async def test_nowhere(self) -> None:
        """
        A table that does not say where to listen is a mistake of the extension.
        """
        with self.assertRaisesRegex(ValueError, "greeter.listener: nothing says where"):
            await self.node.listen(TCPPortSettings(), self.factory(), "greeter", path="greeter.listener")

    async def test_secure(self) -> None:
        """
        A table with the keys of TLS makes a port with TLS; its certificate is read again on request, and what can't be
        used does not replace what can.
        """
        from twisted.internet import reactor

        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        authority = Authority(folder)
        own, device = authority.issue("server"), authority.issue("device1")
        settings = TLSPortSettings(
            bind=ANY,
            certfile=own.certfile,
            keyfile=own.keyfile,
            cacertfile=authority.cafile,
            verify="verify_peer",
        )
        port = await self.node.listen(settings, self.factory(), "greeter")
        self.assertEqual(port.kind, "ssl")
        options = TLSOptions("client", certfile=device.certfile, keyfile=device.keyfile, cacertfile=authority.cafile)

        async def greeted(host: str) -> bytes:
            endpoint = HostnameEndpoint(reactor, "127.0.0.1", port.address.port)
            visitor = await connectProtocol(ClientContext(options).wrap(endpoint, host), Visitor())
            greeting = await visitor.heard
            await visitor.leave()
            return greeting

        self.assertEqual(await greeted("localhost"), b"127.0.0.1 device1\n")
        authority.issue("server", hosts=("renewed.example",))
        self.assertTrue(port.reloadCertificates())
        self.assertEqual(await greeted("renewed.example"), b"127.0.0.1 device1\n")
        Path(own.certfile).write_text("nothing")
        self.assertFalse(port.reloadCertificates())
        self.assertEqual(await greeted("renewed.example"), b"127.0.0.1 device1\n")
        self.assertEqual(self.node.ports.reloadCertificates(), {"greeter": False})
        plain = await self.node.listen(TCPPortSettings(bind=ANY), self.factory(), "plain")
        self.assertIsNone(plain.reloadCertificates())

    async def test_cannotBeSecure(self) -> None:
        """
        Without the files no port is opened, and the key is named.
        """
        settings = TLSPortSettings(bind=ANY, certfile="/nonexistent")
        with self.assertRaisesRegex(TLSProblem, "greeter.ssl.certfile"):
            await self.node.listen(settings, self.factory(), "greeter", path="greeter.ssl")
        self.assertNotIn("greeter", self.node.ports)

    async def test_leftOpen(self) -> None:
        """
        A port that an extension has left open is closed at the end.
        """
        port = await self.node.listen(TCPPortSettings(bind=ANY), self.factory(), "greeter")
        await self.node.ports.closeAll()
        self.assertFalse(port.isOpen)
        self.assertNotIn("greeter", self.node.ports)


class DatagramTests(PortsTestCase):
    """
    Ports that take datagrams.
    """

    async def ask(self, port: IListening) -> bytes:
        """
        Send a datagram; the answer.
        """
        from twisted.internet import reactor

        asking = Asking()
        own: Any = reactor
        opened = own.listenUDP(0, asking, "127.0.0.1")
        opened.write(b"hello", ("127.0.0.1", port.address.port))
        answer = await asking.heard
        await opened.stopListening()
        return answer

    async def test_listen(self) -> None:
        """
        Datagrams come to the protocol, and are counted; a stopped port can be started again.
        """
        port = await self.node.listenDatagrams(UDPPortSettings(bind=ANY), Echo(), "greeter.udp", count=lambda: 7)
        verifyObject(IListening, port)
        self.assertIs(self.node.ports["greeter.udp"], port)
        self.assertEqual((port.protocol, port.kind, port.connections), ("greeter", "udp", 7))
        self.assertEqual(await self.ask(port), b"HELLO")
        await port.stop()
        self.assertFalse(port.isOpen)
        await port.start()
        self.assertEqual(await self.ask(port), b"HELLO")
        self.assertEqual(port.figures()["received"], 2)
        self.assertIsNone(port.reloadCertificates())
        await port.close()
        self.assertNotIn("greeter.udp", self.node.ports)

    async def test_access(self) -> None:
        """
        A datagram from an address that is not allowed is dropped, and counted.
        """
        rules = (AccessRule(False, ip_network("127.0.0.2")), AccessRule(True))
        port = await self.node.listenDatagrams(UDPPortSettings(bind=ANY, access=rules), Echo(), "greeter")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.2", 0))
            stranger.sendto(b"hello", ("127.0.0.1", port.address.port))
        self.assertEqual(await self.ask(port), b"HELLO")
        figures = port.figures()
        self.assertEqual((figures["received"], figures["refused_access"]), (2, 1))

    async def test_taken(self) -> None:
        """
        An address that is taken is a problem of the caller's, and nothing is left of the port.
        """
        port = await self.node.listenDatagrams(UDPPortSettings(bind=ANY), Echo(), "one")
        with self.assertRaises(CannotListenError):
            await self.node.listenDatagrams(UDPPortSettings(bind=port.address), Echo(), "other")
        self.assertEqual([name for name in self.node.ports if name == "other"], [])


class ListenerTests(SynchronousTestCase):
    """
    MQTT's listeners among the others.
    """

    def test_listed(self) -> None:
        """
        They are listed by name, can be stopped and started again, and closed.
        """
        node = BrokerService(
            settingsFrom({"listener": {"tcp": {"one": {"bind": "127.0.0.1:0"}}}}), MemoryReactorClock(), MemoryStore()
        )
        self.successResultOf(node.listeners.open())
        self.assertEqual(list(node.ports), ["tcp.one"])
        port = node.ports["tcp.one"]
        verifyObject(IListening, port)
        self.assertEqual((port.protocol, port.kind, port.path, port.isOpen), ("mqtt", "tcp", "listener.tcp.one", True))
        self.successResultOf(port.stop())
        self.assertFalse(port.isOpen)
        self.successResultOf(port.start())
        self.assertTrue(port.isOpen)
        self.successResultOf(port.close())
        self.assertEqual(dict(node.ports), {})
        self.successResultOf(node.listeners.stopService())
