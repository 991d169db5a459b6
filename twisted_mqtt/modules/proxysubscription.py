"""
Subscribes each client that connects to the same configured filters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Struct
from zope.interface import implementer

from twisted_mqtt.base.ratelimitedlog import RateLimitedLog
from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.config.keys import Entries, Flag, QoS, TopicFilter
from twisted_mqtt.core.packets import Subscribe, SubscriptionRequest
from twisted_mqtt.core.templates import UnfitName, filled
from twisted_mqtt.interfaces import IExtension

if TYPE_CHECKING:
    from twisted_mqtt.interfaces import IClient, IExtensionContext


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
        self._log = RateLimitedLog(context.broker.clock.seconds)
        context.hook("client.connected", self._connected)

    def _connected(self, client: IClient, connection: object) -> Maybe[None]:
        # Anybody can call himself so: it has to have been checked.
        username = None if client.anonymous else client.username or None
        names = {"c": client.clientID, "u": username}
        requests = []
        for entry in self._entries:
            try:
                topicFilter = filled(entry.topic, names)
            except UnfitName as error:
                self._log.info(
                    "{client} is not subscribed to {topic}: {error}", client=client, topic=entry.topic, error=error
                )
                continue
            # A client that comes back to its session has its subscriptions already, and what is retained too.
            requests.append(SubscriptionRequest(topicFilter, entry.qos, retainHandling=1))
        if requests:
            subscribing = self._broker.subscribeClient(client, Subscribe(0, requests), trusted=True)
            return then(subscribing, lambda done: done.deliverRetained())
        return None
