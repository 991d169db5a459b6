"""
A dictionary in parts, for up to a million entries.

A plain dictionary of that size blocks the reactor for tens of milliseconds when it grows, and when somebody has to copy
it to list it while it changes. A dictionary in parts grows, and is copied, one part at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

_V = TypeVar("_V")

#: A power of two: with a million entries, copying a part takes a fraction of a millisecond.
PARTS: Final = 64
_MASK: Final = PARTS - 1


class PartedDict(Generic[_V]):
    """
    A dictionary of strings; its values are not L{None}. Iterating over it is like iterating over a plain one: it must
    not change meanwhile, and the order is none in particular.

    @ivar parts: plain dictionaries; an entry does not change from one to another. Not to be changed from outside.
    """

    __slots__ = ("parts", "_count")

    def __init__(self) -> None:
        self.parts: list[dict[str, _V]] = [{} for _ in range(PARTS)]
        self._count: int = 0

    def get(self, key: str) -> _V | None:
        """
        The value of a key, or L{None}.
        """
        return self.parts[hash(key) & _MASK].get(key)

    def pop(self, key: str) -> _V | None:
        """
        Remove a key; returns its value, or L{None} where it was not there.
        """
        part = self.parts[hash(key) & _MASK]
        value = part.pop(key, None)
        if value is not None:
            self._count -= 1
        return value

    def __getitem__(self, key: str) -> _V:
        return self.parts[hash(key) & _MASK][key]

    def __setitem__(self, key: str, value: _V) -> None:
        part = self.parts[hash(key) & _MASK]
        before = len(part)
        part[key] = value
        self._count += len(part) - before

    def __delitem__(self, key: str) -> None:
        del self.parts[hash(key) & _MASK][key]
        self._count -= 1

    def __contains__(self, key: object) -> bool:
        return key in self.parts[hash(key) & _MASK]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        for part in self.parts:
            yield from part

    def values(self) -> Iterator[_V]:
        """
        The values.
        """
        for part in self.parts:
            yield from part.values()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PartedDict):
            return bool(self.parts == other.parts)
        whole: dict[str, _V] = {}
        for part in self.parts:
            whole.update(part)
        return whole == other

    def __repr__(self) -> str:
        return f"<PartedDict {len(self)} entries>"
