"""
The header that a load balancer sends before a connection: the PROXY protocol, versions 1 and 2.

Bytes only: it takes the bytes that have come so far, and returns the header as soon as it is complete. Clause numbers
are those of HAProxy's C{proxy-protocol.txt}.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from struct import Struct
from typing import Final

SIGNATURE_1: Final = b"PROXY "
SIGNATURE_2: Final = b"\r\n\r\n\0\r\nQUIT\n"

LONGEST_1: Final = 107
"""
Bytes of a header of version 1 (2.1), with the line's end.
"""

LONGEST_2: Final = 4096
"""
Bytes that are waited for of a header of version 2. It could say 65,551, but nobody has that much to tell.
"""

_START_2: Final = Struct("!12sBBH")

# 2.2: the lower half of byte 13.
_LOCAL: Final = 0
_PROXY: Final = 1

# 2.2: byte 14, by the family in its upper half; and what addresses look like.
_IPV4: Final = 1
_IPV6: Final = 2
_UNIX: Final = 3
_ADDRESSES: Final = {_IPV4: Struct("!4s4sHH"), _IPV6: Struct("!16s16sHH"), _UNIX: Struct("!108s108s")}

# 2.2: types of what follows the addresses.
_SSL: Final = 0x20
_SSL_CN: Final = 0x22
_CRC32C: Final = 0x03

# 2.2.6: what the client has done.
_CLIENT_SSL: Final = 0x01
_CLIENT_CERTIFICATE: Final = 0x02 | 0x04

Endpoint = tuple[str, int]
"""
A numeric address and a port.
"""


class ProxyError(Exception):
    """
    The bytes are not a PROXY header.
    """


class ProxyHeader:
    """
    The data that a load balancer sends about a connection.

    @ivar size: how many bytes the header has.
    @ivar source: the client's address; L{None} where the connection is the balancer's own, or of an unknown kind: then
        the addresses of the connection itself hold.
    @ivar destination: the address that the client has connected to; L{None} with C{source}.
    @ivar commonName: that of the client's certificate, which the balancer has verified; L{None} if there is none.
    """

    __slots__ = ("commonName", "destination", "size", "source")

    def __init__(
        self,
        size: int,
        source: Endpoint | None = None,
        destination: Endpoint | None = None,
        commonName: str | None = None,
    ) -> None:
        self.size = size
        self.source = source
        self.destination = destination
        self.commonName = commonName


def parse(data: bytes) -> ProxyHeader | None:
    """
    Read a header.

    @param data: all that has come, from the first byte on.
    @return: L{None} where more has to come.
    @raise ProxyError: where no header begins so.
    """
    if SIGNATURE_2.startswith(data[: len(SIGNATURE_2)]):
        return _parse2(data) if len(data) >= _START_2.size else None
    if SIGNATURE_1.startswith(data[: len(SIGNATURE_1)]):
        return _parse1(data) if len(data) > len(SIGNATURE_1) else None
    raise ProxyError("no PROXY header came")


# Version 1


def _parse1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, LONGEST_1)
    if end < 0:
        if len(data) >= LONGEST_1:
            raise ProxyError("the line of the PROXY header does not end")
        return None
    size = end + 2
    words = data[len(SIGNATURE_1) : end].split(b" ")
    if words[0] == b"UNKNOWN":
        return ProxyHeader(size)
    if words[0] not in (b"TCP4", b"TCP6") or len(words) != 5:
        raise ProxyError("the PROXY header has another shape")
    kind = IPv4Address if words[0] == b"TCP4" else IPv6Address
    source, destination = (_address1(kind, word) for word in words[1:3])
    sourcePort, destinationPort = (_port1(word) for word in words[3:])
    return ProxyHeader(size, (source, sourcePort), (destination, destinationPort))


def _address1(kind: type[IPv4Address] | type[IPv6Address], word: bytes) -> str:
    try:
        # A zone is this machine's affair, not the client's; Python would take it for a part of the address.
        if b"%" not in word:
            return str(kind(word.decode("ascii")))
    except (AddressValueError, UnicodeDecodeError):
        pass
    raise ProxyError("the PROXY header holds no address where one should be")


def _port1(word: bytes) -> int:
    if word.isdigit() and len(word) <= 5 and int(word) <= 65535:
        return int(word)
    raise ProxyError("the PROXY header holds no port where one should be")


# Version 2


def _parse2(data: bytes) -> ProxyHeader | None:
    _, versionAndCommand, familyAndTransport, length = _START_2.unpack_from(data)
    version, command = versionAndCommand >> 4, versionAndCommand & 0x0F
    if version != 2 or command not in (_LOCAL, _PROXY):
        raise ProxyError("the PROXY header is of a version that nobody knows")
    size = _START_2.size + length
    if size > LONGEST_2:
        raise ProxyError(f"the PROXY header is longer than {LONGEST_2} bytes")
    if len(data) < size:
        return None
    family = familyAndTransport >> 4
    addresses = _ADDRESSES.get(family)
    if command == _LOCAL or addresses is None:
        # 2.2: a health check of the balancer itself, or a kind of address that it does not tell
        return ProxyHeader(size)
    if length < addresses.size:
        raise ProxyError("the PROXY header is too short for its addresses")
    source: Endpoint | None = None
    destination: Endpoint | None = None
    if family != _UNIX:
        kind = IPv4Address if family == _IPV4 else IPv6Address
        first, second, firstPort, secondPort = addresses.unpack_from(data, _START_2.size)
        source, destination = (str(kind(first)), firstPort), (str(kind(second)), secondPort)
    commonName = None
    for type_, start, end in _vectors(data, _START_2.size + addresses.size, size):
        if type_ == _SSL:
            commonName = _commonName(data, start, end)
        elif type_ == _CRC32C and not _checks(data[:size], start, end):
            raise ProxyError("the checksum of the PROXY header is wrong")
    return ProxyHeader(size, source, destination, commonName)


def _vectors(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """
    Walk through the values behind the addresses: type, first byte, byte after the last (2.2, "type-length-value").
    """
    while start < end:
        if end - start < 3:
            raise ProxyError("the PROXY header ends in the middle of a value")
        length = int.from_bytes(data[start + 1 : start + 3], "big")
        if length > end - start - 3:
            raise ProxyError("a value of the PROXY header is longer than the header")
        yield data[start], start + 3, start + 3 + length
        start += 3 + length


def _commonName(data: bytes, start: int, end: int) -> str | None:
    """
    2.2.6: flags, the result of the verification, then values again.
    """
    if end - start < 5:
        raise ProxyError("the PROXY header is too short for what it tells of TLS")
    flags, refused = data[start], int.from_bytes(data[start + 1 : start + 5], "big")
    name = None
    for type_, first, last in _vectors(data, start + 5, end):
        if type_ == _SSL_CN:
            name = data[first:last]
    if name is None or refused or not flags & _CLIENT_SSL or not flags & _CLIENT_CERTIFICATE:
        return None
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        raise ProxyError("the common name in the PROXY header is not text") from None
    if "\0" in text:
        raise ProxyError("the common name in the PROXY header holds a null character")
    return text


def _checks(header: bytes, start: int, end: int) -> bool:
    """
    2.2.3: the checksum of the header with zeros in its place.
    """
    if end - start != 4:
        return False
    return crc32c(header[:start] + bytes(4) + header[end:]) == int.from_bytes(header[start:end], "big")


def _crc32cTable() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC32C_TABLE: Final = _crc32cTable()


def crc32c(data: bytes) -> int:
    """
    The checksum of RFC 4960, appendix B.
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC32C_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
