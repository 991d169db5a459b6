"""
A port for connections: its socket, the gate behind the socket, and the layers down to any protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from zope.interface import implementer

from twisted_mqtt.config.schema_ports import PortSettings
from twisted_mqtt.config.values import Bind
from twisted_mqtt.interfaces import IListening
from twisted_mqtt.listeners.implements import Gate
from twisted_mqtt.listeners.layers import PortSite, layered
from twisted_mqtt.net.addressrules import AccessFactory
from twisted_mqtt.net.endpoints import adoptedEndpoint, canBeFast, tcpEndpoint, unixEndpoint
from twisted_mqtt.net.names import PortProblem, isNumeric, numeric
from twisted_mqtt.net.portoptions import PortOptions, TCPKeepAlive, TransportOptions
from twisted_mqtt.net.proxyprotocol import ProxyFactory
from twisted_mqtt.net.tls.layer import TLSFactory

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint

    from twisted_mqtt.config.schema_ports import TCPPortSettings
    from twisted_mqtt.interfaces import IBroker
    from twisted_mqtt.net.tls.options import TLSOptions

_log = Logger()

PENDING = 1 << 20
"""
The bytes that may wait for a connection before its producer is paused, unless somebody says otherwise.
"""


@implementer(IListening)
class StreamListening:
    """
    A port of connections. See L{IListening}.

    @ivar settings: its table.
    @ivar factory: makes the protocols of its clients.
    @ivar layers: the factories between the gate and its clients, from the socket inwards.
    @ivar gate: lets connections in, or not.
    @ivar port: the open port; L{None} while there is none.
    """

    def __init__(
        self,
        broker: IBroker,
        reactor: object,
        name: str,
        protocol: str,
        kind: str,
        path: str,
        bind: Bind,
        settings: PortSettings,
        factory: IProtocolFactory,
        tls: TLSOptions | None = None,
        pending: int = PENDING,
        forgotten: Callable[[StreamListening], object] = lambda listening: None,
    ) -> None:
        """
        @param path: the name of its table, for messages.
        @param pending: how many bytes may wait for a connection before its producer is paused.
        @param forgotten: called when it is closed for good.

        @raise twisted_mqtt.net.tls.options.TLSProblem: the keys or files of TLS can't be used.
        """
        self.name = name
        self.protocol = protocol
        self.kind = kind
        self.path = path
        self.settings = settings
        self.factory = factory
        self.port: IListeningPort | None = None
        self._bind = bind
        self._broker = broker
        self._reactor = reactor
        self._forgotten = forgotten
        self._lock = DeferredLock()
        self._options = PortOptions(
            backlog=settings.backlog,
            receiveBuffer=settings.recbuf,
            sendBuffer=settings.sndbuf,
            noDelay=getattr(settings, "nodelay", True),
            reuseAddress=getattr(settings, "reuseaddr", True),
            keepAlive=_keepAliveOf(settings),
        )
        self._setOptions(settings, pending)
        # By layers that others have replaced.
        self._refusedBefore = {"refused_access": 0, "refused_proxy": 0, "refused_tls": 0}
        self.layers = self._layersFor(settings, factory, tls)
        self._counting: WrappingFactory | None = None
        # It is asked at every connection, and knows itself where the transport counts.
        count = self._options.transport.count if canBeFast(reactor) else self._countAbove
        self.gate = Gate(self.layers[0], settings, path, broker.counters, broker.clock, count)
        self._outermost = IProtocolFactory(self.gate)
        if not canBeFast(reactor):
            # Twisted's own transport does not count: each connection is wrapped.
            self._counting = WrappingFactory(self._outermost)
            self._counting.noisy = False
            self._outermost = IProtocolFactory(self._counting)

    @property
    def address(self) -> Bind:
        """
        See L{IListening}.
        """
        return self._bind if self.port is None else addressOf(self.port.getHost())

    @property
    def isOpen(self) -> bool:
        """
        See L{IListening}.
        """
        return self.port is not None

    @property
    def connections(self) -> int:
        """
        See L{IListening}: those that are open, whatever has become of them above the socket.
        """
        return self._options.transport.count() if self._counting is None else self._countAbove()

    @property
    def certificate(self) -> str | None:
        """
        See L{IListening}.
        """
        return next((layer.certificate for layer in self.layers if isinstance(layer, TLSFactory)), None)

    def figures(self) -> dict[str, int]:
        """
        See L{IListening}.
        """
        figures = {
            "connections": self.connections,
            "max_connections": self.settings.max_connections,
            "accepted": self.gate.accepted,
            "refused_full": self.gate.refused,
            "rests": self.gate.rests,
        }
        return figures | self._refused()

    def start(self, adopted: socket.socket | None = None) -> Deferred[None]:
        """
        See L{IListening}.

        @param adopted: a socket that somebody else has opened; L{None} to open one.
        """
        return self._lock.run(lambda: Deferred.fromCoroutine(self._start(adopted)))

    def stop(self) -> Deferred[None]:
        """
        See L{IListening}.
        """
        return self._lock.run(self._stop)

    def close(self) -> Deferred[None]:
        """
        See L{IListening}.
        """
        self._forgotten(self)
        return self.stop()

    def reloadCertificates(self) -> bool | None:
        """
        See L{IListening}.
        """
        for layer in self.layers:
            if isinstance(layer, TLSFactory):
                return layer.reload()
        return None

    def exchange(
        self, settings: PortSettings, factory: IProtocolFactory, tls: TLSOptions | None = None, pending: int = PENDING
    ) -> None:
        """
        Go by another table with the same address, for connections that come from now on.

        @raise twisted_mqtt.net.tls.options.TLSProblem: the keys or files of TLS can't be used; it goes on as it was.
        """
        layers = self._layersFor(settings, factory, tls)
        self._refusedBefore = self._refused()
        self.settings = settings
        self.factory = factory
        self.layers = layers
        self._setOptions(settings, pending)
        self.gate.exchange(layers[0], settings)

    async def _start(self, adopted: socket.socket | None) -> None:
        if self.port is not None:
            return
        try:
            bind = self._bind
            if adopted is None and not isNumeric(bind.host):
                bind = await self._broker.threads.defer(numeric, bind)
            self.port = await self._endpoint(bind, adopted).listen(self._outermost)
        except CannotListenError as error:
            raise PortProblem(self.path, self._bind, error.socketError) from error
        except OSError as error:
            raise PortProblem(self.path, self._bind, error) from error
        self.gate.port = self.port
        _log.info(
            "listening: {protocol}:{kind} on {address} ({path})",
            protocol=self.protocol,
            kind=self.kind,
            address=self.address,
            path=self.path,
        )

    def _stop(self) -> Deferred[None]:
        port, self.port = self.port, None
        self.gate.port = None
        closing = None if port is None else port.stopListening()
        return succeed(None) if closing is None else closing

    def _refused(self) -> dict[str, int]:
        """
        How many connections each layer has refused.
        """
        refused = dict(self._refusedBefore)
        for layer in self.layers:
            if isinstance(layer, AccessFactory):
                refused["refused_access"] += layer.refused
            elif isinstance(layer, ProxyFactory):
                refused["refused_proxy"] += layer.failures
            elif isinstance(layer, TLSFactory):
                refused["refused_tls"] += layer.failures
        return refused

    def _countAbove(self) -> int:
        return 0 if self._counting is None else len(self._counting.protocols)

    def _layersFor(
        self, settings: PortSettings, factory: IProtocolFactory, tls: TLSOptions | None
    ) -> list[IProtocolFactory]:
        return layered(factory, PortSite(settings, self.path, tls, self._broker))

    def _setOptions(self, settings: PortSettings, pending: int) -> None:
        """
        Set what can be set while the port is open.
        """
        self._options.acceptsPerTurn = max(16, settings.acceptors)
        transport: TransportOptions = self._options.transport
        transport.highWater = pending
        transport.lowWater = pending // 4
        transport.sendTimeout = settings.send_timeout if settings.send_timeout_close else 0.0

    def _endpoint(self, bind: Bind, adopted: socket.socket | None) -> IStreamServerEndpoint:
        options = self._options
        if adopted is not None:
            return adoptedEndpoint(self._reactor, adopted, options)
        if bind.path:
            return unixEndpoint(self._reactor, bind.path, getattr(self.settings, "mode", 0o660), options)
        return tcpEndpoint(self._reactor, bind.port, bind.host, options)


def _keepAliveOf(settings: PortSettings) -> TCPKeepAlive | None:
    """
    How silent peers are probed; L{None} for not at all. Ports that are not of TCP have no keys for it.
    """
    if not getattr(settings, "tcp_keepalive", False):
        return None
    tcp = cast("TCPPortSettings", settings)
    return TCPKeepAlive(tcp.tcp_keepalive_idle, tcp.tcp_keepalive_interval, tcp.tcp_keepalive_count)


def addressOf(host: Any) -> Bind:
    """
    Where a port listens.

    @param host: what its C{getHost} says.
    """
    if hasattr(host, "port"):
        return Bind(host.host, host.port)
    name = host.name
    return Bind(path=name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name))
