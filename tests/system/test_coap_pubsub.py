"""
A client of draft-ietf-core-coap-pubsub, made of aiocoap and cbor2, against a real process.
"""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cbor2
import pytest

from tests.system.conftest import StartBroker
from tests.system.durable import Durable
from tests.system.process import PATIENCE

aiocoap = pytest.importorskip("aiocoap")

FORMAT = 606
TABLES = {"plugins": {"load": ["coap"]}, "coap": {"port": "127.0.0.1:0"}}


class DraftClient:
    """
    A client that knows the draft: it finds the collection and goes on by what answers say.
    """

    def __init__(self, context: Any, port: int) -> None:
        self.context = context
        self.root = f"coap://127.0.0.1:{port}"

    async def ask(self, code: Any, path: str, properties: object = None, **keys: Any) -> Any:
        """
        Send a request; returns the response, its CBOR and links decoded.
        """
        if properties is not None:
            keys["payload"], keys["content_format"] = cbor2.dumps(properties), FORMAT
        message = aiocoap.Message(code=code, uri=self.root + path, **keys)
        response = await asyncio.wait_for(self.context.request(message).response, PATIENCE)
        response.properties = response.links = None
        if response.opt.content_format == FORMAT:
            response.properties = cbor2.loads(response.payload)
        elif response.opt.content_format == 40:
            text = response.payload.decode()
            response.links = [link[1 : link.index(">")] for link in text.split(",")] if text else []
        return response


def run(port: int, work: Callable[[DraftClient], Awaitable[None]]) -> None:
    """
    Have a client do something.
    """

    async def whole() -> None:
        context = await aiocoap.Context.create_client_context()
        try:
            await work(DraftClient(context, port))
        finally:
            await context.shutdown()

    asyncio.run(whole())


@pytest.mark.parametrize(
    ("date", "filter"),
    [
        ("2038-01-01T00:00:00Z", {10: ["topic-data", "topic-content-format"]}),
        (cbor2.CBORTag(1, 2145916800), {9: [1, 3]}),
    ],
    ids=["draft18", "draft21"],
)
def test_everyOperation(startBroker: StartBroker, date: object, filter: object) -> None:
    """
    The twelve operations of the draft, in the forms of drafts 15 to 18 and of those from 19 on.
    """
    broker = startBroker(TABLES, listeners=2)

    async def work(client: DraftClient) -> None:
        ask = client.ask
        # 1. The collection is found.
        (collection,) = (await ask(aiocoap.GET, "/.well-known/core?rt=core.ps.coll")).links
        # 2. A topic is created.
        properties = {0: "living-room-sensor", 2: "core.ps.data", 3: 110, 4: "temperature", 5: date, 6: 1}
        created = await ask(aiocoap.POST, collection, properties)
        assert created.code == aiocoap.CREATED
        topic = "/" + "/".join(created.opt.location_path)
        data = created.properties[1]
        # 3. The topics are listed; so are they by properties (4.).
        assert (await ask(aiocoap.GET, collection)).links == [topic]
        assert (await ask(aiocoap.FETCH, collection, {4: "temperature"})).links == [topic]
        assert (await ask(aiocoap.FETCH, collection, {4: "light"})).links == []
        # 5. A topic is read, as a whole and in part (6.).
        whole = await ask(aiocoap.GET, topic)
        assert whole.properties[0] == "living-room-sensor" and whole.properties[6] == 1
        assert (await ask(aiocoap.FETCH, topic, filter)).properties == {1: data, 3: 110}
        # 7. Nothing can be read before it is published (8.).
        assert (await ask(aiocoap.GET, data)).code == aiocoap.NOT_FOUND
        put = await ask(aiocoap.PUT, data, payload=b"[1]", content_format=110)
        assert put.code == aiocoap.CREATED
        assert (await ask(aiocoap.PUT, data, payload=b"[2]", content_format=110)).code == aiocoap.CHANGED
        refused = await ask(aiocoap.PUT, data, payload=b"x", content_format=60)
        assert refused.code == aiocoap.UNSUPPORTED_CONTENT_FORMAT
        got = await ask(aiocoap.GET, data)
        assert (got.payload, got.opt.content_format) == (b"[2]", 110)
        assert (await ask(aiocoap.GET, f"{collection}?rt=core.ps.data")).links == [data]
        # 9. A subscriber hears what MQTT clients publish; there may be one.
        request = client.context.request(
            aiocoap.Message(code=aiocoap.GET, uri=client.root + data + "?c=one", observe=0)
        )
        first = await asyncio.wait_for(request.response, PATIENCE)
        assert first.payload == b"[2]" and first.opt.observe is not None
        second = await ask(aiocoap.GET, data + "?c=two", observe=0)
        assert second.payload == b"[2]" and second.opt.observe is None
        publish = ["mosquitto_pub", "-p", str(broker.port), "-r", "-t", "living-room-sensor", "-m", "[3]"]
        await asyncio.to_thread(subprocess.run, publish, check=True, timeout=PATIENCE)
        notifications = request.observation.__aiter__()
        assert (await asyncio.wait_for(notifications.__anext__(), PATIENCE)).payload == b"[3]"
        # 10. The configuration is replaced, and changed in part (11.).
        replaced = await ask(aiocoap.PUT, topic, {0: "living-room-sensor", 2: "core.ps.data", 4: "warmth", 6: 5})
        assert replaced.code == aiocoap.CHANGED
        assert replaced.properties == {0: "living-room-sensor", 1: data, 2: "core.ps.data", 4: "warmth", 6: 5}
        patched = await ask(aiocoap.iPATCH, topic, {6: 7})
        assert patched.code == aiocoap.CHANGED and patched.properties[6] == 7 and patched.properties[4] == "warmth"
        assert (await ask(aiocoap.iPATCH, topic, {0: "other"})).code == aiocoap.BAD_REQUEST
        # 12. The value is removed, then the topic; its subscriber hears of it.
        assert (await ask(aiocoap.DELETE, data)).code == aiocoap.DELETED
        assert (await ask(aiocoap.GET, data)).code == aiocoap.NOT_FOUND
        with pytest.raises(StopAsyncIteration):
            while True:
                await asyncio.wait_for(notifications.__anext__(), PATIENCE)
        assert (await ask(aiocoap.DELETE, topic)).code == aiocoap.DELETED
        assert (await ask(aiocoap.GET, topic)).code == aiocoap.NOT_FOUND
        assert (await ask(aiocoap.GET, collection)).links == []

    run(broker.ports["coap"], work)


def test_killed(tmp_path: Path) -> None:
    """
    A topic that was acknowledged is there after C{kill -9}, with its configuration.
    """
    durable = Durable(tmp_path, TABLES, listeners=2)
    topic = ""

    async def create(client: DraftClient) -> None:
        nonlocal topic
        created = await client.ask(aiocoap.POST, "/ps", {0: "kept", 2: "core.ps.data", 3: 50, 6: 3})
        topic = "/" + "/".join(created.opt.location_path)
        durable.kill()

    async def look(client: DraftClient) -> None:
        read = await client.ask(aiocoap.GET, topic)
        assert read.properties == {0: "kept", 1: "/ps/kept", 2: "core.ps.data", 3: 50, 6: 3}
        assert (await client.ask(aiocoap.GET, "/ps")).links == [topic]

    run(durable.broker.ports["coap"], create)
    run(durable.broker.ports["coap"], look)
    durable.broker.stop()
