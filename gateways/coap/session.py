"""
A CoAP client as the broker sees it: it connects with its first request, is disconnected when it has been silent for too
long, and may observe topics. This module knows no sockets: it sends through its endpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

from gateways.coap.codes import CONTENT, SERVICE_UNAVAILABLE
from gateways.coap.message import CoAPMessage
from gateways.coap.options import CONTENT_FORMAT, MAX_AGE, OBSERVE, OCTET_STREAM, Option, uintOption
from gateways.coap.roles import ACKNOWLEDGED, DROPPED, Address
from gateways.implements import GatewayClient
from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.core.reasons import (
    KEEP_ALIVE_TIMEOUT,
    NORMAL_DISCONNECTION,
    QUOTA_EXCEEDED,
    SESSION_TAKEN_OVER,
    SUCCESS,
)

if TYPE_CHECKING:
    from gateways.coap.gateway import CoAPGateway, Endpoint
    from twisted_mqtt.broker.admission import Admission
    from twisted_mqtt.broker.subscribing import Subscribing
    from twisted_mqtt.core.message import Message

_log = Logger()

# The states of a client, in order.
CONNECTING: Final = 0
OPEN: Final = 1
OVER: Final = 2

_MOST_WAITING: Final = 100
# So often may a client observe the same, by different tokens; then the oldest observation ends.
_MOST_ALIKE: Final = 16
# How often an observer is asked whether it still wants to be told, where nothing else would ask (RFC 7641 4.5).
CHECK_INTERVAL: Final = 60.0

FormatOf = Callable[["Message"], int]


class Observer:
    """
    A topic filter that a client observes: a GET with a token, answered again and again.

    @ivar request: what was asked.
    @ivar topicFilter: what it asked for.
    @ivar formatOf: says in which content format a message goes out.
    @ivar emptyFormat: the content format of the answer where there is no message.
    @ivar check: after how many seconds a notification has to be confirmable.
    """

    __slots__ = ("request", "topicFilter", "formatOf", "emptyFormat", "check", "_number")

    def __init__(
        self,
        request: CoAPMessage,
        topicFilter: str,
        formatOf: FormatOf,
        emptyFormat: int = OCTET_STREAM,
        check: float = CHECK_INTERVAL,
    ) -> None:
        self.request = request
        self.topicFilter = topicFilter
        self.formatOf = formatOf
        self.emptyFormat = emptyFormat
        self.check = check
        self._number = 1

    def follow(self, before: Observer) -> None:
        """
        Take the place of another one: the numbers go on.
        """
        self._number = before._number

    def option(self) -> Option:
        """
        The Observe option of the next notification: a number that grows (RFC 7641 3.4).
        """
        self._number = (self._number + 1) & 0xFFFFFF
        return uintOption(OBSERVE, self._number)


class _ObservedFilter:
    """
    A subscription of a client, for one observation or for several.
    """

    __slots__ = ("identifier", "observations")

    def __init__(self, identifier: int) -> None:
        self.identifier = identifier
        self.observations: dict[bytes, Observer] = {}


class _PendingMessage:
    """
    A message that wants an acknowledgement.

    @ivar left: how many of its notifications have not ended.
    """

    __slots__ = ("packetID", "left")

    def __init__(self, packetID: int, left: int) -> None:
        self.packetID = packetID
        self.left = left


class _Notification:
    """
    Hears of how one of them has ended.
    """

    __slots__ = ("_client", "_token", "_delivery")

    def __init__(self, client: CoAPClient, token: bytes, delivery: _PendingMessage | None) -> None:
        self._client = client
        self._token = token
        self._delivery = delivery

    def ended(self, how: int, now: float) -> None:
        """
        See L{Exchanges.send<gateways.coap.exchange.Exchanges.send>}.
        """
        self._client.notified(self._token, how, self._delivery, now)


class CoAPClient:
    """
    One client.

    @ivar address: where it is.
    @ivar key: what the gateway knows it by.
    @ivar state: what has become of it.
    @ivar client: its place in the broker.
    @ivar bucket: the wheel's.
    """

    __slots__ = (
        "address",
        "key",
        "state",
        "client",
        "bucket",
        "_gateway",
        "_endpoint",
        "_username",
        "_password",
        "_lastSeen",
        "_reason",
        "_waiting",
        "_observations",
        "_subscriptions",
        "_byIdentifier",
        "_identifiers",
        "_confirmedAt",
        "_delivering",
    )

    def __init__(
        self,
        gateway: CoAPGateway,
        endpoint: Endpoint,
        address: Address,
        clientID: str,
        username: str | None,
        password: bytes | None,
        now: float,
    ) -> None:
        self._gateway = gateway
        self._endpoint = endpoint
        self.address = address
        self.key = (address, clientID)
        self.state = CONNECTING
        self.bucket = 0
        self._username = username
        self._password = password
        self._lastSeen = now
        self._reason = SESSION_TAKEN_OVER
        self._waiting: list[Callable[[int], None]] = []
        self._observations: dict[bytes, Observer] = {}
        self._subscriptions: dict[str, _ObservedFilter] = {}
        self._byIdentifier: dict[int, _ObservedFilter] = {}
        self._identifiers = 0
        self._confirmedAt = 0.0
        self._delivering = False
        self.client = GatewayClient(
            gateway.broker, endpoint.profile, self, "coap", address[0], address[1], endpoint.port
        )
        identity = endpoint.identityOf(address)
        if identity is not None:
            self.client.info.identify(identity, True)

    # Coming and going

    def connect(self) -> None:
        """
        Ask the broker to let it in.
        """
        admission = self.client.connect(
            self.key[1],
            self._username,
            self._password,
            keepAlive=min(65535, int(self._gateway.settings.keepalive)),
            protoName="CoAP",
            protoVersion=1,
        )
        then(admission, self._connected)

    def _connected(self, admission: Admission) -> None:
        reason: int = admission.reason
        if self.state == OVER:
            if reason == SUCCESS and self.client.open:
                self.client.lost(NORMAL_DISCONNECTION)
            return
        if reason == SUCCESS:
            self.state = OPEN
            self._gateway.broker.wheel.add(self, self._lastSeen + self._gateway.settings.keepalive)
        else:
            self.state = OVER
            self._gateway.remove(self)
        self._reason = reason
        waiting, self._waiting = self._waiting, []
        if reason == SUCCESS:
            self.client.begin()
        for goOn in waiting:
            goOn(reason)

    def isSame(self, username: str | None, password: bytes | None) -> bool:
        """
        Whether these are its own credentials.
        """
        if username != self._username or (password is None) != (self._password is None):
            return False
        return password is None or self._password is None or compare_digest(password, self._password)

    def whenIn(self, goOn: Callable[[int], None]) -> bool:
        """
        Call C{goOn} with the reason code with which it was let in or not.

        @return: whether it will be: not where too many wait already.
        """
        if self.state != CONNECTING:
            goOn(self._reason)
        elif len(self._waiting) >= _MOST_WAITING:
            return False
        else:
            self._waiting.append(goOn)
        return True

    def touch(self, now: float) -> None:
        """
        It has said something.
        """
        self._lastSeen = now

    def due(self, now: float) -> float:
        """
        The wheel asks: has it been silent for too long?
        """
        deadline = self._lastSeen + self._gateway.settings.keepalive
        if self.state != OPEN or deadline > now:
            return deadline if self.state == OPEN else 0.0
        self.end(KEEP_ALIVE_TIMEOUT)
        return 0.0

    def end(self, reason: int | str, tell: bool = True) -> None:
        """
        It is gone, or has to go.

        @param tell: whether its observations are ended by a last word.
        """
        if self.state == OVER:
            return
        wasOpen = self.state == OPEN
        self._forget(SERVICE_UNAVAILABLE if tell else None)
        if wasOpen:
            self.client.lost(reason)

    def sentAway(self, reason: int, text: str) -> None:
        """
        See L{GatewaySession<gateways.client.GatewaySession>}.
        """
        if self.state != OVER:
            _log.debug("{client} is disconnected: {text}", client=self.key[1], text=text or reason)
            # A client at another address with the same name is the same device at best; it hears nothing at the old
            # one.
            self._forget(None if reason == SESSION_TAKEN_OVER else SERVICE_UNAVAILABLE)

    def _forget(self, code: int | None) -> None:
        self.state = OVER
        self._gateway.broker.wheel.remove(self)
        self._gateway.remove(self)
        if code is not None:
            for observation in self._observations.values():
                self._lastWord(observation, code)
        for topicFilter in self._subscriptions:
            self._gateway.observedNoMore(self, topicFilter)
        self._observations.clear()
        self._subscriptions.clear()
        self._byIdentifier.clear()
        waiting, self._waiting = self._waiting, []
        for goOn in waiting:
            goOn(SESSION_TAKEN_OVER)

    # Observing

    @property
    def observations(self) -> int:
        """
        How many there are.
        """
        return len(self._observations)

    def observe(self, observation: Observer) -> Maybe[tuple[int, Callable[[], None]]]:
        """
        Begin an observation, or go on with it where there is one of this token and topic.

        @return: a pair of a reason code and what is to be called when the client has been told, or a Deferred of it.

        @raise ProtocolError: the filter is malformed.
        """
        token = observation.request.token
        before = self._observations.get(token)
        if before is None and len(self._observations) >= self._gateway.settings.max_observations:
            return QUOTA_EXCEEDED, _nothing
        subscription = self._subscriptions.get(observation.topicFilter)
        if subscription is not None:
            if before is not None:
                observation.follow(before)
            self._add(token, observation, subscription)
            return SUCCESS, _nothing
        self._identifiers += 1
        subscription = _ObservedFilter(self._identifiers)
        subscribing = self.client.subscribe(observation.topicFilter, 1, identifier=subscription.identifier)
        return then(subscribing, self._subscribed, token, observation, subscription)

    def _subscribed(
        self, subscribing: Subscribing, token: bytes, observation: Observer, subscription: _ObservedFilter
    ) -> tuple[int, Callable[[], None]]:
        reason: int = subscribing.reasons[0]
        if reason >= 0x80:
            return reason, _nothing
        if self.state != OPEN:
            return SESSION_TAKEN_OVER, _nothing
        self._subscriptions[observation.topicFilter] = subscription
        self._gateway.observing(self, observation.topicFilter)
        self._byIdentifier[subscription.identifier] = subscription
        self._add(token, observation, subscription)
        return SUCCESS, lambda: self.client.sendRetained(subscribing)

    def _add(self, token: bytes, observation: Observer, subscription: _ObservedFilter) -> None:
        before = self._observations.get(token)
        self._observations[token] = observation
        others = subscription.observations
        others[token] = observation
        if len(others) > _MOST_ALIKE:
            # Of a client that has forgotten them, most likely: each message would go there once for each.
            self.forgetObservation(next(iter(others)))
        if before is not None and before.topicFilter != observation.topicFilter:
            # The token is used for something else now.
            self._leave(token, before)

    def forgetObservation(self, token: bytes) -> bool:
        """
        End the observation of this token; returns whether there was one.
        """
        observation = self._observations.pop(token, None)
        if observation is None:
            return False
        self._leave(token, observation)
        return True

    def forgetTopic(self, topicFilter: str, code: int | None = None) -> None:
        """
        End all observations of a topic.

        @param code: to tell the client why; L{None} where it has asked for it.
        """
        subscription = self._subscriptions.get(topicFilter)
        for token, observation in list(subscription.observations.items()) if subscription is not None else ():
            if code is not None:
                self._lastWord(observation, code)
            self.forgetObservation(token)

    def _leave(self, token: bytes, observation: Observer) -> None:
        subscription = self._subscriptions.get(observation.topicFilter)
        if subscription is None:
            return
        subscription.observations.pop(token, None)
        if not subscription.observations:
            del self._subscriptions[observation.topicFilter]
            self._gateway.observedNoMore(self, observation.topicFilter)
            self._byIdentifier.pop(subscription.identifier, None)
            if self.state == OPEN:
                self.client.unsubscribe(observation.topicFilter)

    def _lastWord(self, observation: Observer, code: int) -> None:
        """
        A notification that is no success ends the observation (RFC 7641 4.2).
        """
        farewell = CoAPMessage(code, token=observation.request.token)
        self._endpoint.send(self.address, farewell, False, None, self._gateway.broker.clock.seconds())

    # Messages from the broker

    def receive(
        self, message: Message, qos: int, packetID: int, retain: bool, dup: bool, identifiers: list[int] | None
    ) -> None:
        """
        See L{LinkReceiver<twisted_mqtt.core.link.LinkReceiver>}.
        """
        targets = [
            observation
            for identifier in identifiers or ()
            if (subscription := self._byIdentifier.get(identifier)) is not None
            for observation in subscription.observations.values()
        ]
        if not targets:
            if qos:
                self._acknowledge(packetID)
            return
        now: float = self._gateway.broker.clock.seconds()
        # Nothing more goes to where nobody may be, until the first is acknowledged.
        confirmable = (
            qos > 0
            or now - self._confirmedAt >= min([observation.check for observation in targets])
            or not self._endpoint.isVerified(self.address)
        )
        if confirmable:
            self._confirmedAt = now
        delivery = _PendingMessage(packetID, len(targets)) if qos else None
        self._delivering = True
        try:
            for observation in targets:
                self._notify(observation, message, confirmable, delivery, now)
        finally:
            self._delivering = False

    def released(self, packetID: int) -> None:
        """
        See L{LinkReceiver<twisted_mqtt.core.link.LinkReceiver>}; nothing is subscribed at QoS 2.
        """

    def _notify(
        self,
        observation: Observer,
        message: Message,
        confirmable: bool,
        delivery: _PendingMessage | None,
        now: float,
    ) -> None:
        options = [observation.option(), uintOption(CONTENT_FORMAT, observation.formatOf(message))]
        if message.expiresAt:
            options.append(uintOption(MAX_AGE, max(0, int(message.expiresAt - now))))
        response = CoAPMessage(CONTENT, options, message.payload)
        response = self._endpoint.cut(observation.request, self.address, response, now)
        response.token = token = observation.request.token
        ended = _Notification(self, token, delivery).ended
        self._endpoint.send(self.address, response, confirmable, ended, now)

    def notified(self, token: bytes, how: int, delivery: _PendingMessage | None, now: float) -> None:
        """
        A notification has ended.

        @param delivery: that it is a part of, L{None} where nobody waits for its end.
        """
        if how == ACKNOWLEDGED:
            self.touch(now)
        elif how != DROPPED:
            # A reset says that it is not wanted any more, and so does silence (RFC 7641 3.6, 4.5).
            self.forgetObservation(token)
        if delivery is not None:
            delivery.left -= 1
            if not delivery.left:
                self._acknowledge(delivery.packetID)

    def _acknowledge(self, packetID: int) -> None:
        if self._delivering:
            # The session is in the middle of sending.
            self._gateway.broker.clock.callLater(0, self._acknowledgeNow, packetID)
        else:
            self._acknowledgeNow(packetID)

    def _acknowledgeNow(self, packetID: int) -> None:
        if self.state == OPEN:
            self.client.acknowledged(packetID)


def _nothing() -> None:
    """
    There is nothing to do.
    """


def formatOfBytes(message: Message) -> int:
    """
    The content format of messages that are just bytes.
    """
    return OCTET_STREAM
