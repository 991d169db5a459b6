"""
Going on with a result that may be there already or still be waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable


def then(result: Any, goOn: Callable[..., Any], *args: Any) -> Any:
    """
    Call C{goOn} with a result and further arguments: at once if the result is there, else when the L{Deferred} fires.

    @return: what C{goOn} returns, or a L{Deferred} of it; failures pass by C{goOn}.
    """
    if isinstance(result, Deferred):
        return result.addCallback(goOn, *args)
    return goOn(result, *args)
