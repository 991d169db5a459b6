"""
From rows to what they stand for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import IN_PUBLISH, decodeProperties
from twisted_mqtt.core.queue import Entry
from twisted_mqtt.core.subscription import Subscription
from twisted_mqtt.core.topics import splitShare
from twisted_mqtt.stores.ledger import WRITTEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_mqtt.core.session import Session


def messageOf(row: Sequence[Any]) -> Message:
    """
    A message of its columns: those of L{twisted_mqtt.stores.statements.MESSAGE}, properties, payload.
    """
    topic, flags, timestamp, expiresAt, clientID, username, host, protocol, properties, payload = row[:10]
    found = decodeProperties(properties, 0, len(properties), IN_PUBLISH)[0] if properties else None
    message = Message(
        topic, payload, flags & 3, flags & 4 != 0, found, clientID, timestamp, expiresAt, flags & 8 != 0
    )
    message.username = username
    message.peerHost = host
    message.protocol = protocol
    return message


def entryOf(row: Sequence[Any], session: Session, messages: dict[int, Message]) -> Entry:
    """
    An entry of a row of L{Database.page<twisted_mqtt.stores.database.Database.page>}.

    @param messages: those that were made of rows already, by number.
    """
    number, stored, flags, packetID, identifiers, share = row[:6]
    message = messages.get(stored)
    if message is None:
        message = messages[stored] = messageOf(row[6:])
        message.stored = stored
        message.kept = True
    entry = Entry(message, flags & 3, flags & 4 != 0, numbersOf(identifiers), None)
    if share is not None:
        for subscription in session.subscriptions.values():
            group = subscription.share
            if group is not None and f"{group.name}/{group.matching}" == share:
                entry.share = group
    entry.released = flags & 8 != 0
    entry.packetID = packetID
    entry.number = number
    entry.owner = session.stored
    entry.state = WRITTEN
    entry.source = message
    return entry


def subscriptionOf(row: Sequence[Any], session: Session) -> Subscription:
    """
    A subscription of a row of L{twisted_mqtt.stores.statements.SUBSCRIPTIONS}.
    """
    _, topicFilter, flags, identifiers = row
    return Subscription(
        session,
        topicFilter,
        flags & 3,
        flags & 4 != 0,
        flags & 8 != 0,
        flags >> 4 & 3,
        numbersOf(identifiers),
        session.mountpoint + splitShare(topicFilter)[1],
        session,
    )


def numbersOf(text: str | None) -> list[int] | None:
    """
    The subscription identifiers that a text names.
    """
    return [int(word) for word in text.split()] if text else None
