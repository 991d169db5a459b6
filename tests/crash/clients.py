"""
Clients of the crash suite: they keep their side of a session as the specification wants it, whatever becomes of the
connection, and tell the checker what they were promised and what they got.
"""

from __future__ import annotations

import socket

from tests.crash.checker import Checker, Stream
from tests.system.process import Broker
from twisted_mqtt.core.codec import LARGEST, Decoder, encode
from twisted_mqtt.core.packets import (
    CONNACK,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    Ack,
    Connack,
    Connect,
    Packet,
    Publish,
    Subscribe,
    SubscriptionRequest,
)
from twisted_mqtt.core.reasons import PACKET_ID_NOT_FOUND, QUOTA_EXCEEDED
from twisted_mqtt.testing.peer import propertiesOf

_EXPIRY = 86400


class Client:
    """
    A client over a socket that does not block.

    @cvar listener: where it connects to.
    @ivar open: whether CONNACK has come on the present connection.
    @ivar socket: the connection, or None.
    """

    listener = "listener.tcp.external"

    def __init__(self, clientID: str, version: int) -> None:
        self.clientID = clientID
        self.version = version
        self.socket: socket.socket | None = None
        self.open = False
        self.hadSession = False
        self.sessionLost = False
        self._decoder = Decoder(LARGEST, version)

    def connect(self, broker: Broker, clean: bool = False) -> None:
        """
        Connect and send CONNECT.
        """
        self.close()
        self.socket = self.makeSocket((broker.host, broker.ports[self.listener]))
        self.greet(clean)

    def makeSocket(self, address: tuple[str, int]) -> socket.socket:
        """
        A socket that is connected.
        """
        opened = socket.create_connection(address, timeout=10)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def greet(self, clean: bool) -> None:
        """
        Send CONNECT.
        """
        self.reset()
        properties = propertiesOf(sessionExpiry=_EXPIRY) if self.version == 5 and not clean else None
        self.send(Connect("MQTT", self.version, self.clientID, clean, 0, None, None, None, properties))

    def reset(self) -> None:
        """
        Each message that comes is of a new connection.
        """
        self._decoder = Decoder(LARGEST, self.version)

    def close(self) -> None:
        """
        Drop the connection without a word.
        """
        self.open = False
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def send(self, *packets: Packet) -> None:
        """
        Send; a connection that is gone shows when it is read.
        """
        self.sendBytes(b"".join(encode(packet, self.version) for packet in packets))

    def sendBytes(self, data: bytes) -> None:
        """
        The same, encoded.
        """
        if self.socket is not None:
            try:
                self.socket.sendall(data)
            except OSError:
                self.close()

    def read(self) -> None:
        """
        Take what has come.
        """
        if self.socket is None:
            return
        try:
            data = self.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.takeBytes(data)

    def takeBytes(self, data: bytes) -> None:
        """
        Bytes have come.
        """
        packets = self._decoder.feed(data)
        assert self._decoder.error is None, self._decoder.error
        for packet in packets:
            if packet.type == CONNACK:
                assert isinstance(packet, Connack) and packet.reason == 0, packet
                self.accepted(packet.sessionPresent)
            else:
                self.take(packet)

    def accepted(self, sessionPresent: bool) -> None:
        """
        It is in.
        """
        # A clean session says nothing of the store.
        if self.hadSession and not sessionPresent:
            self.sessionLost = True
        self.open = True
        self.opened()

    def opened(self) -> None:
        """
        CONNACK has come.
        """

    def take(self, packet: Packet) -> None:
        """
        Another packet has come.
        """


class Publisher(Client):
    """
    Publishes one stream, some messages at a time; what is not acknowledged when the connection is lost goes out again.

    @ivar prefix: stands before its topic, where the broker takes it away again.
    """

    def __init__(self, stream: Stream, window: int, version: int, retain: bool = False, prefix: str = "") -> None:
        super().__init__(f"publisher {stream.topic}", version)
        self.stream = stream
        self.window = window
        self.retain = retain
        self.prefix = prefix
        self.publishing = False
        # By identifier: the number and, at QoS 2, whether PUBREC has come.
        self._unacknowledged: dict[int, tuple[int, bool]] = {}
        self._nextID = 1

    @property
    def isQuiet(self) -> bool:
        """
        Whether everything is acknowledged.
        """
        return not self._unacknowledged

    def opened(self) -> None:
        """
        Send again what was under way ([MQTT-4.4.0-1]), then go on.
        """
        self.hadSession = True
        for packetID, (number, released) in self._unacknowledged.items():
            self.send(Ack(PUBREL, packetID) if released else self._packet(packetID, number, True))
        self.fill()

    def fill(self) -> None:
        """
        Publish as far as the window lets it.
        """
        stream = self.stream
        while self.open and self.publishing and len(self._unacknowledged) < self.window:
            while self._nextID in self._unacknowledged:
                self._nextID = self._nextID % 0xFFFF + 1
            packetID = self._nextID
            self._nextID = self._nextID % 0xFFFF + 1
            self._unacknowledged[packetID] = (stream.sent, False)
            stream.sent += 1
            self.send(self._packet(packetID, stream.sent - 1, False))

    def _packet(self, packetID: int, number: int, dup: bool) -> Publish:
        return Publish(self.prefix + self.stream.topic, b"%d" % number, self.stream.qos, self.retain, dup, packetID)

    def take(self, packet: Packet) -> None:
        """
        An acknowledgement.
        """
        assert isinstance(packet, Ack), packet
        if packet.reason == QUOTA_EXCEEDED:
            # It was refused: nothing was promised.
            del self._unacknowledged[packet.packetID]
            self.fill()
            return
        # That PUBREL comes again after the broker has done its part is in order.
        assert packet.reason < 0x80 or (packet.type, packet.reason) == (PUBCOMP, PACKET_ID_NOT_FOUND), packet
        number, _ = self._unacknowledged.get(packet.packetID, (-1, False))
        if packet.type == PUBACK and number >= 0:
            del self._unacknowledged[packet.packetID]
            self.stream.promised.add(number)
        elif packet.type == PUBREC:
            if number >= 0:
                self.stream.promised.add(number)
                self._unacknowledged[packet.packetID] = (number, True)
            self.send(Ack(PUBREL, packet.packetID))
        elif packet.type == PUBCOMP:
            self._unacknowledged.pop(packet.packetID, None)
        self.fill()


class Subscriber(Client):
    """
    Subscribes everything and acknowledges what comes.

    @ivar subscribed: whether SUBACK has come, ever.
    """

    def __init__(self, clientID: str, checker: Checker, version: int) -> None:
        super().__init__(clientID, version)
        self.checker = checker
        self.subscribed = False
        self._pending: set[int] = set()

    def opened(self) -> None:
        """
        The first time, subscribe.
        """
        self.hadSession = True
        if not self.subscribed:
            self.send(Subscribe(1, [SubscriptionRequest("crash/#", 2)]))

    def take(self, packet: Packet) -> None:
        """
        A message, or a step of one.
        """
        if packet.type == SUBACK:
            self.subscribed = True
        elif packet.type == PUBLISH:
            assert isinstance(packet, Publish)
            if packet.qos == 2:
                if packet.packetID not in self._pending:  # [MQTT-4.3.3-10]
                    self._pending.add(packet.packetID)
                    self.checker.received(self.clientID, packet.topic, int(packet.payload))
                self.send(Ack(PUBREC, packet.packetID))
            else:
                self.checker.received(self.clientID, packet.topic, int(packet.payload))
                self.send(Ack(PUBACK, packet.packetID))
        elif packet.type == PUBREL:
            assert isinstance(packet, Ack)
            self._pending.discard(packet.packetID)
            self.send(Ack(PUBCOMP, packet.packetID))


class Newcomer(Client):
    """
    Sees the retained messages.

    @ivar values: by topic.
    """

    def __init__(self) -> None:
        super().__init__("newcomer", 4)
        self.values: dict[str, int] = {}

    def opened(self) -> None:
        """
        Subscribe.
        """
        self.send(Subscribe(1, [SubscriptionRequest("retained/#", 0)]))

    def take(self, packet: Packet) -> None:
        """
        A retained message.
        """
        if isinstance(packet, Publish):
            self.values[packet.topic] = int(packet.payload)
