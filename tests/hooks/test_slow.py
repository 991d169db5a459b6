"""
Callbacks that hold the reactor: found at every point, in whatever form they come.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.base.test_slowcalls import slowly
from twisted_mqtt.base.slowcalls import SlowCalls
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.core.message import Message
from twisted_mqtt.hooks.points import Hooks
from twisted_mqtt.testing.broker import makeBroker


class Noted(SlowCalls):
    """
    Notes who was slow.
    """

    def __init__(self, limit: float) -> None:
        super().__init__(limit)
        self.seen: list[tuple[str, str]] = []

    def held(self, callback: object, where: str, seconds: float) -> None:
        """
        Note it.
        """
        self.seen.append((getattr(callback, "__name__", "?"), where))


def hold(*args: Any) -> None:
    """
    A plain callback that takes too long.
    """
    slowly(0.006)


def raiseLate(*args: Any) -> None:
    """
    One that fails after that.
    """
    slowly(0.006)
    raise ZeroDivisionError


async def holdLater(*args: Any) -> None:
    """
    A coroutine that takes too long once it has waited.
    """
    await succeed(None)
    slowly(0.006)


def quick(*args: Any) -> None:
    """
    As callbacks should be.
    """


class SlowTests(SynchronousTestCase):
    """
    The events that the points report.
    """

    def setUp(self) -> None:
        self.slow = Noted(0.005)
        self.hooks = Hooks(Clock(), slow=self.slow)

    def test_run(self) -> None:
        """
        At a point that tells.
        """
        for callback in (quick, hold, holdLater, raiseLate):
            self.hooks.messageAcked.add(callback)
        self.hooks.runHook("message.acked", ["client", "message"])
        self.assertEqual([name for name, _ in self.slow.seen], ["hold", "holdLater", "raiseLate"])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_fold(self) -> None:
        """
        At a point that passes a value along, also after a callback that has waited.
        """
        waiting: Deferred[None] = Deferred()
        point = self.hooks.messagePublish
        point.add(hold)
        point.add(lambda message: waiting)
        for callback in (quick, holdLater, raiseLate):
            point.add(callback)
        outcome = point.fold(Message("a", b""))
        self.assertEqual(self.slow.seen, [("hold", "message.publish")])
        waiting.callback(None)
        self.assertEqual([name for name, _ in self.slow.seen], ["hold", "holdLater", "raiseLate"])
        assert isinstance(outcome, Deferred)
        self.successResultOf(outcome)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_never(self) -> None:
        """
        With a limit of 0 nothing is measured.
        """
        self.slow.limit = 0
        self.hooks.messageAcked.add(hold)
        self.hooks.messageAcked.add(holdLater)
        self.hooks.runHook("message.acked", ["client", "message"])
        self.assertEqual(self.slow.seen, [])

    def test_setting(self) -> None:
        """
        The limit of a broker is C{sysmon.long_schedule}, also when that has changed.
        """
        broker, _ = makeBroker(Clock())
        self.assertEqual(broker.hooks.slow.limit, 0.24)
        broker.configure(settingsFrom({"sysmon": {"long_schedule": 5}}))
        self.assertEqual(broker.hooks.slow.limit, 0.005)
