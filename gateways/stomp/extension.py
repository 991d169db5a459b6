"""
The extension C{stomp}: the listeners of the STOMP gateway, from its table of the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from gateways.stomp.gateway import StompGateway
from gateways.stomp.logins import Logins
from gateways.stomp.protocol import StompFactory
from gateways.stomp.settings import StompSettings
from gateways.stomp.web import WebFactory
from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.net.tls.context import ServerContext
from twisted_mqtt.net.tls.options import optionsOf

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory, IReactorTime

    from twisted_mqtt.config.schema_ports import TCPPortSettings
    from twisted_mqtt.config.values import Bind
    from twisted_mqtt.interfaces import IExtensionContext, IListening, IPreflight


@implementer(IExtension)
class StompExtension:
    """
    The extension C{stomp}.

    @ivar gateway: what its clients share.
    @ivar ports: the open ones, by kind: C{"tcp"}, C{"ssl"}, C{"ws"}, C{"wss"}.
    """

    gateway: StompGateway

    def __init__(self, settings: StompSettings) -> None:
        self.ports: dict[str, IListening] = {}
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
        self._reactor: IReactorTime = context.clock
        Logins(settings).start(context)
        self._node = context.node
        listener, secure, web = settings.listener, settings.ssl, settings.ws
        try:
            await self._open("tcp", listener, listener.bind, "stomp")
            await self._open("ssl", secure, secure.bind, "stomp.ssl")
            await self._open("ws", web, web.bind, "stomp.ws")
            await self._open("wss", web, web.secure_bind, "stomp.ws.secure_bind")
        except BaseException:
            await self.stop()
            raise

    def preflight(self, checks: IPreflight) -> None:
        """
        See L{IExtension}.
        """
        settings = self._settings
        checks.port("stomp.ws.secure_bind", settings.ws.secure_bind)
        if settings.ws.secure_bind is not None and settings.ssl.bind is None:
            checks.attempt(lambda: ServerContext(optionsOf(settings.ssl, "stomp.ssl"), checks.preSharedKeys))

    async def _open(self, kind: str, table: TCPPortSettings, bind: Bind | None, path: str) -> None:
        if bind is None:
            return
        settings = self._settings
        secure = kind in ("ssl", "wss")
        profile = self.gateway.profileOn(
            "stomp" if kind == "tcp" else f"stomp.{kind}",
            bind.isLoopback,
            settings.ssl.peer_cert_as_username if secure else None,
        )
        inner = StompFactory(self.gateway, profile)
        self._factories.append(inner)
        factory: IProtocolFactory = inner
        if kind in ("ws", "wss"):
            factory = WebFactory(inner, settings.ws, self._reactor, secure)
        protocol = b"http/1.1" if kind == "wss" else b"stomp"
        self.ports[kind] = await self._node.listen(
            table,
            factory,
            f"stomp.{kind}",
            path=path,
            bind=bind,
            kind=kind,
            tls=optionsOf(settings.ssl, "stomp.ssl", (protocol,)) if secure else None,
            pending=profile.zone.max_pending_bytes,
        )

    async def stop(self) -> None:
        """
        Close all listeners and send the clients away.
        """
        while self.ports:
            _, port = self.ports.popitem()
            await port.close()
        for factory in self._factories:
            factory.sendAllAway()
        self._factories.clear()
