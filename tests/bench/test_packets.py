"""
The packets of the generator, against bytes written down from the specification.
"""

from __future__ import annotations

import pytest

from bench import packets
from bench.generator import acknowledge


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (packets.connect("ab"), "100e00044d51545404" + "02012c" + "00026162"),
        (packets.connect("ab", clean=False), "100e00044d51545404" + "00012c" + "00026162"),
        (packets.subscribe(5, ["a", "b/#"], 1), "820c0005" + "00016101" + "0003622f2301"),
        (packets.publish("a", b"xy"), "3005000161" + "7879"),
        (packets.publish("a", b"xy", 1, 258, retain=True), "3307000161" + "0102" + "7879"),
        (packets.publish("a", b"", 2, 1), "3405000161" + "0001"),
        (packets.acknowledgement(packets.PUBREL, 513), "62020201"),
    ],
)
def test_bytes(made: bytes, expected: str) -> None:
    """
    Each kind of packet is what the specification shows.
    """
    assert made.hex() == expected


def test_longPacket() -> None:
    """
    A remaining length over 127 takes two bytes.
    """
    assert packets.publish("t", bytes(200))[:3] == b"\x30\xcb\x01"


def test_payloads() -> None:
    """
    Payloads have the size that the goals are stated for, and differ.
    """
    made = {packets.payload(source, number) for source in range(3) for number in range(300)}
    assert len(made) == 900
    assert {len(one) for one in made} == {64}


def test_acknowledge() -> None:
    """
    The acknowledgements carry the identifiers of the packets, in their order, and the packets are left without.
    """
    identifiers = [1, 255, 256, 65535]
    data = bytearray(b"".join(packets.publish("a", b"xyz", 1, identifier) for identifier in identifiers))
    size = len(data) // 4
    template = packets.acknowledgement(packets.PUBACK, 0) * 10
    answers = acknowledge(data, len(data), size, 5, template, bytes(10))
    assert answers == b"".join(packets.acknowledgement(packets.PUBACK, identifier) for identifier in identifiers)
    assert data == packets.publish("a", b"xyz", 1, 0) * 4
