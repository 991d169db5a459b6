"""
Pages outside the REST API: metrics for Prometheus, health for load balancers.

Anybody may ask for the health. Metrics are for this machine, and for applications that may read.
"""

from __future__ import annotations

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


class MetricsPage(Resource):
    """
    C{/metrics}: what is counted and measured, as Prometheus reads it.
    """

    isLeaf = True

    def __init__(self, node: INode, credentials: Credentials, style: Style, prefix: str = "") -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has not annotated it
        self._node = node
        self._credentials = credentials
        self._style: Style = style
        self._prefix = prefix

    def render_GET(self, request: Request) -> int:
        """
        Answer.
        """
        sending = Sending(request)
        ensureDeferred(self._answer(request, sending)).addErrback(self._ebAnswer, sending)
        return NOT_DONE_YET

    async def _answer(self, request: Request, sending: Sending) -> None:
        try:
            if not isLocal(request):
                caller = await self._credentials.check(request)
                if not caller.may("read"):
                    raise Refused(403, f"{caller.name!r} is not allowed to read", 403)
            if request.postpath and any(request.postpath):
                raise Refused(404, "Not Found", 404)
        except Refused as refusal:
            sending.send(_encode({"code": refusal.code, "message": str(refusal)}), status=refusal.status)
            return
        broker = self._node.broker
        isOpen = isOpenMetrics(request.getHeader(b"accept") or b"")
        parts = families(
            completed(broker.metrics.collect(), self._style), self._style, broker.nodeName, isOpen, self._prefix
        )
        text = "".join(await broker.portions.all(parts))
        sending.send(encoded(text), (OPEN_METRICS if isOpen else TEXT).encode("ascii"))

    def _ebAnswer(self, failure: Failure, sending: Sending) -> None:
        _log.failure("the metrics can't be shown", failure)
        sending.send(_encode({"code": 500, "message": "internal error; see the log of the broker"}), status=500)
