"""
Reads the pages of a damaged SQLite file without SQLite: each leaf that is whole gives its rows, whatever has become of
the pages above it, of the schema and of the rest of the file.

The form of the file is in https://www.sqlite.org/fileformat2.html; section numbers are those of that page. Nothing here
trusts what it reads: a number that leads nowhere ends a row, a page or a chain.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Value: TypeAlias = "int | float | str | bytes | None"

# 1.6: what the first byte of a page of a tree says.
_INTERIOR_INDEX: Final = 0x02
_INTERIOR_TABLE: Final = 0x05
_LEAF_INDEX: Final = 0x0A
_LEAF_TABLE: Final = 0x0D
_TREES: Final = (_INTERIOR_INDEX, _INTERIOR_TABLE, _LEAF_INDEX, _LEAF_TABLE)

# The page size of our files where the header does not say it.
_PAGE_SIZE: Final = 4096
# The header is in front of the tree of page 1 (1.3).
_HEADER: Final = 100
# No row of ours is larger: a value of a table, or a run with a message of the largest size.
_LARGEST_ROW: Final = 300 << 20
_MOST_COLUMNS: Final = 64

# 4.1
_LOG_MAGIC: Final = (0x377F0682, 0x377F0683)
_LOG_HEADER: Final = 32
_FRAME_HEADER: Final = 24

_WORD: Final = struct.Struct(">I")


class _Damaged(Exception):
    """
    A page does not hold what it claims to hold.
    """


@dataclass
class Row:
    """
    A row, or an entry of an index, as it was found.

    @ivar number: its rowid; L{None} where it is of an index, or of a table without rowids.
    @ivar page: where it is.
    """

    page: int
    number: int | None
    values: list[Value]


class Pages:
    """
    A file and its log, by pages. It is a context manager.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._data: mmap.mmap | bytes = b""
        self._logged: dict[int, bytes] = {}
        self.pageSize = _PAGE_SIZE
        self.count = 0

    def __enter__(self) -> Pages:
        if self._path.exists() and self._path.stat().st_size:
            with self._path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self._data[:16] == b"SQLite format 3\0":
            size = int.from_bytes(self._data[16:18], "big")
            self.pageSize = 65536 if size == 1 else size if size >= 512 and size & (size - 1) == 0 else _PAGE_SIZE
        log = self._path.with_name(f"{self._path.name}-wal")
        if log.exists():
            self._readLog(log.read_bytes())
        self.count = max(len(self._data) // self.pageSize, *self._logged, 0)
        return self

    def __exit__(self, *reason: object) -> None:
        if isinstance(self._data, mmap.mmap):
            self._data.close()

    def page(self, number: int) -> bytes:
        """
        The bytes of a page; empty where there is no such page.
        """
        logged = self._logged.get(number)
        if logged is not None:
            return logged
        start = (number - 1) * self.pageSize
        found = self._data[start : start + self.pageSize] if number > 0 else b""
        return found if len(found) == self.pageSize else b""

    def rows(self, besides: set[int]) -> Iterator[Row]:
        """
        All rows of all leaves, and the entries of all indexes, in no particular order.

        @param besides: pages that are not wanted.
        """
        for number in range(1, self.count + 1):
            if number not in besides:
                yield from self._rowsOf(number)

    def free(self) -> set[int]:
        """
        The pages that were free (1.5): they hold what was deleted. Where the list of them is damaged, each part of it
        that can be recognised counts.
        """
        found: set[int] = set()
        for number in range(2, self.count + 1):
            page = self.page(number)
            # The number of a page would have to be greater than there are, for a list to look like a page of a tree.
            if not page or page[0] in _TREES:
                continue
            following, count = struct.unpack_from(">II", page)
            if following > self.count or not 0 < count <= self.pageSize // 4 - 2:
                continue
            listed = struct.unpack_from(f">{count}I", page, 8)
            if len(set(listed)) == count and all(1 < each <= self.count for each in listed):
                found.add(number)
                found.update(listed)
        return found

    # Inside

    def _readLog(self, data: bytes) -> None:
        """
        Take over what was committed in the log (4).
        """
        if len(data) < _LOG_HEADER:
            return
        magic, _, size, _, salt1, salt2, sum1, sum2 = struct.unpack_from(">8I", data)
        if magic not in _LOG_MAGIC or size < 512 or size & (size - 1):
            return
        words = "<" if magic == _LOG_MAGIC[0] else ">"
        sums = _sumOf(data[:24], words, (0, 0))
        if sums != (sum1, sum2):
            return
        self.pageSize = size
        waiting: dict[int, bytes] = {}
        at = _LOG_HEADER
        while at + _FRAME_HEADER + size <= len(data):
            number, commit, first, second, sum1, sum2 = struct.unpack_from(">6I", data, at)
            page = data[at + _FRAME_HEADER : at + _FRAME_HEADER + size]
            sums = _sumOf(data[at : at + 8] + page, words, sums)
            if (first, second) != (salt1, salt2) or sums != (sum1, sum2):
                break
            waiting[number] = page
            if commit:
                self._logged.update(waiting)
                waiting = {}
            at += _FRAME_HEADER + size

    def _rowsOf(self, number: int) -> Iterator[Row]:
        page = self.page(number)
        offset = _HEADER if number == 1 else 0
        if len(page) < offset + 8:
            return
        kind = page[offset]
        if kind not in (_LEAF_TABLE, _LEAF_INDEX, _INTERIOR_INDEX):
            return
        count = int.from_bytes(page[offset + 3 : offset + 5], "big")
        pointers = offset + (12 if kind == _INTERIOR_INDEX else 8)
        if pointers + 2 * count > self.pageSize:
            return
        for (at,) in struct.iter_unpack(">H", page[pointers : pointers + 2 * count]):
            try:
                yield self._rowAt(number, page, kind, at)
            except (_Damaged, UnicodeDecodeError, struct.error):
                continue

    def _rowAt(self, number: int, page: bytes, kind: int, at: int) -> Row:
        """
        A cell of a page (1.6).
        """
        if kind == _INTERIOR_INDEX:
            at += 4
        length, at = _varint(page, at)
        rowID = None
        if kind == _LEAF_TABLE:
            rowID, at = _varint(page, at)
        usable = self.pageSize
        most = usable - 35 if kind == _LEAF_TABLE else (usable - 12) * 64 // 255 - 23
        if length > _LARGEST_ROW:
            raise _Damaged
        local = length
        if length > most:
            least = (usable - 12) * 32 // 255 - 23
            local = least + (length - least) % (usable - 4)
            if local > most:
                local = least
        payload = page[at : at + local]
        if len(payload) < local:
            raise _Damaged
        if local < length:
            if at + local + 4 > usable:
                raise _Damaged
            payload += self._overflow(_WORD.unpack_from(page, at + local)[0], length - local)
        return Row(number, rowID, _record(payload))

    def _overflow(self, following: int, length: int) -> bytes:
        """
        The rest of a row that is longer than its page has room for.
        """
        pieces: list[bytes] = []
        while length > 0:
            page = self.page(following)
            if not page:
                raise _Damaged
            following = _WORD.unpack_from(page)[0]
            pieces.append(page[4 : 4 + length])
            length -= len(page) - 4
        return b"".join(pieces)


def _sumOf(data: bytes, words: str, sums: tuple[int, int]) -> tuple[int, int]:
    """
    The checksum of the log (4.2).
    """
    first, second = sums
    numbers = struct.unpack(f"{words}{len(data) // 4}I", data)
    for one, other in zip(numbers[::2], numbers[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """
    A number of one to nine bytes, and where it ends.
    """
    value = 0
    for index in range(9):
        if at >= len(data):
            raise _Damaged
        byte = data[at]
        at += 1
        if index == 8:
            value = value << 8 | byte
            break
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value - (1 << 64) if value >= 1 << 63 else value, at


# 2.1: how many bytes the values of the first serial types have.
_LENGTHS: Final = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)


def _record(data: bytes) -> list[Value]:
    """
    The values of a row (2.1).
    """
    end, at = _varint(data, 0)
    if not 0 < end <= len(data):
        raise _Damaged
    kinds: list[int] = []
    while at < end:
        kind, at = _varint(data, at)
        if kind < 0 or kind in (10, 11):
            raise _Damaged
        kinds.append(kind)
    if at != end or len(kinds) > _MOST_COLUMNS:
        raise _Damaged
    values: list[Value] = []
    for kind in kinds:
        length = _LENGTHS[kind] if kind < 10 else (kind - 12) // 2
        piece = data[at : at + length]
        at += length
        if len(piece) < length:
            raise _Damaged
        if kind == 0:
            values.append(None)
        elif kind == 7:
            values.append(struct.unpack(">d", piece)[0])
        elif kind < 7:
            values.append(int.from_bytes(piece, "big", signed=True))
        elif kind < 10:
            values.append(kind - 8)
        else:
            values.append(piece.decode("utf-8") if kind % 2 else piece)
    if at != len(data):
        raise _Damaged
    return values
