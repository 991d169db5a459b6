"""
C{/ps/{topic}}: the value of a topic, which is its retained message (spec/gateways.md 4.3,
draft-ietf-core-coap-pubsub 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from gateways.coap.codes import (
    BAD_REQUEST,
    CHANGED,
    CONTENT,
    CREATED,
    DELETE,
    FETCH,
    FORBIDDEN,
    GET,
    METHOD_NOT_ALLOWED,
    NO_CONTENT,
    NOT_FOUND,
    POST,
    PRECONDITION_FAILED,
    PUT,
    SERVICE_UNAVAILABLE,
    UNSUPPORTED_CONTENT_FORMAT,
)
from gateways.coap.collection import isFull, serveCollection, serveConfiguration
from gateways.coap.links import LinkError, parseLinks
from gateways.coap.options import (
    ACCEPT,
    CONTENT_FORMAT,
    IF_MATCH,
    IF_NONE_MATCH,
    LINK_FORMAT,
    LOCATION_PATH,
    OBSERVE,
    OCTET_STREAM,
    PUBSUB_CBOR,
    stringOptions,
    uintOf,
    uintOption,
    valueOf,
)
from gateways.coap.publishing import ageOf, cancel, fetch, observe, observeAs, published, retainedOf
from gateways.coap.pubsub import PubSubTopic, keyOf
from gateways.coap.removing import removeAll
from gateways.coap.session import CHECK_INTERVAL, CoAPClient, Observer
from twisted_mqtt.base.waiting import Maybe, then
from twisted_mqtt.core.reasons import NOT_AUTHORIZED
from twisted_mqtt.core.topics import checkTopicName
from twisted_mqtt.hooks.verdicts import Verdict

if TYPE_CHECKING:
    from gateways.coap.request import CoAPRequest
    from twisted_mqtt.core.message import Message

_WILDCARDS: Final = ("+", "#")


def servePubSub(request: CoAPRequest, topic: str) -> None:
    """
    Answer a request below C{/ps}.

    @param topic: the rest of the path: of a topic, or the identifier of a configuration; empty for the collection.
    """
    code = request.message.code
    if topic and "/" not in topic and request.gateway.topics.configured(topic) is not None:
        serveConfiguration(request, topic)
    elif code == GET and topic:
        request.withClient(lambda client: _read(request, client, topic))
    elif code == POST and request.contentFormat == LINK_FORMAT:
        request.withClient(lambda client: _create(request, client, topic))
    elif not topic:
        _serveRoot(request)
    elif request.contentFormat == PUBSUB_CBOR:
        # Such is never the value of a topic, but the configuration of one that was removed.
        request.refuse(NOT_FOUND, "no such topic")
    elif code not in (GET, PUT, POST, DELETE):
        request.refuse(METHOD_NOT_ALLOWED, "GET, PUT, POST and DELETE only")
    elif any(wildcard in topic for wildcard in _WILDCARDS):
        request.refuse(BAD_REQUEST, "a topic with a wildcard")
    elif code == DELETE:
        request.withClient(lambda client: _remove(request, client, topic))
    else:
        request.withClient(lambda client: _put(request, client, topic))


def _serveRoot(request: CoAPRequest) -> None:
    code = request.message.code
    if code in (GET, FETCH) or (code == POST and request.contentFormat is not None):
        serveCollection(request)
    elif code in (PUT, POST, DELETE):
        request.refuse(BAD_REQUEST, "no topic: use /ps/{topic}")
    else:
        request.refuse(METHOD_NOT_ALLOWED, "GET, FETCH and POST only")


# Making a topic by a link, as draft 02 does


def _create(request: CoAPRequest, client: CoAPClient, prefix: str) -> Maybe[None]:
    try:
        links = parseLinks(request.message.payload)
    except LinkError as error:
        request.refuse(BAD_REQUEST, f"not in link format: {error}")
        return None
    format = links[0].get("ct") if links else None
    name = links[0].target.strip("/") if links else ""
    if len(links) != 1 or not name or (format is not None and not (format.isdecimal() and int(format) < 65536)):
        request.refuse(BAD_REQUEST, "send one link: <topic>;ct=<content format>")
        return None
    topic = f"{prefix}/{name}" if prefix else name
    checkTopicName(topic, client.client.info.limits.maxTopicLevels)
    allowed = request.gateway.broker.authorize(client.client.info, "publish", topic)
    return then(allowed, _create2, request, client, topic, None if format is None else int(format))


def _create2(verdict: Verdict, request: CoAPRequest, client: CoAPClient, topic: str, format: int | None) -> None:
    topics = request.gateway.topics
    key = keyOf(client.client.info, topic)
    known = topics.get(key)
    if not verdict.allowed:
        request.refuseFor(verdict.publishReason)
    elif known is not None and known.format != format:
        request.refuse(FORBIDDEN, "the topic exists, with another content format")
    elif not topics.make(key, format, request.maxAge):
        request.refuse(SERVICE_UNAVAILABLE, "too many topics")
    else:
        request.answer(CREATED, stringOptions(LOCATION_PATH, ["ps", *topic.split("/")]))


# Publishing


def _put(request: CoAPRequest, client: CoAPClient, topic: str) -> Maybe[None]:
    key = keyOf(client.client.info, topic)
    known = request.gateway.topics.get(key)
    configured = known is not None and known.configuration is not None
    if configured:
        exists = isFull(request, client, known, topic)
    else:
        exists = known is not None or retainedOf(request, client, topic) is not None
    format, maxAge = request.contentFormat, request.maxAge
    options = request.message.options
    if valueOf(options, IF_MATCH) or (valueOf(options, IF_MATCH) is not None and not exists):
        request.refuse(PRECONDITION_FAILED, "no topic with such a value")
        return None
    if exists and valueOf(options, IF_NONE_MATCH) is not None:
        request.refuse(PRECONDITION_FAILED, "there is such a topic")
        return None
    if known is not None:
        if None not in (known.format, format) and known.format != format:
            code = UNSUPPORTED_CONTENT_FORMAT if configured else BAD_REQUEST
            request.refuse(code, f"values of this topic are in content format {known.format}")
            return None
        maxAge = known.maxAge if maxAge is None else maxAge
    qos = request.query.qos or 0
    reason = client.client.publish(topic, request.message.payload, qos, True, request.properties(maxAge))
    return then(reason, _put2, request, client, key, exists, format, maxAge)


def _put2(
    reason: int,
    request: CoAPRequest,
    client: CoAPClient,
    key: str,
    exists: bool,
    format: int | None,
    maxAge: int | None,
) -> None:
    if reason == NOT_AUTHORIZED:
        # Unlike /mqtt: what makes a topic must not seem to have made one.
        request.refuseFor(reason)
        return
    if reason < 0x80 and request.gateway.topics.get(key) is None:
        # If there is no room, the value still exists as a retained message.
        request.gateway.topics.make(key, format, maxAge)
    published(reason, request, client, CHANGED if exists else CREATED, True)


# Reading and observing


def _read(request: CoAPRequest, client: CoAPClient, topic: str) -> Maybe[None]:
    action = uintOf(request.message.options, OBSERVE)
    if action == 0:
        return _observe(request, client, topic)
    if action == 1:
        cancel(request, client, topic)
    if any(wildcard in topic for wildcard in _WILDCARDS):
        request.refuse(BAD_REQUEST, "a topic with a wildcard can only be observed")
        return None
    return _readOnce(request, client, topic)


def _readOnce(request: CoAPRequest, client: CoAPClient, topic: str) -> Maybe[None]:
    allowed = request.gateway.broker.authorize(client.client.info, "subscribe", topic)
    return then(allowed, _read2, request, client, topic)


def _read2(verdict: Verdict, request: CoAPRequest, client: CoAPClient, topic: str) -> Maybe[None]:
    if not verdict.allowed:
        request.refuseFor(verdict.subscribeReason)
        return None
    return then(fetch(request, client, topic), _read3, request, client, topic)


def _read3(value: Message | None, request: CoAPRequest, client: CoAPClient, topic: str) -> None:
    topics = request.gateway.topics
    if value is None:
        known = topics.get(keyOf(client.client.info, topic))
        if known is None:
            request.refuse(NOT_FOUND, "no such topic")
        elif known.configuration is None:
            request.answer(NO_CONTENT)
        elif known.configuration.initialized:
            request.answer(CONTENT, [uintOption(CONTENT_FORMAT, _emptyFormat(known))])
        else:
            request.refuse(NOT_FOUND, "nothing was published yet")
        return
    format = topics.formatOf(value)
    if uintOf(request.message.options, ACCEPT) not in (None, format):
        request.refuse(BAD_REQUEST, f"values of this topic are in content format {format}")
        return
    request.answer(CONTENT, [uintOption(CONTENT_FORMAT, format), *ageOf(request, value)], value.payload)


def _emptyFormat(known: PubSubTopic) -> int:
    return OCTET_STREAM if known.format is None else known.format


def _observe(request: CoAPRequest, client: CoAPClient, topic: str) -> Maybe[None]:
    gateway = request.gateway
    formatOf = gateway.topics.formatOf
    key = keyOf(client.client.info, topic)
    known = gateway.topics.get(key)
    configuration = None if known is None else known.configuration
    if known is None or configuration is None:
        return observe(request, client, topic, formatOf)
    if not isFull(request, client, known, topic):
        request.refuse(NOT_FOUND, "nothing was published yet")
        return None
    most = configuration.maxSubscribers
    if most is not None:
        observers = gateway.observersOf(key)
        if len(observers) >= most and client not in observers:
            # RFC 7641 4.1: an answer without Observe says that it is none.
            return _readOnce(request, client, topic)
    check = CHECK_INTERVAL
    if configuration.observerCheck is not None:
        check = min(check, configuration.observerCheck)
    return observeAs(request, client, Observer(request.message, topic, formatOf, _emptyFormat(known), check))


# Removing


def _remove(request: CoAPRequest, client: CoAPClient, topic: str) -> Maybe[None]:
    info = client.client.info
    key = keyOf(info, topic)
    names = request.gateway.topics.below(key, "", 1)
    if not names and retainedOf(request, client, topic) is None:
        request.refuse(NOT_FOUND, "no such topic")
        return None
    known = request.gateway.topics.get(key)
    if len(names) == 1 and known is not None and known.configuration is not None:
        if not isFull(request, client, known, topic) and not request.gateway.topics.below(key, key, 1):
            request.refuse(NOT_FOUND, "nothing was published yet")
            return None
    return Deferred.fromCoroutine(removeAll(request, client, topic))
