"""
STOMP over WebSocket, plain and in the framing of SockJS: the layer between WebSocket and the protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateways.stomp.messagetransport import MessageTransport
from gateways.stomp.sockjsframes import GO_AWAY, HEARTBEAT, OPEN, BrokenMessages, closeFrame, messageFrame, messagesOf
from twisted_mqtt.net.websocket.frames import INVALID_PAYLOAD, NORMAL, PROTOCOL_ERROR, TOO_BIG, UNSUPPORTED_DATA, isUTF8

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from gateways.stomp.protocol import StompFactory, StompProtocol
    from gateways.stomp.settings import StompWeb
    from twisted_mqtt.net.roles import Producer
    from twisted_mqtt.net.websocket.transport import WebSocketTransport

SUB_PROTOCOLS: Final = ("v12.stomp", "v11.stomp", "v10.stomp")

# Their names in an ERROR frame.
_NAMES: Final = {
    PROTOCOL_ERROR: "WebSocket protocol error",
    UNSUPPORTED_DATA: "malformed message",
    INVALID_PAYLOAD: "malformed message",
    TOO_BIG: "message too big",
}


class StompSocket:
    """
    One WebSocket whose messages are STOMP: a
    L{MessageReceiver<twisted_mqtt.net.websocket.transport.MessageReceiver>} for the layer of WebSocket, and the
    L{Messenger<gateways.stomp.messagetransport.Messenger>} of the protocol above.
    """

    transport: WebSocketTransport

    def __init__(self, factory: StompSocketFactory, upper: StompProtocol) -> None:
        self._factory = factory
        self._upper = upper
        self._lower: MessageTransport | None = None
        self._hasProducer = False
        # Why the layer is closing the connection, where it is.
        self._failure: tuple[int, str] | None = None

    # From the layer of WebSocket

    def makeConnection(self, transport: WebSocketTransport) -> None:
        """
        The handshake is done.
        """
        self.transport = transport
        self._lower = MessageTransport(
            self, transport.getPeer(), transport.getHost(), transport.peerIdentity, transport.cookie
        )
        self._upper.makeConnection(self._lower)

    def messageReceived(self, payload: bytes, isText: bool) -> None:
        """
        A message has come.
        """
        self._upper.dataReceived(payload)

    def failing(self, code: int, reason: str) -> None:
        """
        The client has sent what WebSocket does not allow: STOMP tells it so in its own way first.
        """
        self._failure = (code, reason)
        self._upper.session.fail(_NAMES.get(code, "closed"), reason)

    def connectionLost(self, reason: Failure) -> None:
        """
        The connection is gone.
        """
        if self._lower is not None:
            self._lower.disconnecting = True
            self._upper.connectionLost(reason)

    # For the protocol above: Messenger

    def send(self, wire: bytes) -> None:
        """
        Send one message. A browser makes a string of text; what is none must not be said to be.
        """
        self.transport.sendMessage(wire, isUTF8(wire))

    def end(self, isTooBig: bool) -> None:
        """
        Close.
        """
        self.transport.closeWith(TOO_BIG if isTooBig else NORMAL, "")

    def abort(self) -> None:
        """
        Close at once.
        """
        self.transport.abortConnection()

    def setPaused(self, paused: bool) -> None:
        """
        Take no further messages, or do so again.
        """
        if paused:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    def setProducer(self, producer: Producer | None) -> None:
        """
        Whom to tell when the client does not read.
        """
        if self._hasProducer:
            self.transport.unregisterProducer()
        self._hasProducer = producer is not None
        if producer is not None:
            self.transport.registerProducer(producer, True)


class SockJSSocket(StompSocket):
    """
    The same in the framing of SockJS.
    """

    _beat: IDelayedCall | None = None

    def makeConnection(self, transport: WebSocketTransport) -> None:
        """
        The handshake is done.
        """
        transport.sendMessage(OPEN, True)
        self._beatLater()
        super().makeConnection(transport)

    def messageReceived(self, payload: bytes, isText: bool) -> None:
        """
        A message has come.
        """
        try:
            messages = messagesOf(payload)
        except BrokenMessages:
            self.transport.fail(UNSUPPORTED_DATA, "Broken JSON encoding.")
            return
        for message in messages:
            self._upper.dataReceived(message)

    def connectionLost(self, reason: Failure) -> None:
        """
        The connection is gone.
        """
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        super().connectionLost(reason)

    def send(self, wire: bytes) -> None:
        """
        Send one message.
        """
        self.transport.sendMessage(messageFrame([wire]), True)

    def end(self, isTooBig: bool) -> None:
        """
        Say that the session is over, and close.
        """
        self.transport.sendMessage(closeFrame(*(self._failure or GO_AWAY)), True)
        super().end(isTooBig)

    def _beatLater(self) -> None:
        self._beat = self._factory.reactor.callLater(self._factory.table.heartbeat, self._heartbeat)

    def _heartbeat(self) -> None:
        self.transport.sendMessage(HEARTBEAT, True)
        self._beatLater()


class StompSocketFactory:
    """
    Makes the sockets of a listener.

    @ivar stomp: makes the protocols above.
    @ivar table: C{[stomp.ws]}.
    @ivar reactor: calls when SockJS is to beat.
    """

    def __init__(self, stomp: StompFactory, table: StompWeb, reactor: IReactorTime, framed: bool) -> None:
        """
        @param framed: whether for SockJS.
        """
        self.stomp = stomp
        self.table = table
        self.reactor = reactor
        self._socket = SockJSSocket if framed else StompSocket

    def doStart(self) -> None:
        """
        Nothing.
        """

    def doStop(self) -> None:
        """
        Nothing.
        """

    def buildProtocol(self, address: IAddress | None) -> StompSocket | None:
        """
        A socket, or L{None} where no further client is taken.
        """
        upper = self.stomp.buildProtocol(address)
        return None if upper is None else self._socket(self, upper)
