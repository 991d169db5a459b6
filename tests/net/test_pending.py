"""
Tests for L{twisted_mqtt.net.pending}.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from errno import ENOBUFS

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twisted_mqtt.net.pending import CHUNKS_AT_ONCE, PendingOutput, sendSome


class Taking(socket.socket):
    """
    A socket that takes so many bytes at each call, then is full.
    """

    def __init__(self, takes: Iterable[int | OSError]) -> None:
        super().__init__()
        self.takes = list(takes)
        self.taken = bytearray()

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """
        See L{socket.socket.send}.
        """
        take = self.takes.pop(0) if self.takes else BlockingIOError()
        if isinstance(take, OSError):
            raise take
        self.taken += data[:take]
        return min(take, len(data))

    def sendmsg(self, chunks: list[bytes | memoryview]) -> int:  # type: ignore[override] # all that is used
        """
        See L{socket.socket.sendmsg}.
        """
        assert len(chunks) <= CHUNKS_AT_ONCE
        return self.send(b"".join(chunks))


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=30),
    takes=st.lists(st.integers(min_value=0, max_value=60) | st.just(BlockingIOError()), max_size=60),
    data=st.data(),
)
def test_order(chunks: list[bytes], takes: list[int | OSError], data: st.DataObject) -> None:
    """
    Whatever the socket takes each time, whatever had been sent before, every byte leaves once, in order.
    """
    expected = b"".join(chunks)
    sent = data.draw(st.integers(min_value=0, max_value=len(expected) - 1))
    first = data.draw(st.integers(min_value=1, max_value=len(chunks)))
    sent = min(sent, len(b"".join(chunks[:first])) - 1)
    pending = PendingOutput(chunks[:first], sent)
    for chunk in chunks[first:]:
        pending.append(chunk)
    with Taking(takes) as receiver:
        for _ in takes:
            before = pending.size
            if not before:
                break
            assert pending.sendTo(receiver) == before - pending.size
        assert bytes(receiver.taken) == expected[sent : len(expected) - pending.size]


@pytest.mark.parametrize("error", [BlockingIOError(), InterruptedError(), OSError(ENOBUFS, "no memory")])
def test_full(error: OSError) -> None:
    """
    A socket that takes nothing now is not broken.
    """
    with Taking([error, error]) as receiver:
        assert sendSome(receiver, b"x") == 0
        assert PendingOutput([b"x"]).sendTo(receiver) == 0


def test_broken() -> None:
    """
    One that is says so.
    """
    with Taking([ConnectionResetError(), BrokenPipeError()]) as receiver:
        with pytest.raises(ConnectionResetError):
            sendSome(receiver, b"x")
        with pytest.raises(BrokenPipeError):
            PendingOutput([b"x", b"y"]).sendTo(receiver)
