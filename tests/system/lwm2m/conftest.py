"""
A broker with the gateway for each file of tests, and devices for each test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiocoap")

from tests.system.conftest import configuration
from tests.system.lwm2m.device import Device, Loop
from tests.system.lwm2m.manager import Manager
from tests.system.process import Broker, startTwistd

# Makes a device of this endpoint name, whose socket is open unless said otherwise, and shuts it after the test.
MakeDevice = Callable[..., Device]

# The manager of the device of that name.
Manage = Callable[..., Manager]


def gatewayTables(**lwm2m: object) -> dict[str, object]:
    """
    The configuration of a broker with the gateway on a port that the kernel picks.
    """
    return {"plugins": {"load": ["lwm2m"]}, "lwm2m": {"port": "127.0.0.1:0", **lwm2m}}


def startGateway(folder: Path, tables: Mapping[str, object], listeners: int = 2) -> Broker:
    """
    Start a broker with these tables besides the usual ones.
    """
    return startTwistd(folder, {**configuration(folder), **tables}, listeners)


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    """
    Where the devices live.
    """
    loop = Loop()
    yield loop
    loop.stop()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Broker]:
    """
    A broker with the gateway as it is without further configuration.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference speaks no LwM2M")
    broker = startGateway(tmp_path_factory.mktemp("lwm2m"), gatewayTables())
    yield broker
    broker.stop()


@pytest.fixture
def makeDevice(loop: Loop) -> Iterator[MakeDevice]:
    """
    Make devices.
    """
    made: list[Device] = []

    def make(broker: Broker, endpoint: str, key: str = "lwm2m", opened: bool = True, **keys: Any) -> Device:
        device = Device(loop, (broker.host, broker.ports[key]), endpoint, **keys)
        made.append(device)
        if opened:
            device.open()
        return device

    yield make
    for device in made:
        device.shut()


@pytest.fixture
def device(gateway: Broker, name: str, makeDevice: MakeDevice) -> Device:
    """
    A device that has not registered yet.
    """
    return makeDevice(gateway, name)


@pytest.fixture
def manage() -> Iterator[Manage]:
    """
    Manage devices.
    """
    managers: list[Manager] = []

    def start(broker: Broker, endpoint: str, *words: str) -> Manager:
        manager = Manager(broker, endpoint, *words)
        manager.__enter__()
        managers.append(manager)
        return manager

    yield start
    for manager in managers:
        manager.peer.disconnect()


@pytest.fixture
def manager(gateway: Broker, device: Device, manage: Manage) -> Manager:
    """
    The manager of C{device}.
    """
    return manage(gateway, device.endpoint)


@pytest.fixture
def registered(device: Device, manager: Manager) -> Device:
    """
    C{device} when it has registered, and everybody knows.
    """
    assert device.register().code == "2.01"
    assert manager.next()["msgType"] == "register"
    return device
