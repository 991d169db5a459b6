"""
Tests for L{twisted_mqtt.base.slowcalls}: callbacks that hold the reactor.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from twisted_mqtt.base.slowcalls import SlowCalls


def slowly(seconds: float) -> None:
    """
    Hold the processor, as a callback should not.
    """
    until = perf_counter() + seconds
    while perf_counter() < until:
        pass


class SlowCallsTests(SynchronousTestCase):
    """
    Tests for L{SlowCalls}.
    """

    def setUp(self) -> None:
        self.logged: list[Any] = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)
        self.slow = SlowCalls(0.005)

    def names(self) -> list[str]:
        """
        Get the names of the logged callbacks.
        """
        return [event["callback"] for event in self.logged if "milliseconds" in event]

    def test_namedOnce(self) -> None:
        """
        Each is named, in words that say where it stands, and not again and again; all are counted.
        """
        for _ in range(3):
            self.slow.held(slowly, "message.publish", 0.02)
            self.slow.held(self.names, "message.publish", 0.03)
        found = self.names()
        self.assertEqual(len(found), 2)
        self.assertIn("test_slowcalls.slowly", found[0])
        self.assertIn("SlowCallsTests.names", found[1])
        self.assertEqual(self.slow.count, 6)
        self.assertEqual(self.logged[0]["milliseconds"], 20)

    def test_call(self) -> None:
        """
        A call returns what its callback returns, raises what it raises, and is measured either way.
        """

        def failing() -> None:
            slowly(0.02)
            raise ZeroDivisionError

        self.assertEqual(self.slow.call(lambda *args: args, "a watch", 1, 2), (1, 2))
        self.assertEqual(self.slow.count, 0)
        self.assertRaises(ZeroDivisionError, self.slow.call, failing, "a watch")
        self.slow.call(slowly, "a watch", 0.02)
        self.assertEqual(self.slow.count, 2)
        self.slow.limit = 0.0
        self.slow.call(slowly, "a watch", 0.02)
        self.assertEqual(self.slow.count, 2)

    def test_nameOfACoroutine(self) -> None:
        """
        A coroutine is named by its function, the same each time.
        """

        async def work() -> None:
            slowly(0.02)

        for _ in range(2):
            self.successResultOf(Deferred.fromCoroutine(self.slow.measured(started := work(), started, "x")))
        (name,) = self.names()
        self.assertIn("test_nameOfACoroutine.<locals>.work", name)

    def test_steps(self) -> None:
        """
        Of a coroutine each step is measured, not the time that it waits.
        """
        waiting: Deferred[int] = Deferred()

        async def work() -> int:
            slowly(0.006)
            got = await waiting
            slowly(0.006)
            return got + 1

        done = Deferred.fromCoroutine(self.slow.measured(work(), work, "there"))
        self.assertEqual(self.slow.count, 1)
        waiting.callback(1)
        self.assertEqual(self.slow.count, 2)
        self.assertEqual(self.successResultOf(done), 2)

    def test_stepsThatFail(self) -> None:
        """
        A measured coroutine gets the errors that it waits for, and raises its own.
        """
        waiting: Deferred[int] = Deferred()

        async def work() -> int:
            try:
                return await waiting
            except ZeroDivisionError:
                raise KeyError("mine") from None

        done = Deferred.fromCoroutine(self.slow.measured(work(), work, "there"))
        waiting.errback(ZeroDivisionError())
        self.failureResultOf(done, KeyError)
        self.assertEqual(self.slow.count, 0)

    def test_cancelled(self) -> None:
        """
        One that is cancelled hears of it where it waits.
        """
        heard: list[str] = []
        waiting: Deferred[int] = Deferred()

        async def work() -> None:
            try:
                await waiting
            finally:
                heard.append("end")

        done = Deferred.fromCoroutine(self.slow.measured(work(), work, "there"))
        done.cancel()
        self.failureResultOf(done)
        self.assertEqual(heard, ["end"])

    def test_closed(self) -> None:
        """
        A measured coroutine that nobody waits for any more is closed, also when the one that it measures was first, as
        where the garbage collector finds both.
        """
        ended = []

        async def work() -> None:
            try:
                await Deferred()
            finally:
                ended.append("closed")

        for first in (True, False):
            steps = work()
            measured = self.slow.measured(steps, work, "there")
            measured.send(None)
            if first:
                steps.close()
            measured.close()
        self.assertEqual(ended, ["closed", "closed"])
