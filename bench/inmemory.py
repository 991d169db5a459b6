"""
The whole broker without a network: clients are byte strings going in, and bytes coming out.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from bench import packets
from bench.generator import acknowledge
from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.config import readSettings
from twisted_mqtt.mqtt.protocol import MQTTFactory, MQTTProtocol
from twisted_mqtt.stores.memory import MemoryStore

_TEMPLATE = packets.acknowledgement(packets.PUBACK, 0) * 1000
_ZEROS = bytes(1000)
_GONE = Failure(ConnectionDone())


class Sink(StringTransport):
    """
    A transport that forgets what is written to it, or keeps it for a receiver that must answer.
    """

    def __init__(self) -> None:
        # Twisted has not annotated it.
        super().__init__(peerAddress=IPv4Address("TCP", "127.0.0.1", 1))  # type: ignore[no-untyped-call]
        self.keeping = False
        self.kept = bytearray()
        self.length = 0

    def write(self, data: bytes) -> None:
        """
        Count, and keep if it is wanted.
        """
        self.length += len(data)
        if self.keeping:
            self.kept += data

    def writeSequence(self, data: list[bytes]) -> None:
        """
        The same for many.
        """
        for one in data:
            self.write(one)

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Nothing here is delayed.
        """


class Client:
    """
    A connected client.
    """

    def __init__(self, protocol: MQTTProtocol, sink: Sink) -> None:
        self.receive = protocol.dataReceived
        self.sink = sink


class Turn:
    """
    At the end of which L{InMemory.turn} is called.
    """

    inTurn = True


class InMemory:
    """
    A broker, and the turns of a reactor that is not there.
    """

    def __init__(self) -> None:
        settings = readSettings(None, {"MQTTBROKER__ZONE__EXTERNAL__MAX_INFLIGHT": "1000"})
        self.clock = Clock()
        self.broker = Broker(settings, self.clock, MemoryStore())
        self.broker.startService()
        self.broker.open()
        self.broker.outbox.turning = Turn()
        self._factory = MQTTFactory(self.broker, ListenerProfile("tcp.bench", settings.resolveZone("external")))

    def turn(self) -> None:
        """
        Write what has collected.
        """
        self.broker.outbox.flush()

    def _open(self) -> tuple[MQTTProtocol, Sink]:
        protocol = self._factory.buildProtocol(None)
        if protocol is None:
            raise RuntimeError("the broker is stopping")
        sink = Sink()
        protocol.makeConnection(sink)
        return protocol, sink

    def visit(self, whole: bytes) -> int:
        """
        A client that sends all it has to say at once, from CONNECT to DISCONNECT.

        @return: how many bytes it was sent.
        """
        protocol, sink = self._open()
        protocol.dataReceived(whole)
        self.turn()
        protocol.connectionLost(_GONE)
        return sink.length

    def connect(self, clientID: str, topicFilter: str | None = None, qos: int = 0) -> Client:
        """
        A client that is let in, and subscribed.

        @raise RuntimeError: it is not.
        """
        protocol, sink = self._open()
        sink.keeping = True
        protocol.dataReceived(packets.connect(clientID))
        expected = packets.ACCEPTED
        if topicFilter is not None:
            protocol.dataReceived(packets.subscribe(1, [topicFilter], qos))
            expected += bytes((packets.SUBACK, 3, 0, 1, qos))
        self.turn()
        if sink.kept != expected:
            raise RuntimeError(f"expected {expected.hex()}, received {sink.kept.hex()}")
        sink.keeping = False
        sink.kept.clear()
        sink.length = 0
        return Client(protocol, sink)


def acknowledgeAll(client: Client, size: int, identifierAt: int) -> None:
    """
    Answer the QoS 1 messages that a keeping client has been sent.
    """
    kept = client.sink.kept
    answers = acknowledge(kept, len(kept), size, identifierAt, _TEMPLATE, _ZEROS)
    client.sink.kept = bytearray()
    client.receive(bytes(answers))
