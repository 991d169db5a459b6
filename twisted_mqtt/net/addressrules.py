"""
Rules about the addresses that may connect to a listener.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IProtocolFactory
from zope.interface import implementer

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog, peerName
from twisted_mqtt.config.values import AccessRule

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IProtocol

    from twisted_mqtt.core.counters import Counters
    from twisted_mqtt.net.datagrams import DatagramReceiver, SocketAddress


EVERYBODY: Final = (AccessRule(True),)
"""
The rules that nobody need be held against.
"""


def allows(rules: Sequence[AccessRule], host: str | None) -> bool:
    """
    Whether an address may connect: the first rule that names it decides, and where none does it may not.

    @param host: numeric; L{None} for what has no address, as on a UNIX socket.
    """
    for rule in rules:
        if rule.matches(host or ""):
            return rule.allow
    return False


@implementer(IProtocolFactory)
class AccessFactory:
    """
    Lets those into another factory whose address is allowed. Behind a balancer it is that of the client.

    @ivar wrapped: makes the protocols of those who may connect.
    @ivar refused: how many may not.
    """

    noisy = False

    def __init__(
        self,
        wrapped: IProtocolFactory,
        path: str,
        rules: Sequence[AccessRule],
        counters: Counters,
        seconds: Callable[[], float],
    ) -> None:
        """
        @param path: of the listener, for the log.
        """
        self.wrapped = wrapped
        self.refused = 0
        self._path = path
        self._rules = rules
        self._counters = counters
        self._denied = RateLimitedLog(seconds)

    def doStart(self) -> None:
        """
        A port begins to listen.
        """
        self.wrapped.doStart()

    def doStop(self) -> None:
        """
        A port has stopped.
        """
        self.wrapped.doStop()

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:
        """
        The protocol of a connection, or L{None} if its address is not allowed.
        """
        if allows(self._rules, getattr(addr, "host", None)):
            return self.wrapped.buildProtocol(addr)
        self.refused += 1
        self._counters.connections_refused_access += 1
        self._denied.info(
            "{path}: connection from {peer} refused: the access rules do not allow it",
            path=self._path,
            peer=peerName(addr),
        )
        return None


class AccessReceiver:
    """
    Lets the datagrams through whose sender is allowed.

    @ivar refused: how many were not.
    """

    def __init__(
        self,
        wrapped: DatagramReceiver,
        path: str,
        rules: Sequence[AccessRule],
        counters: Counters,
        seconds: Callable[[], float],
    ) -> None:
        """
        @param path: the table of the port, for the log.
        """
        self.refused = 0
        self._wrapped = wrapped
        self._path = path
        self._rules = rules
        self._counters = counters
        self._denied = RateLimitedLog(seconds)

    def datagramReceived(self, data: bytes, address: SocketAddress, /) -> None:
        """
        See L{DatagramReceiver<twisted_mqtt.net.datagrams.DatagramReceiver>}.
        """
        if allows(self._rules, address[0]):
            self._wrapped.datagramReceived(data, address)
            return
        self.refused += 1
        self._counters.connections_refused_access += 1
        self._denied.info(
            "{path}: datagram from {peer} dropped: the access rules do not allow it", path=self._path, peer=address[0]
        )
