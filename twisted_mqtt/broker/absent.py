"""
Sessions whose clients are not here: made of what a store or another node has kept of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mqtt.broker.client import ClientInfo
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.core.session import Session

if TYPE_CHECKING:
    from twisted_mqtt.broker.broker import Broker


class AbsentSessions:
    """
    Makes sessions of clients that are away.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        # With whose settings each was made: a reload makes others.
        self._profiles: dict[str, ListenerProfile] = {}

    def make(
        self,
        clientID: str,
        topicTree: str,
        username: str | None,
        mountpoint: str,
        zone: str,
        expiry: int,
        createdAt: float,
    ) -> Session:
        """
        Make a session, and what hooks see of its client. Nobody knows it yet.

        @param zone: of the client; where the configuration has it no more, it is that of most clients.
        @param expiry: for how many seconds it outlives its connection.
        @param createdAt: in seconds since the epoch.
        """
        broker = self._broker
        profile = self._profileOf(zone)
        session = Session(
            clientID,
            profile.limits,
            broker.counters,
            broker.switches,
            broker,
            createdAt,
            mountpoint,
            topicTree,
        )
        session.username = username
        session.zone = zone
        session.expiryInterval = expiry
        client = ClientInfo(profile, None)
        client.clientID = clientID
        client.topicTree = topicTree
        client.username = username
        client.mountpoint = mountpoint
        client.expiryInterval = expiry
        session.info = client
        return session

    def _profileOf(self, zone: str) -> ListenerProfile:
        settings = self._broker.settings
        options = settings.resolveZone(zone if zone in settings.zone else "external")
        profile = self._profiles.get(zone)
        if profile is None or profile.zone != options:
            profile = self._profiles[zone] = ListenerProfile("", options)
        return profile
