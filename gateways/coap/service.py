"""
The service of the CoAP gateway: its ports, from the tables of the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from zope.interface import alsoProvides

from gateways.coap.dtlscontext import DTLSContext
from gateways.coap.gateway import Gateway
from gateways.coap.ports import Ports
from gateways.coap.protocol import CoAPProtocol
from gateways.coap.pubsub import Topics
from twisted_mqtt.config.schema_extensions import CoAP
from twisted_mqtt.core.reasons import SERVER_SHUTTING_DOWN
from twisted_mqtt.interfaces import IRefreshing
from twisted_mqtt.listening import Place

if TYPE_CHECKING:
    from twisted.application.service import IService
    from twisted.internet.defer import Deferred

    from twisted_mqtt.config.values import Bind


class CoAPService(Service):
    """
    The gateway.

    @ivar gateway: what its clients share.
    @ivar ports: those that are open: C{"udp"} and C{"dtls"}.
    """

    def __init__(self, broker: Any, settings: CoAP, reactor: Any) -> None:
        self.gateway = Gateway(broker, settings, Topics(settings.max_topics))
        self.ports = Ports("coap", reactor, broker.wheel)
        self._broker = broker
        self._settings = settings
        self._reactor = reactor

    def startService(self) -> None:
        """
        Open the ports.

        @raise twisted.internet.error.CannotListenError: one can't be opened; none is then.
        @raise twisted_mqtt.tlscontext.TLSProblem: the keys of DTLS can't work; neither is any.
        """
        Service.startService(self)
        settings, broker = self._settings, self._broker
        try:
            dtls = settings.dtls
            context = None if dtls.port is None else DTLSContext(dtls, "coap.dtls", broker.preSharedKeys)
            plain = CoAPProtocol(self.gateway, self._place("udp", settings.port), self._reactor)
            self.ports.openPlain("udp", settings.port, plain, "coap")
            if dtls.port is not None and context is not None:
                place = self._place("dtls", dtls.port, dtls.peer_cert_as_username)
                secure = CoAPProtocol(self.gateway, place, self._reactor, True)
                self.ports.openSecure("dtls", dtls.port, secure, "coap.dtls", context, dtls.max_associations)
                alsoProvides(self, IRefreshing)
        except BaseException:
            self.ports.close()
            raise

    def refresh(self) -> None:
        """
        Read the certificates of DTLS again, see L{IRefreshing}; without DTLS there are none, and this is not provided.

        @raise twisted_mqtt.tlscontext.TLSProblem: they can't be used.
        """
        self.ports.refresh()

    def stopService(self) -> Deferred[None]:
        """
        Send the clients away and close the ports.

        @return: fires when they are closed.
        """
        Service.stopService(self)
        self.gateway.endAll(SERVER_SHUTTING_DOWN)
        return self.ports.close()

    def _place(self, kind: str, bind: Bind, usernamePart: str | None = None) -> Place:
        zone = self._broker.settings.resolveZone(self._settings.zone)
        return Place(f"coap:{kind}", zone, onLoopback=bind.isLoopback, usernamePart=usernamePart)


def makeService(broker: Any, settings: CoAP | None, reactor: Any) -> IService:
    """
    The service of the gateway.

    @param settings: the table C{[coap]}; without one, the defaults.
    """
    return CoAPService(broker, settings or CoAP(), reactor)
