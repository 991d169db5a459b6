"""
The frames of SockJS: how its text encodes messages. No I/O.
"""

from __future__ import annotations

import json
from typing import Final

OPEN: Final = b"o"
HEARTBEAT: Final = b"h"

GO_AWAY: Final = (3000, "Go away!")
"""
Why a session has ended, in most cases: code and reason.
"""

# U+2028 and such are no part of JSON that JavaScript of old takes, and some servers between eat control characters:
# whatever is not ASCII is escaped.
_encode: Final = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


class BrokenMessages(Exception):
    """
    The client's data are not a list of strings.
    """


def messageFrame(messages: list[bytes]) -> bytes:
    """
    A frame of messages. Strings are all that SockJS has: bytes that are no UTF-8 are replaced by question marks in
    diamonds.
    """
    return b"a" + _encode([message.decode("utf-8", "replace") for message in messages]).encode("ascii")


def closeFrame(code: int, reason: str) -> bytes:
    """
    The frame that says that a session is over.
    """
    return b"c" + _encode([code, reason]).encode("ascii")


def messagesOf(payload: bytes) -> list[bytes]:
    """
    Read a client's data: a list of strings, or one string over WebSocket.

    @raise BrokenMessages: it is neither.
    """
    if not payload:
        return []
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        raise BrokenMessages from None
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(message, str) for message in value):
        raise BrokenMessages
    try:
        return [message.encode("utf-8") for message in value]
    except UnicodeEncodeError:
        # Half a character of two.
        raise BrokenMessages from None
