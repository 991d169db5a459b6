"""
Callbacks that block the reactor for too long: counted, and logged by name.
"""

from __future__ import annotations

from collections.abc import Generator
from time import perf_counter
from types import CoroutineType, coroutine
from typing import TYPE_CHECKING, Final, TypeVar

from twisted.logger import Logger
from twisted.python.reflect import fullyQualifiedName, safe_repr

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_log = Logger()

_T = TypeVar("_T")
_W = TypeVar("_W")

#: A callback that is slow every time is shown once in so many seconds, or the log would make it slower still.
LOG_INTERVAL: Final = 10.0

#: So many names are told apart; a process that has more slow callbacks has other worries.
_MOST_NAMES: Final = 1000


def describe(action: object) -> str:
    """
    Name a callback for people; or a coroutine, by its function.
    """
    if isinstance(action, CoroutineType):
        return f"{action.cr_code.co_filename}: {action.__qualname__}"
    try:
        name: str = fullyQualifiedName(action)
    except AttributeError:
        name = safe_repr(action)
    return name


class SlowCalls:
    """
    The record of callbacks that blocked the reactor.

    The caller of a callback reads C{perf_counter} before and after it, if L{limit} is not 0, and calls L{held} if the
    difference is greater.

    @ivar limit: the longest time that a callback may take, in seconds; 0 for any: then nothing is measured.
    @ivar count: how often one took longer.
    """

    __slots__ = ("_quietUntil", "count", "limit")

    def __init__(self, limit: float = 0.0) -> None:
        self.limit = limit
        self.count = 0
        self._quietUntil: dict[str, float] = {}

    def held(self, callback: object, where: str, seconds: float) -> None:
        """
        A callback has taken longer than L{limit}.

        @param callback: it is logged by its name, at most once in L{LOG_INTERVAL} seconds.
        @param where: what it was called for, such as a hook point.
        """
        self.count += 1
        name = describe(callback)
        now = perf_counter()
        if now < self._quietUntil.get(name, now):
            return
        if len(self._quietUntil) >= _MOST_NAMES:
            self._quietUntil.clear()
        self._quietUntil[name] = now + LOG_INTERVAL
        _log.warn(
            "{callback}, called for {where}, blocked the reactor for {milliseconds} ms: all other clients waited",
            callback=name,
            where=where,
            milliseconds=round(seconds * 1000),
        )

    def call(self, callback: Callable[..., _T], where: str, *args: object) -> _T:
        """
        Call a callback, measured.

        @param where: what it is called for.

        @return: what it returns; what it raises comes through.
        """
        if self.limit <= 0.0:
            return callback(*args)
        began = perf_counter()
        try:
            return callback(*args)
        finally:
            took = perf_counter() - began
            if took > self.limit > 0.0:
                self.held(callback, where, took)

    def measured(self, steps: Coroutine[_W, object, _T], callback: object, where: str) -> Coroutine[_W, object, _T]:
        """
        Measure each step of a coroutine, from where it goes on to where it waits again.

        @return: a coroutine that does the same as C{steps}.
        """
        return _measured(steps, self, callback, where)


@coroutine
def _measured(
    steps: Coroutine[_W, object, _T], slow: SlowCalls, callback: object, where: str
) -> Generator[_W, object, _T]:
    value: object = None
    error: BaseException | None = None
    while True:
        began = perf_counter()
        try:
            awaited = steps.send(value) if error is None else steps.throw(error)
        except StopIteration as end:
            result: _T = end.value
            return result
        finally:
            took = perf_counter() - began
            if took > slow.limit > 0.0:
                slow.held(callback, where, took)
        value, error = None, None
        try:
            value = yield awaited
        except GeneratorExit:
            # The garbage collector may have closed it already, which is no fault.
            steps.close()
            raise
        except BaseException as raised:
            error = raised
