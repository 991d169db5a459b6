"""
The log of the process, from the table C{[log]}: which messages go where. See L{twisted_mqtt.process.logsinks} for the
destinations, of which each has a thread, since writing may block: a full disk, a terminal that nobody reads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

from twisted.logger import ILogObserver, LogLevel
from zope.interface import implementer

from twisted_mqtt.interfaces import ILog, LogDestination
from twisted_mqtt.process.logfile import LogFile
from twisted_mqtt.process.logrecord import LEVELS, RANKS, recordOf
from twisted_mqtt.process.logsinks import JournalSink, LogStream, Sink, StreamSink, SyslogSink
from twisted_mqtt.process.logwriter import Writer

if TYPE_CHECKING:
    from twisted.logger import LogEvent

    from twisted_mqtt.config.schema_node import Log

SECONDS_TO_END: Final = 3.0
"""
How long the last lines may take.
"""

#: So many modules may have a level of their own.
MOST_MODULES: Final = 1000

_CACHE: Final = "Unable to write to plugin cache"
# So many names of modules are remembered with their levels.
_KNOWN: Final = 1000
_NOTHING: Final = len(RANKS)


@dataclass(frozen=True)
class _Handler:
    """
    A destination, and what goes there.

    @ivar id: what it is known by.
    @ivar level: the level that the settings give it.
    @ivar extra: whether it has a level of its own, whatever the level of a module is.
    @ivar writer: writes there.
    """

    id: str
    level: str
    extra: bool
    writer: Writer


@dataclass(frozen=True)
class Prepared:
    """
    Opened destinations.

    @ivar settings: by which they were opened.
    @ivar problems: what could not be opened, for a person.
    """

    settings: Log
    handlers: tuple[_Handler, ...]
    problems: list[str]


@implementer(ILogObserver, ILog)
class BrokerLog:
    """
    A log observer that goes by the settings, and by other ones when they change. Any thread may log.

    @ivar changed: called when other levels hold.
    """

    def __init__(self, settings: Log, console: LogStream | None = None) -> None:
        """
        @param console: the console; without one, standard output as it is now.

        @raise OSError: a destination can't be opened.
        """
        self.changed: Callable[[], object] = lambda: None
        stream: LogStream = sys.stdout if console is None else console
        name = stream.path if isinstance(stream, LogFile) else "console"
        self._console = Writer(StreamSink(stream, name, False))
        self._handlers: tuple[_Handler, ...] = ()
        self._settings = settings
        self._running = False
        # Levels that were set at run time: of the primary gate, of handlers by name, of modules by name.
        self._primaryLevel = ""
        self._levels: dict[str, str] = {}
        self._modules: dict[str, str] = {}
        # What follows from all that: the ranks from which messages are taken, in the order of the handlers.
        self._primary = 0
        self._ranks: tuple[int, ...] = ()
        self._moduleRanks: dict[str, int] = {}
        self._knownModules: dict[str, int | None] = {}
        self._least = 0
        self._withFields = False
        # Messages that destinations did not take that there are no more.
        self._leftBefore = 0
        # Those that can't be written and have been told of: one for each folder with plugins.
        self._caches: set[object] = set()
        prepared = self.prepare(settings)
        if prepared.problems:
            raise OSError("; ".join(prepared.problems))
        self.use(prepared)

    @property
    def left(self) -> int:
        """
        How many messages were left out because writing could not keep up.
        """
        return self._leftBefore + sum(writer.left for writer in self._writers())

    def prepare(self, settings: Log) -> Prepared:
        """
        Open what these settings want: it may block. Where that can't be, the handler has its destination of before.
        """
        before = {handler.id: handler for handler in self._handlers}
        byPath = {
            writer.sink.stream.path: writer
            for writer in self._writers()
            if isinstance(writer.sink, StreamSink) and isinstance(writer.sink.stream, LogFile)
        }
        handlers: list[_Handler] = []
        problems: list[str] = []

        def add(id: str, level: str, extra: bool, make: Callable[[], Writer]) -> None:
            try:
                writer = make()
            except OSError as error:
                problems.append(f"{id}: {error}")
                if id not in before:
                    return
                writer = before[id].writer
            handlers.append(_Handler(id, level, extra, writer))

        def file(name: str) -> Writer:
            path = os.path.abspath(os.path.join(settings.dir, name))
            known = byPath.get(path)
            if known is None or not known.sink.stream.isThere():  # type: ignore[attr-defined]  # those of files
                rotation = settings.rotation
                made = LogFile(path, rotation.size, rotation.count, rotation.period)
                known = byPath[path] = Writer(StreamSink(made, path, settings.format == "json"))
            return known

        if settings.to in ("console", "both"):
            add("default", settings.level, False, lambda: self._console)
        if settings.to in ("file", "both"):
            add("file", settings.level, False, lambda: file(settings.file))
        for level in LEVELS:
            extra: str = getattr(settings, level).file
            if extra:
                add(level, level, True, lambda extra=extra: file(extra))  # type: ignore[misc]  # it is called at once
        syslog, journald = settings.syslog, settings.journald
        for id, table, sink in (
            ("syslog", syslog, lambda: SyslogSink(syslog.address, syslog.facility, syslog.format == "rfc5424")),
            ("journald", journald, lambda: JournalSink(journald.socket)),
        ):
            if table.enabled:
                make: Callable[[], Sink] = sink
                known = before.get(id)
                if known is not None and getattr(self._settings, id) == table:
                    add(id, table.level or settings.level, table.level is not None, lambda known=known: known.writer)  # type: ignore[misc]  # likewise
                else:
                    add(id, table.level or settings.level, table.level is not None, lambda make=make: Writer(make()))  # type: ignore[misc]  # likewise
        return Prepared(settings, tuple(handlers), problems)

    def use(self, prepared: Prepared) -> None:
        """
        Go by other settings from now on. What was set at run time holds on, unless the settings of it have changed.
        """
        settings, before = prepared.settings, self._writers()
        if settings.level != self._settings.level:
            self._primaryLevel = ""
            self._levels.clear()
        if settings.modules != self._settings.modules:
            self._modules.clear()
        self._settings = settings
        self._handlers = prepared.handlers
        writers = self._writers()
        for writer in writers:
            sink = writer.sink
            if isinstance(sink, StreamSink):
                sink.setForm(settings.format == "json")
                if isinstance(sink.stream, LogFile) and writer is not self._console:
                    rotation = settings.rotation
                    sink.stream.size, sink.stream.count = rotation.size, rotation.count
                    sink.stream.period = rotation.period
            if self._running:
                writer.start()
        for writer in before:
            if writer not in writers and writer is not self._console:
                self._leftBefore += writer.left
                writer.close()
        self._withFields = any(writer.sink.wantsFields for writer in writers)
        self._setGates()

    def configure(self, settings: Log) -> list[str]:
        """
        L{prepare} and L{use}.

        @return: what could not be opened, for a person.
        """
        prepared = self.prepare(settings)
        self.use(prepared)
        return prepared.problems

    def __call__(self, event: LogEvent) -> None:
        """
        See C{ILogObserver}.
        """
        rank = RANKS.get(event.get("log_level"), RANKS[LogLevel.info])
        if str(event.get("format", "")).startswith(_CACHE):
            # Twisted says so at each look for plugins. It costs a little time, and nobody has to do anything.
            rank = RANKS[LogLevel.debug] if event.get("path") not in self._caches else -1
            self._caches.add(event.get("path"))
        if rank < self._least:
            return
        module = self._rankOf(str(event.get("log_namespace"))) if self._moduleRanks else None
        if rank < (self._primary if module is None else module):
            return
        record = None
        taken: list[Writer] = []
        for handler, least in zip(self._handlers, self._ranks, strict=False):
            if rank < least and (module is None or handler.extra):
                continue
            writer = handler.writer
            # Two handlers may have the same file.
            if writer in taken:
                continue
            if record is None:
                record = recordOf(event, rank, self._withFields)
                if record is None:
                    return
            taken.append(writer)
            writer.put(record)

    def wants(self, level: str, module: str = "") -> bool:
        """
        Whether messages of one of our levels go anywhere.

        @param module: those of this module.
        """
        rank = RANKS[LEVELS[level]]
        gate = self._rankOf(module) if self._moduleRanks and module else None
        if gate is not None:
            return rank >= gate
        return rank >= self._primary and any(rank >= least for least in self._ranks)

    # Levels at run time

    @property
    def primaryLevel(self) -> str:
        """
        See L{ILog}.
        """
        return self._primaryLevel or min(
            (self._levelOf(handler) for handler in self._handlers),
            key=lambda level: list(LEVELS).index(level),
            default=self._settings.level,
        )

    def setPrimaryLevel(self, level: str) -> None:
        """
        See L{ILog}.
        """
        self._primaryLevel = _checked(level)
        self._setGates()

    def handlers(self) -> list[LogDestination]:
        """
        See L{ILog}.
        """
        return [
            LogDestination(handler.id, self._levelOf(handler), handler.writer.sink.destination)
            for handler in self._handlers
        ]

    def setHandlerLevel(self, id: str, level: str) -> None:
        """
        See L{ILog}.
        """
        if all(handler.id != id for handler in self._handlers):
            raise KeyError(id)
        self._levels[id] = _checked(level)
        self._setGates()

    def setLevel(self, level: str) -> None:
        """
        See L{ILog}.
        """
        self._primaryLevel = _checked(level)
        self._levels = {handler.id: level for handler in self._handlers}
        self._setGates()

    def modules(self) -> dict[str, str]:
        """
        See L{ILog}.
        """
        return {name: level for name, level in {**self._settings.modules, **self._modules}.items() if level}

    def setModuleLevel(self, module: str, level: str) -> None:
        """
        See L{ILog}.
        """
        if level:
            _checked(level)
        if module not in self._modules and len(self._modules) >= MOST_MODULES:
            raise ValueError(f"{MOST_MODULES} modules have levels of their own already")
        if level or module in self._settings.modules:
            self._modules[module] = level
        else:
            self._modules.pop(module, None)
        self._setGates()

    def reopen(self) -> None:
        """
        See L{ILog}.
        """
        for writer in {*self._writers(), self._console}:
            writer.reopen()

    def problems(self) -> list[str]:
        """
        See L{ILog}.
        """
        return [
            f"{writer.sink.destination}: {writer.problem} ({writer.lost} lines lost so far)"
            for writer in self._writers()
            if writer.problem
        ]

    # The end

    def start(self) -> None:
        """
        Leave writing to threads from now on. Not before the process is what it will be: a thread does not survive
        becoming a daemon.
        """
        self._running = True
        for writer in self._writers():
            writer.start()

    def stop(self) -> None:
        """
        Write what waits, and write the rest without threads.
        """
        self._running = False
        writers = [*dict.fromkeys((*self._writers(), self._console))]
        for writer in writers:
            writer.finish()
        until = monotonic() + SECONDS_TO_END
        for writer in writers:
            writer.end(max(0.0, until - monotonic()))

    def close(self) -> None:
        """
        Close the destinations; nothing is written from now on.
        """
        self.stop()
        writers, self._handlers = self._writers(), ()
        self._setGates()
        for writer in writers:
            writer.close()

    def _writers(self) -> list[Writer]:
        return [*dict.fromkeys(handler.writer for handler in self._handlers)]

    def _levelOf(self, handler: _Handler) -> str:
        return self._levels.get(handler.id, handler.level)

    def _setGates(self) -> None:
        self._ranks = tuple(_rank(self._levelOf(handler)) for handler in self._handlers)
        self._primary = _rank(self._primaryLevel) if self._primaryLevel else 0
        modules = self.modules() if self._handlers else {}
        self._knownModules = {}
        self._moduleRanks = {name: _rank(level) for name, level in modules.items()}
        least = max(self._primary, min(self._ranks, default=_NOTHING))
        self._least = min((least, *self._moduleRanks.values()))
        self.changed()

    def _rankOf(self, namespace: str) -> int | None:
        """
        The rank from which messages of a module are taken, where it or the nearest package around it has a level.
        """
        known = self._knownModules
        if namespace not in known:
            if len(known) >= _KNOWN:
                known.clear()
            known[namespace] = _nearest(namespace, self._moduleRanks)
        return known[namespace]


def _nearest(namespace: str, ranks: Mapping[str, int]) -> int | None:
    name = namespace
    while name:
        if name in ranks:
            return ranks[name]
        name = name.rpartition(".")[0]
    return None


def _rank(level: str) -> int:
    return RANKS[LEVELS[level]]


def _checked(level: str) -> str:
    """
    @raise ValueError: there is no such level.
    """
    if level not in LEVELS:
        raise ValueError(f"there is no level {level[:40]!r}; there are {', '.join(LEVELS)}")
    return level
