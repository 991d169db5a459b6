"""
The service of the MQTT-SN gateway: its socket, and its voice in the neighbourhood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from gateways.mqttsn.protocol import MQTTSNProtocol
from gateways.mqttsn.settings import MQTTSNSettings
from twisted_mqtt.net.datagrams import isMulticast, openDatagrams

if TYPE_CHECKING:
    from twisted.application.service import IService

_log = Logger()


class MQTTSNService(Service):
    """
    The gateway.

    @ivar protocol: what comes to its socket.
    """

    def __init__(self, broker: Any, settings: MQTTSNSettings, reactor: Any) -> None:
        self.protocol = MQTTSNProtocol(broker, settings)
        self._settings = settings
        self._reactor = reactor
        self._advertising = LoopingCall(self.protocol.advertise)
        self._advertising.clock = broker.clock

    def startService(self) -> None:
        """
        Open the socket.

        @raise twisted.internet.error.CannotListenError: its address is taken, forbidden, or not ours.
        """
        settings = self._settings
        address = settings.advertise_address
        group = address.host if address is not None and isMulticast(address.host) else None
        port = openDatagrams(self._reactor, settings.port, self.protocol, settings.recbuf, settings.sndbuf, group)
        self.protocol.transport = port
        host, self.protocol.port = port.getHost()
        Service.startService(self)
        where = f"[{host}]" if ":" in host else host
        _log.info("listening: mqttsn:udp on {where}:{port} (mqtt.sn)", where=where, port=self.protocol.port)
        if address is not None and settings.advertise_duration:
            self._advertising.start(settings.advertise_duration)

    def stopService(self) -> Deferred[None]:
        """
        Send the clients away and close the socket.

        @return: fires when that is done.
        """
        Service.stopService(self)
        if self._advertising.running:
            self._advertising.stop()
        port = self.protocol.transport
        if port is not None:
            self.protocol.sendAllAway()
        self.protocol.transport = None
        return succeed(None) if port is None else port.stopListening()


def makeService(broker: Any, settings: Any, reactor: Any) -> IService:
    """
    See L{IGatewayMaker<twisted_mqtt.interfaces.IGatewayMaker>}.

    @param settings: the table C{[mqtt.sn]}; L{None} for its defaults.
    """
    return MQTTSNService(broker, MQTTSNSettings() if settings is None else settings, reactor)
