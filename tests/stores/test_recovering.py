"""
C{--repair} saves what whole pages have, whatever has become of the others; and what a store has lost is told.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import LogLevel
from twisted.logger import capturedLogs as captured

from tests.kits.stores import Bed
from tests.stores.test_sqlite import publishTo, takeAll
from tests.system.process import Program, fromTree, startTwistd, toml, twistdCommand
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBREC
from twisted_mqtt.stores.pages import Pages
from twisted_mqtt.stores.repairing import repair
from twisted_mqtt.stores.schemas import StoreError

PAGE = 4096


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """
    A broker with some of everything in its store.
    """
    made = Bed(tmp_path)
    fill(made)
    yield made
    made.crash()


def fill(bed: Bed) -> None:
    """
    Let there be sessions with queues of messages small and large, messages of several, retained messages and records.
    """
    for number in range(20):
        client = bed.client(f"c{number}")
        client.subscribe(f"own/{number}", qos=1)
        client.subscribe("all", qos=1)
        client.lose()
    for number in range(20):
        publishTo(bed, *[b"%d " % each + bytes(300) for each in range(5)], topic=f"own/{number}")
        publishTo(bed, b"large %d " % number + bytes(9000), topic=f"own/{number}")
    publishTo(bed, *[b"all %d" % number for number in range(50)], topic="all")
    sender = bed.client("sender")
    sender.publish("nobody", b"", 2, 7).expectAck(PUBREC, 7, 0x10)
    table = bed.store.table("many")
    for number in range(300):
        bed.broker.publish(Message(f"r/{number}", b"%d " % number + bytes(200), 1, True))
        table.put(f"{number:05}", b"%05d" % number * 20)
    bed.clock.advance(1)


def queues(bed: Bed) -> list[list[bytes]]:
    """
    The messages that wait for the clients.
    """
    found = []
    for number in range(20):
        client = bed.client(f"c{number}")
        found.append(takeAll(client))
        client.lose()
    return found


def contentOf(bed: Bed) -> tuple[int, int, int, int]:
    """
    How many sessions, subscriptions, entries and records there are.
    """
    return (bed.rows("session"), bed.rows("subscription"), bed.entries, bed.store.table("many").count())


def write(path: Path, data: bytes) -> None:
    """
    Put a file in place of a store.
    """
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize("pages", [1, 3, 20], ids=["schema", "schema and more", "first twenty"])
def test_withoutSchema(bed: Bed, pages: int) -> None:
    """
    A file whose first pages are gone, the schema among them, has all that the others hold.
    """
    whole, waiting = contentOf(bed), len(bed.broker.retained)
    bed.stop()
    data = bed.path.read_bytes()
    write(bed.path, os.urandom(pages * PAGE) + data[pages * PAGE :])
    text = repair(bed.path)
    assert "not all of" in text
    bed.start()
    if pages == 1:
        assert contentOf(bed) == whole and len(bed.broker.retained) == waiting
        expected = [b"%d " % each + bytes(300) for each in range(5)]
        for number, found in enumerate(queues(bed)):
            assert found == [
                *expected,
                b"large %d " % number + bytes(9000),
                *[b"all %d" % each for each in range(50)],
            ]
    else:
        assert bed.store.table("many").count() > 200 and len(bed.broker.retained) > 200


@pytest.mark.parametrize("part", [0.3, 0.5, 0.9])
def test_halfAFile(bed: Bed, part: float) -> None:
    """
    A file that was cut off has what its pages hold, as whole messages.
    """
    bed.stop()
    data = bed.path.read_bytes()
    write(bed.path, data[: int(len(data) * part)])
    text = repair(bed.path)
    bed.start()
    assert "saved" in text and bed.rows("session") > 0
    found = queues(bed)
    for number, messages in enumerate(found):
        for message in messages:
            assert message.startswith((b"large %d " % number, b"all ")) or message[2:] == bytes(300)
    assert sum(map(len, found)) > 0


@pytest.fixture
def copied(bed: Bed, tmp_path: Path) -> Iterator[Bed]:
    """
    A store as a kill leaves it: what it has is in its log.
    """
    bed.store._database.connection.execute("BEGIN")  # nothing is moved meanwhile
    (tmp_path / "copy").mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(bed.path.with_name(f"store.db{suffix}"), tmp_path / "copy")
    bed.store._database.connection.execute("ROLLBACK")
    made = Bed.__new__(Bed)
    made.__dict__.update(bed.__dict__)
    made.path = tmp_path / "copy" / "store.db"
    yield made
    made.crash()


def test_fromTheLog(copied: Bed) -> None:
    """
    Rows that were in the log alone are saved, up to its last commit; a log that was torn ends before.
    """
    log = copied.path.with_name("store.db-wal")
    assert log.stat().st_size > 500_000
    with Pages(copied.path) as pages:
        whole = sum(1 for _ in pages.rows(pages.free()))
    data = log.read_bytes()
    log.write_bytes(data[: len(data) // 2] + os.urandom(5000) + data[len(data) // 2 + 5000 :])
    with Pages(copied.path) as pages:
        torn = sum(1 for _ in pages.rows(pages.free()))
    assert 0 < torn < whole
    log.write_bytes(data)
    copied.path.write_bytes(b"")
    with pytest.raises(StoreError, match="is empty, and its log store.db-wal is not"):
        copied.start()
    assert log.read_bytes() == data
    assert "saved 21 session" in repair(copied.path)
    copied.start()
    assert len(queues(copied)[0]) == 56 and len(copied.broker.retained) == 300


def test_missingBesideItsLog(copied: Bed) -> None:
    """
    A file that is gone while its log is there: SQLite would delete that, so the broker does not start.
    """
    copied.path.unlink()
    with pytest.raises(StoreError, match="is missing, and its log"):
        copied.start()
    copied.path.with_name("store.db-wal").unlink()
    copied.start()


def test_whatWasDeletedIsNot(bed: Bed) -> None:
    """
    Deleted rows do not come back, though they may still lie in pages that are free.
    """
    for number in range(0, 20, 2):
        client = bed.client(f"c{number}")
        assert len(takeAll(client)) == 56
        client.lose()
    table = bed.store.table("many")
    for number in range(280):
        table.remove(f"{number:05}")
    bed.clock.advance(1)
    whole = contentOf(bed)
    bed.stop()
    data = bed.path.read_bytes()
    write(bed.path, os.urandom(PAGE) + data[PAGE:])
    repair(bed.path)
    bed.start()
    assert contentOf(bed) == whole
    assert [len(found) for found in queues(bed)] == [0, 56] * 10


def test_lossIsToldOnce(bed: Bed) -> None:
    """
    The first start with a store that was repaired with losses logs an error and raises an alarm.
    """
    bed.stop()
    data = bytearray(bed.path.read_bytes())
    at = next(at for at in range(PAGE, len(data), PAGE) if data[at] == 0x0D and data.count(b"many", at, at + PAGE) > 20)
    data[at : at + PAGE] = os.urandom(PAGE)
    write(bed.path, bytes(data))
    assert "not all of" in repair(bed.path)
    with captured() as events:
        bed.start()
    (loss,) = [event["loss"] for event in events if event.get("log_level") is LogLevel.error]
    assert loss == "it was repaired; not all of record may be there"
    assert "store_lost" in bed.broker.alarms.active
    bed.restart()
    assert "store_lost" not in bed.broker.alarms.active


def test_emptiedIsTold(bed: Bed) -> None:
    """
    So does a start with a file that somebody has emptied; one with a new file does not.
    """
    assert "store_lost" not in bed.broker.alarms.active
    bed.stop()
    write(bed.path, b"")
    with captured() as events:
        bed.start()
    assert [event["log_format"] for event in events if event.get("log_level") is LogLevel.error] == [
        "the store {path} has lost content: {loss}"
    ]
    assert "store_lost" in bed.broker.alarms.active
    assert contentOf(bed)[:3] == (0, 0, 0)
    bed.restart()
    assert "store_lost" not in bed.broker.alarms.active


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """
    The file of such a store.
    """
    made = Bed(tmp_path_factory.mktemp("stored"))
    fill(made)
    made.stop()
    return made.path.read_bytes()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 60))
def test_anyDamage(stored: bytes, tmp_path_factory: pytest.TempPathFactory, seed: int, damages: int) -> None:
    """
    Whatever is overwritten, the repair ends, with a store that opens or with an error that says that nothing is left.
    """
    chance = random.Random(seed)
    data = bytearray(stored)
    for _ in range(damages):
        at, length = chance.randrange(len(data)), chance.choice([1, 2, 8, 100, PAGE, 10 * PAGE])
        piece = bytes(length) if chance.random() < 0.3 else chance.randbytes(length)
        data[at : at + length] = piece[: len(data) - at]
    folder = tmp_path_factory.mktemp("any")
    path = folder / "store.db"
    path.write_bytes(data)
    try:
        repair(path)
    except StoreError as error:
        assert any(word in str(error) for word in ("nothing of the store", "something else", "later release"))
    else:
        bed = Bed(folder)
        queues(bed)
        bed.crash()
    finally:
        shutil.rmtree(folder)


def test_asSQLiteReads(stored: bytes, tmp_path: Path) -> None:
    """
    Page by page, a whole file has the rows that SQLite finds in it.
    """
    path = tmp_path / "store.db"
    path.write_bytes(stored)
    with Pages(path) as pages:
        rows = list(pages.rows(pages.free()))
    connection = sqlite3.connect(path)
    for table, width in (("run", 12), ("session", 8), ("retained", 10), ("record", 3)):
        expected = connection.execute(f"SELECT rowid, * FROM {table}").fetchall()
        found = sorted(
            (row for row in rows if row.number and len(row.values) == width), key=lambda row: row.number or 0
        )
        ours = [(row.number, *row.values[1:]) for row in found]
        theirs = [(each[0], *each[2:]) for each in expected]
        assert ours == theirs, table
    connection.close()


@pytest.mark.system
def test_process(tmp_path: Path, stored: bytes) -> None:
    """
    As it is run: a broker that finds a store without its schema names C{--repair}, that saves the sessions, and the
    next start tells of it.
    """
    data = tmp_path / "data"
    data.mkdir()
    (data / "mqttbroker.db").write_bytes(os.urandom(PAGE) + stored[PAGE:])
    configuration = {
        "listener": {"tcp": {"external": {"bind": "127.0.0.1:0"}}},
        "node": {"data_dir": str(data)},
    }
    file = tmp_path / "mqttbroker.toml"
    file.write_text(toml(configuration))
    command = [*twistdCommand(), "mqttbroker", "--config", file]
    refused = Program(command, tmp_path, fromTree())
    refused.waitFor("is damaged .*--repair")
    refused.end()
    repaired = Program([*command, "--repair"], tmp_path, fromTree())
    repaired.waitFor("saved 21 session")
    assert repaired.process.wait(30) == 0
    broker = startTwistd(tmp_path, configuration)
    try:
        broker.waitFor("has lost content: it was repaired; not all of")
    finally:
        broker.end()
