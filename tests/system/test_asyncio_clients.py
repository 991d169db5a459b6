"""
aiomqtt and gmqtt: clients on asyncio, the second with an MQTT 5.0 implementation of its own.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

import aiomqtt
import gmqtt
import pytest
from gmqtt.mqtt.constants import MQTTv50, MQTTv311

from tests.system.process import PATIENCE, Broker


def run(steps: Coroutine[Any, Any, None]) -> None:
    """
    Run C{steps} on an event loop of their own, for a bounded time.
    """
    asyncio.run(asyncio.wait_for(steps, PATIENCE))


class GmqttPeer:
    """
    A gmqtt client, connected on entering and disconnected on leaving.

    @ivar messages: what came, as (topic, payload, qos, properties).
    """

    def __init__(
        self, broker: Broker, clientID: str, version: int = MQTTv50, clean: bool = True, **options: Any
    ) -> None:
        self._broker = broker
        self._version = version
        self.messages: asyncio.Queue[tuple[str, bytes, int, dict[str, Any]]] = asyncio.Queue()
        self.connected: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.ended: asyncio.Queue[object] = asyncio.Queue()
        self._granted: asyncio.Queue[tuple[int, ...]] = asyncio.Queue()
        self.client = gmqtt.Client(clientID, clean_session=clean, **options)
        # Fewer than none: at 0 it still comes back once.
        self.client.set_config({"reconnect_retries": -2})
        self.client.on_connect = lambda client, flags, reason, given: self.connected.put_nowait(given)
        self.client.on_message = self._arrived
        self.client.on_subscribe = lambda client, mid, granted, given: self._granted.put_nowait(granted)
        self.client.on_disconnect = lambda client, packet, error=None: self.ended.put_nowait(error)

    def _arrived(self, client: object, topic: str, payload: bytes, qos: int, given: dict[str, Any]) -> int:
        self.messages.put_nowait((topic, payload, qos, given))
        return 0

    async def __aenter__(self) -> "GmqttPeer":
        await self.client.connect(self._broker.host, self._broker.port, version=self._version)
        await self.connected.get()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.client.disconnect()

    async def subscribe(self, topicFilter: str, qos: int = 2, **options: Any) -> int:
        """
        Subscribe and wait for SUBACK.

        @return: the reason code.
        """
        self.client.subscribe(gmqtt.Subscription(topicFilter, qos=qos, **options))
        return (await self._granted.get())[0]


@pytest.mark.parametrize("version", [MQTTv311, MQTTv50], ids=["3.1.1", "5.0"])
def test_gmqttEveryQoS(broker: Broker, name: str, version: int) -> None:
    """
    Messages of every quality arrive once, in order.
    """

    async def steps() -> None:
        async with (
            GmqttPeer(broker, f"{name}s", version) as subscriber,
            GmqttPeer(broker, f"{name}p", version) as sender,
        ):
            for qos in range(3):
                assert await subscriber.subscribe(f"{name}/{qos}", qos) == qos
                # gmqtt does not itself keep to a window, so ten at a time.
                for first in range(0, 50, 10):
                    for number in range(first, first + 10):
                        sender.client.publish(f"{name}/{qos}", str(number), qos=qos)
                    for number in range(first, first + 10):
                        _, payload, quality, _ = await subscriber.messages.get()
                        assert (payload, quality) == (str(number).encode(), qos)

    run(steps())


def test_gmqttProperties(broker: Broker, name: str) -> None:
    """
    Properties written by one implementation are read by another through the broker.
    """

    async def steps() -> None:
        async with GmqttPeer(broker, f"{name}s") as subscriber, GmqttPeer(broker, f"{name}p") as sender:
            await subscriber.subscribe(f"{name}/#", subscription_identifier=7)
            sender.client.publish(
                f"{name}/a",
                "text",
                qos=1,
                content_type="text/plain",
                response_topic=f"{name}/answer",
                correlation_data=b"\x00\x01",
                message_expiry_interval=60,
                user_property=[("a", "1"), ("a", "2")],
            )
            _, payload, _, given = await subscriber.messages.get()
            assert payload == b"text"
            assert given["content_type"] == ["text/plain"]
            assert given["response_topic"] == [f"{name}/answer"]
            assert given["correlation_data"] == [b"\x00\x01"]
            assert given["message_expiry_interval"][0] in (59, 60)
            assert given["user_property"] == [("a", "1"), ("a", "2")]
            assert given["subscription_identifier"] == [7]

    run(steps())


def test_gmqttSessionAndWill(broker: Broker, name: str) -> None:
    """
    A session waits for its client, and a will is published when the connection breaks.
    """

    async def steps() -> None:
        will = gmqtt.Message(f"{name}/gone", "vanished", qos=1)
        lasting: dict[str, Any] = {"clean": False, "session_expiry_interval": 300}
        async with GmqttPeer(broker, f"{name}p") as sender:
            await sender.subscribe(f"{name}/gone")
            peer = GmqttPeer(broker, f"{name}s", will_message=will, **lasting)
            await peer.__aenter__()
            await peer.subscribe(f"{name}/a", 1)
            peer.client._connection._transport.abort()
            await peer.ended.get()
            assert (await sender.messages.get())[1] == b"vanished"
            sender.client.publish(f"{name}/a", "waited", qos=1)
            async with GmqttPeer(broker, f"{name}s", **lasting) as again:
                assert (await again.messages.get())[1] == b"waited"

    run(steps())


def test_aiomqtt(broker: Broker, name: str) -> None:
    """
    aiomqtt publishes, subscribes, keeps a retained message and leaves a will.
    """

    async def steps() -> None:
        will = aiomqtt.Will(f"{name}/gone", "vanished", qos=1)
        address: dict[str, Any] = {"hostname": broker.host, "port": broker.port}
        async with aiomqtt.Client(identifier=f"{name}s", **address) as subscriber:
            for qos in range(3):
                await subscriber.subscribe(f"{name}/{qos}", qos=qos)
            await subscriber.subscribe(f"{name}/gone", qos=1)
            coming = aiter(subscriber.messages)
            async with aiomqtt.Client(identifier=f"{name}p", will=will, timeout=2, **address) as sender:
                for qos in range(3):
                    await sender.publish(f"{name}/{qos}", f"at {qos}", qos=qos)
                    message = await anext(coming)
                    assert (message.payload, message.qos) == (f"at {qos}".encode(), qos)
                await sender.publish(f"{name}/kept", "kept", qos=1, retain=True)
                await subscriber.subscribe(f"{name}/kept", qos=1)
                message = await anext(coming)
                assert (message.payload, message.retain) == (b"kept", True)
                await sender.publish(f"{name}/kept", b"", qos=1, retain=True)
                assert (await anext(coming)).payload == b""
                # The same identifier again: the broker closes the connection, and the will goes out.
                async with aiomqtt.Client(identifier=f"{name}p", **address):
                    message = await anext(coming)
                    assert (message.topic.value, message.payload) == (f"{name}/gone", b"vanished")
                with pytest.raises(aiomqtt.MqttError):
                    await sender.publish(f"{name}/0", "too late", qos=1)

    run(steps())
