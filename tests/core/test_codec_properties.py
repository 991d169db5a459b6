"""
Properties of L{twisted_mqtt.core.codec} for any input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.kits.strategies import connects, packets, properties, versions
from twisted_mqtt.core.codec import LARGEST, Decoder, encode
from twisted_mqtt.core.packets import Connect, Packet
from twisted_mqtt.core.properties import TABLE, decodeProperties, encodeProperties, encodeVarint
from twisted_mqtt.core.reasons import NAMES, ProtocolError
from twisted_mqtt.testing.peer import fieldsOf


def fieldsOfAll(found: Sequence[Packet]) -> list[dict[str, Any]]:
    """
    Compare the content of packets.
    """
    return [fieldsOf(packet) for packet in found]


def decoderFor(version: int, maxPacketSize: int = LARGEST) -> Decoder:
    """
    A decoder that has seen its CONNECT.
    """
    return Decoder(maxPacketSize, version)


@given(versions.flatmap(lambda version: st.tuples(st.just(version), packets(version))))
def test_decodingGivesBackWhatWasEncoded(case: tuple[int, Packet]) -> None:
    """
    C{decode(encode(packet)) == packet} for every packet that a version has, and nothing is left over.
    """
    version, packet = case
    decoder = decoderFor(version)
    found = decoder.feed(encode(packet, version))
    assert decoder.error is None
    assert fieldsOfAll(found) == [fieldsOf(packet)]


@given(versions.flatmap(connects))
def test_connectToo(packet: Connect) -> None:
    """
    The same for CONNECT, which tells the decoder the version.
    """
    decoder = Decoder()
    found = decoder.feed(encode(packet, packet.version))
    assert decoder.error is None
    assert fieldsOfAll(found) == [fieldsOf(packet)]
    assert decoder.version == packet.version


@given(st.sampled_from(range(16)).flatmap(lambda bit: st.tuples(st.just(1 << bit), properties(1 << bit))))
def test_propertiesAlone(case: tuple[int, Any]) -> None:
    """
    Properties come back from their encoding, for each packet that has some, and only those that it may have.
    """
    packet, wanted = case
    encoded = encodeProperties(wanted, packet)
    assert decodeProperties(encoded, 0, len(encoded), packet) == (wanted, len(encoded))
    if wanted is not None:
        assert all(bits & packet for name, _, bits in TABLE.values() if getattr(wanted, name) is not None)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """
    Cut bytes at places.
    """
    places = sorted({place % (len(data) + 1) for place in cuts} | {0, len(data)})
    return [data[start:end] for start, end in zip(places, places[1:], strict=False)]


@given(
    versions.flatmap(
        lambda version: st.tuples(st.just(version), connects(version), st.lists(packets(version), max_size=4))
    ),
    st.lists(st.integers(0, 10000), max_size=12),
    st.binary(max_size=6),
)
def test_anyCuttingGivesTheSame(case: tuple[int, Connect, list[Packet]], cuts: list[int], rest: bytes) -> None:
    """
    However a stream is cut, byte by byte included, the same packets come out, with the same fault at its end.
    """
    version, connect, others = case
    stream = encode(connect, version) + b"".join(encode(packet, version) for packet in others) + rest
    whole = Decoder()
    wanted = fieldsOfAll(whole.feed(stream))
    assert len(wanted) >= 1 + len(others) or whole.error is not None
    for pieces in (cut(stream, cuts), [stream[index : index + 1] for index in range(len(stream))]):
        decoder = Decoder()
        found = [packet for piece in pieces for packet in decoder.feed(piece)]
        assert fieldsOfAll(found) == wanted
        assert (decoder.error is None) == (whole.error is None)
        if decoder.error is not None and whole.error is not None:
            assert decoder.error.reason == whole.error.reason


# Half of them begin like a packet, or nothing would get past the first byte.
_NOISE = st.binary(max_size=120) | st.builds(
    lambda first, body: bytes((first, len(body))) + body, st.integers(0, 255), st.binary(max_size=120)
)


@given(st.sampled_from((0, 3, 4, 5)), st.lists(_NOISE, max_size=5))
@example(0, [b"\x10\xff\xff\xff\xff\x01"])
@example(5, [b"\x30\x80\x00"])
@example(5, [b"\x30\xff\xff\xff\x7f"])
def test_anyBytesGivePacketsOrAnError(version: int, pieces: list[bytes]) -> None:
    """
    Any input gives packets or a C{ProtocolError} with a reason code of DISCONNECT, and nothing else.
    """
    decoder = Decoder(1000, version)
    for piece in pieces:
        found = decoder.feed(piece)
        assert all(isinstance(packet, Packet) for packet in found)
    if decoder.error is not None:
        assert isinstance(decoder.error, ProtocolError)
        assert decoder.error.reason >= 0x80 and decoder.error.reason in NAMES
        assert decoder.feed(b"\xc0\x00") == []


@given(versions.flatmap(lambda version: st.tuples(st.just(version), packets(version))), st.data())
def test_damagedPackets(case: tuple[int, Packet], data: st.DataObject) -> None:
    """
    A packet with a bit turned, or cut short under its own length, is another packet or an error.
    """
    version, packet = case
    wire = bytearray(encode(packet, version))
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    decoder = Decoder(1000, version)
    for each in decoder.feed(bytes(wire)):
        # A decoded packet can be encoded again.
        assert isinstance(encode(each, version), bytes)


@given(st.integers(2, 400), st.integers(1, 50))
def test_memoryIsBounded(maxPacketSize: int, piece: int) -> None:
    """
    A packet that never ends, and one that says that it is large, are refused before more than the limit is kept.
    """
    decoder = Decoder(maxPacketSize, 5)
    sent = 0
    stream = b"\x30\xff\xff\x7f" + b"x" * 1000
    for start in range(0, len(stream), piece):
        assert decoder.feed(stream[start : start + piece]) == []
        sent += piece
        if decoder.error is not None:
            break
    assert decoder.error is not None
    assert sent <= 5 + piece


def test_longestPacket() -> None:
    """
    What is longer than any packet may be is no packet: its length would be read as something else.
    """
    assert encodeVarint(LARGEST) == b"\xff\xff\xff\x7f"
    with pytest.raises(ValueError):
        encodeVarint(LARGEST + 1)
