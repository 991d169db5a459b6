"""
The micro benchmarks run, and what they drive is the broker: a message that goes in comes out.
"""

from __future__ import annotations

import pytest

from bench import packets
from bench.inmemory import InMemory
from bench.micro import Traffic, Visits, addedTo, best, codecFigures, treeFigures
from twisted_mqtt.hooks.verdicts import DROP, AuthResult


def test_delivered() -> None:
    """
    A client of the broker in memory receives the messages that another one publishes.
    """
    memory = InMemory()
    publisher = memory.connect("publisher")
    subscriber = memory.connect("subscriber", "a/+")
    subscriber.sink.keeping = True
    publisher.receive(packets.publish("a/b", b"payload"))
    memory.turn()
    assert subscriber.sink.kept == packets.publish("a/b", b"payload")


@pytest.mark.parametrize(("subscribers", "qos"), [(0, 0), (1, 0), (3, 0), (1, 1), (3, 1)])
def test_trafficFlows(subscribers: int, qos: int) -> None:
    """
    Every exchange delivers every message, with room for the next: acknowledged where that is needed.
    """
    traffic = Traffic(subscribers, qos)
    for _ in range(10):
        traffic.check()
    assert all(not session.inflight for session in traffic.memory.broker.sessions.values())


def test_trafficThatDoesNotArrive() -> None:
    """
    A broker that delivers nothing is not timed.
    """
    traffic = Traffic(1, 0)
    traffic.memory.broker.hooks.hook("message.publish", lambda message: DROP)
    with pytest.raises(RuntimeError, match="not every message"):
        traffic.check()


def test_visitsAreAnswered() -> None:
    """
    A client that comes and goes is answered, or it is not timed; and leaves nothing behind.
    """
    visits = Visits()
    visits.check()
    visits.exchange()
    broker = visits.memory.broker
    assert (len(broker.clients), len(broker.sessions), broker.router.tree.count) == (0, 0, 0)
    assert broker.counters.client_connected == visits.operations + 1
    broker.hooks.hook("client.authenticate", lambda client, verdict: AuthResult("not_authorized"))
    with pytest.raises(RuntimeError, match="was not answered"):
        visits.check()


def test_best() -> None:
    """
    A figure is the time of one operation, not of one call.
    """
    calls = []
    few = best(lambda: calls.append(1), 1, seconds=0.001, rounds=2)
    assert 0 < few < 1e6
    assert len(calls) >= 4
    assert best(lambda: sum(range(1000)), 1000, seconds=0.001) < best(lambda: sum(range(1000)), 1, seconds=0.001)


def test_figures() -> None:
    """
    The figures have names of their own, and are times or sizes.
    """
    figures = [*codecFigures(), *treeFigures((1000,))]
    assert len({figure.name for figure in figures}) == len(figures) == 6
    assert all(figure.value > 0 for figure in figures)


def test_added() -> None:
    """
    The time that a callback adds is found beside how much the same measurement varies without it.
    """

    def slow(message: object) -> None:
        sum(range(20_000))

    added, uncertainty = addedTo(lambda: Traffic(1, 0), "message.publish", slow)
    assert added > 10_000
    assert 0 <= uncertainty < added
