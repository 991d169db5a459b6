"""
The generator against a real broker, and against one that loses messages.
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import packets
from bench.brokers import KINDS, Command, Kind
from bench.catalogue import Entry
from bench.checker import Ring
from bench.generator import Closed, Publisher, Receiver
from bench.runner import Changed, Schedule, runAll, runOnce
from bench.scenarios.base import Scenario, Stalled
from bench.scenarios.single import Connects, Latency, PingPong
from bench.scenarios.stored import IdleMemory, Queued, Retained
from bench.scenarios.throughput import Throughput, Wiring, fanIn, fanOut, pairs, wildcards
from bench.scenarios.websocket import WebSocketThroughput
from bench.sockets import READ_SIZE, HandshakeError, Link, TCPAddress, Turns, openSession, readPacket, subscribe

MOSQUITTO = next(kind for kind in KINDS if kind.name == "mosquitto")

# The scenarios of the catalogue in small: the same code, few connections and messages.
SMALL: list[Scenario] = [
    Throughput("pairs0", "", pairs(2, 50, qos=0)),
    Throughput("pairs1", "", pairs(2, 20, qos=1)),
    Throughput("pairs2", "", pairs(2, 20, qos=2)),
    Throughput("fanout", "", fanOut(5, 50)),
    Throughput("fanin", "", fanIn(5, 50)),
    Throughput("wildcards", "", wildcards(8, 20, 2, 20)),
    WebSocketThroughput("wsfanout", "", fanOut(5, 50)),
    WebSocketThroughput("wspairs2", "", pairs(2, 20, qos=2)),
    PingPong("pingpong", "", 3),
    Connects("connects", "", 5),
    Latency("latency0", "", 2, 500, qos=0),
    Latency("latency1", "", 2, 500, qos=1),
    IdleMemory("idle", "", 50),
    Retained("retained", "", 100),
    Queued("queued", "", 200),
]


@pytest.mark.system
@pytest.mark.skipif(MOSQUITTO.version() is None, reason="mosquitto is not installed")
@pytest.mark.parametrize("scenario", SMALL, ids=[scenario.name for scenario in SMALL])
def test_againstMosquitto(scenario: Scenario) -> None:
    """
    Every kind of scenario gets a figure from a broker that works, without loss and in order.
    """
    run = runOnce(MOSQUITTO, scenario, 1, 0.2)
    if run.failed == "nothing was delivered":
        # A machine with other work may not come to it in so short a time.
        run = runOnce(MOSQUITTO, scenario, 1, 5.0)
    assert (run.failed, run.lost, run.disordered) == ("", 0, 0)
    # Few idle connections may fit into memory that was there before.
    assert run.value > 0 or scenario.name == "idle"


class Echo:
    """
    A broker with one connection and one topic: every packet goes through C{alter} on its way back.
    """

    def __init__(self, alter: Callable[[bytes], bytes]) -> None:
        self._alter = alter
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = TCPAddress(self._listening.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        answers = {packets.CONNECT: packets.ACCEPTED, packets.SUBSCRIBE: b"\x90\x03\x00\x01\x00"}
        connection, _ = self._listening.accept()
        with connection:
            try:
                while True:
                    packet = readPacket(connection)
                    connection.sendall(answers.get(packet[0]) or self._alter(packet))
            except (OSError, HandshakeError):
                return

    def stop(self) -> None:
        """
        End, once the connection has.
        """
        self._listening.close()
        self._thread.join(10)


@pytest.fixture
def wired() -> Iterator[Callable[[Callable[[bytes], bytes]], Wiring]]:
    """
    Makes a publisher that receives its own messages from an L{Echo}.
    """
    echoes: list[Echo] = []
    wirings: list[Wiring] = []

    def make(alter: Callable[[bytes], bytes]) -> Wiring:
        echo = Echo(alter)
        echoes.append(echo)
        wiring = Wiring(Turns())
        wirings.append(wiring)
        opened = openSession(echo.address, "echoed")
        link = Link(wiring.turns, opened)
        subscribe(opened, ["echo"], 0)
        ring = Ring([packets.publish("echo", packets.payload(0, number)) for number in range(100)], READ_SIZE)
        publisher = Publisher(link, ring, 20, limit=400)
        receiver = Receiver(link, publisher, ring, bytearray(READ_SIZE))
        wiring.turns.add(link, receiver.readable)
        wiring.publishers.append(publisher)
        wiring.receivers.append(receiver)
        return wiring

    yield make
    for wiring in wirings:
        wiring.turns.close()
    for echo in echoes:
        echo.stop()


def drive(wiring: Wiring) -> tuple[int, int, int]:
    """
    Have everything published and what comes of it received.

    @return: received, lost, out of order.
    """
    publisher = wiring.publishers[0]
    check = wiring.receivers[0].checks[0]
    wiring.drive(lambda: publisher.sent == 400 and not publisher.outstanding, publishing=True)
    return check.received, check.lost, check.disordered


def test_allReturned(wired: Callable[[Callable[[bytes], bytes]], Wiring]) -> None:
    """
    A message that comes back unchanged is counted as received.
    """
    assert drive(wired(lambda packet: packet)) == (400, 0, 0)


def test_lossIsSeen(wired: Callable[[Callable[[bytes], bytes]], Wiring]) -> None:
    """
    A broker that drops every message numbered 33 is found to have lost them, and the run goes on to its end.
    """
    gone = packets.payload(0, 33)
    assert drive(wired(lambda packet: b"" if gone in packet else packet)) == (396, 4, 0)


def test_repetitionIsSeen(wired: Callable[[Callable[[bytes], bytes]], Wiring]) -> None:
    """
    A broker that sends a message twice is found out.
    """
    twice = packets.payload(0, 33)
    assert drive(wired(lambda packet: packet * 2 if twice in packet else packet)) == (404, 0, 4)


def test_silenceIsSeen(wired: Callable[[Callable[[bytes], bytes]], Wiring]) -> None:
    """
    A broker that delivers nothing any more ends the run.
    """
    wiring = wired(lambda packet: b"")
    wiring.patience = 0.2
    with pytest.raises(Stalled):
        drive(wiring)


def test_windowIsKept(wired: Callable[[Callable[[bytes], bytes]], Wiring]) -> None:
    """
    A publisher stops at its window until something is delivered.
    """
    publisher = wired(lambda packet: b"").publishers[0]
    for _ in range(5):
        publisher.refill()
    assert (publisher.sent, publisher.outstanding) == (20, 20)
    publisher.delivered += 10
    publisher.refill()
    assert (publisher.sent, publisher.outstanding) == (30, 20)


def test_closedConnectionIsSeen() -> None:
    """
    A broker that closes a connection ends the run.
    """
    turns = Turns()
    mine, theirs = socket.socketpair()
    link = Link(turns, mine)
    ring = Ring([packets.publish("a", b"b")], READ_SIZE)
    turns.add(link, Publisher(link, ring, 1, qos=1).readable)
    theirs.close()
    with pytest.raises(Closed):
        turns.turn(5)
    turns.close()


def test_writesThatWait() -> None:
    """
    Bytes that the kernel does not take at once are sent later, complete and in order.
    """
    turns = Turns()
    mine, theirs = socket.socketpair()
    link = Link(turns, mine)
    turns.add(link, lambda: None)
    data = bytes(range(256)) * 8192
    link.write(data)
    assert link.waiting
    link.write(b"the end")
    theirs.setblocking(False)
    received = b""
    for _ in range(1000):
        try:
            received += theirs.recv(1 << 20)
        except BlockingIOError:
            turns.turn(1)
        if len(received) == len(data) + 7:
            break
    assert received == data + b"the end"
    assert not link.waiting
    turns.close()
    theirs.close()


def test_brokerThatDoesNotStart() -> None:
    """
    A broker that ends at once is reported with what it printed.
    """
    command = Command([sys.executable, "-c", "raise SystemExit('no such option')"], {})
    run = runOnce(Kind("failing", "failing", lambda: "1", lambda folder, port: command), SMALL[0], 1, 0.1)
    assert "no such option" in run.failed


def test_brokerThatChanges(tmp_path: Path) -> None:
    """
    A broker that is exchanged in the middle ends the measurement.
    """
    versions = iter(["compiled", "interpreted", "interpreted"])
    command = Command([sys.executable, "-c", ""], {})
    kind = Kind("changing", "changing", lambda: next(versions), lambda folder, port: command)
    with pytest.raises(Changed):
        runAll([Entry(SMALL[0])], [kind], 1, 0.1, tmp_path / "results.jsonl")


def test_schedule() -> None:
    """
    The remaining time is estimated from the time so far; and there is an end.
    """
    now = 0.0
    schedule = Schedule(6, 1.0, lambda: now)
    schedule.took(("fast", "s"), 2.0)
    schedule.took(("slow", "s"), 100.0)
    now = 30.0
    left = [("fast", "s"), ("slow", "s"), ("slow", "t")]
    assert schedule.progress(left) == "[2/6, 0.5 min, about 3 to go]"
    schedule.skipped(1)
    assert schedule.progress(left[:1]) == "[2/5, 0.5 min, about 0 to go]"
    assert not schedule.over
    now = 61.0
    assert schedule.over


def test_timeIsUp(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """
    When the time is up nothing more is begun, and what there is makes a report.
    """
    command = Command([sys.executable, "-c", "raise SystemExit('begun')"], {})
    kind = Kind("failing", "failing", lambda: "1", lambda folder, port: command)
    results = runAll([Entry(SMALL[0])], [kind], 2, 0.1, tmp_path / "results.jsonl", minutes=0.0)
    assert results.runs == []
    assert "The time is up: 2 runs are left out" in capsys.readouterr().err
