"""
QoS 2 messages of the client: each is taken once, however often it is repeated until its PUBREL has come (4.3.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted_mqtt.core.session import Session


class Unreleased:
    """
    Packet identifiers of QoS 2 messages of the client whose PUBREL has not come ([MQTT-4.3.3-10]).

    @ivar since: the moment when each was received, the oldest first.
    """

    __slots__ = ("since",)

    def __init__(self) -> None:
        self.since: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self.since)

    def forgetOverdue(self, until: float) -> list[int]:
        """
        Forget those received at C{until} or before; returns their packet identifiers.
        """
        overdue: list[int] = []
        for packetID, since in self.since.items():
            if since > until:
                break
            overdue.append(packetID)
        for packetID in overdue:
            del self.since[packetID]
        return overdue


def isRepeated(session: Session, packetID: int) -> bool:
    """
    Whether a QoS 2 message with this identifier was taken and its PUBREL has not come ([MQTT-4.3.3-10]).
    """
    unreleased = session.unreleased
    return unreleased is not None and packetID in unreleased.since


def hasRoom(session: Session, now: float) -> bool:
    """
    Whether another QoS 2 message of the client can be remembered; those whose PUBREL is overdue make room.
    """
    limit = session.limits.maxAwaitingRel
    unreleased = session.unreleased
    if not limit or unreleased is None or len(unreleased.since) < limit:
        return True
    timeout = session.limits.awaitRelTimeout
    if timeout > 0.0:
        for packetID in unreleased.forgetOverdue(now - timeout):
            if session.journal is not None:
                session.journal.completed(session, packetID)
    return len(unreleased.since) < limit


def remember(session: Session, packetID: int, now: float) -> bool:
    """
    Remember a QoS 2 message of the client.

    @return: whether there was room for it.
    """
    if not hasRoom(session, now):
        return False
    _add(session, packetID, now)
    return True


def rememberAny(session: Session, packetID: int, now: float) -> None:
    """
    Remember a QoS 2 message of a client that can't be told how many it may send. Where there are more than the
    limit, those whose PUBREL is overdue are forgotten.
    """
    hasRoom(session, now)
    _add(session, packetID, now)


def restoreUnreleased(session: Session, packetID: int, since: float) -> None:
    """
    A QoS 2 message of the client was taken at that time, and its PUBREL has not come; the store knows it already.
    """
    unreleased = session.unreleased
    if unreleased is None:
        unreleased = session.unreleased = Unreleased()
    unreleased.since[packetID] = since


def release(session: Session, packetID: int) -> bool:
    """
    PUBREL has come; returns whether its message was known.
    """
    unreleased = session.unreleased
    if unreleased is None or unreleased.since.pop(packetID, None) is None:
        session.counters.packets_pubrel_missed += 1
        return False
    journal = session.journal
    if journal is not None:
        journal.completed(session, packetID)
    return True


def _add(session: Session, packetID: int, now: float) -> None:
    restoreUnreleased(session, packetID, now)
    journal = session.journal
    if journal is not None:
        journal.received(session, packetID, now)
