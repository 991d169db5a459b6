"""
Requests of a client: publishing and subscribing.
"""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from gateways.mqttsn.packets import (
    ACCEPTED,
    CONGESTION,
    INVALID_TOPIC,
    NOT_SUPPORTED,
    PREDEFINED,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    REGACK,
    SHORT,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    SNPacket,
    SNPublish,
    SNRegister,
    SNSuback,
    SNSubscribe,
)
from tests.kits.mqttsn import World
from twisted_mqtt.hooks.verdicts import ALLOW, DENY

# Publishing


def test_registers() -> None:
    """
    REGISTER is answered with a number; a filter has none.
    """
    device = World(max_topics=128).device().connect()
    device.say(SNRegister(0, 7, "a/b"), SNRegister(0, 8, "a/b"), SNRegister(0, 9, "a/+"))
    device.expect(
        SNPacket(REGACK, 7, ACCEPTED, 1), SNPacket(REGACK, 8, ACCEPTED, 1), SNPacket(REGACK, 9, INVALID_TOPIC, 0)
    )
    for count in range(127):
        device.register(f"t/{count}")
    device.say(SNRegister(0, 9, "one/more")).expect(SNPacket(REGACK, 9, CONGESTION, 0))


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publishes(qos: int) -> None:
    """
    A message of each QoS reaches an MQTT client once, and is acknowledged as its QoS asks.
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("a/#")
    device = world.device().connect()
    topicID = device.register("a/b")
    msgID = device.publish(topicID, b"x", qos, retain=True)
    if qos == 0:
        device.expectNothing()
    elif qos == 1:
        device.expect(SNPacket(PUBACK, msgID, ACCEPTED, topicID))
    else:
        device.expect(SNPacket(PUBREC, msgID))
        device.publish(topicID, b"x", 2, msgID=msgID, dup=True)
        device.expect(SNPacket(PUBREC, msgID))
        device.say(SNPacket(PUBREL, msgID), SNPacket(PUBREL, msgID))
        device.expect(SNPacket(PUBCOMP, msgID), SNPacket(PUBCOMP, msgID))
    packet: Any = watcher.next()
    assert (packet.topic, packet.payload, packet.qos) == ("a/b", b"x", qos)
    watcher.expectNothing()
    late = world.mqtt("late")
    late.subscribe("a/b")
    assert late.payloads() == [b"x"]


def test_repeatedPublish() -> None:
    """
    A PUBLISH of QoS 1 that comes again, marked so, is acknowledged and not published again; another one with the same
    identifier is.
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("a/b")
    device = world.device().connect()
    topicID = device.register("a/b")
    for data, dup in ((b"1", False), (b"1", True), (b"2", True), (b"2", False)):
        device.publish(topicID, data, 1, msgID=5, dup=dup)
    device.expect(*[SNPacket(PUBACK, 5, ACCEPTED, topicID)] * 4)
    assert watcher.payloads() == [b"1", b"2", b"2"]


def test_lateRepetitionOfQoS2() -> None:
    """
    A repetition that comes when its message is long done with, and others have been, is not a new message.
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("a/b", qos=0)
    device = world.device().connect()
    topicID = device.register("a/b")
    for msgID in range(1, 6):
        device.publish(topicID, b"%d" % msgID, 2, msgID=msgID)
        device.say(SNPacket(PUBREL, msgID))
    device.heard()
    for msgID in range(2, 6):
        device.publish(topicID, b"%d" % msgID, 2, msgID=msgID, dup=True)
        device.say(SNPacket(PUBREL, msgID)).expect(SNPacket(PUBREC, msgID), SNPacket(PUBCOMP, msgID))
    assert watcher.payloads() == [b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publishLimit(qos: int) -> None:
    """
    Messages beyond the zone's C{publish_limit} are answered by "congestion" and dropped; repeated in its time, one is
    taken.
    """
    world = World(zone={"publish_limit": "1,10s"})
    watcher = world.mqtt()
    watcher.subscribe("a/b")
    device = world.device().connect()
    topicID = device.register("a/b")
    device.publish(topicID, b"1", qos)
    device.heard()
    for _ in range(5):
        world.advance(1)
        msgID = device.publish(topicID, b"2", qos)
        device.expect(SNPacket(PUBACK, msgID, CONGESTION, topicID))
    world.advance(5)
    device.publish(topicID, b"2", qos, msgID=msgID, dup=qos > 0)
    device.expect(*[[], [SNPacket(PUBACK, msgID, ACCEPTED, topicID)], [SNPacket(PUBREC, msgID)]][qos])
    assert watcher.payloads() == [b"1", b"2"]


def test_waysToNameATopic() -> None:
    """
    Short and predefined topics need no REGISTER.
    """
    world = World(topics={5: "pre/five"})
    watcher = world.mqtt()
    watcher.subscribe("#")
    device = world.device().connect()
    device.publish(0x6162, b"short", idType=SHORT)
    device.publish(5, b"predefined", idType=PREDEFINED)
    arrived: list[Any] = watcher.receive()
    assert [(each.topic, each.payload) for each in arrived] == [("ab", b"short"), ("pre/five", b"predefined")]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_unknownTopic(qos: int) -> None:
    """
    A number that stands for no topic is told of, whatever the QoS.
    """
    device = World().device().connect()
    msgID = device.publish(9, b"x", qos)
    device.expect(SNPacket(PUBACK, msgID, INVALID_TOPIC, 9))
    msgID = device.publish(0x2361, b"x", qos, idType=SHORT)  # "#a"
    device.expect(SNPacket(PUBACK, msgID, INVALID_TOPIC, 0x2361))


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publishNotAllowed(qos: int) -> None:
    """
    A message that access rules forbid is refused, and one of QoS 2 leaves nothing behind.
    """
    world = World()
    world.broker.hooks.clientCheckAcl.add(lambda client, action, topic, verdict: DENY)
    device = world.device().connect()
    topicID = device.register("a/b")
    for _ in range(2):
        device.publish(topicID, b"x", qos, msgID=3)
        device.expect(SNPacket(PUBACK, 3, NOT_SUPPORTED, topicID))


def test_slowHook() -> None:
    """
    While an access rule is looked up, what comes after waits its turn; too much of it is dropped, to come again.
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("#", qos=0)
    device = world.device().connect()
    topicID = device.register("a/b")
    asked: list[Deferred[str]] = []

    def ask(client: Any, action: str, topic: str, verdict: str) -> Any:
        asked.append(Deferred())
        return asked[-1]

    world.broker.hooks.clientCheckAcl.add(ask)
    device.publish(topicID, b"0", 1, msgID=100)
    for count in range(1, 50):
        device.publish(topicID, b"%d" % count, 1, msgID=100 + count)
    assert len(asked) == 1
    watcher.expectNothing()
    asked.pop().callback(ALLOW)
    world.clock.advance(0)
    while asked:
        asked.pop().callback(ALLOW)
    acks = [packet.msgID for packet in device.heard()]
    assert acks == list(range(100, 133))
    assert watcher.payloads() == [b"%d" % count for count in range(33)]


def test_slowHooksInTurn() -> None:
    """
    Of messages that all have to wait for a rule, each waits for the one before it.
    """
    world = World(zone={"enable_acl": True})
    watcher = world.mqtt()
    watcher.subscribe("#", qos=0)
    device = world.device().connect()
    topicIDs = [device.register(f"a/{count}") for count in range(4)]
    asked: list[tuple[str, Deferred[str]]] = []

    def ask(client: Any, action: str, topic: str, verdict: str) -> Any:
        asked.append((topic, Deferred()))
        return asked[-1][1]

    world.broker.hooks.clientCheckAcl.add(ask)
    for topicID in topicIDs:
        device.publish(topicID, b"%d" % topicID, 1)
    for count, topicID in enumerate(topicIDs):
        assert [topic for topic, _ in asked] == [f"a/{count}"]
        asked.pop()[1].callback(ALLOW)
        world.clock.advance(0)
        assert device.next().topicID == topicID
    assert watcher.payloads() == [b"%d" % topicID for topicID in topicIDs]


# Subscribing


def test_subscribes() -> None:
    """
    A name comes with its number, a filter with none; a retained message follows.
    """
    world = World(topics={5: "pre/five"})
    world.mqtt().publish("a/b", b"kept", retain=True)
    device = world.device().connect()
    device.say(SNSubscribe(SUBSCRIBE, 1, "a/b", qos=1))
    device.expect(SNSuback(1, 1, ACCEPTED, 1), SNPublish(1, b"kept", retain=True))
    device.say(SNSubscribe(SUBSCRIBE, 2, "x/+", qos=2)).expect(SNSuback(0, 2, ACCEPTED, 2))
    device.say(SNSubscribe(SUBSCRIBE, 3, "", 5, PREDEFINED)).expect(SNSuback(5, 3, ACCEPTED))
    device.say(SNSubscribe(SUBSCRIBE, 4, "ab", 0, SHORT)).expect(SNSuback(0, 4, ACCEPTED))
    device.say(SNSubscribe(SUBSCRIBE, 5, "", 6, PREDEFINED)).expect(SNSuback(0, 5, INVALID_TOPIC))
    device.say(SNSubscribe(SUBSCRIBE, 6, "a/#/b")).expect(SNSuback(0, 6, INVALID_TOPIC))
    peer = world.mqtt("other")
    peer.publish("pre/five", b"1").publish("ab", b"2")
    device.expect(SNPublish(5, b"1", idType=PREDEFINED), SNPublish(0x6162, b"2", idType=SHORT))


def test_repeatedSubscribe() -> None:
    """
    A SUBSCRIBE that comes again, marked so, is answered again and brings no retained messages twice.
    """
    world = World()
    world.mqtt().publish("a/b", b"kept", retain=True)
    device = world.device().connect()
    device.say(SNSubscribe(SUBSCRIBE, 1, "a/b"))
    assert len(device.heard()) == 2
    device.say(SNSubscribe(SUBSCRIBE, 1, "a/b", dup=True)).expect(SNSuback(1, 1, ACCEPTED))


def test_subscribeNotAllowed() -> None:
    """
    A filter that access rules forbid is refused in SUBACK.
    """
    world = World()
    world.broker.hooks.clientCheckAcl.add(lambda client, action, topic, verdict: DENY)
    device = world.device().connect()
    device.say(SNSubscribe(SUBSCRIBE, 1, "a/b")).expect(SNSuback(0, 1, NOT_SUPPORTED))


def test_unsubscribes() -> None:
    """
    UNSUBSCRIBE ends it, by name and by number; what was not subscribed is answered too.
    """
    world = World(topics={5: "pre/five"})
    device = world.device().connect()
    device.subscribe("a/b")
    device.say(SNSubscribe(SUBSCRIBE, 2, "", 5, PREDEFINED)).heard()
    device.say(SNSubscribe(UNSUBSCRIBE, 3, "a/b"), SNSubscribe(UNSUBSCRIBE, 4, "", 5, PREDEFINED))
    device.say(SNSubscribe(UNSUBSCRIBE, 5, "nothing"), SNSubscribe(UNSUBSCRIBE, 6, "", 9, PREDEFINED))
    device.expect(*[SNPacket(UNSUBACK, msgID) for msgID in (3, 4, 5, 6)])
    world.mqtt().publish("a/b", b"1").publish("pre/five", b"2")
    device.expectNothing()


def test_sharedSubscription() -> None:
    """
    Shared subscriptions work, and the number stands for the topic proper.
    """
    world = World()
    device = world.device().connect()
    topicID = device.subscribe("$share/group/a/b")
    world.mqtt().publish("a/b", b"1")
    device.expect(SNPublish(topicID, b"1"))
