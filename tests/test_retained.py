"""
Tests of L{twisted_mqtt.retained}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_mqtt.config.schema_extensions import Retainer
from twisted_mqtt.core.counters import Counters
from twisted_mqtt.core.message import Message
from twisted_mqtt.retained import RetainedMessages


def retained(topic: str, payload: bytes = b"x", expiresAt: float = 0.0, system: bool = False) -> Message:
    """
    A retained message, published at 1000.
    """
    return Message(topic, payload, 0, True, timestamp=1000.0, expiresAt=expiresAt, system=system)


class RetainedMessagesTests(SynchronousTestCase):
    """
    Tests for L{RetainedMessages}.
    """

    def messages(self, **limits: int) -> RetainedMessages:
        """
        Retained messages with these limits.
        """
        self.counters = Counters()
        return RetainedMessages(self.counters, Retainer(**limits))

    def test_keepsTheLast(self) -> None:
        """
        The last message of a topic is kept; an empty one removes it ([MQTT-3.3.1-6]) and is itself not kept.
        """
        messages = self.messages()
        self.assertFalse(messages.put(retained("a", b"")))
        self.assertTrue(messages.put(retained("a", b"1")))
        last = retained("a", b"22")
        self.assertTrue(messages.put(last))
        self.assertIs(messages.get("a"), last)
        self.assertEqual((len(messages), messages.bytes, self.counters.messages_retained), (1, 2, 1))
        self.assertTrue(messages.put(retained("a", b"")))
        self.assertEqual((len(messages), messages.bytes, self.counters.messages_retained), (0, 0, 0))
        self.assertEqual(messages.match("#"), [])

    def test_limits(self) -> None:
        """
        Over the number of messages those of known topics are replaced and new topics are not kept; over the size of a
        payload nothing is kept, nor is what was there removed. The broker's own messages have no limit.
        """
        messages = self.messages(max_retained_messages=1, max_payload_size=3)
        self.assertTrue(messages.put(retained("a", b"1")))
        self.assertFalse(messages.put(retained("b", b"1")))
        self.assertTrue(messages.put(retained("a", b"2")))
        self.assertFalse(messages.put(retained("a", b"1234")))
        self.assertEqual([each.payload for each in messages.match("#")], [b"2"])
        self.assertTrue(messages.put(retained("$SYS/x", b"12345", system=True)))
        self.assertEqual(sorted(messages.topics()), ["$SYS/x", "a"])

    def test_ownDoNotCount(self) -> None:
        """
        What the broker says of itself takes nobody's place.
        """
        messages = self.messages(max_retained_messages=1)
        for number in range(3):
            messages.put(retained(f"$SYS/{number}", b"x", system=True))
        self.assertTrue(messages.put(retained("a", b"1")))
        self.assertFalse(messages.put(retained("b", b"1")))
        messages.remove("$SYS/1")
        self.assertFalse(messages.put(retained("b", b"1")))
        messages.remove("a")
        self.assertTrue(messages.put(retained("b", b"1")))

    def test_expires(self) -> None:
        """
        A message is forgotten when its own time is over, or else the configured one; the broker's own are not.
        """
        messages = self.messages(expiry_interval=100)
        messages.put(retained("short", expiresAt=1010.0))
        messages.put(retained("long", expiresAt=2000.0))
        messages.put(retained("usual"))
        messages.put(retained("$SYS/x", system=True))
        self.assertEqual(messages.expire(1009.0), [])
        self.assertEqual(messages.expire(1010.0), ["short"])
        self.assertEqual(messages.expire(1100.0), ["usual"])
        self.assertEqual(messages.expire(5000.0), ["long"])
        self.assertEqual((messages.topics(), self.counters.messages_retained), (["$SYS/x"], 1))

    def test_replacedBeforeItExpires(self) -> None:
        """
        What takes the place of a message has its own time, longer, shorter or unlimited.
        """
        messages = self.messages()
        cases = (("longer", 1010.0, 1050.0), ("shorter", 1050.0, 1010.0), ("for ever", 1010.0, 0.0))
        for topic, first, second in cases:
            messages.put(retained(topic, expiresAt=first))
            messages.put(retained(topic, expiresAt=second))
        self.assertEqual(messages.expire(1020.0), ["shorter"])
        self.assertEqual(messages.expire(1060.0), ["longer"])
        self.assertEqual(messages.expire(9999.0), [])
        self.assertEqual(messages.topics(), ["for ever"])

    def test_manyReplacedMessages(self) -> None:
        """
        Somebody who replaces messages with an expiry again and again does not make the process grow.
        """
        messages = self.messages()
        for number in range(50_000):
            messages.put(retained(f"t/{number % 10}", expiresAt=1e6 - number))
            if number % 3 == 0:
                messages.put(retained(f"t/{number % 10}", b""))
        self.assertTrue(len(messages._expiring) < 2000, len(messages._expiring))
        left = len(messages)
        self.assertEqual(len(messages.expire(1e6)), left)
        self.assertEqual(len(messages), 0)
