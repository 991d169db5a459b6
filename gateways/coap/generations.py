"""
A table that forgets its entries after a while, without a timer or a time for each entry.
"""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Generations(Generic[K, V]):
    """
    An entry is kept for at least C{lifetime} seconds and for less than twice that, as long as there is room.

    There are two tables: entries go into the young one; when that is old enough, it becomes the old one, and what was
    the old one is dropped whole. When the young one is full that happens early, so a flood makes the memory shorter
    instead of larger.
    """

    __slots__ = ("_lifetime", "_limit", "_weightLimit", "_young", "_old", "_weight", "_due")

    def __init__(self, lifetime: float, limit: int, weightLimit: int = 0) -> None:
        """
        @param limit: the most entries of one generation.
        @param weightLimit: the most that they may weigh together; 0 for any weight.
        """
        self._lifetime = lifetime
        self._limit = limit
        self._weightLimit = weightLimit
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._weight = 0
        self._due = 0.0

    def __len__(self) -> int:
        return len(self._young) + sum(key not in self._young for key in self._old)

    def get(self, key: K) -> V | None:
        """
        The value of a key; L{None} if it is forgotten.
        """
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def put(self, key: K, value: V, now: float, weight: int = 0) -> None:
        """
        Remember something from now on, instead of what was put there before.
        """
        self.turn(now)
        if len(self._young) >= self._limit or (self._weightLimit and self._weight + weight > self._weightLimit):
            self._next(now)
        self._young[key] = value
        self._weight += weight

    def weigh(self, more: int) -> None:
        """
        Something that was put in has become heavier; there may be room for fewer others.
        """
        self._weight += more

    def pop(self, key: K) -> V | None:
        """
        Forget something; returns what it was.
        """
        old = self._old.pop(key, None)
        young = self._young.pop(key, None)
        return old if young is None else young

    def turn(self, now: float) -> None:
        """
        Forget what is too old.
        """
        if now < self._due:
            return
        if now >= self._due + self._lifetime:  # nothing has come for so long that the young ones are too old, too
            self._young = {}
        self._next(now)

    def _next(self, now: float) -> None:
        self._old = self._young
        self._young = {}
        self._weight = 0
        self._due = now + self._lifetime
