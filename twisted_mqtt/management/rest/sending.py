"""
Sends an answer. A list goes out a slice at a time: neither the reactor nor memory has to hold all of it at once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from twisted.web.server import Request

    from twisted_mqtt.management.rest.cursors import Cursor
    from twisted_mqtt.operations.operation import Caller, Rows, Stream

_T = TypeVar("_T")

JSON: Final = b"application/json; charset=utf-8"

#: So many rows are made in one go: with 35 fields each, that takes less than a millisecond.
SLICE: Final = 25

_HEAD: Final = b'{"code":0,"data":['

_encode = msgspec.json.Encoder().encode


class Gone(Exception):
    """
    The client has gone before its answer was complete.
    """


@implementer(IPushProducer)
class Sending:
    """
    The answer to one request, which waits where the client reads slowly.

    @ivar gone: whether the client has gone.
    """

    def __init__(self, request: Request) -> None:
        self._request = request
        self._resumed: Deferred[None] | None = None
        self._work: Deferred[Any] | None = None
        self._begun = False
        self.gone = False
        request.notifyFinish().addErrback(self._lost)

    def send(self, body: bytes, contentType: bytes = JSON, status: int = 200) -> None:
        """
        Send a whole answer, if the client is still there.
        """
        if self.gone:
            return
        request = self._request
        request.setResponseCode(status)
        self._setHeaders(contentType)
        request.setHeader(b"content-length", str(len(body)).encode("ascii"))
        if not self.isHead:
            request.write(body)
        request.finish()

    def _setHeaders(self, contentType: bytes) -> None:
        headers = self._request.responseHeaders
        headers.setRawHeaders(b"content-type", [contentType])
        headers.setRawHeaders(b"cache-control", [b"no-store"])
        headers.setRawHeaders(b"x-content-type-options", [b"nosniff"])

    def pauseProducing(self) -> None:
        """
        The client reads more slowly than it is written to.
        """
        if self._resumed is None:
            self._resumed = Deferred()

    def resumeProducing(self) -> None:
        """
        There is room again.
        """
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def stopProducing(self) -> None:
        """
        The connection is gone.
        """
        self._lost()

    def _lost(self, _: object = None) -> None:
        self.gone = True
        self.resumeProducing()
        if self._work is not None:
            self._work.cancel()

    async def wait(self, work: Deferred[_T]) -> _T:
        """
        Wait for something that the answer needs. It is cancelled when the client goes.

        @raise Gone: the client has gone.
        """
        if self.gone:
            work.cancel()
        self._work = work
        try:
            return await work
        except CancelledError:
            raise Gone from None
        finally:
            self._work = None

    async def write(self, data: bytes) -> None:
        """
        Write, and wait for room if there is none.

        @raise Gone: the client has gone.
        """
        if not self.gone:
            self.begin()
            if not self.isHead:
                self._request.write(data)
            if self._resumed is not None:
                await self._resumed
        if self.gone:
            raise Gone

    @property
    def isHead(self) -> bool:
        """
        Whether the client wants the headers alone.
        """
        return bool(self._request.method == b"HEAD")

    @property
    def begun(self) -> bool:
        """
        Whether a part of the answer was sent.
        """
        return self._begun

    def begin(self, contentType: bytes = JSON) -> None:
        """
        Send the answer in parts from here on.
        """
        if not self._begun and not self.gone:
            self._begun = True
            self._setHeaders(contentType)
            self._request.registerProducer(self, True)

    def finish(self) -> None:
        """
        That was all.
        """
        if not self.gone:
            if self._begun:
                self._request.unregisterProducer()
            self._request.finish()

    def abort(self) -> None:
        """
        What was sent is not the whole, and the client must not take it for that.
        """
        if not self.gone:
            self._request.unregisterProducer()
            self._request.loseConnection()


async def sendStream(sending: Sending, stream: Stream, caller: Caller) -> None:
    """
    Send for as long as somebody listens who may.

    @raise Gone: the client has gone.
    """
    sending.begin(stream.contentType.encode("ascii"))
    pieces = stream.pieces
    try:
        while True:
            # A viewer who goes is noticed although nothing happens that could be sent.
            piece = await sending.wait(Deferred.fromCoroutine(_next(pieces)))
            if piece is None or not caller.isStill():
                break
            await sending.write(piece)
            if sending.isHead:
                break
    except Gone:
        await _close(pieces)
        raise
    await _close(pieces)
    sending.finish()


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    async for piece in pieces:
        return piece
    return None


async def _close(pieces: AsyncIterator[bytes]) -> None:
    if isinstance(pieces, AsyncGenerator):
        await pieces.aclose()


async def slices(sending: Sending, rows: Rows[Any], limit: int) -> AsyncIterator[list[object]]:
    """
    The next rows, a slice after the other.

    @param sending: for whom they are.
    @param limit: how many at most.
    """
    listing = rows.listing
    while limit > 0 and not listing.exhausted:
        things = await sending.wait(listing.next(min(SLICE, limit)))
        limit -= len(things)
        if things:
            yield [rows.row(thing) for thing in things]


async def passOver(sending: Sending, rows: Rows[Any], most: int = -1) -> int:
    """
    Go past rows without making them.

    @param sending: for whom that is.
    @param most: how many; all that are left by default.

    @return: how many there were.
    """
    listing, passed = rows.listing, 0
    while passed != most and not listing.exhausted:
        things = await sending.wait(listing.next(1000 if most < 0 else min(1000, most - passed)))
        passed += len(things)
    return passed


async def sendPage(sending: Sending, rows: Rows[Any], page: int, limit: int, paged: bool) -> None:
    """
    Send C{{"code": 0, "data": [...], "meta": {...}}}.

    @param page: which page, from 1 on.
    @param limit: how many rows a page has.
    @param paged: whether C{meta} is told: the page, its limit, and how many rows there are in all.

    @raise Gone: the client has gone.
    """
    passed = await passOver(sending, rows, (page - 1) * limit)
    sent = await _sendRows(sending, slices(sending, rows, limit))
    if not paged:
        await sending.write(b"]}")
        return
    count = passed + sent + await passOver(sending, rows) if rows.total is None else rows.total()
    meta = _encode({"page": page, "limit": limit, "count": count})
    await sending.write(b'],"meta":' + meta + b"}")


async def sendCursorPage(sending: Sending, cursor: Cursor) -> None:
    """
    Send the page to which a cursor was turned, with the cursor of the next in C{meta}.

    @raise Gone: the client has gone.
    """
    cursor.isSending = True
    try:
        await _sendRows(sending, cursor.slices(SLICE, sending.wait))
    finally:
        cursor.isSending = False
    meta: dict[str, object] = {"limit": cursor.limit, "cursor": cursor.following}
    if cursor.rows.total is not None:
        meta["count"] = cursor.rows.total()
    await sending.write(b'],"meta":' + _encode(meta) + b"}")


async def _sendRows(sending: Sending, parts: AsyncIterator[list[object]]) -> int:
    """
    Send C{{"code": 0, "data": [...}, without the end of the list; returns how many rows it has.
    """
    sent = 0
    async for part in parts:
        # The first rows are made before the answer begins: if that fails, there is one that says so.
        encoded = b",".join([_encode(row) for row in part])
        await sending.write((b"," if sent else _HEAD) + encoded)
        sent += len(part)
    if not sent:
        await sending.write(_HEAD)
    return sent
