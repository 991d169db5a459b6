"""
What speaks HTTP: it looks at the first request of a connection, and gives it to WebSocket or to SockJS.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.protocol import Factory
from twisted.web.http import Request as HTTPRequest
from twisted.web.server import Request, Site

from gateways.stomp.sockjs import SockJSResource
from gateways.stomp.websocket import StompWebSocketFactory

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from gateways.stomp.protocol import StompFactory
    from gateways.stomp.settings import StompWeb

# The head of a first request is no longer than this.
_LONGEST_HEAD: Final = 16384
_TOO_LARGE: Final = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_UPGRADE: Final = re.compile(rb"^upgrade:[ \t]*websocket[ \t]*\r$", re.IGNORECASE | re.MULTILINE)


class _QuietSite(Site):
    """
    A site that does not log every request: a polling client makes many.
    """

    noisy = False
    displayTracebacks = False

    def log(self, request: HTTPRequest) -> None:
        """
        Say nothing.
        """


class _LimitedRequest(Request):
    """
    A request whose body is not longer than a client's messages may be.
    """

    largest = 65536
    _taken = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:
        """
        The body is to have so many bytes.
        """
        tooLarge = length is not None and length > self.largest
        # For a large one there would be a file to put it in.
        HTTPRequest.gotLength(self, 0 if tooLarge else length)
        if tooLarge:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """
        A piece of the body has come.
        """
        self._taken += len(data)
        if self._taken > self.largest:
            self._refuse()
        elif not self._refused:
            HTTPRequest.handleContentChunk(self, data)

    def process(self) -> None:
        """
        The request is here.
        """
        if not self._refused:
            Request.process(self)

    def _refuse(self) -> None:
        if not self._refused:
            self._refused = True
            transport: Any = self.channel.transport
            transport.write(_TOO_LARGE)
            transport.loseConnection()


class _Door:
    """
    A connection whose client has not shown yet what it wants. Then it passes everything on.
    """

    def __init__(self, factory: WebFactory, address: Any) -> None:
        self._factory = factory
        self._address = address
        self._head = b""
        self._inner: Any = None
        self._timer: Any = None
        self.transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        """
        The connection is there.
        """
        self.transport = transport
        self._factory.connections += 1
        self._timer = self._factory.reactor.callLater(self._factory.patience, self._tooLate)

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes have come.
        """
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        # Only as much again as the end of the head may be split over.
        seen = max(0, len(self._head) - 3)
        self._head += data
        end = self._head.find(b"\r\n\r\n", seen)
        if end < 0 and len(self._head) <= _LONGEST_HEAD:
            return
        self._cancel()
        head, self._head = self._head, b""
        self._inner = self._factory.choose(head[: end + 2] if end >= 0 else head, self._address)
        self._inner.makeConnection(self.transport)
        self._inner.dataReceived(head)

    def connectionLost(self, reason: Failure) -> None:
        """
        The connection is gone.
        """
        self._cancel()
        self._factory.connections -= 1
        if self._inner is not None:
            self._inner.connectionLost(reason)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tooLate(self) -> None:
        self._timer = None
        self.transport.abortConnection()


class WebFactory(Factory):
    """
    Makes the connections of an HTTP listener.

    @ivar connections: how many there are.
    @ivar patience: in how many seconds a client must have said what it wants.
    """

    noisy = False

    def __init__(self, stomp: StompFactory, table: StompWeb, reactor: Any, secure: bool = False) -> None:
        """
        @param stomp: makes the protocols above.
        @param secure: whether there is TLS below.
        """
        self.reactor = reactor
        self.patience = stomp.profile.zone.idle_timeout
        self.connections = 0
        self._gateway = stomp.gateway
        self._plain = StompWebSocketFactory(stomp, table, reactor, framed=False, secure=secure)
        self._framed = StompWebSocketFactory(stomp, table, reactor, framed=True, secure=secure)
        self._resource = SockJSResource(self._framed)
        site: Any = _QuietSite
        self._site: Any = site(self._resource, requestFactory=self._requestClass(), timeout=60, reactor=reactor)
        path = re.escape(table.path.rstrip("/").encode())
        # What is below the path: nothing or "websocket" for STOMP as it is, server and session before it for SockJS.
        self._isPlain = re.compile(rb"GET %b(/|/websocket)?(\?\S*)? " % path)
        self._isFramed = re.compile(rb"GET %b/[^/.\s]+/[^/.\s]+/websocket(\?\S*)? " % path)

    def _requestClass(self) -> type[Request]:
        limits = self._gateway.frameLimits
        largest = 6 * (limits.maxHead + limits.maxBodyLength) + 1024
        return type("LimitedRequest", (_LimitedRequest,), {"largest": largest})

    def doStart(self) -> None:
        """
        A port begins to listen.
        """
        self._site.doStart()

    def doStop(self) -> None:
        """
        A port has stopped.
        """
        self._resource.stop()
        self._site.doStop()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        A connection, unless there are too many. SockJS takes two for each client.
        """
        gateway = self._gateway
        if gateway.broker.stopping or self.connections >= 2 * gateway.settings.listener.max_clients:
            return None
        return _Door(self, addr)

    def choose(self, head: bytes, address: Any) -> Any:
        """
        Who answers a connection that begins with this request.
        """
        if _UPGRADE.search(head):
            if self._isPlain.match(head):
                return self._plain.buildProtocol(address)
            if self._isFramed.match(head):
                return self._framed.buildProtocol(address)
        return self._site.buildProtocol(address)
