"""
A port for datagrams: its socket, its access rules, and the receiver of its datagrams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mqtt.config.values import Bind
from twisted_mqtt.interfaces import IListening
from twisted_mqtt.net.addressrules import EVERYBODY, AccessReceiver
from twisted_mqtt.net.datagrams import openDatagrams
from twisted_mqtt.net.names import PortProblem, isNumeric, numeric

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.config.schema_ports import DatagramSettings
    from twisted_mqtt.interfaces import IBroker
    from twisted_mqtt.net.datagrams import DatagramPort, TwistedPort

_log = Logger()


class DatagramHandler(Protocol):
    """
    Takes the datagrams of a port; Twisted's C{DatagramProtocol} provides this too.
    """

    def makeConnection(self, transport: Any, /) -> object:
        """
        The port is open.

        @param transport: a L{DatagramPort<twisted_mqtt.net.datagrams.DatagramPort>}.
        """

    def datagramReceived(self, datagram: bytes, addr: Any, /) -> None:
        """
        A datagram has come.
        """

    def doStop(self) -> object:
        """
        The port is about to be closed: say good-bye.
        """


@implementer(IListening)
class DatagramListening:
    """
    A port of datagrams. See L{IListening}.

    @ivar settings: its table.
    @ivar port: the open port; L{None} while there is none.
    """

    def __init__(
        self,
        broker: IBroker,
        reactor: object,
        name: str,
        protocol: str,
        kind: str,
        path: str,
        bind: Bind,
        settings: DatagramSettings,
        receiver: DatagramHandler,
        group: str | None = None,
        shared: bool = False,
        count: Callable[[], int] = lambda: 0,
        forgotten: Callable[[DatagramListening], object] = lambda listening: None,
    ) -> None:
        """
        @param path: the name of its table, for messages.
        @param group: see L{openDatagrams}, as is C{shared}.
        @param count: says how many clients there are.
        @param forgotten: called when it is closed for good.
        """
        self.name = name
        self.protocol = protocol
        self.kind = kind
        self.path = path
        self.settings = settings
        self.port: DatagramPort | TwistedPort | None = None
        self._bind = bind
        self._broker = broker
        self._reactor = reactor
        self._receiver = receiver
        self._group = group
        self._shared = shared
        self._count = count
        self._forgotten = forgotten
        self._lock = DeferredLock()
        # The counts of ports that are closed.
        self._received = 0
        self._lost = 0
        self._access: AccessReceiver | None = None
        if settings.access != EVERYBODY:
            self._access = AccessReceiver(receiver, path, settings.access, broker.counters, broker.clock.seconds)

    @property
    def address(self) -> Bind:
        """
        See L{IListening}.
        """
        return self._bind if self.port is None else Bind(*self.port.getHost())

    @property
    def isOpen(self) -> bool:
        """
        See L{IListening}.
        """
        return self.port is not None

    @property
    def connections(self) -> int:
        """
        See L{IListening}.
        """
        return self._count()

    def figures(self) -> dict[str, int]:
        """
        See L{IListening}.
        """
        port = self.port
        return {
            "connections": self.connections,
            "received": self._received + (0 if port is None else port.received),
            "lost": self._lost + (0 if port is None else port.lost),
            "refused_access": 0 if self._access is None else self._access.refused,
        }

    def start(self) -> Deferred[None]:
        """
        See L{IListening}.
        """
        return self._lock.run(lambda: Deferred.fromCoroutine(self._start()))

    def stop(self) -> Deferred[None]:
        """
        See L{IListening}.
        """
        return self._lock.run(self._stop)

    def close(self) -> Deferred[None]:
        """
        See L{IListening}.
        """
        self._forgotten(self)
        return self.stop()

    @property
    def certificate(self) -> str | None:
        """
        See L{IListening}: that of DTLS, where that stands between the port and its protocol.
        """
        file: str | None = getattr(self._receiver, "certificate", None)
        return file

    def reloadCertificates(self) -> bool | None:
        """
        See L{IListening}: those of DTLS, where that stands between the port and its protocol.
        """
        reload = getattr(self._receiver, "reloadCertificates", None)
        if reload is None:
            return None
        usable: bool = reload()
        return usable

    async def _start(self) -> None:
        if self.port is not None:
            return
        settings = self.settings
        try:
            bind = self._bind
            if not isNumeric(bind.host):
                bind = await self._broker.threads.defer(numeric, bind)
            port = openDatagrams(
                self._reactor,
                bind,
                self._access or self._receiver,
                settings.recbuf,
                settings.sndbuf,
                self._group,
                self._shared,
            )
        except CannotListenError as error:
            raise PortProblem(self.path, self._bind, error.socketError) from error
        except OSError as error:
            raise PortProblem(self.path, self._bind, error) from error
        self.port = port
        self._receiver.makeConnection(port)
        _log.info(
            "listening: {protocol}:{kind} on {address} ({path})",
            protocol=self.protocol,
            kind=self.kind,
            address=self.address,
            path=self.path,
        )

    def _stop(self) -> Deferred[None]:
        port, self.port = self.port, None
        if port is None:
            return maybeDeferred(lambda: None)
        try:
            self._receiver.doStop()
        except Exception:
            _log.failure("The end of {path}", path=self.path)
        self._received += port.received
        self._lost += port.lost
        return port.stopListening()
