"""
An accepted socket, known only by its descriptor.

To make a C{socket.socket} of a descriptor costs a system call and a microsecond, and most connections never need one:
they are read, written and closed. Standard library only, as in L{twisted_mqtt.net.poller}, so that this module
compiles.
"""

from __future__ import annotations

import os
from socket import SocketType
from typing import Final

_CLOSED: Final = -1


class RawSocket:
    """
    A stream socket that does not block. It raises the same errors as a C{socket.socket}.
    """

    __slots__ = ("_fileno", "_handle")

    def __init__(self, fileno: int) -> None:
        """
        @param fileno: of a connected socket; it is this object's from now on.

        @raise OSError: it is none.
        """
        os.set_blocking(fileno, False)
        self._fileno = fileno
        self._handle: SocketType | None = None

    def fileno(self) -> int:
        """
        @return: the descriptor; -1 once it is closed.
        """
        return self._fileno

    def recv(self, size: int) -> bytes:
        """
        Read what has come, that many bytes at most; nothing at the end of input.
        """
        return os.read(self._fileno, size)

    def send(self, data: bytes | memoryview) -> int:
        """
        @return: how many bytes the socket took.
        """
        return os.write(self._fileno, data)

    def sendmsg(self, chunks: list[bytes | memoryview]) -> int:
        """
        The same for many chunks, no more than the system takes at once.
        """
        return os.writev(self._fileno, chunks)

    def handle(self) -> SocketType:
        """
        @return: the socket in Python's own type, for everything else. It is not to be closed.

        @raise OSError: it is closed.
        """
        if self._handle is None:
            self._handle = SocketType(fileno=self._fileno)
            self._handle.settimeout(0.0)
        return self._handle

    def close(self) -> None:
        """
        Close it.
        """
        fileno, self._fileno = self._fileno, _CLOSED
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.detach()
        os.close(fileno)
