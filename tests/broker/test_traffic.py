"""
What is counted by listener, by version of MQTT and by reason code.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from twisted_mqtt.base.metrics import HistogramValue
from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Auth, Disconnect
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.sender import reasonOf
from twisted_mqtt.hooks.verdicts import DENY, STOP, AuthResult, Challenge
from twisted_mqtt.mqtt.implements import MQTTFactory
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer, connectPacket, propertiesOf


def series(broker: Broker, name: str) -> dict[tuple[str, ...], float | HistogramValue]:
    """
    All series of a metric that are not 0.
    """
    (found,) = (each for each in broker.metrics.collect() if each.name == name)
    return {key: value for key, value in found.series if value}


def comes(factory: MQTTFactory, clock: Clock, version: int, clientID: str) -> Peer:
    """
    A client that is in.
    """
    peer = Peer(factory, clock, version)
    peer.connect(clientID)
    return peer


def test_versions() -> None:
    """
    Packets are counted apart by version; EMQ X's name has the sum.
    """
    clock = Clock()
    broker, factory = makeBroker(clock)
    for version in (3, 4, 5, 5):
        peer = Peer(factory, clock, version)
        peer.connect(f"v{version}")
        peer.publish("x", b"", 0)
    # At once with CONNECT, which is taken only afterwards.
    peer = Peer(factory, clock, 5)
    peer.send(connectPacket("at once"), b"\x30\x04\x00\x01x\x00")
    assert series(broker, "mqtt.publish.received") == {("4",): 2, ("5",): 3}
    assert series(broker, "mqtt.connect.received") == {("4",): 2, ("5",): 3}
    assert broker.metrics.read()["packets.publish.received"] == 5
    assert broker.metrics.read()["packets.connect.received"] == 5
    broker.stopService()


def test_listeners() -> None:
    """
    Each listener, zone and version has its own counts.
    """
    clock = Clock()
    broker, factory = makeBroker(clock)
    other = MQTTFactory(broker, ListenerProfile("ws.external", broker.settings.resolveZone("external")))
    comes(factory, clock, 4, "a").publish("x", b"", 0)
    comes(other, clock, 5, "b").publish("x", b"", 0).publish("x", b"", 0)
    silent = Peer(other, clock, 5)
    silent.lose()
    assert series(broker, "listener.messages.received") == {
        ("tcp.external", "external", "3.1.1"): 1,
        ("ws.external", "external", "5.0"): 2,
    }
    assert series(broker, "listener.connections.opened") == {
        ("tcp.external", "external", ""): 1,
        ("ws.external", "external", ""): 2,
    }
    assert series(broker, "listener.connections.error") == {("ws.external", "external", ""): 1}
    broker.stopService()


def test_connackCodes() -> None:
    """
    CONNACK is counted by the return code of MQTT 3, and by the reason code of MQTT 5.
    """
    clock = Clock()
    broker, factory = makeBroker(clock)
    Peer(factory, clock, 4).connect("a")
    Peer(factory, clock, 5).connect("b")
    broker.hooks["client.authenticate"].add(lambda client, result: AuthResult("bad_username_or_password"))
    for version in (4, 5, 5):
        Peer(factory, clock, version).send(connectPacket("c", version))
    assert series(broker, "mqtt.connack.sent") == {
        ("4", "", "success"): 1,
        ("4", "", "bad_username_or_password"): 1,
        ("5", "success", ""): 1,
        ("5", "bad_username_or_password", ""): 2,
    }
    broker.stopService()


def test_acknowledgements() -> None:
    """
    So are acknowledgements, those that go at once and those that bring a reason string.
    """
    clock = Clock()
    broker, factory = makeBroker(clock)
    a = comes(factory, clock, 5, "a")
    b = comes(factory, clock, 4, "b")
    a.publish("x", b"", 1).publish("x", b"", 2, 2)
    b.publish("x", b"", 1)
    a.acknowledge(PUBREL, 9)
    a.send(Ack(PUBREC, 9, 0x80, None))
    broker.hooks["client.check_acl"].add(lambda *args: STOP(DENY))
    a.publish("y", b"", 1, 3)
    assert series(broker, "mqtt.puback.sent") == {
        ("4", ""): 1,
        ("5", "no_matching_subscribers"): 1,
        ("5", "not_authorized"): 1,
    }
    assert series(broker, "mqtt.pubrec.sent") == {("5", "no_matching_subscribers"): 1}
    assert series(broker, "mqtt.pubcomp.sent") == {("5", "packet_id_not_found"): 1}
    assert series(broker, "mqtt.pubrec.received") == {("5", "unspecified_error"): 1}
    broker.stopService()


def test_ends() -> None:
    """
    DISCONNECT and AUTH are counted by reason code, as VerneMQ calls them.
    """
    clock = Clock()
    broker, factory = makeBroker(clock)
    broker.hooks.clientEnhancedAuthenticate.add(
        lambda client, method, data, state, result: Challenge(b"?") if data is None else AuthResult()
    )
    a = Peer(factory, clock, 5)
    a.send(connectPacket("a", authMethod="m"))
    a.send(Auth(0x18, propertiesOf(authMethod="m", authData=b"x")))
    a.send(Disconnect(0x04, None))
    comes(factory, clock, 5, "b").disconnect()
    comes(factory, clock, 4, "c").disconnect()
    Peer(factory, clock, 5).connect("d")
    broker.kick("d", 0x98)
    assert series(broker, "mqtt.disconnect.received") == {
        ("4", ""): 1,
        ("5", "disconnect_with_will_msg"): 1,
        ("5", "normal_disconnect"): 1,
    }
    assert series(broker, "mqtt.disconnect.sent") == {("5", "administrative_action"): 1}
    assert series(broker, "mqtt.auth.received") == {("5", "continue_authentication"): 1}
    assert series(broker, "mqtt.auth.sent") == {("5", "continue_authentication"): 1}
    broker.stopService()


def test_reasonOf() -> None:
    """
    The reason code is found wherever the length of an acknowledgement ends.
    """
    for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
        assert reasonOf(encode(Ack(kind, 0xFFFF, 0, None), 5)) == 0
        assert reasonOf(encode(Ack(kind, 0xFFFF, 0x92, None), 5)) == 0x92
        for size in (1, 100, 200, 20_000):
            properties = Properties()
            properties.reasonString = "x" * size
            assert reasonOf(encode(Ack(kind, 0xFFFF, 0x80, properties), 5)) == 0x80
    packet: Any = b"\xd0\x00"
    assert reasonOf(packet) == 0


def test_matches() -> None:
    """
    Matches are counted for every message, whichever way it takes: without and with a watch, to nobody, to one, to many,
    to shares, and in a topic tree of its own.
    """
    clock = Clock()
    broker, factory = makeBroker(clock)
    tree = ListenerProfile("tcp.tree", broker.settings.resolveZone("external"), topicTree="t")
    inTree = comes(MQTTFactory(broker, tree), clock, 5, "c")
    peers = [comes(factory, clock, 5, f"c{number}") for number in range(3)]
    for peer in peers:
        peer.subscribe("many", "$share/g/shared", qos=0)
    peers[0].subscribe("one", qos=0)

    def matched() -> list[int]:
        found = []
        for topic, sender in (
            ("nobody", peers[0]),
            ("one", peers[0]),
            ("many", peers[0]),
            ("shared", peers[0]),
            ("many", inTree),
        ):
            before = broker.router.matched
            sender.publish(topic, b"", 0)
            found.append(broker.router.matched - before)
        return found

    assert matched() == [0, 1, 3, 1, 0]
    inTree.subscribe("many", qos=0)
    broker.watch("#", lambda message: None)
    assert matched() == [0, 1, 3, 1, 1]
    assert broker.metrics.read()["routes.matched"] == broker.router.matched == 11
    broker.stopService()
