"""
Tests for L{twisted_mqtt.extensions.context}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kits.extensions import Fault, Recorder
from tests.kits.recording import RecordingBroker
from twisted_mqtt.core.subscription import Subscription
from twisted_mqtt.extensions.context import ExtensionContext, ExtensionEnded
from twisted_mqtt.interfaces import IExtensionContext, IHeld, IKeySources
from twisted_mqtt.testing.extension import ExtensionHarness, MemoryNode

TIMEOUT = 30.0


class ContextTests(SynchronousTestCase):
    """
    Tests for L{ExtensionContext}.
    """

    def setUp(self) -> None:
        self.broker = RecordingBroker()
        self.heard: list[Any] = []
        self.context = ExtensionContext("greeter", Recorder("greeter", [], None), self.broker, MemoryNode(self.broker))

    def swept(self) -> list[str]:
        """
        The registrations that are swept at the end.
        """
        return self.successResultOf(Deferred.fromCoroutine(self.context.sweep(TIMEOUT)))

    def raising(self, *args: object) -> None:
        """
        An action that fails.
        """
        self.heard.append(args)
        raise Fault

    def test_provides(self) -> None:
        """
        It and its handles are what the interfaces promise.
        """
        verifyObject(IExtensionContext, self.context)
        verifyObject(IKeySources, self.context.preSharedKeys)
        verifyObject(IHeld, self.context.addCleanup("nothing", lambda: None))

    def test_hook(self) -> None:
        """
        A callback is called until it is closed, or swept.
        """
        first = self.context.hook("message.acked", self.heard.append, args=())
        self.context.hook("message.dropped", print, priority=3)
        self.assertEqual([each.priority for each in self.broker.hooks.messageDropped], [3])
        first.close()
        self.assertTrue(first.closed)
        self.assertEqual(self.broker.hooks.messageAcked.callbacks, ())
        first.close()
        self.assertEqual(self.swept(), ["1 x callback (message.dropped)"])
        self.assertEqual(self.broker.hooks.messageDropped.callbacks, ())

    def test_misspeltPoint(self) -> None:
        """
        A point that there is none of is refused, and nothing is held for it.
        """
        with self.assertRaisesRegex(KeyError, "did you mean 'message.acked'"):
            self.context.hook("message.aked", print)
        self.assertEqual(self.context.held, [])

    def test_callLater(self) -> None:
        """
        A delayed call is made once and then held no more; one that is closed or swept is not made.
        """
        made = self.context.callLater(5, self.heard.append, "made")
        self.context.callLater(6, self.heard.append, "closed").close()
        self.context.callLater(7, self.heard.append, "swept")
        self.broker.clock.advance(5)
        self.assertTrue(made.closed)
        self.assertEqual(len(self.swept()), 1)
        self.broker.clock.advance(5)
        self.assertEqual(self.heard, ["made"])
        self.assertEqual(self.broker.clock.getDelayedCalls(), [])

    def test_loop(self) -> None:
        """
        A loop goes on although a turn fails, which is logged, and ends when it is swept.
        """
        self.context.loop(10, self.raising, 1)
        for _ in range(3):
            self.broker.clock.advance(10)
        self.assertEqual(self.heard, [(1,)] * 3)
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 3)
        self.swept()
        self.assertEqual(self.broker.clock.getDelayedCalls(), [])

    def test_loopThatWaits(self) -> None:
        """
        A turn that waits holds the next one up, and is cancelled when the loop is swept.
        """
        turns: list[Deferred[None]] = []
        cancelled: list[int] = []

        async def turn() -> None:
            turns.append(Deferred())
            try:
                await turns[-1]
            except CancelledError:
                cancelled.append(len(turns))
                raise

        self.context.loop(10, turn, now=True)
        self.broker.clock.advance(25)
        self.assertEqual(len(turns), 1)
        turns[0].callback(None)
        self.broker.clock.advance(5)
        self.assertEqual(len(turns), 2)
        self.swept()
        self.assertEqual(cancelled, [2])
        self.broker.clock.advance(30)
        self.assertEqual(len(turns), 2)

    def test_run(self) -> None:
        """
        Work that is under way is held until it is over; where it fails, that is logged.
        """
        waiting: Deferred[None] = Deferred()

        async def work() -> None:
            await waiting

        held = self.context.run(work(), "counting")
        self.assertFalse(held.closed)
        waiting.errback(Fault())
        self.assertTrue(held.closed)
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 1)
        self.context.run(Deferred(), "waiting")
        self.assertEqual(self.swept(), ["1 x work under way (waiting)"])

    def test_subscribe(self) -> None:
        """
        A subscription is made, and undone.
        """
        made: list[object] = []
        broker: Any = self.broker
        broker.subscribe = lambda subscriber, subscription: made.append((subscriber, subscription.topicFilter))
        broker.unsubscribe = lambda subscriber, topicFilter: made.remove((subscriber, topicFilter))
        subscriber: Any = object()
        self.context.subscribe(subscriber, Subscription(subscriber, "a/#"))
        self.assertEqual(made, [(subscriber, "a/#")])
        self.swept()
        self.assertEqual(made, [])

    def test_preSharedKeys(self) -> None:
        """
        A source of keys is asked until it is swept.
        """
        self.context.preSharedKeys.add(lambda identity: b"key" if identity == b"device" else None)
        self.assertEqual(self.broker.preSharedKeys.find(b"device"), b"key")
        self.swept()
        self.assertFalse(self.broker.preSharedKeys)

    def test_order(self) -> None:
        """
        The last registration is undone first, and one that fails or hangs does not keep the others.
        """

        async def slow() -> None:
            await Deferred()

        self.context.addCleanup("first", lambda: self.heard.append("first"))
        self.context.addCleanup("second", self.raising)
        self.context.addCleanup("third", slow)
        self.context.addCleanup("fourth", lambda: self.heard.append("fourth"))
        sweeping = Deferred.fromCoroutine(self.context.sweep(TIMEOUT))
        self.assertNoResult(sweeping)
        self.broker.clock.advance(TIMEOUT)
        self.assertEqual(self.successResultOf(sweeping), ["4 x clean-up (first, fourth, second, third)"])
        self.assertEqual(self.heard, ["fourth", (), "first"])
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 1)
        self.assertEqual(len(self.flushLoggedErrors(TimeoutError)), 1)

    def test_ended(self) -> None:
        """
        An extension that has ended can register nothing any more.
        """
        self.swept()
        for register in (
            lambda: self.context.hook("message.acked", print),
            lambda: self.context.callLater(1, print),
            lambda: self.context.loop(1, print),
            lambda: self.context.addCleanup("x", print),
            lambda: self.context.preSharedKeys.add(print),
        ):
            self.assertRaises(ExtensionEnded, register)
        self.assertEqual(self.broker.hooks.messageAcked.callbacks, ())
        self.assertEqual(self.broker.clock.getDelayedCalls(), [])
        self.assertFalse(self.broker.preSharedKeys)


class HarnessTests(SynchronousTestCase):
    """
    Tests for L{ExtensionHarness}.
    """

    def test_life(self) -> None:
        """
        It starts an extension, stops it, and says what was swept.
        """
        events: list[str] = []
        extension = Recorder("greeter", events, None)
        extension.starting = lambda extension: extension.context.hook("message.acked", print) and None
        broker = RecordingBroker()
        harness = ExtensionHarness(extension, broker).start()
        self.assertEqual(len(broker.hooks.messageAcked.callbacks), 1)
        self.assertEqual(harness.stop(), ["1 x callback (message.acked)"])
        self.assertEqual(events, ["start greeter", "stop greeter"])

    def test_fails(self) -> None:
        """
        An exception of an extension comes to the test.
        """

        def fails(extension: Recorder) -> None:
            raise Fault

        extension = Recorder("greeter", [], None)
        extension.starting = fails
        self.assertRaises(Fault, ExtensionHarness(extension, RecordingBroker()).start)

    def test_waits(self) -> None:
        """
        A start that waits is a fault of the test that does not say so.
        """
        extension = Recorder("greeter", [], None)
        extension.starting = lambda extension: Deferred()
        self.assertRaises(AssertionError, ExtensionHarness(extension, RecordingBroker()).start)
