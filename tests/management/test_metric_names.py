"""
The names of metrics that the specification lists (rest-api.md 3, vernemq.md 18.1): each is served, and those of packets
move when packets do.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.kits.rest import Rest
from twisted_mqtt.management.settings import ManagementSettings

# rest-api.md 3.1; those of auth.clientid are there while that extension is.
EMQX = """
bytes.received bytes.sent packets.received packets.sent
packets.auth.received packets.auth.sent packets.connack.auth_error packets.connack.error packets.connack.sent
packets.connect.received packets.disconnect.received packets.disconnect.sent packets.pingreq.received
packets.pingresp.sent packets.puback.inuse packets.puback.missed packets.puback.received packets.puback.sent
packets.pubcomp.inuse packets.pubcomp.missed packets.pubcomp.received packets.pubcomp.sent packets.publish.auth_error
packets.publish.dropped packets.publish.error packets.publish.received packets.publish.sent packets.pubrec.inuse
packets.pubrec.missed packets.pubrec.received packets.pubrec.sent packets.pubrel.missed packets.pubrel.received
packets.pubrel.sent packets.suback.sent packets.subscribe.auth_error packets.subscribe.error packets.subscribe.received
packets.unsuback.sent packets.unsubscribe.error packets.unsubscribe.received
messages.acked messages.delayed messages.delivered messages.dropped messages.dropped.expired
messages.dropped.no_subscriber messages.expired messages.forward messages.publish messages.qos0.received
messages.qos0.sent messages.qos1.received messages.qos1.sent messages.qos2.dropped messages.qos2.expired
messages.qos2.received messages.qos2.sent messages.received messages.retained messages.sent
delivery.dropped delivery.dropped.expired delivery.dropped.no_local delivery.dropped.qos0_msg
delivery.dropped.queue_full delivery.dropped.too_large
client.auth.anonymous client.authenticate client.check_acl client.connack client.connect client.connected
client.disconnected client.subscribe client.unsubscribe
session.created session.discarded session.resumed session.takeovered session.terminated
rules.matched actions.failure actions.success auth.mqtt.anonymous channel.gc
""".split()

# rest-api.md 3.2
STATS = [
    f"{name}.{what}"
    for name in (
        "connections channels sessions suboptions subscribers subscriptions subscriptions.shared topics routes retained"
        " rules actions resources"
    ).split()
    for what in ("count", "max")
]

# vernemq.md 18.1, by 26.4; without what exists only in the Erlang VM.
VERNEMQ = """
socket_open socket_close socket_close_timeout socket_error bytes_received bytes_sent
mqtt_connect_received mqtt_publish_received mqtt_puback_received mqtt_pubrec_received mqtt_pubrel_received
mqtt_pubcomp_received mqtt_subscribe_received mqtt_unsubscribe_received mqtt_pingreq_received mqtt_disconnect_received
mqtt_auth_received
mqtt_connack_sent mqtt_publish_sent mqtt_puback_sent mqtt_pubrec_sent mqtt_pubrel_sent mqtt_pubcomp_sent
mqtt_suback_sent mqtt_unsuback_sent mqtt_pingresp_sent mqtt_disconnect_sent mqtt_auth_sent
mqtt_publish_auth_error mqtt_subscribe_auth_error mqtt_publish_error mqtt_subscribe_error mqtt_unsubscribe_error
mqtt_invalid_msg_size_error mqtt_puback_invalid_error mqtt_pubrec_invalid_error mqtt_pubcomp_invalid_error
client_keepalive_expired
queue_setup queue_initialized_from_storage queue_teardown queue_message_in queue_message_out queue_message_drop
queue_message_expired queue_message_unhandled queue_processes client_expired
router_matches_local router_matches_remote router_subscriptions router_memory cluster_bytes_received
cluster_bytes_sent cluster_bytes_dropped netsplit_detected netsplit_resolved
retain_messages retain_memory vmq_bridge_dropped_msgs
mqtt_connack_accepted_sent mqtt_connack_not_authorized_sent mqtt_connack_bad_credentials_sent
mqtt_connack_server_unavailable_sent mqtt_connack_identifier_rejected_sent mqtt_connack_unacceptable_protocol_sent
""".split()

GAUGES = {"queue_processes", "router_subscriptions", "router_memory", "retain_messages", "retain_memory"}


def scraped(rest: Rest) -> tuple[dict[str, float], dict[str, str]]:
    """
    The samples of a page, those of a name added up, without the label of the node; and the types of the names.
    """
    text = rest.call("GET", "", user=None).body.decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    samples: dict[str, float] = {}
    for name, labels, value in re.findall(r"^([a-z]\w*)(\{.*\})? (\S+)$", text, re.MULTILINE):
        key = name + re.sub(r'^\{node="[^"]*",?', "{", labels).replace("{}", "")
        for each in {name, key}:
            samples[each] = samples.get(each, 0.0) + float(value)
    return samples, types


def talk(rest: Rest) -> None:
    """
    Have clients do a bit of everything.
    """
    memory = rest.memory
    a = memory.client("a", version=4)
    b = memory.client("b", version=5)
    b.subscribe("x/#", qos=1)
    a.publish("x/1", b"1", 1)
    message: Any = b.next()
    b.acknowledge(0x4, message.packetID)
    b.publish("nobody", b"2", 1)
    b.disconnect()
    # With a mistake, so that it is sent away.
    a.send(b"\x00\x00")


def test_emqx() -> None:
    """
    The REST API has every name of the specification, as a number; what is shown to Prometheus has them too.
    """
    rest = Rest()
    metrics = rest.call("GET", "/metrics").data[0]["metrics"]
    stats = rest.call("GET", "/stats").data[0]["stats"]
    assert [name for name in EMQX if type(metrics.get(name)) is not int] == []
    assert [name for name in STATS if type(stats.get(name)) is not int] == []
    # Gauges of further parts may be there; none of these is a counter as well.
    assert not set(stats) & set(metrics)
    page = Rest(ManagementSettings(metric_names="emqx"), path="/metrics")
    samples, types = scraped(page)
    assert [name for name in EMQX + STATS if "emqx_" + name.replace(".", "_") not in samples] == []
    wrong = [name for name in STATS if types["emqx_" + name.replace(".", "_")] != "gauge"]
    gauges = {"messages.retained", "messages.delayed"}
    wrong += [name for name in set(EMQX) - gauges if types["emqx_" + name.replace(".", "_")] != "counter"]
    assert wrong == []


def test_vernemq() -> None:
    """
    C{/metrics} has every name of VerneMQ, with the right type.
    """
    samples, types = scraped(Rest(ManagementSettings(metric_names="vernemq"), path="/metrics"))
    assert [name for name in VERNEMQ if name not in types or name not in samples] == []
    assert [name for name in VERNEMQ if types[name] != ("gauge" if name in GAUGES else "counter")] == []


@pytest.mark.parametrize(
    ("style", "wanted"),
    [
        (
            "emqx",
            {
                "packets_connect_received": 2,
                "packets_publish_received": 2,
                "packets_publish_sent": 1,
                "packets_puback_sent": 2,
                "packets_puback_received": 1,
                "messages_qos1_received": 2,
                "messages_dropped_no_subscriber": 1,
                "delivery_offered": 1,
                "session_created": 2,
                "session_terminated": 2,
                "connections_opened": 2,
                "connections_closed": 2,
                'listener_messages_received{listener="tcp.external",zone="external",version="3.1.1"}': 1,
                'listener_messages_received{listener="tcp.external",zone="external",version="5.0"}': 1,
                'listener_packets_sent{listener="tcp.external",zone="external",version="3.1.1"}': 2,
            },
        ),
        (
            "vernemq",
            {
                'mqtt_connect_received{mqtt_version="4"}': 1,
                'mqtt_connect_received{mqtt_version="5"}': 1,
                'mqtt_connack_sent{mqtt_version="4",return_code="success"}': 1,
                'mqtt_connack_sent{mqtt_version="5",reason_code="success"}': 1,
                'mqtt_publish_received{mqtt_version="4"}': 1,
                'mqtt_publish_sent{mqtt_version="5"}': 1,
                'mqtt_puback_sent{mqtt_version="4"}': 1,
                'mqtt_puback_sent{mqtt_version="5",reason_code="no_matching_subscribers"}': 1,
                'mqtt_puback_received{mqtt_version="5",reason_code="success"}': 1,
                'mqtt_subscribe_received{mqtt_version="5"}': 1,
                'mqtt_disconnect_received{mqtt_version="5",reason_code="normal_disconnect"}': 1,
                "socket_open": 2,
                "socket_close": 2,
                "queue_setup": 2,
                "queue_teardown": 2,
                "queue_message_in": 1,
                "queue_message_out": 1,
                "router_matches_local": 1,
            },
        ),
    ],
)
def test_values(style: str, wanted: dict[str, int]) -> None:
    """
    The values move by what clients do, once for each.
    """
    rest = Rest(ManagementSettings(metric_names=style), path="/metrics")
    prefix = "emqx_" if style == "emqx" else ""
    before, _ = scraped(rest)
    talk(rest)
    after, _ = scraped(rest)
    assert {name: after[prefix + name] - before.get(prefix + name, 0) for name in wanted} == wanted
