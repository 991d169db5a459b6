"""
A client comes in, has a will, and is sent away.
"""

from typing import Any

from gateways.mqttsn.packets import (
    ACCEPTED,
    CONGESTION,
    CONNACK,
    DISCONNECT,
    INVALID_TOPIC,
    NOT_SUPPORTED,
    PINGREQ,
    PINGRESP,
    SHORT,
    WILLMSG,
    WILLMSGREQ,
    WILLMSGRESP,
    WILLMSGUPD,
    WILLTOPIC,
    WILLTOPICREQ,
    WILLTOPICRESP,
    WILLTOPICUPD,
    SNConnect,
    SNPacket,
    SNWillTopic,
)
from tests.kits.mqttsn import World
from twisted_mqtt.hooks.verdicts import ALLOW, DENY


def accepted() -> SNPacket:
    """
    CONNACK.
    """
    return SNPacket(CONNACK, code=ACCEPTED)


def withWill(world: World, topic: str = "will/topic", qos: int = 1, duration: int = 10, clean: bool = True) -> Any:
    """
    A device that has connected with a will.
    """
    device = world.device()
    device.say(SNConnect(device.name, clean, True, duration))
    device.expect(SNPacket(WILLTOPICREQ))
    device.say(SNWillTopic(WILLTOPIC, topic, qos))
    device.expect(SNPacket(WILLMSGREQ))
    device.say(SNPacket(WILLMSG, data=b"gone"))
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
        "sensor",
        "mqtt-sn",
        "MQTT-SN",
        "10.1.2.3",
    )
    assert client.keepAlive == 30
    device.say(SNPacket(DISCONNECT))
    device.expect(SNPacket(DISCONNECT))
    assert not world.broker.clients and not world.gateway.clients


def test_repeatedConnect() -> None:
    """
    A CONNECT that comes again, its answer lost, is answered again and changes nothing; after anything else it starts
    the session afresh.
    """
    world = World()
    device = world.device().connect()
    first = world.broker.clients[device.name]
    device.say(SNConnect(device.name))
    device.expect(accepted())
    assert world.broker.clients[device.name] is first
    device.register("a/b")
    device.say(SNConnect(device.name))
    device.expect(accepted())
    assert world.broker.clients[device.name] is not first
    device.publish(1, b"", 1)
    assert device.next().code == INVALID_TOPIC


def test_anotherProtocol() -> None:
    """
    A version that is not 1.2 is refused in words.
    """
    world = World()
    device = world.device().say(SNConnect("x", protocolID=2))
    device.expect(SNPacket(CONNACK, code=NOT_SUPPORTED))
    assert not world.gateway.clients


def test_refusedByTheBroker() -> None:
    """
    A client that may not come in is told, and nothing of it stays.
    """
    world = World(zone={"allow_anonymous": False})
    device = world.device().say(SNConnect("x"))
    device.expect(SNPacket(CONNACK, code=NOT_SUPPORTED))
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
    third.say(SNConnect(third.name)).expect(SNPacket(CONNACK, code=CONGESTION))
    assert world.broker.counters.connections_refused_full == 1
    first.say(SNPacket(DISCONNECT)).heard()
    third.say(SNConnect(third.name)).expect(accepted())
    second.say(SNPacket(DISCONNECT)).heard()
    second.say(SNConnect(second.name)).expect(SNPacket(CONNACK, code=CONGESTION))
    world.advance(1)
    second.say(SNConnect(second.name)).expect(accepted())


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
    old.expect(SNPacket(DISCONNECT))
    watcher.expectNothing()
    old.publish(0x6162, b"", 1, idType=SHORT)
    old.expect(SNPacket(DISCONNECT))
    moved.say(SNPacket(PINGREQ)).expect(SNPacket(PINGRESP))


def test_replaced() -> None:
    """
    A CONNECT from the same address replaces who was there: the same client has not died, of another that is assumed.
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("#")
    device = withWill(world)
    device.say(SNConnect(device.name)).expect(accepted())
    watcher.expectNothing()
    other = withWill(world)
    other.say(SNConnect("somebody else")).expect(accepted())
    assert watcher.payloads() == [b"gone"]
    assert set(world.broker.clients) == {"mqtt", device.name, "somebody else"}


def test_kicked() -> None:
    """
    One whom the broker sends away is told, and its will is not published (6.2 of the specification).
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("#")
    device = withWill(world)
    world.broker.kick(device.name, 0x98)
    device.expect(SNPacket(DISCONNECT))
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
    device.say(SNPacket(PINGREQ)).expect(SNPacket(PINGRESP))
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
    withWill(world).say(SNPacket(DISCONNECT))
    watcher.expectNothing()


def test_willUpdates() -> None:
    """
    Topic and message of a will can be changed while connected (6.4).
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("#")
    device = withWill(world)
    device.say(SNWillTopic(WILLTOPICUPD, "other/topic", 2)).expect(SNPacket(WILLTOPICRESP, code=ACCEPTED))
    device.say(SNPacket(WILLMSGUPD, data=b"otherwise")).expect(SNPacket(WILLMSGRESP, code=ACCEPTED))
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
    device.say(SNWillTopic(WILLTOPICUPD)).expect(SNPacket(WILLTOPICRESP, code=ACCEPTED))
    device.say(SNPacket(WILLMSGUPD, data=b"x")).expect(SNPacket(WILLMSGRESP, code=NOT_SUPPORTED))
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
    world.broker.hooks.clientCheckAcl.add(lambda client, action, topic, verdict: DENY if topic == "secret" else ALLOW)
    device.say(SNWillTopic(WILLTOPICUPD, "secret")).expect(SNPacket(WILLTOPICRESP, code=NOT_SUPPORTED))
    device.say(SNWillTopic(WILLTOPICUPD, "a/+")).expect(SNPacket(WILLTOPICRESP, code=INVALID_TOPIC))
    other = world.device()
    other.say(SNConnect(other.name, will=True), SNWillTopic(WILLTOPIC, "secret"), SNPacket(WILLMSG, data=b""))
    assert other.heard()[-1] == SNPacket(CONNACK, code=NOT_SUPPORTED)
    world.advance(20)
    packet: Any = watcher.next()
    assert packet.topic == "will/topic"


def test_willDialogueWithoutWill() -> None:
    """
    A client that is asked for a will may have none.
    """
    device = World().device()
    device.say(SNConnect(device.name, will=True)).expect(SNPacket(WILLTOPICREQ))
    device.say(SNWillTopic(WILLTOPIC)).expect(accepted())


def test_willDialogueLost() -> None:
    """
    Questions about the will are asked again, and no longer than a client may take to come in.
    """
    world = World(retry_interval=5.0, idle_timeout=12.0)
    device = world.device()
    device.say(SNConnect(device.name, will=True))
    world.advance(7)
    device.expect(SNPacket(WILLTOPICREQ), SNPacket(WILLTOPICREQ))
    world.advance(10)
    assert device.heard()[-1] == SNPacket(CONNACK, code=NOT_SUPPORTED)
    assert not world.gateway.clients and not world.broker.clients


def test_willTopicIsNone() -> None:
    """
    A will for a filter is refused.
    """
    device = World().device()
    device.say(SNConnect(device.name, will=True), SNWillTopic(WILLTOPIC, "a/#"))
    assert device.heard()[-1] == SNPacket(CONNACK, code=INVALID_TOPIC)


def test_willKeptWithTheSession() -> None:
    """
    A session that is not clean keeps its will (6.3, table 3): it holds again without a dialogue.
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("will/#")
    device = withWill(world, clean=False)
    device.say(SNPacket(DISCONNECT)).heard()
    device.connect(duration=10, cleanSession=False)
    world.advance(20)
    assert watcher.payloads() == [b"gone"]
    device.connect(duration=10, cleanSession=True)
    world.advance(20)
    device.connect(duration=10, cleanSession=False)
    world.advance(20)
    watcher.expectNothing()
