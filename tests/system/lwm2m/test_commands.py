"""
Commands over MQTT, what the device gets of them, and what is answered (gateways.md 5.5 to 5.7).
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.system.lwm2m.answering import Asked
from tests.system.lwm2m.conftest import MakeDevice, Manage
from tests.system.lwm2m.device import Device
from tests.system.lwm2m.formats import (
    INSTANCE,
    JSON,
    LINKS,
    MULTIPLE,
    OPAQUE,
    RESOURCE,
    RESOURCE_INSTANCE,
    SENML_CBOR,
    SENML_JSON,
    TEXT,
    TLV,
    tlv,
)
from tests.system.lwm2m.manager import Manager
from tests.system.process import Broker

DEVICE = {
    "/3/0/0": ("Manufacturer", "String", "Open Mobile Alliance"),
    "/3/0/9": ("Battery Level", "Integer", 100),
    "/3/0/13": ("Current Time", "Time", 1367491215),
    "/1/0/6": ("Notification Storing When Disabled or Offline", "Boolean", True),
    "/4/0/2": ("Radio Signal Strength", "Integer", -92),
    "/6/0/0": ("Latitude", "Float", -43.5723),
    "/6/0/4": ("Velocity", "Opaque", base64.b64encode(b"\x00\x80\xff").decode()),
}


# Read


@pytest.mark.parametrize("path", DEVICE)
def test_reads(registered: Device, manager: Manager, path: str) -> None:
    """
    A read of a resource is a GET, and answered with path, value, name and type.
    """
    name, kind, value = DEVICE[path]
    data = manager.ask("read", {"path": path})
    assert data == {
        "reqPath": path,
        "code": "2.05",
        "codeMsg": "content",
        "content": [{"path": path, "value": value, "name": name, "type": kind}],
    }
    assert type(data["content"][0]["value"]) is type(value)
    asked = registered.next()
    assert (asked.method, asked.path, asked.query, asked.observe, asked.payload) == ("GET", path, (), None, b"")


def test_readsMultiple(registered: Device, manager: Manager) -> None:
    """
    A multiple resource is answered instance by instance; a link is told as object and instance.
    """
    content = manager.ask("read", {"path": "/3/0/7"})["content"]
    assert [(each["path"], each["value"], each["type"]) for each in content] == [
        ("/3/0/7/0", 3800, "Integer"),
        ("/3/0/7/1", 5000, "Integer"),
    ]
    (element,) = manager.ask("read", {"path": "/3/0/22"})["content"]
    assert (element["path"], element["value"]) == ("/3/0/22/0", "4:0")


@pytest.mark.parametrize("path", ["/3/0/7/1", "3/0/7/1"])
def test_readsInstanceOfResource(registered: Device, manager: Manager, path: str) -> None:
    """
    So is one instance of it, when that is asked for; a path may do without its first slash.
    """
    data = manager.ask("read", {"path": path})
    assert [(each["path"], each["value"]) for each in data["content"]] == [("/3/0/7/1", 5000)]
    assert registered.next().path == "/3/0/7/1"


def valuesOf(data: dict[str, Any]) -> dict[str, Any]:
    """
    The values of an answer, by path.
    """
    assert (data["code"], data["codeMsg"]) == ("2.05", "content"), data
    found = {each["path"]: each["value"] for each in data["content"]}
    assert len(found) == len(data["content"])
    return found


LOCATION = {"0": -43.5723, "1": 153.2176, "2": 12.5, "4": "AID/", "5": 1367491215}


@pytest.mark.parametrize("form", [TLV, JSON, SENML_JSON, SENML_CBOR])
@pytest.mark.parametrize("path", ["/6", "/6/0"])
def test_readsInstance(
    gateway: Broker, name: str, makeDevice: MakeDevice, manage: Manage, path: str, form: int
) -> None:
    """
    The values of an instance or an object are the same in every format of the answer.
    """
    device, manager = makeDevice(gateway, name, form=form, stubborn=True), manage(gateway, name)
    device.register(version="1.1")
    manager.next()
    assert valuesOf(manager.ask("read", {"path": path})) == {
        f"/6/0/{number}": pytest.approx(value) if isinstance(value, float) else value
        for number, value in LOCATION.items()
    }


@pytest.mark.parametrize("form", [TLV, JSON, SENML_JSON, SENML_CBOR])
def test_readsMultipleWithin(gateway: Broker, name: str, makeDevice: MakeDevice, manage: Manage, form: int) -> None:
    """
    Multiple resources within an instance are told instance by instance, in every format.
    """
    device, manager = makeDevice(gateway, name, form=form, stubborn=True), manage(gateway, name)
    device.register(version="1.1")
    manager.next()
    values = valuesOf(manager.ask("read", {"path": "/3/0"}))
    assert (values["/3/0/6/0"], values["/3/0/6/1"], values["/3/0/7/1"], values["/3/0/22/0"]) == (1, 5, 5000, "4:0")
    assert values["/3/0/15"] == "Europe/Berlin"


@pytest.mark.parametrize(
    ("path", "form"),
    [(path, form) for path in DEVICE for form in (TEXT, TLV, JSON, SENML_JSON, SENML_CBOR)] + [("/6/0/4", OPAQUE)],
)
def test_readsInEveryFormat(
    gateway: Broker, name: str, makeDevice: MakeDevice, manage: Manage, path: str, form: int
) -> None:
    """
    A value is the same in whatever format a device tells it, text Booleans and negative numbers too.
    """
    device, manager = makeDevice(gateway, name, form=form, stubborn=True), manage(gateway, name)
    device.register(version="1.1")
    manager.next()
    value = manager.read(path)
    expected = DEVICE[path][2]
    assert value == pytest.approx(expected) if isinstance(expected, float) else value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize("integer", [0, 1, -1, 127, -128, 128, 32767, -32768, 65536, -(1 << 31), 1 << 40, -(1 << 40)])
@pytest.mark.parametrize("form", [TEXT, TLV])
def test_integers(gateway: Broker, name: str, makeDevice: MakeDevice, manage: Manage, integer: int, form: int) -> None:
    """
    Integers of every size arrive, both ways.
    """
    device, manager = makeDevice(gateway, name, form=form, stubborn=True), manage(gateway, name)
    device.register()
    manager.next()
    data = manager.ask("write", {"path": "/1/0/1", "type": "Integer", "value": integer})
    assert (data["code"], device.objects.values[1, 0, 1]) == ("2.04", integer)
    assert manager.read("/1/0/1") == integer


# Discover


def test_discovers(registered: Device, manager: Manager) -> None:
    """
    A discover is a GET for links, and answered with these.
    """
    registered.objects.attributes[3, 0, 7] = {"pmin": "10", "pmax": "60", "gt": "50", "lt": "42.2"}
    data = manager.ask("discover", {"path": "/3/0/7"})
    assert data == {
        "reqPath": "/3/0/7",
        "code": "2.05",
        "codeMsg": "content",
        "content": ["</3/0/7>;dim=2;pmin=10;pmax=60;gt=50;lt=42.2"],
    }
    assert registered.next()[:4] == ("GET", "/3/0/7", (), LINKS)
    content = manager.ask("discover", {"path": "/3/0"})["content"]
    assert content[:3] == ["</3/0>", "</3/0/0>", "</3/0/1>"]
    assert manager.ask("discover", {"path": "/5"})["content"][:3] == ["</5>", "</5/0>", "</5/0/1>"]


# Write


WRITES: dict[str, tuple[str, str, object, bytes, object]] = {
    "text": ("/3/0/14", "String", "+03:00", b"+03:00", "+03:00"),
    "no ASCII": ("/3/0/15", "String", "Zürich ☃", "Zürich ☃".encode(), "Zürich ☃"),
    "long": ("/3/0/15", "String", "x" * 300, b"x" * 300, "x" * 300),
    "number": ("/1/0/1", "Integer", 86400, b"\x00\x01\x51\x80", 86400),
    "number as text": ("/1/0/1", "Integer", "12345", b"\x30\x39", 12345),
    "negative": ("/1/0/2", "Integer", -5, b"\xfb", -5),
    "time": ("/3/0/13", "Time", 1700000000, b"\x65\x53\xf1\x00", 1700000000),
    "true": ("/1/0/6", "Boolean", True, b"\x01", True),
    "false": ("/1/0/6", "Boolean", False, b"\x00", False),
    "true as text": ("/1/0/6", "Boolean", "true", b"\x01", True),
    "false as text": ("/1/0/6", "Boolean", "false", b"\x00", False),
}


@pytest.mark.parametrize("case", WRITES)
def test_writes(registered: Device, manager: Manager, case: str) -> None:
    """
    A write of a resource is a PUT of TLV; numbers and truths may come as texts.
    """
    path, kind, value, wire, held = WRITES[case]
    data = manager.ask("write", {"path": path, "type": kind, "value": value})
    assert data == {"reqPath": path, "code": "2.04", "codeMsg": "changed"}
    number = int(path.rpartition("/")[2])
    assert registered.next() == Asked("PUT", path, (), None, TLV, None, tlv(RESOURCE, number, wire))
    assert registered.objects.values[tuple(int(step) for step in path[1:].split("/"))] == held


def test_writesOpaque(registered: Device, manager: Manager) -> None:
    """
    Bytes come in base64, or with the encoding C{hex} in hexadecimal digits, and the encoding is repeated in the answer.
    """
    value = base64.b64encode(bytes(range(20))).decode()
    data = manager.ask("write", {"path": "/5/0/0", "type": "Opaque", "value": value})
    assert (data["code"], registered.package) == ("2.04", bytes(range(20)))
    data = manager.ask("write", {"path": "/5/0/0", "type": "Opaque", "value": "00ff10"}, encoding="hex")
    assert (data["code"], registered.package) == ("2.04", b"\x00\xff\x10")
    data = manager.ask("write", {"path": "/3/0/14", "type": "String", "value": "+01"}, encoding="plain")
    assert (data["code"], registered.objects.values[3, 0, 14]) == ("2.04", "+01")


def test_writesHexText(registered: Device, manager: Manager) -> None:
    """
    With C{hex}, a text is given in hexadecimal digits as well.
    """
    given = "Zürich"
    data = manager.ask("write", {"path": "/3/0/15", "type": "String", "value": given.encode().hex()}, encoding="hex")
    assert (data["code"], registered.objects.values[3, 0, 15]) == ("2.04", given)


def test_writesSeveral(registered: Device, manager: Manager) -> None:
    """
    Several resources of an instance are one POST, which leaves the others as they are.
    """
    content = [{"path": "13", "type": "Time", "value": "12345"}, {"path": "14", "type": "String", "value": "87x"}]
    data = manager.ask("write", {"basePath": "/3/0/", "content": content})
    assert (data["code"], data["codeMsg"]) == ("2.04", "changed")
    assert data["reqPath"].rstrip("/") == "/3/0"
    wire = tlv(RESOURCE, 13, b"\x30\x39") + tlv(RESOURCE, 14, b"87x")
    assert registered.next() == Asked("POST", "/3/0", (), None, TLV, None, wire)
    values = registered.objects.values
    assert (values[3, 0, 13], values[3, 0, 14], values[3, 0, 15]) == (12345, "87x", "Europe/Berlin")


def test_writesInstancesOfAResource(registered: Device, manager: Manager) -> None:
    """
    The instances of a multiple resource are one PUT on it.
    """
    for path, value in (((2, 0, 0), 3), ((2, 0, 3), 1), ((2, 0, 2, 1), 15)):
        registered.objects.values[path] = value
    content = [{"path": "/1", "type": "Integer", "value": 3}, {"path": "/2", "type": "Integer", "value": 4}]
    data = manager.ask("write", {"basePath": "/2/0/2", "content": content})
    assert (data["code"], data["reqPath"]) == ("2.04", "/2/0/2")
    wire = tlv(MULTIPLE, 2, tlv(RESOURCE_INSTANCE, 1, b"\x03") + tlv(RESOURCE_INSTANCE, 2, b"\x04"))
    assert registered.next() == Asked("PUT", "/2/0/2", (), None, TLV, None, wire)
    assert (registered.objects.values[2, 0, 2, 1], registered.objects.values[2, 0, 2, 2]) == (3, 4)


def test_writesAttributes(registered: Device, manager: Manager) -> None:
    """
    Attributes are written with queries and no payload; those that are null are not mentioned.
    """
    data = {"path": "/3/0/9", "pmin": 1, "pmax": "5", "gt": None, "lt": 5, "st": 0.5}
    answer = manager.ask("write-attr", data)
    assert answer == {"reqPath": "/3/0/9", "code": "2.04", "codeMsg": "changed"}
    asked = registered.next()
    assert (asked.method, asked.path, sorted(asked.query)) == ("PUT", "/3/0/9", ["lt=5", "pmax=5", "pmin=1", "st=0.5"])
    assert (asked.payload, asked.format) == (b"", None)
    assert registered.objects.attributes[3, 0, 9] == {"pmin": "1", "pmax": "5", "lt": "5", "st": "0.5"}
    manager.ask("write-attr", {"path": "/3/0", "pmin": 60})
    assert registered.objects.attributes[3, 0] == {"pmin": "60"}


# Execute, create, delete


@pytest.mark.parametrize("arguments", ["2,7", "0='x'", "", None])
def test_executes(registered: Device, manager: Manager, arguments: str | None) -> None:
    """
    An execute is a POST with its arguments as text.
    """
    data = {"path": "/3/0/4"} if arguments is None else {"path": "/3/0/4", "args": arguments}
    assert manager.ask("execute", data) == {"reqPath": "/3/0/4", "code": "2.04", "codeMsg": "changed"}
    asked = registered.next()
    assert (asked.method, asked.path, asked.payload) == ("POST", "/3/0/4", (arguments or "").encode())
    assert registered.objects.executed == [("/3/0/4", arguments or "")]


def test_createsAndDeletes(registered: Device, manager: Manager) -> None:
    """
    An instance is created by a POST on its object, with its number, and goes with DELETE; where it is, is told.
    """
    assert manager.ask("delete", {"path": "/5/0"}) == {"reqPath": "/5/0", "code": "2.02", "codeMsg": "deleted"}
    assert registered.next()[:2] == ("DELETE", "/5/0")
    content = [{"path": "/0/1", "type": "String", "value": "coap://x"}, {"path": "/0/3", "type": "Integer", "value": 1}]
    data = manager.ask("create", {"basePath": "/5", "content": content})
    assert data == {"reqPath": "/5", "code": "2.01", "codeMsg": "created", "location": "/5/0"}
    wire = tlv(INSTANCE, 0, tlv(RESOURCE, 1, b"coap://x") + tlv(RESOURCE, 3, b"\x01"))
    assert registered.next() == Asked("POST", "/5", (), None, TLV, None, wire)
    assert (registered.objects.values[5, 0, 1], registered.objects.values[5, 0, 3]) == ("coap://x", 1)
    assert manager.ask("create", {"basePath": "/5", "content": content})["code"] == "4.00"


# Correlation, topics, and answers that take time


@pytest.mark.parametrize(
    "keys", [{"reqID": 7}, {"reqID": "seven"}, {"requestID": "r", "cacheID": 9}, {"reqID": 1, "imei": "3", "imsi": "4"}]
)
def test_correlation(registered: Device, manager: Manager, keys: dict[str, Any]) -> None:
    """
    Every key of a command but its data comes back with the answer.
    """
    manager.tell({**keys, "msgType": "read", "data": {"path": "/3/0/9"}})
    answer = manager.next()
    assert answer.pop("data")["code"] == "2.05"
    assert answer == {**keys, "msgType": "read"}


@pytest.mark.parametrize("below", ["/3/0/9", "/any/thing"])
def test_topicsBelow(registered: Device, manager: Manager, below: str) -> None:
    """
    Commands may be published below the command topic as well.
    """
    manager.tell({"reqID": 1, "msgType": "read", "data": {"path": "/3/0/9"}}, below)
    assert manager.next()["data"]["content"][0]["value"] == 100


def test_retained(gateway: Broker, device: Device, manager: Manager) -> None:
    """
    A command is for who is there: one that is retained is not given to a device that registers later.
    """
    manager.tell({"reqID": 1, "msgType": "execute", "data": {"path": "/3/0/4"}}, retain=True)
    for _ in range(2):
        device.register()
        assert manager.next()["msgType"] == "register"
    assert manager.read("/3/0/9") == 100
    manager.tell(b"", retain=True)
    assert manager.read("/3/0/9") == 100
    assert device.objects.executed == []


def test_severalManagers(gateway: Broker, registered: Device, manager: Manager, manage: Manage) -> None:
    """
    Every subscriber gets all answers; the keys of a command tell whose they are.
    """
    other = manage(gateway, registered.endpoint)
    numbers = [each.command("read", {"path": "/3/0/9"}) for each in (manager, other)]
    for each in (manager, other):
        assert sorted(each.next()["reqID"] for _ in numbers) == numbers


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_qos(registered: Device, manager: Manager, qos: int) -> None:
    """
    Commands are heeded whatever their quality of service.
    """
    manager.tell({"reqID": 1, "msgType": "execute", "data": {"path": "/3/0/4"}}, qos=qos)
    assert manager.next()["data"]["code"] == "2.04"
    assert registered.objects.executed == [("/3/0/4", "")]


def test_takesTime(registered: Device, manager: Manager) -> None:
    """
    That a device has received a command and will answer is told, and then what it answers.
    """
    registered.hold("/3/0/9")
    number = manager.command("read", {"path": "/3/0/9"})
    acknowledgement = manager.next()
    assert (acknowledgement["reqID"], acknowledgement["msgType"]) == (number, "ack")
    assert not {"code", "codeMsg", "content"} & acknowledgement.get("data", {}).keys()
    registered.release("/3/0/9")
    assert manager.answerTo(number, "read")["code"] == "2.05"


def test_inOrder(registered: Device, manager: Manager) -> None:
    """
    Commands arrive at the device in the order in which they were given.
    """
    numbers = [manager.command("execute", {"path": "/3/0/4", "args": str(each)}) for each in range(50)]
    assert [manager.next()["reqID"] for _ in numbers] == numbers
    assert [arguments for _, arguments in registered.objects.executed] == [str(each) for each in range(50)]


# Large values


FIRMWARE = bytes(range(256)) * 400 + b"end"


@pytest.mark.parametrize("encoding", ["base64", "hex"])
def test_firmware(registered: Device, manager: Manager, encoding: str) -> None:
    """
    100 KB of firmware are written block by block, are there whole, and can be put to use.
    """
    if encoding == "hex":
        number = manager.command("write", {"path": "/5/0/0", "type": "Opaque", "value": FIRMWARE.hex()}, encoding="hex")
        assert manager.answerTo(number, "write", encoding="hex")["code"] == "2.04"
    else:
        value = base64.b64encode(FIRMWARE).decode()
        assert manager.ask("write", {"path": "/5/0/0", "type": "Opaque", "value": value})["code"] == "2.04"
    assert registered.package == FIRMWARE
    assert manager.read("/5/0/3") == 2
    assert manager.ask("execute", {"path": "/5/0/2"})["code"] == "2.04"


@pytest.mark.parametrize("exponent", [6, 2])
def test_largeRead(registered: Device, manager: Manager, exponent: int) -> None:
    """
    Large content of a device is read block by block, of 1,024 bytes or of 64 as the device likes it.
    """
    registered.link.maximum_block_size_exp = exponent
    registered.objects.values[5, 0, 1] = text = "0123456789" * 2000
    assert manager.read("/5/0/1") == text
    values = valuesOf(manager.ask("read", {"path": "/5/0"}))
    assert values["/5/0/1"] == text
