"""
The additions of LwM2M 1.1: several paths in one request, and values that a device sends unasked (1.1 core 6.3 and
6.4.6).
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.system.lwm2m.conftest import MakeDevice, Manage
from tests.system.lwm2m.device import Device
from tests.system.lwm2m.formats import SENML_CBOR, SENML_JSON, TLV
from tests.system.lwm2m.manager import Manager
from tests.system.process import PATIENCE, Broker

PATHS = ["/3/0/9", "/6/0/0", "/1/0"]


@pytest.fixture
def modern(device: Device, manager: Manager) -> Device:
    """
    A device that has registered as one of 1.1.
    """
    assert device.register(version="1.1").code == "2.01"
    manager.next()
    return device


def valuesOf(data: dict[str, Any]) -> dict[str, Any]:
    """
    The values of an answer, by path.
    """
    assert (data["code"], data["codeMsg"]) == ("2.05", "content"), data
    return {each["path"]: each["value"] for each in data["content"]}


VALUES = {"/3/0/9": 100, "/6/0/0": -43.5723, "/1/0/0": 1, "/1/0/1": 300, "/1/0/6": True, "/1/0/7": "U"}


def test_readsComposite(modern: Device, manager: Manager) -> None:
    """
    Several paths are read with one FETCH, which names them, and answered together.
    """
    data = manager.ask("read-composite", {"paths": PATHS})
    assert data["reqPaths"] == PATHS
    assert valuesOf(data) == VALUES
    asked = modern.next()
    assert (asked.method, asked.path, asked.observe) == ("FETCH", "/", None)
    assert asked.format in (SENML_CBOR, SENML_JSON)
    assert asked.accept == asked.format


def test_alternatePath(gateway: Broker, name: str, makeDevice: MakeDevice, manage: Manage) -> None:
    """
    With an alternate path, the request goes there.
    """
    device, manager = makeDevice(gateway, name, root="/lwm2m"), manage(gateway, name)
    device.register(version="1.1")
    manager.next()
    manager.command("read-composite", {"paths": ["/3/0/9"]})
    assert device.next().path == "/lwm2m"


def test_writesComposite(modern: Device, manager: Manager) -> None:
    """
    Several resources, of several objects, are written with one iPATCH.
    """
    content = [
        {"path": "/1/0/1", "type": "Integer", "value": 77},
        {"path": "/3/0/14", "type": "String", "value": "Z"},
        {"path": "/1/0/6", "type": "Boolean", "value": False},
    ]
    data = manager.ask("write-composite", {"content": content})
    assert (data["code"], data["codeMsg"]) == ("2.04", "changed")
    assert data["reqPaths"] == ["/1/0/1", "/3/0/14", "/1/0/6"]
    asked = modern.next()
    assert (asked.method, asked.path) == ("iPATCH", "/")
    values = modern.objects.values
    assert (values[1, 0, 1], values[3, 0, 14], values[1, 0, 6]) == (77, "Z", False)


@pytest.mark.parametrize("confirmable", [True, False])
def test_observesComposite(modern: Device, manager: Manager, confirmable: bool) -> None:
    """
    Several paths are observed as one, until that is cancelled with the same token.
    """
    number = manager.command("observe-composite", {"paths": ["/3/0/9", "/6/0/0"]})
    assert valuesOf(manager.answerTo(number, "observe-composite")) == {"/3/0/9": 100, "/6/0/0": -43.5723}
    modern.notify("/6/0/0", 1.5, confirmable)
    notification = manager.next()
    assert (notification["reqID"], notification["msgType"], notification["seqNum"]) == (number, "notify", 1)
    assert valuesOf(notification["data"]) == {"/3/0/9": 100, "/6/0/0": 1.5}
    data = manager.ask("cancel-observe-composite", {"paths": ["/3/0/9", "/6/0/0"]})
    assert data["code"] == "2.05"
    assert modern.ended.get(timeout=PATIENCE) == "/"
    modern.notify("/6/0/0", 2.5)
    assert manager.read("/6/0/0") == 2.5


@pytest.mark.parametrize("form", [SENML_JSON, SENML_CBOR])
def test_sends(modern: Device, manager: Manager, form: int) -> None:
    """
    Values that a device sends unasked are published with the notifications.
    """
    assert modern.send({"/3/0/9": 55, "/6/0/0": -1.25, "/6/0/5": 1700000000}, form).code == "2.04"
    sent = manager.next()
    assert sent["msgType"] == "send"
    assert {each["path"]: each["value"] for each in sent["data"]["content"]} == {
        "/3/0/9": 55,
        "/6/0/0": -1.25,
        "/6/0/5": 1700000000,
    }


def test_sendsNonsense(modern: Device, gateway: Broker, name: str, makeDevice: MakeDevice) -> None:
    """
    A payload that is no SenML is refused, and so is a device that has not registered.
    """
    assert modern.say("POST", ("dp",), [], b"\xff\xff", SENML_CBOR).code == "4.00"
    assert modern.say("POST", ("dp",), [], b"\x08\x00", TLV).code == "4.00"
    assert makeDevice(gateway, f"{name}x").send({"/3/0/9": 1}).code == "4.03"


def test_notWith10(registered: Device, manager: Manager) -> None:
    """
    A device of 1.0 is asked nothing that it could not understand.
    """
    data = manager.ask("read-composite", {"paths": PATHS})
    assert (data["code"], data["codeMsg"]) == ("4.00", "bad_request")
    assert registered.asked.empty()


@pytest.mark.parametrize("paths", [[], "/3/0/9", ["/3/x"], [3], None])
def test_unfitPaths(modern: Device, manager: Manager, paths: object) -> None:
    """
    Paths must be some.
    """
    data = manager.ask("read-composite", {"paths": paths})
    assert (data["code"], data["codeMsg"]) == ("4.00", "bad_request")
    assert modern.asked.empty()


@pytest.mark.parametrize("form", [SENML_JSON, SENML_CBOR])
def test_writesTo11InItsFormat(gateway: Broker, name: str, makeDevice: MakeDevice, manage: Manage, form: int) -> None:
    """
    A device of 1.1 that tells its formats, TLV not among them, is written to in one of these.
    """
    device, manager = makeDevice(gateway, name, forms=frozenset((form,)), form=form), manage(gateway, name)
    device.register(version="1.1", links=f'</>;rt="oma.lwm2m";ct={form},</1/0>,</3/0>')
    manager.next()
    data = manager.ask("write", {"path": "/3/0/14", "type": "String", "value": "Z"})
    assert (data["code"], device.objects.values[3, 0, 14]) == ("2.04", "Z")
    assert device.next().format == form
