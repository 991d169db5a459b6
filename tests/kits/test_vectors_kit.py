"""
The kit that runs the vectors: its encoder, its strict decoder, and its comparisons.
"""

from __future__ import annotations

import pytest

from tests.vectors.compare import Comparison
from tests.vectors.packets import Malformed, decode, encode, parse, split, unescaped, varint

SENT = [
    ("CONNECT a", 4, "10 0d 0004 4d515454 04 02 0000 0001 61"),
    ("CONNECT a", 3, "10 0f 0006 4d5149736470 03 02 0000 0001 61"),
    ("CONNECT a clean=0 keep=60 sessionexpiry=10", 5, "10 13 0004 4d515454 05 00 003c 05 11 0000000a 0001 61"),
    (
        "CONNECT a will=t:m willqos=1 willretain username=u password=p w.willdelay=1",
        5,
        "10 20 0004 4d515454 05 ee 0000 00 0001 61 05 18 00000001 0001 74 0001 6d 0001 75 0001 70",
    ),
    ("PUBLISH t hi", 4, "30 05 0001 74 6869"),
    ("PUBLISH t hi q1 id=5 dup retain", 4, "3b 07 0001 74 0005 6869"),
    ("PUBLISH t hi user=k:v", 5, "30 0d 0001 74 07 26 0001 6b 0001 76 6869"),
    ("PUBACK 5", 5, "40 02 0005"),
    ("PUBACK 5 0x10", 5, "40 03 0005 10"),
    ("PUBACK 5 0x10", 4, "40 02 0005"),
    ("PUBREL 5", 4, "62 02 0005"),
    ("SUBSCRIBE 1 a/+:1,nl,rap,rh2 b:0", 5, "82 0d 0001 00 0003 612f2b 2d 0001 62 00"),
    ("UNSUBSCRIBE 1 a b", 4, "a2 08 0001 0001 61 0001 62"),
    ("PINGREQ", 4, "c0 00"),
    ("DISCONNECT", 5, "e0 00"),
    ("DISCONNECT 0 sessionexpiry=0", 5, "e0 07 00 05 11 00000000"),
    ("AUTH 0x18 authmethod=X", 5, "f0 06 18 04 15 0001 58"),
]


@pytest.mark.parametrize(("line", "version", "wanted"), SENT)
def test_encodes(line: str, version: int, wanted: str) -> None:
    """
    A line becomes the bytes that the specification's tables give it.
    """
    assert encode(parse(line), version).hex() == wanted.replace(" ", "")


RECEIVED = [
    ("20 02 01 00", 4, "CONNACK present"),
    ("20 02 00 05", 4, "CONNACK 5"),
    ("20 06 00 00 03 22 000a", 5, "CONNACK aliasmax=10 -receivemax"),
    ("30 05 0001 74 6869", 4, "PUBLISH t hi"),
    ("3b 07 0001 74 0005 6869", 4, "PUBLISH t hi q1 id=5 dup retain"),
    ("30 0d 0001 74 07 26 0001 6b 0001 76 6869", 5, "PUBLISH t hi user=k:v"),
    ("30 08 0001 74 02 0b 07 6869", 5, "PUBLISH t hi subid=7"),
    ("40 02 0005", 5, "PUBACK 5"),
    ("40 03 0005 10", 5, "PUBACK 5 0x00/0x10"),
    ("90 05 0001 00 01 87", 5, "SUBACK 1 1 0x87"),
    ("90 04 0001 01 80", 4, "SUBACK 1 1 0x80"),
    ("b0 02 0001", 4, "UNSUBACK 1 0 0x11"),
    ("d0 00", 4, "PINGRESP"),
    ("e0 01 8e", 5, "DISCONNECT 0x8e"),
    ("f0 00", 5, "AUTH"),
]


@pytest.mark.parametrize(("data", "version", "line"), RECEIVED)
def test_recognises(data: str, version: int, line: str) -> None:
    """
    Bytes from a server are what the line describes.
    """
    assert Comparison().difference(line, decode(bytes.fromhex(data), version)) == ""


@pytest.mark.parametrize(
    ("data", "version", "line"),
    [
        ("20 02 01 00", 4, "CONNACK"),
        ("20 06 00 00 03 22 000a", 5, "CONNACK aliasmax=11"),
        ("20 06 00 00 03 22 000a", 5, "CONNACK -aliasmax"),
        ("20 06 00 00 03 22 000a", 5, "CONNACK aliasmax=<=9"),
        ("30 05 0001 74 6869", 4, "PUBLISH t ho"),
        ("30 05 0001 74 6869", 4, "PUBLISH s hi"),
        ("30 05 0001 74 6869", 4, "PUBLISH t hi retain"),
        ("32 07 0001 74 0005 6869", 4, "PUBLISH t hi q1 id=6"),
        ("32 07 0001 74 0005 6869", 4, "PUBLISH t hi"),
        ("30 0d 0001 74 07 26 0001 6b 0001 76 6869", 5, "PUBLISH t hi"),
        ("30 0d 0001 74 07 26 0001 6b 0001 76 6869", 5, "PUBLISH t hi user=k:w"),
        ("30 08 0001 74 02 0b 07 6869", 5, "PUBLISH t hi ~alias=1"),
        ("40 03 0005 10", 5, "PUBACK 5"),
        ("90 04 0001 01 80", 4, "SUBACK 1 1"),
        ("90 04 0001 01 80", 4, "SUBACK 1 0x80 1"),
        ("90 03 0001 80", 4, "SUBACK 1"),
        ("b0 05 0001 00 00 11", 5, "UNSUBACK 1 0"),
        ("d0 00", 4, "PUBACK 1"),
        ("e0 01 8e", 5, "DISCONNECT 0x82"),
    ],
)
def test_tellsApart(data: str, version: int, line: str) -> None:
    """
    A packet that differs from its line in one thing is not accepted for it.
    """
    assert Comparison().difference(line, decode(bytes.fromhex(data), version)) != ""


@pytest.mark.parametrize(
    ("data", "version"),
    [
        ("20 02 02 00", 4),  # a reserved connect acknowledge flag
        ("20 02 00 06", 4),  # a return code that does not exist
        ("20 03 00 05 00", 5),  # a return code of 3.x in 5.0
        ("20 03 00 00", 5),  # longer than it is
        ("20 04 00 00 00 00", 5),  # a byte left over
        ("36 07 0001 74 0005 6869", 4),  # QoS 3
        ("38 05 0001 74 6869", 4),  # DUP at QoS 0
        ("32 07 0001 74 0000 6869", 4),  # packet identifier 0
        ("30 05 0001 ff 6869", 4),  # not UTF-8
        ("30 05 0001 00 6869", 4),  # U+0000
        ("30 0a 0001 74 04 01 01 01 01 6869", 5),  # a property twice
        ("30 09 0001 74 03 21 0001 6869", 5),  # a property of CONNACK
        ("30 08 0001 74 02 7e 07 6869", 5),  # an unknown property
        ("30 80 00", 4),  # a length that is not minimal
        ("60 02 0005", 4),  # the flags of PUBREL
        ("40 03 0005 92", 5),  # a reason of PUBCOMP
        ("40 03 0005 00", 4),  # a reason before 5.0
        ("90 03 0001 03", 4),  # a code that does not exist
        ("e0 00", 4),  # a DISCONNECT from a server before 5.0
        ("e0 01 04", 5),  # a reason of clients
        ("e0 07 00 05 11 00000000", 5),  # a session expiry interval in a server's DISCONNECT
        ("f0 01 19", 5),  # a reason of clients
        ("c0 00", 4),  # a packet of clients
        ("00 00", 4),  # no packet
    ],
)
def test_refuses(data: str, version: int) -> None:
    """
    A packet that no server may send is not accepted from one.
    """
    with pytest.raises(Malformed):
        decode(bytes.fromhex(data), version)


@pytest.mark.parametrize(
    ("number", "wanted"), [(0, "00"), (127, "7f"), (128, "8001"), (16383, "ff7f"), (2097152, "80808001")]
)
def test_variableByteInteger(number: int, wanted: str) -> None:
    """
    The lengths at which another byte is needed are those of the specification.
    """
    assert varint(number).hex() == wanted


def test_splitWaitsForWholePackets() -> None:
    """
    However a stream is cut, no packet is taken before it is complete.
    """
    stream = bytes.fromhex("d000 3005000174 6869 d000".replace(" ", ""))
    for end in range(len(stream)):
        buffer, packets = stream[:end], 0
        while (cut := split(buffer)) is not None:
            buffer, packets = cut[1], packets + 1
        assert packets == (end >= 2) + (end >= 9)
    with pytest.raises(Malformed):
        split(b"\x30\x80\x80\x80\x80\x01")


@pytest.mark.parametrize(
    ("word", "wanted"), [("''", b""), ("a%00b", b"a\0b"), ("ab*3", b"ababab"), ("é", b"\xc3\xa9"), ("a/b", b"a/b")]
)
def test_words(word: str, wanted: bytes) -> None:
    """
    A word stands for these bytes.
    """
    assert unescaped(word) == wanted


def test_captures() -> None:
    """
    A name captures once, compares later, and can be excluded.
    """
    comparison = Comparison()
    five, six = (decode(bytes.fromhex(f"320500017400{number:02x}"), 4) for number in (5, 6))
    assert comparison.difference("PUBLISH t '' q1 id=$p", five) == ""
    assert comparison.difference("PUBLISH t '' q1 id=$p", six) != ""
    assert comparison.difference("PUBLISH t '' q1 id=!p", five) != ""
    assert comparison.difference("PUBLISH t '' q1 id=!p", six) == ""
    assert comparison.difference("PUBLISH t '' q1 id=$q!p", six) == ""
    assert comparison.captured == {"p": 5, "q": 6}


@pytest.mark.parametrize("line", ["NONSENSE 1", "publish a b", "CONNACK"])
def test_refusesOtherLines(line: str) -> None:
    """
    A packet that no client sends is the vector's fault, and the error says so.
    """
    with pytest.raises(ValueError, match="no such packet|does not send"):
        encode(parse(line), 5)
