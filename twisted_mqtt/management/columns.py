"""
Rows that are chosen and shown by their columns: the query language of C{session show} and C{retain show}
(spec/vernemq.md 20, ADM-11, 20.1).

A request has a field for each column (L{column<twisted_mqtt.operations.operation.column>}): an empty text asks for it,
any other chooses the rows that have this value there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Generic, TypeAlias, TypeVar

from msgspec import Struct

_T = TypeVar("_T")

#: What stands in a column.
Value: TypeAlias = "str | int | bool | None"
Row: TypeAlias = "dict[str, str | int | bool | None]"

#: How many rows there are by default.
LIMIT: Final = 100
#: So many may be asked for where each is read from the store.
MOST_READ: Final = 10_000

_FLAGS: Final = {"true": True, "on": True, "false": False, "off": False}


class Columns(Generic[_T]):
    """
    The columns of one kind of things.
    """

    def __init__(self, readers: Mapping[str, Callable[[_T], Value]]) -> None:
        """
        @param readers: by the name of the column, says what stands there for a thing.
        """
        self._readers = dict(readers)

    def __contains__(self, name: str) -> bool:
        return name in self._readers

    def test(self, conditions: Mapping[str, tuple[str, ...]]) -> Callable[[_T], bool] | None:
        """
        Whether a thing has the values of all conditions that are about it; None where there is no such condition.
        """
        tests = [(read, wanted) for name, read in self._readers.items() for wanted in conditions.get(name, ())]
        if not tests:
            return None
        return lambda thing: all(isSame(read(thing), wanted) for read, wanted in tests)

    def read(self, names: list[str], thing: _T) -> Iterator[tuple[str, Value]]:
        """
        What stands in these of its columns.
        """
        return ((name, self._readers[name](thing)) for name in names if name in self._readers)


class Asked:
    """
    What a request asks for.

    @ivar columns: the names of those that are shown, sorted.
    @ivar conditions: by the name of a column, the values that must stand there.
    """

    def __init__(self, request: Struct, known: tuple[str, ...], usual: tuple[str, ...]) -> None:
        """
        @param known: the names of all columns.
        @param usual: those that are shown if none is asked for.
        """
        self.conditions: dict[str, tuple[str, ...]] = {}
        named = []
        for name in known:
            texts: tuple[str, ...] = getattr(request, name)
            if "" in texts:
                named.append(name)
            wanted = tuple(text for text in texts if text)
            if wanted:
                self.conditions[name] = wanted
        self.columns = sorted(named or usual)

    @property
    def names(self) -> set[str]:
        """
        All columns that have to be looked at.
        """
        return {*self.columns, *self.conditions}


def isSame(value: Value, text: str) -> bool:
    """
    Whether a value is what somebody has written: flags and numbers as such, all else as text.
    """
    if isinstance(value, bool):
        return _FLAGS.get(text) is value
    if isinstance(value, int):
        return text.removeprefix("-").isdecimal() and len(text) < 25 and int(text) == value
    return value is not None and value == text


def shownBytes(payload: bytes) -> str:
    """
    A payload as text: bytes that are no UTF-8 as C{\\xNN}.
    """
    return payload.decode("utf-8", "backslashreplace")
