"""
One WebSocket connection, between a port and the protocol above it, which sees a plain transport.

Autobahn shakes hands, and reads what is rare: control frames, fragments, compressed messages, faults. It takes some
9 us a frame, however; whole binary messages, which is nearly all that clients send, are therefore taken out of the
stream before it sees them, for 0.8 us each, and what is written is framed here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.util import encode_truncate
from autobahn.websocket import USES_NVX
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from autobahn.websocket.xormasker import create_xor_masker  # type: ignore[attr-defined]  # from where it is, native or not

from twisted_mqtt.net.websocket.deflate import framer
from twisted_mqtt.net.websocket.frames import takeFrames, unmaskAsNumber
from twisted_mqtt.net.websocket.http import (
    HEAD_AT_MOST,
    BadRequest,
    Headers,
    Request,
    isHTTP,
    parseRequest,
    response,
)
from twisted_mqtt.net.websocket.transport import Framer, WebSocketTransport

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from twisted_mqtt.net.websocket.factory import WebSocketFactory

STATUS_PATH: Final = "/status"
"""
Where load balancers ask whether the node runs.
"""

# RFC 6455 7.4.1
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
UNSUPPORTED_DATA: Final = 1003

# Autobahn copies what it has not consumed with every frame, and inflates at once what it is given: a thousand times as
# much, at worst.
_AT_ONCE: Final = 16384
_COMPRESSED_AT_ONCE: Final = 1024


def _unmaskNatively(mask: bytes, masked: bytes) -> bytes:
    unmasked: bytes = create_xor_masker(mask, len(masked)).process(masked)
    return unmasked


# Without its extension module autobahn unmasks byte by byte.
_unmask: Final = _unmaskNatively if USES_NVX else unmaskAsNumber


class _Quiet:
    """
    Autobahn's log: strangers' faults are no warnings, and formatting for nobody takes longer than the rest.
    """

    def debug(self, *_: object, **__: object) -> None:
        """
        Say nothing.
        """

    info = warn = error = debug


class WebSocketConnection(WebSocketServerProtocol):
    """
    One connection.

    @ivar upper: the protocol above; L{None} before the handshake is done, and at the end.
    @ivar upperTransport: its transport.
    @ivar bucket: see L{Timed<twisted_mqtt.base.timerwheel.Timed>}.
    """

    log = _Quiet()
    factory: WebSocketFactory
    transport: Any
    upper: Any = None
    upperTransport: WebSocketTransport | None = None
    bucket = 0
    # What autobahn has agreed upon with the client.
    _perMessageCompress: Any
    # The frame that autobahn is in the middle of.
    current_frame: Any
    _head = b""
    _held = b""
    _lastReceived = 0.0

    # IProtocol, for the transport below

    def connectionMade(self) -> None:
        """
        The connection is there; the client speaks first.
        """
        super().connectionMade()
        factory = self.factory
        factory.greeting.add(self)
        factory.wheel.add(self, factory.seconds() + factory.handshakeTimeout)

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes have come.
        """
        if self.state == self.STATE_OPEN:
            if self.factory.idleTimeout:
                self._lastReceived = self.factory.seconds()
            self._receive(data)
        elif self.state == self.STATE_CONNECTING:
            self._shakeHands(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # a default nobody uses
        """
        The connection is gone.
        """
        self.factory.wheel.remove(self)
        self.factory.greeting.discard(self)
        self._held = self._head = b""
        super().connectionLost(reason)
        upper, self.upper = self.upper, None
        transport = self.upperTransport
        if transport is not None:
            transport.disconnecting = True
            if upper is not None:
                upper.connectionLost(reason)

    def due(self, now: float) -> float:
        """
        See L{twisted_mqtt.base.timerwheel.Timed}.
        """
        if self.state == self.STATE_CONNECTING:
            self.factory.refused(self, "the handshake took too long")
            self.transport.abortConnection()
            return 0.0
        if self.state != self.STATE_OPEN or not self.factory.idleTimeout:
            return 0.0
        deadline = self._lastReceived + self.factory.idleTimeout
        if deadline > now:
            return deadline
        self.close(GOING_AWAY, "idle")
        return 0.0

    # The handshake

    def _shakeHands(self, data: bytes) -> None:
        # Only as much again as the end of the head may be split over.
        seen = max(0, len(self._head) - 3)
        self._head += data
        end = self._head.find(b"\r\n\r\n", seen)
        if end < 0:
            if not isHTTP(self._head):
                self.answer(400, "this port speaks WebSocket")
            elif len(self._head) > HEAD_AT_MOST:
                self.answer(431)
            return
        head, rest = self._head[: end + 4], self._head[end + 4 :]
        self._head = b""
        if len(head) > HEAD_AT_MOST:
            self.answer(431)
            return
        try:
            request = parseRequest(head)
        except BadRequest as error:
            self.answer(400, str(error))
            return
        if not self._mayUpgrade(request):
            return
        self.upper = self.factory.wrapped.buildProtocol(self.transport.getPeer())
        if self.upper is None:
            self.answer(503, "the broker is stopping")
            return
        self._dataReceived(head)
        # Its answer has been sent, since nobody is waited for.
        if self.state == self.STATE_OPEN:
            self._open(request)
            if rest:
                self._receive(rest)

    def _mayUpgrade(self, request: Request) -> bool:
        """
        Answer a request, unless it may become a WebSocket.
        """
        factory = self.factory
        origin = request.headers.get("origin")
        headers = factory.crossOrigin(origin)
        if request.path == STATUS_PATH and not request.wantsUpgrade:
            self._tellStatus(request, headers)
        elif request.path != factory.mqttPath:
            self.answer(404, headers=headers)
        elif not request.wantsUpgrade:
            upgrade = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
            self.answer(426, "this is for WebSocket", upgrade, request.method != "HEAD")
        elif not factory.allowsOrigin(origin):
            self.answer(403, "the origin of this page is not allowed")
        else:
            return True
        return False

    def _tellStatus(self, request: Request, headers: Headers) -> None:
        if request.method == "OPTIONS":
            self.answer(204, headers=[*headers, ("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")])
        elif request.method in ("GET", "HEAD"):
            text = self.factory.status()
            # A health check is no refusal.
            self._end(response(503 if text is None else 200, text or "stopping", headers, request.method == "GET"))
        else:
            self.answer(405, headers=[("Allow", "GET, HEAD, OPTIONS")])

    def onConnect(self, request: ConnectionRequest) -> str | None:
        """
        Autobahn has found nothing wrong with the handshake.

        @return: the sub-protocol to be spoken.
        """
        factory = self.factory
        chosen = factory.choose(request.protocols)
        if chosen is None and factory.needsProtocol:
            raise ConnectionDeny(400, "Sec-WebSocket-Protocol has to offer mqtt")
        return chosen

    def _open(self, request: Request) -> None:
        """
        The handshake is done.
        """
        factory = self.factory
        self.http_request_data = b""
        factory.wheel.remove(self)
        factory.greeting.discard(self)
        if factory.idleTimeout:
            self._lastReceived = factory.seconds()
            factory.wheel.add(self, self._lastReceived + factory.idleTimeout)
        upper = self.upper
        transport = WebSocketTransport(self.transport, self, factory.forwarded(request.headers), self._framer())
        self.upperTransport = transport
        if "cookie" in request.headers:
            # Hooks may know a user by it.
            upper.client.wsCookie = request.headers["cookie"]
        upper.makeConnection(transport)

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Headers | None = None) -> None:
        """
        Autobahn has found something wrong with the handshake.
        """
        self.answer(code, reason, responseHeaders)

    def answer(self, code: int, text: str = "", headers: Headers | None = None, withBody: bool = True) -> None:
        """
        Refuse a handshake, in HTTP.
        """
        self.upper = None
        self.factory.refused(self, f"{code} {text}".rstrip())
        self._end(response(code, text, headers, withBody))

    def _end(self, answer: bytes) -> None:
        self.factory.greeting.discard(self)
        self.transport.write(answer)
        self.dropConnection()

    def _framer(self) -> Framer | None:
        agreed = self._perMessageCompress
        if agreed is None:
            return None
        options = self.factory.deflate
        return framer(options, agreed.server_max_window_bits, agreed.server_no_context_takeover)

    # Messages

    def _receive(self, data: bytes) -> None:
        """
        Take messages, as long as somebody wants them.
        """
        if self._held:
            data = self._held + data
            self._held = b""
        transport = self.upperTransport
        assert transport is not None
        while data and self.state == self.STATE_OPEN:
            if self.current_frame is None and not self.inside_message:
                if self.data:
                    data, self.data = self.data + data, b""
                payloads, end, partial = takeFrames(data, self.factory.largest, _unmask)
                data = data[end:]
                if payloads:
                    self.received(payloads)
                    continue
                if partial:
                    self.data = data
                    return
            if transport.paused:
                self._held = data
                return
            size = _AT_ONCE if self._perMessageCompress is None else _COMPRESSED_AT_ONCE
            # The end of a frame that autobahn has begun; what follows may be ours again.
            piece, data = data[:size], data[size:]
            self._dataReceived(piece)

    def received(self, payloads: list[bytes]) -> None:
        """
        Deliver the payloads of messages. Where one ends and the next begins means nothing to MQTT.
        """
        data = payloads[0] if len(payloads) == 1 else b"".join(payloads)
        if data and self.upper is not None:
            self.upper.dataReceived(data)

    def onMessageBegin(self, isBinary: bool) -> None:
        """
        A message begins that autobahn reads.
        """
        super().onMessageBegin(isBinary)
        if not isBinary:
            # [MQTT-6.0.0-1]
            self._fail_connection(UNSUPPORTED_DATA, "MQTT is binary")

    def onMessageFrameData(self, payload: bytes) -> None:
        """
        A part of it has come.
        """
        if self.state == self.STATE_OPEN:
            self.received([payload])

    def onMessageFrameEnd(self) -> None:
        """
        Nothing: it has been delivered as it came.
        """

    def onMessageEnd(self) -> None:
        """
        Nothing, as above.
        """

    def resumed(self) -> None:
        """
        The protocol above takes data again: in a turn of its own, since it is in the middle of something.
        """
        if self._held:
            self.factory.reactor.callLater(0, self._deliverHeld)

    def _deliverHeld(self) -> None:
        transport = self.upperTransport
        if self._held and transport is not None and not transport.paused:
            self._receive(b"")

    # The end

    def closeNormally(self) -> None:
        """
        The protocol above has nothing more to say.
        """
        self.close(NORMAL)

    def close(self, code: int, reason: str = "") -> None:
        """
        Say why, and close. The client's own good-bye is not waited for: the transport reads until the client closes.
        """
        transport = self.upperTransport
        if transport is not None:
            transport.disconnecting = True
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code, encode_truncate(reason, 123) if reason else None)
        self.dropConnection()

    def dropConnection(self, abort: bool = False) -> None:
        """
        Close the transport below, by whoever's wish.
        """
        if self.upperTransport is not None:
            self.upperTransport.disconnecting = True
        super().dropConnection(abort)

    def _fail_connection(self, code: int = GOING_AWAY, reason: str = "") -> None:
        # Where autobahn ends all that is wrong. Its own way is either to drop the connection without telling why, or to
        # go on reading for the sake of an answer.
        if self.state != self.STATE_CLOSED:
            self.failedByMe = True
            self.factory.refused(self, f"{code} {reason}")
            self.close(code, reason)
