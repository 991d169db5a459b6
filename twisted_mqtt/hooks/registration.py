"""
Callbacks as they were added to hook points: each behind its filter and with its own arguments.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING

from twisted_mqtt.hooks.chain import Callback
from twisted_mqtt.hooks.packets import thisPacket

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted_mqtt.core.topicrules import TopicRules
    from twisted_mqtt.interfaces import IClient

#: On whose behalf callbacks are being added: L{twisted_mqtt.extensions.running} sets it while an extension starts, so
#: that what the extension forgets to remove can be found. A context variable, because a start that awaits keeps it.
hookOwner: ContextVar[object | None] = ContextVar("hookOwner", default=None)


class Registration:
    """
    One callback on one point, as it was added.

    @ivar call: what the chain calls: the action itself, or the action behind its filter and with its own arguments.
    """

    __slots__ = ("action", "args", "call", "filter", "owner", "priority")

    def __init__(
        self, action: Callback, priority: int, filter: Callable[..., object] | None, args: tuple[object, ...]
    ) -> None:
        self.action = action
        self.priority = priority
        self.filter = filter
        self.args = args
        self.owner = hookOwner.get()
        self.call = _bind(action, filter, args)


def _bind(action: Callback, filter: Callable[..., object] | None, args: tuple[object, ...]) -> Callback:
    """
    Put the filter and the callback's own arguments around an action, once, so that the chain need not look for them.
    """
    if filter is None and not args:
        return action

    @wraps(action)
    def call(*given: object) -> object:
        if filter is not None and not filter(*given):
            return None
        return action(*given, *args)

    return call


class AccessRegistration(Registration):
    """
    One callback on C{client.check_acl}; L{AccessPoint.add} says what is special about it.
    """

    __slots__ = ("publishRules",)

    def __init__(
        self,
        action: Callback,
        priority: int,
        filter: Callable[..., object] | None,
        args: tuple[object, ...],
        publishRules: Callable[[IClient], TopicRules | None] | None,
        perPacket: bool,
    ) -> None:
        super().__init__(action, priority, filter, args)
        self.publishRules = publishRules
        if perPacket:
            self.call = _perPacket(self.call)


def _perPacket(action: Callback) -> Callback:
    @wraps(action)
    def call(*given: object) -> object:
        packet = thisPacket()
        if packet is not None:
            packet.rememberable = False
        return action(*given)

    return call
