"""
Rewrites topics by rules, wherever a client names one: in PUBLISH, SUBSCRIBE and UNSUBSCRIBE.

The order of the hook points decides which topic access rules see: for a publication the topic that the client used, for
a subscription the topic that the rule made.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Struct
from zope.interface import implementer

from twisted_mqtt.config.keys import Flag, Rewrites
from twisted_mqtt.core.packets import SubscriptionRequest
from twisted_mqtt.core.topics import LOCAL, QUEUE, SHARE, isEncodable, isTopicFilter, isTopicName, matches
from twisted_mqtt.interfaces import IExtension

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted_mqtt.config.values import RewriteRule
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.interfaces import IExtensionContext

#: How many topics are remembered with what becomes of them.
_REMEMBERED: Final = 4096

_REFERENCE: Final = re.compile(r"\$(\d+)")


class Rewriter:
    """
    The rules, applied to one topic at a time.
    """

    def __init__(self, rules: Sequence[RewriteRule]) -> None:
        # The last rule that matches a topic is the only one applied to it.
        self._rules = [(rule.topicFilter, rule.compiled(), rule.destination) for rule in reversed(rules)]
        #: The topic that a topic becomes. Bounded, because clients choose the topics.
        self.rewritten = lru_cache(_REMEMBERED)(self._rewritten)

    def _rewritten(self, topic: str) -> str:
        for topicFilter, pattern, destination in self._rules:
            if matches(topicFilter, topic):
                found = pattern.search(topic)
                return topic if found is None else _filled(destination, found) or topic
        return topic


def _filled(destination: str, found: re.Match[str]) -> str:
    """
    Put what the groups matched into a destination; a group that matched nothing is empty, one that is not there stays.

    @return: empty where that can't be used: it is too long, or a client would decide by the rest of its topic that this
        becomes one with a C{$}, about which access rules were not asked.
    """

    def group(reference: re.Match[str]) -> str:
        number = int(reference[1])
        return (found[number] or "") if 1 <= number <= found.re.groups else reference[0]

    filled = _REFERENCE.sub(group, destination)
    literal = destination.startswith("$") and _REFERENCE.match(destination) is None
    if filled.startswith("$") and not literal and filled.split("/")[0] != found.string.split("/")[0]:
        return ""
    return filled if isEncodable(filled) else ""


def _splitPrefix(topicFilter: str) -> tuple[str, str]:
    """
    Split what makes a subscription a shared or local one from the filter.
    """
    if topicFilter.startswith(SHARE):
        share, name, rest = (topicFilter.split("/", 2) + ["", ""])[:3]
        return f"{share}/{name}/", rest
    for prefix in (QUEUE, LOCAL):
        if topicFilter.startswith(prefix):
            return prefix, topicFilter[len(prefix) :]
    return "", topicFilter


class RewriteSettings(Struct, frozen=True, kw_only=True):
    """
    C{[module.rewrite]}: topics that are replaced.
    """

    enable: Annotated[Flag, "Whether it starts with the broker although `plugins.load` does not name it"] = False
    rule: Annotated[
        Rewrites, "`<topic filter> <regular expression> <destination>`; $1 is what the first group matched"
    ] = ()


@implementer(IExtension)
class Rewrite:
    """
    The extension C{rewrite}.
    """

    def __init__(self, settings: RewriteSettings) -> None:
        self._rewriter = Rewriter(settings.rule)

    def start(self, context: IExtensionContext) -> None:
        """
        Rewrite from now on. Subscriptions that are made stay where the rules have put them.
        """
        context.hook("message.publish", self._publish)
        context.hook("client.subscribe", self._subscribe)
        context.hook("client.unsubscribe", self._unsubscribe)

    def _publish(self, message: Message) -> Message:
        topic = self._rewriter.rewritten(message.topic)
        # The broker's own messages stay where people look for them; a rule that makes a name nobody may use is void.
        if topic == message.topic or message.system or not isTopicName(topic):
            return message
        return message.replace(topic=topic)

    def _filter(self, topicFilter: str) -> str:
        prefix, rest = _splitPrefix(topicFilter)
        rewritten = self._rewriter.rewritten(rest)
        return prefix + rewritten if isTopicFilter(rewritten) else topicFilter

    def _subscribe(
        self, client: object, properties: object, requests: list[SubscriptionRequest]
    ) -> list[SubscriptionRequest]:
        return [
            SubscriptionRequest(
                self._filter(request.topicFilter),
                request.qos,
                request.noLocal,
                request.retainAsPublished,
                request.retainHandling,
            )
            for request in requests
        ]

    def _unsubscribe(self, client: object, properties: object, topicFilters: list[str]) -> list[str]:
        return [self._filter(topicFilter) for topicFilter in topicFilters]
