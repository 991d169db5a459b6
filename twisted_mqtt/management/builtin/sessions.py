"""
Sessions as VerneMQ shows and steers them (spec/vernemq.md 20, ADM-10 to 14, 20.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

from msgspec import Meta, Struct

from twisted_mqtt.base.listing import Listing
from twisted_mqtt.base.waiting import nextTurn, settled
from twisted_mqtt.core.packets import Unsubscribe
from twisted_mqtt.core.reasons import ADMINISTRATIVE_ACTION
from twisted_mqtt.core.session import Session
from twisted_mqtt.core.topics import scoped, splitShare
from twisted_mqtt.management.columns import LIMIT, Asked, Columns, Row, Value, shownBytes
from twisted_mqtt.operations.operation import (
    Call,
    NotFound,
    Operation,
    Rows,
    column,
    operation,
    short,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.entry import Entry
    from twisted_mqtt.core.subscription import Subscription
    from twisted_mqtt.interfaces import IBroker, ISession


class ShowSessions(Struct, kw_only=True):
    """
    Which sessions are shown, and what of them: a column for each field.
    """

    node: Annotated[tuple[str, ...], column("Node where it is")] = ()
    mountpoint: Annotated[tuple[str, ...], column("Topic tree; empty for the default one")] = ()
    client_id: Annotated[tuple[str, ...], column("Client identifier")] = ()
    queue_pid: Annotated[tuple[str, ...], column("Process of the queue: there is none here")] = ()
    queue_size: Annotated[tuple[str, ...], column("Messages that wait")] = ()
    session_pid: Annotated[tuple[str, ...], column("Process of the session: there is none here")] = ()
    is_offline: Annotated[tuple[str, ...], column("Whether the client is away")] = ()
    is_online: Annotated[tuple[str, ...], column("Whether the client is connected")] = ()
    statename: Annotated[tuple[str, ...], column("online or offline")] = ()
    deliver_mode: Annotated[tuple[str, ...], column("fanout: a client identifier has one session")] = ()
    offline_messages: Annotated[tuple[str, ...], column("Messages that wait while the client is away")] = ()
    online_messages: Annotated[tuple[str, ...], column("Messages that wait while the client is connected")] = ()
    num_sessions: Annotated[tuple[str, ...], column("Connections: 1 or 0")] = ()
    clean_session: Annotated[tuple[str, ...], column("Whether it ends with its connection")] = ()
    is_plugin: Annotated[tuple[str, ...], column("Whether it is one of an extension: never here")] = ()
    queue_started_at: Annotated[tuple[str, ...], column("When it began, in milliseconds of Unix time")] = ()
    user: Annotated[tuple[str, ...], column("User name")] = ()
    peer_host: Annotated[tuple[str, ...], column("Address of the client")] = ()
    peer_port: Annotated[tuple[str, ...], column("Port of the client")] = ()
    protocol: Annotated[tuple[str, ...], column("Version of the protocol: 3, 4 or 5 for MQTT")] = ()
    waiting_acks: Annotated[tuple[str, ...], column("Messages in flight, not acknowledged by the client")] = ()
    session_started_at: Annotated[
        tuple[str, ...], column("When the client last connected, in milliseconds of Unix time")
    ] = ()
    topic: Annotated[tuple[str, ...], column("Filter of a subscription; a row for each")] = ()
    qos: Annotated[tuple[str, ...], column("Quality of service of a subscription")] = ()
    rap: Annotated[tuple[str, ...], column("Whether a subscription has Retain As Published")] = ()
    no_local: Annotated[tuple[str, ...], column("Whether a subscription has No Local")] = ()
    msg_ref: Annotated[tuple[str, ...], column("Number of a message on its way to the client; a row for each")] = ()
    msg_qos: Annotated[tuple[str, ...], column("Quality of service of such a message")] = ()
    routing_key: Annotated[tuple[str, ...], column("Topic of such a message")] = ()
    dup: Annotated[tuple[str, ...], column("Whether such a message has been sent before")] = ()
    payload: Annotated[tuple[str, ...], column("Payload of such a message")] = ()
    zone: Annotated[tuple[str, ...], column("Zone of the client")] = ()
    listener: Annotated[tuple[str, ...], column("Listener of the client, such as tcp.external")] = ()
    proto_name: Annotated[tuple[str, ...], column("mqtt, mqtt-sn, coap, lwm2m or stomp")] = ()
    keepalive: Annotated[tuple[str, ...], column("Keep-alive in seconds")] = ()
    session_expiry_interval: Annotated[tuple[str, ...], column("Seconds for which it outlives its connection")] = ()
    subscriptions: Annotated[tuple[str, ...], column("How many subscriptions it has")] = ()
    awaiting_rel: Annotated[tuple[str, ...], column("QoS 2 messages of the client whose PUBREL has not come")] = ()
    delivered_msgs: Annotated[tuple[str, ...], column("Messages that were sent to the client")] = ()
    dropped_msgs: Annotated[tuple[str, ...], column("Messages that were not sent, and will not be")] = ()
    limit: Annotated[int, Meta(ge=1, description="How many rows are shown at most")] = LIMIT
    rowtimeout: Annotated[
        int,
        Meta(ge=1, description="Milliseconds that a row may take; not heeded, for none waits"),
    ] = 100


class DisconnectSession(Struct, kw_only=True):
    """
    A client that is to go.
    """

    client_id: Annotated[str, Meta(description="Client identifier")]
    cleanup: Annotated[bool, short("c", "Whether its session, subscriptions and waiting messages end too")] = False
    mountpoint: Annotated[str, short("m", "Its topic tree; the default one by default")] = ""


class ReauthorizeSession(Struct, kw_only=True):
    """
    A client whose subscriptions are checked.
    """

    username: Annotated[str, Meta(description="User name of the client")]
    client_id: Annotated[str, Meta(description="Client identifier")]
    mountpoint: Annotated[str, short("m", "Its topic tree; the default one by default")] = ""


class Outcome(Struct, kw_only=True):
    """
    What has become of it.

    @ivar removed: the filters that are not subscribed any more.
    """

    outcome: str
    removed: list[str]


#: So many subscriptions are checked in one turn.
_AT_ONCE: Final = 100

#: The columns of VerneMQ that are shown if none is asked for.
USUAL: Final = ("client_id", "is_online", "mountpoint", "peer_host", "peer_port", "user")

_OPTIONS: Final = ("limit", "rowtimeout")
_NAMES: Final = tuple(name for name in ShowSessions.__struct_fields__ if name not in _OPTIONS)

_SUBSCRIPTIONS: Final[Columns[Subscription]] = Columns(
    {
        "topic": lambda subscription: subscription.topicFilter,
        "qos": lambda subscription: subscription.qos,
        "rap": lambda subscription: subscription.retainAsPublished,
        "no_local": lambda subscription: subscription.noLocal,
    }
)

_MESSAGES: Final[Columns[Entry]] = Columns(
    {
        "msg_ref": lambda entry: str(entry.message.number),
        "msg_qos": lambda entry: entry.qos,
        "routing_key": lambda entry: entry.message.topic,
        "dup": lambda entry: entry.packetID != 0,
        "payload": lambda entry: shownBytes(entry.message.payload),
    }
)


def _sessionColumns(broker: IBroker) -> Columns[ISession]:
    node, dateOf = broker.nodeName, broker.dates.of

    def milliseconds(moment: float) -> int | None:
        return round(dateOf(moment) * 1000) if moment else None

    def figure(name: str) -> Callable[[ISession], int]:
        return lambda session: session.stats().get(name, 0)

    readers: dict[str, Callable[[ISession], Value]] = {
        "node": lambda _: node,
        "mountpoint": lambda session: session.topicTree,
        "client_id": lambda session: session.clientID,
        "queue_pid": lambda _: None,
        "queue_size": lambda session: session.queueLength,
        "session_pid": lambda _: None,
        "is_offline": lambda session: not session.online,
        "is_online": lambda session: session.online,
        "statename": lambda session: "online" if session.online else "offline",
        "deliver_mode": lambda _: "fanout",
        "offline_messages": lambda session: 0 if session.online else session.queueLength,
        "online_messages": lambda session: session.queueLength if session.online else 0,
        "num_sessions": lambda session: int(session.online),
        "clean_session": lambda session: session.expiryInterval == 0,
        "is_plugin": lambda _: False,
        "queue_started_at": lambda session: milliseconds(session.createdAt),
        "user": lambda session: session.username,
        "peer_host": lambda session: session.info.peerHost,
        "peer_port": lambda session: session.info.peerPort,
        "protocol": lambda session: session.info.protoVersion,
        "waiting_acks": figure("inflight"),
        "session_started_at": lambda session: milliseconds(session.info.connectedAt),
        "zone": lambda session: session.zone,
        "listener": lambda session: session.info.listener,
        "proto_name": lambda session: session.info.protocol,
        "keepalive": lambda session: session.info.keepAlive,
        "session_expiry_interval": lambda session: session.expiryInterval,
        "subscriptions": lambda session: len(session.subscriptions),
        "awaiting_rel": figure("awaiting_rel"),
        "delivered_msgs": figure("deliver_msg"),
        "dropped_msgs": figure("mqueue_dropped"),
    }
    return Columns(readers)


class _Found(NamedTuple):
    """
    What a row is about.
    """

    session: ISession
    subscription: Subscription | None = None
    entry: Entry | None = None


@operation(
    "show_sessions",
    "Show sessions: a column for each field that is named, and the rows that have the values that are given",
    "session show",
    example="--client_id --topic --is_online=true --limit=10",
    role="read",
)
def showSessions(call: Call[ShowSessions]) -> Rows[Row]:
    """
    A row for each session; for each of its subscriptions or of its messages where a field of these is asked for.
    """
    broker = call.broker
    asked = Asked(call.request, _NAMES, USUAL)
    columns = _sessionColumns(broker)
    found = _sessionsOf(broker, asked, columns.test(asked.conditions)).each(lambda session: iter((_Found(session),)))
    if any(name in _SUBSCRIPTIONS for name in asked.names):
        found = found.each(_bySubscription(_SUBSCRIPTIONS.test(asked.conditions)))
    if any(name in _MESSAGES for name in asked.names):
        found = found.each(_byMessage(_MESSAGES.test(asked.conditions)))

    def rowOf(one: _Found) -> Row:
        values = dict(columns.read(asked.columns, one.session))
        if one.subscription is not None:
            values.update(_SUBSCRIPTIONS.read(asked.columns, one.subscription))
        if one.entry is not None:
            values.update(_MESSAGES.read(asked.columns, one.entry))
        return {name: values[name] for name in asked.columns}

    return Rows(found.first(call.request.limit), rowOf)


def _sessionsOf(broker: IBroker, asked: Asked, isWanted: Callable[[ISession], bool] | None) -> Listing[ISession]:
    """
    The sessions that are wanted. One whose identifier is known is looked up.
    """
    wanted = asked.conditions.get("client_id")
    if wanted is None:
        return broker.directory.sessions(isWanted)
    trees = {"", *broker.router.trees, *(listener.topic_tree for listener in broker.settings.listener)}
    found = [broker.sessions.get(scoped(tree, wanted[0])) for tree in sorted(trees)]
    return Listing(
        broker.clock,
        (one if one is not None and (isWanted is None or isWanted(one)) else None for one in found),
    )


def _bySubscription(isWanted: Callable[[Subscription], bool] | None) -> Callable[[_Found], Iterator[_Found | None]]:
    def expand(found: _Found) -> Iterator[_Found | None]:
        for one in list(found.session.subscriptions.values()):
            yield found._replace(subscription=one) if isWanted is None or isWanted(one) else None

    return expand


def _byMessage(isWanted: Callable[[Entry], bool] | None) -> Callable[[_Found], Iterator[_Found | None]]:
    def expand(found: _Found) -> Iterator[_Found | None]:
        session = found.session
        assert isinstance(session, Session)  # there is no other kind
        waiting = () if session.queue is None else session.queue.entries()
        for one in [*session.inflight.entries.values(), *waiting]:
            yield found._replace(entry=one) if isWanted is None or isWanted(one) else None

    return expand


@operation(
    "disconnect_session",
    "Send a client away; with --cleanup its session ends too",
    "session disconnect",
    text=lambda _: ("Done",),
    role="write",
    example="client-id=NAME --cleanup",
    keyed=True,
)
def disconnectSession(call: Call[DisconnectSession]) -> None:
    """
    One that is not there is no error, as in VerneMQ.
    """
    request = call.request
    call.broker.kick(request.client_id, ADMINISTRATIVE_ACTION, "", request.mountpoint)
    if request.cleanup:
        call.broker.endSession(request.client_id, request.mountpoint)


@operation(
    "reauthorize_session",
    "Ask the access rules again for each subscription of a client, and end those that are not allowed any more",
    "session reauthorize",
    text=lambda answer: (answer.outcome,),
    role="write",
    example="username=NAME client-id=NAME",
    keyed=True,
)
async def reauthorizeSession(call: Call[ReauthorizeSession]) -> Outcome:
    """
    What the rules have said before is forgotten first, also about publishing.
    """
    request, broker = call.request, call.broker
    session = broker.sessions.get(scoped(request.mountpoint, request.client_id))
    if session is None or (session.username or "") != request.username:
        raise NotFound(f"client_id: user {request.username[:80]!r} has no client {request.client_id[:80]!r}")
    owner: ISession = session
    client = owner.info
    broker.forgetPermissions(client)
    refused = []
    for count, topicFilter in enumerate(list(session.subscriptions)):
        if count % _AT_ONCE == _AT_ONCE - 1:
            await nextTurn(broker.clock)
        verdict = await settled(broker.authorize(client, "subscribe", splitShare(topicFilter)[1]))
        if not verdict:
            refused.append(topicFilter)
    # Meanwhile the client may have unsubscribed, or its session may have ended.
    refused = [topicFilter for topicFilter in refused if topicFilter in session.subscriptions and not session.shut]
    if refused:
        await settled(broker.unsubscribeClient(owner, Unsubscribe(1, refused)))
    return Outcome(outcome="Done" if refused else "Unchanged", removed=refused)


OPERATIONS: tuple[Operation, ...] = (showSessions, disconnectSession, reauthorizeSession)
