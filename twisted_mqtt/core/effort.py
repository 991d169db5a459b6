"""
A measure of how much one client's input makes the broker do in one turn of the reactor.
"""

from __future__ import annotations

from typing import Final

#: How much is done for the input of one client in one turn: a few milliseconds. The rest waits for another turn.
ENOUGH: Final = 100_000
#: A delivery costs about as much as looking at so many levels of filters.
DELIVERY: Final = 1
#: The deliveries of a message that goes to no more than these are not counted: its own size stands for them.
FEW: Final = 4


class Effort:
    """
    The work since the input of some client began to be taken: one for each router.

    @ivar spent: levels of filters that were looked at, and deliveries, which count L{DELIVERY} times.
    """

    __slots__ = ("spent",)

    def __init__(self) -> None:
        self.spent: int = 0
