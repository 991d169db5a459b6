"""
Tests for L{twisted_mqtt.listeners.registry}, with a reactor that does not run. What takes connections is tested with a
process.
"""

from __future__ import annotations

import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.kits.certificates import Authority
from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.config.reloadreport import ReloadReport
from twisted_mqtt.listeners.listener import OpenListener
from twisted_mqtt.listeners.registry import Listeners
from twisted_mqtt.process.systemd import InheritedSocket
from twisted_mqtt.stores.memory import MemoryStore


class ElsewhereSocket(socket.socket):
    """
    A socket of this machine alone that says it is everybody's.
    """

    def getsockname(self) -> Any:
        """
        Lie.
        """
        return "0.0.0.0", 1883


def tables(**listeners: dict[str, object]) -> Any:
    """
    Settings with TCP listeners of these names.
    """
    return settingsFrom({"listener": {"tcp": listeners}})


class ListenersTests(SynchronousTestCase):
    """
    Tests for L{Listeners}.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def opened(self, settings: Any, inherited: list[InheritedSocket] | None = None) -> Listeners:
        """
        Listeners that are open.
        """
        listeners = Listeners(Broker(settings, self.reactor, MemoryStore()), self.reactor, inherited or [])
        self.successResultOf(listeners.open())
        self.addCleanup(listeners.stopService)
        return listeners

    def elsewhere(self) -> ElsewhereSocket:
        """
        A socket that listens; the listeners close it.
        """
        handed = ElsewhereSocket()
        handed.bind(("127.0.0.1", 0))
        handed.listen()
        return handed

    def place(self, listener: OpenListener) -> tuple[bool, bool]:
        """
        Whether a listener is this machine's alone, and lets clients without credentials in.
        """
        return listener.clients.profile.onLoopback, listener.clients.profile.allowsAnonymous

    def test_handedOver(self) -> None:
        """
        Whether clients need credentials depends on the real address of a socket, not on the table.
        """
        settings = tables(external={"bind": "127.0.0.1:0"})
        self.assertEqual(self.place(self.opened(settings).opened["tcp.external"]), (True, True))
        with capturedLogs() as events:
            listeners = self.opened(settings, [InheritedSocket("tcp.external", self.elsewhere())])
        self.assertEqual(self.place(listeners.opened["tcp.external"]), (False, False))
        self.assertEqual(len([event for event in events if "handed over" in event["log_format"]]), 1)

    def test_handedOverByAddress(self) -> None:
        """
        A socket goes to the listener of its name before that of its address.
        """
        settings = tables(one={"bind": "127.0.0.1:0"}, other={"bind": "127.0.0.1:0"})
        listeners = self.opened(settings, [InheritedSocket("listener.tcp.other", self.elsewhere())])
        places = {name: self.place(listener)[0] for name, listener in listeners.opened.items()}
        self.assertEqual(places, {"tcp.one": True, "tcp.other": False})

    def test_zonesShareLimits(self) -> None:
        """
        The listeners of a zone share its limits; when the zone changes, there are new ones, and the old stay.
        """
        one: dict[str, object] = {"bind": "127.0.0.1:0"}
        other: dict[str, object] = {"bind": "127.0.0.1:0"}
        listeners = self.opened(tables(one=one, other=other))
        before = {listener.clients.profile.limits for listener in listeners.opened.values()}
        self.assertEqual(len(before), 1)
        changed = settingsFrom(
            {"listener": {"tcp": {"one": one, "other": other}}, "zone": {"external": {"max_inflight": 7}}}
        )
        listeners._broker.configure(changed)
        report = ReloadReport()
        self.successResultOf(listeners.reload(changed, report))
        after = {listener.clients.profile.limits for listener in listeners.opened.values()}
        self.assertEqual([[limits.maxInflight for limits in each] for each in (before, after)], [[32], [7]])
        self.assertEqual(len(report.done), 2)
        self.assertTrue(report.successful)

    def test_sameAgain(self) -> None:
        """
        Where nothing has changed, nothing is done: the port stays the same one.
        """
        settings = tables(one={"bind": "127.0.0.1:0"})
        listeners = self.opened(settings)
        before = (listeners.opened["tcp.one"].port, listeners.opened["tcp.one"].layers)
        report = ReloadReport()
        self.successResultOf(listeners.reload(settings, report))
        self.assertEqual(report, ReloadReport())
        self.assertEqual((listeners.opened["tcp.one"].port, listeners.opened["tcp.one"].layers), before)

    def test_cannotChange(self) -> None:
        """
        A listener whose new certificates can't be used goes on as it was, in everything.
        """
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        authority = Authority(Path(folder.name))
        right, other = authority.issue("right"), authority.issue("other")
        secure = {"bind": "127.0.0.1:0", "certfile": right.certfile, "keyfile": right.keyfile}
        listeners = self.opened(settingsFrom({"listener": {"ssl": {"external": secure}}}))
        listener = listeners.opened["ssl.external"]
        before = (listener.clients.profile, listener.layers, listener.gate.wrapped, listener.listener)
        wrong = {**secure, "keyfile": other.keyfile, "max_publish_rate": "1,1s"}
        report = ReloadReport()
        self.successResultOf(listeners.reload(settingsFrom({"listener": {"ssl": {"external": wrong}}}), report))
        self.assertEqual(len(report.problems), 1)
        after = (listener.clients.profile, listener.layers, listener.gate.wrapped, listener.listener)
        for one, another in zip(before, after, strict=True):
            self.assertIs(one, another)
