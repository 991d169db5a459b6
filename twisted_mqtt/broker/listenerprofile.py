"""
The properties that a listener gives its clients: its name, its zone, and the limits of the zone.
"""

from __future__ import annotations

from typing import Final

from twisted_mqtt.config.schema_mqtt import Zone
from twisted_mqtt.config.values import RateLimit
from twisted_mqtt.core.limits import Limits

#: How many messages wait for a client if nothing is said of it: in memory alone, and where the store keeps them.
QUEUE_IN_MEMORY: Final = 1000
QUEUE_IN_STORE: Final = 1_000_000


def limitsOf(zone: Zone) -> Limits:
    """
    The limits of a zone as the core wants them.
    """
    limits = Limits()
    limits.maxPacketSize = zone.max_packet_size
    limits.maxClientIDLength = zone.max_clientid_len
    limits.maxTopicLevels = zone.max_topic_levels
    limits.maxQoS = zone.max_qos_allowed
    limits.maxTopicAlias = zone.max_topic_alias
    limits.retainAvailable = zone.retain_available
    limits.wildcardAvailable = zone.wildcard_subscription
    limits.sharedAvailable = zone.shared_subscription
    limits.maxInflight = zone.max_inflight
    most = zone.max_mqueue_len
    limits.maxQueue = QUEUE_IN_MEMORY if most is None else most
    limits.maxQueueStored = QUEUE_IN_STORE if most is None else most
    limits.maxQueueOnline = -1 if zone.max_online_messages is None else zone.max_online_messages
    limits.maxQueueOffline = -1 if zone.max_offline_messages is None else zone.max_offline_messages
    limits.maxQueueBytes = zone.max_mqueue_bytes
    limits.storeQoS0 = zone.mqueue_store_qos0
    limits.priorities = dict(zone.mqueue_priorities)
    # Topics that the table does not name stand below all that it does, or above.
    if zone.mqueue_priorities:
        lowest = zone.mqueue_default_priority == "lowest"
        named = zone.mqueue_priorities.values()
        limits.defaultPriority = min(named) - 1 if lowest else max(named) + 1
    limits.maxAwaitingRel = zone.max_awaiting_rel
    limits.awaitRelTimeout = zone.await_rel_timeout
    limits.upgradeQoS = zone.upgrade_qos
    limits.ignoreLoop = zone.ignore_loop_deliver
    limits.maxSubscriptions = zone.max_subscriptions
    limits.maxPendingBytes = zone.max_pending_bytes
    limits.strict = zone.strict_mode
    limits.keepAliveBackoff = zone.keepalive_backoff
    return limits


class ListenerProfile:
    """
    The rules and limits that a listener sets for its clients.

    @ivar name: such as C{"tcp.external"}.
    @ivar zone: the options that hold for its clients.
    @ivar limits: the same for the core; one object for all its clients.
    @ivar onLoopback: whether it can be reached from this machine alone.
    @ivar allowsAnonymous: whether clients without credentials come in.
    @ivar versions: the versions of MQTT that are spoken.
    @ivar usernamePart: which part of a client's certificate is its user name: C{"cn"}, C{"dn"}, C{"crt"}, L{None}.
    @ivar sendTimeout: for how many seconds a client may be congested; 0 for ever, and where it is the transport that
        sees to it that clients take something: L{twisted_mqtt.net.transport} can tell better.
    @ivar byteRate: how many bytes are taken from a connection; L{None} for any number.
    @ivar topicTree: the topic tree that its clients are in; empty for the default one.
    @ivar maxPerAddress: how many sessions clients at one address begin; 0 for any number.
    @ivar maxLifetime: for how many seconds a connection lasts; 0 for any time.
    @ivar publishRate: how many messages are taken from a connection; L{None} for any number.
    """

    __slots__ = (
        "allowsAnonymous",
        "byteRate",
        "limits",
        "maxLifetime",
        "maxPerAddress",
        "name",
        "onLoopback",
        "publishRate",
        "sendTimeout",
        "topicTree",
        "usernamePart",
        "versions",
        "zone",
    )

    def __init__(
        self,
        name: str,
        zone: Zone,
        limits: Limits | None = None,
        onLoopback: bool = True,
        versions: tuple[int, ...] = (3, 4, 5),
        sendTimeout: float = 15.0,
        usernamePart: str | None = None,
        byteRate: RateLimit | None = None,
        publishRate: RateLimit | None = None,
        topicTree: str = "",
        maxPerAddress: int | None = None,
        maxLifetime: float = 0.0,
    ) -> None:
        """
        @param maxPerAddress: where it is not what the zone says.
        """
        self.name = name
        self.zone = zone
        self.limits = limitsOf(zone) if limits is None else limits
        self.onLoopback = onLoopback
        self.allowsAnonymous: bool = zone.allowsAnonymous(onLoopback)
        self.versions = versions
        self.sendTimeout = sendTimeout
        self.usernamePart = usernamePart
        self.byteRate = byteRate
        self.topicTree = topicTree
        self.maxPerAddress: int = zone.max_sessions_per_address if maxPerAddress is None else maxPerAddress
        self.maxLifetime = maxLifetime
        # A listener's own limit comes before that of its zone.
        self.publishRate = zone.publish_limit if publishRate is None else publishRate

    def __repr__(self) -> str:
        return f"<ListenerProfile {self.name} zone={self.zone.name}>"
