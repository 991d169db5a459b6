"""
Metrics as plain numbers under dotted names, for line protocols: Graphite and StatsD.

A histogram is C{<name>.count}, C{<name>.sum}, and for each bucket how many values were at most so large:
C{<name>.bucket.<bound>}, C{<name>.bucket.inf}. The point in a bound is written C{_}.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from twisted_mqtt.base.exposition import nameIn, numberText
from twisted_mqtt.base.metrics import HistogramValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from twisted_mqtt.base.exposition import Style
    from twisted_mqtt.base.metrics import Collected

PointKind: TypeAlias = Literal["counter", "gauge"]
Labels: TypeAlias = "tuple[tuple[str, str], ...]"

# What may stand in a word of a name at Graphite and StatsD; a file is called so there.
_ODD: Final = re.compile(r"[^A-Za-z0-9_-]")


class Point(NamedTuple):
    """
    A number.

    @ivar name: with dots between its words.
    @ivar labels: name and value of each, as they are.
    """

    name: str
    labels: Labels
    kind: PointKind
    value: float


def dottedName(style: Style, name: str) -> str | None:
    """
    The name of a metric as a broker calls it, with dots between the words: those of EMQ X are our own, without the
    C{emqx} before them; VerneMQ writes dots for all C{_}.

    @return: L{None} if that broker does not have it.
    """
    if style == "emqx":
        return name
    found = nameIn(style, name)
    return None if found is None else found.replace("_", ".")


def summed(metric: Collected, name: str) -> Iterator[Point]:
    """
    The points of a metric, all its series added up; none where it has no series.

    @param name: what it is to be called, with dots between the words.
    """
    values = [value for _, value in metric.series]
    histograms = [value for value in values if isinstance(value, HistogramValue)]
    if histograms:
        counts = tuple(map(sum, zip(*(each.counts for each in histograms), strict=True)))
        whole = HistogramValue(histograms[0].bounds, counts, sum(each.sum for each in histograms))
        yield from _points(metric, name, (), whole)
    elif values:
        yield from _points(metric, name, (), sum(value for value in values if not isinstance(value, HistogramValue)))


def labelled(metric: Collected, name: str) -> Iterator[Point]:
    """
    The points of each series of a metric, with its labels.
    """
    for values, value in metric.series:
        # Which labels there are may depend on the series: an empty one is none.
        labels = tuple((label, each) for label, each in zip(metric.labels, values, strict=True) if each)
        yield from _points(metric, name, labels, value)


def _points(metric: Collected, name: str, labels: Labels, value: float | HistogramValue) -> Iterator[Point]:
    if isinstance(value, HistogramValue):
        below = 0
        for bound, count in zip((*value.bounds, None), value.counts, strict=True):
            below += count
            word = "inf" if bound is None else numberText(bound).replace(".", "_")
            yield Point(f"{name}.bucket.{word}", labels, "counter", below)
        yield Point(f"{name}.sum", labels, "counter", value.sum)
        yield Point(f"{name}.count", labels, "counter", below)
    elif isfinite(value):
        yield Point(name, labels, "counter" if metric.kind == "counter" else "gauge", value)


def word(text: str) -> str:
    """
    A text as a word of a name: whatever else stands in it is C{_}.
    """
    return _ODD.sub("_", text)


def withWords(points: Iterable[Point]) -> Iterator[Point]:
    """
    Points with their labels as words of the name, C{<name>.<label>_<value>}; those that are then called the same are
    added up.
    """
    found: dict[str, Point] = {}
    for point in points:
        name = ".".join([point.name, *(f"{label}_{word(value)}" for label, value in point.labels)])
        before = found.get(name)
        value = point.value if before is None else point.value + before.value
        found[name] = Point(name, (), point.kind, value)
    return iter(found.values())
