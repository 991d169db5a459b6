"""
Routes a message to its subscribers: match, then deliver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted_mqtt.core.counters import Counters
from twisted_mqtt.core.effort import DELIVERY, FEW, Effort
from twisted_mqtt.core.entry import Entry
from twisted_mqtt.core.events import Events, Switches
from twisted_mqtt.core.forwarding import Forwarder
from twisted_mqtt.core.journal import Progress
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.subscription import RANDOM, SharedGroup, Subscription
from twisted_mqtt.core.topicmeter import TopicMeter
from twisted_mqtt.core.topics import scoped
from twisted_mqtt.core.tree import FilterEvents, SubscriptionTree

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.sender import Sender


class Router:
    """
    Routes messages to the subscribers of this node, and through L{forwarder} to other nodes.

    @ivar effort: how much it has done.
    @ivar tree: the subscriptions of the default topic tree.
    @ivar trees: those of the other topic trees, by name.
    @ivar forwarder: sends messages to other nodes; L{None} where there are none.
    @ivar strategy: how a member of a shared subscription is chosen.
    @ivar strategies: the same for the messages of some clients, by client identifier and topic tree.
    @ivar random: gives numbers from 0 to below 1.
    @ivar progress: of the store, for those who acknowledge.
    @ivar waiting: connections with replies that wait for the store.
    @ivar watches: who is shown messages without being a subscriber; see L{twisted_mqtt.core.watchqueue}.
    @ivar watched: whether there are any.
    @ivar number: how many messages were routed: the number of the last one.
    @ivar sampleAt: the number of the message of which L{sampled} is told.
    @ivar sampled: called with a message that has been routed, to measure by it what would cost too much for each. It
        says which is the next.
    @ivar released: called when the store has come further, after the replies that waited have gone.
    """

    __slots__ = (
        "effort",
        "tree",
        "watches",
        "watched",
        "trees",
        "forwarder",
        "_extended",
        "counters",
        "switches",
        "events",
        "strategy",
        "strategies",
        "random",
        "progress",
        "waiting",
        "released",
        "_filterEvents",
        "number",
        "_more",
        "sampleAt",
        "sampled",
    )

    def __init__(self, counters: Counters, switches: Switches, events: Events, random: Callable[[], float]) -> None:
        self.effort: Effort = Effort()
        self.tree: SubscriptionTree = SubscriptionTree("", self.effort)
        self.watches: SubscriptionTree = SubscriptionTree("", self.effort)
        self.watched: bool = False
        self.trees: dict[str, SubscriptionTree] = {}
        self.forwarder: Forwarder | None = None
        # Whether there is a forwarder, a watch or a meter: one test for each message.
        self._extended: bool = False
        self.counters: Counters = counters
        self.switches: Switches = switches
        self.events: Events = events
        self.strategy: int = RANDOM
        self.strategies: dict[str, int] = {}
        self.random: Callable[[], float] = random
        self.progress: Progress = Progress()
        self.waiting: list[Sender] = []
        self.released: Callable[[], None] | None = None
        self._filterEvents: FilterEvents | None = None
        self.number: int = 0
        # The matches of all messages, less one for each message: so that a message with one match need not be counted.
        self._more: int = 0
        self.sampleAt: int = 0
        self.sampled: Callable[[Message], None] | None = None

    def route(self, message: Message, local: bool = False) -> int:
        """
        Deliver a message to everybody who subscribed its topic.

        @param local: whether it has come from another node, so that it goes to subscribers of this node alone, and to
            no member of a shared subscription: the node that it was published on has chosen those, see L{routeShared}.

        @return: to how many subscribers; 0 where nobody did.
        """
        number = self.number + 1
        self.number = number
        message.number = number
        if local or self._extended:
            return self._routeFurther(message, local)
        if message.further is not None and message.topicTree:
            tree = self.trees.get(message.topicTree)
            if tree is None:
                self._more -= 1
                self._notDelivered(message)
                return 0
            match = tree.match(message.topic)
        else:
            match = self.tree.match(message.topic)
        subscriptions = match.subscriptions
        for subscription in subscriptions:
            session = subscription.session
            if session is not None:
                session.deliver(message, subscription)
            else:
                subscription.subscriber.deliver(message, subscription)
        delivered = len(subscriptions)
        if match.groups:
            strategy = self._strategyFor(message) if self.strategies else self.strategy
            for group in list(match.groups):
                chosen = group.choose(message, strategy, self.random)
                if chosen is not None:
                    delivered += 1
                    session = chosen.session
                    if session is not None:
                        session.deliver(message, chosen)
                    else:
                        chosen.subscriber.deliver(message, chosen)
        if delivered != 1:
            self._more += delivered - 1
            if delivered == 0:
                self._notDelivered(message)
            elif delivered > FEW:
                self.effort.spent += DELIVERY * delivered
        if number == self.sampleAt:
            self._sample(message)
        return delivered

    @property
    def matched(self) -> int:
        """
        How many subscriptions have been matched by messages, all together.
        """
        return self.number + self._more

    def setWatched(self, watched: bool) -> None:
        """
        Say whether there are watches.
        """
        self.watched = watched
        self._extend()

    def setForwarder(self, forwarder: Forwarder | None) -> None:
        """
        Say who sends messages to other nodes.
        """
        self.forwarder = forwarder
        self._extend()

    def setMeter(self, meter: TopicMeter | None) -> None:
        """
        Say who counts the messages of chosen topics.
        """
        self.switches.meter = meter
        self._extend()

    def _extend(self) -> None:
        self._extended = self.watched or self.forwarder is not None or self.switches.meter is not None

    def _sample(self, message: Message) -> None:
        if self.sampled is not None:
            self.sampled(message)

    def _routeFurther(self, message: Message, local: bool) -> int:
        """
        Route a message that watches or other nodes may want, or that has come from another node.
        """
        tree = self.trees.get(message.topicTree) if message.topicTree else self.tree
        delivered = 0
        self._more -= 1
        number = message.number
        meter = self.switches.meter
        if meter is not None and not (local or message.topicTree or message.system):
            meter.received(message.topic, message.qos)
        groups: list[SharedGroup] = []
        if tree is not None:
            match = tree.match(message.topic)
            for subscription in match.subscriptions:
                session = subscription.session
                if session is not None:
                    session.deliver(message, subscription)
                else:
                    subscription.subscriber.deliver(message, subscription)
            delivered = len(match.subscriptions)
            self._more += delivered
            groups = list(match.groups)
        if local:
            # The node that it was published on has counted it and shown it to watches.
            self.effort.spent += DELIVERY * delivered
            return delivered
        forwarder = self.forwarder
        if forwarder is not None:
            delivered += forwarder.forward(message, groups)
        for group in groups:
            if self._deliverShared(message, group):
                delivered += 1
        if self.watched and not message.topicTree:
            for watch in self.watches.match(message.topic).subscriptions:
                watch.subscriber.deliver(message, watch)
        if delivered == 0:
            self._notDelivered(message)
        else:
            self.effort.spent += DELIVERY * delivered
        if number == self.sampleAt:
            self._sample(message)
        return delivered

    def routeShared(self, message: Message, name: str, matching: str) -> bool:
        """
        Deliver a message of another node, which has chosen this one for it, to a member of a shared subscription.

        @param name: of the share.
        @param matching: its filter.

        @return: whether there was a member.
        """
        tree = self.trees.get(message.topicTree) if message.topicTree else self.tree
        group = None if tree is None else tree.findGroup(matching, name)
        self.number += 1
        self._more -= 1
        message.number = self.number
        return group is not None and self._deliverShared(message, group)

    def _deliverShared(self, message: Message, group: SharedGroup) -> bool:
        chosen = group.choose(message, self._strategyFor(message), self.random)
        if chosen is None:
            return False
        self._more += 1
        chosen.subscriber.deliver(message, chosen)
        return True

    def _strategyFor(self, message: Message) -> int:
        return self.strategies.get(scoped(message.topicTree, message.clientID), self.strategy)

    def _notDelivered(self, message: Message) -> None:
        """
        Nobody has subscribed the topic of a message.
        """
        if message.system:
            return
        self.counters.messages_dropped += 1
        self.counters.messages_dropped_no_subscriber += 1
        meter = self.switches.meter
        if meter is not None and not message.topicTree:
            meter.dropped(message.topic)
        if self.switches.dropped:
            self.events.dropped(None, message, "no_subscribers")

    def subscribe(self, topicTree: str, subscription: Subscription, group: str | None = None) -> bool:
        """
        Add a subscription to a topic tree: L{SubscriptionTree.add}; returns whether it is new.
        """
        tree = self.tree
        if topicTree:
            other = self.trees.get(topicTree)
            tree = self.trees[topicTree] = SubscriptionTree(topicTree, self.effort) if other is None else other
            tree.events = self._filterEvents
        return tree.add(subscription, group)

    def unsubscribe(self, topicTree: str, matching: str, subscriber: object, group: str | None = None) -> bool:
        """
        Remove a subscription from a topic tree: L{SubscriptionTree.remove}; returns whether it was there. A tree goes
        with its last subscription.
        """
        if not topicTree:
            return self.tree.remove(matching, subscriber, group)
        tree = self.trees.get(topicTree)
        if tree is None:
            return False
        found = tree.remove(matching, subscriber, group)
        if tree.count == 0:
            del self.trees[topicTree]
        return found

    def treeOf(self, topicTree: str) -> SubscriptionTree | None:
        """
        The subscriptions of a topic tree, or L{None} where it has none.
        """
        return self.trees.get(topicTree) if topicTree else self.tree

    def tellFilters(self, events: FilterEvents | None) -> None:
        """
        Tell somebody, or nobody any more, which filters of all topic trees have subscribers.
        """
        self._filterEvents = events
        for tree in self.allTrees():
            tree.events = events

    def allTrees(self) -> list[SubscriptionTree]:
        """
        The subscriptions of all topic trees, the default one first.
        """
        return [self.tree, *self.trees.values()]

    def committed(self) -> None:
        """
        The store has come further: send the replies that waited for it.
        """
        waiting = self.waiting
        self.waiting = []
        for connection in waiting:
            if not connection.committed():
                self.waiting.append(connection)
        if self.released is not None:
            self.released()

    def redispatch(self, entries: list[Entry], besides: object) -> None:
        """
        Give what a member of shared subscriptions has left undelivered to other members, in the same order.

        @param besides: the member that left.
        """
        for entry in entries:
            group: SharedGroup | None = entry.share
            if group is None:
                continue
            chosen = group.choose(entry.message, self.strategy, self.random, besides)
            if chosen is None:
                self.counters.messages_dropped += 1
                if self.switches.dropped:
                    self.events.dropped(None, entry.message, "no_subscribers")
            elif chosen.session is not None:
                chosen.session.redeliver(entry, chosen)
            else:
                chosen.subscriber.deliver(entry.message, chosen)
