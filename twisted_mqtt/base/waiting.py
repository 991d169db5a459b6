"""
Going on with a result that may be there already or still be waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeGuard

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable

# A Deferred has an abstract base class, and isinstance() would ask that one's Python code: 0.25 us instead of 0.07.
_isInstance: Final = type.__instancecheck__


def isDeferred(result: object) -> TypeGuard[Deferred[Any]]:
    """
    Whether a result is still to come, or might be.
    """
    return result is not None and _isInstance(Deferred, result)


def breath(clock: Any) -> Deferred[None]:
    """
    Let others have their turn: a L{Deferred} that fires in the next turn of the reactor.

    @param clock: provides C{IReactorTime}.
    """
    turn: Deferred[None] = Deferred()
    clock.callLater(0, turn.callback, None)
    return turn


def then(result: Any, goOn: Callable[..., Any], *args: Any) -> Any:
    """
    Call C{goOn} with a result and further arguments: at once if the result is there, else when the L{Deferred} fires.

    @return: what C{goOn} returns, or a L{Deferred} of it; failures pass by C{goOn}.
    """
    if isDeferred(result):
        return result.addCallback(goOn, *args)
    return goOn(result, *args)
