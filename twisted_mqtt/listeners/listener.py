"""
One listener that is open: its port, the gate behind that, and the layers down to its clients' protocols.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger

from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.config.differences import differences
from twisted_mqtt.config.schema_listeners import SecureListener, TCPListener, UNIXListener
from twisted_mqtt.listeners.implements import Gate
from twisted_mqtt.listeners.layers import Site, layered
from twisted_mqtt.mqtt.implements import MQTTFactory
from twisted_mqtt.net.endpoints import adoptedEndpoint, canBeFast, tcpEndpoint, unixEndpoint
from twisted_mqtt.net.portoptions import PortOptions, TransportOptions
from twisted_mqtt.net.tls.layer import TLSFactory

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from twisted.internet.interfaces import IStreamServerEndpoint

    from twisted_mqtt.broker.broker import Broker
    from twisted_mqtt.config.schema_listeners import AnyListener
    from twisted_mqtt.core.limits import Limits

_log = Logger()


class OpenListener:
    """
    A listener, from before its port is open until its last connection is gone.

    @ivar name: such as C{"tcp.external"}.
    @ivar listener: its table.
    @ivar factory: makes its clients' protocols.
    @ivar layers: the factories between the gate and its clients, from the socket inwards.
    @ivar gate: lets connections in, or not.
    @ivar port: the open port; L{None} while there is none.
    """

    def __init__(self, broker: Broker, reactor: Any, listener: AnyListener, limits: Limits, private: bool) -> None:
        """
        @param limits: of its zone.
        @param private: whether it can be reached from this machine alone.

        @raise twisted_mqtt.net.tls.options.TLSProblem: its keys or files can't be used.
        """
        self.listener = listener
        self.name = f"{listener.listenerKind}.{listener.name}"
        self.port: Any = None
        # The table by which its socket is opened.
        self._begun = listener
        self._broker = broker
        self._reactor = reactor
        self._private = private
        self._options = PortOptions(backlog=listener.backlog, receiveBuffer=listener.recbuf, sendBuffer=listener.sndbuf)
        if isinstance(listener, TCPListener | SecureListener):
            self._options.noDelay = listener.nodelay
            self._options.reuseAddress = listener.reuseaddr
        self._setOptions(listener)
        self.factory = MQTTFactory(broker, self._profileFor(listener, limits))
        self.layers = self._layersFor(listener)
        # It is asked at every connection, and knows itself where the transport counts.
        protocols = self.factory.protocols
        self._count: Callable[[], int] = self._options.transport.count if canBeFast(reactor) else lambda: len(protocols)
        self.gate = Gate(self.layers[0], listener, broker.counters, broker.clock, self._count)

    @property
    def connections(self) -> int:
        """
        How many connections are open, whatever has become of them above the socket.
        """
        return self._count()

    async def open(self, adopted: socket.socket | None = None) -> None:
        """
        Begin to listen.

        @param adopted: a socket that somebody else has opened; L{None} to open one.

        @raise twisted.internet.error.CannotListenError: the address is taken, forbidden, or not ours.
        """
        self.port = await self._endpoint(adopted).listen(IProtocolFactory(self.gate))
        self.gate.port = self.port
        host: Any = self.port.getHost()
        where = f"{host.host}:{host.port}" if hasattr(host, "port") else str(getattr(host, "name", host))
        _log.info(
            "listening: mqtt:{kind} on {where} ({path})",
            kind=self.listener.listenerKind,
            where=where,
            path=self.listener.path,
        )

    def close(self) -> Deferred[None]:
        """
        Listen no more; open connections stay.

        @return: fires when that is done.
        """
        port, self.port = self.port, None
        self.gate.port = None
        closing: Deferred[None] = maybeDeferred(lambda: None if port is None else port.stopListening())
        return closing

    @property
    def waiting(self) -> list[str]:
        """
        The keys of its table that wait for a restart.
        """
        changed = differences(self._begun, self.listener, since="next connection")
        return [difference.key for difference in changed if difference.since == "restart"]

    def change(self, listener: AnyListener, limits: Limits) -> None:
        """
        Go by another table of the same listener, with the same address, for connections that come from now on.

        @raise twisted_mqtt.net.tls.options.TLSProblem: its keys or files can't be used, and it goes on as it was.
        """
        before = self.factory.profile
        self.factory.profile = self._profileFor(listener, limits)
        try:
            layers = self._layersFor(listener)
        except BaseException:
            self.factory.profile = before
            raise
        self.listener = listener
        self.layers = layers
        self._setOptions(listener)
        self.gate.exchange(layers[0], listener)

    def reloadCertificates(self) -> bool | None:
        """
        Read the certificates again, without waiting until it is seen that they have changed.

        @return: whether they could be used; L{None} where there are none.
        """
        for layer in self.layers:
            if isinstance(layer, TLSFactory):
                return layer.reload()
        return None

    def _layersFor(self, listener: AnyListener) -> list[Any]:
        return layered(self.factory, Site(listener, self.factory.profile, self._broker, self._reactor))

    def _profileFor(self, listener: AnyListener, limits: Limits) -> ListenerProfile:
        return ListenerProfile(
            self.name,
            self._broker.settings.zoneOf(listener),
            limits,
            self._private,
            listener.allowed_protocol_versions,
            listener.send_timeout if listener.send_timeout_close else 0.0,
            None if isinstance(listener, UNIXListener) else listener.peer_cert_as_username,
            listener.rate_limit,
            listener.max_publish_rate,
        )

    def _setOptions(self, listener: AnyListener) -> None:
        """
        Set what can be set while the port is open.
        """
        zone = self._broker.settings.zoneOf(listener)
        self._options.acceptsPerTurn = max(16, listener.acceptors)
        transport: TransportOptions = self._options.transport
        transport.highWater = zone.max_pending_bytes
        transport.lowWater = zone.max_pending_bytes // 4
        transport.sendTimeout = listener.send_timeout if listener.send_timeout_close else 0.0

    def _endpoint(self, adopted: socket.socket | None) -> IStreamServerEndpoint:
        listener, options = self.listener, self._options
        if adopted is not None:
            return adoptedEndpoint(self._reactor, adopted, options)
        if isinstance(listener, UNIXListener):
            return unixEndpoint(self._reactor, listener.bind.path or "", listener.mode, options)
        return tcpEndpoint(self._reactor, listener.bind.port, listener.bind.host, options)
