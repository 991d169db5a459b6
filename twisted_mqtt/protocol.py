"""
The Twisted shell of an MQTT connection: reads, parks while a hook waits, writes, closes.

It is compiled like the core, for many clients come and go; L{twisted_mqtt.roles} says what it provides.

All that the protocol itself demands is decided in L{twisted_mqtt.core.connection}; what the broker wants, in
L{twisted_mqtt.broker}. Every fault of a peer is answered in one place, L{MQTTProtocol._refuse}.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger

from twisted_mqtt.admission import Admission
from twisted_mqtt.client import ClientInfo
from twisted_mqtt.core.connection import Connection
from twisted_mqtt.core.counters import Counters
from twisted_mqtt.core.packets import (
    AUTH,
    CONNECT,
    DISCONNECT,
    NAMES,
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
    IMPLEMENTATION_SPECIFIC_ERROR,
    KEEP_ALIVE_TIMEOUT,
    NORMAL_DISCONNECTION,
    NOT_AUTHORIZED,
    PROTOCOL_ERROR,
    RE_AUTHENTICATE,
    SESSION_TAKEN_OVER,
    SUCCESS,
    UNSUPPORTED_PROTOCOL_VERSION,
    ProtocolError,
    connackReturnCode,
    disconnectReason,
    nameOf,
)
from twisted_mqtt.hooks import Challenge
from twisted_mqtt.limiting import TokenBucket, bucketOf
from twisted_mqtt.reauthentication import Reauthentication
from twisted_mqtt.sessions import SessionRegistry
from twisted_mqtt.transport import FastConnection
from twisted_mqtt.waiting import isDeferred, then
from twisted_mqtt.wheel import DeadlineWheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from twisted_mqtt.broker import Broker
    from twisted_mqtt.listening import Place
    from twisted_mqtt.subscribing import Subscribing

_log = Logger()

# What becomes of a connection, in order.
_NEW: Final = 0  # nothing came yet
_CONNECTING: Final = 1  # CONNECT came and is being decided
_OPEN: Final = 2  # CONNACK was sent
_CLOSING: Final = 3  # nothing is read any more
_LOST: Final = 4

# Seconds after which a connection that was told to close is cut.
_PATIENCE: Final = 20.0


class MQTTProtocol:
    """
    One connection of an MQTT client.

    @ivar client: what the broker knows of it.
    @ivar connection: its state machine.
    """

    __slots__ = (
        "_admission", "_congestedAt", "_cutAt", "_intake", "_parked", "_publishes", "_reauthentication", "_state",
        "_throttle", "_waiting", "bucket", "client", "connection", "factory", "reason", "transport",
    )  # fmt: skip

    connection: Connection

    def __init__(self, factory: MQTTFactory, address: Any = None) -> None:
        """
        @param address: the client's, as C{buildProtocol} was given it.
        """
        self.factory: MQTTFactory = factory
        self.transport: Any = None
        self.client: ClientInfo = ClientInfo(
            factory.place, self, "mqtt", getattr(address, "host", None), getattr(address, "port", 0)
        )
        self.reason: int | str | None = None
        self._state = _NEW
        # Packets that may not be taken before a hook has answered; None while nobody waits.
        self._parked: deque[Packet] | None = None
        self._waiting: Deferred[Any] | None = None
        self._admission: Admission | None = None
        self._reauthentication: Reauthentication | None = None
        self.bucket = 0
        self._congestedAt = 0.0
        # When it is cut if it has not gone by itself.
        self._cutAt = 0.0
        # Where the listener limits them: bytes that came, messages published; and the call that ends a pause.
        self._intake: TokenBucket | None = None
        self._publishes: TokenBucket | None = None
        self._throttle: Any = None

    # IProtocol

    def makeConnection(self, transport: Any) -> None:
        """
        The connection is there.
        """
        self.transport = transport
        factory = self.factory
        broker = factory.broker
        now = factory.seconds()
        self.connection = Connection(broker.router, factory.place.limits, broker.outbox, transport, now)
        client = self.client
        if type(transport) is not FastConnection:
            # Behind a proxy it is another address than that of the socket.
            peer = transport.getPeer()
            client.peerHost = getattr(peer, "host", None)
            client.peerPort = getattr(peer, "port", 0)
        client.sockPort = factory.portOf(transport)
        identity = getattr(transport, "peerIdentity", None)
        if identity is not None:
            client.identify(identity)
        place = factory.place
        if place.byteRate is not None:
            self._intake = bucketOf(place.byteRate, now)
        if place.publishRate is not None:
            self._publishes = bucketOf(place.publishRate, now)
            self.connection.limited = True
        transport.registerProducer(self, True)
        self.factory.wheel.add(self, now + client.options.idle_timeout)
        factory.connected(self)

    def connectionMade(self) -> None:
        """
        Nothing: L{makeConnection} has done it.
        """

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes have come.
        """
        connection = self.connection
        try:
            packets = connection.receive(data, self.factory.seconds())
        except Exception:
            # Our own fault, or that of a part of the broker that receives messages; this client's connection alone.
            _log.failure("Taking what {client} has sent failed", client=self.client)
            self._close(IMPLEMENTATION_SPECIFIC_ERROR, "")
            return
        if packets or connection.error is not None:
            self._take(packets)
        if self._intake is not None and self._state < _CLOSING:
            self._measure(self._intake, len(data))

    def connectionLost(self, reason: Failure) -> None:
        """
        The connection is gone.
        """
        if self._state == _LOST:
            return
        self._state = _LOST
        self.factory.wheel.remove(self)
        self._dropThrottle()
        self.connection.closed = True
        waiting, self._waiting = self._waiting, None
        self._parked = None
        if self.reason is None:
            # [MQTT-3.14.4-3] without a DISCONNECT the will is published
            self.reason = "closed" if reason.check(ConnectionDone) else "connection_lost"
        if waiting is not None:
            waiting.cancel()
        client = self.client
        self.factory.registry.disconnect(client, self.reason)
        self.factory.disconnected(self)
        # These point at each other: cut, they are freed at once instead of being garbage that has to be found.
        client.shell = None
        client.connection = None

    # IPushProducer: what the transport tells a streaming producer

    def pauseProducing(self) -> None:
        """
        The client does not read as fast as it is written to.
        """
        now = self.factory.seconds()
        self.connection.setCongested(True, now)
        # Somebody who does not read gets no answers either: else those would pile up.
        self._pauseReading()
        timeout = self.client.place.sendTimeout
        if timeout:
            self._congestedAt = now
            self.factory.wheel.add(self, now + timeout)

    def resumeProducing(self) -> None:
        """
        The client has read enough.
        """
        self._congestedAt = 0.0
        if self._state >= _CLOSING:
            return
        self.connection.setCongested(False, self.factory.seconds())
        self._resumeReading()

    def stopProducing(self) -> None:
        """
        The transport is going; L{connectionLost} says the rest.
        """

    # Deadlines

    def due(self, now: float) -> float:
        """
        See L{twisted_mqtt.wheel.Timed}.
        """
        if self._state >= _CLOSING:
            if self._state == _CLOSING:
                if self._cutAt > now:
                    return self._cutAt
                # It was told to go and has not gone.
                self.transport.abortConnection()
            return 0.0
        if self._congestedAt:
            deadline = self._congestedAt + self.client.place.sendTimeout
            if deadline <= now:
                self.reason = "send_timeout"
                self.transport.abortConnection()
                return 0.0
            return deadline
        client = self.client
        if self._state == _NEW or self._state == _CONNECTING:
            deadline = client.connectedAt or self.connection.lastReceived
            deadline += client.options.idle_timeout
            if self._waiting is not None:
                # Hooks have a time-out of their own.
                return now + 1.0
            if deadline > now:
                return deadline
            self.reason = "connect_timeout"
            self.transport.abortConnection()
            return 0.0
        if client.keepAlive == 0:
            return 0.0
        # [MQTT-3.1.2-22]
        deadline = self.connection.lastReceived + client.keepAlive * client.limits.keepAliveBackoff * 2
        if deadline > now:
            return deadline
        if self._parked is not None or self._throttle is not None:
            return now + 1.0  # it is we who don't read
        self._close(KEEP_ALIVE_TIMEOUT, "")
        return 0.0 if self._state == _LOST else now + 5.0

    # Packets

    def _take(self, packets: list[Packet]) -> None:
        """
        Take packets in order, as far as nobody has to wait.
        """
        if self._parked is not None:
            self._parked.extend(packets)
            return
        for index, packet in enumerate(packets):
            if self._state >= _CLOSING:
                return
            waiting = self._handle(packet)
            if waiting is not None:
                self._park(waiting, packets[index + 1 :])
                return
        error = self.connection.error
        if error is not None:
            self._refuse(error)

    def _handle(self, packet: Packet) -> Deferred[Any] | None:
        """
        Handle a packet; returns a Deferred that has not fired if it has to wait.
        """
        try:
            if self._state == _CONNECTING and packet.type != AUTH and packet.type != DISCONNECT:
                # [MQTT-3.1.2-30] while it is being authenticated; what merely came early waits in line
                raise ProtocolError(PROTOCOL_ERROR, f"{NAMES[packet.type]} before the authentication has ended")
            outcome = _HANDLERS[packet.type](self, packet)
        except ProtocolError as error:
            self._refuse(error)
            return None
        except Exception:
            # Our own fault, and this client's connection alone.
            _log.failure("Handling {packet} failed", packet=packet)
            self._close(IMPLEMENTATION_SPECIFIC_ERROR, "")
            return None
        if not isDeferred(outcome):
            return None
        outcome.addErrback(self._ebHandle)
        fired: list[Any] = []
        outcome.addCallback(fired.append)
        return None if fired else outcome

    def _ebHandle(self, failure: Failure) -> None:
        if failure.check(ProtocolError):
            error = failure.value
            assert isinstance(error, ProtocolError)  # noqa: S101 - check() says so; for the type checker
            self._refuse(error)
        elif self._state < _CLOSING:
            _log.failure("Handling a packet failed", failure=failure)
            self._close(IMPLEMENTATION_SPECIFIC_ERROR, "")

    def _park(self, waiting: Deferred[Any], rest: list[Packet]) -> None:
        """
        Leave the rest until a hook has answered; TCP tells the client to wait.
        """
        self._parked = deque(rest)
        self._waiting = waiting
        self.connection.parked = True
        self._pauseReading()
        waiting.addCallback(self._unpark)

    def _unpark(self, _: object) -> None:
        parked = self._parked
        self._waiting = None
        while parked is not None and parked and self._state < _CLOSING:
            waiting = self._handle(parked.popleft())
            if waiting is not None:
                self._waiting = waiting
                waiting.addCallback(self._unpark)
                return
        self._parked = None
        if self._state >= _CLOSING:
            return
        self.connection.parked = False
        error = self.connection.error
        if error is not None:
            self._refuse(error)
        else:
            self._resumeReading()

    def _pauseReading(self) -> None:
        pause = getattr(self.transport, "pauseProducing", None)
        if pause is not None:
            pause()

    def _resumeReading(self) -> None:
        """
        Read again, unless there is another reason not to.
        """
        if self._parked is not None or self._throttle is not None or self.connection.congested:
            return
        resume = getattr(self.transport, "resumeProducing", None)
        if resume is not None and not getattr(self.transport, "disconnecting", False):
            resume()

    # Rates

    def _measure(self, intake: TokenBucket, size: int) -> None:
        """
        Count bytes that came; where they are too many, read no more until they no longer are.
        """
        factory = self.factory
        wait = intake.take(size, factory.seconds())
        if wait and self._throttle is None:
            clock: Any = factory.broker.clock
            self._throttle = clock.callLater(wait, self._unthrottle)
            self._pauseReading()

    def _unthrottle(self) -> None:
        self._throttle = None
        if self._state >= _CLOSING:
            return
        if self._intake is not None:
            # Something may have come through the layers below after they were told to pause.
            self._measure(self._intake, 0)
        # Not to be heard was not the client's doing.
        self.connection.lastReceived = self.factory.seconds()
        self._resumeReading()

    def _dropThrottle(self) -> None:
        throttle, self._throttle = self._throttle, None
        if throttle is not None:
            throttle.cancel()

    def _connect(self, packet: Packet) -> Any:
        assert isinstance(packet, Connect)  # noqa: S101 - dispatched by type
        self._state = _CONNECTING
        broker = self.factory.broker
        self.factory.counters.packets_connect_received += 1
        outcome = Admission(broker, self.client, packet, self.connection).begin()
        if isinstance(outcome, Admission):
            return self._admitted(outcome)
        return outcome.addCallback(self._admitted)

    def _admitted(self, admission: Admission) -> Any:
        self._admission = admission
        if self._state >= _CLOSING:
            return None
        challenge = admission.challenge
        if challenge is not None:
            self._challenge(challenge)
            return None
        connection = self.connection
        counters = self.factory.counters
        counters.packets_connack_sent += 1
        counters.client_connack += 1
        version5 = admission.request.version == VERSION_5
        self._admission = None
        if admission.reason != SUCCESS:
            reason = admission.reason if version5 else connackReturnCode(admission.reason)
            connection.sendPacket(Connack(False, reason, admission.properties if version5 else None))
            self.reason = admission.reason
            self._shut()
            return None
        connection.replyPacket(
            # 3.1 has no session present flag
            Connack(admission.sessionPresent and packetHasPresence(admission), 0, admission.properties),
            admission.before,
        )
        # What follows may not come before the answer.
        return self._answered().addCallback(self._open) if connection.waits() else self._open(None)

    def _answered(self) -> Deferred[None]:
        """
        Fires when what was answered, and waits for the store, has been sent.
        """
        sent: Deferred[None] = Deferred()
        self.connection.released = lambda: sent.callback(None)
        return sent

    def _open(self, _: object) -> Any:
        if self._state >= _CLOSING:
            return None
        self._state = _OPEN
        client, connection = self.client, self.connection
        if client.keepAlive:
            deadline = connection.lastReceived + client.keepAlive * client.limits.keepAliveBackoff * 2
            self.factory.wheel.add(self, deadline)
        return self.factory.registry.opened(client)

    def _challenge(self, challenge: Challenge) -> None:
        properties = Properties() if challenge.properties is None else challenge.properties
        properties.authMethod = self.client.authMethod
        properties.authData = challenge.data
        self.factory.counters.packets_auth_sent += 1
        self.connection.sendPacket(Auth(CONTINUE_AUTHENTICATION, properties))

    def _auth(self, packet: Packet) -> Any:
        assert isinstance(packet, Auth)  # noqa: S101 - dispatched by type
        self.factory.counters.packets_auth_received += 1
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
        if self._state != _OPEN:
            raise ProtocolError(PROTOCOL_ERROR, "AUTH before CONNECT was answered")
        again = self._reauthentication
        if (packet.reason == RE_AUTHENTICATE) == (again is not None):
            raise ProtocolError(PROTOCOL_ERROR, "AUTH out of turn")
        if again is None:
            again = self._reauthentication = Reauthentication(self.factory.broker, client)
        return then(again.step(data), self._reauthenticated)

    def _reauthenticated(self, again: Reauthentication) -> None:
        if self._state != _OPEN:
            return
        if again.challenge is not None:
            self._challenge(again.challenge)
            return
        self._reauthentication = None
        if again.reason != SUCCESS:
            self._close(again.reason, "re-authentication failed")
            return
        self.factory.counters.packets_auth_sent += 1
        self.connection.sendPacket(Auth(SUCCESS, again.properties))

    def _publish(self, packet: Packet) -> Any:
        assert isinstance(packet, Publish)  # noqa: S101 - dispatched by type
        connection = self.connection
        if not connection.begin(packet, connection.lastReceived):
            return None
        broker = self.factory.broker
        if packet.qos and broker.router.progress.congested:
            room = broker.store.room()
            if room is not None:
                return room.addCallback(lambda _: self._limitPublish(packet))
        return self._limitPublish(packet)

    def _limitPublish(self, packet: Publish) -> Any:
        if self._publishes is not None:
            factory = self.factory
            wait = self._publishes.take(1, factory.seconds())
            if wait:
                paused: Deferred[Any] = deferLater(factory.broker.clock, wait)
                return paused.addCallback(lambda _: self._authorizePublish(packet))
        return self._authorizePublish(packet)

    def _authorizePublish(self, packet: Publish) -> Any:
        if packet.topic.startswith("$SYS/"):
            # Nobody but the broker speaks there.
            return self._publishAllowed(False, packet)
        broker = self.factory.broker
        return then(broker.permissions.authorize(self.client, "publish", packet.topic), self._publishAllowed, packet)

    def _ack(self, packet: Packet) -> None:
        assert isinstance(packet, Ack)  # noqa: S101 - dispatched by type
        self.connection.gotAck(packet.type, packet.packetID, packet.reason, packet.properties)

    def _ping(self, packet: Packet) -> None:
        self.connection.gotPing()

    def _publishAllowed(self, allowed: bool, packet: Publish) -> Any:
        broker, connection = self.factory.broker, self.connection
        now = connection.lastReceived
        if not allowed:
            self.factory.counters.packets_publish_auth_error += 1
            if self.client.options.acl_deny_action == "disconnect":
                raise ProtocolError(NOT_AUTHORIZED, "publishing to this topic is not allowed")
            connection.acknowledge(packet, NOT_AUTHORIZED, now)
            return None
        connection.countMessage(packet.qos)
        message = connection.makeMessage(packet, now)
        message.protocol = self.client.protocol
        before = broker.router.progress.sequence
        return then(broker.publish(message), self._published, packet, before)

    def _published(self, reason: int, packet: Publish, before: int) -> None:
        connection = self.connection
        if reason >= 0x80 and connection.version < VERSION_5:
            # Below 5 there is no other way to say that it was not taken.
            self._close(reason, "")
            return
        connection.acknowledge(packet, reason, connection.lastReceived, None, before)

    def _subscribe(self, packet: Packet) -> Any:
        assert isinstance(packet, Subscribe)  # noqa: S101 - dispatched by type
        broker = self.factory.broker
        self.factory.counters.packets_subscribe_received += 1
        before = broker.router.progress.sequence
        try:
            subscribing = broker.subscribeClient(self.client, packet)
        except ProtocolError:
            self.factory.counters.packets_subscribe_error += 1
            raise
        return then(subscribing, self._subscribed, packet, before)

    def _subscribed(self, subscribing: Subscribing, packet: Subscribe, before: int) -> Any:
        counters = self.factory.counters
        counters.packets_suback_sent += 1
        reasons = subscribing.reasons
        refused = any(reason >= 0x80 for reason in reasons)
        if refused:
            counters.packets_subscribe_error += 1
            if NOT_AUTHORIZED in reasons and self.client.options.acl_deny_action == "disconnect":
                raise ProtocolError(NOT_AUTHORIZED, "subscribing to this filter is not allowed")
        if self.connection.version < VERSION_5:
            reasons = [min(reason, 0x80) for reason in reasons]  # [MQTT-3.9.3-2] of 3.1.1
        self.connection.replyPacket(Suback(SUBACK, packet.packetID, reasons), before)
        if self.connection.waits():
            return self._answered().addCallback(lambda _: subscribing.deliverRetained())
        return subscribing.deliverRetained()

    def _unsubscribe(self, packet: Packet) -> Any:
        assert isinstance(packet, Unsubscribe)  # noqa: S101 - dispatched by type
        broker = self.factory.broker
        self.factory.counters.packets_unsubscribe_received += 1
        before = broker.router.progress.sequence
        try:
            reasons = broker.unsubscribeClient(self.client, packet)
        except ProtocolError:
            self.factory.counters.packets_unsubscribe_error += 1
            raise
        return then(reasons, self._unsubscribed, packet, before)

    def _unsubscribed(self, reasons: list[int], packet: Unsubscribe, before: int) -> None:
        self.factory.counters.packets_unsuback_sent += 1
        self.connection.replyPacket(Suback(UNSUBACK, packet.packetID, reasons), before)

    def _disconnect(self, packet: Packet) -> None:
        assert isinstance(packet, Disconnect)  # noqa: S101 - dispatched by type
        client = self.client
        self.factory.counters.packets_disconnect_received += 1
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

    # The end

    def disconnectClient(self, reason: int, text: str = "") -> None:
        """
        See L{IClientShell}.
        """
        if reason == SESSION_TAKEN_OVER and self._state == _CONNECTING:
            self._admission = None
        self._close(reason, text)

    def _refuse(self, error: ProtocolError) -> None:
        """
        The client has done what the specification forbids: say so where that can be said, and close.
        """
        if self._state >= _CLOSING:
            return
        _log.debug(
            "{client}: {text} ({reason})", client=self.client, text=error.text, reason=nameOf(error.reason)
        )
        self.factory.counters.packets_publish_error += 1 if error.reason in _PUBLISH_ERRORS else 0
        connection = self.connection
        if self._state in (_NEW, _CONNECTING):
            spoken = connection.version or connection.spoken
            answerable = spoken == VERSION_5 or (spoken and error.reason == UNSUPPORTED_PROTOCOL_VERSION)
            if answerable:
                version5 = spoken == VERSION_5
                reason = error.reason if version5 else connackReturnCode(error.reason)
                self.factory.counters.packets_connack_sent += 1
                self.factory.counters.packets_connack_error += 1
                connection.sendPacket(Connack(False, reason, self._explained(error.text) if version5 else None))
            self.reason = error.reason
            self._shut()
            return
        self._close(error.reason, error.text)

    def _explained(self, text: str) -> Properties | None:
        if not text or not self.connection.problemInformation:
            return None
        properties = Properties()
        properties.reasonString = text
        return properties

    def _close(self, reason: int, text: str) -> None:
        """
        Close, telling a client of MQTT 5 why ([MQTT-4.13.2-1]).
        """
        if self._state >= _CLOSING:
            return
        connection = self.connection
        if self._state == _OPEN and connection.version == VERSION_5:
            self.factory.counters.packets_disconnect_sent += 1
            connection.sendPacket(Disconnect(disconnectReason(reason), self._explained(text)))
        self.reason = reason
        self._shut()

    def _shut(self) -> None:
        """
        Write what is left, then close.
        """
        self._state = _CLOSING
        connection = self.connection
        connection.flush()
        connection.closed = True
        self._dropThrottle()
        self._parked = None
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.cancel()
        self._cutAt = self.factory.seconds() + _PATIENCE
        self.factory.wheel.add(self, self._cutAt)
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self.factory.registry.disconnect(self.client, "closed" if self.reason is None else self.reason)


def packetHasPresence(admission: Admission) -> bool:
    """
    Whether the version that a client speaks has a session present flag: 3.1 has not.
    """
    return admission.request.version > 3


_PUBLISH_ERRORS = frozenset((0x90, 0x93, 0x94, 0x99, 0x9A, 0x9B))

_HANDLERS: Final[list[Callable[[MQTTProtocol, Packet], Any]]] = [MQTTProtocol._unexpected] * 16
_HANDLERS[CONNECT] = MQTTProtocol._connect
_HANDLERS[PUBLISH] = MQTTProtocol._publish
_HANDLERS[SUBSCRIBE] = MQTTProtocol._subscribe
_HANDLERS[UNSUBSCRIBE] = MQTTProtocol._unsubscribe
_HANDLERS[DISCONNECT] = MQTTProtocol._disconnect
_HANDLERS[AUTH] = MQTTProtocol._auth
# What the core answers by itself comes here only if it was sent together with CONNECT.
for _type in (PUBACK, PUBREC, PUBREL, PUBCOMP):
    _HANDLERS[_type] = MQTTProtocol._ack
_HANDLERS[PINGREQ] = MQTTProtocol._ping


class MQTTFactory:
    """
    Makes the protocols of one listener.

    @ivar place: where they come from; may be exchanged, and holds then for those that come later.
    @ivar seconds: the time, in seconds since the epoch.
    @ivar protocols: those that are connected.
    """

    noisy = False

    def __init__(self, broker: Broker, place: Place) -> None:
        self.broker = broker
        self.place = place
        # Parts of the broker that every connection asks for.
        self.counters: Counters = broker.counters
        self.wheel: DeadlineWheel = broker.wheel
        self.registry: SessionRegistry = broker.registry
        # A reactor that is not there yet can't be typed here: what it says of the time is all that is needed.
        clock: Any = broker.clock
        self.seconds: Callable[[], float] = clock.seconds
        self.protocols: set[MQTTProtocol] = set()
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
        return None if self.broker.stopping else MQTTProtocol(self, addr)

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

    def connected(self, protocol: MQTTProtocol) -> None:
        """
        A protocol has its transport.
        """
        self.protocols.add(protocol)

    def disconnected(self, protocol: MQTTProtocol) -> None:
        """
        A protocol has lost its transport.
        """
        self.protocols.discard(protocol)
