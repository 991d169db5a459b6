"""
Each extension that comes with the broker, gateways too, is loaded, unloaded and reloaded again and again while clients
exchange messages: nothing grows, nothing fails, and no message that was acknowledged is lost.

C{EXTENSION_ROUNDS} says how often; C{make extensions} does it 200 times.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor as installedReactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from twisted_mqtt.config import settingsFrom
from twisted_mqtt.core.codec import Decoder, encode
from twisted_mqtt.core.packets import PUBACK, Ack, Connack, Connect, Disconnect, Publish, Suback, Subscribe
from twisted_mqtt.core.packets import SubscriptionRequest as Request
from twisted_mqtt.node.service import BrokerService

reactor: Any = installedReactor

ROUNDS = int(os.environ.get("EXTENSION_ROUNDS", "6"))

# So many messages of the publisher are on their way at a time.
WINDOW = 20


class Client(Protocol):
    """
    An MQTT client that publishes as fast as it is acknowledged, or acknowledges what it gets.

    @ivar acknowledged: how many of its messages were acknowledged, from the first on.
    @ivar received: the numbers of the messages that it got, in order.
    """

    def __init__(self, clientID: str, topicFilter: str = "") -> None:
        self.acknowledged = 0
        self.received: list[int] = []
        self.ready: Deferred[None] = Deferred()
        self.lost = False
        self.publishing = False
        self.sent = 0
        self._clientID = clientID
        self._topicFilter = topicFilter
        self._decoder = Decoder(1 << 20, 4)

    def connectionMade(self) -> None:
        """
        Say who it is.
        """
        self._send(Connect("MQTT", 4, self._clientID, True, 0, None, None, None, None))

    def connectionLost(self, reason: object = None) -> None:
        """
        That must not happen while the test runs.
        """
        self.lost = True

    def dataReceived(self, data: bytes) -> None:
        """
        Do what a client does.
        """
        for packet in self._decoder.feed(data):
            self._packet(packet)

    def publish(self) -> None:
        """
        Keep messages on their way.
        """
        self.publishing = True
        while self.sent - self.acknowledged < WINDOW:
            self.sent += 1
            self._send(Publish("load/a", b"%d" % self.sent, 1, False, False, (self.sent - 1) % 60000 + 1))

    def bye(self) -> None:
        """
        Go.
        """
        self._send(Disconnect(0))

    def _packet(self, packet: Any) -> None:
        if isinstance(packet, Connack):
            assert packet.reason == 0
            if self._topicFilter:
                self._send(Subscribe(1, [Request(self._topicFilter, 1)]))
            else:
                self.ready.callback(None)
        elif isinstance(packet, Suback):
            self.ready.callback(None)
        elif isinstance(packet, Publish):
            self.received.append(int(packet.payload))
            self._send(Ack(PUBACK, packet.packetID))
        elif isinstance(packet, Ack):
            self.acknowledged += 1
            if self.publishing:
                self.publish()

    def _send(self, packet: Any) -> None:
        self.transport.write(encode(packet, 4))


def objects() -> Counter[str]:
    """
    How many objects of ours there are, by class.
    """
    gc.collect()
    kinds: Counter[str] = Counter()
    for each in gc.get_objects():
        kind = type(each)
        if str(kind.__module__).partition(".")[0] in ("twisted_mqtt", "gateways"):
            kinds[f"{kind.__module__}.{kind.__qualname__}"] += 1
    return kinds


@pytest.mark.timeout(1800)
class LoadTests(TestCase):
    """
    One broker, its extensions, and a publisher and a subscriber.
    """

    timeout = 1800

    def setUp(self) -> Deferred[object]:
        """
        Start a broker whose extensions have something to do.
        """
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        (folder / "psk.txt").write_text("device:00ff\n")
        anywhere = "127.0.0.1:0"
        settings = settingsFrom(
            {
                "allow_anonymous": True,
                "node": {"data_dir": str(folder)},
                "listener": {"tcp": {"external": {"bind": anywhere}}},
                "plugins": {"load": ["stomp", "mqttsn", "coap", "lwm2m", "delayed_publish", "psk_file", "retainer"]},
                "stomp": {"listener": {"bind": anywhere}, "ws": {"bind": anywhere}},
                "mqtt": {"sn": {"port": anywhere}},
                "coap": {"port": anywhere, "tcp": {"port": anywhere}},
                "lwm2m": {"port": anywhere},
                "psk": {"file": str(folder / "psk.txt")},
                "module": {
                    "rewrite": {"enable": True, "rule": ["x/# ^x/(.+)$ y/$1"]},
                    "subscription": {"enable": True, "1": {"topic": "to/%c"}},
                },
            }
        )
        self.service = BrokerService(settings, reactor)
        self.service.startService()
        self.addCleanup(self.service.stopService)
        return self.service.ready

    @inlineCallbacks
    def connect(self, client: Client):  # type: ignore[no-untyped-def]  # inlineCallbacks
        """
        Let a client in.
        """
        port = self.service.ports["tcp.external"].address.port
        yield connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), client)
        yield client.ready

    @inlineCallbacks
    def until(self, condition: Callable[[], bool]):  # type: ignore[no-untyped-def]  # inlineCallbacks
        """
        Let the reactor turn until something is so.
        """
        while not condition():
            yield deferLater(reactor, 0.002, lambda: None)

    def standing(self) -> dict[str, object]:
        """
        The registrations of extensions, when nothing is on its way.
        """
        broker = self.service.broker
        return {
            "callbacks": {point.name: len(point.callbacks) for point in broker.hooks if point.callbacks},
            "ports": len(self.service.ports),
            "alarms": sorted(broker.alarms.active),
            "readers": len(reactor.getReaders()),
        }

    @inlineCallbacks
    def test_underLoad(self):  # type: ignore[no-untyped-def]  # inlineCallbacks
        """
        After so many rounds there is what there was before, and every message has come.
        """
        publisher, subscriber = Client("publisher"), Client("subscriber", "load/#")
        yield self.connect(subscriber)
        yield self.connect(publisher)
        extensions = self.service.extensions
        names = [each.name for each in extensions.installed() if each.active and each.distribution == "twisted-mqtt"]
        self.assertEqual(len(names), 13)

        def quiet() -> Deferred[None]:
            publisher.publishing = False
            return self.until(
                lambda: publisher.acknowledged == publisher.sent and len(subscriber.received) >= publisher.sent
            )

        publisher.publish()
        before: Any = None
        for number in range(ROUNDS):
            for name in names:
                status = extensions.status(name)
                assert status is not None
                if not status.necessary:
                    yield extensions.unload(name)
                    yield extensions.load(name)
                yield extensions.reload(name)
                sent = publisher.acknowledged
                # Messages go between any two changes.
                yield self.until(lambda sent=sent: publisher.acknowledged > sent)
            if number in (1, ROUNDS - 1):
                yield quiet()
                now = (self.standing(), objects(), len(reactor.getDelayedCalls()))
                if before is None:
                    before = now
                publisher.publish()
        yield quiet()
        self.assertEqual(now[0], before[0])
        # Some are the reactor's own, and come and go.
        self.assertLess(now[2], before[2] + 4)
        # A leak of each life of an extension would be there as often as there were rounds.
        grown = {kind: count - before[1][kind] for kind, count in now[1].items()}
        self.assertEqual({kind: more for kind, more in grown.items() if more >= ROUNDS - 2}, {})
        self.assertEqual(subscriber.received, list(range(1, publisher.sent + 1)))
        self.assertFalse(publisher.lost or subscriber.lost)
        self.assertGreater(publisher.sent, ROUNDS * len(names))
        publisher.bye()
        subscriber.bye()
        yield self.until(lambda: publisher.lost and subscriber.lost)
