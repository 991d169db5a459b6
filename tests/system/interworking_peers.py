"""
Clients of every protocol that do the same: subscribe, publish, receive. All are other people's.
"""

from __future__ import annotations

import asyncio
import queue
import socket
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

import aiocoap
from mqttsn.lib.connects import Connects
from mqttsn.lib.helpers import get_packet, unpack_packet
from mqttsn.lib.names import CONNACK, PUBLISH, PUBREL, SUBACK, UNSUBACK
from mqttsn.lib.publishes import Pubacks, Pubcomps, Pubrecs
from mqttsn.lib.subscribes import Subscribes
from mqttsn.lib.unsubscribes import Unsubscribes
from mqttsn12.client.MqttSnClient import MqttSnClient

from tests.system.paho_peer import V5, V311, Peer, propertiesOf
from tests.system.process import PATIENCE, Broker
from tests.system.stomp_peer import StompPeer

_FORMATS = {42: "application/octet-stream", 60: "application/cbor"}


@dataclass
class Message:
    """
    A message as it was said or heard. Of what a protocol does not tell, the field is L{None}, or empty.

    @ivar expiry: how many seconds are left.
    """

    topic: str | None
    payload: bytes
    qos: int | None = 0
    retain: bool | None = False
    contentType: str | None = None
    properties: list[tuple[str, str]] = field(default_factory=list)
    expiry: float | None = None


class Talker(Protocol):
    """
    A client that is connected. Whatever it does it has been told of when its method returns.
    """

    def subscribe(self, topic: str) -> None:
        """
        Subscribe; what is retained comes as a message.
        """

    def unsubscribe(self, topic: str) -> None:
        """
        Unsubscribe.
        """

    def publish(self, message: Message) -> None:
        """
        Publish, with as much of it as the protocol can say.
        """

    def receive(self) -> Message:
        """
        The next message; waits for it.
        """

    def close(self) -> None:
        """
        Disconnect.
        """


class MQTT:
    """
    Eclipse Paho.
    """

    def __init__(self, broker: Broker, name: str, version: int = V5, transport: str = "tcp") -> None:
        self._version = version
        self._peer = Peer(broker, name, version, transport=transport).connect()

    def subscribe(self, topic: str) -> None:
        """
        See L{Talker}.
        """
        assert self._peer.subscribe(topic, 2) == 2

    def unsubscribe(self, topic: str) -> None:
        """
        See L{Talker}.
        """
        self._peer.unsubscribe(topic)

    def publish(self, message: Message) -> None:
        """
        See L{Talker}.
        """
        given: dict[str, Any] = {}
        if self._version == V5:
            given = {
                "ContentType": message.contentType,
                "UserProperty": message.properties,
                "MessageExpiryInterval": message.expiry,
            }
        assert message.topic is not None
        wanted = {name: value for name, value in given.items() if value}
        qos, retain = message.qos or 0, bool(message.retain)
        assert self._peer.publish(message.topic, message.payload, qos, retain, **wanted) < 0x80
        if not message.qos:
            # Nobody says when it is taken; what comes after it is answered after it.
            self._peer.unsubscribe("nothing")

    def receive(self) -> Message:
        """
        See L{Talker}.
        """
        heard = self._peer.receive()
        found = propertiesOf(heard) if self._version == V5 else {}
        return Message(
            heard.topic,
            heard.payload,
            heard.qos,
            bool(heard.retain),
            found.get("ContentType"),
            found.get("UserProperty", []),
            found.get("MessageExpiryInterval"),
        )

    def close(self) -> None:
        """
        See L{Talker}.
        """
        self._peer.disconnect()


def mqtt311(broker: Broker, name: str) -> Talker:
    """
    MQTT 3.1.1 over TCP.
    """
    return MQTT(broker, name, V311)


def overWebSocket(broker: Broker, name: str) -> Talker:
    """
    MQTT 5 over WebSocket.
    """
    return MQTT(broker, name, transport="websockets")


# Headers of MESSAGE that are no user properties.
_OWN = {
    "subscription",
    "message-id",
    "destination",
    "content-type",
    "content-length",
    "qos",
    "persistent",
    "retain",
    "expires",
    "redelivered",
    "ack",
}


class STOMP:
    """
    stomp.py.
    """

    def __init__(self, broker: Broker, name: str) -> None:
        self._peer = StompPeer(broker, "1.2", auto_decode=False)

    def subscribe(self, topic: str) -> None:
        """
        See L{Talker}.
        """
        self._peer.subscribe(topic, "client-individual", topic)

    def unsubscribe(self, topic: str) -> None:
        """
        See L{Talker}.
        """
        self._peer.do("unsubscribe", id=topic)

    def publish(self, message: Message) -> None:
        """
        See L{Talker}.
        """
        headers: dict[str, Any] = {"qos": message.qos, **dict(message.properties)}
        if message.retain:
            headers["retain"] = "true"
        if message.expiry is not None:
            headers["expires"] = round((time.time() + message.expiry) * 1000)
        self._peer.do("send", message.topic, message.payload, content_type=message.contentType, **headers)

    def receive(self) -> Message:
        """
        See L{Talker}.
        """
        headers, body = self._peer.message()
        payload: Any = body
        self._peer.settle("ack", headers)
        expires = headers.get("expires")
        return Message(
            headers["destination"],
            payload,
            int(headers.get("qos", 0)),
            headers.get("retain") == "true",
            headers.get("content-type"),
            [(name, value) for name, value in headers.items() if name not in _OWN],
            None if expires is None else int(expires) / 1000 - time.time(),
        )

    def close(self) -> None:
        """
        See L{Talker}.
        """
        self._peer.connection.disconnect()


class MQTTSN:
    """
    Two clients: mqtt-sn-12 publishes. It does not acknowledge what it receives, so that receiving is done with the
    packets of C{mqttsn}, whose own client takes no QoS 0.
    """

    def __init__(self, broker: Broker, name: str) -> None:
        address = broker.host, broker.ports["mqtt.sn"]
        self._client = MqttSnClient()
        self._client.set_client_id(f"{name}-p")
        self._client.set_keep_alive(0)
        self._client.open(*address)
        self._client.send_connect()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(address)
        self._number = 0
        self._topics: dict[int, str] = {}
        self._came: list[Any] = []
        connect = Connects()
        connect.client_id = f"{name}-s".encode()
        connect.duration = 0
        self._socket.send(connect.pack())
        assert self._next(CONNACK).return_code == 0

    def _next(self, kind: int) -> Any:
        """
        The next packet of a kind; what comes before it waits.
        """
        for index, packet in enumerate(self._came):
            if packet.mh.msg_type == kind:
                return self._came.pop(index)
        while True:
            packet, _ = unpack_packet(*get_packet(self._socket))
            if packet.mh.msg_type == kind:
                return packet
            self._came.append(packet)

    def _say(self, packet: Any, answer: int) -> Any:
        self._number += 1
        packet.msg_id = self._number
        self._socket.send(packet.pack())
        answered = self._next(answer)
        assert answered.msg_id == self._number
        return answered

    def subscribe(self, topic: str) -> None:
        """
        See L{Talker}.
        """
        packet = Subscribes()
        packet.topic_name, packet.flags.qos = topic, 2
        suback = self._say(packet, SUBACK)
        assert suback.return_code == 0
        self._topics[suback.topic_id] = topic

    def unsubscribe(self, topic: str) -> None:
        """
        See L{Talker}.
        """
        packet = Unsubscribes()
        packet.topic_name = topic
        self._say(packet, UNSUBACK)

    def publish(self, message: Message) -> None:
        """
        See L{Talker}.
        """
        self._client.send_publish(message.topic, message.payload, message.qos, message.retain)
        if not message.qos:
            # See MQTT.publish.
            self._client.send_ping_req()

    def receive(self) -> Message:
        """
        See L{Talker}.
        """
        packet = self._next(PUBLISH)
        flags = packet.flags
        if flags.qos == 1:
            answer = Pubacks()
            answer.topic_id, answer.msg_id = packet.topic_id, packet.msg_id
            self._socket.send(answer.pack())
        elif flags.qos == 2:
            for answer, released in ((Pubrecs(), True), (Pubcomps(), False)):
                answer.msg_id = packet.msg_id
                self._socket.send(answer.pack())
                if released:
                    assert self._next(PUBREL).msg_id == packet.msg_id
        return Message(self._topics[packet.topic_id], packet.data, flags.qos, flags.retain)

    def close(self) -> None:
        """
        See L{Talker}.
        """
        self._client.send_disconnect()
        self._client.close()
        self._socket.close()


class CoAP:
    """
    aiocoap. It publishes below C{/mqtt} and observes below C{/ps}, where a message has its own content format.
    """

    def __init__(self, broker: Broker, name: str) -> None:
        self._base = f"coap://{broker.host}:{broker.ports['coap']}"
        self._name = name
        self._heard: queue.Queue[Message] = queue.Queue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._observing: dict[str, Any] = {}
        self._context: Any = self._run(aiocoap.Context.create_client_context())

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _ask(self, code: int, uri: str, payload: bytes = b"", **options: Any) -> Any:
        message = aiocoap.Message(code=code, uri=self._base + uri, payload=payload, **options)
        response = await self._context.request(message).response
        assert response.code.is_successful(), response
        return response

    def _take(self, response: Any, retain: bool) -> None:
        ageOption = response.opt.get_option(aiocoap.OptionNumber.MAX_AGE)
        age = None if not ageOption else ageOption[0].value
        qos = 1 if response.mtype == aiocoap.CON else 0
        format = _FORMATS[int(response.opt.content_format)]
        self._heard.put(Message(None, response.payload, qos, retain, format, [], age))

    async def _observe(self, topic: str) -> None:
        uri = f"{self._base}/ps/{topic}?c={self._name}"
        request = self._context.request(aiocoap.Message(code=aiocoap.GET, uri=uri, observe=0))
        response = await request.response
        if response.payload:
            self._take(response, True)

        async def watch() -> None:
            async for notification in request.observation:
                self._take(notification, False)

        self._observing[topic] = request, asyncio.ensure_future(watch())

    async def _forget(self, topic: str) -> None:
        request, watching = self._observing.pop(topic)
        watching.cancel()
        request.observation.cancel()
        # Only the next notification would tell the gateway; this does now.
        await self._ask(aiocoap.GET, f"/mqtt/{topic}?c={self._name}", observe=1)

    def subscribe(self, topic: str) -> None:
        """
        See L{Talker}.
        """
        self._run(self._observe(topic))

    def unsubscribe(self, topic: str) -> None:
        """
        See L{Talker}.
        """
        self._run(self._forget(topic))

    def publish(self, message: Message) -> None:
        """
        See L{Talker}.
        """
        options: dict[str, Any] = {}
        if message.contentType is not None:
            options["content_format"] = next(n for n, name in _FORMATS.items() if name == message.contentType)
        if message.expiry is not None:
            options["max_age"] = int(message.expiry)
        query = f"c={self._name}&qos={message.qos}&retain={int(bool(message.retain))}"
        self._run(self._ask(aiocoap.PUT, f"/mqtt/{message.topic}?{query}", message.payload, **options))

    def receive(self) -> Message:
        """
        See L{Talker}.
        """
        return self._heard.get(timeout=PATIENCE)

    def close(self) -> None:
        """
        See L{Talker}.
        """
        self._run(self._context.shutdown())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


TALKERS: dict[str, Any] = {
    "MQTT 3.1.1": mqtt311,
    "MQTT 5": MQTT,
    "WebSocket": overWebSocket,
    "STOMP": STOMP,
    "MQTT-SN": MQTTSN,
    "CoAP": CoAP,
}
