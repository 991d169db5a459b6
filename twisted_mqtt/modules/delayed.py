"""
Publishes C{$delayed/<seconds>/<topic>} to C{<topic>} after so many seconds, even if the broker is restarted meanwhile.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mqtt.config.keys import Whole
from twisted_mqtt.core.topics import isReserved
from twisted_mqtt.hooks.points import DROP
from twisted_mqtt.interfaces import IExtension

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from twisted_mqtt.core.message import Message
    from twisted_mqtt.interfaces import IBroker

_log = Logger()

PREFIX: Final = "$delayed/"
#: The longest delay, in seconds.
LONGEST: Final = 4294967


class DelayedPublishSettings(Struct, frozen=True, kw_only=True):
    """
    C{[delayed_publish]}: limits of `$delayed/<seconds>/<topic>`.
    """

    max_delayed_messages: Annotated[Whole, "Most messages waiting for their time; 0 for no limit"] = 0


@implementer(IExtension)
class DelayedPublish:
    """
    The extension C{delayed_publish}.
    """

    def __init__(self, settings: DelayedPublishSettings) -> None:
        self._most = settings.max_delayed_messages
        # (when it is due, number, message): equal times keep their order.
        self._waiting: list[tuple[float, int, Message]] = []
        self._number = 0
        self._call: Any = None

    def start(self, broker: IBroker) -> None:
        """
        Take over what waits, and listen for more.
        """
        self._broker = broker
        store = broker.store
        self._waiting = [(due, number, message) for number, message, due in store.delayed]
        store.delayed = []
        heapq.heapify(self._waiting)
        self._number = max((number for _, number, _ in self._waiting), default=0)
        broker.hooks.messagePublish.add(self._published)
        self._count()
        self._schedule()

    def stop(self) -> None:
        """
        Publish no more. What waits stays in the store, for the next time that the extension is loaded.
        """
        self._broker.hooks.messagePublish.remove(self._published)
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._broker.store.delayed = [(number, message, due) for due, number, message in sorted(self._waiting)]
        self._waiting = []
        self._count()

    def _published(self, message: Message) -> Any:
        if not message.topic.startswith(PREFIX):
            return message
        seconds, _, topic = message.topic[len(PREFIX) :].partition("/")
        broker = self._broker
        # Nobody but the broker publishes there, not later either.
        wrong = not seconds.isascii() or not seconds.isdigit() or not topic or isReserved(topic)
        if wrong or int(seconds) > LONGEST:
            return DROP
        if message.qos and broker.store.progress.broken:
            return message  # the broker refuses it
        if self._most and len(self._waiting) >= self._most:
            return DROP
        self._number += 1
        due = broker.clock.seconds() + int(seconds)
        delayed = message.replace(topic=topic)
        heapq.heappush(self._waiting, (due, self._number, delayed))
        broker.store.saveDelayed(self._number, delayed, due)
        self._count()
        self._schedule()
        return DROP

    def _schedule(self) -> None:
        """
        Be called when the first is due.
        """
        if not self._waiting:
            return
        seconds = max(0.0, self._waiting[0][0] - self._broker.clock.seconds())
        if self._call is None:
            self._call = self._broker.clock.callLater(seconds, self._due)
        elif self._call.getTime() > self._waiting[0][0]:
            self._call.reset(seconds)

    def _due(self) -> None:
        self._call = None
        broker = self._broker
        now = broker.clock.seconds()
        while self._waiting and self._waiting[0][0] <= now:
            _, number, message = heapq.heappop(self._waiting)
            # In one batch with what its subscribers get of it: published once, whenever the process ends.
            broker.store.removeDelayed(number)
            if message.expiresAt and message.expiresAt <= now:
                broker.counters.messages_dropped += 1
                broker.counters.messages_dropped_expired += 1
                continue
            outcome = broker.publish(message)
            if isinstance(outcome, Deferred):
                outcome.addErrback(self._ebPublish, message)
        self._count()
        self._schedule()

    def _ebPublish(self, failure: Failure, message: Message) -> None:
        _log.failure("Publishing the delayed message for {topic} failed", failure=failure, topic=message.topic)

    def _count(self) -> None:
        self._broker.counters.messages_delayed = len(self._waiting)
