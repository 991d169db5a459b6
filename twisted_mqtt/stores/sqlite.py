"""
The durable store: everything acknowledged is on disk.

A L{Ledger} collects changes while the writer is busy with the batch before; as soon as the writer is free, they are the
next batch, one transaction. So nothing waits for a timer, and a busier broker has larger batches.
"""

from __future__ import annotations

import sqlite3
from time import perf_counter
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mqtt.base.dates import Dates
from twisted_mqtt.core.journal import Progress
from twisted_mqtt.core.paging import takePage
from twisted_mqtt.core.topics import scoped
from twisted_mqtt.interfaces import IStore
from twisted_mqtt.stores.database import Database
from twisted_mqtt.stores.ledger import ENOUGH, FULL, LEISURELY, Ledger
from twisted_mqtt.stores.loading import Contents, readContents, restore
from twisted_mqtt.stores.rows import entriesOf, inMoments, messageOf
from twisted_mqtt.stores.schemas import REPAIR, StoreError
from twisted_mqtt.stores.tables import Table, Tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.session import Session
    from twisted_mqtt.core.subscription import Subscription
    from twisted_mqtt.interfaces import IStoreOwner
    from twisted_mqtt.stores.batch import Batch
    from twisted_mqtt.stores.page import Page
    from twisted_mqtt.stores.worker import Worker

_log = Logger()

#: For how many seconds what nobody waits for may wait for company.
LEISURE: Final = 0.05
#: After how many seconds a batch that could not be written is tried again.
RETRY: Final = 1.0
#: So many bytes may gather beside the batch that is being written; then who publishes with QoS 1 and 2 has to wait.
MOST_WAITING: Final = 32 << 20
#: For how many seconds a store that is full waits before it looks again whether there is room.
LOOK: Final = 2.0
# So many bytes may always gather; on a nearly full disk, at most this part of its room.
_LEAST_WAITING: Final = 16 << 10
_OF_ROOM: Final = 4


@implementer(IStore)
class SQLiteStore:
    """
    Keeps everything in one SQLite file.

    @ivar size: how many bytes of the file are in use, as it was last measured.
    @ivar journal: what sessions tell of their messages.
    """

    durable = True

    def __init__(
        self,
        path: Path,
        clock: IReactorTime,
        worker: Worker,
        commit: str = "always",
        interval: float = 1.0,
        retained: str = "disc",
        mostWaiting: int = MOST_WAITING,
        dates: Dates | None = None,
        reserve: int = 0,
    ) -> None:
        """
        @param commit: C{always}, C{interval} or C{never}, see the configuration.
        @param retained: where retained messages are: C{ram}, C{disc} for here too, or C{disc_only}.
        @param mostWaiting: how many bytes may gather before publishers have to wait.
        @param dates: those of C{clock} unless they are given: the file has dates, the broker moments.
        @param reserve: how many bytes of the disk are kept for what frees room, see
            L{twisted_mqtt.stores.reserve}.
        """
        self.progress = Progress()
        self.journal = Ledger(self.progress, commit == "always", self._wake, self._page, mostWaiting)
        self._tables = Tables(self.journal.saveRecord)
        self._database = Database(path, reserve)
        self._mostWaiting = mostWaiting
        self._clock = clock
        self._dates = Dates(clock.seconds) if dates is None else dates
        self._worker = worker
        self._commit = commit
        self._delay = interval if commit == "interval" else 0.0
        self._keepsRetained = retained != "ram"
        self.journal.alone = retained == "disc_only"
        self._owner: IStoreOwner
        # The batch that is being written, or is to be tried again.
        self._writing: Batch | None = None
        self._call: IDelayedCall | None = None
        # Whether the disk was full when it was looked at last, and the call that looks again.
        self._isFull = False
        self._look: IDelayedCall | None = None
        # Whether a batch is handed over because one has been written: a worker that does its jobs at once must not make
        # that a recursion.
        self._nested = False
        # Asked for since the last batch was closed; and those to be read when that batch is written.
        self._pages: list[tuple[Session, int]] = []
        self._pagesNext: list[tuple[Session, int]] = []
        # The last entry in flight of sessions whose entries have not been read yet, by what they are stored as.
        self._inflight: dict[int, int] = {}
        # Clients with a will in the store: most have none, and need no removal.
        self._wills: set[str] = set()
        self._roomier: list[Deferred[None]] = []
        self.size = 0
        self.commitTook: Callable[[float], None] | None = None
        # How long the last batch took, in seconds; set by the writer.
        self._took = 0.0
        self._isMeasuring = False
        self._closing: Deferred[None] | None = None
        self._open = False

    # Opening and closing

    def open(self, owner: IStoreOwner) -> Deferred[None]:
        """
        See L{IStore}.
        """
        self._owner = owner
        self._database.node = owner.nodeName
        opened: Deferred[Contents] = Deferred()

        def read() -> Contents:
            self._database.open("OFF" if self._commit == "never" else "FULL")
            try:
                self.size = self._database.used()
                return readContents(self._database, self.journal.alone)
            except sqlite3.DatabaseError as error:
                self._database.close()
                raise StoreError(f"the store {self._database.path} is damaged ({error}); {REPAIR}") from error

        self._worker.submit(read, opened.callback)
        return opened.addCallback(lambda contents: Deferred.fromCoroutine(self._restore(contents)))

    async def _restore(self, contents: Contents) -> None:
        owner = self._owner
        self.journal.startFrom(*contents.numbers)
        self._inflight = contents.inflight
        self._wills = {row[-3] for row in contents.wills}
        self._open = True
        if contents.node not in (None, owner.nodeName):
            _log.warn(
                "the store was written by the node {was}; it is now that of {name}",
                was=contents.node,
                name=owner.nodeName,
            )
        self._tables.fill(contents.records)
        if self.journal.alone:
            owner.retainedAreIn(self)
        await restore(contents, owner, self, self._clock, self._dates)
        self._heedRoom()
        loss = self._database.loss
        if loss:
            _log.error("the store {path} has lost content: {loss}", path=self._database.path, loss=loss)
            owner.storeLost(loss)
            # If that can't be written, it is said again at the next start.
            self._worker.submit(self._database.forgetLoss, lambda result: None)

    def close(self) -> Deferred[None]:
        """
        See L{IStore}.
        """
        closed: Deferred[None] = Deferred()
        self._closing = closed
        look, self._look = self._look, None
        if look is not None:
            look.cancel()
        if not self._open:
            self._shut()
        elif self._writing is None:
            self._cancel()
            self._handOver()
        elif self._call is not None:
            # A batch that could not be written gets a last attempt.
            self._cancel()
            self._write()
        return closed

    def _shut(self) -> None:
        closing = self._closing
        self._open = False

        def shut(_: object) -> None:
            self._worker.stop()
            if closing is not None:
                closing.callback(None)

        self._worker.submit(self._database.close, shut)

    # Calls of the broker

    def table(self, name: str, largest: int = 0) -> Table:
        """
        See L{IStore}.
        """
        return self._tables.get(name, largest)

    def saveSession(self, session: Session) -> None:
        """
        See L{IStore}.
        """
        self.journal.saveSession(session)

    def removeSession(self, session: Session) -> None:
        """
        See L{IStore}.
        """
        self.forget(session.stored)
        self.removeWill(session.key)

    def forget(self, number: int) -> None:
        """
        Remove a session and all that belongs to it, but for the will of its client.

        @param number: by which the store knows it.
        """
        self._inflight.pop(number, None)
        self.journal.removeSession(number)

    def saveSubscription(self, session: Session, subscription: Subscription) -> None:
        """
        See L{IStore}.
        """
        self.journal.saveSubscription(session, subscription)

    def removeSubscription(self, session: Session, topicFilter: str) -> None:
        """
        See L{IStore}.
        """
        self.journal.removeSubscription(session, topicFilter)

    def putRetained(self, message: Message) -> None:
        """
        See L{IStore}.
        """
        # The broker publishes its own topics again after a start.
        if self._keepsRetained and not message.system:
            self.journal.saveRetained(scoped(message.topicTree, message.topic), message)

    def removeRetained(self, topic: str) -> None:
        """
        See L{IStore}.
        """
        if self._keepsRetained:
            self.journal.saveRetained(topic, None)

    def saveWill(self, key: str, will: Message, publishAt: float, delay: float) -> None:
        """
        See L{IStore}.
        """
        self._wills.add(key)
        self.journal.saveWill(key, (will, publishAt, delay))

    def removeWill(self, key: str) -> None:
        """
        See L{IStore}.
        """
        if key in self._wills:
            self._wills.discard(key)
            self.journal.saveWill(key, None)

    def mark(self) -> None:
        """
        See L{IStore}.
        """
        if self.journal.waits:
            # It is part of a batch, which may be empty else.
            self.journal.changed(True)
        else:
            self.progress.sequence += 1
            self.progress.reached(self.progress.sequence)

    def measure(self) -> None:
        """
        See L{IStore}.
        """
        if self._open and not self._isMeasuring:
            self._isMeasuring = True
            self._worker.submit(self._database.used, self._measured)

    def _measured(self, result: int | Failure) -> None:
        self._isMeasuring = False
        # One that can't be read will say so with the next batch.
        if isinstance(result, int):
            self.size = result

    def room(self) -> Deferred[None] | None:
        """
        See L{IStore}.
        """
        if not self.progress.congested:
            return None
        waiting: Deferred[None] = Deferred()
        self._roomier.append(waiting)
        return waiting

    # Writing

    def _wake(self, urgency: int) -> None:
        """
        There is something to write: at the end of this turn at the earliest, so that a turn's changes are one batch.
        """
        if urgency == FULL:
            self.progress.congested = True
        if self._writing is not None or not self._open:
            return
        if urgency == FULL:
            delay = 0.0
        else:
            delay = self._delay or (LEISURE if urgency == LEISURELY else 0.0)
            if urgency == ENOUGH and self.journal.waits:
                # While the writer has this, what else is ready is read: else both would wait for each other in turns.
                self._owner.hurry(True)
        if self._call is None:
            self._call = self._clock.callLater(delay, self._called)
        elif delay == 0.0:
            self._call.reset(0)

    def _called(self) -> None:
        self._owner.hurry(False)
        self._call = None
        if self._writing is None:
            self._handOver()
        else:
            self._write()

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None and call.active():
            call.cancel()

    def _handOver(self) -> None:
        """
        Give the writer what there is.
        """
        self._pagesNext, self._pages = self._pages, []
        if self.journal.isEmpty:
            self._readPages()
            if self._closing is not None:
                self._shut()
            return
        self.journal.skew = self._dates.skew
        self._writing = self.journal.close()
        if self.progress.congested:
            self.progress.congested = False
            waiting, self._roomier = self._roomier, []
            for one in waiting:
                one.callback(None)
        if self._writing.isEmpty:
            # All that it was about is settled already.
            self._written(None)
        else:
            self._write()

    def _write(self) -> None:
        batch = self._writing
        if batch is not None:
            self._worker.submit(lambda: self._apply(batch), self._written)

    def _apply(self, batch: Batch) -> None:
        """
        The writer's part, in its thread.
        """
        began = perf_counter()
        self._database.apply(batch)
        self._took = perf_counter() - began
        if self.journal.waits:
            # The next batch, and the replies, need not wait until all that is ready has been read.
            self._owner.hurry(True)

    def _written(self, result: object) -> None:
        self._owner.hurry(False)
        batch = self._writing
        if isinstance(result, Failure):
            self._failed(result)
            return
        self._writing = None
        if self.commitTook is not None and self._took:
            self.commitTook(self._took)
            self._took = 0.0
        if self.progress.stuck:
            self.progress.stuck = False
            if not self._database.isFull:
                self._recovered()
            else:
                _log.warn("the store can be written again, and is full")
                self._isFull = True
                self._lookLater()
        self._heedRoom()
        if batch is not None:
            if self.journal.waits:
                self.progress.reached(batch.sequence)
            if batch.alone:
                self._owner.retainedWritten(batch.alone)
        self._readPages()
        if self._database.isUntidy:
            self._worker.submit(self._database.tidy, self._tidied)
        if self._closing is not None:
            if self._commit == "always":
                self._owner.committed()
            self._handOver()
            return
        # Everything that has come meanwhile is written at once, while the replies go out.
        hurry = self._pages or self.progress.congested or not self._delay
        if hurry and not self._nested and (self._pages or not self.journal.isEmpty):
            self._cancel()
            self._nested = True
            try:
                self._handOver()
            finally:
                self._nested = False
        if self._commit == "always":
            self._owner.committed()
        if self._writing is None and self._call is None and (self._pages or not self.journal.isEmpty):
            hurry = self._pages or self.progress.congested
            self._call = self._clock.callLater(0.0 if hurry else self._delay, self._called)

    def _tidied(self, result: object) -> None:
        if isinstance(result, Failure):
            # Nothing is lost by it but room, and where it is the disk that is full, the next batch will say so.
            _log.warn("tidying the store failed: {error}", error=result.getErrorMessage())

    def _failed(self, failure: Failure) -> None:
        """
        A batch was not written. It stays, and is tried again; what it holds is not acknowledged before it is there.
        """
        if self._closing is not None:
            _log.critical(
                "the store can't be written and the broker ends: changes that were not acknowledged are lost: {error}",
                error=failure.getErrorMessage(),
            )
            self._writing = None
            self._shut()
            return
        progress = self.progress
        if not progress.stuck:
            wasFull = self._isFull
            self._isFull = False
            progress.setFailed(True)
            progress.stuck = True
            text = f"the store can't be written: {failure.getErrorMessage()}"
            _log.critical("{text}; messages of QoS 1 and 2 are refused until it can", text=text)
            if not wasFull:
                self._owner.storeFailed(text)
            # Some of the reads that wait for this batch do not need it.
            pages, self._pages, self._pagesNext = [*self._pagesNext, *self._pages], [], []
            for session, after in pages:
                self._readPage(session, after, True)
        self._call = self._clock.callLater(RETRY, self._called)

    def _heedRoom(self) -> None:
        """
        The disk may have become full, or have room again.
        """
        database = self._database
        room = database.room
        self.journal.limit = (
            self._mostWaiting if room is None else min(self._mostWaiting, max(_LEAST_WAITING, room // _OF_ROOM))
        )
        if database.isFull == self._isFull or self.progress.stuck:
            return
        self._isFull = database.isFull
        if not self._isFull:
            self._recovered()
            return
        self.progress.setFailed(True)
        text = "the store has no room: the disk is full"
        _log.critical("{text}; messages of QoS 1 and 2 are refused until there is some", text=text)
        self._owner.storeFailed(text)
        self._lookLater()

    def _lookLater(self) -> None:
        if self._look is None and self._closing is None:
            self._look = self._clock.callLater(LOOK, self._lookAgain)

    def _lookAgain(self) -> None:
        self._look = None
        if self._isFull:
            self._worker.submit(self._database.look, self._looked)

    def _looked(self, result: object) -> None:
        if isinstance(result, Failure):
            _log.warn("looking for room for the store failed: {error}", error=result.getErrorMessage())
        elif self._open:
            self._heedRoom()
        if self._isFull:
            self._lookLater()

    def _recovered(self) -> None:
        self.progress.setFailed(False)
        _log.info("the store can be written again")
        self._owner.storeRecovered()

    # Reading

    def readRetained(self, topics: list[str]) -> Deferred[tuple[dict[str, Message], int]]:
        """
        See L{PayloadReader<twisted_mqtt.broker.retained.PayloadReader>}.
        """
        result: Deferred[tuple[dict[str, Message], int]] = Deferred()

        def read() -> tuple[dict[str, Message], int]:
            rows, count = self._database.retained(topics)
            return {row[0]: messageOf(row) for row in rows}, count

        def inTime(found: tuple[dict[str, Message], int]) -> tuple[dict[str, Message], int]:
            if self._dates.differ:
                for message in found[0].values():
                    inMoments(message, self._dates)
            return found

        self._worker.submit(read, result.callback)
        return result.addCallback(inTime)

    def _page(self, session: Session, after: int) -> None:
        if self.progress.stuck:
            self._readPage(session, after, True)
            return
        self._pages.append((session, after))
        if self._writing is None and self._open:
            self._cancel()
            self._call = self._clock.callLater(0, self._called)

    def _readPages(self) -> None:
        """
        Read the pages that were asked for before the last batch was closed: all that was told by then is written.
        """
        pages, self._pagesNext = self._pagesNext, []
        for session, after in pages:
            self._readPage(session, after)

    def _readPage(self, session: Session, after: int, beside: bool = False) -> None:
        """
        Read a page.

        @param beside: read what is there, although a batch can't be written that may have more for the session. What
            comes first in its queue has been written before that.
        """
        database, stored = self._database, session.stored
        last = self._inflight.pop(stored, 0) if after < 0 else 0

        def read() -> Page:
            return database.page(stored, max(after, 0), last)

        def done(result: Page | Failure) -> None:
            if not isinstance(result, Failure):
                try:
                    inflight, waiting = entriesOf(result, session, self._dates)
                except ValueError:
                    result = Failure()
            if isinstance(result, Failure):
                _log.failure("Reading the queue of {client} failed", result, client=session.clientID)
                if last:
                    self._inflight[stored] = last
                # The session goes on waiting: its messages are there, and must not be overtaken.
                self._clock.callLater(RETRY, self._page, session, after)
                return
            if beside and after >= 0 and not waiting:
                # The rest is not written yet.
                self._pages.append((session, after))
                return
            takePage(session, inflight, waiting, result.complete and not beside, self._clock.seconds())

        self._worker.submit(read, done)
