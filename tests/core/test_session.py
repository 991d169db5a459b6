"""
Tests of L{twisted_mqtt.core.session}.
"""

from __future__ import annotations

import pytest

from tests.kits.core import Client, Core, Kept, limitsWith, numbered
from twisted_mqtt.core.entry import Entry
from twisted_mqtt.core.events import DELIVER, DISCARD, WAIT
from twisted_mqtt.core.exactlyonce import isRepeated, release, remember
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBACK, PUBCOMP, PUBREC, PUBREL
from twisted_mqtt.core.session import Session
from twisted_mqtt.testing.peer import propertiesOf


@pytest.fixture
def core() -> Core:
    """
    A core.
    """
    return Core()


# The window


def test_window(core: Core) -> None:
    """
    No more than the window is in flight; each acknowledgement lets the next message go, in order.
    """
    client = Client(core, limits=limitsWith(maxInflight=3)).connect()
    client.subscribe("t")
    for payload in numbered(5):
        core.publish("t", payload, 1)
    first = client.publishes()
    assert [each.payload for each in first] == [b"0", b"1", b"2"]
    client.ack(PUBACK, first[1].packetID)
    assert client.payloads() == [b"3"]
    client.ack(PUBACK, first[0].packetID, first[2].packetID)
    assert client.payloads() == [b"4"]


def test_windowOfQoS2(core: Core) -> None:
    """
    A QoS 2 message occupies the window until its PUBCOMP.
    """
    client = Client(core, limits=limitsWith(maxInflight=1)).connect()
    client.subscribe("t")
    core.publish("t", b"0", 2)
    core.publish("t", b"1", 2)
    (first,) = client.publishes()
    client.ack(PUBREC, first.packetID)
    (pubrel,) = client.received()
    assert (pubrel.type, pubrel.packetID) == (PUBREL, first.packetID)
    client.ack(PUBCOMP, first.packetID)
    assert client.payloads() == [b"1"]


def test_windowFullLetsQoS0Pass(core: Core) -> None:
    """
    With the window full, QoS 0 goes on: order is promised per topic and QoS.
    """
    client = Client(core, limits=limitsWith(maxInflight=1)).connect()
    client.subscribe("t")
    core.publish("t", b"0", 1)
    core.publish("t", b"1", 1)
    core.publish("t", b"2", 0)
    assert client.payloads() == [b"0", b"2"]


def test_resendWithASmallerWindow(core: Core) -> None:
    """
    A client that comes back with a smaller receive maximum gets what was in flight as its window lets it, in order,
    before anything new.
    """
    client = Client(core).connect(window=4)
    client.subscribe("t")
    for payload in numbered(4):
        core.publish("t", payload, 1)
    client.received()
    client.lose()
    core.publish("t", b"new", 1)
    client.connect(window=2)
    seen = []
    for _ in range(5):
        found = client.publishes()
        assert len(client.session.inflight) <= 4 and len(found) <= 2
        seen += [(each.payload, each.dup) for each in found]
        client.ack(PUBACK, *(each.packetID for each in found))
    assert seen == [(b"0", True), (b"1", True), (b"2", True), (b"3", True), (b"new", False)]


def test_acknowledgedBeforeItIsSentAgain(core: Core) -> None:
    """
    A client may acknowledge what it got on the old connection before it is sent again: then it is not sent again, and
    the window stays what it is.
    """
    client = Client(core).connect(window=4)
    client.subscribe("t")
    for payload in numbered(6):
        core.publish("t", payload, 1)
    old = client.publishes()
    assert len(old) == 4
    client.lose()
    client.connect(window=1)
    (again,) = client.publishes()
    assert (again.packetID, again.dup) == (old[0].packetID, True)
    client.ack(PUBACK, old[1].packetID)
    client.ack(PUBACK, old[3].packetID)
    assert client.publishes() == []
    client.ack(PUBACK, old[0].packetID)
    (again,) = client.publishes()
    assert (again.payload, again.dup) == (b"2", True)
    client.ack(PUBACK, again.packetID)
    assert client.payloads() == [b"4"]


def test_tooLargeWhenSentAgain(core: Core) -> None:
    """
    A message that no longer fits the client is given up when it would be sent again, though the client has acknowledged
    some of it meanwhile.
    """
    client = Client(core).connect(window=4)
    client.subscribe("t")
    for payload in numbered(4):
        core.publish("t", payload, 1)
    client.received()
    client.lose()
    core.switches.dropped = True
    client.connect(maxOut=3)
    assert client.publishes() == []
    assert client.session.inflight.entries == {}
    assert [event[3] for event in core.told.events] == ["too_large"] * 4


# The queue


def test_queueDropsQoS0First(core: Core) -> None:
    """
    A full queue loses its oldest message of QoS 0, or else its oldest, and says so.
    """
    core.switches.dropped = True
    client = Client(core, limits=limitsWith(maxQueue=3))
    client.subscribe("t")
    for payload, qos in ((b"a", 1), (b"b", 0), (b"c", 1), (b"d", 1), (b"e", 1)):
        core.publish("t", payload, qos)
    assert core.told.events == [
        ("dropped", "client", b"b", "queue_full"),
        ("dropped", "client", b"a", "queue_full"),
    ]
    assert core.counters.delivery_dropped_queue_full == 2
    client.connect()
    assert client.payloads() == [b"c", b"d", b"e"]


def test_queueWithoutQoS0(core: Core) -> None:
    """
    Where QoS 0 is not stored it is dropped for a client that is away.
    """
    client = Client(core, limits=limitsWith(storeQoS0=False))
    client.subscribe("t")
    core.publish("t", b"0", 0)
    core.publish("t", b"1", 1)
    client.connect()
    assert client.payloads() == [b"1"]
    assert core.counters.delivery_dropped_qos0_msg == 1


def test_priorities(core: Core) -> None:
    """
    Topics of greater priority leave first, those of one priority in order; the lowest is the first to be dropped.
    """
    client = Client(core, limits=limitsWith(priorities={"high": 5, "low": 1}, defaultPriority=0, maxQueue=4))
    client.subscribe("#")
    for topic, payload in (("other", b"0"), ("low", b"1"), ("high", b"2"), ("low", b"3"), ("high", b"4")):
        core.publish(topic, payload, 1)
    client.connect()
    assert client.payloads() == [b"2", b"4", b"1", b"3"]


def test_expiresInTheQueue(core: Core) -> None:
    """
    A message whose time is over is not delivered; one that still has time is told how much ([MQTT-3.3.2-5] and -6).
    """
    core.switches.dropped = True
    client = Client(core)
    client.subscribe("t")
    for payload, seconds in ((b"short", 5), (b"long", 100)):
        core.publish("t", payload, 1, expiresAt=core.now + seconds, messageExpiry=seconds)
    core.advance(10)
    client.connect()
    (found,) = client.publishes()
    assert (found.payload, found.properties.messageExpiry) == (b"long", 90)
    assert core.told.events == [("dropped", "client", b"short", "expired")]
    assert core.counters.delivery_dropped_expired == core.counters.messages_dropped_expired == 1
    assert core.counters.messages_dropped == 1


def test_offlineLimitIsTheZonesOfToday(core: Core) -> None:
    """
    A client that comes back through another listener has that listener's limits, for its queue too.
    """
    client = Client(core, limits=limitsWith(maxQueue=1))
    client.subscribe("t")
    core.publish("t", b"0", 1)
    client.session.useLimits(limitsWith(maxQueue=3))
    for payload in (b"1", b"2"):
        core.publish("t", payload, 1)
    assert client.session.queueLength == 3


# A deliver hook that waits


class Holding:
    """
    A deliver hook that says WAIT, and remembers what it was asked about.
    """

    def __init__(self, core: Core) -> None:
        self.held: list[tuple[Session, Entry]] = []
        core.switches.delivered = True
        core.told.verdict = self._ask

    def _ask(self, session: Session, entry: Entry) -> int:
        self.held.append((session, entry))
        return WAIT

    def decide(self, verdict: int, now: float) -> None:
        """
        Decide on the oldest.
        """
        session, entry = self.held.pop(0)
        session.decided(entry, verdict, now)


def test_holdsTheLine(core: Core) -> None:
    """
    While a hook decides about a message nothing overtakes it, of whatever QoS.
    """
    holding = Holding(core)
    client = Client(core).connect()
    client.subscribe("t")
    for qos, payload in enumerate(numbered(3)):
        core.publish("t", payload, qos)
    assert client.payloads() == [] and len(holding.held) == 1
    holding.decide(DELIVER, core.now)
    holding.decide(DISCARD, core.now)
    holding.decide(DELIVER, core.now)
    assert client.payloads() == [b"0", b"2"]


@pytest.mark.parametrize("window", [1, 2])
def test_decidedAfterAReconnection(core: Core, window: int) -> None:
    """
    A decision that comes after the client has come back does not put the message before those that are sent again,
    nor over the window.
    """
    client = Client(core).connect(window=2)
    client.subscribe("t")
    core.publish("t", b"0", 1)
    client.received()
    holding = Holding(core)
    core.publish("t", b"1", 1)
    client.lose()
    client.connect(window=window)
    while holding.held:
        holding.decide(DELIVER, core.now)
    found = client.publishes()
    assert [(each.payload, each.dup) for each in found] == [(b"0", True), (b"1", False)][:window]
    client.ack(PUBACK, found[0].packetID)
    while holding.held:
        holding.decide(DELIVER, core.now)
    assert client.payloads() == [b"1"][window - 1 :]


def test_decidedWhenNobodyIsThere(core: Core) -> None:
    """
    A message that was decided on too late waits for the client, in its place.
    """
    client = Client(core).connect()
    client.subscribe("t")
    holding = Holding(core)
    core.publish("t", b"0", 1)
    core.publish("t", b"1", 1)
    client.lose()
    holding.decide(DELIVER, core.now)
    core.switches.delivered = False
    client.connect()
    assert client.payloads() == [b"0", b"1"]


def test_decidedAfterTheEnd(core: Core) -> None:
    """
    A message that was being decided on when its session ended is dropped, which is told.
    """
    client = Client(core).connect()
    client.subscribe("t")
    holding = Holding(core)
    core.publish("t", b"0", 1)
    client.lose()
    client.session.shut = True
    core.switches.dropped = True
    holding.decide(DELIVER, core.now)
    assert core.told.events == [("dropped", "client", b"0", "session_terminated")]
    assert client.session.queueLength == 0


def test_refusedByTheHook(core: Core) -> None:
    """
    A message that a hook rejects is counted and reported as dropped, at once or after waiting.
    """
    client = Client(core).connect()
    client.subscribe("t")
    core.switches.delivered = core.switches.dropped = True
    core.told.verdict = lambda session, entry: DISCARD
    core.publish("t", b"0", 1)
    holding = Holding(core)
    core.publish("t", b"1", 0)
    holding.decide(DISCARD, core.now)
    assert client.payloads() == []
    assert core.told.events == [("dropped", "client", b"0", "hook"), ("dropped", "client", b"1", "hook")]
    assert (core.counters.delivery_dropped, core.counters.messages_dropped) == (2, 2)


# Options


@pytest.mark.parametrize(
    ("published", "subscribed", "upgrade", "delivered"),
    [(0, 2, False, 0), (2, 1, False, 1), (1, 2, False, 1), (0, 2, True, 2), (2, 0, True, 0), (1, 1, True, 1)],
)
def test_qos(core: Core, published: int, subscribed: int, upgrade: bool, delivered: int) -> None:
    """
    The lesser of both QoS, or the subscription's own where the zone upgrades: to a client that is there, through its
    queue, as a retained message, and to another member of a share alike.
    """
    limits = limitsWith(upgradeQoS=upgrade)
    client = Client(core, "a", limits).connect()
    subscription = client.subscribe("t", subscribed)
    core.publish("t", b"", published)
    client.showRetained(Kept([Message("t", b"x", published)]), subscription)
    assert [each.qos for each in client.publishes()] == [delivered] * 2
    away = Client(core, "b", limits)
    away.subscribe("t", subscribed)
    core.publish("t", b"", published)
    away.session.redeliver(Entry(Message("t", b"", published), 0, False, None, None), away.subscribe("u", subscribed))
    away.connect()
    assert [each.qos for each in away.publishes()] == [delivered] * 2


def test_loop(core: Core) -> None:
    """
    Where loops are ignored a client does not get its own messages, nor with No Local; others do.
    """
    core.switches.dropped = True
    a = Client(core, "a", limitsWith(ignoreLoop=True)).connect()
    b = Client(core, "b").connect()
    c = Client(core, "c").connect()
    for client in (a, b):
        client.subscribe("t")
    c.subscribe("t", noLocal=True)
    for clientID in "abc":
        core.publish("t", clientID.encode(), clientID=clientID)
    assert (a.payloads(), b.payloads(), c.payloads()) == ([b"b", b"c"], [b"a", b"b", b"c"], [b"a", b"b"])
    assert [event[1:] for event in core.told.events] == [("a", b"a", "no_local"), ("c", b"c", "no_local")]
    assert core.counters.delivery_dropped_no_local == core.counters.delivery_dropped == 2


def test_overlappingWithNoLocal(core: Core) -> None:
    """
    Of overlapping subscriptions only those without No Local count for a client's own message, with their QoS and
    identifiers; for other messages all do.
    """
    client = Client(core, "a").connect()
    client.subscribe("t", 2, noLocal=True, identifiers=[1])
    client.subscribe("+", 1, identifiers=[2])
    client.subscribe("#", 0, identifiers=[3])
    core.publish("t", b"own", 2, clientID="a")
    core.publish("t", b"other", 2, clientID="b")
    own, other = client.publishes()
    assert (own.qos, sorted(own.properties.subscriptionIDs)) == (1, [2, 3])
    assert (other.qos, sorted(other.properties.subscriptionIDs)) == (2, [1, 2, 3])


def test_mountpoint(core: Core) -> None:
    """
    A client behind a mount point sees topics without it, directly, from its queue and as retained messages.
    """
    client = Client(core, mountpoint="zone/")
    subscription = client.subscribe("t/#")
    core.publish("t/x", b"no")
    core.publish("zone/t/x", b"queued", 1)
    client.connect()
    core.publish("zone/t/x", b"at once")
    core.publish("zone/t/x", b"at once too", 1)
    client.showRetained(Kept([Message("zone/t/x", b"retained")]), subscription)
    found = client.publishes()
    assert [each.payload for each in found] == [b"queued", b"at once", b"at once too", b"retained"]
    assert {each.topic for each in found} == {"t/x"}


def test_awaiting(core: Core) -> None:
    """
    Identifiers of QoS 2 messages from the client are remembered up to the limit; those whose PUBREL is overdue make
    room for others.
    """
    session = Client(core, limits=limitsWith(maxAwaitingRel=2, awaitRelTimeout=10)).session
    assert remember(session, 1, core.now) and remember(session, 2, core.now + 5)
    assert not remember(session, 3, core.now + 9)
    assert remember(session, 3, core.now + 10)
    assert [isRepeated(session, packetID) for packetID in (1, 2, 3)] == [False, True, True]
    assert release(session, 2) and not release(session, 2)


def test_retainedBacklogOfAClientThatGoes(core: Core) -> None:
    """
    Of retained messages on their way to a client that goes, those of QoS 1 and 2 wait for it, if its session lasts.
    """
    limits = limitsWith(maxInflight=1)
    lasting, passing = Client(core, "a", limits).connect(), Client(core, "b", limits, expiry=0).connect()
    for client in (lasting, passing):
        subscription = client.subscribe("#")
        messages = [Message(f"t/{n}", b"%d" % n, n % 2) for n in range(6)]
        client.showRetained(Kept(messages), subscription)
        client.received()
        client.lose()
    assert (lasting.session.queueLength, passing.session.queueLength) == (2, 0)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("aliases", [0, 2])
@pytest.mark.parametrize(
    "poison",
    [
        Message("x" * 65_536, b"too long for its length field", 2),
        Message("\ud800", b"no character", 2),
        Message("x", b"a property of MQTT 5 that is too long", 2, properties=propertiesOf(contentType="x" * 65_536)),
    ],
    ids=["long", "surrogate", "property"],
)
def test_poison(core: Core, poison: Message, qos: int, version: int, aliases: int) -> None:
    """
    A message that can't be encoded is dropped for who should get it, at once or when the client is back; that is
    counted, and nothing else is harmed by it: neither the publisher, nor the connection, nor what comes behind.
    """
    core.switches.dropped = True
    client = Client(core, version=version)
    client.subscribe("#", qos)
    expected = [b"next"] if version == 5 or poison.properties is None else [poison.payload, b"next"]
    aliases = aliases if version == 5 else 0
    for _ in range(2):
        core.router.route(poison.replace())
        core.publish("t", b"next", 2)
        client.connect(aliases=aliases)
        assert client.payloads() == expected
        core.router.route(poison.replace())
        core.publish("t", b"next", 2)
        assert client.payloads() == expected
        assert client.session.queueLength == 0
        client.lose()
        client.session.inflight.entries.clear()
    dropped = 4 * (2 - len(expected))
    assert core.counters.delivery_dropped_unsendable == core.counters.messages_dropped == dropped
    assert core.told.events == [("dropped", "client", poison.payload, "unsendable")] * dropped


def test_poisonInFlight(core: Core) -> None:
    """
    What becomes a poison while it is in flight, by an older release of the broker, say, is given up when it would be
    sent again.
    """
    client = Client(core).connect()
    client.subscribe("#")
    core.publish("a", b"bad", 1)
    core.publish("b", b"good", 1)
    client.publishes()
    client.lose()
    client.session.inflight.entries[1].message = Message("x" * 70_000, b"bad", 1)
    client.connect()
    assert client.payloads() == [b"good"]
    assert list(client.session.inflight.entries) == [2]


@pytest.mark.parametrize("topic", ["zone/", "zone"])
def test_nothingLeftBehindAMountpoint(core: Core, topic: str) -> None:
    """
    What stands right at a mount point matches its C{#} too, and has no name behind it: nobody there gets it, in
    particular no PUBLISH without a topic.
    """
    client = Client(core, mountpoint="zone/").connect()
    client.subscribe("#")
    for qos in (0, 1, 2):
        core.publish(topic, b"bad", qos)
        core.publish("zone/t", b"good", qos)
    assert client.payloads() == [b"good"] * 3
    client.lose()
    core.publish(topic, b"bad", 1)
    core.publish("zone/t", b"good", 1)
    client.session.inflight.entries.clear()
    client.connect()
    assert client.payloads() == [b"good"]
    assert core.counters.delivery_dropped_unsendable == 4
