"""
Tests of L{twisted_mqtt.broker.retained}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.kits.disk import Disk
from twisted_mqtt.broker.retained import RetainedMessages
from twisted_mqtt.config.schema_retainer import RetainerSettings
from twisted_mqtt.core.counters import Counters
from twisted_mqtt.core.message import Message


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
        return RetainedMessages(self.counters, RetainerSettings(**limits))

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
        The broker's own messages replace no retained message of others.
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
        A message that replaces another one has its own expiry, longer, shorter or unlimited.
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


class OnDiskAloneTests(SynchronousTestCase):
    """
    Tests for L{RetainedMessages} whose payloads are on disk alone.
    """

    def setUp(self) -> None:
        self.messages = RetainedMessages(Counters(), RetainerSettings(max_retained_messages=3))
        self.disk = self.messages.source = Disk()
        for topic in ("a", "b"):
            self.write(retained(topic, topic.encode() * 100))
        self.read: list[tuple[list[bytes], int]] = []

    def write(self, message: Message) -> None:
        """
        Keep a message, in memory and on disk.
        """
        self.messages.put(message)
        self.disk.messages[message.topic] = message
        self.messages.written([message])

    def ask(self) -> None:
        """
        Read all that match, noting the first letters.
        """

        def done(messages: list[Message], count: int) -> None:
            self.read.append(([message.payload[:1] for message in messages], count))

        self.messages.read(list(self.messages.match("#")), done)

    def test_memory(self) -> None:
        """
        A written message leaves memory, which still knows its topic; a message that has changed meanwhile stays.
        """
        self.assertEqual((self.messages.bytes, len(self.messages), self.messages.topics()), (0, 2, ["a", "b"]))
        self.assertEqual([message.payload for message in self.messages.match("#")], [b"", b""])
        old, new = retained("a", b"old"), retained("a", b"new")
        self.messages.put(old)
        self.messages.put(new)
        self.messages.written([old])
        self.assertIs(self.messages.get("a"), new)
        self.assertEqual(self.messages.bytes, 3)
        self.messages.put(retained("a", b""))
        self.messages.written([new])
        self.assertEqual((len(self.messages), self.messages.bytes), (1, 0))

    def test_limits(self) -> None:
        """
        They count like others; so do those that a start finds.
        """
        self.messages.restore(retained("c", b""))
        self.assertFalse(self.messages.put(retained("d")))
        self.assertTrue(self.messages.put(retained("a")))
        self.assertEqual(len(self.messages), 3)

    def test_expiry(self) -> None:
        """
        They expire at their own time, or at the configured one.
        """
        self.write(retained("a", b"x", expiresAt=1100.0))
        self.assertEqual(self.messages.expire(1100.0), ["a"])
        self.messages.limits = RetainerSettings(expiry_interval=60.0)
        self.write(retained("b", b"x"))
        self.assertEqual(self.messages.expire(1060.0), ["b"])

    def test_read(self) -> None:
        """
        They are read in order.
        """
        self.ask()
        self.assertEqual(self.disk.asked[0][0], ["a", "b"])
        self.disk.answer()
        self.assertEqual(self.read, [([b"a", b"b"], 2)])

    def test_changedMeanwhile(self) -> None:
        """
        A message that was replaced or removed since is left out, even if its content is the same: the subscriber gets
        the new one as it is published.
        """
        self.write(retained("c", b"c"))
        self.ask()
        self.messages.put(retained("a", b"a" * 100))
        self.messages.put(retained("b", b""))
        self.disk.answer()
        self.assertEqual(self.read, [([b"c"], 3)])

    def test_missing(self) -> None:
        """
        A message that the disk has lost is left out.
        """
        del self.disk.messages["a"]
        self.ask()
        self.disk.answer()
        self.assertEqual(self.read, [([b"b"], 2)])

    def test_fails(self) -> None:
        """
        A message that can't be read is left out, and logged.
        """
        self.ask()
        self.disk.fail()
        self.assertEqual(self.read, [([], 2)])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_fetch(self) -> None:
        """
        One message is fetched from where it is.
        """
        self.assertIsNone(self.messages.fetch("nowhere"))
        new = retained("c", b"c")
        self.messages.put(new)
        self.assertIs(self.messages.fetch("c"), new)
        fetched = self.messages.fetch("a")
        self.disk.answer()
        self.assertIs(self.successResultOf(fetched), self.disk.messages["a"])
        fetched = self.messages.fetch("a")
        self.disk.fail()
        self.failureResultOf(fetched, OSError)

    def test_fetchChanged(self) -> None:
        """
        A message that is replaced while it is fetched is not delivered: the newer one is, wherever it is by then.
        """
        fetched, again, gone = (self.messages.fetch("a") for _ in range(3))
        newer = retained("a", b"newer")
        self.messages.put(newer)
        self.disk.answer()
        self.assertIs(self.successResultOf(fetched), newer)
        self.write(newer)
        self.disk.answer()
        self.assertNoResult(again)
        self.messages.put(retained("a", b""))
        self.disk.answer()
        self.assertIsNone(self.successResultOf(gone))
        self.disk.answer()
        self.assertIsNone(self.successResultOf(again))
