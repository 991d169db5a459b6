"""
Tests of publishing on behalf of a client, a session or an account.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.kits.brokercase import BrokerTestCase
from twisted_mqtt.config.schema_retainer import RetainerSettings
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.hooks.verdicts import ALLOW, DENY, Verdict
from twisted_mqtt.interfaces import IClient, ISession


class PublishAsTests(BrokerTestCase):
    """
    On behalf of a client.
    """

    def begin(self, **zone: Any) -> None:
        """
        See L{BrokerTestCase.begin}.
        """
        super().begin(**zone)
        self.seen: list[Message] = []
        self.broker.watch(["#", "$SYS/#"], self.seen.append)

    def heard(self) -> Message:
        """
        The message that was published, and the only one.
        """
        self.clock.advance(0)
        self.assertEqual(len(self.seen), 1)
        return self.seen.pop()

    def unheard(self) -> None:
        """
        Nothing was published.
        """
        self.clock.advance(0)
        self.assertEqual(self.seen, [])

    def info(self, clientID: str = "client") -> IClient:
        """
        The broker's information about a client that is connected.
        """
        return self.broker.clients[clientID]

    def test_client(self) -> None:
        """
        A client's message says who it is and is counted as its own.
        """
        self.client("c1", username="joe")
        info = self.info("c1")
        self.assertTrue(IClient.providedBy(info))
        before = self.broker.traffic.total("messages_qos1_received")
        self.assertEqual(self.broker.publishAs(info, "a/b", b"p", 1), 0x10)
        message = self.heard()
        self.assertEqual((message.topic, message.payload, message.qos), ("a/b", b"p", 1))
        self.assertEqual((message.clientID, message.username), ("c1", "joe"))
        self.assertEqual((message.peerHost, message.protocol), ("127.0.0.1", "mqtt"))
        self.assertEqual(message.timestamp, self.clock.seconds())
        self.assertEqual(self.broker.traffic.total("messages_qos1_received"), before + 1)
        self.assertEqual(info.stats()["recv_msg"], 1)

    def test_session(self) -> None:
        """
        The owner of a session is somebody while it is away.
        """
        self.client("c1", username="joe", sessionExpiry=100).disconnect()
        session = self.broker.sessions["c1"]
        self.assertTrue(ISession.providedBy(session))
        self.assertEqual(self.broker.publishAs(session, "a", b"p"), 0x10)
        message = self.heard()
        self.assertEqual((message.clientID, message.username), ("c1", "joe"))
        self.assertEqual(self.broker.traffic.total("messages_received"), 1)

    def test_account(self) -> None:
        """
        An account is seen by access rules and hooks as a client is.
        """
        asked = self.hook("client.check_acl", ALLOW)
        account = self.broker.account("api", "joe", "10.0.0.1", "http")
        self.assertEqual(self.broker.publishAs(account, "a", b"p"), 0x10)
        message = self.heard()
        self.assertEqual((message.clientID, message.username), ("api", "joe"))
        self.assertEqual((message.peerHost, message.protocol), ("10.0.0.1", "http"))
        self.assertIs(asked[0][0], account)

    def test_nobody(self) -> None:
        """
        Somebody else is an error of the caller's.
        """
        self.assertRaises(TypeError, self.broker.publishAs, "joe", "a", b"")

    def test_topic(self) -> None:
        """
        A topic name that is malformed or too long is refused.
        """
        self.begin(max_topic_levels=3)
        account = self.broker.account()
        for topic in ("", "a/+", "#", "a\x00b", "x" * 65536, "\U0001f600" * 16384, "a/b/c/d"):
            self.assertEqual(self.broker.publishAs(account, topic, b""), 0x90, topic[:10])
        self.unheard()
        self.assertEqual(self.broker.traffic.total("messages_received"), 0)
        self.assertEqual(self.broker.publishAs(account, "x" * 65535, b""), 0x10)

    def test_mountpoint(self) -> None:
        """
        The mount point of the zone stands before the topic, and its length counts.
        """
        self.begin(mountpoint="m/%c/")
        account = self.broker.account("me")
        self.assertEqual(self.broker.publishAs(account, "a", b""), 0x10)
        self.assertEqual(self.heard().topic, "m/me/a")
        self.assertEqual(self.broker.publishAs(account, "x" * 65533, b""), 0x90)

    def test_system(self) -> None:
        """
        Nobody publishes below C{$SYS/}, and no access rule is asked about that.
        """
        asked = self.hook("client.check_acl", ALLOW)
        account = self.broker.account(isSuperuser=True)
        self.assertEqual(self.broker.publishAs(account, "$SYS/x", b""), 0x87)
        self.unheard()
        self.assertEqual(asked, [])
        self.assertEqual(self.broker.traffic.total("packets_publish_auth_error"), 1)

    def test_forbidden(self) -> None:
        """
        Access rules apply, unless somebody is above them.
        """
        self.hook("client.check_acl", DENY)
        self.assertEqual(self.broker.publishAs(self.broker.account(), "a", b""), 0x87)
        self.unheard()
        self.assertEqual(self.broker.publishAs(self.broker.account(isSuperuser=True), "a", b""), 0x10)
        self.heard()

    def test_forbiddenLater(self) -> None:
        """
        A rule may take its time.
        """
        answer: Deferred[Verdict] = Deferred()
        self.hook("client.check_acl", answer)
        result = self.broker.publishAs(self.broker.account(), "a", b"")
        assert isinstance(result, Deferred)
        self.unheard()
        answer.callback(ALLOW)
        self.assertEqual(self.successResultOf(result), 0x10)
        self.heard()

    def test_limits(self) -> None:
        """
        QoS is lowered and RETAIN cleared where the zone does not have them.
        """
        self.begin(max_qos_allowed=1, retain_available=False)
        self.broker.publishAs(self.broker.account(), "a", b"p", 2, True)
        message = self.heard()
        self.assertEqual((message.qos, message.retain), (1, False))

    def test_hooks(self) -> None:
        """
        Hooks see it, and what they make of it has its time too.
        """
        self.hook("message.publish", Message("b", b"q"))
        self.broker.publishAs(self.broker.account(), "a", b"p")
        message = self.heard()
        self.assertEqual((message.topic, message.timestamp), ("b", self.clock.seconds()))

    def test_rate(self) -> None:
        """
        Beyond its zone's rate a message is refused, and counted once.
        """
        self.begin(publish_limit="2,10s")
        account = self.broker.account()
        reasons = [self.broker.publishAs(account, "a", b"") for _ in range(3)]
        self.assertEqual(reasons, [0x10, 0x10, 0x96])
        self.assertEqual(self.broker.publishAs(self.broker.account(), "a", b""), 0x10)
        self.assertEqual(self.broker.traffic.total("messages_received"), 3)
        self.clock.advance(5)
        self.assertEqual(self.broker.publishAs(account, "a", b""), 0x10)

    def test_patient(self) -> None:
        """
        Or it waits for its time.
        """
        self.begin(publish_limit="1,10s")
        account = self.broker.account()
        self.broker.publishAs(account, "a", b"")
        self.heard()
        result = self.broker.publishAs(account, "b", b"", patient=True)
        assert isinstance(result, Deferred)
        self.clock.advance(9)
        self.assertNoResult(result)
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(result), 0x10)
        self.assertEqual(self.heard().topic, "b")

    def test_oneRate(self) -> None:
        """
        A message that is published for a client counts against the client's own rate.
        """
        self.begin(publish_limit="2,10s")
        self.client().publish("a", b"")
        reasons = [self.broker.publishAs(self.info(), "a", b"") for _ in range(2)]
        self.assertEqual(reasons, [0x10, 0x96])

    def test_goneMeanwhile(self) -> None:
        """
        A client that goes while its message waits has not published it.
        """
        self.begin(publish_limit="1,10s")
        peer = self.client()
        info = self.info()
        self.broker.publishAs(info, "a", b"")
        self.heard()
        result = self.broker.publishAs(info, "b", b"", patient=True)
        assert isinstance(result, Deferred)
        peer.lose()
        self.clock.advance(10)
        self.assertEqual(self.successResultOf(result), 0x80)
        self.unheard()

    def test_expiry(self) -> None:
        """
        A retained message whose properties name an interval is there for that long, and no longer.
        """
        properties = Properties()
        properties.messageExpiry = 5
        self.broker.publishAs(self.broker.account(), "a", b"p", 0, True, properties)
        self.clock.advance(4)
        self.assertIsNotNone(self.broker.retained.get("a"))
        self.clock.advance(2)
        self.assertIsNone(self.broker.retained.get("a"))


class OwnMessageTests(BrokerTestCase):
    """
    An extension publishes a message of its own.
    """

    def test_retained(self) -> None:
        """
        It has its time: with a limit on the life of retained messages it lives that long.
        """
        self.broker.retained.limits = RetainerSettings(expiry_interval=10.0)
        self.broker.publish(Message("a", b"p", 0, True))
        self.clock.advance(9)
        self.assertIsNotNone(self.broker.retained.get("a"))
        self.clock.advance(2)
        self.assertIsNone(self.broker.retained.get("a"))

    def test_expiry(self) -> None:
        """
        Its message expiry counts from its publication, and is what subscribers are told.
        """
        properties = Properties()
        properties.messageExpiry = 60
        self.broker.publish(Message("a", b"p", 0, True, properties))
        self.clock.advance(20)
        peer = self.client()
        peer.subscribe("a")
        found: Any = peer.next()
        self.assertEqual(found.properties.messageExpiry, 40)

    def test_ownTime(self) -> None:
        """
        A time that it has already stays.
        """
        heard: list[Message] = []
        self.broker.watch("#", heard.append)
        self.broker.publish(Message("a", b"p", timestamp=5.0))
        self.clock.advance(0)
        self.assertEqual(heard[0].timestamp, 5.0)
