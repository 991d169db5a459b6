"""
How far a store is behind: for how long the oldest change waits that is not on disk.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from twisted_mqtt.core.journal import Progress

# So many looks are remembered. When there are more, every second one is forgotten, and the answer is less exact.
_MOST: Final = 1000


class StoreDelay:
    """
    Remembers how many changes there were, and when.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._seen: deque[tuple[int, float]] = deque()

    def look(self, now: float) -> float:
        """
        Look at the store; to be called regularly.

        @return: for how many seconds the oldest change waits at least, as far as was looked.
        """
        seen, progress = self._seen, self._progress
        while seen and seen[0][0] <= progress.stored:
            seen.popleft()
        if progress.sequence > (seen[-1][0] if seen else progress.stored):
            seen.append((progress.sequence, now))
            if len(seen) > _MOST:
                self._seen = seen = deque(list(seen)[::2])
        return now - seen[0][1] if seen else 0.0
