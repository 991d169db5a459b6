"""
What is done to a store from the command line: a backup, an export and import as JSON lines, a repair.

A backup and an export may be made while a broker runs; what writes wants the file for itself.
"""

from __future__ import annotations

import base64
import os
import sqlite3
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from twisted_mqtt.core.counters import Counters
from twisted_mqtt.core.journal import Progress
from twisted_mqtt.core.limits import Limits
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import IN_PUBLISH, encodeProperties
from twisted_mqtt.core.queue import Entry
from twisted_mqtt.core.session import Session, Switches
from twisted_mqtt.stores import statements
from twisted_mqtt.stores.database import Database, StoreError, checkOurs
from twisted_mqtt.stores.ledger import Ledger
from twisted_mqtt.stores.rows import messageOf, subscriptionOf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Lines that are written in one transaction.
_LINES: Final = 500
_TABLES: Final = (
    *("meta", "session", "subscription", "message", "entry"),
    *("received", "retained", "will", "delayed", "ban"),
)


def _reader(path: Path) -> sqlite3.Connection:
    """
    A connection that only reads.
    """
    if not path.exists():
        raise StoreError(f"there is no store {path}")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        checkOurs(connection, path)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StoreError(f"the store {path} can't be read: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def backup(path: Path, target: Path) -> str:
    """
    Copy a store as it is at one moment, whether a broker uses it or not.

    @return: what was done, in words.
    """
    if target.exists():
        raise StoreError(f"{target} exists already")
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    source = _reader(path)
    copy = sqlite3.connect(partial)
    try:
        # In one step: a broker that goes on writing would make one in pieces begin again and again.
        source.backup(copy, pages=-1)
        copy.execute("PRAGMA journal_mode = DELETE")
    finally:
        copy.close()
        source.close()
    _sync(partial)
    partial.rename(target)
    return f"{target}: {target.stat().st_size:,} bytes"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Export and import


def export(path: Path, target: Path) -> str:
    """
    Write sessions, with their subscriptions and what waits for them, and retained messages as JSON lines.

    @return: what was done, in words.
    """
    source = _reader(path)
    counts: Counter[str] = Counter()
    try:
        source.execute("BEGIN")  # all is of one moment
        with target.open("xb") as file:
            for line in _lines(source):
                counts[line["kind"]] += 1
                file.write(msgspec.json.encode(line) + b"\n")
    except FileExistsError:
        raise StoreError(f"{target} exists already") from None
    finally:
        source.close()
    found = f"{counts['session']} sessions, {counts['message']} messages, {counts['retained']} retained messages"
    return f"{target}: {found}"


def _lines(source: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    for row in source.execute(statements.SESSIONS):
        number, client, username, mountpoint, expiry, expiresAt, createdAt, zone = row
        subscriptions = source.execute(f"{statements.SUBSCRIPTIONS} WHERE session = ?", (number,)).fetchall()
        yield {
            "kind": "session",
            "clientid": client,
            "username": username,
            "mountpoint": mountpoint,
            "expiry_interval": expiry,
            "expires_at": expiresAt,
            "created_at": createdAt,
            "zone": zone,
            "subscriptions": [
                {"topic": each[1], "flags": each[2], "identifiers": each[3]} for each in subscriptions
            ],
        }
        entries = source.execute(
            "SELECT entry.flags, entry.packet, entry.identifiers, "
            + ", ".join(f"message.{name}" for name in (*statements.MESSAGE, "properties", "payload"))
            + " FROM entry JOIN message ON message.id = entry.message WHERE entry.session = ? ORDER BY entry.number",
            (number,),
        )
        for entry in entries:
            yield {
                "kind": "message",
                "for": client,
                "flags": entry[0],
                "packet": entry[1],
                "identifiers": entry[2],
                **_describe(messageOf(entry[3:])),
            }
    for row in source.execute(statements.RETAINED):
        yield {"kind": "retained", **_describe(messageOf(row))}


def _describe(message: Message) -> dict[str, Any]:
    properties = message.properties
    encoded = b"" if properties is None else encodeProperties(properties, IN_PUBLISH)
    return {
        "topic": message.topic,
        "qos": message.qos,
        "retain": message.retain,
        "timestamp": message.timestamp,
        "expires_at": message.expiresAt,
        "from_clientid": message.clientID,
        "from_username": message.username,
        "from_peerhost": message.peerHost,
        "protocol": message.protocol,
        "properties": base64.b64encode(encoded).decode("ascii"),
        "payload": base64.b64encode(message.payload).decode("ascii"),
    }


def _messageFrom(line: dict[str, Any]) -> Message:
    return messageOf(
        (
            line["topic"],
            line["qos"] | (4 if line["retain"] else 0),
            line["timestamp"],
            line["expires_at"],
            line["from_clientid"],
            line["from_username"],
            line["from_peerhost"],
            line["protocol"],
            base64.b64decode(line["properties"]),
            base64.b64decode(line["payload"]),
        )
    )


def import_(path: Path, source: Path) -> str:
    """
    Read what L{export} has written into a store, which is made if there is none. A session takes the place of one of
    the same client, a retained message that of its topic.

    @return: what was done, in words.
    """
    database = Database(path)
    database.open()
    try:
        database.node = database.meta("node") or ""
        work = _Import(database)
        with source.open("rb") as file:
            for number, text in enumerate(file, 1):
                try:
                    work.take(msgspec.json.decode(text))
                except (KeyError, TypeError, ValueError) as error:
                    raise StoreError(
                        f"{source}, line {number}: {error!r}; the lines before {work.first(number)} were imported"
                    ) from error
                if number % _LINES == 0:
                    work.write()
        work.write()
    except OSError as error:
        raise StoreError(f"{source}: {error.strerror or error}") from error
    finally:
        database.close()
    return f"{source}: {work.counts['session']} sessions, {work.counts['retained']} retained messages"


class _Import:
    """
    Takes lines and writes them, some at a time.
    """

    def __init__(self, database: Database) -> None:
        self.counts: Counter[str] = Counter()
        self._database = database
        self._ledger = Ledger(Progress(), False, lambda urgency: None, lambda session, after: None, 1 << 62)
        self._ledger.startFrom(*database.numbers())
        self._known = {row[1]: row[0] for row in database.all(statements.SESSIONS)}
        self._session: Session | None = None

    def first(self, line: int) -> int:
        """
        The first line of those that are written together with one.
        """
        return (line - 1) // _LINES * _LINES + 1

    def take(self, line: dict[str, Any]) -> None:
        """
        Take one line.
        """
        kind = line["kind"]
        self.counts[kind] += 1
        if kind == "retained":
            self._ledger.saveRetained(line["topic"], _messageFrom(line))
        elif kind == "session":
            self._takeSession(line)
        elif kind == "message":
            self._takeMessage(line)
        else:
            raise ValueError(f"no line of the kind {kind!r} is known")

    def write(self) -> None:
        """
        Write what was taken.
        """
        if not self._ledger.isEmpty:
            self._database.apply(self._ledger.close(), time.time())

    def _takeSession(self, line: dict[str, Any]) -> None:
        client = line["clientid"]
        session = _emptySession(client, line["mountpoint"], line["created_at"])
        known = self._known.get(client)
        if known is not None:
            session.stored = known
            self._ledger.removeSession(session)
            session.stored = 0
        session.username = line["username"]
        session.zone = line["zone"]
        session.expiryInterval = line["expiry_interval"]
        session.expiresAt = line["expires_at"]
        self._ledger.saveSession(session)
        self._known[client] = session.stored
        for each in line["subscriptions"]:
            row = (session.stored, each["topic"], each["flags"], each["identifiers"])
            self._ledger.saveSubscription(session, subscriptionOf(row, session))
        self._session = session

    def _takeMessage(self, line: dict[str, Any]) -> None:
        session = self._session
        if session is None or session.clientID != line["for"]:
            raise ValueError(f"a message for {line['for']!r} does not follow its session")
        flags, identifiers = line["flags"], line["identifiers"]
        entry = Entry(
            _messageFrom(line),
            flags & 3,
            flags & 4 != 0,
            [int(word) for word in identifiers.split()] if identifiers else None,
            None,
        )
        entry.packetID = line["packet"]
        entry.released = flags & 8 != 0
        self._ledger.queued(session, entry)


class _Nobody:
    """
    Nobody is told anything.
    """

    def delivering(self, session: Session, entry: Entry) -> int:
        """
        Nothing is delivered.
        """
        return 0

    def acked(self, session: Session, message: Message) -> None:
        """
        Nothing is acknowledged.
        """

    def dropped(self, session: Session | None, message: Message, reason: str) -> None:
        """
        Nothing is dropped.
        """


def _emptySession(clientID: str, mountpoint: str, createdAt: float) -> Session:
    return Session(clientID, Limits(), Counters(), Switches(), _Nobody(), createdAt, mountpoint)


# Repair


def repair(path: Path) -> str:
    """
    Save what can be read of a damaged store into a new one in its place; the damaged file is kept beside it.

    @return: what was done, in words.
    """
    if not path.exists():
        raise StoreError(f"there is no store {path}")
    fresh = path.with_name(f"{path.name}.repaired")
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    guard = Database(path)
    guard.lock()
    try:
        for suffix in _SUFFIXES:
            fresh.with_name(fresh.name + suffix).unlink(missing_ok=True)
        database = Database(fresh)
        database.open()
        try:
            saved, lost = _salvage(path, database.connection)
            _mend(database.connection)
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
    trouble = f"; not all of {', '.join(lost)} could be read" if lost else "; nothing was unreadable"
    return f"{path}: saved {found}{trouble}; the old file is {aside}"


_SUFFIXES: Final = ("", "-wal", "-shm")


def _salvage(path: Path, target: sqlite3.Connection) -> tuple[dict[str, int], list[str]]:
    """
    Copy each table as far as it can be read, from both ends.
    """
    saved: dict[str, int] = {}
    lost: list[str] = []
    source = sqlite3.connect(path, isolation_level=None)
    try:
        for table in _TABLES:
            whole = False
            for direction in ("ASC", "DESC"):
                if whole:
                    break
                whole = _copy(source, target, table, direction)
            if not whole:
                lost.append(table)
            saved[table] = target.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    finally:
        source.close()
    return saved, lost


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str, direction: str) -> bool:
    """
    Copy rows of a table until one can't be read; returns whether there was none such.
    """
    columns = target.execute(f"SELECT name, pk FROM pragma_table_info('{table}') ORDER BY pk").fetchall()
    names = ", ".join(name for name, _ in columns)
    order = ", ".join(f"{name} {direction}" for name, key in columns if key)
    marks = ", ".join("?" * len(columns))
    target.execute("BEGIN")
    try:
        rows = source.execute(f"SELECT {names} FROM {table} ORDER BY {order}")
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


def _mend(target: sqlite3.Connection) -> None:
    """
    Take out what points nowhere, and count references afresh.
    """
    target.executescript(
        "BEGIN;"
        "DELETE FROM entry WHERE session NOT IN (SELECT id FROM session) OR message NOT IN (SELECT id FROM message);"
        "DELETE FROM subscription WHERE session NOT IN (SELECT id FROM session);"
        "DELETE FROM received WHERE session NOT IN (SELECT id FROM session);"
        "UPDATE message SET refs = 0;"
        "UPDATE message SET refs = now.count FROM (SELECT message AS id, count(*) AS count FROM entry GROUP BY message)"
        " AS now WHERE message.id = now.id;"
        "DELETE FROM message WHERE refs = 0;"
        "COMMIT;"
    )
