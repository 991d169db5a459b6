"""
Clients of the crash suite that speak CoAP: a publisher, and a device of LwM2M that gets commands.
"""

from __future__ import annotations

import json
import re
import socket

from tests.crash.checker import Checker, Stream
from tests.crash.clients import Client, Publisher
from tests.system.swarm import ACK, CHANGED, CON, CREATED, EMPTY, POST, PUT, URI_QUERY, Datagram, parsed, path
from twisted_mqtt.core.packets import Publish

# The gateway takes nothing more for now.
_BUSY = (0x9D, 0xA3)
_CONTENT_FORMAT = 12


class CoAPPeer(Client):
    """
    A peer of CoAP over UDP: it sends one request after the other, and answers what it is asked.
    """

    listener = "coap"

    def __init__(self, clientID: str) -> None:
        super().__init__(clientID, 1)
        self._mid = 0
        self._token = b""

    def makeSocket(self, address: tuple[str, int]) -> socket.socket:
        """
        See L{Client}.
        """
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.settimeout(10)
        opened.connect(address)
        return opened

    def ask(self, code: int, options: tuple[tuple[int, bytes], ...], payload: bytes) -> None:
        """
        Send a request.
        """
        self._mid = (self._mid + 1) & 0xFFFF
        self._token = self._mid.to_bytes(2, "big")
        self.sendBytes(Datagram(CON, code, self._mid, self._token, options, payload).wire())

    def takeBytes(self, data: bytes) -> None:
        """
        See L{Client}.
        """
        message = parsed(data)
        if message.code == EMPTY:
            if message.type == CON:  # a ping, to see whether the address is ours
                self.sendBytes(Datagram(3, EMPTY, message.mid).wire())
            return
        if message.code < 0x40:
            self.asked(message)
            return
        if message.type == CON:
            self.sendBytes(Datagram(ACK, EMPTY, message.mid).wire())
        if message.token == self._token:
            self.answered(message)

    def asked(self, message: Datagram) -> None:
        """
        A request has come.
        """

    def answered(self, message: Datagram) -> None:
        """
        The answer to the last request has come.
        """


class CoAPPublisher(CoAPPeer):
    """
    Publishes one stream at QoS 1, one message after the other; 2.04 is the promise.

    @ivar retain: whether they are retained.
    """

    def __init__(self, stream: Stream, retain: bool = False) -> None:
        super().__init__(f"publisher-{stream.topic.replace('/', '-')}")
        self.stream = stream
        self.retain = retain
        self.publishing = False
        self._number = -1

    @property
    def isQuiet(self) -> bool:
        """
        Whether everything is acknowledged.
        """
        return self._number < 0

    def greet(self, clean: bool) -> None:
        """
        There is no connection to be made: send again what was under way.
        """
        self.open = True
        if self._number >= 0:
            self._send()
        self.fill()

    def fill(self) -> None:
        """
        Publish the next message if none is under way.
        """
        if self.open and self.publishing and self._number < 0:
            self._number = self.stream.sent
            self.stream.sent += 1
            self._send()

    def _send(self) -> None:
        words = (f"c={self.clientID}", "qos=1", f"retain={int(self.retain)}")
        options = path("mqtt", *self.stream.topic.split("/"))
        query = tuple((URI_QUERY, word.encode()) for word in words)
        self.ask(PUT, (*options, *query), b"%d" % self._number)

    def answered(self, message: Datagram) -> None:
        """
        See L{CoAPPeer}.
        """
        if message.code in _BUSY:
            self._send()
            return
        assert message.code == CHANGED, message
        self.stream.promised.add(self._number)
        self._number = -1
        self.fill()


class Device(CoAPPeer):
    """
    A device of LwM2M: it registers whenever it comes, and does what it is told.

    @ivar subscribed: whether it has been registered, ever.
    """

    listener = "lwm2m"

    def __init__(self, clientID: str, checker: Checker) -> None:
        super().__init__(clientID)
        self.checker = checker
        self.topic = f"lwm2m/{clientID}/dn"
        checker.only[clientID] = {self.topic}
        checker.atLeastOnce.add(clientID)
        self.subscribed = False

    def greet(self, clean: bool) -> None:
        """
        See L{Client}.
        """
        query = (f"ep={self.clientID}", "lt=3600", "b=U", "lwm2m=1.0")
        options = (*path("rd"), (_CONTENT_FORMAT, b"\x28"), *((URI_QUERY, word.encode()) for word in query))
        self.ask(POST, options, b"</1/0>,</3/0>")

    def answered(self, message: Datagram) -> None:
        """
        See L{CoAPPeer}.
        """
        assert message.code == CREATED, message
        self.subscribed = True
        self.open = True

    def asked(self, message: Datagram) -> None:
        """
        See L{CoAPPeer}.
        """
        found = re.fullmatch(rb"0='(\d+)'", message.payload)
        assert found is not None, message
        self.checker.received(self.clientID, self.topic, int(found[1]))
        self.sendBytes(Datagram(ACK, CHANGED, message.mid, message.token).wire())


class Commander(Publisher):
    """
    Publishes commands for a device.
    """

    def _packet(self, packetID: int, number: int, dup: bool) -> Publish:
        data = {"path": "/3/0/4", "args": f"0='{number}'"}
        payload = json.dumps({"reqID": number, "msgType": "execute", "data": data}).encode()
        return Publish(self.stream.topic, payload, self.stream.qos, False, dup, packetID)
