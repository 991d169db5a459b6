"""
The samples of EMQ X 4.0's document (spec/rest-api.md 2): in its dialect, the answers have the members of the samples
and no others, each of its type, and the values that the calls have made.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from twisted.internet.protocol import Factory

from tests.kits.rest import Rest
from twisted_mqtt.config.schema_ports import TCPPortSettings
from twisted_mqtt.config.values import Bind
from twisted_mqtt.testing.extension import resultOf

EMQX = {"X-Api-Dialect": "emqx"}
DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")

CLIENT = json.loads(
    """{"clientid":"mosquitto_mqtt","username":"test","node":"emqx@127.0.0.1","zone":"external",
    "ip_address":"127.0.0.1","port":65273,"proto_name":"MQTT","proto_ver":4,"connected":true,
    "connected_at":"2019-12-18 10:27:24","created_at":"2019-12-18 10:27:24","clean_start":true,"keepalive":60,
    "expiry_interval":0,"is_bridge":false,"subscriptions_cnt":0,"max_subscriptions":0,"inflight":0,"max_inflight":32,
    "mqueue_len":0,"max_mqueue":1000,"mqueue_dropped":0,"awaiting_rel":0,"max_awaiting_rel":100,"recv_oct":21,
    "recv_cnt":2,"recv_pkt":1,"recv_msg":0,"send_oct":0,"send_cnt":0,"send_pkt":0,"send_msg":0,"heap_size":2586,
    "mailbox_len":1,"reductions":4751}"""
)
BROKER = json.loads(
    """{"datetime":"2019-12-18 10:56:41","node":"emqx@127.0.0.1","node_status":"Running","otp_release":"R21/10.3.2",
    "sysdescr":"EMQ X Broker","uptime":"3 minutes, 59 seconds","version":"v4.0.0"}"""
)
NODE = json.loads(
    """{"connections":2,"load1":"2.75","load5":"2.57","load15":"2.87","max_fds":7168,"memory_total":"76.45M",
    "memory_used":"59.48M","name":"emqx@127.0.0.1","node":"emqx@127.0.0.1","node_status":"Running",
    "otp_release":"R21/10.3.2","process_available":262144,"process_used":331,
    "uptime":"1 days,18 hours, 45 minutes, 1 seconds","version":"v4.0.0"}"""
)


@pytest.fixture
def rest() -> Rest:
    """
    A broker with the client of the samples.
    """
    rest = Rest()
    rest.memory.client("mosquitto_mqtt", 4, username="test", keepAlive=60)
    return rest


def call(rest: Rest, method: str, path: str, body: object = None) -> Any:
    """
    The JSON that a call answers in EMQ X's dialect.
    """
    answer = rest.call(method, path.replace("NODE", rest.memory.broker.nodeName), body, headers=EMQX)
    assert answer.status == 200, answer
    return answer.json


def same(got: Any, sample: Any) -> None:
    """
    See that a row has the members of the sample, each of its type.
    """
    assert set(got) == set(sample)
    assert {name: type(value) for name, value in got.items()} == {name: type(value) for name, value in sample.items()}


def test_index(rest: Rest) -> None:
    """
    2.1: four members; paths begin with a slash; no two rows are of the same call.
    """
    rows = call(rest, "GET", "/")["data"]
    assert all(set(row) == {"name", "method", "path", "descr"} for row in rows)
    assert all(row["path"].startswith("/") and row["descr"] for row in rows)
    assert len({(row["method"], row["path"]) for row in rows}) == len(rows)


def test_brokers(rest: Rest) -> None:
    """
    2.2: with the node in the list, and without it by name.
    """
    rest.memory.clock.advance(3 * 60 + 59)
    answer = call(rest, "GET", "/brokers/")
    assert set(answer) == {"code", "data"}
    (row,) = answer["data"]
    same(row, BROKER)
    assert (row["node_status"], row["uptime"]) == ("Running", "3 minutes, 59 seconds")
    assert DATE.fullmatch(row["datetime"])
    one = call(rest, "GET", "/brokers/NODE")["data"]
    same(one, {name: value for name, value in BROKER.items() if name != "node"})


def test_nodes(rest: Rest) -> None:
    """
    2.3: memory as text in the list, in bytes by name; loads have two decimals.
    """
    rest.memory.clock.advance((42 * 60 + 45) * 60 + 1)
    rest.memory.client("a")
    (row,) = call(rest, "GET", "/nodes")["data"]
    same(row, NODE)
    assert (row["connections"], row["uptime"]) == (1, "1 days,18 hours, 45 minutes, 1 seconds")
    assert re.fullmatch(r"\d+\.\d\d", row["load1"]) and re.fullmatch(r"\d+\.\d\dM", row["memory_used"])
    one = call(rest, "GET", "/nodes/NODE")["data"]
    same(one, {**{n: v for n, v in NODE.items() if n != "node"}, "memory_total": 1, "memory_used": 1})


@pytest.mark.parametrize(
    ("path", "isPaged"),
    [
        ("/clients/", True),
        ("/nodes/NODE/clients/", True),
        ("/clients/mosquitto_mqtt", False),
        ("/nodes/NODE/clients/mosquitto_mqtt", False),
        ("/clients/username/test", False),
        ("/nodes/NODE/clients/username/test", False),
    ],
)
def test_clients(rest: Rest, path: str, isPaged: bool) -> None:
    """
    2.4: the 35 members, whatever way a client is looked up.
    """
    answer = call(rest, "GET", path)
    assert answer.get("meta") == ({"page": 1, "limit": 10000, "count": 1} if isPaged else None)
    (row,) = answer["data"]
    assert len(row) == 35
    same(row, CLIENT)
    for name in "clientid username zone ip_address proto_name proto_ver connected clean_start keepalive".split():
        assert row[name] == CLIENT[name], name
    for name in "expiry_interval is_bridge subscriptions_cnt inflight max_inflight mqueue_len recv_pkt".split():
        assert row[name] == CLIENT[name], name
    assert DATE.fullmatch(row["connected_at"]) and DATE.fullmatch(row["created_at"])


def test_kick(rest: Rest) -> None:
    """
    2.4: once; then the client is not there.
    """
    assert call(rest, "DELETE", "/clients/mosquitto_mqtt") == {"code": 0}
    answer = rest.call("DELETE", "/clients/mosquitto_mqtt", headers=EMQX)
    assert (answer.status, answer.json["code"]) == (404, 112)
    assert call(rest, "GET", "/clients/mosquitto_mqtt") == {"code": 0, "data": []}


def test_aclCache(rest: Rest) -> None:
    """
    2.5: what the rules have said, and when in milliseconds.
    """
    rest.memory.broker.hooks.clientCheckAcl.add(lambda client, access, topic, verdict: None)
    rest.memory.client("p").publish("mosquitto_mqtt", b"")
    for row in call(rest, "GET", "/clients/p/acl_cache")["data"]:
        same(row, {"access": "publish", "result": "allow", "topic": "mosquitto_mqtt", "updated_time": 1576659345830})
    assert call(rest, "DELETE", "/clients/p/acl_cache") == {"code": 0}


@pytest.mark.parametrize("path", ["/subscriptions/", "/nodes/NODE/subscriptions/"])
def test_subscriptions(rest: Rest, path: str) -> None:
    """
    2.6, 2.7: what the client has subscribed, and the routes that lead there.
    """
    node = rest.memory.broker.nodeName
    sub = {"topic": "t", "qos": 0, "clientid": "mosquitto_mqtt"}
    assert call(rest, "POST", "/mqtt/subscribe", sub) == {"code": 0}
    row = {"clientid": "mosquitto_mqtt", "node": node, "qos": 0, "topic": "t"}
    meta = {"page": 1, "limit": 10000, "count": 1}
    assert call(rest, "GET", path) == {"code": 0, "data": [row], "meta": meta}
    assert call(rest, "GET", f"{path}mosquitto_mqtt") == {"code": 0, "data": [row]}
    call(rest, "POST", "/mqtt/unsubscribe", sub)
    call(rest, "POST", "/mqtt/subscribe", {**sub, "topic": "testtopic/#"})
    route = {"node": node, "topic": "testtopic/#"}
    assert call(rest, "GET", "/routes/") == {"code": 0, "data": [route], "meta": meta}
    assert call(rest, "GET", "/routes/testtopic%2F%23") == {"code": 0, "data": [route]}


def test_publish(rest: Rest) -> None:
    """
    2.8: the sample; a client that is not online cannot subscribe.
    """
    reader = rest.memory.client("reader")
    reader.subscribe("test_topic")
    sample = {
        "topic": "test_topic",
        "payload": "hello",
        "qos": 1,
        "retain": False,
        "clientid": "mqttjs_ab9069449e",
    }
    assert call(rest, "POST", "/mqtt/publish", sample) == {"code": 0}
    assert call(rest, "POST", "/mqtt/publish_batch", [sample]) == {
        "code": 0,
        "data": [{"topic": "test_topic", "code": 0}],
    }
    assert reader.payloads() == [b"hello", b"hello"]
    answer = rest.call("POST", "/mqtt/subscribe", {"topic": "a", "clientid": "away"}, headers=EMQX)
    assert (answer.status, answer.json["code"]) == (404, 112)


def test_plugins(rest: Rest) -> None:
    """
    2.9: five members each.
    """
    sample = {
        "name": "emqx_stomp",
        "version": "v4.0.0",
        "description": "EMQ X Stomp Protocol Plugin",
        "active": False,
        "type": "protocol",
    }
    (row,) = call(rest, "GET", "/plugins/")["data"]
    assert set(row) == {"node", "plugins"}
    for plugin in [*row["plugins"], *call(rest, "GET", "/nodes/NODE/plugins/")["data"]]:
        same(plugin, sample)
        assert plugin["type"] in ("auth", "bridge", "protocol", "feature")


def test_listeners(rest: Rest) -> None:
    """
    2.10: six members each; nothing counted is an empty list.
    """
    settings = TCPPortSettings(bind=Bind("127.0.0.1", 1883))
    resultOf(rest.memory.node.listen(settings, Factory(), "mqtt.tcp"))
    (row,) = call(rest, "GET", "/listeners/")["data"]
    assert set(row) == {"node", "listeners"}
    rows = [*row["listeners"], *call(rest, "GET", "/nodes/NODE/listeners")["data"]]
    assert rows
    for listener in rows:
        sample = {"protocol": "mqtt:wss", "listen_on": "8084", "acceptors": 4, "max_conns": 16, "current_conns": 0}
        same(listener, {**sample, "shutdown_count": []})


def test_figures(rest: Rest) -> None:
    """
    2.11, 2.12: whole numbers by name, in the list for each node.
    """
    for what, name in (("metrics", "packets.connect.received"), ("stats", "connections.count")):
        answer = call(rest, "GET", f"/{what}/")
        assert set(answer) == {"code", "data"}
        (row,) = answer["data"]
        assert set(row) == {"node", what}
        one = call(rest, "GET", f"/nodes/NODE/{what}/")["data"]
        assert row[what][name] == one[name] == 1
        assert all(isinstance(value, int) for value in one.values())


def test_alarms(rest: Rest) -> None:
    """
    2.13: of an alarm that is over, its name, the figure, and when it ended.
    """
    alarm = rest.memory.broker.alarms.activate("cpu_high_watermark", "warning", "Load", "82.60344181007542")
    (row,) = call(rest, "GET", "/alarms/present/NODE")["data"]
    same(row, {"id": "cpu_high_watermark", "desc": "82.60344181007542", "alarm_at": "2019-07-10 16:54:35"})
    alarm.close()
    assert call(rest, "GET", "/alarms/present")["data"] == [{"node": rest.memory.broker.nodeName, "alarms": []}]
    (row,) = call(rest, "GET", "/alarms/history")["data"]
    (past,) = row["alarms"]
    assert (past["id"], past["desc"]) == ("cpu_high_watermark", "82.60344181007542")
    assert DATE.fullmatch(past["clear_at"])
    assert call(rest, "GET", "/alarms/history/NODE")["data"] == [past]


def test_banned(rest: Rest) -> None:
    """
    2.14: times in seconds; the four members come back, and the list has who made it.
    """
    now = int(rest.memory.broker.dates.now())
    ban = {"who": "mqttjs_ab9069449e", "as": "clientid", "reason": "banned the clientId", "until": now + 120}
    assert call(rest, "POST", "/banned/", ban) == {"code": 0, "data": ban}
    assert call(rest, "GET", "/banned/") == {
        "code": 0,
        "data": [{**ban, "by": "user", "at": now}],
        "meta": {"page": 1, "limit": 10000, "count": 1},
    }
    assert call(rest, "DELETE", "/banned/clientid/mqttjs_ab9069449e") == {"code": 0}
    call(rest, "POST", "/banned/", {"who": "a", "as": "username", "more": 1})
    assert call(rest, "DELETE", "/banned/a?as=username") == {"code": 0}


def test_apps(rest: Rest) -> None:
    """
    2.15: the secret is told once.
    """
    body = {"app_id": "901abdba8eb8c", "secret": "MjgzMzQ5", "name": "hello"}
    assert call(rest, "POST", "/apps/", body) == {"code": 0, "data": {"secret": "MjgzMzQ5"}}
    shown = {"app_id": "901abdba8eb8c", "name": "hello", "desc": "", "status": True, "expired": None}
    assert call(rest, "GET", "/apps/901abdba8eb8c") == {"code": 0, "data": shown}
    assert shown in call(rest, "GET", "/apps/")["data"]
    assert call(rest, "PUT", "/apps/901abdba8eb8c", {"status": False}) == {"code": 0}
    assert call(rest, "DELETE", "/apps/901abdba8eb8c") == {"code": 0}
