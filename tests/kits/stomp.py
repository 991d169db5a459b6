"""
A broker with the gateway, in memory, and clients that say what they send and expect.
"""

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gateways.stomp.extension import StompExtension
from gateways.stomp.frame import Frame, FrameLimits, StompParser
from gateways.stomp.gateway import StompGateway
from gateways.stomp.logins import Logins
from gateways.stomp.protocol import StompFactory, StompProtocol
from gateways.stomp.settings import StompSettings
from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.stores.memory import MemoryStore
from twisted_mqtt.testing.extension import ExtensionHarness

NOW = 1_600_000_000.0


class Kit:
    """
    A broker and its STOMP gateway.
    """

    def __init__(self, zone: dict[str, Any] | None = None, store: Any = None, clock: Any = None, **stomp: Any) -> None:
        """
        @param clock: a reactor, where not all is in memory.
        @param zone: keys of the zone.
        @param stomp: keys of the gateway's table.
        """
        self.clock = clock or Clock()
        if clock is None:
            self.clock.advance(NOW)
        settings = settingsFrom({"zone": {"external": zone or {}}, "stomp": stomp})
        self.broker = Broker(settings, self.clock, store or MemoryStore(), chance=lambda: 0.0)
        self.broker.startService()
        table = settings.extension("stomp", StompSettings)
        self.gateway = StompGateway(self.broker, table)
        Logins(table).start(ExtensionHarness(StompExtension(table), self.broker).context)
        self.factory = StompFactory(self.gateway, self.gateway.profileOn("stomp", True))

    def client(self, host: str = "127.0.0.1") -> "Client":
        """
        A client that has said nothing yet.
        """
        return Client(self, host)

    def connected(self, version: str = "1.2", **headers: str) -> "Client":
        """
        A client that is in.
        """
        client = self.client()
        client.connect(version, **headers)
        return client

    def turn(self) -> None:
        """
        Let everything happen that is to happen in this turn and those that follow at once.
        """
        for _ in range(4):
            self.clock.advance(0)


class Client:
    """
    A client: L{send} frames, look at those L{received}.
    """

    def __init__(self, kit: Kit, host: str = "127.0.0.1") -> None:
        self.kit = kit
        self.version = 10
        self.received: list[Frame] = []
        self.raw = b""
        address = IPv4Address("TCP", host, 50000)
        self.transport = StringTransport(IPv4Address("TCP", "127.0.0.1", 61613), address)
        self.protocol: StompProtocol = kit.factory.buildProtocol(address)
        self.protocol.makeConnection(self.transport)
        self._parser = StompParser(FrameLimits(1000, 100_000, 10_000_000))

    @property
    def closed(self) -> bool:
        """
        Whether the gateway has closed the connection.
        """
        return self.transport.disconnecting

    def connect(self, version: str = "1.2", **headers: str) -> Frame:
        """
        Come in.

        @return: the CONNECTED frame.
        """
        accept = {} if version == "1.0" else {"accept-version": version, "host": "x"}
        self.send("CONNECT", **accept, **headers)
        frame = self.next()
        assert frame.command == "CONNECTED", (frame, frame.body)
        self.version = self._parser.version = {"1.0": 10, "1.1": 11, "1.2": 12}[frame.headers.get("version", "1.0")]
        self._parser.forget()
        return frame

    def send(self, command: str, body: bytes = b"", **headers: str) -> None:
        """
        Send a frame; an underscore in a header's name is a hyphen.
        """
        lines = "".join(f"{name.replace('_', '-')}:{value}\n" for name, value in headers.items())
        self.bytes(f"{command}\n{lines}\n".encode() + body + b"\0")

    def bytes(self, data: bytes) -> None:
        """
        Send bytes, and let happen what follows.
        """
        self.protocol.dataReceived(data)
        self.kit.turn()
        self.look()

    def look(self) -> None:
        """
        Take what has come.
        """
        data = self.transport.value()
        self.transport.clear()
        self.raw += data
        self._parser.feed(data)
        while (frame := self._parser.next()) is not None:
            self.received.append(frame)

    def next(self) -> Frame:
        """
        The next frame.
        """
        self.kit.turn()
        self.look()
        assert self.received, "nothing came"
        return self.received.pop(0)

    def all(self) -> list[Frame]:
        """
        All frames that have come.
        """
        self.kit.turn()
        self.look()
        frames, self.received = self.received, []
        return frames

    def error(self) -> Frame:
        """
        The ERROR that must be there, and be the last.
        """
        (frame,) = self.all()
        assert frame.command == "ERROR", frame
        assert self.closed
        return frame

    def lose(self) -> None:
        """
        Go without a word.
        """
        self.protocol.connectionLost(Failure(ConnectionDone()))
        self.kit.turn()
