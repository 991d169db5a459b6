"""
Tests for L{twisted_mqtt.config.differences}.
"""

from twisted_mqtt.config import settingsFrom
from twisted_mqtt.config.differences import differences

BASE = {"listener": {"tcp": {"external": {"bind": "127.0.0.1:1883"}}}}


def test_same() -> None:
    """
    Settings that say the same do not differ, however it is written.
    """
    one = settingsFrom({**BASE, "zone": {"external": {"idle_timeout": "60s"}}})
    other = settingsFrom({**BASE, "zone": {"external": {"idle_timeout": "1m"}}})
    assert differences(one, other) == []


def test_keys() -> None:
    """
    Each key that differs is named; what holds in a zone because of a global key is named there too.
    """
    old = settingsFrom(BASE)
    tables = {
        "listener": {"tcp": {"external": {"bind": "127.0.0.1:1883", "backlog": 7}, "more": {"bind": "127.0.0.1:1884"}}},
        "log": {"level": "debug", "rotation": {"count": 3}},
        "acl_nomatch": "deny",
        "mqtt": {"max_topic_levels": 9},
    }
    assert differences(old, settingsFrom(tables)) == [
        "acl_nomatch",
        "mqtt.max_topic_levels",
        "zone.external.max_topic_levels",
        "zone.internal.max_topic_levels",
        "listener.tcp.external.backlog",
        "listener.tcp.more",
        "log.level",
        "log.rotation.count",
    ]


def test_gone() -> None:
    """
    A table that is there no longer is one difference.
    """
    more = {"listener": {"tcp": {**BASE["listener"]["tcp"], "more": {"bind": "127.0.0.1:1884"}}}}
    assert differences(settingsFrom(more), settingsFrom(BASE)) == ["listener.tcp.more"]


def test_withoutEffect() -> None:
    """
    Keys that change nothing make no difference.
    """
    assert differences(settingsFrom(BASE), settingsFrom({**BASE, "node": {"process_limit": 5}})) == []
