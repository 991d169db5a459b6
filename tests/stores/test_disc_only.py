"""
Tests of retained messages that are on disk alone: C{retainer.storage_type = "disc_only"}.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.kits.stores import Bed
from twisted_mqtt.config.schema_retainer import RetainerSettings
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBACK, Ack, Publish, Suback, Subscribe, SubscriptionRequest
from twisted_mqtt.stores.database import RETAINED_BYTES
from twisted_mqtt.testing.peer import Peer


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    """
    A broker with retained messages on disk alone.
    """
    return Bed(tmp_path, retained="disc_only")


def keep(bed: Bed, payloads: dict[str, bytes]) -> None:
    """
    Publish retained messages at QoS 1.
    """
    publisher = bed.peer()
    publisher.connect("keeper")
    for topic, payload in payloads.items():
        publisher.publish(topic, payload, 1, 1, retain=True, contentType="x", userProperties=[("k", topic)])
        publisher.expect(Ack)
    publisher.lose()


def watcher(bed: Bed, topicFilter: str = "#", qos: int = 0) -> Peer:
    """
    A new client that has subscribed.
    """
    peer = bed.peer()
    peer.connect("watcher")
    peer.subscribe(topicFilter, qos=qos)
    return peer


def retainedOf(peer: Peer) -> dict[str, bytes]:
    """
    The messages that a client has been given.
    """
    return {each.topic: each.payload for each in peer.receive() if isinstance(each, Publish) and each.retain}


@pytest.mark.parametrize("crash", [False, True])
def test_survives(bed: Bed, crash: bool) -> None:
    """
    They are delivered whole, properties too, before and after a restart, and memory has no payload.
    """
    payloads = {"a": b"1" * 1000, "b/c": b"2", "b/d": b"3", "e": b"\x00\xff\x00"}
    keep(bed, payloads)
    for _ in range(2):
        assert (len(bed.broker.retained), bed.broker.retained.bytes) == (4, 0)
        found = {each.topic: each for each in watcher(bed).receive() if isinstance(each, Publish)}
        assert {topic: each.payload for topic, each in found.items()} == payloads
        for topic, each in found.items():
            assert each.properties is not None and each.properties.contentType == "x"
            assert each.properties.userProperties == [("k", topic)]
        assert retainedOf(watcher(bed, "b/+")) == {"b/c": b"2", "b/d": b"3"}
        assert retainedOf(watcher(bed, "e")) == {"e": b"\x00\xff\x00"}
        bed.restart(crash)


def test_replacedAndRemoved(bed: Bed) -> None:
    """
    A topic has its last message, or none, at once and after a restart.
    """
    keep(bed, {"a": b"1", "b": b"1", "c": b"1"})
    keep(bed, {"a": b"2", "b": b""})
    for _ in range(2):
        assert retainedOf(watcher(bed)) == {"a": b"2", "c": b"1"}
        bed.restart(crash=True)
    assert bed.rows("retained") == 2


def test_notYetWritten(bed: Bed) -> None:
    """
    While the writer is busy they come from memory.
    """
    keep(bed, {"a": b"old"})
    bed.worker.held = True
    publisher = bed.peer()
    publisher.connect("keeper")
    publisher.publish("a", b"new", 0, retain=True)
    publisher.publish("b", b"new", 0, retain=True)
    assert retainedOf(watcher(bed)) == {"a": b"new", "b": b"new"}
    bed.worker.release()
    assert bed.broker.retained.bytes == 0
    assert retainedOf(watcher(bed)) == {"a": b"new", "b": b"new"}


def test_replacedMeanwhile(bed: Bed) -> None:
    """
    A message that is published while a subscriber's messages are being read comes after them, once; and the message
    that it replaces does not come at all.
    """
    keep(bed, {"a": b"old", "b": b"old"})
    peer = bed.peer()
    peer.connect("watcher")
    bed.worker.held = True
    peer.subscribe("#", qos=0)
    publisher = bed.peer()
    publisher.connect("keeper")
    publisher.publish("a", b"new", 0, retain=True)
    assert peer.payloads() == []
    bed.worker.release()
    assert [(each.topic, each.payload, each.retain) for each in peer.receive() if isinstance(each, Publish)] == [
        ("b", b"old", True),
        ("a", b"new", False),
    ]


def test_many(bed: Bed) -> None:
    """
    Several thousand reach a subscriber as fast as it acknowledges, each once.
    """
    payloads = {f"t/{number}": b"%d" % number for number in range(3000)}
    for topic, payload in payloads.items():
        bed.broker.publish(Message(topic, payload, 1, True))
    bed.clock.advance(1)
    assert bed.broker.retained.bytes == 0
    peer = watcher(bed, qos=1)
    seen: list[tuple[str, bytes]] = []
    while found := [each for each in peer.receive() if isinstance(each, Publish)]:
        assert len(found) <= 32
        seen += [(each.topic, each.payload) for each in found]
        peer.send(*(Ack(PUBACK, each.packetID) for each in found))
    assert len(seen) == 3000 and dict(seen) == payloads


@pytest.mark.parametrize("where", ["payload", "properties"])
def test_large(bed: Bed, where: str) -> None:
    """
    No more than is due at once is read for a client that does not answer, however large they are.
    """
    publisher = bed.peer()
    publisher.connect("keeper")
    for number in range(40):
        payload, fields = bytes([number]), {}
        if where == "payload":
            payload *= RETAINED_BYTES
        else:
            fields["userProperties"] = [("k", "x" * (RETAINED_BYTES // 2))] * 2
        publisher.publish(f"t/{number}", payload, 1, 1, retain=True, **fields)
        publisher.expect(Ack)
    read: list[int] = []
    original = bed.store._database.retained

    def noted(topics: list[str]) -> object:
        rows, count = original(topics)
        read.append(len(rows))
        return rows, count

    bed.store._database.retained = noted  # type: ignore[method-assign,assignment] # to look on
    peer = watcher(bed, qos=1)
    first = [each for each in peer.receive() if isinstance(each, Publish)]
    assert len(first) == 32
    assert read == [1] * 32
    peer.send(*(Ack(PUBACK, each.packetID) for each in first))
    rest = [each for each in peer.receive() if isinstance(each, Publish)]
    assert [each.payload[0] for each in (*first, *rest)] == list(range(40))


def test_waitsForAbsent(bed: Bed) -> None:
    """
    Of a client that goes before they are read, they wait in its session, on disk too.
    """
    keep(bed, {f"t/{number}": b"%d" % number for number in range(5)})
    client = bed.client("s")
    bed.worker.held = True
    client.send(Subscribe(1, [SubscriptionRequest("#", 1)]))
    client.turn()
    bed.worker.step()
    assert client.expect(Suback).reasons == [1]
    client.turn()
    assert len(bed.worker.jobs) == 1
    client.lose()
    bed.worker.release()
    bed.clock.advance(1)
    bed.restart(crash=True)
    assert sorted(bed.client("s").payloads()) == [b"0", b"1", b"2", b"3", b"4"]


def test_expiry(tmp_path: Path) -> None:
    """
    They expire while the broker runs, and while it does not.
    """
    bed = Bed(tmp_path, retained="disc_only", retainer=RetainerSettings(expiry_interval=100.0))
    publisher = bed.peer()
    publisher.connect("keeper")
    publisher.publish("short", b"x", 1, 1, retain=True, messageExpiry=10).expect(Ack)
    publisher.publish("long", b"x", 1, 2, retain=True, messageExpiry=1000).expect(Ack)
    publisher.publish("usual", b"x", 1, 3, retain=True).expect(Ack)
    bed.clock.advance(11)
    (long, usual) = sorted(
        (each for each in watcher(bed).receive() if isinstance(each, Publish)), key=lambda each: each.topic
    )
    assert (long.topic, usual.topic) == ("long", "usual")
    assert long.properties is not None and long.properties.messageExpiry == 989
    bed.restart(crash=True, pause=100)
    bed.clock.advance(1)
    assert retainedOf(watcher(bed)) == {"long": b"x"}
    bed.clock.advance(1)
    assert bed.rows("retained") == 1


@pytest.mark.parametrize("before", ["disc", "disc_only"])
@pytest.mark.parametrize("after", ["disc", "disc_only"])
def test_changed(tmp_path: Path, before: str, after: str) -> None:
    """
    The setting may change between two starts.
    """
    bed = Bed(tmp_path, retained=before)
    keep(bed, {"a": b"1", "b": b"2"})
    bed.retained = after
    bed.restart()
    assert bed.broker.retained.bytes == (0 if after == "disc_only" else 2)
    assert retainedOf(watcher(bed)) == {"a": b"1", "b": b"2"}


class UnreadableTests(SynchronousTestCase):
    """
    A disk that fails.
    """

    def test_unreadable(self) -> None:
        """
        Where they can't be read, it is said, and everything else goes on.
        """
        folder = Path(self.mktemp())
        folder.mkdir()
        bed = Bed(folder, retained="disc_only")
        keep(bed, {"a": b"1"})

        def fail(topics: list[str]) -> object:
            raise sqlite3.OperationalError("disk I/O error")

        self.patch(bed.store._database, "retained", fail)
        peer = watcher(bed)
        publisher = bed.peer()
        publisher.connect("p")
        publisher.publish("b", b"2")
        self.assertEqual(peer.payloads(), [b"2"])
        self.assertEqual(len(self.flushLoggedErrors(sqlite3.OperationalError)), 1)
