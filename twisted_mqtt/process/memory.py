"""
How much memory the process has, and how much it may have: what the control groups that it is in allow, or the machine.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from twisted_mqtt.process.kernel import groupFolders, number, text

if TYPE_CHECKING:
    from collections.abc import Iterator

# Version 1 of control groups writes about the largest number for "no limit"; nothing has so much memory.
_UNLIMITED: Final = 1 << 60


def residentBytes() -> int:
    """
    The memory of the process at present; 0 where the system does not say.
    """
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def allowedBytes(root: Path = Path("/")) -> int:
    """
    The memory that the process may have; 0 where the system does not say.

    @param root: where the file systems of the kernel are.
    """
    found = [size for size in (*_groupLimits(root), _machine(root)) if 0 < size < _UNLIMITED]
    return min(found, default=0)


def giveBack() -> None:
    """
    Give the system what the C library has free. May take a while: call it in a thread.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        # Another C library than that of GNU.
        pass


def _machine(root: Path) -> int:
    for line in text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return number(line.split()[1]) * 1024
    return 0


def _groupLimits(root: Path) -> Iterator[int]:
    """
    The limits of all control groups that the process is in: of each, and of those that it is in.
    """
    for folder in groupFolders(root):
        yield number(text(folder / "memory.max").strip())
    for folder in groupFolders(root, "memory"):
        yield number(text(folder / "memory.limit_in_bytes").strip())
