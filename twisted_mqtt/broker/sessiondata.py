"""
A session as plain data, to move it from one node to another.

Times are durations (the age of a thing, and the time that it has left), because the clocks of two nodes differ. All
data are strings, bytes, numbers and lists, so L{msgspec} can write them in any of its formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from twisted_mqtt.core.entry import Entry
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.properties import IN_PUBLISH, decodeProperties, encodeProperties
from twisted_mqtt.core.subscription import SharedGroup, Subscription

if TYPE_CHECKING:
    from twisted_mqtt.core.session import Session

# So deep plain data may be.
_DEPTH: Final = 8


def _plainOf(headers: dict[str, object] | None) -> dict[str, object] | None:
    """
    Those headers that another process can read.
    """
    if not headers:
        return None
    return {name: value for name, value in headers.items() if _isPlain(value)} or None


def _isPlain(value: object, depth: int = _DEPTH) -> bool:
    if value is None or type(value) in (str, bytes, bool, float):
        return True
    if type(value) is int:
        return -(1 << 63) <= value < 1 << 64
    if depth == 0:
        return False
    if type(value) is list:
        return all(_isPlain(each, depth - 1) for each in value)
    return type(value) is dict and all(type(name) is str and _isPlain(value[name], depth - 1) for name in value)


class MessageData(Struct, frozen=True, array_like=True):
    """
    A message; its topic tree is that of the session.

    @ivar properties: encoded as in a PUBLISH; empty for none.
    @ivar age: for how many seconds the broker has had it.
    @ivar lasts: after how many seconds it is not to be delivered any more; L{None} for never.
    @ivar headers: what hooks have said of it, as far as it is plain data; L{None} for nothing.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: bytes
    age: float
    lasts: float | None
    clientID: str
    username: str | None
    peerHost: str | None
    protocol: str
    system: bool
    origin: str
    headers: dict[str, object] | None = None

    @classmethod
    def of(cls, message: Message, now: float) -> MessageData:
        """
        A message as data.

        @param now: the moment.
        """
        properties = message.properties
        return cls(
            message.topic,
            message.payload,
            message.qos,
            message.retain,
            b"" if properties is None else encodeProperties(properties, IN_PUBLISH),
            now - message.timestamp,
            message.expiresAt - now if message.expiresAt else None,
            message.clientID,
            message.username,
            message.peerHost,
            message.protocol,
            message.system,
            message.origin,
            _plainOf(message.headers),
        )

    def message(self, topicTree: str, now: float) -> Message:
        """
        The message.

        @param now: the moment.
        """
        encoded = self.properties
        message = Message(
            self.topic,
            self.payload,
            self.qos,
            self.retain,
            decodeProperties(encoded, 0, len(encoded), IN_PUBLISH)[0] if encoded else None,
            self.clientID,
            now - self.age,
            0.0 if self.lasts is None else now + self.lasts,
            self.system,
        )
        message.topicTree = topicTree
        message.username = self.username
        message.peerHost = self.peerHost
        message.protocol = self.protocol
        message.origin = self.origin
        if self.headers:
            message.headers = dict(self.headers)
        return message


class EntryData(Struct, frozen=True, array_like=True):
    """
    A message that is in flight to the client, or waits for it.

    @ivar qos: of the delivery.
    @ivar share: name and filter of the shared subscription that it came through; L{None} for none.
    @ivar packetID: 0 unless it is in flight.
    @ivar released: whether PUBREC has come for it.
    """

    message: MessageData
    qos: int
    retain: bool
    identifiers: list[int] | None
    share: tuple[str, str] | None
    packetID: int
    released: bool

    @classmethod
    def of(cls, entry: Entry, now: float) -> EntryData:
        """
        An entry as data.
        """
        share = entry.share
        return cls(
            MessageData.of(entry.message, now),
            entry.qos,
            entry.retain,
            entry.identifiers,
            None if share is None else (share.name, share.matching),
            entry.packetID,
            entry.released,
        )

    def entry(self, topicTree: str, share: SharedGroup | None, now: float) -> Entry:
        """
        The entry.
        """
        entry = Entry(self.message.message(topicTree, now), self.qos, self.retain, self.identifiers, share)
        entry.packetID = self.packetID
        entry.released = self.released
        return entry


class SubscriptionData(Struct, frozen=True, array_like=True):
    """
    A subscription; see L{Subscription}.
    """

    topicFilter: str
    matching: str
    qos: int
    noLocal: bool
    retainAsPublished: bool
    retainHandling: int
    identifiers: list[int] | None

    @classmethod
    def of(cls, subscription: Subscription) -> SubscriptionData:
        """
        A subscription as data.
        """
        return cls(
            subscription.topicFilter,
            subscription.matching,
            subscription.qos,
            subscription.noLocal,
            subscription.retainAsPublished,
            subscription.retainHandling,
            subscription.identifiers,
        )

    def subscription(self, session: Session) -> Subscription:
        """
        The subscription.
        """
        return Subscription(
            session,
            self.topicFilter,
            self.qos,
            self.noLocal,
            self.retainAsPublished,
            self.retainHandling,
            self.identifiers,
            self.matching,
            session,
        )


class SessionData(Struct, frozen=True, array_like=True):
    """
    A session but for its messages, which follow in pages.

    @ivar expiry: for how many seconds it outlives its connection; 4294967295 for ever.
    @ivar lasts: after how many seconds it ends if its client does not come; L{None} for never.
    @ivar age: for how many seconds there has been the session.
    @ivar nextID: the packet identifier that is tried next.
    @ivar unreleased: packet identifiers of QoS 2 messages of the client whose PUBREL has not come, and how old they
        are.
    @ivar will: what is published if the client does not come back in time; L{None} for none.
    @ivar willIn: after how many seconds.
    """

    clientID: str
    topicTree: str
    username: str | None
    mountpoint: str
    zone: str
    expiry: int
    lasts: float | None
    age: float
    nextID: int
    subscriptions: list[SubscriptionData]
    unreleased: list[tuple[int, float]]
    will: MessageData | None
    willIn: float
