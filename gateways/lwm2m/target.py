"""
A device, as the commands to it see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateways.coap.message import CoAPMessage
    from gateways.coap.roles import Awaiting
    from gateways.lwm2m.formats.content import Dialect
    from gateways.lwm2m.settings import LwM2MSettings


class CommandTarget(Protocol):
    """
    The device, as its commands see it.

    @ivar settings: of the gateway.
    @ivar dialect: how it is spoken with.
    @ivar unsupported: content formats that it has refused; they come after others.
    @ivar queueMode: whether it sleeps.
    """

    settings: LwM2MSettings
    dialect: Dialect
    unsupported: frozenset[int]

    @property
    def queueMode(self) -> bool:
        """
        Whether it listens only for a while after it has said something.
        """

    def awake(self, now: float) -> None:
        """
        It has shown that it is awake.
        """

    def heard(self, now: float) -> None:
        """
        Likewise; what waits for that is sent.
        """

    def reachable(self) -> bool:
        """
        Whether something can be sent to it at all, and at once. If it is only that others go first, C{Downlink.pump} is
        called when it may try again.
        """

    def listens(self, now: float) -> bool:
        """
        Whether it is awake, as far as is known.
        """

    def unheard(self) -> None:
        """
        It has not answered: until it says something it is taken to be asleep, if it may be.
        """

    def request(self, message: CoAPMessage, awaiting: Awaiting) -> bytes:
        """
        Send it a request; returns the token.
        """

    def forgetRequest(self, token: bytes) -> None:
        """
        No answer to that is wanted any more.
        """

    def withdraw(self, token: bytes) -> bool:
        """
        Take a request back that has not been sent yet; returns whether it had not.
        """

    def respond(self, payload: bytes) -> None:
        """
        Publish an answer.
        """

    def notify(self, payload: bytes) -> None:
        """
        Publish a notification.
        """

    def settled(self, packetID: int) -> None:
        """
        A command has been answered.

        @param packetID: of the message that it was; 0 where that is not acknowledged.
        """

    def schedule(self, deadline: float) -> None:
        """
        Have C{Downlink.due} called then.
        """

    def callLater(self, delay: float) -> None:
        """
        Have C{Downlink.pump} called after some time, as promised, and not later than that was to happen before.
        """
