"""
Tests for L{twisted_mqtt.management.rest.older}: the APIs of EMQ X before 4.0 (spec/rest-api.md 5).
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.protocol import Factory

from tests.kits.rest import Rest
from twisted_mqtt.config.schema_ports import TCPPortSettings
from twisted_mqtt.config.values import Bind
from twisted_mqtt.management.rest.older import CALLS
from twisted_mqtt.management.settings import ManagementSettings
from twisted_mqtt.testing.extension import resultOf


def restOf(version: int) -> Rest:
    """
    A broker with one of them, and a client.
    """
    rest = Rest(ManagementSettings(modules=(f"api_v{version}",)), path=f"/api/v{version}")
    rest.memory.client("C_1492145414740", 4, username="anna", keepAlive=60).subscribe("t/+", qos=1)
    settings = TCPPortSettings(bind=Bind("127.0.0.1", 1883))
    resultOf(rest.memory.node.listen(settings, Factory(), "mqtt.tcp"))
    return rest


def result(rest: Rest, method: str, path: str, body: object = None) -> Any:
    """
    The result of a call of C{/api/v2}.
    """
    answer = rest.call(method, path.replace("NODE", rest.memory.broker.nodeName), body)
    assert answer.status == 200, answer
    assert set(answer.json) == {"code", "result"}
    assert answer.json["code"] == 0
    return answer.json["result"]


def test_sample() -> None:
    """
    5.1: the sample.
    """
    found = result(restOf(2), "GET", "/nodes/NODE/clients?curr_page=1&page_size=20")
    (row,) = found.pop("objects")
    assert found == {"current_page": 1, "page_size": 20, "total_num": 1, "total_page": 1}
    assert list(row) == "client_id username ipaddress port clean_sess proto_ver keepalive connected_at".split()
    assert (row["client_id"], row["ipaddress"], row["clean_sess"]) == ("C_1492145414740", "127.0.0.1", True)
    assert (row["proto_ver"], row["keepalive"]) == (4, 60)


IDENTITY = "version sysdescr uptime datetime otp_release node_status"
LOAD = (
    "name otp_release memory_total memory_used process_available process_used max_fds clients node_status load1 load5"
    " load15"
)
CLIENT = "client_id username ipaddress port clean_sess proto_ver keepalive connected_at"
SESSION = (
    "client_id clean_sess max_inflight inflight_queue message_queue message_dropped awaiting_rel awaiting_ack"
    " awaiting_comp created_at"
)
PAGED = "current_page page_size total_num total_page objects"
LISTENER = "protocol listen acceptors max_clients current_clients shutdown_count"


@pytest.mark.parametrize(
    ("path", "members", "row"),
    [
        ("/management/nodes", "", f"name {IDENTITY}"),
        ("/management/nodes/NODE", IDENTITY, ""),
        ("/monitoring/nodes", "", LOAD),
        ("/monitoring/nodes/NODE", LOAD, ""),
        ("/nodes/NODE/clients", PAGED, CLIENT),
        ("/nodes/NODE/clients/C_1492145414740", "objects", CLIENT),
        ("/clients/C_1492145414740", "objects", CLIENT),
        ("/nodes/NODE/sessions", PAGED, SESSION),
        ("/nodes/NODE/sessions/C_1492145414740", "objects", SESSION),
        ("/sessions/C_1492145414740", "objects", SESSION),
        ("/nodes/NODE/subscriptions", PAGED, "client_id topic qos"),
        ("/nodes/NODE/subscriptions/C_1492145414740", "objects", "client_id topic qos"),
        ("/subscriptions/C_1492145414740", "objects", "client_id topic qos"),
        ("/routes", PAGED, "topic node"),
        ("/routes/t%2F%2B", "objects", "topic node"),
        ("/nodes/NODE/plugins/", "", "name version description active"),
        ("/monitoring/listeners/NODE", "", LISTENER),
    ],
)
def test_shapes(path: str, members: str, row: str) -> None:
    """
    5.1: the members of each result.
    """
    found = result(restOf(2), "GET", path)
    if members:
        assert set(found) == set(members.split())
        found = found.get("objects", [])
    if row:
        assert found
        assert all(set(one) == set(row.split()) for one in found)


def test_byNode() -> None:
    """
    5.1: figures and listeners of each node; the names of then have slashes.
    """
    rest = restOf(2)
    node = rest.memory.broker.nodeName
    (listener,) = result(rest, "GET", "/monitoring/listeners")[node]
    assert set(listener) == set(LISTENER.split())
    metrics = result(rest, "GET", "/monitoring/metrics/")[node]
    assert len(metrics) == 39
    assert (metrics["packets/connect"], metrics["packets/connack"], metrics["packets/suback"]) == (1, 1, 1)
    assert result(rest, "GET", "/monitoring/metrics/NODE")["packets/connect"] == 1
    stats = result(rest, "GET", "/monitoring/stats")[node]
    assert len(stats) == 14
    assert (stats["clients/count"], stats["subscriptions/count"]) == (1, 1)
    assert set(result(rest, "GET", "/monitoring/stats/NODE")) == set(stats)


def test_acting() -> None:
    """
    5.1: publishing, subscribing and sending away, with C{client_id}; the result is an empty list.
    """
    rest = restOf(2)
    reader = rest.memory.client("r")
    who = {"client_id": "r"}
    assert result(rest, "POST", "/mqtt/subscribe", {**who, "topic": "a", "qos": 1}) == []
    assert result(rest, "POST", "/mqtt/publish", {**who, "topic": "a", "payload": "x", "qos": 1}) == []
    assert reader.payloads() == [b"x"]
    assert result(rest, "POST", "/mqtt/unsubscribe", {**who, "topic": "a"}) == []
    assert result(rest, "DELETE", "/clients/r") == []
    assert result(rest, "GET", "/clients/r") == {"objects": []}


def test_pages() -> None:
    """
    5.1: pages, and how many there are.
    """
    rest = restOf(2)
    for number in range(4):
        rest.memory.client(f"c{number}")
    pages = [result(rest, "GET", f"/nodes/NODE/clients?curr_page={page}&page_size=2") for page in (1, 2, 3, 4)]
    assert [len(page["objects"]) for page in pages] == [2, 2, 1, 0]
    assert [(page["current_page"], page["total_num"], page["total_page"]) for page in pages] == [
        (number, 5, 3) for number in (1, 2, 3, 4)
    ]
    assert len({row["client_id"] for page in pages for row in page["objects"]}) == 5


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "says"),
    [
        ("GET", "/nothing", None, 404, "no such call"),
        ("POST", "/clients/a", None, 405, "GET, DELETE"),
        ("GET", "/nodes/other@host/clients", None, 404, "node"),
        ("GET", "/nodes/NODE/clients?curr_page=0", None, 400, "curr_page"),
        ("GET", "/nodes/NODE/clients?page_size=x", None, 400, "page_size"),
        ("GET", "/routes/%FF", None, 400, "UTF-8"),
        ("POST", "/mqtt/publish", b"{", 400, "JSON"),
        ("POST", "/mqtt/publish", [], 400, "list"),
        ("POST", "/mqtt/publish", {}, 400, "topic"),
        ("PUT", "/nodes/NODE/plugins/stomp", {}, 400, "active"),
        ("PUT", "/nodes/NODE/plugins/stomp", {"active": "perhaps"}, 400, "active"),
        ("PUT", "/nodes/NODE/plugins/nothing", {"active": True}, 404, "nothing"),
        ("PUT", "/nodes/NODE/plugins/stomp", {"active": False}, 500, "not_started"),
        ("DELETE", "/clients/nobody", None, 404, "nobody"),
    ],
)
def test_wrong(method: str, path: str, body: object, status: int, says: str) -> None:
    """
    What is wrong has a status, a code and a message.
    """
    rest = restOf(2)
    answer = rest.call(method, path.replace("NODE", rest.memory.broker.nodeName), body)
    assert answer.status == status, answer
    assert answer.json["code"]
    assert says in answer.json["message"]


def test_rights() -> None:
    """
    Credentials and rights are those of any call.
    """
    rest = restOf(2)
    assert rest.call("GET", "/routes", user=None).status == 401
    operations = rest.memory.node.operations
    named = {old.operation for old in CALLS if "{" not in old.operation}
    assert {name for name in named if operations.get(name) is None} == set()


def test_version3() -> None:
    """
    5.2: the calls of 4.0 by the names of before.
    """
    rest = restOf(3)
    node = rest.memory.broker.nodeName
    for path in (
        "/connections",
        "/connections/C_1492145414740",
        f"/nodes/{node}/connections",
        f"/nodes/{node}/connections/C_1492145414740",
    ):
        (row,) = rest.call("GET", path).data
        assert row["client_id"] == "C_1492145414740"
    body = {"topic": "t", "payload": "x", "client_id": "C_1492145414740"}
    assert rest.call("POST", "/mqtt/publish", body).json == {"code": 0}
    assert rest.call("POST", "/mqtt/subscribe", {**body, "topic": "u"}).json == {"code": 0}
    assert rest.call("POST", "/mqtt/unsubscribe_batch", [body, 7]).data[0] == {
        "clientid": "C_1492145414740",
        "topic": "t",
        "code": 0,
    }
    assert len(rest.call("GET", "/subscriptions?client_id=C_1492145414740").data) == 2
    assert rest.call("GET", "/sessions").status == 404
