"""
Tables of small records: the store keeps them beside sessions and messages, for bans, accounts, delayed messages.

All records of a table are in memory, so reading never waits; each change goes to the store's next batch.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from zope.interface import implementer

from twisted_mqtt.base.records import Records
from twisted_mqtt.interfaces import ITable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_T = TypeVar("_T")

#: How many bytes a key has at most: a client identifier or user name of MQTT, and a word before it.
LONGEST_KEY: Final = 0xFFFF + 64
#: How many bytes a value has at most, unless its table was asked for with more.
LARGEST_VALUE: Final = 1 << 20

_NAME: Final = re.compile(r"[a-z][a-z0-9_./-]{0,99}")


@implementer(ITable)
class Table:
    """
    One table.
    """

    def __init__(self, name: str, changed: Callable[[str, str, bytes | None], None] | None) -> None:
        """
        @param changed: told the table, the key and the value, None where it was removed. L{None} where nobody keeps it.
        """
        self.name = name
        self.largest = LARGEST_VALUE
        self._changed = changed
        self._values: dict[str, bytes] = {}
        # Whether what was kept is here already; before that a change would get lost.
        self._isReady = changed is None

    def fill(self, values: dict[str, bytes]) -> None:
        """
        The store is open, and this is what it has.
        """
        self._values = values
        self._isReady = True

    def get(self, key: str) -> bytes | None:
        """
        See L{ITable}.
        """
        return self._values.get(key)

    def put(self, key: str, value: bytes) -> None:
        """
        See L{ITable}.
        """
        self._check()
        try:
            length = len(key.encode("utf-8"))
        except UnicodeEncodeError:
            raise ValueError(f"a key of the table {self.name} can't be encoded in UTF-8: {key!a}") from None
        if not 0 < length <= LONGEST_KEY:
            raise ValueError(f"a key of the table {self.name} has {length} bytes; 1 to {LONGEST_KEY} are right")
        if len(value) > self.largest:
            raise ValueError(
                f"the value of {key!r} in the table {self.name} has {len(value)} bytes; {self.largest} are the most"
            )
        self._values[key] = value
        if self._changed is not None:
            self._changed(self.name, key, value)

    def remove(self, key: str) -> bool:
        """
        See L{ITable}.
        """
        self._check()
        if self._values.pop(key, None) is None:
            return False
        if self._changed is not None:
            self._changed(self.name, key, None)
        return True

    def items(self) -> list[tuple[str, bytes]]:
        """
        See L{ITable}.
        """
        return list(self._values.items())

    def count(self) -> int:
        """
        See L{ITable}.
        """
        return len(self._values)

    def records(self, kind: type[_T]) -> Records[_T]:
        """
        See L{ITable}.
        """
        return Records(self, kind)

    def _check(self) -> None:
        if not self._isReady:
            raise RuntimeError(f"the table {self.name} can't be changed before its store is open")

    def __repr__(self) -> str:
        return f"<Table {self.name} with {len(self._values)} keys>"


class Tables:
    """
    The tables of a store.
    """

    def __init__(self, changed: Callable[[str, str, bytes | None], None] | None = None) -> None:
        """
        @param changed: told each change, see L{Table}; L{None} where the process is all that keeps them.
        """
        self._changed = changed
        self._tables: dict[str, Table] = {}
        # The stored records of tables that nobody has asked for yet; None before the store is open.
        self._kept: dict[str, dict[str, bytes]] | None = None

    def get(self, name: str, largest: int = 0) -> Table:
        """
        See L{IStore.table<twisted_mqtt.interfaces.IStore.table>}.
        """
        table = self._tables.get(name)
        if table is None:
            if _NAME.fullmatch(name) is None:
                raise ValueError(f"{name!r} is not a name for a table")
            table = self._tables[name] = Table(name, self._changed)
            if self._kept is not None:
                table.fill(self._kept.pop(name, {}))
        table.largest = max(table.largest, largest)
        return table

    def fill(self, rows: Iterable[tuple[str, str, bytes]]) -> None:
        """
        The store is open, and has these records: table, key, value.
        """
        self._kept = {}
        for name, key, value in rows:
            self._kept.setdefault(name, {})[key] = value
        for name, table in self._tables.items():
            table.fill(self._kept.pop(name, {}))
