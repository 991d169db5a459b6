"""
Tests for L{twisted_mqtt.management.pages}.
"""

from __future__ import annotations

import re

import pytest
from twisted.internet.protocol import Factory

from tests.kits.rest import Rest
from twisted_mqtt.config.schema_ports import TCPPortSettings
from twisted_mqtt.config.values import Bind
from twisted_mqtt.interfaces.node import NodeState
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


@pytest.mark.parametrize(
    ("state", "stopping", "reason"),
    [
        ("starting", False, "The node is starting"),
        ("stopping", False, "The node is about to shut down"),
        ("stopping", True, "The node is shutting down"),
    ],
)
def test_notReady(state: NodeState, stopping: bool, reason: str) -> None:
    """
    A node that starts or ends is alive, its ports may be open, and no clients are to be sent to it.
    """
    for path in ("/health", "/status"):
        rest = Rest(path=path)
        rest.memory.node.state = state
        rest.memory.broker.stopping = stopping
        answer = rest.call("GET", "", user=None, host="192.0.2.1")
        assert answer.status == 503
        assert reason in answer.body.decode()
        if path == "/health":
            assert answer.json == {"status": "DOWN", "reasons": [reason]}
            assert rest.call("GET", "/ping", user=None).status == 200
            assert rest.call("GET", "/listeners", user=None).status == 200


def test_healthOfPorts() -> None:
    """
    A port for clients that does not listen is named.
    """
    rest = Rest(path="/health")
    rest.memory.node.listen(TCPPortSettings(bind=Bind("127.0.0.1", 1)), Factory(), "stomp")
    assert rest.call("GET", "", user=None).status == 200
    rest.memory.node.ports["stomp"].stop()
    for path in ("", "/listeners"):
        answer = rest.call("GET", path, user=None)
        assert (answer.status, answer.json["reasons"]) == (503, ["Listeners are not ready: [stomp]"])
    assert rest.call("GET", "/ping", user=None).status == 200


def test_statusText() -> None:
    """
    Who does not ask for HTML, as a load balancer, hears in a line whether clients are to be sent here.
    """
    rest = Rest(path="/status")
    for accept in ("", "*/*", "text/plain"):
        answer = rest.call("GET", "", user=None, host="192.0.2.1", headers={"Accept": accept})
        assert (answer.status, answer.body) == (200, f"Node {rest.memory.broker.nodeName} is started\n".encode())
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    rest.memory.broker.store.progress.broken = True
    answer = rest.call("HEAD", "", user=None, host="192.0.2.1")
    assert (answer.status, answer.body) == (503, b"")
    assert rest.call("GET", "/", user=None).body == b"The store can't be written\n"
    assert rest.call("GET", "/json", user=None).status == 404
    assert rest.call("POST", "", user=None).status == 405


def test_statusPage() -> None:
    """
    A browser gets a page that needs nothing from elsewhere, and may load and run nothing else; from another machine it
    needs credentials.
    """
    rest = Rest(path="/status")
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    answer = rest.call("GET", "", user=None, headers=browser)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = answer.body.decode()
    # Neither addresses, nor what the policy would forbid: styles and scripts in attributes.
    assert not re.search(r"https?://|//[a-z]|<[^>]* style=|<[^>]* on[a-z]+=|<link|<img|src=", page)
    assert "innerHTML" not in page and "insertAdjacentHTML" not in page and "document.write" not in page
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy
    assert rest.call("GET", "", user=None, headers=browser, host="192.0.2.1").status == 401
    denied = rest.call("GET", "", user="x:y", headers=browser, host="192.0.2.1")
    assert denied.status == 401 and denied.headers["www-authenticate"].startswith("Basic")


def test_statusJSON() -> None:
    """
    The members of VerneMQ's page, and what ours shows besides; for this machine, and for applications that may read.
    """
    rest = Rest(path="/status.json")
    rest.memory.client("a", sessionExpiry=1000).disconnect()
    rest.memory.client("b").subscribe("x/#")
    rest.memory.client("c").publish("x/y", b"1", retain=True)
    rest.memory.node.listen(TCPPortSettings(bind=Bind("127.0.0.1", 1)), Factory(), "stomp")
    rest.memory.broker.alarms.activate("<b>", "critical", "<i>", "</script>")
    rest.memory.wait(90)
    (nodes,) = rest.call("GET", "", user=None).json
    ((name, status),) = nodes.items()
    assert name == rest.memory.broker.nodeName
    assert {key: value for key, value in status.items() if isinstance(value, int)} == {
        "num_online": 2,
        "num_offline": 1,
        "msg_in": 1,
        "msg_out": 1,
        "queue_in": 1,
        "queue_out": 1,
        "queue_drop": 0,
        "queue_unhandled": 0,
        "num_subscriptions": 1,
        "num_retained": 1,
        "matches_local": 1,
        "matches_remote": 0,
    }
    assert status["mystatus"] == [{name: True}]
    assert status["listeners"] == [
        {"type": "stomp:tcp", "status": "running", "ip": "127.0.0.1", "port": 1, "mountpoint": "", "max_conns": 0}
    ]
    assert status["reasons"] == []
    (alarm,) = status["alarms"]
    assert (alarm["name"], alarm["title"], alarm["summary"]) == ("<b>", "<i>", "</script>")
    assert alarm["seconds"] == 90
    assert rest.call("GET", "", user=None, host="192.0.2.1").status == 401
