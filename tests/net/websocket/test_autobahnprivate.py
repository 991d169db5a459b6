"""
Tests for L{twisted_mqtt.net.websocket.autobahnprivate}: that the private parts are there, and that all goes well
without them.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kits.websocket import BINARY, CONTINUATION, PING, TEXT, Peer, Site, closing, deflate, frame, request
from twisted_mqtt.net.websocket.autobahnprivate import (
    BEST,
    HAVE_DIRECT,
    HAVE_MASKER,
    HAVE_OPTIONS,
    Ways,
    unmaskNatively,
)
from twisted_mqtt.net.websocket.frames import unmaskAsNumber

PUBLIC = Ways(isPrivate=False)


def test_there() -> None:
    """
    The installed autobahn has what is used of it. Where this fails, everything still works, and slower.
    """
    assert HAVE_DIRECT
    assert HAVE_OPTIONS
    assert HAVE_MASKER


@given(st.binary(min_size=4, max_size=4), st.binary(max_size=3000))
def test_masker(mask: bytes, masked: bytes) -> None:
    """
    Its extension module unmasks as we do.
    """
    assert unmaskNatively(mask, masked) == unmaskAsNumber(mask, masked)


def kept(peer: Peer) -> dict[str, object]:
    """
    The state that autobahn keeps of a connection.
    """
    return vars(peer.connection._autobahn)


def test_options() -> None:
    """
    A connection has its options from its class, and keeps nothing of its handshake; by the public interface it has
    copies of the same.
    """
    lean, fat = Site(BEST, max_frame_size=1000).open(), Site(PUBLIC, max_frame_size=1000).open()
    assert "maxMessagePayloadSize" not in kept(lean) and kept(fat)["maxMessagePayloadSize"] == 1000
    for name in ("maxMessagePayloadSize", "failByDrop", "openHandshakeTimeout", "closeHandshakeTimeout"):
        assert getattr(lean.connection._autobahn, name) == getattr(fat.connection._autobahn, name)
    assert kept(lean)["http_request_data"] == b"" and kept(fat)["http_request_data"] != b""


_LONG = os.urandom(100_000)

CONVERSATIONS = {
    "frames": frame(b"one") + frame(_LONG) + frame(b"?", PING) + frame(b"") + closing(1000),
    "fragments": frame(b"a", final=False) + frame(b"?", PING) + frame(b"b" * 200, CONTINUATION) + frame(b"c"),
    "compressed": frame(deflate(b"x" * 5000), reserved=4) + frame(b"plain") + frame(deflate(b"y"), reserved=4),
    "text": frame(b"before") + frame(b"text", TEXT) + frame(b"after"),
    "unmasked": frame(b"before") + frame(b"?", mask=None) + frame(b"after"),
    "reserved": frame(b"before") + frame(b"?", reserved=3) + frame(b"after"),
    "too big": frame(b"before") + frame(bytes(200_001)),
    "too big in fragments": frame(bytes(150_000), final=False) + frame(bytes(150_000), CONTINUATION),
    "not compressed": frame(b"\xff" * 50, BINARY, reserved=4),
    "bad good-bye": closing(1005),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("each", [None, 11, 5000])
def test_sameWithout(name: str, each: int | None) -> None:
    """
    By the public interface alone the same is delivered, answered and refused.
    """
    outcomes = []
    for ways in (BEST, PUBLIC):
        site = Site(ways, compress=True, max_frame_size=200_000)
        peer = site.accept()
        answer = peer.send(request(Sec_WebSocket_Extensions="permessage-deflate"))
        upper = peer.upper
        written = peer.send(CONVERSATIONS[name], each)
        outcomes.append((answer, written, upper.data, peer.lower.disconnecting, site.factory.refusals))
        peer.lose()
        assert upper.lost is not None
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("wrong", [request(Connection=None), request(Sec_WebSocket_Protocol="chat"), request("/x")])
def test_sameRefusals(wrong: bytes) -> None:
    """
    So are handshakes.
    """
    assert Site(BEST).accept().send(wrong) == Site(PUBLIC).accept().send(wrong)
