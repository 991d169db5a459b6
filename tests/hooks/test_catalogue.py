"""
Tests for L{twisted_mqtt.hooks.points}: what the callbacks of a point do to what they are given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.kits.hooks import Fault, answering, raising
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.hooks.points import Hooks
from twisted_mqtt.hooks.verdicts import ALLOW, DENY, DROP, OK, STOP, AuthResult, Challenge, HookTimeout


class RunTests(SynchronousTestCase):
    """
    Tests for L{RunPoint.run}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.point = Hooks(self.clock, 5).clientConnected
        self.heard: list[Any] = []

    def test_nobody(self) -> None:
        """
        With no callback there is nothing to wait for.
        """
        self.assertIsNone(self.point.run("client", "connection"))

    def test_answersDoNotMatter(self) -> None:
        """
        Whatever a callback answers, the next one is told.
        """
        for answer in (None, OK, OK(1), "x", False, DROP):
            self.point.add(answering(answer, self.heard))
        self.assertIsNone(self.point.run("client", "connection"))
        self.assertEqual(self.heard, [("client", "connection")] * 6)

    def test_stop(self) -> None:
        """
        C{STOP}, with a value or without, ends the chain.
        """
        for stop in (STOP, STOP(1)):
            point = Hooks(self.clock).clientConnected
            point.add(answering(stop, self.heard))
            point.add(answering(None, self.heard))
            self.assertIsNone(point.run(stop))
        self.assertEqual(self.heard, [(STOP,), self.heard[1]])

    def test_raises(self) -> None:
        """
        A callback that raises is logged and counted, and the next one is told.
        """
        self.point.add(raising)
        self.point.add(answering(None, self.heard))
        self.assertIsNone(self.point.run(1))
        self.assertEqual(self.heard, [(1,)])
        self.assertEqual((self.point.failures, self.point.timeouts), (1, 0))
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 1)

    def test_waits(self) -> None:
        """
        The callbacks after one that waits are told once it has finished, and only then the caller goes on.
        """
        waiting: Deferred[Any] = Deferred()
        self.point.add(answering(waiting, self.heard))
        self.point.add(answering(None, self.heard))
        outcome = self.point.run(1)
        self.assertNoResult(outcome)
        self.assertEqual(self.heard, [(1,)])
        waiting.callback("whatever")
        self.assertIsNone(self.successResultOf(outcome))
        self.assertEqual(self.heard, [(1,), (1,)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failsAgain(self) -> None:
        """
        A callback that fails for every message is counted each time, and logged once a second.
        """
        self.point.add(raising)
        self.point.add(partial(raising, "another"))
        for _ in range(100):
            self.point.run()
        self.assertEqual(self.point.failures, 200)
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 2)
        self.clock.advance(1)
        self.point.run()
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 2)

    def test_deferredFails(self) -> None:
        """
        A Deferred that fails, at once or later, is logged and counted, and the chain goes on.
        """
        waiting: Deferred[Any] = Deferred()
        self.point.add(lambda number: fail(Fault()))
        self.point.add(answering(waiting))
        self.point.add(answering(None, self.heard))
        outcome = self.point.run(1)
        waiting.errback(Fault())
        self.assertIsNone(self.successResultOf(outcome))
        self.assertEqual(self.heard, [(1,)])
        self.assertEqual(self.point.failures, 2)
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 2)

    def test_timesOut(self) -> None:
        """
        A callback that does not finish in time is cancelled, logged and counted, and the chain goes on.
        """
        cancelled: list[Any] = []
        waiting: Deferred[Any] = Deferred(cancelled.append)
        self.point.add(answering(waiting))
        self.point.add(answering(None, self.heard))
        outcome = self.point.run(1)
        self.clock.advance(4.9)
        self.assertNoResult(outcome)
        self.clock.advance(0.2)
        self.assertIsNone(self.successResultOf(outcome))
        self.assertEqual((cancelled, self.heard), ([waiting], [(1,)]))
        self.assertEqual((self.point.failures, self.point.timeouts), (1, 1))
        self.assertEqual(len(self.flushLoggedErrors(HookTimeout)), 1)

    def test_eachHasItsTime(self) -> None:
        """
        The time is for each callback, not for the chain.
        """
        slow: list[Deferred[Any]] = [Deferred(), Deferred()]
        for waiting in slow:
            self.point.add(answering(waiting))
        outcome = self.point.run()
        for waiting in slow:
            self.clock.advance(4)
            waiting.callback(None)
        self.assertIsNone(self.successResultOf(outcome))
        self.assertEqual(self.point.failures, 0)

    def test_manyThatHaveFired(self) -> None:
        """
        However many callbacks answer with a Deferred that has fired, no Deferred comes out and no stack is needed.
        """
        for number in range(3000):
            self.point.add(partial(succeed, number))
        self.assertIsNone(self.point.run())

    def test_partialFails(self) -> None:
        """
        A callback without a name of its own is logged like any other.
        """
        self.point.add(partial(raising, 1))
        self.point.run()
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 1)

    def test_manyThatWait(self) -> None:
        """
        Neither is stack needed when callbacks that wait and callbacks that have fired alternate.
        """
        waiting: Deferred[Any] = Deferred()
        self.point.add(answering(waiting))
        count: list[int] = []
        for number in range(3000):
            self.point.add(partial(lambda number: succeed(count.append(number)), number))
        outcome = self.point.run()
        waiting.callback(None)
        self.assertIsNone(self.successResultOf(outcome))
        self.assertEqual(count, list(range(3000)))

    def test_cancelled(self) -> None:
        """
        Cancelling what C{run} returned cancels the callback that waits, and leaves the others untold.
        """
        waiting: Deferred[Any] = Deferred()
        self.point.add(answering(waiting))
        self.point.add(answering(None, self.heard))
        outcome = self.point.run()
        assert outcome is not None
        outcome.cancel()
        self.failureResultOf(outcome, CancelledError)
        self.assertTrue(waiting.called)
        self.assertEqual((self.heard, self.point.failures), ([], 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FoldTests(SynchronousTestCase):
    """
    Tests for L{FoldPoint.fold}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.hooks = Hooks(self.clock, 5)
        self.point = self.hooks.clientUnsubscribe
        self.heard: list[Any] = []

    def fold(self, *answers: Any) -> Any:
        """
        Pass C{["a"]} through callbacks that give these answers.
        """
        for answer in answers:
            self.point.add(answering(answer, self.heard))
        return self.point.fold("client", None, ["a"])

    def test_nobody(self) -> None:
        """
        With no callback the value stays, and no Deferred is made.
        """
        self.assertEqual(self.fold(), ["a"])

    def test_unchanged(self) -> None:
        """
        C{None} and C{OK}, also with C{None} as value, leave the value.
        """
        self.assertEqual(self.fold(None, OK, OK(None)), ["a"])
        self.assertEqual(self.heard, [("client", None, ["a"])] * 3)

    def test_changed(self) -> None:
        """
        A value, and C{OK} with a value, are what the next callback and the caller get.
        """
        self.assertEqual(self.fold(["b"], OK(["c"]), None), ["c"])
        self.assertEqual([value for _, _, value in self.heard], [["a"], ["b"], ["c"]])

    def test_stop(self) -> None:
        """
        C{STOP} ends the chain with the value as it is.
        """
        self.assertEqual(self.fold(["b"], STOP, ["c"]), ["b"])
        self.assertEqual(len(self.heard), 2)

    def test_stopWithValue(self) -> None:
        """
        C{STOP} with a value ends the chain with that; with C{None} it is as without.
        """
        self.assertEqual(self.fold(STOP(["b"]), ["c"]), ["b"])
        self.assertEqual(len(self.heard), 1)
        self.point = self.hooks.clientSubscribe
        self.assertEqual(self.fold(STOP(None), ["c"]), ["a"])

    def test_raises(self) -> None:
        """
        A callback that raises is logged and counted, and the next one gets the value it got.
        """
        self.point.add(raising)
        self.assertEqual(self.fold(None), ["a"])
        self.assertEqual(self.heard, [("client", None, ["a"])])
        self.assertEqual(self.point.failures, 1)
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 1)

    def test_wrongType(self) -> None:
        """
        A value of another type is the callback's failure: it never gets into the broker.
        """
        self.assertEqual(self.fold(True, "b", STOP(7), OK(DROP), None), ["a"])
        self.assertEqual(len(self.heard), 5)
        self.assertEqual(self.point.failures, 4)
        logged = self.flushLoggedErrors(TypeError)
        self.assertIn("client.unsubscribe cannot make anything of the answer True", str(logged[0].value))

    def test_waits(self) -> None:
        """
        The value goes through a callback that waits as through any other.
        """
        waiting: Deferred[Any] = Deferred()
        outcome = self.fold(["b"], waiting, None)
        self.assertNoResult(outcome)
        self.assertEqual(len(self.heard), 2)
        waiting.callback(["c"])
        self.assertEqual(self.successResultOf(outcome), ["c"])
        self.assertEqual([value for _, _, value in self.heard], [["a"], ["b"], ["c"]])

    def test_fired(self) -> None:
        """
        A Deferred that has fired is as good as its result, every kind of it.
        """
        self.assertEqual(self.fold(succeed(None), succeed(OK), succeed(["b"]), succeed(STOP(["c"])), ["d"]), ["c"])
        self.assertEqual(len(self.heard), 4)

    def test_coroutine(self) -> None:
        """
        An C{async def} is a callback like any other.
        """
        waiting: Deferred[Any] = Deferred()

        async def extend(client: object, properties: object, filters: list[str]) -> list[str]:
            return [*filters, await waiting]

        async def atOnce(client: object, properties: object, filters: list[str]) -> Any:
            return STOP([*filters, "c"])

        self.point.add(extend)
        self.point.add(atOnce)
        outcome = self.fold(["never"])
        self.assertNoResult(outcome)
        waiting.callback("b")
        self.assertEqual(self.successResultOf(outcome), ["a", "b", "c"])
        self.assertEqual(self.heard, [])

    def test_coroutineThatNeverWaits(self) -> None:
        """
        A coroutine that has its answer at once makes nobody wait, with arguments of its own too.
        """

        async def extend(client: object, properties: object, filters: list[str], more: str) -> list[str]:
            return [*filters, more]

        self.point.add(extend, args=("b",))
        self.assertEqual(self.fold(), ["a", "b"])

    def test_coroutineRaises(self) -> None:
        """
        A coroutine that raises is a callback that fails.
        """

        async def fault(*args: object) -> None:
            raise Fault

        self.point.add(fault)
        self.assertEqual(self.fold(["b"]), ["b"])
        self.assertEqual(self.point.failures, 1)
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 1)

    def test_timesOut(self) -> None:
        """
        A callback that does not answer in time changes nothing, also when its answer comes after all.
        """
        # A canceller that does not make the Deferred fire would be unusual; cancel() then does it. So the late answer
        # comes from a coroutine that does not let itself be cancelled.
        first: Deferred[Any] = Deferred()
        second: Deferred[Any] = Deferred()

        async def stubborn(*args: object) -> list[str]:
            try:
                await first
            except CancelledError:
                await second
            return ["late"]

        self.point.add(stubborn)
        outcome = self.fold(None)
        self.clock.advance(6)
        self.assertEqual(self.successResultOf(outcome), ["a"])
        self.assertEqual((self.point.failures, self.point.timeouts), (1, 1))
        second.callback(None)
        self.assertEqual(self.heard, [("client", None, ["a"])])
        self.assertEqual(len(self.flushLoggedErrors(HookTimeout)), 1)

    def test_failsLate(self) -> None:
        """
        A failure that comes after its time is up disturbs nobody.
        """
        waiting: Deferred[Any] = Deferred(lambda deferred: deferred.errback(Fault()))
        outcome = self.fold(waiting, ["b"])
        self.clock.advance(6)
        self.assertEqual(self.successResultOf(outcome), ["b"])
        self.assertEqual(self.point.failures, 1)
        self.assertEqual(len(self.flushLoggedErrors(HookTimeout)), 1)
        self.assertEqual(self.flushLoggedErrors(Fault), [])

    def test_cancellingRaises(self) -> None:
        """
        A canceller that raises is logged, and the chain goes on all the same.
        """
        outcome = self.fold(Deferred(raising), ["b"])
        self.clock.advance(6)
        self.assertEqual(self.successResultOf(outcome), ["b"])
        self.assertEqual(len(self.flushLoggedErrors(Fault, HookTimeout)), 2)

    def test_noTimeLimit(self) -> None:
        """
        A time of 0, or no clock, is no limit.
        """
        self.hooks.timeout = 0
        waiting: Deferred[Any] = Deferred()
        outcome = self.fold(waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        waiting.callback(["b"])
        self.assertEqual(self.successResultOf(outcome), ["b"])
        clockless = Hooks().clientUnsubscribe
        clockless.add(answering(Deferred()))
        self.assertNoResult(clockless.fold("client", None, []))

    def test_connectProperties(self) -> None:
        """
        Where there were no properties a callback may bring some, and nothing else.
        """
        properties = Properties()
        self.hooks.clientConnect.add(answering(properties))
        self.hooks.clientConnect.add(answering({"user": "property"}))
        self.assertIs(self.hooks.clientConnect.fold("connection", None), properties)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)


class MessagePointTests(SynchronousTestCase):
    """
    Tests for the points whose value is a message.
    """

    def setUp(self) -> None:
        self.hooks = Hooks(Clock())
        self.message = Message("a/b", b"payload")

    def test_dropped(self) -> None:
        """
        C{DROP}, alone or said with C{OK} or C{STOP}, now or later, is the value in the end: no callback follows.
        """
        for answer in (lambda: DROP, lambda: OK(DROP), lambda: STOP(DROP), lambda: succeed(DROP)):
            hooks = Hooks()
            for point, given in (
                (hooks.messagePublish, (self.message,)),
                (hooks.messageDelivered, ("client", self.message)),
            ):
                point.add(lambda *args, answer=answer: answer())
                point.add(raising)
                self.assertIs(point.fold(*given), DROP)

    def test_replaced(self) -> None:
        """
        The next callback gets the message that the one before made.
        """
        heard: list[Any] = []
        self.hooks.messagePublish.add(lambda message: message.replace(topic="c"))
        self.hooks.messagePublish.add(answering(None, heard))
        self.assertEqual(self.hooks.messagePublish.fold(self.message).topic, "c")
        self.assertEqual([message.topic for (message,) in heard], ["c"])

    def test_notAMessage(self) -> None:
        """
        A value that is no message does not get into the broker.
        """
        self.hooks.messagePublish.add(answering(b"payload"))
        self.hooks.messagePublish.add(answering(False))
        self.assertIs(self.hooks.messagePublish.fold(self.message), self.message)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 2)


class VerdictPointTests(SynchronousTestCase):
    """
    Tests for the points that decide: they refuse where others go on.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.hooks = Hooks(self.clock, 5)
        self.heard: list[Any] = []

    def authenticate(self, *callbacks: Callable[..., Any]) -> Any:
        """
        Let a client come in that these callbacks let in.
        """
        for callback in callbacks:
            self.hooks.clientAuthenticate.add(callback)
        return self.hooks.clientAuthenticate.fold("client", AuthResult("success", anonymous=True))

    def checkAcl(self, *callbacks: Callable[..., Any]) -> Any:
        """
        Ask these callbacks whether a client may publish, which it may if nobody minds.
        """
        for callback in callbacks:
            self.hooks.clientCheckAcl.add(callback)
        return self.hooks.clientCheckAcl.fold("client", "publish", "a/b", ALLOW)

    def test_verdicts(self) -> None:
        """
        The last verdict stands; C{STOP} makes one final.
        """
        self.assertEqual(self.checkAcl(answering(DENY), answering(ALLOW)), ALLOW)
        self.assertEqual(self.checkAcl(answering(STOP(DENY)), answering(ALLOW)), DENY)

    def test_raises(self) -> None:
        """
        A callback that raises refuses, and nobody further is asked.
        """
        self.assertEqual(self.checkAcl(raising, answering(ALLOW, self.heard)), DENY)
        refused = self.authenticate(raising, answering(AuthResult(), self.heard))
        self.assertEqual(refused, AuthResult("server_unavailable"))
        self.assertEqual(self.heard, [])
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 2)

    def test_fails(self) -> None:
        """
        So does a Deferred that fails.
        """
        waiting: list[Deferred[Any]] = [Deferred(), Deferred()]
        permission = self.checkAcl(answering(waiting[0]), answering(ALLOW, self.heard))
        result = self.authenticate(answering(waiting[1]), answering(AuthResult(), self.heard))
        for each in waiting:
            each.errback(Fault())
        self.assertEqual(self.successResultOf(permission), DENY)
        self.assertFalse(self.successResultOf(result).success)
        self.assertEqual(self.heard, [])
        self.assertEqual(len(self.flushLoggedErrors(Fault)), 2)

    def test_timesOut(self) -> None:
        """
        So does one that does not answer in time.
        """
        permission = self.checkAcl(answering(Deferred()), answering(ALLOW, self.heard))
        result = self.authenticate(answering(Deferred()), answering(AuthResult(), self.heard))
        self.clock.advance(5)
        self.assertEqual(self.successResultOf(permission), DENY)
        self.assertEqual(self.successResultOf(result).reasonCode, 0x88)
        self.assertEqual(self.heard, [])
        self.assertEqual(len(self.flushLoggedErrors(HookTimeout)), 2)

    def test_nonsense(self) -> None:
        """
        So does one that answers something that is no verdict, such as C{True}.
        """
        self.assertEqual(self.checkAcl(answering(True)), DENY)
        self.assertEqual(self.authenticate(answering(succeed(True))), AuthResult("server_unavailable"))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 2)

    def test_challenge(self) -> None:
        """
        A challenge is the value in the end: nobody is asked before the client has replied.
        """
        challenge = Challenge(b"nonce")
        point = self.hooks.clientEnhancedAuthenticate
        point.add(answering(challenge))
        point.add(raising)
        self.assertIs(point.fold("client", "SCRAM", b"", None, AuthResult("bad_authentication_method")), challenge)

    def test_challengeForPlainCredentials(self) -> None:
        """
        A client that has only a user name and a password can't be challenged.
        """
        self.assertEqual(self.authenticate(answering(Challenge(b"nonce"))), AuthResult("server_unavailable"))
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
