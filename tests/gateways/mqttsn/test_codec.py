"""
The bytes of every message, as MQTT-SN 1.2 chapter 5 draws them.
"""

import pytest

from gateways.mqttsn.codec import MalformedError, decode, encode, encodePublish, withDup
from gateways.mqttsn.packets import (
    ADVERTISE,
    CONNACK,
    DISCONNECT,
    GWINFO,
    NAMES,
    PINGREQ,
    PINGRESP,
    PREDEFINED,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    REGACK,
    SEARCHGW,
    SHORT,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
    WILLMSG,
    WILLMSGREQ,
    WILLMSGRESP,
    WILLMSGUPD,
    WILLTOPIC,
    WILLTOPICREQ,
    WILLTOPICRESP,
    WILLTOPICUPD,
    Encapsulated,
    GatewayInfo,
    SNConnect,
    SNPacket,
    SNPublish,
    SNRegister,
    SNSuback,
    SNSubscribe,
    SNWillTopic,
)

CASES = [
    ("05 00 07 03 84", GatewayInfo(ADVERTISE, 7, duration=900)),
    ("03 01 02", GatewayInfo(SEARCHGW, radius=2)),
    ("03 02 07", GatewayInfo(GWINFO, 7)),
    ("05 02 07 0a 0b", GatewayInfo(GWINFO, 7, data=b"\x0a\x0b")),
    ("08 04 04 01 00 0a 73 31", SNConnect("s1", True, False, 10)),
    ("08 04 08 01 ff ff 73 31", SNConnect("s1", False, True, 65535)),
    ("03 05 00", SNPacket(CONNACK, code=0)),
    ("03 05 03", SNPacket(CONNACK, code=3)),
    ("02 06", SNPacket(WILLTOPICREQ)),
    ("06 07 30 61 2f 62", SNWillTopic(WILLTOPIC, "a/b", 1, True)),
    ("02 07", SNWillTopic(WILLTOPIC)),
    ("02 08", SNPacket(WILLMSGREQ)),
    ("04 09 68 69", SNPacket(WILLMSG, data=b"hi")),
    ("02 09", SNPacket(WILLMSG)),
    ("09 0a 00 05 01 02 61 2f 62", SNRegister(5, 0x102, "a/b")),
    ("07 0b 00 05 01 02 00", SNPacket(REGACK, 0x102, 0, 5)),
    ("09 0c 00 00 05 00 00 68 69", SNPublish(5, b"hi")),
    ("09 0c f2 61 62 01 02 68 69", SNPublish(0x6162, b"hi", -1, 0x102, SHORT, True, True)),
    ("07 0c 41 00 05 01 02", SNPublish(5, b"", 2, 0x102, PREDEFINED)),
    ("07 0d 00 05 01 02 02", SNPacket(PUBACK, 0x102, 2, 5)),
    ("04 0e 01 02", SNPacket(PUBCOMP, 0x102)),
    ("04 0f 01 02", SNPacket(PUBREC, 0x102)),
    ("04 10 01 02", SNPacket(PUBREL, 0x102)),
    ("08 12 a0 01 02 61 2f 23", SNSubscribe(SUBSCRIBE, 0x102, "a/#", qos=1, dup=True)),
    ("07 12 41 01 02 00 05", SNSubscribe(SUBSCRIBE, 0x102, "", 5, PREDEFINED, 2)),
    ("07 12 02 01 02 61 62", SNSubscribe(SUBSCRIBE, 0x102, "ab", 0, SHORT)),
    ("08 13 40 00 05 01 02 00", SNSuback(5, 0x102, 0, 2)),
    ("08 14 00 01 02 61 2f 62", SNSubscribe(UNSUBSCRIBE, 0x102, "a/b")),
    ("04 15 01 02", SNPacket(UNSUBACK, 0x102)),
    ("02 16", SNPacket(PINGREQ)),
    ("04 16 73 31", SNPacket(PINGREQ, data=b"s1")),
    ("02 17", SNPacket(PINGRESP)),
    ("02 18", SNPacket(DISCONNECT)),
    ("04 18 00 3c", SNPacket(DISCONNECT, duration=60)),
    ("06 1a 20 61 2f 62", SNWillTopic(WILLTOPICUPD, "a/b", 1)),
    ("02 1a", SNWillTopic(WILLTOPICUPD)),
    ("03 1b 00", SNPacket(WILLTOPICRESP, code=0)),
    ("04 1c 68 69", SNPacket(WILLMSGUPD, data=b"hi")),
    ("03 1d 03", SNPacket(WILLMSGRESP, code=3)),
    ("05 fe 01 aa bb 02 17", Encapsulated(b"\xaa\xbb", b"\x02\x17", 1)),
    ("03 fe 00 02 17", Encapsulated(b"", b"\x02\x17")),
]


@pytest.mark.parametrize("text, packet", CASES)
def test_bothWays(text: str, packet: SNPacket) -> None:
    """
    The bytes mean the message, and the message is written as these bytes.
    """
    data = bytes.fromhex(text)
    assert decode(data) == packet
    assert encode(packet) == data


def test_everyType() -> None:
    """
    No type of message is left out above.
    """
    assert {packet.type for _, packet in CASES} == set(NAMES)


@pytest.mark.parametrize("size", [248, 249, 250, 400, 65000])
def test_longLength(size: int) -> None:
    """
    From 256 bytes on the length takes three (5.2.1); one that fits may be written so too.
    """
    packet = SNPublish(5, b"x" * size, 1, 7)
    data = encode(packet)
    assert data == encodePublish(0, 5, b"x" * size, 1, 7)
    assert (data[0] == 1) is (len(data) > 255)
    assert decode(data) == packet
    assert decode(bytes.fromhex("01 00 04 17")) == SNPacket(PINGRESP)


@pytest.mark.parametrize("size", [10, 300])
def test_dup(size: int) -> None:
    """
    A PUBLISH that goes out again has DUP set, and nothing else changed.
    """
    packet = SNPublish(5, b"x" * size, 1, 7)
    again = decode(withDup(encode(packet)))
    packet.dup = True
    assert again == packet


@pytest.mark.parametrize(
    "text",
    [
        "",
        "02",
        "00 17",
        "03 17",
        "02 17 00",
        "01 00 17",
        "01 00 05 17",
        "02 03",
        "02 11",
        "02 19",
        "02 1e",
        "04 05 00 00",
        "03 06 00",
        "06 04 04 01 00",
        "05 04 04 01",
        "08 04 04 01 00 0a 73 ff",
        "06 0a 00 05 01 02",
        "07 0a 00 05 01 02",
        "06 0b 00 05 01 02",
        "06 0c 00 00 05 00",
        "08 0c 03 00 05 00 00 68",
        "03 0e 01",
        "05 0f 01 02 03",
        "05 12 00 01 02",
        "06 12 60 01 02 61",
        "06 12 03 01 02 61",
        "06 12 01 01 02 61",
        "08 12 02 01 02 61 62 63",
        "03 18 00",
        "05 18 00 00 00",
        "05 07 60 61 62",
        "02 fe",
        "03 fe 00",
        "03 fe 00 02",
        "ff fe 00 02 17",
        "01 00 06 fe 00 02 17",
    ],
)
def test_malformed(text: str) -> None:
    """
    A malformed message is reported as such.
    """
    with pytest.raises(MalformedError):
        decode(bytes.fromhex(text))
