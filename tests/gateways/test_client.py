"""
Tests of L{gateways.client}, for what no gateway of ours lets through.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from gateways.client import GatewayClient
from twisted_mqtt.broker.admission import Admission
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBREC, Publish, Will
from twisted_mqtt.core.reasons import CLIENT_ID_NOT_VALID, NOT_AUTHORIZED, SUCCESS, TOPIC_NAME_INVALID
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer


class Owner:
    """
    A gateway's side of a client.
    """

    def __init__(self) -> None:
        self.received: list[tuple[bytes, int, int]] = []

    def receive(self, message: Message, qos: int, packetID: int, *more: object) -> None:
        """
        See L{gateways.client.GatewaySession}.
        """
        self.received.append((message.payload, qos, packetID))

    def released(self, packetID: int) -> None:
        """
        See L{gateways.client.GatewaySession}.
        """

    def sentAway(self, reason: int, text: str) -> None:
        """
        See L{gateways.client.GatewaySession}.
        """


class Bench:
    """
    A broker, and clients of some gateway.
    """

    def __init__(self, **zone: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.broker, self.factory = makeBroker(self.clock, **zone)
        self.owner = Owner()

    def connect(self, clientID: str, **fields: Any) -> tuple[GatewayClient, int]:
        """
        Connect a client; returns the reason code, too.
        """
        client = GatewayClient(self.broker, self.factory.profile, self.owner, "test", "192.0.2.1")
        admission = client.connect(clientID, **fields)
        assert isinstance(admission, Admission)
        if admission.reason == SUCCESS:
            client.begin()
        return client, admission.reason


def test_identifierThatMQTTCannotSay() -> None:
    """
    An identifier with U+0000, which MQTT has no form for, is refused: it would be part of topics.
    """
    assert Bench().connect("a\0b")[1] == CLIENT_ID_NOT_VALID


def test_will() -> None:
    """
    A will that is given later is checked as one in CONNECT is, and is in the topic tree of its client.
    """
    bench = Bench(mountpoint="m/%c/")
    client, reason = bench.connect("me")
    assert reason == SUCCESS
    client.info.topicTree = "plant"
    for topic, expected in (
        ("t/will", SUCCESS),
        ("x" * 65_531, TOPIC_NAME_INVALID),
        ("a/+", TOPIC_NAME_INVALID),
        ("$SYS/x", NOT_AUTHORIZED),
    ):
        assert client.changeWill(Will(topic, b"", 0, False, None)) == expected
    will = client.info.will
    assert will is not None and (will.topic, will.topicTree) == ("m/me/t/will", "plant")


def test_messageOfQoS2FromAnEarlierLife() -> None:
    """
    A session that has spoken MQTT may have a message of QoS 2 for a client whose gateway knows QoS 1 only: what the
    client has is done with, and does not keep the window full.
    """
    bench = Bench(max_inflight=1)
    peer = Peer(bench.factory, bench.clock, 5)
    peer.connect("me", sessionExpiry=1000)
    peer.subscribe("t")
    other = Peer(bench.factory, bench.clock, 5)
    other.connect("other")
    for payload in (b"1", b"2"):
        other.publish("t", payload, 2, packetID=int(payload)).expectAck(PUBREC, int(payload))
    peer.expect(Publish)
    peer.lose()
    client, _ = bench.connect("me", cleanStart=False, sessionExpiry=1000)
    assert bench.owner.received == [(b"1", 2, 1)]
    client.acknowledged(1)
    assert bench.owner.received == [(b"1", 2, 1), (b"2", 2, 2)]
    client.acknowledged(2)
    assert client.session is not None and not client.session.inflight
