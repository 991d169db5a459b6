"""
Tests for the REST calls of EMQ X 4.0 as a whole: which there are, and what they answer at least.
"""

from __future__ import annotations

import pytest

from tests.kits.rest import Rest

# Of the index of spec/rest-api.md 2: those of extensions that come later are left out.
INDEX = """
list_brokers GET /brokers/
get_broker GET /brokers/:node
list_nodes GET /nodes/
get_node GET /nodes/:node
list_clients GET /clients/
list_node_clients GET /nodes/:node/clients/
lookup_client GET /clients/:clientid
lookup_node_client GET /nodes/:node/clients/:clientid
lookup_client_via_username GET /clients/username/:username
lookup_node_client_via_username GET /nodes/:node/clients/username/:username
kickout_client DELETE /clients/:clientid
list_acl_cache GET /clients/:clientid/acl_cache
clean_acl_cache DELETE /clients/:clientid/acl_cache
list_subscriptions GET /subscriptions/
lookup_client_subscriptions GET /subscriptions/:clientid
list_node_subscriptions GET /nodes/:node/subscriptions/
lookup_client_subscriptions_with_node GET /nodes/:node/subscriptions/:clientid
list_routes GET /routes/
lookup_routes GET /routes/:topic
mqtt_publish POST /mqtt/publish
mqtt_subscribe POST /mqtt/subscribe
mqtt_unsubscribe POST /mqtt/unsubscribe
mqtt_publish_batch POST /mqtt/publish_batch
mqtt_subscribe_batch POST /mqtt/subscribe_batch
mqtt_unsubscribe_batch POST /mqtt/unsubscribe_batch
list_all_plugins GET /plugins/
list_node_plugins GET /nodes/:node/plugins/
load_node_plugin PUT /nodes/:node/plugins/:plugin/load
unload_node_plugin PUT /nodes/:node/plugins/:plugin/unload
reload_node_plugin PUT /nodes/:node/plugins/:plugin/reload
unload_plugin PUT /plugins/:plugin/unload
reload_plugin PUT /plugins/:plugin/reload
list_listeners GET /listeners/
list_node_listeners GET /nodes/:node/listeners
list_all_metrics GET /metrics/
list_node_metrics GET /nodes/:node/metrics/
list_stats GET /stats/
lookup_node_stats GET /nodes/:node/stats/
list_all_alarms GET /alarms/present
list_node_alarms GET /alarms/present/:node
list_all_alarm_history GET /alarms/history
list_node_alarm_history GET /alarms/history/:node
list_banned GET /banned/
create_banned POST /banned/
delete_banned DELETE /banned/:who
list_apps GET /apps/
lookup_app GET /apps/:appid
add_app POST /apps/
update_app PUT /apps/:appid
del_app DELETE /apps/:appid
""".strip().splitlines()


@pytest.mark.shows("list_calls")
def test_index() -> None:
    """
    All calls are there, by these names, methods and paths.
    """
    rows = {f"{row['name']} {row['method']} {row['path']}" for row in Rest().call("GET", "/").data}
    assert set(INDEX) - rows == set()


@pytest.mark.shows("list_brokers", "get_broker")
def test_broker() -> None:
    """
    The broker in the list of all, and by its name.
    """
    checkNode("/brokers", "datetime node node_status otp_release sysdescr uptime version")


@pytest.mark.shows("list_nodes", "get_node")
def test_node() -> None:
    """
    The node in the list of all, and by its name, where its memory is a number.
    """
    rest = checkNode(
        "/nodes",
        "connections load1 load5 load15 max_fds memory_total memory_used name node node_status otp_release"
        " process_available process_used uptime version",
    )
    (row,) = rest.call("GET", "/nodes").data
    assert row["memory_used"].endswith("M")
    assert rest.call("GET", f"/nodes/{row['node']}").data["memory_used"] > 1_000_000


def checkNode(path: str, fields: str) -> Rest:
    """
    A node is in the list of all, and by its name, where it does not say its node.
    """
    rest = Rest()
    node = rest.memory.broker.nodeName
    (row,) = rest.call("GET", path).data
    assert set(row) == set(fields.split())
    assert (row["node"], row["node_status"]) == (node, "Running")
    one = rest.call("GET", f"{path}/{node}").data
    assert set(one) == set(fields.split()) - {"node"}
    assert rest.call("GET", f"{path}/other@host").status == 404
    return rest


@pytest.mark.shows("list_all_metrics", "list_node_metrics", "lookup_node_stats")
def test_metrics() -> None:
    """
    Counters count, gauges measure; what the other dialect has stands beside.
    """
    rest = Rest()
    node = rest.memory.broker.nodeName
    rest.memory.client("a").publish("t", b"x")
    answer = rest.call("GET", "/metrics").json
    assert set(answer) == {"code", "data", "metrics", "cpuinfo", "memory"}
    (row,) = answer["data"]
    assert row["node"] == node
    assert row["metrics"]["packets.connect.received"] == 1
    assert row["metrics"]["messages.qos0.received"] == 1
    assert rest.call("GET", f"/nodes/{node}/metrics").data["client.connected"] == 1
    stats = rest.call("GET", f"/nodes/{node}/stats").data
    assert (stats["connections.count"], stats["connections.max"], stats["rules.count"]) == (1, 1, 0)
    assert len(stats) >= 26


@pytest.mark.shows("list_subscriptions", "lookup_client_subscriptions", "list_routes", "lookup_routes")
def test_subscriptions() -> None:
    """
    Subscriptions and routes, filtered, of one client, of shared subscriptions with their whole filters.
    """
    rest = Rest()
    rest.memory.client("a").subscribe("t/+", qos=1)
    rest.memory.client("b").subscribe("$share/g/t/#", "x", qos=2)
    node = rest.memory.broker.nodeName
    rows = rest.call("GET", "/subscriptions").data
    assert {(row["clientid"], row["topic"], row["qos"], row["node"]) for row in rows} == {
        ("a", "t/+", 1, node),
        ("b", "$share/g/t/#", 2, node),
        ("b", "x", 2, node),
    }
    for query, count in (("clientid=a", 1), ("qos=2", 2), ("share=g", 1), ("topic=x", 1), ("topic=x&qos=1", 0)):
        assert len(rest.call("GET", f"/subscriptions?{query}").data) == count
    assert len(rest.call("GET", "/subscriptions/b").data) == 2
    assert rest.call("GET", "/subscriptions/nobody").data == []
    routes = rest.call("GET", "/routes")
    assert {row["topic"] for row in routes.data} == {"t/+", "t/#", "x"}
    assert routes.json["meta"]["count"] == 3
    assert rest.call("GET", "/routes/t%2F%2B").data == [{"node": node, "topic": "t/+"}]
    assert rest.call("GET", "/routes/t").data == []


@pytest.mark.shows("mqtt_publish")
def test_publish() -> None:
    """
    A message reaches its subscribers, whatever way it is written.
    """
    rest = Rest()
    reader = rest.memory.client("r")
    reader.subscribe("#", qos=1)
    for body, topics, payload in (
        ({"topic": "a", "payload": "hi", "qos": 1}, ["a"], b"hi"),
        ({"topic": "a", "payload": "aGk=", "encoding": "base64"}, ["a"], b"hi"),
        ({"topics": "a,b/c", "payload": "hi"}, ["a", "b/c"], b"hi"),
        ({"topic": "a", "payload": {"t": 21}}, ["a"], b'{"t":21}'),
        ({"topic": "a"}, ["a"], b""),
        (b"topic=a&payload=hi&qos=1", ["a"], b"hi"),
    ):
        kind = "application/x-www-form-urlencoded" if isinstance(body, bytes) else "application/json"
        assert rest.call("POST", "/mqtt/publish", body, kind=kind).json == {"code": 0}
        found = reader.receive()
        assert [(packet.topic, packet.payload) for packet in found] == [(topic, payload) for topic in topics]


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        ({}, 400, 107, "topic"),
        ({"topic": "a/#"}, 400, 115, "topic"),
        ({"topics": "a,,b"}, 400, 115, "topics"),
        ({"topic": "a", "qos": 3}, 400, 108, "qos"),
        ({"topic": "a", "qos": "1"}, 400, 108, "qos"),
        ({"topic": "a", "retain": 1}, 400, 108, "retain"),
        ({"topic": "a", "payload": "%", "encoding": "base64"}, 400, 108, "payload"),
        ({"topic": "a", "encoding": "hex"}, 400, 108, "encoding"),
        ({"topic": "a", "properties": {"response_topic": "a/#"}}, 400, 108, "response_topic"),
        ({"topic": "a", "properties": {"message_expiry_interval": -1}}, 400, 108, "message_expiry_interval"),
        ({"topic": "$SYS/x"}, 403, 102, "not_authorized"),
    ],
)
def test_wrongMessages(body: object, status: int, code: int, says: str) -> None:
    """
    An error names its field; nothing is published.
    """
    rest = Rest()
    answer = rest.call("POST", "/mqtt/publish", body)
    assert (answer.status, answer.json["code"]) == (status, code), answer
    assert says in answer.json["message"]


@pytest.mark.shows("mqtt_publish_batch", "mqtt_subscribe_batch", "mqtt_unsubscribe")
def test_batches() -> None:
    """
    Each item has its own result.
    """
    rest = Rest()
    reader = rest.memory.client("r")
    items = [{"topic": "a", "clientid": "r"}, {"topic": "x", "clientid": "gone"}, {"topic": "", "clientid": "r"}, 7]
    assert rest.call("POST", "/mqtt/subscribe_batch", items).data == [
        {"clientid": "r", "topic": "a", "code": 0},
        {"clientid": "gone", "topic": "x", "code": 112},
        {"clientid": "r", "topic": "", "code": 107},
        {"clientid": "", "topic": "", "code": 108},
    ]
    rows = rest.call("POST", "/mqtt/publish_batch", [{"topic": "a", "payload": "1"}, {"topics": "b,+"}]).data
    assert rows == [{"topic": "a", "code": 0}, {"topic": "b,+", "code": 115}]
    assert reader.payloads() == [b"1"]
    assert rest.call("POST", "/mqtt/unsubscribe", {"topic": "a", "clientid": "r"}).json == {"code": 0}
    assert rest.call("GET", "/subscriptions/r").data == []
    assert rest.call("POST", "/mqtt/publish_batch", []).data == []


@pytest.mark.shows("list_banned", "create_banned", "delete_banned")
def test_bans() -> None:
    """
    A ban keeps a client out, and sends away one that is in; its end lets it in again.
    """
    rest = Rest()
    peer = rest.memory.client("bad")
    body = {"who": "bad", "as": "clientid", "reason": "noise", "until": 1_100_000}
    assert rest.call("POST", "/banned", body).data == {**body}
    peer.expectClosed(0x87)
    (row,) = rest.call("GET", "/banned").data
    assert {name: row[name] for name in ("who", "as", "reason", "by", "until")} == {**body, "by": "user"}
    with pytest.raises(AssertionError, match="refused"):
        rest.memory.peer().connect("bad")
    assert rest.call("DELETE", "/banned/clientid/bad").json == {"code": 0}
    assert rest.call("DELETE", "/banned/bad").status == 404
    assert rest.memory.peer().connect("bad").reason == 0
    assert rest.call("POST", "/banned", {"who": "x"}).json["code"] == 107
    assert rest.call("POST", "/banned", {"who": "x", "as": "colour"}).json["code"] == 108
    assert rest.call("POST", "/banned", {"who": "1.2.3", "as": "ip_address"}).json["code"] == 108


@pytest.mark.shows("add_app", "lookup_app", "update_app", "del_app")
def test_applications() -> None:
    """
    An application may call what its scopes say, from anywhere, until it is stopped, over or removed.
    """
    rest = Rest()
    body = {"app_id": "app1", "name": "Reader", "scopes": ["read"], "expired": 2_000_000}
    secret = rest.call("POST", "/apps", body).data["secret"]
    user = f"app1:{secret}"
    assert rest.call("GET", "/clients", user=user, host="192.0.2.1").status == 200
    assert rest.call("DELETE", "/clients/x", user=user).status == 403
    assert rest.call("POST", "/mqtt/publish", {"topic": "a"}, user=user).status == 403
    shown = rest.call("GET", "/apps/app1").data
    assert secret not in str(shown)
    assert (shown["app_id"], shown["name"], shown["status"], shown["expired"]) == ("app1", "Reader", True, 2_000_000)
    assert rest.call("POST", "/apps", body).json["code"] == 102
    assert rest.call("PUT", "/apps/app1", {"status": False}).json == {"code": 0}
    assert rest.call("GET", "/clients", user=user).status == 401
    rest.call("PUT", "/apps/app1", {"status": True})
    assert rest.call("GET", "/clients", user=user).status == 200
    rest.memory.clock.advance(1_500_000)
    assert rest.call("GET", "/clients", user=user).status == 401
    rest.call("PUT", "/apps/app1", {"expired": None})
    assert rest.call("GET", "/clients", user=user).status == 200
    assert rest.call("DELETE", "/apps/app1").json == {"code": 0}
    assert rest.call("GET", "/clients", user=user).status == 401
    assert rest.call("GET", "/apps/app1").status == 404


@pytest.mark.shows("list_all_plugins", "load_node_plugin", "unload_node_plugin")
def test_plugins() -> None:
    """
    Extensions are listed with whether they run; one that does not exist is not found.
    """
    rest = Rest()
    node = rest.memory.broker.nodeName
    (row,) = rest.call("GET", "/plugins").data
    assert row["node"] == node
    assert {"name", "version", "description", "active", "type"} <= set(row["plugins"][0])
    types = {found["name"]: found["type"] for found in row["plugins"]}
    assert (types["stomp"], types["acl_internal"], types["retainer"]) == ("protocol", "auth", "feature")
    assert rest.call("PUT", f"/nodes/{node}/plugins/nothing/load").status == 404
    answer = rest.call("PUT", f"/nodes/{node}/plugins/presence/unload")
    assert (answer.status, answer.json) == (500, {"code": 111, "message": "not_started"})


@pytest.mark.shows("list_all_alarms", "list_node_alarms", "list_node_alarm_history")
def test_alarms() -> None:
    """
    Alarms are listed while they are active, and afterwards in the history.
    """
    rest = Rest()
    node = rest.memory.broker.nodeName
    alarm = rest.memory.broker.alarms.activate("hot", "warning", "Hot", "82.6")
    (row,) = rest.call("GET", "/alarms/present").data[0]["alarms"]
    assert (row["id"], row["desc"], "clear_at" in row) == ("hot", "82.6", False)
    assert len(rest.call("GET", f"/alarms/present/{node}").data) == 1
    alarm.close()
    assert rest.call("GET", f"/alarms/present/{node}").data == []
    (row,) = rest.call("GET", f"/alarms/history/{node}").data
    assert row["id"] == "hot"
    assert row["clear_at"]


@pytest.mark.shows("list_acl_cache", "clean_acl_cache")
def test_aclCache() -> None:
    """
    Remembered verdicts of access rules are listed and can be forgotten.
    """
    rest = Rest()
    rest.memory.broker.hooks.clientCheckAcl.add(lambda client, access, topic, verdict: None)
    rest.memory.client("a").publish("t", b"", qos=1, packetID=1)
    rows = rest.call("GET", "/clients/a/acl_cache").data
    assert rows == [] or rows[0]["topic"] == "t"
    assert rest.call("DELETE", "/clients/a/acl_cache").json == {"code": 0}
    assert rest.call("GET", "/clients/a/acl_cache").data == []
    assert rest.call("GET", "/clients/b/acl_cache").json["code"] == 112
