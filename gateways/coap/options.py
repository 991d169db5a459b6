"""
The options of messages: their names, their valid values, and the bytes of these values (RFC 7252 3.2, 5.10).

An option is a pair of its number and its value in bytes; a message holds a list of them in the order of their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

Option: TypeAlias = tuple[int, bytes]

IF_MATCH: Final = 1
URI_HOST: Final = 3
ETAG: Final = 4
IF_NONE_MATCH: Final = 5
OBSERVE: Final = 6
URI_PORT: Final = 7
LOCATION_PATH: Final = 8
OSCORE: Final = 9
URI_PATH: Final = 11
CONTENT_FORMAT: Final = 12
MAX_AGE: Final = 14
URI_QUERY: Final = 15
HOP_LIMIT: Final = 16
ACCEPT: Final = 17
Q_BLOCK1: Final = 19
LOCATION_QUERY: Final = 20
EDHOC: Final = 21
BLOCK2: Final = 23
BLOCK1: Final = 27
SIZE2: Final = 28
Q_BLOCK2: Final = 31
PROXY_URI: Final = 35
PROXY_SCHEME: Final = 39
SIZE1: Final = 60
ECHO: Final = 252
NO_RESPONSE: Final = 258
REQUEST_TAG: Final = 292

NOTHING: Final = 0
OPAQUE: Final = 1
UINT: Final = 2
STRING: Final = 3


class Definition(NamedTuple):
    """
    The rules for one option.

    @ivar format: L{NOTHING}, L{OPAQUE}, L{UINT} or L{STRING}.
    @ivar shortest: the least length of its value.
    @ivar longest: the greatest.
    @ivar repeatable: whether it may stand more than once.
    """

    name: str
    format: int
    shortest: int
    longest: int
    repeatable: bool = False


# RFC 7252 table 4, RFC 7641 2, RFC 7959 2.1 and 4, RFC 7967 2, RFC 8768 3, RFC 9175 2.2.1 and 3.2.1. What is not here
# is not understood, among it OSCORE and Q-Block.
TABLE: Final[dict[int, Definition]] = {
    IF_MATCH: Definition("If-Match", OPAQUE, 0, 8, True),
    URI_HOST: Definition("Uri-Host", STRING, 1, 255),
    ETAG: Definition("ETag", OPAQUE, 1, 8, True),
    IF_NONE_MATCH: Definition("If-None-Match", NOTHING, 0, 0),
    OBSERVE: Definition("Observe", UINT, 0, 3),
    URI_PORT: Definition("Uri-Port", UINT, 0, 2),
    LOCATION_PATH: Definition("Location-Path", STRING, 0, 255, True),
    URI_PATH: Definition("Uri-Path", STRING, 0, 255, True),
    CONTENT_FORMAT: Definition("Content-Format", UINT, 0, 2),
    MAX_AGE: Definition("Max-Age", UINT, 0, 4),
    URI_QUERY: Definition("Uri-Query", STRING, 0, 255, True),
    HOP_LIMIT: Definition("Hop-Limit", UINT, 1, 1),
    ACCEPT: Definition("Accept", UINT, 0, 2),
    LOCATION_QUERY: Definition("Location-Query", STRING, 0, 255, True),
    BLOCK2: Definition("Block2", UINT, 0, 3),
    BLOCK1: Definition("Block1", UINT, 0, 3),
    SIZE2: Definition("Size2", UINT, 0, 4),
    PROXY_URI: Definition("Proxy-Uri", STRING, 1, 1034),
    PROXY_SCHEME: Definition("Proxy-Scheme", STRING, 1, 255),
    SIZE1: Definition("Size1", UINT, 0, 4),
    ECHO: Definition("Echo", OPAQUE, 1, 40),
    NO_RESPONSE: Definition("No-Response", UINT, 0, 1),
    REQUEST_TAG: Definition("Request-Tag", OPAQUE, 0, 8, True),
}

# Content formats (RFC 7252 12.3, RFC 7049 7.4, RFC 8428 12.2).
TEXT_PLAIN: Final = 0
LINK_FORMAT: Final = 40
XML: Final = 41
OCTET_STREAM: Final = 42
EXI: Final = 47
JSON: Final = 50
CBOR: Final = 60
SENML_JSON: Final = 110
SENML_CBOR: Final = 112
# Of draft-ietf-core-coap-pubsub.
PUBSUB_CBOR: Final = 606


def isCritical(number: int) -> bool:
    """
    Whether who does not understand an option must not go on (RFC 7252 5.4.6).
    """
    return bool(number & 1)


def isUnsafe(number: int) -> bool:
    """
    Whether a proxy that does not understand an option must not forward it.
    """
    return bool(number & 2)


def isNoCacheKey(number: int) -> bool:
    """
    Whether two requests that differ in an option alone ask for the same.
    """
    return number & 0x1E == 0x1C


def encodeUint(value: int) -> bytes:
    """
    A number in as few bytes as it takes, none for 0 (RFC 7252 3.2).
    """
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decodeUint(data: bytes) -> int:
    """
    The number that an option's value is; leading zeros are allowed.
    """
    return int.from_bytes(data, "big")


def uintOption(number: int, value: int) -> Option:
    """
    An option whose value is a number.
    """
    return number, encodeUint(value)


def stringOptions(number: int, values: Iterable[str]) -> list[Option]:
    """
    A repeatable option, once for each of the values.
    """
    return [(number, value.encode("utf-8")) for value in values]


def uintOf(options: Sequence[Option], number: int) -> int | None:
    """
    The number that an option says, L{None} where it isn't there.
    """
    for which, value in options:
        if which == number:
            return int.from_bytes(value, "big")
    return None


def valueOf(options: Sequence[Option], number: int) -> bytes | None:
    """
    The value of an option, L{None} where it isn't there.
    """
    for which, value in options:
        if which == number:
            return value
    return None


def stringsOf(options: Sequence[Option], number: int) -> list[str]:
    """
    The values of a repeatable option.

    @raise UnicodeDecodeError: where one is not UTF-8; L{understand} has looked.
    """
    return [value.decode("utf-8") for which, value in options if which == number]


def without(options: Sequence[Option], *numbers: int) -> list[Option]:
    """
    The options but some.
    """
    return [option for option in options if option[0] not in numbers]


def understand(options: list[Option]) -> tuple[list[Option], int | None]:
    """
    Look through the options of a message: those that are not understood, have a value that they can't have, or stand
    there once too often are taken out where they are elective (RFC 7252 5.4.1, 5.4.3, 5.4.5).

    @return: those that stay, and the number of the first critical one for which the message is to be rejected.
    """
    good = True
    last = -1
    for number, value in options:
        if not _isUnderstood(number, value, last):
            good = False
            break
        last = number
    if good:  # as nearly always
        return options, None
    kept: list[Option] = []
    last = -1
    for number, value in options:
        if _isUnderstood(number, value, last):
            kept.append((number, value))
        elif isCritical(number):
            return kept, number
        last = number
    return kept, None


def _isUnderstood(number: int, value: bytes, last: int) -> bool:
    if number == URI_PATH or number == URI_QUERY:  # as mostly
        return len(value) <= 255 and (value.isascii() or _isText(value))
    definition = TABLE.get(number)
    if definition is None or not definition.shortest <= len(value) <= definition.longest:
        return False
    if number == last and not definition.repeatable:
        return False
    return definition.format != STRING or value.isascii() or _isText(value)


def _isText(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
