"""
The limit of all queues together, and those of one queue.
"""

from __future__ import annotations

import pytest

from tests.kits.core import Client, Core, limitsWith
from twisted_mqtt.core.queuebudget import ENTRY_WEIGHT, MESSAGE_WEIGHT
from twisted_mqtt.core.shedding import shedQoS0


@pytest.fixture
def core() -> Core:
    """
    A router and an outbox.
    """
    return Core()


def absent(core: Core, clientID: str, topicFilter: str, **limits: int) -> Client:
    """
    A session that is away and has subscribed.
    """
    client = Client(core, clientID, limitsWith(maxQueue=0, **limits))
    client.subscribe(topicFilter)
    return client


def test_oneMessageCountsOnce(core: Core) -> None:
    """
    A message that waits for several weighs no more than once, but for its place in each queue; when it has gone to all,
    nothing is left.
    """
    clients = [absent(core, str(number), "t") for number in range(10)]
    core.publish("t", b"x" * 10_000, 1)
    assert core.switches.queues.bytes == 10_001 + MESSAGE_WEIGHT + 10 * ENTRY_WEIGHT
    for client in clients:
        client.connect()
        client.payloads()
    assert core.switches.queues.bytes == 0


def test_largestGivesWay(core: Core) -> None:
    """
    Where all queues together have too much, it is the largest that loses its oldest messages, whoever is sent the
    next.
    """
    hog = absent(core, "hog", "hog")
    modest = absent(core, "modest", "modest")
    core.switches.queues.limit = 200_000
    for number in range(20):
        core.publish("hog", b"%02d" % number * 5000, 1)
    for _ in range(20):
        core.publish("modest", b"y" * 2000, 1)
    assert core.switches.queues.bytes <= 200_000
    assert modest.session.queueLength == 20
    assert modest.session.dropped == 0 and hog.session.dropped > 0
    assert hog.session in core.switches.queues.losing and modest.session not in core.switches.queues.losing
    hog.connect(window=100)
    assert hog.payloads()[-1] == b"19" * 5000


def test_endedSessionsCountForNothing(core: Core) -> None:
    """
    With a session goes what its queue was counted for.
    """
    client = absent(core, "a", "t")
    core.publish("t", b"x" * 10_000, 1)
    assert core.switches.queues.inMemory.largest() is not None
    client.session.shut = True
    client.session.clear()
    assert core.switches.queues.bytes == 0
    assert core.switches.queues.inMemory.largest() is None


def test_bytesOfOneQueue(core: Core) -> None:
    """
    A queue holds no more bytes than it may, whatever their number.
    """
    core.switches.dropped = True
    client = absent(core, "client", "t", maxQueueBytes=50_000)
    for number in range(10):
        core.publish("t", b"%d" % number * 9_999, 1)
    assert client.session.queueLength == 5
    assert client.session.stats()["mqueue_bytes"] == 50_000
    assert core.told.events == [("dropped", "client", b"%d" % number * 9_999, "queue_full") for number in range(5)]


def test_onlineAndOffline(core: Core) -> None:
    """
    How many messages wait may be told apart by whether the client is there.
    """
    client = Client(core, limits=limitsWith(maxQueue=5, maxQueueOnline=2, maxQueueOffline=4))
    client.subscribe("t")
    client.connect(window=1)
    for number in range(10):
        core.publish("t", b"%d" % number, 1)
    assert (client.session.queueLength, client.session.stats()["max_mqueue"]) == (2, 2)
    client.lose()
    for number in range(10):
        core.publish("t", b"%d" % number, 1)
    assert (client.session.queueLength, client.session.stats()["max_mqueue"]) == (4, 4)


def test_scarceMemory(core: Core) -> None:
    """
    While memory is scarce, messages of QoS 0 do not wait; others do, and who reads gets those of QoS 0 as ever.
    """
    core.switches.dropped = True
    core.switches.queues.scarce = True
    here = Client(core, "here").connect()
    here.subscribe("t")
    away = absent(core, "away", "t")
    core.publish("t", b"0", 0)
    core.publish("t", b"1", 1)
    assert here.payloads() == [b"0", b"1"]
    assert away.session.queueLength == 1
    assert core.told.events == [("dropped", "away", b"0", "memory")]
    assert core.counters.delivery_dropped_memory == 1


def test_whatWaitsAtQoS0Goes(core: Core) -> None:
    """
    A waiting message of QoS 0 can be dropped.
    """
    away = absent(core, "away", "t")
    for qos in (0, 1, 0):
        core.publish("t", b"%d" % qos, qos)
    shedQoS0(away.session)
    assert away.session.queueLength == 1
    away.connect()
    assert away.payloads() == [b"1"]


def test_ownerOfQueuesInTheStoreIsSpared(core: Core) -> None:
    """
    Messages of QoS 1 that the store keeps are not dropped for want of memory.
    """
    kept = absent(core, "kept", "kept")

    class Journal:
        """
        Keeps nothing; nobody waits for it.
        """

        def queued(self, *args: object) -> None:
            """
            See L{Journal}.
            """

        page = sent = released = settled = received = completed = queued

    kept.session.journal = Journal()
    core.switches.queues.limit = 30_000
    for _ in range(20):
        core.publish("kept", b"x" * 9_000, 1)
    assert kept.session.queueLength == 20
    assert kept.session.queue is not None and kept.session.queue.spilled > 0
    assert kept.session.dropped == 0
