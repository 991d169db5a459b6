"""
Rates: the bucket, and connections that are read no more while they have sent or published too much.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from twisted_mqtt.base.ratelimits import TokenBucket
from twisted_mqtt.broker.listenerprofile import ListenerProfile
from twisted_mqtt.config.values import RateLimit
from twisted_mqtt.core.codec import encode
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import Connect, Publish, Subscribe, SubscriptionRequest
from twisted_mqtt.core.subscription import Subscription
from twisted_mqtt.mqtt.protocol import MQTTFactory, MQTTProtocol
from twisted_mqtt.testing.broker import connectTransport, makeBroker

PING = b"\xc0\x00"
PONG = b"\xd0\x00"


class TokenBucketTests(SynchronousTestCase):
    """
    Tests for L{TokenBucket}.
    """

    def test_burst(self) -> None:
        """
        A full bucket gives what it holds at once, and then as fast as it fills.
        """
        bucket = TokenBucket(2.0, 4.0, 100.0)
        self.assertEqual([bucket.take(1, 100.0) for _ in range(6)], [0, 0, 0, 0, 0.5, 1.0])
        self.assertEqual(bucket.take(0, 101.0), 0.0)
        self.assertEqual(bucket.take(1, 101.5), 0.0)
        self.assertEqual(bucket.take(1, 101.5), 0.5)

    def test_neverFullerThanFull(self) -> None:
        """
        A long pause does not add up.
        """
        bucket = TokenBucket(10.0, 3.0, 0.0)
        self.assertEqual(bucket.take(4, 1000.0), 0.1)

    def test_clockSetBack(self) -> None:
        """
        A clock that jumps back neither fills nor drains.
        """
        bucket = TokenBucket(1.0, 2.0, 1000.0)
        self.assertEqual(bucket.take(2, 1000.0), 0.0)
        self.assertEqual(bucket.take(1, 10.0), 1.0)
        self.assertEqual(bucket.take(0, 11.0), 0.0)

    def test_onlyIfThere(self) -> None:
        """
        A refusal costs nothing: however often it happens, the next token is there in its time.
        """
        start = 1_600_000_000.0
        bucket = TokenBucket(10.0, 2.0, start)
        self.assertEqual([bucket.takeIfThere(1, start) for _ in range(5)], [True, True, False, False, False])
        self.assertEqual(bucket.wait(1, start), 0.1)
        for number in range(1, 50):
            now = start + number / 10
            self.assertFalse(bucket.takeIfThere(1, now - 0.05))
            self.assertEqual(bucket.wait(1, now), 0.0)
            self.assertTrue(bucket.takeIfThere(1, now))


@given(
    st.floats(0.1, 1000),
    st.integers(1, 1000),
    st.lists(st.tuples(st.floats(0, 10), st.integers(1, 100)), max_size=50),
)
def test_neverMoreThanRateAndBurst(rate: float, burst: int, steps: list[tuple[float, int]]) -> None:
    """
    A caller that waits as long as it is told never gets more than the burst and the tokens that have flowed in, except
    for the last portion.
    """
    now, taken = 0.0, 0
    bucket = TokenBucket(rate, burst, now)
    for pause, amount in steps:
        now += pause
        assert taken <= burst + rate * now + 1e-6
        now += bucket.take(amount, now)
        taken += amount


class Heard:
    """
    A part of the broker that notes what is published.
    """

    clientID = ""
    online = True

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def deliver(self, message: Message, subscription: object) -> None:
        """
        Note a message.
        """
        self.payloads.append(message.payload)


class RateTests(SynchronousTestCase):
    """
    Tests for the limits of a connection.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.broker, self.factory = makeBroker(self.clock)
        self.addCleanup(self.broker.stopService)
        self.heard = Heard()
        self.broker.subscribe(self.heard, Subscription(self.heard, "#", 0))

    def limited(self, byteRate: RateLimit | None = None, publishRate: RateLimit | None = None) -> MQTTFactory:
        """
        A factory whose connections are limited.
        """
        zone = self.broker.settings.resolveZone("external")
        return MQTTFactory(
            self.broker, ListenerProfile("tcp.external", zone, byteRate=byteRate, publishRate=publishRate)
        )

    def connect(self, factory: MQTTFactory, keepAlive: int = 0) -> tuple[MQTTProtocol, StringTransport]:
        """
        A client that is in.
        """
        protocol, transport = connectTransport(factory)
        protocol.dataReceived(encode(Connect("MQTT", 4, "c", True, keepAlive, None, None, None, None), 4))
        self.clock.advance(0)
        self.assertEqual(transport.value(), b"\x20\x02\x00\x00")
        transport.clear()
        return protocol, transport

    def publishes(self, *payloads: bytes, qos: int = 0) -> bytes:
        """
        PUBLISH packets.
        """
        return b"".join(
            encode(Publish("t", payload, qos, packetID=number if qos else 0), 4)
            for number, payload in enumerate(payloads, 1)
        )

    def test_bytes(self) -> None:
        """
        Bytes that have come are taken, and nothing more is read until the rate allows it.
        """
        protocol, transport = self.connect(self.limited(RateLimit(100, 1.0, 100)))
        self.clock.advance(1)
        protocol.dataReceived(self.publishes(b"x" * 295))
        self.assertEqual(self.heard.payloads, [b"x" * 295])
        self.assertEqual(transport.producerState, "paused")
        self.clock.pump([0.5] * 3)
        self.assertEqual(transport.producerState, "paused")
        self.clock.advance(0.6)
        self.assertEqual(transport.producerState, "producing")
        protocol.dataReceived(PING)
        self.clock.advance(0)
        self.assertEqual(transport.value(), PONG)

    def test_bytesAfterThePause(self) -> None:
        """
        Bytes that a layer below had taken already are counted too.
        """
        protocol, transport = self.connect(self.limited(RateLimit(100, 1.0, 100)))
        self.clock.advance(1)
        protocol.dataReceived(self.publishes(b"x" * 195))
        protocol.dataReceived(self.publishes(b"x" * 95))
        self.clock.advance(1.5)
        self.assertEqual(transport.producerState, "paused")
        self.clock.advance(1)
        self.assertEqual(transport.producerState, "producing")

    def test_keepAliveWhilePaused(self) -> None:
        """
        A client is not taken for dead while it is the broker that does not read, nor at once afterwards.
        """
        protocol, transport = self.connect(self.limited(RateLimit(10, 1.0, 10)), keepAlive=2)
        protocol.dataReceived(self.publishes(b"x" * 100))
        for _ in range(40):
            self.clock.advance(0.5)
            if transport.producerState == "producing":
                break
        self.assertEqual(transport.producerState, "producing")
        self.assertFalse(transport.disconnecting)
        self.clock.advance(2)
        self.assertFalse(transport.disconnecting)
        self.clock.pump([1] * 4)
        self.assertTrue(transport.disconnecting)

    def test_goneWhilePaused(self) -> None:
        """
        Nothing is left of the pause of a client that is gone.
        """
        protocol, transport = self.connect(self.limited(RateLimit(10, 1.0, 10)))
        before = len(self.clock.getDelayedCalls())
        protocol.dataReceived(self.publishes(b"x" * 1000))
        self.clock.advance(0)
        self.assertEqual(len(self.clock.getDelayedCalls()), before)
        transport.unregisterProducer()
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.clock.getDelayedCalls()), before - 1)
        self.clock.advance(200)
        self.assertEqual(transport.producerState, "paused")

    def test_publishes(self) -> None:
        """
        Messages beyond the burst wait for their time, none is lost, and what follows waits behind them.
        """
        protocol, transport = self.connect(self.limited(publishRate=RateLimit(2, 1.0, 3)))
        sent = [b"%d" % number for number in range(6)]
        protocol.dataReceived(self.publishes(*sent, qos=1) + encode(Subscribe(9, [SubscriptionRequest("other", 0)]), 4))
        self.clock.advance(0)
        self.assertEqual(self.heard.payloads, sent[:3])
        self.assertEqual(transport.producerState, "paused")
        self.assertEqual(transport.value(), b"".join(b"\x40\x02\x00%c" % number for number in (1, 2, 3)))
        for count in (4, 5, 6):
            self.assertEqual(len(self.heard.payloads), count - 1)
            self.clock.advance(0.5)
            self.assertEqual(self.heard.payloads, sent[:count])
        self.clock.advance(0)
        self.assertTrue(transport.value().endswith(b"\x40\x02\x00\x06" + b"\x90\x03\x00\x09\x00"))
        self.assertEqual(transport.producerState, "producing")

    def test_zone(self) -> None:
        """
        The zone's limit holds where the listener has none of its own.
        """
        _, factory = makeBroker(self.clock, publish_limit="1,10s")
        self.assertEqual(factory.profile.publishRate, RateLimit(1, 10.0, 1))
        own = ListenerProfile("x", factory.profile.zone, publishRate=RateLimit(5, 1.0, 5))
        self.assertEqual(own.publishRate, RateLimit(5, 1.0, 5))

    def test_goneWhileAPublishWaits(self) -> None:
        """
        A message whose time has not come goes with the connection, and leaves nothing behind.
        """
        protocol, transport = self.connect(self.limited(publishRate=RateLimit(1, 10.0, 1)))
        protocol.dataReceived(self.publishes(b"1", b"2"))
        transport.unregisterProducer()
        protocol.connectionLost(Failure(ConnectionDone()))
        self.clock.advance(20)
        self.assertEqual(self.heard.payloads, [b"1"])

    def test_bothReasons(self) -> None:
        """
        A connection that is paused for two reasons is read when neither holds.
        """
        factory = self.limited(RateLimit(100, 1.0, 100), RateLimit(1, 1.0, 1))
        protocol, transport = self.connect(factory)
        self.clock.advance(1)
        # Paid after two seconds by its bytes, after one by its messages.
        protocol.dataReceived(self.publishes(b"x" * 145, b"x" * 145))
        self.clock.advance(1)
        self.assertEqual(len(self.heard.payloads), 2)
        self.assertEqual(transport.producerState, "paused")
        self.clock.advance(1.1)
        self.assertEqual(transport.producerState, "producing")
        # The other way round.
        protocol.dataReceived(self.publishes(b"", b"", b"", b"x" * 90))
        self.assertEqual(transport.producerState, "paused")
        self.clock.advance(1)
        self.assertEqual(transport.producerState, "paused")
        self.clock.pump([1, 1, 1])
        self.assertEqual(transport.producerState, "producing")

    def test_slowReader(self) -> None:
        """
        A client that does not take what is written to it is not read when only its debt is paid.
        """
        protocol, transport = self.connect(self.limited(RateLimit(100, 1.0, 100)))
        self.clock.advance(1)
        protocol.dataReceived(self.publishes(b"x" * 195))
        protocol.pauseProducing()
        self.clock.advance(1.1)
        self.assertEqual(transport.producerState, "paused")
        protocol.resumeProducing()
        self.assertEqual(transport.producerState, "producing")
