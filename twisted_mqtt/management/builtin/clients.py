"""
Clients and their sessions: listing, looking up, sending away (spec/rest-api.md 2.4; rest-api-nanomq.md; cli.md 6).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from msgspec import Meta, Struct

from twisted_mqtt.core.reasons import ADMINISTRATIVE_ACTION
from twisted_mqtt.core.topics import scoped
from twisted_mqtt.management.builtin.shared import ClientID, NodeName, Username, checkNode, dateText
from twisted_mqtt.operations.dialects import EMQX, NANOMQ, Fields
from twisted_mqtt.operations.operation import (
    NOT_ONLINE,
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
    from collections.abc import Callable

    from twisted_mqtt.interfaces import IBroker, IClient, ISession

# The fields of a client in the documents of EMQ X 4.0, and of NanoMQ.
_EMQX: Final = tuple(
    "clientid username node zone ip_address port proto_name proto_ver connected connected_at created_at clean_start"
    " keepalive expiry_interval is_bridge subscriptions_cnt max_subscriptions inflight max_inflight mqueue_len"
    " max_mqueue mqueue_dropped awaiting_rel max_awaiting_rel recv_oct recv_cnt recv_pkt recv_msg send_oct send_cnt"
    " send_pkt send_msg heap_size mailbox_len reductions".split()
)
_NANOMQ: Final = tuple(
    "client_id clientid username keepalive conn_state connected clean_start proto_name proto_ver recv_msg".split()
)


class ListClients(Struct, kw_only=True):
    """
    Which clients are listed; all that is said must hold.
    """

    node: Annotated[NodeName, Meta(description="Only those of this node")] = ""
    clientid: Annotated[str, Meta(description="Only the one of this client identifier")] = ""
    username: Annotated[str, Meta(description="Only those of this user name")] = ""
    keepalive: Annotated[int | None, Meta(description="Only those with this keep-alive, in seconds")] = None
    proto_ver: Annotated[int | None, Meta(description="Only those that speak this version")] = None
    proto_name: Annotated[
        Literal["MQTT", "CoAP", "LwM2M", "MQTT-SN", "STOMP", ""], Meta(description="Only those of this protocol")
    ] = ""
    clean_start: Annotated[bool | None, Meta(description="Only those that did, or did not, ask for a clean start")] = (
        None
    )
    conn_state: Annotated[
        Literal["connected", "idle", "disconnected", ""], Meta(description="Only those that are in this state")
    ] = ""
    ip_address: Annotated[str, Meta(description="Only those that come from this address")] = ""
    zone: Annotated[str, Meta(description="Only those of this zone")] = ""
    protocol: Annotated[str, Meta(description="Only those of this protocol: mqtt, mqtt-sn, coap, lwm2m, stomp")] = ""


class OneClient(Struct, kw_only=True):
    """
    One client.
    """

    clientid: ClientID
    node: NodeName = ""


class OneUser(Struct, kw_only=True):
    """
    The clients of one user.
    """

    username: Username
    node: NodeName = ""


class ClientRow(Struct, kw_only=True):
    """
    A client, or a session whose client is away.
    """

    dialects: ClassVar[Fields] = {EMQX: _EMQX, NANOMQ: _NANOMQ}

    clientid: str
    username: str
    node: str
    zone: str
    ip_address: str
    port: int
    proto_name: str
    proto_ver: int
    connected: bool
    connected_at: str
    created_at: str
    clean_start: bool
    keepalive: int
    expiry_interval: int
    is_bridge: bool
    subscriptions_cnt: int
    max_subscriptions: int
    inflight: int
    max_inflight: int
    mqueue_len: int
    max_mqueue: int
    mqueue_dropped: int
    awaiting_rel: int
    max_awaiting_rel: int
    recv_oct: int
    recv_cnt: int
    recv_pkt: int
    recv_msg: int
    send_oct: int
    send_cnt: int
    send_pkt: int
    send_msg: int
    heap_size: int = 0
    mailbox_len: int = 0
    reductions: int = 0
    client_id: str = ""
    conn_state: str = ""
    # For the command line, which shows seconds.
    created_time: int = 0
    connected_time: int = 0
    delivered: int = 0


def rowOf(broker: IBroker) -> Callable[[ISession], ClientRow]:
    """
    Make rows of the sessions of a node.
    """
    node, dateOf = broker.nodeName, broker.dates.of

    def row(session: ISession) -> ClientRow:
        client = session.info
        connected = client.disconnectedAt == 0.0
        figures = client.stats() if connected else {}
        figures = figures or session.stats()
        count = figures.get
        connectedAt, createdAt = dateOf(client.connectedAt), dateOf(session.createdAt)
        return ClientRow(
            clientid=session.clientID,
            username=session.username or "",
            node=node,
            zone=session.zone,
            ip_address=client.peerHost or "",
            port=client.peerPort,
            proto_name=client.protoName,
            proto_ver=client.protoVersion,
            connected=connected,
            connected_at=dateText(connectedAt),
            created_at=dateText(createdAt),
            clean_start=client.cleanStart,
            keepalive=client.keepAlive,
            expiry_interval=session.expiryInterval,
            is_bridge=bool(getattr(client, "isBridge", False)),
            subscriptions_cnt=count("subscriptions_cnt", 0),
            max_subscriptions=count("max_subscriptions", 0),
            inflight=count("inflight", 0),
            max_inflight=count("max_inflight", 0),
            mqueue_len=count("mqueue_len", 0),
            max_mqueue=count("max_mqueue", 0),
            mqueue_dropped=count("mqueue_dropped", 0),
            awaiting_rel=count("awaiting_rel", 0),
            max_awaiting_rel=count("max_awaiting_rel", 0),
            recv_oct=count("recv_oct", 0),
            recv_cnt=count("recv_pkt", 0),
            recv_pkt=count("recv_pkt", 0),
            recv_msg=count("recv_msg", 0),
            send_oct=count("send_oct", 0),
            send_cnt=count("send_pkt", 0),
            send_pkt=count("send_pkt", 0),
            send_msg=count("send_msg", 0),
            client_id=session.clientID,
            conn_state="connected" if connected else "disconnected",
            created_time=int(createdAt),
            connected_time=int(connectedAt),
            delivered=count("deliver_msg", 0),
        )

    return row


def _isWanted(wanted: ListClients) -> Callable[[ISession], bool] | None:
    """
    Whether a session is one of those that are wanted; None if all are.
    """
    tests: list[Callable[[ISession, IClient], bool]] = []
    if wanted.clientid:
        tests.append(lambda session, _: session.clientID == wanted.clientid)
    if wanted.username:
        tests.append(lambda session, _: session.username == wanted.username)
    if wanted.zone:
        tests.append(lambda session, _: session.zone == wanted.zone)
    if wanted.protocol:
        tests.append(lambda _, client: client.protocol == wanted.protocol)
    if wanted.ip_address:
        tests.append(lambda _, client: client.peerHost == wanted.ip_address)
    if wanted.keepalive is not None:
        tests.append(lambda _, client: client.keepAlive == wanted.keepalive)
    if wanted.proto_ver is not None:
        tests.append(lambda _, client: client.protoVersion == wanted.proto_ver)
    if wanted.clean_start is not None:
        tests.append(lambda _, client: client.cleanStart == wanted.clean_start)
    if wanted.proto_name:
        # "MQIsdp" is the name of MQTT 3.1.
        names = ("MQTT", "MQIsdp") if wanted.proto_name == "MQTT" else (wanted.proto_name,)
        tests.append(lambda _, client: client.protoName in names)
    if wanted.conn_state:
        # Nobody is idle: who has not sent a CONNECT has no session.
        connected = {"connected": True, "disconnected": False}.get(wanted.conn_state)
        tests.append(lambda _, client: (client.disconnectedAt == 0.0) is connected)
    if not tests:
        return None

    def isWanted(session: ISession) -> bool:
        client = session.info
        return all(test(session, client) for test in tests)

    return isWanted


def clientLines(row: ClientRow) -> Iterator[str]:
    """
    A client as C{emqx_ctl} shows it (spec/cli.md 6).
    """
    yield (
        f"Client({row.clientid}, username={row.username or 'undefined'}, peername={row.ip_address}:{row.port},"
        f" clean_start={_flag(row.clean_start)}, keepalive={row.keepalive},"
        f" session_expiry_interval={row.expiry_interval}, subscriptions={row.subscriptions_cnt},"
        f" inflight={row.inflight}, awaiting_rel={row.awaiting_rel}, delivered_msgs={row.delivered},"
        f" enqueued_msgs={row.mqueue_len}, dropped_msgs={row.mqueue_dropped}, connected={_flag(row.connected)},"
        f" created_at={row.created_time}, connected_at={row.connected_time})"
    )


def _flag(value: bool) -> str:
    return "true" if value else "false"


@operation(
    "list_clients",
    "List clients, and the sessions of clients that are away",
    "clients list",
    Route("GET", "/clients/", paged=True),
    Route("GET", "/nodes/:node/clients/", "list_node_clients", "List the clients of a node", paged=True),
    text=clientLines,
)
def listClients(call: Call[ListClients]) -> Rows[ClientRow]:
    """
    All of them, in no particular order.
    """
    checkNode(call.node, call.request.node)
    broker = call.broker
    where = _isWanted(call.request)
    total = None if where else lambda: len(broker.sessions)
    return Rows(broker.directory.sessions(where), rowOf(broker), total)


@operation(
    "lookup_client",
    "Show a client",
    "clients show",
    Route("GET", "/clients/:clientid"),
    Route("GET", "/nodes/:node/clients/:clientid", "lookup_node_client", "Show a client of a node"),
    positional=("clientid",),
    text=lambda rows: (line for row in rows for line in clientLines(row)),
)
def lookupClient(call: Call[OneClient]) -> list[ClientRow]:
    """
    A list of one, or of none.
    """
    checkNode(call.node, call.request.node)
    session = call.broker.sessions.get(scoped("", call.request.clientid))
    if session is None and call.dialect == NANOMQ:
        raise NotFound(f"clientid: there is no client {call.request.clientid!r}")
    return [] if session is None else [rowOf(call.broker)(session)]


@operation(
    "lookup_client_via_username",
    "List the clients of a user",
    "",
    Route("GET", "/clients/username/:username"),
    Route(
        "GET",
        "/nodes/:node/clients/username/:username",
        "lookup_node_client_via_username",
        "List the clients of a user on a node",
    ),
)
def lookupUser(call: Call[OneUser]) -> Rows[ClientRow]:
    """
    Those of one user name.
    """
    checkNode(call.node, call.request.node)
    name = call.request.username
    broker = call.broker
    return Rows(broker.directory.sessions(lambda session: session.username == name), rowOf(broker))


@operation(
    "kickout_client",
    "Send a client away",
    "clients kick",
    Route("DELETE", "/clients/:clientid"),
    Route("DELETE", "/nodes/:node/clients/:clientid", "kickout_node_client", "Send a client of a node away"),
    positional=("clientid",),
    text=lambda _: ("ok",),
)
def kickClient(call: Call[OneClient]) -> None:
    """
    An online client loses its connection and its session, an offline one its session (spec/rest-api.md 1.7).
    """
    checkNode(call.node, call.request.node)
    clientID = call.request.clientid
    kicked = call.broker.kick(clientID, ADMINISTRATIVE_ACTION, "")
    if not call.broker.endSession(clientID) and not kicked:
        raise Refused(NOT_ONLINE, f"clientid: there is no client {clientID[:80]!r}", 404)


def _sessionLines(row: ClientRow) -> Iterator[str]:
    """
    A session as release 3 of EMQ X shows it (spec/cli.md 18.2).
    """
    yield (
        f"Session({row.clientid}, clean_start={_flag(row.clean_start)}, expiry_interval={row.expiry_interval},"
        f" subscriptions_count={row.subscriptions_cnt}, max_inflight={row.max_inflight}, inflight={row.inflight},"
        f" mqueue_len={row.mqueue_len}, mqueue_dropped={row.mqueue_dropped}, awaiting_rel={row.awaiting_rel},"
        f" deliver_msg={row.delivered}, enqueue_msg={row.mqueue_len}, created_at={row.created_time})"
    )


@operation(
    "list_sessions", "List sessions, as release 3 of EMQ X does", "sessions list", text=_sessionLines, role="read"
)
def listSessions(call: Call[Nothing]) -> Rows[ClientRow]:
    """
    Those of clients that are away too.
    """
    broker = call.broker
    return Rows(broker.directory.sessions(), rowOf(broker), lambda: len(broker.sessions))


@operation(
    "lookup_session",
    "Show a session, as release 3 of EMQ X does",
    "sessions show",
    positional=("clientid",),
    text=lambda rows: (line for row in rows for line in _sessionLines(row)),
    role="read",
)
def lookupSession(call: Call[OneClient]) -> list[ClientRow]:
    """
    A list of one, or of none.
    """
    checkNode(call.node, call.request.node)
    session = call.broker.sessions.get(scoped("", call.request.clientid))
    return [] if session is None else [rowOf(call.broker)(session)]


OPERATIONS: tuple[Operation, ...] = (listClients, lookupClient, lookupUser, kickClient, listSessions, lookupSession)
