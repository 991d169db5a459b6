"""
Saves everything readable of a damaged store.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Final

from twisted_mqtt.stores import statements
from twisted_mqtt.stores.database import Database
from twisted_mqtt.stores.packing import Found, Pack, Packer, columnOf, entriesOf, recordOf
from twisted_mqtt.stores.recovering import recover
from twisted_mqtt.stores.schemas import StoreError, checkOurs, schemas, upgrade
from twisted_mqtt.stores.tools import makePrivate

if TYPE_CHECKING:
    from pathlib import Path

# The tables of each schema.
_TABLES: Final = {
    1: (
        *("meta", "session", "subscription", "message", "entry"),
        *("received", "retained", "will", "delayed", "ban"),
    ),
    2: (
        *("meta", "session", "subscription", "parcel", "run", "gone", "flight"),
        *("received", "retained", "will", "delayed", "ban"),
    ),
    3: (
        *("meta", "session", "subscription", "parcel", "run", "gone", "flight"),
        *("received", "retained", "will", "record"),
    ),
}


def repair(path: Path) -> str:
    """
    Save what can be read of a damaged store into a new one in its place; the damaged file is kept beside it.

    @return: what was done, in words.

    @raise StoreError: there is nothing that could be saved; then all is as it was.
    """
    if not path.exists() and not path.with_name(f"{path.name}-wal").exists():
        raise StoreError(f"there is no store {path}")
    fresh = path.with_name(f"{path.name}.repaired")
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    guard = Database(path)
    guard.lock()
    try:
        for suffix in _SUFFIXES:
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
        version = _versionOf(path)
        makePrivate(fresh)
        target = sqlite3.connect(fresh, isolation_level=None)
        try:
            upgrade(target, [file for file in schemas() if file[0] <= version])
            saved, lost = _salvage(path, target, _TABLES[version])
            trouble = f"; not all of {', '.join(lost)} may be there" if lost else "; nothing was unreadable"
            if lost and not any(count for table, count in saved.items() if table != "meta"):
                raise StoreError(
                    f"nothing of the store {path} could be saved, and it was left as it is: put a backup in its place, "
                    "or move it away to begin without it"
                )
            _mendSessions(target)
            if version == 1:
                target.executescript(_MEND_OLD)
            else:
                _mendRuns(target)
            if lost:
                # For the log and an alarm of the next start.
                target.execute("INSERT OR REPLACE INTO meta VALUES ('loss', ?)", (f"it was repaired{trouble}",))
        except StoreError:
            target.close()
            fresh.unlink()
            raise
        finally:
            target.close()
        database = Database(fresh)
        try:
            database.open()  # which brings an old one up
        finally:
            database.close()
            fresh.with_name(f"{fresh.name}.lock").unlink(missing_ok=True)
        for suffix in _SUFFIXES:
            old = path.with_name(path.name + suffix)
            if old.exists():
                old.rename(aside.with_name(aside.name + suffix))
        fresh.rename(path)
    finally:
        guard.close()
    found = ", ".join(f"{count} {table}" for table, count in saved.items() if count and table != "meta") or "nothing"
    return f"{path}: saved {found}{trouble}; the old file is {aside}"


# How often pieces of a damaged table are tried without success, and how far beyond the last row that is known.
_TRIES: Final = 2_000
_BEYOND: Final = 1 << 16

_SUFFIXES: Final = ("", "-wal", "-shm")


def _versionOf(path: Path) -> int:
    """
    The version of a store's schema; the newest where that can't be read.

    @raise StoreError: it is none that this release could have written.
    """
    newest = max(number for number, _ in schemas())
    if not _hasContent(path):
        return newest
    source = sqlite3.connect(path, isolation_level=None)
    try:
        # A store of a later release, or somebody else's, is not damaged.
        checkOurs(source, path)
        version: int = source.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.DatabaseError:
        return newest
    finally:
        source.close()
    return version if 0 < version < newest else newest


def _hasContent(path: Path) -> bool:
    """
    Whether there is a file to be opened: of one that is empty or missing, SQLite would delete the log.
    """
    return path.exists() and path.stat().st_size > 0


def _salvage(path: Path, target: sqlite3.Connection, tables: tuple[str, ...]) -> tuple[dict[str, int], list[str]]:
    """
    Copy each table as far as it can be read: from both ends, and what is left between them piece by piece; last, what
    whole pages have that SQLite does not find.
    """
    saved: dict[str, int] = {}
    lost: list[str] = []
    if not _hasContent(path):
        recover(path, target, tables)
        return {table: target.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}, list(tables)
    source = sqlite3.connect(path, isolation_level=None)
    try:
        for table in tables:
            whole = _copy(source, target, table, "ASC") or _copy(source, target, table, "DESC")
            if not whole:
                _copyPieces(source, target, table)
                lost.append(table)
        if lost:
            # While the log is there: SQLite empties it when the file is closed.
            recover(path, target, lost)
        for table in tables:
            saved[table] = target.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    finally:
        source.close()
    return saved, lost


def _copyPieces(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> None:
    """
    Copy the rows of a table that lie between pages that can't be read: session by session, or by halves of halves of
    the numbers of its rows.
    """
    keys = [row[0] for row in target.execute(f"SELECT name FROM pragma_table_info('{table}') WHERE pk > 0 ORDER BY pk")]
    if keys and keys[0] == "session":
        for (session,) in target.execute("SELECT id FROM session").fetchall():
            _copy(source, target, table, "ASC", f"WHERE session = {session}")
        return
    try:
        known = target.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0
    except sqlite3.OperationalError:
        return  # its rows have no numbers
    try:
        last = source.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0
    except sqlite3.DatabaseError:
        last = known + _BEYOND
    pieces = [(1, last)]
    tries = _TRIES
    while pieces and tries:
        tries -= 1
        low, high = pieces.pop()
        if _copy(source, target, table, "ASC", f"WHERE rowid BETWEEN {low} AND {high}", "rowid"):
            tries = _TRIES
        elif low < high:
            middle = (low + high) // 2
            pieces += [(middle + 1, high), (low, middle)]


def _copy(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    table: str,
    direction: str,
    where: str = "",
    by: str = "",
) -> bool:
    """
    Copy rows of a table until one can't be read; returns whether there was none such.

    @param by: the order, if not that of its key.
    """
    columns = target.execute(f"SELECT name, pk FROM pragma_table_info('{table}') ORDER BY pk").fetchall()
    names = ", ".join(name for name, _ in columns)
    order = by or ", ".join(f"{name} {direction}" for name, key in columns if key)
    marks = ", ".join("?" * len(columns))
    target.execute("BEGIN")
    try:
        rows = source.execute(f"SELECT {names} FROM {table} {where} ORDER BY {order}")
        insert = f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})"
        while (row := rows.fetchone()) is not None:
            try:
                target.execute(insert, row)
            except sqlite3.IntegrityError:
                pass  # it is no row of this table: its page was overwritten
        return True
    except sqlite3.DatabaseError:
        return False
    finally:
        target.execute("COMMIT")


def _mendSessions(target: sqlite3.Connection) -> None:
    """
    Take out what belongs to no session.
    """
    target.executescript(
        "BEGIN;"
        "DELETE FROM subscription WHERE session NOT IN (SELECT id FROM session);"
        "DELETE FROM received WHERE session NOT IN (SELECT id FROM session);"
        "COMMIT;"
    )


# Of schema 1: take out what points nowhere, and count references afresh.
_MEND_OLD: Final = (
    "BEGIN;"
    "DELETE FROM entry WHERE session NOT IN (SELECT id FROM session) OR message NOT IN (SELECT id FROM message);"
    "UPDATE message SET refs = 0;"
    "UPDATE message SET refs = now.count FROM (SELECT message AS id, count(*) AS count FROM entry GROUP BY message)"
    " AS now WHERE message.id = now.id;"
    "DELETE FROM message WHERE refs = 0;"
    "COMMIT;"
)


def _mendRuns(target: sqlite3.Connection) -> None:
    """
    Take out runs and entries that can't be delivered, and count what is wanted of parcels afresh.
    """
    target.execute("BEGIN")
    target.execute("DELETE FROM run WHERE session NOT IN (SELECT id FROM session)")
    flights: set[tuple[int, int]] = set()
    for run, session in target.execute("SELECT id, session FROM run").fetchall():
        flights.update((session, number) for number in _mendRun(target, run))
    for session, number in target.execute("SELECT session, number FROM flight").fetchall():
        if (session, number) not in flights:
            target.execute("DELETE FROM flight WHERE session = ? AND number = ?", (session, number))
    for statement in (
        "DELETE FROM gone WHERE run NOT IN (SELECT id FROM run)",
        "UPDATE parcel SET wanted = 0",
        "UPDATE parcel SET wanted = now.count FROM (SELECT run.parcel AS id, "
        "sum(run.shared - coalesce(gone.shared, 0)) AS count FROM run LEFT JOIN gone ON gone.run = run.id "
        "WHERE run.parcel > 0 GROUP BY run.parcel) AS now WHERE parcel.id = now.id",
        "DELETE FROM parcel WHERE wanted <= 0",
    ):
        target.execute(statement)
    target.execute("COMMIT")


def _mendRun(target: sqlite3.Connection, run: int) -> list[int]:
    """
    Leave of a run what can be delivered.

    @return: the numbers of the entries that are left.
    """
    first, total, parcel, shared, entries, messages, past, pastShared, gone = target.execute(
        "SELECT first, run.total, parcel, run.shared, run.entries, messages, gone.total, gone.shared, gone.entries "
        "FROM run LEFT JOIN gone ON gone.run = run.id WHERE id = ?",
        (run,),
    ).fetchone()
    packs = [_packOf(messages), None]
    if parcel:
        row = target.execute(statements.PARCEL, (parcel,)).fetchone()
        packs[1] = None if row is None else _packOf(row[0])
    try:
        found = entriesOf(first, entries, gone or b"", {}, -1)
    except ValueError:
        found = []
    good = [one for one in found if _isReadable(packs[one.shared], one)]
    left = (total - (past or 0), shared - (pastShared or 0))
    if not good:
        target.execute("DELETE FROM run WHERE id = ?", (run,))
    elif left != (len(good), sum(one.shared for one in good)) or len(good) < len(found):
        packer = Packer()
        records = []
        for one in good:
            pack = packs[0]
            if not one.shared and pack is not None:
                packer.add(pack.message(one.place))
            place = one.place if one.shared else -1
            records.append(recordOf(one.number - first, one.packetID, one.flags, place))
        target.execute(
            "UPDATE run SET total = ?, shared = ?, extras = NULL, entries = ?, messages = ? WHERE id = ?",
            (len(good), sum(one.shared for one in good), columnOf("Q", records), packer.pack(), run),
        )
        target.execute("DELETE FROM gone WHERE run = ?", (run,))
    return [one.number for one in good]


def _packOf(data: bytes) -> Pack | None:
    try:
        return Pack(data)
    except ValueError:
        return None


def _isReadable(pack: Pack | None, found: Found) -> bool:
    if pack is None:
        return False
    try:
        return bool(pack.message(found.place).topic)
    except Exception:  # whatever it is in a damaged file that makes no message
        return False
