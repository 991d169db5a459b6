"""
One socket of the gateway: a CoAP endpoint with the resources of an LwM2M server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateways.coap.protocol import CoAPProtocol
from gateways.coap.roles import Address

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from gateways.coap.protocol import ResourceServer
    from gateways.lwm2m.registry import DeviceAddress
    from twisted_mqtt.broker.listenerprofile import ListenerProfile


class LwM2MProtocol(CoAPProtocol):
    """
    One endpoint.

    @ivar addresses: where devices are. A proxy's address is that of many.
    """

    def __init__(
        self, gateway: ResourceServer, profile: ListenerProfile, reactor: IReactorTime, secure: bool = False
    ) -> None:
        """
        See L{CoAPProtocol}.
        """
        super().__init__(gateway, profile, reactor, secure)
        self.addresses: dict[Address, DeviceAddress] = {}

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """
        Take a datagram. Any datagram of a device shows that it is awake.
        """
        super().datagramReceived(datagram, addr)
        there = self.addresses.get(addr)
        if there is not None:
            there.heard(self._reactor.seconds())

    def lost(self, address: Address) -> None:
        """
        The layer below has lost its association with a peer. Its registrations last; it may come back in another one.
        """
        there = self.addresses.get(address)
        for device in () if there is None else list(there.devices.values()):
            device.detach()
        super().lost(address)
