"""
The processor time and memory of a process and its children, as the kernel accounts them.
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
    The processor time of a process and its children, in user and kernel mode.
    """
    total = 0
    for member in family(pid):
        # The scheduler's own count is in nanoseconds; that of the process in ticks, too coarse for a short run.
        for task in (_PROC / str(member) / "task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[0])
            except OSError:
                continue  # the thread ended since it was listed
    return total / 1e9


def machineSeconds() -> tuple[float, float]:
    """
    The processor time of the whole machine since it started.

    @return: that of processes, with what the hypervisor took; and that of interrupts, which is nobody's: the kernel's
        work for the loopback interface is in it.
    """
    line = (_PROC / "stat").read_text().split("\n", 1)[0]
    user, nice, system, _, _, irq, softirq, steal = (int(field) for field in line.split()[1:9])
    return (user + nice + system + steal) * _TICK, (irq + softirq) * _TICK


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
