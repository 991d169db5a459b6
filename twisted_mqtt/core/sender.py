"""
The output of a connection: encoded packets collected until the end of the turn, acknowledgements that wait for the
store, topic aliases, and the limit of unread bytes.

Output leaves with the L{Outbox<twisted_mqtt.core.outbox.Outbox>}.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from twisted_mqtt.core.codec import Decoder, encode, encodeAck
from twisted_mqtt.core.counters import SENT, Counters
from twisted_mqtt.core.limits import Limits
from twisted_mqtt.core.message import Message
from twisted_mqtt.core.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, Packet
from twisted_mqtt.core.properties import Properties
from twisted_mqtt.core.router import Router
from twisted_mqtt.core.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.outbox import Outbox

_UNLIMITED: Final = 0x7FFFFFFF
# Pieces larger than this on average are handed over as they are instead of being joined.
_LARGE: Final = 4096


class Writer(Protocol):
    """
    Where output goes: a transport.
    """

    def write(self, data: bytes) -> None:
        """
        Write.
        """

    def writeSequence(self, iovec: list[bytes]) -> None:
        """
        Write many.
        """


class Sender(Decoder):
    """
    The outgoing side of a network connection, and what both sides of it look at.

    @ivar counters: what it counts by.
    @ivar session: of the client; L{None} until CONNECT was accepted.
    @ivar writer: the transport.
    @ivar room: bytes that may still be written before the connection counts as congested.
    @ivar plain: whether an outgoing PUBLISH may be the bytes that others get too.
    @ivar version5: whether the client speaks MQTT 5.
    @ivar closed: whether nothing is to be read or written any more.
    @ivar maxOut: bytes in the largest packet that the client takes.
    @ivar problemInformation: whether the client wants reason strings and user properties.
    @ivar released: called once when no reply waits any more.
    """

    __slots__ = (
        "counters",
        "router",
        "limits",
        "outbox",
        "writer",
        "session",
        "room",
        "plain",
        "version5",
        "closed",
        "congested",
        "maxOut",
        "problemInformation",
        "sentPackets",
        "sentMessages",
        "sentBytes",
        "released",
        "_out",
        "_outBytes",
        "_aliasesOut",
        "_aliasLimit",
        "_replies",
    )

    def __init__(
        self, router: Router, limits: Limits, outbox: Outbox, writer: Writer, counters: Counters | None
    ) -> None:
        super().__init__(limits.maxPacketSize)
        self.counters: Counters = router.counters if counters is None else counters
        self.router: Router = router
        self.limits: Limits = limits
        self.outbox: Outbox = outbox
        self.writer: Writer = writer
        self.session: Session | None = None
        self.room: int = limits.maxPendingBytes
        self.congested: bool = False
        self.plain: bool = True
        self.version5: bool = False
        self.closed: bool = False
        self.maxOut: int = _UNLIMITED
        self.problemInformation: bool = True
        self.sentPackets: int = 0
        self.sentMessages: int = 0
        self.sentBytes: int = 0
        self.released: Callable[[], None] | None = None
        self._out: list[bytes] = []
        self._outBytes: int = 0
        self._aliasesOut: dict[str, int] | None = None
        self._aliasLimit: int = 0
        self._replies: deque[tuple[int, bytes]] | None = None

    def useAliases(self, limit: int) -> None:
        """
        Let outgoing topics have aliases, up to C{limit} of them.
        """
        self._aliasLimit = limit
        self._aliasesOut = {}
        self.plain = False

    def send(self, data: bytes) -> None:
        """
        Send an encoded packet with this turn's output.
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
        self.sentPackets += 1
        self.counters.packets_sent += 1

    def sendPacket(self, packet: Packet) -> bool:
        """
        Encode and send. A reason string and user properties are left out where the packet would be too large with them.

        @return: whether it was sent: not where it is too large for the client, or for the protocol, even so.
        """
        wire = self._fitting(packet)
        if wire is None:
            return False
        self.send(wire)
        return True

    def reply(self, packetType: int, packetID: int, reason: int, before: int = -1) -> None:
        """
        Send an acknowledgement, not before what it acknowledges is safe and not before earlier ones.

        @param before: the store's C{sequence} before what is acknowledged: if that has caused nothing to be written,
            there is nothing to wait for.
        """
        progress = self.router.progress
        if self._replies is None and (progress.sequence == progress.committed or progress.sequence == before):
            self.sendAck(packetType, packetID, reason)
        else:
            self._replyWith(encodeAck(packetType, packetID, reason if self.version5 else 0))

    def replyPacket(self, packet: Packet, before: int = -1) -> bool:
        """
        Send a packet that must not arrive before what it answers is safe.

        @param before: see L{reply}.

        @return: see L{sendPacket}.
        """
        wire = self._fitting(packet)
        if wire is None:
            return False
        progress = self.router.progress
        if self._replies is None and (progress.sequence == progress.committed or progress.sequence == before):
            self.send(wire)
        else:
            self._replyWith(wire)
        return True

    def sendPublish(self, wire: bytes, qos: int, message: Message) -> bool:
        """
        Send an encoded PUBLISH; returns whether it was not too large for the client.
        """
        size = len(wire)
        if size > self.maxOut:
            self.tooLarge(message)
            return False
        if self.closed:
            return True
        counters = self.counters
        if qos == 2 and self._mustHold():
            self._replyWith(wire)
        else:
            out = self._out
            if not out:
                self.outbox.add(self)
            out.append(wire)
            self._outBytes += size
            self.room -= size
            self.sentPackets += 1
            counters.packets_sent += 1
        self.sentMessages += 1
        counters.packets_publish_sent += 1
        counters.messages_sent += 1
        counters.messages_delivered += 1
        if qos == 0:
            counters.messages_qos0_sent += 1
        elif qos == 1:
            counters.messages_qos1_sent += 1
        else:
            counters.messages_qos2_sent += 1
        return True

    def whole(self, message: Message) -> bytes | None:
        """
        The packet of a message for who gets it at QoS 0 as it was published.

        @return: L{None} where MQTT has no form for it, which is counted.
        """
        try:
            return message.whole(self.version5)
        except (OverflowError, ValueError):
            self._unsendable(message)
            return None

    def sendShaped(self, message: Message, qos: int, packetID: int) -> bool:
        """
        Send a PUBLISH of QoS 1 or 2 whose bytes but for the packet identifier are those that others get.

        @return: whether that could be: not where it is too large for the client, or where MQTT has no form for it.
        """
        first = 0x30 | qos << 1
        identifier = packetID.to_bytes(2, "big")
        if self.version5:
            if message.key5 != first and not self._shape(message, first):
                return False
            return self.sendPublish(message.head5 + identifier + message.tail5, qos, message)
        if message.key4 != first and not self._shape(message, first):
            return False
        return self.sendPublish(message.head4 + identifier + message.tail4, qos, message)

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
        Send a PUBLISH that is made for this client alone.

        @return: see L{sendShaped}.
        """
        first = 0x30 | qos << 1 | (8 if dup else 0) | (1 if retain else 0)
        # A packet that is held back can't set an alias: a packet that uses the alias might overtake it.
        aliased = self._aliasesOut is not None and self.version5 and not (qos == 2 and self._mustHold())
        try:
            if aliased:
                wire = self._aliased(message, first, packetID, identifiers, now)
            else:
                wire = message.encoded(self.version5, first, packetID, identifiers, now)
        except (OverflowError, ValueError):
            self._unsendable(message)
            return False
        return self.sendPublish(wire, qos, message)

    def sendAck(self, packetType: int, packetID: int, reason: int) -> None:
        """
        Send an acknowledgement at once, whatever the store has come to.
        """
        counters = self.counters
        if packetType == PUBACK:
            counters.packets_puback_sent += 1
        elif packetType == PUBREC:
            counters.packets_pubrec_sent += 1
        elif packetType == PUBREL:
            counters.packets_pubrel_sent += 1
        else:
            counters.packets_pubcomp_sent += 1
        if reason:
            counters.countReason(packetType + SENT, reason)
        self.send(encodeAck(packetType, packetID, reason if self.version5 else 0))

    def tooLarge(self, message: Message) -> None:
        """
        Count a message that is larger than the client takes ([MQTT-3.1.2-25]).
        """
        self.counters.delivery_dropped_too_large += 1
        self._dropped(message, "too_large")

    def flush(self) -> None:
        """
        Write this turn's output.
        """
        out = self._out
        if not out:
            return
        size = self._outBytes
        self._outBytes = 0
        self.counters.bytes_sent += size
        self.sentBytes += size
        full = self.room <= 0
        if not self.congested:
            self.room = self.limits.maxPendingBytes
        if len(out) == 1:
            data = out[0]
            out.clear()
            self.writer.write(data)
        elif size > _LARGE * len(out):
            self._out = []
            self.writer.writeSequence(out)
        else:
            data = b"".join(out)
            out.clear()
            self.writer.write(data)
        if full and not self.congested and self.session is not None:
            self.session.refill(self.router.switches.now)

    def setCongested(self, congested: bool, now: float) -> None:
        """
        The transport takes no more for now, or does again.
        """
        self.congested = congested
        if congested:
            self.room = 0
        else:
            self.room = self.limits.maxPendingBytes - self._outBytes
            if self.session is not None:
                self.session.refill(now)

    def committed(self) -> bool:
        """
        Send the replies that waited for the store; returns whether none is left waiting.
        """
        replies = self._replies
        if replies is None:
            return True
        committed = self.router.progress.committed
        while replies and replies[0][0] <= committed:
            self._deferredSent(replies.popleft()[1])
        if replies:
            return False
        self._replies = None
        released = self.released
        if released is not None:
            self.released = None
            released()
        return True

    def waits(self) -> bool:
        """
        Whether replies wait for the store.
        """
        return self._replies is not None

    def lost(self, now: float) -> None:
        """
        The network connection is gone.
        """
        self.closed = True
        self._out = []
        self._outBytes = 0
        self._replies = None
        self.released = None
        session = self.session
        if session is not None and session.connection is self:
            session.detach(now)

    # Inside

    def _fitting(self, packet: Packet) -> bytes | None:
        """
        Encode a packet for the client; without its reason string and user properties where it has no room for them.

        @return: L{None} where it has no room for the rest either, or where nothing can encode that.
        """
        wire = self._encoded(packet)
        if wire is None or len(wire) > self.maxOut:
            properties: Properties | None = getattr(packet, "properties", None)
            if properties is None:
                return None
            properties.reasonString = None
            properties.userProperties = None
            wire = self._encoded(packet)
            if wire is None or len(wire) > self.maxOut:
                return None
        return wire

    def _encoded(self, packet: Packet) -> bytes | None:
        try:
            return encode(packet, self.version or self.spoken)
        except (OverflowError, ValueError):
            # Hooks have put something into it that MQTT has no form for.
            return None

    def _shape(self, message: Message, first: int) -> bool:
        try:
            message.shape(self.version5, first)
        except (OverflowError, ValueError):
            self._unsendable(message)
            return False
        return True

    def _unsendable(self, message: Message) -> None:
        """
        Count a message for which MQTT has no form: a hook has made something of it that fits no packet, say. It must
        neither end this connection nor stand in the way of what comes behind it.
        """
        self.counters.delivery_dropped_unsendable += 1
        self._dropped(message, "unsendable")

    def _dropped(self, message: Message, reason: str) -> None:
        router = self.router
        self.counters.delivery_dropped += 1
        self.counters.messages_dropped += 1
        meter = router.switches.meter
        session = self.session
        if meter is not None and session is not None and not session.topicTree:
            meter.dropped(session.mountpoint + message.topic)
        if router.switches.dropped:
            router.events.dropped(session, message, reason)

    def _mustHold(self) -> bool:
        """
        Whether a PUBLISH of QoS 2 has to wait until its identifier is safe, or for an earlier one that has to.
        """
        session = self.session
        if session is None or session.journal is None:
            return False
        progress = self.router.progress
        return self._replies is not None or progress.sequence != progress.committed

    def _replyWith(self, wire: bytes, before: int = -1) -> None:
        progress = self.router.progress
        replies = self._replies
        if replies is None:
            if progress.sequence == progress.committed or progress.sequence == before:
                self._deferredSent(wire)
                return
            replies = self._replies = deque()
            self.router.waiting.append(self)
        replies.append((progress.sequence, wire))

    def _deferredSent(self, wire: bytes) -> None:
        counters = self.counters
        kind = wire[0] >> 4
        if kind == PUBACK:
            counters.packets_puback_sent += 1
        elif kind == PUBREC:
            counters.packets_pubrec_sent += 1
        elif kind == PUBREL:
            counters.packets_pubrel_sent += 1
        elif kind == PUBCOMP:
            counters.packets_pubcomp_sent += 1
        reason = reasonOf(wire)
        if reason:
            counters.countReason(kind + SENT, reason)
        self.send(wire)

    def _aliased(self, message: Message, first: int, packetID: int, identifiers: list[int] | None, now: float) -> bytes:
        """
        A PUBLISH whose topic is said by an alias, or that sets one: the first topics get them, until none is left.
        """
        aliases = self._aliasesOut
        if aliases is None:
            return message.encoded(True, first, packetID, identifiers, now)
        topic = message.topic
        alias = aliases.get(topic, 0)
        if alias:
            wire = message.encodedAliased(first, packetID, identifiers, now, alias, True)
            if len(wire) <= self.maxOut:
                return wire
        elif len(aliases) < self._aliasLimit:
            wire = message.encodedAliased(first, packetID, identifiers, now, len(aliases) + 1, False)
            # The client knows an alias only if it gets the message that sets it.
            if len(wire) <= self.maxOut:
                aliases[topic] = len(aliases) + 1
                return wire
        return message.encoded(True, first, packetID, identifiers, now)


def reasonOf(wire: bytes) -> int:
    """
    The reason code of an acknowledgement; 0 where it is another packet, or says none.
    """
    kind = wire[0] >> 4
    if kind < PUBACK or kind > PUBCOMP or len(wire) < 5:
        return 0
    at = 4
    while wire[at - 3] & 0x80:  # the length of what has properties may take more bytes
        at += 1
    return wire[at]
