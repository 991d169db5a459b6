"""
Sources of pre-shared keys for TLS and DTLS listeners: an extension adds a function that looks keys up.

OpenSSL wants a key in the middle of a handshake and can't wait for it. Sources that answer at once serve all listeners.
Sources that may have to wait, such as a database, serve only DTLS, which can hold back the one message with the
identity.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_mqtt.base.waiting import Maybe, then

_log = Logger()

Find: TypeAlias = Callable[[bytes], Maybe[bytes | None] | Coroutine[Any, Any, bytes | None]]
"""
Returns the key of an identity, or L{None}. If it was added as one that may wait, it may as well return a Deferred or a
coroutine of that.
"""


class PreSharedKeys:
    """
    All pre-shared keys of a broker.
    """

    def __init__(self) -> None:
        self._sources: list[Find] = []
        self._waiting: list[Find] = []

    def __bool__(self) -> bool:
        """
        Whether anybody has keys.
        """
        return bool(self._sources or self._waiting)

    @property
    def mayWait(self) -> bool:
        """
        Whether there are sources that L{find} does not ask.
        """
        return bool(self._waiting)

    def add(self, find: Find, mayWait: bool = False) -> None:
        """
        Ask C{find} too, after those that were added before.

        @param mayWait: whether it may have to wait for its answer. Such sources are asked after all others.
        """
        (self._waiting if mayWait else self._sources).append(find)

    def remove(self, find: Find) -> None:
        """
        Ask C{find} no longer.
        """
        (self._waiting if find in self._waiting else self._sources).remove(find)

    def find(self, identity: bytes) -> bytes | None:
        """
        The key of an identity, as far as that can be said at once, or L{None}. It does not raise: OpenSSL could do
        nothing about it.
        """
        for source in self._sources:
            key = _ask(source, identity)
            if isinstance(key, bytes):
                return key
        return None

    def lookUp(self, identity: bytes) -> Maybe[bytes | None]:
        """
        The key of an identity, of all sources.

        @return: as L{find}, or a Deferred of it, which does not fail; cancelled, it fires with L{None} and asks nobody
            else.
        """
        key = self.find(identity)
        return self._lookUp(None, identity, list(self._waiting)) if key is None else key

    def _lookUp(self, key: bytes | None, identity: bytes, unasked: list[Find]) -> Maybe[bytes | None]:
        while key is None and unasked:
            answer = _ask(unasked.pop(0), identity)
            if isinstance(answer, Deferred):
                answer.addCallbacks(_checked, _ebAsked, errbackArgs=(unasked,))
                return then(answer, self._lookUp, identity, unasked)
            key = answer
        return key


def _ask(source: Find, identity: bytes) -> Maybe[bytes | None]:
    try:
        answer = source(identity)
        if isinstance(answer, Coroutine):
            answer = Deferred.fromCoroutine(answer)
    except Exception:
        _log.failure("Looking a pre-shared key up failed")
        return None
    return answer if isinstance(answer, Deferred) else _checked(answer)


def _ebAsked(failure: Failure, unasked: list[Find]) -> None:
    if failure.check(CancelledError) is None:
        _log.failure("Looking a pre-shared key up failed", failure)
    else:
        unasked.clear()


def _checked(key: object) -> bytes | None:
    """
    A key, if it is one.
    """
    if key is None or (isinstance(key, bytes) and key):
        return key
    _log.error("a source of pre-shared keys has answered with {what}", what=type(key).__name__)
    return None
