"""
Long random runs of what LwM2M devices and the clients that command them may send, grown from real payloads.
"""

from __future__ import annotations

import json
import random

import pytest

from gateways.coap.codes import CONTENT
from gateways.lwm2m import answers
from gateways.lwm2m.commands import Command, CommandError, NotJSON, parseCommand
from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.content import SENML_CBOR, SENML_JSON, TLV, Dialect, decode
from gateways.lwm2m.links import linkTexts, parseListing
from gateways.lwm2m.objects.definitions import parseDefinitions
from gateways.lwm2m.objects.paths import Path, isWithin
from tests.fuzz.test_fuzz import damaged, fuzzed
from tests.gateways.lwm2m.examples import (
    ACCESS_TLV,
    DEVICE_CBOR,
    DEVICE_JSON,
    DEVICE_SENML,
    DEVICE_TLV,
    MODELS,
)

DIALECT = Dialect(MODELS, "/lwm2m", (TLV,), (), (SENML_CBOR,))

SENT = b"""[{"bn":"/3/0/","bt":1276020076.5,"n":"9","v":95,"t":-5},{"n":"6/1","v":1},{"n":"22/0","vlo":"66:1"},
{"bn":"/lwm2m/6/0/","n":"4","vd":"-_8"},{"n":"0","bv":1,"v":-4.5e1},{"bn":"/1/0/6","vb":true}]"""

PAYLOADS: list[tuple[int, bytes, Path]] = [
    (TLV, DEVICE_TLV, (3, 0)),
    (TLV, b"\x08\x00\x79" + DEVICE_TLV, (3,)),
    (TLV, ACCESS_TLV, (2,)),
    (TLV, bytes.fromhex("8306410105"), (3, 0, 6, 1)),
    (11543, DEVICE_JSON, (3, 0)),
    (SENML_JSON, DEVICE_SENML, (3, 0)),
    (SENML_JSON, SENT, ()),
    (SENML_CBOR, DEVICE_CBOR, (3, 0)),
    (SENML_CBOR, bytes.fromhex("9fbf21632f362f0061300282c4820105ffff"), (6,)),
    (SENML_CBOR, bytes.fromhex("81a30067" + "2f362f302f30" + "2f0208c48221196ab306fb41d303a15b001062"), ()),
    (60, bytes.fromhex("c48221196ab3"), (6, 0, 0)),
    (0, b"-1367491215", (3, 0, 13)),
    (0, b"-43.5723e1", (6, 0, 0)),
]

COMMANDS: list[bytes] = [
    json.dumps({"reqID": 2, "msgType": type, "data": data}).encode()
    for type, data in [
        ("read", {"path": "/3/0/0"}),
        ("discover", {"path": "/3/0"}),
        ("write", {"path": "/3/0/13", "type": "Integer", "value": "12345"}),
        ("write", {"basePath": "/3/0/", "content": [{"path": "13", "value": 5}, {"path": "14", "value": "87x"}]}),
        ("write-attr", {"path": "/3/0/9", "pmin": 1, "pmax": 5, "gt": 1.5, "lt": 5, "st": None}),
        ("execute", {"path": "/3/0/4", "args": "2,7"}),
        ("create", {"basePath": "/5", "content": [{"path": "/0/1", "type": "String", "value": "x"}]}),
        ("delete", {"path": "/5/0"}),
        ("observe", {"path": "/3/0/10"}),
        ("read-composite", {"paths": ["/3/0/0", "/1"]}),
        ("write-composite", {"content": [{"path": "/3/0/14", "value": "x"}]}),
    ]
]

LISTS: list[bytes] = [
    b'</lwm2m>;rt="oma.lwm2m";ct="60 110 112 11542 11543",</lwm2m/1>;ver=1.1,</lwm2m/1/0>, </lwm2m/3/0>',
    b'</3/0/7>;dim=8;pmin=10;pmax=60;gt=50;lt=42.2,</3/0/8>;title="a,\\"b\\"";x',
]

DEFINITION = b"""<?xml version="1.0"?><LWM2M><Object ObjectType="MODefinition"><Name>T</Name><ObjectID>3303</ObjectID>
<ObjectURN>urn:oma:lwm2m:ext:3303:1.1</ObjectURN><MultipleInstances>Multiple</MultipleInstances><Mandatory>Optional
</Mandatory><Resources><Item ID="5700"><Name>V</Name><Operations>R</Operations><MultipleInstances>Single
</MultipleInstances><Mandatory>Mandatory</Mandatory><Type>Float</Type><Units>Cel</Units></Item></Resources></Object>
</LWM2M>"""


@pytest.mark.parametrize("contentFormat", sorted({contentFormat for contentFormat, _, _ in PAYLOADS}))
def test_payloads(contentFormat: int) -> None:
    """
    A damaged payload is values below what was asked for, or is refused; there is an answer in any case.
    """
    seeds = [(payload, base) for each, payload, base in PAYLOADS if each == contentFormat]

    def run(chance: random.Random) -> None:
        payload, base = chance.choice(seeds)
        for _ in range(chance.randrange(1, 4)):
            payload = damaged(chance, payload)
        try:
            for path, _, _, _ in decode(contentFormat, payload, base, DIALECT):
                assert isWithin(path, base) and len(path) in (3, 4)
        except ContentError:
            pass
        if base:
            command = Command("read", {"msgType": "read"}, {}, (base,))
            json.loads(answers.answered(command, CONTENT, contentFormat, payload, DIALECT))

    fuzzed(run)


def test_commands() -> None:
    """
    A damaged command has a request, or an answer, or is no JSON.
    """

    def run(chance: random.Random) -> None:
        payload = chance.choice(COMMANDS)
        for _ in range(chance.randrange(1, 4)):
            payload = damaged(chance, payload)
        try:
            request = parseCommand(payload, MODELS).request(DIALECT)
            assert request.path[0] == "lwm2m"
        except CommandError as error:
            assert json.loads(answers.refused(error))["data"]["code"] == "4.00"
        except NotJSON:
            pass

    fuzzed(run)


def test_lists() -> None:
    """
    A damaged list of links is one, or is refused.
    """

    def run(chance: random.Random) -> None:
        payload = chance.choice(LISTS)
        for _ in range(chance.randrange(1, 4)):
            payload = damaged(chance, payload)
        try:
            assert all(len(path) in (1, 2) for path in parseListing(payload).paths)
            linkTexts(payload, "/lwm2m")
        except ContentError:
            pass

    fuzzed(run)


def test_definitions() -> None:
    """
    A damaged definition is one, or is refused with its name and the line.
    """

    def run(chance: random.Random) -> None:
        data = DEFINITION
        for _ in range(chance.randrange(1, 4)):
            data = damaged(chance, data)
        try:
            assert len(parseDefinitions(data, "file.xml")) == 1
        except ContentError as error:
            assert str(error).startswith("file.xml, line ")

    fuzzed(run)
