"""
The destinations of log messages, from the table C{[log]}: console, a file, extra files for higher levels.

Writing may block: a full disk, a terminal that nobody reads. Therefore a thread writes; if it can't keep up, lines are
left out and counted.
"""

from __future__ import annotations

import os
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.logger import ILogObserver, LogLevel, eventAsText
from zope.interface import implementer

from twisted_mqtt.base.printable import harmless
from twisted_mqtt.process.logfile import AppendedFile

if TYPE_CHECKING:
    from twisted.logger import LogEvent

    from twisted_mqtt.config.schema_node import Log

MOST_WAITING: Final = 10_000
"""
Lines that wait to be written.
"""

LONGEST: Final = 20_000
"""
Characters of a message that are written.
"""

SECONDS_TO_END: Final = 3.0
"""
How long the last lines may take.
"""

#: How our levels are called there, with the levels between ours counted to the next more important one.
LEVELS: Final[dict[str, Any]] = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "notice": LogLevel.warn,
    "warning": LogLevel.warn,
    "error": LogLevel.error,
    "critical": LogLevel.critical,
    "alert": LogLevel.critical,
    "emergency": LogLevel.critical,
}

_CACHE: Final = "Unable to write to plugin cache"

_RANKS: Final[dict[Any, int]] = {level: rank for rank, level in enumerate(LogLevel.iterconstants())}


class LogStream(Protocol):
    """
    The part of a text file needed here.
    """

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


class Target:
    """
    One destination.

    @ivar sink: where it leads.
    @ivar rank: of the least important level that goes there.
    """

    __slots__ = ("rank", "sink")

    def __init__(self, sink: LogStream, level: str) -> None:
        self.sink = sink
        self.rank = _RANKS[LEVELS[level]]

    def write(self, text: str) -> None:
        """
        Write; may block.
        """
        try:
            try:
                self.sink.write(text)
            except UnicodeEncodeError:
                # A console of another encoding, or half a character: a line with escapes is better than none.
                encoding = getattr(self.sink, "encoding", None) or "utf-8"
                self.sink.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self.sink.flush()
        except (OSError, ValueError, AttributeError):
            # The disk is full, or the file was closed meanwhile, after which there is none. There is nobody to tell:
            # this is where one would say it.
            pass


@implementer(ILogObserver)
class BrokerLog:
    """
    A log observer that goes by the settings, and by other ones when they change.

    @ivar left: how many lines were left out because writing could not keep up.
    """

    def __init__(self, settings: Log, console: LogStream | None = None) -> None:
        """
        @param console: the console; without one, standard output as it is now.

        @raise OSError: a file can't be opened.
        """
        self._console: LogStream = sys.stdout if console is None else console
        self._targets: list[Target] = []
        self._files: dict[str, AppendedFile] = {}
        self._least = 0
        # A signal handler logs too, and may come while another line is put here: a queue with a lock would wait for
        # itself then, for ever. This one allows it.
        self._waiting: SimpleQueue[tuple[Target, str] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._stuck = False
        # Those that can't be written and have been told of: one for each folder with plugins.
        self._caches: set[object] = set()
        self.left = 0
        self.configure(settings)

    def configure(self, settings: Log) -> None:
        """
        Go by these settings from now on.

        @raise OSError: a file can't be opened; the settings before hold on.
        """
        files: dict[str, AppendedFile] = {}
        targets: list[Target] = []

        def add(name: str, level: str) -> None:
            path = os.path.abspath(os.path.join(settings.dir, name))
            if path not in files:
                files[path] = self._fileAt(path, settings)
            targets.append(Target(files[path], level))

        if settings.to in ("console", "both"):
            targets.append(Target(self._console, settings.level))
        if settings.to in ("file", "both"):
            add(settings.file, settings.level)
        for level in LEVELS:
            extra: str = getattr(settings, level).file
            if extra:
                add(extra, level)
        for path, file in self._files.items():
            # A line that waits for it yet is written to nowhere: a file that is not wanted any more can spare it.
            if files.get(path) is not file:
                file.close()
        self._files = files
        self._targets = targets
        self._least = min((target.rank for target in targets), default=len(_RANKS))

    def _fileAt(self, path: str, settings: Log) -> AppendedFile:
        """
        The file of a path: the one that is open, unless somebody has moved that away.
        """
        rotation = settings.rotation
        known = self._files.get(path)
        if known is not None and _isThere(known, path):
            known.rotateLength = rotation.size or None
            known.maxRotatedFiles = rotation.count
            return known
        os.makedirs(os.path.dirname(path), exist_ok=True)
        folder, name = os.path.split(path)
        return AppendedFile(name, folder, rotation.size or None, rotation.count)

    def __call__(self, event: LogEvent) -> None:
        """
        See C{ILogObserver}.
        """
        rank = _RANKS.get(event.get("log_level"), _RANKS[LogLevel.info])
        if str(event.get("format", "")).startswith(_CACHE):
            # Twisted says so at each look for plugins. It costs a little time, and nobody has to do anything.
            rank = _RANKS[LogLevel.debug] if event.get("path") not in self._caches else -1
            self._caches.add(event.get("path"))
        if rank < self._least:
            return
        text = eventAsText(event)
        if not text:
            return
        if len(text) > LONGEST:
            text = f"{text[:LONGEST]}... ({len(text) - LONGEST} characters more)"
        # Nobody's name may look like a line of ours, or steer the terminal of whoever reads this.
        text = harmless(text).replace("\n", "\n\t") + "\n"
        for target in self._targets:
            if rank >= target.rank:
                if self._thread is not None:
                    self._put(target, text)
                elif not self._stuck:
                    target.write(text)

    def wants(self, level: str) -> bool:
        """
        Whether messages of one of our levels go anywhere.
        """
        return _RANKS[LEVELS[level]] >= self._least

    def start(self) -> None:
        """
        Leave writing to a thread from now on. Not before the process is what it will be: a thread does not survive
        becoming a daemon.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="log", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """
        Write what waits, and write the rest without a thread.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._waiting.put(None)
        thread.join(SECONDS_TO_END)
        # If the thread still hangs, its destination takes nothing: writing to it here would hang too.
        self._stuck = thread.is_alive()

    def close(self) -> None:
        """
        Close the files; nothing is written from now on.
        """
        self.stop()
        self._targets = []
        self._least = len(_RANKS)
        for file in self._files.values():
            file.close()
        self._files = {}

    def _put(self, target: Target, text: str) -> None:
        if self._waiting.qsize() < MOST_WAITING:
            self._waiting.put((target, text))
        else:
            self.left += 1

    def _work(self) -> None:
        told = 0
        while True:
            waiting = self._waiting.get()
            if waiting is None:
                return
            target, text = waiting
            target.write(text)
            left = self.left
            if left != told:
                target.write(f"{left - told} lines were left out: they came faster than they could be written\n")
                told = left


def _isThere(file: AppendedFile, path: str) -> bool:
    """
    Whether a path leads to the file that is open.
    """
    try:
        return os.path.samestat(os.stat(path), os.fstat(file._file.fileno()))
    except OSError:
        return False
