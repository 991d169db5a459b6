"""
L{twisted_mqtt.core.tree} against L{matches}, which is the definition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.kits.strategies import deepTopicFilters, deepTopicNames, topicFilters, topicNames
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.retainedtree import RetainedTree
from twisted_mqtt.core.subscription import Subscription
from twisted_mqtt.core.topics import hasWildcard, isTopicFilter, matches
from twisted_mqtt.core.tree import SubscriptionTree


class Somebody:
    """
    A subscriber that nothing is delivered to.
    """

    def __init__(self, clientID: str) -> None:
        self.clientID = clientID
        self.online = True

    def deliver(self, message: Message, subscription: Subscription) -> None:
        """
        See L{Subscriber}.
        """
        raise AssertionError("nobody was to deliver anything")


SUBSCRIBERS = [Somebody(name) for name in "abc"]

someFilter = st.one_of(topicFilters, topicFilters, deepTopicFilters)
someTopic = st.one_of(topicNames, topicNames, deepTopicNames)
actions = st.tuples(
    st.sampled_from(("add", "add", "remove")),
    st.integers(0, 2),
    someFilter,
    st.sampled_from((None, None, "g", "h")),
    st.tuples(st.integers(0, 2), st.booleans(), st.booleans(), st.none() | st.integers(1, 3).map(lambda n: [n])),
)

Key = tuple[int, str, str | None]


def expectedMatch(model: dict[Key, Subscription], topic: str) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """
    The result by the definition: by subscriber the sum of its subscriptions, and by group the members.
    """
    single: dict[Any, list[Subscription]] = {}
    groups: dict[Any, set[Any]] = {}
    for (who, topicFilter, group), subscription in model.items():
        if matches(topicFilter, topic):
            if group is None:
                single.setdefault(SUBSCRIBERS[who], []).append(subscription)
            else:
                groups.setdefault((group, topicFilter), set()).add((SUBSCRIBERS[who], subscription))
    merged = {}
    for subscriber, several in single.items():
        open_ = [each for each in several if not each.noLocal]
        merged[subscriber] = (
            max(each.qos for each in several),
            any(each.retainAsPublished for each in several),
            sorted(number for each in several for number in each.identifiers or ()),
            bool(open_),
            # For its own messages those with No Local do not count.
            (max(each.qos for each in open_), sorted(number for each in open_ for number in each.identifiers or ()))
            if open_
            else None,
        )
    return merged, groups


def foundMatch(tree: SubscriptionTree, topic: str) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """
    The result of the tree, in the same form.
    """
    match = tree.match(topic)
    merged: dict[Any, Any] = {}
    for each in match.subscriptions:
        assert each.subscriber not in merged, "two subscriptions of one subscriber"
        own = each if not each.noLocal else each.local
        merged[each.subscriber] = (
            each.qos,
            each.retainAsPublished,
            sorted(each.identifiers or ()),
            own is not None,
            None if own is None else (own.qos, sorted(own.identifiers or ())),
        )
        assert each.plain == (each.identifiers is None and not each.retainAsPublished and not each.noLocal)
    groups = {
        (group.name, group.matching): {(subscriber, each) for subscriber, each in group.members.items()}
        for group in match.groups
    }
    assert len(groups) == len(match.groups)
    return merged, groups


@given(st.lists(actions, max_size=25), st.lists(someTopic, min_size=1, max_size=6))
def test_treeEqualsTheDefinition(steps: list[Any], topics: list[str]) -> None:
    """
    After any sequence of subscribing and unsubscribing, shared or not, the tree gives what matching every filter
    gives, with the overlapping ones of a subscriber merged; its counts are right, and in the end it is empty.
    """
    tree = SubscriptionTree()
    model: dict[Key, Subscription] = {}

    def check() -> None:
        for topic in topics:
            assert foundMatch(tree, topic) == expectedMatch(model, topic)
        assert tree.count == len(model)
        assert tree.sharedCount == sum(group is not None for _, _, group in model)
        assert tree.systemCount == sum(topicFilter.startswith("$") for _, topicFilter, _ in model)
        assert tree.filterCount == len({topicFilter for _, topicFilter, _ in model})

    for verb, who, topicFilter, group, (qos, noLocal, retainAsPublished, identifiers) in steps:
        assert isTopicFilter(topicFilter)
        key = (who, topicFilter, group)
        if verb == "add":
            subscription = Subscription(
                SUBSCRIBERS[who], topicFilter, qos, noLocal and group is None, retainAsPublished, 0, identifiers
            )
            assert tree.add(subscription, group) is (key not in model)
            model[key] = subscription
        else:
            assert tree.remove(topicFilter, SUBSCRIBERS[who], group) is (key in model)
            model.pop(key, None)
        check()
    for who, topicFilter, group in list(model):
        assert tree.remove(topicFilter, SUBSCRIBERS[who], group)
        del model[who, topicFilter, group]
        check()
    # Not a node is left, nor a result that was kept.
    assert tree._root.bare() and not tree._exact and tree._cached >= 0


@given(st.lists(st.tuples(st.booleans(), someTopic, st.binary(max_size=3)), max_size=30), st.lists(someFilter))
def test_retainedEqualsTheDefinition(steps: list[tuple[bool, str, bytes]], filters: list[str]) -> None:
    """
    After any sequence of keeping and forgetting, the retained messages found for a filter are those whose topics
    match it, and the counts are right.
    """
    tree = RetainedTree()
    model: dict[str, Message] = {}
    for keep, topic, payload in steps:
        if keep:
            message = Message(topic, payload)
            assert tree.put(message) is model.get(topic)
            model[topic] = message
        else:
            assert tree.remove(topic) is model.pop(topic, None)
        assert tree.count == len(model) and sorted(tree.topics()) == sorted(model)
        assert tree.bytes == sum(len(each.payload) for each in model.values())
        for topicFilter in [*filters, "#", "+/#", topic]:
            found = tree.match(topicFilter)
            assert len(found) == len({each.topic for each in found})
            assert {each.topic: each for each in found} == {
                each: model[each] for each in model if matches(topicFilter, each)
            }
    for topic in list(model):
        tree.remove(topic)
    assert tree.root.children is None and tree.count == tree.bytes == 0


def specMatches(topicFilter: str, topicName: str) -> bool:
    """
    4.7 once more, by another route: the filter as a pattern of all the names that it could mean.
    """
    if topicName.startswith("$") and topicFilter[:1] in ("+", "#"):
        return False
    if topicFilter == "#":
        return True
    if topicFilter.endswith("/#"):
        parent = topicFilter[:-2]
        depth = parent.count("/") + 1
        return any(
            specMatches(parent, "/".join(topicName.split("/")[:count]))
            for count in {depth}
            if topicName.count("/") + 1 >= depth
        )
    return topicFilter.count("/") == topicName.count("/") and all(
        asked in ("+", level) for asked, level in zip(topicFilter.split("/"), topicName.split("/"), strict=True)
    )


@given(topicFilters, topicNames)
def test_definition(topicFilter: str, topicName: str) -> None:
    """
    The definition itself says what the specification says.
    """
    assert matches(topicFilter, topicName) is specMatches(topicFilter, topicName)
    if not hasWildcard(topicFilter):
        assert matches(topicFilter, topicName) is (topicFilter == topicName)


def deepest(make: Callable[[int], str]) -> list[str]:
    """
    The same shape around the depth where the tree ends.
    """
    return [make(count) for count in (62, 63, 64, 65, 66, 30_000)]


def test_depths() -> None:
    """
    Filters and topics of every length around the depth where the tree ends, and of 30,000 levels, find each other.
    """
    tree, retained = SubscriptionTree(), RetainedTree()
    filters = [
        *deepest(lambda count: "/".join(["+"] * count)),
        *deepest(lambda count: "/".join(["a"] * count + ["#"])),
        *deepest(lambda count: "/".join(["a"] * count)),
    ]
    topics = deepest(lambda count: "/".join(["a"] * count))
    for topicFilter in filters:
        tree.add(Subscription(Somebody(topicFilter[:8]), topicFilter))
    for topic in topics:
        retained.put(Message(topic, b"x"))
    for topic in topics:
        wanted = sorted(topicFilter for topicFilter in filters if matches(topicFilter, topic))
        assert sorted(each.topicFilter for each in tree.match(topic).subscriptions) == wanted
    for topicFilter in filters:
        assert sorted(each.topic for each in retained.match(topicFilter)) == sorted(
            topic for topic in topics if matches(topicFilter, topic)
        )


def test_cacheIsBounded() -> None:
    """
    A publisher of ever new topics does not make the cache of results grow without end.
    """
    tree = SubscriptionTree()
    tree.add(Subscription(SUBSCRIBERS[0], "#"))
    for number in range(10_000):
        tree.match(f"topic/{number}")
    assert len(tree._cache) <= 4096
    assert tree._cached == sum(len(each.subscriptions) + 1 for each in tree._cache.values())
