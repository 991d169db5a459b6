"""
Tests of L{twisted_mqtt.broker.wills}, through a broker: when a will is published, and when not.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import Disconnect, Publish, Will
from twisted_mqtt.core.reasons import NOT_AUTHORIZED, QOS_NOT_SUPPORTED, RETAIN_NOT_SUPPORTED, SESSION_TAKEN_OVER
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer, connectPacket, propertiesOf


def will(payload: bytes = b"gone", qos: int = 1, retain: bool = False, topic: str = "will", **properties: Any) -> Will:
    """
    A will.
    """
    return Will(topic, payload, qos, retain, propertiesOf(**properties) if properties else None)


class WillTests(SynchronousTestCase):
    """
    Tests for wills.
    """

    def setUp(self) -> None:
        """
        A broker, and a watcher of all.
        """
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.begin()

    def begin(self, **zone: Any) -> None:
        """
        Begin anew with these zone keys.
        """
        self.broker, self.factory = makeBroker(self.clock, **zone)
        self.watcher = Peer(self.factory, self.clock)
        self.watcher.connect("watcher")
        self.watcher.subscribe("#", qos=0)

    def client(self, version: int = 5, **fields: Any) -> Peer:
        """
        A client with a will.
        """
        peer = Peer(self.factory, self.clock, version)
        peer.connect("client", **{"will": will(), **fields})
        return peer

    def pass_(self, seconds: int) -> None:
        """
        Let time pass.
        """
        for _ in range(seconds):
            self.clock.advance(1)

    def test_manyAtOnce(self) -> None:
        """
        Of very many clients that vanish at the same time each will is published once, some of them in later turns.
        """
        peers = []
        for number in range(100):
            peer = Peer(self.factory, self.clock)
            peer.connect(f"c{number}", will=will(b"%d" % number))
            peers.append(peer)
        for peer in peers:
            peer.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(len(self.broker.clients), 1)
        self.assertTrue(self.broker.wills.behind)
        payloads = [each.payload for each in self.watcher.receive() if isinstance(each, Publish)]
        self.assertEqual(payloads, [b"%d" % number for number in range(100)])
        self.assertFalse(self.broker.wills.behind)

    def test_backBeforeItsWill(self) -> None:
        """
        A client that comes back while its will stands in line has its old will published first, and keeps its new one.
        """
        peers = []
        for number in range(30):
            peer = Peer(self.factory, self.clock)
            peer.connect(f"c{number}", will=will(b"old %d" % number))
            peers.append(peer)
        for peer in peers:
            peer.protocol.connectionLost(Failure(ConnectionLost()))
        again = Peer(self.factory, self.clock)
        again.protocol.dataReceived(encode(connectPacket("c29", will=will(b"new")), 5))
        self.watcher.turn()
        again.lose()
        payloads = [each.payload for each in self.watcher.receive() if isinstance(each, Publish)]
        self.assertEqual(sorted(payloads), sorted([b"old %d" % number for number in range(30)] + [b"new"]))
        self.assertLess(payloads.index(b"old 29"), payloads.index(b"new"))

    def test_stopsWhileBehind(self) -> None:
        """
        Wills whose time has come are published when the broker stops.
        """
        published: list[bytes] = []
        self.broker.hooks.messagePublish.add(lambda message: published.append(message.payload) or message)
        for number in range(50):
            self.broker.wills.publishSoon(f"k{number}", Message("t", b"%d" % number))
        self.broker.wills.stop()
        self.assertEqual(published, [b"%d" % number for number in range(50)])

    def test_withoutAWord(self) -> None:
        """
        Published when the client goes without DISCONNECT, once, in each version.
        """
        for version in (3, 4, 5):
            self.client(version).lose()
            self.assertEqual(self.watcher.payloads(), [b"gone"])

    def test_goodbye(self) -> None:
        """
        Not with a DISCONNECT ([MQTT-3.14.4-3]), but with one that asks for it, or gives another reason than normal.
        """
        for reason, wanted in ((0x00, []), (0x04, [b"gone"]), (0x80, [b"gone"])):
            self.client().disconnect(reason)
            self.assertEqual(self.watcher.payloads(), wanted)

    def test_protocolErrorAndKick(self) -> None:
        """
        Published when the broker closes the connection, whoever is at fault.
        """
        self.client().send(b"\x00\x00")
        self.assertEqual(self.watcher.payloads(), [b"gone"])
        self.client()
        self.broker.kick("client", 0x98)
        self.assertEqual(self.watcher.payloads(), [b"gone"])

    def test_delay(self) -> None:
        """
        A will with a delay waits for it ([MQTT-3.1.3-9]).
        """
        self.client(will=will(willDelay=10), sessionExpiry=100).lose()
        self.pass_(9)
        self.watcher.expectNothing()
        self.pass_(2)
        self.assertEqual(self.watcher.payloads(), [b"gone"])
        self.assertEqual(len(self.broker.wills), 0)

    def test_delayEndsWithTheSession(self) -> None:
        """
        When the session ends before, the will is published then; at once where it ends with the connection.
        """
        self.client(will=will(willDelay=100), sessionExpiry=10).lose()
        self.pass_(8)
        self.watcher.expectNothing()
        self.pass_(4)
        self.assertEqual(self.watcher.payloads(), [b"gone"])
        self.client(will=will(willDelay=100)).lose()
        self.assertEqual(self.watcher.payloads(), [b"gone"])

    def test_backInTime(self) -> None:
        """
        A client that comes back to its session before the delay is over has its will not published.
        """
        self.client(will=will(willDelay=10), sessionExpiry=100).lose()
        self.pass_(5)
        self.client(will=None, sessionExpiry=100, cleanStart=False)
        self.pass_(20)
        self.watcher.expectNothing()
        self.assertEqual(len(self.broker.wills), 0)

    def test_backAndClean(self) -> None:
        """
        One that comes back and starts clean ends the session, so the will is published then.
        """
        self.client(will=will(willDelay=10), sessionExpiry=100).lose()
        self.client(will=None)
        self.assertEqual(self.watcher.payloads(), [b"gone"])
        self.pass_(20)
        self.watcher.expectNothing()

    def test_takenOver(self) -> None:
        """
        Taken over: published where it has no delay or the session ends, not where it has and the session goes on.
        """
        cases: list[tuple[int, int, bool, list[bytes]]] = [
            (0, 100, False, [b"gone"]),
            (10, 100, False, []),
            (10, 100, True, [b"gone"]),
            (0, 0, True, [b"gone"]),
            (10, 0, False, [b"gone"]),
        ]
        for delay, expiry, clean, wanted in cases:
            self.begin()
            old = self.client(will=will(willDelay=delay), sessionExpiry=expiry)
            self.client(will=None, cleanStart=clean)
            old.expectClosed(SESSION_TAKEN_OVER)
            self.pass_(30)
            self.assertEqual(self.watcher.payloads(), wanted, (delay, expiry, clean))

    def test_expiryShortenedByDisconnect(self) -> None:
        """
        A DISCONNECT may say that the session ends now; with 0x04 its will is then not delayed any more.
        """
        peer = self.client(will=will(willDelay=10), sessionExpiry=100)
        peer.send(Disconnect(4, propertiesOf(sessionExpiry=0)))
        self.assertEqual(self.watcher.payloads(), [b"gone"])

    def test_asPublished(self) -> None:
        """
        It has the QoS, RETAIN and properties that it was given, but for the delay, and its time begins when it is
        published.
        """
        self.client(
            will=will(qos=2, retain=True, willDelay=10, messageExpiry=60, contentType="t", userProperties=[("a", "b")]),
            sessionExpiry=100,
        ).lose()
        self.pass_(30)
        late = Peer(self.factory, self.clock)
        late.connect("late")
        late.subscribe("will", qos=2)
        found = late.expect(Publish)
        assert found.properties is not None
        self.assertTrue(30 <= (found.properties.messageExpiry or 0) <= 41)
        self.assertEqual((found.payload, found.qos, found.retain), (b"gone", 2, True))
        self.assertEqual((found.properties.contentType, found.properties.userProperties), ("t", [("a", "b")]))
        self.pass_(60)
        self.assertEqual(len(self.broker.retained), 0)

    def test_refused(self) -> None:
        """
        A will that the client could not publish keeps it out.
        """
        cases = [
            ({"max_qos_allowed": 1}, will(qos=2), QOS_NOT_SUPPORTED),
            ({"retain_available": False}, will(retain=True), RETAIN_NOT_SUPPORTED),
            ({}, will(topic="$SYS/x"), NOT_AUTHORIZED),
        ]
        for zone, refused, reason in cases:
            self.begin(**zone)
            peer = Peer(self.factory, self.clock)
            peer.send(connectPacket(will=refused))
            peer.expectClosed(reason)
            self.watcher.expectNothing()

    def test_behindAMountpoint(self) -> None:
        """
        It is published below the client's mount point; one that does not fit there keeps the client out.
        """
        self.begin(mountpoint="z/%c/")
        self.client().lose()
        self.assertEqual(self.broker.traffic.total("messages_dropped_no_subscriber"), 1)
        peer = Peer(self.factory, self.clock)
        peer.send(connectPacket(will=will(topic="x" * 65_530)))
        peer.expectClosed(0x90)

    def test_slowHook(self) -> None:
        """
        A publish hook that waits holds up the will, and nobody else.
        """
        slow: Deferred[Any] = Deferred()
        self.broker.hooks["message.publish"].add(lambda message: slow if message.topic == "will" else None)
        self.client().lose()
        self.watcher.expectNothing()
        self.client(will=None)
        slow.callback(None)
        self.assertEqual(self.watcher.payloads(), [b"gone"])

    def test_stopping(self) -> None:
        """
        A broker that stops leaves no delayed call behind.
        """
        self.client(will=will(willDelay=10), sessionExpiry=100).lose()
        self.broker.stopService()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
