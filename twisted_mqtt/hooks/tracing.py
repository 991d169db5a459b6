"""
Times the callbacks that are called for somebody who is traced.

A point asks here only while somebody is traced. For all others that costs a look-up of their client identifier.
"""

from __future__ import annotations

from functools import wraps
from time import perf_counter
from types import CoroutineType
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from twisted_mqtt.core.message import Message
from twisted_mqtt.core.topics import matches

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from twisted_mqtt.hooks.chain import Callback
    from twisted_mqtt.hooks.kinds import HookPoint

# The client, the session or the message is among so many arguments.
_FIRST: Final = 2


# The attribute of a function that times a callback: that callback.
_TRACED: Final = "tracedCallback"


def traced(callback: Callback) -> Callback:
    """
    The callback that is behind one that is timed, which is another object each time.
    """
    found: Callback = getattr(callback, _TRACED, callback)
    return found


class HookCall:
    """
    One call of a callback.

    @ivar point: the name of the point.
    @ivar callback: what was called.
    @ivar args: its arguments.
    @ivar answer: what it answered, in the end; a L{Failure} where it raised or failed.
    @ivar seconds: how long that took.
    @ivar waited: whether it answered later.
    """

    __slots__ = ("answer", "args", "callback", "point", "seconds", "waited")

    def __init__(
        self, point: str, callback: Callback, args: tuple[object, ...], answer: object, seconds: float, waited: bool
    ) -> None:
        self.point = point
        self.callback = callback
        self.args = args
        self.answer = answer
        self.seconds = seconds
        self.waited = waited


class HookTracing:
    """
    Tells of callbacks.

    @ivar clientIDs: of those who are traced; they may change.
    @ivar topicFilters: of the messages that are traced, mount points included.
    """

    __slots__ = ("_tell", "clientIDs", "topicFilters")

    def __init__(self, tell: Callable[[HookCall], None], clientIDs: Container[object]) -> None:
        """
        @param tell: called when a callback has answered. It must not raise.
        """
        self.clientIDs = clientIDs
        self.topicFilters: tuple[str, ...] = ()
        self._tell = tell

    def callbacks(self, point: HookPoint, args: tuple[object, ...]) -> Iterator[Callback]:
        """
        The callbacks of a point, for a run with these arguments.
        """
        clientIDs = self.clientIDs
        # Written out: clients that are not traced come here too. One of the first two says whose the event is.
        if args and (
            getattr(args[0], "clientID", None) in clientIDs
            or (len(args) > 1 and getattr(args[1], "clientID", None) in clientIDs)
            or (self.topicFilters and self._isTraced(args))
        ):
            return iter([self._timed(point.name, callback) for callback in point.callbacks])
        return iter(point.callbacks)

    def _isTraced(self, args: tuple[object, ...]) -> bool:
        return any(
            matches(topicFilter, arg.topic)
            for arg in args[:_FIRST]
            if isinstance(arg, Message)
            for topicFilter in self.topicFilters
        )

    def _timed(self, point: str, callback: Callback) -> Callback:
        tell = self._tell

        @wraps(callback)
        def call(*args: object) -> object:
            began = perf_counter()
            try:
                answer = callback(*args)
            except Exception:
                tell(HookCall(point, callback, args, Failure(), perf_counter() - began, False))
                raise
            if isinstance(answer, CoroutineType):
                return _awaited(answer, answered(args, began))
            if isinstance(answer, Deferred):
                return answer.addBoth(answered(args, began))
            tell(HookCall(point, callback, args, answer, perf_counter() - began, False))
            return answer

        setattr(call, _TRACED, callback)

        def answered(args: tuple[object, ...], began: float) -> Callable[[object], object]:
            def told(answer: object) -> object:
                tell(HookCall(point, callback, args, answer, perf_counter() - began, True))
                return answer

            return told

        return call


async def _awaited(steps: CoroutineType[object, object, object], told: Callable[[object], object]) -> object:
    try:
        answer = await steps
    except Exception:
        told(Failure())
        raise
    return told(answer)
