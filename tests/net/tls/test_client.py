"""
Tests for L{twisted_mqtt.net.tls.client}: connections to a server of Twisted's own, which knows nothing of ours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    SSL4ServerEndpoint,
    TCP4ServerEndpoint,
    connectProtocol,
    wrapClientTLS,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.kits.certificates import Authority, Issued
from twisted_mqtt.base.timerwheel import TimerWheel
from twisted_mqtt.net.tls.client import ClientContext
from twisted_mqtt.net.tls.layer import TLSFactory
from twisted_mqtt.net.tls.options import TLSOptions, TLSProblem
from twisted_mqtt.net.tls.psk import PreSharedKeys


class Greeting(Protocol):
    """
    The server: says by which certificate it knows the client, which server was asked for, and what ALPN has agreed on.
    """

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        connection = transport.getHandle()
        certificate = connection.get_peer_certificate(as_cryptography=True)
        who = None if certificate is None else certificate.subject.rfc4514_string()
        transport.write(f"{who} {connection.get_servername()} {connection.get_alpn_proto_negotiated()}".encode())


class ServerSide(ssl.ContextFactory):  # type: ignore[misc]  # Twisted's is not typed
    """
    The TLS of that server.
    """

    def __init__(self, issued: Issued, cafile: str | None) -> None:
        self._context = context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.use_certificate_chain_file(issued.certfile)
        context.use_privatekey_file(issued.keyfile)
        if cafile is not None:
            context.load_verify_locations(cafile)
            context.set_verify(SSL.VERIFY_PEER, lambda connection, certificate, error, depth, good: bool(good))
            context.set_alpn_select_callback(lambda connection, offered: b"mqtt")

    def getContext(self) -> SSL.Context:
        return self._context


class Asking(Protocol):
    """
    The client.
    """

    def __init__(self) -> None:
        self.answered: Deferred[bytes] = Deferred()
        self.ended: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"?")

    def dataReceived(self, data: bytes) -> None:
        self.answered.callback(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        assert reason is not None
        if not self.answered.called:
            self.answered.errback(reason)
        self.ended.callback(None)


class ClientTests(TestCase):
    """
    Trusted servers, and others.
    """

    timeout = 30

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.authority = Authority(self.folder)

    async def serve(self, issued: Issued, cafile: str | None = None) -> int:
        """
        Have a server with this certificate.

        @param cafile: the authorities of clients; L{None} for a server that does not ask them.

        @return: its port.
        """
        from twisted.internet import reactor

        factory = Factory.forProtocol(Greeting)
        factory.noisy = False
        endpoint = SSL4ServerEndpoint(reactor, 0, ServerSide(issued, cafile), interface="127.0.0.1")
        port: Any = await endpoint.listen(factory)
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def ask(self, port: int, options: TLSOptions, host: str = "localhost") -> bytes:
        """
        Connect, and ask.
        """
        from twisted.internet import reactor

        asking = Asking()
        endpoint = ClientContext(options).wrap(HostnameEndpoint(reactor, "127.0.0.1", port), host)
        await connectProtocol(endpoint, asking)
        answer = await asking.answered
        assert asking.transport is not None
        asking.transport.loseConnection()
        await asking.ended
        return answer

    async def refused(self, port: int, options: TLSOptions, host: str = "localhost") -> str:
        """
        See that the server was not trusted, and nothing was sent to it.

        @return: why.
        """
        from twisted.internet import reactor

        asking = Asking()
        creator = ClientContext(options).to(host)
        await connectProtocol(wrapClientTLS(creator, HostnameEndpoint(reactor, "127.0.0.1", port)), asking)
        try:
            await asking.answered
        except SSL.Error:
            await asking.ended
            return creator.lastError
        raise AssertionError("the server was trusted")

    async def test_rightName(self) -> None:
        """
        A server of the authority with the right name is trusted; it is told the name.
        """
        port = await self.serve(self.authority.issue("server"))
        options = TLSOptions("test", cacertfile=self.authority.cafile)
        self.assertEqual(await self.ask(port, options), b"None b'localhost' b''")

    async def test_address(self) -> None:
        """
        An address is looked for among the addresses of the certificate, and not told as a name.
        """
        port = await self.serve(self.authority.issue("server"))
        options = TLSOptions("test", cacertfile=self.authority.cafile)
        self.assertEqual(await self.ask(port, options, "127.0.0.1"), b"None None b''")
        self.assertEqual(await self.refused(port, options, "127.0.0.2"), "the certificate is not of 127.0.0.2")

    async def test_wrongName(self) -> None:
        """
        A good certificate of another host is not enough, unless the options say so.
        """
        port = await self.serve(self.authority.issue("server", hosts=("other.example",)))
        options = TLSOptions("test", cacertfile=self.authority.cafile)
        self.assertEqual(await self.refused(port, options), "the certificate is not of localhost")
        for forgiving in (
            TLSOptions("test", cacertfile=self.authority.cafile, checkName=False),
            TLSOptions("test", verify=False),
        ):
            self.assertIn(b"localhost", await self.ask(port, forgiving))

    async def test_serverName(self) -> None:
        """
        The name that the options give counts, whatever host is connected to.
        """
        port = await self.serve(self.authority.issue("server", hosts=("other.example",)))
        options = TLSOptions("test", cacertfile=self.authority.cafile, serverName="other.example")
        self.assertEqual(await self.ask(port, options, "127.0.0.1"), b"None b'other.example' b''")

    async def test_wildcard(self) -> None:
        """
        A certificate for all hosts of a domain is good for each of them, and not for the domain.
        """
        port = await self.serve(self.authority.issue("server", hosts=("*.example.org",)))
        options = TLSOptions("test", cacertfile=self.authority.cafile)
        self.assertIn(b"a.example.org", await self.ask(port, options, "a.example.org"))
        self.assertIn("not of example.org", await self.refused(port, options, "example.org"))

    async def test_strangers(self) -> None:
        """
        By default the authorities of the system are trusted, and nobody else.
        """
        port = await self.serve(self.authority.issue("server"))
        self.assertIn("unable to get local issuer", await self.refused(port, TLSOptions("test")))
        other = Authority(self.folder, "other")
        self.assertNotEqual(await self.refused(port, TLSOptions("test", cacertfile=other.cafile)), "")

    async def test_revoked(self) -> None:
        """
        A server whose certificate is revoked is not trusted.
        """
        issued = self.authority.issue("server")
        port = await self.serve(issued)
        crlfile = self.authority.revoke(issued)
        options = TLSOptions("test", cacertfile=self.authority.cafile, crlfile=crlfile)
        self.assertIn("revoked", await self.refused(port, options))

    async def test_clientCertificate(self) -> None:
        """
        A client with a certificate shows it; ALPN agrees on what both speak.
        """
        port = await self.serve(self.authority.issue("server"), self.authority.cafile)
        device = self.authority.issue("device1")
        options = TLSOptions(
            "test",
            cacertfile=self.authority.cafile,
            certfile=device.certfile,
            keyfile=device.keyfile,
            protocols=(b"x", b"mqtt"),
        )
        self.assertEqual(await self.ask(port, options), b"CN=device1,C=CH b'localhost' b'mqtt'")

    async def test_preSharedKey(self) -> None:
        """
        A client with a pre-shared key is known by it, at a server of ours.
        """
        from twisted.internet import reactor

        keys = PreSharedKeys()
        keys.add({b"device1": b"secret"}.get)
        clock = Clock()
        wheel = TimerWheel(clock)
        self.addCleanup(wheel.stop)
        names: list[object] = []

        class Known(Protocol):
            def connectionMade(self) -> None:
                transport: Any = self.transport
                names.append(transport.peerIdentity.psk)
                transport.write(b"hello")

        factory = TLSFactory(
            Factory.forProtocol(Known), TLSOptions("test", pskCiphers=("PSK",)), keys, wheel, clock.seconds
        )
        port: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        for version in ("tlsv1.2", "tlsv1.3"):
            options = TLSOptions(
                "test", verify=False, pskCiphers=("PSK",), ownKey=(b"device1", b"secret"), versions=(version,)
            )
            self.assertEqual(await self.ask(port.getHost().port, options), b"hello")
        self.assertEqual(names, [b"device1", b"device1"])


class ProblemTests(SynchronousTestCase):
    """
    Impossible options are reported when the context is made.
    """

    def test_file(self) -> None:
        """
        A file that is not there is named with its key.
        """
        problem = self.assertRaises(TLSProblem, ClientContext, TLSOptions("bridge.ssl", cacertfile="/nonexistent"))
        self.assertEqual(
            str(problem), 'bridge.ssl.cacertfile = "/nonexistent": can\'t be read (No such file or directory)'
        )

    def test_halfACertificate(self) -> None:
        """
        A certificate needs its key.
        """
        problem = self.assertRaises(TLSProblem, ClientContext, TLSOptions("bridge.ssl", certfile="cert.pem"))
        self.assertEqual(str(problem), "bridge.ssl: needs certfile and keyfile")

    def test_nobody(self) -> None:
        """
        A host has a name.
        """
        self.assertRaises(ValueError, ClientContext(TLSOptions("x")).to, "")
