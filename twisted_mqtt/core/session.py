"""
The state that survives a connection (4.1): subscriptions, messages in flight and waiting, packet identifiers; and how
messages are sent to its client.

What is done with the rest of that state has its own modules, whose functions take the session: C{enqueueing},
C{shedding}, C{paging}, C{dropping}, C{backlog}, C{acknowledging}, C{exactlyonce}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted_mqtt.core.backlog import Backlog, putAside
from twisted_mqtt.core.counters import Counters
from twisted_mqtt.core.dropping import discard, drop, refuse
from twisted_mqtt.core.enqueueing import enqueue, putBack
from twisted_mqtt.core.entry import Entry
from twisted_mqtt.core.events import DISCARD, WAIT, Events, Switches
from twisted_mqtt.core.exactlyonce import Unreleased
from twisted_mqtt.core.inflight import Inflight
from twisted_mqtt.core.journal import Journal
from twisted_mqtt.core.limits import Limits
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBREL
from twisted_mqtt.core.paging import IN_MEMORY, askForPage
from twisted_mqtt.core.queue import MessageQueue, mostOf
from twisted_mqtt.core.subscription import SharedGroup, Subscription
from twisted_mqtt.core.topics import scoped

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.connection import Connection

NEVER: Final = 0xFFFFFFFF

# So many entries are taken from the queue or the retained messages in one turn.
_AT_ONCE: Final = 128


class Session:
    """
    The session of one client. It is an L{ISubscriber<twisted_mqtt.interfaces.ISubscriber>}.

    @ivar connection: where the client is now, or L{None}.
    @ivar expiryInterval: for how many seconds it outlives its connection; L{NEVER} for ever.
    @ivar expiresAt: when it ends, while there is no connection; 0 while there is one or for ever.
    @ivar ending: what the registry of sessions knows that end by; 0 where there is none. The registry's own.
    @ivar subscriptions: by the filter as the client named it.
    @ivar inflight: messages of QoS 1 and 2 on their way to the client.
    @ivar unreleased: QoS 2 messages of the client whose PUBREL has not come; L{None} before the first.
    @ivar window: how many messages may be in flight on the present connection.
    @ivar journal: where it is kept, or L{None} for one that ends with its connection or with the process.
    @ivar mountpoint: the prefix of all its topics; empty for none.
    @ivar topicTree: the topic tree of its subscriptions and of its client's messages; empty for the default one. With
        the client identifier it is the identity of the session.
    @ivar deliveries: how many messages have been sent, repetitions not counted.
    @ivar dropped: how many messages were not, and will not be.
    @ivar losing: whether it is in C{QueueBudget.losing}.
    @ivar lost: how many messages it has lost for want of room since somebody has looked there.
    @ivar backlog: the retained messages that are still to come; L{None} if there are none.
    @ivar held: the entry that a deliver hook has not decided on yet.
    @ivar filling: whether its queue or its backlog is being worked through: that does not begin anew within itself.
    @ivar resting: whether it has sent or queued so much in one turn that it goes on in a later one.
    @ivar pageTaker: takes the pages of the store in place of the session: while it is exported, and once it has ended
        and what it has left goes to others.
    """

    __slots__ = (
        "clientID",
        "limits",
        "counters",
        "switches",
        "events",
        "journal",
        "stored",
        "connection",
        "expiryInterval",
        "expiresAt",
        "ending",
        "createdAt",
        "subscriptions",
        "inflight",
        "queue",
        "unreleased",
        "window",
        "mountpoint",
        "topicTree",
        "username",
        "info",
        "shut",
        "zone",
        "backlog",
        "held",
        "filling",
        "resting",
        "deliveries",
        "pageTaker",
        "dropped",
        "losing",
        "lost",
        "beganBy",
        "beganAt",
        "beganFrom",
    )

    def __init__(
        self,
        clientID: str,
        limits: Limits,
        counters: Counters,
        switches: Switches,
        events: Events,
        now: float,
        mountpoint: str = "",
        topicTree: str = "",
    ) -> None:
        self.clientID: str = clientID
        self.limits: Limits = limits
        self.counters: Counters = counters
        self.switches: Switches = switches
        self.events: Events = events
        self.journal: Journal | None = None
        # Its number in the journal; 0 if it is not stored. Only the store uses it.
        self.stored: int = 0
        self.connection: Connection | None = None
        self.expiryInterval: int = 0
        self.expiresAt: float = 0.0
        self.ending: int = 0
        self.createdAt: float = now
        self.mountpoint: str = mountpoint
        self.topicTree: str = topicTree
        self.username: str | None = None
        # The broker's information about the client; the core does not use it.
        self.info: object = None
        # The name of its zone, by which its limits are found again.
        self.zone: str = ""
        # Whether it has ended: nothing is delivered to it any more.
        self.shut: bool = False
        self.subscriptions: dict[str, Subscription] = {}
        self.inflight: Inflight = Inflight()
        self.queue: MessageQueue | None = None
        self.unreleased: Unreleased | None = None
        self.window: int = 0
        self.deliveries: int = 0
        self.dropped: int = 0
        self.losing: bool = False
        self.lost: int = 0
        # Its user, and the address that has begun it, as the broker's quotas count them; the core does not use them.
        self.beganBy: str | None = None
        self.beganAt: str | None = None
        self.beganFrom: dict[str, int] | None = None
        self.backlog: Backlog | None = None
        self.held: Entry | None = None
        self.filling: bool = False
        self.resting: bool = False
        self.pageTaker: Callable[[list[Entry], list[Entry], bool], None] | None = None

    @property
    def key(self) -> str:
        """
        Its client identifier with its topic tree: what it is known by, here and in a store.
        """
        return scoped(self.topicTree, self.clientID)

    @property
    def online(self) -> bool:
        """
        Whether the client is connected.
        """
        return self.connection is not None

    @property
    def queueLength(self) -> int:
        """
        How many messages wait.
        """
        return 0 if self.queue is None else self.queue.length

    def stats(self) -> dict[str, int]:
        """
        See L{twisted_mqtt.interfaces.ISession}.
        """
        limits, unreleased = self.limits, self.unreleased
        return {
            "subscriptions_cnt": len(self.subscriptions),
            "max_subscriptions": limits.maxSubscriptions,
            "inflight": len(self.inflight),
            "max_inflight": self.window or limits.maxInflight,
            "mqueue_len": self.queueLength,
            "max_mqueue": mostOf(limits, self.journal is not None, self.connection is not None),
            "mqueue_bytes": 0 if self.queue is None else self.queue.size,
            "mqueue_dropped": self.dropped,
            "awaiting_rel": 0 if unreleased is None else len(unreleased),
            "max_awaiting_rel": limits.maxAwaitingRel,
            "deliver_msg": self.deliveries,
        }

    # Delivery

    def deliver(self, message: Message, subscription: Subscription) -> None:
        """
        Take a message: send it, queue it or drop it.
        """
        limits = self.limits
        if (subscription.noLocal or limits.ignoreLoop) and message.clientID == self.clientID:
            # [MQTT-3.8.3-3]
            other = subscription.local
            if other is None or limits.ignoreLoop:
                drop(self, message, "no_local")
                return
            subscription = other
        qos = message.qos
        if qos > subscription.qos or limits.upgradeQoS:
            qos = subscription.qos
        connection = self.connection
        if qos == 0:
            if connection is not None and connection.room > 0 and self.held is None and self.backlog is None:
                queue = self.queue
                switches = self.switches
                if (queue is None or queue.qos0 == 0) and not switches.delivered:
                    self.deliveries += 1
                    if connection.plain and subscription.plain and not self.mountpoint:
                        version5 = connection.version5
                        wire = message.whole5 if version5 else message.whole4
                        if wire is None:
                            wire = connection.whole(message)
                            if wire is None:
                                return
                        sent = connection.sendPublish(wire, 0, message)
                    else:
                        seen = self._seen(message)
                        if seen is None:
                            return
                        retain = message.retain and subscription.retainAsPublished
                        sent = connection.sendEncoded(
                            seen, 0, 0, retain, False, subscription.identifiers, message.timestamp
                        )
                    if sent and switches.meter is not None:
                        self._meter(message.topic, 0)
                    return
            elif not limits.storeQoS0 and (connection is None or not self._isReading()):
                drop(self, message, "qos0_msg")
                return
        elif (
            connection is not None
            and subscription.plain
            and len(self.inflight.entries) < self.window
            and connection.room > 0
            and (self.queue is None or (self.queue.length == 0 and not self.queue.dormant))
            and self.inflight.resend is None
            and self.held is None
            and self.backlog is None
            and not self.switches.delivered
        ):
            entry = Entry(message, qos, False, None, subscription.share)
            journal = self.journal
            if journal is not None:
                journal.queued(self, entry)
            self._send(entry, connection, message.timestamp)
            return
        if self.backlog is not None and connection is None:
            self.backlog.overtake(message.topic)
        retain = message.retain and subscription.retainAsPublished  # [MQTT-3.3.1-12], [MQTT-3.3.1-13]
        enqueue(self, Entry(message, qos, retain, subscription.identifiers, subscription.share))

    def redeliver(self, entry: Entry, subscription: Subscription) -> None:
        """
        Take a message of a shared subscription that another member has left undelivered.
        """
        self.counters.delivery_offered += 1
        qos = subscription.qos if self.limits.upgradeQoS else min(entry.message.qos, subscription.qos)
        if qos == 0 and not self.online and not self.limits.storeQoS0:
            drop(self, entry.message, "qos0_msg")
            return
        enqueue(self, Entry(entry.message, qos, False, subscription.identifiers, subscription.share))

    def refill(self, now: float) -> None:
        """
        Send what waits, as far as the window and the connection let it.
        """
        connection = self.connection
        queue = self.queue
        if connection is None or self.filling or self.resting or (queue is not None and queue.dormant):
            return
        self.filling = True
        try:
            self._fill(connection, now)
        finally:
            self.filling = False
        queue = self.queue
        if queue is not None and queue.wantsPage:
            askForPage(self, queue)

    def decided(self, entry: Entry, verdict: int, now: float) -> None:
        """
        A deliver hook that had to wait has decided on the entry.
        """
        if self.held is not entry:
            return
        self.held = None
        connection = self.connection
        if verdict == DISCARD:
            refuse(self, entry)
        elif self.shut:
            drop(self, entry.message, "session_terminated")
        elif (
            connection is None
            or self.inflight.resend is not None
            or (entry.qos and len(self.inflight.entries) >= self.window)
        ):
            # The client has gone meanwhile. If it is back already, what it is sent again comes first.
            putBack(self, entry)
        else:
            self._send(entry, connection, now)
        self.refill(now)

    # Connections come and go

    def useLimits(self, limits: Limits) -> None:
        """
        The client has come by another listener, or its zone has changed.
        """
        self.limits = limits
        self._bound()

    def attach(self, connection: Connection, window: int) -> None:
        """
        The client is here. Nothing is sent until L{resume}.

        @param window: how many messages may be in flight: the lesser of ours and the client's receive maximum.
        """
        self.connection = connection
        self.window = window
        self.expiresAt = 0.0
        self._bound()
        # The rest of the retained messages goes out before the queue again.
        if self.backlog is not None:
            self.backlog.overtaken = None

    def resume(self, now: float) -> None:
        """
        Send again what was in flight when the client left ([MQTT-4.4.0-1]), in the same order, then what has waited.
        """
        queue = self.queue
        if queue is not None and queue.dormant:
            if not queue.loading:
                askForPage(self, queue)
            return
        self.inflight.startResending()
        self.refill(now)

    @property
    def isBusy(self) -> bool:
        """
        Whether messages are still to come into its queue by themselves: a hook decides on one, or retained messages are
        being read.
        """
        return self.held is not None or self.backlog is not None

    def takeOver(self, entry: Entry) -> None:
        """
        Take an entry from another node: in flight if it has a packet identifier, else behind what waits.
        """
        if not entry.packetID:
            enqueue(self, entry)
            return
        if self.journal is not None:
            self.journal.queued(self, entry)
        self.inflight.restore([entry])

    def letGo(self) -> None:
        """
        It has ended: what waits in memory is let go. What the store has of it may still go to others.
        """
        queue = self.queue
        if queue is None:
            return
        queue.budget.forget(self, queue)
        queue.release()

    def detach(self, now: float) -> None:
        """
        The client is gone.
        """
        self.connection = None
        self.inflight.resend = None
        self._bound()
        putAside(self)
        self.expiresAt = 0.0 if self.expiryInterval == NEVER else now + self.expiryInterval
        queue = self.queue
        if queue is not None and queue.qos0 and not self.limits.storeQoS0:
            for entry in queue.dropQoS0():
                drop(self, entry.message, "qos0_msg")

    def undelivered(self, groups: set[SharedGroup] | None = None) -> list[Entry]:
        """
        Take out what came through shared subscriptions and may still go to another member: what waits, and what is
        in flight at QoS 1; a QoS 2 message in flight stays with its receiver ([MQTT-4.8.2-5]).

        @param groups: of these groups only; L{None} for all.
        """
        found = self.inflight.takeShared(groups)
        queue = self.queue
        if queue is not None:
            found.extend(queue.takeShared(groups))
        journal = self.journal
        if journal is not None:
            for entry in found:
                journal.settled(self, entry)
        return found

    def clear(self) -> None:
        """
        It has ended: its messages are let go, whoever still holds it.
        """
        inflight = self.inflight
        if inflight.entries:
            inflight.entries.clear()
            inflight.resend = None
        self.letGo()
        self.queue = None
        self.unreleased = None
        self.backlog = None

    # For what goes on in the queue and the backlog

    def makeQueue(self) -> MessageQueue:
        """
        Give it a queue, which it does not have before the first message waits.
        """
        queue = self.queue = MessageQueue(self.limits, self.switches.queues)
        self._bound()
        if self.journal is not None and not self.limits.priorities:
            queue.capacity = IN_MEMORY
        return queue

    def rest(self) -> None:
        """
        Let others have their turns; it goes on later.
        """
        if not self.resting:
            self.resting = True
            self.events.goOnLater(self)

    def goOn(self) -> bool:
        """
        See L{Work<twisted_mqtt.core.events.Work>}.
        """
        self.resting = False
        if not self.shut:
            if self.connection is not None:
                self.refill(self.switches.now)
            elif not self.filling:
                putAside(self)
        return False

    # Inside

    def _fill(self, connection: Connection, now: float) -> None:
        # Retransmissions first; then retained messages, which are older than what has come since; then what waits.
        inflight = self.inflight
        left = _AT_ONCE
        while connection.room > 0 and self.held is None:
            if left == 0:
                self.rest()
                break
            left -= 1
            if inflight.resend is not None:
                again = inflight.nextToResend(self.window)
                if again is None:
                    break
                self._sendAgain(again, connection, now)
                continue
            queue = self.queue
            backlog = self.backlog
            if backlog is not None:
                if len(inflight.entries) >= self.window or backlog.isReading:
                    break
                taken = backlog.take(self.limits.upgradeQoS)
                if backlog.isEmpty:
                    self.backlog = None
                if taken is None:
                    continue
                self.counters.delivery_offered += 1
                entry = taken
                if entry.qos and self.journal is not None:
                    self.journal.queued(self, entry)
            elif queue is not None and queue.ready:
                # With a full window only QoS 0 may pass: order is promised per topic and QoS.
                next_ = queue.pop() if len(inflight.entries) < self.window else queue.popQoS0()
                if next_ is None:
                    break
                entry = next_
            else:
                break
            self._pass(entry, connection, now)

    def _seen(self, message: Message) -> Message | None:
        """
        A message as the client sees it; L{None} where it can't, which is counted.
        """
        if not self.mountpoint:
            return message
        seen = message.withoutPrefix(self.mountpoint)
        if seen is None:
            drop(self, message, "unsendable")
        return seen

    def _bound(self) -> None:
        queue = self.queue
        if queue is not None:
            queue.bound(self.limits, self.journal is not None, self.connection is not None)

    def _isReading(self) -> bool:
        """
        Whether nothing goes out before retained messages have been found or read from disk, or before a later turn.
        """
        backlog = self.backlog
        return self.resting or (backlog is not None and backlog.isReading)

    def _pass(self, entry: Entry, connection: Connection, now: float) -> None:
        """
        Send an entry that has waited, unless it is too old or a hook is against it.
        """
        expiresAt = entry.message.expiresAt
        if expiresAt != 0.0 and expiresAt <= now:  # [MQTT-3.3.2-5]
            self.counters.messages_dropped_expired += 1
            discard(self, entry)
            drop(self, entry.message, "expired")
            return
        if self.switches.delivered:
            verdict = self.events.delivering(self, entry)
            if verdict == WAIT:
                self.held = entry
                return
            if verdict == DISCARD:
                refuse(self, entry)
                return
        self._send(entry, connection, now)

    def _send(self, entry: Entry, connection: Connection, now: float) -> None:
        qos = entry.qos
        message = entry.message
        if self.mountpoint:
            seen = self._seen(message)
            if seen is None:
                discard(self, entry)
                return
            message = seen
        self.deliveries += 1
        if qos == 0:
            if connection.sendEncoded(message, 0, 0, entry.retain, False, entry.identifiers, now):
                self._meter(entry.message.topic, 0)
            return
        inflight = self.inflight
        packetID = inflight.add(entry)
        journal = self.journal
        if journal is not None:
            # Before it is sent: one of QoS 2 goes out only when its identifier is safe, for after a crash it must not
            # go out again under another.
            journal.sent(self, entry)
        if connection.plain and entry.identifiers is None and not entry.retain and message.expiresAt == 0.0:
            fits = connection.sendShaped(message, qos, packetID)
        else:
            fits = connection.sendEncoded(message, qos, packetID, entry.retain, False, entry.identifiers, now)
        if not fits:  # [MQTT-3.1.2-25]: as if it had been delivered
            inflight.remove(entry)
            if journal is not None:
                journal.settled(self, entry)
        elif self.switches.meter is not None:
            self._meter(entry.message.topic, qos)

    def _meter(self, topic: str, qos: int) -> None:
        """
        Count a message that is sent, where its topic is one of those that are counted.
        """
        meter = self.switches.meter
        if meter is not None and not self.topicTree:
            meter.sent(topic, qos)

    def _sendAgain(self, entry: Entry, connection: Connection, now: float) -> None:
        if entry.released:
            connection.reply(PUBREL, entry.packetID, 0)
            return
        message = self._seen(entry.message)
        if message is None or not connection.sendEncoded(
            message, entry.qos, entry.packetID, entry.retain, True, entry.identifiers, now
        ):
            self.inflight.remove(entry)
            discard(self, entry)
