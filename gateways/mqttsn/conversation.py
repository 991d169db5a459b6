"""
The base of each part of the dialogue with one client: it answers, and it waits without losing the order.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, TypeVarTuple

from twisted.internet.defer import Deferred

from gateways.implements import GatewayClient
from gateways.mqttsn.codec import encode
from gateways.mqttsn.packets import ACCEPTED, CONGESTION, INVALID_TOPIC, NOT_SUPPORTED, SNPacket
from twisted_mqtt.core.reasons import NORMAL_DISCONNECTION, UNSPECIFIED_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from twisted.python.failure import Failure

    from gateways.mqttsn.registry import Predefined
    from gateways.mqttsn.session import SNClient
    from gateways.mqttsn.settings import MQTTSNSettings
    from gateways.mqttsn.will import WillData
    from twisted_mqtt.base.waiting import Maybe
    from twisted_mqtt.broker.client import ClientInfo
    from twisted_mqtt.broker.listenerprofile import ListenerProfile
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.interfaces import IBroker


_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

# The states of 6.14; "disconnected" and "lost" are both GONE here, because nothing is left of either.
CONNECTING: Final = 0
ACTIVE: Final = 1
ASLEEP: Final = 2
AWAKE: Final = 3
GONE: Final = 4

# Messages that come while the client waits for somebody's answer, before they are dropped: it will send them again.
_MOST_PARKED: Final = 32

_CODES: Final[dict[int, int]] = {
    **dict.fromkeys((0x88, 0x89, 0x8B, 0x93, 0x96, 0x97, 0x9F), CONGESTION),
    **dict.fromkeys((0x81, 0x8F, 0x90), INVALID_TOPIC),
}
"""
What reason codes are called here; the others are C{NOT_SUPPORTED}, which is the only plain no of MQTT-SN 1.2.
"""


def codeOf(reason: int) -> int:
    """
    The return code of an MQTT 5 reason code.
    """
    return ACCEPTED if reason < 0x80 else _CODES.get(reason, NOT_SUPPORTED)


class SNGateway(Protocol):
    """
    The gateway, as its clients see it.

    @ivar port: where it listens.
    @ivar patience: how many periods of silence make a client lost.
    @ivar sessionExpiry: for how many seconds a session that is not clean outlives its connection.
    """

    broker: IBroker
    profile: ListenerProfile
    settings: MQTTSNSettings
    predefined: Predefined
    port: int
    patience: float
    sessionExpiry: int

    def send(self, key: Hashable, wire: bytes) -> None:
        """
        Send a datagram to a client.
        """

    def left(self, client: SNClient) -> None:
        """
        A client is gone.
        """

    def seconds(self) -> float:
        """
        The time.
        """

    def willOf(self, clientID: str) -> WillData | None:
        """
        The will that is kept with a session.
        """

    def keepWill(self, clientID: str, will: WillData | None) -> None:
        """
        Keep a will with a session, or forget it.
        """


class Conversation:
    """
    One client at one address, as far as that.

    @ivar key: its address, and its forwarder's name for it if it has one.
    @ivar state: where it is in 6.14.
    """

    __slots__ = ("key", "state", "_site", "_client", "_parked")

    def __init__(self, site: SNGateway, key: Hashable, host: str, port: int) -> None:
        self.key = key
        self.state = CONNECTING
        self._site = site
        self._client = GatewayClient(site.broker, site.profile, self, "mqtt-sn", host, port, site.port)
        self._parked: deque[SNPacket] | None = None

    @property
    def info(self) -> ClientInfo:
        """
        The client's information for hooks.
        """
        return self._client.info

    def received(self, packet: SNPacket, now: float) -> None:
        """
        Take a message; any but a CONNECT.
        """
        raise NotImplementedError

    def receive(
        self, message: Message, qos: int, packetID: int, retain: bool, dup: bool, identifiers: list[int] | None
    ) -> None:
        """
        See L{twisted_mqtt.core.link.LinkReceiver}.
        """
        raise NotImplementedError

    def released(self, packetID: int) -> None:
        """
        See L{twisted_mqtt.core.link.LinkReceiver}.
        """
        raise NotImplementedError

    def sentAway(self, reason: int, text: str) -> None:
        """
        See L{gateways.client.GatewaySession}.
        """
        raise NotImplementedError

    def _park(self, packet: SNPacket) -> bool:
        """
        Put a message aside if one before it still waits for somebody's answer.
        """
        if self._parked is None:
            return False
        if len(self._parked) < _MOST_PARKED:
            self._parked.append(packet)
        return True

    def _send(self, wire: bytes) -> None:
        self._site.send(self.key, wire)

    def _answer(self, packet: SNPacket) -> None:
        if self.state != GONE:
            self._site.send(self.key, encode(packet))

    def _then(self, result: Maybe[_T], goOn: Callable[[_T, *_Ts], None], *args: *_Ts) -> None:
        """
        Go on with a result; what comes from the client while that has to be waited for is taken afterwards.
        """
        if not isinstance(result, Deferred):
            goOn(result, *args)
            return
        if self._parked is None:
            self._parked = deque()
        result.addCallback(self._cbGoOn, goOn, args)
        result.addErrback(self._ebGoOn)

    def _cbGoOn(self, result: _T, goOn: Callable[[_T, *_Ts], None], args: tuple[*_Ts]) -> None:
        if self.state == GONE:
            if self._client.open:  # let in after it had gone
                self._client.lost(NORMAL_DISCONNECTION)
            return
        parked = self._parked or ()
        self._parked = None
        goOn(result, *args)
        for packet in parked:
            # If it has to wait again, what is left of these is put aside again, in order.
            if self.state != GONE:
                self.received(packet, self._site.seconds())

    def _ebGoOn(self, failure: Failure) -> None:
        self._site.broker.faults.failure("{client} failed", failure, client=self._client.info)
        self._end(UNSPECIFIED_ERROR)

    def _end(self, reason: int, keepWill: bool = True) -> None:
        """
        It is disconnected, or lost.
        """
        raise NotImplementedError
