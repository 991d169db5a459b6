"""
Tests for L{gateways.lwm2m.formats.omajson} and L{gateways.lwm2m.formats.names}, with the examples of
OMA-TS-LightweightM2M 1.0.2 6.4.4.
"""

import json
import math

import pytest

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.entries import ResourceValue
from gateways.lwm2m.formats.omajson import decodeOMAJSON, encodeOMAJSON
from gateways.lwm2m.formats.values import BOOLEAN, FLOAT, INTEGER, OBJLNK, OPAQUE, STRING, TIME, ObjectLink
from gateways.lwm2m.objects.paths import Path
from tests.gateways.lwm2m.examples import DEVICE, DEVICE_JSON, MODELS


def test_instance() -> None:
    """
    A read of /3/0, both ways.
    """
    assert decodeOMAJSON(DEVICE_JSON, (3, 0), MODELS) == DEVICE
    assert json.loads(encodeOMAJSON((3, 0), DEVICE)) == json.loads(DEVICE_JSON)


def test_times() -> None:
    """
    The time of a value is added to that of the whole; an object without a definition has floats for numbers.
    """
    data = b"""{"bn":"/72/","bt":25462634,"e":[
        {"n":"1/2","v":22.4,"t":-5},{"n":"1/2","v":22.9,"t":-30},{"n":"1/2","v":24.1,"t":-50}]}"""
    assert decodeOMAJSON(data, (72,), MODELS) == [
        ResourceValue((72, 1, 2), FLOAT, 22.4, 25462629),
        ResourceValue((72, 1, 2), FLOAT, 22.9, 25462604),
        ResourceValue((72, 1, 2), FLOAT, 24.1, 25462584),
    ]
    assert decodeOMAJSON(b'{"e":[{"n":"9","v":1,"t":-5}]}', (3, 0), MODELS)[0].time == -5
    assert decodeOMAJSON(b'{"bt":7,"e":[{"n":"9","v":1}]}', (3, 0), MODELS)[0].time == 7


def test_links() -> None:
    """
    Of a read of objects 65 and 66 together: references.
    """
    data = b'{"bn":"/","e":[{"n":"65/0/0/0","ov":"66:0"},{"n":"65/0/0/1","ov":"66:1"},{"n":"65/0/1","sv":"86"}]}'
    assert decodeOMAJSON(data, (), MODELS) == [
        ResourceValue((65, 0, 0, 0), OBJLNK, ObjectLink(66, 0)),
        ResourceValue((65, 0, 0, 1), OBJLNK, ObjectLink(66, 1)),
        ResourceValue((65, 0, 1), STRING, "86"),
    ]


@pytest.mark.parametrize(
    ("base", "names"),
    [
        ((3, 0, 9), '"bn":"/3/0/9","e":[{"n":""'),
        ((3, 0, 9), '"bn":"/3/0/9","e":[{'),
        ((3, 0, 9), '"bn":"/3/0/","e":[{"n":"9"'),
        ((3, 0, 9), '"bn":"/3/0","e":[{"n":"9"'),
        ((3, 0, 9), '"bn":"/3/0","e":[{"n":"/9"'),
        ((3, 0, 9), '"bn":"/","e":[{"n":"3/0/9"'),
        ((3, 0, 9), '"bn":null,"e":[{"n":"/3/0/9"'),
        ((3, 0, 9), '"e":[{"n":"/3/0/9"'),
        ((3, 0, 9), '"e":[{"n":""'),
        ((3, 0), '"e":[{"n":"9"'),
        ((3, 0), '"e":[{"n":"9/"'),
        ((3,), '"e":[{"n":"0/9"'),
        ((3,), '"e":[{"n":"/0/9"'),
        ((3, 0), '"bn":"/lwm2m/3/0/","e":[{"n":"9"'),
        ((3, 0), '"bn":"/lwm2m","e":[{"n":"3/0/9"'),
    ],
)
def test_names(base: Path, names: str) -> None:
    """
    The many ways in which devices name a resource: with a base name or without, with the slash between the two or not,
    from the top or from what was asked for, with the alternate path or not.
    """
    data = f'{{{names}{"" if names.endswith("{") else ","}"v":100}}]}}'.encode()
    assert decodeOMAJSON(data, base, MODELS, "/lwm2m") == [ResourceValue((3, 0, 9), INTEGER, 100)]


def test_numbersStayWhole() -> None:
    """
    A name is not tied to a base name in the middle of a number.
    """
    with pytest.raises(ContentError, match="'/3/0/1/0' where /3/0/10 was asked for"):
        decodeOMAJSON(b'{"bn":"/3/0/1","e":[{"n":"0","v":5}]}', (3, 0, 10), MODELS)


@pytest.mark.parametrize(
    ("element", "entry"),
    [
        ('"n":"1/0/6","bv":true', ResourceValue((1, 0, 6), BOOLEAN, True)),
        ('"n":"1/0/6","sv":"false"', ResourceValue((1, 0, 6), BOOLEAN, False)),
        ('"n":"1/0/1","v":60.0', ResourceValue((1, 0, 1), INTEGER, 60)),
        ('"n":"1/0/1","sv":"60"', ResourceValue((1, 0, 1), INTEGER, 60)),
        ('"n":"3/0/13","t":1367491215', ResourceValue((3, 0, 13), TIME, 1367491215)),
        ('"n":"3/0/13","v":5,"t":-1', ResourceValue((3, 0, 13), TIME, 5, -1)),
        ('"n":"6/0/0","v":5', ResourceValue((6, 0, 0), FLOAT, 5.0)),
        ('"n":"6/0/4","sv":"AQI="', ResourceValue((6, 0, 4), OPAQUE, b"\1\2")),
        ('"n":"99/0/0","v":5', ResourceValue((99, 0, 0), FLOAT, 5.0)),
        ('"n":"99/0/0","bv":false', ResourceValue((99, 0, 0), BOOLEAN, False)),
        ('"n":"1/0/1","v":60,"sv":null', ResourceValue((1, 0, 1), INTEGER, 60)),
    ],
)
def test_types(element: str, entry: ResourceValue) -> None:
    """
    The type is that of the definition, or that of the key where there is none.
    """
    assert decodeOMAJSON(f'{{"e":[{{{element}}}]}}'.encode(), (), MODELS) == [entry]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"\xff", "malformed"),
        (b'{"e":[{"n":"\xff","v":1}]}', "not UTF-8"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `e`"),
        (b"[" * 100_000, "Expected `object`"),
        (b'{"e":' + b"[" * 100_000, "Expected `object`"),
        (b'{"e":[], "x":' + b"[" * 1_000_000, "truncated|recursion"),
        (b'{"e":[{"n":"9","v":[5]}]}', r"\$.e\[0\].v"),
        (b'{"bt":"soon","e":[{"n":"9","v":5}]}', "'soon' is not a time"),
        (b'{"e":[{"n":"9","v":NaN}]}', "malformed"),
        (b'{"e":[{"n":"9","v":1e999}]}', "out of range"),
        (b'{"e":[{"n":"9","t":5}]}', "/3/0/9: 0 values where one is wanted"),
        (b'{"e":[{"n":"9"}]}', "/3/0/9: 0 values where one is wanted"),
        (b'{"e":[{"n":"9","v":1,"sv":"1"}]}', "/3/0/9: 2 values where one is wanted"),
        (b'{"e":[{"n":"9","sv":"x"}]}', "/3/0/9: 'x' is not a valid Integer"),
        (b'{"e":[{"n":"9","v":1.5}]}', "/3/0/9: 1.5 is not a valid Integer"),
        (b'{"e":[{"n":"9","v":123456789012345678901234567890}]}', "/3/0/9: the number is out of the range"),
        (b'{"bt":' + b"9" * 400 + b',"e":[{"n":"9","v":1,"t":1.5}]}', "/3/0/9: a time out of range"),
        (b'{"bt":1e308,"e":[{"n":"9","v":1,"t":1e308}]}', "/3/0/9: a time out of range"),
        (b'{"e":[{"n":"9","v":1,"t":-1e16}]}', "/3/0/9: a time out of range"),
        (b'{"e":[{"n":"x","v":1}]}', "'x' is not a number"),
        (b'{"e":[{"v":1}]}', "is not that of a resource"),
        (b'{"bn":"/4/0/","e":[{"n":"9","v":1}]}', "'/4/0/9' where /3/0 was asked for"),
        (b'{"bn":"/3/0/","e":[{"n":"../9","v":1}]}', "'..' is not a number"),
        (b'{"bn":"' + b"/3" * 100 + b'","e":[{"n":"9","v":1}]}', "too long"),
        (b'{"e":[{"n":"' + b"1" * 100_000 + b'","v":1}]}', "too long"),
        (b'{"e":[' + b'{"v":1},' * 10_001 + b'{"v":1}]}', "more than 10000 values"),
    ],
)
def test_wrong(data: bytes, reason: str) -> None:
    """
    Malformed content is refused; the error says what is wrong and where.
    """
    with pytest.raises(ContentError, match="LwM2M JSON: .*" + reason) as caught:
        decodeOMAJSON(data, (3, 0), MODELS)
    assert len(str(caught.value)) < 200


def test_written() -> None:
    """
    Written content has the path that it goes to as its base name, with the alternate path.
    """
    assert json.loads(encodeOMAJSON((6, 0, 0), [ResourceValue((6, 0, 0), FLOAT, 5.0)], "/lwm2m")) == {
        "bn": "/lwm2m/6/0/0",
        "e": [{"n": "", "v": 5.0}],
    }
    assert b'"v":5.0' in encodeOMAJSON((6, 0, 0), [ResourceValue((6, 0, 0), FLOAT, 5.0)])
    with pytest.raises(ContentError, match="/6/0/0: JSON has no NaN"):
        encodeOMAJSON((6, 0), [ResourceValue((6, 0, 0), FLOAT, math.nan)])


def test_asDevicesWriteIt() -> None:
    """
    Whole paths as names, times and numbers as texts: all of it has been seen, and is read.
    """
    wanted = [ResourceValue((3, 0, 0), STRING, "x", 123)]
    for base in ((3, 0), (3,)):
        assert decodeOMAJSON(b'{"bt":"123","e":[{"n":"3/0/0","sv":"x"}]}', base, MODELS) == wanted
    assert decodeOMAJSON(b'{"bn":"3/0/","bt":100,"e":[{"n":"0","sv":"x","t":"23"}]}', (3, 0), MODELS) == wanted
    (value,) = decodeOMAJSON(b'{"e":[{"n":"9","v":"15"}]}', (3, 0), MODELS)
    assert (value.type, value.value) == (INTEGER, 15)
    (value,) = decodeOMAJSON(b'{"e":[{"n":"6","bv":1}]}', (1, 0), MODELS)
    assert (value.type, value.value) == (BOOLEAN, True)
    (value,) = decodeOMAJSON(b'{"e":[{"n":"13","sv":"2024-07-11"}]}', (3, 0), MODELS)
    assert (value.type, value.value) == (TIME, 1720656000)
