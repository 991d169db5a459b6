"""
Disconnects clients with too many waiting messages or bytes (spec/config.md 8, C{force_shutdown_policy}).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog
from twisted_mqtt.core.reasons import QUOTA_EXCEEDED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted_mqtt.broker.client import ClientInfo
    from twisted_mqtt.config.settings import Settings
    from twisted_mqtt.config.values import TwoLimits
    from twisted_mqtt.core.counters import Counters


class OverloadGuard:
    """
    Looks at what waits for each client, where its zone has a policy.
    """

    def __init__(
        self,
        clients: Mapping[str, ClientInfo],
        sendAway: Callable[[ClientInfo, int, str], None],
        counters: Counters,
        seconds: Callable[[], float],
    ) -> None:
        """
        @param clients: those that are connected, by client identifier.
        @param sendAway: sends a client away, for a reason code and a text.
        @param seconds: the time, in seconds.
        """
        self._clients = clients
        self._sendAway = sendAway
        self._counters = counters
        self._closed = RateLimitedLog(seconds)
        self._wanted = False

    def configure(self, settings: Settings) -> None:
        """
        Find out whether any zone has a policy: where none has, the clients are not looked at.
        """
        self._wanted = any(zone.force_shutdown_policy is not None for zone in settings.zone.values())

    def check(self) -> None:
        """
        Send those away who are above a limit of their zone.
        """
        if not self._wanted:
            return
        for client in list(self._clients.values()):
            policy = client.options.force_shutdown_policy
            excess = None if policy is None else excessOf(client, policy)
            if excess is not None:
                self._close(client, excess)

    def _close(self, client: ClientInfo, excess: str) -> None:
        self._counters.connections_closed_overload += 1
        self._closed.info("{client} is sent away: {excess}", client=repr(client.clientID), excess=excess)
        transport: Any = getattr(client.shell, "transport", None)
        stuck = client.pendingBytes
        self._sendAway(client, QUOTA_EXCEEDED, excess)
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
    waiting = client.pendingBytes
    if waiting >= policy.size:
        return f"{waiting} bytes wait for it"
    return None
