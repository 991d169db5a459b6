"""
Tests for L{gateways.lwm2m.answers}: the JSON of spec/gateways.md 5.4 and 5.5, and the codes of 5.7.
"""

import json
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.coap.codes import code
from gateways.lwm2m import answers
from gateways.lwm2m.commands import Command, CommandError, parseCommand
from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.content import SENML_CBOR, SENML_JSON, TLV, Dialect
from gateways.lwm2m.links import parseListing
from tests.gateways.lwm2m.examples import DEVICE_TLV, MODELS

DIALECT = Dialect(MODELS, "", (TLV,), (), (SENML_JSON,))


def command(type: str, data: dict[str, Any]) -> Command:
    """
    A command whose answer repeats 2.
    """
    return parseCommand(json.dumps({"reqID": 2, "msgType": type, "data": data}).encode(), MODELS)


READ = command("read", {"path": "/3/0/0"})

# Table 5.7, with the one word that it says to write otherwise.
CODES = """
2.01 created  2.02 deleted  2.03 valid  2.04 changed  2.05 content  2.31 continue  4.00 bad_request  4.01 unauthorized
4.02 bad_option  4.03 forbidden  4.04 not_found  4.05 method_not_allowed  4.06 not_acceptable
4.08 request_entity_incomplete  4.12 precondition_failed  4.13 request_entity_too_large  4.15 unsupported_content_format
5.00 internal_server_error  5.01 not_implemented  5.02 bad_gateway  5.03 service_unavailable  5.04 gateway_timeout
5.05 proxying_not_supported
""".split()


@pytest.mark.parametrize(("text", "message"), list(zip(CODES[::2], CODES[1::2], strict=True)))
def test_codes(text: str, message: str) -> None:
    """
    Every code has its message.
    """
    assert answers.failed(READ, code(text)) == (
        f'{{"reqID":2,"msgType":"read","data":{{"reqPath":"/3/0/0","code":"{text}","codeMsg":"{message}"}}}}'.encode()
    )


def test_unknownCode() -> None:
    """
    A code that nobody knows is told as a number.
    """
    assert json.loads(answers.failed(READ, code("4.31")))["data"] == {
        "reqPath": "/3/0/0",
        "code": "4.31",
        "codeMsg": "unknown",
    }


def test_changed() -> None:
    """
    An answer without content.
    """
    written = command("write", {"path": "/3/0/13", "value": 12345})
    assert answers.answered(written, code("2.04"), None, b"", DIALECT) == (
        b'{"reqID":2,"msgType":"write","data":{"reqPath":"/3/0/13","code":"2.04","codeMsg":"changed"}}'
    )


def test_created() -> None:
    """
    Where the device has chosen the number of a new instance, the answer says so.
    """
    created = command("create", {"basePath": "/5", "content": []})
    answer = json.loads(answers.answered(created, code("2.01"), None, b"", DIALECT, ["5", "7"]))
    assert answer["data"] == {"reqPath": "/5", "code": "2.01", "codeMsg": "created", "location": "/5/7"}


def test_content() -> None:
    """
    Content has four keys in every element: path, value, name and type.
    """
    answer = answers.answered(command("read", {"path": "/3/0"}), code("2.05"), TLV, DEVICE_TLV, DIALECT)
    said = json.loads(answer)
    content = said["data"].pop("content")
    assert said == {"reqID": 2, "msgType": "read", "data": {"reqPath": "/3/0", "code": "2.05", "codeMsg": "content"}}
    assert len(content) == 16
    assert content[0] == {"path": "/3/0/0", "value": "Open Mobile Alliance", "name": "Manufacturer", "type": "String"}
    assert content[5] == {"path": "/3/0/6/1", "value": 5, "name": "Available Power Sources", "type": "Integer"}
    assert content[13] == {"path": "/3/0/13", "value": 1367491215, "name": "Current Time", "type": "Time"}


def test_values() -> None:
    """
    Bytes are base64, floats stay floats, references are texts; what has no definition has no name.
    """
    data = [
        {"n": "/6/0/0", "v": 5},
        {"n": "/6/0/4", "vd": "-_8"},
        {"n": "/3/0/22/0", "vlo": "66:1"},
        {"n": "/3/0/99", "v": 1},
    ]
    asked = command("read-composite", {"paths": ["/6", "/3"]})
    answer = answers.answered(asked, code("2.05"), SENML_JSON, json.dumps(data).encode(), DIALECT)
    assert b'"value":5.0,' in answer
    assert json.loads(answer)["data"] == {
        "reqPaths": ["/6", "/3"],
        "code": "2.05",
        "codeMsg": "content",
        "content": [
            {"path": "/6/0/0", "value": 5.0, "name": "Latitude", "type": "Float"},
            {"path": "/6/0/4", "value": "+/8=", "name": "Velocity", "type": "Opaque"},
            {"path": "/3/0/22/0", "value": "66:1", "name": "ExtDevInfo", "type": "Objlnk"},
            {"path": "/3/0/99", "value": 1.0, "name": "", "type": "Float"},
        ],
    }


def test_discovered() -> None:
    """
    A discover is answered with links as the device wrote them.
    """
    asked = command("discover", {"path": "/3/0/7"})
    data = b"</3/0/7>;dim=8;pmin=10;pmax=60;gt=50;lt=42.2,</3/0/8>"
    assert json.loads(answers.answered(asked, code("2.05"), 40, data, DIALECT)) == {
        "reqID": 2,
        "msgType": "discover",
        "data": {
            "reqPath": "/3/0/7",
            "code": "2.05",
            "codeMsg": "content",
            "content": ["</3/0/7>;dim=8;pmin=10;pmax=60;gt=50;lt=42.2", "</3/0/8>"],
        },
    }
    data = data.replace(b"</3", b"</a/3")
    assert b'"</3/0/8>"' in answers.answered(asked, code("2.05"), 40, data, Dialect(MODELS, "/a"))


@pytest.mark.parametrize(
    ("asked", "contentFormat", "payload", "reason"),
    [
        (READ, TLV, b"\xc1", "TLV: an element that is cut off"),
        (READ, 0, b"\xff", "/3/0/0: not UTF-8 at byte 0"),
        (READ, 99, b"x", "content format 99"),
        (READ, 40, b"</3/0/0>", "content format 40"),
        (command("discover", {"path": "/3"}), 0, b"</3/0>", "content format 0 where links are wanted"),
        (command("discover", {"path": "/3"}), 40, b"3/0", "link format: no link at character 0"),
    ],
)
def test_unreadable(asked: Command, contentFormat: int, payload: bytes, reason: str) -> None:
    """
    An answer that can't be read is a bad request, with the reason.
    """
    answer = json.loads(answers.answered(asked, code("2.05"), contentFormat, payload, DIALECT))
    assert answer["msgType"] == asked.type
    assert answer["data"]["code"] == "4.00"
    assert answer["data"]["codeMsg"] == "bad_request"
    assert answer["data"]["reason"] == reason


def test_cancelled() -> None:
    """
    The end of an observation may come without a value, and is then told without one.
    """
    for asked in (
        command("cancel-observe", {"path": "/3/0/9"}),
        command("cancel-observe-composite", {"paths": ["/3/0/9"]}),
    ):
        data = json.loads(answers.answered(asked, code("2.05"), None, b"", DIALECT))["data"]
        assert (data["code"], data["content"]) == ("2.05", [])
    asked = command("cancel-observe", {"path": "/3/0/9"})
    assert json.loads(answers.answered(asked, code("2.05"), 0, b"5", DIALECT))["data"]["content"][0]["value"] == 5
    # A read that is answered with nothing is something else.
    asked = command("read", {"path": "/3/0/9"})
    assert json.loads(answers.answered(asked, code("2.05"), None, b"", DIALECT))["data"]["code"] == "4.00"


@pytest.mark.parametrize(
    ("contentFormat", "payload", "reason"),
    [
        (None, b"no such resource", "no such resource"),
        (0, "Öl".encode(), "Öl"),
        (None, b"\xff", "\ufffd"),
        (None, b"x" * 100_000, "x" * 256),
        (None, b"", None),
        (TLV, b"\xc1", None),
    ],
)
def test_diagnostic(contentFormat: int | None, payload: bytes, reason: str | None) -> None:
    """
    A device's text about an error is passed on, if it is text, and shortened.
    """
    answer = json.loads(answers.answered(READ, code("4.04"), contentFormat, payload, DIALECT))
    assert answer["data"].get("reason") == reason
    assert answer["data"]["codeMsg"] == "not_found"


def test_refused() -> None:
    """
    A command that is none is answered with what could be made out of it, and the reason.
    """
    with pytest.raises(CommandError) as caught:
        parseCommand(b'{"reqID":"2","msgType":"read","data":{"path":"/99"}}', MODELS)
    assert json.loads(answers.refused(caught.value)) == {
        "reqID": "2",
        "msgType": "read",
        "data": {
            "reqPath": "/99",
            "code": "4.00",
            "codeMsg": "bad_request",
            "reason": "there is no definition of the object 99",
        },
    }


def test_acknowledged() -> None:
    """
    An acknowledgement has no result.
    """
    assert answers.acknowledged(READ) == b'{"reqID":2,"msgType":"ack","data":{"path":"/3/0/0"}}'
    asked = command("read-composite", {"paths": ["/3"]})
    assert answers.acknowledged(asked) == b'{"reqID":2,"msgType":"ack","data":{"paths":["/3"]}}'


def test_notified() -> None:
    """
    A notification repeats what the command that began the observation had, with the number of the Observe option.
    """
    observed = command("observe", {"path": "/3/0/10"})
    assert answers.notified(observed, 3, code("2.05"), None, b"4096", DIALECT) == (
        b'{"reqID":2,"msgType":"notify","seqNum":3,"data":{"reqPath":"/3/0/10","code":"2.05","codeMsg":"content",'
        b'"content":[{"path":"/3/0/10","value":4096,"name":"Memory Free","type":"Integer"}]}}'
    )
    ended = json.loads(answers.notified(observed, 0, code("4.04"), None, b"", DIALECT))
    assert ended["data"] == {"reqPath": "/3/0/10", "code": "4.04", "codeMsg": "not_found"}


def test_registered() -> None:
    """
    The events of 5.4: the lifetime is a number, everything else text; options that a device has of its own are there.
    """
    listing = parseListing(b"</1>, </2>, </3>, </4>, </5>")
    options = {"sms": "<msisdn>", "b": "U"}
    assert json.loads(answers.registered("urn:oma:lwm2m:oma:3", 345, "1", options, listing)) == {
        "msgType": "register",
        "data": {
            "ep": "urn:oma:lwm2m:oma:3",
            "lt": 345,
            "lwm2m": "1",
            "sms": "<msisdn>",
            "b": "U",
            "alternatePath": "/",
            "objectList": ["/1", "/2", "/3", "/4", "/5"],
        },
    }
    listing = parseListing(b'</lwm2m>;rt="oma.lwm2m",</lwm2m/3/0>')
    assert json.loads(answers.updated("e", 789, "1.0", {}, listing)) == {
        "msgType": "update",
        "data": {"ep": "e", "lt": 789, "lwm2m": "1.0", "alternatePath": "/lwm2m", "objectList": ["/3/0"]},
    }


def test_noVersion() -> None:
    """
    A device of LwM2M 1.0 need not tell its version, and then the event does not.
    """
    assert json.loads(answers.registered("e", 60, "", {}, parseListing(b"</3/0>"))) == {
        "msgType": "register",
        "data": {"ep": "e", "lt": 60, "alternatePath": "/", "objectList": ["/3/0"]},
    }


def test_options() -> None:
    """
    An option can't say something else than what is so.
    """
    options = {"ep": "other", "lt": "x", "alternatePath": "y", "objectList": "z", "apn": "psmA.eDRX0.ctnb"}
    data = json.loads(answers.registered("e", 60, "1.1", options, parseListing(b"</3/0>")))["data"]
    assert data == {
        "ep": "e",
        "lt": 60,
        "lwm2m": "1.1",
        "apn": "psmA.eDRX0.ctnb",
        "alternatePath": "/",
        "objectList": ["/3/0"],
    }


def test_sent() -> None:
    """
    Values that a device sends unasked may be of any objects, with their times; they are in SenML or refused.
    """
    records = [{"bn": "/3/0/", "bt": 1700000000, "n": "9", "v": 95}, {"n": "9", "v": 94, "t": 60}]
    wanted = {
        "msgType": "send",
        "data": {
            "content": [
                {"path": "/3/0/9", "value": 95, "name": "Battery Level", "type": "Integer", "time": 1700000000},
                {"path": "/3/0/9", "value": 94, "name": "Battery Level", "type": "Integer", "time": 1700000060},
            ]
        },
    }
    assert json.loads(answers.sent(SENML_JSON, json.dumps(records).encode(), DIALECT)) == wanted
    data = cbor2.dumps([{-2: "/3/0/", -3: 1700000000, 0: "9", 2: 95}, {0: "9", 2: 94, 6: 60}])
    assert json.loads(answers.sent(SENML_CBOR, data, DIALECT)) == wanted
    for contentFormat, payload in ((TLV, DEVICE_TLV), (None, b""), (0, b"x"), (SENML_JSON, b"{}"), (SENML_CBOR, b"")):
        with pytest.raises(ContentError):
            answers.sent(contentFormat, payload, DIALECT)


@given(
    st.sampled_from([READ, command("read", {"path": "/3"}), command("discover", {"path": "/3"})]),
    st.sampled_from([None, 0, 40, 42, 60, 110, 112, 11542, 11543, 99]),
    st.integers(64, 191),
    st.binary(max_size=40),
)
def test_anything(asked: Command, contentFormat: int | None, number: int, payload: bytes) -> None:
    """
    Every response of a device leads to an answer.
    """
    for answer in (
        answers.answered(asked, number, contentFormat, payload, DIALECT, ["\ud7ff", "x"]),
        answers.notified(asked, 1, number, contentFormat, payload, DIALECT),
    ):
        assert json.loads(answer)["reqID"] == 2
