"""
Tests for L{twisted_mqtt.net.websocket.connection} and L{twisted_mqtt.net.websocket.factory}: from open to closed, in
memory.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from tests.kits.websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Site,
    closeOf,
    closing,
    deflate,
    frame,
    frames,
    inflate,
    request,
)
from twisted_mqtt.net.websocket.transport import MESSAGE_AT_MOST
from twisted_mqtt.testing.broker import makeBroker

NORMAL, GOING_AWAY, PROTOCOL_ERROR, UNSUPPORTED, INVALID, TOO_BIG = 1000, 1001, 1002, 1003, 1007, 1009


# Input


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 125, 126, 127, 999, 1000, 1001, 4096, 65535, 65536, 200_000])
@pytest.mark.parametrize("each", [None, 1, 1000])
def test_sizes(size: int, each: int | None) -> None:
    """
    A message of any length is delivered, however it is cut.
    """
    if each == 1 and size > 5000:
        each = 97
    payload = os.urandom(size)
    peer = Site().open()
    assert peer.send(frame(payload) + frame(b"end"), each) == b""
    assert peer.upper.data == payload + b"end"


def test_together() -> None:
    """
    Messages that come together are delivered together: it costs the same as one.
    """
    peer = Site().open()
    peer.send(b"".join(frame(b"%d " % number) for number in range(100)))
    assert peer.upper.chunks == [b"".join(b"%d " % number for number in range(100))]


def test_inPieces() -> None:
    """
    A short message that comes in pieces is delivered when it is complete; a long one as it comes.
    """
    peer = Site().open()
    peer.send(frame(bytes(3000)), each=100)
    assert [len(chunk) for chunk in peer.upper.chunks] == [3000]
    peer.upper.chunks.clear()
    peer.send(frame(bytes(100_000)), each=10_000)
    assert len(peer.upper.chunks) >= 9


def test_behindTheHandshake() -> None:
    """
    Bytes that follow the handshake in the same piece are not lost.
    """
    peer = Site().accept()
    answer = peer.send(request() + frame(b"early") + frame(b"?", PING))
    assert answer.endswith(b"\r\n\r\n" + bytes((0x80 | PONG, 1)) + b"?")
    assert peer.upper.data == b"early"


_PARTS = st.one_of(
    st.tuples(st.just(BINARY), st.binary(max_size=300)),
    st.tuples(st.just(PING), st.binary(max_size=125)),
    st.tuples(st.just(PONG), st.binary(max_size=125)),
    st.tuples(st.just(CONTINUATION), st.lists(st.binary(max_size=200), min_size=2, max_size=4)),
    st.tuples(st.just(7), st.binary(max_size=300)),
)


@given(st.lists(_PARTS, max_size=12), st.lists(st.integers(1, 600), min_size=1, max_size=8), st.booleans())
def test_anyCutting(parts: list[tuple[int, Any]], cuts: list[int], compress: bool) -> None:
    """
    However messages are mixed with fragments, compressed ones and control frames, and wherever the stream is cut, their
    payloads arrive in order, and each ping is answered.
    """
    stream = b""
    payloads = []
    pings = []
    for kind, what in parts:
        if kind == CONTINUATION:
            stream += frame(what[0], BINARY, final=False)
            for piece in what[1:-1]:
                stream += frame(piece, CONTINUATION, final=False) + frame(b"between", PING)
                pings.append(b"between")
            stream += frame(what[-1], CONTINUATION)
            payloads += what
        elif kind == 7:
            stream += frame(deflate(what), BINARY, reserved=4) if compress else frame(what)
            payloads.append(what)
        else:
            stream += frame(what, kind)
            if kind == BINARY:
                payloads.append(what)
            elif kind == PING:
                pings.append(what)
    peer = Site(compress=True).open(Sec_WebSocket_Extensions="permessage-deflate" if compress else None)
    written = b""
    at = turn = 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        written += peer.send(stream[at : at + size])
        at += size
        turn += 1
    assert peer.upper.data == b"".join(payloads)
    assert frames(written) == [(0x80 | PONG, ping) for ping in pings]
    assert not peer.lower.disconnecting


@given(st.binary(max_size=400))
def test_anyBytes(data: bytes) -> None:
    """
    No bytes make more of it than a refusal.
    """
    peer = Site(max_frame_size=1000).open()
    peer.send(data)
    early = Site().accept()
    early.send(data)


@pytest.mark.parametrize(
    "wrong, code",
    [
        (frame(b"text", TEXT), UNSUPPORTED),
        (frame(b"te", TEXT, final=False), UNSUPPORTED),
        (frame(b"\xff\xff", TEXT), UNSUPPORTED),
        (frame(b"plain", mask=None), PROTOCOL_ERROR),
        (frame(b"?", 3), PROTOCOL_ERROR),
        (frame(b"?", 11), PROTOCOL_ERROR),
        (frame(b"?", BINARY, reserved=4), PROTOCOL_ERROR),
        (frame(b"?", BINARY, reserved=1), PROTOCOL_ERROR),
        (frame(b"?", CONTINUATION), PROTOCOL_ERROR),
        (frame(b"?", BINARY, final=False) + frame(b"?", BINARY), PROTOCOL_ERROR),
        (frame(b"?", PING, final=False), PROTOCOL_ERROR),
        (frame(bytes(126), PING), PROTOCOL_ERROR),
        (b"\x82\xfe\x00\x05" + bytes(9), PROTOCOL_ERROR),
        (b"\x82\xff" + (65535).to_bytes(8, "big") + bytes(4), PROTOCOL_ERROR),
        (b"\x82\xff" + b"\xff" * 8 + bytes(4), PROTOCOL_ERROR),
        (frame(b"\x03", CLOSE), PROTOCOL_ERROR),
        (closing(999), PROTOCOL_ERROR),
        (closing(1005), PROTOCOL_ERROR),
        (closing(1006), PROTOCOL_ERROR),
        (closing(5000), PROTOCOL_ERROR),
        (closing(1000, b"\xed\xa0\x80"), INVALID),
    ],
)
@pytest.mark.parametrize("each", [None, 1])
def test_faults(wrong: bytes, code: int, each: int | None) -> None:
    """
    A frame that RFC 6455 or [MQTT-6.0.0-1] forbids ends the connection with its code; the messages before it are
    delivered, the bytes after it are not.
    """
    site = Site()
    peer = site.open()
    upper = peer.upper
    answer = peer.send(frame(b"before") + wrong + frame(b"after"), each)
    assert closeOf(answer)[0] == code
    assert peer.lower.disconnecting and not peer.lower.aborted
    assert upper.data.startswith(b"before") and b"after" not in upper.data
    assert site.factory.refusals == 1
    peer.lose()
    assert upper.lost is not None and upper.lost.check(ConnectionDone)


@pytest.mark.parametrize("opening", [frame(bytes(101)), frame(bytes(60), final=False) + frame(bytes(60), CONTINUATION)])
def test_tooBig(opening: bytes) -> None:
    """
    A message over C{max_frame_size} is refused as soon as its length is known.
    """
    peer = Site(max_frame_size=100).open()
    assert peer.send(frame(bytes(100))) == b""
    assert closeOf(peer.send(opening[:-50]))[0] == TOO_BIG


def test_tooBigInflated() -> None:
    """
    So is one that is so large only once it is inflated.
    """
    peer = Site(compress=True, max_frame_size=10_000).open(Sec_WebSocket_Extensions="permessage-deflate")
    upper = peer.upper
    assert closeOf(peer.send(frame(deflate(bytes(1 << 20)), reserved=4)))[0] == TOO_BIG
    assert len(upper.data) <= 10_000


def test_notCompressed() -> None:
    """
    Data that claims to be compressed and is not is refused.
    """
    peer = Site(compress=True).open(Sec_WebSocket_Extensions="permessage-deflate")
    assert closeOf(peer.send(frame(b"\xff" * 50, reserved=4)))[0] == INVALID


# Control


def test_ping() -> None:
    """
    A ping is answered with its own payload, also between the fragments of a message.
    """
    peer = Site().open()
    answer = peer.send(frame(b"a", final=False) + frame(b"now", PING) + frame(b"b", CONTINUATION) + frame(b"", PING))
    assert frames(answer) == [(0x80 | PONG, b"now"), (0x80 | PONG, b"")]
    assert peer.upper.data == b"ab"


def test_peerCloses() -> None:
    """
    A client's good-bye is answered, and the connection closed.
    """
    peer = Site().open()
    upper = peer.upper
    assert closeOf(peer.send(frame(b"last") + closing(NORMAL, b"done"))) == (NORMAL, "")
    assert peer.lower.disconnecting and not peer.lower.aborted
    upper.transport.write(b"too late")  # type: ignore[union-attr]  # it has one
    assert peer.lower.value() == b""
    assert upper.lost is None
    peer.lose()
    assert upper.lost is not None and upper.data == b"last"


def test_close() -> None:
    """
    The protocol above closes: what it has written goes before the good-bye, and the client's own is not waited for.
    """
    peer = Site().open()
    transport: Any = peer.upper.transport
    transport.write(b"bye")
    transport.loseConnection()
    transport.loseConnection()
    transport.write(b"never")
    data = peer.lower.taken()
    assert frames(data)[:-1] == [(0x82, b"bye")]
    assert closeOf(data) == (NORMAL, "")
    assert peer.lower.disconnecting and transport.disconnecting


def test_abort() -> None:
    """
    The protocol above aborts: no good-bye.
    """
    peer = Site().open()
    transport: Any = peer.upper.transport
    transport.abortConnection()
    assert peer.lower.aborted and peer.lower.taken() == b""
    upper = peer.upper
    peer.lose()
    assert upper.lost is not None


# Output


def test_interface() -> None:
    """
    The protocol above sees a transport like any other.
    """
    peer = Site().open()
    transport: Any = peer.upper.transport
    for interface in (ITransport, IConsumer, IPushProducer):
        assert verifyObject(interface, transport, tentative=True)
    assert transport.getPeer() == peer.lower.getPeer()
    assert transport.getHost() == peer.lower.getHost()
    assert transport.peerIdentity is None


@pytest.mark.parametrize("size", [1, 125, 126, 65535, 65536, MESSAGE_AT_MOST])
def test_write(size: int) -> None:
    """
    Each write is one message.
    """
    peer = Site().open()
    payload = os.urandom(size)
    transport: Any = peer.upper.transport
    transport.write(payload)
    assert frames(peer.lower.taken()) == [(0x82, payload)]
    transport.writeSequence([payload[:10], payload[10:]])
    assert b"".join(payload for _, payload in frames(peer.lower.taken())) == payload


def test_writeMuch() -> None:
    """
    Very much is several messages; nothing is none.
    """
    peer = Site().open()
    transport: Any = peer.upper.transport
    payload = os.urandom(2 * MESSAGE_AT_MOST + 1)
    transport.write(payload)
    sent = frames(peer.lower.taken())
    assert [len(part) for _, part in sent] == [MESSAGE_AT_MOST, MESSAGE_AT_MOST, 1]
    assert b"".join(part for _, part in sent) == payload
    transport.writeSequence([b"head", payload])
    assert b"".join(part for _, part in frames(peer.lower.taken())) == b"head" + payload
    transport.write(b"")
    transport.writeSequence([])
    assert peer.lower.taken() == b""


# Back-pressure


def test_producer() -> None:
    """
    It is the transport below that pauses and resumes the protocol above: nothing waits in between.
    """
    peer = Site().open()
    transport: Any = peer.upper.transport
    producer = object()
    transport.registerProducer(producer, True)
    assert (peer.lower.producer, peer.lower.streaming) == (producer, True)
    transport.unregisterProducer()
    assert peer.lower.producer is None


def test_pause() -> None:
    """
    A pause reaches the transport below.
    """
    peer = Site().open()
    transport: Any = peer.upper.transport
    transport.pauseProducing()
    assert peer.lower.producerState == "paused"
    transport.resumeProducing()
    assert peer.lower.producerState == "producing"


def test_bomb() -> None:
    """
    64 KB that would inflate to 60 MB inflate little by little, and no further than somebody takes it.
    """
    site = Site(compress=True)
    peer = site.open(Sec_WebSocket_Extensions="permessage-deflate")
    upper = peer.upper
    upper.pauseAfter = 1
    bomb = frame(deflate(bytes(60_000_000)), reserved=4)
    assert len(bomb) < 65536
    peer.send(bomb)
    assert 0 < len(upper.data) <= 1_100_000
    upper.chunks.clear()
    upper.transport.resumeProducing()  # type: ignore[union-attr]  # it has one
    assert upper.chunks == [], "it is in the middle of something"
    site.clock.advance(0)
    assert 0 < len(upper.data) <= 1_100_000


def test_heldInOrder() -> None:
    """
    Data that is held back comes before later data, and none of it is lost.
    """
    site = Site(compress=True)
    peer = site.open(Sec_WebSocket_Extensions="permessage-deflate")
    upper = peer.upper
    payload = os.urandom(9000)
    upper.pauseAfter = 1
    peer.send(frame(deflate(payload), reserved=4))
    assert 0 < len(upper.data) < len(payload)
    peer.send(frame(b"later"))
    upper.pauseAfter = None
    upper.transport.resumeProducing()  # type: ignore[union-attr]  # it has one
    site.clock.advance(0)
    assert upper.data == payload + b"later"


def test_lostWhileHeld() -> None:
    """
    Data that is held back when the connection is lost goes with it.
    """
    site = Site(compress=True)
    peer = site.open(Sec_WebSocket_Extensions="permessage-deflate")
    upper = peer.upper
    upper.pauseAfter = 1
    peer.send(frame(deflate(os.urandom(9000)), reserved=4))
    upper.transport.resumeProducing()  # type: ignore[union-attr]  # it has one
    peer.lose()
    count = len(upper.chunks)
    site.clock.advance(0)
    assert len(upper.chunks) == count


# Deadlines


def test_handshakeTimeout() -> None:
    """
    A client that does not finish its handshake is cut off, whatever it sends meanwhile.
    """
    site = Site()
    peer = site.accept()
    for byte in request()[:12]:
        peer.send(bytes((byte,)))
        site.clock.advance(1.0)
    assert not peer.lower.aborted
    site.clock.pump([1.0] * 6)
    assert peer.lower.aborted
    assert site.factory.refusals == 1


def test_noDeadlineOnceOpen() -> None:
    """
    Once open, silence is the keep-alive's affair.
    """
    site = Site()
    peer = site.open()
    site.clock.pump([10.0] * 1000)
    assert not peer.lower.disconnecting


def test_idle() -> None:
    """
    With C{idle_timeout}, anything that comes puts the end off; silence does not.
    """
    site = Site(idle_timeout=60.0)
    peer = site.open()
    for sent in (frame(b"?", PING), frame(b"!"), frame(b"", PONG)):
        site.clock.pump([1.0] * 55)
        peer.send(sent)
    site.clock.pump([1.0] * 59)
    assert not peer.lower.disconnecting
    site.clock.pump([1.0] * 3)
    assert peer.closed() == (GOING_AWAY, "idle")


def test_nothingLeftBehind() -> None:
    """
    A connection that is gone is not asked any more.
    """
    site = Site(idle_timeout=60.0)
    peer = site.open()
    early = site.accept()
    peer.lose()
    early.lose()
    assert (peer.connection.bucket, early.connection.bucket) == (0, 0)
    site.clock.pump([1.0] * 100)
    assert site.factory.refusals == 0


# With compression


def test_compressed() -> None:
    """
    Output is compressed once that was agreed upon, but for what is too short.
    """
    peer = Site(compress=True).open(Sec_WebSocket_Extensions="permessage-deflate")
    transport: Any = peer.upper.transport
    transport.write(b"temperature " * 100)
    ((first, payload),) = frames(peer.lower.taken())
    assert first == 0xC2 and len(payload) < 60
    assert inflate(payload) == b"temperature " * 100
    transport.write(b"\xd0\x00")
    assert peer.lower.taken() == b"\x82\x02\xd0\x00"


def test_notOffered() -> None:
    """
    A client that does not offer to compress gets uncompressed messages, and so do all if the listener does not
    compress.
    """
    for site, offer in ((Site(compress=True), None), (Site(), "permessage-deflate")):
        peer = site.open(Sec_WebSocket_Extensions=offer)
        peer.upper.transport.write(b"x" * 100)  # type: ignore[union-attr]  # it has one
        assert frames(peer.lower.taken()) == [(0x82, b"x" * 100)]


# With the broker

_CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c"


def test_broker() -> None:
    """
    A client of the broker comes in, is known by the address and the cookie of its handshake, and may send its packets
    in any number of messages.
    """
    clock = Clock()
    clock.advance(1000.0)
    broker, factory = makeBroker(clock, allow_anonymous=True)
    site = Site(above=factory, proxy_address_header="X-Forwarded-For", proxy_port_header="X-Forwarded-Port")
    peer = site.accept()
    answer = peer.send(request(Cookie="session=1", X_Forwarded_For="198.51.100.9", X_Forwarded_Port="777"))
    assert b" 101 " in answer
    peer.send(frame(_CONNECT[:5]))
    peer.send(frame(_CONNECT[5:]))
    clock.advance(0)
    assert frames(peer.lower.taken()) == [(0x82, b"\x20\x02\x00\x00")]
    client = peer.connection.stream.client  # type: ignore[union-attr]  # an MQTT connection
    assert (client.clientID, client.peerHost, client.peerPort) == ("c", "198.51.100.9", 777)
    assert client.wsCookie == "session=1"
    # Two pings in one message: both are answered, in one.
    peer.send(frame(b"\xc0\x00\xc0\x00"))
    clock.advance(0)
    assert frames(peer.lower.taken()) == [(0x82, b"\xd0\x00\xd0\x00")]
    assert closeOf(peer.send(frame(b"\xe0\x00"))) == (NORMAL, "")
    assert peer.lower.disconnecting
    peer.lose()
    broker.stopService()
