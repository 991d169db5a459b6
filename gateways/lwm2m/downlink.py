"""
The commands to one device: those that wait, the current one, and the outcome of each.

Each command has exactly one answer. Only one command at a time is on its way to a device, until the device has answered
it or promised to (RFC 7252 4.7). A device in queue mode gets nothing while it sleeps.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from gateways.coap.blockwise import Transfer, exponentFor
from gateways.coap.codes import (
    BAD_GATEWAY,
    GATEWAY_TIMEOUT,
    NOT_ACCEPTABLE,
    SERVICE_UNAVAILABLE,
    UNSUPPORTED_CONTENT_FORMAT,
)
from gateways.coap.options import CONTENT_FORMAT, LOCATION_PATH, OBSERVE, stringsOf, uintOf
from gateways.coap.roles import DROPPED, RESET, TIMED_OUT
from gateways.lwm2m import answers
from gateways.lwm2m.commands import CREATE, EXECUTE, CommandError
from gateways.lwm2m.observing import Observations
from gateways.lwm2m.pending import COMMANDED, REPEATED, PendingCommand, QueuedCommand, messageOf

if TYPE_CHECKING:
    from gateways.coap.message import CoAPMessage
    from gateways.lwm2m.target import CommandTarget

# So many commands may have been received by a device that has not answered them yet.
_MOST_UNANSWERED: Final = 16
# Between one and the next of those that had to wait (spec/gateways.md 5.8).
_PACE: Final = 0.1
# A device wants another content format: of what it is sent, or of what it is to answer.
_OTHER_FORMAT: Final = (UNSUPPORTED_CONTENT_FORMAT, NOT_ACCEPTABLE)
# Sent twice, they might be done twice.
_ONCE: Final = (EXECUTE, CREATE)


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
