"""
Clients that sleep: what waits for them, how much of it, and when they are given up.
"""

from typing import Any

import pytest

from gateways.mqttsn.packets import (
    ACCEPTED,
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBCOMP,
    PUBREC,
    PUBREL,
    WILLTOPICUPD,
    SNConnect,
    SNPacket,
    SNPublish,
    SNRegister,
    SNWillTopic,
)
from gateways.mqttsn.session import ACTIVE, ASLEEP, AWAKE
from tests.kits.mqttsn import Device, World


def sleep(device: Device, duration: int = 60) -> None:
    """
    Let a device fall asleep.
    """
    device.say(SNPacket(DISCONNECT, duration=duration)).expect(SNPacket(DISCONNECT))


def wake(device: Device) -> Device:
    """
    Let it look for messages.
    """
    return device.say(SNPacket(PINGREQ, data=device.name.encode()))


def stateOf(device: Device) -> int:
    """
    Where it is in 6.14.
    """
    return device.world.gateway.clients[device.address].state


def test_messagesWait() -> None:
    """
    Messages of every QoS wait for a sleeping client, come in order when it is awake, and PINGRESP ends them.
    """
    world = World()
    device = world.device().connect()
    topicID = device.subscribe("a/b", 2)
    sleep(device)
    peer = world.mqtt()
    for qos in range(3):
        peer.publish("a/b", b"%d" % qos, qos, packetID=qos)
    device.expectNothing()
    assert stateOf(device) == ASLEEP
    wake(device)
    assert device.next() == SNPublish(topicID, b"0")
    device.puback(device.expectPublish(b"1"))
    assert stateOf(device) == AWAKE
    packet = device.expectPublish(b"2")
    device.say(SNPacket(PUBREC, packet.msgID)).expect(SNPacket(PUBREL, packet.msgID))
    device.say(SNPacket(PUBCOMP, packet.msgID)).expect(SNPacket(PINGRESP))
    assert stateOf(device) == ASLEEP
    wake(device).expect(SNPacket(PINGRESP))


def test_wakesUpToNewTopics() -> None:
    """
    A topic that came up while it slept is told of when it is awake.
    """
    world = World()
    device = world.device().connect()
    device.subscribe("a/#", 1)
    sleep(device)
    world.mqtt().publish("a/b", b"1", 1, packetID=1).publish("a/c", b"2")
    wake(device)
    device.expectRegister("a/b")
    device.puback(device.expectPublish(b"1"))
    device.expectRegister("a/c")
    device.expectPublish(b"2")
    device.expect(SNPacket(PINGRESP))


def test_fallsAsleepOverAMessage() -> None:
    """
    A message that was on its way when the client fell asleep is neither sent into its sleep nor lost.
    """
    world = World(retry_interval=5.0)
    device = world.device().connect()
    device.subscribe("a/#", 1)
    world.mqtt().publish("a/b", b"1", 1, packetID=1)
    assert isinstance(device.next(), SNRegister)
    sleep(device, 600)
    world.advance(60)
    device.expectNothing()
    wake(device)
    device.expectRegister("a/b")
    device.expectPublish(b"1")
    sleep(device, 600)
    world.advance(60)
    device.expectNothing()
    wake(device)
    again = device.expectPublish(b"1")
    assert again.dup
    device.puback(again).expect(SNPacket(PINGRESP))


def test_sleepsOnWithoutPingresp() -> None:
    """
    One that was awake and does not answer is taken to sleep again; only its sleep timer makes it lost.
    """
    world = World(retry_interval=2.0, max_retries=1)
    device = world.device().connect()
    device.subscribe("a/b", 1)
    sleep(device, 60)
    world.mqtt().publish("a/b", b"1", 1, packetID=1)
    wake(device)
    world.advance(30)
    assert [packet.type for packet in device.heard()] == [SNPublish(0, b"").type] * 2
    assert stateOf(device) == ASLEEP
    wake(device)
    device.puback(device.expectPublish(b"1")).expect(SNPacket(PINGRESP))


def test_lost() -> None:
    """
    A client that sleeps one and a half times as long as it said is lost, and its will is published; one that looks in
    is not.
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("will")
    device = world.device().connect(duration=10)
    device.say(SNWillTopic(WILLTOPICUPD, "will", 1)).heard()
    sleep(device, 100)
    world.advance(140)
    wake(device).expect(SNPacket(PINGRESP))
    world.advance(140)
    assert stateOf(device) == ASLEEP
    watcher.expectNothing()
    world.advance(20)
    assert watcher.payloads() == [b""]
    assert not world.gateway.clients and device.name not in world.broker.clients
    wake(device).expect(SNPacket(DISCONNECT))


def test_sleepsLonger() -> None:
    """
    The duration of its sleep can be changed, and a CONNECT makes it active.
    """
    world = World()
    device = world.device().connect()
    sleep(device, 10)
    sleep(device, 1000)
    world.advance(100)
    assert stateOf(device) == ASLEEP
    device.say(SNConnect(device.name, False)).expect(SNPacket(CONNACK, code=ACCEPTED))
    assert stateOf(device) == ACTIVE


def test_pingOfAnother() -> None:
    """
    A PINGREQ without the client's identifier does not wake it; one with another's is an error that it is told of.
    """
    world = World()
    device = world.device().connect()
    device.subscribe("a/b")
    sleep(device)
    world.mqtt().publish("a/b", b"1")
    device.say(SNPacket(PINGREQ)).expect(SNPacket(PINGRESP))
    device.say(SNPacket(PINGREQ, data=b"other")).expect(SNPacket(DISCONNECT))
    assert stateOf(device) == ASLEEP
    wake(device)
    device.expectPublish(b"1")


def test_publishesInItsSleep() -> None:
    """
    A sleeping client may publish; what it gets for it is an acknowledgement and nothing else.
    """
    world = World()
    device = world.device().connect()
    topicID = device.subscribe("a/b")
    sleep(device)
    device.publish(topicID, b"1", 1)
    assert device.next().code == ACCEPTED
    device.expectNothing()
    wake(device)
    device.expectPublish(b"1")


@pytest.mark.parametrize(
    "keys, count",
    [({"max_buffered": 5, "max_buffered_bytes": 0}, 5), ({"max_buffered": 1000, "max_buffered_bytes": 1050}, 10)],
)
def test_bounds(keys: dict[str, Any], count: int) -> None:
    """
    So many messages, or bytes of them, wait for a client; the oldest go first.
    """
    world = World(max_inflight=64, **keys)
    device = world.device().connect()
    device.subscribe("topic", 1)
    sleep(device)
    peer = world.mqtt()
    for number in range(50):
        peer.publish("topic", b"%095d" % number, 1, packetID=number + 1)
    assert world.broker.traffic.total("delivery_dropped_queue_full") == 50 - count
    wake(device)
    assert [int(packet.data) for packet in device.heard()] == list(range(50 - count, 50))


def test_oneTooLarge() -> None:
    """
    A single message above the bound is dropped, and with it what waits no longer has room: the bound holds always.
    """
    world = World(max_buffered_bytes=1000)
    device = world.device().connect()
    device.subscribe("topic")
    sleep(device)
    peer = world.mqtt()
    peer.publish("topic", b"x" * 2000).publish("topic", b"small")
    queue = world.broker.sessions[device.name].queue
    assert queue is not None and queue.size == 10
    wake(device)
    device.expectPublish(b"small")
    assert queue.size == 0


def test_persistentSleeper() -> None:
    """
    A sleeper whose session is not clean may be lost and come back: its messages are there.
    """
    world = World()
    device = world.device().connect(cleanSession=False)
    device.subscribe("a/b", 1)
    sleep(device, 10)
    world.mqtt().publish("a/b", b"1", 1, packetID=1)
    world.advance(20)
    world.mqtt("again").publish("a/b", b"2", 1, packetID=1)
    assert not world.gateway.clients
    device.connect(cleanSession=False)
    device.expectRegister("a/b")
    device.puback(device.expectPublish(b"1"))
    device.puback(device.expectPublish(b"2"))
