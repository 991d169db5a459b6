"""
The broker under a service manager, which the test plays: a socket handed over, and what is said on the way.
"""

import configparser
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import configuration
from tests.system.process import PATIENCE, ROOT, Broker, fromTree, toml, twistdCommand
from tests.system.rawclient import ACCEPTED, PING, PONG, connect, read

# Becomes the broker as a service manager's child does: with its number in the environment, and sockets from 3 on.
HAND_OVER = """
import os, sys
names, *command = sys.argv[1:]
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(names.split(":"))), LISTEN_FDNAMES=names)
os.execv(command[0], command)
"""

ETC = ROOT / "etc"


class Manager:
    """
    A service manager.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.settimeout(PATIENCE)
        self.socket.bind(str(folder / "notify"))
        self.broker: Any = None

    def start(self, listening: socket.socket, name: str, tables: dict[str, Any], **environment: str) -> Broker:
        """
        Start the broker with one socket.
        """
        file = self.folder / "mqttbroker.toml"
        file.write_text(toml({**configuration(self.folder), **tables}))
        twistd = [str(word) for word in twistdCommand()]
        command = [sys.executable, "-c", HAND_OVER, name, *twistd, "mqttbroker", "--config", str(file)]
        # Descriptor 3 is a socket in the child alone: here it may be anything.
        number = listening.fileno()
        shell = "" if number == 3 else f"exec 3<&{number} {number}<&-; "
        shell += 'exec "$@"'
        surroundings = {**fromTree(), "NOTIFY_SOCKET": str(self.folder / "notify"), **environment}
        given = ["bash", "-c", shell, "bash", *command]
        self.broker = broker = Broker(given, self.folder, surroundings, (number,))
        return broker

    def heard(self) -> list[str]:
        """
        The lines of the next message.
        """
        return self.socket.recv(4096).decode().splitlines()

    def hears(self, line: str) -> list[str]:
        """
        Wait for a message with this line, whatever comes before.
        """
        for _ in range(1000):
            lines = self.heard()
            if line in lines:
                return lines
        raise AssertionError(f"never heard {line}")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """
    A service manager, and the end of what it has started.
    """
    managing = Manager(tmp_path)
    yield managing
    if managing.broker is not None and managing.broker.process.poll() is None:
        managing.broker.stop()
    managing.socket.close()


def test_life(manager: Manager) -> None:
    """
    Clients that come before the broker is there are served; the manager hears that it is ready, that it reads its
    configuration, that it lives, and that it stops.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        early = socket.create_connection(("127.0.0.1", port), PATIENCE)
        early.sendall(connect("early"))
        broker = manager.start(listening, "tcp.external", {}, WATCHDOG_USEC="200000")
    assert manager.heard() == ["READY=1", "STATUS=serving clients"]
    broker.waitFor(rf"listening: mqtt:tcp on 127\.0\.0\.1:{port} ")
    with closing(early):
        assert read(early, 4) == ACCEPTED
        manager.hears("WATCHDOG=1")
        manager.hears("WATCHDOG=1")
        broker.process.send_signal(signal.SIGHUP)
        assert manager.hears("RELOADING=1")[1].startswith("MONOTONIC_USEC=")
        manager.hears("READY=1")
        early.sendall(PING)
        assert read(early, 2) == PONG
    broker.stop()
    manager.hears("STOPPING=1")


def test_byAddress(manager: Manager) -> None:
    """
    A socket whose name no listener has goes to the one of its address.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        broker = manager.start(
            listening, "mqttbroker.socket", {"listener": {"tcp": {"devices": {"bind": f"127.0.0.1:{port}"}}}}
        )
        assert "READY=1" in manager.heard()
    broker.waitFor(rf"listening: mqtt:tcp on 127\.0\.0\.1:{port} \(listener\.tcp\.devices\)")


def test_unused(manager: Manager) -> None:
    """
    A socket that nobody wants is closed, and that is said.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        broker = manager.start(listening, "tcp.other", {})
        assert "READY=1" in manager.heard()
    broker.waitFor("no listener is called tcp.other: that socket is closed")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), PATIENCE)


def unit(name: str) -> configparser.ConfigParser:
    """
    A unit file, as far as none of its keys comes twice.
    """
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep the case of keys
    parser.read_string((ETC / name).read_text())
    return parser


def test_units() -> None:
    """
    The unit files speak of what there is: the command line, a listener of the shipped configuration.
    """
    service, sockets = unit("mqttbroker.service"), unit("mqttbroker.socket")
    assert service["Service"]["Type"] == "notify"
    words = service["Service"]["ExecStart"].split()
    assert words[1:4] == ["--nodaemon", "--pidfile=", "mqttbroker"] and words[4] == "--config"
    assert "-HUP" in service["Service"]["ExecReload"]
    shipped = tomllib.loads((ETC / "mqttbroker.toml").read_text())
    kind, _, name = sockets["Socket"]["FileDescriptorName"].partition(".")
    assert shipped["listener"][kind][name]["bind"] == sockets["Socket"]["ListenStream"]
    assert sockets["Socket"]["Service"] == "mqttbroker.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_verified(tmp_path: Path) -> None:
    """
    systemd itself has no objection to the unit files, but that this machine has no such program.
    """
    for name in ("mqttbroker.service", "mqttbroker.socket"):
        text = (ETC / name).read_text().replace("/opt/mqttbroker/bin/twistd", sys.executable)
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.glob("mqttbroker.*"))],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    faults = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "mqttbroker" in line]
    assert faults == []
