"""
C{python -m bench.stomp}: STOMP throughput, beside RabbitMQ's STOMP plug-in and coilmq.

It is a table of its own, because none of the brokers that the other tables compare with speaks STOMP. Bodies are made
beforehand and hold their number; a receiver counts the NULs of a chunk, and then the last whole message in it must be
the one with that number: what is lost, repeated or out of order shows without any frame being parsed.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bench.brokers import COMPILED, ROOT
from bench.child import Child, freePort, twistd
from bench.sockets import READ_SIZE, HandshakeError, Link, TCPAddress, Turns
from bench.usage import cpuSeconds

_STALLED: Final = 5.0
_WARM_UP: Final = 1.0
_NUMBER: Final = re.compile(rb"#(\d{8})#[^\0]*\0[^\0]*\Z")
_FILLER: Final = b"0123456789abcdef" * 4


@dataclass
class Started:
    """
    How a broker is started.

    @ivar afterwards: what is run when it has ended.
    """

    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    afterwards: list[str] | None = None


def _ours(tree: Path) -> Callable[[Path, int], Started]:
    def start(folder: Path, port: int) -> Started:
        (folder / "mqttbroker.toml").write_text(
            f'[plugins]\nload = ["stomp"]\n'
            f'[persistence]\nstore = "memory"\n'
            f'[node]\ndata_dir = "{folder}"\n'
            f"[zone.external]\nmax_mqueue_len = 0\n"
            f'[listener.tcp.external]\nbind = "127.0.0.1:0"\n'
            f'[stomp.listener]\nbind = "127.0.0.1:{port}"\n'
        )
        return Started(twistd(folder / "mqttbroker.toml"), {"PYTHONPATH": str(tree)})

    return start


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


@dataclass(frozen=True)
class Contender:
    """
    One of the brokers.

    @ivar window: how many messages may be under way from each publisher.
    """

    name: str
    title: str
    isThere: Callable[[], bool]
    start: Callable[[Path, int], Started]
    window: int = 1000


CONTENDERS: Final = (
    Contender("ours", "this broker", lambda: True, _ours(ROOT)),
    Contender(
        "compiled", "this broker, compiled", lambda: any(COMPILED.glob("twisted_mqtt/core/*.so")), _ours(COMPILED)
    ),
    Contender("rabbitmq", "RabbitMQ", lambda: Path("/usr/lib/rabbitmq/lib").exists(), _rabbitMQ),
    # It is lost in a frame that one of its reads has cut: so few messages come whole, mostly.
    Contender("coilmq", "coilmq", lambda: find_spec("coilmq") is not None, _coilmq, window=4),
)


class RunningContender(Child):
    """
    A broker in a child process, which accepts STOMP clients.
    """

    def __init__(self, contender: Contender) -> None:
        super().__init__(f"stomp-{contender.name}")
        port = freePort()
        self.address = TCPAddress(port)
        self._started = contender.start(self.folder, port)
        self.start(self._started.arguments, self._started.environment, lambda: openSession(self.address).close())

    def stop(self) -> None:
        """
        End it, run what is to be run then, and remove its files.
        """
        self.end()
        started = self._started
        if started.afterwards is not None:
            environment = {**os.environ, **started.environment}
            subprocess.run(started.afterwards, env=environment, capture_output=True, timeout=15, check=False)
        super().stop()


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


def measure(broker: RunningContender, pairs: int, fan: int, window: int, seconds: float) -> tuple[float, float]:
    """
    Deliveries a second, and microseconds of the broker's processor time for each.

    @param pairs: how many publishers, each with a topic of its own.
    @param fan: how many subscribers each topic has.
    """
    turns = Turns()
    publishers, receivers = [], []
    buffer = bytearray(READ_SIZE)
    try:
        for number in range(pairs):
            destination = f"/topic/bench{number}"
            publisher = StompPublisher(Link(turns, openSession(broker.address)), destination, window, fan)
            publishers.append(publisher)
            for _ in range(fan):
                subscribe = f"SUBSCRIBE\nid:0\ndestination:{destination}\nack:auto\nreceipt:ready\n\n\0".encode()
                link = Link(turns, openSession(broker.address, subscribe))
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
        before, cpu, begun = sum(each.received for each in receivers), cpuSeconds(broker.pid), time.perf_counter()
        end = begun + seconds
        drive(lambda: time.perf_counter() >= end, True)
        count = sum(each.received for each in receivers) - before
        took, used = time.perf_counter() - begun, cpuSeconds(broker.pid) - cpu
        drive(lambda: all(each.delivered == each.sent * each.fan for each in publishers), False)
        return count / took, used / count * 1e6
    finally:
        turns.close()


SCENARIOS: Final = (
    ("pairs", "10 publishers to 10 subscribers, own topics", 10, 1),
    ("fanout", "1 to 100", 1, 100),
)


def main() -> None:
    """
    Measure, and print a table.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.stomp", description=__doc__)
    names = [contender.name for contender in CONTENDERS]
    parser.add_argument("--brokers", default=",".join(names), help="names, by commas (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="measured in each run (default: %(default)s)")
    given = parser.parse_args()
    wanted = given.brokers.split(",")
    best: dict[tuple[str, str], tuple[float, float]] = {}
    contenders = [contender for contender in CONTENDERS if contender.name in wanted and contender.isThere()]
    for _ in range(given.rounds):
        for contender in contenders:
            for name, _title, pairs, fan in SCENARIOS:
                try:
                    broker = RunningContender(contender)
                    try:
                        rate, cpu = measure(broker, pairs, fan, contender.window, given.seconds)
                    finally:
                        broker.stop()
                except (OSError, HandshakeError) as error:
                    print(f"{contender.name} {name}: {error}", file=sys.stderr)
                    continue
                print(f"{contender.name} {name}: {rate:,.0f} deliveries/s, {cpu:.2f} us", file=sys.stderr, flush=True)
                best[contender.name, name] = max(best.get((contender.name, name), (0.0, 0.0)), (rate, cpu))
    print("| STOMP, 64-byte bodies, deliveries/s (broker CPU us) | " + " | ".join(c.title for c in contenders) + " |")
    print("|---|" + "---|" * len(contenders))
    for name, title, *_rest in SCENARIOS:
        cells = [best.get((contender.name, name)) for contender in contenders]
        row = ["failed" if cell is None else f"{cell[0]:,.0f} ({cell[1]:.2f})" for cell in cells]
        print(f"| {title} | " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
