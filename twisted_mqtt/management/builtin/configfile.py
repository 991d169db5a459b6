"""
The configuration file, replaced (spec/rest-api-nanomq.md 3.12).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from twisted_mqtt.management.replacing import Replaced, replaceFile
from twisted_mqtt.operations.dialects import NANOMQ
from twisted_mqtt.operations.operation import INVALID, MISSING, Call, Operation, Refused, Route, operation


class NewFile(Struct, kw_only=True):
    """
    A configuration.
    """

    data: Annotated[Any, Meta(description="The text of a file, in HOCON or TOML; or NanoMQ's settings as an object")]


@operation(
    "update_config_file",
    "Replace the configuration file: in NanoMQ's words, as HOCON, or as TOML in our own",
    "",
    Route("POST", "/config_update", textField="data"),
    role="admin",
    refusals={404: "The broker was started without a configuration file"},
)
async def updateFile(call: Call[NewFile]) -> Replaced | None:
    """
    It is tried before. The broker goes by it after a restart or a reload; the old file is kept. Keys that were changed
    while the broker ran hold on.
    """
    data = call.request.data
    if isinstance(data, dict):
        # JSON is HOCON.
        data = msgspec.json.encode(data).decode("utf-8")
    if not isinstance(data, str):
        raise Refused(INVALID, "data: a text or an object is expected")
    if not data.strip():
        raise Refused(MISSING, "data: the text is empty")
    if "\0" in data:
        raise Refused(INVALID, "data: the text has NUL characters")
    path = call.node.settings.current.origin.path
    done = await call.broker.threads.defer(replaceFile, path, data)
    held = call.node.settings.overridden()
    if held:
        done.remarks.append(f"changed while the broker ran, and not by the file: {', '.join(held)}")
    return None if call.dialect == NANOMQ else done


OPERATIONS: tuple[Operation, ...] = (updateFile,)
