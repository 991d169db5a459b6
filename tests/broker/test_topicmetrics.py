"""
Counts and rates of chosen topics.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.task import Clock

from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.broker.topicmetrics import MOST_TOPICS
from twisted_mqtt.core.packets import PUBACK
from twisted_mqtt.hooks.verdicts import DROP
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer


class Scene:
    """
    A broker whose topic C{a/b} is counted, and a publisher.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.broker: Broker
        self.broker, self.factory = makeBroker(self.clock)
        self.metrics = self.broker.topicMetrics
        self.metrics.add("a/b")
        self.publisher = self.client("p")

    def client(self, clientID: str, **fields: Any) -> Peer:
        """
        A client that is in.
        """
        peer = Peer(self.factory, self.clock)
        peer.connect(clientID, **fields)
        return peer

    def counted(self, topic: str = "a/b") -> dict[str, int]:
        """
        What was counted of a topic, without what was not.
        """
        return {name: count for name, count in self.metrics.counts(topic).figures().items() if count}


@pytest.fixture
def scene() -> Iterator[Scene]:
    """
    See L{Scene}.
    """
    scene = Scene()
    yield scene
    scene.broker.stopService()


def test_counts(scene: Scene) -> None:
    """
    What is published is counted by its QoS, what is sent by that of each delivery; other topics are not.
    """
    for number, qos in enumerate((0, 1, 2)):
        scene.client(f"s{number}").subscribe("a/+", qos=qos)
    for number in range(1, 4):
        scene.publisher.publish("a/b", b"", 0).publish("a/b", b"", 2, number)
        scene.publisher.publish("a/c", b"", 0)
    assert scene.counted() == {
        "messages.in": 6,
        "messages.out": 18,
        "messages.qos0.in": 3,
        "messages.qos2.in": 3,
        "messages.qos0.out": 12,
        "messages.qos1.out": 3,
        "messages.qos2.out": 3,
    }


def test_queued(scene: Scene) -> None:
    """
    What waits is counted when it is sent, once, however often it is repeated.
    """
    away = scene.client("s", sessionExpiry=100)
    away.subscribe("a/b")
    away.lose()
    scene.publisher.publish("a/b", b"", 1).publish("a/b", b"", 1, 2)
    assert scene.counted() == {"messages.in": 2, "messages.qos1.in": 2}
    for _ in range(2):
        again = scene.client("s", cleanStart=False, sessionExpiry=100)
        message: Any = again.next()
        again.next()
        assert scene.counted()["messages.out"] == 2
        again.lose()
    last = scene.client("s", cleanStart=False, sessionExpiry=100)
    message = last.next()
    last.acknowledge(PUBACK, message.packetID)
    assert scene.counted()["messages.qos1.out"] == 2


def test_dropped(scene: Scene) -> None:
    """
    What nobody has subscribed, what a client has no room for and what hooks drop is dropped, and not sent.
    """
    scene.publisher.publish("a/b", b"", 0)
    assert scene.counted() == {"messages.in": 1, "messages.qos0.in": 1, "messages.dropped": 1}
    scene.client("small", maximumPacketSize=20).subscribe("a/b", qos=1)
    scene.publisher.publish("a/b", b"x" * 100, 0).publish("a/b", b"x" * 100, 1)
    assert scene.counted()["messages.dropped"] == 3
    assert "messages.out" not in scene.counted()
    scene.broker.hooks["message.delivered"].add(lambda client, message: DROP)
    scene.publisher.publish("a/b", b"", 0)
    assert scene.counted()["messages.dropped"] == 4
    scene.broker.hooks["message.publish"].add(lambda message: DROP)
    scene.publisher.publish("a/b", b"", 0)
    assert scene.counted()["messages.dropped"] == 5
    assert scene.counted()["messages.in"] == 4


def test_mountpoint() -> None:
    """
    Topics are those of the broker, with the prefix that a client does not see.
    """
    clock = Clock()
    broker, factory = makeBroker(clock, mountpoint="m/")
    broker.topicMetrics.add("m/a")
    peer = Peer(factory, clock)
    peer.connect("c")
    peer.subscribe("a", qos=1)
    peer.publish("a", b"", 0).publish("a", b"", 1)
    found = broker.topicMetrics.counts("m/a").figures()
    assert (found["messages.in"], found["messages.out"]) == (2, 2)
    broker.stopService()


def test_nothingChosen(scene: Scene) -> None:
    """
    Without a topic the core counts nothing by topic; it begins and ends with the first and the last.
    """
    assert scene.broker.switches.meter is not None
    scene.metrics.add("x")
    assert scene.metrics.remove("a/b")
    assert scene.broker.switches.meter is not None
    assert not scene.metrics.remove("a/b")
    assert scene.metrics.remove("x")
    assert scene.broker.switches.meter is None
    scene.publisher.publish("a/b", b"", 0)
    scene.metrics.add("a/b")
    assert scene.counted() == {}


@pytest.mark.parametrize("topic", ["", "a/+", "#", "x\0y", "a/#/b", "x" * 70000, "\ud800"])
def test_names(scene: Scene, topic: str) -> None:
    """
    Only names of topics can be chosen.
    """
    with pytest.raises(ValueError, match="is no name"):
        scene.metrics.add(topic)
    assert list(scene.metrics.topics) == ["a/b"]


def test_bound(scene: Scene) -> None:
    """
    There are so many topics and no more; none twice.
    """
    with pytest.raises(ValueError, match="counted already"):
        scene.metrics.add("a/b")
    for number in range(MOST_TOPICS - 1):
        scene.metrics.add(f"t/{number}")
    with pytest.raises(ValueError, match="the most"):
        scene.metrics.add("more")
    assert scene.metrics.clear() == MOST_TOPICS
    scene.metrics.add("more")


def test_rates(scene: Scene) -> None:
    """
    How many a second there were, by the steady clock; one topic's end does not concern the others.
    """
    scene.client("s").subscribe("a/b", qos=0)
    scene.metrics.add("other")
    scene.clock.advance(1)
    for second in range(120):
        scene.publisher.publish("a/b", b"", 0).publish("a/b", b"", 0)
        scene.clock.advance(1)
        if second == 60:
            scene.metrics.remove("other")
    rates = scene.metrics.rates()
    assert [round(rate, 1) for rate in rates["a/b\0messages.in"]] == [2.0, 2.0, 2.0]
    assert [round(rate, 1) for rate in rates["a/b\0messages.qos0.out"]] == [2.0, 2.0, 2.0]
    assert not [name for name in rates if name.startswith("other")]


def test_exposed(scene: Scene) -> None:
    """
    Exporters have them with the topic as a label.
    """
    scene.publisher.publish("a/b", b"", 1)
    found = {each.name: each for each in scene.broker.metrics.collect()}
    assert (("a/b", "1"), 1) in found["topic.messages.in"].series
    assert found["topic.messages.dropped"].series == [(("a/b",), 1)]


def test_kept(scene: Scene) -> None:
    """
    Another broker with the same store goes on with the same topics.
    """
    scene.metrics.add("x")
    scene.metrics.remove("a/b")
    other, _ = makeBroker(scene.clock)
    table = other.store.table("topic_metrics")
    for key, value in scene.broker.store.table("topic_metrics").items():
        table.put(key, value)
    other.open()
    other.topicMetrics.load()
    assert list(other.topicMetrics.topics) == ["x"]
    other.stopService()
