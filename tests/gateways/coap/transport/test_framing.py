"""
Tests for L{gateways.coap.transport.framing}: messages on a stream, however it is cut.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.coap.codes import GET
from gateways.coap.message import CoAPMessage
from gateways.coap.options import URI_PATH, uintOption
from gateways.coap.transport.framing import CSM, MAX_MESSAGE_SIZE, Deframer, FramingError, frame, signal


@pytest.mark.parametrize(
    ("message", "hexadecimal"),
    [
        (CoAPMessage(GET, token=b"\x7f"), "01017f"),  # RFC 8323 figure 6
        (CoAPMessage(GET, [(URI_PATH, b"ab")], b"x", b"t"), "510174b26162ff78"),
        (CoAPMessage(GET, [], b"x" * 12, b""), "d001" + "00" + "ff" + "78" * 12),
        (CoAPMessage(GET, [], b"x" * 300, b""), "e0" + "0020" + "01" + "ff" + "78" * 300),
    ],
)
def test_examples(message: CoAPMessage, hexadecimal: str) -> None:
    """
    The length counts what follows the token, in as few bytes as it takes.
    """
    expected = bytes.fromhex(hexadecimal.replace("d00100", "d00001"))
    assert frame(message) == expected
    (found,) = Deframer(1000).feed(expected)
    assert (found.code, found.options, found.payload, found.token) == (
        message.code,
        message.options,
        message.payload,
        message.token,
    )


def test_longest() -> None:
    """
    Four further bytes tell a length above 65,804.
    """
    data = frame(CoAPMessage(GET, [], b"x" * 70_000))
    assert data[0] == 0xF0 and int.from_bytes(data[1:5], "big") == 70_001 - 65805
    assert len(Deframer(80_000).feed(data)[0].payload) == 70_000


@given(
    st.lists(st.tuples(st.sampled_from([0, 12, 13, 14, 268, 269, 270, 400]), st.binary(max_size=8)), max_size=5),
    st.lists(st.integers(1, 300), min_size=1, max_size=5),
)
def test_anyCuts(sizes: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """
    Any way of cutting a stream gives the same messages.
    """
    messages = [CoAPMessage(GET, [(URI_PATH, b"p")], bytes(size), token) for size, token in sizes]
    data = b"".join(map(frame, messages))
    deframer = Deframer(1000)
    found: list[CoAPMessage] = []
    at = turn = 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        found += deframer.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert [(each.payload, each.token) for each in found] == [(bytes(size), token) for size, token in sizes]


def test_signals() -> None:
    """
    The options of signals have numbers of their own.
    """
    (found,) = Deframer(100).feed(signal(CSM, [uintOption(MAX_MESSAGE_SIZE, 1152)], token=b"t"))
    assert (found.code, found.options, found.token) == (CSM, [(2, b"\x04\x80")], b"t")


@pytest.mark.parametrize("data", ["0901", "f0ffffffff01", "e0ffff01", "1001f1", "1001ff", "20010bff"])
def test_wrong(data: str) -> None:
    """
    A malformed or too long message is reported at once.
    """
    with pytest.raises(FramingError):
        Deframer(1000).feed(bytes.fromhex(data))


@given(st.binary(max_size=200))
def test_anyBytes(data: bytes) -> None:
    """
    Any bytes are messages, the beginning of one, or told to be wrong.
    """
    try:
        Deframer(1000).feed(data)
    except FramingError:
        pass
