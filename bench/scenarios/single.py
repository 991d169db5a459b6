"""
One thing at a time on each connection: what batching does not help with.
"""

from __future__ import annotations

import os
import select
import socket
import time
from array import array
from collections import deque
from typing import Final

from bench import packets
from bench.checker import BrokenStream
from bench.generator import Closed
from bench.scenarios.base import Outcome, Running, Stalled, Stretch, Unsupported, ownCore, withoutCollector
from bench.sockets import READ_SIZE, HandshakeError, openSession, subscribe

_WARM_UP: Final = 0.3
_PATIENCE: Final = 5.0
# Each connection's packets differ from one to the next, so that a late or repeated one is seen.
_CYCLE: Final = 64


class PingPong:
    """
    Connections that each send themselves one message, and the next when it has come.
    """

    unit = "messages/s"
    higher = True

    def __init__(self, name: str, title: str, connections: int) -> None:
        self.name = name
        self.title = title
        self._connections = connections

    def run(self, broker: Running, seconds: float) -> Outcome:
        """
        Count the messages that came back.
        """
        opened: dict[int, socket.socket] = {}
        cycles: dict[int, list[bytes]] = {}
        try:
            for number in range(self._connections):
                topicName = f"pingpong/{number:04d}"
                one = openSession(broker.address, f"pingpong{number}")
                opened[one.fileno()] = one
                subscribe(one, [topicName], 0)
                cycles[one.fileno()] = [packets.publish(topicName, packets.payload(0, n)) for n in range(_CYCLE)]
            with withoutCollector():
                return _exchange(opened, cycles, broker, seconds)
        finally:
            for one in opened.values():
                one.close()


def _exchange(
    opened: dict[int, socket.socket], cycles: dict[int, list[bytes]], broker: Running, seconds: float
) -> Outcome:
    # Straight system calls: everything else here would be measured as the broker's.
    read, write = os.read, os.write
    poll = select.epoll()
    turn = dict.fromkeys(opened, 0)
    for descriptor, one in opened.items():
        one.setblocking(False)
        poll.register(descriptor, select.EPOLLIN)
        write(descriptor, cycles[descriptor][0])
    count = 0
    before = 0
    stretch: Stretch | None = None
    end = time.perf_counter() + _WARM_UP
    while True:
        if time.perf_counter() >= end:
            if stretch is not None:
                break
            stretch = Stretch(broker.pid)
            before = count
            end = time.perf_counter() + seconds
        ready = poll.poll(_PATIENCE)
        if not ready:
            raise Stalled("no message came back")
        for descriptor, _ in ready:
            at = turn[descriptor]
            data = read(descriptor, 4096)
            expected = cycles[descriptor]
            if data != expected[at]:
                if not data:
                    raise Closed("the broker closed a connection")
                raise BrokenStream(f"expected {expected[at][:24].hex()}..., received {data[:24].hex()}...")
            at = turn[descriptor] = (at + 1) % _CYCLE
            write(descriptor, expected[at])
        count += len(ready)
    stretch.stop()
    return stretch.outcome(count - before)


class Connects:
    """
    Sessions that begin and end: CONNECT, CONNACK, DISCONNECT, close, and the next.
    """

    unit = "connections/s"
    higher = True

    def __init__(self, name: str, title: str, atOnce: int) -> None:
        """
        @param atOnce: less than the backlog of any broker's listener, or connecting would wait.
        """
        self.name = name
        self.title = title
        self._atOnce = atOnce

    def run(self, broker: Running, seconds: float) -> Outcome:
        """
        Count the accepted connections, always with some of them under way.
        """
        hello = [packets.connect(f"connect{number:04d}") for number in range(self._atOnce * 4)]
        under: dict[int, socket.socket] = {}
        begun = done = before = 0
        stretch: Stretch | None = None
        poll = select.epoll()
        try:
            with withoutCollector():
                end = time.perf_counter() + _WARM_UP
                while True:
                    if time.perf_counter() >= end:
                        if stretch is not None:
                            break
                        stretch = Stretch(broker.pid)
                        before = done
                        end = time.perf_counter() + seconds
                    while len(under) < self._atOnce:
                        # The kernel completes the handshake before the broker accepts: this does not wait.
                        one = broker.address.open()
                        one.send(hello[begun % len(hello)])
                        begun += 1
                        descriptor = one.fileno()
                        under[descriptor] = one
                        poll.register(descriptor, select.EPOLLIN)
                    ready = poll.poll(_PATIENCE)
                    if not ready:
                        raise Stalled("no CONNACK came")
                    for descriptor, _ in ready:
                        one = under.pop(descriptor)
                        answer = one.recv(64)
                        if answer != packets.ACCEPTED:
                            raise BrokenStream(f"expected a CONNACK, received {answer.hex()}")
                        one.send(packets.DISCONNECT)
                        one.close()
                        done += 1
                stretch.stop()
        finally:
            poll.close()
            for one in under.values():
                one.close()
        return stretch.outcome(done - before)


class Latency:
    """
    How long a message is under way at a modest, constant rate: the 99th percentile.
    """

    unit = "ms"
    higher = False

    def __init__(self, name: str, title: str, pairs: int, rate: int, qos: int) -> None:
        self.name = name
        self.title = title
        self._pairs = pairs
        self._rate = rate
        self._qos = qos

    def run(self, broker: Running, seconds: float) -> Outcome:
        """
        Send by the clock, whatever comes back, and note how long each message took.
        """
        qos = self._qos
        opened: list[socket.socket] = []
        publishers: list[tuple[int, list[bytes]]] = []
        receivers: dict[int, tuple[int, bytes]] = {}
        try:
            for number in range(self._pairs):
                topicName = f"latency/{number:04d}"
                below = openSession(broker.address, f"sub{number}")
                opened.append(below)
                try:
                    subscribe(below, [topicName], qos)
                except HandshakeError as error:
                    raise Unsupported(str(error)) from error
                above = openSession(broker.address, f"pub{number}")
                opened.append(above)
                made = [
                    packets.publish(topicName, packets.payload(number, n % 1000), qos, n % 1000 + 1)
                    for n in range(1000)
                ]
                publishers.append((above.fileno(), made))
                receivers[below.fileno()] = (number, made[0])
            for one in opened:
                one.setblocking(False)
            with withoutCollector(), ownCore(broker.pid):
                return self._measure(broker, seconds, publishers, receivers)
        finally:
            for one in opened:
                one.close()

    def _measure(
        self,
        broker: Running,
        seconds: float,
        publishers: list[tuple[int, list[bytes]]],
        receivers: dict[int, tuple[int, bytes]],
    ) -> Outcome:
        now = time.perf_counter
        poll = select.epoll()
        for descriptor in [*receivers, *(descriptor for descriptor, _ in publishers)]:
            poll.register(descriptor, select.EPOLLIN)
        under: list[deque[tuple[float, int]]] = [deque() for _ in publishers]
        kept = dict.fromkeys(receivers, b"")
        tooks = array("d")
        disordered = 0
        warm = int(self._rate * _WARM_UP)
        total = warm + int(self._rate * seconds)
        arrived = sent = 0
        interval = 1 / self._rate
        begin = now()
        stretch: Stretch | None = None
        last = begin
        while arrived < total:
            time_ = now()
            while sent < total and time_ >= begin + sent * interval:
                number = sent % len(publishers)
                descriptor, made = publishers[number]
                turn = sent // len(publishers) % 1000
                if sent == warm:
                    stretch = Stretch(broker.pid)
                # The clock is read before sending: what the kernel and the broker then do is the latency.
                under[number].append((now(), turn))
                os.write(descriptor, made[turn])
                sent += 1
            # Never sleeping, so that waking up is not measured.
            for descriptor, _ in poll.poll(0):
                data = os.read(descriptor, READ_SIZE)
                time_ = now()
                last = time_
                if descriptor not in kept:
                    if not data:
                        raise Closed("the broker closed a publisher's connection")
                    continue  # acknowledgements to the publisher
                if not data:
                    raise Closed("the broker closed a subscriber's connection")
                number, sample = receivers[descriptor]
                size = len(sample)
                data = kept[descriptor] + data
                whole = len(data) - len(data) % size
                for at in range(0, whole, size):
                    turn = int.from_bytes(data[at + size - 63 : at + size - 59], "big")
                    if self._qos:
                        identifier = at + size - packets.PAYLOAD_SIZE - 2
                        os.write(descriptor, b"\x40\x02" + data[identifier : identifier + 2])
                    started, expected = under[number].popleft()
                    disordered += turn != expected
                    arrived += 1
                    if arrived > warm:
                        tooks.append(time_ - started)
                kept[descriptor] = data[whole:]
            if now() - last > _PATIENCE:
                break
        if stretch is None or not tooks:
            raise Stalled("no message came")
        stretch.stop()
        ranked = sorted(tooks)
        outcome = stretch.outcome(len(ranked), ranked[len(ranked) * 99 // 100] * 1e3)
        outcome.lost = total - arrived
        outcome.disordered = disordered
        outcome.detail = {
            "p50": ranked[len(ranked) // 2] * 1e3,
            "p999": ranked[len(ranked) * 999 // 1000] * 1e3,
            "max": ranked[-1] * 1e3,
        }
        return outcome
