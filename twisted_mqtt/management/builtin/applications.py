"""
Applications: who may call the REST API (spec/rest-api.md 2.15, cli.md 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from twisted_mqtt.management.applications import KEY_SHOWN, SCOPES
from twisted_mqtt.operations.dialects import COMMAND, EMQX
from twisted_mqtt.operations.operation import INVALID, Call, NotFound, Nothing, Operation, Refused, Route, operation

if TYPE_CHECKING:
    from twisted_mqtt.management.applications import Application, Applications

AppID = Annotated[str, Meta(description="Identifier of an application, its user name")]

#: How C{mgmt update} may call what an application may.
_STATES: Final = {"true": True, "start": True, "false": False, "stop": False}


#: What an application is for that the command line has made (spec/cli.md 3).
_MADE_BY_COMMAND: Final = "Application user"

#: The scopes of VerneMQ's keys, by what they are here.
_KEY_SCOPES: Final[dict[str, tuple[str, ...]]] = {
    "mgmt": SCOPES,
    "metrics": ("read",),
    "status": ("read",),
    "health": ("read",),
    "httppub": ("publish",),
}


class OneApplication(Struct, kw_only=True):
    """
    An application.
    """

    appid: AppID


class AddApplication(Struct, kw_only=True):
    """
    A new application.
    """

    app_id: AppID
    name: Annotated[str, Meta(description="What it is called")]
    secret: Annotated[str | None, Meta(description="Its secret; one is made by default")] = None
    desc: Annotated[str, Meta(description="What it is for")] = ""
    status: Annotated[bool, Meta(description="Whether it may call")] = True
    expired: Annotated[int | None, Meta(description="Until when, in Unix seconds; for ever by default")] = None
    scopes: Annotated[tuple[str, ...], Meta(description="What it may: read, write, publish, admin")] = SCOPES


class UpdateApplication(Struct, kw_only=True):
    """
    What of an application changes.
    """

    appid: AppID
    name: str | None = None
    desc: str | None = None
    status: bool | None = None
    expired: int | None | UnsetType = UNSET


class SetStatus(Struct, kw_only=True):
    """
    Whether an application may call.
    """

    appid: AppID
    status: Annotated[str, Meta(description="true or start, false or stop")]


class AddKey(Struct, kw_only=True):
    """
    An API key.
    """

    scope: Annotated[
        str, Meta(description="What it may: read, write, publish, admin, or status, mgmt, metrics, health, httppub")
    ] = "mgmt"
    expires: Annotated[str, Meta(description="Until when (UTC), such as 2030-04-04T12:00:00; for ever by default")] = ""


class BringKey(AddKey, kw_only=True):
    """
    An API key of one's own.
    """

    key: Annotated[str, Meta(description="The key: letters and digits, 16 at least")]


class OneKey(Struct, kw_only=True):
    """
    An API key.
    """

    key: Annotated[str, Meta(description="The key, or the signs of it that are shown")]


class KeyRow(Struct, kw_only=True):
    """
    An API key, as VerneMQ shows it.
    """

    Key: str
    Scope: str
    expires: str = msgspec.field(name="Expires (UTC)")
    expired: bool = msgspec.field(name="has expired")


class Secret(Struct, kw_only=True):
    """
    The secret of a new application, which is shown this once.
    """

    secret: str


class ApplicationOperations:
    """
    These operations need the accounts, so they are made with them.
    """

    def __init__(self, applications: Applications) -> None:
        self._applications = applications

    @classmethod
    def declared(cls) -> tuple[Operation, ...]:
        """
        The operations without accounts, to be described and not called.
        """
        return cls(None).all()  # type: ignore[arg-type]  # nobody calls them

    def all(self) -> tuple[Operation, ...]:
        """
        The operations.
        """
        applications = self._applications

        @operation("list_apps", "List the applications", "mgmt list", Route("GET", "/apps/"), role="admin", text=_lines)
        def listApplications(call: Call[Nothing]) -> list[dict[str, Any]]:
            """
            Without their secrets.
            """
            return [_shown(found, call.dialect) for found in applications.all()]

        @operation(
            "lookup_app",
            "Show an application",
            "mgmt lookup",
            Route("GET", "/apps/:appid"),
            role="admin",
            positional=("appid",),
            text=_details,
        )
        def lookupApplication(call: Call[OneApplication]) -> dict[str, Any]:
            """
            Without its secret, which is kept hashed.
            """
            found = applications.get(call.request.appid)
            if found is None:
                raise _unknown(call.request.appid)
            return _shown(found, call.dialect)

        @operation(
            "add_app",
            "Add an application",
            "mgmt insert",
            Route("POST", "/apps/"),
            role="admin",
            positional=("app_id", "name"),
            text=lambda answer: (f"AppSecret: {answer.secret}",),
        )
        async def addApplication(call: Call[AddApplication]) -> Secret:
            """
            Its secret is shown this once.
            """
            request = call.request
            unknown = [scope for scope in request.scopes if scope not in SCOPES]
            if unknown:
                raise Refused(INVALID, f"scopes: {unknown[0]!r} is none of {', '.join(SCOPES)}")
            expired = None if request.expired is None else float(request.expired)
            secret = await applications.add(
                request.app_id,
                request.name,
                request.secret,
                request.desc or (_MADE_BY_COMMAND if call.dialect == COMMAND else ""),
                request.status,
                expired,
                tuple(scope for scope in SCOPES if scope in request.scopes),
            )
            return Secret(secret=secret)

        @operation("update_app", "Change an application", "", Route("PUT", "/apps/:appid"), role="admin")
        def updateApplication(call: Call[UpdateApplication]) -> None:
            """
            What is not named stays.
            """
            request = call.request
            expired = request.expired
            changed = applications.change(
                request.appid,
                request.name,
                request.desc,
                request.status,
                None if expired is None or expired is UNSET else float(expired),
                neverExpires=expired is None,
            )
            if not changed:
                raise _unknown(request.appid)

        @operation(
            "set_app_status",
            "Let an application call, or do not",
            "mgmt update",
            role="admin",
            positional=("appid", "status"),
            text=lambda _: ("update successfully.",),
        )
        def setStatus(call: Call[SetStatus]) -> None:
            """
            For the command line.
            """
            status = _STATES.get(call.request.status)
            if status is None:
                raise Refused(INVALID, f"status: one of {', '.join(_STATES)}, not {call.request.status[:40]!r}")
            if not applications.change(call.request.appid, status=status):
                raise _unknown(call.request.appid)

        @operation(
            "del_app",
            "Remove an application",
            "mgmt delete",
            Route("DELETE", "/apps/:appid"),
            role="admin",
            positional=("appid",),
            text=lambda _: ("ok",),
        )
        def deleteApplication(call: Call[OneApplication]) -> None:
            """
            Its next call is refused.
            """
            if not applications.remove(call.request.appid):
                raise _unknown(call.request.appid)

        @operation(
            "create_key",
            "Make an API key for the calls of VerneMQ; it is shown this once",
            "api-key create",
            role="admin",
            text=lambda answer: (answer.secret,),
            example="scope=metrics expires=2030-04-04T12:00:00",
            keyed=True,
        )
        async def createKey(call: Call[AddKey]) -> Secret:
            """
            It is an application whose identifier is its secret.
            """
            request = call.request
            return Secret(secret=await applications.addKey(None, _dateOf(request.expires), _scopesOf(request.scope)))

        @operation(
            "add_key",
            "Take an API key that somebody has made",
            "api-key add",
            role="admin",
            text=lambda _: ("Done",),
            example="key=ABCDEFGHIJKLMNOPQRSTUVWXYZ012345",
            keyed=True,
        )
        async def addKey(call: Call[BringKey]) -> None:
            """
            Keys differ in their first eight signs.
            """
            request = call.request
            await applications.addKey(request.key, _dateOf(request.expires), _scopesOf(request.scope))

        @operation("show_keys_of_api", "List the API keys, as far as they are known", "api-key show", role="admin")
        def showKeys(call: Call[Nothing]) -> list[KeyRow]:
            """
            Their first eight signs: a hash of the rest is kept.
            """
            now = call.broker.dates.now()
            return [
                KeyRow(
                    Key=f"{found.app_id}...",
                    Scope=" ".join(found.scopes),
                    expires="never" if found.expired is None else _utc(found.expired),
                    expired=found.expired is not None and found.expired <= now,
                )
                for found in applications.all()
                if found.isKey
            ]

        @operation(
            "delete_key",
            "Remove an API key",
            "api-key delete",
            role="admin",
            text=lambda _: ("Done",),
            example="key=ABCDEFGH",
            keyed=True,
        )
        def deleteKey(call: Call[OneKey]) -> None:
            """
            Its next call is refused.
            """
            name = call.request.key.removesuffix("...")[:KEY_SHOWN]
            found = applications.get(name)
            if found is None or not found.isKey:
                raise NotFound(f"key: there is no API key that begins with {name!r}")
            applications.remove(name)

        return (
            listApplications,
            lookupApplication,
            addApplication,
            updateApplication,
            setStatus,
            deleteApplication,
            createKey,
            addKey,
            showKeys,
            deleteKey,
        )


def _scopesOf(text: str) -> tuple[str, ...]:
    """
    @raise Refused: it is none.
    """
    known = {**{scope: (scope,) for scope in SCOPES}, **_KEY_SCOPES}
    unknown = [word for word in text.split(",") if word not in known]
    if unknown:
        raise Refused(INVALID, f"scope: {unknown[0][:40]!r} is none of {', '.join(known)}")
    wanted = {scope for word in text.split(",") for scope in known[word]}
    return tuple(scope for scope in SCOPES if scope in wanted)


def _dateOf(text: str) -> float | None:
    """
    @raise Refused: it is no date.
    """
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise Refused(INVALID, f"expires: {text[:40]!r} is no date such as 2030-04-04T12:00:00") from None


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _shown(found: Application, dialect: str) -> dict[str, Any]:
    """
    An application without what EMQ X does not know, where its dialect is spoken.
    """
    shown = found.shown()
    if dialect == EMQX:
        del shown["scopes"]
    return shown


def _unknown(appID: str) -> NotFound:
    return NotFound(f"appid: there is no application {appID[:80]!r}")


def _valuesOf(found: dict[str, Any]) -> dict[str, object]:
    status = "true" if found["status"] else "stop"
    expired = "undefined" if found["expired"] is None else found["expired"]
    # The secret is not known any more: EMQ X shows it.
    return {
        "app_id": found["app_id"],
        "secret": "***",
        "name": found["name"],
        "desc": found["desc"],
        "status": status,
        "expired": expired,
    }


def _lines(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield ", ".join(f"{name}: {value}" for name, value in _valuesOf(row).items())


def _details(row: dict[str, Any]) -> Iterator[str]:
    for name, value in _valuesOf(row).items():
        yield f"{name}: {value}"
