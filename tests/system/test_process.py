"""
The broker as an operator meets it: started in each documented way, told what is wrong, stopped.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.system.conftest import StartBroker, configuration
from tests.system.paho_peer import Peer
from tests.system.process import PATIENCE, ROOT, Broker, fromTree, toml, twistdCommand

# Any free port in place of the one that an example names.
ANY_PORT = {"MQTTBROKER__LISTENER__TCP__EXTERNAL__BIND": "127.0.0.1:0"}


def passOneMessage(broker: Broker, name: str) -> None:
    """
    See that the broker does what it is for.
    """
    with Peer(broker, name) as peer:
        peer.subscribe(f"{name}/#")
        peer.publish(f"{name}/a", "hello", 2)
        assert peer.payloads(1) == ["hello"]


def mqttbroker(folder: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    """
    Run C{twistd mqttbroker} with C{options} to its end.
    """
    return subprocess.run(
        [*twistdCommand(), "mqttbroker", *options],
        cwd=folder,
        env={**os.environ, **fromTree()},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_stops(startBroker: StartBroker, name: str, number: int) -> None:
    """
    A signal ends the broker in order, with clients connected and messages waiting for some that are not.
    """
    broker = startBroker()
    Peer(broker, f"{name}w", clean=False, SessionExpiryInterval=300).connect().disconnect()
    with Peer(broker, f"{name}w", clean=False, SessionExpiryInterval=300) as waiting:
        waiting.subscribe(f"{name}/#")
    passOneMessage(broker, name)
    connected = Peer(broker, f"{name}c").will(f"{name}/gone", "with the broker").connect()
    broker.stop(number)
    connected.ended.get(timeout=PATIENCE)
    connected.client.loop_stop()


def test_closedStreams(tmp_path: Path) -> None:
    """
    A broker whose caller has closed its standard input, output and error logs to its file, loses no line for want of a
    console, and no file of it has the number of one of them.
    """
    file, log = tmp_path / "b.toml", tmp_path / "mqttbroker.log"
    file.write_text(toml({**configuration(tmp_path), "log": {"to": "both", "dir": str(tmp_path)}}))
    log.touch()
    command = [*map(str, twistdCommand()), "mqttbroker", "--config", str(file)]
    with subprocess.Popen(
        ["bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash", *command],
        cwd=tmp_path,
        env={**os.environ, **fromTree()},
    ) as process:
        until = time.monotonic() + PATIENCE
        while "listening: mqtt:tcp" not in log.read_text():
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.05)
        kinds = {os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)}
        process.kill()
    assert kinds <= {"/dev/null", "anon_inode:[eventpoll]"}
    assert "lines lost" not in log.read_text()


def test_stopsAtOnceWithoutClients(startBroker: StartBroker) -> None:
    """
    A broker that nobody uses does not linger.
    """
    broker = startBroker()
    status = broker.end(signal.SIGTERM, patience=5)
    assert status in (0, -signal.SIGTERM)


def test_usage(tmp_path: Path) -> None:
    """
    C{twistd --help} lists the broker, and C{twistd mqttbroker --help} its options.
    """
    listed = subprocess.run(
        [*twistdCommand(), "--help"], env={**os.environ, **fromTree()}, capture_output=True, text=True, timeout=PATIENCE
    )
    assert "mqttbroker" in listed.stdout
    done = mqttbroker(tmp_path, "--help")
    assert done.returncode == 0
    assert "--config" in done.stdout and "--check" in done.stdout


def test_check(tmp_path: Path) -> None:
    """
    C{--check} accepts a good file without starting anything.
    """
    file = tmp_path / "good.toml"
    file.write_text(toml(configuration(tmp_path)))
    done = mqttbroker(tmp_path, "--check", "--config", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "listening" not in done.stdout


@pytest.mark.parametrize("options", [[], ["--check"]], ids=["starting", "checking"])
def test_badConfiguration(tmp_path: Path, options: list[str]) -> None:
    """
    Everything wrong with a file is reported at once, for people; nothing starts.
    """
    file = tmp_path / "bad.toml"
    file.write_text('[listener.tcp.external]\nbind = "nowhere:high"\nmax_conections = 3\n')
    done = mqttbroker(tmp_path, *options, "--config", file)
    output = done.stdout + done.stderr
    assert done.returncode not in (0, None)
    assert "bad.toml" in output and "nowhere:high" in output
    assert "max_conections" in output and "max_connections" in output
    assert "Traceback" not in output and "listening" not in output


def test_missingConfiguration(tmp_path: Path) -> None:
    """
    A file that is not there is named.
    """
    done = mqttbroker(tmp_path, "--config", "nowhere.toml")
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "nowhere.toml" in output and "Traceback" not in output


def test_portTaken(startBroker: StartBroker, tmp_path: Path) -> None:
    """
    A second broker on the same port says so and ends; the first goes on.
    """
    first = startBroker()
    file = tmp_path / "second.toml"
    tables = {**configuration(tmp_path), "listener": {"tcp": {"external": {"bind": f"127.0.0.1:{first.port}"}}}}
    file.write_text(toml(tables))
    done = mqttbroker(tmp_path, "--config", file)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert str(first.port) in output
    passOneMessage(first, "first")


def test_tac(tmp_path: Path, name: str) -> None:
    """
    The example application runs under C{twistd -ny}.
    """
    command = [*twistdCommand(), "--python", ROOT / "tac" / "mqttbroker.tac"]
    broker = Broker(command, tmp_path, {**fromTree(), **ANY_PORT}).started(1)
    passOneMessage(broker, name)
    broker.stop(signal.SIGINT)


def test_embedding(tmp_path: Path, name: str) -> None:
    """
    The embedding example serves MQTT and its own page in one process.
    """
    command: list[str | Path] = [sys.executable, ROOT / "docs" / "embedding.py"]
    program = Broker(command, tmp_path, {**fromTree(), **ANY_PORT, "MQTTBROKER__NODE__DATA_DIR": str(tmp_path)})
    program.started(1)
    (page,) = program.waitFor(r"Site starting on (\d+)")
    passOneMessage(program, name)
    with urllib.request.urlopen(f"http://127.0.0.1:{page[1]}/", timeout=PATIENCE) as answer:
        assert answer.read() == b"still here\n"
    program.stop(signal.SIGTERM)


def test_crashDump(startBroker: StartBroker, tmp_path: Path) -> None:
    """
    A broker that dies of a fault leaves the stacks of its threads in the file of C{node.crash_dump}.
    """
    file = tmp_path / "crash.dump"
    node = {"name": "test@127.0.0.1", "data_dir": str(tmp_path / "data"), "crash_dump": str(file)}
    broker = startBroker({"node": node})
    assert file.read_text() == ""
    assert broker.end(signal.SIGABRT) == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in file.read_text()
