"""
Tests for L{twisted_mqtt.listeners.gate} and L{twisted_mqtt.net.addressrules}.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.kits.transport import SiteTestCase
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.config.values import AccessRule
from twisted_mqtt.core.counters import Counters
from twisted_mqtt.listeners.implements import Gate
from twisted_mqtt.net.addressrules import AccessFactory, allows

PEER = IPv4Address("TCP", "192.0.2.7", 1234)


class Within:
    """
    A protocol behind a gate; it writes down the events.
    """

    def __init__(self, events: list[object], name: str = "") -> None:
        self._events = events
        self._name = name

    def doStart(self) -> None:
        """
        Note it.
        """
        self._events.append(f"start{self._name}")

    def doStop(self) -> None:
        """
        Note it.
        """
        self._events.append(f"stop{self._name}")

    def buildProtocol(self, addr: object) -> object:
        """
        Note it.
        """
        self._events.append(addr)
        return self


def listener(**keys: object) -> Any:
    """
    A listener's table.
    """
    tables = {"listener": {"tcp": {"external": {"bind": "127.0.0.1:0", **keys}}}}
    return settingsFrom(tables).listener.tcp["external"]


def rules(*texts: str) -> tuple[AccessRule, ...]:
    """
    Access rules as they stand in a table.
    """
    given: tuple[AccessRule, ...] = listener(access=list(texts)).access
    return given


class AccessTests(SynchronousTestCase):
    """
    Tests for L{allows} and L{AccessFactory}.
    """

    def test_order(self) -> None:
        """
        The first rule that names an address decides.
        """
        given = rules("deny 192.0.2.7", "allow 192.0.2.0/24", "deny all", "allow 198.51.100.0/24")
        hosts = ("192.0.2.7", "192.0.2.8", "198.51.100.1")
        self.assertEqual([allows(given, host) for host in hosts], [False, True, False])

    def test_noneNamesIt(self) -> None:
        """
        An address that no rule names does not come in.
        """
        self.assertFalse(allows(rules("allow 10.0.0.0/8"), "192.0.2.7"))

    def test_families(self) -> None:
        """
        An IPv6 socket's IPv4 peers are IPv4 addresses, and what has no address is named by C{all} alone.
        """
        given = rules("allow 192.0.2.0/24", "allow 2001:db8::/32")
        self.assertTrue(allows(given, "::ffff:192.0.2.7"))
        self.assertTrue(allows(given, "2001:db8::1"))
        self.assertFalse(allows(given, "2001:db9::1"))
        self.assertFalse(allows(given, None))
        self.assertTrue(allows(rules("allow all"), None))

    def test_factory(self) -> None:
        """
        Those who may not connect are counted, and get no protocol.
        """
        events: list[object] = []
        counters = Counters()
        within = Within(events)
        factory = AccessFactory(within, "listener.tcp.x", rules("allow 192.0.2.0/24"), counters, Clock().seconds)
        self.assertTrue(verifyObject(IProtocolFactory, factory))
        factory.doStart()
        self.assertIs(factory.buildProtocol(PEER), within)
        self.assertIsNone(factory.buildProtocol(IPv6Address("TCP", "::1", 1)))
        self.assertIsNone(factory.buildProtocol(UNIXAddress(None)))
        factory.doStop()
        self.assertEqual(events, ["start", PEER, "stop"])
        self.assertEqual((factory.refused, counters.connections_refused_access), (2, 2))


class GateTests(SynchronousTestCase):
    """
    Tests for L{Gate}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.counters = Counters()
        self.events: list[object] = []
        self.connections = 0

    def gate(self, **keys: object) -> Gate:
        """
        A gate with a port that notes what it is told.
        """
        table = listener(**keys)
        gate = Gate(Within(self.events), table, table.path, self.counters, self.clock, lambda: self.connections)
        gate.port = SimpleNamespace(
            pauseAccepting=lambda: self.events.append("rest"), resumeAccepting=lambda: self.events.append("go on")
        )
        return gate

    def test_full(self) -> None:
        """
        One connection too many is refused and counted; when another has gone, the next comes in.
        """
        gate = self.gate(max_connections=2)
        self.assertTrue(verifyObject(IProtocolFactory, gate))
        self.connections = 1
        self.assertIsNotNone(gate.buildProtocol(PEER))
        self.connections = 2
        self.assertIsNone(gate.buildProtocol(PEER))
        self.assertEqual((gate.refused, self.counters.connections_refused_full), (1, 1))
        self.connections = 1
        self.assertIsNotNone(gate.buildProtocol(PEER))

    def test_rate(self) -> None:
        """
        When connections come too fast, the port rests; nobody is refused.
        """
        gate = self.gate(max_conn_rate=10)
        for _ in range(10):
            gate.buildProtocol(PEER)
        self.assertEqual(self.events, [PEER] * 10)
        self.events.clear()
        self.assertIsNotNone(gate.buildProtocol(PEER))
        self.assertEqual(self.events, ["rest", PEER])
        # Bytes that the port had accepted already come in, and are counted.
        gate.buildProtocol(PEER)
        self.assertEqual(self.events, ["rest", PEER, PEER])
        self.clock.advance(0.11)
        self.assertEqual(self.events[3:], ["go on"])
        self.assertEqual((gate.rests, gate.refused), (1, 0))

    def test_portOfTwisted(self) -> None:
        """
        A port of Twisted's own rests by its own methods, and one that can't rest is left alone.
        """
        gate = self.gate(max_conn_rate=1)
        told: list[str] = []
        gate.port = SimpleNamespace(stopReading=lambda: told.append("stop"), startReading=lambda: told.append("start"))
        gate.buildProtocol(PEER)
        gate.buildProtocol(PEER)
        self.clock.advance(5)
        self.assertEqual(told, ["stop", "start"])
        gate.port = SimpleNamespace()
        for _ in range(10):
            gate.buildProtocol(PEER)
        self.clock.advance(20)

    def test_stoppedWhileResting(self) -> None:
        """
        A port that has stopped is not told to go on.
        """
        gate = self.gate(max_conn_rate=1)
        gate.doStart()
        gate.buildProtocol(PEER)
        gate.buildProtocol(PEER)
        gate.doStop()
        self.clock.advance(10)
        self.assertNotIn("go on", self.events)

    def test_exchange(self) -> None:
        """
        The factory behind it, and its limits, may be exchanged; the new one begins before the old one ends.
        """
        gate = self.gate()
        gate.exchange(Within(self.events, " early"), listener())
        gate.doStart()
        gate.exchange(Within(self.events, " late"), listener(max_connections=1))
        gate.doStop()
        self.assertEqual(self.events, ["start early", "start late", "stop early", "stop late"])
        self.connections = 1
        self.assertIsNone(gate.buildProtocol(PEER))


class CountTests(SiteTestCase):
    """
    Tests for the count of a port's connections.
    """

    def test_count(self) -> None:
        """
        A connection counts from when it is open until its socket is closed, however it ends.
        """
        options = self.site.port._options.transport
        self.assertEqual(options.connections, 0)
        first, one = self.connect()
        second, two = self.connect()
        third, _ = self.connect()
        self.assertEqual(options.connections, 3)
        first.close()
        self.site.until(lambda: options.connections == 2)
        two.transport.abortConnection()
        self.site.until(lambda: options.connections == 1)
        third.close()
        self.site.until(lambda: options.connections == 0)
