"""
C{--check} against a real start: what it passes starts, and what a start would fail on, it says, all at once.
"""

import fcntl
import socket
from pathlib import Path

from tests.kits.certificates import Authority
from tests.system.conftest import StartBroker, configuration
from tests.system.paho_peer import Peer
from tests.system.process import Broker, fromTree, toml, twistdCommand
from tests.system.test_process import mqttbroker

# Every kind of port by the name that every machine has.
NAMED = {
    "listener": {"tcp": {"external": {"bind": "localhost:0"}}, "ws": {"external": {"bind": "localhost:0"}}},
    "plugins": {"load": ["stomp", "coap", "mqttsn", "lwm2m"]},
    "stomp": {"listener": "localhost:0", "ws": "localhost:0"},
    "coap": {"port": "localhost:0", "tcp": "localhost:0"},
    "mqtt": {"sn": {"port": "localhost:0", "advertise_address": "localhost:9", "advertise_duration": "15m"}},
    "lwm2m": {"port": "localhost:0"},
}


def test_namesStart(tmp_path: Path, name: str) -> None:
    """
    A host name may stand wherever an address may: what C{--check} passes starts, on the address of the name.
    """
    file = tmp_path / "named.toml"
    file.write_text(toml({**configuration(tmp_path), **NAMED}))
    checked = mqttbroker(tmp_path, "--check", "--config", file)
    assert checked.returncode == 0, checked.stderr
    broker = Broker([*twistdCommand(), "mqttbroker", "--config", file], tmp_path, fromTree()).started(8)
    hosts = {match["host"] for match in broker.waitFor(r"listening: \S+ on (?P<host>\S+):\d+ ", 8)}
    assert hosts == {"127.0.0.1"}
    with Peer(broker, name) as peer:
        peer.subscribe(f"{name}/#")
        peer.publish(f"{name}/a", "hello", 1)
        assert peer.payloads(1) == ["hello"]
    broker.stop()


def test_everythingAtOnce(tmp_path: Path) -> None:
    """
    Names, addresses, ports, sockets, certificates, folders and access rules: one run says all that is wrong with them,
    each with its line and a remedy.
    """
    (tmp_path / "rules").write_text("{allow, nonsense")
    (tmp_path / "file").write_text("")
    issued = Authority(tmp_path).issue("server")
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        tables = {
            "acl_file": str(tmp_path / "rules"),
            "node": {"name": "test@127.0.0.1", "data_dir": str(tmp_path / "file" / "data")},
            "log": {"to": "file", "dir": str(tmp_path / "file")},
            "listener": {
                "tcp": {
                    "taken": {"bind": f"127.0.0.1:{taken.getsockname()[1]}"},
                    "nowhere": {"bind": "no-such-host.invalid:1883"},
                    "foreign": {"bind": "203.0.113.1:1883"},
                },
                "unix": {"local": {"bind": str(tmp_path / "none" / "socket")}},
                "ssl": {
                    "external": {
                        "bind": "127.0.0.1:0",
                        "certfile": issued.certfile,
                        "keyfile": issued.certfile,
                    }
                },
            },
            "plugins": {"load": ["coap", "stomp", "psk_file"]},
            "psk": {"file": str(tmp_path / "rules")},
            "coap": {
                "port": f"127.0.0.1:{datagrams.getsockname()[1]}",
                "dtls": {"port": "127.0.0.1:0", "certfile": issued.keyfile, "keyfile": issued.keyfile},
            },
            "stomp": {"listener": f"localhost:{taken.getsockname()[1]}"},
        }
        file = tmp_path / "all.toml"
        file.write_text(toml(tables))
        done = mqttbroker(tmp_path, "--check", "--config", file)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    for sought in (
        "node.data_dir: ",
        "log.dir = ",
        "listener.tcp.taken.bind = ",
        "listener.tcp.nowhere.bind = ",
        "listener.tcp.foreign.bind = ",
        "listener.unix.local.bind = ",
        "listener.ssl.external.keyfile = ",
        "coap.port = ",
        "coap.dtls.certfile = ",
        "stomp.listener.bind = ",
        "rules:1: must",
        "rules:1: ",
    ):
        assert any(sought in line for line in lines), (sought, done.stderr)
    assert not list(tmp_path.glob("data*"))


def test_storeOfSomebodyElse(tmp_path: Path) -> None:
    """
    A store that is in use, that this release can't read, or whose folder may not be written is told of, and nothing is
    made or changed beside it.
    """
    file = tmp_path / "b.toml"
    file.write_text(toml(configuration(tmp_path)))
    data = tmp_path / "data"
    assert mqttbroker(tmp_path, "--check", "--config", file).returncode == 0
    assert not data.exists()
    data.mkdir()
    (data / "mqttbroker.db").write_bytes(b"no database of anybody" * 1000)
    done = mqttbroker(tmp_path, "--check", "--config", file)
    assert done.returncode == 1 and "is damaged" in done.stderr, done.stderr
    assert [path.name for path in data.iterdir()] == ["mqttbroker.db"]
    with open(data / "mqttbroker.db.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = mqttbroker(tmp_path, "--check", "--config", file)
        assert "in use by another process" in done.stderr


def test_beforeReload(startBroker: StartBroker, tmp_path: Path) -> None:
    """
    The file of a broker that runs can be checked: its ports and its store are its own.
    """
    broker = startBroker()
    folder = tmp_path / "broker0"
    file = folder / "mqttbroker.toml"
    file.write_text(file.read_text().replace("127.0.0.1:0", f"127.0.0.1:{broker.port}"))
    strict = mqttbroker(folder, "--check", "--config", file)
    assert strict.returncode == 1
    assert "listener.tcp.external.bind" in strict.stderr and "--running" in strict.stderr
    assert mqttbroker(folder, "--check", "--running", "--config", file).returncode == 0
    text = file.read_text()
    for nowhere in ("no-such-host.invalid", "192.0.2.1"):
        file.write_text(f"{text}\n[listener.tcp.more]\nbind = '{nowhere}:1883'\n")
        done = mqttbroker(folder, "--check", "--running", "--config", file)
        assert done.returncode == 1 and "listener.tcp.more.bind" in done.stderr, done
