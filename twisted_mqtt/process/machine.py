"""
How busy the machine is, as far as the process may use it: processors, memory, open files, room on a disk.

Where a control group limits the process, as in a container, what it allows counts, and not the machine around it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from twisted_mqtt.process.kernel import groupFolders, number, text
from twisted_mqtt.process.memory import residentBytes

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    import resource
except ImportError:
    # On systems without such limits.
    HAVE_LIMITS = False
else:
    HAVE_LIMITS = True

# Version 1 of control groups writes about the largest number for "no limit"; nothing has so much memory.
_UNLIMITED: Final = 1 << 60


class Use(NamedTuple):
    """
    How much of something is in use.

    @ivar used: how much.
    @ivar total: of how much.
    """

    used: int
    total: int

    @property
    def share(self) -> float:
        """
        The part in use, from 0 to 1.
        """
        return self.used / self.total if self.total else 0.0


class Machine:
    """
    Reads the figures of the system. What the system does not tell is L{None}. Reading C{/proc} does not wait, but
    L{disk} may, for as long as the disk is away: call it in a thread.
    """

    def __init__(self, root: Path = Path("/"), monotonic: Callable[[], float] = time.monotonic) -> None:
        """
        @param root: where the file systems of the kernel are.
        @param monotonic: the time, in seconds.
        """
        self._root = root
        self._monotonic = monotonic
        # By what was measured: the time used, and the time that there was, at the last look.
        self._before: dict[str, tuple[float, float]] = {}

    def processors(self) -> float | None:
        """
        The part of the time that processors have worked since the last call, from 0 to 1: of the time that control
        groups allow, where they limit it, or else of all processors. L{None} at the first call.
        """
        shares = [share for folder in groupFolders(self._root) if (share := self._groupShare(folder)) is not None]
        if shares:
            return max(shares)
        return self._machineShare()

    def memory(self) -> Use | None:
        """
        The memory in use: of the control group that has least left, or of the machine. What the kernel can take back
        at once, such as pages of files, is not in use.
        """
        found = [use for use in (*self._groupMemory(), self._machineMemory()) if use is not None]
        return max(found, key=lambda use: use.share, default=None)

    def process(self) -> Use | None:
        """
        The memory of this process, and how much it may have.
        """
        memory = self.memory()
        used = residentBytes()
        return None if memory is None or not used else Use(used, memory.total)

    def files(self) -> Use | None:
        """
        The files and sockets that this process has open, and how many it may have.
        """
        if not HAVE_LIMITS:
            return None
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if most == resource.RLIM_INFINITY:
            return None
        folder = self._root / "proc/self/fd"
        try:
            # Linux since 6.2 says how many there are; to count a hundred thousand takes a while.
            return Use(os.stat(folder).st_size or len(os.listdir(folder)), most)
        except OSError:
            return None

    def disk(self, folder: str) -> Use | None:
        """
        The bytes in use on the file system of a folder, or of the nearest folder above it that is there; or its files,
        where fewer of these are left. May wait for the disk.

        @raise OSError: the disk does not say.
        """
        path = Path(folder).absolute()
        while not path.exists() and path != path.parent:
            path = path.parent
        found = os.statvfs(path)
        # What only the superuser may use is not ours.
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        room = Use(used, used + found.f_bavail * found.f_frsize)
        names = Use(found.f_files - found.f_ffree, found.f_files - found.f_ffree + found.f_favail)
        fuller = max((room, names), key=lambda use: use.share)
        return fuller if fuller.total else None

    def _groupShare(self, folder: Path) -> float | None:
        """
        See L{processors}; L{None} where the group has no limit.
        """
        quota, period = (text(folder / "cpu.max").split() + ["", ""])[:2]
        if not number(quota) or not number(period):
            return None
        used = _field(text(folder / "cpu.stat"), "usage_usec") / 1e6
        # The limit is in the name: once it is changed, a measurement begins anew.
        key = f"{folder} {quota}/{period}"
        return self._since(key, used, self._monotonic() * number(quota) / number(period))

    def _machineShare(self) -> float | None:
        words = text(self._root / "proc/stat").partition("\n")[0].split()
        if not words or words[0] != "cpu":
            return None
        # user, nice, system, idle, iowait, irq, softirq, steal (proc(5)); guests are in user already.
        times = [number(word) for word in words[1:9]]
        total = sum(times)
        return self._since("machine", total - sum(times[3:5]), total)

    def _since(self, key: str, used: float, available: float) -> float | None:
        before = self._before.get(key)
        if len(self._before) > 100:
            self._before.clear()
        self._before[key] = (used, available)
        if before is None or available <= before[1]:
            return None
        return min(1.0, max(0.0, (used - before[0]) / (available - before[1])))

    def _groupMemory(self) -> Iterator[Use]:
        for version, most, now, free in (
            ("", "memory.max", "memory.current", "inactive_file"),
            ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            for folder in groupFolders(self._root, version):
                total = number(text(folder / most).strip())
                used = number(text(folder / now).strip())
                if 0 < total < _UNLIMITED and used:
                    yield Use(max(0, used - _field(text(folder / "memory.stat"), free)), total)

    def _machineMemory(self) -> Use | None:
        lines = text(self._root / "proc/meminfo")
        total, available = (_field(lines, name) * 1024 for name in ("MemTotal:", "MemAvailable:"))
        return Use(total - available, total) if total else None


def _field(lines: str, name: str) -> int:
    """
    The number beside a name, in lines of such; 0 where it is not there.
    """
    for line in lines.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name:
            return number(words[1])
    return 0
