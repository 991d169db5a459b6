"""
The registry of sessions: clients connect, take over and leave; sessions are resumed and expire.

It is compiled like the core, because every connection goes through it.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.logger import Logger

from twisted_mqtt.broker.client import ClientInfo
from twisted_mqtt.broker.clientlog import ClientLog
from twisted_mqtt.broker.leaving import Leaving
from twisted_mqtt.broker.quotas import Quotas
from twisted_mqtt.broker.redispatch import LEFT, Redispatch
from twisted_mqtt.broker.wills import Wills
from twisted_mqtt.core.connection import Connection
from twisted_mqtt.core.counters import Counters
from twisted_mqtt.core.events import Events, Switches
from twisted_mqtt.core.parteddict import PartedDict
from twisted_mqtt.core.reasons import ADMINISTRATIVE_ACTION, SESSION_TAKEN_OVER
from twisted_mqtt.core.router import Router
from twisted_mqtt.core.session import NEVER, Session
from twisted_mqtt.core.topics import splitShare

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

    from twisted_mqtt.core.message import Message
    from twisted_mqtt.hooks.points import Hooks
    from twisted_mqtt.interfaces import IStore

_log = Logger()


# So many endings that will not be may stand in the list of endings, besides two for each session that there is.
_SLACK: Final = 1000
# So many sessions whose time is over end in one go.
_ENDED_AT_ONCE: Final = 8


class Export(Protocol):
    """
    A session on its way to another node.
    """

    def cancel(self) -> None:
        """
        It stays here.
        """


class SessionRegistry:
    """
    The clients and the sessions of a broker.

    @ivar clients: those that are connected, by client identifier; where they are not in the default topic tree, by that
        of L{scoped<twisted_mqtt.core.topics.scoped>}.
    @ivar sessions: all that live, likewise.
    @ivar topicTrees: how many clients are connected in each topic tree but the default one.
    @ivar exports: the sessions that are on their way to another node, and what reads them.
    @ivar limitLifetime: called for a client that is in, and whose connection may last only so long.
    @ivar now: tells the moment.
    @ivar log: has a line for each client that comes or goes.
    """

    def __init__(
        self,
        router: Router,
        hooks: Hooks,
        store: IStore,
        wills: Wills,
        events: Events,
        now: Callable[[], float],
        passesOn: bool,
        quotas: Quotas,
    ) -> None:
        """
        @param events: who is told what happens to messages.
        @param quotas: counts the sessions.
        @param passesOn: whether what waits for an absent member of a shared subscription goes to one that is there.
        """
        self.clients: dict[str, ClientInfo] = {}
        self.sessions: PartedDict[Session] = PartedDict()
        self.topicTrees: dict[str, int] = {}
        self.exports: dict[Session, Export] = {}
        self.now = now
        self.log = ClientLog()
        self._router = router
        self._counters: Counters = router.counters
        self._switches: Switches = router.switches
        self._hooks = hooks
        self._store = store
        self._wills = wills
        self._events = events
        self._passesOn = passesOn
        self._quotas = quotas
        self.limitLifetime: Callable[[ClientInfo], None] = _ignore
        self._redispatch = Redispatch(router, store, now)
        # When sessions are to end, and the numbers of these endings; and the sessions by such a number. One that is
        # resumed or ends before stands in the former alone, which holds nothing: its messages go with it at once.
        self._ending: list[tuple[float, int]] = []
        self._ends: dict[int, Session] = {}
        self._mostEndings = _SLACK
        self._endings = 0
        # Whether there are more to end at present, in later turns.
        self._expiring = False

    def openSession(self, client: ClientInfo, connection: Connection, cleanStart: bool, window: int) -> bool:
        """
        Give a client its session, the one it had or a new one, and send away who had it before.

        @return: whether it had one.
        """
        key = client.key
        client.connection = connection
        client.window = window
        old = self.clients.get(key)
        session = self.sessions.get(key)
        if old is not None:
            goesOn = not cleanStart and session is not None and session.expiryInterval > 0
            if goesOn and old.willDelay:
                old.will = None  # the session goes on before its time ([MQTT-3.1.3-9])
            self.sendAway(old, SESSION_TAKEN_OVER)
            session = self.sessions.get(key)
            if session is not None:
                self._counters.session_takeovered += 1
                self._hooks.sessionTakeovered.run(old, session)
        now = self.now()
        if session is not None and self.exports:
            self._keep(session)
        if session is not None:
            ended = session.expiresAt != 0.0 and session.expiresAt <= now
            if cleanStart or ended or session.mountpoint != client.mountpoint:  # [MQTT-3.1.2-4]
                self._endSession(session, "discarded" if cleanStart else "expired")
                session = None
        present = session is not None
        if session is None:
            session = Session(
                client.clientID,
                client.limits,
                self._counters,
                self._switches,
                self._events,
                now,
                client.mountpoint,
                client.topicTree,
            )
            self.sessions[key] = session
            self._quotas.began(session, client.username, client.peerHost, client.protocol)
        else:
            self._wills.cancel(session)
            session.useLimits(client.limits)
        session.username = client.username
        session.info = client
        session.zone = client.zone
        session.expiryInterval = client.expiryInterval
        # From here on it does not expire, though nothing goes out before the client has been told that it is in.
        session.expiresAt = 0.0
        client.session = session
        if client.topicTree and key not in self.clients:
            self.topicTrees[client.topicTree] = self.topicTrees.get(client.topicTree, 0) + 1
        self.clients[key] = client
        if client.sharedStrategy >= 0:
            self._router.strategies[key] = client.sharedStrategy
        if client.will is not None:
            client.willSize = self._quotas.holdWill(client.will)
        self._endNever(session)
        if self._wills.behind:
            self._wills.entered(key)
        self._persist(session, client)
        # A point that nobody listens at costs a test, which counts where many connect.
        if present:
            self._counters.session_resumed += 1
            point = self._hooks.sessionResumed
        else:
            self._counters.session_created += 1
            point = self._hooks.sessionCreated
        if point.callbacks:
            point.run(client, session)
        return present

    def opened(self, client: ClientInfo) -> Deferred[None] | None:
        """
        See L{twisted_mqtt.interfaces.IBroker}.
        """
        self._counters.client_connected += 1
        if client.maxLifetime:
            self.limitLifetime(client)
        if self.log.enabled:
            self.log.connected(client)
        point = self._hooks.clientConnected
        waiting = point.run(client, client) if point.callbacks else None
        if waiting is not None:
            return waiting.addCallback(self._resume, client)
        self._resume(None, client)
        return None

    def _resume(self, _: object, client: ClientInfo) -> None:
        session, connection = client.session, client.connection
        if session is not None and connection is not None and not connection.closed:
            session.attach(connection, client.window)
            session.resume(self.now())

    def disconnect(self, client: ClientInfo, reason: int | str) -> None:
        """
        See L{twisted_mqtt.interfaces.IBroker}.
        """
        session = client.session
        if session is None:
            return
        client.session = None
        if client.willSize >= 0:
            self._quotas.releaseWill(client.willSize)
            client.willSize = -1
        lifetime = client.lifetime
        if lifetime is not None:
            client.lifetime = None
            lifetime.stop()
        if client.sharedStrategy >= 0:
            self._router.strategies.pop(client.key, None)
        now = client.disconnectedAt = self.now()
        key = client.key
        if self.clients.get(key) is client:
            del self.clients[key]
            if client.topicTree:
                self._leftTree(client.topicTree)
        if client.connection is not None:
            client.connection.lost(now)
        # A client that goes before its session was attached has left no connection there to notice it.
        session.detach(now)
        self._counters.client_disconnected += 1
        if self.log.enabled:
            self.log.gone(client, session, reason)
        if self._hooks.clientDisconnected.callbacks:
            self._hooks.clientDisconnected.run(client, reason, client)
        self._wills.leave(client, session)
        if session.expiryInterval == 0:
            self._endSession(session, "terminated", reason)
            return
        if session.journal is not None:
            self._store.saveSession(session)
        self._endLater(session)
        if self._passesOn:
            self._passOn(session)

    def _leftTree(self, topicTree: str) -> None:
        count = self.topicTrees[topicTree] - 1
        if count:
            self.topicTrees[topicTree] = count
        else:
            del self.topicTrees[topicTree]

    def kick(self, key: str, reason: int, text: str = "") -> bool:
        """
        Send a client away; returns whether it was connected.

        @param key: its C{key}: the client identifier, with the topic tree if that is not the default one.
        """
        client = self.clients.get(key)
        if client is None:
            return False
        self.sendAway(client, reason, text)
        return True

    def end(self, key: str) -> bool:
        """
        End the session of a client, which is sent away if it is connected; returns whether there was one.

        @param key: its C{key}.
        """
        client = self.clients.get(key)
        if client is not None:
            self.sendAway(client, ADMINISTRATIVE_ACTION)
            # If it was to end with the connection, it has.
        session = self.sessions.get(key)
        if session is None:
            return client is not None
        self._endSession(session, "terminated", "kicked")
        return True

    def setExpiry(self, client: ClientInfo, interval: int) -> None:
        """
        Change for how many seconds a client's session outlives its connection; no more than its zone allows.
        """
        session = client.session
        if session is not None:
            most = int(client.options.max_session_expiry_interval)
            if most and interval > most:
                self._quotas.report("session_expiry", f"{client} is granted {most} seconds, and not {interval}")
                interval = most
            client.expiryInterval = session.expiryInterval = interval
            self._persist(session, client)

    def setWill(self, client: ClientInfo, will: Message | None) -> None:
        """
        Give a client that is in another will, or none.
        """
        if will is not None:
            will.topicTree = client.topicTree
        client.will = will
        if client.willSize >= 0:
            self._quotas.releaseWill(client.willSize)
        client.willSize = -1 if will is None else self._quotas.holdWill(will)
        if client.session is not None:
            self._persist(client.session, client)

    def sendAway(self, client: ClientInfo, reason: int, text: str = "") -> None:
        """
        Close a client's connection, and do at once what its loss entails.
        """
        shell: Any = client.shell
        if text:
            client.farewell = text
        try:
            shell.disconnectClient(reason, text)
        except Exception:
            _log.failure("Disconnecting {client} failed", client=client)
        self.disconnect(client, reason)

    def restore(self, session: Session) -> None:
        """
        Take over a session that the store has; or pass on what it has left, if it had ended.
        """
        self._counters.session_loaded += 1
        if session.expiryInterval == LEFT:
            self._redispatch.resume(session)
        else:
            self.sessions[session.key] = session
            self._quotas.began(session, session.username, None)
            self._endLater(session)

    def _keep(self, session: Session) -> None:
        """
        Give up moving a session to another node: its client has come here, or it ends.
        """
        export = self.exports.pop(session, None)
        if export is not None:
            export.cancel()

    def release(self, session: Session) -> None:
        """
        Forget a session that another node has by now, with everything that belongs to it. Its messages and its will are
        there.
        """
        self.exports.pop(session, None)
        session.shut = True
        self._endNever(session)
        self._quotas.ended(session)
        key = session.key
        if self.sessions.get(key) is session:
            del self.sessions[key]
        if session.subscriptions:
            self._unsubscribe(session)
        session.subscriptions.clear()
        self._wills.cancel(session)
        if session.journal is not None:
            self._store.removeSession(session)
            session.journal = None
        self._counters.session_terminated += 1
        if self._hooks.sessionTerminated.callbacks:
            self._hooks.sessionTerminated.run(_infoOf(session), "moved", session)
        session.clear()

    def adopt(self, session: Session) -> None:
        """
        Take a session from another node, its client away: it is among the others from now on. One that is here for the
        same client ends; if its client is connected, it is sent away.
        """
        key = session.key
        client = self.clients.get(key)
        if client is not None:
            self.sendAway(client, SESSION_TAKEN_OVER)
        old = self.sessions.get(key)
        if old is not None:
            self._endSession(old, "discarded")
        for subscription in session.subscriptions.values():
            self._router.subscribe(session.topicTree, subscription, splitShare(subscription.topicFilter)[0])
            if session.journal is not None:
                self._store.saveSubscription(session, subscription)
        self.sessions[key] = session
        self._quotas.began(session, session.username, None)
        if session.journal is not None:
            self._store.saveSession(session)
        self._endLater(session)

    def adoptWill(self, session: Session, will: Message, seconds: float) -> None:
        """
        Take the will of the client of a session that was adopted.

        @param seconds: after which it is published, unless the client comes back to its session before.
        """
        self._wills.delay(session, will, seconds)
        if session.journal is not None:
            self._store.saveWill(session.key, will, self.now() + seconds, seconds)

    def _persist(self, session: Session, client: ClientInfo) -> None:
        """
        Have the store keep a session as long as it can outlive its connection, and no longer.
        """
        if not self._store.durable:
            return
        if session.expiryInterval:
            session.journal = self._store.journal
        # One that is not to outlive this connection any more keeps what it has in the store, until it ends.
        if session.journal is not None:
            self._store.saveSession(session)
        # A will is also published after the process has been killed, whether or not the session survives.
        if client.will is not None:
            self._store.saveWill(session.key, client.will, 0.0, client.willDelay)
        else:
            self._store.removeWill(session.key)

    def _endLater(self, session: Session) -> None:
        if session.expiryInterval != NEVER:
            self._endNever(session)
            number = session.ending = self._endings = self._endings + 1
            self._ends[number] = session
            heapq.heappush(self._ending, (session.expiresAt, number))
            if len(self._ending) > self._mostEndings:
                self._sweep()

    def _endNever(self, session: Session) -> None:
        """
        A session is not to end any more, or has ended.
        """
        if session.ending:
            del self._ends[session.ending]
            session.ending = 0

    def _sweep(self) -> None:
        """
        Forget the endings of sessions that were resumed or have ended: clients that come and go all the time must not
        make the process grow.
        """
        ends = self._ends
        self._ending = [ending for ending in self._ending if ending[1] in ends]
        heapq.heapify(self._ending)
        self._mostEndings = 2 * len(self.sessions) + _SLACK

    def _endSession(self, session: Session, how: str, reason: int | str = "expired") -> None:
        if session.shut:
            return
        if self.exports:
            self._keep(session)
        session.shut = True
        self._endNever(session)
        self._quotas.ended(session)
        key = session.key
        if self.sessions.get(key) is session:
            del self.sessions[key]
        if session.subscriptions:
            self._unsubscribe(session)
        left = session.undelivered()
        leaves = self._redispatch.leaves(session)
        if not leaves:
            session.subscriptions.clear()
            if session.journal is not None:
                self._store.removeSession(session)
                session.journal = None
        if left:
            self._router.redispatch(left, session)
        self._countLeft(session, leaves)
        if self._switches.dropped:
            for entry in [*session.inflight.entries.values(), *(session.queue.entries() if session.queue else ())]:
                self._events.dropped(session, entry.message, "session_terminated")
        self._wills.sessionEnded(session)
        if how == "discarded":
            self._counters.session_discarded += 1
            self._hooks.sessionDiscarded.run(_infoOf(session), session)
        else:
            self._counters.session_terminated += 1
            if self._hooks.sessionTerminated.callbacks:
                self._hooks.sessionTerminated.run(_infoOf(session), reason, session)
        if leaves:
            session.letGo()
            self._redispatch.begin(session)
        else:
            session.clear()

    def _countLeft(self, session: Session, leaves: bool) -> None:
        """
        Count what a session that ends has not delivered.

        @param leaves: whether what the store alone has of it is still to go to others.
        """
        left = len(session.inflight.entries)
        queue = session.queue
        if queue is not None:
            left += queue.ready if leaves else queue.length
        if left:
            counters = self._counters
            counters.delivery_dropped_session_ended += left
            counters.delivery_dropped += left
            counters.messages_dropped += left

    def _unsubscribe(self, session: Session) -> None:
        """
        A session has ended: take its subscriptions out of the tree, in portions where they are many.
        """
        leaving = Leaving(self._router, session)
        if leaving.goOn():
            self._events.goOnLater(leaving)

    def _passOn(self, session: Session) -> None:
        """
        Give what waits for an absent member of a shared subscription to a member that is there.
        """
        if not session.inflight.entries and not session.queueLength:
            return
        groups = {
            subscription.share
            for subscription in session.subscriptions.values()
            if subscription.share is not None and subscription.share.hasOnline()
        }
        if groups:
            self._router.redispatch(session.undelivered(groups), session)

    def expire(self, now: float) -> None:
        """
        End the sessions whose time is over.
        """
        if not self._expiring and self._expireSome(now):
            self._expiring = True
            self._events.goOnLater(self)

    def goOn(self) -> bool:
        """
        See L{Work<twisted_mqtt.core.events.Work>}: end more sessions whose time is over.
        """
        self._expiring = self._expireSome(self.now())
        return self._expiring

    def _expireSome(self, now: float) -> bool:
        """
        End some of the sessions whose time is over; returns whether there may be more.
        """
        for _ in range(_ENDED_AT_ONCE):
            if not self._ending or self._ending[0][0] > now:
                return False
            session = self._ends.get(heapq.heappop(self._ending)[1])
            if session is not None:
                self._endSession(session, "expired")
        return True


def _infoOf(session: Session) -> ClientInfo:
    """
    The information for hooks about the client of a session.
    """
    info = session.info
    assert isinstance(info, ClientInfo)
    return info


def _ignore(client: ClientInfo) -> None:
    pass
