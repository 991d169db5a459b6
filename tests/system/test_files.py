"""
The files that a broker writes are those of the table in C{docs/operations.md}, and secrets are for its user alone.
"""

import re
import signal
from pathlib import Path

from tests.system.paho_peer import Peer
from tests.system.process import ROOT, Broker, fromTree, toml, twistdCommand


def documented() -> dict[str, str]:
    """
    The files of the table by name, with what it says of their mode.
    """
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text[text.index("\n## Files\n") : text.index("\n## The store\n")]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", table, re.MULTILINE)
    return {name: mode for names, mode in rows for name in re.findall(r"`([^`]+)`", names)}


def test_onlyThese(tmp_path: Path) -> None:
    """
    A broker with everything that makes files writes no other, with the modes of the table.
    """
    file = tmp_path / "mqttbroker.toml"
    tables = {
        "listener": {"tcp": {"external": {"bind": "127.0.0.1:0"}}, "unix": {"local": {"bind": str(tmp_path / "sock")}}},
        "log": {"to": "both", "error": {"file": "error.log"}},
        "node": {"crash_dump": "crash"},
        "plugins": {"load": ["management"]},
        "management": {"listener": {"http": {"bind": "127.0.0.1:0"}}},
    }
    file.write_text(toml(tables))
    twistd = twistdCommand()[0]
    broker = Broker([twistd, "--nodaemon", "mqttbroker", "--config", file], tmp_path, fromTree()).started(2)
    with Peer(broker, "files") as peer:
        peer.publish("a", b"kept", qos=1, retain=True)
    table = documented()
    special = {"crash": "node.crash_dump", "log/error.log": "log/mqttbroker.log"}
    found = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    for name, path in found.items():
        if name == "mqttbroker.toml":
            continue
        mode = table[special.get(name, name)]
        if mode.startswith("0"):
            assert oct(path.stat().st_mode & 0o777) == oct(int(mode, 8)), name
    assert {"data/mqttbroker.db", "data/mqttbroker.db-wal", "log/mqttbroker.log", "twistd.pid"} <= found.keys()
    assert (tmp_path / "sock").is_socket()
    control = tmp_path / "data" / "ctl.sock"
    assert control.is_socket() and oct(control.stat().st_mode & 0o777) == oct(int(table["data/ctl.sock"], 8))
    broker.stop(signal.SIGTERM)
    assert not (tmp_path / "sock").exists() and not (tmp_path / "twistd.pid").exists()
