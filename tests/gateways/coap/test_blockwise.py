"""
Tests for L{gateways.coap.blockwise} (RFC 7959).
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.coap.blockwise import (
    Assembler,
    Block,
    Slicer,
    Transfer,
    TransferError,
    blockOf,
    exponentFor,
)
from gateways.coap.codes import (
    BAD_OPTION,
    BAD_REQUEST,
    CHANGED,
    CONTENT,
    CONTINUE,
    GET,
    PUT,
    REQUEST_ENTITY_INCOMPLETE,
    REQUEST_ENTITY_TOO_LARGE,
    isRequest,
)
from gateways.coap.message import CoAPMessage
from gateways.coap.options import BLOCK1, BLOCK2, ETAG, SIZE1, SIZE2, URI_PATH, uintOf, uintOption

PATH = (URI_PATH, b"big")
PEER = ("a", 1)


def put(number: int, more: bool, exponent: int, payload: bytes, *others: tuple[int, bytes]) -> CoAPMessage:
    """
    A block of a PUT.
    """
    return CoAPMessage(PUT, [PATH, Block(number, more, exponent).option(BLOCK1), *others], payload)


@pytest.mark.parametrize(
    ("block", "value"),
    [
        (Block(0, False, 0), b""),
        (Block(0, True, 6), b"\x0e"),
        (Block(3, True, 2), b"\x3a"),
        (Block(300, False, 6), b"\x12\xc6"),
        (Block(0xFFFFF, True, 6), b"\xff\xff\xfe"),
    ],
)
def test_value(block: Block, value: bytes) -> None:
    """
    A block is written as in figure 1 of the RFC.
    """
    assert block.option(BLOCK1) == (BLOCK1, value)
    assert blockOf([(BLOCK1, value)], BLOCK1) == block


@pytest.mark.parametrize(("size", "exponent"), [(0, 0), (16, 0), (31, 0), (32, 1), (1023, 5), (1024, 6), (9999, 6)])
def test_exponentFor(size: int, exponent: int) -> None:
    """
    Blocks are as large as may be, between 16 and 1024 bytes.
    """
    assert exponentFor(size) == exponent


def test_assembled() -> None:
    """
    Blocks are put together; each but the last is answered 2.31 with its own number.
    """
    assembler = Assembler(1000, 100.0)
    first = assembler.take(put(0, True, 0, b"a" * 16), PEER, 0.0)
    assert (first.code, blockOf(first.options, BLOCK1)) == (CONTINUE, Block(0, True, 0))
    assert assembler.take(put(1, True, 0, b"b" * 16), PEER, 0.0).code == CONTINUE
    whole = assembler.take(put(2, False, 0, b"c"), PEER, 0.0)
    assert (whole.code, whole.payload) == (PUT, b"a" * 16 + b"b" * 16 + b"c")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (put(1, True, 0, b"x" * 16), REQUEST_ENTITY_INCOMPLETE),
        (put(1, False, 0, b"x"), REQUEST_ENTITY_INCOMPLETE),
        (put(0, True, 7, b"x" * 16), BAD_OPTION),
        (put(0, True, 0, b"x" * 15), BAD_REQUEST),
        (put(0, False, 0, b"x" * 17), BAD_REQUEST),
        (put(0, True, 0, b"x" * 16, uintOption(SIZE1, 101)), REQUEST_ENTITY_TOO_LARGE),
        (put(0, True, 3, b"x" * 128), REQUEST_ENTITY_TOO_LARGE),
        (CoAPMessage(PUT, [PATH], b"x" * 101), REQUEST_ENTITY_TOO_LARGE),
    ],
)
def test_refused(request_: CoAPMessage, code: int) -> None:
    """
    Blocks that are wrong, missing or too many are answered so; what is too large is told what would not be.
    """
    response = Assembler(100, 100.0).take(request_, PEER, 0.0)
    assert response.code == code
    if code == REQUEST_ENTITY_TOO_LARGE:
        assert uintOf(response.options, SIZE1) == 100


def test_peersApart() -> None:
    """
    Blocks of different peers, and to different resources, do not mix.
    """
    assembler = Assembler(1000, 100.0)
    assembler.take(put(0, True, 0, b"a" * 16), PEER, 0.0)
    assert assembler.take(put(1, False, 0, b"b"), ("b", 1), 0.0).code == REQUEST_ENTITY_INCOMPLETE
    other = put(1, False, 0, b"b", (URI_PATH, b"other"))
    assert assembler.take(other, PEER, 0.0).code == REQUEST_ENTITY_INCOMPLETE
    assert assembler.take(put(1, False, 0, b"b"), PEER, 0.0).payload == b"a" * 16 + b"b"


def test_begunAnew() -> None:
    """
    A body that is begun anew replaces what came, a block that comes again does no harm; and what is old is forgotten.
    """
    assembler = Assembler(1000, 100.0)
    for payload in (b"x", b"a", b"a"):
        assembler.take(put(0, True, 0, payload * 16), PEER, 0.0)
    for _ in range(2):
        assert assembler.take(put(1, True, 0, b"b" * 16), PEER, 0.0).code == CONTINUE
    assert assembler.take(put(2, True, 0, b"c" * 16), PEER, 0.0).code == CONTINUE
    whole = assembler.take(put(3, False, 0, b"d"), PEER, 0.0)
    assert whole.payload == b"a" * 16 + b"b" * 16 + b"c" * 16 + b"d"
    assembler.take(put(0, True, 0, b"a" * 16), PEER, 0.0)
    assembler.take(put(0, True, 0, b"a" * 16), ("b", 1), 150.0)
    assembler.take(put(0, True, 0, b"a" * 16), ("b", 1), 300.0)
    assert assembler.take(put(1, False, 0, b"b"), PEER, 301.0).code == REQUEST_ENTITY_INCOMPLETE


def test_memoryIsBounded() -> None:
    """
    Many who begin and never end do not fill the memory: the oldest are forgotten.
    """
    assembler = Assembler(1 << 20, 100.0, 10, 64 * 1024)
    for number in range(1000):
        assembler.take(put(0, True, 6, b"x" * 1024), ("a", number), 0.0)
    assert len(assembler._parts) <= 20


def test_cut() -> None:
    """
    A large response goes out as its first block, with its size and what tells it from others; the rest on demand.
    """
    slicer = Slicer(100.0)
    request = CoAPMessage(GET, [PATH])
    body = bytes(range(200))
    first = slicer.cut(request, PEER, CoAPMessage(CONTENT, payload=body), 64, 0.0)
    assert first.payload == body[:64]
    assert blockOf(first.options, BLOCK2) == Block(0, True, 2)
    assert uintOf(first.options, SIZE2) == 200
    ask = CoAPMessage(GET, [PATH, Block(3, False, 2).option(BLOCK2)])
    last = slicer.following(ask, PEER)
    assert last is not None and last.payload == body[192:]
    assert blockOf(last.options, BLOCK2) == Block(3, False, 2)
    assert dict(last.options)[ETAG] == dict(first.options)[ETAG]
    beyond = slicer.following(CoAPMessage(GET, [PATH, Block(4, False, 2).option(BLOCK2)]), PEER)
    assert beyond is not None and beyond.code == BAD_REQUEST
    assert slicer.following(ask, ("b", 1)) is None


def test_smallNotCut() -> None:
    """
    A payload that fits goes out whole; a peer that wants small blocks gets them.
    """
    slicer = Slicer(100.0)
    response = CoAPMessage(CONTENT, payload=b"x" * 64)
    assert slicer.cut(CoAPMessage(GET, [PATH]), PEER, response, 64, 0.0) is response
    small = slicer.cut(CoAPMessage(GET, [PATH, Block(0, False, 0).option(BLOCK2)]), PEER, response, 1024, 0.0)
    assert (small.payload, blockOf(small.options, BLOCK2)) == (b"x" * 16, Block(0, True, 0))
    wrong = slicer.cut(CoAPMessage(GET, [PATH, Block(0, False, 7).option(BLOCK2)]), PEER, response, 1024, 0.0)
    assert wrong.code == BAD_OPTION


@given(st.binary(max_size=3000), st.binary(max_size=3000), st.integers(0, 6), st.sampled_from([16, 100, 256, 1024]))
def test_bothWays(body: bytes, answer: bytes, exponent: int, largest: int) -> None:
    """
    Whatever the sizes, a request and its response arrive as they were sent, in blocks that are not too large.
    """
    assembler, slicer = Assembler(3000, 100.0), Slicer(100.0)
    transfer = Transfer(CoAPMessage(PUT, [PATH], body), 3000, exponent)
    message: CoAPMessage | None = transfer.first()
    received = []
    for _ in range(1000):
        if message is None:
            break
        assert len(message.payload) <= 16 << exponent
        response = slicer.following(message, PEER)
        if response is None:
            response = assembler.take(message, PEER, 0.0)
            if isRequest(response.code):
                received.append(response.payload)
                response = slicer.cut(response, PEER, CoAPMessage(CHANGED, payload=answer), largest, 0.0)
        assert len(response.payload) <= largest
        message = transfer.answered(response)
    assert received == [body]
    assert transfer.response is not None and transfer.response.payload == answer


def test_smallerBlocksWanted() -> None:
    """
    A peer may want smaller blocks, on the way or from the beginning.
    """
    transfer = Transfer(CoAPMessage(PUT, [PATH], bytes(100)), 100, 2)
    assert len(transfer.first().payload) == 64
    following = transfer.answered(CoAPMessage(CONTINUE, [Block(0, True, 0).option(BLOCK1)]))
    assert following is not None and blockOf(following.options, BLOCK1) == Block(4, True, 0)
    transfer = Transfer(CoAPMessage(PUT, [PATH], bytes(100)), 100, 6)
    transfer = Transfer(CoAPMessage(PUT, [PATH], bytes(2000)), 100, 6)
    transfer.first()
    again = transfer.answered(CoAPMessage(REQUEST_ENTITY_TOO_LARGE, [Block(0, True, 1).option(BLOCK1)]))
    assert again is not None and blockOf(again.options, BLOCK1) == Block(0, True, 1)


@pytest.mark.parametrize(
    "responses",
    [
        [CoAPMessage(CONTINUE)],
        [CoAPMessage(CONTENT, [Block(1, True, 0).option(BLOCK2)], b"x" * 16)],
        [CoAPMessage(CONTENT, [Block(0, True, 0).option(BLOCK2)], b"x" * 15)],
        [
            CoAPMessage(CONTENT, [Block(0, True, 0).option(BLOCK2), (ETAG, b"1")], b"x" * 16),
            CoAPMessage(CONTENT, [Block(1, False, 0).option(BLOCK2), (ETAG, b"2")], b"x"),
        ],
        [CoAPMessage(CONTENT, [Block(0, True, 0).option(BLOCK2)], b"x" * 16), CoAPMessage(CONTENT, payload=b"y")],
        [CoAPMessage(CONTENT, [Block(0, True, 6).option(BLOCK2)], b"x" * 1024)],
    ],
)
def test_blocksThatDoNotFit(responses: list[CoAPMessage]) -> None:
    """
    A peer whose blocks are not of one body, or of too large a one, is not believed.
    """
    transfer = Transfer(CoAPMessage(GET, [PATH]), 500)
    transfer.first()
    with pytest.raises(TransferError):
        for response in responses:
            transfer.answered(response)
