"""
Tests for L{twisted_mqtt.management.events}.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.kits.rest import Rest
from twisted_mqtt.management.events import MESSAGES_A_SECOND, MOST_BYTES, MOST_VIEWERS, MOST_WAITING, SILENCE


def events(transport: StringTransport) -> list[tuple[str, dict[str, Any]]]:
    """
    The events that have come.
    """
    found = re.findall(r"event: (\S+)\ndata: (.*)\n", transport.value().decode())
    return [(kind, json.loads(data)) for kind, data in found]


@pytest.mark.shows("events")
def test_events() -> None:
    """
    Who looks on sees clients come, subscribe and go, and alarms.
    """
    rest = Rest()
    transport, _ = rest.listen("/events")
    assert b"content-type: text/event-stream; charset=utf-8\r\n" in transport.value().lower()
    peer = rest.memory.client("one", username="anna")
    peer.subscribe("a/#", qos=1)
    peer.lose()
    rest.memory.broker.alarms.activate("hot", "warning", "Hot", "82.6").close()
    rest.memory.wait(0.01, 0.001)
    seen = events(transport)
    assert [kind for kind, _ in seen][:3] == ["client.connected", "session.subscribed", "client.disconnected"]
    assert (seen[0][1]["clientid"], seen[0][1]["username"]) == ("one", "anna")
    assert (seen[1][1]["topic"], seen[1][1]["qos"]) == ("a/#", 1)
    assert ("alarm.activated", "hot") in [(kind, event.get("id")) for kind, event in seen]


def test_messages() -> None:
    """
    Messages are shown to who asks for them, by a filter.
    """
    rest = Rest()
    transport, _ = rest.listen("/events?types=message.publish&topic=a/%2B")
    client = rest.memory.client("one")
    client.publish("a/b", b"21").publish("b", b"x").publish("a/c", b"\xff")
    rest.memory.wait(0.05, 0.001)
    seen = [event for _, event in events(transport)]
    assert [(event["topic"], event["payload"], event["encoding"]) for event in seen] == [
        ("a/b", "21", "plain"),
        ("a/c", "/w==", "base64"),
    ]


def test_slowViewer() -> None:
    """
    A viewer who does not read loses the oldest events, and is told how many; the broker keeps no more than so many.
    """
    rest = Rest()
    transport, channel = rest.listen("/events?types=client.connected")
    transport.producer.pauseProducing()
    for number in range(MOST_WAITING + 10):
        rest.memory.client(f"c{number}").lose()
    transport.producer.resumeProducing()
    rest.memory.wait(0.05, 0.001)
    lost = [event["count"] for kind, event in events(transport) if kind == "lost"]
    assert len(lost) == 1
    assert 0 < lost[0] <= 10


def test_nobodyLooksOn() -> None:
    """
    When the last viewer has gone, nothing is hooked any more; one that is silent hears that it is not forgotten.
    """
    rest = Rest()
    point = rest.memory.broker.hooks.clientConnected
    before = len(point.callbacks)
    transport, channel = rest.listen("/events")
    assert len(point.callbacks) == before + 1
    rest.memory.wait(SILENCE + 1)
    assert b": nothing new\n\n" in transport.value()
    channel.connectionLost(Failure(ConnectionLost()))
    rest.memory.wait(SILENCE + 1)
    assert len(point.callbacks) == before


def test_largeEvents() -> None:
    """
    Events that wait for a viewer take a megabyte at most, however large they are.
    """
    rest = Rest()
    transport, _ = rest.listen("/events?types=message.publish")
    transport.producer.pauseProducing()
    publisher = rest.memory.client("one")
    topic = "/".join(["x" * 100] * 100)
    for _ in range(3 * MOST_BYTES // len(topic)):
        publisher.publish(topic, b"")
    rest.memory.wait(0.05, 0.001)
    before = len(transport.value())
    transport.producer.resumeProducing()
    rest.memory.wait(0.05, 0.001)
    assert 0.9 * MOST_BYTES < len(transport.value()) - before < 1.1 * MOST_BYTES
    assert sum(event["count"] for kind, event in events(transport) if kind == "lost") > 0


def test_manyViewers() -> None:
    """
    So many may look on; the place of one who goes is free at once, although nothing has happened.
    """
    rest = Rest()
    channels = [rest.listen("/events", wait=0.002)[1] for _ in range(MOST_VIEWERS)]
    answer = rest.call("GET", "/events")
    assert (answer.status, answer.json["code"]) == (503, 503)
    for channel in channels:
        channel.connectionLost(Failure(ConnectionLost()))
    for _ in range(3):
        _, channel = rest.listen("/events", wait=0.002)
        channel.connectionLost(Failure(ConnectionLost()))
    rest.memory.wait(0.002, 0.001)
    assert rest.memory.broker.hooks.clientConnected.callbacks == Rest().memory.broker.hooks.clientConnected.callbacks


def test_head() -> None:
    """
    Who asks for the headers gets them, and does not look on.
    """
    rest = Rest()
    before = len(rest.memory.broker.hooks.clientConnected.callbacks)
    transport, _ = rest.listen("/events", method="HEAD")
    assert transport.value().startswith(b"HTTP/1.1 200 OK\r\n")
    assert transport.value().endswith(b"\r\n\r\n")
    assert len(rest.memory.broker.hooks.clientConnected.callbacks) == before


def test_end() -> None:
    """
    The end of the extension is the end of the answer.
    """
    rest = Rest()
    transport, _ = rest.listen("/events")
    rest.harness.stop()
    rest.memory.wait(0.05, 0.001)
    assert transport.value().endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "query",
    [
        "types=nothing",
        "types=client.connected,",
        "types=client.connected&types=",
        "types=CLIENT.CONNECTED",
        "types=message.publish&topic=%23/a",
        "types=message.publish&topic=",
        "types=message.publish&topic=a%00b",
        "types=message.publish&topic=$share/g/a",
    ],
)
def test_wrong(query: str) -> None:
    """
    What is wrong is named.
    """
    answer = Rest().call("GET", f"/events?{query}")
    assert (answer.status, answer.json["code"]) == (400, 108)


@pytest.mark.parametrize("change", ["removed", "off", "expired", "another"])
def test_revoked(change: str) -> None:
    """
    Who looks on with an application that is removed, switched off or expired meanwhile, or has become another of the
    same name, sees nothing more, and is sent away.
    """
    rest = Rest()
    now = int(rest.memory.broker.dates.now())
    made = {"app_id": "viewer", "name": "Viewer", "secret": "seen", "scopes": ["read"], "expired": now + 60}
    assert rest.call("POST", "/apps", made).status == 200
    transport, _ = rest.listen("/events", user="viewer:seen")
    rest.memory.client("one")
    rest.memory.wait(0.01, 0.001)
    if change == "off":
        rest.call("PUT", "/apps/viewer", {"status": False})
    elif change == "expired":
        rest.call("PUT", "/apps/viewer", {"expired": now - 1})
    else:
        rest.call("DELETE", "/apps/viewer")
    if change == "another":
        rest.call("POST", "/apps", {**made, "secret": "other"})
    assert not transport.disconnecting
    rest.memory.client("two")
    rest.memory.wait(0.01, 0.001)
    assert [event.get("clientid") for _, event in events(transport)] == ["one"]
    assert transport.value().endswith(b"0\r\n\r\n")


def test_manyMessages() -> None:
    """
    All viewers together are shown so many messages in a second, each the same number; each is told how many it has
    lost, and sees messages again after that second.
    """
    rest = Rest()
    viewers = [rest.listen("/events?types=message.publish")[0] for _ in range(5)]
    publisher = rest.memory.client("one")
    for number in range(MESSAGES_A_SECOND):
        publisher.publish("a", str(number).encode())
    rest.memory.wait(0.5, 0.001)
    each = MESSAGES_A_SECOND // len(viewers)
    assert [len(events(viewer)) for viewer in viewers] == [each] * len(viewers)
    rest.memory.wait(1.0)
    publisher.publish("a", b"after")
    rest.memory.wait(0.05, 0.001)
    for viewer in viewers:
        (_, lost), (_, last) = events(viewer)[each:]
        assert (lost["count"], last["payload"]) == (MESSAGES_A_SECOND - each, "after")


def test_otherClients() -> None:
    """
    The messages of others take no room of who looks at one client.
    """
    rest = Rest()
    viewer, _ = rest.listen("/events?types=message.publish&clientid=two")
    one, two = rest.memory.client("one"), rest.memory.client("two")
    for _ in range(MESSAGES_A_SECOND):
        one.publish("a", b"1")
    two.publish("a", b"2")
    rest.memory.wait(0.5, 0.001)
    assert [event["payload"] for _, event in events(viewer)] == ["2"]
