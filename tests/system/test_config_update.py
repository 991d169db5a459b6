"""
The configuration file of a broker that runs, replaced by REST (spec/rest-api-nanomq.md 3.12).
"""

from __future__ import annotations

import http.client
import json
import tomllib
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import StartBroker
from tests.system.process import PATIENCE, Broker
from tests.system.rawclient import accepted

MANAGED = {"plugins": {"load": ["management"]}, "management": {"listener": {"http": {"bind": "127.0.0.1:0"}}}}

#: The sample, with ports that the kernel picks.
HOCON = """
mqtt { property_size = 32, max_packet_size = 10KB, max_mqueue_len = 2048, retry_interval = 10s
  keepalive_multiplier = 1.25 }
listeners.tcp { bind = "127.0.0.1:0" }
listeners.ws { bind = "127.0.0.1:0/mqtt" }   # a comment
log { to = [console], level = info, file = "nanomq.log", rotation { size = 10MB, count = 5 } }
auth { allow_anonymous = true, no_match = allow, deny_action = ignore, cache = { max_size = 32, ttl = 1m } }
"""


def post(broker: Broker, path: str, body: bytes, dialect: str = "union") -> tuple[int, Any]:
    """
    Call the broker; returns the status and the JSON of its answer.
    """
    port = broker.ports["management.listener.http"]
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2 * PATIENCE)) as link:
        headers = {"Authorization": f"Basic {b64encode(b'admin:public').decode()}", "X-Api-Dialect": dialect}
        link.request("POST", f"/api/v4{path}", body, headers)
        answer = link.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.shows("update_config_file")
def test_update(startBroker: StartBroker, tmp_path: Path) -> None:
    """
    NanoMQ's sample becomes keys of ours beside those that NanoMQ has no words for; the broker starts with them. What
    can't be used changes nothing.
    """
    broker = startBroker(MANAGED, 2)
    file = tmp_path / "broker0" / "mqttbroker.toml"
    before = file.read_text()
    # Of a process that was killed amid this.
    left = file.with_name(f".{file.name}-update-0")
    left.mkdir()
    (left / "mqttbroker.toml").touch()
    for body, code, says in (
        (b"mqtt { max_packet_size = ", 117, "nanomq.conf:1"),
        (b'{"data": 1}', 108, "data"),
        (b"", 107, "data"),
        (b"\xff", 108, "UTF-8"),
        (b"a\0b", 108, "NUL"),
        (b"[zone.external]\nmax_inflght = 1\n", 108, "mqttbroker.toml:2"),
        (b"[listener.tcp.external]\nbind = '192.0.2.1:1883'\n", 108, "192.0.2.1"),
    ):
        status, answer = post(broker, "/config_update", body)
        assert (status, answer["code"]) == (400, code), answer
        assert says in answer["message"], answer
        assert file.read_text() == before
    status, answer = post(broker, "/config_update", HOCON.encode())
    assert status == 200, answer
    assert any("property_size" in remark for remark in answer["data"]["remarks"])
    tables = tomllib.loads(file.read_text())
    assert tables["zone"]["external"]["keepalive_backoff"] == 0.625
    assert (tables["node"]["name"], tables["plugins"]["load"]) == ("test@127.0.0.1", ["management"])
    assert Path(answer["data"]["backup"]).read_text() == before
    assert file.stat().st_mode & 0o777 == Path(answer["data"]["backup"]).stat().st_mode & 0o777
    # An object of JSON is HOCON too; NanoMQ's answer has nothing but the code.
    assert post(broker, "/config_update", b'{"data": {"mqtt": {"max_mqueue_len": 7}}}', "nanomq") == (200, {"code": 0})
    again = tomllib.loads(file.read_text())
    assert again["zone"]["external"]["max_mqueue_len"] == 7
    # What it does not say is as it was.
    again["zone"]["external"]["max_mqueue_len"] = 2048
    assert again == tables
    assert [path.name for path in file.parent.iterdir() if "update" in path.name] == []
    assert post(broker, "/ctrl/restart", b"") == (200, {"code": 0})
    broker.started(5)
    accepted(broker, "a").close()
    broker.stop()
