"""
The socket of the gateway: datagrams in and out, one timer, and the layers between a datagram and a resource.

Below it may be a UDP port or a layer of DTLS: both take C{write(datagram, address)} and call C{datagramReceived}.
"""

from __future__ import annotations

from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.logger import Logger

from gateways.coap.blockwise import Assembler, Slicer, diagnostic
from gateways.coap.codes import (
    BAD_OPTION,
    BAD_REQUEST,
    INTERNAL_SERVER_ERROR,
    IPATCH,
    METHOD_NOT_ALLOWED,
    PROXYING_NOT_SUPPORTED,
    isResponse,
)
from gateways.coap.exchange import Address, Awaiting, Ended, Exchanges, Incoming
from gateways.coap.message import Message
from gateways.coap.options import BLOCK1, BLOCK2, PROXY_SCHEME, PROXY_URI, TABLE, Option, valueOf
from gateways.coap.parameters import Parameters
from gateways.coap.query import QueryError, pathOf, queryOf
from gateways.coap.request import Request
from gateways.coap.resources import serve

if TYPE_CHECKING:
    from gateways.coap.gateway import Gateway
    from twisted_mqtt.listening import Place

_log = Logger()

_UNVERIFIED_FACTOR: Final = 3
_UNVERIFIED_BYTES: Final = 256
"""
Who has not shown that it is where it says gets at most this much payload, or that many times the size of its request
(RFC 7252 11.3).
"""


class Owner(Protocol):
    """
    The gateway of an endpoint.
    """

    settings: Any
    parameters: Parameters

    def lost(self, address: Address, reason: int | str) -> None:
        """
        Nothing comes from an address any more.
        """


class EndpointProtocol:
    """
    One endpoint, whatever its resources are.

    @ivar exchanges: of this socket.
    @ivar place: of its listener.
    @ivar port: that it listens on.
    @ivar transport: the layer below, L{None} before it is open.
    """

    def __init__(self, gateway: Owner, place: Place, reactor: Any, secure: bool = False) -> None:
        """
        @param secure: whether a layer below vouches for addresses.
        """
        self.place = place
        self.port = 0
        self.transport: Any = None
        self._owner = gateway
        self._reactor = reactor
        self._secure = secure
        settings, lifetime = gateway.settings, gateway.parameters.exchangeLifetime
        self.exchanges = Exchanges(self._write, self, gateway.parameters, SystemRandom())
        self._assembler = Assembler(settings.max_body, lifetime)
        self._longest: int = settings.max_body
        self._blockSize: int = settings.block_size
        self._slicer = Slicer(lifetime)
        self._timer: Any = None
        self._deadline = 0.0

    # The socket

    def makeConnection(self, transport: Any) -> None:
        """
        The port is open.
        """
        self.transport = transport

    def doStop(self) -> None:
        """
        The port is closed.
        """
        self.transport = None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """
        Take a datagram.
        """
        try:
            self.exchanges.receive(datagram, addr, self._reactor.seconds())
        except Exception:
            _log.failure("A datagram from {host} could not be handled", host=addr[0])
        self._arm()

    def send(self, address: Address, message: Message, confirmable: bool, ended: Ended | None, now: float) -> None:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        self.exchanges.send(address, message, confirmable, ended, now)
        self._arm()

    def request(self, address: Address, message: Message, awaiting: Awaiting, now: float) -> bytes:
        """
        See L{Exchanges.request}; the timer is seen to.
        """
        token = self.exchanges.request(address, message, awaiting, now)
        self._arm()
        return token

    def lost(self, address: Address) -> None:
        """
        The layer below has lost its association with a peer.
        """
        self.exchanges.forget(address, self._reactor.seconds())
        self._owner.lost(address, "association closed")

    def identityOf(self, address: Address) -> Any:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        return self.transport.identityOf(address) if self._secure else None

    def _write(self, datagram: bytes, address: Address) -> None:
        if self.transport is None:
            return
        try:
            self.transport.write(datagram, address)
        except OSError as error:
            # Unreachable, or the socket's buffer is full: lost, as datagrams may be.
            _log.debug("nothing could be sent to {host}: {error}", host=address[0], error=error)

    # Time

    def _arm(self) -> None:
        """
        See that the timer comes not later than the next deadline. One that comes too early finds nothing to do.
        """
        deadline = self.exchanges.nextDeadline()
        if deadline is None:
            return
        if self._timer is not None:
            if self._deadline <= deadline:
                return
            self._timer.cancel()
        self._deadline = deadline
        self._timer = self._reactor.callLater(max(0.0, deadline - self._reactor.seconds()), self._expire)

    def _expire(self) -> None:
        self._timer = None
        try:
            self.exchanges.expire(self._reactor.seconds())
        except Exception:
            _log.failure("A deadline of CoAP failed")
        self._arm()

    # Requests

    def refused(self, request: Message, option: int, incoming: Incoming, now: float) -> None:
        """
        See L{Upper<gateways.coap.exchange.Upper>}.
        """
        code = PROXYING_NOT_SUPPORTED if option in (PROXY_URI, PROXY_SCHEME) else BAD_OPTION
        name = TABLE[option].name if option in TABLE else "not understood"
        self.exchanges.respond(incoming, diagnostic(code, f"option {option}: {name}"), now)

    def requested(self, request: Message, incoming: Incoming, now: float) -> None:
        """
        See L{Upper<gateways.coap.exchange.Upper>}.
        """
        try:
            self._requested(request, incoming, now)
        except Exception:
            _log.failure("Answering {request} failed", request=request)
            self.exchanges.respond(incoming, Message(INTERNAL_SERVER_ERROR), now)

    def _requested(self, message: Message, incoming: Incoming, now: float) -> None:
        options, address = message.options, incoming.address
        if message.code > IPATCH:
            self.exchanges.respond(incoming, diagnostic(METHOD_NOT_ALLOWED, "an unknown method"), now)
            return
        whole = message
        # Of what most requests have not: blocks, proxies, more than is taken at once.
        if (options and options[-1][0] >= BLOCK2) or len(message.payload) > self._longest:
            if _isForProxy(options):
                self.exchanges.respond(incoming, diagnostic(PROXYING_NOT_SUPPORTED, "this is no proxy"), now)
                return
            following = self._slicer.following(message, address)
            if following is not None:
                self.exchanges.respond(incoming, following, now)
                return
            whole = self._assembler.take(message, address, now)
            if isResponse(whole.code):
                self.exchanges.respond(incoming, whole, now)
                return
        self.serve(message, whole, incoming)

    def serve(self, asked: Message, message: Message, incoming: Incoming) -> None:
        """
        Answer a request by L{answer}, now or later.

        @param asked: as it came: perhaps the last block of C{message}.
        @param message: with its whole body.
        """
        raise NotImplementedError

    def answer(self, incoming: Incoming, request: Message, response: Message) -> None:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        now: float = self._reactor.seconds()
        options = request.options
        if options and options[-1][0] >= BLOCK1:
            block1 = valueOf(options, BLOCK1)
            if block1 is not None:
                response = response.replace([*response.options, (BLOCK1, block1)])
        self.exchanges.respond(incoming, self.cut(request, incoming.address, response, incoming.size, now), now)
        self._arm()

    def cut(self, request: Message, address: Address, response: Message, size: int, now: float) -> Message:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        largest = self._blockSize
        length = len(response.payload)
        if length > _UNVERIFIED_BYTES and not self._secure and not self.exchanges.isVerified(address):
            largest = min(largest, max(_UNVERIFIED_BYTES, _UNVERIFIED_FACTOR * size))
        options = request.options
        if length <= largest and (not options or options[-1][0] < BLOCK2):
            return response
        return self._slicer.cut(request, address, response, largest, now)


class CoAPProtocol(EndpointProtocol):
    """
    An endpoint of the CoAP gateway.
    """

    def __init__(self, gateway: Gateway, place: Place, reactor: Any, secure: bool = False) -> None:
        """
        See L{EndpointProtocol}.
        """
        super().__init__(gateway, place, reactor, secure)
        self._gateway = gateway

    def serve(self, asked: Message, message: Message, incoming: Incoming) -> None:
        """
        See L{EndpointProtocol.serve}.
        """
        try:
            query = queryOf(asked)
        except QueryError as error:
            self.answer(incoming, asked, diagnostic(BAD_REQUEST, str(error)))
            return
        serve(Request(self._gateway, self, asked, message, query, incoming), pathOf(asked))


def _isForProxy(options: list[Option]) -> bool:
    return valueOf(options, PROXY_URI) is not None or valueOf(options, PROXY_SCHEME) is not None
