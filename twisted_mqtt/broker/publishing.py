"""
Publishing on behalf of a client: all checks before a message goes out, in one place for all protocols.

The core routes most messages of MQTT clients by itself (C{Connection.gotPublish}). The other ones, and all messages
that gateways and extensions publish for a client, come here. The module is compiled, because so many messages go
through it.
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
    PACKET_TOO_LARGE,
    SERVER_BUSY,
    TOPIC_NAME_INVALID,
    UNSPECIFIED_ERROR,
    ProtocolError,
)
from twisted_mqtt.core.router import Router
from twisted_mqtt.core.topics import MAX_LENGTH, checkTopicName, isEncodable, isReserved
from twisted_mqtt.hooks.packets import PacketContext
from twisted_mqtt.hooks.verdicts import ALLOW, DENY, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

#: The longest payload: what a PUBLISH may hold (2.1.4), less its topic, its properties and its identifier.
_LONGEST: Final = 268_435_455 - 2 * (MAX_LENGTH + 4)

_BUSY: Final = Verdict(False, SERVER_BUSY)
_TOO_FAST: Final = Verdict(False, MESSAGE_RATE_TOO_HIGH)


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
        publish: Callable[[Message, PacketContext | None], Maybe[int]],
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

    def context(
        self,
        client: ClientInfo,
        topic: str,
        payload: bytes,
        qos: int,
        retain: bool,
        properties: Properties | None,
    ) -> PacketContext | None:
        """
        Make what all points fired for one message share.

        @return: L{None} where none of them has a callback.
        """
        switches = self._router.switches
        if not switches.publish:
            connection = client.connection
            if not switches.acl or (connection is not None and connection.exempt):
                return None
        return PacketContext(client, "publish", topic, payload, qos, retain, properties)

    def admit(
        self, client: ClientInfo, topic: str, qos: int, patient: bool, packet: PacketContext | None
    ) -> Maybe[Verdict]:
        """
        Ask whether a client may publish to a topic now: first the store and the client's rate, then the C{$SYS} rule
        and the access rules.

        @param topic: without the mount point.
        @param patient: whether a message before its time waits until then. One that may not is refused:
            C{SERVER_BUSY}, C{MESSAGE_RATE_TOO_HIGH}.
        @param packet: see L{context}.

        @return: a verdict. A Deferred of it does not fail unless it is cancelled.
        """
        if client.publishes is None and not (qos and self._router.progress.congested):
            return self._authorize(client, topic, packet)
        room = self._room() if qos and self._router.progress.congested else None
        if room is None:
            return self._admitInTurn(None, client, topic, patient, packet)
        if not patient:
            return _BUSY
        return room.addCallback(self._admitInTurn, client, topic, patient, packet)

    def _admitInTurn(
        self, _: None, client: ClientInfo, topic: str, patient: bool, packet: PacketContext | None
    ) -> Maybe[Verdict]:
        bucket = client.publishes
        if bucket is None:
            return self._authorize(client, topic, packet)
        now = self._clock.seconds()
        if not patient:
            return self._authorize(client, topic, packet) if bucket.takeIfThere(1, now) else _TOO_FAST
        wait = bucket.take(1, now)
        if wait:
            paused: Deferred[None] = deferLater(self._clock, wait)
            return paused.addCallback(lambda _: self._authorize(client, topic, packet))
        return self._authorize(client, topic, packet)

    def _authorize(self, client: ClientInfo, topic: str, packet: PacketContext | None) -> Maybe[Verdict]:
        if isReserved(topic):
            return self._authorized(DENY)
        verdict = self._permissions.authorize(client, "publish", topic, packet)
        return ALLOW if verdict is ALLOW else then(verdict, self._authorized)

    def _authorized(self, verdict: Verdict) -> Verdict:
        if not verdict.allowed:
            self._router.counters.packets_publish_auth_error += 1
        return verdict

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
        if not isEncodable(whole):
            return TOPIC_NAME_INVALID
        if len(payload) > _LONGEST:
            return PACKET_TOO_LARGE
        qos = min(qos, limits.maxQoS)
        retain = retain and limits.retainAvailable
        message = Message(whole, payload, qos, retain, properties, client.clientID)
        if properties is not None and not message.fits():
            return PACKET_TOO_LARGE
        if not patient and client.pausedUntil > self._clock.seconds():
            return MESSAGE_RATE_TOO_HIGH
        packet = self.context(client, topic, payload, qos, retain, properties)
        verdict = self.admit(client, topic, qos, patient, packet)
        wasHere = client.connection is not None and isDeferred(verdict)
        return then(verdict, self._admitted, client, message, packet, wasHere, patient)

    def _admitted(
        self,
        verdict: Verdict,
        client: ClientInfo,
        message: Message,
        packet: PacketContext | None,
        wasHere: bool,
        patient: bool,
    ) -> Maybe[int]:
        if not verdict.allowed:
            return self._pause(verdict.publishReason, client, verdict.pause, patient)
        connection = client.connection
        if wasHere and (connection is None or connection.closed):
            # It went while its message was waiting.
            return UNSPECIFIED_ERROR
        if connection is None:
            self._router.counters.countMessage(message.qos)
        else:
            connection.countMessage(message.qos)
        message.topicTree = client.topicTree
        message.username = client.username
        message.peerHost = client.peerHost
        message.protocol = client.protocol
        published = self._publish(message, packet)
        return then(published, self._pause, client, verdict.pause, patient) if verdict.pause else published

    def _pause(self, reason: int, client: ClientInfo, seconds: float, patient: bool) -> Maybe[int]:
        """
        Take nothing more from a client for a while, as access rules want it.
        """
        if not seconds:
            return reason
        if not patient:
            client.pausedUntil = self._clock.seconds() + seconds
            return reason
        paused: Deferred[None] = deferLater(self._clock, seconds)
        return paused.addCallback(lambda _: reason)
