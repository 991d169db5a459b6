"""
What the message layer of CoAP and the code above it know of each other: requests that came, who answers them, and who
waits for a response.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from gateways.coap.message import CoAPMessage
from gateways.coap.options import NO_RESPONSE, uintOf

Address: TypeAlias = tuple[Any, ...]
"""
The address of a peer: host and port, and an object that identifies its secure association. This module only compares
it.
"""

# How a message that was sent has ended.
ACKNOWLEDGED: Final = 0
RESET: Final = 1
TIMED_OUT: Final = 2
DROPPED: Final = 3  # it was never sent, or the peer is forgotten

Ended: TypeAlias = Callable[[int, float], None]


class Upper(Protocol):
    """
    Answers requests.
    """

    def requested(self, request: CoAPMessage, incoming: Incoming, now: float) -> None:
        """
        A request that did not come before. It is answered by
        L{Exchanges.respond<gateways.coap.exchange.Exchanges.respond>}, now or later. The options are those that are
        understood.
        """

    def refused(self, request: CoAPMessage, option: int, incoming: Incoming, now: float) -> None:
        """
        As L{requested}, for a request with a critical option that is not understood.
        """


class Awaiting(Protocol):
    """
    Waits for the response to a request that was sent.
    """

    def acknowledged(self, now: float) -> None:
        """
        The request has come, and the response will come by itself (RFC 7252 5.2.2).
        """

    def answered(self, response: CoAPMessage, now: float) -> bool:
        """
        A response has come.

        @return: whether more are to come, as notifications do.
        """

    def failed(self, how: int, now: float) -> None:
        """
        None will come: L{RESET}, L{TIMED_OUT} or L{DROPPED}.
        """


class Incoming:
    """
    A request whose response is awaited.

    @ivar address: who has asked.
    @ivar size: the length of the datagram.
    @ivar received: how the message is remembered.
    @ivar acked: whether it has been acknowledged before its response.
    @ivar done: whether it has been answered.
    """

    __slots__ = ("address", "size", "type", "messageID", "token", "noResponse", "received", "acked", "done")

    def __init__(self, address: Address, size: int, request: CoAPMessage, received: Received) -> None:
        self.address = address
        self.size = size
        self.type = request.type
        self.messageID = request.messageID
        self.token = request.token
        self.noResponse = uintOf(request.options, NO_RESPONSE) or 0
        self.received = received
        self.acked = False
        self.done = False

    def settle(self, response: CoAPMessage) -> bool:
        """
        Whether it is to be answered so, which it is once: not a second time, and not where it does not want to hear of
        responses of that class (RFC 7967 2).
        """
        if self.done:
            return False
        self.done = True
        return not self.noResponse >> ((response.code >> 5) - 1) & 1


class Received:
    """
    A message that came, as it is remembered: a repetition of it gets the same again.

    @ivar datagram: the hash of it.
    @ivar reply: what was sent for it; empty for nothing yet.
    """

    __slots__ = ("datagram", "reply")

    def __init__(self, datagram: int) -> None:
        self.datagram = datagram
        self.reply = b""


def streamed(address: Address, request: CoAPMessage) -> Incoming:
    """
    A request that came on a stream, where nothing comes twice.
    """
    return Incoming(address, 0, request, Received(0))
