"""
Room on the disk that is kept for a full disk: a file that holds nothing.

What is acknowledged frees room in a store, but noting the acknowledgement takes some room first. So where the disk is
full, this file goes, and what is left of its room belongs to the store until there is enough again.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

#: A reserve takes at most one part in so many of the file system.
SHARE: Final = 8
# Less than this is not worth a file.
_LEAST: Final = 32 << 10
# The errors of SQLite when there is no room: for a file of the store, or for the index of its log.
_FULL: Final = 13
_NO_INDEX: Final = 4874


class Reserve:
    """
    The file and its size.

    @ivar size: how many bytes are wanted; 0 where there is to be no reserve.
    @ivar held: how many there are.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.held = 0

    @property
    def isWhole(self) -> bool:
        """
        Whether it has all that it is to have.
        """
        return self.held >= self.size

    def adopt(self) -> None:
        """
        Take over the file that a former process has left, and find out what this file system can spare. Does not raise.
        """
        if not self.size:
            return
        try:
            found = os.statvfs(self.path.parent)
            self.size = min(self.size, found.f_blocks * found.f_frsize // SHARE)
            self.held = min(self.path.stat().st_size, self.size)
        except OSError:
            self.held = 0

    def take(self) -> None:
        """
        Take what is missing, or as much of it as the disk has. Does not raise.
        """
        step = self.size - self.held
        if step <= 0:
            return
        held = self.held
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            while step >= _LEAST and held < self.size:
                try:
                    os.posix_fallocate(descriptor, held, min(step, self.size - held))
                except OSError as error:
                    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                        self.size = 0  # not on this file system
                        break
                    step //= 2
                else:
                    held += min(step, self.size - held)
            os.ftruncate(descriptor, held)
        except OSError:
            held = 0
        finally:
            os.close(descriptor)
        self.held = held
        if not held:
            self.release()

    def release(self) -> bool:
        """
        Give it back; returns whether there was any. Does not raise.
        """
        held, self.held = self.held, 0
        try:
            self.path.unlink(missing_ok=True)
        except OSError:
            return False
        return held > 0


def isFull(error: BaseException) -> bool:
    """
    Whether an error of SQLite says that the disk is full.
    """
    # Errors of the module itself, as of a connection that is closed, have no code.
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) in (_FULL, _NO_INDEX)
