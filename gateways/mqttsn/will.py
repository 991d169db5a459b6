"""
Wills of MQTT-SN: given in a dialogue, changed or deleted at any time (6.3, 6.4), and kept with a session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mqtt.core.packets import Will

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
