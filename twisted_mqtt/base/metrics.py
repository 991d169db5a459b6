"""
Counters, gauges and histograms, registered while the broker runs and read by exporters.

A count is an addition to an attribute: C{counter.value += 1}. Expensive work, such as making series and collecting
them, is not done while counting. Use this module only in the reactor's thread.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_log = Logger()

#: Gives all series of a metric whose values are known elsewhere: the values of its labels, and its value.
ReadSeries: TypeAlias = Callable[[], Iterable[tuple[tuple[str, ...], float]]]

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

#: A metric with labels has at most this many series. Further ones are counted together, with L{OTHER} for each label.
MOST_SERIES: Final = 1000
#: The label of what is counted together.
OTHER: Final = "(other)"
#: So many characters of a label are kept.
LABEL_LENGTH: Final = 200
#: The upper bounds of a histogram of durations in seconds, unless it is made with others.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
_LABEL: Final = re.compile(r"[a-z][a-z0-9_]*")
_LONGEST_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class HistogramValue:
    """
    The observations of a histogram.

    @ivar bounds: the upper bounds of its buckets, without that of the last, which has none.
    @ivar counts: how many values came into each bucket, one more than there are bounds; not added up.
    @ivar sum: of all values.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """
        How many values were observed, all buckets together.
        """
        return sum(self.counts)


class Collected(NamedTuple):
    """
    A metric as it was at one moment.

    @ivar name: dotted, as in C{messages.dropped}.
    @ivar help: what it is, for a person; with its unit.
    @ivar labels: the names of its labels.
    @ivar series: values of the labels, and the value; one without labels where the metric has none.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    series: list[tuple[tuple[str, ...], float | HistogramValue]]


class Counter:
    """
    Only grows.

    @ivar value: how many; add to it.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def read(self) -> float:
        """
        The value.
        """
        return self.value


class Gauge:
    """
    Goes up and down.

    @ivar value: how much there is now; may be set. A maximum between two samples is seen only by L{set}.
    @ivar peak: the most there has been.
    """

    __slots__ = ("value", "peak")

    def __init__(self) -> None:
        self.value: float = 0
        self.peak: float = 0

    def set(self, value: float) -> None:
        """
        Set the value, and the maximum with it.
        """
        self.value = value
        if value > self.peak:
            self.peak = value

    def read(self) -> float:
        """
        The value.
        """
        return self.value


class Histogram:
    """
    How often values came, by size.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """
        A value has come.
        """
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def read(self) -> HistogramValue:
        """
        All of them.
        """
        return HistogramValue(self._bounds, tuple(self._counts), self._sum)


_Series: TypeAlias = Counter | Gauge | Histogram
_S = TypeVar("_S", bound=_Series)


class Metric(Generic[_S]):
    """
    One name: a series for each combination of labels.

    @ivar own: the series of a metric without labels.
    """

    def __init__(
        self,
        registry: Metrics,
        kind: Kind,
        name: str,
        help: str,
        labels: tuple[str, ...],
        make: Callable[[], _S],
        read: Callable[[], float] | None = None,
        peak: str = "",
        series: ReadSeries | None = None,
    ) -> None:
        self.name = name
        self.kind: Kind = kind
        self.help = help
        self.labels = labels
        self.peak = peak
        self._registry = registry
        self._make = make
        self._read = read
        self._readSeries = series
        self._failed = False
        self._series: dict[tuple[str, ...], _S] = {}
        self.own = make()
        if not labels:
            self._series[()] = self.own

    def of(self, *values: str) -> _S:
        """
        The series of some labels, made when it is first asked for. Keep it where it is used often.

        @param values: one for each label.

        @raise ValueError: they are not as many as the labels.
        """
        found = self._series.get(values)
        if found is not None:
            return found
        if len(values) != len(self.labels):
            raise ValueError(
                f"the metric {self.name} has the labels {', '.join(self.labels) or 'none'}, not {values!r}"
            )
        values = tuple(value[:LABEL_LENGTH] for value in values)
        others = (OTHER,) * len(values)
        if values not in self._series and values != others and len(self._series) >= MOST_SERIES:
            if others not in self._series:
                _log.warn(
                    "the metric {name} has {most} series already: new ones are counted together",
                    name=self.name,
                    most=MOST_SERIES,
                )
            values = others
        return self._series.setdefault(values, self._make())

    def forget(self, *values: str) -> None:
        """
        Drop the series of some labels, of something that is gone.
        """
        if self.labels:
            self._series.pop(tuple(value[:LABEL_LENGTH] for value in values), None)

    def close(self) -> None:
        """
        Take the metric away; its name may be used again. Has no effect the second time.
        """
        self._registry.drop(self.name, self)

    def sample(self) -> None:
        """
        Read what is known elsewhere, and see to the maxima of a gauge.
        """
        own = self.own
        if self._read is not None and not isinstance(own, Histogram):
            try:
                own.value = self._read()
            except Exception:
                self._cantRead()
        for series in self._series.values():
            if isinstance(series, Gauge) and series.value > series.peak:
                series.peak = series.value

    def collect(self) -> Iterator[Collected]:
        """
        The present value; with the maximum, if that is shown.
        """
        self.sample()
        if self._readSeries is not None:
            found: list[tuple[tuple[str, ...], float | HistogramValue]] = []
            try:
                found.extend(self._readSeries())
            except Exception:
                self._cantRead()
            yield Collected(self.name, self.kind, self.help, self.labels, found)
            return
        series = self._series.items()
        yield Collected(self.name, self.kind, self.help, self.labels, [(key, each.read()) for key, each in series])
        if self.peak:
            peaks: list[tuple[tuple[str, ...], float | HistogramValue]] = [
                (key, each.peak) for key, each in series if isinstance(each, Gauge)
            ]
            yield Collected(self.peak, "gauge", f"{self.help}: the most there have been", self.labels, peaks)

    def _cantRead(self) -> None:
        # Each time would fill the log.
        if not self._failed:
            self._failed = True
            _log.failure("Reading the metric {name} failed", name=self.name)

    def __repr__(self) -> str:
        return f"<Metric {self.name}, a {self.kind} with {len(self._series)} series>"


class Metrics:
    """
    The metrics of a broker.

    A name is dotted, of small letters, digits and C{_}, and belongs to one metric at a time; so does what exporters
    make of it with C{_} for the dots.
    """

    def __init__(self) -> None:
        self._metrics: dict[str, Metric[Any]] = {}
        # As exporters write them: to whom they belong.
        self._taken: dict[str, str] = {}
        # What counters were when they were last set to 0: by name and values of labels.
        self._zeros: dict[tuple[str, tuple[str, ...]], float] = {}

    def counter(
        self,
        name: str,
        help: str,
        labels: Sequence[str] = (),
        read: Callable[[], float] | None = None,
        series: ReadSeries | None = None,
    ) -> Metric[Counter]:
        """
        Register what only grows.

        @param help: what it is, for a person; with its unit.
        @param labels: the names of its labels.
        @param read: gives the value, where it is counted elsewhere.
        @param series: the same for all series of a metric with labels.

        @return: the metric; without labels, its C{own} is what is counted by.

        @raise ValueError: a name is none, or belongs to another metric.
        """
        return self._add(Metric(self, "counter", name, help, tuple(labels), Counter, read, series=series))

    def gauge(
        self,
        name: str,
        help: str,
        labels: Sequence[str] = (),
        read: Callable[[], float] | None = None,
        peak: str = "",
        series: ReadSeries | None = None,
    ) -> Metric[Gauge]:
        """
        Register what goes up and down.

        @param read: gives the value, where it is known elsewhere; of a gauge without labels.
        @param peak: the name under which its maximum is shown; none for none.
        @param series: gives all series of a gauge with labels, where they are known elsewhere.

        @return: the metric; without labels, its C{own} is what is set.

        @raise ValueError: a name is none, or belongs to another metric.
        """
        return self._add(Metric(self, "gauge", name, help, tuple(labels), Gauge, read, peak, series))

    def histogram(
        self, name: str, help: str, bounds: Sequence[float] = SECONDS, labels: Sequence[str] = ()
    ) -> Metric[Histogram]:
        """
        Register what counts values by their size.

        @param bounds: the upper bounds of the buckets, from the smallest on; a value that is equal is in. There is one
            more bucket, for what is above.

        @return: the metric; without labels, its C{own} is what observes.

        @raise ValueError: a name is none, or belongs to another metric; the bounds do not grow.
        """
        fixed = tuple(float(bound) for bound in bounds)
        if not fixed or any(one >= other for one, other in zip(fixed, fixed[1:], strict=False)):
            raise ValueError(f"the bounds of the metric {name} do not grow: {fixed}")
        return self._add(Metric(self, "histogram", name, help, tuple(labels), lambda: Histogram(fixed)))

    def drop(self, name: str, metric: object) -> None:
        """
        Take a metric away, if it still has its name: L{Metric.close}.
        """
        found = self._metrics.get(name)
        if found is not None and found is metric:
            del self._metrics[name]
            self._zeros = {key: value for key, value in self._zeros.items() if key[0] != name}
            for flat in _flat(found):
                self._taken.pop(flat, None)

    def sample(self) -> None:
        """
        Look at all gauges, for their maxima: to be called once a second.
        """
        for metric in list(self._metrics.values()):
            if metric.kind == "gauge":
                metric.sample()

    def collect(self) -> Iterator[Collected]:
        """
        All metrics, in the order of their names, each as it is when its turn comes.
        """
        for name in sorted(self._metrics):
            metric = self._metrics.get(name)
            if metric is not None:
                yield from metric.collect() if not self._zeros else map(self._sinceReset, metric.collect())

    def reset(self) -> None:
        """
        Have all counters begin at 0 again, for all who read them here. What they count by goes on.
        """
        self._zeros.clear()
        self._zeros = {
            (metric.name, key): value
            for metric in self.collect()
            if metric.kind == "counter"
            for key, value in metric.series
            if not isinstance(value, HistogramValue)
        }

    def _sinceReset(self, collected: Collected) -> Collected:
        if collected.kind != "counter":
            return collected
        zeros, name = self._zeros, collected.name
        series = [
            (key, value if isinstance(value, HistogramValue) else max(0, value - zeros.get((name, key), 0)))
            for key, value in collected.series
        ]
        return collected._replace(series=series)

    def read(self) -> dict[str, float]:
        """
        The values of all counters and gauges without labels, and their maxima, by name.
        """
        values: dict[str, float] = {}
        for each in self.collect():
            if not each.labels and each.kind != "histogram":
                value = each.series[0][1]
                if not isinstance(value, HistogramValue):
                    values[each.name] = value
        return values

    def counts(self) -> dict[str, float]:
        """
        The values of all counters without labels, by name.
        """
        values: dict[str, float] = {}
        for metric in list(self._metrics.values()):
            if metric.kind == "counter" and not metric.labels:
                metric.sample()
                values[metric.name] = metric.own.value
        return values

    def _add(self, metric: Metric[_S]) -> Metric[_S]:
        for name in (metric.name, metric.peak) if metric.peak else (metric.name,):
            if _NAME.fullmatch(name) is None or len(name) > _LONGEST_NAME:
                raise ValueError(f"{name!r} is not a name for a metric: such as 'messages.dropped' is right")
        for label in metric.labels:
            if _LABEL.fullmatch(label) is None or label == "le" or metric.labels.count(label) > 1:
                raise ValueError(f"{label!r} can't be a label of the metric {metric.name}")
        flats = _flat(metric)
        for flat in flats:
            if flat in self._taken:
                raise ValueError(f"the metric {metric.name} is there already, or reads like {self._taken[flat]}")
        self._taken.update(dict.fromkeys(flats, metric.name))
        self._metrics[metric.name] = metric
        return metric


def _flat(metric: Metric[Any]) -> list[str]:
    """
    The names that exporters make of a metric.
    """
    flat = metric.name.replace(".", "_")
    if metric.kind == "histogram":
        return [flat, *(f"{flat}_{part}" for part in ("bucket", "sum", "count"))]
    return [flat, metric.peak.replace(".", "_")] if metric.peak else [flat]
