"""
STOMP's HTTP listener: WebSocket, and SockJS over plain HTTP.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateways.stomp.sockjs import SockJSResource
from gateways.stomp.websocket import SUB_PROTOCOLS, StompSocketFactory
from twisted_mqtt.net.httpserver import BoundedSite, HTTPLimits
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
        resource = self._resource = SockJSResource(framed, origins)
        # A polling client makes many requests: they are not logged.
        self._site = BoundedSite(
            lambda request: resource, HTTPLimits(body=largest), reactor, stomp.profile.name, secure, logged=False
        )
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

    def doStop(self) -> None:
        """
        A port has stopped.
        """
        self._resource.stop()
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
