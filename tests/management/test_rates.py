"""
Tests for L{twisted_mqtt.management.builtin.rates}.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.kits.commands import Commands
from tests.kits.rest import Rest


def byName(rest: Rest, path: str) -> dict[str, Any]:
    """
    The rates, by the names of counters.
    """
    return {row["name"]: row for row in rest.call("GET", path).data}


@pytest.mark.shows("list_rates")
def test_rates() -> None:
    """
    How many a second there were of each counter, in the last 1, 5 and 15 minutes.
    """
    rest = Rest()
    client = rest.memory.client("a")
    rest.memory.clock.advance(1)
    for _ in range(60):
        client.publish("x", b"", 0).publish("x", b"", 0).publish("x", b"", 0)
        rest.memory.clock.advance(1)
    row = byName(rest, "/rates")["messages.received"]
    assert [round(row[name], 1) for name in ("rate1", "rate5", "rate15")] == [3.0, 3.0, 3.0]
    assert set(byName(rest, "/rates/?match=puback")) == {
        f"packets.puback.{what}" for what in ("inuse", "missed", "received", "sent")
    }
    rest.memory.wait(300, 1)
    assert byName(rest, "/rates")["messages.received"]["rate1"] == 0
    name = quote(rest.memory.broker.nodeName)
    assert "bytes.sent" in byName(rest, f"/nodes/{name}/rates")
    assert rest.call("GET", "/nodes/other/rates").status == 404


def test_ratesInTheTerminal() -> None:
    """
    The command line has a line for each.
    """
    (line,) = Commands().lines("broker rates", match="messages.received")
    assert line.split() == ["messages.received", ":", "0.00", "0.00", "0.00"]


@pytest.mark.shows(
    "register_topic_metrics",
    "list_topic_metrics",
    "get_topic_metrics",
    "unregister_topic_metrics",
    "unregister_all_topic_metrics",
)
def test_topics() -> None:
    """
    Topics are registered, listed with what was counted, and taken away, as EMQ X does that.
    """
    rest = Rest()
    assert rest.call("GET", "/topic-metrics").data == []
    for topic in ("a/b", "x"):
        assert rest.call("POST", "/topic-metrics", {"topic": topic}).data == {"topic": topic}
    subscriber, publisher = rest.memory.client("s"), rest.memory.client("p")
    subscriber.subscribe("a/b", qos=0)
    publisher.publish("a/b", b"", 1).publish("a/b", b"", 0)
    first, second = rest.call("GET", "/topic-metrics").data
    assert (first["topic"], second["topic"]) == ("a/b", "x")
    counts = {name: value for name, value in first["metrics"].items() if name.endswith(".count")}
    assert counts == {
        "messages.in.count": 2,
        "messages.out.count": 2,
        "messages.dropped.count": 0,
        "messages.qos0.in.count": 1,
        "messages.qos0.out.count": 2,
        "messages.qos1.in.count": 1,
        "messages.qos1.out.count": 0,
        "messages.qos2.in.count": 0,
        "messages.qos2.out.count": 0,
    }
    assert {name.removesuffix(".count") for name in counts} == set(first["rates"])
    assert {name.replace(".count", ".rate") for name in counts} == set(first["metrics"]) - set(counts)
    assert set(second["metrics"].values()) == {0}
    path = "/topic-metrics/" + quote("a/b", safe="")
    assert rest.call("GET", path).data["metrics"]["messages.in.count"] == 2
    rest.memory.wait(60, 1)
    rates = rest.call("GET", path).data
    assert 0 <= rates["metrics"]["messages.in.rate"] <= rates["rates"]["messages.in"][0] + 0.001
    assert rest.call("DELETE", path).data == {"topic": "a/b"}
    assert rest.call("GET", path).status == rest.call("DELETE", path).status == 404
    assert rest.call("DELETE", "/topic-metrics").data == {"removed": 1}
    assert rest.memory.broker.switches.meter is None


@pytest.mark.parametrize("topic", ["", "a/#", "+", "a\0b", "x" * 70_000, 7, None, ["a"]])
def test_wrongTopics(topic: object) -> None:
    """
    Only names of topics are taken, each once; the message names the field.
    """
    rest = Rest()
    answer = rest.call("POST", "/topic-metrics", {"topic": topic})
    assert (answer.status, "topic" in answer.json["message"]) == (400, True)
    assert rest.call("POST", "/topic-metrics", {}).status == 400
    assert rest.call("POST", "/topic-metrics", {"topic": "a"}).status == 200
    assert rest.call("POST", "/topic-metrics", {"topic": "a"}).status == 400


def test_topicsInTheTerminal() -> None:
    """
    The same from the command line.
    """
    commands = Commands()
    assert commands.lines("topic_metrics register a/b") == ["ok"]
    assert commands.lines("topic_metrics list")[0] == "a/b"
    assert commands.lines("topic_metrics show a/b")[1].split() == ["messages.in", ":", "0", "0.00", "0.00", "0.00"]
    assert commands.lines("topic_metrics unregister a/b") == ["ok"]
    assert commands.lines("topic_metrics clear") == ["0 topics are not counted any more"]
