"""
Sustained throughput: how many deliveries a second, when publishers go no faster than what is delivered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from bench import packets
from bench.checker import MixedCheck, Ring, StreamCheck
from bench.generator import AcknowledgingReceiver, ExactlyOnceReceiver, MixedReceiver, Publisher, Receiver
from bench.scenarios.base import Outcome, Running, Stalled, Stretch, Unsupported, withoutCollector
from bench.sockets import READ_SIZE, Address, HandshakeError, Link, Turns, openSession, subscribe

_WARM_UP: Final = 0.5


class AnyReceiver(Protocol):
    """
    The common part of the receivers of L{bench.generator}.
    """

    @property
    def received(self) -> int:
        """
        The messages that have come.
        """

    @property
    def checks(self) -> list[StreamCheck]:
        """
        The checks of all streams that end here.
        """


@dataclass
class Wiring:
    """
    Publishers and receivers, connected and subscribed.

    @ivar patience: without any delivery for so many seconds, nothing more will come.
    """

    turns: Turns
    publishers: list[Publisher] = field(default_factory=list)
    receivers: list[AnyReceiver] = field(default_factory=list)
    patience: float = 5.0

    def received(self) -> int:
        """
        All deliveries so far.
        """
        return sum(receiver.received for receiver in self.receivers)

    def drive(self, until: Callable[[], bool], publishing: bool) -> None:
        """
        Run until told otherwise.

        @raise Stalled: nothing has come for too long.
        """
        turns, publishers = self.turns, self.publishers
        progress, since = self.received(), time.perf_counter()
        while not until():
            if publishing:
                for publisher in publishers:
                    publisher.refill()
            turns.turn(0.1)
            # Looked at now and then only: with a thousand receivers, adding up takes longer than a turn.
            if time.perf_counter() - since > self.patience:
                received = self.received()
                if received == progress:
                    raise Stalled(f"no delivery for {self.patience:g} s")
                progress, since = received, time.perf_counter()


class Throughput:
    """
    Deliveries a second of some wiring.
    """

    unit = "deliveries/s"
    higher = True

    def __init__(self, name: str, title: str, wire: Callable[[Address], Wiring]) -> None:
        self.name = name
        self.title = title
        self._wire = wire

    def run(self, broker: Running, seconds: float) -> Outcome:
        """
        Connect all, warm up, measure, and wait for the last message.
        """
        try:
            wiring = self._wire(broker.address)
        except HandshakeError as error:
            raise Unsupported(str(error)) from error
        try:
            with withoutCollector():
                return _measure(wiring, broker, seconds)
        finally:
            wiring.turns.close()


def _measure(wiring: Wiring, broker: Running, seconds: float) -> Outcome:
    stalled = False
    end = time.perf_counter() + _WARM_UP
    wiring.drive(lambda: time.perf_counter() >= end, publishing=True)
    before = wiring.received()
    stretch = Stretch(broker.pid)
    end = time.perf_counter() + seconds
    try:
        wiring.drive(lambda: time.perf_counter() >= end, publishing=True)
    except Stalled:
        stalled = True
    stretch.stop()
    if wiring.received() == before:
        raise Stalled("nothing was delivered")
    outcome = stretch.outcome(wiring.received() - before)
    try:
        if not stalled:
            wiring.drive(lambda: not any(publisher.outstanding for publisher in wiring.publishers), publishing=False)
    except Stalled:
        pass  # what is still under way is counted as lost below
    _account(wiring, outcome)
    return outcome


def _account(wiring: Wiring, outcome: Outcome) -> None:
    checks = [check for receiver in wiring.receivers for check in receiver.checks]
    expected = sum(publisher.sent * publisher.fan for publisher in wiring.publishers)
    outcome.lost = expected - sum(check.accounted - check.lost for check in checks)
    outcome.disordered = sum(check.disordered for check in checks)
    outcome.disordered += sum(publisher.disordered for publisher in wiring.publishers)


def _session(turns: Turns, address: Address, clientID: str, topicFilters: Sequence[str] = (), qos: int = 0) -> Link:
    opened = openSession(address, clientID)
    link = Link(turns, opened)
    if topicFilters:
        subscribe(opened, list(topicFilters), qos)
    return link


def _ring(topicName: str, count: int, source: int = 0) -> Ring:
    return Ring([packets.publish(topicName, packets.payload(source, n)) for n in range(count)], READ_SIZE)


def pairs(count: int, window: int, qos: int) -> Callable[[Address], Wiring]:
    """
    As many publishers as subscribers, each pair with its own topic.
    """

    def wire(address: Address) -> Wiring:
        wiring = Wiring(Turns())
        turns = wiring.turns
        shared = bytearray(READ_SIZE)
        ringSize = max(1000, 4 * window)
        for number in range(count):
            topicName = f"pairs/{number:04d}"
            below = _session(turns, address, f"sub{number}", [topicName], qos)
            above = _session(turns, address, f"pub{number}")
            if qos:
                bodies = [packets.payload(number, n) for n in range(ringSize)]
                sent = Ring([packets.publish(topicName, body, qos, n + 1) for n, body in enumerate(bodies)], READ_SIZE)
                expected = Ring([packets.publish(topicName, body, qos) for body in bodies], READ_SIZE)
                publisher = Publisher(above, sent, window, qos=qos)
                kind = AcknowledgingReceiver if qos == 1 else ExactlyOnceReceiver
                acknowledging = kind(below, publisher, expected, 4 + len(topicName))
                turns.add(below, acknowledging.readable)
                wiring.receivers.append(acknowledging)
            else:
                ring = _ring(topicName, ringSize, number)
                publisher = Publisher(above, ring, window)
                receiver = Receiver(below, publisher, ring, shared)
                turns.add(below, receiver.readable)
                wiring.receivers.append(receiver)
            turns.add(above, publisher.readable)
            wiring.publishers.append(publisher)
        return wiring

    return wire


def fanOut(count: int, window: int) -> Callable[[Address], Wiring]:
    """
    One publisher, many subscribers of its topic.
    """

    def wire(address: Address) -> Wiring:
        wiring = Wiring(Turns())
        ring = _ring("fan/out/0", max(1000, 4 * window))
        above = _session(wiring.turns, address, "publisher")
        publisher = Publisher(above, ring, window, fan=count)
        wiring.turns.add(above, publisher.readable)
        wiring.publishers.append(publisher)
        shared = bytearray(READ_SIZE)
        for number in range(count):
            below = _session(wiring.turns, address, f"sub{number}", ["fan/out/0"])
            receiver = Receiver(below, publisher, ring, shared)
            wiring.turns.add(below, receiver.readable)
            wiring.receivers.append(receiver)
        return wiring

    return wire


def fanIn(count: int, window: int) -> Callable[[Address], Wiring]:
    """
    Many publishers, one subscriber to what they all publish.
    """

    def wire(address: Address) -> Wiring:
        wiring = Wiring(Turns())
        turns = wiring.turns
        below = _session(turns, address, "subscriber", ["fan/in/+"])
        rings = {number: _ring(f"fan/in/{number:03d}", 500, number) for number in range(count)}
        for number, ring in rings.items():
            above = _session(turns, address, f"pub{number}")
            publisher = Publisher(above, ring, window)
            turns.add(above, publisher.readable)
            wiring.publishers.append(publisher)
        sourceAt = rings[0].size - packets.PAYLOAD_SIZE + packets.SOURCE_AT
        receiver = MixedReceiver(below, dict(enumerate(wiring.publishers)), MixedCheck(rings, sourceAt))
        turns.add(below, receiver.readable)
        wiring.receivers.append(receiver)
        return wiring

    return wire


def wildcards(clients: int, each: int, publishers: int, window: int) -> Callable[[Address], Wiring]:
    """
    Very many subscriptions with wildcards, of which every message matches four, of four clients.

    Each of the C{clients * each / 4} topics has four filters that match it and nothing else: one with C{+} in the
    middle, one beginning with C{+}, and two with C{#} at different depths.
    """
    topics = clients * each // 4
    groups = clients // 4

    def filtersOf(client: int) -> list[str]:
        group, kind = divmod(client, 4)
        form = ("site/{:05d}/+/degrees", "+/{:05d}/room/degrees", "site/{:05d}/room/#", "site/{:05d}/#")[kind]
        return [form.format(topic) for topic in range(group, topics, groups)]

    def wire(address: Address) -> Wiring:
        wiring = Wiring(Turns())
        turns = wiring.turns
        perGroup: list[dict[int, list[bytes]]] = [{} for _ in range(groups)]
        for number in range(publishers):
            # Every publisher has its own part of the topics; a step that shares no divisor with their number visits
            # them in an order that no cache of neighbours helps with.
            mine = range(number, topics, publishers)
            order = [mine[step * 7919 % len(mine)] for step in range(len(mine))]
            sent = []
            for sequence, topic in enumerate(order):
                packet = packets.publish(f"site/{topic:05d}/room/degrees", packets.payload(number, sequence))
                sent.append(packet)
                perGroup[topic % groups].setdefault(number, []).append(packet)
            above = _session(turns, address, f"pub{number}")
            publisher = Publisher(above, Ring(sent, READ_SIZE), window, fan=4)
            turns.add(above, publisher.readable)
            wiring.publishers.append(publisher)
        size = len(sent[0])
        for client in range(clients):
            streams = perGroup[client // 4]
            below = _session(turns, address, f"sub{client}", filtersOf(client))
            check = MixedCheck(
                {number: Ring(stream, READ_SIZE) for number, stream in streams.items()},
                size - packets.PAYLOAD_SIZE + packets.SOURCE_AT,
            )
            byNumber = {number: wiring.publishers[number] for number in streams}
            receiver = MixedReceiver(below, byNumber, check)
            turns.add(below, receiver.readable)
            wiring.receivers.append(receiver)
        return wiring

    return wire
