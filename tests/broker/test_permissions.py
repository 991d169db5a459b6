"""
An access rule's answer is remembered: the next messages of the topic do not ask, nor do they leave the core.
"""

from twisted.internet.task import Clock

from twisted_mqtt.broker.broker import Broker
from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.packets import Connect, Publish
from twisted_mqtt.hooks.verdicts import DENY, Verdict
from twisted_mqtt.mqtt.protocol import MQTTProtocol
from twisted_mqtt.testing.broker import connectTransport, makeBroker


def publisher(asked: list[str], answer: Verdict | None = None) -> tuple[Clock, Broker, MQTTProtocol]:
    """
    A connected client whose access is asked about.
    """
    clock = Clock()
    clock.advance(1000)
    broker, factory = makeBroker(clock)

    def rule(client: object, action: str, topic: str, verdict: Verdict) -> Verdict | None:
        asked.append(topic)
        return answer

    broker.hooks.clientCheckAcl.add(rule)
    protocol, _ = connectTransport(factory)
    protocol.dataReceived(encode(Connect("MQTT", 4, "someone", True, 0, None, None, None, None), 4))
    return clock, broker, protocol


def publish(protocol: MQTTProtocol, topic: str) -> int:
    """
    Publish; returns how many packets the core has left to the shell.
    """
    wire = encode(Publish(topic, b"x"), 4)
    packets = protocol.connection.receive(wire, protocol.factory.seconds())
    protocol._take(packets)
    return len(packets)


def test_asksOnce() -> None:
    """
    Once allowed, a topic stays within the core.
    """
    asked: list[str] = []
    _, _, protocol = publisher(asked)
    assert [publish(protocol, "a/b") for _ in range(4)] == [1, 0, 0, 0]
    assert asked == ["a/b"]


def test_asksAgainLater() -> None:
    """
    A permission is asked for again when its time is over, and when rules change.
    """
    asked: list[str] = []
    clock, broker, protocol = publisher(asked)
    publish(protocol, "a/b")
    clock.advance(61)
    assert publish(protocol, "a/b") == 1
    assert publish(protocol, "a/b") == 0
    broker.forgetPermissions()
    assert publish(protocol, "a/b") == 1
    assert publish(protocol, "a/b") == 0
    assert asked == ["a/b"] * 3


def test_refusalsAreRememberedToo() -> None:
    """
    A refused topic does not ask again either, but is never let through.
    """
    asked: list[str] = []
    _, broker, protocol = publisher(asked, DENY)
    assert [publish(protocol, "a/b") for _ in range(3)] == [1, 1, 1]
    assert asked == ["a/b"]
    assert broker.traffic.total("messages_received") == 0


def test_bounded() -> None:
    """
    The number of remembered topics of a client has a limit.
    """
    asked: list[str] = []
    _, broker, protocol = publisher(asked)
    for number in range(100):
        publish(protocol, f"a/{number}")
    assert len(broker.rememberedPermissions(protocol.client)) == broker.settings.acl_cache_max_size
    assert len(protocol.connection.allowed or ()) == broker.settings.acl_cache_max_size
