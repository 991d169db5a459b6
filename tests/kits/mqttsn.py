"""
A gateway without a network, and devices that say what a test has them say.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from gateways.mqttsn.codec import decode, encode
from gateways.mqttsn.packets import (
    ACCEPTED,
    CONNACK,
    PUBACK,
    REGACK,
    SUBACK,
    SUBSCRIBE,
    SNConnect,
    SNPacket,
    SNPublish,
    SNRegister,
    SNSubscribe,
)
from gateways.mqttsn.protocol import MQTTSNProtocol
from gateways.mqttsn.settings import MQTTSNSettings, PredefinedTopics
from tests.kits.stores import Bed
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer


class Net:
    """
    The messages of the gateway, by address.
    """

    def __init__(self) -> None:
        self.arrived: dict[Any, list[bytes]] = {}

    def write(self, data: bytes, address: Any) -> None:
        """
        A datagram of the gateway's.
        """
        self.arrived.setdefault(address, []).append(data)


class World:
    """
    A broker with the gateway.
    """

    def __init__(
        self,
        zone: dict[str, Any] | None = None,
        topics: dict[int, str] | None = None,
        bed: Bed | None = None,
        **keys: Any,
    ) -> None:
        """
        @param zone: keys of the zone.
        @param topics: predefined ones.
        @param bed: of a broker with a store on disk.
        @param keys: of the gateway's table.
        """
        if bed is None:
            self.clock = Clock()
            self.clock.advance(1_000_000)
            self.broker, self.factory = makeBroker(self.clock, **(zone or {}))
        else:
            self.clock, self.broker, self.factory = bed.clock, bed.broker, bed.factory
        self.net = Net()
        self.gateway = MQTTSNProtocol(
            self.broker, MQTTSNSettings(predefined=PredefinedTopics(topic=topics or {}), **keys)
        )
        self.gateway.transport = self.net  # type: ignore[assignment]  # all that is asked of a port here
        self._next = 1

    def device(self, name: str = "", host: str = "10.0.0.1") -> Device:
        """
        A device at an address of its own.
        """
        self._next += 1
        return Device(self, (host, self._next), name or f"device{self._next}")

    def mqtt(self, name: str = "mqtt", **fields: Any) -> Peer:
        """
        An MQTT 5 client, connected.
        """
        peer = Peer(self.factory, self.clock)
        peer.connect(name, **fields)
        return peer

    def advance(self, seconds: float) -> None:
        """
        Let time pass, second by second.
        """
        whole = int(seconds)
        for _ in range(whole):
            self.clock.advance(1)
        self.clock.advance(seconds - whole)


class Device:
    """
    A scripted client.
    """

    def __init__(self, world: World, address: Any, name: str) -> None:
        self.world = world
        self.address = address
        self.name = name
        self._msgID = 0

    # Saying

    def say(self, *packets: SNPacket | bytes) -> Device:
        """
        Send messages.
        """
        for packet in packets:
            data = packet if isinstance(packet, bytes) else encode(packet)
            self.world.gateway.datagramReceived(data, self.address)
        return self

    def connect(self, duration: int = 0, cleanSession: bool = True) -> Device:
        """
        Connect, and expect to be let in.
        """
        self.say(SNConnect(self.name, cleanSession, False, duration))
        answer = self.next()
        assert answer == SNPacket(CONNACK, code=ACCEPTED), answer
        return self

    def subscribe(self, topic: str, qos: int = 0) -> int:
        """
        Subscribe, and expect that to go well; returns the topic identifier.
        """
        msgID = self.msgID()
        self.say(SNSubscribe(SUBSCRIBE, msgID, topic, qos=qos))
        answer = self.next()
        assert (answer.type, answer.msgID, answer.code) == (SUBACK, msgID, ACCEPTED), answer
        return answer.topicID

    def register(self, topic: str) -> int:
        """
        Register a topic, and expect that to go well; returns its identifier.
        """
        msgID = self.msgID()
        self.say(SNRegister(0, msgID, topic))
        answer = self.next()
        assert (answer.type, answer.msgID, answer.code) == (REGACK, msgID, ACCEPTED), answer
        return answer.topicID

    def publish(self, topicID: int, data: bytes, qos: int = 0, **fields: Any) -> int:
        """
        Publish; returns the message identifier.
        """
        msgID = fields.pop("msgID", None)
        if msgID is None:
            msgID = self.msgID() if qos > 0 else 0
        self.say(SNPublish(topicID, data, qos, msgID, **fields))
        return int(msgID)

    def puback(self, packet: SNPacket, code: int = ACCEPTED) -> Device:
        """
        Acknowledge a PUBLISH of QoS 1.
        """
        return self.say(SNPacket(PUBACK, packet.msgID, code, packet.topicID))

    def regack(self, packet: SNPacket, code: int = ACCEPTED) -> Device:
        """
        Acknowledge a REGISTER.
        """
        return self.say(SNPacket(REGACK, packet.msgID, code, packet.topicID))

    def msgID(self) -> int:
        """
        An identifier that was not used yet.
        """
        self._msgID += 1
        return self._msgID

    # Hearing

    def heard(self) -> list[Any]:
        """
        Take the messages since the last call.
        """
        return [decode(data) for data in self.world.net.arrived.pop(self.address, [])]

    def next(self) -> Any:
        """
        The next message, which must be there.
        """
        waiting = self.world.net.arrived.get(self.address)
        assert waiting, "nothing has come"
        return decode(waiting.pop(0))

    def expect(self, *packets: SNPacket) -> None:
        """
        Exactly these must have come.
        """
        assert self.heard() == list(packets)

    def expectNothing(self) -> None:
        """
        Nothing may have come.
        """
        assert self.heard() == []

    def expectRegister(self, topic: str) -> Any:
        """
        The next message must be a REGISTER of this topic; it is acknowledged.
        """
        packet = self.next()
        assert isinstance(packet, SNRegister) and packet.topic == topic, packet
        self.regack(packet)
        return packet

    def expectPublish(self, data: bytes) -> Any:
        """
        The next message must be a PUBLISH with this payload.
        """
        packet = self.next()
        assert isinstance(packet, SNPublish) and packet.data == data, packet
        return packet
