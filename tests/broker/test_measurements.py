"""
The histograms of the broker.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.kits.stores import Bed
from twisted_mqtt.base.metrics import HistogramValue
from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.broker.measurements import EVERY
from twisted_mqtt.hooks.kinds import MEASURED
from twisted_mqtt.hooks.registration import hookOwner
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer


def histogram(broker: Broker, name: str, *labels: str) -> HistogramValue:
    """
    A histogram as it is now.
    """
    (found,) = (each for each in broker.metrics.collect() if each.name == name)
    value = dict(found.series)[labels]
    assert isinstance(value, HistogramValue)
    return value


def client(factory: Any, clock: Clock, clientID: str, **fields: Any) -> Peer:
    """
    A client that is in.
    """
    peer = Peer(factory, clock)
    peer.connect(clientID, **fields)
    return peer


def test_routed() -> None:
    """
    The first message of each second is measured, and of many one in C{EVERY}: with the time that it waited for hooks.
    """
    clock = Clock()
    clock.advance(1000)
    broker, factory = makeBroker(clock)
    peer = client(factory, clock, "c")
    peer.subscribe("x", qos=0)
    name = "messages.route.seconds"
    for number in range(1, 4):
        clock.advance(1)
        peer.publish("x", b"", 0).publish("x", b"", 0)
        assert histogram(broker, name).count == number
    peer.send(b"\x30\x04\x00\x01x\x00" * EVERY * 3)
    assert histogram(broker, name).count == 3 + 3
    assert histogram(broker, name).sum == 0
    waiting: list[Deferred[None]] = []

    def wait(message: object) -> Deferred[None]:
        waiting.append(Deferred())
        return waiting[-1]

    broker.hooks["message.publish"].add(wait)
    clock.advance(1)
    peer.publish("x", b"", 0)
    clock.advance(0.3)
    waiting.pop().callback(None)
    assert round(histogram(broker, name).sum, 3) == 0.3
    # No more than this one can be in the bucket up to half a second.
    value = histogram(broker, name)
    assert value.counts[value.bounds.index(0.5)] == 1
    broker.stopService()


def test_queueLength() -> None:
    """
    The queue of a subscriber is looked at when a message comes to it.
    """
    clock = Clock()
    clock.advance(1000)
    broker, factory = makeBroker(clock)
    peer = client(factory, clock, "c")
    away = client(factory, clock, "away", sessionExpiry=100)
    away.subscribe("x")
    away.lose()
    for _ in range(3):
        clock.advance(1)
        peer.publish("x", b"", 1)
    value = histogram(broker, "delivery.queue.length")
    assert (value.count, value.sum) == (3, 1 + 2 + 3)
    broker.stopService()


def test_hooks() -> None:
    """
    Callbacks are measured by point: the first run, and others not more often than C{MEASURED} says; and how long a
    callback has kept its chain waiting.
    """
    clock = Clock()
    broker, factory = makeBroker(clock)
    peer = client(factory, clock, "c")
    calls: list[object] = []
    broker.hooks["message.publish"].add(calls.append)
    began = perf_counter()
    peer.publish("x", b"", 0)
    assert histogram(broker, "hooks.call.seconds", "message.publish", "").count == 1
    for _ in range(100):
        peer.publish("x", b"", 0)
    assert len(calls) == 101
    value = histogram(broker, "hooks.call.seconds", "message.publish", "")
    assert value.count <= 2 + (perf_counter() - began) / MEASURED
    assert 0 < value.sum < 1
    waiting: list[Deferred[None]] = []

    def wait(message: object) -> Deferred[None]:
        waiting.append(Deferred())
        return waiting[-1]

    broker.hooks["message.publish"].add(wait)
    peer.publish("x", b"", 0)
    clock.advance(0.3)
    waiting.pop().callback(None)
    value = histogram(broker, "hooks.wait.seconds", "message.publish", "")
    assert (value.count, round(value.sum, 3)) == (1, 0.3)
    broker.stopService()


def test_commits(tmp_path: Path) -> None:
    """
    Each batch that the store commits is measured.
    """
    bed = Bed(tmp_path)
    peer = bed.peer()
    peer.connect("c", sessionExpiry=100)
    before = histogram(bed.broker, "store.commit.seconds").count
    peer.subscribe("x")
    peer.publish("x", b"", 1)
    value = histogram(bed.broker, "store.commit.seconds")
    assert value.count > before
    assert value.sum > 0
    bed.crash()


def test_extension() -> None:
    """
    An extension's callbacks are measured under its name.
    """
    clock = Clock()
    broker, factory = makeBroker(clock)
    broker.hooks.nameOwner = lambda owner: f"the {owner}"
    token = hookOwner.set("one")
    broker.hooks["client.connected"].add(lambda client, info: None)
    hookOwner.reset(token)
    client(factory, clock, "c")
    assert histogram(broker, "hooks.call.seconds", "client.connected", "the one").count == 1
    broker.stopService()
