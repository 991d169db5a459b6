"""
Messages on their way to one client: REGISTER before the first use of a topic, acknowledgements, and retransmission.

Pure: time is an argument, and datagrams and outcomes go to the callbacks given. It sends nothing to a sleeping client.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from gateways.mqttsn.codec import encode, encodePublish, message, withDup
from gateways.mqttsn.packets import ACCEPTED, CONGESTION, INVALID_TOPIC, PUBREL, SNPacket, SNRegister

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateways.mqttsn.registry import TopicRegistry

# So many messages may wait that come although nothing can be sent, such as after a slow hook.
_MOST_HELD: Final = 16


class Upstream(Protocol):
    """
    Is told the outcome of messages: the client's session in the broker.
    """

    def acknowledged(self, packetID: int, now: float) -> None:
        """
        A message of QoS 1 has arrived.
        """

    def refused(self, packetID: int, now: float) -> None:
        """
        The client will not take a message of QoS 1 or 2.
        """

    def pubrec(self, packetID: int, now: float) -> bool:
        """
        A message of QoS 2 has arrived; returns whether it is to be released.
        """

    def pubcomp(self, packetID: int, now: float) -> None:
        """
        It was released.
        """

    def setCongested(self, congested: bool, now: float) -> None:
        """
        Whether messages are to wait where they are.
        """

    def whenSafe(self, action: Callable[[], None]) -> None:
        """
        Call something once all that was said here would survive a crash.
        """


class OutgoingPublish:
    """
    One message for the client.

    @ivar wire: its PUBLISH, once sent; its PUBREL from then on that PUBREC has come.
    @ivar tries: how often it was sent.
    @ivar deadline: when it goes out again.
    """

    __slots__ = ("topic", "payload", "qos", "packetID", "retain", "dup", "wire", "released", "tries", "deadline")

    def __init__(self, topic: str, payload: bytes, qos: int, packetID: int, retain: bool, dup: bool) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.packetID = packetID
        self.retain = retain
        self.dup = dup
        self.wire = b""
        self.released = False
        self.tries = 0
        self.deadline = 0.0


class _OutgoingRegister:
    """
    The one REGISTER that may be unanswered (6.10).
    """

    __slots__ = ("topic", "topicID", "msgID", "wire", "tries", "deadline")

    def __init__(self, topic: str, topicID: int, msgID: int, deadline: float) -> None:
        self.topic = topic
        self.topicID = topicID
        self.msgID = msgID
        self.wire = encode(SNRegister(topicID, msgID, topic))
        self.tries = 1
        self.deadline = deadline


class Outgoing:
    """
    The messages for one client.

    @ivar inflight: those that wait for an acknowledgement, in the order of sending, by packet identifier.
    @ivar interval: T_retry, in seconds.
    @ivar frozen: whether nothing may be sent, since the client sleeps.
    """

    __slots__ = (
        "inflight",
        "frozen",
        "_registry",
        "_send",
        "_upstream",
        "interval",
        "_retries",
        "_registration",
        "_held",
        "_nextID",
    )

    def __init__(
        self,
        registry: TopicRegistry,
        send: Callable[[bytes], None],
        upstream: Upstream,
        interval: float,
        retries: int,
    ) -> None:
        """
        @param interval: T_retry, in seconds.
        @param retries: N_retry.
        """
        self.inflight: dict[int, OutgoingPublish] = {}
        self.frozen = False
        self._registry = registry
        self._send = send
        self._upstream = upstream
        self.interval = interval
        self._retries = retries
        self._registration: _OutgoingRegister | None = None
        self._held: deque[OutgoingPublish] | None = None
        self._nextID = 1

    @property
    def idle(self) -> bool:
        """
        Whether nothing is on its way.
        """
        return not self.inflight and self._registration is None and not self._held

    @property
    def blocked(self) -> bool:
        """
        Whether messages have to wait for what is going on.
        """
        return self.frozen or self._registration is not None

    @property
    def deadline(self) -> float:
        """
        When L{due} is to be called; 0 for not at all.
        """
        if self.frozen:
            return 0.0
        deadlines = [delivery.deadline for delivery in self.inflight.values()]
        if self._registration is not None:
            deadlines.append(self._registration.deadline)
        return min(deadlines, default=0.0)

    def deliver(self, delivery: OutgoingPublish, now: float) -> None:
        """
        Send a message, as soon as the client can be told its topic.
        """
        if not self.frozen and self._registration is None:
            self._dispatch(delivery, now)
            return
        held = self._held
        if held is None:
            held = self._held = deque()
        if len(held) >= _MOST_HELD:
            self._refuse(delivery, now)
        else:
            held.append(delivery)

    def release(self, packetID: int, now: float) -> None:
        """
        Send a PUBREL, and again until PUBCOMP comes.
        """
        delivery = self.inflight.get(packetID)
        if delivery is None:
            delivery = self.inflight[packetID] = OutgoingPublish("", b"", 2, packetID, False, False)
        delivery.released = True
        delivery.payload = b""
        delivery.wire = message(PUBREL, packetID.to_bytes(2, "big"))
        delivery.tries = 1
        delivery.deadline = now + self.interval
        if not self.frozen:
            self._send(delivery.wire)

    # Acknowledgements of the client

    def regack(self, packet: SNPacket, now: float) -> None:
        """
        REGACK has come.
        """
        registration = self._registration
        if registration is None or (registration.msgID, registration.topicID) != (packet.msgID, packet.topicID):
            return
        if packet.code == CONGESTION:  # 6.10: later, then
            registration.deadline = now + self.interval
            return
        self._registration = None
        if packet.code != ACCEPTED:
            self._registry.forget(registration.topic)
            held, self._held = self._held or deque(), deque()
            for delivery in held:
                if delivery.topic == registration.topic:
                    self._refuse(delivery, now)
                else:
                    self._held.append(delivery)
        self._continue(now)

    def puback(self, packet: SNPacket, now: float) -> None:
        """
        PUBACK has come: for a message of QoS 1, or to say what is wrong with one of any QoS.
        """
        delivery = self.inflight.get(packet.msgID)
        if packet.code == ACCEPTED:
            if delivery is None or delivery.qos == 1:
                self.inflight.pop(packet.msgID, None)
                self._upstream.acknowledged(packet.msgID, now)
            return
        if delivery is None or delivery.released:
            if packet.code == INVALID_TOPIC:
                self._registry.forgetID(packet.topicID)
        elif packet.code == CONGESTION:
            delivery.deadline = now + self.interval
        else:
            del self.inflight[packet.msgID]
            if packet.code == INVALID_TOPIC and delivery.tries <= self._retries:
                # The client has forgotten, or has never known: it is told (again).
                self._registry.forget(delivery.topic)
                self.deliver(delivery, now)
            else:
                self._refuse(delivery, now)

    def pubrec(self, packetID: int, now: float) -> None:
        """
        PUBREC has come.
        """
        if self._upstream.pubrec(packetID, now):
            # After a crash that has forgotten PUBREC the message goes out again; a client that was told to release it
            # would take it for a new one.
            self._upstream.whenSafe(lambda: self._received(packetID, now))

    def _received(self, packetID: int, now: float) -> None:
        if packetID in self.inflight:
            self.release(packetID, now)
        elif not self.frozen:
            # Not known any more; the client can finish its side.
            self._send(message(PUBREL, packetID.to_bytes(2, "big")))

    def pubcomp(self, packetID: int, now: float) -> None:
        """
        PUBCOMP has come.
        """
        delivery = self.inflight.get(packetID)
        if delivery is not None and delivery.released:
            del self.inflight[packetID]
        self._upstream.pubcomp(packetID, now)

    # Time

    def due(self, now: float) -> bool:
        """
        Send again what was not answered in time.

        @return: False where that was done often enough: the client is not there.
        """
        if self.frozen:
            return True
        registration = self._registration
        if registration is not None and registration.deadline <= now:
            if registration.tries > self._retries:
                return False
            registration.tries += 1
            registration.deadline = now + self.interval
            self._send(registration.wire)
        for delivery in list(self.inflight.values()):
            if delivery.deadline <= now:
                if delivery.tries > self._retries:
                    return False
                self._again(delivery, now)
        return True

    def freeze(self) -> None:
        """
        The client sleeps.
        """
        self.frozen = True

    def thaw(self, now: float) -> None:
        """
        The client is awake: send again what it has not acknowledged, then what is held.
        """
        self.frozen = False
        for delivery in list(self.inflight.values()):
            delivery.tries = 0
            self._again(delivery, now)
        registration = self._registration
        if registration is not None:
            registration.tries = 1
            registration.deadline = now + self.interval
            self._send(registration.wire)
        else:
            self._continue(now)

    # Inside

    def _again(self, delivery: OutgoingPublish, now: float) -> None:
        delivery.tries += 1
        delivery.deadline = now + self.interval
        self._send(delivery.wire if delivery.released else withDup(delivery.wire))

    def _dispatch(self, delivery: OutgoingPublish, now: float) -> bool:
        """
        Send a message, or the REGISTER that has to go before it; returns whether others may follow.
        """
        topic = delivery.topic
        reference = self._registry.reference(topic)
        if reference is None:
            return self._register(delivery, now)
        idType, topicID = reference
        qos = delivery.qos
        wire = encodePublish(idType, topicID, delivery.payload, qos, delivery.packetID, delivery.retain, delivery.dup)
        if qos:
            delivery.wire = wire
            delivery.tries += 1
            delivery.deadline = now + self.interval
            self.inflight[delivery.packetID] = delivery
        self._send(wire)
        return True

    def _register(self, delivery: OutgoingPublish, now: float) -> bool:
        topicID = self._registry.give(delivery.topic)
        if topicID is None:
            self._refuse(delivery, now)
            return True
        if self._held is None:
            self._held = deque()
        self._held.appendleft(delivery)
        msgID = self._nextID
        self._nextID = msgID + 1 if msgID < 0xFFFF else 1
        registration = self._registration = _OutgoingRegister(delivery.topic, topicID, msgID, now + self.interval)
        self._upstream.setCongested(True, now)
        self._send(registration.wire)
        return False

    def _continue(self, now: float) -> None:
        """
        Send what is held, then let others come.
        """
        while self._held:
            if self.frozen or not self._dispatch(self._held.popleft(), now):
                return
        self._held = None
        if not self.frozen:
            self._upstream.setCongested(False, now)

    def _refuse(self, delivery: OutgoingPublish, now: float) -> None:
        if delivery.qos:
            self._upstream.refused(delivery.packetID, now)
