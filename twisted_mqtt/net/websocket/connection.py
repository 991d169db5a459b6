"""
One connection of a WebSocket port, between the port and the protocol above it.

Autobahn does the handshake, and reads the rare frames: control frames, fragments, compressed messages, errors. But it
takes about 5 us for a frame. Nearly all frames from clients are whole messages, so this module takes these out of the
stream before autobahn sees them, for 0.5 us each, and it frames all output itself.

This module is compiled where possible; L{twisted_mqtt.net.websocket.factory} declares the interface of its class.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from twisted_mqtt.net.websocket.autobahnconnection import AutobahnFactory
from twisted_mqtt.net.websocket.frames import (
    BINARY,
    CLOSE,
    GOING_AWAY,
    NORMAL,
    PING,
    TEXT,
    UNSUPPORTED_DATA,
    closeFrame,
    frameHeader,
    frameLength,
    serverFrames,
    takeFrames,
)
from twisted_mqtt.net.websocket.http import (
    HEAD_AT_MOST,
    BadRequest,
    HTTPAnswer,
    Request,
    isHTTP,
    parseRequest,
    refusalIn,
    response,
)
from twisted_mqtt.net.websocket.options import MessageEndpoint, StreamEndpoint
from twisted_mqtt.net.websocket.transport import WebSocketTransport

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory, ITransport
    from twisted.python.failure import Failure

    from twisted_mqtt.net.roles import Receiver
    from twisted_mqtt.net.websocket.autobahnconnection import AutobahnConnection
    from twisted_mqtt.net.websocket.factory import WebSocketFactory
    from twisted_mqtt.net.websocket.transport import Carrier, MessageReceiver

# The states of a connection, in order.
ASKING: Final = 0  # its request has not come in full
OPEN: Final = 1  # it speaks WebSocket
HANDED_OVER: Final = 2  # or something else, which another protocol speaks
CLOSED: Final = 3  # nothing is read any more

# Autobahn copies what it has not consumed with every frame, and inflates at once what it is given: a thousand times as
# much, at worst.
_AT_ONCE: Final = 16384
_COMPRESSED_AT_ONCE: Final = 1024


class WebSocketConnection:
    """
    One connection: C{IProtocol}.

    @ivar state: what has become of it.
    @ivar upper: the protocol above; L{None} before the handshake is done, and at the end.
    @ivar bucket: see L{Timed<twisted_mqtt.base.timerwheel.Timed>}.
    """

    __slots__ = (
        "_atOnce",
        "_autobahn",
        "_failure",
        "_head",
        "_held",
        "_inMessage",
        "_isText",
        "_lastReceived",
        "_largest",
        "_left",
        "_other",
        "_pieces",
        "_pinged",
        "_served",
        "_takesMessages",
        "_upperTransport",
        "bucket",
        "factory",
        "state",
        "stream",
        "receiver",
        "transport",
    )

    transport: Carrier

    def __init__(self, factory: WebSocketFactory) -> None:
        self.factory = factory
        self.state = ASKING
        self.bucket = 0
        # Of what speaks above, one at most.
        self.stream: Receiver | None = None
        self.receiver: MessageReceiver | None = None
        self._other: Receiver | None = None
        self._upperTransport: WebSocketTransport | None = None
        self._autobahn: AutobahnConnection | None = None
        self._served: AutobahnFactory | None = None
        self._takesMessages = False
        self._largest = 0
        self._atOnce = _AT_ONCE
        self._head = b""
        # Received bytes that were not taken: the beginning of a frame, or everything while reading is paused.
        self._held = b""
        # How much of the frame that autobahn reads has not come; and whether its message goes on after it.
        self._left = 0
        self._inMessage = False
        # The message that it reads, where messages are delivered whole.
        self._isText = False
        self._pieces: list[bytes] = []
        # Why the connection is closed, where that is the fault of the client.
        self._failure: tuple[int, str] | None = None
        self._lastReceived = 0.0
        self._pinged = 0.0

    # IProtocol, for the transport below

    def makeConnection(self, transport: ITransport) -> None:
        """
        The connection is there; the client speaks first.
        """
        self.transport = cast("Carrier", transport)
        factory = self.factory
        factory.connections += 1
        factory.asking.add(self)
        factory.wheel.add(self, factory.seconds() + factory.options.handshakeTimeout)

    def connectionMade(self) -> None:
        """
        Nothing: L{makeConnection} has done it.
        """

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes have come.
        """
        state = self.state
        if state == OPEN:
            if self._lastReceived:
                self._lastReceived = self.factory.seconds()
            self._receive(data)
        elif state == ASKING:
            self._ask(data)
        elif self._other is not None:
            self._other.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:
        """
        The connection is gone.
        """
        factory = self.factory
        factory.connections -= 1
        factory.wheel.remove(self)
        factory.asking.discard(self)
        self.state = CLOSED
        self._held = self._head = b""
        self._pieces = []
        # They point at each other: cut, they are freed at once instead of being garbage that has to be found.
        autobahn, self._autobahn = self._autobahn, None
        if autobahn is not None:
            autobahn.ended(reason)
        transport = self._upperTransport
        if transport is not None:
            transport.disconnecting = True
        uppers = (self._other, self.stream, self.receiver)
        self._other = self.stream = self.receiver = None
        for upper in uppers:
            if upper is not None:
                upper.connectionLost(reason)

    # Deadlines

    def due(self, now: float) -> float:
        """
        See L{twisted_mqtt.base.timerwheel.Timed}.
        """
        if self.state == ASKING:
            self.factory.refused(self, "the handshake took too long")
            self.transport.abortConnection()
            return 0.0
        if self.state != OPEN or self._served is None:
            return 0.0
        options = self._served.options
        deadlines: list[float] = []
        if options.idleTimeout:
            end = self._lastReceived + options.idleTimeout
            if end <= now:
                self.close(GOING_AWAY, "idle")
                return 0.0
            deadlines.append(end)
        if options.pingInterval:
            ping = max(self._lastReceived, self._pinged) + options.pingInterval
            if ping <= now:
                self._pinged = now
                self.transport.write(frameHeader(PING, 0))
                ping = now + options.pingInterval
            deadlines.append(ping)
        return min(deadlines, default=0.0)

    # The request

    def _ask(self, data: bytes) -> None:
        # Only as much again as the end of the head may be split over.
        seen = max(0, len(self._head) - 3)
        self._head += data
        end = self._head.find(b"\r\n\r\n", seen)
        if end < 0:
            if not isHTTP(self._head):
                self.answer(HTTPAnswer(400, "this port speaks WebSocket"))
            elif len(self._head) > HEAD_AT_MOST:
                self.answer(HTTPAnswer(431))
            return
        head, rest = self._head[: end + 4], self._head[end + 4 :]
        self._head = b""
        if len(head) > HEAD_AT_MOST:
            self.answer(HTTPAnswer(431))
            return
        try:
            request = parseRequest(head)
        except BadRequest as error:
            self.answer(HTTPAnswer(400, str(error)))
            return
        outcome = self.factory.decide(request, self.transport.getHost())
        if isinstance(outcome, HTTPAnswer):
            self.answer(outcome)
        elif isinstance(outcome, AutobahnFactory):
            self._shakeHands(outcome, request, head, rest)
        else:
            self._handOver(outcome, head + rest)

    def _shakeHands(self, served: AutobahnFactory, request: Request, head: bytes, rest: bytes) -> None:
        """
        Let autobahn answer a handshake.
        """
        endpoint = served.endpoint
        peer = self.transport.getPeer()
        if isinstance(endpoint, MessageEndpoint):
            self.receiver = endpoint.factory.buildProtocol(peer)
        else:
            self.stream = endpoint.factory.buildProtocol(peer)
        if self.stream is None and self.receiver is None:
            self.answer(
                HTTPAnswer(503, "the broker is stopping" if self.factory.stopping() else "no more clients are taken")
            )
            return
        self._served = served
        made = self._autobahn = served.connection(self.transport, self)
        served.receive(made, head)
        answer = made.outlet.taken()
        # It is there, since nobody was waited for.
        if not made.opened:
            self.answer(refusalIn(answer))
            return
        self.transport.write(answer)
        served.forget(made)
        self._open(served, request)
        if rest and self.state == OPEN:
            self._receive(rest)

    def _open(self, served: AutobahnFactory, request: Request) -> None:
        """
        The handshake is done.
        """
        factory, options = self.factory, served.options
        factory.wheel.remove(self)
        factory.asking.discard(self)
        self.state = OPEN
        self._largest = served.largest
        wait = min(options.idleTimeout or options.pingInterval, options.pingInterval or options.idleTimeout)
        if wait:
            self._lastReceived = factory.seconds()
            factory.wheel.add(self, self._lastReceived + wait)
        framer = served.framer()
        if framer is not None:
            self._atOnce = _COMPRESSED_AT_ONCE
        transport = WebSocketTransport(
            self.transport, self, factory.forwarded(request.headers), framer, request.headers.get("cookie")
        )
        self._upperTransport = transport
        if self.receiver is not None:
            self._takesMessages = True
            self.receiver.makeConnection(transport)
        elif self.stream is not None:
            self.stream.makeConnection(transport)

    def _handOver(self, factory: IProtocolFactory, data: bytes) -> None:
        """
        It is no WebSocket: another protocol takes the connection over.
        """
        other = factory.buildProtocol(self.transport.getPeer())
        if other is None:
            self.answer(HTTPAnswer(503))
            return
        self.factory.wheel.remove(self)
        self.factory.asking.discard(self)
        self.state = HANDED_OVER
        self._other = other
        other.makeConnection(cast("ITransport", self.transport))
        other.dataReceived(data)

    def answer(self, answer: HTTPAnswer) -> None:
        """
        Answer in HTTP, and close.
        """
        self.stream = self.receiver = None
        self.factory.asking.discard(self)
        if answer.isRefusal:
            self.factory.refused(self, f"{answer.code} {answer.text}".rstrip())
        self.state = CLOSED
        self.transport.write(response(answer))
        self.transport.loseConnection()

    # Input

    def _receive(self, data: bytes) -> None:
        """
        Take messages, as long as somebody wants them.
        """
        if self._held:
            data = self._held + data
            self._held = b""
        transport, served, autobahn = self._upperTransport, self._served, self._autobahn
        assert transport is not None and served is not None and autobahn is not None
        pieces = autobahn.outlet.pieces
        while data and self.state == OPEN:
            if transport.paused:
                self._held = data
                return
            if not self._left:
                if not self._inMessage:
                    first = TEXT if data[0] == TEXT and self._takesMessages else BINARY
                    payloads, end, partial = takeFrames(data, self._largest, served.unmask, first)
                    data = data[end:]
                    if payloads:
                        self._deliver(payloads, first == TEXT)
                        continue
                    if partial:
                        self._held = data
                        return
                self._left = frameLength(data)
                if not self._left:
                    self._held = data
                    return
                # Control frames may stand in the middle of a message; other frames say whether it goes on.
                if not data[0] & 0x08:
                    self._inMessage = data[0] < 0x80
            size = min(self._atOnce, self._left)
            if size >= len(data):
                piece, data = data, b""
            else:
                piece, data = data[:size], data[size:]
            self._left -= len(piece)
            served.receive(autobahn, piece)
            if pieces and self.state == OPEN:
                self._doAsItSays(autobahn.outlet.taken())

    def _doAsItSays(self, written: bytes) -> None:
        """
        Do what autobahn has written: send a pong, or end.
        """
        for first, payload in serverFrames(written):
            if first != CLOSE:
                self.transport.write(frameHeader(first, len(payload)) + payload)
                continue
            code = int.from_bytes(payload[:2], "big")
            if code == NORMAL:
                # The answer to a good-bye of the client.
                self.close(NORMAL)
            else:
                self.fail(code, payload[2:].decode("utf-8", "replace"))
            return

    def _deliver(self, payloads: list[bytes], isText: bool) -> None:
        """
        Deliver whole messages. Where one ends and the next begins means nothing in a stream.
        """
        stream = self.stream
        if stream is not None:
            data = payloads[0] if len(payloads) == 1 else b"".join(payloads)
            if data:
                stream.dataReceived(data)
            return
        for payload in payloads:
            if self.receiver is None or self.state != OPEN:
                return
            self.receiver.messageReceived(payload, isText)

    def messageBegins(self, isText: bool) -> None:
        """
        See L{twisted_mqtt.net.websocket.autobahnconnection.Owner}.
        """
        self._isText = isText
        self._pieces = []
        endpoint = None if self._served is None else self._served.endpoint
        if isText and isinstance(endpoint, StreamEndpoint):
            self.fail(UNSUPPORTED_DATA, endpoint.noText)

    def messagePiece(self, payload: bytes) -> None:
        """
        See L{twisted_mqtt.net.websocket.autobahnconnection.Owner}.
        """
        if self.state != OPEN or not payload:
            return
        if self._takesMessages:
            self._pieces.append(payload)
        elif self.stream is not None:
            self.stream.dataReceived(payload)

    def messageEnds(self) -> None:
        """
        See L{twisted_mqtt.net.websocket.autobahnconnection.Owner}.
        """
        pieces, self._pieces = self._pieces, []
        if self._takesMessages:
            self._deliver([b"".join(pieces)], self._isText)

    def resumed(self) -> None:
        """
        The protocol above takes data again: in a turn of its own, since it is in the middle of something.
        """
        if self._held:
            self.factory.reactor.callLater(0, self._deliverHeld)

    def _deliverHeld(self) -> None:
        transport = self._upperTransport
        if self._held and transport is not None and not transport.paused:
            self._receive(b"")

    # The end

    def fail(self, code: int, reason: str) -> None:
        """
        The client has sent what it may not (RFC 6455 7.1.7): the protocol above may say a last thing.
        """
        if self.state != OPEN or self._failure is not None:
            return
        self._failure = (code, reason)
        self.factory.refused(self, f"{code} {reason}".rstrip())
        if self.receiver is not None:
            self.receiver.failing(code, reason)
        self.close(code, reason)

    def close(self, code: int, reason: str = "") -> None:
        """
        Say why, and close. The client's own good-bye is not waited for: the transport reads until the client closes.
        """
        if self.state != OPEN:
            return
        if self._failure is not None:
            code, reason = self._failure
        self.state = CLOSED
        self._held = b""
        self.transport.write(closeFrame(code, reason))
        transport = self._upperTransport
        if transport is not None:
            transport.disconnecting = True
            if transport.isFed:
                # The transport below would wait for more.
                transport.unregisterProducer()
        self.transport.loseConnection()
