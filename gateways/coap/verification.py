"""
Which addresses are known not to be forged (RFC 7252 11.3), and how many bytes may go to the others.

Until its owner has acknowledged, reset or echoed a message, an address gets no more than L{Parameters.amplification}
times the bytes that have come from it: instead of a longer response it gets one that asks for an Echo (RFC 9175 2.4).
"""

from __future__ import annotations

from hashlib import blake2b
from hmac import compare_digest
from random import Random
from typing import Final

from gateways.coap.codes import UNAUTHORIZED, isSuccess
from gateways.coap.generations import Generations
from gateways.coap.message import CoAPMessage, encode
from gateways.coap.options import ECHO, OBSERVE, Option, uintOf, valueOf
from gateways.coap.parameters import Parameters
from gateways.coap.roles import Address, Incoming

#: The length of a ping, which is an empty message.
PING_LENGTH: Final = 4
_ECHO_LENGTH: Final = 6
# An address earns by its requests the right to so many bytes that it has not asked for. An address that has been silent
# for so long that it was forgotten has the second figure: a ping with its repetitions.
_MOST_CREDIT: Final = 8192
_LEAST_CREDIT: Final = 5 * PING_LENGTH


class AddressVerification:
    """
    The addresses from which messages come to one socket.
    """

    def __init__(self, parameters: Parameters, random: Random, vouched: bool) -> None:
        """
        @param random: makes the secret of the Echo values.
        @param vouched: whether the layer below knows that no address is forged.
        """
        self._parameters = parameters
        self._vouched = vouched
        remembered, lifetime = parameters.remembered, parameters.exchangeLifetime
        self._verified: Generations[Address, bool] = Generations(lifetime, remembered)
        # How many bytes may still go to addresses that are not.
        self._credit: Generations[Address, int] = Generations(lifetime, remembered)
        self._secret = random.getrandbits(128).to_bytes(16, "big")

    def isVerified(self, address: Address) -> bool:
        """
        Whether a peer has lately shown that it receives what is sent there.
        """
        return self._vouched or self._verified.get(address) is not None

    def verify(self, address: Address, now: float) -> None:
        """
        A peer has shown that it receives what is sent there.
        """
        self._verified.put(address, True, now)

    def forget(self, address: Address) -> None:
        """
        The peer is gone; who comes from there next may be somebody else.
        """
        self._verified.pop(address)

    def allowance(self, incoming: Incoming, response: CoAPMessage) -> int:
        """
        How many bytes may answer a request whose sender has not shown that it is where it says.
        """
        most = incoming.size * self._parameters.amplification
        # Before the first notification there may have to be a ping.
        return most if uintOf(response.options, OBSERVE) is None else most - PING_LENGTH

    def came(self, address: Address, size: int, now: float) -> None:
        """
        So many bytes have come from an address by another road: an answer may go there.
        """
        if not self.isVerified(address):
            self.grant(address, size * self._parameters.amplification, now)

    def grant(self, address: Address, size: int, now: float) -> None:
        """
        So many bytes more may go to an address.
        """
        credit = (self._credit.get(address) or 0) + size
        self._credit.put(address, min(credit, _MOST_CREDIT), now)

    def affords(self, address: Address, size: int, now: float) -> bool:
        """
        Whether so many bytes may go to an address unasked; they count as sent.
        """
        if self.isVerified(address):
            return True
        credit = self._credit.get(address)
        if credit is None:
            credit = _LEAST_CREDIT if size == PING_LENGTH else 0
        left = credit - size
        if left < 0:
            return False
        self._credit.put(address, left, now)
        return True

    def shortened(self, response: CoAPMessage, address: Address, most: int) -> bytes:
        """
        Make the response for a peer that has sent too little for the full one: the beginning of a diagnostic; instead
        of a success, the request to ask again with an Echo.
        """
        short = CoAPMessage(response.code, response.options, b"", response.token, response.type, response.messageID)
        room = most - len(encode(short)) - 1
        if not isSuccess(response.code) and room >= 0:
            short.payload = response.payload[:room].decode("utf-8", "ignore").encode("utf-8")
            return encode(short)
        short.code, short.options = UNAUTHORIZED, [(ECHO, self._echoOf(address))]
        if len(encode(short)) > most:
            short.options = []
        return encode(short)

    def takeEcho(self, options: list[Option], address: Address, now: float) -> None:
        """
        A request has come, with these options: it may have the Echo that its address was sent.
        """
        echo = valueOf(options, ECHO)
        if echo is not None and compare_digest(echo, self._echoOf(address)):
            self._verified.put(address, True, now)

    def _echoOf(self, address: Address) -> bytes:
        return blake2b(repr(address).encode("utf-8"), digest_size=_ECHO_LENGTH, key=self._secret).digest()
