"""
The commands C{recon ...} (spec/cli.md 16, 17; spec/hooks-modules-sys.md 11).

None holds the reactor for more than five milliseconds, however many clients there are, unless it is forced to.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from msgspec import Meta, Struct
from twisted.internet.task import deferLater

from twisted_mqtt.base.slowcalls import describe
from twisted_mqtt.monitoring.recon.objects import MOST_HELD, Kinds, collectionTime, countAll, listingTime
from twisted_mqtt.monitoring.recon.stacks import placesNow, sampled
from twisted_mqtt.operations.operation import INVALID, Call, Nothing, Operation, Refused, operation

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IBroker, ISession

Figures: TypeAlias = dict[str, int | float]
By: TypeAlias = Literal["mqueue_len", "inflight", "recv_msg", "send_msg", "recv_oct", "send_oct", "subscriptions"]

#: Rough bytes of a block of memory of Python, where nothing traces them.
_BLOCK: Final = 80
#: Timers that are looked at.
_MOST_TIMERS: Final = 20_000


class _Peaks:
    """
    The most that was seen of each figure.
    """

    def __init__(self) -> None:
        self._most: dict[str, int] = {}

    def of(self, name: str, value: int) -> int:
        """
        Note a value; returns the greatest so far.
        """
        most = self._most[name] = max(value, self._most.get(name, 0))
        return most


class Forced(Struct, kw_only=True):
    """
    Whether it may hold the reactor.
    """

    force: Annotated[bool, Meta(description="Do it although all clients have to wait meanwhile")] = False
    top: Annotated[int, Meta(ge=1, le=10_000, description="How many kinds are shown")] = 100


class Sampling(Struct, kw_only=True):
    """
    How often to look.
    """

    samples: Annotated[int, Meta(ge=1, le=60, description="How many samples")] = 10
    interval: Annotated[int, Meta(ge=10, le=60_000, description="Milliseconds between two")] = 1000


class Ranking(Struct, kw_only=True):
    """
    Which sessions, in which order.
    """

    by: Annotated[By, Meta(description="What the order is by; figures of zones without enable_stats are 0")] = (
        "mqueue_len"
    )
    limit: Annotated[int, Meta(ge=1, le=10_000, description="How many")] = 10


class StackSampling(Struct, kw_only=True):
    """
    How long to look.
    """

    seconds: Annotated[int, Meta(ge=1, le=50, description="For how long")] = 2
    interval: Annotated[int, Meta(ge=1, le=1000, description="Milliseconds between two looks")] = 10
    limit: Annotated[int, Meta(ge=1, le=1000, description="How many stacks are shown")] = 10


class KindRow(Struct, kw_only=True):
    """
    Objects of a kind.
    """

    kind: str
    count: int
    bytes: int


class LeakRow(Struct, kw_only=True):
    """
    What a garbage collection has done to objects of a kind.
    """

    kind: str
    delta: int


class RankRow(Struct, kw_only=True):
    """
    A session.
    """

    clientid: str
    username: str
    connected: bool
    value: int


class TimerRow(Struct, kw_only=True):
    """
    Delayed calls of one function.
    """

    function: str
    count: int
    next_in: float


class ThreadRow(Struct, kw_only=True):
    """
    A thread.
    """

    name: str
    where: str


class StackRow(Struct, kw_only=True):
    """
    A stack that was seen.
    """

    percent: float
    count: int
    frames: list[str]


class Sample(Struct, kw_only=True):
    """
    How the node is, and what it has done since the sample before.
    """

    absolutes: Figures
    increments: Figures


def _pairs(found: Figures) -> Iterator[str]:
    for name, value in found.items():
        yield f"{name:<20}: {value}"


def _terms(samples: list[Sample]) -> Iterator[str]:
    for sample in samples:
        parts = (
            ",".join(f"{{{name},{value}}}" for name, value in figures.items())
            for figures in (sample.absolutes, sample.increments)
        )
        yield f"{{[{'],['.join(parts)}]}}"


def _mustHold(seconds: float, forced: bool, what: str) -> None:
    if seconds > MOST_HELD and not forced:
        raise Refused(
            INVALID,
            f"force: {what} holds up all clients for about {1000 * seconds:.0f} ms; --force true does it all the same",
        )


def _resident() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _sizeOf(thing: object, seen: set[int]) -> int:
    """
    Bytes of an object and of what is directly in it, each counted once.
    """
    if thing is None or id(thing) in seen:
        return 0
    seen.add(id(thing))
    return sys.getsizeof(thing)


class ReconOperations:
    """
    The operations.
    """

    def __init__(self) -> None:
        self._peaks = _Peaks()

    def all(self) -> tuple[Operation, ...]:
        """
        All of them.
        """
        return (*self._forMemory(), *self._forWork())

    def _forMemory(self) -> tuple[Operation, ...]:
        peaks = self._peaks

        @operation(
            "recon_memory",
            "Show how much of the memory that the process has is in use",
            "recon memory",
            text=_pairs,
            role="read",
        )
        def memory(call: Call[Nothing]) -> Figures:
            allocated = _resident()
            if tracemalloc.is_tracing():
                used, usedMost = tracemalloc.get_traced_memory()
            else:
                used = min(allocated, sys.getallocatedblocks() * _BLOCK)
                usedMost = peaks.of("used", used)
            allocatedMost = max(allocated, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
            unused = max(0, allocated - used)
            return {
                "usage/current": used / allocated,
                "usage/max": usedMost / allocatedMost,
                "used/current": used,
                "used/max": usedMost,
                "allocated/current": allocated,
                "allocated/max": allocatedMost,
                "unused/current": unused,
                "unused/max": peaks.of("unused", unused),
            }

        @operation(
            "recon_allocated",
            "Show the memory of sessions and what belongs to them, by kind",
            "recon allocated",
            text=_pairs,
            role="read",
        )
        async def allocated(call: Call[Nothing]) -> Figures:
            # The column of EMQ X has room for names of six letters.
            sizes = dict.fromkeys(("client", "sess", "conn", "subs", "queue", "flight"), 0)
            broker = call.broker
            async for session in broker.directory.sessions():
                _addSession(sizes, session)
            stats = broker.stats()
            sizes["bytes"] = broker.router.switches.queues.bytes
            # Which ones there are is known, and going through all of a tree would not tell more.
            sizes["retain"] = stats["retained"] * 600
            sizes["route"] = stats["routes"] * 350
            current = {f"{name}_alloc/current": size for name, size in sizes.items()}
            most = {f"{name}_alloc/max": peaks.of(f"{name}_alloc", size) for name, size in sizes.items()}
            return {**current, **most}

        @operation(
            "recon_objects",
            "Count all objects of the process by kind",
            "recon objects",
            text=lambda rows: (f"{row.bytes:>12} {row.count:>10}  {row.kind}" for row in rows),
            role="admin",
        )
        async def objects(call: Call[Forced]) -> list[KindRow]:
            _mustHold(listingTime(), call.request.force, "listing all objects")
            found = (await countAll(call.broker.clock)).counts
            rows = [KindRow(kind=kind, count=count, bytes=size) for kind, (count, size) in found.items()]
            return sorted(rows, key=lambda row: -row.bytes)[: call.request.top]

        @operation(
            "recon_gc",
            "Collect garbage",
            "recon gc",
            text=lambda found: (f"{found['objects']} objects in {found['milliseconds']} ms",),
            role="admin",
        )
        def collect(call: Call[Forced]) -> Figures:
            _mustHold(collectionTime(), call.request.force, "a full garbage collection")
            began = perf_counter()
            count = gc.collect()
            return {"objects": count, "milliseconds": round(1000 * (perf_counter() - began), 3)}

        @operation(
            "recon_bin_leak",
            "Collect garbage, and show of which kinds of objects there were most",
            "recon bin_leak",
            text=lambda rows: (f"{{'{row.kind}',{row.delta}}}" for row in rows),
            role="admin",
        )
        async def binLeak(call: Call[Forced]) -> list[LeakRow]:
            _mustHold(collectionTime() + 2 * listingTime(), call.request.force, "a full garbage collection")
            clock = call.broker.clock
            before = await countAll(clock)
            gc.collect()
            after = await countAll(clock)
            return _deltas(before, after)[: call.request.top]

        return (memory, allocated, objects, collect, binLeak)

    def _forWork(self) -> tuple[Operation, ...]:
        @operation(
            "recon_node_stats",
            "Look at what the node does, sample by sample",
            "recon node_stats",
            text=_terms,
            role="read",
        )
        async def nodeStats(call: Call[Sampling]) -> list[Sample]:
            broker, wanted = call.broker, call.request
            samples = []
            before = _increments(broker)
            for _ in range(wanted.samples):
                due = broker.clock.seconds() + wanted.interval / 1000
                await deferLater(broker.clock, wanted.interval / 1000)
                lag = max(0.0, broker.clock.seconds() - due)
                now = _increments(broker)
                increments: Figures = {name: round(now[name] - before[name], 3) for name in now}
                increments["lag_ms"] = round(1000 * lag, 3)
                samples.append(Sample(absolutes=_absolutes(broker), increments=increments))
                before = now
            return samples

        @operation(
            "recon_top",
            "Show the sessions with the longest queues, or the busiest clients",
            "recon top",
            positional=("by",),
            text=lambda rows: (f"{row.value:>12}  {row.clientid}" for row in rows),
            example="recv_msg",
            role="read",
        )
        async def top(call: Call[Ranking]) -> list[RankRow]:
            by = call.request.by

            def key(session: ISession) -> int:
                return _valueOf(session, by)

            found = await call.broker.directory.sessions(key=key, reverse=True).next(call.request.limit)
            return [
                RankRow(
                    clientid=session.clientID,
                    username=session.username or "",
                    connected=session.online,
                    value=key(session),
                )
                for session in found
            ]

        @operation(
            "recon_timers",
            "Show what is to be called later, by function",
            "recon timers",
            text=lambda rows: (f"{row.count:>8} {row.next_in:>10.3f} s  {row.function}" for row in rows),
            role="read",
        )
        def timers(call: Call[Nothing]) -> list[TimerRow]:
            clock = call.broker.clock
            counts: Counter[str] = Counter()
            first: dict[str, float] = {}
            for delayed in clock.getDelayedCalls()[:_MOST_TIMERS]:
                name = describe(getattr(delayed, "func", delayed))
                counts[name] += 1
                first[name] = min(first.get(name, delayed.getTime()), delayed.getTime())
            now = clock.seconds()
            return [
                TimerRow(function=name, count=count, next_in=round(first[name] - now, 3))
                for name, count in counts.most_common(100)
            ]

        @operation(
            "recon_threads",
            "Show the threads of the process, and where each is",
            "recon threads",
            text=lambda rows: (f"{row.name:<40}: {row.where}" for row in rows),
            role="read",
        )
        def threads(call: Call[Nothing]) -> list[ThreadRow]:
            return [ThreadRow(name=name, where=where) for name, where in placesNow()]

        @operation(
            "recon_stacks",
            "Look for some seconds at where the reactor is, and show the stacks that were seen most",
            "recon stacks",
            text=_stackLines,
            role="read",
        )
        async def stacks(call: Call[StackSampling]) -> list[StackRow]:
            wanted = call.request
            count, seen = await call.broker.threads.defer(
                sampled, threading.get_ident(), wanted.seconds, wanted.interval / 1000
            )
            return [
                StackRow(percent=round(100 * times / max(1, count), 1), count=times, frames=list(stack))
                for stack, times in seen.most_common(wanted.limit)
            ]

        return (nodeStats, top, timers, threads, stacks)


def _valueOf(session: ISession, by: By) -> int:
    if by == "mqueue_len":
        return session.queueLength
    return len(session.subscriptions) if by == "subscriptions" else session.info.stats().get(by, 0)


def _stackLines(rows: list[StackRow]) -> Iterator[str]:
    for row in rows:
        yield f"{row.percent:5.1f} % ({row.count})"
        for frame in row.frames:
            yield f"    {frame}"


def _addSession(sizes: dict[str, int], session: ISession) -> None:
    seen: set[int] = set()
    client = session.info
    sizes["sess"] += _sizeOf(session, seen)
    sizes["client"] += _sizeOf(client, seen)
    sizes["conn"] += _sizeOf(getattr(client, "connection", None), seen)
    sizes["subs"] += _sizeOf(session.subscriptions, seen)
    for subscription in list(session.subscriptions.values())[:100]:
        sizes["subs"] += _sizeOf(subscription, seen)
    sizes["queue"] += _sizeOf(getattr(session, "queue", None), seen) + 200 * session.queueLength
    sizes["flight"] += _sizeOf(getattr(session, "inflight", None), seen)


def _deltas(before: Kinds, after: Kinds) -> list[LeakRow]:
    found = []
    for kind, (count, _) in before.counts.items():
        delta = after.counts.get(kind, [0, 0])[0] - count
        if delta:
            found.append(LeakRow(kind=kind, delta=delta))
    return sorted(found, key=lambda row: row.delta)


def _absolutes(broker: IBroker) -> Figures:
    return {
        "process_count": len(broker.sessions),
        "connections": len(broker.clients),
        "run_queue": broker.threads.waiting,
        "threads_working": broker.threads.working,
        "delayed_calls": len(broker.clock.getDelayedCalls()),
        "memory_total": _resident(),
        "memory_bin": broker.router.switches.queues.bytes,
    }


def _increments(broker: IBroker) -> Figures:
    used = resource.getrusage(resource.RUSAGE_SELF)
    stats = gc.get_stats()
    return {
        "bytes_in": broker.counters.bytes_received,
        "bytes_out": broker.counters.bytes_sent,
        "gc_count": sum(generation["collections"] for generation in stats),
        "gc_objects_reclaimed": sum(generation["collected"] for generation in stats),
        "cpu_seconds": used.ru_utime + used.ru_stime,
    }


def declared() -> tuple[Operation, ...]:
    """
    The operations, to be described and not called.
    """
    return ReconOperations().all()
