"""
The transport that a protocol inside WebSocket sees: what is written becomes binary messages.

Standard library only, as in L{twisted_mqtt.net.poller}, so that this module compiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from twisted_mqtt.net.websocket.frames import BINARY, frameHeader

MESSAGE_AT_MOST: Final = 1 << 20
"""
More is written as several messages: whoever receives them may have to keep each in memory until it is complete.
"""

COPIED_UP_TO: Final = 16384
"""
Below this, putting header and payload together costs less than handing both over.
"""

Framer = Callable[[int, bytes], bytes]


class Opening(Protocol):
    """
    The WebSocket that a transport belongs to.
    """

    def closeNormally(self) -> object:
        """
        Say good-bye, and close.
        """

    def resumed(self) -> object:
        """
        What was held back may be delivered.
        """


class WebSocketTransport:
    """
    C{ITransport}, C{IConsumer} and C{IPushProducer}, over the transport that carries the frames.

    @ivar peerIdentity: who the peer is, where a layer below has found out; else L{None}.
    @ivar paused: whether nothing is to be delivered for now.
    @ivar disconnecting: whether nothing more can be written.
    """

    __slots__ = ("_framer", "_lower", "_opening", "_peer", "disconnecting", "paused", "peerIdentity")

    def __init__(self, lower: Any, opening: Opening, peer: Any, framer: Framer | None) -> None:
        """
        @param lower: carries the frames.
        @param peer: the address of the client where it is not that of C{lower}; else L{None}.
        @param framer: makes compressed frames, if it was agreed to compress.
        """
        self._lower = lower
        self._opening = opening
        self._peer = peer
        self._framer = framer
        self.peerIdentity: Any = getattr(lower, "peerIdentity", None)
        self.paused = False
        self.disconnecting = False

    def writeMessage(self, first: int, data: bytes) -> None:
        """
        Write one message of one frame.

        @param first: the first byte of the frame.
        """
        if self._framer is not None:
            self._lower.write(self._framer(first, data))
        elif len(data) <= COPIED_UP_TO:
            self._lower.write(frameHeader(first, len(data)) + data)
        else:
            self._lower.writeSequence((frameHeader(first, len(data)), data))

    def write(self, data: bytes) -> None:
        """
        Write binary messages, as few as there can be.
        """
        if self.disconnecting or not data:
            return
        size = len(data)
        if size <= MESSAGE_AT_MOST:
            self.writeMessage(BINARY, data)
            return
        at = 0
        while at < size:
            self.writeMessage(BINARY, data[at : at + MESSAGE_AT_MOST])
            at += MESSAGE_AT_MOST

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """
        As L{write}, without copying large pieces together.
        """
        pieces = list(data)
        size = 0
        for piece in pieces:
            size += len(piece)
        if self._framer is not None or size > MESSAGE_AT_MOST:
            for piece in pieces:
                self.write(piece)
        elif size and not self.disconnecting:
            self._lower.writeSequence([frameHeader(BINARY, size), *pieces])

    def loseConnection(self) -> None:
        """
        Say good-bye, and close when everything is sent.
        """
        if not self.disconnecting:
            self.disconnecting = True
            self._opening.closeNormally()

    def abortConnection(self) -> None:
        """
        Forget what is pending, and close.
        """
        self.disconnecting = True
        self._lower.abortConnection()

    def getPeer(self) -> Any:
        """
        The address of the client.
        """
        return self._lower.getPeer() if self._peer is None else self._peer

    def getHost(self) -> Any:
        """
        The address of this side.
        """
        return self._lower.getHost()

    @property
    def pendingBytes(self) -> int:
        """
        How many bytes the kernel has not taken yet: all that waits does so in the transport below.
        """
        pending: int = getattr(self._lower, "pendingBytes", 0)
        return pending

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Nothing waits here, so that it is for the transport below to pause and resume.
        """
        self._lower.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """
        The producer has produced all.
        """
        self._lower.unregisterProducer()

    def pauseProducing(self) -> None:
        """
        Deliver no more until L{resumeProducing}, but for what has been taken from frames already.
        """
        self.paused = True
        self._lower.pauseProducing()

    def resumeProducing(self) -> None:
        """
        Deliver again.
        """
        if self.paused and not self.disconnecting:
            self.paused = False
            self._lower.resumeProducing()
            self._opening.resumed()

    def stopProducing(self) -> None:
        """
        As L{loseConnection}.
        """
        self.loseConnection()
