"""
The tests' LwM2M device against aiocoap, so that what fails against the gateway is the gateway's.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("aiocoap")

import aiocoap
from aiocoap.numbers.codes import Code
from aiocoap.resource import Resource

from tests.system.lwm2m import formats
from tests.system.lwm2m.device import Device, Loop
from tests.system.lwm2m.formats import JSON, LINKS, OPAQUE, SENML_CBOR, SENML_JSON, TEXT, TLV, fromTLV, tlv
from tests.system.lwm2m.objects import KINDS
from tests.system.process import PATIENCE


class Server(Resource):  # type: ignore[misc]  # aiocoap comes without types
    """
    A server that lets everybody register, and asks them things.
    """

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self._loop = loop
        self.requests: queue.Queue[Any] = queue.Queue()
        self.notifications: queue.Queue[Any] = queue.Queue()
        self.port = loop.run(self._start())
        self.remote: Any = None

    async def _start(self) -> int:
        self.context = await aiocoap.Context.create_server_context(
            self, bind=("127.0.0.1", 0), transports=["simplesocketserver"]
        )
        pool = self.context.request_interfaces[0].token_interface.message_interface._pool
        return int(pool._transport.get_extra_info("sockname")[1])

    async def render(self, request: Any) -> Any:
        """
        Say yes.
        """
        self.remote = request.remote
        self.requests.put(request)
        if request.code == Code.POST and request.opt.uri_path == ("rd",):
            return aiocoap.Message(code=Code.CREATED, location_path=("rd", "1"))
        return aiocoap.Message(code=Code.DELETED if request.code == Code.DELETE else Code.CHANGED)

    def ask(self, method: str, path: str, payload: bytes = b"", form: int | None = None, **options: Any) -> Any:
        """
        Ask the device something.
        """
        return self._loop.run(self._ask(method, path, payload, form, options))

    async def _ask(self, method: str, path: str, payload: bytes, form: int | None, options: dict[str, Any]) -> Any:
        steps = tuple(step for step in path.split("/") if step)
        message = aiocoap.Message(code=getattr(Code, method), payload=payload, uri_path=steps, **options)
        message.remote = self.remote
        if form is not None:
            message.opt.content_format = form
        request = self.context.request(message)
        response = await request.response
        if options.get("observe") == 0:
            self._reading = asyncio.ensure_future(self._read(request))
        return response

    async def _read(self, request: Any) -> None:
        async for notification in request.observation:
            self.notifications.put(notification)

    def forget(self) -> None:
        """
        Observe no more.
        """

        async def work() -> None:
            # aiocoap acknowledges what comes for an observation that it has cancelled; what it never knew, it resets.
            self.context.request_interfaces[0].outgoing_requests.clear()

        self._loop.run(work())

    def stop(self) -> None:
        """
        End it.
        """
        self._loop.run(self.context.shutdown())


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    """
    Where they all live.
    """
    loop = Loop()
    yield loop
    loop.stop()


@pytest.fixture
def server(loop: Loop) -> Iterator[Server]:
    """
    A server.
    """
    server = Server(loop)
    yield server
    server.stop()


@pytest.fixture
def device(loop: Loop, server: Server) -> Iterator[Device]:
    """
    A device that has registered.
    """
    with Device(loop, ("127.0.0.1", server.port), "ep1") as device:
        assert device.register(lifetime=60, binding="UQ", apn="x").code == "2.01"
        yield device


def test_registers(server: Server, device: Device) -> None:
    """
    It registers, updates and de-registers at the location that it was given.
    """
    request = server.requests.get(timeout=PATIENCE)
    assert request.opt.uri_query == ("ep=ep1", "lt=60", "lwm2m=1.0", "b=UQ", "apn=x")
    assert request.payload == b"</1/0>,</3/0>,</4/0>,</5/0>,</6/0>"
    assert device.update("lt=30").code == "2.04"
    assert server.requests.get(timeout=PATIENCE).opt.uri_path == ("rd", "1")
    assert device.deregister().code == "2.02"


READS = {
    TEXT: b"Open Mobile Alliance",
    TLV: b"\xc8\x00\x14Open Mobile Alliance",
    SENML_JSON: b'[{"bn": "/3/0/0", "vs": "Open Mobile Alliance"}]',
    SENML_CBOR: b"\x81\xa2\x21f/3/0/0\x03tOpen Mobile Alliance",
    JSON: b'{"bn": "/3/0/0", "e": [{"n": "", "sv": "Open Mobile Alliance"}]}',
}


@pytest.mark.parametrize("form", READS)
def test_reads(server: Server, device: Device, form: int) -> None:
    """
    It answers in the format that is asked for; the bytes are those of the standards' own examples where they have some.
    """
    answer = server.ask("GET", "/3/0/0", accept=form)
    assert (answer.code.dotted, answer.opt.content_format, answer.payload) == ("2.05", form, READS[form])
    asked = device.next()
    assert (asked.method, asked.path, asked.accept) == ("GET", "/3/0/0", form)


def test_readsTheExampleOfTheStandard(server: Server, device: Device) -> None:
    """
    A multiple resource has the bytes of the example in 6.4.3.1 of the standard.
    """
    answer = server.ask("GET", "/3/0", accept=TLV)
    assert bytes.fromhex("8606 4100 01 4101 05") in answer.payload
    assert bytes.fromhex("8807 08 4200 0ED8 4201 1388") in answer.payload
    assert dict(fromTLV((3, 0), answer.payload, KINDS))[3, 0, 9] == 100


def test_refuses(server: Server, device: Device) -> None:
    """
    A request for something that it has not, can't do or does not speak is refused; so is one that a test wants refused.
    """
    device.refusals["/3/0/1"] = "5.03"
    device.forms = frozenset((TLV,))
    codes = [
        server.ask("GET", "/3/1").code.dotted,
        server.ask("GET", "/3/0/4").code.dotted,
        server.ask("GET", "/3/0/0", accept=SENML_JSON).code.dotted,
        server.ask("PUT", "/3/0/0", b"x", TEXT).code.dotted,
        server.ask("PUT", "/3/0/0", tlv(3, 0, b"x"), TLV).code.dotted,
        server.ask("PUT", "/3/0/13", tlv(3, 13, b"xyz"), TLV).code.dotted,
        server.ask("GET", "/3/0/1").code.dotted,
    ]
    assert codes == ["4.04", "4.04", "4.06", "4.15", "4.05", "4.00", "5.03"]


def test_writes(server: Server, device: Device) -> None:
    """
    It takes values in every format; a PUT on an instance replaces what can be written, a POST changes.
    """
    written = [
        ("PUT", "/3/0/14", tlv(3, 14, b"+01:00"), TLV),
        ("POST", "/3/0", tlv(3, 15, b"UTC"), TLV),
        ("PUT", "/3/0/13", b"1700000000", TEXT),
        ("POST", "/1/0", b'[{"bn":"/1/0/","n":"1","v":86400},{"n":"6","vb":false}]', SENML_JSON),
    ]
    for words in written:
        assert server.ask(*words).code.dotted == "2.04", words
    values = device.objects.values
    assert (values[3, 0, 14], values[3, 0, 15], values[3, 0, 13]) == ("+01:00", "UTC", 1700000000)
    assert (values[1, 0, 1], values[1, 0, 6], values[1, 0, 7]) == (86400, False, "U")
    assert server.ask("PUT", "/3/0", tlv(3, 14, b"Z"), TLV).code.dotted == "2.04"
    assert (values[3, 0, 14], (3, 0, 15) in values, (3, 0, 0) in values) == ("Z", False, True)


def test_makesAndRemoves(server: Server, device: Device) -> None:
    """
    Instances come with POST and go with DELETE.
    """
    answer = server.ask("POST", "/2", tlv(0, 4, tlv(3, 3, b"\x01") + tlv(2, 2, tlv(1, 101, b"\x0f"))), TLV)
    assert (answer.code.dotted, answer.opt.location_path) == ("2.01", ("2", "4"))
    assert device.objects.values[2, 4, 2, 101] == 15
    assert server.ask("POST", "/2", tlv(0, 4, tlv(3, 3, b"\x01")), TLV).code.dotted == "4.00"
    assert server.ask("DELETE", "/2/4").code.dotted == "2.02"
    assert server.ask("DELETE", "/2/4").code.dotted == "4.04"


def test_executesAndDescribes(server: Server, device: Device) -> None:
    """
    It executes with arguments, takes attributes, and tells of them when it is discovered.
    """
    assert server.ask("POST", "/3/0/4", b"2,7", TEXT).code.dotted == "2.04"
    assert device.objects.executed == [("/3/0/4", "2,7")]
    assert server.ask("PUT", "/3/0/7", uri_query=("pmin=10", "gt=50")).code.dotted == "2.04"
    answer = server.ask("GET", "/3/0", accept=LINKS)
    links = answer.payload.decode().split(",")
    assert links[:3] == ["</3/0>", "</3/0/0>", "</3/0/1>"]
    assert "</3/0/7>;dim=2;pmin=10;gt=50" in links
    assert "</3/0/4>" in links


@pytest.mark.parametrize("confirmable", [True, False])
def test_notifies(server: Server, device: Device, confirmable: bool) -> None:
    """
    It notifies who observes, and stops when it is told to by a RST.
    """
    assert server.ask("GET", "/3/0/9", accept=TEXT, observe=0).payload == b"100"
    for value in (90, 80):
        device.notify("/3/0/9", value, confirmable)
        notification = server.notifications.get(timeout=PATIENCE)
        assert (notification.payload, notification.mtype is aiocoap.CON) == (b"%d" % value, confirmable)
    server.forget()
    device.notify("/3/0/9", 70, True)
    assert device.ended.get(timeout=PATIENCE) == "/3/0/9"


def test_blocks(server: Server, device: Device) -> None:
    """
    100 KB of firmware go to it block by block, and much is read the same way.
    """
    body = bytes(range(256)) * 400
    assert server.ask("PUT", "/5/0/0", body, OPAQUE).code.dotted == "2.04"
    assert (device.package, device.objects.values[5, 0, 3]) == (body, 2)
    assert len(device.asked.queue) == 1
    device.objects.values[5, 0, 1] = "x" * 5000
    assert server.ask("GET", "/5/0/1", accept=TEXT).payload == b"x" * 5000


def test_manyAtOnce(server: Server, device: Device) -> None:
    """
    It reads, observes and writes several paths at once, and sends values unasked.
    """
    names = b'[{"n":"/3/0/9"},{"n":"/6/0/0"}]'
    answer = server.ask("FETCH", "/", names, SENML_JSON, accept=SENML_JSON)
    assert answer.payload == b'[{"n": "/3/0/9", "v": 100}, {"n": "/6/0/0", "v": -43.5723}]'
    assert server.ask("FETCH", "/", names, SENML_JSON, accept=SENML_CBOR, observe=0).code.dotted == "2.05"
    device.notify("/6/0/0", 1.5)
    notification = server.notifications.get(timeout=PATIENCE)
    assert formats.fromSenML(notification.payload, SENML_CBOR, KINDS) == [((3, 0, 9), 100), ((6, 0, 0), 1.5)]
    pack = b'[{"n":"/1/0/1","v":77},{"n":"/3/0/14","vs":"Z"}]'
    assert server.ask("iPATCH", "/", pack, SENML_JSON).code.dotted == "2.04"
    assert (device.objects.values[1, 0, 1], device.objects.values[3, 0, 14]) == (77, "Z")
    assert device.send({"/3/0/9": 55}).code == "2.04"
    requests = [server.requests.get(timeout=PATIENCE) for _ in range(2)]
    assert formats.fromSenML(requests[1].payload, SENML_CBOR, KINDS) == [((3, 0, 9), 55)]


def test_answersLate(loop: Loop, server: Server, device: Device) -> None:
    """
    A request that is held is acknowledged, and answered separately when it is released; asleep, the device hears
    nothing.
    """
    device.hold("/3/0/0")
    asking = asyncio.run_coroutine_threadsafe(server._ask("GET", "/3/0/0", b"", None, {}), loop.loop)
    assert device.next().path == "/3/0/0"
    assert not asking.done()
    device.release("/3/0/0")
    assert asking.result(PATIENCE).code.dotted == "2.05"
    device.sleep()
    asking = asyncio.run_coroutine_threadsafe(server._ask("GET", "/3/0/1", b"", None, {}), loop.loop)
    device.wake()
    # aiocoap repeats it after a while.
    assert asking.result(PATIENCE).code.dotted == "2.05"


def test_movesToAnotherPort(server: Server, device: Device) -> None:
    """
    It speaks from another port after it opened its socket anew.
    """
    before = server.remote.address[1]
    after = device.open()
    assert device.update().code == "2.04"
    assert (server.remote.address[1], after == before) == (after, False)


def test_alternatePath(loop: Loop, server: Server) -> None:
    """
    Its objects may be somewhere below a path.
    """
    with Device(loop, ("127.0.0.1", server.port), "ep2", "/lwm2m") as device:
        device.register()
        assert server.requests.get(timeout=PATIENCE).payload.startswith(b'</lwm2m>;rt="oma.lwm2m",</lwm2m/1/0>')
        assert server.ask("GET", "/lwm2m/3/0/0", accept=TEXT).code.dotted == "2.05"
        assert server.ask("GET", "/3/0/0").code.dotted == "4.04"
