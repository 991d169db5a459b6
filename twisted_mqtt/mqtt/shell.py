"""
The Twisted shell of a connection: reads, waits while a hook waits, applies rates and deadlines, writes, closes.

It is compiled like the core, because many clients come and go. L{twisted_mqtt.mqtt.protocol} handles the packets. One
place, L{ConnectionShell._refuse}, answers every error of a peer.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, TimeoutError

from twisted_mqtt.base.ratelimits import TokenBucket, bucketOf
from twisted_mqtt.base.waiting import Maybe, isDeferred
from twisted_mqtt.broker.client import ClientInfo
from twisted_mqtt.core.connection import Connection
from twisted_mqtt.core.counters import SENT
from twisted_mqtt.core.effort import ENOUGH
from twisted_mqtt.core.packets import AUTH, CONNACK, DISCONNECT, NAMES, VERSION_5, Connack, Disconnect, Packet
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.reasons import (
    IMPLEMENTATION_SPECIFIC_ERROR,
    KEEP_ALIVE_TIMEOUT,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
    ProtocolError,
    connackReturnCode,
    disconnectReason,
)
from twisted_mqtt.net.transport import FastConnection
from twisted_mqtt.net.websocket.transport import WebSocketTransport

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from twisted_mqtt.interfaces import ITap
    from twisted_mqtt.mqtt.protocol import MQTTFactory


# The states of a connection, in order.
NEW: Final = 0  # nothing came yet
CONNECTING: Final = 1  # CONNECT came and is being decided
OPEN: Final = 2  # CONNACK was sent
CLOSING: Final = 3  # nothing is read any more
LOST: Final = 4

# Seconds after which a connection that was told to close is cut.
_PATIENCE: Final = 20.0

_PUBLISH_ERRORS: Final = frozenset((0x90, 0x93, 0x94, 0x99, 0x9A, 0x9B))


class TappedWriter:
    """
    A transport that tells somebody what is written to it.
    """

    __slots__ = ("_tap", "_transport")

    def __init__(self, tap: ITap, transport: Any) -> None:
        self._tap: ITap = tap
        self._transport: Any = transport

    def write(self, data: bytes) -> None:
        """
        See L{twisted_mqtt.core.sender.Writer}.
        """
        self._tap.sent(data)
        self._transport.write(data)

    def writeSequence(self, iovec: list[bytes]) -> None:
        """
        See L{twisted_mqtt.core.sender.Writer}.
        """
        self._tap.sent(b"".join(iovec))
        self._transport.writeSequence(iovec)


class ConnectionShell:
    """
    One connection of an MQTT client, whatever its packets ask for.

    @ivar client: what the broker knows of it.
    @ivar connection: its state machine.
    @ivar reason: why it ended, once it is ending.
    """

    __slots__ = (
        "_congestedAt",
        "_cutAt",
        "_intake",
        "_parked",
        "_state",
        "_tap",
        "_throttle",
        "_waiting",
        "bucket",
        "client",
        "connection",
        "factory",
        "reason",
        "transport",
    )

    connection: Connection

    def __init__(self, factory: MQTTFactory, address: Any = None) -> None:
        """
        @param address: the client's, as C{buildProtocol} was given it.
        """
        self.factory: MQTTFactory = factory
        self.transport: Any = None
        self.client: ClientInfo = ClientInfo(
            factory.profile, self, "mqtt", getattr(address, "host", None), getattr(address, "port", 0)
        )
        self.reason: int | str | None = None
        self._state = NEW
        # Packets that may not be taken before a hook has answered; None while nobody waits.
        self._parked: deque[Packet] | None = None
        self._waiting: Deferred[None] | None = None
        self.bucket = 0
        self._congestedAt = 0.0
        # When it is cut if it has not gone by itself.
        self._cutAt = 0.0
        # Where the listener limits the bytes that come; and the call that ends a pause.
        self._intake: TokenBucket | None = None
        self._throttle: IDelayedCall | None = None
        # Is told what comes and goes while somebody traces this client.
        self._tap: ITap | None = None

    # IProtocol

    def makeConnection(self, transport: Any) -> None:
        """
        The connection is there.
        """
        self.transport = transport
        factory = self.factory
        broker = factory.broker
        now = factory.seconds()
        profile = factory.profile
        counters = factory.traffic.of(profile.name, profile.zone.name).byVersion[0]
        counters.connections_opened += 1
        self.connection = Connection(broker.router, profile.limits, broker.outbox, transport, now, counters)
        client = self.client
        if type(transport) is not FastConnection:
            # Behind a proxy it is another address than that of the socket.
            peer = transport.getPeer()
            client.peerHost = getattr(peer, "host", None)
            client.peerPort = getattr(peer, "port", 0)
            # Hooks may know a user by what its browser has sent with the handshake of WebSocket.
            if isinstance(transport, WebSocketTransport):
                client.wsCookie = transport.cookie
        client.sockPort = factory.portOf(transport)
        identity = getattr(transport, "peerIdentity", None)
        if identity is not None:
            client.identify(identity)
        if profile.byteRate is not None:
            self._intake = bucketOf(profile.byteRate, now)
        self.connection.limited = client.limitRate(now)
        transport.registerProducer(self, True)
        self.factory.wheel.add(self, now + client.options.idle_timeout)
        factory.connected(self)
        tracer = broker.tracer
        if tracer is not None:
            self.setTap(tracer.came(client))

    def connectionMade(self) -> None:
        """
        Nothing: L{makeConnection} has done it.
        """

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes have come.
        """
        connection = self.connection
        tap = self._tap
        if tap is not None:
            tap.received(data)
        try:
            packets = connection.receive(data, self.factory.seconds())
        except Exception:
            # Our own fault, or that of a part of the broker that receives messages; this client's connection alone.
            self.factory.broker.faults.failure("Handling the input of {client} failed", client=self.client)
            self._close(IMPLEMENTATION_SPECIFIC_ERROR, "")
            return
        if packets or connection.error is not None:
            self._take(packets)
        if connection.full:
            self._giveWay()
        if self._intake is not None and self._state < CLOSING:
            self._measure(self._intake, len(data))

    def connectionLost(self, reason: Failure) -> None:
        """
        The connection is gone.
        """
        if self._state == LOST:
            return
        self._state = LOST
        self.factory.wheel.remove(self)
        self._dropThrottle()
        self.connection.closed = True
        counters = self.connection.counters
        counters.connections_closed += 1
        waiting, self._waiting = self._waiting, None
        self._parked = None
        if self.reason is None:
            # [MQTT-3.14.4-3] without a DISCONNECT the will is published
            if reason.check(ConnectionDone):
                self.reason = "closed"
            else:
                counters.connections_error += 1
                # It has taken nothing of what waits for it.
                self.reason = "send_timeout" if reason.check(TimeoutError) else "connection_lost"
        if waiting is not None:
            waiting.cancel()
        client = self.client
        self.factory.registry.disconnect(client, self.reason)
        self.factory.disconnected(self)
        tap, self._tap = self._tap, None
        if tap is not None:
            tap.ended(self.reason)
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
        timeout = self.client.profile.sendTimeout
        if timeout:
            self._congestedAt = now
            self.factory.wheel.add(self, now + timeout)

    def resumeProducing(self) -> None:
        """
        The client has read enough.
        """
        self._congestedAt = 0.0
        if self._state >= CLOSING:
            return
        now = self.factory.seconds()
        # Not to be heard was not the client's doing.
        self.connection.lastReceived = now
        self.connection.setCongested(False, now)
        self._resumeReading()

    def stopProducing(self) -> None:
        """
        The transport is going; L{connectionLost} says the rest.
        """

    # Deadlines

    def due(self, now: float) -> float:
        """
        See L{twisted_mqtt.base.timerwheel.Timed}.
        """
        if self._state >= CLOSING:
            if self._state == CLOSING:
                if self._cutAt > now:
                    return self._cutAt
                # It was told to go and has not gone.
                self.transport.abortConnection()
            return 0.0
        if self._congestedAt:
            deadline = self._congestedAt + self.client.profile.sendTimeout
            if deadline <= now:
                self.reason = "send_timeout"
                self.transport.abortConnection()
                return 0.0
            return deadline
        client = self.client
        if self._state == NEW or self._state == CONNECTING:
            deadline = client.connectedAt or self.connection.lastReceived
            deadline += client.options.idle_timeout
            if self._waiting is not None:
                # Hooks have a time-out of their own.
                return now + 1.0
            if deadline > now:
                return deadline
            self.reason = "connect_timeout"
            self.connection.counters.connections_connect_timeout += 1
            self.factory.registry.log.refused(client, "connect_timeout", "", now)
            self.transport.abortConnection()
            return 0.0
        if client.keepAlive == 0:
            return 0.0
        # [MQTT-3.1.2-22]
        deadline = self.connection.lastReceived + client.keepAlive * client.limits.keepAliveBackoff * 2
        if deadline > now:
            return deadline
        if self._parked is not None or self._throttle is not None or self.connection.congested:
            return now + 1.0  # it is we who don't read
        self.connection.counters.client_keepalive_timeout += 1
        self._close(KEEP_ALIVE_TIMEOUT, "")
        return 0.0 if self._state == LOST else now + 5.0

    # Packets

    def _take(self, packets: list[Packet]) -> None:
        """
        Take packets in order, as far as nobody has to wait.
        """
        if self._parked is not None:
            self._parked.extend(packets)
            return
        effort = self.connection.router.effort
        for index, packet in enumerate(packets):
            if self._state >= CLOSING:
                return
            waiting = self._handle(packet)
            if waiting is not None:
                self._park(waiting, packets[index + 1 :])
                return
            if effort.spent > ENOUGH:
                self._park(self._turn(), packets[index + 1 :])
                return
        error = self.connection.error
        if error is not None:
            self._refuse(error)

    def _handle(self, packet: Packet) -> Deferred[None] | None:
        """
        Handle a packet; returns a Deferred that has not fired if it has to wait.
        """
        try:
            if self._state == CONNECTING and packet.type != AUTH and packet.type != DISCONNECT:
                # [MQTT-3.1.2-30] while it is being authenticated; what merely came early waits in line
                raise ProtocolError(PROTOCOL_ERROR, f"{NAMES[packet.type]} before the authentication has ended")
            outcome = self._dispatch(packet)
        except ProtocolError as error:
            self._refuse(error)
            return None
        except Exception:
            # Our own fault, and this client's connection alone.
            self.factory.broker.faults.failure("Handling {packet} failed", packet=packet)
            self._close(IMPLEMENTATION_SPECIFIC_ERROR, "")
            return None
        if not isDeferred(outcome):
            return None
        outcome.addErrback(self._ebHandle)
        fired: list[Any] = []
        outcome.addCallback(fired.append)
        return None if fired else outcome

    def _dispatch(self, packet: Packet) -> Maybe[None]:
        """
        Do what a packet asks for.

        @return: a Deferred if that has to wait.

        @raise ProtocolError: the client may not send it, or not now.
        """
        raise NotImplementedError

    def _ebHandle(self, failure: Failure) -> None:
        if failure.check(ProtocolError):
            error = failure.value
            assert isinstance(error, ProtocolError)
            self._refuse(error)
        elif self._state < CLOSING:
            self.factory.broker.faults.failure("Handling a packet failed", failure=failure)
            self._close(IMPLEMENTATION_SPECIFIC_ERROR, "")

    def _park(self, waiting: Deferred[None], rest: list[Packet]) -> None:
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
        effort = self.connection.router.effort
        effort.spent = 0
        while parked is not None and parked and self._state < CLOSING:
            waiting = self._handle(parked.popleft())
            if waiting is None and effort.spent > ENOUGH and self._state < CLOSING:
                waiting = self._turn()
            if waiting is not None:
                self._waiting = waiting
                waiting.addCallback(self._unpark)
                return
        self._parked = None
        if self._state >= CLOSING:
            return
        self.connection.parked = False
        error = self.connection.error
        if error is not None:
            self._refuse(error)
            return
        if self.connection.full:
            # Bytes that have come already stand in line before those that are read now.
            self.connection.full = False
            self.dataReceived(b"")
        self._resumeReading()

    def _giveWay(self) -> None:
        """
        Much was done for the client: what else it has sent is taken in a later turn.
        """
        if self._parked is None and self._state < CLOSING:
            self._park(self._turn(), [])

    def _turn(self) -> Deferred[None]:
        # If the connection is lost before, it is cancelled.
        return self.factory.broker.portions.turn().addErrback(self._ebHandle)

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
            self._throttle = factory.broker.clock.callLater(wait, self._unthrottle)
            self._pauseReading()

    def _unthrottle(self) -> None:
        self._throttle = None
        if self._state >= CLOSING:
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

    # The end

    def disconnectClient(self, reason: int, text: str = "") -> None:
        """
        See L{IClientShell<twisted_mqtt.interfaces.IClientShell>}.
        """
        self._close(reason, text)

    def setTap(self, tap: ITap | None) -> None:
        """
        See L{IClientShell<twisted_mqtt.interfaces.IClientShell>}.
        """
        self._tap = tap
        connection = self.connection
        if tap is None:
            connection.writer = self.transport
        else:
            tap.begin(connection.version, connection.partial())
            connection.writer = TappedWriter(tap, self.transport)

    def _refuse(self, error: ProtocolError) -> None:
        """
        The client has done what the specification forbids: say so where that can be said, and close.
        """
        if self._state >= CLOSING:
            return
        connection = self.connection
        counters = connection.counters
        if error.reason in _PUBLISH_ERRORS:
            counters.packets_publish_error += 1
        elif error.reason == PACKET_TOO_LARGE:
            counters.packets_too_large += 1
        if self._state in (NEW, CONNECTING):
            spoken = connection.version or connection.spoken
            answerable = spoken == VERSION_5 or (spoken and error.reason == UNSUPPORTED_PROTOCOL_VERSION)
            if answerable:
                version5 = spoken == VERSION_5
                reason = error.reason if version5 else connackReturnCode(error.reason)
                counters.packets_connack_sent += 1
                counters.packets_connack_error += 1
                counters.countReason(CONNACK + SENT, reason)
                connection.sendPacket(Connack(False, reason, self._explained(error.text) if version5 else None))
            self.factory.registry.log.refused(self.client, error.reason, error.text, self.factory.seconds())
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
        if self._state >= CLOSING:
            return
        connection = self.connection
        if text:
            self.client.farewell = text
        if self._state == OPEN and connection.version == VERSION_5:
            told = disconnectReason(reason)
            connection.counters.packets_disconnect_sent += 1
            connection.counters.countReason(DISCONNECT + SENT, told)
            connection.sendPacket(Disconnect(told, self._explained(text)))
        self.reason = reason
        self._shut()

    def _shut(self) -> None:
        """
        Write what is left, then close.
        """
        self._state = CLOSING
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
