"""
The index of REST calls (spec/rest-api.md 2.1).
"""

from __future__ import annotations

from msgspec import Struct

from twisted_mqtt.operations.operation import Call, Nothing, Operation, Route, operation


class IndexRow(Struct, kw_only=True):
    """
    A REST call.
    """

    name: str
    method: str
    path: str
    descr: str


@operation("list_calls", "List the REST calls", "", Route("GET", "/"))
def listCalls(call: Call[Nothing]) -> list[IndexRow]:
    """
    Those that are there at present, but this one.
    """
    return [
        IndexRow(
            name=route.name or operation.name,
            method=route.method,
            path=route.path,
            descr=route.summary or operation.summary,
        )
        for operation in call.node.operations
        for route in operation.routes
        if route.api == "v4" and operation is not listCalls
    ]


OPERATIONS: tuple[Operation, ...] = (listCalls,)
