"""
The subscriptions of a client, and the delivery of the broker's messages to it.

The client's session has each topic filter once. A client may subscribe a filter under several ids: each id gets its own
MESSAGE.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateways.stomp.deliveries import AUTO, Settlement, SharedSubscription, StompDelivery, StompSubscription
from gateways.stomp.frame import V12, StompError
from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.core.reasons import nameOf

if TYPE_CHECKING:
    from gateways.stomp.acknowledging import Acknowledging
    from gateways.stomp.gateway import StompGateway
    from gateways.stomp.session import StompSession
    from twisted_mqtt.broker.subscribing import Subscribing
    from twisted_mqtt.core.message import Message

    # The items that a session sends: see twisted_mqtt.core.link.LinkReceiver.
    Held = tuple[Message, int, int, bool, bool, list[int]]


class Receiving:
    """
    The subscriptions and deliveries of one client.
    """

    __slots__ = (
        "_session",
        "_gateway",
        "_acknowledging",
        "_deliveries",
        "_version",
        "_writer",
        "_sources",
        "_filters",
        "_subscriptions",
        "_asleep",
        "_held",
        "_last",
    )

    def __init__(self, session: StompSession, gateway: StompGateway, acknowledging: Acknowledging) -> None:
        self._session = session
        self._gateway = gateway
        self._acknowledging = acknowledging
        acknowledging.receiving = self
        self._deliveries = acknowledging.deliveries
        self._writer = gateway.writer
        self._version = 0
        # By subscription identifier, and by topic filter.
        self._sources: dict[int, SharedSubscription] = {}
        self._filters: dict[str, SharedSubscription] = {}
        self._subscriptions: dict[str, StompSubscription] = {}
        # Of a session that was resumed: filters that the client has not subscribed again, by identifier, and what has
        # come for them.
        self._asleep: dict[int, str] = {}
        self._held: list[Held] = []
        self._last = 0

    def opened(self, version: int, resumed: bool) -> None:
        """
        The client is in.

        @param resumed: whether its session was there already.
        """
        self._version = version
        session = self._session.client.session
        if not resumed or session is None:
            return
        for topicFilter, subscription in session.subscriptions.items():
            for number in subscription.identifiers or ():
                self._asleep[number] = topicFilter
        self._last = max(self._asleep, default=0)

    # SUBSCRIBE, UNSUBSCRIBE

    def subscribe(
        self, name: str | None, destination: str, mode: int, qos: int, version: int
    ) -> Maybe[Callable[[], None]]:
        """
        SUBSCRIBE.

        @param name: its id; L{None} in 1.0, if it has none.

        @return: what to call when the client has been told that it is subscribed, or a Deferred of it; both may fail
            with L{StompError}.
        """
        if (name or destination) in self._subscriptions:
            raise StompError("already subscribed", f"there is a subscription {name or destination!r}")
        most = self._gateway.settings.max_subscriptions
        if len(self._subscriptions) >= most:
            raise StompError("too many subscriptions", f"a client may have {most}")
        topicFilter, prefix = self._gateway.destinations.filterOf(destination)
        source = self._filters.get(topicFilter)
        number, known = self._numberOf(topicFilter)
        if source is not None:
            number, qos = source.number, max(qos, source.qos)
        client = self._session.client
        # The client has seen the messages that were retained before it left.
        outcome = client.subscribe(topicFilter, qos, retainHandling=1 if known else 0, identifier=number)
        source = source or SharedSubscription(topicFilter, number, qos)
        subscription = StompSubscription(name or destination, mode, prefix, source, version, name is not None)
        return then(outcome, self._subscribed, subscription, qos)

    def _numberOf(self, topicFilter: str) -> tuple[int, bool]:
        """
        The subscription identifier for a filter, and whether the session has known it from before.
        """
        for number, asleep in self._asleep.items():
            if asleep == topicFilter:
                return number, True
        self._last += 1
        return self._last, False

    def _subscribed(self, subscribing: Subscribing, subscription: StompSubscription, qos: int) -> Callable[[], None]:
        reason = subscribing.reasons[0]
        source = subscription.source
        if reason >= 0x80:
            raise StompError(nameOf(reason), f"not subscribed to {source.topicFilter[:200]!r}")
        source.qos = qos
        source.subscriptions.append(subscription)
        self._sources[source.number] = source
        self._filters[source.topicFilter] = source
        self._subscriptions[subscription.name] = subscription
        self._asleep.pop(source.number, None)

        def show() -> None:
            self._session.client.sendRetained(subscribing)
            self._release()

        return show

    def unsubscribe(self, name: str) -> Maybe[object]:
        """
        UNSUBSCRIBE. The client may still acknowledge messages sent for the subscription.

        @return: L{None}, or a Deferred.

        @raise StompError: there is no such subscription.
        """
        subscription = self._subscriptions.pop(name, None)
        if subscription is None:
            raise StompError("no such subscription", f"there is none with id {name[:80]!r}")
        subscription.ended = True
        source = subscription.source
        source.subscriptions.remove(subscription)
        if source.subscriptions:
            return None
        del self._sources[source.number], self._filters[source.topicFilter]
        return self._session.client.unsubscribe(source.topicFilter)

    # Messages

    def receive(
        self, message: Message, qos: int, packetID: int, retain: bool, dup: bool, identifiers: list[int] | None
    ) -> None:
        """
        See L{twisted_mqtt.core.link.LinkReceiver}.
        """
        identifiers = identifiers or []
        if len(identifiers) == 1:
            source = self._sources.get(identifiers[0])
            subscriptions = [] if source is None else source.subscriptions
            if retain and len(subscriptions) > 1:
                # The older subscriptions have had it already.
                subscriptions = subscriptions[-1:]
        else:
            found = [self._sources[number] for number in identifiers if number in self._sources]
            subscriptions = [subscription for source in found for subscription in source.subscriptions]
        if not subscriptions:
            self._nobodys((message, qos, packetID, retain, dup, identifiers))
            return
        version = self._version
        settlement: Settlement | None = None
        headers = message.headers
        refusals = 0 if headers is None else int(str(headers.get("refusals", 0)))
        for subscription in subscriptions:
            if subscription.mode == AUTO:
                tail = self._writer.tail(message, version, subscription.prefix, retain)
                mark = b"redelivered:true\n" if dup or refusals else b""
                self._session.write(b"%b%d\n%b%b" % (subscription.head, self._deliveries.next(), mark, tail))
            else:
                if settlement is None:
                    settlement = Settlement(packetID, 0)
                settlement.waiting += 1
                self._send(self._deliveries.add(message, retain, subscription, settlement, refusals), dup)
        if settlement is None and qos:
            self._acknowledging.sent(packetID)

    def sendAgain(self, delivery: StompDelivery, refusals: int) -> None:
        """
        Send a message that the client has refused.
        """
        subscription, settlement = delivery.subscription, delivery.settlement
        self._send(self._deliveries.add(delivery.message, delivery.retain, subscription, settlement, refusals), True)

    def _send(self, delivery: StompDelivery, again: bool) -> None:
        subscription, number = delivery.subscription, delivery.number
        tail = self._writer.tail(delivery.message, self._version, subscription.prefix, delivery.retain)
        mark = b"redelivered:true\n" if again or delivery.refusals else b""
        if self._version == V12:
            self._session.write(b"%b%d\nack:%d\n%b%b" % (subscription.head, number, number, mark, tail))
        else:
            self._session.write(b"%b%d\n%b%b" % (subscription.head, number, mark, tail))

    def _nobodys(self, held: Held) -> None:
        """
        A message for which there is no subscription: one that came back with the session waits until its client
        subscribes again; any other was unsubscribed just now.
        """
        qos, packetID, identifiers = held[1], held[2], held[5]
        waits = any(number in self._asleep for number in identifiers)
        # Those of QoS 1 are as many as may be unacknowledged.
        if waits and (qos or len(self._held) < self._gateway.settings.max_unacknowledged):
            self._held.append(held)
        elif qos:
            self._acknowledging.sent(packetID)

    def _release(self) -> None:
        """
        Send what has waited for a subscription.
        """
        held, self._held = self._held, []
        for each in held:
            self.receive(*each)
