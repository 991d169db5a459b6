"""
The counters of the broker, as plain attributes: a count costs one addition.

An attribute has the name of its metric, with underscores for the dots. C{messages_retained} and C{messages_delayed} are
the numbers of messages stored now; all other counters only grow.
"""

from __future__ import annotations

from typing import Final

#: The names of all metrics, in alphabetical order.
NAMES: Final[tuple[str, ...]] = (
    "actions.success",
    "bytes.received",
    "bytes.sent",
    "client.auth.anonymous",
    "client.authenticate",
    "client.check_acl",
    "client.connack",
    "client.connect",
    "client.connected",
    "client.disconnected",
    "client.keepalive_timeout",
    "client.subscribe",
    "client.unsubscribe",
    "connections.closed",
    "connections.closed.overload",
    "connections.connect_timeout",
    "connections.error",
    "connections.opened",
    "connections.refused.access",
    "connections.refused.banned",
    "connections.refused.full",
    "delivery.dropped",
    "delivery.dropped.expired",
    "delivery.dropped.memory",
    "delivery.dropped.no_local",
    "delivery.dropped.qos0_msg",
    "delivery.dropped.queue_full",
    "delivery.dropped.session_ended",
    "delivery.dropped.too_large",
    "delivery.dropped.unsendable",
    "delivery.offered",
    "messages.acked",
    "messages.delayed",
    "messages.delivered",
    "messages.dropped",
    "messages.dropped.expired",
    "messages.dropped.invalid",
    "messages.dropped.no_subscriber",
    "messages.forward",
    "messages.publish",
    "messages.qos0.received",
    "messages.qos0.sent",
    "messages.qos1.received",
    "messages.qos1.sent",
    "messages.qos2.received",
    "messages.qos2.sent",
    "messages.received",
    "messages.retained",
    "messages.sent",
    "packets.auth.received",
    "packets.auth.sent",
    "packets.connack.auth_error",
    "packets.connack.error",
    "packets.connack.sent",
    "packets.connect.received",
    "packets.disconnect.received",
    "packets.disconnect.sent",
    "packets.pingreq.received",
    "packets.pingresp.sent",
    "packets.puback.inuse",
    "packets.puback.missed",
    "packets.puback.received",
    "packets.puback.sent",
    "packets.pubcomp.inuse",
    "packets.pubcomp.missed",
    "packets.pubcomp.received",
    "packets.pubcomp.sent",
    "packets.publish.auth_error",
    "packets.publish.dropped",
    "packets.publish.error",
    "packets.publish.received",
    "packets.publish.sent",
    "packets.pubrec.inuse",
    "packets.pubrec.missed",
    "packets.pubrec.received",
    "packets.pubrec.sent",
    "packets.pubrel.missed",
    "packets.pubrel.received",
    "packets.pubrel.sent",
    "packets.received",
    "packets.sent",
    "packets.suback.sent",
    "packets.subscribe.auth_error",
    "packets.subscribe.error",
    "packets.subscribe.received",
    "packets.too_large",
    "packets.unsuback.sent",
    "packets.unsubscribe.error",
    "packets.unsubscribe.received",
    "rules.matched",
    "session.created",
    "session.discarded",
    "session.loaded",
    "session.resumed",
    "session.takeovered",
    "session.terminated",
)

#: The attribute that holds each metric.
ATTRIBUTES: Final[dict[str, str]] = {name: name.replace(".", "_") for name in NAMES}


#: Packets that were sent, in the keys of L{Counters.reasons}; of those that were received there is the type alone.
SENT: Final = 16


class Counters:
    """
    What was counted in one place, from the start of the broker: by the connections of a listener in one version of
    MQTT, or by all that is no connection. The sums are what is shown.

    @ivar traffic: of the listener; L{None} where it is none's.
    @ivar reasons: how often packets had reason codes other than 0, by L{reasonKey}.
    """

    __slots__ = ("traffic", "reasons", *ATTRIBUTES.values())

    def __init__(self, traffic: Traffic | None = None) -> None:
        self.traffic: Traffic | None = traffic
        self.reasons: dict[int, int] = {}
        self.actions_success: int = 0
        self.bytes_received: int = 0
        self.bytes_sent: int = 0
        self.client_auth_anonymous: int = 0
        self.client_authenticate: int = 0
        self.client_check_acl: int = 0
        self.client_connack: int = 0
        self.client_connect: int = 0
        self.client_connected: int = 0
        self.client_disconnected: int = 0
        self.client_keepalive_timeout: int = 0
        self.client_subscribe: int = 0
        self.client_unsubscribe: int = 0
        self.connections_closed: int = 0
        self.connections_closed_overload: int = 0
        self.connections_connect_timeout: int = 0
        self.connections_error: int = 0
        self.connections_opened: int = 0
        self.connections_refused_access: int = 0
        self.connections_refused_banned: int = 0
        self.connections_refused_full: int = 0
        self.delivery_dropped: int = 0
        self.delivery_dropped_expired: int = 0
        self.delivery_dropped_memory: int = 0
        self.delivery_dropped_no_local: int = 0
        self.delivery_dropped_qos0_msg: int = 0
        self.delivery_dropped_queue_full: int = 0
        self.delivery_dropped_session_ended: int = 0
        self.delivery_dropped_too_large: int = 0
        self.delivery_dropped_unsendable: int = 0
        self.delivery_offered: int = 0
        self.messages_acked: int = 0
        self.messages_delayed: int = 0
        self.messages_delivered: int = 0
        self.messages_dropped: int = 0
        self.messages_dropped_expired: int = 0
        self.messages_dropped_invalid: int = 0
        self.messages_dropped_no_subscriber: int = 0
        self.messages_forward: int = 0
        self.messages_publish: int = 0
        self.messages_qos0_received: int = 0
        self.messages_qos0_sent: int = 0
        self.messages_qos1_received: int = 0
        self.messages_qos1_sent: int = 0
        self.messages_qos2_received: int = 0
        self.messages_qos2_sent: int = 0
        self.messages_received: int = 0
        self.messages_retained: int = 0
        self.messages_sent: int = 0
        self.packets_auth_received: int = 0
        self.packets_auth_sent: int = 0
        self.packets_connack_auth_error: int = 0
        self.packets_connack_error: int = 0
        self.packets_connack_sent: int = 0
        self.packets_connect_received: int = 0
        self.packets_disconnect_received: int = 0
        self.packets_disconnect_sent: int = 0
        self.packets_pingreq_received: int = 0
        self.packets_pingresp_sent: int = 0
        self.packets_puback_inuse: int = 0
        self.packets_puback_missed: int = 0
        self.packets_puback_received: int = 0
        self.packets_puback_sent: int = 0
        self.packets_pubcomp_inuse: int = 0
        self.packets_pubcomp_missed: int = 0
        self.packets_pubcomp_received: int = 0
        self.packets_pubcomp_sent: int = 0
        self.packets_publish_auth_error: int = 0
        self.packets_publish_dropped: int = 0
        self.packets_publish_error: int = 0
        self.packets_publish_received: int = 0
        self.packets_publish_sent: int = 0
        self.packets_pubrec_inuse: int = 0
        self.packets_pubrec_missed: int = 0
        self.packets_pubrec_received: int = 0
        self.packets_pubrec_sent: int = 0
        self.packets_pubrel_missed: int = 0
        self.packets_pubrel_received: int = 0
        self.packets_pubrel_sent: int = 0
        self.packets_received: int = 0
        self.packets_sent: int = 0
        self.packets_suback_sent: int = 0
        self.packets_subscribe_auth_error: int = 0
        self.packets_subscribe_error: int = 0
        self.packets_subscribe_received: int = 0
        self.packets_too_large: int = 0
        self.packets_unsuback_sent: int = 0
        self.packets_unsubscribe_error: int = 0
        self.packets_unsubscribe_received: int = 0
        self.rules_matched: int = 0
        self.session_created: int = 0
        self.session_discarded: int = 0
        self.session_loaded: int = 0
        self.session_resumed: int = 0
        self.session_takeovered: int = 0
        self.session_terminated: int = 0

    def countMessage(self, qos: int) -> None:
        """
        Count a message that was received.
        """
        self.messages_received += 1
        self.messages_publish += 1
        if qos == 0:
            self.messages_qos0_received += 1
        elif qos == 1:
            self.messages_qos1_received += 1
        else:
            self.messages_qos2_received += 1

    def countReason(self, kind: int, reason: int) -> None:
        """
        Count the reason code of a packet, unless it is 0.

        @param kind: the type of the packet; L{SENT} more if it is sent.
        """
        if reason:
            key = kind << 8 | reason
            self.reasons[key] = self.reasons.get(key, 0) + 1

    def read(self) -> dict[str, int]:
        """
        Copy all counts.

        @return: by name, in alphabetical order.
        """
        return {name: getattr(self, attribute) for name, attribute in ATTRIBUTES.items()}


class Traffic:
    """
    The counters of the connections of one listener, apart for each version of MQTT.

    @ivar listener: its name.
    @ivar zone: that of its clients.
    @ivar byVersion: the counters, by the version; at 0 those of connections that have not sent CONNECT, and of clients
        that do not speak MQTT.
    """

    __slots__ = ("listener", "zone", "byVersion")

    def __init__(self, listener: str, zone: str) -> None:
        self.listener: str = listener
        self.zone: str = zone
        others = Counters(self)
        self.byVersion: list[Counters] = [others, others, others, Counters(self), Counters(self), Counters(self)]
