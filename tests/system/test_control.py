"""
The end of a broker, and its new beginning, by a call of REST.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
from base64 import b64encode
from contextlib import closing
from pathlib import Path

from tests.system.conftest import StartBroker, configuration
from tests.system.process import LISTENING, PATIENCE, Broker, fromTree, toml, twistdCommand
from tests.system.rawclient import accepted, connect, read
from tests.system.test_systemd import Manager

MANAGED = {"plugins": {"load": ["management"]}, "management": {"listener": {"http": {"bind": "127.0.0.1:0"}}}}


def control(broker: Broker, action: str) -> tuple[int, object]:
    """
    Ask the broker to stop or restart; returns the status and the JSON of its answer.
    """
    link = http.client.HTTPConnection("127.0.0.1", broker.ports["management.listener.http"], timeout=PATIENCE)
    with closing(link):
        credentials = b64encode(b"admin:public").decode()
        link.request("POST", f"/api/v4/ctrl/{action}", headers={"Authorization": f"Basic {credentials}"})
        answer = link.getresponse()
        return answer.status, json.loads(answer.read())


def test_stop(startBroker: StartBroker) -> None:
    """
    The answer comes, clients are sent away, and the process ends well.
    """
    broker = startBroker(MANAGED, 2)
    with closing(accepted(broker, "a")) as client:
        assert control(broker, "stop") == (200, {"code": 0})
        assert broker.wait() == 0
        assert client.recv(1) == b""
    assert "Traceback" not in broker.text


def test_restart(startBroker: StartBroker) -> None:
    """
    The same process begins again, in the same folder: what was kept is there, and the file is read again.
    """
    broker = startBroker(MANAGED, 2)
    number = broker.process.pid
    file = next(Path(word) for word in map(str, broker.process.args) if word.endswith(".toml"))
    assert control(broker, "restart") == (200, {"code": 0})
    broker.waitFor(LISTENING, 4)
    broker.started(4)
    assert broker.process.pid == number and broker.process.poll() is None
    # Once more, with another configuration.
    file.write_text(file.read_text().replace("allow_anonymous = true", "allow_anonymous = false"))
    assert control(broker, "restart") == (200, {"code": 0})
    broker.started(6)
    with socket.create_connection(("127.0.0.1", broker.port), PATIENCE) as client:
        client.sendall(connect("b"))
        assert read(client, 4)[3] != 0
    broker.stop()


def test_restartWithPidfile(tmp_path: Path) -> None:
    """
    The file in which twistd keeps the number of the process is not in its way.
    """
    file = tmp_path / "mqttbroker.toml"
    file.write_text(toml({**configuration(tmp_path), **MANAGED}))
    command = [twistdCommand()[0], "--nodaemon", "mqttbroker", "--config", file]
    broker = Broker(command, tmp_path, fromTree()).started(2)
    assert control(broker, "restart") == (200, {"code": 0})
    broker.started(4)
    assert int((tmp_path / "twistd.pid").read_text()) == broker.process.pid
    broker.stop()


def test_restartWithSockets(tmp_path: Path) -> None:
    """
    Sockets that a service manager has opened are handed on; it hears that the broker stops and that it is ready.
    """
    manager = Manager(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        broker = manager.start(listening, "tcp.external", MANAGED)
        manager.hears("READY=1")
    with closing(manager.socket):
        broker.started(2)
        assert control(broker, "restart") == (200, {"code": 0})
        manager.hears("STOPPING=1")
        manager.hears("READY=1")
        broker.started(4)
        assert broker.port == port
        accepted(broker, "a").close()
        os.kill(broker.process.pid, signal.SIGTERM)
        manager.hears("STOPPING=1")
        broker.stop()
