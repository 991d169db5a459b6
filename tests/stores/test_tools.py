"""
The store's operations on the command line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kits.stores import Bed
from tests.stores.test_sqlite import publishTo
from twisted_mqtt.core.packets import PUBACK, PUBREC, Publish
from twisted_mqtt.stores.repairing import repair
from twisted_mqtt.stores.schemas import StoreError
from twisted_mqtt.stores.tools import backup, export, import_
from twisted_mqtt.tap import Options


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """
    A broker with two absent sessions, what waits for them, and a retained message.
    """
    (tmp_path / "one").mkdir()
    made = Bed(tmp_path / "one")
    for clientID in ("s", "other"):
        subscriber = made.client(clientID)
        subscriber.subscribe("t/#", qos=2, identifier=3)
        subscriber.lose()
    publishTo(made, b"1", b"2", topic="t/1")
    publisher = made.client("p")
    publisher.publish("t/2", b"3", 2, 9, contentType="x", retain=True).expectAck(PUBREC, 9)
    publisher.lose()
    made.broker.bans.add("evil", "clientid", "test")
    made.clock.advance(1)
    yield made
    made.crash()


def assertWhole(bed: Bed) -> None:
    """
    Everything that the fixture has made is there.
    """
    assert [(ban.who, ban.reason) for ban in bed.broker.bans.list()] == [("evil", "test")]
    for clientID in ("s", "other"):
        subscriber = bed.client(clientID)
        packets = [each for each in subscriber.receive() if isinstance(each, Publish)]
        assert [(each.topic, each.payload, each.qos) for each in packets] == [
            ("t/1", b"1", 1),
            ("t/1", b"2", 1),
            ("t/2", b"3", 2),
        ]
        properties = packets[2].properties
        assert properties is not None and (properties.contentType, properties.subscriptionIDs) == ("x", [3])
        for packet in packets[:2]:
            subscriber.acknowledge(PUBACK, packet.packetID)
    watcher = bed.peer()
    watcher.connect("w")
    watcher.subscribe("#", qos=0)
    assert watcher.payloads() == [b"3"]


def second(tmp_path: Path) -> Path:
    """
    Another folder.
    """
    (tmp_path / "two").mkdir()
    return tmp_path / "two"


def test_backup(bed: Bed, tmp_path: Path) -> None:
    """
    A backup made while the broker runs is a store like the one it was made of.
    """
    folder = second(tmp_path)
    assert "store.db" in backup(bed.path, folder / "store.db")
    with pytest.raises(StoreError, match="exists already"):
        backup(bed.path, folder / "store.db")
    restored = Bed(folder)
    assertWhole(restored)
    restored.crash()


def test_exportAndImport(bed: Bed, tmp_path: Path) -> None:
    """
    An export can be imported elsewhere, over an existing store, more than once.
    """
    lines = tmp_path / "lines"
    assert export(bed.path, lines).endswith("3 sessions, 6 messages, 1 retained messages, 1 records")
    folder = second(tmp_path)
    other = Bed(folder)
    other.client("s").subscribe("something/else")
    with pytest.raises(StoreError, match="in use by another process"):
        import_(other.path, lines)
    other.crash()
    for _ in range(2):
        assert import_(other.path, lines).endswith("3 sessions, 1 retained messages, 1 records")
    other.start()
    assert other.entries == 6
    assertWhole(other)
    other.crash()


def test_wrongLines(tmp_path: Path) -> None:
    """
    A line that is none is named.
    """
    lines = tmp_path / "lines"
    lines.write_text('{"kind": "retained"}\n')
    with pytest.raises(StoreError, match="lines, line 1"):
        import_(tmp_path / "store.db", lines)


def test_repairOfWhole(bed: Bed) -> None:
    """
    Repairing what is not damaged loses nothing, and keeps the old file.
    """
    with pytest.raises(StoreError, match="in use by another process"):
        repair(bed.path)
    bed.crash()
    text = repair(bed.path)
    assert "nothing was unreadable" in text
    assert Path(text.rpartition("the old file is ")[2]).exists()
    bed.start()
    assertWhole(bed)


def test_repairOfDamaged(bed: Bed) -> None:
    """
    Of a damaged store that does not open, what is readable is saved.
    """
    bed.stop()
    data = bytearray(bed.path.read_bytes())
    pages = len(data) // 4096
    damaged = 0
    for page in range(1, pages):
        bed.path.write_bytes(data[: page * 4096] + os.urandom(4096) + data[(page + 1) * 4096 :])
        try:
            bed.start()
            bed.crash()
        except StoreError as error:
            damaged += 1
            assert "--repair" in str(error)
        text = repair(bed.path)
        bed.start()
        bed.client("s")
        bed.crash()
        Path(text.rpartition("the old file is ")[2]).unlink()
    assert damaged > 3
    bed.path.write_bytes(data)
    bed.start()


def runWith(tmp_path: Path, *options: str) -> int:
    """
    The exit status of a command line.
    """
    file = tmp_path / "mqttbroker.toml"
    file.write_text(f'[node]\ndata_dir = "{tmp_path / "one"}"\n[persistence]\nfile = "store.db"\n')
    with pytest.raises(SystemExit) as ended:
        Options().parseOptions(["--config", str(file), *options])
    code = ended.value.code
    assert isinstance(code, int)
    return code


def test_commandLine(bed: Bed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Each has its option; what fails ends with status 1 and says why.
    """
    assert runWith(tmp_path, "--backup", str(tmp_path / "copy")) == 0
    assert runWith(tmp_path, "--export", str(tmp_path / "lines")) == 0
    assert runWith(tmp_path, "--repair") == 1
    assert "in use by another process" in capsys.readouterr().err
    bed.crash()
    assert runWith(tmp_path, "--import", str(tmp_path / "lines")) == 0
    assert runWith(tmp_path, "--repair") == 0
    assert "saved" in capsys.readouterr().out
    bed.start()


def modeOf(path: Path) -> int:
    """
    Get the permissions of a file.
    """
    return path.stat().st_mode & 0o777


def test_privateFiles(bed: Bed, tmp_path: Path) -> None:
    """
    Only the broker's user can read messages, in copies too.
    """
    mask = os.umask(0)
    try:
        backup(bed.path, tmp_path / "copy")
        export(bed.path, tmp_path / "lines")
        bed.stop()
        text = repair(bed.path)
    finally:
        os.umask(mask)
    aside = Path(text.rpartition("the old file is ")[2])
    for path in (tmp_path / "copy", tmp_path / "lines", bed.path, aside):
        assert modeOf(path) == 0o600, path
    bed.start()


def test_repairBetweenDamages(bed: Bed) -> None:
    """
    Rows between two damaged pages of a table are saved too.
    """
    table = bed.store.table("many")
    for number in range(2000):
        table.put(f"{number:05}", b"%05d" % number * 20)
    bed.stop()
    data = bytearray(bed.path.read_bytes())
    pages = [
        page
        for page in range(1, len(data) // 4096)
        # a leaf of a table, with the values of these records
        if data[page * 4096] == 0x0D and data.count(b"many", page * 4096, (page + 1) * 4096) > 20
    ]
    assert len(pages) > 20
    for page in (pages[3], pages[-4]):
        data[page * 4096 : (page + 1) * 4096] = os.urandom(4096)
    bed.path.write_bytes(data)
    assert "not all of" in repair(bed.path)
    bed.start()
    values = dict(bed.store.table("many").items())
    assert 2000 - 2 * 45 < len(values) < 2000
    assert all(value == key.encode() * 20 for key, value in values.items())


def test_nothingToSave(bed: Bed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Where nothing can be saved, that is a failure, and the file stays.
    """
    bed.stop()
    garbage = os.urandom(20_000)
    bed.path.write_bytes(garbage)
    assert runWith(tmp_path, "--repair") == 1
    assert "nothing of the store" in capsys.readouterr().err
    assert bed.path.read_bytes() == garbage
    assert [each.name for each in bed.path.parent.iterdir() if "repaired" in each.name or "damaged" in each.name] == []
    bed.path.unlink()
    bed.start()
