"""
Tests of L{twisted_mqtt.mqtt.protocol}: what waits, for a hook or for the store, and what must not overtake it.
"""

from __future__ import annotations

import itertools
from typing import Any

from twisted.internet.defer import Deferred, succeed

from tests.kits.brokercase import BrokerTestCase
from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.journal import Progress
from twisted_mqtt.core.packets import (
    PINGREQ,
    PUBACK,
    PUBREC,
    SUBACK,
    UNSUBACK,
    Ack,
    Connack,
    Disconnect,
    Ping,
    Publish,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
    Will,
)
from twisted_mqtt.core.reasons import (
    NOT_AUTHORIZED,
    SERVER_UNAVAILABLE,
)
from twisted_mqtt.hooks.verdicts import ALLOW, DENY, STOP
from twisted_mqtt.testing.peer import connectPacket


class ParkingTests(BrokerTestCase):
    """
    While a hook waits, the client waits, and nobody else; order is kept.
    """

    def test_muchWork(self) -> None:
        """
        Much work for what one client has sent in one piece is done in several turns: others are served meanwhile, the
        order is kept, and everything is answered, the DISCONNECT behind it too.
        """
        wide = self.client("wide")
        filters = ["/".join(levels) + "/+" for levels in itertools.product("a+", repeat=12)]
        for first in range(0, len(filters), 1024):
            wide.subscribe(*filters[first : first + 1024])
        for retain in (False, True):
            peer = self.client("busy", will=Will("will", b"no", 0, False, None))
            packets = [
                Publish(f"{'a/' * 12}{number}{retain}", b"%d" % number, 1, retain=retain, packetID=number + 1)
                for number in range(30)
            ]
            peer.protocol.dataReceived(b"".join(encode(each, 5) for each in (*packets, Disconnect(0))))
            # Nothing else runs meanwhile: it is in the middle of it.
            self.assertTrue(self.broker.portions)
            self.assertFalse(peer.transport.reading)
            other = self.client("other")
            other.subscribe("x")
            other.publish("x", b"y")
            self.assertEqual([each.payload for each in other.receive()], [b"y"])
            self.assertEqual([each.packetID for each in peer.receive()], list(range(1, 31)))
            self.assertTrue(peer.lost)
            found = [each for each in wide.receive() if isinstance(each, Publish)]
            self.assertEqual([each.payload for each in found], [b"%d" % number for number in range(30)])
            wide.send(*(Ack(PUBACK, each.packetID) for each in found))
            other.lose()

    def test_lostInTheMiddle(self) -> None:
        """
        A client that goes while the rest of its input waits for its turn leaves nothing behind.
        """
        filters = ["/".join(levels) + "/+" for levels in itertools.product("a+", repeat=12)]
        wide = self.client("wide")
        wide.subscribe(*filters)
        peer = self.client("busy")
        packets = [Publish("a/" * 12 + str(number), b"x", 1, packetID=number + 1) for number in range(30)]
        peer.protocol.dataReceived(b"".join(encode(each, 5) for each in packets))
        self.assertTrue(self.broker.portions)
        peer.lose()
        self.clock.advance(0)
        self.assertFalse(self.broker.portions)

    def test_everyFoldPointKeepsOrder(self) -> None:
        """
        A hook that waits, at any point that a packet passes, holds up what its client has sent after, which then
        follows in order, but for pings; the client is not read from meanwhile, and others are served.
        """
        script = [
            Subscribe(1, [SubscriptionRequest("x", 1)]),
            Publish("x", b"1", 1, packetID=2),
            Unsubscribe(3, ["x"]),
            Publish("x", b"2", 2, packetID=4),
            Ping(PINGREQ),
        ]
        wanted = [SUBACK, 3, PUBACK, UNSUBACK, PUBREC]
        for point in (
            "client.subscribe",
            "client.check_acl",
            "message.publish",
            "message.delivered",
            "client.unsubscribe",
        ):
            self.begin()
            slow: Deferred[Any] = Deferred()
            other = self.client("other")
            peer = self.client()
            self.hook(point, slow, None)
            for packet in script:
                peer.send(packet)
            before = [each.type for each in peer.receive() if each.type != 13]
            self.assertTrue(len(before) < len(wanted), point)
            if point != "message.delivered":
                self.assertFalse(peer.transport.reading, point)
            other.send(Ping(PINGREQ))
            self.assertEqual(len(other.receive()), 1, point)
            slow.callback(None)
            after = [each.type for each in peer.receive() if each.type != 13]
            found = before + after
            if point == "message.delivered":
                # Only the delivery waits: acknowledgements don't.
                found = [each for each in found if each != 3]
                self.assertEqual(found, [each for each in wanted if each != 3])
                self.assertIn(3, after)
            else:
                self.assertEqual(found, wanted, point)
            self.assertTrue(peer.transport.reading, point)

    def test_connectPoints(self) -> None:
        """
        The points that a CONNECT passes hold it up, and what came with it.
        """
        for point in ("client.connect", "client.authenticate", "client.connack", "client.connected"):
            self.begin()
            slow: Deferred[Any] = Deferred()
            self.hook(point, slow)
            peer = self.peer()
            peer.send(connectPacket(), Subscribe(1, [SubscriptionRequest("x", 1)]), Publish("x", b"1", 1, packetID=2))
            found: list[Any] = peer.receive()
            self.assertEqual(len(found), 1 if point == "client.connected" else 0, point)
            slow.callback(None)
            found += peer.receive()
            kinds = [each.type for each in found]
            self.assertEqual(sorted(kinds), [2, 3, 4, 9], point)
            self.assertEqual(kinds[0], 2, point)

    def test_willWaitsForItsRule(self) -> None:
        """
        The access rules are asked about a will before its client is let in.
        """
        slow: Deferred[Any] = Deferred()
        calls = self.hook("client.check_acl", slow)
        peer = self.peer()
        peer.send(connectPacket(will=Will("w", b"", 0, False, None)))
        peer.expectNothing()
        self.assertEqual([call[1:3] for call in calls], [("publish", "w")])
        slow.callback(STOP(DENY))
        peer.expectClosed(NOT_AUTHORIZED)

    def test_hookTimeout(self) -> None:
        """
        A hook that does not answer in time has said nothing; one that decides has refused.
        """
        self.begin(hook_timeout=3)
        self.hook("message.publish", Deferred(), None)
        self.hook("client.check_acl", None, Deferred())
        peer = self.client()
        peer.publish("x", b"", 1)
        peer.expectNothing()
        self.pass_(4, peer)
        peer.expectAck(PUBACK, 1, 0x10)
        peer.publish("y", b"", 1)
        self.pass_(4, peer)
        peer.expectAck(PUBACK, 1, NOT_AUTHORIZED)
        self.assertEqual(len(self.flushLoggedErrors()), 2)

    def test_hookFailure(self) -> None:
        """
        A hook that fails is passed over, but one that decides has refused; the connection goes on.
        """

        def fail(*args: Any) -> Any:
            failing: Deferred[Any] = Deferred()
            failing.errback(ValueError("no"))
            return failing

        peer = self.client()
        for point in ("client.subscribe", "client.unsubscribe", "message.publish", "message.delivered"):
            self.broker.hooks[point].add(fail)
        self.assertEqual(peer.subscribe("x"), [2])
        peer.publish("x", b"1", 1)
        self.assertEqual([each.type for each in peer.receive()], [3, 4])
        self.broker.hooks["client.check_acl"].add(fail)
        peer.publish("x", b"2", 1)
        peer.expectAck(PUBACK, 1, NOT_AUTHORIZED)
        self.broker.hooks["client.authenticate"].add(fail)
        refused = self.peer()
        refused.send(connectPacket("b"))
        refused.expectClosed(SERVER_UNAVAILABLE)
        self.assertTrue(self.flushLoggedErrors(ValueError))

    def test_clientGoesWhileAHookWaits(self) -> None:
        """
        If the client goes while a hook waits, at any point, nothing happens when the hook answers, and its session and
        its name are free.
        """
        packets: dict[str, Any] = {
            "client.subscribe": Subscribe(1, [SubscriptionRequest("x", 1)]),
            "client.check_acl": Publish("x", b"1", 1, packetID=2),
            "message.publish": Publish("x", b"1", 1, packetID=2),
            "client.unsubscribe": Unsubscribe(3, ["x"]),
            "client.connect": None,
            "client.authenticate": None,
            "client.connack": None,
            "client.connected": None,
        }
        for point, packet in packets.items():
            for abruptly in (True, False):
                self.begin()
                slow: Deferred[Any] = Deferred()
                cancelled: list[Any] = []
                slow.addErrback(cancelled.append)
                watcher = self.client("watcher")
                watcher.subscribe("x")
                peer = self.peer()
                if packet is None:
                    self.hook(point, slow, None)
                    peer.send(connectPacket())
                else:
                    peer.connect()
                    self.hook(point, slow, None)
                    peer.send(packet)
                peer.lose(abruptly)
                self.assertEqual(len(cancelled), 1, point)
                self.pass_(1)
                self.assertEqual(list(self.broker.clients), ["watcher"], point)
                self.assertEqual(list(self.broker.sessions), ["watcher"], point)
                watcher.expectNothing()
                again = self.peer()
                again.send(connectPacket())
                self.assertEqual(again.expect(Connack).reason, 0, point)

    def test_takenOverWhileAHookWaits(self) -> None:
        """
        A client whose hook waits can be taken over; its answer then does nothing.
        """
        for point in ("client.connack", "client.connected", "message.publish"):
            self.begin()
            slow: Deferred[Any] = Deferred()
            self.hook(point, slow, None)
            first = self.peer()
            first.send(connectPacket(), Publish("x", b"1", 1, packetID=2))
            first.receive()
            second = self.peer()
            second.send(connectPacket())
            self.assertEqual(second.expect(Connack).reason, 0, point)
            first.receive()
            self.assertTrue(first.lost, point)
            if not slow.called:
                slow.callback(None)
            second.expectNothing()
            self.assertEqual(list(self.broker.clients), ["client"])
            second.send(Ping(PINGREQ))
            self.assertEqual(len(second.receive()), 1)

    def test_thousandsOfAnswersThatAreThere(self) -> None:
        """
        Hooks that answer each of thousands of packets with a Deferred that has fired cost no stack.
        """
        self.begin(max_awaiting_rel=0)
        self.broker.hooks["message.publish"].add(lambda message: succeed(None))
        self.broker.hooks["client.check_acl"].add(lambda *args: succeed(STOP(ALLOW)))
        peer = self.client()
        slow: Deferred[Any] = Deferred()
        self.hook("client.subscribe", slow)
        publishes = [Publish(f"x/{number}", b"", 1, packetID=number + 1) for number in range(3000)]
        peer.send(Subscribe(1, [SubscriptionRequest("y", 0)]), *publishes)
        peer.expectNothing()
        slow.callback(None)
        self.assertEqual([getattr(each, "packetID", 0) for each in peer.receive()], [1, *range(1, 3001)])

    def test_manyThatWait(self) -> None:
        """
        Hooks that make each of thousands of packets wait cost no stack either, whenever they answer.
        """
        self.begin(max_awaiting_rel=0)
        waiting: list[Deferred[Any]] = []

        def wait(message: Any) -> Deferred[Any]:
            waiting.append(Deferred())
            return waiting[-1]

        self.broker.hooks["message.publish"].add(wait)
        peer = self.client()
        peer.send(*(Publish("x", b"", 1, packetID=number + 1) for number in range(2000)))
        for number in range(2000):
            self.assertEqual(len(waiting), number + 1)
            waiting[number].callback(None)
        self.assertEqual([getattr(each, "packetID", 0) for each in peer.receive()], list(range(1, 2001)))

    def test_errorAfterWhatWaits(self) -> None:
        """
        A fault in the stream is answered after what came before it, though that had to wait.
        """
        slow: Deferred[Any] = Deferred()
        self.hook("message.publish", slow)
        peer = self.client()
        peer.send(Publish("x", b"", 1, packetID=1), b"\x00\x00")
        peer.expectNothing()
        slow.callback(None)
        self.assertEqual([each.type for each in peer.receive()], [4, 14])
        self.assertTrue(peer.lost)


class StoreTests(BrokerTestCase):
    """
    With a store that takes its time.
    """

    def setUp(self) -> None:
        """
        Make a store that writes when told.
        """
        super().setUp()
        self.progress: Progress = self.broker.router.progress

    def commit(self) -> None:
        """
        All that was asked for is written.
        """
        self.progress.committed = self.progress.sequence
        self.broker.router.committed()

    def test_connackFirst(self) -> None:
        """
        While the CONNACK waits for the store, nothing else is sent, though messages wait for the client and it asks.
        """
        peer = self.client(cleanStart=False, sessionExpiry=100)
        peer.subscribe("x")
        peer.lose()
        self.client("other").publish("x", b"1", 1)
        # As the store does when it is asked to keep the session.
        self.broker.hooks["session.resumed"].add(self._write)
        peer = self.peer()
        peer.send(connectPacket(cleanStart=False, sessionExpiry=100), Ping(PINGREQ))
        self.client("third").publish("x", b"2", 1)
        peer.expectNothing()
        self.commit()
        self.assertEqual([each.type for each in peer.receive()], [2, 3, 3, 13])

    def test_goesBeforeConnack(self) -> None:
        """
        A client that goes before its CONNACK could be sent leaves nothing behind.
        """
        self.broker.hooks["session.created"].add(self._write)
        peer = self.peer()
        peer.send(connectPacket())
        peer.expectNothing()
        peer.lose()
        self.commit()
        self.assertEqual((self.broker.clients, self.broker.sessions), ({}, {}))
        self.assertEqual(self.broker.traffic.total("client_connected"), 0)

    def test_broken(self) -> None:
        """
        While the store can't keep anything, QoS 1 and 2 are refused (0x97, or the close below MQTT 5); QoS 0 goes on.
        """
        old, new, watcher = self.client("old", 4), self.client("new"), self.client("watcher")
        watcher.subscribe("#")
        self.progress.broken = True
        new.publish("x", b"0").publish("x", b"1", 1).publish("x", b"2", 2, 2)
        new.expectAck(PUBACK, 1, 0x97)
        new.expectAck(PUBREC, 2, 0x97)
        old.publish("x", b"3", 1)
        old.expectClosed()
        self.assertEqual(watcher.payloads(), [b"0"])

    def _write(self, *args: Any) -> None:
        self.progress.sequence += 1
