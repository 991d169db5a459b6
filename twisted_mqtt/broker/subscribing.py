"""
SUBSCRIBE and UNSUBSCRIBE: hooks, access rules, limits, then the session, the tree and the retained messages.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from twisted_mqtt.base.portions import Portions
from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.broker.client import ClientInfo
from twisted_mqtt.core.backlog import Wanted, deliverRetained, forgetRetained, putAside
from twisted_mqtt.core.packets import SubscriptionRequest
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.reasons import (
    NO_SUBSCRIPTION_EXISTED,
    NOT_AUTHORIZED,
    PROTOCOL_ERROR,
    QUOTA_EXCEEDED,
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED,
    SUCCESS,
    TOPIC_FILTER_INVALID,
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED,
    ProtocolError,
)
from twisted_mqtt.core.subscription import Subscription
from twisted_mqtt.core.topics import LOCAL, hasWildcard, splitShare
from twisted_mqtt.hooks.packets import PacketContext, during
from twisted_mqtt.hooks.verdicts import ALLOW, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IReactorTime

    from twisted_mqtt.broker.permissions import Permissions
    from twisted_mqtt.broker.retained import RetainedMessages
    from twisted_mqtt.core.counters import Counters
    from twisted_mqtt.core.packets import Subscribe, Unsubscribe
    from twisted_mqtt.core.router import Router
    from twisted_mqtt.core.session import Session
    from twisted_mqtt.hooks.points import Hooks
    from twisted_mqtt.interfaces import IStore


# Filters of one packet between two looks at the time.
_AT_ONCE: Final = 16


class SubscriptionService:
    """
    Adds and removes the subscriptions of clients.
    """

    __slots__ = ("clock", "counters", "hooks", "permissions", "portions", "report", "retained", "router", "store")

    def __init__(
        self,
        hooks: Hooks,
        counters: Counters,
        permissions: Permissions,
        router: Router,
        retained: RetainedMessages,
        store: IStore,
        clock: IReactorTime,
        report: Callable[[str, str], None],
        portions: Portions,
    ) -> None:
        """
        @param report: is told of the limits that are reached, by their names in
            L{twisted_mqtt.broker.limitreports.LIMITS}, with a sentence for a person.
        """
        self.report = report
        self.hooks = hooks
        self.counters = counters
        self.permissions = permissions
        self.router = router
        self.retained = retained
        self.store = store
        self.clock = clock
        self.portions = portions

    def subscribe(
        self, client: ClientInfo, packet: Subscribe, trusted: bool = False, session: Session | None = None
    ) -> Maybe[Subscribing]:
        """
        Subscribe for a client, as a SUBSCRIBE asks.

        @param trusted: whether the broker itself wants it, so that neither hooks nor access rules are asked.
        @param session: whose subscriptions they are to be, whether the client is here or not; without it they are those
            of the session that the client has as long as it is here.

        @return: a L{Subscribing} that is done, or a Deferred of it. It does not fail.

        @raise ProtocolError: the packet is against the specification; nothing was subscribed.
        """
        return Subscribing(self, client, packet, trusted, session).begin()

    def unsubscribe(self, client: ClientInfo, packet: Unsubscribe, session: Session | None = None) -> Maybe[list[int]]:
        """
        Unsubscribe for a client, as an UNSUBSCRIBE asks.

        @param session: see L{subscribe}.

        @return: a reason code for each filter, or a Deferred of them. It does not fail.

        @raise ProtocolError: the packet is against the specification; nothing was unsubscribed.
        """
        for topicFilter in packet.topicFilters:
            splitShare(topicFilter)
        self.counters.client_unsubscribe += 1
        point = self.hooks.clientUnsubscribe
        if not point.callbacks:
            return self._unsubscribe(packet.topicFilters, client, packet, session)
        properties = packet.properties or Properties()
        context = PacketContext(client, "unsubscribe", properties=packet.properties)
        outcome = during(context, point.fold, client, properties, packet.topicFilters)
        return then(outcome, self._unsubscribe, client, packet, session)

    def remove(self, client: ClientInfo, topicFilter: str, session: Session | None = None) -> int:
        """
        Remove one subscription of a client; returns the reason code.

        @param session: see L{subscribe}.
        """
        if session is None:
            session = client.session
        subscription = None if session is None else session.subscriptions.pop(topicFilter, None)
        if session is None or subscription is None:
            return NO_SUBSCRIPTION_EXISTED
        forgetRetained(session, topicFilter, self.clock.seconds())
        share = subscription.share
        self.router.unsubscribe(
            session.topicTree, subscription.matching, session, None if share is None else share.name
        )
        # The same filter with and without $local/ has one place in the tree.
        plain = topicFilter.removeprefix(LOCAL)
        other = session.subscriptions.get(LOCAL + plain if plain == topicFilter else plain)
        if other is not None and other.share is None:
            self.router.subscribe(session.topicTree, other)
        if session.journal is not None:
            self.store.removeSubscription(session, topicFilter)
        point = self.hooks.sessionUnsubscribed
        if point.callbacks:
            point.run(client, topicFilter, subscription)
        return SUCCESS

    def _unsubscribe(
        self, topicFilters: list[str], client: ClientInfo, packet: Unsubscribe, session: Session | None
    ) -> Maybe[list[int]]:
        return self._unsubscribeSome(None, [], topicFilters, client, packet, session)

    def _unsubscribeSome(
        self,
        _: None,
        reasons: list[int],
        topicFilters: list[str],
        client: ClientInfo,
        packet: Unsubscribe,
        session: Session | None,
    ) -> Maybe[list[int]]:
        until = self.portions.until if reasons else 0.0
        while len(reasons) < len(topicFilters):
            reasons.append(self.remove(client, topicFilters[len(reasons)], session))
            if len(reasons) % _AT_ONCE == 0:
                if until == 0.0:
                    until = self.portions.begin()
                elif perf_counter() >= until:
                    return self.portions.turn().addCallback(
                        self._unsubscribeSome, reasons, topicFilters, client, packet, session
                    )
        # A hook may have taken filters out; the client gets an answer for each that it has sent.
        missing = len(packet.topicFilters) - len(reasons)
        return reasons[: len(packet.topicFilters)] + [SUCCESS] * missing


class Subscribing:
    """
    One SUBSCRIBE.

    @ivar trusted: whether the broker itself wants it: hooks that may change it and access rules are not asked.
    @ivar reasons: a reason code for each filter asked for, in that order.
    @ivar forbidden: why access rules have refused the first of those that they have; 0 where they have not.
    @ivar texts: what they have said to that.
    @ivar pause: for how many seconds nothing more is to be taken from the client.
    """

    def __init__(
        self,
        service: SubscriptionService,
        client: ClientInfo,
        packet: Subscribe,
        trusted: bool = False,
        session: Session | None = None,
    ) -> None:
        self._service = service
        self.client = client
        self.packet = packet
        self.trusted = trusted
        self._ownSession = session
        self.reasons = [NOT_AUTHORIZED] * len(packet.requests)
        self.forbidden = SUCCESS
        self.texts: list[str] = []
        self.pause = 0.0
        self._packet: PacketContext | None = None
        # Those that ask for retained messages.
        self._wanted: list[Wanted] = []

    def begin(self) -> Maybe[Subscribing]:
        """
        Take the first steps.

        @return: itself, or a Deferred of it.

        @raise ProtocolError: the packet is against the specification; nothing was subscribed.
        """
        for request in self.packet.requests:
            group, _ = splitShare(request.topicFilter)
            if group is not None and request.noLocal:  # [MQTT-3.8.3-4]
                raise ProtocolError(PROTOCOL_ERROR, "a shared subscription has No Local")
        if self.trusted:
            return self._next(0, self.packet.requests)
        self._service.counters.client_subscribe += 1
        point = self._service.hooks.clientSubscribe
        if not point.callbacks:
            return self._next(0, self.packet.requests)
        properties = self.packet.properties or Properties()
        outcome = during(self._context(), point.fold, self.client, properties, self.packet.requests)
        return then(outcome, self._rewritten)

    def deliverRetained(self) -> None:
        """
        Send the retained messages that the new subscriptions ask for; after SUBACK, which is the usual order.
        """
        service, session = self._service, self._session()
        if session is None:
            return
        wanted, self._wanted = self._wanted, []
        if wanted:
            deliverRetained(session, service.retained, wanted, service.clock.seconds())
        if self.client.session is None:
            putAside(session)

    def _session(self) -> Session | None:
        """
        The session to subscribe for, if it is still there.
        """
        session = self._ownSession
        if session is None:
            return self.client.session
        return None if session.shut else session

    def _rewritten(self, requests: list[SubscriptionRequest]) -> Maybe[Subscribing]:
        """
        A hook may have changed the requests. A request that it took out is refused; the answer is still one reason for
        each that the client has sent.
        """
        if len(requests) == len(self.packet.requests):
            return self._next(0, requests)
        left = {id(request) for request in requests}
        return self._next(0, [asked if id(asked) in left else None for asked in self.packet.requests])

    def _next(
        self, index: int, requests: Sequence[SubscriptionRequest | None], until: float = 0.0
    ) -> Maybe[Subscribing]:
        """
        Ask the access rules about one filter after the other.

        @param until: until when, as C{perf_counter} tells it; 0 where it has just begun.
        """
        most = 0 if self.trusted else int(self.client.options.max_subscribe_filters)
        while index < len(requests):
            request = requests[index]
            if most and index >= most:
                self._service.report(
                    "filters", f"{self.client} has {len(requests)} topic filters in a SUBSCRIBE; {most} is the most"
                )
                self.reasons[index:] = [QUOTA_EXCEEDED] * (len(self.reasons) - index)
                return self
            if request is not None:
                verdict = self._refusal(request)
                if verdict == SUCCESS:
                    allowed = ALLOW if self.trusted else self._authorize(request)
                    if isinstance(allowed, Deferred):
                        return allowed.addCallback(self._goOn, index, requests)
                    verdict = self._take(request, allowed)
                self.reasons[index] = verdict
            index += 1
            if index % _AT_ONCE == 0:
                if until == 0.0:
                    until = self._service.portions.begin()
                elif perf_counter() >= until and index < len(requests):
                    return self._service.portions.turn().addCallback(self._turned, index, requests)
        return self

    def _authorize(self, request: SubscriptionRequest) -> Maybe[Verdict]:
        service = self._service
        context: PacketContext | None = None
        if service.hooks.clientCheckAcl.callbacks:
            context = self._context()
            context.request = request
            context.topic = request.topicFilter
            context.qos = request.qos
        return service.permissions.authorize(self.client, "subscribe", _plain(request.topicFilter), context)

    def _context(self) -> PacketContext:
        if self._packet is None:
            self._packet = PacketContext(self.client, "subscribe", properties=self.packet.properties)
        return self._packet

    def _turned(self, _: None, index: int, requests: Sequence[SubscriptionRequest | None]) -> Maybe[Subscribing]:
        return self._next(index, requests, self._service.portions.until)

    def _goOn(self, allowed: Verdict, index: int, requests: Sequence[SubscriptionRequest | None]) -> Maybe[Subscribing]:
        request = requests[index]
        if request is not None:
            self.reasons[index] = self._take(request, allowed)
        return self._next(index + 1, requests)

    def _refusal(self, request: SubscriptionRequest) -> int:
        """
        Why a filter can't be subscribed whatever the access rules say; 0 if there is no such reason.
        """
        limits = self.client.limits
        session = self._session()
        if request.qos > 2:  # how a hook says no
            return request.qos
        try:
            group, matching = splitShare(request.topicFilter)
        except ProtocolError:  # a hook has made it so
            return TOPIC_FILTER_INVALID
        if group is not None and not limits.sharedAvailable:
            return SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
        if hasWildcard(matching) and not limits.wildcardAvailable:
            return WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED
        if 0 < limits.maxTopicLevels <= matching.count("/"):
            return TOPIC_FILTER_INVALID
        if self._service.router.progress.broken and session is not None and session.journal is not None:
            former = session.subscriptions.get(request.topicFilter)
            # One that it has already needs no room: clients subscribe again whenever they connect.
            if former is None or not _isSame(former, self._made(session, request)):
                return QUOTA_EXCEEDED
        if (
            limits.maxSubscriptions
            and session is not None
            and len(session.subscriptions) >= limits.maxSubscriptions
            and request.topicFilter not in session.subscriptions
        ):
            self._service.report("subscriptions", f"{self.client} has {limits.maxSubscriptions} subscriptions")
            return QUOTA_EXCEEDED
        return SUCCESS

    def _take(self, request: SubscriptionRequest, verdict: Verdict) -> int:
        service, client = self._service, self.client
        session = self._session()
        self.pause = max(self.pause, verdict.pause)
        if session is None:
            return NOT_AUTHORIZED
        if not verdict.allowed:
            service.counters.packets_subscribe_auth_error += 1
            self.forbidden = self.forbidden or verdict.subscribeReason
            if verdict.text:
                self.texts.append(verdict.text)
            return verdict.subscribeReason
        group, _ = splitShare(request.topicFilter)
        subscription = self._made(session, request)
        new = service.router.subscribe(session.topicTree, subscription, group)
        session.subscriptions[request.topicFilter] = subscription
        # A store that takes nothing new has it already.
        if session.journal is not None and not service.router.progress.broken:
            service.store.saveSubscription(session, subscription)
        handling = request.retainHandling
        # [MQTT-3.3.1-9], [MQTT-3.3.1-10], [MQTT-3.3.1-11]; not for shared ones: 4.8.2
        if group is None and (handling == 0 or (handling == 1 and new)):
            self._wanted.append(Wanted(subscription, service.router.number))
        point = service.hooks.sessionSubscribed
        if point.callbacks:
            # One that the broker itself has made belongs to no packet.
            packet = None if self.trusted else self._context()
            during(packet, point.run, client, request.topicFilter, subscription)
        return subscription.qos

    def _made(self, session: Session, request: SubscriptionRequest) -> Subscription:
        client, properties = self.client, self.packet.properties
        return Subscription(
            session,
            request.topicFilter,
            min(request.qos, client.limits.maxQoS),
            request.noLocal,
            request.retainAsPublished,
            request.retainHandling,
            None if properties is None else properties.subscriptionIDs,
            client.mountpoint + splitShare(request.topicFilter)[1],
            session,
        )


def _isSame(one: Subscription, other: Subscription) -> bool:
    """
    Whether a store has the same to keep of two subscriptions of a session to one filter.
    """
    return (
        one.qos == other.qos
        and one.noLocal == other.noLocal
        and one.retainAsPublished == other.retainAsPublished
        and one.retainHandling == other.retainHandling
        and (one.identifiers or None) == (other.identifiers or None)
    )


def _plain(topicFilter: str) -> str:
    """
    The filter that access rules are asked about: without its share.
    """
    return splitShare(topicFilter)[1]
