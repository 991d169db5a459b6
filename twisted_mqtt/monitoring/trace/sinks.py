"""
Where traces go: to a file, or to somebody who looks on.
"""

from __future__ import annotations

import os
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from twisted.internet.defer import Deferred

from twisted_mqtt.base.waiting import Maybe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from twisted_mqtt.base.threads import Threads
    from twisted_mqtt.monitoring.trace.place import OpenFile

#: Bytes that wait for a file, or for who looks on; what comes then is left out.
MOST_WAITING: Final = 1048576
#: Seconds after which what was traced is in the file.
DELAY: Final = 0.2
#: Seconds without anything after which who looks on hears that the connection still works.
SILENCE: Final = 15.0


class Sink(Protocol):
    """
    Takes what is traced.
    """

    def write(self, text: str) -> bool:
        """
        Take an event: a line, and indented ones.

        @return: whether there was room for it.
        """

    def close(self, why: str) -> Maybe[None]:
        """
        The trace has ended.

        @param why: in a few words; empty where whoever has ended it knows that.

        @return: None, or a Deferred that fires when nothing waits any more. It does not fail.
        """


class FileSink:
    """
    Writes to a file, in a thread.

    @ivar opened: the file.
    @ivar size: bytes in it, and on their way to it.
    """

    def __init__(
        self,
        opened: OpenFile,
        limit: int,
        threads: Threads,
        clock: IReactorTime,
        ended: Callable[[str], None],
    ) -> None:
        """
        @param limit: the size at which it ends.
        @param ended: called with the reason if it can't go on by itself: it is full or gone, or the disk fails.
        """
        self.opened = opened
        self.size = opened.size
        self._limit = limit
        self._threads = threads
        self._clock = clock
        self._ended = ended
        self._lines: list[bytes] = []
        self._waiting = 0
        self._later: IDelayedCall | None = None
        self._writing: Deferred[None] | None = None
        self._closed: Deferred[None] | None = None

    def write(self, text: str) -> bool:
        """
        See L{Sink}.
        """
        data = text.encode("utf-8", "backslashreplace") + b"\n"
        if self._closed is not None or self._waiting + len(data) > MOST_WAITING:
            return False
        if self.size + len(data) > self._limit:
            self._ended("the file is full")
            return False
        self._add(data)
        return True

    def _add(self, data: bytes) -> None:
        self._lines.append(data)
        self._waiting += len(data)
        self.size += len(data)
        if self._later is None and self._writing is None:
            self._later = self._clock.callLater(DELAY, self._flush)

    def close(self, why: str) -> Deferred[None]:
        """
        See L{Sink}.
        """
        if self._closed is None:
            # It may be a little larger than its limit for that.
            self._add(f"# The trace has ended: {why or 'it was stopped'}\n".encode())
            self._closed = Deferred()
            if self._later is not None:
                self._later.cancel()
                self._later = None
            if self._writing is None:
                self._flush()
        done: Deferred[None] = Deferred()
        self._closed.addCallback(done.callback)
        return done

    def abandon(self) -> None:
        """
        Close the file without a word. Nothing was written.
        """
        os.close(self.opened.descriptor)

    def _flush(self) -> None:
        self._later = None
        lines, self._lines = self._lines, []
        if not lines:
            if self._closed is not None:
                self._finish()
            return
        data = b"".join(lines)
        self._writing = self._threads.defer(_writeAll, self.opened, data)
        self._writing.addCallbacks(self._cbWritten, self._ebWritten, (len(data),), {}, (len(data),), {})

    def _cbWritten(self, _: None, size: int) -> None:
        self._writing = None
        self._waiting -= size
        if self._lines or self._closed is not None:
            self._flush()

    def _ebWritten(self, failure: Failure, size: int) -> None:
        self._writing = None
        self._waiting -= size
        self._lines.clear()
        self._waiting = 0
        if self._closed is not None:
            self._finish()
            return
        error = failure.value
        if isinstance(error, FileNotFoundError):
            self._ended("the file was moved or deleted")
            return
        why = error.strerror if isinstance(error, OSError) and error.strerror else failure.getErrorMessage()
        self._ended(f"the file can't be written: {why}")

    def _finish(self) -> None:
        os.close(self.opened.descriptor)
        closed = self._closed
        assert closed is not None  # it is called at the end
        closed.callback(None)


def _writeAll(opened: OpenFile, data: bytes) -> None:
    """
    @raise FileNotFoundError: the path does not lead to the file any more: nobody would find what is written, and its
        room on the disk would be free only at the end of the trace.
    """
    if not os.path.samestat(os.stat(opened.path), os.fstat(opened.descriptor)):
        raise FileNotFoundError(opened.path)
    view = memoryview(data)
    while view:
        view = view[os.write(opened.descriptor, view) :]


class LiveSink:
    """
    Shows a trace to somebody, as server-sent events (HTML Living Standard 9.2): each event of the trace is one.
    """

    def __init__(self, clock: IReactorTime, left: Callable[[], None], emptied: Callable[[], None]) -> None:
        """
        @param left: called when whoever looked on has gone.
        @param emptied: called when all has been taken, and there is room again.
        """
        self._clock = clock
        self._left = left
        self._emptied = emptied
        self._events: deque[bytes] = deque()
        self._waiting = 0
        self._closed = False
        self._idle: Deferred[None] | None = None

    def write(self, text: str) -> bool:
        """
        See L{Sink}.
        """
        if self._waiting + len(text) > MOST_WAITING:
            return False
        self._add(text)
        return True

    def _add(self, text: str) -> None:
        data = b"".join(b"data: %b\n" % line.encode("utf-8", "backslashreplace") for line in text.split("\n")) + b"\n"
        self._events.append(data)
        self._waiting += len(data)
        self._wake()

    def close(self, why: str) -> None:
        """
        See L{Sink}.
        """
        if not self._closed:
            self._closed = True
            if why:
                self._add(f"# The trace has ended: {why}")
            self._wake()

    def _wake(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            # In a turn of its own: whoever tells is amid its work.
            self._clock.callLater(0, partial(_fire, idle))

    async def pieces(self) -> AsyncIterator[bytes]:
        """
        The events, until the trace ends or nobody takes them.
        """
        try:
            while not self._closed or self._events:
                if not self._events:
                    self._idle = Deferred()
                    silence = self._clock.callLater(SILENCE, self._wake)
                    try:
                        await self._idle
                    finally:
                        if silence.active():
                            silence.cancel()
                if self._events:
                    piece = b"".join(self._events)
                    self._events.clear()
                    self._waiting = 0
                    self._emptied()
                    yield piece
                elif not self._closed:
                    yield b": nothing new\n\n"
        finally:
            self._left()


def _fire(waiting: Deferred[None]) -> None:
    if not waiting.called:  # else it was cancelled
        waiting.callback(None)
