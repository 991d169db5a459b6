"""
The process: load, memory, tasks, files, sockets, garbage collection, reactor; and the store (spec/cli.md 11, 17).

EMQ X prints figures of the Erlang VM. The keys stand here for what a Python process has in their place; one that has
nothing in its place is C{n/a}, so that scripts which look for it go on working.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct
from twisted.internet.interfaces import IReactorFDSet, IReactorTime
from twisted.internet.task import deferLater

from twisted_mqtt.operations.operation import Call, Nothing, Operation, operation

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IBroker

Figures: TypeAlias = dict[str, int | float | str]

#: What a figure without a counterpart is.
_NONE: Final = "n/a"
#: Seconds for which load and lag are measured, and between two looks.
_MEASURED: Final = 0.2
_TICK: Final = 0.02

#: Rough bytes of a connected client with its session, of a session alone, of a subscription, a route and a retained
#: message.
_CLIENT: Final = 2600
_SESSION: Final = 1200
_SUBSCRIPTION: Final = 250
_ROUTE: Final = 350
_RETAINED: Final = 600


class StoreRow(Struct, kw_only=True):
    """
    How the store is.
    """

    running_nodes: list[str]
    stopped_nodes: list[str]
    storage_type: str
    bytes: int
    sessions: int
    retained: int
    sequence: int
    stored: int
    status: str


def residentBytes() -> int:
    """
    Memory of the process; its peak where the system does not tell the present.
    """
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return peakBytes()


def peakBytes() -> int:
    """
    The most memory that the process has had.
    """
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def cpuSeconds() -> float:
    """
    Processor time that the process has used.
    """
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def lagOf(clock: IReactorTime, seconds: float) -> float:
    """
    By how many seconds the reactor was late at most, within some seconds.
    """
    worst = 0.0
    end = clock.seconds() + seconds
    while (now := clock.seconds()) < end:
        due = now + _TICK
        await deferLater(clock, _TICK)
        worst = max(worst, clock.seconds() - due)
    return worst


def openFiles() -> int:
    """
    How many descriptors the process has open; 0 where the system does not say. May take a while: call it in a thread.
    """
    try:
        # Linux tells the number since 6.2, without making a list.
        return os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


async def loadFigures(broker: IBroker) -> Figures:
    """
    Load of the machine, of the process, and of the reactor. It takes a fifth of a second.
    """
    loads = os.getloadavg()
    began, used = broker.clock.seconds(), cpuSeconds()
    lag = await lagOf(broker.clock, _MEASURED)
    percent = 100 * (cpuSeconds() - used) / max(broker.clock.seconds() - began, _TICK)
    return {
        "cpu/load1": f"{loads[0]:.2f}",
        "cpu/load5": f"{loads[1]:.2f}",
        "cpu/load15": f"{loads[2]:.2f}",
        "cpu/process_percent": f"{percent:.2f}",
        "reactor/lag_ms": f"{1000 * lag:.2f}",
    }


def memoryFigures(broker: IBroker) -> Figures:
    """
    Bytes. Where C{tracemalloc} does not run, C{processes} and C{ets} are estimates by the number of things.
    """
    resident = residentBytes()
    stats = broker.stats()
    queues = broker.router.switches.queues
    if tracemalloc.is_tracing():
        traced, tracedPeak = tracemalloc.get_traced_memory()
    else:
        away = max(0, stats["sessions"] - stats["connections"])
        traced = tracedPeak = min(resident, stats["connections"] * _CLIENT + away * _SESSION + queues.bytes)
    tables = stats["subscriptions"] * _SUBSCRIPTION + stats["routes"] * _ROUTE + stats["retained"] * _RETAINED
    return {
        "memory/total": resident,
        "memory/processes": tracedPeak,
        "memory/processes_used": traced,
        "memory/system": max(0, resident - traced),
        "memory/atom": _NONE,
        "memory/atom_used": sys.getallocatedblocks(),
        "memory/binary": queues.bytes,
        "memory/code": len(sys.modules),
        "memory/ets": tables,
        "memory/rss_max": peakBytes(),
    }


def processFigures(broker: IBroker) -> Figures:
    """
    Clients, delayed calls, threads.
    """
    settings = broker.settings
    threads = broker.threads
    return {
        "process/limit": settings.broker.max_sessions or _NONE,
        "process/count": len(broker.sessions),
        "tasks/connections": len(broker.clients),
        "tasks/delayed_calls": _delayedCalls(broker),
        "tasks/threads": threading.active_count(),
        "tasks/pool_max": threads.most,
        "tasks/pool_working": threads.working,
        "tasks/pool_queued": threads.waiting,
    }


async def ioFigures(broker: IBroker) -> Figures:
    """
    Descriptors.
    """
    return {
        "io/max_fds": _mostFiles(),
        "io/active_fds": await broker.threads.defer(openFiles),
    }


async def portFigures(call: Call[Nothing]) -> Figures:
    """
    Sockets: connections, and ports that listen.
    """
    ports = [port for port in call.node.ports.values() if port.isOpen]
    return {
        "ports/count": len(ports) + sum(port.connections for port in ports if port.kind not in ("udp", "dtls")),
        "ports/limit": _mostFiles(),
    }


def gcFigures() -> Figures:
    """
    Garbage collection: what the process's collector has counted, by generation.
    """
    found: Figures = {}
    counts, thresholds = gc.get_count(), gc.get_threshold()
    for number, stats in enumerate(gc.get_stats()):
        found[f"gc/gen{number}_count"] = counts[number]
        found[f"gc/gen{number}_threshold"] = thresholds[number]
        found[f"gc/gen{number}_collections"] = stats["collections"]
        found[f"gc/gen{number}_collected"] = stats["collected"]
        found[f"gc/gen{number}_uncollectable"] = stats["uncollectable"]
    found["gc/enabled"] = "true" if gc.isenabled() else "false"
    found["gc/frozen"] = gc.get_freeze_count()
    return found


async def reactorFigures(broker: IBroker) -> Figures:
    """
    The reactor. It takes a fifth of a second.
    """
    reactor = IReactorFDSet(broker.reactor, None)
    lag = await lagOf(broker.clock, _MEASURED)
    slow = broker.hooks.slow
    return {
        "reactor/class": type(broker.reactor).__name__,
        "reactor/readers": _NONE if reactor is None else len(reactor.getReaders()),
        "reactor/writers": _NONE if reactor is None else len(reactor.getWriters()),
        "reactor/delayed_calls": _delayedCalls(broker),
        "reactor/lag_ms": f"{1000 * lag:.2f}",
        "reactor/slow_calls": slow.count,
        "reactor/slow_call_limit_ms": round(1000 * slow.limit) or _NONE,
    }


def _delayedCalls(broker: IBroker) -> int:
    return len(broker.clock.getDelayedCalls())


def _mostFiles() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def pairs(found: Figures, width: int = 24) -> Iterator[str]:
    """
    A line for each, as EMQ X prints them.
    """
    for name, value in found.items():
        yield f"{name:<{width}}: {value}"


@operation("show_vm_load", "Show the load of the machine and of the process", "vm load", text=pairs, role="read")
async def vmLoad(call: Call[Nothing]) -> Figures:
    """
    See L{loadFigures}.
    """
    return await loadFigures(call.broker)


@operation("show_vm_memory", "Show the memory of the process", "vm memory", text=pairs, role="read")
def vmMemory(call: Call[Nothing]) -> Figures:
    """
    See L{memoryFigures}.
    """
    return memoryFigures(call.broker)


@operation("show_vm_process", "Show clients, delayed calls and threads", "vm process", text=pairs, role="read")
def vmProcess(call: Call[Nothing]) -> Figures:
    """
    See L{processFigures}.
    """
    return processFigures(call.broker)


@operation("show_vm_io", "Show the open files of the process", "vm io", text=pairs, role="read")
async def vmIO(call: Call[Nothing]) -> Figures:
    """
    See L{ioFigures}.
    """
    return await ioFigures(call.broker)


@operation("show_vm_ports", "Show the sockets of the process", "vm ports", text=pairs, role="read")
async def vmPorts(call: Call[Nothing]) -> Figures:
    """
    See L{portFigures}.
    """
    return await portFigures(call)


@operation("show_vm_gc", "Show what the garbage collector has done", "vm gc", text=pairs, role="read")
def vmGC(call: Call[Nothing]) -> Figures:
    """
    See L{gcFigures}.
    """
    return gcFigures()


@operation("show_vm_reactor", "Show how the reactor is", "vm reactor", text=pairs, role="read")
async def vmReactor(call: Call[Nothing]) -> Figures:
    """
    See L{reactorFigures}.
    """
    return await reactorFigures(call.broker)


@operation(
    "show_vm",
    "Show load, memory, tasks, files and sockets of the process",
    "vm all",
    aliases=("vm",),
    text=pairs,
    role="read",
)
async def vmAll(call: Call[Nothing]) -> Figures:
    """
    The groups that EMQ X has, in its order.
    """
    return {
        **await loadFigures(call.broker),
        **memoryFigures(call.broker),
        **processFigures(call.broker),
        **await ioFigures(call.broker),
        **await portFigures(call),
    }


def _storeLines(row: StoreRow) -> Iterator[str]:
    for name in row.__struct_fields__:
        value = getattr(row, name)
        yield f"{name:<24}: {', '.join(value) if isinstance(value, list) else value}"


@operation(
    "show_store",
    "Show how the store is, where EMQ X has Mnesia",
    "store status",
    aliases=("mnesia",),
    text=_storeLines,
    role="read",
)
def showStore(call: Call[Nothing]) -> StoreRow:
    """
    Of this node.
    """
    broker = call.broker
    store = broker.store
    progress = store.progress
    status = "failed" if progress.failed else "full" if progress.full else "behind" if progress.congested else "running"
    return StoreRow(
        running_nodes=[broker.nodeName],
        stopped_nodes=[],
        storage_type="disc" if store.durable else "ram",
        bytes=store.size,
        sessions=len(broker.sessions),
        retained=broker.stats()["retained"],
        sequence=progress.sequence,
        stored=progress.stored,
        status=status,
    )


OPERATIONS: tuple[Operation, ...] = (
    vmAll,
    vmLoad,
    vmMemory,
    vmProcess,
    vmIO,
    vmPorts,
    vmGC,
    vmReactor,
    showStore,
)
