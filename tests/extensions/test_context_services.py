"""
Tests for what L{twisted_mqtt.extensions.context} registers with broker and node: each is taken back at the end, and
what somebody else has taken back is held no longer.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from tests.kits.extensions import Recorder
from twisted_mqtt.base.waiting import nextTurn
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.config.schema_ports import DatagramSettings, TCPPortSettings
from twisted_mqtt.config.values import Bind
from twisted_mqtt.extensions.context import ExtensionEnded
from twisted_mqtt.testing.memory import MemoryBroker

ANYWHERE = Bind("127.0.0.1", 7777)


class ServicesTests(SynchronousTestCase):
    """
    Tests for L{ExtensionContext<twisted_mqtt.extensions.context.ExtensionContext>}, with a broker in memory.
    """

    def setUp(self) -> None:
        self.memory = MemoryBroker()
        self.harness = self.memory.harness(Recorder("greeter", [], None), "greeter")
        self.context = self.harness.context

    def test_slow(self) -> None:
        """
        Whatever of an extension holds the reactor for longer than C{sysmon.long_schedule} is named and counted:
        watches, delayed calls, loops and work, and each step of those that are coroutines.
        """
        logged: list[Any] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        broker = self.memory.broker
        broker.configure(settingsFrom({"sysmon": {"long_schedule": 5}}))

        def hold(seconds: float = 0.02) -> None:
            until = perf_counter() + seconds
            while perf_counter() < until:
                pass

        def watching(message: object) -> None:
            hold()

        async def watchingLater(message: object) -> None:
            await nextTurn(self.memory.clock)
            hold()

        def delayed() -> None:
            hold()

        def looping() -> None:
            hold()

        async def working() -> None:
            await nextTurn(self.memory.clock)
            hold()

        def quick(*args: object) -> None:
            pass

        context = self.context
        for watch in (watching, watchingLater, quick):
            context.watch("a", watch)
        for action in (delayed, quick):
            context.callLater(1, action)
        for action in (looping, quick):
            context.loop(1.5, action)
        context.run(working())
        self.memory.client().publish("a")
        self.memory.wait(2)
        names = [event["callback"].rpartition(".")[2] for event in logged if "milliseconds" in event]
        self.assertEqual(sorted(names), ["delayed", "looping", "watching", "watchingLater", "working"])
        self.assertEqual(broker.metrics.read()["callbacks.slow"], 5)

    def test_watch(self) -> None:
        """
        Messages are shown until the end; a message that waits then is not shown any more.
        """
        heard: list[str] = []
        self.context.watch(["a/#", "b"], lambda message: heard.append(message.topic))
        client = self.memory.client()
        client.publish("a/1").publish("c").publish("b")
        self.memory.wait(1)
        client.publish("a/2")
        self.assertEqual(self.harness.stop(), ["1 x watch (a/# b)"])
        client.publish("a/3")
        self.memory.wait(1)
        self.assertEqual([topic for topic in heard if topic != "a/2"], ["a/1", "b"])

    def test_watchFilters(self) -> None:
        """
        The first subscriber of a filter is told of, and nobody after the end.
        """
        told: list[tuple[str, ...]] = []
        self.context.watchFilters(
            lambda tree, topicFilter, share: told.append(("added", topicFilter)),
            lambda tree, topicFilter, share: told.append(("removed", topicFilter)),
        )
        client = self.memory.client()
        client.subscribe("a")
        self.assertEqual(told, [("added", "a")])
        self.harness.stop()
        client.subscribe("b")
        self.assertEqual(told, [("added", "a")])

    def test_watchesThatAreOver(self) -> None:
        """
        An extension that watches now this and now that holds no more than it has.
        """
        for number in range(1000):
            self.context.watch(f"a/{number}", print).close()
        self.assertLess(len(self.context.held), 150)
        self.harness.stop()

    def test_listen(self) -> None:
        """
        At the end a port is closed, and who is connected to it goes.
        """
        opening = self.context.listen(TCPPortSettings(bind=ANYWHERE), Factory.forProtocol(Protocol))
        listening: Any = self.successResultOf(opening)
        self.assertEqual(list(self.memory.node.ports), ["greeter"])
        protocol = listening.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        transport = StringTransport()
        protocol.makeConnection(transport)
        self.assertEqual(self.harness.stop(), ["1 x port (greeter)"])
        self.assertEqual(self.memory.node.ports, {})
        self.assertTrue(transport.disconnecting)

    def test_endsWhileItOpens(self) -> None:
        """
        A port that is open only when the extension has ended is closed again.
        """
        slow: Deferred[Any] = Deferred()
        node: Any = self.memory.node
        settings, listen = TCPPortSettings(bind=ANYWHERE), node.listen
        node.listen = lambda *args, **named: slow.addCallback(lambda _: listen(*args, **named))
        opening = self.context.listen(settings, Factory.forProtocol(Protocol), "greeter.tcp")
        self.assertEqual(self.harness.stop(), [])
        slow.callback(None)
        self.failureResultOf(opening, ExtensionEnded)
        self.assertEqual(node.ports, {})

    def test_datagrams(self) -> None:
        """
        So is a port that takes datagrams.
        """
        protocol: Any = object()
        opening = self.context.listenDatagrams(DatagramSettings(), protocol, "greeter.udp", bind=ANYWHERE)
        self.successResultOf(opening)
        self.assertEqual(list(self.memory.node.ports), ["greeter.udp"])
        self.harness.stop()
        self.assertEqual(self.memory.node.ports, {})

    def test_mount(self) -> None:
        """
        A resource is mounted until the end.
        """
        self.successResultOf(self.context.mount("management", "/greeter", Resource()))
        self.assertEqual([mount.path for mount in self.memory.node.http.mounts("management")], ["/greeter"])
        self.assertEqual(self.harness.stop(), ["1 x HTTP resource (management/greeter)"])
        self.assertEqual(self.memory.node.http.mounts("management"), [])

    def test_metrics(self) -> None:
        """
        Metrics are there until the end, and may be registered anew by the next life of the extension.
        """
        for _ in range(2):
            harness = self.memory.harness(Recorder("greeter", [], None), "greeter")
            harness.context.counter("greeter.greeted", "Clients greeted").own.value += 1
            harness.context.gauge("greeter.waiting", "Clients that wait", read=lambda: 3)
            harness.context.histogram("greeter.seconds", "Seconds that a greeting takes")
            self.assertRaises(ValueError, harness.context.counter, "greeter.greeted", "Another of this name")
            self.assertEqual(len(harness.stop()), 3)

    def test_alarm(self) -> None:
        """
        An alarm is cleared by its handle, or at the end; both are lines in the log.
        """
        alarms = self.memory.broker.alarms
        with capturedLogs() as events:
            self.context.alarm("hoarse", "warning", "Hoarse", "no voice").close()
        self.assertNotIn("hoarse", alarms.active)
        self.assertEqual(
            [formatEvent(event) for event in events], ["alarm: hoarse: Hoarse: no voice", "alarm over: hoarse: Hoarse"]
        )
        self.context.alarm("tired", "warning", "Tired", "no sleep")
        self.assertIn("tired", alarms.active)
        self.assertEqual(self.harness.stop(), ["1 x alarm (tired)"])
        self.assertNotIn("tired", alarms.active)

    def test_table(self) -> None:
        """
        A table is the extension's own, and outlives it.
        """
        self.context.table("names").put("anna", b"1")
        other = self.memory.harness(Recorder("other", [], None), "other").context
        self.assertIsNone(other.table("names").get("anna"))
        self.harness.stop()
        again = self.memory.harness(Recorder("greeter", [], None), "greeter").context
        self.assertEqual(again.table("names").get("anna"), b"1")
