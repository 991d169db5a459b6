"""
A real Prometheus, which scrapes a broker.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import StartBroker
from tests.system.metricservers import Prometheus, eventually
from tests.system.process import ROOT, Broker
from tests.system.rawclient import accepted, publish

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus (Debian: prometheus)")

PAGES = {"vernemq": "/metrics", "emqx": "/api/v4/emqx_prometheus", "nanomq": "/api/v4/prometheus"}


@pytest.fixture
def managed(startBroker: StartBroker) -> Broker:
    """
    A broker with a REST API.
    """
    return startBroker(
        {"plugins": {"load": ["management"]}, "management": {"listener": {"http": {"bind": "127.0.0.1:0"}}}}, 2
    )


@pytest.fixture
def prometheus(managed: Broker, tmp_path: Path) -> Iterator[Prometheus]:
    """
    A Prometheus that scrapes it.
    """
    port = managed.ports["management.listener.http"]
    started = Prometheus(tmp_path / "prometheus", {style: (port, path) for style, path in PAGES.items()})
    yield started
    started.end()


def test_scraped(managed: Broker, prometheus: Prometheus) -> None:
    """
    Prometheus takes all three pages, by the names of each broker, with types and help; and sees what clients do.
    """
    everywhere = dict.fromkeys(PAGES, 1.0)

    def scraped(expression: str) -> bool | None:
        return prometheus.query(expression) == everywhere or None

    eventually(lambda: scraped("up == 1"), "a scrape of each page")
    with closing(accepted(managed, "a")) as client:
        client.sendall(publish("a/b", b"1") * 3)
        for style, name in (
            ("vernemq", "mqtt_publish_received"),
            ("emqx", "emqx_packets_publish_received"),
            ("nanomq", "nanomq_messages_received"),
        ):
            seen = eventually(lambda name=name: prometheus.query(f"{name} >= 3"), f"three messages as {name}")
            assert seen == {style: 3}
        connected = '{__name__=~"connections_count|emqx_connections_count|nanomq_connections_count"} == 1'
        eventually(lambda: scraped(connected), "the connection")
    assert eventually(lambda: prometheus.query('mqtt_connect_received{node="test@127.0.0.1"} == 1'), "the node")
    assert eventually(lambda: prometheus.query('scrape_samples_scraped{job!="nanomq"} > 100'), "how many samples")
    assert eventually(lambda: prometheus.query("vm_memory_total > 1e6"), "the memory of the process")
    assert eventually(lambda: prometheus.query("messages_route_seconds_count >= 1"), "a message that was measured")
    metadata = prometheus.metadata()
    assert metadata["messages_route_seconds"]["type"] == "histogram"
    assert metadata["mqtt_publish_received"]["type"] == "counter"
    assert metadata["mqtt_publish_received"]["help"] == "PUBLISH packets received, by version of MQTT"
    assert metadata["connections_count"]["type"] == "gauge"
    assert "unknown" not in {row["type"] for row in metadata.values()}


DASHBOARD = json.loads((ROOT / "etc" / "grafana-dashboard.json").read_text(encoding="utf-8"))


def panels() -> list[dict[str, Any]]:
    """
    What the dashboard shows.
    """
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """
    All expressions of the dashboard.
    """
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def namesIn(expression: str) -> set[str]:
    """
    The metrics that an expression names: words that are no functions, no labels, and no part of a text.
    """
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]|\bby \([^)]*\)', " ", expression)
    return set(re.findall(r"\b[a-z_]\w*\b(?!\s*\()", bare)) - {"by"}


def test_namesIn() -> None:
    """
    Names are found in an expression, and nothing else.
    """
    expression = 'sum by (node, le) (rate(a_b{node=~"$node", x="c_d"}[$__rate_interval])) / 2 + max(e)'
    assert namesIn(expression) == {"a_b", "e"}


def test_dashboard(managed: Broker, prometheus: Prometheus) -> None:
    """
    Each expression of the dashboard names metrics that the broker exports, and Prometheus finds something for it; all
    panels ask the data source that is chosen.
    """
    asked = expressions()
    assert len(asked) > 50
    with closing(accepted(managed, "a")) as client:
        client.sendall(publish("a/b", b"1"))
        eventually(lambda: prometheus.query("mqtt_publish_received >= 1"), "a message")
        known = prometheus.names()
        assert {name for expression in asked for name in namesIn(expression)} - known == set()
        # Every metric that the message is counted by is there now; rates need a second scrape.
        for expression in asked:
            given = expression.replace("$__rate_interval", "30s").replace("$node", "test@127.0.0.1")
            assert "$" not in given
            eventually(lambda given=given: prometheus.evaluate(given), given)
    for panel in panels():
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}, panel["title"]
    for one, other in combinations(DASHBOARD["panels"], 2):
        assert one["id"] != other["id"]
        # None lies over another.
        a, b = one["gridPos"], other["gridPos"]
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart = beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart, (one["title"], other["title"])
