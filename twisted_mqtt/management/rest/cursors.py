"""
Lists that are read page by page while they change: each page comes with a cursor, which asks for the next.

Pages by number (C{_page}) are counted anew each time, so rows move from one to another when clients come and go. A
cursor stands for one L{Listing<twisted_mqtt.base.listing.Listing>} that goes on where it was: nothing is shown twice,
and what is there all the time is shown.
"""

from __future__ import annotations

from collections import OrderedDict
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, Final

from twisted_mqtt.operations.operation import INVALID, Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from twisted_mqtt.operations.operation import Rows

#: Seconds without a call after which a cursor is forgotten.
IDLE: Final = 120.0
#: So many are kept, and so many of one caller; the one that was used longest ago makes room.
MOST: Final = 200
MOST_OF_ONE: Final = 50


class Cursor:
    """
    A list that is being read.

    @ivar name: names it; nobody can guess it.
    @ivar caller: who reads; nobody else may.
    @ivar call: which call with which parameters it belongs to.
    @ivar used: when a page was last asked for or sent, in seconds.
    @ivar page: the number of the page that was asked for last, from 1 on.
    @ivar isSending: whether it is being sent.
    """

    def __init__(self, rows: Rows[Any], caller: str, call: object, now: float) -> None:
        self.name = token_urlsafe(12)
        self.rows = rows
        self.caller = caller
        self.call = call
        self.used = now
        self.page = 0
        self.isSending = False
        self._limit = 0
        # What the page shows as far as it was sent. It may be asked for again: whoever lost the connection amid the
        # answer has no other way to it.
        self._things: list[Any] = []

    def turnTo(self, page: int, limit: int) -> None:
        """
        Choose the page that is sent next.

        @raise Refused: it is neither the one that was sent last nor the one behind it, or that is being sent still.
        """
        if self.isSending:
            raise Refused(INVALID, "_cursor: the page is being sent already", 409)
        if page == self.page:
            return
        if page != self.page + 1 or (self.page and not self._isComplete):
            raise Refused(INVALID, "_cursor: only the last page, or the next, can be asked for: begin again", 410)
        self.page, self._limit, self._things = page, limit, []

    @property
    def limit(self) -> int:
        """
        How many rows the page has at most.
        """
        return self._limit

    @property
    def following(self) -> str | None:
        """
        The cursor of the page behind this one; L{None} where there is none.
        """
        return None if self.rows.listing.exhausted else f"{self.name}.{self.page + 1}"

    @property
    def _isComplete(self) -> bool:
        return len(self._things) >= self._limit or self.rows.listing.exhausted

    async def slices(
        self, size: int, wait: Callable[[Deferred[list[Any]]], Awaitable[list[Any]]]
    ) -> AsyncIterator[list[object]]:
        """
        The rows of the page, so many at a time. What was shown before is shown as it is now.

        @param wait: waits for more of the listing, for as long as somebody wants it.
        """
        row = self.rows.row
        things = self._things
        for at in range(0, len(things), size):
            yield [row(thing) for thing in things[at : at + size]]
        while not self._isComplete:
            found = await wait(self.rows.listing.next(min(size, self._limit - len(things))))
            things += found
            if found:
                yield [row(thing) for thing in found]


class Cursors:
    """
    The lists that are being read.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        # Those that were used last stand at the end.
        self._known: OrderedDict[str, Cursor] = OrderedDict()
        self._call: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._known)

    def begin(self, rows: Rows[Any], caller: str, call: object) -> Cursor:
        """
        Begin to read a list.
        """
        own = [cursor for cursor in self._known.values() if cursor.caller == caller]
        if len(own) >= MOST_OF_ONE:
            del self._known[own[0].name]
        elif len(self._known) >= MOST:
            self._known.popitem(last=False)
        cursor = Cursor(rows, caller, call, self._clock.seconds())
        self._known[cursor.name] = cursor
        if self._call is None:
            self._call = self._clock.callLater(IDLE, self._forget)
        return cursor

    def find(self, text: str, caller: str, call: object) -> tuple[Cursor, int]:
        """
        Find the list that a caller goes on with.

        @param text: the cursor that came with the page before.

        @return: the list, and the page that is wanted.

        @raise Refused: it is none, belongs to another call, or is over.
        """
        name, dot, number = text.rpartition(".")
        if not dot or not (number.isascii() and number.isdecimal() and len(number) < 16):
            raise Refused(INVALID, f"_cursor: {text[:40]!r} is none: take that of the page before, or none to begin")
        cursor = self._known.get(name)
        if cursor is None or cursor.caller != caller:
            raise Refused(INVALID, f"_cursor: it is over, it serves {IDLE:.0f} s: begin again", 410)
        if cursor.call != call:
            raise Refused(INVALID, "_cursor: it belongs to another call, or to one with other parameters")
        self.use(cursor)
        return cursor, int(number)

    def use(self, cursor: Cursor) -> None:
        """
        A cursor is used at present. One whose last page was sent is the first to make room.
        """
        cursor.used = self._clock.seconds()
        if cursor.name in self._known:
            self._known.move_to_end(cursor.name, last=cursor.following is not None)

    def end(self, cursor: Cursor) -> None:
        """
        Forget a cursor; one that is unknown is no error.
        """
        self._known.pop(cursor.name, None)

    def close(self) -> None:
        """
        Forget all. Pages that are being sent go on.
        """
        self._known.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _forget(self) -> None:
        now, self._call = self._clock.seconds(), None
        for cursor in list(self._known.values()):
            if not cursor.isSending and now - cursor.used >= IDLE:
                del self._known[cursor.name]
        if self._known:
            self._call = self._clock.callLater(IDLE / 4, self._forget)
