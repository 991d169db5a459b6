"""
Retained messages on disk alone, in a process of its own: what it holds in memory, and what its clients get.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.durable import Durable
from tests.system.paho_peer import Peer
from tests.system.process import Broker

COUNT = 240
SIZE = 500_000
# About half of it: the store has a cache of 32 MiB, and what was freed is not all given back.
MOST = 64 << 20


def payloadOf(number: int) -> bytes:
    """
    Something that differs from one to the next.
    """
    return hashlib.sha256(b"%d" % number).digest() * (SIZE // 32)


def residentBytes(broker: Broker) -> int:
    """
    The memory of a broker.
    """
    return int(Path(f"/proc/{broker.process.pid}/statm").read_text().split()[1]) * 4096


@pytest.fixture
def kept(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Durable]:
    """
    The broker.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference has no such setting")
    kept = Durable(tmp_path, {"retainer": {"storage_type": "disc_only"}})
    yield kept
    kept.broker.stop()


def test_large(kept: Durable) -> None:
    """
    A hundred and twenty megabytes of retained messages take a fraction of that in memory, when they have been
    published, when they have been read by a subscriber, and after a kill; and every subscriber gets them all, whole.
    """
    empty = residentBytes(kept.broker)
    with Peer(kept.broker, "publisher") as publisher:
        for number in range(COUNT):
            publisher.publish(f"large/{number:03}", payloadOf(number), 1, retain=True)
        publisher.publish("large/007", b"", 1, retain=True)
    wanted = {f"large/{number:03}": payloadOf(number) for number in range(COUNT) if number != 7}
    for again in (False, True):
        if again:
            kept.kill()
        for qos in (0, 1):
            with Peer(kept.broker, f"subscriber {qos}") as subscriber:
                subscriber.subscribe("large/#", qos)
                messages = [subscriber.receive() for _ in range(COUNT - 1)]
                assert {message.topic: message.payload for message in messages} == wanted
                assert all(message.retain for message in messages)
        assert residentBytes(kept.broker) - empty < MOST
