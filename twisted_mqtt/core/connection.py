"""
One network connection of an MQTT client: checks, routes and acknowledges the client's packets.

L{Connection.receive} returns the packets that need policy (CONNECT, SUBSCRIBE, UNSUBSCRIBE, AUTH, DISCONNECT, and a
PUBLISH that concerns a hook, an access rule or the retained messages) and answers all others itself.
L{Sender<twisted_mqtt.core.sender.Sender>} does the output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted_mqtt.core.acknowledging import puback, pubcomp, pubrec
from twisted_mqtt.core.counters import Counters
from twisted_mqtt.core.effort import ENOUGH
from twisted_mqtt.core.exactlyonce import hasRoom, isRepeated, release, remember, rememberAny
from twisted_mqtt.core.limits import Limits
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import (
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    Ack,
    Packet,
    Ping,
    Publish,
)
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.reasons import (
    NO_MATCHING_SUBSCRIBERS,
    PACKET_ID_NOT_FOUND,
    PAYLOAD_FORMAT_INVALID,
    PROTOCOL_ERROR,
    QOS_NOT_SUPPORTED,
    RECEIVE_MAXIMUM_EXCEEDED,
    RETAIN_NOT_SUPPORTED,
    TOPIC_ALIAS_INVALID,
    TOPIC_NAME_INVALID,
    ProtocolError,
)
from twisted_mqtt.core.router import Router
from twisted_mqtt.core.sender import Sender, Writer
from twisted_mqtt.core.session import Session
from twisted_mqtt.core.strict import checkPacket, checkProperties, checkText
from twisted_mqtt.core.topicrules import PublishRules
from twisted_mqtt.core.topics import MAX_LENGTH, checkResponseTopic, isEncodable

if TYPE_CHECKING:
    from twisted_mqtt.core.outbox import Outbox

_PINGRESP: Final = b"\xd0\x00"
_TOO_MANY: Final = "more messages than the receive maximum are unacknowledged"


class Connection(Sender):
    """
    One network connection.

    @ivar parked: whether the shell has packets that it has not taken yet; then nothing may overtake them.
    @ivar exempt: whether access rules do not concern this client.
    @ivar publishRules: what they say of each topic, where that is known beforehand; L{None} where they are to be asked.
    @ivar allowed: topics that it may publish to, and until when; filled by the shell.
    @ivar limited: whether publishes are counted against a rate by the shell, which then wants to see each.
    @ivar lastReceived: the moment when bytes last came.
    """

    __slots__ = (
        "parked",
        "exempt",
        "publishRules",
        "allowed",
        "limited",
        "lastReceived",
        "clientID",
        "username",
        "peerHost",
        "mountpoint",
        "topicTree",
        "displaced",
        "receiveMaximum",
        "receivedMessages",
        "receivedBytes",
        "_aliasesIn",
        "_unacked",
        "_unreleased",
        "_generation",
    )

    def __init__(
        self,
        router: Router,
        limits: Limits,
        outbox: Outbox,
        writer: Writer,
        now: float,
        counters: Counters | None = None,
    ) -> None:
        """
        @param counters: those of its listener before CONNECT; those of the router unless they are given.
        """
        super().__init__(router, limits, outbox, writer, counters)
        self.parked: bool = False
        self.exempt: bool = False
        self.publishRules: PublishRules | None = None
        self.allowed: dict[str, float] | None = None
        self.limited: bool = False
        self.lastReceived: float = now
        self.clientID: str = ""
        self.username: str | None = None
        self.peerHost: str | None = None
        self.mountpoint: str = ""
        self.topicTree: str = ""
        # Whether it has one of these two: one test for each message, where there were two.
        self.displaced: bool = False
        self.receiveMaximum: int = 0
        self.receivedMessages: int = 0
        self.receivedBytes: int = 0
        self._aliasesIn: dict[int, str] | None = None
        self._unacked: int = 0
        self._unreleased: int = 0
        self._generation: int = 0

    def accept(self, session: Session, clientID: str, receiveMaximum: int) -> None:
        """
        CONNECT was accepted: publishes may come.

        @param receiveMaximum: how many QoS 1 and 2 messages the client may have unacknowledged.
        """
        self.session = session
        self.clientID = clientID
        self.receiveMaximum = receiveMaximum
        self.version5 = self.version == 5
        self.mountpoint = session.mountpoint
        self.topicTree = session.topicTree
        self.displaced = bool(self.mountpoint or self.topicTree)
        self._generation = self.router.switches.aclGeneration

    def receive(self, data: bytes, now: float) -> list[Packet]:
        """
        Take bytes from the client.

        @return: the packets that need policy, to be taken in order; C{error} says what was wrong after them, if
            anything.
        """
        if self.closed:
            return []
        previous = self.lastReceived
        self.lastReceived = now
        router = self.router
        router.switches.now = now
        router.effort.spent = 0
        self.counters.bytes_received += len(data)
        self.receivedBytes += len(data)
        before = self.count
        packets = self.feed(data)
        if packets and self.limits.strict:
            self._readStrictly(packets)
        self.counters.packets_received += self.count - before
        if self.count == before:
            # Only whole packets are signs of life: [MQTT-3.1.2-22]
            self.lastReceived = previous
        return packets

    def _readStrictly(self, packets: list[Packet]) -> None:
        """
        Leave out the first packet that a strict reading refuses, and what follows it.
        """
        for index, packet in enumerate(packets):
            try:
                checkPacket(packet)
            except ProtocolError as error:
                del packets[index:]
                self.error = error
                return

    # Packets from the decoder

    def gotVersion(self, version: int) -> None:
        """
        CONNECT has said which version of MQTT it is: count by that from here on.
        """
        traffic = self.counters.traffic
        if traffic is not None:
            self.counters = traffic.byVersion[version]

    def gotPublish(
        self,
        topic: str,
        payload: bytes,
        first: int,
        packetID: int,
        properties: Properties | None,
        whole: bytes | None,
        head: bytes | None,
        tail: bytes | None,
    ) -> None:
        """
        A PUBLISH has come: route it, or leave it to the shell where somebody has a say in it.
        """
        router = self.router
        counters = self.counters
        counters.packets_publish_received += 1
        limits = self.limits
        qos = first >> 1 & 3
        session = self.session
        if properties is not None:
            topic = self._checkProperties(topic, payload, properties)
        elif topic == "":
            raise ProtocolError(PROTOCOL_ERROR, "a PUBLISH has no topic")
        if limits.strict:
            checkText(topic)
            checkProperties(properties)
        most = limits.maxTopicLevels
        # No topic has more levels than characters, so short ones need not be looked through.
        if 0 < most <= len(topic) and topic.count("/") >= most:
            raise ProtocolError(TOPIC_NAME_INVALID, f"a topic has more than {limits.maxTopicLevels} levels")
        if qos > limits.maxQoS:  # [MQTT-3.2.2-11]
            raise ProtocolError(QOS_NOT_SUPPORTED, f"QoS is at most {limits.maxQoS} here")
        if first & 1 and not limits.retainAvailable:  # [MQTT-3.2.2-14]
            raise ProtocolError(RETAIN_NOT_SUPPORTED, "retained messages are not available here")
        if (
            session is None
            or self.packets
            or self.parked
            or first & 1
            or properties is not None
            or self.limited
            or router.switches.publish
            or topic[0] == "$"
            or not (self.exempt or not router.switches.acl or self._isAllowed(topic))
            or (qos and (router.progress.broken or router.progress.congested))
        ):
            self._leave(topic, payload, first, packetID, properties, whole, head, tail)
            return
        if qos == 2 and isRepeated(session, packetID):
            self.reply(PUBREC, packetID, 0)
            return
        now = self.lastReceived
        message = Message(
            topic, payload, qos, False, None, self.clientID, now, 0.0, False, self.username, self.peerHost
        )
        if self.displaced:
            message.topicTree = self.topicTree
            if self.mountpoint:
                message.topic = mounted(self.mountpoint, topic)
        elif self.version5:
            message.whole5 = whole
            if head is not None and tail is not None:
                message.key5 = first
                message.head5 = head
                message.tail5 = tail
        else:
            message.whole4 = whole
            if head is not None and tail is not None:
                message.key4 = first
                message.head4 = head
                message.tail4 = tail
        before = router.progress.sequence
        if qos == 2:
            self._remember(session, packetID, now)
        self.receivedMessages += 1
        counters.messages_received += 1
        counters.messages_publish += 1
        if qos == 0:
            counters.messages_qos0_received += 1
            router.route(message)
            if router.effort.spent > ENOUGH:
                self.full = True
            return
        if qos == 1:
            counters.messages_qos1_received += 1
        else:
            counters.messages_qos2_received += 1
        reason = 0 if router.route(message) else NO_MATCHING_SUBSCRIBERS
        self.reply(PUBREC if qos == 2 else PUBACK, packetID, reason, before)
        if router.effort.spent > ENOUGH:
            self.full = True

    def gotAck(self, packetType: int, packetID: int, reason: int, properties: Properties | None) -> None:
        """
        An acknowledgement has come.
        """
        session = self.session
        counters = self.counters
        if session is None:  # sent before our CONNACK, which a client may do: left until that is out
            self.packets.append(Ack(packetType, packetID, reason, properties))
            return
        if reason:
            counters.countReason(packetType, reason)
        if packetType == PUBACK:
            counters.packets_puback_received += 1
            puback(session, packetID, self.lastReceived)
        elif packetType == PUBREC:
            counters.packets_pubrec_received += 1
            answer = pubrec(session, packetID, reason, self.lastReceived)
            if answer >= 0:
                self.reply(PUBREL, packetID, answer)
        elif packetType == PUBREL:
            counters.packets_pubrel_received += 1
            known = release(session, packetID)
            if known and self._unreleased:
                self._unreleased -= 1
            self.reply(PUBCOMP, packetID, 0 if known else PACKET_ID_NOT_FOUND)
        else:
            counters.packets_pubcomp_received += 1
            pubcomp(session, packetID, self.lastReceived)

    def gotPing(self) -> None:
        """
        A PINGREQ has come ([MQTT-3.12.4-1]).
        """
        if self.session is None:
            self.packets.append(Ping(PINGREQ))
            return
        counters = self.counters
        counters.packets_pingreq_received += 1
        counters.packets_pingresp_sent += 1
        self.send(_PINGRESP)

    def _leave(
        self,
        topic: str,
        payload: bytes,
        first: int,
        packetID: int,
        properties: Properties | None,
        whole: bytes | None,
        head: bytes | None,
        tail: bytes | None,
    ) -> None:
        """
        Leave a PUBLISH to the shell.
        """
        packet = Publish(topic, payload, first >> 1 & 3, first & 1 == 1, first & 8 == 8, packetID, properties)
        packet.whole = whole
        packet.head = head
        packet.tail = tail
        if packetID:
            self._unacked += 1
            if self.receiveMaximum and self.version5 and self._unacked + self._unreleased > self.receiveMaximum:
                # [MQTT-3.3.4-9]
                raise ProtocolError(RECEIVE_MAXIMUM_EXCEEDED, _TOO_MANY)
        self.packets.append(packet)

    def _checkProperties(self, topic: str, payload: bytes, properties: Properties) -> str:
        """
        Resolve the alias, then check what else a PUBLISH says; returns the topic.
        """
        alias = properties.topicAlias
        if alias is not None:
            # [MQTT-3.3.2-8], [MQTT-3.3.2-9]
            if alias == 0 or alias > self.limits.maxTopicAlias:
                raise ProtocolError(TOPIC_ALIAS_INVALID, "a topic alias is 0 or greater than the maximum")
            aliases = self._aliasesIn
            if aliases is None:
                aliases = self._aliasesIn = {}
            if topic:
                aliases[alias] = topic
            else:
                topic = aliases.get(alias, "")
        if topic == "":
            raise ProtocolError(PROTOCOL_ERROR, "a PUBLISH has neither a topic nor a known alias")
        if properties.subscriptionIDs is not None:  # [MQTT-3.3.4-6]
            raise ProtocolError(PROTOCOL_ERROR, "a client's PUBLISH has a subscription identifier")
        if properties.responseTopic is not None:
            checkResponseTopic(properties.responseTopic)
        if properties.payloadFormat == 1 and not isText(payload):
            raise ProtocolError(PAYLOAD_FORMAT_INVALID, "the payload is not the UTF-8 it is said to be")
        return topic

    # Answers of access rules

    def allow(self, topic: str, until: float) -> None:
        """
        Let publishes to a topic through without asking access rules again, until the rules change or that time comes.
        """
        if self.allowed is None:
            self.allowed = {}
        if self._generation != self.router.switches.aclGeneration:
            self.forgetAllowed()
        self.allowed[topic] = until

    def disallow(self, topic: str) -> None:
        """
        Ask access rules about a topic again.
        """
        if self.allowed is not None:
            self.allowed.pop(topic, None)

    def forgetAllowed(self) -> None:
        """
        Forget what access rules have said.
        """
        self._generation = self.router.switches.aclGeneration
        if self.allowed is not None:
            self.allowed.clear()

    def _isAllowed(self, topic: str) -> bool:
        if self.publishRules is not None:
            return self.publishRules.allows(topic)
        allowed = self.allowed
        if allowed is None:
            return False
        if self._generation != self.router.switches.aclGeneration:
            self.forgetAllowed()
            return False
        return allowed.get(topic, 0.0) > self.lastReceived

    # Calls of the shell

    def makeMessage(self, packet: Publish, now: float) -> Message:
        """
        The message of a PUBLISH that the shell has let pass.
        """
        properties = packet.properties
        expiresAt = 0.0
        if properties is not None:
            if properties.messageExpiry is not None:
                expiresAt = now + properties.messageExpiry
            properties.topicAlias = None
            if not properties.asDict():
                properties = None
        topic = mounted(self.mountpoint, packet.topic) if self.mountpoint else packet.topic
        message = Message(topic, packet.payload, packet.qos, packet.retain, properties, self.clientID, now, expiresAt)
        message.topicTree = self.topicTree
        message.username = self.username
        message.peerHost = self.peerHost
        if not self.mountpoint:
            if self.version5:
                message.whole5 = packet.whole
            else:
                message.whole4 = packet.whole
        return message

    def countMessage(self, qos: int) -> None:
        """
        Count a message of the client that the shell takes.
        """
        self.receivedMessages += 1
        self.counters.countMessage(qos)

    def begin(self, packet: Publish, now: float) -> bool:
        """
        Whether a PUBLISH that the shell has is to be published: not if it is a repetition, which is answered here.

        @raise ProtocolError: the client has sent more than it may.
        """
        session = self.session
        if packet.qos < 2 or session is None:
            return True
        if isRepeated(session, packet.packetID):
            self._unacked -= 1
            self.reply(PUBREC, packet.packetID, 0)
            return False
        if self.version5 and not hasRoom(session, now):
            self._unacked -= 1
            self._refuseTooMany()
        return True

    def acknowledge(
        self, packet: Publish, reason: int, now: float, properties: Properties | None = None, before: int = -1
    ) -> None:
        """
        Answer a PUBLISH that L{receive} has returned.

        @param reason: from 0x80 on it was refused.
        @param before: see L{reply}.
        """
        qos = packet.qos
        if qos == 0:
            return
        if self._unacked:
            self._unacked -= 1
        session = self.session
        if session is None or self.closed:
            return
        if qos == 2 and reason < 0x80:
            self._remember(session, packet.packetID, now)
        packetType = PUBREC if qos == 2 else PUBACK
        if properties is not None and self.version5:
            wire = self._fitting(Ack(packetType, packet.packetID, reason, properties))
            if wire is not None:
                self._replyWith(wire, before)
                return
        self.reply(packetType, packet.packetID, reason, before)

    # Inside

    def _remember(self, session: Session, packetID: int, now: float) -> None:
        """
        Take note of a QoS 2 message.

        Below version 5 a client knows no receive maximum, and each of its messages gets its answer ([MQTT-4.3.3-2] of
        3.1.1): the bound is the number of packet identifiers.

        @raise ProtocolError: (receive maximum exceeded) there is no room for it.
        """
        if not self.version5:
            rememberAny(session, packetID, now)
            return
        if self.receiveMaximum and self._unacked + self._unreleased >= self.receiveMaximum:
            raise ProtocolError(RECEIVE_MAXIMUM_EXCEEDED, _TOO_MANY)
        if not remember(session, packetID, now):
            self._refuseTooMany()
        self._unreleased += 1

    def _refuseTooMany(self) -> None:
        """
        Refuse a QoS 2 message for which there is no room.

        @raise ProtocolError: always.
        """
        self.counters.packets_publish_dropped += 1
        raise ProtocolError(RECEIVE_MAXIMUM_EXCEEDED, "too many QoS 2 messages await their PUBREL")


def mounted(mountpoint: str, topic: str) -> str:
    """
    A topic below its mount point.

    @raise ProtocolError: there is no room for it in a packet.
    """
    whole = mountpoint + topic
    # No character takes more than four bytes.
    if len(whole) > MAX_LENGTH // 4 and not isEncodable(whole):
        raise ProtocolError(TOPIC_NAME_INVALID, "a topic is too long")
    return whole


def isText(payload: bytes) -> bool:
    """
    Whether a payload is UTF-8.
    """
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
