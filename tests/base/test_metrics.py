"""
Metrics that are registered at run time.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from twisted_mqtt.base import metrics as module
from twisted_mqtt.base.metrics import OTHER, Collected, HistogramValue, Metrics


@pytest.fixture
def metrics() -> Metrics:
    """
    A registry with nothing in it.
    """
    return Metrics()


def one(metrics: Metrics, name: str) -> Collected:
    """
    Get the samples that were collected under a name.
    """
    [found] = [each for each in metrics.collect() if each.name == name]
    return found


def test_counter(metrics: Metrics) -> None:
    """
    A counter is added to, and read with what it is.
    """
    own = metrics.counter("rules.matched", "Rules that matched").own
    own.value += 1
    own.value += 2
    assert list(metrics.collect()) == [Collected("rules.matched", "counter", "Rules that matched", (), [((), 3)])]
    assert metrics.read() == {"rules.matched": 3}
    assert str(metrics.read()["rules.matched"]) == "3"


def test_labels(metrics: Metrics) -> None:
    """
    With labels there is a series for each of their values, until it is forgotten.
    """
    metric = metrics.counter("port.connections", "Connections", ("port", "kind"))
    assert one(metrics, "port.connections").series == []
    metric.of("tcp", "a").value += 1
    series = metric.of("ws", "b")
    assert metric.of("ws", "b") is series
    series.value += 5
    found = one(metrics, "port.connections")
    assert (found.labels, found.series) == (("port", "kind"), [(("tcp", "a"), 1), (("ws", "b"), 5)])
    metric.forget("tcp", "a")
    metric.forget("nobody", "a")
    assert one(metrics, "port.connections").series == [(("ws", "b"), 5)]
    with pytest.raises(ValueError, match="has the labels port, kind, not"):
        metric.of("tcp")
    # Without its labels it has no value.
    assert metrics.read() == {}


def test_cardinality(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    However many values labels take, there are so many series; what comes then is counted together, and told once.
    """
    monkeypatch.setattr(module, "MOST_SERIES", 3)
    metric = metrics.counter("topic.messages", "Messages", ("topic",))
    with capturedLogs() as events:
        for number in range(10):
            metric.of(f"t{number}").value += 1
    assert one(metrics, "topic.messages").series == [(("t0",), 1), (("t1",), 1), (("t2",), 1), ((OTHER,), 7)]
    assert len(events) == 1
    metric.of("x" * 5000)
    metric.forget("t1")
    metric.forget("t2")
    metric.of("y" * 5000).value += 1
    labels = [key[0] for key, _ in one(metrics, "topic.messages").series]
    assert max(map(len, labels)) == module.LABEL_LENGTH


def test_gauge(metrics: Metrics) -> None:
    """
    A gauge goes up and down; its maximum stays, and is shown under a name of its own where that is wanted.
    """
    metric = metrics.gauge("queue.length", "Entries", peak="queue.max")
    plain = metrics.gauge("bans", "Bans").own
    for value in (3, 7, 2):
        metric.own.set(value)
    plain.value = 4
    assert metrics.read() == {"bans": 4, "queue.length": 2, "queue.max": 7}
    assert one(metrics, "queue.max") == Collected(
        "queue.max", "gauge", "Entries: the most there have been", (), [((), 7)]
    )
    metric.own.value = 9
    metrics.sample()
    metric.own.value = 1
    assert metrics.read()["queue.max"] == 9


def test_gaugeWithLabels(metrics: Metrics) -> None:
    """
    Each series has a maximum.
    """
    metric = metrics.gauge("queue.length", "Entries", ("rule",), peak="queue.max")
    metric.of("a").value = 5
    metric.of("b").value = 1
    metrics.sample()
    metric.of("a").value = 2
    assert one(metrics, "queue.length").series == [(("a",), 2), (("b",), 1)]
    assert one(metrics, "queue.max").series == [(("a",), 5), (("b",), 1)]


def test_readElsewhere(metrics: Metrics) -> None:
    """
    A value may be known elsewhere; it is asked when it is wanted, and once a second for the maximum.
    """
    values = [4, 9, 2]
    metrics.gauge("sessions.count", "Sessions", read=lambda: values[0], peak="sessions.max")
    metrics.counter("sent", "Bytes", read=lambda: values[1])
    assert metrics.read() == {"sent": 9, "sessions.count": 4, "sessions.max": 4}
    for value in (8, 1):
        values[0] = value
        metrics.sample()
    assert metrics.read() == {"sent": 9, "sessions.count": 1, "sessions.max": 8}


class FailingTests(SynchronousTestCase):
    """
    Tests for values that can't be read.
    """

    def test_failingReader(self) -> None:
        """
        One that can't be read keeps its last value, is told once, and does not keep the others from being read.
        """
        metrics = Metrics()
        values: list[Any] = [3]
        metrics.gauge("a", "A", read=lambda: values[0])
        metrics.gauge("b", "B").own.value = 1
        self.assertEqual(metrics.read(), {"a": 3, "b": 1})
        values.clear()
        for _ in range(3):
            metrics.sample()
            self.assertEqual(metrics.read(), {"a": 3, "b": 1})
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)


def test_histogram(metrics: Metrics) -> None:
    """
    A histogram counts values by their size; one that is equal to a bound is in its bucket.
    """
    own = metrics.histogram("commit.seconds", "Seconds of a commit", (0.1, 1, 10)).own
    for value in (0.05, 0.1, 0.5, 10, 11, 1000):
        own.observe(value)
    [(labels, value)] = one(metrics, "commit.seconds").series
    assert labels == () and isinstance(value, HistogramValue)
    assert (value.bounds, value.counts, value.count) == ((0.1, 1.0, 10.0), (2, 1, 1, 2), 6)
    assert value.sum == pytest.approx(1021.65)
    assert metrics.read() == {}


def test_histogramWithLabels(metrics: Metrics) -> None:
    """
    Each series observes for itself.
    """
    metric = metrics.histogram("query.seconds", "Seconds", labels=("connector",))
    metric.of("mysql").observe(0.02)
    assert dict(one(metrics, "query.seconds").series) == {
        ("mysql",): HistogramValue(module.SECONDS, (0, 0, 0, 0, 1, *[0] * 9), 0.02)
    }


def test_closed(metrics: Metrics) -> None:
    """
    A metric that is closed is gone, and its name free; to close it again does not harm who has the name then.
    """
    metric = metrics.gauge("a.b", "A", peak="a.max")
    metric.close()
    assert list(metrics.collect()) == []
    again = metrics.counter("a.b", "Another")
    metric.close()
    assert [each.kind for each in metrics.collect()] == ["counter"]
    again.close()
    metrics.counter("a.max", "A third")


@pytest.mark.parametrize("name", ["", "Upper", "a..b", ".a", "a.", "1a", "a-b", "a b", "a" * 101, "a\n"])
def test_names(metrics: Metrics, name: str) -> None:
    """
    A name is dotted words.
    """
    with pytest.raises(ValueError, match="is not a name for a metric"):
        metrics.counter(name, "A")
    with pytest.raises(ValueError, match="is not a name for a metric"):
        metrics.gauge("ok", "A", peak=name or ".")
    assert list(metrics.collect()) == []


@pytest.mark.parametrize("labels", [("A",), ("a", "a"), ("le",), ("",), ("a.b",)])
def test_labelNames(metrics: Metrics, labels: tuple[str, ...]) -> None:
    """
    Labels are words, each once; C{le} is that of buckets.
    """
    with pytest.raises(ValueError, match="can't be a label"):
        metrics.counter("ok", "A", labels)


def test_twice(metrics: Metrics) -> None:
    """
    A name belongs to one metric, and so does what exporters make of it.
    """
    metrics.gauge("a.count", "A", peak="a.max")
    metrics.histogram("h.seconds", "H")
    for name in ("a.count", "a.max", "a_count", "h.seconds.sum", "h_seconds_bucket"):
        with pytest.raises(ValueError, match="there already, or reads like (a.count|h.seconds)"):
            metrics.counter(name, "B")
    with pytest.raises(ValueError, match="reads like a.count"):
        metrics.histogram("a", "B")
    with pytest.raises(ValueError, match="there already"):
        metrics.gauge("b", "B", peak="a.max")
    # A refused registration has taken no name.
    metrics.gauge("b", "B")


@pytest.mark.parametrize("bounds", [(), (1, 1), (2, 1)])
def test_bounds(metrics: Metrics, bounds: tuple[float, ...]) -> None:
    """
    Bounds grow.
    """
    with pytest.raises(ValueError, match="bounds"):
        metrics.histogram("h", "H", bounds)
