"""
The OpenAPI 3.1 document of the REST API, made of the operations.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec
from msgspec import NODEFAULT
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

_ERROR: Final = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "integer", "description": "A result code, or the HTTP status"},
        "message": {"type": "string", "description": "What is wrong; names the field at fault"},
    },
}
_META: Final = {
    "type": "object",
    "required": ["limit"],
    "properties": {
        "page": {"type": "integer", "description": "Which page it is, where pages are numbered"},
        "limit": {"type": "integer"},
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
_CURSOR: Final = [
    {
        "name": "_cursor",
        "in": "query",
        "description": "Reads the list while it changes: empty to begin, then that of the page before. Not with _page",
        "allowEmptyValue": True,
        "schema": {"type": "string"},
    },
    {
        "name": "_limit",
        "in": "query",
        "description": "How many rows it has",
        "schema": {"type": "integer", "minimum": 1},
    },
]
#: What any call may answer besides 200.
_REFUSALS: Final = {
    "400": "A parameter is wrong or missing, or the body is not JSON",
    "401": "No credentials, or wrong ones",
    "403": "The application is not allowed this",
    "404": "It is not there",
    "429": "Too many wrong credentials from this address",
    "500": "The broker can't do it, or an internal error",
}


def document(router: Router) -> dict[str, Any]:
    """
    The document.

    @param router: the calls that there are.
    """
    schemas = _Schemas(operation for operation, _ in router.routes)
    paths: dict[str, dict[str, Any]] = {}
    for operation, route in router.routes:
        path = _VARIABLE.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _call(operation, route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": DESCRIPTION, "version": versionText()},
        "servers": [{"url": "/api/v4"}],
        "security": [{"application": []}, {"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "application": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "AppID and secret, or NanoMQ's account",
                },
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "If configured",
                },
            },
            "schemas": {**schemas.components, "Error": _ERROR, "Meta": _META},
            "responses": {status: _refusal(text) for status, text in _REFUSALS.items()},
        },
    }


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
            types += [operation.answer if _isStructured(operation.answer) else None, *(field.type for field in fields)]
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
            yield field, dict(self._found[number])


def _isText(answer: object) -> bool:
    return answer in (Raw, Stream) or Raw in get_args(answer)


def _isStructured(answer: object) -> bool:
    return answer is not None and answer not in (Bare, type(None)) and not _isText(answer)


def _call(operation: Operation, route: Route, schemas: _Schemas) -> dict[str, Any]:
    inPath = set(variables(route.path))
    parameters: list[dict[str, Any]] = []
    body: dict[str, Any] = {}
    required: list[str] = []
    for field, schema in schemas.fields(operation):
        name = field.encode_name
        if name in inPath:
            parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
            continue
        isRequired = field.default is NODEFAULT and field.default_factory is NODEFAULT
        if route.method in ("POST", "PUT"):
            body[name] = schema
            required += [name] if isRequired else []
        else:
            parameters.append({"name": name, "in": "query", "required": isRequired, "schema": schema})
    call: dict[str, Any] = {
        "operationId": route.name or operation.name,
        "summary": route.summary or operation.summary,
        "tags": [route.path.strip("/").partition("/")[0] or "index"],
        "parameters": parameters + ([_PAGE] if route.paged else []) + (_CURSOR if operation.isList else []),
        "responses": {
            "200": _answer(operation, route, schemas),
            **{status: {"$ref": f"#/components/responses/{status}"} for status in _REFUSALS},
        },
    }
    if body:
        whole: dict[str, Any] = {"type": "object", "properties": body, "required": required}
        if not required:
            del whole["required"]
        call["requestBody"] = {"required": bool(required), "content": {"application/json": {"schema": whole}}}
    return call


def _answer(operation: Operation, route: Route, schemas: _Schemas) -> dict[str, Any]:
    if _isText(operation.answer):
        return {"description": "Text", "content": {"text/plain": {"schema": {"type": "string"}}}}
    properties: dict[str, Any] = {"code": {"const": 0}}
    if _isStructured(operation.answer):
        data = schemas.answer(operation)
        properties["data"] = {"type": "array", "items": data} if operation.isList else data
    if operation.isList:
        properties["meta"] = {"$ref": "#/components/schemas/Meta"}
    schema = {"type": "object", "properties": properties}
    return {"description": "Done", "content": {"application/json": {"schema": schema}}}


def _refusal(text: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
