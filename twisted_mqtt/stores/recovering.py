"""
Puts rows that were found page by page into the tables that they must be of: their shape says it, for the schema of a
damaged file may be gone.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from twisted_mqtt.stores.packing import Pack
from twisted_mqtt.stores.pages import Pages

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from twisted_mqtt.stores.pages import Row, Value

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "INTEGER": (int,),
    # A whole number is stored as one.
    "REAL": (float, int),
    "TEXT": (str,),
    "BLOB": (bytes,),
}
# The first moment that a date of a store can be, and the last.
_DATES: Final = (1e9, 1e11)
_LAST_PACKET: Final = 0xFFFF


@dataclass
class _Shape:
    """
    A table, with its columns in the order in which they are stored.

    @ivar hasNumbers: whether its rows have rowids.
    @ivar alias: the column that is the rowid; L{None} for none.
    """

    name: str
    columns: list[tuple[str, tuple[type, ...], bool]]
    hasNumbers: bool
    alias: int | None

    def fits(self, row: Row) -> bool:
        """
        Whether a row may be of this table.
        """
        values = row.values
        if (row.number is not None) != self.hasNumbers or len(values) != len(self.columns):
            return False
        for index, (value, (_, types, needed)) in enumerate(zip(values, self.columns, strict=True)):
            if index == self.alias:
                if value is not None:
                    return False
            elif value is None:
                if needed:
                    return False
            elif not isinstance(value, types):
                return False
        test = _TESTS.get(self.name)
        return test is None or test(values)


def _isParcel(values: list[Value]) -> bool:
    pack = values[3]
    try:
        return isinstance(pack, bytes) and Pack(pack).count > 0
    except ValueError:
        return False


def _isGone(values: list[Value]) -> bool:
    total, entries = values[1], values[3]
    return isinstance(total, int) and isinstance(entries, bytes) and len(entries) == 4 * total


def _isReceived(values: list[Value]) -> bool:
    # An index of runs has three numbers too.
    _, packet, since = values
    return _isBetween(packet, 1, _LAST_PACKET) and _isBetween(since, *_DATES)


def _isFlight(values: list[Value]) -> bool:
    return _isBetween(values[2], 0, _LAST_PACKET) and values[3] in (0, 8)


def _isBetween(value: Value, least: float, most: float) -> bool:
    return isinstance(value, int | float) and least <= value <= most


# For tables whose rows look like others'.
_TESTS: Final = {"parcel": _isParcel, "gone": _isGone, "received": _isReceived, "flight": _isFlight}


def recover(path: Path, target: sqlite3.Connection, tables: Iterable[str]) -> None:
    """
    Put into some tables what the pages of a file have for them and they lack.

    @param target: a store with these tables.
    """
    shapes = [_shapeOf(target, table) for table in tables if table != "meta"]
    inserts = [_insertOf(shape) for shape in shapes]
    target.execute("BEGIN")
    try:
        with Pages(path) as pages:
            for row in pages.rows(pages.free()):
                for shape, insert in zip(shapes, inserts, strict=True):
                    if shape.fits(row):
                        values = list(row.values)
                        if shape.alias is not None:
                            values[shape.alias] = row.number
                        try:
                            target.execute(insert, values)
                        except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError):
                            pass  # it is not a row of this table after all
                        break
    finally:
        target.execute("COMMIT")


def _shapeOf(target: sqlite3.Connection, table: str) -> _Shape:
    sql = target.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    found = target.execute(
        'SELECT name, upper(type), "notnull", pk, cid FROM pragma_table_info(?) ORDER BY cid', (table,)
    ).fetchall()
    hasNumbers = re.search(r"WITHOUT\s+ROWID", sql, re.IGNORECASE) is None
    if not hasNumbers:
        # 2.4: those of the key come first.
        found.sort(key=lambda each: (each[3] == 0, each[3] or each[4]))
    keys = [index for index, each in enumerate(found) if each[3]]
    alias = keys[0] if hasNumbers and len(keys) == 1 and found[keys[0]][1] == "INTEGER" else None
    columns = [(name, _TYPES[kind], bool(needed or key)) for name, kind, needed, key, _ in found]
    return _Shape(table, columns, hasNumbers, alias)


def _insertOf(shape: _Shape) -> str:
    names = ", ".join(name for name, _, _ in shape.columns)
    return f"INSERT OR IGNORE INTO {shape.name} ({names}) VALUES ({', '.join('?' * len(shape.columns))})"
