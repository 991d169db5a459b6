"""
C{message.queued}: a message waits for a client that is not connected.
"""

from __future__ import annotations

from tests.kits.brokercase import BrokerTestCase
from twisted_mqtt.core.message import Message


class QueuedTests(BrokerTestCase):
    """
    When the point is fired, and when not.
    """

    def setUp(self) -> None:
        """
        A session whose client is away.
        """
        super().setUp()
        self.absent()

    def absent(self, **zone: int) -> None:
        """
        Begin anew.
        """
        self.begin(**zone)
        client = self.client(sessionExpiry=1000)
        client.subscribe("a", qos=1)
        client.disconnect()
        self.calls = self.hook("message.queued", None)

    def test_absent(self) -> None:
        """
        It is given the session and the message, whatever the QoS.
        """
        for qos in (0, 1, 2):
            self.broker.publish(Message("a", b"%d" % qos, qos))
        session = self.broker.sessions["client"]
        self.assertEqual(
            [(each[0], each[1].payload) for each in self.calls], [(session, b"0"), (session, b"1"), (session, b"2")]
        )

    def test_here(self) -> None:
        """
        A message that goes out, or waits for a client that is here, is not one.
        """
        client = self.client(cleanStart=False, receiveMaximum=1, sessionExpiry=1000)
        for _ in range(3):
            self.broker.publish(Message("a", b"", 1))
        self.assertEqual((self.calls, len(client.receive())), ([], 1))

    def test_dropped(self) -> None:
        """
        A message for which there is no room is dropped, not queued.
        """
        self.absent(max_mqueue_len=1)
        dropped = self.hook("message.dropped", None)
        self.broker.publish(Message("a", b"1", 1))
        self.broker.publish(Message("a", b"2", 0))
        queued = [each[1].payload for each in self.calls]
        lost = [each[0].payload for each in dropped]
        self.assertEqual((queued, lost), ([b"1"], [b"2"]))

    def test_nobodyAsked(self) -> None:
        """
        Without a callback the core tells nobody.
        """
        self.assertTrue(self.broker.switches.queued)
        (registration,) = self.broker.hooks.messageQueued
        self.broker.hooks.messageQueued.remove(registration.action)
        self.assertFalse(self.broker.switches.queued)
