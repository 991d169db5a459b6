"""
A stream with a fault in it must be seen as such, however it is cut.
"""

from __future__ import annotations

import random

import pytest

from bench import packets
from bench.checker import BrokenStream, MixedCheck, Ring, StreamCheck

COUNT = 50
PACKETS = [packets.publish("a/topic", packets.payload(7, number)) for number in range(COUNT)]
SIZE = len(PACKETS[0])


def fed(stream: list[bytes], cuts: list[int] | None = None) -> StreamCheck:
    """
    A check that was given these packets, in chunks of these sizes (the last one over and over).
    """
    check = StreamCheck(Ring(PACKETS, 1000))
    data = b"".join(stream)
    sizes = list(cuts or [len(data)])
    while data:
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        check.check(memoryview(data[:size]))
        data = data[size:]
    return check


def outcome(check: StreamCheck) -> tuple[int, int, int]:
    return check.received, check.lost, check.disordered


CUTS = [None, [1], [7], [SIZE], [SIZE - 1], [SIZE + 1], [999], [3 * SIZE + 5, 2]]


@pytest.mark.parametrize("cuts", CUTS)
def test_wholeStream(cuts: list[int] | None) -> None:
    """
    Packets in order are received, more than once round the ring too.
    """
    assert outcome(fed(PACKETS * 3, cuts)) == (3 * COUNT, 0, 0)


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("gone", [0, 1, 20, COUNT - 1])
def test_lost(cuts: list[int] | None, gone: int) -> None:
    """
    A packet that is missing counts as lost, and those after it as received.
    """
    stream = PACKETS * 2
    del stream[gone]
    assert outcome(fed(stream, cuts)) == (2 * COUNT - 1, 1, 0)


@pytest.mark.parametrize("cuts", CUTS)
def test_repeated(cuts: list[int] | None) -> None:
    """
    A packet that comes twice is out of order, and does not hide that another is missing.
    """
    stream = PACKETS[:10] + [PACKETS[9]] + PACKETS[11:]
    assert outcome(fed(stream, cuts)) == (COUNT, 1, 1)


@pytest.mark.parametrize("cuts", CUTS)
def test_exchanged(cuts: list[int] | None) -> None:
    """
    Two packets in the wrong order are one that was skipped and one that came late.
    """
    stream = PACKETS * 2
    stream[30], stream[31] = stream[31], stream[30]
    assert outcome(fed(stream, cuts)) == (2 * COUNT, 1, 1)


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize("at", [0, 5, SIZE - 1])
def test_altered(cuts: list[int] | None, at: int) -> None:
    """
    A packet that was never sent is refused, whichever byte it differs in.
    """
    altered = bytearray(PACKETS[20])
    altered[at] ^= 1
    with pytest.raises(BrokenStream):
        fed([*PACKETS[:20], bytes(altered), *PACKETS[21:]], cuts)


def test_faultsDoNotEndTheChecking() -> None:
    """
    After a fault the stream is followed on, and later faults are seen as well.
    """
    stream = PACKETS * 4
    for gone in (150, 90, 40, 3):
        del stream[gone]
    assert outcome(fed(stream, [777])) == (4 * COUNT - 4, 4, 0)


def test_packetsOfDifferentSize() -> None:
    """
    A ring refuses packets that arithmetic cannot find.
    """
    with pytest.raises(ValueError, match="one size"):
        Ring([b"abc", b"ab"], 10)


def mixed() -> tuple[MixedCheck, list[list[bytes]]]:
    streams = [
        [packets.publish(f"from/{source}", packets.payload(source, number)) for number in range(COUNT)]
        for source in range(3)
    ]
    rings = {source: Ring(stream, 1000) for source, stream in enumerate(streams)}
    size = len(streams[0][0])
    return MixedCheck(rings, size - packets.PAYLOAD_SIZE), streams


def test_mixedInAnyWay() -> None:
    """
    Streams may interleave as they like, as long as each is in order.
    """
    check, streams = mixed()
    left = [list(stream) for stream in streams]
    draw = random.Random(1)
    merged = []
    while any(left):
        merged.append(draw.choice([stream for stream in left if stream]).pop(0))
    data = bytearray(b"".join(merged))
    half = len(merged) // 2 * check.size
    first = check.check(data[:half], half)
    second = check.check(data[half:], len(data) - half)
    assert {source: first[source] + second[source] for source in first} == {0: COUNT, 1: COUNT, 2: COUNT}
    assert all(outcome(one) == (COUNT, 0, 0) for one in check.checks.values())


def test_mixedLoss() -> None:
    """
    A loss is that of its own stream.
    """
    check, streams = mixed()
    del streams[1][5]
    data = bytearray(b"".join(packet for three in zip(*streams, strict=False) for packet in three))
    check.check(data, len(data))
    assert [check.checks[source].lost for source in range(3)] == [0, 1, 0]


def test_mixedUnknownSource() -> None:
    """
    Nobody else may be heard.
    """
    check, _ = mixed()
    stray = bytearray(packets.publish("from/9", packets.payload(9, 0)))
    with pytest.raises(BrokenStream, match="publisher 9"):
        check.check(stray, len(stray))
