"""
Tests for L{twisted_mqtt.config.differences}.
"""

from twisted_mqtt.config import settingsFrom
from twisted_mqtt.config.differences import Difference, differences, withoutRestart
from twisted_mqtt.config.settings import Settings


def names(old: Settings, new: Settings) -> list[str]:
    """
    The keys that differ.
    """
    return [difference.key for difference in differences(old, new)]


BASE = {"listener": {"tcp": {"external": {"bind": "127.0.0.1:1883"}}}}


def test_same() -> None:
    """
    Settings that say the same do not differ, however it is written.
    """
    one = settingsFrom({**BASE, "zone": {"external": {"idle_timeout": "60s"}}})
    other = settingsFrom({**BASE, "zone": {"external": {"idle_timeout": "1m"}}})
    assert names(one, other) == []


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
    assert names(old, settingsFrom(tables)) == [
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
    assert names(settingsFrom(more), settingsFrom(BASE)) == ["listener.tcp.more"]


def test_withoutEffect() -> None:
    """
    Keys that change nothing make no difference.
    """
    assert names(settingsFrom(BASE), settingsFrom({**BASE, "node": {"process_limit": 5}})) == []


def test_since() -> None:
    """
    Each difference says from when on it holds: what the key says, else what its table says, else after a restart.
    """
    tables = {
        **BASE,
        "zone": {"external": {"max_inflight": 5}},
        "acl_nomatch": "deny",
        "node": {"shutdown_timeout": 3, "data_dir": "elsewhere"},
    }
    assert differences(settingsFrom(BASE), settingsFrom(tables)) == [
        Difference("acl_nomatch", "now"),
        Difference("zone.external.max_inflight", "next connection"),
        Difference("node.data_dir", "restart"),
        Difference("node.shutdown_timeout", "now"),
    ]


def test_withoutRestart() -> None:
    """
    A value that waits for a restart stays as it was; everything else is taken over.
    """
    tables = {
        "listener": {"tcp": {"external": {"bind": "127.0.0.1:1885"}}},
        "node": {"shutdown_timeout": 3, "data_dir": "elsewhere"},
        "persistence": {"commit": "never"},
    }
    old, new = settingsFrom(BASE), settingsFrom(tables)
    held = withoutRestart(old, new)
    assert (held.node.shutdown_timeout, held.node.data_dir) == (3.0, old.node.data_dir)
    assert held.persistence == old.persistence
    assert held.listener == new.listener
