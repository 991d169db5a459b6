"""
Messages that the broker or its extensions make and that no packet can carry, and names of clients in topics: nobody is
harmed by them.
"""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred

from tests.kits.brokercase import BrokerTestCase
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBACK, Publish, Will
from twisted_mqtt.core.reasons import (
    NOT_AUTHORIZED,
    PACKET_TOO_LARGE,
    SUCCESS,
    TOPIC_NAME_INVALID,
)
from twisted_mqtt.hooks.verdicts import DENY, Verdict
from twisted_mqtt.modules.presence import Presence, PresenceSettings
from twisted_mqtt.testing.extension import ExtensionHarness
from twisted_mqtt.testing.peer import connectPacket, propertiesOf


class PoisonTests(BrokerTestCase):
    """
    A broker in memory.
    """

    def dropped(self) -> list[str]:
        """
        Note why messages are dropped.
        """
        reasons: list[str] = []
        self.broker.hooks.messageDropped.add(lambda message, by, reason: reasons.append(reason))
        return reasons

    def test_publish(self) -> None:
        """
        What an extension publishes is checked when it is published: whatever no packet can carry is dropped, which is
        said, counted and logged, and a subscriber gets what comes behind it.
        """
        reasons = self.dropped()
        peer = self.client()
        peer.subscribe("#")
        poisons = [
            Message("x" * 65_536, b""),
            Message("", b""),
            Message("a/+", b""),
            Message("a\0", b""),
            Message("\ud800", b"", 1),
            Message("x", b"", 3),
            Message("x", b"", properties=propertiesOf(contentType="x" * 65_536)),
            Message("x", b"", properties=propertiesOf(userProperties=[("k", "\ud800")])),
            Message("x", b"", timestamp=1.0, expiresAt=1e12),
        ]
        for poison in poisons:
            poison.retain = True
            self.assertEqual(self.broker.publish(poison), TOPIC_NAME_INVALID)
        self.assertEqual(self.broker.publish(Message("x" * 65_535, b"last")), SUCCESS)
        self.assertEqual(peer.payloads(), [b"last"])
        self.assertEqual(reasons, ["invalid"] * len(poisons))
        counters = self.broker.counters
        self.assertEqual((counters.messages_dropped_invalid, counters.messages_dropped), (9, 9))
        self.assertEqual(self.broker.retained.topics(), [])

    def test_publishAs(self) -> None:
        """
        So it is where somebody publishes on behalf of a client.
        """
        account = self.broker.account("me")
        self.assertEqual(self.broker.publishAs(account, "\ud800", b""), TOPIC_NAME_INVALID)
        poison = propertiesOf(contentType="x" * 65_536)
        self.assertEqual(self.broker.publishAs(account, "x", b"", properties=poison), PACKET_TOO_LARGE)

    def test_presence(self) -> None:
        """
        A client identifier that makes a presence topic longer than any topic may be: whoever watches presence with a
        session gets what can be sent, at each return.
        """
        self.begin(max_clientid_len=65535)
        ExtensionHarness(Presence(PresenceSettings()), self.broker).start()
        watcher = self.client("watcher", sessionExpiry=1000)
        watcher.subscribe("$SYS/brokers/+/clients/+/connected")
        watcher.lose()
        self.client("x" * 65_500)
        self.client("y")
        watcher = self.peer()
        watcher.connect("watcher", cleanStart=False, sessionExpiry=1000)
        seen = [json.loads(packet.payload)["clientid"] for packet in watcher.receive() if isinstance(packet, Publish)]
        self.assertEqual(seen, ["y", "watcher"])
        self.assertEqual(self.broker.traffic.total("messages_dropped_invalid"), 1)

    def test_responseInformation(self) -> None:
        """
        It names a topic of the client's own, or is left out: where the identifier would make another topic of it, or
        one that is too long.
        """
        self.begin(max_clientid_len=65535)
        for clientID in ("a/b", "+", "#", "x" * 65_535):
            connack = self.peer().connect(clientID, requestResponse=1)
            self.assertIs(connack.properties is None or connack.properties.responseInformation, None)
        connack = self.peer().connect("a b", requestResponse=1)
        assert connack.properties is not None
        self.assertEqual(connack.properties.responseInformation, "response/a b/")

    def test_answersOfHooks(self) -> None:
        """
        What hooks put into CONNACK may be more than a packet has room for: the client gets what fits.
        """
        self.broker.hooks.clientConnack.add(
            lambda client, reason, properties: propertiesOf(reasonString="x" * 65_536, receiveMaximum=7)
        )
        connack = self.peer().connect()
        assert connack.properties is not None
        self.assertEqual((connack.properties.reasonString, connack.properties.receiveMaximum), (None, 7))

    def test_mountpointOfTheBroker(self) -> None:
        """
        A mount point below which topics are the broker's own keeps the client out, who is told why.
        """
        for mountpoint in ("$SYS/", "$%c/", "$", "$SYS/brokers/%c/"):
            self.begin(mountpoint=mountpoint)
            self.refused("SYS", NOT_AUTHORIZED)
        self.begin(mountpoint="$%c/")
        self.client("mine").publish("a", b"1", 1).expectAck(PUBACK, 1, 0x10)

    def test_refusedWithTheReason(self) -> None:
        """
        A client whose name can't be part of its mount point is told so.
        """
        self.begin(mountpoint="%c/")
        peer = self.peer()
        peer.send(connectPacket("a/b"))
        (connack,) = peer.receive()
        self.assertEqual(connack.reason, NOT_AUTHORIZED)  # type: ignore[attr-defined]  # CONNACK
        self.assertIn("a name with /", connack.properties.reasonString)  # type: ignore[attr-defined]  # CONNACK

    def test_hookThatMovesToSystem(self) -> None:
        """
        Whatever hooks make of the topic of a client's message, it does not get below C{$SYS/}; what is the broker's own
        does.
        """
        self.broker.hooks.messagePublish.add(lambda message: message.replace(topic=message.topic.removeprefix("x/")))
        reasons = self.dropped()
        watcher = self.client("watcher")
        watcher.subscribe("$SYS/#")
        peer = self.client()
        peer.publish("x/$SYS/brokers", b"lie", 1).expectAck(PUBACK, 1, NOT_AUTHORIZED)
        self.assertEqual(reasons, ["hook"])
        self.broker.publish(Message("x/$SYS/brokers", b"true", system=True))
        self.assertEqual(watcher.payloads(), [b"true"])

    def test_delayed(self) -> None:
        """
        Who may not publish to a topic may not do so later either: rules are asked about the topic that a message goes
        to in the end, also for wills and where an answer takes its time.
        """
        asked: list[str] = []

        def rule(client: object, access: str, topic: str, verdict: Verdict) -> object:
            asked.append(topic)
            answer: Deferred[Verdict | None] = Deferred()
            self.clock.callLater(0, answer.callback, DENY if topic.startswith("secret") else None)
            return answer

        self.broker.hooks.clientCheckAcl.add(rule)
        peer = self.client()
        for topic, reason in (
            ("$delayed/1/secret/x", NOT_AUTHORIZED),
            ("$delayed/1/open/x", 0x10),
            ("$delayed/", 0x10),
        ):
            peer.publish(topic, b"", 1)
            peer.turn()
            peer.turn()
            peer.expectAck(PUBACK, 1, reason)
        self.assertEqual(asked, ["$delayed/1/secret/x", "secret/x", "$delayed/1/open/x", "open/x", "$delayed/"])

    def test_delayedWill(self) -> None:
        """
        The same for wills.
        """
        self.broker.hooks.clientCheckAcl.add(
            lambda client, access, topic, verdict: DENY if topic.startswith("secret") else None
        )
        self.refused("w", NOT_AUTHORIZED, will=Will("$delayed/1/secret/x", b"", 0, False, None))
        self.client("w", will=Will("$delayed/1/open/x", b"", 0, False, None))
