"""
Devices are clients of the broker's: who may come in, what may be published, and what happens when the broker goes.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.system.conftest import StartBroker
from tests.system.lwm2m.conftest import MakeDevice, Manage, gatewayTables, startGateway
from tests.system.lwm2m.formats import RESOURCE, tlv
from tests.system.paho_peer import Peer

RULES = """
{{allow, {{client, "{name}ro"}}, publish, ["lwm2m/{name}ro/up/resp"]}}.
{{deny, {{client, "{name}ro"}}, publish, ["#"]}}.
{{deny, {{client, "{name}no"}}, subscribe, ["#"]}}.
{{allow, all}}.
"""


def test_nobodyAnonymous(startBroker: StartBroker, name: str, makeDevice: MakeDevice) -> None:
    """
    Where nobody comes in without showing who he is, a device does not either; it is told so.
    """
    broker = startBroker({**gatewayTables(), "allow_anonymous": False}, listeners=2)
    device = makeDevice(broker, name)
    assert device.register().code == "4.03"
    assert device.register(u="tom", p="secret").code == "4.03"
    assert device.say("POST", ("rd", name)).code == "4.04"


def test_publishLimit(startBroker: StartBroker, name: str, makeDevice: MakeDevice, manage: Manage) -> None:
    """
    Values that a device sends faster than its zone's C{publish_limit} allows are published later, in order.
    """
    broker = startBroker({**gatewayTables(), "zone": {"external": {"publish_limit": "10,1s"}}}, listeners=2)
    device, manager = makeDevice(broker, name), manage(broker, name)
    device.register()
    assert manager.next()["msgType"] == "register"
    number = manager.command("observe", {"path": "/3/0/9"})
    manager.answerTo(number, "observe")
    began = time.monotonic()
    for value in range(30):
        device.notify("/3/0/9", value, confirmable=True)
    heard = [manager.next() for _ in range(30)]
    numbers = [notification["seqNum"] for notification in heard]
    assert numbers == sorted(numbers) and len(set(numbers)) == 30
    # Ten at once at most, the rest ten a second.
    assert time.monotonic() - began > 1.5


def test_accessRules(
    startBroker: StartBroker, tmp_path: Path, name: str, makeDevice: MakeDevice, manage: Manage
) -> None:
    """
    A device that may not publish is not heard; one that may not subscribe to its commands is registered, and gets none.
    """
    rules = tmp_path / "acl.conf"
    rules.write_text(RULES.format(name=name))
    broker = startBroker({**gatewayTables(), "acl_file": str(rules)}, listeners=2)
    device, manager = makeDevice(broker, f"{name}ro"), manage(broker, f"{name}ro")
    device.register()
    assert manager.next()["msgType"] == "register"
    number = manager.command("observe", {"path": "/3/0/9"})
    assert manager.answerTo(number, "observe")["code"] == "2.05"
    # Its notifications may not be published.
    device.notify("/3/0/9", 1, confirmable=True)
    assert manager.read("/3/0/9") == 1
    deaf = makeDevice(broker, f"{name}no")
    answer = deaf.register()
    watcher = manage(broker, f"{name}no")
    watcher.command("read", {"path": "/3/0/9"})
    assert manager.read("/3/0/9") == 1
    assert deaf.asked.empty()
    assert answer.code == "2.01"


@pytest.mark.parametrize("qos", [0, 1])
def test_killed(
    tmp_path: Path, request: pytest.FixtureRequest, name: str, makeDevice: MakeDevice, manage: Manage, qos: int
) -> None:
    """
    After the broker was killed, a device that updates learns that it has to register again, and gets the command of
    QoS 1 that was waiting for it; one of QoS 0 is gone.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference speaks no LwM2M")
    broker = startGateway(tmp_path, gatewayTables(qmode_time_window="1ms"))
    device, manager = makeDevice(broker, name), manage(broker, name)
    device.register(binding="UQ")
    manager.next()
    device.sleep()
    command = {"reqID": "kept", "msgType": "execute", "data": {"path": "/3/0/4"}}
    manager.tell(command, qos=qos)
    # Published after it and answered, so the gateway has both.
    manager.tell({**command, "msgType": "sing"}, qos=0)
    assert manager.next()["data"]["code"] == "4.00"
    broker.end(signal.SIGKILL)
    broker = startGateway(tmp_path, gatewayTables())
    try:
        again, manager = makeDevice(broker, name), manage(broker, name)
        again.location = device.location
        assert again.update().code == "4.04"
        assert again.register(binding="UQ").code == "2.01"
        assert manager.next()["msgType"] == "register"
        if qos:
            answer = manager.next()
            assert (answer["reqID"], answer["data"]["code"]) == ("kept", "2.04")
        assert manager.read("/3/0/9") == 100
        assert again.objects.executed == [("/3/0/4", "")] * qos
    finally:
        manager.peer.disconnect()
        broker.stop()


def test_mountpoint(startBroker: StartBroker, name: str, makeDevice: MakeDevice) -> None:
    """
    Where things are said can be configured, with endpoint name and address in it.
    """
    topics = {
        "command": "command",
        "response": "response",
        "notify": "notes/%e",
        "register": "come",
        "update": "changed",
    }
    broker = startBroker(gatewayTables(mountpoint="site/%a/%e/", topics=topics), listeners=2)
    device = makeDevice(broker, name)
    with Peer(broker, f"m{name}") as peer:
        peer.subscribe("site/#")
        prefix = f"site/127.0.0.1/{name}"

        def heard() -> tuple[str, str]:
            message = peer.receive()
            return message.topic.removeprefix(prefix), json.loads(message.payload)["msgType"]

        device.register()
        assert heard() == ("/come", "register")
        device.update(links="</3/0>")
        assert heard() == ("/changed", "update")
        peer.publish(f"{prefix}/command", json.dumps({"reqID": 1, "msgType": "observe", "data": {"path": "/3/0/9"}}))
        assert {heard()[0], heard()[0]} == {"/command", "/response"}
        device.notify("/3/0/9", 1)
        assert heard() == (f"/notes/{name}", "notify")


THERMOMETER = """<?xml version="1.0" encoding="utf-8"?>
<LWM2M>
  <Object ObjectType="MODefinition">
    <Name>Temperature</Name>
    <ObjectID>3303</ObjectID>
    <ObjectURN>urn:oma:lwm2m:ext:3303</ObjectURN>
    <MultipleInstances>Multiple</MultipleInstances>
    <Mandatory>Optional</Mandatory>
    <Resources>
      <Item ID="5700">
        <Name>Sensor Value</Name><Operations>R</Operations><MultipleInstances>Single</MultipleInstances>
        <Mandatory>Mandatory</Mandatory><Type>Float</Type><RangeEnumeration></RangeEnumeration><Units>Cel</Units>
      </Item>
    </Resources>
  </Object>
</LWM2M>
"""


def test_definitions(
    startBroker: StartBroker, tmp_path: Path, name: str, makeDevice: MakeDevice, manage: Manage
) -> None:
    """
    An object whose definition lies in the folder is known; without it, it is not. A broken file harms nothing.
    """
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "3303.xml").write_text(THERMOMETER)
    (folder / "broken.xml").write_text("<LWM2M><Object>")
    broker = startBroker(gatewayTables(xml_dir=str(folder)), listeners=2)
    device, manager = makeDevice(broker, name), manage(broker, name)
    device.register(links="</3303/0>")
    manager.next()
    device.garbage = tlv(RESOURCE, 5700, b"\x41\xac\x00\x00")
    device.objects.values[6, 0, 0] = 21.5
    device.aliases["/3303/0/5700"] = "/6/0/0"
    data = manager.ask("read", {"path": "/3303/0/5700"})
    assert data["content"] == [{"path": "/3303/0/5700", "value": 21.5, "name": "Sensor Value", "type": "Float"}]
    assert manager.ask("read", {"path": "/3304/0"})["code"] == "4.00"
    broker.waitFor("broken.xml")


def test_limits(startBroker: StartBroker, name: str, makeDevice: MakeDevice, manage: Manage) -> None:
    """
    There may be so many devices, so many observations of one, and so many commands waiting for it; who is too many is
    told so, and what was there before stays.
    """
    limits = {"max_clients": 2, "max_observations": 1, "max_commands": 2, "qmode_time_window": "1ms"}
    broker = startBroker(gatewayTables(**limits), listeners=2)
    device, other, third = (makeDevice(broker, f"{name}{number}") for number in range(3))
    manager = manage(broker, f"{name}0")
    assert [each.register().code for each in (device, other)] == ["2.01", "2.01"]
    assert third.register().code == "5.03"
    assert other.deregister().code == "2.02"
    assert third.register().code == "2.01"
    assert manager.next()["msgType"] == "register"
    assert manager.ask("observe", {"path": "/3/0/9"})["code"] == "2.05"
    assert manager.ask("observe", {"path": "/3/0/10"})["code"] == "5.03"
    device.notify("/3/0/9", 5)
    assert manager.next()["msgType"] == "notify"
    device.register(binding="UQ")
    assert manager.next()["msgType"] == "register"
    device.sleep()
    numbers = [manager.command("read", {"path": "/3/0/9"}) for _ in range(3)]
    refused = manager.next()
    assert (refused["data"]["code"], refused["data"]["codeMsg"]) == ("5.03", "service_unavailable")
    device.wake()
    device.update()
    answered = [manager.next() for _ in range(2)]
    assert [each["data"]["code"] for each in answered] == ["2.05", "2.05"]
    assert sorted([refused["reqID"], *(each["reqID"] for each in answered)]) == numbers


def test_twoServers(startBroker: StartBroker, name: str, makeDevice: MakeDevice, manage: Manage) -> None:
    """
    A device with two servers is one device to either: each observes what the other has changed.
    """
    brokers = [startBroker(gatewayTables(), listeners=2) for _ in range(2)]
    ends = [makeDevice(broker, name) for broker in brokers]
    ends[1].objects = ends[0].objects
    managers = [manage(broker, name) for broker in brokers]
    for end, manager in zip(ends, managers, strict=True):
        end.register()
        manager.next()
        manager.ask("observe", {"path": "/3/0/15"})
    assert managers[0].ask("write", {"path": "/3/0/15", "type": "String", "value": "UTC"})["code"] == "2.04"
    for end, manager in zip(ends, managers, strict=True):
        end.notify("/3/0/15", "UTC")
        assert manager.next()["data"]["content"][0]["value"] == "UTC"
    ends[0].deregister()
    assert managers[1].read("/3/0/15") == "UTC"
