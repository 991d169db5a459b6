"""
Bans, clients that flap, and clients for whom too much waits.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from twisted_mqtt.base.dates import Dates
from twisted_mqtt.broker import flapping
from twisted_mqtt.broker.banrecord import Ban
from twisted_mqtt.broker.bans import Bans
from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.broker.flapping import Flapping
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import Connect, Disconnect, Subscribe, SubscriptionRequest
from twisted_mqtt.mqtt.protocol import MQTTFactory, MQTTProtocol
from twisted_mqtt.stores.memory import MemoryStore
from twisted_mqtt.testing.broker import connectTransport, makeBroker

ACCEPTED = b"\x20\x03\x00\x00"
REFUSED = b"\x20\x03\x00\x8a"


class BansTests(SynchronousTestCase):
    """
    Tests for L{Bans}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.records = MemoryStore().table("bans").records(Ban)
        self.bans = Bans(self.records, self.clock.seconds, Dates(self.clock.seconds))

    def kept(self) -> set[tuple[str, str]]:
        """
        Kinds and names of those that are kept.
        """
        return {(ban.kind, ban.who) for _, ban in self.records.items()}

    def test_entry(self) -> None:
        """
        An entry has all that was said of it, and what was left out.
        """
        ban = self.bans.add("c1", "clientid", "misbehaves", "admin", 1060)
        expected = {"who": "c1", "as": "clientid", "reason": "misbehaves", "by": "admin", "at": 1000, "until": 1060}
        self.assertEqual(ban.asDict(), expected)
        self.assertIs(self.bans.get("clientid", "c1"), ban)
        self.assertIsNone(self.bans.get("username", "c1"))
        self.assertEqual((len(self.bans), self.bans.list()), (1, [ban]))

    def test_kept(self) -> None:
        """
        Bans are added to and removed from the store; those that it holds at the start count.
        """
        self.records.put("username:old", Ban("old", "username", "", "", 1, 0))
        self.bans.load()
        self.bans.add("c1", "clientid")
        self.bans.add("c1", "clientid")
        self.assertEqual(self.kept(), {("username", "old"), ("clientid", "c1")})
        self.assertTrue(self.bans.remove("clientid", "c1"))
        self.assertFalse(self.bans.remove("clientid", "c1"))
        self.assertEqual(self.kept(), {("username", "old")})
        self.assertEqual([ban.who for ban in self.bans.list()], ["old"])

    def test_replacedAgainAndAgain(self) -> None:
        """
        Many bans, each for years, do not make the process grow.
        """
        for number in range(3000):
            self.bans.add("a", "clientid", until=1e9 + number)
        self.assertLess(len(self.bans._ending), 1100)
        self.bans.expire(2e9)
        self.assertEqual(self.bans.list(), [])

    def test_expires(self) -> None:
        """
        Entries end in their time; one that was replaced ends by its new time, or never.
        """
        self.bans.add("a", "clientid", until=1010)
        self.bans.add("b", "clientid", until=1010)
        self.bans.add("b", "clientid", until=1030)
        self.bans.add("c", "clientid", until=1010)
        self.bans.add("c", "clientid")
        self.bans.expire(1009)
        self.assertEqual(len(self.bans), 3)
        self.bans.expire(1010)
        self.assertEqual({ban.who for ban in self.bans.list()}, {"b", "c"})
        self.bans.expire(5000)
        self.assertEqual({ban.who for ban in self.bans.list()}, {"c"})
        self.assertEqual(self.kept(), {("clientid", "c")})

    def test_nonsense(self) -> None:
        """
        A ban that would keep nobody out is refused.
        """
        nowhere: Any = "address"
        wrong = [("c", nowhere), ("", "clientid"), ("10.0.0.300", "peerhost"), ("10.0.0.0/8", "peerhost")]
        for who, kind in [*wrong, ("x" * 70_000, "clientid")]:
            with self.assertRaises(ValueError):
                self.bans.add(who, kind)
        self.assertEqual((len(self.bans), self.kept()), (0, set()))

    def test_addresses(self) -> None:
        """
        An address is the same however it is written.
        """
        self.bans.add("2001:DB8:0::1", "peerhost")
        self.bans.add("::ffff:192.0.2.7", "peerhost")
        self.assertEqual([ban.who for ban in self.bans.list()], ["2001:db8::1", "192.0.2.7"])
        self.assertTrue(self.bans.remove("peerhost", "2001:db8::0:1"))


def enter(factory: MQTTFactory, clientID: str = "c", username: str | None = None) -> tuple[MQTTProtocol, Any]:
    """
    A client of MQTT 5 that has sent CONNECT.
    """
    protocol, transport = connectTransport(factory)
    protocol.dataReceived(encode(Connect("MQTT", 5, clientID, True, 0, username, None, None, None), 5))
    return protocol, transport


def answer(transport: StringTransport) -> bytes:
    """
    The first four bytes of CONNACK, with its length left out: session present and reason code among them.
    """
    value = transport.value()
    return value[:1] + b"\x03" + value[2:4]


class BannedTests(SynchronousTestCase):
    """
    Tests for clients that are banned.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)

    def start(self, **zone: object) -> tuple[Broker, MQTTFactory]:
        """
        A broker.
        """
        broker, factory = makeBroker(self.clock, **zone)
        self.addCleanup(broker.stopService)
        return broker, factory

    def answered(self, factory: MQTTFactory, clientID: str = "c", username: str | None = None) -> bytes:
        """
        Get the answer to a client.
        """
        _, transport = enter(factory, clientID, username)
        self.clock.advance(0)
        return answer(transport)

    def test_kinds(self) -> None:
        """
        Each kind of ban keeps out those that it names (0x8A), and is counted.
        """
        broker, factory = self.start()
        self.assertEqual(self.answered(factory), ACCEPTED)
        broker.bans.add("bad", "clientid")
        broker.bans.add("eve", "username")
        self.assertEqual(self.answered(factory, "bad"), REFUSED)
        self.assertEqual(self.answered(factory, "good", "eve"), REFUSED)
        self.assertEqual(self.answered(factory, "good", "bob"), ACCEPTED)
        broker.bans.add("127.0.0.1", "peerhost")
        self.assertEqual(self.answered(factory, "good", "bob"), REFUSED)
        self.assertEqual(broker.traffic.total("connections_refused_banned"), 3)

    def test_olderVersions(self) -> None:
        """
        Below version 5 such a client is "not authorized".
        """
        broker, factory = self.start()
        broker.bans.add("bad", "clientid")
        protocol, transport = connectTransport(factory)
        protocol.dataReceived(encode(Connect("MQTT", 4, "bad", True, 0, None, None, None, None), 4))
        self.assertEqual(transport.value(), b"\x20\x02\x00\x05")
        self.assertTrue(transport.disconnecting)

    def test_notAsked(self) -> None:
        """
        A zone may let them in all the same.
        """
        broker, factory = self.start(enable_ban=False)
        broker.bans.add("bad", "clientid")
        self.assertEqual(self.answered(factory, "bad"), ACCEPTED)

    def test_ends(self) -> None:
        """
        When a ban ends, its client comes in, and the entry goes.
        """
        broker, factory = self.start()
        broker.bans.add("bad", "clientid", until=1000.5)
        self.assertEqual(self.answered(factory, "bad"), REFUSED)
        self.clock.advance(0.6)
        self.assertEqual(len(broker.bans), 1)
        self.assertEqual(self.answered(factory, "bad"), ACCEPTED)
        self.clock.advance(1)
        self.assertEqual(len(broker.bans), 0)


def watcherOf(broker: Broker) -> Flapping:
    """
    A watcher for clients of a broker.
    """
    return Flapping(
        broker.settings, broker.hooks, broker.bans, broker.registry.sendAway, broker.clock.seconds, broker.dates
    )


class FlappingTests(SynchronousTestCase):
    """
    Tests for L{Flapping}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.broker, self.factory = makeBroker(self.clock, enable_flapping_detect=True)
        self.addCleanup(self.broker.stopService)
        self.policy("3, 10s, 60s")
        self.flapping = watcherOf(self.broker)
        self.flapping.configure(self.broker.settings)
        self.addCleanup(self.flapping.stop)

    def policy(self, text: str, detect: bool = True) -> None:
        """
        Go by a policy.
        """
        zone = {"external": {"enable_flapping_detect": detect}}
        self.broker.configure(settingsFrom({"flapping_detect_policy": text, "zone": zone}))

    def flap(self, clientID: str = "c", username: str | None = None) -> bytes:
        """
        Connect and disconnect.
        """
        protocol, transport = enter(self.factory, clientID, username)
        self.clock.advance(0)
        protocol.dataReceived(encode(Disconnect(), 5))
        self.clock.advance(0)
        return answer(transport)

    def test_banned(self) -> None:
        """
        A client that connects more often than the threshold is told so, sent away, and banned for a while.
        """
        for _ in range(3):
            self.assertEqual(self.flap(), ACCEPTED)
            self.clock.advance(2)
        with capturedLogs() as events:
            protocol, transport = enter(self.factory)
            self.clock.advance(0)
        self.assertEqual(answer(transport), ACCEPTED)
        self.assertIn(b"\x9f", transport.value())  # connection rate exceeded
        self.assertTrue(transport.disconnecting)
        [ban] = self.broker.bans.list()
        self.assertEqual((ban.who, ban.kind, ban.by), ("c", "clientid", "flapping_detect"))
        self.assertEqual((ban.at, ban.until), (1006, 1066))
        self.assertEqual(ban.reason, "connected more than 3 times within 10 s")
        self.assertEqual(len([event for event in events if "banned" in event["log_format"]]), 1)
        self.assertEqual(self.flap(), REFUSED)
        self.clock.pump([10] * 6)
        self.assertEqual(self.flap(), ACCEPTED)

    def test_window(self) -> None:
        """
        The connections of the last seconds count, wherever the window is laid.
        """
        for pause in (0, 8, 1, 2, 9, 1):
            self.clock.advance(pause)
            self.assertEqual(self.flap(), ACCEPTED)
        self.assertEqual(len(self.broker.bans), 0)
        # The last three stood within ten seconds of this one.
        self.clock.advance(0.5)
        self.flap()
        self.flap()
        self.assertEqual(len(self.broker.bans), 1)

    def test_onlyThatClient(self) -> None:
        """
        Others are not concerned.
        """
        for number in range(20):
            self.assertEqual(self.flap(f"client{number}"), ACCEPTED)
        self.assertEqual(len(self.broker.bans), 0)

    def test_refusedOnesDoNotCount(self) -> None:
        """
        Nobody can have a client banned by trying to get in under its name.
        """
        self.broker.bans.add("eve", "username")
        for _ in range(10):
            self.assertEqual(self.flap("c", "eve"), REFUSED)
        self.assertEqual(len(self.broker.bans), 1)
        self.assertEqual(self.flap(), ACCEPTED)

    def test_switchedOff(self) -> None:
        """
        Where no zone wants it, nobody is watched, and the hook point is empty.
        """
        self.flap()
        self.policy("3, 10s, 60s", detect=False)
        self.flapping.configure(self.broker.settings)
        self.assertEqual(len(self.flapping), 0)
        self.assertEqual(len(self.broker.hooks.clientConnected.callbacks), 0)
        self.policy("3, 10s, 60s")
        self.flapping.configure(self.broker.settings)
        self.flapping.configure(self.broker.settings)
        self.assertEqual(len(self.broker.hooks.clientConnected.callbacks), 1)

    def test_forgets(self) -> None:
        """
        A client that has not connected for the time of the window is forgotten when others connect.
        """
        for number in range(5):
            self.flap(f"client{number}")
        self.assertEqual(len(self.flapping), 5)
        self.clock.advance(11)
        self.flap("late")
        self.assertEqual(len(self.flapping), 1)


def test_flappingIsBounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    However many clients connect, those are remembered that have connected last.
    """
    monkeypatch.setattr(flapping, "MOST_WATCHED", 3)
    clock = Clock()
    clock.advance(1000)
    broker, factory = makeBroker(clock, enable_flapping_detect=True)
    watching = watcherOf(broker)
    watching.configure(broker.settings)
    for clientID in ("a", "b", "c", "a", "d"):
        enter(factory, clientID)
    assert sorted(watching._connected) == ["a", "c", "d"]
    watching.stop()
    broker.stopService()


class BusyTransport(StringTransport):
    """
    A transport that has so many bytes to send yet.
    """

    pendingBytes = 0
    aborted = False

    def abortConnection(self) -> None:
        """
        Note it.
        """
        self.aborted = True


class OverloadTests(SynchronousTestCase):
    """
    Tests for C{force_shutdown_policy}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.broker, factory = makeBroker(self.clock, force_shutdown_policy="5|1KB")
        self.addCleanup(self.broker.stopService)
        protocol = factory.buildProtocol(None)
        assert protocol is not None
        self.transport = BusyTransport()
        protocol.makeConnection(self.transport)
        subscribe = encode(Subscribe(1, [SubscriptionRequest("t", 1)]), 5)
        protocol.dataReceived(encode(Connect("MQTT", 5, "c", True, 0, None, None, None, None), 5) + subscribe)
        self.clock.advance(0)
        self.protocol = protocol
        self.transport.clear()

    def test_bytes(self) -> None:
        """
        A client that leaves too many bytes waiting is cut off.
        """
        self.transport.pendingBytes = 1023
        self.clock.advance(1)
        self.assertIn("c", self.broker.clients)
        self.transport.pendingBytes = 1024
        self.clock.advance(1)
        self.assertNotIn("c", self.broker.clients)
        self.assertTrue(self.transport.aborted)
        self.assertEqual(self.broker.traffic.total("connections_closed_overload"), 1)

    def test_queue(self) -> None:
        """
        A client for whom too many messages wait is told so (0x97) and sent away.
        """
        limit = self.broker.settings.resolveZone("external").max_inflight
        for _ in range(limit + 4):
            self.broker.publish(Message("t", b"", 1))
        self.clock.advance(1)
        self.assertIn("c", self.broker.clients)
        self.broker.publish(Message("t", b"", 1))
        self.clock.advance(1)
        self.assertNotIn("c", self.broker.clients)
        self.assertIn(b"\x97", self.transport.value())
        self.assertTrue(self.transport.disconnecting)
        self.assertFalse(self.transport.aborted)

    def test_noPolicy(self) -> None:
        """
        Without a policy nobody is sent away, from the moment on when it is taken back.
        """
        self.broker.configure(settingsFrom({}))
        self.transport.pendingBytes = 10**9
        self.clock.advance(5)
        self.assertIn("c", self.broker.clients)
