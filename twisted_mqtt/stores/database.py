"""
One SQLite file: its schema, batches written to it, pages read from it.

It knows no reactor and is used from one thread at a time. It raises L{StoreError} if a person must do something before
the store can be used, else C{sqlite3.Error}.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

import msgspec

from twisted_mqtt.stores import statements
from twisted_mqtt.stores.packing import entriesOf
from twisted_mqtt.stores.page import Page, Part
from twisted_mqtt.stores.reserve import Reserve, isFull
from twisted_mqtt.stores.schemas import REPAIR, StoreError, checkOurs, upgrade
from twisted_mqtt.stores.thinning import thin, thinOnes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from twisted_mqtt.stores.batch import Batch

#: How many entries make a page, and how many bytes; a run is not taken apart for it.
PAGE_ENTRIES: Final = 500
PAGE_BYTES: Final = 1 << 22
#: After so many bytes the retained messages are enough that are read at once: the reader holds them until its client
#: has them.
RETAINED_BYTES: Final = 1 << 16

# When the log has so many bytes, they are moved to the file: after a batch, because nobody waits for it then. Should
# that not come to be, SQLite does it when the log has so many pages of 4 KiB.
_LOG_BYTES: Final = 16 << 20
_LOG_PAGES: Final = 16_000
# So small the log may be on a small disk; it is at most half of the reserve there, whose room moves it to the file.
_LEAST_LOG: Final = 256 << 10
# The store is full where it has less room than these eighths of the reserve, and is not where it has as many as those.
_FULL_BELOW: Final = 4
_ENOUGH_FROM: Final = 5
# A batch writes about so much to the log besides its blob: a page of each table.
_BATCH_BYTES: Final = 32 << 10
# So many bytes of parcels that were read are remembered, for others will want them.
_PARCEL_BYTES: Final = 8 << 20
# From how many touched parcels and runs on they are looked at, and how many are made small in one transaction.
_TOUCHED: Final = 64
_TIDIED: Final = 16
# The statements need UPDATE FROM.
_OLDEST: Final = (3, 33, 0)

_encode: Final = msgspec.json.encode


class Database:
    """
    An open store.

    @ivar isFull: whether the disk is so full that nothing is to be added any more: what room there is serves what is
        noted of the rest, until that is gone.
    @ivar room: how many bytes may be written before it is full; L{None} while the reserve is whole.
    @ivar loss: what has become of the content that the store had, if that is lost.
    """

    def __init__(self, path: Path, reserve: int = 0) -> None:
        """
        @param reserve: how many bytes of the disk are kept for the case that it is full.
        """
        self.path = path
        self.isFull = False
        self.room: int | None = None
        self.loss = ""
        self._reserve = Reserve(path.with_name(f"{path.name}.reserve"), reserve)
        self._logBytes = _LOG_BYTES
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        # The number of the last batch, in the file too: a batch whose commit has failed may be there nevertheless.
        self._batch = 0
        self._isInDoubt = False
        self._logged = 0
        # Parcels and runs of which little may be left.
        self._touchedParcels: dict[int, None] = {}
        self._touchedRuns: dict[int, None] = {}
        self._parcels: dict[int, bytes] = {}
        self._parcelBytes = 0
        self.node = ""

    # Opening

    def open(self, synchronous: str = "FULL") -> None:
        """
        Open the file, make it if there is none, and bring it to the present schema.

        @param synchronous: SQLite's word for how much is awaited: C{FULL} or C{OFF}.

        @raise StoreError: it can't be used.
        """
        if sqlite3.sqlite_version_info < _OLDEST:
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old; {'.'.join(map(str, _OLDEST))} is needed")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._takeLock()
            try:
                self._openAnyhow(synchronous)
            except BaseException:
                self.close()
                raise
        except sqlite3.OperationalError as error:
            raise StoreError(f"the store {self.path} can't be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StoreError(f"the store {self.path} is damaged ({error}); {REPAIR}") from error
        except OSError as error:
            raise StoreError(f"the store {self.path} can't be opened: {error.strerror or error}") from error

    def lock(self) -> None:
        """
        Keep brokers away without opening the file.

        @raise StoreError: one is there.
        """
        self._takeLock()

    def _takeLock(self) -> None:
        """
        Keep other brokers away; readers, such as a backup, may come.
        """
        lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise StoreError(f"the store {self.path} is in use by another process") from None
        self._lock = lock

    def _openAnyhow(self, synchronous: str) -> None:
        """
        Open the file, with the room of the reserve where that is needed.
        """
        reserve = self._reserve
        reserve.adopt()
        if reserve.size:
            self._logBytes = min(_LOG_BYTES, max(_LEAST_LOG, reserve.size // 2))
        try:
            self._open(synchronous)
        except sqlite3.Error as error:
            if not (isFull(error) and reserve.release()):
                raise
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()
            self._open(synchronous)
        self.look()

    def _open(self, synchronous: str) -> None:
        new = not self.path.exists()
        if new or self.path.stat().st_size == 0:
            log = self.path.with_name(f"{self.path.name}-wal")
            if log.exists() and log.stat().st_size:
                # SQLite would begin a new one, and delete the log.
                what = "missing" if new else "empty"
                raise StoreError(
                    f"the store {self.path} is {what}, and its log {log.name} is not; {REPAIR}, or move the log "
                    "away to begin without it"
                )
            if not new:
                self.loss = "the file was empty: all that the store had is lost"
        if new:
            # Passwords are not in it, but what clients say is.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=512)
        self._connection = connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES * self._logBytes // _LOG_BYTES}")
        connection.execute("PRAGMA cache_size = -32768")
        # Some systems build SQLite so that it writes zeros over all that is deleted: then what frees room would take as
        # much of it first. What is rewritten anyway is still cleared.
        connection.execute("PRAGMA secure_delete = FAST")
        checkOurs(connection, self.path)
        upgrade(connection)
        lost = connection.execute("SELECT value FROM meta WHERE name = 'loss'").fetchone()
        if lost is not None:
            self.loss = str(lost[0])
        found = connection.execute("SELECT value FROM meta WHERE name = 'batch'").fetchone()
        self._batch = 0 if found is None else int(found[0])
        self._touchedParcels = dict.fromkeys(row[0] for row in connection.execute(statements.THIN_PARCELS))
        self._touchedRuns = dict.fromkeys(row[0] for row in connection.execute(statements.THIN_RUNS))
        if new:
            # The name of a new file is safe only when its folder is.
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def close(self) -> None:
        """
        Close the file; does not raise.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                # Nothing is lost by it: what was committed is in the log.
                pass
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    @property
    def connection(self) -> sqlite3.Connection:
        """
        The connection of an open store.
        """
        if self._connection is None:
            raise sqlite3.ProgrammingError("the store is closed")
        return self._connection

    # Writing

    def apply(self, batch: Batch) -> None:
        """
        Write a batch: all of it, or nothing. After a failure the same batch may be tried again.
        """
        try:
            self._applyOnce(batch)
        except sqlite3.Error as error:
            if not (isFull(error) and self._reserve.release()):
                raise
            self.isFull = True
            try:
                self._emptyLog()
                self._applyOnce(batch)
            finally:
                # Others must not take the rest of its room.
                self._reserve.take()
        if not self._reserve.isWhole:
            self.look()

    def look(self) -> None:
        """
        Find out whether the disk has room, and take it for the reserve as far as that is not whole.
        """
        reserve = self._reserve
        reserve.take()
        if reserve.isWhole:
            self.isFull = False
            self.room = None
            return
        room = reserve.held
        enough = reserve.size * _ENOUGH_FROM // 8
        if room < enough:
            # Each write takes room in the log and then in the file, either of which may have some already.
            log, free = self._emptyLog(), self._freeBytes()
            if not log and free >= reserve.size:
                log = self._emptyLogAnyhow()
                room = reserve.held
            room = min(2 * (room + log), 2 * (room + free), room + log + free)
        self.room = room
        self.isFull = room < (enough if self.isFull else reserve.size * _FULL_BELOW // 8)

    def _emptyLog(self) -> int:
        """
        Move what is in the log to the file; returns how many bytes the log can have then without growing.
        """
        connection = self.connection
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        try:
            busy, pages, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            size = self.path.with_name(f"{self.path.name}-wal").stat().st_size
        except (sqlite3.OperationalError, OSError):
            return 0
        if busy or pages != moved:
            return 0
        self._logged = 0
        return size

    def _emptyLogAnyhow(self) -> int:
        """
        The same with the room of the reserve. Queues have been emptied, so the file has plenty inside; but it may have
        to grow by a few pages before the log can begin anew, and the reserve has all the room that there is.
        """
        if not self._reserve.release():
            return 0
        try:
            return self._emptyLog()
        finally:
            self._reserve.take()

    def _freeBytes(self) -> int:
        """
        How much room the file has inside.
        """
        pages = self.connection.execute("PRAGMA freelist_count").fetchone()[0]
        size = self.connection.execute("PRAGMA page_size").fetchone()[0]
        return int(pages) * int(size)

    def _applyOnce(self, batch: Batch) -> None:
        connection = self.connection
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if batch.isPlain and not self._isInDoubt:
            # One statement is a transaction by itself, and asks for the interpreter's lock but once.
            self._isInDoubt = True
            self._insert(statements.PUT_RUNS, batch.runs)
            self._isInDoubt = False
        else:
            self._applyMarked(batch)
        self._logged += len(batch.blob) + _BATCH_BYTES
        self._logged += sum(len(row[-2]) + len(row[-1]) for row in batch.runs)
        self._logged += sum(len(row[-1]) for row in batch.parcels)
        self._logged += sum(len(row[-1]) for row in batch.records)
        self._touchedParcels.update(dict.fromkeys(batch.released))
        self._touchedRuns.update(dict.fromkeys(row[0] for row in batch.partly))

    def _applyMarked(self, batch: Batch) -> None:
        connection = self.connection
        number = self._batch + 1
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not (self._isInDoubt and self._isThere(batch, number)):
                self._apply(batch)
                connection.execute(statements.MARK, (self.node, number))
            self._isInDoubt = True
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._isInDoubt = False
        self._batch = number

    def _isThere(self, batch: Batch, number: int) -> bool:
        if batch.runs:
            return self.connection.execute("SELECT 1 FROM run WHERE id = ?", batch.runs[0][:1]).fetchone() is not None
        found = self.connection.execute("SELECT value FROM meta WHERE name = 'batch'").fetchone()
        return found is not None and int(found[0]) >= number

    def _apply(self, batch: Batch) -> None:
        run = self._run
        blob = batch.blob
        self._insert(statements.PUT_PARCELS, batch.parcels)
        self._insert(statements.PUT_RUNS, batch.runs)
        run(statements.PUT_FLIGHTS, batch.flights)
        run(statements.DROP_FLIGHTS, batch.landed)
        if batch.partly:
            self._insert(statements.PUT_GONE, batch.partly)
            touched = [row[0] for row in batch.partly]
            run(statements.DROP_EMPTY_RUNS, touched)
            run(statements.DROP_LONE_GONE, touched)
        run(statements.DROP_RUNS, batch.spent)
        run(statements.DROP_GONE, batch.spent)
        if batch.released:
            fewer = list(batch.released.items())
            run(statements.LOWER_PARCELS, fewer)
            run(statements.DROP_PARCELS, fewer)
        self._put(statements.PUT_SUBSCRIPTIONS, statements.DROP_SUBSCRIPTIONS, batch.subscriptions, 2)
        self._put(statements.PUT_RECEIVED, statements.DROP_RECEIVED, batch.received, 2)
        # After what belongs to a session, so that it goes too; before a new one of the same client.
        for ended in batch.ended:
            for statement in statements.END_SESSION:
                self.connection.execute(statement, (ended,))
        run(statements.PUT_SESSIONS, batch.sessions)
        self._put(statements.PUT_RETAINED, statements.DROP_RETAINED, batch.retained, 1, blob)
        self._put(statements.PUT_WILLS, statements.DROP_WILLS, batch.wills, 1, blob)
        self._insert(statements.PUT_RECORDS, [row for row in batch.records if len(row) == 3])
        self._insert(statements.DROP_RECORDS, [row for row in batch.records if len(row) == 2])

    def _put(self, put: str, drop: str, rows: list[tuple[object, ...]], key: int, blob: bytes | None = None) -> None:
        """
        Write rows of which those that are nothing but a key are gone.
        """
        if rows:
            self._run(put, [row for row in rows if len(row) > key], blob)
            self._run(drop, [row for row in rows if len(row) == key])

    def _insert(self, statement: tuple[str, int, str], rows: Sequence[tuple[Any, ...]]) -> None:
        for text, parameters in statements.chunksOf(statement, rows):
            self.connection.execute(text, parameters)

    def _run(self, statement: str, rows: Sequence[object], blob: bytes | None = None) -> None:
        if rows:
            text = _encode(rows).decode("utf-8")
            self.connection.execute(statement, (text,) if blob is None else (text, blob))

    @property
    def isUntidy(self) -> bool:
        """
        Whether L{tidy} has something to do.
        """
        return self._logged >= self._logBytes or len(self._touchedParcels) + len(self._touchedRuns) >= _TOUCHED

    def tidy(self) -> None:
        """
        Move what is in the log to the file, and take out of parcels and runs what is settled, where that is most of
        them: else one slow session could keep much more than is its own. Nobody waits for it.
        """
        if self._touchedParcels or self._touchedRuns:
            parcels, runs = thinOnes(self.connection, self._touchedParcels, self._touchedRuns)
            self._touchedParcels = dict.fromkeys(parcels[_TIDIED:])
            self._touchedRuns = dict.fromkeys(runs[_TIDIED:])
            if parcels or runs:
                thin(self.connection, parcels[:_TIDIED], runs[:_TIDIED])
        if self._logged >= self._logBytes:
            self._logged = 0
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    # Reading

    def page(self, session: int, after: int, last: int = 0) -> Page:
        """
        Read the next entries that wait for a session; at least one, where there is any.

        @param after: the last that is not wanted.
        @param last: the last of those in flight, which are wanted too; 0 for none.
        """
        page = Page()
        begin = after
        while not page.complete and (begin < last or not page.waiting):
            text, blob, page.complete = self.connection.execute(
                statements.PAGE, (session, begin, PAGE_ENTRIES, PAGE_BYTES)
            ).fetchone()
            rows = msgspec.json.decode(text)
            if not rows:
                break
            self._gather(page, session, rows, blob, after, last)
            begin = max(row[2] for row in rows)
        page.complete = bool(page.complete) and not page.isCut
        self._fetchParcels(page)
        return page

    def _gather(self, page: Page, session: int, rows: list[list[Any]], blob: bytes, after: int, last: int) -> None:
        """
        Put into a page what was read.
        """
        flights = self._flights(session, min(row[1] for row in rows), max(row[2] for row in rows))
        # Behind a page there may be more in flight; what waits there is for the next.
        isFull = bool(page.waiting)
        parts = []
        at = 0
        for number, first, _, total, parcel, extras, *lengths, past in rows:
            ends = list(accumulate([length or 0 for length in lengths], initial=at))
            records, pack, gone = (blob[begin:end] for begin, end in pairwise(ends))
            at = ends[-1]
            parts.append((Part(number, first, total - (past or 0), parcel, extras, pack), records, gone))
        parts.sort(key=lambda each: each[0].first)
        for part, records, gone in parts:
            for found in entriesOf(part.first, records, gone, flights, after):
                if found.packetID:
                    if found.number <= last:
                        page.inflight.append((part, found))
                elif isFull:
                    page.isCut = True
                else:
                    page.waiting.append((part, found))

    def _flights(self, session: int, first: int, last: int) -> dict[int, tuple[int, int]]:
        text = self.connection.execute(statements.FLIGHTS_BETWEEN, (session, first, last)).fetchone()[0]
        return {number: (packet, flags) for number, packet, flags in msgspec.json.decode(text)}

    def _fetchParcels(self, page: Page) -> None:
        wanted = {part.parcel for part, found in (*page.inflight, *page.waiting) if found.shared}
        missing = [[number] for number in wanted if number not in self._parcels]
        if missing:
            text, blob = self.connection.execute(statements.PARCELS, (_encode(missing).decode("ascii"),)).fetchone()
            at = 0
            for number, length in msgspec.json.decode(text):
                self._parcels[number] = blob[at : at + length]
                self._parcelBytes += length
                at += length
        page.parcels = {number: self._parcels[number] for number in wanted if number in self._parcels}
        while self._parcelBytes > _PARCEL_BYTES:
            oldest = next(iter(self._parcels))
            self._parcelBytes -= len(self._parcels.pop(oldest))

    def retained(self, topics: list[str]) -> tuple[list[tuple[Any, ...]], int]:
        """
        Read the retained messages of some topics, until it is enough; of one at least.

        @return: their rows, and how many topics were looked at.
        """
        # In two steps: in one, what is too much would be read as well.
        text = self.connection.execute(statements.RETAINED_SIZES, (_encode(topics).decode("utf-8"),)).fetchone()[0]
        count, size = len(topics), 0
        for position, length in sorted(msgspec.json.decode(text)):
            if size >= RETAINED_BYTES:
                count = position
                break
            size += length
        asked = _encode(topics[:count]).decode("utf-8")
        text, blob = self.connection.execute(statements.RETAINED_PAGE, (asked,)).fetchone()
        rows: list[tuple[Any, ...]] = []
        at = 0
        for *columns, first, second in msgspec.json.decode(text):
            middle = at + (first or 0)
            rows.append((*columns, blob[at:middle] or None, blob[middle : middle + second]))
            at = middle + second
        return rows, count

    def all(self, statement: str) -> list[tuple[Any, ...]]:
        """
        Read everything a statement gives.
        """
        return self.connection.execute(statement).fetchall()

    def used(self) -> int:
        """
        How many bytes of the file are in use: what it has without its free pages.
        """
        pages, free, size = (
            int(self.connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def meta(self, name: str) -> Any:
        """
        Read what is known of the whole; L{None} where it is not.
        """
        found = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else found[0]

    def forgetLoss(self) -> None:
        """
        Those who have to know of L{loss} have been told.
        """
        self.loss = ""
        self.connection.execute("DELETE FROM meta WHERE name = 'loss'")

    def numbers(self) -> tuple[int, int, int, int]:
        """
        The numbers with which new parcels, runs, entries and sessions begin.
        """
        parcel, run, entry, session = (int(self.connection.execute(text).fetchone()[0]) for text in statements.NUMBERS)
        return parcel, run, entry, session
