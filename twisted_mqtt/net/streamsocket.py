"""
A connected socket, its attributes and its options.

Standard library only, as in L{twisted_mqtt.net.poller}, so that this module compiles.
"""

from __future__ import annotations

from errno import EBADF
from fcntl import ioctl
from os import strerror
from socket import IPPROTO_TCP, SHUT_WR, SO_ERROR, SO_KEEPALIVE, SO_LINGER, SOL_SOCKET, TCP_NODELAY
from struct import pack
from sys import byteorder
from termios import TIOCOUTQ
from typing import Any, Final

from twisted_mqtt.net.poller import Poller
from twisted_mqtt.net.rawsocket import RawSocket

RECEIVE_AT_ONCE: Final = 65536
"""
Read from a socket in a round at most, so that nobody waits long for a peer that sends much.
"""

_RESET_ON_CLOSE: Final = pack("ii", 1, 0)


class StreamSocket:
    """
    The part of C{ITCPTransport} that only asks the socket, and C{ISystemHandle}.
    """

    __slots__ = ("_peerName", "_poller", "_socket")

    def __init__(self, poller: Poller, accepted: RawSocket, peerName: object) -> None:
        """
        @param accepted: connected.
        @param peerName: as C{accept} gave it.
        """
        self._poller = poller
        self._socket: RawSocket | None = accepted
        self._peerName = peerName

    def getPeer(self) -> Any:
        """
        @return: the address of the other side; known even when the connection is lost.
        """
        return self._poller.shell.address(self._peerName)

    def getHost(self) -> Any:
        """
        @return: the address of this side; known until C{connectionLost} has returned.
        """
        return self._poller.shell.address(self._open().handle().getsockname())

    def getHandle(self) -> object:
        """
        @return: the socket, or C{None} when it is closed.
        """
        return None if self._socket is None else self._socket.handle()

    def getTcpNoDelay(self) -> bool:
        """
        @return: whether small writes leave at once.
        """
        return bool(self._open().handle().getsockopt(IPPROTO_TCP, TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Let small writes leave at once; of no effect on a socket that is not TCP.
        """
        if self._socket is not None:
            try:
                self._socket.handle().setsockopt(IPPROTO_TCP, TCP_NODELAY, int(enabled))
            except OSError:
                # A UNIX socket, or already reset: nothing that the caller could do better.
                pass

    def getTcpKeepAlive(self) -> bool:
        """
        @return: whether the kernel probes an idle peer.
        """
        return bool(self._open().handle().getsockopt(SOL_SOCKET, SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        Have the kernel probe an idle peer.
        """
        if self._socket is not None:
            self._socket.handle().setsockopt(SOL_SOCKET, SO_KEEPALIVE, int(enabled))

    def _open(self) -> RawSocket:
        """
        @return: the socket.
        @raise OSError: if it is closed.
        """
        if self._socket is None:
            raise OSError(EBADF, "The connection is closed")
        return self._socket

    def _pendingError(self) -> OSError | None:
        """
        @return: what went wrong since the socket was last used.
        """
        code = self._open().handle().getsockopt(SOL_SOCKET, SO_ERROR)
        return OSError(code, strerror(code)) if code else None

    def _unacknowledged(self) -> int:
        """
        @return: how many bytes the kernel holds that the peer has not acknowledged; 0 where it does not tell.
        """
        if self._socket is None:
            return 0
        try:
            return int.from_bytes(ioctl(self._socket.fileno(), TIOCOUTQ, b"\0\0\0\0"), byteorder)
        except OSError:
            return 0

    def _peerHasFinished(self) -> bool:
        """
        @return: whether nothing is left to come from the peer. What did come instead is thrown away.
        """
        try:
            return not self._open().recv(RECEIVE_AT_ONCE)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True

    def _unread(self, limit: int) -> list[bytes]:
        """
        @return: what the peer has sent up to now, or the first of it.
        """
        chunks: list[bytes] = []
        size = 0
        while size < limit:
            try:
                data = self._open().recv(RECEIVE_AT_ONCE)
            except OSError:
                break
            if not data:
                break
            chunks.append(data)
            size += len(data)
        return chunks

    def _sendFIN(self) -> bool:
        """
        @return: whether there was still somebody to send it to.
        """
        try:
            self._open().handle().shutdown(SHUT_WR)
        except OSError:
            return False
        return True

    def _closeSocket(self, reset: bool) -> None:
        """
        @param reset: send RST rather than FIN.
        """
        closing = self._socket
        if closing is None:
            return
        self._socket = None
        self._poller.remove(closing.fileno(), True)
        if reset:
            try:
                closing.handle().setsockopt(SOL_SOCKET, SO_LINGER, _RESET_ON_CLOSE)
            except OSError:
                # Reset already, by the peer.
                pass
        closing.close()
