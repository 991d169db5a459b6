"""
The part of a session's queue that only the store has: it is read in pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted_mqtt.core.dropping import forgo

if TYPE_CHECKING:
    from twisted_mqtt.core.entry import Entry
    from twisted_mqtt.core.queue import MessageQueue
    from twisted_mqtt.core.session import Session

#: Of a queue that a store keeps, so many messages stay in memory: enough to be sending while the next page comes.
IN_MEMORY: Final = 128
#: No more than this is left unread in the store once it has been dropped.
DROPPED: Final = 256


def askForPage(session: Session, queue: MessageQueue) -> None:
    """
    Ask the store for the next page of a session's queue; L{takePage} is called with it later.
    """
    journal = session.journal
    if journal is not None:
        queue.ask()
        journal.page(session, queue.last)


def takePage(session: Session, inflight: list[Entry], waiting: list[Entry], complete: bool, now: float) -> None:
    """
    Take the page that the store was asked for by L{Journal.page<twisted_mqtt.core.journal.Journal.page>}.

    @param inflight: in the order of sending; empty unless it was asked for.
    @param complete: whether the store had no more.
    """
    queue = session.queue
    if session.pageTaker is not None:
        session.pageTaker(inflight, waiting, complete)
        return
    if queue is None or session.shut:
        return
    if queue.last < 0:
        queue.last = 0
        session.inflight.restore(inflight)
        if inflight and session.connection is not None:
            session.inflight.startResending()
    for entry in queue.fill(waiting, complete):
        # It has been noted when it was skipped.
        forgo(session, entry)
    if queue.dormant and queue.spilled and session.limits.priorities:
        # Only the whole queue shows which message goes first.
        askForPage(session, queue)
        return
    queue.dormant = False
    if session.connection is not None:
        session.refill(now)
    elif queue.skipped >= DROPPED:
        askForPage(session, queue)


def restoreQueue(session: Session, waiting: int, size: int = 0) -> None:
    """
    The store has entries of a session, none of which is in memory yet.

    @param waiting: how many of them are not in flight.
    @param size: how many bytes these have, roughly.
    """
    queue = session.makeQueue()
    queue.spilled = waiting
    queue.stored = size
    if queue.most and waiting > queue.most:
        queue.skipped = waiting - queue.most
        queue.stored = size * queue.most // waiting
    queue.last = -1
    queue.dormant = True
    queue.budget.weigh(session, queue)
