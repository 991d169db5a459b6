"""
Publishes C{$delayed/<seconds>/<topic>} to C{<topic>} after that many seconds, even if the broker restarts in between.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mqtt.config.keys import Size, Whole
from twisted_mqtt.config.values import MB
from twisted_mqtt.core.codec import LARGEST
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import IN_PUBLISH, decodeProperties, encodeProperties
from twisted_mqtt.core.reasons import QUOTA_EXCEEDED
from twisted_mqtt.core.topics import DELAYED, isReserved
from twisted_mqtt.hooks.verdicts import DROP, Drop
from twisted_mqtt.interfaces import IExtension

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from twisted_mqtt.base.dates import Dates
    from twisted_mqtt.base.records import Records
    from twisted_mqtt.interfaces import IExtensionContext, IHeld

_log = Logger()

#: The longest delay, in seconds.
LONGEST: Final = 4294967

# The answer to a publisher if there is no room.
QUOTA: Final = Drop(QUOTA_EXCEEDED)

# After how many seconds it is looked again whether the store can be written.
_RETRY: Final = 1.0
# So many are published in one turn of the reactor, lest those that are due at the same time hold up everybody.
_AT_ONCE: Final = 32

# A message of the largest packet, with what is known of its publisher.
_LARGEST: Final = LARGEST + (1 << 18)


class Delayed(Struct, frozen=True, array_like=True):
    """
    A message that waits, as the store keeps it; what is added later comes last and has a default. Its times are dates.

    @ivar due: the date when it is published, in seconds since the epoch.
    @ivar properties: encoded as in a PUBLISH; empty for none.
    """

    due: float
    topic: str
    payload: bytes
    qos: int
    retain: bool
    system: bool
    properties: bytes
    timestamp: float
    expiresAt: float
    clientID: str
    username: str | None
    peerHost: str | None
    protocol: str
    topicTree: str = ""

    @classmethod
    def of(cls, message: Message, due: float, dates: Dates) -> Delayed:
        """
        A message that is due at some moment.
        """
        properties = message.properties
        return cls(
            dates.of(due),
            message.topic,
            message.payload,
            message.qos,
            message.retain,
            message.system,
            b"" if properties is None else encodeProperties(properties, IN_PUBLISH),
            dates.of(message.timestamp),
            dates.of(message.expiresAt),
            message.clientID,
            message.username,
            message.peerHost,
            message.protocol,
            message.topicTree,
        )

    def message(self, due: float) -> Message:
        """
        The message.

        @param due: the moment when it is due, which says what moments its other times are.
        """
        behind = due - self.due
        encoded = self.properties
        properties = decodeProperties(encoded, 0, len(encoded), IN_PUBLISH)[0] if encoded else None
        message = Message(
            self.topic,
            self.payload,
            self.qos,
            self.retain,
            properties,
            self.clientID,
            self.timestamp + behind,
            self.expiresAt + behind if self.expiresAt else 0.0,
            self.system,
        )
        message.topicTree = self.topicTree
        message.username = self.username
        message.peerHost = self.peerHost
        message.protocol = self.protocol
        return message


class DelayedPublishSettings(Struct, frozen=True, kw_only=True):
    """
    C{[delayed_publish]}: limits of `$delayed/<seconds>/<topic>`.
    """

    max_delayed_messages: Annotated[Whole, "Most messages waiting for their time; 0 for no limit"] = 100_000
    max_delayed_bytes: Annotated[Size, "Most bytes of their topics and payloads; 0 for no limit"] = 64 * MB


@implementer(IExtension)
class DelayedPublish:
    """
    The extension C{delayed_publish}.
    """

    def __init__(self, settings: DelayedPublishSettings) -> None:
        self._most = settings.max_delayed_messages
        self._mostBytes = settings.max_delayed_bytes
        # Of topics and payloads.
        self._bytes = 0
        # When they are due, and by which number they are kept: equal times keep their order.
        self._waiting: list[tuple[float, int]] = []
        self._number = 0
        self._call: IHeld | None = None
        # When that is due.
        self._callAt = 0.0
        self._records: Records[Delayed]

    def start(self, context: IExtensionContext) -> None:
        """
        Take over what waits, and listen for more.
        """
        self._context = context
        self._broker = broker = context.broker
        self._records = broker.store.table("delayed", _LARGEST).records(Delayed)
        self._waiting = []
        self._bytes = 0
        for key, record in self._records.items():
            self._waiting.append((broker.dates.moment(record.due, record.timestamp), int(key)))
            self._bytes += _sizeOf(record)
        heapq.heapify(self._waiting)
        self._number = max((number for _, number in self._waiting), default=0)
        context.hook("message.publish", self._published)
        self._count()
        self._schedule()

    def stop(self) -> None:
        """
        Publish no more. Waiting messages stay in the store, for the next time that the extension is loaded.
        """
        if self._call is not None:
            self._call.close()
            self._call = None
        self._waiting = []
        self._bytes = 0
        self._count()

    def _published(self, message: Message) -> Message | Drop:
        if not message.topic.startswith(DELAYED):
            return message
        seconds, _, topic = message.topic[len(DELAYED) :].partition("/")
        broker = self._broker
        # Nobody but the broker publishes there, not later either.
        wrong = not seconds.isascii() or not seconds.isdigit() or not topic or isReserved(topic)
        if wrong or int(seconds) > LONGEST:
            return DROP
        if message.qos and broker.store.progress.broken:
            return message  # the broker refuses it
        size = len(topic) + len(message.payload)
        full = self._most and len(self._waiting) >= self._most
        if full or (self._mostBytes and self._bytes + size > self._mostBytes):
            broker.limits.reached(
                "delayed",
                f"a message for {topic!r} is refused: {len(self._waiting)} of {self._bytes} bytes wait for their time",
            )
            return QUOTA
        self._bytes += size
        self._number += 1
        due = broker.clock.seconds() + int(seconds)
        self._records.put(str(self._number), Delayed.of(message.replace(topic=topic), due, broker.dates))
        heapq.heappush(self._waiting, (due, self._number))
        self._count()
        self._schedule()
        return DROP

    def _schedule(self) -> None:
        """
        Be called when the first is due.
        """
        if not self._waiting:
            return
        due = self._waiting[0][0]
        if self._call is not None:
            if self._callAt <= due:
                return
            self._call.close()
        self._callAt = due
        self._call = self._context.callLater(max(0.0, due - self._broker.clock.seconds()), self._due)

    def _due(self) -> None:
        self._call = None
        broker = self._broker
        if broker.store.progress.broken:
            # The broker would refuse those of QoS 1 and 2, and they were acknowledged.
            self._callAt = broker.clock.seconds() + _RETRY
            self._call = self._context.callLater(_RETRY, self._due)
            return
        now = broker.clock.seconds()
        for _ in range(_AT_ONCE):
            if not self._waiting or self._waiting[0][0] > now:
                break
            due, number = heapq.heappop(self._waiting)
            key = str(number)
            record = self._records.get(key)
            if record is None:
                continue
            # In one batch with what its subscribers get of it: published once, whenever the process ends.
            self._records.remove(key)
            self._bytes -= _sizeOf(record)
            message = record.message(due)
            if message.expiresAt and message.expiresAt <= now:
                broker.counters.messages_dropped += 1
                broker.counters.messages_dropped_expired += 1
                continue
            # It is published now; what is left of its interval is what receivers are told ([MQTT-3.3.2-6]).
            message.timestamp = now
            outcome = broker.publish(message)
            if isinstance(outcome, Deferred):
                outcome.addErrback(self._ebPublish, message)
        self._count()
        self._schedule()

    def _ebPublish(self, failure: Failure, message: Message) -> None:
        _log.failure("Publishing the delayed message for {topic} failed", failure=failure, topic=message.topic)

    def _count(self) -> None:
        self._broker.counters.messages_delayed = len(self._waiting)


def _sizeOf(record: Delayed) -> int:
    return len(record.topic) + len(record.payload)
