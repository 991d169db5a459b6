"""
The gauges: how many of a thing there are now, and how many there were at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What is counted, in alphabetical order.
GAUGES: Final[tuple[str, ...]] = (
    "actions",
    "channels",
    "connections",
    "resources",
    "retained",
    "routes",
    "rules",
    "sessions",
    "suboptions",
    "subscribers",
    "subscriptions",
    "subscriptions.shared",
    "topics",
)


class Stats:
    """
    The gauges of one broker.

    Whoever changes a number may L{set} it at once, which keeps its maximum exact; the rest is sampled, and a peak
    between two samples goes unseen.
    """

    __slots__ = ("_count", "_max")

    def __init__(self) -> None:
        self._count = dict.fromkeys(GAUGES, 0)
        self._max = dict.fromkeys(GAUGES, 0)

    def set(self, name: str, value: int) -> None:
        """
        Note how many there are now.

        @raise KeyError: Nothing of that name is counted.
        """
        # Read first, so that a misspelt name raises before anything is noted.
        if value > self._max[name]:
            self._max[name] = value
        self._count[name] = value

    def sample(self, counts: Mapping[str, int]) -> None:
        """
        Note several numbers; what C{counts} does not name stays as it was.
        """
        for name, value in counts.items():
            self.set(name, value)

    def read(self) -> dict[str, int]:
        """
        Copy all gauges.

        @return: C{<name>.count} and C{<name>.max} of each, in alphabetical order.
        """
        copied: dict[str, int] = {}
        for name, count in self._count.items():
            copied[f"{name}.count"] = count
            copied[f"{name}.max"] = self._max[name]
        # "subscriptions.shared.max" belongs between "subscriptions.max" and "topics.count".
        return dict(sorted(copied.items()))
