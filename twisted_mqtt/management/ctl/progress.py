"""
Says on the terminal that something takes long.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from types import TracebackType

#: Seconds after which it is said, and between two times.
_AFTER: Final = 1.0
_UNITS: Final = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))


class Progress:
    """
    A line on the standard error output, if that is a terminal, while something takes longer than a second::

        with Progress("mqttbroker-ctl") as progress:
            for piece in pieces:
                progress.got(len(piece))

    It is gone in the end.
    """

    def __init__(self, name: str, out: TextIO | None = None) -> None:
        """
        @param name: what the line begins with.
        @param out: the standard error output by default.
        """
        self._name = name
        self._out = sys.stderr if out is None else out
        self._size = 0
        self._shown = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if self._out is not None and self._out.isatty():
            self._thread = threading.Thread(target=self._tell, args=(time.monotonic(),), daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def got(self, size: int) -> None:
        """
        So many more bytes have come.
        """
        self._size += size

    def end(self) -> None:
        """
        Take the line away; nothing more is told.
        """
        self._ended.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
            if self._shown:
                self._write("\r\x1b[K")

    def _tell(self, began: float) -> None:
        while not self._ended.wait(_AFTER):
            self._shown = True
            self._write(f"\r\x1b[K{self._name}: {self._text(round(time.monotonic() - began))}")

    def _text(self, seconds: int) -> str:
        if not self._size:
            return f"waiting for the broker, {seconds} s"
        for unit, name in _UNITS:
            if self._size >= unit:
                return f"{self._size / unit:.1f} {name} so far, {seconds} s"
        return f"{self._size} bytes so far, {seconds} s"

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            # Nobody looks on any more.
            self._ended.set()
