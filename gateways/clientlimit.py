"""
The most clients that a gateway takes: those beside are refused, counted and logged.
"""

from __future__ import annotations

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog
from twisted_mqtt.interfaces import IBroker


class ClientLimit:
    """
    The limit of one gateway, its C{max_clients}.
    """

    def __init__(self, broker: IBroker, gateway: str, most: int) -> None:
        """
        @param gateway: its name, for the log.
        @param most: how many clients there may be.
        """
        self._counters = broker.counters
        self._gateway = gateway
        self._most = most
        self._log = RateLimitedLog(broker.clock.seconds)

    def refuses(self, clients: int, peer: object) -> bool:
        """
        Whether there is no room for one more client; that is counted and logged, at most once a second.

        @param clients: how many there are.
        @param peer: where the one who asks is, as C{(host, port)} or an address of Twisted.
        """
        if clients < self._most:
            return False
        self._counters.connections_refused_full += 1
        if isinstance(peer, tuple):
            peer = f"{peer[0]}:{peer[1]}"
        else:
            host, port = getattr(peer, "host", None), getattr(peer, "port", None)
            peer = peer if host is None else f"{host}:{port}"
        self._log.info(
            "{gateway}: a client at {peer} is refused: there are {most} already (max_clients)",
            gateway=self._gateway,
            peer=peer,
            most=self._most,
        )
        return True
