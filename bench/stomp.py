"""
STOMP throughput, beside RabbitMQ's STOMP plug-in and coilmq.

Bodies are made beforehand and hold their number; a receiver counts the NULs of a chunk, and then the last whole
message in it must be the one with that number: what is lost, repeated or out of order shows without any frame being
parsed.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bench.child import freePort
from bench.contest import Contender, Contest, Figures, Row, Server, Started, Watch, broker, ours
from bench.sockets import READ_SIZE, HandshakeError, Link, TCPAddress, Turns

_STALLED: Final = 5.0
_WARM_UP: Final = 1.0
_NUMBER: Final = re.compile(rb"#(\d{8})#[^\0]*\0[^\0]*\Z")
_FILLER: Final = b"0123456789abcdef" * 4


def _ours(tree: Path) -> StompServer:
    def start(folder: Path, port: int) -> Started:
        return broker(tree, folder, freePort(), ["stomp"], f'[stomp.listener]\nbind = "127.0.0.1:{port}"\n')

    return StompServer("ours", start)


def _rabbitMQ(folder: Path, port: int) -> Started:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        amqp, names = one.getsockname()[1], two.getsockname()[1]
    (folder / "plugins").write_text("[rabbitmq_stomp].\n")
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.default = 127.0.0.1:{amqp}\nstomp.listeners.tcp.default = 127.0.0.1:{port}\n"
    )
    environment = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"bench{port}@localhost",
        "RABBITMQ_DIST_PORT": str(freePort()),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        # The daemon of names that Erlang starts, one of this run's own, which is ended after it.
        "ERL_EPMD_PORT": str(names),
    }
    (script,) = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))[-1:]
    return Started([str(script)], environment, ["epmd", "-port", str(names), "-kill"])


def _coilmq(folder: Path, port: int) -> Started:
    start = "from coilmq.start import main; main()"
    return Started([sys.executable, "-c", start, "-b", "127.0.0.1", "-p", str(port)])


class StompServer(Server):
    """
    A server that accepts STOMP clients.
    """

    def __init__(self, name: str, start: Callable[[Path, int], Started], window: int = 1000) -> None:
        """
        @param start: is given the server's folder and its port.
        @param window: how many messages may be under way from each publisher.
        """
        super().__init__(f"stomp-{name}")
        port = freePort()
        self.address = TCPAddress(port)
        self.window = window
        self.run(start(self.folder, port), lambda: openSession(self.address).close())


def openSession(address: TCPAddress, *frames: bytes) -> socket.socket:
    """
    Connect, and send frames of which the last has C{receipt:ready}; wait for that.
    """
    opened = address.open()
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.settimeout(10)
        # 1.0: of the later versions, one of them does not like the virtual host that another insists on.
        opened.sendall(b"CONNECT\nlogin:guest\npasscode:guest\n\n\0")
        _await(opened, b"CONNECTED")
        if frames:
            opened.sendall(b"".join(frames))
            _await(opened, b"RECEIPT")
    except BaseException:
        opened.close()
        raise
    return opened


def _await(opened: socket.socket, command: bytes) -> None:
    data = b""
    while b"\0" not in data:
        more = opened.recv(4096)
        if not more:
            raise HandshakeError("the broker closed the connection")
        data += more
    if not data.lstrip().startswith(command):
        raise HandshakeError(f"expected {command!r}, received {data[:200]!r}")


class StompPublisher:
    """
    Sends numbered messages, never more ahead of its receivers than the window.
    """

    def __init__(self, link: Link, destination: str, window: int, fan: int = 1) -> None:
        self.link = link
        self.sent = 0
        self.delivered = 0
        self.fan = fan
        self._window = window
        self._head = f"SEND\ndestination:{destination}\ncontent-length:64\n\n".encode()
        self._part = max(1, window // 4)

    def refill(self) -> None:
        """
        Send as many as the window allows.
        """
        free = self._window - self.sent + self.delivered // self.fan
        if free < self._part or self.link.waiting:
            return
        head, tail = self._head, b"#" + _FILLER[:54] + b"\0"
        first = self.sent
        self.sent += free
        self.link.write(b"".join([b"%b#%08d%b" % (head, number, tail) for number in range(first, first + free)]))

    def readable(self) -> None:
        """
        Nothing is for a publisher but heart-beats.
        """
        data = self.link.socket.recv(4096)
        if data.strip(b"\r\n"):
            raise HandshakeError(f"a publisher received {data[:200]!r}")


class StompReceiver:
    """
    Counts messages, and sees that they are the right ones.
    """

    def __init__(self, link: Link, publisher: StompPublisher, buffer: bytearray) -> None:
        self.received = 0
        self._link = link
        self._publisher = publisher
        self._buffer = buffer
        self._kept = b""

    def readable(self) -> None:
        """
        Take a chunk.
        """
        length = self._link.readInto(self._buffer)
        if not length:
            raise HandshakeError("the broker closed a subscriber's connection")
        data = self._kept + self._buffer[:length]
        count = data.count(b"\0")
        self.received += count
        self._publisher.delivered += count
        if count:
            end = data.rfind(b"\0")
            last = _NUMBER.search(data, max(0, end - 200), end + 1)
            if last is None or int(last[1]) != self.received - 1:
                found = None if last is None else int(last[1])
                raise HandshakeError(f"message {self.received - 1} was expected, and {found} came")
            data = data[end + 1 :]
        self._kept = bytes(data)


def measure(server: StompServer, pairs: int, fan: int, seconds: float) -> Figures:
    """
    Deliveries a second.

    @param pairs: how many publishers, each with a topic of its own.
    @param fan: how many subscribers each topic has.
    """
    turns = Turns()
    publishers, receivers = [], []
    buffer = bytearray(READ_SIZE)
    try:
        for number in range(pairs):
            destination = f"/topic/bench{number}"
            publisher = StompPublisher(Link(turns, openSession(server.address)), destination, server.window, fan)
            publishers.append(publisher)
            for _ in range(fan):
                subscribe = f"SUBSCRIBE\nid:0\ndestination:{destination}\nack:auto\nreceipt:ready\n\n\0".encode()
                link = Link(turns, openSession(server.address, subscribe))
                receiver = StompReceiver(link, publisher, buffer)
                receivers.append(receiver)
                turns.add(link, receiver.readable)
            turns.add(publisher.link, publisher.readable)

        def drive(until: Callable[[], bool], publishing: bool) -> None:
            seen, since = 0, time.perf_counter()
            while not until():
                if publishing:
                    for each in publishers:
                        each.refill()
                turns.turn(0.1)
                if time.perf_counter() - since > _STALLED:
                    now = sum(each.received for each in receivers)
                    if now == seen:
                        raise HandshakeError(f"no delivery for {_STALLED:g} s")
                    seen, since = now, time.perf_counter()

        end = time.perf_counter() + _WARM_UP
        drive(lambda: time.perf_counter() >= end, True)
        before, watch = sum(each.received for each in receivers), Watch(server.pid)
        end = time.perf_counter() + seconds
        drive(lambda: time.perf_counter() >= end, True)
        figures = watch.figures(sum(each.received for each in receivers) - before)
        drive(lambda: all(each.delivered == each.sent * each.fan for each in publishers), False)
        return figures
    finally:
        turns.close()


CONTEST: Final = Contest(
    "STOMP, 64-byte bodies, deliveries/s (broker CPU us)",
    (
        *ours(_ours),
        Contender(
            "rabbitmq",
            "RabbitMQ",
            lambda: Path("/usr/lib/rabbitmq/lib").exists(),
            lambda: StompServer("rabbitmq", _rabbitMQ),
        ),
        # It is lost in a frame that one of its reads has cut: so few messages come whole, mostly.
        Contender("coilmq", "coilmq", lambda: find_spec("coilmq"), lambda: StompServer("coilmq", _coilmq, window=4)),
    ),
    (
        Row(
            "pairs",
            "10 publishers to 10 subscribers, own topics",
            lambda server, seconds: measure(server, 10, 1, seconds),
        ),
        Row("fanout", "1 to 100", lambda server, seconds: measure(server, 1, 100, seconds)),
    ),
)
