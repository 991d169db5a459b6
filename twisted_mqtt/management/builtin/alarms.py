"""
Alarms: present and past (spec/rest-api.md 2.13).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from msgspec import Meta, Struct

from twisted_mqtt.base.listing import Listing
from twisted_mqtt.management.builtin.shared import OfNode, checkNode, dateText
from twisted_mqtt.operations.dialects import EMQX, Fields
from twisted_mqtt.operations.operation import Call, NotFound, Nothing, Operation, Route, Rows, operation

if TYPE_CHECKING:
    from twisted_mqtt.broker.alarms import Alarm


class OneAlarm(Struct, kw_only=True):
    """
    An alarm.
    """

    id: Annotated[str, Meta(description="Name of an alarm that is active")]


class AlarmRow(Struct, kw_only=True, omit_defaults=True):
    """
    An alarm.
    """

    dialects: ClassVar[Fields] = {EMQX: ("id", "desc", "alarm_at", "clear_at")}

    id: str
    desc: str
    severity: str
    title: str
    alarm_at: str
    clear_at: str = ""
    times: int = 1


class NodeAlarms(Struct, kw_only=True):
    """
    The alarms of a node.
    """

    node: str
    alarms: list[AlarmRow]


class Cleared(Struct, kw_only=True):
    """
    How many were there.
    """

    cleared: int


def _rowOf(alarm: Alarm, dialect: str = "union") -> AlarmRow:
    """
    In the dialect of EMQ X, C{desc} is the measured value, where there is one, and not a text about it.
    """
    value = alarm.details.get("value")
    return AlarmRow(
        id=alarm.name,
        desc=alarm.summary if value is None or dialect != "emqx" else str(value),
        severity=alarm.severity,
        title=alarm.title,
        alarm_at=dateText(alarm.at),
        clear_at=dateText(alarm.until),
        times=alarm.times,
    )


def _present(call: Call[Any]) -> list[Alarm]:
    return list(call.broker.alarms.active.values())


async def _made(call: Call[Any], alarms: list[Alarm]) -> list[AlarmRow]:
    """
    The rows of alarms: in portions, for a history may have thousands.
    """
    return await call.broker.portions.all(_rowOf(alarm, call.dialect) for alarm in alarms)


def _listed(call: Call[Any], alarms: list[Alarm]) -> Rows[AlarmRow]:
    return Rows(
        Listing(call.broker.clock, iter(alarms)), lambda alarm: _rowOf(alarm, call.dialect), lambda: len(alarms)
    )


def _lines(rows: list[AlarmRow]) -> Iterator[str]:
    for row in rows:
        ended = f", clear_at={row.clear_at}" if row.clear_at else ""
        yield f"Alarm({row.id}, severity={row.severity}, alarm_at={row.alarm_at}{ended}, desc={row.desc})"


@operation("list_all_alarms", "List the alarms that are active on all nodes", "", Route("GET", "/alarms/present"))
async def allAlarms(call: Call[Nothing]) -> list[NodeAlarms]:
    """
    By node: a row has all of a node, so there are no pages. To read them in pages, ask for those of one node.
    """
    return [NodeAlarms(node=call.broker.nodeName, alarms=await _made(call, _present(call)))]


@operation("list_node_alarms", "List the alarms that are active on a node", "", Route("GET", "/alarms/present/:node"))
def nodeAlarms(call: Call[OfNode]) -> Rows[AlarmRow]:
    """
    The oldest first.
    """
    checkNode(call.node, call.request.node)
    return _listed(call, _present(call))


@operation("list_all_alarm_history", "List the alarms of all nodes that are over", "", Route("GET", "/alarms/history"))
async def allHistory(call: Call[Nothing]) -> list[NodeAlarms]:
    """
    By node, as L{allAlarms}.
    """
    return [NodeAlarms(node=call.broker.nodeName, alarms=await _made(call, call.broker.alarms.history()))]


@operation(
    "list_node_alarm_history", "List the alarms of a node that are over", "", Route("GET", "/alarms/history/:node")
)
def nodeHistory(call: Call[OfNode]) -> Rows[AlarmRow]:
    """
    The last to end comes first.
    """
    checkNode(call.node, call.request.node)
    return _listed(call, call.broker.alarms.history())


@operation(
    "show_alarms", "List the alarms that are active", "alarms list", aliases=("alarms",), text=_lines, role="read"
)
async def showAlarms(call: Call[Nothing]) -> list[AlarmRow]:
    """
    For the command line.
    """
    return await _made(call, _present(call))


@operation("show_alarm_history", "List the alarms that are over", "alarms history", text=_lines, role="read")
async def showHistory(call: Call[Nothing]) -> list[AlarmRow]:
    """
    For the command line.
    """
    return await _made(call, call.broker.alarms.history())


@operation(
    "deactivate_alarm",
    "End an alarm, whose cause is seen to",
    "alarms deactivate",
    Route("DELETE", "/alarms/present/:id"),
    positional=("id",),
    text=lambda _: ("ok",),
)
def deactivateAlarm(call: Call[OneAlarm]) -> None:
    """
    It comes again if its cause does.
    """
    if not call.broker.alarms.deactivate(call.request.id):
        raise NotFound(f"id: there is no alarm {call.request.id[:80]!r}")


@operation(
    "clear_alarm_history",
    "Forget the alarms that are over",
    "alarms clear",
    Route("DELETE", "/alarms/history"),
    text=lambda answer: (f"Cleared {answer.cleared} alarms",),
)
def clearHistory(call: Call[Nothing]) -> Cleared:
    """
    Those that are active stay.
    """
    return Cleared(cleared=call.broker.alarms.clearHistory())


OPERATIONS: tuple[Operation, ...] = (
    allAlarms,
    nodeAlarms,
    allHistory,
    nodeHistory,
    showAlarms,
    showHistory,
    deactivateAlarm,
    clearHistory,
)
