"""
The log of a running broker: its destinations, levels at run time, files that are moved, deleted, or can't be written.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.conftest import StartBroker, configuration
from tests.system.process import Broker, fromTree, toml, twistdCommand
from tests.system.rawclient import accepted
from tests.system.test_ctl import run

PATIENCE = 30.0


def eventually(found: Callable[[], bool]) -> None:
    """
    Wait until something is so.
    """
    until = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < until
        time.sleep(0.02)


class Logging:
    """
    A broker with management whose configuration can be changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.tables: dict[str, object] = {
            **configuration(folder),
            "plugins": {"load": ["management"]},
            "management": {"listener": {"http": {"bind": "none"}}},
        }
        self.broker: Broker | None = None

    def start(self, **log: object) -> Broker:
        """
        Start it with this table C{[log]}.
        """
        self.write(**log)
        command = [*twistdCommand(), "mqttbroker", "--config", self.folder / "mqttbroker.toml"]
        self.broker = Broker(command, self.folder, fromTree()).started(1)
        return self.broker

    def write(self, **log: object) -> None:
        """
        Write the configuration.
        """
        tables = {**self.tables, "log": {"dir": str(self.log), **log}}
        (self.folder / "mqttbroker.toml").write_text(toml(tables))

    def ctl(self, *words: str) -> str:
        """
        What a command prints.
        """
        eventually(lambda: (self.folder / "data" / "ctl.sock").exists())
        found = run("--config", str(self.folder / "mqttbroker.toml"), *words)
        return found.stdout + found.stderr


@pytest.fixture
def logging(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Logging]:
    """
    A broker that is stopped after the test.
    """
    if request.config.getoption("--reference"):
        pytest.skip("needs a broker configured for it, and the reference is not")
    made = Logging(tmp_path)
    yield made
    if made.broker is not None:
        assert made.broker.process.poll() is None
        made.broker.stop()


def test_levels(logging: Logging) -> None:
    """
    Levels are changed while it runs: of destinations, and of the module whose lines are wanted; lines about clients
    are made again when somebody wants them.
    """
    broker = logging.start(to="both")
    path = logging.log / "mqttbroker.log"
    assert logging.ctl("log", "set-level", "error") == "error\n"
    assert logging.ctl("log", "handlers", "list") == (
        "LogHandler (id=default, level=error, destination=console)\n"
        f"LogHandler (id=file, level=error, destination={path})\n"
    )
    accepted(broker, "one").close()
    assert logging.ctl("log", "modules", "set-level", "twisted_mqtt.broker.clientlog", "info") == "info\n"
    accepted(broker, "two").close()
    broker.waitFor('disconnected: "two"')
    eventually(lambda: 'disconnected: "two"' in path.read_text())
    assert '"one"' not in path.read_text()
    assert logging.ctl("log", "set-level", "debug") == "debug\n"
    assert logging.ctl("log", "primary-level") == "debug\n"
    assert "there is no destination 'x'" in logging.ctl("log", "handlers", "set-level", "x", "info")


def test_signal(logging: Logging) -> None:
    """
    On SIGUSR1 files are begun afresh, in the form that is wanted; a folder that has vanished is made again.
    """
    broker = logging.start(to="both", format="json")
    path = logging.log / "mqttbroker.log"
    eventually(lambda: "listening: mqtt" in path.read_text())
    shutil.move(path, logging.folder / "old.log")
    os.kill(broker.process.pid, signal.SIGUSR1)
    eventually(lambda: path.exists() and "opened again" in path.read_text())
    for line in (logging.folder / "old.log").read_text().splitlines():
        assert json.loads(line)["level"]
    shutil.rmtree(logging.log)

    def isBack() -> bool:
        accepted(broker, "after").close()
        return path.exists() and "after" in path.read_text()

    eventually(isBack)


def test_reloadedFolder(logging: Logging) -> None:
    """
    A reload with a folder that can't be used says so and goes on with the file before; one with another goes there.
    """
    broker = logging.start(to="both")
    path = logging.log / "mqttbroker.log"
    (logging.folder / "wrong").write_text("")
    logging.write(to="both", dir=str(logging.folder / "wrong"))
    os.kill(broker.process.pid, signal.SIGHUP)
    eventually(lambda: "log: file: [Errno 20]" in path.read_text() or "log: file: [Errno 17]" in path.read_text())
    accepted(broker, "one").close()
    eventually(lambda: 'connected: "one"' in path.read_text())
    broker.waitFor('connected: "one"')
    logging.write(to="both", dir=str(logging.folder / "other"))
    os.kill(broker.process.pid, signal.SIGHUP)
    other = logging.folder / "other" / "mqttbroker.log"
    eventually(other.exists)
    accepted(broker, "two").close()
    eventually(lambda: 'connected: "two"' in other.read_text())


def test_fullDisk(startBroker: StartBroker) -> None:
    """
    A file that takes nothing is an alarm; the broker serves on, and its other destinations have the lines.
    """
    broker = startBroker({"log": {"to": "both", "file": "/dev/full"}})
    broker.waitFor("Log messages are lost: /dev/full: No space left on device")
    accepted(broker, "one").close()
    broker.waitFor('connected: "one"')


def test_sockets(startBroker: StartBroker, tmp_path: Path) -> None:
    """
    The system's log and the journal have the lines, with fields; where these are gone, the broker serves on.
    """
    places = [tmp_path / "syslog", tmp_path / "journal"]
    listening = []
    for place in places:
        listening.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        listening[-1].bind(str(place))
        listening[-1].settimeout(PATIENCE)
    broker = startBroker(
        {
            "log": {
                "syslog": {"enabled": True, "address": str(places[0]), "format": "rfc5424"},
                "journald": {"enabled": True, "socket": str(places[1])},
            }
        }
    )
    accepted(broker, "c1").close()
    for one, wanted in zip(listening, (b'[fields@32473 logger="twisted_mqtt', b"\nMQTT_"), strict=True):
        said = b""
        while b"c1" not in said:
            said = one.recv(100_000)
        assert wanted in said
        one.close()
    for place in places:
        place.unlink()
    accepted(broker, "c2").close()
    broker.waitFor('disconnected: "c2"')
    broker.waitFor("Log messages are lost: ")
