"""
What the status page shows (spec/vernemq.md 18, MON-09 and MON-10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from twisted_mqtt.base.about import releaseOf
from twisted_mqtt.management.builtin.ports import PortRow, portsOf
from twisted_mqtt.management.health import reasons

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import INode


class AlarmRow(Struct, kw_only=True):
    """
    An alarm that is active.

    @ivar seconds: for how long it has been.
    """

    name: str
    severity: str
    title: str
    summary: str
    seconds: float


class NodeStatus(Struct, kw_only=True):
    """
    A node. Up to C{version} these are the members that VerneMQ has.

    @ivar num_online: clients that are connected.
    @ivar num_offline: sessions whose clients are away.
    @ivar msg_in: PUBLISH packets received, and C{msg_out}: sent.
    @ivar queue_in: messages for sessions, C{queue_out}: those that were delivered, C{queue_drop}: those for which a
        queue had no room, C{queue_unhandled}: those whose session ended.
    @ivar matches_local: deliveries that were routed to sessions here, and C{matches_remote}: to other nodes.
    @ivar mystatus: the nodes that this one knows, and whether they can be reached.
    @ivar uptime: seconds since the start.
    @ivar reasons: why no clients are to be sent here; none if they are.
    """

    num_online: int
    num_offline: int
    msg_in: int
    msg_out: int
    queue_in: int
    queue_out: int
    queue_drop: int
    queue_unhandled: int
    num_subscriptions: int
    num_retained: int
    matches_local: int
    matches_remote: int
    mystatus: list[dict[str, bool]]
    listeners: list[PortRow]
    version: str
    uptime: float
    reasons: list[str]
    alarms: list[AlarmRow]


def statusOf(node: INode) -> list[dict[str, NodeStatus]]:
    """
    How the nodes are, by name.
    """
    broker = node.broker
    values = broker.metrics.read()

    def value(name: str) -> int:
        return int(values.get(name, 0))

    online = value("connections.count")
    status = NodeStatus(
        num_online=online,
        num_offline=max(0, value("sessions.count") - online),
        msg_in=value("packets.publish.received"),
        msg_out=value("packets.publish.sent"),
        queue_in=value("delivery.offered"),
        queue_out=value("messages.delivered"),
        queue_drop=value("delivery.dropped.queue_full"),
        queue_unhandled=value("delivery.dropped.session_ended"),
        num_subscriptions=value("subscriptions.count"),
        num_retained=value("retained.count"),
        matches_local=value("routes.matched"),
        matches_remote=value("messages.forward"),
        mystatus=[{broker.nodeName: True}],
        listeners=portsOf(node),
        version=releaseOf("twisted-mqtt"),
        uptime=round(max(0.0, broker.clock.seconds() - broker.startedAt), 1),
        reasons=reasons(node),
        alarms=[
            AlarmRow(
                name=alarm.name,
                severity=alarm.severity,
                title=alarm.title,
                summary=alarm.summary,
                seconds=round(max(0.0, broker.clock.seconds() - broker.dates.moment(alarm.at)), 1),
            )
            for alarm in broker.alarms.active.values()
        ],
    )
    return [{broker.nodeName: status}]


def statusText(node: INode) -> bytes:
    """
    The same in JSON.
    """
    return msgspec.json.encode(statusOf(node))
