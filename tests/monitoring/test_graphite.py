"""
Tests for L{twisted_mqtt.monitoring.graphite} and L{twisted_mqtt.monitoring.points}.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kits.metricspeers import Endpoint, Sending
from twisted_mqtt.monitoring.graphite import STALLED, GraphiteSender
from twisted_mqtt.monitoring.settings import GraphiteSettings
from twisted_mqtt.testing.memory import MemoryBroker


class Setup:
    """
    A broker in memory that sends to Graphite.
    """

    def __init__(self, isThere: bool = True, **settings: object) -> None:
        self.memory = MemoryBroker()
        self.endpoint = Endpoint(self.memory.clock)
        self.endpoint.isThere = isThere
        table = GraphiteSettings(**settings)
        self.harness = self.memory.run(
            Sending(lambda context: GraphiteSender(context, table, self.endpoint).begin()), "graphite"
        )

    def wait(self, seconds: float) -> None:
        """
        Let time pass.
        """
        self.memory.wait(seconds, 0.5)

    def sample(self) -> list[str]:
        """
        The lines that came on the last connection since the last time.
        """
        self.wait(20)
        _, transport = self.endpoint.connections[-1]
        lines = transport.value().decode("ascii").splitlines()
        transport.clear()
        return lines

    def count(self, name: str) -> float:
        """
        The value of a counter.
        """
        return self.memory.broker.metrics.read()[name]

    @property
    def alarms(self) -> list[str]:
        """
        The alarms that are active.
        """
        return list(self.memory.broker.alarms.active)


@pytest.fixture
def make() -> Iterator[type[Setup]]:
    """
    Makes them; their extensions are stopped after the test.
    """
    made: list[Setup] = []

    class Kept(Setup):
        def __init__(self, *args: object, **settings: object) -> None:
            super().__init__(*args, **settings)
            made.append(self)

    yield Kept
    for each in made:
        each.harness.stop()


def values(lines: list[str]) -> dict[str, str]:
    """
    The values of lines by name.
    """
    return {name: value for name, value, _ in (line.split(" ") for line in lines)}


def test_lines(make: type[Setup]) -> None:
    """
    Each interval every metric is sent: name with dots, value, date; with the key of the provider and a prefix.
    """
    setup = make(api_key="1234-abc", prefix="vmq")
    setup.memory.client("a")
    lines = setup.sample()
    found = values(lines)
    assert found["1234-abc.vmq.mqtt.connect.received"] == "1"
    assert found["1234-abc.vmq.connections.count"] == "1"
    date = int(setup.memory.broker.dates.now())
    assert all(abs(int(line.split(" ")[2]) - date) <= 1 for line in lines)
    assert setup.count("graphite.samples.sent") == 1
    assert len(setup.sample()) == len(lines)


def test_histogram(make: type[Setup]) -> None:
    """
    A histogram is a count, a sum, and for each bucket how many values were not above it.
    """
    setup = make()
    histogram = setup.memory.broker.metrics.histogram("time.commit", "Seconds", (0.5, 2)).own
    for value in (0.1, 1, 3):
        histogram.observe(value)
    found = values(setup.sample())
    assert {name: value for name, value in found.items() if name.startswith("time.")} == {
        "time.commit.bucket.0_5": "1",
        "time.commit.bucket.2": "2",
        "time.commit.bucket.inf": "3",
        "time.commit.count": "3",
        "time.commit.sum": "4.1",
    }


@pytest.mark.parametrize("included", [False, True])
def test_labels(make: type[Setup], included: bool) -> None:
    """
    Series are added up; where that is wanted each has a line too, and odd values of labels break nothing.
    """
    setup = make(include_labels=included)
    metrics = setup.memory.broker.metrics
    counter = metrics.counter("odd", "Odd", ("topic", "to"))
    for number, topic in enumerate(("a/b", "a b", "\n x 1 1\n", "\ud800é", "", "plain"), 1):
        counter.of(topic, "x").value += number
    histogram = metrics.histogram("took", "Seconds", (1,), ("by",))
    histogram.of("one").observe(0.5)
    histogram.of("two").observe(5)
    metrics.counter("unused", "No series", ("by",))
    metrics.gauge("broken", "Not a number", read=lambda: float("nan"))
    lines = setup.sample()
    assert all(len(line.split(" ")) == 3 for line in lines)
    found = {
        name: value for name, value in values(lines).items() if name.startswith(("odd", "took", "unused", "broken"))
    }
    sums = {"odd": "21", "took.bucket.1": "1", "took.bucket.inf": "2", "took.count": "2", "took.sum": "5.5"}
    if not included:
        assert found == sums
        return
    assert sums.items() <= found.items()
    assert {name: value for name, value in found.items() if name.startswith("odd.")} == {
        # These two read alike.
        "odd.topic_a_b.to_x": "3",
        "odd.topic___x_1_1_.to_x": "3",
        "odd.topic___.to_x": "4",
        "odd.to_x": "5",
        "odd.topic_plain.to_x": "6",
    }
    assert found["took.sum.by_two"] == "5"


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ("emqx", "packets.connect.received"),
        ("nanomq", "nanomq.connections.count"),
        ("vernemq", "mqtt.connect.received"),
    ],
)
def test_names(make: type[Setup], names: str, name: str) -> None:
    """
    Names are those of the broker that is asked for.
    """
    assert name in values(make(metric_names=names).sample())


def test_newMetrics(make: type[Setup]) -> None:
    """
    A metric that is registered while the broker runs is in the next sample.
    """
    setup = make()
    assert "late" not in values(setup.sample())
    setup.memory.broker.metrics.counter("late", "Late").own.value += 5
    assert values(setup.sample())["late"] == "5"


def test_absent(make: type[Setup]) -> None:
    """
    While the server is away it is tried again in growing pauses, there is an alarm and a count of what was left out,
    and nothing is kept; once it is there, samples go on.
    """
    setup = make(isThere=False, reconnect_timeout=15)
    assert setup.alarms == ["graphite_down"]
    setup.wait(100)
    attempts = setup.endpoint.attempts
    assert [after - before for before, after in zip(attempts, attempts[1:], strict=False)][:7] == [
        1,
        2,
        4,
        8,
        15,
        15,
        15,
    ]
    assert setup.count("graphite.samples.lost") == 5
    alarm = setup.memory.broker.alarms.active["graphite_down"]
    assert (alarm.severity, alarm.title) == ("warning", "Graphite at localhost:2003 does not take metrics")
    assert "Connection refused" in alarm.summary
    setup.endpoint.isThere = True
    setup.wait(15)
    names = list(values(setup.sample()))
    # One sample, and not those of before.
    assert len(names) == len(set(names)) > 100
    assert setup.alarms == []
    assert setup.count("graphite.samples.sent") == 1


def test_restarted(make: type[Setup]) -> None:
    """
    A server that was there and goes is connected to again after a second, without an alarm.
    """
    setup = make()
    setup.sample()
    setup.endpoint.close()
    assert setup.alarms == []
    setup.wait(1)
    assert len(setup.endpoint.connections) == 2
    assert setup.sample()


def test_closesAtOnce(make: type[Setup]) -> None:
    """
    A server that lets in and closes is no better than one that is away: an alarm, and growing pauses.
    """
    setup = make()
    setup.endpoint.close()
    assert setup.alarms == ["graphite_down"]
    for pause in (1, 2, 4):
        setup.wait(pause)
        setup.endpoint.close()
    assert len(setup.endpoint.connections) == 4
    setup.wait(4)
    assert len(setup.endpoint.connections) == 4
    assert setup.alarms == ["graphite_down"]


def test_slow(make: type[Setup]) -> None:
    """
    To a server that does not read no more is written until it does; after half a minute its connection is cut.
    """
    setup = make(include_labels=True)
    # More than one piece.
    labels = setup.memory.broker.metrics.counter("many", "Many", ("which",))
    for number in range(1000):
        labels.of(f"{number:0150}").value += 1
    protocol, transport = setup.endpoint.connections[-1]
    protocol.pauseProducing()
    setup.wait(20)
    before = len(transport.value())
    assert 0 < before <= 65536
    setup.wait(STALLED - 1)
    assert (len(transport.value()), transport.isCut) == (before, False)
    protocol.resumeProducing()
    setup.wait(1)
    assert len(transport.value()) > 150_000
    assert setup.alarms == []
    protocol.pauseProducing()
    for _ in range(20 + int(STALLED) + 1):
        if not transport.isCut:
            setup.wait(1)
    assert transport.isCut
    assert setup.alarms == ["graphite_down"]
    assert "has read nothing for 30 s" in setup.memory.broker.alarms.active["graphite_down"].summary
    setup.wait(20)
    assert (len(setup.endpoint.connections), setup.alarms) == (2, [])


def test_stopped(make: type[Setup]) -> None:
    """
    At the end of the extension its connection is closed, after what is written, or cut where the server does not read;
    its alarm and its metrics go, and nothing is tried again.
    """
    setup = make()
    setup.sample()
    setup.harness.stop()
    transport = setup.endpoint.connections[-1][1]
    assert (transport.disconnecting, transport.isCut) == (True, False)
    setup.wait(60)
    assert len(setup.endpoint.connections) == 1
    assert "graphite.samples.sent" not in setup.memory.broker.metrics.read()

    setup = make()
    protocol, transport = setup.endpoint.connections[-1]
    protocol.pauseProducing()
    setup.wait(20)
    setup.harness.stop()
    assert transport.isCut

    setup = make(isThere=False)
    setup.harness.stop()
    setup.wait(60)
    assert (len(setup.endpoint.attempts), setup.alarms) == (1, [])
