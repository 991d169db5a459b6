"""
The extension C{coap}: the ports of the CoAP gateway, from its table of the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from zope.interface import implementer

from gateways.coap.configuration import TopicConfiguration
from gateways.coap.gateway import CoAPGateway
from gateways.coap.multicast import Discovery
from gateways.coap.protocol import CoAPProtocol
from gateways.coap.pubsub import PubSubTopics
from gateways.coap.settings import CoAPSettings
from gateways.coap.transport.dtls import DTLSProtocol
from gateways.coap.transport.dtlscontext import DTLSContext
from gateways.coap.transport.stream import StreamFactory
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.core.reasons import SERVER_SHUTTING_DOWN
from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.net.addressrules import EVERYBODY, AccessReceiver
from twisted_mqtt.net.datagrams import openGroup
from twisted_mqtt.net.tls.options import TLSProblem, optionsOf

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from twisted_mqtt.config.values import Bind
    from twisted_mqtt.interfaces import IExtensionContext, IListening, IPreflight
    from twisted_mqtt.net.datagrams import DatagramPort, DatagramReceiver, TwistedPort
    from twisted_mqtt.net.tls.psk import PreSharedKeys

_log = Logger()


@implementer(IExtension)
class CoAPExtension:
    """
    The extension C{coap}.

    @ivar gateway: what its clients share.
    @ivar ports: those that are open: C{"udp"}, C{"dtls"} and C{"tcp"}.
    """

    gateway: CoAPGateway

    def __init__(self, settings: CoAPSettings) -> None:
        self.ports: dict[str, IListening] = {}
        self._groups: list[DatagramPort | TwistedPort] = []
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
        self._reactor: IReactorTime = context.clock
        kept = context.table("topics").records(TopicConfiguration)
        self.gateway = CoAPGateway(broker, settings, PubSubTopics(settings.max_topics, kept))
        self._node = context.node
        try:
            dtls = settings.dtls
            keys = None if dtls.port is None else self._keys(broker.preSharedKeys)
            plain = CoAPProtocol(self.gateway, self._profile("udp", settings.port), self._reactor)
            port = self.ports["udp"] = await context.node.listenDatagrams(
                settings, plain, "coap.udp", path="coap", bind=settings.port, shared=self._isShared()
            )
            plain.port = port.address.port
            if settings.multicast:
                self._openGroups(plain, port.address)
            if dtls.port is not None and keys is not None:
                await self._openSecure(dtls.port, keys)
            if settings.tcp.bind is not None:
                await self._openStream(settings.tcp.bind)
        except BaseException:
            await self._close()
            raise

    def preflight(self, checks: IPreflight) -> None:
        """
        See L{IExtension}.
        """
        settings, dtls = self._settings, self._settings.dtls
        checks.port("coap.port", settings.port, "udp", shared=self._isShared())
        if dtls.port is not None:
            checks.port("coap.dtls.port", dtls.port, "udp")
            checks.attempt(lambda: self._keys(checks.preSharedKeys))

    def _isShared(self) -> bool:
        """
        Whether others open its port too: beside an address of its own, a group's is another one; the address for all
        takes those of groups, too.
        """
        return self._settings.multicast and self._settings.port.host in ("0.0.0.0", "::")

    def _keys(self, preSharedKeys: PreSharedKeys) -> DTLSContext:
        """
        @raise TLSProblem: they can't work.
        """
        dtls = self._settings.dtls
        if dtls.peer_cert_as_username and dtls.verify != "verify_peer":
            part = dtls.peer_cert_as_username
            raise TLSProblem(f'coap.dtls.peer_cert_as_username = "{part}": needs verify = "verify_peer"')
        return DTLSContext(optionsOf(dtls, "coap.dtls"), preSharedKeys)

    async def _openSecure(self, bind: Bind, keys: DTLSContext) -> None:
        """
        Open the port of DTLS.
        """
        dtls = self._settings.dtls
        profile = self._profile("dtls", bind, dtls.peer_cert_as_username)
        secure = CoAPProtocol(self.gateway, profile, self._reactor, True)
        layer = DTLSProtocol(secure, keys, self._reactor, self._broker.wheel, dtls.max_associations)
        port = self.ports["dtls"] = await self._node.listenDatagrams(
            dtls, layer, "coap.dtls", path="coap.dtls", bind=bind, kind="dtls", count=layer.__len__
        )
        secure.port = port.address.port

    async def _openStream(self, bind: Bind) -> None:
        """
        Open the port of TCP.
        """
        profile = self._profile("tcp", bind)
        factory = self._streams = StreamFactory(self.gateway, profile)
        port = self.ports["tcp"] = await self._node.listen(
            self._settings.tcp, factory, "coap.tcp", path="coap.tcp", bind=bind, pending=profile.zone.max_pending_bytes
        )
        factory.port = port.address.port

    async def stop(self) -> None:
        """
        Send the clients away and close the ports.
        """
        self.gateway.endAll(SERVER_SHUTTING_DOWN)
        if self._discovery is not None:
            self._discovery.stop()
        if self._streams is not None:
            self._streams.releaseAll()
        await self._close()

    async def _close(self) -> None:
        ports, self.ports = self.ports, {}
        groups, self._groups = self._groups, []
        for group in groups:
            await group.stopListening()
        for port in ports.values():
            await port.close()

    def _profile(self, kind: str, bind: Bind, usernamePart: str | None = None) -> ListenerProfile:
        zone = self._broker.settings.resolveZone(self._settings.zone)
        return ListenerProfile(
            f"coap:{kind}",
            zone,
            onLoopback=bind.isLoopback,
            usernamePart=usernamePart,
            topicTree=self._settings.topic_tree,
            maxPerAddress=self._settings.max_clients_per_address,
        )

    def _openGroups(self, endpoint: CoAPProtocol, address: Bind) -> None:
        """
        Hear the groups by which devices look for servers. One that can't be joined, as on a machine without a network,
        is told and left out.
        """
        settings = self._settings
        discovery = self._discovery = Discovery(endpoint, self._reactor, settings.multicast_leisure)
        receiver: DatagramReceiver = discovery
        if settings.access != EVERYBODY:
            broker = self._broker
            receiver = AccessReceiver(discovery, "coap", settings.access, broker.counters, broker.clock.seconds)
        for group in settings.multicast_groups:
            try:
                opened = openGroup(self._reactor, group, address.host, address.port, receiver)
            except CannotListenError as error:
                _log.error("coap.multicast: {group} can't be joined: {error}", group=group, error=error.socketError)
                continue
            self._groups.extend(opened)
            if opened:
                _log.info("coap.multicast: {group} is heard on port {port}", group=group, port=address.port)
