"""
What C{twistd mqttbroker --check} tries beside reading the configuration: everything that a start needs, and no start.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import EADDRINUSE
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import Struct
from twisted.internet.error import CannotListenError
from twisted.plugin import getPlugins
from zope.interface import implementer

from twisted_mqtt.config.checks import clash
from twisted_mqtt.config.problems import Problem
from twisted_mqtt.config.registry import Registry
from twisted_mqtt.config.schema_ports import TCPPortSettings, TLSPortSettings, UDPPortSettings
from twisted_mqtt.config.values import Bind
from twisted_mqtt.extensions.loadedfile import Changes, LoadedFile, LoadedFileError
from twisted_mqtt.extensions.running import tableOf
from twisted_mqtt.interfaces import IExtensionMaker, IPreflight
from twisted_mqtt.listeners.listener import tlsOf
from twisted_mqtt.net.datagrams import attemptDatagrams
from twisted_mqtt.net.names import numeric, whyNot
from twisted_mqtt.net.portoptions import PortOptions
from twisted_mqtt.net.sockets import TCPSocket, UNIXSocket
from twisted_mqtt.net.tls.context import ServerContext
from twisted_mqtt.net.tls.options import optionsOf
from twisted_mqtt.net.tls.psk import PreSharedKeys
from twisted_mqtt.node.service import storePath
from twisted_mqtt.stores.checking import folderProblem, storeProblems

if TYPE_CHECKING:
    from twisted_mqtt.config.settings import Settings

# The tables of log files beside the main one.
_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


@implementer(IPreflight)
class Preflight:
    """
    Tries it. See L{IPreflight}.

    @ivar problems: what has been found so far.
    @ivar grave: those of them with which the broker would not start; with the others, some extension would not.
    """

    def __init__(self, settings: Settings, running: bool = False) -> None:
        """
        @param running: whether a broker runs with these settings, which has the store and the ports.
        """
        self.settings = settings
        self.preSharedKeys = PreSharedKeys()
        self.problems: list[Problem] = []
        self.grave: list[Problem] = []
        self._isGrave = True
        self._running = running
        self._opened: list[tuple[str, Bind, str]] = []

    def run(self) -> list[Problem]:
        """
        Try everything. This waits for the system's resolver and for the disk.

        @return: all that is wrong.
        """
        settings = self.settings
        if settings.persistence.store != "memory" and not self._running:
            for text in storeProblems(storePath(settings)):
                self._say("persistence.file" if "persistence.file" in self._places else "node.data_dir", None, text)
        self._logs()
        for listener in settings.listener:
            self.port(f"{listener.path}.bind", listener.bind)
            options = tlsOf(listener)
            if options is not None:
                self.attempt(partial(ServerContext, options, self.preSharedKeys))
        self._extensions()
        return self.problems

    def port(self, key: str, bind: Bind | None, kind: Literal["tcp", "udp"] = "tcp", *, shared: bool = False) -> None:
        """
        See L{IPreflight}.
        """
        if bind is None:
            return
        try:
            where = numeric(bind)
            other = next((key for key, used, of in self._opened if of == kind and clash(used, where)), None)
            self._opened.append((key, where, kind))
            if other is not None:
                self._say(key, str(bind), f"{other} listens there; choose another")
            else:
                # The ports of a broker that runs are taken, by itself; this machine must have their addresses.
                _attempt(Bind(where.host, 0, where.path) if self._running else where, kind, shared)
        except CannotListenError as error:
            if self._running and error.socketError.errno == EADDRINUSE:
                return
            self._say(key, str(bind), whyNot(bind, error.socketError))
        except OSError as error:
            self._say(key, str(bind), whyNot(bind, error))

    def attempt(self, action: Callable[[], object]) -> None:
        """
        See L{IPreflight}.
        """
        try:
            action()
        except Exception as error:
            self._say("", None, str(error) or type(error).__name__)

    @property
    def _places(self) -> dict[str, Any]:
        return self.settings.origin.places

    def _say(self, key: str, value: object, text: str) -> None:
        origin = self.settings.origin
        # Where the text names the key itself, its line is still wanted.
        place = self._places.get(key or text.split(" ", 1)[0].rstrip(":"))
        name, line = (origin.name, None) if place is None else (place.name, place.line)
        problem = Problem(name, line, key, value, text)
        if problem not in self.problems:
            self.problems.append(problem)
            if self._isGrave:
                self.grave.append(problem)

    def _logs(self) -> None:
        log = self.settings.log
        files = [log.file] if log.to in ("file", "both") else []
        files.extend(name for level in _LEVELS if (name := getattr(log, level).file))
        for name in files:
            text = folderProblem(Path(log.dir, name).parent)
            if text is not None:
                self._say("log.dir", log.dir, text)

    def _extensions(self) -> None:
        settings = self.settings
        registry = Registry(getPlugins(IExtensionMaker))
        changes = Changes()
        try:
            changes = LoadedFile(Path(settings.node.data_dir, settings.plugins.loaded_file)).read()
        except LoadedFileError as error:
            self._say("plugins.loaded_file", None, str(error))
        changes = changes.translated(registry.plainName)
        names = [maker.name for maker in registry if maker.always]
        names.extend(changes.wanted(settings.startingExtensions))
        makers = [maker for name in dict.fromkeys(names) if (maker := registry.find(name)) is not None]
        for maker in sorted(makers, key=lambda maker: maker.gateway):
            self._isGrave = maker.necessary
            self._extension(maker)

    def _extension(self, maker: IExtensionMaker) -> None:
        try:
            table = tableOf(maker, self.settings.extensions.get(maker.name))
            extension = maker.makeExtension(table)
        except Exception as error:
            self._say("plugins.load", maker.name, f"can't be used: {error}")
            return
        if table is not None:
            self._tables(maker.table, table)
        preflight = getattr(extension, "preflight", None)
        if preflight is not None:
            self.attempt(lambda: preflight(self))

    def _tables(self, path: str, table: object) -> None:
        """
        Try the ports that tables declare with a C{bind}, however deep they stand.
        """
        if not isinstance(table, Struct):
            return
        if isinstance(table, TCPPortSettings | UDPPortSettings) and table.bind is not None:
            self.port(f"{path}.bind", table.bind, "tcp" if isinstance(table, TCPPortSettings) else "udp")
            if isinstance(table, TLSPortSettings):
                self.attempt(lambda: ServerContext(optionsOf(table, path), self.preSharedKeys))
        for name in table.__struct_fields__:
            inner: object = getattr(table, name)
            for key, one in inner.items() if isinstance(inner, dict) else [("", inner)]:
                self._tables(f"{path}.{name}.{key}" if key else f"{path}.{name}", one)


def _attempt(bind: Bind, kind: str, shared: bool) -> None:
    """
    @raise CannotListenError: the address can't be had.
    """
    if bind.path:
        UNIXSocket(bind.path).attempt(PortOptions())
    elif kind == "udp":
        attemptDatagrams(bind, shared=shared)
    else:
        TCPSocket(bind.port, bind.host).attempt(PortOptions())
