"""
The node: what it is, how it is, its counters and gauges (spec/rest-api.md 2.2, 2.3, 2.11, 2.12, 3; cli.md 2, 4, 11).
"""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

import twisted
from msgspec import UNSET, Meta, Struct, UnsetType

from twisted_mqtt.base.about import DESCRIPTION, hoursText, uptimeText, versionText
from twisted_mqtt.base.exposition import EMQX_ZERO, TEXT, completed, encoded, families
from twisted_mqtt.management.builtin.shared import NodeName, OfNode, checkNode, dateText
from twisted_mqtt.operations.dialects import EMQX, NANOMQ, UNION, Fields
from twisted_mqtt.operations.operation import Bare, Call, Nothing, Operation, Raw, Route, operation

if TYPE_CHECKING:
    from twisted_mqtt.base.exposition import Style
    from twisted_mqtt.interfaces import IBroker, INode


#: The ends of the names of gauges and their maxima.
_STATS: Final = (".count", ".max")


class BrokerRow(Struct, kw_only=True):
    """
    What a node is.
    """

    dialects: ClassVar[Fields] = {NANOMQ: ("datetime", "node_status", "sysdescr", "uptime", "version")}

    node: str
    datetime: str
    node_status: str
    otp_release: str
    sysdescr: str
    uptime: str
    version: str


class NodeRow(Struct, kw_only=True):
    """
    How a node is.
    """

    dialects: ClassVar[Fields] = {NANOMQ: ("connections", "node_status", "uptime", "version")}

    name: str
    node: str
    connections: int
    load1: str
    load5: str
    load15: str
    max_fds: int
    memory_total: str | int
    memory_used: str | int
    node_status: str
    otp_release: str
    process_available: int
    process_used: int
    uptime: str
    version: str


class NodeMetrics(Struct, kw_only=True):
    """
    The counters of a node.
    """

    node: str
    metrics: dict[str, int]


class AllMetrics(Struct, kw_only=True):
    """
    The counters of all nodes, and the keys of NanoMQ.
    """

    code: int | UnsetType = UNSET
    data: list[NodeMetrics] | UnsetType = UNSET
    metrics: list[str] | UnsetType = UNSET
    cpuinfo: str | UnsetType = UNSET
    memory: str | UnsetType = UNSET


class NodeStats(Struct, kw_only=True):
    """
    The gauges of a node, with the highest value of each.
    """

    node: str
    stats: dict[str, int]


class OptionalNode(Struct, kw_only=True):
    """
    This node, or one that is named.
    """

    node: Annotated[NodeName, Meta(description="Name of a node; this one by default")] = ""


def _release() -> str:
    return f"Python {platform.python_version()}/Twisted {twisted.__version__}"


def _uptime(node: INode, dialect: str) -> str:
    broker = node.broker
    seconds = broker.clock.seconds() - broker.startedAt
    return hoursText(seconds) if dialect == NANOMQ else uptimeText(seconds)


def _brokerOf(node: INode, dialect: str = UNION) -> BrokerRow:
    broker = node.broker
    return BrokerRow(
        node=broker.nodeName,
        datetime=dateText(broker.dates.now()),
        node_status="Running",
        otp_release=_release(),
        sysdescr=DESCRIPTION,
        uptime=_uptime(node, dialect),
        version=versionText(),
    )


def _megabytes(size: int) -> str:
    return f"{size / 1048576:.2f}M"


def _memory() -> tuple[int, int]:
    """
    Bytes of memory that the process has in all, and of those resident.
    """
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = [int(part) for part in file.read().split()]
    except (OSError, ValueError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return most, most
    size = os.sysconf("SC_PAGE_SIZE")
    return pages[0] * size, pages[1] * size


def _nodeOf(node: INode, asText: bool, dialect: str = UNION) -> NodeRow:
    broker = node.broker
    total, used = _memory()
    loads = [f"{load:.2f}" for load in os.getloadavg()]
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return NodeRow(
        name=broker.nodeName,
        node=broker.nodeName,
        connections=len(broker.clients),
        load1=loads[0],
        load5=loads[1],
        load15=loads[2],
        max_fds=files,
        memory_total=_megabytes(total) if asText else total,
        memory_used=_megabytes(used) if asText else used,
        node_status="Running",
        otp_release=_release(),
        process_available=files,
        process_used=len(broker.sessions),
        uptime=_uptime(node, dialect),
        version=versionText(),
    )


def metricsOf(node: INode) -> dict[str, int]:
    """
    The counters of the node by name, sorted.
    """
    return {name: value for name, value in _valuesOf(node) if not name.endswith(_STATS)}


def statsOf(node: INode) -> dict[str, int]:
    """
    The gauges of the node with their maxima, by name, sorted.
    """
    return {name: value for name, value in _valuesOf(node) if name.endswith(_STATS)}


def _valuesOf(node: INode) -> list[tuple[str, int]]:
    """
    All that has one value, by name, sorted; with what EMQ X has and is 0 here.
    """
    found = {name: int(value) for name, value in node.broker.metrics.read().items()}
    return sorted({**dict.fromkeys(EMQX_ZERO, 0), **found}.items())


def _pairs(found: dict[str, int], width: int) -> Iterator[str]:
    for name, value in found.items():
        yield f"{name:<{width}}: {value}"


def _brokerLines(row: BrokerRow) -> Iterator[str]:
    for name, value in (
        ("sysdescr", row.sysdescr),
        ("version", row.version),
        ("uptime", row.uptime),
        ("datetime", row.datetime),
    ):
        yield f"{name:<10}: {value}"


@operation("list_brokers", "List the nodes with their versions", "brokers list", Route("GET", "/brokers/"))
def listBrokers(call: Call[Nothing]) -> list[BrokerRow]:
    """
    This one.
    """
    return [_brokerOf(call.node, call.dialect)]


@operation("get_broker", "Show what a node is", "", Route("GET", "/brokers/:node"))
def getBroker(call: Call[OfNode]) -> dict[str, str]:
    """
    Without C{node}, as EMQ X answers.
    """
    checkNode(call.node, call.request.node)
    row = _brokerOf(call.node)
    return {name: getattr(row, name) for name in row.__struct_fields__ if name != "node"}


@operation("show_broker", "Show what this node is", "broker", text=_brokerLines, role="read")
def showBroker(call: Call[Nothing]) -> BrokerRow:
    """
    For the command line.
    """
    return _brokerOf(call.node)


@operation(
    "show_status",
    "Show whether the node runs",
    "status",
    text=lambda row: (f"Node '{row.node}' is started", f"mqttbroker {row.version} is running"),
    role="read",
)
def showStatus(call: Call[Nothing]) -> BrokerRow:
    """
    Who hears the answer knows that it does.
    """
    return _brokerOf(call.node)


@operation("list_nodes", "List the nodes with their load", "nodes list", Route("GET", "/nodes/"))
def listNodes(call: Call[Nothing]) -> list[NodeRow]:
    """
    Memory as text.
    """
    return [_nodeOf(call.node, True, call.dialect)]


@operation("get_node", "Show how a node is", "", Route("GET", "/nodes/:node"))
def getNode(call: Call[OfNode]) -> dict[str, str | int]:
    """
    Memory in bytes, and without C{node}, as EMQ X answers.
    """
    checkNode(call.node, call.request.node)
    row = _nodeOf(call.node, False)
    return {name: getattr(row, name) for name in row.__struct_fields__ if name != "node"}


@operation("list_all_metrics", "List the counters of all nodes", "", Route("GET", "/metrics/"))
def allMetrics(call: Call[Nothing]) -> Bare[AllMetrics]:
    """
    With the keys of NanoMQ beside those of EMQ X.
    """
    found = AllMetrics()
    if call.dialect != NANOMQ:
        found.code = 0
        found.data = [NodeMetrics(node=call.broker.nodeName, metrics=metricsOf(call.node))]
    if call.dialect != EMQX:
        found.metrics, found.cpuinfo, found.memory = [], "0.00%", str(_memory()[1])
    return Bare(found)


@operation(
    "list_node_metrics",
    "List the counters of a node",
    "broker metrics",
    Route("GET", "/nodes/:node/metrics/"),
    aliases=("metrics",),
    text=lambda found: _pairs(found, 30),
)
def nodeMetrics(call: Call[OptionalNode]) -> dict[str, int]:
    """
    By name.
    """
    checkNode(call.node, call.request.node)
    return metricsOf(call.node)


class PrometheusForm(Struct, kw_only=True):
    """
    How the metrics are shown.
    """

    type: Annotated[Literal["prometheus", "json"], Meta(description="As Prometheus reads it, or as JSON")] = (
        "prometheus"
    )


@operation(
    "prometheus",
    "Show metrics as Prometheus reads them, with NanoMQ's names",
    "",
    Route("GET", "/prometheus"),
)
async def prometheus(call: Call[Nothing]) -> Raw:
    """
    Those that NanoMQ has.
    """
    return await _exposed(call.broker, "nanomq")


@operation(
    "emqx_prometheus",
    "Show metrics as Prometheus reads them, with EMQ X's names",
    "",
    Route("GET", "/emqx_prometheus"),
)
async def emqxPrometheus(call: Call[PrometheusForm]) -> Raw | dict[str, dict[str, int]]:
    """
    All of them; or counters and gauges as JSON.
    """
    if call.request.type == "json":
        return {"metrics": metricsOf(call.node), "stats": statsOf(call.node)}
    return await _exposed(call.broker, "emqx")


async def _exposed(broker: IBroker, style: Style) -> Raw:
    parts = await broker.portions.all(families(completed(broker.metrics.collect(), style), style))
    return Raw(TEXT, encoded("".join(parts)))


@operation("list_stats", "List the gauges of all nodes", "", Route("GET", "/stats/"))
def allStats(call: Call[Nothing]) -> list[NodeStats]:
    """
    By node.
    """
    return [NodeStats(node=call.broker.nodeName, stats=statsOf(call.node))]


@operation(
    "lookup_node_stats",
    "List the gauges of a node",
    "broker stats",
    Route("GET", "/nodes/:node/stats/"),
    aliases=("stats",),
    text=lambda found: _pairs(found, 30),
)
def nodeStats(call: Call[OptionalNode]) -> dict[str, int]:
    """
    By name.
    """
    checkNode(call.node, call.request.node)
    return statsOf(call.node)


OPERATIONS: tuple[Operation, ...] = (
    listBrokers,
    getBroker,
    showBroker,
    showStatus,
    listNodes,
    getNode,
    allMetrics,
    nodeMetrics,
    prometheus,
    emqxPrometheus,
    allStats,
    nodeStats,
)
