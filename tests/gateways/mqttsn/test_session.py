"""
A client that is awake: connecting, wills, publishing, subscribing, being told.
"""

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from gateways.mqttsn.packets import (
    ACCEPTED,
    CONGESTION,
    CONNACK,
    DISCONNECT,
    INVALID_TOPIC,
    NOT_SUPPORTED,
    PINGREQ,
    PINGRESP,
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
    WILLMSG,
    WILLMSGREQ,
    WILLMSGRESP,
    WILLMSGUPD,
    WILLTOPIC,
    WILLTOPICREQ,
    WILLTOPICRESP,
    WILLTOPICUPD,
    Connect,
    Packet,
    Publish,
    Register,
    Suback,
    Subscribe,
    WillTopic,
)
from tests.gateways.mqttsn.kit import World


def accepted() -> Packet:
    """
    CONNACK.
    """
    return Packet(CONNACK, code=ACCEPTED)


def withWill(world: World, topic: str = "will/topic", qos: int = 1, duration: int = 10, clean: bool = True) -> Any:
    """
    A device that has connected with a will.
    """
    device = world.device()
    device.say(Connect(device.name, clean, True, duration))
    device.expect(Packet(WILLTOPICREQ))
    device.say(WillTopic(WILLTOPIC, topic, qos))
    device.expect(Packet(WILLMSGREQ))
    device.say(Packet(WILLMSG, data=b"gone"))
    device.expect(accepted())
    return device


# Coming in


def test_connects() -> None:
    """
    A client is one like others: hooks and figures know it.
    """
    world = World()
    device = world.device("sensor", host="10.1.2.3").connect(duration=30)
    [client] = world.broker.clients.values()
    assert (client.clientID, client.protocol, client.protoName, client.peerHost) == (
        "sensor", "mqtt-sn", "MQTT-SN", "10.1.2.3",
    )  # fmt: skip
    assert client.keepAlive == 30
    device.say(Packet(DISCONNECT))
    device.expect(Packet(DISCONNECT))
    assert not world.broker.clients and not world.gateway.clients


def test_repeatedConnect() -> None:
    """
    A CONNECT that comes again, its answer lost, is answered again and changes nothing; after anything else it starts
    the session afresh.
    """
    world = World()
    device = world.device().connect()
    first = world.broker.clients[device.name]
    device.say(Connect(device.name))
    device.expect(accepted())
    assert world.broker.clients[device.name] is first
    device.register("a/b")
    device.say(Connect(device.name))
    device.expect(accepted())
    assert world.broker.clients[device.name] is not first
    device.publish(1, b"", 1)
    assert device.next().code == INVALID_TOPIC


def test_anotherProtocol() -> None:
    """
    A version that is not 1.2 is refused in words.
    """
    world = World()
    device = world.device().say(Connect("x", protocolID=2))
    device.expect(Packet(CONNACK, code=NOT_SUPPORTED))
    assert not world.gateway.clients


def test_refusedByTheBroker() -> None:
    """
    Who may not come in is told, and nothing of it stays.
    """
    world = World(zone={"allow_anonymous": False})
    device = world.device().say(Connect("x"))
    device.expect(Packet(CONNACK, code=NOT_SUPPORTED))
    assert not world.gateway.clients
    world.advance(120)
    device.expectNothing()


def test_credentials() -> None:
    """
    The gateway's user name and password are those of its clients.
    """
    world = World(username="sn", password="secret")
    seen = []
    world.broker.hooks.clientAuthenticate.add(lambda client, result: seen.append((client.username, client.password)))
    world.device().connect()
    assert seen == [("sn", b"secret")]


def test_tooMany() -> None:
    """
    Above the bounds on clients and on their rate, there is congestion; later there is room.
    """
    world = World(max_clients=2, max_conn_rate=3)
    first, second, third = world.device().connect(), world.device().connect(), world.device()
    third.say(Connect(third.name)).expect(Packet(CONNACK, code=CONGESTION))
    first.say(Packet(DISCONNECT)).heard()
    third.say(Connect(third.name)).expect(accepted())
    second.say(Packet(DISCONNECT)).heard()
    second.say(Connect(second.name)).expect(Packet(CONNACK, code=CONGESTION))
    world.advance(1)
    second.say(Connect(second.name)).expect(accepted())


def test_takeover() -> None:
    """
    A client that comes from another address is the same client; the old address is told to go, and its will is not
    published.
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("#")
    old = withWill(world)
    moved = world.device(old.name).connect()
    old.expect(Packet(DISCONNECT))
    watcher.expectNothing()
    old.publish(0x6162, b"", 1, idType=SHORT)
    old.expect(Packet(DISCONNECT))
    moved.say(Packet(PINGREQ)).expect(Packet(PINGRESP))


def test_kicked() -> None:
    """
    One whom the broker sends away is told, and its will is not published (6.2 of the specification).
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("#")
    device = withWill(world)
    world.broker.kick(device.name, 0x98)
    device.expect(Packet(DISCONNECT))
    watcher.expectNothing()
    assert not world.gateway.clients


# Wills


def test_will() -> None:
    """
    The will of a client that falls silent is published after one and a half keep-alive periods, and not earlier.
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("will/#")
    device = withWill(world, duration=10)
    world.advance(9)
    device.say(Packet(PINGREQ)).expect(Packet(PINGRESP))
    world.advance(14)
    watcher.expectNothing()
    world.advance(3)
    assert watcher.payloads() == [b"gone"]
    assert not world.gateway.clients


def test_noWillAfterDisconnect() -> None:
    """
    One that says goodbye has no will.
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("will/#")
    withWill(world).say(Packet(DISCONNECT))
    watcher.expectNothing()


def test_willUpdates() -> None:
    """
    Topic and message of a will can be changed while connected (6.4).
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("#")
    device = withWill(world)
    device.say(WillTopic(WILLTOPICUPD, "other/topic", 2)).expect(Packet(WILLTOPICRESP, code=ACCEPTED))
    device.say(Packet(WILLMSGUPD, data=b"otherwise")).expect(Packet(WILLMSGRESP, code=ACCEPTED))
    world.advance(20)
    packet: Any = watcher.next()
    assert (packet.topic, packet.payload, packet.qos) == ("other/topic", b"otherwise", 2)


def test_willDeleted() -> None:
    """
    An empty topic deletes the will, after which it has no message to change.
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("#")
    device = withWill(world)
    device.say(WillTopic(WILLTOPICUPD)).expect(Packet(WILLTOPICRESP, code=ACCEPTED))
    device.say(Packet(WILLMSGUPD, data=b"x")).expect(Packet(WILLMSGRESP, code=NOT_SUPPORTED))
    world.advance(20)
    watcher.expectNothing()


def test_willNotAllowed() -> None:
    """
    Access rules are asked about the topic of a will, at first and at every change.
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("#")
    device = withWill(world)
    world.broker.hooks.clientCheckAcl.add(
        lambda client, action, topic, verdict: "deny" if topic == "secret" else "allow"
    )
    device.say(WillTopic(WILLTOPICUPD, "secret")).expect(Packet(WILLTOPICRESP, code=NOT_SUPPORTED))
    device.say(WillTopic(WILLTOPICUPD, "a/+")).expect(Packet(WILLTOPICRESP, code=INVALID_TOPIC))
    other = world.device()
    other.say(Connect(other.name, will=True), WillTopic(WILLTOPIC, "secret"), Packet(WILLMSG, data=b""))
    assert other.heard()[-1] == Packet(CONNACK, code=NOT_SUPPORTED)
    world.advance(20)
    packet: Any = watcher.next()
    assert packet.topic == "will/topic"


def test_willDialogueWithoutWill() -> None:
    """
    A client that is asked for a will may have none.
    """
    device = World().device()
    device.say(Connect(device.name, will=True)).expect(Packet(WILLTOPICREQ))
    device.say(WillTopic(WILLTOPIC)).expect(accepted())


def test_willDialogueLost() -> None:
    """
    Questions about the will are asked again, and no longer than a client may take to come in.
    """
    world = World(retry_interval=5.0, idle_timeout=12.0)
    device = world.device()
    device.say(Connect(device.name, will=True))
    world.advance(7)
    device.expect(Packet(WILLTOPICREQ), Packet(WILLTOPICREQ))
    world.advance(10)
    assert device.heard()[-1] == Packet(CONNACK, code=NOT_SUPPORTED)
    assert not world.gateway.clients and not world.broker.clients


def test_willTopicIsNone() -> None:
    """
    A will for a filter is refused.
    """
    device = World().device()
    device.say(Connect(device.name, will=True), WillTopic(WILLTOPIC, "a/#"))
    assert device.heard()[-1] == Packet(CONNACK, code=INVALID_TOPIC)


def test_willKeptWithTheSession() -> None:
    """
    A session that is not clean keeps its will (6.3, table 3): it holds again without a dialogue.
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("will/#")
    device = withWill(world, clean=False)
    device.say(Packet(DISCONNECT)).heard()
    device.connect(duration=10, cleanSession=False)
    world.advance(20)
    assert watcher.payloads() == [b"gone"]
    device.connect(duration=10, cleanSession=True)
    world.advance(20)
    device.connect(duration=10, cleanSession=False)
    world.advance(20)
    watcher.expectNothing()


# Publishing


def test_registers() -> None:
    """
    REGISTER is answered with a number; a filter has none.
    """
    device = World(max_topics=128).device().connect()
    device.say(Register(0, 7, "a/b"), Register(0, 8, "a/b"), Register(0, 9, "a/+"))
    device.expect(
        Packet(REGACK, 7, ACCEPTED, 1), Packet(REGACK, 8, ACCEPTED, 1), Packet(REGACK, 9, INVALID_TOPIC, 0)
    )
    for count in range(127):
        device.register(f"t/{count}")
    device.say(Register(0, 9, "one/more")).expect(Packet(REGACK, 9, CONGESTION, 0))


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
        device.expect(Packet(PUBACK, msgID, ACCEPTED, topicID))
    else:
        device.expect(Packet(PUBREC, msgID))
        device.publish(topicID, b"x", 2, msgID=msgID, dup=True)
        device.expect(Packet(PUBREC, msgID))
        device.say(Packet(PUBREL, msgID), Packet(PUBREL, msgID))
        device.expect(Packet(PUBCOMP, msgID), Packet(PUBCOMP, msgID))
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
    device.expect(*[Packet(PUBACK, 5, ACCEPTED, topicID)] * 4)
    assert watcher.payloads() == [b"1", b"2", b"2"]


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
    device.expect(Packet(PUBACK, msgID, INVALID_TOPIC, 9))
    msgID = device.publish(0x2361, b"x", qos, idType=SHORT)  # "#a"
    device.expect(Packet(PUBACK, msgID, INVALID_TOPIC, 0x2361))


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_publishNotAllowed(qos: int) -> None:
    """
    What access rules forbid is refused, and a message of QoS 2 leaves nothing behind.
    """
    world = World()
    world.broker.hooks.clientCheckAcl.add(lambda client, action, topic, verdict: "deny")
    device = world.device().connect()
    topicID = device.register("a/b")
    for _ in range(2):
        device.publish(topicID, b"x", qos, msgID=3)
        device.expect(Packet(PUBACK, 3, NOT_SUPPORTED, topicID))


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
    asked.pop().callback("allow")
    world.clock.advance(0)
    while asked:
        asked.pop().callback("allow")
    acks = [packet.msgID for packet in device.heard()]
    assert acks == list(range(100, 133))
    assert watcher.payloads() == [b"%d" % count for count in range(33)]


# Subscribing


def test_subscribes() -> None:
    """
    A name comes with its number, a filter with none; a retained message follows.
    """
    world = World(topics={5: "pre/five"})
    world.mqtt().publish("a/b", b"kept", retain=True)
    device = world.device().connect()
    device.say(Subscribe(SUBSCRIBE, 1, "a/b", qos=1))
    device.expect(Suback(1, 1, ACCEPTED, 1), Publish(1, b"kept", retain=True))
    device.say(Subscribe(SUBSCRIBE, 2, "x/+", qos=2)).expect(Suback(0, 2, ACCEPTED, 2))
    device.say(Subscribe(SUBSCRIBE, 3, "", 5, PREDEFINED)).expect(Suback(5, 3, ACCEPTED))
    device.say(Subscribe(SUBSCRIBE, 4, "ab", 0, SHORT)).expect(Suback(0, 4, ACCEPTED))
    device.say(Subscribe(SUBSCRIBE, 5, "", 6, PREDEFINED)).expect(Suback(0, 5, INVALID_TOPIC))
    device.say(Subscribe(SUBSCRIBE, 6, "a/#/b")).expect(Suback(0, 6, INVALID_TOPIC))
    peer = world.mqtt("other")
    peer.publish("pre/five", b"1").publish("ab", b"2")
    device.expect(Publish(5, b"1", idType=PREDEFINED), Publish(0x6162, b"2", idType=SHORT))


def test_repeatedSubscribe() -> None:
    """
    A SUBSCRIBE that comes again, marked so, is answered again and brings no retained messages twice.
    """
    world = World()
    world.mqtt().publish("a/b", b"kept", retain=True)
    device = world.device().connect()
    device.say(Subscribe(SUBSCRIBE, 1, "a/b"))
    assert len(device.heard()) == 2
    device.say(Subscribe(SUBSCRIBE, 1, "a/b", dup=True)).expect(Suback(1, 1, ACCEPTED))


def test_subscribeNotAllowed() -> None:
    """
    A filter that access rules forbid is refused in SUBACK.
    """
    world = World()
    world.broker.hooks.clientCheckAcl.add(lambda client, action, topic, verdict: "deny")
    device = world.device().connect()
    device.say(Subscribe(SUBSCRIBE, 1, "a/b")).expect(Suback(0, 1, NOT_SUPPORTED))


def test_unsubscribes() -> None:
    """
    UNSUBSCRIBE ends it, by name and by number; what was not subscribed is answered too.
    """
    world = World(topics={5: "pre/five"})
    device = world.device().connect()
    device.subscribe("a/b")
    device.say(Subscribe(SUBSCRIBE, 2, "", 5, PREDEFINED)).heard()
    device.say(Subscribe(UNSUBSCRIBE, 3, "a/b"), Subscribe(UNSUBSCRIBE, 4, "", 5, PREDEFINED))
    device.say(Subscribe(UNSUBSCRIBE, 5, "nothing"), Subscribe(UNSUBSCRIBE, 6, "", 9, PREDEFINED))
    device.expect(*[Packet(UNSUBACK, msgID) for msgID in (3, 4, 5, 6)])
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
    device.expect(Publish(topicID, b"1"))


# Being told


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
    assert packet == Publish(topicID, b"x", 2, packet.msgID)
    device.say(Packet(PUBREC, packet.msgID)).expect(Packet(PUBREL, packet.msgID))
    device.say(Packet(PUBREC, packet.msgID)).expect(Packet(PUBREL, packet.msgID))
    device.say(Packet(PUBCOMP, packet.msgID)).expectNothing()
    assert not world.broker.sessions[device.name].inflight


def test_sendsAgain() -> None:
    """
    What is not acknowledged goes out again, marked, N_retry times; then the client is lost, and a session that is not
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
    device.expect(*[Publish(topicID, b"x", 1, first.msgID, dup=True)] * 2)
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
    device.say(Packet(DISCONNECT)).heard()
    world.mqtt().publish("a/b", b"missed", 1, packetID=1)
    moved = world.device(device.name).connect(cleanSession=False)
    moved.expectRegister("a/b")
    moved.puback(moved.expectPublish(b"missed"))
    moved.say(Packet(DISCONNECT)).heard()
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
    assert world.broker.counters.messages_delivered == 1
    assert world.broker.router.tree.match("site/a/b").subscriptions


def test_shutDown() -> None:
    """
    A gateway that closes says so to all.
    """
    world = World()
    devices = [world.device().connect() for _ in range(3)]
    world.gateway.sendAllAway()
    for device in devices:
        device.expect(Packet(DISCONNECT))
    assert not world.gateway.clients and not world.broker.clients
