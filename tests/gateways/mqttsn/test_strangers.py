"""
Addresses that nobody knows, gateways that are looked for, forwarders, and messages of QoS -1.
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.mqttsn.codec import decode, encode
from gateways.mqttsn.packets import (
    ACCEPTED,
    ADVERTISE,
    CONNACK,
    DISCONNECT,
    GWINFO,
    NAMES,
    PINGREQ,
    PINGRESP,
    PREDEFINED,
    SEARCHGW,
    SHORT,
    Encapsulated,
    GatewayInfo,
    SNConnect,
    SNPacket,
    SNPublish,
)
from tests.gateways.mqttsn.test_codec import CASES
from tests.kits.mqttsn import Device, World
from twisted_mqtt.config.values import Bind
from twisted_mqtt.hooks.verdicts import ALLOW, DENY


def memoryOf(world: World) -> int:
    """
    How much the gateway remembers of anybody.
    """
    gateway = world.gateway
    return len(gateway.clients) + len(gateway._parted) + len(gateway._wills) + len(world.broker.sessions)


def test_searched() -> None:
    """
    A client that looks for a gateway is told of this one (6.1).
    """
    world = World(gateway_id=7)
    device = world.device().say(GatewayInfo(SEARCHGW, radius=1))
    device.expect(GatewayInfo(GWINFO, 7))
    assert memoryOf(world) == 0


def test_advertises() -> None:
    """
    ADVERTISE goes to the address of the configuration.
    """
    world = World(gateway_id=7, advertise_duration=120.0)
    world.gateway.advertise(Bind("239.1.2.3", 1885))
    assert [decode(data) for data in world.net.arrived[("239.1.2.3", 1885)]] == [
        GatewayInfo(ADVERTISE, 7, duration=120)
    ]


@pytest.mark.parametrize("text, packet", [case for case in CASES if case[1].type not in (4, 0xFE)])
def test_strangersCostNothing(text: str, packet: SNPacket) -> None:
    """
    Nothing but a CONNECT makes the gateway remember anything, or send more bytes than it got.
    """
    world = World()
    device = world.device().say(packet)
    answers = world.net.arrived.get(device.address, [])
    assert sum(map(len, answers)) <= len(bytes.fromhex(text))
    assert memoryOf(world) == 0


def test_believesToBeConnected() -> None:
    """
    A client that the gateway does not know any more is told so.
    """
    device = World().device()
    for packet in (
        SNPublish(1, b"x"),
        SNPacket(PINGREQ),
        SNPacket(PINGREQ, data=b"x"),
        SNPacket(DISCONNECT, duration=9),
    ):
        device.say(packet).expect(SNPacket(DISCONNECT))


@pytest.mark.parametrize("kind", sorted(set(NAMES) - {0xFE}))
def test_twoGateways(kind: int) -> None:
    """
    Two gateways that hear each other do not talk for ever, whatever one of them says first.
    """
    [packet] = [packet for _, packet in CASES if packet.type == kind][:1]
    worlds = [World(), World()]
    devices = [world.device("the other") for world in worlds]
    going = [encode(packet)]
    for turn in range(20):
        devices[turn % 2].say(*going)
        going = worlds[turn % 2].net.arrived.pop(devices[turn % 2].address, [])
        if not going:
            return
    raise AssertionError(f"they still say {going}")


def test_lostGoodbye() -> None:
    """
    A DISCONNECT whose answer was lost is answered again for a while; that of a stranger is not.
    """
    world = World()
    world.device().say(SNPacket(DISCONNECT)).expectNothing()
    device = world.device().connect()
    for _ in range(3):
        device.say(SNPacket(DISCONNECT)).expect(SNPacket(DISCONNECT))
    world.advance(61)
    device.say(SNPacket(DISCONNECT)).expectNothing()


def test_partedAreForgotten() -> None:
    """
    However many come and go, no more than a bound is remembered of them.
    """
    world = World(max_conn_rate=100_000)
    for _ in range(1500):
        world.device().connect().say(SNPacket(DISCONNECT)).heard()
    assert memoryOf(world) <= 1024


# QoS -1


def test_unconnected() -> None:
    """
    Where the configuration lets it, anybody may publish to short and predefined topics; that many do costs no more
    than that one does.
    """
    world = World(enable_qos3=True, topics={1: "pre/one"})
    watcher = world.mqtt()
    watcher.subscribe("#")
    for _ in range(10):
        device = world.device()
        device.say(
            SNPublish(1, b"1", -1, idType=PREDEFINED),
            SNPublish(0x6162, b"2", -1, idType=SHORT),
            SNPublish(1, b"3", -1),
            SNPublish(9, b"4", -1, idType=PREDEFINED),
        ).expectNothing()
    arrived: list[Any] = watcher.receive()
    assert [(each.topic, each.payload, each.qos) for each in arrived] == [("pre/one", b"1", 0), ("ab", b"2", 0)] * 10
    assert set(world.broker.clients) == {"mqtt", "mqtt-sn-gateway-1"}
    world.gateway.sendAllAway()
    assert set(world.broker.clients) == {"mqtt"}


def test_unconnectedIsOff() -> None:
    """
    Without that, it is ignored.
    """
    world = World(topics={1: "pre/one"})
    watcher = world.mqtt()
    watcher.subscribe("#")
    world.device().say(SNPublish(1, b"1", -1, idType=PREDEFINED)).expectNothing()
    watcher.expectNothing()


def test_unconnectedIsAuthorized() -> None:
    """
    Access rules hold for it, and so does authentication: a gateway that is sent away comes back with the next message.
    """
    world = World(enable_qos3=True, topics={1: "pre/one", 2: "pre/two"})
    watcher = world.mqtt()
    watcher.subscribe("#")
    rules = world.broker.hooks.clientCheckAcl
    rules.add(lambda client, action, topic, verdict: DENY if topic == "pre/two" else ALLOW)
    device = world.device()
    device.say(SNPublish(2, b"2", -1, idType=PREDEFINED), SNPublish(1, b"1", -1, idType=PREDEFINED))
    assert watcher.payloads() == [b"1"]
    world.broker.kick("mqtt-sn-gateway-1", 0x98)
    device.say(SNPublish(1, b"1", -1, idType=PREDEFINED))
    assert watcher.payloads() == [b"1"]


def test_unconnectedRefused() -> None:
    """
    Where nobody comes in without credentials, nobody publishes without a connection.
    """
    world = World(zone={"allow_anonymous": False}, enable_qos3=True, topics={1: "pre/one"})
    world.device().say(SNPublish(1, b"1", -1, idType=PREDEFINED)).expectNothing()
    assert not world.broker.clients


def test_unconnectedByAClient() -> None:
    """
    A client that is connected may use QoS -1 as well, and is the publisher.
    """
    world = World(topics={1: "pre/one"})
    watcher = world.mqtt()
    watcher.subscribe("#")
    device = world.device().connect()
    device.publish(1, b"1", -1, idType=PREDEFINED)
    device.expectNothing()
    assert watcher.payloads() == [b"1"]


# Forwarders


class Behind(Device):
    """
    A device behind a forwarder.
    """

    def __init__(self, world: World, forwarder: Any, node: bytes, name: str) -> None:
        super().__init__(world, forwarder, name)
        self.node = node

    def say(self, *packets: SNPacket | bytes) -> Device:
        """
        See L{Device.say}.
        """
        return super().say(*[Encapsulated(self.node, encode(p) if isinstance(p, SNPacket) else p) for p in packets])

    def heard(self) -> list[Any]:
        """
        See L{Device.heard}.
        """
        waiting = self.world.net.arrived.get(self.address, [])
        mine = [data for data in waiting if data[3 : data[0]] == self.node]
        self.world.net.arrived[self.address] = [data for data in waiting if data not in mine]
        return [decode(data[data[0] :]) for data in mine]

    def next(self) -> Any:
        """
        See L{Device.next}.
        """
        packets = self.heard()
        assert len(packets) == 1, packets
        return packets[0]


def test_forwarder() -> None:
    """
    Clients behind one forwarder are clients of their own, each told what is its.
    """
    world = World()
    left = Behind(world, ("10.0.0.9", 9), b"\x01", "left").connect()
    right = Behind(world, ("10.0.0.9", 9), b"\x02\x03", "right").connect()
    direct = Device(world, ("10.0.0.9", 9), "direct")
    left.subscribe("from/right")
    topicID = right.register("from/right")
    right.publish(topicID, b"hello")
    left.expectPublish(b"hello")
    right.expectNothing()
    right.say(SNPacket(PINGREQ)).expect(SNPacket(PINGRESP))
    world.net.arrived.clear()
    direct.say(SNPacket(PINGREQ)).expect(SNPacket(DISCONNECT))
    assert world.broker.clients["left"].peerHost == "10.0.0.9"


def test_envelopeInAnEnvelope() -> None:
    """
    A forwarder does not forward another's envelope.
    """
    world = World()
    device = world.device()
    device.say(Encapsulated(b"1", encode(Encapsulated(b"2", encode(SNConnect("x"))))))
    device.expectNothing()
    assert world.gateway.malformed == 1


# Anything at all


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=40)), max_size=40))
def test_noise(datagrams: list[tuple[int, bytes]]) -> None:
    """
    Whatever comes, nothing is raised, and a client at another address does not notice.
    """
    world = World(enable_qos3=True)
    device = world.device("one of ours").connect()
    strangers = [world.device() for _ in range(4)]
    for sender, data in datagrams:
        strangers[sender].say(data)
    world.advance(3)
    device.say(SNPacket(PINGREQ)).expect(SNPacket(PINGRESP))


_TYPES = st.sampled_from(sorted(NAMES))
_BODIES = st.one_of(
    st.binary(max_size=12),
    st.builds(lambda head, rest: bytes(head) + rest, st.lists(st.integers(0, 5), min_size=5, max_size=7), st.binary()),
)


@given(st.lists(st.tuples(st.integers(0, 3), _TYPES, _BODIES), max_size=60))
def test_wellFormedNoise(messages: list[tuple[int, int, bytes]]) -> None:
    """
    Messages of the right form in no sensible order, from those who are connected too: every state takes every message.
    """
    world = World(enable_qos3=True, max_clients=8)
    devices = [world.device() for _ in range(4)]
    for device in devices[1:]:
        device.connect().subscribe("#", 2)
    for sender, kind, body in messages:
        devices[sender].say(bytes((len(body) + 2, kind)) + body if len(body) < 250 else body)
        if sender == 0:
            world.advance(1)
    world.advance(200)
    assert len(world.gateway.clients) <= 8
    probe = world.device("probe")
    world.gateway.sendAllAway()
    probe.say(SNConnect("probe"))
    assert probe.heard()[0] == SNPacket(CONNACK, code=ACCEPTED)
