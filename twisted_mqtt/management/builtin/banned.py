"""
Bans: who is not let in (spec/rest-api.md 2.14).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

from msgspec import Meta, Struct, field

from twisted_mqtt.base.listing import Listing
from twisted_mqtt.core.reasons import BANNED
from twisted_mqtt.operations.operation import (
    INVALID,
    Call,
    NotFound,
    Nothing,
    Operation,
    Refused,
    Route,
    Rows,
    operation,
)

if TYPE_CHECKING:
    from twisted_mqtt.broker.banrecord import Ban, BanKind
    from twisted_mqtt.interfaces import IBroker, ISession

#: What EMQ X calls the kinds.
_KINDS: Final[dict[str, BanKind]] = {"clientid": "clientid", "username": "username", "ip_address": "peerhost"}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}

Kind = Annotated[
    Literal["clientid", "username", "ip_address", "peerhost"], Meta(description="What identifies who is banned")
]


class CreateBan(Struct, kw_only=True):
    """
    A ban.
    """

    who: Annotated[str, Meta(description="Client identifier, user name or address")]
    kind: Kind = field(name="as")
    reason: Annotated[str, Meta(description="Why, for a person")] = ""
    by: Annotated[str, Meta(description="Who bans")] = "user"
    until: Annotated[int | None, Meta(description="When it ends, in Unix seconds; never by default")] = None


class DeleteBan(Struct, kw_only=True):
    """
    Who is let in again.
    """

    who: Annotated[str, Meta(description="Client identifier, user name or address")]
    kind: Annotated[
        Literal["clientid", "username", "ip_address", "peerhost", ""],
        Meta(description="What identifies who was banned; every kind by default"),
    ] = field(name="as", default="")


class BanRow(Struct, kw_only=True):
    """
    A ban.
    """

    who: str
    kind: str = field(name="as")
    reason: str
    by: str
    at: int
    until: int | None


class BanEcho(Struct, kw_only=True):
    """
    What was asked for.
    """

    who: str
    kind: str = field(name="as")
    reason: str
    until: int | None


def _rowOf(ban: Ban) -> BanRow:
    return BanRow(
        who=ban.who,
        kind=_NAMES[ban.kind],
        reason=ban.reason,
        by=ban.by,
        at=int(ban.at),
        until=int(ban.until) or None,
    )


def _lines(row: BanRow) -> Iterator[str]:
    until = "undefined" if row.until is None else row.until
    yield f"Banned({row.kind}={row.who}, reason={row.reason}, by={row.by}, at={row.at}, until={until})"


@operation("list_banned", "List who is banned", "banned list", Route("GET", "/banned/", paged=True), text=_lines)
def listBans(call: Call[Nothing]) -> Rows[BanRow]:
    """
    The oldest first.
    """
    bans = call.broker.bans.list()
    return Rows(Listing(call.broker.clock, iter(bans)), _rowOf, lambda: len(bans))


@operation(
    "create_banned",
    "Ban a client, a user or an address, and send away whom it names",
    "banned add",
    Route("POST", "/banned/"),
    positional=("as", "who"),
    text=lambda _: ("ok",),
)
async def createBan(call: Call[CreateBan]) -> BanEcho:
    """
    It takes the place of an earlier one of the same.
    """
    request, broker = call.request, call.broker
    kind = _KINDS.get(request.kind, cast("BanKind", request.kind))
    try:
        ban = broker.bans.add(request.who, kind, request.reason, request.by, float(request.until or 0))
    except ValueError as error:
        raise Refused(INVALID, f"who: {error}") from None
    if ban.kind == "clientid":
        # There may be one in each topic tree. Going through all sessions would take seconds.
        for topicTree in broker.directory.topicTrees():
            broker.kick(ban.who, BANNED, "banned", topicTree)
    else:
        found = await broker.directory.sessions(lambda session: _isBanned(broker, session)).everything()
        await broker.portions.all(
            broker.kick(session.clientID, BANNED, "banned", session.topicTree)
            for session in found
            if _isBanned(broker, session)  # somebody else may have come meanwhile
        )
    return BanEcho(who=ban.who, kind=_NAMES[kind], reason=ban.reason, until=request.until)


def _isBanned(broker: IBroker, session: ISession) -> bool:
    """
    Whether the client of a session is connected although it is banned.
    """
    return not session.info.disconnectedAt and broker.bans.find(session.info) is not None


@operation(
    "delete_banned",
    "Let somebody in again",
    "banned del",
    Route("DELETE", "/banned/:who"),
    Route("DELETE", "/banned/:as/:who", "delete_banned_as", "Let somebody in again who is banned in one way"),
    positional=("as", "who"),
    text=lambda _: ("ok",),
)
def deleteBan(call: Call[DeleteBan]) -> None:
    """
    Without a kind, in every way.
    """
    request, bans = call.request, call.broker.bans
    kinds: list[BanKind] = [_KINDS.get(request.kind, "peerhost")] if request.kind else list(_KINDS.values())
    removed = False
    for kind in kinds:
        try:
            removed = bans.remove(kind, request.who) or removed
        except ValueError:
            # No address, so nobody is banned by it.
            continue
    if not removed:
        raise NotFound(f"who: {request.who[:80]!r} is not banned")


OPERATIONS: tuple[Operation, ...] = (listBans, createBan, deleteBan)
