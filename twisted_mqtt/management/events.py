"""
What happens in the broker, told to those who look on: clients come and go, subscriptions, alarms, samples of messages.

While nobody looks on, nothing is hooked. A viewer who reads slowly loses the oldest events, and is told how many; so is
one who wants more messages than all viewers together may see. An event is encoded once for all viewers, a message once
for all with the same filter.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from twisted.internet.defer import Deferred

from twisted_mqtt.core.reasons import nameOf
from twisted_mqtt.operations.operation import INVALID, Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from twisted_mqtt.base.dates import Dates
    from twisted_mqtt.broker.alarms import Alarm, AlarmEvent
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.interfaces import IClient, IExtensionContext, IHeld, IWatch

#: The kinds of events.
KINDS: Final = (
    "client.connected",
    "client.disconnected",
    "session.subscribed",
    "session.unsubscribed",
    "alarm.activated",
    "alarm.deactivated",
    "message.publish",
)
#: So many may look on at once.
MOST_VIEWERS: Final = 100
#: So many events wait for one of them.
MOST_WAITING: Final = 1000
#: And so many bytes, unless a single event has more.
MOST_BYTES: Final = 1 << 20
#: So many messages in a second are shown to all viewers together, the same number to each: to show one takes a hundred
#: times as long as to route it, and clients would wait.
MESSAGES_A_SECOND: Final = 500
#: Bytes after which what waits is sent in another piece.
PIECE: Final = 16_384
#: Seconds without an event after which a viewer hears that the connection still works.
SILENCE: Final = 15.0
#: Bytes of a payload that are shown.
SHOWN: Final = 1024

_encode: Final = msgspec.json.Encoder().encode


class Viewer:
    """
    Somebody who looks on.

    @ivar kinds: what it wants to see.
    @ivar clientID: only what is about this client; C{""} for all.
    @ivar topicFilter: of the messages that it wants to see; None for none.
    """

    def __init__(self, hub: EventHub, kinds: frozenset[str], clientID: str) -> None:
        self.kinds = kinds
        self.clientID = clientID
        self.topicFilter: str | None = None
        self._hub = hub
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        # When the present second of messages ends, and how many there were.
        self._secondEnds = 0.0
        self._shown = 0
        self._idle: Deferred[None] | None = None

    def wants(self, kind: str, event: Mapping[str, object]) -> bool:
        """
        Whether it is to see an event.
        """
        return kind in self.kinds and (not self.clientID or event.get("clientid") == self.clientID)

    def tell(self, framed: bytes) -> None:
        """
        Something has happened that it wants to see.
        """
        self._waiting.append(framed)
        self._size += len(framed)
        while len(self._waiting) > MOST_WAITING or (self._size > MOST_BYTES and len(self._waiting) > 1):
            self._size -= len(self._waiting.popleft())
            self._lost += 1
        self.wake()

    def hasRoom(self, most: int, now: float) -> bool:
        """
        Count a message; returns whether it may be shown. One that may not is lost.

        @param most: how many may be shown in a second.
        @param now: the moment.
        """
        if now >= self._secondEnds:
            self._secondEnds, self._shown = now + 1.0, 0
        self._shown += 1
        if self._shown <= most:
            return True
        self._lost += 1
        return False

    def wake(self) -> None:
        """
        There is something to send, if only that there is nothing.
        """
        idle, self._idle = self._idle, None
        if idle is not None:
            # In a turn of its own: whoever tells is amid its work.
            self._hub.context.clock.callLater(0, idle.callback, None)

    async def pieces(self) -> AsyncIterator[bytes]:
        """
        The events as server-sent events (HTML Living Standard 9.2), for as long as somebody takes them.
        """
        try:
            yield b": welcome\n\n"
            while not self._hub.closed:
                if not self._waiting:
                    self._idle = Deferred()
                    silence = self._hub.context.clock.callLater(SILENCE, self.wake)
                    try:
                        await self._idle
                    finally:
                        self._idle = None
                        if silence.active():
                            silence.cancel()
                if not self._waiting:
                    yield b": nothing new\n\n"
                while self._waiting:
                    piece = bytearray()
                    if self._lost:
                        # They would have come before those that wait.
                        lost, self._lost = self._lost, 0
                        piece += _framed("lost", {"count": lost})
                    while self._waiting and len(piece) < PIECE:
                        framed = self._waiting.popleft()
                        self._size -= len(framed)
                        piece += framed
                    yield bytes(piece)
        finally:
            self._hub.leave(self)


class _Watched(NamedTuple):
    """
    Messages that match a filter, and who looks at them.
    """

    watch: IWatch
    viewers: list[Viewer]


class EventHub:
    """
    Tells all viewers.

    @ivar closed: whether the extension has ended, and all are sent away.
    """

    def __init__(self, context: IExtensionContext) -> None:
        self.context = context
        self._viewers: list[Viewer] = []
        self._watches: dict[str, _Watched] = {}
        self._held: list[IHeld] = []
        self.closed = False
        context.addCleanup("those who look on are sent away", self._close)

    def _close(self) -> None:
        self.closed = True
        for viewer in self._viewers:
            viewer.wake()

    def view(self, kinds: frozenset[str], clientID: str, topicFilter: str) -> Viewer:
        """
        Begin to look on.

        @param topicFilter: of the messages that are shown, if C{kinds} names them.

        @raise Refused: it is no filter, or too many look on.
        """
        if len(self._viewers) >= MOST_VIEWERS:
            raise Refused(503, f"{MOST_VIEWERS} look on already", 503)
        viewer = Viewer(self, kinds, clientID)
        if "message.publish" in kinds:
            self._watch(viewer, topicFilter)
        if not self._viewers:
            self._begin()
        self._viewers.append(viewer)
        return viewer

    def _watch(self, viewer: Viewer, topicFilter: str) -> None:
        """
        @raise Refused: it is no filter.
        """
        if topicFilter not in self._watches:
            try:
                watch = self.context.watch(topicFilter, lambda message: self._show(watched, message))
            except ValueError as error:
                raise Refused(INVALID, f"topic: {error}") from None
            self._watches[topicFilter] = _Watched(watch, [])
        watched = self._watches[topicFilter]
        watched.viewers.append(viewer)
        viewer.topicFilter = topicFilter

    def leave(self, viewer: Viewer) -> None:
        """
        Somebody looks on no more.
        """
        if viewer not in self._viewers:
            return
        self._viewers.remove(viewer)
        if viewer.topicFilter is not None:
            watched = self._watches[viewer.topicFilter]
            watched.viewers.remove(viewer)
            if not watched.viewers:
                watched.watch.close()
                del self._watches[viewer.topicFilter]
        if not self._viewers:
            for held in self._held:
                held.close()
            self._held.clear()

    def _begin(self) -> None:
        context = self.context
        self._held = [
            context.hook("client.connected", self._connected),
            context.hook("client.disconnected", self._disconnected),
            context.hook("session.subscribed", self._subscribed),
            context.hook("session.unsubscribed", self._unsubscribed),
        ]
        observation = context.broker.alarms.observe(self._alarm)
        self._held.append(context.addCleanup("alarms are observed no more", observation.close))

    def _tell(self, kind: str, event: dict[str, object]) -> None:
        framed = b""
        for viewer in self._viewers:
            if viewer.wants(kind, event):
                framed = framed or _framed(kind, event)
                viewer.tell(framed)

    def _show(self, watched: _Watched, message: Message) -> None:
        now, most = self.context.clock.seconds(), max(1, MESSAGES_A_SECOND // len(self._viewers))
        framed = b""
        for viewer in watched.viewers:
            if viewer.clientID and viewer.clientID != message.clientID:
                continue
            if viewer.hasRoom(most, now):
                framed = framed or _framed("message.publish", _ofMessage(message, self.context.broker.dates))
                viewer.tell(framed)

    def _about(self, client: IClient, **more: object) -> dict[str, object]:
        about: dict[str, object] = {
            "at": self.context.broker.dates.now(),
            "clientid": client.clientID,
            "username": client.username,
            "ip_address": client.peerHost,
            "protocol": client.protocol,
        }
        about.update(more)
        return about

    def _connected(self, client: IClient, connection: object) -> None:
        event = self._about(client, proto_ver=client.protoVersion, keepalive=client.keepAlive)
        self._tell("client.connected", event)

    def _disconnected(self, client: IClient, reason: int | str, connection: object) -> None:
        said = nameOf(reason) if isinstance(reason, int) else reason
        self._tell("client.disconnected", self._about(client, reason=said))

    def _subscribed(self, client: IClient, topicFilter: str, options: Any) -> None:
        self._tell("session.subscribed", self._about(client, topic=topicFilter, qos=options.qos))

    def _unsubscribed(self, client: IClient, topicFilter: str, options: object) -> None:
        self._tell("session.unsubscribed", self._about(client, topic=topicFilter))

    def _alarm(self, event: AlarmEvent, alarm: Alarm) -> None:
        about: dict[str, object] = {
            "at": alarm.at,
            "id": alarm.name,
            "severity": alarm.severity,
            "title": alarm.title,
            "desc": alarm.summary,
        }
        self._tell(f"alarm.{event}", about)


def _ofMessage(message: Message, dates: Dates) -> dict[str, object]:
    payload = message.payload[:SHOWN]
    event: dict[str, object] = {
        "at": dates.of(message.timestamp),
        "clientid": message.clientID,
        "topic": message.topic,
        "qos": message.qos,
        "retain": message.retain,
        "size": len(message.payload),
    }
    try:
        event["payload"] = payload.decode("utf-8")
        event["encoding"] = "plain"
    except UnicodeDecodeError:
        # msgspec writes bytes as Base64.
        event["payload"] = payload
        event["encoding"] = "base64"
    return event


def _framed(kind: str, event: dict[str, object]) -> bytes:
    return b"event: " + kind.encode("ascii") + b"\ndata: " + _encode(event) + b"\n\n"
