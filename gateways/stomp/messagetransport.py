"""
A transport for protocols whose client receives messages instead of a stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress

    from twisted_mqtt.net.peeridentity import PeerIdentity
    from twisted_mqtt.net.roles import Producer


class Messenger(Protocol):
    """
    Carries the messages of one client.
    """

    def send(self, wire: bytes) -> None:
        """
        Send one message.
        """

    def end(self, isTooBig: bool) -> None:
        """
        Send what is left, and close.

        @param isTooBig: whether that is because the client has sent more than is taken.
        """

    def abort(self) -> None:
        """
        Close, whatever is left.
        """

    def setPaused(self, paused: bool) -> None:
        """
        Take no further messages from the client, or do so again.
        """

    def setProducer(self, producer: Producer | None) -> None:
        """
        Whom to tell when the client takes no more, and when it does again; L{None} for nobody.
        """


class MessageTransport:
    """
    The transport that the protocol writes to. By C{sendMessage} the protocol sees that this is no stream.

    @ivar disconnecting: whether the protocol has asked for the end.
    @ivar isTooBig: whether the client has sent more than is taken, which is why the protocol asks for the end.
    @ivar peerIdentity: who the client is by its certificate; L{None} if it has shown none.
    @ivar cookie: what the client's browser has sent for one; L{None} for nothing.
    """

    def __init__(
        self,
        messenger: Messenger,
        peer: IAddress,
        host: IAddress,
        peerIdentity: PeerIdentity | None = None,
        cookie: str | None = None,
    ) -> None:
        """
        @param peer: the client's address.
        @param host: ours.
        """
        self._messenger = messenger
        self._peer = peer
        self._host = host
        self.disconnecting = False
        self.isTooBig = False
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
            self._messenger.end(self.isTooBig)

    def abortConnection(self) -> None:
        """
        Close at once.
        """
        self.disconnecting = True
        self._messenger.abort()

    def getPeer(self) -> IAddress:
        """
        The client's address.
        """
        return self._peer

    def getHost(self) -> IAddress:
        """
        The address that it has connected to.
        """
        return self._host

    def registerProducer(self, producer: Producer, streaming: bool) -> None:
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
