"""
The command line tools of a store: a backup, and an export and import as JSON lines.

A backup and an export may be made while a broker runs; tools that write need the file for themselves.
"""

from __future__ import annotations

import base64
import os
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from twisted_mqtt.core.counters import Counters
from twisted_mqtt.core.entry import Entry
from twisted_mqtt.core.events import Switches, Work
from twisted_mqtt.core.journal import Progress
from twisted_mqtt.core.limits import Limits
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import IN_PUBLISH, encodeProperties
from twisted_mqtt.core.session import Session
from twisted_mqtt.core.topics import scoped, unscoped
from twisted_mqtt.stores import statements
from twisted_mqtt.stores.database import Database
from twisted_mqtt.stores.ledger import Ledger
from twisted_mqtt.stores.packing import Pack, entriesOf
from twisted_mqtt.stores.rows import messageOf, subscriptionOf
from twisted_mqtt.stores.schemas import REPAIR, StoreError, checkOurs, isPresent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Lines that are written in one transaction.
_LINES: Final = 500


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
    makePrivate(partial)
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


def makePrivate(path: Path) -> None:
    """
    Make an empty file that nobody else can read: what clients say is going to be in it.

    @raise FileExistsError: there is one.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Export and import


def export(path: Path, target: Path) -> str:
    """
    Write sessions, with their subscriptions and what waits for them, retained messages and the records of tables as
    JSON lines.

    @return: what was done, in words.
    """
    source = _reader(path)
    counts: Counter[str] = Counter()
    try:
        if not isPresent(source):
            raise StoreError(f"the store {path} is of an earlier release: start the broker once, which brings it up")
        source.execute("BEGIN")  # all is of one moment
        makePrivate(target)
        with target.open("wb") as file:
            for line in _lines(source):
                counts[line["kind"]] += 1
                file.write(msgspec.json.encode(line) + b"\n")
    except FileExistsError:
        raise StoreError(f"{target} exists already") from None
    finally:
        source.close()
    found = f"{counts['session']} sessions, {counts['message']} messages, {counts['retained']} retained messages"
    return f"{target}: {found}, {counts['record']} records"


def _lines(source: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    for row in source.execute(statements.SESSIONS):
        number, client, username, mountpoint, expiry, expiresAt, createdAt, zone = row
        subscriptions = source.execute(f"{statements.SUBSCRIPTIONS} WHERE session = ?", (number,)).fetchall()
        topicTree, clientID = unscoped(client)
        yield {
            "kind": "session",
            "clientid": clientID,
            "topic_tree": topicTree,
            "username": username,
            "mountpoint": mountpoint,
            "expiry_interval": expiry,
            "expires_at": expiresAt,
            "created_at": createdAt,
            "zone": zone,
            "subscriptions": [{"topic": each[1], "flags": each[2], "identifiers": each[3]} for each in subscriptions],
        }
        for run in source.execute(f"{statements.RUNS} WHERE session = ? ORDER BY first", (number,)):
            yield from _messagesOf(source, number, clientID, *run)
    for row in source.execute(statements.RETAINED):
        yield {"kind": "retained", **_describe(messageOf(row))}
    for table, key, value in source.execute(statements.RECORDS):
        yield {"kind": "record", "table": table, "key": key, "value": base64.b64encode(value).decode("ascii")}


def _messagesOf(
    source: sqlite3.Connection,
    session: int,
    client: str,
    first: int,
    last: int,
    parcel: int,
    extras: str | None,
    records: bytes,
    messages: bytes,
    gone: bytes | None,
) -> Iterator[dict[str, Any]]:
    """
    The rest of a run.
    """
    packs = [Pack(messages) if messages else None, None]
    if parcel:
        packs[1] = Pack(source.execute(statements.PARCEL, (parcel,)).fetchone()[0])
    sent = source.execute(statements.FLIGHTS_BETWEEN, (session, first, last)).fetchone()[0]
    flights = {number: (packet, flags) for number, packet, flags in msgspec.json.decode(sent)}
    known = {} if extras is None else {each[0]: each[1] for each in msgspec.json.decode(extras)}
    for found in entriesOf(first, records, gone or b"", flights, -1):
        pack = packs[found.shared]
        if pack is None:
            raise StoreError(f"the store is damaged: a message for {client!r} is not there; {REPAIR}")
        yield {
            "kind": "message",
            "for": client,
            "flags": found.flags,
            "packet": found.packetID,
            "identifiers": known.get(found.position),
            **_describe(pack.message(found.place)),
        }


def _describe(message: Message) -> dict[str, Any]:
    properties = message.properties
    encoded = b"" if properties is None else encodeProperties(properties, IN_PUBLISH)
    return {
        "topic": message.topic,
        "topic_tree": message.topicTree,
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
            scoped(line.get("topic_tree", ""), line["topic"]),
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
    the same client, a retained message that of its topic, a record that of its key.

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
    counts = work.counts
    found = f"{counts['session']} sessions, {counts['retained']} retained messages, {counts['record']} records"
    return f"{source}: {found}"


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
            message = _messageFrom(line)
            self._ledger.saveRetained(scoped(message.topicTree, message.topic), message)
        elif kind == "record":
            self._ledger.saveRecord(line["table"], line["key"], base64.b64decode(line["value"]))
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
            self._database.apply(self._ledger.close())

    def _takeSession(self, line: dict[str, Any]) -> None:
        # A file of a release without topic trees does not name one.
        session = _emptySession(line["clientid"], line["mountpoint"], line["created_at"], line.get("topic_tree", ""))
        client = session.key
        known = self._known.get(client)
        if known is not None:
            self._ledger.removeSession(known)
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

    def goOnLater(self, work: Work) -> None:
        """
        Nothing is done.
        """

    def delivering(self, session: Session, entry: Entry) -> int:
        """
        Nothing is delivered.
        """
        return 0

    def queued(self, session: Session, message: Message) -> None:
        """
        Nothing is queued.
        """

    def acked(self, session: Session, message: Message) -> None:
        """
        Nothing is acknowledged.
        """

    def dropped(self, session: Session | None, message: Message, reason: str) -> None:
        """
        Nothing is dropped.
        """


def _emptySession(clientID: str, mountpoint: str, createdAt: float, topicTree: str) -> Session:
    return Session(clientID, Limits(), Counters(), Switches(), _Nobody(), createdAt, mountpoint, topicTree)
