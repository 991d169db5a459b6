"""
A broker's core without a broker: sessions and connections that write into lists, and a clock that is a number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted_mqtt.core.backlog import Retained, Wanted, deliverRetained
from twisted_mqtt.core.codec import LARGEST, Decoder, encode
from twisted_mqtt.core.connection import Connection
from twisted_mqtt.core.counters import Counters
from twisted_mqtt.core.entry import Entry
from twisted_mqtt.core.events import DELIVER, Switches, Work
from twisted_mqtt.core.limits import Limits
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.outbox import Outbox
from twisted_mqtt.core.packets import Ack, Packet, Publish
from twisted_mqtt.core.router import Router
from twisted_mqtt.core.session import Session
from twisted_mqtt.core.subscription import Subscription
from twisted_mqtt.core.topics import splitShare
from twisted_mqtt.testing.peer import propertiesOf

START = 1_700_000_000.0


def limitsWith(**values: Any) -> Limits:
    """
    Limits with some values changed.
    """
    limits = Limits()
    for name, value in values.items():
        assert hasattr(limits, name), name
        setattr(limits, name, value)
    return limits


class Told:
    """
    The observer of the core's messages: it keeps a list of the events.

    @ivar verdicts: asked about each message that is to be delivered.
    @ivar works: what goes on in later turns; see L{turn}.
    """

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.works: list[Work] = []
        self.verdict: Callable[[Session, Entry], int] = lambda session, entry: DELIVER

    def goOnLater(self, work: Work) -> None:
        """
        See L{Events}.
        """
        self.works.append(work)

    def turn(self) -> None:
        """
        Go on with what waits for a turn, each once.
        """
        works, self.works = self.works, []
        self.works += [work for work in works if work.goOn()]

    def delivering(self, session: Session, entry: Entry) -> int:
        """
        See L{Events}.
        """
        return self.verdict(session, entry)

    def acked(self, session: Session, message: Message) -> None:
        """
        See L{Events}.
        """
        self.events.append(("acked", session.clientID, message.payload))

    def dropped(self, session: Session | None, message: Message, reason: str) -> None:
        """
        See L{Events}.
        """
        self.events.append(("dropped", None if session is None else session.clientID, message.payload, reason))


class Wire:
    """
    Where a connection writes to.
    """

    def __init__(self) -> None:
        self.data: list[bytes] = []

    def write(self, data: bytes) -> None:
        """
        See C{ITransport}.
        """
        assert type(data) is bytes
        self.data.append(data)

    def writeSequence(self, iovec: list[bytes]) -> None:
        """
        See C{ITransport}.
        """
        self.data.extend(iovec)


class Core:
    """
    A router and an outbox.

    @ivar now: the time.
    @ivar scheduled: how often the outbox has asked to be flushed.
    """

    def __init__(self, chance: Callable[[], float] = lambda: 0.0) -> None:
        self.now = START
        self.counters = Counters()
        self.switches = Switches()
        self.switches.now = self.now
        self.told = Told()
        self.router = Router(self.counters, self.switches, self.told, chance)
        self.scheduled = 0
        self.outbox = Outbox(self._schedule)

    def _schedule(self) -> None:
        self.scheduled += 1

    def advance(self, seconds: float) -> None:
        """
        Let time pass.
        """
        self.now += seconds
        self.switches.now = self.now

    def commit(self) -> None:
        """
        The store has written all that it was asked to.
        """
        self.router.progress.committed = self.router.progress.sequence
        self.router.committed()

    def flush(self) -> None:
        """
        Turn until everything is written.
        """
        for _ in range(1000):
            if not self.scheduled:
                return
            self.scheduled = 0
            self.outbox.flush()
        raise AssertionError("the outbox is never done")

    def publish(self, topic: str, payload: bytes = b"", qos: int = 0, **fields: Any) -> int:
        """
        Route a message; what C{Message} does not know is a property.
        """
        known = {name: fields.pop(name) for name in ("retain", "clientID", "expiresAt", "system") if name in fields}
        properties = propertiesOf(**fields) if fields else None
        return self.router.route(Message(topic, payload, qos, properties=properties, timestamp=self.now, **known))


class Kept:
    """
    Retained messages for a session, all of which match.

    @ivar asked: reads that wait for L{answer}; where it is L{None}, each is answered at once.
    """

    def __init__(self, messages: list[Message], onDisk: bool = False, held: bool = False) -> None:
        self.messages = {message.topic: message for message in messages}
        self._matched = [Message(message.topic, b"", message.qos, True) if onDisk else message for message in messages]
        self.asked: list[tuple[list[Message], Callable[[list[Message], int], None]]] | None = [] if held else None
        self.sizes: list[int] = []

    def match(self, topicFilter: str, topicTree: str = "", steps: int = -1) -> list[Message]:
        """
        See L{Retained<twisted_mqtt.core.backlog.Retained>}.
        """
        return self._matched

    def walk(self, topicFilter: str, topicTree: str = "") -> None:
        """
        See L{Retained<twisted_mqtt.core.backlog.Retained>}.
        """
        raise AssertionError("it knows at once what matches")

    def read(self, messages: list[Message], done: Callable[[list[Message], int], None]) -> None:
        """
        See L{Retained<twisted_mqtt.core.backlog.Retained>}.
        """
        self.sizes.append(len(messages))
        if self.asked is None:
            self._read(messages, done, len(messages))
        else:
            self.asked.append((messages, done))

    def answer(self, count: int = 1000) -> None:
        """
        Answer the first read, with so many messages at most.
        """
        assert self.asked
        messages, done = self.asked.pop(0)
        self._read(messages, done, min(count, len(messages)))

    def _read(self, messages: list[Message], done: Callable[[list[Message], int], None], count: int) -> None:
        topics = [message.topic for message in messages[:count]]
        done([self.messages[topic] for topic in topics if topic in self.messages], count)


class Client:
    """
    A session and the connection it has, if any.
    """

    def __init__(
        self,
        core: Core,
        clientID: str = "client",
        limits: Limits | None = None,
        version: int = 5,
        mountpoint: str = "",
        expiry: int = 3600,
    ) -> None:
        self.core = core
        self.limits = Limits() if limits is None else limits
        self.version = version
        self.session = Session(clientID, self.limits, core.counters, core.switches, core.told, core.now, mountpoint)
        self.session.expiryInterval = expiry
        self.connection: Connection | None = None
        self.wire = Wire()
        self._decoder = Decoder()

    def connect(
        self, window: int = 0, maxOut: int = 0, aliases: int = 0, receiveMaximum: int = 0, resume: bool = True
    ) -> Client:
        """
        Connect, or connect again.
        """
        core = self.core
        self.wire = Wire()
        self._decoder = Decoder(LARGEST, self.version)
        connection = self.connection = Connection(core.router, self.limits, core.outbox, self.wire, core.now)
        connection.version = self.version
        connection.accept(self.session, self.session.clientID, receiveMaximum)
        if maxOut:
            connection.maxOut = maxOut
        if aliases:
            connection.useAliases(aliases)
        self.session.attach(connection, window or self.limits.maxInflight)
        if resume:
            self.session.resume(core.now)
        return self

    def lose(self) -> None:
        """
        Lose the connection.
        """
        assert self.connection is not None
        self.connection.lost(self.core.now)
        self.connection = None

    def subscribe(self, topicFilter: str, qos: int = 2, **options: Any) -> Subscription:
        """
        Subscribe.
        """
        group, matching = splitShare(topicFilter)
        subscription = Subscription(
            self.session,
            topicFilter,
            qos,
            matching=self.session.mountpoint + matching,
            session=self.session,
            **options,
        )
        self.core.router.tree.add(subscription, group)
        self.session.subscriptions[topicFilter] = subscription
        return subscription

    def showRetained(self, retained: Retained, *subscriptions: Subscription) -> None:
        """
        Deliver the retained messages that new subscriptions ask for.
        """
        wanted = [Wanted(each, self.core.router.number) for each in subscriptions]
        deliverRetained(self.session, retained, wanted, self.core.now)

    def send(self, *packets: Packet | bytes) -> list[Packet]:
        """
        Send packets in one piece; returns what is left to a shell.
        """
        assert self.connection is not None
        data = b"".join(each if isinstance(each, bytes) else encode(each, self.version) for each in packets)
        return self.connection.receive(data, self.core.now)

    def ack(self, kind: int, *packetIDs: int, reason: int = 0) -> None:
        """
        Send acknowledgements.
        """
        assert self.send(*(Ack(kind, packetID, reason) for packetID in packetIDs)) == []

    def received(self) -> list[Any]:
        """
        The messages that have come since, and those of later turns.
        """
        self.core.flush()
        while self.core.told.works:
            self.core.told.turn()
            self.core.flush()
        data = b"".join(self.wire.data)
        self.wire.data.clear()
        found: list[Any] = self._decoder.feed(data)
        assert self._decoder.error is None, self._decoder.error
        return found

    def publishes(self) -> list[Publish]:
        """
        The messages that have come since.
        """
        return [each for each in self.received() if isinstance(each, Publish)]

    def payloads(self) -> list[bytes]:
        """
        Their payloads.
        """
        return [each.payload for each in self.publishes()]


def numbered(count: int) -> Sequence[bytes]:
    """
    So many different payloads.
    """
    return [str(number).encode() for number in range(count)]


class SlowJournal:
    """
    A journal that is never done by itself.
    """

    def __init__(self, core: Core) -> None:
        self._progress = core.router.progress

    def page(self, session: Session, after: int) -> None:
        """
        Not asked for.
        """
        raise AssertionError("there is nothing in the store alone")

    def _write(self) -> None:
        self._progress.sequence += 1

    def queued(self, session: Session, entry: Entry) -> None:
        """
        See L{Journal}.
        """
        self._write()

    def sent(self, session: Session, entry: Entry) -> None:
        """
        See L{Journal}.
        """
        self._write()

    def released(self, session: Session, entry: Entry) -> None:
        """
        See L{Journal}.
        """
        self._write()

    def settled(self, session: Session, entry: Entry) -> None:
        """
        See L{Journal}.
        """
        self._write()

    def received(self, session: Session, packetID: int, now: float) -> None:
        """
        See L{Journal}.
        """
        self._write()

    def completed(self, session: Session, packetID: int) -> None:
        """
        See L{Journal}.
        """
        self._write()
