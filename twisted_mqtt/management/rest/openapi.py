"""
The OpenAPI 3.1 document of the REST API, made of the operations.
"""

from __future__ import annotations

import re
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UNSET
from msgspec.json import schema_components

from twisted_mqtt.base.about import DESCRIPTION, versionText
from twisted_mqtt.operations.operation import Bare, Raw, Stream, variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from msgspec.structs import FieldInfo

    from twisted_mqtt.management.rest.router import Router
    from twisted_mqtt.operations.operation import Operation, Route

_VARIABLE: Final = re.compile(r":(\w+)")
_COMPONENTS: Final = "#/components/schemas/{name}"

_ABOUT: Final = """\
What can be asked of this broker by HTTP. Each call needs HTTP Basic with an application and its secret, or a token.
Payloads that are not UTF-8 are written in Base64; all texts are UTF-8.

A call that does what it is asked for answers `{"code": 0, "data": ...}`; one that is refused has a status of 400 or
more, and `{"code": ..., "message": ...}`, whose message names the field at fault. Fields that a call does not know are
ignored. `HEAD` is answered wherever `GET` is.

A request with `X-Api-Dialect: emqx` or `nanomq` is answered with those fields alone that EMQ X, or NanoMQ, has; what
follows is `union`, which has the fields of both.

A list can be read in numbered pages (`_page`, `_limit`), which are counted anew with each call. `_cursor` reads a list
while it changes: nothing comes twice, and what is there all the time comes.
"""

_ERROR: Final = {
    "type": "object",
    "description": "Why a call was refused.",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "integer", "description": "A result code, or the HTTP status"},
        "message": {"type": "string", "description": "What is wrong; names the field at fault"},
    },
}
_META: Final = {
    "type": "object",
    "description": "Which rows of a list these are.",
    "required": ["limit"],
    "properties": {
        "page": {"type": "integer", "description": "Which page it is, where pages are numbered"},
        "limit": {"type": "integer", "description": "How many rows a page has at most"},
        "count": {"type": "integer", "description": "How many rows there are in all, where that is known"},
        "cursor": {
            "type": ["string", "null"],
            "description": "What asks for the next page, where pages are read with a cursor; null behind the last",
        },
    },
}
_PAGE: Final = {
    "name": "_page",
    "in": "query",
    "description": "Which page",
    "schema": {"type": "integer", "minimum": 1, "default": 1},
}
_CURSOR: Final = {
    "name": "_cursor",
    "in": "query",
    "description": "Reads the list while it changes: empty to begin, then that of the page before. Not with _page",
    "allowEmptyValue": True,
    "schema": {"type": "string"},
}
_LIMIT: Final = {
    "name": "_limit",
    "in": "query",
    "description": "How many rows a page has",
    "schema": {"type": "integer", "minimum": 1},
}

#: What any call may answer besides 200.
_REFUSALS: Final = {
    "400": "A parameter is wrong or missing, or the body is not JSON",
    "401": "No credentials, or wrong ones",
    "403": "The application is not allowed this",
    "408": "The request did not come in time",
    "413": "The body is too large",
    "414": "The path and the query are too long",
    "429": "Too many wrong credentials from this address",
    "431": "The headers are too large",
    "500": "The broker can't do it, or an internal error",
}
_NOT_FOUND: Final = "It is not there"
#: What a list that is read with a cursor may answer.
_OF_CURSORS: Final = {"409": "The page is being sent already", "410": "The cursor is over: begin again"}


def document(router: Router, legacyStatus: bool = False) -> dict[str, Any]:
    """
    The document.

    @param router: the calls that there are.
    @param legacyStatus: whether refused calls are answered 200.
    """
    schemas = _Schemas(operation for operation, _ in router.routes)
    paths: dict[str, dict[str, Any]] = {}
    names = _pathNames(router)
    for operation, route in router.routes:
        renamed = names[_VARIABLE.sub(":", route.path)]
        given = iter(renamed)
        path = _VARIABLE.sub(lambda _, given=given: f"{{{next(given)}}}", route.path)  # type: ignore[misc]  # a default
        call = _call(operation, route, schemas, dict(zip(variables(route.path), renamed, strict=True)))
        if legacyStatus:
            call["responses"]["200"] = _orRefused(call["responses"]["200"])
        paths.setdefault(path, {})[route.method.lower()] = call
    tags = sorted({call["tags"][0] for calls in paths.values() for call in calls.values()})
    refusals = {**_REFUSALS, "404": _NOT_FOUND, **_OF_CURSORS}
    return {
        "openapi": "3.1.0",
        "info": {"title": DESCRIPTION, "version": versionText(), "description": _ABOUT},
        "servers": [{"url": "/api/v4", "description": "This broker"}],
        "security": [{"application": []}, {"token": []}],
        "tags": [{"name": tag} for tag in tags],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "application": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "The identifier of an application and its secret, or NanoMQ's account",
                },
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A signed token, where the configuration has a key for them",
                },
            },
            "schemas": {**schemas.components, "Error": _ERROR, "Meta": _META},
            "responses": {status: _refusal(text) for status, text in sorted(refusals.items())},
        },
    }


def _pathNames(router: Router) -> dict[str, list[str]]:
    """
    The names of the variables of each path. Where the same path has other names with another method, a variable has all
    of them: OpenAPI has each path once.
    """
    found: dict[str, list[str]] = {}
    for _, route in router.routes:
        shape = _VARIABLE.sub(":", route.path)
        own = list(variables(route.path))
        before = found.get(shape, own)
        found[shape] = [
            old if new in old.split("_or_") else f"{old}_or_{new}" for old, new in zip(before, own, strict=True)
        ]
    return found


class _Schemas:
    """
    The JSON Schemas of all requests and answers.

    @ivar components: those that have a name.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        types: list[Any] = []
        # Where in the list the types of an operation begin: its answer first, then the fields of its request.
        places: dict[str, tuple[int, list[FieldInfo]]] = {}
        for operation in operations:
            fields = list(msgspec.structs.fields(operation.request))
            places[operation.name] = len(types), fields
            types += [_dataOf(operation.answer), *(field.type for field in fields)]
        self._found, self.components = schema_components(types, ref_template=_COMPONENTS)
        self._places = places

    def answer(self, operation: Operation) -> dict[str, Any]:
        """
        That of the answer, or of a row.
        """
        return self._found[self._places[operation.name][0]]

    def fields(self, operation: Operation) -> Iterator[tuple[FieldInfo, dict[str, Any]]]:
        """
        The fields of the request, each with its own.
        """
        at, fields = self._places[operation.name]
        for number, field in enumerate(fields, at + 1):
            schema = dict(self._found[number])
            if field.default not in (NODEFAULT, UNSET, None, ""):
                schema["default"] = msgspec.to_builtins(field.default)
            yield field, schema


def _members(answer: object) -> tuple[Any, ...]:
    """
    The members of a union, or the type.
    """
    return get_args(answer) if get_origin(answer) in (Union, UnionType) else (answer,)


def _isText(answer: object) -> bool:
    return any(member in (Raw, Stream) for member in _members(answer))


def _isBare(answer: object) -> bool:
    return answer is Bare or get_origin(answer) is Bare


def _dataOf(answer: object) -> Any:
    """
    The type of what an answer has in C{data}, or of the whole where it is bare; C{None} where there is none.
    """
    if _isBare(answer):
        return next(iter(get_args(answer)), dict[str, Any])
    types = [member for member in _members(answer) if member not in (Raw, Stream, type(None))]
    return Union[tuple(types)] if types else None  # noqa: UP007  # there is no other way to make one of a list


def _call(operation: Operation, route: Route, schemas: _Schemas, names: dict[str, str]) -> dict[str, Any]:
    """
    @param names: of the variables of the path, by those of the fields of the request.
    """
    parameters: list[dict[str, Any]] = []
    body: dict[str, Any] = {}
    required: list[str] = []
    for field, schema in schemas.fields(operation):
        name = field.encode_name
        isRequired = field.default is NODEFAULT and field.default_factory is NODEFAULT
        if name in names:
            parameters.append(_parameter(names[name], "path", True, schema))
        elif route.method in ("POST", "PUT"):
            body[name] = schema
            required += [name] if isRequired else []
        else:
            parameters.append(_parameter(name, "query", isRequired, schema))
    if operation.isList:
        parameters += [_PAGE, _CURSOR, _LIMIT] if route.paged else [_CURSOR, _LIMIT]
    call: dict[str, Any] = {
        "operationId": route.name or operation.name,
        "summary": route.summary or operation.summary,
        "description": _descriptionOf(operation),
        "tags": [route.path.strip("/").partition("/")[0] or "index"],
        "parameters": parameters,
        "responses": {"200": _answer(operation, route, schemas), **_refusalsOf(operation, names)},
    }
    if body:
        call["requestBody"] = _body(body, required, operation.isBatch)
    return call


def _descriptionOf(operation: Operation) -> str:
    command = f" On the command line: `mqttbroker-ctl {operation.words}`." if operation.words else ""
    return f"An application needs the scope `{operation.role}` for it.{command}"


def _parameter(name: str, place: str, required: bool, schema: dict[str, Any]) -> dict[str, Any]:
    description = schema.pop("description", None)
    others = [one for one in schema.pop("anyOf", ()) if one != {"type": "null"}]
    if len(others) == 1:
        # Nobody writes null into a URL.
        schema.update(others[0])
    elif others:
        schema["anyOf"] = others
    if place == "path" and "" in schema.get("enum", ()):
        schema["enum"] = [value for value in schema["enum"] if value != ""]
    found: dict[str, Any] = {"name": name, "in": place, "required": required, "schema": schema}
    if description:
        found["description"] = description
    if place == "query" and (schema.get("type") == "string" or "" in schema.get("enum", ())):
        found["allowEmptyValue"] = True
    return found


def _body(fields: dict[str, Any], required: list[str], isBatch: bool) -> dict[str, Any]:
    """
    @param isBatch: whether the body is the one field that there is.
    """
    whole: dict[str, Any] = {"type": "object", "properties": fields}
    if required:
        whole["required"] = required
    if isBatch:
        (whole,) = fields.values()
    return {"required": bool(required), "content": {"application/json": {"schema": whole}}}


def _answer(operation: Operation, route: Route, schemas: _Schemas) -> dict[str, Any]:
    content: dict[str, Any] = {}
    data = schemas.answer(operation)
    hasData = _dataOf(operation.answer) is not None
    if _isText(operation.answer):
        # A stream of events has no schema in OpenAPI 3.1.
        content[operation.media] = {"schema": {} if operation.media == "text/event-stream" else {"type": "string"}}
    if _isBare(operation.answer):
        content["application/json"] = {"schema": data}
    elif hasData or not content:
        properties: dict[str, Any] = {"code": {"const": 0}}
        if hasData:
            properties["data"] = {"type": "array", "items": data} if operation.isList else data
        if operation.isList:
            properties["meta"] = {"$ref": "#/components/schemas/Meta"}
        required = ["code", "data"] if hasData and type(None) not in _members(operation.answer) else ["code"]
        if route.paged:
            required.append("meta")
        schema = {"type": "object", "properties": properties, "required": required}
        content["application/json"] = {"schema": schema}
    return {"description": "Done", "content": content}


def _refusalsOf(operation: Operation, names: dict[str, str]) -> dict[str, Any]:
    statuses = set(_REFUSALS)
    if names or "node" in operation.request.__struct_encode_fields__:
        statuses.add("404")
    if operation.isList:
        statuses.update(_OF_CURSORS)
    found = {status: {"$ref": f"#/components/responses/{status}"} for status in statuses}
    found.update({str(status): _refusal(text) for status, text in operation.refusals.items()})
    return dict(sorted(found.items()))


def _refusal(text: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def _orRefused(answer: dict[str, Any]) -> dict[str, Any]:
    """
    An answer of 200 that may be a refusal.
    """
    content = dict(answer["content"])
    done = content.get("application/json")
    error = {"$ref": "#/components/schemas/Error"}
    content["application/json"] = {"schema": error if done is None else {"anyOf": [done["schema"], error]}}
    return {**answer, "description": "Done; or refused, where the code is not 0", "content": content}
