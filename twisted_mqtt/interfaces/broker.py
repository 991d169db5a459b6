"""
The broker service, as extensions and gateways see it.

A method that may wait returns its plain result, or a L{Deferred<twisted.internet.defer.Deferred>} of it; callers check.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

from twisted_mqtt.core.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from twisted_mqtt.base.dates import Dates
    from twisted_mqtt.base.listing import Listing
    from twisted_mqtt.base.metrics import Metrics
    from twisted_mqtt.base.portions import Portions
    from twisted_mqtt.base.ratelimitedlog import RateLimitedLog
    from twisted_mqtt.base.rates import Rates
    from twisted_mqtt.base.threads import Threads
    from twisted_mqtt.base.timerwheel import TimerWheel
    from twisted_mqtt.base.waiting import Maybe
    from twisted_mqtt.broker.admission import Admission
    from twisted_mqtt.broker.alarms import Alarms
    from twisted_mqtt.broker.bans import Bans
    from twisted_mqtt.broker.client import ClientInfo
    from twisted_mqtt.broker.directory import FilterWatch
    from twisted_mqtt.broker.interconnect import Interconnect
    from twisted_mqtt.broker.limitreports import LimitReports
    from twisted_mqtt.broker.permissions import KnownPermission
    from twisted_mqtt.broker.quotas import Quotas
    from twisted_mqtt.broker.retained import RetainedMessages
    from twisted_mqtt.broker.subscribing import Subscribing
    from twisted_mqtt.broker.topicmetrics import TopicMetrics
    from twisted_mqtt.broker.traffic import AllTraffic
    from twisted_mqtt.config.settings import Settings
    from twisted_mqtt.core.connection import Connection
    from twisted_mqtt.core.counters import Counters
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.outbox import Outbox
    from twisted_mqtt.core.packets import Connect, Subscribe, Unsubscribe
    from twisted_mqtt.core.parteddict import PartedDict
    from twisted_mqtt.core.properties import Properties
    from twisted_mqtt.core.router import Router
    from twisted_mqtt.core.subscription import Subscriber, Subscription
    from twisted_mqtt.hooks.packets import PacketContext
    from twisted_mqtt.hooks.points import Hooks
    from twisted_mqtt.hooks.verdicts import Verdict
    from twisted_mqtt.interfaces.clients import IClient, ISession
    from twisted_mqtt.interfaces.tracing import ITap, ITracer
    from twisted_mqtt.net.tls.psk import PreSharedKeys


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

    Each method but C{topicTrees} returns a L{Listing<twisted_mqtt.base.listing.Listing>}: it is taken a page at a
    time, in slices of less than a millisecond, however many things there are. It shows nothing twice, and all that was
    there from the first page to the last. C{where} says whether a thing is wanted; it has to be quick, and is asked
    about each thing once.
    C{topicTree} is the name of a topic tree, '' the default one; sessions and their subscriptions are those of all.
    """

    def topicTrees() -> list[str]:
        """
        The topic trees in which clients are connected, and '': where to look for a client of whom nothing but the
        identifier is known.
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
        with C{$SYS}. C{""} is for all of them. With C{retainer.storage_type = "disc_only"} most have neither payload
        nor properties: C{fetch} of C{broker.retained} reads one.
        """


class IBroker(Interface):
    """
    The broker service, as extensions and gateways see it.
    """

    nodeName: str = Attribute("The name of this node.")
    stopping: bool = Attribute("Whether it is shutting down, and takes no clients any more.")
    hooks: Hooks = Attribute("The hook points.")
    counters: Counters = Attribute(
        "Plain attributes to count by what belongs to no connection; C{metrics} has the sums of all that is counted."
    )
    rates: Rates = Attribute("How fast the counters have grown in the last 1, 5 and 15 minutes.")
    topicMetrics: TopicMetrics = Attribute("The messages of chosen topics, counted.")
    traffic: AllTraffic = Attribute("What connections count by, apart for each listener.")
    metrics: Metrics = Attribute(
        "All that is counted and measured, that of extensions too: register there, read there."
    )
    settings: Settings = Attribute("The configuration.")
    clock: IReactorTime = Attribute("The time, and calls that come later. It tells moments: see L{Dates}.")
    startedAt: float = Attribute("The moment when it was made.")
    dates: Dates = Attribute(
        "Makes dates of moments, which no setting of the wall clock changes, and moments of dates."
    )
    reactor: object = Attribute("The reactor, for endpoints and the like; adapt it to the interface that is needed.")
    portions: Portions = Attribute("Long work, a portion in each turn of the reactor.")
    faults: RateLimitedLog = Attribute("Logs what peers can cause as often as they like, at most once a second.")
    threads: Threads = Attribute("Threads for what blocks: C{threads.defer(function, ...)} returns a Deferred.")
    preSharedKeys: PreSharedKeys = Attribute("Where the keys for TLS and DTLS are looked up.")
    store = Attribute("The L{IStore}: what outlives the process.")
    alarms: Alarms = Attribute("What is wrong at present.")
    quotas: Quotas = Attribute("How many sessions and wills there are.")
    limits: LimitReports = Attribute("Says when a limit is reached.")
    bans: Bans = Attribute("Who is not let in.")
    router: Router = Attribute("For those who make connections.")
    outbox: Outbox = Attribute("For those who make connections.")
    tracer: ITracer | None = Attribute("Knows who is traced; None while nobody is.")
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

        @return: a reason code: 0, or 0x10 where nobody has subscribed its topic, or 0x90 where it is dropped because no
            packet can carry it: its topic is empty, too long or has a wildcard, say; or a Deferred of it. It does not
            fail.
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

    def obstacles() -> list[str]:
        """
        Why no clients are to be sent here at present, for people; none if they are.
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

    def setTap(client: IClient, tap: ITap | None) -> None:
        """
        Tell somebody what a client sends and is sent from now on; nobody, with None. Nothing happens where it has no
        connection.
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
