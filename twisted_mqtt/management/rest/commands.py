"""
C{/api/v1}, as VerneMQ has it: a command is a path, and what follows it is the query (spec/vernemq.md 19).

C{session disconnect client-id=a --cleanup} is C{GET /api/v1/session/disconnect?client-id=a&--cleanup}.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_mqtt.management.describe import Parameter, describe
from twisted_mqtt.management.rest.resource import answerOf
from twisted_mqtt.management.rest.sending import Gone, Sending, sendStream, slices
from twisted_mqtt.operations.binding import bind
from twisted_mqtt.operations.dialects import COMMAND
from twisted_mqtt.operations.operation import COLUMN, SHORT, Bare, Call, Caller, Raw, Refused, Rows, Stream

if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from twisted.web.server import Request

    from twisted_mqtt.interfaces import INode
    from twisted_mqtt.management.rest.credentials import Credentials
    from twisted_mqtt.operations.operation import Operation
    from twisted_mqtt.operations.registry import Operations

_log = Logger()
_encode: Final = msgspec.json.Encoder().encode
_ALL: Final = 1 << 53
_TEXT: Final = b"text/plain; charset=utf-8"

#: More words than these are no command of anybody's.
_MOST_WORDS: Final = 200

#: What a path may say for the words of a command (API-08).
_PLURALS: Final = {"sessions": "session", "listeners": "listener", "plugins": "plugin"}

_METHODS: Final = b"GET, HEAD, OPTIONS"
_CROSS_ORIGIN: Final = {
    b"access-control-allow-origin": b"*",
    b"access-control-allow-methods": _METHODS,
    b"access-control-allow-headers": b"content-type, authorization",
    b"access-control-max-age": b"1728000",
}


class Malformed(Refused):
    """
    There is no such command, or it is written wrongly.
    """

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class CommandAPI(Resource):
    """
    See the module.
    """

    isLeaf = True

    def __init__(self, operations: Operations, node: INode, credentials: Credentials) -> None:
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
            if request.method == b"OPTIONS":
                for name, value in _CROSS_ORIGIN.items():
                    request.setHeader(name, value)
                sending.send(b"", _TEXT)
                return
            if request.method not in (b"GET", b"HEAD"):
                request.setHeader(b"allow", _METHODS)
                raise Refused(405, f"commands are called by GET, not {request.method.decode('latin-1')[:20]}", 405)
            caller = await self._credentials.check(request)
            operation = self._find(request)
            if not caller.may(operation.role):
                raise Refused(403, f"{caller.name!r} is not allowed to {operation.role}", 403)
            texts = _textsOf(operation, _queryOf(request))
            try:
                bound = bind(operation.request, texts, {})
            except Refused as refusal:
                raise Malformed(str(refusal)) from None
            answer = await answerOf(operation, Call(bound, self._node, caller, COMMAND))
            await _send(sending, operation, answer, caller)
        except Malformed as refusal:
            sending.send(f"invalid_request_error: {refusal}\n".encode("utf-8", "replace"), _TEXT, refusal.status)
        except Refused as refusal:
            alert = {"type": "alert", "alert": [{"type": "text", "text": str(refusal)}]}
            sending.send(_encode(alert), status=refusal.status)

    def _find(self, request: Request) -> Operation:
        """
        @raise Malformed: there is no such command.
        """
        try:
            words = [part.decode("utf-8") for part in request.postpath or () if part]
        except UnicodeDecodeError:
            raise Malformed("the path is not UTF-8") from None
        if words and words[0] in _PLURALS:
            plural, words[0] = words[0], _PLURALS[words[0]]
            if len(words) == 1:
                words.append("show")
            elif self._operations.byWords(" ".join(words)) is None:
                # There may be a command of this name.
                words[0] = plural
        found = self._operations.byWords(" ".join(words))
        if found is None:
            near = self._operations.nearest(" ".join(words)[:200])
            raise Malformed("there is no such command" + (f"; did you mean {near}?" if near else ""))
        return found

    def _ebAnswer(self, failure: Failure, sending: Sending) -> None:
        if failure.check(Gone):
            return
        _log.failure("a command failed", failure)
        if sending.begun:
            sending.abort()
        else:
            alert = {"type": "text", "text": "internal error; see the log of the broker"}
            sending.send(_encode({"type": "alert", "alert": [alert]}), status=500)


async def _send(sending: Sending, operation: Operation, answer: object, caller: Caller) -> None:
    """
    Send an answer: a table where there are rows, else what the command prints.
    """
    if isinstance(answer, Rows):
        await sending.write(b'{"type":"table","table":[')
        sent = False
        async for part in slices(sending, answer, _ALL):
            encoded = b",".join([_encode(row) for row in part])
            await sending.write(b"," + encoded if sent else encoded)
            sent = True
        await sending.write(b"]}")
        sending.finish()
    elif isinstance(answer, Stream):
        await sendStream(sending, answer, caller)
    elif isinstance(answer, Raw):
        sending.send(answer.body, answer.contentType.encode("ascii"))
    elif isinstance(answer, Bare):
        sending.send(_encode(answer.body))
    elif isinstance(answer, list) and all(isinstance(row, Struct | dict) for row in answer):
        sending.send(_encode({"type": "table", "table": answer}))
    elif operation.text is not None:
        text = "\n".join(operation.text(answer))
        sending.send(_encode({"type": "text", "text": text}) if text else b"[]")
    elif answer is None:
        sending.send(b"[]")
    else:
        sending.send(_encode({"type": "table", "table": [answer]}))


def _queryOf(request: Request) -> list[tuple[str, str | None]]:
    """
    The words after a command, with what follows their C{=}, if they have one.

    @raise Malformed: they are not UTF-8, or too many.
    """
    query = request.uri.partition(b"?")[2]
    words = [word for word in query.split(b"&") if word]
    if len(words) > _MOST_WORDS:
        raise Malformed(f"the query has more than {_MOST_WORDS} words")
    found: list[tuple[str, str | None]] = []
    try:
        for word in words:
            name, equals, value = (unquote_to_bytes(part.replace(b"+", b" ")) for part in word.partition(b"="))
            found.append((name.decode("utf-8"), value.decode("utf-8") if equals else None))
    except UnicodeDecodeError:
        raise Malformed("the query is not UTF-8") from None
    return found


def _textsOf(operation: Operation, words: list[tuple[str, str | None]]) -> dict[str, str | list[str]]:
    """
    The fields of the request, as texts.

    @raise Malformed: the command takes no such word.
    """
    named = _parametersOf(operation)
    known = {parameter.name: parameter for parameter in named.values()}
    places = [name for name in operation.positional if name in known]
    texts: dict[str, list[str]] = {}
    for word, value in words:
        parameter = named.get(_plain(word))
        if parameter is not None:
            texts.setdefault(parameter.name, []).append(_valueOf(parameter, value))
            continue
        place = next((name for name in places if name not in texts or _isMany(known[name])), None)
        if place is None or word.startswith("-") or not (_isMany(known[place]) or value is None):
            taken = ", ".join(sorted(known)) or "none"
            raise Malformed(f"{word[:80]}: the command does not take it; it takes {taken}")
        # A word without a name stands where the command has its place.
        texts.setdefault(place, []).append(word if value is None else f"{word}={value}")
    return {name: values if _isMany(known[name]) or len(values) > 1 else values[0] for name, values in texts.items()}


@lru_cache(maxsize=1024)
def _parametersOf(operation: Operation) -> dict[str, Parameter]:
    """
    What a command takes, by name, and by the letter of a short option.
    """
    found = {_plain(parameter.name): parameter for parameter in describe(operation).parameters}
    for parameter in list(found.values()):
        letter = parameter.schema.get(SHORT)
        if letter:
            found.setdefault(str(letter), parameter)
    return found


def _plain(name: str) -> str:
    """
    A name in the one spelling that is compared: C{client-id}, C{--client_id}.
    """
    return name.lstrip("-").replace("-", "_")


def _valueOf(parameter: Parameter, value: str | None) -> str:
    if value is not None:
        return value
    if COLUMN in parameter.schema:
        return ""
    if "boolean" in _kindsOf(parameter):
        return "true"
    raise Malformed(f"{parameter.name}: it needs a value")


def _isMany(parameter: Parameter) -> bool:
    return "array" in _kindsOf(parameter)


def _kindsOf(parameter: Parameter) -> list[Any]:
    schema = parameter.schema
    return [schema.get("type"), *(one.get("type") for one in schema.get("anyOf", ()))]
