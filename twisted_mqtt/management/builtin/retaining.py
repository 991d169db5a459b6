"""
Retained messages: how many there are, which, and forgetting them (spec/cli.md 15; vernemq.md 20, ADM-15).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from twisted_mqtt.base.waiting import settled
from twisted_mqtt.core.topics import isTopicFilter, matches, scoped
from twisted_mqtt.management.columns import LIMIT, MOST_READ, Asked, Columns, Row, shownBytes
from twisted_mqtt.operations.operation import (
    INVALID_TOPIC,
    Call,
    Nothing,
    Operation,
    Refused,
    Rows,
    column,
    operation,
    short,
)

if TYPE_CHECKING:
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.interfaces import IBroker


class ShowRetained(Struct, kw_only=True):
    """
    Which retained messages are shown, and what of them.
    """

    topic: Annotated[tuple[str, ...], column("Topic; with a value, only those that match this filter")] = ()
    payload: Annotated[tuple[str, ...], column("Payload; with a value, only those that have exactly this one")] = ()
    mountpoint: Annotated[str, short("m", "The topic tree; the default one by default")] = ""
    limit: Annotated[int, Meta(ge=1, le=MOST_READ, description="How many are shown at most")] = LIMIT


class RetainedTotal(Struct, kw_only=True):
    """
    How many there are.
    """

    total: int


class Cleaned(Struct, kw_only=True):
    """
    How many were forgotten.
    """

    cleaned: int


_COLUMNS: Final[Columns[Message]] = Columns(
    {"topic": lambda message: message.topic, "payload": lambda message: shownBytes(message.payload)}
)
_NAMES: Final = ("payload", "topic")


@operation(
    "retainer_info",
    "Say how many messages are retained",
    "retainer info",
    text=lambda answer: (f"retained/total: {answer.total}",),
    role="read",
)
def retainerInfo(call: Call[Nothing]) -> RetainedTotal:
    """
    Those of the broker itself are counted too.
    """
    return RetainedTotal(total=len(call.broker.retained))


@operation(
    "retainer_topics",
    "List the topics that have a retained message",
    "retainer topics",
    text=lambda topic: (topic,),
    role="read",
)
def retainerTopics(call: Call[Nothing]) -> Rows[str]:
    """
    In no particular order.
    """
    retained = call.broker.retained
    return Rows(call.broker.directory.retained(""), lambda message: message.topic, lambda: len(retained))


@operation(
    "retainer_clean",
    "Forget all retained messages",
    "retainer clean",
    text=lambda answer: (f"Cleaned {answer.cleaned} retained messages",),
)
async def retainerClean(call: Call[Nothing]) -> Cleaned:
    """
    Those of all topic trees, and of the broker itself until it publishes them again.
    """
    broker = call.broker
    cleaned = 0
    for tree in broker.retained.topicTrees():
        async for message in broker.directory.retained("", tree):
            cleaned += _forget(broker, message.topic, tree)
    return Cleaned(cleaned=cleaned)


@operation(
    "show_retained", "Show retained messages", "retain show", example="--topic=a/# --payload --limit=10", role="read"
)
async def showRetained(call: Call[ShowRetained]) -> list[Row]:
    """
    By columns; payloads that are only on disk are read from there.
    """
    request, broker = call.request, call.broker
    asked = Asked(request, _NAMES, _NAMES)
    filters = asked.conditions.pop("topic", ("",))
    for topicFilter in filters:
        if topicFilter and not isTopicFilter(topicFilter):
            raise Refused(INVALID_TOPIC, f"topic: {topicFilter[:80]!r} is no topic filter")
    isWanted = _COLUMNS.test(asked.conditions)
    readsPayload = "payload" in asked.names
    rows: list[Row] = []
    async for stub in broker.directory.retained(filters[0], request.mountpoint):
        if not all(matches(topicFilter, stub.topic) for topicFilter in filters[1:]):
            continue
        message: Message | None = stub
        if readsPayload and not stub.payload:
            message = await settled(broker.retained.fetch(stub.topic, request.mountpoint))
        if message is not None and (isWanted is None or isWanted(message)):
            rows.append(dict(_COLUMNS.read(asked.columns, message)))
            if len(rows) >= request.limit:
                break
    return rows


def _forget(broker: IBroker, topic: str, topicTree: str) -> bool:
    """
    Forget one message, in memory and in the store.
    """
    if not broker.retained.remove(topic, topicTree):
        return False
    broker.store.removeRetained(scoped(topicTree, topic))
    return True


OPERATIONS: tuple[Operation, ...] = (retainerInfo, retainerTopics, retainerClean, showRetained)
