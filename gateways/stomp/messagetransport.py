"""
A transport for protocols whose client gets messages instead of a stream.
"""

from __future__ import annotations

from typing import Any, Protocol


class Messenger(Protocol):
    """
    What carries the messages of one client.
    """

    def send(self, wire: bytes) -> None:
        """
        Send one message.
        """

    def end(self) -> None:
        """
        Send what is left, and close.
        """

    def abort(self) -> None:
        """
        Close, whatever is left.
        """

    def setPaused(self, paused: bool) -> None:
        """
        Take no further messages from the client, or do so again.
        """

    def setProducer(self, producer: Any) -> None:
        """
        Whom to tell when the client takes no more, and when it does again; L{None} for nobody.
        """


class MessageTransport:
    """
    What the protocol writes to. C{sendMessage} is what tells it that this is no stream.

    @ivar disconnecting: whether the protocol has asked for the end.
    @ivar peerIdentity: who the client is by its certificate; L{None} if it has shown none.
    @ivar cookie: what the client's browser has sent for one; L{None} for nothing.
    """

    def __init__(
        self, messenger: Messenger, peer: Any, host: Any, peerIdentity: Any = None, cookie: str | None = None
    ) -> None:
        """
        @param peer: the client's address.
        @param host: ours.
        """
        self._messenger = messenger
        self._peer = peer
        self._host = host
        self.disconnecting = False
        self.peerIdentity = peerIdentity
        self.cookie = cookie

    def sendMessage(self, wire: bytes) -> None:
        """
        Send one frame.
        """
        if not self.disconnecting:
            self._messenger.send(wire)

    def write(self, data: bytes) -> None:
        """
        As L{sendMessage}.
        """
        self.sendMessage(data)

    def writeSequence(self, data: list[bytes]) -> None:
        """
        Several frames.
        """
        for each in data:
            self.sendMessage(each)

    def loseConnection(self) -> None:
        """
        Send what is left, and close.
        """
        if not self.disconnecting:
            self.disconnecting = True
            self._messenger.end()

    def abortConnection(self) -> None:
        """
        Close at once.
        """
        self.disconnecting = True
        self._messenger.abort()

    def getPeer(self) -> Any:
        """
        The client's address.
        """
        return self._peer

    def getHost(self) -> Any:
        """
        The address that it has connected to.
        """
        return self._host

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Pause and resume a producer as the client reads.
        """
        self._messenger.setProducer(producer)

    def unregisterProducer(self) -> None:
        """
        The producer has produced all.
        """
        self._messenger.setProducer(None)

    def pauseProducing(self) -> None:
        """
        Take nothing from the client.
        """
        self._messenger.setPaused(True)

    def resumeProducing(self) -> None:
        """
        Take what the client sends again.
        """
        self._messenger.setPaused(False)
