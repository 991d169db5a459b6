"""
Tests for L{twisted_mqtt.management.pages} and L{twisted_mqtt.management.exposition}.
"""

from __future__ import annotations

import re

import pytest

from tests.kits.rest import Rest
from twisted_mqtt.base.metrics import Metrics
from twisted_mqtt.management.exposition import expose
from twisted_mqtt.management.settings import ManagementSettings


def test_expose() -> None:
    """
    Counters, gauges and histograms in the text format, labels escaped.
    """
    metrics = Metrics()
    metrics.counter("a.sent", "Sent\nby \\", ("to",)).of('x"\\\n').value += 2
    metrics.gauge("b.count", "There", read=lambda: 1.5)
    metrics.histogram("c", "Seconds", (0.5, 1)).own.observe(0.7)
    assert expose(metrics.collect(), "emqx", "n@h").splitlines() == [
        "# HELP emqx_a_sent Sent\\nby \\\\",
        "# TYPE emqx_a_sent counter",
        'emqx_a_sent{node="n@h",to="x\\"\\\\\\n"} 2',
        "# HELP emqx_b_count There",
        "# TYPE emqx_b_count gauge",
        'emqx_b_count{node="n@h"} 1.5',
        "# HELP emqx_c Seconds",
        "# TYPE emqx_c histogram",
        'emqx_c_bucket{node="n@h",le="0.5"} 0',
        'emqx_c_bucket{node="n@h",le="1"} 1',
        'emqx_c_bucket{node="n@h",le="+Inf"} 1',
        'emqx_c_sum{node="n@h"} 0.7',
        'emqx_c_count{node="n@h"} 1',
    ]
    lines = expose(metrics.collect(), "emqx", openMetrics=True).splitlines()
    assert "# TYPE emqx_a_sent counter" in lines
    assert 'emqx_a_sent_total{to="x\\"\\\\\\n"} 2' in lines
    assert lines[-1] == "# EOF"


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ("vernemq", 'mqtt_connect_received{node="NODE"} 1'),
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


def test_openMetrics() -> None:
    """
    OpenMetrics for who asks for it.
    """
    rest = Rest(path="/metrics")
    answer = rest.call("GET", "", headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.endswith(b"# EOF\n")


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
