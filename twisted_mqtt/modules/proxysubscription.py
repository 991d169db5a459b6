"""
Subscribes each client that connects to the same configured filters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Struct
from zope.interface import implementer

from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.config.keys import Entries, Flag, QoS, TopicFilter
from twisted_mqtt.core.packets import Subscribe, SubscriptionRequest
from twisted_mqtt.interfaces import IExtension

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IClient, IExtensionContext

_MARK: Final = re.compile("%[cu]")


class ProxySubscription(Struct, frozen=True, kw_only=True):
    """
    C{[module.subscription.<number>]}: one subscription made for every client.
    """

    topic: Annotated[TopicFilter, "The topic filter; %c is the client identifier, %u the user name"]
    qos: Annotated[QoS, "The subscription's quality of service"] = 0


class SubscriptionSettings(Struct, frozen=True, kw_only=True):
    """
    C{[module.subscription]}: subscriptions that the broker makes for every client.
    """

    enable: Annotated[Flag, "Whether it starts with the broker although `plugins.load` does not name it"] = False
    entries: Annotated[tuple[ProxySubscription, ...], Entries(), "The subscriptions"] = ()


@implementer(IExtension)
class ProxySubscriptions:
    """
    The extension C{subscription}.

    A client has its subscriptions before anything that waited for it is delivered. No access rule is asked: what the
    operator wrote down is allowed.
    """

    def __init__(self, settings: SubscriptionSettings) -> None:
        self._entries = settings.entries

    def start(self, context: IExtensionContext) -> None:
        """
        Subscribe the clients that connect from now on. Their subscriptions stay for as long as their sessions.
        """
        self._broker = context.broker
        context.hook("client.connected", self._connected)

    def _connected(self, client: IClient, connection: object) -> Maybe[None]:
        requests = []
        for entry in self._entries:
            topicFilter = filled(entry.topic, client)
            if topicFilter is not None:
                # A client that comes back to its session has its subscriptions already, and what is retained too.
                requests.append(SubscriptionRequest(topicFilter, entry.qos, retainHandling=1))
        if requests:
            subscribing = self._broker.subscribeClient(client, Subscribe(0, requests), trusted=True)
            return then(subscribing, lambda done: done.deliverRetained())
        return None


def filled(template: str, client: IClient) -> str | None:
    """
    Put a client's names in place of C{%c} and C{%u}.

    @return: C{None} if the client has no such name, or one that is more than a level, which would let it choose its
        filter.
    """
    names = {"%c": client.clientID, "%u": client.username}
    used = [names[mark] for mark in _MARK.findall(template)]
    if any(not name or any(mark in name for mark in "/+#\0") for name in used):
        return None
    if template.startswith("%") and (used[0] or "").startswith("$"):
        return None
    # In one pass: a name that looks like a mark is not filled in again.
    return _MARK.sub(lambda mark: names[mark[0]] or "", template)
