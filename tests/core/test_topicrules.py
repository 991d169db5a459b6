"""
Tests for L{twisted_mqtt.core.topicrules}: what a client may publish to, as data.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted_mqtt.core.topicrules import EVERYTHING, PublishRules, TopicRule, TopicRules, allowsEverything
from twisted_mqtt.core.topics import matches

LEVELS = st.sampled_from("ab")
TOPICS = st.lists(LEVELS, min_size=1, max_size=3).map("/".join)
FILTERS = st.one_of(st.none(), TOPICS, st.sampled_from(["#", "+", "a/#", "+/b", "a/+"]))
RULES = st.builds(TopicRule, st.booleans(), FILTERS, st.booleans())
CHAINS = st.lists(st.builds(TopicRules, st.lists(RULES, max_size=3), st.booleans()), max_size=3)


def plainly(chain: list[TopicRules], nomatch: bool, topic: str) -> bool:
    """
    Get the answer of a chain for a topic, by the plain definition.
    """
    allowed = nomatch
    for rules in chain:
        for rule in rules.rules:
            named = rule.topicFilter
            if named is None or named == topic or (not rule.exact and matches(named, topic)):
                allowed = rule.allow
                if rules.final:
                    return allowed
                break
    return allowed


@given(CHAINS, st.booleans(), st.lists(TOPICS, max_size=8))
def test_decides(chain: list[TopicRules], nomatch: bool, topics: list[str]) -> None:
    """
    The first rule of each set that fits decides, unless a later set says otherwise; however often it is asked.
    """
    rules = PublishRules(chain, nomatch)
    for topic in topics + topics:
        assert rules.allows(topic) is plainly(chain, nomatch, topic)


@given(CHAINS, st.booleans(), TOPICS)
def test_everythingIsEverything(chain: list[TopicRules], nomatch: bool, topic: str) -> None:
    """
    Where rules are said to allow everything, there is no topic that they refuse.
    """
    if allowsEverything(chain, nomatch):
        assert plainly(chain, nomatch, topic)


def test_everything() -> None:
    """
    It is found where it is plain.
    """
    denied, silent = TopicRules([TopicRule(False, "x")]), TopicRules([])
    assert allowsEverything([EVERYTHING], False)
    assert allowsEverything([denied, EVERYTHING], False)
    assert allowsEverything([silent], True)
    assert allowsEverything([TopicRules([TopicRule(True)], final=True), denied], False)
    assert not allowsEverything([silent], False)
    assert not allowsEverything([EVERYTHING, denied], True)
    assert not allowsEverything([TopicRules([TopicRule(False, "x")], final=True), EVERYTHING], True)


def test_bounded() -> None:
    """
    Of all the topics that a client tries, few are remembered.
    """
    rules = PublishRules([TopicRules([TopicRule(False, "t/#")])], True)
    for number in range(1000):
        assert not rules.allows(f"t/{number}")
    assert len(rules._allowed or ()) <= 64
