"""
The extension C{mqttsn}: the port of the MQTT-SN gateway, and its ADVERTISE and GWINFO messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from gateways.mqttsn.protocol import MQTTSNProtocol
from gateways.mqttsn.settings import MQTTSNSettings
from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.net.datagrams import isMulticast
from twisted_mqtt.net.names import isNumeric, numeric, whyNot

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IExtensionContext, IListening, IPreflight


@implementer(IExtension)
class MQTTSNExtension:
    """
    The extension C{mqttsn}.

    @ivar protocol: what comes to its port.
    @ivar port: the port; L{None} while there is none.
    """

    protocol: MQTTSNProtocol

    def __init__(self, settings: MQTTSNSettings) -> None:
        self.port: IListening | None = None
        self._settings = settings

    async def start(self, context: IExtensionContext) -> None:
        """
        Open the port.

        @raise twisted.internet.error.CannotListenError: its address is taken, forbidden, or not ours.
        @raise OSError: nothing is known of the name that ADVERTISE goes to.
        """
        settings = self._settings
        protocol = self.protocol = MQTTSNProtocol(context.broker, settings)
        address = settings.advertise_address
        if address is not None and not isNumeric(address.host):
            # Once, and not at each datagram: the system's resolver may take its time.
            try:
                address = await context.broker.threads.defer(numeric, address)
            except OSError as error:
                raise OSError(f"mqtt.sn.advertise_address: {whyNot(address, error)}") from error
        group = address.host if address is not None and isMulticast(address.host) else None
        self.port = await context.node.listenDatagrams(
            settings,
            protocol,
            "mqttsn.udp",
            path="mqtt.sn",
            bind=settings.port,
            group=group,
            count=lambda: len(protocol.clients),
        )
        if address is not None and settings.advertise_duration:
            where = address
            context.loop(settings.advertise_duration, lambda: protocol.advertise(where), now=True)

    def preflight(self, checks: IPreflight) -> None:
        """
        See L{IExtension}.
        """
        checks.port("mqtt.sn.port", self._settings.port, "udp")

    async def stop(self) -> None:
        """
        Send the clients away and close the port.
        """
        port, self.port = self.port, None
        if port is not None:
            await port.close()
