"""
MQTT over WebSocket (MQTT 5.0 section 6): what a listener's table says about the connections of its port.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar, Final

from autobahn.twisted.websocket import WebSocketServerFactory

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog
from twisted_mqtt.net.websocket.connection import WebSocketConnection
from twisted_mqtt.net.websocket.deflate import DeflateOptions
from twisted_mqtt.net.websocket.http import Headers, forwardedAddress

if TYPE_CHECKING:
    from twisted_mqtt.base.timerwheel import TimerWheel
    from twisted_mqtt.config.schema_listeners import SecureWebSocketListener, WebSocketListener

SUB_PROTOCOLS: Final = ("mqtt", "mqttv3.1", "mqttv3.1.1")
"""
The registered name, and those that came before it.
"""


class WebSocketFactory(WebSocketServerFactory):
    """
    Puts WebSocket below the protocols of another factory.

    @ivar wrapped: makes the protocols above.
    @ivar greeting: the connections that have not shaken hands yet.
    @ivar refusals: how many handshakes and connections have ended by a fault.
    @ivar largest: how many bytes a message may have; 0 for any number.
    """

    noisy = False
    connection: ClassVar[type[WebSocketConnection]] = WebSocketConnection

    def __init__(
        self,
        wrapped: Any,
        listener: WebSocketListener | SecureWebSocketListener,
        wheel: TimerWheel,
        reactor: Any,
        handshakeTimeout: float,
        status: Callable[[], str | None],
    ) -> None:
        """
        @param wrapped: provides C{IProtocolFactory}.
        @param reactor: provides C{IReactorTime}, and is the clock of the wheel.
        @param status: says that the node runs; L{None} where it does not.
        """
        WebSocketServerFactory.__init__(self, server="", reactor=reactor)
        self.wrapped = wrapped
        self.wheel = wheel
        self.seconds: Callable[[], float] = reactor.seconds
        self.handshakeTimeout = handshakeTimeout
        self.status = status
        self.greeting: set[WebSocketConnection] = set()
        self.refusals = 0
        self.mqttPath = listener.mqtt_path
        self.needsProtocol = listener.verify_protocol_header
        self.idleTimeout = listener.idle_timeout
        self.largest = listener.max_frame_size
        self.deflate = DeflateOptions(listener.deflate_opts)
        self._listener = listener
        self._origins = [origin.lower().rstrip("/") for origin in listener.allowed_origins]
        self._refused = RateLimitedLog(self.seconds)
        WebSocketServerFactory.setProtocolOptions(
            self,
            # Time is the wheel's, and the end ours.
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
            maxMessagePayloadSize=listener.max_frame_size,
            perMessageCompressionAccept=self.deflate.accept if listener.compress else None,
            allowNullOrigin=True,
        )
        # Autobahn copies its options to each connection, and formats them for a log that nobody reads: 2 KB and 0.1 ms.
        # A class that has them is left alone. It sets TCP_NODELAY by one of them, which the port has done.
        names = self.connection.CONFIG_ATTRS
        options = {name: getattr(self, name) for name in names if name != "tcpNoDelay"}
        options["perMessageCompressionAccept"] = staticmethod(options["perMessageCompressionAccept"])
        self.protocol: Any = type("WebSocketConnection", (self.connection,), {**options, "CONFIG_ATTRS": []})

    def doStart(self) -> None:
        """
        A port begins to listen.
        """
        self.wrapped.doStart()

    def doStop(self) -> None:
        """
        A port has stopped. If that is because the node stops, those who are still shaking hands are sent away: the
        protocols above do not know of them yet.
        """
        if self.status() is None:
            for connection in list(self.greeting):
                connection.answer(503, "the broker is stopping")
        self.wrapped.doStop()

    def allowsOrigin(self, origin: str | None) -> bool:
        """
        Whether a page may connect. What is no browser does not say where it comes from.
        """
        if origin is None or not self._origins:
            return True
        origin = origin.lower()
        return any(fnmatchcase(origin, allowed) for allowed in self._origins)

    def crossOrigin(self, origin: str | None) -> Headers:
        """
        The headers that let a page of another origin read an answer.
        """
        if not self._origins:
            return [("Access-Control-Allow-Origin", "*")]
        if origin is None or not self.allowsOrigin(origin):
            return [("Vary", "Origin")]
        return [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]

    def choose(self, offered: list[str]) -> str | None:
        """
        The first sub-protocol of those offered that is ours.
        """
        return next((name for name in offered if name in SUB_PROTOCOLS), None)

    def forwarded(self, headers: dict[str, str]) -> Any:
        """
        The address of a client as the proxy before it says; L{None} where it doesn't, or is not asked.
        """
        listener = self._listener
        if listener.proxy_address_header is None:
            return None
        port = headers.get(listener.proxy_port_header.lower(), "") if listener.proxy_port_header else ""
        return forwardedAddress(headers.get(listener.proxy_address_header.lower(), ""), port)

    def refused(self, connection: WebSocketConnection, reason: str) -> None:
        """
        Count what ended by a fault, and say why.
        """
        self.refusals += 1
        self._refused.info(
            "{path}: {peer} refused: {reason}",
            path=self._listener.path,
            peer=connection.transport.getPeer(),
            reason=reason,
        )
