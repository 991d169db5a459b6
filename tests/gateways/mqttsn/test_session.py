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
    Connect,
    Packet,
    WillTopic,
)
from tests.kits.mqttsn import World


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
        "sensor",
        "mqtt-sn",
        "MQTT-SN",
        "10.1.2.3",
    )
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


def test_replaced() -> None:
    """
    A CONNECT from the same address replaces who was there: the same client has not died, of another that is assumed.
    """
    world = World()
    watcher = world.mqtt()
    watcher.subscribe("#")
    device = withWill(world)
    device.say(Connect(device.name)).expect(accepted())
    watcher.expectNothing()
    other = withWill(world)
    other.say(Connect("somebody else")).expect(accepted())
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
