"""
The changes that are written together. It is compiled with the module that makes it, L{twisted_mqtt.stores.ledger}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted_mqtt.core.properties import IN_PUBLISH, encodeProperties
from twisted_mqtt.core.topics import scoped

if TYPE_CHECKING:
    from twisted_mqtt.core.message import Message

#: So many rows are put in one statement; SQLite takes 32,766 parameters.
MOST_ROWS: Final = 64


class Batch:
    """
    Changes to be written together: what L{Database.apply<twisted_mqtt.stores.database.Database.apply>} makes one
    transaction of.

    @ivar sequence: of L{Progress} when it was closed.
    @ivar weight: what it takes in memory, roughly.
    @ivar blob: properties and payloads of retained messages and wills, to which rows point by offset (from 1) and
        length.
    @ivar alone: the retained messages in it that nobody else is to keep once they are written.
    """

    __slots__ = (
        "sequence",
        "weight",
        "blob",
        "parcels",
        "runs",
        "flights",
        "partly",
        "spent",
        "released",
        "landed",
        "ended",
        "sessions",
        "subscriptions",
        "received",
        "retained",
        "wills",
        "records",
        "alone",
        "_pieces",
        "_offset",
    )

    def __init__(self) -> None:
        self.sequence: int = 0
        self.weight: int = 0
        self.blob: bytes = b""
        # The rows of these tables.
        self.parcels: list[tuple[Any, ...]] = []
        self.runs: list[tuple[Any, ...]] = []
        # (session, entry, packet identifier, 8 if it was released)
        self.flights: list[tuple[int, int, int, int]] = []
        # More that is settled of runs: rows of C{gone}.
        self.partly: list[tuple[int, int, int, bytes]] = []
        # Runs of which all is.
        self.spent: list[int] = []
        # By parcel: by how many fewer entries it is wanted.
        self.released: dict[int, int] = {}
        # (session, entry) of flights that are over
        self.landed: list[tuple[int, int]] = []
        self.ended: list[int] = []
        self.sessions: list[tuple[object, ...]] = []
        # With nothing but the key: it is gone; so below.
        self.subscriptions: list[tuple[object, ...]] = []
        self.received: list[tuple[object, ...]] = []
        self.retained: list[tuple[object, ...]] = []
        self.wills: list[tuple[object, ...]] = []
        # Of tables: table, key, value.
        self.records: list[tuple[Any, ...]] = []
        self.alone: list[Message] = []
        self._pieces: list[bytes] = []
        self._offset: int = 1

    @property
    def isEmpty(self) -> bool:
        """
        Whether nothing of what it was closed for is left to be written.
        """
        return not (self.runs or self._hasMore())

    @property
    def isPlain(self) -> bool:
        """
        Whether it is nothing but some runs, which one statement can write.
        """
        return 0 < len(self.runs) <= MOST_ROWS and not self.parcels and not self._hasMore()

    def _hasMore(self) -> bool:
        return bool(
            self.partly
            or self.spent
            or self.flights
            or self.landed
            or self.ended
            or self.sessions
            or self.subscriptions
            or self.received
            or self.retained
            or self.wills
            or self.records
        )

    def lay(self, piece: bytes) -> int:
        """
        Lay a piece into C{blob}; returns where it is.
        """
        at = self._offset
        if piece:
            self._pieces.append(piece)
            self._offset = at + len(piece)
        return at

    def columnsOf(self, message: Message, skew: float) -> tuple[object, ...]:
        """
        The columns of a message, its properties and payload laid into C{blob}.

        @param skew: what is added to a moment to make it a date.
        """
        properties = message.properties
        encoded = b"" if properties is None else encodeProperties(properties, IN_PUBLISH)
        payload = message.payload
        first = self.lay(encoded)
        second = self.lay(payload)
        return (
            scoped(message.topicTree, message.topic),
            message.qos | (4 if message.retain else 0) | (8 if message.system else 0),
            message.timestamp + skew,
            message.expiresAt + skew if message.expiresAt else 0.0,
            message.clientID,
            message.username,
            message.peerHost,
            message.protocol,
            first,
            len(encoded),
            second,
            len(payload),
        )

    def finish(self) -> None:
        """
        Nothing is added any more.
        """
        self.blob = b"".join(self._pieces)
        self._pieces = []
