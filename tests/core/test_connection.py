"""
Tests of L{twisted_mqtt.core.connection} and L{twisted_mqtt.core.outbox}.
"""

from __future__ import annotations

import time

import pytest

from tests.kits.core import Client, Core, Kept, SlowJournal, limitsWith, numbered
from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.connection import Connection
from twisted_mqtt.core.exactlyonce import isRepeated
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.outbox import Outbox
from twisted_mqtt.core.packets import (
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBACK,
    Ack,
    Auth,
    Ping,
    Publish,
    Suback,
)
from twisted_mqtt.core.reasons import (
    PACKET_ID_NOT_FOUND,
    PROTOCOL_ERROR,
    RECEIVE_MAXIMUM_EXCEEDED,
    TOPIC_ALIAS_INVALID,
    TOPIC_NAME_INVALID,
)
from twisted_mqtt.core.subscription import Subscription
from twisted_mqtt.testing.peer import connectPacket, propertiesOf


@pytest.fixture
def core() -> Core:
    """
    A core.
    """
    return Core()


def subscribed(core: Core, topicFilter: str = "#", **options: int) -> Client:
    """
    Somebody who receives.
    """
    client = Client(core, "receiver").connect(**options)
    client.subscribe(topicFilter)
    return client


# Topic aliases


def test_aliasesIn(core: Core) -> None:
    """
    An alias stands for the topic it was last set to, until the connection ends.
    """
    receiver = subscribed(core)
    client = Client(core, limits=limitsWith(maxTopicAlias=2)).connect()
    for topic, alias in (("a", 1), ("b", 2), ("", 1), ("c", 1), ("", 1), ("", 2)):
        for packet in client.send(Publish(topic, b"x", properties=propertiesOf(topicAlias=alias))):
            assert isinstance(packet, Publish) and client.connection is not None
            core.router.route(client.connection.makeMessage(packet, core.now))
    found = receiver.publishes()
    assert [each.topic for each in found] == ["a", "b", "a", "c", "c", "b"]
    assert {each.properties for each in found} == {None}
    client.connect()
    assert client.connection is not None
    client.send(Publish("", b"x", properties=propertiesOf(topicAlias=1)))
    assert client.connection.error is not None


@pytest.mark.parametrize("alias", [0, 3, 65535])
def test_aliasOutOfRange(core: Core, alias: int) -> None:
    """
    Zero and more than the maximum are refused ([MQTT-3.3.2-8], [MQTT-3.3.2-9]).
    """
    client = Client(core, limits=limitsWith(maxTopicAlias=2)).connect()
    client.send(Publish("a", b"x", properties=propertiesOf(topicAlias=alias)))
    assert client.connection is not None and client.connection.error is not None
    assert client.connection.error.reason == TOPIC_ALIAS_INVALID


def test_aliasesOut(core: Core) -> None:
    """
    The first topics get an alias, which later says the topic alone; when none is left topics are sent as they are.
    """
    receiver = subscribed(core, aliases=2)
    for topic in ("a", "b", "c", "a", "b", "c"):
        core.publish(topic, b"x", 1)
    found = receiver.publishes()
    aliases = [(each.topic, each.properties and each.properties.topicAlias) for each in found]
    assert aliases == [("a", 1), ("b", 2), ("c", None), ("", 1), ("", 2), ("c", None)]


def test_aliasOfAMessageThatWasTooLarge(core: Core) -> None:
    """
    A client that did not get the message that would have set an alias is not sent the alias as known.
    """
    receiver = subscribed(core, aliases=2, maxOut=30)
    core.publish("topic/a", b"x" * 40)
    core.publish("topic/a", b"y")
    core.publish("topic/a", b"z")
    found = receiver.publishes()
    assert [(each.topic, each.payload) for each in found] == [("topic/a", b"y"), ("", b"z")]


def test_aliasThatWouldMakeItTooLarge(core: Core) -> None:
    """
    A message that fits without setting an alias is sent without.
    """
    receiver = subscribed(core, aliases=2, maxOut=30)
    payload = b"x" * (30 - 2 - 2 - 7 - 1)
    core.publish("topic/a", payload)
    assert [(each.topic, each.payload) for each in receiver.publishes()] == [("topic/a", payload)]


# Quotas


def test_receiveMaximum(core: Core) -> None:
    """
    More QoS 2 messages without PUBREL than the receive maximum are refused ([MQTT-3.3.4-9]); each PUBCOMP makes room.
    """
    client = Client(core, limits=limitsWith(maxAwaitingRel=0)).connect(receiveMaximum=2)
    assert client.connection is not None
    for packetID in (1, 2):
        client.send(Publish("a", b"", 2, packetID=packetID))
    client.ack(PUBREL, 1)
    client.send(Publish("a", b"", 2, packetID=3))
    assert client.connection.error is None
    client.send(Publish("a", b"", 2, packetID=4))
    assert client.connection.error is not None
    assert client.connection.error.reason == RECEIVE_MAXIMUM_EXCEEDED


def test_refusedIsNotRemembered(core: Core) -> None:
    """
    A QoS 2 message over the receive maximum was not taken: sent again on the next connection it is no repetition.
    """
    receiver = subscribed(core)
    client = Client(core, limits=limitsWith(maxAwaitingRel=0)).connect(receiveMaximum=1)
    client.send(Publish("a", b"0", 2, packetID=1), Publish("a", b"1", 2, packetID=2))
    client.lose()
    client.connect(receiveMaximum=1)
    client.ack(PUBREL, 1)
    client.send(Publish("a", b"1", 2, dup=True, packetID=2))
    assert receiver.payloads() == [b"0", b"1"]


def test_quotaBeginsAnewWithEachConnection(core: Core) -> None:
    """
    A client whose earlier connections have left QoS 2 messages without PUBREL has its whole receive maximum again,
    once those are overdue or released.
    """
    client = Client(core, limits=limitsWith(maxAwaitingRel=2, awaitRelTimeout=10))
    packetID = 0
    for _ in range(5):
        client.connect(receiveMaximum=2)
        assert client.connection is not None
        for _ in range(2):
            packetID += 1
            client.send(Publish("a", b"", 2, packetID=packetID))
            assert client.connection.error is None
        assert [each.type for each in client.received()] == [PUBREC, PUBREC]
        client.lose()
        core.advance(20)


def test_belowVersion5AllAreAnswered(core: Core) -> None:
    """
    A client of 3.1.1 can't know how many QoS 2 messages it may have on their way: each is published once and answered,
    whichever way it takes ([MQTT-4.3.3-2] of 3.1.1).
    """
    for left in (False, True):
        core.switches.publish = left
        receiver = subscribed(core)
        client = Client(core, limits=limitsWith(maxAwaitingRel=1), version=4).connect()
        connection = client.connection
        assert connection is not None
        for packet in client.send(*(Publish("a", b"%d" % each, 2, packetID=each) for each in (1, 2, 3, 2))):
            assert isinstance(packet, Publish)
            if connection.begin(packet, core.now):
                core.router.route(connection.makeMessage(packet, core.now))
                connection.acknowledge(packet, 0, core.now)
        assert [(each.type, each.packetID) for each in client.received()] == [(PUBREC, each) for each in (1, 2, 3, 2)]
        assert receiver.payloads() == [b"1", b"2", b"3"]
        client.ack(PUBREL, 3, 1, 2)
        assert [(each.type, each.packetID) for each in client.received()] == [(PUBCOMP, each) for each in (3, 1, 2)]
        assert connection.error is None and not client.session.unreleased
        core.router.tree.remove("#", receiver.session)


def test_belowVersion5OverdueAreForgotten(core: Core) -> None:
    """
    Identifiers over C{max_awaiting_rel} whose PUBREL is overdue are not kept, so that memory does not grow without an
    end.
    """
    client = Client(core, limits=limitsWith(maxAwaitingRel=2, awaitRelTimeout=10), version=4).connect()
    for packetID in range(1, 6):
        client.send(Publish("a", b"", 2, packetID=packetID))
    core.advance(11)
    client.send(Publish("a", b"", 2, packetID=6))
    assert [isRepeated(client.session, packetID) for packetID in (1, 5, 6)] == [False, False, True]


@pytest.mark.parametrize(
    ("qos", "answer"), [(1, PUBREC), (1, PUBCOMP), (2, PUBACK), (2, PUBCOMP)], ids=["rec1", "comp1", "ack2", "comp2"]
)
def test_answerOfTheWrongKind(core: Core, qos: int, answer: int) -> None:
    """
    An acknowledgement that the message in flight can't have is a protocol error, and the message stays in flight.
    """
    client = subscribed(core)
    core.publish("a", b"", qos)
    (found,) = client.publishes()
    client.ack(answer, found.packetID)
    assert client.connection is not None and client.connection.error is not None
    assert client.connection.error.reason == PROTOCOL_ERROR
    assert len(client.session.inflight) == 1


def test_lateAnswersAreNoErrors(core: Core) -> None:
    """
    An answer to what is not in flight any more, or a second PUBREC, is none: a client may send it twice.
    """
    client = subscribed(core)
    core.publish("a", b"", 2)
    (found,) = client.publishes()
    for kind in (PUBREC, PUBREC, PUBCOMP, PUBCOMP, PUBACK, PUBREC):
        client.ack(kind, found.packetID)
    assert client.connection is not None and client.connection.error is None


def test_whatFitsNoPacket(core: Core) -> None:
    """
    An answer with something for which MQTT has no form is sent without its reason string and user properties; if that
    does not help, whoever sends it learns that it was not sent.
    """
    client = Client(core).connect()
    connection = client.connection
    assert connection is not None
    for extra in (propertiesOf(reasonString="x" * 65536), propertiesOf(userProperties=[("\ud800", "")])):
        assert connection.sendPacket(Suback(SUBACK, 1, [0], extra))
        assert connection.replyPacket(Suback(SUBACK, 2, [0], extra))
    assert [packet.properties for packet in client.received()] == [None] * 4
    assert not connection.sendPacket(Auth(0x18, propertiesOf(authMethod="x" * 65536)))
    connection.maxOut = 10
    assert not connection.sendPacket(Suback(SUBACK, 1, [0] * 10))
    core.router.progress.sequence += 1
    assert not connection.replyPacket(Suback(SUBACK, 1, [0] * 10))
    assert client.received() == []


def test_repetitionIsAnsweredAndNotCounted(core: Core) -> None:
    """
    A repeated QoS 2 message gets its PUBREC and goes nowhere, nor is it counted as another message.
    """
    receiver = subscribed(core)
    client = Client(core).connect()
    client.send(Publish("a", b"0", 2, packetID=1), Publish("a", b"0", 2, dup=True, packetID=1))
    assert [each.type for each in client.received()] == [PUBREC, PUBREC]
    assert receiver.payloads() == [b"0"]
    counters = core.counters
    assert (counters.messages_received, counters.messages_qos2_received, counters.packets_publish_received) == (1, 1, 2)


def test_unknownRelease(core: Core) -> None:
    """
    A PUBREL of nothing is answered so that the client can finish.
    """
    client = Client(core).connect()
    client.ack(PUBREL, 9)
    (answer,) = client.received()
    assert (answer.type, answer.packetID, answer.reason) == (PUBCOMP, 9, PACKET_ID_NOT_FOUND)
    assert core.counters.packets_pubrel_missed == 1


def test_topicBehindAMountpointIsTooLong(core: Core) -> None:
    """
    A topic that with its mount point would not fit a packet is the client's fault, and nobody else's trouble.
    """
    receiver = subscribed(core)
    for version in (4, 5):
        client = Client(core, mountpoint="zone/", version=version).connect()
        assert client.connection is not None
        client.send(Publish("x" * 65_531, b"", 1, packetID=1))
        assert client.connection.error is not None
        assert client.connection.error.reason == TOPIC_NAME_INVALID
        client.connect()
        assert client.connection.error is None
        client.send(Publish("x" * 65_530, b"fits", 0))
    assert receiver.payloads() == [b"fits"] * 2


# Access rules


def test_allowedTopics(core: Core) -> None:
    """
    A topic that access rules have allowed goes through without a question, for as long as they said and until rules
    change.
    """
    core.switches.acl = True
    core.switches.aclGeneration = 3
    receiver = subscribed(core)
    client = Client(core).connect()
    connection = client.connection
    assert connection is not None
    assert len(client.send(Publish("a", b"left"))) == 1
    connection.allow("a", core.now + 60)
    assert client.send(Publish("a", b"1")) == []
    assert len(client.send(Publish("b", b"left"))) == 1
    core.advance(61)
    assert len(client.send(Publish("a", b"left"))) == 1
    connection.allow("a", core.now + 60)
    core.switches.aclGeneration += 1
    assert len(client.send(Publish("a", b"left"))) == 1
    connection.allow("a", core.now + 60)
    assert client.send(Publish("a", b"2")) == []
    connection.disallow("a")
    assert len(client.send(Publish("a", b"left"))) == 1
    connection.exempt = True
    assert client.send(Publish("b", b"3")) == []
    assert receiver.payloads() == [b"1", b"2", b"3"]


# Order


def test_nothingOvertakesWhatIsLeft(core: Core) -> None:
    """
    Behind a PUBLISH that is left to the shell, those after it in the same bytes are left too, and all while parked.
    """
    client = Client(core).connect()
    assert client.connection is not None
    left = client.send(Publish("$x", b"0"), Publish("a", b"1"))
    assert len(left) == 2
    client.connection.parked = True
    assert len(client.send(Publish("a", b"2"))) == 1
    client.connection.parked = False
    assert client.send(Publish("a", b"3")) == []


# Output


def test_largestOut(core: Core) -> None:
    """
    A packet that is larger than the client accepts is not sent, counted and reported as dropped ([MQTT-3.1.2-24]).
    """
    core.switches.dropped = True
    receiver = subscribed(core, maxOut=20)
    for qos in (0, 1, 2):
        core.publish("a", b"x" * 20, qos)
        core.publish("a", b"y", qos)
    assert receiver.payloads() == [b"y"] * 3
    assert [event[3] for event in core.told.events] == ["too_large"] * 3
    assert core.counters.delivery_dropped_too_large == 3
    assert len(receiver.session.inflight) == 2


def test_whoDoesNotReadMakesNothingGrow(core: Core) -> None:
    """
    Bytes for a client that never reads stay within C{maxPendingBytes} and its queue.
    """
    client = Client(core, limits=limitsWith(maxPendingBytes=10_000, maxQueue=50)).connect()
    client.subscribe("#")
    connection = client.connection
    assert connection is not None
    for number in range(1000):
        core.publish("t", b"x" * 100, number % 3)
    core.flush()
    connection.setCongested(True, core.now)
    before = sum(map(len, client.wire.data))
    assert before < 10_000 + 32 * 200 + 10_000
    for number in range(1000):
        core.publish("t", b"x" * 100, number % 3)
        core.flush()
    assert sum(map(len, client.wire.data)) == before
    assert client.session.queueLength == 50
    assert core.counters.delivery_dropped_queue_full > 800


def test_roomComesBack(core: Core) -> None:
    """
    When the transport takes bytes again, what has waited follows without further input.
    """
    client = Client(core).connect()
    client.subscribe("#")
    connection = client.connection
    assert connection is not None
    connection.setCongested(True, core.now)
    for payload in numbered(100):
        core.publish("t", payload, 0)
    assert client.payloads() == []
    connection.setCongested(False, core.now)
    assert client.payloads() == list(numbered(100))


def test_fiftyThousandRetained(core: Core) -> None:
    """
    50,000 retained messages reach a subscriber to C{#} though they are many times what may be pending, without any
    further input.
    """
    client = Client(core, limits=limitsWith(maxPendingBytes=65_536)).connect()
    subscription = client.subscribe("#")
    messages = [Message(f"t/{number}", b"x" * 64, 0, True) for number in range(50_000)]
    client.showRetained(Kept(messages), subscription)
    assert len(client.publishes()) == 50_000


def test_writesOnceATurn(core: Core) -> None:
    """
    Everything for a client in one turn is one write; large pieces are not copied together.
    """
    receiver = subscribed(core)
    for payload in numbered(100):
        core.publish("t", payload)
    core.flush()
    (small,) = receiver.wire.data
    receiver.received()
    for _ in range(3):
        core.publish("t", b"x" * 10_000)
    core.flush()
    assert len(receiver.wire.data) == 3
    assert core.counters.bytes_sent == len(small) + sum(map(len, receiver.wire.data))


class Broken:
    """
    A transport that fails.
    """

    def write(self, data: bytes) -> None:
        """
        Fail.
        """
        raise RuntimeError("broken")

    def writeSequence(self, iovec: list[bytes]) -> None:
        """
        Fail.
        """
        raise RuntimeError("broken")


def test_aBrokenTransportHarmsItselfAlone(core: Core) -> None:
    """
    Where writing to one transport raises, the others are written to, in the next turn at the latest, and ever after.
    """
    clients = [Client(core, name).connect() for name in "abc"]
    assert clients[1].connection is not None
    clients[1].connection.writer = Broken()
    for client in clients:
        client.subscribe("t")
    core.publish("t", b"1")
    assert core.scheduled
    core.scheduled = 0
    with pytest.raises(RuntimeError):
        core.outbox.flush()
    assert core.scheduled
    assert [client.payloads() for client in (clients[0], clients[2])] == [[b"1"], [b"1"]]
    clients[1].lose()
    core.publish("t", b"2")
    assert [client.payloads() for client in (clients[0], clients[2])] == [[b"2"], [b"2"]]


def test_outboxLetsTheReactorHaveItsTurn() -> None:
    """
    A connection that fills up again while it is written is not written for ever in one turn.
    """
    core = Core()
    later: list[int] = []
    core.outbox = Outbox(lambda: later.append(1))
    client = Client(core).connect()
    assert client.connection is not None
    connection: Connection = client.connection
    writes: list[bytes] = []

    class Echo:
        """
        A transport on which each write causes another.
        """

        def write(self, data: bytes) -> None:
            """
            Write more.
            """
            writes.append(data)
            connection.send(b"\xd0\x00")

        def writeSequence(self, iovec: list[bytes]) -> None:
            """
            Not used.
            """
            raise AssertionError("small pieces are joined")

    connection.writer = Echo()
    connection.send(b"\xd0\x00")
    assert later == [1]
    core.outbox.flush()
    assert 1 < len(writes) < 10 and later == [1, 1]


def test_outboxInTurn() -> None:
    """
    In a turn at whose end it is flushed, nobody else is asked to do that.
    """

    class Turn:
        """
        A turn that has begun, or not.
        """

        inTurn = True

    core = Core()
    later: list[int] = []
    core.outbox = Outbox(lambda: later.append(1))
    turn = core.outbox.turning = Turn()
    client = Client(core).connect()
    assert client.connection is not None
    core.outbox.flush()
    client.connection.send(b"\xd0\x00")
    assert later == []
    core.outbox.flush()
    turn.inTurn = False
    client.connection.send(b"\xd0\x00")
    client.connection.send(b"\xd0\x00")
    assert later == [1]


# Effort


def seconds(count: int, version: int) -> float:
    """
    How long so many one-byte writes take: a fair part of them PUBLISH of one packet that never ends.
    """
    core = Core()
    client = Client(core, version=version).connect()
    assert client.connection is not None
    small = encode(Publish("a/b", b"x" * 20), version)
    half = count // 2
    stream = (small * (half // len(small) + 1))[:half] if half else b""
    stream = stream[: len(stream) // len(small) * len(small)]
    stream += b"\x30\xff\xff\x3f\x00\x03a/b" + b"x" * half
    receive = client.connection.receive
    begun = time.process_time()
    for index in range(len(stream)):
        receive(stream[index : index + 1], core.now)
    return time.process_time() - begun


@pytest.mark.parametrize("version", [4, 5])
def test_bytesOneByOne(version: int) -> None:
    """
    100,000 one-byte writes cost no more than linear time: ten times as many take about ten times as long.
    """
    few = min(seconds(10_000, version) for _ in range(3))
    assert seconds(100_000, version) < max(few, 0.001) * 40


def test_repliesWaitForTheStoreInOrder(core: Core) -> None:
    """
    Acknowledgements leave when what they acknowledge is safe, in order; those of a connection that is lost never.
    """
    progress = core.router.progress

    class Kept:
        """
        A subscriber for whom something is written.
        """

        clientID = "kept"
        online = False

        def deliver(self, message: Message, subscription: Subscription) -> None:
            """
            See L{Subscriber}.
            """
            progress.sequence += 1

    core.router.tree.add(Subscription(Kept(), "a"))
    clients = [Client(core, name).connect() for name in "ab"]
    for client in clients:
        client.send(Publish("a", b"", 1, packetID=1))
        client.send(Publish("b", b"", 1, packetID=3))
        client.send(Publish("a", b"", 2, packetID=2), Ack(PUBREL, 2))
        assert client.received() == []
    clients[1].lose()
    progress.committed = 1
    core.router.committed()
    assert [(each.type, each.packetID) for each in clients[0].received()] == [(PUBACK, 1), (PUBACK, 3)]
    progress.committed = 4
    core.router.committed()
    assert [each.type for each in clients[0].received()] == [PUBREC, PUBCOMP]
    assert core.router.waiting == []


def test_beforeTheSession(core: Core) -> None:
    """
    Packets that a client sends along with its CONNECT wait, pings and acknowledgements too.
    """
    client = Client(core)
    connection = client.connection = Connection(core.router, client.limits, core.outbox, client.wire, core.now)
    assert connection.session is None
    left = client.send(
        encode(connectPacket(), 5), Publish("a", b""), Ping(PINGREQ), Ack(PUBREL, 1), Publish("b", b"", 1, packetID=1)
    )
    assert [each.type for each in left] == [1, 3, 12, 6, 3]
    assert client.wire.data == [] and connection.error is None


def test_signsOfLife(core: Core) -> None:
    """
    Only whole packets put off the end that keep-alive brings ([MQTT-3.1.2-22]); partial ones don't.
    """
    client = Client(core).connect()
    connection = client.connection
    assert connection is not None
    begun = core.now
    core.advance(5)
    connection.receive(b"\xc0", core.now)
    assert connection.lastReceived == begun
    core.advance(5)
    connection.receive(b"\x00", core.now)
    assert connection.lastReceived == core.now


def test_aliasesAndWhatIsHeldBack(core: Core) -> None:
    """
    A QoS 2 message that is held back until its identifier is safe is overtaken by QoS 0 and 1: an alias that they use
    must have been set by one that was sent.
    """
    receiver = subscribed(core, aliases=2)
    receiver.session.journal = SlowJournal(core)
    for qos in (2, 0, 1, 2):
        core.publish("t", b"%d" % qos, qos)
    found = receiver.publishes()
    assert [(each.topic, each.payload) for each in found] == [("t", b"0"), ("", b"1")]
    core.commit()
    assert [(each.topic, each.payload) for each in receiver.publishes()] == [("t", b"2"), ("t", b"2")]
