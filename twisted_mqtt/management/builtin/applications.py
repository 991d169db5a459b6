"""
Applications: who may call the REST API (spec/rest-api.md 2.15, cli.md 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from twisted_mqtt.management.applications import SCOPES
from twisted_mqtt.operations.operation import INVALID, Call, NotFound, Nothing, Operation, Refused, Route, operation

if TYPE_CHECKING:
    from twisted_mqtt.management.applications import Applications

AppID = Annotated[str, Meta(description="Identifier of an application, its user name")]

#: How C{mgmt update} may call what an application may.
_STATES: Final = {"true": True, "start": True, "false": False, "stop": False}


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
            return [found.shown() for found in applications.all()]

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
            return found.shown()

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
                request.desc,
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

        return (listApplications, lookupApplication, addApplication, updateApplication, setStatus, deleteApplication)


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
