"""
Alarms and events of a running broker: told under $SYS, in the log and by C{mqttbroker-ctl}, and kept over a restart.
"""

from __future__ import annotations

import json
import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest

from tests.kits.certificates import Authority
from tests.system.conftest import StartBroker
from tests.system.test_ctl import run

TABLES: dict[str, object] = {
    "plugins": {"load": ["management"]},
    "management": {"listener": {"http": {"bind": "none"}}},
    "os_mon": {"mem_check_interval": "1s", "sysmem_high_watermark": "1%", "fd_high_watermark": "0%"},
}


def test_memory(startBroker: StartBroker, tmp_path: Path) -> None:
    """
    A machine with more memory in use than the watermark says has an alarm, which is history after a restart.
    """
    tables = {**TABLES, "node": {"name": "test@127.0.0.1", "data_dir": str(tmp_path / "data")}}
    broker = startBroker(tables)
    broker.waitFor("The memory of the machine is nearly used up: [0-9]+ of [0-9]+ bytes of memory are in use")
    path = str(tmp_path / "data" / "ctl.sock")
    listed = run("--socket", path, "--format", "json", "alarms", "list")
    [alarm] = json.loads(listed.stdout)
    assert (alarm["id"], alarm["severity"]) == ("sysmem_high_watermark", "warning")
    broker.stop()
    again = startBroker({**tables, "os_mon": {"mem_check_interval": 0}})
    again.waitFor("listening: ctl:http")
    assert json.loads(run("--socket", path, "--format", "json", "alarms", "list").stdout) == []
    [past] = json.loads(run("--socket", path, "--format", "json", "alarms", "history").stdout)
    assert past["id"] == "sysmem_high_watermark"
    assert past["clear_at"]


def test_certificate(startBroker: StartBroker, tmp_path: Path) -> None:
    """
    A listener whose certificate expires tomorrow is told of at the start; one of next year is not.
    """
    authority = Authority(tmp_path)
    listeners = {
        name: {"bind": "127.0.0.1:0", "certfile": issued.certfile, "keyfile": issued.keyfile}
        for name, issued in (
            ("soon", authority.issue("soon.example")),
            ("later", authority.issue("later.example", end=timedelta(days=365))),
        )
    }
    broker = startBroker({"listener": {"ssl": listeners}}, 2)
    broker.waitFor(
        "A certificate expires soon: listener.ssl.soon: the certificate of 'soon.example' expires in 24 hours"
    )
    assert "later.example" not in broker.text


def test_held(startBroker: StartBroker) -> None:
    """
    A process that was stopped for a while says that its clients had to wait; an idle one says nothing.
    """
    broker = startBroker({})
    os.kill(broker.process.pid, signal.SIGSTOP)
    time.sleep(0.6)
    assert "was held" not in broker.text
    os.kill(broker.process.pid, signal.SIGCONT)
    broker.waitFor(r"sysmon: the reactor was held for \d+ ms: all clients waited")


@pytest.mark.parametrize("key", ["cpu_high_watermark", "disk_high_watermark"])
def test_wrongWatermarks(startBroker: StartBroker, key: str) -> None:
    """
    A watermark below its lower one is refused at the start, with the key.
    """
    with pytest.raises(AssertionError, match=f"must not be above {key}"):
        startBroker({"os_mon": {key: "10%"}})
