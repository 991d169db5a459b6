"""
Removes topics whose configuration has an expiration-date that has passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateways.coap.codes import NOT_FOUND
from gateways.coap.pubsub import keyOf
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.topics import scoped

if TYPE_CHECKING:
    from gateways.coap.configuration import TopicConfiguration
    from gateways.coap.gateway import CoAPGateway
    from twisted_mqtt.broker.client import ClientInfo

# How many are removed in one second.
_AT_ONCE: Final = 100
# These are dates of the wall clock, which may be set: so often it is looked at.
_LOOK: Final = 60.0


def endTopic(gateway: CoAPGateway, info: ClientInfo, topic: str) -> None:
    """
    Forget a topic of a client's, and tell its observers; its value has been removed.
    """
    key = keyOf(info, topic)
    gateway.topics.remove(key)
    endObservations(gateway, key, topic)


def endObservations(gateway: CoAPGateway, key: str, topic: str, most: int = 0) -> None:
    """
    Tell observers of a topic that there is nothing more to see: the last that have come.

    @param most: how many stay.
    """
    for client in gateway.observersOf(key)[most:]:
        client.forgetTopic(topic, NOT_FOUND)


class Expiry:
    """
    Removes the topics of a gateway when their time comes.

    @ivar bucket: the wheel's.
    """

    def __init__(self, gateway: CoAPGateway) -> None:
        self.bucket = 0
        self._gateway = gateway

    def arm(self) -> None:
        """
        See that it is looked when the next topic expires.
        """
        broker = self._gateway.broker
        again = self._again(broker.clock.seconds())
        if again:
            broker.wheel.add(self, again)

    def stop(self) -> None:
        """
        Look no more.
        """
        self._gateway.broker.wheel.remove(self)

    def due(self, now: float) -> float:
        """
        See L{Timed<twisted_mqtt.base.timerwheel.Timed>}.
        """
        for configuration in self._gateway.topics.expired(self._gateway.broker.dates.now(), _AT_ONCE):
            self._end(configuration)
        return self._again(now)

    def _again(self, now: float) -> float:
        """
        The moment when it is to be looked again; 0 while nothing expires.
        """
        following = self._gateway.topics.nextExpiry()
        return min(max(now, self._gateway.broker.dates.moment(following)), now + _LOOK) if following else 0.0

    def _end(self, configuration: TopicConfiguration) -> None:
        gateway = self._gateway
        topic, topicTree = configuration.mountpoint + configuration.topic, configuration.topicTree
        key = scoped(topicTree, topic)
        gateway.topics.remove(key)
        if gateway.broker.retained.get(topic, topicTree) is not None:
            message = Message(topic, b"", 0, True)
            message.topicTree = topicTree
            gateway.broker.publish(message)
        endObservations(gateway, key, configuration.topic)
