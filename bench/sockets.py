"""
Non-blocking sockets under one epoll object: the part of the generator that knows no MQTT beyond the handshake.
"""

from __future__ import annotations

import itertools
import resource
import select
import socket
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from bench import packets

# One read takes at most this much; every ring reaches at least as far.
READ_SIZE: Final = 256 * 1024
_HANDSHAKE_TIMEOUT: Final = 20.0


class HandshakeError(Exception):
    """
    The broker refused or garbled what every run begins with.
    """


class Address(Protocol):
    """
    How to reach a broker. What is behind it may be TCP or anything else that has the methods of a socket.
    """

    def open(self) -> socket.socket:
        """
        A connected socket, still blocking.
        """


class TCPAddress:
    """
    A listener on the loopback interface.
    """

    _sources: Iterator[int] = itertools.count()

    def __init__(self, port: int) -> None:
        self.port = port
        self._target = ("127.0.0.1", port)

    def open(self) -> socket.socket:
        """
        A connection from one of some hundred loopback addresses, so that short connections do not use up the ports.
        """
        opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            # IP_BIND_ADDRESS_NO_PORT: let connect() choose the port, knowing both ends.
            opened.setsockopt(socket.IPPROTO_IP, 24, 1)
            opened.bind((f"127.0.1.{1 + next(self._sources) % 200}", 0))
            opened.connect(self._target)
        except BaseException:
            opened.close()
            raise
        return opened


def raiseFileLimit() -> int:
    """
    Allow this process, and the brokers it starts, as many connections as the machine permits.

    @return: that limit.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _readExactly(opened: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = opened.recv(size - len(data))
        if not more:
            raise HandshakeError("the broker closed the connection")
        data += more
    return data


def readPacket(opened: socket.socket) -> bytes:
    """
    Wait for one packet on a blocking socket, and take not a byte more.
    """
    head = _readExactly(opened, 2)
    length = head[1] & 0x7F
    shift = 0
    while head[-1] & 0x80:
        head += _readExactly(opened, 1)
        shift += 7
        length |= (head[-1] & 0x7F) << shift
    return head + _readExactly(opened, length)


def openSession(address: Address, clientID: str, clean: bool = True) -> socket.socket:
    """
    Connect, and wait for the CONNACK.

    @raise HandshakeError: it is a refusal.
    """
    opened = address.open()
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.settimeout(_HANDSHAKE_TIMEOUT)
        opened.sendall(packets.connect(clientID, clean))
        answer = readPacket(opened)
        if answer[0] != packets.CONNACK or answer[3] != 0:
            raise HandshakeError(f"{clientID} was refused: {answer.hex()}")
    except BaseException:
        opened.close()
        raise
    return opened


def endSession(opened: socket.socket) -> None:
    """
    Disconnect, and wait until the broker has taken notice: until it closes the connection too.
    """
    with opened:
        opened.sendall(packets.DISCONNECT)
        opened.shutdown(socket.SHUT_WR)
        opened.settimeout(_HANDSHAKE_TIMEOUT)
        while opened.recv(READ_SIZE):
            pass


def subscribe(opened: socket.socket, topicFilters: list[str], qos: int, each: int = 100) -> None:
    """
    Subscribe to all filters, some at a time, waiting for each SUBACK.

    @raise HandshakeError: the broker grants less than what was asked for.
    """
    for first in range(0, len(topicFilters), each):
        part = topicFilters[first : first + each]
        opened.sendall(packets.subscribe(first // each + 1, part, qos))
        answer = readPacket(opened)
        if answer[0] != packets.SUBACK:
            raise HandshakeError(f"expected a SUBACK, received {answer[:8].hex()}")
        if answer[-len(part) :] != bytes((qos,)) * len(part):
            raise HandshakeError(f"QoS {qos} was not granted: {answer[-len(part) :][:8].hex()}")


class Turns:
    """
    The generator's event loop: tell whoever's socket has something to read.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._links: dict[int, Link] = {}
        self._linked: list[socket.socket] = []

    def turn(self, timeout: float) -> None:
        """
        Wait for something to happen, and do all of it once.
        """
        readers = self._readers
        for descriptor, event in self._epoll.poll(timeout, 2048):
            if event & select.EPOLLOUT:
                self._links[descriptor].flush()
            if event & ~select.EPOLLOUT:
                readers[descriptor]()

    def add(self, link: Link, reader: Callable[[], None]) -> None:
        """
        Call C{reader} when there is something to read.
        """
        link.socket.setblocking(False)
        self._readers[link.descriptor] = reader
        self._links[link.descriptor] = link
        self._linked.append(link.socket)
        self._epoll.register(link.descriptor, select.EPOLLIN)

    def wantWrite(self, link: Link, wanted: bool) -> None:
        """
        Watch for room to write, or no longer.
        """
        self._epoll.modify(link.descriptor, select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def close(self) -> None:
        """
        Close every connection.
        """
        self._epoll.close()
        for opened in self._linked:
            opened.close()


class Link:
    """
    One connection of the generator: writes never block, and what the kernel does not take at once waits.

    @ivar waiting: something is waiting.
    """

    def __init__(self, turns: Turns, opened: socket.socket) -> None:
        self.socket = opened
        self.descriptor = opened.fileno()
        self.readInto = opened.recv_into
        self.waiting = False
        self._turns = turns
        self._send = opened.send
        self._backlog = bytearray()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """
        Send now what can be, the rest as soon as it can be.
        """
        if not self.waiting:
            try:
                sent = self._send(data)
            except BlockingIOError:
                sent = 0
            if sent == len(data):
                return
            data = memoryview(data)[sent:]
            self.waiting = True
            self._turns.wantWrite(self, True)
        self._backlog += data

    def flush(self) -> None:
        """
        There is room again.
        """
        try:
            sent = self._send(self._backlog)
        except BlockingIOError:
            return
        del self._backlog[:sent]
        if not self._backlog:
            self.waiting = False
            self._turns.wantWrite(self, False)
