"""
Files of traces: where they may be, how large they get, and a disk that fails.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.kits.tracing import Tracing
from twisted_mqtt.monitoring.trace import sinks
from twisted_mqtt.operations.operation import Refused
from twisted_mqtt.testing.memory import MemoryBroker


@pytest.fixture
def memory() -> MemoryBroker:
    """
    A broker.
    """
    return MemoryBroker()


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("../t.log", "leads out of the folder"),
        ("a/../../t.log", "leads out of the folder"),
        ("/etc/passwd", "is not in the folder"),
        ("", "the name of a file"),
        ("a\0b", "the name of a file"),
        ("a\nb", "the name of a file"),
        ("x" * 2000, "the name of a file"),
        ("x" * 300, "name too long"),
        ("link/t.log", "leads out of the folder"),
        ("linked.log", "is a symbolic link"),
        ("dangling.log", "is a symbolic link"),
        ("pipe", "is no plain file"),
        ("sub", "is a directory"),
        ("log", "is a folder"),
        ("broker.log", "is there and is not the file of a trace"),
        ("nowhere/t.log", "no such file or directory"),
    ],
)
def test_wrong_places(memory: MemoryBroker, tmp_path: Path, file: str, why: str) -> None:
    """
    No file leads out of the folder or harms one that is there; the refusal names the field and the fault.
    """
    folder, outside = tmp_path / "log", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "sub").mkdir()
    (outside / "secret").write_text("# Trace of nobody")
    (folder / "link").symlink_to(outside)
    (folder / "linked.log").symlink_to(outside / "secret")
    (folder / "dangling.log").symlink_to(outside / "new")
    (folder / "broker.log").write_text("a log\n")
    os.mkfifo(folder / "pipe")
    tracing = Tracing(memory.broker, folder)
    name = str(folder) if file == "log" else file
    with pytest.raises(Refused, match=r"^file: ") as raised:
        tracing.start("clientid", "c1", name)
    assert why in str(raised.value).lower()
    assert not tracing.tracer.running
    assert (folder / "broker.log").read_text() == "a log\n"
    assert sorted(os.listdir(outside)) == ["secret"]


@pytest.mark.parametrize("file", ["t.log", "log/t.log", "sub/t.log", "log/sub/t.log", "{folder}/t.log"])
def test_places(memory: MemoryBroker, tmp_path: Path, file: str) -> None:
    """
    A name counts from the folder on; EMQ X's samples, which name the folder, mean the same.
    """
    folder = tmp_path / "log"
    (folder / "sub").mkdir(parents=True)
    tracing = Tracing(memory.broker, folder)
    tracing.start("clientid", "c1", file.format(folder=folder))
    memory.wait(1)
    assert (folder / ("sub/t.log" if "sub" in file else "t.log")).read_text().startswith("# Trace of clientid c1")


def test_default_folder(memory: MemoryBroker, tmp_path: Path) -> None:
    """
    Without C{trace.dir}, files are in the folder of the log.
    """
    tracing = Tracing(memory.broker, Path())
    tracing.tracer.settings = type(tracing.tracer.settings)()
    assert tracing.tracer.folder == Path(memory.broker.settings.log.dir)


def test_again(memory: MemoryBroker, tmp_path: Path) -> None:
    """
    A second trace to the same file is written behind the first; not while that goes on.
    """
    tracing = Tracing(memory.broker, tmp_path)
    trace = tracing.start("clientid", "c1")
    with pytest.raises(Refused, match="is traced to a file already"):
        tracing.start("clientid", "c1", "other.log")
    with pytest.raises(Refused, match="is that of another trace"):
        tracing.start("clientid", "c2")
    tracing.tracer.end(trace)
    tracing.start("clientid", "c1")
    memory.wait(1)
    heads = [line for line in tracing.lines() if line.startswith("#")]
    assert [head[:10] for head in heads] == ["# Trace of", "# The trac", "# Trace of"]


def test_full(memory: MemoryBroker, tmp_path: Path) -> None:
    """
    A file ends at its size, and the list says why the trace has.
    """
    tracing = Tracing(memory.broker, tmp_path, max_file_size=5000)
    client = memory.client("c1")
    trace = tracing.start("clientid", "c1")
    for _ in range(200):
        client.publish("t", b"y" * 100)
    memory.wait(1)
    assert (tmp_path / "t.log").stat().st_size < 5200
    assert tracing.lines()[-1] == "# The trace has ended: the file is full"
    assert (trace.why, tracing.tracer.running) == ("the file is full", {})


def test_full_disk(memory: MemoryBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where the disk is full, the trace ends and says so, and its client has not noticed.
    """
    tracing = Tracing(memory.broker, tmp_path)
    client = memory.client("c1")
    trace = tracing.start("clientid", "c1")

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sinks.os, "write", refuse)
    client.publish("t", b"x")
    memory.wait(1)
    assert trace.why == "the file can't be written: No space left on device"
    assert not tracing.tracer.running
    assert client.transport.connected


@pytest.mark.parametrize("how", ["delete", "move", "replace"])
def test_gone(memory: MemoryBroker, tmp_path: Path, how: str) -> None:
    """
    Where somebody has deleted or moved the file, the trace ends and says so: nobody would find what it writes.
    """
    tracing = Tracing(memory.broker, tmp_path)
    client = memory.client("c1")
    trace = tracing.start("clientid", "c1")
    client.publish("t", b"first")
    memory.wait(1)
    file = tmp_path / "t.log"
    if how == "delete":
        file.unlink()
    else:
        file.rename(tmp_path / "moved.log")
    if how == "replace":
        file.write_text("something else")
    client.publish("t", b"second")
    memory.wait(1)
    assert (trace.why, tracing.tracer.running) == ("the file was moved or deleted", {})
    assert client.transport.connected
    if how == "replace":
        assert file.read_text() == "something else"


def test_most(memory: MemoryBroker, tmp_path: Path) -> None:
    """
    There are no more traces at a time than C{trace.most}.
    """
    tracing = Tracing(memory.broker, tmp_path, most=2)
    tracing.start("clientid", "c1", "1.log")
    tracing.look("clientid", "c2")
    with pytest.raises(Refused, match=r"there are 2 traces already \(trace.most\)"):
        tracing.start("clientid", "c3", "3.log")
    with pytest.raises(Refused, match="there are 2 traces already"):
        tracing.tracer.startLive("clientid", "c3", "debug")
    assert not (tmp_path / "3.log").exists()


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("clientid", "", "clientid: "),
        ("clientid", "a\0", "clientid: "),
        ("topic", "a/#/b", "topic: "),
        ("topic", "$share/g/t", "topic: "),
        ("ip_address", "localhost", "ip_address: "),
        ("ip_address", "10.0.0.0/8", "ip_address: "),
    ],
)
def test_wrong_values(memory: MemoryBroker, tmp_path: Path, kind: str, value: str, why: str) -> None:
    """
    What can't be traced is refused with the name of the field, and nothing is left of it.
    """
    tracing = Tracing(memory.broker, tmp_path)
    with pytest.raises(Refused, match=why):
        tracing.start(kind, value)  # type: ignore[arg-type]  # it is one of the kinds
    with pytest.raises(Refused, match=why):
        tracing.tracer.startLive(kind, value, "debug")  # type: ignore[arg-type]  # likewise
    assert not tracing.tracer.running
    assert memory.broker.hooks.tracing is None


def test_end_of_the_broker(memory: MemoryBroker, tmp_path: Path) -> None:
    """
    When the extension ends, files are complete and who looks on is told.
    """
    tracing = Tracing(memory.broker, tmp_path)
    tracing.start("clientid", "c1")
    seen = tracing.look("clientid", "c1")
    memory.client("c1")
    tracing.harness.stop()
    memory.wait(1)
    assert tracing.lines()[-1] == "# The trace has ended: the broker stops"
    assert seen[-1] == "# The trace has ended: the broker stops"
    assert memory.broker.tracer is None
