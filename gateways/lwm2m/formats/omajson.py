"""
The JSON of LwM2M 1.0, content format 11543 (LwM2M 1.0.2 6.4.4). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.entries import ResourceValue, fewRecords, timeOf
from gateways.lwm2m.formats.jsontext import decodeJSON
from gateways.lwm2m.formats.names import Names, writtenNames
from gateways.lwm2m.formats.values import (
    BOOLEAN,
    FLOAT,
    OBJLNK,
    OPAQUE,
    STRING,
    TEXTS,
    TIME,
    fromJSON,
    secondsOf,
    toJSON,
)
from gateways.lwm2m.objects.models import Models
from gateways.lwm2m.objects.paths import Path, pathText, shown


class _JSONElement(msgspec.Struct):
    """
    One value. Null is as good as not there, and numbers may be texts.
    """

    n: str | None = None
    v: int | float | str | None = None
    sv: str | None = None
    bv: bool | int | str | None = None
    ov: str | None = None
    t: int | float | str | None = None


class _Document(msgspec.Struct):
    e: list[_JSONElement]
    bn: str | None = None
    bt: int | float | str | None = None


_DECODER: Final = msgspec.json.Decoder(_Document)

# The types of values whose resources have no definition, by their keys.
_TYPES: Final = (("v", FLOAT), ("sv", STRING), ("bv", BOOLEAN), ("ov", OBJLNK))


def decodeOMAJSON(payload: bytes, base: Path, models: Models, prefix: str = "") -> list[ResourceValue]:
    """
    The values of an answer to a request for C{base}.

    @raise ContentError: it is something else.
    """
    try:
        fewRecords(payload)
        document = decodeJSON(_DECODER, payload)
        names = Names(base, prefix)
        return [_entry(element, document, names, models) for element in document.e]
    except ContentError as error:
        raise ContentError(f"LwM2M JSON: {error}") from error


def _entry(element: _JSONElement, document: _Document, names: Names, models: Models) -> ResourceValue:
    path = names.resolve(document.bn or "", element.n or "")
    said = [(getattr(element, key), type) for key, type in _TYPES if getattr(element, key) is not None]
    if not said and element.t is not None and models.typeOf(path) == TIME:
        # Some devices take the time for the value of such a resource (spec/gateways.md 5.6).
        said, element.t = [(element.t, TIME)], None
    if len(said) != 1:
        raise ContentError(f"{pathText(path)}: {len(said)} values where one is wanted")
    value, usual = said[0]
    type = models.typeOf(path) or usual
    if type == BOOLEAN and value.__class__ is int and value in (0, 1):
        value = bool(value)
    try:
        return ResourceValue(path, type, fromJSON(type, value), timeOf(_time(document.bt), _time(element.t)))
    except ContentError as error:
        raise ContentError(f"{pathText(path)}: {error}") from error


def _time(said: int | float | str | None) -> int | float | None:
    """
    @raise ContentError: it is a text that is none.
    """
    if not isinstance(said, str):
        return said
    seconds = secondsOf(said)
    if seconds is None:
        raise ContentError(f"{shown(said)} is not a time")
    return seconds


def encodeOMAJSON(base: Path, entries: Sequence[ResourceValue], prefix: str = "") -> bytes:
    """
    Values as the payload of a request to C{base}.

    @raise ContentError: a value is a number that JSON has not.
    """
    elements: list[dict[str, object]] = []
    baseName = ""
    for path, type, value, _ in entries:
        baseName, name = writtenNames(base, path, prefix)
        key = _key(type)
        written = toJSON(type, value)
        if key == "v" and isinstance(written, str):
            raise ContentError(f"{pathText(path)}: JSON has no {written}")
        elements.append({"n": name, key: written})
    return msgspec.json.encode({"bn": baseName, "e": elements} if baseName else {"e": elements})


def _key(type: str) -> str:
    if type in TEXTS or type == OPAQUE:
        return "sv"
    return "bv" if type == BOOLEAN else "ov" if type == OBJLNK else "v"
