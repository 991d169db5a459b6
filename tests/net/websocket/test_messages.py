"""
Tests for L{twisted_mqtt.net.websocket.connection} where protocols get messages: what they get, send, and are told of
faults.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.protocol import Factory

from tests.kits.websocket import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    MessageSite,
    closeOf,
    closing,
    deflate,
    frame,
    frames,
    inflate,
)
from twisted_mqtt.net.websocket.autobahnprivate import BEST, Ways
from twisted_mqtt.net.websocket.options import DeflateOptions, MessageEndpoint, StreamEndpoint, WebSocketOptions

PROTOCOL_ERROR, INVALID, TOO_BIG = 1002, 1007, 1009

WAYS = pytest.mark.parametrize("ways", [BEST, Ways(isPrivate=False)], ids=["private", "public"])


def compressing(**keys: Any) -> dict[str, Any]:
    """
    The arguments of a site that compresses.
    """
    return {"deflate": DeflateOptions(**keys)}


@WAYS
@pytest.mark.parametrize("each", [None, 1, 1000])
def test_kinds(ways: Ways, each: int | None) -> None:
    """
    Each message arrives as it was sent, text or binary, however the stream is cut.
    """
    peer = MessageSite(ways).open()
    sent = [
        (b"text", True),
        ("gr\u00fcn".encode(), True),
        (b"\xff\x00", False),
        (b"", True),
        (b"", False),
        (os.urandom(5000), False),
        ("\u00fc".encode() * 3000, True),
    ]
    assert peer.send(b"".join(frame(data, TEXT if isText else BINARY) for data, isText in sent), each) == b""
    assert peer.receiver.messages == sent


@WAYS
def test_fragments(ways: Ways) -> None:
    """
    A message in fragments arrives when it is complete, whatever stands between them; a character may be cut in two.
    """
    peer = MessageSite(ways).open()
    half = "\u00fc".encode()
    answer = peer.send(frame(b"a" + half[:1], TEXT, final=False) + frame(b"?", PING))
    assert frames(answer) == [(0x80 | PONG, b"?")]
    assert peer.receiver.messages == []
    peer.send(frame(half[1:] + b"b", CONTINUATION) + frame(b"next", BINARY))
    assert peer.receiver.messages == [("a\u00fcb".encode(), True), (b"next", False)]


_PARTS = st.tuples(
    st.booleans(),
    st.text(max_size=40),
    st.integers(0, 40),
    st.booleans(),
)


@given(st.lists(_PARTS, max_size=12), st.lists(st.integers(1, 200), min_size=1, max_size=8), st.booleans())
def test_anyCutting(parts: list[tuple[bool, str, int, bool]], cuts: list[int], compress: bool) -> None:
    """
    However whole messages, fragments, compressed ones and pings are mixed, and wherever the stream is cut, each message
    arrives once, in order.
    """
    stream = b""
    expected = []
    for isText, text, cut, packed in parts:
        payload = text.encode()
        opcode = TEXT if isText else BINARY
        expected.append((payload, isText))
        if packed and compress:
            stream += frame(deflate(payload), opcode, reserved=4)
        elif cut < len(payload):
            stream += frame(payload[:cut], opcode, final=False) + frame(b"", PING) + frame(payload[cut:], CONTINUATION)
        else:
            stream += frame(payload, opcode)
    site = MessageSite(**compressing())
    peer = site.open(Sec_WebSocket_Extensions="permessage-deflate" if compress else None)
    at = turn = 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        peer.send(stream[at : at + size])
        at += size
        turn += 1
    assert peer.receiver.messages == expected
    assert not peer.lower.disconnecting


@WAYS
@pytest.mark.parametrize(
    "wrong, code",
    [
        (frame(b"a\xff", TEXT), INVALID),
        (frame(b"\xed\xa0\x80", TEXT), INVALID),
        (frame("\u00fc".encode()[:1], TEXT), INVALID),
        (frame(b"a\xff", TEXT, final=False), INVALID),
        (frame("\u00fc".encode()[:1], TEXT, final=False) + frame(b"", CONTINUATION), INVALID),
        (frame(b"plain", TEXT, mask=None), PROTOCOL_ERROR),
        (frame(b"?", TEXT, reserved=2), PROTOCOL_ERROR),
        (frame(b"?", 3), PROTOCOL_ERROR),
        (frame(b"?", CONTINUATION), PROTOCOL_ERROR),
        (closing(999), PROTOCOL_ERROR),
        (frame(bytes(1001), TEXT), TOO_BIG),
        (frame(bytes(600), TEXT, final=False) + frame(bytes(600), CONTINUATION), TOO_BIG),
    ],
)
def test_faults(ways: Ways, wrong: bytes, code: int) -> None:
    """
    A frame that RFC 6455 forbids ends the connection with its code. Before that the protocol is told, once, and may
    send a last message; it gets the messages before the fault, and nothing after it.
    """
    for word in (None, b"last word"):
        site = MessageSite(ways, largest=1000)
        peer = site.open()
        receiver = peer.receiver
        receiver.lastWord = word
        data = peer.send(frame(b"before", TEXT) + wrong + frame(b"after", TEXT))
        assert closeOf(data)[0] == code
        assert [payload for _, payload in frames(data)[:-1]] == ([] if word is None else [word])
        assert receiver.messages == [(b"before", True)]
        assert [failure[0] for failure in receiver.failures] == [code]
        assert peer.lower.disconnecting and site.factory.refusals == 1
        peer.lose()
        assert receiver.lost is not None


def test_peerCloses() -> None:
    """
    A client's good-bye is no fault.
    """
    peer = MessageSite().open()
    receiver = peer.receiver
    assert closeOf(peer.send(closing(1000))) == (1000, "")
    assert receiver.failures == [] and peer.lower.disconnecting


def test_largestFrame() -> None:
    """
    A limit on frames holds for those of a message in fragments, too.
    """
    site = MessageSite(largestFrame=100)
    peer = site.open()
    peer.send(frame(bytes(100), final=False) + frame(bytes(100), CONTINUATION) + frame(bytes(100)))
    assert [len(payload) for payload, _ in peer.receiver.messages] == [200, 100]
    assert closeOf(peer.send(frame(bytes(101))))[0] == TOO_BIG


def test_tooBigInflated() -> None:
    """
    A message is as large as it is when inflated.
    """
    peer = MessageSite(largest=10_000, **compressing()).open(Sec_WebSocket_Extensions="permessage-deflate")
    receiver = peer.receiver
    assert closeOf(peer.send(frame(deflate(bytes(1 << 20)), TEXT, reserved=4)))[0] == TOO_BIG
    assert receiver.messages == []


def test_fail() -> None:
    """
    A protocol that cannot take a message fails the connection in the same way.
    """
    peer = MessageSite().open()
    receiver = peer.receiver
    receiver.lastWord = b"bad"
    receiver.transport.fail(1003, "no such thing")
    data = peer.lower.taken()
    assert frames(data)[0] == (0x81, b"bad") and closeOf(data) == (1003, "no such thing")
    receiver.transport.fail(1003, "again")
    receiver.transport.sendMessage(b"late", True)
    assert peer.lower.taken() == b"" and receiver.failures == [(1003, "no such thing")]


def test_closeWith() -> None:
    """
    A protocol may say why it closes; of a long reason what has room is sent, and no half character.
    """
    peer = MessageSite().open()
    peer.receiver.transport.closeWith(1001, "\u00fc" * 100)
    assert closeOf(peer.lower.taken()) == (1001, "\u00fc" * 61)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_send(size: int) -> None:
    """
    Each sent message is one message, text or binary.
    """
    peer = MessageSite().open()
    payload = b"x" * size
    peer.receiver.transport.sendMessage(payload, True)
    peer.receiver.transport.sendMessage(payload, False)
    assert frames(peer.lower.taken()) == [(0x81, payload), (0x82, payload)]


@pytest.mark.parametrize("forgets", [False, True])
def test_sendCompressed(forgets: bool) -> None:
    """
    Text and binary keep apart where they are compressed, whether or not a message is known already.
    """
    site = MessageSite(**compressing(serverForgets=forgets))
    peer = site.open(Sec_WebSocket_Extensions="permessage-deflate")
    for isText, first in ((True, 0xC1), (False, 0xC2), (True, 0xC1)):
        peer.receiver.transport.sendMessage(b"temperature " * 100, isText)
        ((head, payload),) = frames(peer.lower.taken())
        assert head == first
        if forgets:
            assert inflate(payload) == b"temperature " * 100


def test_pause() -> None:
    """
    A protocol that takes no more gets no more than came in one piece, and the rest when it goes on.
    """
    site = MessageSite()
    peer = site.open()
    receiver = peer.receiver
    receiver.pauseAfter = 1
    peer.send(frame(b"1", TEXT) + frame(b"2", BINARY) + frame(b"3", TEXT))
    assert receiver.messages == [(b"1", True)] and peer.lower.producerState == "paused"
    receiver.pauseAfter = None
    receiver.transport.resumeProducing()
    assert len(receiver.messages) == 1, "it is in the middle of something"
    site.clock.advance(0)
    assert receiver.messages == [(b"1", True), (b"2", False), (b"3", True)]


def test_closesInTheMiddle() -> None:
    """
    A protocol that has closed gets nothing of what came with the message that made it close.
    """
    peer = MessageSite().open()
    receiver = peer.receiver
    transport = receiver.transport
    receiver.messageReceived = lambda payload, isText: transport.loseConnection()
    peer.send(frame(b"1", TEXT) + frame(b"2", TEXT) + frame(b"3", PING))
    assert receiver.messages == [] and peer.lower.disconnecting


# Deadlines


def test_ping() -> None:
    """
    With a ping interval a silent client is sent pings; one that answers stays, one that does not is closed after the
    idle time-out.
    """
    site = MessageSite(pingInterval=20.0, idleTimeout=50.0)
    peer = site.open()
    pings = 0
    for _ in range(200):
        site.clock.advance(1.0)
        written = frames(peer.lower.taken())
        assert written in ([], [(0x80 | PING, b"")])
        if written:
            pings += 1
            peer.send(frame(b"", PONG))
    assert 8 <= pings <= 10 and not peer.lower.disconnecting
    written = []
    for _ in range(52):
        site.clock.advance(1.0)
        written += frames(peer.lower.taken())
    assert [first for first, _ in written] == [0x80 | PING, 0x80 | PING, 0x88]
    assert peer.lower.disconnecting


def test_pingAlone() -> None:
    """
    Pings without an idle time-out go on.
    """
    site = MessageSite(pingInterval=10.0)
    peer = site.open()
    site.clock.pump([1.0] * 100)
    assert 8 <= len(frames(peer.lower.taken())) <= 10
    assert not peer.lower.disconnecting


# Options


def test_unbounded() -> None:
    """
    Messages that are kept until they are complete have a largest size; a stream needs none.
    """
    with pytest.raises(ValueError):
        MessageEndpoint(WebSocketOptions(path="/"), MessageSite())
    StreamEndpoint(WebSocketOptions(path="/"), Factory())
