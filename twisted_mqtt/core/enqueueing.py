"""
A message is put into the queue of a session: within the session's limits and those of all queues together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mqtt.core.dropping import drop, lose, noteLosses
from twisted_mqtt.core.paging import DROPPED, askForPage
from twisted_mqtt.core.shedding import makeRoom

if TYPE_CHECKING:
    from twisted_mqtt.core.entry import Entry
    from twisted_mqtt.core.session import Session


def enqueue(session: Session, entry: Entry) -> None:
    """
    Put a message behind the others that wait for a session; what there is no room for is dropped. If the client is
    there, what it can take is sent.
    """
    if session.shut:
        return
    queue = session.queue
    if queue is None:
        queue = session.makeQueue()
    budget = queue.budget
    journal = session.journal
    kept = True
    if journal is not None and entry.qos:
        journal.queued(session, entry)
        skipped = queue.skipped
        if queue.spills or (queue.capacity and budget.limit and budget.bytes > budget.limit):
            lost = queue.spill(entry)
        else:
            lost = queue.push(entry)
        if lost is None:
            lost = queue.takeTooMuch()
        if queue.skipped > skipped:
            noteLosses(session, queue.skipped - skipped)
            if queue.skipped >= DROPPED and not queue.loading:
                askForPage(session, queue)
    elif budget.scarce and entry.qos == 0:
        drop(session, entry.message, "memory")
        return
    else:
        lost = queue.push(entry)
        if lost is None:
            lost = queue.takeTooMuch()
    while lost is not None:
        if lost is entry:
            kept = False
        lose(session, lost)
        lost = queue.takeTooMuch()
    if (
        queue.memory > queue.levelTop
        or queue.stored > queue.storedTop
        or (budget.limit and budget.bytes > budget.limit)
    ):
        budget.weigh(session, queue)
        makeRoom(budget)
    if session.connection is not None:
        session.refill(session.switches.now)
    elif session.switches.queued and kept:
        session.events.queued(session, entry.message)


def putBack(session: Session, entry: Entry) -> None:
    """
    Put a message that was taken out of the queue back to its front.
    """
    queue = session.queue
    if queue is None:
        queue = session.makeQueue()
    queue.putBack(entry)
