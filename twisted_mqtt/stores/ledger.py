"""
The changes to be written next: every change since the last batch, each of them once, however often it was made.

It is compiled like the core, because every message of QoS 1 and 2 to a persistent session goes through it. It does no
I/O. A message that was queued and settled before its batch is closed leaves no trace in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from twisted_mqtt.core.entry import Entry, Run
from twisted_mqtt.core.journal import Progress
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.session import Session
from twisted_mqtt.core.subscription import SharedGroup, Subscription
from twisted_mqtt.stores.batch import Batch
from twisted_mqtt.stores.packing import FAR, Packer, columnOf, recordOf

if TYPE_CHECKING:
    from collections.abc import Callable

# How far an entry has come: it is in the batch at hand; it was written, or is being written; it is done.
PENDING: Final = 1
WRITTEN: Final = 2
GONE: Final = 3

# How urgent it is to write: nobody waits for it; somebody does; it is worth a batch; too much has gathered.
LEISURELY: Final = 1
SOON: Final = 2
ENOUGH: Final = 3
FULL: Final = 4

# So many bytes, as L{Ledger.weight} counts them, are worth a batch of their own: some 150 messages.
_ENOUGH: Final = 128 << 10

# The rough weight of a message and an entry in memory, besides the payload. The sum bounds how much may wait.
_MESSAGE_WEIGHT: Final = 600
_ENTRY_WEIGHT: Final = 200

#: How many entries a run has at most, and after how many bytes it ends; so a page of a queue is some runs, and a run
#: that was partly read is not read again and again.
RUN_ENTRIES: Final = 512
RUN_BYTES: Final = 1 << 18
# So with parcels: the smaller, the less is read for one message of them.
_PARCEL_MESSAGES: Final = 512
_PARCEL_BYTES: Final = 1 << 18
# The weight of a table's record, besides its payload.
_RECORD_WEIGHT: Final = 40


class _Draft:
    """
    A run that is being made.
    """

    __slots__ = ("run", "last", "records", "flying", "shared", "size", "extras", "packer")

    def __init__(self, run: Run) -> None:
        self.run: Run = run
        self.last: int = run.first
        self.records: list[int] = []
        self.flying: int = 0
        self.shared: int = 0
        self.size: int = 0
        # (position, subscription identifiers, share)
        self.extras: list[tuple[int, str | None, str | None]] | None = None
        self.packer: Packer | None = None


class _Parcel:
    """
    A parcel that is being made.
    """

    __slots__ = ("number", "wanted", "packer")

    def __init__(self, number: int, skew: float) -> None:
        self.number: int = number
        self.wanted: int = 0
        self.packer: Packer = Packer(skew)


class Ledger:
    """
    A L{Journal<twisted_mqtt.core.journal.Journal>} that collects.

    @ivar progress: its C{sequence} grows with each change that somebody waits for.
    @ivar waits: whether anybody does.
    @ivar wake: called with L{LEISURELY}, L{SOON}, L{ENOUGH} or L{FULL} when there is something to write; each time only
        if nothing as urgent was said since the last batch was closed.
    @ivar pager: called by L{page}.
    @ivar weight: what waits here, in bytes, roughly.
    @ivar limit: from which weight on it is too much.
    @ivar alone: whether retained messages are to be nowhere else.
    @ivar skew: what is added to a moment to make it a date (L{twisted_mqtt.base.dates}).
    """

    __slots__ = (
        "progress",
        "waits",
        "wake",
        "pager",
        "limit",
        "weight",
        "alone",
        "skew",
        "_awake",
        "_batch",
        "_nextParcel",
        "_nextRun",
        "_nextEntry",
        "_nextSession",
        "_entries",
        "_changed",
        "_touched",
        "_landed",
        "_ended",
        "_sessions",
        "_subscriptions",
        "_received",
        "_retained",
        "_wills",
        "_records",
    )

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
        self.alone: bool = False
        self.skew: float = 0.0
        # The urgency that the worker was told last; 0 while there is nothing to write.
        self._awake: int = 0
        # Counts the batches of this process, so that a message knows whether it is in the one at hand.
        self._batch: int = 1
        self._nextParcel: int = 1
        self._nextRun: int = 1
        self._nextEntry: int = 1
        self._nextSession: int = 1
        self._entries: list[Entry] = []
        self._changed: list[Entry] = []
        self._touched: list[Run] = []
        self._landed: list[tuple[int, int]] = []
        self._ended: list[int] = []
        self._sessions: dict[int, Session] = {}
        self._subscriptions: dict[tuple[int, str], Subscription | None] = {}
        self._received: dict[tuple[int, int], float] = {}
        self._retained: dict[str, Message | None] = {}
        self._wills: dict[str, tuple[Message, float, float] | None] = {}
        self._records: dict[tuple[str, str], bytes | None] = {}

    def startFrom(self, parcel: int, run: int, entry: int, session: int) -> None:
        """
        Number what is new from here.
        """
        self._nextParcel = parcel
        self._nextRun = run
        self._nextEntry = entry
        self._nextSession = session

    # Events of the core

    def queued(self, session: Session, entry: Entry) -> None:
        """
        See L{Journal<twisted_mqtt.core.journal.Journal>}.
        """
        message = entry.message
        if message.batch == self._batch:
            message.wanted += 1
        else:
            message.batch = self._batch
            message.wanted = 1
            message.parcel = 0
            self.weight += _MESSAGE_WEIGHT + len(message.payload)
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
        entry.state = GONE
        if state == PENDING:
            message = entry.source
            entry.source = None
            if message is not None:
                message.wanted -= 1
        elif state == WRITTEN:
            run = entry.run
            entry.run = None
            if run is None:
                return
            if not run.settled:
                self._touched.append(run)
            run.settled.append(entry.number - run.first)
            run.left -= 1
            if entry.shared:
                run.released += 1
            if entry.flies:
                self._landed.append((entry.owner, entry.number))
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

    # Calls of the broker

    def saveSession(self, session: Session) -> None:
        """
        See L{IStore<twisted_mqtt.interfaces.IStore>}.
        """
        if session.stored == 0:
            session.stored = self._nextSession
            self._nextSession += 1
        self._sessions[session.stored] = session
        self.changed(True)

    def removeSession(self, number: int) -> None:
        """
        A session has ended, with all that belongs to it.
        """
        self._sessions.pop(number, None)
        self._ended.append(number)
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
        # A reply waits for the session, which is told in the same turn. A clean session promises nothing.
        self.changed(False)

    def saveRecord(self, table: str, key: str, value: bytes | None) -> None:
        """
        A table has a value for a key, or none any more.
        """
        self.weight += _ENTRY_WEIGHT
        if value is not None:
            self.weight += len(key) + len(value)
        self._records[table, key] = value
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
            elif self.weight > _ENOUGH and self._awake < ENOUGH:
                self._awake = ENOUGH
                self.wake(ENOUGH)
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
        self._closeEntries(batch)
        self._closeChanges(batch)
        self._closeSessions(batch)
        for (session, packetID), since in self._received.items():
            batch.received.append((session, packetID, since + self.skew) if since >= 0.0 else (session, packetID))
        for topic, message in self._retained.items():
            if message is None:
                batch.retained.append((topic,))
                continue
            batch.retained.append((topic, *batch.columnsOf(message, self.skew)))
            if self.alone:
                batch.alone.append(message)
        for clientID, will in self._wills.items():
            if will is None:
                batch.wills.append((clientID,))
                continue
            due = will[1] + self.skew if will[1] else 0.0
            batch.wills.append((clientID, *batch.columnsOf(will[0], self.skew), due, will[2]))
        for key, value in self._records.items():
            batch.records.append(key if value is None else (key[0], key[1], value))
        self._received = {}
        self._retained = {}
        self._wills = {}
        self._records = {}
        batch.finish()
        return batch

    def _closeEntries(self, batch: Batch) -> None:
        """
        Make runs of the entries that are not settled by now, one a session or several. A message that several entries
        want is in a parcel, a message of one entry is in its run.
        """
        drafts: dict[int, _Draft] = {}
        draft: _Draft | None = None
        parcel: _Parcel | None = None
        parcels: dict[int, _Parcel] = {}
        for entry in self._entries:
            message = entry.source
            if entry.state != PENDING or message is None:
                continue
            entry.state = WRITTEN
            entry.source = None
            owner, number = entry.owner, entry.number
            if draft is None or draft.run.owner != owner:
                draft = drafts.get(owner)
            shared = message.wanted > 1
            if shared and message.parcel == 0:
                if parcel is None or parcel.packer.size >= _PARCEL_BYTES or parcel.packer.count >= _PARCEL_MESSAGES:
                    parcel = _Parcel(self._nextParcel, self.skew)
                    parcels[parcel.number] = parcel
                    self._nextParcel += 1
                message.parcel = parcel.number
                message.place = parcel.packer.add(message)
            if draft is not None and (
                len(draft.records) >= RUN_ENTRIES
                or draft.size >= RUN_BYTES
                or number - draft.run.first >= FAR
                or (shared and draft.run.parcel != message.parcel and draft.shared > 0)
            ):
                _finish(batch, draft)
                draft = None
            if draft is None:
                draft = drafts[owner] = _Draft(Run(self._nextRun, owner, number, 0, 0))
                self._nextRun += 1
            run = draft.run
            entry.run = run
            draft.last = number
            draft.size += len(message.payload) + _RECORD_WEIGHT
            flags = entry.qos | (4 if entry.retain else 0) | (8 if entry.released else 0)
            packetID = entry.packetID
            if packetID:
                draft.flying += 1
            share = entry.share
            if entry.identifiers is not None or share is not None:
                if draft.extras is None:
                    draft.extras = []
                draft.extras.append((len(draft.records), textOf(entry.identifiers), _nameOf(share)))
            place = -1
            if shared:
                entry.shared = True
                run.parcel = message.parcel
                draft.shared += 1
                parcels[message.parcel].wanted += 1
                place = message.place
            else:
                packer = draft.packer
                if packer is None:
                    packer = draft.packer = Packer(self.skew)
                packer.add(message)
            draft.records.append(recordOf(number - run.first, packetID, flags, place))
        self._entries = []
        self._batch += 1
        for draft in drafts.values():
            _finish(batch, draft)
        for made in parcels.values():
            batch.parcels.append((made.number, made.packer.count, made.wanted, made.packer.pack()))

    def _closeChanges(self, batch: Batch) -> None:
        for entry in self._changed:
            entry.listed = False
            if entry.state == WRITTEN:
                entry.flies = True
                batch.flights.append((entry.owner, entry.number, entry.packetID, 8 if entry.released else 0))
        self._changed = []
        for run in self._touched:
            if run.released:
                batch.released[run.parcel] = batch.released.get(run.parcel, 0) + run.released
            if run.left == 0:
                batch.spent.append(run.number)
            else:
                batch.partly.append((run.number, len(run.settled), run.released, columnOf("I", run.settled)))
            run.settled = []
            run.released = 0
        self._touched = []
        batch.landed = self._landed
        self._landed = []

    def _closeSessions(self, batch: Batch) -> None:
        batch.ended = self._ended
        self._ended = []
        for session in self._sessions.values():
            batch.sessions.append(
                (
                    session.stored,
                    session.key,
                    session.username,
                    session.mountpoint,
                    session.expiryInterval,
                    session.expiresAt + self.skew if session.expiresAt else 0.0,
                    session.createdAt + self.skew,
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
            batch.subscriptions.append((number, topicFilter, flags, textOf(subscription.identifiers) or ""))
        self._subscriptions = {}


def _finish(batch: Batch, draft: _Draft) -> None:
    """
    A run has all its entries.
    """
    run = draft.run
    total = len(draft.records)
    run.left = total
    packer = draft.packer
    batch.runs.append(
        (
            run.number,
            run.owner,
            run.first,
            draft.last,
            total,
            draft.flying,
            run.parcel,
            draft.shared,
            draft.size,
            None if draft.extras is None else msgspec.json.encode(draft.extras).decode("utf-8"),
            # One alone, as of a message that goes to thousands, needs no column.
            draft.records[0].to_bytes(8, "little") if total == 1 else columnOf("Q", draft.records),
            b"" if packer is None else packer.pack(),
        )
    )


def textOf(identifiers: list[int] | None) -> str | None:
    """
    Subscription identifiers as they are stored.
    """
    return None if identifiers is None else " ".join([str(item) for item in identifiers])


def _nameOf(share: SharedGroup | None) -> str | None:
    return None if share is None else share.name + "/" + share.matching
