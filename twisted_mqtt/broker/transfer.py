"""
Moves a session from one node to another: one node reads it page by page, the other one makes it.

The old node keeps the session until the other node has everything. So after any failure one of them still has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from twisted_mqtt.broker.sessiondata import EntryData, MessageData, SessionData, SubscriptionData
from twisted_mqtt.core.exactlyonce import restoreUnreleased
from twisted_mqtt.core.paging import takePage
from twisted_mqtt.core.session import NEVER
from twisted_mqtt.core.subscription import SharedGroup

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.base.waiting import Maybe
    from twisted_mqtt.broker.absent import AbsentSessions
    from twisted_mqtt.broker.sessions import SessionRegistry
    from twisted_mqtt.core.entry import Entry
    from twisted_mqtt.core.session import Session
    from twisted_mqtt.interfaces import IStore

#: So many entries are in a page, at most, unless the store has read more at once.
PAGE: Final = 256


class TransferEnded(Exception):
    """
    A session can't be moved any more: its client has come to the node that has it, or it has ended.
    """


class SessionExport:
    """
    A session that is read to be moved to another node. Until L{finish} it stays here as it is, and what is published
    meanwhile is added to it; it is given up when the client comes here.

    @ivar data: the session but for its messages, as it was when this was made.
    """

    def __init__(
        self, session: Session, data: SessionData, registry: SessionRegistry, now: Callable[[], float]
    ) -> None:
        """
        @param session: one whose client is away.
        @param now: tells the moment.
        """
        self.data = data
        self._session = session
        self._registry = registry
        self._now = now
        self._ended = False
        self._waiting: Deferred[list[EntryData]] | None = None
        # The entries that were in memory at the last look and have not been given out, the next one last; and all that
        # were seen there, by identity.
        self._pending: list[Entry] = []
        self._seen: set[Entry] = set()
        # Of what the store alone has: how much was given out, and the number of the last of it.
        self._read = 0
        self._after: int | None = None
        queue = session.queue
        # A page that the session has asked for itself has to come first.
        self._first = queue is not None and queue.loading
        session.pageTaker = self._taken
        self._dormant = queue is not None and queue.dormant

    def next(self) -> Maybe[list[EntryData]]:
        """
        Read the next messages, in the order in which the client is to get them: those in flight first.

        @return: a list of them, which is empty when all have been given out; or a L{Deferred} of it, which fails with
            L{TransferEnded} if the session can't be moved any more. A store that can't read tries again.

        @raise TransferEnded: likewise.
        """
        if self._ended:
            raise TransferEnded
        if self._first:
            self._waiting = Deferred()
            return self._waiting
        if not self._dormant:
            found = self._fromMemory()
            if found:
                return found
        if self._storeHasMore():
            return self._ask()
        # While the store has all others, memory has what is of QoS 0, which stands in no order to them.
        return self._fromMemory()

    def finish(self) -> bool:
        """
        The other node has everything, on its disk (C{safe} of its broker says when): the session ends here, and nobody
        notices.

        @return: whether it has ended: not where something was added since L{next} gave an empty list, so that it has
            to be asked again.

        @raise TransferEnded: the session can't be moved any more.
        """
        if self._ended:
            raise TransferEnded
        session = self._session
        if self._first or self._waiting is not None or self._storeHasMore() or session.isBusy:
            return False
        if self._pending or self._unseen():
            return False
        self._ended = True
        session.pageTaker = None
        self._registry.release(session)
        return True

    def cancel(self) -> None:
        """
        Give it up: the session stays here.
        """
        if self._ended:
            return
        self._ended = True
        session = self._session
        session.pageTaker = None
        if self._registry.exports.get(session) is self:
            del self._registry.exports[session]
        waiting, self._waiting = self._waiting, None
        queue = session.queue
        if queue is not None and not self._first:
            if waiting is not None:
                # The page that is on its way is not the one that the session would ask for.
                session.pageTaker = self._swallow
            else:
                queue.loading = False
        if waiting is not None:
            waiting.errback(TransferEnded())

    def _swallow(self, inflight: list[Entry], waiting: list[Entry], complete: bool) -> None:
        session = self._session
        session.pageTaker = None
        queue = session.queue
        if queue is not None:
            queue.loading = False
        if session.connection is not None:
            session.resume(self._now())

    def _unseen(self) -> list[Entry]:
        session = self._session
        found = [] if self._dormant else list(session.inflight.entries.values())
        if session.queue is not None:
            found.extend(session.queue.entries())
        return [entry for entry in found if entry not in self._seen]

    def _fromMemory(self) -> list[EntryData]:
        pending = self._pending
        if not pending:
            pending = self._unseen()
            self._seen.update(pending)
            pending.reverse()
            self._pending = pending
        found = pending[-PAGE:]
        del pending[-PAGE:]
        found.reverse()
        return self._dataOf(found)

    def _storeHasMore(self) -> bool:
        queue = self._session.queue
        if queue is None or self._session.journal is None:
            return False
        return (self._dormant and self._after is None) or queue.spilled > self._read

    def _ask(self) -> Deferred[list[EntryData]]:
        session = self._session
        queue, journal = session.queue, session.journal
        assert queue is not None and journal is not None
        if self._after is None:
            self._after = -1 if self._dormant else queue.last
        # The session is not to ask for pages itself, which it does when its queue is too long.
        queue.loading = True
        waiting = self._waiting = Deferred()
        journal.page(session, self._after)
        return waiting

    def _taken(self, inflight: list[Entry], waiting: list[Entry], complete: bool) -> None:
        """
        A page has come.
        """
        session = self._session
        if self._first:
            self._first = False
            session.pageTaker = None
            takePage(session, inflight, waiting, complete, self._now())
            session.pageTaker = self._taken
            self._dormant = session.queue is not None and session.queue.dormant
            asked, self._waiting = self._waiting, None
            if asked is not None:
                following = self.next()
                if isinstance(following, Deferred):
                    following.chainDeferred(asked)
                else:
                    asked.callback(following)
            return
        queue = session.queue
        assert queue is not None
        # The oldest of a queue that was too long have been dropped.
        dropped = min(max(0, queue.skipped - self._read), len(waiting))
        self._after = waiting[-1].number if waiting else max(self._after or 0, 0)
        self._read += len(waiting)
        if complete and not waiting:
            # However many were counted: there are no more of them.
            self._read = max(self._read, queue.spilled)
        asked, self._waiting = self._waiting, None
        found = self._dataOf([*inflight, *waiting[dropped:]])
        if asked is None:
            return
        if found or not self._storeHasMore():
            asked.callback(found or self._fromMemory())
        else:
            self._ask().chainDeferred(asked)

    def _dataOf(self, entries: list[Entry]) -> list[EntryData]:
        now = self._now()
        return [EntryData.of(entry, now) for entry in entries]


class SessionImport:
    """
    A session that comes from another node. It is not there before L{finish}; a process that ends before has nothing of
    it when it starts again.
    """

    def __init__(
        self,
        data: SessionData,
        absent: AbsentSessions,
        registry: SessionRegistry,
        store: IStore,
        now: Callable[[], float],
    ) -> None:
        """
        @param absent: makes the session.
        @param now: tells the moment.
        """
        self._data = data
        self._registry = registry
        self._store = store
        self._now = now
        self._ended = False
        # The groups of shared subscriptions, until they are joined.
        self._groups: dict[tuple[str, str], SharedGroup] = {}
        began = now() - data.age
        # With an expiry of 0 the store forgets it with the process.
        session = self._session = absent.make(
            data.clientID, data.topicTree, data.username, data.mountpoint, data.zone, 0, began
        )
        for each in data.subscriptions:
            subscription = each.subscription(session)
            session.subscriptions[subscription.topicFilter] = subscription
        session.inflight.nextID = data.nextID
        if data.expiry and store.durable:
            session.journal = store.journal
            store.saveSession(session)
        for packetID, age in data.unreleased:
            restoreUnreleased(session, packetID, now() - age)
            if session.journal is not None:
                session.journal.received(session, packetID, now() - age)

    def add(self, entries: list[EntryData]) -> Deferred[None] | None:
        """
        Take a page of messages.

        @return: L{None}, or a L{Deferred} that fires when the store has room for more. It does not fail.
        """
        now = self._now()
        for each in entries:
            share = None
            if each.share is not None:
                share = self._groups.get(each.share)
                if share is None:
                    share = self._groups[each.share] = SharedGroup(*each.share)
            self._session.takeOver(each.entry(self._data.topicTree, share, now))
        return self._store.room()

    def finish(self) -> Session:
        """
        That was all: the session is there, and its client may come. One that was here for the same client ends; if its
        client is connected, it is sent away.

        @return: the session. It is safe when the store says so of what it was told.
        """
        self._ended = True
        session, data, now = self._session, self._data, self._now()
        session.expiryInterval = data.expiry
        session.expiresAt = 0.0 if data.expiry == NEVER or data.lasts is None else now + data.lasts
        if session.info is not None:
            session.info.expiryInterval = data.expiry  # type: ignore[attr-defined]  # a ClientInfo
        self._registry.adopt(session)
        self._joinGroups()
        if data.will is not None:
            self._registry.adoptWill(session, data.will.message(data.topicTree, now), data.willIn)
        return session

    def cancel(self) -> None:
        """
        Nothing comes of it.
        """
        if not self._ended:
            self._ended = True
            self._session.shut = True
            if self._session.journal is not None:
                self._store.removeSession(self._session)
                self._session.journal = None

    def _joinGroups(self) -> None:
        session = self._session
        groups = {
            (share.name, share.matching): share
            for subscription in session.subscriptions.values()
            if (share := subscription.share) is not None
        }
        queue = session.queue
        for entry in [*session.inflight.entries.values(), *([] if queue is None else queue.entries())]:
            if entry.share is not None:
                entry.share = groups.get((entry.share.name, entry.share.matching))


def dataOf(session: Session, will: tuple[MessageData, float] | None, now: float) -> SessionData:
    """
    A session but for its messages.

    @param will: its client's, and after how many seconds it is published.
    @param now: the moment.
    """
    unreleased = session.unreleased
    return SessionData(
        session.clientID,
        session.topicTree,
        session.username,
        session.mountpoint,
        session.zone,
        session.expiryInterval,
        session.expiresAt - now if session.expiresAt else None,
        now - session.createdAt,
        session.inflight.nextID,
        [SubscriptionData.of(subscription) for subscription in session.subscriptions.values()],
        [] if unreleased is None else [(packetID, now - since) for packetID, since in unreleased.since.items()],
        None if will is None else will[0],
        0.0 if will is None else will[1],
    )
