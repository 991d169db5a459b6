"""
The load: publishers held to a window of what was delivered, and receivers that check every packet by arithmetic.

All packets are encoded beforehand, in rings. A publisher sends stretches of its ring; a receiver compares what arrives
with the ring as a whole, and makes the acknowledgements of a chunk with slices that step over one packet at a time.
One message costs the generator some tens of nanoseconds, so it is the broker that is measured.
"""

from __future__ import annotations

from typing import Final

from bench import packets
from bench.checker import BrokenStream, MixedCheck, Ring, StreamCheck
from bench.sockets import READ_SIZE, Link

# Four-byte acknowledgements, as many as one read can ask for.
_MOST: Final = READ_SIZE // 16


class Closed(Exception):
    """
    The broker closed a connection in the middle of a run.
    """


class Publisher:
    """
    Sends the packets of a ring, never more ahead of its receivers than the window.

    @ivar sent: how many it has sent.
    @ivar settled: how many the broker has acknowledged for good; counts only at QoS 1 and 2.
    @ivar delivered: how many deliveries its receivers have had.
    """

    def __init__(
        self, link: Link, ring: Ring, window: int, fan: int = 1, qos: int = 0, limit: int | None = None
    ) -> None:
        """
        @param ring: what to send. At QoS 1 and 2 the packet identifiers count from 1 to the size of the ring.
        @param window: how many messages may be under way.
        @param fan: how many deliveries each message makes.
        @param limit: how many to send in all.
        """
        self.link = link
        self.sent = 0
        self.settled = 0
        self.delivered = 0
        self.fan = fan
        self._ring = ring
        self._stretches = memoryview(ring.data)
        self._window = window
        self._limit = limit
        # Small top-ups would measure how often the generator wakes up.
        self._least = max(1, window // 4)
        self._qos = qos
        self._input = bytearray(READ_SIZE)
        self._kept = 0
        identifiers = range(1, ring.count + 1)
        if qos:
            kind = packets.PUBACK if qos == 1 else packets.PUBREC
            self._received = StreamCheck(_ackRing(kind, identifiers))
        if qos == 2:
            self._releases = memoryview(_ackRing(packets.PUBREL, identifiers).data)
            self._completed = StreamCheck(_ackRing(packets.PUBCOMP, identifiers))

    @property
    def outstanding(self) -> int:
        """
        How many messages are still under way somewhere.
        """
        # Rounded down: a message is under way until the last of its receivers has it.
        done = self.delivered // self.fan
        if self._qos and self.settled < done:
            done = self.settled
        return self.sent - done

    def refill(self) -> None:
        """
        Send as many as the window allows.
        """
        done = self.delivered // self.fan
        if self._qos and self.settled < done:
            done = self.settled
        free = self._window - self.sent + done
        if free < self._least or self.link.waiting:
            return
        if self._limit is not None:
            free = min(free, self._limit - self.sent)
            if not free:
                return
        ring = self._ring
        start = self.sent % ring.count * ring.size
        self.sent += free
        self.link.write(self._stretches[start : start + free * ring.size])

    def readable(self) -> None:
        """
        Take acknowledgements.
        """
        view = memoryview(self._input)
        length = self.link.readInto(view[self._kept :])
        if not length:
            raise Closed("the broker closed a publisher's connection")
        length += self._kept
        whole = length - length % 4
        if self._qos == 1:
            self._received.check(view[:whole])
            self.settled = self._received.accounted
        elif self._qos == 2:
            self._handshake(whole)
        else:
            raise BrokenStream(f"a QoS 0 publisher received {bytes(view[:8]).hex()}")
        self._kept = length - whole
        self._input[: self._kept] = self._input[whole:length]

    def _handshake(self, whole: int) -> None:
        view = memoryview(self._input)
        kinds = self._input[:whole:4]
        before = self._received.accounted
        at = 0
        for kind in kinds:
            check = self._received if kind == packets.PUBREC else self._completed
            check.check(view[at : at + 4])
            at += 4
        after = self._received.accounted
        if after != before:
            start = before % self._ring.count * 4
            self.link.write(self._releases[start : start + 4 * (after - before)])
        self.settled = self._completed.accounted

    @property
    def disordered(self) -> int:
        """
        How many acknowledgements came out of order.
        """
        checks = [self._received] if self._qos else []
        if self._qos == 2:
            checks.append(self._completed)
        return sum(check.lost + check.disordered for check in checks)


def _ackRing(kind: int, identifiers: range) -> Ring:
    return Ring([packets.acknowledgement(kind, identifier) for identifier in identifiers], READ_SIZE)


class Receiver:
    """
    Takes QoS 0 messages of one publisher.

    @ivar check: what has come so far, and whether it was right.
    """

    def __init__(self, link: Link, publisher: Publisher, ring: Ring, buffer: bytearray) -> None:
        """
        @param ring: what is expected.
        @param buffer: where to read to. It may be shared by receivers of QoS 0.
        """
        self.check = StreamCheck(ring)
        self._readInto = link.readInto
        self._publisher = publisher
        self._view = memoryview(buffer)

    @property
    def checks(self) -> list[StreamCheck]:
        """
        The checks of all streams that end here.
        """
        return [self.check]

    @property
    def received(self) -> int:
        """
        The messages that have come.
        """
        return self.check.received

    def readable(self) -> None:
        """
        Compare one chunk.
        """
        length = self._readInto(self._view)
        if not length:
            raise Closed("the broker closed a subscriber's connection")
        check = self.check
        before = check.accounted
        check.check(self._view[:length])
        self._publisher.delivered += check.accounted - before


class MixedReceiver:
    """
    Takes QoS 0 messages of several publishers.
    """

    def __init__(self, link: Link, publishers: dict[int, Publisher], check: MixedCheck) -> None:
        self.check = check
        self._link = link
        self._publishers = publishers
        self._input = bytearray(READ_SIZE)
        self._kept = 0

    @property
    def checks(self) -> list[StreamCheck]:
        """
        The checks of all streams that end here.
        """
        return list(self.check.checks.values())

    @property
    def received(self) -> int:
        """
        The messages that have come.
        """
        return sum(check.received for check in self.check.checks.values())

    def readable(self) -> None:
        """
        Compare the whole packets of one chunk.
        """
        data = self._input
        length = self._link.readInto(memoryview(data)[self._kept :])
        if not length:
            raise Closed("the broker closed a subscriber's connection")
        length += self._kept
        whole = length - length % self.check.size
        for source, count in self.check.check(data, whole).items():
            self._publishers[source].delivered += count
        self._kept = length - whole
        data[: self._kept] = data[whole:length]


class AcknowledgingReceiver:
    """
    Takes QoS 1 messages of one publisher and acknowledges them.

    The packet identifiers are the broker's choice: they are copied into the acknowledgements and then cleared, so that
    the rest can be compared with the ring.
    """

    def __init__(self, link: Link, publisher: Publisher, ring: Ring, identifierAt: int) -> None:
        """
        @param ring: what is expected, with packet identifiers of zero.
        @param identifierAt: where they stand in a packet.
        """
        self.check = StreamCheck(ring)
        self._link = link
        self._publisher = publisher
        self._size = ring.size
        self._at = identifierAt
        self._input = bytearray(READ_SIZE)
        self._view = memoryview(self._input)
        self._kept = 0
        self._template = packets.acknowledgement(packets.PUBACK, 0) * _MOST
        self._zeros = bytes(_MOST)

    @property
    def checks(self) -> list[StreamCheck]:
        """
        The checks of all streams that end here.
        """
        return [self.check]

    @property
    def received(self) -> int:
        """
        The messages that have come.
        """
        return self.check.received

    def readable(self) -> None:
        """
        Compare and acknowledge the whole packets of one chunk.
        """
        data = self._input
        length = self._link.readInto(self._view[self._kept :])
        if not length:
            raise Closed("the broker closed a subscriber's connection")
        length += self._kept
        count = length // self._size
        if not count:
            self._kept = length
            return
        whole = count * self._size
        self._link.write(acknowledge(data, whole, self._size, self._at, self._template, self._zeros))
        check = self.check
        before = check.accounted
        check.check(self._view[:whole])
        self._publisher.delivered += check.accounted - before
        self._kept = length - whole
        data[: self._kept] = data[whole:length]


def acknowledge(data: bytearray, whole: int, size: int, at: int, template: bytes, zeros: bytes) -> bytearray:
    """
    Make the acknowledgements of many packets of one size, and clear the identifiers in them.

    @param template: enough acknowledgements without identifier.
    @param zeros: enough zeros.
    """
    count = whole // size
    answers = bytearray(template[: 4 * count])
    answers[2::4] = data[at:whole:size]
    answers[3::4] = data[at + 1 : whole : size]
    data[at:whole:size] = zeros[:count]
    data[at + 1 : whole : size] = zeros[:count]
    return answers


class ExactlyOnceReceiver(AcknowledgingReceiver):
    """
    Takes QoS 2 messages of one publisher: answers PUBLISH with PUBREC, and PUBREL with PUBCOMP.
    """

    def __init__(self, link: Link, publisher: Publisher, ring: Ring, identifierAt: int) -> None:
        super().__init__(link, publisher, ring, identifierAt)
        self._records = packets.acknowledgement(packets.PUBREC, 0) * _MOST
        self._completes = packets.acknowledgement(packets.PUBCOMP, 0) * _MOST
        self._first = ring.data[0]

    def readable(self) -> None:
        """
        Cut a chunk into runs of PUBLISH and runs of PUBREL, and take each run at once.
        """
        data = self._input
        length = self._link.readInto(self._view[self._kept :])
        if not length:
            raise Closed("the broker closed a subscriber's connection")
        length += self._kept
        answers = bytearray()
        published = bytearray()
        at = 0
        while at < length:
            kind = data[at]
            size = self._size if kind == self._first else 4
            end = at
            while end + size <= length and data[end] == kind:
                end += size
            if end == at:
                break
            run = data[at:end]
            if kind == self._first:
                answers += acknowledge(run, end - at, size, self._at, self._records, self._zeros)
                published += run
            elif kind == packets.PUBREL:
                answers += acknowledge(run, end - at, 4, 2, self._completes, self._zeros)
            else:
                raise BrokenStream(f"a subscriber received {bytes(run[:8]).hex()}")
            at = end
        if answers:
            self._link.write(answers)
        check = self.check
        before = check.accounted
        check.check(memoryview(published))
        self._publisher.delivered += check.accounted - before
        self._kept = length - at
        data[: self._kept] = data[at:length]
