"""
Listeners: from the tables of the configuration to ports, and from ports to protocols.

Between a port and the MQTT protocol stand the layers that a listener's table asks for. Each is a protocol factory that
wraps the next one, in a module of its own which knows nothing of the others; L{LAYERS} puts them in order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger

from twisted_mqtt.config.schema_listeners import (
    SecureListener,
    SecureWebSocketListener,
    TCPListener,
    TLSListener,
    UNIXListener,
    WebSocketListener,
)
from twisted_mqtt.endpoints import canBeFast, pollerOf, tcpEndpoint, unixEndpoint
from twisted_mqtt.listening import Place, limitsOf
from twisted_mqtt.portoptions import PortOptions, TransportOptions
from twisted_mqtt.proxyprotocol import ProxyFactory
from twisted_mqtt.roles import MQTTFactory
from twisted_mqtt.tls import TLSFactory
from twisted_mqtt.websocket import WebSocketFactory

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint

    from twisted_mqtt.broker import Broker
    from twisted_mqtt.config.schema_listeners import AnyListener
    from twisted_mqtt.core.limits import Limits

_log = Logger()


@dataclass(frozen=True)
class Site:
    """
    What a layer may want to know of where it stands.
    """

    listener: AnyListener
    place: Place
    broker: Broker
    reactor: Any


Layer = Callable[[Any, Site], Any]


def proxied(factory: Any, site: Site) -> Any:
    """
    The layer of PROXY headers.
    """
    listener, broker = site.listener, site.broker
    if not listener.proxy_protocol:
        return factory
    return ProxyFactory(factory, listener.path, listener.proxy_protocol_timeout, broker.wheel, broker.clock.seconds)


def secured(factory: Any, site: Site) -> Any:
    """
    The layer of TLS.
    """
    listener, broker = site.listener, site.broker
    if not isinstance(listener, TLSListener | SecureWebSocketListener):
        return factory
    protocol = b"mqtt" if isinstance(listener, TLSListener) else b"http/1.1"
    if listener.psk_ciphers and not broker.preSharedKeys:
        _log.warn("{path}.psk_ciphers: nobody has keys; load psk_file, or no client comes in", path=listener.path)
    return TLSFactory(factory, listener, broker.preSharedKeys, broker.wheel, broker.clock.seconds, (protocol,))


def framed(factory: Any, site: Site) -> Any:
    """
    The layer of WebSocket.
    """
    listener, broker = site.listener, site.broker
    if not isinstance(listener, WebSocketListener | SecureWebSocketListener):
        return factory
    running = f"Node {broker.nodeName} is started"
    return WebSocketFactory(
        factory,
        listener,
        broker.wheel,
        broker.clock,
        site.place.zone.idle_timeout,
        lambda: None if broker.stopping else running,
    )


LAYERS: tuple[Layer, ...] = (proxied, secured, framed)
"""
From the socket inwards. Each is called with the factory further in, and returns one around it, or that factory itself
where the listener's table does not ask for the layer. It raises where it can't do what the table asks for.
"""


def layered(factory: MQTTFactory, site: Site) -> list[Any]:
    """
    Put the layers of a listener around a factory.

    @return: all its factories, from the socket inwards; each provides C{IProtocolFactory}.
    """
    factories: list[Any] = [factory]
    for layer in reversed(LAYERS):
        outer = layer(factories[0], site)
        if outer is not factories[0]:
            factories.insert(0, outer)
    return factories


class Listeners(Service):
    """
    The listeners of a broker. They start when they are told to, which is once its store is open.

    @ivar ports: the open ones, by the name of their listener.
    @ivar layers: the factories between each and its clients, from the socket inwards.
    """

    name = "listeners"

    def __init__(self, broker: Broker, reactor: Any) -> None:
        self._broker = broker
        self._reactor = reactor
        self.ports: dict[str, IListeningPort] = {}
        self.layers: dict[str, list[Any]] = {}
        self.factories: dict[str, MQTTFactory] = {}
        # Zones are few, and all their clients share their limits.
        self._limits: dict[str, Limits] = {}

    def open(self) -> Deferred[None]:
        """
        Open every listener of the configuration.

        @return: fires when all listen; fails with the first that can't, after which none does.
        """

        Service.startService(self)

        async def each() -> None:
            if canBeFast(self._reactor):
                poller = pollerOf(self._reactor)
                # What a turn of the poller makes is written in that turn.
                poller.turnEnded.append(self._broker.outbox.flush)
                self._broker.writeSoon = lambda: poller.inTurn
            try:
                for listener in self._broker.settings.listener:
                    await self._open(listener)
            except BaseException:
                await self.stopService()
                raise

        return Deferred.fromCoroutine(each())

    async def _open(self, listener: AnyListener) -> None:
        factory = MQTTFactory(self._broker, self._placeOf(listener))
        endpoint = self._endpointOf(listener)
        layers = layered(factory, Site(listener, factory.place, self._broker, self._reactor))
        port = await endpoint.listen(layers[0])
        name = factory.place.name
        self.layers[name] = layers
        self.ports[name] = port
        self.factories[name] = factory
        host: Any = port.getHost()
        where = f"{host.host}:{host.port}" if hasattr(host, "port") else str(getattr(host, "name", host))
        _log.info(
            "listening: mqtt:{kind} on {where} ({path})", kind=listener.listenerKind, where=where, path=listener.path
        )

    def reloadCertificates(self) -> dict[str, bool]:
        """
        Read the certificates of all listeners again, without waiting until it is seen that they have changed.

        @return: whether they could be used, by the name of the listener; what is wrong with those that can't is logged.
        """
        return {
            name: layer.reload()
            for name, layers in self.layers.items()
            for layer in layers
            if isinstance(layer, TLSFactory)
        }

    def stopService(self) -> Deferred[None]:
        """
        Close all ports; open connections stay.

        @return: fires when nothing listens any more.
        """
        Service.stopService(self)

        async def each() -> None:
            while self.ports:
                _, port = self.ports.popitem()
                await maybeDeferred(port.stopListening)

        if canBeFast(self._reactor):
            flush = self._broker.outbox.flush
            callbacks = pollerOf(self._reactor).turnEnded
            if flush in callbacks:
                callbacks.remove(flush)
            self._broker.writeSoon = lambda: False
        return Deferred.fromCoroutine(each()) if self.ports else succeed(None)

    def _placeOf(self, listener: AnyListener) -> Place:
        zone = self._broker.settings.zoneOf(listener)
        limits = self._limits.setdefault(zone.name, limitsOf(zone))
        return Place(
            f"{listener.listenerKind}.{listener.name}",
            zone,
            limits,
            listener.bind.isLoopback,
            listener.allowed_protocol_versions,
            listener.send_timeout if listener.send_timeout_close else 0.0,
            None if isinstance(listener, UNIXListener) else listener.peer_cert_as_username,
        )

    def _endpointOf(self, listener: AnyListener) -> IStreamServerEndpoint:
        zone = self._broker.settings.zoneOf(listener)
        transport = TransportOptions(
            highWater=zone.max_pending_bytes,
            lowWater=zone.max_pending_bytes // 4,
            sendTimeout=listener.send_timeout if listener.send_timeout_close else 0.0,
        )
        options = PortOptions(
            backlog=listener.backlog,
            receiveBuffer=listener.recbuf,
            sendBuffer=listener.sndbuf,
            acceptsPerTurn=max(16, listener.acceptors),
            transport=transport,
        )
        if isinstance(listener, UNIXListener):
            return unixEndpoint(self._reactor, listener.bind.path or "", listener.mode, options)
        if isinstance(listener, TCPListener | SecureListener):
            options.noDelay = listener.nodelay
            options.reuseAddress = listener.reuseaddr
        return tcpEndpoint(self._reactor, listener.bind.port, listener.bind.host, options)
