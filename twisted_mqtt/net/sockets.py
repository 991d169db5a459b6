"""
The sources of a listening socket: an address, a path, or a process that has opened it already.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from errno import EACCES, EADDRINUSE, ENOENT
from os import W_OK, X_OK, access, chmod, stat, strerror, unlink
from os.path import dirname, isdir, lexists
from stat import S_ISSOCK
from typing import Protocol

from twisted.internet.error import CannotListenError

from twisted_mqtt.net.portoptions import PortOptions


class SocketSource(Protocol):
    """
    Opens the socket of one port.
    """

    def open(self, options: PortOptions) -> socket.socket:
        """
        @return: a socket that listens.
        @raise CannotListenError: if it cannot.
        """

    def attempt(self, options: PortOptions) -> None:
        """
        Find out whether L{open} would do, and change nothing.

        @raise CannotListenError: it would not.
        """

    def closed(self) -> None:
        """
        Remove what the socket leaves behind.
        """


@dataclass(frozen=True)
class TCPSocket:
    """
    @ivar interface: an IPv4 or IPv6 address; empty is every IPv4 one, C{::} every address of both kinds.
    """

    port: int
    interface: str = ""

    def open(self, options: PortOptions) -> socket.socket:
        """
        See L{SocketSource.open}.
        """
        opened = self._bound(options)
        try:
            opened.listen(options.backlog)
        except OSError as error:
            opened.close()
            raise CannotListenError(self.interface, self.port, error) from error
        return opened

    def attempt(self, options: PortOptions) -> None:
        """
        See L{SocketSource.attempt}.
        """
        self._bound(options).close()

    def _bound(self, options: PortOptions) -> socket.socket:
        """
        A socket that has the address and does not listen yet.
        """
        family = socket.AF_INET6 if ":" in self.interface else socket.AF_INET
        try:
            opened = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise CannotListenError(self.interface, self.port, error) from error
        try:
            if options.reuseAddress:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if options.reusePort:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(options.noDelay))
            _setKeepAlive(opened, options)
            _setBuffers(opened, options)
            # Resolves nothing but a scope ("fe80::1%eth0"): the interface is an address.
            known = socket.getaddrinfo(
                self.interface or None,
                self.port,
                family,
                socket.SOCK_STREAM,
                0,
                socket.AI_PASSIVE | socket.AI_NUMERICHOST,
            )
            opened.bind(known[0][4])
        except OSError as error:
            opened.close()
            raise CannotListenError(self.interface, self.port, error) from error
        return opened

    def closed(self) -> None:
        """
        See L{SocketSource.closed}.
        """


@dataclass(frozen=True)
class UNIXSocket:
    """
    @ivar path: where the socket appears; one that a dead process has left there is replaced.
    @ivar mode: who may connect.
    """

    path: str
    mode: int = 0o666

    def open(self, options: PortOptions) -> socket.socket:
        """
        See L{SocketSource.open}.
        """
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self._isStale():
                unlink(self.path)
            _setBuffers(opened, options)
            opened.bind(self.path)
            # Nobody can connect before it listens, so there is no moment with the wrong mode.
            chmod(self.path, self.mode)
            opened.listen(options.backlog)
        except OSError as error:
            opened.close()
            raise CannotListenError(None, self.path, error) from error
        return opened

    def attempt(self, options: PortOptions) -> None:
        """
        See L{SocketSource.attempt}.
        """
        folder = dirname(self.path) or "."
        number = 0
        if not isdir(folder):
            number = ENOENT
        elif not access(folder, W_OK | X_OK):
            number = EACCES
        elif lexists(self.path) and not self._isStale():
            number = EADDRINUSE
        if number:
            raise CannotListenError(None, self.path, OSError(number, strerror(number)))

    def closed(self) -> None:
        """
        See L{SocketSource.closed}.
        """
        with suppress(FileNotFoundError):
            unlink(self.path)

    def _isStale(self) -> bool:
        """
        Whether there is a socket that nobody listens on.
        """
        try:
            if not S_ISSOCK(stat(self.path).st_mode):
                return False
        except FileNotFoundError:
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            # A full backlog of a living server must not make this wait.
            asking.setblocking(False)
            try:
                asking.connect(self.path)
            except ConnectionRefusedError:
                return True
            except BlockingIOError:
                return False
        return False


@dataclass(frozen=True)
class AdoptedSocket:
    """
    @ivar listening: a socket that somebody else has opened, such as the service manager.
    """

    listening: socket.socket

    def open(self, options: PortOptions) -> socket.socket:
        """
        See L{SocketSource.open}. Where it listens is settled; what its connections inherit is not.
        """
        if self.listening.family in (socket.AF_INET, socket.AF_INET6):
            self.listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(options.noDelay))
            _setKeepAlive(self.listening, options)
        _setBuffers(self.listening, options)
        return self.listening

    def attempt(self, options: PortOptions) -> None:
        """
        See L{SocketSource.attempt}: it is open.
        """

    def closed(self) -> None:
        """
        See L{SocketSource.closed}.
        """


def _setKeepAlive(opened: socket.socket, options: PortOptions) -> None:
    keepAlive = options.keepAlive
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(keepAlive is not None))
    if keepAlive is None:
        return
    # Not every system has all of them by these names. The kernel takes whole seconds, and no more than these.
    for name, value in (
        ("TCP_KEEPIDLE", keepAlive.idle),
        ("TCP_KEEPINTVL", keepAlive.interval),
        ("TCP_KEEPCNT", keepAlive.count),
    ):
        option: int | None = getattr(socket, name, None)
        if option is not None:
            opened.setsockopt(socket.IPPROTO_TCP, option, min(32767, max(1, round(value))))


def _setBuffers(opened: socket.socket, options: PortOptions) -> None:
    if options.receiveBuffer is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options.receiveBuffer)
    if options.sendBuffer is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, options.sendBuffer)
