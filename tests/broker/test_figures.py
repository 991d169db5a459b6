"""
The broker's counters and gauges, as metrics.
"""

from __future__ import annotations

from twisted.internet.task import Clock

from twisted_mqtt.broker.figures import STATS, helpOf
from twisted_mqtt.core.counters import NAMES
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer


def test_all() -> None:
    """
    All counters and gauges of the broker are there, as what they are, each with words.
    """
    broker, _ = makeBroker(Clock())
    found = {each.name: each for each in broker.metrics.collect()}
    for name in NAMES:
        assert found[name].kind == ("gauge" if name in ("messages.retained", "messages.delayed") else "counter")
        assert found[name].help == helpOf(name)
    assert set(STATS) == set(broker.stats())
    for name in STATS:
        assert found[f"{name}.count"].kind == found[f"{name}.max"].kind == "gauge"
    assert {"threads.working", "threads.waiting", "threads.refused", "alarms.active", "bans"} <= set(found)
    broker.stopService()


def test_values() -> None:
    """
    They say what is; a maximum stays when its clients have gone.
    """
    clock = Clock()
    broker, factory = makeBroker(clock)
    peers = [Peer(factory, clock) for _ in range(3)]
    for number, peer in enumerate(peers):
        peer.connect(f"c{number}")
        peer.subscribe("t", qos=0)
    clock.advance(1)
    for peer in peers[1:]:
        peer.lose()
    values = broker.metrics.read()
    assert (values["connections.count"], values["connections.max"]) == (1, 3)
    assert values["subscriptions.max"] == 3
    assert values["packets.connect.received"] == 3
    broker.bans.add("x", "clientid")
    assert broker.metrics.read()["bans"] == 1
    broker.stopService()
