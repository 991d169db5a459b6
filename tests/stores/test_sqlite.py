"""
The durable store under a broker: what survives, and what waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kits.stores import START, Bed
from twisted_mqtt.core.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Publish, Will
from twisted_mqtt.testing.peer import Peer, propertiesOf


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """
    A broker with an empty store.
    """
    made = Bed(tmp_path)
    yield made
    made.crash()


def publishTo(bed: Bed, *payloads: bytes, qos: int = 1, topic: str = "t") -> None:
    """
    Publish from a client that keeps nothing, and see that all is acknowledged.
    """
    publisher = bed.peer()
    publisher.connect("publisher")
    for number, payload in enumerate(payloads, 1):
        publisher.publish(topic, payload, qos, number)
        publisher.expectAck(PUBREC if qos == 2 else PUBACK, number)
    publisher.lose()


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("version", [4, 5])
def test_offlineQueueSurvives(bed: Bed, crash: bool, version: int) -> None:
    """
    A session, its subscriptions and what waits for it survive a stop and a crash, in order.
    """
    subscriber = bed.client("s", version)
    subscriber.subscribe("t", qos=1)
    subscriber.lose()
    publishTo(bed, b"1", b"2", b"3")
    bed.restart(crash)
    subscriber = bed.peer(version)
    connack = subscriber.connect("s", cleanStart=False, **({"sessionExpiry": 3600} if version == 5 else {}))
    assert connack.sessionPresent
    assert subscriber.payloads() == [b"1", b"2", b"3"]
    for packetID in (1, 2, 3):
        subscriber.acknowledge(PUBACK, packetID)
    subscriber.lose()
    bed.clock.advance(1)
    publishTo(bed, b"4")
    bed.restart(crash)
    assert bed.client("s", version).payloads() == [b"4"]


def test_emptyPayloadAlone(bed: Bed) -> None:
    """
    A message without a payload is kept like any other, with nothing else to write at the time; so is such a will.
    """
    bed.client("w", will=Will("t", b"", 1, False, None))
    subscriber = bed.client("s")
    subscriber.subscribe("t", qos=1)
    subscriber.lose()
    bed.clock.advance(1)
    publishTo(bed, b"")
    bed.restart(crash=True)
    subscriber = bed.client("s")
    assert subscriber.payloads() == [b"", b""]
    publishTo(bed, b"1")
    assert subscriber.payloads() == [b"1"]


def test_acknowledgedOnceCommitted(bed: Bed) -> None:
    """
    PUBACK waits until the message is on disk; a message that nobody keeps does not wait.
    """
    bed.client("s").subscribe("t")
    publisher = bed.peer()
    publisher.connect("p")
    bed.worker.held = True
    publisher.publish("t", b"kept", 1, 1)
    publisher.expectNothing()
    bed.worker.release()
    publisher.expectAck(PUBACK, 1)
    bed.worker.held = True
    publisher.publish("nobody", b"", 1, 2)
    publisher.expectAck(PUBACK, 2, 0x10)
    publisher.publish("t", b"kept", 1, 3)
    publisher.publish("nobody", b"", 1, 4)
    # [MQTT-4.6.0-2]: in the order of the messages
    publisher.expectNothing()
    bed.worker.release()
    publisher.expectAck(PUBACK, 3)
    publisher.expectAck(PUBACK, 4, 0x10)


def test_hurries(bed: Bed) -> None:
    """
    A full batch goes to the writer before all that is ready was read, if the writer is free; and its outcome is
    processed as soon.
    """
    said: list[bool] = []
    bed.client("s").subscribe("t")
    publisher = bed.peer()
    publisher.connect("p")
    bed.clock.advance(1)
    bed.broker.hurry = said.append
    bed.worker.held = True
    publisher.publish("t", b"little", 1, 1)
    assert said == [False]  # it is handed over at the end of the turn
    publisher.publish("t", bytes(200_000), 1, 2)
    assert said == [False]  # the writer is not free
    bed.worker.step()
    assert said == [False, True, False]
    publisher.expectAck(PUBACK, 1)
    bed.worker.release()
    publisher.expectAck(PUBACK, 2)
    said.clear()
    bed.worker.held = True
    publisher.publish("t", bytes(200_000), 1, 3)
    assert said == [True, False]
    bed.worker.release()
    publisher.expectAck(PUBACK, 3)


def test_slowDisk(bed: Bed) -> None:
    """
    Where the disk can't follow, publishers of QoS 1 and 2 are not read from until it can; others go on.
    """
    bed.restart(mostWaiting=5000)
    subscriber = bed.client("s")
    subscriber.subscribe("t")
    subscriber.lose()
    publisher, other = bed.peer(), bed.peer()
    publisher.connect("p")
    other.connect("o")
    bed.worker.held = True
    for number in range(1, 12):
        publisher.publish("t", bytes(1500), 1, number)
    assert bed.store.progress.congested
    assert not publisher.transport.reading
    assert sum(row[4] for row in bed.store.journal.close().runs) < 8
    other.publish("elsewhere", b"", 0)
    assert other.transport.reading and not other.lost


def test_goesOnAfterSlowness(bed: Bed) -> None:
    """
    When it can, all is acknowledged in order.
    """
    bed.restart(mostWaiting=5000)
    bed.client("s").subscribe("t")
    publisher = bed.peer()
    publisher.connect("p")
    bed.worker.held = True
    for number in range(1, 12):
        publisher.publish("t", bytes(1500), 1, number)
    bed.worker.release()
    for number in range(1, 12):
        publisher.expectAck(PUBACK, number)
    assert publisher.transport.reading and not bed.store.progress.congested


def test_eachWithItsBatch(bed: Bed) -> None:
    """
    A message that comes while a batch is being written is not acknowledged with it.
    """
    bed.client("s").subscribe("t")
    publisher = bed.peer()
    publisher.connect("p")
    bed.worker.held = True
    publisher.publish("t", b"first", 1, 1)
    publisher.publish("t", b"second", 1, 2)
    bed.worker.step()
    publisher.expectAck(PUBACK, 1)
    publisher.expectNothing()
    bed.worker.step()
    publisher.expectAck(PUBACK, 2)


def test_sharedByManySessions(bed: Bed) -> None:
    """
    A message is kept once, and as long as any session wants it.
    """
    for clientID in ("a", "b", "c"):
        subscriber = bed.client(clientID)
        subscriber.subscribe("t")
        subscriber.lose()
    publishTo(bed, b"1", b"2")
    assert (bed.messages, bed.entries) == (2, 6)
    for left, clientID in ((2, "a"), (1, "b"), (0, "c")):
        bed.restart(crash=True)
        assert takeAll(bed.client(clientID)) == [b"1", b"2"]
        bed.clock.advance(1)
        assert (bed.messages, bed.entries) == (2 if left else 0, 2 * left)


def test_settledBeforeItsBatch(bed: Bed) -> None:
    """
    A message that every receiver has acknowledged before it was written is not written.
    """
    subscriber = bed.client("s")
    subscriber.subscribe("t")
    publisher = bed.peer()
    publisher.connect("p")
    bed.worker.held = True
    publisher.publish("t", b"first", 1, 1)
    publisher.publish("t", b"second", 1, 2)
    for packetID in (1, 2):
        subscriber.expect(Publish)
        subscriber.acknowledge(PUBACK, packetID)
    written = bed.store._writing
    assert written is not None and sum(row[4] for row in written.runs) == 1
    bed.worker.release()
    publisher.turn()
    publisher.expectAck(PUBACK, 1)
    publisher.expectAck(PUBACK, 2)
    bed.clock.advance(1)
    assert bed.entries == bed.messages == 0


def test_interval(tmp_path: Path) -> None:
    """
    With C{interval}, an acknowledgement does not wait, and what is not written in time is lost by a crash.
    """
    bed = Bed(tmp_path, commit="interval")
    bed.client("s").subscribe("t")
    bed.clock.advance(1)
    publishTo(bed, b"written")
    bed.clock.advance(1)
    publishTo(bed, b"lost")
    bed.restart(crash=True)
    assert bed.client("s").payloads() == [b"written"]
    bed.crash()


def deliverTwo(peer: Peer) -> int:
    """
    Take a message of QoS 2; returns its identifier.
    """
    packet = peer.expect(Publish)
    assert packet.qos == 2
    return packet.packetID


@pytest.mark.parametrize("crash", [False, True])
def test_exactlyOnceOut(bed: Bed, crash: bool) -> None:
    """
    A QoS 2 message on its way keeps its identifier and its state.
    """
    bed.client("s").subscribe("t")
    publishTo(bed, b"one", b"two", qos=2)
    bed.restart(crash)
    subscriber = bed.client("s")
    first, second = deliverTwo(subscriber), deliverTwo(subscriber)
    subscriber.acknowledge(PUBREC, first).expectAck(PUBREL, first)
    bed.restart(crash)
    subscriber = bed.client("s")
    subscriber.expectAck(PUBREL, first)
    again = subscriber.expect(Publish)
    assert (again.packetID, again.dup, again.payload) == (second, True, b"two")
    subscriber.acknowledge(PUBCOMP, first)
    subscriber.acknowledge(PUBREC, second).expectAck(PUBREL, second)
    subscriber.acknowledge(PUBCOMP, second)
    bed.clock.advance(1)
    bed.restart(crash)
    bed.client("s").expectNothing()
    assert bed.entries == bed.messages == 0


def test_exactlyOnceOutIsHeld(bed: Bed) -> None:
    """
    A QoS 2 message goes out, and is released, only when that is on disk.
    """
    subscriber = bed.client("s")
    subscriber.subscribe("t")
    publisher = bed.peer()
    publisher.connect("p")
    bed.worker.held = True
    publisher.publish("t", b"one", 2, 1)
    subscriber.expectNothing()
    bed.worker.release()
    packetID = deliverTwo(subscriber)
    bed.worker.held = True
    subscriber.acknowledge(PUBREC, packetID).expectNothing()
    bed.worker.release()
    subscriber.expectAck(PUBREL, packetID)


@pytest.mark.parametrize("crash", [False, True])
def test_exactlyOnceIn(bed: Bed, crash: bool) -> None:
    """
    A client's QoS 2 identifier is remembered until PUBREL, and its reuse is a new message.
    """
    bed.client("s").subscribe("t", qos=1)
    publisher = bed.client("p")
    publisher.publish("t", b"one", 2, 7).expectAck(PUBREC, 7)
    bed.restart(crash)
    publisher = bed.client("p")
    publisher.publish("t", b"one", 2, 7, dup=True).expectAck(PUBREC, 7)
    bed.worker.held = True
    publisher.acknowledge(PUBREL, 7).expectNothing()
    bed.worker.release()
    publisher.expectAck(PUBCOMP, 7)
    bed.restart(crash)
    publisher = bed.client("p")
    publisher.publish("t", b"two", 2, 7).expectAck(PUBREC, 7)
    assert bed.client("s").payloads() == [b"one", b"two"]


@pytest.mark.parametrize("crash", [False, True])
def test_retained(bed: Bed, crash: bool) -> None:
    """
    Retained messages survive as last acknowledged; a removed one stays removed.
    """
    publisher = bed.peer()
    publisher.connect("p")
    for number, (topic, payload) in enumerate([("a", b"1"), ("b", b"1"), ("a", b"2"), ("b", b""), ("c", b"3")], 1):
        publisher.publish(topic, payload, 1, number, retain=True, contentType="x")
        assert publisher.next() is not None
    bed.restart(crash)
    watcher = bed.peer()
    watcher.connect("w")
    watcher.subscribe("#", qos=0)
    found = {each.topic: each for each in watcher.receive() if isinstance(each, Publish)}
    assert {topic: each.payload for topic, each in found.items()} == {"a": b"2", "c": b"3"}
    properties = found["a"].properties
    assert properties is not None and properties.contentType == "x"


def test_subscriptionOptions(bed: Bed) -> None:
    """
    A subscription survives with its identifier, and an unsubscribed one does not.
    """
    subscriber = bed.client("s")
    subscriber.subscribe("t/+", qos=1, identifier=12)
    subscriber.subscribe("u")
    bed.restart(crash=True)
    subscriptions = bed.broker.sessions["s"].subscriptions
    assert [(each.topicFilter, each.qos, each.identifiers) for each in subscriptions.values()] == [
        ("t/+", 1, [12]),
        ("u", 2, None),
    ]
    publishTo(bed, b"x", topic="t/1")
    bed.restart(crash=True)
    packet = bed.client("s").expect(Publish)
    assert packet.properties is not None and packet.properties.subscriptionIDs == [12]


def test_sessionExpiry(bed: Bed) -> None:
    """
    The time in which the broker did not run counts for clients that were away. Who was connected when it was killed is
    away from the new start on: that is when its time begins. A session without an expiry is not kept.
    """
    bed.client("long", expiry=100).lose()
    bed.client("short", expiry=10).lose()
    bed.client("connected", expiry=10)
    bed.client("none", expiry=0)
    bed.restart(crash=True, pause=50)
    bed.clock.advance(1)
    assert sorted(bed.broker.sessions) == ["connected", "long"]
    # Killed again, it does not begin once more.
    bed.restart(crash=True, pause=5)
    bed.clock.advance(3)
    assert sorted(bed.broker.sessions) == ["connected", "long"]
    bed.clock.advance(2)
    assert sorted(bed.broker.sessions) == ["long"]
    assert bed.broker.sessions["long"].expiresAt == START + 100
    bed.restart(pause=50)
    bed.clock.advance(1)
    assert sorted(bed.broker.sessions) == []
    bed.clock.advance(1)
    assert bed.rows("session") == 0


def test_messageExpiry(bed: Bed) -> None:
    """
    So it is with messages.
    """
    subscriber = bed.client("s")
    subscriber.subscribe("t")
    subscriber.lose()
    publisher = bed.peer()
    publisher.connect("p")
    publisher.publish("t", b"short", 1, 1, messageExpiry=10)
    publisher.publish("t", b"long", 1, 2, messageExpiry=100)
    bed.restart(crash=True, pause=50)
    packet = bed.client("s").expect(Publish)
    assert packet.payload == b"long"
    assert packet.properties is not None and packet.properties.messageExpiry == 50


def test_cleanStartForgets(bed: Bed) -> None:
    """
    A session that a client does not want any more goes with all that belongs to it.
    """
    bed.client("s").subscribe("t")
    bed.client("other").subscribe("t")
    publishTo(bed, b"x", b"y")
    bed.restart(crash=True)
    bed.client("s", clean=True)
    bed.clock.advance(1)
    assert (bed.entries, bed.messages, bed.rows("subscription")) == (2, 2, 1)
    bed.restart(crash=True)
    bed.client("s").expectNothing()
    assert bed.client("other").payloads() == [b"x", b"y"]


def test_longQueueIsPaged(bed: Bed) -> None:
    """
    Of a long queue a part is in memory; all of it comes, in order, with others coming meanwhile.
    """
    bed.client("s").subscribe("t")
    bed.restart(crash=True)
    expected = [b"%d" % number for number in range(2000)]
    publishTo(bed, *expected[:1500])
    session = bed.broker.sessions["s"]
    assert session.queue is not None
    assert session.queue.ready < 200 and session.queue.length == 1500
    bed.restart(crash=True)
    publishTo(bed, *expected[1500:1700])
    subscriber = bed.client("s")
    received: list[bytes] = []
    while len(received) < 2000:
        if len(received) == 320:
            publishTo(bed, *expected[1700:])
        packets = [each for each in subscriber.receive() if isinstance(each, Publish)]
        assert packets, received[-1]
        for packet in packets:
            received.append(packet.payload)
            subscriber.acknowledge(PUBACK, packet.packetID)
    assert received == expected
    bed.clock.advance(1)
    assert bed.entries == bed.messages == 0
    assert session.queue is not None


def takeAll(peer: Peer) -> list[bytes]:
    """
    Receive and acknowledge QoS 1 until no more comes.
    """
    received: list[bytes] = []
    while packets := [each for each in peer.receive() if isinstance(each, Publish)]:
        for packet in packets:
            received.append(packet.payload)
            if packet.qos == 1:
                peer.acknowledge(PUBACK, packet.packetID)
    return received


@pytest.mark.parametrize("read", [0, 5, 200])
def test_longQueueOfOneRun(tmp_path: Path, read: int) -> None:
    """
    So it is where the client has been here before, has read something or not, and goes again and again.
    """
    bed = Bed(tmp_path, commit="never")
    subscriber = bed.client("s")
    subscriber.subscribe("t")
    expected = [b"%d" % number for number in range(900)]
    publishTo(bed, *expected[:read])
    assert takeAll(subscriber) == expected[:read]
    subscriber.lose()
    publishTo(bed, *expected[read:600])
    subscriber = bed.client("s")
    packets = [each for each in subscriber.receive() if isinstance(each, Publish)]
    subscriber.lose()
    publishTo(bed, *expected[600:])
    received = takeAll(bed.client("s"))
    assert [packet.payload for packet in packets] == expected[read : read + len(packets)]
    assert received == expected[read:]
    bed.clock.advance(1)
    assert bed.entries == bed.messages == 0
    bed.crash()


def test_unansweredKeepsItsIdentifier(bed: Bed) -> None:
    """
    A QoS 2 message that was sent late, from the queue, has the same identifier after a crash.
    """
    subscriber = bed.client("s")
    subscriber.subscribe("t")
    subscriber.lose()
    publishTo(bed, b"one", b"two", qos=2)
    subscriber = bed.client("s")
    before = [(each.packetID, each.payload) for each in subscriber.receive() if isinstance(each, Publish)]
    bed.restart(crash=True)
    after = [each for each in bed.client("s").receive() if isinstance(each, Publish)]
    assert [(each.packetID, each.payload) for each in after] == before
    assert all(each.dup for each in after)


def test_queueLimitWithPages(tmp_path: Path) -> None:
    """
    The oldest go when a queue is too long, wherever they are.
    """
    bed = Bed(tmp_path, commit="never", max_mqueue_len=700)
    bed.client("s").subscribe("t")
    bed.restart(crash=True)
    expected = [b"%d" % number for number in range(3000)]
    publishTo(bed, *expected[:1000])
    bed.restart(crash=True)
    publishTo(bed, *expected[1000:])
    session = bed.broker.sessions["s"]
    assert session.queueLength == 700
    bed.clock.advance(1)
    assert bed.entries < 1700
    subscriber = bed.client("s")
    received: list[bytes] = []
    while packets := [each for each in subscriber.receive() if isinstance(each, Publish)]:
        for packet in packets:
            received.append(packet.payload)
            subscriber.acknowledge(PUBACK, packet.packetID)
    assert received == expected[-700:]
    # 300 of the first 1,000 were dropped by the broker before this one.
    assert bed.broker.traffic.total("delivery_dropped_queue_full") >= 2000 - 300
    bed.crash()


def test_willAfterCrash(bed: Bed) -> None:
    """
    A client that was connected when the broker was killed counts as lost: its will comes after its delay, counted from
    the new start, and not if the client comes back in time.
    """
    for clientID in ("w", "back"):
        bed.client(clientID, will=Will("wills", clientID.encode(), 1, False, propertiesOf(willDelay=30)))
    bed.client("s").subscribe("wills")
    bed.clock.advance(120)
    bed.restart(crash=True, pause=100)
    subscriber = bed.client("s")
    bed.clock.advance(20)
    bed.client("back")
    # Killed again, the delay does not begin once more.
    bed.restart(crash=True, pause=4)
    subscriber = bed.client("s")
    bed.clock.advance(5)
    subscriber.expectNothing()
    bed.clock.advance(2)
    assert subscriber.payloads() == [b"w"]
    bed.restart(crash=True)
    bed.clock.advance(100)
    assert bed.rows("will") == 0


@pytest.mark.parametrize("expiry", [0, None])
def test_willOfCleanSession(bed: Bed, expiry: int | None) -> None:
    """
    The will of a client whose session ends with its connection is published after a kill too, once; it comes late, and
    is not dropped ([MQTT-3.1.2-8]).
    """
    subscriber = bed.client("s")
    subscriber.subscribe("state/#")
    publisher = bed.peer()
    for clientID in ("lost", "leaves", "again"):
        will = Will(f"state/{clientID}", b"offline", 1, True, None)
        peer = bed.client(clientID, clean=True, expiry=0, will=will) if expiry == 0 else bed.peer(4)
        if expiry is None:
            peer.connect(clientID, will=will)
        publisher = bed.peer()
        publisher.connect("p")
        publisher.publish(f"state/{clientID}", b"online", 1, 1, retain=True).expectAck(PUBACK, 1)
        if clientID == "leaves":
            peer.disconnect()
        elif clientID == "again":
            peer.lose()
    takeAll(subscriber)
    bed.clock.advance(1)
    bed.restart(crash=True, pause=5)
    bed.clock.advance(1)
    assert takeAll(bed.client("s")) == [b"offline"]
    watcher = bed.peer()
    watcher.connect("w")
    watcher.subscribe("state/#", qos=0)
    found = {each.topic: each.payload for each in watcher.receive() if isinstance(each, Publish)}
    assert found == {"state/lost": b"offline", "state/leaves": b"online", "state/again": b"offline"}
    bed.clock.advance(1)
    assert bed.rows("will") == 0
    bed.restart(crash=True)
    bed.clock.advance(1)
    bed.client("s").expectNothing()


def test_willOfCleanSessionWaitsForNobody(bed: Bed) -> None:
    """
    A client with a will and a clean session is let in without waiting for the disk.
    """
    bed.clock.advance(1)
    bed.worker.held = True
    peer = bed.peer(4)
    peer.connect("c", will=Will("t", b"", 1, False, None))
    bed.worker.release()


def test_bans(bed: Bed) -> None:
    """
    Bans survive until they are taken back.
    """
    bed.broker.bans.add("evil", "clientid", "test")
    bed.broker.bans.add("worse", "clientid", "test")
    bed.broker.bans.remove("clientid", "worse")
    bed.clock.advance(0)
    bed.restart(crash=True)
    assert [ban.who for ban in bed.broker.bans.list()] == ["evil"]


@pytest.mark.parametrize("plain", [True, False])
def test_thereInSpiteOfAFailure(bed: Bed, plain: bool) -> None:
    """
    A batch whose commit is told to have failed may be there nevertheless; tried again, it is not written twice.
    """
    subscriber = bed.client("s")
    subscriber.subscribe("t", qos=1)
    subscriber.lose()
    publishTo(bed, b"1")
    publisher = bed.peer()
    publisher.connect("p")
    bed.worker.held = True
    publisher.publish("t", b"2", 1, 1, retain=not plain)
    batch, database = bed.store._writing, bed.store._database
    assert batch is not None and batch.isPlain is plain
    before = database._batch
    database.apply(batch)
    database._isInDoubt, database._batch = True, before
    bed.worker.release()
    publisher.expectAck(PUBACK, 1)
    assert bed.entries == 2
    bed.restart(crash=True)
    assert takeAll(bed.client("s")) == [b"1", b"2"]


def test_queueInTheStoreIsLong(tmp_path: Path) -> None:
    """
    Where the store keeps a queue, thousands of messages wait for a client that is away; in memory alone, a thousand.
    """
    bed = Bed(tmp_path, commit="never", max_mqueue_len="none", mqueue_store_qos0=True)
    bed.client("kept").subscribe("t")
    bed.client("kept").lose()
    publishTo(bed, *[b"%d" % number for number in range(3000)])
    session = bed.broker.sessions["kept"]
    assert (session.queueLength, session.stats()["max_mqueue"], session.dropped) == (3000, 1_000_000, 0)
    bed.crash()


def test_bytesOfAQueueAcrossARestart(tmp_path: Path) -> None:
    """
    The bytes that wait in the store count after a restart too: the oldest go, and what is left comes in order.
    """
    bed = Bed(tmp_path, commit="never", max_mqueue_bytes=1_000_000)
    bed.client("s").subscribe("t")
    bed.client("s").lose()
    publishTo(bed, *[b"%05d" % number * 200 for number in range(900)])
    assert bed.broker.sessions["s"].stats()["mqueue_bytes"] == 900 * 1001
    bed.restart(crash=True)
    assert bed.broker.sessions["s"].stats()["mqueue_bytes"] == pytest.approx(900 * 1001, rel=0.05)
    publishTo(bed, *[b"%05d" % number * 200 for number in range(900, 2900)])
    session = bed.broker.sessions["s"]
    assert 900 < session.queueLength <= 1000
    bed.clock.advance(1)
    assert "limit_queue" in bed.broker.alarms.active
    subscriber = bed.client("s")
    received: list[int] = []
    while packets := [each for each in subscriber.receive() if isinstance(each, Publish)]:
        for packet in packets:
            received.append(int(packet.payload[:5]))
            subscriber.acknowledge(PUBACK, packet.packetID)
    assert received == list(range(2900 - len(received), 2900)) and len(received) > 900
    assert session.stats()["mqueue_bytes"] == 0
    assert bed.broker.switches.queues.bytes == 0
    bed.crash()
