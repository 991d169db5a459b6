"""
How messages lie in the store: packs, what is taken out of them, and stores of the first schema.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kits.stores import Bed
from tests.stores.test_sqlite import publishTo, takeAll
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBACK, PUBREL, Publish
from twisted_mqtt.core.properties import IN_PUBLISH, encodeProperties
from twisted_mqtt.stores.packing import FAR, Pack, Packer, PackError, columnOf, entriesOf, recordOf
from twisted_mqtt.stores.repairing import repair
from twisted_mqtt.stores.schemas import APPLICATION_ID, schemas
from twisted_mqtt.testing.peer import Peer, propertiesOf

TEXTS = st.text(st.characters(exclude_characters="\0"), max_size=20)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """
    Any message.
    """
    message = Message(
        draw(TEXTS),
        draw(st.binary(max_size=50)),
        draw(st.integers(0, 2)),
        draw(st.booleans()),
        draw(st.none() | st.builds(lambda text: propertiesOf(contentType=text), st.text("abc", max_size=5))),
        draw(TEXTS),
        draw(st.floats(0, 1e10)),
        draw(st.just(0.0) | st.floats(0, 1e10)),
        draw(st.booleans()),
    )
    message.username = draw(st.none() | TEXTS)
    message.peerHost = draw(st.none() | TEXTS)
    message.protocol = draw(TEXTS)
    return message


def fieldsOf(message: Message) -> tuple[object, ...]:
    """
    The kept part of a message.
    """
    properties = message.properties
    return (
        message.topic,
        message.payload,
        message.qos,
        message.retain,
        None if properties is None else encodeProperties(properties, IN_PUBLISH),
        message.clientID,
        message.username,
        message.peerHost,
        message.protocol,
        message.timestamp,
        message.expiresAt,
        message.system,
    )


@given(st.lists(messages(), max_size=12))
def test_packed(some: list[Message]) -> None:
    """
    A pack gives back what was put in, at the place that was told.
    """
    packer = Packer()
    places = [packer.add(message) for message in some]
    data = packer.pack()
    assert bool(data) is bool(some)
    if some:
        pack = Pack(data)
        assert pack.count == len(some)
        assert [fieldsOf(pack.message(place)) for place in places] == [fieldsOf(message) for message in some]


@settings(max_examples=60)
@given(st.lists(messages(), min_size=1, max_size=3), st.data())
def test_damaged(some: list[Message], data: st.DataObject) -> None:
    """
    Bytes that are not a pack raise an error, cut off anywhere or with anything in it.
    """
    packer = Packer()
    for message in some:
        packer.add(message)
    packed = packer.pack()
    with pytest.raises(PackError):
        Pack(packed[: data.draw(st.integers(0, len(packed) - 1))])
    garbled = bytearray(packed)
    garbled[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        pack = Pack(bytes(garbled))
        for place in range(pack.count):
            pack.message(place)
    except PackError:
        pass  # it may be a pack nevertheless


@given(
    st.lists(
        st.tuples(st.integers(0, FAR - 1), st.integers(0, 0xFFFF), st.integers(0, 15), st.integers(-1, (1 << 18) - 1)),
        max_size=20,
        unique_by=lambda each: each[0],
    )
)
def test_entries(rows: list[tuple[int, int, int, int]]) -> None:
    """
    So do the records of entries, but for those that are settled.
    """
    records = columnOf("Q", [recordOf(*row) for row in rows])
    gone = {row[0] for row in rows[::3]}
    found = entriesOf(100, records, columnOf("I", list(gone)), {}, -1)
    assert [(each.number - 100, each.packetID, each.flags, each.place if each.shared else -1) for each in found] == [
        row for row in rows if row[0] not in gone
    ]
    inline = [row[0] for row in rows if row[3] < 0]
    assert all(each.shared or inline[each.place] == each.number - 100 for each in found)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """
    A broker with an empty store.
    """
    made = Bed(tmp_path)
    yield made
    made.crash()


def bytesOf(bed: Bed) -> int:
    """
    How many bytes of messages the store has.
    """
    connection = bed.store._database.connection
    rows = connection.execute("SELECT length(messages) FROM run UNION ALL SELECT length(messages) FROM parcel")
    return sum(row[0] for row in rows)


def takeBut(peer: Peer, payload: bytes) -> None:
    """
    Acknowledge all but one message.
    """
    while packets := [each for each in peer.receive() if isinstance(each, Publish)]:
        for packet in packets:
            if packet.payload != payload:
                peer.acknowledge(PUBACK, packet.packetID)


@pytest.mark.parametrize("names", [("a",), ("a", "b")], ids=["run", "parcel"])
def test_oneThatStaysKeepsNoOthers(bed: Bed, names: tuple[str, ...]) -> None:
    """
    A message that is not settled for long does not keep those that were written with it, whether they are with the run
    of its session or in a parcel.
    """
    for name in names:
        subscriber = bed.client(name)
        subscriber.subscribe("t", qos=1, identifier=5)
        subscriber.lose()
    bed.worker.held = True
    publisher = bed.peer()
    publisher.connect("publisher")
    stays = b"%d" % 150 + bytes(500)
    for number in range(1, 301):
        publisher.publish("t", b"%d" % number + bytes(500), 1, number)
    bed.worker.release()
    publisher.lose()
    assert (bed.entries, bed.messages) == (300 * len(names), 300)
    for name in names:
        takeBut(bed.client(name), stays)
    bed.clock.advance(1)
    assert bed.entries == len(names)
    assert bytesOf(bed) > 300 * 500
    bed.store._database.tidy()
    assert bytesOf(bed) < 20_000
    bed.restart(crash=True)
    for name in names:
        subscriber = bed.client(name)
        packet = subscriber.expect(Publish)
        assert (packet.payload, packet.dup) == (stays, True)
        assert packet.properties is not None and packet.properties.subscriptionIDs == [5]
        subscriber.acknowledge(PUBACK, packet.packetID)
        subscriber.expectNothing()
    bed.clock.advance(1)
    assert bed.entries == bed.messages == 0


def test_thinnedWhileItIsUsed(tmp_path: Path) -> None:
    """
    A session that goes on is not disturbed when messages are taken out meanwhile.
    """
    bed = Bed(tmp_path, commit="interval")
    subscriber = bed.client("a")
    subscriber.subscribe("t", qos=1)
    subscriber.lose()
    bed.worker.held = True
    publisher = bed.peer()
    publisher.connect("publisher")
    for number in range(1, 501):
        publisher.publish("t", b"%d" % number + bytes(100), 1, number)
    bed.worker.release()
    publisher.lose()
    subscriber = bed.client("a")
    received: list[int] = []
    while packets := [each for each in subscriber.receive() if isinstance(each, Publish)]:
        for packet in packets:
            received.append(int(packet.payload.rstrip(b"\0")))
            subscriber.acknowledge(PUBACK, packet.packetID)
        bed.clock.advance(1)
        bed.store._database.tidy()
    assert received == list(range(1, 501))
    bed.clock.advance(2)
    assert bed.entries == bed.messages == 0
    bed.crash()


def oldStore(path: Path) -> None:
    """
    A store as the release with schema 1 has written it: two sessions, messages of one and of both, some in flight.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(dict(schemas())[1])
    connection.execute("BEGIN")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    connection.execute("INSERT INTO meta VALUES ('node', 'mqttbroker@127.0.0.1'), ('batch', 9), ('seen', 1700000000.0)")
    properties = encodeProperties(propertiesOf(contentType="x"), IN_PUBLISH)
    for session, client in ((1, "s"), (2, "other")):
        connection.execute(
            "INSERT INTO session VALUES (?, ?, NULL, '', 4294967295, 0, 1700000000.0, 'external')", (session, client)
        )
        connection.execute("INSERT INTO subscription VALUES (?, 't', 2, '7')", (session,))
    number = 10
    for message in range(1, 1001):
        isShared = message % 2 == 0
        connection.execute(
            "INSERT INTO message VALUES (?, ?, 't', ?, 1700000000.0, 0, 'p', NULL, '127.0.0.1', 'mqtt', ?, ?)",
            (message, 1 + isShared, 2 if message < 3 else 1, properties if message == 5 else None, b"%d" % message),
        )
        for session in (1, 2) if isShared else (1,):
            number += 1
            packet = {1: 40, 2: 41}.get(message, 0) if session == 1 else 0
            flags = (2 if message < 3 else 1) | (8 if message == 1 else 0)
            connection.execute(
                "INSERT INTO entry VALUES (?, ?, ?, ?, ?, '7', NULL)", (session, number, message, flags, packet)
            )
    connection.execute("COMMIT")
    connection.close()


def assertUpgraded(bed: Bed) -> None:
    """
    All of it is there.
    """
    assert bed.entries == 1500
    assert bed.messages == 1000
    subscriber = bed.client("s")
    subscriber.expectAck(PUBREL, 40)
    packet = subscriber.expect(Publish)
    assert (packet.packetID, packet.payload, packet.qos, packet.dup) == (41, b"2", 2, True)
    rest: list[Publish] = []
    while packets := [each for each in subscriber.receive() if isinstance(each, Publish)]:
        for packet in packets:
            rest.append(packet)
            subscriber.acknowledge(PUBACK, packet.packetID)
    assert [each.payload for each in rest] == [b"%d" % number for number in range(3, 1001)]
    properties = rest[2].properties
    assert properties is not None and (properties.contentType, properties.subscriptionIDs) == ("x", [7])
    other = takeAll(bed.client("other"))
    # QoS 2 goes out when its identifier is safe, so that QoS 1 may overtake it.
    assert sorted(map(int, other)) == list(range(2, 1001, 2))
    bed.clock.advance(1)
    assert bed.entries == 1 + 1 + 1
    publishTo(bed, b"new")
    assert bed.client("other").payloads() == [b"2", b"new"]


def test_upgradeOfSchema1(tmp_path: Path) -> None:
    """
    A store of schema 1 is brought up, with everything that is in it.
    """
    oldStore(tmp_path / "store.db")
    bed = Bed(tmp_path, commit="never")
    assertUpgraded(bed)
    bed.crash()


def test_repairOfSchema1(tmp_path: Path) -> None:
    """
    A damaged one can be repaired by this release.
    """
    path = tmp_path / "store.db"
    oldStore(path)
    assert "nothing was unreadable" in repair(path)
    bed = Bed(tmp_path, commit="never")
    assertUpgraded(bed)
    bed.crash()
    Path(path).unlink()
    for old in tmp_path.glob("store.db*"):
        old.unlink()
    oldStore(path)
    data = bytearray(path.read_bytes())
    data[-4096:] = os.urandom(4096)
    path.write_bytes(data)
    assert "not all of" in repair(path)
    bed = Bed(tmp_path)
    assert 0 < bed.entries < 1500
    bed.client("s")
    bed.crash()
