"""
Typed records, kept as bytes in a table of the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec
from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable

_log = Logger()

_T = TypeVar("_T")


class Values(Protocol):
    """
    A table, as far as it is used here: L{ITable<twisted_mqtt.interfaces.ITable>}.
    """

    name: str

    def get(self, key: str) -> bytes | None:
        """
        The value of a key.
        """

    def put(self, key: str, value: bytes) -> None:
        """
        Set the value of a key.
        """

    def remove(self, key: str) -> bool:
        """
        Remove a key.
        """

    def items(self) -> list[tuple[str, bytes]]:
        """
        All keys and values.
        """

    def count(self) -> int:
        """
        How many keys there are.
        """


class Records(Generic[_T]):
    """
    A table whose values are typed, encoded as MessagePack.

    A field with a default may be added to the type later: what was written without it gets the default. What can't be
    read (it was damaged, or written by a later release) is logged, left out, and left alone.
    """

    def __init__(self, table: Values, kind: type[_T]) -> None:
        """
        @param kind: a C{msgspec.Struct}, or another type that msgspec knows.
        """
        self.table = table
        self._decoder: msgspec.msgpack.Decoder[_T] = msgspec.msgpack.Decoder(kind)
        self._encode: Callable[[Any], bytes] = msgspec.msgpack.Encoder().encode

    def get(self, key: str) -> _T | None:
        """
        The record of a key; None where there is none that can be read.
        """
        value = self.table.get(key)
        return None if value is None else self._decode(key, value)

    def put(self, key: str, record: _T) -> None:
        """
        Set the record of a key.

        @raise ValueError: as L{ITable.put<twisted_mqtt.interfaces.ITable>}.
        """
        self.table.put(key, self._encode(record))

    def remove(self, key: str) -> bool:
        """
        Remove a key; returns whether it was there.
        """
        return self.table.remove(key)

    def items(self) -> list[tuple[str, _T]]:
        """
        All keys and records of this moment that can be read, in no particular order.
        """
        decoded = ((key, self._decode(key, value)) for key, value in self.table.items())
        return [(key, record) for key, record in decoded if record is not None]

    def __len__(self) -> int:
        return self.table.count()

    def __contains__(self, key: str) -> bool:
        return self.table.get(key) is not None

    def _decode(self, key: str, value: bytes) -> _T | None:
        try:
            return self._decoder.decode(value)
        except (msgspec.DecodeError, ValueError) as error:
            _log.error(
                "the record {key!r} of the table {table} can't be read: {error}",
                key=key,
                table=self.table.name,
                error=str(error),
            )
            return None
