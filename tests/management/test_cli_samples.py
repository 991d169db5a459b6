"""
The samples of spec/cli.md, each with the values that it depends on. Those of logs, traces and C{vm} are in the tests of
these; what its typesetting has added, a blank before each bracket, is left out.
"""

from __future__ import annotations

import re

import pytest

from tests.kits.commands import Commands
from twisted_mqtt.config.schema_ports import TCPPortSettings
from twisted_mqtt.config.values import Bind
from twisted_mqtt.core.packets import SubscriptionRequest
from twisted_mqtt.management.catalogue import declared

# spec/cli.md 4.1: each has a .count and a .max.
STATS = """
actions channels connections resources retained routes rules sessions suboptions subscribers subscriptions
subscriptions.shared topics
""".split()

# spec/cli.md 4.2.
METRICS = """
actions.success rules.matched bytes.received bytes.sent client.auth.anonymous client.authenticate client.check_acl
client.connack client.connect client.connected client.disconnected client.subscribe client.unsubscribe delivery.dropped
delivery.dropped.expired delivery.dropped.no_local delivery.dropped.qos0_msg delivery.dropped.queue_full
delivery.dropped.too_large messages.acked messages.delayed messages.delivered messages.dropped messages.dropped.expired
messages.dropped.no_subscriber messages.forward messages.publish messages.qos0.received messages.qos0.sent
messages.qos1.received messages.qos1.sent messages.qos2.received messages.qos2.sent messages.received messages.retained
messages.sent packets.received packets.sent packets.auth.received packets.auth.sent packets.connack.auth_error
packets.connack.error packets.connack.sent packets.connect.received packets.disconnect.received packets.disconnect.sent
packets.pingreq.received packets.pingresp.sent packets.puback.inuse packets.puback.missed packets.puback.received
packets.puback.sent packets.pubcomp.inuse packets.pubcomp.missed packets.pubcomp.received packets.pubcomp.sent
packets.publish.auth_error packets.publish.dropped packets.publish.error packets.publish.received packets.publish.sent
packets.pubrec.inuse packets.pubrec.missed packets.pubrec.received packets.pubrec.sent packets.pubrel.missed
packets.pubrel.received packets.pubrel.sent packets.suback.sent packets.subscribe.auth_error packets.subscribe.error
packets.subscribe.received packets.unsuback.sent packets.unsubscribe.error packets.unsubscribe.received session.created
session.discarded session.resumed session.takeovered session.terminated
""".split()


@pytest.fixture
def commands() -> Commands:
    """
    A broker with the clients of the samples.
    """
    made = Commands()
    one = made.memory.client("mosqsub/43832-airlee.lo", username="test1", keepAlive=60)
    one.subscribe(SubscriptionRequest("t/y", 1))
    two = made.memory.client("mosqsub/90475-airlee.lo", cleanStart=False, sessionExpiry=7200, keepAlive=60)
    two.subscribe(SubscriptionRequest("t/+/x", 2))
    return made


def test_status(commands: Commands) -> None:
    """
    2.
    """
    first, second = commands.lines("status")
    assert first == f"Node '{commands.memory.broker.nodeName}' is started"
    assert re.fullmatch(r"mqttbroker v[\d.]+ is running", second)


def test_mgmt(commands: Commands) -> None:
    """
    3. The secret is shown once, and asterisks afterwards.
    """
    (inserted,) = commands.lines("mgmt insert dbcb6e023370b world")
    assert re.fullmatch(r"AppSecret: \S{47}", inserted)
    assert (
        "app_id: dbcb6e023370b, secret: ***, name: world, desc: Application user, status: true, expired: undefined"
        in commands.lines("mgmt list")
    )
    assert commands.lines("mgmt update dbcb6e023370b stop") == ["update successfully."]
    assert commands.lines("mgmt lookup dbcb6e023370b") == [
        "app_id: dbcb6e023370b",
        "secret: ***",
        "name: world",
        "desc: Application user",
        "status: stop",
        "expired: undefined",
    ]
    assert commands.lines("mgmt delete dbcb6e023370b") == ["ok"]


def test_broker(commands: Commands) -> None:
    """
    4.
    """
    commands.memory.wait(25)
    lines = commands.lines("broker")
    assert [line[:12] for line in lines] == ["sysdescr  : ", "version   : ", "uptime    : ", "datetime  : "]
    assert lines[2] == "uptime    : 25 seconds"
    assert re.fullmatch(r"datetime  : \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", lines[3])


def test_stats(commands: Commands) -> None:
    """
    4.1. In the order of their names, values in a column.
    """
    lines = commands.lines("broker stats")
    assert lines == sorted(lines)
    shown = dict(line.split(": ") for line in lines)
    assert all(len(name) >= 30 for name in shown)
    found = {name.strip(): value for name, value in shown.items()}
    assert {f"{name}.{what}" for name in STATS for what in ("count", "max")} <= set(found)
    assert (found["channels.count"], found["subscriptions.count"], found["topics.count"]) == ("2", "2", "2")


def test_metrics(commands: Commands) -> None:
    """
    4.2. All 80 counters of EMQ X.
    """
    assert len(METRICS) == 80
    lines = commands.lines("broker metrics")
    found = dict(line.split(": ") for line in lines)
    assert set(METRICS) <= {name.strip() for name in found}
    assert "messages.dropped.no_subscriber: 0" in lines
    assert "packets.connect.received      : 2" in lines


def test_clients(commands: Commands) -> None:
    """
    6.
    """
    lines = commands.lines("clients list")
    times = r"created_at=\d+, connected_at=\d+\)"
    expected = (
        r"Client\(mosqsub/43832-airlee\.lo, username=test1, peername=127\.0\.0\.1:\d+, clean_start=true, keepalive=60,"
        r" session_expiry_interval=0, subscriptions=1, inflight=0, awaiting_rel=0, delivered_msgs=0, enqueued_msgs=0,"
        rf" dropped_msgs=0, connected=true, {times}"
    )
    (line,) = commands.lines("clients show mosqsub/43832-airlee.lo")
    assert re.fullmatch(expected, line)
    assert line in lines and len(lines) == 2
    (other,) = commands.lines("clients show mosqsub/90475-airlee.lo")
    assert "username=undefined" in other or "username=," in other
    assert "clean_start=false, keepalive=60, session_expiry_interval=7200, " in other
    assert commands.lines("clients kick mosqsub/90475-airlee.lo") == ["ok"]
    assert commands.lines("clients show mosqsub/90475-airlee.lo") == []


@pytest.mark.shows("list_sessions", "lookup_session")
def test_sessions(commands: Commands) -> None:
    """
    18.2: the sessions of release 3.
    """
    (line,) = commands.lines("sessions show mosqsub/43832-airlee.lo")
    assert re.fullmatch(
        r"Session\(mosqsub/43832-airlee\.lo, clean_start=true, expiry_interval=0, subscriptions_count=1,"
        r" max_inflight=32, inflight=0, mqueue_len=0, mqueue_dropped=0, awaiting_rel=0, deliver_msg=0, enqueue_msg=0,"
        r" created_at=\d+\)",
        line,
    )
    assert line in commands.lines("sessions list")
    assert len(commands.lines("sessions list")) == 2
    assert commands.lines("sessions show nobody") == []


def test_routes(commands: Commands) -> None:
    """
    7.
    """
    node = commands.memory.broker.nodeName
    assert sorted(commands.lines("routes list")) == [f"t/+/x -> {node}", f"t/y -> {node}"]
    assert commands.lines("routes show t/+/x") == [f"t/+/x -> {node}"]
    assert commands.lines("routes show t/1/x") == []


def test_subscriptions(commands: Commands) -> None:
    """
    8.
    """
    assert sorted(commands.lines("subscriptions list")) == [
        "mosqsub/43832-airlee.lo -> t/y:1",
        "mosqsub/90475-airlee.lo -> t/+/x:2",
    ]
    assert commands.lines("subscriptions add mosqsub/90475-airlee.lo /world 1") == ["ok"]
    assert "mosqsub/90475-airlee.lo -> /world:1" in commands.lines("subscriptions show mosqsub/90475-airlee.lo")
    assert commands.lines("subscriptions del mosqsub/90475-airlee.lo /world") == ["ok"]
    assert commands.lines("subscriptions show mosqsub/90475-airlee.lo") == ["mosqsub/90475-airlee.lo -> t/+/x:2"]


def test_plugins(commands: Commands) -> None:
    """
    9. Those of EMQ X can be named as there.
    """
    assert commands.lines("plugins load emqx_mod_presence") == ["Plugin presence loaded successfully."]
    shown = [line for line in commands.lines("plugins list") if line.startswith("Plugin(presence, ")]
    assert len(shown) == 1
    assert re.fullmatch(r"Plugin\(presence, version=v\S+, description=.+, active=true\)", shown[0])
    assert commands.lines("plugins reload presence") == ["Plugin presence reloaded successfully."]
    assert commands.lines("plugins unload presence") == ["Plugin presence unloaded successfully."]


def test_listeners(commands: Commands) -> None:
    """
    10.
    """
    commands.memory.node.listen(TCPPortSettings(bind=Bind("0.0.0.0", 1883)), object(), "mqtt.external")  # type: ignore[arg-type]  # nobody connects
    lines = commands.lines("listeners")
    assert lines[0] == "listener on mqtt:tcp:0.0.0.0:1883"
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "  acceptors       ",
        "  max_conns       ",
        "  current_conn    ",
        "  shutdown_count  ",
    ]
    assert lines[4] == "  shutdown_count  : []"
    assert commands.lines("listeners list") == lines
    assert commands.lines("listeners stop mqtt:tcp 0.0.0.0:1883") == [
        "Stop mqtt:tcp listener on 0.0.0.0:1883 successfully."
    ]
    assert commands.lines("listeners restart mqtt:tcp 1883") == [
        "Restart mqtt:tcp listener on 0.0.0.0:1883 successfully."
    ]


def test_groups() -> None:
    """
    1. Each group of the index is there, or belongs to an extension.
    """
    words = {words.split()[0] for one in declared() for words in (one.words, *one.aliases) if words}
    groups = "status mgmt broker acl clients routes subscriptions plugins vm mnesia log listeners retainer".split()
    assert set(groups) <= words
