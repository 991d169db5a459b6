"""
A broker with a durable store against a plain model, stopped or killed at any point.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.kits.stores import Bed
from twisted_mqtt.core.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Publish, SubscriptionRequest
from twisted_mqtt.testing.peer import Peer

CLIENTS = st.sampled_from(["a", "b"])
ALL_TOPICS = ("t/1", "t/2")
TOPICS = st.sampled_from(ALL_TOPICS)


class StoreMachine(RuleBasedStateMachine):
    """
    Two clients with sessions subscribe, come, go and acknowledge; somebody publishes; the broker is stopped or killed.

    @ivar wanted: what each client is still to be given for the first time, in order, by QoS: payloads.
    @cvar STORAGE: where retained messages are.
    """

    STORAGE = "disc"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.bed = Bed(Path(self.folder), retained=self.STORAGE, max_awaiting_rel=0)
        self.number = 0
        self.peers: dict[str, Peer | None] = {"a": None, "b": None}
        self.subscribed: dict[str, dict[str, int]] = {"a": {}, "b": {}}
        self.exists = {"a": False, "b": False}
        self.wanted: dict[str, dict[int, list[bytes]]] = {name: {1: [], 2: []} for name in self.peers}
        self.pending: dict[str, set[int]] = {"a": set(), "b": set()}
        self.retained: dict[str, bytes] = {}

    def teardown(self) -> None:
        """
        Clean up.
        """
        self.bed.crash()
        shutil.rmtree(self.folder)

    @rule(name=CLIENTS, clean=st.booleans())
    def comes(self, name: str, clean: bool) -> None:
        """
        A client comes, or comes again.
        """
        old = self.peers[name]
        if old is not None:
            old.lose()
        peer = self.bed.peer()
        present = peer.connect(name, cleanStart=clean, sessionExpiry=86400).sessionPresent
        assert present is (self.exists[name] and not clean)
        self.peers[name] = peer
        self.exists[name] = True
        if clean:
            self.subscribed[name].clear()
            self.wanted[name] = {1: [], 2: []}
            self.pending[name].clear()

    @rule(name=CLIENTS)
    def goes(self, name: str) -> None:
        """
        A client goes, with what it has not read unread.
        """
        peer = self.peers[name]
        if peer is not None:
            peer.lose()
            self.peers[name] = None

    @rule(name=CLIENTS, topic=TOPICS, qos=st.sampled_from([1, 2]))
    def subscribes(self, name: str, topic: str, qos: int) -> None:
        """
        A client subscribes; it takes what it is given first.
        """
        peer = self.peers[name]
        if peer is not None:
            self.takes(name, 1000)
            # 2: no retained messages, which are looked at elsewhere
            request = SubscriptionRequest(topic, qos)
            request.retainHandling = 2
            peer.subscribe(request)
            self.subscribed[name][topic] = qos

    @rule(topic=TOPICS, qos=st.sampled_from([1, 2]), retain=st.booleans(), count=st.integers(1, 150))
    def publishes(self, topic: str, qos: int, retain: bool, count: int) -> None:
        """
        Somebody publishes, and is told that it is safe.
        """
        publisher = self.bed.peer()
        publisher.connect("publisher")
        for packetID in range(1, count + 1):
            self.number += 1
            payload = b"%d" % self.number
            publisher.publish(topic, payload, qos, packetID, retain=retain)
            answer = publisher.expect(Ack)
            assert (answer.type, answer.packetID) == (PUBACK if qos == 1 else PUBREC, packetID)
            if retain:
                self.retained[topic] = payload
            for name, topics in self.subscribed.items():
                if topic in topics:
                    self.wanted[name][min(qos, topics[topic])].append(payload)
        publisher.lose()

    @rule(name=CLIENTS)
    def reads(self, name: str) -> None:
        """
        A client reads what has come, and does not answer.
        """
        peer = self.peers[name]
        if peer is not None:
            for packet in peer.receive():
                if isinstance(packet, Publish):
                    self.given(name, packet)
            peer.lose()
            self.peers[name] = None

    @rule(name=CLIENTS, most=st.integers(1, 60))
    def takes(self, name: str, most: int) -> None:
        """
        A client reads some of what there is for it, and answers.
        """
        peer = self.peers[name]
        taken = 0
        while peer is not None and taken < most and (packets := peer.receive()):
            for packet in packets:
                taken += 1
                if isinstance(packet, Publish):
                    self.given(name, packet)
                    peer.acknowledge(PUBACK if packet.qos == 1 else PUBREC, packet.packetID)
                elif isinstance(packet, Ack) and packet.type == PUBREL:
                    self.pending[name].discard(packet.packetID)
                    peer.acknowledge(PUBCOMP, packet.packetID)

    def given(self, name: str, packet: Publish) -> None:
        """
        A message has come: the next in its order, or, at QoS 1, one that has come before.
        """
        wanted = self.wanted[name][packet.qos]
        if packet.qos == 2:
            if packet.packetID in self.pending[name]:
                return
            self.pending[name].add(packet.packetID)
            assert wanted and wanted[0] == packet.payload, (packet, wanted[:3])
            del wanted[0]
        elif packet.payload in wanted:
            assert wanted[0] == packet.payload, (packet, wanted[:3])
            del wanted[0]

    @rule(crash=st.booleans())
    def ends(self, crash: bool) -> None:
        """
        The broker ends and starts again.
        """
        for name in self.peers:
            self.peers[name] = None
        self.bed.restart(crash)

    @rule()
    def everybodyTakesAll(self) -> None:
        """
        After all is taken, nothing is missing, and the store is empty of messages.
        """
        for name in self.peers:
            if self.exists[name]:
                self.comes(name, False)
                self.takes(name, 100_000)
                assert self.wanted[name] == {1: [], 2: []}
        self.bed.clock.advance(1)
        assert self.bed.entries == self.bed.messages == 0

    @invariant()
    def retainedIsRight(self) -> None:
        """
        The retained messages are the last ones.
        """
        watcher = self.bed.peer()
        watcher.connect("watcher")
        watcher.subscribe(*[SubscriptionRequest(topic, 0) for topic in ALL_TOPICS])
        assert {each.topic: each.payload for each in watcher.receive() if isinstance(each, Publish)} == self.retained
        watcher.lose()


class DiskStoreMachine(StoreMachine):
    """
    The same with retained messages on disk alone.
    """

    STORAGE = "disc_only"

    @invariant()
    def memoryHasNone(self) -> None:
        """
        Safe messages are not in memory.
        """
        assert self.bed.broker.retained.bytes == 0


StoreMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestStore = StoreMachine.TestCase
DiskStoreMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestDiskStore = DiskStoreMachine.TestCase
