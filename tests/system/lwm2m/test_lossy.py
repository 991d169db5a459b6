"""
Devices whose network loses a datagram: each of those that pass until a command is answered, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.system.lwm2m.conftest import MakeDevice, Manage, startGateway
from tests.system.lwm2m.device import Device, Loop
from tests.system.lwm2m.link import Security
from tests.system.process import Broker

KEY = b"0123456789abcdef"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Broker]:
    """
    A broker with both kinds of port.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference speaks no LwM2M")
    folder = tmp_path_factory.mktemp("lossy")
    keys = folder / "psk.txt"
    keys.write_text(f"alice:{KEY.hex()}\n")
    tables = {
        "plugins": {"load": ["psk_file", "lwm2m"]},
        "psk": {"file": {"path": str(keys)}},
        "lwm2m": {"port": "127.0.0.1:0", "bind": {"dtls": {"1": "127.0.0.1:0"}}},
    }
    broker = startGateway(folder, tables, 3)
    yield broker
    broker.stop()


class LoseOne:
    """
    A network that loses the datagram of this number, counted in both directions.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self.passed = 0

    def __call__(self, datagram: bytes) -> bool:
        self.passed += 1
        return self.passed - 1 == self._number


@pytest.mark.slow
@pytest.mark.parametrize(("key", "count"), [("lwm2m", 4), ("lwm2m.bind.dtls.1", 12)])
def test_losesOne(
    gateway: Broker, loop: Loop, name: str, makeDevice: MakeDevice, manage: Manage, key: str, count: int
) -> None:
    """
    Handshake, registration and a command come to an end all the same, and the command is obeyed and answered once.
    """
    fates = [LoseOne(number) for number in range(count)]
    devices = []
    for number, fate in enumerate(fates):
        security = None if key == "lwm2m" else Security("alice", KEY)
        devices.append(makeDevice(gateway, f"{name}{number}", key, opened=False, security=security, fate=fate))
    managers = [manage(gateway, device.endpoint) for device in devices]
    codes = loop.run(_comeIn(devices))
    assert codes == ["2.01"] * count
    for manager in managers:
        assert manager.next()["msgType"] == "register"
    numbers = [manager.command("execute", {"path": "/3/0/4"}) for manager in managers]
    for manager, number, device in zip(managers, numbers, devices, strict=True):
        assert manager.answerTo(number, "execute")["code"] == "2.04"
        assert device.objects.executed == [("/3/0/4", "")]
        assert manager.read("/3/0/9") == 100
    # Each has lost its own.
    assert all(fate.passed > count for fate in fates)


async def _comeIn(devices: list[Device]) -> list[str]:
    """
    Have devices register all at the same time.
    """

    async def one(device: Device) -> str:
        await device.opening()
        query = [f"ep={device.endpoint}", "lt=60", "lwm2m=1.0"]
        answer = await device.saying("POST", ("rd",), query, device.links().encode(), 40)
        return answer.code

    return await asyncio.gather(*(one(device) for device in devices))
