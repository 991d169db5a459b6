"""
Rates of the node's counters, and counts and rates of chosen topics.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from twisted_mqtt.base.listing import Listing
from twisted_mqtt.management.builtin.shared import checkNode, dateText
from twisted_mqtt.operations.operation import (
    INVALID_TOPIC,
    Call,
    NotFound,
    Nothing,
    Operation,
    Refused,
    Route,
    Rows,
    operation,
)

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IBroker

TopicName = Annotated[str, Meta(description="Name of a topic, without wildcards")]


class RatesOf(Struct, kw_only=True):
    """
    Which rates are wanted.
    """

    node: Annotated[str, Meta(description="Name of a node; this one by default")] = ""
    match: Annotated[str, Meta(description="Part of the names that are wanted; all by default")] = ""


class RateRow(Struct, kw_only=True):
    """
    How fast a counter has grown, a second.
    """

    name: str
    rate1: float
    rate5: float
    rate15: float


class OfTopic(Struct, kw_only=True):
    """
    A topic.
    """

    topic: TopicName


class TopicRow(Struct, kw_only=True):
    """
    The messages of a topic: counts, and how many a second there were in the last minute, as EMQ X has them; and the
    same for the last 1, 5 and 15 minutes.
    """

    topic: str
    create_time: str
    metrics: dict[str, float]
    rates: dict[str, list[float]]


class Removed(Struct, kw_only=True):
    """
    How many topics are not counted any more.
    """

    removed: int


def _rounded(rate: float) -> float:
    return round(rate, 3)


def _rateLine(row: RateRow) -> Iterator[str]:
    yield f"{row.name:<40}: {row.rate1:>12.2f} {row.rate5:>12.2f} {row.rate15:>12.2f}"


@operation(
    "list_rates",
    "List how many a second each counter has grown by, in the last 1, 5 and 15 minutes",
    "broker rates",
    Route("GET", "/rates/"),
    Route("GET", "/nodes/:node/rates/", "list_node_rates", "The same, of a node that is named"),
    text=_rateLine,
    example="--match publish",
)
def listRates(call: Call[RatesOf]) -> Rows[RateRow]:
    """
    By name. They are measured by a clock that nobody sets, and since the start where that was less long ago.
    """
    checkNode(call.node, call.request.node)
    rows = [
        RateRow(name=name, rate1=_rounded(one), rate5=_rounded(five), rate15=_rounded(fifteen))
        for name, (one, five, fifteen) in sorted(call.broker.rates.read().items())
        if call.request.match in name
    ]
    return Rows(Listing(call.broker.clock, iter(rows)), _same, lambda: len(rows))


def _same(row: RateRow) -> RateRow:
    return row


def _topicRow(broker: IBroker, topic: str, rates: dict[str, tuple[float, ...]]) -> TopicRow:
    metrics: dict[str, float] = {}
    found: dict[str, list[float]] = {}
    for key, count in broker.topicMetrics.counts(topic).figures().items():
        measured = [_rounded(rate) for rate in rates.get(f"{topic}\0{key}", (0.0, 0.0, 0.0))]
        metrics[f"{key}.count"] = count
        metrics[f"{key}.rate"] = measured[0]
        found[key] = measured
    return TopicRow(topic=topic, create_time=dateText(broker.topicMetrics.topics[topic]), metrics=metrics, rates=found)


def _topicLines(row: TopicRow) -> Iterator[str]:
    yield row.topic
    for key, rates in row.rates.items():
        shown = " ".join(f"{rate:>10.2f}" for rate in rates)
        yield f"  {key:<20}: {row.metrics[f'{key}.count']:>12} {shown}"


def _checkTopic(broker: IBroker, topic: str) -> None:
    if topic not in broker.topicMetrics:
        raise NotFound(f"topic: {topic[:80]!r} is not counted")


@operation(
    "list_topic_metrics",
    "List the topics whose messages are counted, with counts and rates",
    "topic_metrics list",
    Route("GET", "/topic-metrics/"),
    text=_topicLines,
)
def listTopics(call: Call[Nothing]) -> Rows[TopicRow]:
    """
    Those that were chosen first come first.
    """
    broker = call.broker
    rates = broker.topicMetrics.rates()
    topics = list(broker.topicMetrics.topics)
    chosen = (topic for topic in topics if topic in broker.topicMetrics)
    return Rows(Listing(broker.clock, chosen), lambda topic: _topicRow(broker, topic, rates), lambda: len(topics))


@operation(
    "get_topic_metrics",
    "Show the counts and rates of a topic",
    "topic_metrics show",
    Route("GET", "/topic-metrics/:topic"),
    positional=("topic",),
    text=_topicLines,
    example="a/b",
)
def getTopic(call: Call[OfTopic]) -> TopicRow:
    """
    The messages of the default topic tree.
    """
    _checkTopic(call.broker, call.request.topic)
    return _topicRow(call.broker, call.request.topic, call.broker.topicMetrics.rates())


@operation(
    "register_topic_metrics",
    "Count the messages of a topic from now on",
    "topic_metrics register",
    Route("POST", "/topic-metrics/"),
    positional=("topic",),
    text=lambda _: ("ok",),
    example="a/b",
)
def addTopic(call: Call[OfTopic]) -> OfTopic:
    """
    It is remembered when the broker is restarted; the counts are not.
    """
    try:
        call.broker.topicMetrics.add(call.request.topic)
    except ValueError as error:
        raise Refused(INVALID_TOPIC, f"topic: {error}") from None
    return call.request


@operation(
    "unregister_topic_metrics",
    "Count the messages of a topic no more",
    "topic_metrics unregister",
    Route("DELETE", "/topic-metrics/:topic"),
    positional=("topic",),
    text=lambda _: ("ok",),
    example="a/b",
)
def removeTopic(call: Call[OfTopic]) -> OfTopic:
    """
    Its counts are gone.
    """
    _checkTopic(call.broker, call.request.topic)
    call.broker.topicMetrics.remove(call.request.topic)
    return call.request


@operation(
    "unregister_all_topic_metrics",
    "Count the messages of no topic any more",
    "topic_metrics clear",
    Route("DELETE", "/topic-metrics/"),
    text=lambda row: (f"{row.removed} topics are not counted any more",),
)
def removeTopics(call: Call[Nothing]) -> Removed:
    """
    All counts are gone.
    """
    return Removed(removed=call.broker.topicMetrics.clear())


OPERATIONS: Final[tuple[Operation, ...]] = (listRates, listTopics, getTopic, addTopic, removeTopic, removeTopics)
