"""
Looking on: events as they happen.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from twisted_mqtt.management.events import KINDS, EventHub
from twisted_mqtt.operations.operation import INVALID, Call, Operation, Refused, Route, Stream, operation


class LookOn(Struct, kw_only=True):
    """
    What somebody wants to see.
    """

    types: Annotated[
        tuple[str, ...],
        Meta(description=f"Which events, of {', '.join(KINDS)}; all but messages by default"),
    ] = ()
    clientid: Annotated[str, Meta(description="Only what is about this client")] = ""
    topic: Annotated[str, Meta(description="Of message.publish: only messages that match this filter")] = "#"


def eventOperation(hub: EventHub) -> Operation:
    """
    The operation, for one hub.
    """

    @operation(
        "events",
        "Look on: events as they happen, as server-sent events",
        "events",
        Route("GET", "/events"),
        media="text/event-stream",
        refusals={503: "Too many look on already"},
    )
    def lookOn(call: Call[LookOn]) -> Stream:
        """
        For as long as the caller listens.
        """
        wanted = call.request
        unknown = [kind for kind in wanted.types if kind not in KINDS]
        if unknown:
            raise Refused(INVALID, f"types: {unknown[0][:80]!r} is none of {', '.join(KINDS)}")
        kinds = frozenset(wanted.types or (kind for kind in KINDS if kind != "message.publish"))
        return Stream("text/event-stream; charset=utf-8", hub.view(kinds, wanted.clientid, wanted.topic).pieces())

    return lookOn
