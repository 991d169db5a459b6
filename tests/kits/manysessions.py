"""
Very many sessions without connections: made by clients of a gateway that come, subscribe and go.
"""

from __future__ import annotations

from typing import Any

from gateways.client import GatewayClient
from twisted_mqtt.broker.listenerprofile import ListenerProfile


class Nobody:
    """
    The owner of clients that are never here.
    """

    def receive(self, *args: object) -> None:
        """
        Nothing comes.
        """

    def released(self, packetID: int) -> None:
        """
        Nothing comes.
        """

    def sentAway(self, reason: int, text: str) -> None:
        """
        It is away already.
        """


class ManySessions:
    """
    Makes sessions of a broker: C{session-N} of C{user-N}, N modulo 100, with subscriptions to C{s/N/#}, C{s/N/1} and so
    on.
    """

    def __init__(self, broker: Any, subscriptions: int) -> None:
        self._broker = broker
        self._subscriptions = subscriptions
        self._profile = ListenerProfile("many", broker.settings.resolveZone("external"))

    def make(self, number: int) -> None:
        """
        Make one; it does not end.
        """
        client = GatewayClient(self._broker, self._profile, Nobody(), "many", None)  # type: ignore[arg-type]  # a double
        client.connect(f"session-{number}", f"user-{number % 100}", cleanStart=False, sessionExpiry=0xFFFFFFFF)
        for each in range(self._subscriptions):
            client.subscribe(f"s/{number}/#" if each == 0 else f"s/{number}/{each}")
        client.lost("away")
