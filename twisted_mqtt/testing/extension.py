"""
A test kit: one extension with a context of its own, without a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, ParamSpec, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, fail, maybeDeferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from twisted_mqtt.config import Settings
from twisted_mqtt.config.reloadreport import ReloadReport
from twisted_mqtt.extensions.context import ExtensionContext
from twisted_mqtt.extensions.running import Extensions
from twisted_mqtt.hooks.registration import hookOwner
from twisted_mqtt.interfaces import IHTTPServices, IListening, IMount, INode
from twisted_mqtt.interfaces.node import NodeState
from twisted_mqtt.node.settings import RuntimeSettings
from twisted_mqtt.operations.registry import Operations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IProtocolFactory
    from twisted.web.resource import IResource

    from twisted_mqtt.config.schema_http import AnyHTTPSettings
    from twisted_mqtt.config.schema_ports import DatagramSettings, PortSettings
    from twisted_mqtt.config.values import Bind
    from twisted_mqtt.interfaces import IBroker, IExtension, ILog
    from twisted_mqtt.listeners.datagrams import DatagramHandler
    from twisted_mqtt.net.tls.options import TLSOptions

#: For how many seconds something that is swept is waited for.
_TIMEOUT: Final = 30.0

T = TypeVar("T")
_P = ParamSpec("_P")


def _atOnce(function: Callable[_P, T], /, *args: _P.args, **kwargs: _P.kwargs) -> Deferred[T]:
    """
    Run in this thread what a node runs in another one.
    """
    return maybeDeferred(function, *args, **kwargs)


@implementer(IListening)
class MemoryListening:
    """
    A port in memory, which nothing comes to but what a test gives it.

    @ivar factory: what the extension has given to make protocols, or what takes its datagrams.
    """

    connections = 0
    certificate: str | None = None

    def __init__(self, name: str, kind: str, path: str, address: Bind, factory: object, ports: MemoryPorts) -> None:
        self.name = name
        self.protocol = name.partition(".")[0]
        self.kind = kind
        self.path = path or name
        self.address = address
        self.factory = factory
        self.isOpen = True
        self._ports = ports

    def figures(self) -> dict[str, int]:
        """
        See L{IListening}.
        """
        return {}

    def start(self) -> Deferred[None]:
        """
        See L{IListening}.
        """
        self.isOpen = True
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """
        See L{IListening}.
        """
        self.isOpen = False
        return succeed(None)

    def close(self) -> Deferred[None]:
        """
        See L{IListening}.
        """
        self._ports.pop(self.name, None)
        return self.stop()

    def reloadCertificates(self) -> bool | None:
        """
        See L{IListening}.
        """
        return None


@implementer(IMount)
class MemoryMount:
    """
    A resource that is mounted in memory.
    """

    def __init__(self, service: str, path: str, resource: IResource, mounted: dict[tuple[str, str], IMount]) -> None:
        self.service = service
        self.path = path
        self.resource = resource
        self._mounted = mounted

    def close(self) -> Deferred[None]:
        """
        See L{IMount}.
        """
        self._mounted.pop((self.service, self.path), None)
        return succeed(None)


@implementer(IHTTPServices)
class MemoryHTTP:
    """
    HTTP services in memory: what is mounted can be looked at, and nobody asks for it.
    """

    def __init__(self) -> None:
        self._mounted: dict[tuple[str, str], IMount] = {}

    def declare(self, service: str, tables: Mapping[str, AnyHTTPSettings], path: str = "") -> Deferred[None]:
        """
        See L{IHTTPServices}.
        """
        return succeed(None)

    def mount(self, service: str, path: str, resource: IResource) -> Deferred[IMount]:
        """
        See L{IHTTPServices}.
        """
        if (service, path) in self._mounted:
            raise ValueError(f"something is mounted at {path} of {service} already")
        mount: IMount = MemoryMount(service, path, resource, self._mounted)
        self._mounted[service, path] = mount
        return succeed(mount)

    def mounts(self, service: str) -> list[IMount]:
        """
        See L{IHTTPServices}.
        """
        return [mount for mount in self._mounted.values() if mount.service == service]


MemoryPorts: TypeAlias = "dict[str, MemoryListening]"


@implementer(INode)
class MemoryNode:
    """
    The node around a broker in memory, as an extension sees it: its ports are open to nobody, and no other extension
    runs.

    @ivar ended: how it was ended: C{"stop"}, C{"restart"}.
    """

    def __init__(self, broker: IBroker, settings: Settings | None = None) -> None:
        self.broker = broker
        self.log: ILog | None = None
        current = Settings() if settings is None else settings
        self.settings = RuntimeSettings(current, self._goBy, DeferredLock().run, _atOnce)
        self.extensions = Extensions(broker, self, lambda name: self.settings.current.extensions.get(name))
        self.ports: MemoryPorts = {}
        self.state: NodeState = "serving"
        self.http = MemoryHTTP()
        self.operations = Operations()
        self.ended: list[str] = []

    def end(self, restart: bool = False, soon: float = 0.0) -> str:
        """
        See L{INode}: that it was asked for is noted.
        """
        self.broker.clock.callLater(soon, self.ended.append, "restart" if restart else "stop")
        return ""

    async def _goBy(self, settings: Settings) -> ReloadReport:
        self.settings.current = settings
        return ReloadReport()

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
        pending: int = 1048576,
    ) -> Deferred[IListening]:
        """
        See L{INode}.
        """
        return self._open(name, kind or "tcp", path, bind or settings.bind, factory)

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
        return self._open(name, kind, path, bind or getattr(settings, "bind", None), protocol)

    def _open(self, name: str, kind: str, path: str, bind: Bind | None, factory: object) -> Deferred[IListening]:
        if name in self.ports or bind is None:
            return fail(ValueError(f"{name}: the name is taken, or nothing says where to listen"))
        opened = MemoryListening(name, kind, path, bind, factory, self.ports)
        self.ports[name] = opened
        listening: IListening = opened
        return succeed(listening)


class ExtensionHarness:
    """
    One extension in a test.

    @ivar extension: the extension.
    @ivar context: what it is given.
    """

    def __init__(self, extension: IExtension, broker: IBroker, name: str = "", node: INode | None = None) -> None:
        """
        @param broker: a broker in memory, such as that of
            L{makeBroker<twisted_mqtt.testing.broker.makeBroker>}.
        @param name: what the extension is called; without one, as its class is.
        """
        self.extension = extension
        name = name or type(extension).__name__.lower()
        self.context = ExtensionContext(name, extension, broker, MemoryNode(broker) if node is None else node)

    def start(self) -> ExtensionHarness:
        """
        Start the extension, which must not have to wait.

        @raise Exception: what keeps it from starting.
        """
        resultOf(self.starting())
        return self

    def starting(self) -> Deferred[object]:
        """
        Start an extension that may have to wait.
        """
        token = hookOwner.set(self.extension)
        try:
            return maybeDeferred(self.extension.start, self.context)
        finally:
            hookOwner.reset(token)

    def stop(self) -> list[str]:
        """
        Stop the extension and sweep what it has registered; neither may have to wait.

        @return: what was swept.
        """
        return resultOf(self.stopping())

    def stopping(self) -> Deferred[list[str]]:
        """
        Stop an extension that may have to wait.
        """

        async def stopping() -> list[str]:
            stop = getattr(self.extension, "stop", None)
            if stop is not None:
                await maybeDeferred(stop)
            return await self.context.sweep(_TIMEOUT)

        return Deferred.fromCoroutine(stopping())


def resultOf(waiting: Deferred[T]) -> T:
    """
    The result of a Deferred that has fired.

    @raise AssertionError: it has not fired.
    @raise Exception: what it has failed with.
    """
    results: list[T | Failure] = []
    waiting.addBoth(results.append)
    assert results, "it waits"
    result = results[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result
