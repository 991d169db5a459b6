"""
Where the reactor's thread is, looked at from another thread again and again.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from types import FrameType
from typing import Final

#: Frames of a stack that are told, the innermost first.
MOST_FRAMES: Final = 30
#: So many different stacks are told apart.
_MOST_STACKS: Final = 10_000


def sampled(thread: int, seconds: float, interval: float) -> tuple[int, Counter[tuple[str, ...]]]:
    """
    Look at a thread. It blocks: call it in a thread of its own.

    @param thread: its identifier.

    @return: how often it was looked at, and how often each stack was seen. Compiled functions have no frames: they are
        part of who has called them.
    """
    stacks: Counter[tuple[str, ...]] = Counter()
    count = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        frame = sys._current_frames().get(thread)
        stack = _stackOf(frame)
        del frame
        if stack in stacks or len(stacks) < _MOST_STACKS:
            stacks[stack] += 1
        count += 1
        time.sleep(interval)
    return count, stacks


def _stackOf(frame: FrameType | None) -> tuple[str, ...]:
    found: list[str] = []
    while frame is not None and len(found) < MOST_FRAMES:
        code = frame.f_code
        found.append(f"{frame.f_globals.get('__name__', '?')}.{code.co_qualname}:{frame.f_lineno}")
        frame = frame.f_back
    return tuple(found)


def threadNames() -> dict[int, str]:
    """
    The threads of the process, by identifier.
    """
    return {thread.ident: thread.name for thread in threading.enumerate() if thread.ident is not None}


def placesNow() -> list[tuple[str, str]]:
    """
    The name of each thread, and where it is.
    """
    names = threadNames()
    return [
        (names.get(ident, str(ident)), (_stackOf(frame) or ("?",))[0]) for ident, frame in sys._current_frames().items()
    ]
