"""
The node's ports, HTTP and threads for extensions, against a real process.
"""

from __future__ import annotations

import json
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import configuration
from tests.system.process import PATIENCE, Broker, fromTree, toml, twistdCommand

PLUGIN = """
from twisted_mqtt.extensions.makers import ExtensionMaker

porter = ExtensionMaker(
    "porter", "tests.system.porter:Porter", "Opens ports", table="porter", settings="tests.system.porter:Settings"
)
"""


@pytest.fixture
def porter(tmp_path: Path) -> Iterator[Broker]:
    """
    A broker with the extension.
    """
    plugins = tmp_path / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "porter_plugin.py").write_text(PLUGIN)
    listener = {"bind": "127.0.0.1:0", "max_connections": 1, "access": {"1": "deny 127.0.0.2", "2": "allow all"}}
    tables = {
        **configuration(tmp_path),
        "plugins": {"load": ["porter"]},
        "porter": {"listener": listener, "http": {"bind": "127.0.0.1:0", "max_head": "1KB", "head_timeout": "500ms"}},
    }
    file = tmp_path / "mqttbroker.toml"
    file.write_text(toml(tables))
    environment = fromTree()
    environment["PYTHONPATH"] = f"{environment['PYTHONPATH']}{os.pathsep}{tmp_path}"
    broker = Broker([*twistdCommand(), "mqttbroker", "--config", file], tmp_path, environment).started(3)
    yield broker
    broker.stop()


def ask(broker: Broker, path: str, data: bytes | None = None) -> Any:
    """
    Ask the desk; its answer.
    """
    url = f"http://127.0.0.1:{broker.ports['porter.http']}{path}"
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=PATIENCE) as answer:
        return json.loads(answer.read())


def echoes(broker: Broker, source: str = "127.0.0.1") -> bool:
    """
    Whether somebody is served at the port.
    """
    where = ("127.0.0.1", broker.ports["porter.listener"])
    try:
        with socket.create_connection(where, PATIENCE, (source, 0)) as link:
            link.sendall(b"hello")
            return link.recv(100) == b"hello"
    except ConnectionError:
        return False


def waitForNone(broker: Broker) -> None:
    """
    Wait until the broker has seen that nobody is connected to the port any more.
    """
    until = time.monotonic() + PATIENCE
    while ask(broker, "/desk/ports")["porter.tcp"]["connections"]:
        assert time.monotonic() < until, "a connection stays"


def test_port(porter: Broker) -> None:
    """
    An extension's port has access rules, a limit and figures; it can be stopped, started and closed by name.
    """
    assert echoes(porter)
    waitForNone(porter)
    assert not echoes(porter, "127.0.0.2")
    waitForNone(porter)
    with socket.create_connection(("127.0.0.1", porter.ports["porter.listener"]), PATIENCE) as link:
        link.sendall(b"hello")
        assert link.recv(100) == b"hello"
        assert not echoes(porter)
    ports = ask(porter, "/desk/ports")
    assert sorted(ports) == ["porter.http", "porter.tcp", "tcp.external"]
    figures = ports["porter.tcp"]
    assert (figures["open"], figures["max_connections"]) == (True, 1)
    assert (figures["refused_access"], figures["refused_full"]) == (1, 1)
    assert ask(porter, "/desk/stop/porter.tcp", b"") == "done"
    assert ask(porter, "/desk/ports")["porter.tcp"]["open"] is False
    assert not echoes(porter)
    assert ask(porter, "/desk/start/porter.tcp", b"") == "done"
    assert ask(porter, "/desk/ports")["porter.tcp"]["open"] is True
    assert ask(porter, "/desk/close/porter.tcp", b"") == "done"
    assert "porter.tcp" not in ask(porter, "/desk/ports")
    for what in ("stop", "start"):
        assert ask(porter, f"/desk/{what}/tcp.external", b"") == "done"


def test_http(porter: Broker) -> None:
    """
    A mounted resource answers; another one, and a request that is too large or too slow, is answered in JSON, and the
    service goes on.
    """
    assert ask(porter, "/desk/thread") is True
    for path, data, code in (
        ("/nowhere", None, 404),
        ("/desk/../etc/passwd", None, 404),
        ("/" + "x" * 2000, None, 414),
    ):
        with pytest.raises(urllib.error.HTTPError) as raised:
            ask(porter, path, data)
        assert raised.value.code == code
        assert json.loads(raised.value.read())["code"] == code
    where = ("127.0.0.1", porter.ports["porter.http"])
    slow = [socket.create_connection(where, PATIENCE) for _ in range(50)]
    for link in slow:
        link.sendall(b"GET /desk/ports HTTP/1.1\r\nHost: x\r\nX: ")
    assert "tcp.external" in ask(porter, "/desk/ports")
    for link in slow:
        with link:
            assert link.recv(100).startswith(b"HTTP/1.1 408 ")


def test_wrongKey(porter: Broker, tmp_path: Path) -> None:
    """
    A key that a port does not have is told with its place, before anything starts.
    """
    file = tmp_path / "mqttbroker.toml"
    file.write_text(file.read_text().replace("max_connections", "max_conections"))
    environment = fromTree()
    environment["PYTHONPATH"] = f"{environment['PYTHONPATH']}{os.pathsep}{tmp_path}"
    checked = Broker([*twistdCommand(), "mqttbroker", "--check", "--config", file], tmp_path, environment)
    checked.waitFor(r"porter\.listener\.max_conections.*max_connections")
    assert checked.process.wait(PATIENCE) == 1
