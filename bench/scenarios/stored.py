"""
The state that the broker keeps: idle connections, retained messages, queues of absent clients.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Final

from bench import packets
from bench.checker import Ring, StreamCheck
from bench.generator import Closed, Publisher, acknowledge
from bench.scenarios.base import Outcome, Running, Stalled, Stretch, Total, withoutCollector
from bench.sockets import (
    READ_SIZE,
    Address,
    Link,
    Turns,
    endSession,
    openSession,
    subscribe,
)
from bench.usage import residentBytes

_PATIENCE: Final = 5.0
# Filling a queue takes much longer than emptying it.
_REPETITIONS: Final = 10
# Clears DUP, which a broker may set on what it sends to a session that was away.
_FIRST_TIME: Final = bytes(first & ~0x08 for first in range(256))


class IdleMemory:
    """
    The memory of an idle connection.
    """

    unit = "KiB"
    higher = False

    def __init__(self, name: str, title: str, connections: int) -> None:
        self.name = name
        self.title = title
        self._connections = connections

    def run(self, broker: Running, seconds: float) -> Outcome:
        """
        Open them all, and compare the broker's memory with what it was.
        """
        opened: list[socket.socket] = []
        try:
            # The first connections load and allocate some things once; these are not counted.
            opened.extend(openSession(broker.address, f"first{number}") for number in range(10))
            before = residentBytes(broker.pid)
            began = time.perf_counter()
            for number in range(self._connections):
                opened.append(openSession(broker.address, f"idle{number}"))
                if time.perf_counter() - began > 60:
                    raise Stalled(f"{number} of {self._connections} connections in a minute")
            grown = residentBytes(broker.pid) - before
        finally:
            for one in opened:
                one.close()
        return Outcome(grown / self._connections / 1024, detail={"resident": float(before)})


def _fill(address: Address, sent: list[bytes], window: int) -> None:
    """
    Publish at QoS 1, and wait until all is acknowledged.
    """
    turns = Turns()
    try:
        link = Link(turns, openSession(address, "filler"))
        publisher = Publisher(link, Ring(sent, READ_SIZE), window, qos=1, limit=len(sent))
        turns.add(link, publisher.readable)
        end = time.perf_counter() + 60
        while publisher.settled < len(sent):
            # Nobody receives these now: being acknowledged is all there is to wait for.
            publisher.delivered = publisher.settled
            publisher.refill()
            turns.turn(0.1)
            if time.perf_counter() > end:
                raise Stalled(f"{publisher.settled} of {len(sent)} messages stored in a minute")
    finally:
        turns.close()


class Retained:
    """
    A subscriber to everything receives all retained messages.
    """

    unit = "messages/s"
    higher = True

    def __init__(self, name: str, title: str, messages: int) -> None:
        self.name = name
        self.title = title
        self._messages = messages

    def run(self, broker: Running, seconds: float) -> Outcome:
        """
        Store them, then subscribe again and again, checking each time that every message came once.
        """
        topics = [f"retained/{number // 1000:03d}/{number % 1000:03d}" for number in range(self._messages)]
        stored = [
            packets.publish(topicName, packets.payload(0, number), 1, number + 1, retain=True)
            for number, topicName in enumerate(topics)
        ]
        _fill(broker.address, stored, 100)
        expected = {
            packets.publish(topicName, packets.payload(0, number), retain=True)
            for number, topicName in enumerate(topics)
        }
        buffer = bytearray(2 * len(stored[0]) * len(stored))
        # The first time is a rehearsal, which also tells how much comes: brokers may add messages of their own.
        total, _ = self._receiveAll(broker, buffer, len(buffer), patience=1.0)
        measured = Total()
        while measured.seconds < seconds or measured.operations < 2 * self._messages:
            filled, stretch = self._receiveAll(broker, buffer, total, _PATIENCE)
            # A broker may send them in any order, and before the SUBACK [MQTT-3.8.4-3]; but each once.
            came = [packet for packet in _cut(buffer, filled) if packet[0] == packets.PUBLISH | 1]
            missing = len(expected.difference(came))
            measured.add(stretch, len(came))
            measured.lost += missing
            measured.disordered += len(came) - (len(expected) - missing)
            if missing:
                break
        return measured.outcome()

    def _receiveAll(self, broker: Running, buffer: bytearray, total: int, patience: float) -> tuple[int, Stretch]:
        view = memoryview(buffer)
        filled = 0
        subscriber = openSession(broker.address, "everything")
        try:
            subscriber.settimeout(patience)
            with withoutCollector():
                stretch = Stretch(broker.pid)
                subscriber.sendall(packets.subscribe(1, ["#"], 0))
                while filled < total:
                    try:
                        length = subscriber.recv_into(view[filled:])
                    except TimeoutError:
                        break
                    if not length:
                        raise Closed("the broker closed the subscriber's connection")
                    filled += length
                stretch.stop()
        finally:
            subscriber.close()
        return filled, stretch


def _cut(buffer: bytearray, filled: int) -> Iterator[bytes]:
    """
    The packets in a buffer, none of which is longer than 129 bytes.
    """
    at = 0
    while at < filled:
        end = at + 2 + buffer[at + 1]
        yield bytes(buffer[at:end])
        at = end


class Queued:
    """
    A persistent session comes back and receives what was queued for it, at QoS 1.
    """

    unit = "messages/s"
    higher = True

    def __init__(self, name: str, title: str, messages: int) -> None:
        self.name = name
        self.title = title
        self._messages = messages

    def run(self, broker: Running, seconds: float) -> Outcome:
        """
        Leave, have the messages published, come back; several times over.
        """
        topicName = "queued/messages"
        bodies = [packets.payload(0, number) for number in range(self._messages)]
        sent = [packets.publish(topicName, body, 1, number + 1) for number, body in enumerate(bodies)]
        expected = Ring([packets.publish(topicName, body, 1) for body in bodies], READ_SIZE)
        measured = Total()
        repetition = 0
        while repetition < 2 or (measured.seconds < seconds and repetition < _REPETITIONS):
            # A new session each time: what the last one may still hold is not to be measured.
            repetition += 1
            clientID = f"absent{repetition}"
            once = openSession(broker.address, clientID, clean=False)
            subscribe(once, [topicName], 1)
            endSession(once)
            _fill(broker.address, sent, 100)
            check = StreamCheck(expected)
            with withoutCollector():
                stretch = Stretch(broker.pid)
                again = openSession(broker.address, clientID, clean=False)
                _drain(again, check, self._messages, 4 + len(topicName))
                stretch.stop()
            endSession(again)
            forget = openSession(broker.address, clientID)
            endSession(forget)
            measured.add(stretch, check.received)
            measured.lost += max(0, self._messages - (check.accounted - check.lost))
            # More than there were: some came twice.
            measured.disordered += check.disordered + max(0, check.accounted - self._messages)
            if measured.lost:
                break
        return measured.outcome()


def _drain(session: socket.socket, check: StreamCheck, messages: int, identifierAt: int) -> None:
    data = bytearray(READ_SIZE)
    view = memoryview(data)
    template = packets.acknowledgement(packets.PUBACK, 0) * (READ_SIZE // 16)
    zeros = bytes(READ_SIZE // 16)
    size = check.ring.size
    kept = 0
    session.settimeout(_PATIENCE)
    while check.accounted < messages:
        try:
            length = session.recv_into(view[kept:])
        except TimeoutError:
            return
        if not length:
            raise Closed("the broker closed the session's connection")
        length += kept
        whole = length - length % size
        data[:whole:size] = data[:whole:size].translate(_FIRST_TIME)
        session.sendall(acknowledge(data, whole, size, identifierAt, template, zeros))
        check.check(view[:whole])
        kept = length - whole
        data[:kept] = data[whole:length]
