"""
Very many MQTT connections from one process: a script below C{epoll}, with nothing of the broker in it.

It prints a line for each thing that it has seen, and goes on when it is told to, by a line on its standard input:
"connected N" when all have their CONNACK; "answered N" when each has been asked and has answered; "closed N told M"
when all have been closed, of which so many heard why. It ends with status 3 if the system does not allow so many.
"""

import contextlib
import errno
import resource
import select
import socket
import sys
import time

SOURCES = 4
AT_ONCE = 500
PATIENCE = 90.0


def counted(data: bytes) -> bytes:
    """
    With its length before it.
    """
    return len(data).to_bytes(2, "big") + data


def frame(first: int, body: bytes) -> bytes:
    """
    A packet of less than 128 bytes.
    """
    return bytes((first, len(body))) + body


def connectPacket(number: int) -> bytes:
    """
    A CONNECT of MQTT 5.
    """
    return frame(0x10, counted(b"MQTT") + b"\x05\x02\x00\x00\x00" + counted(b"many%d" % number))


class Clients:
    """
    The connections, by descriptor.
    """

    def __init__(self, host: str, port: int, count: int) -> None:
        self._address = (host, port)
        self._count = count
        self._poll = select.epoll()
        self._links: dict[int, socket.socket] = {}
        self._received: dict[int, bytes] = {}
        self._deadline = time.monotonic() + PATIENCE
        self._opened = 0

    def connect(self) -> int:
        """
        Connect all, so many at a time, and wait for each CONNACK.
        """
        accepted = 0
        waiting = 0
        while accepted < self._count:
            while self._opened < self._count and waiting < AT_ONCE:
                self._open()
                waiting += 1
            for number, events in self._ready():
                if events & select.EPOLLOUT:
                    self._links[number].send(connectPacket(number))
                    self._poll.modify(number, select.EPOLLIN)
                    continue
                received = self._receive(number)
                if len(received) >= 2 and len(received) >= 2 + received[1]:
                    if received[:1] != b"\x20" or received[3] != 0:
                        raise SystemExit(f"refused: {received.hex()}")
                    self._received[number] = b""
                    accepted += 1
                    waiting -= 1
        return accepted

    def ask(self) -> int:
        """
        Send PINGREQ from each, and wait for each PINGRESP.
        """
        for link in self._links.values():
            link.send(b"\xc0\x00")
        answered = 0
        while answered < self._count:
            for number, _ in self._ready():
                if self._receive(number) == b"\xd0\x00":
                    self._received[number] = b""
                    answered += 1
        return answered

    def untilClosed(self) -> tuple[int, int]:
        """
        Wait until all are closed; returns how many, and how many heard that the broker ends (0x8B).
        """
        closed = told = 0
        while self._links:
            for number, _ in self._ready():
                before = self._received[number]
                after = self._receive(number)
                if after == before:
                    closed += 1
                    told += after == b"\xe0\x01\x8b"
                    self._poll.unregister(number)
                    self._links.pop(number).close()
        return closed, told

    def _open(self) -> None:
        link = socket.socket()
        link.setblocking(False)
        # One address has not enough ports for all.
        link.bind((f"127.0.0.{2 + self._opened % SOURCES}", 0))
        code = link.connect_ex(self._address)
        if code not in (0, errno.EINPROGRESS):
            raise SystemExit(f"can't connect: {errno.errorcode[code]}")
        self._links[link.fileno()] = link
        self._received[link.fileno()] = b""
        self._poll.register(link.fileno(), select.EPOLLOUT)
        self._opened += 1

    def _receive(self, number: int) -> bytes:
        with contextlib.suppress(ConnectionResetError):
            self._received[number] += self._links[number].recv(4096)
        return self._received[number]

    def _ready(self) -> list[tuple[int, int]]:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise SystemExit("it took too long")
        return self._poll.poll(left, 1024)


def main() -> None:
    """
    Do it.
    """
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    wanted = count + 50
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
    except (OSError, ValueError):
        print(f"only {hard} files may be open", flush=True)
        raise SystemExit(3) from None
    clients = Clients(host, port, count)
    begun = time.monotonic()
    print(f"connected {clients.connect()} in {time.monotonic() - begun:.1f} s", flush=True)
    sys.stdin.readline()
    print(f"answered {clients.ask()}", flush=True)
    sys.stdin.readline()
    print("waiting", flush=True)
    closed, told = clients.untilClosed()
    print(f"closed {closed} told {told}", flush=True)


if __name__ == "__main__":
    main()
