"""
What a process and its children use, as the kernel accounts it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_PROC: Final = Path("/proc")


def family(pid: int) -> list[int]:
    """
    A process and all below it.
    """
    found = [pid]
    for parent in found:
        for task in (_PROC / str(parent) / "task").glob("*/children"):
            try:
                found.extend(int(child) for child in task.read_text().split())
            except OSError:
                continue  # the thread ended since it was listed
    return found


def cpuSeconds(pid: int) -> float:
    """
    The processor time of a process and its children, in user and kernel mode, to the hundredth of a second.
    """
    total = 0
    for member in family(pid):
        try:
            # The command's name is in brackets and may hold anything, blanks too.
            fields = (_PROC / str(member) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended since it was listed
        total += int(fields[11]) + int(fields[12])
    return total * _TICK


def residentBytes(pid: int) -> int:
    """
    The memory a process and its children hold, pages shared between them counted once each.
    """
    total = 0
    for member in family(pid):
        try:
            rollup = (_PROC / str(member) / "smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total * 1024


def machine() -> dict[str, str]:
    """
    The processor, memory and kernel, for the report.
    """
    model = "unknown"
    for line in (_PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = int((_PROC / "meminfo").read_text().split()[1])
    kernel = os.uname()
    return {
        "processor": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 1024 / 1024:.0f} GiB",
        "kernel": f"{kernel.sysname} {kernel.release} {kernel.machine}",
    }
