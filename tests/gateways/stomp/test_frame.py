"""
Frames as bytes, in each version: what is read, what is refused, what is written.
"""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateways.stomp.frame import (
    V10,
    V11,
    V12,
    Frame,
    FrameLimits,
    StompError,
    StompParser,
    encode,
    escape,
    isSayable,
    unescape,
)

VERSIONS = [V10, V11, V12]
WIDE = FrameLimits(100, 10_000, 100_000)


def parse(data: bytes, version: int = V12, limits: FrameLimits | None = None, cut: int = 0) -> list[Frame]:
    """
    The frames in C{data}, fed in pieces of C{cut} bytes; 0 for all at once.
    """
    parser = StompParser(limits or FrameLimits())
    parser.version = version
    frames = []
    for at in range(0, len(data), cut or len(data) or 1):
        parser.feed(data[at : at + cut] if cut else data)
        while (frame := parser.next()) is not None:
            frames.append(frame)
    return frames


def facts(frames: list[Frame]) -> list[tuple[str, dict[str, str], bytes]]:
    """
    Frames as something to compare.
    """
    return [(frame.command, frame.headers, frame.body) for frame in frames]


@pytest.mark.parametrize("cut", [0, 1, 2, 7])
@pytest.mark.parametrize(
    "data, version, expected",
    [
        (b"SEND\ndestination:a/b\n\nhello\0", V12, [("SEND", {"destination": "a/b"}, b"hello")]),
        (b"SEND\n\n\0", V12, [("SEND", {}, b"")]),
        (b"\n\nSEND\n\n\0\n\nSEND\n\n\0\n", V12, [("SEND", {}, b"")] * 2),
        (b"\r\nSEND\r\na:b\r\n\r\nx\0\r\n", V12, [("SEND", {"a": "b"}, b"x")]),
        (b"CONNECT\r\na:b\r\n\r\n\0", 0, [("CONNECT", {"a": "b"}, b"")]),
        (b"SEND\na:b\r\n\nx\0", V11, [("SEND", {"a": "b\r"}, b"x")]),
        (b"SEND\ncontent-length:3\n\n\0\n\0\0", V12, [("SEND", {"content-length": "3"}, b"\0\n\0")]),
        (b"SEND\na:1\na:2\n\n\0", V12, [("SEND", {"a": "1"}, b"")]),
        (b"SEND\na:\n\n\0", V12, [("SEND", {"a": ""}, b"")]),
        (b"SEND\na:b:c\n\n\0", V12, [("SEND", {"a": "b:c"}, b"")]),
        (b"SEND\n\\c\\n:\\\\\\r\n\n\0", V12, [("SEND", {":\n": "\\\r"}, b"")]),
        (b"SEND\na:\\c\n\n\0", V11, [("SEND", {"a": ":"}, b"")]),
        (b"SEND\na: \\c \n\n\0", V10, [("SEND", {"a": "\\c"}, b"")]),
        (b"SEND\na: b \n\n\0", V12, [("SEND", {"a": " b "}, b"")]),
        (b"CONNECT\nlogin:a\\cb\n\n\0", 0, [("CONNECT", {"login": "a\\cb"}, b"")]),
        ("SEND\nä:ö\n\n\0".encode(), V12, [("SEND", {"ä": "ö"}, b"")]),
        (b"ACK\nid:1\n\n\0ACK\nid:1\n\n\0ACK\nid:2\n\n\0", V12, [("ACK", {"id": n}, b"") for n in "112"]),
    ],
)
def test_reads(data: bytes, version: int, expected: list[tuple[str, dict[str, str], bytes]], cut: int) -> None:
    """
    These bytes have the meaning that the specification of that version gives them, however they come.
    """
    assert facts(parse(data, version, cut=cut)) == expected


@pytest.mark.parametrize("cut", [0, 1])
@pytest.mark.parametrize(
    "data, version, message",
    [
        (b"SEND\nnothing\n\n\0", V12, "malformed frame"),
        (b"SEND\n:x\n\n\0", V12, "malformed frame"),
        (b"SEND\na:\\t\n\n\0", V12, "malformed frame"),
        (b"SEND\na:\\r\n\n\0", V11, "malformed frame"),
        (b"SEND\na:x\\\n\n\0", V12, "malformed frame"),
        (b"SEND\na:\xff\n\n\0", V12, "malformed frame"),
        (b"SEND\na:\0b\n\n\0", V12, "malformed frame"),
        (b"SEND\ncontent-length:-1\n\n\0", V12, "malformed frame"),
        (b"SEND\ncontent-length:1e3\n\n\0", V12, "malformed frame"),
        (b"SEND\ncontent-length:" + b"9" * 50 + b"\n\n\0", V12, "malformed frame"),
        (b"SEND\ncontent-length:1\n\nxy\0", V12, "malformed frame"),
        (b"ACK\nid:1\n\nbody\0", V12, "malformed frame"),
        (b"ACK\nid:1\n\nbody\0", V11, "malformed frame"),
        (b"x" * 1000, 0, "malformed frame"),
        (b"GET / HTTP/1.1\nHost: x\n" + b"a: b\n" * 200, 0, "headers too long"),
        (b"SEND\n" + b"a:b\n" * 11 + b"\n\0", V12, "too many headers"),
        (b"SEND\na:" + b"x" * 1023 + b"\n\n\0", V12, "header too long"),
        (b"SEND\na:" + "ä".encode() * 512 + b"\n\n\0", V12, "header too long"),
        (b"SEND\na:" + b"x" * 5000, V12, "header too long"),
        (b"SEND\n\n" + b"x" * 8193 + b"\0", V12, "body too long"),
        (b"SEND\n\n" + b"x" * 8193, V12, "body too long"),
        (b"SEND\ncontent-length:8193\n\n", V12, "body too long"),
    ],
)
def test_refuses(data: bytes, version: int, message: str, cut: int) -> None:
    """
    A malformed or too large frame is refused as soon as that can be seen.
    """
    limits = FrameLimits(10, 50, 100) if data.startswith(b"GET") else FrameLimits()
    with pytest.raises(StompError) as caught:
        parse(data, version, limits, cut)
    assert caught.value.message == message


def test_atTheLimits() -> None:
    """
    As much as is allowed is taken.
    """
    head = b"SEND\n" + b"".join(b"%d:%b\n" % (n, b"x" * 1022) for n in range(10))
    (frame,) = parse(head + b"\n" + b"y" * 8192 + b"\0", cut=1)
    assert len(frame.headers) == 10 and len(frame.body) == 8192


def test_timeIsLinear() -> None:
    """
    100,000 writes of a byte each take about ten times as long as 10,000.
    """

    def took(count: int) -> float:
        best = 1e9
        for _ in range(3):
            parser = StompParser(FrameLimits(10, 1024, 1_000_000))
            parser.version = V12
            parser.feed(b"SEND\ndestination:a\n\n")
            begun = time.process_time()
            for _ in range(count):
                parser.feed(b"x")
                assert parser.next() is None
            best = min(best, time.process_time() - begun)
            parser.feed(b"\0")
            frame = parser.next()
            assert frame is not None and len(frame.body) == count
        return best

    # Quadratic would be a hundred.
    assert took(100_000) < 40 * took(10_000)


def test_holdsLittle() -> None:
    """
    Bytes that were taken are not kept.
    """
    parser = StompParser(FrameLimits())
    parser.version = V12
    for _ in range(300):
        parser.feed(b"SEND\na:b\n\n" + b"x" * 1000 + b"\0SE")
        assert parser.next() is not None
        assert parser.next() is None
        parser.feed(b"ND\n\n\0")
        assert parser.next() is not None
        assert len(parser._data) < 100_000


def test_versionBetweenFrames() -> None:
    """
    The settings of CONNECT hold for the next frame, although both came at once and look the same.
    """
    parser = StompParser(FrameLimits())
    parser.feed(b"SEND\na:\\c\n\n\0SEND\na:\\c\n\n\0")
    first = parser.next()
    parser.version = V12
    parser.forget()
    second = parser.next()
    assert first is not None and first.headers == {"a": "\\c"}
    assert second is not None and second.headers == {"a": ":"}


def test_writes() -> None:
    """
    Headers are escaped as the version has it; CONNECTED never is.
    """
    headers = [("a:b", "c\\d\r\n")]
    assert encode("MESSAGE", headers, b"x", V12) == b"MESSAGE\na\\cb:c\\\\d\\r\\n\n\nx\0"
    assert encode("MESSAGE", headers, b"x", V11) == b"MESSAGE\na\\cb:c\\\\d\r\\n\n\nx\0"
    # It can't be said in 1.0, where there are no escapes.
    assert encode("MESSAGE", headers, b"x", V10) == b"MESSAGE\n\nx\0"
    assert encode("CONNECTED", [("session", "a:b\\")], b"", V12) == b"CONNECTED\nsession:a:b\\\n\n\0"


TEXTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=20)
HEADERS = st.dictionaries(TEXTS.filter(lambda name: name != "content-length"), TEXTS, max_size=8)


@given(HEADERS, st.binary(max_size=300), st.sampled_from(VERSIONS), st.integers(1, 50))
def test_roundTrip(headers: dict[str, str], body: bytes, version: int, cut: int) -> None:
    """
    A written frame is read again, wherever the stream is cut; except for what a version can't express.
    """
    said = {name: value for name, value in headers.items() if isSayable(name, value, version)}
    if version == V10:
        # It does not say what a line end is; here CR LF is one, too.
        said = {name: value for name, value in said.items() if "\r" not in name + value}
    wire = encode("SEND", [*said.items(), ("content-length", str(len(body)))], body, version)
    (frame,) = parse(b"\n" + wire + b"\n", version, WIDE, cut)
    assert frame.body == body
    assert frame.headers == {**said, "content-length": str(len(body))}


@given(TEXTS, st.sampled_from([V11, V12]))
def test_escapes(text: str, version: int) -> None:
    """
    Escaping can be undone, and leaves nothing that would end a header.
    """
    escaped = escape(text, version)
    assert unescape(escaped, version) == text
    assert "\n" not in escaped and ":" not in escaped


PIECES = st.sampled_from(
    [b"SEND", b"ACK", b"\n", b"\r\n", b"\n\n", b"\0", b":", b"a:b", b"\\", b"content-length:", b"5", b"hello", b"\xff"]
)


ANYTHING = st.lists(st.one_of(PIECES, st.binary(max_size=9)), max_size=40)


@given(ANYTHING, st.sampled_from([0, *VERSIONS]), st.integers(1, 9))
def test_anyBytes(pieces: list[bytes], version: int, cut: int) -> None:
    """
    Any bytes are frames or an error, the same ones wherever they are cut.
    """
    # An end, for what is wrong with an unfinished head may be seen early or late.
    data = b"".join(pieces) + b"\n\n\0"
    outcomes = []
    for size in (0, cut):
        try:
            frames: object = facts(parse(data, version, FrameLimits(5, 40, 60), size))
        except StompError:
            frames = None
        outcomes.append(frames)
    assert outcomes[0] == outcomes[1]
