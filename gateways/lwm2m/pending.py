"""
One command to a device: in line (L{QueuedCommand}), and on its way (L{PendingCommand}).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gateways.coap.blockwise import Transfer, TransferError
from gateways.coap.codes import BAD_GATEWAY
from gateways.coap.message import CoAPMessage
from gateways.coap.options import (
    ACCEPT,
    CONTENT_FORMAT,
    OBSERVE,
    URI_PATH,
    URI_QUERY,
    Option,
    stringOptions,
    uintOf,
    uintOption,
)
from gateways.lwm2m.commands import Command, DeviceRequest

if TYPE_CHECKING:
    from gateways.lwm2m.downlink import Downlink
    from gateways.lwm2m.observing import Observation
    from gateways.lwm2m.target import CommandTarget

# Where a command comes from: a client has sent it; the gateway observes of its own accord; or it does so again, for
# those who have observed before.
COMMANDED: Final = 0
AUTOMATIC: Final = 1
REPEATED: Final = 2


class QueuedCommand:
    """
    A command in line.

    @ivar packetID: of the message that it was; 0 where that is not acknowledged.
    @ivar expiresAt: when it is not to be sent any more; 0 for never.
    @ivar size: what it counts for.
    @ivar origin: L{COMMANDED}, L{AUTOMATIC} or L{REPEATED}.
    @ivar format: the content format in which it was sent last, if any.
    @ivar refused: those in which the device does not want it.
    """

    __slots__ = ("command", "packetID", "expiresAt", "size", "origin", "format", "refused")

    def __init__(
        self, command: Command, packetID: int = 0, expiresAt: float = 0.0, size: int = 0, origin: int = COMMANDED
    ) -> None:
        self.command = command
        self.packetID = packetID
        self.expiresAt = expiresAt
        self.size = size
        self.origin = origin
        self.format: int | None = None
        self.refused: tuple[int, ...] = ()

    def formats(self, target: CommandTarget) -> list[int]:
        """
        The content formats in which it may still be sent to a device, the best first.
        """
        formats = [each for each in self.command.formats(target.dialect) if each not in self.refused]
        return sorted(formats, key=target.unsupported.__contains__)


class PendingCommand:
    """
    A command on its way; what exchanges know as the one who awaits its answer.

    @ivar deadline: when no answer is awaited any more; 0 while the message layer sees to that.
    """

    __slots__ = ("waiting", "deadline", "_downlink", "_transfer", "_token", "_observeToken", "_observation", "_told")

    def __init__(
        self,
        downlink: Downlink,
        waiting: QueuedCommand,
        transfer: Transfer,
        observeToken: bytes,
        observation: Observation | None,
    ) -> None:
        """
        @param observeToken: the token of a request with an Observe option; empty for a new one.
        @param observation: that it is to begin.
        """
        self.waiting = waiting
        self.deadline = 0.0
        self._downlink = downlink
        self._transfer = transfer
        self._observeToken = observeToken
        self._observation = observation
        self._token = b""
        self._told = False

    def send(self, message: CoAPMessage) -> None:
        """
        Send a message of it.
        """
        self.deadline = 0.0
        site = self._downlink.site
        if uintOf(message.options, OBSERVE) is None:
            self._token = site.request(message, self)
            return
        message.token = self._observeToken
        observation = self._observation
        if observation is None:
            self._token = site.request(message, self)
        else:
            observation.run = self
            self._token = self._observeToken = observation.token = site.request(message, observation)

    def acknowledged(self, now: float) -> None:
        """
        See L{gateways.coap.roles.Awaiting}.
        """
        self._downlink.site.awake(now)
        self.deadline = now + self._downlink.site.settings.response_timeout
        if not self._told:
            self._told = True
            self._downlink.acknowledged(self, now)

    def answered(self, response: CoAPMessage, now: float) -> bool:
        """
        See L{gateways.coap.roles.Awaiting}.
        """
        self._downlink.site.awake(now)
        try:
            following = self._transfer.answered(response)
        except TransferError as error:
            self._downlink.fail(self, BAD_GATEWAY, str(error), now)
            return False
        if following is not None:
            self.send(following)
        elif self._transfer.response is not None:
            self._downlink.answered(self, self._transfer.response, now)
        return False

    def failed(self, how: int, now: float) -> None:
        """
        See L{gateways.coap.roles.Awaiting}.
        """
        self._downlink.unanswered(self, how, now)

    def withdraw(self) -> bool:
        """
        Take it back if the device can't have heard of it, because others at its address go first.
        """
        return not self.deadline and self._downlink.site.withdraw(self._token)

    def forget(self) -> None:
        """
        No answer is wanted any more.
        """
        self._downlink.site.forgetRequest(self._token)


def messageOf(request: DeviceRequest) -> CoAPMessage:
    """
    A request as a message.
    """
    options: list[Option] = stringOptions(URI_PATH, request.path)
    options += stringOptions(URI_QUERY, request.queries)
    for number, value in (
        (OBSERVE, request.observe),
        (CONTENT_FORMAT, request.contentFormat),
        (ACCEPT, request.accept),
    ):
        if value is not None:
            options.append(uintOption(number, value))
    return CoAPMessage(request.code, options, request.payload)


def repeated(commands: Sequence[Command]) -> list[QueuedCommand]:
    """
    Commands that begin observations once more; what comes of them is told as notifications.
    """
    return [QueuedCommand(command, origin=REPEATED) for command in commands]
