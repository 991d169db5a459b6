"""
A log message as it is written: as a line of text, or as a line of JSON with fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from twisted.logger import LogLevel, eventAsText, formatTime

from twisted_mqtt.base.printable import harmless

if TYPE_CHECKING:
    from twisted.logger import LogEvent

LONGEST: Final = 20_000
"""
Characters of a message that are written.
"""

#: How our levels are called there, with the levels between ours counted to the next more important one.
LEVELS: Final[dict[str, Any]] = {
    "debug": LogLevel.debug,
    "info": LogLevel.info,
    "notice": LogLevel.warn,
    "warning": LogLevel.warn,
    "error": LogLevel.error,
    "critical": LogLevel.critical,
    "alert": LogLevel.critical,
    "emergency": LogLevel.critical,
}

#: The more important, the higher.
RANKS: Final[dict[Any, int]] = {level: rank for rank, level in enumerate(LogLevel.iterconstants())}
_NAMES: Final[tuple[str, ...]] = tuple(level.name for level in LogLevel.iterconstants())
#: The levels of syslog and of the journal, by rank.
SEVERITIES: Final = (7, 6, 4, 3, 2)

# So many fields, and so many characters of each.
_FIELDS: Final = 50
_FIELD: Final = 2000
# What the loggers of Twisted add by themselves.
_NOT_FIELDS: Final = frozenset(("format", "time", "isError", "message", "system", "why", "failure"))

_encode: Final = msgspec.json.Encoder().encode


class Record(NamedTuple):
    """
    A log message.

    @ivar time: its date, in seconds since the epoch.
    @ivar rank: the rank of its level.
    @ivar namespace: the module that says it.
    @ivar system: what stands in brackets before the text.
    @ivar message: the text, with a traceback, if there is one.
    @ivar fields: figures and names, for programs.
    """

    time: float
    rank: int
    namespace: str
    system: str
    message: str
    fields: Mapping[str, object]

    @property
    def level(self) -> str:
        """
        The name of the level.
        """
        return _NAMES[self.rank]


def recordOf(event: LogEvent, rank: int, withFields: bool) -> Record | None:
    """
    Make a record of what a logger says; L{None} where it says nothing.

    @param withFields: whether somebody wants the fields.
    """
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    if not text:
        return None
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}... ({len(text) - LONGEST} characters more)"
    namespace = str(event.get("log_namespace") or "-")
    system = event.get("log_system")
    try:
        system = f"{namespace}#{_NAMES[rank]}" if system is None else str(system)
    except Exception:
        system = "UNFORMATTABLE"
    # Nobody's name may look like a line of ours, or steer the terminal of whoever reads this.
    return Record(
        _dateOf(event),
        rank,
        namespace,
        harmless(system),
        harmless(text),
        _fieldsOf(event) if withFields else {},
    )


def asText(record: Record) -> str:
    """
    A line; further lines of it are indented.
    """
    message = record.message.replace("\n", "\n\t")
    return f"{formatTime(record.time)} [{record.system}] {message}\n"


def asJSON(record: Record) -> str:
    """
    A line with an object.
    """
    date = datetime.fromtimestamp(record.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    content: dict[str, object] = {
        "time": date,
        "level": record.level,
        "logger": record.namespace,
        "message": _whole(record.message),
    }
    if record.fields:
        content["fields"] = record.fields
    return _encode(content).decode("utf-8") + "\n"


def _dateOf(event: LogEvent) -> float:
    date = event.get("log_time")
    # A program may have put anything there. The range is that of dates with four digits.
    return float(date) if isinstance(date, int | float) and 0 <= date < 253_000_000_000 else 0.0


def _fieldsOf(event: LogEvent) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in event.items():
        if not isinstance(name, str) or name.startswith("log_") or name in _NOT_FIELDS or len(fields) >= _FIELDS:
            continue
        if value is None or isinstance(value, bool | int | float):
            # JSON has no larger ones.
            fields[name] = value if not isinstance(value, int) or abs(value) < 1 << 63 else str(value)
        elif isinstance(value, str | BaseException):
            try:
                text = str(value)
            except Exception:
                continue
            fields[name] = _whole(harmless(text[:_FIELD]))
    return fields


def _whole(text: str) -> str:
    """
    A text without halves of characters, which UTF-8 has no form for.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
