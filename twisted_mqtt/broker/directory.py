"""
Lists and look-ups of clients, subscriptions and retained messages, in slices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger
from zope.interface import implementer

from twisted_mqtt.base.listing import Listing
from twisted_mqtt.core.session import Session
from twisted_mqtt.core.topics import splitShare
from twisted_mqtt.interfaces import IDirectory, ISession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from twisted.internet.interfaces import IReactorTime

    from twisted_mqtt.broker.retained import RetainedMessages
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.parteddict import PartedDict
    from twisted_mqtt.core.router import Router
    from twisted_mqtt.core.subscription import Subscription
    from twisted_mqtt.core.tree import Leaf

_log = Logger()


@implementer(IDirectory)
class Directory:
    """
    See L{IDirectory}.
    """

    def __init__(
        self,
        sessions: PartedDict[Session],
        topicTrees: Mapping[str, int],
        router: Router,
        retained: RetainedMessages,
        clock: IReactorTime,
    ) -> None:
        """
        @param sessions: all that live, by the names that the broker has for them.
        @param topicTrees: those but the default one in which clients are connected.
        """
        self._sessions = sessions
        self._topicTrees = topicTrees
        self._router = router
        self._retained = retained
        self._clock = clock

    def topicTrees(self) -> list[str]:
        """
        See L{IDirectory}.
        """
        return ["", *self._topicTrees]

    def sessions(
        self,
        where: Callable[[ISession], bool] | None = None,
        key: Callable[[ISession], object] | None = None,
        reverse: bool = False,
    ) -> Listing[ISession]:
        """
        See L{IDirectory}.
        """
        named = self._sessionSteps(where)
        if key is not None:
            return Listing[ISession].inOrder(self._clock, named, key, self._sessions.get, reverse)
        return Listing(self._clock, (None if step is None else step[1] for step in named))

    def subscriptions(self, where: Callable[[Subscription], bool] | None = None) -> Listing[Subscription]:
        """
        See L{IDirectory}.
        """
        return Listing(self._clock, self._subscriptionSteps(where))

    def filters(self, where: Callable[[str], bool] | None = None, topicTree: str = "") -> Listing[str]:
        """
        See L{IDirectory}.
        """
        tree = self._router.treeOf(topicTree)
        return Listing(self._clock, iter(()) if tree is None else _chosen(tree.filters(), where))

    def subscribers(self, topicFilter: str, topicTree: str = "") -> Listing[Subscription]:
        """
        See L{IDirectory}.
        """
        group, matching = splitShare(topicFilter)
        tree = self._router.treeOf(topicTree)
        leaf = None if tree is None else tree.leafOf(matching)
        return Listing(self._clock, iter(()) if leaf is None else _leafSteps(leaf, group, group is None))

    def matching(self, topic: str, topicTree: str = "") -> Listing[Subscription]:
        """
        See L{IDirectory}.
        """
        tree = self._router.treeOf(topicTree)
        return Listing(self._clock, iter(()) if tree is None else _leavesSteps(tree.leavesFor(topic)))

    def retained(self, topicFilter: str = "#", topicTree: str = "") -> Listing[Message]:
        """
        See L{IDirectory}.
        """
        return Listing(self._clock, self._retained.steps(topicFilter, topicTree))

    def _sessionSteps(self, where: Callable[[ISession], bool] | None) -> Iterator[tuple[str, ISession] | None]:
        for part in self._sessions.parts:
            # A session that took the place of another meanwhile has the same name, and stands here once.
            for name in list(part):
                session = part.get(name)
                yield (name, session) if session is not None and (where is None or where(session)) else None

    def _subscriptionSteps(self, where: Callable[[Subscription], bool] | None) -> Iterator[Subscription | None]:
        for step in self._sessionSteps(None):
            if step is None:
                yield None
                continue
            subscriptions = step[1].subscriptions
            for topicFilter in list(subscriptions):
                # It may have gone while others had their turn.
                found = subscriptions.get(topicFilter)
                yield found if found is not None and (where is None or where(found)) else None


def _chosen(steps: Iterator[str | None], where: Callable[[str], bool] | None) -> Iterator[str | None]:
    for found in steps:
        yield found if found is not None and (where is None or where(found)) else None


def _leafSteps(leaf: Leaf, group: str | None, plain: bool) -> Iterator[Subscription | None]:
    """
    @param group: the members of this share; L{None} for those of all shares.
    @param plain: whether those who do not share are wanted.
    """
    if plain:
        if leaf.single is not None:
            yield leaf.single
        elif leaf.many is not None:
            yield from list(leaf.many.values())
    for shared in list(() if leaf.groups is None else leaf.groups.values()):
        if group is None or shared.name == group:
            yield from list(shared.members.values())


def _leavesSteps(leaves: list[Leaf]) -> Iterator[Subscription | None]:
    for leaf in leaves:
        yield from _leafSteps(leaf, None, True)


class FilterWatch:
    """
    Somebody who is told which filters have subscribers, until it is closed.
    """

    def __init__(
        self,
        watches: FilterWatches,
        added: Callable[[str, str, str | None], object],
        removed: Callable[[str, str, str | None], object],
    ) -> None:
        self.added = added
        self.removed = removed
        self._watches = watches

    def close(self) -> None:
        """
        Tell nothing more.
        """
        self._watches.remove(self)


class FilterWatches:
    """
    Those who are told which filters have subscribers. It is L{FilterEvents<twisted_mqtt.core.tree.FilterEvents>}.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._watches: tuple[FilterWatch, ...] = ()

    def add(
        self, added: Callable[[str, str, str | None], object], removed: Callable[[str, str, str | None], object]
    ) -> FilterWatch:
        """
        See C{watchFilters} of L{twisted_mqtt.interfaces.IBroker}.
        """
        watch = FilterWatch(self, added, removed)
        self._watches = (*self._watches, watch)
        self._router.tellFilters(self)
        return watch

    def remove(self, watch: FilterWatch) -> None:
        """
        Tell somebody nothing more; one that is told nothing already is no error.
        """
        self._watches = tuple(other for other in self._watches if other is not watch)
        if not self._watches:
            self._router.tellFilters(None)

    def filterAdded(self, topicTree: str, matching: str, group: str | None) -> None:
        """
        See L{twisted_mqtt.core.tree.FilterEvents}.
        """
        for watch in self._watches:
            _tell(watch.added, topicTree, matching, group)

    def filterRemoved(self, topicTree: str, matching: str, group: str | None) -> None:
        """
        See L{twisted_mqtt.core.tree.FilterEvents}.
        """
        for watch in self._watches:
            _tell(watch.removed, topicTree, matching, group)


def _tell(callback: Callable[[str, str, str | None], object], topicTree: str, matching: str, group: str | None) -> None:
    try:
        callback(topicTree, matching, group)
    except Exception:
        _log.failure("Telling {callback} of the filter {matching} failed", callback=callback, matching=matching)
