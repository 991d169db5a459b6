"""
One socket of the gateway: an endpoint of CoAP whose resources are those of a LwM2M server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateways.coap.exchange import Address
from gateways.coap.protocol import CoAPProtocol

if TYPE_CHECKING:
    from gateways.lwm2m.device import Device
    from gateways.lwm2m.gateway import LwM2MGateway
    from twisted_mqtt.broker.listenerprofile import ListenerProfile


class LwM2MProtocol(CoAPProtocol):
    """
    One endpoint.

    @ivar devices: who is registered, by address and endpoint name. A proxy's address is that of many.
    """

    def __init__(self, gateway: LwM2MGateway, profile: ListenerProfile, reactor: Any, secure: bool = False) -> None:
        """
        See L{CoAPProtocol}.
        """
        super().__init__(gateway, profile, reactor, secure)
        self.devices: dict[Address, dict[str, Device]] = {}

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """
        Take a datagram. Whatever comes from a device shows that it is awake.
        """
        super().datagramReceived(datagram, addr)
        there = self.devices.get(addr)
        if there:
            now = self._reactor.seconds()
            for device in list(there.values()):
                device.heard(now)

    def lost(self, address: Address) -> None:
        """
        The layer below has lost its association with a peer. Its registrations last; it may come back in another one.
        """
        for device in list(self.devices.get(address, {}).values()):
            device.detach()
        super().lost(address)
