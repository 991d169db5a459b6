"""
A test kit for protocols: two ends of a connection in memory, and datagrams that get lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

_T = TypeVar("_T")

# More turns than any conversation takes: whoever is not done by then goes round in circles.
TURNS = 100


class End(StringTransport):
    """
    One end of a L{Pair}.
    """

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.done = False


class Pair:
    """
    Two protocols joined in memory.
    """

    def __init__(self, left: Any, right: Any) -> None:
        self.left = End(left)
        self.right = End(right)
        for end in (self.left, self.right):
            end.protocol.makeConnection(end)

    def pump(self, piece: int = 0) -> None:
        """
        Carry bytes both ways until nobody writes any more.

        @param piece: at most so many bytes at a time; 0 for all at once.
        """
        for _ in range(TURNS):
            moved = self._carry(self.left, self.right, piece) + self._carry(self.right, self.left, piece)
            if self.left.disconnecting or self.right.disconnecting:
                self._close()
                return
            if not moved:
                return
        raise AssertionError("the two never stop talking")

    def _carry(self, source: End, target: End, piece: int) -> int:
        data = source.value()
        source.clear()
        step = piece or len(data) or 1
        for start in range(0, len(data), step):
            if not target.done:
                target.protocol.dataReceived(data[start : start + step])
        return len(data)

    def _close(self) -> None:
        for end, other in ((self.left, self.right), (self.right, self.left)):
            self._carry(end, other, 0)
        for end in (self.left, self.right):
            if not end.done:
                end.done = True
                end.protocol.connectionLost(Failure(ConnectionDone()))


def pair(left: Any, right: Any) -> Pair:
    """
    Join two protocols in memory; L{Pair.pump} carries what they say.
    """
    return Pair(left, right)


def drop(datagrams: Iterable[_T], lost: Iterable[int]) -> list[_T]:
    """
    Get the datagrams that arrive when those at the given places are lost.
    """
    gone = set(lost)
    return [datagram for index, datagram in enumerate(datagrams) if index not in gone]


def duplicate(datagrams: Iterable[_T], twice: Iterable[int]) -> list[_T]:
    """
    Get the datagrams that arrive when those at the given places come twice.
    """
    doubled = set(twice)
    return [datagram for index, datagram in enumerate(datagrams) for _ in range(2 if index in doubled else 1)]


def reorder(datagrams: Sequence[_T], order: Sequence[int]) -> list[_T]:
    """
    Get the datagrams in another order: those at the places that C{order} names first, then the rest.
    """
    first = [place for place in order if place < len(datagrams)]
    rest = [place for place in range(len(datagrams)) if place not in first]
    return [datagrams[place] for place in [*first, *rest]]
