"""
Messages that do not reach a subscriber: counted, told, and not kept by the store any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted_mqtt.core.entry import Entry
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.session import Session


def drop(session: Session, message: Message, reason: str) -> None:
    """
    A message will not reach the client.

    @param reason: why; it names the counter, and callbacks at C{message.dropped} are given it.
    """
    counters = session.counters
    counters.delivery_dropped += 1
    session.dropped += 1
    if reason == "no_local":
        counters.delivery_dropped_no_local += 1
    elif reason == "qos0_msg":
        counters.delivery_dropped_qos0_msg += 1
    elif reason == "queue_full":
        counters.delivery_dropped_queue_full += 1
    elif reason == "too_large":
        counters.delivery_dropped_too_large += 1
    elif reason == "expired":
        counters.delivery_dropped_expired += 1
    elif reason == "memory":
        counters.delivery_dropped_memory += 1
    elif reason == "unsendable":
        counters.delivery_dropped_unsendable += 1
    if reason != "no_local":
        counters.messages_dropped += 1
        meter = session.switches.meter
        if meter is not None and not session.topicTree:
            meter.dropped(message.topic)
    if session.switches.dropped:
        session.events.dropped(session, message, reason)


def discard(session: Session, entry: Entry) -> None:
    """
    The store need not keep an entry any more.
    """
    journal = session.journal
    if journal is not None and entry.qos:
        journal.settled(session, entry)


def refuse(session: Session, entry: Entry) -> None:
    """
    A deliver hook is against a message.
    """
    discard(session, entry)
    drop(session, entry.message, "hook")


def lose(session: Session, entry: Entry) -> None:
    """
    Drop an entry for which there is no room.
    """
    noteLosses(session, 1)
    forgo(session, entry)


def forgo(session: Session, entry: Entry) -> None:
    """
    Drop an entry for which there was no room, where the loss has been noted already.
    """
    discard(session, entry)
    drop(session, entry.message, "queue_full")


def noteLosses(session: Session, count: int) -> None:
    """
    So many messages have been lost for want of room: who looks at C{QueueBudget.losing} finds the session there.
    """
    session.lost += count
    if not session.losing:
        session.losing = True
        session.switches.queues.losing.append(session)
