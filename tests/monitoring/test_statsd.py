"""
Tests for L{twisted_mqtt.monitoring.statsd}.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from errno import ENETUNREACH

import pytest

from tests.kits.metricspeers import Sending, Socket
from twisted_mqtt.monitoring.settings import StatsDSettings, Tag
from twisted_mqtt.monitoring.statsd import LARGEST, StatsDSender
from twisted_mqtt.testing.memory import MemoryBroker


class Setup:
    """
    A broker in memory that sends to StatsD.
    """

    def __init__(self, host: str = "127.0.0.1", listens: bool = True, **settings: object) -> None:
        self.memory = MemoryBroker()
        self.socket = Socket()
        self.socket.listens = listens
        table = StatsDSettings(**settings)
        self.counted = self.memory.broker.metrics.counter("odd.counted", "Counted").own
        self.counted.value = 100
        self.harness = self.memory.run(
            Sending(lambda context: context.run(StatsDSender(context, table, host, self.socket.listen).begin())),
            "statsd",
        )

    def sample(self) -> dict[str, str]:
        """
        What the lines of the next sample say, by name.
        """
        self.memory.wait(10)
        return dict(line.split(":", 1) for line in self.socket.taken())

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


def test_changes(make: type[Setup]) -> None:
    """
    Counters are what they have grown by since the last sample, the first time since the start; those that have not
    are left out. Gauges are as they are.
    """
    setup = make()
    setup.counted.value += 2
    first = setup.sample()
    assert first["emqx.odd.counted"] == "2|c"
    assert first["emqx.connections.count"] == "0|g"
    setup.memory.client("a")
    second = setup.sample()
    assert "emqx.odd.counted" not in second
    assert second["emqx.connections.count"] == "1|g"
    assert second["emqx.packets.connect.received"] == "1|c"
    setup.counted.value += 0.5
    assert setup.sample()["emqx.odd.counted"] == "0.5|c"
    # It was reset.
    setup.counted.value = 3
    assert setup.sample()["emqx.odd.counted"] == "3|c"


def test_negative(make: type[Setup]) -> None:
    """
    A gauge below zero is no change of a gauge: it is set to zero first, in the same datagram.
    """
    setup = make()
    setup.memory.broker.metrics.gauge("odd.below", "Below zero", read=lambda: -5)
    setup.memory.wait(10)
    together = [data for data in setup.socket.datagrams if b"odd.below" in data]
    assert len(together) == 1
    assert b"emqx.odd.below:0|g\nemqx.odd.below:-5|g\n" in together[0]


def test_datagrams(make: type[Setup]) -> None:
    """
    A datagram has no more metrics, and no more bytes, than are allowed.
    """
    setup = make(batch_size=3)
    setup.memory.wait(10)
    assert len(setup.socket.datagrams) > 5
    assert all(data.count(b"\n") <= 3 for data in setup.socket.datagrams)
    setup = make(batch_size=1000)
    setup.memory.wait(10)
    assert len(setup.socket.datagrams) > 1
    assert all(len(data) <= LARGEST for data in setup.socket.datagrams)
    assert setup.memory.broker.metrics.read()["statsd.datagrams.sent"] == len(setup.socket.datagrams) - 1


def test_tags(make: type[Setup]) -> None:
    """
    Tags of the configuration are at all metrics; with labels there is a value for each series, else their sum.
    """
    tags = {"1": Tag(key="site", value="north"), "2": Tag(key="rack", value="4")}
    setup = make(tag=tags)
    labels = setup.memory.broker.metrics.counter("odd.labelled", "Labelled", ("topic",))
    labels.of("a|b:c,#d\n").value += 1
    labels.of("e").value += 2
    assert setup.sample()["emqx.odd.labelled"] == "3|c|#site:north,rack:4"
    setup = make(tag=tags, include_labels=True, prefix="")
    labels = setup.memory.broker.metrics.counter("odd.labelled", "Labelled", ("topic",))
    labels.of("a|b:c,#d\n").value += 1
    labels.of("e").value += 2
    setup.memory.wait(10)
    assert [line for line in setup.socket.taken() if line.startswith("odd.labelled")] == [
        "odd.labelled:1|c|#site:north,rack:4,topic:a_b_c__d_",
        "odd.labelled:2|c|#site:north,rack:4,topic:e",
    ]


def test_histogram(make: type[Setup]) -> None:
    """
    Of a histogram it is sent what its numbers have grown by.
    """
    setup = make()
    histogram = setup.memory.broker.metrics.histogram("odd.took", "Seconds", (0.5, 2)).own
    histogram.observe(0.25)
    histogram.observe(1)
    found = {name: value for name, value in setup.sample().items() if name.startswith("emqx.odd.took")}
    assert found == {
        "emqx.odd.took.bucket.0_5": "1|c",
        "emqx.odd.took.bucket.2": "2|c",
        "emqx.odd.took.bucket.inf": "2|c",
        "emqx.odd.took.count": "2|c",
        "emqx.odd.took.sum": "1.25|c",
    }
    histogram.observe(5)
    found = {name: value for name, value in setup.sample().items() if name.startswith("emqx.odd.took")}
    assert found == {
        "emqx.odd.took.bucket.inf": "1|c",
        "emqx.odd.took.count": "1|c",
        "emqx.odd.took.sum": "5|c",
    }


def test_nobodyListens(make: type[Setup]) -> None:
    """
    While nobody listens there is an alarm, and nothing counts as sent: what was counted meanwhile comes later, all of
    it together.
    """
    setup = make(listens=False)
    setup.counted.value += 1
    setup.memory.wait(30)
    assert setup.alarms == ["statsd_down"]
    setup.counted.value += 1
    setup.memory.wait(30)
    assert setup.socket.datagrams == []
    setup.socket.listens = True
    # It is asked first whether anybody does.
    assert setup.sample() == {}
    assert setup.sample()["emqx.odd.counted"] == "2|c"
    assert setup.alarms == []


def test_cantBeSent(make: type[Setup]) -> None:
    """
    Where the system does not send, it is tried again with another socket, and nothing counts as sent.
    """
    setup = make()
    setup.counted.value += 1
    setup.socket.fault = OSError(ENETUNREACH, "Network is unreachable")
    setup.memory.wait(20)
    assert setup.alarms == ["statsd_down"]
    assert "Network is unreachable" in setup.memory.broker.alarms.active["statsd_down"].summary
    setup.socket.fault = None
    assert setup.sample()["emqx.odd.counted"] == "1|c"
    assert setup.alarms == []
    assert len(setup.socket.opened) == 3


def test_goneSeries(make: type[Setup]) -> None:
    """
    Nothing is remembered of series that are gone.
    """
    setup = make(include_labels=True)
    labels = setup.memory.broker.metrics.counter("odd.labelled", "Labelled", ("topic",))
    labels.of("e").value += 2
    assert setup.sample()["emqx.odd.labelled"] == "2|c|#topic:e"
    labels.forget("e")
    assert "emqx.odd.labelled" not in setup.sample()
    labels.of("e").value += 1
    assert setup.sample()["emqx.odd.labelled"] == "1|c|#topic:e"


def test_name(make: type[Setup], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A name is looked up for each sample; where it leads elsewhere, the next sample goes there. While nothing is known of
    it, the last address serves.
    """
    addresses = ["192.0.2.1", "192.0.2.1", "::2", None]

    def lookUp(host: str, port: int, *rest: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        address = addresses.pop(0) if len(addresses) > 1 else addresses[0]
        if address is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, 0, 0, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookUp)
    setup = make(host="statsd.example", port=9125)
    assert setup.sample()
    assert setup.socket.opened == [("0.0.0.0", "192.0.2.1", 9125)]
    assert setup.sample()
    assert setup.sample()
    assert setup.socket.opened == [("0.0.0.0", "192.0.2.1", 9125), ("::", "::2", 9125)]
    assert setup.alarms == []


def test_unknownName(make: type[Setup], monkeypatch: pytest.MonkeyPatch) -> None:
    """
    While a name has no address there is an alarm, and nothing counts as sent.
    """
    known = False

    def lookUp(host: str, port: int, *rest: object) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        if not known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, 0, 0, "", ("192.0.2.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookUp)
    setup = make(host="statsd.example")
    setup.counted.value += 1
    assert setup.sample() == {}
    assert "Name or service not known" in setup.memory.broker.alarms.active["statsd_down"].summary
    known = True
    assert setup.sample()["emqx.odd.counted"] == "1|c"
    assert setup.alarms == []


def test_stopped(make: type[Setup]) -> None:
    """
    At the end of the extension its socket is closed and its alarm ends.
    """
    setup = make(listens=False)
    setup.memory.wait(20)
    setup.harness.stop()
    setup.memory.wait(20)
    assert (setup.socket.protocol, setup.alarms) == (None, [])
