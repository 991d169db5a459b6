"""
Discovery by multicast (RFC 7252 8, RFC 7390 2.7): the gateway answers only a request for the links of
C{/.well-known/core}. It never answers with an error, never at once, and never with a long answer.
"""

from __future__ import annotations

from random import SystemRandom
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

from gateways.coap.codes import CONTENT, GET
from gateways.coap.generations import Generations
from gateways.coap.message import NON, CoAPMessage, MessageError, decode
from gateways.coap.options import (
    ACCEPT,
    CONTENT_FORMAT,
    LINK_FORMAT,
    NO_RESPONSE,
    URI_HOST,
    URI_PATH,
    URI_PORT,
    URI_QUERY,
    stringsOf,
    uintOf,
    uintOption,
    understand,
)
from gateways.coap.query import pathOf
from gateways.coap.resources import linksFor
from gateways.coap.roles import Address

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from gateways.coap.protocol import CoAPProtocol

_log = Logger()

# Without anything that a question for links does not have.
_ALLOWED: Final = frozenset((URI_HOST, URI_PORT, URI_PATH, URI_QUERY, ACCEPT, NO_RESPONSE))
_MOST_WAITING: Final = 64
_MOST_BYTES: Final = 256
# RFC 7967 2.1: successes are not wanted.
_NO_SUCCESS: Final = 2


class Discovery:
    """
    Hears what is sent to groups, and has the endpoint of the gateway answer.
    """

    def __init__(self, endpoint: CoAPProtocol, reactor: IReactorTime, leisure: float) -> None:
        """
        @param endpoint: whose address answers come from.
        @param leisure: the longest time that an answer takes, in seconds (RFC 7252 8.2).
        """
        self._endpoint = endpoint
        self._reactor = reactor
        self._leisure = leisure
        self._random = SystemRandom()
        lifetime = endpoint.exchanges.parameters.exchangeLifetime
        self._seen: Generations[tuple[Address, int], bool] = Generations(lifetime, 1000)
        self._waiting: dict[str, IDelayedCall] = {}

    def stop(self) -> None:
        """
        Answer nobody any more.
        """
        for call in self._waiting.values():
            call.cancel()
        self._waiting.clear()

    def datagramReceived(self, datagram: bytes, address: Address) -> None:
        """
        Take a datagram that was sent to a group.
        """
        payload = self._answerTo(datagram, address)
        host: str = address[0]
        # One answer for each host at a time, and not too many at all: who asks need not be who is answered.
        if payload is None or host in self._waiting or len(self._waiting) >= _MOST_WAITING:
            return
        self._waiting[host] = self._reactor.callLater(
            self._random.uniform(0.0, self._leisure), self._answer, address, datagram, payload
        )

    def _answerTo(self, datagram: bytes, address: Address) -> bytes | None:
        """
        The links that a datagram asks for, L{None} where it is not to be answered.
        """
        try:
            message = decode(datagram)
        except MessageError:
            return None
        options, wrong = understand(message.options)
        # RFC 7252 8.1: such a request is never confirmable. 8.2: an error would tell nobody anything.
        if message.type != NON or message.code != GET or message.payload or wrong is not None:
            return None
        if not _ALLOWED.issuperset([number for number, _ in options]):
            return None
        message.options = options
        if pathOf(message) != [".well-known", "core"] or uintOf(options, ACCEPT) not in (None, LINK_FORMAT):
            return None
        if (uintOf(options, NO_RESPONSE) or 0) & _NO_SUCCESS:
            return None
        now: float = self._reactor.seconds()
        self._seen.turn(now)
        if self._seen.get((address, message.messageID)) is not None:
            return None
        self._seen.put((address, message.messageID), True, now)
        payload = linksFor(stringsOf(options, URI_QUERY))
        # RFC 6690 4.1: whose links do not fit is silent.
        return payload if 0 < len(payload) <= _MOST_BYTES else None

    def _answer(self, address: Address, datagram: bytes, payload: bytes) -> None:
        self._waiting.pop(address[0], None)
        token = decode(datagram).token
        response = CoAPMessage(CONTENT, [uintOption(CONTENT_FORMAT, LINK_FORMAT)], payload, token)
        now = self._reactor.seconds()
        self._endpoint.exchanges.verification.came(address, len(datagram), now)
        self._endpoint.send(address, response, False, None, now)
