"""
What can be asked of traces: EMQ X's commands (spec/cli.md 13), VerneMQ's live trace (spec/vernemq.md 21), and the calls
by which later releases of EMQ X keep traces by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

from msgspec import Meta, Struct

from twisted_mqtt.monitoring.trace.sinks import FileSink
from twisted_mqtt.monitoring.trace.tracer import sizeOf
from twisted_mqtt.monitoring.trace.traces import Kind, Level
from twisted_mqtt.operations.operation import (
    INVALID,
    MISSING,
    UNKNOWN,
    Call,
    NotFound,
    Nothing,
    Operation,
    Raw,
    Refused,
    Route,
    Stream,
    operation,
)

if TYPE_CHECKING:
    from twisted_mqtt.monitoring.trace.tracer import Tracer
    from twisted_mqtt.monitoring.trace.traces import Trace

_T = TypeVar("_T")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
#: Bytes that one call reads of a trace at most.
_MOST_READ: Final = 1048576


class _Start(Struct, kw_only=True):
    file: Annotated[str, Meta(description="A file below the folder of traces (`trace.dir`)")]
    level: Annotated[Level, Meta(description="The least important events that it has")] = "debug"


class StartClientTrace(_Start, kw_only=True):
    """
    Whom to trace, and where to.
    """

    clientid: Annotated[str, Meta(description="Client identifier")]


class StartTopicTrace(_Start, kw_only=True):
    """
    Which messages to trace, and where to.
    """

    topic: Annotated[str, Meta(description="Topic filter, mount points included")]


class StartAddressTrace(_Start, kw_only=True):
    """
    Whom to trace, and where to.
    """

    ip_address: Annotated[str, Meta(description="Address of clients")]


class OneClient(Struct, kw_only=True):
    """
    A client.
    """

    clientid: Annotated[str, Meta(description="Client identifier")]


class OneTopic(Struct, kw_only=True):
    """
    A topic filter.
    """

    topic: Annotated[str, Meta(description="Topic filter")]


class OneAddress(Struct, kw_only=True):
    """
    An address.
    """

    ip_address: Annotated[str, Meta(description="Address of clients")]


class _Live(Struct, kw_only=True):
    level: Annotated[Level, Meta(description="The least important events that are shown")] = "debug"
    rate_max: Annotated[int, Meta(ge=0, le=1_000_000, description="Packets within the interval at which it ends")] = 0
    rate_interval: Annotated[
        int, Meta(ge=0, le=3_600_000, description="That interval in milliseconds; both as configured by default")
    ] = 0
    trunc_payload: Annotated[
        int, Meta(ge=-1, le=1_048_576, description="Bytes of a payload that are shown; -1 as configured")
    ] = -1


class LiveClientTrace(_Live, kw_only=True):
    """
    Whom to look at.
    """

    clientid: Annotated[str, Meta(description="Client identifier; VerneMQ's form client-id=ID is understood")]


class LiveTopicTrace(_Live, kw_only=True):
    """
    Which messages to look at.
    """

    topic: Annotated[str, Meta(description="Topic filter, mount points included")]


class LiveAddressTrace(_Live, kw_only=True):
    """
    Whom to look at.
    """

    ip_address: Annotated[str, Meta(description="Address of clients")]


class NewTrace(Struct, kw_only=True):
    """
    A trace by name.
    """

    name: Annotated[str, Meta(description="Letters, digits, - and _; its file is trace_NAME.log")]
    type: Annotated[Kind, Meta(description="What it is by")]
    clientid: Annotated[str, Meta(description="Of type clientid: whom")] = ""
    topic: Annotated[str, Meta(description="Of type topic: which messages")] = ""
    ip_address: Annotated[str, Meta(description="Of type ip_address: whose")] = ""
    level: Annotated[Level, Meta(description="The least important events that it has")] = "debug"
    duration: Annotated[int, Meta(ge=0, le=604_800, description="Seconds after which it ends; 0 for none")] = 0


class OneTrace(Struct, kw_only=True):
    """
    A trace.
    """

    name: Annotated[str, Meta(description="Its name")]


class TracePart(Struct, kw_only=True):
    """
    A part of the file of a trace.
    """

    name: Annotated[str, Meta(description="Its name")]
    position: Annotated[int, Meta(ge=0, description="The byte to begin with")] = 0
    bytes: Annotated[int, Meta(ge=1, le=_MOST_READ, description="How many bytes at most")] = 1000


class TraceRow(Struct, kw_only=True):
    """
    A trace.
    """

    name: str
    type: str
    clientid: str = ""
    topic: str = ""
    ip_address: str = ""
    level: str
    status: str
    destination: str
    log_size: int
    events: int
    left_out: int
    start_at: float
    end_at: float
    reason: str


class PartMeta(Struct, kw_only=True):
    """
    Where a part ends.
    """

    position: int
    bytes: int


class TraceText(Struct, kw_only=True):
    """
    A part of the file of a trace.
    """

    meta: PartMeta
    items: str


def _rowOf(trace: Trace) -> TraceRow:
    row = TraceRow(
        name=trace.name,
        type=trace.kind,
        level=trace.level,
        status="stopped" if trace.why else "running",
        destination=trace.destination or "live",
        log_size=sizeOf(trace),
        events=trace.written,
        left_out=trace.leftOut,
        start_at=trace.startedAt,
        end_at=trace.endedAt,
        reason=trace.why,
    )
    setattr(row, trace.kind, trace.value)
    return row


def _lines(rows: list[TraceRow]) -> Iterator[str]:
    for row in rows:
        if row.status == "running":
            value = row.clientid or row.topic or row.ip_address
            yield f'Trace({row.type}={value}, level={row.level}, destination="{row.destination}")'


class TraceOperations:
    """
    The operations, for one tracer.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def all(self) -> tuple[Operation, ...]:
        """
        All of them.
        """
        return (*self._forFiles(), *self._live(), *self._byName())

    def _forFiles(self) -> tuple[Operation, ...]:
        tracer = self._tracer

        @operation(
            "start_client_trace",
            "Write all that a client sends and is sent to a file, with what hooks say to it",
            "trace start client",
            positional=("clientid", "file", "level"),
            role="write",
            text=lambda row: (f"trace clientid {row.clientid} successfully",),
            example="meter-1 log/meter-1_trace.log",
        )
        async def startClient(call: Call[StartClientTrace]) -> TraceRow:
            wanted = call.request
            return _rowOf(await tracer.startFile("clientid", wanted.clientid, wanted.file, wanted.level))

        @operation(
            "start_topic_trace",
            "Write all that is published to a topic to a file",
            "trace start topic",
            positional=("topic", "file", "level"),
            role="write",
            text=lambda row: (f"trace topic {row.topic} successfully",),
            example="site/# log/site_trace.log",
        )
        async def startTopic(call: Call[StartTopicTrace]) -> TraceRow:
            wanted = call.request
            return _rowOf(await tracer.startFile("topic", wanted.topic, wanted.file, wanted.level))

        @operation(
            "start_address_trace",
            "Write all that the clients of an address send and are sent to a file",
            "trace start ip_address",
            positional=("ip_address", "file", "level"),
            role="write",
            text=lambda row: (f"trace ip_address {row.ip_address} successfully",),
            example="192.0.2.7 log/device_trace.log",
        )
        async def startAddress(call: Call[StartAddressTrace]) -> TraceRow:
            wanted = call.request
            return _rowOf(await tracer.startFile("ip_address", wanted.ip_address, wanted.file, wanted.level))

        async def stop(kind: Kind, value: str) -> TraceRow:
            trace = tracer.find(kind, value)
            closing = tracer.end(trace)
            if closing is not None:
                await closing
            return _rowOf(trace)

        @operation(
            "stop_client_trace",
            "End the trace of a client",
            "trace stop client",
            positional=("clientid",),
            role="write",
            text=lambda row: (f"stop tracing clientid {row.clientid} successfully",),
        )
        async def stopClient(call: Call[OneClient]) -> TraceRow:
            return await stop("clientid", call.request.clientid)

        @operation(
            "stop_topic_trace",
            "End the trace of a topic",
            "trace stop topic",
            positional=("topic",),
            role="write",
            text=lambda row: (f"stop tracing topic {row.topic} successfully",),
        )
        async def stopTopic(call: Call[OneTopic]) -> TraceRow:
            return await stop("topic", call.request.topic)

        @operation(
            "stop_address_trace",
            "End the trace of an address",
            "trace stop ip_address",
            positional=("ip_address",),
            role="write",
            text=lambda row: (f"stop tracing ip_address {row.ip_address} successfully",),
        )
        async def stopAddress(call: Call[OneAddress]) -> TraceRow:
            return await stop("ip_address", call.request.ip_address)

        return (startClient, startTopic, startAddress, stopClient, stopTopic, stopAddress)

    def _live(self) -> tuple[Operation, ...]:
        tracer = self._tracer

        def look(kind: Kind, value: str, wanted: _Live) -> Stream:
            settings = tracer.settings
            rate = (wanted.rate_max or settings.rate_max, wanted.rate_interval / 1000 or settings.rate_interval)
            limit = settings.payload_limit if wanted.trunc_payload < 0 else wanted.trunc_payload
            sink = tracer.startLive(kind, value, wanted.level, rate, limit)
            return Stream("text/event-stream; charset=utf-8", sink.pieces())

        @operation(
            "look_at_client",
            "Show what a client sends and is sent, as it happens",
            "trace client",
            Route("GET", "/trace_live/clientid/:clientid"),
            positional=("clientid",),
            example="meter-1",
            media="text/event-stream",
        )
        def lookAtClient(call: Call[LiveClientTrace]) -> Stream:
            return look("clientid", call.request.clientid.removeprefix("client-id="), call.request)

        @operation(
            "look_at_topic",
            "Show what is published to a topic, as it happens",
            "trace topic",
            Route("GET", "/trace_live/topic/:topic"),
            positional=("topic",),
            example="site/#",
            media="text/event-stream",
        )
        def lookAtTopic(call: Call[LiveTopicTrace]) -> Stream:
            return look("topic", call.request.topic, call.request)

        @operation(
            "look_at_address",
            "Show what the clients of an address send and are sent, as it happens",
            "trace ip_address",
            Route("GET", "/trace_live/ip_address/:ip_address"),
            positional=("ip_address",),
            example="192.0.2.7",
            media="text/event-stream",
        )
        def lookAtAddress(call: Call[LiveAddressTrace]) -> Stream:
            return look("ip_address", call.request.ip_address, call.request)

        return (lookAtClient, lookAtTopic, lookAtAddress)

    def _byName(self) -> tuple[Operation, ...]:
        tracer = self._tracer

        async def end(trace: Trace) -> None:
            closing = tracer.end(trace)
            if closing is not None:
                await closing

        async def remove(trace: Trace, call: Call[OneTrace] | Call[Nothing]) -> None:
            await end(trace)
            tracer.past.pop(trace.name, None)
            sink = trace.sink
            if isinstance(sink, FileSink) and not tracer.writesTo(sink.opened.path):
                await onFile(sink, partial(sink.opened.path.unlink, missing_ok=True), call)

        def fileOf(name: str) -> FileSink:
            sink = tracer.byName(name).sink
            if not isinstance(sink, FileSink):
                raise NotFound(f"name: the trace {name[:80]!r} has no file")
            return sink

        async def onFile(
            sink: FileSink, do: Callable[[], _T], call: Call[OneTrace] | Call[TracePart] | Call[Nothing]
        ) -> _T:
            try:
                return await call.broker.threads.defer(do)
            except FileNotFoundError:
                raise NotFound(f"name: the file {sink.opened.path.name!r} was moved or deleted") from None
            except OSError as error:
                raise Refused(UNKNOWN, f"name: {sink.opened.path.name!r}: {error.strerror}", 500) from None

        @operation(
            "list_traces",
            "List the traces",
            "trace list",
            Route("GET", "/trace"),
            aliases=("trace",),
            text=_lines,
        )
        def listTraces(call: Call[Nothing]) -> list[TraceRow]:
            return [_rowOf(trace) for trace in (*tracer.running.values(), *tracer.past.values())]

        @operation("create_trace", "Begin a trace that has a name", "", Route("POST", "/trace"), role="write")
        async def create(call: Call[NewTrace]) -> TraceRow:
            wanted = call.request
            if not _NAME.fullmatch(wanted.name):
                raise Refused(INVALID, f"name: {wanted.name[:80]!r}: letters, digits, - and _ are expected")
            value: str = getattr(wanted, wanted.type)
            if not value:
                raise Refused(MISSING, f"{wanted.type}: this parameter is required")
            trace = await tracer.startFile(wanted.type, value, f"trace_{wanted.name}.log", wanted.level, wanted.name)
            if wanted.duration:
                tracer.endLater(trace, wanted.duration)
            return _rowOf(trace)

        @operation(
            "stop_trace",
            "End a trace; its file stays",
            "trace stop name",
            Route("PUT", "/trace/:name/stop"),
            role="write",
            positional=("name",),
            text=lambda row: (f"stop tracing {row.name} successfully",),
        )
        async def stop(call: Call[OneTrace]) -> TraceRow:
            trace = tracer.byName(call.request.name)
            await end(trace)
            return _rowOf(trace)

        @operation(
            "stop_all_traces",
            "End all traces, live ones too",
            "trace stop all",
            role="write",
            aliases=("trace stop_all",),
            text=lambda count: (f"stop tracing {count} successfully",),
        )
        async def stopAll(call: Call[Nothing]) -> int:
            running = list(tracer.running.values())
            for trace in running:
                await end(trace)
            return len(running)

        @operation("delete_trace", "End a trace and delete its file", "", Route("DELETE", "/trace/:name"), role="write")
        async def delete(call: Call[OneTrace]) -> None:
            await remove(tracer.byName(call.request.name), call)

        @operation("clear_traces", "End all traces and delete their files", "", Route("DELETE", "/trace"), role="write")
        async def clear(call: Call[Nothing]) -> None:
            for trace in (*tracer.running.values(), *tracer.past.values()):
                await remove(trace, call)

        @operation("download_trace", "Get the file of a trace", "", Route("GET", "/trace/:name/download"))
        async def download(call: Call[OneTrace]) -> Raw:
            sink = fileOf(call.request.name)
            return Raw("text/plain; charset=utf-8", await onFile(sink, sink.opened.path.read_bytes, call))

        @operation("read_trace", "Read a part of the file of a trace", "", Route("GET", "/trace/:name/log"))
        async def read(call: Call[TracePart]) -> TraceText:
            wanted = call.request
            sink = fileOf(wanted.name)

            def part() -> bytes:
                with open(sink.opened.path, "rb") as file:
                    return os.pread(file.fileno(), wanted.bytes, wanted.position)

            data = await onFile(sink, part, call)
            meta = PartMeta(position=wanted.position + len(data), bytes=len(data))
            return TraceText(meta=meta, items=data.decode("utf-8", "replace"))

        return (listTraces, create, stop, stopAll, delete, clear, download, read)


def declared() -> tuple[Operation, ...]:
    """
    The operations, to be described and not called.
    """
    return TraceOperations(None).all()  # type: ignore[arg-type]  # nobody calls them
