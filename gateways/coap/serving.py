"""
Collects the whole body of a request, for every transport, and sends the response to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateways.coap.blockwise import Assembler, Slicer, diagnostic
from gateways.coap.codes import BAD_OPTION, IPATCH, METHOD_NOT_ALLOWED, PROXYING_NOT_SUPPORTED, isResponse
from gateways.coap.message import CoAPMessage
from gateways.coap.options import BLOCK1, BLOCK2, PROXY_SCHEME, PROXY_URI, TABLE, Option, valueOf
from gateways.coap.roles import Address, Incoming

if TYPE_CHECKING:
    from gateways.coap.gateway import Endpoint
    from gateways.coap.protocol import ResourceServer

_PROXY: Final = (PROXY_URI, PROXY_SCHEME)


class Bodies:
    """
    The bodies of an endpoint's peers that are larger than a message.
    """

    __slots__ = ("_assembler", "_slicer", "longest")

    def __init__(self, gateway: ResourceServer, streams: bool = False) -> None:
        """
        @param streams: whether its peers come on streams.
        """
        lifetime = gateway.parameters.exchangeLifetime
        self.longest: int = gateway.settings.max_body
        self._assembler = Assembler(self.longest, lifetime, streams=streams)
        self._slicer = Slicer(lifetime, streams=streams)

    def take(self, message: CoAPMessage, address: Address, largest: int, now: float) -> CoAPMessage:
        """
        A request with its whole body, or the response to it where something is missing or wrong, or where it asks for
        another block: codes tell them apart.

        @param largest: how many bytes of payload the response may have.
        """
        following = self._slicer.following(message, address, largest)
        return self._assembler.take(message, address, now) if following is None else following

    def cut(
        self, request: CoAPMessage, address: Address, response: CoAPMessage, largest: int, now: float
    ) -> CoAPMessage:
        """
        Return the response to send: the response itself, or a block of it.

        @param largest: how many bytes of payload a message may have.
        """
        options = request.options
        if len(response.payload) <= largest and (not options or options[-1][0] < BLOCK2):
            return response
        return self._slicer.cut(request, address, response, largest, now)

    def leaveOutETag(self, request: CoAPMessage, address: Address) -> None:
        """
        See L{Slicer.leaveOutETag<gateways.coap.blockwise.Slicer.leaveOutETag>}.
        """
        self._slicer.leaveOutETag(request, address)


def take(
    gateway: ResourceServer, endpoint: Endpoint, bodies: Bodies, message: CoAPMessage, incoming: Incoming, now: float
) -> None:
    """
    Take a request whose options are understood; it is answered by C{endpoint}, now or later.
    """
    options = message.options
    if message.code > IPATCH:
        endpoint.respond(incoming, diagnostic(METHOD_NOT_ALLOWED, "an unknown method"), now)
        return
    whole = message
    # Of what most requests have not: blocks, proxies, more than is taken at once.
    if (options and options[-1][0] >= BLOCK2) or len(message.payload) > bodies.longest:
        if _isForProxy(options):
            endpoint.respond(incoming, diagnostic(PROXYING_NOT_SUPPORTED, "this is not a proxy"), now)
            return
        whole = bodies.take(message, incoming.address, endpoint.room(incoming), now)
        if isResponse(whole.code):
            endpoint.respond(incoming, whole, now)
            return
    gateway.serve(endpoint, message, whole, incoming)


def withBlock(request: CoAPMessage, response: CoAPMessage) -> CoAPMessage:
    """
    The response to the last block of a request says which one that was (RFC 7959 2.3).
    """
    options = request.options
    block1 = valueOf(options, BLOCK1) if options and options[-1][0] >= BLOCK1 else None
    return response if block1 is None else response.replace([*response.options, (BLOCK1, block1)])


def refusal(option: int) -> CoAPMessage:
    """
    The response to a request with a critical option that is not understood.
    """
    code = PROXYING_NOT_SUPPORTED if option in _PROXY else BAD_OPTION
    name = TABLE[option].name if option in TABLE else "not understood"
    return diagnostic(code, f"option {option}: {name}")


def _isForProxy(options: list[Option]) -> bool:
    return valueOf(options, PROXY_URI) is not None or valueOf(options, PROXY_SCHEME) is not None
