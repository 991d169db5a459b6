"""
Tests for L{twisted_mqtt.net.rawsocket}.
"""

from __future__ import annotations

import os
import socket

import pytest

from twisted_mqtt.net.rawsocket import RawSocket


def test_likeASocket() -> None:
    """
    It reads and writes without blocking, and says by what a socket would raise why it can't.
    """
    ours, theirs = socket.socketpair()
    raw = RawSocket(ours.detach())
    with pytest.raises(BlockingIOError):
        raw.recv(10)
    assert raw.send(b"one") == 3
    assert raw.sendmsg([b"two", memoryview(b"three")]) == 8
    assert theirs.recv(100) == b"onetwothree"
    with pytest.raises(BlockingIOError):
        while True:
            raw.send(bytes(65536))
    theirs.close()
    with pytest.raises(ConnectionResetError):
        raw.recv(10)
    with pytest.raises(BrokenPipeError):
        raw.send(b"x")
    raw.close()


def test_handle() -> None:
    """
    It can be had as a socket, always the same one, which does not own the descriptor.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        raw = RawSocket(server.accept()[0].detach())
        handle = raw.handle()
        assert handle is raw.handle()
        assert (handle.family, handle.fileno(), handle.gettimeout()) == (socket.AF_INET, raw.fileno(), 0.0)
        assert handle.getpeername() == theirs.getsockname()
        fileno = raw.fileno()
        raw.close()
        assert (handle.fileno(), raw.fileno()) == (-1, -1)
        with pytest.raises(OSError):
            os.fstat(fileno)
        assert theirs.recv(1) == b""
        theirs.close()
