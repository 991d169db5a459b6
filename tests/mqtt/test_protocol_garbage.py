"""
The objects that a connection leaves behind.
"""

import gc

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.packets import Connect, Disconnect, Subscribe
from twisted_mqtt.core.packets import SubscriptionRequest as Filter
from twisted_mqtt.testing.broker import connectTransport, makeBroker

KINDS = ("Admission", "ClientInfo", "Connection", "MQTTProtocol", "Session", "Subscription")


def alive() -> int:
    """
    How many objects of those kinds there are.
    """
    return sum(type(each).__name__ in KINDS for each in gc.get_objects())


@pytest.mark.parametrize("said", [True, False], ids=["with DISCONNECT", "without a word"])
def test_nothingIsLeftToBeFound(said: bool) -> None:
    """
    The objects of a connection and its session are freed when they end, without the search for garbage in cycles: the
    broker lets Python search rarely.
    """
    clock = Clock()
    clock.advance(1000)
    _, factory = makeBroker(clock)
    gc.collect()
    before = alive()
    gc.disable()
    try:
        for number in range(10):
            protocol, transport = connectTransport(factory)
            connect = Connect("MQTT", 5, f"client{number}", True, 60, None, None, None, None)
            protocol.dataReceived(encode(connect, 5) + encode(Subscribe(1, [Filter("a/+", 1)]), 5))
            clock.advance(0)
            assert alive() > before
            if said:
                protocol.dataReceived(encode(Disconnect(), 5))
            if not said:
                transport.unregisterProducer()  # as every real transport does before it says that it is lost
            protocol.connectionLost(Failure(ConnectionDone()))
            del protocol, transport
        clock.advance(100)
        assert alive() == before
    finally:
        gc.enable()
