"""
Tests for L{twisted_mqtt.modules.proxysubscription}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.kits.recording import Client, RecordingBroker
from twisted_mqtt.modules.proxysubscription import ProxySubscription, ProxySubscriptions, SubscriptionSettings
from twisted_mqtt.testing.extension import ExtensionHarness


class SubscriptionTests(SynchronousTestCase):
    """
    Tests for L{ProxySubscriptions}.
    """

    def setUp(self) -> None:
        self.broker = RecordingBroker()

    def connect(self, *entries: tuple[str, int], **changed: Any) -> list[tuple[str | int, ...]]:
        """
        Let a client connect where these filters are configured.

        @return: what it is subscribed to.
        """
        settings = SubscriptionSettings(
            entries=tuple(ProxySubscription(topic=topic, qos=qos) for topic, qos in entries)
        )
        self.extension = ProxySubscriptions(settings)
        self.harness = ExtensionHarness(self.extension, self.broker).start()
        self.broker.hooks.clientConnected.run(Client(**changed), None)
        return self.broker.subscribed

    def test_subscribed(self) -> None:
        """
        A client that connects is subscribed to all filters, with its names filled in. No access rule is asked, and
        retained messages come for new subscriptions only.
        """
        subscribed = self.connect(("$client/%c", 0), ("$user/%u/+", 1), ("news/#", 2))
        self.assertEqual(
            subscribed,
            [
                ("c1", "$client/c1", 0, 1, True),
                ("c1", "$user/u/+", 1, 1, True),
                ("c1", "news/#", 2, 1, True),
                ("retained",),
            ],
        )

    def test_noName(self) -> None:
        """
        A filter with the user name is passed over for a client without one.
        """
        for username in (None, ""):
            subscribed = self.connect(("$user/%u", 0), ("$client/%c", 0), username=username)
            self.assertEqual(subscribed[0][1], "$client/c1")
            self.assertEqual(len(subscribed), 2)
            self.harness.stop()
            subscribed.clear()

    def test_wildcards(self) -> None:
        """
        No client gets more by calling itself a wildcard.
        """
        for name in ("+", "#", "a/+", "a#"):
            self.assertEqual(self.connect(("$user/%u", 0), username=name), [])
            self.harness.stop()

    def test_levels(self) -> None:
        """
        Nor by calling itself more than a level, or the beginning of the broker's own topics.
        """
        for template, name in (("$client/%c/in", "a/b"), ("%c/x", "$SYS"), ("a/%c", "\0")):
            self.assertEqual(self.connect((template, 0), clientID=name), [])
            self.harness.stop()

    def test_nameLikeAMark(self) -> None:
        """
        A name that looks like a mark is only a name.
        """
        self.assertEqual(self.connect(("%c/%u", 0), clientID="%u", username="%c")[0][1], "%u/%c")

    def test_nothing(self) -> None:
        """
        With nothing to subscribe the broker is not asked.
        """
        self.assertEqual(self.connect(), [])

    def test_stopped(self) -> None:
        """
        Nothing is left on the hook points.
        """
        self.connect(("a", 0))
        self.harness.stop()
        self.assertEqual([point for point in self.broker.hooks if point.callbacks], [])
