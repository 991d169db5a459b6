"""
Packets of a few kilobytes that ask for much: SUBSCRIBE, UNSUBSCRIBE, and topics of many levels.
"""

import itertools

import pytest

from tests.hostile.kit import Siege, StartSiege, entered, packet, ping, publish, publishAll, subscribe, unsubscribe

MEMORY = {"persistence": {"store": "memory"}}


@pytest.fixture
def siege(startSiege: StartSiege) -> Siege:
    """
    A broker whose store is memory.
    """
    return startSiege(MEMORY)


def test_manyRetained(siege: Siege) -> None:
    """
    A SUBSCRIBE of 100 filters, each of which has to look at 100,000 retained messages and finds none.
    """
    broker = siege.broker
    with entered(broker, "filler") as filler:
        publishAll(filler, {f"dev/{number}/state": b"on" for number in range(100_000)}, retain=True)
    with siege.unharmed(), entered(broker, "attacker") as attacker:
        attacker.sendall(subscribe(f"dev/+/x{number}" for number in range(100)))
        assert packet(attacker)[0] == 0x90
        ping(attacker)


def test_deepRetained(siege: Siege) -> None:
    """
    Retained messages whose topics have 65 levels, and filters that match none of them.
    """
    broker = siege.broker
    with entered(broker, "filler") as filler:
        publishAll(filler, {"a/" * 64 + str(number): b"on" for number in range(50_000)}, retain=True)
    with siege.unharmed(), entered(broker, "attacker") as attacker:
        attacker.sendall(subscribe(f"+/x{number}" for number in range(100)))
        assert packet(attacker)[0] == 0x90
        ping(attacker)


def test_manyFilters(siege: Siege) -> None:
    """
    A SUBSCRIBE of 10,000 filters, and an UNSUBSCRIBE of them.
    """
    broker = siege.broker
    filters = [f"a/{number}/+" for number in range(10_000)]
    with siege.unharmed(), entered(broker, "attacker") as attacker:
        attacker.sendall(subscribe(filters))
        first, body = packet(attacker)
        assert first == 0x90 and len(body) == 3 + len(filters)
        ping(attacker)
        attacker.sendall(unsubscribe(filters))
        first, body = packet(attacker)
        assert first == 0xB0 and len(body) == 3 + len(filters)


def test_manyWays(siege: Siege) -> None:
    """
    Messages whose topics match thousands of filters, in as many ways, many of them in one piece.
    """
    broker = siege.broker
    filters = ["/".join(levels) + "/+" for levels in itertools.product("a+", repeat=12)]
    with siege.unharmed(), entered(broker, "attacker") as attacker:
        attacker.sendall(subscribe(filters))
        assert packet(attacker)[0] == 0x90
        attacker.sendall(b"".join(publish("a/" * 12 + str(number), b"") for number in range(1000)))
        topics = [packet(attacker)[1][2:-1] for _ in range(1000)]
        assert topics == [b"a/" * 12 + b"%d" % number for number in range(1000)]


def test_deepSubscriptions(siege: Siege) -> None:
    """
    50,000 subscriptions of 66 levels, and 20 messages with topics of 66 levels.
    """
    broker = siege.broker
    with siege.unharmed(), entered(broker, "attacker") as attacker:
        for first in range(0, 50_000, 1000):
            attacker.sendall(subscribe("a/" * 64 + f"+/{number}" for number in range(first, first + 1000)))
            assert packet(attacker)[0] == 0x90
        for number in range(20):
            attacker.sendall(publish("a/" * 64 + f"{number}/x", b""))
        ping(attacker)
