"""
Lists large collections a page at a time, without blocking the reactor.
"""

from __future__ import annotations

from heapq import merge
from sys import maxsize
from time import perf_counter
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from twisted.internet.defer import Deferred

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

_T = TypeVar("_T")
_R = TypeVar("_R")

#: Seconds after which a listing lets others have their turn. A message that comes meanwhile waits for no longer.
SLICE: Final = 0.0001
#: Seconds for which it then does nothing: it takes a fifth of the time at most.
REST: Final = 4 * SLICE
#: Steps between two looks at the time.
_STEPS: Final = 16
#: The size of the pages of who wants all, one after the other.
_AT_A_TIME: Final = 100
#: So many are sorted in one step.
_RUN: Final = 512


class Listing(Generic[_T]):
    """
    Many things, to be taken a page at a time while they change.

    Nothing is shown twice. What was there from the first page to the last, and wanted all the time, is shown; what has
    come or gone meanwhile may be shown or not. A listing that is not wanted any more is simply forgotten.
    """

    def __init__(self, clock: IReactorTime, steps: Iterator[_T | None]) -> None:
        """
        @param steps: the things; L{None} for a step that has found none, after which the time is looked at.
        """
        self._clock = clock
        self._ended = False
        self._steps = steps
        self._page: list[_T] = []
        self._count = 0
        self._waiting: Deferred[list[_T]] | None = None
        self._call: IDelayedCall | None = None

    @classmethod
    def inOrder(
        cls,
        clock: IReactorTime,
        steps: Iterator[tuple[str, _T] | None],
        key: Callable[[_T], object],
        find: Callable[[str], _T | None],
        reverse: bool = False,
    ) -> Listing[_T]:
        """
        A listing of things in order: the first page comes when all have been seen.

        @param steps: the things, each with a name that no other has, which is the order among equals.
        @param key: what to sort by; all have to be comparable. It is asked once for each.
        @param find: gives what a name stands for now, or L{None} where that has gone.
        @param reverse: whether the greatest comes first.
        """

        def ordered() -> Iterator[_T | None]:
            runs: list[list[tuple[object, str]]] = []
            run: list[tuple[object, str]] = []
            try:
                for step in steps:
                    if step is not None:
                        run.append((key(step[1]), step[0]))
                        if len(run) == _RUN:
                            run.sort(reverse=reverse)
                            runs.append(run)
                            run = []
                    yield None
                run.sort(reverse=reverse)
                runs.append(run)
                run = []
                yield None
                for _, name in merge(*[_drained(run) for run in runs], reverse=reverse):
                    yield find(name)
            finally:
                # Who has seen enough leaves the rest.
                _letGo(clock, [run for run in runs if run])

        return cls(clock, ordered())

    def each(self, expand: Callable[[_T], Iterator[_R | None]]) -> Listing[_R]:
        """
        A listing of what a function makes of each thing, which may be many or none. This listing is used up by it.

        @param expand: gives them one by one, with L{None} as for C{steps}.
        """

        def steps() -> Iterator[_R | None]:
            for thing in self._steps:
                if thing is None:
                    yield None
                else:
                    yield from expand(thing)

        return Listing[_R](self._clock, steps())

    def first(self, count: int) -> Listing[_T]:
        """
        A listing of the first so many things. This listing is used up by it.
        """

        def steps() -> Iterator[_T | None]:
            left = count
            for thing in self._steps:
                yield thing
                left -= thing is not None
                if left <= 0:
                    return

        return Listing[_T](self._clock, steps())

    @property
    def exhausted(self) -> bool:
        """
        Whether everything has been shown.
        """
        return self._ended and not self._page

    def next(self, count: int) -> Deferred[list[_T]]:
        """
        The next page.

        @param count: of how many things.

        @return: fires with so many, or with fewer where there are no more; never before the next turn of the reactor,
            so that whoever asks for one page after the other lets others have theirs. If it is cancelled, what it has
            found is in the next page. It fails with what a function that chooses or sorts raises, which ends the
            listing.

        @raise RuntimeError: the page before is not there yet.
        """
        return self._begin(count)

    def everything(self) -> Deferred[list[_T]]:
        """
        All that is left, in one list: for a listing that is known to be short.

        @return: as L{next} returns.
        """
        return self._begin(-1)

    async def __aiter__(self) -> AsyncIterator[_T]:
        """
        All that is left, one after the other.
        """
        while not self.exhausted:
            for thing in await self.next(_AT_A_TIME):
                yield thing

    def _begin(self, count: int) -> Deferred[list[_T]]:
        if self._waiting is not None:
            raise RuntimeError("one page after the other")
        self._count = count
        self._waiting = Deferred(self._cancelled)
        self._call = self._clock.callLater(0, self._goOn)
        return self._waiting

    def _advance(self) -> bool:
        """
        Go on for a slice; returns whether the page is there.
        """
        if self._ended:
            return True
        steps, page = self._steps, self._page
        count = maxsize if self._count < 0 else self._count
        end = perf_counter() + SLICE
        try:
            while len(page) < count:
                for _ in range(_STEPS):
                    found = next(steps)
                    if found is not None:
                        page.append(found)
                        if len(page) >= count:
                            return True
                if perf_counter() >= end:
                    return False
        except StopIteration:
            self._ended = True
        except BaseException:
            self._ended = True
            page.clear()
            raise
        return True

    def _take(self) -> list[_T]:
        count = len(self._page) if self._count < 0 else self._count
        page, self._page = self._page[:count], self._page[count:]
        return page

    def _goOn(self) -> None:
        self._call = None
        waiting = self._waiting
        assert waiting is not None  # there is a call only while somebody waits
        try:
            if not self._advance():
                self._call = self._clock.callLater(REST, self._goOn)
                return
        except Exception:
            self._waiting = None
            waiting.errback()
            return
        self._waiting = None
        waiting.callback(self._take())

    def _cancelled(self, _: Deferred[list[_T]]) -> None:
        self._waiting = None
        if self._call is not None:
            self._call.cancel()
            self._call = None


def _drained(run: list[tuple[object, str]]) -> Iterator[tuple[object, str]]:
    """
    The entries of a run, which is empty in the end: to free a hundred thousand of them at once takes ten milliseconds.
    """
    run.reverse()
    while run:
        yield run.pop()


def _letGo(clock: IReactorTime, runs: list[list[tuple[object, str]]]) -> None:
    """
    Free the entries of runs, one run at a time, for the same reason.
    """
    if runs:
        runs.pop()
    if runs:
        clock.callLater(REST, _letGo, clock, runs)
