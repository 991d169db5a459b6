"""
Queues are drained whatever becomes of the disk: while it is full, while nothing can be written at all, and after a
start in either case.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.clients import Client
from tests.kits.stores import Bed
from tests.stores.test_sqlite import publishTo
from tests.system.process import startTwistd
from twisted_mqtt.core.codec import LARGEST, Decoder
from twisted_mqtt.core.packets import (
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    Ack,
    Connack,
    Packet,
    Publish,
    Suback,
    Subscribe,
    Will,
)
from twisted_mqtt.core.packets import SubscriptionRequest as Request
from twisted_mqtt.stores.reserve import Reserve
from twisted_mqtt.stores.sqlite import LOOK
from twisted_mqtt.testing.peer import Peer, connectPacket

# Of the file system in which the store is.
DISK = 3 << 20


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """
    A small file system of its own; its parameter, if there is one, says of how many bytes.
    """
    folder = tmp_path / "disk"
    folder.mkdir()
    size = getattr(request, "param", DISK)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def occupy(folder: Path) -> None:
    """
    Let somebody else take all the room of a disk.
    """
    descriptor = os.open(folder / "filler", os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(descriptor, bytes(4096))
    except OSError:
        pass
    finally:
        os.close(descriptor)


def fill(bed: Bed, publisher: Peer, first: int, qos: int = 1, size: int = 3000) -> list[bytes]:
    """
    Publish until a message is refused; returns those that were acknowledged. Each gets its answer.
    """
    taken: list[bytes] = []
    for number in range(first, first + 20_000):
        payload = b"%d " % number + bytes(size)
        publisher.publish("t", payload, qos, number)
        (answer,) = publisher.receive()
        assert isinstance(answer, Ack)
        if answer.reason == 0x97:
            return taken
        assert answer.reason == 0
        taken.append(payload)
        if qos == 2:
            publisher.acknowledge(PUBREL, number).receive()
    raise AssertionError("the disk is never full")


def alarmsOf(bed: Bed) -> list[str]:
    """
    The names of the alarms that are active.
    """
    return list(bed.broker.alarms.active)


def takeAll(peer: Peer, packets: list[Packet] | None = None) -> list[bytes]:
    """
    Receive and acknowledge until no more comes.

    @param packets: those that have come already.
    """
    received: list[bytes] = []
    packets = packets or peer.receive()
    while packets:
        for packet in packets:
            if isinstance(packet, Publish):
                received.append(packet.payload)
                peer.acknowledge(PUBREC if packet.qos == 2 else PUBACK, packet.packetID)
            elif packet.type == PUBREL:
                assert isinstance(packet, Ack)
                peer.acknowledge(PUBCOMP, packet.packetID)
        packets = peer.receive()
    return received


def writable(bed: Bed, whether: bool) -> None:
    """
    Let nothing be written any more, or let it again.
    """
    bed.store._database.connection.execute(f"PRAGMA query_only = {'OFF' if whether else 'ON'}")


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("restarted", ["", "stopped", "killed"])
@pytest.mark.parametrize("others", [False, True])
def test_fullDiskIsDrained(disk: Path, qos: int, restarted: str, others: bool) -> None:
    """
    On a full disk each PUBLISH is answered, with 0x97 from the one on that can't be kept; sessions with a queue come
    and get it, before and after a restart; when they have, the store takes messages again, though nobody has made room
    on the disk.
    """
    bed = Bed(disk, reserve=64 << 20)
    subscriber = bed.client("s")
    subscriber.subscribe("t", qos=qos)
    subscriber.lose()
    publisher = bed.client("p", expiry=0)
    taken = fill(bed, publisher, 1, qos)
    assert len(taken) > 200
    assert alarmsOf(bed) == ["store_failed"]
    if others:
        occupy(disk)
    if restarted:
        bed.crash() if restarted == "killed" else bed.stop()
        if others:
            occupy(disk)
        bed.start()
        publisher = bed.client("p", expiry=0)
        # The room of the log may be free again.
        taken += fill(bed, publisher, len(taken) + 1, qos)
        assert alarmsOf(bed) == ["store_failed"]
    publisher.publish("t", b"refused", 1, 1).expectAck(PUBACK, 1, 0x97)
    keeper = bed.peer()
    keeper.send(connectPacket("new", 5, cleanStart=False, sessionExpiry=100))
    assert keeper.expect(Connack).reason == 0x97
    subscriber = bed.peer()
    subscriber.send(connectPacket("s", 5, cleanStart=False, sessionExpiry=3600))
    assert subscriber.expect(Connack).sessionPresent
    # Clients subscribe whenever they connect.
    requests = [Request("t", qos), Request("other", qos)]
    subscriber.send(Subscribe(1, requests))
    packets = subscriber.receive()
    assert [packet.reasons for packet in packets if isinstance(packet, Suback)] == [[qos, 0x97]]
    assert takeAll(subscriber, packets) == taken
    bed.clock.advance(LOOK)
    assert alarmsOf(bed) == []
    publisher.publish("t", b"again", 1, 2).expectAck(PUBACK, 2)
    assert subscriber.payloads() == [b"again"]
    subscriber.lose()
    again = fill(bed, publisher, 1, qos)
    bed.restart(crash=True)
    found = takeAll(bed.client("s"))
    assert found[-len(again) :] == again and found[: -len(again)] in ([], [b"again"])
    bed.crash()


@pytest.mark.parametrize("size", [10_000, 60_000, 100_000, 250_000])
@pytest.mark.parametrize("disk", [8 << 20, 17 << 20], indirect=True)
def test_largeMessagesAreDrained(disk: Path, size: int) -> None:
    """
    So it is with large messages, whose log can only be moved to the file with the room that the reserve has taken.
    """
    bed = Bed(disk, reserve=64 << 20)
    subscriber = bed.client("s")
    subscriber.subscribe("t", qos=1)
    subscriber.lose()
    publisher = bed.client("p", expiry=0)
    taken = fill(bed, publisher, 1, size=size)
    assert alarmsOf(bed) == ["store_failed"]
    assert [payload[:5] for payload in takeAll(bed.client("s"))] == [payload[:5] for payload in taken]
    bed.clock.advance(LOOK)
    assert alarmsOf(bed) == []
    publisher.publish("t", b"more", 1, 20_000)
    (answer,) = publisher.receive()
    assert isinstance(answer, Ack) and answer.reason == 0
    bed.stop()


@pytest.mark.parametrize("crash", [False, True])
def test_drainedWhileNothingIsWritten(tmp_path: Path, crash: bool) -> None:
    """
    While nothing can be written, a session that the store has is given its queue all the same. What it acknowledges is
    written later: then nothing comes again.
    """
    bed = Bed(tmp_path)
    subscriber = bed.client("s")
    subscriber.subscribe("t", qos=1)
    subscriber.lose()
    sent = [b"%d" % number for number in range(700)]
    publishTo(bed, *sent)
    bed.restart(crash)
    writable(bed, False)
    bed.client("nobody", clean=True, expiry=0).publish("t", b"stuck", 1, 1).expectNothing()
    assert bed.store.progress.stuck
    subscriber = bed.peer()
    subscriber.send(connectPacket("s", 5, cleanStart=False, sessionExpiry=3600))
    assert subscriber.expect(Connack).sessionPresent
    assert takeAll(subscriber) == sent
    assert subscriber.subscribe("t", qos=1) == [1]
    publisher = bed.client("p", expiry=0)
    publisher.publish("t", b"refused", 1, 1).expectAck(PUBACK, 1, 0x97)
    writable(bed, True)
    bed.clock.advance(1)
    assert takeAll(subscriber) == [b"stuck"]
    bed.clock.advance(1)
    bed.restart(crash=True)
    assert takeAll(bed.client("s")) == []
    bed.crash()


def test_restOfAQueueWhileNothingIsWritten(tmp_path: Path) -> None:
    """
    A session that has most of its queue in the store, and the end of it in a batch that can't be written, gets what is
    there, and the rest in order when the batch was written.
    """
    bed = Bed(tmp_path)
    subscriber = bed.client("s")
    subscriber.subscribe("t", qos=1)
    subscriber.lose()
    sent = [b"%d" % number for number in range(600)]
    publishTo(bed, *sent)
    writable(bed, False)
    publisher = bed.client("nobody", clean=True, expiry=0)
    for number in range(5):
        publisher.publish("t", b"stuck %d" % number, 1, number + 1)
    subscriber = bed.client("s")
    assert takeAll(subscriber) == sent
    writable(bed, True)
    bed.clock.advance(1)
    publisher.publish("t", b"later", 1, 100)
    found = takeAll(subscriber)
    assert found == [b"stuck 0", *(b"stuck %d" % number for number in range(1, len(found) - 1)), b"later"]
    bed.clock.advance(1)
    bed.restart(crash=True)
    assert takeAll(bed.client("s")) == []
    bed.crash()


def test_pageThatWasAskedFor(tmp_path: Path) -> None:
    """
    A page that waits for a batch when that turns out not to be written is read beside it.
    """
    bed = Bed(tmp_path)
    subscriber = bed.client("s")
    subscriber.subscribe("t", qos=1)
    subscriber.lose()
    publishTo(bed, b"1", b"2")
    bed.restart(crash=True)
    writable(bed, False)
    bed.worker.held = True
    bed.client("nobody", clean=True, expiry=0).publish("t", b"stuck", 1, 1).expectNothing()
    subscriber = bed.peer()
    subscriber.send(connectPacket("s", 5, cleanStart=False, sessionExpiry=3600))
    subscriber.expectNothing()
    bed.worker.release()
    bed.clock.advance(0)
    # Its CONNACK had been made before anybody knew; it can't be taken back.
    assert bed.store.progress.stuck
    writable(bed, True)
    bed.clock.advance(1)
    assert subscriber.expect(Connack).sessionPresent
    assert takeAll(subscriber) == [b"1", b"2", b"stuck"]
    bed.crash()


def test_exactlyOnceWaits(tmp_path: Path) -> None:
    """
    A message of QoS 2 goes out only when its identifier is in the store; so it waits while nothing can be written.
    """
    bed = Bed(tmp_path)
    subscriber = bed.client("s")
    subscriber.subscribe("t")
    subscriber.lose()
    publishTo(bed, b"once", qos=2)
    bed.restart()
    writable(bed, False)
    bed.client("nobody", clean=True, expiry=0).publish("t", b"stuck", 1, 1).expectNothing()
    subscriber = bed.client("s")
    subscriber.expectNothing()
    writable(bed, True)
    bed.clock.advance(1)
    assert sorted(takeAll(subscriber)) == [b"once", b"stuck"]
    bed.crash()


def test_willsWait(tmp_path: Path) -> None:
    """
    A will that comes while nothing can be kept is published when it can: nobody could send it again.
    """
    bed = Bed(tmp_path)
    subscriber = bed.client("s")
    subscriber.subscribe("will", "t", qos=1)
    lost = bed.client("lost", expiry=0, will=Will("will", b"gone", 1, True, None))
    bed.clock.advance(1)
    writable(bed, False)
    bed.client("nobody", clean=True, expiry=0).publish("t", b"stuck", 1, 1).expectNothing()
    assert subscriber.payloads() == [b"stuck"]
    lost.lose()
    for number in range(2):
        # One who comes and goes meanwhile leaves a will each time.
        bed.client("lost", expiry=0, will=Will("will", b"%d" % number, 1, False, None)).lose()
    bed.clock.advance(6)
    subscriber.expectNothing()
    writable(bed, True)
    bed.clock.advance(1)
    bed.clock.advance(5)
    assert sorted(subscriber.payloads()) == [b"0", b"1", b"gone"]
    bed.clock.advance(1)
    bed.restart(crash=True)
    watcher = bed.client("w", expiry=0)
    watcher.subscribe("will", qos=0)
    assert watcher.payloads() == [b"gone"]
    bed.crash()


def test_newStartIsRefused(tmp_path: Path) -> None:
    """
    A client that wants a new session in place of its old one would lose that, and the new one can't be kept: it is
    refused, and its session stays.
    """
    bed = Bed(tmp_path)
    subscriber = bed.client("s")
    subscriber.subscribe("t", qos=1)
    subscriber.lose()
    publishTo(bed, b"1")
    writable(bed, False)
    bed.client("nobody", clean=True, expiry=0).publish("t", b"2", 1, 1).expectNothing()
    fresh = bed.peer()
    fresh.send(connectPacket("s", 5, cleanStart=True, sessionExpiry=3600))
    assert fresh.expect(Connack).reason == 0x97
    assert takeAll(bed.client("s")) == [b"1", b"2"]
    bed.crash()


def test_reserve(disk: Path) -> None:
    """
    A reserve takes an eighth of a small disk at most, and what there is of a full one; the next process finds it.
    """
    reserve = Reserve(disk / "reserve", 64 << 20)
    reserve.adopt()
    reserve.take()
    assert reserve.isWhole and reserve.held == DISK // 8 == (disk / "reserve").stat().st_size
    assert (disk / "reserve").stat().st_blocks * 512 == reserve.held
    other = Reserve(disk / "reserve", 64 << 20)
    other.adopt()
    assert other.isWhole
    assert other.release() and not other.release() and not (disk / "reserve").exists()
    occupy(disk)
    os.truncate(disk / "filler", (disk / "filler").stat().st_size - 300_000)
    other.take()
    assert 200_000 < other.held <= 300_000 and not other.isWhole


def test_noReserve(tmp_path: Path) -> None:
    """
    Where none is wanted, there is no file.
    """
    reserve = Reserve(tmp_path / "reserve", 0)
    reserve.adopt()
    reserve.take()
    assert reserve.isWhole and not reserve.release() and not (tmp_path / "reserve").exists()


class Reader(Client):
    """
    Subscribes and acknowledges at QoS 1 or 2.
    """

    def __init__(self, clientID: str, publishes: bool = False) -> None:
        super().__init__(clientID, 5)
        self.received: list[bytes] = []
        self.reasons: list[int] = []
        self.connack: Connack | None = None
        self.publishes = publishes
        self.expiry = 0 if publishes else 3600

    def greet(self, clean: bool) -> None:
        """
        See L{Client}.
        """
        self._decoder = Decoder(LARGEST, 5)
        self.connack = None
        self.send(connectPacket(self.clientID, 5, cleanStart=clean, sessionExpiry=self.expiry))

    def takeBytes(self, data: bytes) -> None:
        """
        See L{Client}.
        """
        for packet in self._decoder.feed(data):
            if isinstance(packet, Connack):
                self.connack = packet
                if packet.reason == 0 and not self.publishes:
                    self.send(Subscribe(1, [Request("t", 1)]))
            else:
                self.take(packet)

    def take(self, packet: Packet) -> None:
        """
        See L{Client}.
        """
        if isinstance(packet, Publish):
            self.received.append(packet.payload)
            self.send(Ack(PUBACK, packet.packetID))
        elif isinstance(packet, Ack):
            self.reasons.append(packet.reason)
        elif not isinstance(packet, Connack):
            self.reasons.extend(getattr(packet, "reasons", ()))

    def until(self, condition: Any) -> None:
        """
        Read until something holds.
        """
        assert self.socket is not None
        self.socket.settimeout(20)
        while not condition():
            assert self.socket is not None
            self.read()


@pytest.mark.system
def test_process(disk: Path) -> None:
    """
    So it is with a broker as it is run: its disk becomes full, it is killed and started on the full disk, and its queue
    is drained.
    """
    folder = disk.parent
    configuration = {
        "listener": {"tcp": {"external": {"bind": "127.0.0.1:0"}}},
        "zone": {"external": {"max_mqueue_len": 0}},
        "node": {"data_dir": str(disk)},
    }
    broker = startTwistd(folder, configuration)
    reader, writer, fresh = Reader("reader"), Reader("writer", True), Reader("fresh")
    try:
        reader.connect(broker)
        reader.until(lambda: reader.reasons)
        reader.close()
        writer.connect(broker, clean=True)
        writer.until(lambda: writer.connack)
        sent: list[bytes] = []
        while not writer.reasons or writer.reasons[-1] == 0:
            sent.append(b"%d " % len(sent) + bytes(3000))
            writer.send(Publish("t", sent[-1], 1, False, False, len(sent)))
            writer.until(lambda: len(writer.reasons) == len(sent))
        assert writer.reasons[-1] == 0x97
        occupy(disk)
        broker.end(9)
        broker = startTwistd(folder, configuration)
        # The room that was left is for what empties queues: nothing else is taken.
        writer.connect(broker, clean=True)
        writer.until(lambda: writer.connack)
        writer.reasons.clear()
        while not writer.reasons or writer.reasons[-1] == 0:
            writer.send(Publish("t", bytes(50_000), 1, False, False, 1))
            count = len(writer.reasons)
            writer.until(lambda known=count: len(writer.reasons) > known)
            sent.insert(-1, bytes(50_000))
        sent.pop(-2)
        broker.waitFor("the store has no room")
        fresh.connect(broker)
        fresh.until(lambda: fresh.connack)
        assert fresh.connack is not None and fresh.connack.reason == 0x97
        reader.reasons.clear()
        reader.connect(broker)
        reader.until(lambda: reader.connack)
        assert reader.connack is not None and reader.connack.sessionPresent
        reader.until(lambda: len(reader.received) == len(sent) - 1)
        assert reader.received == sent[:-1] and reader.reasons == [1]
        broker.waitFor("the store can be written again")
        writer.reasons.clear()
        writer.connect(broker, clean=True)
        writer.until(lambda: writer.connack)
        writer.send(Publish("t", b"again", 1, False, False, 1))
        writer.until(lambda: writer.reasons)
        assert writer.reasons == [0]
    finally:
        for client in (reader, writer, fresh):
            client.close()
        broker.end(9)
