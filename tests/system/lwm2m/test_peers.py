"""
Other people's devices: coap-node, and as far as it goes, libcoap.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.conftest import StartBroker
from tests.system.lwm2m.conftest import Manage, gatewayTables
from tests.system.process import ROOT, Broker
from tests.system.test_coap_clients import coapClient

_HERE = Path(__file__).parent
_MODULES = ROOT / "tests" / "node_modules"

# The objects of coap-node, in as few words as OMA's format allows.
_DEFINITION = """<LWM2M><Object ObjectType="MODefinition"><Name>{name}</Name><ObjectID>{number}</ObjectID>
<MultipleInstances>Multiple</MultipleInstances><Mandatory>Optional</Mandatory><Resources><Item ID="{resource}">
<Name>{what}</Name><Operations>RW</Operations><MultipleInstances>Single</MultipleInstances>
<Mandatory>Mandatory</Mandatory><Type>{kind}</Type></Item></Resources></Object></LWM2M>"""
_OBJECTS = [
    {"number": 3303, "name": "Temperature", "resource": 5700, "what": "Sensor Value", "kind": "Float"},
    {"number": 3311, "name": "Light Control", "resource": 5850, "what": "On/Off", "kind": "Boolean"},
]


@pytest.mark.skipif(
    shutil.which("node") is None or not (_MODULES / "coap-node").exists(), reason="coap-node is not installed"
)
def test_coapNode(startBroker: StartBroker, tmp_path: Path, name: str, manage: Manage) -> None:
    """
    A device made of coap-node is read, written, discovered, observed, and told of its attributes.
    """
    folder = tmp_path / "definitions"
    folder.mkdir()
    for each in _OBJECTS:
        (folder / f"{each['number']}.xml").write_text(_DEFINITION.format(**each))
    broker = startBroker(gatewayTables(xml_dir=str(folder)), listeners=2)
    manager = manage(broker, name)
    node = subprocess.Popen(
        ["node", _HERE / "coapnode.js", str(broker.ports["lwm2m"]), name],
        env={"NODE_PATH": str(_MODULES), "PATH": str(Path(shutil.which("node") or "").parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert node.stdin is not None
    assert node.stdout is not None
    try:
        assert node.stdout.readline() == "registered 2.01\n"
        event = manager.next()["data"]
        assert (event["ep"], event["lt"]) == (name, 300)
        assert {"/3/0", "/3303/0", "/3311/0"} <= set(event["objectList"])
        assert manager.read("/3/0/0") == "somebody else"
        assert manager.read("/3303/0/5700") == 21.5
        values = {each["path"]: each["value"] for each in manager.ask("read", {"path": "/3/0"})["content"]}
        assert values["/3/0/0"] == "somebody else"
        data = manager.ask("write", {"path": "/3311/0/5850", "type": "Boolean", "value": True})
        assert data["code"] == "2.04"
        assert node.stdout.readline() == "switched true\n"
        assert manager.ask("write-attr", {"path": "/3303/0/5700", "pmin": 0, "pmax": 600})["code"] == "2.04"
        content = manager.ask("discover", {"path": "/3303/0/5700"})["content"]
        assert content == ["</3303/0/5700>;pmin=0;pmax=600"]
        assert "</3303/0/5701>" in manager.ask("discover", {"path": "/3303/0"})["content"]
        assert manager.ask("write", {"path": "/3/0/0", "type": "String", "value": "x"})["code"] == "4.05"
        assert manager.ask("observe", {"path": "/3303/0/5700"})["content"][0]["value"] == 21.5
        node.stdin.write(json.dumps(["temperature", 0, "sensorValue", 30.25]) + "\n")
        node.stdin.flush()
        assert manager.next()["data"]["content"][0]["value"] == 30.25
        assert manager.ask("cancel-observe", {"path": "/3303/0/5700"})["code"] == "2.05"
    finally:
        node.kill()
        node.communicate()


@pytest.mark.skipif(shutil.which("coap-client-openssl") is None, reason="libcoap3-bin is not installed")
def test_libcoap(gateway: Broker, name: str, manage: Manage) -> None:
    """
    libcoap's client registers a device.
    """
    uri = f"coap://127.0.0.1:{gateway.ports['lwm2m']}/rd?ep={name}&lt=60&lwm2m=1.0&b=U"
    manager = manage(gateway, name)
    assert coapClient("-m", "post", "-t", "40", "-e", "</1/0>,</3/0>", uri).strip() == ""
    assert manager.next()["data"]["objectList"] == ["/1/0", "/3/0"]
