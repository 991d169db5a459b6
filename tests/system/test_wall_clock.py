"""
Somebody sets the wall clock of the machine while the broker serves clients: every duration stays what it is.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from tests.system.conftest import configuration
from tests.system.paho_peer import Peer
from tests.system.pairs import Pairs
from tests.system.process import PATIENCE, Broker, fromTree, toml, twistdCommand
from tests.system.rawclient import ACCEPTED, PING, PONG, Stopwatch, connect, opened, read, untilClosed
from tests.system.swarm import CHANGED, CON, CREATED, POST, Datagram, parsed, path

_T = TypeVar("_T")

HERE = Path(__file__).parent

# So much longer than it should a thing may take here, where other tests share the machine.
SLACK = 10.0

NEVER = 0xFFFFFFFF

REGISTERING = "</1/0>,</3/0>"


class Machine:
    """
    A broker on a machine whose clock can be set, and the service manager that looks after it.
    """

    def __init__(self, folder: Path, library: Path) -> None:
        self._folder = folder
        self._library = library
        self._ahead = folder / "ahead"
        self.set(0)
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.settimeout(PATIENCE)
        self.manager.bind(str(folder / "notify"))
        self.broker = self.start()

    def start(self) -> Broker:
        """
        Start the broker, for the first time or again.
        """
        file = self._folder / "mqttbroker.toml"
        tables = {
            **configuration(self._folder),
            "zone": {"external": {"idle_timeout": "2s"}},
            "broker": {"sys_heartbeat": "1s"},
            "persistence": {"store": "sqlite", "commit": "interval", "interval": "500ms"},
            "plugins": {"load": ["delayed_publish", "lwm2m"]},
            "lwm2m": {"port": "127.0.0.1:0"},
        }
        file.write_text(toml(tables))
        environment = {
            **fromTree(),
            "LD_PRELOAD": str(self._library),
            "WALL_CLOCK": str(self._ahead),
            "NOTIFY_SOCKET": str(self._folder / "notify"),
            "WATCHDOG_USEC": "1000000",
        }
        command = [*twistdCommand(), "mqttbroker", "--config", file]
        self.broker = Broker(command, self._folder, environment).started(2)
        return self.broker

    def set(self, ahead: int) -> None:
        """
        Set the clock.
        """
        if self._ahead.exists():
            with self._ahead.open("r+b") as file:
                file.write(ahead.to_bytes(8, "little", signed=True))
        else:
            self._ahead.write_bytes(ahead.to_bytes(8, "little", signed=True))

    def isWatched(self) -> None:
        """
        See that the service manager is told in time, three times, that the broker lives; what it was told before does
        not count.
        """
        self.manager.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                self.manager.recv(4096)
        self.manager.settimeout(SLACK)
        for _ in range(3):
            assert self.manager.recv(4096) == b"WATCHDOG=1"

    def stop(self) -> None:
        """
        End all.
        """
        if self.broker.process.poll() is None:
            self.broker.stop()
        self.manager.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The library that sets the clock.
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler, or not Linux: the clock of one process can't be set")
    made = tmp_path_factory.mktemp("wallclock") / "wallclock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, HERE / "wallclock.c"], check=True)
    return made


@pytest.fixture
def machine(tmp_path: Path, library: Path, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """
    A machine.
    """
    if request.config.getoption("--reference"):
        pytest.skip("it is about our own clock")
    machine = Machine(tmp_path, library)
    yield machine
    machine.stop()


class Device:
    """
    An LwM2M device, as datagrams.
    """

    def __init__(self, broker: Broker, endpoint: str, lifetime: int) -> None:
        self._link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._link.settimeout(PATIENCE)
        self._link.connect((broker.host, broker.ports["lwm2m"]))
        self._mid = 1
        query = ("lwm2m=1.0", f"ep={endpoint}", f"lt={lifetime}", "b=U")
        answer = self.ask(Datagram(CON, POST, 1, b"r", path("rd", query=query), REGISTERING.encode()))
        assert answer.code == CREATED, answer
        self._place = [value.decode() for number, value in answer.options if number == 8]

    def ask(self, request: Datagram) -> Datagram:
        """
        Send a request; returns its answer.
        """
        self._link.send(request.wire())
        while True:
            message = self.hear()
            if message.token == request.token:
                return message

    def hear(self) -> Datagram:
        """
        The next message.
        """
        return parsed(self._link.recv(65536))

    def isRegistered(self) -> bool:
        """
        Whether an update is accepted.
        """
        self._mid += 1
        token = b"u%d" % self._mid
        return self.ask(Datagram(CON, POST, self._mid, token, path(*self._place))).code == CHANGED

    def close(self) -> None:
        """
        Forget it.
        """
        self._link.close()


def within(least: float, most: float, wait: Callable[[], _T]) -> _T:
    """
    Wait for something, which takes so many seconds.
    """
    watch = Stopwatch()
    result = wait()
    assert least <= watch.seconds <= most, f"{watch.seconds:.2f} s, and not {least} to {most}"
    return result


def isGone(broker: Broker, clientID: str) -> bool:
    """
    Come back with a session that was to be kept; returns whether there is none. It is kept for an hour from now.
    """
    with Peer(broker, clientID, clean=False, SessionExpiryInterval=3600) as peer:
        return not peer.sessionPresent


@pytest.mark.parametrize("ahead", [-3600, 180, 3600], ids=["1 h back", "3 min forward", "1 h forward"])
def test_setWhileItRuns(machine: Machine, ahead: int) -> None:
    """
    While ordinary clients exchange messages, the clock is set. Nobody is cut too early or too late; $SYS, watchdog,
    sessions, delayed messages, retransmission and lifetimes go on; what was committed at intervals is on disk.
    """
    broker = machine.broker
    with ExitStack() as stack:

        def keep(closable: _T) -> _T:
            stack.enter_context(closing(closable))  # type: ignore[type-var]  # all of them have close()
            return closable

        pairs = keep(Pairs(broker, 10, 20.0, qos=1))
        # None of these may end by a jump.
        patient = keep(opened(broker, connect("patient", keepAlive=60)))
        assert read(patient, 4) == ACCEPTED
        for clientID, expiry in (("kept", NEVER), ("long", 3000), ("short", 3)):
            with Peer(broker, clientID, clean=False, SessionExpiryInterval=expiry) as peer:
                peer.subscribe(f"for/{clientID}", 1)
        longLived = keep(Device(broker, "long", 3000))
        command = {"reqID": 1, "msgType": "read", "data": {"path": "/3/0/0"}}
        seer = stack.enter_context(Peer(broker, "seer"))
        seer.subscribe("$SYS/brokers/+/uptime", 0)
        seer.subscribe("later/#", 1)
        publisher = stack.enter_context(Peer(broker, "publisher"))

        pairs.begin(1.0)
        shortLived = keep(Device(broker, "short", 3))
        silent = keep(opened(broker, connect("silent", keepAlive=1)))
        assert read(silent, 4) == ACCEPTED
        dumb = keep(opened(broker))
        publisher.publish("$delayed/2/later/delayed", b"x", 1)
        publisher.publish("$delayed/3000/later/never", b"x", 1)
        publisher.publish("for/kept", b"before", 1)
        publisher.publish("lwm2m/long/dn", json.dumps(command).encode(), 1)
        asked = longLived.hear()
        # In the middle of all that.
        machine.set(ahead)
        clock = Stopwatch()

        assert within(0, 1.5 + SLACK, lambda: untilClosed(silent)) == b""
        assert within(0, 2.0 + SLACK, lambda: untilClosed(dumb)) == b""
        while (topic := seer.receive().topic) != "later/delayed":
            assert topic.startswith("$SYS/"), topic
        assert 1.0 <= clock.seconds <= 2.0 + SLACK
        assert longLived.hear().mid == asked.mid, "no retransmission"
        topics = within(1.0, 3.0 + SLACK, lambda: [seer.receive().topic for _ in range(3)])
        assert all(topic.startswith("$SYS/") for topic in topics), topics
        machine.isWatched()
        publisher.publish("for/kept", b"after", 1)
        figures = pairs.end()
        assert not figures["lost"] and not figures["doubled"], figures
        # By now whatever was to last for 3 s is over, and nothing else.
        while clock.seconds < 5.0:
            assert seer.receive().topic.startswith("$SYS/"), "published long before its time"
        assert not shortLived.isRegistered()
        assert longLived.isRegistered()
        assert isGone(broker, "short")
        assert not isGone(broker, "long")
        patient.sendall(PING)
        assert read(patient, 2) == PONG
        within(1.0, 3.0 + SLACK, lambda: [seer.receive() for _ in range(3)])

    broker.waitFor(rf"the wall clock was set {'back' if ahead < 0 else 'forward'} by {abs(ahead)}(\.\d)? s")
    broker.end(signal.SIGKILL)
    broker = machine.start()
    with Peer(broker, "kept", clean=False, SessionExpiryInterval=NEVER) as peer:
        assert peer.sessionPresent
        assert peer.payloads(2) == ["before", "after"]
