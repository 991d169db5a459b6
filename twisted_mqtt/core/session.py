"""
The state that survives a connection: subscriptions, messages in flight and waiting, packet identifiers, QoS 1 and 2
(4.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted_mqtt.core.backlog import STEPS_AT_ONCE, Backlog, Retained, Wanted
from twisted_mqtt.core.counters import Counters
from twisted_mqtt.core.events import DISCARD, WAIT, Events, Switches
from twisted_mqtt.core.inflight import Inflight, Unreleased
from twisted_mqtt.core.journal import Journal
from twisted_mqtt.core.limits import Limits
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBREL
from twisted_mqtt.core.queue import Entry, MessageQueue, mostOf
from twisted_mqtt.core.queuebudget import topOf
from twisted_mqtt.core.reasons import PACKET_ID_NOT_FOUND, PROTOCOL_ERROR, ProtocolError
from twisted_mqtt.core.subscription import SharedGroup, Subscription
from twisted_mqtt.core.topics import scoped

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.connection import Connection

NEVER: Final = 0xFFFFFFFF

# Of a queue that a store keeps, so many messages stay in memory: enough to be sending while the next page comes.
IN_MEMORY: Final = 128
# So many entries are taken from the queue or the retained messages in one turn.
_AT_ONCE: Final = 128
# And no more than this is left unread in the store once it has been dropped.
_DROPPED: Final = 256


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
    @ivar pageTaker: takes what L{loaded} is given in place of the session: while it is exported, and once it has ended
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
        "_backlog",
        "_held",
        "_filling",
        "_resting",
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
        # The retained messages that are still to come.
        self._backlog: Backlog | None = None
        # The entry that a deliver hook has not decided on yet.
        self._held: Entry | None = None
        self._filling: bool = False
        # Whether it has sent or queued so much in one turn that it goes on in a later one.
        self._resting: bool = False
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
                self._drop(message, "no_local")
                return
            subscription = other
        qos = message.qos
        if qos > subscription.qos or limits.upgradeQoS:
            qos = subscription.qos
        connection = self.connection
        if qos == 0:
            if connection is not None and connection.room > 0 and self._held is None and self._backlog is None:
                queue = self.queue
                if (queue is None or queue.qos0 == 0) and not self.switches.delivered:
                    self.deliveries += 1
                    if connection.plain and subscription.plain and not self.mountpoint:
                        version5 = connection.version5
                        wire = message.whole5 if version5 else message.whole4
                        if wire is None:
                            wire = connection.whole(message)
                            if wire is None:
                                return
                        connection.sendPublish(wire, 0, message)
                    else:
                        seen = self._seen(message)
                        if seen is not None:
                            retain = message.retain and subscription.retainAsPublished
                            connection.sendEncoded(
                                seen, 0, 0, retain, False, subscription.identifiers, message.timestamp
                            )
                    return
            elif not limits.storeQoS0 and (connection is None or not self._isReading()):
                self._drop(message, "qos0_msg")
                return
        elif (
            connection is not None
            and subscription.plain
            and len(self.inflight.entries) < self.window
            and connection.room > 0
            and (self.queue is None or (self.queue.length == 0 and not self.queue.dormant))
            and self.inflight.resend is None
            and self._held is None
            and self._backlog is None
            and not self.switches.delivered
        ):
            entry = Entry(message, qos, False, None, subscription.share)
            journal = self.journal
            if journal is not None:
                journal.queued(self, entry)
            self._send(entry, connection, message.timestamp)
            return
        if self._backlog is not None and connection is None:
            self._backlog.overtake(message.topic)
        retain = message.retain and subscription.retainAsPublished  # [MQTT-3.3.1-12], [MQTT-3.3.1-13]
        self._enqueue(Entry(message, qos, retain, subscription.identifiers, subscription.share))

    def deliverRetained(self, retained: Retained, wanted: list[Wanted], now: float) -> None:
        """
        Deliver the retained messages that new subscriptions ask for (3.3.1.3), as fast as the client reads.
        """
        backlog = self._backlog
        if backlog is None:
            if len(wanted) == 1:
                # Most subscriptions are to topics of which nothing is retained.
                found = retained.match(wanted[0].subscription.matching, self.topicTree, STEPS_AT_ONCE)
                if found is not None and not found:
                    return
            backlog = Backlog(retained, self.events, self._arrived, self.topicTree)
        for each in wanted:
            backlog.add(each)
        self._backlog = None if backlog.isEmpty else backlog
        self.refill(now)

    def forgetRetained(self, topicFilter: str, now: float) -> None:
        """
        The client has unsubscribed: nothing more of the retained messages is sent for that (3.10.4).
        """
        backlog = self._backlog
        if backlog is not None:
            backlog.remove(topicFilter)
            if backlog.isEmpty:
                self._backlog = None
            self.refill(now)

    def redeliver(self, entry: Entry, subscription: Subscription) -> None:
        """
        Take a message of a shared subscription that another member has left undelivered.
        """
        qos = subscription.qos if self.limits.upgradeQoS else min(entry.message.qos, subscription.qos)
        if qos == 0 and not self.online and not self.limits.storeQoS0:
            self._drop(entry.message, "qos0_msg")
            return
        self._enqueue(Entry(entry.message, qos, False, subscription.identifiers, subscription.share))

    def refill(self, now: float) -> None:
        """
        Send what waits, as far as the window and the connection let it.
        """
        connection = self.connection
        queue = self.queue
        if connection is None or self._filling or self._resting or (queue is not None and queue.dormant):
            return
        self._filling = True
        try:
            self._fill(connection, now)
        finally:
            self._filling = False
        queue = self.queue
        if queue is not None and queue.wantsPage:
            self._page(queue)

    def loaded(self, inflight: list[Entry], waiting: list[Entry], complete: bool, now: float) -> None:
        """
        Take the page that was asked of the journal by C{page}.

        @param inflight: in the order of sending; empty unless it was asked for.
        @param complete: whether the journal had no more.
        """
        queue = self.queue
        if self.pageTaker is not None:
            self.pageTaker(inflight, waiting, complete)
            return
        if queue is None or self.shut:
            return
        if queue.last < 0:
            queue.last = 0
            self.inflight.restore(inflight)
            if inflight and self.connection is not None:
                self.inflight.startResending()
        for entry in queue.fill(waiting, complete):
            # It has been noted when it was skipped.
            self._forgo(entry)
        if queue.dormant and queue.spilled and self.limits.priorities:
            # Only the whole queue shows which message goes first.
            self._page(queue)
            return
        queue.dormant = False
        if self.connection is not None:
            self.refill(now)
        elif queue.skipped >= _DROPPED:
            self._page(queue)

    def decided(self, entry: Entry, verdict: int, now: float) -> None:
        """
        A deliver hook that had to wait has decided on the entry.
        """
        if self._held is not entry:
            return
        self._held = None
        connection = self.connection
        if verdict == DISCARD:
            self._refused(entry)
        elif self.shut:
            self._drop(entry.message, "session_terminated")
        elif (
            connection is None
            or self.inflight.resend is not None
            or (entry.qos and len(self.inflight.entries) >= self.window)
        ):
            # The client has gone meanwhile. If it is back already, what it is sent again comes first.
            self._requeue(entry)
        else:
            self._send(entry, connection, now)
        self.refill(now)

    # Acknowledgements of the client

    def acknowledged(self, packetID: int, now: float) -> None:
        """
        PUBACK has come.

        @raise ProtocolError: it answers a message of QoS 2.
        """
        inflight = self.inflight
        # One object for both look-ups: see L{Inflight.entries}.
        key: object = packetID
        entry = inflight.entries.get(key)
        if entry is None or entry.qos != 1:
            self.counters.packets_puback_missed += 1
            if entry is not None:  # 4.3.3
                raise ProtocolError(PROTOCOL_ERROR, "a PUBACK for a QoS 2 message")
            return
        del inflight.entries[key]
        if inflight.resend is not None:
            inflight.forgetResend(entry)
        journal = self.journal
        if journal is not None:
            journal.settled(self, entry)
        self.counters.messages_acked += 1
        if self.switches.acked:
            self.events.acked(self, entry.message)
        if self.queue is not None or self._backlog is not None or inflight.resend is not None:
            self.refill(now)

    def giveUp(self, packetID: int, reason: str, now: float) -> None:
        """
        The client will not acknowledge a QoS 1 message: it is not in flight any more.

        @param reason: why it is dropped; empty where another client gets it.
        """
        entry = self.inflight.entries.get(packetID)
        if entry is None:
            return
        self.inflight.remove(entry)
        if reason:
            self._drop(entry.message, reason)
        self._discard(entry)
        self.refill(now)

    def pubrec(self, packetID: int, reason: int, now: float) -> int:
        """
        PUBREC has come.

        @return: the reason code of the PUBREL to send, or -1 for none.

        @raise ProtocolError: it answers a message of QoS 1.
        """
        entry = self.inflight.entries.get(packetID)
        if entry is None or entry.qos != 2:
            self.counters.packets_pubrec_missed += 1
            if entry is not None:  # 4.3.2
                raise ProtocolError(PROTOCOL_ERROR, "a PUBREC for a QoS 1 message")
            # A client that was told before a crash of ours, say, can finish its side.
            return -1 if reason >= 0x80 else PACKET_ID_NOT_FOUND
        journal = self.journal
        if reason >= 0x80:  # the message is done for this receiver: [MQTT-4.8.2-6] says for the whole group
            self._settled(entry)
            self.refill(now)
            return -1
        if not entry.released:
            entry.released = True
            self.counters.messages_acked += 1
            if self.switches.acked:
                self.events.acked(self, entry.message)
            if journal is not None:
                journal.released(self, entry)
        else:
            self.counters.packets_pubrec_inuse += 1
        return 0

    def pubcomp(self, packetID: int, now: float) -> None:
        """
        PUBCOMP has come.

        @raise ProtocolError: the message is of QoS 1, or its PUBREC has not come.
        """
        entry = self.inflight.entries.get(packetID)
        if entry is None or not entry.released:
            self.counters.packets_pubcomp_missed += 1
            if entry is not None:  # 4.3.3
                raise ProtocolError(PROTOCOL_ERROR, "a PUBCOMP for a message that no PUBREC has come for")
            return
        self._settled(entry)
        if self.queue is not None or self._backlog is not None or self.inflight.resend is not None:
            self.refill(now)

    # QoS 2 from the client

    def isRepeated(self, packetID: int) -> bool:
        """
        Whether a QoS 2 message with this identifier was taken and its PUBREL has not come ([MQTT-4.3.3-10]).
        """
        unreleased = self.unreleased
        return unreleased is not None and packetID in unreleased.since

    def hasRoom(self, now: float) -> bool:
        """
        Whether another QoS 2 message of the client can be remembered; those whose PUBREL is overdue make room.
        """
        limit = self.limits.maxAwaitingRel
        unreleased = self.unreleased
        if not limit or unreleased is None or len(unreleased.since) < limit:
            return True
        timeout = self.limits.awaitRelTimeout
        if timeout > 0.0:
            for packetID in unreleased.forgetOverdue(now - timeout):
                if self.journal is not None:
                    self.journal.completed(self, packetID)
        return len(unreleased.since) < limit

    def receive(self, packetID: int, now: float) -> bool:
        """
        Remember a QoS 2 message of the client.

        @return: whether there was room for it.
        """
        if not self.hasRoom(now):
            return False
        self._received(packetID, now)
        return True

    def receiveAny(self, packetID: int, now: float) -> None:
        """
        Remember a QoS 2 message of a client that can't be told how many it may send. Where there are more than the
        limit, those whose PUBREL is overdue are forgotten.
        """
        self.hasRoom(now)
        self._received(packetID, now)

    def restoreReceived(self, packetID: int, since: float) -> None:
        """
        A QoS 2 message of the client was taken at that time, and its PUBREL has not come; the journal knows it already.
        """
        unreleased = self.unreleased
        if unreleased is None:
            unreleased = self.unreleased = Unreleased()
        unreleased.since[packetID] = since

    def release(self, packetID: int) -> bool:
        """
        PUBREL has come; returns whether its message was known.
        """
        unreleased = self.unreleased
        if unreleased is None or unreleased.since.pop(packetID, None) is None:
            self.counters.packets_pubrel_missed += 1
            return False
        journal = self.journal
        if journal is not None:
            journal.completed(self, packetID)
        return True

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
        if self._backlog is not None:
            self._backlog.overtaken = None

    def resume(self, now: float) -> None:
        """
        Send again what was in flight when the client left ([MQTT-4.4.0-1]), in the same order, then what has waited.
        """
        queue = self.queue
        if queue is not None and queue.dormant:
            if not queue.loading:
                self._page(queue)
            return
        self.inflight.startResending()
        self.refill(now)

    @property
    def isBusy(self) -> bool:
        """
        Whether messages are still to come into its queue by themselves: a hook decides on one, or retained messages are
        being read.
        """
        return self._held is not None or self._backlog is not None

    def takeOver(self, entry: Entry) -> None:
        """
        Take an entry from another node: in flight if it has a packet identifier, else behind what waits.
        """
        if not entry.packetID:
            self._enqueue(entry)
            return
        if self.journal is not None:
            self.journal.queued(self, entry)
        self.inflight.restore([entry])

    def restore(self, waiting: int, size: int = 0) -> None:
        """
        The journal has entries of this session, none of which is in memory yet.

        @param waiting: how many of them are not in flight.
        @param size: how many bytes these have, roughly.
        """
        queue = self._makeQueue()
        queue.spilled = waiting
        queue.stored = size
        if queue.most and waiting > queue.most:
            queue.skipped = waiting - queue.most
            queue.stored = size * queue.most // waiting
        queue.last = -1
        queue.dormant = True
        self._weigh(queue)

    def shed(self, amount: int, stored: bool) -> int:
        """
        Drop the oldest messages of the queue, because all queues together have too much.

        @param amount: how many bytes of them.
        @param stored: whether it is the store that has too much; else it is memory, and of a queue that a store keeps,
            only messages of QoS 0 go.

        @return: how many bytes there are fewer, in memory or in the store.
        """
        queue = self.queue
        if queue is None or self.shut:
            return 0
        freed = 0
        while freed < amount and queue.length > 0:
            before = queue.size
            skipped = queue.skipped
            lost = queue.takeOldest() if stored or queue.capacity == 0 else queue.takeQoS0()
            if lost is None and queue.skipped == skipped:
                break
            freed += max(1, before - queue.size)
            if lost is not None:
                self._lose(lost)
                continue
            self._noteLoss(1)
            if queue.skipped >= _DROPPED and not queue.loading:
                self._page(queue)
        if queue.skipped and not queue.loading:
            self._page(queue)
        self._weigh(queue)
        return freed

    def shedQoS0(self) -> None:
        """
        Drop what waits at QoS 0, because memory is scarce.
        """
        queue = self.queue
        if queue is None or self.shut:
            return
        lost = queue.takeQoS0()
        while lost is not None:
            self._drop(lost.message, "memory")
            lost = queue.takeQoS0()

    def forgotten(self, stored: bool) -> None:
        """
        C{QueueBudget} does not have the queue any more, until it grows.
        """
        queue = self.queue
        if queue is None:
            return
        if stored:
            queue.storedLevel = 0
        else:
            queue.level = 0

    def letGo(self) -> None:
        """
        It has ended: what waits in memory is let go. What the store has of it may still go to others.
        """
        queue = self.queue
        if queue is None:
            return
        budget = self.switches.queues
        budget.inMemory.forget(self, queue.level)
        budget.inStore.forget(self, queue.storedLevel)
        queue.level = queue.storedLevel = 0
        queue.release()

    def detach(self, now: float) -> None:
        """
        The client is gone.
        """
        self.connection = None
        self.inflight.resend = None
        self._bound()
        self.putAside()
        self.expiresAt = 0.0 if self.expiryInterval == NEVER else now + self.expiryInterval
        queue = self.queue
        if queue is not None and queue.qos0 and not self.limits.storeQoS0:
            for entry in queue.dropQoS0():
                self._drop(entry.message, "qos0_msg")

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
        self._backlog = None

    # Inside

    def _received(self, packetID: int, now: float) -> None:
        self.restoreReceived(packetID, now)
        journal = self.journal
        if journal is not None:
            journal.received(self, packetID, now)

    def _fill(self, connection: Connection, now: float) -> None:
        # Retransmissions first; then retained messages, which are older than what has come since; then what waits.
        inflight = self.inflight
        left = _AT_ONCE
        while connection.room > 0 and self._held is None:
            if left == 0:
                self._rest()
                break
            left -= 1
            if inflight.resend is not None:
                again = inflight.nextToResend(self.window)
                if again is None:
                    break
                self._sendAgain(again, connection, now)
                continue
            queue = self.queue
            backlog = self._backlog
            if backlog is not None:
                if len(inflight.entries) >= self.window or backlog.isReading:
                    break
                taken = backlog.take(self.limits.upgradeQoS)
                if backlog.isEmpty:
                    self._backlog = None
                if taken is None:
                    continue
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

    def _settled(self, entry: Entry) -> None:
        """
        The client is done with a message that was in flight.
        """
        self.inflight.remove(entry)
        journal = self.journal
        if journal is not None:
            journal.settled(self, entry)

    def _seen(self, message: Message) -> Message | None:
        """
        A message as the client sees it; L{None} where it can't, which is counted.
        """
        if not self.mountpoint:
            return message
        seen = message.withoutPrefix(self.mountpoint)
        if seen is None:
            self._drop(message, "unsendable")
        return seen

    def _enqueue(self, entry: Entry) -> None:
        if self.shut:
            return
        queue = self.queue
        if queue is None:
            queue = self._makeQueue()
        budget = queue.budget
        journal = self.journal
        kept = True
        if journal is not None and entry.qos:
            journal.queued(self, entry)
            skipped = queue.skipped
            if queue.spills or (queue.capacity and budget.limit and budget.bytes > budget.limit):
                lost = queue.spill(entry)
            else:
                lost = queue.push(entry)
            if lost is None:
                lost = queue.takeTooMuch()
            if queue.skipped > skipped:
                self._noteLoss(queue.skipped - skipped)
                if queue.skipped >= _DROPPED and not queue.loading:
                    self._page(queue)
        elif budget.scarce and entry.qos == 0:
            self._drop(entry.message, "memory")
            return
        else:
            lost = queue.push(entry)
            if lost is None:
                lost = queue.takeTooMuch()
        while lost is not None:
            if lost is entry:
                kept = False
            self._lose(lost)
            lost = queue.takeTooMuch()
        if (
            queue.memory > queue.levelTop
            or queue.stored > queue.storedTop
            or (budget.limit and budget.bytes > budget.limit)
        ):
            self._weigh(queue)
            budget.makeRoom()
        if self.connection is not None:
            self.refill(self.switches.now)
        elif self.switches.queued and kept:
            self.events.queued(self, entry.message)

    def _lose(self, entry: Entry) -> None:
        """
        Drop an entry for which there is no room.
        """
        self._noteLoss(1)
        self._forgo(entry)

    def _forgo(self, entry: Entry) -> None:
        self._discard(entry)
        self._drop(entry.message, "queue_full")

    def _noteLoss(self, count: int) -> None:
        self.lost += count
        if not self.losing:
            self.losing = True
            self.switches.queues.losing.append(self)

    def _weigh(self, queue: MessageQueue) -> None:
        """
        Tell all queues' budget how large this one is.
        """
        budget = queue.budget
        queue.level = budget.inMemory.move(self, queue.level, queue.memory)
        queue.levelTop = topOf(queue.level)
        queue.storedLevel = budget.inStore.move(self, queue.storedLevel, queue.size if self.journal is not None else 0)
        queue.storedTop = topOf(queue.storedLevel)

    def _bound(self) -> None:
        queue = self.queue
        if queue is not None:
            queue.bound(self.limits, self.journal is not None, self.connection is not None)

    def _makeQueue(self) -> MessageQueue:
        queue = self.queue = MessageQueue(self.limits, self.switches.queues)
        self._bound()
        if self.journal is not None and not self.limits.priorities:
            queue.capacity = IN_MEMORY
        return queue

    def _page(self, queue: MessageQueue) -> None:
        journal = self.journal
        if journal is not None:
            queue.ask()
            journal.page(self, queue.last)

    def _requeue(self, entry: Entry) -> None:
        queue = self.queue
        if queue is None:
            queue = self._makeQueue()
        queue.putBack(entry)

    def _isReading(self) -> bool:
        """
        Whether nothing goes out before retained messages have been found or read from disk, or before a later turn.
        """
        backlog = self._backlog
        return self._resting or (backlog is not None and backlog.isReading)

    def _rest(self) -> None:
        """
        Let others have their turns.
        """
        if not self._resting:
            self._resting = True
            self.events.goOnLater(self)

    def goOn(self) -> bool:
        """
        See L{Work<twisted_mqtt.core.events.Work>}.
        """
        self._resting = False
        if not self.shut:
            if self.connection is not None:
                self.refill(self.switches.now)
            elif not self._filling:
                self.putAside()
        return False

    def _arrived(self, backlog: Backlog) -> None:
        """
        Retained messages have been read from disk.
        """
        if self._backlog is not backlog or self.shut:
            return
        if backlog.isEmpty:
            self._backlog = None
        if self.connection is not None:
            self.refill(self.switches.now)
        elif not self._filling:
            self.putAside()

    def putAside(self) -> None:
        """
        The client is gone: what of the retained messages is to wait for it waits in the queue.
        """
        filling = self._filling
        self._filling = True
        most = mostOf(self.limits, self.journal is not None, False)
        left = _AT_ONCE
        try:
            while True:
                backlog = self._backlog
                if backlog is None or backlog.isReading:
                    break
                if left == 0:
                    self._rest()
                    break
                left -= 1
                if not self.expiryInterval or (most and self.queueLength >= most):
                    self._backlog = None
                    break
                entry = backlog.takeLasting(self.limits.upgradeQoS)
                if backlog.isEmpty:
                    self._backlog = None
                if entry is not None:
                    self._enqueue(entry)
        finally:
            self._filling = filling

    def _pass(self, entry: Entry, connection: Connection, now: float) -> None:
        """
        Send an entry that has waited, unless it is too old or a hook is against it.
        """
        expiresAt = entry.message.expiresAt
        if expiresAt != 0.0 and expiresAt <= now:  # [MQTT-3.3.2-5]
            self.counters.messages_dropped_expired += 1
            self._discard(entry)
            self._drop(entry.message, "expired")
            return
        if self.switches.delivered:
            verdict = self.events.delivering(self, entry)
            if verdict == WAIT:
                self._held = entry
                return
            if verdict == DISCARD:
                self._refused(entry)
                return
        self._send(entry, connection, now)

    def _discard(self, entry: Entry) -> None:
        journal = self.journal
        if journal is not None and entry.qos:
            journal.settled(self, entry)

    def _refused(self, entry: Entry) -> None:
        """
        A deliver hook is against a message.
        """
        self._discard(entry)
        self._drop(entry.message, "hook")

    def _send(self, entry: Entry, connection: Connection, now: float) -> None:
        qos = entry.qos
        message = entry.message
        if self.mountpoint:
            seen = self._seen(message)
            if seen is None:
                self._discard(entry)
                return
            message = seen
        self.deliveries += 1
        if qos == 0:
            connection.sendEncoded(message, 0, 0, entry.retain, False, entry.identifiers, now)
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

    def _sendAgain(self, entry: Entry, connection: Connection, now: float) -> None:
        if entry.released:
            connection.reply(PUBREL, entry.packetID, 0)
            return
        message = self._seen(entry.message)
        if message is None or not connection.sendEncoded(
            message, entry.qos, entry.packetID, entry.retain, True, entry.identifiers, now
        ):
            self.inflight.remove(entry)
            self._discard(entry)

    def _drop(self, message: Message, reason: str) -> None:
        counters = self.counters
        counters.delivery_dropped += 1
        self.dropped += 1
        if reason == "no_local":
            counters.delivery_dropped_no_local += 1
        elif reason == "qos0_msg":
            counters.delivery_dropped_qos0_msg += 1
        elif reason == "queue_full":
            counters.delivery_dropped_queue_full += 1
        elif reason == "too_large":
            counters.delivery_dropped_too_large += 1
        elif reason == "expired":
            counters.delivery_dropped_expired += 1
        elif reason == "memory":
            counters.delivery_dropped_memory += 1
        elif reason == "unsendable":
            counters.delivery_dropped_unsendable += 1
        if reason != "no_local":
            counters.messages_dropped += 1
        if self.switches.dropped:
            self.events.dropped(self, message, reason)
