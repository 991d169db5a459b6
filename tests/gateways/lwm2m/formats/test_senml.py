"""
Tests for L{gateways.lwm2m.formats.senml}, with the examples of RFC 8428 and of OMA-TS-LightweightM2M_Core 1.1.1 7.4.5,
7.4.6.
"""

import json
import math
from typing import Any

import cbor2
import pytest

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.entries import ResourceValue
from gateways.lwm2m.formats.senml import (
    decodeSenMLCBOR,
    decodeSenMLJSON,
    encodePathsCBOR,
    encodePathsJSON,
    encodeSenMLCBOR,
    encodeSenMLJSON,
)
from gateways.lwm2m.formats.values import BOOLEAN, FLOAT, INTEGER, OBJLNK, OPAQUE, STRING, TIME, UNSIGNED, ObjectLink
from gateways.lwm2m.objects.paths import Path
from tests.gateways.lwm2m.examples import DEVICE, DEVICE_CBOR, DEVICE_SENML, MODELS

LABELS = {"bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6, "n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4}
LABELS |= {"s": 5, "t": 6, "ut": 7, "vd": 8}


def both(records: list[dict[str, Any]], base: Path = (), prefix: str = "") -> list[ResourceValue]:
    """
    The meaning of records, which is the same in JSON and in CBOR.
    """
    entries = decodeSenMLJSON(json.dumps(records).encode(), base, MODELS, prefix)
    numbered = [{LABELS.get(name, name): value for name, value in record.items()} for record in records]
    assert decodeSenMLCBOR(cbor2.dumps(numbered), base, MODELS, prefix) == entries
    # Names are as good as their numbers.
    assert decodeSenMLCBOR(cbor2.dumps(records), base, MODELS, prefix) == entries
    return entries


def refused(records: list[dict[str, Any]], reason: str, base: Path = ()) -> None:
    """
    Records are refused for that reason, in JSON and in CBOR.
    """
    with pytest.raises(ContentError, match="SenML JSON: .*" + reason) as caught:
        decodeSenMLJSON(json.dumps(records).encode(), base, MODELS)
    assert len(str(caught.value)) < 200
    numbered = [{LABELS.get(name, name): value for name, value in record.items()} for record in records]
    with pytest.raises(ContentError, match="SenML CBOR: .*" + reason):
        decodeSenMLCBOR(cbor2.dumps(numbered), base, MODELS)


def test_instance() -> None:
    """
    A read of /3/0, both ways in both.
    """
    assert decodeSenMLJSON(DEVICE_SENML, (3, 0), MODELS) == DEVICE
    assert json.loads(encodeSenMLJSON((3, 0), DEVICE)) == json.loads(DEVICE_SENML)
    assert decodeSenMLCBOR(DEVICE_CBOR, (3, 0), MODELS) == DEVICE
    assert encodeSenMLCBOR((3, 0), DEVICE) == DEVICE_CBOR


def test_times() -> None:
    """
    The example of a notification of several values (7.4.5), and that a base time holds until there is another one (RFC
    8428 4.1).
    """
    records: list[dict[str, Any]] = [
        {"bn": "/72/", "bt": 25462634, "n": "1/2", "v": 22.4, "t": -5},
        {"n": "1/2", "v": 22.9, "t": -30},
        {"n": "1/2", "v": 24.1, "t": -50},
        {"bt": 7, "n": "1/2", "v": 1},
    ]
    assert both(records, (72,)) == [
        ResourceValue((72, 1, 2), FLOAT, 22.4, 25462629),
        ResourceValue((72, 1, 2), FLOAT, 22.9, 25462604),
        ResourceValue((72, 1, 2), FLOAT, 24.1, 25462584),
        ResourceValue((72, 1, 2), FLOAT, 1.0, 7),
    ]
    assert both([{"n": "/3/0/9", "v": 1, "t": -2.5}, {"n": "/3/0/10", "v": 1}]) == [
        ResourceValue((3, 0, 9), INTEGER, 1, -2.5),
        ResourceValue((3, 0, 10), INTEGER, 1),
    ]


def test_baseValue() -> None:
    """
    As in RFC 8428 5.1.3: a base value is added to every number, and units, sums and the version mean nothing here.
    """
    records: list[dict[str, Any]] = [
        {"bn": "/6/0/", "bt": 1.320067464e9, "bu": "%RH", "bv": 20, "n": "0", "v": 0, "bver": 5, "bs": 1, "s": 2},
        {"u": "lon", "n": "1", "v": 24.30621, "t": 60, "ut": 3},
        {"n": "4", "vd": "AQ"},
    ]
    assert decodeSenMLJSON(json.dumps(records).encode(), (6, 0), MODELS) == [
        ResourceValue((6, 0, 0), FLOAT, 20.0, 1320067464),
        ResourceValue((6, 0, 1), FLOAT, 44.30621, 1320067524),
        ResourceValue((6, 0, 4), OPAQUE, b"\1", 1320067464),
    ]


def test_rfcExample() -> None:
    """
    The records of RFC 8428 6, as it prints their bytes, but with names that are paths.
    """
    data = bytes.fromhex(
        """
        82
        a7 21 65 2f3939392f 22 fb 41d303a15b001062 23 61 41 20 05 00 63 302f30 01 61 56 02 fb 405e066666666666
        a3 00 63 302f31 06 24 02 fb 3ff3333333333333
        """
    )
    assert decodeSenMLCBOR(data, (999,), MODELS) == [
        ResourceValue((999, 0, 0), FLOAT, 120.1, 1276020076.001),
        ResourceValue((999, 0, 1), FLOAT, 1.2, 1276020071.001),
    ]


@pytest.mark.parametrize(
    ("record", "entry"),
    [
        ({"n": "/1/0/6", "vb": True}, ResourceValue((1, 0, 6), BOOLEAN, True)),
        ({"n": "/1/0/1", "v": 60}, ResourceValue((1, 0, 1), INTEGER, 60)),
        ({"n": "/1/0/1", "v": 60.0}, ResourceValue((1, 0, 1), INTEGER, 60)),
        ({"n": "/0/0/16/0", "v": 2**64 - 1}, ResourceValue((0, 0, 16, 0), UNSIGNED, 2**64 - 1)),
        ({"n": "/3/0/9", "v": -5}, ResourceValue((3, 0, 9), INTEGER, -5)),
        ({"n": "/6/0/0", "v": 5}, ResourceValue((6, 0, 0), FLOAT, 5.0)),
        ({"n": "/3/0/22/0", "vlo": "66:1"}, ResourceValue((3, 0, 22, 0), OBJLNK, ObjectLink(66, 1))),
        ({"n": "/3/0/22/0", "vs": "66:1"}, ResourceValue((3, 0, 22, 0), OBJLNK, ObjectLink(66, 1))),
        ({"n": "/99/0/0", "vs": "x"}, ResourceValue((99, 0, 0), STRING, "x")),
        ({"n": "/99/0/0", "v": 5}, ResourceValue((99, 0, 0), FLOAT, 5.0)),
        ({"n": "/99/0/0", "vb": False}, ResourceValue((99, 0, 0), BOOLEAN, False)),
        ({"n": "/99/0/0", "vlo": "1:2"}, ResourceValue((99, 0, 0), OBJLNK, ObjectLink(1, 2))),
        ({"n": "/99/0/0", "vs": "x", "v": None}, ResourceValue((99, 0, 0), STRING, "x")),
        ({"n": "/3/0/9", "v": 5, "unknown": 1}, ResourceValue((3, 0, 9), INTEGER, 5)),
    ],
)
def test_types(record: dict[str, Any], entry: ResourceValue) -> None:
    """
    The type is that of the definition, or that of the key where there is none; fields that are not known mean nothing.
    """
    assert both([record]) == [entry]


def test_data() -> None:
    """
    Bytes are base64 in JSON, as RFC 8428 says it or otherwise, and bytes in CBOR.
    """
    for text in ("-_8A", "+/8A"):
        data = json.dumps([{"n": "/6/0/4", "vd": text}]).encode()
        assert decodeSenMLJSON(data, (), MODELS) == [ResourceValue((6, 0, 4), OPAQUE, b"\xfb\xff\0")]
    data = cbor2.dumps([{0: "/6/0/4", 8: b"\xfb\xff\0"}])
    assert decodeSenMLCBOR(data, (), MODELS) == [ResourceValue((6, 0, 4), OPAQUE, b"\xfb\xff\0")]
    entry = ResourceValue((6, 0, 4), OPAQUE, b"\xfb\xff\0\1")
    assert json.loads(encodeSenMLJSON((), [entry])) == [{"n": "/6/0/4", "vd": "-_8AAQ"}]
    assert cbor2.loads(encodeSenMLCBOR((), [entry])) == [{0: "/6/0/4", 8: b"\xfb\xff\0\1"}]


def test_names() -> None:
    """
    Names are what their base name and they say together, from the top or from what was asked for, with the alternate
    path or without.
    """
    wanted = [ResourceValue((3, 0, 9), INTEGER, 5)]
    for record in ({"bn": "/3/0/", "n": "9"}, {"bn": "/3/0/9"}, {"n": "/3/0/9"}, {"n": "9"}, {"bn": "/3/0", "n": "/9"}):
        assert both([{**record, "v": 5}], (3, 0)) == wanted
    assert both([{"bn": "/lwm2m/3/0/", "n": "9", "v": 5}], (3, 0), "/lwm2m") == wanted
    # A base name alone is for those after it.
    assert both([{"bn": "/3/"}, {"n": "0/9", "v": 5}, {"bn": "/3/1/", "n": "9", "v": 6}], (3,)) == [
        *wanted,
        ResourceValue((3, 1, 9), INTEGER, 6),
    ]


def test_wrongRecords() -> None:
    """
    Records that say nothing, or too much, or not what was asked for, are refused, and it is said what is wrong.
    """
    refused([{"n": "/3/0/9"}], "/3/0/9: 0 values where one is wanted")
    refused([{"n": "/3/0/9", "v": 1, "vs": "1"}], "/3/0/9: 2 values where one is wanted")
    refused([{"n": "/3/0/9", "vs": "x"}], "/3/0/9: 'x' is not a valid Integer")
    refused([{"n": "/3/0/9", "vd": "AQ"}], "/3/0/9: bytes where Integer is wanted")
    refused([{"n": "/6/0/4", "vs": "AQ"}], "/6/0/4: the field vs where Opaque is wanted")
    refused([{"n": "/3/0/9", "v": True}], "/3/0/9: true is not a valid Integer")
    refused([{"n": "/3/0/9", "v": "five", "bv": 1}], "'five' is not a valid Float")
    refused([{"n": "/3/0", "v": 5}], "'/3/0' is not that of a resource")
    refused([{"v": 5}], "not that of a resource")
    refused([{"n": "urn:dev:ow:10e2073a01080063", "v": 23.1}], "too long")
    refused([{"n": "urn:dev:1", "v": 23.1}], "is not a number from 0")
    refused([{"n": "/4/0/0", "v": 5}], "'/4/0/0' where /3/0 was asked for", (3, 0))
    refused([{"bn": "/3/0/" * 100, "n": "9", "v": 5}], "too long")
    refused([{"n": 9, "v": 5}], "the field n is not text")
    refused([{"bn": 9, "n": "9", "v": 5}], "the field bn is not text")
    refused([{"bt": "now", "n": "9", "v": 5}], "the field bt is not a time")
    refused([{"bt": "1" * 50, "n": "9", "v": 5}], "the field bt is not a time")
    refused([{"bt": "2024-13-01", "n": "9", "v": 5}], "the field bt is not a time")
    refused([{"n": "/3/0/9", "t": True, "v": 5}], "the field t is not a number")
    refused([{"bt": 1e308, "n": "/3/0/9", "t": 1e308, "v": 5}], "/3/0/9: a time out of range")
    refused([{"n": "/3/0/9", "t": 2**60, "v": 5}], "/3/0/9: a time out of range")
    refused([{"bv": 2**63, "n": "/3/0/9", "v": 2**63}], "/3/0/9: the number is out of the range of Integer")
    # RFC 8428 4.4.
    refused([{"bver": 11, "n": "/3/0/9", "v": 5}], "version 11")
    refused([{"n": "/3/0/9", "v": 5, "foo_": 1}], "the field 'foo_', which is to be understood, is not")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"{}", "Expected `array`"),
        (b"[1]", "Expected `object`"),
        (b"[" * 1_000_000, "Expected `object`"),
        (b'[{"n":"/3/0/9","v":[1]}]', "Expected `bool"),
        (b'[{"n":"/3/0/9","v":{}}]', "Expected `bool"),
        (b'[{"n":"/3/0/9","v":NaN}]', "malformed"),
        (b'[{"n":"/3/0/9","t":' + b"9" * 400 + b',"v":1}]', "out of range"),
        (b'[{"n":"\xff"}]', "not UTF-8"),
        (b"[" + b"{}," * 10_002 + b"{}]", "more than 10000 values"),
    ],
)
def test_wrongJSON(data: bytes, reason: str) -> None:
    """
    Malformed SenML JSON is refused.
    """
    with pytest.raises(ContentError, match="SenML JSON: .*" + reason):
        decodeSenMLJSON(data, (), MODELS)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "1 bytes are said where 0 are"),
        ("a0", "an array was wanted"),
        ("8101", "a map was wanted"),
        ("81" * 100_000, "a map was wanted"),
        ("8000", "something after its end"),
        ("9bffffffffffffffff", "1 bytes are said"),
        ("81bbffffffffffffffff", "1 bytes are said"),
        ("81a18000", "neither a number"),
        ("81a14100" + "00", "neither a text nor a number"),
        ("81a2000000" + "00", "the field 'n' for the second time"),
        ("81a200616e616e00", "the field 'n' for the second time"),
        ("81a10081" + "00", "neither a number"),
        ("81a102f97e00", "not that of a resource"),
        ("81a200662f332f302f3902f97e00", "/3/0/9: nan is not a valid Integer"),
        ("81a200662f332f302f3902f97c00", "/3/0/9: inf is not a valid Integer"),
        ("81a300662f332f302f39020106f97c00", "the field t is not a number"),
        ("9f" + "a0" * 10_001 + "ff", "more than 10000 values"),
        ("9a00002711" + "a0" * 10_001, "more than 10000 values"),
        ("81b821" + "".join(f"18{number:02x}00" for number in range(24, 24 + 33)), "more than 32 fields"),
        ("81d81ca0", "a map was wanted"),
    ],
)
def test_wrongCBOR(data: str, reason: str) -> None:
    """
    Malformed SenML CBOR is refused.
    """
    with pytest.raises(ContentError, match="SenML CBOR: .*" + reason):
        decodeSenMLCBOR(bytes.fromhex(data), (), MODELS)


def test_written() -> None:
    """
    Content that is written to a path has that path as its base name, and content for the device as a whole has full
    names; the alternate path is before both (1.1.1 leaves that open; LwM2M 1.2.1 transport 6.4.1 says so).
    """
    entries = [ResourceValue((3, 0, 14), STRING, "+02:00"), ResourceValue((3, 0, 15), STRING, "x")]
    assert json.loads(encodeSenMLJSON((3, 0), entries, "/lwm2m")) == [
        {"bn": "/lwm2m/3/0/", "n": "14", "vs": "+02:00"},
        {"n": "15", "vs": "x"},
    ]
    assert json.loads(encodeSenMLJSON((3, 0, 14), entries[:1])) == [{"bn": "/3/0/14", "vs": "+02:00"}]
    entries = [
        ResourceValue((3, 0, 14), STRING, "x"),
        ResourceValue((1, 0, 1), INTEGER, -7),
        ResourceValue((6, 0, 0), FLOAT, 2.0),
    ]
    assert cbor2.loads(encodeSenMLCBOR((), entries, "/lwm2m")) == [
        {0: "/lwm2m/3/0/14", 3: "x"},
        {0: "/lwm2m/1/0/1", 2: -7},
        {0: "/lwm2m/6/0/0", 2: 2.0},
    ]
    # A float stays one although it is whole.
    assert encodeSenMLCBOR((), entries)[-9:].hex() == "fb4000000000000000"
    assert b'"v":2.0' in encodeSenMLJSON((), entries)


def test_notFinite() -> None:
    """
    CBOR has numbers that JSON has not.
    """
    entry = ResourceValue((6, 0, 0), FLOAT, math.inf)
    assert decodeSenMLCBOR(encodeSenMLCBOR((6, 0), [entry]), (6, 0), MODELS) == [entry]
    with pytest.raises(ContentError, match="/6/0/0: JSON has no Infinity"):
        encodeSenMLJSON((6, 0), [entry])


def test_paths() -> None:
    """
    Paths without values, as a read of several asks for them (7.4.5).
    """
    assert encodePathsJSON([(3, 0, 0), (4,)], "/lwm2m") == b'[{"n":"/lwm2m/3/0/0"},{"n":"/lwm2m/4"}]'
    assert cbor2.loads(encodePathsCBOR([(3, 0, 0), (4,)])) == [{0: "/3/0/0"}, {0: "/4"}]


def test_asDevicesWriteIt() -> None:
    """
    Tags, times and numbers as texts, dates, a path without its first slash: all of it has been seen, and is read.
    """
    data = bytes.fromhex("81a421652f362f302f22c11a668fbdd400613002f94d00")
    assert decodeSenMLCBOR(data, (6, 0), MODELS) == [ResourceValue((6, 0, 0), FLOAT, 20.0, 1720696276)]
    assert decodeSenMLCBOR(b"\xd9\xd9\xf7" + data, (6, 0), MODELS) == decodeSenMLCBOR(data, (6, 0), MODELS)
    assert both([{"bn": "6/0/", "n": "0", "v": 1}], (6, 0)) == [ResourceValue((6, 0, 0), FLOAT, 1.0)]
    assert both([{"bn": "6/0/", "n": "0", "v": 1}], (6,)) == [ResourceValue((6, 0, 0), FLOAT, 1.0)]
    assert both([{"bn": "6/0/", "n": "0", "v": 1}]) == [ResourceValue((6, 0, 0), FLOAT, 1.0)]
    assert both([{"n": "3/0/9", "v": 1}], (3, 0)) == [ResourceValue((3, 0, 9), INTEGER, 1)]
    assert both([{"n": "lwm2m/3/0/9", "v": 1}], (3, 0), "/lwm2m") == [ResourceValue((3, 0, 9), INTEGER, 1)]
    assert both([{"bn": "/3/0/", "bt": "123", "n": "9", "v": "15", "t": "2"}]) == [
        ResourceValue((3, 0, 9), INTEGER, 15, 125)
    ]
    assert both([{"bn": "/3/0/", "bt": "2024-07-11T11:11:16Z", "n": "9", "v": 15}]) == [
        ResourceValue((3, 0, 9), INTEGER, 15, 1720696276)
    ]
    assert both([{"n": "/3/0/13", "vs": "2024-07-11T13:11:16+02:00"}]) == [ResourceValue((3, 0, 13), TIME, 1720696276)]
    assert both([{"n": "/1/0/6", "vb": 1}]) == [ResourceValue((1, 0, 6), BOOLEAN, True)]
    assert both([{"n": "/6/0/0", "bv": 20, "v": "1.5"}]) == [ResourceValue((6, 0, 0), FLOAT, 21.5)]
