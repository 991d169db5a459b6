"""
Tests for L{gateways.lwm2m.commands}: every row of spec/gateways.md 5.5.
"""

import json
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.coap.codes import DELETE, FETCH, GET, IPATCH, POST, PUT
from gateways.lwm2m.commands import Command, CommandError, DeviceRequest, NotJSON, observing, parseCommand
from gateways.lwm2m.formats.content import SENML_CBOR, SENML_JSON, TLV, Dialect
from tests.gateways.lwm2m.examples import MODELS

DIALECT = Dialect(MODELS, "", (TLV,), (), (SENML_JSON,))


def parsed(type: str, data: object, **more: object) -> Command:
    """
    A command.
    """
    return parseCommand(json.dumps({"reqID": 2, "msgType": type, "data": data, **more}).encode(), MODELS)


def refused(type: str, data: object, **more: object) -> str:
    """
    Why a command is refused; in a few words, whatever it is.
    """
    with pytest.raises(CommandError) as caught:
        parsed(type, data, **more).request(DIALECT)
    assert len(str(caught.value)) < 200
    assert caught.value.correlation["reqID"] == 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("type", "data", "request_"),
    [
        ("read", {"path": "/3/0/0"}, DeviceRequest(GET, ["3", "0", "0"])),
        ("read", {"path": "3"}, DeviceRequest(GET, ["3"])),
        ("discover", {"path": "/3/0"}, DeviceRequest(GET, ["3", "0"], accept=40)),
        (
            "write",
            {"path": "/3/0/13", "type": "Integer", "value": "12345"},
            DeviceRequest(PUT, ["3", "0", "13"], [], TLV, payload=bytes.fromhex("c20d3039")),
        ),
        (
            "write",
            {"path": "/3/0/14", "value": "+02:00"},
            DeviceRequest(PUT, ["3", "0", "14"], [], TLV, payload=bytes.fromhex("c60e2b30323a3030")),
        ),
        (
            "write",
            {
                "basePath": "/3/0/",
                "content": [
                    {"path": "13", "type": "Integer", "value": "12345"},
                    {"path": "14", "type": "String", "value": "87x"},
                ],
            },
            DeviceRequest(POST, ["3", "0"], [], TLV, payload=bytes.fromhex("c20d3039c30e383778")),
        ),
        (
            "write",
            {"basePath": "/2/0/2", "content": [{"path": "1", "value": 7}, {"path": "/300", "value": 8}]},
            DeviceRequest(PUT, ["2", "0", "2"], [], TLV, payload=bytes.fromhex("8702410107" + "61012c08")),
        ),
        (
            "write",
            {"path": "/2/0/2/1", "value": 7},
            DeviceRequest(PUT, ["2", "0", "2", "1"], [], TLV, payload=bytes.fromhex("410107")),
        ),
        (
            "write-attr",
            {"path": "/3/0/9", "pmin": 1, "pmax": 5, "gt": 42.5, "lt": 5, "st": None},
            DeviceRequest(PUT, ["3", "0", "9"], ["pmin=1", "pmax=5", "gt=42.5", "lt=5"]),
        ),
        (
            "write-attr",
            {"path": "/3", "pmin": "60", "epmax": 9, "lt": "-0.5", "gt": 1e20},
            DeviceRequest(PUT, ["3"], ["pmin=60", "epmax=9", "lt=-0.5", "gt=100000000000000000000"]),
        ),
        ("execute", {"path": "/3/0/4", "args": "2,7"}, DeviceRequest(POST, ["3", "0", "4"], [], 0, payload=b"2,7")),
        ("execute", {"path": "/3/0/4"}, DeviceRequest(POST, ["3", "0", "4"])),
        ("execute", {"path": "/3/0/4", "args": None}, DeviceRequest(POST, ["3", "0", "4"])),
        ("execute", {"path": "/3/0/4", "args": ""}, DeviceRequest(POST, ["3", "0", "4"])),
        (
            "create",
            {"basePath": "/5", "content": [{"path": "/0/1", "type": "String", "value": "x"}]},
            DeviceRequest(POST, ["5"], [], TLV, payload=bytes.fromhex("0300c10178")),
        ),
        (
            "create",
            {"basePath": "5/2", "content": [{"path": "1", "value": "x"}, {"path": "0", "value": "AQ=="}]},
            DeviceRequest(POST, ["5"], [], TLV, payload=bytes.fromhex("0602c10178c10001")),
        ),
        ("create", {"basePath": "/5", "content": []}, DeviceRequest(POST, ["5"], [], TLV)),
        ("delete", {"path": "/5/0"}, DeviceRequest(DELETE, ["5", "0"])),
        ("observe", {"path": "/3/0/10"}, DeviceRequest(GET, ["3", "0", "10"], observe=0)),
        ("cancel-observe", {"path": "/3/0/10"}, DeviceRequest(GET, ["3", "0", "10"], observe=1)),
        (
            "read-composite",
            {"paths": ["/3/0/0", "1"]},
            DeviceRequest(FETCH, [], [], SENML_JSON, SENML_JSON, b'[{"n":"/3/0/0"},{"n":"/1"}]'),
        ),
        (
            "observe-composite",
            {"paths": ["/3/0/0", "/3/0/0"]},
            DeviceRequest(FETCH, [], [], SENML_JSON, SENML_JSON, b'[{"n":"/3/0/0"}]', 0),
        ),
        (
            "cancel-observe-composite",
            {"paths": ["/3/0/0"]},
            DeviceRequest(FETCH, [], [], SENML_JSON, SENML_JSON, b'[{"n":"/3/0/0"}]', 1),
        ),
        (
            "write-composite",
            {"content": [{"path": "/3/0/14", "value": "x"}, {"path": "1/0/1", "value": 60}]},
            DeviceRequest(IPATCH, [], [], SENML_JSON, payload=b'[{"n":"/3/0/14","vs":"x"},{"n":"/1/0/1","v":60}]'),
        ),
        (
            "write-composite",
            {"basePath": "/3/0", "content": [{"path": "14", "value": "x"}]},
            DeviceRequest(IPATCH, [], [], SENML_JSON, payload=b'[{"n":"/3/0/14","vs":"x"}]'),
        ),
    ],
)
def test_requests(type: str, data: object, request_: DeviceRequest) -> None:
    """
    Every command becomes its request.
    """
    assert parsed(type, data).request(DIALECT) == request_


def test_prefix() -> None:
    """
    The alternate path of a device stands before every path, in composites in what is asked for too.
    """
    dialect = Dialect(MODELS, "/lwm2m", (TLV,), (), (SENML_CBOR,))
    assert parsed("read", {"path": "/3/0/0"}).request(dialect).path == ["lwm2m", "3", "0", "0"]
    request = parsed("read-composite", {"paths": ["/3/0/0"]}).request(dialect)
    assert (request.path, request.contentFormat, request.accept) == (["lwm2m"], SENML_CBOR, SENML_CBOR)
    assert cbor2.loads(request.payload) == [{0: "/lwm2m/3/0/0"}]


def test_formats() -> None:
    """
    A device that has no TLV is written to in what it has.
    """
    command = parsed("write", {"path": "/3/0/14", "value": "x"})
    request = command.request(Dialect(MODELS, "", (SENML_JSON,), (), (SENML_JSON,)))
    assert request == DeviceRequest(PUT, ["3", "0", "14"], [], SENML_JSON, payload=b'[{"bn":"/3/0/14","vs":"x"}]')


def test_oldDevice() -> None:
    """
    A device of LwM2M 1.0 has no composites.
    """
    with pytest.raises(CommandError, match="read-composite is not for a device of LwM2M 1.0") as caught:
        parsed("read-composite", {"paths": ["/3"]}).request(Dialect(MODELS))
    assert caught.value.about == {"reqPaths": ["/3"]}


def test_correlation() -> None:
    """
    Everything beside the data is kept as it is: numbers stay numbers, texts texts; in the order in which it came.
    """
    payload = b'{"requestID":"7","cacheID":7,"x":1.0,"y":null,"data":{"path":"3/0/0"},"msgType":"read","imei":true}'
    command = parseCommand(payload, MODELS)
    assert list(command.correlation.items()) == [
        ("requestID", "7"),
        ("cacheID", 7),
        ("x", 1.0),
        ("y", None),
        ("msgType", "read"),
        ("imei", True),
    ]
    assert command.correlation["x"].__class__ is float
    assert command.about == {"reqPath": "3/0/0"}
    assert command.paths == ((3, 0, 0),)
    assert repr(command) == "<read /3/0/0>"


def test_about() -> None:
    """
    An answer names its path as the client wrote it.
    """
    assert parsed("write", {"basePath": "/3/0/", "content": [{"path": "14", "value": "x"}]}).about == {
        "reqPath": "/3/0/"
    }
    assert parsed("read-composite", {"paths": ["3", "/1/"]}).about == {"reqPaths": ["3", "/1/"]}
    assert parsed("write-composite", {"content": [{"path": "3/0/14", "value": "x"}]}).about == {"reqPaths": ["/3/0/14"]}


def test_encoding() -> None:
    """
    With the encoding hex, values are written in hexadecimal.
    """
    command = parsed("write", {"path": "/5/0/0", "type": "Opaque", "value": "00FFab"}, encoding="hex")
    assert command.entries[0].value == b"\x00\xff\xab"
    assert command.correlation["encoding"] == "hex"
    assert parsed("write", {"path": "/3/0/13", "value": "3132"}, encoding="hex").entries[0].value == 12
    assert parsed("write", {"path": "/3/0/14", "value": "61"}, encoding="plain").entries[0].value == "61"
    assert refused("write", {"path": "/3/0/14", "value": "6"}, encoding="hex") == "/3/0/14: '6' is not hexadecimal"
    assert refused("write", {"path": "/3/0/14", "value": "x"}, encoding="base64") == "there is no encoding 'base64'"
    assert refused("read", {"path": "/3"}, encoding=1) == "there is no encoding of the kind int"


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        ({"path": "/6/0/0", "type": "Integer", "value": 20}, "c800084034000000000000"),
        ({"path": "/6/0/0", "type": "Float", "value": "20"}, "c800084034000000000000"),
        ({"path": "/6/0/0", "value": 20}, "c800084034000000000000"),
        ({"path": "/0/0/16/0", "type": "Integer", "value": 200}, "4100c8"),
        ({"path": "/3/0/9", "type": "Integer", "value": 200}, "c20900c8"),
        ({"path": "/3/0/9", "type": "String", "value": "200"}, "c309323030"),
        ({"path": "/3/0/9", "value": -5}, "c109fb"),
        ({"path": "/1/0/6", "value": "true"}, "c10601"),
        ({"path": "/3/0/22/0", "value": "66:1"}, "440000420001"),
        ({"path": "/3/0/200", "type": "string", "value": "x"}, "c1c878"),
    ],
)
def test_types(data: object, payload: str) -> None:
    """
    The type is the one that is given, else that of the definition; but a whole number for a float is a float, in eight
    bytes.
    """
    assert parsed("write", data).request(DIALECT).payload == bytes.fromhex(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"x",
        b"[]",
        b'"read"',
        b"1",
        b"null",
        b'{"msgType":"read"',
        b"{'a':1}",
        b"\xff",
        b'{"a":"\xff"}',
        b"[" * 99_999,
    ]
    + [b'{"a":' * 99_999, b'{"data":{"path":"/3"},"reqID":NaN,"msgType":"read"}', b'{"reqID":1e999}'],
)
def test_notJSON(payload: bytes) -> None:
    """
    A payload that is no JSON object is not answered.
    """
    with pytest.raises(NotJSON):
        parseCommand(payload, MODELS)


@pytest.mark.parametrize(
    ("type", "data", "reason"),
    [
        ("reed", {"path": "/3"}, "there is no msgType 'reed'"),
        (None, {"path": "/3"}, "no msgType"),
        (5, {"path": "/3"}, "there is no msgType of the kind int"),
        ("send", {"path": "/3"}, "there is no msgType 'send'"),
        ("read", None, "no data"),
        ("read", [], "no data"),
        ("read", {}, "no path"),
        ("read", {"path": 3}, "path is not text"),
        ("read", {"path": "/"}, "path '/': 0 segments, 1 to 4 wanted"),
        ("read", {"path": "/3/0/0/0/0"}, "path '/3/0/0/0/0': more than 4 segments"),
        ("read", {"path": "/x"}, "path '/x': 'x' is not a number from 0 to 65534"),
        ("read", {"path": "/" + "3" * 1_000_000}, "too long"),
        ("read", {"path": "/99/0"}, "there is no definition of the object 99"),
        ("observe", {"path": "/99"}, "there is no definition of the object 99"),
        ("write", {"path": "/99/0/0", "type": "String", "value": "x"}, "there is no definition of the object 99"),
        ("create", {"basePath": "/99", "content": []}, "there is no definition of the object 99"),
        ("discover", {"path": "/3/0/6/0"}, "4 segments, 1 to 3 wanted"),
        ("execute", {"path": "/3/0"}, "2 segments, 3 wanted"),
        ("execute", {"path": "/3/0/4", "args": 5}, "args is not text"),
        ("delete", {"path": "/5"}, "1 segments, 2 wanted"),
        ("delete", {"path": "/5/0/1"}, "3 segments, 2 wanted"),
        ("write", {"path": "/3/0", "value": "x"}, "2 segments, 3 to 4 wanted"),
        ("write", {"path": "/3/0/14"}, "/3/0/14: no value"),
        ("write", {"path": "/3/0/14", "value": None}, "/3/0/14: no value"),
        ("write", {"path": "/3/0/14", "value": 5}, "/3/0/14: 5 is not a valid String"),
        ("write", {"path": "/3/0/14", "type": "Text", "value": "x"}, "/3/0/14: there is no type 'Text'"),
        ("write", {"path": "/3/0/14", "type": 1, "value": "x"}, "/3/0/14: there is no type of the kind int"),
        ("write", {"path": "/3/0/200", "value": "x"}, "/3/0/200: no type, and there is no definition that has one"),
        ("write", {"path": "/3/0/4", "value": "x"}, "/3/0/4: no type, and there is no definition that has one"),
        ("write", {"value": "x"}, "no basePath"),
        ("write", {"basePath": "/3", "content": []}, "1 segments, 2 to 3 wanted"),
        ("write", {"basePath": "/3/0", "content": []}, "content is empty"),
        ("write", {"basePath": "/3/0"}, "content is not a list"),
        ("write", {"basePath": "/3/0", "content": {"path": "14"}}, "content is not a list"),
        ("write", {"basePath": "/3/0", "content": ["14"]}, "content has something else than objects"),
        ("write", {"basePath": "/3/0", "content": [{"path": 14, "value": "x"}]}, "path is not text"),
        ("write", {"basePath": "/3/0", "content": [{"value": "x"}]}, "/3/0 is not the path of a resource"),
        ("write", {"basePath": "/3/0", "content": [{"path": "14/0/0", "value": "x"}]}, "more than 4 segments"),
        ("write", {"basePath": "/3/0", "content": [{"path": "14", "value": "x"}] * 2}, "/3/0/14 for the second time"),
        ("write", {"basePath": "/3/0", "content": [{}] * 10_001}, "more than 10000 values"),
        ("create", {"basePath": "/5/0/1", "content": []}, "3 segments, 1 to 2 wanted"),
        ("create", {"basePath": "/5/0", "content": []}, "content is empty"),
        ("create", {"basePath": "/5", "content": [{"path": "0", "value": "x"}]}, "/5/0 is not the path of a resource"),
        ("write-attr", {"path": "/3/0/9"}, "no attribute"),
        ("write-attr", {"path": "/3/0/9", "pmin": None}, "no attribute"),
        ("write-attr", {"path": "/3/0/9", "pmin": -1}, "'pmin': the number is out of the range of Unsigned Integer"),
        ("write-attr", {"path": "/3/0/9", "pmin": 1.5}, "'pmin': 1.5 is not a valid Unsigned Integer"),
        ("write-attr", {"path": "/3/0/9", "pmin": "1&x=2"}, "'pmin': '1&x=2' is not a valid Unsigned Integer"),
        ("write-attr", {"path": "/3/0/9", "gt": "high"}, "'gt': 'high' is not a valid Float"),
        ("write-attr", {"path": "/3/0/9", "gt": "NaN"}, "gt: the number is out of range"),
        ("write-attr", {"path": "/3/0/9", "gt": "-Infinity"}, "gt: the number is out of range"),
        ("write-attr", {"path": "/3/0/9", "gt": 1e300}, "gt: the number is out of range"),
        ("write-attr", {"path": "/3/0/9", "lt": True}, "'lt': true is not a valid Float"),
        ("write-attr", {"path": "/3/0/9", "foo": 1}, "'foo': there is no such attribute"),
        ("read-composite", {"path": "/3"}, "paths is not a list of 1 to 1000 paths"),
        ("read-composite", {"paths": []}, "paths is not a list of 1 to 1000 paths"),
        ("read-composite", {"paths": ["/3"] * 1001}, "paths is not a list of 1 to 1000 paths"),
        ("read-composite", {"paths": [3]}, "a path is not text"),
        ("read-composite", {"paths": ["/"]}, "0 segments, 1 to 4 wanted"),
        ("read-composite", {"paths": ["/3", "/99"]}, "there is no definition of the object 99"),
        ("write-composite", {"content": []}, "content is empty"),
        ("write-composite", {"content": [{"path": "/99/0/0", "type": "String", "value": "x"}]}, "of the object 99"),
    ],
)
def test_refused(type: object, data: object, reason: str) -> None:
    """
    A wrong command is refused; the answer says what is wrong, and where.
    """
    assert reason in refused(type, data)  # type: ignore[arg-type]  # which is among what is wrong


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"x": [1]}, "'x' is neither a text nor a number"),
        ({"x": {}}, "'x' is neither a text nor a number"),
        ({"x": "a" * 1025}, "too much beside the data"),
        ({"x": "a" * 600, "y": "b" * 600}, "too much beside the data"),
        ({"x" * 65: 1}, "too much beside the data"),
        ({f"x{number}": number for number in range(15)}, "too much beside the data"),
        ({"x": 10**30}, "'x' is out of range"),
    ],
)
def test_correlationRefused(more: dict[str, object], reason: str) -> None:
    """
    Members that an answer could not repeat are refused; it repeats the rest.
    """
    assert refused("read", {"path": "/3"}, **more) == reason


def test_aboutRefused() -> None:
    """
    The answer to a refused command names its path as far as it could be read, and shortened.
    """
    for data, about in (
        ({"path": "/99"}, {"reqPath": "/99"}),
        ({"path": "x" * 1000}, {"reqPath": "x" * 64}),
        ({"basePath": "/3"}, {"reqPath": "/3"}),
        ({"paths": ["/3", 5]}, {"reqPaths": ["/3"]}),
        ({"path": 5}, {}),
        ([], {}),
    ):
        with pytest.raises(CommandError) as caught:
            parsed("what", data)
        assert caught.value.about == about


def test_withoutDefinition() -> None:
    """
    A command without values needs no definition.
    """
    for type, data in (
        ("discover", {"path": "/99"}),
        ("execute", {"path": "/99/0/1"}),
        ("delete", {"path": "/99/0"}),
        ("write-attr", {"path": "/99/0/1", "pmin": 1}),
    ):
        assert parsed(type, data).paths[0][0] == 99


def test_observing() -> None:
    """
    An observation of the gateway itself is a command without anything to repeat.
    """
    command = observing((3, 0))
    assert command.correlation == {"msgType": "observe"}
    assert command.about == {"reqPath": "/3/0"}
    assert command.request(DIALECT) == DeviceRequest(GET, ["3", "0"], observe=0)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9)
    | st.sampled_from(["/3/0/9", "/5", "Integer", "Float", "hex", "14"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["path", "type", "value"]), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(["path", "basePath", "paths", "content", "type", "value", "args", "pmin", "gt", "x"])
TYPES = st.sampled_from(
    ["read", "discover", "write", "write-attr", "execute", "create", "delete", "observe"]
    + ["read-composite", "write-composite"]
)


@given(TYPES, st.dictionaries(KEYS, VALUES, max_size=4), st.dictionaries(st.text(max_size=9), VALUES, max_size=3))
def test_anyCommand(type: str, data: dict[str, Any], more: dict[str, Any]) -> None:
    """
    Any JSON is a command with a request, or is refused.
    """
    payload = json.dumps({**more, "msgType": type, "data": data}).encode()
    try:
        request = parseCommand(payload, MODELS).request(DIALECT)
    except (NotJSON, CommandError):
        return
    assert all(len(query) <= 255 for query in request.queries)
    assert all(0 < len(segment) <= 5 for segment in request.path)


@given(st.binary(max_size=60))
def test_anything(payload: bytes) -> None:
    """
    So is any payload.
    """
    with pytest.raises((NotJSON, CommandError)):
        parseCommand(payload, MODELS)
