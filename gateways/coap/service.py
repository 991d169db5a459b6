"""
The service of the CoAP gateway: its ports, from the tables of the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from zope.interface import alsoProvides

from gateways.coap.dtls import DTLSProtocol
from gateways.coap.dtlscontext import DTLSContext
from gateways.coap.gateway import Gateway
from gateways.coap.multicast import Discovery
from gateways.coap.protocol import CoAPProtocol
from gateways.coap.pubsub import Topics
from gateways.coap.stream import StreamFactory
from gateways.datagrams import openDatagrams, openGroup
from twisted_mqtt.config.schema_extensions import CoAP
from twisted_mqtt.core.reasons import SERVER_SHUTTING_DOWN
from twisted_mqtt.endpoints import tcpEndpoint
from twisted_mqtt.interfaces import IRefreshing
from twisted_mqtt.listening import Place
from twisted_mqtt.portoptions import PortOptions, TransportOptions
from twisted_mqtt.tlscontext import TLSProblem

if TYPE_CHECKING:
    from twisted.application.service import IService

    from twisted_mqtt.config.values import Bind

_log = Logger()

# Large enough for what comes while one turn is at work; the kernel gives what it allows.
_RECEIVE_BUFFER: Final = 4 << 20


class CoAPService(Service):
    """
    The gateway.

    @ivar gateway: what its clients share.
    @ivar ports: those that are open, by kind: C{"udp"}, C{"dtls"} and C{"tcp"}; and those that hear groups.
    """

    def __init__(self, broker: Any, settings: CoAP, reactor: Any) -> None:
        self.gateway = Gateway(broker, settings, Topics(settings.max_topics))
        self.ports: dict[str, Any] = {}
        self._protocols: list[Any] = []
        self._layers: list[DTLSProtocol] = []
        self._discovery: Discovery | None = None
        self._streams: StreamFactory | None = None
        self._broker = broker
        self._settings = settings
        self._reactor = reactor

    def startService(self) -> Any:
        """
        Open the ports.

        @return: None, or a Deferred that fires when that of TCP is open, too, and fails where it can't be.

        @raise twisted.internet.error.CannotListenError: one can't be opened; none is then.
        @raise twisted_mqtt.tlscontext.TLSProblem: the keys of DTLS can't work; neither is any.
        """
        Service.startService(self)
        settings, broker = self._settings, self._broker
        try:
            dtls = settings.dtls
            if dtls.port is not None and dtls.peer_cert_as_username and dtls.verify != "verify_peer":
                part = dtls.peer_cert_as_username
                raise TLSProblem(f'coap.dtls.peer_cert_as_username = "{part}": needs verify = "verify_peer"')
            context = None if dtls.port is None else DTLSContext(dtls, "coap.dtls", broker.preSharedKeys)
            endpoint = CoAPProtocol(self.gateway, self._place("udp", settings.port), self._reactor)
            # Beside an address of its own, a group's is another one; the address for all takes those of groups, too.
            shared = settings.multicast and settings.port.host in ("0.0.0.0", "::")
            endpoint.port = self._open("udp", settings.port, endpoint, shared)
            if settings.multicast:
                self._openGroups(endpoint)
            if dtls.port is not None and context is not None:
                place = self._place("dtls", dtls.port, dtls.peer_cert_as_username)
                upper = CoAPProtocol(self.gateway, place, self._reactor, True)
                layer = DTLSProtocol(upper, context, self._reactor, broker.wheel, dtls.max_associations)
                upper.port = self._open("dtls", dtls.port, layer)
                self._layers.append(layer)
                alsoProvides(self, IRefreshing)
        except BaseException:
            for port in self.ports.values():
                port.stopListening()
            self.ports.clear()
            self._protocols.clear()
            raise
        tcp = settings.tcp
        return None if tcp.port is None else Deferred.fromCoroutine(self._listen(tcp.port, tcp.max_connections))

    async def _listen(self, bind: Bind, most: int) -> None:
        """
        Open the port of TCP.
        """
        place = self._place("tcp", bind)
        factory = self._streams = StreamFactory(self.gateway, place, most)
        pending = place.zone.max_pending_bytes
        options = PortOptions(transport=TransportOptions(highWater=pending, lowWater=pending // 4))
        try:
            port: Any = await tcpEndpoint(self._reactor, bind.port, bind.host, options).listen(factory)
        except BaseException:
            await self._close()
            raise
        self.ports["tcp"] = port
        host = port.getHost()
        factory.port = host.port
        self._say("tcp", host.host, host.port)

    def refresh(self) -> None:
        """
        Read the certificates of DTLS again, see L{IRefreshing}; without DTLS there are none, and this is not provided.

        @raise twisted_mqtt.tlscontext.TLSProblem: they can't be used.
        """
        for layer in self._layers:
            layer.reload()

    def stopService(self) -> Deferred[None]:
        """
        Send the clients away and close the ports.

        @return: fires when they are closed.
        """
        Service.stopService(self)
        self.gateway.endAll(SERVER_SHUTTING_DOWN)
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        ports, self.ports = self.ports, {}
        protocols, self._protocols = self._protocols, []
        self._layers.clear()
        if self._discovery is not None:
            self._discovery.stop()
        if self._streams is not None:
            self._streams.releaseAll()
        # Whoever has an association with one of them is told that it is over.
        for protocol in protocols:
            protocol.doStop()
        for port in ports.values():
            await maybeDeferred(port.stopListening)

    def _place(self, kind: str, bind: Bind, usernamePart: str | None = None) -> Place:
        zone = self._broker.settings.resolveZone(self._settings.zone)
        return Place(f"coap:{kind}", zone, onLoopback=bind.isLoopback, usernamePart=usernamePart)

    def _openGroups(self, endpoint: CoAPProtocol) -> None:
        """
        Hear the groups by which devices look for servers. One that can't be joined, as on a machine without a network,
        is told and left out.
        """
        settings = self._settings
        discovery = self._discovery = Discovery(endpoint, self._reactor, settings.multicast_leisure)
        host, port = self.ports["udp"].getHost()
        for group in settings.multicast_groups:
            try:
                opened = openGroup(self._reactor, group, host, port, discovery)
            except CannotListenError as error:
                _log.error("coap.multicast: {group} can't be joined: {error}", group=group, error=error.socketError)
                continue
            for number, each in enumerate(opened):
                self.ports[f"{group} {number}"] = each
            if opened:
                _log.info("coap.multicast: {group} is heard on port {port}", group=group, port=port)

    def _open(self, kind: str, bind: Bind, protocol: Any, shared: bool = False) -> int:
        """
        Open a port; returns its number.
        """
        port = openDatagrams(self._reactor, bind, protocol, _RECEIVE_BUFFER, shared=shared)
        self.ports[kind] = port
        self._protocols.append(protocol)
        host, number = port.getHost()
        protocol.makeConnection(port)
        self._say(kind, host, number)
        return number

    def _say(self, kind: str, host: str, port: int) -> None:
        shown = f"[{host}]" if ":" in host else host
        key = "coap" if kind == "udp" else f"coap.{kind}"
        _log.info("listening: coap:{kind} on {host}:{port} ({key})", kind=kind, host=shown, port=port, key=key)


def makeService(broker: Any, settings: CoAP | None, reactor: Any) -> IService:
    """
    The service of the gateway.

    @param settings: the table C{[coap]}; without one, the defaults.
    """
    return CoAPService(broker, settings or CoAP(), reactor)
