"""
The memory that a process has and may have.
"""

from pathlib import Path

from twisted_mqtt.process.memory import allowedBytes, giveBack, residentBytes


def write(root: Path, **files: str) -> Path:
    """
    Files of the kernel, by their paths with C{__} for the slash.
    """
    for name, content in files.items():
        path = root.joinpath(*name.split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def group(root: Path, path: str, name: str, content: str) -> None:
    """
    A file of a control group.
    """
    folder = root / "sys" / "fs" / "cgroup" / path
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)


MACHINE = "MemTotal:        2048 kB\nMemFree:         1024 kB\n"


def test_machine(tmp_path: Path) -> None:
    """
    Without a control group it is the memory of the machine.
    """
    assert allowedBytes(write(tmp_path, proc__meminfo=MACHINE)) == 2048 * 1024


def test_group(tmp_path: Path) -> None:
    """
    The least of the limits of the group and those that it is in.
    """
    root = write(tmp_path, proc__meminfo=MACHINE, proc__self__cgroup="0::/system.slice/broker.service\n")
    group(root, "system.slice", "memory.max", "500000\n")
    group(root, "system.slice/broker.service", "memory.max", "max\n")
    assert allowedBytes(root) == 500_000
    group(root, "system.slice/broker.service", "memory.max", "400000\n")
    assert allowedBytes(root) == 400_000


def test_container(tmp_path: Path) -> None:
    """
    In a container its own group is at the top, whatever it is called outside.
    """
    root = write(tmp_path, proc__meminfo=MACHINE, proc__self__cgroup="0::/docker/abc\n")
    group(root, "", "memory.max", "300000\n")
    assert allowedBytes(root) == 300_000


def test_versionOne(tmp_path: Path) -> None:
    """
    Version 1 has a tree for memory; a number that is no limit is none.
    """
    root = write(tmp_path, proc__meminfo=MACHINE, proc__self__cgroup="5:cpu,cpuacct:/a\n4:memory:/a\n")
    group(root, "memory", "memory.limit_in_bytes", "9223372036854771712\n")
    group(root, "memory/a", "memory.limit_in_bytes", "200000\n")
    assert allowedBytes(root) == 200_000


def test_unknown(tmp_path: Path) -> None:
    """
    On a system that says nothing it is 0.
    """
    assert allowedBytes(tmp_path) == 0


def test_ofThisProcess() -> None:
    """
    This process has some memory, and less than it may have.
    """
    giveBack()
    assert 0 < residentBytes() < allowedBytes()
