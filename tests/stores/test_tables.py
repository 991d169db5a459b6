"""
Tables of small records: what they take, what is promised of them, and how older stores come to have them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from twisted.logger import capturedLogs

from tests.kits.stores import Bed
from tests.stores.test_sqlite import publishTo
from twisted_mqtt.core.packets import PUBACK, Publish
from twisted_mqtt.core.properties import IN_PUBLISH, encodeProperties
from twisted_mqtt.modules.delayed import DelayedPublish, DelayedPublishSettings
from twisted_mqtt.stores.memory import MemoryStore
from twisted_mqtt.stores.repairing import repair
from twisted_mqtt.stores.schemas import APPLICATION_ID, schemas, upgrade
from twisted_mqtt.stores.sqlite import SQLiteStore
from twisted_mqtt.stores.tables import LARGEST_VALUE, LONGEST_KEY
from twisted_mqtt.stores.worker import DirectWorker
from twisted_mqtt.testing.extension import ExtensionHarness
from twisted_mqtt.testing.peer import propertiesOf


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """
    A broker with an empty store.
    """
    made = Bed(tmp_path)
    yield made
    made.crash()


class Account(msgspec.Struct):
    """
    A record.
    """

    name: str
    secret: bytes


class Later(msgspec.Struct):
    """
    The same in a later release.
    """

    name: str
    secret: bytes
    roles: list[str] = []


@pytest.mark.parametrize("crash", [False, True])
def test_survive(bed: Bed, crash: bool) -> None:
    """
    Records that were put and removed are so after a stop or a crash, whatever characters a key has, in each table by
    itself.
    """
    table, other = bed.store.table("accounts"), bed.store.table("api/keys-2")
    keys = ["plain", "a/b:c", "\u00e9\U0001f600", "'\"\\", "nul\0nul", "x" * LONGEST_KEY]
    for number, key in enumerate(keys):
        table.put(key, b"%d\0" % number)
    table.put("gone", b"1")
    table.put("empty", b"")
    other.put("plain", b"other")
    bed.clock.advance(0)
    table.put("plain", b"again")
    assert table.remove("gone") and not table.remove("gone")
    bed.clock.advance(0)
    expected = {"plain": b"again", "empty": b"", **{key: b"%d\0" % number for number, key in enumerate(keys) if number}}
    assert dict(table.items()) == expected
    bed.restart(crash)
    table = bed.store.table("accounts")
    assert dict(table.items()) == expected and table.count() == len(expected)
    assert (table.get("empty"), table.get("gone")) == (b"", None)
    assert bed.store.table("api/keys-2").items() == [("plain", b"other")]
    assert bed.store.table("nothing").items() == []


def test_promise(bed: Bed) -> None:
    """
    A change raises what is to be committed, and is on disk when that is committed; with what was published in the same
    turn it is in one batch.
    """
    progress, table = bed.store.progress, bed.store.table("accounts")
    bed.client("s").subscribe("t", qos=1)
    publisher = bed.peer()
    publisher.connect("p")
    bed.clock.advance(1)
    assert progress.sequence == progress.committed
    bed.worker.held = True
    publisher.transport.clear()
    table.put("a", b"1")
    assert progress.sequence > progress.committed
    publisher.publish("t", b"x", 1, 1)
    batch = bed.store._writing
    assert batch is not None and (len(batch.records), len(batch.runs)) == (1, 1)
    bed.worker.release()
    assert progress.sequence == progress.committed
    table.remove("a")
    bed.restart(crash=True)
    # The removal was not committed, and nobody was told that it was.
    assert bed.store.table("accounts").items() == [("a", b"1")]


def test_manyInOneBatch(bed: Bed) -> None:
    """
    However many records are changed in one turn.
    """
    table = bed.store.table("many")
    for number in range(1000):
        table.put(str(number), b"%d" % number)
    bed.clock.advance(0)
    for number in range(0, 1000, 2):
        table.remove(str(number))
    bed.restart(crash=False)
    assert sorted(int(key) for key, _ in bed.store.table("many").items()) == list(range(1, 1000, 2))


def test_congestion(bed: Bed) -> None:
    """
    The records that tables have to write count towards the limit of waiting bytes.
    """
    bed.restart(mostWaiting=5000)
    bed.worker.held = True
    table = bed.store.table("large")
    table.put("first", b"")
    bed.clock.advance(0)
    table.put("a", bytes(6000))
    assert bed.store.progress.congested
    bed.worker.release()
    assert not bed.store.progress.congested


@pytest.mark.parametrize(
    "key, value, words",
    [
        ("", b"", "has 0 bytes"),
        ("x" * (LONGEST_KEY + 1), b"", f"1 to {LONGEST_KEY} are right"),
        ("\ud800", b"", "can't be encoded in UTF-8"),
        ("a", bytes(LARGEST_VALUE + 1), f"{LARGEST_VALUE} are the most"),
    ],
)
def test_limits(bed: Bed, key: str, value: bytes, words: str) -> None:
    """
    A record that is too long is refused with a clear error, and changes nothing.
    """
    table = bed.store.table("accounts")
    table.put("a", b"1")
    with pytest.raises(ValueError, match=words):
        table.put(key, value)
    assert table.items() == [("a", b"1")]


def test_largerValues(bed: Bed) -> None:
    """
    A table may be asked for with larger values.
    """
    table = bed.store.table("large", LARGEST_VALUE + 5)
    assert bed.store.table("large") is table
    table.put("a", bytes(LARGEST_VALUE + 5))
    bed.restart()
    assert len(bed.store.table("large").get("a") or b"") == LARGEST_VALUE + 5


@pytest.mark.parametrize("name", ["", "Accounts", "1st", "a b", "a" * 101, "a\n"])
def test_names(bed: Bed, name: str) -> None:
    """
    A name is a plain word.
    """
    with pytest.raises(ValueError, match="not a name for a table"):
        bed.store.table(name)


def test_beforeItIsOpen(bed: Bed, tmp_path: Path) -> None:
    """
    A table can be had before its store is open, and changed after that.
    """
    bed.store.table("accounts").put("a", b"1")
    bed.stop()
    store = SQLiteStore(bed.path, bed.clock, DirectWorker())
    table = store.table("accounts")
    with pytest.raises(RuntimeError, match="before its store is open"):
        table.put("b", b"2")
    with pytest.raises(RuntimeError, match="before its store is open"):
        table.remove("a")
    bed.start()


@pytest.mark.parametrize("durable", [False, True])
def test_records(bed: Bed, durable: bool) -> None:
    """
    Typed records: read by a later type that has more fields, and left alone where they can't be read.
    """
    table = (bed.store if durable else MemoryStore()).table("accounts")
    records = table.records(Account)
    records.put("a", Account("Ann", b"\xff"))
    records.put("b", Account("Bob", b""))
    assert records.get("a") == Account("Ann", b"\xff") and records.get("c") is None
    assert (len(records), "a" in records, "c" in records) == (2, True, False)
    assert dict(table.records(Later).items()) == {"a": Later("Ann", b"\xff", []), "b": Later("Bob", b"", [])}
    table.put("damaged", b"\xc1")
    table.put("other", msgspec.msgpack.encode({"name": 5}))
    with capturedLogs() as events:
        assert sorted(key for key, _ in records.items()) == ["a", "b"]
        assert records.get("damaged") is None
    assert [event["key"] for event in events] == ["damaged", "other", "damaged"]
    assert table.count() == 4
    assert records.remove("b") and not records.remove("b")


def olderStore(path: Path, version: int) -> None:
    """
    A store as the release with schema 1 or 2 has written it: bans, delayed messages, a retained one.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    upgrade(connection, [file for file in schemas() if file[0] <= version])
    assert connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    connection.execute("INSERT INTO meta VALUES ('node', 'mqttbroker@127.0.0.1'), ('batch', 9), ('seen', 1700000000.0)")
    connection.execute("INSERT INTO ban VALUES ('clientid', 'evil', 'why', 'admin', 1600000000.5, 0)")
    connection.execute("INSERT INTO ban VALUES ('peerhost', '10.0.0.1', '', '', 1600000001, 1700000030)")
    properties = encodeProperties(propertiesOf(contentType="x"), IN_PUBLISH)
    put = "INSERT INTO delayed VALUES (?, ?, ?, ?, 1700000000.0, ?, 'p', 'user', '127.0.0.1', 'mqtt', ?, ?)"
    connection.execute(put, (7, 1700000010.0, "a/b", 1, 0.0, properties, b"one"))
    connection.execute(put, (8, 1700000010.0, "a/b", 2 | 4, 1700000100.0, None, b""))
    connection.execute(put, (11, 1700000005.0, "first", 0, 0.0, None, b"two"))
    connection.close()


def assertMoved(bed: Bed) -> None:
    """
    All of it is there, and works.
    """
    bans = [ban.asDict() for ban in bed.broker.bans.list()]
    assert bans == [
        {"who": "evil", "as": "clientid", "reason": "why", "by": "admin", "at": 1600000000.5, "until": 0},
        {"who": "10.0.0.1", "as": "peerhost", "reason": "", "by": "", "at": 1600000001, "until": 1700000030},
    ]
    extension = DelayedPublish(DelayedPublishSettings())
    ExtensionHarness(extension, bed.broker).start()
    subscriber = bed.peer()
    subscriber.connect("s")
    subscriber.subscribe("#", qos=2)
    bed.clock.advance(20)
    packets: list[Any] = [each for each in subscriber.receive() if isinstance(each, Publish)]
    assert sorted((each.topic, each.payload, each.qos) for each in packets) == [
        ("a/b", b"", 2),
        ("a/b", b"one", 1),
        ("first", b"two", 0),
    ]
    [typed] = [each for each in packets if each.payload == b"one"]
    assert typed.properties.contentType == "x"
    publisher = bed.peer()
    publisher.connect("p")
    publisher.publish("$delayed/5/new", b"3", 1, 1).expectAck(PUBACK, 1)
    assert bed.store.table("delayed").items()[0][0] == "12"
    bed.clock.advance(20)
    assert [ban.who for ban in bed.broker.bans.list()] == ["evil"]


@pytest.mark.parametrize("version", [1, 2])
def test_upgrade(tmp_path: Path, version: int) -> None:
    """
    Bans and delayed messages of an earlier schema are records now.
    """
    olderStore(tmp_path / "store.db", version)
    bed = Bed(tmp_path)
    left = {row[0] for row in bed.store._database.all("SELECT name FROM sqlite_master")}
    assert not left & {"ban", "delayed"}
    assertMoved(bed)
    bed.crash()


@pytest.mark.parametrize("version", [1, 2])
def test_repairOfOlder(tmp_path: Path, version: int) -> None:
    """
    An earlier store can be repaired by this release, with bans and delayed messages.
    """
    olderStore(tmp_path / "store.db", version)
    text = repair(tmp_path / "store.db")
    assert "3 delayed, 2 ban" in text and "nothing was unreadable" in text
    bed = Bed(tmp_path)
    assertMoved(bed)
    bed.crash()


def test_damagedRecord(bed: Bed) -> None:
    """
    One record that can't be read keeps neither the broker from starting nor the others from being there.
    """
    bed.broker.bans.add("evil", "clientid")
    bed.store.table("bans").put("clientid:worse", b"\xc1")
    bed.store.table("delayed").put("1", b"\xc1")
    with capturedLogs() as events:
        bed.restart()
        ExtensionHarness(DelayedPublish(DelayedPublishSettings()), bed.broker).start()
    assert [ban.who for ban in bed.broker.bans.list()] == ["evil"]
    assert len([event for event in events if "can't be read" in event["log_format"]]) == 2
    publishTo(bed, b"x", topic="$delayed/5/t")
