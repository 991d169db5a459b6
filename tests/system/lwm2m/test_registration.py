"""
Registration, update and de-registration against a real process (gateways.md 5.4).
"""

from __future__ import annotations

import pytest

from tests.system.lwm2m.conftest import MakeDevice, Manage
from tests.system.lwm2m.device import Device
from tests.system.lwm2m.manager import Manager
from tests.system.paho_peer import Peer
from tests.system.process import PATIENCE, Broker

OBJECTS = ["/1/0", "/3/0", "/4/0", "/5/0", "/6/0"]


def test_registers(device: Device, manager: Manager) -> None:
    """
    A device that registers is told where, and MQTT clients hear of it; C{lt} is a number, the rest are texts.
    """
    answer = device.register(lifetime=345, version="1.0", binding="U", sms="491701234567")
    assert (answer.code, answer.location) == ("2.01", ("rd", device.endpoint))
    assert manager.next() == {
        "msgType": "register",
        "data": {
            "ep": device.endpoint,
            "lt": 345,
            "lwm2m": "1.0",
            "b": "U",
            "sms": "491701234567",
            "alternatePath": "/",
            "objectList": OBJECTS,
        },
    }
    assert manager.read("/3/0/9") == 100


@pytest.mark.parametrize("version", ["1", "1.0", "1.1"])
def test_versions(device: Device, manager: Manager, version: str) -> None:
    """
    Devices of 1.0 and 1.1 register; what they did not say is not in the event.
    """
    assert device.register(version=version).code == "2.01"
    assert manager.next()["data"] == {
        "ep": device.endpoint,
        "lt": 300,
        "lwm2m": version,
        "alternatePath": "/",
        "objectList": OBJECTS,
    }


def test_customOptions(device: Device, manager: Manager) -> None:
    """
    Options that nobody knows are passed on as texts.
    """
    assert device.register(apn="psmA.eDRX0.ctnb", im="123", ct="11", mt="2", mv="3.0").code == "2.01"
    data = manager.next()["data"]
    assert [data[key] for key in ("apn", "im", "ct", "mt", "mv")] == ["psmA.eDRX0.ctnb", "123", "11", "2", "3.0"]


@pytest.mark.parametrize(
    ("links", "path", "objects"),
    [
        ("</1>, </2>, </3/0>, </4>, </5>", "/", ["/1", "/2", "/3/0", "/4", "/5"]),
        ('</>;rt="oma.lwm2m";ct=11543,</3/0>;ver=1.1', "/", ["/3/0"]),
        ('</lwm2m>;rt="oma.lwm2m", </lwm2m/1/0>, </lwm2m/3/0>', "/lwm2m", ["/1/0", "/3/0"]),
        ('</a/b>;rt="oma.lwm2m",</a/b/3/0>', "/a/b", ["/3/0"]),
        ('</>;rt="oma.lwm2m";ct="60 110 112 11542 11543",</1/0>', "/", ["/1/0"]),
    ],
)
def test_links(device: Device, manager: Manager, links: str, path: str, objects: list[str]) -> None:
    """
    Attributes and blanks are dropped from the list of links, and the alternate path from each.
    """
    assert device.register(links=links).code == "2.01"
    data = manager.next()["data"]
    assert (data["alternatePath"], data["objectList"]) == (path, objects)


def test_alternatePath(gateway: Broker, name: str, makeDevice: MakeDevice, manage: Manage) -> None:
    """
    Commands get the alternate path back before their own, and answers do not tell of it.
    """
    device, manager = makeDevice(gateway, name, root="/lwm2m"), manage(gateway, name)
    device.register()
    assert manager.next()["data"]["objectList"] == OBJECTS
    assert manager.read("/3/0/0") == "Open Mobile Alliance"
    assert device.next().path == "/lwm2m/3/0/0"
    data = manager.ask("discover", {"path": "/3/0/9"})
    assert (data["code"], data["content"]) == ("2.05", ["</3/0/9>"])
    data = manager.ask("write", {"path": "/3/0/14", "type": "String", "value": "Z"})
    assert (data["code"], device.objects.values[3, 0, 14]) == ("2.04", "Z")


def test_registersAgain(registered: Device, manager: Manager) -> None:
    """
    A device that registers again is registered anew: with another list and another lifetime, told in another event.
    """
    assert registered.register(lifetime=99, links="</3/0>").code == "2.01"
    event = manager.next()
    assert (event["msgType"], event["data"]["lt"], event["data"]["objectList"]) == ("register", 99, ["/3/0"])
    assert manager.read("/3/0/9") == 100


def test_updates(registered: Device, manager: Manager) -> None:
    """
    An update is told if it brings a list of objects, and only then.
    """
    assert registered.update().code == "2.04"
    assert registered.update("lt=500").code == "2.04"
    assert registered.update("lt=789", links="</1>,</2>,</3>,</4>,</5>,</6>").code == "2.04"
    assert manager.next() == {
        "msgType": "update",
        "data": {
            "ep": registered.endpoint,
            "lt": 789,
            "lwm2m": "1.0",
            "alternatePath": "/",
            "objectList": ["/1", "/2", "/3", "/4", "/5", "/6"],
        },
    }


def test_deregisters(registered: Device, manager: Manager) -> None:
    """
    A device that has de-registered gets no more requests, and has nothing to update.
    """
    assert registered.deregister().code == "2.02"
    manager.command("read", {"path": "/3/0/0"})
    assert registered.update().code == "4.04"
    assert registered.deregister().code == "4.04"
    assert registered.register().code == "2.01"
    assert manager.next()["msgType"] == "register"
    assert registered.asked.empty()


def test_strangersUpdate(registered: Device, gateway: Broker, name: str, makeDevice: MakeDevice) -> None:
    """
    A device that is not registered can't update, and a registered one can't at another location.
    """
    stranger = makeDevice(gateway, f"{name}x")
    for method in ("POST", "DELETE"):
        assert stranger.say(method, ("rd", f"{name}x")).code == "4.04"
        assert registered.say(method, ("rd", f"{name}x")).code == "4.04"
    assert registered.update().code == "2.04"


REFUSED: dict[str, tuple[list[str], str]] = {
    "no endpoint": (["lt=60", "lwm2m=1.0"], "4.00"),
    "an empty endpoint": (["ep=", "lt=60", "lwm2m=1.0"], "4.00"),
    "no lifetime": (["ep={}", "lwm2m=1.0"], "4.00"),
    "a lifetime of 0": (["ep={}", "lt=0", "lwm2m=1.0"], "4.00"),
    "a lifetime of more than a day": (["ep={}", "lt=86401", "lwm2m=1.0"], "4.00"),
    "a lifetime that is not a number": (["ep={}", "lt=long", "lwm2m=1.0"], "4.00"),
    "a word without a value": (["ep={}", "lt=60", "lwm2m=1.0", "word"], "4.00"),
    "a version to come": (["ep={}", "lt=60", "lwm2m=2.0"], "4.12"),
    "a version that was never": (["ep={}", "lt=60", "lwm2m=x"], "4.12"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(device: Device, manager: Manager, case: str) -> None:
    """
    A registration needs its parameters, in the right form.
    """
    words, code = REFUSED[case]
    query = [word.format(device.endpoint) for word in words]
    assert device.say("POST", ("rd",), query, device.links().encode(), 40).code == code
    assert device.register().code == "2.01"
    assert manager.next()["msgType"] == "register"


def test_longestLifetime(device: Device) -> None:
    """
    A lifetime may be as long as the gateway allows, and as short.
    """
    assert device.register(lifetime=86400).code == "2.01"
    assert device.update("lt=1").code == "2.04"
    assert device.update("lt=86401").code == "4.00"


def test_otherRequests(device: Device) -> None:
    """
    All other requests are answered as the table says.
    """
    answer = device.say("GET", ("rd",))
    assert (answer.code, answer.payload) == ("2.05", b"")
    assert device.say("PUT", ("rd",)).code == "4.00"
    assert device.say("GET", ("elsewhere",)).code == "4.00"
    assert device.say("POST", ("rd", "one", "two")).code == "4.00"
    assert device.say("GET", ("rd",), observe=0).code == "4.05"


def presence(broker: Broker, name: str) -> Peer:
    """
    An MQTT client that hears when the client C{name} comes and goes.
    """
    peer = Peer(broker, f"watch{name}"[:23]).connect()
    assert peer.subscribe(f"$SYS/brokers/+/clients/{name}/+") < 0x80
    return peer


def goneOrCome(peer: Peer) -> str:
    """
    Get the next message.
    """
    return str(peer.receive().topic.rpartition("/")[2])


def test_lifetimeOver(gateway: Broker, device: Device) -> None:
    """
    A device is a client of the broker's while it is registered: until its lifetime is over, or it de-registers.
    """
    watch = presence(gateway, device.endpoint)
    try:
        device.register(lifetime=1)
        assert [goneOrCome(watch), goneOrCome(watch)] == ["connected", "disconnected"]
        assert device.update().code == "4.04"
        device.register(lifetime=60)
        assert goneOrCome(watch) == "connected"
        device.deregister()
        assert goneOrCome(watch) == "disconnected"
    finally:
        watch.disconnect()


def test_updateKeepsAlive(gateway: Broker, device: Device, name: str, makeDevice: MakeDevice) -> None:
    """
    An update begins the lifetime anew, and may change it: the device that updated outlives the one that did not.
    """
    other = makeDevice(gateway, f"{name}x")
    watch = presence(gateway, other.endpoint)
    try:
        for each in (device, other):
            assert each.register(lifetime=1).code == "2.01"
        assert device.update("lt=60").code == "2.04"
        assert [goneOrCome(watch), goneOrCome(watch)] == ["connected", "disconnected"]
        assert (other.update().code, device.update().code) == ("4.04", "2.04")
    finally:
        watch.disconnect()


def test_anotherPort(gateway: Broker, registered: Device, manager: Manager) -> None:
    """
    A device whose address has changed says so by an update, and is found there.
    """
    registered.open()
    assert registered.update().code == "2.04"
    assert manager.read("/3/0/0") == "Open Mobile Alliance"


def test_anotherDevice(registered: Device, manager: Manager, makeDevice: MakeDevice, gateway: Broker) -> None:
    """
    A device that registers from elsewhere under a name that is taken has it from then on.
    """
    second = makeDevice(gateway, registered.endpoint)
    second.objects.values[3, 0, 0] = "second"
    assert second.register().code == "2.01"
    assert manager.next()["msgType"] == "register"
    assert manager.read("/3/0/0") == "second"
    assert registered.asked.empty()


def test_takenOver(gateway: Broker, registered: Device) -> None:
    """
    An MQTT client of the same identifier takes over, and the device has to register again, which takes over in turn.
    """
    with Peer(gateway, registered.endpoint) as peer:
        assert registered.update().code == "4.04"
        assert registered.register().code == "2.01"
        assert peer.ended.get(timeout=PATIENCE) == 0x8E


def test_manyLinks(device: Device, manager: Manager) -> None:
    """
    A long list of objects comes in blocks.
    """
    objects = [f"/3303/{number}" for number in range(300)]
    assert device.register(links=",".join(f"<{each}>" for each in objects)).code == "2.01"
    assert manager.next()["data"]["objectList"] == objects


@pytest.mark.parametrize("form", ["urn:oma:lwm2m:oma:{}", "urn:imei:{} x", "{}-Gerät ☃", "{}%2F&=?", "{}" * 9])
def test_names(gateway: Broker, name: str, makeDevice: MakeDevice, manage: Manage, form: str) -> None:
    """
    Endpoint names may be what the OMA recommends, and otherwise odd or long; topics have them as they are.
    """
    endpoint = form.replace("{}", name)
    device, manager = makeDevice(gateway, endpoint), manage(gateway, endpoint)
    answer = device.register()
    assert (answer.code, answer.location) == ("2.01", ("rd", endpoint))
    assert manager.next()["data"]["ep"] == endpoint
    assert manager.read("/3/0/9") == 100
    assert device.update().code == "2.04"
    assert device.deregister().code == "2.02"


@pytest.mark.parametrize("endpoint", ["a/b", "a+b", "#", "a\x00b", "a\nb", "$SYS"])
def test_badNames(device: Device, endpoint: str) -> None:
    """
    A name that would make other topics of those of a device is refused.
    """
    words = [f"ep={endpoint}", "lt=60", "lwm2m=1.0"]
    assert device.say("POST", ("rd",), words, b"</3/0>", 40).code == "4.00"
