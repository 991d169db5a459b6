"""
Clients without a library, for tests of what happens to connections: packets sent and read as bytes.
"""

from __future__ import annotations

import socket
import time
from contextlib import closing

from tests.system.process import PATIENCE, Broker
from tests.vectors.packets import counted, frame

ACCEPTED = b"\x20\x02\x00\x00"
PING = b"\xc0\x00"
PONG = b"\xd0\x00"


def connect(clientID: str, keepAlive: int = 0) -> bytes:
    """
    A CONNECT of MQTT 3.1.1.
    """
    return frame(0x10, counted(b"MQTT") + b"\x04\x02" + keepAlive.to_bytes(2, "big") + counted(clientID.encode()))


def connect5(clientID: str) -> bytes:
    """
    A CONNECT of MQTT 5.
    """
    return frame(0x10, counted(b"MQTT") + b"\x05\x02\x00\x00\x00" + counted(clientID.encode()))


def publish(topicName: str, payload: bytes, packetID: int = 0) -> bytes:
    """
    A PUBLISH below MQTT 5, of QoS 1 if it has an identifier.
    """
    identifier = packetID.to_bytes(2, "big") if packetID else b""
    return frame(0x32 if packetID else 0x30, counted(topicName.encode()) + identifier + payload)


def opened(broker: Broker, data: bytes = b"", source: str = "", listener: str = "tcp.external") -> socket.socket:
    """
    Open a connection and send C{data}.

    @param source: the address to connect from.
    """
    link = socket.socket()
    link.settimeout(PATIENCE)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if source:
        link.bind((source, 0))
    link.connect((broker.host, broker.ports[f"listener.{listener}"]))
    link.sendall(data)
    return link


def accepted(broker: Broker, clientID: str, source: str = "", listener: str = "tcp.external") -> socket.socket:
    """
    Open a connection that the broker has accepted.
    """
    link = opened(broker, connect(clientID), source, listener)
    answer = read(link, 4)
    assert answer == ACCEPTED, answer
    return link


def read(link: socket.socket, size: int) -> bytes:
    """
    So many bytes, or fewer if the connection ends before.
    """
    received = b""
    while len(received) < size:
        try:
            chunk = link.recv(size - len(received))
        except ConnectionResetError:
            break
        if not chunk:
            break
        received += chunk
    return received


def untilClosed(link: socket.socket) -> bytes:
    """
    Everything that comes until the broker closes.
    """
    with closing(link):
        received = b""
        while chunk := read(link, 65536):
            received += chunk
            if len(chunk) < 65536:
                break
        return received


def serves(broker: Broker, name: str, listener: str = "tcp.external") -> bool:
    """
    Whether a client comes in.
    """
    with closing(opened(broker, connect(name), listener=listener)) as link:
        return read(link, 4) == ACCEPTED


class Stopwatch:
    """
    The time since it was made.
    """

    def __init__(self) -> None:
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """
        How long it was.
        """
        return time.monotonic() - self._begun
