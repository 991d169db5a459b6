"""
Tests for L{twisted_mqtt.management.builtin.retaining}.
"""

from __future__ import annotations

import pytest

from tests.kits.commands import Commands
from twisted_mqtt.core.message import Message
from twisted_mqtt.operations.operation import Refused


@pytest.fixture
def commands() -> Commands:
    """
    A broker with retained messages, of which it has one itself.
    """
    made = Commands()
    publisher = made.memory.client("publisher")
    for topic, payload in (("a/1", b"one"), ("a/2", b"two"), ("b", b"\xff"), ("$other/x", b"two")):
        publisher.publish(topic, payload, retain=True)
    made.memory.broker.publish(Message("$SYS/brokers/n/version", b"v1", 0, True))
    return made


@pytest.mark.shows("retainer_info")
def test_info(commands: Commands) -> None:
    """
    spec/cli.md 15: the broker's own are counted too.
    """
    assert commands.lines("retainer info") == ["retained/total: 5"]


@pytest.mark.shows("retainer_topics")
def test_topics(commands: Commands) -> None:
    """
    One topic a line, all of them, also those that begin with C{$}.
    """
    assert sorted(commands.lines("retainer topics")) == ["$SYS/brokers/n/version", "$other/x", "a/1", "a/2", "b"]


@pytest.mark.shows("retainer_clean")
def test_clean(commands: Commands) -> None:
    """
    All are forgotten, for subscribers too, and in the store.
    """
    removed: list[str] = []
    commands.memory.broker.store.removeRetained = removed.append
    assert commands.lines("retainer clean") == ["Cleaned 5 retained messages"]
    assert commands.lines("retainer info") == ["retained/total: 0"]
    assert len(removed) == 5
    subscriber = commands.memory.client("subscriber")
    subscriber.subscribe("#")
    subscriber.expectNothing()
    assert commands.lines("retainer clean") == ["Cleaned 0 retained messages"]


@pytest.mark.shows("show_retained")
def test_show(commands: Commands) -> None:
    """
    Payload and topic by default; a topic may be a filter, a payload is exact (ADM-15).
    """
    rows = sorted(commands.rows("retain show", topic="a/#"), key=lambda row: row["topic"])
    assert rows == [{"payload": "one", "topic": "a/1"}, {"payload": "two", "topic": "a/2"}]
    assert list(rows[0]) == ["payload", "topic"]
    assert sorted(row["topic"] for row in commands.rows("retain show", payload="two", topic="")) == ["$other/x", "a/2"]
    assert commands.rows("retain show", topic=["", "+/2", "a/+"]) == [{"topic": "a/2"}]
    assert commands.rows("retain show", topic=["b"], payload="") == [{"payload": "\\xff"}]
    assert len(commands.rows("retain show", limit=2)) == 2
    assert commands.rows("retain show", mountpoint="elsewhere") == []


@pytest.mark.parametrize(("more", "says"), [({"topic": "a/#/b"}, "topic"), ({"limit": 0}, "limit")])
def test_refused(commands: Commands, more: dict[str, object], says: str) -> None:
    """
    What is no filter, and no limit, is refused by name.
    """
    with pytest.raises(Refused, match=says):
        commands.rows("retain show", **more)
