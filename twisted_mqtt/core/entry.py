"""
One message on its way to one subscriber, with what a store knows of it.
"""

from __future__ import annotations

from twisted_mqtt.core.message import Message
from twisted_mqtt.core.subscription import SharedGroup


class Run:
    """
    Entries of one session that a store has written together; the store's own.

    @ivar number: what the store knows it by.
    @ivar owner: what it knows the session by.
    @ivar first: the number of the first entry.
    @ivar left: how many are not settled.
    @ivar parcel: where those messages are that others want too; 0 if there is none such.
    @ivar settled: how far from the first those are that were settled since the store has written of it.
    @ivar released: how many of those had their message in the parcel.
    """

    __slots__ = ("number", "owner", "first", "left", "parcel", "settled", "released")

    def __init__(self, number: int, owner: int, first: int, left: int, parcel: int) -> None:
        self.number: int = number
        self.owner: int = owner
        self.first: int = first
        self.left: int = left
        self.parcel: int = parcel
        self.settled: list[int] = []
        self.released: int = 0


class Entry:
    """
    One message on its way to one subscriber.

    @ivar qos: of this delivery.
    @ivar retain: of this delivery: whether the PUBLISH has RETAIN set.
    @ivar identifiers: of the subscriptions it answers, or L{None}.
    @ivar share: the group through which it came, or L{None}.
    @ivar packetID: once it is in flight; 0 before.
    @ivar released: for QoS 2: PUBREC has come and PUBCOMP is awaited.
    @ivar number: what a store knows it by; 0 where it is not stored.
    @ivar owner: what a store knows its session by.
    @ivar state: how far a store has come with it; the store's own.
    @ivar listed: whether a store has its change to write; the store's own.
    @ivar flies: whether a store has written such a change; the store's own.
    @ivar source: the message as it was queued, whatever hooks made of it, until it is written; the store's own.
    @ivar run: with which others it was written; the store's own.
    @ivar shared: whether its message was written for others too; the store's own.
    @ivar order: its place in the queue.
    """

    __slots__ = (
        "message",
        "qos",
        "retain",
        "identifiers",
        "share",
        "packetID",
        "released",
        "number",
        "owner",
        "state",
        "listed",
        "flies",
        "source",
        "run",
        "shared",
        "order",
    )

    def __init__(
        self,
        message: Message,
        qos: int,
        retain: bool,
        identifiers: list[int] | None,
        share: SharedGroup | None,
    ) -> None:
        self.message: Message = message
        self.qos: int = qos
        self.retain: bool = retain
        self.identifiers: list[int] | None = identifiers
        self.share: SharedGroup | None = share
        self.packetID: int = 0
        self.released: bool = False
        self.number: int = 0
        self.owner: int = 0
        self.state: int = 0
        self.listed: bool = False
        self.flies: bool = False
        self.source: Message | None = None
        self.run: Run | None = None
        self.shared: bool = False
        self.order: int = 0

    def __repr__(self) -> str:
        return f"<Entry {self.message.topic!r} qos={self.qos} packetID={self.packetID}>"
