"""
The keys of the MQTT protocol and of sessions: C{[mqtt]} and C{[zone.<name>]}.

A zone in this module has every value resolved; L{twisted_mqtt.config.zones} does that.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct

from twisted_mqtt.config.grammar import fraction, whole
from twisted_mqtt.config.keys import (
    Duration,
    Flag,
    Limits,
    NoEffect,
    Priorities,
    QoS,
    Rate,
    Size,
    TopicName,
    Whole,
)
from twisted_mqtt.config.values import DAY, MB, TwoLimits


class MQTT(Struct, frozen=True, kw_only=True):
    """
    C{[mqtt]}: what holds in every zone that does not say otherwise.
    """

    max_packet_size: Annotated[Size, "Largest packet taken from a client"] = MB
    max_clientid_len: Annotated[int, whole(1, 65535), "Longest client identifier, in bytes"] = 1024
    max_topic_levels: Annotated[Whole, "Most levels in a topic or topic filter; 0 for no limit"] = 128
    max_qos_allowed: Annotated[QoS, "Highest quality of service for publishing"] = 2
    max_topic_alias: Annotated[int, whole(0, 65535), "Topic aliases a client may use in each direction; 0 for none"] = 0
    retain_available: Annotated[Flag, "Whether clients may publish retained messages"] = True
    wildcard_subscription: Annotated[Flag, "Whether topic filters may have + and #"] = True
    shared_subscription: Annotated[Flag, "Whether `$share/<group>/...` and `$queue/...` are served"] = True
    ignore_loop_deliver: Annotated[
        Flag, "Keep a client's own messages from coming back to it, as No Local does for MQTT 5.0 clients"
    ] = False
    max_session_expiry_interval: Annotated[
        Duration,
        "Longest time for which a client may ask that its session outlive the connection; a longer one is shortened, "
        "and CONNACK tells so. 0 for no limit",
    ] = 90 * DAY
    max_will_delay: Annotated[Duration, "Longest delay of a will; a longer one is shortened. 0 for no limit"] = 30 * DAY
    max_subscribe_filters: Annotated[
        Whole, "Most topic filters of one SUBSCRIBE; those beyond are refused. 0 for no limit"
    ] = 4096
    strict_mode: Annotated[
        Flag,
        "Refuse strings with control characters or non-characters, as MQTT 5.0 1.5.4 allows; strings that it forbids "
        "are always refused",
    ] = False


class Zone(Struct, frozen=True, kw_only=True):
    """
    C{[zone.<name>]}: the session and protocol options of the listeners that name the zone.

    @ivar name: the zone's name.
    """

    name: str = ""

    idle_timeout: Annotated[Duration, "Time from the connection to the CONNECT packet"] = 15.0
    publish_limit: Annotated[
        Rate | None,
        "Most messages a client may publish: `10,60s` is 10 in a minute, `10,100` is 10 a second and 100 at once. "
        "Above it the broker pauses reading from that client; clients over datagrams are refused until it is time",
    ] = None
    allow_anonymous: Annotated[
        Flag | None,
        "Whether clients without credentials are let in. If neither zone nor file says so, they are on listeners "
        "bound to a loopback address and nowhere else",
    ] = None
    enable_acl: Annotated[Flag, "Whether publishing and subscribing are checked by the access rules"] = True
    enable_ban: Annotated[Flag, "Whether banned clients are refused"] = True
    enable_stats: Annotated[Flag, "Whether figures of every connection are shown"] = True
    acl_deny_action: Annotated[
        Literal["ignore", "disconnect"], "Whether a client is disconnected after a refused message or subscription"
    ] = "ignore"
    force_gc_policy: Annotated[
        Limits, NoEffect("Python frees memory by itself"), "Messages or bytes after which memory is cleaned up"
    ] = TwoLimits(1000, MB)
    force_shutdown_policy: Annotated[
        Limits | None, "Queued messages or waiting bytes at which a connection is closed at once"
    ] = None
    max_packet_size: Annotated[Size, "As `mqtt.max_packet_size`"] = MB
    max_clientid_len: Annotated[int, whole(1, 65535), "As `mqtt.max_clientid_len`"] = 1024
    max_topic_levels: Annotated[Whole, "As `mqtt.max_topic_levels`"] = 128
    max_qos_allowed: Annotated[QoS, "As `mqtt.max_qos_allowed`"] = 2
    max_topic_alias: Annotated[int, whole(0, 65535), "As `mqtt.max_topic_alias`"] = 0
    retain_available: Annotated[Flag, "As `mqtt.retain_available`"] = True
    wildcard_subscription: Annotated[Flag, "As `mqtt.wildcard_subscription`"] = True
    shared_subscription: Annotated[Flag, "As `mqtt.shared_subscription`"] = True
    server_keepalive: Annotated[
        int,
        whole(0, 65535, unit="seconds"),
        "Keep-alive that the broker imposes, in seconds; 0 lets the client decide. Clients below MQTT 5 can't be told: "
        "those that are silent for longer than this allows are closed",
    ] = 0
    keepalive_backoff: Annotated[
        float, fraction(0.5, 10), "A silent client is disconnected after twice its keep-alive, multiplied by this"
    ] = 0.75
    max_sessions_per_user: Annotated[
        Whole, "Most sessions that clients with the same user name begin; 0 for no limit"
    ] = 250_000
    max_sessions_per_address: Annotated[
        Whole, "Most sessions that clients at the same address begin; 0 for no limit"
    ] = 250_000
    max_session_expiry_interval: Annotated[Duration, "As `mqtt.max_session_expiry_interval`"] = 90 * DAY
    max_will_delay: Annotated[Duration, "As `mqtt.max_will_delay`"] = 30 * DAY
    max_subscribe_filters: Annotated[Whole, "As `mqtt.max_subscribe_filters`"] = 4096
    max_subscriptions: Annotated[Whole, "Most subscriptions of a client; 0 for no limit"] = 100_000
    upgrade_qos: Annotated[Flag, "Deliver at the subscription's quality of service when it is above the message's"] = (
        False
    )
    max_inflight: Annotated[
        int, whole(1, 65535), "Messages of QoS 1 and 2 on their way to a client without acknowledgement"
    ] = 32
    retry_interval: Annotated[
        Duration,
        "Time after which an unacknowledged message goes out again, for protocols over datagrams; MQTT clients get it "
        "again when they come back, and only then",
    ] = 30.0
    max_awaiting_rel: Annotated[
        int,
        whole(0, 65535),
        "Messages of QoS 2 from a client waiting for their PUBREL: the receive maximum of clients of MQTT 5; older "
        "ones may have more, up to the number of packet identifiers; 0 for no limit",
    ] = 100
    await_rel_timeout: Annotated[
        Duration, "Time after which a client with more than `max_awaiting_rel` is not expected to release a message"
    ] = 300.0
    session_expiry_interval: Annotated[Duration, "How long the session of an MQTT 3 client outlives its connection"] = (
        7200.0
    )
    max_mqueue_len: Annotated[
        Whole | None,
        "Messages waiting for a client that is away or has its window full; 0 for no limit. If nothing is said, 1,000 "
        "where they are in memory alone, and 1,000,000 where the store keeps them. When full, messages of QoS 0 or "
        "else the oldest are dropped",
    ] = None
    max_mqueue_bytes: Annotated[
        Size,
        "Bytes of topics and payloads waiting for such a client; 0 for no limit. In the store, a queue has at most an "
        "eighth of `persistence.max_size`",
    ] = 64 * MB
    max_online_messages: Annotated[
        Whole | None, "Instead of `max_mqueue_len` while the client is connected; 0 for no limit"
    ] = None
    max_offline_messages: Annotated[
        Whole | None, "Instead of `max_mqueue_len` while the client is away; 0 for no limit"
    ] = None
    mqueue_priorities: Annotated[
        Priorities, "Priorities of topics in that queue: larger numbers leave first; `none` for one order"
    ] = {}
    mqueue_default_priority: Annotated[
        Literal["lowest", "highest"], "Priority of the topics that `mqueue_priorities` does not name"
    ] = "lowest"
    mqueue_store_qos0: Annotated[Flag, "Whether messages of QoS 0 wait in that queue too"] = True
    enable_flapping_detect: Annotated[Flag, "Whether `flapping_detect_policy` is applied"] = False
    mountpoint: Annotated[
        TopicName,
        "Prefix of every topic of a client, removed again on delivery; %c is the client identifier, %u the user name",
    ] = ""
    use_username_as_clientid: Annotated[Flag, "Whether the user name replaces the client identifier"] = False
    ignore_loop_deliver: Annotated[Flag, "As `mqtt.ignore_loop_deliver`"] = False
    strict_mode: Annotated[Flag, "As `mqtt.strict_mode`"] = False
    max_pending_bytes: Annotated[Size, "Bytes waiting to be sent to one connection before it counts as congested"] = MB
    hook_timeout: Annotated[
        Duration, "Time an extension has to answer at a hook point before the broker goes on without it"
    ] = 10.0

    def allowsAnonymous(self, onLoopback: bool) -> bool:
        """
        Whether clients without credentials are let in.

        @param onLoopback: whether the listener can only be reached from this machine.
        """
        return onLoopback if self.allow_anonymous is None else self.allow_anonymous
