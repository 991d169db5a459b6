"""
What a store holds when the broker starts: sessions and subscriptions at once, for messages are routed by them; their
queues only when somebody comes for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.task import deferLater

from twisted_mqtt.broker.bans import Ban
from twisted_mqtt.broker.client import ClientInfo
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.broker.redispatch import LEFT
from twisted_mqtt.core.session import NEVER, Session
from twisted_mqtt.core.topics import splitShare
from twisted_mqtt.stores import statements
from twisted_mqtt.stores.packing import entriesOf
from twisted_mqtt.stores.rows import messageOf, subscriptionOf

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted_mqtt.core.message import Message
    from twisted_mqtt.stores.database import Database

# The reactor gets its turn after so many rows: somebody else's service may run in the same process.
_ROWS: Final = 2000


@dataclass
class Contents:
    """
    What was read, as rows.

    @ivar counts: how many entries wait for the sessions that have any.
    @ivar inflight: the last entry in flight of those that have one.
    @ivar seen: when the last batch was written, in seconds since the epoch.
    """

    node: str | None
    seen: float
    numbers: tuple[int, int, int, int]
    sessions: list[tuple[Any, ...]]
    subscriptions: list[tuple[Any, ...]]
    counts: dict[int, int]
    inflight: dict[int, int]
    received: list[tuple[Any, ...]]
    retained: list[tuple[Any, ...]]
    wills: list[tuple[Any, ...]]
    delayed: list[tuple[Any, ...]]
    bans: list[tuple[Any, ...]]


def readContents(database: Database, stubs: bool = False) -> Contents:
    """
    Read all that is wanted at once.

    @param stubs: of retained messages, only that they are there.
    """
    counts = dict(database.all(statements.COUNTS))
    for stored, past in database.all(statements.PAST):
        counts[stored] = counts.get(stored, 0) - past
    inflight: dict[int, int] = {}
    for stored, number in _inFlight(database):
        inflight[stored] = max(number, inflight.get(stored, 0))
        counts[stored] -= 1
    return Contents(
        node=database.meta("node"),
        seen=float(database.meta("seen") or 0.0),
        numbers=database.numbers(),
        sessions=database.all(statements.SESSIONS),
        subscriptions=database.all(statements.SUBSCRIPTIONS),
        counts=counts,
        inflight=inflight,
        received=database.all(statements.RECEIVED),
        retained=database.all(statements.RETAINED_STUBS if stubs else statements.RETAINED),
        wills=database.all(statements.WILLS),
        delayed=database.all(statements.DELAYED),
        bans=database.all(statements.BANS),
    )


def _inFlight(database: Database) -> Iterator[tuple[int, int]]:
    """
    What is in flight: session and entry, each once.
    """
    sent: set[tuple[int, int]] = set(database.all(statements.FLIGHTS))
    yield from sent
    for session, first, entries, gone in database.all(statements.FLYING):
        for found in entriesOf(first, entries, gone or b"", {}, -1):
            if found.packetID and (session, found.number) not in sent:
                yield session, found.number


async def restore(contents: Contents, broker: Any, store: Any, clock: Any) -> list[tuple[int, Message, float]]:
    """
    Give the broker what was read.

    @return: the delayed messages: number, message, when it is due.
    """
    work = _Restoring(contents, broker, store)
    for step, rows in (
        (work.session, contents.sessions),
        (work.subscription, contents.subscriptions),
        (work.received, contents.received),
        (work.retained, contents.retained),
        (work.ban, contents.bans),
        (work.will, contents.wills),
    ):
        for start in range(0, len(rows), _ROWS):
            if start:
                await deferLater(clock, 0)
            for row in rows[start : start + _ROWS]:
                step(row)
    work.passOn()
    return [(row[-2], messageOf(row), row[-1]) for row in contents.delayed]


class _Restoring:
    """
    The steps.
    """

    def __init__(self, contents: Contents, broker: Any, store: Any) -> None:
        self._contents = contents
        self._broker = broker
        self._store = store
        self._now = broker.now()
        self._sessions: dict[int, Session] = {}
        # Those that had ended, and left something for others.
        self._left: list[Session] = []
        self._profiles: dict[str, ListenerProfile] = {}

    def session(self, row: tuple[Any, ...]) -> None:
        """
        A session, its client away.
        """
        stored, clientID, username, mountpoint, expiry, expiresAt, createdAt, zone = row
        broker = self._broker
        profile = self._profileOf(zone)
        session = Session(clientID, profile.limits, broker.counters, broker.switches, broker, createdAt, mountpoint)
        session.stored = stored
        if expiry == 0:
            # It was to end with its connection, and that has ended with the broker.
            self._store.removeSession(session)
            return
        session.journal = self._store.journal
        session.username = username
        session.zone = zone
        session.expiryInterval = expiry
        if expiry not in (NEVER, LEFT):
            # Without a time it was connected when the broker was stopped the hard way, about when it wrote last. The
            # time in which it did not run counts.
            session.expiresAt = expiresAt or (self._contents.seen or self._now) + expiry
        client = ClientInfo(profile, None)
        client.clientID = clientID
        client.username = username
        client.mountpoint = mountpoint
        client.expiryInterval = expiry
        session.info = client
        waiting = self._contents.counts.get(stored)
        if waiting is not None:
            session.restore(waiting)
        self._sessions[stored] = session
        if expiry == LEFT:
            self._left.append(session)
        else:
            broker.registry.restore(session)

    def subscription(self, row: tuple[Any, ...]) -> None:
        """
        A subscription.
        """
        session = self._sessions.get(row[0])
        if session is not None:
            subscription = subscriptionOf(row, session)
            session.subscriptions[subscription.topicFilter] = subscription
            self._broker.router.tree.add(subscription, splitShare(subscription.topicFilter)[0])

    def received(self, row: tuple[Any, ...]) -> None:
        """
        A QoS 2 message of a client whose PUBREL has not come.
        """
        session = self._sessions.get(row[0])
        if session is not None:
            if session.awaiting is None:
                session.awaiting = {}
            session.awaiting[row[1]] = row[2]

    def retained(self, row: tuple[Any, ...]) -> None:
        """
        A retained message; what is too old goes with the first housekeeping.
        """
        self._broker.retained.restore(messageOf(row))

    def ban(self, row: tuple[Any, ...]) -> None:
        """
        A ban; what is over goes with the first housekeeping.
        """
        kind, who, reason, by, at, until = row
        self._broker.bans.restore(Ban(who, kind, reason, by, at, until))

    def will(self, row: tuple[Any, ...]) -> None:
        """
        A will: due at its time, or, if the client was connected when the broker ended, so long after that.
        """
        clientID, due, delay = row[-3:]
        session = self._broker.sessions.get(clientID)
        if session is None:
            # Its session ended in the batch that was lost with the process, or has just been found to have ended.
            self._store.removeWill(clientID)
            return
        if not due:
            if session.expiryInterval != NEVER:
                delay = min(delay, session.expiryInterval)  # [MQTT-3.1.3-9]
            due = (self._contents.seen or self._now) + delay
        # Not before the others are here, who may want to hear it.
        self._broker.wills.delay(session, messageOf(row), max(0.0, due - self._now))

    def passOn(self) -> None:
        """
        Go on with what sessions have left that had ended.
        """
        for session in self._left:
            # They were members until now to know their groups.
            for subscription in session.subscriptions.values():
                share = splitShare(subscription.topicFilter)[0]
                self._broker.router.tree.remove(subscription.matching, session, share)
            if session.queue is None:
                self._store.removeSession(session)
            else:
                self._broker.registry.restore(session)

    def _profileOf(self, zone: str) -> ListenerProfile:
        profile = self._profiles.get(zone)
        if profile is None:
            settings = self._broker.settings
            # A zone that the configuration has no more is replaced by that of most clients.
            profile = ListenerProfile("", settings.resolveZone(zone if zone in settings.zone else "external"))
            self._profiles[zone] = profile
        return profile
