"""
The common base of tests of the broker through the wire.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer, connectPacket


class BrokerTestCase(SynchronousTestCase):
    """
    A broker in memory, and clients of it.
    """

    def setUp(self) -> None:
        """
        Make a broker, at some time of day.
        """
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.begin()

    def begin(self, **zone: Any) -> None:
        """
        Begin anew, with clients in a zone with these keys.
        """
        self.broker, self.factory = makeBroker(self.clock, **zone)

    def peer(self, version: int = 5) -> Peer:
        """
        A connection.
        """
        return Peer(self.factory, self.clock, version)

    def client(self, clientID: str = "client", version: int = 5, **fields: Any) -> Peer:
        """
        A client that is in.
        """
        peer = self.peer(version)
        peer.connect(clientID, **fields)
        return peer

    def refused(self, clientID: str, reason: int, version: int = 5, **fields: Any) -> None:
        """
        A client that is not let in.
        """
        peer = self.peer(version)
        peer.send(connectPacket(clientID, version, **fields))
        peer.expectClosed(reason)

    def pass_(self, seconds: float, *peers: Peer) -> None:
        """
        Let time pass in half seconds, with whatever that causes to be written.
        """
        for _ in range(int(seconds * 2)):
            self.clock.advance(0.5)
            for peer in peers:
                peer.turn()

    def hook(self, point: str, *answers: Any) -> list[Any]:
        """
        A callback that gives these answers in turn, and the last one ever after; returns the list of its calls.
        """
        left, calls = list(answers), []

        def callback(*args: Any) -> Any:
            calls.append(args)
            return left.pop(0) if len(left) > 1 else left[0]

        self.broker.hooks[point].add(callback)
        return calls
