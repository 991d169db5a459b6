"""
Ten thousand observers of a CoAP gateway at once.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.system.conftest import StartBroker
from tests.system.paho_peer import Peer
from tests.system.swarm import ACK, CON, CONTENT, EMPTY, GET, OBSERVE, Datagram, Swarm, path, residentBytes

COUNT = 10_000
# The memory of one client: its session, subscription and observation.
MOST = 8192


@pytest.mark.slow
def test_tenThousandObservers(startBroker: StartBroker) -> None:
    """
    10,000 clients observe a topic, each gets each of three messages for all once and in order, then each goes; and
    each costs less than 8 KB while it is there.
    """
    broker = startBroker({"plugins": {"load": ["coap"]}, "coap": {"port": "127.0.0.1:0"}}, listeners=2)
    begun = time.monotonic()
    # Paho waits with select(), and can't with descriptors above 1023, so it comes first.
    with Peer(broker, "publisher") as publisher, Swarm((broker.host, broker.ports["coap"]), COUNT) as swarm:
        before = residentBytes(broker.process.pid)

        def observe(number: int, kind: int = 0) -> Datagram:
            options = path("mqtt", "many", "all", query=(f"c=observer{number}",))
            observing = (OBSERVE, b"" if kind == 0 else b"\x01")
            return Datagram(CON, GET, 1 + kind, number.to_bytes(4, "big"), (observing, *options))

        answers = swarm.ask(observe, CONTENT)
        assert all(answer.values(OBSERVE) for answer in answers)
        grown = residentBytes(broker.process.pid) - before
        observing = time.monotonic()
        kinds: Counter[int] = Counter()
        for turn in range(3):
            payload = b"message %d" % turn
            publisher.publish("many/all", payload)
            seen: set[int] = set()

            def hear(number: int, message: Datagram, seen: set[int] = seen, payload: bytes = payload) -> bool:
                assert (message.code, message.payload) == (CONTENT, payload)
                assert message.token == number.to_bytes(4, "big")
                if message.type == CON:
                    swarm.reply(number, message, Datagram(ACK, EMPTY, message.mid))
                assert number not in seen
                kinds[message.type] += 1
                seen.add(number)
                return True

            swarm.hear(hear, COUNT)
        notified = time.monotonic()
        for answer in swarm.ask(lambda number: observe(number, 1), CONTENT):
            assert not answer.values(OBSERVE)
        ended = time.monotonic()
    print(
        f"{grown / COUNT:.0f} bytes for each; {COUNT / (observing - begun):.0f} observers/s, "
        f"{3 * COUNT / (notified - observing):.0f} notifications/s ({dict(kinds)}, {swarm.repeated} repeated), "
        f"{COUNT / (ended - notified):.0f} cancellations/s"
    )
    assert grown / COUNT < MOST
