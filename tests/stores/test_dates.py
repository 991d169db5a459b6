"""
The store keeps dates, whatever the broker's clock counts from.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.kits.stores import Bed
from twisted_mqtt.core.packets import PUBACK, Publish, Will
from twisted_mqtt.modules.delayed import DelayedPublish, DelayedPublishSettings
from twisted_mqtt.testing.extension import ExtensionHarness
from twisted_mqtt.testing.peer import Peer, propertiesOf


def send(publisher: Peer, payload: bytes, packetID: int, expiry: int) -> None:
    """
    Publish a message that expires.
    """
    publisher.publish("t", payload, 1, packetID, messageExpiry=expiry)
    publisher.receive()


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    """
    A broker that can be started again.
    """
    return Bed(tmp_path)


@pytest.mark.parametrize("by", [3600.0, -3600.0])
def test_sessionAfterTheClockWasSet(bed: Bed, by: float) -> None:
    """
    A session whose client goes after the clock was set ends when it should, in this process and in the next.
    """
    bed.ahead += by
    bed.client("kept", expiry=600).disconnect()
    bed.clock.advance(300)
    assert "kept" in bed.broker.sessions
    bed.restart(pause=200)
    assert "kept" in bed.broker.sessions
    bed.clock.advance(101)
    assert "kept" not in bed.broker.sessions


@pytest.mark.parametrize("by", [3600.0, -3600.0])
def test_sessionWhileTheClockIsSet(bed: Bed, by: float) -> None:
    """
    The time that a session has left in this process is a duration.
    """
    bed.client("kept", expiry=600).disconnect()
    bed.ahead += by
    bed.clock.advance(599)
    assert "kept" in bed.broker.sessions
    bed.clock.advance(2)
    assert "kept" not in bed.broker.sessions


@pytest.mark.parametrize("by", [3600.0, -3600.0])
def test_sessionBeforeTheClockWasSet(bed: Bed, by: float) -> None:
    """
    A session whose client has gone before the clock was set ends when it should in the next process too; and so does
    the delay of its will.
    """
    watching = bed.client("watching", expiry=6000)
    watching.subscribe("gone")
    will = Will("gone", b"x", 1, False, propertiesOf(willDelay=550))
    bed.client("kept", expiry=600, will=will).lose()
    bed.clock.advance(1)
    bed.ahead += by
    bed.clock.pump([0.1] * 20)
    bed.restart(crash=True, pause=300)
    assert "kept" in bed.broker.sessions
    watching = bed.client("watching", expiry=6000)
    bed.clock.advance(200)
    watching.expectNothing()
    bed.clock.advance(60)
    assert watching.payloads() == [b"x"]
    assert "kept" in bed.broker.sessions
    bed.clock.advance(60)
    assert "kept" not in bed.broker.sessions


@pytest.mark.parametrize("by", [3600.0, -1800.0])
def test_messages(bed: Bed, by: float) -> None:
    """
    A message in the queue of an absent session keeps its expiry over a restart after the clock was set.
    """
    bed.ahead += by
    subscriber = bed.client("kept", expiry=6000)
    subscriber.subscribe("t")
    subscriber.disconnect()
    publisher = bed.client("publisher")
    send(publisher, b"short", 1, 100)
    send(publisher, b"long", 2, 1000)
    bed.clock.advance(1)
    bed.restart(pause=200)
    subscriber = bed.client("kept", expiry=6000)
    bed.clock.advance(1)
    message = subscriber.expect(Publish)
    assert message.properties is not None and message.properties.messageExpiry is not None
    assert message.payload == b"long"
    assert 700 <= message.properties.messageExpiry <= 800


def test_pagedMessages(tmp_path: Path) -> None:
    """
    A message that is in the store alone does not expire because the clock is set forward.
    """
    bed = Bed(tmp_path)
    subscriber = bed.client("kept", expiry=6000)
    subscriber.subscribe("t")
    subscriber.disconnect()
    publisher = bed.client("publisher")
    for number in range(2000):
        send(publisher, b"%d" % number, 1, 600)
    bed.clock.advance(1)
    bed.ahead += 3600
    bed.clock.advance(2)
    subscriber = bed.client("kept", expiry=6000)
    payloads = []
    for _ in range(200):
        bed.clock.advance(0)
        for message in subscriber.receive():
            assert isinstance(message, Publish) and message.properties is not None
            payloads.append(message.payload)
            assert message.properties.messageExpiry in range(590, 601)
            subscriber.acknowledge(PUBACK, message.packetID)
    assert payloads == [b"%d" % number for number in range(2000)]


def test_fileHasDates(bed: Bed) -> None:
    """
    A reader of the file, with another clock, finds dates.
    """
    bed.ahead += 86_400
    bed.client("kept", expiry=600).disconnect()
    bed.client("p").publish("retained", b"x", 1, 1, retain=True, messageExpiry=60)
    bed.clock.advance(1)
    date = bed.broker.dates.now()
    bed.stop()
    connection = sqlite3.connect(bed.path)
    expires, created = connection.execute("SELECT expires_at, created_at FROM session").fetchone()
    assert abs(expires - date - 600) < 5 and abs(created - date) < 5
    received, ends = connection.execute("SELECT timestamp, expires_at FROM retained").fetchone()
    assert abs(received - date) < 5 and abs(ends - date - 60) < 5
    connection.close()


@pytest.mark.parametrize("by", [3600.0, -3600.0])
@pytest.mark.parametrize("restarts", [False, True])
def test_delayed(bed: Bed, by: float, restarts: bool) -> None:
    """
    A delayed message comes when it should, unless it expires before, if the clock is set meanwhile; and over a restart,
    if it was set before.
    """
    if restarts:
        bed.ahead += by
    harness = ExtensionHarness(DelayedPublish(DelayedPublishSettings()), bed.broker)
    harness.start()
    publisher = bed.client("p")
    publisher.publish("$delayed/300/later", b"late", 1, 1, messageExpiry=299)
    publisher.publish("$delayed/300/later", b"in time", 1, 2, messageExpiry=400)
    bed.clock.advance(1)
    if restarts:
        harness.stop()
        bed.restart()
        harness = ExtensionHarness(DelayedPublish(DelayedPublishSettings()), bed.broker)
        harness.start()
    else:
        bed.ahead += by
    subscriber = bed.client("s")
    subscriber.subscribe("later")
    bed.clock.advance(298)
    subscriber.expectNothing()
    bed.clock.advance(2)
    assert subscriber.payloads() == [b"in time"]
    harness.stop()
