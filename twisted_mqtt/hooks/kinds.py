"""
The kinds of hook points: those that tell, those that pass a value along, and the one that decides about access.

This module makes no L{Deferred} unless a callback waits. A chain of plain answers is a loop over a tuple; only a
callback that waits makes its caller wait.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final, Generic, Literal, Never, Protocol, TypeVar, TypeVarTuple, overload

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mqtt.base.slowcalls import SlowCalls, describe
from twisted_mqtt.base.waiting import Maybe
from twisted_mqtt.hooks.chain import WAITS, Callback, FoldAnswer, FoldChain, RunChain
from twisted_mqtt.hooks.registration import AccessRegistration, Registration
from twisted_mqtt.hooks.tracing import traced
from twisted_mqtt.hooks.verdicts import DENY, OK, STOP, Answer, Challenge, Drop, HookExists, HookTimeout, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from twisted.internet.interfaces import IReactorTime

    from twisted_mqtt.core.topicrules import TopicRules
    from twisted_mqtt.hooks.points import Hooks
    from twisted_mqtt.interfaces import IClient

_log = Logger()

#: A callback that fails for every message is shown once in so many seconds, or it would fill the disk.
LOG_INTERVAL: Final = 1.0

#: A run through a point is measured, unless another was so many seconds ago or less.
MEASURED: Final = 0.001

_V = TypeVar("_V")
_E = TypeVar("_E")
_Ts = TypeVarTuple("_Ts")


class Observer(Protocol):
    """
    Takes measurements, as L{twisted_mqtt.base.metrics.Histogram} does.
    """

    def observe(self, value: float) -> None:
        """
        A value has come.
        """


class HookPoint:
    """
    One place in the broker where callbacks may be added.

    @ivar callbacks: what to call, in order; empty when nobody is interested, which callers test before they call.
        The tuple is replaced on every change, so a chain that is running is not disturbed.
    @ivar failures: how many callbacks raised, failed, answered nonsense or did not answer in time.
    @ivar timeouts: how many of those did not answer in time.
    """

    __slots__ = (
        "_hooks",
        "_measureAt",
        "_observers",
        "_quietUntil",
        "_registrations",
        "callbacks",
        "failures",
        "name",
        "timeouts",
    )

    kind: Literal["fold", "run"]

    def __init__(self, name: str, hooks: Hooks) -> None:
        self.name = name
        self.callbacks: tuple[Callback, ...] = ()
        self.failures = 0
        self.timeouts = 0
        # When a run is to be measured again, as perf_counter tells it.
        self._measureAt = 0.0
        self._hooks = hooks
        self._registrations: tuple[Registration, ...] = ()
        # By identity, for not everything that can be called can be a key.
        self._quietUntil: dict[int, float] = {}
        # What takes the times of each callback: of its calls, and of its waits.
        self._observers: dict[tuple[int, bool], Observer] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {len(self.callbacks)} callbacks>"

    def __iter__(self) -> Iterator[Registration]:
        """
        Go through what was added, in the order in which it is called.
        """
        return iter(self._registrations)

    @property
    def clock(self) -> IReactorTime | None:
        """
        The clock that measures how long a callback waits.
        """
        return self._hooks.clock

    @property
    def timeout(self) -> float:
        """
        For how many seconds a callback may wait that is called for no client.
        """
        return self._hooks.timeout

    @property
    def slow(self) -> SlowCalls:
        """
        Is told of callbacks that block the reactor for too long.
        """
        return self._hooks.slow

    def add(
        self,
        action: Callback,
        *,
        priority: int = 0,
        filter: Callable[..., object] | None = None,
        args: Sequence[object] = (),
    ) -> None:
        """
        Call something whenever the broker comes past this point.

        @param action: it is called with the point's arguments and then C{args}; it may be an C{async def}.
        @param priority: higher ones are called first, equal ones in the order in which they were added.
        @param filter: called with the point's arguments; C{action} is passed over when it says no.
        @param args: further arguments for C{action}.

        @raise HookExists: this action is here already.
        """
        self._add(Registration(action, priority, filter, tuple(args)))

    def _add(self, added: Registration) -> None:
        if any(registration.action == added.action for registration in self._registrations):
            raise HookExists(self.name, describe(added.action))
        # A stable sort keeps equal priorities in the order of adding.
        self._install(sorted((*self._registrations, added), key=lambda registration: -registration.priority))

    def remove(self, action: Callback) -> bool:
        """
        Take an action away; chains that are running still call it.

        @return: whether it was here.
        """
        kept = [registration for registration in self._registrations if registration.action != action]
        found = len(kept) < len(self._registrations)
        self._install(kept)
        return found

    def _install(self, registrations: Sequence[Registration]) -> None:
        self._registrations = tuple(registrations)
        self.callbacks = tuple(registration.call for registration in registrations)
        self._quietUntil.clear()
        self._observers.clear()
        if self._hooks.changed is not None:
            self._hooks.changed(self)

    def took(self, callback: Callback, seconds: float, waiting: bool = False) -> None:
        """
        Take note of how long a callback has held the reactor, or how long it has kept its chain waiting.
        """
        callback = traced(callback)
        found = self._observers.get((id(callback), waiting))
        if found is None:
            make = self._hooks.waited if waiting else self._hooks.called
            registration = next((each for each in self._registrations if each.call is callback), None)
            if make is None or registration is None:
                # One that has been removed meanwhile, or that is called through a trace.
                return
            owner = registration.owner
            found = make(self.name, "" if owner is None else self._hooks.nameOwner(owner))
            self._observers[id(callback), waiting] = found
        found.observe(seconds)

    def failed(self, callback: Callback, failure: Failure) -> None:
        """
        Count that a callback did not do its work, and log it unless it was logged just now.
        """
        self.failures += 1
        if failure.check(HookTimeout):
            self.timeouts += 1
        if self.clock is not None:
            now = self.clock.seconds()
            key = id(traced(callback))
            if now < self._quietUntil.get(key, now):
                return
            self._quietUntil[key] = now + LOG_INTERVAL
        _log.failure(
            "Callback {callback} of hook point {point} failed ({failures} failures there by now)",
            failure=failure,
            callback=describe(callback),
            point=self.name,
            failures=self.failures,
        )


class RunPoint(HookPoint, Generic[*_Ts]):
    """
    A point that tells: every callback hears of the event, what they answer changes nothing.
    """

    __slots__ = ()

    kind: Literal["run"] = "run"

    if TYPE_CHECKING:

        @overload  # type: ignore[override]  # a point of a known kind is more particular than any point
        def add(
            self,
            action: Callable[[*_Ts], object],
            *,
            priority: int = 0,
            filter: Callable[[*_Ts], object] | None = None,
        ) -> None: ...

        @overload
        def add(
            self,
            action: Callable[..., object],
            *,
            priority: int = 0,
            filter: Callable[[*_Ts], object] | None = None,
            args: Sequence[object],
        ) -> None: ...

        def add(
            self,
            action: Callable[..., object],
            *,
            priority: int = 0,
            filter: Callable[..., object] | None = None,
            args: Sequence[object] = (),
        ) -> None: ...

    def run(self, *args: *_Ts) -> Deferred[None] | None:
        """
        Tell every callback, in order, until one answers L{STOP}.

        @return: C{None} when all are done; a L{Deferred} that fires with C{None} when a callback had to wait. It
            does not fail: a callback that fails is logged and counted, and the next one is told. Cancelling it
            leaves the rest untold.
        """
        slow = self._hooks.slow
        limit = slow.limit
        due = self._measureAt
        tracing = self._hooks.tracing
        callbacks = iter(self.callbacks) if tracing is None else tracing.callbacks(self, args)
        for callback in callbacks:
            began = perf_counter() if limit else 0.0
            try:
                answer = callback(*args)
            except Exception:
                self.failed(callback, Failure())
                answer = None
            if limit:
                took = perf_counter() - began
                if took > limit:
                    slow.held(callback, self.name, took)
                if began >= due:
                    self._measureAt = began + MEASURED
                    self.took(callback, took)
            if answer is None or answer is OK:
                continue
            outcome = RunChain(self, callbacks, callback, args).carryOn(answer)
            return outcome.addCallback(_nothing) if isinstance(outcome, Deferred) else None
        return None

    def tell(self, *args: *_Ts) -> Maybe[Answer[None]]:
        """
        Do what L{run} does, and say how it ended.

        @return: L{OK}, or L{STOP} if a callback ended the chain; a L{Deferred} of one of these.
        """
        tracing = self._hooks.tracing
        callbacks = iter(self.callbacks) if tracing is None else tracing.callbacks(self, args)
        return RunChain(self, callbacks, describe, args).carryOn(None)


class FoldPoint(HookPoint, Generic[_V, _E, *_Ts]):
    """
    A point that passes a value from callback to callback; each may keep, change or settle it.

    @ivar accepts: whether a new value may follow an old one. What is not acceptable is the callback's failure, so
        that a callback which carelessly returns something cannot put nonsense into the broker.
    @ivar refusal: makes the value that stands when a callback fails. Only points that decide have one; at the
        others the value stays as it was and the chain goes on.
    """

    __slots__ = ("accepts", "refusal")

    kind: Literal["fold"] = "fold"

    def __init__(
        self,
        name: str,
        hooks: Hooks,
        accepts: Callable[[object, object], bool] | None = None,
        refusal: Callable[[], _V] | None = None,
    ) -> None:
        super().__init__(name, hooks)
        self.accepts = _sameType if accepts is None else accepts
        self.refusal = refusal

    if TYPE_CHECKING:

        @overload  # type: ignore[override]  # a point of a known kind is more particular than any point
        def add(
            self,
            action: Callable[[*_Ts, _V], FoldAnswer[_V, _E]],
            *,
            priority: int = 0,
            filter: Callable[[*_Ts, _V], object] | None = None,
        ) -> None: ...

        @overload
        def add(
            self,
            action: Callable[..., FoldAnswer[_V, _E]],
            *,
            priority: int = 0,
            filter: Callable[[*_Ts, _V], object] | None = None,
            args: Sequence[object],
        ) -> None: ...

        def add(
            self,
            action: Callable[..., object],
            *,
            priority: int = 0,
            filter: Callable[..., object] | None = None,
            args: Sequence[object] = (),
        ) -> None: ...

    def fold(self, *args: *tuple[*_Ts, _V]) -> Maybe[_V | _E]:
        """
        Pass the last argument, the value, through all callbacks.

        A callback is given the same arguments with the value as it is by then. It answers C{None} or L{OK} to leave
        the value alone, a new value or C{OK(value)} to change it, L{STOP} or C{STOP(value)} to have the last word,
        or a L{Deferred} or coroutine of one of these.

        @return: the value in the end; a L{Deferred} of it when a callback had to wait. It does not fail: a callback
            that fails is logged and counted. Cancelling it ends the chain.
        """
        return self._fold(args[:-1], args[-1])

    def _fold(self, given: tuple[object, ...], value: _V | _E) -> Maybe[_V | _E]:
        slow = self._hooks.slow
        limit = slow.limit
        due = self._measureAt
        tracing = self._hooks.tracing
        callbacks = iter(self.callbacks) if tracing is None else tracing.callbacks(self, (*given, value))
        for callback in callbacks:
            began = perf_counter() if limit else 0.0
            try:
                answer = callback(*given, value)
            except Exception:
                answer = Failure()
            if limit:
                took = perf_counter() - began
                if took > limit:
                    slow.held(callback, self.name, took)
                if began >= due:
                    self._measureAt = began + MEASURED
                    self.took(callback, took)
            # The usual answers first: what changes nothing takes no further call.
            if answer is None or answer is value or answer is OK:
                continue
            if answer is STOP:
                return value
            if isinstance(answer, WAITS):
                return FoldChain(self, callbacks, callback, given, value, self.settle).carryOn(answer)
            ended, value = self.settle(callback, answer, value)
            if ended:
                return value
        return value

    def settle(self, callback: Callback, answer: object, value: _V | _E) -> tuple[bool, _V | _E]:
        """
        Work out what an answer does to the value.

        @param answer: what C{callback} answered; not a L{Deferred}.

        @return: whether the chain ends here, and the value from here on.
        """
        ended = False
        if isinstance(answer, Failure):
            self.failed(callback, answer)
            return (False, value) if self.refusal is None else (True, self.refusal())
        if type(answer) is Answer:
            ended = answer.ends
            answer = answer.value
        if answer is None or answer is value:
            return ended, value
        if not self.accepts(answer, value):
            wrong = TypeError(f"{self.name} cannot make anything of the answer {answer!r}")
            return self.settle(callback, Failure(wrong), value)
        new: _V | _E = answer  # type: ignore[assignment]  # accepts() has just said that it is one
        # The next callback could do nothing with these two: they are no message and no result.
        return ended or isinstance(answer, Drop | Challenge), new


class AccessPoint(FoldPoint[Verdict, Never, "IClient", str, str]):
    """
    C{client.check_acl}. What its callbacks say of a client, an access and a topic is remembered for C{acl_cache_ttl};
    a callback for which that is wrong, or that knows more beforehand, says so when it is added.

    @ivar publishRules: for each callback, in their order, what says what it answers a client that publishes; C{None}
        where one of them has not told.
    """

    __slots__ = ("publishRules",)

    def __init__(self, name: str, hooks: Hooks) -> None:
        self.publishRules: tuple[Callable[[IClient], TopicRules | None], ...] | None = ()
        super().__init__(name, hooks, _isVerdict, lambda: DENY)

    def add(  # type: ignore[override]  # a point of a known kind is more particular than any point
        self,
        action: Callable[..., FoldAnswer[Verdict, Never]],
        *,
        priority: int = 0,
        filter: Callable[..., object] | None = None,
        args: Sequence[object] = (),
        publishRules: Callable[[IClient], TopicRules | None] | None = None,
        perPacket: bool = False,
    ) -> None:
        """
        Ask something whether a client may publish or subscribe: see L{HookPoint.add}.

        @param publishRules: given a client, it returns the L{TopicRules<twisted_mqtt.core.topicrules.TopicRules>} by
            which C{action} goes when that client publishes, or C{None} if it can't tell beforehand. If all callbacks
            can tell, none of them is called for a message: the core goes by the rules. When they change,
            C{forgetPermissions} of the broker has them read again.
        @param perPacket: whether the answer depends on more than the client, the access and the topic: on the payload,
            the QoS, the time of day. Then nothing is remembered of which C{action} has been asked, and each message
            asks again.

        @raise HookExists: this action is here already.
        @raise ValueError: C{publishRules} and C{perPacket} or C{filter} contradict each other.
        """
        if publishRules is not None and (perPacket or filter is not None):
            raise ValueError("what depends on the packet, or is filtered, can't tell its rules beforehand")
        self._add(AccessRegistration(action, priority, filter, tuple(args), publishRules, perPacket))

    def _install(self, registrations: Sequence[Registration]) -> None:
        found = [each.publishRules for each in registrations if isinstance(each, AccessRegistration)]
        told = tuple(rules for rules in found if rules is not None)
        self.publishRules = told if len(told) == len(registrations) else None
        super()._install(registrations)


def _nothing(outcome: object) -> None:
    return None


def _sameType(answer: object, value: object) -> bool:
    return isinstance(answer, type(value))


def _isVerdict(answer: object, value: object) -> bool:
    return isinstance(answer, Verdict)
