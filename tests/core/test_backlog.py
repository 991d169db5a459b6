"""
Tests of L{twisted_mqtt.core.backlog}: retained messages that are on disk alone, on their way to a client.
"""

from __future__ import annotations

import pytest

from tests.kits.core import Client, Core, Kept, limitsWith
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
    client.session.deliverRetained(kept, client.subscribe("#"), core.now)
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
    client.session.deliverRetained(kept, client.subscribe("#"), core.now)
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
    client.session.deliverRetained(kept, client.subscribe("#"), core.now)
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
    client.session.deliverRetained(kept, client.subscribe("#"), core.now)
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
    client.session.deliverRetained(kept, client.subscribe("#"), core.now)
    assert client.payloads() == payloadsOf(5)
    assert kept.sizes == [1, 1]


def test_severalFilters(core: Core) -> None:
    """
    Filters wait for each other, and each is read for itself.
    """
    client = Client(core).connect()
    kept = Kept(stored(2), onDisk=True, held=True)
    client.session.deliverRetained(kept, client.subscribe("t/+"), core.now)
    client.session.deliverRetained(kept, client.subscribe("#", identifiers=[7]), core.now)
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
    client.session.deliverRetained(kept, client.subscribe("#", 0), core.now)
    client.session.deliverRetained(kept, client.subscribe("#", 1), core.now)
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
            client.session.deliverRetained(kept, client.subscribe(topicFilter), core.now)
        client.session.forgetRetained("#", core.now)
        client.session.forgetRetained("t/+", core.now)
        client.session.deliverRetained(kept, client.subscribe("+/+"), core.now)
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
    client.session.deliverRetained(kept, client.subscribe("#"), core.now)
    core.publish("t/new", b"waits", 1)
    kept.match("#").clear()
    client.session.deliverRetained(kept, client.subscribe("#"), core.now)
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
        client.session.deliverRetained(kept, client.subscribe(topicFilter), core.now)
    found = client.publishes()
    assert [each.payload for each in found] == [b"0", b"1"]
    client.session.forgetRetained("#", core.now)
    client.session.forgetRetained("+/+", core.now)
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
    What was being read for a subscription that has ended is not sent; what has waited for it is, then.
    """
    client = Client(core).connect()
    kept = Kept(stored(5), onDisk=True, held=True)
    client.session.deliverRetained(kept, client.subscribe("#"), core.now)
    core.publish("t/new", b"waits", 1)
    assert client.payloads() == []
    client.session.forgetRetained("#", core.now)
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
        client.session.deliverRetained(kept, client.subscribe("#"), core.now)
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
    client.session.deliverRetained(kept, client.subscribe("#", 0), core.now)
    client.session.deliverRetained(kept, client.subscribe("t/+", 0), core.now)
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
    client.session.deliverRetained(kept, client.subscribe("#"), core.now)
    client.lose()
    core.publish("t/1", b"newer", 1)
    client.connect()
    assert client.payloads() == []
    kept.answer()
    assert client.payloads() == [b"0", b"1", b"2", b"newer"]


def test_ends(core: Core) -> None:
    """
    What was being read for a session that has ended reaches nobody.
    """
    client = Client(core).connect()
    kept = Kept(stored(3), onDisk=True, held=True)
    client.session.deliverRetained(kept, client.subscribe("#"), core.now)
    client.lose()
    client.session.shut = True
    kept.answer()
    assert client.session.queueLength == 0
    assert kept.asked == []
