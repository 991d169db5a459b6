"""
A connection without a network: how a client that does not speak MQTT holds a session.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from twisted_mqtt.core.connection import Connection
from twisted_mqtt.core.counters import Counters
from twisted_mqtt.core.limits import Limits
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBREL
from twisted_mqtt.core.router import Router
from twisted_mqtt.core.topics import MAX_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.outbox import Outbox


class LinkReceiver(Protocol):
    """
    Takes the messages that a session sends to a client.
    """

    def receive(
        self, message: Message, qos: int, packetID: int, retain: bool, dup: bool, identifiers: list[int] | None
    ) -> None:
        """
        A message for the client. With QoS 1 or 2 the session is told C{acknowledged} or C{pubrec} and C{pubcomp}, by
        C{packetID}, or it will send the message again to the client's next connection.

        Never waits and never raises.
        """

    def released(self, packetID: int) -> None:
        """
        PUBREC was taken: the message of this identifier is the client's now, and C{pubcomp} is awaited.
        """


class _Nowhere:
    """
    Where the bytes of a link would go.
    """

    def write(self, data: bytes) -> None:
        """
        There are none.
        """

    def writeSequence(self, iovec: list[bytes]) -> None:
        """
        There are none.
        """


class Link(Connection):
    """
    The connection of a client whose protocol is somebody else's.

    @ivar receiver: gets what is for the client.
    @ivar maxTopic: bytes in the longest topic that its protocol can tell the client of.
    """

    __slots__ = ("receiver", "maxTopic", "_actions")

    def __init__(
        self,
        router: Router,
        limits: Limits,
        outbox: Outbox,
        receiver: LinkReceiver,
        now: float,
        counters: Counters | None = None,
    ) -> None:
        super().__init__(router, limits, outbox, _Nowhere(), now, counters)
        self.receiver: LinkReceiver = receiver
        self.maxTopic: int = MAX_LENGTH
        self.version = 5
        # Nothing it sends is bytes that others get too.
        self.plain = False
        self._actions: deque[tuple[int, Callable[[], None]]] | None = None

    def whenSafe(self, action: Callable[[], None]) -> None:
        """
        Call C{action}, which acknowledges something to the client, once all that was taken so far would survive a
        crash; not at all if the client goes before. Actions are called in order.
        """
        progress = self.router.progress
        actions = self._actions
        if actions is None:
            if progress.sequence == progress.committed:
                action()
                return
            actions = self._actions = deque()
            self.router.waiting.append(self)
        actions.append((progress.sequence, action))

    def committed(self) -> bool:
        """
        See L{Connection.committed}.
        """
        actions = self._actions
        if actions is None:
            return True
        committed = self.router.progress.committed
        while actions and actions[0][0] <= committed and not self.closed:
            actions.popleft()[1]()
        if actions and not self.closed:
            return False
        self._actions = None
        return True

    def send(self, data: bytes) -> None:
        """
        There is nobody who reads bytes.
        """

    def write(self, data: bytes) -> None:
        """
        Write bytes of the client's own protocol with this turn's output. For gateways whose clients are at the end of
        a stream: its transport is the C{writer}, and what waits there counts against the client's limit.
        """
        if self.closed:
            return
        out = self._out
        if not out:
            self.outbox.add(self)
        out.append(data)
        size = len(data)
        self._outBytes += size
        self.room -= size

    def sendEncoded(
        self,
        message: Message,
        qos: int,
        packetID: int,
        retain: bool,
        dup: bool,
        identifiers: list[int] | None,
        now: float,
    ) -> bool:
        """
        See L{Connection.sendEncoded}.
        """
        if self.closed:
            return True
        if len(message.payload) > self.maxOut or (
            len(message.topic) > self.maxTopic // 4 and len(message.topic.encode("utf-8")) > self.maxTopic
        ):
            self.tooLarge(message)
            return False
        self.sentMessages += 1
        counters = self.counters
        counters.messages_sent += 1
        counters.messages_delivered += 1
        if qos == 0:
            counters.messages_qos0_sent += 1
        elif qos == 1:
            counters.messages_qos1_sent += 1
        else:
            counters.messages_qos2_sent += 1
        if qos == 2 and self._mustHold():
            self.whenSafe(lambda: self.receiver.receive(message, qos, packetID, retain, dup, identifiers))
        else:
            self.receiver.receive(message, qos, packetID, retain, dup, identifiers)
        return True

    def reply(self, packetType: int, packetID: int, reason: int, before: int = -1) -> None:
        """
        See L{Connection.reply}.
        """
        self.whenSafe(lambda: self.sendAck(packetType, packetID, reason))

    def _mustHold(self) -> bool:
        """
        See L{Connection._mustHold}.
        """
        return self._actions is not None or super()._mustHold()

    def sendAck(self, packetType: int, packetID: int, reason: int) -> None:
        """
        See L{Connection.sendAck}.
        """
        if packetType == PUBREL:
            self.receiver.released(packetID)
