"""
The tables of the MQTT-SN gateway.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from twisted_mqtt.config.forms import TOPIC_TABLE, TOPIC_TREE
from twisted_mqtt.config.grammar import whole
from twisted_mqtt.config.keys import Address, Alias, Duration, Flag, NoEffect, Positive, Size, Whole
from twisted_mqtt.config.schema_ports import DatagramSettings, ReceiveBuffer, SendBuffer
from twisted_mqtt.config.values import KB, Bind

# The largest payload of a datagram over IPv4, in bytes.
_LARGEST = 65507


class PredefinedTopics(Struct, frozen=True, kw_only=True):
    """
    C{[mqtt.sn.predefined]}.
    """

    topic: Annotated[
        dict[int, str], TOPIC_TABLE, 'Topic identifiers that clients know beforehand: `topic.1 = "/some/topic"`'
    ] = {}


class MQTTSNSettings(DatagramSettings, frozen=True, kw_only=True):
    """
    C{[mqtt.sn]}: the MQTT-SN gateway.
    """

    port: Annotated[Address, "UDP port or address; a port alone means every IPv4 address"] = Bind("127.0.0.1", 1884)
    advertise_duration: Annotated[Duration, "Time between ADVERTISE messages; 0 for none"] = 900.0
    advertise_address: Annotated[
        Address | None,
        "Broadcast or multicast address and port that ADVERTISE goes to; of a multicast group, SEARCHGW is heard too",
    ] = None
    gateway_id: Annotated[int, whole(0, 255), "The gateway's identifier in ADVERTISE and GWINFO"] = 1
    username: Annotated[str, "User name of every client of the gateway; empty for none"] = ""
    password: Annotated[str, "Its password"] = ""
    enable_stats: Annotated[
        Flag, NoEffect("they cost next to nothing, and are always kept"), "Whether figures are kept for every client"
    ] = False
    enable_qos3: Annotated[Flag, "Whether messages of QoS -1 are taken from clients that are not connected"] = False
    idle_timeout: Annotated[Duration, "Time for a client to tell its will, and to be let in"] = 30.0
    retry_interval: Annotated[Duration, "Time after which what was not acknowledged goes out again (T_retry)"] = 10.0
    max_retries: Annotated[Whole, "How often that is done before the client counts as lost (N_retry)"] = 4
    max_clients: Annotated[
        Positive, Alias("max_connections"), "Most clients at once; others are told that there is congestion"
    ] = 102400
    max_clients_per_address: Annotated[
        Whole, "Most of them at one address, that of a forwarder too; 0 for no limit"
    ] = 25_000
    max_conn_rate: Annotated[Positive, "Most clients that come in a second, likewise"] = 1000
    max_inflight: Annotated[
        int,
        whole(1, 64),
        "Messages of QoS 1 and 2 on their way to a client; the protocol says 1, some clients can do with more",
    ] = 1
    max_topics: Annotated[int, whole(128, 65534), "Most topic identifiers of one client"] = 1024
    max_message_size: Annotated[int, whole(64, _LARGEST), "Longest message, in bytes; others are dropped"] = _LARGEST
    max_buffered: Annotated[Positive, "Most messages that wait for one client, asleep or away"] = 100
    max_buffered_bytes: Annotated[Size, "Most bytes of them; 0 for no limit"] = 256 * KB
    recbuf: ReceiveBuffer = 4096 * KB
    sndbuf: SendBuffer = 1024 * KB
    predefined: Annotated[PredefinedTopics, "Topics that clients know beforehand"] = PredefinedTopics()
    zone: Annotated[str, "The zone whose options hold for its clients"] = "external"
    topic_tree: Annotated[str, TOPIC_TREE, "The topic tree of its clients; empty is the default tree"] = ""
