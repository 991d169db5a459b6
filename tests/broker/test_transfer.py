"""
Tests of L{twisted_mqtt.broker.transfer}: a session goes from one node to another, with everything that it has.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from tests.kits.stores import Bed
from tests.stores.test_sqlite import publishTo, takeAll
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.broker.sessiondata import EntryData, SessionData
from twisted_mqtt.broker.transfer import SessionExport, SessionImport, TransferEnded
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBACK, PUBREC, PUBREL, Connack, Publish, SubscriptionRequest, Will
from twisted_mqtt.core.reasons import NO_MATCHING_SUBSCRIBERS
from twisted_mqtt.mqtt.implements import MQTTFactory
from twisted_mqtt.testing.peer import Peer, connectPacket, propertiesOf

# The clock of the other node is ahead.
AHEAD = 5000.0


@pytest.fixture
def beds(tmp_path: Path) -> Iterator[tuple[Bed, Bed]]:
    """
    Two nodes.
    """
    made = twoBeds(tmp_path)
    yield made
    for bed in made:
        bed.crash()


def twoBeds(folder: Path) -> tuple[Bed, Bed]:
    """
    Two nodes, whose clocks differ.
    """
    for name in ("here", "there"):
        (folder / name).mkdir()
    here, there = Bed(folder / "here"), Bed(folder / "there")
    there.clock.advance(AHEAD)
    return here, there


def pageOf(bed: Bed, export: SessionExport) -> list[EntryData]:
    """
    The next page.
    """
    page = export.next()
    if not isinstance(page, Deferred):
        return page
    found: list[Any] = []
    page.addBoth(found.append)
    for _ in range(50):
        if found:
            break
        bed.clock.advance(0)
    if isinstance(found[0], list):
        return found[0]
    raise found[0].value


def pagesOf(bed: Bed, export: SessionExport) -> list[EntryData]:
    """
    All messages of a session.
    """
    found: list[EntryData] = []
    while page := pageOf(bed, export):
        found.extend(page)
    return found


def move(here: Bed, there: Bed, clientID: str, topicTree: str = "") -> None:
    """
    Move a session, through bytes.
    """
    export = here.broker.interconnect.exportSession(clientID, topicTree)
    assert export is not None
    sent = msgspec.msgpack.encode(export.data)
    coming = there.broker.interconnect.importSession(msgspec.msgpack.decode(sent, type=SessionData))
    while page := pageOf(here, export):
        coming.add(msgspec.msgpack.decode(msgspec.msgpack.encode(page), type=list[EntryData]))
        there.clock.advance(0)
    coming.finish()
    assert export.finish()


def rounded(value: Any) -> Any:
    """
    Data with times to the thousandth of a second.
    """
    if isinstance(value, float):
        return round(value, 3)
    return [rounded(each) for each in value] if isinstance(value, list | tuple) else value


def look(bed: Bed, clientID: str) -> Any:
    """
    Everything that would be moved of a session, which stays.
    """
    export = bed.broker.interconnect.exportSession(clientID)
    if export is None:
        return None
    found = [msgspec.to_builtins(export.data), msgspec.to_builtins(pagesOf(bed, export))]
    export.cancel()
    return rounded(found)


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("subscribe"),
            st.sampled_from(["t", "a/#", "$share/g/t", "$share/g/a/+", "$share/h/t"]),
            st.integers(0, 2),
            st.one_of(st.none(), st.integers(1, 9)),
        ),
        st.tuples(st.just("publish"), st.sampled_from(["t", "a/b"]), st.integers(0, 2), st.sampled_from([1, 3, 200])),
        st.tuples(st.just("send2")),
        st.tuples(st.just("acknowledge"), st.integers(1, 5)),
        st.tuples(st.just("come")),
        st.tuples(st.just("go"), st.booleans()),
        st.tuples(st.just("restart"), st.booleans()),
        st.tuples(st.just("wait"), st.integers(1, 50)),
    ),
    max_size=14,
)


class Life:
    """
    A client that does what hypothesis says.
    """

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.peer: Peer | None = None
        self.number = 0

    def come(self) -> Peer:
        """
        Connect, if it is not.
        """
        if self.peer is None:
            self.peer = self.bed.peer()
            will = Will("will", b"gone", 1, False, propertiesOf(willDelay=500, contentType="text"))
            self.peer.connect("c", cleanStart=False, sessionExpiry=3600, receiveMaximum=10, will=will)
        return self.peer

    def go(self, politely: bool = False) -> None:
        """
        Disconnect, if it is connected.
        """
        peer, self.peer = self.peer, None
        if peer is not None:
            if politely:
                peer.disconnect()
            else:
                peer.lose()

    def subscribe(self, topicFilter: str, qos: int, identifier: int | None) -> None:
        """
        Subscribe.
        """
        request = SubscriptionRequest(topicFilter, qos, retainAsPublished=qos == 1)
        peer = self.come()
        peer.receive()
        peer.subscribe(request, identifier=identifier)

    def publish(self, topic: str, qos: int, count: int) -> None:
        """
        Somebody publishes.
        """
        publisher = self.bed.peer()
        publisher.connect("publisher", username="u")
        for packetID in range(1, count + 1):
            self.number += 1
            publisher.publish(
                topic, b"%d" % self.number, qos, packetID, messageExpiry=9000, userProperties=[("n", str(qos))]
            )
        publisher.receive()
        publisher.lose()

    def send2(self) -> None:
        """
        Publish with QoS 2, and leave out PUBREL.
        """
        peer = self.come()
        self.number += 1
        peer.publish("elsewhere", b"", 2, self.number)
        peer.receive()

    def acknowledge(self, count: int) -> None:
        """
        Acknowledge some of what comes; of QoS 2 half the way.
        """
        peer = self.come()
        for packet in [each for each in peer.receive() if isinstance(each, Publish) and each.qos][:count]:
            peer.acknowledge(PUBACK if packet.qos == 1 else PUBREC, packet.packetID)

    def restart(self, crash: bool) -> None:
        """
        The node is started again.
        """
        self.go()
        self.bed.restart(crash)

    def wait(self, seconds: int) -> None:
        """
        Time passes.
        """
        self.bed.clock.advance(seconds)


@given(steps=STEPS, restarted=st.booleans())
@settings(max_examples=40)
def test_nothingIsLostOrChanged(steps: list[Any], restarted: bool) -> None:
    """
    Whatever a session has gone through: the other node would pass on exactly the messages that came to it, and a look
    at a session changes nothing of it. So it is when the other node has been started again.
    """
    folder = Path(tempfile.mkdtemp())
    here, there = twoBeds(folder)
    try:
        life = Life(here)
        for name, *args in steps:
            getattr(life, name)(*args)
        life.come()
        life.go()
        before = look(here, "c")
        assert look(here, "c") == before
        move(here, there, "c")
        assert look(here, "c") is None
        if restarted:
            there.restart(crash=False)
        after = look(there, "c")
        if restarted:
            # Messages of QoS 0 end with the process, as always; and identifiers begin anew.
            before, after = lasting(before), lasting(after)
        assert after == before
    finally:
        here.crash()
        there.crash()
        shutil.rmtree(folder)


def lasting(found: Any) -> Any:
    """
    Get the part of a session that outlives a process.
    """
    data, entries = found
    return [[*data[:8], sorted(data[9], key=str), *data[10:]], [entry for entry in entries if entry[1]]]


def test_theClientGoesOn(beds: tuple[Bed, Bed]) -> None:
    """
    On the other node the client finds its session: it gets what was in flight again, then what has waited, in order,
    and what is published there from then on.
    """
    here, there = beds
    client = here.client("c", receiveMaximum=5)
    client.subscribe("t", qos=1)
    publishTo(here, *[b"%d" % number for number in range(400)])
    client.acknowledge(PUBACK, client.expect(Publish).packetID)
    client.lose()
    move(here, there, "c")
    here.client("publisher", expiry=0).publish("t", b"too late").lose()
    publishTo(there, b"400")
    again = there.peer()
    assert again.connect("c", cleanStart=False, sessionExpiry=3600).sessionPresent
    assert takeAll(again) == [b"%d" % number for number in range(1, 401)]
    assert list(here.broker.sessions) == [] and here.rows("session") == here.rows("subscription") == here.entries == 0


def test_connectedClientIsSentAway(beds: tuple[Bed, Bed]) -> None:
    """
    A client that is connected is told that its session was taken over, and its will goes along if it has a delay.
    """
    here, there = beds
    will = Will("will", b"gone", 1, False, propertiesOf(willDelay=30))
    client = here.client("c", will=will)
    watchers = [bed.client("watcher") for bed in beds]
    for watcher in watchers:
        watcher.subscribe("will")
    move(here, there, "c")
    client.expectClosed(0x8E)
    for bed in beds:
        bed.clock.advance(31)
    assert [watcher.payloads() for watcher in watchers] == [[], [b"gone"]]


def test_repeatedPublishIsKnown(beds: tuple[Bed, Bed]) -> None:
    """
    A QoS 2 message that the client repeats on the other node is not taken twice.
    """
    here, there = beds
    client = here.client("c")
    client.publish("t", b"once", 2, 9)
    client.expectAck(PUBREC, 9, NO_MATCHING_SUBSCRIBERS)
    client.lose()
    move(here, there, "c")
    watcher = there.client("watcher")
    watcher.subscribe("t")
    again = there.client("c")
    again.publish("t", b"once", 2, 9, dup=True)
    again.expectAck(PUBREC, 9)
    again.acknowledge(PUBREL, 9)
    watcher.expectNothing()


def test_publishedMeanwhile(beds: tuple[Bed, Bed]) -> None:
    """
    A message that is published while a session is read is read too, in order, and the session does not end before.
    """
    here, there = beds
    client = here.client("c")
    client.subscribe("t", qos=1)
    client.lose()
    export = here.broker.interconnect.exportSession("c")
    assert export is not None
    coming = there.broker.interconnect.importSession(export.data)
    for number in range(0, 400, 4):
        publishTo(here, *[b"%d" % (number + each) for each in range(4)])
        if number % 40 == 0:
            coming.add(pageOf(here, export))
    assert not export.finish()
    while page := pageOf(here, export):
        coming.add(page)
    coming.finish()
    assert export.finish()
    assert takeAll(there.client("c")) == [b"%d" % number for number in range(400)]


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("pages", [0, 1, 2])
def test_clientComesMeanwhile(beds: tuple[Bed, Bed], restarted: bool, pages: int) -> None:
    """
    A client that comes to the node that has its session keeps it there with all its messages, however far it was read.
    """
    here, _ = beds
    client = here.client("c")
    client.subscribe("t", qos=1)
    client.lose()
    publishTo(here, *[b"%d" % number for number in range(1200)])
    if restarted:
        here.restart(crash=True)
    export = here.broker.interconnect.exportSession("c")
    assert export is not None
    for _ in range(pages):
        pageOf(here, export)
    here.worker.held = True
    asked = export.next()
    failed: list[Any] = []
    if isinstance(asked, Deferred):
        asked.addErrback(failed.append)
    again = here.peer()
    again.send(connectPacket("c", cleanStart=False, sessionExpiry=3600))
    assert not isinstance(asked, Deferred) or failed[0].check(TransferEnded)
    here.worker.release()
    assert again.expect(Connack).sessionPresent
    with pytest.raises(TransferEnded):
        export.next()
    with pytest.raises(TransferEnded):
        export.finish()
    assert takeAll(again) == [b"%d" % number for number in range(1200)]


def test_sessionEndsMeanwhile(beds: tuple[Bed, Bed]) -> None:
    """
    A session that ends while it is read can't be moved any more.
    """
    here, _ = beds
    here.client("c").lose()
    export = here.broker.interconnect.exportSession("c")
    assert export is not None
    here.broker.endSession("c")
    with pytest.raises(TransferEnded):
        export.next()


def test_nothingToMove(beds: tuple[Bed, Bed]) -> None:
    """
    A client without a session that outlives its connection is sent away, and there is nothing to move.
    """
    here, _ = beds
    assert here.broker.interconnect.exportSession("nobody") is None
    client = here.client("c", expiry=0)
    assert here.broker.interconnect.exportSession("c") is None
    client.expectClosed(0x8E)


def half(here: Bed, there: Bed) -> tuple[SessionExport, SessionImport]:
    """
    Move one page of a session.
    """
    client = here.client("c")
    client.subscribe("t", "$share/g/s", qos=1)
    client.lose()
    publishTo(here, *[b"%d" % number for number in range(600)])
    export = here.broker.interconnect.exportSession("c")
    assert export is not None
    coming = there.broker.interconnect.importSession(export.data)
    coming.add(pageOf(here, export))
    there.clock.advance(0)
    return export, coming


@pytest.mark.parametrize("crash", [False, True])
def test_otherNodeEndsMeanwhile(beds: tuple[Bed, Bed], crash: bool) -> None:
    """
    Where the other node ends before it has everything, it has nothing when it starts again, and the session is where
    it was.
    """
    here, there = beds
    export, _ = half(here, there)
    there.restart(crash)
    there.clock.advance(1)
    assert there.broker.sessions == {} and there.rows("session") == there.rows("subscription") == there.entries == 0
    export.cancel()
    assert takeAll(here.client("c")) == [b"%d" % number for number in range(600)]


def test_givenUp(beds: tuple[Bed, Bed]) -> None:
    """
    Where the one that comes is given up, nothing is left of it.
    """
    here, there = beds
    export, coming = half(here, there)
    assert there.broker.sessions == {} and there.broker.stats()["subscriptions"] == 0
    coming.cancel()
    export.cancel()
    there.clock.advance(1)
    assert there.rows("session") == there.rows("subscription") == there.entries == 0


def test_sharedSubscription(beds: tuple[Bed, Bed]) -> None:
    """
    A session that was moved is a member of its shared subscriptions on the other node, and what it leaves there goes to
    another member.
    """
    here, there = beds
    client = here.client("c")
    client.subscribe("$share/g/t", qos=1)
    client.lose()
    publishTo(here, b"1", b"2")
    move(here, there, "c")
    other = there.client("other")
    other.subscribe("$share/g/t", qos=1)
    there.broker.endSession("c")
    assert takeAll(other) == [b"1", b"2"]


def test_topicTree(beds: tuple[Bed, Bed]) -> None:
    """
    A session comes to the topic tree that it was in.
    """
    here, there = beds
    zone = here.broker.settings.resolveZone("external")
    for bed in beds:
        bed.factory = MQTTFactory(bed.broker, ListenerProfile("tcp.x", zone, topicTree="plant"))
    client = here.client("c")
    client.subscribe("t", qos=1)
    client.lose()
    publishTo(here, b"1")
    move(here, there, "c", "plant")
    publishTo(there, b"2")
    assert takeAll(there.client("c")) == [b"1", b"2"]


def test_olderSessionHereEnds(beds: tuple[Bed, Bed]) -> None:
    """
    A session that comes takes the place of one that is here for the same client.
    """
    here, there = beds
    here.client("c").lose()
    there.client("c").subscribe("old", qos=1)
    move(here, there, "c")
    assert list(there.broker.sessions["c"].subscriptions) == []
    assert there.broker.stats()["subscriptions"] == 0


def test_headersGoAlong(beds: tuple[Bed, Bed]) -> None:
    """
    Notes of hooks about a message go along with it, as far as they are plain data.
    """
    here, there = beds
    said = {"rule": "r1", "hops": [1, {"by": b"\x00", "at": 0.5}], "seen": None, "ok": True}

    def say(message: Message) -> Message:
        return message.replace(headers={**said, "object": object(), "huge": 1 << 70, "deep": [lambda: None]})

    here.broker.hooks.messagePublish.add(say)
    client = here.client("c")
    client.subscribe("t", qos=1)
    client.lose()
    here.broker.publish(Message("t", b"1", 1))
    found: list[Any] = []
    there.broker.hooks.messageDelivered.add(lambda client, message: found.append(message.headers))
    move(here, there, "c")
    assert takeAll(there.client("c")) == [b"1"]
    assert found == [said]
