"""
Properties of L{twisted_mqtt.hooks.kinds}: a chain against the plain definition of what it is to do.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_mqtt.hooks.points import Hooks
from twisted_mqtt.hooks.verdicts import OK, STOP, HookTimeout

VALUES = st.lists(st.integers(0, 9), max_size=2)

# The answers of a callback, in the words of the definition below.
ANSWERS = st.one_of(
    st.just(("keep", None)),
    st.just(("raise", None)),
    st.just(("stop", None)),
    st.tuples(st.just("change"), VALUES),
    st.tuples(st.just("ok"), VALUES),
    st.tuples(st.just("stop"), VALUES),
)

# How it comes: at once, as a Deferred that has fired, as a coroutine, later, or never.
WAYS = st.sampled_from(["plain", "fired", "coroutine", "later", "never"])

CALLBACKS = st.lists(st.tuples(ANSWERS, WAYS, st.integers(-2, 2)), max_size=8)


class Fault(Exception):
    """
    The exception of a callback here.
    """


def defined(callbacks: list[tuple[tuple[str, Any], str, int]]) -> tuple[list[int], list[int], int]:
    """
    The effect of a chain, by the plain definition.

    @return: which callbacks are called, the value in the end, and how many failures there are.
    """
    value, called, failures = [0], [], 0
    for number in sorted(range(len(callbacks)), key=lambda number: -callbacks[number][2]):
        (answer, new), way, _ = callbacks[number]
        called.append(number)
        if way == "never" or answer == "raise":
            failures += 1
            continue
        if new is not None:
            value = new
        if answer == "stop":
            break
    return called, value, failures


def spoken(answer: tuple[str, Any]) -> Any:
    """
    The answer as a callback gives it.
    """
    word, value = answer
    if word == "raise":
        raise Fault
    if word == "ok":
        return OK(value)
    if word == "stop":
        return STOP if value is None else STOP(value)
    return value


class Chain:
    """
    Callbacks on a fold point, and what is still to fire.
    """

    def __init__(self, callbacks: list[tuple[tuple[str, Any], str, int]]) -> None:
        self.clock = Clock()
        self.hooks = Hooks(self.clock, 1)
        self.called: list[int] = []
        self.pending: list[tuple[Deferred[Any], tuple[str, Any]]] = []
        for number, (answer, way, priority) in enumerate(callbacks):
            self.hooks.clientUnsubscribe.add(self.callback(number, answer, way), priority=priority)

    def callback(self, number: int, answer: tuple[str, Any], way: str) -> Any:
        """
        Make one callback.
        """

        async def coroutine(*args: object) -> Any:
            self.called.append(number)
            return spoken(answer)

        def function(*args: object) -> Any:
            self.called.append(number)
            if way == "plain":
                return spoken(answer)
            if way == "fired":
                return fail(Fault()) if answer[0] == "raise" else succeed(spoken(answer))
            waiting: Deferred[Any] = Deferred()
            if way == "later":
                self.pending.append((waiting, answer))
            return waiting

        return coroutine if way == "coroutine" else function

    def fold(self) -> Any:
        """
        Run the chain, firing what is pending, and letting the time of the rest run out.
        """
        results: list[Any] = []
        outcome = self.hooks.clientUnsubscribe.fold("client", None, [0])
        if not isinstance(outcome, Deferred):
            return outcome
        outcome.addCallback(results.append)
        while not results:
            if self.pending:
                waiting, answer = self.pending.pop()
                if answer[0] == "raise":
                    waiting.errback(Fault())
                else:
                    waiting.callback(spoken(answer))
            else:
                assert self.clock.getDelayedCalls(), "nothing is waited for, and there is no result"
                self.clock.advance(1)
        return results[0]


class ChainProperties(SynchronousTestCase):
    """
    Properties of chains in which callbacks fail, which is logged.
    """

    @given(CALLBACKS)
    def test_chainDoesWhatIsDefined(self, callbacks: list[tuple[tuple[str, Any], str, int]]) -> None:
        """
        Whatever callbacks answer, and in whatever way, the right ones are called, in order, and the value is right.
        """
        chain = Chain(callbacks)
        value = chain.fold()
        called, expected, failures = defined(callbacks)
        self.assertEqual((chain.called, value), (called, expected))
        self.assertEqual(chain.hooks.clientUnsubscribe.failures, failures)
        self.assertEqual(len(self.flushLoggedErrors(Fault, HookTimeout)), failures)
        self.assertEqual(chain.clock.getDelayedCalls(), [])


@given(CALLBACKS)
def test_deferredOnlyWhenSomeoneWaits(callbacks: list[tuple[tuple[str, Any], str, int]]) -> None:
    """
    A chain in which nobody waits returns its value, not a Deferred.
    """
    patient = [(answer, way, priority) for answer, way, priority in callbacks if answer[0] != "raise"]
    patient = [each for each in patient if each[1] not in ("later", "never")]
    outcome = Chain(patient).hooks.clientUnsubscribe.fold("client", None, [0])
    assert outcome == defined(patient)[1]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(-3, 3), st.booleans()), max_size=30))
def test_registrationsStayInOrder(changes: list[tuple[str, int, bool]]) -> None:
    """
    After any sequence of adding and removing, a point holds what it should, by priority and then by age.
    """
    hooks = Hooks()
    actions = {name: (lambda *args, name=name: name) for name in "abcdef"}
    model: list[tuple[str, int]] = []
    for name, priority, add in changes:
        there = any(name == each for each, _ in model)
        if add and not there:
            hooks.messageAcked.add(actions[name], priority=priority)
            model.append((name, priority))
        elif not add:
            assert hooks.messageAcked.remove(actions[name]) is there
            model = [each for each in model if each[0] != name]
    expected = [name for name, _ in sorted(model, key=lambda each: -each[1])]
    assert [callback() for callback in hooks.messageAcked.callbacks] == expected
