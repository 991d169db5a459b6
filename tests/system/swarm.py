"""
Very many CoAP peers from one process, as bare datagrams: nothing that we or others wrote to speak CoAP stands in the
way of what is measured, or would hide a fault of ours by having the same.
"""

from __future__ import annotations

import resource
import select
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCES = 4
AT_ONCE = 250
PATIENCE = 60.0

CON, NON, ACK, RST = range(4)
EMPTY = 0
GET, POST, PUT, DELETE = 1, 2, 3, 4
CREATED, DELETED, VALID, CHANGED, CONTENT = 0x41, 0x42, 0x43, 0x44, 0x45
OBSERVE, URI_PATH, CONTENT_FORMAT, URI_QUERY = 6, 11, 12, 15


class Datagram(NamedTuple):
    """
    A message of CoAP.

    @ivar options: numbers and values, in ascending order of numbers.
    """

    type: int
    code: int
    mid: int
    token: bytes = b""
    options: tuple[tuple[int, bytes], ...] = ()
    payload: bytes = b""

    def wire(self) -> bytes:
        """
        Its bytes.
        """
        made = bytearray((0x40 | self.type << 4 | len(self.token), self.code, self.mid >> 8, self.mid & 0xFF))
        made += self.token
        last = 0
        for number, value in self.options:
            delta, length = _extended(number - last), _extended(len(value))
            made += bytes((delta[0] << 4 | length[0],)) + delta[1] + length[1] + value
            last = number
        if self.payload:
            made += b"\xff" + self.payload
        return bytes(made)

    def values(self, number: int) -> list[bytes]:
        """
        The values of an option.
        """
        return [value for each, value in self.options if each == number]


def _extended(number: int) -> tuple[int, bytes]:
    if number < 13:
        return number, b""
    if number < 269:
        return 13, bytes((number - 13,))
    return 14, (number - 269).to_bytes(2, "big")


def parsed(data: bytes) -> Datagram:
    """
    A message of bytes, which must be one.
    """
    assert data[0] >> 6 == 1, data.hex()
    place = 4 + (data[0] & 15)
    token = data[4:place]
    options = []
    number = 0
    payload = b""
    while place < len(data):
        first = data[place]
        place += 1
        if first == 0xFF:
            payload = data[place:]
            assert payload, data.hex()
            break
        sizes = []
        for size in (first >> 4, first & 15):
            if size == 13:
                size = 13 + data[place]
                place += 1
            elif size == 14:
                size = 269 + int.from_bytes(data[place : place + 2], "big")
                place += 2
            else:
                assert size != 15, data.hex()
            sizes.append(size)
        number += sizes[0]
        options.append((number, data[place : place + sizes[1]]))
        place += sizes[1]
        assert place <= len(data), data.hex()
    return Datagram(data[0] >> 4 & 3, data[1], int.from_bytes(data[2:4], "big"), token, tuple(options), payload)


def path(*steps: str, query: Sequence[str] = ()) -> tuple[tuple[int, bytes], ...]:
    """
    Options that say where a request goes.
    """
    return (*((URI_PATH, step.encode()) for step in steps), *((URI_QUERY, word.encode()) for word in query))


class Swarm:
    """
    So many sockets, each of which speaks with one server.

    @ivar repeated: how often the server has sent again what it had been answered, too late for it.
    """

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self.count = count
        self.repeated = 0
        self._replies: dict[tuple[int, int], Datagram] = {}
        self._poll = select.epoll()
        self._sockets: list[socket.socket] = []
        self._numbers: dict[int, int] = {}
        _raiseLimit(count + 500)
        for number in range(count):
            link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            # One address has hardly enough ports for all, beside what else runs here.
            link.bind((f"127.0.0.{2 + number % SOURCES}", 0))
            link.connect(address)
            link.setblocking(False)
            self._sockets.append(link)
            self._numbers[link.fileno()] = number
            self._poll.register(link.fileno(), select.EPOLLIN)

    def __enter__(self) -> Swarm:
        return self

    def __exit__(self, *error: object) -> None:
        self._poll.close()
        for link in self._sockets:
            link.close()

    def send(self, number: int, message: Datagram) -> None:
        """
        Have one of them say something.
        """
        self._sockets[number].send(message.wire())

    def reply(self, number: int, message: Datagram, reply: Datagram) -> None:
        """
        Have one of them answer a confirmable message, and as often as that comes again.
        """
        self._replies[number, message.mid] = reply
        self.send(number, reply)

    def ask(self, request: Callable[[int], Datagram], code: int) -> list[Datagram]:
        """
        Have each ask something, a few hundred at a time, and see that each is answered with C{code} at once.

        @return: the answers.
        """
        answers: dict[int, Datagram] = {}

        def hear(number: int, message: Datagram) -> bool:
            assert (message.type, message.code) == (ACK, code), message
            assert number not in answers
            answers[number] = message
            return True

        for start in range(0, self.count, AT_ONCE):
            some = range(start, min(start + AT_ONCE, self.count))
            for number in some:
                self.send(number, request(number))
            self.hear(hear, len(some))
        return [answers[number] for number in range(self.count)]

    def hear(self, heard: Callable[[int, Datagram], bool], count: int) -> None:
        """
        Hand on what comes, each message once, until C{heard} has said so many times that it counts. Pings are answered.
        """
        deadline = time.monotonic() + PATIENCE
        while count > 0:
            ready = self._poll.poll(max(0.0, deadline - time.monotonic()), 1024)
            assert ready, f"{count} have not come"
            for fileno, _ in ready:
                number = self._numbers[fileno]
                message = parsed(self._sockets[number].recv(65536))
                if message.type == CON and message.code == EMPTY:
                    self.send(number, Datagram(RST, EMPTY, message.mid))
                    continue
                before = self._replies.get((number, message.mid)) if message.type == CON else None
                if before is None:
                    count -= heard(number, message)
                else:
                    self.repeated += 1
                    self.send(number, before)


def _raiseLimit(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip(f"needs {wanted} open files, and may have {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def residentBytes(pid: int) -> int:
    """
    How much memory a process has.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such process")
