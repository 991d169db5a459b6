"""
The bootstrap server (LwM2M 1.1.1 core 6.1): a device that knows no server asks it for server accounts.

The server answers the device first. It then asks the device to forget its accounts, to take the new ones, and to begin:
one request after the other, until one fails.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Final

from gateways.coap.blockwise import Transfer, TransferError, exponentFor
from gateways.coap.codes import (
    BAD_REQUEST,
    CHANGED,
    DELETE,
    FORBIDDEN,
    GET,
    POST,
    PUT,
    SERVICE_UNAVAILABLE,
    UNSUPPORTED_CONTENT_FORMAT,
    codeText,
    isSuccess,
)
from gateways.coap.roles import DROPPED, RESET
from gateways.lwm2m.accounts import SECURITY, SERVER, Account, Accounts
from gateways.lwm2m.commands import DeviceRequest
from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.content import LINKS, SENML_CBOR, SENML_JSON, TLV, encode
from gateways.lwm2m.identities import provenName
from gateways.lwm2m.links import parseListing
from gateways.lwm2m.pending import messageOf
from gateways.lwm2m.registration import RegistrationError
from twisted_mqtt.base.ratelimitedlog import RateLimitedLog

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from gateways.coap.message import CoAPMessage
    from gateways.coap.roles import Address
    from gateways.lwm2m.interface import Asked
    from gateways.lwm2m.protocol import LwM2MProtocol
    from gateways.lwm2m.settings import LwM2MSettings
    from twisted_mqtt.interfaces import IBroker
    from twisted_mqtt.net.peeridentity import PeerIdentity

# At once; each takes a few round trips, or a minute and a half where nobody answers.
_MOST: Final = 100
_LONGEST_NAME: Final = 255
_FORMATS: Final = (TLV, SENML_JSON, SENML_CBOR)

Conversation = Generator[DeviceRequest, "CoAPMessage", None]


class Refused(Exception):
    """
    A device has refused a request, or said nothing that can be understood.
    """


def conversation(accounts: Sequence[Account], contentFormat: int) -> Conversation:
    """
    Generate the requests to a device: each one that is yielded wants its response.

    @raise Refused: it has not done it.
    """
    # Everything but the account of the bootstrap server itself (core 6.1.7.5).
    _check("DELETE /", (yield DeviceRequest(DELETE, [])))
    # The Security object still has that account, which must not be overwritten. Old devices can't say where it is (core
    # 6.1.7.3); they usually have it at 0.
    taken = {0}
    response = yield DeviceRequest(GET, [str(SECURITY)], accept=LINKS)
    if isSuccess(response.code):
        try:
            paths = parseListing(response.payload).paths
        except ContentError:
            paths = ()
        taken |= {path[1] for path in paths if len(path) == 2 and path[0] == SECURITY}
    free = (number for number in range(1, 65535) if number not in taken)
    for account, instance in zip(accounts, free, strict=False):
        for number, entries in ((SECURITY, account.security(instance)), (SERVER, account.server(instance))):
            path = [str(number), str(instance)]
            payload = encode(contentFormat, (number, instance), entries)
            request = DeviceRequest(PUT, path, contentFormat=contentFormat, payload=payload)
            _check(f"PUT /{number}/{instance}", (yield request))
    _check("POST /bs", (yield DeviceRequest(POST, ["bs"])))


def _check(what: str, response: CoAPMessage) -> None:
    if not isSuccess(response.code):
        raise Refused(f"{what} was answered {codeText(response.code)}")


class BootstrapSequence:
    """
    One device that is being bootstrapped; what exchanges know as the one who awaits its answers.
    """

    __slots__ = ("name", "endpoint", "address", "_owner", "_conversation", "_transfer", "_token", "_timer")

    def __init__(
        self, owner: Bootstrapping, name: str, endpoint: LwM2MProtocol, address: Address, talk: Conversation
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.address = address
        self._owner = owner
        self._conversation = talk
        self._transfer: Transfer | None = None
        self._token = b""
        self._timer: IDelayedCall | None = None

    def begin(self) -> None:
        """
        Send the first request.
        """
        self._ask(next(self._conversation))

    def end(self) -> None:
        """
        Nothing more is wanted of the device.
        """
        self._stopWaiting()
        self.endpoint.exchanges.forgetRequest(self.address, self._token, self._owner.clock.seconds())
        self._conversation.close()

    def _ask(self, request: DeviceRequest) -> None:
        settings = self._owner.settings
        self._transfer = Transfer(messageOf(request), settings.max_body, exponentFor(settings.block_size))
        self._send(self._transfer.first())

    def _send(self, message: CoAPMessage) -> None:
        self._token = self.endpoint.request(self.address, message, self, self._owner.clock.seconds())

    def acknowledged(self, now: float) -> None:
        """
        See L{gateways.coap.roles.Awaiting}.
        """
        self._stopWaiting()
        self._timer = self._owner.clock.callLater(self._owner.settings.response_timeout, self._late)

    def answered(self, response: CoAPMessage, now: float) -> bool:
        """
        See L{gateways.coap.roles.Awaiting}.
        """
        self._stopWaiting()
        transfer = self._transfer
        assert transfer is not None
        try:
            following = transfer.answered(response)
            if following is not None:
                self._send(following)
            elif transfer.response is not None:
                self._ask(self._conversation.send(transfer.response))
        except StopIteration:
            self._owner.over(self, "")
        except (TransferError, Refused) as error:
            self._owner.over(self, str(error))
        return False

    def failed(self, how: int, now: float) -> None:
        """
        See L{gateways.coap.roles.Awaiting}.
        """
        self._stopWaiting()
        texts = {RESET: "it has reset the request", DROPPED: "its association has ended"}
        self._owner.over(self, texts.get(how, "it does not answer"))

    def _late(self) -> None:
        self._timer = None
        self._owner.over(self, "it has received a request, and not answered")

    def _stopWaiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Bootstrapping:
    """
    The bootstrap server of a gateway.

    @ivar accounts: which device gets which.
    """

    def __init__(self, broker: IBroker, settings: LwM2MSettings) -> None:
        self.settings = settings
        self.clock = broker.clock
        self.accounts = Accounts(settings.bootstrap, broker.preSharedKeys.find)
        self._done = RateLimitedLog(broker.clock.seconds)
        self._failed = RateLimitedLog(broker.clock.seconds)
        self._runs: dict[tuple[LwM2MProtocol, Address, str], BootstrapSequence] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def begin(self, asked: Asked) -> None:
        """
        A device asks to be bootstrapped (core 6.1.7.1). One that asks again begins anew.

        @raise RegistrationError: it is refused.
        """
        options = dict(query.split("=", 1) for query in asked.queries if "=" in query)
        identity = asked.identity
        name = options.get("ep") or provenName(identity)
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise RegistrationError(BAD_REQUEST, "no endpoint name that can be one: add ep=")
        contentFormat = TLV
        if "pct" in options:
            if options["pct"] not in map(str, _FORMATS):
                raise RegistrationError(UNSUPPORTED_CONTENT_FORMAT, "pct: TLV, SenML JSON or SenML CBOR")
            contentFormat = int(options["pct"])
        try:
            accounts = self.accounts.of(name)
        except ContentError as error:
            raise RegistrationError(BAD_REQUEST, str(error)) from error
        if any(account.key for account in accounts) and not self._mayKnow(name, identity):
            raise RegistrationError(FORBIDDEN, "a key is told over DTLS, and only to whom it belongs")
        place = (asked.endpoint, asked.address, name)
        before = self._runs.pop(place, None)
        if before is not None:
            before.end()
        elif len(self._runs) >= _MOST:
            raise RegistrationError(SERVICE_UNAVAILABLE, "too many devices at once")
        run = self._runs[place] = BootstrapSequence(self, name, *place[:2], conversation(accounts, contentFormat))
        asked.answer(CHANGED)
        run.begin()

    def _mayKnow(self, name: str, identity: PeerIdentity | None) -> bool:
        """
        Whether a peer has shown that it is the device of that name.
        """
        if identity is None:
            return False
        if identity.psk is not None:
            return identity.psk in (self.accounts.identityOf(name), name.encode("utf-8"))
        return identity.cn == name

    def over(self, run: BootstrapSequence, why: str) -> None:
        """
        A run has come to its end.

        @param why: it has failed; nothing where it has not.
        """
        place = (run.endpoint, run.address, run.name)
        if self._runs.get(place) is not run:
            return
        del self._runs[place]
        run.end()
        if why:
            self._failed.info("{ep} at {host} was not bootstrapped: {why}", ep=run.name, host=run.address[0], why=why)
        else:
            self._done.info("{ep} at {host} was bootstrapped", ep=run.name, host=run.address[0])

    def endAll(self) -> None:
        """
        The gateway stops.
        """
        runs = list(self._runs.values())
        self._runs.clear()
        for run in runs:
            run.end()
