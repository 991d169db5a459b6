"""
Observations: notifications, how they end, and those that the gateway begins by itself (gateways.md 5.5 and 5.8).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.conftest import StartBroker
from tests.system.lwm2m.conftest import MakeDevice, Manage, gatewayTables
from tests.system.lwm2m.device import Device
from tests.system.lwm2m.formats import JSON, SENML_CBOR, SENML_JSON, TEXT, TLV
from tests.system.lwm2m.manager import Manager
from tests.system.process import PATIENCE, Broker


@pytest.mark.parametrize("confirmable", [True, False])
def test_observes(registered: Device, manager: Manager, confirmable: bool) -> None:
    """
    The first answer is that of the command; what follows are notifications with its correlation keys, and the number
    that the device gave.
    """
    manager.tell({"reqID": 7, "imei": "x", "msgType": "observe", "data": {"path": "/3/0/10"}})
    content = [{"path": "/3/0/10", "value": 15, "name": "Memory Free", "type": "Integer"}]
    data = {"reqPath": "/3/0/10", "code": "2.05", "codeMsg": "content", "content": content}
    assert manager.next() == {"reqID": 7, "imei": "x", "msgType": "observe", "data": data}
    asked = registered.next()
    assert (asked.method, asked.path, asked.observe) == ("GET", "/3/0/10", 0)
    for number, value in ((1, 4096), (2, 0), (3, 17)):
        registered.notify("/3/0/10", value, confirmable)
        content[0]["value"] = value
        assert manager.next() == {"reqID": 7, "imei": "x", "msgType": "notify", "seqNum": number, "data": data}


@pytest.mark.parametrize("form", [TEXT, TLV, JSON, SENML_JSON, SENML_CBOR])
def test_notifiesInEveryFormat(gateway: Broker, name: str, makeDevice: MakeDevice, manage: Manage, form: int) -> None:
    """
    A notification may be in any format.
    """
    device, manager = makeDevice(gateway, name, form=form, stubborn=True), manage(gateway, name)
    device.register(version="1.1")
    manager.next()
    manager.ask("observe", {"path": "/3/0/9"})
    device.notify("/3/0/9", -7)
    (element,) = manager.next()["data"]["content"]
    assert (element["path"], element["value"]) == ("/3/0/9", -7)


def test_observesInstance(registered: Device, manager: Manager) -> None:
    """
    A whole instance may be observed, and is told whole.
    """
    before = {each["path"]: each["value"] for each in manager.ask("observe", {"path": "/6/0"})["content"]}
    registered.notify("/6/0/0", 48.5)
    notification = manager.next()
    after = {each["path"]: each["value"] for each in notification["data"]["content"]}
    assert (notification["msgType"], notification["data"]["reqPath"]) == ("notify", "/6/0")
    assert after == {**before, "/6/0/0": 48.5}


def test_cancels(registered: Device, manager: Manager) -> None:
    """
    A cancel is a GET with Observe 1, which the device knows for the same observation; nothing is told after it.
    """
    manager.ask("observe", {"path": "/3/0/9"})
    registered.next()
    data = manager.ask("cancel-observe", {"path": "/3/0/9"})
    assert (data["reqPath"], data["code"], data["content"][0]["value"]) == ("/3/0/9", "2.05", 100)
    asked = registered.next()
    assert (asked.method, asked.path, asked.observe) == ("GET", "/3/0/9", 1)
    assert registered.ended.get(timeout=PATIENCE) == "/3/0/9"
    registered.notify("/3/0/9", 1)
    assert manager.read("/3/0/9") == 1


def test_cancelsOneOfTwo(registered: Device, manager: Manager) -> None:
    """
    Observations of one device are apart from each other, and each knows its own command.
    """
    first = manager.command("observe", {"path": "/3/0/9"})
    manager.answerTo(first, "observe")
    second = manager.command("observe", {"path": "/3/0/10"})
    manager.answerTo(second, "observe")
    registered.notify("/3/0/10", 1)
    assert manager.next()["reqID"] == second
    registered.notify("/3/0/9", 2)
    assert manager.next()["reqID"] == first
    manager.ask("cancel-observe", {"path": "/3/0/10"})
    registered.notify("/3/0/9", 3)
    assert manager.next()["reqID"] == first


def test_observesAgain(registered: Device, manager: Manager) -> None:
    """
    Observed anew, a resource is told once for each change, with the keys of the later command.
    """
    manager.ask("observe", {"path": "/3/0/9"})
    later = manager.command("observe", {"path": "/3/0/9"})
    manager.answerTo(later, "observe")
    registered.notify("/3/0/9", 50)
    notification = manager.next()
    assert (notification["reqID"], notification["data"]["content"][0]["value"]) == (later, 50)
    assert manager.read("/3/0/9") == 50


def test_overtaken(registered: Device, manager: Manager) -> None:
    """
    A notification that was overtaken by a later one is not told (RFC 7641 3.4).
    """
    manager.ask("observe", {"path": "/3/0/9"})
    for number, value in ((10, 1), (9, 2), (11, 3)):
        registered.notify("/3/0/9", value, number=number)
    assert [manager.next()["seqNum"] for _ in range(2)] == [10, 11]


def test_largeNotification(registered: Device, manager: Manager) -> None:
    """
    Content that does not fit into a notification is fetched.
    """
    manager.ask("observe", {"path": "/5/0/1"})
    registered.notify("/5/0/1", text := "0123456789" * 500)
    assert manager.next()["data"]["content"][0]["value"] == text


def test_unknownNotification(registered: Device, manager: Manager) -> None:
    """
    A notification of nothing that is observed is rejected with RST, whereupon the device gives up; here, after the
    device has registered anew, which ends what was observed before.
    """
    manager.ask("observe", {"path": "/3/0/9"})
    registered.register()
    assert manager.next()["msgType"] == "register"
    registered.notify("/3/0/9", 1, confirmable=True)
    assert registered.ended.get(timeout=PATIENCE) == "/3/0/9"
    assert manager.read("/3/0/9") == 1


def test_refusesToBeObserved(registered: Device, manager: Manager) -> None:
    """
    A resource that can't be observed is not.
    """
    registered.refusals["/3/0/9"] = "4.05"
    assert manager.ask("observe", {"path": "/3/0/9"})["code"] == "4.05"
    assert manager.ask("observe", {"path": "/3/5"})["code"] == "4.04"


def test_cancelsNothing(registered: Device, manager: Manager) -> None:
    """
    To cancel what is not observed is answered too.
    """
    data = manager.ask("cancel-observe", {"path": "/3/0/9"})
    assert data["reqPath"] == "/3/0/9"
    assert (data["code"], data["content"][0]["value"]) == ("2.05", 100)


@pytest.fixture
def observing(startBroker: StartBroker, tmp_path: Path) -> Broker:
    """
    A broker whose gateway observes by itself.
    """
    return startBroker(gatewayTables(auto_observe=True), listeners=2)


@pytest.mark.slow
def test_autoObserve(observing: Broker, name: str, makeDevice: MakeDevice, manage: Manage) -> None:
    """
    The announced objects of a device are observed a while after it registered, and again when it registers again.
    """
    device, manager = makeDevice(observing, name), manage(observing, name)
    for _ in range(2):
        device.register(links="</3/0>,</6/0>")
        assert manager.next()["msgType"] == "register"
        assert [device.next()[1:6:4] for _ in range(2)] == [("/3/0", 0), ("/6/0", 0)]
        told = [manager.next() for _ in range(2)]
        assert [each["data"]["reqPath"] for each in told] == ["/3/0", "/6/0"]
    device.notify("/6/0/0", 1.5)
    notification = manager.next()
    assert (notification["msgType"], notification["data"]["reqPath"]) == ("notify", "/6/0")
    assert manager.read("/3/0/9") == 100
