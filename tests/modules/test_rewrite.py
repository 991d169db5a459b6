"""
Tests for L{twisted_mqtt.modules.rewrite}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.kits.recording import Client, RecordingBroker
from twisted_mqtt.config.values import RewriteRule
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import SubscriptionRequest
from twisted_mqtt.modules.rewrite import Rewrite, Rewriter, RewriteSettings
from twisted_mqtt.testing.extension import ExtensionHarness

# The two rules of the specification.
RULES = (
    RewriteRule("x/#", "^x/y/(.+)$", "z/y/$1"),
    RewriteRule("y/+/z/#", "^y/(.+)/z/(.+)$", "y/z/$2"),
)


class RewriterTests(SynchronousTestCase):
    """
    Tests for L{Rewriter}.
    """

    def test_examples(self) -> None:
        """
        The rules of the specification do what it says.
        """
        rewriter = Rewriter(RULES)
        for topic, expected in (
            ("x/y/2", "z/y/2"),
            ("x/1/2", "x/1/2"),
            ("y/a/z/b", "y/z/b"),
            ("y/def", "y/def"),
            ("other", "other"),
            ("x/y/+", "z/y/+"),
        ):
            self.assertEqual(rewriter.rewritten(topic), expected)

    def test_lastRuleFirst(self) -> None:
        """
        Of several rules for a topic the last is applied, and only that: not even where its expression does not match.
        """
        rewriter = Rewriter([RewriteRule("a/#", "^a/(.*)$", "first/$1"), RewriteRule("a/b/#", "^a/b/(c)$", "last/$1")])
        self.assertEqual(rewriter.rewritten("a/b/c"), "last/c")
        self.assertEqual(rewriter.rewritten("a/b/d"), "a/b/d")
        self.assertEqual(rewriter.rewritten("a/d"), "first/d")

    def test_groups(self) -> None:
        """
        A group that took no part is empty; numbers may have two digits; a dollar without a group stays.
        """
        ten = "".join(f"({letter})" for letter in "bcdefghijk")
        rewriter = Rewriter([RewriteRule("a/#", f"^a/{ten}(x)?$", "$10/$1/[$11]/$SYS/$0")])
        self.assertEqual(rewriter.rewritten("a/bcdefghijk"), "k/b/[]/$SYS/$0")

    def test_matchedIsNotRead(self) -> None:
        """
        Text from a client's topic is never taken for a reference itself.
        """
        rewriter = Rewriter([RewriteRule("a/#", "^a/(.+)/(.+)$", "$1/$2")])
        self.assertEqual(rewriter.rewritten("a/x$2/secret"), "x$2/secret")

    def test_bounded(self) -> None:
        """
        However many topics clients make up, not all are remembered.
        """
        rewriter = Rewriter(RULES)
        for number in range(10000):
            rewriter.rewritten(f"x/y/{number}")
        self.assertLess(rewriter.rewritten.cache_info().currsize, 5000)


class RewriteTests(SynchronousTestCase):
    """
    Tests for L{Rewrite}.
    """

    def setUp(self) -> None:
        self.broker = RecordingBroker()
        self.rewrite = Rewrite(RewriteSettings(rule=RULES))
        self.harness = ExtensionHarness(self.rewrite, self.broker).start()

    def publish(self, topic: str, system: bool = False) -> Message:
        """
        Publish to a topic.

        @return: what is routed.
        """
        message: Message = self.broker.hooks.messagePublish.fold(Message(topic, b"payload", 1, True, system=system))
        return message

    def subscribe(self, *requests: SubscriptionRequest) -> list[SubscriptionRequest]:
        """
        Subscribe.

        @return: to what.
        """
        granted: list[SubscriptionRequest] = self.broker.hooks.clientSubscribe.fold(Client(), None, list(requests))
        return granted

    def test_publish(self) -> None:
        """
        A message goes to the other topic, and stays as it is otherwise.
        """
        message = self.publish("x/y/2")
        self.assertEqual((message.topic, message.payload, message.qos, message.retain), ("z/y/2", b"payload", 1, True))

    def test_publishUnchanged(self) -> None:
        """
        Where no rule applies it is the same message, not a copy.
        """
        message = Message("other", b"")
        self.assertIs(self.broker.hooks.messagePublish.fold(message), message)

    def test_system(self) -> None:
        """
        The broker's own messages are not rewritten.
        """
        self.assertEqual(self.publish("x/y/2", system=True).topic, "x/y/2")

    def test_void(self) -> None:
        """
        A rule that makes a topic nobody may publish to does nothing.
        """
        self.harness.stop()
        settings = RewriteSettings(rule=(RewriteRule("a/#", "^a/(.*)$", "$1"), RewriteRule("b", "b", "+")))
        ExtensionHarness(Rewrite(settings), self.broker).start()
        self.assertEqual(self.publish("a/").topic, "a/")
        self.assertEqual(self.publish("b").topic, "b")
        self.assertEqual(self.publish("a/c").topic, "c")

    def test_subscribe(self) -> None:
        """
        A subscription is made to the other topic, with its options, in its place.
        """
        first, second = self.subscribe(SubscriptionRequest("x/y/#", 2, True, True, 1), SubscriptionRequest("other", 1))
        self.assertEqual(first.topicFilter, "z/y/#")
        self.assertEqual((first.qos, first.noLocal, first.retainAsPublished, first.retainHandling), (2, True, True, 1))
        self.assertEqual((second.topicFilter, second.qos), ("other", 1))

    def test_shared(self) -> None:
        """
        The prefix that makes a subscription shared or local stays before the rewritten filter.
        """
        for prefix in ("$share/group/", "$queue/", "$local/"):
            (request,) = self.subscribe(SubscriptionRequest(prefix + "x/y/+"))
            self.assertEqual(request.topicFilter, prefix + "z/y/+")
        (request,) = self.subscribe(SubscriptionRequest("$share/group"))
        self.assertEqual(request.topicFilter, "$share/group")

    def test_unsubscribe(self) -> None:
        """
        A client gets rid of a subscription by the name it knows.
        """
        filters = self.broker.hooks.clientUnsubscribe.fold(Client(), None, ["x/y/#", "$share/g/x/y/+", "other"])
        self.assertEqual(filters, ["z/y/#", "$share/g/z/y/+", "other"])

    def test_stopped(self) -> None:
        """
        Nothing is left on the hook points.
        """
        self.harness.stop()
        self.assertEqual([point for point in self.broker.hooks if point.callbacks], [])
