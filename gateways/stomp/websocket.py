"""
STOMP over WebSocket, plain and in the framing of SockJS. Autobahn speaks WebSocket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from gateways.stomp.messagetransport import MessageTransport
from gateways.stomp.sockjsframes import BrokenMessages, closeFrame, messageFrame, messagesOf

if TYPE_CHECKING:
    from gateways.stomp.protocol import StompFactory
    from gateways.stomp.settings import StompWeb

# The best first.
SUB_PROTOCOLS: Final = ("v12.stomp", "v11.stomp", "v10.stomp")

# RFC 6455 7.4.1
_NORMAL: Final = 1000
_UNSUPPORTED: Final = 1003

# What SockJS says when a session has ended.
GO_AWAY: Final = (3000, "Go away!")


class StompWebSocket(WebSocketServerProtocol):
    """
    One WebSocket.

    @ivar framed: whether it is one of SockJS.
    """

    factory: StompWebSocketFactory
    transport: Any
    framed = False
    _upper: Any = None
    _lower: MessageTransport | None = None
    _producer: Any = None
    _beat: Any = None
    _cookie: str | None = None

    # From autobahn

    def onConnect(self, request: ConnectionRequest) -> str | None:
        """
        Nothing is wrong with the handshake.

        @return: the sub-protocol to be spoken.
        """
        factory = self.factory
        if not factory.allowsOrigin(request.headers.get("origin"), self.transport):
            raise ConnectionDeny(403, "the origin of this page is not allowed")
        self._upper = factory.stomp.buildProtocol(self.transport.getPeer())
        if self._upper is None:
            raise ConnectionDeny(503, "no further client is taken")
        self._cookie = request.headers.get("cookie")
        return next((name for name in SUB_PROTOCOLS if name in request.protocols), None)

    def onOpen(self) -> None:
        """
        The handshake is done.
        """
        transport = self.transport
        identity = getattr(transport, "peerIdentity", None)
        lower = MessageTransport(self, transport.getPeer(), transport.getHost(), identity, self._cookie)
        self._lower = lower
        if self.framed:
            self._sendText(b"o")
            self._beat = self.factory.reactor.callLater(self.factory.table.heartbeat, self._heartbeat)
        self._upper.makeConnection(lower)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        A message has come.
        """
        upper = self._upper
        if upper is None or self._lower is None or self._lower.disconnecting:
            return
        if not self.framed:
            upper.dataReceived(payload)
            return
        try:
            messages = messagesOf(payload)
        except BrokenMessages:
            self.sendClose(_UNSUPPORTED, "Broken JSON encoding.")
            return
        for message in messages:
            upper.dataReceived(message)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """
        The connection is gone.
        """
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        upper, self._upper = self._upper, None
        if upper is not None and self._lower is not None:
            self._lower.disconnecting = True
            upper.connectionLost(Failure(ConnectionDone()))

    # For the protocol above: Messenger

    def send(self, wire: bytes) -> None:
        """
        Send one message.
        """
        if self.framed:
            self._sendText(messageFrame([wire]))
        else:
            self._sendText(wire)

    def end(self) -> None:
        """
        Close.
        """
        if self.framed:
            self._sendText(closeFrame(*GO_AWAY))
        self.sendClose(_NORMAL)

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
        elif not getattr(self.transport, "disconnecting", False):
            self.transport.resumeProducing()

    def setProducer(self, producer: Any) -> None:
        """
        Whom to tell when the client does not read.
        """
        if self._producer is not None:
            self.transport.unregisterProducer()
        self._producer = producer
        if producer is not None:
            self.transport.registerProducer(producer, True)

    def _sendText(self, payload: bytes) -> None:
        # A browser makes a string of text; what is none must not be said to be.
        try:
            payload.decode("utf-8")
        except UnicodeDecodeError:
            WebSocketServerProtocol.sendMessage(self, payload, True)
        else:
            WebSocketServerProtocol.sendMessage(self, payload, False)

    def _heartbeat(self) -> None:
        self._sendText(b"h")
        self._beat = self.factory.reactor.callLater(self.factory.table.heartbeat, self._heartbeat)


class SockJSWebSocket(StompWebSocket):
    """
    One WebSocket of SockJS.
    """

    framed = True


class StompWebSocketFactory(WebSocketServerFactory):
    """
    Makes the WebSockets of a listener.

    @ivar stomp: makes the protocols above.
    @ivar origins: of the pages that may connect; none for all.
    """

    noisy = False

    def __init__(self, stomp: StompFactory, table: StompWeb, reactor: Any, framed: bool, secure: bool = False) -> None:
        """
        @param framed: whether for SockJS.
        @param secure: whether there is TLS below.
        """
        WebSocketServerFactory.__init__(self, protocols=list(SUB_PROTOCOLS), server="", reactor=reactor)
        self.protocol = SockJSWebSocket if framed else StompWebSocket
        self.stomp = stomp
        self.table = table
        limits = stomp.gateway.frameLimits
        # As JSON a byte may take six.
        largest = 6 * (limits.maxHead + limits.maxBodyLength) + 1024
        WebSocketServerFactory.setProtocolOptions(
            self,
            maxMessagePayloadSize=largest,
            maxFramePayloadSize=largest,
            openHandshakeTimeout=stomp.profile.zone.idle_timeout,
            closeHandshakeTimeout=1.0,
            allowNullOrigin=True,
            # It is the port that sets it.
            tcpNoDelay=False,
        )
        self._secure = secure
        self.origins = [origin.lower().rstrip("/") for origin in table.allowed_origins]

    def allowsOrigin(self, origin: str | None, transport: Any) -> bool:
        """
        Whether a page may connect. What is no browser does not say where it comes from.

        A page of the gateway's own may: that is the iframe of SockJS, which in turn only pages that may connect can
        show. It is known by the address of the socket; a name is no proof, for its owner can let it mean any address.

        @param transport: the connection that it has come by.
        """
        if origin is None or not self.origins or origin.lower() in self.origins:
            return True
        here = transport.getHost()
        host = f"[{here.host}]" if ":" in here.host else here.host
        scheme, usual = ("https", 443) if self._secure else ("http", 80)
        own = f"{scheme}://{host}" if here.port == usual else f"{scheme}://{host}:{here.port}"
        return origin.lower() == own
