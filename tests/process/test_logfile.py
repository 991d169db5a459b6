"""
Log files: put aside by size and time, moved, deleted, on a full disk.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path

import pytest

from twisted_mqtt.process.logfile import LogFile, Period

# A Monday, at noon where the tests run.
MONDAY = time.mktime((2026, 11, 30, 12, 0, 0, 0, 0, -1))
HOUR = 3600.0
DAY = 24 * HOUR


class Time:
    """
    A time that is set by hand.
    """

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """
        The time.
        """
        return self.now


def names(folder: Path) -> list[str]:
    """
    The files of a folder.
    """
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("period", "same", "later"),
    [("hourly", HOUR * 0.9, HOUR), ("daily", HOUR * 11, DAY), ("weekly", DAY * 6, DAY * 7)],
)
def test_period(tmp_path: Path, period: Period, same: float, later: float) -> None:
    """
    A file is put aside when the first line of another period comes: of an hour, a day or a week from Monday on.
    """
    path = tmp_path / "a.log"
    file = LogFile(str(path), count=2, period=period)
    file.write("one\n", MONDAY)
    file.write("two\n", MONDAY + same)
    assert names(tmp_path) == ["a.log"]
    file.write("three\n", MONDAY + later)
    assert (path.read_text(), (tmp_path / "a.log.1").read_text()) == ("three\n", "one\ntwo\n")
    for number in range(2, 6):
        file.write("more\n", MONDAY + number * later)
    file.close()
    assert names(tmp_path) == ["a.log", "a.log.1", "a.log.2"]


def test_periodOverRestart(tmp_path: Path) -> None:
    """
    What was written before the process began counts by its date; an empty file is not put aside.
    """
    path = tmp_path / "a.log"
    path.write_text("old\n")
    os.utime(path, (MONDAY, MONDAY))
    file = LogFile(str(path), period="daily")
    file.write("new\n", MONDAY + DAY)
    file.close()
    assert ((tmp_path / "a.log.1").read_text(), path.read_text()) == ("old\n", "new\n")
    empty = tmp_path / "b.log"
    empty.touch()
    os.utime(empty, (MONDAY, MONDAY))
    other = LogFile(str(empty), period="daily")
    other.write("new\n", MONDAY + DAY)
    other.close()
    assert not (tmp_path / "b.log.1").exists()


def test_clockSetBack(tmp_path: Path) -> None:
    """
    A clock that jumps to and fro puts nothing aside again and again, which would push out what is kept.
    """
    file = LogFile(str(tmp_path / "a.log"), period="hourly")
    for number in range(20):
        file.write("x\n", MONDAY + (number % 2) * 5 * HOUR)
    file.close()
    assert names(tmp_path) == ["a.log", "a.log.1"]


@pytest.mark.parametrize("folderToo", [False, True])
def test_deleted(tmp_path: Path, folderToo: bool) -> None:
    """
    A file that somebody deletes, with its folder even, is made again within a second.
    """
    now = Time()
    path = tmp_path / "log" / "a.log"
    file = LogFile(str(path), monotonic=now)
    file.write("one\n")
    if folderToo:
        shutil.rmtree(path.parent)
    else:
        path.unlink()
    now.now += 1
    file.write("two\n")
    file.close()
    assert path.read_text() == "two\n"


def test_deletedForGood(tmp_path: Path) -> None:
    """
    Where a file was deleted and can't be made again, nobody would ever read what is written: it is an error until it
    can be.
    """
    now = Time()
    path = tmp_path / "log" / "a.log"
    file = LogFile(str(path), monotonic=now)
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("")
    now.now += 1
    for _ in range(2):
        with pytest.raises(OSError, match="File exists"):
            file.write("one\n")
    path.parent.unlink()
    file.write("two\n")
    file.close()
    assert path.read_text() == "two\n"


def test_folderIsNoFolder(tmp_path: Path) -> None:
    """
    Where the folder can't be made again, the open file is written on, and it is tried again.
    """
    now = Time()
    path = tmp_path / "log" / "a.log"
    file = LogFile(str(path), monotonic=now)
    path.parent.rename(tmp_path / "moved")
    path.parent.write_text("")
    now.now += 1
    file.write("one\n")
    assert (tmp_path / "moved" / "a.log").read_text() == "one\n"
    path.parent.unlink()
    now.now += 1
    file.write("two\n")
    file.close()
    assert path.read_text() == "two\n"


def test_reopen(tmp_path: Path) -> None:
    """
    What was moved away is written no more; where there is nothing to open, it is written on.
    """
    path = tmp_path / "a.log"
    file = LogFile(str(path))
    file.write("one\n")
    path.rename(tmp_path / "b.log")
    file.reopen()
    file.write("two\n")
    assert ((tmp_path / "b.log").read_text(), path.read_text()) == ("one\n", "two\n")
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError):
        file.reopen()
    file.write("three\n")
    file.close()


def test_notPutAside(tmp_path: Path) -> None:
    """
    Where a file can't be put aside, since a folder stands in the way, all the lines are in it.
    """
    (tmp_path / "a.log.1" / "x").mkdir(parents=True)
    file = LogFile(str(tmp_path / "a.log"), size=10, count=1)
    for _ in range(10):
        file.write("a line\n")
    file.close()
    assert (tmp_path / "a.log").read_text() == "a line\n" * 10


def test_fullDisk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A line that finds room for its half leaves no half line in front of the next one.
    """
    path = tmp_path / "a.log"
    file = LogFile(str(path))
    real = os.write
    room = [6]

    def write(descriptor: int, data: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = real(descriptor, data[: room[0]])
        room[0] -= count
        return count

    monkeypatch.setattr(os, "write", write)
    file.write("one\n")
    for _ in range(3):
        with pytest.raises(OSError):
            file.write("two\n")
    room[0] = 100
    file.write("three\n")
    monkeypatch.undo()
    file.close()
    assert path.read_text() == "one\ntw\nthree\n"


def test_pipe(tmp_path: Path) -> None:
    """
    A pipe that nobody reads is an error, and no wait without end.
    """
    path = tmp_path / "a.log"
    os.mkfifo(path)
    with pytest.raises(OSError):
        LogFile(str(path))
    assert names(tmp_path) == ["a.log"]


def test_device() -> None:
    """
    A device is written like a file, is not put aside, and what it refuses is an error.
    """
    file = LogFile("/dev/full", size=10, period="hourly")
    for _ in range(3):
        with pytest.raises(OSError, match="No space left"):
            file.write("a line that is long\n", MONDAY)
    file.close()
    assert Path("/dev/full").is_char_device()
