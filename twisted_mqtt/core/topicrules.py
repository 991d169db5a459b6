"""
The topics that a client may publish to, as data: fixed rules make it unnecessary to ask a callback about each topic.
"""

from __future__ import annotations

from typing import Final

from twisted_mqtt.core.topics import matches

# The possible answers of a set of rules for a topic.
_ALLOWS: Final = 1
_DENIES: Final = 2
_SILENT: Final = 4

# So many topics of one client are worked out only once.
_REMEMBERED: Final = 64


class TopicRule:
    """
    One rule.

    @ivar allow: whether it allows what it fits.
    @ivar topicFilter: fits what the filter matches; L{None} fits every topic.
    @ivar exact: whether it fits only the very topic that C{topicFilter} is.
    """

    __slots__ = ("allow", "exact", "topicFilter")

    def __init__(self, allow: bool, topicFilter: str | None = None, exact: bool = False) -> None:
        self.allow: bool = allow
        self.topicFilter: str | None = topicFilter
        self.exact: bool = exact

    def fits(self, topic: str) -> bool:
        """
        Whether it says something of a topic.
        """
        topicFilter = self.topicFilter
        if topicFilter is None:
            return True
        return topicFilter == topic if self.exact else matches(topicFilter, topic)

    def __repr__(self) -> str:
        what = "every topic" if self.topicFilter is None else repr(self.topicFilter)
        return f"<TopicRule {'allow' if self.allow else 'deny'} {what}{' exactly' if self.exact else ''}>"


class TopicRules:
    """
    Rules in their order: the first that fits decides. Where none does, they say nothing.

    @ivar final: whether nobody else is asked where they say something.
    """

    __slots__ = ("_outcomes", "final", "rules")

    def __init__(self, rules: list[TopicRule], final: bool = False) -> None:
        self.rules: list[TopicRule] = rules
        self.final: bool = final
        outcomes = _SILENT
        for rule in rules:
            outcomes |= _ALLOWS if rule.allow else _DENIES
            if rule.topicFilter is None:
                outcomes &= ~_SILENT
                break
        self._outcomes: int = outcomes

    def find(self, topic: str) -> TopicRule | None:
        """
        The rule that decides on a topic.
        """
        for rule in self.rules:
            if rule.fits(topic):
                return rule
        return None


class PublishRules:
    """
    Several L{TopicRules} one after the other, as the callbacks of a hook point are asked: each may change what those
    before it have said.
    """

    __slots__ = ("_allowed", "_chain", "_nomatch")

    def __init__(self, chain: list[TopicRules], nomatch: bool) -> None:
        """
        @param nomatch: what holds where nobody says anything.
        """
        self._chain: list[TopicRules] = chain
        self._nomatch: bool = nomatch
        self._allowed: dict[str, bool] | None = None

    def allows(self, topic: str) -> bool:
        """
        Whether the client may publish to a topic.
        """
        known = self._allowed
        if known is None:
            known = self._allowed = {}
        allowed = known.get(topic)
        if allowed is None:
            allowed = self._decide(topic)
            if len(known) >= _REMEMBERED:
                known.clear()
            known[topic] = allowed
        return allowed

    def _decide(self, topic: str) -> bool:
        allowed = self._nomatch
        for rules in self._chain:
            rule = rules.find(topic)
            if rule is not None:
                allowed = rule.allow
                if rules.final:
                    break
        return allowed


def allowsEverything(chain: list[TopicRules], nomatch: bool) -> bool:
    """
    Whether L{PublishRules} of these would allow every topic. It says so only where that is plain from the rules' kinds,
    whatever their filters match.
    """
    # The answers that are possible so far, for one topic or another.
    said = _ALLOWS if nomatch else _DENIES
    for rules in chain:
        here = rules._outcomes
        if rules.final:
            if here & _DENIES:
                return False
            if not here & _SILENT:
                # Only topics that come here are left, and it allows them.
                return True
        elif here & _SILENT:
            said |= here & (_ALLOWS | _DENIES)
        else:
            said = here
    return said == _ALLOWS


#: The rules of somebody who lets a client publish to every topic.
EVERYTHING: Final = TopicRules([TopicRule(True)])
