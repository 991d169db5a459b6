"""
A log file that others may cut off, move away or read while it is written.
"""

from __future__ import annotations

import os

from twisted.python.logfile import LogFile


class AppendedFile(LogFile):
    """
    A rotated file in which every line goes to the present end. Twisted's own goes on where it was: once logrotate has
    copied and truncated that (C{copytruncate}), it begins with as many NUL bytes as it had before.
    """

    def __init__(self, name: str, folder: str, most: int | None = None, count: int | None = None) -> None:
        """
        @param most: bytes after which the file is put aside; L{None} for any number.
        @param count: how many such files are kept.
        """
        LogFile.__init__(self, name, folder, most, maxRotatedFiles=count)

    def close(self) -> None:
        """
        Close it for good.
        """
        LogFile.close(self)

    def _openFile(self) -> None:
        self.closed = False
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._file = open(descriptor, "ab", 0)
        self.size = os.fstat(descriptor).st_size

    def shouldRotate(self) -> bool:
        """
        See L{LogFile}: by the file as it is now.
        """
        if not self.rotateLength:
            return False
        self.size = os.fstat(self._file.fileno()).st_size
        return bool(self.size >= self.rotateLength)
