"""
One MQTT-SN client: from CONNECT, through its active and sleeping states, until it leaves or is lost (MQTT-SN 1.2,
6.14).

The broker keeps its session (subscriptions, waiting messages); the state in this module ends with the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

from gateways.mqttsn.codec import message
from gateways.mqttsn.conversation import ACTIVE, ASLEEP, AWAKE, CONNECTING, GONE, SNGateway, codeOf
from gateways.mqttsn.outgoing import Outgoing, OutgoingPublish
from gateways.mqttsn.packets import (
    ACCEPTED,
    CONNACK,
    DISCONNECT,
    INVALID_TOPIC,
    NOT_SUPPORTED,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    REGACK,
    REGISTER,
    SUBSCRIBE,
    UNSUBSCRIBE,
    WILLMSG,
    WILLMSGREQ,
    WILLMSGUPD,
    WILLTOPIC,
    WILLTOPICREQ,
    WILLTOPICUPD,
    SNConnect,
    SNPacket,
    SNWillTopic,
)
from gateways.mqttsn.requests import Requests
from gateways.mqttsn.will import WillData
from twisted_mqtt.core.reasons import (
    ADMINISTRATIVE_ACTION,
    KEEP_ALIVE_TIMEOUT,
    NORMAL_DISCONNECTION,
    SESSION_TAKEN_OVER,
)
from twisted_mqtt.core.topics import isTopicName

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from twisted_mqtt.broker.admission import Admission
    from twisted_mqtt.core.message import Message

_log = Logger()

# The fixed parts of a PUBLISH and a REGISTER with a long length.
_PUBLISH_HEAD: Final = 9
_REGISTER_HEAD: Final = 8


class SNClient(Requests):
    """
    One client at one address.

    @ivar bucket: the wheel's own.
    """

    __slots__ = (
        "bucket",
        "_outgoing",
        "_question",
        "_questions",
        "_questionAt",
        "_until",
        "_silence",
        "_heard",
        "_spoke",
        "_welcome",
        "_silent",
    )

    def __init__(self, site: SNGateway, key: Hashable, request: SNConnect, host: str, port: int, now: float) -> None:
        """
        @param request: the CONNECT that has made it.
        """
        super().__init__(site, key, request, host, port)
        settings = site.settings
        self.bucket = 0
        self._outgoing = Outgoing(self._registry, self._send, self, settings.retry_interval, settings.max_retries)
        # The open question of the will dialogue, how often it was asked, and when it is asked again.
        self._question = b""
        self._questions = 0
        self._questionAt = 0.0
        # Until when it must have come in.
        self._until = now + settings.idle_timeout
        # How long it may say nothing before it is lost; 0 for ever.
        self._silence = 0.0
        self._heard = now
        # Whether it has said anything since its CONNECT, and whether it has been told that it is in.
        self._spoke = False
        self._welcome = False
        # Whether it is not to be told of its end: another client speaks from its address.
        self._silent = False

    # From the network

    def begin(self, now: float) -> None:
        """
        Take up the CONNECT that has made it.
        """
        if self._request.will:
            self._ask(WILLTOPICREQ, now)
        else:
            self._admit()

    def isRepeated(self, request: SNConnect) -> bool:
        """
        Whether a CONNECT is the one that has made this client, once more, because the answer was lost.
        """
        return not self._spoke and request == self._request

    def repeat(self) -> None:
        """
        Answer the CONNECT again.
        """
        if self._welcome:
            self._send(message(CONNACK, bytes((ACCEPTED,))))
        elif self._question:
            self._send(self._question)

    def received(self, packet: SNPacket, now: float) -> None:
        """
        Take a message; any but a CONNECT.
        """
        self._heard = now
        self._spoke = True
        if self._park(packet):
            return
        take = _TAKE.get(packet.type)
        if take is not None:
            take(self, packet, now)

    def replaced(self, request: SNConnect) -> None:
        """
        Another CONNECT has come from its address.
        """
        self._silent = True
        # The same client again has not died, and what its will says is not true; of another, nobody knows.
        self._end(SESSION_TAKEN_OVER, keepWill=request.clientID != self._request.clientID)

    def shutDown(self, reason: int) -> None:
        """
        The gateway closes.
        """
        self._send(message(DISCONNECT))
        self._end(reason)

    # From the broker

    def receive(
        self, message: Message, qos: int, packetID: int, retain: bool, dup: bool, identifiers: list[int] | None
    ) -> None:
        """
        See L{twisted_mqtt.core.link.LinkReceiver}.
        """
        now = self._site.seconds()
        self._outgoing.deliver(OutgoingPublish(message.topic, message.payload, qos, packetID, retain, dup), now)
        if qos or self._outgoing.blocked:
            self._schedule()

    def released(self, packetID: int) -> None:
        """
        See L{twisted_mqtt.core.link.LinkReceiver}.
        """
        self._outgoing.release(packetID, self._site.seconds())
        self._schedule()

    def sentAway(self, reason: int, text: str) -> None:
        """
        See L{gateways.client.GatewaySession}.
        """
        if self.state == GONE:
            return
        if reason in (SESSION_TAKEN_OVER, ADMINISTRATIVE_ACTION):
            self._client.info.will = None  # spec/gateways.md 6.2: no will of one that is kicked
        if not self._silent:
            self._send(message(DISCONNECT))
        self._leave()

    # Upstream of what is outgoing

    def acknowledged(self, packetID: int, now: float) -> None:
        """
        See L{gateways.mqttsn.outgoing.Upstream}.
        """
        session = self._client.session
        entry = None if session is None else session.inflight.entries.get(packetID)
        if entry is None or entry.qos == 1:
            self._client.acknowledged(packetID)

    def refused(self, packetID: int, now: float) -> None:
        """
        See L{gateways.mqttsn.outgoing.Upstream}.
        """
        self._client.refused(packetID)

    def pubrec(self, packetID: int, now: float) -> bool:
        """
        See L{gateways.mqttsn.outgoing.Upstream}.
        """
        return self._client.pubrec(packetID, now)

    def pubcomp(self, packetID: int, now: float) -> None:
        """
        See L{gateways.mqttsn.outgoing.Upstream}.
        """
        self._client.pubcomp(packetID, now)

    def setCongested(self, congested: bool, now: float) -> None:
        """
        See L{gateways.mqttsn.outgoing.Upstream}.
        """
        self._client.link.setCongested(congested, now)

    def whenSafe(self, action: Callable[[], None]) -> None:
        """
        See L{gateways.mqttsn.outgoing.Upstream}.
        """
        self._client.link.whenSafe(action)

    # Time

    def due(self, now: float) -> float:
        """
        See L{twisted_mqtt.base.timerwheel.Timed}.
        """
        if self.state == CONNECTING:
            self._dialogueDue(now)
        elif self._silence and self._heard + self._silence <= now:
            _log.debug("{client} is lost", client=self._client.info)
            self._end(KEEP_ALIVE_TIMEOUT)
        elif not self._outgoing.due(now):
            if self.state == AWAKE:
                # It may have fallen asleep again for all that is known; its sleep timer decides what it is.
                self._rest(now)
            else:
                self._end(KEEP_ALIVE_TIMEOUT)
        return self._deadline()

    def _deadline(self) -> float:
        """
        When there will be something to do; 0 for never.
        """
        if self.state == GONE:
            return 0.0
        if self.state == CONNECTING:
            return min(self._until, self._questionAt or self._until)
        deadline = self._outgoing.deadline
        if self._silence:
            lost = self._heard + self._silence
            return min(deadline, lost) if deadline else lost
        return deadline

    def _schedule(self) -> None:
        deadline = self._deadline()
        if deadline:
            self._site.broker.wheel.add(self, deadline)

    def _dialogueDue(self, now: float) -> None:
        if self._until <= now:
            self._refuse(NOT_SUPPORTED)
        elif self._question and self._questionAt <= now:
            if self._questions > self._site.settings.max_retries:
                self._refuse(NOT_SUPPORTED)
                return
            self._questions += 1
            self._questionAt = now + self._site.settings.retry_interval
            self._send(self._question)

    # Coming in

    def _ask(self, kind: int, now: float) -> None:
        self._question = message(kind)
        self._questions = 1
        self._questionAt = now + self._site.settings.retry_interval
        self._send(self._question)
        self._schedule()

    def _willTopic(self, packet: SNPacket, now: float) -> None:
        assert isinstance(packet, SNWillTopic)
        if self.state != CONNECTING or not self._request.will or self._welcome:
            return
        if not packet.topic:  # 6.3: no will after all
            self._will = None
            self._admit()
        elif not isTopicName(packet.topic):
            self._refuse(INVALID_TOPIC)
        else:
            self._will = WillData(packet.topic, b"", packet.qos, packet.retain)
            self._ask(WILLMSGREQ, now)

    def _willMessage(self, packet: SNPacket, now: float) -> None:
        if self.state != CONNECTING or self._will is None:
            return
        self._will = self._will.withPayload(packet.data)
        self._admit()

    def _admit(self) -> None:
        """
        Ask the broker to let it in.
        """
        self._question = b""
        self._questionAt = 0.0
        site, request = self._site, self._request
        if not request.cleanSession and not request.will:
            self._will = site.willOf(request.clientID)  # 6.3: it is kept with the session
        self._schedule()
        self._then(
            self._client.connect(
                request.clientID,
                site.settings.username or None,
                site.settings.password.encode("utf-8") if site.settings.password else None,
                request.cleanSession,
                request.duration or 0,
                0 if request.cleanSession else site.sessionExpiry,
                None if self._will is None else self._will.asWill(),
                site.settings.max_inflight,
                "MQTT-SN",
                request.protocolID,
            ),
            self._admitted,
        )

    def _admitted(self, admission: Admission) -> None:
        if admission.reason:
            self._refuse(codeOf(admission.reason))
            return
        site, request = self._site, self._request
        self.state = ACTIVE
        if self._client.info.retryInterval:
            self._outgoing.interval = self._client.info.retryInterval
        link, largest = self._client.link, site.settings.max_message_size
        link.maxOut, link.maxTopic = largest - _PUBLISH_HEAD, largest - _REGISTER_HEAD
        self._keepWill()
        # MQTT-SN can't tell a client the keep-alive of the broker, as MQTT 5 can: the client's own figure counts.
        self._silence = (request.duration or 0) * site.patience
        self._schedule()
        self._client.link.whenSafe(self._welcomed)

    def _welcomed(self) -> None:
        self._welcome = True
        self._send(message(CONNACK, bytes((ACCEPTED,))))
        self._client.begin()

    def _refuse(self, code: int) -> None:
        self._send(message(CONNACK, bytes((code,))))
        # One that goes while somebody is asked about it is not let in any more.
        self._client.link.closed = True
        self._leave()

    # Acknowledgements of the client

    def _regack(self, packet: SNPacket, now: float) -> None:
        self._outgoing.regack(packet, now)
        self._settled(now)

    def _pubackReceived(self, packet: SNPacket, now: float) -> None:
        self._outgoing.puback(packet, now)
        self._settled(now)

    def _pubrecReceived(self, packet: SNPacket, now: float) -> None:
        self._outgoing.pubrec(packet.msgID, now)
        self._settled(now)

    def _pubcompReceived(self, packet: SNPacket, now: float) -> None:
        self._outgoing.pubcomp(packet.msgID, now)
        self._settled(now)

    def _settled(self, now: float) -> None:
        if self.state == AWAKE:
            self._restIfDone(now)
        self._schedule()

    # Sleep, and the end

    def _ping(self, packet: SNPacket, now: float) -> None:
        if self.state == CONNECTING:
            return
        if not packet.data or self.state == ACTIVE:
            self._send(message(PINGRESP))
        elif packet.data != self._request.clientID.encode("utf-8"):
            self._send(message(DISCONNECT))
        else:
            if self.state == ASLEEP:
                self.state = AWAKE
                self._outgoing.thaw(now)
                if not self._outgoing.blocked:
                    self.setCongested(False, now)
            self._settled(now)

    def _restIfDone(self, now: float) -> None:
        """
        Let an awake client sleep on if there is nothing more for it (6.14).
        """
        session = self._client.session
        if self._outgoing.idle and (session is None or session.queueLength == 0):
            self._rest(now)
            self._send(message(PINGRESP))

    def _rest(self, now: float) -> None:
        self.state = ASLEEP
        self._outgoing.freeze()
        self.setCongested(True, now)

    def _disconnect(self, packet: SNPacket, now: float) -> None:
        if self.state == CONNECTING:
            self._refuse(NOT_SUPPORTED)
            return
        self._send(message(DISCONNECT))
        if packet.duration:
            self._silence = packet.duration * self._site.patience
            self._rest(now)
            self._schedule()
        else:
            self._end(NORMAL_DISCONNECTION, keepWill=False)

    def _end(self, reason: int, keepWill: bool = True) -> None:
        """
        It is disconnected, or lost.
        """
        if self.state == GONE:
            return
        wasIn = self.state != CONNECTING
        # Before anybody is told: nothing more goes to it.
        self._leave()
        if wasIn:
            self._client.lost(reason, keepWill)
        else:
            self._client.link.closed = True

    def _leave(self) -> None:
        self.state = GONE
        self._parked = None
        self._site.broker.wheel.remove(self)
        self._site.left(self)


_TAKE: Final[dict[int, Callable[[SNClient, SNPacket, float], None]]] = {
    PUBLISH: SNClient._publish,
    PUBACK: SNClient._pubackReceived,
    PUBREC: SNClient._pubrecReceived,
    PUBREL: SNClient._pubrel,
    PUBCOMP: SNClient._pubcompReceived,
    PINGREQ: SNClient._ping,
    REGISTER: SNClient._register,
    REGACK: SNClient._regack,
    SUBSCRIBE: SNClient._subscribe,
    UNSUBSCRIBE: SNClient._unsubscribe,
    WILLTOPIC: SNClient._willTopic,
    WILLMSG: SNClient._willMessage,
    WILLTOPICUPD: SNClient._willTopicUpdate,
    WILLMSGUPD: SNClient._willMessageUpdate,
    DISCONNECT: SNClient._disconnect,
}
"""
What is done with each message of a client; the others are for clients.
"""
