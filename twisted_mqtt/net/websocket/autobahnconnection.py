"""
Autobahn's part in a WebSocket: it does the handshake, and reads the rare frames.

It gets the request, and later whole frames or pieces of one; the caller collects its output. It uses only autobahn's
public interface, and L{twisted_mqtt.net.websocket.autobahnprivate}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.interfaces import IReactorTime

from twisted_mqtt.net.websocket.autobahnprivate import BEST, Ways
from twisted_mqtt.net.websocket.deflate import Deflate

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from twisted_mqtt.net.websocket.options import Endpoint
    from twisted_mqtt.net.websocket.transport import Carrier, Framer


class Owner(Protocol):
    """
    Is told of the messages that autobahn reads.
    """

    def messageBegins(self, isText: bool) -> None:
        """
        A message begins.
        """

    def messagePiece(self, payload: bytes) -> None:
        """
        A part of it has come, unmasked and inflated.
        """

    def messageEnds(self) -> None:
        """
        All of it has come.
        """


class Outlet:
    """
    The transport that autobahn sees: keeps what it writes until somebody asks.

    @ivar pieces: what has been written and not taken.
    """

    __slots__ = ("_lower", "pieces")

    def __init__(self, lower: Carrier) -> None:
        self._lower = lower
        self.pieces: list[bytes] = []

    def taken(self) -> bytes:
        """
        The output since the last call.
        """
        data = b"".join(self.pieces)
        self.pieces.clear()
        return data

    def write(self, data: bytes) -> None:
        """
        Keep some bytes.
        """
        self.pieces.append(data)

    def loseConnection(self) -> None:
        """
        Nothing: what autobahn has written says that it is done.
        """

    abortConnection = loseConnection

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Nothing: that is the port's affair.
        """

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """
        Nothing: autobahn produces nothing by itself.
        """

    def unregisterProducer(self) -> None:
        """
        Nothing, as above.
        """

    def getPeer(self) -> IAddress:
        """
        The address of the client.
        """
        return self._lower.getPeer()

    def getHost(self) -> IAddress:
        """
        The address of this side.
        """
        return self._lower.getHost()


class AutobahnConnection(WebSocketServerProtocol):
    """
    One connection.

    What autobahn writes in the middle of a message says why it fails the connection; then it reads on, which the owner
    is not told of.

    @ivar owner: is told of messages.
    @ivar outlet: its transport.
    @ivar opened: whether the handshake has succeeded.
    """

    factory: AutobahnFactory
    owner: Owner
    outlet: Outlet
    opened = False

    def onConnect(self, request: ConnectionRequest) -> str | None:
        """
        Nothing is wrong with the handshake.

        @return: the sub-protocol to be spoken.
        """
        options = self.factory.options
        for name in request.protocols:
            if name in options.subProtocols:
                return str(name)
        if options.needsProtocol:
            raise ConnectionDeny(400, f"Sec-WebSocket-Protocol has to offer {options.subProtocols[0]}")
        return None

    def onOpen(self) -> None:
        """
        The handshake has succeeded.
        """
        self.opened = True

    def onMessageBegin(self, isBinary: bool) -> None:
        """
        A message begins.
        """
        super().onMessageBegin(isBinary)
        if not self.outlet.pieces:
            self.owner.messageBegins(not isBinary)

    def onMessageFrameData(self, payload: bytes) -> None:
        """
        A part of it has come. Autobahn need not keep it.
        """
        if not self.outlet.pieces:
            self.owner.messagePiece(payload)

    def onMessageFrameEnd(self) -> None:
        """
        Nothing, as above.
        """

    def onMessageEnd(self) -> None:
        """
        All of it has come.
        """
        if not self.outlet.pieces:
            self.owner.messageEnds()

    def ended(self, reason: Failure) -> None:
        """
        The connection is gone. Autobahn keeps itself in a circle: what is cut off from that is freed at once.
        """
        self.connectionLost(reason)
        del self.owner, self.outlet


class AutobahnFactory(WebSocketServerFactory):
    """
    Serves an endpoint.

    @ivar endpoint: what is served.
    @ivar options: its options.
    @ivar largest: how long a message of one frame may be; 0 for any length.
    @ivar deflate: its compression; L{None} for none.
    @ivar receive: hands bytes to a connection.
    @ivar unmask: unmasks a long payload, given the mask and the masked.
    """

    noisy = False

    def __init__(self, endpoint: Endpoint, reactor: IReactorTime, ways: Ways = BEST) -> None:
        WebSocketServerFactory.__init__(self, server="", reactor=reactor)
        options = endpoint.options
        self.endpoint = endpoint
        self.options = options
        self.largest = min(options.largest or options.largestFrame, options.largestFrame or options.largest)
        self.deflate = None if options.deflate is None else Deflate(options.deflate)
        self.receive = ways.receive
        self.unmask = ways.unmask
        self._ways = ways
        WebSocketServerFactory.setProtocolOptions(
            self,
            # Time is the wheel's, origins are ours, and so is the end: it says why.
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
            failByDrop=False,
            allowNullOrigin=True,
            maxMessagePayloadSize=options.largest,
            maxFramePayloadSize=options.largestFrame,
            perMessageCompressionAccept=None if self.deflate is None else self.deflate.accept,
        )
        self._class = ways.protocolOf(self, AutobahnConnection)

    def connection(self, lower: Carrier, owner: Owner) -> AutobahnConnection:
        """
        Begin a connection.
        """
        made = self._class()
        made.factory = self
        made.owner = owner
        made.outlet = Outlet(lower)
        made.makeConnection(made.outlet)  # type: ignore[no-untyped-call]  # Twisted's own has no annotations
        return made

    def framer(self) -> Framer | None:
        """
        Get the compressor of the connection whose handshake has just ended, if it has one.
        """
        return None if self.deflate is None else self.deflate.agreed()

    def forget(self, connection: AutobahnConnection) -> None:
        """
        Forget what is remembered of a handshake that is done.
        """
        self._ways.forget(connection)
