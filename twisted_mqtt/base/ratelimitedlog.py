"""
Log lines that remote peers can cause: at most one a second, so that they cannot fill the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from twisted.logger import Logger
from twisted.python.failure import Failure

_log = Logger()

INTERVAL: Final = 1.0
"""
Seconds in which one line is written.
"""


class RateLimitedLog:
    """
    Writes the first line of each second, and how many were left out before.
    """

    __slots__ = ("_left", "_quietUntil", "_seconds")

    def __init__(self, seconds: Callable[[], float] = monotonic) -> None:
        """
        @param seconds: the time.
        """
        self._seconds = seconds
        self._quietUntil = 0.0
        self._left = 0

    def info(self, form: str, **values: Any) -> None:
        """
        Log something, or leave it out.
        """
        form, left = self._admit(form)
        if form:
            _log.info(form, left=left, **values)

    def warn(self, form: str, **values: Any) -> None:
        """
        The same for what an operator should see.
        """
        form, left = self._admit(form)
        if form:
            _log.warn(form, left=left, **values)

    def failure(self, form: str, failure: Failure | None = None, **values: Any) -> None:
        """
        The same for a fault of ours, with its traceback: what a stranger has found may be sent again and again.

        @param failure: L{None} for the exception that is being handled.
        """
        form, left = self._admit(form)
        if form:
            _log.failure(form, failure, left=left, **values)

    def _admit(self, form: str) -> tuple[str, int]:
        """
        @return: the format, empty where nothing is to be logged, and how many lines were left out before.
        """
        now = self._seconds()
        # A clock that was set back must not silence anything for long.
        if now < self._quietUntil <= now + INTERVAL:
            self._left += 1
            return "", 0
        self._quietUntil = now + INTERVAL
        left, self._left = self._left, 0
        return (form + " ({left} more like it before)" if left else form), left


def peerName(address: object) -> str:
    """
    An address as people write it.
    """
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return str(address) if host is None else f"{host}:{port}"
