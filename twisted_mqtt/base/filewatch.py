"""
Files that may be replaced while the broker runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

if TYPE_CHECKING:
    from twisted_mqtt.base.timerwheel import TimerWheel

_log = Logger()

INTERVAL: Final = 2.0
"""
Seconds between two looks. Asking for the state of a few files costs less than keeping the kernel to tell of changes.
"""

_State = tuple[tuple[int, ...], ...]


class FileWatch:
    """
    Tells when one of some files has changed, and not before two looks in a row have seen the same: a certificate and
    its key are written one after the other.
    """

    __slots__ = ("_changed", "_known", "_last", "_paths", "_running", "_seconds", "_wheel", "bucket")

    def __init__(
        self,
        wheel: TimerWheel,
        seconds: Callable[[], float],
        paths: Iterable[str],
        changed: Callable[[], object],
    ) -> None:
        """
        @param seconds: the time of the wheel.
        """
        self.bucket = 0
        self._running = False
        self._wheel = wheel
        self._seconds = seconds
        self._paths = tuple(paths)
        self._changed = changed
        # The state of the files when they were last read, and at the last look.
        self._known = self._look()
        self._last = self._known

    def start(self) -> None:
        """
        Begin to look.
        """
        self._running = True
        self._wheel.add(self, self._seconds() + INTERVAL)

    def stop(self) -> None:
        """
        Look no more.
        """
        self._running = False
        self._wheel.remove(self)

    def due(self, now: float) -> float:
        """
        See L{twisted_mqtt.base.timerwheel.Timed}.
        """
        state = self._look()
        if state != self._known and state == self._last:
            self._known = state
            try:
                self._changed()
            except Exception:
                _log.failure("Reading files again failed")
        self._last = state
        return now + INTERVAL if self._running else 0.0

    def _look(self) -> _State:
        return tuple(_stateOf(path) for path in self._paths)


def _stateOf(path: str) -> tuple[int, ...]:
    """
    Get a value that changes with the file, also when it is removed.
    """
    try:
        state = os.stat(path)
    except OSError:
        return ()
    return state.st_ino, state.st_size, state.st_mtime_ns
