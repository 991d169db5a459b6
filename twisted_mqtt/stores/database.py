"""
One SQLite file: its schema, batches written to it, pages read from it.

It knows no reactor: it is used from one thread at a time, and what it raises is L{StoreError} where a person must do
something before it can be used, else C{sqlite3.Error}.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import msgspec

from twisted_mqtt.stores import statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from twisted_mqtt.stores.ledger import Batch

#: Says in the file's header that it is ours.
APPLICATION_ID: Final = 0x6D717474

#: How many entries a page has at most, and after how many bytes of payload it ends.
PAGE_ENTRIES: Final = 500
PAGE_BYTES: Final = 1 << 22

# Pages of 4 KiB in the log after which they are moved to the file; that is done between two batches.
_CHECKPOINT: Final = 4000
# The statements need UPDATE FROM.
_OLDEST: Final = (3, 33, 0)

_encode: Final = msgspec.json.encode


class StoreError(Exception):
    """
    The store can't be used; the text says why, and what would help.
    """


class Database:
    """
    An open store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        # The number of the last batch, in the file too: a batch whose commit has failed may be there nevertheless.
        self._batch = 0
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
                self._open(synchronous)
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

    def _open(self, synchronous: str) -> None:
        new = not self.path.exists()
        if new:
            # Passwords are not in it, but what clients say is.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._connection = connection
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
        connection.execute("PRAGMA cache_size = -32768")
        checkOurs(connection, self.path)
        upgrade(connection)
        found = connection.execute("SELECT value FROM meta WHERE name = 'batch'").fetchone()
        self._batch = 0 if found is None else int(found[0])
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

    def apply(self, batch: Batch, now: float) -> None:
        """
        Write a batch: all of it, or nothing. After a failure the same batch may be tried again.
        """
        connection = self.connection
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        number = self._batch + 1
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not self._isThere(number):
                self._apply(batch)
                connection.execute(statements.MARK, (self.node, number, now))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._batch = number

    def _isThere(self, number: int) -> bool:
        found = self.connection.execute("SELECT value FROM meta WHERE name = 'batch'").fetchone()
        return found is not None and int(found[0]) >= number

    def _apply(self, batch: Batch) -> None:
        run = self._run
        blob = batch.blob
        run(statements.PUT_MESSAGES, batch.messages, blob)
        if batch.packed:
            text = _encode(batch.packed).decode("ascii")
            self.connection.execute(statements.PUT_PACKED, (text, *batch.firsts))
        run(statements.PUT_ENTRIES, batch.entries)
        run(statements.CHANGE_ENTRIES, batch.changes)
        run(statements.SETTLE_ENTRIES, batch.settled)
        run(statements.LOWER_REFERENCES, batch.references)
        run(statements.DROP_MESSAGES, batch.references)
        self._put(statements.PUT_SUBSCRIPTIONS, statements.DROP_SUBSCRIPTIONS, batch.subscriptions, 2)
        self._put(statements.PUT_RECEIVED, statements.DROP_RECEIVED, batch.received, 2)
        # After what belongs to a session, so that it goes too; before a new one of the same client.
        for ended in batch.ended:
            for statement in statements.END_SESSION:
                self.connection.execute(statement, (ended,))
        run(statements.PUT_SESSIONS, batch.sessions)
        self._put(statements.PUT_RETAINED, statements.DROP_RETAINED, batch.retained, 1, blob)
        self._put(statements.PUT_WILLS, statements.DROP_WILLS, batch.wills, 1, blob)
        self._put(statements.PUT_DELAYED, statements.DROP_DELAYED, batch.delayed, 1, blob)
        self._put(statements.PUT_BANS, statements.DROP_BANS, batch.bans, 2)

    def _put(
        self, put: str, drop: str, rows: list[tuple[object, ...]], key: int, blob: bytes | None = None
    ) -> None:
        """
        Write rows of which those that are nothing but a key are gone.
        """
        if rows:
            self._run(put, [row for row in rows if len(row) > key], blob)
            self._run(drop, [row for row in rows if len(row) == key])

    def _run(self, statement: str, rows: Sequence[tuple[object, ...]], blob: bytes | None = None) -> None:
        if rows:
            text = _encode(rows).decode("utf-8")
            self.connection.execute(statement, (text,) if blob is None else (text, blob))

    # Reading

    def page(self, session: int, after: int) -> tuple[list[list[Any]], bool]:
        """
        Read the next entries that wait for a session.

        @return: rows of L{twisted_mqtt.stores.rows.entryOf}, and whether there are no more.
        """
        rows = self._gather(statements.PAGE, (session, after, PAGE_ENTRIES, PAGE_BYTES))
        if len(rows) == PAGE_ENTRIES:
            return rows, False
        last = rows[-1][0] if rows else after
        more = self.connection.execute(
            "SELECT 1 FROM entry WHERE session = ? AND number > ? AND packet = 0 LIMIT 1", (session, last)
        ).fetchone()
        return rows, more is None

    def inflight(self, session: int, last: int) -> list[list[Any]]:
        """
        Read what is in flight to a session, up to an entry.
        """
        return self._gather(statements.IN_FLIGHT, (session, last)) if last else []

    def _gather(self, statement: str, parameters: tuple[int, ...]) -> list[list[Any]]:
        text, joined = self.connection.execute(statement, parameters).fetchone()
        rows: list[list[Any]] = msgspec.json.decode(text)
        if not rows:
            return rows
        pieces = bytes.fromhex(joined)
        start = 0
        for row in rows:
            middle = start + (row[-2] or 0)
            stop = middle + row[-1]
            row[-2] = pieces[start:middle]
            row[-1] = pieces[middle:stop]
            start = stop
        rows.sort(key=_numberOf)
        return rows

    def all(self, statement: str) -> list[tuple[Any, ...]]:
        """
        Read everything a statement gives.
        """
        return self.connection.execute(statement).fetchall()

    def meta(self, name: str) -> Any:
        """
        Read what is known of the whole; L{None} where it is not.
        """
        found = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else found[0]

    def numbers(self) -> tuple[int, int, int]:
        """
        The numbers with which new messages, entries and sessions begin.
        """
        message, entry, session = (int(self.connection.execute(text).fetchone()[0]) for text in statements.NUMBERS)
        return message, entry, session


#: What to tell whoever finds a damaged store.
REPAIR: Final = (
    "stop the broker and run `twistd mqttbroker --config FILE --repair`, which saves what can be read and keeps the "
    "damaged file"
)


def _numberOf(row: list[Any]) -> int:
    number: int = row[0]
    return number


def checkOurs(connection: sqlite3.Connection, path: Path) -> None:
    """
    See that a file is a store that this release can use.

    @raise StoreError: it is not.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if application != APPLICATION_ID and (tables or application or version):
        raise StoreError(f"{path} is a database of something else, not a store of this broker")
    newest = max(number for number, _ in schemas())
    if version > newest:
        raise StoreError(
            f"the store {path} was written by a later release (schema {version}; this one knows {newest}): "
            "start that release, or move the file away to begin without it"
        )


def upgrade(connection: sqlite3.Connection, files: Iterable[tuple[int, str]] | None = None) -> int:
    """
    Bring a store to the present schema.

    @param files: the schema files, if not those of L{schemas}.

    @return: the version that it had.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, text in schemas() if files is None else files:
        if number > version:
            # In one transaction: a process that is killed leaves the old schema or the new one.
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{text}\nPRAGMA application_id = {APPLICATION_ID};\n"
                f"PRAGMA user_version = {number};\nCOMMIT;"
            )
    return version


def schemas() -> Iterator[tuple[int, str]]:
    """
    The schema files in order, each with its number.
    """
    folder = resources.files("twisted_mqtt.stores").joinpath("schema")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    for name in names:
        yield int(name.removesuffix(".sql")), folder.joinpath(name).read_text(encoding="utf-8")
