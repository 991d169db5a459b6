"""
The log: where messages go, and from which level on (spec/cli.md 12). What is set here is forgotten when the broker
ends; the configuration has C{log.level} and C{log.modules} for what is to stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta, Struct

from twisted_mqtt.operations.operation import INVALID, Call, NotFound, Nothing, Operation, Refused, Route, operation

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import ILog

Level: TypeAlias = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]

#: The same, or nothing.
AnyLevel: TypeAlias = Literal["", "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
#: The same, or none of its own.
OwnLevel: TypeAlias = Literal[
    "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency", "default"
]

_LONGEST = 200


class NewLevel(Struct, kw_only=True):
    """
    A level.
    """

    level: Annotated[Level, Meta(description="The least important messages that are wanted")]


class OptionalLevel(Struct, kw_only=True):
    """
    A level, or the question for it.
    """

    level: Annotated[AnyLevel, Meta(description="The new level; none to show the present one")] = ""


class HandlerLevel(Struct, kw_only=True):
    """
    The level of a destination.
    """

    id: Annotated[str, Meta(description="Name of a destination, as listed")]
    level: Annotated[Level, Meta(description="The least important messages that go there")]


class ModuleLevel(Struct, kw_only=True):
    """
    The level of a module.
    """

    module: Annotated[
        str, Meta(description="A module or package, such as twisted_mqtt.stores", min_length=1, max_length=_LONGEST)
    ]
    level: Annotated[
        OwnLevel,
        Meta(description="The least important messages of it that are logged; default for no level of its own"),
    ]


class HandlerRow(Struct, kw_only=True):
    """
    A destination of log messages.
    """

    id: str
    level: str
    destination: str


class ModuleRow(Struct, kw_only=True):
    """
    A module with a level of its own.
    """

    module: str
    level: str


class LevelRow(Struct, kw_only=True):
    """
    A level.
    """

    level: str


_NOT_OURS: Final = "The log is that of another program, or twistd was started with --logfile"
_ELSEWHERE: Final = {409: _NOT_OURS}


def _logOf(call: Call[Any]) -> ILog:
    """
    @raise Refused: the log is not the broker's.
    """
    log = call.node.log
    if log is None:
        raise Refused(INVALID, _NOT_OURS[0].lower() + _NOT_OURS[1:], 409)
    return log


def _handlerLines(rows: list[HandlerRow]) -> Iterator[str]:
    for row in rows:
        yield f"LogHandler (id={row.id}, level={row.level}, destination={row.destination})"


def _moduleLines(rows: list[ModuleRow]) -> Iterator[str]:
    for row in rows:
        yield f"LogModule (module={row.module}, level={row.level})"


def _level(row: LevelRow) -> tuple[str]:
    return (row.level,)


@operation(
    "set_log_level",
    "Set the level of the log: of its gate and of all destinations",
    "log set-level",
    Route("PUT", "/log/level"),
    role="admin",
    positional=("level",),
    text=_level,
    refusals=_ELSEWHERE,
)
def setLevel(call: Call[NewLevel]) -> LevelRow:
    """
    The level is echoed.
    """
    _logOf(call).setLevel(call.request.level)
    return LevelRow(level=call.request.level)


@operation(
    "log_primary_level",
    "Show the level of the log's gate, or set it: less important messages go nowhere",
    "log primary-level",
    Route("PUT", "/log/primary_level"),
    role="admin",
    positional=("level",),
    text=_level,
    refusals=_ELSEWHERE,
)
def primaryLevel(call: Call[OptionalLevel]) -> LevelRow:
    """
    Without a level it is shown.
    """
    log = _logOf(call)
    if call.request.level:
        log.setPrimaryLevel(call.request.level)
    return LevelRow(level=log.primaryLevel)


@operation(
    "list_log_handlers",
    "List where log messages go, and from which level on",
    "log handlers list",
    Route("GET", "/log/handlers"),
    text=_handlerLines,
    refusals=_ELSEWHERE,
)
def listHandlers(call: Call[Nothing]) -> list[HandlerRow]:
    """
    In the order of the configuration.
    """
    return [HandlerRow(id=one.id, level=one.level, destination=one.destination) for one in _logOf(call).handlers()]


@operation(
    "set_log_handler_level",
    "Set the level of one destination of log messages",
    "log handlers set-level",
    Route("PUT", "/log/handlers/:id"),
    role="admin",
    positional=("id", "level"),
    text=_level,
    refusals=_ELSEWHERE,
)
def setHandlerLevel(call: Call[HandlerLevel]) -> LevelRow:
    """
    The level is echoed.
    """
    log = _logOf(call)
    try:
        log.setHandlerLevel(call.request.id, call.request.level)
    except KeyError:
        there = ", ".join(one.id for one in log.handlers()) or "none"
        raise NotFound(f"id: there is no destination {call.request.id[:80]!r}; there are {there}") from None
    return LevelRow(level=call.request.level)


@operation(
    "list_log_modules",
    "List the modules whose log messages have a level of their own",
    "log modules list",
    Route("GET", "/log/modules"),
    text=_moduleLines,
    refusals=_ELSEWHERE,
)
def listModules(call: Call[Nothing]) -> list[ModuleRow]:
    """
    By name.
    """
    return [ModuleRow(module=name, level=level) for name, level in sorted(_logOf(call).modules().items())]


@operation(
    "set_log_module_level",
    "Set the level of the log messages of a module and all modules in it",
    "log modules set-level",
    Route("PUT", "/log/modules/:module"),
    role="admin",
    positional=("module", "level"),
    text=_level,
    refusals=_ELSEWHERE,
)
def setModuleLevel(call: Call[ModuleLevel]) -> LevelRow:
    """
    The level is echoed.
    """
    module, level = call.request.module, call.request.level
    if not all(part.isidentifier() for part in module.split(".")):
        raise Refused(INVALID, f"module: {module[:80]!r} is no module such as twisted_mqtt.stores")
    try:
        _logOf(call).setModuleLevel(module, "" if level == "default" else level)
    except ValueError as error:
        raise Refused(INVALID, f"module: {error}") from None
    return LevelRow(level=level)


@operation(
    "reopen_log",
    "Close the log files, and open what is at their paths now",
    "log reopen",
    Route("POST", "/log/reopen"),
    role="admin",
    text=lambda _: ("ok",),
    refusals=_ELSEWHERE,
)
def reopenLog(call: Call[Nothing]) -> None:
    """
    As SIGUSR1 does.
    """
    _logOf(call).reopen()


OPERATIONS: tuple[Operation, ...] = (
    setLevel,
    primaryLevel,
    listHandlers,
    setHandlerLevel,
    listModules,
    setModuleLevel,
    reopenLog,
)
