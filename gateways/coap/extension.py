"""
The extension C{coap}: the ports of the CoAP gateway, from its table of the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from zope.interface import implementer

from gateways.coap.gateway import CoAPGateway
from gateways.coap.multicast import Discovery
from gateways.coap.protocol import CoAPProtocol
from gateways.coap.pubsub import PubSubTopics
from gateways.coap.settings import CoAPSettings
from gateways.coap.transport.dtlscontext import DTLSContext
from gateways.coap.transport.ports import Ports
from gateways.coap.transport.stream import StreamFactory
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.core.reasons import SERVER_SHUTTING_DOWN
from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.net.datagrams import openGroup
from twisted_mqtt.net.endpoints import tcpEndpoint
from twisted_mqtt.net.portoptions import PortOptions, TransportOptions
from twisted_mqtt.net.tls.options import TLSProblem, optionsOf

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.config.values import Bind
    from twisted_mqtt.interfaces import IExtensionContext

_log = Logger()


@implementer(IExtension)
class CoAPExtension:
    """
    The extension C{coap}.

    @ivar gateway: what its clients share.
    @ivar ports: those that are open: C{"udp"}, C{"dtls"} and C{"tcp"}; and those that hear groups.
    """

    gateway: CoAPGateway
    ports: Ports

    #: Reads the certificates of DTLS again, where there is DTLS.
    refresh: Callable[[], None] | None = None

    def __init__(self, settings: CoAPSettings) -> None:
        self._discovery: Discovery | None = None
        self._streams: StreamFactory | None = None
        self._settings = settings

    async def start(self, context: IExtensionContext) -> None:
        """
        Open the ports.

        @raise twisted.internet.error.CannotListenError: one can't be opened; none is then.
        @raise twisted_mqtt.net.tls.options.TLSProblem: the keys of DTLS can't work; neither is any.
        """
        settings = self._settings
        self._broker = broker = context.broker
        self._reactor: Any = context.clock
        self.gateway = CoAPGateway(broker, settings, PubSubTopics(settings.max_topics))
        self.ports = Ports("coap", self._reactor, broker.wheel)
        try:
            dtls = settings.dtls
            if dtls.port is not None and dtls.peer_cert_as_username and dtls.verify != "verify_peer":
                part = dtls.peer_cert_as_username
                raise TLSProblem(f'coap.dtls.peer_cert_as_username = "{part}": needs verify = "verify_peer"')
            keys = None if dtls.port is None else DTLSContext(optionsOf(dtls, "coap.dtls"), broker.preSharedKeys)
            plain = CoAPProtocol(self.gateway, self._profile("udp", settings.port), self._reactor)
            # Beside an address of its own, a group's is another one; the address for all takes those of groups, too.
            shared = settings.multicast and settings.port.host in ("0.0.0.0", "::")
            self.ports.openPlain("udp", settings.port, plain, "coap", shared)
            if settings.multicast:
                self._openGroups(plain)
            if dtls.port is not None and keys is not None:
                profile = self._profile("dtls", dtls.port, dtls.peer_cert_as_username)
                secure = CoAPProtocol(self.gateway, profile, self._reactor, True)
                self.ports.openSecure("dtls", dtls.port, secure, "coap.dtls", keys, dtls.max_associations)
                self.refresh = self.ports.refresh
            if settings.tcp.port is not None:
                await self._listen(settings.tcp.port, settings.tcp.max_connections)
        except BaseException:
            await self.ports.close()
            raise

    async def _listen(self, bind: Bind, most: int) -> None:
        """
        Open the port of TCP.
        """
        profile = self._profile("tcp", bind)
        factory = self._streams = StreamFactory(self.gateway, profile, most)
        pending = profile.zone.max_pending_bytes
        options = PortOptions(transport=TransportOptions(highWater=pending, lowWater=pending // 4))
        port: Any = await tcpEndpoint(self._reactor, bind.port, bind.host, options).listen(factory)
        host = port.getHost()
        factory.port = host.port
        self.ports.add("tcp", port, "coap.tcp", "tcp", host.host, host.port)

    async def stop(self) -> None:
        """
        Send the clients away and close the ports.
        """
        self.gateway.endAll(SERVER_SHUTTING_DOWN)
        if self._discovery is not None:
            self._discovery.stop()
        if self._streams is not None:
            self._streams.releaseAll()
        await self.ports.close()

    def _profile(self, kind: str, bind: Bind, usernamePart: str | None = None) -> ListenerProfile:
        zone = self._broker.settings.resolveZone(self._settings.zone)
        return ListenerProfile(f"coap:{kind}", zone, onLoopback=bind.isLoopback, usernamePart=usernamePart)

    def _openGroups(self, endpoint: CoAPProtocol) -> None:
        """
        Hear the groups by which devices look for servers. One that can't be joined, as on a machine without a network,
        is told and left out.
        """
        settings = self._settings
        discovery = self._discovery = Discovery(endpoint, self._reactor, settings.multicast_leisure)
        host, port = self.ports.opened["udp"].getHost()
        for group in settings.multicast_groups:
            try:
                opened = openGroup(self._reactor, group, host, port, discovery)
            except CannotListenError as error:
                _log.error("coap.multicast: {group} can't be joined: {error}", group=group, error=error.socketError)
                continue
            for number, each in enumerate(opened):
                self.ports.opened[f"{group} {number}"] = each
            if opened:
                _log.info("coap.multicast: {group} is heard on port {port}", group=group, port=port)
