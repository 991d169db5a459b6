"""
The cost of keeping messages: QoS 1 into sessions that outlive their connections.
"""

from __future__ import annotations

import time
from statistics import median, quantiles
from typing import Final

from bench import packets
from bench.checker import Ring
from bench.generator import AcknowledgingReceiver, Publisher
from bench.scenarios.base import Outcome, Running, Stalled, Stretch, withoutCollector
from bench.scenarios.throughput import Throughput, Wiring
from bench.sockets import READ_SIZE, Address, Link, Turns, endSession, openSession, readPacket, subscribe

_WARM_UP: Final = 0.5


def wireKept(address: Address, count: int = 10, window: int = 100) -> Wiring:
    """
    As many publishers as subscribers, each pair with its own topic; the subscribers' sessions outlive them.
    """
    wiring = Wiring(Turns())
    for number in range(count):
        topicName = f"kept/{number:04d}"
        opened = openSession(address, f"kept{number}", clean=False)
        subscribe(opened, [topicName], 1)
        below, above = Link(wiring.turns, opened), Link(wiring.turns, openSession(address, f"pub{number}"))
        bodies = [packets.payload(number, n) for n in range(max(1000, 4 * window))]
        sent = Ring([packets.publish(topicName, body, 1, n + 1) for n, body in enumerate(bodies)], READ_SIZE)
        expected = Ring([packets.publish(topicName, body, 1) for body in bodies], READ_SIZE)
        publisher = Publisher(above, sent, window, qos=1)
        receiver = AcknowledgingReceiver(below, publisher, expected, 4 + len(topicName))
        wiring.turns.add(below, receiver.readable)
        wiring.turns.add(above, publisher.readable)
        wiring.receivers.append(receiver)
        wiring.publishers.append(publisher)
    return wiring


def keptOnline() -> Throughput:
    """
    Ten pairs, the subscribers connected.
    """
    return Throughput("keptonline", "QoS 1 into 10 persistent sessions, connected", wireKept)


class KeptOffline:
    """
    Ten publishers, each into the queue of a session whose client is away: messages acknowledged a second.
    """

    name = "keptoffline"
    title = "QoS 1 into 10 persistent sessions, away"
    unit = "messages/s"
    higher = True

    def __init__(self, count: int = 10, window: int = 100) -> None:
        self._count = count
        self._window = window

    def run(self, broker: Running, seconds: float) -> Outcome:
        """
        Subscribe and leave, then publish.
        """
        turns = Turns()
        publishers: list[Publisher] = []
        try:
            for number in range(self._count):
                topicName = f"away/{number:04d}"
                away = openSession(broker.address, f"away{number}", clean=False)
                subscribe(away, [topicName], 1)
                endSession(away)
                link = Link(turns, openSession(broker.address, f"pub{number}"))
                sent = [packets.publish(topicName, packets.payload(number, n), 1, n + 1) for n in range(1000)]
                publisher = Publisher(link, Ring(sent, READ_SIZE), self._window, qos=1)
                turns.add(link, publisher.readable)
                publishers.append(publisher)
            with withoutCollector():
                publishUntil(turns, publishers, time.perf_counter() + _WARM_UP)
                before = sum(publisher.settled for publisher in publishers)
                stretch = Stretch(broker.pid)
                publishUntil(turns, publishers, time.perf_counter() + seconds)
                stretch.stop()
            return stretch.outcome(sum(publisher.settled for publisher in publishers) - before)
        finally:
            turns.close()


def publishUntil(turns: Turns, publishers: list[Publisher], end: float, limit: int = 0) -> None:
    """
    Publish until a time, or until so many are acknowledged.

    @raise Stalled: nothing is acknowledged any more.
    """
    last, since = -1, time.perf_counter()
    while (now := time.perf_counter()) < end:
        settled = 0
        for publisher in publishers:
            # Nobody receives these now: being acknowledged is all there is to wait for.
            publisher.delivered = publisher.settled
            settled += publisher.settled
            publisher.refill()
        if limit and settled >= limit:
            return
        if settled != last:
            last, since = settled, now
        elif now - since > 10:
            raise Stalled(f"{settled} messages acknowledged, and no more for 10 s")
        turns.turn(0.1)


class SingleLatency:
    """
    How long one publisher waits for the acknowledgement of one message that a session keeps.
    """

    name = "keptlatency"
    title = "one acknowledged QoS 1 publish into a persistent session, p50"
    unit = "ms"
    higher = False

    def run(self, broker: Running, seconds: float) -> Outcome:
        """
        Publish, wait for PUBACK, again.
        """
        away = openSession(broker.address, "single", clean=False)
        subscribe(away, ["single"], 1)
        endSession(away)
        publisher = openSession(broker.address, "one")
        waited: list[float] = []
        with publisher:
            end = time.perf_counter() + seconds
            number = 0
            while time.perf_counter() < end:
                number += 1
                packet = packets.publish("single", packets.payload(0, number), 1, number % 0xFFFF + 1)
                began = time.perf_counter()
                publisher.sendall(packet)
                readPacket(publisher)
                waited.append((time.perf_counter() - began) * 1000)
        return Outcome(median(waited), detail={"p99 ms": quantiles(waited, n=100)[98]})
