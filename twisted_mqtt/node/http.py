"""
HTTP services of a node: each has ports, as its tables say, and resources that extensions mount in it.

A service is known by its name, such as C{"management"} or C{"dashboard"}. Its ports open when its tables exist and an
extension has mounted a resource, and close when either is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web import pages
from twisted.web.resource import IResource, getChildForRequest
from zope.interface import implementer

from twisted_mqtt.config.schema_http import HTTPSSettings
from twisted_mqtt.interfaces import IHTTPServices, IMount
from twisted_mqtt.net.httpserver import BoundedSite, HTTPLimits

if TYPE_CHECKING:
    from twisted.web.server import Request

    from twisted_mqtt.config.schema_http import AnyHTTPSettings
    from twisted_mqtt.interfaces import IListening
    from twisted_mqtt.node.ports import Ports

_log = Logger()

_Place = tuple[bytes, ...]


@implementer(IMount)
class Mount:
    """
    A resource at a path of a service. See L{IMount}.
    """

    def __init__(self, service: HTTPService, path: str, place: _Place, resource: IResource) -> None:
        self.service = service.name
        self.path = path
        self.place = place
        self.resource = resource
        self._service = service

    def close(self) -> Deferred[None]:
        """
        See L{IMount}.
        """
        return self._service.unmount(self)


class HTTPService:
    """
    One service.

    @ivar name: what it is called.
    @ivar mounts: what is mounted, by the parts of its path.
    @ivar ports: those that are open, by the names of their tables.
    """

    def __init__(self, name: str, ports: Ports, clock: IReactorTime) -> None:
        self.name = name
        self.mounts: dict[_Place, Mount] = {}
        self.ports: dict[str, IListening] = {}
        self._tables: dict[str, AnyHTTPSettings] = {}
        self._path = name
        # The settings of each open port.
        self._begun: dict[str, AnyHTTPSettings] = {}
        self._all = ports
        self._clock = clock
        self._lock = DeferredLock()

    def declare(self, tables: Mapping[str, AnyHTTPSettings], path: str) -> Deferred[None]:
        """
        See L{IHTTPServices}.
        """
        self._tables = dict(tables)
        self._path = path or self.name
        return self._settle()

    def mount(self, path: str, resource: IResource) -> Deferred[IMount]:
        """
        See L{IHTTPServices}.
        """
        place = placeOf(path)
        if place in self.mounts:
            raise ValueError(f"something is mounted at {path} of {self.name} already")
        mount = self.mounts[place] = Mount(self, path, place, resource)

        async def opened() -> IMount:
            try:
                await self._settle()
            except BaseException:
                await self.unmount(mount)
                raise
            return mount

        return Deferred.fromCoroutine(opened())

    def unmount(self, mount: Mount) -> Deferred[None]:
        """
        Take a resource out. Requests that it is answering go on.

        @return: fires when the ports are closed, if that was the last. It does not fail.
        """
        if self.mounts.get(mount.place) is mount:
            del self.mounts[mount.place]
        return self._settle().addErrback(self._ebSettle)

    def close(self) -> Deferred[None]:
        """
        Forget everything.

        @return: fires when its ports are closed.
        """
        self.mounts.clear()
        self._tables.clear()
        return self._settle()

    def find(self, request: Request) -> IResource:
        """
        Find what answers a request: of the resources that are mounted, that with the longest path that leads there.
        """
        parts, before = request.postpath, request.prepath
        assert parts is not None and before is not None
        # Nobody has to think of these again; a client that knows what it wants does not send them.
        if any(part in (b".", b"..") or b"\0" in part for part in parts):
            return pages.notFound()
        for length in range(len(parts), -1, -1):
            mount = self.mounts.get(tuple(parts[:length]))
            if mount is not None:
                before.extend(parts[:length])
                del parts[:length]
                found: IResource = getChildForRequest(mount.resource, request)
                return found
        return pages.notFound()

    def _settle(self) -> Deferred[None]:
        return self._lock.run(lambda: Deferred.fromCoroutine(self._openAndClose()))

    async def _openAndClose(self) -> None:
        """
        Have those ports open that should be.
        """
        wanted = self._tables if self.mounts else {}
        for name in [name for name, settings in self._begun.items() if wanted.get(name) != settings]:
            del self._begun[name]
            await self.ports.pop(name).close()
        for name, settings in wanted.items():
            if name not in self._begun and settings.bind is not None:
                self.ports[name] = await self._open(name, settings)
                self._begun[name] = settings

    async def _open(self, name: str, settings: AnyHTTPSettings) -> IListening:
        path = f"{self._path}.{name}"
        secure = isinstance(settings, HTTPSSettings)
        site = BoundedSite(self.find, limitsOf(settings), self._clock, path, secure, settings.access_log)
        return await self._all.listen(
            settings,
            site,
            f"{self.name}.{name}",
            path=path,
            kind="https" if secure else "http",
            protocols=(b"http/1.1",),
        )

    def _ebSettle(self, failure: object) -> None:
        _log.error("{service}: {failure}", service=self.name, failure=failure)


@implementer(IHTTPServices)
class HTTPServices:
    """
    All HTTP services of a node. See L{IHTTPServices}.
    """

    def __init__(self, ports: Ports, clock: IReactorTime) -> None:
        self._services: dict[str, HTTPService] = {}
        self._ports = ports
        self._clock = clock

    def declare(self, service: str, tables: Mapping[str, AnyHTTPSettings], path: str = "") -> Deferred[None]:
        """
        See L{IHTTPServices}.
        """
        return self._service(service).declare(tables, path)

    def mount(self, service: str, path: str, resource: IResource) -> Deferred[IMount]:
        """
        See L{IHTTPServices}.
        """
        return self._service(service).mount(path, resource)

    def mounts(self, service: str) -> list[IMount]:
        """
        See L{IHTTPServices}.
        """
        return list(self._service(service).mounts.values())

    async def closeAll(self) -> None:
        """
        Close all ports, and forget what was mounted.
        """
        for service in self._services.values():
            await service.close()
        self._services.clear()

    def _service(self, name: str) -> HTTPService:
        service = self._services.get(name)
        if service is None:
            service = self._services[name] = HTTPService(name, self._ports, self._clock)
        return service


def placeOf(path: str) -> _Place:
    """
    The parts of a path, as those of a request are.

    @raise ValueError: it does not begin with a slash, or has parts that no request has.
    """
    if not path.startswith("/"):
        raise ValueError(f"{path}: a path begins with a slash")
    parts = [part.encode("utf-8") for part in path.strip("/").split("/")] if path.strip("/") else []
    if any(part in (b"", b".", b"..") for part in parts):
        raise ValueError(f"{path}: a path has no empty parts and no dots")
    return tuple(parts)


def limitsOf(settings: AnyHTTPSettings) -> HTTPLimits:
    """
    The limits that a table states.
    """
    return HTTPLimits(
        settings.max_head,
        settings.max_headers,
        settings.max_body,
        settings.head_timeout,
        settings.body_timeout,
        settings.idle_timeout,
        settings.max_requests,
    )
