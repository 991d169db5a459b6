"""
What is to be written next: every change since the last batch, each said once, however often it was made.

It is compiled like the core, for every message of QoS 1 and 2 to a persistent session passes here, and it does no I/O.
A message that was queued and settled before its batch is closed leaves no trace in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted_mqtt.core.journal import Progress
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import IN_PUBLISH, encodeProperties
from twisted_mqtt.core.queue import Entry
from twisted_mqtt.core.session import Session
from twisted_mqtt.core.subscription import Subscription

if TYPE_CHECKING:
    from collections.abc import Callable

# How far an entry has come: it is in the batch at hand; it was written, or is being written; it is done.
PENDING: Final = 1
WRITTEN: Final = 2
GONE: Final = 3

# How urgent it is to write: nobody waits for it; somebody does; too much has gathered.
LEISURELY: Final = 1
SOON: Final = 2
FULL: Final = 3

# What something weighs in memory beside its payload, roughly; the sum bounds what may wait to be written.
_MESSAGE_WEIGHT: Final = 600
_ENTRY_WEIGHT: Final = 200

# How far from the first of its batch an entry or message may be to be packed: 21 bits.
_FAR: Final = 1 << 21


class Batch:
    """
    Changes to be written together, as plain rows: what C{twisted_mqtt.stores.writing} makes one transaction of.

    @ivar sequence: of L{Progress} when it was closed.
    @ivar weight: what it takes in memory, roughly.
    @ivar blob: properties and payloads, to which rows point by offset (from 1) and length.
    """

    __slots__ = (
        "sequence", "weight", "blob", "messages", "references", "entries", "packed", "firsts", "changes", "settled",
        "ended", "sessions", "subscriptions", "received", "retained", "wills", "delayed", "bans", "_pieces", "_offset",
    )  # fmt: skip

    def __init__(self) -> None:
        self.sequence: int = 0
        self.weight: int = 0
        self.blob: bytes = b""
        self.messages: list[tuple[object, ...]] = []
        # (message, by how many fewer entries it is pointed at)
        self.references: list[tuple[int, int]] = []
        self.entries: list[tuple[object, ...]] = []
        # By session: plain entries, each one number made of how far its number and its message's are from C{firsts},
        # its packet identifier and its flags. Taken apart in SQL, that is four times faster than a row of five.
        self.packed: dict[int, list[int]] = {}
        self.firsts: tuple[int, int] = (0, 0)
        # (session, entry, packet identifier, whether it was released)
        self.changes: list[tuple[int, int, int, int]] = []
        self.settled: list[tuple[int, int]] = []
        self.ended: list[int] = []
        self.sessions: list[tuple[object, ...]] = []
        # With nothing but the key: it is gone; so below.
        self.subscriptions: list[tuple[object, ...]] = []
        self.received: list[tuple[object, ...]] = []
        self.retained: list[tuple[object, ...]] = []
        self.wills: list[tuple[object, ...]] = []
        self.delayed: list[tuple[object, ...]] = []
        self.bans: list[tuple[object, ...]] = []
        self._pieces: list[bytes] = []
        self._offset: int = 1

    def columnsOf(self, message: Message) -> tuple[object, ...]:
        """
        The columns of a message, its properties and payload laid into C{blob}.
        """
        properties = message.properties
        encoded = b"" if properties is None else encodeProperties(properties, IN_PUBLISH)
        payload = message.payload
        first = self._offset
        second = first + len(encoded)
        self._offset = second + len(payload)
        if encoded:
            self._pieces.append(encoded)
        if payload:
            self._pieces.append(payload)
        return (
            message.topic,
            message.qos | (4 if message.retain else 0) | (8 if message.system else 0),
            message.timestamp,
            message.expiresAt,
            message.clientID,
            message.username,
            message.peerHost,
            message.protocol,
            first,
            len(encoded),
            second,
            len(payload),
        )

    def finish(self) -> None:
        """
        Nothing is added any more.
        """
        self.blob = b"".join(self._pieces)
        self._pieces = []


class Ledger:
    """
    A L{Journal<twisted_mqtt.core.journal.Journal>} that collects.

    @ivar progress: its C{sequence} grows with each change that somebody waits for.
    @ivar waits: whether anybody does.
    @ivar wake: called with L{LEISURELY}, L{SOON} or L{FULL} when there is something to write; each time only if nothing
        as urgent was said since the last batch was closed.
    @ivar pager: called by L{page}.
    @ivar weight: what waits here, in bytes, roughly.
    @ivar limit: from which weight on it is too much.
    """

    __slots__ = (
        "progress", "waits", "wake", "pager", "limit", "weight", "_awake", "_nextMessage", "_nextEntry", "_nextSession",
        "_messages", "_entries", "_changed", "_settled", "_ended", "_sessions", "_subscriptions", "_received",
        "_retained", "_wills", "_delayed", "_bans", "_firstMessage",
    )  # fmt: skip

    def __init__(
        self,
        progress: Progress,
        waits: bool,
        wake: Callable[[int], None],
        pager: Callable[[Session, int], None],
        limit: int,
    ) -> None:
        self.progress: Progress = progress
        self.waits: bool = waits
        self.wake: Callable[[int], None] = wake
        self.pager: Callable[[Session, int], None] = pager
        self.limit: int = limit
        self.weight: int = 0
        # What was said last; 0 while there is nothing to write.
        self._awake: int = 0
        self._nextMessage: int = 1
        self._firstMessage: int = 1
        self._nextEntry: int = 1
        self._nextSession: int = 1
        self._messages: list[Message] = []
        self._entries: list[Entry] = []
        self._changed: list[Entry] = []
        self._settled: list[tuple[int, int]] = []
        self._ended: list[int] = []
        self._sessions: dict[int, Session] = {}
        self._subscriptions: dict[tuple[int, str], Subscription | None] = {}
        self._received: dict[tuple[int, int], float] = {}
        self._retained: dict[str, Message | None] = {}
        self._wills: dict[str, tuple[Message, float, float] | None] = {}
        self._delayed: dict[int, tuple[Message, float] | None] = {}
        self._bans: dict[tuple[str, str], tuple[object, ...] | None] = {}

    def startFrom(self, message: int, entry: int, session: int) -> None:
        """
        Number what is new from here.
        """
        self._nextMessage = self._firstMessage = message
        self._nextEntry = entry
        self._nextSession = session

    # What the core tells

    def queued(self, session: Session, entry: Entry) -> None:
        """
        See L{Journal<twisted_mqtt.core.journal.Journal>}.
        """
        message = entry.message
        if message.stored == 0:
            message.stored = self._nextMessage
            self._nextMessage += 1
        if not message.listed:
            message.listed = True
            self._messages.append(message)
            self.weight += _MESSAGE_WEIGHT + len(message.payload)
        message.delta += 1
        entry.source = message
        entry.number = self._nextEntry
        self._nextEntry += 1
        entry.owner = session.stored
        entry.state = PENDING
        self._entries.append(entry)
        self.weight += _ENTRY_WEIGHT
        self.changed(True)

    def sent(self, session: Session, entry: Entry) -> None:
        """
        See L{Journal<twisted_mqtt.core.journal.Journal>}.
        """
        if entry.state == WRITTEN:
            if not entry.listed:
                entry.listed = True
                self._changed.append(entry)
            # After a crash a message of QoS 1 may go out again under another identifier: nobody waits for that.
            self.changed(entry.qos == 2)

    def released(self, session: Session, entry: Entry) -> None:
        """
        See L{Journal<twisted_mqtt.core.journal.Journal>}.
        """
        if entry.state == WRITTEN and not entry.listed:
            entry.listed = True
            self._changed.append(entry)
        self.changed(True)

    def settled(self, session: Session, entry: Entry) -> None:
        """
        See L{Journal<twisted_mqtt.core.journal.Journal>}.
        """
        state = entry.state
        message = entry.source
        if message is None or state == GONE:
            return
        entry.state = GONE
        entry.source = None
        message.delta -= 1
        if not message.listed:
            message.listed = True
            self._messages.append(message)
        if state == WRITTEN:
            self._settled.append((entry.owner, entry.number))
            # Nobody waits for it: lost, it means one more delivery after a crash, which its QoS allows for.
            self.changed(False)

    def received(self, session: Session, packetID: int, now: float) -> None:
        """
        See L{Journal<twisted_mqtt.core.journal.Journal>}.
        """
        self._received[session.stored, packetID] = now
        self.changed(True)

    def completed(self, session: Session, packetID: int) -> None:
        """
        See L{Journal<twisted_mqtt.core.journal.Journal>}.
        """
        self._received[session.stored, packetID] = -1.0
        self.changed(True)

    def page(self, session: Session, after: int) -> None:
        """
        See L{Journal<twisted_mqtt.core.journal.Journal>}.
        """
        self.pager(session, after)

    # What the broker tells

    def saveSession(self, session: Session) -> None:
        """
        See L{IStore<twisted_mqtt.interfaces.IStore>}.
        """
        if session.stored == 0:
            session.stored = self._nextSession
            self._nextSession += 1
        self._sessions[session.stored] = session
        self.changed(True)

    def removeSession(self, session: Session) -> None:
        """
        See L{IStore<twisted_mqtt.interfaces.IStore>}.
        """
        self._sessions.pop(session.stored, None)
        self._ended.append(session.stored)
        self.changed(True)

    def saveSubscription(self, session: Session, subscription: Subscription) -> None:
        """
        See L{IStore<twisted_mqtt.interfaces.IStore>}.
        """
        self._subscriptions[session.stored, subscription.topicFilter] = subscription
        self.changed(True)

    def removeSubscription(self, session: Session, topicFilter: str) -> None:
        """
        See L{IStore<twisted_mqtt.interfaces.IStore>}.
        """
        self._subscriptions[session.stored, topicFilter] = None
        self.changed(True)

    def saveRetained(self, topic: str, message: Message | None) -> None:
        """
        A topic has a retained message, or none any more.
        """
        if message is not None:
            self.weight += _MESSAGE_WEIGHT + len(message.payload)
        self._retained[topic] = message
        self.changed(True)

    def saveWill(self, clientID: str, will: tuple[Message, float, float] | None) -> None:
        """
        A client has a will, or none any more.

        @param will: the message; when it is due, or 0; for how long it waits.
        """
        self._wills[clientID] = will
        self.changed(True)

    def saveDelayed(self, number: int, delayed: tuple[Message, float] | None) -> None:
        """
        A message waits for its time, or no longer.

        @param delayed: the message and when it is due.
        """
        if delayed is not None:
            self.weight += _MESSAGE_WEIGHT + len(delayed[0].payload)
        self._delayed[number] = delayed
        self.changed(True)

    def saveBan(self, kind: str, who: str, ban: tuple[object, ...] | None) -> None:
        """
        Somebody is banned, or no longer.
        """
        self._bans[kind, who] = ban
        self.changed(True)

    def changed(self, urgent: bool) -> None:
        """
        There is something to write.
        """
        if urgent:
            if self.waits:
                self.progress.sequence += 1
            if self._awake < SOON:
                self._awake = SOON
                self.wake(SOON)
            if self.weight > self.limit and self._awake < FULL:
                self._awake = FULL
                self.wake(FULL)
        elif self._awake == 0:
            self._awake = LEISURELY
            self.wake(LEISURELY)

    # The batch

    @property
    def isEmpty(self) -> bool:
        """
        Whether there is nothing to write.
        """
        return self._awake == 0

    def close(self) -> Batch:
        """
        Close the batch at hand; the next begins.
        """
        batch = Batch()
        batch.sequence = self.progress.sequence
        batch.weight = self.weight
        self.weight = 0
        self._awake = 0
        self._closeMessages(batch)
        self._closeEntries(batch)
        self._closeSessions(batch)
        for (session, packetID), since in self._received.items():
            batch.received.append((session, packetID, since) if since >= 0.0 else (session, packetID))
        for topic, message in self._retained.items():
            batch.retained.append((topic,) if message is None else (topic, *batch.columnsOf(message)))
        for clientID, will in self._wills.items():
            batch.wills.append(
                (clientID,) if will is None else (clientID, *batch.columnsOf(will[0]), will[1], will[2])
            )
        for number, delayed in self._delayed.items():
            batch.delayed.append((number,) if delayed is None else (number, *batch.columnsOf(delayed[0]), delayed[1]))
        for key, ban in self._bans.items():
            batch.bans.append(key if ban is None else key + ban)
        self._received = {}
        self._retained = {}
        self._wills = {}
        self._delayed = {}
        self._bans = {}
        batch.finish()
        return batch

    def _closeMessages(self, batch: Batch) -> None:
        for message in self._messages:
            delta = message.delta
            message.delta = 0
            message.listed = False
            if delta > 0:
                # Written in full even where it was written before: it may have been removed since.
                batch.messages.append((message.stored, delta, *batch.columnsOf(message)))
                message.kept = True
            elif delta < 0 and message.kept:
                batch.references.append((message.stored, -delta))
        self._messages = []

    def _closeEntries(self, batch: Batch) -> None:
        firstEntry = self._entries[0].number if self._entries else 0
        firstMessage = self._firstMessage
        self._firstMessage = self._nextMessage
        batch.firsts = (firstEntry, firstMessage)
        packed = batch.packed
        for entry in self._entries:
            if entry.state != PENDING:
                continue
            entry.state = WRITTEN
            message = entry.source
            if message is None:
                continue
            flags = entry.qos | (4 if entry.retain else 0) | (8 if entry.released else 0)
            share = entry.share
            number, stored = entry.number - firstEntry, message.stored - firstMessage
            if entry.identifiers is None and share is None and 0 <= stored < _FAR and number < _FAR:
                mine = packed.get(entry.owner)
                if mine is None:
                    mine = packed[entry.owner] = []
                mine.append(number << 41 | stored << 20 | entry.packetID << 4 | flags)
                continue
            row: tuple[object, ...] = (entry.owner, entry.number, message.stored, flags, entry.packetID)
            if entry.identifiers is not None or share is not None:
                identifiers = "" if entry.identifiers is None else " ".join([str(item) for item in entry.identifiers])
                row = (*row, identifiers, None if share is None else share.name + "/" + share.matching)
            batch.entries.append(row)
        self._entries = []
        for entry in self._changed:
            entry.listed = False
            if entry.state == WRITTEN:
                batch.changes.append((entry.owner, entry.number, entry.packetID, 8 if entry.released else 0))
        self._changed = []
        batch.settled = self._settled
        self._settled = []

    def _closeSessions(self, batch: Batch) -> None:
        batch.ended = self._ended
        self._ended = []
        for session in self._sessions.values():
            batch.sessions.append(
                (
                    session.stored,
                    session.clientID,
                    session.username,
                    session.mountpoint,
                    session.expiryInterval,
                    session.expiresAt,
                    session.createdAt,
                    session.zone,
                )
            )
        self._sessions = {}
        for (number, topicFilter), subscription in self._subscriptions.items():
            if subscription is None:
                batch.subscriptions.append((number, topicFilter))
                continue
            flags = (
                subscription.qos
                | (4 if subscription.noLocal else 0)
                | (8 if subscription.retainAsPublished else 0)
                | subscription.retainHandling << 4
            )
            found = subscription.identifiers
            identifiers = "" if found is None else " ".join([str(item) for item in found])
            batch.subscriptions.append((number, topicFilter, flags, identifiers))
        self._subscriptions = {}
