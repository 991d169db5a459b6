"""
Tests of L{twisted_mqtt.core.topics}.
"""

from __future__ import annotations

import pytest

from twisted_mqtt.core.reasons import TOPIC_NAME_INVALID, ProtocolError
from twisted_mqtt.core.topics import (
    QUEUE_GROUP,
    checkResponseTopic,
    checkTopicName,
    isTopicFilter,
    isTopicName,
    matches,
    splitShare,
)

MATCHING = [
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ("sport/#", "sport", True),
    ("#", "a", True),
    ("#", "/", True),
    ("sport/tennis/+", "sport/tennis/player1", True),
    ("sport/tennis/+", "sport/tennis/player1/ranking", False),
    ("sport/+", "sport", False),
    ("sport/+", "sport/", True),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+", "/finance", False),
    ("#", "$SYS/x", False),
    ("+/x", "$SYS/x", False),
    ("+", "$SYS", False),
    ("$SYS/#", "$SYS/x", True),
    ("$SYS/#", "$SYS", True),
    ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
    ("a/+/$x", "a/b/$x", True),
    ("ACCOUNTS", "Accounts", False),
    ("a//b", "a//b", True),
    ("a/+/b", "a//b", True),
]


@pytest.mark.parametrize(("topicFilter", "topicName", "wanted"), MATCHING)
def test_matches(topicFilter: str, topicName: str, wanted: bool) -> None:
    """
    The examples of the specification (4.7), and some edges.
    """
    assert matches(topicFilter, topicName) is wanted


@pytest.mark.parametrize("topicFilter", ["#", "+", "/", "a/#", "+/+", "a//b", "+/tennis/#", "/+/", " ", "é/#", "$x/+"])
def test_goodFilters(topicFilter: str) -> None:
    """
    Well-formed names and filters.
    """
    assert isTopicFilter(topicFilter)
    assert splitShare(topicFilter) == (None, topicFilter)


@pytest.mark.parametrize("topicFilter", ["", "a#", "a/#/b", "#/", "a+", "+a/b", "a/b+/c", "##", "++", "a\x00b", "a/b#"])
def test_badFilters(topicFilter: str) -> None:
    """
    Malformed ones ([MQTT-4.7.1-1] to -3, [MQTT-4.7.3-1] and -2), also in a share.
    """
    assert not isTopicFilter(topicFilter)
    for shared in (topicFilter, f"$share/g/{topicFilter}", f"$queue/{topicFilter}", f"$local/{topicFilter}"):
        with pytest.raises(ProtocolError):
            splitShare(shared)


@pytest.mark.parametrize(
    ("topicFilter", "group", "rest"),
    [
        ("$share/g/a/#", "g", "a/#"),
        ("$share/g//a", "g", "/a"),
        ("$share/g/$SYS/#", "g", "$SYS/#"),
        ("$queue/a", QUEUE_GROUP, "a"),
        ("$local/a", None, "a"),
        ("$shared/a/b", None, "$shared/a/b"),
        ("$share", None, "$share"),
    ],
)
def test_shares(topicFilter: str, group: str | None, rest: str) -> None:
    """
    A share has a name and a filter (4.8.2).
    """
    assert splitShare(topicFilter) == (group, rest)


@pytest.mark.parametrize("topicFilter", ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/a#/a"])
def test_badShares(topicFilter: str) -> None:
    """
    A share without a name or a filter, or with a wildcard in its name ([MQTT-4.8.2-1] and -2).
    """
    with pytest.raises(ProtocolError):
        splitShare(topicFilter)


@pytest.mark.parametrize("topicName", ["", "a/+", "#", "a#", "a\x00"])
def test_badNames(topicName: str) -> None:
    """
    Topics that nobody can publish to ([MQTT-3.3.2-2]) or answer to ([MQTT-3.3.2-14]).
    """
    assert not isTopicName(topicName)
    with pytest.raises(ProtocolError):
        checkResponseTopic(topicName)
    with pytest.raises(ProtocolError) as caught:
        checkTopicName(topicName, 0)
    assert caught.value.reason == TOPIC_NAME_INVALID


def test_levels() -> None:
    """
    The limit is the number of levels, not that of slashes; 0 is none.
    """
    checkTopicName("a/b/c", 3)
    checkTopicName("/".join("a" * 1000), 0)
    with pytest.raises(ProtocolError):
        checkTopicName("a/b/c/", 3)
