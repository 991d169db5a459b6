"""
The objects of the process: how many there are of each kind, and how much memory they have.

Python gives the list of all objects in one call, and collects garbage in one; both hold the reactor for as long as it
takes. So how long that will be is estimated first. What comes after it is done in slices.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any, Final

from twisted_mqtt.base.listing import Listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.internet.interfaces import IReactorTime

#: Seconds for which an operation may hold the reactor without being forced to.
MOST_HELD: Final = 0.005
#: Rough seconds for each block of memory: to list all objects, and to look for garbage among them.
_LISTING: Final = 3e-8
_COLLECTING: Final = 2e-7


class Kinds:
    """
    Counts of objects by kind.

    @ivar counts: by the name of the class: how many, and their bytes without what they point to.
    """

    def __init__(self) -> None:
        self.counts: dict[str, list[int]] = {}
        self._names: dict[type, str] = {}

    def add(self, thing: object) -> None:
        """
        Count an object.
        """
        kind = type(thing)
        name = self._names.get(kind)
        if name is None:
            name = self._names[kind] = nameOf(kind)
        found = self.counts.setdefault(name, [0, 0])
        found[0] += 1
        try:
            found[1] += sys.getsizeof(thing)
        except Exception:
            # A class of somebody's may say nonsense.
            return


def nameOf(kind: type) -> str:
    """
    The name of a class, with its module unless that is Python's own.
    """
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def listingTime() -> float:
    """
    About how many seconds it takes to list all objects.
    """
    return sys.getallocatedblocks() * _LISTING


def collectionTime() -> float:
    """
    About how many seconds a full garbage collection takes.
    """
    return sys.getallocatedblocks() * _COLLECTING


async def countAll(clock: IReactorTime) -> Kinds:
    """
    Count all objects that the collector knows: no numbers, texts and bytes, which are parts of others.

    What is garbage meanwhile stays until all are counted.
    """
    kinds = Kinds()
    objects: list[Any] = gc.get_objects()

    def steps() -> Iterator[None]:
        while objects:
            kinds.add(objects.pop())
            yield None

    await Listing(clock, steps()).everything()
    return kinds
