"""
The extension C{lwm2m}: the ports of the LwM2M gateway, from its table of the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.logger import Logger
from zope.interface import implementer

from gateways.coap.transport.dtls import DTLSProtocol
from gateways.coap.transport.dtlscontext import DTLSContext
from gateways.lwm2m.gateway import LwM2MGateway
from gateways.lwm2m.objects.definitions import loadModels
from gateways.lwm2m.protocol import LwM2MProtocol
from gateways.lwm2m.settings import LwM2MSettings
from twisted_mqtt.broker.listenerprofile import ListenerProfile, limitsOf
from twisted_mqtt.config.schema_ports import DatagramSettings
from twisted_mqtt.core.reasons import SERVER_SHUTTING_DOWN
from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.net.tls.options import optionsOf

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from twisted_mqtt.config.values import Bind
    from twisted_mqtt.interfaces import IExtensionContext, IListening, IPreflight
    from twisted_mqtt.net.tls.psk import PreSharedKeys

_log = Logger()

# So many commands more than may wait come to the gateway, so that it can answer those that are too many.
_WINDOW_SLACK: Final = 16
_LARGEST_WINDOW: Final = 65535


@implementer(IExtension)
class LwM2MExtension:
    """
    The extension C{lwm2m}.

    @ivar gateway: what its devices share.
    @ivar ports: those that are open: C{"udp"}, C{"udp.1"}, C{"dtls.1"}, ...
    """

    gateway: LwM2MGateway

    def __init__(self, settings: LwM2MSettings) -> None:
        self.ports: dict[str, IListening] = {}
        self._settings = settings
        self._sockets = DatagramSettings(
            access=settings.access, recbuf=settings.opts.recbuf, sndbuf=settings.opts.sndbuf
        )

    async def start(self, context: IExtensionContext) -> None:
        """
        Open the ports.

        @raise twisted.internet.error.CannotListenError: one can't be opened; none is then.
        @raise twisted_mqtt.net.tls.options.TLSProblem: the keys of DTLS can't work; neither is any.
        """
        settings = self._settings
        self._broker = broker = context.broker
        self._reactor: IReactorTime = context.clock
        models, problems = loadModels(settings.xml_dir)
        for problem in problems:
            _log.error("lwm2m.xml_dir: {problem}", problem=problem)
        self.gateway = LwM2MGateway(broker, settings, models)
        for problem in self.gateway.bootstrapping.accounts.problems:
            _log.error("{problem}", problem=problem)
        self._node = context.node
        binds = settings.bind
        try:
            secure = [
                (f"dtls.{number}", bind, self._keys(broker.preSharedKeys)) for number, bind in enumerate(binds.dtls, 1)
            ]
            await self._openPlain("udp", settings.port, "lwm2m")
            for number, bind in enumerate(binds.udp, 1):
                await self._openPlain(f"udp.{number}", bind, f"lwm2m.bind.udp.{number}")
            for name, bind, keys in secure:
                await self._openSecure(name, bind, keys)
        except BaseException:
            await self._close()
            raise

    def preflight(self, checks: IPreflight) -> None:
        """
        See L{IExtension}.
        """
        settings, binds = self._settings, self._settings.bind
        checks.port("lwm2m.port", settings.port, "udp")
        for number, bind in enumerate(binds.udp, 1):
            checks.port(f"lwm2m.bind.udp.{number}", bind, "udp")
        for number, bind in enumerate(binds.dtls, 1):
            checks.port(f"lwm2m.bind.dtls.{number}", bind, "udp")
        if binds.dtls:
            checks.attempt(lambda: self._keys(checks.preSharedKeys))

    async def stop(self) -> None:
        """
        Let the devices go and close the ports.
        """
        self.gateway.endAll(SERVER_SHUTTING_DOWN)
        await self._close()

    async def _close(self) -> None:
        ports, self.ports = self.ports, {}
        for port in ports.values():
            await port.close()

    async def _openPlain(self, name: str, bind: Bind, path: str) -> None:
        protocol = LwM2MProtocol(self.gateway, self._profile("udp", bind), self._reactor)
        port = self.ports[name] = await self._node.listenDatagrams(
            self._sockets, protocol, f"lwm2m.{name}", path=path, bind=bind
        )
        protocol.port = port.address.port

    async def _openSecure(self, name: str, bind: Bind, keys: DTLSContext) -> None:
        protocol = LwM2MProtocol(self.gateway, self._profile("dtls", bind), self._reactor, True)
        most = self._settings.max_associations
        layer = DTLSProtocol(protocol, keys, self._reactor, self._broker.wheel, most)
        port = self.ports[name] = await self._node.listenDatagrams(
            self._sockets,
            layer,
            f"lwm2m.{name}",
            path=f"lwm2m.bind.{name}",
            bind=bind,
            kind="dtls",
            count=layer.__len__,
        )
        protocol.port = port.address.port

    def _profile(self, kind: str, bind: Bind) -> ListenerProfile:
        return profileOf(self._broker.settings.resolveZone(self._settings.zone), kind, bind.isLoopback, self._settings)

    def _keys(self, preSharedKeys: PreSharedKeys) -> DTLSContext:
        return DTLSContext(optionsOf(self._settings, "lwm2m"), preSharedKeys)


def profileOf(zone: Any, kind: str, onLoopback: bool, settings: LwM2MSettings) -> ListenerProfile:
    """
    Where the devices of a port come from, as the broker sees it.

    @param kind: C{"udp"} or C{"dtls"}.
    """
    limits = limitsOf(zone)
    # Commands for a device wait in the gateway, which answers for it.
    limits.maxInflight = min(_LARGEST_WINDOW, settings.max_commands + _WINDOW_SLACK)
    return ListenerProfile(
        f"lwm2m:{kind}",
        zone,
        limits,
        onLoopback,
        topicTree=settings.topic_tree,
        maxPerAddress=settings.max_clients_per_address,
    )
