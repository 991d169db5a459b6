"""
The steps of an upgrade that SQL can't do: from version 1 of the schema, with a row for each message and entry, to
version 2; and to version 3, in which bans and delayed messages are records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from twisted_mqtt.stores.ledger import RUN_BYTES, RUN_ENTRIES
from twisted_mqtt.stores.packing import FAR, Packer, columnOf, recordOf
from twisted_mqtt.stores.rows import messageOf

if TYPE_CHECKING:
    import sqlite3

_MESSAGE: Final = "topic, flags, timestamp, expires_at, client, username, host, protocol, properties, payload"


def pack(connection: sqlite3.Connection) -> None:
    """
    Pack what is in the tables C{message} and C{entry}, and drop them. It takes no more memory than a run.
    """
    connection.execute("CREATE TEMP TABLE moved (id INTEGER PRIMARY KEY, parcel INTEGER, place INTEGER)")
    _packParcels(connection)
    _packRuns(connection)
    connection.execute("DROP TABLE moved")
    connection.execute("DROP TABLE entry")
    connection.execute("DROP TABLE message")


def _packParcels(connection: sqlite3.Connection) -> None:
    """
    Messages that several entries want.
    """
    number, wanted, packer = 1, 0, Packer()
    # Counted, not read from its column: the two must not differ from now on.
    rows = connection.execute(
        f"SELECT id, count, {_MESSAGE} FROM (SELECT message AS which, count(*) AS count FROM entry GROUP BY message "
        "HAVING count(*) > 1) JOIN message ON message.id = which ORDER BY id"
    )

    def finish() -> None:
        connection.execute("INSERT INTO parcel VALUES (?, ?, ?, ?)", (number, packer.count, wanted, packer.pack()))

    for row in rows:
        if packer.count >= RUN_ENTRIES or packer.size >= RUN_BYTES:
            finish()
            number, wanted, packer = number + 1, 0, Packer()
        place = packer.add(messageOf(row[2:]))
        wanted += row[1]
        connection.execute("INSERT INTO moved VALUES (?, ?, ?)", (row[0], number, place))
    if packer.count:
        finish()


class _Run:
    """
    A run that is being made.
    """

    def __init__(self, session: int, first: int) -> None:
        self.session = session
        self.first = first
        self.last = first
        self.flying = 0
        self.parcel = 0
        self.shared = 0
        self.size = 0
        self.extras: list[tuple[int, str | None, str | None]] = []
        self.records: list[int] = []
        self.packer = Packer()

    def takes(self, row: tuple[Any, ...]) -> bool:
        """
        Whether there is room for an entry.
        """
        session, number, _, _, _, _, parcel, *_ = row
        return bool(
            session == self.session
            and number - self.first < FAR
            and len(self.records) < RUN_ENTRIES
            and self.size < RUN_BYTES
            and (parcel is None or self.parcel in (0, parcel))
        )

    def add(self, row: tuple[Any, ...]) -> None:
        """
        Add an entry.
        """
        _, number, flags, packet, identifiers, share, parcel, place, *message = row
        if identifiers or share is not None:
            self.extras.append((len(self.records), identifiers or None, share))
        if parcel is None:
            self.packer.add(messageOf(message))
            place = -1
        else:
            self.parcel = parcel
            self.shared += 1
        self.flying += packet > 0
        self.size += len(message[-1]) + 40
        self.last = number
        self.records.append(recordOf(number - self.first, packet, flags, place))

    def write(self, connection: sqlite3.Connection) -> None:
        """
        Write it.
        """
        connection.execute(
            "INSERT INTO run VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self.session,
                self.first,
                self.last,
                len(self.records),
                self.flying,
                self.parcel,
                self.shared,
                self.size,
                msgspec.json.encode(self.extras).decode("utf-8") if self.extras else None,
                columnOf("Q", self.records),
                self.packer.pack(),
            ),
        )


def _packRuns(connection: sqlite3.Connection) -> None:
    names = ", ".join(f"message.{name.strip()}" for name in _MESSAGE.split(","))
    rows = connection.execute(
        "SELECT entry.session, entry.number, entry.flags, entry.packet, entry.identifiers, entry.share, "
        f"moved.parcel, moved.place, {names} FROM entry JOIN message ON message.id = entry.message "
        "LEFT JOIN moved ON moved.id = entry.message ORDER BY entry.session, entry.number"
    )
    run: _Run | None = None
    for row in rows:
        if run is None or not run.takes(row):
            if run is not None:
                run.write(connection)
            run = _Run(row[0], row[1])
        run.add(row)
    if run is not None:
        run.write(connection)


def moveRecords(connection: sqlite3.Connection) -> None:
    """
    Move what is in the tables C{ban} and C{delayed} to C{record}, as version 3 has it, and drop them.
    """
    encode = msgspec.msgpack.encode
    put = "INSERT OR REPLACE INTO record VALUES (?, ?, ?)"
    names = ("who", "kind", "reason", "by", "at", "until")
    for row in connection.execute(f"SELECT {', '.join(names)} FROM ban").fetchall():
        connection.execute(put, ("bans", f"{row[1]}:{row[0]}", encode(dict(zip(names, row, strict=True)))))
    for number, due, flags, *row in connection.execute(
        "SELECT number, due, flags, topic, payload, properties, "
        "timestamp, expires_at, client, username, host, protocol FROM delayed"
    ):
        topic, payload, properties, *rest = row
        record = [due, topic, payload, flags & 3, flags & 4 != 0, flags & 8 != 0, properties or b"", *rest]
        connection.execute(put, ("delayed", str(number), encode(record)))
    connection.execute("DROP TABLE ban")
    connection.execute("DROP TABLE delayed")
