"""
A packet with very many filters is worked through in several turns, so that others are served meanwhile.
"""

from twisted.internet.task import Clock

from twisted_mqtt.core.codec import Decoder, encode
from twisted_mqtt.core.packets import Connect, Ping, Suback, Subscribe, SubscriptionRequest, Unsubscribe
from twisted_mqtt.testing.broker import connectTransport, makeBroker

COUNT = 2000


def test_othersAreServedMeanwhile() -> None:
    """
    Neither SUBSCRIBE nor UNSUBSCRIBE takes one long turn; answers and order are as ever.
    """
    clock = Clock()
    clock.advance(1000)
    broker, factory = makeBroker(clock)
    # However fast the machine is, it gives way as soon as it looks at the time.
    broker.portions.portion = 1e-6
    protocol, transport = connectTransport(factory)
    filters = [f"many/{number}/+" for number in range(COUNT)]
    connect = encode(Connect("MQTT", 5, "greedy", True, 0, None, None, None, None), 5)
    subscribe = encode(Subscribe(1, [SubscriptionRequest(topicFilter, 1) for topicFilter in filters]), 5)
    protocol.dataReceived(connect + subscribe + encode(Unsubscribe(2, filters), 5) + encode(Ping(12), 5))
    assert 0 < broker.stats()["subscriptions"] < COUNT
    assert protocol.connection.parked
    done = []
    while protocol.connection.parked:
        # One call at a time, as a reactor has other things to do between them.
        call = clock.calls.pop(0)
        call.func(*call.args, **call.kw)
        done.append(broker.stats()["subscriptions"])
    assert len(set(done)) >= 6
    clock.advance(0)
    decoder = Decoder(version=5)
    packets = decoder.feed(transport.value())
    acks = [packet for packet in packets if isinstance(packet, Suback)]
    assert [(ack.packetID, ack.reasons) for ack in acks] == [(1, [1] * COUNT), (2, [0] * COUNT)]
    assert broker.stats()["subscriptions"] == 0
