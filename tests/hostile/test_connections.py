"""
Slow, dead and hostile clients, against a real process: each harms only itself.
"""

import random
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.system.conftest import StartBroker
from tests.system.paho_peer import Peer
from tests.system.process import PATIENCE, Broker
from tests.vectors.packets import counted, frame

CONNACK = b"\x20\x02\x00\x00"


def connect(clientID: str, keepAlive: int = 0) -> bytes:
    """
    A CONNECT of MQTT 3.1.1.
    """
    return frame(0x10, counted(b"MQTT") + b"\x04\x02" + keepAlive.to_bytes(2, "big") + counted(clientID.encode()))


def publish(topicName: str, payload: bytes) -> bytes:
    """
    A PUBLISH of QoS 0.
    """
    return frame(0x30, counted(topicName.encode()) + payload)


def opened(broker: Broker, data: bytes = b"", receiveBuffer: int = 0) -> socket.socket:
    """
    Open a connection and send C{data}.

    @param receiveBuffer: how much the kernel may hold for us; 0 for what is usual.
    """
    link = socket.socket()
    link.settimeout(PATIENCE)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receiveBuffer:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receiveBuffer)
    link.connect((broker.host, broker.port))
    link.sendall(data)
    return link


def accepted(broker: Broker, clientID: str, keepAlive: int = 0, receiveBuffer: int = 0) -> socket.socket:
    """
    Open a connection that the broker has accepted.
    """
    link = opened(broker, connect(clientID, keepAlive), receiveBuffer)
    assert link.recv(4, socket.MSG_WAITALL) == CONNACK
    return link


def untilClosed(link: socket.socket) -> bytes:
    """
    Everything that comes until the broker closes.
    """
    received = bytearray()
    with closing(link):
        try:
            while chunk := link.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
    return bytes(received)


@pytest.fixture
def own(startBroker: StartBroker) -> Iterator[Broker]:
    """
    A broker of the test's own, which loses patience soon.
    """
    yield startBroker({"zone": {"external": {"idle_timeout": "1s", "max_mqueue_len": 100}}})


@pytest.mark.parametrize("qos", [0, 1])
def test_neverReads(own: Broker, name: str, qos: int) -> None:
    """
    A subscriber that never reads costs bounded memory, and keeps neither the sender nor another subscriber waiting.
    """
    payload = bytes(16384)
    with (
        closing(accepted(own, f"{name}d", receiveBuffer=4096)) as deaf,
        Peer(own, f"{name}s") as reading,
        Peer(own, f"{name}p") as sender,
    ):
        deaf.sendall(frame(0x82, b"\x00\x01" + counted(f"{name}/#".encode()) + bytes([qos])))
        assert deaf.recv(5, socket.MSG_WAITALL) == bytes([0x90, 3, 0, 1, qos])
        reading.subscribe(f"{name}/#", 1)
        sender.publish(f"{name}/a", "warm up")
        assert reading.payloads(1) == ["warm up"]
        before = own.residentMiB
        for _ in range(2000):
            sender.publish(f"{name}/a", payload)
            assert reading.receive().payload == payload
        # 31 MiB were sent; one MiB may wait for the socket, a hundred messages in the queue.
        assert own.residentMiB - before < 16


def test_oneByteAtATime(own: Broker, name: str) -> None:
    """
    A packet that comes in 100,000 pieces costs time in proportion to its size, not to its square.
    """
    payload = bytes(range(256)) * 391
    with Peer(own, f"{name}s") as subscriber, closing(accepted(own, f"{name}p")) as link:
        subscriber.subscribe(f"{name}/#")
        before = own.processorSeconds
        for byte in publish(f"{name}/a", payload):
            link.send(bytes((byte,)))
        assert subscriber.receive().payload == payload
        # Some 20 us a piece are usual for a slow machine; copying what is there for each piece takes 100 s and more.
        assert own.processorSeconds - before < 15


def test_nothingIsSaid(own: Broker) -> None:
    """
    A connection without a CONNECT, or with half of one, is closed.
    """
    whole = connect("half")
    links = [opened(own, start) for start in (b"", whole[:1], whole[:-1])]
    assert [untilClosed(link) for link in links] == [b"", b"", b""]


def test_keepAlive(broker: Broker, name: str) -> None:
    """
    A client that falls silent for longer than it promised is disconnected, one that pings is not.
    """
    silent, pinging = accepted(broker, f"{name}s", keepAlive=1), accepted(broker, f"{name}p", keepAlive=1)
    with closing(pinging):
        silent.settimeout(0.5)
        for _ in range(20):
            pinging.sendall(b"\xc0\x00")
            assert pinging.recv(2, socket.MSG_WAITALL) == b"\xd0\x00"
            try:
                ended = silent.recv(1) == b""
            except TimeoutError:
                continue
            break
        else:
            ended = False
        assert ended
        silent.close()


def test_noise(own: Broker, name: str) -> None:
    """
    Bytes that mean nothing end the connection that sent them, before and after CONNECT, and nothing else.
    """
    rng = random.Random(1)
    with Peer(own, f"{name}w") as witness:
        witness.subscribe(f"{name}/#")
        for number in range(200):
            noise = rng.randbytes(rng.randrange(1, 200))
            begin = connect(f"{name}{number}") if number % 2 else b""
            # The forbidden packet type 0 at the end, lest the noise be the beginning of something sensible.
            link = opened(own)
            try:
                link.sendall(begin + noise + bytes(300))
                link.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it was quicker
            untilClosed(link)
        witness.publish(f"{name}/a", "unharmed")
        assert witness.payloads(1) == ["unharmed"]


def test_manyConnections(own: Broker, name: str) -> None:
    """
    Hundreds of clients that come at once and vanish at once leave nothing behind.
    """
    for _ in range(3):
        links = [opened(own, connect(f"{name}{number}")) for number in range(300)]
        for link in links:
            assert link.recv(4, socket.MSG_WAITALL) == CONNACK
        for link in links:
            link.close()
    with Peer(own, f"{name}w") as witness:
        witness.subscribe(f"{name}/#")
        witness.publish(f"{name}/a", "still here")
        assert witness.payloads(1) == ["still here"]
