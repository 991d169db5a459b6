"""
The modules and the C{$SYS} topics in a real broker, with clients that speak MQTT.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from twisted_mqtt.config.schema_node import BrokerSettings
from twisted_mqtt.config.values import RewriteRule
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.subscription import Subscription as Subscribed
from twisted_mqtt.hooks.verdicts import DENY
from twisted_mqtt.modules.presence import Presence, PresenceSettings
from twisted_mqtt.modules.proxysubscription import ProxySubscription, ProxySubscriptions, SubscriptionSettings
from twisted_mqtt.modules.rewrite import Rewrite, RewriteSettings
from twisted_mqtt.monitoring.systopics import SysTopics
from twisted_mqtt.testing.broker import connectTransport, makeBroker
from twisted_mqtt.testing.extension import ExtensionHarness

NODE = "$SYS/brokers/mqttbroker@127.0.0.1/"


def text(value: str) -> bytes:
    """
    A string as MQTT writes it.
    """
    return len(value).to_bytes(2, "big") + value.encode()


def packet(first: int, body: bytes) -> bytes:
    """
    A packet of less than 128 bytes.
    """
    return bytes((first, len(body))) + body


class Listener:
    """
    A part of the broker that receives messages.
    """

    clientID = ""
    online = True

    def __init__(self) -> None:
        self.heard: list[Message] = []

    def deliver(self, message: Message, subscription: object) -> None:
        """
        Note a message.
        """
        self.heard.append(message)


class ModuleTests(SynchronousTestCase):
    """
    Tests for modules in a broker.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1554047291.5)
        self.broker, self.factory = makeBroker(self.clock, idle_timeout=15)
        self.addCleanup(self.broker.stopService)
        self.listener = Listener()

    def listen(self, topicFilter: str) -> None:
        """
        Have the listener hear what is published.
        """
        self.broker.subscribe(self.listener, Subscribed(self.listener, topicFilter))

    def connect(self, clientID: str, username: str = "") -> Any:
        """
        Connect a client of MQTT 3.1.1 with a clean session.

        @return: its protocol and transport.
        """
        protocol, transport = connectTransport(self.factory)
        flags, more = (0x82, text(username)) if username else (0x02, b"")
        body = text("MQTT") + bytes((4, flags)) + (60).to_bytes(2, "big") + text(clientID) + more
        protocol.dataReceived(packet(0x10, body))
        self.clock.advance(0)
        return protocol, transport

    def test_presence(self) -> None:
        """
        Clients that come and go are told of.
        """
        ExtensionHarness(Presence(PresenceSettings()), self.broker).start()
        self.listen(NODE + "clients/#")
        protocol, _ = self.connect("c1", "u")
        self.clock.advance(5)
        protocol.dataReceived(packet(0xE0, b""))
        self.clock.advance(0)
        connected, disconnected = self.listener.heard
        self.assertEqual(connected.topic, NODE + "clients/c1/connected")
        expected = {
            "clientid": "c1",
            "username": "u",
            "ipaddress": "127.0.0.1",
            "proto_name": "MQTT",
            "proto_ver": 4,
            "connack": 0,
            "ts": 1554047291,
            "clean_start": True,
            "keepalive": 60,
            "sockport": 1883,
            "expiry_interval": 0,
            "connected_at": 1554047291,
        }
        self.assertEqual(json.loads(connected.payload), expected)
        self.assertEqual(disconnected.topic, NODE + "clients/c1/disconnected")
        content = json.loads(disconnected.payload)
        self.assertEqual((content["clientid"], content["reason"], content["ts"]), ("c1", "normal", 1554047296))

    def test_subscription(self) -> None:
        """
        A client gets what it is subscribed to without having asked, after its CONNACK and against every access rule:
        what is retained, then what is published.
        """
        settings = SubscriptionSettings(entries=(ProxySubscription(topic="to/%c/#", qos=1),))
        ExtensionHarness(ProxySubscriptions(settings), self.broker).start()
        self.broker.hooks.clientCheckAcl.add(lambda *args: DENY)
        self.broker.publish(Message("to/c1/now", b"retained", retain=True))
        _, transport = self.connect("c1")
        self.broker.publish(Message("to/c1/later", b"x"))
        self.broker.publish(Message("to/c2/later", b"x"))
        self.clock.advance(0)
        retained = packet(0x31, text("to/c1/now") + b"retained")
        later = packet(0x30, text("to/c1/later") + b"x")
        self.assertEqual(transport.value(), packet(0x20, b"\x00\x00") + retained + later)

    def test_rewrite(self) -> None:
        """
        A client that subscribes and publishes by old names gets and sends by new ones, and unsubscribes by the old.
        """
        ExtensionHarness(
            Rewrite(RewriteSettings(rule=(RewriteRule("x/#", "^x/y/(.+)$", "z/y/$1"),))), self.broker
        ).start()
        self.listen("z/#")
        protocol, transport = self.connect("c1")
        protocol.dataReceived(packet(0x82, b"\x00\x01" + text("x/y/#") + b"\x00"))
        protocol.dataReceived(packet(0x30, text("x/y/1") + b"a"))
        self.clock.advance(0)
        self.assertEqual([message.topic for message in self.listener.heard], ["z/y/1"])
        expected = packet(0x90, b"\x00\x01\x00") + packet(0x30, text("z/y/1") + b"a")
        self.assertEqual(transport.value()[4:], expected)
        transport.clear()
        protocol.dataReceived(packet(0xA2, b"\x00\x02" + text("x/y/#")))
        self.broker.publish(Message("z/y/1", b"b"))
        self.clock.advance(0)
        self.assertEqual(transport.value(), packet(0xB0, b"\x00\x02"))

    def test_sysTopics(self) -> None:
        """
        The broker counts what is worth counting, and its own messages do not count.
        """
        protocol, _ = self.connect("c1")
        protocol.dataReceived(packet(0x30, text("a") + b"x"))
        self.listen("$SYS/#")
        service = SysTopics(self.broker, BrokerSettings())
        service.startService()
        self.addCleanup(service.stopService)
        payloads = {message.topic: message.payload for message in self.listener.heard}
        for topic, number in (
            ("stats/connections/count", b"1"),
            ("metrics/packets/connect/received", b"1"),
            ("metrics/packets/publish/received", b"1"),
            ("metrics/messages/qos0/received", b"1"),
            ("metrics/messages/dropped/no_subscriber", b"1"),
        ):
            self.assertEqual(payloads[NODE + topic], number, topic)
        counted = self.broker.traffic.read()
        self.clock.pump([1] * 60)
        self.assertEqual(self.broker.traffic.read(), counted)
        self.assertGreater(len(self.listener.heard), 2 * 70)
