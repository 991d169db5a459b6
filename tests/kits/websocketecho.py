"""
An echo on the WebSocket layer of the broker, for the test suite of the protocol: C{python -m tests.kits.websocketecho}.

What MQTT has no use for, messages as units and text, is added here; everything else is the layer's own.
"""

from autobahn.twisted.websocket import WebSocketServerProtocol
from twisted.internet.interfaces import IReactorCore
from twisted.internet.protocol import Factory, Protocol

from twisted_mqtt.base.timerwheel import TimerWheel
from twisted_mqtt.config.schema_listeners import Deflate, WebSocketListener
from twisted_mqtt.config.values import Bind
from twisted_mqtt.net.endpoints import tcpEndpoint
from twisted_mqtt.net.websocket.connection import WebSocketConnection
from twisted_mqtt.net.websocket.factory import WebSocketFactory
from twisted_mqtt.net.websocket.frames import BINARY

TEXT = 0x81


class EchoConnection(WebSocketConnection):
    """
    Sends every message back as it was.
    """

    def received(self, payloads: list[bytes]) -> None:
        """
        Whole binary messages.
        """
        for payload in payloads:
            self._echo(BINARY, payload)

    def onMessageBegin(self, isBinary: bool) -> None:
        """
        A message that autobahn reads, text or binary.
        """
        WebSocketServerProtocol.onMessageBegin(self, isBinary)
        self._pieces: list[bytes] = []

    def onMessageFrameData(self, payload: bytes) -> None:
        """
        A part of it.
        """
        self._pieces.append(payload)

    def onMessageEnd(self) -> None:
        """
        All of it has come.
        """
        self._echo(BINARY if self.message_is_binary else TEXT, b"".join(self._pieces))

    def _echo(self, first: int, payload: bytes) -> None:
        if self.state == self.STATE_OPEN:
            assert self.upperTransport is not None
            self.upperTransport.writeMessage(first, payload)


class EchoFactory(WebSocketFactory):
    """
    Makes L{EchoConnection}s.
    """

    connection = EchoConnection


def echoFactory(reactor: IReactorCore) -> EchoFactory:
    """
    An echo that clients need no sub-protocol for, and may compress.
    """
    listener = WebSocketListener(
        bind=Bind("127.0.0.1", 0),
        mqtt_path="/",
        verify_protocol_header=False,
        compress=True,
        deflate_opts=Deflate(level="best_speed"),
    )
    wheel = TimerWheel(reactor)
    factory = EchoFactory(Factory.forProtocol(Protocol), listener, wheel, reactor, 15.0, lambda: "echo")
    # The suite's client takes uncompressed messages for text where compression was agreed upon.
    factory.deflate.worthwhile = 0
    return factory


def main() -> None:
    """
    Serve on a port that the kernel picks, and say which.
    """
    from twisted.internet import reactor

    def listening(port: object) -> None:
        print(f"listening on port {port.getHost().port}", flush=True)  # type: ignore[attr-defined]  # an IListeningPort

    tcpEndpoint(reactor, 0, "127.0.0.1").listen(echoFactory(reactor)).addCallback(listening)
    reactor.run()


if __name__ == "__main__":
    main()
