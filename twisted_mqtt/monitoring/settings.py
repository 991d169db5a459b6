"""
The tables C{[graphite]} and C{[statsd]} (spec/vernemq.md 18, MON-07; spec/hooks-modules-sys.md 6.3).
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from msgspec import Struct, field

from twisted_mqtt.config.grammar import Grammar, Unfit, parseDuration, text, whole, writeDuration
from twisted_mqtt.config.keys import Flag, NoEffect, Positive

# Where names of metrics begin: words that nobody has to escape.
_PREFIX: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|")
_API_KEY: Final = re.compile(r"[A-Za-z0-9_.-]*")
_TAG: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_HOST: Final = re.compile(r"[A-Za-z0-9_.:-]{0,253}")


def _parseSpan(value: object) -> float:
    seconds = parseDuration(value)
    if not 0.1 <= seconds <= 86400:
        raise Unfit
    return seconds


def _matching(name: str, wants: str, pattern: re.Pattern[str], most: int = 100) -> Grammar[str]:
    def parse(value: object) -> str:
        written = text(value)
        if len(written) > most or not pattern.fullmatch(written):
            raise Unfit
        return written

    return Grammar(name, wants, parse)


def _parseServer(value: object) -> str:
    written = text(value).strip()
    try:
        parts = urlsplit(written)
        isFit = parts.scheme in ("http", "https") and parts.hostname is not None and parts.port != 0
    except ValueError:
        isFit = False
    if not isFit or parts.query or parts.fragment or not written.isascii() or not written.isprintable():
        raise Unfit
    if "@" in parts.netloc:
        raise Unfit("must not have a user name: the push gateway is asked without")
    if " " in written:
        raise Unfit
    return written.rstrip("/")


#: Seconds between two samples, or until something has to have been done.
SPAN: Final = Grammar("duration", 'a duration from 0.1 s to a day, such as "15s"', _parseSpan, writeDuration)
PREFIX: Final = _matching("words", "letters, digits, _ and -, with dots between the words", _PREFIX)
API_KEY: Final = _matching("API key", "letters, digits, _, - and dots", _API_KEY, 200)
TAG: Final = _matching("tag", "1 to 100 letters, digits, _, - and dots", _TAG)
HOST: Final = _matching("host", "a name or an address without a port, such as 127.0.0.1", _HOST, 253)
SERVER: Final = Grammar("URL", "a URL, such as http://127.0.0.1:9091", _parseServer)

Span: TypeAlias = Annotated[float, SPAN]
Host: TypeAlias = Annotated[str, HOST]
RemotePort: TypeAlias = Annotated[int, whole(1, 65535)]
MetricNames: TypeAlias = Literal["emqx", "nanomq", "vernemq"]


class GraphiteSettings(Struct, frozen=True, kw_only=True):
    """
    C{[graphite]}.
    """

    host: Annotated[Host, "Where carbon, or what takes its lines, listens"] = "localhost"
    port: Annotated[RemotePort, "Its port for lines of text"] = 2003
    interval: Annotated[Span, "Time between two samples"] = 20.0
    api_key: Annotated[str, API_KEY, "What each name begins with at a provider of Graphite; empty for none"] = ""
    prefix: Annotated[
        str, PREFIX, "What each name begins with, behind the API key, such as `vmq`; empty for nothing"
    ] = ""
    connect_timeout: Annotated[Span, "Time for a connection to come about"] = 5.0
    reconnect_timeout: Annotated[
        Span, "Longest time between two attempts to connect: the first ones follow after 1, 2, 4, ... seconds"
    ] = 15.0
    include_labels: Annotated[
        Flag,
        "Whether there is a line for each combination of labels, `<name>.<label>_<value>`, beside that of their sum",
    ] = False
    metric_names: Annotated[MetricNames, "Whose names metrics have, with dots between the words"] = "vernemq"


class Tag(Struct, frozen=True, kw_only=True):
    """
    C{[statsd.tag.<name>]}.
    """

    name: str = ""
    key: Annotated[str, TAG, "Its name"]
    value: Annotated[str, TAG, "Its value"]


class GatewaySettings(Struct, frozen=True, kw_only=True):
    """
    C{[statsd.push.gateway]}.
    """

    server: Annotated[
        str | None, SERVER, "Where metrics are pushed to in the form of Prometheus, such as `http://127.0.0.1:9091`"
    ] = None


class PushSettings(Struct, frozen=True, kw_only=True):
    """
    C{[statsd.push]}.
    """

    gateway: Annotated[GatewaySettings, "The push gateway of Prometheus"] = field(default_factory=GatewaySettings)


class StatsDSettings(Struct, frozen=True, kw_only=True):
    """
    C{[statsd]}.
    """

    host: Annotated[
        Host | None,
        "Where StatsD listens. If nothing is said it is 127.0.0.1; where there is a push gateway, nothing is sent to "
        "StatsD then",
    ] = None
    port: Annotated[RemotePort, "Its UDP port"] = 8125
    prefix: Annotated[str, PREFIX, "What each name begins with"] = "emqx"
    tag: Annotated[
        dict[str, Tag], "Tags of all metrics, under names of your choice such as 1; not every StatsD has tags"
    ] = field(default_factory=dict)
    batch_size: Annotated[Positive, "Most metrics in a datagram; it has 1,400 bytes at most"] = 10
    sample_time_interval: Annotated[Span, "Time between two samples"] = 10.0
    flush_time_interval: Annotated[
        Span, NoEffect("a sample is sent as soon as it is made"), "Time after which what is left is sent"
    ] = 10.0
    include_labels: Annotated[
        Flag, "Whether there is a value for each combination of labels, as tags, in place of their sum"
    ] = False
    metric_names: Annotated[
        MetricNames, "Whose names metrics have, at StatsD with dots between the words and at the push gateway with `_`"
    ] = "emqx"
    push: Annotated[PushSettings, "Pushing to Prometheus"] = field(default_factory=PushSettings)
    interval: Annotated[Span, "Time between two pushes"] = 15.0
