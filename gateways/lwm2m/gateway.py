"""
The gateway: its parts, and the dispatch of requests from the CoAP endpoints to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateways.clientlimit import ClientLimit
from gateways.coap.parameters import Parameters
from gateways.lwm2m.bootstrap import Bootstrapping
from gateways.lwm2m.interface import Asked, ServerInterface
from gateways.lwm2m.registration import Lifetimes
from gateways.lwm2m.registry import DeviceRegistry
from twisted_mqtt.base.ratelimitedlog import RateLimitedLog
from twisted_mqtt.core.templates import filled

if TYPE_CHECKING:
    from gateways.coap.message import CoAPMessage
    from gateways.coap.roles import Address, Incoming
    from gateways.lwm2m.contact import Contact
    from gateways.lwm2m.objects.models import Models
    from gateways.lwm2m.protocol import LwM2MProtocol
    from gateways.lwm2m.settings import LwM2MSettings
    from twisted_mqtt.interfaces import IBroker


class LwM2MGateway:
    """
    The gateway, as its endpoints (L{ResourceServer<gateways.coap.protocol.ResourceServer>}) and its devices
    (L{DeviceGateway<gateways.lwm2m.contact.DeviceGateway>}) see it.

    @ivar models: the objects that are known.
    @ivar log: for what anybody can cause.
    @ivar registry: the devices.
    @ivar limit: of how many there may be.
    @ivar bootstrapping: the bootstrap server.
    """

    def __init__(self, broker: IBroker, settings: LwM2MSettings, models: Models) -> None:
        self.broker = broker
        self.settings = settings
        self.models = models
        self.parameters = Parameters()
        self.log = RateLimitedLog(broker.clock.seconds)
        self.registry = DeviceRegistry()
        self.limit = ClientLimit(broker, "lwm2m", settings.max_clients)
        self.bootstrapping = Bootstrapping(broker, settings)
        lifetimes = Lifetimes(settings.lifetime_min, settings.lifetime_max)
        self._interface = ServerInterface(self, lifetimes, self.bootstrapping)

    def serve(self, endpoint: LwM2MProtocol, asked: CoAPMessage, message: CoAPMessage, incoming: Incoming) -> None:
        """
        See L{ResourceServer<gateways.coap.protocol.ResourceServer>}.
        """
        self._interface.serve(Asked(endpoint, asked, message, incoming))

    def topic(self, device: Contact, topic: str) -> str:
        """
        See L{DeviceGateway<gateways.lwm2m.contact.DeviceGateway>}.
        """
        names: dict[str, str | None] = {"e": device.registration.endpoint, "a": str(device.address[0])}
        return filled(self.settings.mountpoint + topic, names)

    def lost(self, address: Address, reason: int | str) -> None:
        """
        See L{ResourceServer<gateways.coap.protocol.ResourceServer>}; endpoints know themselves who was there.
        """

    def endAll(self, reason: int | str) -> None:
        """
        Let all go; they are expected to come back.
        """
        self.bootstrapping.endAll()
        for device in self.registry.all():
            device.end(reason, "the gateway stops", keepSession=True)
