"""
STOMP's HTTP listener: WebSocket, and SockJS over plain HTTP.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from twisted.web.http import Request as HTTPRequest
from twisted.web.server import Request, Site

from gateways.stomp.sockjs import SockJSResource
from gateways.stomp.websocket import SUB_PROTOCOLS, StompSocketFactory
from twisted_mqtt.net.websocket.autobahnprivate import BEST, Ways
from twisted_mqtt.net.websocket.factory import WebSocketFactory
from twisted_mqtt.net.websocket.options import DeflateOptions, MessageEndpoint, WebSocketOptions, WebSocketPortOptions
from twisted_mqtt.net.websocket.origins import Origins

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IReactorTime

    from gateways.stomp.protocol import StompFactory
    from gateways.stomp.settings import StompWeb
    from twisted_mqtt.net.websocket.http import Request as WebRequest
    from twisted_mqtt.net.websocket.transport import MessageFactory

_TOO_LARGE: Final = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


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


class WebFactory(WebSocketFactory):
    """
    Makes the connections of an HTTP listener: each begins with a request, which is for WebSocket or for SockJS.
    """

    def __init__(
        self,
        stomp: StompFactory,
        table: StompWeb,
        reactor: IReactorTime,
        secure: bool = False,
        ways: Ways = BEST,
    ) -> None:
        """
        @param stomp: makes the protocols above.
        @param secure: whether there is TLS below.
        """
        gateway = self._gateway = stomp.gateway
        origins = Origins(table.allowed_origins, "https" if secure else "http")
        limits = gateway.frameLimits
        # As JSON a byte may take six.
        largest = 6 * (limits.maxHead + limits.maxBodyLength) + 1024
        framed = StompSocketFactory(stomp, table, reactor, framed=True)
        self._resource = SockJSResource(framed, origins)
        request = type("LimitedRequest", (_LimitedRequest,), {"largest": largest})
        site: Any = _QuietSite  # its own is untyped
        self._site: Site = site(self._resource, requestFactory=request, timeout=60, reactor=reactor)
        WebSocketFactory.__init__(
            self,
            WebSocketPortOptions(
                name=stomp.profile.name, handshakeTimeout=stomp.profile.zone.idle_timeout, origins=origins
            ),
            self.endpointsOf(table, largest, StompSocketFactory(stomp, table, reactor, framed=False), framed),
            gateway.broker.wheel,
            reactor,
            self._otherwise,
            lambda: bool(gateway.broker.stopping),
            ways,
        )

    def endpointsOf(
        self, table: StompWeb, largest: int, plain: MessageFactory, framed: MessageFactory
    ) -> list[MessageEndpoint]:
        """
        Route a request below the path: nothing or "websocket" for plain STOMP, server and session before it for SockJS.

        @param largest: how many bytes a message may have.
        """
        path = re.escape(table.path.rstrip("/"))
        paths = ((rf"{path}(/|/websocket)?", plain), (rf"{path}/[^/.\s]+/[^/.\s]+/websocket", framed))
        opts = table.deflate_opts
        deflate = DeflateOptions.named(
            opts.level,
            opts.strategy,
            opts.mem_level,
            opts.server_context_takeover,
            opts.client_context_takeover,
            opts.server_max_window_bits,
            opts.client_max_window_bits,
        )
        return [
            MessageEndpoint(
                WebSocketOptions(
                    path=re.compile(pattern),
                    subProtocols=SUB_PROTOCOLS,
                    largest=largest,
                    deflate=deflate if table.compress else None,
                ),
                factory,
            )
            for pattern, factory in paths
        ]

    def doStart(self) -> None:
        """
        A port begins to listen.
        """
        super().doStart()
        self._site.doStart()

    def doStop(self) -> None:
        """
        A port has stopped.
        """
        self._resource.stop()
        self._site.doStop()
        super().doStop()

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:
        """
        A connection, or L{None} while the broker is stopping.
        """
        if self._gateway.broker.stopping:
            return None
        return super().buildProtocol(addr)

    def _otherwise(self, request: WebRequest, here: IAddress) -> IProtocolFactory:
        """
        SockJS gets every request that is not for WebSocket.
        """
        return self._site
