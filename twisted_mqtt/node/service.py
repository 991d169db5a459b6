"""
A node as one service: the broker with its store, listeners, extensions, gateways and topics about itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredLock, TimeoutError, maybeDeferred
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from zope.interface import implementer

from twisted_mqtt.base.dates import Dates
from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.broker.flapping import Flapping
from twisted_mqtt.config import ConfigurationError
from twisted_mqtt.config.differences import differences
from twisted_mqtt.config.keys import keysOf
from twisted_mqtt.config.reloadreport import ReloadReport
from twisted_mqtt.config.schema_retainer import RetainerSettings
from twisted_mqtt.extensions.loadedfile import LoadedFile, LoadedFileError
from twisted_mqtt.extensions.running import Extensions
from twisted_mqtt.interfaces import INode
from twisted_mqtt.listeners.listening import PENDING
from twisted_mqtt.listeners.registry import Listeners
from twisted_mqtt.listeners.shutdown import sendAllAway
from twisted_mqtt.monitoring.processmonitor import ProcessMonitor
from twisted_mqtt.monitoring.systemmonitor import SystemMonitor
from twisted_mqtt.monitoring.systopics import SysTopics
from twisted_mqtt.net.reactorprivate import keepSteady
from twisted_mqtt.node.admittance import shutPorts
from twisted_mqtt.node.http import HTTPServices
from twisted_mqtt.node.ports import Ports
from twisted_mqtt.node.reload import Reload, effective
from twisted_mqtt.node.settings import RuntimeSettings
from twisted_mqtt.operations.registry import Operations
from twisted_mqtt.process.crashdump import CrashDump
from twisted_mqtt.process.figures import registerProcess
from twisted_mqtt.process.logs import BrokerLog
from twisted_mqtt.process.machine import Machine
from twisted_mqtt.process.memory import allowedBytes, giveBack, residentBytes
from twisted_mqtt.process.openfiles import SPARE
from twisted_mqtt.process.restart import Restart
from twisted_mqtt.process.systemd import InheritedSocket, Notifier
from twisted_mqtt.stores.memory import MemoryStore
from twisted_mqtt.stores.sqlite import SQLiteStore
from twisted_mqtt.stores.worker import ThreadWorker

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory
    from twisted.python.failure import Failure

    from twisted_mqtt.config.schema_ports import DatagramSettings, PortSettings
    from twisted_mqtt.config.settings import Settings
    from twisted_mqtt.config.values import Bind
    from twisted_mqtt.extensions.loadedfile import Changes
    from twisted_mqtt.interfaces import IListening, IStore
    from twisted_mqtt.interfaces.node import NodeState
    from twisted_mqtt.listeners.datagrams import DatagramHandler
    from twisted_mqtt.net.tls.options import TLSOptions

__all__ = ["BrokerService", "ProcessContext", "makeBrokerService", "makeStore", "storePath"]

_log = Logger()

# So many keys are named that a damaged file would change.
_FEW: Final = 10


@dataclass(frozen=True)
class ProcessContext:
    """
    The parts of a process that a broker uses when the process is its own, and not when it is somebody else's.

    @ivar log: takes the log messages; L{None} where somebody else does.
    @ivar notifier: tells the service manager how the broker is.
    @ivar inherited: sockets that the service manager has opened.
    @ivar openFiles: how many files may be open; L{None} for any number.
    @ivar restart: begins the process again; L{None} where it is not the broker's own to end.
    """

    log: BrokerLog | None = None
    notifier: Notifier | None = None
    inherited: Sequence[InheritedSocket] = ()
    openFiles: int | None = None
    restart: Restart | None = None


@implementer(INode)
class BrokerService(MultiService):
    """
    A broker with its listeners, extensions and topics about itself.

    @ivar broker: the L{Broker}.
    @ivar listeners: the L{Listeners}.
    @ivar http: the L{HTTPServices}.
    @ivar operations: the L{Operations}: what can be asked of the node.
    @ivar ports: the L{Ports}: those of the listeners and of extensions.
    @ivar extensions: the L{Extensions}.
    @ivar flapping: bans clients that connect again and again.
    @ivar log: takes the log messages; L{None} where somebody else does.
    @ivar settings: the settings, read and changed key by key.
    @ivar ready: fires with this service when clients can connect; fails with what keeps it from starting.
    """

    name = "mqttbroker"

    def __init__(
        self, settings: Settings, reactor: Any, store: Any = None, process: ProcessContext | None = None
    ) -> None:
        """
        @param store: provides L{IStore<twisted_mqtt.interfaces.IStore>}; without one, what the settings say.
        @param process: of a process of its own.
        """
        MultiService.__init__(self)
        # First of all: what is made next takes the clock as it is.
        wall = keepSteady(reactor)
        self._around = ProcessContext() if process is None else process
        self._notifier = self._around.notifier or Notifier({}, reactor)
        self._reloading = DeferredLock()
        self._ending = False
        self._isServing = False
        self._crashDump = CrashDump()
        self.log = self._around.log
        dates = Dates(reactor.seconds, wall)
        if store is None:
            store = makeStore(settings, reactor, dates)
        self.broker = Broker(
            settings, reactor, store, retainer=settings.extension("retainer", RetainerSettings), dates=dates
        )
        memory = self.broker.memory
        memory.used, memory.allowed = residentBytes, allowedBytes
        memory.giveBack = lambda: self.broker.threads.defer(giveBack)
        MultiService.addService(self, self.broker)
        self.listeners = Listeners(self.broker, reactor, self._around.inherited)
        self.ports = Ports(self.broker, reactor, self.listeners)
        self.http = HTTPServices(self.ports, reactor)
        self.operations = Operations()
        self.flapping = Flapping(
            settings, self.broker.hooks, self.broker.bans, self.broker.registry.sendAway, reactor.seconds, dates
        )
        self._loaded = LoadedFile(Path(settings.node.data_dir, settings.plugins.loaded_file))
        self.extensions = Extensions(
            self.broker,
            self,
            lambda name: self.settings.current.extensions.get(name),
            keep=self._keepLoaded,
            readAgain=self._readAgain,
        )
        registerProcess(self.broker.metrics, Machine(), lambda: len(self.broker.portions))
        self._monitors = (SystemMonitor(self, Machine()), ProcessMonitor(self.broker))
        self.systopics = SysTopics(self.broker, settings.broker)
        self.ready: Deferred[BrokerService] = Deferred()
        self._reactor = reactor
        self.settings = RuntimeSettings(settings, self._goBy, self._reloading.run, self.broker.threads.defer)

    def listen(
        self,
        settings: PortSettings,
        factory: IProtocolFactory,
        name: str,
        *,
        path: str = "",
        bind: Bind | None = None,
        kind: str = "",
        protocols: tuple[bytes, ...] = (),
        tls: TLSOptions | None = None,
        pending: int = PENDING,
    ) -> Deferred[IListening]:
        """
        See L{INode}.
        """
        return self.ports.listen(
            settings, factory, name, path=path, bind=bind, kind=kind, protocols=protocols, tls=tls, pending=pending
        )

    def listenDatagrams(
        self,
        settings: DatagramSettings,
        protocol: DatagramHandler,
        name: str,
        *,
        path: str = "",
        bind: Bind | None = None,
        kind: str = "udp",
        group: str | None = None,
        shared: bool = False,
        count: Callable[[], int] = lambda: 0,
    ) -> Deferred[IListening]:
        """
        See L{INode}.
        """
        return self.ports.listenDatagrams(
            settings, protocol, name, path=path, bind=bind, kind=kind, group=group, shared=shared, count=count
        )

    def setServiceParent(self, parent: Any) -> None:
        """
        Belong to another service, or to an application, which then logs as the settings say.
        """
        MultiService.setServiceParent(self, parent)
        if self.log is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.log)

    def startService(self) -> None:
        """
        Begin: the store, then extensions, and listeners last, so that nobody comes in past an extension.
        """
        for warning in self.settings.current.warnings:
            _log.warn("{warning}", warning=warning)
        if self.log is not None:
            self.log.start()
            self.log.changed = self._logChanged
            self._logChanged()
        if self.settings.current.node.crash_dump:
            self._crashDump.start(self.settings.current.node.crash_dump)
        self._checkOpenFiles()
        MultiService.startService(self)
        # Not before the reactor runs: a signal that came between "listening" and that would find nobody to take it.
        self._reactor.callWhenRunning(self._begin)

    @property
    def state(self) -> NodeState:
        """
        See L{INode}.
        """
        if self._ending or self.broker.stopping:
            return "stopping"
        return "serving" if self._isServing else "starting"

    def end(self, restart: bool = False, soon: float = 0.0) -> str:
        """
        See L{INode}.
        """
        again = self._around.restart
        if again is None:
            return "the broker is a part of another program, which ends it"
        if self._ending or self.broker.stopping:
            return "the broker is about to end"
        obstacle = again.prepare() if restart else ""
        if not obstacle:
            self._ending = True
            _log.warn("the broker was asked to {what}", what="restart" if restart else "stop")
            self._reactor.callLater(soon, self._stopReactor)
        return obstacle

    def _stopReactor(self) -> None:
        if not self.broker.stopping:
            self._reactor.stop()

    def reload(self) -> Deferred[ReloadReport]:
        """
        Read the configuration again, and go by it as far as that is possible without a restart.

        @return: fires with what was done. It does not fail.
        """
        if self._reloading.locked:
            _log.warn("reload: another change of the configuration is under way; this one follows it")
        return self._reloading.run(lambda: Deferred.fromCoroutine(self._reload()))

    def stopService(self) -> Deferred[None]:
        """
        End: no new clients, then those that are here, extensions, and the store last. Clients, gateways and extensions
        have C{node.shutdown_timeout} seconds for it; what was promised to be on disk is waited for.

        @return: fires when all is over.
        """
        self.broker.stopping = True
        self._notifier.stopping()
        clock = self._reactor
        until = clock.seconds() + self.settings.current.node.shutdown_timeout

        async def inTime(what: str, stop: Callable[[], Any]) -> None:
            try:
                await maybeDeferred(stop).addTimeout(max(0.1, until - clock.seconds()), clock)
            except TimeoutError:
                _log.error("{what} did not end in time", what=what)
            except Exception:
                _log.failure("Stopping {what} failed", what=what)

        async def each() -> None:
            if self.systopics.running:
                await maybeDeferred(self.systopics.stopService)
            for monitor in self._monitors:
                if monitor.running:
                    monitor.stopService()
            await self.listeners.stopService()
            await sendAllAway(self.listeners, clock, max(0.0, until - clock.seconds()))
            self.flapping.stop()
            await inTime("an extension", self.extensions.stopAll)
            await inTime("a thread", self.broker.threads.stop)
            await inTime("HTTP", lambda: Deferred.fromCoroutine(self.http.closeAll()))
            await inTime("a port", lambda: Deferred.fromCoroutine(self.ports.closeAll()))
            await maybeDeferred(MultiService.stopService, self)
            self._notifier.stop()
            self._crashDump.stop()
            if self.log is not None:
                self.log.stop()

        return Deferred.fromCoroutine(each())

    def _begin(self) -> None:
        if not self.running:  # stopped before it began
            return
        starting = Deferred.fromCoroutine(self._start())
        starting.addErrback(self._ebStart)
        starting.chainDeferred(self.ready)
        self.ready.addErrback(lambda failure: None)

    async def _start(self) -> BrokerService:
        await self.broker.open()
        self.flapping.configure(self.settings.current)
        extensions = self.extensions
        extensions.changes = self._loaded.read().translated(extensions.plainName)
        self._tellUnloaded()
        wanted = extensions.wanted(self.settings.current.startingExtensions)
        await extensions.startAll(name for name in wanted if not extensions.isGateway(name))
        self.systopics.startService()
        for monitor in self._monitors:
            monitor.startService()
        await self.listeners.open()
        await extensions.startAll(name for name in wanted if extensions.isGateway(name))
        self._isServing = True
        self.warnOfShutPorts()
        self._notifier.ready("serving clients")
        return self

    def warnOfShutPorts(self) -> None:
        """
        Say at which ports nobody can come in, and what would help.
        """
        for sentence in shutPorts(self):
            _log.warn("{sentence}", sentence=sentence)

    def _logChanged(self) -> None:
        """
        Other messages are taken: what nobody reads of clients is not made.
        """
        if self.log is not None:
            self.broker.registry.log.enabled = self.log.wants("info", "twisted_mqtt.broker.clientlog")

    def _keepLoaded(self, changes: Changes) -> Deferred[None]:
        """
        Keep across restarts what was loaded and unloaded; the disk is waited for in a thread.
        """
        return self.broker.threads.defer(self._loaded.write, changes)

    async def readLoaded(self, report: ReloadReport) -> None:
        """
        Read again what was loaded and unloaded for good: somebody may have taken a line out. A file that can't be read
        changes nothing.

        @param report: is told of that.
        """
        try:
            changes = await self.broker.threads.defer(self._loaded.read)
        except LoadedFileError as error:
            report.problems.append(str(error))
        else:
            self.extensions.changes = changes.translated(self.extensions.plainName)

    def _tellUnloaded(self) -> None:
        """
        Name the extensions that do not start although the configuration names them: they were unloaded for good.
        """
        for name in self.settings.current.startingExtensions:
            if name in self.extensions.changes.unloaded:
                _log.warn(
                    "{name} does not start, although the configuration names it: it was unloaded for good. To have it"
                    ' again, load it, or take the line "-{name}." out of {path} and read the configuration again',
                    name=name,
                    path=self._loaded.path,
                )

    async def _readAgain(self, name: str) -> None:
        """
        Read the table of one extension again, and nothing else.

        @raise ConfigurationError: the configuration can't be used.
        """
        origin = self.settings.current.origin
        if origin.path is None and origin.overrides is None:
            return
        read = await self.broker.threads.defer(self.settings.read)
        table = effective(self.settings.current, read).extensions.get(name)
        extensions = {other: held for other, held in self.settings.current.extensions.items() if other != name}
        if table is not None:
            extensions[name] = table
        self.settings.current = replace(self.settings.current, extensions=extensions)
        self.broker.configure(self.settings.current)

    async def _reload(self) -> ReloadReport:
        origin = self.settings.current.origin
        if origin.path is None and origin.overrides is None:
            why = "a program made the settings, and there is no file to read"
            _log.warn("reload: {why}", why=why)
            return ReloadReport(problems=[why])
        for path in (origin.path, origin.overrides):
            if path is not None and Path(path).exists() and not Path(path).is_file():
                # To read a pipe might never end.
                why = f"{path} is no regular file, and nothing has changed"
                _log.error("reload: {why}", why=why)
                return ReloadReport(problems=[why])
        try:
            settings = await self.broker.threads.defer(self.settings.read)
        except ConfigurationError as error:
            _log.error("the configuration can't be used, and nothing has changed:\n{error}", error=error)
            return ReloadReport(problems=[str(problem) for problem in error.problems])
        except Exception as error:
            _log.failure("the configuration can't be read, and nothing has changed")
            return ReloadReport(problems=[f"the configuration can't be read: {error}"])
        lost = [name for name in self.settings.current.origin.sections if name not in settings.origin.sections]
        if lost and not settings.node.accept_lost_sections:
            # A file that was cut off while it was written must not open the broker to everybody.
            would = [difference.key for difference in differences(self.settings.current, settings)]
            more = f" and {len(would) - _FEW} more" if len(would) > _FEW else ""
            why = (
                f"the file has lost {', '.join(lost)}, and nothing has changed. It would change"
                f" {', '.join(would[:_FEW]) or 'extensions'}{more}. Where that is meant, keep an empty table (or the"
                " key with its default), or set node.accept_lost_sections = true"
            )
            _log.error("reload: {why}", why=why)
            return ReloadReport(problems=[why])
        return await self._goBy(settings)

    async def _goBy(self, settings: Settings) -> ReloadReport:
        """
        Go by other settings, as far as that is possible without a restart.
        """
        if self.broker.stopping or not self.ready.called:
            why = "the broker is starting or stopping"
            _log.warn("reload: {why}", why=why)
            return ReloadReport(problems=[why])
        self._notifier.reloading()
        report = await Reload(self, settings).run()
        self.settings.took(settings)
        if not self.broker.stopping:
            self._notifier.ready("serving clients")
        return report

    def _checkOpenFiles(self) -> None:
        """
        Say so where fewer clients can connect than listeners let in.
        """
        limit = self._around.openFiles
        if limit is None:
            return
        byDefault = False
        for listener in self.settings.current.listener:
            most = listener.max_connections
            if most + SPARE <= limit:
                continue
            # The default is beyond what most systems allow, and nobody has asked for it.
            if most == keysOf(type(listener))["max_connections"].default:
                byDefault = True
                continue
            _log.warn(
                "{path}.max_connections is {most}, but the process may have only {limit} files open: raise that limit,"
                " or lower max_connections",
                path=listener.path,
                most=most,
                limit=limit,
            )
        if byDefault:
            _log.info(
                "at most {most} clients can connect: the process may have {limit} files open",
                most=max(0, limit - SPARE),
                limit=limit,
            )

    def _ebStart(self, failure: Failure) -> Failure:
        # A person reads this line; the message says it all, so the traceback is for debugging only.
        _log.critical("the broker can't start: {error}", error=failure.getErrorMessage())
        _log.debug("{traceback}", traceback=failure.getTraceback())
        return failure


def makeStore(settings: Settings, reactor: Any, dates: Dates) -> IStore:
    """
    The store that the settings want; its file is not touched before it is opened.
    """
    persistence = settings.persistence
    if persistence.store == "memory":
        return MemoryStore()
    return SQLiteStore(
        storePath(settings),
        reactor,
        ThreadWorker(reactor.callFromThread),
        persistence.commit,
        persistence.interval,
        settings.extension("retainer", RetainerSettings).storage_type,
        dates=dates,
        reserve=persistence.reserve,
    )


def storePath(settings: Settings) -> Path:
    """
    Where the durable store is.
    """
    return Path(settings.node.data_dir, settings.persistence.file)


def makeBrokerService(settings: Settings, reactor: Any) -> BrokerService:
    """
    A broker as a service, for any reactor and beside any other services.

    @param settings: of L{readSettings<twisted_mqtt.config.readSettings>} or
        L{settingsFrom<twisted_mqtt.config.settingsFrom>}.
    """
    return BrokerService(settings, reactor)
