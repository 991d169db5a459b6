"""
Tests for L{twisted_mqtt.net.reactorprivate}.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_mqtt.net.endpoints import pollerOf
from twisted_mqtt.net.reactorprivate import keepSteady, steadySeconds, wholeOf


class Watched:
    """
    A reader of one end of a pair of sockets.
    """

    def __init__(self, reactor: EPollReactor) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.onReady: Callable[[], object] = lambda: None
        self.events: list[bytes] = []
        reactor.addReader(self)

    def fileno(self) -> int:
        return self.ours.fileno()

    def logPrefix(self) -> str:
        return "watched"

    def doRead(self) -> None:
        self.events.append(self.ours.recv(1))
        self.onReady()

    def ready(self, events: int) -> None:
        self.doRead()

    def reactorStopped(self) -> None:
        self.close()

    def connectionLost(self, reason: object) -> None:
        self.close()

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


class EPollWholeTests(SynchronousTestCase):
    """
    Tests for L{twisted_mqtt.net.reactorprivate.EPollWhole} with a reactor that is not the one of the tests.
    """

    def setUp(self) -> None:
        self.reactor = EPollReactor()
        self.addCleanup(self._close)
        whole = wholeOf(self.reactor)
        # Where this fails, Twisted has other names now, and the broker is slower at low rates.
        assert whole is not None
        self.whole = whole
        self.watched = [Watched(self.reactor) for _ in range(2)]

    def _close(self) -> None:
        for reader in self.reactor.removeAll():
            reader.connectionLost(None)

    def isNext(self, seconds: float = 0.0) -> bool:
        """
        @return: whether the first reader, and nobody else, has something to do.
        """
        return self.whole.isNext(self.watched[0].fileno(), seconds)

    def test_descriptors(self) -> None:
        """
        Only where one descriptor alone is ready, it is next; the reactor still serves all.
        """
        first, second = self.watched
        self.assertFalse(self.isNext())
        second.theirs.send(b"2")
        self.assertFalse(self.isNext())
        first.theirs.send(b"1")
        self.assertFalse(self.isNext())
        second.ours.recv(1)
        self.assertTrue(self.isNext())
        self.assertTrue(self.isNext())
        self.reactor.iterate(0)
        self.assertEqual((first.events, second.events), ([b"1"], []))
        self.assertFalse(self.isNext())

    def test_waits(self) -> None:
        """
        It waits for as long as it is told to, and no longer than to the next timed call.
        """
        begun = time.monotonic()
        self.assertFalse(self.isNext(0.02))
        self.assertGreaterEqual(time.monotonic() - begun, 0.02)
        called: list[int] = []
        self.reactor.callLater(0.01, called.append, 1)
        # New calls are not in the order of time yet: the reactor sorts them.
        begun = time.monotonic()
        self.assertFalse(self.isNext(60.0))
        self.reactor.iterate(0)
        self.assertFalse(self.isNext(60.0))
        self.assertLess(time.monotonic() - begun, 30.0)
        self.watched[0].theirs.send(b"1")
        time.sleep(0.02)
        self.assertFalse(self.isNext(60.0))
        self.reactor.iterate(0)
        self.assertEqual((called, self.watched[0].events), ([1], [b"1"]))

    def test_threads(self) -> None:
        """
        A call that comes from another thread is somebody else's turn.
        """
        self.watched[0].theirs.send(b"1")
        called: list[int] = []
        self.reactor.callFromThread(called.append, 1)
        # Installed with the reactor's start, which these tests do without.
        waker = self.reactor.waker
        self.assertIsNotNone(waker)
        self.assertFalse(self.isNext())
        self.reactor.iterate(0)
        self.assertEqual(called, [1])

    def test_others(self) -> None:
        """
        Of other reactors, and of what only looks like one, nothing is known.
        """

        class Other(EPollReactor):
            pass

        for reactor in (Other(), SelectReactor()):
            self.assertIsNone(wholeOf(reactor))
            for reader in reactor.removeAll():
                reader.connectionLost(None)
        self.assertIsNone(wholeOf(object()))

    def test_poller(self) -> None:
        """
        Below such a reactor a poller serves several events in one iteration, and leaves when others are ready.
        """
        # However slow this machine is, all happens fast.
        self.patch(self.reactor, "seconds", lambda: 1.0)
        poller = pollerOf(self.reactor)
        one = self.watched[0]
        self.reactor.removeReader(one)
        poller.add(one.fileno(), one, 1)
        one.onReady = lambda: one.theirs.send(b"x") if len(one.events) < 9 else self.watched[1].theirs.send(b"y")
        one.theirs.send(b"x")
        self.reactor.iterate(0)
        self.assertEqual(len(one.events), 1)
        self.reactor.iterate(0)
        self.assertEqual((len(one.events), self.watched[1].events), (9, []))
        self.reactor.iterate(0)
        self.assertEqual(self.watched[1].events, [b"y"])


class KeepSteadyTests(SynchronousTestCase):
    """
    Tests for L{twisted_mqtt.net.reactorprivate.keepSteady}.
    """

    def setUp(self) -> None:
        self.reactor = SelectReactor()
        self.addCleanup(lambda: [call.cancel() for call in self.reactor.getDelayedCalls()])

    def test_continues(self) -> None:
        """
        The time that a reactor tells goes on where it was: whoever has noted one may go on using it.
        """
        before = self.reactor.seconds()
        self.assertIs(keepSteady(self.reactor), time.time)
        self.assertTrue(0 <= self.reactor.seconds() - before < 10)
        self.assertIs(self.reactor.seconds, steadySeconds)

    def test_twice(self) -> None:
        """
        Two brokers may share a reactor.
        """
        keepSteady(self.reactor)
        call = self.reactor.callLater(100, lambda: None)
        at = call.getTime()
        self.assertIs(keepSteady(self.reactor), time.time)
        self.assertEqual(call.getTime(), at)

    def test_callsThatAreThere(self) -> None:
        """
        A call that a program has delayed before keeps the time that is left, and uses the same clock when it is put
        off.
        """
        call = self.reactor.callLater(100, lambda: None)
        keepSteady(self.reactor)
        self.assertTrue(abs(call.getTime() - steadySeconds() - 100) < 5)
        call.reset(200)
        self.assertTrue(abs(call.getTime() - steadySeconds() - 200) < 5)
        self.assertIs(call.seconds, steadySeconds)

    def test_clockOfItsOwn(self) -> None:
        """
        A reactor that somebody has given another clock keeps it; dates are those of the machine.
        """
        self.reactor.seconds = time.monotonic
        self.assertIs(keepSteady(self.reactor), time.time)
        self.assertIs(self.reactor.seconds, time.monotonic)

    def test_clockOfATest(self) -> None:
        """
        A clock that is advanced by hand tells the date too.
        """
        clock = Clock()
        self.assertEqual(keepSteady(clock), clock.seconds)
        clock.advance(5)
        self.assertEqual(clock.seconds(), 5)

    def test_asyncio(self) -> None:
        """
        Twisted on asyncio's loop goes by the same clock.
        """
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        reactor = AsyncioSelectorReactor(loop)
        keepSteady(reactor)
        fired: list[bool] = []
        reactor.callLater(0.01, fired.append, True)
        reactor.callLater(0.02, reactor.crash)
        reactor.run(installSignalHandlers=False)
        self.assertEqual(fired, [True])
        self.assertIs(reactor.seconds, steadySeconds)
