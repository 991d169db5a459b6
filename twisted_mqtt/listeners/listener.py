"""
An MQTT listener: a port, the factory of its clients' protocols, and WebSocket between them if its table says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import IProtocolFactory

from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.config.differences import differences
from twisted_mqtt.config.schema_listeners import (
    SecureListener,
    SecureWebSocketListener,
    TLSListener,
    UNIXListener,
    WebSocketListener,
)
from twisted_mqtt.listeners.listening import StreamListening
from twisted_mqtt.listeners.websocket import webSocketFactory
from twisted_mqtt.mqtt.implements import MQTTFactory
from twisted_mqtt.net.endpoints import canBeFast
from twisted_mqtt.net.tls.options import TLSOptions, optionsOf

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.broker.broker import Broker
    from twisted_mqtt.config.schema_listeners import AnyListener
    from twisted_mqtt.core.limits import Limits


class OpenListener(StreamListening):
    """
    A listener, from before its port is open until its last connection is gone.

    @ivar listener: its table.
    @ivar clients: makes its clients' protocols.
    """

    def __init__(
        self,
        broker: Broker,
        reactor: object,
        listener: AnyListener,
        limits: Limits,
        private: bool,
        forgotten: Callable[[StreamListening], object],
    ) -> None:
        """
        @param limits: of its zone.
        @param private: whether it can be reached from this machine alone.
        @param forgotten: called when it is closed for good.

        @raise twisted_mqtt.net.tls.options.TLSProblem: its keys or files can't be used.
        """
        self.listener = listener
        # The table by which its socket is opened.
        self._begun = listener
        self._private = private
        self._mqtt = broker
        name = f"{listener.listenerKind}.{listener.name}"
        self.clients = MQTTFactory(broker, self._profileFor(name, listener, limits))
        StreamListening.__init__(
            self,
            broker,
            reactor,
            name,
            "mqtt",
            listener.listenerKind,
            listener.path,
            listener.bind,
            listener,
            self._framed(listener),
            tlsOf(listener),
            self.clients.profile.zone.max_pending_bytes,
            forgotten,
        )

    @property
    def waiting(self) -> list[str]:
        """
        The keys of its table that wait for a restart.
        """
        changed = differences(self._begun, self.listener, since="next connection")
        return [difference.key for difference in changed if difference.since == "restart"]

    def change(self, listener: AnyListener, limits: Limits) -> None:
        """
        Go by another table of the same listener, with the same address, for connections that come from now on.

        @raise twisted_mqtt.net.tls.options.TLSProblem: its keys or files can't be used, and it goes on as it was.
        """
        before = self.clients.profile
        self.clients.profile = self._profileFor(self.name, listener, limits)
        try:
            pending = self.clients.profile.zone.max_pending_bytes
            self.exchange(listener, self._framed(listener), tlsOf(listener), pending)
        except BaseException:
            self.clients.profile = before
            raise
        self.listener = listener

    def _framed(self, listener: AnyListener) -> IProtocolFactory:
        """
        The factory of clients, behind WebSocket where the table says so.
        """
        clients = IProtocolFactory(self.clients)
        if not isinstance(listener, WebSocketListener | SecureWebSocketListener):
            return clients
        broker = self._mqtt
        return webSocketFactory(
            listener,
            clients,
            broker.wheel,
            broker.clock,
            self.clients.profile.zone.idle_timeout,
            f"Node {broker.nodeName} is started",
            lambda: broker.stopping,
            broker.obstacles,
        )

    def _profileFor(self, name: str, listener: AnyListener, limits: Limits) -> ListenerProfile:
        return ListenerProfile(
            name,
            self._mqtt.settings.zoneOf(listener),
            limits,
            self._private,
            listener.allowed_protocol_versions,
            listener.send_timeout if listener.send_timeout_close and not canBeFast(self._mqtt.reactor) else 0.0,
            None if isinstance(listener, UNIXListener) else listener.peer_cert_as_username,
            listener.rate_limit,
            listener.max_publish_rate,
            listener.topic_tree,
            maxLifetime=listener.max_connection_lifetime,
        )


def tlsOf(listener: AnyListener) -> TLSOptions | None:
    """
    The options of TLS that a listener's table states; L{None} where it has none.
    """
    if not isinstance(listener, SecureListener):
        return None
    return optionsOf(listener, listener.path, (b"mqtt" if isinstance(listener, TLSListener) else b"http/1.1",))
