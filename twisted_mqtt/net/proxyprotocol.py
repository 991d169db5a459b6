"""
PROXY headers between a port and the protocol above it: a client that connects through a load balancer keeps its own
address.

Once the header is there, this layer steps aside: the transport talks to the protocol above without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IPushProducer, ITransport
from zope.interface import implementer

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog, peerName
from twisted_mqtt.net.peeridentity import PeerIdentity
from twisted_mqtt.net.proxyheader import Endpoint, ProxyError, parse

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from twisted_mqtt.base.timerwheel import TimerWheel


@implementer(ITransport, IPushProducer)
class ProxiedTransport:
    """
    A transport with other addresses.

    @ivar peerIdentity: who the peer is by what the balancer tells, or L{None}.
    """

    __slots__ = ("_host", "_lower", "_peer", "peerIdentity")

    def __init__(self, lower: Any, peer: IAddress, host: IAddress, identity: PeerIdentity | None) -> None:
        self._lower = lower
        self._peer = peer
        self._host = host
        self.peerIdentity = identity

    def getPeer(self) -> IAddress:
        """
        The client's address.
        """
        return self._peer

    def getHost(self) -> IAddress:
        """
        The address that the client has connected to.
        """
        return self._host

    def write(self, data: bytes) -> None:
        """
        See C{ITransport}.
        """
        self._lower.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        See C{ITransport}.
        """
        self._lower.writeSequence(data)

    def loseConnection(self) -> None:
        """
        See C{ITransport}.
        """
        self._lower.loseConnection()

    def pauseProducing(self) -> None:
        """
        See C{IPushProducer}.
        """
        self._lower.pauseProducing()

    def resumeProducing(self) -> None:
        """
        See C{IPushProducer}.
        """
        self._lower.resumeProducing()

    def stopProducing(self) -> None:
        """
        See C{IPushProducer}.
        """
        self._lower.loseConnection()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lower, name)


@implementer(IProtocol)
class ProxyConnection:
    """
    One connection that begins with a PROXY header.
    """

    __slots__ = ("_address", "_came", "_factory", "_lower", "_upper", "bucket")

    def __init__(self, factory: ProxyFactory, address: IAddress) -> None:
        self._factory = factory
        self._address = address
        self._lower: Any = None
        self._upper: Any = None
        # Of the header; None when nothing is waited for any more.
        self._came: bytes | None = b""
        self.bucket = 0

    def makeConnection(self, transport: Any) -> None:
        """
        The connection is there; the balancer speaks first.
        """
        self._lower = transport
        factory = self._factory
        factory.wheel.add(self, factory.seconds() + factory.timeout)

    def connectionMade(self) -> None:
        """
        Nothing: L{makeConnection} has done it.
        """

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes have come.
        """
        if self._upper is not None:
            # Below there is a transport that keeps its protocol.
            self._upper.dataReceived(data)
            return
        if self._came is None:
            return
        came = self._came + data
        try:
            header = parse(came)
        except ProxyError as error:
            self._refuse(str(error))
            return
        if header is None:
            self._came = came
            return
        self._came = None
        self._factory.wheel.remove(self)
        lower = self._lower
        peer = self._address if header.source is None else addressOf(header.source)
        host = lower.getHost() if header.destination is None else addressOf(header.destination)
        upper = self._factory.wrapped.buildProtocol(peer)
        if upper is None:
            lower.loseConnection()
            return
        name = header.commonName
        self._upper = upper
        if getattr(lower, "protocol", None) is self:
            lower.protocol = upper
        upper.makeConnection(ProxiedTransport(lower, peer, host, None if name is None else PeerIdentity(cn=name)))
        rest = came[header.size :]
        if rest:
            upper.dataReceived(rest)

    def connectionLost(self, reason: Failure) -> None:
        """
        The connection is gone.
        """
        self._came = None
        self._factory.wheel.remove(self)
        upper, self._upper = self._upper, None
        if upper is not None:
            upper.connectionLost(reason)

    def due(self, now: float) -> float:
        """
        See L{twisted_mqtt.base.timerwheel.Timed}: the header has not come in time.
        """
        self._came = None
        self._factory.refused(self._address, "the header has not come in time")
        self._lower.abortConnection()
        return 0.0

    def _refuse(self, reason: str) -> None:
        self._came = None
        self._factory.wheel.remove(self)
        self._factory.refused(self._address, reason)
        self._lower.loseConnection()


@implementer(IProtocolFactory)
class ProxyFactory:
    """
    Takes the PROXY header from each connection to the protocols of another factory.

    Any peer that can connect can claim any address, so only balancers may reach such a listener.

    @ivar wrapped: makes the protocols above; its C{buildProtocol} is given the client's address.
    @ivar timeout: how many seconds a header may take.
    @ivar failures: how many connections did not begin with one.
    """

    noisy = False

    def __init__(
        self, wrapped: IProtocolFactory, path: str, timeout: float, wheel: TimerWheel, seconds: Callable[[], float]
    ) -> None:
        """
        @param path: of the listener, for the log.
        @param seconds: the time of the wheel.
        """
        self.wrapped = wrapped
        self.timeout = timeout
        self.wheel = wheel
        self.seconds = seconds
        self.failures = 0
        self._path = path
        self._refused = RateLimitedLog(seconds)

    def doStart(self) -> None:
        """
        A port begins to listen.
        """
        self.wrapped.doStart()

    def doStop(self) -> None:
        """
        A port has stopped.
        """
        self.wrapped.doStop()

    def buildProtocol(self, addr: IAddress) -> ProxyConnection:
        """
        Make the protocol that waits for the header of a connection.
        """
        return ProxyConnection(self, addr)

    def refused(self, peer: object, reason: str) -> None:
        """
        Count a connection without a header, and say why.
        """
        self.failures += 1
        self._refused.info(
            "{path}: connection from {peer} refused: {reason}", path=self._path, peer=peerName(peer), reason=reason
        )


def addressOf(endpoint: Endpoint) -> IPv4Address | IPv6Address:
    """
    An address as transports have it.
    """
    host, port = endpoint
    return IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)
