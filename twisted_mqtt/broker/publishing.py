"""
Publishing on behalf of a client: what is asked before a message goes out, in one place for all protocols.

The core routes most messages of MQTT clients by itself (C{Connection.gotPublish}); whatever it leaves to the shell, and
whatever gateways and extensions publish for somebody, comes here. It is compiled, for all of that goes through it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.task import deferLater

from twisted_mqtt.base.waiting import Maybe, isDeferred, then
from twisted_mqtt.broker.client import ClientInfo
from twisted_mqtt.broker.permissions import Permissions
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.reasons import (
    MESSAGE_RATE_TOO_HIGH,
    NOT_AUTHORIZED,
    PACKET_TOO_LARGE,
    SERVER_BUSY,
    SUCCESS,
    TOPIC_NAME_INVALID,
    UNSPECIFIED_ERROR,
    ProtocolError,
)
from twisted_mqtt.core.router import Router
from twisted_mqtt.core.topics import MAX_LENGTH, checkTopicName, isReserved

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

#: The longest payload: what a PUBLISH may hold (2.1.4), less its topic, its properties and its identifier.
_LONGEST: Final = 268_435_455 - 2 * (MAX_LENGTH + 4)


class Publishing:
    """
    Lets clients publish.
    """

    __slots__ = ("_clock", "_permissions", "_publish", "_room", "_router")

    def __init__(
        self,
        router: Router,
        room: Callable[[], Deferred[None] | None],
        permissions: Permissions,
        clock: IReactorTime,
        publish: Callable[[Message], Maybe[int]],
    ) -> None:
        """
        @param room: returns L{None} while the store has room, or a Deferred that fires when it has again.
        @param publish: publishes what is allowed; returns a reason code.
        """
        self._router = router
        self._room = room
        self._permissions = permissions
        self._clock = clock
        self._publish = publish

    def admit(self, client: ClientInfo, topic: str, qos: int, patient: bool) -> Maybe[int]:
        """
        Ask whether a client may publish to a topic now: first the store and the client's rate, then the C{$SYS} rule
        and the access rules.

        @param topic: without the mount point.
        @param patient: whether a message before its time waits until then. One that may not is refused:
            C{SERVER_BUSY}, C{MESSAGE_RATE_TOO_HIGH}.

        @return: a reason code, C{SUCCESS} where it may. A Deferred of it does not fail unless it is cancelled.
        """
        if client.publishes is None and not (qos and self._router.progress.congested):
            return self._authorize(client, topic)
        room = self._room() if qos and self._router.progress.congested else None
        if room is None:
            return self._admitInTurn(None, client, topic, patient)
        if not patient:
            return SERVER_BUSY
        return room.addCallback(self._admitInTurn, client, topic, patient)

    def _admitInTurn(self, _: None, client: ClientInfo, topic: str, patient: bool) -> Maybe[int]:
        bucket = client.publishes
        if bucket is None:
            return self._authorize(client, topic)
        now = self._clock.seconds()
        if not patient:
            return self._authorize(client, topic) if bucket.takeIfThere(1, now) else MESSAGE_RATE_TOO_HIGH
        wait = bucket.take(1, now)
        if wait:
            paused: Deferred[None] = deferLater(self._clock, wait)
            return paused.addCallback(lambda _: self._authorize(client, topic))
        return self._authorize(client, topic)

    def _authorize(self, client: ClientInfo, topic: str) -> Maybe[int]:
        if isReserved(topic):
            return self._authorized(False)
        allowed = self._permissions.authorize(client, "publish", topic)
        return SUCCESS if allowed is True else then(allowed, self._authorized)

    def _authorized(self, allowed: bool) -> int:
        if allowed:
            return SUCCESS
        self._router.counters.packets_publish_auth_error += 1
        return NOT_AUTHORIZED

    def publishAs(
        self,
        client: ClientInfo,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
        patient: bool,
    ) -> Maybe[int]:
        """
        See L{twisted_mqtt.interfaces.IBroker}.
        """
        limits = client.limits
        try:
            checkTopicName(topic, limits.maxTopicLevels)
        except ProtocolError as error:
            return error.reason
        whole = client.mountpoint + topic
        # No character takes more than four bytes.
        if len(whole) > MAX_LENGTH // 4 and len(whole.encode("utf-8")) > MAX_LENGTH:
            return TOPIC_NAME_INVALID
        if len(payload) > _LONGEST:
            return PACKET_TOO_LARGE
        qos = min(qos, limits.maxQoS)
        retain = retain and limits.retainAvailable
        admitted = self.admit(client, topic, qos, patient)
        wasHere = client.connection is not None and isDeferred(admitted)
        return then(admitted, self._admitted, client, whole, payload, qos, retain, properties, wasHere)

    def _admitted(
        self,
        reason: int,
        client: ClientInfo,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
        wasHere: bool,
    ) -> Maybe[int]:
        if reason != SUCCESS:
            return reason
        connection = client.connection
        if wasHere and (connection is None or connection.closed):
            # It went while its message was waiting.
            return UNSPECIFIED_ERROR
        if connection is None:
            self._router.counters.countMessage(qos)
        else:
            connection.countMessage(qos)
        message = Message(topic, payload, qos, retain, properties, client.clientID)
        message.topicTree = client.topicTree
        message.username = client.username
        message.peerHost = client.peerHost
        message.protocol = client.protocol
        return self._publish(message)
