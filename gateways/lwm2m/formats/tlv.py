"""
TLV, content format 11542 (LwM2M 1.0.2 6.4.3; 1.1.1 core 7.4.5). Pure.

The identifier of an element says on which level it is, so nothing is nested deeper than an instance, a multiple
resource, and the instances of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.entries import ResourceValue, countEntries
from gateways.lwm2m.formats.values import OPAQUE, fromBytes, toBytes
from gateways.lwm2m.objects.models import Models
from gateways.lwm2m.objects.paths import Path, isWithin, pathText

# Bits 7 and 6 of the first byte.
_INSTANCE: Final = 0
_RESOURCE_INSTANCE: Final = 1
_MULTIPLE: Final = 2
_RESOURCE: Final = 3

_LONGEST: Final = 0xFFFFFF


def decodeTLV(payload: bytes, base: Path, models: Models) -> list[ResourceValue]:
    """
    The values of an answer to a request for C{base}. Where that is an object and its only instance is not named, that
    is instance 0. A resource without a definition is Opaque.

    @raise ContentError: it is not TLV, or about something else.
    """
    if not base:
        raise ContentError("TLV: it can't be about the device as a whole")
    entries: list[ResourceValue] = []
    for kind, number, data in _elements(payload):
        if kind == _INSTANCE:
            for inner, resource, value in _elements(data):
                if inner not in (_RESOURCE, _MULTIPLE):
                    raise ContentError(f"TLV: an element of kind {inner} in an instance")
                _take(entries, inner, (*base[:1], number, resource), value, base, models)
        elif kind == _RESOURCE_INSTANCE:
            if len(base) < 3:
                raise ContentError("TLV: an instance of a resource that is not said")
            _take(entries, _RESOURCE, (*base[:3], number), data, base, models)
        else:
            _take(entries, kind, (*(base[:2] if len(base) > 1 else (*base, 0)), number), data, base, models)
    return entries


def _take(entries: list[ResourceValue], kind: int, path: Path, data: bytes, base: Path, models: Models) -> None:
    """
    Add a resource, or every instance of a multiple one.
    """
    if kind == _MULTIPLE:
        for inner, number, value in _elements(data):
            if inner != _RESOURCE_INSTANCE:
                raise ContentError(f"TLV: an element of kind {inner} in the resource {pathText(path)}")
            _take(entries, _RESOURCE, (*path, number), value, base, models)
        return
    # A request for one instance of a resource may be answered as if it were the resource.
    if not isWithin(path, base) and path != base[:3]:
        raise ContentError(f"TLV: {pathText(path)} where {pathText(base)} was asked for")
    path = max(path, base)
    countEntries(len(entries) + 1)
    type = models.typeOf(path) or OPAQUE
    try:
        entries.append(ResourceValue(path, type, fromBytes(type, data)))
    except ContentError as error:
        raise ContentError(f"TLV: {pathText(path)}: {error}") from error


def _elements(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """
    The elements of one level: the kind, the identifier, and the value.
    """
    at = 0
    end = len(data)
    while at < end:
        head = data[at]
        start = at + (3 if head & 0x20 else 2)
        size = head >> 3 & 3
        if start + size > end:
            raise ContentError("TLV: an element that is cut off")
        number = int.from_bytes(data[at + 1 : start], "big")
        length = int.from_bytes(data[start : start + size], "big") if size else head & 7
        start += size
        at = start + length
        if at > end:
            raise ContentError(f"TLV: {length} bytes are said where {end - start} are")
        yield head >> 6, number, data[start:at]


def encodeTLV(base: Path, entries: Sequence[ResourceValue]) -> bytes:
    """
    Values as the payload of a request to C{base}: instances for an object, resources for an instance or a resource, and
    a resource instance where there is no more to say.

    @param entries: below C{base}.

    @raise ContentError: a value is longer than 16 MB.
    """
    if len(base) == 4:
        return b"".join(_element(_RESOURCE_INSTANCE, entry.path[3], _bytes(entry)) for entry in entries)
    if len(base) == 1:
        return b"".join(_element(_INSTANCE, number, _resources(inner)) for number, inner in _grouped(entries, 1))
    return _resources(entries)


def _resources(entries: Iterable[ResourceValue]) -> bytes:
    """
    The resources of one instance.
    """
    data = bytearray()
    for number, inner in _grouped(entries, 2):
        instances = bytearray()
        for entry in inner:
            if len(entry.path) == 3:
                data += _element(_RESOURCE, number, _bytes(entry))
            else:
                instances += _element(_RESOURCE_INSTANCE, entry.path[3], _bytes(entry))
        if instances:
            data += _element(_MULTIPLE, number, instances)
    return bytes(data)


def _grouped(entries: Iterable[ResourceValue], level: int) -> Iterator[tuple[int, list[ResourceValue]]]:
    """
    Those with the same number at that place together, in the order in which the numbers come first.
    """
    groups: dict[int, list[ResourceValue]] = {}
    for number, some in groupby(entries, lambda entry: entry.path[level]):
        groups.setdefault(number, []).extend(some)
    return iter(groups.items())


def _bytes(entry: ResourceValue) -> bytes:
    return toBytes(entry.type, entry.value)


def _element(kind: int, number: int, value: bytes | bytearray) -> bytes:
    length = len(value)
    if length > _LONGEST:
        raise ContentError(f"TLV: {length} bytes, {_LONGEST} at most")
    head = kind << 6 | (0x20 if number > 0xFF else 0)
    name = number.to_bytes(2 if number > 0xFF else 1, "big")
    if length < 8:
        return bytes((head | length,)) + name + value
    size = (length.bit_length() + 7) // 8
    return bytes((head | size << 3,)) + name + length.to_bytes(size, "big") + value
