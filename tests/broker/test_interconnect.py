"""
Tests of L{twisted_mqtt.broker.interconnect}: what comes before a session, and messages that go to other nodes and come
from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.kits.stores import Bed
from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.broker.interconnect import Held
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Connack
from twisted_mqtt.core.subscription import SharedGroup
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer, connectPacket


class Node:
    """
    A node, and what it has forwarded.

    @ivar elsewhere: the shared subscriptions for which a member elsewhere is chosen.
    @ivar nodes: how many subscribers there are elsewhere.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.broker: Broker
        self.broker, self.factory = makeBroker(self.clock)
        self.forwarded: list[tuple[str, list[str]]] = []
        self.elsewhere: set[str] = set()
        self.nodes = 0

    def client(self, clientID: str, *filters: str) -> Peer:
        """
        A client with subscriptions.
        """
        peer = Peer(self.factory, self.clock)
        peer.connect(clientID)
        if filters:
            peer.subscribe(*filters)
        return peer

    def forward(self, message: Message, groups: list[SharedGroup]) -> int:
        """
        See L{Forwarder<twisted_mqtt.core.forwarding.Forwarder>}.
        """
        self.forwarded.append((message.topic, [group.name for group in groups]))
        taken = [group for group in groups if group.name in self.elsewhere]
        for group in taken:
            groups.remove(group)
        return self.nodes + len(taken)


@pytest.fixture
def node() -> Iterator[Node]:
    """
    A node.
    """
    made = Node()
    yield made
    made.broker.stopService()


def other(topic: str = "t", payload: bytes = b"x", qos: int = 0) -> Message:
    """
    A message of another node.
    """
    message = Message(topic, payload, qos)
    message.origin = "other"
    return message


# Messages


def test_forwarding(node: Node) -> None:
    """
    The forwarder is told of each message that is published here, once, and subscribers here get it as always.
    """
    reader = node.client("reader", "t", "#")
    handle = node.broker.interconnect.forwardBy(node)
    writer = node.client("writer")
    writer.publish("t", b"1")
    node.broker.publish(Message("u", b"2"))
    handle.close()
    writer.publish("t", b"3")
    assert node.forwarded == [("t", []), ("u", [])]
    assert reader.payloads() == [b"1", b"2", b"3"]


def test_oneForwarder(node: Node) -> None:
    """
    There is one forwarder; when it is taken back there may be another.
    """
    handle = node.broker.interconnect.forwardBy(node)
    with pytest.raises(ValueError):
        node.broker.interconnect.forwardBy(node)
    handle.close()
    second = node.broker.interconnect.forwardBy(node)
    handle.close()
    node.client("writer").publish("t")
    assert node.forwarded == [("t", [])]
    second.close()


@pytest.mark.parametrize(("nodes", "reason"), [(0, 0x10), (1, 0)])
def test_subscribersElsewhereCount(node: Node, nodes: int, reason: int) -> None:
    """
    A publisher is told that nobody has subscribed only if nobody has on any node.
    """
    node.broker.interconnect.forwardBy(node)
    node.nodes = nodes
    writer = node.client("writer")
    writer.publish("t", b"", 1)
    assert [packet.reason for packet in writer.receive()] == [reason]  # type: ignore[attr-defined]  # an Ack
    assert node.broker.traffic.total("messages_dropped_no_subscriber") == (nodes == 0)


def test_messageOfAnotherNode(node: Node) -> None:
    """
    A message of another node goes to the subscribers here, is not forwarded again, not retained, and hooks, watches and
    shared subscriptions do not see it.
    """
    node.broker.interconnect.forwardBy(node)
    seen: list[Message] = []
    node.broker.hooks.messagePublish.add(seen.append)
    watch = node.broker.watch("#", seen.append)
    reader, member = node.client("reader", "t"), node.client("member", "$share/g/t")
    message = other()
    message.retain = True
    assert node.broker.interconnect.route(message) == 1
    node.clock.advance(1)
    assert reader.payloads() == [b"x"]
    member.expectNothing()
    assert node.forwarded == [] and seen == [] and len(node.broker.retained) == 0
    watch.close()


def test_originIsKept(node: Node) -> None:
    """
    A hook can tell on which node a message was published, and a copy is of the same node.
    """
    seen: list[str] = []
    node.broker.hooks.messageDelivered.add(lambda client, message: seen.append(message.origin))
    node.client("reader", "#")
    node.broker.interconnect.route(other().replace(payload=b"y"))
    node.client("writer").publish("t", b"z")
    assert seen == ["other", ""]


def test_sharedSubscriptionElsewhere(node: Node) -> None:
    """
    A shared subscription gets a message once: from a member elsewhere if the forwarder has chosen one, else from a
    member here.
    """
    node.broker.interconnect.forwardBy(node)
    members = {name: node.client(name, f"$share/{name}/t") for name in ("g", "h")}
    node.elsewhere = {"g"}
    node.client("writer").publish("t", b"1")
    assert node.forwarded[0][1] == ["g", "h"]
    members["g"].expectNothing()
    assert members["h"].payloads() == [b"1"]


@pytest.mark.parametrize("matching", ["t", "a/+", "a/#", "#", "/".join("+" * 70)])
def test_placedHere(node: Node, matching: str) -> None:
    """
    A message for which another node has chosen this one goes to one member here; where there is none, the caller is
    told.
    """
    members = [node.client(f"member{number}", f"$share/g/{matching}") for number in range(2)]
    node.client("reader", matching)
    assert node.broker.interconnect.routeShared(other(), "g", matching)
    assert sum(len(member.receive()) for member in members) == 1
    assert not node.broker.interconnect.routeShared(other(), "h", matching)
    assert not node.broker.interconnect.routeShared(other(), "g", matching + "x")
    for member in members:
        member.disconnect()
    assert not node.broker.interconnect.routeShared(other(), "g", matching)


def test_messageOfATopicTree(node: Node) -> None:
    """
    A message of another node stays in its topic tree.
    """
    reader = node.client("reader", "t", "$share/g/t")
    message = other()
    message.topicTree = "plant"
    assert node.broker.interconnect.route(message) == 0
    assert not node.broker.interconnect.routeShared(message, "g", "t")
    reader.expectNothing()


# Other nodes store what is acknowledged here


class Keeping(Node):
    """
    A node whose messages of QoS 1 and 2 have to be stored elsewhere.

    @ivar held: what other nodes have not stored yet.
    """

    def __init__(self, bed: Bed | None = None) -> None:
        super().__init__()
        self.held: list[Held] = []
        if bed is not None:
            self.broker.stopService()
            self.broker, self.factory, self.clock = bed.broker, bed.factory, bed.clock
        self.handle = self.broker.interconnect.forwardBy(self)

    def forward(self, message: Message, groups: list[SharedGroup]) -> int:
        """
        See L{Node}.
        """
        if message.qos and message.topic != "here":
            self.held.append(self.broker.interconnect.hold())
        return super().forward(message, groups)


@pytest.fixture(params=["memory", "always", "interval"])
def keeping(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keeping]:
    """
    A node with each kind of store.
    """
    bed = None if request.param == "memory" else Bed(tmp_path, commit=request.param)
    made = Keeping(bed)
    yield made
    if bed is None:
        made.broker.stopService()
    else:
        bed.crash()


@pytest.mark.parametrize(("qos", "answer"), [(1, PUBACK), (2, PUBREC)])
def test_replyWaitsForOtherNodes(keeping: Keeping, qos: int, answer: int) -> None:
    """
    PUBACK and PUBREC go out when the other nodes have stored the message, and not before; what nobody elsewhere has to
    keep waits for nobody.
    """
    keeping.nodes = 1
    writer, other = keeping.client("writer"), keeping.client("other")
    writer.publish("t", b"", qos, 1)
    keeping.clock.advance(1)
    writer.expectNothing()
    other.publish("here", b"", 1, 1)
    other.expectAck(PUBACK, 1)
    other.publish("here", b"", 0)
    (held,) = keeping.held
    held.stored()
    writer.expectAck(answer, 1)
    held.stored()
    if qos == 2:
        writer.acknowledge(PUBREL, 1)
        writer.expectAck(PUBCOMP, 1)


def test_repliesKeepTheirOrder(keeping: Keeping) -> None:
    """
    Whichever message is stored first, replies go out in order ([MQTT-4.6.0-2]).
    """
    keeping.nodes = 1
    writer = keeping.client("writer")
    for packetID in (1, 2, 3):
        writer.publish("t", b"", 1, packetID)
    first, second, third = keeping.held
    keeping.clock.advance(1)
    second.stored()
    writer.expectNothing()
    first.stored()
    writer.expectAck(PUBACK, 1)
    writer.expectAck(PUBACK, 2)
    writer.expectNothing()
    third.stored()
    writer.expectAck(PUBACK, 3)


def test_safeWaitsForOtherNodes(keeping: Keeping) -> None:
    """
    So do gateways and extensions, which ask the broker what is safe.
    """
    assert keeping.broker.publish(Message("t", b"", 1)) == 0x10
    keeping.clock.advance(1)
    safe = keeping.broker.safe()
    assert safe is not None and not safe.called
    keeping.held[0].stored()
    assert safe.called and keeping.broker.safe() is None


def test_forwarderTakenBack(keeping: Keeping) -> None:
    """
    When the forwarder is taken back nothing waits for other nodes any more, now or later.
    """
    keeping.nodes = 1
    writer = keeping.client("writer")
    writer.publish("t", b"", 1, 1)
    keeping.clock.advance(1)
    writer.expectNothing()
    keeping.handle.close()
    writer.expectAck(PUBACK, 1)
    writer.publish("t", b"", 1, 2)
    writer.expectAck(PUBACK, 2, 0x10)
    keeping.held[0].stored()


def test_waitsForBoth(tmp_path: Path) -> None:
    """
    A message that this node and another one have to keep is acknowledged when both have it, in whichever order.
    """
    bed = Bed(tmp_path)
    keeping = Keeping(bed)
    keeper = bed.client("keeper")
    keeper.subscribe("t", qos=1)
    keeper.lose()
    writer = keeping.client("writer")
    for packetID, here in ((1, True), (2, False)):
        bed.worker.held = True
        writer.publish("t", b"", 1, packetID)
        held = keeping.held.pop()
        for first in (here, not here):
            writer.expectNothing()
            if first:
                bed.worker.release()
            else:
                held.stored()
        bed.clock.advance(0)
        writer.expectAck(PUBACK, packetID)
    bed.crash()


def test_storedOnTheOtherNode(tmp_path: Path) -> None:
    """
    Between two nodes: the publisher has its PUBACK when the store of the subscriber's node has the message.
    """
    (tmp_path / "there").mkdir()
    there = Bed(tmp_path / "there")
    reader = there.client("reader")
    reader.subscribe("t", qos=1)
    reader.lose()
    here = Keeping()
    here.nodes = 1
    writer = here.client("writer")
    there.worker.held = True
    writer.publish("t", b"far", 1, 1)
    message = other("t", b"far", 1)
    message.timestamp = there.clock.seconds()
    assert there.broker.interconnect.route(message) == 1
    safe = there.broker.safe()
    assert safe is not None
    safe.addCallback(lambda _: here.held[0].stored())
    there.clock.advance(0)
    writer.expectNothing()
    there.worker.release()
    there.clock.advance(0)
    writer.expectAck(PUBACK, 1)
    there.restart(crash=True)
    assert there.client("reader").payloads() == [b"far"]
    here.broker.stopService()
    there.crash()


# Before a session is opened


def test_stepWaits(node: Node) -> None:
    """
    A client gets its CONNACK when the step before its session is done, and finds what the step has brought.
    """
    asked: list[Any] = []
    waiting: Deferred[int] = Deferred()

    def step(client: Any) -> Deferred[int]:
        asked.append((client.clientID, client.cleanStart))
        return waiting

    node.broker.interconnect.beforeSession(step)
    peer = Peer(node.factory, node.clock)
    peer.send(connectPacket("c", cleanStart=False, sessionExpiry=60))
    peer.expectNothing()
    assert asked == [("c", False)] and node.broker.sessions == {}
    waiting.callback(0)
    assert peer.expect(Connack).reason == 0


@pytest.mark.parametrize("waits", [False, True])
def test_stepRefuses(node: Node, waits: bool) -> None:
    """
    A step may keep a client out.
    """

    def step(client: Any) -> Any:
        return answered if waits else 0x97

    answered: Deferred[int] = Deferred()
    node.broker.interconnect.beforeSession(step)
    peer = Peer(node.factory, node.clock)
    peer.send(connectPacket("c"))
    if waits:
        answered.callback(0x97)
    peer.expectClosed(0x97)
    assert node.broker.sessions == {}


class FailingStepTests(SynchronousTestCase):
    """
    Where a step fails the client is told that the server is unavailable, and the log says why.
    """

    def fails(self, step: Callable[[Any], Deferred[int]], then: Callable[[], None] = lambda: None) -> None:
        """
        Connect, and see what comes of a step that fails.
        """
        node = Node()
        node.broker.interconnect.beforeSession(step)
        peer = Peer(node.factory, node.clock)
        peer.send(connectPacket("c"))
        then()
        peer.expectClosed(0x88)
        self.assertEqual(node.broker.sessions, {})
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_raises(self) -> None:
        """
        A step that raises.
        """

        def step(client: Any) -> Deferred[int]:
            raise ZeroDivisionError

        self.fails(step)

    def test_failsLater(self) -> None:
        """
        A step whose Deferred fails.
        """
        failing: Deferred[int] = Deferred()
        self.fails(lambda client: failing, lambda: failing.errback(ZeroDivisionError()))


def test_clientGoesMeanwhile(node: Node) -> None:
    """
    A client that goes while the step waits gets no session, and the step is cancelled.
    """
    cancelled: list[object] = []
    waiting: Deferred[int] = Deferred(cancelled.append)
    node.broker.interconnect.beforeSession(lambda client: waiting)
    peer = Peer(node.factory, node.clock)
    peer.send(connectPacket("c", sessionExpiry=60))
    peer.lose()
    assert cancelled == [waiting]
    assert node.broker.sessions == {} and node.broker.clients == {}


def test_oneStep(node: Node) -> None:
    """
    There is one step; without it clients come in as always.
    """
    handle = node.broker.interconnect.beforeSession(lambda client: 0x97)
    with pytest.raises(ValueError):
        node.broker.interconnect.beforeSession(lambda client: 0)
    handle.close()
    node.client("c")
