"""
The packet that callbacks are called for: all points that fire for one packet share one object.

It is compiled, because each packet that callbacks are called for has one.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.packets import SubscriptionRequest
    from twisted_mqtt.core.properties import Properties
    from twisted_mqtt.interfaces import IClient

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class PacketContext:
    """
    A packet of a client, while hook points are fired for it.

    @ivar client: who sent it.
    @ivar kind: C{"connect"}, C{"will"} (the will of a CONNECT), C{"auth"}, C{"publish"}, C{"subscribe"} or
        C{"unsubscribe"}, whatever the client's protocol calls that.
    @ivar topic: of a message, as the client named it: without its mount point; else empty.
    @ivar payload: of a message.
    @ivar qos: of a message, or of the subscription that C{client.check_acl} is asked about.
    @ivar retain: of a message.
    @ivar properties: of the packet; C{None} for none.
    @ivar request: the subscription that C{client.check_acl} is asked about, with its options; else C{None}.
    @ivar rememberable: whether what C{client.check_acl} says of this packet holds for others with the same topic too.
    """

    __slots__ = (
        "_answers",
        "client",
        "kind",
        "payload",
        "properties",
        "qos",
        "rememberable",
        "request",
        "retain",
        "topic",
    )

    def __init__(
        self,
        client: IClient,
        kind: str,
        topic: str = "",
        payload: bytes = b"",
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> None:
        self.client: IClient = client
        self.kind: str = kind
        self.topic: str = topic
        self.payload: bytes = payload
        self.qos: int = qos
        self.retain: bool = retain
        self.properties: Properties | None = properties
        self.request: SubscriptionRequest | None = None
        self.rememberable: bool = True
        self._answers: dict[object, object] | None = None

    @property
    def answers(self) -> dict[object, object]:
        """
        A dictionary in which callbacks keep results for callbacks that are called later for the same packet. Each uses
        a key of its own, such as its own object.
        """
        if self._answers is None:
            self._answers = {}
        return self._answers

    def __repr__(self) -> str:
        return f"<PacketContext {self.kind} {self.topic!r} of {self.client!r}>"


_current: Final[ContextVar[PacketContext | None]] = ContextVar("packet", default=None)


def thisPacket() -> PacketContext | None:
    """
    Say for which packet the present callback has been called. A coroutine may ask again after it has waited.

    @return: C{None} where it is called for no packet of a client, such as for a message of the broker itself.
    """
    return _current.get()


def during(packet: PacketContext | None, call: Callable[[*_Ts], _T], *args: *_Ts) -> _T:
    """
    Call something on behalf of a packet: it is L{thisPacket} while the call lasts.

    @return: what C{call} returns.
    """
    token = _current.set(packet)
    try:
        return call(*args)
    finally:
        _current.reset(token)
