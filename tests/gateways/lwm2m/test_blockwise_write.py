"""
Tests for bodies that are larger than a message, to a device and from it (RFC 7959), with limits.
"""

import base64
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateways.coap.blockwise import Assembler, Slicer, Transfer, blockOf
from gateways.coap.codes import (
    CHANGED,
    CONTENT,
    CONTINUE,
    REQUEST_ENTITY_INCOMPLETE,
    REQUEST_ENTITY_TOO_LARGE,
    isResponse,
)
from gateways.coap.message import CoAPMessage
from gateways.coap.options import BLOCK1, OBSERVE, SIZE1, URI_PATH, URI_QUERY, stringOptions, uintOf
from tests.kits.lwm2m import Kit, losing

FIRMWARE = Random(1).randbytes(100_000)


class Memory:
    """
    A device that takes bodies in blocks, of a size that it chooses, and gives them back.
    """

    def __init__(self, exponent: int = 6, longest: int = 1 << 20) -> None:
        self.exponent = exponent
        self.body = b""
        self.wholes = 0
        self._assembler = Assembler(longest, 1000)
        self._slicer = Slicer(1000)

    def __call__(self, request: CoAPMessage) -> CoAPMessage:
        """
        Serve a request.
        """
        if request.code == 1:
            following = self._slicer.following(request, 1)
            response = CoAPMessage(CONTENT, [(12, b"\x2a")], self.body)
            return following or self._slicer.cut(request, 1, response, 16 << self.exponent, 0)
        block = blockOf(request.options, BLOCK1)
        if block is not None and block.exponent > self.exponent:
            smaller = block._replace(number=0, exponent=self.exponent)
            return CoAPMessage(REQUEST_ENTITY_TOO_LARGE, [smaller.option(BLOCK1)])
        whole = self._assembler.take(request, 1, 0)
        if isResponse(whole.code):
            return whole
        self.body = whole.payload
        self.wholes += 1
        return CoAPMessage(CHANGED, [] if block is None else [block.option(BLOCK1)])


def write(kit: Kit, payload: bytes = FIRMWARE, number: int = 1) -> None:
    """
    Write it to /5/0/0, as opaque content.
    """
    value = base64.b64encode(payload).decode()
    kit.command("write", {"path": "/5/0/0", "type": "Opaque", "value": value}, number)


@pytest.mark.parametrize(("exponent", "blockSize"), [(6, 1024), (6, 512), (2, 1024), (0, 16)])
def test_firmware(exponent: int, blockSize: int) -> None:
    """
    100 KB arrive whole, in blocks of the size that both can do, one after the other.
    """
    kit = Kit(block_size=blockSize)
    memory = Memory(exponent)
    firmware = FIRMWARE if exponent == 6 else FIRMWARE[:5000]
    device = kit.registered("lt=86400", memory)
    write(kit, firmware)
    kit.run(30)
    assert kit.codes() == [(1, "write", "2.04")]
    assert memory.body.endswith(firmware) and memory.wholes == 1
    first = device.requests[0]
    assert uintOf(first.options, SIZE1) == len(memory.body)
    size = min(blockSize, 16 << exponent)
    assert {len(request.payload) for request in device.requests[1:-1]} <= {size}


def test_smallerOnTheWay() -> None:
    """
    A device may want smaller blocks than it was sent, in its answer to the first (RFC 7959 2.3).
    """
    kit = Kit()
    memory = Memory()
    sizes: list[int] = []

    def serve(request: CoAPMessage) -> CoAPMessage:
        sizes.append(len(request.payload))
        response = memory(request)
        block = blockOf(response.options, BLOCK1)
        if response.code == CONTINUE and block is not None:
            return CoAPMessage(CONTINUE, [block._replace(exponent=4).option(BLOCK1)])
        return response

    kit.registered("lt=86400", serve)
    write(kit, FIRMWARE[:10_000])
    kit.run(30)
    assert kit.codes() == [(1, "write", "2.04")]
    assert sizes[:3] == [1024, 256, 256]
    assert memory.body.endswith(FIRMWARE[:10_000])


def test_othersWait() -> None:
    """
    Nothing is sent to a device in the middle of it.
    """
    kit = Kit()
    memory = Memory()
    device = kit.registered("lt=86400", memory)
    write(kit)
    kit.command("read", "/5/0/0", 2)
    kit.run(30)
    codes = [request.code for request in device.requests]
    assert codes == sorted(codes, reverse=True)
    assert [number for number, _, _ in kit.codes()] == [1, 2]


def test_tooLarge() -> None:
    """
    A device that has no room for it says so, and how much it has.
    """
    kit = Kit()
    device = kit.registered("lt=86400", Memory(longest=50_000))
    write(kit)
    kit.run(30)
    assert kit.codes() == [(1, "write", "4.13")]
    assert len(device.requests) == 1


def test_lostTrack() -> None:
    """
    A device that has forgotten the blocks before says so; it is not tried again without bound.
    """
    kit = Kit()
    memory = Memory()
    device = kit.registered("lt=86400", memory)

    def serve(request: CoAPMessage) -> CoAPMessage:
        return memory(request) if len(device.requests) < 5 else CoAPMessage(REQUEST_ENTITY_INCOMPLETE)

    device.serve = serve
    write(kit)
    kit.run(30)
    assert kit.codes() == [(1, "write", "4.08")]
    assert len(device.requests) == 5


def test_read() -> None:
    """
    A large value is read block by block.
    """
    kit = Kit()
    memory = Memory(4)
    memory.body = FIRMWARE
    kit.registered("lt=86400", memory)
    kit.command("read", "/5/0/0")
    kit.run(30)
    [answer] = kit.taken()
    assert base64.b64decode(answer["data"]["content"][0]["value"]) == FIRMWARE


def test_readTooMuch() -> None:
    """
    A device can't fill the memory of the gateway.
    """
    kit = Kit(max_body=50_000)
    memory = Memory(6)
    memory.body = FIRMWARE
    device = kit.registered("lt=86400", memory)
    kit.command("read", "/5/0/0")
    kit.run(30)
    assert kit.codes() == [(1, "read", "5.02")]
    assert len(device.requests) < 55


def test_readChanges() -> None:
    """
    Blocks of two different bodies are no answer.
    """
    kit = Kit()
    memory = Memory(4)
    memory.body = FIRMWARE
    device = kit.registered("lt=86400", memory)

    def serve(request: CoAPMessage) -> CoAPMessage:
        if len(device.requests) == 3:
            memory.body = FIRMWARE[::-1]
            memory._slicer = Slicer(1000)
            memory._slicer.cut(device.requests[0], 1, CoAPMessage(CONTENT, [(12, b"\x2a")], memory.body), 256, 0)
        return memory(request)

    device.serve = serve
    kit.command("read", "/5/0/0")
    kit.run(30)
    assert kit.codes() == [(1, "read", "5.02")]


def test_registrationInBlocks() -> None:
    """
    A long list of objects comes in blocks (core 6.2.1), and its location with the last.
    """
    kit = Kit()
    device = kit.device()
    links = ",".join(f"</3303/{number}>" for number in range(500)).encode()
    options = stringOptions(URI_PATH, ["rd"]) + stringOptions(URI_QUERY, ["ep=ep1", "lt=300"])
    transfer = Transfer(CoAPMessage(2, options, links), 1000, 5)

    class Asking:
        def acknowledged(self, now: float) -> None:
            pass

        def answered(self, response: CoAPMessage, now: float) -> bool:
            following = transfer.answered(response)
            if following is not None:
                device.exchanges.request(("gateway", 1), following, self, now)
            return False

        def failed(self, how: int, now: float) -> None:
            raise AssertionError

    device.exchanges.request(("gateway", 1), transfer.first(), Asking(), kit.clock.seconds())
    kit.run(5)
    assert transfer.response is not None and transfer.response.code == 65
    assert len(kit.taken()[0]["data"]["objectList"]) == 500


def test_composite() -> None:
    """
    The paths of a composite observation are fetched and cancelled as one (LwM2M 1.1).
    """
    kit = Kit()
    body = b'[{"n":"/3/0/9","v":15},{"n":"/1/0/1","v":300}]'

    def serve(request: CoAPMessage) -> CoAPMessage:
        observe = uintOf(request.options, OBSERVE)
        options = [(12, b"\x6e")] + ([(OBSERVE, b"\1")] if observe == 0 else [])
        return CoAPMessage(CONTENT, options, body)

    device = kit.registered("lt=86400&lwm2m=1.1", serve)
    paths = {"paths": ["/3/0/9", "/1/0/1"]}
    kit.command("read-composite", paths, 1)
    kit.command("observe-composite", paths, 2)
    kit.command("cancel-observe-composite", paths, 3)
    kit.run(2)
    assert [code for _, _, code in kit.codes()] == ["2.05"] * 3
    _, begun, ended = device.requests
    assert (begun.code, ended.code, begun.token) == (5, 5, ended.token)
    assert (uintOf(begun.options, OBSERVE), uintOf(ended.options, OBSERVE)) == (0, 1)


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 6))
def test_badNetwork(random: Random, exponent: int) -> None:
    """
    Under loss, doubling and reordering a body arrives whole and once, and comes back as it was.
    """
    kit = Kit()
    memory = Memory(exponent)
    payload = FIRMWARE[: (16 << exponent) * 5 + 7]
    kit.registered("lt=86400", memory)
    kit.fate = losing(random, 0.1)
    write(kit, payload)
    kit.command("read", "/5/0/0", 2)
    kit.run(3000)
    said = kit.taken()
    assert [what["data"]["code"] for what in said] == ["2.04", "2.05"]
    assert memory.wholes == 1 and memory.body.endswith(payload)
    assert base64.b64decode(said[1]["data"]["content"][0]["value"]) == memory.body
