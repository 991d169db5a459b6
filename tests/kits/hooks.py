"""
Callbacks for tests of hooks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Fault(Exception):
    """
    The exception of callbacks in these tests.
    """


def raising(*args: object) -> Any:
    """
    A callback that is at fault.
    """
    raise Fault


def answering(answer: Any, heard: list[Any] | None = None) -> Callable[..., Any]:
    """
    Make a callback that notes what it was given and answers as told.
    """

    def callback(*args: Any) -> Any:
        if heard is not None:
            heard.append(args)
        return answer

    return callback
