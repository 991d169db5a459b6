"""
Wills of MQTT-SN: given in a dialogue, changed or deleted at any time (6.3, 6.4), and kept with a session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted_mqtt.base.waiting import then
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import Will
from twisted_mqtt.core.reasons import NOT_AUTHORIZED, SUCCESS, TOPIC_NAME_INVALID
from twisted_mqtt.core.topics import isReserved, isTopicName

if TYPE_CHECKING:
    from gateways.mqttsn.packets import SNWillTopic


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


def changeWill(broker: Any, info: Any, will: WillData | None) -> Any:
    """
    Give a client that is in another will, or none.

    @param broker: provides L{IBroker<twisted_mqtt.interfaces.IBroker>}.
    @param info: of the client.

    @return: a reason code, or a Deferred of it; from 0x80 on it keeps the will it had.
    """
    if will is None:
        return _set(broker, info, None)
    limits = info.limits
    if not isTopicName(will.topic) or will.qos > limits.maxQoS:
        return TOPIC_NAME_INVALID
    if isReserved(will.topic) or (will.retain and not limits.retainAvailable):
        return NOT_AUTHORIZED
    return then(broker.authorize(info, "publish", will.topic), _allowed, broker, info, will)


def _allowed(allowed: bool, broker: Any, info: Any, will: WillData) -> int:
    if not allowed:
        return NOT_AUTHORIZED
    message = Message(info.mountpoint + will.topic, will.payload, will.qos, will.retain, None, info.clientID)
    message.username = info.username
    message.peerHost = info.peerHost
    message.protocol = info.protocol
    return _set(broker, info, message)


def _set(broker: Any, info: Any, message: Message | None) -> int:
    info.will = message
    session = info.session
    if session is not None and session.journal is not None:
        if message is None:
            session.journal.removeWill(info.clientID)
        else:
            session.journal.saveWill(info.clientID, message, 0.0)
    return SUCCESS
