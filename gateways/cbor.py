"""
The part of CBOR (RFC 8949) that devices need, in SenML and in topic configurations: whole numbers, floats, texts,
bytes, booleans, null, decimal fractions; and the heads of arrays and maps. Pure.

Nothing is nested, and no object is made before its bytes are there: a general decoder makes regular expressions, dates
and structures with cycles from untrusted bytes. The decoder skips the tags that devices add without need: a time in
seconds, a date or a URI as text, and "this is CBOR".
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

Scalar: TypeAlias = int | float | str | bytes | bool | None

# Major types (RFC 8949 3.1).
UNSIGNED: Final = 0
NEGATIVE: Final = 1
BYTES: Final = 2
TEXT: Final = 3
ARRAY: Final = 4
MAP: Final = 5
TAG: Final = 6
SIMPLE: Final = 7

_INDEFINITE: Final = 31
BREAK: Final = 0xFF
_DECIMAL: Final = 4
# Tags that are skipped, and the kind of value behind each: a date is a text, a time in seconds a number (RFC 8949 3.4).
_DATE: Final = 0
_SECONDS: Final = 1
_URI: Final = 32
_CBOR: Final = 55799
_PASSED: Final = (_DATE, _SECONDS, _URI, _CBOR)
# One around the other.
_MOST_TAGS: Final = 4
# Of a text or of bytes: they may be empty, and each is looked at.
_MOST_PIECES: Final = 1024
# A float has no larger exponent.
_EXPONENTS: Final = 400

_CONSTANTS: Final[dict[int, bool | None]] = {20: False, 21: True, 22: None, 23: None}
_FLOATS: Final = {2: struct.Struct(">e"), 4: struct.Struct(">f"), 8: struct.Struct(">d")}


class CBORError(Exception):
    """
    Bytes are not CBOR, or CBOR of another kind than was wanted; the text says what and where.
    """


class CBORReader:
    """
    Reads a payload from its beginning to its end.
    """

    __slots__ = ("_data", "_at")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def atEnd(self) -> bool:
        return self._at == len(self._data)

    def major(self) -> int:
        """
        The major type of what comes next.

        @raise CBORError: nothing does.
        """
        if self.atEnd:
            raise self._wrong("a value was wanted")
        return self._data[self._at] >> 5

    def container(self, major: int) -> int | None:
        """
        The head of an array or a map.

        @return: how many items or pairs there are; L{None} where a break is to say so.

        @raise CBORError: something else is there.
        """
        found, argument, _ = self._head()
        if found == TAG and argument == _CBOR:
            found, argument, _ = self._head()
        if found != major:
            raise self._wrong(f"{'a map' if major == MAP else 'an array'} was wanted")
        return argument

    def isBreak(self) -> bool:
        """
        Whether what has no length ends here; if so, that has been read.
        """
        if self._data[self._at : self._at + 1] != b"\xff":
            return False
        self._at += 1
        return True

    def scalar(self) -> Scalar:
        """
        @raise CBORError: there is none.
        """
        major, argument, size = self._head()
        for _ in range(_MOST_TAGS):
            if major != TAG or argument not in _PASSED:
                break
            tag = argument
            major, argument, size = self._head()
            if tag in (_DATE, _URI) and major not in (TEXT, TAG):
                raise self._wrong(f"something else than a text after the tag {tag}")
        if major in (BYTES, TEXT):
            return self._string(major, argument)
        if argument is None:
            raise self._wrong("no length")
        if major == UNSIGNED:
            return argument
        if major == NEGATIVE:
            return -1 - argument
        if major == TAG:
            if argument != _DECIMAL:
                raise self._wrong(f"the tag {argument}")
            return self._decimal()
        if major == SIMPLE:
            if size in _FLOATS:
                number: float = _FLOATS[size].unpack(self._data[self._at - size : self._at])[0]
                return number
            if size == 0 and argument in _CONSTANTS:
                return _CONSTANTS[argument]
        raise self._wrong("neither a number, a text, bytes nor a boolean")

    def _head(self) -> tuple[int, int | None, int]:
        """
        The major type, the argument, and in how many bytes after the first that was.
        """
        first = self._take(1)[0]
        major, low = first >> 5, first & 31
        if low < 24:
            return major, low, 0
        if low == _INDEFINITE and major in (BYTES, TEXT, ARRAY, MAP):
            return major, None, 0
        if low > 27:
            raise self._wrong("not CBOR")
        size = 1 << low - 24
        return major, int.from_bytes(self._take(size), "big"), size

    def _string(self, major: int, length: int | None) -> str | bytes:
        if length is None:
            pieces: list[bytes] = []
            while not self.isBreak():
                found, length, _ = self._head()
                if found != major or length is None:
                    raise self._wrong("a piece of something else")
                if len(pieces) == _MOST_PIECES:
                    raise self._wrong(f"more than {_MOST_PIECES} pieces")
                pieces.append(self._take(length))
            data = b"".join(pieces)
        else:
            data = self._take(length)
        if major == BYTES:
            return data
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CBORError(f"not UTF-8 at byte {error.start} of a text") from error

    def _decimal(self) -> float:
        """
        A decimal fraction: an exponent of ten and a number (RFC 8949 3.4.4).
        """
        if self.container(ARRAY) != 2:
            raise self._wrong("a decimal fraction of other than two numbers")
        exponent, mantissa = self._whole(), self._whole()
        if abs(exponent) > _EXPONENTS:
            raise self._wrong("an exponent out of range")
        number = float(f"{mantissa}e{exponent}")
        if number in (float("inf"), float("-inf")):
            raise self._wrong("an exponent out of range")
        return number

    def _whole(self) -> int:
        major, argument, _ = self._head()
        if argument is None or major not in (UNSIGNED, NEGATIVE):
            raise self._wrong("no whole number in a decimal fraction")
        return argument if major == UNSIGNED else -1 - argument

    def _take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise self._wrong(f"{length} bytes are said where {len(self._data) - self._at} are")
        data = self._data[self._at : end]
        self._at = end
        return data

    def _wrong(self, text: str) -> CBORError:
        return CBORError(f"{text} before byte {self._at}")


def encodeHead(major: int, argument: int) -> bytes:
    """
    A type with its argument, as short as it goes.
    """
    if argument < 24:
        return bytes((major << 5 | argument,))
    size, low = next((size, 24 + power) for power, size in enumerate((1, 2, 4, 8)) if argument < 1 << 8 * size)
    return bytes((major << 5 | low,)) + argument.to_bytes(size, "big")


def encodeScalar(value: Scalar) -> bytes:
    """
    A number, a text, bytes, a boolean or null; floats always in eight bytes.
    """
    if isinstance(value, bytes):
        return encodeHead(BYTES, len(value)) + value
    if isinstance(value, str):
        data = value.encode("utf-8")
        return encodeHead(TEXT, len(data)) + data
    if isinstance(value, float):
        return b"\xfb" + _FLOATS[8].pack(value)
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    return encodeHead(UNSIGNED, value) if value >= 0 else encodeHead(NEGATIVE, -1 - value)
