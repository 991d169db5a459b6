"""
Pages outside the REST API: metrics for Prometheus, health for load balancers, the status for people.

Anybody may ask for the health. The others are for this machine, and for applications that may read.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Final

import msgspec
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_mqtt.base.exposition import OPEN_METRICS, TEXT, completed, encoded, families, isOpenMetrics
from twisted_mqtt.management.health import listenerReasons, reasons
from twisted_mqtt.management.rest.credentials import isLocal
from twisted_mqtt.management.rest.sending import Sending
from twisted_mqtt.management.status import statusText
from twisted_mqtt.operations.operation import Refused

if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from twisted.web.server import Request

    from twisted_mqtt.base.exposition import Style
    from twisted_mqtt.interfaces import INode
    from twisted_mqtt.management.rest.credentials import Credentials

_log = Logger()
_encode: Final = msgspec.json.Encoder().encode


class Health(Resource):
    """
    C{/health} says whether clients are to be sent here, C{/health/ping} whether the process works, and
    C{/health/listeners} whether its ports are open: 200 with C{{"status": "OK"}}, or 503 with the reasons.
    """

    isLeaf = True

    def __init__(self, node: INode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has not annotated it
        self._node = node

    def render_GET(self, request: Request) -> int:
        """
        Answer.
        """
        parts = [part for part in request.postpath or () if part]
        sending = Sending(request)
        if parts == [b"ping"]:
            found = []
        elif parts == [b"listeners"]:
            found = listenerReasons(self._node)
        elif not parts:
            found = reasons(self._node)
        else:
            sending.send(_encode({"code": 404, "message": "Not Found"}), status=404)
            return NOT_DONE_YET
        if found:
            sending.send(_encode({"status": "DOWN", "reasons": found}), status=503)
        else:
            sending.send(b'{"status":"OK"}')
        return NOT_DONE_YET


class GuardedPage(Resource):
    """
    A page for this machine, and for applications that may read.

    @ivar node: the node that it is about.
    """

    isLeaf = True

    def __init__(self, node: INode, credentials: Credentials) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has not annotated it
        self.node = node
        self._credentials = credentials

    def render_GET(self, request: Request) -> int:
        """
        Answer.
        """
        sending = Sending(request)
        ensureDeferred(self._answer(request, sending)).addErrback(self._ebAnswer, sending)
        return NOT_DONE_YET

    def isOpenTo(self, request: Request) -> bool:
        """
        Whether this request needs no credentials.
        """
        return isLocal(request)

    async def show(self, request: Request, sending: Sending) -> None:
        """
        Send the page.
        """
        raise NotImplementedError

    async def _answer(self, request: Request, sending: Sending) -> None:
        try:
            if request.postpath and any(request.postpath):
                raise Refused(404, "Not Found", 404)
            if not self.isOpenTo(request):
                caller = await self._credentials.check(request)
                if not caller.may("read"):
                    raise Refused(403, f"{caller.name!r} is not allowed to read", 403)
        except Refused as refusal:
            sending.send(_encode({"code": refusal.code, "message": str(refusal)}), status=refusal.status)
            return
        await self.show(request, sending)

    def _ebAnswer(self, failure: Failure, sending: Sending) -> None:
        _log.failure("{page} can't be shown", failure, page=type(self).__name__)
        sending.send(_encode({"code": 500, "message": "internal error; see the log of the broker"}), status=500)


class MetricsPage(GuardedPage):
    """
    C{/metrics}: what is counted and measured, as Prometheus reads it.
    """

    def __init__(self, node: INode, credentials: Credentials, style: Style, prefix: str = "") -> None:
        super().__init__(node, credentials)
        self._style: Style = style
        self._prefix = prefix

    async def show(self, request: Request, sending: Sending) -> None:
        """
        See L{GuardedPage}.
        """
        broker = self.node.broker
        isOpen = isOpenMetrics(request.getHeader(b"accept") or b"")
        parts = families(
            completed(broker.metrics.collect(), self._style), self._style, broker.nodeName, isOpen, self._prefix
        )
        text = "".join(await broker.portions.all(parts))
        sending.send(encoded(text), (OPEN_METRICS if isOpen else TEXT).encode("ascii"))


class StatusJSON(GuardedPage):
    """
    C{/status.json}: how the nodes are, for programs and for the status page.
    """

    async def show(self, request: Request, sending: Sending) -> None:
        """
        See L{GuardedPage}.
        """
        sending.send(statusText(self.node))


class StatusPage(GuardedPage):
    """
    C{/status}: a page for people; for who does not want HTML, as load balancers, a line that anybody may read, with 200
    while clients are to be sent here and else 503 and the reasons (spec/vernemq.md 26.6, G14).
    """

    def __init__(self, node: INode, credentials: Credentials) -> None:
        super().__init__(node, credentials)
        self._page = resources.files("twisted_mqtt.management").joinpath("static", "status.html").read_bytes()
        self._policy = policyOf(self._page)

    def isOpenTo(self, request: Request) -> bool:
        """
        See L{GuardedPage}.
        """
        return not wantsHTML(request) or isLocal(request)

    async def show(self, request: Request, sending: Sending) -> None:
        """
        See L{GuardedPage}.
        """
        request.setHeader(b"vary", b"accept")
        if wantsHTML(request):
            request.setHeader(b"content-security-policy", self._policy)
            request.setHeader(b"referrer-policy", b"no-referrer")
            sending.send(self._page, b"text/html; charset=utf-8")
            return
        found = reasons(self.node)
        text = "\n".join(found) if found else f"Node {self.node.broker.nodeName} is started"
        sending.send(f"{text}\n".encode(), b"text/plain; charset=utf-8", 503 if found else 200)


def wantsHTML(request: Request) -> bool:
    """
    Whether a request is that of a browser.
    """
    return b"text/html" in (request.getHeader(b"accept") or b"").lower()


def policyOf(page: bytes) -> bytes:
    """
    The Content-Security-Policy of a page: its own script and style and no others, and requests to this port alone.
    """

    def sources(tag: bytes) -> str:
        inner = re.findall(b"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
        return " ".join(f"'sha256-{b64encode(sha256(text).digest()).decode()}'" for text in inner)

    return (
        f"default-src 'none'; script-src {sources(b'script')}; style-src {sources(b'style')}; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ).encode("ascii")
