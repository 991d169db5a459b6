"""
One request on its way through the gateway, and the answers to it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Final

from gateways.coap.blockwise import diagnostic
from gateways.coap.codes import (
    BAD_REQUEST,
    FORBIDDEN,
    INTERNAL_SERVER_ERROR,
    REQUEST_ENTITY_TOO_LARGE,
    SERVICE_UNAVAILABLE,
    TOO_MANY_REQUESTS,
    UNAUTHORIZED,
)
from gateways.coap.message import CoAPMessage
from gateways.coap.options import CONTENT_FORMAT, MAX_AGE, Option, uintOf, uintOption
from gateways.coap.pubsub import MIME
from gateways.coap.query import Query
from gateways.coap.roles import Address, Incoming
from gateways.coap.session import OPEN, CoAPClient
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.reasons import (
    BAD_AUTHENTICATION_METHOD,
    BAD_USERNAME_OR_PASSWORD,
    BANNED,
    CLIENT_ID_NOT_VALID,
    CONNECTION_RATE_EXCEEDED,
    MALFORMED_PACKET,
    MESSAGE_RATE_TOO_HIGH,
    NOT_AUTHORIZED,
    PACKET_TOO_LARGE,
    PAYLOAD_FORMAT_INVALID,
    PROTOCOL_ERROR,
    QUOTA_EXCEEDED,
    SUCCESS,
    TOPIC_FILTER_INVALID,
    TOPIC_NAME_INVALID,
    ProtocolError,
    nameOf,
)

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from gateways.coap.gateway import CoAPGateway, Endpoint
    from twisted_mqtt.base.waiting import Maybe


_REFUSED: Final[dict[int, int]] = {
    BAD_USERNAME_OR_PASSWORD: UNAUTHORIZED,
    BAD_AUTHENTICATION_METHOD: UNAUTHORIZED,
    NOT_AUTHORIZED: UNAUTHORIZED,
    BANNED: FORBIDDEN,
}
"""
What a client is told that is not let in.
"""

_CODES: Final[dict[int, int]] = {
    NOT_AUTHORIZED: FORBIDDEN,
    BANNED: FORBIDDEN,
    CLIENT_ID_NOT_VALID: BAD_REQUEST,
    MALFORMED_PACKET: BAD_REQUEST,
    PROTOCOL_ERROR: BAD_REQUEST,
    TOPIC_NAME_INVALID: BAD_REQUEST,
    TOPIC_FILTER_INVALID: BAD_REQUEST,
    PAYLOAD_FORMAT_INVALID: BAD_REQUEST,
    PACKET_TOO_LARGE: REQUEST_ENTITY_TOO_LARGE,
    CONNECTION_RATE_EXCEEDED: TOO_MANY_REQUESTS,
    MESSAGE_RATE_TOO_HIGH: TOO_MANY_REQUESTS,
    QUOTA_EXCEEDED: TOO_MANY_REQUESTS,
}
"""
The codes of reasons; of all others it is 5.03.
"""


class CoAPRequest:
    """
    A request.

    @ivar gateway: that has to answer it.
    @ivar message: with its whole body.
    @ivar query: what its URI says besides the path.
    @ivar answered: whether it has been.
    """

    __slots__ = ("message", "query", "answered", "gateway", "_endpoint", "_asked", "_incoming")

    def __init__(
        self,
        gateway: CoAPGateway,
        endpoint: Endpoint,
        asked: CoAPMessage,
        message: CoAPMessage,
        query: Query,
        incoming: Incoming,
    ) -> None:
        """
        @param asked: the message itself, which may be the last block of C{message}.
        """
        self.gateway = gateway
        self._asked = asked
        self.message = message
        self.query = query
        self.answered = False
        self._endpoint = endpoint
        self._incoming = incoming

    @property
    def address(self) -> Address:
        """
        The address of the sender.
        """
        return self._incoming.address

    @property
    def contentFormat(self) -> int | None:
        """
        The content format of its payload, L{None} where it isn't said.
        """
        return uintOf(self.message.options, CONTENT_FORMAT)

    def now(self) -> float:
        """
        The time.
        """
        return self.gateway.broker.clock.seconds()

    def answer(self, code: int, options: list[Option] | None = None, payload: bytes = b"") -> None:
        """
        Answer it; only the first answer counts.
        """
        if not self.answered:
            self.answered = True
            self._endpoint.answer(self._incoming, self._asked, CoAPMessage(code, options or (), payload))

    def refuse(self, code: int, text: str, wait: float = 0.0) -> None:
        """
        Answer that it can't be done, and why.

        @param wait: after how many seconds it might be (RFC 7252 5.9.3.4, RFC 8516); 0 where that is not known.
        """
        options = [uintOption(MAX_AGE, ceil(wait))] if wait else None
        self.answer(code, options, diagnostic(code, text).payload)

    def refuseFor(self, reason: int, wait: float = 0.0) -> None:
        """
        As L{refuse}, for a reason that the broker gives.
        """
        self.refuse(_CODES.get(reason, SERVICE_UNAVAILABLE), nameOf(reason), wait)

    def withClient(self, goOn: Callable[[CoAPClient], Maybe[None]]) -> None:
        """
        Go on with the client that has sent it, once that is let in.

        @param goOn: returns None or a Deferred. What it raises is answered.
        """
        query = self.query
        client = self.gateway.clientFor(
            self._endpoint, self.address, query.clientID or "", query.username, query.password, self.now()
        )

        if client is not None and client.state == OPEN:
            self._goOn(SUCCESS, client, goOn)
        elif client is None or not client.whenIn(partial(self._goOn, client=client, goOn=goOn)):
            self.refuse(SERVICE_UNAVAILABLE, "too many clients or requests at once")

    def _goOn(self, reason: int, client: CoAPClient, goOn: Callable[[CoAPClient], Maybe[None]]) -> None:
        if reason:
            self.refuse(_REFUSED.get(reason, _CODES.get(reason, SERVICE_UNAVAILABLE)), nameOf(reason))
            return
        try:
            result = goOn(client)
        except ProtocolError as error:
            self.refuseFor(error.reason)
        except Exception:
            self.gateway.broker.faults.failure("Handling {request} failed", request=self.message)
            self.refuse(INTERNAL_SERVER_ERROR, "internal error")
        else:
            if result is not None:
                result.addErrback(self._ebHandled)

    def _ebHandled(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, ProtocolError):
            self.refuseFor(error.reason)
            return
        self.gateway.broker.faults.failure("Handling {request} failed", failure, request=self.message)
        self.refuse(INTERNAL_SERVER_ERROR, "internal error")

    def properties(self, maxAge: int | None = None) -> Properties | None:
        """
        Make the MQTT 5 properties for the content format and the age of the payload.

        @param maxAge: for how many seconds it holds; L{None} for ever.
        """
        name = MIME.get(-1 if self.contentFormat is None else self.contentFormat)
        if name is None and maxAge is None:
            return None
        properties = Properties()
        properties.contentType = name
        properties.messageExpiry = maxAge
        return properties

    @property
    def maxAge(self) -> int | None:
        """
        For how long its payload holds, L{None} where it isn't said.
        """
        return uintOf(self.message.options, MAX_AGE)
