"""
The interfaces of the broker: how its parts, extensions and gateways use each other.

A method that may wait returns its plain result, or a L{Deferred<twisted.internet.defer.Deferred>} of it; callers check.
The end of this module declares the interfaces that the classes of the core provide: these classes are compiled, and a
compiled class cannot be decorated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from zope.interface import Attribute, Interface, classImplements

from twisted_mqtt.config.registry import IDeclaration
from twisted_mqtt.core.journal import Progress
from twisted_mqtt.core.session import Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence

    from msgspec import Struct
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IProtocolFactory, IReactorTime
    from twisted.logger import Logger
    from twisted.web.resource import IResource

    from twisted_mqtt.base.listing import Listing
    from twisted_mqtt.base.metrics import Counter, Gauge, Histogram, Metric, Metrics
    from twisted_mqtt.base.records import Records
    from twisted_mqtt.base.threads import Threads
    from twisted_mqtt.base.timerwheel import TimerWheel
    from twisted_mqtt.base.waiting import Maybe
    from twisted_mqtt.broker.admission import Admission
    from twisted_mqtt.broker.alarms import Alarms
    from twisted_mqtt.broker.bans import Bans
    from twisted_mqtt.broker.client import ClientInfo
    from twisted_mqtt.broker.directory import FilterWatch
    from twisted_mqtt.broker.interconnect import Interconnect
    from twisted_mqtt.broker.permissions import KnownPermission
    from twisted_mqtt.broker.retained import PayloadReader, RetainedMessages
    from twisted_mqtt.broker.subscribing import Subscribing
    from twisted_mqtt.config.entries import Entry
    from twisted_mqtt.config.reloadreport import ReloadReport
    from twisted_mqtt.config.schema_http import AnyHTTPSettings
    from twisted_mqtt.config.schema_ports import DatagramSettings, PortSettings
    from twisted_mqtt.config.settings import Settings
    from twisted_mqtt.config.values import Bind
    from twisted_mqtt.core.connection import Connection
    from twisted_mqtt.core.counters import Counters
    from twisted_mqtt.core.journal import Journal
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.outbox import Outbox
    from twisted_mqtt.core.packets import Connect, Subscribe, Unsubscribe
    from twisted_mqtt.core.parteddict import PartedDict
    from twisted_mqtt.core.properties import Properties
    from twisted_mqtt.core.router import Router
    from twisted_mqtt.core.subscription import Subscriber, Subscription
    from twisted_mqtt.core.topicrules import TopicRules
    from twisted_mqtt.extensions.running import Extensions
    from twisted_mqtt.hooks.packets import PacketContext
    from twisted_mqtt.hooks.points import Hooks
    from twisted_mqtt.hooks.verdicts import Verdict
    from twisted_mqtt.listeners.datagrams import DatagramHandler
    from twisted_mqtt.net.tls.options import TLSOptions
    from twisted_mqtt.net.tls.psk import Find, PreSharedKeys
    from twisted_mqtt.stores.rows import KeptSession

__all__ = [
    "IBroker",
    "IClient",
    "IClientShell",
    "IDirectory",
    "IExtension",
    "IExtensionMaker",
    "IExtensionContext",
    "IHTTPServices",
    "IHeld",
    "IKeySources",
    "IListening",
    "IMount",
    "INode",
    "IProgress",
    "IRuntimeSettings",
    "ISession",
    "IStore",
    "IStoreOwner",
    "ISubscriber",
    "IWatch",
    "ITable",
]

R = TypeVar("R")


class IClient(Interface):
    """
    A client as hooks see it, whatever its protocol; or an account that publishes without being connected, see
    C{account} of L{IBroker}.
    """

    clientID: str = Attribute("The client identifier.")
    username: str | None = Attribute("The user name, or None.")
    password: bytes | None = Attribute("The password, or None; forgotten once the client is authenticated.")
    peerHost: str | None = Attribute("The numeric address of the client, or None (UNIX socket).")
    peerPort: int = Attribute("The port of the client, or 0.")
    sockPort: int = Attribute("The port of the listener, or 0.")
    protocol: str = Attribute("'mqtt', 'mqtt-sn', 'coap', 'lwm2m' or 'stomp'.")
    protoName: str = Attribute("The name of the protocol as the client sent it, such as 'MQTT' or 'MQIsdp'.")
    protoVersion: int = Attribute("The version of the protocol: 3, 4 or 5 for MQTT.")
    zone: str = Attribute("The name of its zone.")
    listener: str = Attribute("The name of its listener, such as 'tcp.external'.")
    mountpoint: str = Attribute("The prefix of all its topics, or ''.")
    topicTree: str = Attribute("The name of the topic tree that it is in, or '' for the default one.")
    isSuperuser: bool = Attribute("Whether no access rule applies to it.")
    anonymous: bool = Attribute("Whether it was let in although nobody has checked that it has its user name.")
    cn: str | None = Attribute("The common name of its certificate, or None.")
    dn: str | None = Attribute("The subject of its certificate, or None.")
    pskIdentity: str | None = Attribute("The identity of the pre-shared key that it has shown to know, or None.")
    cleanStart: bool = Attribute("Whether it wanted a new session.")
    keepAlive: int = Attribute("Its keep-alive in seconds; 0 for none.")
    connectedAt: float = Attribute("When it connected, in seconds since the epoch.")
    disconnectedAt: float = Attribute("When its connection ended, in seconds since the epoch; 0 while it has one.")
    expiryInterval: int = Attribute("For how many seconds its session outlives the connection.")
    properties: Properties | None = Attribute("The properties of its CONNECT, or None.")
    authMethod: str | None = Attribute("The method of an enhanced authentication, or None.")
    authData: bytes | None = Attribute("What the client has sent last in an enhanced authentication, or None.")
    hookTimeout: float = Attribute("For how many seconds a callback may wait that is called for it; 0 is no limit.")

    def stats() -> dict[str, int]:
        """
        The figures of its connection and its session, by the names that management shows; none where C{enable_stats} of
        its zone is off.
        """


class IClientShell(Interface):
    """
    The network side of a client, as the broker needs it: a way to send the client away.
    """

    def disconnectClient(reason: int, text: str = "") -> None:
        """
        Tell the client, if its protocol can say it, and close the connection. Has no effect on one that is closing.

        @param reason: an MQTT 5 reason code.
        @param text: for a person.
        """


class ISubscriber(Interface):
    """
    Receives messages.
    """

    clientID: str = Attribute("The client identifier; '' for a part of the broker.")
    online: bool = Attribute("Whether a delivery goes out at once rather than into a queue.")

    def deliver(message: Message, subscription: Subscription) -> None:
        """
        Take a message. Never waits, never raises, never subscribes or publishes before it has returned.
        """


class ISession(ISubscriber):
    """
    The state that outlives the connection of a client: its subscriptions, and the messages on their way to it.
    """

    username: str | None = Attribute("The user name of its client, or None.")
    mountpoint: str = Attribute("The prefix of all its topics, or ''.")
    topicTree: str = Attribute("The topic tree in which it is; '' for the default one.")
    zone: str = Attribute("The name of its zone.")
    createdAt: float = Attribute("When it began, in seconds since the epoch.")
    expiryInterval: int = Attribute("For how many seconds it outlives its connection; 0xFFFFFFFF for ever.")
    expiresAt: float = Attribute("When it ends, in seconds since the epoch; 0 for never, or while the client is here.")
    info: IClient = Attribute("Its client: the present one, or the last that was here.")
    subscriptions: dict[str, Subscription] = Attribute("By the filter as the client named it. Not to be changed.")
    queueLength: int = Attribute("How many messages wait to be sent.")

    def stats() -> dict[str, int]:
        """
        Its figures, by the names that management shows: subscriptions, what is in flight, waiting or awaiting PUBREL,
        the limits of each, and how many messages were dropped.
        """


class IWatch(Interface):
    """
    A look at messages as they are published, see C{watch} of L{IBroker}. All figures count from its beginning.
    """

    name: str = Attribute("Whose it is, for the log and for management.")
    topicFilters: tuple[str, ...] = Attribute("What it watches.")
    closed: bool = Attribute("Whether it was ended.")
    matched: int = Attribute("How many messages were published that match.")
    handed: int = Attribute("With how many of these the callback was called.")
    failed: int = Attribute("How many of these calls raised or failed.")
    dropped: int = Attribute("How many messages found no room in the queue, or had to make room.")
    waiting: int = Attribute("How many messages wait at present.")
    mostWaiting: int = Attribute("How many have waited at most.")
    running: int = Attribute("How many calls are unfinished at present.")

    def close() -> None:
        """
        End it: what waits is forgotten, and the callback is not called again. Calls that are unfinished go on. A second
        call does nothing.
        """

    def whenIdle() -> Deferred[None] | None:
        """
        Wait until everything that has matched so far is done with.

        @return: C{None} if it is, or a Deferred that fires when nothing waits and no call is unfinished. It fails only
            if it is cancelled.
        """


class IDirectory(Interface):
    """
    Lists of clients, sessions, subscriptions and retained messages.

    Each method returns a L{Listing<twisted_mqtt.base.listing.Listing>}: it is taken a page at a time, in slices of
    less than a millisecond, however many things there are. It shows nothing twice, and all that was there from the
    first page to the last. C{where} says whether a thing is wanted; it has to be quick, and is asked about each thing
    once.
    C{topicTree} is the name of a topic tree, '' the default one; sessions and their subscriptions are those of all.
    """

    def sessions(
        where: Callable[[ISession], bool] | None = None,
        key: Callable[[ISession], object] | None = None,
        reverse: bool = False,
    ) -> Listing[ISession]:
        """
        Sessions: every connected client has one, and so have those that are away. One by its client identifier is in
        C{sessions} of L{IBroker}; by a user name or an address they are found by going through all.

        @param key: what to sort by, such as C{lambda session: session.createdAt}; none for no order in particular.
        @param reverse: whether the greatest comes first.
        """

    def subscriptions(where: Callable[[Subscription], bool] | None = None) -> Listing[Subscription]:
        """
        The subscriptions of all sessions; C{subscription.subscriber} is the session. Those of one are its
        C{subscriptions}.
        """

    def filters(where: Callable[[str], bool] | None = None, topicTree: str = "") -> Listing[str]:
        """
        The filters that are subscribed, each once, without shares and with mount points: the routes of this node.
        """

    def subscribers(topicFilter: str, topicTree: str = "") -> Listing[Subscription]:
        """
        The subscribers of exactly this filter, mount point included. With C{$share/NAME/}, the members of that share;
        without, those who do not share, then the members of all its shares.

        @raise twisted_mqtt.core.reasons.ProtocolError: the filter is malformed.
        """

    def matching(topic: str, topicTree: str = "") -> Listing[Subscription]:
        """
        All subscriptions that match a topic, each by itself, and all members of shares: who might get a message of it.
        """

    def retained(topicFilter: str = "#", topicTree: str = "") -> Listing[Message]:
        """
        The retained messages whose topics match a filter; those of the broker itself are found by filters that begin
        with C{$SYS}. With C{retainer.storage_type = "disc_only"} most have neither payload nor properties: C{fetch} of
        C{broker.retained} reads one.
        """


class IBroker(Interface):
    """
    The broker service, as extensions and gateways see it.
    """

    nodeName: str = Attribute("The name of this node.")
    stopping: bool = Attribute("Whether it is shutting down, and takes no clients any more.")
    hooks: Hooks = Attribute("The hook points.")
    counters: Counters = Attribute("What the broker counts, as plain attributes.")
    metrics: Metrics = Attribute(
        "All that is counted and measured, that of extensions too: register there, read there."
    )
    settings: Settings = Attribute("The configuration.")
    clock: IReactorTime = Attribute("The time, and calls that come later.")
    reactor: object = Attribute("The reactor, for endpoints and the like; adapt it to the interface that is needed.")
    threads: Threads = Attribute("Threads for what blocks: C{threads.defer(function, ...)} returns a Deferred.")
    preSharedKeys: PreSharedKeys = Attribute("Where the keys for TLS and DTLS are looked up.")
    store = Attribute("The L{IStore}: what outlives the process.")
    alarms: Alarms = Attribute("What is wrong at present.")
    bans: Bans = Attribute("Who is not let in.")
    router: Router = Attribute("For those who make connections.")
    outbox: Outbox = Attribute("For those who make connections.")
    wheel: TimerWheel = Attribute("Deadlines to the second.")
    interconnect: Interconnect = Attribute("What a cluster needs: sessions that move, messages of other nodes.")
    retained: RetainedMessages = Attribute("The retained messages.")
    clients: Mapping[str, IClient] = Attribute(
        "Who is connected, by C{scoped(topicTree, clientID)}. Not to be changed."
    )
    sessions: PartedDict[Session] = Attribute("All sessions, by C{scoped(topicTree, clientID)}. Not to be changed.")
    directory: IDirectory = Attribute("What there is, to be listed and looked up.")

    def connect(client: ClientInfo, request: Connect, connection: Connection) -> Maybe[Admission]:
        """
        Let a client in, or not.

        @param request: gateways make one.
        @param connection: what the session will write to.

        @return: what has been decided, or a Deferred of it. It does not fail.
        """

    def opened(client: ClientInfo) -> Maybe[None]:
        """
        The client has been told that it is in: tell those who want to know, then deliver what has waited for it.

        @return: C{None}, or a Deferred that fires when a callback that waits is done. It does not fail.
        """

    def disconnect(client: ClientInfo, reason: int | str) -> None:
        """
        The connection of a client that was let in is gone.

        @param reason: an MQTT 5 reason code or a word.
        """

    def setExpiry(client: IClient, interval: int) -> None:
        """
        Change for how many seconds a client's session outlives its connection.
        """

    def setWill(client: IClient, will: Message | None) -> None:
        """
        Give a client that is in another will, or none; it is kept with the session where that is kept. Access rules are
        not asked.
        """

    def publish(message: Message, packet: PacketContext | None = None) -> Maybe[int]:
        """
        Publish a message of the broker's own, or of an extension's. Nobody is asked whether it may be, but for hooks at
        C{message.publish}: see L{publishAs}. A message without a time gets the present one, and one whose properties
        name a message expiry expires so long after its time.

        @param packet: for which packet of a client it is published.

        @return: a reason code: 0, or 0x10 where nobody has subscribed its topic; or a Deferred of it. It does not fail.
        """

    def account(
        clientID: str = "",
        username: str | None = None,
        peerHost: str | None = None,
        protocol: str = "",
        zone: str = "external",
        isSuperuser: bool = False,
        topicTree: str = "",
    ) -> IClient:
        """
        Make an account: somebody for whom messages are published without a connection, by way of HTTP, say. Access
        rules and hooks see it as a client. It has the limits and the mount point of its zone, and its own share of the
        zone's C{publish_limit}: keep it while the same user goes on.

        @raise KeyError: there is no such zone.
        """

    def publishAs(
        who: IClient | ISession,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
        patient: bool = False,
    ) -> Maybe[int]:
        """
        Publish on behalf of a client, of the owner of a session, or of an account, as if it had sent the message: the
        topic is checked, its rate, the C{$SYS} rule, access rules and hooks apply, and it is counted.

        @param topic: without the mount point of the client.
        @param qos: lowered to what its zone allows.
        @param retain: ignored where its zone has no retained messages.
        @param properties: belong to the message from here on.
        @param patient: whether a message that comes before its time (C{publish_limit}, or a store that is behind) waits
            for that: for callers that do not go on meanwhile. Else it is refused: 0x96 (message rate too high), 0x89
            (server busy).

        @return: a reason code, from 0x80 on the message was refused; or a Deferred of it, which does not fail unless it
            is cancelled. An accepted message is on disk when L{safe} says so.
        """

    def safe() -> Deferred[None] | None:
        """
        Wait until everything that was published or changed before is on disk, as far as the store promises that
        (C{persistence.commit}).

        @return: C{None} if it is, or a Deferred that fires when it is. While the store can't be written, that may take
            long: use C{addTimeout}. It fails with L{NotSafe<twisted_mqtt.broker.safety.NotSafe>} if the broker stops
            and something could not be written.
        """

    def watch(
        topicFilter: str | Sequence[str],
        callback: Callable[[Message], object],
        limit: int = 10_000,
        limitBytes: int = 16_777_216,
        dropNewest: bool = False,
        concurrency: int = 1,
        name: str = "",
        retained: bool = False,
    ) -> IWatch:
        """
        See messages as they are published, without being a subscriber: a watch is in no figure of subscriptions, and a
        message that nobody else wants has no matching subscribers. It slows no publisher down: messages wait in a
        bounded queue, and the callback is called in turns of its own. It sees the default topic tree.

        The message is shared with its subscribers and must not be changed. It says who has published it: C{clientID},
        C{username}, C{peerHost}, C{protocol}.

        @param topicFilter: a filter, or several: a message that matches more than one is seen once. Topics that begin
            with C{$} are seen only by filters that do. Filters include mount points; they can't be shared.
        @param callback: called with one message after the other, in the order of their publication. It may be a
            coroutine function or return a Deferred. What it returns is ignored; when it raises or fails, that is
            counted and logged.
        @param limit: how many messages may wait.
        @param limitBytes: how many bytes of topics and payloads may wait.
        @param dropNewest: whether a message that finds no room is dropped. Else it takes the place of the oldest.
        @param concurrency: how many calls of the callback may be unfinished; with more than one, they may end in any
            order.
        @param name: whose watch it is, for the log and for management.
        @param retained: whether to see the retained messages first; they have C{"retained"} among their C{headers}. One
            that is published meanwhile may be seen twice.

        @raise ValueError: a filter is malformed or shared, or there is none, or a limit is less than one.
        """

    def watchFilters(
        added: Callable[[str, str, str | None], object], removed: Callable[[str, str, str | None], object]
    ) -> FilterWatch:
        """
        Be told when the first subscriber of a filter comes and when the last goes; for the filters that are subscribed
        already, see C{filters} of L{IDirectory}. A subscription that is replaced is neither.

        @param added: called with the name of the topic tree; with the filter, mount point included and share not; and
            with the name of the share whose first member has come, or L{None} for one who does not share. It is called
            amid the work of the broker: it must neither wait nor subscribe nor publish.
        @param removed: called likewise.

        @return: has C{close()}.
        """

    def kick(clientID: str, reason: int, text: str = "", topicTree: str = "") -> bool:
        """
        Send a client away; its session stays as long as it was to.

        @param reason: an MQTT 5 reason code.
        @param text: for a person.
        @param topicTree: the topic tree that it is in; '' for the default one.

        @return: whether it was connected.
        """

    def endSession(clientID: str, topicTree: str = "") -> bool:
        """
        End a session with all that waits in it, and send its client away if it is connected.

        @return: whether there was one.
        """

    def isHeard(topic: str) -> bool:
        """
        Whether anybody might receive a message of a topic: where nobody does, a part of the broker that tells of
        frequent events need not make it. It answers fast, and "yes" where it can't tell fast.
        """

    def authorize(client: IClient, access: str, topic: str, packet: PacketContext | None = None) -> Maybe[Verdict]:
        """
        Ask the access rules.

        @param access: 'publish' or 'subscribe'.
        @param topic: without the mount point.
        @param packet: what they are asked for; callbacks see that there is more to it than the topic.

        @return: what they say, which is true if it is allowed; or a Deferred of it. It does not fail.
        """

    def rememberedPermissions(client: IClient) -> list[KnownPermission]:
        """
        List what access rules have said to a client, and holds for its next messages and subscriptions.
        """

    def forgetPermissions(client: IClient | None = None, topic: str | None = None) -> None:
        """
        Forget what access rules have said before, so that they are asked again: because they have changed, say.

        @param client: only to this client.
        @param topic: only of this topic or filter, without the mount point.
        """

    def subscribe(subscriber: Subscriber, subscription: Subscription) -> bool:
        """
        Let a part of the broker receive messages. Clients subscribe through their sessions: L{subscribeClient}.

        @return: whether the subscription is new.
        """

    def unsubscribe(subscriber: Subscriber, topicFilter: str) -> bool:
        """
        Undo L{subscribe}; returns whether there was such a subscription.
        """

    def subscribeClient(client: IClient | ISession, packet: Subscribe, trusted: bool = False) -> Maybe[Subscribing]:
        """
        Subscribe for a client, as a SUBSCRIBE asks; for a session also while its client is away.

        @param trusted: whether the broker itself wants it, so that neither hooks nor access rules are asked.

        @return: what has been done, whose C{deliverRetained} is to be called once the client has been told; or a
            Deferred of it. It does not fail.

        @raise twisted_mqtt.core.reasons.ProtocolError: the packet is against the specification.
        """

    def unsubscribeClient(client: IClient | ISession, packet: Unsubscribe) -> Maybe[list[int]]:
        """
        Unsubscribe for a client, as an UNSUBSCRIBE asks; for a session also while its client is away.

        @return: a reason code for each filter, or a Deferred of them. It does not fail.

        @raise twisted_mqtt.core.reasons.ProtocolError: the packet is against the specification.
        """

    def stats() -> dict[str, int]:
        """
        How many there are now of what is worth counting, by name.
        """


class IProgress(Interface):
    """
    How far a store has come.
    """

    sequence = Attribute("Grows with each write that was asked for.")
    committed = Attribute("The sequence up to which everything would survive a crash.")
    broken = Attribute("Whether the store can't keep anything at present.")
    congested = Attribute("Whether so much waits to be written that publishers of QoS 1 and 2 have to wait too.")


class ITable(Interface):
    """
    A table of a store: small records under names, all of them in memory, so that reading never waits.

    A change is written with the next batch of the store, together with all other changes of the time and under the same
    promise: once C{progress.committed} has reached what C{progress.sequence} was after the change, it survives a crash.
    The user of a table must not let it grow without a bound.
    """

    name: str = Attribute("What it is called.")
    largest: int = Attribute("How many bytes a value has at most.")

    def get(key: str) -> bytes | None:
        """
        The value of a key; None where there is none.
        """

    def put(key: str, value: bytes) -> None:
        """
        Set the value of a key.

        @raise ValueError: the key is empty or longer than L{LONGEST_KEY<twisted_mqtt.stores.tables.LONGEST_KEY>}, or
            not to be encoded in UTF-8; the value is larger than C{largest}.

        @raise RuntimeError: the store is not open yet.
        """

    def remove(key: str) -> bool:
        """
        Remove a key; returns whether it was there.

        @raise RuntimeError: the store is not open yet.
        """

    def items() -> list[tuple[str, bytes]]:
        """
        All keys and values of this moment, in no particular order.
        """

    def count() -> int:
        """
        How many keys there are.
        """

    def records(kind: type[R]) -> Records[R]:
        """
        The same table with typed records for values.

        @param kind: a C{msgspec.Struct}, or another type that msgspec knows.
        """


class IStore(Interface):
    """
    Keeps persistent sessions, their messages, retained messages and wills, and tables of small records for everything
    else.

    Its write methods are called in order from the reactor's thread; they return nothing, do not wait and do not raise:
    what can't be kept makes C{progress.broken} true.
    """

    durable: bool = Attribute("Whether anything survives the process.")
    progress: Progress = Attribute("An L{IProgress}.")
    journal: Journal | None = Attribute("What sessions tell of their messages; None where it is not durable.")

    def open(owner: IStoreOwner) -> Maybe[None]:
        """
        Open the store, fill its tables, and give the owner what it holds.

        @return: C{None}, or a Deferred that fires when that is done and fails with
            L{StoreError<twisted_mqtt.stores.schemas.StoreError>} where the store can't be used.
        """

    def close() -> Maybe[None]:
        """
        Write what is left and close.

        @return: C{None}, or a Deferred that fires when that is done. It does not fail.
        """

    def table(name: str, largest: int = 0) -> ITable:
        """
        The table of a name, the same each time. It can be asked for before the store is open, and is empty until then.

        @param name: small letters, digits, and C{_ . / -}; at most 100 of them, a letter first.
        @param largest: how many bytes a value may have, where that is more than 1 MiB.

        @raise ValueError: the name is none.
        """

    def saveSession(session: Session) -> None:
        """
        A persistent session has begun, or its expiry has changed, or its client has come or gone.
        """

    def removeSession(session: Session) -> None:
        """
        A persistent session has ended, with all that belongs to it.
        """

    def saveSubscription(session: Session, subscription: Subscription) -> None:
        """
        A persistent session has subscribed, or changed a subscription.
        """

    def removeSubscription(session: Session, topicFilter: str) -> None:
        """
        A persistent session has unsubscribed.
        """

    def putRetained(message: Message) -> None:
        """
        A message is now the retained one of its topic.
        """

    def removeRetained(topic: str) -> None:
        """
        A topic has no retained message any more.

        @param topic: with its topic tree: L{scoped<twisted_mqtt.core.topics.scoped>}.
        """

    def saveWill(key: str, will: Message, publishAt: float, delay: float) -> None:
        """
        A client has a will.

        @param key: the C{key} of its session: its client identifier, with its topic tree if not the default one.
        @param publishAt: when it is due, in seconds since the epoch; 0 while the client is connected.
        @param delay: for how many seconds it waits once the client is gone.
        """

    def removeWill(key: str) -> None:
        """
        A client has no will any more.

        @param key: see L{saveWill}.
        """

    def room() -> Deferred[None] | None:
        """
        Whether there is room for more to write.

        @return: C{None} if there is, or a Deferred that fires when there is again. It does not fail.
        """


class IStoreOwner(Interface):
    """
    Whom a store works for: it takes over what the store holds when it is opened, and is told what becomes of the rest.

    When the store is opened, the methods are called in the order in which they stand here, each as often as there is
    something for it, and C{restored} last, before C{open} fires.
    """

    nodeName: str = Attribute("The name of the node.")

    def retainedAreIn(source: PayloadReader) -> None:
        """
        The payloads of retained messages are in the store alone.

        @param source: reads them.
        """

    def restoreSession(kept: KeptSession) -> Session | None:
        """
        A session, its client away. The owner makes it, without a journal; None where it is not wanted any more.
        """

    def restoreSubscription(subscription: Subscription) -> None:
        """
        A subscription of a session that was restored. The session knows it already.
        """

    def restoreRetained(message: Message) -> None:
        """
        A retained message; without its payload where the store alone is to keep that.
        """

    def restoreWill(key: str, will: Message, publishAt: float, delay: float) -> None:
        """
        A will, as it was given to L{IStore.saveWill}.
        """

    def restored() -> None:
        """
        That was all.
        """

    def committed() -> None:
        """
        C{progress.committed} has grown: what waited for it may go out.
        """

    def retainedWritten(messages: list[Message]) -> None:
        """
        The payloads of these retained messages are in the store, which alone is to keep them.
        """

    def hurry(whether: bool) -> None:
        """
        Something waits that is not the network, or does no longer. May be called from any thread.
        """

    def storeFailed(text: str) -> None:
        """
        The store can't be written.

        @param text: why, for a person.
        """

    def storeRecovered() -> None:
        """
        The store can be written again.
        """


class IHeld(Interface):
    """
    Something that an extension has registered through its context.
    """

    closed: bool = Attribute("Whether it is undone, or has done what it was for.")

    def close() -> Maybe[None]:
        """
        Undo it now rather than at the end of the extension. Another time this does nothing.

        @return: C{None}, or a Deferred that fires when it is undone.
        """


class IKeySources(Interface):
    """
    Where an extension adds sources of pre-shared keys for TLS and DTLS.
    """

    def add(find: Find, mayWait: bool = False) -> IHeld:
        """
        Ask C{find} for the key of an identity, after those that were added before.

        @param mayWait: whether it may return a Deferred or coroutine: DTLS alone asks it then.
        """


class IListening(Interface):
    """
    A port, from before it is open until it is closed for good.
    """

    name: str = Attribute("Its name, unlike that of any other port of the node, such as 'tcp.external' or 'stomp.ssl'.")
    protocol: str = Attribute("What is spoken: 'mqtt', 'stomp', 'coap', 'http', ...")
    kind: str = Attribute("How it comes: 'tcp', 'ssl', 'ws', 'wss', 'unix', 'udp', 'dtls'.")
    path: str = Attribute("The table of the configuration that it goes by, such as 'listener.tcp.external'.")
    address: Bind = Attribute("Where it listens, or would listen.")
    isOpen: bool = Attribute("Whether it listens.")
    connections: int = Attribute("How many connections it has; they may outlive it.")

    def figures() -> dict[str, int]:
        """
        Its counts since it was made, and its limits, by name.
        """

    def start() -> Deferred[None]:
        """
        Listen, if it does not.

        @return: fires when it does; fails with L{CannotListenError<twisted.internet.error.CannotListenError>} where the
            address is taken, forbidden, or not ours.
        """

    def stop() -> Deferred[None]:
        """
        Listen no more, until L{start}. Open connections stay.

        @return: fires when the port is closed. It does not fail.
        """

    def close() -> Deferred[None]:
        """
        Listen no more, for good: the node forgets it. Open connections stay.

        @return: fires when the port is closed. It does not fail.
        """

    def reloadCertificates() -> bool | None:
        """
        Read the files of TLS again, without waiting until it is seen that they have changed. What is wrong with them is
        logged, and those that were read before are used on.

        @return: whether they can be used; L{None} where there are none.
        """


class IMount(Interface):
    """
    A resource that is mounted in an HTTP service.
    """

    service: str = Attribute("The name of the service.")
    path: str = Attribute("The path, such as '/api/v4'.")

    def close() -> Deferred[None]:
        """
        Take it out. Requests that it is answering go on.

        @return: fires when the ports of the service are closed, if it was the last. It does not fail.
        """


class IHTTPServices(Interface):
    """
    The HTTP services of a node, by name, such as 'management' and 'dashboard'. The ports of a service open when its
    tables are there and somebody has mounted something.
    """

    def declare(service: str, tables: Mapping[str, AnyHTTPSettings], path: str = "") -> Deferred[None]:
        """
        Say which ports a service has. Those that were declared before and are not among them, or have another table,
        are closed; their connections stay.

        @param tables: a table for each port: L{HTTPSettings<twisted_mqtt.config.schema_http.HTTPSettings>} or
            L{HTTPSSettings<twisted_mqtt.config.schema_http.HTTPSSettings>}, by a name such as 'http'. One without
            C{bind} is left out.
        @param path: where these tables stand, such as 'management.listener', for messages; the service by default.

        @return: fires when the ports are as they should be; fails as L{INode.listen} does with the first that can't be.
        """

    def mount(service: str, path: str, resource: IResource) -> Deferred[IMount]:
        """
        Have a resource answer requests for a path and what is below it, unless somebody has a longer one. It is asked
        with that path in C{request.prepath} and the rest in C{request.postpath}. A request that it has no answer to,
        or that is more than the port allows, is answered in JSON.

        @param resource: one of C{twisted.web}'s. C{request.content} holds the whole body; forms are not read from it.

        @return: fires when the ports of the service are open; fails as L{INode.listen} does where they can't be, and
            nothing is mounted then.

        @raise ValueError: something is mounted there already, or it is no path.
        """

    def mounts(service: str) -> list[IMount]:
        """
        The resources that are mounted in a service.
        """


class IRuntimeSettings(Interface):
    """
    The settings of a node, read and changed key by key while it runs.
    """

    current: Settings = Attribute("The settings by which the node goes at present.")

    def get(key: str) -> Any:
        """
        The value of a key, in Python: a time is a number of seconds, a size a number of bytes; or a whole table, as a
        frozen structure. Its type is what the schema says of the key.

        @raise KeyError: there is no such key; the text names the nearest.
        """

    def entry(key: str) -> Entry:
        """
        A key with its value as text, where that comes from, and from when on a change of it holds.

        @raise KeyError: there is no such key; the text names the nearest.
        """

    def entries(prefix: str = "") -> Iterator[Entry]:
        """
        All keys, or those of a table such as C{"zone.external"}.
        """

    def waiting() -> dict[str, Entry]:
        """
        The keys that were changed and wait for a restart, by name, with what they will be.
        """

    def overridden() -> dict[str, object]:
        """
        The keys that were changed at run time, with their values as text; secrets are not shown.
        """

    def change(values: Mapping[str, object], keep: bool = True) -> Deferred[ReloadReport]:
        """
        Change keys, all of them or none.

        @param values: by key in full, as text or as in the file; None is "none".
        @param keep: whether they hold after a restart as well.

        @return: fires with what was done and what waits for a restart. It fails with
            L{ConfigurationError<twisted_mqtt.config.problems.ConfigurationError>} where a value does not pass, and with
            C{OSError} where the change can't be kept: then nothing has changed.
        """

    def reset(keys: Iterable[str]) -> Deferred[ReloadReport]:
        """
        Take back what was changed at run time: the keys are again what the file says.

        @return: as L{change}; it fails for a key that was not changed.
        """


class INode(Interface):
    """
    The node: the process around the broker, as extensions see it.
    """

    broker: IBroker = Attribute("The broker.")
    settings: IRuntimeSettings = Attribute("The settings, read and changed key by key.")
    extensions: Extensions = Attribute("The extensions: what is installed, what runs; loading and unloading.")
    http: IHTTPServices = Attribute("Where resources of C{twisted.web} are mounted.")
    ports: Mapping[str, IListening] = Attribute("Its ports by name: those of MQTT's listeners, and of extensions.")

    def listen(
        settings: PortSettings,
        factory: IProtocolFactory,
        name: str,
        *,
        path: str = "",
        bind: Bind | None = None,
        kind: str = "",
        protocols: tuple[bytes, ...] = (),
        tls: TLSOptions | None = None,
        pending: int = 1048576,
    ) -> Deferred[IListening]:
        """
        Open a port that takes connections: with access rules, limits, PROXY headers and TLS as its table says.

        @param settings: its table.
        @param factory: makes the protocols of its clients. Their transports have C{peerIdentity}, who the client is by
            its certificate or key, where there is TLS.
        @param name: unlike that of any other port; what comes before the first dot is the protocol: C{"stomp.ws"}.
        @param path: the name of the table, for messages; C{""} where it is C{name}.
        @param bind: where to listen, if not where the table says.
        @param kind: see L{IListening}; C{""} for "tcp", or "ssl" with TLS.
        @param protocols: what ALPN may agree on.
        @param tls: what TLS does, if not what the table says: one with keys of TLS, a
            L{TLSPortSettings<twisted_mqtt.config.schema_ports.TLSPortSettings>}, says it.
        @param pending: how many bytes may wait for a connection before its producer is paused.

        @return: fires with the port, which listens. It fails with
            L{CannotListenError<twisted.internet.error.CannotListenError>} where the address can't be had,
            L{TLSProblem<twisted_mqtt.net.tls.options.TLSProblem>} where keys or files of TLS can't be used, and
            C{ValueError} where the name is taken or nothing says where to listen.
        """

    def listenDatagrams(
        settings: DatagramSettings,
        protocol: DatagramHandler,
        name: str,
        *,
        path: str = "",
        bind: Bind | None = None,
        kind: str = "udp",
        group: str | None = None,
        shared: bool = False,
        count: Callable[[], int] = ...,
    ) -> Deferred[IListening]:
        """
        Open a port that takes datagrams, with access rules as its table says. See L{listen}.

        @param protocol: takes what comes; one of Twisted's, or the layer of DTLS.
        @param group: a multicast group that is heard too.
        @param shared: whether other sockets will be opened for groups at the same port.
        @param count: says how many clients there are, for C{connections}.
        """


class IExtensionContext(Interface):
    """
    The object that an extension gets when it starts, with everything that it needs. Everything registered here is swept
    when the extension ends; each method returns a handle that undoes it earlier. Once the extension has ended, methods
    raise L{ExtensionEnded<twisted_mqtt.extensions.context.ExtensionEnded>}.

    An C{action} may be an C{async def}, or return a Deferred. Where it raises or fails, that is logged.
    """

    name: str = Attribute("The name of the extension.")
    broker: IBroker = Attribute("The broker.")
    node: INode = Attribute("The node.")
    log: Logger = Attribute("A logger of the extension's own.")
    clock: IReactorTime = Attribute("Measures time, and calls later.")
    preSharedKeys: IKeySources = Attribute("Where sources of pre-shared keys are added.")

    def hook(
        point: str,
        action: Callable[..., Any],
        *,
        priority: int = 0,
        filter: Callable[..., object] | None = None,
        args: Sequence[object] = (),
        publishRules: Callable[[IClient], TopicRules | None] | None = None,
        perPacket: bool = False,
    ) -> IHeld:
        """
        Call something whenever the broker comes past a hook point; see
        L{HookPoint.add<twisted_mqtt.hooks.points.HookPoint.add>}.

        @param point: its name, such as C{"client.connected"}.
        @param publishRules: at C{client.check_acl} only: see
            L{AccessPoint.add<twisted_mqtt.hooks.points.AccessPoint.add>}.
        @param perPacket: likewise.

        @raise TypeError: the last two are given for another point.
        @raise KeyError: there is no such point; the text names the nearest.
        """

    def watch(
        topicFilter: str | Sequence[str],
        action: Callable[[Message], object],
        *,
        limit: int = 10_000,
        limitBytes: int = 16_777_216,
        dropNewest: bool = False,
        concurrency: int = 1,
        retained: bool = False,
    ) -> IWatch:
        """
        See messages as they are published, see C{watch} of L{IBroker}.
        """

    def watchFilters(
        added: Callable[[str, str, str | None], object], removed: Callable[[str, str, str | None], object]
    ) -> IHeld:
        """
        Be told when the first subscriber of a filter comes and when the last goes, see C{watchFilters} of L{IBroker}.
        """

    def listen(
        settings: PortSettings,
        factory: IProtocolFactory,
        name: str = "",
        *,
        path: str = "",
        bind: Bind | None = None,
        kind: str = "",
        protocols: tuple[bytes, ...] = (),
        tls: TLSOptions | None = None,
        pending: int = ...,
    ) -> Deferred[IListening]:
        """
        Open a port that takes connections, see L{INode.listen}. At the end of the extension it is closed, and the
        connections that are left are ended.

        @param name: what it is called; the extension's name by default.
        """

    def listenDatagrams(
        settings: DatagramSettings,
        protocol: DatagramHandler,
        name: str = "",
        *,
        path: str = "",
        bind: Bind | None = None,
        kind: str = "udp",
        group: str | None = None,
        shared: bool = False,
        count: Callable[[], int] = ...,
    ) -> Deferred[IListening]:
        """
        Open a port that takes datagrams, see L{INode.listenDatagrams}.

        @param name: what it is called; the extension's name by default.
        """

    def mount(service: str, path: str, resource: IResource) -> Deferred[IMount]:
        """
        Have a resource of C{twisted.web} answer requests, see L{IHTTPServices.mount}.
        """

    def table(name: str) -> ITable:
        """
        A table of the store, the extension's own: no other has one of this name. What is in it stays when the extension
        ends.

        @raise ValueError: the name is none.
        """

    def counter(
        name: str, help: str, labels: Sequence[str] = (), read: Callable[[], float] | None = None
    ) -> Metric[Counter]:
        """
        Register a counter, see L{Metrics.counter<twisted_mqtt.base.metrics.Metrics.counter>}.
        """

    def gauge(
        name: str,
        help: str,
        labels: Sequence[str] = (),
        read: Callable[[], float] | None = None,
        peak: str = "",
    ) -> Metric[Gauge]:
        """
        Register a gauge, see L{Metrics.gauge<twisted_mqtt.base.metrics.Metrics.gauge>}.
        """

    def histogram(name: str, help: str, bounds: Sequence[float] = ..., labels: Sequence[str] = ()) -> Metric[Histogram]:
        """
        Register a histogram, see L{Metrics.histogram<twisted_mqtt.base.metrics.Metrics.histogram>}.
        """

    def alarm(name: str, severity: str, title: str, summary: str) -> IHeld:
        """
        Raise an alarm; closing the handle clears it.

        @param name: what it is known by; there is one of a name at a time.
        @param severity: such as C{warning} or C{critical}.
        """

    def subscribe(subscriber: Subscriber, subscription: Subscription) -> IHeld:
        """
        Let a part of the extension receive messages as a subscriber does, and count as one. Who only wants to see
        messages watches them.
        """

    def callLater(seconds: float, action: Callable[..., object], *args: object) -> IHeld:
        """
        Call something once, after some seconds.
        """

    def loop(interval: float, action: Callable[..., object], *args: object, now: bool = False) -> IHeld:
        """
        Call something again and again. A call that waits holds the next one up.

        @param interval: seconds between the beginnings of two calls.
        @param now: whether the first one is at once rather than after the interval.
        """

    def run(work: Coroutine[Any, Any, object] | Deferred[Any], what: str = "") -> IHeld:
        """
        Let a coroutine run beside everything else. At the end of the extension it is cancelled.

        @param what: what it does, for the log.
        """

    def addCleanup(name: str, action: Callable[[], object]) -> IHeld:
        """
        Do something at the end of the extension, before what was registered earlier is undone.

        @param name: what it is, for the log.
        """


class IExtension(Interface):
    """
    Something that watches or changes what the broker does, from C{start} to its end.

    It may have two more methods, each of which may be an C{async def} or return a Deferred. C{stop()} comes first at
    the end: it tells clients of the extension's own, and undoes what was not registered through the context; the rest
    is swept after it. C{refresh()} reads files again; when the configuration is read again and the extension's table
    has not changed, this is all that happens to it. Where they can't be used, it raises what says why, and the
    extension goes on by what it has read before.
    """

    def start(context: IExtensionContext) -> Awaitable[None] | None:
        """
        Begin. It may be an C{async def}.

        @return: C{None}, or what is awaited until the extension works, and fails when it can't.
        """


class IExtensionMaker(IDeclaration):
    """
    A Twisted plugin that makes an extension.
    """

    description: str = Attribute("What it does, in a few words.")
    version: str = Attribute("Its version.")
    requires: tuple[str, ...] = Attribute("The extensions that must run while this one does.")
    necessary: bool = Attribute("Whether the broker must not run without it.")
    always: bool = Attribute("Whether it starts with every broker, before all others.")
    gateway: bool = Attribute("Whether it lets clients in: it starts after those that do not, and stops before them.")

    def makeExtension(settings: Struct | None) -> IExtension:
        """
        Make an L{IExtension} of the extension's table of the configuration, None if it has none.
        """


classImplements(Session, ISession)
classImplements(Progress, IProgress)
