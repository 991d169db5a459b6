"""
The Twisted shell of a STOMP session: reads, parks while a hook waits, writes, closes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, TimeoutError
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from gateways.implements import GatewayClient
from gateways.stomp.frame import StompError, StompParser
from gateways.stomp.session import NEW, OVER, StompSession

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IDelayedCall
    from twisted.python.failure import Failure

    from gateways.client import GatewaySession
    from gateways.stomp.gateway import StompGateway
    from twisted_mqtt.broker.listenerprofile import ListenerProfile
    from twisted_mqtt.core.link import Link

_log = Logger()

# Seconds after which a connection that was told to close is cut.
_PATIENCE = 20.0


class StompProtocol:
    """
    One connection. It is an C{IProtocol} and a streaming C{IPushProducer}, and what its session has below it: see
    L{StompShell<gateways.stomp.gateway.StompShell>}.

    Its transport may be a stream, or something that sends message by message (WebSocket, SockJS): then it has a method
    C{sendMessage}, which is given each frame.

    @ivar parked: whether what has come is left unread, for somebody has to be waited for.
    """

    def __init__(self, factory: StompFactory, address: IAddress | None = None) -> None:
        """
        @param address: the client's, as C{buildProtocol} was given it.
        """
        self._factory = factory
        self._gateway = factory.gateway
        self._address = address
        self.transport: Any = None
        # These are there from makeConnection on.
        self.session: StompSession
        self._link: Link
        self.parked = False
        self._parser = StompParser(self._gateway.frameLimits)
        self._waiting: Deferred[None] | None = None
        self._sendMessage: Callable[[bytes], None] | None = None
        self._messageBytes = 0
        self._timer: IDelayedCall | None = None
        self._timerAt = 0.0
        self._congestedAt = 0.0
        self._lost = False

    # IProtocol

    def makeConnection(self, transport: Any) -> None:
        """
        The connection is there.
        """
        self.transport = transport
        self._sendMessage = getattr(transport, "sendMessage", None)
        self._factory.connected(self)
        now = self._gateway.seconds()
        self.session = StompSession(self._gateway, self, now)
        transport.registerProducer(self, True)
        self._setTimer(now)

    def connectionMade(self) -> None:
        """
        Nothing: L{makeConnection} has done it.
        """

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes have come.
        """
        session, link = self.session, self._link
        if session.state == OVER:
            return
        now = link.lastReceived = self._gateway.seconds()
        link.receivedBytes += len(data)
        self._link.counters.bytes_received += len(data)
        self._parser.feed(data)
        if not self.parked:
            self._take()
            if session.deadline != self._timerAt:
                self._setTimer(now)

    def connectionLost(self, reason: Failure) -> None:
        """
        The connection is gone.
        """
        if self._lost:
            return
        self._lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, None
        if reason.check(ConnectionDone):
            self.session.lost("closed")
        else:
            # It has taken nothing of what waits for it.
            self.session.lost("send_timeout" if reason.check(TimeoutError) else "connection_lost")
        if waiting is not None:
            waiting.cancel()
        self._factory.disconnected(self)

    def giveWay(self) -> bool:
        """
        Go, if the client has not even sent a CONNECT: another wants to come, and there is no room.

        @return: whether it goes.
        """
        if self.session.state != NEW:
            return False
        self.session.lost("no_room")
        self.transport.abortConnection()
        return True

    # IPushProducer: what the transport tells a streaming producer

    def pauseProducing(self) -> None:
        """
        The client does not read as fast as it is written to.
        """
        now = self._gateway.seconds()
        self._congestedAt = now
        self._link.setCongested(True, now)
        # Somebody who does not read gets no answers either: else those would pile up.
        self.transport.pauseProducing()
        self._setTimer(now)

    def resumeProducing(self) -> None:
        """
        The client has read enough.
        """
        self._congestedAt = 0.0
        if self.session.state == OVER:
            return
        if not self.parked:
            self.transport.resumeProducing()
        self._link.setCongested(False, self._gateway.seconds())

    def stopProducing(self) -> None:
        """
        The transport is going; L{connectionLost} says the rest.
        """

    # For the session: Shell

    @property
    def sentBytes(self) -> int:
        """
        How much was sent so far.
        """
        sent: int = self._link.sentBytes
        return sent + self._messageBytes

    def makeClient(self, owner: GatewaySession) -> GatewayClient:
        """
        The client's place in the broker.
        """
        transport, profile = self.transport, self._factory.profile
        peer, host = transport.getPeer(), transport.getHost()
        client = GatewayClient(
            self._gateway.broker,
            profile,
            owner,
            "stomp",
            getattr(peer, "host", None),
            getattr(peer, "port", 0),
            getattr(host, "port", 0),
            patient=True,
        )
        identity = getattr(transport, "peerIdentity", None)
        if identity is not None:
            client.info.identify(identity)
        client.info.wsCookie = getattr(transport, "cookie", None)
        self._link = client.link
        self._link.writer = transport
        return client

    def write(self, wire: bytes) -> None:
        """
        Send one frame: in a stream with this turn's output, else as a message.
        """
        send = self._sendMessage
        if send is None:
            self._link.write(wire)
        elif not self._link.closed:
            self._messageBytes += len(wire)
            self._link.counters.bytes_sent += len(wire)
            send(wire)

    def later(self, action: Callable[[], None]) -> None:
        """
        Call something in a turn of its own.
        """
        self._gateway.broker.clock.callLater(0, action)

    def setVersion(self, version: int) -> None:
        """
        The version is known.
        """
        self._parser.version = version
        self._parser.forget()

    def close(self, wire: bytes) -> None:
        """
        Send what is left and a last frame, if it is not empty, and close.
        """
        transport = self.transport
        self._link.flush()
        if wire:
            self._link.counters.bytes_sent += len(wire)
            if self._sendMessage is not None:
                self._sendMessage(wire)
            else:
                transport.write(wire)
        transport.unregisterProducer()
        transport.loseConnection()
        if not self._lost:
            self._setTimer(self._gateway.seconds())

    # Frames

    def _take(self) -> None:
        """
        Take what frames there are, as far as nobody has to wait.
        """
        parser, session = self._parser, self.session
        try:
            while session.state != OVER:
                frame = parser.next()
                if frame is None:
                    return
                outcome = session.handle(frame)
                if outcome is not None and self._wait(outcome):
                    return
        except StompError as error:
            if error.isTooBig and self._sendMessage is not None:
                self.transport.isTooBig = True
            session.failed(error)

    def _wait(self, outcome: Deferred[None]) -> bool:
        """
        Leave the rest until a Deferred fires; TCP tells the client to wait.

        @return: whether it has not fired already.
        """
        fired: list[object] = []
        outcome.addBoth(fired.append)
        if fired:
            return False
        self._waiting = outcome
        self.parked = True
        self.transport.pauseProducing()
        outcome.addCallback(self._cbWaited)
        return True

    def _cbWaited(self, _: object) -> None:
        self._waiting = None
        self.parked = False
        if self.session.state == OVER:
            return
        self._take()
        if self.session.state == OVER:
            return
        now = self._gateway.seconds()
        if not self.parked and not self._congestedAt:
            # Not to be heard was not the client's doing.
            self._link.lastReceived = now
            self.transport.resumeProducing()
        self._setTimer(now)

    # Time

    def _setTimer(self, now: float) -> None:
        """
        See to it that the session is asked at its deadline. One that is put off costs nothing: it is found out then.
        """
        deadline = self.session.deadline
        self._timerAt = deadline
        timeout = self._factory.profile.sendTimeout
        if self.session.state == OVER:
            deadline = now + _PATIENCE
        elif self._congestedAt and timeout:
            late = self._congestedAt + timeout
            deadline = min(deadline, late) if deadline else late
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline:
            self._timer = self._gateway.broker.clock.callLater(max(0.0, deadline - now), self._due)

    def _due(self) -> None:
        self._timer = None
        now = self._gateway.seconds()
        timeout = self._factory.profile.sendTimeout
        if self.session.state == OVER:
            # It was told to go and has not gone.
            self.transport.abortConnection()
            return
        if self._congestedAt and timeout and self._congestedAt + timeout <= now:
            self.session.lost("send_timeout")
            self.transport.abortConnection()
            return
        if self._congestedAt:
            # Not to be heard is not the client's doing.
            self._link.lastReceived = now
        if self.session.deadline and self.session.deadline <= now:
            self.session.expire(now)
        if not self._lost:
            self._setTimer(now)


class StompFactory(Factory):
    """
    Makes the protocols of one listener.

    @ivar gateway: what all listeners share.
    @ivar profile: where its clients come from.
    @ivar protocols: those that are connected.
    """

    noisy = False

    def __init__(self, gateway: StompGateway, profile: ListenerProfile) -> None:
        self.gateway = gateway
        self.profile = profile
        self.protocols: set[StompProtocol] = set()

    def buildProtocol(self, addr: IAddress | None) -> StompProtocol | None:  # type: ignore[override]  # no IProtocol
        """
        A protocol for a connection, or L{None} while the broker is stopping or where there are too many.
        """
        gateway = self.gateway
        if gateway.broker.stopping or gateway.refuses(addr):
            return None
        return StompProtocol(self, addr)

    def connected(self, protocol: StompProtocol) -> None:
        """
        A protocol has its transport.
        """
        self.gateway.came(protocol)
        self.protocols.add(protocol)

    def disconnected(self, protocol: StompProtocol) -> None:
        """
        A protocol has lost its transport.
        """
        self.gateway.left(protocol)
        self.protocols.discard(protocol)

    def sendAllAway(self) -> None:
        """
        The gateway ends.
        """
        for protocol in list(self.protocols):
            protocol.session.fail("server_shutting_down", reason="server_shutting_down")
