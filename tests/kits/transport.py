"""
A poller below a reactor that only the test turns, with real sockets on loopback.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_mqtt.net.poller import Poller
from twisted_mqtt.net.port import FastPort
from twisted_mqtt.net.portoptions import PortOptions, TransportOptions
from twisted_mqtt.net.sockets import TCPSocket
from twisted_mqtt.net.transport import FastConnection
from twisted_mqtt.net.twistedtypes import TwistedShell

PATIENCE = 10.0
"""
Seconds after which a test that still waits has failed.
"""


BIG = bytes(range(256)) * 4096
"""
One megabyte, more than a socket takes at once.
"""


class Fault(Exception):
    """
    The exception of protocols in these tests.
    """


class TurnedReactor(Clock):
    """
    A clock that also remembers its readers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[object] = []

    def addReader(self, reader: object) -> None:
        """
        See C{IReactorFDSet.addReader}: it may be repeated.
        """
        if reader not in self.readers:
            self.readers.append(reader)

    def removeReader(self, reader: object) -> None:
        """
        See C{IReactorFDSet.removeReader}.
        """
        self.readers.remove(reader)


class Recorder(Protocol):
    """
    Writes down what happens to it, as one list; does what the test has put into it.
    """

    transport: FastConnection

    def __init__(self) -> None:
        self.events: list[object] = []
        self.onMade: Callable[[], object] = lambda: None
        self.onData: Callable[[bytes], object] = lambda data: None
        self.onLost: Callable[[], object] = lambda: None
        self.running = False

    def connectionMade(self) -> None:
        self.events.append("made")
        self.onMade()

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)
        self.running = True
        try:
            self.onData(data)
        finally:
            self.running = False

    def connectionLost(self, reason: object) -> None:
        self.events.append("lost while running" if self.running else "lost")
        self.reason = reason.type.__name__  # type: ignore[attr-defined] # Failure is not typed
        self.onLost()

    @property
    def received(self) -> bytes:
        """
        The received bytes, without the way they were cut.
        """
        return b"".join(event for event in self.events if isinstance(event, bytes))

    @property
    def lost(self) -> int:
        """
        How often it has been told that the connection is lost.
        """
        return sum(event in ("lost", "lost while running") for event in self.events)


class RecorderFactory(Factory):
    """
    Keeps the protocols it makes.
    """

    noisy = False

    def __init__(self) -> None:
        self.built: list[Recorder] = []
        self.prepare: Callable[[Recorder], object] = lambda recorder: None
        self.refuse = False

    def buildProtocol(self, addr: object) -> Recorder | None:
        if self.refuse:
            return None
        recorder = Recorder()
        self.built.append(recorder)
        self.prepare(recorder)
        return recorder


class Site:
    """
    One port with its poller and reactor.

    @ivar sockets: the clients' ends, closed at the end of the test.
    """

    def __init__(self, factory: object = None, **transport: float) -> None:
        """
        @param factory: stands between the port and its protocols, where it is not L{Site.factory} that makes them.
        """
        self.reactor = TurnedReactor()
        self.poller = Poller(self.reactor, TwistedShell())
        self.factory = RecorderFactory()
        self.options = PortOptions(sendBuffer=65536, transport=TransportOptions(**transport))  # type: ignore[arg-type] # not all are float
        self.port = FastPort(self.poller, TCPSocket(0, "127.0.0.1"), factory or self.factory, self.options)  # type: ignore[arg-type] # any factory
        self.port.startListening()
        self.sockets: list[socket.socket] = []

    def close(self) -> None:
        """
        Leave nothing open.
        """
        for client in self.sockets:
            client.close()
        self.poller.connectionLost(None)

    def dial(self, receiveBuffer: int | None = None) -> socket.socket:
        """
        @return: a client's end, not yet accepted; it fails rather than waits for ever.
        """
        client = socket.socket()
        self.sockets.append(client)
        if receiveBuffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receiveBuffer)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", self.port.getHost().port))  # type: ignore[attr-defined] # IPv4Address
        return client

    def connect(self, receiveBuffer: int | None = None) -> tuple[socket.socket, Recorder]:
        """
        @return: both ends of a new connection.
        """
        count = len(self.factory.built)
        client = self.dial(receiveBuffer)
        self.until(lambda: len(self.factory.built) > count)
        return client, self.factory.built[-1]

    def turn(self) -> None:
        """
        Run one turn of a reactor, without waiting.
        """
        self.poller.doRead()
        self.reactor.advance(0)

    def settle(self) -> None:
        """
        Turn the reactor until nothing is ready; what is left waits for the clients.
        """
        for _ in range(10000):
            if not select.select([self.poller], [], [], 0.01)[0]:
                return
            self.turn()
        raise AssertionError("it does not settle")

    def until(self, happened: Callable[[], object]) -> None:
        """
        Turn the reactor until something has happened; wait only for what the poller waits for.
        """
        end = time.monotonic() + PATIENCE
        while not happened():
            left = end - time.monotonic()
            assert left > 0, "it did not happen"
            if not select.select([self.poller], [], [], min(left, 0.05))[0]:
                self.reactor.advance(0)
            else:
                self.turn()


def reset(client: socket.socket) -> None:
    """
    Close with RST.
    """
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def readAll(client: socket.socket, size: int) -> bytes:
    """
    @return: so many bytes, or all until FIN.
    """
    received = bytearray()
    while len(received) < size:
        data = client.recv(min(65536, size - len(received)))
        if not data:
            break
        received += data
    return bytes(received)


class SiteTestCase(SynchronousTestCase):
    """
    A site, and a connection to it.
    """

    def setUp(self) -> None:
        self.site = Site()
        self.addCleanup(self.site.close)

    def connect(self, receiveBuffer: int | None = None) -> tuple[socket.socket, Recorder]:
        """
        See L{Site.connect}.
        """
        return self.site.connect(receiveBuffer)

    def whileReading(self, client: socket.socket, size: int) -> bytes:
        """
        @return: what the client reads up to C{size} or FIN, the site being turned meanwhile.
        """
        result: list[bytes] = []
        reader = threading.Thread(target=lambda: result.append(readAll(client, size)))
        reader.start()
        self.site.until(lambda: not reader.is_alive())
        reader.join()
        return result[0]
