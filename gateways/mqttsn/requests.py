"""
The requests of clients: register topics, publish, subscribe, change the will (MQTT-SN 1.2, 6.4 to 6.9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from gateways.mqttsn.codec import encode
from gateways.mqttsn.conversation import CONNECTING, Conversation, SNGateway, codeOf
from gateways.mqttsn.packets import (
    ACCEPTED,
    CONGESTION,
    INVALID_TOPIC,
    NORMAL,
    NOT_SUPPORTED,
    PREDEFINED,
    PUBACK,
    PUBCOMP,
    PUBREC,
    REGACK,
    UNCONNECTED,
    UNSUBACK,
    WILLMSGRESP,
    WILLTOPICRESP,
    SNConnect,
    SNPacket,
    SNPublish,
    SNRegister,
    SNSuback,
    SNSubscribe,
    SNWillTopic,
)
from gateways.mqttsn.registry import TopicRegistry
from gateways.mqttsn.will import WillData
from twisted_mqtt.base.waiting import Maybe
from twisted_mqtt.core.reasons import TOPIC_FILTER_INVALID, ProtocolError
from twisted_mqtt.core.topics import hasWildcard, isTopicName, splitShare

if TYPE_CHECKING:
    from collections.abc import Hashable

    from twisted_mqtt.broker.subscribing import Subscribing


# Of so many messages, a repetition that comes late is known as one.
_REMEMBERED: Final = 4


class Requests(Conversation):
    """
    The requests of one client, each answered in its turn.
    """

    __slots__ = ("_request", "_registry", "_will", "_recent", "_lastSubscribe")

    def __init__(self, site: SNGateway, key: Hashable, request: SNConnect, host: str, port: int) -> None:
        """
        @param request: the CONNECT that has made it.
        """
        super().__init__(site, key, host, port)
        self._request = request
        self._registry = TopicRegistry(site.predefined, site.settings.max_topics)
        self._will: WillData | None = None
        # The keys of the last messages: their repetitions are known by these, and may overtake newer messages.
        self._recent: tuple[tuple[int, int, int, int], ...] = ()
        # The same of the last SUBSCRIBE, and its SUBACK.
        self._lastSubscribe: tuple[tuple[int, int, str, int], bytes] | None = None

    @property
    def clientID(self) -> str:
        """
        The client identifier.
        """
        return self._client.info.clientID or self._request.clientID

    def _keepWill(self) -> None:
        """
        Remember the will for as long as the session may live.
        """
        self._site.keepWill(self.clientID, None if self._request.cleanSession else self._will)

    # Topics and messages

    def _register(self, packet: SNPacket, now: float) -> None:
        assert isinstance(packet, SNRegister)
        code, identifier = ACCEPTED, 0
        if self.state == CONNECTING:
            return
        if not isTopicName(packet.topic):
            code = INVALID_TOPIC
        else:
            found = self._registry.register(packet.topic)
            if found is None:
                code = CONGESTION
            else:
                identifier = found
        self._answer(SNPacket(REGACK, packet.msgID, code, identifier))

    def _publish(self, packet: SNPacket, now: float) -> None:
        assert isinstance(packet, SNPublish)
        if self.state == CONNECTING:
            return
        topic = self._registry.topicOf(packet.idType, packet.topicID)
        qos = packet.qos
        if topic is None:
            if qos != UNCONNECTED:
                self._puback(packet, INVALID_TOPIC)
            return
        if qos <= 0:
            result = self._client.publish(topic, packet.data, 0, packet.retain)
            if isinstance(result, Deferred):
                self._then(result, self._published, packet)
            elif result >= 0x80 and qos == 0:
                self._puback(packet, codeOf(result))
            return
        if self._client.link.router.progress.congested:
            self._puback(packet, CONGESTION)
        elif qos == 1:
            if packet.dup and _essence(packet) in self._recent:
                self._client.link.whenSafe(lambda: self._puback(packet, ACCEPTED))
            else:
                self._then(self._client.publish(topic, packet.data, 1, packet.retain), self._published, packet)
        else:
            self._publish2(packet, topic, now)

    def _publish2(self, packet: SNPublish, topic: str, now: float) -> None:
        if self._client.session is None:
            return
        if self._client.isRepeated(packet.msgID) or (packet.dup and _essence(packet) in self._recent):
            self._pubrec(packet.msgID)
        elif not self._client.remember(packet.msgID, now):
            self._puback(packet, CONGESTION)
        else:
            self._then(self._client.publish(topic, packet.data, 2, packet.retain), self._published, packet)

    def _published(self, reason: int, packet: SNPublish) -> None:
        qos = packet.qos
        if reason >= 0x80:
            if qos == 2:
                self._client.release(packet.msgID)
            if qos != UNCONNECTED:
                self._puback(packet, codeOf(reason))
        elif qos == 1:
            self._remember(packet)
            self._client.link.whenSafe(lambda: self._puback(packet, ACCEPTED))
        elif qos == 2:
            self._remember(packet)
            self._pubrec(packet.msgID)

    def _remember(self, packet: SNPublish) -> None:
        self._recent = (*self._recent[1 - _REMEMBERED :], _essence(packet))

    def _puback(self, packet: SNPublish, code: int) -> None:
        self._answer(SNPacket(PUBACK, packet.msgID, code, packet.topicID))

    def _pubrec(self, msgID: int) -> None:
        self._client.link.whenSafe(lambda: self._answer(SNPacket(PUBREC, msgID)))

    def _pubrel(self, packet: SNPacket, now: float) -> None:
        if self._client.session is not None:
            self._client.release(packet.msgID)
            self._client.link.whenSafe(lambda: self._answer(SNPacket(PUBCOMP, packet.msgID)))

    def _subscribe(self, packet: SNPacket, now: float) -> None:
        assert isinstance(packet, SNSubscribe)
        if self.state == CONNECTING:
            return
        asked = (packet.msgID, packet.idType, packet.topic, packet.topicID)
        last = self._lastSubscribe
        if packet.dup and last is not None and last[0] == asked:
            self._send(last[1])
            return
        topicFilter = self._filterOf(packet)
        identifier: int | None = packet.topicID
        try:
            if topicFilter is None:
                raise ProtocolError(TOPIC_FILTER_INVALID, "nobody knows that identifier")
            if packet.idType == NORMAL:
                name = splitShare(topicFilter)[1]
                identifier = 0 if hasWildcard(name) else self._registry.register(name)
            if identifier is None:
                self._suback(packet, 0, CONGESTION)
                return
            result = self._client.subscribe(topicFilter, packet.qos)
        except ProtocolError:
            self._suback(packet, 0, INVALID_TOPIC)
            return
        self._then(result, self._subscribed, packet, identifier)

    def _subscribed(self, subscribing: Subscribing, packet: SNSubscribe, identifier: int) -> None:
        reason = subscribing.reasons[0]
        if reason >= 0x80:
            self._suback(packet, 0, codeOf(reason))
            return

        def answer() -> None:
            self._suback(packet, identifier, ACCEPTED, reason)
            self._client.sendRetained(subscribing)

        self._client.link.whenSafe(answer)

    def _suback(self, packet: SNSubscribe, identifier: int, code: int, qos: int = 0) -> None:
        wire = encode(SNSuback(identifier, packet.msgID, code, qos))
        self._lastSubscribe = (packet.msgID, packet.idType, packet.topic, packet.topicID), wire
        self._send(wire)

    def _unsubscribe(self, packet: SNPacket, now: float) -> None:
        assert isinstance(packet, SNSubscribe)
        if self.state == CONNECTING:
            return
        topicFilter = self._filterOf(packet)
        result: Maybe[list[int]] = []
        if topicFilter is not None:
            try:
                result = self._client.unsubscribe(topicFilter)
            except ProtocolError:
                pass  # what can't be subscribed is not: UNSUBACK has no way to say more
        self._then(result, self._unsubscribed, packet)

    def _unsubscribed(self, reasons: object, packet: SNSubscribe) -> None:
        self._client.link.whenSafe(lambda: self._answer(SNPacket(UNSUBACK, packet.msgID)))

    def _filterOf(self, packet: SNSubscribe) -> str | None:
        if packet.idType == PREDEFINED:
            return self._registry.topicOf(PREDEFINED, packet.topicID)
        return packet.topic

    # Its will

    def _willTopicUpdate(self, packet: SNPacket, now: float) -> None:
        assert isinstance(packet, SNWillTopic)
        if self.state == CONNECTING:
            return
        if not packet.topic:
            will = None
        elif self._will is None:
            will = WillData(packet.topic, b"", packet.qos, packet.retain)
        else:
            will = self._will.withTopic(packet)
        self._changeWill(WILLTOPICRESP, will)

    def _willMessageUpdate(self, packet: SNPacket, now: float) -> None:
        if self.state == CONNECTING:
            return
        if self._will is None:
            self._answer(SNPacket(WILLMSGRESP, code=NOT_SUPPORTED))
            return
        will = self._will.withPayload(packet.data)
        self._changeWill(WILLMSGRESP, will)

    def _changeWill(self, kind: int, will: WillData | None) -> None:
        changed = self._client.changeWill(None if will is None else will.asWill())
        self._then(changed, self._willChanged, kind, will)

    def _willChanged(self, reason: int, kind: int, will: WillData | None) -> None:
        if reason < 0x80:
            self._will = will
            self._keepWill()
        self._client.link.whenSafe(lambda: self._answer(SNPacket(kind, code=codeOf(reason))))


def _essence(packet: SNPublish) -> tuple[int, int, int, int]:
    """
    Get the key by which a repetition of a PUBLISH is known.
    """
    return packet.msgID, packet.idType, packet.topicID, hash(packet.data)
