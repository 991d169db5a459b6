"""
How busy the machine is.
"""

import os
from pathlib import Path

import pytest

from tests.process.test_memory import group, write
from twisted_mqtt.process.machine import Machine, Use


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


def test_processors(tmp_path: Path) -> None:
    """
    The load is the mean since the look before; what waits for a disk is no load.
    """
    machine = Machine(write(tmp_path, proc__stat="cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1\n"))
    assert machine.processors() is None
    write(tmp_path, proc__stat="cpu  150 10 110 710 110 5 5 0 50 0\n")
    assert machine.processors() == pytest.approx(0.8)
    # Nothing has passed: nothing is known.
    assert machine.processors() is None


def test_processorsOfAGroup(tmp_path: Path) -> None:
    """
    In a container the load is that of the time which its group allows, the narrowest of all that limit it.
    """
    time = Time()
    root = write(tmp_path, proc__stat="cpu 0 0 0 0 0 0 0 0\n", proc__self__cgroup="0::/a/b\n")
    group(root, "a", "cpu.max", "200000 100000\n")
    group(root, "a", "cpu.stat", "usage_usec 1000000\nuser_usec 1\n")
    group(root, "a/b", "cpu.max", "50000 100000\n")
    group(root, "a/b", "cpu.stat", "usage_usec 1000000\n")
    machine = Machine(root, time)
    assert machine.processors() is None
    time.now += 10
    group(root, "a", "cpu.stat", "usage_usec 5000000\n")
    group(root, "a/b", "cpu.stat", "usage_usec 5000000\n")
    assert machine.processors() == pytest.approx(0.8)
    # Another limit: what was measured before says nothing.
    group(root, "a/b", "cpu.max", "100000 100000\n")
    time.now += 10
    group(root, "a", "cpu.stat", "usage_usec 7000000\n")
    assert machine.processors() == pytest.approx(0.1)


def test_noLimit(tmp_path: Path) -> None:
    """
    A group without a limit leaves the machine as the measure.
    """
    root = write(tmp_path, proc__stat="cpu 0 0 0 0 0 0 0 0\n", proc__self__cgroup="0::/\n")
    group(root, "", "cpu.max", "max 100000\n")
    machine = Machine(root)
    machine.processors()
    write(tmp_path, proc__stat="cpu 5 0 0 5 0 0 0 0\n")
    assert machine.processors() == pytest.approx(0.5)


def test_nothing(tmp_path: Path) -> None:
    """
    A system that says nothing does no harm.
    """
    machine = Machine(tmp_path)
    assert (machine.processors(), machine.memory(), machine.process(), machine.files()) == (None, None, None, None)


@pytest.mark.parametrize("said", ["", "cpu\n", "cpu x y\n", "cpu 1\n", "\0" * 10])
def test_nonsense(tmp_path: Path, said: str) -> None:
    """
    Nor does one that says something else.
    """
    machine = Machine(write(tmp_path, proc__stat=said, proc__meminfo=said, proc__self__cgroup=said))
    for _ in range(2):
        assert machine.processors() is None
        assert machine.memory() is None


def test_memory(tmp_path: Path) -> None:
    """
    What is available is not in use. The group that has least left counts, without what the kernel can take back.
    """
    root = write(
        tmp_path,
        proc__meminfo="MemTotal:  1000 kB\nMemFree:  10 kB\nMemAvailable:  600 kB\n",
        proc__self__cgroup="0::/a\n",
    )
    machine = Machine(root)
    assert machine.memory() == Use(400 * 1024, 1000 * 1024)
    group(root, "a", "memory.max", "100000\n")
    group(root, "a", "memory.current", "90000\n")
    group(root, "a", "memory.stat", "anon 1\ninactive_file 10000\n")
    assert machine.memory() == Use(80000, 100000)
    process = machine.process()
    assert process is not None and process.total == 100000 and process.used > 1_000_000


def test_files() -> None:
    """
    A file more is one more.
    """
    machine = Machine()
    before = machine.files()
    reading, writing = os.pipe()
    try:
        after = machine.files()
    finally:
        os.close(reading)
        os.close(writing)
    assert before is not None and after is not None
    assert (after.used, after.total) == (before.used + 2, before.total)


def test_disk(tmp_path: Path) -> None:
    """
    The disk of a folder that is not there yet is that of the folder above it.
    """
    machine = Machine()
    use = machine.disk(str(tmp_path / "not" / "there"))
    found = machine.disk(str(tmp_path))
    assert use is not None and found is not None
    assert use.total == found.total > 0
    assert 0.0 <= use.share <= 1.0
