"""
How fast counters have grown in the last minutes, by the steady clock.
"""

from __future__ import annotations

from array import array
from collections import deque
from math import isnan, nan
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: The periods, in seconds: one minute, five and fifteen.
PERIODS: Final = (60.0, 300.0, 900.0)


class Rates:
    """
    Remembers what counters were in the last fifteen minutes.

    It takes eight bytes for each counter and snapshot, C{900 / step + 1} of them.
    """

    def __init__(
        self, read: Callable[[], Mapping[str, float]], seconds: Callable[[], float], step: float = 5.0
    ) -> None:
        """
        @param read: gives the present values of the counters, by name.
        @param seconds: tells the moment.
        @param step: seconds between two snapshots.
        """
        self._read = read
        self._seconds = seconds
        self._step = step
        # The place of each counter in the snapshots, which have a NaN there, or nothing, if it was not known then.
        self._places: dict[str, int] = {}
        self._free: list[int] = []
        self._snapshots: deque[tuple[float, array[float]]] = deque()

    def look(self) -> None:
        """
        Take a snapshot, if it is time for one: to be called about once a second.
        """
        now = self._seconds()
        snapshots = self._snapshots
        if snapshots and now - snapshots[-1][0] < self._step:
            return
        snapshots.append((now, self._snapshot()))
        # One that is older than the longest period, for what has happened since.
        while len(snapshots) > 1 and snapshots[1][0] <= now - PERIODS[-1]:
            snapshots.popleft()

    def _snapshot(self) -> array[float]:
        places, free = self._places, self._free
        present = self._read()
        for name in present:
            if name not in places:
                places[name] = free.pop() if free else len(places)
        values = array("d", [nan]) * (len(places) + len(free))
        for name, value in present.items():
            values[places[name]] = value
        return values

    def forget(self, names: Iterable[str]) -> None:
        """
        Forget counters that are gone.
        """
        for name in names:
            place = self._places.pop(name, None)
            if place is not None:
                for _, values in self._snapshots:
                    if place < len(values):
                        values[place] = nan
                self._free.append(place)

    def read(self) -> dict[str, tuple[float, ...]]:
        """
        How many a second there were of each counter, in the last minute, five and fifteen minutes; in the time that it
        has been known, where that is less. What was never looked at before has 0.

        A counter that was set back to 0 counts from there.
        """
        now = self._seconds()
        present = self._read()
        found: dict[str, tuple[float, ...]] = {}
        starts = [self._before(now - period) for period in PERIODS]
        for name, value in present.items():
            place = self._places.get(name)
            found[name] = tuple(0.0 if place is None else self._rate(now, value, place, start) for start in starts)
        return found

    def _before(self, moment: float) -> int:
        """
        The number of the last snapshot that is not younger than a moment, or of the first.
        """
        number = 0
        for index, (taken, _) in enumerate(self._snapshots):
            if taken > moment:
                break
            number = index
        return number

    def _rate(self, now: float, value: float, place: int, start: int) -> float:
        for index in range(start, len(self._snapshots)):
            taken, values = self._snapshots[index]
            if place < len(values) and not isnan(values[place]):
                before = values[place]
                elapsed = now - taken
                return 0.0 if elapsed <= 0 else (value - before if value >= before else value) / elapsed
        return 0.0
