"""
C{mqttbroker-ctl} against a running broker: what it prints, how it ends, what it says to typing errors.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path

import pytest

from tests.system.commandline import ROOT, Ctl, run
from tests.system.conftest import StartBroker, configuration
from tests.system.process import Broker, fromTree, toml, twistdCommand
from tests.system.rawclient import accepted


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
    assert ctl("--format", "table", "nodes", "list").stdout.splitlines()[1].startswith("| name ")
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
        (["bridges", "list"], "'bridges': it is one of the extension bridge_mqtt, which is not loaded"),
        (["session", "disconnect", "--cleanup"], "Missing option '--client-id'"),
        (["session", "show", "--client-idd"], "Did you mean"),
        (["session", "show", "--limit", "x"], "'x' is not a valid integer"),
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


def test_silentBroker(managed: tuple[Broker, Ctl], tmp_path: Path) -> None:
    """
    A broker that is stopped, or hangs, is given up soon, with 3 and what to do; help is there all the same.
    """
    broker, ctl = managed
    assert "management.socket.socket" not in broker.text
    secret = tmp_path / "secret"
    secret.write_text("public", encoding="utf-8")
    url = f"http://127.0.0.1:{broker.ports['management.listener.http']}"
    os.kill(broker.process.pid, signal.SIGSTOP)
    try:
        for where in ((), ("--url", url, "--secret-file", str(secret))):
            began = time.monotonic()
            found = ctl(*where, "--timeout", "0.5s", "nodes", "list")
            assert time.monotonic() - began < 10
            assert (found.returncode, found.stdout) == (3, "")
            assert " does not answer within 0.5 s: it is stopped or hangs. --timeout 60 waits" in found.stderr
        assert "clients " in ctl("--timeout", "0.5", "--help").stdout
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)
    assert ctl("status").returncode == 0


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
    assert run(*words, "status", "--format", "emqx").stdout == ctl("status").stdout
    assert run(*words, "plugins", "load", "rewrite", "--format=emqx").stdout == "Plugin rewrite loaded successfully.\n"
    own = run(*words[:2], "status", MQTTBROKER_CTL_SECRET="public")
    assert (own.returncode, own.stdout) == (0, ctl("status").stdout)
    unsaid = run(*words[:2], "status")
    assert (unsaid.returncode, unsaid.stderr.count("--secret-file")) == (2, 1)
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


DOORS = """
from msgspec import Struct

from twisted_mqtt.extensions.makers import ExtensionMaker
from twisted_mqtt.operations.operation import Call, Route, operation


class Show(Struct, kw_only=True):
    door: str


class Door(Struct, kw_only=True):
    door: str
    open: bool


@operation("show_door", "Show a door", "doors show", Route("GET", "/doors/:door"))
def showDoor(call: Call[Show]) -> Door:
    return Door(door=call.request.door, open=True)


class Doors:
    def start(self, context):
        context.operation(showDoor)


def operations():
    return [showDoor]


doors = ExtensionMaker(
    "doors",
    "twisted.plugins.doors_plugin:Doors",
    "Has doors",
    distribution="doors",
    operations="twisted.plugins.doors_plugin:operations",
)
"""


def test_commandsOfExtensions(tmp_path: Path) -> None:
    """
    What an extension of somebody else adds is a command, and in the help, while it runs: the broker is asked.
    """
    plugins = tmp_path / "twisted" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "doors_plugin.py").write_text(DOORS)
    tables = {
        **configuration(tmp_path),
        "plugins": {"load": ["management", "doors"]},
        "management": {"listener": {"http": {"bind": "127.0.0.1:0"}}},
    }
    file = tmp_path / "mqttbroker.toml"
    file.write_text(toml(tables))
    environment = fromTree()
    environment["PYTHONPATH"] += os.pathsep + str(tmp_path)
    broker = Broker([*twistdCommand(), "mqttbroker", "--config", file], tmp_path, environment).started(2)
    broker.waitFor("listening: ctl:http")
    try:
        for words in (("--config", str(file)), ("--socket", str(tmp_path / "data" / "ctl.sock"))):
            assert json.loads(run(*words, "--format", "json", "doors", "show", "--door", "front").stdout) == {
                "door": "front",
                "open": True,
            }
            assert "doors " in run(*words, "--help").stdout
            assert "--door <door>" in run(*words, "doors", "show", "--help").stdout
        url = f"http://127.0.0.1:{broker.ports['management.listener.http']}"
        elsewhere = run(
            "--url", url, "doors", "show", "--door", "back", "--format=json", MQTTBROKER_CTL_SECRET="public"
        )
        assert json.loads(elsewhere.stdout) == {"door": "back", "open": True}
        assert run("--config", str(file), "plugins", "unload", "doors").returncode == 0
        assert "there is no command 'doors'; there" in run("--config", str(file), "doors", "show").stderr
        installed = {"PYTHONPATH": environment["PYTHONPATH"]}
        refused = run("--config", str(file), "doors", "show", **installed)
        assert "'doors': it is one of the extension doors, which is not loaded" in refused.stderr
    finally:
        broker.stop()
    assert "doors " not in run("--config", str(file), "--help").stdout
    assert "doors " in run("--config", str(file), "--help", **installed).stdout
    (plugins / "doors_plugin.py").write_text(DOORS.replace("plugin:operations", "plugin:missing"))
    assert run("--config", str(file), "--help", **installed).returncode == 0


def test_unloadedForGood(startBroker: StartBroker, tmp_path: Path) -> None:
    """
    Management that was unloaded for good does not come back by itself, and the log of the next start says why.
    """
    tables = {"plugins": {"load": ["management"]}, "management": {"listener": {"http": {"bind": "none"}}}}
    tables["node"] = {"data_dir": str(tmp_path / "data")}
    broker = startBroker(tables)
    broker.waitFor("listening: ctl:http")
    assert run("--socket", str(tmp_path / "data" / "ctl.sock"), "plugins", "unload", "management").returncode == 0
    broker.stop()
    again = startBroker(tables)
    again.waitFor("management does not start, although the configuration names it: .*loaded_plugins")


def test_namesOfStrangers(managed: tuple[Broker, Ctl]) -> None:
    """
    A client that has chosen its name with care neither writes a line of its own nor steers the terminal.
    """
    broker, ctl = managed
    link = accepted(broker, "a\x1b[31m\nClient(b")
    try:
        for words in (["clients", "list"], ["--format", "table", "clients", "list"]):
            found = ctl(*words).stdout
            assert "\x1b" not in found
            assert not any(line.startswith("Client(b") for line in found.splitlines())
            assert "a\\x1b[31m" in found
    finally:
        link.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("node = 3\n", "[node] and [management] have to be tables"),
        ("a = " + "[" * 5000, "Too many brackets within brackets"),
        ('[management]\nsocket = ""\n', "the broker has no socket for commands"),
    ],
    ids=["table", "brackets", "none"],
)
def test_wrongConfiguration(tmp_path: Path, text: str, says: str) -> None:
    """
    A configuration that does not say where the socket is is an error of whoever names it, and there is help all the
    same.
    """
    file = tmp_path / "b.toml"
    file.write_text(text)
    found = run("--config", str(file), "status")
    assert (found.returncode, found.stdout) == (2, "")
    assert says in found.stderr
    assert "Traceback" not in found.stderr
    assert "clients " in run("--config", str(file), "--help").stdout


def test_guesses(managed: tuple[Broker, Ctl]) -> None:
    """
    Somebody who tries 40 secrets at once by the REST API has five looked at, and the log says so.
    """
    broker, _ = managed
    where = ("127.0.0.1", broker.ports["management.listener.http"])
    links = [socket.create_connection(where, 30) for _ in range(40)]
    for number, link in enumerate(links):
        token = b64encode(f"admin:guess{number}".encode()).decode()
        link.sendall(f"GET /api/v4/nodes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {token}\r\n\r\n".encode())
    statuses = sorted(link.recv(12)[9:] for link in links)
    for link in links:
        link.close()
    assert statuses == [b"401"] * 5 + [b"429"] * 35
    broker.waitFor('REST: refused: application "admin" from 127.0.0.1')


@pytest.mark.parametrize("form", ["emqx", "table", "json"])
def test_fullDevice(managed: tuple[Broker, Ctl], tmp_path: Path, form: str) -> None:
    """
    What can't be written is said, with 1 and without a traceback.
    """
    (path,) = tmp_path.rglob("ctl.sock")
    command = f"{sys.executable} -m twisted_mqtt.ctl --socket {path} --format {form} broker metrics"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for sink, status, said in (
        (">/dev/full", 1, "mqttbroker-ctl: the answer can't be written: No space left on device\n"),
        (">&-", 0, ""),
    ):
        found = subprocess.run(
            ["bash", "-c", f"{command} {sink}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (found.returncode, found.stderr) == (status, said)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("--socket none status 2>&-", 3, ""),
        ("--socket none status <&- >&- 2>&-", 3, ""),
        ("status --nope 2>&-", 2, ""),
        ("nope 2>&-", 2, ""),
        (
            "--url http://127.0.0.1:1 status <&-",
            2,
            "mqttbroker-ctl: the secret of admin is in --secret-file FILE, or in MQTTBROKER_CTL_SECRET\n",
        ),
        ("--url http://127.0.0.1:1 status <&- 2>&-", 2, ""),
    ],
)
def test_closedStreams(tmp_path: Path, words: str, status: int, said: str) -> None:
    """
    The exit status is the same where whoever calls, as a service or cron may, has closed standard input or error.
    """
    found = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m twisted_mqtt.ctl {words}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (found.returncode, found.stderr) == (status, said)


def test_notUTF8(tmp_path: Path) -> None:
    """
    A topic in another encoding is an error of whoever types it.
    """
    found = run("--socket", str(tmp_path / "none"), "publish", os.fsdecode(b"r\xe4ume"), "x")
    assert (found.returncode, found.stderr) == (2, "mqttbroker-ctl: the words of the command have to be UTF-8\n")


def test_sessions(managed: tuple[Broker, Ctl]) -> None:
    """
    The queries of VerneMQ: flags with a value after "=" or a blank, or none; arguments as name=value.
    """
    broker, ctl = managed
    names = ["c1", "..", "a=b"]
    links = [accepted(broker, name) for name in names]
    try:
        table = ctl("session", "show").stdout.splitlines()
        rule = table[0]
        assert re.fullmatch(r"(\+-+)+\+", rule)
        assert (table[2], table[-1]) == (rule, rule)
        assert table[1].split() == "| client_id | is_online | mountpoint | peer_host | peer_port | user |".split()
        assert {line.split()[1] for line in table[3:-1]} == set(names)
        for words in (["--client_id=a=b"], ["--client_id", "a=b"], ["--client-id", "a=b", "--is_online=true"]):
            shown = ctl("session", "show", "--node", "--is_online", *words, "--format=json")
            assert json.loads(shown.stdout) == [{"is_online": True, "node": "test@127.0.0.1"}], words
        assert ctl("session", "show", "--client_id=c1", "--is_online=false").stdout == ""
        assert len(json.loads(ctl("session", "show", "--limit", "2", "--format", "json").stdout)) == 2
        for words in (["client-id=..", "--cleanup"], ["--client-id", "c1", "-c"], ["client_id=a=b", "--cleanup=true"]):
            assert ctl("session", "disconnect", *words).stdout == "Done\n"
        assert ctl("session", "show").stdout == ""
    finally:
        for link in links:
            link.close()


def test_clientCalledDots(managed: tuple[Broker, Ctl], tmp_path: Path) -> None:
    """
    A client whose name is a step up in a path can be shown and sent away, also from another machine.
    """
    broker, ctl = managed
    url = f"http://127.0.0.1:{broker.ports['management.listener.http']}"
    for name in ("..", "."):
        link = accepted(broker, name)
        try:
            shown = run("--url", url, "clients", "show", name, MQTTBROKER_CTL_SECRET="public")
            assert shown.stdout.startswith(f"Client({name}, ")
            assert run("--url", url, "clients", "kick", name, MQTTBROKER_CTL_SECRET="public").stdout == "ok\n"
            assert ctl("clients", "show", name).stdout == ""
        finally:
            link.close()


def test_listeners(managed: tuple[Broker, Ctl]) -> None:
    """
    A port is opened while the broker runs, with VerneMQ's flags; its clients are sent away with it; another that can't
    be opened leaves nothing behind.
    """
    broker, ctl = managed
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = ["address=127.0.0.1", f"port={taken.getsockname()[1]}"]
        refused = ctl("listener", "start", *where)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "can't listen on 127.0.0.1" in refused.stderr
        assert len(json.loads(ctl("listener", "show", "--format=json").stdout)) == 3
    assert ctl("listener", "start", *where, "--max_connections=infinity", "-m", "tree").stdout == "Done\n"
    (row,) = [row for row in json.loads(ctl("listener", "show", "--format=json").stdout) if row["mountpoint"]]
    assert (row["type"], row["status"], row["mountpoint"], f"port={row['port']}") == (
        "mqtt",
        "running",
        "tree",
        where[1],
    )
    with socket.create_connection(("127.0.0.1", row["port"]), 20) as link:
        link.sendall(bytes.fromhex("100d 0004 4d515454 04 02 003c 0001 61".replace(" ", "")))
        assert link.recv(4) == bytes.fromhex("20020000")
        assert json.loads(ctl("session", "show", "--mountpoint", "--client_id=a", "--format=json").stdout) == [
            {"mountpoint": "tree"}
        ]
        assert ctl("listener", "delete", *where).returncode == 1
        assert ctl("listener", "stop", *where, "-k").stdout == "Done\n"
        assert link.recv(4) == b""
    assert ctl("listener", "delete", *where).stdout == "Done\n"
    assert len(json.loads(ctl("listener", "show", "--format=json").stdout)) == 3
