"""
Topic names and topic filters: validity, shared subscriptions, and the plain definition of matching (4.7, 4.8).
"""

from __future__ import annotations

from typing import Final

from twisted_mqtt.core.reasons import (
    MALFORMED_PACKET,
    PROTOCOL_ERROR,
    TOPIC_NAME_INVALID,
    ProtocolError,
)

SHARE: Final = "$share/"
QUEUE: Final = "$queue/"
LOCAL: Final = "$local/"
# Before the seconds after which a message is published to the rest of its topic.
DELAYED: Final = "$delayed/"
# The group of all $queue/ subscriptions; no $share group can have this name, because it has a slash.
QUEUE_GROUP: Final = "$queue/"
MAX_LENGTH: Final = 65535
# Topics that begin so belong to the broker alone.
RESERVED: Final = "$SYS/"


def isTopicName(topicName: str) -> bool:
    """
    Whether C{topicName} may be published to: not empty, no wildcard, no U+0000 (4.7.3).
    """
    return (
        topicName != "" and "+" not in topicName and "#" not in topicName and "\x00" not in topicName
    )  # [MQTT-3.3.2-2], [MQTT-4.7.3-1]


def isTopicFilter(topicFilter: str) -> bool:
    """
    Whether C{topicFilter} is well formed: wildcards stand for whole levels and C{#} only at the end (4.7.1).
    """
    if topicFilter == "" or "\x00" in topicFilter:
        return False
    if "#" not in topicFilter and "+" not in topicFilter:
        return True
    levels = topicFilter.split("/")
    last = len(levels) - 1
    for index, level in enumerate(levels):
        if level == "#":
            if index != last:  # [MQTT-4.7.1-1]
                return False
        elif level != "+" and ("#" in level or "+" in level):  # [MQTT-4.7.1-2]
            return False
    return True


def splitShare(topicFilter: str) -> tuple[str | None, str]:
    """
    Split a filter into the name of its share and the filter proper (4.8.2).

    @return: (L{None}, the filter) where it is not shared; C{$queue/} has the group L{QUEUE_GROUP}; C{$local/}, a
        subscription that stays on this node, is an ordinary one here.

    @raise ProtocolError: for a share without a name or a filter, and for a malformed filter.
    """
    group: str | None = None
    rest = topicFilter
    if topicFilter.startswith("$"):
        if topicFilter.startswith(SHARE):
            group, slash, rest = topicFilter[len(SHARE) :].partition("/")
            # [MQTT-4.8.2-1], [MQTT-4.8.2-2]
            if not group or not slash or not rest or "+" in group or "#" in group:
                raise ProtocolError(MALFORMED_PACKET, "a shared subscription is $share/<name>/<filter>")
        elif topicFilter.startswith(QUEUE):
            group, rest = QUEUE_GROUP, topicFilter[len(QUEUE) :]
        elif topicFilter.startswith(LOCAL):
            rest = topicFilter[len(LOCAL) :]
    if not isTopicFilter(rest):
        raise ProtocolError(MALFORMED_PACKET, "a topic filter is malformed")
    return group, rest


def checkTopicName(topicName: str, maxLevels: int) -> None:
    """
    Refuse what may not be published to.

    @param maxLevels: 0 for no limit.

    @raise ProtocolError: (topic name invalid).
    """
    if not isTopicName(topicName):
        raise ProtocolError(TOPIC_NAME_INVALID, "a topic name is empty or holds a wildcard")
    if 0 < maxLevels <= len(topicName) and topicName.count("/") >= maxLevels:
        raise ProtocolError(TOPIC_NAME_INVALID, f"a topic has more than {maxLevels} levels")


def checkResponseTopic(topicName: str) -> None:
    """
    Refuse a response topic that holds wildcards ([MQTT-3.3.2-14]) or nothing.
    """
    if not isTopicName(topicName):
        raise ProtocolError(PROTOCOL_ERROR, "a response topic is empty or holds a wildcard")


def isSystem(topicName: str) -> bool:
    """
    Whether a topic belongs to the broker: filters that begin with a wildcard do not match it ([MQTT-4.7.2-1]).
    """
    return topicName.startswith("$")


def isReserved(topicName: str) -> bool:
    """
    Whether nobody but the broker may publish to a topic, whatever access rules say.
    """
    return topicName.startswith(RESERVED)


def afterDelay(topicName: str) -> str:
    """
    The topic that a message to C{$delayed/<seconds>/<topic>} is published to in the end.

    @return: empty for any other topic.
    """
    if not topicName.startswith(DELAYED):
        return ""
    return topicName[len(DELAYED) :].partition("/")[2]


def isEncodable(text: str) -> bool:
    """
    Whether a packet has a form for a string: characters only, and at most 65,535 bytes of UTF-8 (1.5.4).
    """
    if text.isascii():
        return len(text) <= MAX_LENGTH
    try:
        return len(text.encode("utf-8")) <= MAX_LENGTH
    except UnicodeEncodeError:
        return False


def hasWildcard(topicFilter: str) -> bool:
    """
    Whether a well-formed filter can match more than one name.
    """
    return "#" in topicFilter or "+" in topicFilter


def matches(topicFilter: str, topicName: str) -> bool:
    """
    Whether a name matches a filter, level by level. This is the definition; L{twisted_mqtt.core.tree} is the fast way.
    """
    if topicName.startswith("$") and topicFilter[:1] in ("+", "#"):  # [MQTT-4.7.2-1]
        return False
    names = topicName.split("/")
    filters = topicFilter.split("/")
    for index, level in enumerate(filters):
        if level == "#":  # also the parent: sport/# matches sport
            return True
        if index >= len(names) or (level != "+" and level != names[index]):
            return False
    return len(filters) == len(names)


def scoped(topicTree: str, name: str) -> str:
    """
    One string for a name (a client identifier, a topic) within a topic tree, which no other name in no other tree has.
    In the default tree it is the name itself, unless that begins with U+0001, which is rare.

    U+0000, which no name has, can't be used: SQLite's JSON functions cut a string there.
    """
    if topicTree:
        return f"\x01{topicTree}\x01{name}"
    # One comparison for the usual case.
    if name >= "\x02":
        return name
    return f"\x01\x01{name}" if name.startswith("\x01") else name


def unscoped(key: str) -> tuple[str, str]:
    """
    The topic tree and the name of a string that L{scoped} has made.
    """
    if key >= "\x02" or not key.startswith("\x01"):
        return "", key
    topicTree, _, name = key[1:].partition("\x01")
    return topicTree, name
