"""
Tests of L{twisted_mqtt.core.subscription} and of what L{twisted_mqtt.core.router} does with shared subscriptions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.kits.core import Client, Core
from twisted_mqtt.core.packets import PUBREC, PUBREL
from twisted_mqtt.core.subscription import HASH, RANDOM, ROUND_ROBIN, STICKY


def core(strategy: int, *chances: float) -> Core:
    """
    A core that shares by this strategy, with these numbers for chance.
    """
    left: Iterator[float] = iter(chances * 1000 or (0.0,) * 1000)
    made = Core(lambda: next(left))
    made.router.strategy = strategy
    return made


def members(made: Core, count: int = 3, qos: int = 2) -> list[Client]:
    """
    Clients that share.
    """
    clients = [Client(made, name).connect() for name in "abc"[:count]]
    for client in clients:
        client.subscribe("$share/g/t", qos)
    return clients


def shares(clients: list[Client]) -> list[int]:
    """
    How many messages each has got.
    """
    return [len(client.publishes()) for client in clients]


def test_random() -> None:
    """
    Chance chooses, evenly if chance is even.
    """
    made = core(RANDOM, 0.0, 0.5, 0.99, 0.5)
    clients = members(made)
    for _ in range(40):
        made.publish("t")
    assert shares(clients) == [10, 20, 10]


def test_roundRobin() -> None:
    """
    Members take turns in the order of subscribing, and evenly still while one of them is away.
    """
    made = core(ROUND_ROBIN)
    clients = members(made)
    for _ in range(9):
        made.publish("t")
    assert shares(clients) == [3, 3, 3]
    clients[1].lose()
    for _ in range(10):
        made.publish("t")
    assert sorted(shares([clients[0], clients[2]])) == [5, 5]
    assert clients[1].session.queueLength == 0


def test_sticky() -> None:
    """
    The one chosen last is chosen again, until it goes.
    """
    made = core(STICKY, 0.5)
    clients = members(made)
    for _ in range(5):
        made.publish("t")
    assert shares(clients) == [0, 5, 0]
    clients[1].lose()
    for _ in range(5):
        made.publish("t")
    clients[1].connect()
    for _ in range(5):
        made.publish("t")
    assert sorted(shares(clients)) == [0, 0, 10]


def test_stickyAndSubscribedAgain() -> None:
    """
    A member that subscribes again with other options is served by those.
    """
    made = core(STICKY)
    (client,) = members(made, 1)
    made.publish("t", b"", 2)
    client.subscribe("$share/g/t", 0)
    made.publish("t", b"", 2)
    assert [each.qos for each in client.publishes()] == [2, 0]


def test_hash() -> None:
    """
    A publisher's messages all go to one member, those of many publishers to all.
    """
    made = core(HASH)
    clients = members(made)
    seen: Counter[str] = Counter()
    for number in range(60):
        for _ in range(2):
            made.publish("t", clientID=f"publisher{number}")
        for client in clients:
            found = client.publishes()
            assert len(found) in (0, 2)
            seen[client.session.clientID] += len(found) // 2
    assert sum(seen.values()) == 60 and min(seen.values()) > 5


@pytest.mark.parametrize("strategy", [RANDOM, ROUND_ROBIN, STICKY, HASH])
def test_absentMembers(strategy: int) -> None:
    """
    Members that are there are preferred; where all are away the message waits in the queue of one.
    """
    made = core(strategy, 0.0, 0.4, 0.8)
    clients = members(made)
    for client in clients[:2]:
        client.lose()
    for _ in range(9):
        made.publish("t", b"", 1)
    assert len(clients[2].publishes()) == 9
    clients[2].lose()
    for _ in range(9):
        made.publish("t", b"", 1)
    assert sum(client.session.queueLength for client in clients) == 9


@pytest.mark.parametrize("strategy", [RANDOM, ROUND_ROBIN, STICKY, HASH])
def test_redispatch(strategy: int) -> None:
    """
    The undelivered messages of a member go to others in the same order: those that wait and those in flight at QoS 1; a
    QoS 2 message in flight stays with its receiver ([MQTT-4.8.2-5]).
    """
    made = core(strategy)
    leaving, other = members(made, 2)
    other.lose()
    leaving.connect(window=2)
    made.publish("t", b"two", 2)
    made.publish("t", b"one", 1)
    made.publish("t", b"waits", 1)
    made.publish("t", b"waits too", 2)
    first, second = leaving.publishes()
    assert (first.payload, second.payload) == (b"two", b"one")
    other.connect()
    leaving.lose()
    made.router.redispatch(leaving.session.undelivered(), leaving.session)
    assert other.payloads() == [b"one", b"waits", b"waits too"]
    leaving.connect()
    (again,) = leaving.publishes()
    assert (again.payload, again.dup) == (b"two", True)
    leaving.ack(PUBREC, again.packetID)
    (pubrel,) = leaving.received()
    assert pubrel.type == PUBREL


def test_nobodyIsLeft() -> None:
    """
    Where there is no other member, what was left is told as dropped.
    """
    made = core(RANDOM)
    (client,) = members(made, 1)
    client.lose()
    made.publish("t", b"x", 1)
    made.switches.dropped = True
    made.router.redispatch(client.session.undelivered(), client.session)
    assert made.told.events == [("dropped", None, b"x", "no_subscribers")]


def test_sharedBesidesPlain() -> None:
    """
    A client that subscribes a filter both plainly and in a share gets each message for both; two shares are two.
    """
    made = core(RANDOM)
    client = Client(made).connect()
    for topicFilter in ("t", "$share/g/t", "$share/h/t", "$queue/t"):
        client.subscribe(topicFilter)
    assert made.publish("t") == 4
    assert len(client.publishes()) == 4
    assert (made.router.tree.count, made.router.tree.sharedCount) == (4, 3)
