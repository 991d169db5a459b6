"""
A log file that others may cut off, move away, delete or read while it is written.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

#: When a file is put aside whatever its size; by the local time.
Period: TypeAlias = Literal["none", "hourly", "daily", "weekly"]

#: Seconds between looks whether the path still leads to the file.
_LOOK: Final = 1.0
#: Seconds until a file is to be put aside again, where that was not possible.
_AGAIN: Final = 60.0
_DAY: Final = 86400


class LogFile:
    """
    A file in which every line goes to the present end; put aside when it is large, or at the end of a period, as
    C{name.1}, C{name.2}, ... Where its folder or the file itself has vanished, both are made again.

    Its methods may block; one thread at a time calls them.

    @ivar path: where it is.
    @ivar size: bytes after which it is put aside; 0 for any number.
    @ivar count: how many such files are kept.
    @ivar period: likewise by time.
    """

    def __init__(
        self,
        path: str,
        size: int = 0,
        count: int = 5,
        period: Period = "none",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        @raise OSError: it can't be opened.
        """
        self.path = path
        self.size = size
        self.count = count
        self.period: Period = period
        self._monotonic = monotonic
        self._descriptor = -1
        self._length = 0
        # The number of the period in which it was written last; 0 where it is empty.
        self._written = 0
        # Whether the last line is incomplete.
        self._torn = False
        self._look = 0.0
        self._rotation = 0.0
        self._open()

    def write(self, text: str, when: float = 0.0) -> None:
        """
        Append something.

        @param when: its date, in seconds since the epoch, for C{period}.

        @raise OSError: not all of it could be written.
        """
        if self._descriptor < 0 or self._monotonic() >= self._look:
            self._lookAgain()
        # Half a character, of a name that is not in UTF-8, is better escaped than the line lost.
        data = text.encode("utf-8", "backslashreplace")
        number = _periodOf(when, self.period)
        if self._isDue(number):
            self._rotate()
        if self._torn:
            data = b"\n" + data
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        finally:
            self._length += len(data) - len(rest)
            if len(rest) < len(data):
                self._torn = bool(rest)
        self._written = max(self._written, number)

    def flush(self) -> None:
        """
        Nothing is held back.
        """

    def reopen(self) -> None:
        """
        Close the file and open what is at its path now.

        @raise OSError: that can't be opened; the file before is written on.
        """
        self._open()

    def isThere(self) -> bool:
        """
        Whether the path leads to the file that is open.
        """
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except OSError:
            return False

    def close(self) -> None:
        """
        Close it; writing opens it again.
        """
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _open(self) -> None:
        folder = os.path.dirname(self.path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        # To open a pipe that nobody reads would wait for a reader, for ever.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        opened = os.open(self.path, flags, 0o666)
        os.set_blocking(opened, True)
        self.close()
        self._descriptor = opened
        status = os.fstat(opened)
        self._length = status.st_size
        self._written = _periodOf(status.st_mtime, self.period) if self._length else 0
        self._torn = False
        self._look = self._monotonic() + _LOOK

    def _lookAgain(self) -> None:
        """
        See whether the file is still where it was, and how large: others may have cut it off.
        """
        self._look = self._monotonic() + _LOOK
        if self._descriptor < 0:
            self._open()
        elif not self.isThere():
            try:
                self._open()
            except OSError:
                # What was moved can be written on, and it is tried again. What was deleted nobody can ever read.
                if os.fstat(self._descriptor).st_nlink == 0:
                    self.close()
                    raise

    def _isDue(self, number: int) -> bool:
        if self.size:
            self._length = os.fstat(self._descriptor).st_size
            if self._length >= self.size:
                return True
        # Where somebody has set the clock back, it waits until the time has passed.
        return bool(self._written and self._length and number > self._written)

    def _rotate(self) -> None:
        """
        Put the file aside and begin another; where that is not possible, it is written on.
        """
        if self._monotonic() < self._rotation:
            return
        try:
            for number in range(self.count, 0, -1):
                before = f"{self.path}.{number - 1}" if number > 1 else self.path
                if os.path.lexists(before):
                    os.replace(before, f"{self.path}.{number}")
            self._open()
        except OSError:
            self._rotation = self._monotonic() + _AGAIN


def _periodOf(when: float, period: Period) -> int:
    """
    The number of the period of a date; 0 where there are none.
    """
    if period == "none" or not when:
        return 0
    local = int(when) + time.localtime(when).tm_gmtoff
    if period == "hourly":
        return local // 3600
    # The epoch was a Thursday.
    return local // _DAY if period == "daily" else (local // _DAY + 3) // 7
