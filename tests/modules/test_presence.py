"""
Tests for L{twisted_mqtt.modules.presence}.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.kits.recording import Client, RecordingBroker
from twisted_mqtt.core.reasons import KEEP_ALIVE_TIMEOUT
from twisted_mqtt.modules.presence import Presence, PresenceSettings
from twisted_mqtt.testing.extension import ExtensionHarness

CLIENTS = "$SYS/brokers/node@127.0.0.1/clients/"


class PresenceTests(SynchronousTestCase):
    """
    Tests for L{Presence}.
    """

    def setUp(self) -> None:
        self.broker = RecordingBroker()
        self.presence = Presence(PresenceSettings())
        self.broker.clock.advance(1554047300.9)
        self.harness = ExtensionHarness(self.presence, self.broker).start()

    def connect(self, **changed: Any) -> Any:
        """
        Let a client connect.

        @return: the message about it.
        """
        self.broker.hooks.clientConnected.run(Client(**changed), None)
        return self.broker.published.pop()

    def disconnect(self, reason: Any, **changed: Any) -> Any:
        """
        Let a client go.

        @return: the message about it.
        """
        self.broker.hooks.clientDisconnected.run(Client(**changed), reason, None)
        return self.broker.published.pop()

    def test_connected(self) -> None:
        """
        A client that connects is told of, with what it said of itself.
        """
        message = self.connect()
        self.assertEqual(message.topic, CLIENTS + "c1/connected")
        expected = {
            "clientid": "c1",
            "username": "u",
            "ipaddress": "127.0.0.1",
            "connack": 0,
            "ts": 1554047291,
            "proto_ver": 5,
            "proto_name": "MQTT",
            "clean_start": True,
            "keepalive": 60,
            "sockport": 1883,
            "expiry_interval": 0,
            "connected_at": 1554047291,
        }
        self.assertEqual(json.loads(message.payload), expected)

    def test_disconnected(self) -> None:
        """
        A client that goes is told of, with the reason.
        """
        message = self.disconnect(0)
        self.assertEqual(message.topic, CLIENTS + "c1/disconnected")
        expected = {
            "clientid": "c1",
            "username": "u",
            "ipaddress": "127.0.0.1",
            "reason": "normal",
            "ts": 1554047300,
            "proto_ver": 5,
            "proto_name": "MQTT",
            "disconnected_at": 1554047300,
        }
        self.assertEqual(json.loads(message.payload), expected)

    def test_reasons(self) -> None:
        """
        A reason code is told by its name, a reason in words as it is.
        """
        for reason, text in ((KEEP_ALIVE_TIMEOUT, "keepalive_timeout"), ("kicked", "kicked")):
            self.assertEqual(json.loads(self.disconnect(reason).payload)["reason"], text)

    def test_topicTree(self) -> None:
        """
        A client that is not in the default topic tree is shown with its tree, for there it is not alone in its name.
        """
        for message in (self.connect(topicTree="plant"), self.disconnect(0, topicTree="plant")):
            self.assertEqual(json.loads(message.payload)["topic_tree"], "plant")
            self.assertEqual(message.topicTree, "")

    def test_noUsername(self) -> None:
        """
        A client without a user name is told of all the same.
        """
        self.assertEqual(json.loads(self.connect(username=None).payload)["username"], "undefined")

    def test_wildcards(self) -> None:
        """
        Whatever a client calls itself, its name is one level of a topic that may be sent, and no other name makes the
        same.
        """
        for name, level in (
            ("a/+/#", "a%2F%2B%2F%23"),
            ("a%2F", "a%252F"),
            ("\0", "%00"),
            ("$SYS", "$SYS"),
            ("ä", "ä"),
        ):
            self.assertEqual(self.connect(clientID=name).topic, f"{CLIENTS}{level}/connected")

    def test_message(self) -> None:
        """
        The messages are the broker's own, at the configured quality of service, and not retained.
        """
        message = self.connect()
        self.assertEqual((message.qos, message.system, message.retain), (1, True, False))
        self.harness.stop()
        ExtensionHarness(Presence(PresenceSettings(qos=2)), self.broker).start()
        self.assertEqual(self.connect().qos, 2)

    def test_unheard(self) -> None:
        """
        Where nobody listens, nothing is said.
        """
        self.broker.heard = False
        self.broker.hooks.clientConnected.run(Client(), None)
        self.broker.hooks.clientDisconnected.run(Client(), "normal", None)
        self.assertEqual(self.broker.published, [])

    def test_publishingFails(self) -> None:
        """
        A publication that fails is logged; the client does not wait for it.
        """
        self.broker.answer = Deferred()
        self.assertIsNone(self.broker.hooks.clientConnected.run(Client(), None))
        self.broker.answer.errback(ValueError("no"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_stopped(self) -> None:
        """
        Nothing is left on the hook points.
        """
        self.harness.stop()
        self.assertEqual([point for point in self.broker.hooks if point.callbacks], [])
