"""
The size of the store has a limit.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kits.stores import Bed
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBACK
from twisted_mqtt.core.reasons import QUOTA_EXCEEDED
from twisted_mqtt.testing.peer import Peer, connectPacket

LIMIT = 2_000_000


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    """
    A broker whose store may have two megabytes.
    """
    bed = Bed(tmp_path, commit="never")
    bed.broker.storeLimit.limit = LIMIT
    return bed


def absent(bed: Bed, name: str) -> None:
    """
    A client that is away and has subscribed the topic of its name.
    """
    client = bed.client(name)
    client.subscribe(name, qos=1)
    client.lose()


def fill(bed: Bed, topic: str, count: int, size: int) -> None:
    """
    Publish messages.
    """
    for number in range(count):
        bed.broker.publish(Message(topic, b"%08d" % number * (size // 8), 1))
        if number % 50 == 0:
            bed.clock.advance(0.01)
    bed.clock.advance(1)
    bed.clock.advance(1)


def test_largestQueuesGiveWay(bed: Bed) -> None:
    """
    Above the limit the longest queues lose their oldest messages until the store is below it; others lose nothing.
    While that is so, there is an alarm, and messages are still taken.
    """
    absent(bed, "hog")
    absent(bed, "modest")
    fill(bed, "modest", 20, 2000)
    fill(bed, "hog", 1000, 4000)
    assert "store_full" in bed.broker.alarms.active
    publisher = bed.peer()
    publisher.connect("publisher")
    for packetID in range(1, 21):
        publisher.publish("modest", b"x", 1, packetID).expectAck(PUBACK, packetID)
        bed.clock.advance(1)
    assert bed.store.size <= LIMIT
    assert "store_full" not in bed.broker.alarms.active
    assert "limit_queue" in bed.broker.alarms.active
    sessions = bed.broker.sessions
    assert sessions["modest"].queueLength == 40 and sessions["modest"].dropped == 0
    assert 0 < sessions["hog"].queueLength < 1000
    assert not bed.broker.store.progress.broken
    bed.crash()


def test_whatElseFillsItIsRefused(bed: Bed) -> None:
    """
    Where no queue can give way, nothing of QoS 1 is taken, nothing retained, and no new session is kept; a session that
    is kept can be drained. Once there is room, all is as before.
    """
    absent(bed, "kept")
    bed.broker.publish(Message("kept", b"waits", 1))
    for number in range(30):
        bed.broker.publish(Message(f"r/{number}", b"x" * 100_000, retain=True))
    bed.clock.advance(1)
    bed.broker.publish(Message("kept", b"", 0))
    for _ in range(3):
        bed.broker.publish(Message("r/0", b"y" * 100_000, retain=True))
        bed.clock.advance(1)
    assert "store_full" in bed.broker.alarms.active
    publisher = bed.peer()
    publisher.connect("publisher")
    publisher.publish("t", b"x", 1, 1).expectAck(PUBACK, 1, QUOTA_EXCEEDED)
    publisher.publish("r/new", b"x", retain=True)
    assert bed.broker.retained.get("r/new") is None
    refused = Peer(bed.factory, bed.clock)
    refused.send(connectPacket("new", sessionExpiry=100))
    refused.expectClosed(QUOTA_EXCEEDED)
    bed.client("kept").lose()
    for number in range(30):
        bed.broker.publish(Message(f"r/{number}", b"", retain=True))
    bed.clock.advance(1)
    bed.clock.advance(1)
    publisher.publish("t", b"x", 1, 2)
    bed.clock.advance(1)
    bed.clock.advance(1)
    assert "store_full" not in bed.broker.alarms.active
    publisher.receive()
    publisher.publish("t", b"x", 1, 3).expectAck(PUBACK, 3, 0x10)
    bed.crash()
