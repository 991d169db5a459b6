"""
What the command line calls, by HTTP: C{POST /operations/NAME} with the request as JSON or as a form; on the UNIX
socket, and below C{/api/v4} for applications on other machines.

The answer comes as C{{"code": 0, "data": ...}}, or with C{?format=emqx} as the lines that C{emqx_ctl} prints.
C{GET /operations} describes the operations, so that the command line knows those of extensions that it does not have.
What a request is about stands in no path: a client may be called C{..}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_mqtt.base.printable import oneLine
from twisted_mqtt.management.describe import describe
from twisted_mqtt.management.rest.resource import answerOf, readBody
from twisted_mqtt.management.rest.sending import Gone, Sending, sendPage, sendStream, slices
from twisted_mqtt.operations.binding import bind
from twisted_mqtt.operations.dialects import COMMAND
from twisted_mqtt.operations.operation import UNKNOWN, Bare, Call, Caller, Raw, Refused, Rows, Stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.python.failure import Failure
    from twisted.web.server import Request

    from twisted_mqtt.interfaces import INode
    from twisted_mqtt.management.rest.credentials import Credentials
    from twisted_mqtt.operations.operation import Operation
    from twisted_mqtt.operations.registry import Operations

_log = Logger()
_encode = msgspec.json.Encoder().encode
_TEXT = b"text/plain; charset=utf-8"
_ALL = 1 << 53
_SOMEBODY_HERE = Caller("ctl", frozenset(("admin",)))


class ControlAPI(Resource):
    """
    See the module.
    """

    isLeaf = True

    def __init__(self, operations: Operations, node: INode, credentials: Credentials | None = None) -> None:
        """
        @param credentials: says who calls; None on the socket, where whoever can open it may do everything.
        """
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has not annotated it
        self._operations = operations
        self._node = node
        self._credentials = credentials

    def render(self, request: Request) -> int:
        """
        Answer a request.
        """
        sending = Sending(request)
        ensureDeferred(self._answer(request, sending)).addErrback(self._ebAnswer, sending)
        return NOT_DONE_YET

    async def _answer(self, request: Request, sending: Sending) -> None:
        try:
            caller = _SOMEBODY_HERE if self._credentials is None else await self._credentials.check(request)
            parts = [part.decode("utf-8", "replace") for part in request.postpath or () if part]
            if not parts and request.method == b"GET":
                sending.send(_encode({"code": 0, "data": [describe(one) for one in self._operations]}))
                return
            operation = self._operations.get(parts[0]) if len(parts) == 1 else None
            if operation is None or request.method != b"POST":
                raise Refused(404, "there is no such operation", 404)
            if not caller.may(operation.role):
                raise Refused(403, f"{caller.name!r} is not allowed to {operation.role}", 403)
            texts: dict[str, str | list[str]] = {}
            values = readBody(request, texts)
            if isinstance(values, list):
                raise Refused(404, "the body: an object is expected")
            asText = request.args is not None and request.args.get(b"format") == [b"emqx"]
            bound = bind(operation.request, texts, values)
            answer = await answerOf(operation, Call(bound, self._node, caller, COMMAND))
            if asText and operation.text is not None:
                await self._sendText(sending, operation, answer)
            elif isinstance(answer, Rows):
                await sendPage(sending, answer, 1, _ALL, False)
                sending.finish()
            elif isinstance(answer, Stream):
                await sendStream(sending, answer, caller)
            elif isinstance(answer, Raw):
                sending.send(answer.body, answer.contentType.encode("ascii"))
            elif isinstance(answer, Bare):
                sending.send(_encode(answer.body))
            else:
                sending.send(_encode({"code": 0, "data": answer}))
        except Refused as refusal:
            sending.send(_encode({"code": refusal.code, "message": str(refusal)}), status=refusal.status)

    async def _sendText(self, sending: Sending, operation: Operation, answer: object) -> None:
        text = operation.text
        assert text is not None  # it was looked at
        # The lines are made before the answer begins: if that fails, there is one that says so.
        if isinstance(answer, Rows):
            async for part in slices(sending, answer, _ALL):
                lines = _linesOf(line for row in part for line in text(row))
                sending.begin(_TEXT)
                await sending.write(lines)
        else:
            lines = _linesOf(text(answer))
            sending.begin(_TEXT)
            await sending.write(lines)
        sending.begin(_TEXT)
        sending.finish()

    def _ebAnswer(self, failure: Failure, sending: Sending) -> None:
        if failure.check(Gone):
            return
        _log.failure("a command failed", failure)
        if sending.begun:
            sending.abort()
        else:
            sending.send(_encode({"code": UNKNOWN, "message": "internal error; see the log of the broker"}), status=500)


def _linesOf(lines: Iterable[str]) -> bytes:
    """
    Lines as they are sent: clients have chosen their names, and someone prints them on a terminal.
    """
    return "".join(f"{oneLine(line)}\n" for line in lines).encode("utf-8", "replace")
