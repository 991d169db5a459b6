"""
The subscriptions of a client, the messages sent to it, and those that it has not acknowledged.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from gateways.stomp.frame import V10, StompError, escape
from twisted_mqtt.core.message import Message

AUTO: Final = 0
CLIENT: Final = 1
INDIVIDUAL: Final = 2

ACK_MODES: Final[dict[str, int]] = {"auto": AUTO, "client": CLIENT, "client-individual": INDIVIDUAL}


class SharedSubscription:
    """
    A topic filter that one or more subscriptions share: to the broker it is one.

    @ivar number: the subscription identifier that its messages bear.
    @ivar subscriptions: in the order of their SUBSCRIBEs.
    """

    __slots__ = ("topicFilter", "number", "qos", "subscriptions")

    def __init__(self, topicFilter: str, number: int, qos: int) -> None:
        self.topicFilter: str = topicFilter
        self.number: int = number
        self.qos: int = qos
        self.subscriptions: list[StompSubscription] = []


class StompSubscription:
    """
    One subscription.

    @ivar name: its id; of 1.0, where there need be none, perhaps its destination.
    @ivar prefix: what stands before the topic in the destination of its messages.
    @ivar head: the beginning of its MESSAGE frames, up to the number.
    @ivar pending: what was sent and not acknowledged, in order; kept where acknowledging is cumulative only.
    """

    __slots__ = ("name", "mode", "prefix", "source", "head", "pending", "ended")

    def __init__(
        self, name: str, mode: int, prefix: str, source: SharedSubscription, version: int, named: bool = True
    ) -> None:
        """
        @param named: whether the client has given it an id.
        """
        self.name: str = name
        self.mode: int = mode
        self.prefix: str = prefix
        self.source: SharedSubscription = source
        line = f"subscription:{escape(name, version)}\n" if named or version > V10 else ""
        self.head: bytes = f"MESSAGE\n{line}message-id:".encode()
        self.pending: deque[StompDelivery] = deque()
        self.ended: bool = False


class Settlement:
    """
    One message of the session that waits for all the subscriptions which it went to.

    @ivar waiting: how many of them have not said yet what is to become of it.
    @ivar taken: whether any has acknowledged it.
    """

    __slots__ = ("packetID", "waiting", "taken")

    def __init__(self, packetID: int, waiting: int) -> None:
        self.packetID: int = packetID
        self.waiting: int = waiting
        self.taken: bool = False


class StompDelivery:
    """
    One message that was sent for one subscription.

    @ivar number: what the client knows it by.
    @ivar refusals: how often it was sent and refused before.
    """

    __slots__ = ("number", "message", "retain", "subscription", "settlement", "refusals")

    def __init__(
        self,
        number: int,
        message: Message,
        retain: bool,
        subscription: StompSubscription,
        settlement: Settlement,
        refusals: int,
    ) -> None:
        self.number: int = number
        self.message: Message = message
        self.retain: bool = retain
        self.subscription: StompSubscription = subscription
        self.settlement: Settlement = settlement
        self.refusals: int = refusals


class Deliveries:
    """
    Everything that one client was sent and has to acknowledge.

    @ivar last: the number of the last message sent, acknowledged or not.
    """

    __slots__ = ("last", "_open")

    def __init__(self) -> None:
        self.last: int = 0
        self._open: dict[int, StompDelivery] = {}

    def __len__(self) -> int:
        return len(self._open)

    def next(self) -> int:
        """
        A number for a message.
        """
        self.last += 1
        return self.last

    def add(
        self, message: Message, retain: bool, subscription: StompSubscription, settlement: Settlement, refusals: int
    ) -> StompDelivery:
        """
        A message is sent that has to be acknowledged.
        """
        delivery = StompDelivery(self.next(), message, retain, subscription, settlement, refusals)
        self._open[delivery.number] = delivery
        if subscription.mode == CLIENT:
            subscription.pending.append(delivery)
        return delivery

    def take(self, text: str, subscriptionName: str | None) -> list[StompDelivery]:
        """
        Take out what an ACK or NACK is about: with C{ack:client}, that message and all before it.

        @param text: how it names the message.
        @param subscriptionName: how it names the subscription, if it has to (1.1).

        @return: in the order of sending; empty where that is settled already.

        @raise StompError: there was no such message.
        """
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
        if not 0 < number <= self.last:
            raise StompError("no such message", f"nothing was sent as {text[:80]!r}")
        delivery = self._open.get(number)
        if delivery is None:
            return []
        subscription = delivery.subscription
        if subscriptionName is not None and subscription.name != subscriptionName:
            raise StompError("no such message", f"{text} was not sent for subscription {subscriptionName[:80]!r}")
        if subscription.mode != CLIENT:
            del self._open[number]
            return [delivery]
        taken: list[StompDelivery] = []
        pending = subscription.pending
        while pending and pending[0].number <= number:
            taken.append(pending.popleft())
        for each in taken:
            del self._open[each.number]
        return taken
