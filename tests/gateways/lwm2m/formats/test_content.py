"""
Tests for L{gateways.lwm2m.formats.content}: which format is read as what, and which is chosen.
"""

import json

import cbor2
import pytest

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.content import (
    OMA_JSON,
    SENML_CBOR,
    SENML_JSON,
    TEXT,
    TLV,
    Dialect,
    decode,
    dialectOf,
    encode,
    encodePaths,
    writtenFormats,
)
from gateways.lwm2m.formats.entries import ResourceValue
from gateways.lwm2m.formats.values import BOOLEAN, FLOAT, INTEGER, OBJLNK, OPAQUE, STRING, TIME, ObjectLink
from gateways.lwm2m.links import Listing
from gateways.lwm2m.objects.paths import Path
from tests.gateways.lwm2m.examples import (
    DEVICE,
    DEVICE_CBOR,
    DEVICE_JSON,
    DEVICE_SENML,
    DEVICE_TLV,
    MODELS,
)

DIALECT = Dialect(MODELS)


@pytest.mark.parametrize(
    ("contentFormat", "payload"),
    [
        (11542, DEVICE_TLV),
        (1542, DEVICE_TLV),
        (11543, DEVICE_JSON),
        (1543, DEVICE_JSON),
        (110, DEVICE_SENML),
        (112, DEVICE_CBOR),
    ],
)
def test_instance(contentFormat: int, payload: bytes) -> None:
    """
    An instance is the same in every format that has several values, under the old numbers too.
    """
    assert decode(contentFormat, payload, (3, 0), DIALECT) == DEVICE
    # Some devices answer a read of an object with one instance as if it were a read of that.
    assert decode(contentFormat, payload, (3,), DIALECT) == DEVICE


@pytest.mark.parametrize("contentFormat", [TLV, OMA_JSON, SENML_JSON, SENML_CBOR])
def test_prefix(contentFormat: int) -> None:
    """
    Content that was written with an alternate path is read with it.
    """
    assert (
        decode(contentFormat, encode(contentFormat, (3, 0), DEVICE, "/a/b"), (3, 0), Dialect(MODELS, "/a/b")) == DEVICE
    )


@pytest.mark.parametrize(
    ("contentFormat", "path", "payload", "entry"),
    [
        # Absent, as it often is, and the number that it means; and what it was before.
        (None, (3, 0, 0), b"Open", ResourceValue((3, 0, 0), STRING, "Open")),
        (0, (3, 0, 0), b"", ResourceValue((3, 0, 0), STRING, "")),
        (1541, (3, 0, 9), b"95", ResourceValue((3, 0, 9), INTEGER, 95)),
        (0, (3, 0, 9), b"-95", ResourceValue((3, 0, 9), INTEGER, -95)),
        (0, (3, 0, 13), b"1367491215", ResourceValue((3, 0, 13), TIME, 1367491215)),
        (0, (6, 0, 0), b"48.2", ResourceValue((6, 0, 0), FLOAT, 48.2)),
        # 1 is true (known upstream error).
        (0, (1, 0, 6), b"1", ResourceValue((1, 0, 6), BOOLEAN, True)),
        (0, (1, 0, 6), b"0", ResourceValue((1, 0, 6), BOOLEAN, False)),
        (0, (1, 0, 6), b"true", ResourceValue((1, 0, 6), BOOLEAN, True)),
        (0, (1, 0, 6), b"false", ResourceValue((1, 0, 6), BOOLEAN, False)),
        (0, (3, 0, 22, 1), b"66:1", ResourceValue((3, 0, 22, 1), OBJLNK, ObjectLink(66, 1))),
        (0, (6, 0, 4), b"AQID", ResourceValue((6, 0, 4), OPAQUE, b"\1\2\3")),
        (0, (3, 0, 200), b"x", ResourceValue((3, 0, 200), STRING, "x")),
        (42, (6, 0, 4), b"\1\2\3", ResourceValue((6, 0, 4), OPAQUE, b"\1\2\3")),
        (42, (3, 0, 200), b"\xff", ResourceValue((3, 0, 200), OPAQUE, b"\xff")),
        (1544, (6, 0, 4), b"", ResourceValue((6, 0, 4), OPAQUE, b"")),
        (60, (3, 0, 9), cbor2.dumps(-5), ResourceValue((3, 0, 9), INTEGER, -5)),
        (60, (6, 0, 0), cbor2.dumps(5), ResourceValue((6, 0, 0), FLOAT, 5.0)),
        (60, (6, 0, 4), cbor2.dumps(b"\1"), ResourceValue((6, 0, 4), OPAQUE, b"\1")),
        (60, (3, 0, 200), cbor2.dumps("x"), ResourceValue((3, 0, 200), STRING, "x")),
        (60, (3, 0, 22, 0), cbor2.dumps("66:1"), ResourceValue((3, 0, 22, 0), OBJLNK, ObjectLink(66, 1))),
    ],
)
def test_single(contentFormat: int | None, path: Path, payload: bytes, entry: ResourceValue) -> None:
    """
    One value, whose type the definition knows.
    """
    (read,) = decode(contentFormat, payload, path, DIALECT)
    assert read == entry
    assert read.value.__class__ is entry.value.__class__


@pytest.mark.parametrize(
    ("contentFormat", "path", "payload", "reason"),
    [
        (None, (3, 0, 9), b"", "/3/0/9: '' is not a valid Integer"),
        (0, (3, 0, 9), b"high", "/3/0/9: 'high' is not a valid Integer"),
        (0, (1, 0, 6), b"yes", "/1/0/6: 'yes' is not a valid Boolean"),
        (0, (3, 0, 0), b"\xff", "/3/0/0: not UTF-8"),
        (0, (3, 0), b"x", "content format 0 is for one value, not for /3/0"),
        (60, (3, 0, 9), b"\x05\x05", "/3/0/9: something after the value"),
        (60, (3, 0, 9), b"\x41a", "/3/0/9: bytes where Integer is wanted"),
        (60, (6, 0, 4), b"\x61a", "/6/0/4: no bytes"),
        (60, (3, 0, 200), b"\x05", "/3/0/200: 5 is not a valid String"),
        (40, (3, 0), b"</3/0>", "content format 40"),
        (50, (3, 0), b"{}", "content format 50"),
        (65535, (3, 0, 0), b"x", "content format 65535"),
    ],
)
def test_wrong(contentFormat: int | None, path: Path, payload: bytes, reason: str) -> None:
    """
    Content that is not in its format, or in a format that can't express it, is refused.
    """
    with pytest.raises(ContentError, match=reason):
        decode(contentFormat, payload, path, DIALECT)


def test_nothing() -> None:
    """
    An instance without a resource has nothing to say, not even a format.
    """
    assert decode(None, b"", (5, 0), DIALECT) == []
    assert decode(TLV, b"", (5, 0), DIALECT) == []
    assert decode(SENML_JSON, b"[]", (5, 0), DIALECT) == []
    assert decode(SENML_CBOR, b"\x80", (5, 0), DIALECT) == []


@pytest.mark.parametrize(
    ("version", "formats", "writes", "composites"),
    [
        ("1.0", [], (TLV, OMA_JSON), ()),
        ("1", [], (TLV, OMA_JSON), ()),
        ("", [], (TLV, OMA_JSON), ()),
        ("1.0", [11542, 11543], (TLV, OMA_JSON), ()),
        ("1.0", [11543], (OMA_JSON, TLV), ()),
        ("1.1", [], (TLV, SENML_JSON, SENML_CBOR), (SENML_JSON, SENML_CBOR)),
        ("1.1", [60, 110, 112, 11542, 11543], (TLV, SENML_CBOR, SENML_JSON, OMA_JSON), (SENML_CBOR, SENML_JSON)),
        ("1.1", [110, 112], (SENML_CBOR, SENML_JSON, TLV), (SENML_CBOR, SENML_JSON)),
        ("1.1", [110], (SENML_JSON, TLV, SENML_CBOR), (SENML_JSON, SENML_CBOR)),
        ("1.1", [0, 42], (TLV, SENML_JSON, SENML_CBOR), (SENML_JSON, SENML_CBOR)),
        ("1.2", [112], (SENML_CBOR, TLV, SENML_JSON), (SENML_CBOR, SENML_JSON)),
    ],
)
def test_dialect(version: str, formats: list[int], writes: tuple[int, ...], composites: tuple[int, ...]) -> None:
    """
    A device is written to in TLV, unless it has told formats and that is not among them; then what it has not told
    comes last. One of 1.0 has no composites.
    """
    listing = Listing("/a", ((3, 0),), {3: "1.1"}, frozenset(formats))
    dialect = dialectOf(version, listing, MODELS)
    single = (TEXT, 42) if formats == [0, 42] else ()
    assert dialect == Dialect(MODELS, "/a", writes, single, composites)


@pytest.mark.parametrize(
    ("formats", "entry", "expected"),
    [
        ([0, 42], ResourceValue((3, 0, 14), STRING, "x"), [TEXT, TLV, SENML_JSON, SENML_CBOR, 60]),
        ([0, 42], ResourceValue((6, 0, 4), OPAQUE, b"x"), [42, TLV, SENML_JSON, SENML_CBOR, 60]),
        ([60], ResourceValue((3, 0, 9), INTEGER, 5), [60, TLV, SENML_JSON, SENML_CBOR, TEXT]),
        ([0, 110], ResourceValue((3, 0, 9), INTEGER, 5), [SENML_JSON, TLV, SENML_CBOR, TEXT, 60]),
    ],
)
def test_singleWritten(formats: list[int], entry: ResourceValue, expected: list[int]) -> None:
    """
    A single value goes out as text, bytes or CBOR to a device that has told nothing else, and comes back the same; all
    other formats are there to be tried.
    """
    dialect = dialectOf("1.1", Listing("", (), {}, frozenset(formats)), MODELS)
    assert list(writtenFormats(dialect, entry.path, [entry])) == expected
    for form in expected:
        assert decode(form, encode(form, entry.path, [entry]), entry.path, dialect) == [entry]
    assert writtenFormats(dialect, entry.path[:2], [entry]) == dialect.writes


def test_bytesOfAnInstance() -> None:
    """
    Bytes of an instance as a whole are passed on as they are; of a container they are those of its one resource.
    """
    assert decode(42, b"\1\2", (19, 0), DIALECT) == [ResourceValue((19, 0, 0), OPAQUE, b"\1\2")]
    assert decode(42, b"\1\2", (19,), DIALECT) == [ResourceValue((19, 0, 0), OPAQUE, b"\1\2")]
    assert decode(1544, b"\xff", (3, 0), DIALECT) == [ResourceValue((3, 0), OPAQUE, b"\xff")]


def test_encode() -> None:
    """
    Text has one value alone, and nothing is written in a format that is only read.
    """
    entry = ResourceValue((3, 0, 14), STRING, "+02:00")
    assert encode(TEXT, (3, 0, 14), [entry]) == b"+02:00"
    with pytest.raises(ContentError, match="content format 0 for 2 values"):
        encode(TEXT, (3, 0), [entry, entry])
    with pytest.raises(ContentError, match="content format 40 for 1 values"):
        encode(40, (3, 0), [entry])
    assert json.loads(encodePaths(SENML_JSON, [(3, 0)])) == [{"n": "/3/0"}]
    assert cbor2.loads(encodePaths(SENML_CBOR, [(3, 0)])) == [{0: "/3/0"}]
