"""
The counters and measurements of the broker itself, as metrics (spec/rest-api.md 3).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from twisted_mqtt.broker.traffic import registerTraffic
from twisted_mqtt.core.counters import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted_mqtt.base.metrics import Metrics
    from twisted_mqtt.broker.broker import Broker
    from twisted_mqtt.broker.traffic import AllTraffic

#: Counters that go up and down.
_GAUGES: Final = ("messages.delayed", "messages.retained")

#: The meaning of a packet's counters, by their last word.
_PACKETS: Final = {
    "received": "received",
    "sent": "sent",
    "inuse": "whose packet identifier was in use",
    "missed": "for which no message was in flight",
    "error": "that failed",
    "auth_error": "refused by authentication or access rules",
    "dropped": "dropped",
}

_HELP: Final = {
    "actions.success": "Rule actions done",
    "bytes.received": "Bytes received",
    "bytes.sent": "Bytes sent",
    "client.auth.anonymous": "Clients let in without credentials",
    "client.authenticate": "Authentications asked for",
    "client.check_acl": "Access rules asked",
    "client.connack": "Answers to CONNECT",
    "client.connect": "Requests to connect",
    "client.connected": "Clients let in",
    "client.disconnected": "Clients that have gone",
    "client.keepalive_timeout": "Clients that were silent for longer than they had said",
    "client.subscribe": "Requests to subscribe",
    "client.unsubscribe": "Requests to unsubscribe",
    "connections.closed": "Connections of clients closed",
    "connections.closed.overload": "Connections closed because too much waited for them",
    "connections.connect_timeout": "Connections closed because no CONNECT came in time",
    "connections.error": "Connections that have broken",
    "connections.opened": "Connections of clients made",
    "connections.refused.access": "Connections refused by the access rules of a listener",
    "connections.refused.banned": "Clients refused because they are banned",
    "connections.refused.full": "Connections refused because there were too many",
    "delivery.dropped": "Deliveries dropped, for all reasons",
    "delivery.dropped.expired": "Deliveries dropped because the message had expired",
    "delivery.dropped.memory": "Deliveries of QoS 0 dropped because the process had too little memory left",
    "delivery.dropped.no_local": "Deliveries left out because the subscriber had published the message",
    "delivery.dropped.qos0_msg": "Deliveries of QoS 0 dropped because they are not queued",
    "delivery.dropped.queue_full": "Deliveries dropped because the queue was full",
    "delivery.dropped.session_ended": "Deliveries dropped because the session ended",
    "delivery.dropped.too_large": "Deliveries dropped because the client takes no packet so large",
    "delivery.dropped.unsendable": "Deliveries dropped because the subscriber's protocol has no form for the message",
    "delivery.offered": "Messages offered to subscribers, each counted once for each of them",
    "messages.acked": "Messages that receivers have acknowledged",
    "messages.delayed": "Delayed messages that wait for their time",
    "messages.delivered": "Messages delivered",
    "messages.dropped": "Messages dropped before they were routed, for all reasons",
    "messages.dropped.expired": "Messages dropped because they had expired",
    "messages.dropped.invalid": "Messages dropped because no packet can carry them",
    "messages.dropped.no_subscriber": "Messages that nobody had subscribed",
    "messages.forward": "Messages forwarded to other nodes",
    "messages.publish": "Messages published",
    "messages.qos0.received": "Messages of QoS 0 received",
    "messages.qos0.sent": "Messages of QoS 0 sent",
    "messages.qos1.received": "Messages of QoS 1 received",
    "messages.qos1.sent": "Messages of QoS 1 sent",
    "messages.qos2.received": "Messages of QoS 2 received",
    "messages.qos2.sent": "Messages of QoS 2 sent",
    "messages.received": "Messages received",
    "messages.retained": "Retained messages",
    "messages.sent": "Messages sent",
    "packets.received": "MQTT packets received",
    "packets.sent": "MQTT packets sent",
    "packets.too_large": "Packets refused because they were larger than allowed",
    "routes.matched": "Subscriptions that were matched by messages",
    "rules.matched": "Rules that matched",
    "session.created": "Sessions begun",
    "session.discarded": "Sessions ended by a clean start",
    "session.loaded": "Sessions read from the store at the start",
    "session.resumed": "Sessions resumed",
    "session.takeovered": "Sessions taken over from another connection",
    "session.terminated": "Sessions ended",
}

#: What a subscription takes in the tree and in its session, on average, with its share of the filter.
_SUBSCRIPTION_BYTES: Final = 400

#: Names that EMQ X had before 4.0 and still shows: what is counted, and what it is.
_OLDER: Final = {
    "messages.expired": ("messages_dropped_expired", "Messages dropped because they had expired"),
    "auth.mqtt.anonymous": ("client_auth_anonymous", "Clients let in without credentials"),
}

#: The gauges that have a maximum, by name.
STATS: Final = {
    "connections": "Clients that are connected",
    "channels": "Clients that are connected",
    "sessions": "Sessions, with those whose clients are away",
    "suboptions": "Subscriptions",
    "subscribers": "Subscriptions",
    "subscriptions": "Subscriptions",
    "subscriptions.shared": "Shared subscriptions",
    "topics": "Topic filters that are subscribed",
    "routes": "Topic filters that are subscribed",
    "retained": "Retained messages",
}


def helpOf(name: str) -> str:
    """
    Describe a counter of L{Counters<twisted_mqtt.core.counters.Counters>}.
    """
    found = _HELP.get(name)
    if found is not None:
        return found
    _, packet, what = name.split(".")
    return f"{packet.upper()} packets {_PACKETS[what]}"


def register(metrics: Metrics, traffic: AllTraffic, stats: Callable[[], Mapping[str, int]]) -> None:
    """
    Register what every broker counts and measures.

    @param stats: how many there are now, by the names of L{STATS}.
    """
    for name, attribute in ATTRIBUTES.items():
        if name == "delivery.offered":
            # Most of them are matches of the router: see registerParts.
            continue
        read = partial(traffic.total, attribute)
        if name in _GAUGES:
            metrics.gauge(name, helpOf(name), read=read)
        else:
            metrics.counter(name, helpOf(name), read=read)
    metrics.counter("sessions.ended", "Sessions ended, by a clean start too", read=partial(_ended, traffic))
    for name, (attribute, help) in _OLDER.items():
        metrics.counter(name, help, read=partial(traffic.total, attribute))
    registerTraffic(metrics, traffic)
    for name, help in STATS.items():
        metrics.gauge(f"{name}.count", help, read=partial(_stat, stats, name), peak=f"{name}.max")


def registerParts(broker: Broker) -> None:
    """
    Register what is measured of the parts of a broker.
    """
    metrics, threads = broker.metrics, broker.threads
    metrics.gauge("threads.working", "Threads of the pool that are at work", read=lambda: threads.working)
    metrics.gauge("threads.waiting", "Calls that wait for a thread", read=lambda: threads.waiting)
    metrics.counter(
        "threads.refused", "Calls refused because too many waited for a thread", read=lambda: threads.refused
    )
    router, traffic = broker.router, broker.traffic
    metrics.counter("routes.matched", helpOf("routes.matched"), read=lambda: router.matched)
    metrics.counter(
        "delivery.offered",
        helpOf("delivery.offered"),
        # That of the counters is of what comes to a subscriber without being routed, such as retained messages.
        read=lambda: router.matched + traffic.total("delivery_offered"),
    )
    slow = broker.slowCalls
    metrics.counter(
        "callbacks.slow",
        "Callbacks that blocked the reactor for longer than sysmon.long_schedule",
        read=lambda: slow.count,
    )
    metrics.gauge("alarms.active", "Alarms that are active", read=lambda: len(broker.alarms.active))
    queues, quotas, retained = broker.switches.queues, broker.quotas, broker.retained
    metrics.gauge("queues.bytes", "Bytes of memory that waiting messages take, roughly", read=lambda: queues.bytes)
    store = broker.store
    metrics.gauge("store.bytes", "Bytes of the store in use", read=lambda: store.size)
    metrics.gauge("wills", "Wills, of clients that are connected and of those that are gone", read=lambda: quotas.wills)
    metrics.gauge("wills.bytes", "Bytes of the topics and payloads of wills", read=lambda: quotas.willBytes)
    metrics.gauge("retained.bytes", "Bytes of the payloads of retained messages in memory", read=lambda: retained.bytes)
    metrics.gauge(
        "routes.bytes",
        "Bytes of memory that subscriptions take, roughly",
        read=lambda: sum(tree.count for tree in broker.router.allTrees()) * _SUBSCRIPTION_BYTES,
    )
    metrics.gauge("bans", "Bans that hold", read=lambda: len(broker.bans))


def _stat(stats: Callable[[], Mapping[str, int]], name: str) -> int:
    return stats()[name]


def _ended(traffic: AllTraffic) -> int:
    return traffic.total("session_terminated") + traffic.total("session_discarded")
