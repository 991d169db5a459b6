"""
What access rules have said to a client, and is remembered (spec/rest-api.md 2.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from twisted_mqtt.core.topics import scoped
from twisted_mqtt.management.builtin.shared import ClientID
from twisted_mqtt.operations.operation import (
    ALREADY_UNLOADED,
    NOT_ONLINE,
    UNKNOWN,
    Call,
    Nothing,
    Operation,
    Refused,
    Route,
    operation,
)

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IClient


#: The extension with the file of access rules.
_ACL: Final = "acl_internal"


class OfClient(Struct, kw_only=True):
    """
    What is remembered for one client.
    """

    clientid: ClientID


class PermissionRow(Struct, kw_only=True):
    """
    An answer of the access rules.
    """

    access: str
    topic: str
    result: str
    updated_time: int


def _clientOf(call: Call[OfClient]) -> IClient:
    client = call.broker.clients.get(scoped("", call.request.clientid))
    if client is None:
        raise Refused(NOT_ONLINE, f"clientid: {call.request.clientid[:80]!r} is not online", 404)
    return client


def _lines(rows: list[PermissionRow]) -> Iterator[str]:
    for row in rows:
        yield f"{row.access} {row.topic}: {row.result}"


@operation(
    "list_acl_cache",
    "List what access rules have said to a client",
    "acl cache-list",
    Route("GET", "/clients/:clientid/acl_cache"),
    positional=("clientid",),
    text=_lines,
)
def listPermissions(call: Call[OfClient]) -> list[PermissionRow]:
    """
    What still holds.
    """
    client, broker = _clientOf(call), call.broker
    now, keeps = broker.dates.now(), broker.settings.acl_cache_ttl
    return [
        PermissionRow(
            access=known.access,
            topic=known.topic,
            result="allow" if known.verdict else "deny",
            updated_time=int((now - max(0.0, keeps - known.seconds)) * 1000),
        )
        for known in broker.rememberedPermissions(client)
    ]


@operation(
    "clean_acl_cache",
    "Have access rules asked again for a client",
    "acl cache-clean",
    Route("DELETE", "/clients/:clientid/acl_cache"),
    positional=("clientid",),
    text=lambda _: ("ok",),
)
def cleanPermissions(call: Call[OfClient]) -> None:
    """
    Its subscriptions stay.
    """
    call.broker.forgetPermissions(_clientOf(call))


@operation(
    "clean_acl_cache_all",
    "Have access rules asked again for all clients",
    "acl cache-clean-all",
    Route("DELETE", "/acl_cache"),
    text=lambda _: ("ok",),
)
def cleanAllPermissions(call: Call[Nothing]) -> None:
    """
    Their subscriptions stay.
    """
    call.broker.forgetPermissions()


@operation(
    "reload_acl",
    "Read the file of access rules again",
    "acl reload",
    role="admin",
    refusals={503: "The extension acl_internal is not loaded"},
    text=lambda _: ("ok",),
)
async def reloadRules(call: Call[Nothing]) -> None:
    """
    Where they can't be used, the old ones hold, and the answer says what is wrong.
    """
    extensions = call.node.extensions
    if not extensions.isActive(_ACL):
        why = f"the extension {_ACL}, which goes by the file of access rules, is not loaded"
        raise Refused(ALREADY_UNLOADED, why, 503)
    try:
        await extensions.refresh(_ACL)
    except Exception as error:
        raise Refused(UNKNOWN, str(error), 500) from None


OPERATIONS: tuple[Operation, ...] = (listPermissions, cleanPermissions, cleanAllPermissions, reloadRules)
