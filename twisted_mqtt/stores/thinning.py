"""
Removes from parcels and runs the entries that nobody wants any more, if they are the larger part.

A run is deleted when its last entry is settled, a parcel when nobody wants any message of it. Without this module, a
single message that stays would keep the others of its time: about a hundred kibibytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from twisted_mqtt.core.message import Message
from twisted_mqtt.stores import statements
from twisted_mqtt.stores.packing import Pack, Packer, columnOf, entriesOf, recordOf

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

# Stands where a message was, so that the places of the others remain.
_NOTHING: Final = Message("", b"")


def thinOnes(
    connection: sqlite3.Connection, parcels: Iterable[int], runs: Iterable[int]
) -> tuple[list[int], list[int]]:
    """
    Find the parcels and runs that hold little that is wanted.
    """
    found = []
    for statement, numbers in ((statements.THIN_PARCELS, parcels), (statements.THIN_RUNS, runs)):
        text = msgspec.json.encode(list(numbers)).decode("ascii")
        rows = connection.execute(f"{statement} AND id IN (SELECT value FROM json_each(?))", (text,))
        found.append([row[0] for row in rows])
    return found[0], found[1]


def thin(connection: sqlite3.Connection, parcels: Iterable[int], runs: Iterable[int]) -> None:
    """
    Make them small, in one transaction.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        for number in parcels:
            _thinParcel(connection, number)
        for number in runs:
            _thinRun(connection, number)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _thinParcel(connection: sqlite3.Connection, number: int) -> None:
    row = connection.execute(statements.PARCEL, (number,)).fetchone()
    if row is None:
        return
    wanted: set[int] = set()
    for first, entries, gone in connection.execute(statements.PARCEL_RUNS, (number,)):
        wanted.update(found.place for found in entriesOf(first, entries, gone or b"", {}, -1) if found.shared)
    pack, packer = Pack(row[0]), Packer()
    for place in range(pack.count):
        packer.add(pack.message(place) if place in wanted else _NOTHING)
    connection.execute("UPDATE parcel SET total = ?, messages = ? WHERE id = ?", (len(wanted), packer.pack(), number))


def _thinRun(connection: sqlite3.Connection, number: int) -> None:
    row = connection.execute(statements.RUN, (number,)).fetchone()
    if row is None:
        return
    first, entries, messages, extras, gone = row
    pack = Pack(messages)
    packer = Packer()
    records: list[int] = []
    known = {} if extras is None else {each[0]: each for each in msgspec.json.decode(extras)}
    kept: list[list[object]] = []
    for found in entriesOf(first, entries, gone or b"", {}, -1):
        extra = known.get(found.position)
        if extra is not None:
            kept.append([len(records), *extra[1:]])
        place = found.place if found.shared else -1
        if place < 0:
            packer.add(pack.message(found.place))
        records.append(recordOf(found.number - first, found.packetID, found.flags, place))
    connection.execute(
        "UPDATE run SET entries = ?, messages = ?, extras = ? WHERE id = ?",
        (
            columnOf("Q", records),
            packer.pack(),
            msgspec.json.encode(kept).decode("utf-8") if kept else None,
            number,
        ),
    )
