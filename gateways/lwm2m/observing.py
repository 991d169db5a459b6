"""
The observations of a device: paths, tokens, and the order of notifications (RFC 7641; LwM2M 1.1.1 core 6.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from gateways.coap.blockwise import Transfer, TransferError, exponentFor
from gateways.coap.codes import CONTINUE, isSuccess
from gateways.coap.message import CoAPMessage
from gateways.coap.options import CONTENT_FORMAT, OBSERVE, uintOf, without
from gateways.coap.roles import DROPPED
from gateways.lwm2m.answers import notified

if TYPE_CHECKING:
    from gateways.lwm2m.commands import Command
    from gateways.lwm2m.objects.paths import Path
    from gateways.lwm2m.pending import PendingCommand
    from gateways.lwm2m.target import CommandTarget

Key: TypeAlias = "tuple[Path, ...]"

# RFC 7641 3.4: after so long, whatever comes is newer.
_FRESH: Final = 128.0
_HALF: Final = 1 << 23


def isNewer(number: int, at: float, before: int, beforeAt: float) -> bool:
    """
    Whether one notification was made after another one (RFC 7641 3.4).

    @param number: its Observe option.
    @param at: when it came, in seconds.
    """
    if at > beforeAt + _FRESH:
        return True
    return 0 < number - before < _HALF or before - number > _HALF


class Observation:
    """
    An observation; what exchanges know as the one who awaits its notifications.

    @ivar command: that began it.
    @ivar run: which awaits the first answer, L{None} once that has come.
    @ivar token: under which the device knows it; empty before it was asked.
    """

    __slots__ = ("command", "run", "token", "request", "_observations", "_number", "_at", "_rest")

    def __init__(self, observations: Observations, command: Command, request: CoAPMessage) -> None:
        self.command = command
        self.request = request
        self.run: PendingCommand | None = None
        self.token = b""
        self._observations = observations
        self._number = -1
        self._at = 0.0
        self._rest: _Rest | None = None

    def acknowledged(self, now: float) -> None:
        """
        See L{gateways.coap.roles.Awaiting}.
        """
        if self.run is not None:
            self.run.acknowledged(now)

    def answered(self, response: CoAPMessage, now: float) -> bool:
        """
        See L{gateways.coap.roles.Awaiting}.
        """
        number = uintOf(response.options, OBSERVE)
        good = isSuccess(response.code)
        run = self.run
        if run is not None:
            if response.code == CONTINUE:
                run.answered(response, now)
                return True
            self.run = None
            if good and number is not None:
                self._number, self._at = number, now
                self._observations.hold(self)
                run.answered(response, now)
                return self._observations.holds(self)
            self._observations.drop(self)
            run.answered(response, now)
            # It may have been asked for again, in smaller blocks.
            return self.run is not None
        self._observations.site.heard(now)
        if not good or number is None:
            # The last word (RFC 7641 4.2).
            self._notify(response, number or 0)
            self._observations.drop(self)
            return False
        if self._number >= 0 and not isNewer(number, now, self._number, self._at):
            return True
        self._number, self._at = number, now
        self._notify(response, number)
        return True

    def failed(self, how: int, now: float) -> None:
        """
        See L{gateways.coap.roles.Awaiting}.
        """
        run, self.run = self.run, None
        if how != DROPPED:
            self._observations.drop(self)
        if run is not None:
            run.failed(how, now)

    def forget(self) -> None:
        """
        Nothing more is wanted; what still comes is reset.
        """
        site = self._observations.site
        if self.token:
            site.forgetRequest(self.token)
        if self._rest is not None:
            self._rest.forget()
            self._rest = None

    def _notify(self, response: CoAPMessage, number: int) -> None:
        site = self._observations.site
        if self._rest is not None:
            # A body fetched in blocks is not the present state any more (RFC 7959 2.6).
            self._rest.forget()
            self._rest = None
        request = self.request.replace(without(self.request.options, OBSERVE))
        transfer = Transfer(request, site.settings.max_body, exponentFor(site.settings.block_size))
        try:
            following = transfer.answered(response)
        except TransferError:
            return
        if following is not None:
            self._rest = _Rest(self, transfer, number)
            self._rest.send(following)
        elif transfer.response is not None:
            self.tell(transfer.response, number)

    def tell(self, response: CoAPMessage, number: int) -> None:
        """
        Publish a notification that is complete.
        """
        self._rest = None
        contentFormat = uintOf(response.options, CONTENT_FORMAT)
        site = self._observations.site
        site.notify(notified(self.command, number, response.code, contentFormat, response.payload, site.dialect))


class _Rest:
    """
    The blocks of a notification after its first.
    """

    __slots__ = ("_observation", "_transfer", "_number", "_token")

    def __init__(self, observation: Observation, transfer: Transfer, number: int) -> None:
        self._observation = observation
        self._transfer = transfer
        self._number = number
        self._token = b""

    def send(self, message: CoAPMessage) -> None:
        """
        Ask for the next.
        """
        self._token = self._site.request(message, self)

    def forget(self) -> None:
        """
        It is not wanted any more.
        """
        self._site.forgetRequest(self._token)

    def acknowledged(self, now: float) -> None:
        """
        See L{gateways.coap.roles.Awaiting}.
        """

    def answered(self, response: CoAPMessage, now: float) -> bool:
        """
        See L{gateways.coap.roles.Awaiting}.
        """
        try:
            following = self._transfer.answered(response)
        except TransferError:
            return False
        if following is not None:
            self.send(following)
        elif self._transfer.response is not None:
            self._observation.tell(self._transfer.response, self._number)
        return False

    def failed(self, how: int, now: float) -> None:
        """
        See L{gateways.coap.roles.Awaiting}.
        """

    @property
    def _site(self) -> CommandTarget:
        return self._observation._observations.site


class Observations:
    """
    All observations of a device.

    @ivar site: the device, as they need it.
    """

    __slots__ = ("site", "_held")

    def __init__(self, site: CommandTarget) -> None:
        self.site = site
        self._held: dict[Key, Observation] = {}

    def __len__(self) -> int:
        return len(self._held)

    def begin(self, command: Command, request: CoAPMessage) -> Observation | None:
        """
        The observation that a command is to begin, or to begin anew under the same token (RFC 7641 3.3.1); L{None}
        where there are too many.
        """
        before = self._held.get(command.paths)
        if before is None and len(self._held) >= self.site.settings.max_observations:
            return None
        observation = Observation(self, command, request)
        if before is not None:
            observation.token = before.token
        return observation

    def hold(self, observation: Observation) -> None:
        """
        The device has agreed.
        """
        self._held[observation.command.paths] = observation

    def holds(self, observation: Observation) -> bool:
        """
        Whether it is in force.
        """
        return self._held.get(observation.command.paths) is observation

    def drop(self, observation: Observation) -> None:
        """
        It is over, or there is none.
        """
        before = self._held.get(observation.command.paths)
        if before is not None and before.token == observation.token:
            del self._held[observation.command.paths]

    def end(self, command: Command) -> bytes:
        """
        Forget what a command is to end.

        @return: the token that the device knows it by; empty where there is none.
        """
        observation = self._held.pop(command.paths, None)
        if observation is None:
            return b""
        observation.forget()
        return observation.token

    def clear(self) -> list[Command]:
        """
        Forget all.

        @return: the commands that had begun them, in that order.
        """
        held = list(self._held.values())
        self._held.clear()
        for observation in held:
            observation.forget()
        return [observation.command for observation in held]
