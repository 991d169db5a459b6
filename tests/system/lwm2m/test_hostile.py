"""
Datagrams that no device would send, at the ports of a real process.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.lwm2m.conftest import MakeDevice, Manage, startGateway
from tests.system.lwm2m.formats import SENML_CBOR
from tests.system.lwm2m.link import Security
from tests.system.process import PATIENCE, Broker
from tests.system.swarm import (
    ACK,
    CON,
    CONTENT,
    CONTENT_FORMAT,
    DELETE,
    GET,
    NON,
    OBSERVE,
    POST,
    RST,
    Datagram,
    parsed,
    path,
)

KEY = b"0123456789abcdef"
LINKS = b"</1/0>,</3/0>"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Broker]:
    """
    A broker with both kinds of port, the one with DTLS for those with a key.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference speaks no LwM2M")
    folder: Path = tmp_path_factory.mktemp("hostile")
    keys = folder / "psk.txt"
    keys.write_text(f"alice:{KEY.hex()}\n")
    tables = {
        "plugins": {"load": ["psk_file", "lwm2m"]},
        "psk": {"file": {"path": str(keys)}},
        "lwm2m": {
            "port": "127.0.0.1:0",
            "bind": {"dtls": {"1": "127.0.0.1:0"}},
        },
    }
    broker = startGateway(folder, tables, 3)
    yield broker
    broker.stop()


def genuine(name: str) -> list[bytes]:
    """
    Messages of every kind that a device may send.
    """
    query = (f"ep={name}", "lt=60", "lwm2m=1.1", "b=U", "apn=x")
    where = path("rd", name, query=("lt=30",))
    pack = ((11, b"dp"), (CONTENT_FORMAT, SENML_CBOR.to_bytes(1, "big")))
    return [
        Datagram(CON, POST, 1, b"\x01\x02", path("rd", query=query), LINKS).wire(),
        Datagram(NON, POST, 2, b"abcdefgh", path("rd", query=query), LINKS).wire(),
        Datagram(CON, POST, 3, b"", where, LINKS).wire(),
        Datagram(CON, DELETE, 4, b"x", path("rd", name)).wire(),
        Datagram(CON, POST, 5, b"x", pack, b"\x81\xa2\x00f/3/0/9\x02\x0a").wire(),
        Datagram(CON, GET, 6, b"x", path(".well-known", "core")).wire(),
        Datagram(ACK, CONTENT, 7, b"x", ((CONTENT_FORMAT, b""),), b"7").wire(),
        Datagram(CON, CONTENT, 8, b"x", ((OBSERVE, b"\x05"), (CONTENT_FORMAT, b"")), b"7").wire(),
        Datagram(CON, POST, 9, b"x", (*path("rd", query=query), (27, b"\x0e")), b"<" * 1024).wire(),
        Datagram(CON, POST, 10, b"x", (*path("rd", query=query), (27, b"\x16")), b"/3>" * 300).wire(),
        Datagram(CON, 0, 11).wire(),
        Datagram(RST, 0, 12).wire(),
        Datagram(ACK, 0, 13).wire(),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("key", ["lwm2m", "lwm2m.bind.dtls.1"])
def test_noise(gateway: Broker, name: str, makeDevice: MakeDevice, manage: Manage, key: str) -> None:
    """
    Of 20,000 datagrams from twenty addresses every other has something wrong: devices are served on both ports, and
    nothing is logged that should not be.
    """
    chance = random.Random(5783)
    security = Security("alice", KEY) if key != "lwm2m" else None
    device, manager = makeDevice(gateway, name, key, security=security), manage(gateway, name)
    assert device.register().code == "2.01"
    manager.next()
    originals = [each for number in range(4) for each in genuine(f"{name}{number}")]
    if key != "lwm2m":
        # The beginnings of records, with messages of CoAP for content.
        heads = (b"\x16\xfe\xff", b"\x16\xfe\xfd", b"\x17\xfe\xfd", b"\x15\xfe\xfd", b"\x14\xfe\xfd")
        originals = [chance.choice(heads) + bytes(8) + len(each).to_bytes(2, "big") + each for each in originals]
    noisy = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
    try:
        for each in noisy:
            each.connect((gateway.host, gateway.ports[key]))
        for number in range(20_000):
            data = bytearray(chance.choice(originals))
            if number % 2:
                for _ in range(chance.randint(1, 3)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                del data[chance.choice((len(data), chance.randrange(len(data)))) :]
            noisy[chance.randrange(20)].send(bytes(data))
            if number % 400 == 0:
                # Waits for the gateway, whose buffer would overflow otherwise: what is lost there is not tested.
                assert device.update().code == "2.04"
    finally:
        for each in noisy:
            each.close()
    assert manager.read("/3/0/9") == 100
    assert "Traceback" not in gateway.text, gateway.text
    assert "Unhandled" not in gateway.text, gateway.text


def test_forgedAnswers(gateway: Broker, name: str, makeDevice: MakeDevice, manage: Manage) -> None:
    """
    An answer from elsewhere than the device is none, even with the right numbers in it.
    """
    device, manager = makeDevice(gateway, name), manage(gateway, name)
    device.register()
    manager.next()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        own.settimeout(PATIENCE)
        for each in (own, other):
            each.connect((gateway.host, gateway.ports["lwm2m"]))
        query = (f"ep={name}x", "lt=60", "lwm2m=1.0")
        own.send(Datagram(CON, POST, 1, b"t", path("rd", query=query), LINKS).wire())
        assert parsed(own.recv(2048)).code == 0x41
        victim = manage(gateway, f"{name}x")
        number = victim.command("read", {"path": "/3/0/9"})
        asked = parsed(own.recv(2048))
        answer = Datagram(ACK, CONTENT, asked.mid, asked.token, ((CONTENT_FORMAT, b""),), b"666")
        other.send(answer.wire())
        other.send(Datagram(RST, 0, asked.mid).wire())
        other.send(Datagram(CON, CONTENT, 77, asked.token, ((CONTENT_FORMAT, b""),), b"666").wire())
        assert parsed(other.recv(2048))[:3] == (RST, 0, 77)
        own.send(answer._replace(payload=b"7").wire())
        assert victim.answerTo(number, "read")["content"][0]["value"] == 7


def test_answersTwice(gateway: Broker, name: str, manage: Manage) -> None:
    """
    A datagram that comes twice is answered twice alike, and does what it does once; so is a registration.
    """
    manager = manage(gateway, name)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.settimeout(PATIENCE)
        own.connect((gateway.host, gateway.ports["lwm2m"]))
        request = Datagram(CON, POST, 7, b"t", path("rd", query=(f"ep={name}", "lt=60", "lwm2m=1.0")), LINKS).wire()
        own.send(request)
        first = own.recv(2048)
        own.send(request)
        assert own.recv(2048) == first
        assert manager.next()["msgType"] == "register"
        number = manager.command("read", {"path": "/3/0/9"})
        asked = parsed(own.recv(2048))
        answer = Datagram(ACK, CONTENT, asked.mid, asked.token, ((CONTENT_FORMAT, b""),), b"7").wire()
        own.send(answer)
        own.send(answer)
        assert manager.answerTo(number, "read")["content"][0]["value"] == 7
        own.send(Datagram(CON, DELETE, 8, b"t", path("rd", name)).wire())
        assert parsed(own.recv(2048)).code == 0x42
