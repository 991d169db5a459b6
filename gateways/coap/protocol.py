"""
The socket of the gateway: datagrams in and out, one timer, and the layers between a datagram and a resource.

Below it may be a UDP port or a layer of DTLS: both take C{write(datagram, address)} and call C{datagramReceived}.
"""

from __future__ import annotations

from random import SystemRandom
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.logger import Logger

from gateways.coap.codes import CONTENT, INTERNAL_SERVER_ERROR
from gateways.coap.exchange import Exchanges
from gateways.coap.message import CoAPMessage, encode
from gateways.coap.options import ETAG, SIZE2, without
from gateways.coap.roles import Address, Awaiting, Ended, Incoming
from gateways.coap.serving import Bodies, refusal, take, withBlock
from twisted_mqtt.base.ratelimitedlog import RateLimitedLog

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from gateways.coap.parameters import Parameters
    from twisted_mqtt.broker.listenerprofile import ListenerProfile
    from twisted_mqtt.net.peeridentity import PeerIdentity

_log = Logger()


# Header, content format, age, Block2, Size2, ETag, the marker: what a response may have beside its token and payload.
_OVERHEAD: Final = 32
_PLAIN: Final = CoAPMessage(CONTENT)


class DatagramTransport(Protocol):
    """
    The layer below an endpoint: a UDP port, or DTLS.
    """

    def write(self, datagram: bytes, address: Address, /) -> None:
        """
        Send a datagram.
        """

    def identityOf(self, address: Address) -> PeerIdentity | None:
        """
        The identity that a peer has proved, or L{None}; asked only of a layer that vouches for addresses.
        """


class BodySettings(Protocol):
    """
    The keys of a gateway's table about bodies.

    @ivar block_size: of the largest blocks.
    @ivar max_body: of what is put together from blocks.
    """

    @property
    def block_size(self) -> int:
        """
        In bytes.
        """

    @property
    def max_body(self) -> int:
        """
        In bytes.
        """


class ResourceServer(Protocol):
    """
    The gateway of an endpoint.
    """

    parameters: Parameters

    @property
    def settings(self) -> BodySettings:
        """
        Its table.
        """

    def serve(self, endpoint: Any, asked: CoAPMessage, message: CoAPMessage, incoming: Incoming) -> None:
        """
        Answer a request by C{endpoint.answer}, now or later.

        @param endpoint: one of this gateway's.
        @param asked: as it came: perhaps the last block of C{message}.
        @param message: with its whole body.
        """

    def lost(self, address: Address, reason: int | str) -> None:
        """
        Nothing comes from an address any more.
        """


class CoAPProtocol:
    """
    One endpoint, whatever its resources are.

    @ivar exchanges: of this socket.
    @ivar profile: of its listener.
    @ivar port: that it listens on.
    @ivar transport: the layer below, L{None} before it is open.
    """

    def __init__(
        self, gateway: ResourceServer, profile: ListenerProfile, reactor: IReactorTime, secure: bool = False
    ) -> None:
        """
        @param secure: whether a layer below vouches for addresses.
        """
        self.profile = profile
        self.port = 0
        self.transport: DatagramTransport | None = None
        self._gateway = gateway
        self._reactor = reactor
        self._faults = RateLimitedLog(reactor.seconds)
        self._secure = secure
        self.exchanges = Exchanges(self._write, self, gateway.parameters, SystemRandom(), secure)
        self._bodies = Bodies(gateway)
        self._blockSize: int = gateway.settings.block_size
        self._timer: IDelayedCall | None = None
        self._deadline = 0.0

    # The socket

    def makeConnection(self, transport: DatagramTransport) -> None:
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
            self._faults.failure("A datagram from {host} could not be handled", host=addr[0])
        self._arm()

    def send(self, address: Address, message: CoAPMessage, confirmable: bool, ended: Ended | None, now: float) -> None:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        self.exchanges.send(address, message, confirmable, ended, now)
        self._arm()

    def request(self, address: Address, message: CoAPMessage, awaiting: Awaiting, now: float) -> bytes:
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
        self._gateway.lost(address, "association closed")

    def identityOf(self, address: Address) -> PeerIdentity | None:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        if not self._secure:
            return None
        assert self.transport is not None
        return self.transport.identityOf(address)

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
            self._faults.failure("A deadline of CoAP failed")
        self._arm()

    # Requests

    def refused(self, request: CoAPMessage, option: int, incoming: Incoming, now: float) -> None:
        """
        See L{Upper<gateways.coap.roles.Upper>}.
        """
        self.exchanges.respond(incoming, refusal(option), now)

    def requested(self, request: CoAPMessage, incoming: Incoming, now: float) -> None:
        """
        See L{Upper<gateways.coap.roles.Upper>}.
        """
        try:
            take(self._gateway, self, self._bodies, request, incoming, now)
        except Exception:
            self._faults.failure("Answering {request} failed", request=request)
            self.exchanges.respond(incoming, CoAPMessage(INTERNAL_SERVER_ERROR), now)

    def respond(self, incoming: Incoming, response: CoAPMessage, now: float) -> None:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        self.exchanges.respond(incoming, response, now)

    def answer(self, incoming: Incoming, request: CoAPMessage, response: CoAPMessage) -> None:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        now: float = self._reactor.seconds()
        response = withBlock(request, response)
        largest, most = self._blockSize, 0
        if response.payload and not self.exchanges.verification.isVerified(incoming.address):
            most = self.exchanges.verification.allowance(incoming, response)
            if len(response.payload) + _OVERHEAD + len(incoming.token) > most and not _fits(incoming, response, most):
                largest = self._room(incoming, most)
        response = self._bodies.cut(request, incoming.address, response, largest, now)
        if most and len(response.payload) == 16 and not _fits(incoming, response, most):
            # These options can be left out; C{Exchanges.respond} does the rest.
            response = response.replace(without(response.options, SIZE2))
            if not _fits(incoming, response, most):
                self._bodies.leaveOutETag(request, incoming.address)
                response = response.replace(without(response.options, ETAG))
        self.exchanges.respond(incoming, response, now)
        self._arm()

    def room(self, incoming: Incoming) -> int:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        if self.exchanges.verification.isVerified(incoming.address):
            return self._blockSize
        return self._room(incoming, self.exchanges.verification.allowance(incoming, _PLAIN))

    def _room(self, incoming: Incoming, most: int) -> int:
        return max(16, min(self._blockSize, most - _OVERHEAD - len(incoming.token)))

    def cut(self, request: CoAPMessage, address: Address, response: CoAPMessage, now: float) -> CoAPMessage:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        return self._bodies.cut(request, address, response, self._blockSize, now)

    def isVerified(self, address: Address) -> bool:
        """
        See L{Endpoint<gateways.coap.gateway.Endpoint>}.
        """
        return self.exchanges.verification.isVerified(address)


def _fits(incoming: Incoming, response: CoAPMessage, most: int) -> bool:
    return len(encode(response)) + len(incoming.token) <= most
