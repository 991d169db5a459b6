"""
CoAP over TCP (RFC 8323): a connection, and the factory of connections. Messages have the same content as in datagrams;
the stream delivers them in order and once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IProtocol, IProtocolFactory, IPushProducer
from zope.interface import implementer

from gateways.coap.codes import EMPTY, INTERNAL_SERVER_ERROR, isRequest
from gateways.coap.message import CoAPMessage
from gateways.coap.options import encodeUint, isCritical, uintOf, uintOption, understand
from gateways.coap.roles import ACKNOWLEDGED, DROPPED, Address, Ended, Incoming, streamed
from gateways.coap.serving import Bodies, refusal, take, withBlock
from gateways.coap.transport.framing import (
    ABORT,
    BAD_CSM_OPTION,
    BLOCK_WISE_TRANSFER,
    CSM,
    DEFAULT_MAX_MESSAGE_SIZE,
    MAX_MESSAGE_SIZE,
    PING,
    PONG,
    RELEASE,
    Deframer,
    FramingError,
    frame,
    isSignal,
    signal,
)

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from gateways.coap.gateway import CoAPGateway
    from twisted_mqtt.broker.listenerprofile import ListenerProfile
    from twisted_mqtt.net.peeridentity import PeerIdentity


# A body, and what comes with it.
_AROUND: Final = 2048
# Of a response: what is not its payload.
_OVERHEAD: Final = 128
# For whom nothing more is written until it reads: so many messages wait.
_MOST_WAITING: Final = 200
# Seconds for the last words.
_FAREWELL: Final = 5.0


@implementer(IProtocol, IPushProducer)
class CoAPConnection:
    """
    One connection; to its clients, an L{Endpoint<gateways.coap.gateway.Endpoint>}.

    @ivar profile: of its listener.
    @ivar port: that it came to.
    @ivar bucket: the wheel's.
    """

    def __init__(self, factory: StreamFactory, number: int, addr: IAddress | None) -> None:
        """
        @param number: what tells it from others that come from the same port one day.
        """
        self.profile = factory.profile
        self.port = factory.port
        self.transport: Any = None
        self.bucket = 0
        self.address: Address = (getattr(addr, "host", ""), getattr(addr, "port", 0), number)
        self._factory = factory
        self._gateway = factory.gateway
        self._clock = factory.gateway.broker.clock
        self._deframer = Deframer(factory.longest)
        self._begun = False
        self._largest = DEFAULT_MAX_MESSAGE_SIZE
        self._closing = False
        self._full = False
        self._waiting: deque[tuple[bytes, Ended | None]] = deque()
        self._heardAt: float = self._clock.seconds()

    # The stream

    def makeConnection(self, transport: Any) -> None:
        """
        It begins: each side first says what it can take (RFC 8323 5.3).
        """
        self.transport = transport
        self._factory.remember(self)
        transport.registerProducer(self, True)
        wheel = self._gateway.broker.wheel
        wheel.add(self, self._heardAt + self.profile.zone.idle_timeout)
        options = [uintOption(MAX_MESSAGE_SIZE, self._factory.longest), (BLOCK_WISE_TRANSFER, b"")]
        transport.write(signal(CSM, options))

    def connectionMade(self) -> None:
        """
        Nothing: L{makeConnection} has done it.
        """

    def dataReceived(self, data: bytes) -> None:
        """
        Take what has come.
        """
        if self._closing:
            return
        self._heardAt = self._clock.seconds()
        try:
            for message in self._deframer.feed(data):
                self._receive(message, self._heardAt)
        except FramingError as error:
            self._abort(str(error))
        except Exception:
            self._gateway.broker.faults.failure("The input of {host} could not be handled", host=self.address[0])
            self._abort("internal error")

    def connectionLost(self, reason: Failure) -> None:
        """
        It is over.
        """
        self._closing = True
        self._factory.forget(self)
        self._gateway.broker.wheel.remove(self)
        waiting, self._waiting = self._waiting, deque()
        now = self._clock.seconds()
        for _, ended in waiting:
            if ended is not None:
                ended(DROPPED, now)
        self._gateway.lost(self.address, "connection closed")

    def due(self, now: float) -> float:
        """
        The wheel asks: has it been silent for too long?
        """
        if self._closing:  # and it does not take what it was told
            self.transport.abortConnection()
            return 0.0
        patience = self._gateway.settings.keepalive if self._begun else self.profile.zone.idle_timeout
        if self._heardAt + patience > now:
            return self._heardAt + patience
        self.release()
        return now + _FAREWELL

    def release(self) -> None:
        """
        Let it end, in order (RFC 8323 5.5).
        """
        if not self._closing:
            self._closing = True
            self.transport.write(signal(RELEASE))
            self.transport.loseConnection()

    def _abort(self, text: str, option: int = 0) -> None:
        """
        End it for a fault of the peer's (RFC 8323 5.6).

        @param option: of its CSM, that is not understood.
        """
        if not self._closing:
            self._closing = True
            options = [(BAD_CSM_OPTION, encodeUint(option))] if option else []
            self.transport.write(signal(ABORT, options, text))
            self.transport.loseConnection()

    # Messages

    def _receive(self, message: CoAPMessage, now: float) -> None:
        code = message.code
        if self._closing:
            return
        if not self._begun and code != CSM:
            self._abort("a CSM has to come first")  # RFC 8323 5.3
        elif isSignal(code):
            self._signalled(message, now)
        elif isRequest(code):
            self._requested(message, now)
        elif code != EMPTY:
            self._abort("a response to nothing")

    def _signalled(self, message: CoAPMessage, now: float) -> None:
        code = message.code
        known = (MAX_MESSAGE_SIZE, BLOCK_WISE_TRANSFER) if code == CSM else ()
        for number, _ in message.options:
            # Elective ones of all signals, and those of the last two, change nothing here.
            if isCritical(number) and number not in known and code in (CSM, PING, PONG):
                self._abort(f"option {number} of the signal {code >> 5}.{code & 31:02}", number if code == CSM else 0)
                return
        if code == CSM:
            self._begun = True
            self._largest = uintOf(message.options, MAX_MESSAGE_SIZE) or self._largest
        elif code == PING:
            self._gateway.touch(self.address, now)
            self.transport.write(signal(PONG, token=message.token))
        elif code in (RELEASE, ABORT):
            self._closing = True
            self.transport.loseConnection()
        elif code != PONG:
            self._abort("an unknown signal")

    def _requested(self, message: CoAPMessage, now: float) -> None:
        incoming = streamed(self.address, message)
        message.options, wrong = understand(message.options)
        if wrong is not None:
            self.respond(incoming, refusal(wrong), now)
            return
        try:
            take(self._gateway, self, self._factory.bodies, message, incoming, now)
        except Exception:
            self._gateway.broker.faults.failure("Answering {request} failed", request=message)
            self.respond(incoming, CoAPMessage(INTERNAL_SERVER_ERROR), now)

    # See Endpoint

    def respond(self, incoming: Incoming, response: CoAPMessage, now: float) -> None:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        if incoming.settle(response):
            response.token = incoming.token
            self._write(frame(response), None, now)

    def answer(self, incoming: Incoming, request: CoAPMessage, response: CoAPMessage) -> None:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        now = self._clock.seconds()
        self.respond(incoming, self.cut(request, self.address, withBlock(request, response), now), now)

    def cut(self, request: CoAPMessage, address: Address, response: CoAPMessage, now: float) -> CoAPMessage:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        return self._factory.bodies.cut(request, address, response, self._room, now)

    def room(self, incoming: Incoming) -> int:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        return self._room

    @property
    def _room(self) -> int:
        return max(16, self._largest - _OVERHEAD)

    def send(self, address: Address, message: CoAPMessage, confirmable: bool, ended: Ended | None, now: float) -> None:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}. A message written to the transport counts as received.
        """
        self._write(frame(message), ended, now)

    def isVerified(self, address: Address) -> bool:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        return True

    def identityOf(self, address: Address) -> PeerIdentity | None:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        return None

    # Peers that do not read

    def _write(self, data: bytes, ended: Ended | None, now: float) -> None:
        if self._closing:
            if ended is not None:
                ended(DROPPED, now)
        elif not self._full:
            self.transport.write(data)
            if ended is not None:
                ended(ACKNOWLEDGED, now)
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting.append((data, ended))
        else:
            self._closing = True
            self.transport.abortConnection()
            if ended is not None:
                ended(DROPPED, now)

    def pauseProducing(self) -> None:
        """
        The transport takes no more: neither is any more taken that would have to be answered.
        """
        self._full = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """
        It takes something again.
        """
        self._full = False
        waiting, self._waiting = self._waiting, deque()
        now = self._clock.seconds()
        for data, ended in waiting:
            self._write(data, ended, now)
        if not self._full and not self._closing:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """
        See L{IPushProducer}.
        """


@implementer(IProtocolFactory)
class StreamFactory:
    """
    Makes the connections of a port.

    @ivar bodies: of all its peers.
    @ivar longest: of the messages that are taken, in bytes.
    @ivar port: its number.
    """

    noisy = False

    def __init__(self, gateway: CoAPGateway, profile: ListenerProfile) -> None:
        self.gateway = gateway
        self.profile = profile
        self.port = 0
        self.longest = gateway.settings.max_body + _AROUND
        self.bodies = Bodies(gateway, True)
        self._count = 0
        self._connections: set[CoAPConnection] = set()

    def __len__(self) -> int:
        return len(self._connections)

    def doStart(self) -> None:
        """
        The port listens.
        """

    def doStop(self) -> None:
        """
        It listens no more.
        """

    def buildProtocol(self, addr: IAddress | None) -> CoAPConnection:
        """
        A connection.
        """
        self._count += 1
        return CoAPConnection(self, self._count, addr)

    def remember(self, connection: CoAPConnection) -> None:
        """
        A connection has begun.
        """
        self._connections.add(connection)

    def forget(self, connection: CoAPConnection) -> None:
        """
        A connection is over.
        """
        self._connections.discard(connection)

    def releaseAll(self) -> None:
        """
        Let all connections end.
        """
        for connection in list(self._connections):
            connection.release()
