"""
Tests for L{twisted_mqtt.broker.client}.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from bench import packets
from twisted_mqtt.interfaces import IClient
from twisted_mqtt.testing.broker import connectTransport, makeBroker


def talk(**zoneKeys: Any) -> Any:
    """
    A client that has subscribed, published, and left one message unacknowledged.

    @return: what the broker knows of it.
    """
    clock = Clock()
    clock.advance(1000)
    _, factory = makeBroker(clock, **zoneKeys)
    protocol, transport = connectTransport(factory)
    sent = [
        packets.connect("a"),
        packets.subscribe(1, ["t/+"], 1),
        packets.publish("t/x", b"hello", 1, 1),
        packets.publish("t/y", b"hello", 2, 2),
    ]
    for each in sent:
        protocol.dataReceived(each)
        clock.advance(0)
    assert protocol.client.connection is not None
    assert protocol.client.connection.sentBytes == len(transport.value())
    assert protocol.client.connection.receivedBytes == sum(map(len, sent))
    return protocol.client


def test_interface() -> None:
    """
    A client is what hooks are promised.
    """
    assert verifyObject(IClient, talk())


def test_stats() -> None:
    """
    The figures of a client are those of its session and its connection.
    """
    client = talk(max_inflight=1, max_awaiting_rel=7, max_subscriptions=3)
    assert client.stats() == {
        "subscriptions_cnt": 1,
        "max_subscriptions": 3,
        "inflight": 1,
        "max_inflight": 1,
        "mqueue_len": 1,
        "mqueue_bytes": 8,
        "max_mqueue": 1000,
        "mqueue_dropped": 0,
        "awaiting_rel": 1,
        "max_awaiting_rel": 7,
        "deliver_msg": 1,
        "recv_oct": client.connection.receivedBytes,
        "recv_pkt": 4,
        "recv_msg": 2,
        "send_oct": client.connection.sentBytes,
        # CONNACK, SUBACK, PUBLISH, PUBACK, PUBREC
        "send_pkt": 5,
        "send_msg": 1,
    }


def test_statsOff() -> None:
    """
    A zone may have none.
    """
    assert talk(enable_stats=False).stats() == {}
