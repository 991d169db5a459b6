"""
The service of the LwM2M gateway: its ports, from the tables of the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.logger import Logger
from zope.interface import alsoProvides

from gateways.coap.transport.dtlscontext import DTLSContext
from gateways.coap.transport.ports import Ports
from gateways.lwm2m.gateway import LwM2MGateway
from gateways.lwm2m.objects.definitions import loadModels
from gateways.lwm2m.protocol import LwM2MProtocol
from gateways.lwm2m.settings import LwM2MSettings
from twisted_mqtt.broker.listenerprofile import ListenerProfile, limitsOf
from twisted_mqtt.core.reasons import SERVER_SHUTTING_DOWN
from twisted_mqtt.interfaces import IRefreshing
from twisted_mqtt.net.tls.options import optionsOf

if TYPE_CHECKING:
    from twisted.application.service import IService
    from twisted.internet.defer import Deferred

    from twisted_mqtt.config.values import Bind

_log = Logger()

# So many commands more than may wait come to the gateway, so that it can answer those that are too many.
_WINDOW_SLACK: Final = 16
_LARGEST_WINDOW: Final = 65535


class LwM2MService(Service):
    """
    The gateway.

    @ivar gateway: what its devices share.
    @ivar ports: those that are open: C{"udp"}, C{"udp.1"}, C{"dtls.1"}, ...
    """

    def __init__(self, broker: Any, settings: LwM2MSettings, reactor: Any) -> None:
        models, problems = loadModels(settings.xml_dir)
        for problem in problems:
            _log.error("lwm2m.xml_dir: {problem}", problem=problem)
        self.gateway = LwM2MGateway(broker, settings, models)
        for problem in self.gateway.bootstrapping.accounts.problems:
            _log.error("{problem}", problem=problem)
        self.ports = Ports("lwm2m", reactor, broker.wheel, settings.opts.recbuf, settings.opts.sndbuf)
        self._broker = broker
        self._settings = settings
        self._reactor = reactor

    def startService(self) -> None:
        """
        Open the ports.

        @raise twisted.internet.error.CannotListenError: one can't be opened; none is then.
        @raise twisted_mqtt.net.tls.options.TLSProblem: the keys of DTLS can't work; neither is any.
        """
        Service.startService(self)
        settings = self._settings
        binds = settings.bind
        try:
            secure = [(f"dtls.{number}", bind, self._context()) for number, bind in enumerate(binds.dtls, 1)]
            self._openPlain("udp", settings.port, "lwm2m")
            for number, bind in enumerate(binds.udp, 1):
                self._openPlain(f"udp.{number}", bind, f"lwm2m.bind.udp.{number}")
            for name, bind, context in secure:
                protocol = LwM2MProtocol(self.gateway, self._profile("dtls", bind), self._reactor, True)
                key = f"lwm2m.bind.{name}"
                self.ports.openSecure(name, bind, protocol, key, context, settings.max_associations)
                alsoProvides(self, IRefreshing)
        except BaseException:
            self.ports.close()
            raise

    def refresh(self) -> None:
        """
        Read the certificates of DTLS again, see L{IRefreshing}; without DTLS there are none, and this is not provided.

        @raise twisted_mqtt.net.tls.options.TLSProblem: they can't be used.
        """
        self.ports.refresh()

    def stopService(self) -> Deferred[None]:
        """
        Let the devices go and close the ports.

        @return: fires when they are closed.
        """
        Service.stopService(self)
        self.gateway.endAll(SERVER_SHUTTING_DOWN)
        return self.ports.close()

    def _openPlain(self, name: str, bind: Bind, key: str) -> None:
        protocol = LwM2MProtocol(self.gateway, self._profile("udp", bind), self._reactor)
        self.ports.openPlain(name, bind, protocol, key)

    def _profile(self, kind: str, bind: Bind) -> ListenerProfile:
        return profileOf(self._broker.settings.resolveZone(self._settings.zone), kind, bind.isLoopback, self._settings)

    def _context(self) -> DTLSContext:
        return DTLSContext(optionsOf(self._settings, "lwm2m"), self._broker.preSharedKeys)


def profileOf(zone: Any, kind: str, onLoopback: bool, settings: LwM2MSettings) -> ListenerProfile:
    """
    Where the devices of a port come from, as the broker sees it.

    @param kind: C{"udp"} or C{"dtls"}.
    """
    limits = limitsOf(zone)
    # What waits for a device does so in the gateway, which answers for it.
    limits.maxInflight = min(_LARGEST_WINDOW, settings.max_commands + _WINDOW_SLACK)
    return ListenerProfile(f"lwm2m:{kind}", zone, limits, onLoopback)


def makeService(broker: Any, settings: LwM2MSettings | None, reactor: Any) -> IService:
    """
    The service of the gateway.

    @param settings: the table C{[lwm2m]}; without one, the defaults.
    """
    return LwM2MService(broker, settings or LwM2MSettings(), reactor)
