"""
The limits of the broker: who is refused with which reason code, what is counted, and which alarm is raised.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.kits.brokercase import BrokerTestCase
from twisted_mqtt.broker.limitreports import LIMITS
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import Connack, Disconnect, Suback, Subscribe, SubscriptionRequest, Will
from twisted_mqtt.core.reasons import QUOTA_EXCEEDED, SERVER_BUSY
from twisted_mqtt.testing.peer import propertiesOf


def test_documented() -> None:
    """
    Each limit has its counter, its alarm if it has one, and its keys in docs/operations.md.
    """
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    for name, limit in LIMITS.items():
        wanted = [f"`limits.{name}`", *([f"`limit_{name}`"] if limit.title else [])]
        wanted += [key.rpartition(".")[2] for key in limit.key.split(", ")]
        assert [each for each in wanted if each not in text] == []


def willOf(payload: bytes, delay: int = 0) -> Will:
    """
    A will for the topic C{w}.
    """
    return Will("w", payload, 0, False, propertiesOf(willDelay=delay) if delay else None)


class LimitsTestCase(BrokerTestCase):
    """
    A broker whose limits are low.
    """

    def limit(self, **tables: Any) -> None:
        """
        Go by these tables.
        """
        self.broker.configure(settingsFrom(tables))

    def counted(self, name: str) -> float:
        """
        How often a limit was reached.
        """
        found = [metric for metric in self.broker.metrics.collect() if metric.name == f"limits.{name}"]
        return found[0].series[0][1]  # type: ignore[return-value]  # it is no histogram

    def alarmed(self, name: str) -> bool:
        """
        Whether the alarm of a limit is active.
        """
        return f"limit_{name}" in self.broker.alarms.active


class SessionLimitTests(LimitsTestCase):
    """
    How many sessions there may be.
    """

    def test_inAll(self) -> None:
        """
        Beyond the limit no new session begins; whoever has one comes back to it. Once there is room, there is room.
        """
        self.limit(broker={"max_sessions": 2})
        self.client("a", sessionExpiry=100)
        self.client("b", sessionExpiry=100).lose()
        self.refused("c", QUOTA_EXCEEDED)
        self.refused("c", 3, version=4)
        self.assertTrue(self.peer().connect("b", cleanStart=False, sessionExpiry=5).sessionPresent)
        self.assertEqual((self.counted("sessions"), self.alarmed("sessions")), (2, True))
        self.client("b").disconnect()
        self.client("c")
        self.pass_(62)
        self.assertFalse(self.alarmed("sessions"))

    def test_ofAUser(self) -> None:
        """
        A user has so many; others are not touched by that. A session counts for who has begun it until it ends.
        """
        self.begin(max_sessions_per_user=2)
        self.client("a", username="one", sessionExpiry=10).lose()
        last = self.client("b", username="one")
        self.refused("c", QUOTA_EXCEEDED, username="one")
        self.client("d", username="other")
        self.client("e")
        last.disconnect()
        self.client("c", username="one").lose()
        self.pass_(12)
        self.assertEqual(self.broker.quotas.sessionsOf("one", None), (0, 0))
        self.assertEqual(self.counted("sessions_user"), 1)

    def test_fromAnAddress(self) -> None:
        """
        So with an address.
        """
        self.begin(max_sessions_per_address=2)
        first = self.client("a")
        self.client("b")
        self.refused("c", QUOTA_EXCEEDED)
        first.disconnect()
        self.client("c")
        self.assertEqual((self.counted("sessions_address"), self.alarmed("sessions_address")), (1, True))

    def test_scarceMemory(self) -> None:
        """
        While the process has little memory left, no new session begins; whoever has one comes back and gets its
        messages, so that memory becomes free.
        """
        memory = self.broker.memory
        had = [90]
        memory.used, memory.allowed = lambda: had[0], lambda: 100
        self.client("a", sessionExpiry=100).lose()
        self.pass_(1)
        self.assertIn("memory_high_watermark", self.broker.alarms.active)
        self.refused("b", SERVER_BUSY)
        self.client("a", cleanStart=False)
        had[0] = 75  # between the two watermarks nothing changes
        self.pass_(1)
        self.refused("b", SERVER_BUSY)
        had[0] = 60
        self.pass_(1)
        self.client("b")
        self.assertNotIn("memory_high_watermark", self.broker.alarms.active)
        self.assertEqual(self.counted("memory"), 2)

    def test_memoryUnknown(self) -> None:
        """
        Where the system does not say how much there is, nothing is refused.
        """
        self.broker.memory.used, self.broker.memory.allowed = (lambda: 90), (lambda: 0)
        self.pass_(1)
        self.client("a")


class ExpiryTests(LimitsTestCase):
    """
    For how long a client's session and will may wait.
    """

    def test_sessionExpiry(self) -> None:
        """
        A longer time than is allowed is shortened, and CONNACK tells so (3.2.2.3.2); a shorter one is left alone.
        """
        self.begin(max_session_expiry_interval=50)
        connack = self.peer().connect("a", sessionExpiry=0xFFFFFFFF)
        self.assertIsInstance(connack, Connack)
        assert connack.properties is not None
        self.assertEqual(connack.properties.sessionExpiry, 50)
        connack = self.peer().connect("b", sessionExpiry=40)
        assert connack.properties is not None
        self.assertIsNone(connack.properties.sessionExpiry)
        self.assertEqual(self.broker.sessions["a"].expiryInterval, 50)
        self.assertEqual(self.counted("session_expiry"), 1)

    def test_atDisconnect(self) -> None:
        """
        DISCONNECT can't ask for more either.
        """
        self.begin(max_session_expiry_interval=50)
        self.client("a", sessionExpiry=10).send(Disconnect(0, propertiesOf(sessionExpiry=1000)))
        self.assertEqual(self.broker.sessions["a"].expiryInterval, 50)

    def test_willDelay(self) -> None:
        """
        A will waits no longer than it may.
        """
        self.begin(max_will_delay=10)
        watcher = self.client("watcher")
        watcher.subscribe("w")
        self.client("a", sessionExpiry=1000, will=willOf(b"gone", 500)).lose()
        self.pass_(9, watcher)
        self.assertEqual(watcher.payloads(), [])
        self.pass_(2, watcher)
        self.assertEqual(watcher.payloads(), [b"gone"])


class WillLimitTests(LimitsTestCase):
    """
    How many wills there may be, and of how many bytes.
    """

    def test_number(self) -> None:
        """
        Wills of clients that are here and of those that are gone count alike; who has none comes in.
        """
        self.limit(broker={"max_wills": 2})
        self.client("a", sessionExpiry=100, will=willOf(b"1", 50)).lose()
        self.client("b", will=willOf(b"2"))
        self.refused("c", QUOTA_EXCEEDED, will=willOf(b"3"))
        self.client("d")
        self.assertEqual((self.counted("wills"), self.alarmed("wills")), (1, True))
        self.client("a", cleanStart=False)
        self.client("c", will=willOf(b"3"))

    def test_bytes(self) -> None:
        """
        Nor do they have more bytes together than they may.
        """
        self.limit(broker={"max_will_bytes": 10_000})
        self.client("a", will=willOf(b"x" * 9_000))
        self.refused("b", QUOTA_EXCEEDED, will=willOf(b"x" * 1_000))
        self.client("c", will=willOf(b"x" * 900))

    def test_allIsGivenBack(self) -> None:
        """
        Whatever happens to a will, in the end it counts for nothing.
        """
        for ending in ("disconnect", "lose"):
            peer = self.client("a", will=willOf(b"1"))
            getattr(peer, ending)()
            peer = self.client("b", sessionExpiry=100, will=willOf(b"1", 5))
            getattr(peer, ending)()
        self.client("c", sessionExpiry=100, will=willOf(b"1", 50))
        self.client("c", cleanStart=False, sessionExpiry=1)
        self.client("d", sessionExpiry=100, will=willOf(b"1", 50)).lose()
        self.broker.endSession("d")
        self.pass_(10)
        self.assertEqual((self.broker.quotas.wills, self.broker.quotas.willBytes), (0, 0))


class SubscribeLimitTests(LimitsTestCase):
    """
    How many filters a SUBSCRIBE may have.
    """

    def test_filters(self) -> None:
        """
        Those beyond the limit are refused, each with its reason code; the others are subscribed.
        """
        self.begin(max_subscribe_filters=3)
        for version, refusal in ((5, QUOTA_EXCEEDED), (4, 0x80)):
            peer = self.client("a", version)
            requests = [SubscriptionRequest(f"t/{number}", 1) for number in range(5)]
            peer.send(Subscribe(1, requests))
            self.assertEqual(peer.expect(Suback).reasons, [1, 1, 1, refusal, refusal])
        self.assertEqual(self.counted("filters"), 2)


class QueueLimitTests(LimitsTestCase):
    """
    Reports about messages that find no room.
    """

    def test_alarmWhileItGoesOn(self) -> None:
        """
        As long as a queue loses messages, there is an alarm that names the session; when that is over for a minute, it
        ends. Each message is counted and told.
        """
        self.begin(max_mqueue_len=2)
        dropped = self.hook("message.dropped", None)
        slow = self.client("slow", sessionExpiry=1000)
        slow.subscribe("t")
        slow.lose()
        for _ in range(70):
            self.broker.publish(Message("t", b"x", 1))
            self.pass_(1)
        alarm = self.broker.alarms.active["limit_queue"]
        self.assertIn("'slow'", alarm.summary)
        self.assertEqual(alarm.times, 1)
        self.assertEqual((self.counted("queue"), len(dropped)), (68, 68))
        self.pass_(55)
        self.assertTrue(self.alarmed("queue"))
        self.pass_(10)
        self.assertFalse(self.alarmed("queue"))


class RetainedLimitTests(LimitsTestCase):
    """
    How many retained messages there may be, and of how many bytes.
    """

    def test_bytes(self) -> None:
        """
        A retained message for which there is no room goes on as an ordinary message; one that replaces a larger one is
        retained.
        """
        self.broker.retained.limits = self.broker.retained.limits.__class__(max_retained_bytes=1000)
        for topic, size in (("a", 600), ("b", 500), ("b", 400), ("a", 601), ("a", 300)):
            self.broker.publish(Message(topic, b"x" * size, retain=True))
        kept = {topic: len(self.broker.retained.get(topic).payload) for topic in ("a", "b")}  # type: ignore[union-attr]  # else the test fails
        self.assertEqual(kept, {"a": 300, "b": 400})
        self.assertEqual((self.counted("retained"), self.alarmed("retained")), (2, True))

    def test_payload(self) -> None:
        """
        One that is too large by itself is counted, and needs nobody to act.
        """
        self.broker.retained.limits = self.broker.retained.limits.__class__(max_payload_size=10)
        self.broker.publish(Message("a", b"x" * 11, retain=True))
        self.assertEqual((self.counted("retained_payload"), len(self.broker.alarms.active)), (1, 0))
