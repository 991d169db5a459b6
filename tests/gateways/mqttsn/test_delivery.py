"""
Deliveries to a client: messages of every QoS, topics before them, repetitions if it does not answer.
"""

from gateways.mqttsn.packets import (
    CONGESTION,
    DISCONNECT,
    INVALID_TOPIC,
    NOT_SUPPORTED,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SNPacket,
    SNPublish,
)
from tests.kits.mqttsn import World


def test_registerBeforeDelivery() -> None:
    """
    A topic that matches a filter is told of before its first message; the order of messages holds.
    """
    world = World()
    device = world.device().connect()
    device.subscribe("a/#", 1)
    peer = world.mqtt()
    for count, topic in enumerate(["a/b", "a/b", "a/c", "a/b"]):
        peer.publish(topic, b"%d" % count, 1, packetID=count + 1)
    device.expectRegister("a/b")
    for count in range(2):
        device.puback(device.expectPublish(b"%d" % count))
    device.expectRegister("a/c")
    device.puback(device.expectPublish(b"2"))
    device.puback(device.expectPublish(b"3"))
    device.expectNothing()


def test_registerRefused() -> None:
    """
    Messages of a topic that the client will not know are dropped; others go on.
    """
    world = World()
    device = world.device().connect()
    device.subscribe("a/#", 1)
    peer = world.mqtt()
    peer.publish("a/b", b"1", 1, packetID=1).publish("a/c", b"2", 1, packetID=2)
    device.regack(device.next(), NOT_SUPPORTED)
    device.expectRegister("a/c")
    device.puback(device.expectPublish(b"2"))
    session = world.broker.sessions[device.name]
    assert not session.inflight and session.queueLength == 0


def test_oneAtATime() -> None:
    """
    One message of QoS 1 or 2 is on its way at a time (6.12), more only if the configuration says so.
    """
    for window in (1, 3):
        world = World(max_inflight=window)
        device = world.device().connect()
        device.subscribe("a/b", 2)
        peer = world.mqtt()
        for count in range(4):
            peer.publish("a/b", b"%d" % count, 1, packetID=count + 1)
        first = device.heard()
        assert [packet.data for packet in first] == [b"%d" % count for count in range(window)]
        device.puback(first[0])
        device.expectPublish(b"%d" % window)


def test_qos2() -> None:
    """
    QoS 2 towards the client takes four messages.
    """
    world = World()
    device = world.device().connect()
    topicID = device.subscribe("a/b", 2)
    world.mqtt().publish("a/b", b"x", 2, packetID=1)
    packet = device.next()
    assert packet == SNPublish(topicID, b"x", 2, packet.msgID)
    device.say(SNPacket(PUBREC, packet.msgID)).expect(SNPacket(PUBREL, packet.msgID))
    device.say(SNPacket(PUBREC, packet.msgID)).expect(SNPacket(PUBREL, packet.msgID))
    device.say(SNPacket(PUBCOMP, packet.msgID)).expectNothing()
    assert not world.broker.sessions[device.name].inflight


def test_releasedWhenSafe() -> None:
    """
    PUBREL goes out when the store has PUBREC: after a crash before that the message comes again, and must not be taken
    for a new one.
    """
    world = World()
    device = world.device().connect()
    device.subscribe("a/b", 2)
    world.mqtt().publish("a/b", b"x", 2, packetID=1)
    packet = device.next()
    progress = world.broker.router.progress
    progress.sequence += 1
    device.say(SNPacket(PUBREC, packet.msgID)).expectNothing()
    progress.committed = progress.sequence
    world.broker.router.committed()
    device.expect(SNPacket(PUBREL, packet.msgID))


def test_wrongAcknowledgement() -> None:
    """
    A PUBACK does not settle a message of QoS 2, which goes on until PUBCOMP.
    """
    world = World(retry_interval=5.0)
    device = world.device().connect()
    device.subscribe("a/b", 2)
    world.mqtt().publish("a/b", b"x", 2, packetID=1)
    device.puback(device.expectPublish(b"x"))
    world.advance(7)
    packet = device.expectPublish(b"x")
    assert packet.dup
    device.say(SNPacket(PUBREC, packet.msgID)).expect(SNPacket(PUBREL, packet.msgID))


def test_sendsAgain() -> None:
    """
    An unacknowledged message goes out again, marked, N_retry times; then the client is lost, and a session that is not
    clean keeps the message.
    """
    world = World(retry_interval=10.0, max_retries=2)
    device = world.device().connect(cleanSession=False)
    topicID = device.subscribe("a/b", 1)
    world.mqtt().publish("a/b", b"x", 1, packetID=1)
    first = device.next()
    world.advance(9)
    device.expectNothing()
    world.advance(15)
    device.expect(*[SNPublish(topicID, b"x", 1, first.msgID, dup=True)] * 2)
    world.advance(15)
    assert not world.gateway.clients
    device.connect(cleanSession=False)
    packet = device.expectRegister("a/b")
    again = device.expectPublish(b"x")
    assert again.dup and again.topicID == packet.topicID


def test_acknowledgedOfUnknownTopic() -> None:
    """
    A client that has forgotten a number is told it again, and then the message; one that goes on refusing loses it.
    """
    world = World(max_retries=3)
    device = world.device().connect()
    device.subscribe("a/b", 1)
    world.mqtt().publish("a/b", b"x", 1, packetID=1)
    for _ in range(3):
        device.puback(device.expectPublish(b"x"), INVALID_TOPIC)
        device.expectRegister("a/b")
    device.puback(device.expectPublish(b"x"), INVALID_TOPIC)
    device.expectNothing()
    assert not world.broker.sessions[device.name].inflight


def test_refusedMessage() -> None:
    """
    A message that the client does not support is dropped; one that it has no room for comes again.
    """
    world = World(retry_interval=5.0)
    device = world.device().connect()
    device.subscribe("a/b", 1)
    peer = world.mqtt()
    peer.publish("a/b", b"1", 1, packetID=1).publish("a/b", b"2", 1, packetID=2)
    device.puback(device.expectPublish(b"1"), NOT_SUPPORTED)
    device.puback(device.expectPublish(b"2"), CONGESTION)
    device.expectNothing()
    world.advance(7)
    device.puback(device.expectPublish(b"2"))
    assert not world.broker.sessions[device.name].inflight


def test_longMessages() -> None:
    """
    A message longer than a datagram may be is not sent, and holds nothing up.
    """
    world = World(max_message_size=200)
    device = world.device().connect()
    device.subscribe("a/b", 1)
    peer = world.mqtt()
    peer.publish("a/b", b"x" * 300, 1, packetID=1).publish("a/b", b"x" * 191, 1, packetID=2)
    assert len(device.next().data) == 191
    device.expectNothing()


def test_persistentSession() -> None:
    """
    A session that is not clean has its subscriptions and messages when the client comes back, from wherever.
    """
    world = World()
    device = world.device().connect(cleanSession=False)
    device.subscribe("a/#", 1)
    device.say(SNPacket(DISCONNECT)).heard()
    world.mqtt().publish("a/b", b"missed", 1, packetID=1)
    moved = world.device(device.name).connect(cleanSession=False)
    moved.expectRegister("a/b")
    moved.puback(moved.expectPublish(b"missed"))
    moved.say(SNPacket(DISCONNECT)).heard()
    again = moved.connect(cleanSession=True)
    world.mqtt("other").publish("a/b", b"not any more")
    again.expectNothing()


def test_mountpoint() -> None:
    """
    A mount point is put before the client's topics, and taken off again.
    """
    world = World(zone={"mountpoint": "site/"})
    device = world.device().connect()
    device.subscribe("a/b")
    topicID = device.register("a/b")
    device.publish(topicID, b"x")
    device.expectPublish(b"x")
    assert world.broker.traffic.total("messages_delivered") == 1
    assert world.broker.router.tree.match("site/a/b").subscriptions


def test_shutDown() -> None:
    """
    A gateway that closes says so to all.
    """
    world = World()
    devices = [world.device().connect() for _ in range(3)]
    world.gateway.sendAllAway()
    for device in devices:
        device.expect(SNPacket(DISCONNECT))
    assert not world.gateway.clients and not world.broker.clients


def test_topicThatFitsNoRegister() -> None:
    """
    A message whose topic a client can't be told of is dropped for that client, as too large; whoever publishes it, and
    what comes behind it, are not harmed.
    """
    world = World(max_message_size=100)
    device = world.device().connect()
    device.subscribe("#", 1)
    peer = world.mqtt()
    for qos in (0, 1):
        for topic in ("x" * 93, "x" * 65_535, "ä" * 47):
            peer.publish(topic, b"bad", qos, packetID=1)
    peer.publish("x" * 92, b"good", 1, packetID=2)
    device.expectRegister("x" * 92)
    device.puback(device.expectPublish(b"good"))
    assert not peer.lost
    assert world.broker.traffic.total("delivery_dropped_too_large") == 6
    assert not world.broker.sessions[device.name].inflight


def test_answersOfTheWrongKind() -> None:
    """
    A datagram may be late: an answer that the message in flight can't have changes nothing.
    """
    world = World()
    device = world.device().connect()
    device.subscribe("a", 2)
    world.mqtt().publish("a", b"1", 2, packetID=1)
    published = device.expectPublish(b"1")
    for kind in (PUBCOMP, PUBACK):
        device.say(SNPacket(kind, published.msgID))
    session = world.broker.sessions[device.name]
    assert len(session.inflight) == 1
    device.say(SNPacket(PUBREC, published.msgID))
    assert device.next().type == PUBREL
    device.say(SNPacket(PUBCOMP, published.msgID))
    assert not session.inflight
