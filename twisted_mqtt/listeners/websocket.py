"""
MQTT over WebSocket (MQTT 5.0 section 6): turns a listener's table into the options of the WebSocket layer; and the page
that load balancers use to check whether the node runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from twisted_mqtt.net.websocket.autobahnprivate import BEST, Ways
from twisted_mqtt.net.websocket.factory import WebSocketFactory
from twisted_mqtt.net.websocket.http import HTTPAnswer, Request
from twisted_mqtt.net.websocket.options import DeflateOptions, StreamEndpoint, WebSocketOptions, WebSocketPortOptions
from twisted_mqtt.net.websocket.origins import Origins

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IProtocolFactory, IReactorTime

    from twisted_mqtt.base.timerwheel import TimerWheel
    from twisted_mqtt.config.schema_listeners import DeflateSettings, SecureWebSocketListener, WebSocketListener

SUB_PROTOCOLS: Final = ("mqtt", "mqttv3.1", "mqttv3.1.1")
"""
The registered name, and those that came before it.
"""

STATUS_PATHS: Final = ("/status", "/mqtt/status")
"""
Where load balancers ask; the second is that of older ones.
"""


def webSocketFactory(
    listener: WebSocketListener | SecureWebSocketListener,
    clients: IProtocolFactory,
    wheel: TimerWheel,
    reactor: IReactorTime,
    handshakeTimeout: float,
    running: str,
    isStopping: Callable[[], bool],
    obstacles: Callable[[], Sequence[str]],
    ways: Ways = BEST,
) -> WebSocketFactory:
    """
    Put WebSocket below the factory of MQTT clients.

    @param reactor: the clock of the wheel.
    @param running: what the status page says while clients are to come here.
    @param obstacles: why they are not; none if they are.
    """
    options = portOptionsOf(listener, handshakeTimeout)
    status = StatusPage(running, obstacles, options.origins)
    return WebSocketFactory(options, [endpointOf(listener, clients)], wheel, reactor, status, isStopping, ways)


def portOptionsOf(
    listener: WebSocketListener | SecureWebSocketListener, handshakeTimeout: float
) -> WebSocketPortOptions:
    """
    The options of the port, from a listener's table.
    """
    return WebSocketPortOptions(
        name=listener.path,
        handshakeTimeout=handshakeTimeout,
        origins=Origins(listener.allowed_origins),
        addressHeader=listener.proxy_address_header,
        portHeader=listener.proxy_port_header,
    )


def endpointOf(listener: WebSocketListener | SecureWebSocketListener, factory: IProtocolFactory) -> StreamEndpoint:
    """
    The options of the path for MQTT, from a listener's table.
    """
    options = WebSocketOptions(
        path=listener.mqtt_path,
        subProtocols=SUB_PROTOCOLS,
        needsProtocol=listener.verify_protocol_header,
        largest=listener.max_frame_size,
        deflate=deflateOptions(listener.deflate_opts) if listener.compress else None,
        idleTimeout=listener.idle_timeout,
    )
    # [MQTT-6.0.0-1]
    return StreamEndpoint(options, factory, "MQTT is binary")


def deflateOptions(table: DeflateSettings) -> DeflateOptions:
    """
    How messages are compressed, as C{deflate_opts} says.
    """
    return DeflateOptions.named(
        table.level,
        table.strategy,
        table.mem_level,
        table.server_context_takeover,
        table.client_context_takeover,
        table.server_max_window_bits,
        table.client_max_window_bits,
    )


class StatusPage:
    """
    Tells whether clients are to come here: an L{Otherwise<twisted_mqtt.net.websocket.options.Otherwise>}.
    """

    def __init__(self, running: str, obstacles: Callable[[], Sequence[str]], origins: Origins) -> None:
        """
        @param running: what it says if they are.
        @param obstacles: why they are not.
        @param origins: of the web pages that may read it.
        """
        self._running = running
        self._obstacles = obstacles
        self._origins = origins

    def __call__(self, request: Request, here: IAddress) -> HTTPAnswer | None:
        """
        Answer a request, if it is for this page.
        """
        if request.path not in STATUS_PATHS or request.wantsUpgrade:
            return None
        headers = tuple(self._origins.headers(request.headers.get("origin"), here))
        if request.method == "OPTIONS":
            allowed = ("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
            return HTTPAnswer(204, headers=(*headers, allowed), isRefusal=False)
        if request.method not in ("GET", "HEAD"):
            return HTTPAnswer(405, headers=(("Allow", "GET, HEAD, OPTIONS"),))
        obstacles = self._obstacles()
        code, text = (503, "\n".join(obstacles)) if obstacles else (200, self._running)
        # A health check is no refusal.
        return HTTPAnswer(code, text, headers, request.method == "GET", isRefusal=False)
