"""
Every metric of MQTT is counted exactly once, where it should be: a table of conversations and all that they count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from twisted_mqtt.core.counters import NAMES
from twisted_mqtt.core.packets import (
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    Auth,
    Disconnect,
    Ping,
    Publish,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
)
from twisted_mqtt.hooks.verdicts import DENY, DROP, STOP, AuthResult, Challenge
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer, connectPacket, propertiesOf

#: With what the router counts.
COUNTED = (*NAMES, "routes.matched")


class Scene:
    """
    A broker with a publisher C{a} and a subscriber C{b}.
    """

    def __init__(self, **zone: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.broker, self.factory = makeBroker(self.clock, **zone)
        self.a = self.client("a")
        self.b = self.client("b", sessionExpiry=100)
        self.mark()

    def peer(self, version: int = 5) -> Peer:
        """
        A connection.
        """
        return Peer(self.factory, self.clock, version)

    def client(self, clientID: str, **fields: Any) -> Peer:
        """
        A client that is in.
        """
        peer = self.peer()
        peer.connect(clientID, **fields)
        return peer

    def deny(self) -> None:
        """
        Access rules that allow nothing.
        """
        self.broker.hooks["client.check_acl"].add(lambda *args: STOP(DENY))

    def mark(self) -> None:
        """
        Count from here.
        """
        self.before = self.broker.metrics.read()

    def counted(self) -> dict[str, int]:
        """
        Get the counters that have changed since, without bytes.
        """
        now = self.broker.metrics.read()
        return {name: int(now[name] - self.before[name]) for name in COUNTED if now[name] != self.before[name]}


# The conversations


def connects(s: Scene) -> None:
    """
    A client without credentials comes.
    """
    s.client("c")


def connectsAgain(s: Scene) -> None:
    """
    A client comes back to its session.
    """
    s.b.lose()
    s.mark()
    s.client("b", cleanStart=False, sessionExpiry=100)


def startsClean(s: Scene) -> None:
    """
    A client comes back and wants nothing of its old session.
    """
    s.b.lose()
    s.mark()
    s.client("b")


def takesOver(s: Scene) -> None:
    """
    A client comes while its old connection is there.
    """
    s.client("b", cleanStart=False, sessionExpiry=100)


def isRefused(s: Scene) -> None:
    """
    Wrong credentials.
    """
    s.broker.hooks["client.authenticate"].add(lambda client, result: AuthResult("bad_username_or_password"))
    s.peer().send(connectPacket("c"))


def isChallenged(s: Scene) -> None:
    """
    An enhanced authentication.
    """
    s.broker.hooks.clientEnhancedAuthenticate.add(
        lambda client, method, data, state, result: Challenge(b"?") if data is None else AuthResult()
    )
    peer = s.peer()
    peer.send(connectPacket("c", authMethod="m"))
    peer.send(Auth(0x18, propertiesOf(authMethod="m", authData=b"x")))


def saysNonsense(s: Scene) -> None:
    """
    A malformed packet on a connection that is in.
    """
    s.a.send(b"\x00\x00")


def connectsWrongly(s: Scene) -> None:
    """
    A CONNECT that is against the specification.
    """
    s.peer().send(b"\x10\x0d\x00\x04MQTT\x05\x03\x00\x00\x00\x00\x00")


def leaves(s: Scene) -> None:
    """
    A client says goodbye.
    """
    s.a.disconnect()


def isSilent(s: Scene) -> None:
    """
    A client is not heard of for longer than its keep-alive.
    """
    s.client("c", keepAlive=10)
    s.mark()
    for _ in range(30):
        s.clock.advance(1)


def saysNothing(s: Scene) -> None:
    """
    Somebody connects and sends no CONNECT.
    """
    s.peer()
    for _ in range(30):
        s.clock.advance(1)


def isTooLarge(s: Scene) -> None:
    """
    A packet that is larger than is allowed.
    """
    s.a.send(b"\x30\xff\xff\xff\x7f")


def leavesMessages(s: Scene) -> None:
    """
    A session ends, and with it what waits for its client.
    """
    s.b.subscribe("x")
    s.b.lose()
    s.mark()
    s.a.publish("x", b"1", 1)
    for _ in range(102):
        s.clock.advance(1)


def pings(s: Scene) -> None:
    """
    A client pings.
    """
    s.a.send(Ping(PINGREQ))


def subscribes(s: Scene) -> None:
    """
    A client subscribes and unsubscribes.
    """
    s.b.subscribe("x", "y")
    s.b.send(Unsubscribe(2, ["x", "z"]))


def isNotToSubscribe(s: Scene) -> None:
    """
    Access rules are against it, for two filters.
    """
    s.deny()
    s.b.subscribe("x", "y")


def publishes(qos: int) -> Callable[[Scene], None]:
    """
    A message, from one client to another.
    """

    def run(s: Scene) -> None:
        s.b.subscribe("x", qos=2)
        s.mark()
        s.a.publish("x", b"1", qos)
        message: Any = s.b.next()
        if qos == 1:
            s.b.acknowledge(PUBACK, message.packetID)
        elif qos == 2:
            s.a.acknowledge(PUBREL, 1)
            s.b.acknowledge(PUBREC, message.packetID).acknowledge(PUBCOMP, message.packetID)

    return run


def publishesThroughTheShell(s: Scene) -> None:
    """
    The same with properties, which takes the other way through the code.
    """
    s.b.subscribe("x", qos=2)
    s.mark()
    s.a.publish("x", b"1", 1, contentType="t")
    message: Any = s.b.next()
    s.b.acknowledge(PUBACK, message.packetID)


def repeats(s: Scene) -> None:
    """
    A QoS 2 message twice, on each way through the code.
    """
    s.a.publish("x", b"1", 2).publish("x", b"1", 2, dup=True)
    s.a.publish("y", b"1", 2, 2, contentType="t").publish("y", b"1", 2, 2, dup=True, contentType="t")


def publishesToNobody(s: Scene) -> None:
    """
    Nobody has subscribed.
    """
    s.a.publish("x", b"1", 1)


def isNotToPublish(s: Scene) -> None:
    """
    Access rules are against it.
    """
    s.deny()
    s.a.publish("x", b"1", 1)
    s.a.publish("x", b"2", 1, 2)


def publishesWrongly(s: Scene) -> None:
    """
    An alias that was never allowed.
    """
    s.a.publish("x", b"1", topicAlias=9)


def isDroppedByAHook(s: Scene) -> None:
    """
    One hook drops what is published, another what is delivered.
    """
    s.b.subscribe("x", "y")
    s.broker.hooks["message.publish"].add(lambda message: DROP if message.topic == "x" else None)
    s.broker.hooks["message.delivered"].add(lambda client, message: DROP)
    s.mark()
    s.a.publish("x").publish("y")


def unknownAcks(s: Scene) -> None:
    """
    Acknowledgements of nothing.
    """
    for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP):
        s.a.acknowledge(kind, 9)


def acknowledgesTwice(s: Scene) -> None:
    """
    A PUBREC twice.
    """
    s.b.subscribe("x", qos=2)
    s.a.publish("x", b"1", 2)
    message: Any = s.b.next()
    s.mark()
    s.b.acknowledge(PUBREC, message.packetID).acknowledge(PUBREC, message.packetID)


def expires(s: Scene) -> None:
    """
    A message whose receiver comes too late.
    """
    s.b.subscribe("x")
    s.b.lose()
    s.a.publish("x", b"1", 1, messageExpiry=5)
    s.clock.advance(10)
    s.mark()
    s.client("b", cleanStart=False)


def sessionExpires(s: Scene) -> None:
    """
    A session whose time is over, and one that ends with its connection.
    """
    s.b.lose()
    s.a.lose()
    for _ in range(102):
        s.clock.advance(1)


def retains(s: Scene) -> None:
    """
    Two retained messages, one of which is removed, are delivered to who subscribes later.
    """
    s.a.publish("x", b"1", retain=True).publish("y", b"1", retain=True).publish("y", b"", retain=True)
    s.b.subscribe("#")
    s.b.receive()


def reauthenticates(s: Scene) -> None:
    """
    A client proves itself again.
    """
    s.broker.hooks.clientEnhancedAuthenticate.add(lambda client, method, data, state, result: AuthResult())
    peer = s.client("c", authMethod="m")
    s.mark()
    peer.send(Auth(0x19, propertiesOf(authMethod="m")))


CONNECT = {
    "client.connect": 1,
    "packets.connect.received": 1,
    "packets.received": 1,
    "packets.sent": 1,
    "client.connack": 1,
    "packets.connack.sent": 1,
    "connections.opened": 1,
}
IN = {**CONNECT, "client.connected": 1, "client.auth.anonymous": 1}
SENT = {"messages.sent": 1, "messages.delivered": 1, "packets.publish.sent": 1}
ROUTED = {"routes.matched": 1, "delivery.offered": 1}
TAKEN = {"messages.received": 1, "messages.publish": 1, "packets.publish.received": 1}
GONE = {"client.disconnected": 1, "session.terminated": 1, "connections.closed": 1}
ACKED = {"packets.puback.received": 1, "packets.puback.sent": 1, "messages.acked": 1}

TABLE: list[tuple[Callable[[Scene], None], dict[str, int]]] = [
    (connects, {**IN, "session.created": 1}),
    (connectsAgain, {**IN, "session.resumed": 1}),
    (startsClean, {**IN, "session.created": 1, "session.discarded": 1}),
    (
        takesOver,
        {
            **IN,
            "session.resumed": 1,
            "session.takeovered": 1,
            "client.disconnected": 1,
            "packets.sent": 2,
            "packets.disconnect.sent": 1,
        },
    ),
    (
        isRefused,
        {
            **CONNECT,
            "client.authenticate": 1,
            "packets.connack.error": 1,
            "packets.connack.auth_error": 1,
            "connections.closed": 1,
        },
    ),
    (
        isChallenged,
        {
            **CONNECT,
            "client.authenticate": 2,
            "client.connected": 1,
            "session.created": 1,
            "packets.received": 2,
            "packets.sent": 2,
            "packets.auth.received": 1,
            "packets.auth.sent": 1,
        },
    ),
    (
        saysNonsense,
        {
            "packets.received": 1,
            "packets.sent": 1,
            "packets.disconnect.sent": 1,
            **GONE,
        },
    ),
    (
        connectsWrongly,
        {
            "packets.received": 1,
            "packets.sent": 1,
            "packets.connack.sent": 1,
            "packets.connack.error": 1,
            "connections.opened": 1,
            "connections.closed": 1,
        },
    ),
    (leaves, {"packets.received": 1, "packets.disconnect.received": 1, **GONE}),
    (
        isSilent,
        {
            "client.keepalive_timeout": 1,
            "packets.sent": 1,
            "packets.disconnect.sent": 1,
            "client.disconnected": 1,
            "session.terminated": 1,
        },
    ),
    (saysNothing, {"connections.opened": 1, "connections.connect_timeout": 1}),
    (
        isTooLarge,
        {"packets.too_large": 1, "packets.sent": 1, "packets.disconnect.sent": 1, **GONE},
    ),
    (
        leavesMessages,
        {
            **TAKEN,
            **ROUTED,
            "messages.qos1.received": 1,
            "packets.received": 1,
            "packets.sent": 1,
            "packets.puback.sent": 1,
            "session.terminated": 1,
            "delivery.dropped": 1,
            "delivery.dropped.session_ended": 1,
            "messages.dropped": 1,
        },
    ),
    (pings, {"packets.received": 1, "packets.pingreq.received": 1, "packets.sent": 1, "packets.pingresp.sent": 1}),
    (
        subscribes,
        {
            "packets.received": 2,
            "packets.sent": 2,
            "packets.subscribe.received": 1,
            "packets.suback.sent": 1,
            "packets.unsubscribe.received": 1,
            "packets.unsuback.sent": 1,
            "client.subscribe": 1,
            "client.unsubscribe": 1,
        },
    ),
    (
        isNotToSubscribe,
        {
            "packets.received": 1,
            "packets.sent": 1,
            "packets.subscribe.received": 1,
            "packets.suback.sent": 1,
            "packets.subscribe.error": 1,
            "packets.subscribe.auth_error": 2,
            "client.subscribe": 1,
            "client.check_acl": 2,
        },
    ),
    (
        publishes(0),
        {
            **TAKEN,
            **ROUTED,
            **SENT,
            "messages.qos0.received": 1,
            "messages.qos0.sent": 1,
            "packets.received": 1,
            "packets.sent": 1,
        },
    ),
    (
        publishes(1),
        {
            **TAKEN,
            **ROUTED,
            **SENT,
            **ACKED,
            "messages.qos1.received": 1,
            "messages.qos1.sent": 1,
            "packets.received": 2,
            "packets.sent": 2,
        },
    ),
    (
        publishes(2),
        {
            **TAKEN,
            **ROUTED,
            **SENT,
            "messages.qos2.received": 1,
            "messages.qos2.sent": 1,
            "messages.acked": 1,
            "packets.received": 4,
            "packets.sent": 4,
            "packets.pubrec.received": 1,
            "packets.pubrec.sent": 1,
            "packets.pubrel.received": 1,
            "packets.pubrel.sent": 1,
            "packets.pubcomp.received": 1,
            "packets.pubcomp.sent": 1,
        },
    ),
    (
        publishesThroughTheShell,
        {
            **TAKEN,
            **ROUTED,
            **SENT,
            **ACKED,
            "messages.qos1.received": 1,
            "messages.qos1.sent": 1,
            "packets.received": 2,
            "packets.sent": 2,
        },
    ),
    (
        repeats,
        {
            "packets.received": 4,
            "packets.publish.received": 4,
            "messages.received": 2,
            "messages.publish": 2,
            "messages.qos2.received": 2,
            "packets.sent": 4,
            "packets.pubrec.sent": 4,
            "messages.dropped": 2,
            "messages.dropped.no_subscriber": 2,
        },
    ),
    (
        publishesToNobody,
        {
            **TAKEN,
            "messages.qos1.received": 1,
            "packets.received": 1,
            "packets.sent": 1,
            "packets.puback.sent": 1,
            "messages.dropped": 1,
            "messages.dropped.no_subscriber": 1,
        },
    ),
    (
        isNotToPublish,
        {
            "packets.received": 2,
            "packets.publish.received": 2,
            "packets.publish.auth_error": 2,
            "client.check_acl": 1,
            "packets.sent": 2,
            "packets.puback.sent": 2,
        },
    ),
    (
        publishesWrongly,
        {
            "packets.received": 1,
            "packets.publish.received": 1,
            "packets.publish.error": 1,
            "packets.sent": 1,
            "packets.disconnect.sent": 1,
            **GONE,
        },
    ),
    (
        isDroppedByAHook,
        {
            **ROUTED,
            "packets.received": 2,
            "packets.publish.received": 2,
            "messages.received": 2,
            "messages.publish": 2,
            "messages.qos0.received": 2,
            "messages.dropped": 2,
            "delivery.dropped": 1,
        },
    ),
    (
        unknownAcks,
        {
            "packets.received": 4,
            "packets.puback.received": 1,
            "packets.puback.missed": 1,
            "packets.pubrec.received": 1,
            "packets.pubrec.missed": 1,
            "packets.pubrel.received": 1,
            "packets.pubrel.missed": 1,
            "packets.pubcomp.received": 1,
            "packets.pubcomp.missed": 1,
            "packets.sent": 2,
            "packets.pubrel.sent": 1,
            "packets.pubcomp.sent": 1,
        },
    ),
    (
        acknowledgesTwice,
        {
            "packets.received": 2,
            "packets.pubrec.received": 2,
            "packets.pubrec.inuse": 1,
            "packets.sent": 2,
            "packets.pubrel.sent": 2,
            "messages.acked": 1,
        },
    ),
    (
        expires,
        {
            **IN,
            "session.resumed": 1,
            "messages.dropped": 1,
            "messages.dropped.expired": 1,
            "delivery.dropped": 1,
            "delivery.dropped.expired": 1,
        },
    ),
    (
        sessionExpires,
        {"client.disconnected": 2, "session.terminated": 2, "connections.closed": 2, "connections.error": 2},
    ),
    (
        retains,
        {
            "packets.received": 4,
            "packets.publish.received": 3,
            "messages.received": 3,
            "messages.publish": 3,
            "messages.qos0.received": 3,
            "messages.dropped": 3,
            "messages.dropped.no_subscriber": 3,
            "messages.retained": 1,
            "packets.subscribe.received": 1,
            "client.subscribe": 1,
            "packets.suback.sent": 1,
            "packets.sent": 2,
            "delivery.offered": 1,
            **SENT,
            "messages.qos0.sent": 1,
        },
    ),
    (
        reauthenticates,
        {
            "packets.received": 1,
            "packets.auth.received": 1,
            "client.authenticate": 1,
            "packets.sent": 1,
            "packets.auth.sent": 1,
        },
    ),
]


@pytest.mark.parametrize(("conversation", "wanted"), TABLE, ids=[str(row[0].__name__) for row in TABLE])
def test_counts(conversation: Callable[[Scene], None], wanted: dict[str, int]) -> None:
    """
    The broker has exactly the counters of the table.
    """
    scene = Scene()
    conversation(scene)
    counted = scene.counted()
    assert counted.pop("bytes.received", 0) > 0 or conversation in (sessionExpires, isSilent, saysNothing)
    counted.pop("bytes.sent", 0)
    assert counted == wanted


def test_bytes() -> None:
    """
    Bytes are counted as they are on the wire, in both directions.
    """
    scene = Scene()
    scene.b.subscribe("x", qos=0)
    scene.mark()
    scene.a.send(b"\x30\x04\x00\x01x\x00")
    scene.b.expect(Publish)
    assert (scene.counted()["bytes.received"], scene.counted()["bytes.sent"]) == (6, 6)


def test_noneIsForgotten() -> None:
    """
    Each metric of MQTT stands in the table above, or is one that only other parts of the broker count.
    """
    covered = {name for _, wanted in TABLE for name in wanted}
    elsewhere = {
        "actions.success",
        "rules.matched",
        "messages.forward",
        "messages.delayed",
        "bytes.received",
        "bytes.sent",
        "packets.puback.inuse",
        "packets.pubcomp.inuse",  # no such case: an identifier names one message at a time
        "delivery.dropped.no_local",
        "delivery.dropped.qos0_msg",
        "delivery.dropped.memory",
        "delivery.dropped.queue_full",
        "delivery.dropped.too_large",
        "delivery.dropped.unsendable",  # tests of the session
        "session.loaded",  # tests of the store
        "messages.dropped.invalid",  # tests of poison messages
        "packets.publish.dropped",
        "packets.unsubscribe.error",  # below
    }
    mqtt = {name for name in COUNTED if not name.startswith(("connections.refused", "connections.closed."))}
    assert mqtt - covered == elsewhere


def test_publishDropped() -> None:
    """
    A QoS 2 message for which there is no room.
    """
    scene = Scene(max_awaiting_rel=1)
    old = scene.peer(5)
    old.connect("old", sessionExpiry=100)
    old.publish("x", b"", 2, 1).lose()
    scene.mark()
    again = scene.peer(5)
    again.connect("old", cleanStart=False, sessionExpiry=100)
    again.publish("x", b"", 2, 2)
    assert scene.counted()["packets.publish.dropped"] == 1
    assert "messages.received" not in scene.counted()


def test_malformedRequests() -> None:
    """
    A SUBSCRIBE and an UNSUBSCRIBE with a filter that is none.
    """
    scene = Scene()
    scene.a.send(Subscribe(1, [SubscriptionRequest("a#", 0)]))
    scene.b.send(Unsubscribe(1, ["a#"]))
    counted = scene.counted()
    assert (counted["packets.subscribe.error"], counted["packets.unsubscribe.error"]) == (1, 1)
    assert scene.a.lost and scene.b.lost


def test_disconnectIsNotAnAnswer() -> None:
    """
    A DISCONNECT is sent to clients of MQTT 5 only, and counted only if it is.
    """
    scene = Scene()
    old = scene.peer(4)
    old.connect("old")
    scene.mark()
    scene.broker.kick("old", 0x98)
    scene.broker.kick("a", 0x98)
    assert scene.counted()["packets.disconnect.sent"] == 1
    scene.a.expect(Disconnect)
