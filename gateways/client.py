"""
A client of a gateway: everything that a gateway's protocol needs of the broker, in one place.

A gateway makes one of these for each of its clients and receives the client's messages from it. Authentication, access
control, hooks, metrics, limits, mount points, takeover and persistence are those of MQTT clients, because the session
behind it is the same.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.broker.client import ClientInfo, willMessage
from twisted_mqtt.core.acknowledging import giveUp, puback, pubcomp, pubrec
from twisted_mqtt.core.exactlyonce import isRepeated, release, remember
from twisted_mqtt.core.link import Link
from twisted_mqtt.core.packets import (
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBACK,
    UNSUBACK,
    VERSION_5,
    Ack,
    Connack,
    Connect,
    Disconnect,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
    Will,
)
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.reasons import NOT_AUTHORIZED, SUCCESS, TOPIC_NAME_INVALID, UNSPECIFIED_ERROR, ProtocolError
from twisted_mqtt.core.topics import isReserved, isTopicName
from twisted_mqtt.hooks.packets import PacketContext
from twisted_mqtt.hooks.verdicts import Verdict

if TYPE_CHECKING:
    from twisted_mqtt.broker.admission import Admission
    from twisted_mqtt.broker.listenerprofile import ListenerProfile
    from twisted_mqtt.broker.subscribing import Subscribing
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.session import Session
    from twisted_mqtt.interfaces import IBroker, ITap


class GatewaySession(Protocol):
    """
    The gateway's own side of a client.
    """

    def receive(
        self, message: Message, qos: int, packetID: int, retain: bool, dup: bool, identifiers: list[int] | None
    ) -> None:
        """
        See L{twisted_mqtt.core.link.LinkReceiver}.
        """

    def released(self, packetID: int) -> None:
        """
        See L{twisted_mqtt.core.link.LinkReceiver}.
        """

    def sentAway(self, reason: int, text: str) -> None:
        """
        The broker does not want the client any more: tell it, if the protocol can say so, and forget it. The broker has
        been told already.
        """


class TappedReceiver:
    """
    The gateway's own side of a client that is traced.
    """

    __slots__ = ("_receiver", "_tap")

    def __init__(self, tap: ITap, receiver: GatewaySession) -> None:
        self._tap: ITap = tap
        self._receiver: GatewaySession = receiver

    def receive(
        self, message: Message, qos: int, packetID: int, retain: bool, dup: bool, identifiers: list[int] | None
    ) -> None:
        """
        See L{twisted_mqtt.core.link.LinkReceiver}.
        """
        packet = Publish(message.topic, message.payload, qos, retain, dup, packetID, message.properties)
        self._tap.sentPacket(packet)
        self._receiver.receive(message, qos, packetID, retain, dup, identifiers)

    def released(self, packetID: int) -> None:
        """
        See L{twisted_mqtt.core.link.LinkReceiver}.
        """
        self._tap.sentPacket(Ack(PUBREL, packetID))
        self._receiver.released(packetID)


class GatewayClient:
    """
    One client. It is compiled where possible, so that C{gateways.implements}, from where it is to be imported, says
    that it provides L{IClientShell<twisted_mqtt.interfaces.IClientShell>}.

    @ivar info: what hooks see of it.
    @ivar link: its connection to its session.
    @ivar open: whether it was let in and has not gone.
    """

    __slots__ = ("_broker", "_owner", "_patient", "_tap", "info", "link", "open")

    def __init__(
        self,
        broker: IBroker,
        profile: ListenerProfile,
        owner: GatewaySession,
        protocol: str,
        peerHost: str | None,
        peerPort: int = 0,
        sockPort: int = 0,
        patient: bool = False,
    ) -> None:
        """
        @param protocol: C{"stomp"}, C{"mqtt-sn"}, C{"coap"} or C{"lwm2m"}.
        @param patient: whether a message that comes before its time (C{publish_limit}, or a store that is behind) waits
            for that: for who reads from a stream, and can leave the rest in it. A datagram is refused instead.
        """
        self._broker = broker
        self._owner = owner
        self._patient = patient
        self.info = ClientInfo(profile, self, protocol, peerHost, peerPort, sockPort)
        self.info.limitRate(broker.clock.seconds())
        counters = broker.traffic.of(profile.name, profile.zone.name).byVersion[0]
        self.link = Link(broker.router, profile.limits, broker.outbox, owner, broker.clock.seconds(), counters)
        self.open = False
        # Is told what comes and goes while somebody traces this client.
        self._tap: ITap | None = None

    @property
    def session(self) -> Session | None:
        """
        The session, while the client is in.
        """
        return self.info.session

    def connect(
        self,
        clientID: str,
        username: str | None = None,
        password: bytes | None = None,
        cleanStart: bool = True,
        keepAlive: int = 0,
        sessionExpiry: int = 0,
        will: Will | None = None,
        receiveMaximum: int | None = None,
        protoName: str = "",
        protoVersion: int = VERSION_5,
    ) -> Maybe[Admission]:
        """
        Ask to be let in.

        @param clientID: empty for one that the broker makes; C{info.clientID} says which.
        @param sessionExpiry: for how many seconds the session outlives the connection.
        @param receiveMaximum: how many QoS 1 and 2 messages may be on their way to the client.
        @param protoName: what hooks are told.

        @return: what has been decided, or a Deferred of it, which does not fail. With a reason below 0x80 the client is
            in; C{begin} is to be called when it has been told so.
        """
        properties = Properties()
        properties.sessionExpiry = sessionExpiry
        properties.receiveMaximum = receiveMaximum
        request = Connect(
            protoName or self.info.protocol,
            VERSION_5,
            clientID,
            cleanStart,
            keepAlive,
            username,
            password,
            will,
            properties,
        )
        tracer = self._broker.tracer
        if tracer is not None:
            self.setTap(tracer.connecting(self.info, [request]))
        return then(self._broker.connect(self.info, request, self.link), self._admitted, protoVersion)

    def begin(self) -> Maybe[None]:
        """
        The client has been told that it is in: deliver what waits for it.

        @return: C{None}, or a Deferred that fires when that has begun.
        """
        tracer = self._broker.tracer
        if tracer is not None:
            self.setTap(tracer.opened(self.info))
        return self._broker.opened(self.info)

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> Maybe[int]:
        """
        Publish for the client, if it may publish at present and access rules let it.

        @return: a reason code, from 0x80 on the message was refused: C{MESSAGE_RATE_TOO_HIGH} and C{SERVER_BUSY} for
            the moment only, and not where the client is patient; or a Deferred of it, which does not fail unless it is
            cancelled. An accepted message is safe when C{link.whenSafe} says so.
        """
        if self.link.closed:
            return UNSPECIFIED_ERROR
        tap = self._tap
        if tap is None:
            return self._broker.publishAs(self.info, topic, payload, qos, retain, properties, self._patient)
        tap.gotPacket(Publish(topic, payload, qos, retain, False, 0, properties))
        outcome = self._broker.publishAs(self.info, topic, payload, qos, retain, properties, self._patient)
        return then(outcome, self._tellPublished, qos)

    def _tellPublished(self, reason: int, qos: int) -> int:
        if self._tap is not None and (qos or reason >= 0x80):
            self._tap.sentPacket(Ack(PUBREC if qos == 2 else PUBACK, 0, reason))
        return reason

    @property
    def wait(self) -> float:
        """
        After how many seconds a message that was refused for the moment might be taken.
        """
        bucket = self.info.publishes
        return 1.0 if bucket is None else max(1.0, bucket.wait(1, self._broker.clock.seconds()))

    def subscribe(
        self,
        topicFilter: str,
        qos: int = 0,
        noLocal: bool = False,
        retainAsPublished: bool = False,
        retainHandling: int = 0,
        identifier: int | None = None,
    ) -> Maybe[Subscribing]:
        """
        Subscribe for the client, if access rules let it. Retained messages come with L{sendRetained}.

        @return: what has been done, whose C{reasons[0]} says how it went, or a Deferred of it.

        @raise ProtocolError: the filter is malformed.
        """
        properties = None
        if identifier is not None:
            properties = Properties()
            properties.subscriptionIDs = [identifier]
        request = SubscriptionRequest(topicFilter, qos, noLocal, retainAsPublished, retainHandling)
        packet = Subscribe(1, [request], properties)
        if self._tap is None:
            return self._broker.subscribeClient(self.info, packet)
        self._tap.gotPacket(packet)
        return then(self._broker.subscribeClient(self.info, packet), self._tellSubscribed)

    def _tellSubscribed(self, subscribing: Subscribing) -> Subscribing:
        if self._tap is not None:
            self._tap.sentPacket(Suback(SUBACK, 1, subscribing.reasons))
        return subscribing

    def sendRetained(self, subscribing: Subscribing) -> None:
        """
        The client has been told of its subscription: deliver the retained messages that it asks for.
        """
        subscribing.deliverRetained()

    def unsubscribe(self, topicFilter: str) -> Maybe[list[int]]:
        """
        Unsubscribe.

        @return: a list of one reason code, or a Deferred of it.

        @raise ProtocolError: the filter is malformed.
        """
        packet = Unsubscribe(1, [topicFilter])
        if self._tap is None:
            return self._broker.unsubscribeClient(self.info, packet)
        self._tap.gotPacket(packet)
        return then(self._broker.unsubscribeClient(self.info, packet), self._tellUnsubscribed)

    def _tellUnsubscribed(self, reasons: list[int]) -> list[int]:
        if self._tap is not None:
            self._tap.sentPacket(Suback(UNSUBACK, 1, reasons))
        return reasons

    def acknowledged(self, packetID: int) -> None:
        """
        The client has a message. One of QoS 2, which its session may have from a time when it spoke MQTT, is done with
        then, too.
        """
        self._tellGot(PUBACK, packetID)
        session = self.info.session
        if session is None:
            return
        now = self._broker.clock.seconds()
        entry = session.inflight.entries.get(packetID)
        if entry is not None and entry.qos == 2:
            pubrec(session, packetID, SUCCESS, now)
            pubcomp(session, packetID, now)
        else:
            puback(session, packetID, now)

    def pubrec(self, packetID: int, now: float) -> bool:
        """
        The client has a QoS 2 message, and PUBREL is to be sent for it.

        @return: whether the message was known; not if another one has its identifier by now.
        """
        self._tellGot(PUBREC, packetID)
        session = self.info.session
        try:
            return session is not None and pubrec(session, packetID, SUCCESS, now) >= 0
        except ProtocolError:
            return False

    def pubcomp(self, packetID: int, now: float) -> None:
        """
        The client is done with a QoS 2 message. It may be late: another one may have its identifier by now.
        """
        self._tellGot(PUBCOMP, packetID)
        session = self.info.session
        if session is not None:
            with contextlib.suppress(ProtocolError):
                pubcomp(session, packetID, now)

    def isRepeated(self, packetID: int) -> bool:
        """
        Whether a QoS 2 message of the client with this identifier was taken and its PUBREL has not come.
        """
        session = self.info.session
        return session is not None and isRepeated(session, packetID)

    def remember(self, packetID: int, now: float) -> bool:
        """
        Take note of a QoS 2 message of the client until L{release}; returns whether there was room for it.
        """
        session = self.info.session
        return session is not None and remember(session, packetID, now)

    def release(self, packetID: int) -> None:
        """
        PUBREL has come for a QoS 2 message of the client, or the message was refused.
        """
        session = self.info.session
        if session is not None:
            release(session, packetID)

    def refused(self, packetID: int) -> None:
        """
        The client has a QoS 1 message and wants it no more: it is dropped.
        """
        self._tellGot(PUBACK, packetID, UNSPECIFIED_ERROR)
        session = self.info.session
        if session is not None:
            giveUp(session, packetID, "refused", self._broker.clock.seconds())

    def passOn(self, packetID: int, refusals: int) -> bool:
        """
        The client does not want a QoS 1 message that came through a shared subscription: another member gets it.

        @param refusals: how often it was refused so far; whoever gets it finds the number in its C{headers}.

        @return: whether it did; not where it did not come so, or nobody else is there.
        """
        session = self.info.session
        entry = None if session is None else session.inflight.entries.get(packetID)
        if session is None or entry is None or entry.share is None:
            return False
        others = [member.subscriber for member in entry.share.members.values() if member.subscriber is not session]
        if not any(subscriber.online for subscriber in others):
            return False
        # A message is not to be changed: others may have it too.
        entry.message = entry.message.replace()
        entry.message.headers = {**(entry.message.headers or {}), "refusals": refusals}
        self._broker.router.redispatch([entry], session)
        giveUp(session, packetID, "", self._broker.clock.seconds())
        return True

    def publishLast(self, topic: str, payload: bytes) -> Maybe[int]:
        """
        Publish what a gateway has to say for a client that is being sent away, if access rules let it.

        @return: as L{publish} returns.
        """
        # A client that disconnects is not limited any more.
        self.info.publishes = None
        return self._broker.publishAs(self.info, topic, payload)

    def changeWill(self, will: Will | None) -> Maybe[int]:
        """
        Give the client another will, or none, if access rules let it.

        @return: a reason code, or a Deferred of it; from 0x80 on it keeps the will it had. The change is safe when
            C{link.whenSafe} says so.
        """
        if will is None:
            self._broker.setWill(self.info, None)
            return SUCCESS
        limits = self.info.limits
        if not isTopicName(will.topic) or will.qos > limits.maxQoS:
            return TOPIC_NAME_INVALID
        if isReserved(will.topic) or (will.retain and not limits.retainAvailable):
            return NOT_AUTHORIZED
        packet = PacketContext(self.info, "will", will.topic, will.payload, will.qos, will.retain)
        verdict = self._broker.authorize(self.info, "publish", will.topic, packet)
        return then(verdict, self._willAllowed, will)

    def _willAllowed(self, verdict: Verdict, will: Will) -> int:
        if not verdict.allowed:
            return verdict.publishReason
        try:
            message = willMessage(self.info, will)
        except ProtocolError as error:
            return error.reason
        refusal = self._broker.quotas.willRefusal(self.info, message)
        if refusal:
            return refusal
        self._broker.setWill(self.info, message)
        return SUCCESS

    def setExpiry(self, seconds: int) -> None:
        """
        Change for how many seconds the session outlives the connection.
        """
        self._broker.setExpiry(self.info, seconds)

    def lost(self, reason: int | str, keepWill: bool = True) -> None:
        """
        The client is gone.

        @param reason: an MQTT 5 reason code or a word.
        @param keepWill: whether its will is to be published.
        """
        self.open = False
        if not keepWill:
            self.info.will = None
        self.link.closed = True
        self._broker.disconnect(self.info, reason)
        tap = self._tap
        if tap is not None:
            self.setTap(None)
            tap.ended(reason)
        # These point at each other: cut, they are freed at once instead of being garbage that has to be found.
        self.info.shell = None
        self.info.connection = None

    def disconnectClient(self, reason: int, text: str = "") -> None:
        """
        See L{IClientShell<twisted_mqtt.interfaces.IClientShell>}.
        """
        if self.link.closed:
            return
        self.open = False
        self.link.closed = True
        tap = self._tap
        if tap is not None:
            self.setTap(None)
            tap.sentPacket(Disconnect(reason))
            tap.ended(reason)
        self._owner.sentAway(reason, text)

    def setTap(self, tap: ITap | None) -> None:
        """
        See L{IClientShell<twisted_mqtt.interfaces.IClientShell>}.
        """
        self._tap = tap
        self.link.receiver = self._owner if tap is None else TappedReceiver(tap, self._owner)

    def _tellGot(self, packetType: int, packetID: int, reason: int = SUCCESS) -> None:
        if self._tap is not None:
            self._tap.gotPacket(Ack(packetType, packetID, reason))

    def _admitted(self, admission: Admission, protoVersion: int) -> Admission:
        self.info.protoVersion = protoVersion
        self.open = admission.reason == SUCCESS
        tap = self._tap
        if tap is not None:
            tap.sentPacket(Connack(admission.sessionPresent, admission.reason))
            if not self.open:
                self.setTap(None)
                tap.ended(admission.reason)
        return admission
