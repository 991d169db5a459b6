"""
The index of subscriptions: finds the subscribers of a topic.

Its answer equals that of L{twisted_mqtt.core.topics.matches} over all filters; a property test checks this.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from twisted_mqtt.core.effort import Effort
from twisted_mqtt.core.parteddict import PartedDict
from twisted_mqtt.core.subscription import SharedGroup, Subscription, merge
from twisted_mqtt.core.topics import hasWildcard

# Bounds of the result cache: topics, and subscriptions named by all results together.
_CACHED_TOPICS: Final = 4096
_CACHED_SUBSCRIPTIONS: Final = 262144


class Match:
    """
    The subscribers of one topic.

    @ivar subscriptions: one for each subscriber that does not share.
    @ivar groups: shared ones; one member of each gets the message.
    """

    __slots__ = ("subscriptions", "groups")

    def __init__(self, subscriptions: list[Subscription], groups: list[SharedGroup]) -> None:
        self.subscriptions: list[Subscription] = subscriptions
        self.groups: list[SharedGroup] = groups


class Leaf:
    """
    Those who subscribed one filter. Most filters have one subscriber, so one costs no dictionary.
    """

    __slots__ = ("single", "many", "groups")

    def __init__(self) -> None:
        self.single: Subscription | None = None
        self.many: dict[object, Subscription] | None = None
        self.groups: dict[str, SharedGroup] | None = None

    def add(self, subscription: Subscription) -> bool:
        """
        Add or replace; returns whether the subscriber is new here.
        """
        subscriber = subscription.subscriber
        many = self.many
        if many is not None:
            new = subscriber not in many
            many[subscriber] = subscription
            return new
        single = self.single
        if single is None or single.subscriber is subscriber:
            self.single = subscription
            return single is None
        self.many = {single.subscriber: single, subscriber: subscription}
        self.single = None
        return True

    def remove(self, subscriber: object) -> bool:
        """
        Remove; returns whether the subscriber was here.
        """
        many = self.many
        if many is not None:
            found = many.pop(subscriber, None)
            if not many:
                self.many = None
            return found is not None
        single = self.single
        if single is not None and single.subscriber is subscriber:
            self.single = None
            return True
        return False

    def empty(self) -> bool:
        """
        Whether nobody is here.
        """
        return self.single is None and self.many is None and self.groups is None


class TreeNode(Leaf):
    """
    A level of the filters that hold wildcards. C{rest} are those who subscribed everything below, C{#}.
    """

    __slots__ = ("children", "plus", "rest")

    def __init__(self) -> None:
        super().__init__()
        self.children: dict[str, TreeNode] | None = None
        self.plus: TreeNode | None = None
        self.rest: Leaf | None = None

    def bare(self) -> bool:
        """
        Whether neither anybody nor any level is here.
        """
        return self.empty() and self.children is None and self.plus is None and self.rest is None


class FilterEvents(Protocol):
    """
    Is told which filters have subscribers. Its methods do not wait, do not raise and do not change the tree.
    """

    def filterAdded(self, topicTree: str, matching: str, group: str | None) -> None:
        """
        A filter has its first subscriber.

        @param topicTree: the C{name} of the tree.
        @param matching: the filter, without its share.
        @param group: the name of the share whose first member it is; L{None} for those who do not share.
        """

    def filterRemoved(self, topicTree: str, matching: str, group: str | None) -> None:
        """
        The last subscriber of a filter, or the last member of its share, has gone.
        """


class SubscriptionTree:
    """
    All subscriptions of a topic tree.

    @ivar name: of the topic tree; empty for the default one.
    @ivar count: subscriptions, shared ones included.
    @ivar sharedCount: those that are shared.
    @ivar systemCount: those to topics that begin with C{$}, which no leading wildcard matches.
    @ivar events: is told which filters have subscribers; L{None} where nobody wants to know.
    @ivar effort: where it counts the levels that it looks at.
    """

    __slots__ = (
        "name",
        "effort",
        "count",
        "sharedCount",
        "systemCount",
        "events",
        "_exact",
        "_root",
        "_cache",
        "_cached",
        "_filters",
    )

    def __init__(self, name: str = "", effort: Effort | None = None) -> None:
        """
        @param effort: where it counts the levels that it looks at.
        """
        self.name: str = name
        self.effort: Effort = Effort() if effort is None else effort
        self.count: int = 0
        self.sharedCount: int = 0
        self.systemCount: int = 0
        self.events: FilterEvents | None = None
        self._exact: PartedDict[Leaf] = PartedDict()
        self._root: TreeNode = TreeNode()
        self._cache: dict[str, Match] = {}
        self._cached: int = 0
        self._filters: int = 0

    @property
    def filterCount(self) -> int:
        """
        How many different filters are subscribed.
        """
        return self._filters

    def add(self, subscription: Subscription, group: str | None = None) -> bool:
        """
        Add a subscription, or replace the subscriber's earlier one to the same filter (and group).

        @param group: the name of the share.

        @return: whether it is new.
        """
        matching = subscription.matching
        leaf = self._leafFor(matching)
        if leaf.empty():
            self._filters += 1
        if group is None:
            first = leaf.single is None and leaf.many is None
            new = leaf.add(subscription)
        else:
            groups = leaf.groups
            if groups is None:
                groups = leaf.groups = {}
            shared = groups.get(group)
            first = shared is None
            if shared is None:
                shared = groups[group] = SharedGroup(group, matching)
            new = subscription.subscriber not in shared.members
            shared.add(subscription)
            subscription.share = shared
            if new:
                self.sharedCount += 1
        if new:
            self.count += 1
            if matching.startswith("$"):
                self.systemCount += 1
        self._forget(matching)
        if first and self.events is not None:
            self.events.filterAdded(self.name, matching, group)
        return new

    def remove(self, matching: str, subscriber: object, group: str | None = None) -> bool:
        """
        Remove a subscription.

        @param matching: the filter, without its share.

        @return: whether there was one.
        """
        isExact = not hasWildcard(matching)
        leaf = self._exact.get(matching) if isExact else self.leafOf(matching)
        if leaf is None:
            return False
        found = self._removeFrom(leaf, subscriber, group)
        if leaf.empty():
            if isExact:
                del self._exact[matching]
            else:
                _prune(self._root, matching.split("/"))
        if found:
            self.count -= 1
            if matching.startswith("$"):
                self.systemCount -= 1
            if group is not None:
                self.sharedCount -= 1
            self._forget(matching)
            if self.events is not None and not _isSubscribed(leaf, group):
                self.events.filterRemoved(self.name, matching, group)
        return found

    def findGroup(self, matching: str, name: str) -> SharedGroup | None:
        """
        The members of a shared subscription, by its filter and the name of the share; L{None} if there are none.
        """
        leaf = self.leafOf(matching)
        groups = None if leaf is None else leaf.groups
        return None if groups is None else groups.get(name)

    def match(self, topic: str) -> Match:
        """
        The subscribers of a topic. The caller must not change or keep the answer.
        """
        match = self._cache.get(topic)
        if match is None:
            match = self._match(topic)
            size = len(match.subscriptions) + 1
            if len(self._cache) >= _CACHED_TOPICS or self._cached + size > _CACHED_SUBSCRIPTIONS:
                self._cache.clear()
                self._cached = 0
            self._cache[topic] = match
            self._cached += size
        return match

    def _forget(self, matching: str) -> None:
        cache = self._cache
        if cache:
            if hasWildcard(matching):
                cache.clear()
                self._cached = 0
            else:
                old = cache.pop(matching, None)
                if old is not None:
                    self._cached -= len(old.subscriptions) + 1

    def leafOf(self, matching: str) -> Leaf | None:
        """
        Those who subscribed a filter, or L{None} where nobody did. Not to be changed.

        @param matching: the filter, without its share.
        """
        if not hasWildcard(matching):
            return self._exact.get(matching)
        node = self._root
        for level in matching.split("/"):
            if level == "#":
                return node.rest
            if level == "+":
                child = node.plus
            else:
                child = None if node.children is None else node.children.get(level)
            if child is None:
                return None
            node = child
        return None if node.empty() else node

    def leavesFor(self, topic: str) -> list[Leaf]:
        """
        Those who subscribed any filter that matches a topic, each filter by itself. Not to be changed.
        """
        leaves: list[Leaf] = []
        self._find(topic, leaves)
        return leaves

    def _find(self, topic: str, leaves: list[Leaf]) -> int:
        """
        Add those who subscribed any filter that matches a topic to C{leaves}; returns how many levels were looked at.
        """
        exact = self._exact.get(topic)
        if exact is not None:
            leaves.append(exact)
        levels = topic.split("/")
        root = self._root
        if not topic.startswith("$"):
            return _collect(root, levels, 0, leaves)
        children = root.children  # [MQTT-4.7.2-1]
        child = None if children is None else children.get(levels[0])
        return 0 if child is None else _collect(child, levels, 1, leaves)

    def filters(self) -> Iterator[str | None]:
        """
        All filters that are subscribed, without shares, while the tree changes. None comes twice; one that is there all
        the time comes. L{None} is a step without one.
        """
        for part in self._exact.parts:
            for matching in list(part):
                yield matching if matching in part else None
        # A level that goes and comes again meanwhile has no filter that was there all the time; each is visited once.
        root = self._root
        if root.rest is not None:
            yield "#"
        stack: list[tuple[TreeNode, str, list[str]]] = [(root, "", _below(root))]
        while stack:
            node, prefix, levels = stack[-1]
            if not levels:
                stack.pop()
                continue
            level = levels.pop()
            child = node.plus if level == "+" else None if node.children is None else node.children.get(level)
            if child is None:
                yield None
                continue
            if child.rest is not None:
                yield f"{prefix}{level}/#"
            yield None if child.empty() else prefix + level
            levels = _below(child)
            if levels:
                stack.append((child, f"{prefix}{level}/", levels))

    def _leafFor(self, matching: str) -> Leaf:
        if not hasWildcard(matching):
            leaf = self._exact.get(matching)
            if leaf is None:
                leaf = Leaf()
                self._exact[matching] = leaf
            return leaf
        node = self._root
        for level in matching.split("/"):
            if level == "#":
                if node.rest is None:
                    node.rest = Leaf()
                return node.rest
            if level == "+":
                if node.plus is None:
                    node.plus = TreeNode()
                node = node.plus
            else:
                children = node.children
                if children is None:
                    children = node.children = {}
                child = children.get(level)
                if child is None:
                    child = children[level] = TreeNode()
                node = child
        return node

    def _removeFrom(self, leaf: Leaf, subscriber: object, group: str | None) -> bool:
        if group is None:
            found = leaf.remove(subscriber)
        else:
            groups = leaf.groups
            shared = None if groups is None else groups.get(group)
            if groups is None or shared is None or subscriber not in shared.members:
                return False
            shared.remove(subscriber)
            found = True
            if not shared.members:
                del groups[group]
                if not groups:
                    leaf.groups = None
        if found and leaf.empty():
            self._filters -= 1
        return found

    def _match(self, topic: str) -> Match:
        leaves: list[Leaf] = []
        self.effort.spent += self._find(topic, leaves)
        groups: list[SharedGroup] = []
        found: list[Subscription] = []
        for leaf in leaves:
            if leaf.single is not None:
                found.append(leaf.single)
            elif leaf.many is not None:
                found.extend(leaf.many.values())
            if leaf.groups is not None:
                groups.extend(leaf.groups.values())
        if len(leaves) > 1 and len(found) > 1:
            self.effort.spent += len(found)
            found = _mergeAll(found)
        return Match(found, groups)


def _isSubscribed(leaf: Leaf, group: str | None) -> bool:
    """
    Whether anybody is left of a share, or of those who do not share.
    """
    if group is None:
        return leaf.single is not None or leaf.many is not None
    return leaf.groups is not None and group in leaf.groups


def _below(node: TreeNode) -> list[str]:
    """
    The levels below one.
    """
    levels = [] if node.children is None else list(node.children)
    if node.plus is not None:
        levels.append("+")
    return levels


def _prune(root: TreeNode, levels: list[str]) -> None:
    """
    Remove the levels along a filter that hold nothing any more, now that nobody subscribes it.
    """
    node = root
    path: list[TreeNode] = []
    for level in levels:
        if level == "#":
            node.rest = None
            break
        child = node.plus if level == "+" else None if node.children is None else node.children.get(level)
        if child is None:
            return
        path.append(node)
        node = child
    while path and node.bare():
        node = path.pop()
        level = levels[len(path)]
        children = node.children
        if level == "+":
            node.plus = None
        elif children is not None:
            del children[level]
            if not children:
                node.children = None


def _collect(node: TreeNode, levels: list[str], index: int, leaves: list[Leaf]) -> int:
    """
    Find the leaves below C{node} whose filters match the levels from C{index} on; returns how many levels were looked
    at.
    """
    count = len(levels)
    looked = 0
    # Where a level and C{+} both match there are two ways; the second one of each such place.
    others: list[tuple[TreeNode, int]] | None = None
    while True:
        looked += 1
        rest = node.rest
        if rest is not None:  # also the parent level itself: sport/# matches sport
            leaves.append(rest)
        next_: TreeNode | None = None
        if index == count:
            if not node.empty():
                leaves.append(node)
        else:
            next_ = node.plus
            children = node.children
            child = None if children is None else children.get(levels[index])
            index += 1
            if child is not None:
                if next_ is not None:
                    if others is None:
                        others = []
                    others.append((next_, index))
                next_ = child
        if next_ is None:
            if not others:
                return looked
            next_, index = others.pop()
        node = next_


def _mergeAll(found: list[Subscription]) -> list[Subscription]:
    """
    At most one subscription for each subscriber.
    """
    by: dict[object, list[Subscription]] = {}
    for subscription in found:
        several = by.get(subscription.subscriber)
        if several is None:
            by[subscription.subscriber] = [subscription]
        else:
            several.append(subscription)
    if len(by) == len(found):
        return found
    return [merge(several) for several in by.values()]
