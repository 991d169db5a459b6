"""
Output that a socket has not taken yet.

Standard library only, as in L{twisted_mqtt.net.poller}, so that this module compiles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from errno import ENOBUFS
from itertools import islice
from typing import Final, Protocol

CHUNKS_AT_ONCE: Final = 1024
"""
Linux's IOV_MAX: more in one C{sendmsg} is an error.
"""

JOINED_UP_TO: Final = 16384
"""
Below this, copying chunks together costs less than handing the kernel each of them.
"""


class Sink(Protocol):
    """
    The part of a socket needed here.
    """

    def send(self, data: bytes | memoryview, /) -> int: ...

    def sendmsg(self, chunks: list[bytes | memoryview], /) -> int: ...


def sendSome(receiver: Sink, data: bytes) -> int:
    """
    @return: how many bytes the socket took, which may be none.
    @raise OSError: if it is broken.
    """
    try:
        return receiver.send(data)
    except (BlockingIOError, InterruptedError):
        return 0
    except OSError as error:
        # No memory for it now: the same as a full socket.
        if error.errno == ENOBUFS:
            return 0
        raise


class PendingOutput:
    """
    Chunks to be sent in order. Made when a socket is full, dropped when it is empty: most connections have none.

    @ivar size: how many bytes there are.
    @ivar sent: how many have been sent since it was made.
    @ivar taken: C{sent} without what the kernel still holds, when that was last looked at: it grows as the peer takes
        something, and only then.
    """

    __slots__ = ("_chunks", "_offset", "sent", "size", "taken")

    def __init__(self, chunks: Iterable[bytes], sent: int = 0) -> None:
        """
        @param chunks: none of them empty.
        @param sent: how many bytes of them have been sent already.
        """
        self._chunks = deque(chunks)
        # Of the first chunk, already sent: cheaper than cutting it.
        self._offset = 0
        self.size = 0
        self.sent = 0
        self.taken = 0
        for chunk in self._chunks:
            self.size += len(chunk)
        self._sent(sent)

    def append(self, data: bytes) -> None:
        """
        Add a chunk that is not empty.
        """
        self._chunks.append(data)
        self.size += len(data)

    def sendTo(self, receiver: Sink) -> int:
        """
        Send what the socket takes at once.

        @return: how many bytes that was, which may be none.
        @raise OSError: if it is broken.
        """
        chunks = self._chunks
        first = memoryview(chunks[0])[self._offset :]
        try:
            if len(chunks) == 1:
                sent = receiver.send(first)
            else:
                # Not joined: a slow peer would have its pending output copied again and again.
                several: list[bytes | memoryview] = [first]
                several.extend(islice(chunks, 1, CHUNKS_AT_ONCE))
                sent = receiver.sendmsg(several)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            if error.errno == ENOBUFS:
                return 0
            raise
        self._sent(sent)
        self.sent += sent
        return sent

    def _sent(self, sent: int) -> None:
        self.size -= sent
        sent += self._offset
        chunks = self._chunks
        while chunks and sent >= len(chunks[0]):
            sent -= len(chunks.popleft())
        self._offset = sent
