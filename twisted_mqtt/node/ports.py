"""
All ports of a node by name: those of MQTT's listeners, and those that extensions open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from twisted_mqtt.config.schema_ports import TLSPortSettings, UDPPortSettings
from twisted_mqtt.listeners.datagrams import DatagramListening
from twisted_mqtt.listeners.listening import PENDING, StreamListening
from twisted_mqtt.net.tls.options import optionsOf

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IProtocolFactory

    from twisted_mqtt.config.schema_ports import DatagramSettings, PortSettings
    from twisted_mqtt.config.values import Bind
    from twisted_mqtt.interfaces import IBroker, IListening
    from twisted_mqtt.listeners.datagrams import DatagramHandler
    from twisted_mqtt.listeners.registry import Listeners
    from twisted_mqtt.net.tls.options import TLSOptions

_log = Logger()


class Ports(Mapping[str, "IListening"]):
    """
    The ports of a node, by name.
    """

    def __init__(self, broker: IBroker, reactor: object, listeners: Listeners) -> None:
        self._broker = broker
        self._reactor = reactor
        self._listeners = listeners
        self._others: dict[str, StreamListening | DatagramListening] = {}

    def __getitem__(self, name: str) -> IListening:
        found: IListening = self._listeners.opened[name] if name in self._listeners.opened else self._others[name]
        return found

    def __iter__(self) -> Iterator[str]:
        yield from self._listeners.opened
        yield from self._others

    def __len__(self) -> int:
        return len(self._listeners.opened) + len(self._others)

    def listen(
        self,
        settings: PortSettings,
        factory: IProtocolFactory,
        name: str,
        *,
        path: str = "",
        bind: Bind | None = None,
        kind: str = "",
        protocols: tuple[bytes, ...] = (),
        tls: TLSOptions | None = None,
        pending: int = PENDING,
    ) -> Deferred[IListening]:
        """
        See L{INode.listen<twisted_mqtt.interfaces.INode.listen>}.
        """
        return Deferred.fromCoroutine(self._listen(settings, factory, name, path, bind, kind, protocols, tls, pending))

    def listenDatagrams(
        self,
        settings: DatagramSettings,
        protocol: DatagramHandler,
        name: str,
        *,
        path: str = "",
        bind: Bind | None = None,
        kind: str = "udp",
        group: str | None = None,
        shared: bool = False,
        count: Callable[[], int] = lambda: 0,
    ) -> Deferred[IListening]:
        """
        See L{INode.listenDatagrams<twisted_mqtt.interfaces.INode.listenDatagrams>}.
        """
        return Deferred.fromCoroutine(
            self._listenDatagrams(settings, protocol, name, path, bind, kind, group, shared, count)
        )

    def reloadCertificates(self) -> dict[str, bool]:
        """
        Read the certificates of all ports of extensions again. Those of MQTT's listeners are read with their tables.

        @return: whether they can be used, by the table of the port; what is wrong with those that can't is logged.
        """
        outcomes = {listening.path: listening.reloadCertificates() for listening in self._others.values()}
        return {path: outcome for path, outcome in outcomes.items() if outcome is not None}

    async def closeAll(self) -> None:
        """
        Close those that extensions have left open.
        """
        for listening in list(self._others.values()):
            _log.warn("the port {name} was left open: closed", name=listening.name)
            await listening.close()

    async def _listen(
        self,
        settings: PortSettings,
        factory: IProtocolFactory,
        name: str,
        path: str,
        bind: Bind | None,
        kind: str,
        protocols: tuple[bytes, ...],
        tls: TLSOptions | None,
        pending: int,
    ) -> IListening:
        path = path or name
        if tls is None and isinstance(settings, TLSPortSettings):
            tls = optionsOf(settings, path, protocols)
        where = self._whereFor(name, path, bind or settings.bind)
        kind = kind or ("tcp" if tls is None else "ssl")
        listening = StreamListening(
            self._broker,
            self._reactor,
            name,
            name.partition(".")[0],
            kind,
            path,
            where,
            settings,
            factory,
            tls,
            pending,
            self._forget,
        )
        return await self._open(listening)

    async def _listenDatagrams(
        self,
        settings: DatagramSettings,
        protocol: DatagramHandler,
        name: str,
        path: str,
        bind: Bind | None,
        kind: str,
        group: str | None,
        shared: bool,
        count: Callable[[], int],
    ) -> IListening:
        path = path or name
        listening = DatagramListening(
            self._broker,
            self._reactor,
            name,
            name.partition(".")[0],
            kind,
            path,
            self._whereFor(name, path, bind or (settings.bind if isinstance(settings, UDPPortSettings) else None)),
            settings,
            protocol,
            group,
            shared,
            count,
            self._forget,
        )
        return await self._open(listening)

    def _whereFor(self, name: str, path: str, bind: Bind | None) -> Bind:
        if name in self:
            raise ValueError(f"there is a port {name} already")
        if bind is None:
            raise ValueError(f"{path}: nothing says where to listen")
        return bind

    async def _open(self, listening: StreamListening | DatagramListening) -> IListening:
        self._others[listening.name] = listening
        try:
            await listening.start()
        except BaseException:
            self._forget(listening)
            raise
        return listening

    def _forget(self, listening: StreamListening | DatagramListening) -> None:
        if self._others.get(listening.name) is listening:
            del self._others[listening.name]
