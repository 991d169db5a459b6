"""
The transport of a protocol inside WebSocket: each write becomes a message.

Standard library only, as in L{twisted_mqtt.net.poller}, so that this module compiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Protocol

from twisted_mqtt.net.websocket.frames import BINARY, NORMAL, TEXT, frameHeader

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from twisted_mqtt.net.peeridentity import PeerIdentity
    from twisted_mqtt.net.roles import Producer

MESSAGE_AT_MOST: Final = 1 << 20
"""
More of a stream is written as several messages: whoever receives them may have to keep each in memory until it is
complete.
"""

COPIED_UP_TO: Final = 16384
"""
Below this, putting header and payload together costs less than handing both over.
"""

Framer = Callable[[int, bytes], bytes]


class Carrier(Protocol):
    """
    The transport below: the parts of C{ITCPTransport}, C{IConsumer} and C{IPushProducer} needed here.
    """

    def write(self, data: bytes, /) -> object: ...

    def writeSequence(self, data: Iterable[bytes], /) -> object: ...

    def loseConnection(self) -> object: ...

    def abortConnection(self) -> object: ...

    def getPeer(self) -> IAddress: ...

    def getHost(self) -> IAddress: ...

    def registerProducer(self, producer: Producer, streaming: bool, /) -> object: ...

    def unregisterProducer(self) -> object: ...

    def pauseProducing(self) -> object: ...

    def resumeProducing(self) -> object: ...


class Opening(Protocol):
    """
    The WebSocket that a transport belongs to.
    """

    def close(self, code: int, reason: str = "") -> object:
        """
        Say good-bye, and close.
        """

    def fail(self, code: int, reason: str) -> object:
        """
        The client has sent what it may not: say so, and close.
        """

    def resumed(self) -> object:
        """
        Deliver the data that was held back.
        """


class MessageReceiver(Protocol):
    """
    A protocol that gets messages.
    """

    def makeConnection(self, transport: WebSocketTransport, /) -> object:
        """
        The handshake is done.
        """

    def messageReceived(self, payload: bytes, isText: bool, /) -> object:
        """
        A message has come. Text is UTF-8.
        """

    def failing(self, code: int, reason: str, /) -> object:
        """
        The client has sent what WebSocket, or this protocol by C{transport.fail}, does not allow. A last message may be
        sent; then the connection is closed with that code.
        """

    def connectionLost(self, reason: Failure, /) -> object:
        """
        The connection is gone.
        """


class MessageFactory(Protocol):
    """
    Makes protocols that get messages.
    """

    def doStart(self) -> object: ...

    def doStop(self) -> object: ...

    def buildProtocol(self, address: IAddress, /) -> MessageReceiver | None:
        """
        @return: L{None} where nobody is let in.
        """


class WebSocketTransport:
    """
    C{ITransport}, C{IConsumer} and C{IPushProducer}, over the transport that carries the frames.

    @ivar peerIdentity: who the peer is, where a layer below has found out; else L{None}.
    @ivar cookie: what the client has sent for one in its handshake; else L{None}.
    @ivar paused: whether nothing is to be delivered for now.
    @ivar disconnecting: whether nothing more can be written.
    @ivar isFed: whether a producer is registered.
    """

    __slots__ = (
        "_framer",
        "_lower",
        "_opening",
        "_peer",
        "cookie",
        "disconnecting",
        "isFed",
        "paused",
        "peerIdentity",
    )

    def __init__(
        self, lower: Carrier, opening: Opening, peer: IAddress | None, framer: Framer | None, cookie: str | None = None
    ) -> None:
        """
        @param lower: carries the frames.
        @param peer: the address of the client where it is not that of C{lower}; else L{None}.
        @param framer: makes compressed frames, if it was agreed to compress.
        """
        self._lower = lower
        self._opening = opening
        self._peer = peer
        self._framer = framer
        self.peerIdentity: PeerIdentity | None = getattr(lower, "peerIdentity", None)
        self.cookie = cookie
        self.paused = False
        self.disconnecting = False
        self.isFed = False

    # Messages

    def sendMessage(self, payload: bytes, isText: bool) -> None:
        """
        Send one message, of one frame. Text has to be UTF-8.
        """
        if not self.disconnecting:
            self._writeFrame(TEXT if isText else BINARY, payload)

    def fail(self, code: int, reason: str) -> None:
        """
        Close because of what the client has sent.

        @param code: RFC 6455 7.4.1.
        """
        if not self.disconnecting:
            self._opening.fail(code, reason)

    def _writeFrame(self, first: int, data: bytes) -> None:
        if self._framer is not None:
            self._lower.write(self._framer(first, data))
        elif len(data) <= COPIED_UP_TO:
            self._lower.write(frameHeader(first, len(data)) + data)
        else:
            self._lower.writeSequence((frameHeader(first, len(data)), data))

    # A stream

    def write(self, data: bytes) -> None:
        """
        Write binary messages, as few as there can be.
        """
        if self.disconnecting or not data:
            return
        size = len(data)
        if size <= MESSAGE_AT_MOST:
            self._writeFrame(BINARY, data)
            return
        at = 0
        while at < size:
            self._writeFrame(BINARY, data[at : at + MESSAGE_AT_MOST])
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

    # ITransport

    def loseConnection(self) -> None:
        """
        Say good-bye, and close when everything is sent.
        """
        self.closeWith(NORMAL, "")

    def closeWith(self, code: int, reason: str) -> None:
        """
        As L{loseConnection}.

        @param code: why (RFC 6455 7.4.1).
        """
        if not self.disconnecting:
            self.disconnecting = True
            self._opening.close(code, reason)

    def abortConnection(self) -> None:
        """
        Forget what is pending, and close.
        """
        self.disconnecting = True
        self._lower.abortConnection()

    def getPeer(self) -> IAddress:
        """
        The address of the client.
        """
        return self._lower.getPeer() if self._peer is None else self._peer

    def getHost(self) -> IAddress:
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

    # IConsumer, IPushProducer

    def registerProducer(self, producer: Producer, streaming: bool) -> None:
        """
        Nothing waits here, so that it is for the transport below to pause and resume.
        """
        self.isFed = True
        self._lower.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """
        The producer has produced all.
        """
        self.isFed = False
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
