"""
A test kit: which hook points the broker has come past.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted_mqtt.hooks.points import Hooks


class HookRecorder:
    """
    Notes every call of some hook points, and changes nothing.

    @ivar calls: the calls in order: the name of the point, and what its callbacks were given.
    """

    def __init__(self, hooks: Hooks, *points: str) -> None:
        """
        @param points: their names; without one, all of them.

        @raise KeyError: there is no such point.
        """
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self._added = [(hooks[name], self._noting(name)) for name in points or [point.name for point in hooks]]
        for point, note in self._added:
            # Before all others, which may end the chain.
            point.add(note, priority=1 << 30)

    @property
    def names(self) -> list[str]:
        """
        The names of the points, in the order of the calls.
        """
        return [name for name, _ in self.calls]

    def of(self, point: str) -> list[tuple[Any, ...]]:
        """
        The arguments of each call at one point, in order.
        """
        return [given for name, given in self.calls if name == point]

    def stop(self) -> None:
        """
        Note no more.
        """
        for point, note in self._added:
            point.remove(note)

    def _noting(self, name: str) -> Callable[..., None]:
        def note(*given: Any) -> None:
            self.calls.append((name, given))

        return note
