"""
An echo on the layer of WebSocket, for the test suite of the protocol: C{python -m tests.kits.websocketecho mqtt}, with
the options of a listener of MQTT, or C{stomp}, with those of the gateway and beside what it serves by plain HTTP.

It takes messages as units, text and binary, as the suite does; what a listener of MQTT does with a message, which means
nothing there, is in C{tests/net/websocket}.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from twisted.internet.protocol import Factory

from gateways.stomp.web import WebFactory
from tests.kits.stomp import Kit
from twisted_mqtt.base.timerwheel import TimerWheel
from twisted_mqtt.config.schema_listeners import DeflateSettings, WebSocketListener
from twisted_mqtt.config.values import Bind
from twisted_mqtt.listeners.websocket import endpointOf, portOptionsOf
from twisted_mqtt.net.endpoints import tcpEndpoint
from twisted_mqtt.net.websocket.factory import WebSocketFactory
from twisted_mqtt.net.websocket.options import MessageEndpoint, WebSocketOptions
from twisted_mqtt.net.websocket.transport import MessageFactory, WebSocketTransport

# More than the largest message of the suite.
LARGEST = 32 << 20


class Echo:
    """
    Sends every message back as it was.
    """

    def makeConnection(self, transport: WebSocketTransport) -> None:
        """
        See L{twisted_mqtt.net.websocket.transport.MessageReceiver}.
        """
        self.transport = transport

    def messageReceived(self, payload: bytes, isText: bool) -> None:
        """
        See L{twisted_mqtt.net.websocket.transport.MessageReceiver}.
        """
        self.transport.sendMessage(payload, isText)

    def failing(self, code: int, reason: str) -> None:
        """
        See L{twisted_mqtt.net.websocket.transport.MessageReceiver}.
        """

    def connectionLost(self, reason: object) -> None:
        """
        See L{twisted_mqtt.net.websocket.transport.MessageReceiver}.
        """


class EchoFactory:
    """
    Makes L{Echo}es.
    """

    def doStart(self) -> None:
        """
        See L{twisted_mqtt.net.websocket.transport.MessageFactory}.
        """

    def doStop(self) -> None:
        """
        See L{twisted_mqtt.net.websocket.transport.MessageFactory}.
        """

    def buildProtocol(self, address: object) -> Echo:
        """
        See L{twisted_mqtt.net.websocket.transport.MessageFactory}.
        """
        return Echo()


def echoing(options: WebSocketOptions) -> MessageEndpoint:
    """
    An endpoint that echoes, with the options of another. The suite's client takes uncompressed messages for text where
    compression was agreed upon: all are compressed.
    """
    assert options.deflate is not None
    return MessageEndpoint(replace(options, deflate=replace(options.deflate, worthwhile=0)), EchoFactory())


class EchoWebFactory(WebFactory):
    """
    The HTTP listener of the STOMP gateway with an echo.
    """

    def endpointsOf(
        self, table: Any, largest: int, plain: MessageFactory, framed: MessageFactory
    ) -> list[MessageEndpoint]:
        """
        Its endpoints, which echo.
        """
        return [echoing(endpoint.options) for endpoint in super().endpointsOf(table, largest, plain, framed)]


def mqttEcho(reactor: Any) -> WebSocketFactory:
    """
    An echo with the options of a listener of MQTT that needs no sub-protocol.
    """
    listener = WebSocketListener(
        bind=Bind("127.0.0.1", 0),
        mqtt_path="/echo",
        verify_protocol_header=False,
        compress=True,
        deflate_opts=DeflateSettings(level="best_speed"),
        max_frame_size=LARGEST,
    )
    endpoint = echoing(endpointOf(listener, Factory()).options)
    return WebSocketFactory(portOptionsOf(listener, 15.0), [endpoint], TimerWheel(reactor), reactor)


def stompEcho(reactor: Any) -> WebSocketFactory:
    """
    An echo with the options of the STOMP gateway.
    """
    ws = {"path": "/echo", "compress": True, "deflate_opts": {"level": "best_speed"}}
    kit = Kit(clock=reactor, frame={"max_body_length": LARGEST}, ws=ws)
    return EchoWebFactory(kit.factory, kit.gateway.settings.ws, reactor)


ECHOES = {"mqtt": mqttEcho, "stomp": stompEcho}


def main() -> None:
    """
    Serve on a port that the kernel picks, and say which.
    """
    from twisted.internet import reactor

    def listening(port: Any) -> None:
        print(f"listening on port {port.getHost().port}", flush=True)

    tcpEndpoint(reactor, 0, "127.0.0.1").listen(ECHOES[sys.argv[1]](reactor)).addCallback(listening)
    reactor.run()  # type: ignore[attr-defined]  # a module that stands for the reactor


if __name__ == "__main__":
    main()
