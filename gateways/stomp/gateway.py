"""
The state that all clients of the gateway share, and the interface that each needs of the layer below it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gateways.clientlimit import ClientLimit
from gateways.stomp.frame import FrameLimits
from gateways.stomp.mapping import Destinations, MessageWriter
from gateways.stomp.transactions import TransactionLimits
from twisted_mqtt.broker.listenerprofile import ListenerProfile, limitsOf
from twisted_mqtt.net.endpoints import canBeFast

if TYPE_CHECKING:
    from gateways.client import GatewaySession
    from gateways.implements import GatewayClient
    from gateways.stomp.settings import StompSettings
    from twisted_mqtt.interfaces import IBroker


class StompShell(Protocol):
    """
    The layer below a session: a connection.

    @ivar parked: whether what the client has sent is left unread for the moment.
    @ivar sentBytes: how much was sent so far.
    """

    parked: bool

    @property
    def sentBytes(self) -> int:
        """
        How much was sent so far.
        """

    def makeClient(self, owner: GatewaySession) -> GatewayClient:
        """
        The client's place in the broker.
        """

    def write(self, wire: bytes) -> None:
        """
        Send one frame, with this turn's output.
        """

    def later(self, action: Callable[[], None]) -> None:
        """
        Call something in a turn of its own.
        """

    def setVersion(self, version: int) -> None:
        """
        The version is known.
        """

    def close(self, wire: bytes) -> None:
        """
        Send what is left and a last frame, if it is not empty, and close.
        """


class Newcomer(Protocol):
    """
    A connection that has just come.
    """

    def giveWay(self) -> bool:
        """
        Go, if nothing has been begun yet; returns whether it goes.
        """


class StompGateway:
    """
    The gateway as its sessions see it.

    @ivar clients: how many connections there are.
    """

    def __init__(self, broker: IBroker, settings: StompSettings) -> None:
        self.broker = broker
        self.settings = settings
        self.seconds: Callable[[], float] = broker.clock.seconds
        frame, transaction = settings.frame, settings.transaction
        self.frameLimits = FrameLimits(frame.max_headers, frame.max_header_length, frame.max_body_length)
        self.transactionLimits = TransactionLimits(
            transaction.max_transactions, transaction.max_frames, transaction.max_size, transaction.timeout
        )
        self.destinations = Destinations(settings.destination.topic_prefix, settings.destination.queue_prefix)
        self.writer = MessageWriter(self.destinations, broker.dates)
        bind = settings.listener.bind
        self.profile = self._makeProfile("stomp", bind is not None and bind.isLoopback)
        self.clients = 0
        self._limit = ClientLimit(broker, "stomp", settings.max_clients)
        # Those that may not have sent a CONNECT yet, the first that came first.
        self._newcomers: dict[Newcomer, None] = {}

    def _makeProfile(self, name: str, onLoopback: bool) -> ListenerProfile:
        zone = self.broker.settings.resolveZone(self.settings.zone)
        limits = limitsOf(zone)
        # In STOMP it is the acknowledge mode of a subscription that decides what a client has to acknowledge.
        limits.upgradeQoS = True
        limits.maxInflight = self.settings.max_unacknowledged
        listener = self.settings.listener
        timed = listener.send_timeout_close and not canBeFast(self.broker.reactor)
        return ListenerProfile(
            name,
            zone,
            limits,
            onLoopback,
            sendTimeout=listener.send_timeout if timed else 0.0,
            topicTree=self.settings.topic_tree,
            maxPerAddress=self.settings.max_clients_per_address,
        )

    def profileOn(self, name: str, onLoopback: bool, usernamePart: str | None = None) -> ListenerProfile:
        """
        The place of another listener.

        @param usernamePart: see L{ListenerProfile}.
        """
        profile = self._makeProfile(name, onLoopback)
        profile.limits = self.profile.limits
        profile.usernamePart = usernamePart
        return profile

    def refuses(self, peer: object) -> bool:
        """
        Whether a client that comes now can't be taken: there are as many as may be, and each has begun something.

        @param peer: where it is.
        """
        if self.clients < self.settings.max_clients or self._makeRoom():
            return False
        return self._limit.refuses(self.clients, peer)

    def came(self, connection: Newcomer) -> None:
        """
        A client has connected.
        """
        self.clients += 1
        self._newcomers[connection] = None

    def left(self, connection: Newcomer) -> None:
        """
        A client has gone.
        """
        self.clients -= 1
        self._newcomers.pop(connection, None)

    def _makeRoom(self) -> bool:
        """
        End the oldest connection that has not sent a CONNECT: nobody keeps others away by opening connections.

        @return: whether there was one.
        """
        while self._newcomers:
            oldest = next(iter(self._newcomers))
            del self._newcomers[oldest]
            if oldest.giveWay():
                return True
        return False
