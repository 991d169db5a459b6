"""
Describes operations as data: for the command line, the OpenAPI document and docs/management.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import NODEFAULT, UNSET, Struct
from msgspec.json import schema_components

from twisted_mqtt.operations.operation import Stream

if TYPE_CHECKING:
    from twisted_mqtt.operations.operation import Operation


class Parameter(Struct, frozen=True):
    """
    A field of a request.

    @ivar required: whether it must be given.
    @ivar schema: its JSON Schema.
    """

    name: str
    required: bool
    description: str
    schema: dict[str, Any]
    default: Any = None


class Description(Struct, frozen=True):
    """
    An operation, without what it does; see L{Operation}.

    @ivar hasText: whether the broker prints it as EMQ X does.
    @ivar isStream: whether the answer goes on for as long as somebody listens, as server-sent events.
    @ivar calls: its REST calls, method and path.
    """

    name: str
    summary: str
    words: str
    aliases: tuple[str, ...]
    role: str
    positional: tuple[str, ...]
    parameters: list[Parameter]
    isList: bool
    hasText: bool
    example: str = ""
    keyed: bool = False
    calls: list[tuple[str, str]] = []
    isStream: bool = False


def describe(operation: Operation) -> Description:
    """
    Describe an operation.
    """
    return Description(
        operation.name,
        operation.summary,
        operation.words,
        operation.aliases,
        operation.role,
        operation.positional,
        parametersOf(operation.request),
        operation.isList,
        operation.text is not None,
        operation.example,
        operation.keyed,
        [(route.method, route.path) for route in operation.routes if route.api == "v4"],
        operation.answer is Stream,
    )


def parametersOf(request: type[Struct]) -> list[Parameter]:
    """
    The fields of a request.
    """
    found = []
    for field in msgspec.structs.fields(request):
        (schema,), components = schema_components((field.type,))
        if components:
            schema = {**schema, "$defs": components}
        required = field.default is NODEFAULT and field.default_factory is NODEFAULT
        default = None if field.default in (NODEFAULT, UNSET) else msgspec.to_builtins(field.default)
        text = str(schema.pop("description", ""))
        found.append(Parameter(field.encode_name, required, text, schema, default))
    return found
