"""
Chains of hook callbacks that wait.

A hook point runs plain answers in a loop of its own and comes here when a callback answered with a Deferred, a
coroutine, or (at points that tell) with anything at all. The chain goes on from there with the same iterator over the
callbacks. It is a loop: a callback whose Deferred has fired already costs no stack, however many of them follow.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Final, Generic, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mqtt.base.slowcalls import describe
from twisted_mqtt.hooks.packets import during, thisPacket
from twisted_mqtt.hooks.verdicts import OK, STOP, Answer, HookTimeout
from twisted_mqtt.interfaces import IClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.internet.interfaces import IDelayedCall

    from twisted_mqtt.hooks.kinds import HookPoint

_log = Logger()

#: A callable that can be added to a hook point; L{twisted_mqtt.hooks.kinds.HookPoint.add} describes its arguments.
Callback: TypeAlias = Callable[..., object]

_ValueT = TypeVar("_ValueT")
_EndT = TypeVar("_EndT")

#: The final answers of a callback at a fold point; and the values that it may return, which may be awaited.
Settled: TypeAlias = _ValueT | _EndT | Answer[_ValueT] | Answer[_EndT] | Answer[None] | None
FoldAnswer: TypeAlias = Settled[_ValueT, _EndT] | Awaitable[Settled[_ValueT, _EndT]]

_WAITING: Final = object()

#: The types of answers that are still to come, or might be.
WAITS: Final = (Deferred, CoroutineType)


class _Chain(Generic[_ValueT]):
    """
    The rest of one run through a hook point.

    @ivar _awaited: where the answer of the callback that is being waited for goes; an answer that brings any other
        list comes too late.
    """

    __slots__ = (
        "_args",
        "_askedAt",
        "_awaited",
        "_callback",
        "_callbacks",
        "_outcome",
        "_packet",
        "_point",
        "_slow",
        "_timer",
        "_value",
    )

    def __init__(
        self,
        point: HookPoint,
        callbacks: Iterator[Callback],
        callback: Callback,
        args: tuple[object, ...],
        value: _ValueT,
    ) -> None:
        """
        @param callbacks: those not yet called.
        @param callback: the one that was called last.
        """
        self._point = point
        self._callbacks = callbacks
        self._callback = callback
        self._args = args
        self._value = value
        self._packet = thisPacket()
        self._outcome: Deferred[_ValueT] | None = None
        self._awaited: list[object] | None = None
        self._slow: Deferred[object] | None = None
        self._timer: IDelayedCall | None = None
        self._askedAt = 0.0

    def carryOn(self, answer: object) -> _ValueT | Deferred[_ValueT]:
        """
        Go on from the last callback's answer.

        @return: the value in the end; a L{Deferred} of it if a callback has to wait.
        """
        if self._advance(answer):
            return self._value
        self._outcome = Deferred(self._abandon)
        return self._outcome

    def _advance(self, answer: object) -> bool:
        """
        Go as far as possible without waiting.

        @return: whether that was to the end.
        """
        while True:
            if isinstance(answer, CoroutineType):
                answer = self._begin(answer)
            if isinstance(answer, Deferred):
                answer = self._await(answer)
                if answer is _WAITING:
                    return False
            if self._settle(answer):
                return True
            callback = next(self._callbacks, None)
            if callback is None:
                return True
            self._callback = callback
            slow = self._point.slow
            began = perf_counter()
            try:
                answer = self._call(callback)
            except Exception:
                answer = Failure()
            took = perf_counter() - began
            if took > slow.limit > 0:
                slow.held(callback, self._point.name, took)
            self._point.took(callback, took)

    def _begin(self, steps: CoroutineType[Deferred[object], object, object]) -> Deferred[object]:
        slow = self._point.slow
        if slow.limit:
            return Deferred.fromCoroutine(slow.measured(steps, self._callback, self._point.name))
        return Deferred.fromCoroutine(steps)

    def _call(self, callback: Callback) -> object:
        raise NotImplementedError

    def _settle(self, answer: object) -> bool:
        """
        Take note of an answer that no longer waits.

        @return: whether it ends the chain.
        """
        raise NotImplementedError

    def _await(self, slow: Deferred[object]) -> object:
        """
        Find out what a Deferred fired with, or arrange to be told.
        """
        answers: list[object] = []
        slow.addBoth(self._cbAnswered, answers)
        if answers:
            return answers[0]
        self._awaited = answers
        self._slow = slow
        clock = self._point.clock
        self._askedAt = 0.0 if clock is None else clock.seconds()
        timeout = self._timeout()
        if self._point.clock is not None and timeout > 0:
            self._timer = self._point.clock.callLater(timeout, self._timedOut, timeout)
        return _WAITING

    def _timeout(self) -> float:
        """
        For how many seconds this callback may wait: C{hook_timeout} of the zone of the client that it is all about.
        """
        packet = self._packet
        if packet is not None:
            return packet.client.hookTimeout
        for arg in self._args:
            if IClient.providedBy(arg):
                return IClient(arg).hookTimeout
        return self._point.timeout

    def _cbAnswered(self, answer: object, answers: list[object]) -> None:
        answers.append(answer)
        if self._awaited is answers:
            self._resume(answer)

    def _resume(self, answer: object) -> None:
        self._stopWaiting()
        clock = self._point.clock
        if clock is not None:
            self._point.took(self._callback, clock.seconds() - self._askedAt, True)
        if during(self._packet, self._advance, answer):
            assert self._outcome is not None  # made when the chain began to wait
            self._outcome.callback(self._value)

    def _stopWaiting(self) -> Deferred[object] | None:
        slow = self._slow
        self._awaited = self._slow = None
        if self._timer is not None:
            if self._timer.active():
                self._timer.cancel()
            self._timer = None
        return slow

    def _timedOut(self, timeout: float) -> None:
        self._cancel(self._stopWaiting())
        self._resume(Failure(HookTimeout(f"no answer within {timeout:g} seconds")))

    def _abandon(self, outcome: Deferred[_ValueT]) -> None:
        self._cancel(self._stopWaiting())

    def _cancel(self, slow: Deferred[object] | None) -> None:
        """
        Tell a callback that its answer is no longer wanted; what it makes of that is its own affair.
        """
        if slow is None:
            return
        try:
            slow.cancel()
        except Exception:
            _log.failure("Cancelling {callback} failed", callback=describe(self._callback))


class RunChain(_Chain[Answer[None]]):
    """
    The rest of a run through a point that tells. Its value is L{OK}, or L{STOP} once a callback answered that.
    """

    __slots__ = ()

    def __init__(
        self,
        point: HookPoint,
        callbacks: Iterator[Callback],
        callback: Callback,
        args: tuple[object, ...],
    ) -> None:
        super().__init__(point, callbacks, callback, args, OK)

    def _call(self, callback: Callback) -> object:
        return callback(*self._args)

    def _settle(self, answer: object) -> bool:
        if isinstance(answer, Failure):
            self._point.failed(self._callback, answer)
        elif type(answer) is Answer and answer.ends:
            self._value = STOP
            return True
        return False


class FoldChain(_Chain[_ValueT]):
    """
    The rest of a run through a point that passes a value along.
    """

    __slots__ = ("_settleWith",)

    def __init__(
        self,
        point: HookPoint,
        callbacks: Iterator[Callback],
        callback: Callback,
        args: tuple[object, ...],
        value: _ValueT,
        settle: Callable[[Callback, object, _ValueT], tuple[bool, _ValueT]],
    ) -> None:
        """
        @param settle: C{settle} of the point.
        """
        super().__init__(point, callbacks, callback, args, value)
        self._settleWith = settle

    def _call(self, callback: Callback) -> object:
        return callback(*self._args, self._value)

    def _settle(self, answer: object) -> bool:
        ended, self._value = self._settleWith(self._callback, answer, self._value)
        return ended
