"""
Tests of watches: messages shown without a subscription.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from tests.kits.brokercase import BrokerTestCase
from tests.kits.disk import Disk
from twisted_mqtt.broker import watching
from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import Publish
from twisted_mqtt.interfaces import IWatch


class WatchTests(BrokerTestCase):
    """
    Messages shown without a subscription.
    """

    def setUp(self) -> None:
        """
        Begin with nobody there, and a list of what a watch is shown.
        """
        super().setUp()
        self.seen: list[Message] = []

    @property
    def topics(self) -> list[str]:
        """
        The topics that were shown.
        """
        return [message.topic for message in self.seen]

    def publish(self, *topics: str, payload: bytes = b"x") -> None:
        """
        Publish, and let nothing have its turn.
        """
        for topic in topics:
            self.broker.publish(Message(topic, payload))

    def test_fastRoad(self) -> None:
        """
        A watch is shown the messages of clients in order, with their publisher, and they take the core's own road.
        """
        self.broker.watch("a/#", self.seen.append)
        client = self.client("c1", username="joe")
        packets = [Publish(f"a/{number}", b"p") for number in range(50)] + [Publish("b", b"p")]
        received = b"".join(encode(packet, 5) for packet in packets)
        left = client.protocol.connection.receive(received, self.clock.seconds())
        self.assertEqual(left, [])
        self.clock.advance(0)
        self.assertEqual(self.topics, [f"a/{number}" for number in range(50)])
        first = self.seen[0]
        self.assertEqual((first.clientID, first.username), ("c1", "joe"))
        self.assertEqual((first.peerHost, first.protocol, first.payload), ("127.0.0.1", "mqtt", b"p"))

    def test_noSubscriber(self) -> None:
        """
        A watch is in no figure, and a message that it alone sees had no matching subscribers.
        """
        before = self.broker.stats()
        self.broker.watch("a", self.seen.append)
        self.assertEqual(self.broker.stats(), before)
        dropped = self.hook("message.dropped", None)
        client = self.client()
        client.publish("a", b"", 1, 1)
        client.expectAck(4, 1, 0x10)
        self.assertEqual(len(dropped), 1)
        self.assertEqual(self.topics, ["a"])

    def test_overlapping(self) -> None:
        """
        A message that matches several filters of a watch is shown once, and once to each watch.
        """
        others: list[Message] = []
        self.broker.watch(["a/+", "+/b", "a/b", "a/b"], self.seen.append)
        self.broker.watch("#", others.append)
        self.publish("a/b", "x/b", "x/y")
        self.clock.advance(0)
        self.assertEqual(self.topics, ["a/b", "x/b"])
        self.assertEqual([message.topic for message in others], ["a/b", "x/b", "x/y"])

    def test_system(self) -> None:
        """
        Topics of the broker are shown to who names them only; then there is somebody who hears them.
        """
        self.broker.watch("#", self.seen.append)
        self.assertFalse(self.broker.isHeard("$SYS/brokers"))
        watch = self.broker.watch("$SYS/#", self.seen.append)
        self.assertTrue(self.broker.isHeard("$SYS/brokers"))
        self.publish("$SYS/brokers", "a")
        self.clock.advance(0)
        self.assertEqual(sorted(self.topics), ["$SYS/brokers", "a"])
        watch.close()
        self.assertFalse(self.broker.isHeard("$SYS/brokers"))

    def test_refused(self) -> None:
        """
        A filter that is malformed, shared or local is refused, and leaves nothing behind.
        """
        for wrong in ("", "a#", "$share/g/a", "$queue/a", "$local/a", "$share/a", ["a", "b/#/c"], []):
            self.assertRaises(ValueError, self.broker.watch, wrong, self.seen.append)
        for limits in ({"limit": 0}, {"limitBytes": 0}, {"concurrency": 0}):
            self.assertRaises(ValueError, self.broker.watch, "a", self.seen.append, **limits)
        self.publish("a")
        self.clock.advance(0)
        self.assertEqual(self.seen, [])
        self.assertFalse(self.broker.router.watched)

    def test_later(self) -> None:
        """
        The callback is called in a turn of its own, never while a message is being published.
        """
        self.broker.watch("a", self.seen.append)
        self.publish("a")
        self.assertEqual(self.seen, [])
        self.clock.advance(0)
        self.assertEqual(self.topics, ["a"])

    def test_budget(self) -> None:
        """
        A slow callback gets what fits into a turn, and the next watch has its turn in between.
        """
        order: list[str] = []
        now = [0.0]
        self.patch(watching, "perf_counter", lambda: now[0])

        def slow(message: Message) -> None:
            order.append("slow")
            now[0] += watching.BUDGET / 2

        self.broker.watch("a", slow)
        self.broker.watch("a", lambda message: order.append("fast"))
        self.publish(*["a"] * 4)
        turns = self.turns(order)
        self.assertEqual(turns[0], ["slow", "slow"])
        self.assertEqual(turns[1][:4], ["fast"] * 4)
        self.assertEqual(sum(turns, []).count("slow"), 4)

    def turns(self, order: list[str]) -> list[list[str]]:
        """
        Run the turns until nothing is left to do.
        """
        turns: list[list[str]] = []
        while any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls()):
            del order[:]
            call = self.clock.calls.pop(0)
            call.called = 1
            call.func(*call.args, **call.kw)
            turns.append(list(order))
        return turns

    def test_dropOldest(self) -> None:
        """
        A message for which there is no room replaces the oldest one, which is counted.
        """
        watch = self.broker.watch("#", self.seen.append, limit=3)
        self.publish("1", "2", "3", "4", "5")
        self.assertEqual((watch.waiting, watch.mostWaiting, watch.dropped, watch.matched), (3, 3, 2, 5))
        self.clock.advance(0)
        self.assertEqual(self.topics, ["3", "4", "5"])
        self.assertEqual((watch.waiting, watch.handed), (0, 3))

    def test_dropNewest(self) -> None:
        """
        Or it is dropped itself.
        """
        watch = self.broker.watch("#", self.seen.append, limit=3, dropNewest=True)
        self.publish("1", "2", "3", "4", "5")
        self.clock.advance(0)
        self.assertEqual(self.topics, ["1", "2", "3"])
        self.assertEqual(watch.dropped, 2)

    def test_bytes(self) -> None:
        """
        The bytes that wait have a bound too. A message that is larger than that is dropped, and nothing for it.
        """
        watch = self.broker.watch("#", self.seen.append, limitBytes=1000)
        self.publish("1", payload=b"x" * 400)
        self.publish("2", payload=b"x" * 400)
        self.publish("3", payload=b"x" * 400)
        self.publish("4", payload=b"x" * 1000)
        self.clock.advance(0)
        self.assertEqual(self.topics, ["2", "3"])
        self.assertEqual(watch.dropped, 2)

    def test_close(self) -> None:
        """
        A watch that is closed is shown nothing more, not even what waits; closing it again does nothing.
        """
        watch = self.broker.watch("a/+", self.seen.append)
        self.publish("a/1")
        watch.close()
        self.publish("a/2")
        self.clock.advance(0)
        watch.close()
        self.assertEqual(self.seen, [])
        self.assertFalse(self.broker.router.watched)

    def test_closeInCallback(self) -> None:
        """
        The callback may close its own watch.
        """
        watch: IWatch = self.broker.watch("a", lambda message: (self.seen.append(message), watch.close()))
        self.publish("a", "a")
        self.clock.advance(0)
        self.assertEqual(len(self.seen), 1)

    def test_publishInCallback(self) -> None:
        """
        The callback may publish, its own topic too; others have their turn in between.
        """

        def again(message: Message) -> None:
            self.seen.append(message)
            if len(self.seen) < 200:
                self.publish("a")

        self.broker.watch("a", again)
        self.publish("a")
        self.clock.advance(0)
        self.assertEqual(len(self.seen), 200)

    def test_oneAtATime(self) -> None:
        """
        The next message waits for a callback that waits; a coroutine may be one.
        """
        asked: list[Deferred[None]] = []

        async def slow(message: Message) -> None:
            self.seen.append(message)
            waiting: Deferred[None] = Deferred()
            asked.append(waiting)
            await waiting

        watch = self.broker.watch("#", slow)
        self.publish("1", "2")
        self.clock.advance(0)
        self.assertEqual((self.topics, watch.running, watch.waiting), (["1"], 1, 1))
        asked[0].callback(None)
        self.clock.advance(0)
        self.assertEqual((self.topics, watch.running, watch.waiting), (["1", "2"], 1, 0))
        asked[1].callback(None)
        self.assertEqual(watch.running, 0)

    def test_concurrency(self) -> None:
        """
        Or so many are under way, and a message that comes when one has finished goes on at once.
        """
        asked: list[Deferred[None]] = []

        def slow(message: Message) -> Deferred[None]:
            asked.append(Deferred())
            return asked[-1]

        watch = self.broker.watch("#", slow, concurrency=3)
        self.publish(*"12345")
        self.clock.advance(0)
        self.assertEqual((len(asked), watch.waiting), (3, 2))
        asked[1].callback(None)
        self.clock.advance(0)
        self.assertEqual((len(asked), watch.waiting, watch.running), (4, 1, 3))
        for each in (0, 2, 3):
            asked[each].callback(None)
        self.clock.advance(0)
        asked[4].callback(None)
        self.assertEqual((watch.handed, watch.running), (5, 0))

    def test_failing(self) -> None:
        """
        A callback that raises or fails is counted, logged once in a while, and called with the next message.
        """

        def failing(message: Message) -> Any:
            self.seen.append(message)
            if message.topic == "1":
                raise ValueError("first")
            return self.failure() if message.topic == "2" else None

        watch = self.broker.watch("#", failing, name="mine")
        self.publish("1", "2", "3")
        self.clock.advance(0)
        self.assertEqual(self.topics, ["1", "2", "3"])
        self.assertEqual((watch.failed, watch.handed), (2, 3))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def failure(self) -> Deferred[None]:
        """
        A Deferred that has failed.
        """
        failed: Deferred[None] = Deferred()
        failed.errback(ValueError("second"))
        return failed

    def test_whenIdle(self) -> None:
        """
        It can be waited for until all has been shown and the callbacks are done.
        """
        slow: Deferred[None] = Deferred()
        watch = self.broker.watch("a", lambda message: slow)
        self.assertIsNone(watch.whenIdle())
        self.publish("a")
        idle, cancelled = watch.whenIdle(), watch.whenIdle()
        assert idle is not None and cancelled is not None
        self.clock.advance(0)
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.assertNoResult(idle)
        slow.callback(None)
        self.successResultOf(idle)

    def test_idleWhenClosed(self) -> None:
        """
        A waiter is told when the watch is closed.
        """
        watch = self.broker.watch("a", self.seen.append)
        self.publish("a")
        idle = watch.whenIdle()
        assert idle is not None
        watch.close()
        self.successResultOf(idle)

    def test_retained(self) -> None:
        """
        Retained messages come first where they are wanted, each once and marked, then what was published since.
        """
        for topic in ("a/1", "a/2", "b", "$SYS/x"):
            self.broker.publish(Message(topic, topic.encode(), 0, True))
        watch = self.broker.watch(["a/#", "+/1", "#"], self.seen.append, retained=True)
        self.publish("a/3")
        idle = watch.whenIdle()
        assert idle is not None
        self.clock.advance(0)
        self.successResultOf(idle)
        self.assertEqual(sorted(self.topics[:3]), ["a/1", "a/2", "b"])
        self.assertTrue(all(message.headers == {"retained": True} for message in self.seen[:3]))
        self.assertEqual([(message.topic, message.headers) for message in self.seen[3:]], [("a/3", None)])
        kept = self.broker.retained.get("a/1")
        assert kept is not None
        self.assertIsNone(kept.headers)

    def test_retainedSlowly(self) -> None:
        """
        A callback that waits gets them one at a time too, and none once the watch is closed.
        """
        for number in range(5):
            self.broker.publish(Message(f"a/{number}", b"p", 0, True))
        asked: list[Deferred[None]] = []

        def slow(message: Message) -> Deferred[None]:
            self.seen.append(message)
            asked.append(Deferred())
            return asked[-1]

        watch = self.broker.watch("a/+", slow, retained=True)
        for count in (1, 2, 3):
            self.clock.advance(0)
            self.assertEqual(len(self.seen), count)
            asked[-1].callback(None)
        watch.close()
        self.clock.advance(0)
        self.assertEqual(len(self.seen), 3)

    def test_retainedOnDisk(self) -> None:
        """
        Those that are on disk alone are read, one after the other; one that can't be read is counted as a failure.
        """
        disk = Disk()
        retained = self.broker.retained
        messages = [Message(topic, topic.encode(), 0, True, timestamp=1.0) for topic in ("a", "b", "c")]
        for message in messages:
            retained.put(message)
            disk.messages[message.topic] = message
        retained.source = disk
        retained.written(messages)
        watch = self.broker.watch("+", self.seen.append, retained=True)
        self.clock.advance(0)
        self.assertEqual(self.seen, [])
        disk.answer()
        self.clock.advance(0)
        disk.fail()
        self.clock.advance(0)
        disk.answer()
        self.clock.advance(0)
        self.assertEqual(len(self.seen), 2)
        self.assertTrue(all(message.payload == message.topic.encode() for message in self.seen))
        self.assertEqual((watch.failed, watch.whenIdle()), (1, None))
        self.flushLoggedErrors()

    def test_stop(self) -> None:
        """
        A broker that stops shows nothing more, and leaves no call behind.
        """
        self.broker.watch("#", self.seen.append)
        self.publish("a")
        self.successResultOf(self.broker.stopService())
        self.clock.advance(1)
        self.assertEqual(self.seen, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
