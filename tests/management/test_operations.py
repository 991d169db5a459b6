"""
Operations that no other test is about, each called once; and that there is none without a test.
"""

from __future__ import annotations

import pytest

from tests.kits.commands import Commands
from tests.kits.rest import Rest
from twisted_mqtt.config.schema_ports import TCPPortSettings
from twisted_mqtt.config.values import Bind
from twisted_mqtt.management.catalogue import declared
from twisted_mqtt.management.document import TESTS, shown


def test_eachIsShown() -> None:
    """
    For each operation there is a test that says that it shows it, with C{@pytest.mark.shows("name")}; none shows one
    that does not exist.
    """
    names = {operation.name for operation in declared()}
    tests = shown(TESTS)
    assert names - set(tests) == set(), "mark a test of each"
    assert set(tests) - names == set(), "there is no such operation"


@pytest.mark.shows("show_broker", "show_status", "show_store", "list_apps", "set_app_status")
def test_commands() -> None:
    """
    Commands about the node print what C{emqx_ctl} does.
    """
    commands = Commands()
    assert [line[:12] for line in commands.lines("broker")] == [
        "sysdescr  : ",
        "version   : ",
        "uptime    : ",
        "datetime  : ",
    ]
    assert commands.lines("status")[0] == f"Node '{commands.memory.broker.nodeName}' is started"
    assert commands.lines("store status")[2:4] == ["storage_type            : ram", "bytes                   : 0"]
    (line,) = commands.lines("mgmt list")
    assert line.startswith("app_id: admin, secret: ***, name: Default, ")
    assert commands.lines("mgmt update admin stop") == ["update successfully."]
    assert ", status: stop, " in commands.lines("mgmt list")[0]


@pytest.mark.shows(
    "show_vm",
    "show_vm_load",
    "show_vm_memory",
    "show_vm_process",
    "show_vm_io",
    "show_vm_ports",
    "show_vm_gc",
    "show_vm_reactor",
)
def test_process() -> None:
    """
    What C{vm} tells of one thing is in what it tells of all.
    """
    commands = Commands()
    everything = {line.partition(":")[0] for line in commands.lines("vm all")}
    for one in ("load", "memory", "process", "io", "ports"):
        assert {line.partition(":")[0] for line in commands.lines(f"vm {one}")} <= everything
    assert commands.lines("vm gc")[0].startswith("gc/")
    assert commands.lines("vm reactor")[0].startswith("reactor/")


@pytest.mark.shows("list_listeners", "list_node_listeners", "show_listeners")
@pytest.mark.shows("stop_listener", "start_listener", "restart_listener")
def test_listeners() -> None:
    """
    Ports are listed with their state; one is stopped, started, and both.
    """
    rest = Rest()
    node = rest.memory.broker.nodeName
    rest.memory.node.listen(TCPPortSettings(bind=Bind("127.0.0.1", 1883)), object(), "tcp.external")  # type: ignore[arg-type]  # nobody connects
    (row,) = rest.call("GET", "/listeners").data
    assert row["node"] == node
    assert row["listeners"] == rest.call("GET", f"/nodes/{node}/listeners").data
    (listener,) = row["listeners"]
    assert {"protocol", "listen_on", "acceptors", "max_conns", "current_conns", "shutdown_count"} <= set(listener)
    assert (listener["name"], listener["listen_on"], listener["running"]) == ("tcp.external", "127.0.0.1:1883", True)
    path = f"/listeners/{listener['protocol']}/1883"
    for what, runs in (("stop", False), ("stop", False), ("start", True), ("restart", True)):
        assert rest.call("PUT", f"{path}/{what}").data["running"] is runs
        assert rest.memory.node.ports["tcp.external"].isOpen is runs
    assert rest.call("PUT", f"/listeners/{listener['protocol']}/1/stop").status == 404
    ctl = Rest(service="ctl", path="/operations")
    assert ctl.call("POST", "/show_listeners", {}).data == []


@pytest.mark.shows("list_all_alarm_history", "show_alarms", "show_alarm_history")
@pytest.mark.shows("deactivate_alarm", "clear_alarm_history")
def test_alarms() -> None:
    """
    An alarm is ended by hand, is in the history then, and is forgotten with it.
    """
    rest, commands = Rest(), Commands()
    for broker in (rest.memory.broker, commands.memory.broker):
        broker.alarms.activate("hot", "warning", "Hot", "82.6")
    assert commands.lines("alarms list")[0].startswith("Alarm(hot, severity=warning, alarm_at=")
    assert rest.call("DELETE", "/alarms/present/hot").json == {"code": 0}
    assert rest.call("DELETE", "/alarms/present/hot").status == 404
    assert commands.lines("alarms deactivate hot") == ["ok"]
    (row,) = rest.call("GET", "/alarms/history").data
    assert "hot" in [alarm["id"] for alarm in row["alarms"]]
    assert any(line.startswith("Alarm(hot,") for line in commands.lines("alarms history"))
    cleared = rest.call("DELETE", "/alarms/history").data["cleared"]
    assert cleared == len(row["alarms"])
    assert rest.call("GET", "/alarms/history").data[0]["alarms"] == []


@pytest.mark.shows("mqtt_subscribe", "mqtt_unsubscribe_batch")
def test_subscribing() -> None:
    """
    A client is subscribed, and unsubscribed, by others.
    """
    rest = Rest()
    reader = rest.memory.client("r")
    assert rest.call("POST", "/mqtt/subscribe", {"clientid": "r", "topics": "a,b", "qos": 1}).json == {"code": 0}
    rest.memory.client("w").publish("b", b"hello")
    assert reader.payloads() == [b"hello"]
    items = [{"clientid": "r", "topic": "a"}, {"clientid": "gone", "topic": "a"}]
    rows = rest.call("POST", "/mqtt/unsubscribe_batch", items).data
    assert [(row["clientid"], row["code"]) for row in rows] == [("r", 0), ("gone", 112)]
    assert [row["topic"] for row in rest.call("GET", "/subscriptions/r").data] == ["b"]


@pytest.mark.shows("list_node_plugins", "show_plugins", "reload_node_plugin", "list_stats", "clean_acl_cache_all")
def test_others() -> None:
    """
    Extensions of one node, and reloaded; the gauges of all nodes; remembered verdicts of all clients forgotten.
    """
    rest, commands = Rest(), Commands()
    node = rest.memory.broker.nodeName
    names = [row["name"] for row in rest.call("GET", f"/nodes/{node}/plugins").data]
    assert [f"Plugin({name}," for name in names] == [line.split(" ")[0] for line in commands.lines("plugins list")]
    assert rest.call("PUT", f"/nodes/{node}/plugins/nothing/reload").status == 404
    (row,) = rest.call("GET", "/stats").data
    assert row["stats"] == rest.call("GET", f"/nodes/{node}/stats").data
    assert rest.call("DELETE", "/acl_cache").json == {"code": 0}


@pytest.mark.shows("set_broker_configuration")
def test_configuration() -> None:
    """
    Several keys are changed in one call, or none of them.
    """
    rest = Rest()
    key, other = "zone.external.max_inflight", "zone.external.max_mqueue_len"
    before = rest.call("GET", "/configuration").data
    assert rest.call("POST", "/configuration", {"data": {key: "64", other: "many"}}).status == 400
    assert rest.call("GET", "/configuration").data == before
    assert rest.call("POST", "/configuration", {"data": {key: "64", other: "7"}}).status == 200
    after = rest.call("GET", "/configuration").data
    assert (after[key], after[other]) == ("64", "7")
