"""
A broker that only notes what it is told, for tests of extensions.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from twisted_mqtt.base.dates import Dates
from twisted_mqtt.base.metrics import Metrics
from twisted_mqtt.broker.alarms import Alarms
from twisted_mqtt.broker.figures import STATS, register
from twisted_mqtt.broker.traffic import AllTraffic
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import Subscribe
from twisted_mqtt.hooks.points import Hooks
from twisted_mqtt.net.tls.psk import PreSharedKeys
from twisted_mqtt.stores.memory import MemoryStore


class RecordingBroker:
    """
    The parts of L{twisted_mqtt.interfaces.IBroker} that extensions rely on.

    @ivar published: the messages, in order.
    @ivar subscribed: what clients were subscribed to, in order: client identifier, filter, QoS, retain handling, trust;
        and C{"retained"} where retained messages were to follow.
    @ivar answer: what C{publish} returns.
    @ivar counts: what C{stats} says, else nought.
    @ivar heard: whether anybody subscribed what is published.
    """

    nodeName = "node@127.0.0.1"

    def __init__(self) -> None:
        self.clock = Clock()
        self.dates = Dates(self.clock.seconds)
        self.hooks = Hooks(self.clock)
        self.traffic = AllTraffic()
        self.counters = self.traffic.own
        self.metrics = Metrics()
        register(self.metrics, self.traffic, self.stats)
        self.preSharedKeys = PreSharedKeys()
        self.alarms = Alarms(self.nodeName, self.publish, self.clock.seconds, MemoryStore(), self.dates)
        self.published: list[Message] = []
        self.subscribed: list[tuple[str | int, ...]] = []
        self.answer: Any = None
        self.counts: dict[str, int] = {}
        self.heard = True

    def isHeard(self, topic: str) -> bool:
        """
        Say whether there are subscribers.
        """
        return self.heard

    def publish(self, message: Message) -> Any:
        """
        Note a message.
        """
        self.published.append(message)
        return self.answer

    def subscribeClient(self, client: Any, packet: Subscribe, trusted: bool = False) -> RecordingBroker:
        """
        Note what a client is subscribed to.
        """
        for each in packet.requests:
            self.subscribed.append((client.clientID, each.topicFilter, each.qos, each.retainHandling, trusted))
        return self

    def deliverRetained(self) -> None:
        """
        Note it.
        """
        self.subscribed.append(("retained",))

    def stats(self) -> dict[str, int]:
        """
        Say how many there are.
        """
        return {**dict.fromkeys(STATS, 0), **self.counts}

    def payloads(self) -> dict[str, str]:
        """
        The last message of each topic.
        """
        return {message.topic: message.payload.decode() for message in self.published}


class Client:
    """
    A client as callbacks see it.
    """

    def __init__(self, **changed: Any) -> None:
        self.clientID = "c1"
        self.username: str | None = "u"
        self.anonymous = False
        self.peerHost = "127.0.0.1"
        self.sockPort = 1883
        self.protoName = "MQTT"
        self.protoVersion = 5
        self.cleanStart = True
        self.keepAlive = 60
        self.connectedAt = 1554047291.7
        self.expiryInterval = 0
        self.mountpoint = ""
        self.topicTree = ""
        self.__dict__.update(changed)
