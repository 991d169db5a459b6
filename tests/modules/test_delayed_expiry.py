"""
Tests of L{twisted_mqtt.modules.delayed}: a message that is delayed and expires.
"""

from __future__ import annotations

from twisted_mqtt.core.packets import Publish
from twisted_mqtt.modules.delayed import DelayedPublish, DelayedPublishSettings
from twisted_mqtt.testing.memory import MemoryBroker


def test_restOfTheInterval() -> None:
    """
    Receivers are told what is left of the interval when the message is published ([MQTT-3.3.2-6]).
    """
    memory = MemoryBroker()
    memory.run(DelayedPublish(DelayedPublishSettings()), "delayed_publish")
    reader = memory.client("reader")
    reader.subscribe("a")
    memory.client("writer").publish("$delayed/10/a", b"x", messageExpiry=60)
    memory.wait(11)
    packet = reader.expect(Publish)
    assert packet.properties is not None
    assert packet.properties.messageExpiry == 50
