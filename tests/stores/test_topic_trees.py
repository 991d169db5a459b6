"""
Topic trees across a restart: sessions, queues, wills and retained messages are in their trees again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kits.stores import Bed
from tests.stores.test_delayed import load
from tests.stores.test_sqlite import takeAll
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.core.packets import Will
from twisted_mqtt.core.topics import scoped
from twisted_mqtt.mqtt.implements import MQTTFactory
from twisted_mqtt.stores.tools import export, import_
from twisted_mqtt.testing.peer import Peer, propertiesOf

TREES = ("", "a", "a/b")


@pytest.fixture(params=["disc", "disc_only"])
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    """
    A broker with a store.
    """
    made = Bed(tmp_path, retained=request.param)
    yield made
    made.crash()


def client(bed: Bed, topicTree: str, clientID: str, expiry: int = 3600, **fields: object) -> Peer:
    """
    A client of a topic tree with a session that outlives it.
    """
    zone = bed.broker.settings.resolveZone("external")
    profile = ListenerProfile("tcp.x", zone, topicTree=topicTree)
    peer = Peer(MQTTFactory(bed.broker, profile), bed.clock)
    peer.connect(clientID, cleanStart=False, sessionExpiry=expiry, **fields)
    return peer


def publish(bed: Bed, topicTree: str, topic: str, payload: bytes, qos: int = 1, **fields: object) -> None:
    """
    Publish in a topic tree.
    """
    peer = client(bed, topicTree, "writer", 0)
    peer.publish(topic, payload, qos, **fields)
    peer.receive()
    peer.disconnect()


@pytest.mark.parametrize("crash", [False, True])
def test_restart(bed: Bed, crash: bool) -> None:
    """
    After a restart each session has its subscriptions, and what was published in its tree before and after it.
    """
    for tree in TREES:
        reader = client(bed, tree, "reader")
        reader.subscribe("t", "$share/g/s")
        reader.disconnect()
    for tree in TREES:
        publish(bed, tree, "t", f"1{tree}".encode())
        publish(bed, tree, "s", f"2{tree}".encode())
    bed.restart(crash)
    assert sorted(bed.broker.sessions) == sorted(scoped(tree, "reader") for tree in TREES)
    for tree in TREES:
        publish(bed, tree, "t", f"3{tree}".encode(), 2)
        publish(bed, tree, "s", f"4{tree}".encode())
    for tree in TREES:
        reader = client(bed, tree, "reader")
        # Order is promised within a QoS.
        assert sorted(payload.decode() for payload in reader.payloads()) == [f"{n}{tree}" for n in (1, 2, 3, 4)]


def test_retained(bed: Bed) -> None:
    """
    Retained messages are in their trees again; what was removed in one tree is gone there alone.
    """
    for tree in TREES:
        publish(bed, tree, "t", f"x{tree}".encode(), retain=True)
        publish(bed, tree, "u", b"x", retain=True)
    publish(bed, "a", "u", b"", retain=True)
    bed.restart(crash=True)
    assert [bed.broker.retained.get("u", tree) is None for tree in TREES] == [False, True, False]
    for tree in TREES:
        reader = client(bed, tree, "r")
        reader.subscribe("t")
        assert reader.payloads() == [f"x{tree}".encode()]


def test_will(bed: Bed) -> None:
    """
    A will that waits is published in its tree after a restart.
    """
    for tree in TREES:
        client(bed, tree, "reader").subscribe("w")
    will = Will("w", b"gone", 1, False, propertiesOf(willDelay=30))
    client(bed, "a", "c", will=will).lose()
    bed.restart(pause=1)
    readers = {tree: client(bed, tree, "reader") for tree in TREES}
    bed.clock.advance(40)
    assert {tree: reader.payloads() for tree, reader in readers.items()} == {"": [], "a": [b"gone"], "a/b": []}


def test_delayed(bed: Bed) -> None:
    """
    A delayed message is published in its tree, after a restart too.
    """
    load(bed)
    for tree in TREES:
        client(bed, tree, "reader").subscribe("t")
    publish(bed, "a", "$delayed/30/t", b"later")
    bed.restart(pause=1)
    load(bed)
    readers = {tree: client(bed, tree, "reader") for tree in TREES}
    bed.clock.advance(40)
    assert {tree: reader.payloads() for tree, reader in readers.items()} == {"": [], "a": [b"later"], "a/b": []}


def test_leftForOtherMembers(bed: Bed) -> None:
    """
    Messages that a member of a shared subscription leaves in the store when its session ends go to the members in its
    tree, across a crash too.
    """
    leaving = client(bed, "a", "leaving")
    leaving.subscribe("$share/g/t", qos=1)
    leaving.lose()
    other = client(bed, "", "other")
    other.subscribe("$share/g/t", qos=1)
    for number in range(300):
        publish(bed, "a", "t", b"%d" % number)
    member = client(bed, "a", "member")
    member.subscribe("$share/g/t", qos=1)
    bed.worker.held = True
    bed.broker.endSession("leaving", topicTree="a")
    for _ in range(3):
        bed.clock.advance(0)
        bed.worker.step()
    bed.restart(crash=True)
    assert scoped("a", "leaving") not in bed.broker.sessions
    member = client(bed, "a", "member")
    assert sorted(set(takeAll(member)), key=int) == [b"%d" % number for number in range(300)]
    assert client(bed, "", "other").payloads() == []


def test_exportAndImport(tmp_path: Path) -> None:
    """
    An exported store names the trees, and what is made of it has them again.
    """
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    bed = Bed(first)
    for tree in TREES:
        reader = client(bed, tree, "reader")
        reader.subscribe("t")
        reader.disconnect()
        publish(bed, tree, "t", f"x{tree}".encode(), retain=True)
    bed.stop()
    export(bed.path, tmp_path / "lines")
    import_(second / "store.db", tmp_path / "lines")
    other = Bed(second)
    assert [other.broker.retained.get("t", tree) is None for tree in TREES] == [False, False, False]
    for tree in TREES:
        assert client(other, tree, "reader").payloads() == [f"x{tree}".encode()]
    other.crash()
