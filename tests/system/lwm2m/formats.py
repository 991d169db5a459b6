"""
The payloads of an LwM2M device: TLV, SenML, OMA's JSON, plain text and opaque.

Written for the tests' device from OMA-TS-LightweightM2M 1.0 6.4 and 1.1 7.4, and in no way from the gateway's own.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import cbor2

TEXT = 0
LINKS = 40
OPAQUE = 42
CBOR = 60
SENML_JSON = 110
SENML_CBOR = 112
TLV = 11542
JSON = 11543

# A value and where it is: object, instance, resource and, of a multiple resource, instance of it.
Path = tuple[int, ...]
Entry = tuple[Path, Any]

INSTANCE, RESOURCE_INSTANCE, MULTIPLE, RESOURCE = range(4)


class Malformed(ValueError):
    """
    A payload that is none of its format.
    """


def pathOf(text: str) -> Path:
    """
    The numbers of a path.
    """
    return tuple(int(step) for step in text.split("/") if step)


def textOf(path: Path) -> str:
    """
    The text of a path.
    """
    return "/" + "/".join(map(str, path))


# TLV: a byte that says how the rest is to be read, an identifier, a length, and the value


def tlv(kind: int, number: int, value: bytes) -> bytes:
    """
    One entry.
    """
    first = kind << 6
    name = number.to_bytes(2 if number > 0xFF else 1, "big")
    first |= (len(name) - 1) << 5
    if len(value) < 8:
        return bytes((first | len(value),)) + name + value
    size = (len(value).bit_length() + 7) // 8
    return bytes((first | size << 3,)) + name + len(value).to_bytes(size, "big") + value


def readTLV(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """
    The entries one after the other, each its kind, its identifier and its value.

    @raise Malformed: if one ends too early.
    """
    place = 0
    while place < len(data):
        first = data[place]
        place += 1
        width = 2 if first & 0x20 else 1
        number = int.from_bytes(data[place : place + width], "big")
        place += width
        size = first >> 3 & 3
        length = int.from_bytes(data[place : place + size], "big") if size else first & 7
        place += size
        if place + length > len(data):
            raise Malformed(f"an entry of {length} bytes, of which {len(data) - place} came")
        yield first >> 6, number, data[place : place + length]
        place += length


def binary(kind: str, value: Any) -> bytes:
    """
    A value as TLV holds it.
    """
    if kind == "string":
        return str(value).encode()
    if kind in ("integer", "time"):
        for size in (1, 2, 4, 8):
            if -1 << 8 * size - 1 <= value < 1 << 8 * size - 1:
                return int(value).to_bytes(size, "big", signed=True)
    if kind == "float":
        # In the size that a small device has, where nothing is lost by it.
        short = struct.pack(">f", value)
        return short if struct.unpack(">f", short)[0] == value else struct.pack(">d", value)
    if kind == "boolean":
        return b"\x01" if value else b"\x00"
    if kind == "opaque":
        return bytes(value)
    if kind == "link":
        return struct.pack(">HH", *value)
    raise Malformed(f"no {kind} is {value!r}")


def fromBinary(kind: str, data: bytes) -> Any:
    """
    The reverse of L{binary}.

    @raise Malformed: if there is no such value.
    """
    if kind == "string":
        return data.decode()
    if kind in ("integer", "time") and len(data) in (1, 2, 4, 8):
        return int.from_bytes(data, "big", signed=True)
    if kind == "float" and len(data) in (4, 8):
        return struct.unpack(">f" if len(data) == 4 else ">d", data)[0]
    if kind == "boolean" and data in (b"\x00", b"\x01"):
        return data == b"\x01"
    if kind == "opaque":
        return data
    if kind == "link" and len(data) == 4:
        return struct.unpack(">HH", data)
    raise Malformed(f"no {kind} is {data.hex()}")


def toTLV(base: Path, entries: Iterable[Entry], kinds: Kinds) -> bytes:
    """
    Get the answer to a read of C{base}.
    """
    branches: dict[Path, bytes] = {}
    for path, value in entries:
        data = binary(kinds(path), value)
        kind = RESOURCE_INSTANCE if len(path) == 4 else RESOURCE
        if len(path) == 4 and len(base) < 4:
            branches[path[:3]] = branches.get(path[:3], b"") + tlv(kind, path[3], data)
        else:
            branches[path] = tlv(kind, path[-1], data)
    for path in [path for path in branches if len(path) == 3 and kinds.multiple(path)]:
        branches[path] = tlv(MULTIPLE, path[2], branches[path])
    if len(base) > 1:
        return b"".join(branches.values())
    instances: dict[int, bytes] = {}
    for path, data in branches.items():
        instances[path[1]] = instances.get(path[1], b"") + data
    return b"".join(tlv(INSTANCE, number, data) for number, data in instances.items())


def fromTLV(base: Path, data: bytes, kinds: Kinds, spare: int = 0) -> list[Entry]:
    """
    Get the values of a write to C{base}.

    @param spare: the instance that is meant if none is named.
    """
    entries: list[Entry] = []
    for kind, number, value in readTLV(data):
        if kind == INSTANCE:
            entries += fromTLV((base[0], number), value, kinds)
        elif kind == MULTIPLE:
            entries += fromTLV((*_instance(base, spare), number), value, kinds)
        elif kind == RESOURCE_INSTANCE:
            path = (*base[:3], number)
            entries.append((path, fromBinary(kinds(path), value)))
        else:
            path = (*_instance(base, spare), number)
            entries.append((path, fromBinary(kinds(path), value)))
    return entries


def _instance(base: Path, spare: int) -> Path:
    return base[:2] if len(base) > 1 else (base[0], spare)


# SenML (RFC 8428) and the older JSON of LwM2M 1.0


_KEYS = {"float": "v", "integer": "v", "time": "v", "string": "vs", "boolean": "vb", "opaque": "vd", "link": "vlo"}
_LABELS: dict[str, Any] = {"bn": -2, "n": 0, "v": 2, "vs": 3, "vb": 4, "vd": 8}
_NAMES: dict[Any, str] = {label: name for name, label in _LABELS.items()}


def _record(name: str, kind: str, value: Any, bare: bool) -> dict[str, Any]:
    if kind == "link":
        value = "{}:{}".format(*value)
    elif kind == "opaque" and not bare:
        value = base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    return {"n": name, _KEYS[kind]: value}


def _records(base: Path, entries: Iterable[Entry], kinds: Kinds, bare: bool) -> list[dict[str, Any]]:
    prefix = textOf(base) if base else ""
    made = [_record(textOf(path)[len(prefix) :], kinds(path), value, bare) for path, value in entries]
    if prefix:
        made = [{"bn": prefix, **made[0]}, *made[1:]] if made else [{"bn": prefix}]
    for record in made:
        if record.get("n") == "":
            del record["n"]
    return made


def toSenMLJSON(base: Path, entries: Iterable[Entry], kinds: Kinds) -> bytes:
    """
    A pack in JSON.
    """
    return json.dumps(_records(base, entries, kinds, False)).encode()


def toSenMLCBOR(base: Path, entries: Iterable[Entry], kinds: Kinds) -> bytes:
    """
    A pack in CBOR, with the labels of RFC 8428 6.
    """
    records = _records(base, entries, kinds, True)
    return cbor2.dumps([{_LABELS.get(name, name): value for name, value in record.items()} for record in records])


def records(data: bytes, form: int) -> list[tuple[Path, dict[str, Any]]]:
    """
    The records of a SenML pack, each with its path.
    """
    try:
        if form == SENML_CBOR:
            pack = [{_NAMES.get(key, key): value for key, value in each.items()} for each in cbor2.loads(data)]
        else:
            pack = json.loads(data)
    except (ValueError, TypeError, AttributeError, cbor2.CBORDecodeError) as error:
        raise Malformed(str(error)) from error
    found = []
    prefix = ""
    for each in pack:
        prefix = each.get("bn", prefix)
        found.append((pathOf(prefix + each.get("n", "")), each))
    return found


def fromSenML(data: bytes, form: int, kinds: Kinds) -> list[Entry]:
    """
    Get the values that are written with a pack.
    """
    entries: list[Entry] = []
    for path, record in records(data, form):
        kind = kinds(path)
        key = _KEYS[kind]
        if key not in record:
            raise Malformed(f"{textOf(path)} is a {kind}, but the record is {record}")
        value = record[key]
        if kind == "opaque" and isinstance(value, str):
            value = base64.urlsafe_b64decode(value + "==")
        elif kind == "link":
            value = tuple(int(part) for part in value.split(":"))
        elif kind in ("integer", "time"):
            if value != int(value):
                raise Malformed(f"{textOf(path)}: {value} is no {kind}")
            value = int(value)
        entries.append((path, value))
    return entries


def toJSON(base: Path, entries: Iterable[Entry], kinds: Kinds) -> bytes:
    """
    OMA's JSON of 1.0 (6.4.4).
    """
    found = []
    for path, value in entries:
        name = "/".join(map(str, path[len(base) :]))
        kind = kinds(path)
        if kind == "string":
            found.append({"n": name, "sv": value})
        elif kind == "boolean":
            found.append({"n": name, "bv": value})
        elif kind == "opaque":
            found.append({"n": name, "sv": base64.b64encode(value).decode()})
        elif kind == "link":
            found.append({"n": name, "ov": "{}:{}".format(*value)})
        else:
            found.append({"n": name, "v": value})
    return json.dumps({"bn": textOf(base) + ("/" if len(base) < 3 else ""), "e": found}).encode()


def toText(kind: str, value: Any) -> bytes:
    """
    Plain text (1.0 6.4.1).
    """
    if kind == "boolean":
        return b"1" if value else b"0"
    if kind == "opaque":
        return base64.b64encode(value)
    if kind == "link":
        return "{}:{}".format(*value).encode()
    return str(value).encode()


def fromText(kind: str, data: bytes) -> Any:
    """
    The reverse of L{toText}.

    @raise Malformed: if it is none.
    """
    try:
        text = data.decode()
        if kind in ("integer", "time"):
            return int(text)
        if kind == "float":
            return float(text)
        if kind == "boolean":
            return {"0": False, "1": True}[text]
        if kind == "opaque":
            return base64.b64decode(text, validate=True)
        if kind == "link":
            first, second = text.split(":")
            return int(first), int(second)
        return text
    except (ValueError, KeyError) as error:
        raise Malformed(f"no {kind} is {data!r}") from error


class Kinds:
    """
    The type of each resource's value, by object and resource.
    """

    def __init__(self, table: dict[tuple[int, int], str]) -> None:
        """
        @param table: kinds, with an asterisk after those of multiple resources.
        """
        self._table = table

    def __call__(self, path: Path) -> str:
        """
        The kind of a resource, or of an instance of one.

        @raise Malformed: if nothing is known of it.
        """
        if len(path) < 3 or (path[0], path[2]) not in self._table:
            raise Malformed(f"{textOf(path)} is no resource of this device")
        return self._table[path[0], path[2]].rstrip("*")

    def multiple(self, path: Path) -> bool:
        """
        Whether a resource has instances.
        """
        return self._table.get((path[0], path[2]), "").endswith("*")
