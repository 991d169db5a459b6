"""
Tests for L{gateways.coap.message}, L{gateways.coap.options} and L{gateways.coap.codes}.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.coap import codes, options
from gateways.coap.message import ACK, CON, NON, RST, CoAPMessage, MessageError, decode, encode, encodeEmpty

# RFC 7252 appendix A, figures 16, 17 and 20: the examples that give all bytes away.
EXAMPLES = [
    (CoAPMessage(codes.GET, [(11, b"temperature")], type=CON, messageID=0x7D34), "40017d34bb74656d7065726174757265"),
    (CoAPMessage(codes.CONTENT, payload=b"22.3 C", type=ACK, messageID=0x7D34), "60457d34ff32322e332043"),
    (CoAPMessage(codes.GET, [(11, b"temperature")], b"", b"\x20", CON, 0x7D35), "41017d3520bb74656d7065726174757265"),
    (CoAPMessage(codes.CONTENT, [], b"22.3 C", b"\x20", ACK, 0x7D35), "61457d3520ff32322e332043"),
    (
        CoAPMessage(codes.GET, [(11, b"a"), (12, b""), (2000, b"x" * 300)], type=NON, messageID=1),
        "50010001b16110ee06b7001f" + "78" * 300,
    ),
]

# RFC 7252 tables 1 and 4; RFC 7641, 7959, 7967, 8768, 9175.
OPTIONS = """
1 If-Match opaque 0-8 repeatable critical
3 Uri-Host string 1-255 critical unsafe
4 ETag opaque 1-8 repeatable
5 If-None-Match empty 0-0 critical
6 Observe uint 0-3 unsafe
7 Uri-Port uint 0-2 critical unsafe
8 Location-Path string 0-255 repeatable
11 Uri-Path string 0-255 repeatable critical unsafe
12 Content-Format uint 0-2
14 Max-Age uint 0-4 unsafe
15 Uri-Query string 0-255 repeatable critical unsafe
16 Hop-Limit uint 1-1
17 Accept uint 0-2 critical
20 Location-Query string 0-255 repeatable
23 Block2 uint 0-3 critical unsafe
27 Block1 uint 0-3 critical unsafe
28 Size2 uint 0-4 nocachekey
35 Proxy-Uri string 1-1034 critical unsafe
39 Proxy-Scheme string 1-255 critical unsafe
60 Size1 uint 0-4 nocachekey
252 Echo opaque 1-40 nocachekey
258 No-Response uint 0-1 unsafe
292 Request-Tag opaque 0-8 repeatable
"""
FORMATS = {"empty": options.NOTHING, "opaque": options.OPAQUE, "uint": options.UINT, "string": options.STRING}

CODES = """
2.01 Created|2.02 Deleted|2.03 Valid|2.04 Changed|2.05 Content|2.31 Continue|4.00 Bad Request|4.01 Unauthorized
4.02 Bad Option|4.03 Forbidden|4.04 Not Found|4.05 Method Not Allowed|4.06 Not Acceptable
4.08 Request Entity Incomplete|4.09 Conflict|4.12 Precondition Failed|4.13 Request Entity Too Large
4.15 Unsupported Content-Format|4.22 Unprocessable Entity|4.29 Too Many Requests|5.00 Internal Server Error
5.01 Not Implemented|5.02 Bad Gateway|5.03 Service Unavailable|5.04 Gateway Timeout|5.05 Proxying Not Supported
"""


@pytest.mark.parametrize(("message", "hexadecimal"), EXAMPLES)
def test_examples(message: CoAPMessage, hexadecimal: str) -> None:
    """
    Messages are the bytes that the specification shows, both ways.
    """
    assert encode(message).hex() == hexadecimal
    assert decode(bytes.fromhex(hexadecimal)) == message


@pytest.mark.parametrize("line", OPTIONS.strip().splitlines())
def test_optionTable(line: str) -> None:
    """
    Every option is what the table of its specification says.
    """
    number, name, format_, lengths, *marks = line.split()
    definition = options.TABLE[int(number)]
    shortest, longest = map(int, lengths.split("-"))
    assert definition == (name, FORMATS[format_], shortest, longest, "repeatable" in marks)
    assert options.isCritical(int(number)) == ("critical" in marks)
    assert options.isUnsafe(int(number)) == ("unsafe" in marks)
    assert options.isNoCacheKey(int(number)) == ("nocachekey" in marks)


def test_optionTableIsWhole() -> None:
    """
    No option is known that the tests do not know.
    """
    assert sorted(options.TABLE) == [int(line.split()[0]) for line in OPTIONS.strip().splitlines()]


@pytest.mark.parametrize("number", options.TABLE)
def test_lengthOfOption(number: int) -> None:
    """
    An option that is too short or too long is as one that is not understood: 4.02 if it is critical, else ignored.
    """
    definition = options.TABLE[number]
    wrong = [b"x" * (definition.longest + 1)] + ([b""] if definition.shortest else [])
    for value in wrong:
        expected = number if options.isCritical(number) else None
        assert options.understand([(number, value)]) == ([], expected)
    good = (number, b"x" * definition.longest)
    assert options.understand([good]) == ([good], None)


@pytest.mark.parametrize("number", options.TABLE)
def test_repeatedOption(number: int) -> None:
    """
    Of an option that may not stand twice, the second is as one that is not understood.
    """
    one = (number, b"x" * options.TABLE[number].longest)
    kept, wrong = options.understand([one, one])
    if options.TABLE[number].repeatable:
        assert (kept, wrong) == ([one, one], None)
    else:
        assert (kept, wrong) == ([one], number if options.isCritical(number) else None)


@pytest.mark.parametrize(("number", "wrong"), [(9, 9), (19, 19), (31, 31), (65001, 65001), (2, None), (65000, None)])
def test_unknownOption(number: int, wrong: int | None) -> None:
    """
    A critical option that is not understood is named, an elective one is passed over.
    """
    assert options.understand([(number, b"")]) == ([], wrong)


def test_textThatIsNone() -> None:
    """
    A path that is not UTF-8 is not understood.
    """
    assert options.understand([(11, b"\xff")]) == ([], 11)


@pytest.mark.parametrize("entry", CODES.replace("\n", "|").strip("|").split("|"))
def test_codes(entry: str) -> None:
    """
    Every response code has its name.
    """
    text, name = entry.split(" ", 1)
    assert codes.NAMES[codes.code(text)] == name
    assert codes.codeText(codes.code(text)) == text
    assert codes.isResponse(codes.code(text))
    assert not codes.isRequest(codes.code(text))


@pytest.mark.parametrize(
    ("datagram", "messageID"),
    [
        ("", None),
        ("400100", None),
        ("00010001", None),  # version 0
        ("80010001", None),
        ("49010001" + "00" * 9, 1),  # a token of 9 bytes
        ("44010001aabb", 1),
        ("4000000100", 1),  # an empty message with something
        ("4100000100", 1),
        ("40010001ff", 1),  # a marker without a payload
        ("40010001d0", 1),
        ("40010001e000", 1),
        ("40010001f0", 1),
        ("400100010d", 1),
        ("400100010e00", 1),
        ("400100010f", 1),
        ("40010001b3aabb", 1),
        ("40010001e0ffffe0ffff", 1),  # an option number above 65535
        ("40200001", 1),  # code classes 1, 6 and 7
        ("40c00001", 1),
        ("40e10001", 1),
    ],
)
def test_malformed(datagram: str, messageID: int | None) -> None:
    """
    A malformed message is refused, with the message ID if it can be read.
    """
    with pytest.raises(MessageError) as caught:
        decode(bytes.fromhex(datagram))
    assert caught.value.messageID == messageID
    assert caught.value.confirmable == (messageID is not None)


def test_empty() -> None:
    """
    Empty messages are four bytes.
    """
    assert encodeEmpty(RST, 0x1234).hex() == "70001234"
    assert decode(encodeEmpty(ACK, 65535)) == CoAPMessage(codes.EMPTY, type=ACK, messageID=65535)


MESSAGES = st.builds(
    CoAPMessage,
    st.sampled_from([*range(1, 32), *codes.NAMES]),
    st.lists(st.tuples(st.integers(0, 65535), st.binary(max_size=300)), max_size=6),
    st.binary(max_size=40),
    st.binary(max_size=8),
    st.sampled_from([CON, NON, ACK, RST]),
    st.integers(0, 65535),
)


@given(MESSAGES)
def test_roundTrip(message: CoAPMessage) -> None:
    """
    An encoded message can be decoded again.
    """
    assert decode(encode(message)) == message


@given(st.binary(max_size=64) | st.binary(max_size=60).map(lambda rest: b"\x40\x01\0\1" + rest))
def test_anyBytes(datagram: bytes) -> None:
    """
    Any datagram is a message or is refused, and what is a message means the same again.
    """
    try:
        message = decode(datagram)
    except MessageError:
        return
    assert decode(encode(message)) == message


@given(st.integers(0, 2**32 - 1))
def test_uint(value: int) -> None:
    """
    Numbers take no byte more than they need.
    """
    data = options.encodeUint(value)
    assert options.decodeUint(data) == value
    assert not data.startswith(b"\0")
