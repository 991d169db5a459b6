"""
Reads what the kernel tells in files: below C{/proc}, and of the control groups that the process is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def text(path: Path) -> str:
    """
    The content of a file; C{""} where it can't be read.
    """
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""


def number(written: str) -> int:
    """
    A number that is not negative; 0 for anything else, such as C{"max"}.
    """
    return int(written) if written.isascii() and written.isdigit() else 0


def groupFolders(root: Path, controller: str = "") -> Iterator[Path]:
    """
    The folders of all control groups that the process is in, the outermost first.

    @param root: where the file systems of the kernel are.
    @param controller: C{""} for groups of version 2, or the name of a controller of version 1, such as C{"memory"}.
    """
    for line in text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if controller not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / controller
        parts = [part for part in path.split("/") if part and part != ".."]
        # In a container the path may be that of the machine, where nothing is; its own group is at the top.
        for count in range(len(parts) + 1):
            yield base.joinpath(*parts[:count])
