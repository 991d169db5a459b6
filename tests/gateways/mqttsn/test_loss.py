"""
Networks that lose, repeat and reorder datagrams: at the end, every message has arrived as its QoS promises.
"""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateways.mqttsn.codec import decode, encode
from gateways.mqttsn.packets import (
    ACCEPTED,
    CONNACK,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    REGACK,
    REGISTER,
    SUBACK,
    SUBSCRIBE,
    SNConnect,
    SNPacket,
    SNPublish,
    SNRegister,
    SNSubscribe,
)
from tests.kits.mqttsn import World

# A client of the specification, not of the gateway: it asks again every two seconds until it is answered.
RETRY = 2
LIMIT = 3000


class BadNetwork:
    """
    Loses, repeats and delays datagrams in both directions, as chance has it, until it is mended.
    """

    def __init__(self, world: World, seed: int, loss: float, repeat: float, delay: float) -> None:
        self._world = world
        self._chance = random.Random(seed)
        self._odds = loss, repeat, delay
        self.clients: dict[Any, Sensor] = {}
        self._late: list[tuple[int, Any, bytes, bool]] = []
        self._turn = 0
        world.gateway.transport = self  # type: ignore[assignment]  # all that is asked of a port here

    def mend(self) -> None:
        """
        From now on everything arrives.
        """
        self._odds = 0.0, 0.0, 0.0

    def write(self, data: bytes, address: Any) -> None:
        """
        From the gateway.
        """
        self.carry(data, address, False)

    def carry(self, data: bytes, address: Any, up: bool) -> None:
        """
        A datagram is on its way; it arrives in a turn to come, or in none.
        """
        loss, repeat, delay = self._odds
        chance = self._chance.random
        if chance() < loss:
            return
        # Later than the sender's patience, it could not be told from a new message with the same identifier.
        late = 1 if chance() < delay else 0
        for _ in range(2 if chance() < repeat else 1):
            self._late.append((self._turn + late, address, data, up))

    def turn(self) -> None:
        """
        Let a second pass.
        """
        self._world.clock.advance(1)
        for client in self.clients.values():
            client.tick()
        # Answers arrive in this second too, as far as the network lets them.
        for _ in range(20):
            due = [each for each in self._late if each[0] <= self._turn]
            if not due:
                break
            self._late = [each for each in self._late if each[0] > self._turn]
            for _, address, data, up in due:
                if up:
                    self._world.gateway.datagramReceived(data, address)
                elif address in self.clients:
                    self.clients[address].received(decode(data))
        self._turn += 1


class Sensor:
    """
    A correct client, with the patience to repeat itself.
    """

    def __init__(self, network: BadNetwork, address: Any, name: str) -> None:
        self.name = name
        self.got: list[bytes] = []
        self.topics: dict[int, str] = {}
        self._network = network
        self._address = address
        self._todo: list[tuple[SNPacket, int]] = []
        self._since = 0
        self._sent = False
        self._msgID = 0
        self._unreleased: dict[int, bytes] = {}
        self._taken: list[tuple[int, bytes]] = []
        network.clients[address] = self

    @property
    def done(self) -> bool:
        """
        Whether everything that it wanted was answered.
        """
        return not self._todo

    def want(self, packet: SNPacket, answer: int) -> None:
        """
        Say something, after all before it was answered, and until it is answered itself.
        """
        if packet.type in (PUBLISH, SUBSCRIBE, REGISTER):
            self._msgID += 1
            packet.msgID = self._msgID
        self._todo.append((packet, answer))

    def tick(self) -> None:
        """
        A second has passed.
        """
        if not self._todo:
            return
        packet, _ = self._todo[0]
        if not self._sent or self._since >= RETRY:
            if self._sent and isinstance(packet, SNPublish | SNSubscribe):
                packet.dup = True
            self._sent = True
            self._since = 0
            self._send(packet)
        self._since += 1

    def received(self, packet: Any) -> None:
        """
        The gateway says something.
        """
        kind = packet.type
        if kind == REGISTER:
            self.topics[packet.topicID] = packet.topic
            self._send(SNPacket(REGACK, packet.msgID, ACCEPTED, packet.topicID))
        elif kind == PUBLISH:
            self._message(packet)
        elif kind == PUBREL:
            payload = self._unreleased.pop(packet.msgID, None)
            if payload is not None:
                self.got.append(payload)
                self._taken.append((packet.msgID, payload))
            self._send(SNPacket(PUBCOMP, packet.msgID))
        elif self._todo:
            wanted, answer = self._todo[0]
            if kind == answer and (kind in (CONNACK, DISCONNECT, PINGRESP) or packet.msgID == wanted.msgID):
                assert packet.code == ACCEPTED, packet
                if kind in (REGACK, SUBACK) and packet.topicID and isinstance(wanted, SNRegister | SNSubscribe):
                    self.topics[packet.topicID] = wanted.topic
                self._todo.pop(0)
                self._sent = False
                if kind == PUBREC:
                    self._todo.insert(0, (SNPacket(PUBREL, packet.msgID), PUBCOMP))

    def _message(self, packet: SNPublish) -> None:
        # It was told the topic before the message, or it could not take it.
        assert packet.topicID in self.topics, packet
        if packet.qos == 2:
            if packet.dup and (packet.msgID, packet.data) in self._taken:
                return
            self._unreleased[packet.msgID] = packet.data
            self._send(SNPacket(PUBREC, packet.msgID))
            return
        self.got.append(packet.data)
        if packet.qos == 1:
            self._send(SNPacket(PUBACK, packet.msgID, ACCEPTED, packet.topicID))

    def _send(self, packet: SNPacket) -> None:
        self._network.carry(encode(packet), self._address, True)


def settle(network: BadNetwork, *sensors: Sensor) -> None:
    """
    Let time pass until they have said all that they want.
    """
    for _ in range(LIMIT):
        if all(sensor.done for sensor in sensors):
            return
        network.turn()
    raise AssertionError("they never come to an end")


def connected(network: BadNetwork, number: int, filters: str = "", qos: int = 0) -> Sensor:
    """
    A client that has come in, and has subscribed if it is to.
    """
    sensor = Sensor(network, ("10.0.0.1", number), f"sensor{number}")
    sensor.want(SNConnect(sensor.name, False), CONNACK)
    settle(network, sensor)
    if filters:
        sensor.want(SNSubscribe(SUBSCRIBE, 0, filters, qos=qos), SUBACK)
        settle(network, sensor)
    return sensor


ODDS = st.floats(0.0, 0.4)


@given(st.integers(0, 2**32), ODDS, ODDS, ODDS, st.integers(1, 2), st.booleans())
def test_everythingArrives(seed: int, loss: float, repeat: float, delay: float, qos: int, sleeps: bool) -> None:
    """
    QoS 1 arrives at least once and QoS 2 exactly once, in the order in which it was sent; from device to device, over
    topics that the receiver has to be told of, and to one that sleeps in between as well.
    """
    # With so many repetitions nobody is given up before the network is mended.
    world = World(retry_interval=2.0, max_retries=50, idle_timeout=600.0)
    network = BadNetwork(world, seed, 0.0, 0.0, 0.0)
    listener = connected(network, 1, "data/#", qos)
    talker = connected(network, 2)
    topicIDs = []
    for count in range(3):
        talker.want(SNRegister(0, 0, f"data/{count}"), REGACK)
        settle(network, talker)
        topicIDs.append(next(key for key, topic in talker.topics.items() if topic == f"data/{count}"))
    network._odds = loss, repeat, delay
    if sleeps:
        listener.want(SNPacket(DISCONNECT, duration=3600), DISCONNECT)
        settle(network, listener)
    sent = [b"%d" % number for number in range(8)]
    for number, payload in enumerate(sent):
        talker.want(SNPublish(topicIDs[number % 3], payload, qos), PUBACK if qos == 1 else PUBREC)
    settle(network, talker)
    network.mend()
    if sleeps:
        listener.want(SNPacket(PINGREQ, data=listener.name.encode()), PINGRESP)
    for _ in range(60):
        network.turn()
    assert talker.done and listener.done
    if qos == 2:
        assert listener.got == sent
    else:
        assert sorted(set(listener.got)) == sent
    assert not world.broker.sessions[listener.name].inflight
    assert world.broker.sessions[listener.name].queueLength == 0


@given(st.integers(0, 2**32), ODDS, ODDS, ODDS)
def test_comesIn(seed: int, loss: float, repeat: float, delay: float) -> None:
    """
    However bad the network, a client comes in, subscribes and leaves in the end, and nothing of it stays.
    """
    world = World()
    network = BadNetwork(world, seed, loss, repeat, delay)
    sensor = connected(network, 1, "a/b", 1)
    assert list(world.broker.clients) == [sensor.name]
    assert list(world.broker.sessions[sensor.name].subscriptions) == ["a/b"]
    sensor.want(SNPacket(DISCONNECT), DISCONNECT)
    settle(network, sensor)
    network.mend()
    for _ in range(10):
        network.turn()
    assert not world.gateway.clients and not world.broker.clients
