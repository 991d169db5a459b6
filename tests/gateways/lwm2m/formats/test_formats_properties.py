"""
Properties of all formats that have several values: what was written is read, by us and by a device that has nothing of
ours; nothing that comes can do harm.
"""

import gc
import json
import math
import time
import tracemalloc
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.content import OMA_JSON, SENML_CBOR, SENML_JSON, TLV, Dialect, decode, encode
from gateways.lwm2m.formats.entries import ResourceValue
from gateways.lwm2m.formats.values import (
    BOOLEAN,
    CORELINK,
    FLOAT,
    INTEGER,
    OBJLNK,
    OPAQUE,
    STRING,
    TIME,
    TYPES,
    UNSIGNED,
    ObjectLink,
    Value,
    fromText,
    toText,
)
from gateways.lwm2m.objects.models import Models, ObjectModel, ResourceModel
from gateways.lwm2m.objects.paths import Path, isWithin
from tests.system.lwm2m import formats as device

FORMATS = [TLV, OMA_JSON, SENML_JSON, SENML_CBOR]
READ = [*FORMATS, 0, 42, 60, 1541, 1542, 1543, 1544]

# One resource of each type, and a multiple one of each from 300 on; in an object with a long number and in a short one.
RESOURCES = dict(enumerate(TYPES))
MULTIPLE = {300 + number: type for number, type in RESOURCES.items()}


def _object(number: int) -> ObjectModel:
    both = RESOURCES | MULTIPLE
    resources = {id: ResourceModel(id, f"r{id}", "RW", id >= 300, False, type, "", "") for id, type in both.items()}
    return ObjectModel(number, f"o{number}", "1.0", "", True, False, resources)


MODELS = Models([_object(7), _object(33000)])
DIALECT = Dialect(MODELS)

WHOLE = st.integers(-(2**63), 2**63 - 1)
# JSON has a number for none of the others.
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(max_size=30)
NUMBERS = st.integers(0, 65535)
VALUES: dict[str, st.SearchStrategy[Value]] = {
    STRING: TEXT,
    CORELINK: TEXT,
    INTEGER: WHOLE,
    UNSIGNED: st.integers(0, 2**64 - 1),
    FLOAT: FLOATS,
    BOOLEAN: st.booleans(),
    OPAQUE: st.binary(max_size=300),
    TIME: WHOLE,
    OBJLNK: st.builds(ObjectLink, NUMBERS, NUMBERS),
}
INSTANCES = st.integers(0, 65534) | st.integers(0, 3)


@st.composite
def entries(draw: st.DrawFn, base: Path) -> list[ResourceValue]:
    """
    Values below a path, each in one place, in the order in which they stand in a tree.
    """
    found: dict[Path, ResourceValue] = {}
    for _ in range(draw(st.integers(0, 6))):
        path = base
        if len(path) < 2:
            path += (draw(INSTANCES),)
        if len(path) < 3:
            path += (draw(st.sampled_from([*RESOURCES, *MULTIPLE])),)
        if len(path) < 4 and path[2] in MULTIPLE:
            path += (draw(INSTANCES),)
        type = MODELS.typeOf(path)
        found[path] = ResourceValue(path, type, draw(VALUES[type]))
    return [found[path] for path in sorted(found)]


BASES: list[Path] = [(7,), (33000,), (7, 0), (33000, 40000), (7, 0, 3), (7, 0, 303), (7, 0, 303, 5), (33000, 1, 306)]


@pytest.mark.parametrize("contentFormat", FORMATS)
@given(data=st.data())
def test_roundTrip(contentFormat: int, data: st.DataObject) -> None:
    """
    Written values are read again, with the same types.
    """
    base = data.draw(st.sampled_from(BASES))
    written = data.draw(entries(base))
    prefix = data.draw(st.sampled_from(["", "/lwm2m"]))
    payload = encode(contentFormat, base, written, prefix)
    read = decode(contentFormat, payload, base, Dialect(MODELS, prefix))
    assert sorted(read) == written
    for one, other in zip(sorted(read), written, strict=True):
        assert one.value.__class__ is other.value.__class__


@pytest.mark.parametrize("contentFormat", [SENML_JSON, SENML_CBOR])
@given(data=st.data())
def test_composite(contentFormat: int, data: st.DataObject) -> None:
    """
    Likewise for several objects at once.
    """
    written = data.draw(entries((7,))) + data.draw(entries((33000,)))
    assert decode(contentFormat, encode(contentFormat, (), written), (), DIALECT) == written


@given(st.sampled_from(TYPES), st.data())
def test_text(type: str, data: st.DataObject) -> None:
    """
    Likewise for a value alone as text.
    """
    value = data.draw(VALUES[type])
    read = fromText(type, toText(type, value))
    assert read == value
    assert read.__class__ is value.__class__


# The device of the system tests knows neither unsigned numbers nor links, and is too small for large floats.
KINDS = {STRING: "string", INTEGER: "integer", FLOAT: "float", BOOLEAN: "boolean"}
KINDS |= {OPAQUE: "opaque", TIME: "time", OBJLNK: "link"}


def _kinds() -> device.Kinds:
    table: dict[tuple[int, int], str] = {}
    for number in (7, 33000):
        table |= {(number, id): KINDS[type] for id, type in RESOURCES.items() if type in KINDS}
        table |= {(number, id): KINDS[type] + "*" for id, type in MULTIPLE.items() if type in KINDS}
    return device.Kinds(table)


THEIRS = _kinds()


def known(found: list[ResourceValue]) -> list[ResourceValue]:
    """
    Those that such a device can have.
    """
    return [
        entry
        for entry in found
        if entry.type in KINDS and not (isinstance(entry.value, float) and abs(entry.value) > 1e38)
    ]


Written = Callable[[Path, Iterable[device.Entry], device.Kinds], bytes]
WRITERS: dict[int, Written] = {
    TLV: device.toTLV,
    OMA_JSON: device.toJSON,
    SENML_JSON: device.toSenMLJSON,
    SENML_CBOR: device.toSenMLCBOR,
}


@pytest.mark.parametrize("contentFormat", FORMATS)
@given(data=st.data())
def test_fromDevice(contentFormat: int, data: st.DataObject) -> None:
    """
    The values that a device writes are read as it has them.
    """
    base = data.draw(st.sampled_from(BASES))
    has = known(data.draw(entries(base)))
    payload = WRITERS[contentFormat](base, [(entry.path, entry.value) for entry in has], THEIRS)
    assert sorted(decode(contentFormat, payload, base, DIALECT)) == has


@pytest.mark.parametrize("contentFormat", [TLV, SENML_JSON, SENML_CBOR])
@given(data=st.data())
def test_toDevice(contentFormat: int, data: st.DataObject) -> None:
    """
    A device reads the values that the gateway writes as they were meant.
    """
    base = data.draw(st.sampled_from(BASES))
    meant = known(data.draw(entries(base)))
    payload = encode(contentFormat, base, meant)
    if contentFormat == TLV:
        read = device.fromTLV(base, payload, THEIRS)
    else:
        read = device.fromSenML(payload, contentFormat, THEIRS)
    assert sorted(read) == [(entry.path, entry.value) for entry in meant]


BASE = st.sampled_from([*BASES, (), (8,), (7, 0, 99)])


@pytest.mark.parametrize("contentFormat", READ)
@given(data=st.binary(max_size=80), base=BASE)
def test_anything(contentFormat: int, data: bytes, base: Path) -> None:
    """
    Any payload is values below what was asked for, or is refused.
    """
    _read(contentFormat, data, base)


@pytest.mark.parametrize("contentFormat", FORMATS)
@given(data=st.data(), place=st.integers(0, 1000), byte=st.integers(0, 255))
def test_damaged(contentFormat: int, data: st.DataObject, place: int, byte: int) -> None:
    """
    So is one with one byte exchanged, or cut off anywhere.
    """
    base = data.draw(st.sampled_from(BASES))
    payload = bytearray(encode(contentFormat, base, data.draw(entries(base))))
    cut = bytes(payload[: place % (len(payload) + 1)])
    if payload:
        payload[place % len(payload)] = byte
    for damaged in (cut, bytes(payload)):
        _read(contentFormat, damaged, base)


def _read(contentFormat: int, payload: bytes, base: Path) -> None:
    try:
        read = decode(contentFormat, payload, base, DIALECT)
    except ContentError as error:
        assert len(str(error)) < 300
        return
    for path, type, value, when in read:
        # Bytes may be those of an object or an instance.
        shortest = 1 if contentFormat in (42, 1544) else 3
        assert isWithin(path, base) and shortest <= len(path) <= 4
        assert type in TYPES
        assert value is not None
        assert when is None or math.isfinite(when)


JSON_NAME = st.text("/0123456789abn", max_size=9)
LONG = st.sampled_from([10**18, 2**64, 10**30, 10**309, -(10**400), 1.7e308, -1.7e308])
JSON_VALUE = st.none() | st.booleans() | st.integers() | LONG | FLOATS | TEXT
SENML = st.dictionaries(
    st.sampled_from(["bn", "bt", "bv", "bver", "n", "t", "v", "vs", "vb", "vd", "vlo", "x", "x_"]),
    JSON_NAME | JSON_VALUE,
    max_size=4,
)
ELEMENT = st.dictionaries(st.sampled_from(["n", "v", "sv", "bv", "ov", "t", "x"]), JSON_NAME | JSON_VALUE, max_size=4)
DOCUMENT = st.fixed_dictionaries({"e": st.lists(ELEMENT, max_size=3)}, optional={"bn": JSON_NAME, "bt": JSON_VALUE})


@given(st.lists(SENML, max_size=3), DOCUMENT, BASE)
def test_anyJSON(records: list[object], document: object, base: Path) -> None:
    """
    So is JSON that looks like what is wanted.
    """
    _read(SENML_JSON, json.dumps(records).encode(), base)
    _read(OMA_JSON, json.dumps(document).encode(), base)


# Inputs that expand most: the smallest elements, deep nesting, absent lengths, long names that hold for every record
# after them.
HOSTILE = [
    (TLV, b"\xc0\x00" * 500_000),
    (TLV, b"\x18\x00\x0f\xff\xfb" + b"\xc0\x00" * 500_000),
    (TLV, b"\xd8\x00\xff\xff\xff"),
    (SENML_CBOR, b"\x9f" + b"\xa0" * 1_000_000),
    (SENML_CBOR, b"\x81" * 1_000_000),
    (SENML_CBOR, b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff\xa1\x02\x00"),
    (SENML_CBOR, b"\x81\xa1\x03\x7f" + b"\x60" * 1_000_000),
    (SENML_CBOR, b"\x81\xa1\x03\x7b\x7f\xff\xff\xff\xff\xff\xff\xff"),
    (SENML_CBOR, b"\x9f\xa1\x21\x79\xff\xff" + b"/" * 65535 + b"\xa2\x00\x61\x31\x02\x00" * 150_000),
    (SENML_JSON, b"[" * 1_000_000),
    (SENML_JSON, b'[{"x":' * 166_000),
    (SENML_JSON, b"[" + b"{}," * 333_000 + b"{}]"),
    (SENML_JSON, b'[{"bn":"' + b"/" * 500_000 + b'"},' + b'{"v":1},' * 60_000 + b'{"v":1}]'),
    (SENML_JSON, b"[{" + b",".join(b'"%d":1' % number for number in range(100_000)) + b"}]"),
    (SENML_JSON, b'[{"n":"/7/0/0","v":' + b"1" * 1_000_000 + b"}]"),
    (OMA_JSON, b'{"e":[' + b"{}," * 333_000 + b"{}]}"),
    (OMA_JSON, b'{"e":[],"x":' + b"[" * 1_000_000),
    (OMA_JSON, b'{"e":[{"n":"0","sv":"' + b"\\u0000" * 160_000 + b'"}]}'),
    (0, b"1" * 1_000_000),
]


@pytest.mark.parametrize(("contentFormat", "payload"), HOSTILE)
def test_memory(contentFormat: int, payload: bytes) -> None:
    """
    A payload of a million bytes costs no more memory than some times itself, and no more time than a turn may have.
    """
    gc.collect()
    tracemalloc.start()
    try:
        _read(contentFormat, payload, (7, 0, 0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * len(payload) + 200_000
    began = time.process_time()
    _read(contentFormat, payload, (7, 0, 0))
    assert time.process_time() - began < 0.5
