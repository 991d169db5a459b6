"""
The client's answers to the messages of QoS 1 and 2 that were sent to it (4.3.2, 4.3.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mqtt.core.dropping import discard, drop
from twisted_mqtt.core.reasons import PACKET_ID_NOT_FOUND, PROTOCOL_ERROR, ProtocolError

if TYPE_CHECKING:
    from twisted_mqtt.core.entry import Entry
    from twisted_mqtt.core.session import Session


def puback(session: Session, packetID: int, now: float) -> None:
    """
    PUBACK has come.

    @raise ProtocolError: it answers a message of QoS 2.
    """
    inflight = session.inflight
    # One object for both look-ups: see L{Inflight.entries}.
    key: object = packetID
    entry = inflight.entries.get(key)
    if entry is None or entry.qos != 1:
        session.counters.packets_puback_missed += 1
        if entry is not None:  # 4.3.3
            raise ProtocolError(PROTOCOL_ERROR, "a PUBACK for a QoS 2 message")
        return
    del inflight.entries[key]
    if inflight.resend is not None:
        inflight.forgetResend(entry)
    journal = session.journal
    if journal is not None:
        journal.settled(session, entry)
    session.counters.messages_acked += 1
    if session.switches.acked:
        session.events.acked(session, entry.message)
    if session.queue is not None or session.backlog is not None or inflight.resend is not None:
        session.refill(now)


def pubrec(session: Session, packetID: int, reason: int, now: float) -> int:
    """
    PUBREC has come.

    @return: the reason code of the PUBREL to send, or -1 for none.

    @raise ProtocolError: it answers a message of QoS 1.
    """
    entry = session.inflight.entries.get(packetID)
    if entry is None or entry.qos != 2:
        session.counters.packets_pubrec_missed += 1
        if entry is not None:  # 4.3.2
            raise ProtocolError(PROTOCOL_ERROR, "a PUBREC for a QoS 1 message")
        # A client that was told before a crash of ours, say, can finish its side.
        return -1 if reason >= 0x80 else PACKET_ID_NOT_FOUND
    journal = session.journal
    if reason >= 0x80:  # the message is done for this receiver: [MQTT-4.8.2-6] says for the whole group
        _settled(session, entry)
        session.refill(now)
        return -1
    if not entry.released:
        entry.released = True
        session.counters.messages_acked += 1
        if session.switches.acked:
            session.events.acked(session, entry.message)
        if journal is not None:
            journal.released(session, entry)
    else:
        session.counters.packets_pubrec_inuse += 1
    return 0


def pubcomp(session: Session, packetID: int, now: float) -> None:
    """
    PUBCOMP has come.

    @raise ProtocolError: the message is of QoS 1, or its PUBREC has not come.
    """
    entry = session.inflight.entries.get(packetID)
    if entry is None or not entry.released:
        session.counters.packets_pubcomp_missed += 1
        if entry is not None:  # 4.3.3
            raise ProtocolError(PROTOCOL_ERROR, "a PUBCOMP for a message that no PUBREC has come for")
        return
    _settled(session, entry)
    if session.queue is not None or session.backlog is not None or session.inflight.resend is not None:
        session.refill(now)


def giveUp(session: Session, packetID: int, reason: str, now: float) -> None:
    """
    The client will not acknowledge a QoS 1 message: it is not in flight any more.

    @param reason: why it is dropped; empty where another client gets it.
    """
    entry = session.inflight.entries.get(packetID)
    if entry is None:
        return
    session.inflight.remove(entry)
    if reason:
        drop(session, entry.message, reason)
    discard(session, entry)
    session.refill(now)


def _settled(session: Session, entry: Entry) -> None:
    """
    The client is done with a message that was in flight.
    """
    session.inflight.remove(entry)
    journal = session.journal
    if journal is not None:
        journal.settled(session, entry)
