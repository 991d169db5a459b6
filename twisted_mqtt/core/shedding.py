"""
Messages that wait are dropped because all queues together, or the process, have too much of them: the oldest of the
largest queues first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mqtt.core.dropping import drop, lose, noteLosses
from twisted_mqtt.core.paging import DROPPED, askForPage
from twisted_mqtt.core.queuebudget import SMALL

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.queuebudget import QueueBudget
    from twisted_mqtt.core.session import Session


def shed(session: Session, amount: int, stored: bool) -> int:
    """
    Drop the oldest messages of a session's queue, because all queues together have too much.

    @param amount: how many bytes of them.
    @param stored: whether it is the store that has too much; else it is memory, and of a queue that a store keeps,
        only messages of QoS 0 go.

    @return: how many bytes there are fewer, in memory or in the store.
    """
    queue = session.queue
    if queue is None or session.shut:
        return 0
    freed = 0
    while freed < amount and queue.length > 0:
        before = queue.size
        skipped = queue.skipped
        lost = queue.takeOldest() if stored or queue.capacity == 0 else queue.takeQoS0()
        if lost is None and queue.skipped == skipped:
            break
        freed += max(1, before - queue.size)
        if lost is not None:
            lose(session, lost)
            continue
        noteLosses(session, 1)
        if queue.skipped >= DROPPED and not queue.loading:
            askForPage(session, queue)
    if queue.skipped and not queue.loading:
        askForPage(session, queue)
    queue.budget.weigh(session, queue)
    return freed


def shedQoS0(session: Session) -> None:
    """
    Drop what waits at QoS 0, because memory is scarce.
    """
    queue = session.queue
    if queue is None or session.shut:
        return
    lost = queue.takeQoS0()
    while lost is not None:
        drop(session, lost.message, "memory")
        lost = queue.takeQoS0()


def makeRoom(budget: QueueBudget) -> None:
    """
    Have the largest queues in memory drop their oldest messages until all are within the limit.
    """
    limit = budget.limit
    if budget.making:
        return
    budget.making = True
    try:
        while limit and budget.bytes > limit:
            found = budget.inMemory.largest()
            if found is None:
                return
            session, level = found
            freed = shed(session, max(SMALL, (1 << level) >> 4), False)
            if not freed:
                budget.inMemory.forget(session, level)
                if session.queue is not None:
                    session.queue.level = 0
    finally:
        budget.making = False


def makeStoreRoom(budget: QueueBudget, amount: int, pause: Callable[[], bool]) -> int:
    """
    Have the largest queues in the store drop their oldest messages.

    @param amount: how many bytes of them.
    @param pause: asked between two steps: whether it is enough for this time.

    @return: how many bytes were given up.
    """
    given = 0
    while given < amount and not pause():
        found = budget.inStore.largest()
        if found is None:
            break
        session, level = found
        freed = shed(session, min(amount - given, max(SMALL, (1 << level) >> 4)), True)
        given += freed
        if not freed:
            budget.inStore.forget(session, level)
            if session.queue is not None:
                session.queue.storedLevel = 0
    return given
