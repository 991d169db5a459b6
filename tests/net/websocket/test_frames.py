"""
Tests for L{twisted_mqtt.net.websocket.frames} and L{twisted_mqtt.net.websocket.deflate}.
"""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kits.websocket import BINARY, PING, deflate, frame, frames, inflate
from twisted_mqtt.config.schema_listeners import DeflateSettings as Table
from twisted_mqtt.listeners.websocket import deflateOptions
from twisted_mqtt.net.websocket.deflate import Deflate
from twisted_mqtt.net.websocket.frames import HELD_AT_MOST, frameHeader, takeFrames, unmaskAsNumber

_WHOLE = 0x82


def take(data: bytes, largest: int = 0) -> tuple[list[bytes], int, bool]:
    """
    Take frames, and unmask all of them alike.
    """
    return takeFrames(data, largest, unmaskAsNumber)


@given(st.lists(st.binary(max_size=1200), max_size=6), st.binary(min_size=4, max_size=4), st.data())
def test_anyMessages(payloads: list[bytes], mask: bytes, data: st.DataObject) -> None:
    """
    Whole messages are taken, whatever their masks; what is unfinished behind them is left.
    """
    whole = b"".join(frame(payload, mask=mask) for payload in payloads)
    assert take(whole) == (payloads, len(whole), False)
    cut = data.draw(st.integers(0, len(whole)))
    found, end, partial = take(whole[:cut])
    assert found == payloads[: len(found)]
    assert end == sum(len(frame(payload)) for payload in found)
    assert partial is (cut > end)


@given(st.binary(max_size=60))
def test_anyBytes(data: bytes) -> None:
    """
    Nothing beyond the end is looked at, and nothing is taken twice.
    """
    _, end, _ = take(data)
    assert 0 <= end <= len(data)


@pytest.mark.parametrize(
    "other",
    [
        frame(b"ping", PING),
        frame(b"text", 1),
        frame(b"part", BINARY, final=False),
        frame(b"compressed", reserved=4),
        frame(b"plain", mask=None),
        b"\x82\xfe\x00\x05" + bytes(9),
        b"\x82\xff" + (65535).to_bytes(8, "big") + bytes(4),
        frame(bytes(11)),
    ],
)
def test_othersAreLeft(other: bytes) -> None:
    """
    A partial, faulty or non-binary message is left where it stands.
    """
    before = frame(b"before")
    assert take(before + other, 10) == ([b"before"], len(before), False)


def test_held() -> None:
    """
    A message that has not come in full is waited for only while it is short.
    """
    long = frame(bytes(100_000))
    assert take(long[: HELD_AT_MOST - 1])[2]
    assert not take(long[:HELD_AT_MOST])[2]


@pytest.mark.parametrize("length", [0, 1, 125, 126, 65535, 65536, 1 << 33])
def test_header(length: int) -> None:
    """
    A header has the shortest form for its length (RFC 6455 5.2).
    """
    header = frameHeader(_WHOLE, length)
    assert len(header) == (2 if length < 126 else 4 if length < 65536 else 10)
    if length < 1 << 20:
        assert frames(header + bytes(length)) == [(_WHOLE, bytes(length))]


def make(forgets: bool = False, bits: int = 15, **keys: Any) -> tuple[Deflate, Any]:
    """
    The options of a listener, and what makes the frames of one connection.
    """
    deflate = Deflate(deflateOptions(Table(**keys)))
    return deflate, deflate.framer(bits, forgets)


TEXT = b"the quick brown fox jumps over the lazy dog, again and again; " * 20


def test_takeover() -> None:
    """
    With its context taken over, a repeated message becomes very short, and the client's decompressor follows.
    """
    _, one = make()
    decompressor = zlib.decompressobj(-15)
    sizes = []
    for _ in range(3):
        ((first, payload),) = frames(one(_WHOLE, TEXT))
        assert first == 0xC2
        assert decompressor.decompress(payload + b"\x00\x00\xff\xff") == TEXT
        sizes.append(len(payload))
    assert sizes[1] < sizes[0] / 3


def test_noTakeover() -> None:
    """
    Without it every message stands for itself.
    """
    _, one = make(forgets=True)
    for data in (TEXT, TEXT[::-1], TEXT):
        ((_, payload),) = frames(one(_WHOLE, data))
        assert inflate(payload) == data


def test_shared() -> None:
    """
    The same message for many is compressed once, unless their windows differ.
    """
    compression, one = make(forgets=True)
    other, narrow = compression.framer(15, True), compression.framer(9, True)
    made = one(_WHOLE, TEXT)
    assert other(_WHOLE, bytes(bytearray(TEXT))) is made
    assert narrow(_WHOLE, TEXT) is not made
    ((_, payload),) = frames(narrow(_WHOLE, TEXT))
    assert inflate(payload, 9) == TEXT
    assert one(_WHOLE, TEXT + b".") != made


def test_short() -> None:
    """
    A short message is not compressed.
    """
    for forgets in (True, False):
        _, one = make(forgets)
        assert one(_WHOLE, b"\xd0\x00") == b"\x82\x02\xd0\x00"


@pytest.mark.parametrize("level", ["none", "best_speed", "best_compression", "default", "0", "9"])
@pytest.mark.parametrize("strategy", ["default", "filtered", "huffman_only", "rle"])
def test_options(level: str, strategy: str) -> None:
    """
    The effort of zlib is the listener's choice, and changes nothing for the client.
    """
    _, one = make(level=level, strategy=strategy, mem_level=9)
    ((_, payload),) = frames(one(_WHOLE, TEXT))
    assert inflate(payload) == TEXT
    if level in ("none", "0"):
        assert len(payload) > len(TEXT)
    elif strategy == "default":
        assert len(payload) <= len(deflate(TEXT)) + 5
