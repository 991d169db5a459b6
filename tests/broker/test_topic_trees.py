"""
Tests of topic trees: clients of different trees have nothing to do with each other (spec/vernemq.md LIS-05).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import pytest
from twisted.internet.task import Clock

from twisted_mqtt.base.listing import Listing
from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import Will
from twisted_mqtt.core.topics import scoped, unscoped
from twisted_mqtt.hooks.verdicts import DENY
from twisted_mqtt.mqtt.implements import MQTTFactory
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer, propertiesOf

_T = TypeVar("_T")


class World:
    """
    A broker with a listener for each topic tree.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.broker: Broker
        self.broker, _ = makeBroker(self.clock)

    def client(self, topicTree: str, clientID: str, **fields: object) -> Peer:
        """
        A client that came by the listener of a topic tree.
        """
        zone = self.broker.settings.resolveZone("external")
        profile = ListenerProfile(f"tcp.{topicTree or 'external'}", zone, topicTree=topicTree)
        peer = Peer(MQTTFactory(self.broker, profile), self.clock)
        peer.connect(clientID, **fields)
        return peer

    def all(self, listing: Listing[_T]) -> list[_T]:
        """
        All that a listing shows.
        """
        found: list[_T] = []
        listing.everything().addCallback(found.extend)
        self.clock.pump([0.001] * 50)
        assert listing.exhausted
        return found


@pytest.fixture
def world() -> Iterator[World]:
    """
    A broker.
    """
    made = World()
    yield made
    made.broker.stopService()


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("matching", ["t", "#", "$share/g/t"])
def test_messagesStayInTheirTree(world: World, qos: int, matching: str) -> None:
    """
    A message is delivered in the tree in which it was published and in no other, whatever matches it.
    """
    readers = {tree: world.client(tree, "reader") for tree in ("", "a", "b")}
    for reader in readers.values():
        reader.subscribe(matching)
    for tree in ("", "a", "b"):
        world.client(tree, "writer").publish("t", tree.encode(), qos)
    for tree, reader in readers.items():
        assert reader.payloads() == [tree.encode()]


def test_noSubscriberInThisTree(world: World) -> None:
    """
    A publisher is told that nobody has subscribed, though somebody has in another tree, and the message is counted.
    """
    world.client("", "reader").subscribe("t")
    dropped = world.broker.traffic.total("messages_dropped_no_subscriber")
    writer = world.client("a", "writer")
    writer.publish("t", b"", 1)
    assert [packet.reason for packet in writer.receive()] == [0x10]  # type: ignore[attr-defined]  # an Ack
    assert world.broker.traffic.total("messages_dropped_no_subscriber") == dropped + 1


def test_sameClientIdentifier(world: World) -> None:
    """
    The same client identifier in another tree is another client: nobody is sent away, no session is taken over.
    """
    first = world.client("", "c", sessionExpiry=100)
    second = world.client("a", "c", sessionExpiry=100)
    first.expectNothing()
    assert len(world.broker.clients) == len(world.broker.sessions) == 2
    assert world.broker.kick("c", 0x98, topicTree="a")
    assert second.receive() and second.lost and not first.lost
    assert world.broker.endSession("c", topicTree="a") and not world.broker.endSession("c", topicTree="a")
    assert list(world.broker.sessions) == ["c"]


def test_takeoverInATree(world: World) -> None:
    """
    Within a tree the later client with an identifier takes over the session of the earlier one, as always.
    """
    first = world.client("a", "c", sessionExpiry=100, cleanStart=False)
    first.subscribe("t")
    second = world.client("a", "c", sessionExpiry=100, cleanStart=False)
    first.expectClosed(0x8E)
    world.client("a", "writer").publish("t", b"x", 1)
    assert second.payloads() == [b"x"]


def test_queuesOfAbsentClients(world: World) -> None:
    """
    The messages that wait for an absent client are those of its tree.
    """
    for tree in ("", "a"):
        reader = world.client(tree, "reader", sessionExpiry=100)
        reader.subscribe("t")
        reader.disconnect()
    for tree in ("a", ""):
        world.client(tree, "writer").publish("t", tree.encode(), 1)
    for tree in ("", "a"):
        again = world.client(tree, "reader", sessionExpiry=100, cleanStart=False)
        assert again.payloads() == [tree.encode()]


def test_retained(world: World) -> None:
    """
    Each tree has retained messages of its own; what removes one leaves those of the same topic in other trees.
    """
    for tree in ("", "a", "b"):
        world.client(tree, "writer").publish("t", tree.encode() or b"default", retain=True)
    assert len(world.broker.retained) == 3
    world.client("a", "writer").publish("t", b"", retain=True)
    for tree, expected in (("", [b"default"]), ("a", []), ("b", [b"b"])):
        reader = world.client(tree, "reader")
        reader.subscribe("#")
        assert reader.payloads() == expected


def test_retainedExpires(world: World) -> None:
    """
    A retained message of a tree expires as others do.
    """
    world.client("a", "writer").publish("t", b"x", retain=True, messageExpiry=5)
    world.client("", "writer").publish("t", b"x", retain=True)
    world.clock.advance(6)
    assert world.broker.retained.get("t", "a") is None and world.broker.retained.get("t") is not None


def test_will(world: World) -> None:
    """
    A will is published in the tree of its client.
    """
    readers = {tree: world.client(tree, "reader") for tree in ("", "a")}
    for reader in readers.values():
        reader.subscribe("will")
    world.client("a", "c", will=Will("will", b"gone", 0, False, None)).lose()
    assert readers["a"].payloads() == [b"gone"]
    readers[""].expectNothing()


def test_delayedWill(world: World) -> None:
    """
    A will that waits is not published when its client comes back, whatever a client with the same identifier does in
    another tree.
    """
    reader = world.client("a", "reader")
    reader.subscribe("will")
    for _ in range(2):
        will = Will("will", b"gone", 0, False, propertiesOf(willDelay=10))
        world.client("a", "c", will=will, sessionExpiry=100, cleanStart=False).lose()
        world.client("", "c").disconnect()
        world.clock.advance(5)
        reader.expectNothing()
    world.clock.advance(6)
    assert reader.payloads() == [b"gone"]


def test_brokersOwnTopics(world: World) -> None:
    """
    The broker's own messages are in the default tree alone.
    """
    readers = {tree: world.client(tree, "reader") for tree in ("", "a")}
    for reader in readers.values():
        reader.subscribe("$SYS/#")
    world.broker.publish(Message("$SYS/x", b"1", system=True))
    assert readers[""].payloads() == [b"1"]
    readers["a"].expectNothing()


def test_hooksSeeTheTree(world: World) -> None:
    """
    Hooks are given the tree of a client and of a message, and a copy that a hook makes stays in its tree.
    """
    seen: list[tuple[str, str]] = []
    world.broker.hooks.clientConnected.add(lambda client, connection: seen.append(("client", client.topicTree)))

    def publishing(message: Message) -> Message:
        seen.append(("message", message.topicTree))
        return message.replace(payload=b"changed")

    world.broker.hooks.messagePublish.add(publishing)
    reader = world.client("a", "reader")
    reader.subscribe("t")
    reader.publish("t", b"x")
    assert seen == [("client", "a"), ("message", "a")]
    assert reader.payloads() == [b"changed"]


def test_authenticationChoosesTheTree(world: World) -> None:
    """
    Authentication may put a client into another tree than that of its listener.
    """

    def authenticate(client: object, result: object) -> None:
        client.topicTree = "chosen"  # type: ignore[attr-defined]  # a ClientInfo

    world.broker.hooks.clientAuthenticate.add(authenticate)
    reader = world.client("", "reader")
    reader.subscribe("t")
    world.client("", "writer").publish("t", b"x")
    assert reader.payloads() == [b"x"]
    assert sorted(world.broker.sessions) == [scoped("chosen", "reader"), scoped("chosen", "writer")]


def test_accessRulesHoldInEveryTree(world: World) -> None:
    """
    Access rules are asked in every tree, and can tell trees apart by the client.
    """
    world.broker.hooks.clientCheckAcl.add(
        lambda client, action, topic, allowed: DENY if client.topicTree == "a" else None
    )
    assert world.client("a", "c").subscribe("t") == [0x87]
    assert world.client("", "c").subscribe("t") == [2]


def test_nothingIsLeftOfATree(world: World) -> None:
    """
    A tree is gone with its last subscription and its last retained message, so that trees that come and go all the
    time do not make the process grow.
    """
    for number in range(50):
        peer = world.client(f"tree{number}", "c")
        peer.subscribe("t", "a/#", "$share/g/+")
        peer.publish("t", b"x", retain=True)
        peer.publish("t", b"", retain=True)
        peer.disconnect()
    assert world.broker.router.trees == {} and world.broker.retained._trees == {}
    assert world.broker.clients == {} and world.broker.sessions == {}


def test_statistics(world: World) -> None:
    """
    Subscriptions, routes and retained messages of all trees are counted.
    """
    for tree in ("", "a"):
        peer = world.client(tree, "c")
        peer.subscribe("t", "$share/g/t")
        peer.publish("t", b"x", retain=True)
    stats = world.broker.stats()
    assert (stats["subscriptions"], stats["subscriptions.shared"], stats["routes"], stats["retained"]) == (4, 2, 2, 2)


def test_scoped() -> None:
    """
    A name with its tree is one string, from which both come back, and no two pairs have the same.
    """
    names = ["", "c", "a/c", "\x007", "\x01", "\x01a", "\x01a\x01c", "\x01\x01", "\x02"]
    pairs = [(topicTree, name) for topicTree in ("", "a", "a/b", "ü") for name in names]
    keys = [scoped(*pair) for pair in pairs]
    assert [unscoped(key) for key in keys] == pairs
    assert len(set(keys)) == len(pairs)


def test_strangeClientIdentifier(world: World) -> None:
    """
    No client identifier reaches a client or a session of another tree.
    """
    first = world.client("a", "c", sessionExpiry=100)
    second = world.client("", "\x01a\x01c", sessionExpiry=100)
    first.expectNothing()
    assert not first.lost and not second.lost and len(world.broker.sessions) == 2


def test_directory(world: World) -> None:
    """
    Listings, look-ups, filter reports and publishing for clients concern one named tree.
    """
    told: list[tuple[str, str, str, str | None]] = []
    watch = world.broker.watchFilters(
        lambda *what: told.append(("+", *what)),
        lambda *what: told.append(("-", *what)),
    )
    peer = world.client("a", "c")
    peer.subscribe("t", "$share/g/t")
    directory = world.broker.directory
    assert not [*world.all(directory.filters()), *world.all(directory.subscribers("t"))]
    assert not world.all(directory.matching("t"))
    assert world.all(directory.filters(topicTree="a")) == ["t"]
    for found in (directory.subscribers("t", "a"), directory.matching("t", "a")):
        assert [each.topicFilter for each in world.all(found)] == ["t", "$share/g/t"]
    account = world.broker.account("me", topicTree="a")
    assert world.broker.publishAs(account, "t", b"p", 0, True) == 0
    assert [message.payload for message in world.all(directory.retained("#", "a"))] == [b"p"]
    assert world.all(directory.retained("#")) == []
    peer.disconnect()
    assert told[:2] == [("+", "a", "t", None), ("+", "a", "t", "g")]
    assert set(told[2:]) == {("-", "a", "t", None), ("-", "a", "t", "g")}
    watch.close()
