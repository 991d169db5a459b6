"""
The interface between a cluster and the broker on each node: it moves sessions, and sends and receives messages of other
nodes.

Without a cluster, each of these costs at most a test of L{None}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mqtt.broker.sessiondata import MessageData, SessionData
from twisted_mqtt.broker.transfer import SessionExport, SessionImport, dataOf
from twisted_mqtt.core.reasons import SESSION_TAKEN_OVER
from twisted_mqtt.core.topics import scoped

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.base.waiting import Maybe
    from twisted_mqtt.broker.absent import AbsentSessions
    from twisted_mqtt.broker.admission import AdmissionControl
    from twisted_mqtt.broker.client import ClientInfo
    from twisted_mqtt.broker.sessions import SessionRegistry
    from twisted_mqtt.broker.wills import Wills
    from twisted_mqtt.core.forwarding import Forwarder
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.router import Router
    from twisted_mqtt.interfaces import IStore


class Registered:
    """
    Something that was given to the broker, until it is taken back.
    """

    def __init__(self, undo: Callable[[], None]) -> None:
        self._undo: Callable[[], None] | None = undo

    def close(self) -> None:
        """
        Take it back. A second call has no effect.
        """
        undo, self._undo = self._undo, None
        if undo is not None:
            undo()


class Held:
    """
    Something that other nodes have to store before it is acknowledged here.
    """

    def __init__(self, number: int, router: Router) -> None:
        self._number = number
        self._router = router

    def stored(self) -> None:
        """
        They have stored it, or are gone for good. A second call has no effect.
        """
        router = self._router
        progress = router.progress
        if self._number in progress.awaited:
            del progress.awaited[self._number]
            if progress.reached(progress.stored):
                router.committed()


class Interconnect:
    """
    The broker of one node, as the other nodes see it.
    """

    def __init__(
        self,
        admissions: AdmissionControl,
        registry: SessionRegistry,
        router: Router,
        wills: Wills,
        store: IStore,
        absent: AbsentSessions,
    ) -> None:
        self._admissions = admissions
        self._registry = registry
        self._router = router
        self._wills = wills
        self._store = store
        self._absent = absent

    # Sessions

    def beforeSession(self, step: Callable[[ClientInfo], Maybe[int]]) -> Registered:
        """
        Have something done before a client that was let in is given its session: such as fetching that from another
        node, with L{importSession}, or having another node end it.

        @param step: called with the client, whose C{cleanStart} says whether it wants to begin anew. It returns a
            reason code, or a Deferred of one: from 0x80 on the client stays out. If it fails, the client is told that
            the server is unavailable. If the client goes meanwhile, its Deferred is cancelled.

        @raise ValueError: there is such a step.
        """
        admissions = self._admissions
        if admissions.beforeSession is not None:
            raise ValueError("there is one step before a session is opened, and it is taken")

        def undo() -> None:
            admissions.beforeSession = None

        admissions.beforeSession = step
        return Registered(undo)

    def exportSession(self, clientID: str, topicTree: str = "") -> SessionExport | None:
        """
        Begin to move a session to another node. If its client is connected, it is sent away (0x8E): its will is
        published, or goes along where it has a delay. An earlier L{SessionExport} of it ends.

        @return: what reads it, or L{None} where there is no session that outlives its connection.
        """
        registry = self._registry
        key = scoped(topicTree, clientID)
        client = registry.clients.get(key)
        if client is not None:
            registry.sendAway(client, SESSION_TAKEN_OVER)
        session = registry.sessions.get(key)
        if session is None:
            return None
        former = registry.exports.get(session)
        if former is not None:
            former.cancel()
        now = registry.now()
        waiting = self._wills.waitingFor(session)
        will = None if waiting is None else (MessageData.of(waiting[0], now), waiting[1] - now)
        export = SessionExport(session, dataOf(session, will, now), registry, registry.now)
        registry.exports[session] = export
        return export

    def importSession(self, data: SessionData) -> SessionImport:
        """
        Begin to take a session from another node.

        @return: what makes it.
        """
        registry = self._registry
        return SessionImport(data, self._absent, registry, self._store, registry.now)

    # Messages

    def forwardBy(self, forwarder: Forwarder) -> Registered:
        """
        Have somebody told of each message that is published on this node, to send it to the nodes that want it.

        If it is taken back, nothing waits any more for what it has sent.

        @raise ValueError: there is such a one.
        """
        router = self._router
        if router.forwarder is not None:
            raise ValueError("there is one forwarder, and it is taken")

        def undo() -> None:
            router.setForwarder(None)
            progress = router.progress
            progress.awaited.clear()
            if progress.reached(progress.stored):
                router.committed()

        router.setForwarder(forwarder)
        return Registered(undo)

    def hold(self) -> Held:
        """
        Let replies to what is published from here on wait until other nodes have stored it. A forwarder calls it for
        each message of QoS 1 or 2 that it sends to nodes that have to keep it, before its C{forward} returns: PUBACK,
        PUBREC, and the answers of gateways, go out when L{Held.stored} was called, and this node's own store has what
        it has to keep. Replies go out in the order in which they were made, as far as they wait at all: the slowest
        node sets the pace, as the store does. A node that has got a message says that it is stored when C{safe} of its
        broker does, after L{route}.
        """
        self._store.mark()
        progress = self._router.progress
        number = progress.sequence
        progress.awaited[number] = None
        progress.committed = min(progress.committed, number - 1)
        return Held(number, self._router)

    def route(self, message: Message) -> int:
        """
        Deliver a message that was published on another node, C{message.origin}, to the subscribers of this one. It is
        not forwarded again, and members of shared subscriptions do not get it: see L{routeShared}. Neither hooks nor
        access rules are asked, watches do not see it, and it is not retained: all this was done where it was
        published.

        @return: to how many subscribers.
        """
        return self._router.route(message, True)

    def routeShared(self, message: Message, name: str, matching: str) -> bool:
        """
        Deliver a message that was published on another node to a member of a shared subscription here, for which that
        node has chosen this one.

        @param name: of the share.
        @param matching: its filter.

        @return: whether there was a member.
        """
        return self._router.routeShared(message, name, matching)
