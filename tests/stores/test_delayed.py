"""
Delayed publish, in memory and across restarts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kits.stores import Bed
from twisted_mqtt.core.packets import PUBACK
from twisted_mqtt.core.reasons import QUOTA_EXCEEDED
from twisted_mqtt.modules.delayed import DelayedPublish, DelayedPublishSettings
from twisted_mqtt.testing.extension import ExtensionHarness
from twisted_mqtt.testing.peer import Peer


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """
    A broker with an empty store.
    """
    made = Bed(tmp_path)
    yield made
    made.crash()


def load(bed: Bed, most: int = 0, mostBytes: int = 100) -> ExtensionHarness:
    """
    Start the extension.
    """
    extension = DelayedPublish(DelayedPublishSettings(max_delayed_messages=most, max_delayed_bytes=mostBytes))
    return ExtensionHarness(extension, bed.broker).start()


def both(bed: Bed) -> tuple[Peer, Peer]:
    """
    A publisher, and a subscriber of everything.
    """
    publisher, subscriber = bed.peer(), bed.peer()
    publisher.connect("p")
    subscriber.connect("s")
    subscriber.subscribe("#", qos=1)
    return publisher, subscriber


def test_order(bed: Bed) -> None:
    """
    Messages come when they are due, equal delays in the order of publishing.
    """
    load(bed)
    publisher, subscriber = both(bed)
    for number, seconds in enumerate([20, 10, 10, 0], 1):
        publisher.publish(f"$delayed/{seconds}/a/b", b"%d" % number, 1, number).expectAck(PUBACK, number)
    assert subscriber.payloads() == [b"4"]
    assert bed.broker.traffic.total("messages_delayed") == 3
    bed.clock.advance(9)
    subscriber.expectNothing()
    bed.clock.advance(1)
    assert subscriber.payloads() == [b"2", b"3"]
    bed.clock.advance(10)
    assert subscriber.payloads() == [b"1"]
    assert bed.broker.traffic.total("messages_delayed") == 0


def test_manyAtOnce(bed: Bed) -> None:
    """
    Very many that are due at the same time come in several turns, in the order of publishing.
    """
    load(bed, mostBytes=1000)
    publisher, subscriber = both(bed)
    for number in range(100):
        publisher.publish("$delayed/10/a", b"%d" % number)
    bed.clock.advance(9)
    # One turn: what it causes to be called is left for the next.
    bed.clock.rightNow += 1
    calls = [call for call in bed.clock.getDelayedCalls() if call.getTime() <= bed.clock.seconds()]
    for call in calls:
        bed.clock.calls.remove(call)
        call.called = 1
        call.func(*call.args, **call.kw)
    assert 0 < bed.broker.traffic.total("messages_delayed") < 100
    bed.clock.advance(0)
    assert bed.broker.traffic.total("messages_delayed") == 0
    assert subscriber.payloads() == [b"%d" % number for number in range(100)]


@pytest.mark.parametrize("topic", ["x/a", "-1/a", "1.5/a", "4294968/a", "10", "10/", "1/$SYS/a", "\u0663/a"])
def test_wrongOnesAreDiscarded(bed: Bed, topic: str) -> None:
    """
    A message without a whole number of seconds, or without a topic that a client may publish to, is discarded silently.
    """
    load(bed)
    publisher, subscriber = both(bed)
    publisher.publish(f"$delayed/{topic}", b"x", 1, 1).expectAck(PUBACK, 1)
    bed.clock.advance(5)
    subscriber.expectNothing()
    assert bed.broker.traffic.total("messages_delayed") == 0


def test_limit(bed: Bed) -> None:
    """
    More than so many do not wait, nor more than so many bytes; who publishes more is told.
    """
    load(bed, most=2)
    publisher, subscriber = both(bed)
    publisher.publish("$delayed/5/a", b"1", 1, 1).expectAck(PUBACK, 1)
    publisher.publish("$delayed/5/a", b"2" * 100, 1, 2).expectAck(PUBACK, 2, QUOTA_EXCEEDED)
    publisher.publish("$delayed/6/a", b"3", 1, 3).expectAck(PUBACK, 3)
    publisher.publish("$delayed/6/a", b"4", 1, 4).expectAck(PUBACK, 4, QUOTA_EXCEEDED)
    assert "limit_delayed" in bed.broker.alarms.active
    bed.clock.advance(5)
    publisher.publish("$delayed/6/a", b"5" * 90, 1, 5).expectAck(PUBACK, 5)
    bed.clock.advance(6)
    assert subscriber.payloads() == [b"1", b"3", b"5" * 90]


def test_acknowledgedOnceCommitted(bed: Bed) -> None:
    """
    PUBACK waits until the delayed message is on disk.
    """
    load(bed)
    publisher, _ = both(bed)
    bed.worker.held = True
    publisher.publish("$delayed/5/a", b"1", 1, 1).expectNothing()
    bed.worker.release()
    publisher.expectAck(PUBACK, 1)


@pytest.mark.parametrize("crash", [False, True])
def test_survives(bed: Bed, crash: bool) -> None:
    """
    The time in which the broker did not run counts, and what has been published does not come again.
    """
    load(bed)
    publisher, _ = both(bed)
    for number, seconds in enumerate([5, 30, 60], 1):
        publisher.publish(f"$delayed/{seconds}/a", b"%d" % number, 1, number)
    bed.clock.advance(6)
    bed.restart(crash, pause=40)
    _, subscriber = both(bed)
    load(bed)
    bed.clock.advance(1)
    assert subscriber.payloads() == [b"2"]
    bed.clock.advance(20)
    assert subscriber.payloads() == [b"3"]
    bed.clock.advance(1)
    assert bed.rows("record") == 0


def test_unloaded(bed: Bed) -> None:
    """
    Unloaded, the extension leaves what waits to the next time.
    """
    extension = load(bed)
    publisher, subscriber = both(bed)
    publisher.publish("$delayed/5/a", b"1", 1, 1).expectAck(PUBACK, 1)
    extension.stop()
    bed.clock.advance(10)
    subscriber.expectNothing()
    load(bed)
    bed.clock.advance(0)
    assert subscriber.payloads() == [b"1"]


def test_notPublishedWhileTheStoreFails(bed: Bed) -> None:
    """
    A message that is due while the store can't be written, and would be refused, waits until it can be.
    """
    load(bed)
    publisher, subscriber = both(bed)
    publisher.publish("$delayed/5/a", b"1", 1, 1).expectAck(PUBACK, 1)
    bed.store.progress.broken = True
    bed.clock.advance(7)
    subscriber.expectNothing()
    assert bed.broker.traffic.total("messages_delayed") == 1
    bed.store.progress.broken = False
    bed.clock.advance(1)
    assert subscriber.payloads() == [b"1"]
