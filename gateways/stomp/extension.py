"""
The extension C{stomp}: the listeners of the STOMP gateway, from its table of the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from gateways.stomp.gateway import StompGateway
from gateways.stomp.logins import Logins
from gateways.stomp.protocol import StompFactory
from gateways.stomp.settings import StompSettings
from gateways.stomp.web import WebFactory
from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.net.endpoints import tcpEndpoint
from twisted_mqtt.net.portoptions import PortOptions, TransportOptions
from twisted_mqtt.net.tls.layer import TLSFactory
from twisted_mqtt.net.tls.options import optionsOf

if TYPE_CHECKING:
    from twisted_mqtt.config.values import Bind
    from twisted_mqtt.interfaces import IExtensionContext

_log = Logger()


@implementer(IExtension)
class StompExtension:
    """
    The extension C{stomp}.

    @ivar gateway: what its clients share.
    @ivar ports: the open ones, by kind: C{"tcp"}, C{"ssl"}, C{"ws"}, C{"wss"}.
    """

    gateway: StompGateway

    def __init__(self, settings: StompSettings) -> None:
        self.ports: dict[str, Any] = {}
        self._settings = settings
        self._factories: list[StompFactory] = []

    async def start(self, context: IExtensionContext) -> None:
        """
        Open all listeners.

        @raise twisted.internet.error.CannotListenError: one can't be opened; none is then.
        @raise twisted_mqtt.net.tls.options.TLSProblem: the keys of TLS can't work; neither is any.
        """
        settings = self._settings
        self.gateway = StompGateway(context.broker, settings)
        self._reactor: Any = context.clock
        Logins(settings).start(context)
        try:
            await self._open("tcp", settings.listener.bind, "stomp")
            if settings.ssl.bind is not None:
                await self._open("ssl", settings.ssl.bind, "stomp.ssl")
            if settings.ws.bind is not None:
                await self._open("ws", settings.ws.bind, "stomp.ws")
            if settings.ws.secure_bind is not None:
                await self._open("wss", settings.ws.secure_bind, "stomp.ws.secure_bind")
        except BaseException:
            await self.stop()
            raise

    async def _open(self, kind: str, bind: Bind, key: str) -> None:
        secure = kind in ("ssl", "wss")
        profile = self.gateway.profileOn(
            "stomp" if kind == "tcp" else f"stomp.{kind}",
            bind.isLoopback,
            self._settings.ssl.peer_cert_as_username if secure else None,
        )
        inner = StompFactory(self.gateway, profile)
        self._factories.append(inner)
        factory: Any = inner
        if kind in ("ws", "wss"):
            factory = WebFactory(inner, self._settings.ws, self._reactor, secure)
        if secure:
            factory = self._secured(factory, b"http/1.1" if kind == "wss" else b"stomp")
        zone = profile.zone
        options = PortOptions(
            acceptsPerTurn=max(16, self._settings.listener.acceptors),
            transport=TransportOptions(highWater=zone.max_pending_bytes, lowWater=zone.max_pending_bytes // 4),
        )
        port = await tcpEndpoint(self._reactor, bind.port, bind.host, options).listen(factory)
        self.ports[kind] = port
        host: Any = port.getHost()
        where = f"{host.host}:{host.port}"
        _log.info("listening: stomp:{kind} on {where} ({key})", kind=kind, where=where, key=key)

    def _secured(self, factory: Any, protocol: bytes) -> TLSFactory:
        broker = self.gateway.broker
        options = optionsOf(self._settings.ssl, "stomp.ssl", (protocol,))
        return TLSFactory(factory, options, broker.preSharedKeys, broker.wheel, broker.clock.seconds)

    async def stop(self) -> None:
        """
        Close all listeners and send the clients away.
        """
        while self.ports:
            _, port = self.ports.popitem()
            await maybeDeferred(port.stopListening)
        for factory in self._factories:
            factory.sendAllAway()
        self._factories.clear()
