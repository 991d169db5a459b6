"""
C{mqttbroker-ctl} against a running broker: what it prints, how it ends, what it says to typing errors.
"""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.conftest import StartBroker
from tests.system.process import Broker

ROOT = Path(__file__).parents[2]
Ctl = Callable[..., "subprocess.CompletedProcess[str]"]


def run(*words: str, folder: Path = ROOT, **more: str) -> subprocess.CompletedProcess[str]:
    """
    Call the program.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    return subprocess.run(
        [sys.executable, "-m", "twisted_mqtt.ctl", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def managed(startBroker: StartBroker, tmp_path: Path) -> Iterator[tuple[Broker, Ctl]]:
    """
    A broker with management, and the program that calls it.
    """
    broker = startBroker(
        {"plugins": {"load": ["management"]}, "management": {"listener": {"http": {"bind": "127.0.0.1:0"}}}}, 2
    )
    broker.waitFor("listening: ctl:http")
    (path,) = tmp_path.rglob("ctl.sock")

    def ctl(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return run("--socket", str(path), *words, **more)

    yield broker, ctl


def test_commands(managed: tuple[Broker, Ctl], tmp_path: Path) -> None:
    """
    What EMQ X prints is printed (spec/cli.md); the same as JSON and as a table.
    """
    _, ctl = managed
    status = ctl("status")
    assert (status.returncode, status.stderr) == (0, "")
    assert re.fullmatch(r"Node 'test@127.0.0.1' is started\nmqttbroker v[\d.]+ is running\n", status.stdout)
    lines = ctl("broker").stdout.splitlines()
    assert [line[:12] for line in lines] == ["sysdescr  : ", "version   : ", "uptime    : ", "datetime  : "]
    assert json.loads(ctl("--format", "json", "broker").stdout)["node"] == "test@127.0.0.1"
    assert ctl("--format", "table", "nodes", "list").stdout.startswith("NAME ")
    assert "connections.count             : 0\n" in ctl("broker", "stats").stdout
    assert "bytes.received                : 0\n" in ctl("broker", "metrics").stdout
    assert "Plugin(management, version=v" in ctl("plugins", "list").stdout
    assert ctl("plugins", "load", "emqx_mod_presence").stderr == "mqttbroker-ctl: already_started\n"
    assert ctl("plugins", "load", "rewrite").stdout == "Plugin rewrite loaded successfully.\n"
    assert re.search(r"listener on mqtt:tcp:127\.0\.0\.1:\d+\n  acceptors       : ", ctl("listeners").stdout)
    assert re.fullmatch(r"AppSecret: \S{47}\n", ctl("mgmt", "insert", "app1", "hello").stdout)
    assert ctl("mgmt", "update", "app1", "stop").stdout == "update successfully.\n"
    assert "app_id: app1\n" in ctl("mgmt", "lookup", "app1").stdout
    assert ctl("mgmt", "delete", "app1").stdout == "ok\n"
    assert ctl("banned", "add", "clientid", "bad").stdout == "ok\n"
    assert "Banned(clientid=bad, " in ctl("banned", "list").stdout
    assert ctl("banned", "del", "clientid", "bad").stdout == "ok\n"
    assert ctl("publish", "a/b", "hello").stdout == "ok\n"


def test_socketIsTheOwners(managed: tuple[Broker, Ctl], tmp_path: Path) -> None:
    """
    Nobody else may open it.
    """
    (path,) = tmp_path.rglob("ctl.sock")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_refused(managed: tuple[Broker, Ctl]) -> None:
    """
    What is not done is said on the standard error output, with 1.
    """
    _, ctl = managed
    kicked = ctl("clients", "kick", "nobody")
    assert (kicked.returncode, kicked.stdout) == (1, "")
    assert kicked.stderr == "mqttbroker-ctl: clientid: there is no client 'nobody'\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["clints"], "there is no command 'clints'; did you mean 'clients'?"),
        (["clients", "lst"], "there is no command 'clients lst'; did you mean 'list'?"),
        (["broker", "stat"], "there is no command 'broker stat'; did you mean 'stats'?"),
        (["clients", "kick"], "Missing argument '<clientid>'"),
        (["clients", "list", "--conn-state", "x"], "'x' is not one of 'connected'"),
        (["clients", "list", "--keepalive", "x"], "'x' is not a valid integer"),
        (["--watch", "never", "status"], "'never' is no time such as 2s"),
        (["--config", "/no/such/file", "status"], "/no/such/file"),
        (["--url", "ftp://x", "--secret-file", "/dev/null", "status"], "is no address such as https://"),
    ],
)
def test_typing(words: list[str], says: str) -> None:
    """
    A typing error names what was probably meant, with 2, whether there is a broker or not.
    """
    found = run(*words)
    assert found.returncode == 2
    assert says in found.stderr


def test_noBroker(tmp_path: Path) -> None:
    """
    Without a broker there is help for all commands; to call one ends with 3 and says what is missing.
    """
    found = run("--socket", str(tmp_path / "none"), "status")
    assert found.returncode == 3
    assert found.stderr == f"mqttbroker-ctl: no broker is running: there is no socket {tmp_path}/none\n"
    dead = tmp_path / "dead"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(dead))
    assert run("--socket", str(dead), "status").returncode == 3
    assert "clients " in run("--help").stdout
    usage = run("clients")
    assert usage.returncode == 0
    assert "clients kick <clientid>  # Send a client away\n" in usage.stdout


def test_elsewhere(managed: tuple[Broker, Ctl], tmp_path: Path) -> None:
    """
    By the REST API, as an application, the same commands.
    """
    broker, ctl = managed
    port = broker.ports["management.listener.http"]
    secret = tmp_path / "secret"
    secret.write_text("public\n", encoding="utf-8")
    words = ("--url", f"http://127.0.0.1:{port}", "--secret-file", str(secret), "--format", "json")
    assert json.loads(run(*words, "nodes", "list").stdout)[0]["node"] == "test@127.0.0.1"
    secret.write_text("wrong", encoding="utf-8")
    refused = run(*words, "nodes", "list")
    assert (refused.returncode, refused.stderr) == (1, "mqttbroker-ctl: wrong application or secret\n")


def test_quietEnds(managed: tuple[Broker, Ctl], tmp_path: Path) -> None:
    """
    Somebody who stops reading is no error.
    """
    (path,) = tmp_path.rglob("ctl.sock")
    command = f"{sys.executable} -m twisted_mqtt.ctl --socket {path} --watch 0.1 broker metrics | head -n 1"
    found = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (found.stdout.count("\n"), found.stderr) == (1, "")
