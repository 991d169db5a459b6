"""
The values of resources (LwM2M 1.1.1 core, appendix C): their forms in Python, JSON, text and bytes. Pure.

In Python a String or CoreLink is C{str}, an Integer, Unsigned Integer or Time is C{int}, a Float is C{float}, a Boolean
is C{bool}, an Opaque is C{bytes} and an Objlnk is an L{ObjectLink}.
"""

from __future__ import annotations

import re
import struct
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from math import isfinite, isnan
from typing import Final, NamedTuple, TypeAlias

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.objects.paths import shown

STRING: Final = "String"
INTEGER: Final = "Integer"
UNSIGNED: Final = "Unsigned Integer"
FLOAT: Final = "Float"
BOOLEAN: Final = "Boolean"
OPAQUE: Final = "Opaque"
TIME: Final = "Time"
OBJLNK: Final = "Objlnk"
CORELINK: Final = "CoreLink"


class ObjectLink(NamedTuple):
    """
    A reference to an instance of an object; 65535 twice for none.
    """

    object: int
    instance: int


Value: TypeAlias = str | int | float | bool | bytes | ObjectLink
JSON: TypeAlias = str | int | float | bool

TYPES: Final = (STRING, INTEGER, UNSIGNED, FLOAT, BOOLEAN, OPAQUE, TIME, OBJLNK, CORELINK)
WHOLE: Final = (INTEGER, UNSIGNED, TIME)
TEXTS: Final = (STRING, CORELINK)

# As the registry and MQTT clients write them, without blanks and in lower case.
_NAMES: Final = {name.replace(" ", "").lower(): name for name in TYPES} | {
    "unsigned": UNSIGNED,
    "corelnk": CORELINK,
    "objectlink": OBJLNK,
}

# A longer text is not a number that fits. The limit also bounds the cost of converting one.
_LONGEST_NUMBER: Final = 400
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?", re.ASCII)
# A year of four digits, a month and a day; the rest is for who knows dates.
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_LONGEST_DATE: Final = 40
_LINK: Final = re.compile(r"([0-9]{1,5}):([0-9]{1,5})", re.ASCII)
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})*", re.ASCII)
_NOT_FINITE: Final = ("NaN", "Infinity", "-Infinity")
_NONE: Final = 65535

_SIZES: Final = (1, 2, 4, 8)
_SINGLE: Final = struct.Struct(">f")
_DOUBLE: Final = struct.Struct(">d")
_PAIR: Final = struct.Struct(">HH")


def typeNamed(name: str) -> str:
    """
    The type of a name as definitions and commands have it, however it is capitalized.

    @raise ContentError: there is none.
    """
    found = _NAMES.get(name.replace(" ", "").lower())
    if found is None:
        raise ContentError(f"there is no type {shown(name)}")
    return found


def fromJSON(type: str, value: object, encoding: str = "plain") -> Value:
    """
    The value that a command gives. Numbers and booleans may be texts; an Opaque is base64.

    @param encoding: C{"hex"} where the value is a text of hexadecimal digits: the bytes of an Opaque, or of what would
        be the text of another value.

    @raise ContentError: it is none of that type.
    """
    if encoding == "hex":
        if not isinstance(value, str) or _HEX.fullmatch(value) is None:
            raise ContentError(f"{_shown(value)} is not hexadecimal")
        data = bytes.fromhex(value)
        return data if type == OPAQUE else _fromString(type, textOf(data))
    if isinstance(value, str):
        return _fromString(type, value)
    if isinstance(value, bool):
        if type == BOOLEAN:
            return value
    elif isinstance(value, int | float):
        if type in WHOLE and value == value // 1:
            return _inRange(type, int(value))
        if type == FLOAT:
            try:
                return float(value)
            except OverflowError:
                pass
    raise ContentError(f"{_shown(value)} is not a valid {type}")


def _fromString(type: str, text: str) -> Value:
    """
    A value that JSON has as a text.
    """
    if type in TEXTS:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ContentError(f"{shown(text)} has half a surrogate pair") from error
        return text
    if type == OPAQUE:
        return fromBase64(text)
    if type == BOOLEAN and text in ("true", "false"):
        return text == "true"
    if type != BOOLEAN and len(text) <= _LONGEST_NUMBER:
        found = _number(type, text)
        if found is not None:
            return found
    raise ContentError(f"{shown(text)} is not a valid {type}")


def _number(type: str, text: str) -> int | float | ObjectLink | None:
    """
    A number as digits, or an Objlnk.
    """
    if type in WHOLE and _WHOLE.fullmatch(text):
        return _inRange(type, int(text))
    if type == TIME:
        seconds = secondsOf(text)
        return None if seconds is None else int(seconds)
    if type == FLOAT and (text in _NOT_FINITE or _FLOAT.fullmatch(text)):
        return float(text)
    if type == OBJLNK and (match := _LINK.fullmatch(text)) is not None:
        link = ObjectLink(int(match[1]), int(match[2]))
        return link if max(link) <= _NONE else None
    return None


def secondsOf(text: str) -> float | None:
    """
    The seconds since 1970 of a number or a date as text (RFC 3339; one without an offset is UTC); L{None} where it is
    neither.
    """
    if len(text) > _LONGEST_DATE:
        return None
    if _FLOAT.fullmatch(text):
        return float(text)
    try:
        date = datetime.fromisoformat(text) if _DATE.match(text) else None
    except ValueError:
        return None
    if date is None:
        return None
    return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()


def _inRange(type: str, number: int) -> int:
    """
    @raise ContentError: there is no room for it in 64 bits.
    """
    low, high = (0, 1 << 64) if type == UNSIGNED else (-1 << 63, 1 << 63)
    if not low <= number < high:
        raise ContentError(f"the number is out of the range of {type}")
    return number


def toJSON(type: str, value: Value) -> JSON:
    """
    A value for an answer. Floats that JSON has no number for are C{"NaN"}, C{"Infinity"} and C{"-Infinity"}.
    """
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    if isinstance(value, ObjectLink):
        return linkText(value)
    if isinstance(value, float) and not isfinite(value):
        return "NaN" if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def fromText(type: str, data: bytes) -> Value:
    """
    The value of a payload of content format 0.

    @raise ContentError: it is none of that type.
    """
    text = textOf(data)
    if type in TEXTS:
        return text
    if type == OPAQUE:
        return fromBase64(text.strip())
    text = text.strip()
    if type == BOOLEAN:
        # "0" and "1" are what the specification says; some devices write words.
        if text in ("0", "1", "false", "true"):
            return text in ("1", "true")
    elif len(text) <= _LONGEST_NUMBER:
        found = _number(type, text)
        if found is not None:
            return found
    raise ContentError(f"{shown(text)} is not a valid {type}")


def toText(type: str, value: Value) -> bytes:
    """
    A value as a payload of content format 0.
    """
    if isinstance(value, bool):
        return b"1" if value else b"0"
    return str(toJSON(type, value)).encode("utf-8")


def fromBytes(type: str, data: bytes) -> Value:
    """
    The value of a TLV.

    @raise ContentError: it is none of that type.
    """
    size = len(data)
    if type == OPAQUE:
        return data
    if type in TEXTS:
        return textOf(data)
    if type in WHOLE and size in _SIZES:
        return int.from_bytes(data, "big", signed=type != UNSIGNED)
    if type == FLOAT and size in (4, 8):
        number: float = (_SINGLE if size == 4 else _DOUBLE).unpack(data)[0]
        return number
    if type == BOOLEAN and data in (b"\0", b"\1"):
        return data == b"\1"
    if type == OBJLNK and size == 4:
        return ObjectLink(*_PAIR.unpack(data))
    raise ContentError(f"{size} bytes, 0x{data[:8].hex()}{'...' if size > 8 else ''}, are not a valid {type}")


def toBytes(type: str, value: Value) -> bytes:
    """
    A value for a TLV: whole numbers as short as they go, floats always in eight bytes.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, ObjectLink):
        return _PAIR.pack(*value)
    if isinstance(value, float):
        return _DOUBLE.pack(value)
    if isinstance(value, bool):
        return b"\1" if value else b"\0"
    signed = type != UNSIGNED
    bits = value.bit_length() if not signed else (value if value >= 0 else ~value).bit_length() + 1
    return value.to_bytes(next(size for size in _SIZES if bits <= 8 * size), "big", signed=signed)


def linkText(link: ObjectLink) -> str:
    """
    An Objlnk as text.
    """
    return f"{link.object}:{link.instance}"


def textOf(data: bytes) -> str:
    """
    @raise ContentError: it is not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ContentError(f"not UTF-8 at byte {error.start}") from error


def fromBase64(text: str) -> bytes:
    """
    The bytes that a text stands for, in the alphabet of RFC 4648 4 or 5, padded or not.

    @raise ContentError: it is not base64.
    """
    try:
        digits = text.encode("ascii").rstrip(b"=").translate(_URL_TO_BASE64)
        return b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except ValueError as error:
        raise ContentError(f"{shown(text)} is not base64") from error


_URL_TO_BASE64: Final = bytes.maketrans(b"-_", b"+/")


def _shown(value: object) -> str:
    """
    A JSON value for a message to people.
    """
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) or isinstance(value, int) and value.bit_length() <= 64:
        return repr(value)
    return "null" if value is None else f"a value of the kind {value.__class__.__name__}"
