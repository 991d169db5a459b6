"""
Lists the installed extensions, and loads, unloads and reloads them while the broker runs.

An extension is found as a Twisted plugin that provides L{IExtensionMaker}. It lives from C{start} to C{stop}. After
that, this module removes everything that it registered through its context, and every callback that it left on a hook
point.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from msgspec import Struct
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.logger import Logger

from twisted_mqtt.config.registry import DeclarationError, Registry, structureOf
from twisted_mqtt.extensions.context import ExtensionContext
from twisted_mqtt.extensions.finding import InstalledMakers
from twisted_mqtt.extensions.loadedfile import Changes, LoadedFileError
from twisted_mqtt.hooks.registration import hookOwner
from twisted_mqtt.interfaces import IExtension, IExtensionMaker

if TYPE_CHECKING:
    from twisted_mqtt.base.waiting import Maybe
    from twisted_mqtt.interfaces import IBroker, INode

_log = Logger()

#: For how many seconds an extension that is to start is waited for: one that hangs must not hold the others up.
START_TIMEOUT: Final = 60.0

#: For how many seconds an extension that is to stop is waited for: one that hangs must not keep the broker from ending.
STOP_TIMEOUT: Final = 30.0

#: How an extension is. One that has failed to start stays C{"failed"} until it is loaded or unloaded.
State: TypeAlias = Literal["stopped", "starting", "running", "stopping", "failed"]


class ExtensionError(Exception):
    """
    An extension cannot be loaded, unloaded or reloaded; the text says which and why.
    """


@dataclass(frozen=True, slots=True)
class Installed:
    """
    One installed extension.

    @ivar name: what it is called.
    @ivar description: what it does.
    @ivar version: its version.
    @ivar distribution: what is installed to have it.
    @ivar state: how it is.
    @ivar error: why it does not run, where it has failed.
    @ivar requires: the extensions that must run while it does.
    @ivar necessary: whether the broker must not run without it.
    @ivar gateway: whether it lets clients in.
    @ivar settings: the settings that it was started with; C{None} if it has none, or does not run.
    """

    name: str
    description: str
    version: str
    distribution: str
    state: State
    error: str
    requires: tuple[str, ...]
    necessary: bool
    gateway: bool
    settings: Struct | None

    @property
    def active(self) -> bool:
        """
        Whether it is running.
        """
        return self.state == "running"

    def __str__(self) -> str:
        active = "true" if self.active else "false"
        return f"Plugin ({self.name}, version=v{self.version}, description={self.description}, active={active})"


class _Running:
    """
    One extension that is starting, running or stopping.
    """

    __slots__ = ("context", "extension", "maker", "settings", "state")

    def __init__(
        self, maker: IExtensionMaker, extension: IExtension, settings: Struct | None, context: ExtensionContext
    ) -> None:
        self.maker = maker
        self.extension = extension
        self.settings = settings
        self.context = context
        self.state: State = "starting"


class Extensions:
    """
    The extensions of one broker.

    Changes are made one after the other: whoever asks while one is under way waits for it.

    @ivar changes: what was loaded and unloaded for good while the broker ran, unlike what the configuration says.
    """

    def __init__(
        self,
        broker: IBroker,
        node: INode,
        settingsOf: Callable[[str], Struct | None],
        makers: Callable[[], Iterable[IExtensionMaker]] | None = None,
        changes: Changes | None = None,
        keep: Callable[[Changes], Maybe[None]] | None = None,
        readAgain: Callable[[str], object] | None = None,
    ) -> None:
        """
        @param settingsOf: the table of an extension, by its name, as it is at present; C{None} where the configuration
            has none.
        @param makers: finds what is installed, afresh each time; L{InstalledMakers} by default. Where it gives the same
            tuple as before, nothing has changed.
        @param keep: keeps C{changes} across restarts; L{LoadedFileError} where it can't.
        @param readAgain: reads the table of an extension again, so that C{settingsOf} says what stands there now; it
            may return a Deferred or coroutine. An error that it raises says why the extension cannot be reloaded.
        """
        self.changes = Changes() if changes is None else changes
        self._broker = broker
        self._node = node
        self._settingsOf = settingsOf
        self._makers = InstalledMakers() if makers is None else makers
        self._seen: object = None
        self._keep = keep
        self._readAgain = readAgain
        self._lock = DeferredLock()
        self._known: Registry[IExtensionMaker] = Registry()
        # In the order in which they started.
        self._running: dict[str, _Running] = {}
        broker.hooks.nameOwner = self._nameOf
        # Why those that have failed did.
        self._failed: dict[str, str] = {}

    # Looking up

    def installed(self) -> list[Installed]:
        """
        List what is installed, by name.
        """
        makers = {name: running.maker for name, running in self._running.items()}
        makers.update((maker.name, maker) for maker in self._registry())
        return [self._status(makers[name]) for name in sorted(makers)]

    def status(self, name: str) -> Installed | None:
        """
        Find out about one of them; C{None} if there is none of this name.
        """
        maker = self._registry().find(name)
        return None if maker is None else self._status(maker)

    def isActive(self, name: str) -> bool:
        """
        Tell whether an extension is running.
        """
        return self.find(name) is not None

    def find(self, name: str) -> IExtension | None:
        """
        Find an extension that is running.
        """
        # What runs is known: nothing has to be looked for on the disk.
        running = self._running.get(self._known.plainName(name))
        return running.extension if running is not None and running.state == "running" else None

    def plainName(self, name: str) -> str:
        """
        The name that an extension has here, for one of its other names.
        """
        maker = self._makerOf(name)
        return name if maker is None else maker.name

    def wanted(self, named: tuple[str, ...]) -> list[str]:
        """
        List the extensions to run, in the order in which they start: those that run in every broker, then those that
        the configuration names and those that were loaded for good, without those that were unloaded for good. Gateways
        come last.

        @param named: what the configuration names.
        """
        registry = self._registry()
        names = [maker.name for maker in registry if maker.always]
        for name in self.changes.wanted(named):
            if registry.find(name) is None:
                _log.warn("{advice}: it was loaded, and is not any more", advice=registry.advice(name))
            else:
                names.append(name)
        return sorted(dict.fromkeys(names), key=lambda name: self.isGateway(name))

    def isGateway(self, name: str) -> bool:
        """
        Whether an extension lets clients in.
        """
        maker = self._makerOf(name)
        return maker is not None and maker.gateway

    # Changing it

    def load(self, name: str, keep: bool = False) -> Deferred[str]:
        """
        Start an extension, and first those that it requires.

        @param keep: whether it is to start with the broker from now on.

        @return: fires with what to tell whoever asked; fails with L{ExtensionError} if there is no such extension,
            if it is running already, and if it does not start.
        """
        return self._inTurn(lambda: self._load(name, keep))

    def unload(self, name: str, keep: bool = False) -> Deferred[str]:
        """
        Stop an extension. The clients of a gateway are told and sent away.

        @param keep: whether it is not to start with the broker from now on.

        @return: fires with what to tell whoever asked; fails with L{ExtensionError} if it is not running, if another
            that runs requires it, and if the broker must not run without it. An extension that fails while it stops
            counts as stopped, and the failure is logged.
        """
        return self._inTurn(lambda: self._unload(name, keep))

    def reload(self, name: str) -> Deferred[str]:
        """
        Read the table of an extension again, and L{restart} it with that.

        @return: as that of L{restart}.
        """

        async def reload() -> str:
            if self._readAgain is not None:
                try:
                    await maybeDeferred(self._readAgain, self.plainName(name))
                except Exception as error:
                    raise ExtensionError(f"Plugin {name} cannot be made: {error}") from error
            return await self._restart(name)

        return self._inTurn(reload)

    def restart(self, name: str) -> Deferred[str]:
        """
        Stop an extension if it is running, and start it with its settings as they are now. Those that require it are
        stopped before and started after it. One that the broker must not run without, and whose settings are as they
        were, reads its files again instead, so that there is no time without it.

        @return: fires with what to tell whoever asked; fails with L{ExtensionError}. If its settings are at fault,
            it goes on as it was; if it does not start with them, it is started with those that it had.
        """
        return self._inTurn(lambda: self._restart(name))

    def refresh(self, name: str) -> Deferred[bool]:
        """
        Have an extension read its files again, if it is running and has any.

        @return: fires with whether it has; fails as the extension fails, which then goes on by what was read before.
        """

        async def refresh() -> bool:
            again = _optional(self.find(name), "refresh")
            if again is None:
                return False
            await maybeDeferred(again)
            return True

        return self._lock.run(lambda: Deferred.fromCoroutine(refresh()))

    def startAll(self, names: Iterable[str]) -> Deferred[None]:
        """
        Start several extensions, in this order; one that runs already is passed over. One that does not start is
        logged, there is an alarm for it, and the next one is started.

        @return: fires when all have been tried; fails with L{ExtensionError} where one does not start that the broker
            must not run without. After that no other is started: a broker without, say, the extension that knows its
            users must not let anybody in.
        """

        async def each() -> None:
            for name in names:
                try:
                    if not self.isActive(name):
                        await self._lock.run(self._startOne, name)
                except ExtensionError as error:
                    maker = self._registry().find(name)
                    if maker is None or maker.necessary:
                        raise
                    _log.error("{error}", error=error)

        return Deferred.fromCoroutine(each())

    def stopAll(self) -> Deferred[None]:
        """
        Stop all that are running: gateways first, and the last started first.

        @return: fires when none is running; does not fail.
        """

        async def each() -> None:
            while self._running:
                await self._stop(next(self._lastFirst()))

        return self._lock.run(lambda: Deferred.fromCoroutine(each()))

    # How it is done

    def _inTurn(self, change: Callable[[], Coroutine[Any, Any, str]]) -> Deferred[str]:
        return self._lock.run(lambda: Deferred.fromCoroutine(change()))

    def _makerOf(self, name: str) -> IExtensionMaker | None:
        """
        The declaration of an extension. The disk is looked at for one that is not known yet alone: that takes
        milliseconds, and clients wait.
        """
        return self._known.find(name) or self._registry().find(name)

    def _registry(self) -> Registry[IExtensionMaker]:
        makers = self._makers()
        if isinstance(makers, tuple) and makers is self._seen:
            return self._known
        self._seen = makers
        try:
            self._known = Registry(makers)
        except DeclarationError as error:
            # Somebody has installed another one while the broker runs; it did not start with these.
            _log.error("{error}", error=error)
        return self._known

    def _status(self, maker: IExtensionMaker) -> Installed:
        running = self._running.get(maker.name)
        state: State = "failed" if maker.name in self._failed else "stopped"
        return Installed(
            maker.name,
            maker.description,
            maker.version,
            maker.distribution,
            state if running is None else running.state,
            self._failed.get(maker.name, ""),
            maker.requires,
            maker.necessary,
            maker.gateway,
            None if running is None else running.settings,
        )

    def _lastFirst(self) -> Iterator[str]:
        """
        The running extensions, in an order in which they can be stopped.
        """
        free = [name for name in reversed(self._running) if not self._requiring(name)]
        return iter(sorted(free, key=lambda name: not self._running[name].maker.gateway))

    def _requiring(self, name: str) -> list[str]:
        """
        Those that run and require an extension, the last started first.
        """
        return [other for other in reversed(self._running) if name in self._running[other].maker.requires]

    def _make(self, name: str, asked: str) -> _Running:
        """
        Make an extension of its settings as they are now.

        @raise ExtensionError: it cannot be made.
        """
        maker = self._registry().find(name)
        if maker is None:
            raise ExtensionError(f"Plugin {asked} not found.")
        try:
            settings = tableOf(maker, self._settingsOf(maker.name))
            return self._made(maker, settings)
        except Exception as error:
            raise ExtensionError(f"Plugin {asked} cannot be made: {error}") from error

    def _made(self, maker: IExtensionMaker, settings: Struct | None) -> _Running:
        extension = maker.makeExtension(settings)
        return _Running(maker, extension, settings, ExtensionContext(maker.name, extension, self._broker, self._node))

    def _startOne(self, name: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self._loadOne(name, name, ()))

    async def _load(self, name: str, keep: bool) -> str:
        plain = self.plainName(name)
        if plain in self._running:
            raise ExtensionError(f"Plugin {name} is already started.")
        await self._loadOne(plain, name, ())
        if keep:
            await self._keepChanges(name, self.changes.withLoaded(plain))
        return f"Plugin {name} loaded successfully."

    async def _loadOne(self, name: str, asked: str, waiting: tuple[str, ...]) -> None:
        """
        Start an extension and what it requires.

        @param asked: the name by which whoever asks knows it.
        @param waiting: those that are waiting for it.
        """
        plain = self.plainName(name)
        if plain in self._running:
            return
        try:
            if plain in waiting:
                raise ExtensionError(f"Plugin {asked} requires itself: {' -> '.join((*waiting, plain))}")
            maker = self._registry().find(plain)
            for required in () if maker is None else maker.requires:
                try:
                    await self._loadOne(required, required, (*waiting, plain))
                except ExtensionError as error:
                    raise ExtensionError(f"Plugin {asked} requires {required}. {error}") from error
            await self._start(self._make(plain, asked), asked)
        except ExtensionError as error:
            self._hasFailed(plain, error)
            raise

    async def _unload(self, name: str, keep: bool) -> str:
        plain = self.plainName(name)
        running = self._running.get(plain)
        if running is None:
            if self._failed.pop(plain, None) is None:
                raise ExtensionError(f"Plugin {name} is not started.")
            # It does not run because it has failed: from now on that is as it should be.
            self._broker.alarms.deactivate(_alarmOf(plain))
        else:
            if requiring := self._requiring(plain):
                raise ExtensionError(f"Plugin {name} is required by {', '.join(requiring)}: unload that first.")
            if running.maker.necessary:
                raise ExtensionError(f"Plugin {name} cannot be unloaded: the broker must not run without it.")
            await self._stop(plain)
        if keep:
            await self._keepChanges(name, self.changes.withUnloaded(plain))
        return f"Plugin {name} unloaded successfully."

    async def _restart(self, name: str) -> str:
        plain = self.plainName(name)
        done = f"Plugin {name} reloaded successfully."
        running = self._running.get(plain)
        if running is None:
            await self._loadOne(plain, name, ())
            return done
        # Made before the old one is stopped: settings that are no good must not end what works.
        made = self._make(plain, name)
        again = _optional(running.extension, "refresh")
        if running.maker.necessary and made.settings == running.settings and again is not None:
            try:
                await maybeDeferred(again)
            except Exception as error:
                raise ExtensionError(f"Plugin {name} goes on as it was: {error}") from error
            return done
        stopped = await self._stopWithThoseRequiring(plain)
        try:
            await self._start(made, name)
        except ExtensionError as error:
            self._hasFailed(plain, error)
            await self._startAgain(running, error)
            raise ExtensionError(f"{error} It runs with its former settings.") from error
        finally:
            for other in reversed(stopped):
                await self._startDependant(other)
        return done

    async def _stopWithThoseRequiring(self, name: str) -> list[str]:
        """
        Stop an extension, and first all that need it.

        @return: those others, in the order in which they were stopped.
        """
        stopped: list[str] = []
        for other in self._requiring(name):
            if other in self._running:
                stopped.extend([*await self._stopWithThoseRequiring(other), other])
        await self._stop(name)
        return stopped

    async def _startDependant(self, name: str) -> None:
        try:
            await self._loadOne(name, name, ())
        except ExtensionError as error:
            _log.error("{error}", error=error)

    async def _startAgain(self, former: _Running, error: ExtensionError) -> None:
        """
        Go back to the settings with which an extension has worked.

        @raise ExtensionError: it does not start with those either.
        """
        name = former.maker.name
        try:
            await self._start(self._made(former.maker, former.settings), name)
        except Exception as again:
            raise ExtensionError(f"{error} It does not start with its former settings either: {again}") from again

    def _nameOf(self, extension: object) -> str:
        """
        The name of a running extension.
        """
        for name, running in self._running.items():
            if running.extension is extension:
                return name
        return type(extension).__name__

    async def _start(self, starting: _Running, asked: str) -> None:
        name = starting.maker.name
        self._running[name] = starting
        token = hookOwner.set(starting.extension)
        try:
            outcome = maybeDeferred(starting.extension.start, starting.context)
        finally:
            hookOwner.reset(token)
        try:
            await outcome.addTimeout(START_TIMEOUT, self._broker.clock)
        except Exception as error:
            # Its registrations must not act for an extension that is not running.
            await self._clear(starting)
            raise ExtensionError(f"Plugin {asked} does not start: {_textOf(error)}") from error
        starting.state = "running"
        self._failed.pop(name, None)
        self._broker.alarms.deactivate(_alarmOf(name))

    async def _stop(self, name: str) -> None:
        running = self._running[name]
        running.state = "stopping"
        stop = _optional(running.extension, "stop")
        try:
            if stop is not None:
                await maybeDeferred(stop).addTimeout(STOP_TIMEOUT, self._broker.clock)
        except Exception:
            _log.failure("Stopping plugin {name} failed", name=name)
        await self._clear(running)

    async def _clear(self, running: _Running) -> None:
        """
        Take away what an extension has registered and has not removed itself.
        """
        name = running.maker.name
        swept = await running.context.sweep(STOP_TIMEOUT)
        del self._running[name]
        if swept:
            _log.info("plugin {name}: swept {swept}", name=name, swept="; ".join(swept))
        left = self._broker.hooks.ownedBy(running.extension)
        for point, registration in left:
            point.remove(registration.action)
        if left:
            points = ", ".join(point.name for point, _ in left)
            _log.warn("Plugin {name} left callbacks on {points}, which were removed", name=name, points=points)

    def _hasFailed(self, name: str, error: ExtensionError) -> None:
        maker = self._registry().find(name)
        if maker is not None:
            self._failed[name] = str(error)
            self._broker.alarms.activate(_alarmOf(name), "critical", f"The extension {name} does not run", str(error))

    async def _keepChanges(self, name: str, changes: Changes) -> None:
        self.changes = changes
        if self._keep is None:
            return
        try:
            await maybeDeferred(self._keep, changes)
        except LoadedFileError as error:
            raise ExtensionError(f"Plugin {name}: done, but after a restart it is as before: {error}") from error


def tableOf(maker: IExtensionMaker, settings: Struct | None) -> Struct | None:
    """
    The table that an extension is made with.

    @param settings: its table in the configuration; L{None} for its defaults.

    @raise DeclarationError: it has no defaults, or they can't be found.
    """
    structure = structureOf(maker) if settings is None else None
    if structure is None:
        return settings
    try:
        return structure()
    except TypeError as error:
        raise DeclarationError(f"[{maker.table}] must be in the configuration: {error}") from error


def _optional(extension: IExtension | None, name: str) -> Callable[[], object] | None:
    """
    A method that an extension may have.
    """
    method: Callable[[], object] | None = getattr(extension, name, None)
    return method


def _alarmOf(name: str) -> str:
    return f"extension_{name}"


def _textOf(error: Exception) -> str:
    return str(error) or type(error).__name__
