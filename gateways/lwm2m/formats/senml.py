"""
SenML (RFC 8428) as JSON, content format 110, and as CBOR, content format 112. Pure.

Both encode the same records, so this module first reads both into the same records, with the names of JSON.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from gateways.cbor import ARRAY, MAP, CBORError, CBORReader, Scalar, encodeHead, encodeScalar
from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.entries import ResourceValue, countEntries, fewRecords, timeOf
from gateways.lwm2m.formats.jsontext import decodeJSON
from gateways.lwm2m.formats.names import Names, writtenNames
from gateways.lwm2m.formats.values import (
    BOOLEAN,
    FLOAT,
    OBJLNK,
    OPAQUE,
    STRING,
    TEXTS,
    ObjectLink,
    Value,
    fromBase64,
    fromJSON,
    linkText,
    secondsOf,
    toJSON,
)
from gateways.lwm2m.objects.models import Models
from gateways.lwm2m.objects.paths import Path, pathText, shown

Record: TypeAlias = Mapping[str, Scalar]

# Names and their numbers in CBOR (RFC 8428 table 4); what is not there, "vlo" among them, is written out.
_LABELS: Final = {
    "bver": -1,
    "bn": -2,
    "bt": -3,
    "bu": -4,
    "bv": -5,
    "bs": -6,
    "n": 0,
    "u": 1,
    "v": 2,
    "vs": 3,
    "vb": 4,
    "s": 5,
    "t": 6,
    "ut": 7,
    "vd": 8,
}
_NAMES: Final = {number: name for name, number in _LABELS.items()}

# The version of what is read here (RFC 8428 4.4).
_VERSION: Final = 10
# Fields in one record; there are sixteen names.
_MOST_FIELDS: Final = 32

# The types of values whose resources have no definition, by their keys.
_TYPES: Final = {"v": FLOAT, "vs": STRING, "vb": BOOLEAN, "vd": OPAQUE, "vlo": OBJLNK}

_DECODER: Final = msgspec.json.Decoder(list[dict[str, str | int | float | bool | None]])


def decodeSenMLJSON(payload: bytes, base: Path, models: Models, prefix: str = "") -> list[ResourceValue]:
    """
    The values of an answer to a request for C{base}, or of a Send.

    @raise ContentError: it is something else.
    """
    try:
        fewRecords(payload)
        return _resolve(decodeJSON(_DECODER, payload), Names(base, prefix), models)
    except ContentError as error:
        raise ContentError(f"SenML JSON: {error}") from error


def decodeSenMLCBOR(payload: bytes, base: Path, models: Models, prefix: str = "") -> list[ResourceValue]:
    """
    The values of an answer to a request for C{base}, or of a Send.

    @raise ContentError: it is something else.
    """
    try:
        return _resolve(_records(CBORReader(payload)), Names(base, prefix), models)
    except (ContentError, CBORError) as error:
        raise ContentError(f"SenML CBOR: {error}") from error


def _records(reader: CBORReader) -> Iterator[Record]:
    """
    The records of CBOR, with the names of JSON.
    """
    count = reader.container(ARRAY)
    read = 0
    while not reader.isBreak() if count is None else read < count:
        read += 1
        countEntries(read)
        yield _record(reader)
    if not reader.atEnd:
        raise ContentError("something after its end")


def _record(reader: CBORReader) -> Record:
    count = reader.container(MAP)
    record: dict[str, Scalar] = {}
    read = 0
    while not reader.isBreak() if count is None else read < count:
        read += 1
        if read > _MOST_FIELDS:
            raise ContentError(f"more than {_MOST_FIELDS} fields in a record")
        label = reader.scalar()
        if isinstance(label, int):
            # Numbers without a name are of fields that nobody has to understand.
            label = _NAMES.get(label, str(label))
        elif not isinstance(label, str):
            raise ContentError("a field whose name is neither a text nor a number")
        if label in record:
            raise ContentError(f"the field {shown(label)} for the second time in a record")
        record[label] = reader.scalar()
    return record


class _Base:
    """
    The base fields of records, which hold for the records after them (RFC 8428 4.1).
    """

    __slots__ = ("name", "time", "value")

    def __init__(self) -> None:
        self.name = ""
        self.time: float | None = None
        self.value: int | float = 0

    def update(self, record: Record) -> None:
        """
        @raise ContentError: a field is of a wrong kind, or of a version or extension that is not understood.
        """
        for field in record:
            if field.endswith("_"):  # RFC 8428 4.4
                raise ContentError(f"the field {shown(field)}, which is to be understood, is not")
        version = _number(record, "bver")
        if version is not None and version > _VERSION:
            raise ContentError(f"version {version}")
        self.name = _text(record, "bn", self.name)
        time = _time(record, "bt")
        if time is not None:
            self.time = time
        value = _number(record, "bv")
        if value is not None:
            self.value = value


def _resolve(records: Sequence[Record] | Iterator[Record], names: Names, models: Models) -> list[ResourceValue]:
    """
    The values of records.
    """
    base = _Base()
    entries: list[ResourceValue] = []
    for record in records:
        base.update(record)
        keys = [key for key in _TYPES if record.get(key) is not None]
        if not keys and "n" not in record:  # it is there for its base fields alone
            continue
        path = names.resolve(base.name, _text(record, "n", ""))
        if len(keys) != 1:
            raise ContentError(f"{pathText(path)}: {len(keys)} values where one is wanted")
        type = models.typeOf(path) or _TYPES[keys[0]]
        try:
            time = timeOf(base.time, _time(record, "t"))
            entries.append(ResourceValue(path, type, _value(record, keys[0], type, base.value), time))
        except ContentError as error:
            raise ContentError(f"{pathText(path)}: {error}") from error
    return entries


def _value(record: Record, key: str, type: str, baseValue: int | float) -> Value:
    value = record[key]
    if key == "vd":
        if isinstance(value, str):
            value = fromBase64(value)
        if type != OPAQUE or not isinstance(value, bytes):
            raise ContentError(f"bytes where {type} is wanted")
        return value
    if type == OPAQUE or isinstance(value, bytes):
        raise ContentError(f"the field {key} where {type} is wanted")
    if key == "v" and baseValue:
        added = fromJSON(FLOAT, value) if isinstance(value, str) else _number(record, "v")
        assert isinstance(added, int | float)
        value = added + baseValue
    if key == "vb" and value.__class__ is int and value in (0, 1):
        value = bool(value)
    return fromJSON(type, value)


def _number(record: Record, field: str) -> int | float | None:
    """
    @raise ContentError: it is not a number, or not a finite one.
    """
    value = record.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value - value != 0:
        raise ContentError(f"the field {field} is not a number")
    # Decoded JSON may have whole numbers of any length, which do not go with floats.
    if isinstance(value, int) and value.bit_length() > 64:
        raise ContentError(f"the field {field} is out of range")
    return value


def _time(record: Record, field: str) -> int | float | None:
    """
    A number, which may be a text, or a date that is one.

    @raise ContentError: it is neither.
    """
    value = record.get(field)
    if not isinstance(value, str):
        return _number(record, field)
    seconds = secondsOf(value)
    if seconds is None or seconds - seconds != 0:
        raise ContentError(f"the field {field} is not a time")
    return seconds


def _text(record: Record, field: str, default: str) -> str:
    value = record.get(field)
    if value is None:
        return default
    if not isinstance(value, str):
        raise ContentError(f"the field {field} is not text")
    return value


def encodeSenMLJSON(base: Path, entries: Sequence[ResourceValue], prefix: str = "") -> bytes:
    """
    Values as the payload of a request to C{base}; for the device as a whole each has its full path.

    @raise ContentError: a value is a number that JSON has not.
    """
    records: list[dict[str, object]] = []
    for record, entry in zip(_written(base, entries, prefix), entries, strict=True):
        value = record.get("v")
        if isinstance(value, float) and value - value != 0:
            raise ContentError(f"{pathText(entry.path)}: JSON has no {toJSON(FLOAT, value)}")
        data = record.get("vd")
        if isinstance(data, bytes):
            record["vd"] = urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
        records.append(record)
    return msgspec.json.encode(records)


def encodeSenMLCBOR(base: Path, entries: Sequence[ResourceValue], prefix: str = "") -> bytes:
    """
    Values as the payload of a request to C{base}; for the device as a whole each has its full path.
    """
    return _encodeRecords(_written(base, entries, prefix))


def encodePathsJSON(paths: Sequence[Path], prefix: str = "") -> bytes:
    """
    Paths without values.
    """
    return msgspec.json.encode([{"n": prefix + pathText(path)} for path in paths])


def encodePathsCBOR(paths: Sequence[Path], prefix: str = "") -> bytes:
    """
    Paths without values.
    """
    return _encodeRecords([{"n": prefix + pathText(path)} for path in paths])


def _written(base: Path, entries: Sequence[ResourceValue], prefix: str) -> list[dict[str, object]]:
    """
    Values as records; the base name stands in the first.
    """
    records: list[dict[str, object]] = []
    for path, type, value, _ in entries:
        baseName, name = writtenNames(base, path, prefix)
        record: dict[str, object] = {}
        if baseName and not records:
            record["bn"] = baseName
        if name:
            record["n"] = name
        record[_key(type)] = linkText(value) if isinstance(value, ObjectLink) else value
        records.append(record)
    return records


def _key(type: str) -> str:
    if type in TEXTS:
        return "vs"
    return {BOOLEAN: "vb", OPAQUE: "vd", OBJLNK: "vlo"}.get(type, "v")


def _encodeRecords(records: Sequence[Mapping[str, object]]) -> bytes:
    data = bytearray(encodeHead(ARRAY, len(records)))
    for record in records:
        data += encodeHead(MAP, len(record))
        for name, value in record.items():
            data += encodeScalar(_LABELS.get(name, name))
            assert isinstance(value, str | int | float | bytes | bool)
            data += encodeScalar(value)
    return bytes(data)
