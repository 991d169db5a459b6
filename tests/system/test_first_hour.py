"""
The first commands of a newcomer: a mistyped option, C{--version}, a daemon, an interrupt too many, a folder that can't
be written.
"""

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.conftest import StartBroker, configuration
from tests.system.process import PATIENCE, Broker, fromTree, toml, twistdCommand
from tests.system.test_process import mqttbroker


def daemon(folder: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """
    Run C{twistd mqttbroker} as a daemon.
    """
    return subprocess.run(
        [Path(sys.executable).with_name("twistd"), "--pidfile", folder / "pid", "mqttbroker", *options],
        cwd=folder,
        env={**os.environ, **fromTree()},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--confg", "b.toml"], "there is no option --confg; the nearest is --config"),
        (["--config"], "option --config requires argument"),
        (["b.toml"], '"b.toml" belongs to no option. A configuration is named by --config b.toml'),
        (["--running"], "--running goes with --check"),
        (["--backup", ""], "--backup needs a name, and not an empty text"),
        (["--config", ""], "--config needs a name, and not an empty text"),
        (["--repair", "--backup", "b"], "--backup and --repair do not go together: one thing at a time"),
        (["--init", "d", "--check"], "--init and --check do not go together: one thing at a time"),
        (["--config", "nowhere.toml"], "nowhere.toml: cannot be read (No such file or directory)"),
    ],
)
def test_mistakes(tmp_path: Path, options: list[str], line: str) -> None:
    """
    A mistake on the command line, or a file that is not there, is one line that names the remedy, and no page of usage.
    """
    done = mqttbroker(tmp_path, *options)
    assert done.returncode == 1
    assert line in done.stderr
    assert len((done.stdout + done.stderr).splitlines()) == 1


def test_badFile(tmp_path: Path) -> None:
    """
    Neither does usage stand above what is wrong with a file.
    """
    (tmp_path / "b.toml").write_text("acl_nomach = 'deny'\n")
    done = mqttbroker(tmp_path, "--config", "b.toml")
    assert done.returncode == 1
    assert (done.stdout + done.stderr).startswith("b.toml:1: acl_nomach")


def test_version(tmp_path: Path) -> None:
    """
    C{--version} is that of the broker, beside those of what it stands on.
    """
    done = mqttbroker(tmp_path, "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("twisted-mqtt ") and "Twisted 2" in done.stdout and "Python 3" in done.stdout


def test_saysHowItRuns(startBroker: StartBroker, request: pytest.FixtureRequest) -> None:
    """
    The log begins with the version, and says whether the core is interpreted.
    """
    broker = startBroker()
    how = "compiled" if request.config.getoption("--compiled") else "interpreted: several times slower"
    broker.waitFor(rf"#info\] twisted-mqtt \S+ \(Twisted .*, Python .*\), {how}")


def test_daemonThatCannotStart(tmp_path: Path) -> None:
    """
    A daemon that can't start says so on the terminal, everything at once, and its status is not 0.
    """
    file = tmp_path / "b.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        listener = {"tcp": {"external": {"bind": where}, "other": {"bind": "no-such-host.invalid:1883"}}}
        file.write_text(toml({**configuration(tmp_path), "listener": listener}))
        done = daemon(tmp_path, "--config", file)
    assert done.returncode == 1
    assert f'listener.tcp.external.bind = "{where}": another program listens there' in done.stderr
    assert "listener.tcp.other.bind" in done.stderr
    assert not (tmp_path / "pid").exists()


def test_daemon(tmp_path: Path) -> None:
    """
    One that can start does, with a gateway's port taken: that is no reason to serve nobody.
    """
    file = tmp_path / "b.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stomp = {"listener": f"127.0.0.1:{taken.getsockname()[1]}"}
        file.write_text(toml({**configuration(tmp_path), "plugins": {"load": ["stomp"]}, "stomp": stomp}))
        done = daemon(tmp_path, "--config", file)
        assert done.returncode == 0, done.stdout + done.stderr
        process = os.pidfd_open(int((tmp_path / "pid").read_text()))
        signal.pidfd_send_signal(process, signal.SIGTERM)
        ended, _, _ = select.select([process], [], [], PATIENCE)
        os.close(process)
    assert ended


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_secondInterrupt(startBroker: StartBroker, first: signal.Signals) -> None:
    """
    An interrupt ends a broker that is stopping and waits for a client to read, at once and without a traceback.
    """
    broker = startBroker(
        {
            "node": {"name": "test@127.0.0.1", "data_dir": "data", "shutdown_timeout": "5m"},
            "zone": {"external": {"max_pending_bytes": "64MB"}},
            "listener": {"tcp": {"external": {"bind": "127.0.0.1:0", "send_timeout": "5m"}}},
        }
    )
    with socket.socket() as reader, socket.create_connection(("127.0.0.1", broker.port)) as writer:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", broker.port))
        for client, name in ((reader, "reader"), (writer, "writer")):
            client.sendall(encodedConnect(name))
            assert client.recv(4)[0] == 0x20
        reader.sendall(bytes.fromhex("8206000100016100"))
        assert reader.recv(5)[0] == 0x90
        # More than the sockets between them hold, in one message of QoS 1, so that it is known to have arrived.
        payload = bytes(900_000)
        for number in range(1, 31):
            body = bytes.fromhex("000161") + number.to_bytes(2, "big") + payload
            writer.sendall(b"\x32" + remaining(len(body)) + body)
            assert writer.recv(4)[0] == 0x40
        broker.process.send_signal(first)
        if first == signal.SIGTERM:
            broker.process.send_signal(first)
            broker.waitFor("disconnected: .writer.")
        else:
            # At once: the second counts, however early it comes.
            broker.waitFor("Received SIGINT")
        broker.process.send_signal(signal.SIGINT)
        assert broker.wait(PATIENCE) == -signal.SIGINT
    assert "interrupted again" in broker.text
    assert "Traceback" not in broker.text and "Unhandled" not in broker.text


def encodedConnect(name: str) -> bytes:
    """
    A CONNECT of MQTT 3.1.1.
    """
    body = bytes.fromhex("00044d51545404020000") + len(name).to_bytes(2, "big") + name.encode()
    return b"\x10" + remaining(len(body)) + body


def remaining(length: int) -> bytes:
    """
    A remaining length.
    """
    encoded = bytearray()
    while True:
        length, digit = divmod(length, 128)
        encoded.append(digit | (128 if length else 0))
        if not length:
            return bytes(encoded)


@pytest.mark.parametrize(("level", "count"), [("debug", 1), ("info", 0)])
def test_cacheThatCannotBeWritten(tmp_path: Path, level: str, count: int) -> None:
    """
    A folder of plug-ins whose cache can't be written costs one line at debug level, however often it is looked at.
    """
    file = tmp_path / "b.toml"
    file.write_text(toml({**configuration(tmp_path), "log": {"level": level}}))
    foreign = tmp_path / "foreign" / "twisted" / "plugins"
    foreign.mkdir(parents=True)
    (foreign / "somebodys.py").write_text('"""No plug-in."""\n')
    # Nobody can put a file in its place, root included.
    (foreign / "dropin.cache" / "x").mkdir(parents=True)
    environment = fromTree()
    environment["PYTHONPATH"] += os.pathsep + str(tmp_path / "foreign")
    broker = Broker([*twistdCommand(), "mqttbroker", "--config", file], tmp_path, environment).started(1)
    broker.process.send_signal(signal.SIGHUP)
    broker.waitFor("reload: 1 changes")
    broker.stop()
    told = [line for line in broker.lines if str(foreign) in line]
    assert len(told) == count, told
