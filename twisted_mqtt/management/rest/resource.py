"""
The REST API as a resource of C{twisted.web}.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_mqtt.base.waiting import isDeferred
from twisted_mqtt.management.rest.openapi import document
from twisted_mqtt.management.rest.router import Found, Router
from twisted_mqtt.management.rest.sending import Gone, Sending, sendCursorPage, sendPage, sendStream
from twisted_mqtt.operations.binding import bind
from twisted_mqtt.operations.dialects import DIALECTS, NANOMQ, UNION, inDialect
from twisted_mqtt.operations.operation import (
    INVALID,
    NOT_JSON,
    NOT_WRITTEN,
    UNKNOWN,
    Bare,
    Call,
    Caller,
    Raw,
    Refused,
    Rows,
    Stream,
)

if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from twisted.web.server import Request

    from twisted_mqtt.interfaces import INode
    from twisted_mqtt.management.rest.credentials import Credentials
    from twisted_mqtt.management.rest.cursors import Cursors
    from twisted_mqtt.operations.operation import Operation
    from twisted_mqtt.operations.registry import Operations

_log = Logger()

_encode: Final = msgspec.json.Encoder().encode
_FORM: Final = b"application/x-www-form-urlencoded"

#: More parameters than this are no request of anybody's.
_MOST_PARAMETERS: Final = 200
#: Characters of a message.
_LONGEST: Final = 2000
_PAGING: Final = ("_page", "_limit")
#: The roles of operations that change nothing which is kept, or see to that themselves.
_KEEPS_NOTHING: Final = ("read", "publish")
#: Seconds that a change may take to be on disk: less than C{mqttbroker-ctl} waits for a word of the broker.
PATIENCE: Final = 4.0
#: More rows than there can be.
_ALL: Final = 1 << 53


class RestAPI(Resource):
    """
    All REST calls of one API. What a call answers, and with which status, stands in spec/rest-api.md 1.3, 1.4 and 6.

    @ivar dialect: that of callers who have none of their own and name none, see L{twisted_mqtt.operations.dialects}.
    """

    isLeaf = True

    def __init__(
        self,
        operations: Operations,
        node: INode,
        credentials: Credentials,
        cursors: Cursors,
        api: str = "v4",
        dialect: str = UNION,
        mostRows: int = 10_000,
        legacyStatus: bool = False,
    ) -> None:
        """
        @param credentials: says who calls.
        @param cursors: the lists that are being read.
        @param mostRows: the largest page.
        @param legacyStatus: whether a call that is refused is answered 200, as EMQ X does.
        """
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has not annotated it
        self.dialect = dialect
        self._operations = operations
        self._node = node
        self._credentials = credentials
        self._api = api
        self._mostRows = mostRows
        self._legacyStatus = legacyStatus
        self._cursors = cursors
        self._router = Router((), api)
        self._generation = -1
        self._document = b""

    @property
    def router(self) -> Router:
        """
        The calls that there are at present.
        """
        if self._generation != self._operations.generation:
            self._router = Router(self._operations, self._api)
            self._document = b""
            self._generation = self._operations.generation
        return self._router

    async def prepare(self) -> None:
        """
        Make the OpenAPI document, so that who asks for it first does not wait for it.
        """
        await self._documentOf()

    async def _documentOf(self) -> bytes:
        """
        The OpenAPI document. It takes a thread some milliseconds to make, so it is kept.
        """
        router = self.router
        if not self._document:
            made = await self._node.broker.threads.defer(lambda: _encode(document(router, self._legacyStatus)))
            if router is not self.router:
                # It is true for those who asked for it.
                return made
            self._document = made
        return self._document

    def render(self, request: Request) -> int:
        """
        Answer a request.
        """
        sending = Sending(request)
        ensureDeferred(self._answer(request, sending)).addErrback(self._ebAnswer, request, sending)
        return NOT_DONE_YET

    async def _answer(self, request: Request, sending: Sending) -> None:
        try:
            if request.postpath == [b"openapi.json"] and request.method in (b"GET", b"HEAD"):
                # It tells nothing about this broker but what it can be asked.
                sending.send(await self._documentOf())
                return
            found = self._find(request)
            caller = await self._credentials.check(request)
            if not caller.may(found.operation.role):
                raise Refused(403, f"{caller.name!r} is not allowed to {found.operation.role}", 403)
            dialect = self._dialectOf(request, caller)
            texts, values = self.inputOf(request, found.route.textField)
            await self._run(sending, found, caller, dialect, texts, values)
        except Refused as refusal:
            self._refuse(sending, refusal)

    def pathOf(self, request: Request) -> list[str]:
        """
        The parts of the path below the base, as the calls of today have them.

        @raise Refused: it is not UTF-8.
        """
        return partsOf(request)

    def inputOf(
        self, request: Request, textField: str
    ) -> tuple[dict[str, str | list[str]], Mapping[str, object] | list[object]]:
        """
        What comes with a request, as the calls of today name it: texts, and values of the body.

        @param textField: see L{Route}.

        @raise Refused: it can't be read.
        """
        texts = queryOf(request)
        return texts, readBody(request, texts, textField)

    def _find(self, request: Request) -> Found:
        """
        @raise Refused: there is no such call.
        """
        method = request.method.decode("ascii", "replace")
        found = self.router.find("GET" if method == "HEAD" else method, self.pathOf(request))
        if isinstance(found, Found):
            return found
        if not found:
            raise Refused(404, "there is no such call; GET / lists those that there are", 404)
        request.setHeader(b"allow", ", ".join(found).encode("ascii"))
        raise Refused(405, f"this path takes {', '.join(found)}, not {method[:20]}", 405)

    async def _run(
        self,
        sending: Sending,
        found: Found,
        caller: Caller,
        dialect: str,
        texts: dict[str, str | list[str]],
        values: Mapping[str, object] | list[object],
    ) -> None:
        operation = found.operation
        cursor = _lastOf(texts.pop("_cursor", None)) if operation.isList else None
        if cursor is not None and "_page" in texts:
            raise Refused(INVALID, "_page: a cursor knows its page")
        page, limit = self._pageOf(texts)
        if isinstance(values, list):
            if not operation.isBatch:
                raise Refused(NOT_JSON, "the body: an object is expected, not a list")
            values = {operation.request.__struct_fields__[0]: values}
        elif operation.isBatch:
            raise Refused(NOT_JSON, "the body: a list is expected, not an object")
        texts.update(found.variables)
        # A variable of the path is what the call is about; the body does not change it.
        bound = bind(operation.request, texts, {k: v for k, v in values.items() if k not in found.variables})
        call = Call(bound, self._node, caller, dialect)
        if cursor is not None:
            await self._sendFrom(sending, operation, call, cursor, limit)
            return
        answer = await _answerOf(operation, call)
        if isinstance(answer, Rows):
            paged = found.route.paged
            if not paged:
                page, limit = 1, _ALL
            await sendPage(sending, answer, page, limit, paged and dialect != NANOMQ)
            sending.finish()
        elif isinstance(answer, Stream):
            await sendStream(sending, answer, call.caller)
        elif isinstance(answer, Raw):
            sending.send(answer.body, answer.contentType.encode("ascii"))
        elif isinstance(answer, Bare):
            sending.send(_encode(answer.body))
        elif answer is None:
            sending.send(b'{"code":0}')
        else:
            sending.send(b'{"code":0,"data":' + _encode(answer) + b"}")

    async def _sendFrom(self, sending: Sending, operation: Operation, call: Call[Any], text: str, limit: int) -> None:
        """
        Send a page of a list that is read with a cursor.

        @param text: the cursor; C{""} to begin.
        """
        cursors, caller, what = self._cursors, call.caller.name, (operation.name, call.request, call.dialect)
        if text:
            cursor, page = cursors.find(text, caller, what)
        else:
            rows = await _answerOf(operation, call)
            assert isinstance(rows, Rows)  # it is a list
            cursor, page = cursors.begin(rows, caller, what), 1
        cursor.turnTo(page, limit)
        try:
            await sendCursorPage(sending, cursor)
        except Gone:
            cursors.use(cursor)
            raise
        except BaseException:
            # Its listing has failed, and is over.
            cursors.end(cursor)
            raise
        cursors.use(cursor)
        sending.finish()

    def _dialectOf(self, request: Request, caller: Caller) -> str:
        """
        @raise Refused: the request names one that there is not.
        """
        named = request.getHeader(b"x-api-dialect")
        if named is None:
            return caller.dialect or self.dialect
        text = named.decode("ascii", "replace").strip().lower()
        if text not in DIALECTS:
            raise Refused(INVALID, f"X-Api-Dialect: one of {', '.join(DIALECTS)}, not {text[:40]!r}")
        return text

    def _pageOf(self, texts: dict[str, str | list[str]]) -> tuple[int, int]:
        """
        @return: the page, and how many rows it has.
        """
        numbers = []
        for name, without in zip(_PAGING, (1, self._mostRows), strict=True):
            text = _lastOf(texts.pop(name, None))
            if text is None:
                numbers.append(without)
                continue
            if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:19]) <= 1 << 53:
                raise Refused(INVALID, f"{name}: a whole number from 1 on, not {text[:40]!r}")
            numbers.append(int(text[:19]))
        return numbers[0], min(numbers[1], self._mostRows)

    def _refuse(self, sending: Sending, refusal: Refused) -> None:
        isLegacy = self._legacyStatus and 400 <= refusal.status < 500 and refusal.status not in (401, 403, 405, 429)
        # It may name what the caller has sent, which may be long.
        text = str(refusal)
        if len(text) > _LONGEST:
            text = f"{text[:_LONGEST]}..."
        body = _encode({"code": refusal.code, "message": text})
        sending.send(body, status=200 if isLegacy else refusal.status)

    def _ebAnswer(self, failure: Failure, request: Request, sending: Sending) -> None:
        """
        A fault of ours: the log has the whole, and the caller no more than that.
        """
        if failure.check(Gone):
            return
        path = request.path.decode("utf-8", "replace")
        _log.failure("the call {method} {path!r} failed", failure, method=request.method.decode("latin-1"), path=path)
        if sending.begun:
            sending.abort()
        else:
            sending.send(_encode({"code": UNKNOWN, "message": "internal error; see the log of the broker"}), status=500)


def _lastOf(text: str | list[str] | None) -> str | None:
    return text[-1] if isinstance(text, list) else text


async def _answerOf(operation: Operation, call: Call[Any]) -> object:
    """
    Call an operation.

    @return: its answer, or the rows of one, with the fields that the dialect has.

    @raise Refused: it is not done.
    """
    answer = await answerOf(operation, call)
    if call.dialect == UNION or isinstance(answer, Raw | Bare | Stream):
        return answer
    if isinstance(answer, Rows):
        row, dialect = answer.row, call.dialect
        return Rows(answer.listing, lambda thing: inDialect(row(thing), dialect), answer.total)
    return inDialect(answer, call.dialect)


async def answerOf(operation: Operation, call: Call[Any]) -> object:
    """
    Call an operation. What it changes is on disk when it is answered, as far as the store promises that: an application
    that was removed does not come back when the process is killed.

    @raise Refused: it is not done; or it is, and can't be kept.
    """
    answer = operation.run(call)
    if isDeferred(answer) or isinstance(answer, CoroutineType):
        answer = await answer
    # A message that is published waits for that where its quality of service wants it.
    if operation.role not in _KEEPS_NOTHING:
        safe = call.broker.safe()
        if safe is not None:
            try:
                await safe.addTimeout(PATIENCE, call.broker.clock)
            except Exception:
                # It was not in time, or the broker stops and can't write.
                raise Refused(NOT_WRITTEN, "it is done, but the store can't be written: it may be lost", 500) from None
    return answer


def partsOf(request: Request) -> list[str]:
    """
    The parts of the path below the base, decoded once; C{//} and a slash at the end are nothing.

    @raise Refused: it is not UTF-8.
    """
    # Twisted has decoded postpath, with slashes that were written %2F in it; so it is what is wanted here.
    try:
        return [part.decode("utf-8") for part in request.postpath or () if part]
    except UnicodeDecodeError:
        raise Refused(INVALID, "the path is not UTF-8") from None


def queryOf(request: Request) -> dict[str, str | list[str]]:
    """
    The parameters after the C{?}.
    """
    return _formOf(request.uri.partition(b"?")[2], "the query")


def _formOf(data: bytes, what: str) -> dict[str, str | list[str]]:
    if not data:
        return {}
    try:
        # Escapes are checked too: they must make UTF-8.
        unquote_to_bytes(data.replace(b"+", b" ")).decode("utf-8")
        pairs = parse_qs(data.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except UnicodeDecodeError:
        raise Refused(INVALID, f"{what} is not UTF-8") from None
    except ValueError:
        raise Refused(INVALID, f"{what} has more than {_MOST_PARAMETERS} parameters") from None
    return {name: values[0] if len(values) == 1 else values for name, values in pairs.items()}


def readBody(
    request: Request, texts: dict[str, str | list[str]], textField: str = ""
) -> Mapping[str, object] | list[object]:
    """
    The values of a body of JSON. Those of a form are texts, and join C{texts}.

    @param textField: the field that takes a body which is no object of JSON; C{""} for none.

    @raise Refused: it is neither, or neither an object nor a list.
    """
    data = b"" if request.content is None else request.content.read()
    if not data.strip():
        return {}
    if textField:
        return _textOrObject(data, textField)
    kind = (request.getHeader(b"content-type") or b"").partition(b";")[0].strip().lower()
    # Samples of NanoMQ send JSON and call it a form, as curl does.
    if kind == _FORM and data.lstrip()[:1] not in (b"{", b"["):
        texts.update(_formOf(data, "the body"))
        return {}
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(NOT_JSON, f"the body is not JSON: {error}") from None
    if not isinstance(body, dict | list):
        raise Refused(NOT_JSON, "the body: an object is expected")
    return body


def _textOrObject(data: bytes, field: str) -> Mapping[str, object]:
    """
    @raise Refused: it is not UTF-8.
    """
    try:
        if data.lstrip().startswith(b"{"):
            body = msgspec.json.decode(data)
            if isinstance(body, dict) and field in body:
                return body
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return {field: data.decode("utf-8")}
    except UnicodeDecodeError:
        raise Refused(INVALID, "the body is not UTF-8") from None
