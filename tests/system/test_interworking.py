"""
Every protocol with every other, through one broker process: what a client of one publishes, a client of the other
receives, with as much as both protocols can say of it.

The expected results are those of C{tests.interworking} and C{docs/gateways.md}. All clients are other people's: Paho,
stomp.py, mqtt-sn-12, mqttsn and aiocoap.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.interworking import DOCUMENT, PROTOCOLS, carried, written
from tests.system.conftest import configuration
from tests.system.process import Broker, startTwistd

for _name in ("stomp", "mqttsn12", "mqttsn", "aiocoap"):
    pytest.importorskip(_name)

from tests.system.interworking_peers import TALKERS, Message, Talker  # noqa: E402 - after it is known that they are there

# Bytes that are no text, and a content type that all have a number or a name for.
PAYLOAD = b"gr\xc3\xbcn\x00\xff\r\n"
TYPE = "application/cbor"
PROPERTIES = [("colour", "red"), ("größe", "a:b")]
EXPIRY = 600

PAIRS = [(sender, receiver) for sender in PROTOCOLS for receiver in PROTOCOLS]


@pytest.fixture(scope="module")
def everything(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """
    A broker with all gateways.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference has no gateways")
    folder = tmp_path_factory.mktemp("interworking")
    tables: dict[str, Any] = {
        **configuration(folder),
        "plugins": {"load": ["stomp", "mqttsn", "coap"]},
        "mqtt": {"sn": {"port": "127.0.0.1:0"}},
        "stomp": {"listener": {"bind": "127.0.0.1:0"}},
        "coap": {"port": "127.0.0.1:0"},
    }
    tables["listener"]["ws"] = {"external": {"bind": "127.0.0.1:0"}}
    broker = startTwistd(folder, tables, listeners=5)
    yield broker
    broker.stop()


class Party:
    """
    Clients by what they do and by their protocol; each is there from when it is first asked for.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.clients: dict[tuple[str, str], Talker] = {}

    def __call__(self, role: str, protocol: str) -> Talker:
        key = (role, protocol)
        if key not in self.clients:
            self.clients[key] = TALKERS[protocol](self._broker, f"{role}-{list(PROTOCOLS).index(protocol)}")
        return self.clients[key]


@pytest.fixture(scope="module")
def party(everything: Broker) -> Iterator[Party]:
    """
    The clients.
    """
    party = Party(everything)
    yield party
    for client in party.clients.values():
        client.close()


def expect(heard: Message, said: Message, sender: str, receiver: str, retain: bool) -> None:
    """
    See that a message came as the tables say.
    """
    into = PROTOCOLS[receiver]
    assert heard.payload == said.payload
    assert heard.topic in ((None,) if receiver == "CoAP" else (said.topic,))
    if receiver == "CoAP":
        # Now and then the gateway asks for a confirmation although nobody has asked it to.
        assert heard.qos == 1 or not said.qos or retain
    else:
        assert heard.qos == said.qos
    assert heard.retain == retain
    assert heard.contentType == (TYPE if carried("contentType", sender, receiver) else into.unnamed)
    assert sorted(heard.properties) == (sorted(PROPERTIES) if carried("properties", sender, receiver) else [])
    if carried("expiry", sender, receiver):
        assert heard.expiry is not None and EXPIRY - 60 < heard.expiry <= EXPIRY
    else:
        assert heard.expiry is None


@pytest.mark.parametrize(("sender", "receiver"), PAIRS)
def test_pair(party: Party, name: str, sender: str, receiver: str) -> None:
    """
    A message of each QoS arrives at who has subscribed; retained, it arrives at who subscribes later, and is said to
    be.
    """
    sending, receiving = party("sender", sender), party("receiver", receiver)
    for qos in (0, 1, 2):
        topic = f"inter/{name}/{qos}"
        for retain in (False, True):
            said = Message(topic, PAYLOAD, qos, retain, TYPE, PROPERTIES, EXPIRY)
            if retain:
                sending.publish(said)
            receiving.subscribe(topic)
            if not retain:
                sending.publish(said)
            expect(receiving.receive(), said, sender, receiver, retain)
            receiving.unsubscribe(topic)


def test_documented() -> None:
    """
    The tables in C{docs/gateways.md} are what C{python -m tests.interworking} writes.
    """
    document = DOCUMENT.read_text("utf-8")
    assert written(document) == document
