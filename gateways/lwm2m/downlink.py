"""
The commands to one device: those that wait, the current one, and the outcome of each.

Each command has exactly one answer. Only one command at a time is on its way to a device, until the device has answered
it or promised to (RFC 7252 4.7). A device in queue mode gets nothing while it sleeps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from gateways.coap.blockwise import Transfer, TransferError, exponentFor
from gateways.coap.codes import (
    BAD_GATEWAY,
    GATEWAY_TIMEOUT,
    NOT_ACCEPTABLE,
    SERVICE_UNAVAILABLE,
    UNSUPPORTED_CONTENT_FORMAT,
)
from gateways.coap.exchange import DROPPED, RESET, TIMED_OUT
from gateways.coap.message import CoAPMessage
from gateways.coap.options import (
    ACCEPT,
    CONTENT_FORMAT,
    LOCATION_PATH,
    OBSERVE,
    URI_PATH,
    URI_QUERY,
    Option,
    stringOptions,
    stringsOf,
    uintOf,
    uintOption,
)
from gateways.lwm2m import answers
from gateways.lwm2m.commands import CREATE, EXECUTE, Command, CommandError, DeviceRequest
from gateways.lwm2m.observing import Observation, Observations

if TYPE_CHECKING:
    from gateways.coap.exchange import Awaiting
    from gateways.lwm2m.formats.content import Dialect
    from gateways.lwm2m.settings import LwM2MSettings

# So many commands may have been received by a device that has not answered them yet.
_MOST_UNANSWERED: Final = 16
# Between one and the next of those that had to wait (spec/gateways.md 5.8).
_PACE: Final = 0.1
# A device wants another content format: of what it is sent, or of what it is to answer.
_OTHER_FORMAT: Final = (UNSUPPORTED_CONTENT_FORMAT, NOT_ACCEPTABLE)
# Sent twice, they might be done twice.
_ONCE: Final = (EXECUTE, CREATE)

# Where a command comes from: a client has sent it; the gateway observes of its own accord; or it does so again, for
# those who have observed before.
COMMANDED: Final = 0
AUTOMATIC: Final = 1
REPEATED: Final = 2


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
        Whether something can be sent to it at all, and at once. If it is only that others go first, L{Downlink.pump} is
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
        Have L{Downlink.due} called then.
        """

    def callLater(self, delay: float) -> None:
        """
        Have L{Downlink.pump} called after some time, as promised, and not later than that was to happen before.
        """


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
        See L{gateways.coap.exchange.Awaiting}.
        """
        self._downlink.site.awake(now)
        self.deadline = now + self._downlink.site.settings.response_timeout
        if not self._told:
            self._told = True
            self._downlink.acknowledged(self, now)

    def answered(self, response: CoAPMessage, now: float) -> bool:
        """
        See L{gateways.coap.exchange.Awaiting}.
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
        See L{gateways.coap.exchange.Awaiting}.
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


class Downlink:
    """
    The commands to one device.

    @ivar observations: what they observe.
    """

    __slots__ = ("site", "observations", "_waiting", "_size", "_running", "_turn", "_paced", "_sentAt", "_ended")

    def __init__(self, site: CommandTarget) -> None:
        self.site = site
        self.observations = Observations(site)
        # Most devices have none most of the time.
        self._waiting: deque[QueuedCommand] | None = None
        self._size = 0
        self._running: list[PendingCommand] = []
        # The one that others wait for.
        self._turn: PendingCommand | None = None
        # Whether those that wait go out one by one, since they had to.
        self._paced = False
        self._sentAt = 0.0
        self._ended = False

    def __len__(self) -> int:
        return len(self._waiting or ()) + len(self._running)

    def add(self, waiting: QueuedCommand, now: float, slowly: bool = False) -> None:
        """
        Take a command: send it, or keep it for later.

        @param slowly: whether it keeps its distance from the one before it.
        """
        settings = self.site.settings
        line = self._waiting
        if line is None:
            line = self._waiting = deque()
        line.append(waiting)
        self._size += waiting.size
        self._paced = self._paced or slowly
        while len(line) > settings.max_commands or (self._size > settings.max_command_bytes and len(line) > 1):
            self._giveUp(self._take(), SERVICE_UNAVAILABLE, "too many commands wait for the device")
        if waiting.expiresAt:
            self.site.schedule(waiting.expiresAt)
        self.pump(now)

    def pump(self, now: float, promised: bool = False) -> None:
        """
        Send what may be sent.

        @param promised: whether the time of the first has come, which would have gone before but for its distance.
        """
        while self._waiting and self._turn is None and not self._ended:
            first = self._waiting[0]
            if first.expiresAt and first.expiresAt <= now:
                self._expired(self._take())
            elif len(self._running) >= _MOST_UNANSWERED:
                return
            elif not self.site.reachable() or not (promised or self.site.listens(now)):
                self._paced = True
                return
            elif self._paced and now < self._sentAt + _PACE:
                self.site.callLater(self._sentAt + _PACE - now)
                return
            else:
                promised = False
                self._launch(self._take(), now)
        if not self._waiting:
            self._paced = False

    def end(self, code: int, text: str, keepUnsettled: bool) -> None:
        """
        The device is gone.

        @param code: what is answered to commands.
        @param keepUnsettled: whether those that will come again, from the session, are left unanswered.
        """
        self.observations.clear()
        for waiting in self.abandon():
            if not waiting.packetID or not keepUnsettled:
                self._giveUp(waiting, code, text)

    def restart(self) -> None:
        """
        The device has begun anew, and knows nothing of what was on its way.
        """
        running, self._running = self._running, []
        self._turn = None
        for run in reversed(running):
            run.forget()
            self._postpone(run.waiting, "the device has registered anew before it answered")

    def abandon(self) -> list[QueuedCommand]:
        """
        Let go all commands unanswered, for somebody else to see to them; no more come.
        """
        self._ended = True
        running, self._running = self._running, []
        self._turn = None
        for run in running:
            run.forget()
        line, self._waiting = self._waiting, None
        self._size = 0
        return [run.waiting for run in running] + list(line or ())

    def due(self, now: float) -> float:
        """
        Give up what has taken too long.

        @return: when to ask again; 0 for never.
        """
        for run in [run for run in self._running if run.deadline and run.deadline <= now]:
            run.forget()
            self._over(run)
            self._giveUp(run.waiting, GATEWAY_TIMEOUT, "the device has received it, and not answered")
        for run in [run for run in self._running if 0 < run.waiting.expiresAt <= now]:
            if run.withdraw():
                self._over(run)
                self._expired(run.waiting)
        if self._waiting is not None:
            expired = [waiting for waiting in self._waiting if waiting.expiresAt and waiting.expiresAt <= now]
            for waiting in expired:
                self._waiting.remove(waiting)
                self._size -= waiting.size
                self._expired(waiting)
        self.pump(now)
        deadlines = [run.deadline for run in self._running if run.deadline]
        deadlines += [run.waiting.expiresAt for run in self._running if run.waiting.expiresAt > now]
        deadlines += [waiting.expiresAt for waiting in self._waiting or () if waiting.expiresAt]
        return min(deadlines, default=0.0)

    # The fate of a command that was sent

    def acknowledged(self, run: PendingCommand, now: float) -> None:
        """
        The device has received it, and will answer; others need not wait for that.
        """
        if run not in self._running:
            return
        self.site.schedule(run.deadline)
        if run.waiting.origin == COMMANDED:
            self.site.respond(answers.acknowledged(run.waiting.command))
        if self._turn is run:
            self._turn = None
            self.pump(now)

    def answered(self, run: PendingCommand, response: CoAPMessage, now: float) -> None:
        """
        The device has answered.
        """
        if not self._over(run):
            return
        site, command = self.site, run.waiting.command
        if response.code in _OTHER_FORMAT and self._retry(run.waiting):
            self.pump(now)
            return
        contentFormat = uintOf(response.options, CONTENT_FORMAT)
        if run.waiting.origin != REPEATED:
            location = stringsOf(response.options, LOCATION_PATH)
            site.respond(
                answers.answered(command, response.code, contentFormat, response.payload, site.dialect, location)
            )
        else:
            number = uintOf(response.options, OBSERVE) or 0
            site.notify(answers.notified(command, number, response.code, contentFormat, response.payload, site.dialect))
        self._settle(run.waiting)
        self.pump(now)

    def _retry(self, waiting: QueuedCommand) -> bool:
        """
        A device has refused a command because of its content format: it is the next to be sent, in another one; returns
        whether there is one.
        """
        if waiting.format is None:
            return False
        waiting.refused += (waiting.format,)
        self.site.unsupported |= {waiting.format}
        if not waiting.formats(self.site):
            return False
        self._putFirst(waiting)
        return True

    def _putFirst(self, waiting: QueuedCommand) -> None:
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.appendleft(waiting)
        self._size += waiting.size

    def fail(self, run: PendingCommand, code: int, text: str, now: float) -> None:
        """
        Nothing can be made of what the device says.
        """
        if self._over(run):
            self._giveUp(run.waiting, code, text)
            self.pump(now)

    def unanswered(self, run: PendingCommand, how: int, now: float) -> None:
        """
        The message layer has given up.
        """
        if not self._over(run):
            return
        waiting, site = run.waiting, self.site
        if how == RESET:
            self._giveUp(waiting, BAD_GATEWAY, "the device has reset the request")
        elif site.queueMode or how == DROPPED:
            # It has fallen asleep, or its association has ended: when it is back, this is the first that it gets.
            self._postpone(waiting, "the device does not answer")
        else:
            self._giveUp(waiting, GATEWAY_TIMEOUT, "the device does not answer")
        if how == TIMED_OUT:
            site.unheard()
            self._desist()
        self.pump(now)

    def _desist(self) -> None:
        """
        Nobody answers there, and perhaps nobody has ever been there: nothing more that nobody has asked for goes out.
        """
        if self._waiting is not None and not self.site.queueMode:
            for waiting in [waiting for waiting in self._waiting if waiting.origin != COMMANDED]:
                self._waiting.remove(waiting)
                self._size -= waiting.size

    def _postpone(self, waiting: QueuedCommand, text: str) -> None:
        """
        Send the command again, before all others, unless it might then be done twice.
        """
        if waiting.command.type in _ONCE:
            self._giveUp(waiting, GATEWAY_TIMEOUT, text)
            return
        self._putFirst(waiting)

    def _launch(self, waiting: QueuedCommand, now: float) -> None:
        site, command = self.site, waiting.command
        formats: list[int | None] = [*waiting.formats(site)]
        for waiting.format in formats or [None]:
            try:
                request = command.request(site.dialect, waiting.format)
                break
            except CommandError as error:
                # Not every format can say everything.
                refusal = error
        else:
            site.respond(answers.refused(refusal))
            self._settle(waiting)
            return
        message = messageOf(request)
        observation = None
        token = b""
        if request.observe == 0:
            observation = self.observations.begin(command, message)
            if observation is None:
                self._giveUp(waiting, SERVICE_UNAVAILABLE, "too many observations of the device")
                return
            token = observation.token
        elif request.observe == 1:
            token = self.observations.end(command)
        transfer = Transfer(message, site.settings.max_body, exponentFor(site.settings.block_size))
        run = self._turn = PendingCommand(self, waiting, transfer, token, observation)
        self._running.append(run)
        self._sentAt = now
        run.send(transfer.first())

    def _take(self) -> QueuedCommand:
        assert self._waiting is not None
        waiting = self._waiting.popleft()
        self._size -= waiting.size
        return waiting

    def _over(self, run: PendingCommand) -> bool:
        """
        A run has come to its end; returns whether it had not before.
        """
        if run not in self._running:
            return False
        self._running.remove(run)
        if self._turn is run:
            self._turn = None
        return True

    def _expired(self, waiting: QueuedCommand) -> None:
        self._giveUp(waiting, GATEWAY_TIMEOUT, "the command has expired")

    def _giveUp(self, waiting: QueuedCommand, code: int, text: str) -> None:
        if waiting.origin == REPEATED:
            self.site.notify(answers.notified(waiting.command, 0, code, None, b"", self.site.dialect))
        else:
            self.site.respond(answers.failed(waiting.command, code, text))
        self._settle(waiting)

    def _settle(self, waiting: QueuedCommand) -> None:
        if waiting.packetID:
            self.site.settled(waiting.packetID)


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
