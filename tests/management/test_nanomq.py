"""
Tests for the calls of NanoMQ: the samples of its document in its own dialect.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.kits.rest import Rest
from twisted_mqtt.management.builtin.ending import SOON

NANOMQ = {"X-Api-Dialect": "nanomq"}


def call(rest: Rest, method: str, path: str, body: object = None) -> Any:
    """
    The JSON that a call answers in NanoMQ's dialect.
    """
    return rest.call(method, path, body, headers=NANOMQ).json


def test_brokers() -> None:
    """
    spec/rest-api-nanomq.md 3.2: these fields, and the time that it has run in hours, minutes, seconds.
    """
    rest = Rest()
    rest.memory.clock.advance(15 * 3600 + 60 + 38)
    answer = call(rest, "GET", "/brokers")
    assert set(answer) == {"code", "data"}
    (row,) = answer["data"]
    assert set(row) == {"datetime", "node_status", "sysdescr", "uptime", "version"}
    assert (row["node_status"], row["uptime"]) == ("Running", "15 Hours, 1 minutes, 38 seconds")


def test_nodes() -> None:
    """
    3.3: connections are counted.
    """
    rest = Rest()
    rest.memory.client("a")
    (row,) = call(rest, "GET", "/nodes")["data"]
    assert set(row) == {"connections", "node_status", "uptime", "version"}
    assert (row["connections"], row["node_status"]) == (1, "Running")


def test_metrics() -> None:
    """
    3.4: neither code nor data; figures as texts.
    """
    answer = call(Rest(), "GET", "/metrics")
    assert set(answer) == {"metrics", "cpuinfo", "memory"}
    assert answer["metrics"] == []
    assert answer["cpuinfo"].endswith("%")
    assert int(answer["memory"]) > 1_000_000


def test_clients() -> None:
    """
    3.6: both spellings of what the table and the samples call differently; no C{meta}. An unknown client is 404.
    """
    rest = Rest()
    rest.memory.client("nanomq-f6d6fbfb", username="alvin", keepAlive=60).publish("t", b"")
    expected = {
        "client_id": "nanomq-f6d6fbfb",
        "clientid": "nanomq-f6d6fbfb",
        "username": "alvin",
        "keepalive": 60,
        "conn_state": "connected",
        "connected": True,
        "clean_start": True,
        "proto_name": "MQTT",
        "proto_ver": 5,
        "recv_msg": 1,
    }
    for path in ("/clients", "/clients/nanomq-f6d6fbfb", "/clients/username/alvin"):
        assert call(rest, "GET", path) == {"code": 0, "data": [expected]}
    assert rest.call("GET", "/clients/nobody", headers=NANOMQ).status == 404
    assert rest.call("GET", "/subscriptions/nobody", headers=NANOMQ).status == 404


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", "a b c"),
        ("clientid=a", "a"),
        ("username=u", "a b"),
        ("username=u&proto_ver=4", "b"),
        ("conn_state=connected", "a b"),
        ("conn_state=disconnected", "c"),
        ("conn_state=idle", ""),
        ("clean_start=false", "c"),
        ("clean_start=true&username=u", "a b"),
        ("proto_name=MQTT", "a b c"),
        ("proto_name=MQTT-SN", ""),
        ("proto_ver=3", ""),
    ],
)
def test_filters(query: str, names: str) -> None:
    """
    3.6: filters hold together.
    """
    rest = Rest()
    rest.memory.client("a", username="u")
    rest.memory.client("b", username="u", version=4)
    rest.memory.client("c", cleanStart=False, sessionExpiry=3600).lose()
    found = call(rest, "GET", f"/clients?{query}")["data"]
    assert sorted(row["clientid"] for row in found) == names.split()


def test_subscriptions() -> None:
    """
    3.7: three fields, filters.
    """
    rest = Rest()
    for name in ("nanomq-29978ec1", "nanomq-3020ffac"):
        rest.memory.client(name).subscribe("topic123", qos=2)
    rows = [{"clientid": name, "topic": "topic123", "qos": 2} for name in ("nanomq-29978ec1", "nanomq-3020ffac")]
    answer = call(rest, "GET", "/subscriptions")
    assert (answer["code"], sorted(answer["data"], key=str)) == (0, rows)
    assert call(rest, "GET", "/subscriptions/nanomq-29978ec1") == {"code": 0, "data": rows[:1]}
    assert len(call(rest, "GET", "/subscriptions?topic=topic123&qos=2&clientid=nanomq-3020ffac")["data"]) == 1
    assert call(rest, "GET", "/subscriptions?share=g")["data"] == []


PROPERTIES = {"user_properties": {"id": 10010, "name": "name", "foo": "bar"}, "content_type": "text/plain"}
PUBLISH = {"topic": "a/b/c", "payload": "Hello World", "qos": 1, "retain": False, "clientid": "example"}


def test_publish() -> None:
    """
    3.8: the sample, with all properties that a message may have; user properties as an object or as a list.
    """
    rest = Rest()
    reader = rest.memory.client("reader")
    reader.subscribe("a/b/c", qos=1)
    pairs = [("id", "10010"), ("name", "name"), ("foo", "bar")]
    listed = [{"key": key, "value": value} for key, value in PROPERTIES["user_properties"].items()]  # type: ignore[attr-defined]  # it is a dictionary
    more = {
        "payload_format_indicator": 1,
        "message_expiry_interval": 60,
        "response_topic": "r/t",
        "correlation_data": "c",
        "content_type": "text/plain",
    }
    for properties in (PROPERTIES, {**more, "user_properties": listed}):
        assert call(rest, "POST", "/mqtt/publish", {**PUBLISH, "properties": properties}) == {"code": 0}
        (got,) = reader.receive()
        assert (got.topic, got.payload, got.qos, got.retain) == ("a/b/c", b"Hello World", 1, False)
        assert (got.properties.userProperties, got.properties.contentType) == (pairs, "text/plain")
    assert (got.properties.responseTopic, got.properties.correlationData, got.properties.payloadFormat) == (
        "r/t",
        b"c",
        1,
    )
    assert got.properties.messageExpiry == 60


def test_publishBatch() -> None:
    """
    3.8: a row for each item, with the topics as they were written; who is not right does not stop the others.
    """
    rest = Rest()
    reader = rest.memory.client("reader")
    reader.subscribe("#", qos=1)
    assert call(rest, "POST", "/mqtt/publish_batch", [PUBLISH, PUBLISH]) == {
        "data": [{"topic": "a/b/c", "code": 0}, {"topic": "a/b/c", "code": 0}],
        "code": 0,
    }
    assert len(reader.receive()) == 2
    plain = {"clientid": "example", "payload": "x"}
    items = [{**plain, "topics": "a,,b"}, {**plain, "topics": "a,b"}, {**plain, "topic": "+"}, {"topic": "a"}, plain]
    answer = call(rest, "POST", "/mqtt/publish_batch", [*items, {**plain, "topic": "a", "encoding": "x"}])
    assert answer["code"] == 0
    rows = [("a,,b", 115), ("a,b", 0), ("+", 115), ("a", 107), ("", 107), ("a", 108)]
    assert answer["data"] == [{"topic": topic, "code": code} for topic, code in rows]
    assert [packet.topic for packet in reader.receive()] == ["a", "b"]
    for body in (PUBLISH, {}, {"items": []}):
        answer = rest.call("POST", "/mqtt/publish_batch", body)
        assert (answer.status, answer.json["code"]) == (400, 109)


@pytest.mark.parametrize("missing", ["topic", "payload", "clientid"])
def test_publishStrictly(missing: str) -> None:
    """
    3.8: NanoMQ's dialect wants the client and the payload named; the others do not.
    """
    rest = Rest()
    body = {name: value for name, value in PUBLISH.items() if name != missing}
    answer = rest.call("POST", "/mqtt/publish", body, headers=NANOMQ)
    assert (answer.status, answer.json["code"]) == (400, 107)
    assert missing in answer.json["message"]
    assert rest.call("POST", "/mqtt/publish", body).status == (400 if missing == "topic" else 200)


def test_asCurlSendsIt() -> None:
    """
    Section 1: JSON that is called a form, as curl's -d does it, is JSON; a body of GET is ignored.
    """
    rest = Rest()
    kind = "application/x-www-form-urlencoded"
    answer = rest.call("POST", "/mqtt/publish", PUBLISH, kind=kind, headers=NANOMQ)
    assert answer.json == {"code": 0}
    assert rest.call("GET", "/brokers/", {"data": {"msq_len": 1}}, kind=kind, headers=NANOMQ).status == 200


def test_subscribe() -> None:
    """
    3.9: several topics in one text; batches answer for each.
    """
    rest = Rest()
    rest.memory.client("example")
    assert call(rest, "POST", "/mqtt/subscribe", {"topics": "a,b,c", "qos": 1, "clientid": "example"}) == {"code": 0}
    rows = call(rest, "GET", "/subscriptions/example")["data"]
    assert [(row["topic"], row["qos"]) for row in rows] == [("a", 1), ("b", 1), ("c", 1)]
    body = {"topic": "a", "qos": 1, "clientid": "example"}
    assert call(rest, "POST", "/mqtt/unsubscribe", body) == {"code": 0}
    assert call(rest, "POST", "/mqtt/unsubscribe_batch", [{"topic": "b", "clientid": "example"}])["code"] == 0
    assert call(rest, "POST", "/mqtt/subscribe_batch", [{"topic": "d", "clientid": "example"}])["code"] == 0
    rows = call(rest, "GET", "/subscriptions/example")["data"]
    assert [row["topic"] for row in rows] == ["c", "d"]


@pytest.mark.shows("list_topic-tree")
def test_topicTree() -> None:
    """
    3.10: the levels from the root on; who has subscribed stands at the last level of a filter.
    """
    rest = Rest()
    for name, topic in (("nanomq-3a4a0956", "topic123"), ("nanomq-0cfd69bb", "topic123/123")):
        rest.memory.client(name).subscribe(topic)
    rest.memory.client("nanomq-26971dc8").subscribe("$share/g/topic123/123/456")
    sample = [
        [{"topic": "", "cld_cnt": 1}],
        [{"topic": "topic123", "cld_cnt": 1, "clientid": ["nanomq-3a4a0956"]}],
        [{"topic": "123", "cld_cnt": 1, "clientid": ["nanomq-0cfd69bb"]}],
        [{"topic": "456", "cld_cnt": 0, "clientid": ["nanomq-26971dc8"]}],
    ]
    assert call(rest, "GET", "/topic-tree") == {"code": 0, "data": sample}
    rest.memory.client("x").subscribe("a/+", "a/b", "/", "topic1234")
    levels = call(rest, "GET", "/topic-tree/")["data"]
    assert [[node["topic"] for node in level] for level in levels[:3]] == [
        [""],
        ["", "a", "topic123", "topic1234"],
        ["", "+", "b", "123"],
    ]
    assert call(rest, "GET", "/topic-tree?topic=topic123")["data"] == sample
    assert call(Rest(), "GET", "/topic-tree")["data"] == [[{"topic": "", "cld_cnt": 0}]]


def test_topicTreeIsBounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A tree that no answer holds is refused, and a part of it answered.
    """
    monkeypatch.setattr("twisted_mqtt.management.builtin.topictree.MOST", 40)
    rest = Rest()
    for number in range(20):
        rest.memory.client(f"c{number}").subscribe(f"a{number % 2}/{number}")
    answer = rest.call("GET", "/topic-tree")
    assert (answer.status, answer.json["code"]) == (400, 108)
    assert "topic" in answer.json["message"]
    assert len(rest.call("GET", "/topic-tree?topic=a1").data[2]) == 10


@pytest.mark.shows("ctrl_broker")
@pytest.mark.parametrize("action", ["stop", "restart"])
def test_control(action: str) -> None:
    """
    3.17: the answer comes before it happens.
    """
    rest = Rest()
    ended = rest.memory.node.ended
    assert call(rest, "POST", f"/ctrl/{action}") == {"code": 0}
    assert ended == []
    rest.memory.clock.advance(SOON)
    assert ended == [action]


def test_unknownControl() -> None:
    """
    3.17: there are two actions, and not everybody may.
    """
    rest = Rest()
    answer = rest.call("POST", "/ctrl/explode")
    assert (answer.status, answer.json["code"]) == (400, 108)
    secret = rest.call("POST", "/apps", {"app_id": "w", "name": "w", "scopes": ["read", "write"]}).data["secret"]
    assert rest.call("POST", "/ctrl/stop", user=f"w:{secret}").status == 403
    assert rest.memory.node.ended == []


def test_unknownDialect() -> None:
    """
    A dialect that there is not is refused.
    """
    answer = Rest().call("GET", "/brokers", headers={"X-Api-Dialect": "latin"})
    assert (answer.status, answer.json["code"]) == (400, 108)
    assert "X-Api-Dialect" in answer.json["message"]


HOT = {
    "max_packet_size": 3,
    "client_max_packet_size": 5,
    "msq_len": 2048,
    "qos_duration": 10,
    "keepalive_backoff": 1250,
    "allow_anonymous": False,
}


@pytest.mark.shows("get_hot_configuration", "set_hot_configuration")
def test_reload() -> None:
    """
    3.11: the sample is taken, shown again, and means in our settings what it means in NanoMQ's.
    """
    rest = Rest()
    assert call(rest, "POST", "/reload", {"data": {"property_size": 64, **HOT}}) == {"code": 0}
    answer = call(rest, "GET", "/reload")
    assert answer == {"code": 0, "data": {"property_size": 5 * 1024, **HOT}}
    get = rest.memory.node.settings.get
    keys = ("mqtt.max_packet_size", "zone.external.max_packet_size", "zone.external.max_mqueue_len")
    assert [get(key) for key in keys] == [3072, 5120, 2048]
    keys = ("zone.external.retry_interval", "zone.external.keepalive_backoff", "allow_anonymous")
    assert [get(key) for key in keys] == [10.0, 0.625, False]


def test_reloadOfSome() -> None:
    """
    3.11: what is not named, or is as it is shown, stays as it is; what can't be changed here is said to be ignored.
    """
    rest = Rest()
    shown = rest.call("GET", "/reload").data
    assert (shown["msq_len"], shown["allow_anonymous"], shown["keepalive_backoff"]) == (0, False, 1500)
    del shown["allow_anonymous"]
    rest.call("POST", "/reload", {"data": shown})
    get = rest.memory.node.settings.get
    assert rest.memory.node.settings.overridden() == {}
    done = rest.call("POST", "/reload", {"data": {"msq_len": 5, "property_size": 64}}).data
    assert [line.partition(":")[0] for line in done["ignored"]] == ["property_size"]
    assert (get("allow_anonymous"), get("zone.external.max_mqueue_len")) == (None, 5)
    rest.call("POST", "/reload", {"data": {"msq_len": 0}})
    assert get("zone.external.max_mqueue_len") is None


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ({}, 107, "data"),
        ({"data": 1}, 108, "data"),
        ({"data": {"msq_len": -1}}, 108, "msq_len"),
        ({"data": {"msq_len": "many"}}, 108, "msq_len"),
        ({"data": {"allow_anonymous": 1}}, 108, "allow_anonymous"),
        ({"data": {"keepalive_backoff": 0}}, 108, "keepalive_backoff"),
        ({"data": {"max_packet_size": 1 << 60}}, 108, "max_packet_size"),
        (b"msq_len", 109, "JSON"),
    ],
)
def test_wrongReload(body: object, code: int, says: str) -> None:
    """
    3.11: a wrong value changes nothing.
    """
    rest = Rest()
    shown = rest.call("GET", "/reload").data
    answer = rest.call("POST", "/reload", body)
    assert (answer.status, answer.json["code"]) == (400, code), answer
    assert says in answer.json["message"]
    assert rest.call("GET", "/reload").data == shown


def test_configuration() -> None:
    """
    3.13: what is shown can be sent back, secrets that are hidden too; what differs is changed.
    """
    rest = Rest()
    shown = call(rest, "GET", "/configuration/")["data"]
    assert shown["zone.external.max_inflight"] == "32"
    assert call(rest, "POST", "/configuration/", {"data": shown}) == {"code": 0}
    assert rest.memory.node.settings.overridden() == {}
    changed = {**shown, "zone.external.max_inflight": "16"}
    assert call(rest, "POST", "/configuration/", {"data": changed}) == {"code": 0}
    assert rest.memory.node.settings.get("zone.external.max_inflight") == 16


def test_noFile() -> None:
    """
    3.12: a broker without a configuration file has none to replace.
    """
    for body in (b"mqtt { max_packet_size = 10KB }", {"data": "mqtt {}"}, {"data": {"mqtt": {}}}):
        answer = Rest().call("POST", "/config_update", body)
        assert (answer.status, answer.json["code"]) == (404, 118)
