"""
Handles each packet of an MQTT client, and makes the protocols of clients.

It is compiled like the core, because many clients come and go; L{twisted_mqtt.mqtt.implements} declares its interfaces.

L{twisted_mqtt.core.connection} applies the rules of the MQTT protocol, L{twisted_mqtt.broker.broker} the policy of the
broker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from twisted_mqtt.base.timerwheel import TimerWheel
from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.broker.admission import Admission, AdmissionControl
from twisted_mqtt.broker.publishing import Publishing
from twisted_mqtt.broker.reauthentication import Reauthentication
from twisted_mqtt.broker.sessions import SessionRegistry
from twisted_mqtt.broker.traffic import AllTraffic
from twisted_mqtt.core.counters import SENT
from twisted_mqtt.core.packets import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    VERSION_5,
    Ack,
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Publish,
    Suback,
    Subscribe,
    Unsubscribe,
)
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.reasons import (
    CONTINUE_AUTHENTICATION,
    DISCONNECT_WITH_WILL,
    NORMAL_DISCONNECTION,
    NOT_AUTHORIZED,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    RE_AUTHENTICATE,
    SESSION_TAKEN_OVER,
    SUCCESS,
    ProtocolError,
    connackReturnCode,
)
from twisted_mqtt.hooks.packets import PacketContext
from twisted_mqtt.hooks.verdicts import Challenge, Verdict
from twisted_mqtt.mqtt.shell import CLOSING, CONNECTING, OPEN, ConnectionShell
from twisted_mqtt.net.transport import FastConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress

    from twisted_mqtt.broker.broker import Broker
    from twisted_mqtt.broker.listenerprofile import ListenerProfile
    from twisted_mqtt.broker.subscribing import Subscribing


class MQTTProtocol(ConnectionShell):
    """
    One connection of an MQTT client.
    """

    __slots__ = ("_admission", "_reauthentication")

    def __init__(self, factory: MQTTFactory, address: Any = None) -> None:
        """
        @param address: the client's, as C{buildProtocol} was given it.
        """
        super().__init__(factory, address)
        self._admission: Admission | None = None
        self._reauthentication: Reauthentication | None = None

    def disconnectClient(self, reason: int, text: str = "") -> None:
        """
        See L{IClientShell}.
        """
        if reason == SESSION_TAKEN_OVER and self._state == CONNECTING:
            self._admission = None
        super().disconnectClient(reason, text)

    # Packets

    def _dispatch(self, packet: Packet) -> Maybe[None]:
        return _HANDLERS[packet.type](self, packet)

    def _connect(self, packet: Packet) -> Maybe[None]:
        assert isinstance(packet, Connect)
        self._state = CONNECTING
        factory = self.factory
        self.connection.counters.packets_connect_received += 1
        tracer = factory.broker.tracer
        if tracer is not None and self._tap is None:
            # What has come behind CONNECT is there already; what comes is told as it comes.
            self.setTap(tracer.connecting(self.client, self.connection.packets))
        outcome = factory.admissions.admit(self.client, packet, self.connection)
        if isinstance(outcome, Admission):
            return self._admitted(outcome)
        return outcome.addCallback(self._admitted)

    def _admitted(self, admission: Admission) -> Maybe[None]:
        self._admission = admission
        if self._state >= CLOSING:
            return None
        challenge = admission.challenge
        if challenge is not None:
            self._challenge(challenge)
            return None
        connection = self.connection
        counters = self.connection.counters
        counters.packets_connack_sent += 1
        counters.client_connack += 1
        version5 = admission.request.version == VERSION_5
        self._admission = None
        if admission.reason != SUCCESS:
            reason = admission.reason if version5 else connackReturnCode(admission.reason)
            counters.countReason(CONNACK + SENT, reason)
            connection.sendPacket(Connack(False, reason, admission.properties if version5 else None))
            self.reason = admission.reason
            self._shut()
            return None
        # 3.1 has no session present flag
        present = admission.sessionPresent and packetHasPresence(admission)
        if not connection.replyPacket(Connack(present, 0, admission.properties), admission.before):
            self._close(PACKET_TOO_LARGE, "")
            return None
        # Later output must not overtake the answer.
        return self._answered().addCallback(self._open) if connection.waits() else self._open(None)

    def _answered(self) -> Deferred[None]:
        """
        Fires when what was answered, and waits for the store, has been sent.
        """
        sent: Deferred[None] = Deferred()
        self.connection.released = lambda: sent.callback(None)
        return sent

    def _open(self, _: object) -> Maybe[None]:
        if self._state >= CLOSING:
            return None
        self._state = OPEN
        client, connection = self.client, self.connection
        if client.keepAlive:
            deadline = connection.lastReceived + client.keepAlive * client.limits.keepAliveBackoff * 2
            self.factory.wheel.add(self, deadline)
        tracer = self.factory.broker.tracer
        if tracer is not None:
            tap = tracer.opened(client)
            if self._tap is None and tap is not None:
                self.setTap(tap)
        return self.factory.registry.opened(client)

    def _challenge(self, challenge: Challenge) -> None:
        properties = Properties() if challenge.properties is None else challenge.properties
        properties.authMethod = self.client.authMethod
        properties.authData = challenge.data
        counters = self.connection.counters
        counters.packets_auth_sent += 1
        counters.countReason(AUTH + SENT, CONTINUE_AUTHENTICATION)
        self._mustSend(self.connection.sendPacket(Auth(CONTINUE_AUTHENTICATION, properties)))

    def _auth(self, packet: Packet) -> Maybe[None]:
        assert isinstance(packet, Auth)
        counters = self.connection.counters
        counters.packets_auth_received += 1
        counters.countReason(AUTH, packet.reason)
        client = self.client
        properties = packet.properties
        method = None if properties is None else properties.authMethod
        if client.authMethod is None or method != client.authMethod:  # [MQTT-4.12.0-7], [MQTT-4.12.1-1]
            raise ProtocolError(PROTOCOL_ERROR, "AUTH with another authentication method than that of CONNECT")
        data = None if properties is None else properties.authData
        admission = self._admission
        if admission is not None:
            if packet.reason != CONTINUE_AUTHENTICATION:
                raise ProtocolError(PROTOCOL_ERROR, "AUTH with a reason that does not continue the authentication")
            return then(admission.answer(data), self._admitted)
        if self._state != OPEN:
            raise ProtocolError(PROTOCOL_ERROR, "AUTH before CONNECT was answered")
        again = self._reauthentication
        if (packet.reason == RE_AUTHENTICATE) == (again is not None):
            raise ProtocolError(PROTOCOL_ERROR, "AUTH out of turn")
        if again is None:
            broker = self.factory.broker
            again = self._reauthentication = Reauthentication(broker.hooks, broker.counters, broker.permissions, client)
        return then(again.step(data), self._reauthenticated)

    def _reauthenticated(self, again: Reauthentication) -> None:
        if self._state != OPEN:
            return
        if again.challenge is not None:
            self._challenge(again.challenge)
            return
        self._reauthentication = None
        if again.reason != SUCCESS:
            self._close(again.reason, "re-authentication failed")
            return
        self.connection.counters.packets_auth_sent += 1
        self._mustSend(self.connection.sendPacket(Auth(SUCCESS, again.properties)))

    def _publish(self, packet: Packet) -> Maybe[None]:
        assert isinstance(packet, Publish)
        connection = self.connection
        if not connection.begin(packet, connection.lastReceived):
            return None
        client, publishing = self.client, self.factory.publishing
        context = publishing.context(client, packet.topic, packet.payload, packet.qos, packet.retain, packet.properties)
        verdict = publishing.admit(client, packet.topic, packet.qos, True, context)
        return then(verdict, self._admittedPublish, packet, context)

    def _admittedPublish(self, verdict: Verdict, packet: Publish, context: PacketContext | None) -> Maybe[None]:
        broker, connection = self.factory.broker, self.connection
        now = connection.lastReceived
        if not verdict.allowed:
            if self.client.options.acl_deny_action == "disconnect":
                raise ProtocolError(verdict.reason, verdict.text or "publishing to this topic is not allowed")
            connection.acknowledge(packet, verdict.publishReason, now, self._explained(verdict.text))
            return self._rest(verdict.pause)
        connection.countMessage(packet.qos)
        message = connection.makeMessage(packet, now)
        message.protocol = self.client.protocol
        before = broker.router.progress.sequence
        return then(broker.publishChecked(message, context), self._published, packet, before, verdict.pause)

    def _rest(self, seconds: float) -> Maybe[None]:
        """
        Take nothing more from the client for a while, as access rules want it.
        """
        if not seconds or self._state >= CLOSING:
            return None
        rest: Deferred[None] = deferLater(self.factory.broker.clock, seconds)
        return rest

    def _published(self, reason: int, packet: Publish, before: int, pause: float) -> Maybe[None]:
        connection = self.connection
        if reason >= 0x80 and connection.version < VERSION_5:
            # Below 5 there is no other way to say that it was not taken.
            self._close(reason, "")
            return None
        connection.acknowledge(packet, reason, connection.lastReceived, None, before)
        return self._rest(pause)

    def _ack(self, packet: Packet) -> None:
        assert isinstance(packet, Ack)
        self.connection.gotAck(packet.type, packet.packetID, packet.reason, packet.properties)

    def _ping(self, packet: Packet) -> None:
        self.connection.gotPing()

    def _subscribe(self, packet: Packet) -> Maybe[None]:
        assert isinstance(packet, Subscribe)
        broker = self.factory.broker
        self.connection.counters.packets_subscribe_received += 1
        before = broker.router.progress.sequence
        try:
            subscribing = broker.subscribeClient(self.client, packet)
        except ProtocolError:
            self.connection.counters.packets_subscribe_error += 1
            raise
        return then(subscribing, self._subscribed, packet, before)

    def _subscribed(self, subscribing: Subscribing, packet: Subscribe, before: int) -> Maybe[None]:
        counters = self.connection.counters
        counters.packets_suback_sent += 1
        reasons = subscribing.reasons
        refused = any(reason >= 0x80 for reason in reasons)
        if refused:
            counters.packets_subscribe_error += 1
            forbidden = NOT_AUTHORIZED if NOT_AUTHORIZED in reasons else subscribing.forbidden
            if forbidden and self.client.options.acl_deny_action == "disconnect":
                raise ProtocolError(forbidden, "subscribing to this filter is not allowed")
        if self.connection.version < VERSION_5:
            reasons = [min(reason, 0x80) for reason in reasons]  # [MQTT-3.9.3-2] of 3.1.1
        explained = self._explained("; ".join(subscribing.texts))
        self._mustSend(self.connection.replyPacket(Suback(SUBACK, packet.packetID, reasons, explained), before))
        if self.connection.waits():
            return self._answered().addCallback(self._showRetained, subscribing)
        return self._showRetained(None, subscribing)

    def _showRetained(self, _: None, subscribing: Subscribing) -> Maybe[None]:
        subscribing.deliverRetained()
        return self._rest(subscribing.pause)

    def _unsubscribe(self, packet: Packet) -> Maybe[None]:
        assert isinstance(packet, Unsubscribe)
        broker = self.factory.broker
        self.connection.counters.packets_unsubscribe_received += 1
        before = broker.router.progress.sequence
        try:
            reasons = broker.unsubscribeClient(self.client, packet)
        except ProtocolError:
            self.connection.counters.packets_unsubscribe_error += 1
            raise
        return then(reasons, self._unsubscribed, packet, before)

    def _unsubscribed(self, reasons: list[int], packet: Unsubscribe, before: int) -> None:
        self.connection.counters.packets_unsuback_sent += 1
        self._mustSend(self.connection.replyPacket(Suback(UNSUBACK, packet.packetID, reasons), before))

    def _mustSend(self, sent: bool) -> None:
        """
        Go away from a client that has no room for an answer, which it would wait for without an end.

        @param sent: whether there was room.

        @raise ProtocolError: (packet too large) there was none.
        """
        if not sent:
            raise ProtocolError(PACKET_TOO_LARGE, "the client has no room for an answer")

    def _disconnect(self, packet: Packet) -> None:
        assert isinstance(packet, Disconnect)
        client = self.client
        counters = self.connection.counters
        counters.packets_disconnect_received += 1
        counters.countReason(DISCONNECT, packet.reason)
        properties = packet.properties
        if properties is not None and properties.sessionExpiry is not None:
            if client.expiryInterval == 0 and properties.sessionExpiry:  # 3.14.2.2.2
                raise ProtocolError(PROTOCOL_ERROR, "DISCONNECT can't make a session outlive its connection")
            self.factory.broker.setExpiry(client, properties.sessionExpiry)
        if packet.reason == NORMAL_DISCONNECTION:  # [MQTT-3.14.4-3]; any other reason leaves the will
            client.will = None
        self.reason = packet.reason if packet.reason != DISCONNECT_WITH_WILL else "disconnect_with_will_message"
        self._shut()

    def _unexpected(self, packet: Packet) -> None:
        raise ProtocolError(PROTOCOL_ERROR, f"{packet!r} is not for a client to send")


def packetHasPresence(admission: Admission) -> bool:
    """
    Whether the version that a client speaks has a session present flag: 3.1 has not.
    """
    return admission.request.version > 3


_HANDLERS: Final[list[Callable[[MQTTProtocol, Packet], Maybe[None]]]] = [MQTTProtocol._unexpected] * 16
_HANDLERS[CONNECT] = MQTTProtocol._connect
_HANDLERS[PUBLISH] = MQTTProtocol._publish
_HANDLERS[SUBSCRIBE] = MQTTProtocol._subscribe
_HANDLERS[UNSUBSCRIBE] = MQTTProtocol._unsubscribe
_HANDLERS[DISCONNECT] = MQTTProtocol._disconnect
_HANDLERS[AUTH] = MQTTProtocol._auth
# The core answers these packets by itself. They come here only if they were sent together with CONNECT.
for _type in (PUBACK, PUBREC, PUBREL, PUBCOMP):
    _HANDLERS[_type] = MQTTProtocol._ack
_HANDLERS[PINGREQ] = MQTTProtocol._ping


class MQTTFactory:
    """
    Makes the protocols of one listener.

    @ivar profile: where they come from; may be exchanged, and holds then for those that come later.
    @ivar seconds: tells the moment.
    @ivar protocols: those that are connected.
    """

    noisy = False

    def __init__(self, broker: Broker, profile: ListenerProfile) -> None:
        self.broker = broker
        self.profile = profile
        # Parts of the broker that every connection asks for.
        self.traffic: AllTraffic = broker.traffic
        self.wheel: TimerWheel = broker.wheel
        self.registry: SessionRegistry = broker.registry
        self.admissions: AdmissionControl = broker.admissions
        self.publishing: Publishing = broker.publishing
        self.seconds: Callable[[], float] = broker.clock.seconds
        self.protocols: set[ConnectionShell] = set()
        self._port: int | None = None

    def doStart(self) -> None:
        """
        A port begins to listen.
        """

    def doStop(self) -> None:
        """
        A port has stopped.
        """

    def buildProtocol(self, addr: IAddress | None) -> MQTTProtocol | None:
        """
        A protocol for a connection, or None while the broker is stopping.
        """
        return None if self.admissions.closed else MQTTProtocol(self, addr)

    def portOf(self, transport: Any) -> int:
        """
        The port that a transport's client has connected to.
        """
        if type(transport) is not FastConnection:
            # Below it may be a proxy's word, different for each.
            return getattr(transport.getHost(), "port", 0)
        if self._port is None:
            self._port = getattr(transport.getHost(), "port", 0)
        return self._port

    def connected(self, protocol: ConnectionShell) -> None:
        """
        A protocol has its transport.
        """
        self.protocols.add(protocol)

    def disconnected(self, protocol: ConnectionShell) -> None:
        """
        A protocol has lost its transport.
        """
        self.protocols.discard(protocol)
