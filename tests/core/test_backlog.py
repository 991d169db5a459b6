"""
Tests of L{twisted_mqtt.core.backlog}: retained messages that are on disk alone, on their way to a client.
"""

from __future__ import annotations

import pytest

from tests.kits.core import Client, Core, Kept, limitsWith
from twisted_mqtt.broker.retained import RetainedMessages
from twisted_mqtt.core.backlog import Wanted, deliverRetained, forgetRetained
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBACK


def stored(count: int, qos: int = 1) -> list[Message]:
    """
    So many retained messages.
    """
    return [Message(f"t/{number}", b"%d" % number, qos, True) for number in range(count)]


def payloadsOf(count: int) -> list[bytes]:
    """
    Their payloads.
    """
    return [b"%d" % number for number in range(count)]


@pytest.fixture
def core() -> Core:
    """
    A core.
    """
    return Core()


def test_atOnce(core: Core) -> None:
    """
    Where reading takes no time they come like others, some at a time, and what is published next after them.
    """
    client = Client(core, limits=limitsWith(maxInflight=1000)).connect()
    kept = Kept(stored(300), onDisk=True)
    client.showRetained(kept, client.subscribe("#"))
    core.publish("t/new", b"new", 1)
    found = client.publishes()
    assert [each.payload for each in found] == [*payloadsOf(300), b"new"]
    assert [each.retain for each in found] == [True] * 300 + [False]
    assert kept.sizes == [128, 128, 44]


def test_acknowledged(core: Core) -> None:
    """
    No more is read than the window lets out, and each goes out once.
    """
    client = Client(core, limits=limitsWith(maxInflight=10)).connect()
    kept = Kept(stored(300), onDisk=True)
    client.showRetained(kept, client.subscribe("#"))
    seen = []
    while found := client.publishes():
        seen += [each.payload for each in found]
        assert len(found) <= 10 and len(kept.sizes) <= len(seen) // 128 + 1
        client.ack(PUBACK, *(each.packetID for each in found))
    assert seen == payloadsOf(300)


@pytest.mark.parametrize("storeQoS0", [False, True])
def test_wait(core: Core, storeQoS0: bool) -> None:
    """
    While they are read, what is published waits behind them, at every QoS, whatever the queue is for.
    """
    client = Client(core, limits=limitsWith(storeQoS0=storeQoS0)).connect()
    kept = Kept(stored(2), onDisk=True, held=True)
    client.showRetained(kept, client.subscribe("#"))
    for qos in (0, 1, 2):
        core.publish("t/new", b"new %d" % qos, qos)
    assert client.publishes() == []
    kept.answer()
    assert client.payloads() == [b"0", b"1", b"new 0", b"new 1", b"new 2"]
    core.publish("t/new", b"at once")
    assert client.payloads() == [b"at once"]


def test_inParts(core: Core) -> None:
    """
    A read may bring fewer than were asked for, and leave out those that are gone.
    """
    client = Client(core).connect()
    kept = Kept(stored(6), onDisk=True, held=True)
    for gone in ("t/0", "t/4"):
        del kept.messages[gone]
    client.showRetained(kept, client.subscribe("#"))
    for count in (1, 3, 1, 1):
        kept.answer(count)
    assert client.payloads() == [b"1", b"2", b"3", b"5"]
    assert kept.sizes == [6, 5, 2, 1]
    assert kept.asked == []
    core.publish("t/new", b"at once")
    assert client.payloads() == [b"at once"]


def test_mixed(core: Core) -> None:
    """
    Those that are still in memory keep their places among the others.
    """
    client = Client(core).connect()
    kept = Kept(stored(5), onDisk=True)
    for number in (0, 2, 3):
        kept.match("#")[number] = kept.messages[f"t/{number}"]
    client.showRetained(kept, client.subscribe("#"))
    assert client.payloads() == payloadsOf(5)
    assert kept.sizes == [1, 1]


def test_severalFilters(core: Core) -> None:
    """
    Filters wait for each other, and each is read for itself.
    """
    client = Client(core).connect()
    kept = Kept(stored(2), onDisk=True, held=True)
    client.showRetained(kept, client.subscribe("t/+"))
    client.showRetained(kept, client.subscribe("#", identifiers=[7]))
    assert kept.sizes == [2]
    kept.answer()
    assert client.payloads() == payloadsOf(2)
    kept.answer()
    assert [each.properties.subscriptionIDs for each in client.publishes()] == [[7], [7]]


def test_subscribedAgain(core: Core) -> None:
    """
    The same subscription again begins anew; what was being read for the old one is not delivered.
    """
    client = Client(core).connect()
    kept = Kept(stored(2), onDisk=True, held=True)
    client.showRetained(kept, client.subscribe("#", 0))
    client.showRetained(kept, client.subscribe("#", 1))
    kept.answer()
    assert client.payloads() == []
    kept.answer()
    assert [(each.payload, each.qos) for each in client.publishes()] == [(b"0", 1), (b"1", 1)]


def test_oneReadAtATime(core: Core) -> None:
    """
    However often a client subscribes and unsubscribes, it has one read under way.
    """
    client = Client(core).connect()
    kept = Kept(stored(2), onDisk=True, held=True)
    for _ in range(50):
        for topicFilter in ("#", "t/+"):
            client.showRetained(kept, client.subscribe(topicFilter))
        forgetRetained(client.session, "#", core.now)
        forgetRetained(client.session, "t/+", core.now)
        client.showRetained(kept, client.subscribe("+/+"))
    assert kept.sizes == [2]
    kept.answer()
    assert kept.sizes == [2, 2]
    kept.answer()
    assert client.payloads() == payloadsOf(2)
    core.publish("t/new", b"at once")
    assert client.payloads() == [b"at once"]


def test_subscribedAgainWithoutAny(core: Core) -> None:
    """
    Where there are none any more when a subscription is made again, nothing is waited for.
    """
    client = Client(core, limits=limitsWith(maxInflight=2)).connect()
    kept = Kept(stored(5), onDisk=True, held=True)
    client.showRetained(kept, client.subscribe("#"))
    core.publish("t/new", b"waits", 1)
    kept.match("#").clear()
    client.showRetained(kept, client.subscribe("#"))
    kept.answer()
    core.publish("t/new", b"at once", 1)
    assert client.payloads() == [b"waits", b"at once"]


@pytest.mark.parametrize("onDisk", [False, True])
def test_unsubscribed(core: Core, onDisk: bool) -> None:
    """
    For a subscription that has ended nothing more is sent; the others' go on.
    """
    client = Client(core, limits=limitsWith(maxInflight=2)).connect()
    kept = Kept(stored(5), onDisk=onDisk)
    for topicFilter in ("#", "t/+", "+/+"):
        client.showRetained(kept, client.subscribe(topicFilter))
    found = client.publishes()
    assert [each.payload for each in found] == [b"0", b"1"]
    forgetRetained(client.session, "#", core.now)
    forgetRetained(client.session, "+/+", core.now)
    seen = []
    while found:
        client.ack(PUBACK, *(each.packetID for each in found))
        found = client.publishes()
        seen += [each.payload for each in found]
    assert seen == payloadsOf(5)
    core.publish("t/new", b"at once")
    assert client.payloads() == [b"at once"]


def test_unsubscribedWhileRead(core: Core) -> None:
    """
    A message that was being read for a subscription that has ended is not sent; then the waiting ones are.
    """
    client = Client(core).connect()
    kept = Kept(stored(5), onDisk=True, held=True)
    client.showRetained(kept, client.subscribe("#"))
    core.publish("t/new", b"waits", 1)
    assert client.payloads() == []
    forgetRetained(client.session, "#", core.now)
    kept.answer()
    core.publish("t/new", b"at once")
    assert client.payloads() == [b"waits", b"at once"]


def test_goes(core: Core) -> None:
    """
    Of a client that goes meanwhile they wait like those in memory, if its session lasts: those of QoS 1 and 2, up to
    the limit of its queue; but for topics of which something newer waits already.
    """
    lasting = Client(core, "a", limitsWith(maxQueue=4)).connect()
    passing = Client(core, "b", expiry=0).connect()
    held = []
    for client in (lasting, passing):
        messages = stored(6)
        messages[1].qos = 0
        kept = Kept(messages, onDisk=True, held=True)
        held.append(kept)
        client.showRetained(kept, client.subscribe("#"))
        client.lose()
    core.publish("t/2", b"newer", 1)
    for kept in held:
        kept.answer(2)
    assert held[0].asked and not held[1].asked
    held[0].answer()
    assert passing.connect().payloads() == [b"newer"]
    assert lasting.connect().payloads() == [b"newer", b"0", b"3", b"4"]
    assert not held[0].asked
    core.publish("t/2", b"at once")
    assert lasting.payloads() == [b"at once"]


def test_goesFromQoS0(core: Core) -> None:
    """
    For a client that goes, nothing is read that it would not be given later.
    """
    client = Client(core).connect()
    kept = Kept(stored(300), onDisk=True, held=True)
    client.showRetained(kept, client.subscribe("#", 0))
    client.showRetained(kept, client.subscribe("t/+", 0))
    client.lose()
    kept.answer()
    assert (kept.sizes, client.session.queueLength) == ([128], 0)
    core.publish("t/new", b"new", 1)
    assert client.connect().payloads() == [b"new"]


def test_comesBack(core: Core) -> None:
    """
    Of a client that is back before they are read, they come before what has waited, in the order of time.
    """
    client = Client(core).connect()
    kept = Kept(stored(3), onDisk=True, held=True)
    client.showRetained(kept, client.subscribe("#"))
    client.lose()
    core.publish("t/1", b"newer", 1)
    client.connect()
    assert client.payloads() == []
    kept.answer()
    assert client.payloads() == [b"0", b"1", b"2", b"newer"]


def test_ends(core: Core) -> None:
    """
    A message that was being read for a session that has ended reaches nobody.
    """
    client = Client(core).connect()
    kept = Kept(stored(3), onDisk=True, held=True)
    client.showRetained(kept, client.subscribe("#"))
    client.lose()
    client.session.shut = True
    kept.answer()
    assert client.session.queueLength == 0
    assert kept.asked == []


class Place:
    """
    Retained messages and those who subscribe.
    """

    def __init__(self, core: Core, count: int) -> None:
        self.core = core
        self.retained = RetainedMessages(core.counters)
        for number in range(count):
            self.retained.put(Message(f"dev/{number}/state", b"old", 1, True))

    def publish(self, topic: str, payload: bytes = b"new") -> None:
        """
        Publish a message and retain it.
        """
        message = Message(topic, payload, 1, True)
        self.retained.put(message)
        self.core.router.route(message)


def test_inPortions(core: Core) -> None:
    """
    A long search continues in later turns. A message that is published meanwhile comes once, after the retained ones;
    one that is forgotten meanwhile does not come.
    """
    place = Place(core, 5000)
    client = Client(core, limits=limitsWith(maxInflight=10_000)).connect()
    subscription = client.subscribe("dev/+/state")
    place.publish("dev/1/state")
    deliverRetained(client.session, place.retained, [Wanted(subscription, core.router.number - 1)], core.now)
    core.flush()
    assert [each for each in client.wire.data if b"old" in each] == []
    turns = 0
    while core.told.works:
        core.told.turn()
        turns += 1
        if turns == 3:
            place.publish("dev/0/state")
            place.publish("dev/4999/state")
            place.publish("dev/new/state")
            place.retained.remove("dev/4998/state")
    assert turns > 10
    found = client.publishes()
    new = [each.topic for each in found if each.payload == b"new"]
    assert new == ["dev/1/state", "dev/0/state", "dev/4999/state", "dev/new/state"]
    assert found[0].topic == "dev/1/state" and [each.topic for each in found[-3:]] == new[1:]
    old = [each.topic for each in found if each.payload == b"old"]
    assert len(old) == len(set(old))
    # The first may have been looked at before it was published anew.
    missing = {f"dev/{number}/state" for number in range(5000)} - set(old)
    assert {"dev/1/state", "dev/4998/state", "dev/4999/state"} <= missing
    assert missing <= {"dev/0/state", "dev/1/state", "dev/4998/state", "dev/4999/state"}
    core.publish("dev/5/state", b"at once")
    assert client.payloads() == [b"at once"]


def test_filtersInPortions(core: Core) -> None:
    """
    Of very many filters only some are looked for at once, and nothing is left of them in the end.
    """
    place = Place(core, 10)
    client = Client(core).connect()
    asked: list[str] = []
    match = place.retained.match
    place.retained.match = lambda topicFilter, *rest: asked.append(topicFilter) or match(topicFilter, *rest)
    subscriptions = [client.subscribe(f"x/{number}") for number in range(2000)] + [client.subscribe("dev/3/state")]
    client.showRetained(place.retained, *subscriptions)
    assert len(asked) < 100
    assert client.payloads() == [b"old"]
    assert len(set(asked)) == 2001
    core.publish("x/5", b"at once")
    assert client.payloads() == [b"at once"]


def test_unsubscribedMeanwhile(core: Core) -> None:
    """
    A message that is being searched for when its subscription ends does not come any more.
    """
    place = Place(core, 5000)
    client = Client(core).connect()
    client.showRetained(place.retained, client.subscribe("dev/+/state"), client.subscribe("dev/7/#"))
    core.told.turn()
    forgetRetained(client.session, "dev/+/state", core.now)
    assert [each.topic for each in client.publishes()] == ["dev/7/state"]


@pytest.mark.parametrize("expiry", [0, 100])
def test_goneMeanwhile(core: Core, expiry: int) -> None:
    """
    If the client goes while it is looked for, what is found waits for it, in later turns, if its session lasts.
    """
    place = Place(core, 5000)
    client = Client(core, limits=limitsWith(maxQueue=0), expiry=expiry).connect()
    client.showRetained(place.retained, client.subscribe("dev/+/state"))
    core.told.turn()
    client.lose()
    while core.told.works:
        core.told.turn()
    assert client.session.queueLength == (5000 if expiry else 0)
    assert not client.session.isBusy


def test_aLittleAtATime(core: Core) -> None:
    """
    A client that takes everything at once gets it in several turns; what is published meanwhile comes after it, at
    every QoS, whatever the queue is for.
    """
    place = Place(core, 400)
    for number in range(5000):
        place.retained.put(Message(f"big/{number}", b"old", 0, True))
    client = Client(core, limits=limitsWith(storeQoS0=False)).connect()
    client.showRetained(place.retained, client.subscribe("big/#"))
    core.told.turn()
    core.publish("big/x", b"new")
    assert client.payloads() == [b"old"] * 5000 + [b"new"]
