"""
The core alone, and the broker without a network: what a step costs, interpreted or compiled.

C{python -m bench.micro} prints a line of JSON for each figure. Which core is measured is decided by which one is
imported: run it in the tree, or in the compiled copy.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from twisted.internet.defer import succeed

from bench import packets
from bench.inmemory import Client, InMemory, acknowledgeAll
from twisted_mqtt.core import codec
from twisted_mqtt.core.codec import Decoder, encodePublish
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.subscription import Subscription
from twisted_mqtt.core.tree import SubscriptionTree
from twisted_mqtt.hooks.verdicts import OK

# Packets in one chunk: about what one read of a busy socket brings.
_CHUNK: Final = 200
_TOPIC: Final = "bench/topic"
_UNSUBSCRIBE: Final = bytes((0xA2, 4 + len(_TOPIC), 0, 1, 0, len(_TOPIC))) + _TOPIC.encode()


class Figure(NamedTuple):
    """
    A result.

    @ivar uncertainty: by how much it may be wrong, in the same unit; 0 where that was not looked at. A difference that
        is smaller says nothing.
    """

    name: str
    value: float
    unit: str
    uncertainty: float = 0.0


def compiled() -> bool:
    """
    Whether the core that was imported is the compiled one.
    """
    return not codec.__file__.endswith(".py")


def best(action: Callable[[], object], operations: int, seconds: float = 0.15, rounds: int = 5) -> float:
    """
    @param operations: how many of what is measured one call does.

    @return: nanoseconds for one of them, in the fastest of some rounds: what disturbs only ever adds.
    """
    action()
    started = time.process_time()
    action()
    calls = max(1, int(seconds / max(1e-9, time.process_time() - started)))
    fastest = float("inf")
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            started = time.process_time()
            for _ in range(calls):
                action()
            fastest = min(fastest, (time.process_time() - started) / calls)
    finally:
        gc.enable()
    return fastest / operations * 1e9


def _publishes(qos: int, count: int = _CHUNK) -> bytes:
    return b"".join(packets.publish(_TOPIC, packets.payload(0, n), qos, n + 1) for n in range(count))


def codecFigures() -> Iterator[Figure]:
    """
    Bytes to packets, and back.
    """
    for qos in (0, 1):
        chunk = _publishes(qos)
        # MQTT 3.1.1, past its CONNECT.
        decoder = Decoder(1 << 20, 4)
        if len(decoder.feed(chunk)) != _CHUNK:
            raise RuntimeError("the decoder did not find every packet")
        yield Figure(f"decode a QoS {qos} PUBLISH", best(lambda: decoder.feed(chunk), _CHUNK), "ns")  # noqa: B023
    topic, body = _TOPIC.encode(), packets.payload(0, 0)

    def encodeMany() -> None:
        for _ in range(_CHUNK):
            encodePublish(0x32, topic, 1, b"", body)

    yield Figure("encode a QoS 1 PUBLISH", best(encodeMany, _CHUNK), "ns")


class Nobody:
    """
    A subscriber that is never asked.
    """

    clientID = "nobody"
    online = False

    def deliver(self, message: Message, subscription: Subscription) -> None:
        """
        Take no notice.
        """


def _wildcardFilters(count: int) -> Iterator[str]:
    forms = ("site/{:07d}/+/degrees", "+/{:07d}/room/degrees", "site/{:07d}/room/#", "site/{:07d}/#")
    for number in range(count):
        yield forms[number % 4].format(number // 4)


def _residentBytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def treeFigures(sizes: tuple[int, ...]) -> Iterator[Figure]:
    """
    How the time to find the subscribers of a topic grows with the number of filters; four of them match it.
    """
    for size in sizes:
        tree = SubscriptionTree()
        subscribers = [Nobody() for _ in range(100)]
        before = _residentBytes()
        started = time.process_time()
        for number, topicFilter in enumerate(_wildcardFilters(size)):
            tree.add(Subscription(subscribers[number % 100], topicFilter))
        took = time.process_time() - started
        memory = _residentBytes() - before
        distinct = [f"site/{number * 7919 % (size // 4):07d}/room/degrees" for number in range(min(size // 4, 5000))]
        started = time.process_time()
        for topic in distinct:
            tree.match(topic)
        uncached = (time.process_time() - started) / len(distinct)
        if len(tree.match(distinct[0]).subscriptions) != 4:
            raise RuntimeError("a topic has four subscriptions")
        few = distinct[:200]

        def matchFew(few: list[str] = few, tree: SubscriptionTree = tree) -> None:
            for topic in few:
                tree.match(topic)

        yield Figure(f"match, {size:,} wildcard filters, topic not seen lately", uncached * 1e9, "ns")
        yield Figure(f"match, {size:,} wildcard filters, topic seen lately", best(matchFew, len(few)), "ns")
        yield Figure(f"subscribe, {size:,} wildcard filters", took / size * 1e9, "ns")
        if size >= 100_000:
            yield Figure(f"memory of one of {size:,} wildcard subscriptions", memory / size, "bytes")


def memoryFigures(count: int) -> Iterator[Figure]:
    """
    Measure the memory of subscriptions, without their subscribers.
    """
    kinds: dict[str, Callable[[int], str]] = {
        "each to a topic of its own": lambda number: f"devices/{number:07d}/commands",
        "all to one topic": lambda number: "devices/all",
    }
    for kind, filterOf in kinds.items():
        subscribers = [Nobody() for _ in range(count)]
        tree = SubscriptionTree()
        before = _residentBytes()
        for number, subscriber in enumerate(subscribers):
            tree.add(Subscription(subscriber, filterOf(number)))
        yield Figure(f"memory of one of {count:,} subscriptions, {kind}", (_residentBytes() - before) / count, "bytes")


class Traffic:
    """
    A publisher and its subscribers on a broker in memory; C{exchange} carries one chunk of messages through it.
    """

    def __init__(self, subscribers: int, qos: int) -> None:
        self.memory = InMemory()
        self._chunk = _publishes(qos)
        self._size = len(self._chunk) // _CHUNK
        self._qos = qos
        self._publisher = self.memory.connect("publisher")
        self._receivers: list[Client] = [
            self.memory.connect(f"subscriber{number}", _TOPIC, qos) for number in range(subscribers)
        ]
        for receiver in self._receivers:
            receiver.sink.keeping = bool(qos)
        self.operations = _CHUNK * max(1, subscribers)

    def exchange(self) -> None:
        """
        Publish, route, deliver, write; at QoS 1 acknowledge both ways.
        """
        self._publisher.receive(self._chunk)
        self.memory.turn()
        if self._qos:
            for receiver in self._receivers:
                acknowledgeAll(receiver, self._size, 4 + len(_TOPIC))
            self.memory.turn()

    def check(self) -> None:
        """
        @raise RuntimeError: a chunk does not arrive.
        """
        before = [receiver.sink.length for receiver in self._receivers]
        self.exchange()
        for receiver, length in zip(self._receivers, before, strict=True):
            if receiver.sink.length - length < len(self._chunk):
                raise RuntimeError("not every message was delivered")


def brokerFigures() -> Iterator[Figure]:
    """
    One message through the whole broker but for the network.
    """
    for subscribers, qos in ((1, 0), (100, 0), (1000, 0), (1, 1), (100, 1)):
        traffic = Traffic(subscribers, qos)
        traffic.check()
        title = f"deliver at QoS {qos}, 1 to {subscribers:,}, all layers, no network"
        yield Figure(title, best(traffic.exchange, traffic.operations), "ns")


def pointFigures() -> Iterator[Figure]:
    """
    Asking a hook point, apart from what the broker does around it.
    """
    message = Message("a/b", b"c")
    answers: dict[str, Callable[..., Any] | None] = {
        "no callback": None,
        "a callback that answers None": lambda *given: None,
        "a callback that answers OK": lambda *given: OK,
        "a callback that answers a new message": lambda *given: Message("a/b", b"d"),
        "a callback that answers a fired Deferred": lambda *given: succeed(None),
    }
    for title, callback in answers.items():
        hooks = InMemory().broker.hooks
        if callback is not None:
            hooks.hook("message.publish", callback)
            hooks.hook("message.dropped", callback)
        fold, run = hooks.messagePublish.fold, hooks.messageDropped.run

        def folds(fold: Callable[..., object] = fold) -> None:
            for _ in range(1000):
                fold(message)

        def runs(run: Callable[..., object] = run) -> None:
            for _ in range(1000):
                run(None, message, "reason")

        yield Figure(f"fold point, {title}", best(folds, 1000), "ns")
        if "new message" not in title:
            yield Figure(f"run point, {title}", best(runs, 1000), "ns")


def hookFigures() -> Iterator[Figure]:
    """
    Measure the time that one installed callback of each kind adds to a message, one publisher to one subscriber.
    """
    points = (
        ("message.publish", 0, 1),
        ("message.delivered", 0, 1),
        ("message.acked", 1, 1),
        ("message.dropped", 0, 0),
        ("client.check_acl", 0, 1),
    )
    for point, qos, subscribers in points:
        took, uncertainty = _added(point, lambda *given: None, qos, subscribers)
        yield Figure(f"a plain callback at {point} adds to a QoS {qos} message", took, "ns", uncertainty)
    for point in ("message.publish", "message.delivered"):
        took, uncertainty = _added(point, lambda *given: succeed(None), 0, 1)
        name = f"a callback with a fired Deferred at {point} adds to a QoS 0 message"
        yield Figure(name, took, "ns", uncertainty)


class Visits:
    """
    Clients that connect, subscribe, unsubscribe and go; C{exchange} is some of them.
    """

    def __init__(self) -> None:
        self.memory = InMemory()
        self.operations = 50
        self._whole = packets.connect("visitor") + packets.subscribe(1, [_TOPIC], 0) + _UNSUBSCRIBE + packets.DISCONNECT

    def exchange(self) -> None:
        """
        Come and go.
        """
        for _ in range(self.operations):
            self.memory.visit(self._whole)

    def check(self) -> None:
        """
        @raise RuntimeError: a client is not answered as it should be.
        """
        # CONNACK, SUBACK, UNSUBACK
        if self.memory.visit(self._whole) != 4 + 5 + 4:
            raise RuntimeError("a client was not answered")


def visitFigures() -> Iterator[Figure]:
    """
    Measure the cost of a client that connects, subscribes, unsubscribes and goes; and the time that one installed
    callback adds, at each point on its way.
    """
    visits = Visits()
    visits.check()
    yield Figure("a client comes, subscribes, unsubscribes, goes", best(visits.exchange, visits.operations), "ns")
    for point in (
        "client.connect",
        "client.authenticate",
        "session.created",
        "client.connack",
        "client.connected",
        "client.subscribe",
        "session.subscribed",
        "client.unsubscribe",
        "session.unsubscribed",
        "client.disconnected",
        "session.terminated",
    ):
        took, uncertainty = addedTo(Visits, point, lambda *given: None)
        yield Figure(f"a plain callback at {point} adds to such a client", took, "ns", uncertainty)


def _added(point: str, callback: Callable[..., Any], qos: int, subscribers: int) -> tuple[float, float]:
    return addedTo(lambda: Traffic(subscribers, qos), point, callback)


def addedTo(make: Callable[[], Traffic | Visits], point: str, callback: Callable[..., Any]) -> tuple[float, float]:
    """
    Measure how much longer an operation takes with a callback.

    @return: the difference in nanoseconds, and its uncertainty: how much two measurements without the callback differ.
    """
    without, again, with_ = make(), make(), make()
    with_.memory.broker.hooks.hook(point, callback)
    times: dict[Traffic | Visits, float] = dict.fromkeys((without, again, with_), float("inf"))
    # In turns: the difference of two measurements a minute apart would be the machine's mood.
    for _ in range(5):
        for traffic in times:
            traffic.check()
            times[traffic] = min(times[traffic], best(traffic.exchange, traffic.operations, rounds=1))
    return times[with_] - (times[without] + times[again]) / 2, abs(times[without] - times[again])


def figures(sizes: tuple[int, ...]) -> Iterator[Figure]:
    """
    All of them.
    """
    yield from codecFigures()
    yield from brokerFigures()
    yield from pointFigures()
    yield from hookFigures()
    yield from visitFigures()
    # These last: what they free does not all go back to the system.
    yield from memoryFigures(100_000)
    yield from treeFigures(sizes)


def main() -> None:
    """
    Print, and write if told where.
    """
    parser = argparse.ArgumentParser(prog="python -m bench.micro", description=__doc__)
    parser.add_argument("--output", type=Path, help="also write the lines to a file")
    parser.add_argument(
        "--filters", default="1000,10000,100000,1000000", help="sizes of the tree (default: %(default)s)"
    )
    given = parser.parse_args()
    print(f"{'compiled' if compiled() else 'interpreted'} core", file=sys.stderr)
    lines = []
    for figure in figures(tuple(int(size) for size in given.filters.split(","))):
        line = json.dumps({"core": "compiled" if compiled() else "interpreted", **figure._asdict()})
        print(line, flush=True)
        lines.append(line)
    if given.output is not None:
        given.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
