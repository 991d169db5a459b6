"""
A test kit: a broker in memory with a clock of its own, clients, and extensions.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from twisted_mqtt.interfaces import IExtension
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.extension import ExtensionHarness, MemoryNode
from twisted_mqtt.testing.peer import Peer


class MemoryBroker:
    """
    A broker without a network. Time passes only when a test says so.

    @ivar broker: the broker.
    @ivar clock: its clock.
    @ivar node: what extensions see of the node around it.
    """

    def __init__(self, **zoneKeys: Any) -> None:
        """
        @param zoneKeys: keys of the zone that the clients are in, such as C{max_inflight=1}.
        """
        self.clock = Clock()
        # Some time of day: nothing that counts from the epoch is at its beginning.
        self.clock.advance(1_000_000)
        self.broker, self._factory = makeBroker(self.clock, **zoneKeys)
        self.node = MemoryNode(self.broker, self.broker.settings)

    def peer(self, version: int = 5, host: str = "127.0.0.1") -> Peer:
        """
        A connection that has said nothing yet.

        @param version: of MQTT: 3, 4 or 5.
        """
        return Peer(self._factory, self.clock, version, host)

    def client(self, clientID: str = "client", version: int = 5, **fields: Any) -> Peer:
        """
        A client that is in.

        @param fields: of its CONNECT, such as C{username="anna"}; what CONNECT does not have is a property.
        """
        peer = self.peer(version)
        peer.connect(clientID, **fields)
        return peer

    def harness(self, extension: IExtension, name: str = "") -> ExtensionHarness:
        """
        Put an extension beside the broker without starting it.

        @param name: what it is called; without one, as its class is.
        """
        return ExtensionHarness(extension, self.broker, name, self.node)

    def run(self, extension: IExtension, name: str = "") -> ExtensionHarness:
        """
        Start an extension, which must not have to wait.

        @raise Exception: what keeps it from starting.
        """
        return self.harness(extension, name).start()

    def wait(self, seconds: float, step: float = 0.5) -> None:
        """
        Let time pass.

        @param step: how many seconds pass at once.
        """
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until:
            self.clock.advance(min(step, until - self.clock.seconds()))
