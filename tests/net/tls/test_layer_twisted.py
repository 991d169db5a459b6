"""
The broker's TLS on Twisted's own transports, with Twisted's own TLS at the other end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from tests.kits.certificates import Authority
from tests.kits.tls import Upper, UpperFactory
from twisted_mqtt.base.timerwheel import TimerWheel
from twisted_mqtt.net.tls.layer import TLSFactory
from twisted_mqtt.net.tls.options import TLSOptions
from twisted_mqtt.net.tls.psk import PreSharedKeys


class Asking(Protocol):
    """
    A client that waits for an answer of some length, and for the end.
    """

    def __init__(self, size: int) -> None:
        self.answered: Deferred[bytes] = Deferred()
        self.ended: Deferred[None] = Deferred()
        self._received = b""
        self._size = size

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if len(self._received) == self._size:
            self.answered.callback(self._received)

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.callback(None)


class Echo(Upper):
    """
    Sends back what comes.
    """

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class EchoFactory(UpperFactory):
    """
    Makes them.
    """

    def buildProtocol(self, addr: object) -> Echo:
        echo = Echo(addr)
        self.made.append(echo)
        return echo


class TwistedTests(TestCase):
    """
    Tests with real sockets below Twisted's reactor.
    """

    timeout = 30

    async def test_echo(self) -> None:
        """
        The bytes of Twisted's client come back, however many they are; both sides are told of the end.
        """
        from twisted.internet import reactor

        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        authority = Authority(folder)
        own = authority.issue("server")
        tls = TLSOptions("test", certfile=own.certfile, keyfile=own.keyfile)
        clock = Clock()
        wheel = TimerWheel(clock)
        echoes = EchoFactory()
        factory = TLSFactory(echoes, tls, PreSharedKeys(), wheel, clock.seconds)
        port: Any = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        try:
            trusted = ssl.Certificate.loadPEM(Path(authority.cafile).read_bytes())
            options = ssl.optionsForClientTLS("localhost", trustRoot=ssl.trustRootFromCertificates([trusted]))
            data = bytes(range(256)) * 4096
            asking = Asking(len(data))
            where = HostnameEndpoint(reactor, "127.0.0.1", port.getHost().port)
            await connectProtocol(wrapClientTLS(options, where), asking)
            transport: Any = asking.transport
            transport.write(data)
            self.assertEqual(await asking.answered, data)
            echoes.made[0].transport.loseConnection()
            await asking.ended
        finally:
            await port.stopListening()
            wheel.stop()
        self.assertEqual(echoes.made[0].lost, "ConnectionDone")
