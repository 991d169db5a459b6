"""
TLS in memory: a client of the standard library's C{ssl}, and the layer of the broker on a transport of strings.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.kits.certificates import Authority, Issued
from twisted_mqtt.base.timerwheel import TimerWheel
from twisted_mqtt.config.schema_listeners import TLSListener
from twisted_mqtt.config.values import Bind
from twisted_mqtt.net.tls.layer import TLSConnection, TLSFactory
from twisted_mqtt.net.tls.options import optionsOf
from twisted_mqtt.net.tls.psk import PreSharedKeys

PEER = IPv4Address("TCP", "192.0.2.1", 50000)


class Upper(Protocol):
    """
    The protocol above TLS: it remembers.
    """

    transport: TLSConnection  # type: ignore[assignment] # narrower than Twisted's

    def __init__(self, address: object) -> None:
        self.address = address
        self.received = b""
        self.lost: str | None = None
        self.onMade: Callable[[], object] = lambda: None

    def connectionMade(self) -> None:
        self.onMade()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        assert self.lost is None, "told twice"
        self.lost = reason.type.__name__


class UpperFactory(Factory):
    """
    Keeps the protocols that it makes.
    """

    noisy = False

    def __init__(self) -> None:
        self.made: list[Upper] = []
        self.refuse = False
        self.prepare: Callable[[Upper], object] = lambda upper: None
        self.events: list[str] = []

    def doStart(self) -> None:
        self.events.append("start")

    def doStop(self) -> None:
        self.events.append("stop")

    def buildProtocol(self, addr: object) -> Upper | None:
        if self.refuse:
            return None
        upper = Upper(addr)
        self.prepare(upper)
        self.made.append(upper)
        return upper


class Link:
    """
    A client and the server's end of its connection.

    @ivar client: the client's TLS.
    @ivar server: the server's TLS.
    @ivar error: what the client could not accept, or was told.
    """

    def __init__(self, factory: Any, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self._toClient, self._fromClient = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(self._toClient, self._fromClient, server_hostname="localhost", session=session)
        self.transport = StringTransport(peerAddress=PEER)
        self.server: Any = factory.buildProtocol(PEER)
        self.server.makeConnection(self.transport)
        self.received = b""
        self.error: ssl.SSLError | None = None
        self.ended = False
        self._shaken = False

    def pump(self, step: int = 0) -> Link:
        """
        Carry bytes until there are none.

        @param step: so many at a time to the server; 0 for all at once.
        """
        for _ in range(1000):
            if not self._shaken:
                try:
                    self.client.do_handshake()
                    self._shaken = True
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError as error:
                    self.error = error
            if self._shaken:
                self._read()
            sent = self._fromClient.read()
            for start in range(0, len(sent), step or len(sent) or 1):
                self.server.dataReceived(sent[start : start + step] if step else sent)
            output = self.transport.value()
            self.transport.clear()
            self._toClient.write(output)
            if not sent and not output:
                return self
        raise AssertionError("it does not come to rest")

    def _read(self) -> None:
        while not self.ended and self.error is None:
            try:
                data = self.client.read(65536)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                self.ended = True
                return
            except ssl.SSLError as error:
                self.error = error
                return
            self.received += data
            self.ended = not data

    def write(self, data: bytes) -> None:
        """
        Write something at the client's end; L{pump} carries it.
        """
        self.client.write(data)


class TLSTestCase(SynchronousTestCase):
    """
    An authority, a certificate for the server, and factories by the keys of a listener.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.clock = Clock()
        self.clock.advance(1e9)
        self.authority = Authority(self.folder)
        self.own = self.authority.issue("server")
        self.keys = PreSharedKeys()
        self.wheel = TimerWheel(self.clock)
        self.addCleanup(self.wheel.stop)
        self.uppers = UpperFactory()

    def listener(self, **keys: Any) -> TLSListener:
        """
        The table of a listener.
        """
        files = {"certfile": self.own.certfile, "keyfile": self.own.keyfile}
        return TLSListener(name="test", bind=Bind("127.0.0.1", 0), **(files | keys))

    def factory(self, **keys: Any) -> TLSFactory:
        """
        The TLS of a listener with these keys.
        """
        listener = self.listener(**keys)
        options = optionsOf(listener, listener.path, (b"mqtt",))
        return TLSFactory(self.uppers, options, self.keys, self.wheel, self.clock.seconds)

    def verifying(self, **keys: Any) -> TLSFactory:
        """
        The same, asking for client certificates.
        """
        return self.factory(
            **({"verify": "verify_peer", "fail_if_no_peer_cert": True, "cacertfile": self.authority.cafile} | keys)
        )

    def context(self, issued: Issued | None = None) -> ssl.SSLContext:
        """
        The files of a client: the authority, and its own certificate.
        """
        context = ssl.create_default_context(cafile=self.authority.cafile)
        if issued is not None:
            context.load_cert_chain(issued.certfile, issued.keyfile)
        return context

    def connect(self, factory: TLSFactory, context: ssl.SSLContext | None = None, **how: Any) -> Link:
        """
        A connection that has come as far as it can.
        """
        return Link(factory, context or self.context(), **how).pump()
