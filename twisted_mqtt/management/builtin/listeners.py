"""
Ports: which there are, stopping and starting them (spec/rest-api.md 2.10, cli.md 10).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from msgspec import Meta, Struct
from twisted.internet.error import CannotListenError

from twisted_mqtt.management.builtin.shared import OfNode, checkNode
from twisted_mqtt.operations.dialects import EMQX, Fields
from twisted_mqtt.operations.operation import UNKNOWN, Call, NotFound, Nothing, Operation, Refused, Route, operation

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IListening, INode


class OneListener(Struct, kw_only=True):
    """
    A port.
    """

    protocol: Annotated[
        str, Meta(description="What is spoken and how, such as mqtt:tcp; or the whole name, such as mqtt:tcp:external")
    ]
    listen_on: Annotated[str, Meta(description="Where it listens, such as 1883 or 127.0.0.1:1883")] = ""


class ListenerRow(Struct, kw_only=True):
    """
    A port.
    """

    dialects: ClassVar[Fields] = {
        EMQX: ("protocol", "listen_on", "acceptors", "max_conns", "current_conns", "shutdown_count")
    }

    protocol: str
    listen_on: str
    acceptors: int
    max_conns: int
    current_conns: int
    shutdown_count: dict[str, int] | list[int]
    name: str = ""
    running: bool = True


class NodeListeners(Struct, kw_only=True):
    """
    The ports of a node.
    """

    node: str
    listeners: list[ListenerRow]


def _protocolOf(listening: IListening) -> str:
    if listening.kind in ("http", "https"):
        return f"{listening.kind}:{listening.protocol}"
    return f"{listening.protocol}:{listening.kind}"


def _rowOf(listening: IListening) -> ListenerRow:
    figures = listening.figures()
    ended = {name: count for name, count in figures.items() if name.startswith("refused") and count}
    return ListenerRow(
        protocol=_protocolOf(listening),
        listen_on=str(listening.address),
        acceptors=figures.get("acceptors", 1),
        max_conns=figures.get("max_connections", 0),
        current_conns=listening.connections,
        # An empty list, or an object: so EMQ X has it.
        shutdown_count=ended or [],
        name=listening.name,
        running=listening.isOpen,
    )


def _rowsOf(node: INode) -> list[ListenerRow]:
    return [_rowOf(listening) for listening in node.ports.values()]


def _lines(rows: list[ListenerRow]) -> Iterator[str]:
    for row in rows:
        count = row.shutdown_count
        ended = (
            "[" + ",".join(f"{{{name},{n}}}" for name, n in count.items()) + "]" if isinstance(count, dict) else "[]"
        )
        yield f"listener on {row.protocol}:{row.listen_on}"
        for name, value in (
            ("acceptors", row.acceptors),
            ("max_conns", row.max_conns),
            ("current_conn", row.current_conns),
            ("shutdown_count", ended),
        ):
            yield f"  {name:<16}: {value}"


def _find(call: Call[OneListener]) -> IListening:
    wanted = call.request
    for listening in call.node.ports.values():
        protocol, address = _protocolOf(listening), listening.address
        names = (listening.name, f"{protocol}:{listening.name.rpartition('.')[2]}")
        if not wanted.listen_on and wanted.protocol in names:
            return listening
        if wanted.protocol == protocol and wanted.listen_on in (str(address), str(address.port)):
            return listening
    known = ", ".join(f"{_protocolOf(one)} {one.address}" for one in call.node.ports.values())
    raise NotFound(f"protocol: no such listener; there are {known}")


@operation("list_listeners", "List the ports of all nodes", "", Route("GET", "/listeners/"))
def allListeners(call: Call[Nothing]) -> list[NodeListeners]:
    """
    By node.
    """
    return [NodeListeners(node=call.broker.nodeName, listeners=_rowsOf(call.node))]


@operation("list_node_listeners", "List the ports of a node", "", Route("GET", "/nodes/:node/listeners"))
def nodeListeners(call: Call[OfNode]) -> list[ListenerRow]:
    """
    Those that are stopped too.
    """
    checkNode(call.node, call.request.node)
    return _rowsOf(call.node)


@operation("show_listeners", "List the ports", "listeners", aliases=("listeners list",), text=_lines, role="read")
def showListeners(call: Call[Nothing]) -> list[ListenerRow]:
    """
    For the command line.
    """
    return _rowsOf(call.node)


@operation(
    "stop_listener",
    "Stop listening on a port; open connections stay",
    "listeners stop",
    Route("PUT", "/listeners/:protocol/:listen_on/stop"),
    positional=("protocol", "listen_on"),
    text=lambda row: (f"Stop {row.protocol} listener on {row.listen_on} successfully.",),
    role="admin",
)
async def stopListener(call: Call[OneListener]) -> ListenerRow:
    """
    One that is stopped stays so.
    """
    listening = _find(call)
    await listening.stop()
    return _rowOf(listening)


@operation(
    "start_listener",
    "Listen on a port again",
    "listeners start",
    Route("PUT", "/listeners/:protocol/:listen_on/start"),
    positional=("protocol", "listen_on"),
    text=lambda row: (f"Start {row.protocol} listener on {row.listen_on} successfully.",),
    role="admin",
)
async def startListener(call: Call[OneListener]) -> ListenerRow:
    """
    One that listens goes on.
    """
    listening = _find(call)
    await _start(listening)
    return _rowOf(listening)


@operation(
    "restart_listener",
    "Stop listening on a port, and listen again",
    "listeners restart",
    Route("PUT", "/listeners/:protocol/:listen_on/restart"),
    positional=("protocol", "listen_on"),
    text=lambda row: (f"Restart {row.protocol} listener on {row.listen_on} successfully.",),
    role="admin",
)
async def restartListener(call: Call[OneListener]) -> ListenerRow:
    """
    Open connections stay.
    """
    listening = _find(call)
    await listening.stop()
    await _start(listening)
    return _rowOf(listening)


async def _start(listening: IListening) -> None:
    try:
        await listening.start()
    except CannotListenError as error:
        raise Refused(UNKNOWN, str(error), 500) from None


OPERATIONS: tuple[Operation, ...] = (
    allListeners,
    nodeListeners,
    showListeners,
    stopListener,
    startListener,
    restartListener,
)
