"""
Removes topics of C{/ps}, in portions: a request for one may concern very many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from gateways.coap.codes import DELETED, SERVICE_UNAVAILABLE
from gateways.coap.expiry import endObservations
from gateways.coap.publishing import refusePublish, retainedOf
from gateways.coap.pubsub import MOST_WALKS, keyOf
from twisted_mqtt.base.waiting import nextTurn

if TYPE_CHECKING:
    from gateways.coap.request import CoAPRequest
    from gateways.coap.session import CoAPClient

# How many in one turn of the reactor.
_AT_ONCE: Final = 10


async def removeAll(request: CoAPRequest, client: CoAPClient, topic: str) -> None:
    """
    Remove a topic and those below it, one after the other: each may be somebody else's, in the eyes of the access
    rules. It rests between portions of them.
    """
    gateway, info = request.gateway, client.client.info
    key = keyOf(info, topic)
    if gateway.topics.get(key) is None and retainedOf(request, client, topic) is not None:
        if not await _removeOne(request, client, topic):
            return
    if len(gateway.topics.below(key, "", _AT_ONCE)) == _AT_ONCE:
        if gateway.walks >= MOST_WALKS:
            request.refuse(SERVICE_UNAVAILABLE, "too many requests that concern many topics", 1.0)
            return
        gateway.walks += 1
        try:
            done = await _removeBelow(request, client, key, topic)
        finally:
            gateway.walks -= 1
    else:
        done = await _removeBelow(request, client, key, topic)
    if done:
        request.answer(DELETED)


async def _removeBelow(request: CoAPRequest, client: CoAPClient, key: str, topic: str) -> bool:
    """
    @return: whether all could be removed; if not, the request has been answered.
    """
    gateway = request.gateway
    # The length of the prefix before the topic in its key.
    before = len(key) - len(topic)
    after = ""
    while keys := gateway.topics.below(key, after, _AT_ONCE):
        for each in keys:
            if not await _removeOne(request, client, each[before:]):
                return False
        after = keys[-1]
        if len(keys) == _AT_ONCE:
            await nextTurn(gateway.broker.clock)
    return True


async def _removeOne(request: CoAPRequest, client: CoAPClient, topic: str) -> bool:
    """
    Remove a topic's value and tell its observers, and forget the topic unless it has a configuration, which stays.

    @return: whether it could be removed; if not, the request has been answered.
    """
    gateway = request.gateway
    key = keyOf(client.client.info, topic)
    # An empty value is how MQTT removes one.
    published = client.client.publish(topic, b"", 0, True)
    reason = await published if isinstance(published, Deferred) else published
    if reason >= 0x80:
        refusePublish(reason, request, client)
        return False
    known = gateway.topics.get(key)
    if known is None or known.configuration is None:
        gateway.topics.remove(key)
    elif known.configuration.initialized:
        gateway.topics.configure(known.identifier, replace(known.configuration, initialized=False))
    endObservations(gateway, key, topic)
    return True
