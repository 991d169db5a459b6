"""
Results that are there at once or come later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard, TypeVar, TypeVarTuple

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

_T = TypeVar("_T")
_R = TypeVar("_R")
_Ts = TypeVarTuple("_Ts")

#: The answer of a method that may have to wait: the result, or a Deferred of it. Callers check, or use L{then}.
Maybe: TypeAlias = _T | Deferred[_T]

# A Deferred has an abstract base class, and isinstance() would ask that one's Python code: 0.25 us instead of 0.07.
_isInstance: Final = type.__instancecheck__


def isDeferred(result: object) -> TypeGuard[Deferred[Any]]:
    """
    Whether a result is still to come, or might be.
    """
    return result is not None and _isInstance(Deferred, result)


def nextTurn(clock: IReactorTime) -> Deferred[None]:
    """
    Let others have their turn.

    @return: a L{Deferred} that fires with C{None} in the next turn of the reactor. It does not fail.
    """
    turn: Deferred[None] = Deferred()
    clock.callLater(0, turn.callback, None)
    return turn


async def settled(result: Maybe[_T]) -> _T:
    """
    Wait for a result in a coroutine, if it is not there yet.

    @return: the result. What a L{Deferred} fails with is raised.
    """
    if isDeferred(result):
        return await result  # type: ignore[no-any-return]  # isDeferred() can't say of what
    return result  # type: ignore[return-value]  # isDeferred() can't say that this is no Deferred


def then(result: Maybe[_T], goOn: Callable[[_T, *_Ts], Maybe[_R]], *args: *_Ts) -> Maybe[_R]:
    """
    Call C{goOn} with a result and further arguments: at once if the result is there, else when the L{Deferred} fires.

    @return: what C{goOn} returns, or a L{Deferred} of it. A Deferred that fails passes by C{goOn} and fails the same.
    """
    if isDeferred(result):
        return result.addCallback(goOn, *args)
    return goOn(result, *args)  # type: ignore[arg-type]  # isDeferred() can't say that this is no Deferred
