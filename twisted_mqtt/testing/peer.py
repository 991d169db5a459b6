"""
A test kit: a scripted MQTT client of a broker in memory.

Nothing here opens a socket, and time passes only when a test says so.
"""

from __future__ import annotations

from typing import Any, TypeVar

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from twisted_mqtt.core.codec import LARGEST, Decoder, encode
from twisted_mqtt.core.packets import (
    CONNACK,
    NAMES,
    Ack,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Publish,
    Subscribe,
    SubscriptionRequest,
    Will,
)
from twisted_mqtt.core.properties import Properties

_PacketT = TypeVar("_PacketT", bound=Packet)

# More turns than any single packet takes: whoever is not done by then goes round in circles.
TURNS = 100


def fieldsOf(packet: Packet | Will | SubscriptionRequest) -> dict[str, Any]:
    """
    Get the fields of a packet for a comparison: without the bytes it came in, and without absent properties.
    """
    found: dict[str, Any] = {"": type(packet).__name__}
    for cls in type(packet).__mro__:
        for name in getattr(cls, "__slots__", ()):
            if name in ("whole", "head", "tail", "__dict__", "__weakref__"):
                continue
            value: Any = getattr(packet, name)
            if isinstance(value, Properties):
                value = value.asDict() or None
            elif isinstance(value, Will):
                value = fieldsOf(value)
            elif name == "requests":
                value = [fieldsOf(each) for each in value]
            found[name] = value
    return found


def propertiesOf(**values: Any) -> Properties:
    """
    Properties by their names.
    """
    properties = Properties()
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def connectPacket(clientID: str = "client", version: int = 5, **fields: Any) -> Connect:
    """
    A CONNECT; every field has a default, and what C{Connect} does not know is a property.
    """
    known = {
        name: fields.pop(name, default)
        for name, default in (
            ("cleanStart", True),
            ("keepAlive", 0),
            ("username", None),
            ("password", None),
            ("will", None),
        )
    }
    properties = propertiesOf(**fields) if fields else None
    return Connect("MQIsdp" if version == 3 else "MQTT", version, clientID, properties=properties, **known)


class WireTransport(StringTransport):
    """
    A transport that remembers what it was told, and that tells its producer when the other end stops reading.
    """

    aborted = False

    def __init__(self, host: IPv4Address, peer: IPv4Address) -> None:
        StringTransport.__init__(self, hostAddress=host, peerAddress=peer)

    def take(self) -> bytes:
        """
        The output since the last call.
        """
        written: bytes = StringTransport.value(self)
        StringTransport.clear(self)
        return written

    def end(self) -> None:
        """
        Do what every real transport does before it says that it is lost.
        """
        if self.producer is not None:
            StringTransport.unregisterProducer(self)

    def abortConnection(self) -> None:
        """
        See C{ITCPTransport}.
        """
        self.aborted = True
        self.disconnecting = True

    @property
    def reading(self) -> bool:
        """
        Whether the protocol takes bytes.
        """
        return bool(self.producerState == "producing") and not self.disconnecting


class Peer:
    """
    A scripted client of a broker in memory.

    @ivar transport: what the broker writes to.
    @ivar lost: whether the connection is over.
    """

    def __init__(self, factory: Any, clock: Clock, version: int = 5, host: str = "127.0.0.1") -> None:
        """
        @param factory: of the broker's protocols.
        @param clock: the broker's.
        """
        self.version = version
        self.lost = False
        self._clock = clock
        self._unsent = b""
        self._arrived: list[Packet] = []
        self._decoder = Decoder(LARGEST, version)
        address = IPv4Address("TCP", host, 54321)
        self.protocol: Any = factory.buildProtocol(address)
        self.transport = WireTransport(IPv4Address("TCP", "127.0.0.1", 1883), address)
        self.protocol.makeConnection(self.transport)

    # Sending

    def send(self, *packets: Packet | bytes) -> Peer:
        """
        Send packets, or bytes as they are, in one piece; the broker takes them when it reads.
        """
        for packet in packets:
            self._unsent += packet if isinstance(packet, bytes) else encode(packet, self.version)
        self.turn()
        return self

    def turn(self) -> None:
        """
        Let the broker read and write until neither has anything left.
        """
        for _ in range(TURNS):
            if self._unsent and self.transport.reading and not self.lost:
                data, self._unsent = self._unsent, b""
                self.protocol.dataReceived(data)
            self._clock.advance(0)
            if self.transport.disconnecting:
                self.lose(self.transport.aborted)
            if not self._clock.getDelayedCalls() or self._settled():
                break
        self._collect()

    def _settled(self) -> bool:
        soonest = min(call.getTime() for call in self._clock.getDelayedCalls())
        return bool(soonest > self._clock.seconds()) and not (self._unsent and self.transport.reading)

    def lose(self, abruptly: bool = True) -> None:
        """
        The connection ends.
        """
        self._collect()
        if not self.lost:
            self.lost = True
            self.transport.end()
            self.protocol.connectionLost(Failure(ConnectionLost() if abruptly else ConnectionDone()))

    # The usual conversations

    def connect(self, clientID: str = "client", **fields: Any) -> Connack:
        """
        Send CONNECT and expect to be let in; returns the CONNACK.
        """
        self.send(connectPacket(clientID, self.version, **fields))
        connack = self.expect(Connack)
        assert connack.reason == 0, f"refused: {connack!r}"
        return connack

    def subscribe(self, *requests: str | SubscriptionRequest, qos: int = 2, identifier: int | None = None) -> list[int]:
        """
        Subscribe and expect the SUBACK, before which nothing else may come; returns its reasons.
        """
        asked = [SubscriptionRequest(each, qos) if isinstance(each, str) else each for each in requests]
        properties = None if identifier is None else propertiesOf(subscriptionIDs=[identifier])
        self.send(Subscribe(77, asked, properties))
        packet: Any = self.next()
        assert NAMES[packet.type] == "SUBACK", packet
        reasons: list[int] = packet.reasons
        return reasons

    def publish(self, topic: str, payload: bytes = b"", qos: int = 0, packetID: int = 0, **fields: Any) -> Peer:
        """
        Send a PUBLISH; what C{Publish} does not know is a property.
        """
        retain, dup = fields.pop("retain", False), fields.pop("dup", False)
        properties = propertiesOf(**fields) if fields else None
        if qos and not packetID:
            packetID = 1
        return self.send(Publish(topic, payload, qos, retain, dup, packetID, properties))

    def acknowledge(self, kind: int, packetID: int, reason: int = 0) -> Peer:
        """
        Send a PUBACK, PUBREC, PUBREL or PUBCOMP.
        """
        return self.send(Ack(kind, packetID, reason))

    def disconnect(self, reason: int = 0) -> None:
        """
        Say goodbye, and go.
        """
        self.send(Disconnect(reason))
        self.lose(abruptly=False)

    # Receiving

    def _collect(self) -> None:
        data = self.transport.take()
        if data:
            self._arrived.extend(self._decoder.feed(data))
            if self._decoder.error is not None:
                raise AssertionError(f"the broker sent nonsense: {self._decoder.error}, in {data!r}")

    def receive(self) -> list[Packet]:
        """
        Everything that has come since it was last asked for.
        """
        self.turn()
        arrived, self._arrived = self._arrived, []
        return arrived

    def next(self) -> Packet:
        """
        The next packet, which must be there by now.
        """
        self.turn()
        assert self._arrived, "nothing has come" + (", and the connection is over" if self.lost else "")
        return self._arrived.pop(0)

    def expect(self, kind: type[_PacketT]) -> _PacketT:
        """
        The next packet, which must be of this kind.
        """
        packet = self.next()
        assert isinstance(packet, kind), f"{packet!r} instead of a {kind.__name__}"
        return packet

    def expectPackets(self, *packets: Packet) -> None:
        """
        Exactly these must have come, in this order.
        """
        assert [fieldsOf(each) for each in self.receive()] == [fieldsOf(each) for each in packets]

    def expectAck(self, kind: int, packetID: int, reason: int = 0) -> None:
        """
        The next packet must be this acknowledgement.
        """
        ack = self.expect(Ack)
        assert (NAMES[ack.type], ack.packetID, ack.reason) == (NAMES[kind], packetID, reason)

    def expectNothing(self) -> None:
        """
        Nothing may have come.
        """
        assert self.receive() == []

    def expectClosed(self, reason: int | None = None) -> None:
        """
        The broker must have closed the connection; where a reason is given, after a DISCONNECT (or a refusing CONNACK)
        with it and nothing else.
        """
        arrived: list[Any] = self.receive()
        assert self.lost, f"still open after {arrived!r}"
        if reason is not None:
            assert [each.reason for each in arrived if each.type != CONNACK or each.reason] == [reason], arrived

    def payloads(self) -> list[bytes]:
        """
        The payloads of the messages that have come; nothing but messages may have.
        """
        arrived: list[Any] = self.receive()
        assert all(isinstance(each, Publish) for each in arrived), arrived
        return [each.payload for each in arrived]
