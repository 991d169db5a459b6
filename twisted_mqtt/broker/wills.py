"""
Wills: published when a client goes without DISCONNECT, at once or after a delay (3.1.2.5, 3.1.3.2.2).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

from twisted_mqtt.base.portions import Portions
from twisted_mqtt.base.waiting import Maybe, isDeferred
from twisted_mqtt.broker.quotas import Quotas, sizeOf
from twisted_mqtt.core.session import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from twisted_mqtt.broker.client import ClientInfo
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.session import Session
    from twisted_mqtt.interfaces import IStore

_log = Logger()

# So many are published at once; where more clients go at the same time, the others' wills are published in portions.
_AT_ONCE: Final = 16
# For how many seconds a will waits that the store can't take, and how many wait at most; others go the way of all that
# is refused.
_RETRY: Final = 5.0
_MOST_HELD: Final = 10_000


class Wills:
    """
    The wills of clients that are gone, until they are published or their clients come back.

    @ivar behind: whether there are some that are to be published as soon as it is their turn.
    """

    def __init__(
        self,
        clock: IReactorTime,
        store: IStore,
        publish: Callable[[Message], Maybe[int]],
        quotas: Quotas,
        portions: Portions,
    ) -> None:
        """
        @param quotas: counts the wills.
        @param publish: publishes a message; its result is the reason code, or a Deferred of it.
        """
        self._clock = clock
        self._store = store
        self._publishMessage = publish
        self._quotas = quotas
        self.behind = False
        self._portions = portions
        self._waiting: dict[Session, tuple[Message, IDelayedCall]] = {}
        # Those whose time has come, by the keys of their sessions; and how many were published in this turn.
        self._due: OrderedDict[str, Message] = OrderedDict()
        self._published = 0
        # Those that can't be published before the store takes something again: by the key by which it knows them, or it
        # has others by these.
        self._held: dict[str, Message] = {}
        self._heldOnly: list[Message] = []
        self._retry: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def leave(self, client: ClientInfo, session: Session) -> None:
        """
        A client is gone: see to its will, if it still has one.
        """
        will = client.will
        client.will = None
        if will is None:
            self._store.removeWill(session.key)
            return
        delay = client.willDelay
        if session.expiryInterval != NEVER:
            delay = min(delay, session.expiryInterval)  # [MQTT-3.1.3-9]: whichever comes first
        if delay == 0:
            self._publishNext(session.key, will)
        else:
            self.delay(session, will, delay)
            if session.journal is not None:
                self._store.saveWill(session.key, will, self._clock.seconds() + delay, delay)

    def delay(self, session: Session, will: Message, seconds: float) -> None:
        """
        Publish the will of a session's client after some time.
        """
        self.cancel(session)
        call = self._clock.callLater(seconds, self.sessionEnded, session)
        self._waiting[session] = (will, call)
        self._quotas.holdWill(will)

    def waitingFor(self, session: Session) -> tuple[Message, float] | None:
        """
        The will that waits for a session, and the moment when it is due; L{None} if there is none.
        """
        waiting = self._waiting.get(session)
        return None if waiting is None else (waiting[0], waiting[1].getTime())

    def cancel(self, session: Session) -> None:
        """
        The client has come back to its session: its will is not published.
        """
        waiting = self._waiting.pop(session, None)
        if waiting is not None:
            self._quotas.releaseWill(sizeOf(waiting[0]))
            if waiting[1].active():
                waiting[1].cancel()

    def sessionEnded(self, session: Session) -> None:
        """
        Publish a will that waits: its time has come, or the session has ended.
        """
        waiting = self._waiting.pop(session, None)
        if waiting is None:
            return
        will, call = waiting
        self._quotas.releaseWill(sizeOf(will))
        if call.active():
            call.cancel()
        self._publishNext(session.key, will)

    def publishSoon(self, key: str, will: Message) -> None:
        """
        Publish the will of a client whose session has ended with the process.

        @param key: of that session.
        """
        self._begin()
        self.behind = True
        self._due[key] = will

    def entered(self, key: str) -> None:
        """
        A client with that key comes in: if the will of the one before is still to be published, it is now.
        """
        will = self._due.pop(key, None)
        if will is not None:
            self._publish(key, will)
        held = self._held.pop(key, None)
        if held is not None:
            # What the store has for the key is from now on the will of the new one.
            self._heldOnly.append(held)

    def goOn(self) -> bool:
        """
        See L{Work<twisted_mqtt.core.events.Work>}: publish the next one.
        """
        if self._due:
            self._publish(*self._due.popitem(last=False))
            return True
        self._published = 0
        self.behind = bool(self._held or self._heldOnly)
        return False

    def stop(self) -> None:
        """
        Publish those whose time has come, and no more; what a store has kept goes on after the next start.
        """
        for _, call in self._waiting.values():
            if call.active():
                call.cancel()
        for will, _ in self._waiting.values():
            self._quotas.releaseWill(sizeOf(will))
        self._waiting.clear()
        while self._due:
            self._publish(*self._due.popitem(last=False))
        self._held.clear()
        self._heldOnly.clear()
        retry, self._retry = self._retry, None
        if retry is not None:
            retry.cancel()

    def _publishNext(self, key: str, will: Message) -> None:
        """
        Publish a will, at once or as soon as it is its turn.
        """
        self._begin()
        if self._published <= _AT_ONCE and not self._due:
            self._publish(key, will)
        else:
            self.entered(key)
            self.behind = True
            self._due[key] = will

    def _begin(self) -> None:
        if self._published == 0:
            self._portions.add(self)
        self._published += 1

    def _tryAgain(self) -> None:
        """
        Publish the wills that came while the store took nothing, if it does again.
        """
        self._retry = None
        held, self._held = self._held, {}
        only, self._heldOnly = self._heldOnly, []
        for will in only:
            self._publish("", will)
        for key, will in held.items():
            self._publish(key, will)

    def _publish(self, key: str, will: Message) -> None:
        if will.qos and self._store.progress.broken and len(self._held) + len(self._heldOnly) < _MOST_HELD:
            # It would be refused, and nobody could send it again. If the store has it, it stays there.
            former = self._held.pop(key, None)
            if former is not None:
                self._heldOnly.append(former)
            if key:
                self._held[key] = will
            else:
                self._heldOnly.append(will)
            self.behind = True
            if self._retry is None:
                self._retry = self._clock.callLater(_RETRY, self._tryAgain)
            return
        self._store.removeWill(key)
        outcome = self._publishMessage(will)
        if isDeferred(outcome):
            outcome.addErrback(self._ebPublish, will)

    def _ebPublish(self, failure: Failure, will: Message) -> None:
        _log.failure("Publishing the will for {topic} failed", failure=failure, topic=will.topic)
