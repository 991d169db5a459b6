"""
Tests of retained messages on their way to a subscriber.
"""

from __future__ import annotations

from typing import Any

from tests.kits.brokercase import BrokerTestCase
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBACK, Ack, Publish, Unsubscribe


class RetainedTests(BrokerTestCase):
    """
    Retained messages on their way to a subscriber.
    """

    def test_fiftyThousand(self) -> None:
        """
        50,000 of them reach a subscriber to C{#} without further input, though they are several times what may be
        pending at once.
        """
        for number in range(50_000):
            self.broker.retained.put(Message(f"t/{number}", b"x" * 100, 0, True))
        peer = self.client()
        self.assertEqual(peer.subscribe("#"), [2])
        self.assertEqual(len(peer.receive()), 50_000)

    def test_manyExpire(self) -> None:
        """
        Very many that expire at the same time are forgotten in several turns, and none is left.
        """
        now = self.clock.seconds()
        for number in range(500):
            self.broker.retained.put(Message(f"t/{number}", b"x", 0, True, expiresAt=now + 10))
        self.assertEqual(len(self.broker.retained.expire(now + 11, 100)), 100)
        self.pass_(12)
        self.assertEqual(self.broker.retained.topics(), [])

    def test_acknowledged(self) -> None:
        """
        At QoS 1 as fast as the client acknowledges, each once.
        """
        for number in range(2000):
            self.broker.retained.put(Message(f"t/{number}", b"x", 1, True))
        peer = self.client()
        peer.subscribe("#")
        seen: list[str] = []
        for _ in range(100):
            found: list[Any] = peer.receive()
            self.assertTrue(len(found) <= 32)
            seen += [each.topic for each in found]
            peer.send(*(Ack(PUBACK, each.packetID) for each in found))
        self.assertEqual((len(seen), len(set(seen))), (2000, 2000))

    def test_slowReader(self) -> None:
        """
        A subscriber that reads slowly gets them all, in pieces, and what is published meanwhile after them.
        """
        self.begin(max_pending_bytes=20_000)
        for number in range(1000):
            self.broker.retained.put(Message(f"t/{number}", b"x" * 100, 0, True))
        peer = self.client()
        peer.protocol.pauseProducing()
        peer.protocol.dataReceived(b"\x82\x07\x00\x01\x00\x00\x01#\x01")
        self.client("p").publish("new", b"y", 1)
        seen = 0
        for _ in range(200):
            peer.protocol.resumeProducing()
            found: list[Any] = [each for each in peer.receive() if isinstance(each, Publish)]
            seen += len(found)
            peer.protocol.pauseProducing()
            if found and found[-1].topic == "new":
                break
        self.assertEqual(seen, 1001)

    def test_unsubscribed(self) -> None:
        """
        After UNSUBACK no more of them come ([MQTT-3.10.4-2]), but for those in flight.
        """
        for number in range(100):
            self.broker.retained.put(Message(f"t/{number}", b"x", 1, True))
        peer = self.client()
        peer.subscribe("#", qos=1)
        found: list[Any] = peer.receive()
        self.assertEqual(len(found), 32)
        peer.send(Unsubscribe(5, ["#"]))
        peer.receive()
        peer.send(*(Ack(PUBACK, each.packetID) for each in found))
        peer.expectNothing()
