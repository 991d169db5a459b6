"""
Makes the typed request of an operation of what a caller has sent: words of a path, a query, a body, a command line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Struct
from msgspec.inspect import type_info

from twisted_mqtt.operations.operation import COLUMN, INVALID, MISSING, Refused

_R = TypeVar("_R", bound=Struct)

# How msgspec says where something is: "Expected `int`, got `str` - at `$.qos`".
_PLACE: Final = re.compile(r"^(?P<what>.*?)(?: - at `(?P<place>[^`]*)`)?$", re.DOTALL)
_ABSENT: Final = re.compile(r"missing required field `([^`]+)`")

# In words that a person has for these types.
_WORDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_TYPE: Final = re.compile(r"`(int|float|str|bool|array|object|null)( \| null)?")

# JSON has numbers of any length; what is asked for is kept, compared and sent as one of at most 64 bits.
_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 63) - 1

# A value in a message is cut here: it is a stranger's.
_SHOWN: Final = 80


@lru_cache(maxsize=1024)
def _types(request: type[Struct]) -> dict[str, Any]:
    """
    The types of the fields of a request, by the names in which they are sent.
    """
    return {field.encode_name: field for field in msgspec.structs.fields(request)}


def bind(request: type[_R], texts: Mapping[str, str | list[str]], values: Mapping[str, object]) -> _R:
    """
    Make a request.

    @param texts: by name, from a path, a query or a command line: a number is written in digits, a flag as C{true} or
        C{false}; a list where the name came more than once. Names that the request does not have are ignored.
    @param values: by name, from a body; they win over C{texts}.

    @raise Refused: a field is missing or is none of its type; the text names it.
    """
    merged: dict[str, object] = {}
    for name, field in _types(request).items():
        if name in values:
            merged[name] = values[name]
        elif name in texts:
            merged[name] = _read(name, texts[name], field.type)
        if name in merged and _isTooLong(merged[name]):
            raise Refused(INVALID, f"{name}: a whole number has at most 64 bits, with its sign")
    try:
        return msgspec.convert(merged, request)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from None


def _read(name: str, text: str | list[str], kind: Any) -> object:
    value: object = text
    if isinstance(text, list) and not _takesList(kind):
        value = text[-1]
    elif isinstance(text, str) and _isColumn(kind):
        value = [text]
    elif isinstance(text, str) and _takesList(kind):
        value = text.split(",") if text else []
    try:
        return msgspec.to_builtins(msgspec.convert(value, kind, strict=False))
    except msgspec.ValidationError as error:
        raise _refusal(f"{error} - at `$.{name}`" if "- at" not in str(error) else str(error), name, value) from None


def _isTooLong(value: object) -> bool:
    """
    Whether there is a whole number of more than 64 bits in a value.
    """
    kind = type(value)
    if kind is int:
        return not _LEAST <= value <= _MOST  # type: ignore[operator]  # it is an int
    if kind is list:
        return any(map(_isTooLong, value))  # type: ignore[call-overload]  # it is a list
    if kind is dict:
        return any(map(_isTooLong, value.values()))  # type: ignore[attr-defined]  # it is a dict
    return False


def _isColumn(kind: Any) -> bool:
    info = type_info(kind)
    return isinstance(info, msgspec.inspect.Metadata) and COLUMN in (info.extra_json_schema or {})


def _takesList(kind: Any) -> bool:
    info = type_info(kind)
    if isinstance(info, msgspec.inspect.Metadata):
        info = info.type
    kinds = info.types if isinstance(info, msgspec.inspect.UnionType) else (info,)
    return any(isinstance(one, msgspec.inspect.ListType | msgspec.inspect.VarTupleType) for one in kinds)


def _refusal(text: str, name: str = "", value: object = UNSET) -> Refused:
    absent = _ABSENT.search(text)
    if absent:
        return Refused(MISSING, f"{absent[1]}: this parameter is required")
    match = _PLACE.match(text)
    assert match is not None  # it matches any text
    place = (match["place"] or "").removeprefix("$.").removeprefix("$") or name or "the body"
    # The text of a caller is text, whatever was expected of it.
    what = match["what"].removesuffix(", got `str`") if value is not UNSET else match["what"]
    what = _TYPE.sub(lambda found: _WORDS[found[1]], what).replace("`", "")
    shown = "" if value is UNSET else f" ({str(value)[:_SHOWN]!r})"
    return Refused(INVALID, f"{place}: {what[:1].lower()}{what[1:]}{shown}")
