"""
Extensions: what is installed, and loading, unloading and reloading it while the broker runs.

An extension is found as a Twisted plugin that provides L{IExtensionMaker}. It lives from C{start} to C{stop}, and
what it leaves on the hook points after that is removed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.logger import Logger
from twisted.plugin import getPlugins

from twisted_mqtt.hooks.points import hookOwner
from twisted_mqtt.interfaces import IExtension, IExtensionMaker

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IBroker

_log = Logger()

#: Extensions that no broker goes without, started before all others.
ALWAYS: Final = ("acl_internal",)

#: For how many seconds an extension that is to stop is waited for: one that hangs must not keep the broker from ending.
STOP_TIMEOUT: Final = 30.0

#: What EMQ X and EMQ put before the names of their plugins; it may stand before ours too.
_PREFIXES: Final = ("emqx_mod_", "emqx_", "emq_mod_", "emq_")


class ExtensionError(Exception):
    """
    An extension cannot be loaded, unloaded or reloaded; the text says which and why.
    """


class Installed:
    """
    One installed extension.

    @ivar name: What it is called.
    @ivar description: What it does.
    @ivar version: Its version.
    @ivar active: Whether it is running.
    """

    __slots__ = ("active", "description", "name", "version")

    def __init__(self, name: str, description: str, version: str, active: bool) -> None:
        self.name = name
        self.description = description
        self.version = version
        self.active = active

    def __str__(self) -> str:
        active = "true" if self.active else "false"
        return f"Plugin ({self.name}, version=v{self.version}, description={self.description}, active={active})"


class Extensions:
    """
    The extensions of one broker.

    Changes are made one after the other: whoever asks while one is under way waits for it.
    """

    def __init__(
        self,
        broker: IBroker,
        settingsOf: Callable[[str], Struct | None],
        makers: Callable[[], Iterable[IExtensionMaker]] = lambda: getPlugins(IExtensionMaker),
    ) -> None:
        """
        @param settingsOf: Reads an extension's part of the configuration, afresh each time; C{None} if it has none.
            What it raises is why the extension cannot be loaded.
        @param makers: Finds what is installed, afresh each time.
        """
        self._broker = broker
        self._settingsOf = settingsOf
        self._makers = makers
        self._lock = DeferredLock()
        # In the order in which they started.
        self._running: dict[str, IExtension] = {}

    def installed(self) -> list[Installed]:
        """
        List what is installed, by name.
        """
        return [
            Installed(name, maker.description, maker.version, name in self._running)
            for name, maker in sorted(self._byName().items())
        ]

    def isActive(self, name: str) -> bool:
        """
        Tell whether an extension is running.
        """
        return self._plainName(name) in self._running

    def find(self, name: str) -> IExtension | None:
        """
        Find an extension that is running.
        """
        return self._running.get(self._plainName(name))

    def load(self, name: str) -> Deferred[str]:
        """
        Start an extension.

        @return: Fires with what to tell whoever asked; fails with L{ExtensionError} if there is no such extension,
            if it is running already, and if it does not start.
        """
        return self._inTurn(self._load, name)

    def unload(self, name: str) -> Deferred[str]:
        """
        Stop an extension.

        @return: Fires with what to tell whoever asked; fails with L{ExtensionError} if it is not running. An
            extension that fails while it stops counts as stopped, and the failure is logged.
        """
        return self._inTurn(self._unload, name)

    def reload(self, name: str) -> Deferred[str]:
        """
        Stop an extension if it is running, and start it with its settings as they are now.

        @return: Fires with what to tell whoever asked; fails with L{ExtensionError}. If its settings are at fault,
            it goes on as it was.
        """
        return self._inTurn(self._reload, name)

    def loadAll(self, names: Iterable[str]) -> Deferred[None]:
        """
        Start several extensions, in this order.

        @return: Fires when all are running; fails with the first L{ExtensionError}, after which no other is started:
            a broker without, say, the extension that knows its users must not let anybody in.
        """

        async def each() -> None:
            for name in names:
                await self.load(name)

        return Deferred.fromCoroutine(each())

    def unloadAll(self) -> Deferred[None]:
        """
        Stop all that are running, the last started first.

        @return: Fires when none is running; does not fail.
        """

        async def each() -> None:
            while self._running:
                await self._unload(next(reversed(self._running)))

        return self._lock.run(lambda: Deferred.fromCoroutine(each()))

    def _inTurn(self, change: Callable[[str], Any], name: str) -> Deferred[str]:
        return self._lock.run(lambda: Deferred.fromCoroutine(change(name)))

    def _byName(self) -> dict[str, IExtensionMaker]:
        return {maker.name: maker for maker in self._makers()}

    def _plainName(self, name: str) -> str:
        """
        Find the name that an extension has here.
        """
        known = self._byName()
        for prefix in ("", *_PREFIXES):
            if name.startswith(prefix) and name[len(prefix) :] in known:
                return name[len(prefix) :]
        return name

    def _make(self, name: str) -> IExtension:
        maker = self._byName().get(name)
        if maker is None:
            raise ExtensionError(f"Plugin {name} not found.")
        try:
            return maker.makeExtension(self._settingsOf(name))
        except Exception as error:
            raise ExtensionError(f"Plugin {name} cannot be made: {error}") from error

    async def _load(self, name: str) -> str:
        plain = self._plainName(name)
        if plain in self._running:
            raise ExtensionError(f"Plugin {name} is already started.")
        await self._start(plain, self._make(plain))
        return f"Plugin {name} loaded successfully."

    async def _unload(self, name: str) -> str:
        plain = self._plainName(name)
        if plain not in self._running:
            raise ExtensionError(f"Plugin {name} is not started.")
        await self._stop(plain)
        return f"Plugin {name} unloaded successfully."

    async def _reload(self, name: str) -> str:
        plain = self._plainName(name)
        # Made before the old one is stopped: settings that are no good must not end what works.
        extension = self._make(plain)
        if plain in self._running:
            await self._stop(plain)
        await self._start(plain, extension)
        return f"Plugin {name} reloaded successfully."

    async def _start(self, name: str, extension: IExtension) -> None:
        token = hookOwner.set(extension)
        try:
            starting = maybeDeferred(extension.start, self._broker)
        finally:
            hookOwner.reset(token)
        try:
            await starting
        except Exception as error:
            # What it had put on the hook points by then must not act for an extension that is not running.
            self._removeLeftovers(extension)
            raise ExtensionError(f"Plugin {name} does not start: {error}") from error
        self._running[name] = extension

    async def _stop(self, name: str) -> None:
        extension = self._running[name]
        try:
            await maybeDeferred(extension.stop).addTimeout(STOP_TIMEOUT, self._broker.clock)
        except Exception:
            _log.failure("Stopping plugin {name} failed", name=name)
        del self._running[name]
        left = self._removeLeftovers(extension)
        if left:
            _log.warn("Plugin {name} left callbacks on {points}, which were removed", name=name, points=", ".join(left))

    def _removeLeftovers(self, extension: IExtension) -> list[str]:
        """
        Take an extension's callbacks off the hook points.

        @return: The points on which there were some.
        """
        left = self._broker.hooks.ownedBy(extension)
        for point, registration in left:
            point.remove(registration.action)
        return [point.name for point, _ in left]
