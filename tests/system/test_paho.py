"""
Eclipse Paho, in each version of MQTT that it speaks: what every version promises.
"""

import itertools
from typing import Any

import pytest

from tests.system.paho_peer import V5, V31, V311, VERSIONS, Peer
from tests.system.process import Broker

ANY_VERSION = pytest.mark.parametrize("version", VERSIONS, ids=["3.1", "3.1.1", "5.0"])


@ANY_VERSION
def test_everyQoS(broker: Broker, name: str, version: int) -> None:
    """
    A message arrives once, with the lower of the two qualities, in the order sent.
    """
    qualities = list(itertools.product(range(3), range(3)))
    with Peer(broker, f"{name}s", version) as subscriber, Peer(broker, f"{name}p", version) as publisher:
        for sent, granted in qualities:
            assert subscriber.subscribe(f"{name}/{sent}/{granted}", granted) == granted
        for sent, granted in qualities:
            for number in range(5):
                publisher.publish(f"{name}/{sent}/{granted}", f"message {number}", sent)
            got = [subscriber.receive() for _ in range(5)]
            assert [message.payload.decode() for message in got] == [f"message {number}" for number in range(5)]
            assert {message.qos for message in got} == {min(sent, granted)}
            assert {message.topic for message in got} == {f"{name}/{sent}/{granted}"}
            assert not any(message.retain or message.dup for message in got)


@pytest.mark.parametrize("receiving", VERSIONS, ids=["to 3.1", "to 3.1.1", "to 5.0"])
@pytest.mark.parametrize("sending", VERSIONS, ids=["from 3.1", "from 3.1.1", "from 5.0"])
def test_betweenVersions(broker: Broker, name: str, sending: int, receiving: int) -> None:
    """
    Clients of different versions read each other.
    """
    with Peer(broker, f"{name}s", receiving) as subscriber, Peer(broker, f"{name}p", sending) as publisher:
        subscriber.subscribe(f"{name}/#")
        publisher.publish(f"{name}/\N{GREEK SMALL LETTER ALPHA}", "\N{SNOWMAN}", 2)
        message = subscriber.receive()
        assert (message.topic, message.payload.decode()) == (f"{name}/\N{GREEK SMALL LETTER ALPHA}", "\N{SNOWMAN}")


@ANY_VERSION
def test_wildcards(broker: Broker, name: str, version: int) -> None:
    """
    A subscriber gets what its filters match until it unsubscribes.
    """
    with Peer(broker, f"{name}s", version) as subscriber, Peer(broker, f"{name}p", version) as publisher:
        subscriber.subscribe(f"{name}/+/b")
        subscriber.subscribe(f"{name}/deep/#")
        for topic in ("a/b", "a/c", "deep", "deep/x/y", "a/b/c"):
            publisher.publish(f"{name}/{topic}", topic)
        assert subscriber.payloads(3) == ["a/b", "deep", "deep/x/y"]
        subscriber.unsubscribe(f"{name}/+/b")
        publisher.publish(f"{name}/a/b", "no longer")
        subscriber.expectNothing(publisher, f"{name}/deep/end")


@ANY_VERSION
def test_retained(broker: Broker, name: str, version: int) -> None:
    """
    The last retained message waits for those who subscribe later, until an empty one removes it.
    """
    topic = f"{name}/state"
    with Peer(broker, f"{name}p", version) as publisher:
        publisher.publish(topic, "old", retain=True)
        publisher.publish(topic, "new", retain=True)
        with Peer(broker, f"{name}a", version) as early:
            early.subscribe(f"{name}/+")
            message = early.receive()
            assert (message.payload, message.retain) == (b"new", True)
            publisher.publish(topic, "newest", retain=True)
            message = early.receive()
            assert (message.payload, message.retain) == (b"newest", False)
        publisher.publish(topic, b"", retain=True)
        with Peer(broker, f"{name}b", version) as late:
            late.subscribe(f"{name}/+")
            late.expectNothing(publisher, f"{name}/other")


@ANY_VERSION
def test_will(broker: Broker, name: str, version: int) -> None:
    """
    A will is published for a client that vanishes, and not for one that says goodbye.
    """
    topic = f"{name}/gone"
    with Peer(broker, f"{name}s", version) as subscriber:
        subscriber.subscribe(topic)
        Peer(broker, f"{name}a", version).will(topic, "polite").connect().disconnect()
        Peer(broker, f"{name}b", version).will(topic, "vanished", retain=True).connect().vanish()
        assert subscriber.payloads(1) == ["vanished"]
        with Peer(broker, f"{name}c", version) as late:
            late.subscribe(topic)
            message = late.receive()
            assert (message.payload, message.retain) == (b"vanished", True)
            late.publish(topic, b"", retain=True)


@ANY_VERSION
def test_persistentSession(broker: Broker, name: str, version: int) -> None:
    """
    A session outlives its connection: subscriptions stay, and what needs an acknowledgement waits.
    """
    lasting: dict[str, Any] = {"SessionExpiryInterval": 300} if version == V5 else {}
    peer = Peer(broker, f"{name}s", version, clean=False, **lasting)
    with Peer(broker, f"{name}p", version) as publisher:
        with peer:
            assert not peer.sessionPresent
            peer.subscribe(f"{name}/#", 2)
        for number in range(20):
            publisher.publish(f"{name}/{number % 3}", str(number), 1 + number % 2)
        with peer:
            # MQTT 3.1 had no way to say it.
            assert peer.sessionPresent or version == V31
            waited = [peer.receive() for _ in range(20)]
            # Order is promised within a quality; Paho hands over a message of QoS 2 only when it is released.
            for qos in (1, 2):
                payloads = [int(message.payload) for message in waited if message.qos == qos]
                assert payloads == list(range(qos - 1, 20, 2))
            peer.expectNothing(publisher, f"{name}/end")
    with Peer(broker, f"{name}s", version):
        pass  # a clean start, so that nothing stays behind
    with Peer(broker, f"{name}s", version, clean=False) as again:
        assert not again.sessionPresent


@ANY_VERSION
def test_unacknowledgedIsSentAgain(broker: Broker, name: str, version: int) -> None:
    """
    A message that a client had not acknowledged when it vanished comes again, marked as a duplicate.
    """
    lasting: dict[str, Any] = {"SessionExpiryInterval": 300} if version == V5 else {}
    with Peer(broker, f"{name}p", version) as publisher:
        peer = Peer(broker, f"{name}s", version, clean=False, manualAck=True, **lasting).connect()
        peer.subscribe(f"{name}/#", 1)
        publisher.publish(f"{name}/a", "once more")
        first = peer.receive()
        assert not first.dup
        peer.vanish()
        again = Peer(broker, f"{name}s", version, clean=False, **lasting)
        with again:
            message = again.receive()
            assert (message.payload, message.dup, message.mid) == (b"once more", True, first.mid)
        with again:
            again.expectNothing(publisher, f"{name}/end")


@ANY_VERSION
def test_takeover(broker: Broker, name: str, version: int) -> None:
    """
    A second connection with the same identifier ends the first, and takes its place.
    """
    first = Peer(broker, name, version).connect()
    with Peer(broker, name, version) as second:
        reason = first.ended.get(timeout=30)
        if version == V5:
            assert reason == 0x8E
        second.subscribe(f"{name}/#")
        second.publish(f"{name}/a", "still here")
        assert second.payloads(1) == ["still here"]
    first.client.loop_stop()


@ANY_VERSION
@pytest.mark.parametrize("qos", range(3))
def test_largePayload(broker: Broker, name: str, version: int, qos: int) -> None:
    """
    A payload of many socket buffers arrives whole.
    """
    payload = bytes(range(256)) * 3600
    with Peer(broker, f"{name}s", version) as subscriber, Peer(broker, f"{name}p", version) as publisher:
        subscriber.subscribe(f"{name}/#")
        publisher.publish(f"{name}/large", payload, qos)
        publisher.publish(f"{name}/small", "after", qos)
        assert subscriber.receive().payload == payload
        assert subscriber.payloads(1) == ["after"]


@ANY_VERSION
def test_manyAtOnce(broker: Broker, name: str, version: int) -> None:
    """
    More messages than any window holds arrive once each, in order, at every quality.
    """
    count = 500
    with Peer(broker, f"{name}s", version) as subscriber, Peer(broker, f"{name}p", version) as publisher:
        for qos in (1, 2):
            subscriber.subscribe(f"{name}/{qos}", qos)
            sent = [publisher.client.publish(f"{name}/{qos}", str(number), qos) for number in range(count)]
            assert subscriber.payloads(count) == [str(number) for number in range(count)]
            for one in sent:
                one.wait_for_publish(30)


def test_emptyIdentifier(broker: Broker, name: str) -> None:
    """
    A client without an identifier is given one: in 5.0 it is told which, before it works all the same.
    """
    with Peer(broker, "") as newer, Peer(broker, "", V311) as older:
        assert newer.granted["AssignedClientIdentifier"]
        newer.subscribe(f"{name}/#")
        older.publish(f"{name}/a", "hello")
        assert newer.payloads(1) == ["hello"]


def test_propertiesStayInTheirVersion(broker: Broker, name: str) -> None:
    """
    Fields that only 5.0 has are left out for older subscribers, and nothing else.
    """
    with Peer(broker, f"{name}s", V311) as older, Peer(broker, f"{name}p") as newer:
        older.subscribe(f"{name}/#")
        newer.publish(f"{name}/a", "plain", ContentType="text/plain", UserProperty=("k", "v"))
        assert older.payloads(1) == ["plain"]
