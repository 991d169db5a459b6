"""
One LwM2M device, managed through every other protocol of the broker: whoever may publish and subscribe gives commands
and hears answers and notifications.
"""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import Iterator
from typing import Any

import aiocoap
import pytest

from gateways.mqttsn.packets import PUBACK, REGISTER, SUBACK, SUBSCRIBE, SNPacket, SNPublish, SNRegister, SNSubscribe
from tests.system.lwm2m.conftest import MakeDevice, startGateway
from tests.system.lwm2m.device import Device, Loop
from tests.system.paho_peer import VERSIONS, Peer
from tests.system.process import PATIENCE, Broker
from tests.system.test_mqttsn import UDPClient
from tests.system.test_stomp import StompPeer

REGACK = 0x0B


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Broker]:
    """
    A broker with all gateways.
    """
    if request.config.getoption("--reference"):
        pytest.skip("the reference has no gateways")
    tables = {
        "plugins": {"load": ["stomp", "mqttsn", "coap", "lwm2m"]},
        "stomp": {"listener": {"bind": "127.0.0.1:0"}},
        "mqtt": {"sn": {"port": "127.0.0.1:0"}},
        "coap": {"port": "127.0.0.1:0"},
        "lwm2m": {"port": "127.0.0.1:0"},
    }
    broker = startGateway(tmp_path_factory.mktemp("everything"), tables, 5)
    yield broker
    broker.stop()


class Way:
    """
    A client of some protocol, subscribed to what is said of a device.
    """

    def __init__(self, broker: Broker, endpoint: str) -> None:
        self.topics = [f"lwm2m/{endpoint}/up/resp", f"lwm2m/{endpoint}/up/notify"]
        self.commands = f"lwm2m/{endpoint}/dn"
        self.begin(broker, endpoint)

    def begin(self, broker: Broker, endpoint: str) -> None:
        """
        Connect and subscribe.
        """
        raise NotImplementedError

    def publish(self, payload: str) -> None:
        """
        Give a command.
        """
        raise NotImplementedError

    def hear(self) -> tuple[str, bytes]:
        """
        The next message: topic and payload.
        """
        raise NotImplementedError

    def end(self) -> None:
        """
        Go.
        """

    def next(self) -> dict[str, Any]:
        """
        Get the next message.
        """
        topic, payload = self.hear()
        said: dict[str, Any] = json.loads(payload)
        assert topic == self.topics[said["msgType"] == "notify"]
        return said


class OverMQTT(Way):
    """
    Paho, of each version.
    """

    version = VERSIONS[-1]

    def begin(self, broker: Broker, endpoint: str) -> None:
        self._peer = Peer(broker, f"m{self.version}{endpoint}"[:23], self.version).connect()
        for topic in self.topics:
            self._peer.subscribe(topic)

    def publish(self, payload: str) -> None:
        self._peer.publish(self.commands, payload)

    def hear(self) -> tuple[str, bytes]:
        message = self._peer.receive()
        return message.topic, message.payload

    def end(self) -> None:
        self._peer.disconnect()


class OverMQTT31(OverMQTT):
    version = VERSIONS[0]


class OverMQTT311(OverMQTT):
    version = VERSIONS[1]


class OverSTOMP(Way):
    """
    stomp.py.
    """

    def begin(self, broker: Broker, endpoint: str) -> None:
        self._peer = StompPeer(broker, "1.2")
        for number, topic in enumerate(self.topics):
            self._peer.subscribe(topic, name=str(number))

    def publish(self, payload: str) -> None:
        self._peer.do("send", self.commands, payload)

    def hear(self) -> tuple[str, bytes]:
        headers, body = self._peer.message()
        return headers["destination"], body.encode()

    def end(self) -> None:
        self._peer.connection.disconnect()


class OverMQTTSN(Way):
    """
    Datagrams of MQTT-SN.
    """

    def begin(self, broker: Broker, endpoint: str) -> None:
        self._client = UDPClient(broker, f"sn{endpoint}")
        self._names: dict[int, str] = {}
        for number, topic in enumerate(self.topics, 1):
            granted = self._client.ask(SNSubscribe(SUBSCRIBE, number, topic))
            assert granted.type == SUBACK
            self._names[granted.topicID] = topic
        self._commands = self._client.ask(SNRegister(0, 9, self.commands)).topicID
        self._came: list[Any] = []

    def publish(self, payload: str) -> None:
        self._client.say(SNPublish(self._commands, payload.encode(), 1, 10))
        while (packet := self._client.hear()).type != PUBACK:
            self._came.append(packet)

    def hear(self) -> tuple[str, bytes]:
        while True:
            packet = self._came.pop(0) if self._came else self._client.hear()
            if packet.type == REGISTER:
                self._names[packet.topicID] = packet.topic
                self._client.say(SNPacket(REGACK, packet.msgID, 0, packet.topicID))
                continue
            return self._names[packet.topicID], packet.data

    def end(self) -> None:
        self._client.close()


class OverCoAP(Way):
    """
    aiocoap, which observes both topics.
    """

    loop: Loop

    def begin(self, broker: Broker, endpoint: str) -> None:
        self._base = f"coap://127.0.0.1:{broker.ports['coap']}/mqtt/"
        self._query = f"?c=coap{endpoint}"
        self._came: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.loop.run(self._observe())

    async def _observe(self) -> None:
        self._context = await aiocoap.Context.create_client_context()
        self._tasks = []
        for topic in self.topics:
            message = aiocoap.Message(code=aiocoap.GET, uri=self._base + topic + self._query, observe=0)
            request = self._context.request(message)
            await request.response
            self._tasks.append(asyncio.ensure_future(self._read(topic, request)))

    async def _read(self, topic: str, request: Any) -> None:
        async for notification in request.observation:
            self._came.put((topic, notification.payload))

    def publish(self, payload: str) -> None:
        self.loop.run(self._put(payload))

    async def _put(self, payload: str) -> None:
        uri = self._base + self.commands + self._query
        message = aiocoap.Message(code=aiocoap.PUT, uri=uri, payload=payload.encode())
        response = await self._context.request(message).response
        assert response.code == aiocoap.CHANGED

    def hear(self) -> tuple[str, bytes]:
        return self._came.get(timeout=PATIENCE)

    def end(self) -> None:
        self.loop.run(self._end())

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._context.shutdown()


WAYS = {
    "MQTT 3.1": OverMQTT31,
    "MQTT 3.1.1": OverMQTT311,
    "MQTT 5": OverMQTT,
    "STOMP": OverSTOMP,
    "MQTT-SN": OverMQTTSN,
    "CoAP": OverCoAP,
}


@pytest.fixture
def device(everything: Broker, name: str, makeDevice: MakeDevice) -> Device:
    """
    A device that has not registered yet.
    """
    return makeDevice(everything, name)


@pytest.mark.parametrize("protocol", WAYS)
def test_manages(everything: Broker, device: Device, loop: Loop, protocol: str) -> None:
    """
    Registration, a read, a write, an observation and its notifications, and an instance that is long, over each.
    """
    OverCoAP.loop = loop
    way = WAYS[protocol](everything, device.endpoint)
    try:
        device.register()
        assert way.next()["msgType"] == "register"

        def ask(kind: str, **data: object) -> dict[str, Any]:
            way.publish(json.dumps({"reqID": protocol, "msgType": kind, "data": data}))
            said = way.next()
            assert (said["reqID"], said["msgType"]) == (protocol, kind)
            return dict(said["data"])

        assert ask("read", path="/3/0/9")["content"][0]["value"] == 100
        assert ask("write", path="/3/0/15", type="String", value="Zürich")["code"] == "2.04"
        assert device.objects.values[3, 0, 15] == "Zürich"
        assert ask("observe", path="/3/0/9")["code"] == "2.05"
        for value in (1, 2):
            device.notify("/3/0/9", value)
            said = way.next()
            assert (said["seqNum"], said["data"]["content"][0]["value"]) == (value, value)
        content = ask("read", path="/3/0")["content"]
        assert {"path": "/3/0/15", "value": "Zürich", "name": "Timezone", "type": "String"} in content
    finally:
        way.end()


def test_allAtOnce(everything: Broker, device: Device, loop: Loop) -> None:
    """
    All managers get the same messages about a device, whoever asked.
    """
    OverCoAP.loop = loop
    ways = {protocol: way(everything, device.endpoint) for protocol, way in WAYS.items()}
    try:
        device.register()
        assert {way.next()["msgType"] for way in ways.values()} == {"register"}
        for protocol, way in ways.items():
            way.publish(json.dumps({"reqID": protocol, "msgType": "read", "data": {"path": "/3/0/9"}}))
            heard = [each.next() for each in ways.values()]
            assert heard == [heard[0]] * len(ways)
            assert (heard[0]["reqID"], heard[0]["data"]["content"][0]["value"]) == (protocol, 100)
    finally:
        for way in ways.values():
            way.end()
