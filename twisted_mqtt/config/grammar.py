"""
The written form of values: parses a value from the file or the environment, and formats it again.

A parser takes text as well as the natural TOML type, because environment variables are all text. It raises L{Unfit} for
anything else; a L{Grammar} says what a correct value would be. Every formatted value parses back to itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Generic, TypeVar

from twisted_mqtt.config.problems import nearest
from twisted_mqtt.config.values import GB, KB, MB, RateLimit

T = TypeVar("T")

_HUGE = 2**63


class Unfit(ValueError):
    """
    A value does not follow its grammar.

    The message, if there is one, says what would be right in place of the grammar's general advice.
    """


class Grammar(Generic[T]):
    """
    One way of writing values.

    @ivar name: the short name that the reference shows.
    @ivar wants: what would be right; completes the sentence "must be ...".
    """

    def __init__(self, name: str, wants: str, parse: Callable[[object], T], write: Callable[[T], str] = str) -> None:
        self.name = name
        self.wants = wants
        self._parse = parse
        self._write = write

    def parse(self, value: object) -> T:
        """
        Read a value.

        @raise Unfit: always with a message that says what would be right.
        """
        try:
            return self._parse(value)
        except Unfit as unfit:
            raise Unfit(str(unfit) or f"must be {self.wants}") from None

    def write(self, value: T) -> str:
        """
        Write a value as a person would in the file, without quotes.
        """
        return self._write(value)


def number(value: object) -> float:
    """
    A plain TOML number, or one written as text.

    @raise Unfit: for a boolean, an infinity, and anything else.
    """
    if isinstance(value, str):
        if not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,30})?", value.strip()):
            raise Unfit
        return float(value) if "." in value else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unfit
    # Infinities and nan, which TOML has, and whole numbers without end, which Python has.
    if not -_HUGE < value < _HUGE:
        raise Unfit
    return value


def text(value: object) -> str:
    """
    A TOML string.
    """
    if not isinstance(value, str):
        raise Unfit
    return value


def natural(value: object, low: int = 0) -> int:
    """
    A whole number as part of a longer value.

    @raise Unfit: without advice: that of the whole value says more.
    """
    parsed = number(value)
    if not isinstance(parsed, int) or parsed < low:
        raise Unfit
    return parsed


def parts(value: object, count: int) -> list[str]:
    """
    The items of a short comma list; an array will do as well.
    """
    if isinstance(value, list):
        items = [str(item).strip() for item in value if isinstance(item, str | int)]
    else:
        items = [item.strip() for item in text(value).split(",")]
    if len(items) != count or not all(items):
        raise Unfit
    return items


_SPAN = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,30})?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]{1,18})\s*(B|KB|MB|GB)?", re.IGNORECASE)
_BYTES = {"": 1, "B": 1, "KB": KB, "MB": MB, "GB": GB}


def parseDuration(value: object) -> float:
    """
    Seconds from C{"1h30m"}, C{"15s"}, C{"15"} or a number.
    """
    if isinstance(value, str):
        written = value.strip().lower()
        if re.fullmatch(rf"(?:{_SPAN.pattern})+", written):
            return sum(float(amount) * _SECONDS[unit] for amount, unit in _SPAN.findall(written))
    seconds = float(number(value))
    if seconds < 0:
        raise Unfit
    return seconds


#: Seconds below which what is done again and again leaves no time for anything else.
_SHORTEST = 0.1


def _parsePeriod(value: object) -> float:
    seconds = parseDuration(value)
    if 0 < seconds < _SHORTEST:
        raise Unfit
    return seconds


def writeDuration(seconds: float) -> str:
    """
    The shortest exact way to write a duration.
    """
    if not seconds:
        return "0"
    for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
        if seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    # All digits of the number, without the exponent that the grammar does not know.
    return f"{Decimal(repr(seconds)):f}s"


def parseSize(value: object) -> int:
    """
    Bytes from C{"64KB"}, C{"1024"} or a whole number.
    """
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        return int(match[1]) * _BYTES[(match[2] or "").upper()]
    size = number(value)
    if not isinstance(size, int) or size < 0:
        raise Unfit
    return size


def writeSize(size: int) -> str:
    """
    The shortest exact way to write a size.
    """
    for unit, factor in (("GB", GB), ("MB", MB), ("KB", KB)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def parseFlag(value: object) -> bool:
    """
    A TOML boolean, or one of the words of the specification.
    """
    if isinstance(value, bool):
        return value
    word = text(value).strip().lower()
    if word in ("on", "true"):
        return True
    if word in ("off", "false"):
        return False
    raise Unfit


def parsePercent(value: object) -> float:
    """
    A fraction from C{"80%"}, C{"80"} or 80.
    """
    plain = number(value[:-1]) if isinstance(value, str) and value.rstrip().endswith("%") else number(value)
    if isinstance(value, float) and 0 < value < 1:
        raise Unfit(f'must be a percentage: "{value * 100:g}%" if that fraction is meant')
    if not 0 <= plain <= 100:
        raise Unfit
    return plain / 100


def writePercent(fraction: float) -> str:
    """
    A fraction as a percentage, without the noise of binary fractions.
    """
    return f"{round(fraction * 100, 9):g}%"


def parseRate(value: object) -> RateLimit:
    """
    A token bucket from C{"100KB,10s"} (amount and window) or C{"100,200"} (per second and burst).
    """
    first, second = parts(value, 2)
    if re.fullmatch(r"[0-9]+", second):
        # The older form; config.md 14, A1: no unit means a burst, not a time.
        limit = RateLimit(parseSize(first), 1.0, parseSize(second))
    else:
        amount = parseSize(first)
        limit = RateLimit(amount, parseDuration(second), amount)
    if not (limit.amount and limit.seconds and limit.burst):
        raise Unfit
    return limit


def parseWindow(value: object) -> RateLimit:
    """
    A token bucket from C{"10,60"}: so many in so many seconds, with or without a unit.
    """
    first, second = parts(value, 2)
    amount = parseSize(first)
    limit = RateLimit(amount, parseDuration(second), amount)
    if not (limit.amount and limit.seconds):
        raise Unfit
    return limit


def writeRate(limit: RateLimit) -> str:
    """
    The form that keeps all three figures.
    """
    if limit.burst == limit.amount:
        return f"{writeSize(limit.amount)},{writeDuration(limit.seconds)}"
    return f"{limit.amount},{limit.burst}"


def whole(low: int = 0, high: int | None = None, *, unit: str = "") -> Grammar[int]:
    """
    Whole numbers within bounds.
    """

    def parse(value: object) -> int:
        parsed = number(value)
        if not isinstance(parsed, int) or parsed < low or (high is not None and parsed > high):
            raise Unfit
        return parsed

    bounds = f"of {low} or more" if high is None else f"from {low} to {high}"
    name = f"whole number, {unit}" if unit else "whole number"
    return Grammar(name if high is None else f"{low} to {high}", f"a whole number {bounds}", parse)


def fraction(low: float, high: float) -> Grammar[float]:
    """
    Numbers within bounds.
    """

    def parse(value: object) -> float:
        parsed = float(number(value))
        if not low <= parsed <= high:
            raise Unfit
        return parsed

    return Grammar(f"{low:g} to {high:g}", f"a number from {low:g} to {high:g}", parse, lambda value: f"{value:g}")


def choice(words: Sequence[str]) -> Grammar[Any]:
    """
    One of a few words, in whatever case it is written.
    """
    known = {word.lower(): word for word in words}
    listed = ", ".join(f'"{word}"' for word in words)

    def parse(value: object) -> str:
        written = text(value).strip().lower()
        try:
            return known[written]
        except KeyError:
            close = nearest(written, known.values())
            hint = f'; the nearest is "{close}"' if close else ""
            raise Unfit(f"must be one of {listed}{hint}") from None

    return Grammar(" | ".join(words), f"one of {listed}", parse)


def listOf(item: Grammar[T], separators: str = ",") -> Grammar[tuple[T, ...]]:
    """
    A TOML array, or one text whose items are separated.
    """

    def parse(value: object) -> tuple[T, ...]:
        if isinstance(value, str):
            pieces: list[object] = [piece.strip() for piece in re.split(f"[{separators}]", value) if value.strip()]
        elif isinstance(value, list):
            pieces = value
        else:
            raise Unfit
        try:
            return tuple(item.parse(piece) for piece in pieces)
        except Unfit as unfit:
            raise Unfit(f"each item {unfit}") from None

    return Grammar(
        f"list of {item.name}",
        f"a list, as an array or separated by commas, each {item.wants}",
        parse,
        lambda values: ",".join(map(item.write, values)),
    )


FLAG = Grammar("flag", "on, off, true or false", parseFlag, lambda flag: "on" if flag else "off")
DURATION = Grammar(
    "duration", 'a time, such as "500ms", "15s", "5m", "2h" or a plain number of seconds', parseDuration, writeDuration
)
PERIOD = Grammar(
    "period", 'a time of 100ms or more, such as "15s" or "5m", or 0 for never', _parsePeriod, writeDuration
)
SIZE = Grammar("size", 'a size, such as "2KB", "1MB" or a plain number of bytes', parseSize, writeSize)
PERCENT = Grammar("percentage", 'a percentage from 0 to 100, such as "80%"', parsePercent, writePercent)
RATE = Grammar(
    "rate", '"<amount>,<time>", such as "100KB,10s", or "<per second>,<burst>", such as "100,200"', parseRate, writeRate
)
WINDOW = Grammar("rate", '"<number>,<time>", such as "10,60s"', parseWindow, writeRate)
WHOLE = whole()
TEXT = Grammar("text", "a text in quotes", text)
NUMBER = fraction(0, 1e9)
