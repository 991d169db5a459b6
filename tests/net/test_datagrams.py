"""
Datagrams over real sockets, with and without the poller.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.trial.unittest import TestCase

from tests.kits.transport import PATIENCE
from twisted_mqtt.config.values import Bind
from twisted_mqtt.net.datagrams import DatagramPort, TwistedPort, isMulticast, openDatagrams, openGroup


class Inbox:
    """
    Keeps what comes, and says when there is enough.
    """

    def __init__(self, wanted: int) -> None:
        self.came: list[tuple[bytes, Any]] = []
        self.full: Deferred[None] = Deferred()
        self._wanted = wanted

    def datagramReceived(self, data: bytes, address: Any) -> None:
        """
        A datagram has come.
        """
        self.came.append((data, address))
        if data == b"bad":
            raise RuntimeError("a receiver at fault")
        if len(self.came) == self._wanted:
            self.full.callback(None)


def opened() -> socket.socket:
    """
    A socket as L{openDatagrams} makes it.
    """
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setblocking(False)
    one.bind(("127.0.0.1", 0))
    return one


class PortTests(TestCase):
    """
    Tests for both kinds of ports.
    """

    timeout = PATIENCE

    async def _exchange(self, kind: Callable[..., Any]) -> None:
        inbox = Inbox(200)
        port = kind(reactor, opened(), inbox)
        peer = opened()
        self.addCleanup(peer.close)
        peer.connect(port.getHost())
        for number in range(200):
            peer.send(b"%d" % number)
        await inbox.full
        self.assertEqual([data for data, _ in inbox.came], [b"%d" % number for number in range(200)])
        address = inbox.came[0][1]
        self.assertEqual(address[:2], peer.getsockname())
        port.write(b"answer", address)
        peer.setblocking(True)
        self.assertEqual(peer.recv(100), b"answer")
        port.write(b"x" * 70_000, address)
        self.assertEqual(port.lost, 1)
        await port.stopListening()
        port.write(b"too late", address)

    def test_poller(self) -> Any:
        """
        Under the poller datagrams come in order, and answers go out.
        """
        return Deferred.fromCoroutine(self._exchange(DatagramPort))

    def test_twisted(self) -> Any:
        """
        The same where there is no poller.
        """
        return Deferred.fromCoroutine(self._exchange(TwistedPort))

    def test_openAndTaken(self) -> Any:
        """
        A port is opened with its buffers; one that is taken is told as Twisted tells it.
        """

        async def each() -> None:
            port = openDatagrams(reactor, Bind("127.0.0.1", 0), Inbox(1), 1 << 16, 1 << 16, "239.255.1.2")
            try:
                with pytest.raises(CannotListenError):
                    openDatagrams(reactor, Bind("127.0.0.1", port.getHost()[1]), Inbox(1))
            finally:
                await port.stopListening()

        return Deferred.fromCoroutine(each())

    def test_receiverAtFault(self) -> Any:
        """
        A receiver that raises is logged, and gets the next datagram; one that raises at each is not logged for each.
        """

        async def each() -> None:
            for kind in DatagramPort, TwistedPort:
                inbox = Inbox(101)
                port = kind(reactor, opened(), inbox)
                peer = opened()
                self.addCleanup(peer.close)
                peer.connect(port.getHost())
                for _ in range(100):
                    peer.send(b"bad")
                peer.send(b"good")
                await inbox.full
                await port.stopListening()
                # More than one only where the machine took longer than a second for them.
                self.assertIn(len(self.flushLoggedErrors(RuntimeError)), range(1, 20))

        return Deferred.fromCoroutine(each())


class GroupTests(TestCase):
    """
    Tests for L{openGroup}, on the loopback interface alone.
    """

    timeout = PATIENCE

    def setUp(self) -> None:
        self.patch(socket, "if_nameindex", lambda: [(socket.if_nametoindex("lo"), "lo")])

    async def _apart(self, host: str) -> None:
        """
        A datagram to a group comes to everybody who listens to it, a datagram to the address beside it does not.
        """
        own, group = Inbox(1), Inbox(1)
        port = openDatagrams(reactor, Bind(host, 0), own, shared=host == "0.0.0.0")
        number = port.getHost()[1]
        hearing = openGroup(reactor, "224.0.1.187", host, number, group)
        peer = opened()
        self.addCleanup(peer.close)
        peer.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        peer.sendto(b"to all", ("224.0.1.187", number))
        peer.sendto(b"to one", ("127.0.0.1", number))
        await own.full
        await group.full
        self.assertEqual([[data for data, _ in inbox.came] for inbox in (own, group)], [[b"to one"], [b"to all"]])
        self.assertEqual(openGroup(reactor, "ff02::fd", host, number, group), [])
        for each in (port, *hearing):
            await each.stopListening()

    def test_oneAddress(self) -> Any:
        """
        Beside an address, on its interface.
        """
        return Deferred.fromCoroutine(self._apart("127.0.0.1"))

    def test_allAddresses(self) -> Any:
        """
        Beside the address for all, on each interface.
        """
        return Deferred.fromCoroutine(self._apart("0.0.0.0"))

    def test_nowhere(self) -> None:
        """
        Where no interface is, a group can't be heard, and that is told.
        """
        self.patch(socket, "if_nameindex", list)
        with pytest.raises(CannotListenError):
            openGroup(reactor, "224.0.1.187", "0.0.0.0", 0, Inbox(1))
        with pytest.raises(CannotListenError):
            openGroup(reactor, "ff02::fd", "::", 0, Inbox(1))


class FullSocket:
    """
    A socket that takes so many datagrams and then no more for now.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.sent: list[bytes] = []

    def fileno(self) -> int:
        """
        Nobody polls it.
        """
        return 7

    def sendto(self, data: bytes, address: Any) -> int:
        """
        See C{socket.socket}.
        """
        if self.room <= 0:
            raise BlockingIOError
        self.room -= 1
        self.sent.append(data)
        return len(data)

    def recvfrom_into(self, view: memoryview) -> Any:
        """
        Nothing is there.
        """
        raise BlockingIOError


def test_fullSocket(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Datagrams that the kernel does not take wait, in order, up to a bound; the rest is lost and counted.
    """
    events: list[int] = []

    class Poller:
        """
        Notes what it is asked for.
        """

        def add(self, fileno: int, descriptor: object, wanted: int) -> None:
            events.append(wanted)

        def modify(self, fileno: int, wanted: int) -> None:
            events.append(wanted)

    monkeypatch.setattr("twisted_mqtt.net.datagrams.pollerOf", lambda reactor: Poller())
    full = FullSocket(2)
    port = DatagramPort(None, full, Inbox(1))  # type: ignore[arg-type]  # all that is asked of a socket here
    for number in range(5000):
        port.write(b"%d" % number, ("127.0.0.1", 1))
    assert events == [EPOLLIN, EPOLLIN | EPOLLOUT]
    assert port.lost == 5000 - 2 - 4096
    full.room = 3000
    port.ready(EPOLLOUT)
    assert events == [EPOLLIN, EPOLLIN | EPOLLOUT]
    full.room = 3000
    port.ready(EPOLLOUT)
    assert events[-1] == EPOLLIN
    assert full.sent == [b"%d" % number for number in range(4098)]


def test_multicast() -> None:
    """
    Groups are told from other addresses, and from names.
    """
    assert isMulticast("239.1.2.3") and isMulticast("ff02::1")
    assert not isMulticast("255.255.255.255") and not isMulticast("10.0.0.1") and not isMulticast("localhost")
