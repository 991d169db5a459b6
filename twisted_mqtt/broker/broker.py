"""
The broker service: clients come and go, sessions live and expire, messages are published.

It is the policy above L{twisted_mqtt.core}; it knows no transport. A step that waits holds up only its own client.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from twisted_mqtt.base.dates import Dates
from twisted_mqtt.base.metrics import Metrics
from twisted_mqtt.base.portions import Portions
from twisted_mqtt.base.ratelimitedlog import RateLimitedLog
from twisted_mqtt.base.rates import Rates
from twisted_mqtt.base.slowcalls import SlowCalls
from twisted_mqtt.base.threads import Threads
from twisted_mqtt.base.timerwheel import TimerWheel
from twisted_mqtt.base.waiting import Maybe, isDeferred
from twisted_mqtt.broker.absent import AbsentSessions
from twisted_mqtt.broker.admission import Admission, AdmissionControl, expanded
from twisted_mqtt.broker.alarms import Alarms
from twisted_mqtt.broker.banrecord import Ban
from twisted_mqtt.broker.bans import Bans
from twisted_mqtt.broker.client import ClientInfo
from twisted_mqtt.broker.directory import Directory, FilterWatch, FilterWatches
from twisted_mqtt.broker.figures import register as registerFigures
from twisted_mqtt.broker.figures import registerParts
from twisted_mqtt.broker.interconnect import Interconnect
from twisted_mqtt.broker.lifetime import Lifetime
from twisted_mqtt.broker.limitreports import LimitReports
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.broker.measurements import Measurements
from twisted_mqtt.broker.memoryguard import MemoryGuard
from twisted_mqtt.broker.overload import OverloadGuard
from twisted_mqtt.broker.permissions import KnownPermission, Permissions
from twisted_mqtt.broker.publishing import Publishing
from twisted_mqtt.broker.quotas import Quotas
from twisted_mqtt.broker.retained import RetainedMessages
from twisted_mqtt.broker.retainedexpiry import RetainedExpiry
from twisted_mqtt.broker.safety import Safety
from twisted_mqtt.broker.sessions import SessionRegistry
from twisted_mqtt.broker.storelimit import StoreLimit
from twisted_mqtt.broker.storeowner import StoreOwner
from twisted_mqtt.broker.subscribing import Subscribing, SubscriptionService
from twisted_mqtt.broker.topicmetrics import ChosenTopic, TopicMetrics
from twisted_mqtt.broker.traffic import AllTraffic
from twisted_mqtt.broker.watching import Watching
from twisted_mqtt.broker.wills import Wills
from twisted_mqtt.core.events import DELIVER, DISCARD, WAIT, Switches, Work
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.outbox import Outbox
from twisted_mqtt.core.reasons import (
    NO_MATCHING_SUBSCRIBERS,
    NOT_AUTHORIZED,
    QUOTA_EXCEEDED,
    SERVER_SHUTTING_DOWN,
    SUCCESS,
    TOPIC_NAME_INVALID,
)
from twisted_mqtt.core.router import Router
from twisted_mqtt.core.session import Session
from twisted_mqtt.core.subscription import STRATEGIES, Subscriber, Subscription
from twisted_mqtt.core.topics import isReserved, scoped, splitShare
from twisted_mqtt.hooks.kinds import HookPoint
from twisted_mqtt.hooks.packets import during
from twisted_mqtt.hooks.points import Hooks
from twisted_mqtt.hooks.verdicts import Drop, Verdict
from twisted_mqtt.interfaces import IBroker, IClientShell
from twisted_mqtt.net.tls.psk import PreSharedKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IReactorTime

    from twisted_mqtt.config.schema_retainer import RetainerSettings
    from twisted_mqtt.config.settings import Settings
    from twisted_mqtt.core.connection import Connection
    from twisted_mqtt.core.entry import Entry
    from twisted_mqtt.core.packets import Connect, Subscribe, Unsubscribe
    from twisted_mqtt.core.properties import Properties
    from twisted_mqtt.hooks.packets import PacketContext
    from twisted_mqtt.interfaces import IClient, ISession, IStore, ITap, ITracer, IWatch

_log = Logger()

# Characters of a topic in the log.
_SHOWN = 200

_T = TypeVar("_T")

#: A queue has one part in so many of the store at most.
QUEUE_SHARE: Final = 8


@implementer(IBroker)
class Broker(Service):
    """
    One broker.

    @ivar clients: those that are connected, by client identifier.
    @ivar sessions: all that live, by client identifier.
    @ivar bans: who is not let in.
    @ivar permissions: what those who are may do.
    @ivar admissions: lets clients in.
    @ivar absent: makes sessions whose clients are away.
    @ivar interconnect: what a cluster needs.
    @ivar subscriptions: subscribes for clients.
    @ivar publishing: lets clients publish, where the core does not do it by itself.
    @ivar watching: who is shown messages.
    @ivar slowCalls: told of callbacks that hold the reactor for too long.
    @ivar reactor: what C{clock} is, with all that it provides.
    @ivar dates: makes dates of what C{clock} says.
    @ivar faults: has the faults of ours that peers can cause as often as they like.
    @ivar threads: for what blocks.
    @ivar limits: says when a limit is reached.
    @ivar memory: watches the memory of the process; somebody else has to tell it how much there is.
    @ivar quotas: how many sessions and wills there are.
    @ivar counters: of what belongs to no connection.
    @ivar traffic: all counters, by listener and version too.
    @ivar rates: how fast the counters have grown.
    @ivar topicMetrics: the messages of chosen topics, counted.
    @ivar metrics: counters, gauges and histograms, those of extensions too.
    @ivar directory: what there is, to be listed and looked up.
    @ivar outbox: collects the connections with output.
    @ivar tracer: knows who is traced; L{None} while nobody is.
    @ivar hurry: says whether something waits that is not the network: while it does, a turn of the network ends with
        the socket at hand. May be called from any thread.
    """

    name = "broker"

    def __init__(
        self,
        settings: Settings,
        clock: IReactorTime,
        store: IStore,
        chance: Callable[[], float] = random.random,
        retainer: RetainerSettings | None = None,
        dates: Dates | None = None,
    ) -> None:
        """
        @param chance: gives numbers from 0 to below 1.
        @param retainer: limits of retained messages.
        @param dates: those of C{clock} unless they are given.
        """
        self.settings = settings
        self.clock = clock
        self.reactor: object = clock
        self.dates = Dates(clock.seconds) if dates is None else dates
        self.faults = RateLimitedLog(clock.seconds)
        self.startedAt = clock.seconds()
        self.threads = Threads(clock, settings.node.async_threads)
        self.nodeName = settings.node.name
        self.store = store
        self.traffic = AllTraffic()
        self.counters = self.traffic.own
        self.metrics = Metrics()
        self.switches = Switches()
        self.slowCalls = SlowCalls(settings.sysmon.long_schedule / 1000)
        self.hooks = Hooks(clock, settings.resolveZone("external").hook_timeout, self.slowCalls)
        self.hooks.changed = self._hooksChanged
        self.router = Router(self.counters, self.switches, self, chance)
        self.router.progress = self.store.progress
        self.router.strategy = STRATEGIES[settings.broker.shared_subscription_strategy]
        self.retained = RetainedMessages(self.counters, retainer)
        self.wheel = TimerWheel(clock)
        self.portions = Portions(clock)
        self.alarms = Alarms(self.nodeName, self.publish, clock.seconds, store, self.dates)
        self.limits = LimitReports(self.metrics, self.alarms, self.switches.queues, clock.seconds)
        self.storeLimit = StoreLimit(store, self.switches.queues, self.alarms)
        self.memory = MemoryGuard(self.switches.queues, self.alarms)
        self.quotas = Quotas(lambda: len(self.registry.sessions), self.switches.queues)
        self.quotas.report = self.limits.reached
        self.retained.report = self.limits.reached
        self.wills = Wills(clock, store, self.publish, self.quotas, self.portions)
        self.registry = SessionRegistry(
            self.router,
            self.hooks,
            self.store,
            self.wills,
            self,
            clock.seconds,
            settings.broker.shared_dispatch_ack_enabled,
            self.quotas,
        )
        self.registry.limitLifetime = self._limitLifetime
        self.registry.log.configure(settings.log.client_lines)
        self.clients = self.registry.clients
        self.sessions = self.registry.sessions
        self.preSharedKeys = PreSharedKeys()
        self.bans = Bans(store.table("bans").records(Ban), clock.seconds, self.dates)
        self._overload = OverloadGuard(self.clients, self.registry.sendAway, self.counters, clock.seconds)
        self._overload.configure(settings)
        self.outbox = Outbox(self._flushLater)
        self.tracer: ITracer | None = None
        self.hurry: Callable[[bool], None] = lambda whether: None
        self.permissions = Permissions(settings, self.hooks, self.counters, self.switches, self.clients, clock.seconds)
        self.admissions = AdmissionControl(
            self.hooks, self.counters, self.bans, self.permissions, self.registry, self.router, self.store, self.quotas
        )
        self.subscriptions = SubscriptionService(
            self.hooks,
            self.counters,
            self.permissions,
            self.router,
            self.retained,
            self.store,
            clock,
            self.limits.reached,
            self.portions,
        )
        self.absent = AbsentSessions(lambda: self.settings, self.counters, self.switches, self)
        self.interconnect = Interconnect(
            self.admissions, self.registry, self.router, self.wills, self.store, self.absent
        )
        self.publishing = Publishing(self.router, self.store.room, self.permissions, clock, self.publishChecked)
        self._invalidLog = RateLimitedLog(clock.seconds)
        self.watching = Watching(self.router, self.retained, clock, self.slowCalls)
        self._safety = Safety(self.router)
        self.directory = Directory(self.sessions, self.registry.topicTrees, self.router, self.retained, clock)
        self._filterWatches = FilterWatches(self.router)
        registerFigures(self.metrics, self.traffic, self.stats)
        registerParts(self)
        self.topicMetrics = TopicMetrics(
            self.router, store.table("topic_metrics").records(ChosenTopic), self.metrics, clock.seconds, self.dates
        )
        self.rates = Rates(self.metrics.counts, clock.seconds)
        self.measurements = Measurements(self.metrics, self.router, self.hooks, store, clock.seconds)
        self._limit(settings)
        # By how much the wall clock was ahead when what is kept was given its dates.
        self._skew = self.dates.skew
        self._retainedExpiry = RetainedExpiry(self.retained, self.store, self.portions, clock.seconds)
        self._housekeeping = LoopingCall(self._keepHouse)
        self._housekeeping.clock = clock

    @property
    def stopping(self) -> bool:
        """
        Whether no client is let in any more.
        """
        return self.admissions.closed

    @stopping.setter
    def stopping(self, stopping: bool) -> None:
        self.admissions.closed = stopping

    # Service

    def startService(self) -> None:
        """
        Begin; listeners are services of their own and start after this one.
        """
        Service.startService(self)
        self.stopping = False
        self.switches.now = self.clock.seconds()
        self._housekeeping.start(1.0, now=False)

    def open(self) -> Deferred[None]:
        """
        Open the store and take over what it holds.

        @return: fires when the broker may let clients in; fails where the store can't be used.
        """
        return _deferred(self.store.open(StoreOwner(self)))

    def stopService(self) -> Deferred[None]:
        """
        Send all clients away (0x8B) and close the store.

        @return: fires when everything is on disk.
        """
        self.stopping = True
        Service.stopService(self)
        for client in list(self.clients.values()):
            self.registry.sendAway(client, SERVER_SHUTTING_DOWN)
        self.outbox.flush()
        if self._housekeeping.running:
            self._housekeeping.stop()
        self.wheel.stop()
        self.wills.stop()
        self.portions.stop()
        self.watching.stop()
        # Callers that want to wait for them have done so; one that hangs must not hold up the others.
        self.threads.stop()
        return _deferred(self.store.close()).addBoth(self._closed)

    def _closed(self, result: _T) -> _T:
        self._safety.stop()
        return result

    # Clients come and go

    def connect(self, client: ClientInfo, request: Connect, connection: Connection) -> Maybe[Admission]:
        """
        See L{IBroker}.
        """
        return self.admissions.admit(client, request, connection)

    def opened(self, client: ClientInfo) -> Maybe[None]:
        """
        See L{IBroker}.
        """
        opened: Maybe[None] = self.registry.opened(client)
        return opened

    def disconnect(self, client: ClientInfo, reason: int | str) -> None:
        """
        See L{IBroker}.
        """
        self.registry.disconnect(client, reason)

    def setExpiry(self, client: IClient, interval: int) -> None:
        """
        See L{twisted_mqtt.interfaces.IBroker}.
        """
        self.registry.setExpiry(infoOf(client), interval)

    def setWill(self, client: IClient, will: Message | None) -> None:
        """
        See L{twisted_mqtt.interfaces.IBroker}.
        """
        self.registry.setWill(infoOf(client), will)

    def kick(self, clientID: str, reason: int, text: str = "", topicTree: str = "") -> bool:
        """
        See L{IBroker}.
        """
        return self.registry.kick(scoped(topicTree, clientID), reason, text)

    def setTap(self, client: IClient, tap: ITap | None) -> None:
        """
        See L{IBroker}.
        """
        shell = infoOf(client).shell
        if shell is not None:
            IClientShell(shell).setTap(tap)

    def endSession(self, clientID: str, topicTree: str = "") -> bool:
        """
        See L{IBroker}.
        """
        return self.registry.end(scoped(topicTree, clientID))

    def configure(self, settings: Settings) -> None:
        """
        Use other settings. A connected client keeps the limits that it was told when it connected.
        """
        self.settings = settings
        self.threads.most = settings.node.async_threads
        self.hooks.timeout = settings.resolveZone("external").hook_timeout
        self.slowCalls.limit = settings.sysmon.long_schedule / 1000
        self.router.strategy = STRATEGIES[settings.broker.shared_subscription_strategy]
        self._overload.configure(settings)
        self.registry.log.configure(settings.log.client_lines)
        self.permissions.configure(settings)
        self._limit(settings)

    def _limitLifetime(self, client: ClientInfo) -> None:
        until = self.clock.seconds() + client.maxLifetime
        client.lifetime = Lifetime(client, until, self.wheel, self.registry.sendAway, self.limits.reached)

    def _limit(self, settings: Settings) -> None:
        """
        Set the limits that hold for all clients together.
        """
        quotas, queues = self.quotas, self.switches.queues
        quotas.mostSessions = settings.broker.max_sessions
        quotas.mostWills = settings.broker.max_wills
        quotas.mostWillBytes = settings.broker.max_will_bytes
        self.memory.configure(settings.node)
        self.storeLimit.limit = settings.persistence.max_size
        queues.limit = settings.broker.max_queued_bytes
        queues.share = settings.persistence.max_size // QUEUE_SHARE if self.store.durable else 0

    def now(self) -> float:
        """
        The moment: see L{twisted_mqtt.base.dates}.
        """
        return self.clock.seconds()

    def _keepHouse(self) -> None:
        now = self.clock.seconds()
        self.switches.now = now
        self.registry.expire(now)
        self.registry.log.sweep(now)
        self.bans.expire(now)
        self.alarms.check(now)
        self._overload.check()
        self.limits.check()
        self.memory.check()
        self.storeLimit.check()
        self.metrics.sample()
        self.measurements.measureNext()
        self.rates.look()
        self.topicMetrics.look()
        self._retainedExpiry.look()
        skew = self.dates.skew
        if skew != self._skew:
            self._skew = skew
            Deferred.fromCoroutine(self._redate()).addErrback(
                lambda failure: _log.failure("Storing sessions with new dates failed", failure)
            )

    async def _redate(self) -> None:
        """
        Somebody has set the wall clock: have the store end sessions and publish wills by the new one. Else a machine
        that learns the date only after the start would lose all of them at the next start.
        """
        waitingFor = self.wills.waitingFor
        async for session in self.directory.sessions(lambda session: session.expiresAt != 0.0):
            if not isinstance(session, Session):
                continue
            self.store.saveSession(session)
            waiting = waitingFor(session)
            if waiting is not None:
                will, due = waiting
                self.store.saveWill(session.key, will, due, max(0.0, due - self.clock.seconds()))

    # Messages

    def publish(self, message: Message, packet: PacketContext | None = None) -> Maybe[int]:
        """
        See L{IBroker}.
        """
        message.stamp(self.clock.seconds())
        if not message.fits():
            return self._invalid(message)
        return self.publishChecked(message, packet)

    def publishChecked(self, message: Message, packet: PacketContext | None = None) -> Maybe[int]:
        """
        Publish a message that a packet can carry, which is known of those that clients send.
        """
        message.stamp(self.clock.seconds())
        point = self.hooks.messagePublish
        if point.callbacks:
            outcome = during(packet, point.fold, message)
            if isinstance(outcome, Deferred):
                return outcome.addCallback(self._publish, message)
            return self._publish(outcome, message)
        return self._publish(message, message)

    def _publish(self, message: Message | Drop, published: Message) -> int:
        if isinstance(message, Drop):
            self._giveUp(published, "hook")
            return message.reason
        if message is not published:
            message.stamp(self.clock.seconds())
            if isReserved(message.topic) and message.clientID and not message.system:
                # Nobody but the broker publishes there, whatever hooks make of a topic.
                self._giveUp(message, "hook")
                return NOT_AUTHORIZED
        progress = self.router.progress
        if progress.broken:
            if progress.full and (message.qos or (message.retain and message.payload)):
                self.limits.reached("store", f"a message for {message.topic!r} is not kept: the store is full")
            if message.qos:
                return QUOTA_EXCEEDED
        if message.retain and (not progress.full or not message.payload) and self.retained.put(message):
            if message.payload:
                self.store.putRetained(message)
            else:
                self.store.removeRetained(scoped(message.topicTree, message.topic))
        return SUCCESS if self.router.route(message) else NO_MATCHING_SUBSCRIBERS

    def _invalid(self, message: Message) -> int:
        """
        Give up a message that no packet can carry.
        """
        self.counters.messages_dropped_invalid += 1
        self._giveUp(message, "invalid")
        self._invalidLog.info(
            "A message is dropped, because no packet can carry it: {topic}{rest}, {size} bytes",
            topic=message.topic[:_SHOWN],
            rest="..." if len(message.topic) > _SHOWN else "",
            size=len(message.payload),
        )
        return TOPIC_NAME_INVALID

    def _giveUp(self, message: Message, reason: str) -> None:
        self.counters.messages_dropped += 1
        meter = self.switches.meter
        if meter is not None and not message.topicTree:
            meter.dropped(message.topic)
        if self.switches.dropped:
            self.dropped(None, message, reason)

    def account(
        self,
        clientID: str = "",
        username: str | None = None,
        peerHost: str | None = None,
        protocol: str = "",
        zone: str = "external",
        isSuperuser: bool = False,
        topicTree: str = "",
    ) -> ClientInfo:
        """
        See L{IBroker}.
        """
        client = ClientInfo(ListenerProfile("", self.settings.resolveZone(zone)), None, protocol, peerHost)
        client.clientID = clientID
        client.username = username
        client.isSuperuser = isSuperuser
        client.topicTree = topicTree
        client.mountpoint = expanded(client.options.mountpoint, client)
        client.limitRate(self.clock.seconds())
        return client

    def publishAs(
        self,
        who: IClient | ISession,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
        patient: bool = False,
    ) -> Maybe[int]:
        """
        See L{IBroker}.
        """
        return self.publishing.publishAs(infoOf(who), topic, payload, qos, retain, properties, patient)

    def obstacles(self) -> list[str]:
        """
        See L{IBroker}.
        """
        found = ["The node is shutting down"] if self.stopping else []
        if self.store.progress.broken:
            found.append("The store can't be written")
        return found

    def safe(self) -> Deferred[None] | None:
        """
        See L{IBroker}.
        """
        return self._safety.safe()

    def watch(
        self,
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
        See L{IBroker}.
        """
        filters = (topicFilter,) if isinstance(topicFilter, str) else topicFilter
        return self.watching.add(filters, callback, limit, limitBytes, dropNewest, concurrency, name, retained)

    def watchFilters(
        self, added: Callable[[str, str, str | None], object], removed: Callable[[str, str, str | None], object]
    ) -> FilterWatch:
        """
        See L{IBroker}.
        """
        return self._filterWatches.add(added, removed)

    def isHeard(self, topic: str) -> bool:
        """
        See L{IBroker}.
        """
        router = self.router
        heard = router.tree.systemCount > 0 or router.watches.systemCount > 0
        return heard or self.switches.publish or not topic.startswith("$")

    def authorize(
        self, client: IClient, access: str, topic: str, packet: PacketContext | None = None
    ) -> Maybe[Verdict]:
        """
        See L{IBroker}.
        """
        return self.permissions.authorize(infoOf(client), access, topic, packet)

    def rememberedPermissions(self, client: IClient) -> list[KnownPermission]:
        """
        See L{IBroker}.
        """
        return self.permissions.remembered(infoOf(client))

    def forgetPermissions(self, client: IClient | None = None, topic: str | None = None) -> None:
        """
        See L{IBroker}.
        """
        self.permissions.forget(None if client is None else infoOf(client), topic)

    def subscribe(self, subscriber: Subscriber, subscription: Subscription) -> bool:
        """
        See L{IBroker}.
        """
        group, subscription.matching = splitShare(subscription.topicFilter)
        return self.router.tree.add(subscription, group)

    def unsubscribe(self, subscriber: Subscriber, topicFilter: str) -> bool:
        """
        See L{IBroker}.
        """
        group, matching = splitShare(topicFilter)
        return self.router.tree.remove(matching, subscriber, group)

    def subscribeClient(
        self, client: IClient | ISession, packet: Subscribe, trusted: bool = False
    ) -> Maybe[Subscribing]:
        """
        See L{IBroker}.
        """
        session = client if isinstance(client, Session) else None
        return self.subscriptions.subscribe(infoOf(client), packet, trusted, session)

    def unsubscribeClient(self, client: IClient | ISession, packet: Unsubscribe) -> Maybe[list[int]]:
        """
        See L{IBroker}.
        """
        session = client if isinstance(client, Session) else None
        return self.subscriptions.unsubscribe(infoOf(client), packet, session)

    # Questions and events of the core

    def goOnLater(self, work: Work) -> None:
        """
        See L{twisted_mqtt.core.events.Events}.
        """
        self.portions.add(work)

    def delivering(self, session: Session, entry: Entry) -> int:
        """
        See L{twisted_mqtt.core.events.Events}.
        """
        client = _clientOf(session)
        if client is None:
            return DELIVER
        outcome = self.hooks.messageDelivered.fold(client, entry.message)
        if isinstance(outcome, Deferred):
            outcome.addCallback(self._delivering, session, entry)
            return WAIT
        return self._decided(outcome, entry)

    def _delivering(self, outcome: Message | Drop, session: Session, entry: Entry) -> None:
        session.decided(entry, self._decided(outcome, entry), self.clock.seconds())

    def _decided(self, outcome: Message | Drop, entry: Entry) -> int:
        if isinstance(outcome, Drop):
            return DISCARD
        entry.message = outcome
        return DELIVER

    def queued(self, session: Session, message: Message) -> None:
        """
        See L{twisted_mqtt.core.events.Events}.
        """
        self.hooks.messageQueued.run(session, message)

    def acked(self, session: Session, message: Message) -> None:
        """
        See L{twisted_mqtt.core.events.Events}.
        """
        client = _clientOf(session)
        if client is not None:
            self.hooks.messageAcked.run(client, message)

    def dropped(self, session: Session | None, message: Message, reason: str) -> None:
        """
        See L{twisted_mqtt.core.events.Events}.
        """
        self.hooks.messageDropped.run(message, None if session is None else _clientOf(session), reason)

    # Inside

    def stats(self) -> dict[str, int]:
        """
        See L{IBroker}.
        """
        trees = self.router.allTrees()
        subscriptions = sum(tree.count for tree in trees)
        filters = sum(tree.filterCount for tree in trees)
        connections = len(self.clients)
        return {
            "connections": connections,
            "channels": connections,
            "sessions": len(self.sessions),
            "suboptions": subscriptions,
            "subscribers": subscriptions,
            "subscriptions": subscriptions,
            "subscriptions.shared": sum(tree.sharedCount for tree in trees),
            "topics": filters,
            "routes": filters,
            "retained": len(self.retained),
        }

    def _flushLater(self) -> None:
        self.clock.callLater(0, self.outbox.flush)

    def _hooksChanged(self, point: HookPoint) -> None:
        switches, hooks = self.switches, self.hooks
        switches.publish = bool(hooks.messagePublish.callbacks)
        switches.delivered = bool(hooks.messageDelivered.callbacks)
        switches.queued = bool(hooks.messageQueued.callbacks)
        switches.acked = bool(hooks.messageAcked.callbacks)
        switches.dropped = bool(hooks.messageDropped.callbacks)
        if point is hooks.clientCheckAcl:
            self.permissions.changed()


def infoOf(who: IClient | ISession) -> ClientInfo:
    """
    The broker's information about a client, or about the owner of a session.

    @raise TypeError: it is neither.
    """
    client = who.info if isinstance(who, Session) else who
    if not isinstance(client, ClientInfo):
        raise TypeError(f"{who!r} is neither a client nor a session")
    return client


def _deferred(outcome: Maybe[None]) -> Deferred[None]:
    return outcome if isDeferred(outcome) else succeed(None)


def _clientOf(session: Session) -> ClientInfo | None:
    """
    The client that a session has, or had last.

    @return: L{None} for a session that was read from the store and whose client has not come since.
    """
    client = session.info
    return client if isinstance(client, ClientInfo) else None
