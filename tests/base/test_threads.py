"""
Tests for L{twisted_mqtt.base.threads}.
"""

from __future__ import annotations

import threading
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from twisted_mqtt.base.threads import Threads, ThreadsBusy, ThreadsStopped


class Gate:
    """
    A call that blocks until it may go on.
    """

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self, result: object) -> object:
        self.entered.release()
        self.opened.wait(20)
        if isinstance(result, Exception):
            raise result
        return result


class ThreadsTests(TestCase):
    """
    With a reactor that has threads.
    """

    timeout = 30

    def make(self, most: int, mostWaiting: int = 100) -> Threads:
        """
        Threads that are stopped at the end.
        """
        from twisted.internet import reactor

        threads = Threads(reactor, most, mostWaiting)
        self.addCleanup(threads.stop)
        self.gate = Gate()
        self.addCleanup(self.gate.opened.set)
        return threads

    async def test_result(self) -> None:
        """
        A call is made in another thread; its result, or what it raises, comes back to the reactor's.
        """
        threads = self.make(2)
        own = threading.get_ident()
        self.assertNotEqual(await threads.defer(threading.get_ident), own)
        self.assertEqual(await threads.defer(int, "11", base=2), 3)
        with self.assertRaises(ZeroDivisionError):
            await threads.defer(lambda: 1 // 0)
        self.assertEqual((threading.get_ident(), threads.working), (own, 0))

    async def test_bounds(self) -> None:
        """
        No more calls are under way than C{most}, none wait beyond C{mostWaiting}: they are refused and counted.
        """
        threads = self.make(2, 3)
        calls = [threads.defer(self.gate, number) for number in range(5)]
        for _ in range(2):
            self.assertTrue(self.gate.entered.acquire(timeout=20))
        self.assertFalse(self.gate.entered.acquire(blocking=False))
        self.assertEqual((threads.working, threads.waiting), (2, 3))
        with self.assertRaises(ThreadsBusy):
            await threads.defer(self.gate, 5)
        self.assertEqual(threads.refused, 1)
        self.gate.opened.set()
        self.assertEqual([await call for call in calls], [0, 1, 2, 3, 4])
        self.assertEqual((threads.working, threads.waiting), (0, 0))
        self.assertEqual(await threads.defer(self.gate, 6), 6)

    async def test_more(self) -> None:
        """
        How many threads there may be can be changed.
        """
        threads = self.make(1)
        first, second = threads.defer(self.gate, 1), threads.defer(self.gate, 2)
        self.assertEqual(threads.waiting, 1)
        threads.most = 3
        third = threads.defer(self.gate, 3)
        self.assertEqual(threads.waiting, 0)
        self.gate.opened.set()
        self.assertEqual([await first, await second, await third], [1, 2, 3])

    async def test_cancel(self) -> None:
        """
        A call that waits and is cancelled is not made; one that is under way ends unheard. Both fail at once.
        """
        threads = self.make(1)
        under, waits, last = threads.defer(self.gate, ValueError()), threads.defer(self.gate, 2), threads.defer(int)
        for call in (waits, under):
            call.cancel()
            self.failureResultOf(call, CancelledError)
        self.assertEqual((threads.working, threads.waiting), (1, 1))
        self.gate.opened.set()
        self.assertEqual(await last, 0)
        # One permit for the call that was under way, none for the other.
        self.assertTrue(self.gate.entered.acquire(blocking=False))
        self.assertFalse(self.gate.entered.acquire(blocking=False))

    async def test_stop(self) -> None:
        """
        The end waits for what is under way, cancels what waits, and refuses what comes.
        """
        threads = self.make(1)
        under, waits = threads.defer(self.gate, 1), threads.defer(self.gate, 2)
        stopped, again = threads.stop(), threads.stop()
        self.failureResultOf(waits, CancelledError)
        self.failureResultOf(threads.defer(int), ThreadsStopped)
        self.assertNoResult(stopped)
        self.gate.opened.set()
        self.assertEqual(await under, 1)
        await stopped
        await again

    async def test_neverUsed(self) -> None:
        """
        Without a call there are no threads.
        """
        before = threading.active_count()
        threads = self.make(100)
        await threads.stop()
        self.assertEqual(threading.active_count(), before)


class NoThreadsTests(SynchronousTestCase):
    """
    With a reactor that has none, as in tests.
    """

    def test_atOnce(self) -> None:
        """
        Each call is made at once.
        """
        threads = Threads(Clock(), 1)
        self.assertEqual(self.successResultOf(threads.defer(int, "3")), 3)
        failing: Deferred[Any] = threads.defer(int, "x")
        self.failureResultOf(failing, ValueError)
        self.successResultOf(threads.stop())
