"""
Which addresses may connect to a listener.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IProtocolFactory
from zope.interface import implementer

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog, peerName

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress

    from twisted_mqtt.config.values import AccessRule
    from twisted_mqtt.core.counters import Counters


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
        wrapped: Any,
        path: str,
        rules: Sequence[AccessRule],
        counters: Counters,
        seconds: Callable[[], float],
    ) -> None:
        """
        @param wrapped: provides C{IProtocolFactory}.
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

    def buildProtocol(self, addr: IAddress | None) -> Any:
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
