"""
Verdicts of C{client.check_acl} on the wire: reason codes, reason strings, pauses.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.kits.brokercase import BrokerTestCase
from twisted_mqtt.core.packets import PUBACK, Ack, Disconnect, Publish, Suback, Subscribe, SubscriptionRequest, Will
from twisted_mqtt.hooks.verdicts import ALLOW, DENY, Allow, Deny, Verdict
from twisted_mqtt.testing.peer import connectPacket


class VerdictTests(SynchronousTestCase):
    """
    Tests for L{Verdict}.
    """

    def test_truth(self) -> None:
        """
        A verdict is true if it allows.
        """
        self.assertTrue(ALLOW and Allow(pause=1))
        self.assertFalse(DENY or Deny("quota_exceeded"))
        self.assertEqual((ALLOW, DENY), (Allow(), Deny(0x87)))
        self.assertNotEqual(Deny(text="no"), DENY)

    def test_wrong(self) -> None:
        """
        A reason that no answer can carry, and a pause that nobody can wait for, are errors where they are made.
        """
        for wrong in (0, 0x10, 0x8E, "banned", "no such reason", True):
            self.assertRaises(ValueError, Deny, wrong)
        for pause in (-1, float("nan"), float("inf"), 1e9, "1", True):
            self.assertRaises(ValueError, Allow, pause)
        self.assertRaises(ValueError, Deny, 0x87, b"bytes")

    def test_shown(self) -> None:
        """
        Their text is what makes them.
        """
        for verdict in (ALLOW, DENY, Allow(pause=0.5), Deny("quota_exceeded", "enough"), Deny(text="no", pause=2)):
            self.assertEqual(eval(repr(verdict)), verdict)

    def test_reasons(self) -> None:
        """
        A packet that can't carry a reason says "not authorized".
        """
        invalid = Deny("payload_format_invalid")
        self.assertEqual((invalid.publishReason, invalid.subscribeReason, invalid.connectReason), (0x99, 0x87, 0x99))
        shared = Deny("shared_subscriptions_not_supported")
        self.assertEqual((shared.publishReason, shared.subscribeReason, shared.connectReason), (0x87, 0x9E, 0x87))


class WireTests(BrokerTestCase):
    """
    The answer to a client for each verdict.
    """

    def test_puback(self) -> None:
        """
        The reason code and the reason string are in PUBACK and PUBREC.
        """
        self.hook("client.check_acl", Deny("quota_exceeded", "enough for today"))
        client = self.client()
        for qos in (1, 2):
            client.publish("a", b"", qos, packetID=qos)
            ack = client.expect(Ack)
            assert ack.properties is not None
            self.assertEqual((ack.reason, ack.properties.reasonString), (0x97, "enough for today"))

    def test_noProblemInformation(self) -> None:
        """
        A client that does not want reason strings gets none.
        """
        self.hook("client.check_acl", Deny("quota_exceeded", "enough"))
        client = self.client(requestProblem=0)
        client.publish("a", b"", 1)
        ack = client.expect(Ack)
        self.assertEqual((ack.reason, ack.properties), (0x97, None))
        client.send(Subscribe(1, [SubscriptionRequest("a", 0)]))
        self.assertIsNone(client.expect(Suback).properties)

    def test_olderVersions(self) -> None:
        """
        Below 5 there is no reason to give: the message is acknowledged and goes nowhere, the subscription fails.
        """
        self.hook("client.check_acl", Deny("quota_exceeded", "enough"))
        client = self.client(version=4)
        client.publish("a", b"", 1)
        client.expectAck(PUBACK, 1)
        self.assertEqual(client.subscribe("a"), [0x80])

    def test_suback(self) -> None:
        """
        Each filter has its reason, and SUBACK the reason strings of all that were refused.
        """
        verdicts: dict[str, Verdict] = {"a": Deny("quota_exceeded", "one"), "b": ALLOW, "c": Deny(0x9E, "two")}
        self.broker.hooks.clientCheckAcl.add(lambda client, access, topic, verdict: verdicts[topic])
        client = self.client()
        client.send(Subscribe(1, [SubscriptionRequest(name, 1) for name in "abc"]))
        suback = client.expect(Suback)
        assert suback.properties is not None
        self.assertEqual(suback.reasons, [0x97, 1, 0x9E])
        self.assertEqual(suback.properties.reasonString, "one; two")

    def test_disconnects(self) -> None:
        """
        Where the zone wants a client to go that does what it may not, the reason is that of DISCONNECT.
        """
        self.begin(acl_deny_action="disconnect")
        self.hook("client.check_acl", Deny("quota_exceeded", "enough"))
        client = self.client()
        client.publish("a", b"", 1)
        goodbye = client.expect(Disconnect)
        assert goodbye.properties is not None
        self.assertEqual((goodbye.reason, goodbye.properties.reasonString), (0x97, "enough"))
        other = self.client("other")
        other.send(Subscribe(1, [SubscriptionRequest("a", 1)]))
        other.expectClosed(0x97)

    def test_will(self) -> None:
        """
        A will that is refused is refused in CONNACK.
        """
        self.hook("client.check_acl", Deny("quota_exceeded", "no wills"))
        self.refused("client", 0x97, will=Will("w", b"", 0, False, None))
        self.refused("client", 3, version=4, will=Will("w", b"", 0, False, None))

    def test_remembered(self) -> None:
        """
        A refusal is remembered with its reason.
        """
        calls = self.hook("client.check_acl", Deny("quota_exceeded", "enough"))
        client = self.client()
        for _ in range(2):
            client.publish("a", b"", 1)
            ack = client.expect(Ack)
            assert ack.properties is not None
            self.assertEqual((ack.reason, ack.properties.reasonString), (0x97, "enough"))
        self.assertEqual(len(calls), 1)

    def test_pause(self) -> None:
        """
        Nothing more is taken from a client for as long as the verdict says; others go on, and nothing is lost.
        """
        self.hook("client.check_acl", Allow(pause=2.0))
        client, other = self.client(), self.client("other")
        watcher = self.client("watcher")
        self.broker.permissions.settings = self.broker.settings
        watcher.send(Subscribe(1, [SubscriptionRequest("#", 0)]))
        watcher.expect(Suback)
        self.clock.advance(2)
        client.send(Publish("a", b"1", 1, packetID=1), Publish("a", b"2", 1, packetID=2))
        client.expectAck(PUBACK, 1)
        client.expectNothing()
        other.publish("a", b"3", 1)
        other.expectAck(PUBACK, 1)
        self.assertEqual(watcher.payloads(), [b"1", b"3"])
        self.assertFalse(client.transport.reading)
        self.clock.advance(1.9)
        client.expectNothing()
        self.clock.advance(0.2)
        client.expectAck(PUBACK, 2)
        self.clock.advance(2)
        client.turn()
        self.assertTrue(client.transport.reading)
        self.assertEqual(watcher.payloads(), [b"2"])

    def test_pauseOfARefusal(self) -> None:
        """
        A refusal may make a client wait, too, at SUBSCRIBE as well.
        """
        self.hook("client.check_acl", Deny(pause=5))
        client = self.client()
        client.send(Publish("a", b"1", 1, packetID=1), Subscribe(1, [SubscriptionRequest("a", 0)]))
        client.expectAck(PUBACK, 1, 0x87)
        client.expectNothing()
        self.clock.advance(5)
        self.assertEqual(client.expect(Suback).reasons, [0x87])
        client.publish("a", b"1", 1)
        client.expectNothing()
        self.clock.advance(5)
        client.expectAck(PUBACK, 1, 0x87)

    def test_pauseIsNotRemembered(self) -> None:
        """
        Each message of a client that is to be slowed down asks again.
        """
        calls = self.hook("client.check_acl", Allow(pause=1))
        client = self.client()
        for number in range(3):
            client.publish("a", b"")
            self.clock.advance(1)
            client.turn()
            self.assertEqual(len(calls), number + 1)

    def test_goesWhilePaused(self) -> None:
        """
        A client that is sent away or goes while it is paused leaves nothing behind.
        """
        self.hook("client.check_acl", Allow(pause=1000))
        client = self.client()
        client.publish("a", b"")
        client.lose()
        self.assertFalse([call for call in self.clock.getDelayedCalls() if call.getTime() > self.clock.seconds() + 900])

    def test_onBehalfOf(self) -> None:
        """
        An extension that publishes for a client is told the reason code; a pause is waited for, or refuses a message
        that comes too early.
        """
        verdicts: list[Any] = [Deny("quota_exceeded"), Deny("topic_filter_invalid"), Allow(pause=10)]
        self.broker.hooks.clientCheckAcl.add(
            lambda client, access, topic, verdict: verdicts.pop(0) if verdicts else None, perPacket=True
        )
        account = self.broker.account("api")
        self.assertEqual(self.broker.publishAs(account, "a", b""), 0x97)
        self.assertEqual(self.broker.publishAs(account, "a", b""), 0x87)
        self.assertEqual(self.broker.publishAs(account, "a", b""), 0x10)
        self.assertEqual(self.broker.publishAs(account, "a", b""), 0x96)
        self.clock.advance(10)
        self.assertEqual(self.broker.publishAs(account, "a", b""), 0x10)
        verdicts.append(Allow(pause=10))
        patient = self.broker.publishAs(account, "a", b"", patient=True)
        self.assertNoResult(patient)
        self.clock.advance(10)
        self.assertEqual(self.successResultOf(patient), 0x10)

    def test_nonsense(self) -> None:
        """
        A string is no verdict: it refuses, and is logged.
        """
        self.hook("client.check_acl", "allow")
        client = self.client()
        client.publish("a", b"", 1)
        client.expectAck(PUBACK, 1, 0x87)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_willPacketConnect(self) -> None:
        """
        A client whose will is allowed comes in.
        """
        self.hook("client.check_acl", Allow(pause=1))
        peer = self.peer()
        peer.send(connectPacket("c", will=Will("w", b"", 0, False, None)))
        self.assertEqual(list(self.broker.clients), ["c"])
