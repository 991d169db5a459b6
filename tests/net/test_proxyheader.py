"""
Tests for L{twisted_mqtt.net.proxyheader}: PROXY headers of both versions, byte by byte.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_mqtt.net.proxyheader import LONGEST_2, SIGNATURE_2, ProxyError, ProxyHeader, crc32c, parse

CLIENT, SERVER = ("192.0.2.1", 50000), ("198.51.100.7", 8883)
CLIENT6, SERVER6 = ("2001:db8::1", 50000), ("2001:db8::7", 8883)


def vector(type_: int, value: bytes) -> bytes:
    """
    A value of version 2.
    """
    return struct.pack("!BH", type_, len(value)) + value


def tls(*values: bytes, flags: int = 7, refused: int = 0) -> bytes:
    """
    A balancer's information about TLS.
    """
    return vector(0x20, struct.pack("!BI", flags, refused) + b"".join(values))


def header2(
    command: int = 0x21,
    family: int = 0x11,
    addresses: bytes | None = None,
    values: bytes = b"",
    length: int | None = None,
) -> bytes:
    """
    A header of version 2, right in every respect but those given.
    """
    if addresses is None:
        ends = {1: (CLIENT, SERVER), 2: (CLIENT6, SERVER6)}[family >> 4]
        addresses = b"".join(ip_address(host).packed for host, _ in ends)
        addresses += struct.pack("!HH", *(port for _, port in ends))
    body = addresses + values
    return SIGNATURE_2 + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


def facts(header: ProxyHeader | None) -> tuple[object, ...]:
    """
    The content of a header.
    """
    assert header is not None
    return header.source, header.destination, header.commonName


GOOD = {
    "TCP4": (b"PROXY TCP4 192.0.2.1 198.51.100.7 50000 8883\r\n", (CLIENT, SERVER, None)),
    "TCP6": (b"PROXY TCP6 2001:db8::1 2001:db8:0::7 50000 8883\r\n", (CLIENT6, SERVER6, None)),
    "longest": (
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535".ljust(105, b"x") + b"\r\n",
        (None, None, None),
    ),
    "unknown": (b"PROXY UNKNOWN\r\n", (None, None, None)),
    "ports": (b"PROXY TCP4 192.0.2.1 198.51.100.7 0 65535\r\n", ((CLIENT[0], 0), (SERVER[0], 65535), None)),
    "2 IPv4": (header2(), (CLIENT, SERVER, None)),
    "2 IPv6": (header2(family=0x21), (CLIENT6, SERVER6, None)),
    "2 UNIX": (header2(family=0x31, addresses=bytes(216)), (None, None, None)),
    "2 local": (header2(command=0x20), (None, None, None)),
    "2 local without addresses": (header2(command=0x20, family=0, addresses=b""), (None, None, None)),
    "2 unspecified": (header2(family=0, addresses=b"whatever"), (None, None, None)),
    "2 unknown values": (header2(values=vector(0x04, b"") + vector(0xE5, b"x" * 300)), (CLIENT, SERVER, None)),
    "2 name": (
        header2(values=vector(0x01, b"mqtt") + tls(vector(0x21, b"TLSv1.3"), vector(0x22, "Gerät".encode()))),
        (CLIENT, SERVER, "Gerät"),
    ),
    "2 name of a session": (header2(values=tls(vector(0x22, b"device1"), flags=5)), (CLIENT, SERVER, "device1")),
    # A certificate that was not verified, or not shown, says nothing.
    "2 name refused": (header2(values=tls(vector(0x22, b"device1"), refused=1)), (CLIENT, SERVER, None)),
    "2 name without certificate": (header2(values=tls(vector(0x22, b"device1"), flags=1)), (CLIENT, SERVER, None)),
    "2 TLS without certificate": (header2(values=tls(vector(0x21, b"TLSv1.2"), flags=1)), (CLIENT, SERVER, None)),
    "2 longest": (header2(values=vector(0xE0, bytes(LONGEST_2 - 16 - 12 - 3))), (CLIENT, SERVER, None)),
}

BAD = {
    "MQTT": b"\x10\x0c\x00\x04MQTT",
    "HTTP": b"PUT / HTTP/1.1\r\n",
    "case": b"proxy TCP4",
    "endless": b"PROXY UNKNOWN " + b"x" * 100,
    "too long by one": b"PROXY UNKNOWN".ljust(106, b"x") + b"\r\n",
    "family": b"PROXY TCP5 192.0.2.1 198.51.100.7 50000 8883\r\n",
    "few words": b"PROXY TCP4 192.0.2.1 198.51.100.7 50000\r\n",
    "many words": b"PROXY TCP4 192.0.2.1 198.51.100.7 50000 8883 1\r\n",
    "two spaces": b"PROXY TCP4  192.0.2.1 198.51.100.7 50000 8883\r\n",
    "address": b"PROXY TCP4 192.0.2.256 198.51.100.7 50000 8883\r\n",
    "other family's address": b"PROXY TCP4 ::1 198.51.100.7 50000 8883\r\n",
    "no text": b"PROXY TCP4 \xff 198.51.100.7 50000 8883\r\n",
    "zone": b"PROXY TCP6 fe80::1%eth0 2001:db8::7 50000 8883\r\n",
    "port": b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 8883\r\n",
    "signed port": b"PROXY TCP4 192.0.2.1 198.51.100.7 +1 8883\r\n",
    "long port": b"PROXY TCP4 192.0.2.1 198.51.100.7 000001 8883\r\n",
    "2 version": header2(command=0x31),
    "2 command": header2(command=0x22),
    "2 too long": header2(length=LONGEST_2 - 16 + 1)[:16],
    "2 huge": header2(length=65535)[:16],
    "2 short addresses": header2(addresses=bytes(11)),
    "2 short IPv6 addresses": header2(family=0x21, addresses=bytes(35)),
    "2 cut value": header2(values=b"\x04\x00"),
    "2 long value": header2(values=b"\x04\x00\x01"),
    "2 short TLS": header2(values=vector(0x20, bytes(4))),
    "2 long value in TLS": header2(values=tls(b"\x22\x00\x05abc")),
    "2 name is not text": header2(values=tls(vector(0x22, b"\xff"))),
    "2 null in name": header2(values=tls(vector(0x22, b"admin\0"))),
    "2 checksum": header2(values=vector(0x03, bytes(4))),
    "2 short checksum": header2(values=vector(0x03, bytes(3))),
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    """
    A header is read as soon as its last byte is there and not before, and what follows is left alone.
    """
    data, expected = GOOD[name]
    for length in range(len(data)):
        assert parse(data[:length]) is None, length
    for rest in (b"", b"\x10\x0c\x00\x04MQTT", data):
        header = parse(data + rest)
        assert facts(header) == expected
        assert header is not None
        assert header.size == len(data)


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    """
    A malformed header is refused, at the latest when all of it is there, however it came.
    """
    data = BAD[name]
    with pytest.raises(ProxyError):
        parse(data)
    with pytest.raises(ProxyError):
        for length in range(len(data) + 1):
            assert parse(data[:length]) is None


def test_checksum() -> None:
    """
    A right checksum is accepted: that of the header with zeros in its place.
    """
    assert crc32c(b"123456789") == 0xE3069283
    before = vector(0xE1, b"x")
    empty = header2(values=before + vector(0x03, bytes(4)) + vector(0xE2, b"y"))
    right = header2(values=before + vector(0x03, crc32c(empty).to_bytes(4, "big")) + vector(0xE2, b"y"))
    assert facts(parse(right)) == (CLIENT, SERVER, None)


BEGINNINGS = [b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE_2, SIGNATURE_2 + b"\x21\x11"]


@given(st.binary(max_size=200), st.sampled_from(BEGINNINGS))
def test_anything(data: bytes, beginning: bytes) -> None:
    """
    Every input is a header, the beginning of one, or refused.
    """
    try:
        header = parse(beginning + data)
    except ProxyError:
        return
    assert header is None or 0 < header.size <= len(beginning + data)
