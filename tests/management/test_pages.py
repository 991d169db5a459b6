"""
Tests for L{twisted_mqtt.management.pages}.
"""

from __future__ import annotations

import re

import pytest

from tests.kits.rest import Rest
from twisted_mqtt.management.settings import ManagementSettings


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ("vernemq", 'mqtt_connect_received{node="NODE",mqtt_version="5"} 1'),
        ("emqx", 'emqx_packets_connect_received{node="NODE"} 1'),
        ("nanomq", 'nanomq_connections_count{node="NODE"} 1'),
    ],
)
def test_names(names: str, line: str) -> None:
    """
    Metrics have the names of the broker that is asked for; each name is there once.
    """
    rest = Rest(ManagementSettings(metric_names=names), path="/metrics")
    rest.memory.client("a")
    answer = rest.call("GET", "", user=None)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.body.decode()
    assert line.replace("NODE", rest.memory.broker.nodeName) in text.splitlines()
    declared = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(declared) == len(set(declared))


def test_prefix() -> None:
    """
    The names at C{/metrics} begin as the configuration says.
    """
    rest = Rest(ManagementSettings(metric_prefix="site1_"), path="/metrics")
    lines = rest.call("GET", "").body.decode().splitlines()
    assert all(re.match(r"(# (HELP|TYPE) )?site1_", line) for line in lines)


def test_openMetrics() -> None:
    """
    OpenMetrics for who asks for it and for nothing else.
    """
    rest = Rest(path="/metrics")
    answer = rest.call("GET", "", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


@pytest.mark.shows("prometheus", "emqx_prometheus")
def test_metricsElsewhere() -> None:
    """
    From another machine they are for applications.
    """
    rest = Rest(path="/metrics")
    assert rest.call("GET", "", user=None, host="192.0.2.1").status == 401
    api = Rest()
    assert b"nanomq_messages_received 0\n" in api.call("GET", "/prometheus").body
    assert b"emqx_packets_publish_received 0\n" in api.call("GET", "/emqx_prometheus").body
    assert api.call("GET", "/emqx_prometheus?type=json").data["metrics"]["bytes.received"] == 0
    assert api.call("GET", "/emqx_prometheus?type=xml").status == 400


def test_health() -> None:
    """
    A node whose store has failed works, and no clients are to be sent to it.
    """
    rest = Rest(path="/health")
    for path in ("", "/", "/ping", "/listeners"):
        answer = rest.call("GET", path, user=None, host="192.0.2.1")
        assert (answer.status, answer.json) == (200, {"status": "OK"})
    rest.memory.broker.store.progress.broken = True
    answer = rest.call("GET", "", user=None)
    assert (answer.status, answer.json) == (503, {"status": "DOWN", "reasons": ["The store can't be written"]})
    assert rest.call("GET", "/ping", user=None).status == 200
    assert rest.call("GET", "/nothing", user=None).status == 404
