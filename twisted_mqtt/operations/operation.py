"""
One operation: a function with a typed request and a typed answer, and what makes it a REST call and a command.

Declare one with L{operation}, in a module that imports neither a reactor nor a driver: the command line imports it too,
for its help::

    class ShowDoor(Struct, kw_only=True):
        door: Annotated[str, Meta(description="Name of the door")]

    @operation("show_door", "Show a door", "doors show", Route("GET", "/doors/:door"))
    def showDoor(call: Call[ShowDoor]) -> Door: ...

and register it with C{context.operation(showDoor)}. See DESIGN.md 11.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar, get_type_hints

from msgspec import Meta, Struct
from msgspec.inspect import type_info

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from twisted_mqtt.base.listing import Listing
    from twisted_mqtt.interfaces import IBroker, INode

_R = TypeVar("_R")
_T = TypeVar("_T")

#: The right that a caller needs: to look; to change clients, subscriptions, extensions; to publish; to do everything,
#: accounts, files and the configuration included.
Role: TypeAlias = Literal["read", "write", "publish", "admin"]

#: The result codes of the REST API (spec/rest-api.md 1.4).
SUCCESS: Final = 0
RPC_FAILED: Final = 101
UNKNOWN: Final = 102
WRONG_PASSWORD: Final = 103
EMPTY_PASSWORD: Final = 104
NO_SUCH_USER: Final = 105
ADMIN_STAYS: Final = 106
MISSING: Final = 107
INVALID: Final = 108
NOT_JSON: Final = 109
ALREADY_LOADED: Final = 110
ALREADY_UNLOADED: Final = 111
NOT_ONLINE: Final = 112
USER_EXISTS: Final = 113
WRONG_OLD_PASSWORD: Final = 114
INVALID_TOPIC: Final = 115
TOKEN_EXPIRED: Final = 116
NOT_HOCON: Final = 117
NOT_WRITTEN: Final = 118


class Refused(Exception):
    """
    An operation does not do what it is asked for. The text is for the person who asked, and names the field at fault.

    @ivar code: a result code of spec/rest-api.md 1.4.
    @ivar status: the HTTP status.
    """

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class NotFound(Refused):
    """
    The object of the request is not there.
    """

    def __init__(self, message: str, code: int = 404) -> None:
        super().__init__(code, message, 404)


class Nothing(Struct):
    """
    The request of an operation that needs none.
    """


def _always() -> bool:
    return True


class Caller(Struct, frozen=True):
    """
    The caller of an operation.

    @ivar name: an application, an account, or C{"ctl"} on this machine.
    @ivar roles: what it is allowed; C{admin} is allowed everything.
    @ivar address: where it calls from; C{""} on this machine.
    @ivar dialect: in whose words it is answered, see L{twisted_mqtt.operations.dialects}; C{""} for the usual ones.
    @ivar isStill: whether it would be let in now as it was; asked while an answer goes on.
    """

    name: str
    roles: frozenset[str]
    address: str = ""
    dialect: str = ""
    isStill: Callable[[], bool] = _always

    def may(self, role: Role) -> bool:
        """
        Whether it is allowed an operation of a role.
        """
        return role in self.roles or "admin" in self.roles


class Call(Generic[_R]):
    """
    One call of an operation.

    @ivar request: what is asked.
    @ivar node: the node.
    @ivar broker: its broker.
    @ivar caller: who asks.
    @ivar dialect: in whose words, see L{twisted_mqtt.operations.dialects}.
    """

    __slots__ = ("broker", "caller", "dialect", "node", "request")

    def __init__(self, request: _R, node: INode, caller: Caller, dialect: str = "union") -> None:
        self.request = request
        self.node = node
        self.broker: IBroker = node.broker
        self.caller = caller
        self.dialect = dialect


class Rows(Generic[_T]):
    """
    An answer of many rows, taken from a L{Listing<twisted_mqtt.base.listing.Listing>} and sent a slice at a time.

    @ivar listing: what is listed.
    @ivar row: makes the row, a C{_T}, of one thing; it has to be quick.
    @ivar total: says how many rows there are, where that is known without going through them.
    """

    __slots__ = ("listing", "row", "total")

    def __init__(
        self,
        listing: Listing[Any],
        row: Callable[[Any], _T],
        total: Callable[[], int] | None = None,
    ) -> None:
        self.listing = listing
        self.row = row
        self.total = total


class Raw(Struct, frozen=True):
    """
    An answer that is no JSON, such as Prometheus' text.
    """

    contentType: str
    body: bytes


class Stream:
    """
    An answer that goes on for as long as the caller listens.

    @ivar pieces: its pieces. When the caller goes, what they wait for is cancelled, and they are closed.
    """

    __slots__ = ("contentType", "pieces")

    def __init__(self, contentType: str, pieces: AsyncIterator[bytes]) -> None:
        self.contentType = contentType
        self.pieces = pieces


class Bare(Struct, Generic[_T], frozen=True):
    """
    An answer without the usual C{{"code": 0, "data": ...}} around it.
    """

    body: _T


class Route(Struct, frozen=True):
    """
    A REST call of an operation.

    @ivar method: GET, POST, PUT or DELETE.
    @ivar path: below the base of the API, variables as C{:name}; the names are those of fields of the request.
    @ivar name: its name in the index; that of the operation by default.
    @ivar summary: in the index; that of the operation by default.
    @ivar paged: whether C{_page} and C{_limit} are taken, and C{meta} is answered.
    @ivar textField: the field that takes a body which is no object of JSON, as text; C{""} where there is none.
    @ivar api: which API it belongs to.
    """

    method: str
    path: str
    name: str = ""
    summary: str = ""
    paged: bool = False
    textField: str = ""
    api: Literal["v4", "v1"] = "v4"


Text: TypeAlias = Callable[[Any], Iterable[str]]

#: In the JSON Schema of a field: it is a column, see L{column}; and the letter of its short option.
COLUMN: Final = "x-column"
SHORT: Final = "x-short"


def column(description: str) -> Meta:
    """
    Annotates a field of a request with a column of the answer, as C{tuple[str, ...]}: an empty text asks for the
    column, another one for the rows that have this value there (spec/vernemq.md 20, ADM-11).
    """
    return Meta(description=description, extra_json_schema={COLUMN: True})


def short(letter: str, description: str) -> Meta:
    """
    Annotates a field that has an option of one letter too.
    """
    return Meta(description=description, extra_json_schema={SHORT: letter})


@dataclass(frozen=True, eq=False)
class Operation:
    """
    An operation.

    @ivar name: unlike that of any other, such as C{list_clients}.
    @ivar summary: what it does, in a sentence without a full stop.
    @ivar words: the words of the command, such as C{"clients list"}; C{""} if it is no command.
    @ivar role: what a caller must be allowed.
    @ivar request: the structure of the request.
    @ivar answer: the type of the answer; of one row where it answers L{Rows}.
    @ivar run: does it. It may be an C{async def}, or return a Deferred; it raises L{Refused}.
    @ivar routes: its REST calls.
    @ivar aliases: other words for it.
    @ivar positional: the fields of the request that the command takes without C{--}, in order.
    @ivar text: makes the lines that the command prints of an answer, or of a row, in EMQ X's form.
    @ivar isList: whether it answers L{Rows}.
    @ivar example: words that follow the command, for its help.
    @ivar keyed: whether the command takes C{name=value} for C{--name=value}, as those of VerneMQ do.
    @ivar media: the type of what it answers, where that is L{Raw} or L{Stream}.
    @ivar refusals: the HTTP statuses with which it refuses, besides those that any operation may answer, and when.
    """

    name: str
    summary: str
    words: str
    role: Role
    request: type[Struct]
    answer: object
    run: Callable[[Call[Any]], object]
    routes: tuple[Route, ...] = ()
    aliases: tuple[str, ...] = ()
    positional: tuple[str, ...] = ()
    text: Text | None = None
    isList: bool = False
    example: str = ""
    keyed: bool = False
    media: str = "text/plain"
    refusals: Mapping[int, str] = field(default_factory=dict)

    @property
    def isBatch(self) -> bool:
        """
        Whether the body of a request is a list: its one field, C{items}.
        """
        return self.request.__struct_fields__ == ("items",)

    def __repr__(self) -> str:
        return f"<Operation {self.name}>"


_Function: TypeAlias = (
    "Callable[[Call[Any]], object] | Callable[[Call[Any]], Awaitable[object]] | Callable[[Call[Any]], Deferred[object]]"
)


def operation(
    name: str,
    summary: str,
    words: str = "",
    *routes: Route,
    role: Role | None = None,
    aliases: tuple[str, ...] = (),
    positional: tuple[str, ...] = (),
    text: Text | None = None,
    example: str = "",
    keyed: bool = False,
    media: str = "text/plain",
    refusals: Mapping[int, str] | None = None,
) -> Callable[[_Function], Operation]:
    """
    Declare the function below as an operation. Its request and answer are those of its annotations.

    The others are the variables of L{Operation}.

    @param role: C{read} for one whose routes are all GET, else C{write}, unless it is said. One without routes is
        C{write} too: nothing tells whether it changes anything.

    @raise TypeError: the function's annotations do not say what it takes and answers.
    """

    def declare(function: _Function) -> Operation:
        hints = get_type_hints(function, include_extras=True)
        answer = hints.pop("return", None)
        (request,) = (_argumentOf(hint) for hint in hints.values())
        isList = getattr(answer, "__origin__", None) is Rows
        # It would be noticed with the first call otherwise.
        type_info(request)
        wanted: Role = role or ("read" if routes and all(route.method == "GET" for route in routes) else "write")
        fields = {field for route in routes for field in variables(route.path)}
        unknown = (fields | set(positional)) - set(request.__struct_encode_fields__)
        if unknown:
            raise TypeError(f"{name}: the request has no field {', '.join(sorted(unknown))}")
        return Operation(
            name,
            summary,
            words,
            wanted,
            request,
            _argumentOf(answer) if isList else answer,
            function,
            tuple(routes),
            aliases,
            positional,
            text,
            isList,
            example,
            keyed,
            media,
            refusals or {},
        )

    return declare


def variables(path: str) -> Iterator[str]:
    """
    The variables in the path of a route.
    """
    return (part[1:] for part in path.split("/") if part.startswith(":"))


def _argumentOf(hint: Any) -> Any:
    arguments = getattr(hint, "__args__", None)
    if not arguments:
        raise TypeError(f"an operation takes Call[its request], not {hint!r}")
    return arguments[0]
