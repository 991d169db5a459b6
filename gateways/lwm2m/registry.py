"""
The registered devices, by endpoint name and by address, and the devices that are about to register.

The cost of a datagram does not depend on the number of devices at its address (many devices may be behind one proxy).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateways.coap.roles import Address
    from gateways.lwm2m.contact import Contact
    from gateways.lwm2m.device import Device
    from gateways.lwm2m.protocol import LwM2MProtocol

# Of devices at one address that wait for others there, so many are served with one datagram.
_AT_ONCE: Final = 8


class DeviceAddress:
    """
    The devices at one address of an endpoint.

    @ivar devices: all of them, by endpoint name.
    @ivar registered: those that have been told that they are registered.
    """

    __slots__ = ("devices", "registered", "_endpoint", "_address", "_waiting")

    def __init__(self, endpoint: LwM2MProtocol, address: Address) -> None:
        self.devices: dict[str, Device] = {}
        self.registered: dict[str, Device] = {}
        self._endpoint = endpoint
        self._address = address
        # Those with commands that find no room in the queue of the address, in order.
        self._waiting: dict[str, Contact] = {}

    def heard(self, now: float) -> None:
        """
        A datagram has come from here. Where there is one device, it is awake; of several, what the datagram says tells
        which one is.
        """
        if len(self.devices) == 1:
            for device in self.devices.values():
                device.heard(now)
        if self._waiting:
            self.serveWaiting(now)

    def hasRoom(self, device: Contact) -> bool:
        """
        Whether a request can be sent here; if not, the device is told when it may try again.
        """
        if self._endpoint.exchanges.hasRoom(self._address):
            return True
        self._waiting[device.registration.endpoint] = device
        return False

    def serveWaiting(self, now: float) -> None:
        """
        Let some of those that wait for room try again.
        """
        waiting, exchanges = self._waiting, self._endpoint.exchanges
        for _ in range(min(_AT_ONCE, len(waiting))):
            if not exchanges.hasRoom(self._address):
                return
            device = waiting.pop(next(iter(waiting)))
            device.downlink.pump(now)

    def remove(self, device: Device) -> None:
        """
        A device is not here any more.
        """
        name = device.registration.endpoint
        for devices in (self.devices, self.registered):
            if devices.get(name) is device:
                del devices[name]
        if self._waiting.get(name) is device:
            del self._waiting[name]


class DeviceRegistry:
    """
    All devices of a gateway.

    @ivar devices: those that are registered, by endpoint name.
    @ivar coming: those that are being let in, by where they are and by endpoint name.
    """

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}
        self.coming: dict[tuple[LwM2MProtocol, Address, str], Device] = {}

    @property
    def size(self) -> int:
        """
        How many devices there are, with those that are being let in.
        """
        return len(self.devices) + len(self.coming)

    def all(self) -> list[Device]:
        """
        Those that are registered, and those that are being let in.
        """
        return [*self.devices.values(), *self.coming.values()]

    def registeredAt(self, endpoint: LwM2MProtocol, address: Address) -> dict[str, Device]:
        """
        The devices at an address that know that they are registered, by endpoint name. Not to be changed.
        """
        there = endpoint.addresses.get(address)
        return {} if there is None else there.registered

    def add(self, device: Device) -> DeviceAddress:
        """
        A device is registered, or has been told so, or is somewhere else than before.

        @return: where it is.
        """
        name, addresses = device.registration.endpoint, device.endpoint.addresses
        self.devices[name] = device
        there = addresses.get(device.address)
        if there is None:
            there = addresses[device.address] = DeviceAddress(device.endpoint, device.address)
        there.devices[name] = device
        if not device.isComing:
            there.registered[name] = device
        return there

    def remove(self, device: Device) -> None:
        """
        A device is not registered any more, or not where it was.
        """
        name, addresses = device.registration.endpoint, device.endpoint.addresses
        if self.devices.get(name) is device:
            del self.devices[name]
        there = addresses.get(device.address)
        if there is not None:
            there.remove(device)
            if not there.devices:
                del addresses[device.address]
