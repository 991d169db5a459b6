"""
Where TLS and DTLS listeners find pre-shared keys: whoever has some adds a way to look them up.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

_log = Logger()

Find = Callable[[bytes], bytes | None]
"""
Returns the key of an identity, or L{None}. It is called in the middle of a handshake, so it can't wait.
"""


class PreSharedKeys:
    """
    All pre-shared keys of a broker.
    """

    def __init__(self) -> None:
        self._sources: list[Find] = []

    def __bool__(self) -> bool:
        """
        Whether anybody has keys.
        """
        return bool(self._sources)

    def add(self, find: Find) -> None:
        """
        Ask C{find} too, after those that were added before.
        """
        self._sources.append(find)

    def remove(self, find: Find) -> None:
        """
        Ask C{find} no longer.
        """
        self._sources.remove(find)

    def find(self, identity: bytes) -> bytes | None:
        """
        The key of an identity, or L{None}. It does not raise: OpenSSL could do nothing about it.
        """
        for source in self._sources:
            try:
                key = source(identity)
            except Exception:
                _log.failure("Looking a pre-shared key up failed")
                continue
            if key is not None:
                return key
        return None
