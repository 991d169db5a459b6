"""
A session and a peer that loses its connection at the worst moments, against what MQTT promises.

The machine plays the client by the book: it acknowledges in any order that is allowed, loses packets that are on their
way when the connection breaks, and comes back with other windows. Each way of delivering has its promise: QoS 1 at
least once, QoS 2 exactly once, in the order of publishing per QoS, in both directions.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.kits.core import Client, Core, SlowJournal, limitsWith
from twisted_mqtt.core.entry import Entry
from twisted_mqtt.core.events import DELIVER, WAIT
from twisted_mqtt.core.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Ack, Publish
from twisted_mqtt.core.session import Session


class SessionMachine(RuleBasedStateMachine):
    """
    One session, and the client at its other end.
    """

    @initialize(
        version=st.sampled_from((4, 5)),
        aliases=st.sampled_from((0, 2)),
        room=st.sampled_from((200, 1 << 20)),
        hooked=st.sampled_from((True, True, False)),
        durable=st.booleans(),
    )
    def begin(self, version: int, aliases: int, room: int, hooked: bool, durable: bool) -> None:
        """
        Make them.
        """
        self.core = Core()
        self.core.switches.delivered = hooked
        self.core.told.verdict = self.judge
        self.waits = False
        self.held: list[tuple[Session, Entry]] = []
        limits = limitsWith(maxQueue=0, maxPendingBytes=room, maxAwaitingRel=3)
        self.aliases = aliases if version == 5 else 0
        self.client = Client(self.core, "client", limits, version)
        self.client.subscribe("t")
        self.durable = durable
        if durable:
            self.client.session.journal = SlowJournal(self.core)
        self.receiver = Client(self.core, "receiver").connect(window=65535)
        self.receiver.subscribe("up")
        self.window = 0
        self.published: dict[int, list[int]] = {0: [], 1: [], 2: []}
        self.number = 0
        # The client's side of what it receives.
        self.got: dict[int, list[int]] = {0: [], 1: [], 2: []}
        self.inbox: list[Any] = []
        self.unreleased: dict[int, int] = {}
        self.owed: list[Ack] = []
        # The client's side of what it sends: packet identifier -> (number, released).
        self.sending: dict[int, tuple[int, int, bool]] = {}
        self.sent = 0
        self.outgoing: dict[int, list[int]] = {1: [], 2: []}
        self.heard: dict[int, list[int]] = {1: [], 2: []}

    def judge(self, session: Session, entry: Entry) -> int:
        """
        The deliver hook.
        """
        if session is self.client.session and self.waits:
            self.held.append((session, entry))
            return WAIT
        return DELIVER

    @property
    def online(self) -> bool:
        """
        Whether the client is connected.
        """
        return self.client.connection is not None

    # The network

    @precondition(lambda self: not self.online)
    @rule(window=st.integers(1, 4), decided=st.sampled_from(("before", "after", "later")))
    def connect(self, window: int, decided: str) -> None:
        """
        The client comes, and sends again what it had not finished, in order ([MQTT-4.4.0-1]). A deliver hook that was
        asked on the last connection may answer at any time.
        """
        if decided == "before" and self.held:
            self.decide()
        self.client.connect(window=window, aliases=self.aliases)
        self.window = window
        if decided == "after" and self.held:
            self.decide()
        for packetID, (number, qos, released) in self.sending.items():
            if released:
                self.client.ack(PUBREL, packetID)
            else:
                self.client.send(Publish("up", b"%d" % number, qos, dup=True, packetID=packetID))
        assert self.client.connection is not None and self.client.connection.error is None

    @precondition(lambda self: self.online)
    @rule(reads=st.integers(0, 6))
    def lose(self, reads: int) -> None:
        """
        The connection breaks; of what is on its way to the client, the first few still arrive.
        """
        self.arrive()
        self.take(reads)
        self.inbox.clear()
        # The answers of the client are lost with the connection.
        self.owed.clear()
        self.client.lose()

    @precondition(lambda self: self.online)
    @rule(congested=st.booleans())
    def congestion(self, congested: bool) -> None:
        """
        The transport takes no more, or does again.
        """
        assert self.client.connection is not None
        self.client.connection.setCongested(congested, self.core.now)

    # Towards the client

    @rule(qos=st.integers(0, 2), count=st.integers(1, 4))
    def publish(self, qos: int, count: int) -> None:
        """
        Somebody publishes.
        """
        for _ in range(count):
            self.number += 1
            # QoS 0 waits too, for the queue stores it here.
            self.published[qos].append(self.number)
            self.core.publish("t", b"%d" % self.number, qos)

    @precondition(lambda self: self.durable)
    @rule()
    def commit(self) -> None:
        """
        The store has written.
        """
        self.core.commit()

    @rule(waits=st.sampled_from((True, True, False)))
    def hookWaits(self, waits: bool) -> None:
        """
        The deliver hook begins or ceases to take its time.
        """
        self.waits = waits

    @precondition(lambda self: self.held)
    @rule()
    def decide(self) -> None:
        """
        The deliver hook decides.
        """
        session, entry = self.held.pop(0)
        session.decided(entry, DELIVER, self.core.now)

    @precondition(lambda self: self.online)
    @rule(count=st.integers(1, 8))
    def read(self, count: int) -> None:
        """
        The client reads some packets.
        """
        self.arrive()
        self.take(count)

    def arrive(self) -> None:
        """
        Packets get to the client's end.
        """
        self.inbox += self.client.received()

    def take(self, count: int) -> None:
        """
        The client reads packets that have arrived.
        """
        for _ in range(count):
            if not self.inbox:
                return
            packet = self.inbox.pop(0)
            if isinstance(packet, Publish):
                self.takePublish(packet)
            elif packet.type == PUBREL:
                self.unreleased.pop(packet.packetID, None)
                self.owed.append(Ack(PUBCOMP, packet.packetID))
            elif packet.type == PUBACK:
                self.sending.pop(packet.packetID, None)
            elif packet.type == PUBREC:
                known = self.sending.get(packet.packetID)
                if known is not None:
                    self.sending[packet.packetID] = (known[0], known[1], True)
                self.client.ack(PUBREL, packet.packetID)
            elif packet.type == PUBCOMP:
                self.sending.pop(packet.packetID, None)

    def takePublish(self, packet: Publish) -> None:
        """
        The client reads a message.
        """
        number = int(packet.payload)
        if packet.qos == 0:
            assert not packet.dup
            self.got[0].append(number)
        elif packet.qos == 1:
            self.got[1].append(number)
            self.owed.append(Ack(PUBACK, packet.packetID))
        else:
            if packet.packetID in self.unreleased:
                # A repetition: it must be the same message.
                assert self.unreleased[packet.packetID] == number and packet.dup
            else:
                self.unreleased[packet.packetID] = number
                self.got[2].append(number)
            self.owed.append(Ack(PUBREC, packet.packetID))

    @precondition(lambda self: self.online and self.owed)
    @rule(count=st.integers(1, 4))
    def answer(self, count: int) -> None:
        """
        The client sends acknowledgements that it owes, in order ([MQTT-4.6.0-2] and -3).
        """
        for _ in range(min(count, len(self.owed))):
            self.client.send(self.owed.pop(0))

    # From the client

    @precondition(lambda self: self.online and len(self.sending) < 3)
    @rule(qos=st.integers(1, 2))
    def send(self, qos: int) -> None:
        """
        The client publishes, within its quota.
        """
        self.sent += 1
        packetID = next(each for each in range(1, 5) if each not in self.sending)
        self.sending[packetID] = (self.sent, qos, False)
        self.outgoing[qos].append(self.sent)
        self.client.send(Publish("up", b"%d" % self.sent, qos, packetID=packetID))
        assert self.client.connection is not None and self.client.connection.error is None

    def hear(self) -> None:
        """
        The messages that have come from the client.
        """
        for packet in self.receiver.publishes():
            self.heard[packet.qos].append(int(packet.payload))
            if packet.qos == 1:
                self.receiver.ack(PUBACK, packet.packetID)
            else:
                self.receiver.ack(PUBREC, packet.packetID)
                self.receiver.ack(PUBCOMP, packet.packetID)
        self.receiver.received()

    # Promises

    @invariant()
    def windowIsKept(self) -> None:
        """
        No more is in flight than the window, apart from what was so before the client came back with a smaller one.
        """
        if not hasattr(self, "client"):
            return
        session = self.client.session
        entries = list(session.inflight.entries.items())
        assert all(packetID == entry.packetID and 0 < packetID < 65536 for packetID, entry in entries)
        resend = 0 if session.inflight.resend is None else len(session.inflight.resend)
        if self.online:
            assert len(entries) - resend <= max(self.window, 0)

    @invariant()
    def promises(self) -> None:
        """
        QoS 2 at most once, QoS 0 at most once, all in order; QoS 1 in the order of its first arrival.
        """
        if not hasattr(self, "client"):
            return
        self.hear()
        assert self.got[0] == sorted(set(self.got[0]))
        assert self.got[2] == sorted(set(self.got[2])), self.got[2]
        assert firsts(self.got[1]) == sorted(set(self.got[1]))
        assert self.heard[2] == self.outgoing[2][: len(self.heard[2])]
        assert firsts(self.heard[1]) == self.outgoing[1][: len(set(self.heard[1]))]

    def teardown(self) -> None:
        """
        At last the client stays connected and answers everything: then nothing may be missing.
        """
        if not hasattr(self, "client"):
            return
        self.waits = False
        while self.held:
            self.decide()
        if not self.online:
            self.connect(2, "before")
        self.congestion(False)
        for _ in range(10_000):
            while self.held:
                self.decide()
            self.core.commit()
            self.arrive()
            self.take(100)
            if self.owed:
                self.answer(100)
            elif not (self.inbox or self.core.scheduled or self.held or self.core.router.waiting):
                break
        self.promises()
        session = self.client.session
        assert session.inflight.entries == {} and session.queueLength == 0 and not self.unreleased and not self.sending
        assert not session.unreleased
        assert self.got[2] == self.published[2]
        assert sorted(set(self.got[1])) == self.published[1]
        assert self.heard[2] == self.outgoing[2]
        assert sorted(set(self.heard[1])) == self.outgoing[1]


def firsts(numbers: list[int]) -> list[int]:
    """
    Each number where it stands first.
    """
    return list(dict.fromkeys(numbers))


SessionMachine.TestCase.settings = settings(
    max_examples=120, stateful_step_count=60, deadline=None, parent=settings.default
)
TestSession = SessionMachine.TestCase
