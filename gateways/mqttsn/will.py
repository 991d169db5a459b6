"""
Wills of MQTT-SN: given in a dialogue, changed or deleted at any time (6.3, 6.4), and kept with a session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import Will
from twisted_mqtt.core.reasons import NOT_AUTHORIZED, SUCCESS, TOPIC_NAME_INVALID
from twisted_mqtt.core.topics import isReserved, isTopicName

if TYPE_CHECKING:
    from gateways.mqttsn.packets import SNWillTopic
    from twisted_mqtt.broker.client import ClientInfo
    from twisted_mqtt.interfaces import IBroker


class WillData:
    """
    A will as a client has told it.
    """

    __slots__ = ("topic", "payload", "qos", "retain")

    def __init__(self, topic: str, payload: bytes = b"", qos: int = 0, retain: bool = False) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain

    def withTopic(self, packet: SNWillTopic) -> WillData:
        """
        The same message for another topic.
        """
        return WillData(packet.topic, self.payload, packet.qos, packet.retain)

    def withPayload(self, payload: bytes) -> WillData:
        """
        Another message for the same topic.
        """
        return WillData(self.topic, payload, self.qos, self.retain)

    def asWill(self) -> Will:
        """
        The will of a CONNECT.
        """
        return Will(self.topic, self.payload, self.qos, self.retain, None)


def changeWill(broker: IBroker, info: ClientInfo, will: WillData | None) -> Maybe[int]:
    """
    Give a client that is in another will, or none.

    @param info: of the client.

    @return: a reason code, or a Deferred of it; from 0x80 on it keeps the will it had.
    """
    if will is None:
        broker.setWill(info, None)
        return SUCCESS
    limits = info.limits
    if not isTopicName(will.topic) or will.qos > limits.maxQoS:
        return TOPIC_NAME_INVALID
    if isReserved(will.topic) or (will.retain and not limits.retainAvailable):
        return NOT_AUTHORIZED
    return then(broker.authorize(info, "publish", will.topic), _allowed, broker, info, will)


def _allowed(allowed: bool, broker: IBroker, info: ClientInfo, will: WillData) -> int:
    if not allowed:
        return NOT_AUTHORIZED
    message = Message(info.mountpoint + will.topic, will.payload, will.qos, will.retain, None, info.clientID)
    message.username = info.username
    message.peerHost = info.peerHost
    message.protocol = info.protocol
    broker.setWill(info, message)
    return SUCCESS
