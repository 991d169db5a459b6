"""
Histograms of the broker itself: how long messages take to be routed, how long queues are when they are delivered to,
how long callbacks of hook points and commits of the store take.

What happens for each message is measured for few of them: one in L{EVERY}, and the first one of each second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted_mqtt.core.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.base.metrics import Histogram, Metrics
    from twisted_mqtt.core.router import Router
    from twisted_mqtt.hooks.points import Hooks
    from twisted_mqtt.interfaces import IStore

#: One message in so many is measured.
EVERY: Final = 8192
#: Of a message to many, so many subscribers are looked at.
_SUBSCRIBERS: Final = 8
#: Upper bounds for what takes microseconds, in seconds.
SHORT: Final = (
    0.00001,
    0.000025,
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
#: Upper bounds for commits, in seconds.
COMMITS: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Upper bounds for lengths of queues.
LENGTHS: Final = (0, 1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 10_000, 100_000, 1_000_000)


class Measurements:
    """
    The histograms of a broker.
    """

    def __init__(
        self, metrics: Metrics, router: Router, hooks: Hooks, store: IStore, seconds: Callable[[], float]
    ) -> None:
        """
        @param seconds: tells the moment, as the timestamps of messages do.
        """
        self._router = router
        self._seconds = seconds
        self._routed = metrics.histogram(
            "messages.route.seconds",
            "Seconds from the arrival of a message until it was given to all its subscribers, of one message in"
            f" {EVERY} and the first of each second",
            SHORT,
        ).own
        self._queues = metrics.histogram(
            "delivery.queue.length",
            "Messages that waited for a subscriber after one was delivered to it, of one message in"
            f" {EVERY} and the first of each second",
            LENGTHS,
        ).own
        self._calls = metrics.histogram(
            "hooks.call.seconds",
            "Seconds that a callback of a hook point held the reactor, of one call in each millisecond",
            SHORT,
            ("point", "extension"),
        )
        self._waits = metrics.histogram(
            "hooks.wait.seconds",
            "Seconds until a callback of a hook point answered, where it did not answer at once",
            labels=("point", "extension"),
        )
        commits = metrics.histogram("store.commit.seconds", "Seconds that the store took to commit a batch", COMMITS)
        router.sampled = self._sampled
        hooks.called = self._called
        hooks.waited = self._waited
        store.commitTook = commits.own.observe

    def measureNext(self) -> None:
        """
        Measure the next message: to be called once a second, so that a quiet broker has figures too.
        """
        self._router.sampleAt = self._router.number + 1

    def _sampled(self, message: Message) -> None:
        router = self._router
        router.sampleAt = router.number + EVERY
        self._routed.observe(max(0.0, self._seconds() - message.timestamp))
        tree = router.treeOf(message.topicTree)
        if tree is None:
            return
        left = _SUBSCRIBERS
        for subscription in tree.match(message.topic).subscriptions:
            session = subscription.session
            if session is not None:
                self._queues.observe(session.queueLength)
            left -= 1
            if not left:
                break

    def _called(self, point: str, extension: str) -> Histogram:
        return self._calls.of(point, extension)

    def _waited(self, point: str, extension: str) -> Histogram:
        return self._waits.of(point, extension)
