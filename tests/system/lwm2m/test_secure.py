"""
Devices over DTLS, with pre-shared keys and with certificates (gateways.md 10).
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kits.certificates import Authority
from tests.system.lwm2m.conftest import MakeDevice, Manage, startGateway
from tests.system.lwm2m.link import Security
from tests.system.process import Broker
from tests.system.test_coap_clients import coapClient

KEY = b"0123456789abcdef"
SECURE = "lwm2m.bind.dtls.1"


class Secured(NamedTuple):
    """
    A broker whose gateway has a port with DTLS, and where certificates are.
    """

    broker: Broker
    folder: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Secured]:
    """
    A broker that knows three keys, and devices with certificates.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference speaks no LwM2M")
    folder = tmp_path_factory.mktemp("secure")
    authority = Authority(folder)
    server = authority.issue("server")
    authority.issue("device9")
    keys = folder / "psk.txt"
    keys.write_text("".join(f"{name}:{KEY.hex()}\n" for name in ("alice", "bob", "carol")))
    tables = {
        "plugins": {"load": ["psk_file", "lwm2m"]},
        "psk": {"file": {"path": str(keys)}},
        "lwm2m": {
            "port": "127.0.0.1:0",
            "bind": {"dtls": {"1": "127.0.0.1:0"}},
            "certfile": server.certfile,
            "keyfile": server.keyfile,
            "verify": "verify_peer",
            "cacertfile": authority.cafile,
            "fail_if_no_peer_cert": True,
        },
    }
    broker = startGateway(folder, tables, 3)
    yield Secured(broker, folder)
    broker.stop()


@pytest.mark.parametrize("cipher", ["PSK-AES128-CCM8", "PSK-AES128-GCM-SHA256", "PSK-AES128-CBC-SHA256"])
def test_withKey(secured: Secured, name: str, makeDevice: MakeDevice, manage: Manage, cipher: str) -> None:
    """
    A device with a key does all that one without does: here, read, firmware in blocks, and notifications.
    """
    security = Security("alice", KEY, ciphers=cipher)
    device = makeDevice(secured.broker, name, SECURE, security=security)
    manager = manage(secured.broker, name)
    assert device.register(binding="U").code == "2.01"
    manager.next()
    assert manager.read("/3/0/0") == "Open Mobile Alliance"
    body = bytes(range(256)) * 100
    data = manager.ask("write", {"path": "/5/0/0", "type": "Opaque", "value": base64.b64encode(body).decode()})
    assert (data["code"], device.package == body) == ("2.04", True)
    manager.ask("observe", {"path": "/3/0/9"})
    device.notify("/3/0/9", 7, confirmable=True)
    assert manager.next()["data"]["content"][0]["value"] == 7
    assert device.deregister().code == "2.02"


def test_withCertificate(secured: Secured, name: str, makeDevice: MakeDevice, manage: Manage) -> None:
    """
    So does one with a certificate, which it shows, and checks that of the server.
    """
    folder = secured.folder
    security = Security(
        authority=folder / "ca.pem", certificate=folder / "device9.pem", keyfile=folder / "device9-key.pem"
    )
    device, manager = makeDevice(secured.broker, name, SECURE, security=security), manage(secured.broker, name)
    assert device.register().code == "2.01"
    manager.next()
    assert manager.read("/3/0/0") == "Open Mobile Alliance"


REFUSED = {
    "a wrong key": ("alice", b"wrong"),
    "a name that nobody has": ("nobody", KEY),
    "no certificate where one is asked for": ("", b""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(secured: Secured, name: str, case: str, makeDevice: MakeDevice) -> None:
    """
    Others do not come in, and do no harm to who is.
    """
    friend = makeDevice(secured.broker, name, SECURE, security=Security("alice", KEY))
    friend.register()
    identity, key = REFUSED[case]
    security = Security(identity, key) if identity else Security(authority=secured.folder / "ca.pem")
    with pytest.raises(ConnectionError):
        security.patience = 2.0
        makeDevice(secured.broker, f"{name}x", SECURE, security=security)
    assert friend.update().code == "2.04"


def test_nameless(secured: Secured, makeDevice: MakeDevice, manage: Manage) -> None:
    """
    A device that does not say its name has that of its key (LwM2M 1.1 core 6.2.1.2).
    """
    manager = manage(secured.broker, "carol")
    device = makeDevice(secured.broker, "carol", SECURE, security=Security("carol", KEY))
    answer = device.say("POST", ("rd",), ["lt=60", "lwm2m=1.1", "b=U"], device.links().encode(), 40)
    assert (answer.code, answer.location) == ("2.01", ("rd", "carol"))
    assert manager.next()["data"]["ep"] == "carol"
    assert manager.read("/3/0/9") == 100


def test_comesBack(secured: Secured, name: str, makeDevice: MakeDevice, manage: Manage) -> None:
    """
    After a new handshake, from another port, a device is found by an update; without its key it is not, nor may another
    take its name.
    """
    broker = secured.broker
    device = makeDevice(broker, name, SECURE, security=Security("alice", KEY))
    manager = manage(broker, name)
    device.register()
    manager.next()
    for other in (
        makeDevice(broker, name, SECURE, security=Security("bob", KEY)),
        makeDevice(broker, name),
    ):
        other.location = device.location
        assert other.update().code == "4.04"
        assert other.register().code == "4.03"
        other.location = device.location
        assert other.deregister().code == "4.04"
    assert manager.read("/3/0/9") == 100
    device.open()
    assert device.update().code == "2.04"
    assert manager.read("/3/0/9") == 100


@pytest.mark.skipif(shutil.which("coap-client-openssl") is None, reason="libcoap3-bin is not installed")
@pytest.mark.parametrize("program", ["coap-client-openssl", "coap-client-gnutls"])
def test_libcoapRegisters(secured: Secured, name: str, manage: Manage, program: str) -> None:
    """
    libcoap registers with a key, by either of the libraries that it is made with.
    """
    manager = manage(secured.broker, name)
    uri = f"coaps://127.0.0.1:{secured.broker.ports[SECURE]}/rd?ep={name}&lt=60&lwm2m=1.0"
    words = ["-u", "bob", "-k", KEY.decode(), "-m", "post", "-t", "40", "-e", "</3/0>", uri]
    coapClient(*words, program=program)
    assert manager.next()["data"]["ep"] == name
