"""
The end of the process, and a new beginning (spec/rest-api-nanomq.md 3.17).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from twisted_mqtt.operations.operation import UNKNOWN, Call, Operation, Refused, Route, operation

#: Seconds after which it begins: the answer has gone by then.
SOON: Final = 0.1


class Control(Struct, kw_only=True):
    """
    What the process does.
    """

    action: Annotated[Literal["stop", "restart"], Meta(description="End, or end and begin again")]


@operation(
    "ctrl_broker",
    "Stop or restart the broker",
    "ctrl",
    Route("POST", "/ctrl/:action"),
    role="admin",
    positional=("action",),
    text=lambda _: ("ok",),
)
def control(call: Call[Control]) -> None:
    """
    The answer comes first. Clients are sent away as at any end; what is kept is on disk.
    """
    why = call.node.end(call.request.action == "restart", SOON)
    if why:
        raise Refused(UNKNOWN, f"action: {why}", 500)


OPERATIONS: tuple[Operation, ...] = (control,)
