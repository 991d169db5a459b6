"""
Tests for L{gateways.cbor}, with the examples of RFC 8949 appendix A and against cbor2.
"""

import math

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.cbor import ARRAY, MAP, CBORError, CBORReader, Scalar, encodeHead, encodeScalar

# Those of appendix A that this can read.
EXAMPLES: list[tuple[str, Scalar]] = [
    ("00", 0),
    ("01", 1),
    ("0a", 10),
    ("17", 23),
    ("1818", 24),
    ("1819", 25),
    ("1864", 100),
    ("1903e8", 1000),
    ("1a000f4240", 1000000),
    ("1b000000e8d4a51000", 1000000000000),
    ("1bffffffffffffffff", 18446744073709551615),
    ("3bffffffffffffffff", -18446744073709551616),
    ("20", -1),
    ("29", -10),
    ("3863", -100),
    ("3903e7", -1000),
    ("f90000", 0.0),
    ("f93c00", 1.0),
    ("fb3ff199999999999a", 1.1),
    ("f93e00", 1.5),
    ("f97bff", 65504.0),
    ("fa47c35000", 100000.0),
    ("fa7f7fffff", 3.4028234663852886e38),
    ("fb7e37e43c8800759c", 1.0e300),
    ("f90001", 5.960464477539063e-8),
    ("f90400", 0.00006103515625),
    ("f9c400", -4.0),
    ("fbc010666666666666", -4.1),
    ("f97c00", math.inf),
    ("f9fc00", -math.inf),
    ("fa7f800000", math.inf),
    ("fbfff0000000000000", -math.inf),
    ("f4", False),
    ("f5", True),
    ("f6", None),
    ("f7", None),
    ("40", b""),
    ("4401020304", b"\1\2\3\4"),
    ("60", ""),
    ("6161", "a"),
    ("6449455446", "IETF"),
    ("62225c", '"\\'),
    ("62c3bc", "\u00fc"),
    ("63e6b0b4", "\u6c34"),
    ("64f0908591", "\U00010151"),
    ("5f42010243030405ff", b"\1\2\3\4\5"),
    ("7f657374726561646d696e67ff", "streaming"),
    # RFC 8949 3.4.4.
    ("c48221196ab3", 273.15),
    ("c4820105", 50.0),
]


def one(data: bytes) -> Scalar:
    """
    The one value that a payload is.
    """
    reader = CBORReader(data)
    value = reader.scalar()
    assert reader.atEnd
    return value


@pytest.mark.parametrize(("data", "value"), EXAMPLES)
def test_examples(data: str, value: Scalar) -> None:
    """
    The examples of the specification.
    """
    read = one(bytes.fromhex(data))
    assert read == value
    assert read.__class__ is value.__class__


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("c074323031332d30332d32315432303a30343a30305a", "2013-03-21T20:04:00Z"),
        ("c11a514b67b0", 1363896240),
        ("c1fb41d452d9ec200000", 1363896240.5),
        ("d820617a", "z"),
        ("d9d9f7c105", 5),
        ("c1c48221196ab3", 273.15),
    ],
)
def test_passedTags(data: str, value: Scalar) -> None:
    """
    Tags that say no more than is known are passed over: a date, a time in seconds, a URI, and that it is CBOR.
    """
    assert CBORReader(bytes.fromhex(data)).scalar() == value


def test_notANumber() -> None:
    """
    NaN in all its sizes.
    """
    for data in ("f97e00", "fa7fc00000", "fb7ff8000000000000"):
        value = one(bytes.fromhex(data))
        assert isinstance(value, float) and math.isnan(value)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "1 bytes are said where 0 are"),
        ("18", "1 bytes are said where 0 are"),
        ("5b7fffffffffffffffaa", "9223372036854775807 bytes are said where 1 are"),
        ("7a40000000", "1073741824 bytes are said where 0 are"),
        ("61ff", "not UTF-8"),
        ("7f61c361bcff00", None),
        ("1c", "not CBOR"),
        ("3d", "not CBOR"),
        ("1f", "not CBOR"),
        ("df", "not CBOR"),
        ("ff", "not CBOR"),
        ("5f", "bytes are said where"),
        ("5f6161ff", "a piece of something else"),
        ("5f5f4101ffff", "a piece of something else"),
        ("7f4101ff", "a piece of something else"),
        ("5f" + "40" * 1025 + "ff", "more than 1024 pieces"),
        ("f8ff", "neither a number"),
        ("f0", "neither a number"),
        ("f814", "neither a number"),
        ("80", "neither a number"),
        ("9f", "no length"),
        ("a0", "neither a number"),
        ("c005", "something else than a text after the tag 0"),
        ("d82040", "something else than a text after the tag 32"),
        ("c1c1c1c1c105", "the tag 1"),
        ("c1", "bytes are said"),
        ("d9d9f780", "neither a number"),
        ("c2490100000000000000" + "00", "the tag 2"),
        ("d8236161", "the tag 35"),
        ("d81c80", "the tag 28"),
        ("c4830102" + "03", "other than two numbers"),
        ("c49f0102ff", "other than two numbers"),
        ("c401", "an array was wanted"),
        ("c482f93c0001", "no whole number"),
        ("c4821a7fffffff01", "an exponent out of range"),
        ("c482190190" + "1bffffffffffffffff", "an exponent out of range"),
    ],
)
def test_wrong(data: str, reason: str | None) -> None:
    """
    Input that is cut off, not CBOR, or CBOR of no use is refused; a length that is only announced costs nothing.
    """
    if reason is None:
        # Pieces of a text need not be texts of themselves here, though they ought to.
        assert CBORReader(bytes.fromhex(data)).scalar() == "\u00fc"
        return
    with pytest.raises(CBORError, match=reason + r".* before byte \d+" if "UTF" not in reason else reason):
        CBORReader(bytes.fromhex(data)).scalar()


def test_containers() -> None:
    """
    Arrays and maps tell how many there are, or that a break will.
    """
    assert CBORReader(bytes.fromhex("83")).container(ARRAY) == 3
    assert CBORReader(bytes.fromhex("9a00010000")).container(ARRAY) == 65536
    assert CBORReader(bytes.fromhex("bf")).container(MAP) is None
    with pytest.raises(CBORError, match="a map was wanted"):
        CBORReader(bytes.fromhex("80")).container(MAP)
    reader = CBORReader(bytes.fromhex("9f01ff"))
    assert reader.container(ARRAY) is None
    assert not reader.isBreak()
    assert reader.scalar() == 1
    assert reader.isBreak()
    assert reader.atEnd


SCALARS: st.SearchStrategy[Scalar] = st.one_of(
    st.integers(-(2**64), 2**64 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=300),
    st.binary(max_size=300),
    st.booleans(),
    st.none(),
)


@given(SCALARS)
def test_roundTrip(value: Scalar) -> None:
    """
    Written values are read again, here and by cbor2.
    """
    data = encodeScalar(value)
    for read in (one(data), cbor2.loads(data)):
        assert read == value
        assert read.__class__ is value.__class__


@given(SCALARS, st.booleans())
def test_canonical(value: Scalar, canonical: bool) -> None:
    """
    Values that cbor2 writes are read, among them floats of two and four bytes.
    """
    assert one(cbor2.dumps(value, canonical=canonical)) == value


@given(st.integers(0, 2**64 - 1))
def test_heads(count: int) -> None:
    """
    Any length is written so that it is read again.
    """
    assert CBORReader(encodeHead(ARRAY, count)).container(ARRAY) == count


@given(st.binary(max_size=40))
def test_anything(data: bytes) -> None:
    """
    Any bytes begin with a value or are refused; where there is one, cbor2 has the same.
    """
    reader = CBORReader(data)
    try:
        value = reader.scalar()
    except CBORError:
        return
    if data[0] >> 5 == 6:
        return  # a decimal fraction, which is of another class there
    try:
        other = cbor2.loads(data)
    except (cbor2.CBORDecodeError, UnicodeDecodeError):
        # Pieces of a text have to be texts of themselves there.
        assert data[0] == 0x7F
        return
    if other is cbor2.undefined:
        assert value is None
    else:
        assert value == other or value != value
