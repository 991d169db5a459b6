"""
The cost of TLS: the throughput of long connections, and the rate of new ones.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench import packets
from bench.checker import BrokenStream
from bench.scenarios.base import Outcome, Running, Stalled, Stretch, Unsupported, withoutCollector
from bench.scenarios.throughput import Throughput, Wiring
from bench.secure import TLSAddress, clientContext
from bench.sockets import Address

_WARM_UP: Final = 0.5
_PATIENCE: Final = 5.0


def _secureAddress(broker: Running) -> TLSAddress:
    address = broker.secure
    if address is None:
        raise Unsupported("it is not set up for TLS here")
    return address


@dataclass(frozen=True)
class _Secured:
    """
    A broker, seen through its listener with TLS.
    """

    pid: int
    address: Address
    secure: TLSAddress | None
    webSocket: None = None


class SecureThroughput(Throughput):
    """
    Deliveries a second of some wiring, over TLS.
    """

    def __init__(self, name: str, title: str, wire: Callable[[Address], Wiring]) -> None:
        super().__init__(name, title, wire)

    def run(self, broker: Running, seconds: float) -> Outcome:
        """
        See L{Throughput.run}.
        """
        address = _secureAddress(broker)
        return super().run(_Secured(broker.pid, address, address), seconds)


class Handshakes:
    """
    Sessions over TLS that begin and end: handshake, CONNECT, CONNACK, DISCONNECT, close, and the next.
    """

    unit = "connections/s"
    higher = True

    def __init__(self, name: str, title: str, atOnce: int, resuming: bool = False) -> None:
        """
        @param atOnce: less than the backlog of any broker's listener, or connecting would wait.
        @param resuming: every client comes back with the session of its last connection.
        """
        self.name = name
        self.title = title
        self._atOnce = atOnce
        self._resuming = resuming

    def run(self, broker: Running, seconds: float) -> Outcome:
        """
        Count the accepted connections, always with some of them under way.
        """
        address = _secureAddress(broker)
        clients = _Clients(address, self._atOnce, self._resuming)
        stretch: Stretch | None = None
        before = 0
        try:
            with withoutCollector():
                end = time.perf_counter() + _WARM_UP
                while True:
                    if time.perf_counter() >= end:
                        if stretch is not None:
                            break
                        before = clients.done
                        stretch = Stretch(broker.pid)
                        end = time.perf_counter() + seconds
                    clients.turn()
                stretch.stop()
        finally:
            clients.close()
        outcome = stretch.outcome(clients.done - before)
        if self._resuming:
            outcome.detail["resumed"] = clients.resumed / max(1, clients.done)
        return outcome


class _Clients:
    """
    Some clients, each of which connects again as soon as it is done.

    @ivar done: how many connections have come to an end as they should.
    @ivar resumed: how many of them have resumed a session.
    """

    def __init__(self, address: TLSAddress, count: int, resuming: bool) -> None:
        self.done = 0
        self.resumed = 0
        self._address = address.plain
        self._context = clientContext()
        self._resuming = resuming
        self._poll = select.epoll()
        self._under: dict[int, tuple[ssl.SSLSocket, int]] = {}
        self._connected: set[int] = set()
        self._sessions: list[ssl.SSLSession | None] = [None] * count
        for number in range(count):
            self._begin(number)

    def turn(self) -> None:
        """
        Wait for something to happen, and do all of it once.

        @raise Stalled: nothing happens.
        """
        ready = self._poll.poll(_PATIENCE)
        if not ready:
            raise Stalled("no answer came")
        for descriptor, _ in ready:
            opened, number = self._under[descriptor]
            try:
                self._step(descriptor, opened, number)
            except ssl.SSLWantReadError:
                continue

    def close(self) -> None:
        """
        Close every connection.
        """
        self._poll.close()
        for opened, _ in self._under.values():
            opened.close()

    def _begin(self, number: int) -> None:
        plain = self._address.open()
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setblocking(False)
        opened = self._context.wrap_socket(
            plain, server_hostname="localhost", do_handshake_on_connect=False, session=self._sessions[number]
        )
        descriptor = opened.fileno()
        self._under[descriptor] = opened, number
        self._poll.register(descriptor, select.EPOLLIN)
        try:
            # Where the broker is quick, this is all of it.
            self._step(descriptor, opened, number)
        except ssl.SSLWantReadError:
            return

    def _step(self, descriptor: int, opened: ssl.SSLSocket, number: int) -> None:
        if descriptor not in self._connected:
            opened.do_handshake()
            self._connected.add(descriptor)
            opened.send(packets.connect(f"connect{number:04d}"))
            return
        answer = opened.recv(64)
        if answer != packets.ACCEPTED:
            raise BrokenStream(f"expected a CONNACK, received {answer.hex()}")
        self.done += 1
        if self._resuming:
            self.resumed += bool(opened.session_reused)
            self._sessions[number] = opened.session
        opened.send(packets.DISCONNECT)
        del self._under[descriptor]
        self._connected.discard(descriptor)
        opened.close()
        self._begin(number)
