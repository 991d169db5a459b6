"""
Events of the process: the reactor is held up, memory is cleaned up for long, clients are slow.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from twisted_mqtt.base.metrics import HistogramValue
from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.config import settingsFrom
from twisted_mqtt.core.message import Message
from twisted_mqtt.monitoring.processmonitor import ProcessMonitor
from twisted_mqtt.testing.broker import makeBroker


class SlowClient:
    """
    A client for which bytes wait.
    """

    clientID = "slow"
    pendingBytes = 0


class Bed:
    """
    A monitor of a broker in memory.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.broker: Broker = makeBroker(self.clock)[0]
        self.published: list[tuple[str, dict[str, object]]] = []
        self.broker.watch("$SYS/brokers/+/sysmon/#", self._note)
        self.monitor = ProcessMonitor(self.broker)
        self.monitor.startService()

    def _note(self, message: Message) -> None:
        self.published.append((message.topic, json.loads(message.payload)))

    def configure(self, **keys: object) -> None:
        """
        Use another C{[sysmon]}.
        """
        self.broker.configure(settingsFrom({"sysmon": keys}))

    def wait(self, seconds: float) -> None:
        """
        Let time pass as on a reactor that nothing holds.
        """
        for _ in range(round(seconds * 20)):
            self.clock.advance(0.05)

    @property
    def details(self) -> list[str]:
        """
        What the events say, since last asked.
        """
        self.wait(0.3)
        details = [str(content["detail"]) for _, content in self.published]
        self.published.clear()
        return details


@pytest.fixture
def bed() -> Iterator[Bed]:
    """
    A monitor that runs.
    """
    made = Bed()
    yield made
    made.monitor.stopService()
    made.broker.stopService()
    assert made.clock.getDelayedCalls() == []


def test_longSchedule(bed: Bed) -> None:
    """
    A reactor that is held for longer than C{long_schedule} is an event, in the specified form, and a line in the log.
    """
    bed.wait(1)
    with capturedLogs() as events:
        bed.clock.advance(0.2)
        assert bed.details == []
        bed.clock.advance(0.5)
        bed.wait(0.1)
    [(topic, content)] = bed.published
    assert topic == "$SYS/brokers/mqttbroker@127.0.0.1/sysmon/long_schedule"
    assert set(content) == {"event", "detail", "ts"}
    assert content["event"] == "long_schedule"
    assert str(content["detail"]).endswith(" ms: all clients waited")
    assert [event["log_level"].name for event in events] == ["warn"]
    bed.published.clear()
    bed.configure(long_schedule=0)
    bed.clock.advance(5)
    assert bed.details == []


def test_reactorHeld(bed: Bed) -> None:
    """
    Once is an event; three times within a minute are an alarm, which ends after a quiet minute.
    """
    for _ in range(3):
        assert list(bed.broker.alarms.active) == []
        bed.clock.advance(1)
        bed.wait(1)
    assert list(bed.broker.alarms.active) == ["reactor_held"]
    bed.wait(55)
    assert list(bed.broker.alarms.active) == ["reactor_held"]
    bed.wait(10)
    assert list(bed.broker.alarms.active) == []


def test_onceASecond(bed: Bed) -> None:
    """
    Events that come again and again are told once a second.
    """
    for _ in range(10):
        bed.clock.advance(0.6)
    assert 4 <= len(bed.details) <= 7


def test_lag(bed: Bed) -> None:
    """
    How late the reactor is is a metric.
    """
    bed.wait(1)
    bed.clock.advance(0.5)
    found = {metric.name: metric for metric in bed.broker.metrics.collect()}["reactor.lag"]
    [(_, value)] = found.series
    assert isinstance(value, HistogramValue)
    assert value.counts[value.bounds.index(0.5)] == 1


def test_longCollection(bed: Bed) -> None:
    """
    A clean-up of memory that takes longer than C{long_gc} is an event; without a limit nothing is called for it.
    """
    before = len(gc.callbacks)
    bed.wait(1)
    gc.collect()
    assert len(gc.callbacks) == before
    assert bed.details == []
    bed.configure(long_gc=1)
    bed.wait(1)
    held = [[] for _ in range(300_000)]
    gc.collect()
    del held
    assert [detail.partition(" took ")[0] for detail in bed.details] == ["a clean-up of memory"]
    bed.monitor.stopService()
    assert len(gc.callbacks) == before


def test_largeHeap(bed: Bed) -> None:
    """
    A client for which more than C{large_heap} wait is told of once, and again only after it had nothing to wait for.
    """
    client = SlowClient()
    bed.broker.clients["slow"] = client  # type: ignore[assignment]  # the part that is looked at
    client.pendingBytes = 8 * 1048576 - 1
    bed.wait(30)
    assert bed.details == []
    client.pendingBytes = 8 * 1048576
    bed.wait(30)
    assert bed.details == ["8388608 bytes wait for the client 'slow'"]
    client.pendingBytes = 0
    bed.wait(11)
    client.pendingBytes = 9 * 1048576
    bed.wait(11)
    assert bed.details == ["9437184 bytes wait for the client 'slow'"]
    del bed.broker.clients["slow"]


def test_busyPort(bed: Bed) -> None:
    """
    With C{busy_port} a client is told of for which something waits at two looks in succession; by itself it is off.
    """
    client = SlowClient()
    client.pendingBytes = 10
    bed.broker.clients["slow"] = client  # type: ignore[assignment]  # the part that is looked at
    bed.wait(30)
    assert bed.details == []
    # The broker itself takes no others than clients.
    del bed.broker.clients["slow"]
    bed.configure(busy_port=True)
    bed.broker.clients["slow"] = client  # type: ignore[assignment]  # likewise
    bed.wait(30)
    assert bed.details == ["the client 'slow' takes its messages too slowly: 10 bytes wait"]
    del bed.broker.clients["slow"]


def test_manyClients(bed: Bed) -> None:
    """
    However many clients there are, a look takes little of each turn, and all are looked at.
    """
    last = SlowClient()
    last.pendingBytes = 9 * 1048576
    quiet = SlowClient()
    bed.broker.clients.update({str(number): quiet for number in range(100_000)})  # type: ignore[misc]  # likewise
    bed.broker.clients["last"] = last  # type: ignore[assignment]  # likewise
    bed.wait(25)
    assert len(bed.details) == 1
    bed.broker.clients.clear()
