"""
The SQL statements that write a batch.

A table's part of a batch is one statement: with a statement for each row, the writer would ask for the interpreter's
lock before and after each and wait for it behind a busy reactor, some ten times longer in all (measured: 5,500 rows 20
ms against 760 ms). Many small rows are passed as one JSON text, with their large values in one blob; a few large rows
are passed as parameters, which SQLite takes three times faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted_mqtt.stores.batch import MOST_ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: The columns of a message in the order of L{twisted_mqtt.stores.batch.Batch.columnsOf}.
MESSAGE: Final = ("topic", "flags", "timestamp", "expires_at", "client", "username", "host", "protocol")

_ROWS: Final = "FROM json_each(?1)"


def _item(index: int) -> str:
    return f"json_extract(value, '$[{index}]')"


def _items(first: int, count: int) -> str:
    return ", ".join(_item(index) for index in range(first, first + count))


def _message(first: int) -> str:
    """
    The values of a message's columns, of a row in which they begin at an index.
    """
    pieces = first + len(MESSAGE)
    return (
        f"{_items(first, len(MESSAGE))}, "
        f"CASE {_item(pieces + 1)} WHEN 0 THEN NULL ELSE substr(?2, {_item(pieces)}, {_item(pieces + 1)}) END, "
        # Of a blob without a byte, where no message of the batch has a payload, SQLite's substr makes NULL.
        f"coalesce(substr(?2, {_item(pieces + 2)}, {_item(pieces + 3)}), x'')"
    )


_COLUMNS: Final = ", ".join((*MESSAGE, "properties", "payload"))
# Four numbers in a row stand for properties and payload.
_WIDTH: Final = len(MESSAGE) + 4

#: Of these the rows are parameters, see L{chunksOf}: they have blobs of their own.
PUT_PARCELS: Final = ("INSERT INTO parcel VALUES", 4, "")
PUT_RUNS: Final = ("INSERT INTO run VALUES", 12, "")
PUT_GONE: Final = (
    "INSERT INTO gone VALUES",
    4,
    "ON CONFLICT (run) DO UPDATE SET total = total + excluded.total, shared = shared + excluded.shared, "
    "entries = CAST(entries || excluded.entries AS BLOB)",
)
#: Rows: session, number, packet, 8 if released. Of a session that has ended, nothing is to be left.
PUT_FLIGHTS: Final = (
    f"INSERT OR REPLACE INTO flight SELECT {_items(0, 4)} {_ROWS} "
    f"WHERE EXISTS (SELECT 1 FROM session WHERE id = {_item(0)})"
)
#: Rows: session, number.
DROP_FLIGHTS: Final = f"DELETE FROM flight WHERE (session, number) IN (SELECT {_items(0, 2)} {_ROWS})"
_NUMBERS: Final = "(SELECT value FROM json_each(?1))"
#: Given numbers of runs: of these, those of which nothing is left.
DROP_EMPTY_RUNS: Final = (
    f"DELETE FROM run WHERE id IN {_NUMBERS} AND total <= (SELECT total FROM gone WHERE gone.run = run.id)"
)
DROP_LONE_GONE: Final = (
    f"DELETE FROM gone WHERE run IN {_NUMBERS} AND NOT EXISTS (SELECT 1 FROM run WHERE run.id = gone.run)"
)
DROP_RUNS: Final = f"DELETE FROM run WHERE id IN {_NUMBERS}"
DROP_GONE: Final = f"DELETE FROM gone WHERE run IN {_NUMBERS}"
#: Rows: parcel, entries fewer.
LOWER_PARCELS: Final = (
    f"UPDATE parcel SET wanted = wanted - old.count FROM (SELECT {_item(0)} AS id, {_item(1)} AS count {_ROWS}) AS old "
    "WHERE parcel.id = old.id"
)
DROP_PARCELS: Final = f"DELETE FROM parcel WHERE wanted <= 0 AND id IN (SELECT {_item(0)} {_ROWS})"

#: Given one session: what it wants of parcels goes with it.
END_SESSION: Final = (
    "UPDATE parcel SET wanted = wanted - old.count FROM "
    "(SELECT run.parcel AS id, sum(run.shared - coalesce(gone.shared, 0)) AS count FROM run "
    "LEFT JOIN gone ON gone.run = run.id WHERE run.session = ?1 AND run.parcel > 0 GROUP BY run.parcel) AS old "
    "WHERE parcel.id = old.id",
    "DELETE FROM parcel WHERE wanted <= 0 AND id IN (SELECT parcel FROM run WHERE session = ?1)",
    "DELETE FROM gone WHERE run IN (SELECT id FROM run WHERE session = ?1)",
    "DELETE FROM run WHERE session = ?1",
    "DELETE FROM flight WHERE session = ?1",
    "DELETE FROM received WHERE session = ?1",
    "DELETE FROM subscription WHERE session = ?1",
    "DELETE FROM session WHERE id = ?1",
)


def chunksOf(statement: tuple[str, int, str], rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    """
    The statements that put rows, each with its parameters.
    """
    head, width, tail = statement
    row = f"({', '.join('?' * width)})"
    for start in range(0, len(rows), MOST_ROWS):
        some = rows[start : start + MOST_ROWS]
        yield f"{head} {', '.join([row] * len(some))} {tail}", [value for each in some for value in each]


#: Rows: id, client, user name, mount point, expiry, when that is, when it began, zone. One that has ended and is passed
#: on has an expiry below 0, and a name that is made here: JSON can't carry it.
PUT_SESSIONS: Final = (
    f"INSERT OR REPLACE INTO session SELECT {_item(0)}, "
    f"CASE WHEN {_item(4)} < 0 THEN char(0) || {_item(0)} ELSE {_item(1)} END, {_items(2, 6)} {_ROWS}"
)

#: For the others, what a row with nothing but the key does, and what a full one does; how long the key is.
PUT_SUBSCRIPTIONS: Final = f"INSERT OR REPLACE INTO subscription SELECT {_items(0, 4)} {_ROWS}"
DROP_SUBSCRIPTIONS: Final = f"DELETE FROM subscription WHERE (session, filter) IN (SELECT {_items(0, 2)} {_ROWS})"
PUT_RECEIVED: Final = f"INSERT OR REPLACE INTO received SELECT {_items(0, 3)} {_ROWS}"
DROP_RECEIVED: Final = f"DELETE FROM received WHERE (session, packet) IN (SELECT {_items(0, 2)} {_ROWS})"
PUT_RETAINED: Final = f"INSERT OR REPLACE INTO retained ({_COLUMNS}) SELECT {_message(1)} {_ROWS}"
DROP_RETAINED: Final = f"DELETE FROM retained WHERE topic IN (SELECT {_item(0)} {_ROWS})"
PUT_WILLS: Final = (
    f"INSERT OR REPLACE INTO will (owner, {_COLUMNS}, due, delay) "
    f"SELECT {_item(0)}, {_message(1)}, {_items(1 + _WIDTH, 2)} {_ROWS}"
)
DROP_WILLS: Final = f"DELETE FROM will WHERE owner IN (SELECT {_item(0)} {_ROWS})"
#: Rows of these tables are passed as parameters, because their values are blobs and a key may be anything.
PUT_RECORDS: Final = (
    "INSERT INTO record VALUES",
    3,
    "ON CONFLICT (name, key) DO UPDATE SET value = excluded.value",
)
DROP_RECORDS: Final = ("DELETE FROM record WHERE (name, key) IN (VALUES", 2, ")")

#: Given a node and a batch.
MARK: Final = "INSERT OR REPLACE INTO meta VALUES ('node', ?1), ('batch', ?2)"

#: The next runs of a session, given the entry after which to begin, and how many entries and bytes are enough: at least
#: one run comes. One row: a JSON array of arrays; all blobs one after another; whether there are no more. Read row by
#: row, a page would cost as many turns at the interpreter's lock.
PAGE: Final = (
    "WITH known AS (SELECT first, total, size FROM run WHERE session = ?1 AND first >= "
    "coalesce((SELECT max(first) FROM run WHERE session = ?1 AND first <= ?2 + 1), 0) AND last > ?2 "
    "ORDER BY first LIMIT ?3), "
    "summed AS (SELECT first, sum(total) OVER (ORDER BY first) - total AS entries, "
    "sum(size) OVER (ORDER BY first) - size AS bytes FROM known), "
    "wanted AS (SELECT max(first) AS last FROM summed WHERE entries < ?3 AND bytes < ?4), "
    "page AS (SELECT run.*, gone.total AS past, gone.entries AS settled FROM run LEFT JOIN gone ON gone.run = run.id "
    "WHERE run.session = ?1 AND run.first >= (SELECT min(first) FROM known) "
    "AND run.first <= (SELECT last FROM wanted) ORDER BY run.first) "
    "SELECT json_group_array(json_array(id, first, last, total, parcel, extras, length(entries), length(messages), "
    "length(settled), past)), "
    "CAST(group_concat(entries || messages || coalesce(settled, ''), '') AS BLOB), "
    "NOT EXISTS (SELECT 1 FROM run WHERE session = ?1 AND first > (SELECT last FROM wanted)) FROM page"
)
#: Given a session and two entries.
FLIGHTS_BETWEEN: Final = (
    "SELECT json_group_array(json_array(number, packet, flags)) FROM flight "
    "WHERE session = ?1 AND number BETWEEN ?2 AND ?3"
)
#: Rows: parcel. One row, as with L{PAGE}.
PARCELS: Final = (
    "SELECT json_group_array(json_array(id, length(messages))), CAST(group_concat(messages, '') AS BLOB) "
    f"FROM parcel WHERE id IN (SELECT {_item(0)} {_ROWS})"
)

#: Where the numbers of parcels, runs, entries and sessions go on.
NUMBERS: Final = (
    "SELECT coalesce(max(id), 0) + 1 FROM parcel",
    "SELECT coalesce(max(id), 0) + 1 FROM run",
    "SELECT coalesce(max(last), 0) + 1 FROM run",
    "SELECT coalesce(max(id), 0) + 1 FROM session",
)
SESSIONS: Final = "SELECT id, client, username, mountpoint, expiry, expires_at, created_at, zone FROM session"
SUBSCRIPTIONS: Final = "SELECT session, filter, flags, identifiers FROM subscription"
#: How many entries sessions have, settled or not, and their bytes; how many of them are settled.
COUNTS: Final = "SELECT session, sum(total), sum(size) FROM run GROUP BY session"
PAST: Final = "SELECT run.session, sum(gone.total) FROM gone JOIN run ON run.id = gone.run GROUP BY run.session"
#: Runs with entries that were in flight when they were written; those that were sent since.
FLYING: Final = (
    "SELECT run.session, run.first, run.entries, gone.entries FROM run LEFT JOIN gone ON gone.run = run.id "
    "WHERE run.flying > 0"
)
FLIGHTS: Final = "SELECT session, number FROM flight WHERE packet > 0"
#: Of a session.
RUNS: Final = (
    "SELECT first, last, parcel, extras, run.entries, messages, gone.entries FROM run "
    "LEFT JOIN gone ON gone.run = run.id"
)
#: Those of which little is wanted any more: parcels; runs that are worth the trouble (an entry has eight bytes).
THIN_PARCELS: Final = "SELECT id FROM parcel WHERE wanted * 4 < total"
PARCEL: Final = "SELECT messages FROM parcel WHERE id = ?"
PARCEL_RUNS: Final = (
    "SELECT run.first, run.entries, gone.entries FROM run LEFT JOIN gone ON gone.run = run.id WHERE parcel = ?"
)
RUN: Final = (
    "SELECT first, run.entries, messages, extras, gone.entries FROM run LEFT JOIN gone ON gone.run = run.id "
    "WHERE id = ?"
)
THIN_RUNS: Final = (
    "SELECT id FROM gone JOIN run ON run.id = gone.run WHERE "
    "(run.total - gone.total) * 32 < length(run.entries) AND length(run.messages) > 4096"
)
RECEIVED: Final = "SELECT session, packet, since FROM received ORDER BY since"
RETAINED: Final = f"SELECT {_COLUMNS} FROM retained"
#: The same without what can be large, which is read when it is wanted.
RETAINED_STUBS: Final = f"SELECT {', '.join(MESSAGE)}, NULL, x'' FROM retained"
#: Given topics, as a JSON array: which of them have a message, by position, and how large. One row, as with L{PAGE}.
RETAINED_SIZES: Final = (
    "SELECT json_group_array(json_array(key, length(payload) + coalesce(length(properties), 0))) FROM json_each(?1) "
    "CROSS JOIN retained ON retained.topic = value"
)
#: Given topics, their messages. One row, as with L{PAGE}.
RETAINED_PAGE: Final = (
    f"SELECT json_group_array(json_array({', '.join(MESSAGE)}, length(properties), length(payload))), "
    "CAST(group_concat(coalesce(properties, x'') || payload, '') AS BLOB) FROM json_each(?1) "
    "CROSS JOIN retained ON retained.topic = value"
)
WILLS: Final = f"SELECT {_COLUMNS}, owner, due, delay FROM will"
RECORDS: Final = "SELECT name, key, value FROM record"
