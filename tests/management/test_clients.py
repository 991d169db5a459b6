"""
Tests for L{twisted_mqtt.management.builtin.clients}.
"""

from __future__ import annotations

import pytest

from tests.kits.rest import Rest
from twisted_mqtt.management.settings import ManagementSettings

# spec/rest-api.md 2.4: always all present.
FIELDS = """
clientid username node zone ip_address port proto_name proto_ver connected connected_at created_at clean_start keepalive
expiry_interval is_bridge subscriptions_cnt max_subscriptions inflight max_inflight mqueue_len max_mqueue mqueue_dropped
awaiting_rel max_awaiting_rel recv_oct send_oct recv_cnt send_cnt recv_pkt send_pkt recv_msg send_msg heap_size
mailbox_len reductions
""".split()


def test_fields() -> None:
    """
    A client has the 35 fields of EMQ X and those of NanoMQ.
    """
    rest = Rest()
    rest.memory.client("one", username="anna", keepAlive=60)
    (row,) = rest.call("GET", "/clients/").data
    assert set(FIELDS) <= set(row)
    assert len(FIELDS) == 35
    assert {name: row[name] for name in ("clientid", "client_id", "username", "connected", "conn_state")} == {
        "clientid": "one",
        "client_id": "one",
        "username": "anna",
        "connected": True,
        "conn_state": "connected",
    }
    assert (row["ip_address"], row["proto_name"], row["proto_ver"], row["keepalive"]) == ("127.0.0.1", "MQTT", 5, 60)


def test_pages() -> None:
    """
    Pages hold all clients between them, each once, and say how many there are.
    """
    rest = Rest()
    for number in range(7):
        rest.memory.client(f"c{number}")
    seen = []
    for page in (1, 2, 3, 4):
        answer = rest.call("GET", f"/clients?_page={page}&_limit=3")
        assert answer.json["meta"] == {"page": page, "limit": 3, "count": 7}
        seen += [row["clientid"] for row in answer.data]
    assert sorted(seen) == [f"c{number}" for number in range(7)]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("username=anna", ["a"]),
        ("clientid=b", ["b"]),
        ("proto_ver=4", ["b"]),
        ("conn_state=disconnected", ["away"]),
        ("conn_state=connected&proto_ver=5", ["a"]),
        ("ip_address=10.0.0.1", []),
        ("keepalive=30", ["a"]),
    ],
)
@pytest.mark.shows("list_clients")
def test_filters(query: str, found: list[str]) -> None:
    """
    Filters choose, all of them together, and the count is that of what they have chosen.
    """
    rest = Rest()
    rest.memory.client("a", username="anna", keepAlive=30)
    rest.memory.client("b", version=4)
    rest.memory.client("away", sessionExpiry=1000).disconnect()
    answer = rest.call("GET", f"/clients?{query}")
    assert [row["clientid"] for row in answer.data] == found
    assert answer.json["meta"]["count"] == len(found)


@pytest.mark.shows("lookup_client")
def test_lookUp() -> None:
    """
    One client is found by its identifier, whatever characters that has; an unknown one is an empty list.
    """
    rest = Rest()
    for name in ("mosqsub/1-a.lo", "username", "a b+#", "Ä"):
        rest.memory.client(name)
    for path, name in (
        ("mosqsub%2F1-a.lo", "mosqsub/1-a.lo"),
        ("username", "username"),
        ("a%20b%2B%23", "a b+#"),
        ("%C3%84", "Ä"),
    ):
        assert [row["clientid"] for row in rest.call("GET", f"/clients/{path}").data] == [name]
    assert rest.call("GET", "/clients/nobody").data == []


def test_lookUpInNanoMQ() -> None:
    """
    NanoMQ's dialect says 404 for an unknown client.
    """
    assert Rest(ManagementSettings(dialect="nanomq")).call("GET", "/clients/nobody").status == 404


@pytest.mark.shows("lookup_client_via_username")
def test_user() -> None:
    """
    The clients of a user; node in the path too.
    """
    rest = Rest()
    node = rest.memory.broker.nodeName
    rest.memory.client("a", username="anna")
    rest.memory.client("b", username="bob")
    for path in ("/clients/username/bob", f"/nodes/{node}/clients/username/bob"):
        assert [row["clientid"] for row in rest.call("GET", path).data] == ["b"]
    assert rest.call("GET", "/nodes/other@host/clients").status == 404


@pytest.mark.shows("kickout_client")
def test_kick() -> None:
    """
    A client that is sent away loses its session; there is a second time no such client.
    """
    rest = Rest()
    peer = rest.memory.client("a", sessionExpiry=1000)
    assert rest.call("DELETE", "/clients/a").json == {"code": 0}
    peer.expectClosed(0x98)
    assert "a" not in rest.memory.broker.sessions
    answer = rest.call("DELETE", "/clients/a")
    assert (answer.status, answer.json["code"]) == (404, 112)


@pytest.mark.parametrize("name", ["a/b", "%2E", "a b", "\u00e9", "...", "../x"])
def test_namesInPaths(name: str) -> None:
    """
    Any name but C{.} and C{..}, which the port refuses, can stand in a path, with every sign of it escaped; and in a
    query.
    """
    rest = Rest()
    rest.memory.client(name)
    escaped = "".join(f"%{byte:02X}" for byte in name.encode())
    assert [row["clientid"] for row in rest.call("GET", f"/clients/{escaped}").data] == [name]
    assert [row["clientid"] for row in rest.call("GET", f"/clients?clientid={escaped}").data] == [name]
    assert rest.call("DELETE", f"/clients/{escaped}").status == 200
    assert rest.call("GET", f"/clients/{escaped}").data == []


@pytest.mark.parametrize("name", ["..", "."])
def test_namesOfFolders(name: str) -> None:
    """
    Clients that are called so are named in a query.
    """
    rest = Rest()
    rest.memory.client(name)
    assert [row["clientid"] for row in rest.call("GET", f"/clients?clientid={name}").data] == [name]
