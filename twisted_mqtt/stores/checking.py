"""
Finds out whether a store could be opened, without making or changing any file.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final

from twisted_mqtt.stores.schemas import REPAIR, StoreError, checkOurs

LEAST_FREE: Final = 16 << 20
"""
Bytes that must be free on the disk of a store: below that, its log alone fills the disk within minutes.
"""


def storeProblems(path: Path) -> list[str]:
    """
    Everything for which a broker could not open this store, or could not keep anything in it.
    """
    problems = [text for text in (folderProblem(path.parent), _fullDisk(path.parent)) if text]
    if not path.exists():
        return problems
    if not os.access(path, os.R_OK | os.W_OK):
        return [*problems, f"the process may not read and write the store {path}"]
    if _isLocked(path):
        problems.append(
            f"the store {path} is in use by another process. If that is the broker which is to read this configuration"
            " again, check it with --check --running"
        )
    problems.extend(_contents(path))
    return problems


def folderProblem(folder: Path) -> str | None:
    """
    Say why no files can be made in a folder, which is made if it is not there.

    @return: L{None} where they can.
    """
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return f"{there} is not a folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"the process may not write to the folder {there}"
    return None


def _fullDisk(folder: Path) -> str | None:
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        found = os.statvfs(there)
    except OSError:
        return None
    free = found.f_bavail * found.f_frsize
    if free >= LEAST_FREE:
        return None
    return f"the disk of {there} is full: {free / (1 << 20):.1f} MB are free, and the store needs {LEAST_FREE >> 20} MB"


def _isLocked(path: Path) -> bool:
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _contents(path: Path) -> list[str]:
    """
    Look at the file without its log: with the log, SQLite would make a file beside it, of the user who asks.
    """
    if not path.stat().st_size:
        return []
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            checkOurs(connection, path)
        finally:
            connection.close()
    except StoreError as error:
        return [str(error)]
    except sqlite3.DatabaseError as error:
        return [f"the store {path} is damaged ({error}); {REPAIR}"]
    return []
