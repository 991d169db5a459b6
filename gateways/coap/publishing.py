"""
What requests below C{/mqtt} and C{/ps} have in common: publishing, observing, and the value of a topic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateways.coap.codes import CHANGED, CONTENT
from gateways.coap.options import (
    CONTENT_FORMAT,
    MAX_AGE,
    Option,
    uintOption,
)
from gateways.coap.session import CoAPClient, FormatOf, Observer
from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.core.reasons import MESSAGE_RATE_TOO_HIGH, NOT_AUTHORIZED, SERVER_BUSY

if TYPE_CHECKING:
    from gateways.coap.request import CoAPRequest
    from twisted_mqtt.core.message import Message
    from twisted_mqtt.core.properties import Properties


def publish(
    request: CoAPRequest,
    client: CoAPClient,
    topic: str,
    payload: bytes,
    qos: int,
    retain: bool,
    properties: Properties | None,
) -> Maybe[None]:
    """
    Publish for a client, and answer its request.
    """
    result = client.client.publish(topic, payload, qos, retain, properties)
    return then(result, published, request, client, CHANGED, bool(qos) or retain)


def published(reason: int, request: CoAPRequest, client: CoAPClient, code: int, keep: bool) -> None:
    """
    Answer a request for which something was published.

    @param reason: how that went.
    @param code: of the answer if it went well.
    @param keep: whether the answer waits until the message would survive a crash.
    """
    if reason >= 0x80 and reason != NOT_AUTHORIZED:
        refusePublish(reason, request, client)
    elif keep and reason < 0x80:
        client.client.link.whenSafe(lambda: request.answer(code))
    else:
        # A message that access rules refuse is acknowledged and dropped, as with MQTT 3.1.1 (specification, 4.2).
        request.answer(code)


def refusePublish(reason: int, request: CoAPRequest, client: CoAPClient) -> None:
    """
    Answer a request for which something could not be published.
    """
    request.refuseFor(reason, client.client.wait if reason in (MESSAGE_RATE_TOO_HIGH, SERVER_BUSY) else 0.0)


def observe(request: CoAPRequest, client: CoAPClient, topic: str, formatOf: FormatOf) -> Maybe[None]:
    """
    Begin an observation of a topic or a filter.
    """
    return observeAs(request, client, Observer(request.message, topic, formatOf))


def observeAs(request: CoAPRequest, client: CoAPClient, observation: Observer) -> Maybe[None]:
    """
    As L{observe}, for an observation that was made before.
    """
    return then(client.observe(observation), _observed, request, client, observation)


def _observed(
    outcome: tuple[int, Callable[[], None]], request: CoAPRequest, client: CoAPClient, observation: Observer
) -> Maybe[None]:
    reason, told = outcome
    if reason:
        request.refuseFor(reason)
        return None
    # Numbered now: what is published while the value is fetched is newer.
    options = [observation.option()]
    # The state of the resource is the retained message, where there is one for sure (RFC 7641 1.1).
    value = fetch(request, client, observation.topicFilter)
    return then(value, _observed2, request, observation, options, told)


def _observed2(
    value: Message | None,
    request: CoAPRequest,
    observation: Observer,
    options: list[Option],
    told: Callable[[], None],
) -> None:
    if value is None:
        options.append(uintOption(CONTENT_FORMAT, observation.emptyFormat))
        request.answer(CONTENT, options)
        told()
    else:
        options.append(uintOption(CONTENT_FORMAT, observation.formatOf(value)))
        request.answer(CONTENT, [*options, *ageOf(request, value)], value.payload)


def cancel(request: CoAPRequest, client: CoAPClient, topic: str) -> None:
    """
    End the observation of a request's token, or all of a topic.
    """
    if not client.forgetObservation(request.message.token):
        # From another token: everything about this topic, then.
        client.forgetTopic(topic)


def retainedOf(request: CoAPRequest, client: CoAPClient, topic: str) -> Message | None:
    """
    The retained message of a topic, perhaps without what is on disk alone.
    """
    info = client.client.info
    return _fresh(request.gateway.broker.retained.get(info.mountpoint + topic, info.topicTree), request)


def fetch(request: CoAPRequest, client: CoAPClient, topic: str) -> Maybe[Message | None]:
    """
    The whole retained message of a topic, or L{None}, or a L{Deferred} of it.
    """
    info = client.client.info
    fetched = request.gateway.broker.retained.fetch(info.mountpoint + topic, info.topicTree)
    return then(fetched, _fresh, request)


def _fresh(value: Message | None, request: CoAPRequest) -> Message | None:
    return None if value is not None and value.expiresAt and value.expiresAt <= request.now() else value


def ageOf(request: CoAPRequest, value: Message) -> list[Option]:
    """
    The option that says for how long a value holds; none where it holds for ever.
    """
    left = value.expiresAt - request.now()
    return [uintOption(MAX_AGE, max(0, int(left)))] if value.expiresAt else []
