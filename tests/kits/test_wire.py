"""
Tests of the test kit L{tests.kits.wire}.
"""

from __future__ import annotations

import pytest
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock

from tests.kits.wire import drop, duplicate, pair, reorder
from twisted_mqtt.core.packets import Ack, Publish
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer


class Counting(Protocol):
    """
    Answers each byte by the next lower one, and closes at zero.
    """

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self.pieces: list[bytes] = []
        self.ended = 0

    def connectionMade(self) -> None:
        """
        Begin, if it is to begin.
        """
        if self.first:
            self.transport.write(bytes((self.first,)) * 2)  # type: ignore[union-attr]  # it is connected

    def dataReceived(self, data: bytes) -> None:
        """
        Answer.
        """
        self.pieces.append(data)
        assert self.transport is not None
        if data[0] == 0:
            self.transport.loseConnection()
        else:
            self.transport.write(bytes((data[0] - 1,)))

    def connectionLost(self, reason: object = None) -> None:
        """
        Count.
        """
        self.ended += 1


def test_pair() -> None:
    """
    Two protocols talk until one closes; both then learn of it, once.
    """
    left, right = Counting(3), Counting()
    pair(left, right).pump()
    assert (right.pieces, left.pieces) == ([b"\x03\x03", b"\x01"], [b"\x02", b"\x00"])
    assert (left.ended, right.ended) == (1, 1)


def test_pairInPieces() -> None:
    """
    The datagrams of a link can be cut.
    """
    left, right = Counting(1), Counting()
    pair(left, right).pump(piece=1)
    assert right.pieces == [b"\x01", b"\x01"]


def test_datagrams() -> None:
    """
    Datagrams get lost, come twice and overtake each other, those that a test says.
    """
    sent = ["a", "b", "c", "d"]
    assert drop(sent, [0, 2, 9]) == ["b", "d"]
    assert duplicate(sent, [1]) == ["a", "b", "b", "c", "d"]
    assert reorder(sent, [2, 0, 9]) == ["c", "a", "b", "d"]


def test_peer() -> None:
    """
    A peer's expectations fail when they are not met.
    """
    clock = Clock()
    clock.advance(1000)
    _, factory = makeBroker(clock)
    peer = Peer(factory, clock)
    peer.connect()
    peer.expectNothing()
    with pytest.raises(AssertionError, match="nothing has come"):
        peer.expect(Publish)
    with pytest.raises(AssertionError, match="still open"):
        peer.expectClosed()
    peer.subscribe("x")
    peer.publish("x", b"1", 1)
    with pytest.raises(AssertionError, match="instead of a Ack"):
        peer.expect(Ack)
    with pytest.raises(AssertionError):
        peer.expectNothing()
    assert peer.receive() == []
    peer.send(b"\x00\x00")
    with pytest.raises(AssertionError):
        peer.expectClosed(0x87)
