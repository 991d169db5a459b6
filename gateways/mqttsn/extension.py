"""
The extension C{mqttsn}: the socket of the MQTT-SN gateway, and its voice in the neighbourhood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from gateways.mqttsn.protocol import MQTTSNProtocol
from gateways.mqttsn.settings import MQTTSNSettings
from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.net.datagrams import isMulticast, openDatagrams

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IExtensionContext

_log = Logger()


@implementer(IExtension)
class MQTTSNExtension:
    """
    The extension C{mqttsn}.

    @ivar protocol: what comes to its socket.
    """

    protocol: MQTTSNProtocol

    def __init__(self, settings: MQTTSNSettings) -> None:
        self._settings = settings

    def start(self, context: IExtensionContext) -> None:
        """
        Open the socket.

        @raise twisted.internet.error.CannotListenError: its address is taken, forbidden, or not ours.
        """
        settings = self._settings
        reactor: Any = context.clock
        self.protocol = MQTTSNProtocol(context.broker, settings)
        address = settings.advertise_address
        group = address.host if address is not None and isMulticast(address.host) else None
        port = openDatagrams(reactor, settings.port, self.protocol, settings.recbuf, settings.sndbuf, group)
        self.protocol.transport = port
        host, self.protocol.port = port.getHost()
        where = f"[{host}]" if ":" in host else host
        _log.info("listening: mqttsn:udp on {where}:{port} (mqtt.sn)", where=where, port=self.protocol.port)
        if address is not None and settings.advertise_duration:
            context.loop(settings.advertise_duration, self.protocol.advertise, now=True)

    def stop(self) -> Deferred[None] | None:
        """
        Send the clients away and close the socket.

        @return: fires when that is done.
        """
        port = self.protocol.transport
        if port is not None:
            self.protocol.sendAllAway()
        self.protocol.transport = None
        return None if port is None else port.stopListening()
