"""
The connections that have something to write: flushed together, once a turn of the reactor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.sender import Sender


class Turning(Protocol):
    """
    Reads from the connections, in turns.

    @ivar inTurn: whether L{Outbox.flush} is going to be called when this turn ends.
    """

    inTurn: bool


class Outbox:
    """
    Collects connections with output.

    @ivar turning: who calls L{flush} at the end of each turn, if anybody does.
    @ivar later: called with the first connection that has output outside such a turn, and from L{flush} where much is
        left; it sees to it that L{flush} is called in a later turn of the reactor.
    """

    __slots__ = ("turning", "later", "_waiting", "_flushing")

    def __init__(self, later: Callable[[], None]) -> None:
        self.turning: Turning | None = None
        self.later: Callable[[], None] = later
        self._waiting: list[Sender] = []
        self._flushing: bool = False

    def add(self, connection: Sender) -> None:
        """
        A connection has its first output of this turn.
        """
        waiting = self._waiting
        if not waiting and not self._flushing:
            turning = self.turning
            if turning is None or not turning.inTurn:
                self.later()
        waiting.append(connection)

    def flush(self) -> None:
        """
        Write everything. Output that writing causes (a connection that drains at once) goes out too, but no more than a
        few times over, so that the reactor gets its turn.
        """
        self._flushing = True
        rounds = 0
        waiting: list[Sender] = []
        position = 0
        try:
            while self._waiting and rounds < 4:
                waiting = self._waiting
                self._waiting = []
                position = 0
                for connection in waiting:
                    position += 1
                    connection.flush()
                rounds += 1
        finally:
            # If a transport fails, the others still have to be written.
            self._waiting = waiting[position:] + self._waiting
            self._flushing = False
            if self._waiting:
                self.later()
