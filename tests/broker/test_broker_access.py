"""
Tests of access rules and of what the broker remembers of them.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.kits.brokercase import BrokerTestCase
from twisted_mqtt.core.packets import PUBACK, Ack, Subscribe, SubscriptionRequest
from twisted_mqtt.core.reasons import NOT_AUTHORIZED
from twisted_mqtt.hooks.verdicts import ALLOW, DENY, STOP, AuthResult


class AccessTests(BrokerTestCase):
    """
    Access rules and what is remembered of them.
    """

    def setUp(self) -> None:
        """
        Rules that allow what stands in a set.
        """
        super().setUp()
        self.allowed = {("publish", "a"), ("subscribe", "a")}
        self.asked: list[tuple[str, str]] = []
        self.broker.hooks["client.check_acl"].add(self.check)

    def check(self, client: Any, action: str, topic: str, verdict: str) -> Any:
        """
        The rules.
        """
        self.asked.append((action, topic))
        return STOP(ALLOW if (action, topic) in self.allowed else DENY)

    def test_askedOnceInAWhile(self) -> None:
        """
        Each topic is asked about once, allowed or not, until what was said is too old or the rules change.
        """
        peer = self.client()

        def publish() -> list[int]:
            for topic, packetID in (("a", 1), ("b", 2), ("a", 3), ("b", 4)):
                peer.publish(topic, b"", 1, packetID)
            return [each.reason for each in peer.receive() if isinstance(each, Ack)]

        self.assertEqual(publish(), [0x10, NOT_AUTHORIZED] * 2)
        self.assertEqual(self.asked, [("publish", "a"), ("publish", "b")])
        self.allowed.add(("publish", "b"))
        self.assertEqual(publish(), [0x10, NOT_AUTHORIZED] * 2)
        self.assertEqual(len(self.asked), 2)
        self.broker.forgetPermissions()
        self.assertEqual(publish(), [0x10] * 4)
        self.assertEqual(len(self.asked), 4)
        self.allowed.clear()
        self.clock.advance(self.broker.settings.acl_cache_ttl + 1)
        self.assertEqual(publish(), [NOT_AUTHORIZED] * 4)
        self.assertEqual(len(self.asked), 6)

    def test_allowedTopicsTakeTheShortWay(self) -> None:
        """
        Once a topic is allowed the core lets it through by itself, after the rules have changed as well.
        """
        peer = self.client()
        for _ in range(2):
            peer.publish("a")
            connection = self.broker.clients["client"].connection
            assert connection is not None and connection.allowed is not None
            self.assertEqual(list(connection.allowed), ["a"])
            self.broker.forgetPermissions()
            self.assertFalse(connection._isAllowed("a"))

    def test_cacheIsBounded(self) -> None:
        """
        No more than C{acl_cache_max_size} answers are kept, in the core too.
        """
        peer = self.client()
        self.allowed |= {("publish", f"t{number}") for number in range(100)}
        for number in range(100):
            peer.publish(f"t{number}")
        client = self.broker.clients["client"]
        size = self.broker.settings.acl_cache_max_size
        assert client.connection is not None
        self.assertEqual(len(self.broker.rememberedPermissions(client)), size)
        self.assertEqual(len(client.connection.allowed or {}), size)

    def test_rulesThatChangeWhileTheyAreAsked(self) -> None:
        """
        An answer that was asked for before the rules changed holds once and is not remembered.
        """
        slow: Deferred[Any] = Deferred()
        answers: list[Any] = [slow, STOP(DENY)]
        self.broker.hooks["client.check_acl"].add(lambda *args: answers.pop(0), priority=1)
        peer = self.client()
        peer.publish("a", b"", 1)
        self.broker.forgetPermissions()
        slow.callback(STOP(ALLOW))
        peer.expectAck(PUBACK, 1, 0x10)
        peer.publish("a", b"", 1)
        peer.expectAck(PUBACK, 1, NOT_AUTHORIZED)

    def test_deniedMeansGone(self) -> None:
        """
        With C{acl_deny_action = disconnect} who tries what is forbidden is closed.
        """
        self.begin(acl_deny_action="disconnect")
        self.broker.hooks["client.check_acl"].add(self.check)
        peer = self.client()
        peer.publish("b", b"", 1)
        peer.expectClosed(NOT_AUTHORIZED)
        peer = self.client(version=4)
        peer.send(Subscribe(1, [SubscriptionRequest("b", 0)]))
        peer.expectClosed()

    def test_superuser(self) -> None:
        """
        Nobody asks about a superuser, nor where the zone has no access rules.
        """
        self.broker.hooks["client.authenticate"].add(lambda client, result: AuthResult(isSuperuser=True))
        self.client().publish("b", b"", 1).expectAck(PUBACK, 1, 0x10)
        self.begin(enable_acl=False)
        self.broker.hooks["client.check_acl"].add(self.check)
        self.client().publish("b", b"", 1).expectAck(PUBACK, 1, 0x10)
        self.assertEqual(self.asked, [])

    def test_filterOfAShare(self) -> None:
        """
        Rules are asked about the filter of a share, not about its name.
        """
        self.assertEqual(self.client().subscribe("$share/g/a", "$queue/a", "$share/g/b"), [2, 2, NOT_AUTHORIZED])

    def test_systemTopics(self) -> None:
        """
        Nobody but the broker publishes below C{$SYS/}, superusers included; other topics with a dollar are open.
        """
        self.broker.hooks["client.authenticate"].add(lambda client, result: AuthResult(isSuperuser=True))
        watcher = self.client("watcher")
        watcher.subscribe("$SYS/#", "$other/#")
        peer = self.client()
        peer.publish("$SYS/brokers", b"lie", 1).expectAck(PUBACK, 1, NOT_AUTHORIZED)
        peer.publish("$SYS/brokers", b"lie", retain=True)
        peer.publish("$other/x", b"1")
        self.assertEqual(watcher.payloads(), [b"1"])
        self.assertEqual(self.broker.retained.topics(), [])
