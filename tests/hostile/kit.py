"""
The common parts of the tests of hostile clients: a broker, twenty ordinary clients whose messages are watched, and
packets that no library would send.

A test makes a L{Siege}, and harms the broker within C{with siege.unharmed():}. The block fails if the ordinary clients
lost a message, got one twice, or waited too long. The bound is far above what an idle machine shows (5 ms) and what a
loaded one with two cores does (100 ms): make the attack so large that the fault would cost a second.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from tests.system.pairs import Pairs
from tests.system.process import Broker
from tests.system.rawclient import opened, read
from tests.vectors.packets import counted, frame

# Twenty clients, two hundred messages a second.
PAIRS = 10
RATE = 20.0
# Milliseconds within which 99 of 100 messages of ordinary clients arrive, whatever others do.
P99 = 400.0
# A shorter attack is watched for so many seconds anyhow, lest one hiccup of the machine be one in a hundred.
LEAST = 2.0

CLEAN = 0x02
WILL = 0x04


class Siege:
    """
    A broker with ordinary clients.

    @ivar figures: what the last L{unharmed} has measured; see L{Pairs}.
    """

    def __init__(self, broker: Broker, pairs: Pairs) -> None:
        self.broker = broker
        self.pairs = pairs
        self.figures: dict[str, float] = {}

    @contextmanager
    def unharmed(self, p99: float = P99) -> Iterator[None]:
        """
        The ordinary clients lose nothing and wait for nothing while the block runs.

        @param p99: in milliseconds.
        """
        self.pairs.begin(LEAST)
        try:
            yield
        except BaseException:
            self.pairs.end()
            raise
        self.figures = self.pairs.end()
        assert not self.figures["lost"] and not self.figures["doubled"], self.figures
        assert self.figures["p99"] <= p99, self.figures


StartSiege = Callable[..., Siege]


def mqtt(
    clientID: str,
    flags: int = CLEAN,
    expiry: int | None = None,
    version: int = 5,
    will: tuple[str, bytes] | None = None,
) -> bytes:
    """
    A CONNECT.

    @param expiry: the session expiry interval in seconds, of version 5.
    @param will: its topic and its payload, of QoS 0.
    """
    properties = b""
    if version == 5:
        properties = b"\x00" if expiry is None else b"\x05\x11" + expiry.to_bytes(4, "big")
    body = counted(clientID.encode())
    if will is not None:
        flags |= WILL
        body += (b"\x00" if version == 5 else b"") + counted(will[0].encode()) + counted(will[1])
    return frame(0x10, counted(b"MQTT") + bytes((version, flags)) + b"\x00\x00" + properties + body)


def entered(broker: Broker, clientID: str, flags: int = CLEAN, expiry: int | None = None) -> socket.socket:
    """
    A connection of version 5 that the broker has accepted.
    """
    link = opened(broker, mqtt(clientID, flags, expiry))
    first, body = packet(link)
    assert first == 0x20 and body[1] == 0, (first, body)
    return link


def packet(link: socket.socket) -> tuple[int, bytes]:
    """
    The next packet: its first byte and its body.

    @raise AssertionError: the connection has ended.
    """
    first = read(link, 1)
    assert first, "the broker has closed the connection"
    length = shift = 0
    while True:
        (byte,) = read(link, 1)
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return first[0], read(link, length)


def subscribe(filters: Iterable[str], packetID: int = 1, options: int = 0) -> bytes:
    """
    A SUBSCRIBE of version 5.
    """
    requests = b"".join(counted(each.encode()) + bytes((options,)) for each in filters)
    return frame(0x82, packetID.to_bytes(2, "big") + b"\x00" + requests)


def unsubscribe(filters: Iterable[str], packetID: int = 1) -> bytes:
    """
    An UNSUBSCRIBE of version 5.
    """
    return frame(0xA2, packetID.to_bytes(2, "big") + b"\x00" + b"".join(counted(each.encode()) for each in filters))


def publish(topic: str, payload: bytes, packetID: int = 0, retain: bool = False) -> bytes:
    """
    A PUBLISH of version 5, of QoS 1 if it has an identifier.
    """
    identifier = packetID.to_bytes(2, "big") if packetID else b""
    return frame((0x32 if packetID else 0x30) | retain, counted(topic.encode()) + identifier + b"\x00" + payload)


def publishAll(link: socket.socket, messages: Mapping[str, bytes], retain: bool = False) -> None:
    """
    Publish messages of QoS 0, by topic, and wait until the broker has taken all.
    """
    wire = bytearray()
    for topic, payload in messages.items():
        wire += publish(topic, payload, retain=retain)
        if len(wire) > 65536:
            link.sendall(wire)
            wire.clear()
    link.sendall(bytes(wire))
    ping(link)


def ping(link: socket.socket) -> None:
    """
    Wait until the broker has done everything that this connection has asked for.
    """
    link.sendall(b"\xc0\x00")
    while packet(link)[0] != 0xD0:
        pass
