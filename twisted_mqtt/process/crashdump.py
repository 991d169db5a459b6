"""
Writes the stacks of all threads after a fatal fault, when the process ends without a traceback.
"""

from __future__ import annotations

import faulthandler
from pathlib import Path
from typing import TextIO

from twisted.logger import Logger

_log = Logger()


class CrashDump:
    """
    Has Python write to a file when the process dies of SIGSEGV, SIGFPE, SIGABRT, SIGBUS or SIGILL.

    @ivar file: the open file; L{None} while nothing is to be written.
    """

    def __init__(self) -> None:
        self.file: TextIO | None = None

    def start(self, path: str) -> None:
        """
        Write to a file from now on, after what is there. Where it can't be opened, that is logged, and nothing else
        changes.
        """
        self.stop()
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            # Open until the end: there is no time for it when it is wanted.
            self.file = open(path, "a", encoding="utf-8")
        except OSError as error:
            _log.error("node.crash_dump: {path} can't be opened: {reason}", path=path, reason=error.strerror)
            return
        faulthandler.enable(self.file, all_threads=True)

    def stop(self) -> None:
        """
        Write no more.
        """
        if self.file is not None:
            faulthandler.disable()
            self.file.close()
            self.file = None
