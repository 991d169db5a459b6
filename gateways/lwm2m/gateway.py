"""
What the devices of the gateway share: the broker, the settings, the object definitions; and who is registered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateways.coap.parameters import Parameters
from gateways.lwm2m.bootstrap import Bootstrapping
from gateways.lwm2m.interface import Asked, serve
from gateways.lwm2m.registration import Lifetimes
from twisted_mqtt.base.ratelimitedlog import RateLimitedLog

if TYPE_CHECKING:
    from gateways.coap.exchange import Address, Incoming
    from gateways.coap.message import CoAPMessage
    from gateways.lwm2m.contact import Contact
    from gateways.lwm2m.device import Device
    from gateways.lwm2m.objects.models import Models
    from gateways.lwm2m.protocol import LwM2MProtocol
    from gateways.lwm2m.settings import LwM2MSettings


class LwM2MGateway:
    """
    The gateway.

    @ivar devices: those that are registered, by endpoint name.
    @ivar coming: those that are being let in, by where they are and by endpoint name.
    @ivar models: the objects that are known.
    @ivar log: for what anybody can cause.
    @ivar bootstrapping: the bootstrap server.
    """

    def __init__(self, broker: Any, settings: LwM2MSettings, models: Models) -> None:
        self.broker = broker
        self.settings = settings
        self.models = models
        self.parameters = Parameters()
        self.lifetimes = Lifetimes(settings.lifetime_min, settings.lifetime_max)
        self.log = RateLimitedLog(broker.clock.seconds)
        self.devices: dict[str, Device] = {}
        self.coming: dict[tuple[LwM2MProtocol, Address, str], Device] = {}
        self.bootstrapping = Bootstrapping(broker, settings)

    @property
    def isFull(self) -> bool:
        """
        Whether no more devices can come.
        """
        return len(self.devices) + len(self.coming) >= self.settings.max_clients

    def serve(self, endpoint: LwM2MProtocol, asked: CoAPMessage, message: CoAPMessage, incoming: Incoming) -> None:
        """
        See L{ResourceServer<gateways.coap.protocol.ResourceServer>}.
        """
        serve(self, Asked(endpoint, asked, message, incoming))

    def topic(self, device: Contact, topic: str) -> str:
        """
        A topic or filter of a device, with its mount point.
        """
        whole = self.settings.mountpoint + topic
        return whole.replace("%e", device.registration.endpoint).replace("%a", str(device.address[0]))

    def add(self, device: Device) -> None:
        """
        A device is registered, or somewhere else than before.
        """
        name = device.registration.endpoint
        self.devices[name] = device
        device.endpoint.devices.setdefault(device.address, {})[name] = device

    def remove(self, device: Device) -> None:
        """
        A device is not registered any more, or not where it was.
        """
        name = device.registration.endpoint
        if self.devices.get(name) is device:
            del self.devices[name]
        there = device.endpoint.devices.get(device.address)
        if there is not None and there.get(name) is device:
            del there[name]
            if not there:
                del device.endpoint.devices[device.address]

    def lost(self, address: Address, reason: int | str) -> None:
        """
        See L{gateways.coap.protocol.ResourceServer}; endpoints know themselves who was there.
        """

    def endAll(self, reason: int | str) -> None:
        """
        Let all go; they are expected to come back.
        """
        self.bootstrapping.endAll()
        for device in [*self.devices.values(), *self.coming.values()]:
            device.end(reason, "the gateway stops", keepSession=True)
