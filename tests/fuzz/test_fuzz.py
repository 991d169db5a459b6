"""
Long random runs, bounded in time: C{FUZZ_SECONDS} for each, a second by default.

C{make fuzz} runs these longer. They differ from the properties in that their input is grown from real packets by
cutting, doubling, turning bits and mixing, and in that they go on for as long as they are given; the seed that a
failure names makes the same input again.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import pytest
from twisted.internet.task import Clock

from twisted_mqtt.core.codec import Decoder, encode
from twisted_mqtt.core.packets import (
    PINGREQ,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    Ack,
    Auth,
    Disconnect,
    Packet,
    Ping,
    Publish,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
    Will,
)
from twisted_mqtt.core.reasons import ProtocolError
from twisted_mqtt.testing.broker import makeBroker
from twisted_mqtt.testing.peer import Peer, connectPacket, propertiesOf

SECONDS = float(os.environ.get("FUZZ_SECONDS", "1"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))


def corpus(version: int) -> list[bytes]:
    """
    Packets of every kind, to begin with.
    """
    more = {"userProperties": [("k", "v")], "contentType": "t", "messageExpiry": 9}
    will = Will("w", b"x", 1, True, propertiesOf(willDelay=5, **more) if version == 5 else None)
    found: list[Packet] = [
        connectPacket("fuzz", version),
        connectPacket("fuzz", version, cleanStart=False, username="u", password=b"p", will=will, keepAlive=9),
        Publish("a/b", b"payload"),
        Publish("a", b"payload", 1, True, False, 1),
        Publish("a/b/c", b"", 2, False, True, 2),
        Subscribe(
            3, [SubscriptionRequest("a/+", 1), SubscriptionRequest("#", 2), SubscriptionRequest("$share/g/a/b", 0)]
        ),
        Unsubscribe(4, ["a/+", "$share/g/a/b"]),
        *(Ack(kind, 1) for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP)),
        Ping(PINGREQ),
        Disconnect(),
    ]
    if version == 5:
        found += [
            connectPacket("fuzz", 5, sessionExpiry=9, receiveMaximum=2, maximumPacketSize=50, topicAliasMaximum=2),
            connectPacket("fuzz", 5, authMethod="m", authData=b"d"),
            Publish("a/b", b"x", 1, False, False, 5, propertiesOf(topicAlias=1, responseTopic="r", **more)),
            Publish("", b"x", 0, properties=propertiesOf(topicAlias=1)),
            Subscribe(6, [SubscriptionRequest("a/#", 2, True, True, 2)], propertiesOf(subscriptionIDs=[7])),
            Ack(PUBREC, 1, 0x97, propertiesOf(reasonString="no")),
            Disconnect(4, propertiesOf(sessionExpiry=5)),
            Auth(0x19, propertiesOf(authMethod="m")),
        ]
    return [encode(packet, version) for packet in found]


def damaged(chance: random.Random, wire: bytes) -> bytes:
    """
    A packet after an accident.
    """
    data = bytearray(wire)
    for _ in range(chance.randrange(3)):
        place = chance.randrange(len(data) + 1)
        kind = chance.randrange(5)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[place:place] = bytes(chance.choices((0, 1, 0x7F, 0x80, 0xFF, 0x2B, 0x23, 0x2F), k=chance.randrange(4)))
        elif kind == 2:
            del data[place : place + chance.randrange(1, 4)]
        elif kind == 3 and data:
            data[min(place, len(data) - 1)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 4 and len(data) > 1 and data[1] < 0x7F:
            # With a length that is right again, the damage gets past the frame.
            data[1] = min(0x7F, max(0, len(data) - 2))
    return bytes(data)


def fuzzed(run: Callable[[random.Random], None]) -> None:
    """
    Call C{run} for as long as there is time.
    """
    end = time.monotonic() + SECONDS
    seed = SEED
    while time.monotonic() < end:
        try:
            run(random.Random(seed))
        except BaseException as error:
            error.add_note(f"FUZZ_SEED={seed} begins with this input")
            raise
        seed += 1


@pytest.mark.parametrize("version", [3, 4, 5])
def test_decoder(version: int) -> None:
    """
    The decoder gives packets or a C{ProtocolError}, whatever comes and however it is cut, and keeps no more than it
    may.
    """
    seeds = corpus(version)

    def run(chance: random.Random) -> None:
        decoder = Decoder(200, chance.choice((0, version)))
        for _ in range(chance.randrange(1, 12)):
            data = damaged(chance, chance.choice(seeds))
            place = chance.randrange(len(data) + 1)
            for piece in (data[:place], data[place:]):
                for packet in decoder.feed(piece):
                    assert isinstance(packet, Packet)
                    encode(packet, version)
        assert decoder.error is None or isinstance(decoder.error, ProtocolError)

    fuzzed(run)


@pytest.mark.parametrize("version", [3, 4, 5])
def test_connections(version: int) -> None:
    """
    Several connections to one broker, each sending damaged packets: nothing is raised, what is answered can be decoded,
    and another client is served all the while.
    """
    seeds = corpus(version)

    def run(chance: random.Random) -> None:
        clock = Clock()
        clock.advance(1_000_000)
        broker, factory = makeBroker(clock, max_topic_alias=3, max_awaiting_rel=5, max_inflight=2, max_mqueue_len=5)
        witness = Peer(factory, clock)
        witness.connect("witness")
        peers: list[Peer] = []
        for _ in range(chance.randrange(5, 40)):
            if not peers or chance.random() < 0.1:
                peers.append(Peer(factory, clock, version))
                peers[-1].send(seeds[chance.randrange(2)])
            peer = chance.choice(peers)
            if peer.lost:
                peers.remove(peer)
                continue
            peer.send(damaged(chance, chance.choice(seeds)))
            peer.receive()
            if chance.random() < 0.1:
                clock.advance(chance.choice((0.1, 1, 10)))
        assert not witness.lost
        witness.send(Ping(PINGREQ))
        assert [each.type for each in witness.receive()] == [13]
        for peer in peers:
            if not peer.lost:
                peer.lose()
        assert list(broker.clients) == ["witness"]
        assert broker.router.tree.count == sum(len(each.subscriptions) for each in broker.sessions.values())
        broker.stopService()

    fuzzed(run)
