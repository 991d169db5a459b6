"""
A part of a queue as it was read, before it becomes entries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted_mqtt.stores.packing import Found


class Part:
    """
    A run that was read.

    @ivar left: how many of its entries are not settled.
    @ivar extras: positions with subscription identifiers and share, as JSON.
    @ivar pack: of the messages that are with it.
    """

    __slots__ = ("number", "first", "left", "parcel", "extras", "pack")

    def __init__(self, number: int, first: int, left: int, parcel: int, extras: str | None, pack: bytes) -> None:
        self.number = number
        self.first = first
        self.left = left
        self.parcel = parcel
        self.extras = extras
        self.pack = pack


class Page:
    """
    A part of a session's queue that was read.

    @ivar inflight: what is in flight.
    @ivar waiting: what waits.
    @ivar parcels: the packs that are wanted, by number.
    @ivar complete: whether there is no more.
    @ivar isCut: whether there was more, and it was left.
    """

    def __init__(self) -> None:
        self.isCut = False
        self.inflight: list[tuple[Part, Found]] = []
        self.waiting: list[tuple[Part, Found]] = []
        self.parcels: dict[int, bytes] = {}
        self.complete = False
