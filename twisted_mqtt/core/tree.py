"""
Who gets a message: the index of subscriptions, and the index of retained messages.

What these answer equals L{twisted_mqtt.core.topics.matches} over all filters; a property test holds them to it.
"""

from __future__ import annotations

from typing import Final

from twisted_mqtt.core.message import Message
from twisted_mqtt.core.subscription import SharedGroup, Subscription, merge
from twisted_mqtt.core.topics import hasWildcard, matches

# Bounds of the result cache: topics, and subscriptions named by all results together.
_CACHED_TOPICS: Final = 4096
_CACHED_SUBSCRIPTIONS: Final = 262144
# What has more levels than this stands in a plain dictionary beside the tree, so that a peer that names 30,000 levels
# can neither exhaust the stack of these recursions nor make the tree huge; only topics as deep pay for it.
_DEEP: Final = 64


class Match:
    """
    Who gets messages of one topic.

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


class SubscriptionTree:
    """
    All subscriptions of a broker.

    @ivar count: subscriptions, shared ones included.
    @ivar sharedCount: those that are shared.
    @ivar systemCount: those to topics that begin with C{$}, which no leading wildcard matches.
    """

    __slots__ = ("count", "sharedCount", "systemCount", "_exact", "_deep", "_root", "_cache", "_cached", "_filters")

    def __init__(self) -> None:
        self.count: int = 0
        self.sharedCount: int = 0
        self.systemCount: int = 0
        self._exact: dict[str, Leaf] = {}
        self._deep: dict[str, Leaf] = {}
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
            new = leaf.add(subscription)
        else:
            groups = leaf.groups
            if groups is None:
                groups = leaf.groups = {}
            shared = groups.get(group)
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
        return new

    def remove(self, matching: str, subscriber: object, group: str | None = None) -> bool:
        """
        Remove a subscription.

        @param matching: the filter, without its share.

        @return: whether there was one.
        """
        flat = self._flat(matching)
        if flat is not None:
            leaf = flat.get(matching)
            if leaf is None:
                return False
            found = self._removeFrom(leaf, subscriber, group)
            if leaf.empty():
                del flat[matching]
        else:
            found = self._prune(self._root, matching.split("/"), 0, subscriber, group)
        if found:
            self.count -= 1
            if matching.startswith("$"):
                self.systemCount -= 1
            if group is not None:
                self.sharedCount -= 1
            self._forget(matching)
        return found

    def match(self, topic: str) -> Match:
        """
        Who gets messages of a topic. The answer must not be changed, nor kept.
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

    def _flat(self, matching: str) -> dict[str, Leaf] | None:
        """
        The dictionary that holds a filter, or L{None} where the tree does.
        """
        if not hasWildcard(matching):
            return self._exact
        return self._deep if matching.count("/") >= _DEEP else None

    def _leafFor(self, matching: str) -> Leaf:
        flat = self._flat(matching)
        if flat is not None:
            leaf = flat.get(matching)
            if leaf is None:
                leaf = flat[matching] = Leaf()
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

    def _prune(self, node: TreeNode, levels: list[str], index: int, subscriber: object, group: str | None) -> bool:
        if index == len(levels):
            return self._removeFrom(node, subscriber, group)
        level = levels[index]
        if level == "#":
            rest = node.rest
            if rest is None:
                return False
            found = self._removeFrom(rest, subscriber, group)
            if rest.empty():
                node.rest = None
            return found
        if level == "+":
            child = node.plus
        else:
            child = None if node.children is None else node.children.get(level)
        if child is None:
            return False
        found = self._prune(child, levels, index + 1, subscriber, group)
        if child.bare():
            if level == "+":
                node.plus = None
            else:
                children = node.children
                if children is not None:
                    del children[level]
                    if not children:
                        node.children = None
        return found

    def _match(self, topic: str) -> Match:
        leaves: list[Leaf] = []
        exact = self._exact.get(topic)
        if exact is not None:
            leaves.append(exact)
        levels = topic.split("/")
        root = self._root
        if topic.startswith("$"):  # [MQTT-4.7.2-1]
            children = root.children
            child = None if children is None else children.get(levels[0])
            if child is not None:
                _collect(child, levels, 1, leaves)
        else:
            _collect(root, levels, 0, leaves)
        # A filter of more levels than _DEEP matches no topic of fewer than _DEEP.
        if self._deep and len(levels) >= _DEEP:
            leaves.extend([leaf for matching, leaf in self._deep.items() if matches(matching, topic)])
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
            found = _mergeAll(found)
        return Match(found, groups)


def _collect(node: TreeNode, levels: list[str], index: int, leaves: list[Leaf]) -> None:
    """
    The leaves below C{node} whose filters match the levels from C{index} on.
    """
    count = len(levels)
    while True:
        rest = node.rest
        if rest is not None:  # also the parent level itself: sport/# matches sport
            leaves.append(rest)
        if index == count:
            if not node.empty():
                leaves.append(node)
            return
        plus = node.plus
        children = node.children
        child = None if children is None else children.get(levels[index])
        index += 1
        if plus is not None:
            if child is None:
                node = plus
                continue
            _collect(plus, levels, index, leaves)
        if child is None:
            return
        node = child


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


class RetainedNode:
    """
    A level of the topics that have a retained message.
    """

    __slots__ = ("message", "children")

    def __init__(self) -> None:
        self.message: Message | None = None
        self.children: dict[str, RetainedNode] | None = None


class RetainedTree:
    """
    The last retained message of each topic.

    @ivar count: how many there are.
    @ivar bytes: the length of their payloads together.
    """

    __slots__ = ("count", "bytes", "_messages", "_deep", "_root", "_cache")

    def __init__(self) -> None:
        self.count: int = 0
        self.bytes: int = 0
        self._messages: dict[str, Message] = {}
        self._deep: dict[str, Message] = {}
        self._root: RetainedNode = RetainedNode()
        self._cache: dict[str, list[Message]] = {}

    def get(self, topic: str) -> Message | None:
        """
        The retained message of a topic.
        """
        return self._messages.get(topic)

    def topics(self) -> list[str]:
        """
        The topics that have a retained message.
        """
        return list(self._messages)

    def put(self, message: Message) -> Message | None:
        """
        Keep a message for its topic; returns the one it takes the place of.
        """
        topic = message.topic
        old = self._messages.get(topic)
        self._messages[topic] = message
        self.bytes += len(message.payload)
        if old is None:
            self.count += 1
        else:
            self.bytes -= len(old.payload)
        if self._cache:
            self._cache.clear()
        if topic.count("/") >= _DEEP:
            self._deep[topic] = message
            return old
        node = self._root
        for level in topic.split("/"):
            children = node.children
            if children is None:
                children = node.children = {}
            child = children.get(level)
            if child is None:
                child = children[level] = RetainedNode()
            node = child
        node.message = message
        return old

    def remove(self, topic: str) -> Message | None:
        """
        Forget the message of a topic; returns it.
        """
        old = self._messages.pop(topic, None)
        if old is None:
            return None
        self.count -= 1
        self.bytes -= len(old.payload)
        if self._cache:
            self._cache.clear()
        if topic.count("/") >= _DEEP:
            del self._deep[topic]
        else:
            self._prune(self._root, topic.split("/"), 0)
        return old

    def match(self, topicFilter: str) -> list[Message]:
        """
        The retained messages whose topics match a filter. The list may be shared: it must not be changed.
        """
        if not hasWildcard(topicFilter):
            message = self._messages.get(topicFilter)
            return [] if message is None else [message]
        found = self._cache.get(topicFilter)
        if found is None:
            found = []
            if topicFilter.count("/") <= _DEEP:
                self._walk(self._root, topicFilter.split("/"), 0, found)
            if self._deep:
                found.extend([message for topic, message in self._deep.items() if matches(topicFilter, topic)])
            if len(self._cache) >= 16:
                self._cache.clear()
            self._cache[topicFilter] = found
        return found

    def _prune(self, node: RetainedNode, levels: list[str], index: int) -> None:
        if index == len(levels):
            node.message = None
            return
        children = node.children
        child = None if children is None else children.get(levels[index])
        if children is None or child is None:
            return
        self._prune(child, levels, index + 1)
        if child.message is None and child.children is None:
            del children[levels[index]]
            if not children:
                node.children = None

    def _walk(self, node: RetainedNode, levels: list[str], index: int, found: list[Message]) -> None:
        if index == len(levels):
            if node.message is not None:
                found.append(node.message)
            return
        level = levels[index]
        children = node.children
        if level == "#":
            if node.message is not None:
                found.append(node.message)
            if children is not None:
                first = node is self._root
                for name, child in children.items():
                    if not first or not name.startswith("$"):  # [MQTT-4.7.2-1]
                        self._walk(child, levels, index, found)
        elif children is None:
            return
        elif level == "+":
            for name, child in children.items():
                if index or not name.startswith("$"):
                    self._walk(child, levels, index + 1, found)
        else:
            found_ = children.get(level)
            if found_ is not None:
                self._walk(found_, levels, index + 1, found)
