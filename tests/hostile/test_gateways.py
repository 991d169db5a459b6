"""
Hostile clients of the gateways: whatever they do, the ordinary clients of the broker do not notice.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final

import cbor2
import pytest

from gateways.coap.codes import CHANGED, CREATED, DELETE, GET, POST, PUT
from gateways.coap.message import ACK as COAP_ACK
from gateways.coap.message import CON, NON, CoAPMessage, decode, encode, encodeEmpty
from gateways.coap.options import (
    BLOCK1,
    CONTENT_FORMAT,
    OBSERVE,
    URI_PATH,
    URI_QUERY,
    Option,
    stringOptions,
    uintOption,
)
from gateways.mqttsn.codec import decode as decodeSN
from gateways.mqttsn.codec import encode as encodeSN
from gateways.mqttsn.packets import (
    CONNACK,
    PINGREQ,
    SUBSCRIBE,
    Encapsulated,
    SNConnect,
    SNPacket,
    SNPublish,
    SNRegister,
    SNSubscribe,
)
from tests.hostile.kit import Siege, StartSiege, entered, ping, publish
from tests.system.process import PATIENCE, Broker

# So much goes out at once, before the kernel's buffer of the broker may be full.
_BURST: Final = 50


@pytest.fixture
def siege(startSiege: StartSiege) -> Siege:
    """
    A broker with all gateways.
    """
    return startSiege(
        {
            "plugins": {"load": ["stomp", "mqttsn", "coap", "lwm2m"]},
            "stomp": {"listener": {"bind": "127.0.0.1:0"}, "ws": {"bind": "127.0.0.1:0"}},
            "mqtt": {"sn": {"port": "127.0.0.1:0", "advertise_duration": "0s"}},
            "coap": {"port": "127.0.0.1:0"},
            "lwm2m": {"port": "127.0.0.1:0"},
        },
        listeners=6,
    )


# CoAP


class CoAPSocket:
    """
    A peer of CoAP that sends what it likes.
    """

    def __init__(self, port: int) -> None:
        self.link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.link.connect(("127.0.0.1", port))
        self.link.settimeout(PATIENCE)
        self._number = 0

    def close(self) -> None:
        """
        Leave.
        """
        self.link.close()

    def wire(
        self, code: int, path: str, options: list[Option], payload: bytes = b"", token: bytes = b"", type: int = NON
    ) -> bytes:
        """
        A request.
        """
        self._number = (self._number + 1) & 0xFFFF
        bare, _, query = path.partition("?")
        every = stringOptions(URI_PATH, bare.strip("/").split("/"))
        every += stringOptions(URI_QUERY, query.split("&")) if query else []
        every = sorted([*every, *options], key=lambda option: option[0])
        return encode(CoAPMessage(code, every, payload, token, type, self._number))

    def ask(
        self, code: int, path: str, options: list[Option] | None = None, payload: bytes = b"", token: bytes = b"ask"
    ) -> CoAPMessage:
        """
        Send a request, and again if nothing comes; returns its response. What else comes is acknowledged.
        """
        wire = self.wire(code, path, options or [], payload, token, CON)
        self.link.settimeout(2.0)
        for _ in range(int(PATIENCE)):
            self.link.send(wire)
            with suppress(TimeoutError):
                while True:
                    message = decode(self.link.recv(65536))
                    if message.type == CON:
                        self.link.send(encodeEmpty(COAP_ACK, message.messageID))
                    if message.token == token and message.code:
                        return message
        raise AssertionError("the gateway does not answer")

    def flood(self, datagrams: Iterable[bytes]) -> int:
        """
        Send datagrams as fast as they are taken; returns how many. What comes is thrown away.
        """
        count = 0
        self.link.setblocking(False)
        for count, datagram in enumerate(datagrams, 1):
            with suppress(BlockingIOError, ConnectionRefusedError):
                self.link.send(datagram)
            if count % _BURST == 0:
                with suppress(BlockingIOError):
                    while True:
                        self.link.recv(65536)
        self.link.settimeout(PATIENCE)
        return count


@contextmanager
def coap(broker: Broker) -> Iterator[CoAPSocket]:
    """
    A peer of the CoAP gateway.
    """
    with closing(CoAPSocket(broker.ports["coap"])) as peer:
        yield peer


def test_coapClients(siege: Siege) -> None:
    """
    Requests of 20,000 clients from one address, each with a name of its own.
    """
    with siege.unharmed(), coap(siege.broker) as peer:
        peer.flood(peer.wire(PUT, f"/mqtt/a?c=client{number}", [], b"x") for number in range(20_000))
        assert peer.ask(PUT, "/mqtt/a?c=last", payload=b"x").code == CHANGED


def test_coapHalfOpen(siege: Siege) -> None:
    """
    20,000 first blocks of bodies whose other blocks never come.
    """
    with siege.unharmed(), coap(siege.broker) as peer:
        before = siege.broker.residentMiB
        block = [(BLOCK1, b"\x0e")]
        peer.flood(peer.wire(PUT, f"/ps/half/{number}", block, bytes(1024)) for number in range(20_000))
        assert peer.ask(PUT, "/ps/whole", payload=b"x").code == CREATED
        # 32 MB of bodies may wait.
        assert siege.broker.residentMiB - before < 100


def test_coapObservesOneTopic(siege: Siege) -> None:
    """
    One client observes one topic 20,000 times, by as many tokens, and never acknowledges anything.
    """
    with siege.unharmed(), coap(siege.broker) as peer, entered(siege.broker, "source") as source:
        peer.ask(GET, "/.well-known/core")
        tokens = (number.to_bytes(4, "big") for number in range(20_000))
        peer.flood(peer.wire(GET, "/mqtt/seen?c=many", [(OBSERVE, b"")], token=token) for token in tokens)
        for _ in range(50):
            source.sendall(publish("seen", bytes(100)))
        peer.ask(GET, "/mqtt/any?c=many")


def test_coapObservesManyTopics(siege: Siege) -> None:
    """
    One client observes 20,000 topics, one after the other by the same token, and as many by different ones.
    """
    with siege.unharmed(), coap(siege.broker) as peer, entered(siege.broker, "source") as source:
        path = "/mqtt/many/{}?c=many"
        peer.flood(peer.wire(GET, path.format(n), [(OBSERVE, b"")], token=b"same") for n in range(20_000))
        peer.flood(peer.wire(GET, path.format(n), [(OBSERVE, b"")], token=n.to_bytes(4, "big")) for n in range(20_000))
        for number in range(0, 20_000, 400):
            source.sendall(publish(f"many/{number}", b"x"))
        peer.ask(GET, "/mqtt/any?c=many")


def test_coapDeepPaths(siege: Siege) -> None:
    """
    Topics of 20,000 levels, made, observed, read and removed.
    """
    deep = "/ps" + "/a" * 20_000
    with siege.unharmed(), coap(siege.broker) as peer:
        for number in range(50):
            for code, options in ((PUT, []), (GET, [(OBSERVE, b"")]), (GET, []), (DELETE, [])):
                peer.link.send(peer.wire(code, f"{deep}/{number}?c=deep", options, b"x", token=b"d"))
        peer.flood(peer.wire(PUT, f"/ps/{'b/' * (n % 128)}{n}", [], b"x") for n in range(5_000))
        peer.ask(DELETE, "/ps/b")
        peer.ask(GET, "/ps/x")


def test_coapTopics(siege: Siege) -> None:
    """
    5,000 topics with configurations are created, listed again and again, and removed by one request.
    """
    with siege.unharmed(), coap(siege.broker) as peer:
        format = [uintOption(CONTENT_FORMAT, 606)]
        peer.flood(
            peer.wire(POST, "/ps", format, cbor2.dumps({0: f"many/{number}", 2: "core.ps.data", 4: "x" * 200}))
            for number in range(5_000)
        )
        peer.flood(peer.wire(GET, "/ps", [], token=n.to_bytes(2, "big")) for n in range(2_000))
        peer.flood(peer.wire(PUT, f"/ps/many/{number}", [], b"x") for number in range(5_000))
        peer.flood(peer.wire(DELETE, "/ps/many", [], token=n.to_bytes(2, "big")) for n in range(100))
        peer.ask(DELETE, "/ps/many")


# LwM2M


def test_devicesOfOneAddress(siege: Siege) -> None:
    """
    20,000 devices register from one address, with a thousand objects each hundredth of them, and are heard of again.
    """
    links = b"</1/0>,</3/0>"
    many = b",".join(b"</%d/0>" % number for number in range(1000))
    with siege.unharmed(), closing(CoAPSocket(siege.broker.ports["lwm2m"])) as peer:
        for _ in range(2):
            peer.flood(
                peer.wire(POST, f"/rd?ep=device{number}&lt=300&lwm2m=1.0&b=U", [], links if number % 100 else many)
                for number in range(20_000)
            )
        created = peer.ask(POST, "/rd?ep=last&lt=300&lwm2m=1.0&b=U", payload=links)
        assert created.code == CREATED
        peer.flood(peer.wire(POST, "/rd/1", [], b"") for _ in range(20_000))
        peer.flood(peer.wire(POST, "/dp", [uintOption(CONTENT_FORMAT, 110)], b"[" * 60_000) for _ in range(50))
        peer.ask(POST, "/rd?ep=last&lt=300&lwm2m=1.0&b=U", payload=links)


# MQTT-SN


class SNSocket:
    """
    A client of MQTT-SN that sends what it likes.
    """

    def __init__(self, broker: Broker) -> None:
        self._peer = CoAPSocket(broker.ports["mqtt.sn"])
        self.link = self._peer.link
        self.close = self._peer.close

    def flood(self, packets: Iterable[SNPacket | bytes]) -> None:
        """
        Send messages as fast as they are taken.
        """
        self._peer.flood(packet if isinstance(packet, bytes) else encodeSN(packet) for packet in packets)

    def ask(self, packet: SNPacket, answer: int) -> SNPacket:
        """
        Send a message until an answer of some type comes.
        """
        self.link.settimeout(2.0)
        for _ in range(int(PATIENCE)):
            self.link.send(encodeSN(packet))
            with suppress(TimeoutError):
                while True:
                    heard = decodeSN(self.link.recv(65536))
                    if heard.type == answer:
                        return heard
        raise AssertionError("the gateway does not answer")


def test_sensorsThatComeAndGo(siege: Siege) -> None:
    """
    30,000 clients behind forwarders connect, half of them with a will that they never tell; strangers send anything.
    """
    with siege.unharmed(), closing(SNSocket(siege.broker)) as peer:

        def coming() -> Iterator[SNPacket | bytes]:
            for number in range(30_000):
                connect = encodeSN(SNConnect(f"sensor{number}", will=bool(number % 2)))
                yield Encapsulated(number.to_bytes(4, "big"), connect)
                yield b"\x03\x01\x00"  # SEARCHGW
                yield SNPacket(PINGREQ)
                yield b"\x02" * (number % 50)

        peer.flood(coming())
        with closing(SNSocket(siege.broker)) as honest:
            honest.ask(SNConnect("honest"), CONNACK)


def test_sensorThatSubscribesEverything(siege: Siege) -> None:
    """
    One client registers and subscribes 20,000 topics, and takes none of the messages that come for it.
    """
    with siege.unharmed(), closing(SNSocket(siege.broker)) as peer, entered(siege.broker, "source") as source:
        peer.ask(SNConnect("greedy"), CONNACK)
        peer.flood(SNRegister(0, number or 1, f"greedy/{number}") for number in range(20_000))
        peer.flood(SNSubscribe(SUBSCRIBE, number or 1, f"greedy/{number}/+", qos=1) for number in range(20_000))
        peer.flood([SNSubscribe(SUBSCRIBE, 1, "greedy/#", qos=1)])
        for number in range(2_000):
            source.sendall(publish(f"greedy/{number}/x", bytes(1000)))
        peer.flood(SNPublish(1, bytes(1000), 1, number or 1) for number in range(20_000))
        with closing(SNSocket(siege.broker)) as honest:
            honest.ask(SNConnect("honest"), CONNACK)


# STOMP


@contextmanager
def stomp(
    broker: Broker, data: bytes = b"CONNECT\naccept-version:1.2\nhost:x\nlogin:guest\npasscode:guest\n\n\0"
) -> Iterator[socket.socket]:
    """
    A connection of STOMP that has sent something.
    """
    with socket.socket() as link:
        link.settimeout(PATIENCE)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.connect((broker.host, broker.ports["stomp"]))
        link.sendall(data)
        if data:
            assert link.recv(9, socket.MSG_WAITALL) == b"CONNECTED"
        yield link


def test_stompReadsNothing(siege: Siege) -> None:
    """
    A subscriber with a thousand subscriptions of one destination reads nothing while 20 MB are sent there.
    """
    subscribe = b"".join(b"SUBSCRIBE\nid:%d\ndestination:slow\n\n\0" % number for number in range(1000))
    with siege.unharmed(), stomp(siege.broker) as slow, entered(siege.broker, "source") as source:
        before = siege.broker.residentMiB
        slow.sendall(subscribe)
        slow.sendall(b"SEND\ndestination:x\nreceipt:done\n\nx\0")
        heard = b""
        while b"receipt-id:done" not in heard:
            heard += slow.recv(65536)
        for _ in range(2_000):
            source.sendall(publish("slow", bytes(10_000)))
        ping(source)
        assert siege.broker.residentMiB - before < 100


def test_stompHeaders(siege: Siege) -> None:
    """
    Frames whose headers never end, or are ten thousand, and bodies of 2 GB that never come.
    """
    wrong = [
        b"SEND\n" + b"x" * 2_000_000,
        b"SEND\n" + b"a:b\n" * 500_000,
        b"SEND\ndestination:x\ncontent-length:2000000000\n\n" + bytes(2_000_000),
        b"\n" * 2_000_000,
        b"SEND\ndestination:x\n\n" + b"x" * 2_000_000,
        b"A" * 2_000_000,
    ]
    with siege.unharmed():
        for data in wrong * 10:
            with stomp(siege.broker) as link, suppress(OSError):
                link.sendall(data)
        with stomp(siege.broker):
            pass


def test_stompTransactions(siege: Siege) -> None:
    """
    Clients fill every transaction they may have, and leave.
    """
    send = b"SEND\ndestination:x\ntransaction:%d\n\n" + bytes(b"x" * 900) + b"\0"
    with siege.unharmed():
        for _ in range(30):
            with stomp(siege.broker) as link, suppress(OSError):
                for number in range(10):
                    link.sendall(b"BEGIN\ntransaction:%d\n\n\0" % number + send % number * 1000)


def test_sockJSSessions(siege: Siege) -> None:
    """
    20,000 sessions of SockJS are opened, a thousand requests at once on each connection, and never used.
    """
    host, port = siege.broker.host, siege.broker.ports["stomp.ws"]
    request = b"POST /stomp/0/%d/xhr HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    with siege.unharmed():
        before = siege.broker.residentMiB
        for begin in range(0, 20_000, 1000):
            with socket.create_connection((host, port), PATIENCE) as link, suppress(OSError):
                link.sendall(b"".join(request % number for number in range(begin, begin + 1000)))
                link.shutdown(socket.SHUT_WR)
                while link.recv(65536):
                    pass
        assert siege.broker.residentMiB - before < 200
        with stomp(siege.broker):
            pass
