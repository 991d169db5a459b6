"""
Clients for whom too much waits are sent away (spec/config.md 8, C{force_shutdown_policy}).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog
from twisted_mqtt.core.reasons import QUOTA_EXCEEDED

if TYPE_CHECKING:
    from twisted_mqtt.broker.broker import Broker
    from twisted_mqtt.broker.client import ClientInfo
    from twisted_mqtt.config.values import TwoLimits


class OverloadGuard:
    """
    Looks at what waits for each client, where its zone has a policy.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._closed = RateLimitedLog(broker.clock.seconds)
        self._wanted = False
        self.update()

    def update(self) -> None:
        """
        Find out whether any zone has a policy: looking at every client is not for nothing.
        """
        zones = self._broker.settings.zone.values()
        self._wanted = any(zone.force_shutdown_policy is not None for zone in zones)

    def check(self) -> None:
        """
        Send those away who are above a limit of their zone.
        """
        if not self._wanted:
            return
        for client in list(self._broker.clients.values()):
            policy = client.options.force_shutdown_policy
            excess = None if policy is None else excessOf(client, policy)
            if excess is not None:
                self._close(client, excess)

    def _close(self, client: ClientInfo, excess: str) -> None:
        self._broker.counters.connections_closed_overload += 1
        self._closed.info("{client} is sent away: {excess}", client=repr(client.clientID), excess=excess)
        transport: Any = getattr(client.shell, "transport", None)
        stuck = pendingBytes(client)
        self._broker.kick(client.clientID, QUOTA_EXCEEDED, excess)
        if stuck:
            # It does not read: waiting until it has been told would keep what it is to be rid of.
            transport.abortConnection()


def excessOf(client: ClientInfo, policy: TwoLimits) -> str | None:
    """
    Say which limit is reached, if any.
    """
    session = client.session
    queued = 0 if session is None else session.queueLength
    if queued >= policy.count:
        return f"{queued} messages wait for it"
    waiting = pendingBytes(client)
    if waiting >= policy.size:
        return f"{waiting} bytes wait for it"
    return None


def pendingBytes(client: ClientInfo) -> int:
    """
    How many bytes the kernel has not taken yet for a client; 0 where that is not known, as of a gateway's.
    """
    transport: Any = getattr(client.shell, "transport", None)
    pending: int = getattr(transport, "pendingBytes", 0)
    return pending
