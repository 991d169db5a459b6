"""
Eclipse Paho in MQTT 5.0: what only that version has.
"""

import time
from typing import Any

import pytest
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.system.paho_peer import Peer, propertiesOf
from tests.system.process import PATIENCE, Broker


def test_propertiesPass(broker: Broker, name: str) -> None:
    """
    The properties of a message reach its subscribers unaltered, user properties in their order.
    """
    given: dict[str, Any] = {
        "PayloadFormatIndicator": 1,
        "ContentType": "text/plain",
        "ResponseTopic": f"{name}/answer",
        "CorrelationData": b"\x00\xff\x01",
        "UserProperty": [("b", "1"), ("a", "2"), ("b", "1")],
    }
    with Peer(broker, f"{name}s") as subscriber, Peer(broker, f"{name}p") as publisher:
        subscriber.subscribe(f"{name}/#")
        publisher.publish(f"{name}/a", "text", **given)
        assert propertiesOf(subscriber.receive()) == given


def test_requestAndResponse(broker: Broker, name: str) -> None:
    """
    An answer finds its way by the response topic and the correlation data of the request.
    """
    with Peer(broker, f"{name}s") as server, Peer(broker, f"{name}c") as client:
        server.subscribe(f"{name}/double")
        client.subscribe(f"{name}/answers/1")
        client.publish(f"{name}/double", "21", ResponseTopic=f"{name}/answers/1", CorrelationData=b"7")
        request = server.receive()
        asked = propertiesOf(request)
        doubled = str(2 * int(request.payload))
        server.publish(asked["ResponseTopic"], doubled, CorrelationData=asked["CorrelationData"])
        answer = client.receive()
        assert (answer.payload, propertiesOf(answer)) == (b"42", {"CorrelationData": b"7"})


def test_messageExpiry(broker: Broker, name: str) -> None:
    """
    A message waits no longer than it may, and says how long it still has.
    """
    peer = Peer(broker, f"{name}s", clean=False, SessionExpiryInterval=300)
    with Peer(broker, f"{name}p") as publisher:
        with peer:
            peer.subscribe(f"{name}/#")
        publisher.publish(f"{name}/a", "short", MessageExpiryInterval=1)
        publisher.publish(f"{name}/a", "long", MessageExpiryInterval=100)
        publisher.publish(f"{name}/a", "for ever")
        publisher.publish(f"{name}/kept", "retained, short", retain=True, MessageExpiryInterval=1)
        # Expiry is counted in whole seconds of real time, and nothing tells the outside that it has come.
        time.sleep(2.1)
        with peer:
            kept, last = peer.receive(), peer.receive()
            assert (kept.payload, last.payload) == (b"long", b"for ever")
            assert propertiesOf(kept)["MessageExpiryInterval"] in (97, 98)
            assert propertiesOf(last) == {}
            peer.expectNothing(publisher, f"{name}/end")
        with Peer(broker, f"{name}l") as late:
            late.subscribe(f"{name}/kept")
            late.expectNothing(publisher, f"{name}/kept")
    with Peer(broker, f"{name}s"):
        pass


def test_sharedSubscription(broker: Broker, name: str) -> None:
    """
    Each message goes to one member of a group, and to every other subscriber besides.
    """
    count = 100
    with (
        Peer(broker, f"{name}1") as first,
        Peer(broker, f"{name}2") as second,
        Peer(broker, f"{name}o") as outside,
        Peer(broker, f"{name}p") as publisher,
    ):
        for member in (first, second):
            member.subscribe(f"$share/group/{name}/work", 1)
            member.subscribe(f"{name}/end", 1)
        outside.subscribe(f"{name}/work", 1)
        for number in range(count):
            publisher.publish(f"{name}/work", str(number))
        publisher.publish(f"{name}/end", "end")
        everything = [str(number) for number in range(count)]
        assert outside.payloads(count) == everything
        shares = [list(iter(lambda: first.payloads(1)[0], "end")), list(iter(lambda: second.payloads(1)[0], "end"))]
        assert sorted(shares[0] + shares[1], key=int) == everything
        assert all(shares), "one member got nothing"
        assert all(share == sorted(share, key=int) for share in shares), "a member got them out of order"


def test_sharedMemberLeaves(broker: Broker, name: str) -> None:
    """
    A message that a member of a group leaves unacknowledged goes to another member.
    """
    with Peer(broker, f"{name}b") as staying, Peer(broker, f"{name}p") as publisher:
        leaving = Peer(broker, f"{name}a", manualAck=True).connect()
        leaving.subscribe(f"$share/group/{name}/work", 1)
        publisher.publish(f"{name}/work", "orphan")
        assert leaving.payloads(1) == ["orphan"]
        staying.subscribe(f"$share/group/{name}/work", 1)
        leaving.vanish()
        assert staying.payloads(1) == ["orphan"]


@pytest.mark.parametrize("limit", [1, 3])
def test_receiveMaximum(broker: Broker, name: str, limit: int) -> None:
    """
    No more messages are in flight to a client than it allows; each acknowledgement lets one more come.
    """
    with Peer(broker, f"{name}s", manualAck=True, ReceiveMaximum=limit) as slow, Peer(broker, f"{name}p") as publisher:
        slow.subscribe(f"{name}/#", 1)
        for number in range(10):
            publisher.publish(f"{name}/a", str(number))
        waiting = [slow.receive() for _ in range(limit)]
        for number in range(limit, 10):
            # QoS 0 needs no place in the window: were there a place for another, it would stand before this one.
            publisher.publish(f"{name}/a", "window is full", 0)
            assert slow.payloads(1) == ["window is full"]
            oldest = waiting.pop(0)
            slow.client.ack(oldest.mid, oldest.qos)
            waiting.append(slow.receive())
            assert waiting[-1].payload == str(number).encode()
        for message in waiting:
            slow.client.ack(message.mid, message.qos)


def test_topicAliasToTheBroker(broker: Broker, name: str) -> None:
    """
    A topic that has been given a number need not be named again; another topic may take the number.
    """
    with Peer(broker, f"{name}s") as subscriber, Peer(broker, f"{name}p") as publisher:
        assert publisher.granted["TopicAliasMaximum"] > 0
        subscriber.subscribe(f"{name}/#")
        publisher.publish(f"{name}/one", "1", TopicAlias=1)
        publisher.publish("", "2", TopicAlias=1)
        publisher.publish(f"{name}/two", "3", TopicAlias=1)
        publisher.publish("", "4", TopicAlias=1)
        got = [subscriber.receive() for _ in range(4)]
        assert [message.topic for message in got] == [f"{name}/one"] * 2 + [f"{name}/two"] * 2
        assert [message.payload for message in got] == [b"1", b"2", b"3", b"4"]


def test_maximumPacketSize(broker: Broker, name: str) -> None:
    """
    A client never gets a packet larger than it takes; the message counts as delivered, and the next one comes.
    """
    with Peer(broker, f"{name}s", MaximumPacketSize=200) as small, Peer(broker, f"{name}p") as publisher:
        small.subscribe(f"{name}/#", 1)
        publisher.publish(f"{name}/a", "x" * 300)
        publisher.publish(f"{name}/a", "fits")
        assert small.payloads(1) == ["fits"]


def test_subscriptionOptions(broker: Broker, name: str) -> None:
    """
    No-local, retain-as-published and retain-handling do what they say.
    """
    with Peer(broker, f"{name}a") as peer, Peer(broker, f"{name}b") as other:
        peer.publish(f"{name}/kept", "kept", retain=True)
        peer.subscribe(f"{name}/#", 1, noLocal=True, retainAsPublished=True)
        assert peer.payloads(1) == ["kept"]
        peer.publish(f"{name}/a", "own")
        other.publish(f"{name}/a", "published to be retained", retain=True)
        message = peer.receive()
        assert (message.payload, message.retain) == (b"published to be retained", True)
        only_new = SubscribeOptions.RETAIN_SEND_IF_NEW_SUB
        peer.subscribe(f"{name}/#", 1, noLocal=True, retainHandling=only_new)
        peer.expectNothing(other, f"{name}/x")
        other.subscribe(f"{name}/#", 1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        other.expectNothing(peer, f"{name}/x")
        for topic in ("kept", "a"):
            peer.publish(f"{name}/{topic}", b"", retain=True)


def test_subscriptionIdentifiers(broker: Broker, name: str) -> None:
    """
    A message says which subscriptions it came by, all of them where several match.
    """
    with Peer(broker, f"{name}s") as subscriber, Peer(broker, f"{name}p") as publisher:
        subscriber.subscribe(f"{name}/+", identifier=1)
        subscriber.subscribe(f"{name}/both", identifier=268435455)
        publisher.publish(f"{name}/single", "1")
        publisher.publish(f"{name}/both", "2")
        publisher.publish(f"{name}/single", "3")
        came: dict[bytes, set[int]] = {}
        while b"3" not in came:
            message = subscriber.receive()
            came.setdefault(bytes(message.payload), set()).update(propertiesOf(message)["SubscriptionIdentifier"])
        assert came == {b"1": {1}, b"2": {1, 268435455}, b"3": {1}}


def test_sessionExpiry(broker: Broker, name: str) -> None:
    """
    A session ends when its time is over, and with DISCONNECT the client may shorten that time.
    """
    for connecting, leaving, wait, present in ((300, None, 0.0, True), (1, None, 2.1, False), (300, 0, 0.0, False)):
        with Peer(broker, name):
            pass
        first = Peer(broker, name, clean=False, SessionExpiryInterval=connecting).connect()
        first.subscribe(f"{name}/#")
        first.disconnect(**({} if leaving is None else {"SessionExpiryInterval": leaving}))
        time.sleep(wait)  # real time has to pass; nothing tells the outside that a session has ended
        with Peer(broker, name, clean=False) as again:
            assert again.sessionPresent is present


def test_willDelay(broker: Broker, name: str) -> None:
    """
    A delayed will is not published if its client comes back in time; otherwise it comes, with its properties.
    """
    topic = f"{name}/gone"
    with Peer(broker, f"{name}s") as subscriber, Peer(broker, f"{name}p") as publisher:
        subscriber.subscribe(topic)
        for delay, returns in ((60, True), (1, False)):
            peer = Peer(broker, f"{name}w", clean=False, SessionExpiryInterval=300)
            peer.will(topic, f"after {delay}", WillDelayInterval=delay, ContentType="text/plain").connect().vanish()
            subscriber.expectNothing(publisher, topic)
            if returns:
                Peer(broker, f"{name}w", clean=False, SessionExpiryInterval=300).connect().disconnect()
                subscriber.expectNothing(publisher, topic)
        message = subscriber.receive()
        assert (message.payload, propertiesOf(message)) == (b"after 1", {"ContentType": "text/plain"})


def test_reasonCodes(broker: Broker, name: str) -> None:
    """
    Acknowledgements say when nobody subscribed, and when there was nothing to unsubscribe from.
    """
    with Peer(broker, name) as peer:
        assert peer.publish(f"{name}/a", "to nobody") == 0x10
        assert peer.unsubscribe(f"{name}/a") == [0x11]
        peer.subscribe(f"{name}/a")
        assert peer.publish(f"{name}/a", "to itself") == 0
        assert peer.unsubscribe(f"{name}/a") == [0]


def test_refusedFilter(broker: Broker, name: str) -> None:
    """
    A filter that breaks the rules ends the connection with a reason that says so.
    """
    peer = Peer(broker, name).connect()
    # Paho checks filters itself, so this one goes round its check.
    peer.client._send_subscribe(False, [(b"a/#/b", SubscribeOptions(0))], None)
    assert peer.ended.get(timeout=PATIENCE) in (0x81, 0x82, 0x8F)
    peer.client.loop_stop()
