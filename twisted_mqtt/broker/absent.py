"""
Sessions whose clients are not connected: made from the records of a store or of another node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mqtt.broker.client import ClientInfo
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.core.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.config.settings import Settings
    from twisted_mqtt.core.counters import Counters
    from twisted_mqtt.core.events import Events, Switches


class AbsentSessions:
    """
    Makes sessions of clients that are away.
    """

    def __init__(
        self, settings: Callable[[], Settings], counters: Counters, switches: Switches, events: Events
    ) -> None:
        """
        @param settings: says by which settings the broker goes at present.
        @param events: who is told what happens to messages.
        """
        self._settings = settings
        self._counters = counters
        self._switches = switches
        self._events = events
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
        @param createdAt: the moment when it began.
        """
        profile = self._profileOf(zone)
        session = Session(
            clientID,
            profile.limits,
            self._counters,
            self._switches,
            self._events,
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
        settings = self._settings()
        options = settings.resolveZone(zone if zone in settings.zone else "external")
        profile = self._profiles.get(zone)
        if profile is None or profile.zone != options:
            profile = self._profiles[zone] = ListenerProfile("", options)
        return profile
