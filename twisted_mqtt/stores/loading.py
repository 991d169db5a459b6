"""
Reads the store when the broker starts: sessions and subscriptions at once, because messages are routed by them; their
queues only when they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted_mqtt.base.waiting import nextTurn
from twisted_mqtt.core.exactlyonce import restoreUnreleased
from twisted_mqtt.core.paging import restoreQueue
from twisted_mqtt.stores import statements
from twisted_mqtt.stores.packing import entriesOf
from twisted_mqtt.stores.rows import KeptSession, inMoments, messageOf, subscriptionOf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.internet.interfaces import IReactorTime

    from twisted_mqtt.base.dates import Dates
    from twisted_mqtt.core.session import Session
    from twisted_mqtt.interfaces import IStoreOwner
    from twisted_mqtt.stores.database import Database
    from twisted_mqtt.stores.sqlite import SQLiteStore

# The reactor gets its turn after so many rows: somebody else's service may run in the same process.
_ROWS: Final = 2000


@dataclass
class Contents:
    """
    The content that was read, as rows.

    @ivar counts: how many entries wait for the sessions that have any.
    @ivar sizes: the bytes of an entry of these on average.
    @ivar inflight: the last entry in flight of those that have one.
    """

    node: str | None
    numbers: tuple[int, int, int, int]
    sessions: list[tuple[Any, ...]]
    subscriptions: list[tuple[Any, ...]]
    counts: dict[int, int]
    sizes: dict[int, int]
    inflight: dict[int, int]
    received: list[tuple[Any, ...]]
    retained: list[tuple[Any, ...]]
    wills: list[tuple[Any, ...]]
    records: list[tuple[str, str, bytes]]


def readContents(database: Database, stubs: bool = False) -> Contents:
    """
    Read all that is wanted at once.

    @param stubs: of retained messages, only that they are there.
    """
    counts: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for stored, total, size in database.all(statements.COUNTS):
        counts[stored] = total
        sizes[stored] = size // total
    for stored, past in database.all(statements.PAST):
        counts[stored] = counts.get(stored, 0) - past
    inflight: dict[int, int] = {}
    for stored, number in _inFlight(database):
        inflight[stored] = max(number, inflight.get(stored, 0))
        counts[stored] -= 1
    return Contents(
        node=database.meta("node"),
        numbers=database.numbers(),
        sessions=database.all(statements.SESSIONS),
        subscriptions=database.all(statements.SUBSCRIPTIONS),
        counts=counts,
        sizes=sizes,
        inflight=inflight,
        received=database.all(statements.RECEIVED),
        retained=database.all(statements.RETAINED_STUBS if stubs else statements.RETAINED),
        wills=database.all(statements.WILLS),
        records=database.all(statements.RECORDS),
    )


def _inFlight(database: Database) -> Iterator[tuple[int, int]]:
    """
    Read which entries of which sessions are in flight, each once.
    """
    sent: set[tuple[int, int]] = set(database.all(statements.FLIGHTS))
    yield from sent
    for session, first, entries, gone in database.all(statements.FLYING):
        for found in entriesOf(first, entries, gone or b"", {}, -1):
            if found.packetID and (session, found.number) not in sent:
                yield session, found.number


async def restore(
    contents: Contents, owner: IStoreOwner, store: SQLiteStore, clock: IReactorTime, dates: Dates
) -> None:
    """
    Give the owner what was read.
    """
    work = _Restoring(contents, owner, store, dates)
    for step, rows in (
        (work.session, contents.sessions),
        (work.subscription, contents.subscriptions),
        (work.received, contents.received),
        (work.retained, contents.retained),
        (work.will, contents.wills),
    ):
        for start in range(0, len(rows), _ROWS):
            if start:
                await nextTurn(clock)
            for row in rows[start : start + _ROWS]:
                step(row)
    owner.restored()


class _Restoring:
    """
    The steps.
    """

    def __init__(self, contents: Contents, owner: IStoreOwner, store: SQLiteStore, dates: Dates) -> None:
        self._contents = contents
        self._owner = owner
        self._store = store
        self._dates = dates
        self._differing = dates if dates.differ else None
        self._sessions: dict[int, Session] = {}

    def session(self, row: tuple[Any, ...]) -> None:
        """
        A session, its client away.
        """
        kept = KeptSession._make((*row, self._contents.counts.get(row[0])))
        moment = self._dates.moment
        kept = kept._replace(expiresAt=moment(kept.expiresAt), createdAt=moment(kept.createdAt))
        session = self._owner.restoreSession(kept)
        if session is None:
            # Its will is for the owner to publish.
            self._store.forget(kept.number)
            return
        session.stored = kept.number
        session.journal = self._store.journal
        if kept.waiting is not None:
            restoreQueue(session, kept.waiting, kept.waiting * self._contents.sizes.get(kept.number, 0))
        if session.expiresAt != kept.expiresAt:
            self._store.saveSession(session)
        self._sessions[kept.number] = session

    def subscription(self, row: tuple[Any, ...]) -> None:
        """
        A subscription.
        """
        session = self._sessions.get(row[0])
        if session is not None:
            subscription = subscriptionOf(row, session)
            session.subscriptions[subscription.topicFilter] = subscription
            self._owner.restoreSubscription(subscription)

    def received(self, row: tuple[Any, ...]) -> None:
        """
        A QoS 2 message of a client whose PUBREL has not come.
        """
        session = self._sessions.get(row[0])
        if session is not None:
            restoreUnreleased(session, row[1], self._dates.moment(row[2]))

    def retained(self, row: tuple[Any, ...]) -> None:
        """
        A retained message.
        """
        self._owner.restoreRetained(inMoments(messageOf(row), self._differing))

    def will(self, row: tuple[Any, ...]) -> None:
        """
        A will.
        """
        clientID, due, delay = row[-3:]
        will = inMoments(messageOf(row), self._differing)
        self._owner.restoreWill(clientID, will, self._dates.moment(due), delay)
