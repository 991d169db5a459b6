"""
An extension with a port, an HTTP service and work for threads, which tells by HTTP what there is and does what it is
told. It stands beside a plugin file that a test writes.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_mqtt.config.schema_http import HTTPSettings
from twisted_mqtt.config.schema_ports import TCPPortSettings

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IExtensionContext


class Settings(Struct, frozen=True, kw_only=True):
    """
    Its table.
    """

    listener: Annotated[TCPPortSettings, "Where it echoes"] = TCPPortSettings()
    http: Annotated[HTTPSettings, "Where it tells"] = HTTPSettings()


class Echo(Protocol):
    """
    Sends back what it hears.
    """

    def dataReceived(self, data: bytes) -> None:
        """
        Echo.
        """
        assert self.transport is not None
        self.transport.write(data)


class Desk(Resource):
    """
    C{GET /desk/ports}: what ports there are; C{POST /desk/stop/NAME}, C{start}, C{close}; C{GET /desk/thread}: whether
    a thread is another one.
    """

    isLeaf = True

    def __init__(self, context: IExtensionContext) -> None:
        Resource.__init__(self)
        self._context = context

    def render_GET(self, request: Any) -> int:
        """
        Tell.
        """
        return self._answer(request, self._tell(request.postpath[0]))

    def render_POST(self, request: Any) -> int:
        """
        Do.
        """
        return self._answer(request, self._do(*(part.decode() for part in request.postpath)))

    async def _tell(self, what: bytes) -> object:
        if what == b"thread":
            return await self._context.broker.threads.defer(threading.get_ident) != threading.get_ident()
        return {name: {"open": port.isOpen, **port.figures()} for name, port in self._context.node.ports.items()}

    async def _do(self, what: str, name: str) -> object:
        await getattr(self._context.node.ports[name], what)()
        return "done"

    def _answer(self, request: Any, work: Any) -> int:
        def done(answer: object) -> None:
            request.setHeader(b"Content-Type", b"application/json")
            request.write(json.dumps(answer).encode())
            request.finish()

        Deferred.fromCoroutine(work).addCallbacks(done, request.processingFailed)
        return NOT_DONE_YET


class Porter:
    """
    The extension.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def start(self, context: IExtensionContext) -> None:
        """
        Open the ports.
        """
        factory = Factory.forProtocol(Echo)
        factory.noisy = False
        self._port = await context.node.listen(self._settings.listener, factory, "porter.tcp", path="porter.listener")
        await context.node.http.declare("porter", {"http": self._settings.http}, "porter")
        self._mount = await context.node.http.mount("porter", "/desk", Desk(context))

    async def stop(self) -> None:
        """
        Close them.
        """
        await self._mount.close()
        await self._port.close()
