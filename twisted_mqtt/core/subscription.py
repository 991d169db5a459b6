"""
Subscriptions, merged subscriptions, and the groups of shared subscriptions.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, Protocol

from twisted_mqtt.core.message import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.session import Session

RANDOM: Final = 0
ROUND_ROBIN: Final = 1
STICKY: Final = 2
HASH: Final = 3

# By configured name; the policies of VerneMQ choose at random among the members of this node, online ones first.
STRATEGIES: Final[dict[str, int]] = {
    "random": RANDOM,
    "round_robin": ROUND_ROBIN,
    "sticky": STICKY,
    "hash": HASH,
    "prefer_local": RANDOM,
    "local_only": RANDOM,
}


class Subscriber(Protocol):
    """
    Receives messages: a session, or a client of a gateway.

    @ivar clientID: its identifier in the one space of client identifiers.
    @ivar online: whether a delivery goes out at once rather than into a queue.
    """

    @property
    def clientID(self) -> str:
        """
        The client identifier.
        """

    @property
    def online(self) -> bool:
        """
        Whether somebody is there to receive.
        """

    def deliver(self, message: Message, subscription: Subscription) -> None:
        """
        Take a message. Returns nothing, never waits, never raises, never calls the router.
        """


class Subscription:
    """
    One subscriber's interest in a filter.

    @ivar topicFilter: as the subscriber named it, C{$share/...} and all, mount point not included.
    @ivar matching: what topics are matched with: mount point included, share not.
    @ivar identifiers: subscription identifiers, or L{None}.
    @ivar share: the group it belongs to, or L{None}.
    @ivar session: the subscriber, where it is an MQTT session.
    @ivar plain: whether it asks for nothing that sets its deliveries apart from others: then they share bytes.
    @ivar local: what holds instead for messages of the subscriber itself, where overlapping subscriptions with
        and without No Local were merged.
    """

    __slots__ = (
        "subscriber",
        "session",
        "topicFilter",
        "matching",
        "qos",
        "noLocal",
        "retainAsPublished",
        "retainHandling",
        "identifiers",
        "share",
        "plain",
        "local",
    )

    def __init__(
        self,
        subscriber: Subscriber,
        topicFilter: str,
        qos: int = 0,
        noLocal: bool = False,
        retainAsPublished: bool = False,
        retainHandling: int = 0,
        identifiers: list[int] | None = None,
        matching: str | None = None,
        session: Session | None = None,
    ) -> None:
        self.subscriber: Subscriber = subscriber
        self.session: Session | None = session
        self.topicFilter: str = topicFilter
        self.matching: str = topicFilter if matching is None else matching
        self.qos: int = qos
        self.noLocal: bool = noLocal
        self.retainAsPublished: bool = retainAsPublished
        self.retainHandling: int = retainHandling
        self.identifiers: list[int] | None = identifiers
        self.share: SharedGroup | None = None
        self.plain: bool = identifiers is None and not retainAsPublished and not noLocal
        self.local: Subscription | None = None

    def __repr__(self) -> str:
        return f"<Subscription {self.topicFilter!r} qos={self.qos}>"


def merge(subscriptions: list[Subscription]) -> Subscription:
    """
    One subscription that stands for several overlapping ones of a subscriber ([MQTT-3.3.4-2] to [MQTT-3.3.4-4]): a
    message goes out once, at the highest QoS, with the identifiers of all.
    """
    first = subscriptions[0]
    if len(subscriptions) == 1:
        return first
    identifiers: list[int] = []
    open_ = [subscription for subscription in subscriptions if not subscription.noLocal]
    merged = Subscription(first.subscriber, first.topicFilter, matching=first.matching, session=first.session)
    for subscription in subscriptions:
        merged.qos = max(merged.qos, subscription.qos)
        merged.retainAsPublished = merged.retainAsPublished or subscription.retainAsPublished
        if subscription.identifiers is not None:
            identifiers.extend(subscription.identifiers)
    merged.identifiers = identifiers or None
    merged.noLocal = len(open_) < len(subscriptions)
    if merged.noLocal and open_:
        merged.local = merge(open_)
    merged.plain = merged.identifiers is None and not merged.retainAsPublished and not merged.noLocal
    return merged


class SharedGroup:
    """
    The members of one shared subscription: a name and a filter.

    @ivar name: of the share.
    @ivar members: by subscriber, in the order of subscribing.
    """

    __slots__ = ("name", "matching", "members", "_order", "_position", "_last")

    def __init__(self, name: str, matching: str) -> None:
        self.name: str = name
        self.matching: str = matching
        self.members: dict[object, Subscription] = {}
        self._order: list[Subscription] | None = None
        self._position: int = 0
        self._last: Subscription | None = None

    def add(self, subscription: Subscription) -> None:
        """
        Let a subscriber join, or change how it takes part.
        """
        self.members[subscription.subscriber] = subscription
        self._order = None
        if self._last is not None and self._last.subscriber is subscription.subscriber:
            self._last = subscription

    def remove(self, subscriber: object) -> None:
        """
        Let a subscriber go; one that is not a member is no error.
        """
        self.members.pop(subscriber, None)
        self._order = None
        if self._last is not None and self._last.subscriber is subscriber:
            self._last = None

    def hasOnline(self) -> bool:
        """
        Whether any member is there to receive.
        """
        for member in self.members.values():
            if member.subscriber.online:
                return True
        return False

    def choose(
        self, message: Message, strategy: int, random: Callable[[], float], besides: object = None
    ) -> Subscription | None:
        """
        Choose who gets a message: by the strategy among the members that are online, else among all.

        @param random: gives numbers from 0 to below 1.
        @param besides: a subscriber that must not be chosen.

        @return: L{None} where there is nobody to choose.
        """
        order = self._order
        if order is None:
            order = self._order = list(self.members.values())
        count = len(order)
        if count == 0:
            return None
        if strategy == STICKY:
            last = self._last
            if last is not None and last.subscriber is not besides and last.subscriber.online:
                return last
        chosen = order[self._index(message, strategy, random, count)]
        if chosen.subscriber is besides or not chosen.subscriber.online:
            chosen_ = self._chooseAgain(order, message, strategy, random, besides)
            if chosen_ is None:
                return None
            chosen = chosen_
        self._last = chosen
        return chosen

    def _index(self, message: Message, strategy: int, random: Callable[[], float], count: int) -> int:
        if strategy == ROUND_ROBIN:
            position = self._position
            self._position = position + 1
            return position % count
        if strategy == HASH:
            return zlib.crc32(message.clientID.encode("utf-8")) % count
        return int(random() * count)

    def _chooseAgain(
        self,
        order: list[Subscription],
        message: Message,
        strategy: int,
        random: Callable[[], float],
        besides: object,
    ) -> Subscription | None:
        # One whose session has ended may still stand here.
        left = [
            member
            for member in order
            if member.subscriber is not besides and (member.session is None or not member.session.shut)
        ]
        online = [member for member in left if member.subscriber.online]
        some = online or left
        if not some:
            return None
        if strategy == ROUND_ROBIN:
            # The turn goes on from where it stood, so that the others still share evenly.
            start = (self._position - 1) % len(order)
            for step in range(len(order)):
                member = order[(start + step) % len(order)]
                if member in some:
                    self._position = start + step + 1
                    return member
        return some[self._index(message, strategy, random, len(some))]
