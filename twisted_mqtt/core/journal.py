"""
The journal: the core tells it every change that a durable store has to keep, and asks it what is safe.

An acknowledgement waits until C{committed} reaches the value that C{sequence} had after the message was accepted
(docs/architecture.md, "The store"). The journal in this module keeps nothing, so nobody waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from twisted_mqtt.core.entry import Entry
    from twisted_mqtt.core.session import Session


class Journal(Protocol):
    """
    A store as the core sees it, called for persistent sessions only, in order, from the reactor's thread.

    None of its methods waits or raises.
    """

    def page(self, session: Session, after: int) -> None:
        """
        Read some of what the session's queue has left to the store, and call C{paging.takePage} later.

        @param after: the number of the last entry that is not wanted; below 0, what is in flight is wanted too.
        """

    def queued(self, session: Session, entry: Entry) -> None:
        """
        A message of QoS 1 or 2 now waits in the session's queue or window; the store may set C{entry.number}.
        """

    def sent(self, session: Session, entry: Entry) -> None:
        """
        The entry is in flight with a packet identifier.
        """

    def released(self, session: Session, entry: Entry) -> None:
        """
        PUBREC has come for the entry.
        """

    def settled(self, session: Session, entry: Entry) -> None:
        """
        The entry is done: acknowledged, expired or dropped.
        """

    def received(self, session: Session, packetID: int, now: float) -> None:
        """
        A QoS 2 message with this identifier was taken from the client; a repetition is not a new message.
        """

    def completed(self, session: Session, packetID: int) -> None:
        """
        PUBREL has come for an identifier of the client.
        """


class Progress:
    """
    How far a store has come.

    @ivar sequence: grows with each write that was asked for.
    @ivar stored: the C{sequence} up to which this node has written everything.
    @ivar awaited: the values of C{sequence} at which something went to other nodes that they have not stored yet, the
        least first.
    @ivar committed: the C{sequence} up to which everything would survive a crash, here and on the nodes that have to
        keep it.
    @ivar broken: whether the store can't keep anything new at present; then nothing of QoS 1 or 2 is accepted. It has
        C{failed}, because of the disk, or it is C{full}, because it may not be larger.
    @ivar stuck: whether it can't write at all, so that nothing is committed; it is C{broken} too. One that is not
        stuck, but broken, is full: what frees room is written.
    @ivar congested: whether so much waits to be written that who publishes with QoS 1 or 2 has to wait too.
    """

    __slots__ = ("sequence", "stored", "awaited", "committed", "broken", "failed", "full", "stuck", "congested")

    def __init__(self) -> None:
        self.sequence: int = 0
        self.stored: int = 0
        self.awaited: dict[int, None] = {}
        self.committed: int = 0
        self.broken: bool = False
        self.failed: bool = False
        self.full: bool = False
        self.stuck: bool = False
        self.congested: bool = False

    def reached(self, stored: int) -> bool:
        """
        This node has written everything up to there, or another node has stored something.

        @return: whether C{committed} has grown.
        """
        self.stored = stored
        former = self.committed
        committed = stored
        for number in self.awaited:
            committed = min(committed, number - 1)
            break
        self.committed = committed
        return committed > former

    def setFailed(self, failed: bool) -> None:
        """
        The disk lets nothing new be kept, or does again.
        """
        self.failed = failed
        self.broken = failed or self.full

    def setFull(self, full: bool) -> None:
        """
        The store is not to become larger, or may again.
        """
        self.full = full
        self.broken = full or self.failed
