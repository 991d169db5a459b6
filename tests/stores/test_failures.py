"""
The store when it can't be written, or not be used at all: nothing is acknowledged that is not kept.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.crash.clients import Client
from tests.crash.suite import Suite
from tests.kits.stores import Bed
from tests.system.process import Broker, fromTree, toml, twistdCommand
from twisted_mqtt.broker.alarms import Alarm
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBACK, Ack, Connack, Publish
from twisted_mqtt.core.subscription import Subscription
from twisted_mqtt.stores.repairing import repair
from twisted_mqtt.stores.schemas import StoreError, schemas, upgrade
from twisted_mqtt.stores.tools import export
from twisted_mqtt.testing.peer import connectPacket

HERE = Path(__file__).parent


class Listener:
    """
    A part of the broker that hears alarms.
    """

    clientID = ""
    online = True

    def __init__(self, bed: Bed) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        bed.broker.subscribe(self, Subscription(self, "$SYS/brokers/+/alarms/#"))

    def deliver(self, message: Message, subscription: Subscription) -> None:
        """
        Note an alarm.
        """
        self.heard.append((message.topic.rpartition("/")[2], json.loads(message.payload)))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """
    A small file system of its own.
    """
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(bed: Bed, publisher: Any, first: int, payload: bytes) -> int:
    """
    Publish until something is not acknowledged; returns its number.
    """
    for number in range(first, first + 2000):
        publisher.publish("t", b"%d " % number + payload, 1, number)
        if not publisher.receive():
            return number
    raise AssertionError("the disk is never full")


def test_fullDisk(disk: Path) -> None:
    """
    On a full disk messages of QoS 1 are refused and there is an alarm; when there is room again, what waited is
    acknowledged, and everything acknowledged is there after a crash.
    """
    (disk / "filler").write_bytes(bytes(400_000))
    bed = Bed(disk)
    alarms = Listener(bed)
    subscriber = bed.client("s")
    subscriber.subscribe("t", qos=1)
    subscriber.lose()
    publisher = bed.peer()
    publisher.connect("p")
    stuck = fill(bed, publisher, 1, bytes(1000))
    assert bed.store.progress.broken
    assert [(kind, alarm["id"], alarm["severity"]) for kind, alarm in alarms.heard] == [
        ("alert", "store_failed", "critical")
    ]
    other = bed.peer()
    other.connect("o")
    other.publish("t", b"refused", 1, 1).expectAck(PUBACK, 1, 0x97)
    other.publish("t", b"lost if need be", 0)
    old = bed.peer(4)
    old.connect("old")
    old.publish("t", b"refused", 1, 1).expectClosed()
    keeper = bed.peer()
    keeper.send(connectPacket("new", 5, cleanStart=False, sessionExpiry=100))
    assert keeper.expect(Connack).reason == 0x97
    bed.clock.advance(3)
    publisher.expectNothing()
    (disk / "filler").unlink()
    bed.clock.advance(1)
    publisher.expectAck(PUBACK, stuck)
    assert not bed.store.progress.broken
    assert [kind for kind, _ in alarms.heard] == ["alert", "clear"]
    publisher.publish("t", b"last", 1, 60000).expectAck(PUBACK, 60000)
    bed.restart(crash=True)
    subscriber = bed.client("s")
    received: list[bytes] = []
    while packets := [each for each in subscriber.receive() if isinstance(each, Publish)]:
        for packet in packets:
            received.append(packet.payload)
            subscriber.acknowledge(PUBACK, packet.packetID)
    assert [int(payload.split()[0]) for payload in received[:-1]] == list(range(1, stuck + 1))
    assert received[-1] == b"last"
    bed.crash()


def test_readOnlyDisk(disk: Path) -> None:
    """
    So it is where nothing may be written any more.
    """
    bed = Bed(disk)
    bed.client("s").subscribe("t")
    publisher = bed.peer()
    publisher.connect("p")
    publisher.publish("t", b"1", 1, 1).expectAck(PUBACK, 1)
    bed.store._database.connection.execute("PRAGMA query_only = ON")
    publisher.publish("t", b"2", 1, 2).expectNothing()
    assert bed.store.progress.broken
    bed.store._database.connection.execute("PRAGMA query_only = OFF")
    bed.clock.advance(1)
    publisher.expectAck(PUBACK, 2)
    bed.crash()


def refusalOf(folder: Path) -> str:
    """
    Why a broker does not start.
    """
    with pytest.raises(StoreError) as caught:
        Bed(folder)
    return str(caught.value)


def test_corruptFile(tmp_path: Path) -> None:
    """
    A damaged file is named, and the way out.
    """
    (tmp_path / "store.db").write_bytes(b"this is no database, whatever its name may be" * 100)
    text = refusalOf(tmp_path)
    assert "store.db is damaged" in text and "--repair" in text


def test_damagedInTheMiddle(tmp_path: Path) -> None:
    """
    So is one whose header is whole.
    """
    bed = Bed(tmp_path)
    for number in range(300):
        bed.broker.retained.put(Message(f"t/{number}", bytes(300), 1, True))
        bed.store.putRetained(Message(f"t/{number}", bytes(300), 1, True))
    bed.clock.advance(0)
    bed.stop()
    path = tmp_path / "store.db"
    data = bytearray(path.read_bytes())
    data[4096 * 3 :] = os.urandom(len(data) - 4096 * 3)
    path.write_bytes(data)
    assert "--repair" in refusalOf(tmp_path)


def test_laterSchema(tmp_path: Path) -> None:
    """
    A store of a later release is left alone.
    """
    Bed(tmp_path).stop()
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "later release (schema 99; this one knows 3)" in refusalOf(tmp_path)
    with pytest.raises(StoreError, match="later release"):
        repair(tmp_path / "store.db")
    assert [path.name for path in tmp_path.glob("store.db*") if "lock" not in path.name] == ["store.db"]


def test_upgrade() -> None:
    """
    Of the schema files those are run that have not been, each once; one that fails leaves what was there.
    """
    connection = sqlite3.connect(":memory:", isolation_level=None)
    files = list(schemas())
    assert upgrade(connection, files) == 0
    later = [*files, (len(files) + 1, "ALTER TABLE record ADD COLUMN note TEXT;")]
    assert upgrade(connection, later) == len(files)
    assert upgrade(connection, later) == len(later)
    with pytest.raises(sqlite3.OperationalError):
        upgrade(connection, [*later, (len(later) + 1, "CREATE TABLE x (y); CREATE TABLE record (z);")])
    connection.rollback()
    assert upgrade(connection, later) == len(later)
    assert not connection.execute("SELECT * FROM sqlite_master WHERE name = 'x'").fetchall()
    connection.close()


def test_somebodyElsesDatabase(tmp_path: Path) -> None:
    """
    So is the database of something else.
    """
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute("CREATE TABLE photos (name)")
    connection.close()
    assert "database of something else" in refusalOf(tmp_path)


def test_usedTwice(tmp_path: Path) -> None:
    """
    Two brokers do not share a file.
    """
    bed = Bed(tmp_path)
    assert "in use by another process" in refusalOf(tmp_path)
    bed.crash()


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    """
    The library that makes system calls fail.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler, or not Linux: system calls can't be made to fail")
    library = tmp_path / "faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, HERE / "faults.c", "-ldl"], check=True)
    return library


class FaultySuite(Suite):
    """
    The clients of the crash suite, and a broker whose system calls can be made to fail.
    """

    library: Path
    fault: Path

    def _start(self) -> Broker:
        file = self.folder / "mqttbroker.toml"
        file.write_text(
            toml(
                {
                    "listener": {"tcp": {"external": {"bind": "127.0.0.1:0"}}},
                    "zone": {"external": {"max_mqueue_len": 0, "session_expiry_interval": "1d"}},
                    "node": {"data_dir": str(self.folder / "data")},
                    "plugins": {"load": ["delayed_publish"]},
                }
            )
        )
        environment = {**fromTree(), "LD_PRELOAD": str(self.library), "FAULT_FILE": str(self.fault)}
        return Broker([*twistdCommand(), "mqttbroker", "--config", file], self.folder, environment).started(1)


@pytest.mark.system
@pytest.mark.parametrize("what", ["", "n"], ids=["sync", "write"])
def test_failingSystemCalls(tmp_path: Path, shim: Path, what: str) -> None:
    """
    While the log can't be synced, or not be written, nothing is acknowledged; afterwards all goes on without a restart,
    and nothing that was acknowledged is lost with the process.
    """
    FaultySuite.library, FaultySuite.fault = shim, tmp_path / "fault"
    suite = FaultySuite(tmp_path, seed=3)
    try:
        suite._load()
        # A client whose CONNECT is still on its way would be refused: its session could not be kept.
        here = [client for client in suite._clients() if client.socket is not None]
        suite._until(here, lambda: all(client.open for client in here))
        for publisher in suite.publishers:
            publisher.publishing = True
            publisher.fill()
        suite.fault.write_text(what)
        suite.broker.waitFor("the store can't be written")
        # Messages that were on their way may still arrive; then there is silence.
        while suite._turn(0.5):
            for publisher in suite.publishers:
                publisher.publishing = False
        promised = {topic: len(stream.promised) for topic, stream in suite.checker.streams.items()}
        assert any(not publisher.isQuiet for publisher in suite.publishers)
        refused = Refused()
        refused.connect(suite.broker, clean=True)
        suite._until([refused], lambda: refused.reason >= 0)
        assert refused.reason == 0x97
        refused.close()
        assert promised == {topic: len(stream.promised) for topic, stream in suite.checker.streams.items()}
        suite.fault.unlink()
        suite.broker.waitFor("the store can be written again")
        suite.run(1)
    finally:
        suite.stop()
    assert suite.checker.problems == []
    assert suite.checker.counts["QoS 2 deliveries promised"] > sum(promised.values()) / 100
    # The alarm is history, which has survived the process.
    exported = suite.folder / "exported"
    export(suite.folder / "data" / "mqttbroker.db", exported)
    lines = [msgspec.json.decode(line) for line in exported.read_bytes().splitlines()]
    kept = [base64.b64decode(line["value"]) for line in lines if line.get("table") == "alarms.history"]
    assert [msgspec.msgpack.decode(value, type=Alarm).name for value in kept] == ["store_failed"]


class Refused(Client):
    """
    Publishes once and notes the answer.
    """

    def __init__(self) -> None:
        super().__init__("refused", 5)
        self.reason = -1

    def opened(self) -> None:
        """
        Publish.
        """
        self.send(Publish("somewhere", b"", 1, False, False, 1))

    def take(self, packet: Any) -> None:
        """
        The answer.
        """
        assert isinstance(packet, Ack)
        self.reason = packet.reason
