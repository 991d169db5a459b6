"""
Metrics as they come to a real carbon, StatsD and push gateway.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.system.conftest import StartBroker
from tests.system.metricservers import STATSD, Carbon, PushGateway, StatsD, eventually, freePort
from tests.system.rawclient import accepted, publish


def needs(program: str, package: str) -> pytest.MarkDecorator:
    """
    Skip a test without a program.
    """
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program} (Debian: {package})")


@pytest.fixture
def servers() -> Iterator[list[Carbon | StatsD | PushGateway]]:
    """
    Servers that are ended after the test.
    """
    started: list[Carbon | StatsD | PushGateway] = []
    yield started
    for server in started:
        server.end()


@needs("carbon-cache", "graphite-carbon")
def test_graphite(startBroker: StartBroker, tmp_path: Path, servers: list[Carbon | StatsD | PushGateway]) -> None:
    """
    A broker that is there before carbon sends to it once it comes, and again when it comes back.
    """
    port = freePort()
    broker = startBroker(
        {
            "plugins": {"load": ["graphite"]},
            "graphite": {
                "host": "127.0.0.1",
                "port": port,
                "interval": "300ms",
                "prefix": "vmq",
                "reconnect_timeout": "1s",
            },
        }
    )
    broker.waitFor(f"Graphite at 127.0.0.1:{port} does not take metrics: .*refused")
    carbon = Carbon(tmp_path / "carbon", port)
    servers.append(carbon)
    broker.waitFor("takes metrics again")
    with closing(accepted(broker, "a")) as client:
        client.sendall(publish("a/b", b"1") * 3)
        name = "vmq.mqtt.publish.received"
        eventually(lambda: carbon.last(name) == 3 or None, "three messages")
        eventually(lambda: carbon.last("vmq.connections.count") == 1 or None, "the connection")
        # Every metric has its file.
        assert len(list(carbon.whisper.joinpath("vmq").rglob("*.wsp"))) > 100
        carbon.end()
        client.sendall(publish("a/b", b"1") * 2)
        servers.append(again := Carbon(tmp_path / "carbon", port))
        eventually(lambda: again.last(name) == 5 or None, "five messages")


@pytest.mark.skipif(not STATSD.exists(), reason="needs npm install in tests/")
def test_statsd(startBroker: StartBroker, tmp_path: Path, servers: list[Carbon | StatsD | PushGateway]) -> None:
    """
    StatsD adds up what counters have grown by, also what they grew by while it was away, and finds no line wrong.
    """
    port = freePort(socket.SOCK_DGRAM)
    broker = startBroker(
        {
            "plugins": {"load": ["emqx_statsd"]},
            "statsd": {
                "host": "127.0.0.1",
                "port": port,
                "sample_time_interval": "300ms",
                "tag": {"1": {"key": "site", "value": "north"}},
            },
        }
    )
    broker.waitFor(f"StatsD at 127.0.0.1:{port} does not take metrics: nobody listens there")
    with closing(accepted(broker, "a")) as client:
        client.sendall(publish("a/b", b"1") * 3)
        servers.append(statsd := StatsD(tmp_path / "statsd", port))
        broker.waitFor("takes metrics again")
        name = "emqx.packets.publish.received;site=north"
        eventually(lambda: statsd.value("counters", name) == 3 or None, "three messages")
        client.sendall(publish("a/b", b"1") * 2)
        eventually(lambda: statsd.value("counters", name) == 5 or None, "five messages")
        assert statsd.value("gauges", "emqx.connections.count;site=north") == 1
    assert statsd.value("counters", "statsd.bad_lines_seen") == 0


@needs("prometheus-pushgateway", "prometheus-pushgateway")
def test_pushGateway(startBroker: StartBroker, tmp_path: Path, servers: list[Carbon | StatsD | PushGateway]) -> None:
    """
    A push gateway has everything under the job and the instance of the node, and gets it again when it comes back.
    """
    port = freePort()
    broker = startBroker(
        {
            "plugins": {"load": ["statsd"]},
            "statsd": {"push": {"gateway": {"server": f"http://127.0.0.1:{port}/"}}, "interval": "300ms"},
        }
    )
    broker.waitFor(f"the push gateway at http://127.0.0.1:{port} does not take metrics: .*refused")
    gateway = PushGateway(tmp_path / "gateway", port)
    servers.append(gateway)
    broker.waitFor("takes metrics again")
    with closing(accepted(broker, "a")) as client:
        client.sendall(publish("a/b", b"1") * 3)
        line = 'emqx_packets_publish_received{instance="test~127.0.0.1",job="test"} 3'
        eventually(lambda: line in (gateway.metrics() or "") or None, "three messages")
        assert "# TYPE emqx_packets_publish_received counter" in (gateway.metrics() or "")
        gateway.end()
        servers.append(again := PushGateway(tmp_path / "gateway", port))
        eventually(lambda: line in (again.metrics() or "") or None, "three messages again")
    assert "StatsD" not in broker.text
