"""
Did every message arrive, in order? Asked of whole chunks at a time, so that asking does not slow the measurement.

A publisher sends the same ring of packets over and over. What a receiver gets must therefore be a stretch of that ring
beginning where the last stretch ended: one comparison of memory per chunk. Only when the comparison fails are packets
looked at one by one, to say what went wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence


class BrokenStream(Exception):
    """
    Something arrived that was never sent.
    """


class Ring:
    """
    A cyclic sequence of packets of one size.

    @ivar size: the bytes of one packet.
    @ivar count: how many packets there are before they repeat.
    @ivar length: the bytes of all of them.
    @ivar data: the packets once, then again from the start for C{reach} bytes, so that no stretch of up to C{reach}
        bytes ever wraps.
    """

    def __init__(self, packets: Sequence[bytes], reach: int) -> None:
        self.size = len(packets[0])
        if any(len(packet) != self.size for packet in packets):
            raise ValueError("the packets of a ring have one size")
        self.count = len(packets)
        once = b"".join(packets)
        self.length = len(once)
        self.data = once * (1 + -(-reach // self.length))
        self.reach = reach
        self._places: dict[bytes, int] = {}

    def place(self, packet: bytes) -> int:
        """
        Get the place of this packet in the ring.

        @raise BrokenStream: it is none of them.
        """
        if not self._places:
            size = self.size
            self._places = {self.data[at * size : (at + 1) * size]: at for at in range(self.count)}
        try:
            return self._places[packet]
        except KeyError:
            raise BrokenStream(f"received a packet that was not sent: {packet[:40].hex()}...") from None


class StreamCheck:
    """
    Checks what one receiver gets from one publisher.

    @ivar received: the packets that came, whichever they were.
    @ivar lost: how many were skipped.
    @ivar disordered: how many came again, or after a later one.
    """

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.lost = 0
        self.disordered = 0
        self._passed = 0
        self._excess = 0
        self._position = 0
        self._tail = b""

    @property
    def received(self) -> int:
        """
        The packets that arrived.
        """
        return self._passed // self.ring.size + self._excess

    @property
    def accounted(self) -> int:
        """
        How far the stream has got: packets that arrived in order, and those skipped.
        """
        return self._passed // self.ring.size + self.lost

    def check(self, chunk: memoryview) -> None:
        """
        Take what came next; it may begin and end within a packet.

        @raise BrokenStream: it holds what was not sent at all.
        """
        length = len(chunk)
        ring = self.ring
        position = self._position
        if length <= ring.reach and not self._tail and ring.data.startswith(chunk, position):
            self._passed += length
            position += length
            self._position = position if position < ring.length else position % ring.length
        else:
            self._compareEach(bytes(chunk))

    def _compareEach(self, chunk: bytes) -> None:
        ring = self.ring
        size = ring.size
        if not self._tail:
            # The beginning of the packet that the last chunk ended in was equal to the ring's, so it is the ring's.
            inside = self._position % size
            self._tail = ring.data[self._position - inside : self._position]
            self._position -= inside
            self._passed -= inside
        chunk = self._tail + chunk
        expected = self._position // size
        whole = len(chunk) - len(chunk) % size
        for at in range(0, whole, size):
            ahead = (ring.place(chunk[at : at + size]) - expected) % ring.count
            if ahead * 2 < ring.count:
                self.lost += ahead
                self._passed += size
                expected = (expected + ahead + 1) % ring.count
            else:
                self.disordered += 1
                self._excess += 1
        self._position = expected * size
        self._tail = chunk[whole:]
        if ring.data.startswith(self._tail, self._position):
            self._position += len(self._tail)
            self._passed += len(self._tail)
            self._tail = b""


class MixedCheck:
    """
    Checks what one receiver gets from many publishers, each in its own order, mixed in any way.

    @ivar checks: by the number of the publisher.
    """

    def __init__(self, rings: Mapping[int, Ring], sourceAt: int) -> None:
        """
        @param sourceAt: where in a packet the number of its publisher stands.
        """
        self.checks = {source: StreamCheck(ring) for source, ring in rings.items()}
        self.size = next(iter(rings.values())).size
        self._sourceAt = sourceAt
        self._runs = re.compile(rb"(.)\1*", re.DOTALL).finditer

    def check(self, buffer: bytearray, whole: int) -> dict[int, int]:
        """
        Take whole packets.

        @return: by how many the stream of each publisher has advanced.

        @raise BrokenStream: one of them was not sent at all.
        """
        size = self.size
        checks = self.checks
        view = memoryview(buffer)
        counts: dict[int, int] = {}
        sources = buffer[self._sourceAt : whole : size]
        for run in self._runs(sources):
            start, end = run.span()
            source = sources[start]
            if source not in checks:
                raise BrokenStream(f"received a message of publisher {source}, to which nobody subscribed")
            check = checks[source]
            before = check.accounted
            check.check(view[start * size : end * size])
            counts[source] = counts.get(source, 0) + check.accounted - before
        return counts
