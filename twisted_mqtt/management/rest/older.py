"""
The APIs of EMQ X before 4.0: C{/api/v3}, of which other names lead to the calls of today, and C{/api/v2} with answers
of its own form (spec/rest-api.md 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct
from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_mqtt.management.rest.resource import RestAPI, answerOf, partsOf, queryOf, readBody
from twisted_mqtt.management.rest.sending import Gone, Sending, passOver, slices
from twisted_mqtt.operations.binding import bind
from twisted_mqtt.operations.operation import INVALID, NOT_JSON, UNKNOWN, Call, Refused, Rows

if TYPE_CHECKING:
    from twisted.python.failure import Failure
    from twisted.web.server import Request

    from twisted_mqtt.interfaces import INode
    from twisted_mqtt.management.rest.credentials import Credentials
    from twisted_mqtt.operations.operation import Operation
    from twisted_mqtt.operations.registry import Operations

_log = Logger()
_encode: Final = msgspec.json.Encoder().encode

#: The size of a page that nobody names, and the largest.
_PAGE: Final = 20
_MOST: Final = 1000

_Texts = dict[str, "str | list[str]"]


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """
    Parameters by the names of today.
    """
    return {"clientid" if name == "client_id" else name: value for name, value in values.items()}


class V3API(RestAPI):
    """
    C{/api/v3}: connections are clients, and C{client_id} is C{clientid}.
    """

    def pathOf(self, request: Request) -> list[str]:
        """
        See L{RestAPI}.
        """
        parts = super().pathOf(request)
        at = 2 if parts[:1] == ["nodes"] else 0
        if parts[at : at + 1] == ["connections"]:
            parts[at] = "clients"
        return parts

    def inputOf(self, request: Request, textField: str) -> tuple[_Texts, Mapping[str, object] | list[object]]:
        """
        See L{RestAPI}.
        """
        texts, values = super().inputOf(request, textField)
        if isinstance(values, list):
            return renamed(texts), [renamed(item) if isinstance(item, dict) else item for item in values]
        return renamed(texts), renamed(values)


class Old(Struct, frozen=True):
    """
    A call of C{/api/v2}.

    @ivar method: GET, POST, PUT or DELETE.
    @ivar path: variables as C{:name}, by the names of today.
    @ivar operation: what is called; with C{{active}} in it, C{load} or C{unload}.
    @ivar form: of the result: C{"done"}, C{"list"}, C{"page"}, C{"objects"}, C{"object"}, C{"nodes"}.
    @ivar row: makes a row of one of today's.
    @ivar group: in what member a row for each node has its own.
    """

    method: str
    path: str
    operation: str
    form: str
    row: Callable[[dict[str, Any]], object] = dict
    group: str = ""


def _picked(names: str) -> Callable[[dict[str, Any]], object]:
    """
    Makes rows of some members, with other names: C{new:old}.
    """
    pairs = [(pair.partition(":")[0], pair.rpartition(":")[2]) for pair in names.split()]
    return lambda row: {new: row.get(old, "undefined") for new, old in pairs}


_IDENTITY: Final = "version sysdescr uptime datetime otp_release node_status"
_LOAD: Final = (
    "name otp_release memory_total memory_used process_available process_used max_fds clients:connections node_status"
    " load1 load5 load15"
)
_CLIENT: Final = _picked(
    "client_id:clientid username ipaddress:ip_address port clean_sess:clean_start proto_ver keepalive connected_at"
)
_SESSION: Final = _picked(
    "client_id:clientid clean_sess:clean_start max_inflight inflight_queue:inflight message_queue:mqueue_len"
    " message_dropped:mqueue_dropped awaiting_rel awaiting_ack awaiting_comp created_at"
)
_SUBSCRIPTION: Final = _picked("client_id:clientid topic qos")
_ROUTE: Final = _picked("topic node")
_PLUGIN: Final = _picked("name version description active")
_LISTENER: Final = _picked(
    "protocol listen:listen_on acceptors max_clients:max_conns current_clients:current_conns shutdown_count"
)

# Packets that go one way alone, which the names of then do not say.
_RECEIVED: Final = ("connect", "subscribe", "unsubscribe", "pingreq", "disconnect")
_SENT: Final = ("connack", "suback", "unsuback", "pingresp")
_METRICS: Final[dict[str, str]] = {
    **{
        name: name.replace("/", ".")
        for name in (
            "bytes/received bytes/sent messages/received messages/sent messages/dropped messages/forward"
            " messages/retained messages/qos0/received messages/qos0/sent messages/qos1/received messages/qos1/sent"
            " messages/qos2/received messages/qos2/sent messages/qos2/dropped packets/received packets/sent"
            " packets/publish/received packets/publish/sent"
        ).split()
    },
    **{f"packets/{kind}": f"packets.{kind}.received" for kind in _RECEIVED},
    **{f"packets/{kind}": f"packets.{kind}.sent" for kind in _SENT},
    **{
        f"packets/{kind}/{what}": f"packets.{kind}.{what}"
        for kind in ("puback", "pubrec", "pubrel", "pubcomp")
        for what in ("received", "sent", "missed")
    },
}
_STATS: Final[dict[str, str]] = {
    f"{name}/{what}": f"{'connections' if name == 'clients' else name}.{what}"
    for name in ("clients", "retained", "routes", "sessions", "subscribers", "subscriptions", "topics")
    for what in ("count", "max")
}


def _metrics(row: dict[str, Any]) -> object:
    return {name: row.get(today, 0) for name, today in _METRICS.items()}


def _stats(row: dict[str, Any]) -> object:
    return {name: row.get(today, 0) for name, today in _STATS.items()}


CALLS: Final = (
    Old("GET", "/management/nodes", "list_brokers", "list", _picked(f"name:node {_IDENTITY}")),
    Old("GET", "/management/nodes/:node", "get_broker", "object", _picked(_IDENTITY)),
    Old("GET", "/monitoring/nodes", "list_nodes", "list", _picked(_LOAD)),
    Old("GET", "/monitoring/nodes/:node", "get_node", "object", _picked(_LOAD)),
    Old("GET", "/nodes/:node/clients", "list_clients", "page", _CLIENT),
    Old("GET", "/nodes/:node/clients/:clientid", "lookup_client", "objects", _CLIENT),
    Old("GET", "/clients/:clientid", "lookup_client", "objects", _CLIENT),
    Old("DELETE", "/clients/:clientid", "kickout_client", "done"),
    Old("GET", "/nodes/:node/sessions", "list_clients", "page", _SESSION),
    Old("GET", "/nodes/:node/sessions/:clientid", "lookup_client", "objects", _SESSION),
    Old("GET", "/sessions/:clientid", "lookup_client", "objects", _SESSION),
    Old("GET", "/nodes/:node/subscriptions", "list_subscriptions", "page", _SUBSCRIPTION),
    Old("GET", "/nodes/:node/subscriptions/:clientid", "lookup_client_subscriptions", "objects", _SUBSCRIPTION),
    Old("GET", "/subscriptions/:clientid", "lookup_client_subscriptions", "objects", _SUBSCRIPTION),
    Old("GET", "/routes", "list_routes", "page", _ROUTE),
    Old("GET", "/routes/:topic", "lookup_routes", "objects", _ROUTE),
    Old("POST", "/mqtt/publish", "mqtt_publish", "done"),
    Old("POST", "/mqtt/subscribe", "mqtt_subscribe", "done"),
    Old("POST", "/mqtt/unsubscribe", "mqtt_unsubscribe", "done"),
    Old("GET", "/nodes/:node/plugins", "list_node_plugins", "list", _PLUGIN),
    Old("PUT", "/nodes/:node/plugins/:plugin", "{active}_node_plugin", "done"),
    Old("GET", "/monitoring/listeners", "list_listeners", "nodes", _LISTENER, "listeners"),
    Old("GET", "/monitoring/listeners/:node", "list_node_listeners", "list", _LISTENER),
    Old("GET", "/monitoring/metrics", "list_all_metrics", "nodes", _metrics, "metrics"),
    Old("GET", "/monitoring/metrics/:node", "list_node_metrics", "object", _metrics),
    Old("GET", "/monitoring/stats", "list_stats", "nodes", _stats, "stats"),
    Old("GET", "/monitoring/stats/:node", "lookup_node_stats", "object", _stats),
)


class V2API(Resource):
    """
    C{/api/v2}: answers are C{{"code": 0, "result": ...}}.
    """

    isLeaf = True

    def __init__(self, operations: Operations, node: INode, credentials: Credentials) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted has not annotated it
        self._operations = operations
        self._node = node
        self._credentials = credentials

    def render(self, request: Request) -> int:
        """
        Answer a request.
        """
        sending = Sending(request)
        ensureDeferred(self._answer(request, sending)).addErrback(self._ebAnswer, sending)
        return NOT_DONE_YET

    async def _answer(self, request: Request, sending: Sending) -> None:
        try:
            old, variables = _find(request)
            caller = await self._credentials.check(request)
            given = queryOf(request)
            body = readBody(request, given)
            if isinstance(body, list):
                raise Refused(NOT_JSON, "the body: an object is expected, not a list")
            texts: _Texts = {**renamed(given), **variables}
            values = {name: value for name, value in renamed(body).items() if name not in variables}
            operation = self._operationOf(old, texts, values)
            if not caller.may(operation.role):
                raise Refused(403, f"{caller.name!r} is not allowed to {operation.role}", 403)
            page, size = _numberOf(texts, "curr_page", 1), min(_numberOf(texts, "page_size", _PAGE), _MOST)
            bound = bind(operation.request, texts, values)
            answer = await answerOf(operation, Call(bound, self._node, caller))
            result = await _resultOf(sending, old, answer, page, size)
            sending.send(_encode({"code": 0, "result": result}))
        except Refused as refusal:
            sending.send(_encode({"code": refusal.code, "message": str(refusal)}), status=refusal.status)

    def _operationOf(self, old: Old, texts: _Texts, values: Mapping[str, object]) -> Operation:
        """
        @raise Refused: what is called is not there at present, or it is not said which.
        """
        name = old.operation
        if "{active}" in name:
            active = values.get("active", texts.get("active"))
            if active not in (True, False, "true", "false"):
                raise Refused(INVALID, "active: true or false is expected")
            name = name.format(active="load" if active in (True, "true") else "unload")
        operation = self._operations.get(name)
        if operation is None:
            raise Refused(404, "there is no such call", 404)
        return operation

    def _ebAnswer(self, failure: Failure, sending: Sending) -> None:
        if failure.check(Gone):
            return
        _log.failure("a call of /api/v2 failed", failure)
        sending.send(_encode({"code": UNKNOWN, "message": "internal error; see the log of the broker"}), status=500)


def _find(request: Request) -> tuple[Old, dict[str, str]]:
    """
    The call of a request, with the variables of its path.

    @raise Refused: there is none.
    """
    parts, method = partsOf(request), request.method.decode("latin-1")
    allowed = []
    for old in CALLS:
        words = old.path.strip("/").split("/")
        if len(words) != len(parts):
            continue
        if all(word.startswith(":") or word == part for word, part in zip(words, parts, strict=True)):
            if old.method == ("GET" if method == "HEAD" else method):
                found = zip(words, parts, strict=True)
                return old, {word[1:]: part for word, part in found if word.startswith(":")}
            allowed.append(old.method)
    if not allowed:
        raise Refused(404, "there is no such call", 404)
    request.setHeader(b"allow", ", ".join(allowed).encode("ascii"))
    raise Refused(405, f"this path takes {', '.join(allowed)}, not {method[:20]}", 405)


def _numberOf(texts: _Texts, name: str, default: int) -> int:
    text = texts.pop(name, None)
    text = text[-1] if isinstance(text, list) else text
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 15 or int(text) < 1:
        raise Refused(INVALID, f"{name}: a whole number from 1 on, not {text[:40]!r}")
    return int(text)


async def _resultOf(sending: Sending, old: Old, answer: object, page: int, size: int) -> object:
    """
    What today's answer was then.
    """
    if old.form == "done":
        return []
    if isinstance(answer, Rows):
        if old.form == "page":
            return await _pageOf(sending, old, answer, page, size)
        # Of one client, which may have a thousand subscriptions.
        answer = [row async for part in slices(sending, answer, _MOST) for row in part]
    built = msgspec.to_builtins(getattr(answer, "body", answer))
    if old.form == "nodes":
        rows = built["data"] if isinstance(built, dict) else built
        return {row["node"]: _each(old, row[old.group]) for row in rows}
    found = _each(old, built)
    return {"objects": found} if old.form == "objects" else found


def _each(old: Old, built: Any) -> object:
    return [old.row(row) for row in built] if isinstance(built, list) else old.row(built)


async def _pageOf(sending: Sending, old: Old, rows: Rows[Any], page: int, size: int) -> object:
    passed = await passOver(sending, rows, (page - 1) * size)
    objects = [old.row(msgspec.to_builtins(row)) async for part in slices(sending, rows, size) for row in part]
    total = passed + len(objects) + await passOver(sending, rows) if rows.total is None else rows.total()
    return {
        "current_page": page,
        "page_size": size,
        "total_num": total,
        "total_page": -(-total // size),
        "objects": objects,
    }
