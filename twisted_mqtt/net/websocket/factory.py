"""
WebSocket below other protocols, and beside others that use HTTP: the state that all connections of a port share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, cast

from twisted.internet.interfaces import IProtocol, IProtocolFactory
from zope.interface import classImplements, implementer

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog, peerName
from twisted_mqtt.net.websocket.autobahnconnection import AutobahnFactory
from twisted_mqtt.net.websocket.autobahnprivate import BEST, Ways
from twisted_mqtt.net.websocket.connection import WebSocketConnection
from twisted_mqtt.net.websocket.http import HTTPAnswer, forwardedAddress

if TYPE_CHECKING:
    from twisted.internet.address import IPv4Address, IPv6Address
    from twisted.internet.interfaces import IAddress, IReactorTime

    from twisted_mqtt.base.timerwheel import TimerWheel
    from twisted_mqtt.net.websocket.http import Request
    from twisted_mqtt.net.websocket.options import Endpoint, Otherwise, WebSocketPortOptions


@implementer(IProtocolFactory)
class WebSocketFactory:
    """
    Makes the connections of a port.

    @ivar options: what holds for all of them.
    @ivar wheel: asks for their deadlines.
    @ivar seconds: the clock of the wheel.
    @ivar stopping: whether connections are refused because the node stops.
    @ivar connections: how many there are.
    @ivar asking: those whose request has not come in full.
    @ivar refusals: how many handshakes and connections have ended by a fault.
    """

    noisy = False

    def __init__(
        self,
        options: WebSocketPortOptions,
        endpoints: Iterable[Endpoint],
        wheel: TimerWheel,
        reactor: IReactorTime,
        otherwise: Otherwise | None = None,
        stopping: Callable[[], bool] = lambda: False,
        ways: Ways = BEST,
    ) -> None:
        """
        @param endpoints: the paths that speak WebSocket; of several for one path the first counts.
        @param reactor: the clock of the wheel.
        @param otherwise: who answers all other requests.
        @param ways: how autobahn is used.
        """
        self.options = options
        self.wheel = wheel
        self.reactor = reactor
        self.seconds = reactor.seconds
        self.stopping = stopping
        self.connections = 0
        self.asking: set[WebSocketConnection] = set()
        self.refusals = 0
        self._served = [AutobahnFactory(endpoint, reactor, ways) for endpoint in endpoints]
        self._otherwise = otherwise
        self._refused = RateLimitedLog(self.seconds)

    def buildProtocol(self, addr: IAddress | None) -> IProtocol | None:
        """
        A connection. A subclass may return L{None} where no further one is taken.
        """
        # Declared below; of a compiled class mypy does not see it.
        return cast("IProtocol", WebSocketConnection(self))

    def doStart(self) -> None:
        """
        A port begins to listen.
        """
        for served in self._served:
            served.endpoint.factory.doStart()

    def doStop(self) -> None:
        """
        A port has stopped. If that is because the node stops, those who are still asking are sent away: the protocols
        above do not know of them yet.
        """
        if self.stopping():
            for connection in list(self.asking):
                connection.answer(HTTPAnswer(503, "the broker is stopping"))
        for served in self._served:
            served.endpoint.factory.doStop()

    def decide(self, request: Request, here: IAddress) -> AutobahnFactory | IProtocolFactory | HTTPAnswer:
        """
        Decide about a request: it becomes a WebSocket or the connection of another protocol, or it gets an answer.

        @param here: the address that the client has connected to.
        """
        origins = self.options.origins
        origin = request.headers.get("origin")
        served = next((served for served in self._served if served.options.isAt(request.path)), None)
        if served is not None and request.wantsWebSocket:
            if not origins.allows(origin, here):
                return HTTPAnswer(403, "the origin of this page is not allowed", tuple(origins.headers(origin, here)))
            return served
        if self._otherwise is not None:
            other = self._otherwise(request, here)
            if other is not None:
                return other
        headers = origins.headers(origin, here)
        if served is None:
            return HTTPAnswer(404, headers=tuple(headers))
        if request.wantsUpgrade:
            # Autobahn says what is wrong with it.
            return served
        headers = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), *headers]
        return HTTPAnswer(426, "this is for WebSocket", tuple(headers), request.method != "HEAD")

    def forwarded(self, headers: dict[str, str]) -> IPv4Address | IPv6Address | None:
        """
        The address of a client as the proxy before it says; L{None} where it doesn't, or is not asked.
        """
        options = self.options
        if options.addressHeader is None:
            return None
        port = headers.get(options.portHeader.lower(), "") if options.portHeader else ""
        return forwardedAddress(headers.get(options.addressHeader.lower(), ""), port)

    def refused(self, connection: WebSocketConnection, reason: str) -> None:
        """
        Count what ended by a fault, and say why.
        """
        self.refusals += 1
        self._refused.info(
            "{name}: {peer} refused: {reason}",
            name=self.options.name,
            peer=peerName(connection.transport.getPeer()),
            reason=reason,
        )


classImplements(WebSocketConnection, IProtocol)
