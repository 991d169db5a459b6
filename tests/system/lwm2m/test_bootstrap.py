"""
A device that knows no server, the bootstrap server, and what becomes of it (gateways.md "Bootstrap").
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kits.certificates import Authority
from tests.system.lwm2m.conftest import MakeDevice, Manage, startGateway
from tests.system.lwm2m.device import Device
from tests.system.lwm2m.link import Security
from tests.system.process import PATIENCE, Broker

KEY = b"0123456789abcdef"
OWN = b"fedcba9876543210"


@pytest.fixture(scope="module")
def bootstrapping(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Broker]:
    """
    A broker that is a bootstrap server for two servers: one for everybody, and one for those with a key.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference speaks no LwM2M")
    folder = tmp_path_factory.mktemp("bootstrap")
    server = Authority(folder).issue("server")
    keys = folder / "psk.txt"
    keys.write_text(f"alice:{KEY.hex()}\nbob:{KEY.hex()}\n")
    open = {"uri": "coap://127.0.0.1:5783", "short_server_id": 101, "lifetime": "5m"}
    secure = {"uri": "coaps://127.0.0.1:5784", "short_server_id": 102}
    endpoints = {"alice": {"servers": "secure", "identity": "id-of-alice", "key": OWN.hex()}}
    endpoints["bob"] = {"servers": "secure,open"}
    endpoints |= {f"plain{number}": {"servers": "open"} for number in range(3)}
    tables = {
        "plugins": {"load": ["psk_file", "lwm2m"]},
        "psk": {"file": {"path": str(keys)}},
        "lwm2m": {
            "port": "127.0.0.1:0",
            "bind": {"dtls": {"1": "127.0.0.1:0"}},
            "certfile": server.certfile,
            "keyfile": server.keyfile,
            "bootstrap": {"enable": True, "server": {"open": open, "secure": secure}, "endpoint": endpoints},
        },
    }
    broker = startGateway(folder, tables, 3)
    yield broker
    broker.stop()


def ask(device: Device, *more: str) -> str:
    """
    Ask to be bootstrapped, and wait until that is done.

    @return: what is answered first.
    """
    code: str = device.say("POST", ("bs",), [f"ep={device.endpoint}", *more]).code
    if code == "2.04":
        assert device.bootstrapped.wait(PATIENCE)
    return code


@pytest.mark.parametrize(("name", "more"), [("plain0", []), ("plain1", ["pct=110"]), ("plain2", ["pct=112"])])
def test_bootstraps(bootstrapping: Broker, makeDevice: MakeDevice, manage: Manage, name: str, more: list[str]) -> None:
    """
    A device is told where to register, in the format that it wants; when it has, it is managed as any other.
    """
    device, manager = makeDevice(bootstrapping, name), manage(bootstrapping, name)
    assert ask(device, *more) == "2.04"
    accounts = {path: value for path, value in device.objects.values.items() if path[0] in (0, 1)}
    assert accounts == {
        (0, 1, 0): "coap://127.0.0.1:5783",
        (0, 1, 1): False,
        (0, 1, 2): 3,
        (0, 1, 3): b"",
        (0, 1, 4): b"",
        (0, 1, 5): b"",
        (0, 1, 10): 101,
        (1, 1, 0): 101,
        (1, 1, 1): 300,
        (1, 1, 6): True,
        (1, 1, 7): "U",
    }
    assert device.register(lifetime=300).code == "2.01"
    assert "/1/1" in manager.next()["data"]["objectList"]
    assert manager.read("/1/1/1") == 300


def test_keys(bootstrapping: Broker, makeDevice: MakeDevice) -> None:
    """
    Keys go over DTLS to those whom they belong to: the one of its table, or the one of the file.
    """
    for name, identity, key in (("alice", b"id-of-alice", OWN), ("bob", b"bob", KEY)):
        device = makeDevice(bootstrapping, name, "lwm2m.bind.dtls.1", security=Security(name, KEY))
        assert ask(device) == "2.04"
        values = device.objects.values
        assert (values[0, 1, 0], values[0, 1, 2]) == ("coaps://127.0.0.1:5784", 0)
        assert (values[0, 1, 3], values[0, 1, 5]) == (identity, key)


def test_keysOfOthers(bootstrapping: Broker, makeDevice: MakeDevice) -> None:
    """
    Nobody else gets them, and who has none gets nothing.
    """
    device = makeDevice(bootstrapping, "alice", "lwm2m.bind.dtls.1", security=Security("bob", KEY))
    assert ask(device) == "4.03"
    device = makeDevice(bootstrapping, "alice")
    before = dict(device.objects.values)
    assert ask(device) == "4.03"
    device = makeDevice(bootstrapping, "stranger")
    assert ask(device) == "4.00"
    assert device.objects.values == before
