"""
Devices that sleep: what is meant for them waits until they are heard of (gateways.md 5.8).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.lwm2m.conftest import MakeDevice, Manage, gatewayTables, startGateway
from tests.system.lwm2m.device import Device
from tests.system.lwm2m.manager import Manager
from tests.system.process import Broker


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Broker]:
    """
    A broker whose gateway takes devices in queue mode for asleep as soon as they have said something.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference speaks no LwM2M")
    broker = startGateway(tmp_path_factory.mktemp("queue"), gatewayTables(qmode_time_window="1ms"))
    yield broker
    broker.stop()


def passed(broker: Broker, makeDevice: MakeDevice, manage: Manage, name: str) -> None:
    """
    Wait until the gateway has seen everything that was published before, and the window is over: a client has
    connected and a device that is awake has answered it.
    """
    witness, manager = makeDevice(broker, f"{name}w"), manage(broker, f"{name}w")
    witness.register()
    manager.next()
    assert manager.read("/3/0/9") == 100


@pytest.fixture
def sleeper(
    gateway: Broker, device: Device, manager: Manager, name: str, makeDevice: MakeDevice, manage: Manage
) -> Device:
    """
    A device in queue mode, which is asleep, as the gateway knows by now.
    """
    device.register(binding="UQ")
    assert manager.next()["data"]["b"] == "UQ"
    device.sleep()
    passed(gateway, makeDevice, manage, name)
    return device


def test_waits(
    gateway: Broker, sleeper: Device, manager: Manager, name: str, makeDevice: MakeDevice, manage: Manage
) -> None:
    """
    Commands for a sleeping device are kept until it updates, and given to it in their order.
    """
    numbers = [manager.command("execute", {"path": "/3/0/4", "args": str(each)}) for each in range(5)]
    passed(gateway, makeDevice, manage, name)
    assert (sleeper.asked.empty(), sleeper.link.lost) == (True, 0)
    sleeper.wake()
    assert sleeper.update().code == "2.04"
    assert [manager.next()["reqID"] for _ in numbers] == numbers
    assert [arguments for _, arguments in sleeper.objects.executed] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("how", ["register", "notify", "send"])
def test_anySignOfLife(
    gateway: Broker, sleeper: Device, manager: Manager, name: str, makeDevice: MakeDevice, manage: Manage, how: str
) -> None:
    """
    So they are when it is heard of in any other way.
    """
    if how == "notify":
        sleeper.wake()
        manager.command("observe", {"path": "/3/0/9"})
        sleeper.update()
        assert manager.next()["msgType"] == "observe"
        sleeper.sleep()
        passed(gateway, makeDevice, manage, name)
    number = manager.command("read", {"path": "/3/0/10"})
    passed(gateway, makeDevice, manage, name)
    assert sleeper.link.lost == 0
    sleeper.wake()
    if how == "register":
        sleeper.register(binding="UQ")
    elif how == "notify":
        sleeper.notify("/3/0/9", 5, confirmable=True)
    else:
        sleeper.send({"/3/0/9": 5})
    manager.next()
    assert manager.answerTo(number, "read")["content"][0]["value"] == 15


def test_awakeWithoutQueueMode(gateway: Broker, device: Device, manager: Manager) -> None:
    """
    A device that does not sleep gets its commands at once, whatever the window; and one that registers anew without
    queue mode is no longer thought asleep.
    """
    device.register(binding="UQ")
    manager.next()
    device.register(binding="U")
    manager.next()
    assert manager.read("/3/0/9") == 100


@pytest.mark.parametrize("query", ["b=UQ", "b=UQS", "b=SQ", "Q"])
def test_waysToSay(
    gateway: Broker, device: Device, manager: Manager, name: str, makeDevice: MakeDevice, manage: Manage, query: str
) -> None:
    """
    Queue mode is in the binding, or in 1.1 a word of its own.
    """
    version = "1.1" if query == "Q" else "1.0"
    words = [f"ep={device.endpoint}", "lt=60", f"lwm2m={version}", *(["b=U"] if query == "Q" else []), query]
    answer = device.say("POST", ("rd",), words, device.links().encode(), 40)
    assert answer.code == "2.01"
    device.location = answer.location
    manager.next()
    device.sleep()
    passed(gateway, makeDevice, manage, name)
    number = manager.command("read", {"path": "/3/0/9"})
    passed(gateway, makeDevice, manage, name)
    assert device.link.lost == 0
    device.wake()
    assert device.update().code == "2.04"
    assert manager.answerTo(number, "read")["code"] == "2.05"


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """
    A broker whose gateway has the window that it has without further configuration.
    """
    broker = startGateway(tmp_path_factory.mktemp("window"), gatewayTables())
    yield broker
    broker.stop()


def test_window(patient: Broker, name: str, makeDevice: MakeDevice, manage: Manage) -> None:
    """
    Within the window, commands are given at once.
    """
    device, manager = makeDevice(patient, name), manage(patient, name)
    device.register(binding="UQ")
    manager.next()
    assert manager.read("/3/0/9") == 100


def test_expires(
    gateway: Broker, sleeper: Device, manager: Manager, name: str, makeDevice: MakeDevice, manage: Manage
) -> None:
    """
    A command that has expired when the device wakes is not given to it.
    """
    manager.tell({"reqID": 1, "msgType": "execute", "data": {"path": "/3/0/4"}}, MessageExpiryInterval=1)
    kept = manager.command("read", {"path": "/3/0/9"})
    # Another's lifetime of a second is over when the command has expired.
    clock, watcher = makeDevice(gateway, f"{name}c"), manage(gateway, f"{name}c")
    watcher.peer.subscribe(f"$SYS/brokers/+/clients/{name}c/disconnected")
    clock.register(lifetime=1)
    watcher.next()
    assert watcher.peer.receive().topic.endswith("/disconnected")
    sleeper.wake()
    sleeper.update()
    said = manager.next()
    while said["reqID"] == 1:
        assert said["data"]["code"].startswith(("4", "5"))
        said = manager.next()
    assert (said["reqID"], said["msgType"]) == (kept, "read")
    assert sleeper.objects.executed == []


def test_deregisteredAsleep(gateway: Broker, sleeper: Device, manager: Manager) -> None:
    """
    Commands that waited for a device that de-registers do not reach it later.
    """
    manager.command("execute", {"path": "/3/0/4"})
    sleeper.wake()
    assert sleeper.deregister().code == "2.02"
    sleeper.register(binding="U")
    said = manager.next()
    while said["msgType"] != "register":
        said = manager.next()
    assert manager.read("/3/0/9") == 100
    assert sleeper.objects.executed == []
