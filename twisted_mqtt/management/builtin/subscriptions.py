"""
Subscriptions and routes (spec/rest-api.md 2.6, 2.7; rest-api-nanomq.md 3.7; cli.md 7, 8).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta, Struct

from twisted_mqtt.base.listing import Listing
from twisted_mqtt.core.topics import scoped, splitShare
from twisted_mqtt.management.builtin.shared import ClientID, NodeName, checkNode
from twisted_mqtt.operations.dialects import NANOMQ, Fields
from twisted_mqtt.operations.operation import Call, NotFound, Operation, Route, Rows, operation

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.subscription import Subscription


class ListSubscriptions(Struct, kw_only=True):
    """
    Which subscriptions are listed; all that is said must hold.
    """

    node: Annotated[NodeName, Meta(description="Only those of this node")] = ""
    clientid: Annotated[str, Meta(description="Only those of this client")] = ""
    topic: Annotated[str, Meta(description="Only those of exactly this filter")] = ""
    qos: Annotated[int, Meta(ge=0, le=2, description="Only those of this quality of service")] | None = None
    share: Annotated[str, Meta(description="Only those of the shared subscription of this name")] = ""


class OfClient(Struct, kw_only=True):
    """
    The subscriptions of one client.
    """

    clientid: ClientID
    node: NodeName = ""


class SubscriptionRow(Struct, kw_only=True):
    """
    A subscription.
    """

    dialects: ClassVar[Fields] = {NANOMQ: ("clientid", "topic", "qos")}

    clientid: str
    node: str
    qos: int
    topic: str


class ListRoutes(Struct, kw_only=True):
    """
    All routes.
    """


class OneRoute(Struct, kw_only=True):
    """
    One route.
    """

    topic: Annotated[str, Meta(description="The filter, exactly")]


class RouteRow(Struct, kw_only=True):
    """
    A filter that somebody on a node has subscribed.
    """

    node: str
    topic: str


def _rowOf(node: str) -> Callable[[Subscription], SubscriptionRow]:
    def row(subscription: Subscription) -> SubscriptionRow:
        return SubscriptionRow(
            clientid=subscription.subscriber.clientID,
            node=node,
            qos=subscription.qos,
            topic=subscription.topicFilter,
        )

    return row


def _isWanted(wanted: ListSubscriptions) -> Callable[[Subscription], bool] | None:
    tests: list[Callable[[Subscription], bool]] = []
    if wanted.clientid:
        tests.append(lambda one: one.subscriber.clientID == wanted.clientid)
    if wanted.topic:
        tests.append(lambda one: wanted.topic in (one.topicFilter, splitShare(one.topicFilter)[1]))
    if wanted.qos is not None:
        tests.append(lambda one: one.qos == wanted.qos)
    if wanted.share:
        tests.append(lambda one: splitShare(one.topicFilter)[0] == wanted.share)
    return (lambda one: all(test(one) for test in tests)) if tests else None


def _lines(row: SubscriptionRow) -> Iterator[str]:
    yield f"{row.clientid} -> {row.topic}:{row.qos}"


def _routeLines(row: RouteRow) -> Iterator[str]:
    yield f"{row.topic} -> {row.node}"


@operation(
    "list_subscriptions",
    "List subscriptions",
    "subscriptions list",
    Route("GET", "/subscriptions/", paged=True),
    Route(
        "GET",
        "/nodes/:node/subscriptions/",
        "list_node_subscriptions",
        "List the subscriptions of a node",
        paged=True,
    ),
    text=_lines,
)
def listSubscriptions(call: Call[ListSubscriptions]) -> Rows[SubscriptionRow]:
    """
    Those of all clients, of sessions whose clients are away too.
    """
    checkNode(call.node, call.request.node)
    broker = call.broker
    where = _isWanted(call.request)
    total = None if where else lambda: broker.stats()["subscriptions"]
    return Rows(broker.directory.subscriptions(where), _rowOf(broker.nodeName), total)


@operation(
    "lookup_client_subscriptions",
    "List the subscriptions of a client",
    "subscriptions show",
    Route("GET", "/subscriptions/:clientid"),
    Route(
        "GET",
        "/nodes/:node/subscriptions/:clientid",
        "lookup_client_subscriptions_with_node",
        "List the subscriptions of a client on a node",
    ),
    positional=("clientid",),
    text=_lines,
)
def clientSubscriptions(call: Call[OfClient]) -> Rows[SubscriptionRow]:
    """
    An unknown client has none, but in NanoMQ's dialect it is not found.
    """
    checkNode(call.node, call.request.node)
    broker = call.broker
    session = broker.sessions.get(scoped("", call.request.clientid))
    if session is None and call.dialect == NANOMQ:
        raise NotFound(f"clientid: there is no client {call.request.clientid[:80]!r}")
    found = () if session is None else list(session.subscriptions.values())
    return Rows(Listing(broker.clock, iter(found)), _rowOf(broker.nodeName), lambda: len(found))


@operation(
    "list_routes",
    "List routes: the filters that are subscribed, and where",
    "routes list",
    Route("GET", "/routes/", paged=True),
    aliases=("topics list",),
    text=_routeLines,
)
def listRoutes(call: Call[ListRoutes]) -> Rows[RouteRow]:
    """
    Each filter once.
    """
    broker = call.broker
    node = broker.nodeName
    total = broker.stats()["routes"]
    return Rows(broker.directory.filters(), lambda topic: RouteRow(node=node, topic=topic), lambda: total)


@operation(
    "lookup_routes",
    "Show the routes of a filter",
    "routes show",
    Route("GET", "/routes/:topic"),
    aliases=("topics show",),
    positional=("topic",),
    text=lambda rows: (line for row in rows for line in _routeLines(row)),
)
async def lookupRoutes(call: Call[OneRoute]) -> list[RouteRow]:
    """
    A row for each node that has a subscriber of exactly this filter.
    """
    broker, topic = call.broker, call.request.topic
    if not topic or "\0" in topic:
        return []
    found = await broker.directory.subscribers(topic).next(1)
    return [RouteRow(node=broker.nodeName, topic=topic)] if found else []


OPERATIONS: tuple[Operation, ...] = (listSubscriptions, clientSubscriptions, listRoutes, lookupRoutes)
