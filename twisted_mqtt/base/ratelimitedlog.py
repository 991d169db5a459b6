"""
Log lines that remote peers can cause: at most one a second, so that they cannot fill the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger

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

    def __init__(self, seconds: Callable[[], float]) -> None:
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
        now = self._seconds()
        if now < self._quietUntil:
            self._left += 1
            return
        self._quietUntil = now + INTERVAL
        left, self._left = self._left, 0
        if left:
            form += " ({left} more like it before)"
        _log.info(form, left=left, **values)


def peerName(address: object) -> str:
    """
    An address as people write it.
    """
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return str(address) if host is None else f"{host}:{port}"
