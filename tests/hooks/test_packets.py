"""
The packet that callbacks are called for, through a broker in memory.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.kits.brokercase import BrokerTestCase
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import Connack, Publish, SubscriptionRequest, Unsubscribe, Will
from twisted_mqtt.hooks.packets import PacketContext, thisPacket
from twisted_mqtt.hooks.verdicts import OK, Verdict
from twisted_mqtt.testing.peer import connectPacket, propertiesOf


class PacketTests(BrokerTestCase):
    """
    Tests for L{thisPacket} in callbacks.
    """

    def note(self, *points: str) -> list[tuple[str, PacketContext | None]]:
        """
        Note the packet at these points.
        """
        seen: list[tuple[str, PacketContext | None]] = []
        for point in points:
            self.broker.hooks[point].add(lambda *args, point=point: seen.append((point, thisPacket())))
        return seen

    def test_publish(self) -> None:
        """
        All points of one PUBLISH share an object that tells what the client has sent; the next one has another.
        """
        self.begin(mountpoint="m/")
        client = self.client()
        seen = self.note("client.check_acl", "message.publish")
        client.publish("a", b"1", 1, retain=True, contentType="text")
        client.publish("b", b"2")
        packets = [packet for _, packet in seen]
        assert packets[0] is not None and packets[2] is not None
        self.assertEqual([point for point, _ in seen], ["client.check_acl", "message.publish"] * 2)
        self.assertIs(packets[0], packets[1])
        self.assertIsNot(packets[0], packets[2])
        first = packets[0]
        self.assertEqual(
            (first.kind, first.topic, first.payload, first.qos, first.retain), ("publish", "a", b"1", 1, True)
        )
        assert first.properties is not None
        self.assertEqual(first.properties.contentType, "text")
        self.assertIs(first.client, self.broker.clients["client"])
        self.assertIsNone(thisPacket())

    def test_keepsAnAnswer(self) -> None:
        """
        A value that a callback keeps at one point is there at the next one, though others came between.
        """
        slow: dict[str, Deferred[Any]] = {"a": Deferred(), "b": Deferred()}
        key = object()

        async def judge(client: Any, access: str, topic: str, verdict: Verdict) -> None:
            packet = thisPacket()
            await slow[topic]
            assert packet is thisPacket() is not None
            packet.answers[key] = topic.encode()

        def change(message: Message) -> Message:
            packet = thisPacket()
            assert packet is not None
            return message.replace(payload=packet.answers[key])

        self.broker.hooks.clientCheckAcl.add(judge)
        self.broker.hooks.messagePublish.add(change)
        watcher = self.client("watcher")
        self.broker.hooks.clientCheckAcl.remove(judge)
        watcher.subscribe("#")
        self.broker.hooks.clientCheckAcl.add(judge)
        one, two = self.client("one"), self.client("two")
        one.publish("a", b"")
        two.publish("b", b"")
        slow["b"].callback(None)
        slow["a"].callback(None)
        self.assertEqual(watcher.payloads(), [b"b", b"a"])

    def test_chainThatWaits(self) -> None:
        """
        Callbacks after one that has waited are called for the same packet, whatever others are under way.
        """
        slow: list[Deferred[Any]] = []

        def wait(*args: Any) -> Deferred[Any]:
            slow.append(Deferred())
            return slow[-1]

        self.broker.hooks.clientCheckAcl.add(wait, priority=1)
        seen = self.note("client.check_acl")
        one, two = self.client("one"), self.client("two")
        one.publish("a", b"")
        two.publish("b", b"")
        slow[0].callback(None)
        slow[1].callback(None)
        self.assertEqual([packet and packet.topic for _, packet in seen], ["a", "b"])

    def test_subscribe(self) -> None:
        """
        All points of one SUBSCRIBE share one object; C{client.check_acl} finds there which subscription it is about.
        """
        client = self.client()
        seen: list[Any] = []
        self.broker.hooks.clientCheckAcl.add(
            lambda *args: seen.append((packet := thisPacket(), packet and packet.request, packet and packet.qos))
        )
        others = self.note("client.subscribe", "session.subscribed")
        first, second = SubscriptionRequest("a/#", 1, noLocal=True), SubscriptionRequest("$share/g/b", 2)
        client.subscribe(first, second)
        self.assertEqual([qos for _, _, qos in seen], [1, 2])
        self.assertEqual([request.topicFilter for _, request, _ in seen], ["a/#", "$share/g/b"])
        self.assertTrue(seen[0][1].noLocal)
        self.assertEqual(len({id(packet) for packet, _, _ in seen} | {id(packet) for _, packet in others}), 1)
        self.assertEqual(
            [point for point, _ in others], ["client.subscribe", "session.subscribed", "session.subscribed"]
        )

    def test_unsubscribe(self) -> None:
        """
        An UNSUBSCRIBE is one, too.
        """
        client = self.client()
        client.subscribe("a")
        seen = self.note("client.unsubscribe")
        client.send(Unsubscribe(7, ["a"]))
        ((_, packet),) = seen
        assert packet is not None
        self.assertEqual(packet.kind, "unsubscribe")

    def test_connect(self) -> None:
        """
        All points of one CONNECT share one object; its will is a packet of its own.
        """
        points = ("client.connect", "client.authenticate", "session.created", "client.connack")
        seen = self.note(*points)
        will = self.note("client.check_acl")
        self.client(will=Will("w", b"gone", 1, True, None))
        self.assertEqual([point for point, _ in seen], list(points))
        self.assertEqual(len({id(packet) for _, packet in seen}), 1)
        packet, about = seen[0][1], will[0][1]
        assert packet is not None and about is not None
        self.assertEqual(packet.kind, "connect")
        self.assertEqual(
            (about.kind, about.topic, about.payload, about.qos, about.retain), ("will", "w", b"gone", 1, True)
        )

    def test_messagesOfTheBroker(self) -> None:
        """
        A message that no client has sent comes by no packet, even if a callback publishes it for one.
        """
        seen: list[Any] = []

        def note(message: Message) -> None:
            packet = thisPacket()
            seen.append((message.topic, packet and packet.topic))
            if message.topic == "a":
                self.broker.publish(Message("inner", b""))

        self.broker.hooks.messagePublish.add(note)
        self.client().publish("a", b"")
        self.broker.publish(Message("own", b""))
        self.assertEqual(seen, [("a", "a"), ("inner", None), ("own", None)])

    def test_onBehalfOf(self) -> None:
        """
        A message that is published on behalf of a client is a packet of that client.
        """
        seen = self.note("client.check_acl", "message.publish")
        account = self.broker.account("api", "joe")
        self.broker.publishAs(account, "a", b"1", 1)
        packets = [packet for _, packet in seen]
        assert packets[0] is not None
        self.assertIs(packets[0], packets[1])
        self.assertIs(packets[0].client, account)

    def test_zoneTimeout(self) -> None:
        """
        A callback has the time that the zone of its client allows it, at every point.
        """
        self.begin(hook_timeout=3)
        self.assertEqual(self.broker.hooks.timeout, 3)
        self.broker.hooks.timeout = 100
        client = self.client()
        point = self.broker.hooks.messagePublish
        point.add(lambda message: Deferred())
        client.publish("a", b"", 1)
        client.expectNothing()
        self.clock.advance(2.9)
        client.expectNothing()
        self.clock.advance(0.2)
        self.assertEqual(len(client.receive()), 1)
        self.assertEqual(point.timeouts, 1)
        self.broker.hooks.clientConnack.add(lambda *args: Deferred())
        other = self.peer()
        other.send(connectPacket("other"))
        other.expectNothing()
        self.clock.advance(3)
        other.expect(Connack)
        self.flushLoggedErrors()

    def test_nothingWithoutCallbacks(self) -> None:
        """
        Without a callback no such object is made.
        """
        client = self.client()
        info = self.broker.clients["client"]
        self.assertIsNone(self.broker.publishing.context(info, "a", b"", 0, True, None))
        self.broker.hooks.messageAcked.add(lambda *args: OK)
        self.assertIsNone(self.broker.publishing.context(info, "a", b"", 0, True, None))
        self.broker.hooks.messagePublish.add(lambda message: None)
        self.assertIsNotNone(self.broker.publishing.context(info, "a", b"", 0, True, None))
        client.send(Publish("a", b""))

    def test_shown(self) -> None:
        """
        Its text names the kind, the topic and the client; not what the message says.
        """
        self.client(userProperties=propertiesOf().userProperties)
        text = repr(PacketContext(self.broker.clients["client"], "publish", "a", b"secret"))
        self.assertIn("publish 'a'", text)
        self.assertNotIn("secret", text)
