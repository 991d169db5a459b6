"""
Metrics as VerneMQ shows them (spec/vernemq.md 18, MON-01 to 04).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from twisted_mqtt.base.exposition import completed, vernemqName
from twisted_mqtt.base.metrics import HistogramValue
from twisted_mqtt.operations.operation import Call, Nothing, Operation, operation, short

if TYPE_CHECKING:
    from twisted_mqtt.base.metrics import Collected


class ShowMetrics(Struct, kw_only=True):
    """
    Which metrics are shown, and how.
    """

    with_descriptions: Annotated[bool, short("d", "Whether each has a line before it that says what it is")] = False
    aggregate: Annotated[bool, Meta(description="Whether the series of one name are added up")] = True
    mqtt_version: Annotated[str, Meta(description="Only series with this label: 3, 4 or 5")] = ""
    return_code: Annotated[str, Meta(description="Only series with this label: of CONNACK before MQTT 5")] = ""
    reason_code: Annotated[str, Meta(description="Only series with this label, such as not_authorized")] = ""


class MetricRow(Struct, kw_only=True):
    """
    A metric, or a series of one.
    """

    type: str
    name: str
    labels: dict[str, str]
    value: int | float
    description: str = ""


_LABELS = ("mqtt_version", "return_code", "reason_code")


def _lines(rows: list[MetricRow]) -> Iterator[str]:
    for row in rows:
        if row.description:
            yield f"# {row.description}"
        labels = ",".join(f'{name}="{value}"' for name, value in row.labels.items())
        yield f"{row.type}.{row.name}{'{' + labels + '}' if labels else ''} = {row.value:g}"


@operation(
    "show_metrics",
    "Show metrics with VerneMQ's names",
    "metrics show",
    text=_lines,
    example="--reason_code=not_authorized --with-descriptions",
    role="read",
)
def showMetrics(call: Call[ShowMetrics]) -> list[MetricRow]:
    """
    By name. A metric that has none of the labels that are asked for is left out.
    """
    request = call.request
    wanted = {name: getattr(request, name) for name in _LABELS if getattr(request, name)}
    rows: list[MetricRow] = []
    for metric in completed(call.broker.metrics.collect(), "vernemq"):
        name = vernemqName(metric.name)
        if name is not None and wanted.keys() <= set(metric.labels):
            rows += _rowsOf(metric, name, wanted, request)
    return sorted(rows, key=lambda row: (row.name, list(row.labels.values())))


def _rowsOf(metric: Collected, name: str, wanted: dict[str, str], request: ShowMetrics) -> Iterator[MetricRow]:
    description = metric.help if request.with_descriptions else ""
    chosen: list[tuple[dict[str, str], float]] = []
    for values, value in metric.series:
        labels = dict(zip(metric.labels, values, strict=True))
        if all(labels[label] == text for label, text in wanted.items()):
            # Of a histogram, how many there were: its buckets are for Prometheus.
            chosen.append((labels, value.count if isinstance(value, HistogramValue) else value))
    if request.aggregate:
        # A metric of which nothing is known yet is 0, but not one that does not have what is asked for.
        chosen = [({}, sum(value for _, value in chosen))] if chosen or not wanted else []
    for labels, value in chosen:
        yield MetricRow(type=metric.kind, name=name, labels=labels, value=value, description=description)


@operation(
    "reset_metrics",
    "Have all counters begin at 0 again",
    "metrics reset",
    text=lambda _: ("Done",),
    role="admin",
)
def resetMetrics(call: Call[Nothing]) -> None:
    """
    For all who read them: REST, $SYS, Prometheus. Gauges and histograms stay.
    """
    call.broker.metrics.reset()


OPERATIONS: tuple[Operation, ...] = (showMetrics, resetMetrics)
