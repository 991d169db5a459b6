"""
Datagrams to and from clients: which client has which address, and how the gateway answers unknown addresses.

An unknown address costs no memory before its CONNECT, and the answer is never longer than its datagram.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from twisted.internet.defer import Deferred

from gateways.clientlimit import ClientLimit
from gateways.implements import GatewayClient
from gateways.mqttsn.codec import MalformedError, decode, encode, message
from gateways.mqttsn.packets import (
    ADVERTISE,
    CONGESTION,
    CONNACK,
    CONNECT,
    DISCONNECT,
    ENCAPSULATED,
    GWINFO,
    NORMAL,
    NOT_SUPPORTED,
    PINGREQ,
    PROTOCOL_ID,
    PUBLISH,
    REGISTER,
    SEARCHGW,
    SUBSCRIBE,
    UNCONNECTED,
    UNSUBSCRIBE,
    WILLMSG,
    WILLMSGUPD,
    WILLTOPIC,
    WILLTOPICUPD,
    Encapsulated,
    GatewayInfo,
    SNConnect,
    SNPacket,
    SNPublish,
)
from gateways.mqttsn.registry import Predefined, shortName
from gateways.mqttsn.session import SNClient
from twisted_mqtt.broker.listenerprofile import ListenerProfile, limitsOf
from twisted_mqtt.core.reasons import SERVER_SHUTTING_DOWN

if TYPE_CHECKING:
    from collections.abc import Hashable

    from gateways.mqttsn.settings import MQTTSNSettings
    from gateways.mqttsn.will import WillData
    from twisted_mqtt.broker.admission import Admission
    from twisted_mqtt.config.values import Bind
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.interfaces import IBroker
    from twisted_mqtt.net.datagrams import DatagramPort, SocketAddress, TwistedPort

# Messages that a client sends only if it believes that it is connected: it is told that it is not. A gateway sends none
# of these, so two gateways can't talk to each other for ever.
_OF_CLIENTS: Final = frozenset(
    (PUBLISH, REGISTER, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, WILLTOPIC, WILLMSG, WILLTOPICUPD, WILLMSGUPD)
)

# Addresses whose DISCONNECT is answered once more, should the first answer have been lost.
_MOST_PARTED: Final = 1024
_PARTED_FOR: Final = 60.0

_DISCONNECT: Final = message(DISCONNECT)


class Forwarded(NamedTuple):
    """
    A client behind a forwarder (5.5).
    """

    address: SocketAddress
    node: bytes


class MQTTSNProtocol:
    """
    The gateway: what comes to its socket.

    @ivar clients: those that are here, by address, or by forwarder and name.
    @ivar transport: the open port.
    @ivar malformed: how many datagrams were no messages.
    """

    def __init__(self, broker: IBroker, settings: MQTTSNSettings) -> None:
        self.broker = broker
        self.settings = settings
        self.predefined = Predefined(settings.predefined.topic)
        zone = broker.settings.resolveZone(settings.zone)
        limits = limitsOf(zone)
        limits.maxQueue = settings.max_buffered if limits.maxQueue == 0 else min(limits.maxQueue, settings.max_buffered)
        limits.maxQueueStored = limits.maxQueueOnline = limits.maxQueueOffline = -1
        limits.maxQueueBytes = settings.max_buffered_bytes
        self.profile = ListenerProfile(
            "mqttsn:udp",
            zone,
            limits,
            settings.port.isLoopback,
            topicTree=settings.topic_tree,
            maxPerAddress=settings.max_clients_per_address,
        )
        self.counters = broker.traffic.of(self.profile.name, zone.name).byVersion[0]
        self.port = settings.port.port
        self.patience = zone.keepalive_backoff * 2
        self.sessionExpiry = int(zone.session_expiry_interval)
        self.clients: dict[Hashable, SNClient] = {}
        self._limit = ClientLimit(broker, "mqttsn", settings.max_clients)
        self.transport: DatagramPort | TwistedPort | None = None
        self.malformed = 0
        self._wills: OrderedDict[str, WillData] = OrderedDict()
        self._parted: OrderedDict[Hashable, float] = OrderedDict()
        self._unconnected = _Unconnected(self)
        # How many have come in the present second.
        self._second = 0
        self._came = 0

    # From the port

    def makeConnection(self, transport: DatagramPort | TwistedPort) -> None:
        """
        The port is open.
        """
        self.transport = transport
        self.port = transport.getHost()[1]

    def doStop(self) -> None:
        """
        The port is about to be closed.
        """
        self.sendAllAway()
        self.transport = None

    def datagramReceived(self, data: bytes, address: SocketAddress) -> None:
        """
        A datagram has come.
        """
        counters = self.counters
        counters.bytes_received += len(data)
        counters.packets_received += 1
        key: Hashable = address
        try:
            packet = decode(data)
            if packet.type == ENCAPSULATED:
                assert isinstance(packet, Encapsulated)
                key = Forwarded(address, packet.node)
                packet = decode(packet.data)
                if packet.type == ENCAPSULATED:
                    raise MalformedError("an envelope in an envelope")
        except MalformedError:
            self.malformed += 1
            return
        kind = packet.type
        client = self.clients.get(key)
        if kind == CONNECT:
            assert isinstance(packet, SNConnect)
            self._connect(packet, key, address, client)
        elif kind == SEARCHGW:
            self.send(key, encode(GatewayInfo(GWINFO, self.settings.gateway_id)))
        elif client is not None:
            client.received(packet, self.seconds())
        else:
            self._stranger(packet, key, address)

    def _connect(self, request: SNConnect, key: Hashable, address: SocketAddress, client: SNClient | None) -> None:
        now = self.seconds()
        if client is not None and client.isRepeated(request):
            client.repeat()
            return
        if request.protocolID != PROTOCOL_ID:
            self._refuse(key, NOT_SUPPORTED)
            return
        if client is not None:
            client.replaced(request)
        if self._limit.refuses(len(self.clients), address) or not self._isInTime(now):
            self._refuse(key, CONGESTION)
            return
        self._parted.pop(key, None)
        client = self.clients[key] = SNClient(self, key, request, address[0], address[1], now)
        client.begin(now)

    def _isInTime(self, now: float) -> bool:
        """
        Whether one more may come in this second.
        """
        second = int(now)
        if second != self._second:
            self._second = second
            self._came = 0
        self._came += 1
        return self._came <= self.settings.max_conn_rate

    def _refuse(self, key: Hashable, code: int) -> None:
        self.counters.packets_connack_error += 1
        self.send(key, message(CONNACK, bytes((code,))))

    def _stranger(self, packet: SNPacket, key: Hashable, address: SocketAddress) -> None:
        """
        Answer somebody who has not connected.
        """
        kind = packet.type
        if kind == PUBLISH:
            assert isinstance(packet, SNPublish)
            if packet.qos == UNCONNECTED:
                if self.settings.enable_qos3:
                    self._unconnected.publish(packet)
                return
        if kind in _OF_CLIENTS:
            self.send(key, _DISCONNECT)
        elif kind == DISCONNECT:
            # One with a duration comes from a client. Without, it may be another gateway's; answered is who was here.
            if packet.duration is not None or self._parted.get(key, 0.0) > self.seconds():
                self.send(key, _DISCONNECT)

    # For clients: see gateways.mqttsn.conversation.SNGateway

    def send(self, key: Hashable, wire: bytes) -> None:
        """
        Send a datagram to a client.
        """
        transport = self.transport
        if transport is None:
            return
        counters = self.counters
        counters.packets_sent += 1
        counters.bytes_sent += len(wire)
        if isinstance(key, Forwarded):
            transport.write(encode(Encapsulated(key.node, wire)), key.address)
        else:
            assert isinstance(key, tuple)
            transport.write(wire, key)

    def left(self, client: SNClient) -> None:
        """
        A client is gone.
        """
        if self.clients.get(client.key) is client:
            del self.clients[client.key]
            self._parted[client.key] = self.seconds() + _PARTED_FOR
            if len(self._parted) > _MOST_PARTED:
                self._parted.popitem(last=False)

    def seconds(self) -> float:
        """
        The time.
        """
        return self.broker.clock.seconds()

    def willOf(self, clientID: str) -> WillData | None:
        """
        The will that is kept with a session.
        """
        return self._wills.get(clientID)

    def keepWill(self, clientID: str, will: WillData | None) -> None:
        """
        Keep a will with a session, or forget it.
        """
        self._wills.pop(clientID, None)
        if will is not None:
            self._wills[clientID] = will
            if len(self._wills) > self.settings.max_clients:
                self._wills.popitem(last=False)

    # For the service

    def advertise(self, address: Bind) -> None:
        """
        Say that the gateway is here (6.1).

        @param address: numeric, for everybody or for a group.
        """
        settings, transport = self.settings, self.transport
        if transport is not None:
            duration = min(int(settings.advertise_duration), 0xFFFF)
            transport.write(
                encode(GatewayInfo(ADVERTISE, settings.gateway_id, duration=duration)), (address.host, address.port)
            )

    def sendAllAway(self) -> None:
        """
        The gateway closes: tell everybody.
        """
        for client in list(self.clients.values()):
            client.shutDown(SERVER_SHUTTING_DOWN)
        self._unconnected.stop()
        self._parted.clear()


class _Unconnected:
    """
    Publishes the messages of QoS -1 (6.8), whose senders are nobody: as one client of the gateway's own, which
    authentication and access rules know as C{mqtt-sn-gateway-<identifier>}.
    """

    def __init__(self, protocol: MQTTSNProtocol) -> None:
        self._protocol = protocol
        self._client: GatewayClient | None = None

    def publish(self, packet: SNPublish) -> None:
        """
        Publish a message, unless its topic is one that only a connected client can know.
        """
        if packet.idType == NORMAL:
            return
        topic = shortName(packet.topicID) if packet.idType != 1 else self._protocol.predefined.topicOf(packet.topicID)
        if topic is None:
            return
        client = self._client
        if client is None:
            client = self._connect()
        if client.open:
            client.publish(topic, packet.data, 0, packet.retain)

    def stop(self) -> None:
        """
        Publish no more.
        """
        client, self._client = self._client, None
        if client is not None and client.open:
            client.lost(SERVER_SHUTTING_DOWN)

    def _connect(self) -> GatewayClient:
        protocol = self._protocol
        settings = protocol.settings
        client = self._client = GatewayClient(
            protocol.broker, protocol.profile, self, "mqtt-sn", None, 0, protocol.port
        )
        result = client.connect(
            f"mqtt-sn-gateway-{settings.gateway_id}",
            settings.username or None,
            settings.password.encode("utf-8") if settings.password else None,
            protoName="MQTT-SN",
            protoVersion=PROTOCOL_ID,
        )
        if isinstance(result, Deferred):
            result.addCallback(self._admitted, client)
        else:
            self._admitted(result, client)
        return client

    def _admitted(self, admission: Admission, client: GatewayClient) -> None:
        if client.open:
            client.begin()
        elif self._client is client:
            self._client = None  # refused: asked again with the next message

    # See gateways.client.GatewaySession: it has no subscriptions, so that nothing comes for it.

    def receive(
        self, message: Message, qos: int, packetID: int, retain: bool, dup: bool, identifiers: list[int] | None
    ) -> None:
        """
        Nothing comes.
        """

    def released(self, packetID: int) -> None:
        """
        Nothing comes.
        """

    def sentAway(self, reason: int, text: str) -> None:
        """
        The broker does not want it: the next message tries again.
        """
        self._client = None
