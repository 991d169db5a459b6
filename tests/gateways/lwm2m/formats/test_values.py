"""
Tests for L{gateways.lwm2m.formats.values}: the types of spec/gateways.md 5.6.
"""

import math
from typing import Any

import pytest

from gateways.lwm2m.errors import ContentError
from gateways.lwm2m.formats.values import (
    BOOLEAN,
    CORELINK,
    FLOAT,
    INTEGER,
    OBJLNK,
    OPAQUE,
    STRING,
    TIME,
    TYPES,
    UNSIGNED,
    ObjectLink,
    Value,
    fromBase64,
    fromBytes,
    fromJSON,
    fromText,
    toBytes,
    toJSON,
    toText,
    typeNamed,
)

# The type, a value, and what it is in JSON, as text, and in bytes (LwM2M 1.1.1 core, appendix C).
VALUES: list[tuple[str, Value, Any, bytes, str]] = [
    (STRING, "Öl", "Öl", "Öl".encode(), "c3966c"),
    (STRING, "", "", b"", ""),
    (STRING, "12", "12", b"12", "3132"),
    (CORELINK, "</3/0>", "</3/0>", b"</3/0>", "3c2f332f303e"),
    (INTEGER, 0, 0, b"0", "00"),
    (INTEGER, 127, 127, b"127", "7f"),
    (INTEGER, 128, 128, b"128", "0080"),
    (INTEGER, -1, -1, b"-1", "ff"),
    (INTEGER, -128, -128, b"-128", "80"),
    (INTEGER, -129, -129, b"-129", "ff7f"),
    (INTEGER, 12345, 12345, b"12345", "3039"),
    (INTEGER, -32769, -32769, b"-32769", "ffff7fff"),
    (INTEGER, 2**31, 2**31, b"2147483648", "0000000080000000"),
    (INTEGER, -(2**63), -(2**63), b"-9223372036854775808", "8000000000000000"),
    (UNSIGNED, 255, 255, b"255", "ff"),
    (UNSIGNED, 256, 256, b"256", "0100"),
    (UNSIGNED, 2**64 - 1, 2**64 - 1, b"18446744073709551615", "ff" * 8),
    (FLOAT, 5.0, 5.0, b"5.0", "4014000000000000"),
    (FLOAT, -3.25, -3.25, b"-3.25", "c00a000000000000"),
    (FLOAT, 0.1, 0.1, b"0.1", "3fb999999999999a"),
    (FLOAT, math.inf, "Infinity", b"Infinity", "7ff0000000000000"),
    (FLOAT, -math.inf, "-Infinity", b"-Infinity", "fff0000000000000"),
    (BOOLEAN, True, True, b"1", "01"),
    (BOOLEAN, False, False, b"0", "00"),
    (OPAQUE, b"\xfb\xff\x00", "+/8A", b"+/8A", "fbff00"),
    (OPAQUE, b"", "", b"", ""),
    (OPAQUE, b"\x01", "AQ==", b"AQ==", "01"),
    (TIME, 1367491215, 1367491215, b"1367491215", "5182428f"),
    (OBJLNK, ObjectLink(66, 1), "66:1", b"66:1", "00420001"),
    (OBJLNK, ObjectLink(65535, 65535), "65535:65535", b"65535:65535", "ffffffff"),
]


@pytest.mark.parametrize(("type", "value", "said", "text", "data"), VALUES)
def test_forms(type: str, value: Value, said: Any, text: bytes, data: str) -> None:
    """
    Every form of a value is written and read.
    """
    for read, form in (
        (toJSON(type, value), said),
        (fromJSON(type, said), value),
        (toText(type, value), text),
        (fromText(type, text), value),
        (toBytes(type, value), bytes.fromhex(data)),
        (fromBytes(type, bytes.fromhex(data)), value),
    ):
        assert read == form
        # A boolean is a whole number to Python, but not here; nor is a whole float.
        assert read.__class__ is form.__class__


def test_hex() -> None:
    """
    With the encoding hex, what would be the text of a value is written in hexadecimal; an Opaque is so itself.
    """
    assert fromJSON(OPAQUE, "00FFab", "hex") == b"\x00\xff\xab"
    assert fromJSON(STRING, "c3966C", "hex") == "Öl"
    assert fromJSON(INTEGER, b"-12".hex(), "hex") == -12
    assert fromJSON(FLOAT, b"1.5".hex(), "hex") == 1.5
    assert fromJSON(BOOLEAN, b"true".hex(), "hex") is True
    assert fromJSON(OBJLNK, b"66:1".hex(), "hex") == ObjectLink(66, 1)


def test_textBoolean() -> None:
    """
    The text 1 is true and 0 is false; so are the words that some devices have for it.
    """
    assert fromText(BOOLEAN, b"1") is fromText(BOOLEAN, b"true") is True
    assert fromText(BOOLEAN, b"0") is fromText(BOOLEAN, b"false") is False


def test_negativeInteger() -> None:
    """
    Bytes of an Integer or a Time have a sign; those of an Unsigned Integer have none.
    """
    assert fromBytes(INTEGER, b"\xfb") == fromBytes(TIME, b"\xff\xfb") == -5
    assert fromBytes(UNSIGNED, b"\xfb") == 251


def test_wholeFloat() -> None:
    """
    A float is written in eight bytes although it is whole, and stays one in JSON.
    """
    assert toBytes(FLOAT, fromJSON(FLOAT, 2)) == bytes.fromhex("4000000000000000")
    assert repr(toJSON(FLOAT, fromJSON(FLOAT, "2"))) == "2.0"


def test_shortFloat() -> None:
    """
    A float of four bytes is read.
    """
    assert fromBytes(FLOAT, bytes.fromhex("41b33333")) == pytest.approx(22.4, abs=1e-6)
    assert math.isnan(fromBytes(FLOAT, bytes.fromhex("7fc00000")))  # type: ignore[arg-type]  # it is a float
    assert toJSON(FLOAT, math.nan) == "NaN"


@pytest.mark.parametrize(
    ("type", "said", "value"),
    [
        (INTEGER, "12345", 12345),
        (INTEGER, "-5", -5),
        (INTEGER, "+5", 5),
        (INTEGER, "007", 7),
        (INTEGER, 12.0, 12),
        (TIME, "1367491215", 1367491215),
        (UNSIGNED, "0", 0),
        (FLOAT, "12", 12.0),
        (FLOAT, "-1.5e3", -1500.0),
        (FLOAT, ".5", 0.5),
        (FLOAT, 3, 3.0),
        (BOOLEAN, "true", True),
        (BOOLEAN, "false", False),
        (OPAQUE, "AQ", b"\x01"),
        (OPAQUE, "-_8A", b"\xfb\xff\x00"),
    ],
)
def test_lenient(type: str, said: object, value: Value) -> None:
    """
    Numbers and booleans may come as texts, and base64 in either alphabet, padded or not.
    """
    assert fromJSON(type, said) == value


@pytest.mark.parametrize(
    ("type", "said", "reason"),
    [
        (STRING, 5, "5 is not a valid String"),
        (STRING, None, "null is not a valid String"),
        (STRING, "\ud800", "surrogate"),
        (INTEGER, "12a", "'12a' is not a valid Integer"),
        (INTEGER, "", "'' is not a valid Integer"),
        (INTEGER, "1_0", "is not a valid Integer"),
        (INTEGER, "\u0661", "is not a valid Integer"),
        (INTEGER, 1.5, "1.5 is not a valid Integer"),
        (INTEGER, True, "true is not a valid Integer"),
        (INTEGER, 2**63, "out of the range of Integer"),
        (INTEGER, "9" * 40, "out of the range of Integer"),
        (INTEGER, "9" * 100_000, "is not a valid Integer"),
        (INTEGER, 1e300, "out of the range of Integer"),
        (INTEGER, 10**400, "out of the range"),
        (UNSIGNED, -1, "out of the range of Unsigned Integer"),
        (UNSIGNED, "-1", "out of the range of Unsigned Integer"),
        (UNSIGNED, 2**64, "out of the range of Unsigned Integer"),
        (FLOAT, "1,5", "'1,5' is not a valid Float"),
        (FLOAT, "nan", "is not a valid Float"),
        (FLOAT, 10**400, "a value of the kind int is not a valid Float"),
        (FLOAT, False, "false is not a valid Float"),
        (BOOLEAN, 1, "1 is not a valid Boolean"),
        (BOOLEAN, "1", "'1' is not a valid Boolean"),
        (BOOLEAN, "True", "'True' is not a valid Boolean"),
        (OPAQUE, "A", "'A' is not base64"),
        (OPAQUE, "AQ==AQ==", "not base64"),
        (OPAQUE, "A Q=", "not base64"),
        (OPAQUE, "ä", "not base64"),
        (OPAQUE, 5, "5 is not a valid Opaque"),
        (OBJLNK, "66", "'66' is not a valid Objlnk"),
        (OBJLNK, "66:65536", "is not a valid Objlnk"),
        (OBJLNK, "-1:0", "is not a valid Objlnk"),
        (OBJLNK, 66, "66 is not a valid Objlnk"),
        (TIME, [], "a value of the kind list is not a valid Time"),
        (TIME, {}, "a value of the kind dict is not a valid Time"),
        (CORELINK, {"a": 1}, "is not a valid CoreLink"),
    ],
)
def test_wrongJSON(type: str, said: object, reason: str) -> None:
    """
    A value that is none of its type is refused, with a short reason.
    """
    with pytest.raises(ContentError, match=reason) as caught:
        fromJSON(type, said)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("type", "said", "reason"),
    [
        (INTEGER, "1", "'1' is not hexadecimal"),
        (INTEGER, "0x01", "not hexadecimal"),
        (INTEGER, "01 02", "not hexadecimal"),
        (INTEGER, 1, "1 is not hexadecimal"),
        (INTEGER, "010203", "is not a valid Integer"),
        (STRING, "ff", "not UTF-8 at byte 0"),
    ],
)
def test_wrongHex(type: str, said: object, reason: str) -> None:
    """
    So is what is no hexadecimal text, or that of no such value.
    """
    with pytest.raises(ContentError, match=reason):
        fromJSON(type, said, "hex")


@pytest.mark.parametrize(
    ("type", "data"),
    [(INTEGER, b""), (INTEGER, bytes(3)), (UNSIGNED, bytes(5)), (TIME, bytes(9)), (FLOAT, b""), (FLOAT, bytes(2))]
    + [
        (BOOLEAN, b"\2"),
        (BOOLEAN, b""),
        (BOOLEAN, b"\0\1"),
        (OBJLNK, bytes(3)),
        (STRING, b"\xff"),
        (CORELINK, b"\x80"),
    ],
)
def test_wrongBytes(type: str, data: bytes) -> None:
    """
    Bytes that are none of a type are refused.
    """
    with pytest.raises(ContentError):
        fromBytes(type, data)


@pytest.mark.parametrize(
    ("type", "data"),
    [(BOOLEAN, b"yes"), (BOOLEAN, b""), (INTEGER, b"1.0"), (FLOAT, b"0x1"), (OBJLNK, b"1:2:3"), (STRING, b"\xff")]
    + [(OPAQUE, b"*"), (TIME, b"now"), (INTEGER, b"\xff"), (UNSIGNED, b"-1"), (INTEGER, b"1" * 100_000)],
)
def test_wrongText(type: str, data: bytes) -> None:
    """
    So is text that is none.
    """
    with pytest.raises(ContentError):
        fromText(type, data)


def test_blanks() -> None:
    """
    Blanks around a number are no part of it; those of a String are.
    """
    assert fromText(INTEGER, b" 5\r\n") == 5
    assert fromText(STRING, b" 5\r\n") == " 5\r\n"


def test_names() -> None:
    """
    The names of types are understood as definitions and clients write them.
    """
    assert [typeNamed(name) for name in TYPES] == list(TYPES)
    assert typeNamed("integer") == INTEGER
    assert typeNamed("UNSIGNED INTEGER") == typeNamed("UnsignedInteger") == UNSIGNED
    assert typeNamed("Corelnk") == CORELINK
    with pytest.raises(ContentError, match="there is no type 'Sing'"):
        typeNamed("Sing")


def test_base64() -> None:
    """
    Text that is cut off or has other characters is not base64.
    """
    assert fromBase64("") == b""
    for text in ("A", "AAAAA", "AA=A", "AA\n"):
        with pytest.raises(ContentError):
            fromBase64(text)
