"""
Retained messages on their way to a client that has subscribed (3.3.1.3), as fast as the client takes them.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Protocol

from twisted_mqtt.core.enqueueing import enqueue
from twisted_mqtt.core.entry import Entry
from twisted_mqtt.core.queue import mostOf
from twisted_mqtt.core.retainedtree import RetainedWalk

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.session import Session
    from twisted_mqtt.core.subscription import Subscription

# Of messages that are on disk alone, so many are read at once; and so many found in a portion wait to be taken.
_READ_AT_ONCE: Final = 128
# So many filters are looked for at once, before the rest is done in portions.
_FILTERS_AT_ONCE: Final = 64
# So many levels each of them may make us look at.
_STEPS_AT_ONCE: Final = 500
# Levels that are looked at in one go.
_STEPS: Final = 256
# So many are moved to the queue in one turn.
_ASIDE_AT_ONCE: Final = 128


class Retained(Protocol):
    """
    The retained messages of a broker.
    """

    def match(self, topicFilter: str, topicTree: str = "", steps: int = -1) -> list[Message] | None:
        """
        @param topicTree: in this topic tree.
        @param steps: how many levels of topics to look at, at most; -1 for all.

        @return: those that match a filter, as a list that nobody changes; L{None} where there are more levels to look
            at. What has no payload is on disk alone.
        """

    def walk(self, topicFilter: str, topicTree: str = "") -> RetainedWalk | None:
        """
        Begin to look for what matches a filter with wildcards; L{None} where there is nothing.
        """

    def read(self, messages: list[Message], done: Callable[[list[Message], int], None]) -> None:
        """
        Read messages that are on disk alone.

        @param done: called, in this call or later, with some of the first ones, and how many these were; those that are
            not retained any more are left out.
        """


class Wanted:
    """
    A new subscription that asks for retained messages.

    @ivar since: the number of the last message that was routed before the subscription: a retained message with a
        greater one has been delivered like any other.
    """

    __slots__ = ("subscription", "since")

    def __init__(self, subscription: Subscription, since: int) -> None:
        self.subscription: Subscription = subscription
        self.since: int = since


class Backlog:
    """
    The retained messages for a session's new subscriptions: one after the other, of one match at a time.

    Where there is much to look at, it is looked for in portions.

    @ivar isReading: whether something is being looked for or read from disk; then nothing can be taken, and the session
        goes on once it is there. There is one such search or read at a time, however often a client subscribes.
    @ivar overtaken: topics of which nothing is wanted any more.
    """

    __slots__ = (
        "isReading",
        "overtaken",
        "_session",
        "_retained",
        "_waiting",
        "_present",
        "_matched",
        "_taken",
        "_walk",
        "_left",
        "_asked",
        "_read",
    )

    def __init__(self, session: Session, retained: Retained) -> None:
        self.isReading: bool = False
        self.overtaken: set[str] | None = None
        self._session: Session = session
        self._retained: Retained = retained
        # The subscriptions, by filter, oldest first. Of the first of them messages, how many of those have gone, and
        # where it goes on if these are not all.
        self._waiting: OrderedDict[str, Wanted] = OrderedDict()
        # The first of them, once it was looked up.
        self._present: Wanted | None = None
        self._matched: list[Message] | None = None
        self._taken: int = 0
        self._walk: RetainedWalk | None = None
        # How many filters may still be looked for at once.
        self._left: int = _FILTERS_AT_ONCE
        # Of these messages, what is being read from disk; and what has been read, the next one last.
        self._asked: list[Message] | None = None
        self._read: list[Message] | None = None

    @property
    def isEmpty(self) -> bool:
        """
        Whether there is nothing left, nor being read.
        """
        return not self._waiting and not self.isReading

    def add(self, wanted: Wanted) -> None:
        """
        Add a subscription. The same one again replaces what is left of it: a client can't pile up work.
        """
        topicFilter = wanted.subscription.topicFilter
        if self._waiting:
            self.remove(topicFilter)
        if not self._waiting and not self.isReading:
            matched = self._matchAtOnce(wanted)
            if matched is not None:
                if not matched:
                    return
                self._matched = matched
                self._taken = 0
        self._waiting[topicFilter] = wanted

    def remove(self, topicFilter: str) -> None:
        """
        Nothing more is wanted for a subscription.
        """
        if topicFilter in self._waiting:
            if next(iter(self._waiting)) == topicFilter:
                self._forget()
                self._present = None
            del self._waiting[topicFilter]

    def take(self, upgradeQoS: bool) -> Entry | None:
        """
        Take the next message; L{None} where there is none at hand: a subscription has no more, and another may, or what
        is on disk has to be read first, or more has to be looked for.
        """
        wanted = self._first()
        read = self._read
        if read is not None:
            message = read.pop()
            if not read:
                self._read = None
        else:
            matched = self._matched
            if matched is None:
                matched = self._matchAtOnce(wanted)
                if matched is None:
                    self._look()
                    return None
                self._matched = matched
                self._taken = 0
            if self._taken >= len(matched):
                if self._walk is not None:
                    self._look()
                else:
                    self.remove(wanted.subscription.topicFilter)
                return None
            message = matched[self._taken]
            if message.number > wanted.since:
                self._taken += 1
                return None
            if not message.payload:
                self._readOn(matched, wanted.since)
                return None
            self._taken += 1
        if self.overtaken is not None and message.topic in self.overtaken:
            return None
        subscription = wanted.subscription
        qos = min(message.qos, subscription.qos) if not upgradeQoS else subscription.qos
        return Entry(message, qos, True, subscription.identifiers, None)  # [MQTT-3.3.1-8]

    def takeLasting(self, upgradeQoS: bool) -> Entry | None:
        """
        The same for a client that is gone: nothing of QoS 0, and for subscriptions of that nothing is read.
        """
        subscription = self._first().subscription
        if subscription.qos == 0:
            self.remove(subscription.topicFilter)
            return None
        entry = self.take(upgradeQoS)
        return entry if entry is not None and entry.qos else None

    def overtake(self, topic: str) -> None:
        """
        Something newer of a topic is ahead.
        """
        if self.overtaken is None:
            self.overtaken = set()
        self.overtaken.add(topic)

    def goOn(self) -> bool:
        """
        See L{Work<twisted_mqtt.core.events.Work>}: look for more.
        """
        self._left = _FILTERS_AT_ONCE
        if self._waiting and not self._find(self._first()):
            return True
        self.isReading = False
        self._arrived()
        return False

    # Inside

    def _first(self) -> Wanted:
        """
        The oldest of those that wait; there is one.
        """
        first = self._present
        if first is None:
            first = self._present = self._waiting[next(iter(self._waiting))]
        return first

    def _forget(self) -> None:
        self._matched = self._asked = self._read = self._walk = None

    def _matchAtOnce(self, wanted: Wanted) -> list[Message] | None:
        """
        Find the matches of a filter, if few messages have to be examined for that.
        """
        if self._left == 0:
            return None
        self._left -= 1
        return self._retained.match(wanted.subscription.matching, self._session.topicTree, _STEPS_AT_ONCE)

    def _look(self) -> None:
        """
        Look for more, in portions.
        """
        self.isReading = True
        self._session.events.goOnLater(self)

    def _find(self, wanted: Wanted) -> bool:
        """
        Look for more for the first subscription, for a while; returns whether something was found. One that has no more
        is forgotten.
        """
        retained = self._retained
        matching = wanted.subscription.matching
        walk = self._walk
        if walk is None:
            self._taken = 0
            # Somebody else may have looked for the same.
            self._matched = retained.match(matching, self._session.topicTree, _STEPS_AT_ONCE)
            if self._matched is None:
                walk = self._walk = retained.walk(matching, self._session.topicTree)
        elif self._taken:
            # These have been taken.
            self._matched = None
            self._taken = 0
        if walk is not None:
            matched = self._matched
            if matched is None:
                matched = self._matched = []
            walk.go(matched, _STEPS)
            if not walk.done:
                return len(matched) >= _READ_AT_ONCE
            self._walk = None
        if self._matched:
            return True
        self.remove(wanted.subscription.topicFilter)
        return False

    def _readOn(self, matched: list[Message], since: int) -> None:
        """
        Ask for the next of the messages that are on disk alone.
        """
        asked: list[Message] = []
        for message in matched[self._taken : self._taken + _READ_AT_ONCE]:
            if message.payload or message.number > since:
                break
            asked.append(message)
        self._asked = asked
        self.isReading = True
        self._retained.read(asked, lambda found, count: self._haveRead(asked, found, count))

    def _haveRead(self, asked: list[Message], found: list[Message], count: int) -> None:
        self.isReading = False
        # It may be for a subscription that has been replaced or has ended.
        if self._asked is asked:
            self._asked = None
            self._taken += count
            if found:
                found.reverse()
                self._read = found
        self._arrived()

    def _arrived(self) -> None:
        """
        What was looked for or read from disk is there.
        """
        session = self._session
        if session.backlog is not self or session.shut:
            return
        if self.isEmpty:
            session.backlog = None
        if session.connection is not None:
            session.refill(session.switches.now)
        elif not session.filling:
            putAside(session)


def deliverRetained(session: Session, retained: Retained, wanted: list[Wanted], now: float) -> None:
    """
    Deliver the retained messages that new subscriptions ask for (3.3.1.3), as fast as the client reads.
    """
    backlog = session.backlog
    if backlog is None:
        if len(wanted) == 1:
            # Most subscriptions are to topics of which nothing is retained.
            found = retained.match(wanted[0].subscription.matching, session.topicTree, _STEPS_AT_ONCE)
            if found is not None and not found:
                return
        backlog = Backlog(session, retained)
    for each in wanted:
        backlog.add(each)
    session.backlog = None if backlog.isEmpty else backlog
    session.refill(now)


def forgetRetained(session: Session, topicFilter: str, now: float) -> None:
    """
    The client has unsubscribed: nothing more of the retained messages is sent for that (3.10.4).
    """
    backlog = session.backlog
    if backlog is not None:
        backlog.remove(topicFilter)
        if backlog.isEmpty:
            session.backlog = None
        session.refill(now)


def putAside(session: Session) -> None:
    """
    The client is gone: what of the retained messages is to wait for it waits in the queue.
    """
    filling = session.filling
    session.filling = True
    most = mostOf(session.limits, session.journal is not None, False)
    left = _ASIDE_AT_ONCE
    try:
        while True:
            backlog = session.backlog
            if backlog is None or backlog.isReading:
                break
            if left == 0:
                session.rest()
                break
            left -= 1
            if not session.expiryInterval or (most and session.queueLength >= most):
                session.backlog = None
                break
            entry = backlog.takeLasting(session.limits.upgradeQoS)
            if backlog.isEmpty:
                session.backlog = None
            if entry is not None:
                enqueue(session, entry)
    finally:
        session.filling = filling
