"""
Tests of what there is: sessions, subscriptions, filters, retained messages, listed and looked up; and who is told which
filters have subscribers.
"""

from __future__ import annotations

import gc
import random
from time import thread_time
from typing import Any

from tests.kits.brokercase import BrokerTestCase
from tests.kits.manysessions import ManySessions
from twisted_mqtt.base.listing import Listing
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import Publish, Subscribe, SubscriptionRequest, Unsubscribe
from twisted_mqtt.core.subscription import Subscription
from twisted_mqtt.interfaces import IClient, ISession


class DirectoryTestCase(BrokerTestCase):
    """
    A broker with a few clients.
    """

    def all(self, listing: Listing[Any], size: int = 7) -> list[Any]:
        """
        All that a listing shows, page by page.
        """
        found: list[Any] = []
        while not listing.exhausted:
            found += self.page(listing, size)
        return found

    def page(self, listing: Listing[Any], size: int = 11) -> list[Any]:
        """
        The next page.
        """
        page = listing.next(size)
        self.clock.pump([0.001] * 50)
        return list(self.successResultOf(page))

    def names(self, listing: Listing[Any]) -> list[str]:
        """
        The client identifiers of what a listing shows.
        """
        return [each.clientID for each in self.all(listing)]

    def subscribers(self, listing: Listing[Any]) -> list[str]:
        """
        The client identifiers of the subscribers of what a listing shows.
        """
        return sorted(each.subscriber.clientID for each in self.all(listing))


class SessionTests(DirectoryTestCase):
    """
    Sessions and their clients.
    """

    def test_all(self) -> None:
        """
        Sessions whose clients are here and those whose are not.
        """
        for number in range(30):
            peer = self.client(f"c{number:02}", sessionExpiry=100)
            if number % 2:
                peer.disconnect()
        names = [f"c{number:02}" for number in range(30)]
        sessions = self.broker.directory.sessions
        self.assertEqual(sorted(self.names(sessions())), names)
        self.assertEqual(sorted(self.names(sessions(lambda session: not session.online))), names[1::2])
        self.assertEqual(sorted(self.broker.clients), names[::2])

    def test_sorted(self) -> None:
        """
        In an order that is asked for.
        """
        for number in (3, 1, 2):
            self.client(f"c{number}")
            self.clock.advance(1)
        sessions = self.broker.directory.sessions
        self.assertEqual(self.names(sessions(key=lambda session: session.createdAt)), ["c3", "c1", "c2"])
        self.assertEqual(self.names(sessions(key=lambda session: session.clientID, reverse=True)), ["c3", "c2", "c1"])

    def test_byUser(self) -> None:
        """
        By a user name, a session that a restart has brought back included: its client is there to be asked.
        """
        self.client("a", username="joe")
        self.client("b", username="jane", sessionExpiry=9).disconnect()
        found = self.all(self.broker.directory.sessions(lambda session: session.username == "jane"))
        self.assertTrue(ISession.providedBy(found[0]))
        self.assertTrue(IClient.providedBy(found[0].info))
        self.assertEqual([session.info.username for session in found], ["jane"])

    def test_figures(self) -> None:
        """
        The figures of a session whose client is away.
        """
        self.begin(max_mqueue_len=2)
        peer = self.client("a", sessionExpiry=9)
        peer.subscribe("t", qos=1)
        peer.disconnect()
        for _ in range(5):
            self.broker.publish(Message("t", b"p", 1))
        figures = self.broker.sessions["a"].stats()
        self.assertEqual((figures["mqueue_len"], figures["max_mqueue"], figures["mqueue_dropped"]), (2, 2, 3))
        self.assertEqual((figures["subscriptions_cnt"], figures["inflight"]), (1, 0))

    def test_whileTheyChange(self) -> None:
        """
        Whatever comes, goes, and comes back: no item is shown twice, and each item that was there all the time is
        shown.
        """
        chance = random.Random(7)
        names = [f"c{number:03}" for number in range(300)]
        peers = {name: self.client(name) for name in names}
        steady = set(names[::3])
        for listing in (
            self.broker.directory.sessions(),
            self.broker.directory.sessions(key=lambda session: session.createdAt),
        ):
            seen: list[str] = []
            while not listing.exhausted:
                seen += [session.clientID for session in self.page(listing)]
                for name in chance.sample(names, 20):
                    if name in peers and name not in steady:
                        peers.pop(name).disconnect()
                    elif name not in steady:
                        peers[name] = self.client(name)
                    else:
                        # It comes again with a new session; somebody of its name was there all the time.
                        peers[name] = self.client(name)
            self.assertEqual(len(seen), len(set(seen)))
            self.assertEqual(steady - set(seen), set())

    def test_endSession(self) -> None:
        """
        A session ends with all that belongs to it, whether its client is here or not.
        """
        here, away = self.client("here", sessionExpiry=9), self.client("away", sessionExpiry=9)
        passing = self.client("passing")
        for peer in (here, away, passing):
            peer.subscribe("t")
        away.disconnect()
        for name in ("here", "away", "passing"):
            self.assertTrue(self.broker.endSession(name), name)
            self.assertFalse(self.broker.endSession(name), name)
        here.expectClosed(0x98)
        passing.expectClosed(0x98)
        self.assertEqual((self.broker.sessions, self.broker.clients), ({}, {}))
        self.assertEqual(self.broker.router.tree.count, 0)

    def test_kick(self) -> None:
        """
        A client is sent away, and its session stays.
        """
        peer = self.client("a", sessionExpiry=9)
        self.assertTrue(self.broker.kick("a", 0x98, "enough"))
        peer.expectClosed(0x98)
        self.assertFalse(self.broker.kick("a", 0x98))
        self.assertEqual(list(self.broker.sessions), ["a"])


class SubscribingForOthersTests(DirectoryTestCase):
    """
    Subscribing and unsubscribing for somebody.
    """

    def subscribe(self, who: Any, topicFilter: str) -> list[int]:
        """
        Subscribe for somebody, with retained messages.
        """
        done: Any = self.broker.subscribeClient(who, Subscribe(0, [SubscriptionRequest(topicFilter, 1)]), trusted=True)
        done.deliverRetained()
        return list(done.reasons)

    def test_connected(self) -> None:
        """
        For a client that is here, by its session or by itself.
        """
        peer = self.client("a")
        self.assertEqual(self.subscribe(self.broker.sessions["a"], "t"), [1])
        self.broker.publish(Message("t", b"p"))
        self.assertEqual(peer.payloads(), [b"p"])
        self.assertEqual(self.broker.unsubscribeClient(self.broker.clients["a"], Unsubscribe(0, ["t"])), [0])
        self.broker.publish(Message("t", b"p"))
        peer.expectNothing()

    def test_away(self) -> None:
        """
        For a session whose client is away: it gets the retained messages and what has come since, in order.
        """
        self.client("a", sessionExpiry=99).disconnect()
        self.broker.publish(Message("t", b"before", 1, True))
        session = self.broker.sessions["a"]
        self.assertEqual(self.subscribe(session, "t"), [1])
        self.broker.publish(Message("t", b"after", 1))
        self.assertEqual(session.queueLength, 2)
        peer = self.client("a", cleanStart=False, sessionExpiry=99)
        found: list[Any] = [packet for packet in peer.receive() if isinstance(packet, Publish)]
        self.assertEqual([(each.payload, each.retain) for each in found], [(b"before", True), (b"after", False)])
        peer.disconnect()
        self.assertEqual(self.broker.unsubscribeClient(session, Unsubscribe(0, ["t", "x"])), [0, 0x11])
        self.assertEqual(self.broker.router.tree.count, 0)

    def test_ended(self) -> None:
        """
        A session that has ended is not subscribed any more.
        """
        self.client("a", sessionExpiry=99).disconnect()
        session = self.broker.sessions["a"]
        self.broker.endSession("a")
        self.assertEqual(self.subscribe(session, "t"), [0x87])
        self.assertEqual(self.broker.router.tree.count, 0)


class SubscriptionTests(DirectoryTestCase):
    """
    Subscriptions and filters.
    """

    def setUp(self) -> None:
        """
        Clients with subscriptions of all kinds.
        """
        super().setUp()
        self.deep = "/".join("a" * 70) + "/+"
        for name, filters in {
            "a": ["t/1", "t/+", "$share/g/t/1", "t/#"],
            "b": ["t/1", "$share/g/t/1", "$share/h/t/1", "+/+"],
            "c": ["$queue/t/1", "#", "/", "/t", self.deep, "$SYS/#"],
        }.items():
            self.client(name).subscribe(*filters)

    def test_all(self) -> None:
        """
        All subscriptions, each once.
        """
        found = self.all(self.broker.directory.subscriptions())
        self.assertEqual(len(found), 14)
        self.assertEqual(len(set(found)), 14)
        some = self.all(self.broker.directory.subscriptions(lambda subscription: subscription.share is not None))
        self.assertEqual(len(some), 4)

    def test_filters(self) -> None:
        """
        All filters, each once, without shares.
        """
        expected = ["#", "$SYS/#", "+/+", "/", "/t", self.deep, "t/#", "t/+", "t/1"]
        found = self.all(self.broker.directory.filters())
        self.assertEqual(sorted(found), sorted(expected))
        self.assertEqual(len(found), self.broker.router.tree.filterCount)
        chosen = self.broker.directory.filters(lambda found: found.startswith("t") and found.endswith("#"))
        self.assertEqual(self.all(chosen), ["t/#"])

    def test_filtersWhileTheyChange(self) -> None:
        """
        Filters that come and go meanwhile: none is shown twice, and each that was there all the time is shown.
        """
        chance = random.Random(3)
        peer = self.client("d")
        steady = [f"x/{number}/{'+' if number % 2 else 'y'}/z" for number in range(200)]
        others = [f"x/{number}/{'#' if number % 2 else 'w'}" for number in range(200)]
        peer.subscribe(*steady, *others)
        listing = self.broker.directory.filters()
        seen: list[str] = []
        while not listing.exhausted:
            seen += self.page(listing)
            for topicFilter in chance.sample(others, 30):
                peer.send(Unsubscribe(1, [topicFilter])).receive()
                if chance.random() < 0.5:
                    peer.subscribe(topicFilter)
        self.assertEqual(len(seen), len(set(seen)))
        self.assertEqual(set(steady) - set(seen), set())

    def test_subscribers(self) -> None:
        """
        The subscribers of one filter, and those of one share of it.
        """
        subscribers = self.broker.directory.subscribers
        self.assertEqual(self.subscribers(subscribers("t/1")), ["a", "a", "b", "b", "b", "c"])
        self.assertEqual(self.subscribers(subscribers("$share/g/t/1")), ["a", "b"])
        self.assertEqual(self.subscribers(subscribers("$share/h/t/1")), ["b"])
        self.assertEqual(self.subscribers(subscribers("$queue/t/1")), ["c"])
        self.assertEqual(self.subscribers(subscribers(self.deep)), ["c"])
        for nobody in ("t", "t/2", "t/1/#", "+", "$share/x/t/1", "x/+"):
            self.assertEqual(self.subscribers(subscribers(nobody)), [], nobody)

    def test_matching(self) -> None:
        """
        All subscriptions that match a topic, each by itself.
        """
        found = self.all(self.broker.directory.matching("t/1"))
        self.assertEqual(len(found), 10)
        self.assertEqual(self.subscribers(self.broker.directory.matching("$SYS/x")), ["c"])
        self.assertEqual(self.subscribers(self.broker.directory.matching("x")), ["c"])


class RetainedTests(DirectoryTestCase):
    """
    Retained messages.
    """

    def topics(self, topicFilter: str) -> list[str]:
        """
        The topics of those that match.
        """
        return sorted(message.topic for message in self.all(self.broker.directory.retained(topicFilter)))

    def test_matching(self) -> None:
        """
        Those that match a filter, as for a subscriber.
        """
        deep = "/".join("a" * 70)
        topics = ["a", "a/b", "a/b/c", "b", "/", "/b", "$SYS/x", "$x", deep]
        for topic in topics:
            self.broker.publish(Message(topic, b"p", 0, True))
        filters = ["#", "a", "a/#", "+/b", "+", "+/+", "$SYS/#", "$SYS/+", "x", "/#", deep, deep[:-1] + "+", "a/+/c"]
        for topicFilter in filters:
            expected = sorted(message.topic for message in self.broker.retained.match(topicFilter))
            self.assertEqual(self.topics(topicFilter), expected, topicFilter)
        self.assertEqual(len(self.topics("#")), 7)

    def test_whileTheyChange(self) -> None:
        """
        Messages that come and go meanwhile: none is shown twice, and each that was there all the time is shown.
        """
        chance = random.Random(5)
        steady = [f"x/{number}/y" for number in range(200)]
        others = [f"x/{number}/z" for number in range(200)]
        for topic in steady + others:
            self.broker.publish(Message(topic, b"p", 0, True))
        listing = self.broker.directory.retained("x/#")
        seen: list[str] = []
        while not listing.exhausted:
            seen += [message.topic for message in self.page(listing)]
            for topic in chance.sample(others, 30):
                self.broker.publish(Message(topic, chance.choice([b"", b"q"]), 0, True))
        self.assertEqual(len(seen), len(set(seen)))
        self.assertEqual(set(steady) - set(seen), set())


class SliceTests(DirectoryTestCase):
    """
    Many things.
    """

    def test_slices(self) -> None:
        """
        Nobody waits for 5 ms, as far as that is our doing, while somebody goes through many things: every turn takes
        less processor time. The whole takes several times that.
        """
        count = 4000
        sessions = ManySessions(self.broker, 4)
        for number in range(count):
            sessions.make(number)
        directory = self.broker.directory
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        whole = 0.0
        for listing, expected in (
            (directory.sessions(lambda session: session.username != ""), count),
            (directory.sessions(key=lambda session: session.clientID), count),
            (directory.subscriptions(), 4 * count),
            (directory.filters(), 4 * count),
            (directory.sessions(lambda session: session.username == "user-7"), count // 100),
        ):
            took, found = self.turns(listing)
            self.assertEqual(found, expected)
            self.assertLess(max(took), 0.005)
            whole += sum(took)
        self.assertGreater(whole, 0.01)

    def turns(self, listing: Listing[Any]) -> tuple[list[float], int]:
        """
        The seconds of processor time that each turn takes until a listing is exhausted, and how much it has shown.
        """
        took: list[float] = []
        found: list[Any] = []
        listing.everything().addCallback(found.extend)
        while not listing.exhausted:
            began = thread_time()
            self.clock.advance(0.0003)
            took.append(thread_time() - began)
        return took, len(found)


class FilterWatchTests(DirectoryTestCase):
    """
    Being told which filters have subscribers.
    """

    def setUp(self) -> None:
        """
        Be told.
        """
        super().setUp()
        self.told: list[tuple[str, str, str | None]] = []
        self.watch = self.broker.watchFilters(
            lambda tree, matching, group: self.told.append(("+", tree + matching, group)),
            lambda tree, matching, group: self.told.append(("-", tree + matching, group)),
        )

    def expect(self, *expected: tuple[str, str, str | None]) -> None:
        """
        So much was told since the last time.
        """
        self.assertEqual(self.told, list(expected))
        self.told.clear()

    def test_firstAndLast(self) -> None:
        """
        The first subscriber and the last are told of, not those between, nor one that subscribes again.
        """
        for topicFilter in ("t/1", "t/+", "t/#", "#", "/".join("a" * 70) + "/+"):
            a, b = self.client("a"), self.client("b")
            a.subscribe(topicFilter)
            self.expect(("+", topicFilter, None))
            a.subscribe(topicFilter, qos=0)
            b.subscribe(topicFilter)
            a.send(Unsubscribe(1, [topicFilter]))
            self.expect()
            b.send(Unsubscribe(1, [topicFilter]))
            self.expect(("-", topicFilter, None))
            a.disconnect()
            b.disconnect()

    def test_shares(self) -> None:
        """
        Each share of a filter is told of by itself, and so are those who do not share.
        """
        a, b = self.client("a"), self.client("b")
        a.subscribe("$share/g/t", "$share/h/t", "t")
        self.expect(("+", "t", "g"), ("+", "t", "h"), ("+", "t", None))
        b.subscribe("$share/g/t")
        a.send(Unsubscribe(1, ["$share/g/t", "$share/h/t", "t"]))
        self.expect(("-", "t", "h"), ("-", "t", None))
        b.disconnect()
        self.expect(("-", "t", "g"))

    def test_sessionEnds(self) -> None:
        """
        A session that ends takes its filters with it; one that waits for its client does not.
        """
        peer = self.client("a", sessionExpiry=5)
        peer.subscribe("t", "u/+")
        self.told.clear()
        peer.disconnect()
        self.expect()
        self.clock.advance(10)
        self.assertEqual(sorted(self.told), [("-", "t", None), ("-", "u/+", None)])

    def test_takeOver(self) -> None:
        """
        A client that takes over its session has its filters all the time; with a clean start it has none until it
        subscribes.
        """
        self.client("a", sessionExpiry=99).subscribe("t")
        self.told.clear()
        self.client("a", cleanStart=False, sessionExpiry=99)
        self.expect()
        peer = self.client("a")
        self.expect(("-", "t", None))
        peer.subscribe("t")
        self.expect(("+", "t", None))

    def test_partsOfTheBroker(self) -> None:
        """
        Subscriptions of parts of the broker count; watches do not.
        """
        session: Any = self.broker.sessions
        self.client("a")
        subscriber = session["a"]
        self.broker.subscribe(subscriber, Subscription(subscriber, "$share/g/x"))
        self.expect(("+", "x", "g"))
        self.broker.unsubscribe(subscriber, "$share/g/x")
        self.expect(("-", "x", "g"))
        self.broker.watch("x", lambda message: None).close()
        self.expect()

    def test_failing(self) -> None:
        """
        Somebody who raises is logged, and the others are told.
        """
        told: list[str] = []

        def fail(topicTree: str, matching: str, group: str | None) -> None:
            raise ValueError("no")

        self.broker.watchFilters(fail, fail)
        other = self.broker.watchFilters(
            lambda tree, matching, group: told.append(matching), lambda tree, matching, group: None
        )
        self.client("a").subscribe("t")
        self.assertEqual(told, ["t"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        other.close()

    def test_close(self) -> None:
        """
        A closed listing is told nothing more, and may be closed again.
        """
        other: list[str] = []
        second = self.broker.watchFilters(
            lambda tree, matching, group: other.append(matching), lambda tree, matching, group: None
        )
        self.watch.close()
        self.watch.close()
        peer = self.client("a")
        peer.subscribe("t")
        self.expect()
        self.assertEqual(other, ["t"])
        second.close()
        peer.subscribe("u")
        self.assertEqual(other, ["t"])
