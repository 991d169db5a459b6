"""
Datagram ports: one UDP socket, many datagrams in a turn. The broker's poller reads the socket if there is one.

A datagram goes out at once. If the kernel takes no more, a limited number of datagrams waits, and further ones are
lost, as datagrams may be.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from ipaddress import ip_address
from select import EPOLLIN, EPOLLOUT
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IListeningPort, IReactorSocket
from twisted.internet.protocol import DatagramProtocol

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog
from twisted_mqtt.net.endpoints import canBeFast, pollerOf

if TYPE_CHECKING:
    from twisted_mqtt.config.values import Bind


AT_ONCE: Final = 256
"""
Datagrams that are read before others have their turn.
"""

SLICE: Final = 0.002
"""
Seconds after which others have their turn, however few datagrams were read: one of them may cost a hundred times as
much as another.
"""

_MOST_UNSENT: Final = 4096
# Of Linux, without a name in Python's module: whether a socket gets what is for groups that others have joined.
_IP_MULTICAST_ALL: Final = 49
_IPV6_MULTICAST_ALL: Final = 29
_BUFFER: Final = 65536

# A sender's address as C{recvfrom} gives it: host, port, and more for IPv6.
SocketAddress = tuple[Any, ...]


class DatagramReceiver(Protocol):
    """
    Takes datagrams.
    """

    def datagramReceived(self, data: bytes, address: Any, /) -> None:
        """
        A datagram has come.
        """


class DatagramPort:
    """
    A UDP socket under the broker's poller.

    @ivar received: datagrams that have come.
    @ivar lost: datagrams that could not be sent.
    """

    def __init__(self, reactor: object, opened: socket.socket, receiver: DatagramReceiver) -> None:
        self.received = 0
        self.lost = 0
        self._poller = pollerOf(reactor)
        self._socket = opened
        self._receiver = receiver
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._unsent: deque[tuple[bytes, SocketAddress]] = deque()
        self._open = True
        # A datagram that meets a fault of ours can be sent again and again.
        self._faults = RateLimitedLog()
        self._poller.add(opened.fileno(), self, EPOLLIN)

    def getHost(self) -> tuple[str, int]:
        """
        Where it listens.
        """
        host, port = self._socket.getsockname()[:2]
        return host, port

    def ready(self, events: int) -> None:
        """
        See L{twisted_mqtt.net.roles.Descriptor}.
        """
        if events & EPOLLOUT:
            self._sendWaiting()
        receive = self._socket.recvfrom_into
        view, take = self._view, self._receiver.datagramReceived
        end = perf_counter() + SLICE
        for _ in range(AT_ONCE):
            if not self._open or perf_counter() > end:
                return
            try:
                size, address = receive(view)
            except BlockingIOError:
                return
            except OSError:  # what an earlier datagram of ours has met with, told by ICMP
                continue
            self.received += 1
            try:
                take(bytes(view[:size]), address)
            except Exception:
                self._faults.failure("A datagram from {address} failed", address=address)

    def reactorStopped(self) -> None:
        """
        See L{twisted_mqtt.net.roles.Descriptor}.
        """
        self._close()

    def write(self, data: bytes, address: SocketAddress) -> None:
        """
        Send a datagram.
        """
        if not self._open:
            return
        if self._unsent:
            self._wait(data, address)
            return
        try:
            self._socket.sendto(data, address)
        except BlockingIOError:
            self._poller.modify(self._socket.fileno(), EPOLLIN | EPOLLOUT)
            self._wait(data, address)
        except OSError:  # no route, too long for it, refused
            self.lost += 1

    def stopListening(self) -> Deferred[None]:
        """
        Close.

        @return: has fired.
        """
        self._close()
        return succeed(None)

    def _wait(self, data: bytes, address: SocketAddress) -> None:
        if len(self._unsent) < _MOST_UNSENT:
            self._unsent.append((data, address))
        else:
            self.lost += 1

    def _sendWaiting(self) -> None:
        while self._unsent:
            data, address = self._unsent[0]
            try:
                self._socket.sendto(data, address)
            except BlockingIOError:
                return
            except OSError:
                self.lost += 1
            self._unsent.popleft()
        self._poller.modify(self._socket.fileno(), EPOLLIN)

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._poller.remove(self._socket.fileno())
            self._socket.close()
            self._unsent.clear()


class TwistedPort(DatagramProtocol):
    """
    The same under any reactor.

    @ivar received: as of L{DatagramPort}, as is C{lost}.
    """

    def __init__(self, reactor: object, opened: socket.socket, receiver: DatagramReceiver) -> None:
        self.received = 0
        self.lost = 0
        self._faults = RateLimitedLog()
        self._receiver = receiver
        self._host: tuple[str, int] = opened.getsockname()[:2]
        # The reactor makes its own of the descriptor.
        self._port: IListeningPort = IReactorSocket(reactor).adoptDatagramPort(
            opened.fileno(), opened.family, self, _BUFFER
        )
        opened.close()

    def getHost(self) -> tuple[str, int]:
        """
        Where it listens.
        """
        return self._host

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """
        See L{DatagramProtocol}.
        """
        self.received += 1
        try:
            self._receiver.datagramReceived(datagram, addr)
        except Exception:
            self._faults.failure("A datagram from {address} failed", address=addr)

    def write(self, data: bytes, address: SocketAddress) -> None:
        """
        Send a datagram.
        """
        if self.transport is None:
            return
        try:
            self.transport.write(data, address)
        except (OSError, MessageLengthError):
            self.lost += 1

    def stopListening(self) -> Deferred[None]:
        """
        Close.

        @return: fires when that is done.
        """
        return self._port.stopListening() or succeed(None)


def openDatagrams(
    reactor: object,
    bind: Bind,
    receiver: DatagramReceiver,
    receiveBuffer: int | None = None,
    sendBuffer: int | None = None,
    group: str | None = None,
    shared: bool = False,
) -> DatagramPort | TwistedPort:
    """
    Open a UDP socket.

    @param group: a multicast group to be heard too.
    @param shared: whether L{openGroup} will be asked for the same port: what is sent to groups does not come here then.

    @raise CannotListenError: the address is taken, forbidden, or not ours.
    """
    opened = _bound(bind, receiveBuffer, sendBuffer, group, shared)
    return (DatagramPort if canBeFast(reactor) else TwistedPort)(reactor, opened, receiver)


def attemptDatagrams(bind: Bind, group: str | None = None, shared: bool = False) -> None:
    """
    Find out whether L{openDatagrams} would do.

    @raise CannotListenError: it would not.
    """
    _bound(bind, None, None, group, shared).close()


def _bound(
    bind: Bind, receiveBuffer: int | None, sendBuffer: int | None, group: str | None, shared: bool
) -> socket.socket:
    opened: socket.socket | None = None
    try:
        known = socket.getaddrinfo(bind.host or None, bind.port, 0, socket.SOCK_DGRAM, 0, socket.AI_PASSIVE)
        family, _, _, _, address = known[0]
        opened = socket.socket(family, socket.SOCK_DGRAM)
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if receiveBuffer is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receiveBuffer)
        if sendBuffer is not None:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sendBuffer)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET:
                opened.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
            else:
                opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
        opened.bind(address)
        if group is not None:
            _join(opened, group)
    except OSError as error:
        if opened is not None:
            opened.close()
        raise CannotListenError(bind.host, bind.port, error) from error
    return opened


def openGroup(
    reactor: object, group: str, host: str, port: int, receiver: DatagramReceiver
) -> list[DatagramPort | TwistedPort]:
    """
    Hear what is sent to a multicast group, and nothing else.

    @param host: the numeric address that answers come from: the group is heard on its interface, on each interface if
        it is that of all addresses.
    @param port: that datagrams are sent to.

    @return: the sockets; none where the group's addresses are of another kind than C{host}.

    @raise CannotListenError: the group can't be joined anywhere.
    """
    address = ip_address(group)
    own = ip_address(host.partition("%")[0])
    if address.version != own.version:
        return []
    interfaces = [index for index, _ in socket.if_nameindex()]
    try:
        if address.version == 4:
            opened = [_hearing4(address.packed, own.packed, port, interfaces if own.is_unspecified else [0])]
        else:
            opened = _hearing6(group, port, [socket.if_nametoindex("lo")] if own.is_loopback else interfaces)
    except OSError as error:
        raise CannotListenError(group, port, error) from error
    kind = DatagramPort if canBeFast(reactor) else TwistedPort
    return [kind(reactor, one, receiver) for one in opened]


def _hearing4(group: bytes, own: bytes, port: int, interfaces: list[int]) -> socket.socket:
    """
    A socket that hears a group on some interfaces, or on that of an address. Those without multicast are passed over.
    """
    one = _groupSocket(socket.AF_INET, (socket.inet_ntoa(group), port))
    refused: OSError | None = None
    joined = 0
    for index in interfaces:
        try:
            request = group + own + struct.pack("@i", index)
            one.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            joined += 1
        except OSError as error:
            refused = error
    if joined:
        return one
    one.close()
    raise refused or OSError("there is no interface")


def _hearing6(group: str, port: int, interfaces: list[int]) -> list[socket.socket]:
    """
    The same for IPv6, where each interface has groups of its own and takes a socket of its own.
    """
    opened: list[socket.socket] = []
    refused: OSError | None = None
    for index in interfaces:
        try:
            one = _groupSocket(socket.AF_INET6, (group, port, 0, index))
        except OSError as error:
            refused = error
            continue
        try:
            request = ip_address(group).packed + struct.pack("@I", index)
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
            opened.append(one)
        except OSError as error:
            refused = error
            one.close()
    if not opened:
        raise refused or OSError("there is no interface")
    return opened


def _groupSocket(family: int, address: SocketAddress) -> socket.socket:
    one = socket.socket(family, socket.SOCK_DGRAM)
    try:
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def isMulticast(host: str) -> bool:
    """
    Whether an address is that of a group.
    """
    try:
        return ip_address(host).is_multicast
    except ValueError:
        return False


def _join(opened: socket.socket, group: str) -> None:
    packed = ip_address(group).packed
    if len(packed) == 4:
        request = packed + socket.inet_aton("0.0.0.0")
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    else:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + struct.pack("@I", 0))
