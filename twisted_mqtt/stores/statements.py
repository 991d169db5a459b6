"""
The SQL by which a batch is written.

A table's part of a batch is one statement, given all its rows as one JSON text and the payloads as one blob: with a
statement for each row, the writer would ask for the interpreter's lock before and after each and wait for it behind a
busy reactor, some ten times longer in all (measured: 5,500 rows 20 ms against 760 ms).
"""

from __future__ import annotations

from typing import Final

#: The columns of a message in the order of L{twisted_mqtt.stores.ledger.Batch.columnsOf}.
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

#: Rows: id, entries more, message.
PUT_MESSAGES: Final = (
    f"INSERT INTO message (id, refs, {_COLUMNS}) SELECT {_items(0, 2)}, {_message(2)} {_ROWS} WHERE true "
    "ON CONFLICT (id) DO UPDATE SET refs = refs + excluded.refs"
)
#: Rows: session, number, message, flags, packet, and perhaps identifiers and share.
PUT_ENTRIES: Final = f"INSERT INTO entry SELECT {_items(0, 7)} {_ROWS}"
#: Packed entries by session, see L{twisted_mqtt.stores.ledger.Batch.packed}; then the first entry and first message.
PUT_PACKED: Final = (
    "INSERT INTO entry (session, number, message, flags, packet) "
    "SELECT CAST(mine.key AS INTEGER), ?2 + (one.value >> 41), ?3 + (one.value >> 20 & 0x1fffff), "
    "one.value & 0xf, one.value >> 4 & 0xffff FROM json_each(?1) AS mine, json_each(mine.value) AS one"
)
#: Rows: session, number, packet, 8 if released.
CHANGE_ENTRIES: Final = (
    f"UPDATE entry SET packet = new.packet, flags = flags | new.flag FROM (SELECT {_item(0)} AS session, "
    f"{_item(1)} AS number, {_item(2)} AS packet, {_item(3)} AS flag {_ROWS}) AS new "
    "WHERE entry.session = new.session AND entry.number = new.number"
)
#: Rows: session, number.
SETTLE_ENTRIES: Final = f"DELETE FROM entry WHERE (session, number) IN (SELECT {_items(0, 2)} {_ROWS})"
#: Rows: message, entries fewer.
LOWER_REFERENCES: Final = (
    f"UPDATE message SET refs = refs - old.count FROM (SELECT {_item(0)} AS id, {_item(1)} AS count {_ROWS}) AS old "
    "WHERE message.id = old.id"
)
DROP_MESSAGES: Final = f"DELETE FROM message WHERE refs <= 0 AND id IN (SELECT {_item(0)} {_ROWS})"

#: Given one session: what points from its entries goes with them.
END_SESSION: Final = (
    "UPDATE message SET refs = refs - old.count FROM "
    "(SELECT message AS id, count(*) AS count FROM entry WHERE session = ?1 GROUP BY message) AS old "
    "WHERE message.id = old.id",
    "DELETE FROM message WHERE refs <= 0 AND id IN (SELECT message FROM entry WHERE session = ?1)",
    "DELETE FROM entry WHERE session = ?1",
    "DELETE FROM received WHERE session = ?1",
    "DELETE FROM subscription WHERE session = ?1",
    "DELETE FROM session WHERE id = ?1",
)

#: Rows: id, client, user name, mount point, expiry, when that is, when it began, zone.
PUT_SESSIONS: Final = f"INSERT OR REPLACE INTO session SELECT {_items(0, 8)} {_ROWS}"

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
PUT_DELAYED: Final = (
    f"INSERT OR REPLACE INTO delayed (number, {_COLUMNS}, due) "
    f"SELECT {_item(0)}, {_message(1)}, {_item(1 + _WIDTH)} {_ROWS}"
)
DROP_DELAYED: Final = f"DELETE FROM delayed WHERE number IN (SELECT {_item(0)} {_ROWS})"
PUT_BANS: Final = f"INSERT OR REPLACE INTO ban SELECT {_items(0, 6)} {_ROWS}"
DROP_BANS: Final = f"DELETE FROM ban WHERE (kind, who) IN (SELECT {_items(0, 2)} {_ROWS})"

#: Given a node, a batch and the time.
MARK: Final = "INSERT OR REPLACE INTO meta VALUES ('node', ?1), ('batch', ?2), ('seen', ?3)"

#: One row each: a JSON array of arrays, and the properties and payloads of all as one text of hexadecimal digits. Read
#: row by row, a page would cost as many turns at the interpreter's lock.
_GATHER: Final = (
    "SELECT json_group_array(json_array(number, message, entry_flags, packet, identifiers, share, "
    + ", ".join(MESSAGE)
    + ", length(properties), length(payload))), group_concat(coalesce(hex(properties), '') || hex(payload), '') FROM "
)
_JOINED: Final = (
    "SELECT entry.number AS number, entry.message AS message, entry.flags AS entry_flags, entry.packet AS packet, "
    "entry.identifiers AS identifiers, entry.share AS share, "
    + ", ".join(f"message.{name} AS {name}" for name in (*MESSAGE, "properties", "payload"))
    + " FROM entry JOIN message ON message.id = entry.message "
)
#: Given a session, the entry after which to begin, how many, and how many bytes: at least one comes.
PAGE: Final = (
    f"{_GATHER} (SELECT * FROM (SELECT page.*, "
    "sum(length(payload)) OVER (ORDER BY number) - length(payload) AS size FROM "
    f"({_JOINED} WHERE entry.session = ?1 AND entry.number > ?2 AND entry.packet = 0 "
    "ORDER BY entry.number LIMIT ?3) AS page) WHERE size < ?4 ORDER BY number)"
)
#: Given a session: what is in flight.
IN_FLIGHT: Final = (
    f"{_GATHER} ({_JOINED} WHERE entry.session = ?1 AND entry.number <= ?2 AND entry.packet > 0 "
    "ORDER BY entry.number)"
)

#: Where the numbers of messages, entries and sessions go on.
NUMBERS: Final = (
    "SELECT coalesce(max(id), 0) + 1 FROM message",
    "SELECT coalesce(max(number), 0) + 1 FROM entry",
    "SELECT coalesce(max(id), 0) + 1 FROM session",
)
SESSIONS: Final = "SELECT id, client, username, mountpoint, expiry, expires_at, created_at, zone FROM session"
SUBSCRIPTIONS: Final = "SELECT session, filter, flags, identifiers FROM subscription"
#: How many entries wait for a session, and which is the last of those in flight.
COUNTS: Final = (
    "SELECT session, sum(packet = 0), coalesce(max(CASE WHEN packet > 0 THEN number END), 0) FROM entry "
    "GROUP BY session"
)
RECEIVED: Final = "SELECT session, packet, since FROM received ORDER BY since"
RETAINED: Final = f"SELECT {_COLUMNS} FROM retained"
WILLS: Final = f"SELECT {_COLUMNS}, owner, due, delay FROM will"
DELAYED: Final = f"SELECT {_COLUMNS}, number, due FROM delayed ORDER BY due, number"
BANS: Final = "SELECT kind, who, reason, by, at, until FROM ban"
