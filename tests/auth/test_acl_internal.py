"""
Access rules in a broker.
"""

from pathlib import Path

import pytest
from twisted.internet.task import Clock

from twisted_mqtt.auth.acl_internal import AclInternal
from twisted_mqtt.auth.aclfile import ACLProblem
from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.packets import Connect, Publish
from twisted_mqtt.hooks.verdicts import DENY, Verdict
from twisted_mqtt.mqtt.implements import MQTTFactory
from twisted_mqtt.mqtt.protocol import MQTTProtocol
from twisted_mqtt.stores.memory import MemoryStore
from twisted_mqtt.testing.broker import connectTransport
from twisted_mqtt.testing.extension import ExtensionHarness


class House:
    """
    A broker with rules, and its clients.
    """

    def __init__(self, folder: Path, rules: str) -> None:
        self.file = folder / "acl.conf"
        self.file.write_text(rules)
        settings = settingsFrom({"acl_file": str(self.file)})
        self.broker = Broker(settings, Clock(), MemoryStore())
        self.broker.startService()
        self.factory = MQTTFactory(self.broker, ListenerProfile("tcp.external", settings.resolveZone("external")))
        self.extension = AclInternal()
        self.harness = ExtensionHarness(self.extension, self.broker).start()

    def client(self, name: str) -> MQTTProtocol:
        """
        A connected client.
        """
        protocol, _ = connectTransport(self.factory)
        protocol.dataReceived(encode(Connect("MQTT", 4, name, True, 0, None, None, None, None), 4))
        return protocol

    def reaches(self, protocol: MQTTProtocol, topic: str) -> bool:
        """
        Whether a message of the client gets in.
        """
        before = self.broker.traffic.total("messages_received")
        protocol.dataReceived(encode(Publish(topic, b"x"), 4))
        return self.broker.traffic.total("messages_received") > before


def test_decides(tmp_path: Path) -> None:
    """
    Rules decide, and a client that they refuse nothing is not asked about.
    """
    house = House(tmp_path, '{deny, {client, "bad"}, publish, ["secret/#"]}. {allow, all}.')
    good, bad = house.client("good"), house.client("bad")
    assert (good.connection.exempt, bad.connection.exempt) == (True, False)
    assert house.reaches(good, "secret/x")
    assert not house.reaches(bad, "secret/x")
    assert house.reaches(bad, "other")


def test_another(tmp_path: Path) -> None:
    """
    Where somebody else judges too, everybody is asked about again, those who are connected included.
    """
    house = House(tmp_path, "{allow, all}.")
    client = house.client("good")
    assert house.reaches(client, "a")

    def other(client: object, action: str, topic: str, verdict: str) -> Verdict | None:
        return DENY if topic == "a" else None

    house.broker.hooks.clientCheckAcl.add(other, priority=-20)
    assert not client.connection.exempt
    assert not house.reaches(client, "a")
    assert house.reaches(client, "b")
    house.broker.hooks.clientCheckAcl.remove(other)
    assert house.reaches(client, "a")
    assert client.connection.exempt


def test_stop(tmp_path: Path) -> None:
    """
    Stopped, it refuses nothing any more and has left nothing behind.
    """
    house = House(tmp_path, "{deny, all}.")
    client = house.client("good")
    assert not house.reaches(client, "a")
    house.harness.stop()
    assert house.broker.hooks.clientCheckAcl.callbacks == ()
    assert house.reaches(client, "a")


def test_badFile(tmp_path: Path) -> None:
    """
    Rules that can't be read keep the broker from starting: it would let in whom they were to refuse.
    """
    with pytest.raises(ACLProblem, match=r"acl.conf:1: a rule begins with allow or deny"):
        House(tmp_path, "{perhaps, all}.")
