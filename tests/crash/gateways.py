"""
The same with clients of the gateways: STOMP, whose promises are receipts, MQTT-SN, over datagrams, CoAP, and devices of
LwM2M with their commands.
"""

from __future__ import annotations

import socket
from typing import Any

from gateways.mqttsn.codec import decode
from gateways.mqttsn.codec import encode as encodeSN
from gateways.mqttsn.packets import (
    ACCEPTED,
    CONGESTION,
    CONNACK,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    REGACK,
    REGISTER,
    SUBACK,
    SUBSCRIBE,
    SNConnect,
    SNPacket,
    SNPublish,
    SNRegister,
    SNSubscribe,
)
from gateways.stomp.frame import V12, Frame, FrameLimits, StompParser, encode
from tests.crash.checker import Checker, Stream
from tests.crash.clients import Client, Publisher, Subscriber
from tests.crash.constrained import CoAPPublisher, Commander, Device
from tests.crash.suite import Suite


class StompClient(Client):
    """
    A client of STOMP 1.2.
    """

    listener = "stomp"

    def __init__(self, clientID: str) -> None:
        super().__init__(clientID, V12)
        self._parser = StompParser(FrameLimits(100, 10_000, 1_000_000))

    def greet(self, clean: bool) -> None:
        """
        See L{Client}.
        """
        self._parser = StompParser(FrameLimits(100, 10_000, 1_000_000))
        self._parser.version = V12
        self.frame("CONNECT", accept_version="1.2", host="x", client_id=self.clientID, clean_session="false")

    def frame(self, command: str, body: bytes = b"", **headers: object) -> None:
        """
        Send a frame.
        """
        lines = [(name.replace("_", "-"), str(value)) for name, value in headers.items()]
        self.sendBytes(encode(command, lines, body, V12))

    def takeBytes(self, data: bytes) -> None:
        """
        See L{Client}.
        """
        self._parser.feed(data)
        while (frame := self._parser.next()) is not None:
            assert frame.command != "ERROR" or frame.headers["message"] == "session_taken_over", (frame, frame.body)
            if frame.command == "CONNECTED":
                self.accepted(frame.headers["session-present"] == "true")
            elif frame.command != "ERROR":
                self.takeFrame(frame)

    def takeFrame(self, frame: Frame) -> None:
        """
        A frame has come.
        """


class StompPublisher(StompClient):
    """
    Sends one stream, so many messages at a time, each with a receipt or all in a transaction. What has no receipt when
    the connection is lost goes out again.
    """

    def __init__(self, stream: Stream, window: int, transaction: bool = False) -> None:
        super().__init__(f"publisher-{stream.topic}")
        self.stream = stream
        self.window = window
        self.publishing = False
        self._transaction = transaction
        self._unacknowledged: list[int] = []

    @property
    def isQuiet(self) -> bool:
        """
        Whether everything is acknowledged.
        """
        return not self._unacknowledged

    def opened(self) -> None:
        """
        Send again what was under way, then go on.
        """
        self.hadSession = True
        self._send(self._unacknowledged)
        self.fill()

    def fill(self) -> None:
        """
        Publish as far as the window lets it.
        """
        stream, waiting = self.stream, self._unacknowledged
        if not (self.open and self.publishing) or (self._transaction and waiting):
            return
        numbers = list(range(stream.sent, stream.sent + self.window - len(waiting)))
        stream.sent += len(numbers)
        waiting += numbers
        self._send(numbers)

    def _send(self, numbers: list[int]) -> None:
        more: dict[str, object] = {"transaction": "t"} if self._transaction else {}
        if more and numbers:
            self.frame("BEGIN", transaction="t")
        for number in numbers:
            if not self._transaction:
                more = {"receipt": number}
            self.frame("SEND", b"%d" % number, destination=self.stream.topic, persistent="true", **more)
        if self._transaction and numbers:
            self.frame("COMMIT", transaction="t", receipt=numbers[-1])

    def takeFrame(self, frame: Frame) -> None:
        """
        A receipt.
        """
        assert frame.command == "RECEIPT", frame
        number, waiting = int(frame.headers["receipt-id"]), self._unacknowledged
        done = waiting[: waiting.index(number) + 1]
        # They come in order.
        assert self._transaction or len(done) == 1, (done, number)
        self.stream.promised.update(done)
        del waiting[: len(done)]
        self.fill()


class StompSubscriber(StompClient):
    """
    Subscribes everything whenever it connects, and acknowledges each message, or seven at a time.

    @ivar subscribed: whether the receipt for SUBSCRIBE has come, ever.
    """

    def __init__(self, clientID: str, checker: Checker, mode: str) -> None:
        super().__init__(clientID)
        checker.atLeastOnce.add(clientID)
        self.checker = checker
        self.subscribed = False
        self._mode = mode
        self._count = 0

    def opened(self) -> None:
        """
        Subscribe.
        """
        self.hadSession = True
        self.frame("SUBSCRIBE", id=1, destination="crash/#", ack=self._mode, receipt="subscribed")

    def takeFrame(self, frame: Frame) -> None:
        """
        A message.
        """
        if frame.command == "RECEIPT":
            self.subscribed = True
            return
        self.checker.received(self.clientID, frame.headers["destination"], int(frame.body))
        self._count += 1
        if self._mode != "client" or self._count % 7 == 0:
            self.frame("ACK", id=frame.headers["ack"])


class SNClient(Client):
    """
    A client of MQTT-SN.
    """

    listener = "mqtt.sn"

    def __init__(self, clientID: str) -> None:
        super().__init__(clientID, 1)

    def makeSocket(self, address: tuple[str, int]) -> socket.socket:
        """
        See L{Client}.
        """
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.settimeout(10)
        opened.connect(address)
        return opened

    def greet(self, clean: bool) -> None:
        """
        See L{Client}.
        """
        self.say(SNConnect(self.clientID, cleanSession=False))

    def say(self, packet: Any) -> None:
        """
        Send a message.
        """
        self.sendBytes(encodeSN(packet))

    def takeBytes(self, data: bytes) -> None:
        """
        See L{Client}.
        """
        packet: Any = decode(data)
        if packet.type == CONNACK:
            assert packet.code == ACCEPTED, packet
            # Whether the session was there it is not told.
            self.accepted(True)
        else:
            self.take(packet)


class SNPublisher(SNClient):
    """
    Publishes one stream, one message after the other.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__(f"publisher-{stream.topic}")
        self.stream = stream
        self.publishing = False
        self._topicID = 0
        self._number = -1
        self._released = False
        self._msgID = 0

    @property
    def isQuiet(self) -> bool:
        """
        Whether everything is acknowledged.
        """
        return self._number < 0

    def opened(self) -> None:
        """
        Make the topic known.
        """
        self._topicID = 0
        self.say(SNRegister(0, 0xFFFF, self.stream.topic))

    def fill(self) -> None:
        """
        Publish the next message if none is under way.
        """
        if not (self.open and self.publishing and self._topicID and self._number < 0):
            return
        self._number = self.stream.sent
        self.stream.sent += 1
        self._msgID = self._msgID % 0xFFFE + 1
        self._send(False)

    def _send(self, dup: bool) -> None:
        self.say(SNPublish(self._topicID, b"%d" % self._number, self.stream.qos, self._msgID, dup=dup))

    def take(self, packet: Any) -> None:
        """
        An answer.
        """
        if packet.type == REGACK:
            assert packet.code == ACCEPTED, packet
            self._topicID = packet.topicID
            if self._released:
                self.say(SNPacket(PUBREL, self._msgID))
            elif self._number >= 0:
                self._send(True)
            self.fill()
        elif self._number < 0 or packet.msgID != self._msgID:
            return
        elif packet.type == PUBACK and packet.code == CONGESTION:
            self._send(True)
        elif packet.type == PUBREC:
            self.stream.promised.add(self._number)
            self._released = True
            self.say(SNPacket(PUBREL, self._msgID))
        elif packet.type in (PUBACK, PUBCOMP):
            assert packet.type == PUBCOMP or packet.code == ACCEPTED, packet
            self.stream.promised.add(self._number)
            self._number = -1
            self._released = False
            self.fill()


class SNSubscriber(SNClient):
    """
    Subscribes everything, once for ever, and acknowledges what comes.

    @ivar subscribed: whether SUBACK has come, ever.
    """

    def __init__(self, clientID: str, checker: Checker) -> None:
        super().__init__(clientID)
        self.checker = checker
        self.subscribed = False
        self._topics: dict[int, str] = {}
        self._pending: set[int] = set()

    def opened(self) -> None:
        """
        The first time, subscribe.
        """
        self._topics.clear()
        if not self.subscribed:
            self.say(SNSubscribe(SUBSCRIBE, 1, "crash/#", qos=2))

    def take(self, packet: Any) -> None:
        """
        A message, or a step of one.
        """
        if packet.type == SUBACK:
            assert packet.code == ACCEPTED, packet
            self.subscribed = True
        elif packet.type == REGISTER:
            self._topics[packet.topicID] = packet.topic
            self.say(SNPacket(REGACK, packet.msgID, ACCEPTED, packet.topicID))
        elif packet.type == PUBLISH:
            topic = self._topics[packet.topicID]
            if packet.qos == 1:
                self.checker.received(self.clientID, topic, int(packet.data))
                self.say(SNPacket(PUBACK, packet.msgID, ACCEPTED, packet.topicID))
            else:
                if packet.msgID not in self._pending:
                    self._pending.add(packet.msgID)
                    self.checker.received(self.clientID, topic, int(packet.data))
                self.say(SNPacket(PUBREC, packet.msgID))
        elif packet.type == PUBREL:
            self._pending.discard(packet.msgID)
            self.say(SNPacket(PUBCOMP, packet.msgID))


class GatewaySuite(Suite):
    """
    A broker with gateways, and clients of all of them.
    """

    listeners = 5
    # One message at a time goes to a client of MQTT-SN: what was published in this time takes longer to arrive.
    longest = 0.2
    offlineRounds = 2

    def makeClients(self) -> None:
        """
        See L{Suite}.
        """
        checker = self.checker
        self.publishers = [
            StompPublisher(checker.stream("crash/stomp", 1), 5),
            StompPublisher(checker.stream("crash/transaction", 1), 10, True),
            SNPublisher(checker.stream("crash/sn/1", 1)),
            SNPublisher(checker.stream("crash/sn/2", 2)),
            Publisher(checker.stream("crash/mqtt/1", 1), 5, 5),
            Publisher(checker.stream("crash/mqtt/2", 2), 5, 4),
            CoAPPublisher(checker.stream("crash/coap", 1)),
            CoAPPublisher(checker.retained.setdefault("retained/coap", Stream("retained/coap", 1)), retain=True),
            Commander(checker.stream("lwm2m/online-device/dn", 1), 2, 5),
            Commander(checker.stream("lwm2m/offline-device/dn", 1), 1, 5),
        ]
        self.online = [
            StompSubscriber("online-stomp", checker, "client-individual"),
            SNSubscriber("online-sn", checker),
            Subscriber("online mqtt", checker, 5),
            Device("online-device", checker),
        ]
        self.reconnecting = [
            StompSubscriber("reconnecting-stomp", checker, "client"),
            SNSubscriber("reconnecting-sn", checker),
        ]
        self.offline = [
            StompSubscriber("offline-stomp", checker, "client-individual"),
            SNSubscriber("offline-sn", checker),
            Device("offline-device", checker),
        ]

    def configuration(self) -> dict[str, Any]:
        """
        See L{Suite}.
        """
        return {
            **super().configuration(),
            "plugins": {"load": ["stomp", "mqttsn", "coap", "lwm2m"]},
            "coap": {"port": "127.0.0.1:0"},
            # Whatever is published in a round may wait for a device.
            "lwm2m": {"port": "127.0.0.1:0", "max_commands": 1_000_000, "max_command_bytes": "1GB"},
            "stomp": {"listener": {"bind": "127.0.0.1:0"}, "max_unacknowledged": 20},
            "mqtt": {"sn": {"port": "127.0.0.1:0", "max_buffered": 1_000_000, "max_buffered_bytes": 0}},
        }
