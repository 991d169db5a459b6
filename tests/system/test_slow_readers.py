"""
Clients that read slowly, or not at all; clients that are silent.
"""

from __future__ import annotations

import socket
import threading
from contextlib import closing

import pytest

from tests.system.conftest import StartBroker
from tests.system.process import PATIENCE, Broker
from tests.system.rawclient import ACCEPTED, PING, PONG, Stopwatch, accepted, connect, publish, read, untilClosed
from tests.vectors.packets import counted, frame

# A client of a slow network: bytes at a time, and seconds between two of them.
CHUNK = 4096
PAUSE = 0.1

SIZE = 100_000
COUNT = 40


def subscriber(broker: Broker, name: str, port: int | None = None) -> socket.socket:
    """
    A client with a small buffer that has asked for all of the retained messages.
    """
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    link.settimeout(PATIENCE)
    link.connect((broker.host, broker.port if port is None else port))
    link.sendall(connect(name, 1) + frame(0x82, b"\x00\x01" + counted(f"{name}/#".encode()) + b"\x00"))
    assert read(link, 9) == ACCEPTED + b"\x90\x03\x00\x01\x00"
    return link


def test_slowAndSteady(startBroker: StartBroker, name: str) -> None:
    """
    4 MB of retained messages go to a client that takes 40 KB a second. It stays for much longer than it may take
    nothing, and for longer than its keep-alive: it is not heard while it does not read. Once it stops reading, it is
    cut, and the log says why.
    """
    port = {"bind": "127.0.0.1:0", "send_timeout": "2s", "sndbuf": "64KB"}
    broker = startBroker({"listener": {"tcp": {"external": port}}})
    with closing(accepted(broker, f"{name}p")) as sending:
        for number in range(1, COUNT + 1):
            message = bytearray(publish(f"{name}/{number}", bytes(SIZE), number))
            message[0] |= 1
            sending.sendall(message)
        assert len(read(sending, 4 * COUNT)) == 4 * COUNT
    with closing(subscriber(broker, name)) as slow:
        clock = Stopwatch()
        pause = threading.Event()
        received = 0
        while clock.seconds < 12.0:
            received += len(read(slow, CHUNK))
            pause.wait(PAUSE)
        assert received > 12 / PAUSE * CHUNK / 3, "it was cut"
        assert "is cut" not in broker.text
        clock = Stopwatch()
        broker.waitFor(
            r"the connection from 127\.0\.0\.1:\d+ is cut: it takes nothing for 2 s, and \d+ bytes wait for it"
        )
        assert 1.0 < clock.seconds < 15.0


def test_keepAliveOfTCP(startBroker: StartBroker, name: str) -> None:
    """
    The kernel probes silent peers unless the configuration says otherwise: who has gone without a word is noticed,
    whatever keep-alive it has asked for.
    """
    port = {"bind": "127.0.0.1:0"}
    tables = {
        "listener": {
            "tcp": {
                "external": {**port, "tcp_keepalive_idle": "77s", "tcp_keepalive_interval": "7s"},
                "internal": {**port, "tcp_keepalive": False},
            }
        },
        "plugins": {"load": ["stomp"]},
        "stomp": {"listener": port},
    }
    broker = startBroker(tables, listeners=3)

    def timerOf(key: str) -> str:
        """
        The kernel's information about the broker's end of a new connection.
        """
        with socket.create_connection((broker.host, broker.ports[key]), PATIENCE) as link:
            link.sendall(connect(name))
            here = link.getsockname()[1]
            if "tcp" in key:
                assert read(link, 4) == ACCEPTED
            else:
                link.sendall(b"\n")
            with open("/proc/net/tcp", encoding="ascii") as table:
                for line in table:
                    words = line.split()
                    if words[2].endswith(f":{here:04X}") and words[1].endswith(f":{broker.ports[key]:04X}"):
                        # The timer that runs (2: that of keep-alive), and in how many hundredths of a second it ends.
                        kind, ends = words[5].split(":")
                        return f"{kind} {int(ends, 16) / 100:.0f}"
        raise AssertionError("no such connection")

    kind, seconds = timerOf("listener.tcp.external").split()
    assert kind == "02" and 70 <= int(seconds) <= 77
    assert timerOf("listener.tcp.internal").startswith("00 ")


@pytest.mark.parametrize("keepAlive", [0, 300])
def test_imposedKeepAlive(startBroker: StartBroker, name: str, keepAlive: int) -> None:
    """
    C{server_keepalive} holds for clients that can't be told of it too: a silent one is closed.
    """
    broker = startBroker({"zone": {"external": {"server_keepalive": 1}}})
    with closing(socket.create_connection((broker.host, broker.port), PATIENCE)) as link:
        link.sendall(connect(name, keepAlive))
        assert read(link, 4) == ACCEPTED
        link.sendall(PING)
        assert read(link, 2) == PONG
        clock = Stopwatch()
        assert untilClosed(link) == b""
        assert 1.0 < clock.seconds < 15.0
