"""
Makes objects from rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from twisted_mqtt.core.entry import Entry, Run
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import IN_PUBLISH, decodeProperties
from twisted_mqtt.core.subscription import SharedGroup, Subscription
from twisted_mqtt.core.topics import splitShare, unscoped
from twisted_mqtt.stores.ledger import WRITTEN
from twisted_mqtt.stores.packing import Found, Pack, PackError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_mqtt.base.dates import Dates
    from twisted_mqtt.core.session import Session
    from twisted_mqtt.stores.page import Page, Part


class KeptSession(NamedTuple):
    """
    A session as a store has it: its columns, and how many entries wait for it.

    @ivar number: by which the store knows it.
    @ivar key: its client identifier with its topic tree: L{scoped<twisted_mqtt.core.topics.scoped>}.
    @ivar expiry: for how many seconds it outlives its connection; 4294967295 for ever; -1 where it has ended, and what
        waits for it is for others.
    @ivar expiresAt: when it ends; 0 for never, or where its client was connected when the process ended. As
        C{createdAt} a date in seconds since the epoch in the store, and a moment for the broker.
    @ivar createdAt: when it began.
    @ivar waiting: how many entries wait for it; L{None} where it has never had any.
    """

    number: int
    key: str
    username: str | None
    mountpoint: str
    expiry: int
    expiresAt: float
    createdAt: float
    zone: str
    waiting: int | None


def messageOf(row: Sequence[Any]) -> Message:
    """
    A message of its columns: those of L{twisted_mqtt.stores.statements.MESSAGE}, properties, payload. Its times are
    dates.
    """
    topic, flags, timestamp, expiresAt, clientID, username, host, protocol, properties, payload = row[:10]
    found = decodeProperties(properties, 0, len(properties), IN_PUBLISH)[0] if properties else None
    topicTree, topic = unscoped(topic)
    message = Message(topic, payload, flags & 3, flags & 4 != 0, found, clientID, timestamp, expiresAt, flags & 8 != 0)
    message.topicTree = topicTree
    message.username = username
    message.peerHost = host
    message.protocol = protocol
    return message


def inMoments(message: Message, dates: Dates | None) -> Message:
    """
    Have a message tell moments, whose times are dates.

    @param dates: L{None} where they are the same.
    """
    if dates is not None:
        date = message.timestamp
        message.timestamp = dates.moment(date)
        message.expiresAt = dates.moment(message.expiresAt, date)
    return message


def entriesOf(page: Page, session: Session, dates: Dates) -> tuple[list[Entry], list[Entry]]:
    """
    The entries of a page: those in flight, and those that wait.

    @raise PackError: the page is damaged.
    """
    work = _Unpacking(page.parcels, session, dates)
    return [work.entry(*each) for each in page.inflight], [work.entry(*each) for each in page.waiting]


class _Unpacking:
    """
    Makes entries of what was read; each message once.
    """

    def __init__(self, parcels: dict[int, bytes], session: Session, dates: Dates) -> None:
        self._session = session
        self._dates = dates if dates.differ else None
        self._parcels = {number: Pack(data) for number, data in parcels.items()}
        self._messages: dict[tuple[int, int], Message] = {}
        self._part: Part | None = None
        self._run = Run(0, 0, 0, 0, 0)
        self._pack: Pack | None = None
        self._extras: dict[int, list[Any]] = {}

    def entry(self, part: Part, found: Found) -> Entry:
        """
        Make an entry.
        """
        if part is not self._part:
            self._part = part
            self._run = Run(part.number, self._session.stored, part.first, part.left, part.parcel)
            self._pack = Pack(part.pack) if part.pack else None
            self._extras = {} if part.extras is None else {row[0]: row for row in msgspec.json.decode(part.extras)}
        flags = found.flags
        identifiers: list[int] | None = None
        share = None
        if self._extras:
            extra = self._extras.get(found.position)
            if extra is not None:
                identifiers = numbersOf(extra[1])
                share = self._group(extra[2])
        entry = Entry(self._message(part, found), flags & 3, flags & 4 != 0, identifiers, share)
        entry.released = flags & 8 != 0
        entry.packetID = found.packetID
        entry.number = found.number
        entry.owner = self._session.stored
        entry.state = WRITTEN
        entry.flies = found.flies
        entry.run = self._run
        entry.shared = found.shared
        return entry

    def _message(self, part: Part, found: Found) -> Message:
        if not found.shared:
            if self._pack is None:
                raise PackError("a run lacks its messages")
            return inMoments(self._pack.message(found.place), self._dates)
        key = (part.parcel, found.place)
        message = self._messages.get(key)
        if message is None:
            if part.parcel not in self._parcels:
                raise PackError("a run lacks its parcel")
            message = inMoments(self._parcels[part.parcel].message(found.place), self._dates)
            self._messages[key] = message
        return message

    def _group(self, share: str | None) -> SharedGroup | None:
        if share is not None:
            for subscription in self._session.subscriptions.values():
                group = subscription.share
                if group is not None and f"{group.name}/{group.matching}" == share:
                    return group
        return None


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
